//! Taking the peer's states: monotone, within the credit line, acknowledged.

use super::Pair;
use super::event::{Event, Outcome, PendingReason};
use super::receive::Standing;
use super::side::{MAX_NOTES, Totals, push_bounded};
use crate::amount::{Amount, Balance};
use crate::error::LedgerError;
use crate::jws::{Signed, Version};
use crate::key::Keypair;
use crate::record::{Ack, AckItem, AnyRecord, Refusal, State, StateAck};
use crate::seq::Seq;
use crate::time::Timestamp;

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
            return Ok(Outcome::Duplicate);
        }
        if let Standing::Pending(reason) = self.standing(signed.kid(), state.epoch, now)? {
            return Ok(Outcome::Pending(reason));
        }
        if let Some(newest) = &side.newest {
            let known = newest.record().seq;
            if state.seq == known {
                let first = newest.jws().to_owned();
                return Ok(self.freeze(
                    &state.unit,
                    (state.epoch, state.seq),
                    &first,
                    signed.jws(),
                ));
            }
            if state.seq < known {
                return Ok(Outcome::Stale);
            }
        }
        if side.frozen.is_some() {
            return Err(LedgerError::Frozen {
                unit: state.unit.clone(),
                why: "the peer has contradicted itself in this epoch",
            });
        }
        self.check_unit_count(&state.unit)?;
        let before = side.totals();
        if before.falls_to(&Totals::from(state)) || state.next < state.epoch.first_iou() {
            return Err(LedgerError::TotalFell {
                unit: state.unit.clone(),
                seq: state.seq,
            });
        }
        // What can't be answered with a signature is not taken: the peer would never learn what became of it.
        let Some(pen) = pen.filter(|pen| self.check_pen(pen).is_ok()) else {
            return Ok(Outcome::Pending(PendingReason::NoPen));
        };
        match self.excess(signed, &before, now) {
            None => self.take_state(signed, &before, pen, now),
            Some(growth) => self.pay_back(signed, growth, side.seq(), pen, now),
        }
    }

    /// The growth that must be paid back, if the state takes the peer's debt above what the owner accepts.
    ///
    /// A growth that leaves the peer no deeper in debt than before the owner's own unacknowledged payments is never paid back:
    /// it may itself be a pay-back, and two lowered credit lines would otherwise throw one amount to and fro for ever.
    fn excess(&self, signed: &Signed<State>, before: &Totals, now: Timestamp) -> Option<Amount> {
        let state = signed.record();
        let growth = Totals::from(state).direct().saturating_sub(before.direct());
        let growth = Amount::from_minor(growth).ok()?;
        let debt = Balance::between(state.issued, self.own.issued(&state.unit));
        let acked = self
            .own
            .units
            .get(&state.unit)
            .map_or_else(Default::default, |u| u.acked);
        let debt_before = Balance::between(before.issued, acked);
        let accept = i64::try_from(self.accept(&state.unit, now).minor()).unwrap_or(i64::MAX);
        (debt.minor() > accept.max(debt_before.minor())).then_some(growth)
    }

    fn take_state(
        &mut self,
        signed: &Signed<State>,
        before: &Totals,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        let ack = self.ack_state(signed, pen, now)?;
        let state = signed.record();
        self.keep_state(signed, &ack);
        let growth = state.issued.growth_since(before.issued);
        let events = if growth == 0 {
            Vec::new()
        } else {
            vec![Event::Issued {
                unit: state.unit.clone(),
                growth,
                epoch: state.epoch,
                seq: state.seq,
                balance: self.balance(&state.unit),
            }]
        };
        Ok(Outcome::Applied {
            events,
            replies: vec![AnyRecord::Ack(ack)],
        })
    }

    /// Takes the state and gives its growth back in the same step: totals never fall, so what is too much is returned.
    fn pay_back(
        &mut self,
        signed: &Signed<State>,
        growth: Amount,
        known: Seq,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        if self.waiting {
            return Ok(Outcome::Pending(PendingReason::NoPen));
        }
        let state = signed.record();
        let unit = state.unit.clone();
        let own = match self.next_state(&unit, growth, pen, now) {
            Ok(own) => own,
            Err(LedgerError::TotalOverflow) => return Ok(self.freeze_unpayable(signed)),
            Err(error) => return Err(error),
        };
        let refusal = Signed::sign(
            Refusal {
                v: Version,
                from: self.me,
                to: self.peer,
                unit: unit.clone(),
                epoch: state.epoch,
                after_seq: known,
                to_seq: state.seq,
                amount: growth,
                own_epoch: own.record().epoch,
                own_seq: own.record().seq,
                at: now,
            },
            pen,
        )?;
        let ack = self.ack_state(signed, pen, now)?;
        self.keep_state(signed, &ack);
        let side = self.take_own_state(own.clone());
        push_bounded(&mut side.refusals, refusal.clone(), MAX_NOTES);
        Ok(Outcome::Applied {
            events: vec![Event::PaidBack {
                unit,
                amount: growth,
                epoch: state.epoch,
                after_seq: known,
                to_seq: state.seq,
            }],
            // The refusal first: who reads the ack alone would believe the payment had stood.
            replies: vec![
                AnyRecord::Refusal(refusal),
                AnyRecord::State(own),
                AnyRecord::Ack(ack),
            ],
        })
    }

    fn freeze_unpayable(&mut self, signed: &Signed<State>) -> Outcome {
        let unit = signed.record().unit.clone();
        let why = LedgerError::PayBackImpossible { unit: unit.clone() }.to_string();
        self.theirs.units.entry(unit.clone()).or_default().frozen = Some(super::Frozen {
            why: why.clone(),
            records: vec![signed.jws().to_owned()],
        });
        Outcome::Applied {
            events: vec![Event::Frozen { unit, why }],
            replies: Vec::new(),
        }
    }

    fn ack_state(
        &self,
        signed: &Signed<State>,
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
                    // Nothing but direct payments can be owed, so every state settles all that came before it.
                    clear: true,
                })],
                at: now,
            },
            pen,
        )
    }

    fn keep_state(&mut self, signed: &Signed<State>, ack: &Signed<Ack>) {
        let side = self
            .theirs
            .units
            .entry(signed.record().unit.clone())
            .or_default();
        side.newest = Some(signed.clone());
        side.cleared = Some(signed.clone());
        side.ack = Some(ack.clone());
        side.acked = signed.record().issued;
    }
}
