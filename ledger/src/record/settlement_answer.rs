//! `atomicity-settlement-answer` and `atomicity-settlement-withdrawal`: what becomes of a request to settle.

use serde::{Deserialize, Serialize};

use super::rule;
use super::target::{Pays, check_method, check_pays};
use crate::error::LedgerError;
use crate::jws::{Record, RecordHash, Version};
use crate::key::UserKey;
use crate::text::{MethodName, RailProof};
use crate::time::Timestamp;

/// `from`, the issuer, says what becomes of a request of `to`, the holder. Several may follow each other: `accepted`, then
/// perhaps `dispatched`, then one of the others, which is the last. Signed by the key that keeps the books of `from` towards `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettlementAnswer {
    /// Version 1.
    pub v: Version,
    /// The request.
    pub settlement: RecordHash,
    /// Who answers: the issuer.
    pub from: UserKey,
    /// Whom: the holder.
    pub to: UserKey,
    /// What.
    pub said: SettlementSaid,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// What an issuer says of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SettlementSaid {
    /// It will be paid, at what the request says: both have signed the rate.
    Accepted,
    /// It may be on its way already; it can't be withdrawn.
    Dispatched,
    /// It is not paid, and will not be.
    Declined {
        /// Why.
        reason: SettleReason,
        /// What the issuer would pay instead, if asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offer: Option<Pays>,
    },
    /// It was paid. (That a Lightning invoice was paid is shown by a publication of the direct release instead.)
    Paid {
        /// How.
        method: MethodName,
        /// What shows it.
        proof: RailProof,
    },
    /// It was accepted, is not paid, and will not be.
    Failed {
        /// Why.
        reason: SettleReason,
    },
}

impl SettlementSaid {
    /// Whether nothing follows it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Accepted | Self::Dispatched)
    }
}

/// Why something is not paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettleReason {
    /// The request or the invoice has expired.
    Expired,
    /// The issuer keeps no books in this unit.
    UnitUnknown,
    /// The issuer owes the holder nothing, or does not know the state that the request names.
    NoClaim,
    /// The issuer owes the holder less, as what is reserved already counts.
    ClaimSmaller,
    /// The issuer has another rate, or none.
    RateOff,
    /// The issuer can pay in none of these ways.
    NoMethod,
    /// What is to be paid can't be read.
    TargetMalformed,
    /// The invoice or the amounts in the request say something else.
    AmountDiffers,
    /// This payment hash was used before.
    HashUsed,
    /// Another request had this id.
    IdUsed,
    /// The direct release did not come.
    ReleaseMissing,
    /// The direct release is not what the request needs, or belongs to another one.
    ReleaseDiffers,
    /// The issuer does not do this for the holder.
    NotAllowed,
    /// The issuer has too much to do.
    Busy,
    /// No way to pay worked.
    RailFailed,
    /// The holder took it back.
    Withdrawn,
}

impl SettleReason {
    /// Every reason.
    pub const ALL: [Self; 16] = [
        Self::Expired,
        Self::UnitUnknown,
        Self::NoClaim,
        Self::ClaimSmaller,
        Self::RateOff,
        Self::NoMethod,
        Self::TargetMalformed,
        Self::AmountDiffers,
        Self::HashUsed,
        Self::IdUsed,
        Self::ReleaseMissing,
        Self::ReleaseDiffers,
        Self::NotAllowed,
        Self::Busy,
        Self::RailFailed,
        Self::Withdrawn,
    ];

    /// The stable code, as in records.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::UnitUnknown => "unit_unknown",
            Self::NoClaim => "no_claim",
            Self::ClaimSmaller => "claim_smaller",
            Self::RateOff => "rate_off",
            Self::NoMethod => "no_method",
            Self::TargetMalformed => "target_malformed",
            Self::AmountDiffers => "amount_differs",
            Self::HashUsed => "hash_used",
            Self::IdUsed => "id_used",
            Self::ReleaseMissing => "release_missing",
            Self::ReleaseDiffers => "release_differs",
            Self::NotAllowed => "not_allowed",
            Self::Busy => "busy",
            Self::RailFailed => "rail_failed",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl Record for SettlementAnswer {
    const TYP: &'static str = "atomicity-settlement-answer";

    fn author(&self) -> UserKey {
        self.from
    }

    fn check(&self) -> Result<(), LedgerError> {
        let typ = Self::TYP;
        rule(typ, self.from != self.to, "from and to are the same user")?;
        match &self.said {
            SettlementSaid::Declined { offer, .. } => check_pays(typ, offer.as_ref()),
            SettlementSaid::Paid { method, .. } => check_method(typ, method),
            _ => Ok(()),
        }
    }
}

/// `from`, the holder, takes a request back. It counts if nothing was sent to a rail yet; else the issuer answers `dispatched`.
/// Signed by the key that keeps the books of `from` towards `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettlementWithdrawal {
    /// Version 1.
    pub v: Version,
    /// The request.
    pub settlement: RecordHash,
    /// Who takes it back: the holder.
    pub from: UserKey,
    /// Who was asked: the issuer.
    pub to: UserKey,
    /// When it was signed; information only.
    pub at: Timestamp,
}

impl Record for SettlementWithdrawal {
    const TYP: &'static str = "atomicity-settlement-withdrawal";

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
