//! `atomicity-advert`: what a user publishes about the way to one friend.

use serde::{Deserialize, Serialize};

use super::{ascending, rule};
use crate::amount::{Amount, MAX_MINOR, Total};
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::UserKey;
use crate::seq::Serial;
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most units in one advert.
pub const MAX_UNITS: usize = 64;
/// The highest fee that grows with the amount: all of it, in millionths.
pub const MAX_PPM: u32 = 1_000_000;
/// The most undecided promises that a side of a channel can have.
const MAX_SLOTS: u16 = 128;

/// `from` tells everybody what can go over the channel with `to`. It binds nobody: what counts is the credit line.
///
/// There is a way from A to B only if A's advert about B has [`send`](AdvertUnit::send) and B's about A has
/// [`receive`](AdvertUnit::receive) in the same unit, both unexpired; as wide as the narrower of the two. Lies at
/// [`advert_path`] of `to`. Signed by the key that keeps the books of `from` towards `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advert {
    /// Version 1.
    pub v: Version,
    /// Whose advert.
    pub from: UserKey,
    /// About the channel with whom.
    pub to: UserKey,
    /// Later adverts about the same friend have greater serials.
    pub serial: Serial,
    /// What can go in which unit, ascending by unit; nothing if the advert is withdrawn.
    pub units: Vec<AdvertUnit>,
    /// How many promises `from` lets be undecided at once in either direction; not told if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u16>,
    /// The longest that `from` lets a promise be undecided, in seconds.
    pub max_deadline_s: u32,
    /// From then on it counts as withdrawn.
    pub expires: Timestamp,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// What can go over a channel in one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdvertUnit {
    /// The unit.
    pub unit: Unit,
    /// What `from` promises onward to `to`, and for which fee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<Offer>,
    /// What `from` takes from `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive: Option<Intake>,
    /// What one of the two owes the other, if `from` would be glad to have it cleared round a circle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clears: Option<Clears>,
}

/// A debt that `from` agrees to have cleared: at least so much of it, in minor units; [coarse].
///
/// A circle of debts can lead from A to B only if A's advert about B says [`Clears::Owed`] and B's about A says [`Clears::Owes`], both
/// unexpired; as wide as the smaller of the two, and without a fee. This makes a rough figure of a debt public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Clears {
    /// `to` owes it to `from`.
    Owed(Amount),
    /// `from` owes it to `to`.
    Owes(Amount),
}

impl Clears {
    /// How much, in minor units.
    #[must_use]
    pub fn amount(self) -> Amount {
        match self {
            Self::Owed(amount) | Self::Owes(amount) => amount,
        }
    }
}

/// What a user promises onward to a friend, and for which fee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The most, in minor units; [coarse].
    pub capacity: Amount,
    /// The least, in minor units.
    pub min: Amount,
    /// The fixed part of the fee, in minor units.
    pub base: Total,
    /// The part of the fee that grows with the amount, in millionths of it.
    pub ppm: u32,
}

/// What a user takes from a friend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intake {
    /// The most, in minor units; [coarse].
    pub capacity: Amount,
}

impl Offer {
    /// The fee for promising `onward`.
    ///
    /// # Errors
    /// [`LedgerError::TotalOverflow`] if it exceeds every amount.
    pub fn fee(&self, onward: Amount) -> Result<Total, LedgerError> {
        fee(self.base, self.ppm, onward)
    }
}

impl Advert {
    /// What it says about `unit` at `now`; nothing once it has expired.
    #[must_use]
    pub fn unit_at(&self, unit: &Unit, now: Timestamp) -> Option<&AdvertUnit> {
        let in_force = now < self.expires;
        self.units
            .iter()
            .find(|entry| in_force && entry.unit == *unit)
    }
}

/// The fee of a hop for promising `onward`: `base`, and `ppm` millionths of it, rounded up. All in minor units.
///
/// # Errors
/// [`LedgerError::TotalOverflow`] if it exceeds every amount.
pub fn fee(base: Total, ppm: u32, onward: Amount) -> Result<Total, LedgerError> {
    let share = (u128::from(onward.minor()) * u128::from(ppm)).div_ceil(u128::from(MAX_PPM));
    let fee = u64::try_from(u128::from(base.minor()) + share).ok();
    fee.and_then(|fee| Total::from_minor(fee).ok())
        .ok_or(LedgerError::TotalOverflow)
}

