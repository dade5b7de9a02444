//! `atomicity-rating`: what a user thinks of a service or of somebody.

use serde::{Deserialize, Serialize};

use super::rule;
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::UserKey;
use crate::seq::Serial;
use crate::text::Memo;
use crate::time::Timestamp;

/// `from` tells everybody what they think of `subject`. Whoever trusts `from` may go by it; nobody else has a reason to. There is
/// one at a time of each subject, at [`rating_path`]; the greatest serial counts. Signed by the root or any book key of `from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rating {
    /// Version 1.
    pub v: Version,
    /// Who judges.
    pub from: UserKey,
    /// Who is judged: the key of a plugin, or a user.
    pub subject: UserKey,
    /// As what.
    pub kind: RatingKind,
    /// The judgement.
    pub verdict: Verdict,
    /// Later ratings of the same subject have greater serials.
    pub serial: Serial,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<Memo>,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// What somebody is judged as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RatingKind {
    /// A finder of ways.
    Router,
    /// A witness log.
    Log,
    /// A mirror of logs.
    Watchtower,
    /// A cosigner of logs.
    Cosigner,
    /// A user.
    User,
}

/// A judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Does what it should.
    Good,
    /// Better go elsewhere.
    Poor,
    /// Have nothing to do with it.
    Block,
}

/// Where the rating of `subject` lies on the homeserver of whoever judges.
#[must_use]
pub fn rating_path(subject: &UserKey) -> String {
    format!("/pub/atomicity/v0/ratings/{subject}")
}

impl Record for Rating {
    const TYP: &'static str = "atomicity-rating";

    fn author(&self) -> UserKey {
        self.from
    }

    fn check(&self) -> Result<(), LedgerError> {
        rule(
            Self::TYP,
            self.from != self.subject,
            "from and subject are the same user",
        )
    }
}
