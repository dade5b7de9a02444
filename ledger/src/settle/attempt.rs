//! What follows from what a rail says of one attempt, whoever asked for it.

use super::check::Plan;
use super::{LOOK_UP_GRACE_MS, Proof, RailSaid};
use crate::record::SettleReason;
use crate::time::Timestamp;

/// What follows from a word that proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// This way has failed for good: the next one has its turn.
    NextWay,
    /// Nothing was sent: the same way may be tried again.
    SameWay,
    /// It was not paid, and never will be.
    Unpaid(SettleReason),
    /// It may have been paid, or still be paid.
    Open,
}

impl Plan {
    /// What follows for the attempt by way number `way`.
    pub(super) fn after(&self, way: usize, said: &RailSaid, now: Timestamp) -> After {
        let believed = self.not_after.plus_millis(LOOK_UP_GRACE_MS);
        match said {
            RailSaid::FailedForGood if way.saturating_add(1) < self.ways.len() => After::NextWay,
            RailSaid::FailedForGood => After::Unpaid(SettleReason::RailFailed),
            RailSaid::NotSent => After::SameWay,
            RailSaid::NeverSeen {
                authoritative: true,
            } if now > believed => After::Unpaid(SettleReason::Expired),
            _ => After::Open,
        }
    }

    /// Whether a proof is of the kind that is needed. A preimage must be that of the hash; other proofs are the rail's word.
    pub(super) fn shows(&self, proof: &Proof) -> bool {
        match (proof, self.hash) {
            (Proof::Preimage(preimage), Some(hash)) => preimage.hash() == hash,
            (Proof::Text(_), None) => true,
            (Proof::Preimage(_), None) | (Proof::Text(_), Some(_)) => false,
        }
    }
}
