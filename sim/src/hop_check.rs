//! What must hold of payments over several hops, after every step and at rest, reckoned beside the ledger.

use std::collections::{BTreeMap, BTreeSet};

use atomicity_ledger::hop::{CollectionStage, Fate, Relay, RelayStage};
use atomicity_ledger::pair::{Promise, Standing, UnitSide};
use atomicity_ledger::record::{Release, ReleaseReason, Terms, fee};
use atomicity_ledger::{Amount, PaymentHash, RecordHash, Total};

use crate::receive::promises;
use crate::world::World;

/// What is kept about payments over several hops.
#[derive(Clone, Debug, Default)]
pub(crate) struct HopWatch {
    /// What each payer promised under a hash, to whom.
    sent: BTreeMap<(usize, PaymentHash), BTreeMap<RecordHash, usize>>,
    /// What was promised onward, by who did it and by what had come.
    onward: BTreeMap<(usize, RecordHash), BTreeSet<RecordHash>>,
    /// When what a friend had promised came back, by the clock of who had passed it on.
    failed: BTreeMap<(usize, usize), Vec<u64>>,
    /// What expired by proof, for whom: a store that was put together again has to find that out once more.
    pub(crate) expired: BTreeSet<(usize, RecordHash)>,
    /// What a friend gave up, and whose promise it was: the same holds of that.
    pub(crate) returned: BTreeSet<(usize, RecordHash)>,
    /// The invoices that were said to be complete.
    complete: BTreeSet<(usize, PaymentHash)>,
    /// The promises on whose strength somebody publishes, whatever their store says later.
    publishing: BTreeSet<(usize, RecordHash)>,
}

impl HopWatch {
    /// A store was lost, and with it what was counted.
    pub(crate) fn forget(&mut self, n: usize) {
        self.failed.retain(|(who, _), _| *who != n);
    }
}

/// Whether nobody knows yet what becomes of it, or it waits for its release.
fn is_open(promise: &Promise) -> bool {
    matches!(promise.standing(), Standing::Undecided | Standing::Expired)
}

impl World {
    /// The payments of a user: none costs more than it may.
    pub(crate) fn see_payments(&mut self, n: usize) {
        if !self.nodes[n].is_honest() {
            return;
        }
        let mut faults = Vec::new();
        for (hash, payment) in &self.nodes[n].live.payments {
            let sent = self.watch.hops.sent.entry((n, *hash)).or_default();
            for part in payment.attempt.parts() {
                let first = part.hops.first();
                let first = first.and_then(|user| {
                    let mut nodes = self.nodes.iter();
                    nodes.position(|node| node.user() == *user)
                });
                sent.extend(first.map(|first| (part.iou, first)));
            }
        }
        if !self.plan.logs_are_honest() {
            return;
        }
        for ((payer, hash), sent) in &self.watch.hops.sent {
            let Some(asked) = self.asked.get(&(*payer, *hash)).filter(|_| *payer == n) else {
                continue;
            };
            let counts = |(iou, peer): (&RecordHash, &usize)| {
                let pair = self.nodes[n].live.pairs.get(peer)?;
                let over = self.watch.hops.expired.contains(&(n, *iou))
                    || self.watch.hops.returned.contains(&(n, *iou));
                let counts = match pair.promise_given(*iou) {
                    Some(p) => match p.standing() {
                        Standing::Undecided => !over,
                        Standing::Due | Standing::Merged => true,
                        Standing::Released | Standing::Expired => false,
                    },
                    None => self.watch.merged.contains(&(n, *iou)),
                };
                let iou = self.watch.ious.get(iou).filter(|_| counts)?;
                Some(iou.record().amount.minor())
            };
            let sum: u64 = sent.iter().filter_map(counts).sum();
            if sum > asked.most {
                faults.push(format!(
                    "{n} owes {sum}, or may come to, for a payment of at most {}",
                    asked.most
                ));
            }
        }
        for fault in faults {
            self.watch.violated(fault);
        }
    }

    /// Something was promised onward: for the fee, in time, on the same terms, once, and within what the friend may lock.
    pub(crate) fn see_passed_on(&mut self, n: usize, relay: &Relay) {
        let key = (n, relay.incoming.iou);
        let known = self.watch.hops.onward.entry(key).or_default().clone();
        let again = known.contains(&relay.outgoing.iou);
        if let Some(fault) = self.relay_fault(n, relay, &known) {
            self.watch.violated(format!("{n} {fault}"));
        }
        let onward = self.watch.hops.onward.entry(key).or_default();
        onward.insert(relay.outgoing.iou);
        if again {
            return;
        }
        if let Some(upstream) = self.index_of(relay.incoming.peer)
            && let Some(fault) = self.lock_fault(n, upstream)
        {
            self.watch.violated(format!("{n} {fault} {upstream}"));
        }
    }

