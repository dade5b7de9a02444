//! What a user does with a record that comes, and with what follows from it.

use std::collections::VecDeque;

use atomicity_ledger::pair::{
    Event, NewPromise, Outcome, PendingReason, Promise, Published, Side, Totals, UnitSide,
};
use atomicity_ledger::record::{ConditionalIou, LogProof, ReleaseReason};
use atomicity_ledger::{AnyRecord, LedgerError, Preimage, RecordHash, Unit};

use crate::error::SimError;
use crate::plan::Lie;
use crate::work::{Fact, Work, brief};
use crate::world::{Link, World, attempt};

/// The most records that wait for something.
const MAX_PENDING: usize = 96;

impl World {
    /// Gives a record to its receiver.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails; what the receiver refuses is no error.
    pub fn receive(&mut self, n: usize, from: usize, record: &AnyRecord) -> Result<(), SimError> {
        let deaf = self.nodes[n].does(Lie::NeverMerges) || self.nodes[n].does(Lie::LeavesOut);
        if deaf && matches!(record, AnyRecord::Publication(_)) {
            return Ok(());
        }
        let mut work = Work::of(from);
        let before = self.totals_of(n, from, record);
        let outcome = self.offer(n, from, record)?;
        let (events, replies) = match outcome {
            Ok(Outcome::Applied { events, replies }) => (events, replies),
            Ok(Outcome::Pending(reason)) => {
                let words = brief(record);
                self.trace
                    .line(format_args!("{n} waits with {words}: {reason:?}"));
                let pending = &mut self.nodes[n].pending;
                if pending.len() < MAX_PENDING {
                    pending.push((from, record.clone()));
                }
                // Some outcomes that wait have noted something.
                return self.commit(n, work);
            }
            Ok(_) => return Ok(()),
            Err(error) => {
                let (words, code) = (brief(record), error.code());
                self.trace
                    .line(format_args!("{n} refuses {words} of {from}: {code}"));
                self.stats.refused += 1;
                return Ok(());
            }
        };
        self.note_totals(n, from, record, before, &events, &mut work);
        work.send_all(from, replies);
        for event in &events {
            if let Event::Promised(_) = event {
                work.facts.push(Fact::Promised {
                    peer: from,
                    iou: record.clone(),
                });
            }
        }
        self.follow_up(n, from, events, Some(record), &mut work)?;
        self.commit(n, work)?;
        self.publish_secrets(n);
        Ok(())
    }

    /// Offers the record until nothing must be looked up any more.
    fn offer(
        &mut self,
        n: usize,
        from: usize,
        record: &AnyRecord,
    ) -> Result<Result<Outcome, LedgerError>, SimError> {
        let (now, logs) = (self.clock(n), self.known_logs(n));
        for _ in 0..3 {
            let (pair, pen) = self.nodes[n].with(from)?;
            match pair.receive_with(record, &logs, now, Some(pen)) {
                Ok(Outcome::Pending(PendingReason::RevocationUnknown { key })) => {
                    self.look_up(n, from, Some(key));
                }
                other => return Ok(other),
            }
        }
        Ok(Ok(Outcome::Duplicate))
    }

    /// What the friend had paid and given back before.
    fn totals_of(&self, n: usize, from: usize, record: &AnyRecord) -> Totals {
        let AnyRecord::State(state) = record else {
            return Totals::default();
        };
        let side = self.nodes[n].live.pairs.get(&from);
        let side = side.and_then(|pair| pair.theirs().unit(&state.record().unit));
        side.map(UnitSide::totals).unwrap_or_default()
    }

    fn note_totals(
        &self,
        n: usize,
        from: usize,
        record: &AnyRecord,
        before: Totals,
        events: &[Event],
        work: &mut Work,
    ) {
        let back = events.iter().filter_map(|event| match event {
            Event::PaidBack { amount, .. } => Some(amount.minor()),
            _ => None,
        });
        match record {
            AnyRecord::State(state) => {
                let unit = state.record().unit.clone();
                let after = self.totals_of(n, from, record);
                work.facts.push(Fact::Took {
                    peer: from,
                    paid: after.paid().saturating_sub(before.paid()),
                    returned: after.returned.growth_since(before.returned),
                    back: back.sum(),
                    unit,
                });
            }
            AnyRecord::Book(_) => work.facts.push(Fact::Booked { peer: from }),
            _ => {}
        }
    }

