//! `atomicity-release`: a holder gives a conditional IOU up.

use serde::{Deserialize, Serialize};

use super::rule;
use crate::error::LedgerError;
use crate::jws::{Record, RecordHash, Version};
use crate::key::UserKey;
use crate::seq::{Epoch, IouNumber};
use crate::text::Layers;
use crate::time::Timestamp;
use crate::unit::Unit;

/// `from` holds a conditional IOU of `to` and claims nothing under it any more, whatever is published. Signed by the book key of
/// `from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Version 1.
    pub v: Version,
    /// Who gives the claim up.
    pub from: UserKey,
    /// Who had promised.
    pub to: UserKey,
    /// In what.
    pub unit: Unit,
    /// The epoch in which it was promised.
    pub epoch: Epoch,
    /// The number of the promise.
    pub number: IouNumber,
    /// Its hash.
    pub iou: RecordHash,
    /// Why, in a code for machines.
    pub reason: ReleaseReason,
    /// Why, sealed for the payer of a payment over several hops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Layers>,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// Why a promise was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseReason {
    /// It expired: no log that it names published the preimage in time.
    Expired,
    /// It does not fit: above the credit line, too many undecided, below the smallest amount, or too long a deadline.
    Limit,
    /// It hangs on a log that is refused or unknown here.
    Log,
    /// It could not be sent onward.
    Onward,
    /// The holder does not want it.
    Declined,
}

impl Record for Release {
    const TYP: &'static str = "atomicity-release";

    fn author(&self) -> UserKey {
        self.from
    }

    fn check(&self) -> Result<(), LedgerError> {
        rule(
            Self::TYP,
            self.from != self.to,
            "from and to are the same user",
        )
    }
}
