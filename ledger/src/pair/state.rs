//! Taking the peer's states: monotone, within the credit line, acknowledged.

use super::Pair;
use super::event::{Event, Outcome, PendingReason};
use super::issue::Kind;
use super::receive::{Standing, twice};
use super::side::{MAX_REFUSALS, Totals, push_bounded};
use crate::amount::{Amount, Balance, Total};
use crate::error::LedgerError;
use crate::jws::{Signed, Version};
use crate::key::Keypair;
use crate::planted::{self, Bug};
use crate::record::{Ack, AckItem, AnyRecord, Refusal, State, StateAck};
use crate::seq::{Epoch, Seq};
use crate::time::Timestamp;
use crate::unit::Unit;

/// How the peer's totals grew.
pub(super) struct Growth {
    pub(super) before: Totals,
    pub(super) after: Totals,
    /// What was booked as promised, and was not.
    pub(super) unfounded: u64,
}

/// Whether a growth fits.
pub(super) enum Excess {
    /// It does.
    None,
    /// It would, if promises whose time is over were decided.
    Late,
    /// So much of it must be paid back.
    Growth(Amount),
}

/// The states of the peer that a pay-back answers: those of `epoch` after `after`, up to `to`.
pub(super) struct Range {
    pub(super) epoch: Epoch,
    pub(super) after: Seq,
    pub(super) to: Seq,
}

impl Pair {
    pub(super) fn receive_state(
        &mut self,
        signed: &Signed<State>,
        now: Timestamp,
        pen: Option<&Keypair>,
    ) -> Result<Outcome, LedgerError> {
        let state = signed.record();
        let side = self
            .theirs
            .units
            .get(&state.unit)
            .cloned()
            .unwrap_or_default();
        if side
            .newest
            .as_ref()
            .is_some_and(|newest| newest.hash() == signed.hash())
        {
            return self.acknowledge_again(signed, now, pen);
        }
        if let Standing::Pending(reason) = self.standing(signed.kid(), state.epoch, now)? {
            return Ok(Outcome::Pending(reason));
        }
        if let Some(contradicted) = self.older_or_contradicting(signed, &side) {
            return Ok(contradicted);
        }
        if side.frozen.is_some() {
            return Err(LedgerError::Frozen {
                unit: state.unit.clone(),
                why: "the peer has contradicted itself in this epoch",
            });
        }
        self.check_unit_count(&state.unit)?;
        let before = side.totals();
        check_growth(&before, state)?;
        let unfounded = self.unfounded(&side, state);
        if unfounded.may_come {
            return Ok(Outcome::Pending(PendingReason::PromiseUnknown));
        }
        // What can't be answered with a signature is not taken: the peer would never learn what became of it.
        let Some(pen) = pen.filter(|pen| self.check_pen(pen).is_ok()) else {
            return Ok(Outcome::Pending(PendingReason::NoPen));
        };
        let growth = Growth {
            before,
            after: Totals::from(state),
            unfounded: unfounded.amount,
        };
        match self.excess(&state.unit, &growth, now) {
            Excess::None => self.take_state(signed, &before, pen, now),
            Excess::Late => Ok(Outcome::Pending(PendingReason::LogUnread)),
            Excess::Growth(_) if self.waiting => Ok(self.keep_unjudged(signed)),
            Excess::Growth(growth) => self.pay_back_state(signed, growth, side.seq(), pen, now),
        }
    }

    /// A state whose number is not above the newest: late, or a contradiction.
    fn older_or_contradicting(
        &mut self,
        signed: &Signed<State>,
        side: &super::UnitSide,
    ) -> Option<Outcome> {
        let state = signed.record();
        let newest = side.newest.as_ref()?;
        let known = newest.record();
        if state.seq > known.seq {
            return None;
        }
        let why = if state.seq == known.seq {
            twice(state.epoch, state.seq)
        } else if Totals::from(state).falls_to(&Totals::from(known)) {
            format!(
                "state {} of epoch {} names more than state {}, which came after it",
                state.seq, state.epoch, known.seq
            )
        } else {
            return Some(Outcome::Stale);
        };
        let records = vec![newest.jws().to_owned(), signed.jws().to_owned()];
        Some(self.freeze(&state.unit, why, records))
    }

