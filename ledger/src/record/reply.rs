//! `atomicity-reply`: a sealed answer on its way back to a payer.

use serde::{Deserialize, Serialize};

use super::rule;
use crate::error::LedgerError;
use crate::jws::{Record, RecordHash, Version};
use crate::key::UserKey;
use crate::text::Layers;
use crate::time::Timestamp;

/// `from` holds the promise `iou` of `to` and answers it. Only the payer at the other end of the chain can read what: every hop
/// seals it once more and hands it back. Nothing is decided by it. Signed by the book key of `from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// Version 1.
    pub v: Version,
    /// Who hands it back.
    pub from: UserKey,
    /// Who had promised.
    pub to: UserKey,
    /// The promise that is answered.
    pub iou: RecordHash,
    /// The answer, sealed for the payer.
    pub body: Layers,
    /// When it was signed; information only.
    pub at: Timestamp,
}

impl Record for Reply {
    const TYP: &'static str = "atomicity-reply";

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
