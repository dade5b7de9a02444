//! What dishonest hops do with promises that they were to pass on, and what else they send about payments over several hops.

use atomicity_ledger::hop::Errand;
use atomicity_ledger::jws::Version;
use atomicity_ledger::onion::Payload;
use atomicity_ledger::pair::NewPromise;
use atomicity_ledger::record::{Release, ReleaseReason, Reply};
use atomicity_ledger::text::Layers;
use atomicity_ledger::{Amount, AnyRecord, Signed, UserKey};

use crate::error::SimError;
use crate::hops::Desk;
use crate::plan::Lie;
use crate::receive::promises;
use crate::routed::Order;
use crate::work::{Fact, Work};
use crate::world::World;

impl World {
    /// Promises onward something else than the layers say, or nothing.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn lie_onward(
        &mut self,
        n: usize,
        peer: usize,
        next: UserKey,
        errand: &Errand,
        lie: Lie,
        desk: &Desk,
        work: &mut Work,
    ) -> Result<(), SimError> {
        self.stats.lies += 1;
        self.trace
            .line(format_args!("{n} lies about what it passes on: {lie:?}"));
        let promise = errand.promise();
        let (unit, amount) = match errand.payload() {
            Payload::Forward { amount, .. } => (&promise.unit, *amount),
            Payload::Exchange { unit, amount, .. } => (unit, *amount),
            Payload::Deliver { .. } | Payload::Gift { .. } => return Ok(()),
        };
        // Each promise is lied about once: whoever swallows it keeps it.
        self.nodes[n]
            .with(peer)?
            .0
            .mark_forwarded(errand.iou(), true)?;
        let Some(to) = self.index_of(next).filter(|to| *to != peer) else {
            return Ok(());
        };
        let mut new = NewPromise {
            unit: unit.clone(),
            amount,
            terms: promise.terms.clone(),
            onward: Some(errand.rest().clone()),
        };
        match lie {
            Lie::Skims => new.amount = Amount::from_minor(amount.minor().div_ceil(2))?,
            Lie::OtherUnit => {
                let other = self.units.iter().find(|other| *other != unit);
                new.unit = other.cloned().unwrap_or(new.unit);
            }
            Lie::OtherDeadline => {
                let shift = self.rng.below(20_000);
                new.terms.deadline_ms = (new.terms.deadline_ms + shift).saturating_sub(10_000);
            }
            Lie::Garbles => new.onward = Some(self.garbled(errand.rest())?),
            _ => return Ok(()),
        }
        let (pair, pen) = self.nodes[n].with(to)?;
        if let Ok(iou) = pair.promise(new, None, &desk.logs, pen, desk.now) {
            self.deadlines
                .insert(crate::world::hangs(&iou.record().terms));
            work.facts.push(Fact::Signed {
                peer: to,
                iou: iou.clone().into(),
            });
            work.send(to, iou);
        }
        Ok(())
    }

    /// Layers of the right size that nobody can open; or some that are no layers at all.
    fn garbled(&mut self, layers: &Layers) -> Result<Layers, SimError> {
        let mut text: Vec<char> = layers.as_str().chars().collect();
        let at = self.rng.index(text.len());
        text[at] = if text[at] == 'A' { 'B' } else { 'A' };
        if self.rng.chance(200) {
            text.truncate(at + 1);
        }
        let text: String = text.into_iter().collect();
        Ok(text.parse::<Layers>().or_else(|_| "AAAA".parse())?)
    }

    /// Answers that were never asked for, and releases with the layers of something else.
    pub(crate) fn replay_reply(&mut self, n: usize, peer: usize) -> Result<(), SimError> {
        let now = self.clock(n);
        let pair = &self.nodes[n].live.pairs[&peer];
        let held: Vec<_> = promises(pair.theirs(), &self.units)
            .map(|promise| promise.iou().clone())
            .collect();
        let layers = held.iter().find_map(|iou| iou.record().onward.clone());
        let (Some(layers), false) = (layers, held.is_empty()) else {
            return Ok(());
        };
        let iou = held[self.rng.index(held.len())].clone();
        let of = iou.record().clone();
        let old = self.old_replies.iter().find(|(from, _)| *from == n);
        let body = match old {
            Some((_, reply)) if self.rng.chance(500) => reply.body.clone(),
            _ => layers.clone(),
        };
        let reply = Reply {
            v: Version,
            from: of.to,
            to: of.from,
            iou: iou.hash(),
            body,
            at: now,
        };
        let release = Release {
            v: Version,
            from: of.to,
            to: of.from,
            unit: of.unit,
            epoch: of.epoch,
            number: of.number,
            iou: iou.hash(),
            reason: ReleaseReason::Onward,
            failure: Some(layers),
            at: now,
        };
        let lie_of_release = self.rng.chance(300);
        let (_, pen) = self.nodes[n].with(peer)?;
        let record: AnyRecord = if lie_of_release {
            // Whoever gives up what it had passed on loses it; that is its own affair.
            Signed::sign(release, pen)?.into()
        } else {
            Signed::sign(reply, pen)?.into()
        };
        self.net.entry((n, peer)).or_default().push(record);
        Ok(())
    }

    /// Promises that hang on what is never published take credit from everybody on the way.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn lock(&mut self, n: usize) -> Result<(), SimError> {
        for _ in 0..3 {
            let payee = self.rng.index(self.nodes.len());
            if payee == n {
                continue;
            }
            let amount = self.rng.between(1, 60);
            let order = Order {
                payee,
                unit: self.any_unit(),
                give: None,
                amount,
                most: 2 * amount + 8,
            };
            self.give(n, &order)?;
        }
        Ok(())
    }
}