    /// How much of the growth must be paid back, if it takes what the peer may come to owe above what the owner accepts.
    ///
    /// What was promised before is never paid back: its credit was reserved. What the peer gives back of the owner's own payments,
    /// within what the peer has not accepted before, is not either: two lowered credit lines would otherwise throw one amount to
    /// and fro for ever.
    pub(super) fn excess(&self, unit: &Unit, growth: &Growth, now: Timestamp) -> Excess {
        let (before, after) = (&growth.before, &growth.after);
        let paid = after.paid().saturating_sub(before.paid());
        let returned = after.returned.growth_since(before.returned);
        let judged = paid
            .saturating_add(returned.saturating_sub(self.returnable(unit, before)))
            .saturating_add(growth.unfounded)
            .saturating_add(if planted::on(Bug::RefundOfMerged) {
                after.merged.growth_since(before.merged)
            } else {
                0
            });
        let Ok(judged) = Amount::from_minor(judged) else {
            return Excess::None;
        };
        let none = super::UnitSide::default();
        let theirs = self.theirs.units.get(unit).unwrap_or(&none);
        let own = self.own.units.get(unit).unwrap_or(&none);
        let accept = i64::try_from(self.accept(unit, now).minor()).unwrap_or(i64::MAX);
        let above = |reach: Total| Balance::between(reach, own.claim()).minor() > accept;
        if !above(theirs.exposure_with(after)) {
            Excess::None
        } else if above(theirs.exposure_in_time(after, now.millis())) {
            Excess::Growth(judged)
        } else {
            // Only promises whose time is over are in the way: a look at the logs decides them.
            Excess::Late
        }
    }

    /// How much the peer may still give back: what the owner has paid, less what the peer has accepted or given back already.
    fn returnable(&self, unit: &Unit, before: &Totals) -> u64 {
        self.own.units.get(unit).map_or(0, |own| {
            own.totals()
                .paid()
                .saturating_sub(own.accepted)
                .saturating_sub(before.returned.minor())
        })
    }

    fn take_state(
        &mut self,
        signed: &Signed<State>,
        before: &Totals,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        let state = signed.record();
        let returned = self.own_returned(&state.unit);
        let ack = self.ack_state(signed, returned, pen, now)?;
        let mut events = self.keep_state(signed, &ack);
        let growth = state.issued.growth_since(before.issued);
        if growth > 0 {
            events.push(Event::Issued {
                unit: state.unit.clone(),
                growth,
                epoch: state.epoch,
                seq: state.seq,
                balance: self.balance(&state.unit),
            });
        }
        Ok(Outcome::Applied {
            events,
            replies: vec![AnyRecord::Ack(ack)],
        })
    }

    /// Takes the state and gives its growth back in the same step: totals never fall, so what is too much is returned.
    fn pay_back_state(
        &mut self,
        signed: &Signed<State>,
        growth: Amount,
        known: Seq,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        let state = signed.record();
        let range = Range {
            epoch: state.epoch,
            after: known,
            to: state.seq,
        };
        let mut next = self.clone();
        let (event, mut replies) = match next.pay_back(&state.unit, growth, &range, pen, now) {
            Ok(done) => done,
            Err(LedgerError::TotalOverflow) => {
                let unit = state.unit.clone();
                let why = LedgerError::PayBackImpossible { unit: unit.clone() }.to_string();
                return Ok(self.freeze(&unit, why, vec![signed.jws().to_owned()]));
            }
            Err(error) => return Err(error),
        };
        let returned = next.own_returned(&state.unit);
        let ack = next.ack_state(signed, returned, pen, now)?;
        let mut events = next.keep_state(signed, &ack);
        events.push(event);
        replies.push(AnyRecord::Ack(ack));
        *self = next;
        Ok(Outcome::Applied { events, replies })
    }

