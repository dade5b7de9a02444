//! `atomicity-spend` and `atomicity-pass`: what the key of a payment account asks the agent of its user for.

use serde::{Deserialize, Serialize};

use super::target::{Pays, Target, check_method, check_pays};
use super::{Invoice, rule};
use crate::amount::{Amount, Total};
use crate::decimal::{Asset, Decimal};
use crate::error::LedgerError;
use crate::jws::{Record, Signed, Version};
use crate::key::UserKey;
use crate::text::{Memo, RecordId};
use crate::time::Timestamp;
use crate::unit::Unit;

/// The key of a payment account asks that `owner` pays, once. Signed by that key, which a delegation of `owner` with the scope
/// `request` names; to anybody but the owner's agent and the owner's wallet it is worth nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spend {
    /// Version 1.
    pub v: Version,
    /// Its name. There is one with it for the owner, ever.
    pub id: RecordId,
    /// Who is to pay.
    pub owner: UserKey,
    /// The plugin with the owner's agent: at another one it is void.
    pub plugin: UserKey,
    /// In what.
    pub unit: Unit,
    /// How much is to arrive, in minor units. Of a place outside: what it counts for in the account.
    pub amount: Amount,
    /// Whom, or what.
    pub to: SpendTo,
    /// What arrives at a place outside; `amount` of what the unit counts if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pays: Option<Pays>,
    /// The most that those who pass it on may take beyond the amount, in minor units; nothing if absent. What a rail
    /// costs is the owner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fee: Option<Amount>,
    /// A few words for the payee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<Memo>,
    /// From then on nobody may begin to pay.
    pub expires: Timestamp,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// Whom, or what, a spend pays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpendTo {
    /// A user, in credit.
    Peer(UserKey),
    /// Whoever asks for it in this invoice. Its signature was checked; whether the key that signed may do so for the payee was not.
    #[serde(with = "compact")]
    Invoice(Box<Signed<Invoice>>),
    /// A place outside, through a rail of the owner.
    Target(Target),
}

/// The key of a payment account shows who it is, to read how its account stands. Signed by that key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    /// Version 1.
    pub v: Version,
    /// Whose account.
    pub owner: UserKey,
    /// To which plugin.
    pub plugin: UserKey,
    /// From then on it is void.
    pub expires: Timestamp,
    /// When it was signed; information only.
    pub at: Timestamp,
}

impl Spend {
    /// Which user is to be paid; `None` for a place outside.
    #[must_use]
    pub fn payee(&self) -> Option<UserKey> {
        match &self.to {
            SpendTo::Peer(user) => Some(*user),
            SpendTo::Invoice(invoice) => Some(invoice.record().payee),
            SpendTo::Target(_) => None,
        }
    }

    /// The most that it costs, in minor units: what is to arrive, and what those who pass it on may take.
    ///
    /// # Errors
    /// [`LedgerError::TotalOverflow`] if that exceeds every amount.
    pub fn cost(&self) -> Result<Total, LedgerError> {
        let fee = self.max_fee.map_or(0, Amount::minor);
        let cost = self.amount.minor().checked_add(fee);
        let cost = cost.and_then(|cost| Total::from_minor(cost).ok());
        cost.ok_or(LedgerError::TotalOverflow)
    }

    /// What arrives, if a place outside is paid.
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

    /// Whether nobody may begin to pay any more at `now`.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.expires
    }
}

impl Spend {
    fn check_target(&self, target: &Target) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        check_method(Self::TYP, &target.method)?;
        check_pays(Self::TYP, self.pays.as_ref())?;
        rule(
            self.max_fee.is_none(),
            "nobody passes on what is paid outside",
        )?;
        rule(
            !target.is_invoice() || self.pays.as_ref().and_then(Pays::millisatoshi).is_some(),
            "a Lightning invoice is paid in BTC, in whole thousandths of a satoshi",
        )
    }
}

impl Record for Spend {
    const TYP: &'static str = "atomicity-spend";

    fn author(&self) -> UserKey {
        self.owner
    }

    fn check(&self) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        rule(self.payee() != Some(self.owner), "the owner is the payee")?;
        self.cost()?;
        rule(
            self.pays.is_none() || matches!(self.to, SpendTo::Target(_)),
            "only a place outside is paid in something else",
        )?;
        match &self.to {
            SpendTo::Peer(_) => Ok(()),
            SpendTo::Target(target) => self.check_target(target),
            SpendTo::Invoice(invoice) => {
                let asked = invoice.record();
                rule(
                    asked.unit == self.unit,
                    "the invoice is in another unit than the spend",
                )?;
                rule(
                    asked.amount.is_none_or(|amount| amount == self.amount),
                    "the invoice asks for another amount than the spend",
                )
            }
        }
    }
}

impl Record for Pass {
    const TYP: &'static str = "atomicity-pass";

    fn author(&self) -> UserKey {
        self.owner
    }

    fn check(&self) -> Result<(), LedgerError> {
        Ok(())
    }
}

/// A record within another one: its compact form, whose signature is checked when it is read.
mod compact {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::jws::{Record, Signed};

    pub fn serialize<T: Record, S: Serializer>(
        record: &Signed<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(record.jws())
    }

    pub fn deserialize<'de, T: Record, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Box<Signed<T>>, D::Error> {
        let jws = String::deserialize(deserializer)?;
        Signed::decode(&jws)
            .map(Box::new)
            .map_err(de::Error::custom)
    }
}