    fn relay_fault(&self, n: usize, relay: &Relay, known: &BTreeSet<RecordHash>) -> Option<String> {
        let pairs = &self.nodes[n].live.pairs;
        let (from, to) = (
            self.index_of(relay.incoming.peer)?,
            self.index_of(relay.outgoing.peer)?,
        );
        let came = pairs.get(&from)?.promise_held(relay.incoming.iou)?;
        let went = pairs.get(&to)?.promise_given(relay.outgoing.iou)?;
        let (came, went) = (came.iou().record(), went.iou().record());
        let (base, ppm) = self.plan.fees[n];
        let wanted = fee(Total::from_minor(base).ok()?, ppm, went.amount).ok()?;
        let wanted = went.amount.minor() + wanted.minor();
        let exchange = self.exchange_of(n, &came.unit, &went.unit);
        let exchange = exchange.filter(|e| went.amount.minor() <= e.max);
        let same = came.unit == went.unit;
        let asked = if same {
            wanted
        } else {
            exchange.map_or(u64::MAX, |e| e.asked(wanted))
        };
        let short = came.amount.minor() < asked;
        let cleared = || {
            // Even if all that is undecided comes due, both debts have only fallen.
            let reach = |side: Option<&UnitSide>| side.map_or(0, |side| side.exposure().minor());
            let claim = |side: Option<&UnitSide>| side.map_or(0, |side| side.claim().minor());
            let (before, after) = (&pairs[&from], &pairs[&to]);
            let unit = &came.unit;
            same && self.plan.clearing
                && came.amount >= went.amount
                && reach(before.theirs().unit(unit)) <= claim(before.own().unit(unit))
                && reach(after.own().unit(unit)) <= claim(after.theirs().unit(unit))
        };
        let again = known.contains(&relay.outgoing.iou);
        let left = came.terms.deadline_ms >= self.clock(n).millis() + self.plan.min_left_ms;
        let twice = known.iter().any(|other| {
            let mut given = pairs.values().filter_map(|pair| pair.promise_given(*other));
            *other != relay.outgoing.iou
                && given.any(|p| !matches!(p.standing(), Standing::Released))
        });
        if came.terms != went.terms {
            Some("promises onward on other terms".to_owned())
        } else if !same && exchange.is_none() {
            Some("promises onward in another unit".to_owned())
        } else if short && !again && !cleared() {
            Some(format!(
                "passes {} on for {}",
                went.amount.minor(),
                came.amount.minor()
            ))
        } else if !left && !again {
            Some("passes on when there is no time".to_owned())
        } else if twice {
            Some("passes one promise on twice".to_owned())
        } else {
            None
        }
    }