    /// Grows the owner's total by what the peer gave too much, and says which of the peer's states it answers.
    pub(super) fn pay_back(
        &mut self,
        unit: &Unit,
        growth: Amount,
        range: &Range,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<(Event, Vec<AnyRecord>), LedgerError> {
        // What is promised must still fit when it comes due.
        let side = self.own.units.get(unit).cloned().unwrap_or_default();
        side.exposure().grow(growth)?;
        let own = self.next_state(unit, Some(growth), Kind::PayBack, pen, now)?;
        let refusal = Signed::sign(
            Refusal {
                v: Version,
                from: self.me,
                to: self.peer,
                unit: unit.clone(),
                epoch: range.epoch,
                after_seq: range.after,
                to_seq: range.to,
                amount: growth,
                returned: own.record().returned,
                own_epoch: own.record().epoch,
                own_seq: own.record().seq,
                at: now,
            },
            pen,
        )?;
        let side = self.take_own_state(own.clone());
        push_bounded(&mut side.refusals, refusal.clone(), MAX_REFUSALS);
        let event = Event::PaidBack {
            unit: unit.clone(),
            amount: growth,
            epoch: range.epoch,
            after_seq: range.after,
            to_seq: range.to,
        };
        let replies = vec![AnyRecord::State(own), AnyRecord::Refusal(refusal)];
        Ok((event, replies))
    }

    /// While the owner's own total is not known for sure, a growth above the line can't be judged. That it was signed is
    /// remembered: it counts when the peer's ack of the owner's book is checked.
    fn keep_unjudged(&mut self, signed: &Signed<State>) -> Outcome {
        let side = self
            .theirs
            .units
            .entry(signed.record().unit.clone())
            .or_default();
        if !side.shown.iter().any(|s| s.hash() == signed.hash()) {
            push_bounded(&mut side.shown, signed.clone(), super::side::MAX_NOTES);
        }
        Outcome::Pending(PendingReason::NoPen)
    }

    pub(super) fn own_returned(&self, unit: &Unit) -> Total {
        self.own
            .units
            .get(unit)
            .map_or(Total::ZERO, |own| own.totals().returned)
    }

    /// A state that was taken already: if the owner's key has changed since, the peer needs the ack from the new one.
    fn acknowledge_again(
        &mut self,
        signed: &Signed<State>,
        now: Timestamp,
        pen: Option<&Keypair>,
    ) -> Result<Outcome, LedgerError> {
        let Some(pen) = pen.filter(|pen| self.check_pen(pen).is_ok()) else {
            return Ok(Outcome::Duplicate);
        };
        Ok(
            match self.renew_state_ack(&signed.record().unit, pen, now)? {
                Some(ack) => Outcome::Applied {
                    events: Vec::new(),
                    replies: vec![AnyRecord::Ack(ack)],
                },
                None => Outcome::Duplicate,
            },
        )
    }

    /// Signs the ack of the newest state in `unit` anew, if another key signed it or none is known.
    pub(super) fn renew_state_ack(
        &mut self,
        unit: &Unit,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Option<Signed<Ack>>, LedgerError> {
        let side = self.theirs.units.get(unit);
        let Some(newest) = side.and_then(|side| side.newest.clone()) else {
            return Ok(None);
        };
        let by = side.and_then(|side| side.ack.as_ref()).map(Signed::kid);
        if by == Some(pen.signer_key()) {
            return Ok(None);
        }
        let ack = self.ack_state(&newest, self.own_returned(unit), pen, now)?;
        self.keep_state(&newest, &ack);
        Ok(Some(ack))
    }

    pub(super) fn ack_state(
        &self,
        signed: &Signed<State>,
        returned: Total,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Signed<Ack>, LedgerError> {
        let state = signed.record();
        Signed::sign(
            Ack {
                v: Version,
                from: self.me,
                to: self.peer,
                items: vec![AckItem::State(StateAck {
                    unit: state.unit.clone(),
                    epoch: state.epoch,
                    seq: state.seq,
                    hash: signed.hash(),
                    returned,
                    clear: self
                        .theirs
                        .units
                        .get(&state.unit)
                        .is_none_or(|side| side.may_clear(state)),
                })],
                at: now,
            },
            pen,
        )
    }

    /// Returns what that settles unseen.
    pub(super) fn keep_state(&mut self, signed: &Signed<State>, ack: &Signed<Ack>) -> Vec<Event> {
        let mut events = Vec::new();
        let side = self
            .theirs
            .units
            .entry(signed.record().unit.clone())
            .or_default();
        side.newest = Some(signed.clone());
        if acks_clear(ack) {
            events = side.booked_by_clear(signed.record());
            side.clear_up_to(signed);
            side.clear_ack = Some(ack.clone());
        }
        side.ack = Some(ack.clone());
        side.acked = signed.record().issued;
        side.shown.retain(|s| s.record().seq > signed.record().seq);
        events
    }
}

/// Totals only grow, and numbers once used up stay so.
fn check_growth(before: &Totals, state: &State) -> Result<(), LedgerError> {
    if before.falls_to(&Totals::from(state)) {
        return Err(LedgerError::TotalFell {
            unit: state.unit.clone(),
            seq: state.seq,
        });
    }
    if state.next < before.next.max(state.epoch.first_iou()) {
        return Err(LedgerError::TotalFell {
            unit: state.unit.clone(),
            seq: state.seq,
        });
    }
    Ok(())
}

/// Whether an ack of one state clears it.
fn acks_clear(ack: &Signed<Ack>) -> bool {
    ack.record()
        .items
        .iter()
        .any(|item| matches!(item, AckItem::State(item) if item.clear))
}
