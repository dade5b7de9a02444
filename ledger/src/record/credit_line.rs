//! `atomicity-credit-line`: how much a user lets a peer owe them.

use serde::{Deserialize, Serialize};

use super::rule;
use crate::amount::{Amount, Total};
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::UserKey;
use crate::seq::{Epoch, Seq};
use crate::text::Address;
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most conditional IOUs that may be undecided at once on a credit line.
pub const MAX_SLOTS: u16 = 128;
/// The most logs that a record may name.
pub const MAX_LOGS: usize = 16;

/// `from` lets `to` owe up to `accept`, on these terms. Signed by the book key of `from`, sealed for `to`. The highest
/// (epoch, seq) is in force; no line means zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditLine {
    /// Version 1.
    pub v: Version,
    /// Who gives the credit.
    pub from: UserKey,
    /// Who may owe.
    pub to: UserKey,
    /// In what.
    pub unit: Unit,
    /// The epoch of the book that signs.
    pub epoch: Epoch,
    /// The number of this line in its epoch, from 1.
    pub seq: Seq,
    /// The most that `to` may owe `from`, net, in minor units; zero closes the line.
    pub accept: Total,
    /// The smallest payment that is welcome, in minor units.
    pub min_amount: Amount,
    /// The longest time, in seconds, that a conditional IOU may stay undecided.
    pub max_deadline_s: u32,
    /// How many conditional IOUs may be undecided at once.
    pub slots: u16,
    /// What `from` takes without being there to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unattended: Option<Unattended>,
    /// Origins of logs that `from` does not accept.
    pub logs_refused: Vec<Address>,
    /// When the line ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// What is accepted on a last hop while the payee is away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unattended {
    /// The most, in minor units.
    pub amount: Amount,
    /// Origins of the logs that may decide.
    pub logs: Vec<Address>,
    /// Until when.
    pub until: Timestamp,
}

impl CreditLine {
    /// What the line allows at `now`: `accept`, or nothing once it has expired.
    #[must_use]
    pub fn accept_at(&self, now: Timestamp) -> Total {
        if self.expires.is_some_and(|end| now >= end) {
            Total::ZERO
        } else {
            self.accept
        }
    }
}

impl Record for CreditLine {
    const TYP: &'static str = "atomicity-credit-line";

    fn author(&self) -> UserKey {
        self.from
    }

    fn check(&self) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        rule(self.from != self.to, "from and to are the same user")?;
        rule(self.seq.get() >= 1, "the first seq of an epoch is 1")?;
        rule(self.slots <= MAX_SLOTS, "slots is more than 128")?;
        let logs = self.unattended.as_ref().map_or(0, |u| u.logs.len());
        rule(
            self.logs_refused.len() <= MAX_LOGS && logs <= MAX_LOGS,
            "more than 16 logs are named",
        )
    }
}
