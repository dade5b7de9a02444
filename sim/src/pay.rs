//! Payments, direct and over hops, and the lines that allow them.

use atomicity_ledger::pair::{LineTerms, NewPromise, PaymentNote, Standing};
use atomicity_ledger::record::{LogTerm, Terms};
use atomicity_ledger::{Amount, PolicyHash, Preimage, RecordId, Total, Unit};

use crate::error::SimError;
use crate::plan::Lie;
use crate::receive::promises;
use crate::work::{Fact, Work};
use crate::world::{Route, Secret, World};

impl World {
    pub(crate) fn pay(&mut self, n: usize) -> Result<(), SimError> {
        let Some(peer) = self.friend(n) else {
            return Ok(());
        };
        let (unit, minor) = (self.any_unit(), self.rng.between(1, 120));
        self.pay_to(n, peer, &unit, minor)
    }

    /// A direct payment, if the line allows it.
    pub(crate) fn pay_to(
        &mut self,
        n: usize,
        peer: usize,
        unit: &Unit,
        minor: u64,
    ) -> Result<(), SimError> {
        let (now, amount) = (self.clock(n), Amount::from_minor(minor)?);
        let id = self.rng.bytes();
        let mut short = [0; 16];
        short.copy_from_slice(&id[..16]);
        let note = PaymentNote {
            id: RecordId::from_entropy(short),
            reference: None,
            memo: None,
        };
        let (pair, pen) = self.nodes[n].with(peer)?;
        let Ok(issued) = pair.issue(unit, amount, None, note, pen, now) else {
            return Ok(());
        };
        self.stats.payments += 1;
        let mut work = Work::of(peer);
        work.facts.push(Fact::Paid {
            peer,
            unit: unit.clone(),
            amount,
        });
        work.send(peer, issued.state);
        work.send(peer, issued.payment);
        self.commit(n, work)
    }

