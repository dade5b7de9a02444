//! `atomicity-view`: the checkpoints that somebody relied on, shown to a counterparty.

use serde::{Deserialize, Serialize};

use super::rule;
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::UserKey;
use crate::text::ProofText;
use crate::time::Timestamp;

/// The most checkpoints in one view.
pub const MAX_CHECKPOINTS: usize = 8;

/// `from` relied on these checkpoints. A log that shows `to` something else is caught by comparing. Signed by the book key of
/// `from`; what it shows stands on the signatures of the logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// Version 1.
    pub v: Version,
    /// Who relied on them.
    pub from: UserKey,
    /// To whom they are shown.
    pub to: UserKey,
    /// Signed notes (C2SP tlog-checkpoint), at most 4 KiB each.
    pub checkpoints: Vec<ProofText>,
    /// When it was signed; information only.
    pub at: Timestamp,
}

impl Record for View {
    const TYP: &'static str = "atomicity-view";

    fn author(&self) -> UserKey {
        self.from
    }

    fn check(&self) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        rule(self.from != self.to, "from and to are the same user")?;
        rule(
            !self.checkpoints.is_empty() && self.checkpoints.len() <= MAX_CHECKPOINTS,
            "a view shows 1 to 8 checkpoints",
        )?;
        rule(
            self.checkpoints
                .iter()
                .all(|note| note.as_str().len() <= 4096),
            "a checkpoint has more than 4096 bytes",
        )
    }
}
