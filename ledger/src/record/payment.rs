//! `atomicity-payment`: what a growth of a total was for.

use serde::{Deserialize, Serialize};

use super::rule;
use crate::amount::Amount;
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::UserKey;
use crate::seq::{Epoch, Seq};
use crate::text::{Memo, RecordId};
use crate::time::Timestamp;
use crate::unit::Unit;

/// Describes the growth that state `seq` brought, for people's history and for matching invoices. Balances never depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// Version 1.
    pub v: Version,
    /// Sixteen random bytes.
    pub id: RecordId,
    /// Who pays.
    pub from: UserKey,
    /// Who is paid.
    pub to: UserKey,
    /// In what.
    pub unit: Unit,
    /// The epoch of the state.
    pub epoch: Epoch,
    /// The state that brought the growth.
    pub seq: Seq,
    /// The growth, in minor units.
    pub amount: Amount,
    /// What it refers to, an invoice's number, say.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Memo>,
    /// A few words for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<Memo>,
    /// When it was signed; information only.
    pub at: Timestamp,
}

impl Record for Payment {
    const TYP: &'static str = "atomicity-payment";

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
            self.seq.get() >= 1,
            "the first seq of an epoch is 1",
        )
    }
}