    /// What follows from what happened in the channels with one friend, in those with others too.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn follow_up(
        &mut self,
        n: usize,
        from: usize,
        events: Vec<Event>,
        record: Option<&AnyRecord>,
        work: &mut Work,
    ) -> Result<(), SimError> {
        let mut queue: VecDeque<(usize, Event)> = events.into_iter().map(|e| (from, e)).collect();
        while let Some((peer, event)) = queue.pop_front() {
            work.touched.insert(peer);
            match event {
                Event::Promised(iou) => {
                    let hash = record.map(AnyRecord::hash);
                    let hash = hash.ok_or(SimError::Missing("the promise that came"))?;
                    self.on_promised(n, peer, &iou, hash, work)?;
                }
                Event::Released { iou, .. } => {
                    work.facts.push(Fact::Released { peer, iou });
                    self.on_released(n, iou, work)?;
                }
                Event::Merged { iou, preimage, .. } => {
                    work.facts.push(Fact::Merged { peer, iou });
                    self.trace.line(format_args!("{n} books towards {peer}"));
                    queue.extend(self.claim_upstream(n, peer, iou, preimage, work)?);
                }
                Event::Due { iou, preimage, .. } => {
                    work.facts.push(Fact::Due { peer, iou });
                    queue.extend(self.book_downstream(n, peer, iou, preimage, work)?);
                }
                Event::Expired { iou, .. } => work.facts.push(Fact::Expired { peer, iou }),
                Event::BookAcknowledged { .. } => work.touched.extend(self.link_again(n)),
                Event::View(view) => self.compare(n, &view.checkpoints),
                Event::Frozen { why, .. } => {
                    self.stats.frozen += 1;
                    self.trace.line(format_args!("{n} freezes {peer}: {why}"));
                    if self.nodes[n].is_honest() && self.nodes[peer].is_honest() {
                        self.watch
                            .violated(format!("{n} freezes {peer}, who is honest: {why}"));
                    }
                }
                Event::Refused { amount, .. } => self
                    .trace
                    .line(format_args!("{n} gets {} back from {peer}", amount.minor())),
                _ => {}
            }
        }
        Ok(())
    }

    /// A promise came: the payee decides whether to publish, a hop promises onward in the same step.
    fn on_promised(
        &mut self,
        n: usize,
        peer: usize,
        iou: &ConditionalIou,
        hash: RecordHash,
        work: &mut Work,
    ) -> Result<(), SimError> {
        if iou.terms.is_direct() {
            return Ok(());
        }
        if self.is_recovering(n) {
            // It may have been passed on before the store was lost: neither again nor given up, until all friends have answered.
            return Ok(());
        }
        let route = self.routes.get(&attempt(&iou.terms)).cloned();
        let place = route.as_ref().and_then(|route| {
            let at = route.path.iter().position(|node| *node == n)?;
            (at > 0 && route.path[at - 1] == peer).then_some(at)
        });
        let (Some(route), Some(at)) = (route, place) else {
            return self.give_up(n, peer, hash, ReleaseReason::Declined, work);
        };
        if let Some(next) = route.path.get(at + 1).copied() {
            return self.promise_onward(n, peer, iou, hash, next, work);
        }
        let secret = self.nodes[n].live.secrets.get(&iou.terms.hash);
        if secret.is_none_or(|secret| iou.amount.minor() < secret.amount) {
            return self.give_up(n, peer, hash, ReleaseReason::Declined, work);
        }
        if self.nodes[n].does(Lie::BadProofs) {
            self.show_old_proof(n, peer, &iou.terms, hash)?;
        }
        Ok(())
    }

    /// The incoming promise is marked and the same is promised onward, or it is given up.
    fn promise_onward(
        &mut self,
        n: usize,
        peer: usize,
        iou: &ConditionalIou,
        hash: RecordHash,
        next: usize,
        work: &mut Work,
    ) -> Result<(), SimError> {
        work.touched.extend(self.link_again(n));
        if self.nodes[n].live.links.contains_key(&hash) {
            return Ok(());
        }
        let (now, logs) = (self.clock(n), self.known_logs(n));
        let new = NewPromise {
            unit: iou.unit.clone(),
            amount: iou.amount,
            terms: iou.terms.clone(),
            onward: None,
        };
        let node = &mut self.nodes[n];
        node.with(peer)?.0.mark_forwarded(hash, true)?;
        let (pair, pen) = node.with(next)?;
        match pair.promise(new, None, &logs, pen, now) {
            Ok(onward) => {
                let link = Link {
                    from: peer,
                    to: next,
                    onward: onward.hash(),
                };
                node.live.links.insert(hash, link);
                work.facts.push(Fact::Signed {
                    peer: next,
                    iou: onward.clone().into(),
                });
                work.send(next, onward);
                Ok(())
            }
            Err(error) => {
                self.trace.line(format_args!(
                    "{n} can't pass on to {next}: {}",
                    error.code()
                ));
                self.nodes[n].with(peer)?.0.mark_forwarded(hash, false)?;
                self.give_up(n, peer, hash, ReleaseReason::Onward, work)
            }
        }
    }

    /// Gives a friend's promise up, if it may be.
    ///
    /// # Errors
    /// [`SimError::Missing`] if they are no friends.
    pub fn give_up(
        &mut self,
        n: usize,
        peer: usize,
        iou: RecordHash,
        reason: ReleaseReason,
        work: &mut Work,
    ) -> Result<(), SimError> {
        let now = self.clock(n);
        let (pair, pen) = self.nodes[n].with(peer)?;
        if let Ok(records) = pair.release(iou, reason, None, pen, now) {
            work.send_all(peer, records);
        }
        Ok(())
    }

    /// The promise onward was given up: so is the one that came.
    fn on_released(&mut self, n: usize, iou: RecordHash, work: &mut Work) -> Result<(), SimError> {
        let links = &mut self.nodes[n].live.links;
        let Some((incoming, link)) = links
            .iter()
            .find(|(_, link)| link.onward == iou)
            .map(|(incoming, link)| (*incoming, link.clone()))
        else {
            return Ok(());
        };
        links.remove(&incoming);
        work.touched.insert(link.from);
        let (pair, _) = self.nodes[n].with(link.from)?;
        // It may have been booked and cleared by a friend who was quicker.
        if pair.mark_forwarded(incoming, false).is_err() {
            return Ok(());
        }
        self.give_up(n, link.from, incoming, ReleaseReason::Onward, work)
    }

    /// The promise onward is booked: the same proof makes the one that came due.
    fn claim_upstream(
        &mut self,
        n: usize,
        to: usize,
        iou: RecordHash,
        preimage: Preimage,
        work: &mut Work,
    ) -> Result<Vec<(usize, Event)>, SimError> {
        let node = &mut self.nodes[n];
        let Some((incoming, from)) = node
            .live
            .links
            .iter()
            .find(|(_, link)| link.onward == iou)
            .map(|(incoming, link)| (*incoming, link.from))
        else {
            return Ok(Vec::new());
        };
        node.live.links.remove(&incoming);
        let proof = proof_of(promises(node.with(to)?.0.own(), &self.units), iou);
        self.publish(n, from, incoming, preimage, proof, work)
    }

    /// The promise that came is due: the same proof books the one that went on.
    fn book_downstream(
        &mut self,
        n: usize,
        from: usize,
        iou: RecordHash,
        preimage: Preimage,
        work: &mut Work,
    ) -> Result<Vec<(usize, Event)>, SimError> {
        let node = &mut self.nodes[n];
        let Some(link) = node.live.links.remove(&iou) else {
            return Ok(Vec::new());
        };
        let proof = proof_of(promises(node.with(from)?.0.theirs(), &self.units), iou);
        self.publish(n, link.to, link.onward, preimage, proof, work)
    }

    /// Shows a proof to the own books.
    ///
    /// # Errors
    /// [`SimError::Missing`] if they are no friends.
    pub fn publish(
        &mut self,
        n: usize,
        peer: usize,
        iou: RecordHash,
        preimage: Preimage,
        proof: Option<LogProof>,
        work: &mut Work,
    ) -> Result<Vec<(usize, Event)>, SimError> {
        let now = self.clock(n);
        let (pair, pen) = self.nodes[n].with(peer)?;
        work.touched.insert(peer);
        match pair.publish(iou, preimage, proof.clone(), pen, now) {
            Ok(Published { records, events }) => {
                if let (Some(proof), false) = (proof, events.is_empty()) {
                    self.watch.keep_publication(iou, proof);
                }
                work.send_all(peer, records);
                Ok(events.into_iter().map(|event| (peer, event)).collect())
            }
            Err(LedgerError::PromiseUnknown) => Ok(Vec::new()),
            Err(error) => {
                self.trace
                    .line(format_args!("{n} can't show {peer} a proof: {error}"));
                Ok(Vec::new())
            }
        }
    }

    /// Compares the heads that a friend relied on with the own ones.
    fn compare(&mut self, n: usize, notes: &[atomicity_ledger::text::ProofText]) {
        for note in notes {
            let Ok(note) = atomicity_witness_log::SignedNote::parse(note.as_str().as_bytes())
            else {
                continue;
            };
            let logs = self.logs.logs.iter();
            for (log, view) in logs.zip(&mut self.nodes[n].views) {
                if let Ok(true) = view.compare(log, &note) {
                    self.stats.forks_seen += 1;
                    self.trace.line(format_args!("{n} catches {}", log.origin));
                }
            }
        }
    }
}

/// All promises of one side.
pub(crate) fn promises<'a>(side: &'a Side, units: &'a [Unit]) -> impl Iterator<Item = &'a Promise> {
    let sides = units.iter().filter_map(|unit| side.unit(unit));
    sides.flat_map(|side| side.promises())
}

fn proof_of<'a>(promises: impl Iterator<Item = &'a Promise>, iou: RecordHash) -> Option<LogProof> {
    let mut promises = promises.filter(|promise| promise.iou().hash() == iou);
    let publication = promises.next()?.publication()?;
    publication.record().proof.clone()
}
