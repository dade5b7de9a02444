//! What a user does with a record that comes, and with what follows from it.

use atomicity_ledger::pair::{
    Event, Outcome, PendingReason, Promise, Published, Side, Totals, UnitSide,
};
use atomicity_ledger::record::{LogProof, ReleaseReason};
use atomicity_ledger::{AnyRecord, LedgerError, Preimage, RecordHash, Unit};

use crate::error::SimError;
use crate::plan::Lie;
use crate::work::{Fact, Work, brief};
use crate::world::World;

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
        self.follow_up(n, from, events, &mut work)?;
        self.commit(n, work)?;
        self.publish_secrets(n);
        self.drive(n)
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
    ) -> Result<Vec<Event>, SimError> {
        let now = self.clock(n);
        let (pair, pen) = self.nodes[n].with(peer)?;
        work.touched.insert(peer);
        match pair.publish(iou, preimage, proof, pen, now) {
            Ok(Published { records, events }) => {
                work.send_all(peer, records);
                Ok(events)
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
    pub(crate) fn compare(&mut self, n: usize, notes: &[atomicity_ledger::text::ProofText]) {
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
