//! `atomicity-part` and `atomicity-part-answer`: paying a part of a request.

use serde::{Deserialize, Serialize};

use super::rule;
use super::target::{Target, check_method};
use crate::amount::Amount;
use crate::error::LedgerError;
use crate::jws::{Record, RecordHash, Version};
use crate::key::UserKey;
use crate::text::RecordId;
use crate::time::Timestamp;

/// `from` wants to pay a part of a request of `to`, and asks for it. Signed by the root or any book key of `from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Version 1.
    pub v: Version,
    /// Its name.
    pub id: RecordId,
    /// The request.
    pub request: RecordHash,
    /// Who wants to pay.
    pub from: UserKey,
    /// Who is to be paid.
    pub to: UserKey,
    /// How much at most, in minor units.
    pub amount: Amount,
    /// Which turn of a request that recurs, from 0; absent for every other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// `from`, the payee, answers who wants to pay a part. Signed like the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartAnswer {
    /// Version 1.
    pub v: Version,
    /// The part that was asked for.
    pub part: RecordHash,
    /// Who answers.
    pub from: UserKey,
    /// Whom.
    pub to: UserKey,
    /// What.
    pub said: PartSaid,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// What a payee says to a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PartSaid {
    /// So much is kept for the payer. They pay the invoice or the target; with neither they are a friend of the payee and pay in
    /// credit, with the part's id as what the payment refers to.
    Granted {
        /// How much, at most what was asked for, in minor units.
        amount: Amount,
        /// Until then.
        until: Timestamp,
        /// The invoice to pay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        invoice: Option<RecordHash>,
        /// Where to pay outside.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<Target>,
    },
    /// Nothing of it should be paid.
    Refused {
        /// Why.
        reason: PartReason,
    },
}

/// Why a part should not be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartReason {
    /// Everything was paid, or is being paid.
    Full,
    /// It was cancelled, or is for somebody else.
    Closed,
    /// It has expired.
    Expired,
    /// It is less than one payment must bring.
    TooSmall,
    /// It is more than one payment may bring.
    TooLarge,
    /// This turn was paid, is not due, or there is no such turn.
    WrongTurn,
    /// The payer, or all payers together, have too much that is being paid.
    Busy,
}

impl Record for Part {
    const TYP: &'static str = "atomicity-part";

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

impl Record for PartAnswer {
    const TYP: &'static str = "atomicity-part-answer";

    fn author(&self) -> UserKey {
        self.from
    }

    fn check(&self) -> Result<(), LedgerError> {
        let typ = Self::TYP;
        rule(typ, self.from != self.to, "from and to are the same user")?;
        let PartSaid::Granted {
            invoice, target, ..
        } = &self.said
        else {
            return Ok(());
        };
        rule(
            typ,
            invoice.is_none() || target.is_none(),
            "it names an invoice and a target",
        )?;
        target
            .iter()
            .try_for_each(|target| check_method(typ, &target.method))
    }
}
