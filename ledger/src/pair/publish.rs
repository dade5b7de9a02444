//! What a log decided: published in time, or not.

use atomicity_witness_log::ExpiryProof;

use super::Pair;
use super::event::{Event, Outcome, PendingReason};
use super::promise::{Promise, Standing};
use super::receive::{Standing as Key, told};
use crate::digest::Preimage;
use crate::error::LedgerError;
use crate::jws::{RecordHash, Signed, Version};
use crate::key::Keypair;
use crate::planted::{self, Bug};
use crate::record::{Ack, AnyRecord, LogProof, Publication, ReleaseReason, Terms};
use crate::time::Timestamp;
use crate::unit::Unit;

/// A proof that one log did not publish a preimage in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The policy's text (C2SP tlog-policy).
    pub policy: String,
    /// The proof.
    pub proof: Vec<u8>,
}

/// What came of a publication that the owner found: store the pair, then send the records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// What to send to the peer: the proof, or the state that books the promise.
    pub records: Vec<AnyRecord>,
    /// What it changed, for people.
    pub events: Vec<Event>,
}

impl Expiry {
    /// Whether it shows that a promise under these terms was not published in one of the logs that they name; the log's origin.
    ///
    /// # Errors
    /// [`LedgerError::ProofInvalid`] with the reason.
    fn verify(&self, terms: &Terms) -> Result<String, LedgerError> {
        let proof = ExpiryProof::decode(&self.proof)
            .map_err(|e| LedgerError::ProofInvalid { why: e.to_string() })?;
        let log = terms.proven(&self.policy, |log| proof.verify(log).map(|_| ()))?;
        Ok(log.origin.as_str().to_owned())
    }
}

/// Whether these proofs show that no log of the terms published the preimage in time: one for each.
fn check_expired(terms: &Terms, proofs: &[Expiry]) -> Result<(), LedgerError> {
    if terms.is_direct() {
        return Err(LedgerError::ProofInvalid {
            why: "a direct release hangs on no log: only its holder ends it".to_owned(),
        });
    }
    let mut expired = Vec::new();
    for proof in proofs {
        expired.push(proof.verify(terms)?);
    }
    let all = terms
        .logs
        .iter()
        .all(|log| expired.iter().any(|origin| origin == log.origin.as_str()));
    if all {
        Ok(())
    } else {
        Err(LedgerError::ProofInvalid {
            why: "expired needs a proof from every log that the promise names".to_owned(),
        })
    }
}

impl Pair {
    /// The peer hands over the proof that a promise is due.
    pub(super) fn receive_publication(
        &mut self,
        signed: &Signed<Publication>,
        now: Timestamp,
        pen: Option<&Keypair>,
    ) -> Result<Outcome, LedgerError> {
        let iou = signed.record().iou;
        if let Some((unit, promise)) = self.own_promise(iou) {
            return match promise.standing() {
                Standing::Merged => Ok(Outcome::Duplicate),
                Standing::Released => Ok(Outcome::Stale),
                Standing::Undecided | Standing::Expired | Standing::Due => {
                    self.take_publication(&unit, signed, now, pen)
                }
            };
        }
        if let Ok((unit, promise)) = self.their_promise(iou) {
            if promise.publication.is_some() {
                return Ok(Outcome::Duplicate);
            }
            signed.record().verify(&promise.iou().record().terms)?;
            if promise.release.is_some() {
                return Ok(Outcome::Stale);
            }
            return self.note_due(&unit, signed, now, pen);
        }
        // The proof decides, whoever hands it over; what there is no promise for yet is kept for friends only.
        Ok(match self.standing_now(signed.kid(), now)? {
            Key::Pending(reason) => Outcome::Pending(reason),
            // A store that was put together again may still be shown it. Else it was settled, or comes with its promise again.
            Key::Good if self.waiting => Outcome::Pending(PendingReason::PromiseUnknown),
            Key::Good => Outcome::Stale,
        })
    }

