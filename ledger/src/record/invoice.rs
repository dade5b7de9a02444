//! `atomicity-invoice`: what a payee asks for, and under which secret.

use serde::{Deserialize, Serialize};

use super::advert::{MAX_PPM, fee};
use super::{MAX_TERM_LOGS, ascending, rule};
use crate::amount::{Amount, Total};
use crate::digest::{PaymentHash, PolicyHash};
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::UserKey;
use crate::text::{Address, Memo, RecordId};
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most hints in one invoice.
pub const MAX_HINTS: usize = 4;
/// The most logs that one invoice refuses.
pub const MAX_LOGS_REFUSED: usize = 16;

/// `payee` asks to be paid. Whoever promises along a chain of friends hangs everything on `hash`, and the payee publishes its
/// preimage once the whole amount is promised. An invoice is for one payer and one payment.
///
/// Signed by the root of the payee, by a key that may keep their books, or by one that is there to receive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invoice {
    /// Version 1.
    pub v: Version,
    /// Its name.
    pub id: RecordId,
    /// Who is to be paid.
    pub payee: UserKey,
    /// In what.
    pub unit: Unit,
    /// How much; the payer chooses if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// The hash of the preimage that only the payee knows.
    pub hash: PaymentHash,
    /// The logs that the payee trusts, ascending by origin: a payment hangs on one or several of them and on no other.
    pub logs: Vec<InvoiceLog>,
    /// Origins of logs that the payee refuses, ascending.
    pub logs_refused: Vec<Address>,
    /// Friends of the payee through whom a payment can come although their channel is not published, ascending.
    pub hints: Vec<Hint>,
    /// From then on nobody should promise on it.
    pub expires: Timestamp,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<Memo>,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// A log that a payee trusts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvoiceLog {
    /// The log's origin (C2SP tlog-checkpoint).
    pub origin: Address,
    /// The policy by which its checkpoints count.
    pub policy_hash: PolicyHash,
    /// Where it can be read, for a payer who doesn't know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Address>,
}

/// A last hop: what `peer` takes for promising onward to the payee, and how much it may promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hint {
    /// The payee's friend.
    pub peer: UserKey,
    /// The most that can come this way, in minor units.
    pub capacity: Amount,
    /// The fixed part of the fee of `peer`, in minor units.
    pub base: Total,
    /// The part of the fee that grows with the amount, in millionths of it.
    pub ppm: u32,
}

impl Hint {
    /// The fee of `peer` for promising `onward` to the payee.
    ///
    /// # Errors
    /// [`LedgerError::TotalOverflow`] if it exceeds every amount.
    pub fn fee(&self, onward: Amount) -> Result<Total, LedgerError> {
        fee(self.base, self.ppm, onward)
    }
}

impl Invoice {
    /// Whether nobody should promise on it any more at `now`.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.expires
    }
}

impl Record for Invoice {
    const TYP: &'static str = "atomicity-invoice";

    fn author(&self) -> UserKey {
        self.payee
    }

    fn check(&self) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        rule(
            (1..=MAX_TERM_LOGS).contains(&self.logs.len()),
            "it must name one to four logs",
        )?;
        rule(
            ascending(&self.logs, |log| &log.origin),
            "logs must be strictly ascending by origin",
        )?;
        rule(
            self.logs_refused.len() <= MAX_LOGS_REFUSED
                && ascending(&self.logs_refused, |origin| origin),
            "logs_refused must be at most 16, strictly ascending",
        )?;
        rule(
            self.logs
                .iter()
                .all(|log| !self.logs_refused.contains(&log.origin)),
            "a log is both trusted and refused",
        )?;
        rule(
            self.hints.len() <= MAX_HINTS && ascending(&self.hints, |hint| hint.peer),
            "hints must be at most 4, strictly ascending by peer",
        )?;
        rule(
            self.hints.iter().all(|hint| hint.peer != self.payee),
            "a hint names the payee as the payee's friend",
        )?;
        rule(
            self.hints.iter().all(|hint| hint.ppm <= MAX_PPM),
            "ppm is more than 1000000",
        )
    }
}