    /// What a friend may lock at once, and how much of it may fail.
    fn lock_fault(&self, n: usize, upstream: usize) -> Option<&'static str> {
        let user = self.nodes[upstream].user();
        let node = &self.nodes[n];
        let pair = node.live.pairs.get(&upstream)?;
        let (count, amount, failed) = self.plan.budget;
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        let mut open = 0;
        for relay in node.live.relays.values() {
            let held = pair.promise_held(relay.incoming.iou);
            if relay.incoming.peer == user && held.is_some_and(is_open) {
                open += 1;
                *sums.entry(relay.unit.to_string()).or_default() += relay.incoming.amount.minor();
            }
        }
        let now_ms = self.clock(n).millis();
        let window_ms = node.policy.budget.window_ms;
        let lately = self.watch.hops.failed.get(&(n, upstream));
        let lately = lately.map_or(0, |times| {
            times.iter().filter(|at| **at + window_ms > now_ms).count()
        });
        // A window of the hop's may have ended a moment ago; what was on the way then may fail as well.
        let most = 2 * failed as usize + count as usize;
        if open > count {
            Some("has too many promises undecided of")
        } else if sums.values().any(|sum| *sum > amount) {
            Some("has too much undecided of")
        } else if lately > most {
            Some("goes on although too much failed of")
        } else {
            None
        }
    }

    /// What followed from what became of one side.
    pub(crate) fn see_followed(&mut self, n: usize, relay: &Relay) {
        let ends = (
            self.index_of(relay.incoming.peer),
            self.index_of(relay.outgoing.peer),
        );
        let (Some(from), Some(to)) = ends else { return };
        let pairs = &self.nodes[n].live.pairs;
        let held = pairs[&from].promise_held(relay.incoming.iou);
        let given = pairs[&to].promise_given(relay.outgoing.iou);
        match relay.stage {
            RelayStage::Paid if held.is_some_and(is_open) => self.watch.violated(format!(
                "{n} knows that it owes {to} and does not claim from {from}"
            )),
            RelayStage::Returned => {
                if given.is_some_and(|p| p.release().is_none()) {
                    self.watch
                        .violated(format!("{n} gives {from} back what {to} has not given up"));
                }
                let now_ms = self.clock(n).millis();
                let failed = self.watch.hops.failed.entry((n, from)).or_default();
                failed.push(now_ms);
            }
            _ => {}
        }
    }

    /// Everything that an invoice asked for is there.
    pub(crate) fn see_complete(&mut self, n: usize, hash: PaymentHash, terms: &Terms) {
        let store = &self.nodes[n].live;
        let Some(collection) = store.collections.get(&hash) else {
            return;
        };
        let parts = collection.parts().iter().map(|part| (n, part.iou));
        self.watch.hops.publishing.extend(parts);
        if !self.watch.hops.complete.insert((n, hash)) {
            return;
        }
        let bill = collection.bill();
        let asked = bill.amount.map_or(1, Amount::minor);
        let mut sum = 0;
        for pair in store.pairs.values() {
            let side = pair.theirs().unit(&bill.unit);
            let held = side.iter().flat_map(|side| side.promises());
            let held = held.filter(|p| p.standing() == Standing::Undecided);
            let held = held.map(|p| p.iou().record());
            let held = held.filter(|iou| iou.terms == *terms && iou.terms.hash == hash);
            sum += held.map(|iou| iou.amount.minor()).sum::<u64>();
        }
        if sum < asked {
            self.watch
                .violated(format!("{n} publishes for {sum} of {asked}"));
        }
    }

    /// A promise is given up: not while it is passed on, nor when the preimage may be out.
    pub(crate) fn see_given_up(&mut self, n: usize, peer: usize, release: &Release) {
        let store = &self.nodes[n].live;
        let relay = store.relays.get(&release.iou);
        let onward = relay.and_then(|relay| {
            let pair = store.pairs.get(&self.index_of(relay.outgoing.peer)?)?;
            pair.promise_given(relay.outgoing.iou)
        });
        if onward.is_some_and(|p| p.release().is_none()) {
            self.watch.violated(format!(
                "{n} gives up a promise of {peer} that it has passed on"
            ));
        }
        let publishing = self.watch.hops.publishing.contains(&(n, release.iou));
        let complete = store.collections.values().any(|collection| {
            let mut parts = collection.parts().iter();
            *collection.stage() != CollectionStage::Open && parts.any(|p| p.iou == release.iou)
        });
        if (publishing || complete) && release.reason != ReleaseReason::Expired {
            self.watch.violated(format!(
                "{n} gives up a promise of {peer} for which it publishes"
            ));
        }
    }

    /// At rest nothing is left to do.
    pub(crate) fn check_payments(&mut self) {
        let mut faults = Vec::new();
        for n in 0..self.nodes.len() {
            let node = &self.nodes[n];
            if !node.is_honest() {
                continue;
            }
            let waits = node.live.pairs.values().any(|pair| {
                let mut all =
                    promises(pair.own(), &self.units).chain(promises(pair.theirs(), &self.units));
                all.any(|p| self.is_stuck(p))
            });
            if waits {
                continue;
            }
            if self.plan.liars.is_empty() && !node.live.relays.is_empty() {
                faults.push(format!("{n} still follows what it has passed on"));
            }
            for payment in node.live.payments.values() {
                let mut parts = payment.attempt.parts().iter();
                if parts.any(|part| part.fate == Fate::Outstanding) {
                    faults.push(format!("{n} does not know what became of a payment"));
                }
            }
            for collection in node.live.collections.values() {
                if *collection.stage() == CollectionStage::Publishing {
                    faults.push(format!("{n} does not know whether it was paid"));
                }
            }
        }
        for fault in faults {
            self.watch.violated(format!("at rest: {fault}"));
        }
    }
}
