//! `atomicity-settlement`: the holder of a claim asks its issuer to pay it off outside.

use serde::{Deserialize, Serialize};

use super::rule;
use super::target::{Pays, Target, check_pays, check_targets};
use crate::amount::Amount;
use crate::decimal::{Asset, Decimal};
use crate::error::LedgerError;
use crate::jws::{Record, RecordHash, Version};
use crate::key::UserKey;
use crate::seq::{Epoch, Seq};
use crate::text::{Memo, RecordId};
use crate::time::Timestamp;
use crate::unit::Unit;

/// `holder`, whom `issuer` owes at least `amount`, asks the issuer to pay outside, once: the claim falls by exactly `amount`. Signed
/// by the key that keeps the books of `holder` towards `issuer`.
///
/// To pay a Lightning invoice the holder gives a direct release (a promise without logs) on the invoice's payment hash: it comes due
/// exactly if the issuer can show the preimage. On every other rail the issuer pays first, and keeps this record with the rail's
/// proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settlement {
    /// Version 1.
    pub v: Version,
    /// Its name. There is one request with it between the two, ever.
    pub id: RecordId,
    /// Who holds the claim.
    pub holder: UserKey,
    /// Who owes.
    pub issuer: UserKey,
    /// In what.
    pub unit: Unit,
    /// By how much the claim is to fall, in minor units.
    pub amount: Amount,
    /// Where to pay, what the holder likes best first; the holder's endpoints if there are none.
    pub targets: Vec<Target>,
    /// What is to be paid outside; `amount` of what the unit counts if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pays: Option<Pays>,
    /// The direct release of the holder on the payment hash of the one target, a Lightning invoice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<RecordHash>,
    /// The newest state of the issuer that the holder has; absent if no state books the claim yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimRef>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<Memo>,
    /// From then on the issuer must not begin to pay.
    pub expires: Timestamp,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// A state that a claim stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRef {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its number.
    pub seq: Seq,
    /// Its hash.
    pub hash: RecordHash,
}

impl Settlement {
    /// Whether the issuer must not begin to pay any more at `now`.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.expires
    }

    /// Whether a Lightning invoice is to be paid.
    #[must_use]
    pub fn is_invoice(&self) -> bool {
        self.release.is_some()
    }

    /// What is to be paid outside.
    ///
    /// # Errors
    /// [`LedgerError::OutOfRange`] if the amount has no place in a [`Decimal`]; not with units that exist.
    pub fn payment(&self) -> Result<Pays, LedgerError> {
        match &self.pays {
            Some(pays) => Ok(pays.clone()),
            None => Ok(Pays {
                asset: Asset::of(&self.unit),
                amount: Decimal::from_minor(self.amount.minor(), self.unit.decimals())?,
            }),
        }
    }
}

impl Record for Settlement {
    const TYP: &'static str = "atomicity-settlement";

    fn author(&self) -> UserKey {
        self.holder
    }

    fn check(&self) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        rule(
            self.holder != self.issuer,
            "holder and issuer are the same user",
        )?;
        check_targets(Self::TYP, &self.targets)?;
        check_pays(Self::TYP, self.pays.as_ref())?;
        let invoice = self.targets.iter().any(Target::is_invoice);
        rule(
            invoice == self.release.is_some(),
            "a Lightning invoice and a direct release need each other",
        )?;
        rule(
            !invoice || self.targets.len() == 1,
            "a Lightning invoice must be the only target",
        )?;
        rule(
            !invoice || self.pays.as_ref().and_then(Pays::millisatoshi).is_some(),
            "a Lightning invoice is paid in BTC, in whole thousandths of a satoshi",
        )
    }
}