    /// The owner found a proof of publication in a log, or holds the preimage of a direct release: on the owner's promise it is
    /// booked, on one of the peer's the proof is what the peer must be shown.
    ///
    /// # Errors
    /// [`LedgerError::PromiseUnknown`], [`LedgerError::ProofInvalid`], and what hinders every signature. Nothing has changed then.
    pub fn publish(
        &mut self,
        iou: RecordHash,
        preimage: Preimage,
        proof: Option<LogProof>,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Published, LedgerError> {
        self.check_pen(pen)?;
        let signed = Signed::sign(
            Publication {
                v: Version,
                from: self.me,
                to: self.peer,
                iou,
                preimage,
                proof,
                at: now,
            },
            pen,
        )?;
        let mut done = Published::default();
        let outcome = match self.own_promise(iou) {
            Some((_, promise))
                if matches!(promise.standing(), Standing::Merged | Standing::Released) =>
            {
                return Ok(done);
            }
            Some((unit, _)) => self.take_publication(&unit, &signed, now, Some(pen))?,
            None => {
                let (unit, promise) = self.their_promise(iou)?;
                signed.record().verify(&promise.iou().record().terms)?;
                if promise.release.is_some() || promise.publication.is_some() {
                    return Ok(done);
                }
                let outcome = self.note_due(&unit, &signed, now, Some(pen))?;
                done.records.push(AnyRecord::Publication(signed));
                outcome
            }
        };
        if let Outcome::Applied { events, replies } = outcome {
            done.events = events;
            done.records.extend(replies);
        }
        Ok(done)
    }

    /// Notes that a promise was not published in time, by a proof from every log that it names: what it reserved is free. One of
    /// the peer's is given up with it, unless it was promised onward. A proof of publication beats this, before and after.
    ///
    /// # Errors
    /// [`LedgerError::PromiseUnknown`], [`LedgerError::ProofInvalid`], and what hinders every signature. Nothing has changed then.
    pub fn expire(
        &mut self,
        iou: RecordHash,
        proofs: &[Expiry],
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Published, LedgerError> {
        self.check_pen(pen)?;
        let mut done = Published::default();
        let (unit, promise) = match self.own_promise(iou) {
            Some(found) => found,
            None => self.their_promise(iou)?,
        };
        if promise.standing() != Standing::Undecided {
            return Ok(done);
        }
        let promised = promise.iou().record();
        check_expired(&promised.terms, proofs)?;
        let mut next = self.clone();
        let own = promised.from == self.me;
        let noted = if own {
            next.own_promise_mut(&unit, iou)
        } else {
            next.their_promise_mut(iou)
        };
        if let Some(promise) = noted {
            promise.expired = true;
        }
        done.events.push(Event::Expired {
            iou,
            from: promised.from,
            unit: unit.clone(),
            amount: promised.amount,
        });
        if !own && (!promise.forwarded || planted::on(Bug::ReleaseWhileForwarded)) {
            done.records = next.release(iou, ReleaseReason::Expired, None, pen, now)?;
        }
        *self = next;
        Ok(done)
    }

    fn own_promise(&self, iou: RecordHash) -> Option<(Unit, Promise)> {
        self.own.units.iter().find_map(|(unit, side)| {
            let promise = side.promise(iou)?;
            Some((unit.clone(), promise.clone()))
        })
    }

    /// A promise of the owner is due: it is booked at once.
    fn take_publication(
        &mut self,
        unit: &Unit,
        signed: &Signed<Publication>,
        now: Timestamp,
        pen: Option<&Keypair>,
    ) -> Result<Outcome, LedgerError> {
        let iou = signed.record().iou;
        let Some((_, promise)) = self.own_promise(iou) else {
            return Err(LedgerError::PromiseUnknown);
        };
        let promised = promise.iou().record();
        signed.record().verify(&promised.terms)?;
        let Some(pen) = pen.filter(|pen| self.check_pen(pen).is_ok() && !self.waiting) else {
            return Ok(Outcome::Pending(PendingReason::NoPen));
        };
        let mut next = self.clone();
        if let Some(promise) = next.own_promise_mut(unit, iou) {
            promise.publication = Some(signed.clone());
            promise.acknowledged = true;
        }
        let state = next.merge(unit, pen, now)?;
        *self = next;
        Ok(Outcome::Applied {
            events: vec![Event::Merged {
                iou,
                unit: unit.clone(),
                amount: promised.amount,
                preimage: signed.record().preimage,
            }],
            replies: state.into_iter().map(AnyRecord::State).collect(),
        })
    }

    /// A promise of the peer is due: claimed from now on, whatever the peer's states say.
    fn note_due(
        &mut self,
        unit: &Unit,
        signed: &Signed<Publication>,
        now: Timestamp,
        pen: Option<&Keypair>,
    ) -> Result<Outcome, LedgerError> {
        let mut next = self.clone();
        let iou = signed.record().iou;
        let promise = next
            .their_promise_mut(iou)
            .ok_or(LedgerError::PromiseUnknown)?;
        promise.publication = Some(signed.clone());
        promise.forwarded = false;
        let amount = promise.iou().record().amount;
        let clear = match pen {
            Some(pen) if next.check_pen(pen).is_ok() => next.clear_if_settled(unit, pen, now)?,
            _ => None,
        };
        *self = next;
        let mut outcome = told(Event::Due {
            iou,
            unit: unit.clone(),
            amount,
            preimage: signed.record().preimage,
            proof: signed.record().proof.clone().map(Box::new),
        });
        if let Outcome::Applied { replies, .. } = &mut outcome {
            replies.extend(clear.map(AnyRecord::Ack));
        }
        Ok(outcome)
    }

    /// Clears the peer's newest state if that has become possible: nothing closed is owed beyond it.
    pub(super) fn clear_if_settled(
        &mut self,
        unit: &Unit,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Option<Signed<Ack>>, LedgerError> {
        let Some(side) = self.theirs.units.get(unit) else {
            return Ok(None);
        };
        let Some(newest) = side.newest.clone() else {
            return Ok(None);
        };
        let cleared = side.cleared.as_ref().map(Signed::hash);
        if cleared == Some(newest.hash()) || !side.may_clear(newest.record()) {
            return Ok(None);
        }
        let ack = self.ack_state(&newest, self.own_returned(unit), pen, now)?;
        self.keep_state(&newest, &ack);
        Ok(Some(ack))
    }
}
