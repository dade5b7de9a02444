//! What a rail says, and what follows from it.

use super::super::{Next, Proof, RailSaid, Step};
use super::{Discharge, LOOK_UP_GRACE_MS, Stage, nothing};
use crate::record::SettleReason;
use crate::time::Timestamp;

impl Discharge {
    /// Takes what a rail says of the attempt with this number. What it says of an earlier one only counts if that was paid.
    pub fn rail_said(&mut self, attempt: u32, said: RailSaid, now: Timestamp) -> Step {
        let known = (1..=self.attempt).contains(&attempt);
        match (&self.stage, said) {
            (Stage::Dispatched, RailSaid::Succeeded(proof)) if known && self.shows(&proof) => {
                self.prove(proof)
            }
            (Stage::Failed { .. }, RailSaid::Succeeded(proof)) if known && self.shows(&proof) => {
                nothing(Next::Alarm)
            }
            (Stage::Dispatched, said) if attempt == self.attempt => self.not_paid(&said, now),
            _ => self.idle(),
        }
    }

    fn not_paid(&mut self, said: &RailSaid, now: Timestamp) -> Step {
        let Some(plan) = &self.plan else {
            return self.idle();
        };
        let believed = plan.not_after.plus_millis(LOOK_UP_GRACE_MS);
        match said {
            RailSaid::FailedForGood if self.way + 1 < plan.ways.len() => {
                self.way += 1;
                self.try_again(now)
            }
            RailSaid::FailedForGood => self.end_unpaid(SettleReason::RailFailed),
            RailSaid::NotSent => self.try_again(now),
            RailSaid::NeverSeen {
                authoritative: true,
            } if now > believed => self.end_unpaid(SettleReason::Expired),
            _ => self.idle(),
        }
    }

    /// Back to before the attempt, which is known to have brought nothing; unless the holder has taken the request back, or it is
    /// too late.
    fn try_again(&mut self, now: Timestamp) -> Step {
        let late = self.plan.as_ref().is_none_or(|plan| now >= plan.not_after);
        if self.withdrawn || late {
            return self.end_unpaid(SettleReason::Expired);
        }
        self.stage = Stage::Reserved;
        self.idle()
    }

    fn end_unpaid(&mut self, reason: SettleReason) -> Step {
        let reason = if self.withdrawn {
            SettleReason::Withdrawn
        } else {
            reason
        };
        self.end(reason, None)
    }

    /// Whether a proof is of the kind that the request needs. A preimage must be that of the hash; other proofs are the rail's word.
    fn shows(&self, proof: &Proof) -> bool {
        let hash = self.plan.as_ref().and_then(|plan| plan.hash);
        match (proof, hash) {
            (Proof::Preimage(preimage), Some(hash)) => preimage.hash() == hash,
            (Proof::Text(_), None) => true,
            (Proof::Preimage(_), None) | (Proof::Text(_), Some(_)) => false,
        }
    }
}