/// What of `minor` an advert may tell: the greatest 1, 2 or 5 times a power of ten that is not above it. Nothing of zero.
///
/// So small payments don't show in adverts, and balances can't be read from them.
#[must_use]
pub fn coarse(minor: u64) -> Option<Amount> {
    let minor = minor.min(MAX_MINOR);
    let power = 10u64.checked_pow(minor.checked_ilog10()?)?;
    let lead = match minor / power {
        1 => 1,
        2..=4 => 2,
        _ => 5,
    };
    Amount::from_minor(power.checked_mul(lead)?).ok()
}

/// Where the advert about the channel with `to` lies on the homeserver of whoever publishes it.
#[must_use]
pub fn advert_path(to: &UserKey) -> String {
    format!("/pub/atomicity/v0/routes/{to}")
}

/// Whether an amount may be told as it is.
pub(super) fn is_coarse(amount: Amount) -> bool {
    coarse(amount.minor()) == Some(amount)
}

impl Record for Advert {
    const TYP: &'static str = "atomicity-advert";

    fn author(&self) -> UserKey {
        self.from
    }

    fn check(&self) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        rule(self.from != self.to, "from and to are the same user")?;
        rule(
            self.units.len() <= MAX_UNITS && ascending(&self.units, |u| &u.unit),
            "units must be at most 64, strictly ascending",
        )?;
        rule(
            self.slots.is_none_or(|slots| slots <= MAX_SLOTS),
            "slots is more than 128",
        )?;
        for unit in &self.units {
            rule(
                unit.send.is_some() || unit.receive.is_some() || unit.clears.is_some(),
                "a unit has neither send nor receive nor clears",
            )?;
            let sent = unit.send.as_ref().map(|offer| offer.capacity);
            let taken = unit.receive.as_ref().map(|intake| intake.capacity);
            let cleared = unit.clears.map(Clears::amount);
            rule(
                sent.into_iter().chain(taken).chain(cleared).all(is_coarse),
                "a capacity is not 1, 2 or 5 times a power of ten",
            )?;
            let Some(offer) = &unit.send else { continue };
            rule(offer.min <= offer.capacity, "min is above the capacity")?;
            rule(offer.ppm <= MAX_PPM, "ppm is more than 1000000")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_told_is_round_and_never_more_than_there_is() {
        let cases = [
            (1, 1),
            (2, 2),
            (3, 2),
            (4, 2),
            (5, 5),
            (9, 5),
            (10, 10),
            (19, 10),
            (20, 20),
            (49, 20),
            (50, 50),
            (99, 50),
            (100, 100),
            (4_999_999, 2_000_000),
            (MAX_MINOR, 5_000_000_000_000_000_000),
            (u64::MAX, 5_000_000_000_000_000_000),
        ];
        for (minor, told) in cases {
            assert_eq!(coarse(minor).unwrap().minor(), told, "{minor}");
            assert!(is_coarse(coarse(minor).unwrap()), "{minor}");
        }
        assert_eq!(coarse(0), None);
        assert!(!is_coarse(Amount::from_minor(30).unwrap()));
        assert!(!is_coarse(Amount::from_minor(101).unwrap()));
    }

    #[test]
    fn fees_are_rounded_up_and_never_wrap() {
        let of = |base, ppm, onward| {
            let base = Total::from_minor(base).unwrap();
            fee(base, ppm, Amount::from_minor(onward).unwrap()).map(Total::minor)
        };
        assert_eq!(of(0, 0, MAX_MINOR), Ok(0));
        assert_eq!(of(3, 0, 1), Ok(3));
        assert_eq!(of(3, 1, 1), Ok(4));
        assert_eq!(of(0, 1, 1_000_000), Ok(1));
        assert_eq!(of(0, 1, 1_000_001), Ok(2));
        assert_eq!(of(0, MAX_PPM, MAX_MINOR), Ok(MAX_MINOR));
        assert_eq!(of(1, MAX_PPM, MAX_MINOR), Err(LedgerError::TotalOverflow));
        assert_eq!(of(0, u32::MAX, MAX_MINOR), Err(LedgerError::TotalOverflow));
    }
}
