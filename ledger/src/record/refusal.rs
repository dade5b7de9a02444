//! `atomicity-refusal`: a growth that was paid back because it exceeded the credit line.

use serde::{Deserialize, Serialize};

use super::rule;
use crate::amount::{Amount, Total};
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::UserKey;
use crate::seq::{Epoch, Seq};
use crate::time::Timestamp;
use crate::unit::Unit;

/// Every payment of `to` in the states (`after_seq`, `to_seq`] failed: `from` has given the growth back by its own total, which
/// state `own_seq` of `own_epoch` carries. Signed by the book key of `from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Version 1.
    pub v: Version,
    /// Who refuses.
    pub from: UserKey,
    /// Whose payments failed.
    pub to: UserKey,
    /// The unit.
    pub unit: Unit,
    /// The epoch of the refused states.
    pub epoch: Epoch,
    /// The last state that was taken in full.
    pub after_seq: Seq,
    /// The last state that was refused.
    pub to_seq: Seq,
    /// What was given back, in minor units.
    pub amount: Amount,
    /// The refuser's running total of what was given back, this refusal included: state `own_seq` bears it.
    pub returned: Total,
    /// The epoch of the refuser's state that gives it back.
    pub own_epoch: Epoch,
    /// The refuser's state that gives it back.
    pub own_seq: Seq,
    /// When it was signed; information only.
    pub at: Timestamp,
}

impl Refusal {
    /// Whether a payment that came with this state failed by it.
    #[must_use]
    pub fn covers(&self, epoch: Epoch, seq: Seq) -> bool {
        self.epoch == epoch && self.after_seq < seq && seq <= self.to_seq
    }
}

impl Record for Refusal {
    const TYP: &'static str = "atomicity-refusal";

    fn author(&self) -> UserKey {
        self.from
    }

    fn check(&self) -> Result<(), LedgerError> {
        rule(
            Self::TYP,
            self.from != self.to,
            "from and to are the same user",
        )?;
        rule(
            Self::TYP,
            self.after_seq < self.to_seq,
            "it covers no state",
        )?;
        rule(
            Self::TYP,
            self.amount.minor() <= self.returned.minor(),
            "amount is a part of returned and can't exceed it",
        )?;
        rule(
            Self::TYP,
            self.own_seq.get() >= 1,
            "the first seq of an epoch is 1",
        )
    }
}
