//! What a rail says, and what follows from it.

use super::super::attempt::After;
use super::super::{Next, Proof, RailSaid, Step};
use super::{Discharge, Stage, nothing};
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
        match plan.after(self.way, said, now) {
            After::NextWay => {
                self.way += 1;
                self.try_again(now)
            }
            After::SameWay => self.try_again(now),
            After::Unpaid(reason) => self.end_unpaid(reason),
            After::Open => self.idle(),
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

    /// Whether a proof is of the kind that the request needs.
    fn shows(&self, proof: &Proof) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.shows(proof))
    }
}