    /// `n` sets what `peer` may owe.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn set_line(
        &mut self,
        n: usize,
        peer: usize,
        unit: &Unit,
        accept: u64,
    ) -> Result<(), SimError> {
        let now = self.clock(n);
        let terms = LineTerms::simple(unit.clone(), Total::from_minor(accept)?)?;
        let (pair, pen) = self.nodes[n].with(peer)?;
        let mut work = Work::of(peer);
        if let Ok(line) = pair.set_line(terms, pen, now) {
            work.send(peer, line);
        }
        self.commit(n, work)
    }

    pub(crate) fn change_line(&mut self, n: usize) -> Result<(), SimError> {
        let Some(peer) = self.friend(n) else {
            return Ok(());
        };
        let unit = self.any_unit();
        let accept = self.rng.below(2 * self.plan.accept);
        self.trace
            .line(format_args!("{n} lets {peer} owe {accept} {unit:?}"));
        self.set_line(n, peer, &unit, accept)
    }

    /// A payment over a chain of friends to somebody who made an invoice.
    pub(crate) fn pay_over_hops(&mut self, n: usize) -> Result<(), SimError> {
        let Some(path) = self.path_from(n) else {
            return Ok(());
        };
        let Some(payee) = path.last().copied() else {
            return Ok(());
        };
        let mut preimage = Preimage::from_bytes(self.rng.bytes());
        if self.nodes[payee].does(Lie::BadProofs) && self.rng.chance(700) {
            // What was published for somebody else is to serve again.
            preimage = self.published_before(payee).unwrap_or(preimage);
        }
        let amount = self.rng.between(1, 90);
        let wants = self.rng.chance(750);
        let delay = self.rng.below(12_000).saturating_sub(6_000);
        let publish_at = wants.then(|| self.clock(payee).millis() + delay);
        let secret = Secret {
            preimage,
            amount,
            publish_at,
        };
        let node = &mut self.nodes[payee];
        node.live.secrets.insert(preimage.hash(), secret);
        node.stored.secrets.clone_from(&node.live.secrets);
        let route = Route {
            unit: self.any_unit(),
            path,
            amount,
            tries: 0,
        };
        self.attempt(preimage.hash(), route)
    }

    /// A way of two to four hops along friendships.
    pub(crate) fn path_from(&mut self, n: usize) -> Option<Vec<usize>> {
        let hops = self.rng.index(3) + 2;
        let mut path = vec![n];
        for _ in 0..hops {
            let last = *path.last()?;
            let friends: Vec<usize> = self.nodes[last]
                .live
                .pairs
                .keys()
                .copied()
                .filter(|friend| !path.contains(friend))
                .collect();
            if friends.is_empty() {
                break;
            }
            path.push(friends[self.rng.index(friends.len())]);
        }
        (path.len() > 2 || path.len() == 2 && self.rng.chance(300)).then_some(path)
    }

    /// The payer promises the first hop.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn attempt(
        &mut self,
        hash: atomicity_ledger::PaymentHash,
        route: Route,
    ) -> Result<(), SimError> {
        let (payer, first) = (route.path[0], route.path[1]);
        let mut logs = Vec::new();
        for (log, view) in self.logs.logs.iter().zip(&self.nodes[payer].views) {
            if view.refused || view.size() == 0 {
                continue;
            }
            logs.push(LogTerm {
                origin: log.origin.parse()?,
                policy_hash: PolicyHash::of(&log.text),
                from_size: view.size(),
            });
        }
        while logs.len() > 1 && self.rng.chance(500) {
            let at = self.rng.index(logs.len());
            logs.remove(at);
        }
        if logs.is_empty() {
            return Ok(());
        }
        let now = self.clock(payer);
        let deadline_ms = now.millis() + self.rng.between(5_000, 80_000);
        let new = NewPromise {
            unit: route.unit.clone(),
            amount: Amount::from_minor(route.amount)?,
            terms: Terms {
                hash,
                logs,
                deadline_ms,
            },
            onward: None,
        };
        let known = self.known_logs(payer);
        let (pair, pen) = self.nodes[payer].with(first)?;
        let iou = match pair.promise(new, None, &known, pen, now) {
            Ok(iou) => iou,
            Err(error) => {
                self.trace.line(format_args!(
                    "{payer} can't promise {first}: {}",
                    error.code()
                ));
                return Ok(());
            }
        };
        self.stats.payments += 1;
        self.trace.line(format_args!(
            "{payer} pays {} over {:?} until {deadline_ms}",
            route.amount, route.path
        ));
        if let Some(payee) = route.path.last().copied()
            && self.nodes[payee].does(Lie::BadProofs)
            && let Some(secret) = self.nodes[payee].live.secrets.get_mut(&hash)
        {
            // As late as can be, or a little later.
            secret.publish_at = Some(deadline_ms.saturating_sub(1_000));
        }
        self.routes.insert((hash, deadline_ms), route);
        let mut work = Work::of(first);
        work.facts.push(Fact::Signed {
            peer: first,
            iou: iou.clone().into(),
        });
        work.send(first, iou);
        self.commit(payer, work)
    }

    /// Whether a payer has promised on a preimage what has neither expired nor been given up.
    pub(crate) fn still_hangs(&self, n: usize, terms: &Terms) -> bool {
        let pairs = self.nodes[n].stored.pairs.values();
        let mut promised = pairs.flat_map(|pair| promises(pair.own(), &self.units));
        promised.any(|p| {
            let over = matches!(p.standing(), Standing::Expired | Standing::Released);
            p.iou().record().terms.hash == terms.hash && !over
        })
    }

    /// What expired may be tried another way, on the same preimage and until later.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn try_again(&mut self, n: usize, terms: &Terms) -> Result<(), SimError> {
        let route = self.routes.get(&crate::world::attempt(terms)).cloned();
        let Some(mut route) = route.filter(|route| route.path[0] == n) else {
            return Ok(());
        };
        if !self.faulty || route.tries > 1 || !self.rng.chance(500) || self.still_hangs(n, terms) {
            return Ok(());
        }
        let Some(payee) = route.path.last().copied() else {
            return Ok(());
        };
        route.tries += 1;
        let other = self.path_from(n);
        if let Some(path) = other.filter(|path| path.last() == Some(&payee)) {
            route.path = path;
        }
        self.attempt(terms.hash, route)
    }

    /// A holder gives a claim back on a preimage that the debtor may come to know.
    pub(crate) fn release_directly(&mut self, n: usize) -> Result<(), SimError> {
        let Some(peer) = self.friend(n) else {
            return Ok(());
        };
        let (unit, now) = (self.any_unit(), self.clock(n));
        let (pair, _) = self.nodes[n].with(peer)?;
        let Ok(claim) = u64::try_from(pair.net_claim(&unit).minor()) else {
            return Ok(());
        };
        if claim == 0 {
            return Ok(());
        }
        let minor = self.rng.between(1, claim);
        let preimage = Preimage::from_bytes(self.rng.bytes());
        let new = NewPromise {
            unit,
            amount: Amount::from_minor(minor)?,
            terms: Terms {
                hash: preimage.hash(),
                logs: Vec::new(),
                deadline_ms: now.millis(),
            },
            onward: None,
        };
        let known = self.known_logs(n);
        let (pair, pen) = self.nodes[n].with(peer)?;
        let Ok(iou) = pair.promise(new, None, &known, pen, now) else {
            return Ok(());
        };
        self.stats.payments += 1;
        if self.rng.chance(700) {
            let publish_at = Some(self.clock(peer).millis() + self.rng.below(20_000));
            let secret = Secret {
                preimage,
                amount: minor,
                publish_at,
            };
            let debtor = &mut self.nodes[peer];
            debtor.live.secrets.insert(preimage.hash(), secret);
            debtor.stored.secrets.clone_from(&debtor.live.secrets);
        }
        self.watch.note_direct(&preimage.hash());
        let mut work = Work::of(peer);
        work.facts.push(Fact::Signed {
            peer,
            iou: iou.clone().into(),
        });
        work.send(peer, iou);
        self.commit(n, work)
    }
}
