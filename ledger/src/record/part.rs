//! `atomicity-part` and `atomicity-part-answer`: paying a part of a request.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::profile::{Inbox, key_in, key_out};
use super::rule;
use super::target::{Target, check_method};
use crate::amount::Amount;
use crate::error::LedgerError;
use crate::jws::{Record, RecordHash, Version};
use crate::key::UserKey;
use crate::seal::EncryptionKey;
use crate::text::RecordId;
use crate::time::Timestamp;

const TURN: &[u8] = b"atomicity/v0/turn\0";

/// The name of a part that asks for a turn, from 0, of a request that recurs. Whoever asks for the user, their wallet or their agent, asks
/// under the same name, so that a turn is granted and paid once. `attempt` counts from 0 those that came to nothing before.
#[must_use]
pub fn turn_part(request: &RecordHash, payer: &UserKey, turn: u32, attempt: u32) -> RecordId {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(TURN)
        .chain_update(request.as_bytes())
        .chain_update(payer.as_bytes())
        .chain_update(turn.to_be_bytes())
        .chain_update(attempt.to_be_bytes())
        .finalize()
        .into();
    let mut name = [0; 16];
    for (to, from) in name.iter_mut().zip(digest) {
        *to = from;
    }
    RecordId::from_entropy(name)
}

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
    /// Where the answer goes, if not to the wallet of `from`: an agent asks, who pays directly and no invoice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<ReplyTo>,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// Where an agent waits for the answer to what it asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplyTo {
    /// What the answer is sealed to, under the number [`crate::seal::KeyId::REPLY`].
    #[serde(serialize_with = "key_out", deserialize_with = "key_in")]
    pub key: EncryptionKey,
    /// The inbox that takes it for whoever asked.
    pub inbox: Inbox,
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
    /// This part, or another one for this turn, was paid.
    Paid,
    /// This part was kept for the payer and not paid in time: another one may be asked for.
    Ended,
    /// An agent asks, who pays directly, and the payee has no books with the user over which they could.
    NotDirect,
    /// It has expired.
    Expired,
    /// It is less than one payment must bring.
    TooSmall,
    /// It is more than one payment may bring.
    TooLarge,
    /// This turn is being paid, is not due, or there is no such turn.
    WrongTurn,
    /// The payer, or all payers together, have too much that is being paid.
    Busy,
}

impl PartReason {
    /// The stable name, for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Full => "request_full",
            Self::Closed => "request_closed",
            Self::Paid => "part_paid",
            Self::Ended => "part_ended",
            Self::NotDirect => "not_direct",
            Self::Expired => "request_expired",
            Self::TooSmall => "part_too_small",
            Self::TooLarge => "part_too_large",
            Self::WrongTurn => "wrong_turn",
            Self::Busy => "request_busy",
        }
    }
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
