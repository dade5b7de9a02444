//! Ways along friendships, what each stop on them is promised, and circles of debts.

use std::collections::BTreeSet;

use atomicity_ledger::hop::{Route, Stop};
use atomicity_ledger::onion::Payload;
use atomicity_ledger::record::fee;
use atomicity_ledger::{Amount, Preimage, Unit, UserKey};

use crate::error::SimError;
use crate::hops::Queue;
use crate::routed::{Order, invoice_of};
use crate::work::Work;
use crate::world::{Payment, Secret, World};

/// The most friendships on a way.
const MAX_FRIENDSHIPS: usize = 5;
/// The most ways that are looked at.
const MAX_WAYS: usize = 64;

impl World {
    /// A payment to oneself around a circle of debts, for no fee.
    pub(crate) fn clear(&mut self, n: usize) -> Result<(), SimError> {
        let unit = self.any_unit();
        let Some(path) = self.way(n, n, &BTreeSet::new(), (&unit, &unit)) else {
            return Ok(());
        };
        let mut last = n;
        let mut most = u64::MAX;
        for next in &path {
            let pair = &self.nodes[last].live.pairs[next];
            most = most.min(pair.surely_owed(&unit));
            last = *next;
        }
        if self.rng.chance(100) {
            // Not everybody owes so much.
            most += self.rng.below(20);
        }
        if most == 0 {
            return Ok(());
        }
        let amount = self.rng.between(1, most);
        let preimage = Preimage::from_bytes(self.rng.bytes());
        let secret = Secret {
            preimage,
            amount,
            publish_at: Some(self.clock(n).millis()),
            declines: false,
        };
        self.invoice(n, &unit, secret)?;
        let order = Order {
            payee: n,
            unit,
            give: None,
            amount,
            most: amount,
        };
        let hash = preimage.hash();
        if !self.begin(n, &order, hash, None)? {
            return Ok(());
        }
        self.stats.circles += 1;
        let (mut work, mut queue) = (Work::default(), Queue::new());
        self.send_over(n, hash, amount, &path, &mut work, &mut queue)?;
        if work.out.is_empty() {
            return Ok(());
        }
        self.stats.payments += 1;
        self.commit(n, work)
    }

    /// The amounts on a way: with the fees that everybody takes, or that the payer believes they take.
    pub(crate) fn route(
        &mut self,
        n: usize,
        path: &[usize],
        amount: u64,
        payment: &Payment,
    ) -> Result<Route, SimError> {
        let (unit, give) = (payment.attempt.unit(), payment.attempt.unit_arriving());
        let exchanger = self.exchanger(path, unit, give);
        let exchanger = exchanger.filter(|_| unit != give);
        let mut amounts = vec![Amount::from_minor(amount)?];
        // Whoever passes on to the next takes a fee of what it promises.
        for (at, hop) in path.iter().enumerate().rev().skip(1) {
            let onward = amounts[amounts.len() - 1];
            let (base, ppm) = self.plan.fees[*hop];
            let base = atomicity_ledger::Total::from_minor(base)?;
            let mut wanted = fee(base, ppm, onward)?.minor();
            if wanted > 0 && self.faulty && self.rng.chance(50) {
                wanted -= 1;
            }
            if path.last() == Some(&n) {
                // Whoever only loses debts by it takes nothing.
                wanted = 0;
            }
            let mut asked = onward.minor() + wanted;
            if let Some((_, exchange)) = exchanger.filter(|(place, _)| *place == at) {
                asked = exchange.asked(asked);
                if asked > 1 && self.faulty && self.rng.chance(150) {
                    asked -= 1;
                }
            }
            amounts.push(Amount::from_minor(asked)?);
        }
        amounts.reverse();
        let exchanged = |at: usize| exchanger.is_some_and(|(place, _)| place + 1 == at);
        let stops = path.iter().zip(amounts).enumerate();
        let stops = stops.map(|(at, (hop, amount))| Stop {
            unit: exchanged(at).then(|| give.clone()),
            key: self.nodes[*hop].hop_key(),
            amount,
        });
        let hash = payment.attempt.terms().hash;
        let payload = match payment.shown {
            Some(_) => Payload::Gift { memo: None },
            None => Payload::Deliver {
                invoice: invoice_of(&hash),
                total: payment.attempt.total(),
            },
        };
        Ok(Route {
            stops: stops.collect(),
            payload,
            ask: payment.shown.is_some(),
        })
    }

    /// A way along friendships that avoids these edges; any of them. Somebody on it exchanges the one unit for the other, if they are
    /// two.
    pub(crate) fn way(
        &mut self,
        n: usize,
        payee: usize,
        avoid: &BTreeSet<(UserKey, UserKey)>,
        (unit, give): (&Unit, &Unit),
    ) -> Option<Vec<usize>> {
        let mut ways: Vec<Vec<usize>> = Vec::new();
        let mut begun = vec![vec![n]];
        while let Some(path) = begun.pop() {
            let last = *path.last()?;
            for friend in self.nodes[last].live.pairs.keys().copied() {
                let edge = (self.nodes[last].user(), self.nodes[friend].user());
                // Back to where it came from is no circle.
                let ends = friend == payee && (friend != n || path.len() > 2);
                if avoid.contains(&edge) || path.contains(&friend) && !ends {
                    continue;
                }
                let mut longer = path.clone();
                longer.push(friend);
                if friend == payee {
                    let way = longer.split_off(1);
                    if unit == give || self.exchanger(&way, unit, give).is_some() {
                        ways.push(way);
                    }
                } else if longer.len() < MAX_FRIENDSHIPS {
                    begun.push(longer);
                }
            }
            if ways.len() > MAX_WAYS {
                break;
            }
        }
        (!ways.is_empty()).then(|| ways.swap_remove(self.rng.index(ways.len())))
    }
}
