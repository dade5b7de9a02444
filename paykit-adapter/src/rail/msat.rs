//! Amounts on Lightning.

use std::fmt;
use std::str::FromStr;

use atomicity_ledger::{Amount, Money, Total, Unit};

use super::error::RailError;

/// Thousandths of a satoshi, from 0 to 2^63 − 1. As money they are of the unit `BTC/11`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Msat(u64);

/// `BTC` with the places of a millisatoshi.
const UNIT: &str = "BTC/11";

const PER_SAT: u64 = 1000;

const TOO_LARGE: RailError = RailError::AmountUnusable("it is out of range");

impl Msat {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Takes a number of millisatoshis.
    ///
    /// # Errors
    /// [`RailError::AmountUnusable`] above 2^63 − 1.
    pub fn new(msat: u64) -> Result<Self, RailError> {
        i64::try_from(msat)
            .map(|_| Self(msat))
            .map_err(|_| TOO_LARGE)
    }

    /// Takes a number of satoshis.
    ///
    /// # Errors
    /// [`RailError::AmountUnusable`] if it is too large.
    pub fn from_sat(sat: u64) -> Result<Self, RailError> {
        sat.checked_mul(PER_SAT)
            .ok_or(TOO_LARGE)
            .and_then(Self::new)
    }

    /// The number of millisatoshis.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// In satoshis, rounded up.
    #[must_use]
    pub fn sat_rounded_up(self) -> u64 {
        self.0.div_ceil(PER_SAT)
    }

    /// The sum, or nothing if it is too large.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0
            .checked_add(other.0)
            .and_then(|sum| Self::new(sum).ok())
    }

    /// The difference, or nothing if `other` is larger.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The unit of millisatoshis, `BTC/11`.
    ///
    /// # Errors
    /// Never, as long as `BTC/11` is a unit.
    pub fn unit() -> Result<Unit, RailError> {
        UNIT.parse()
            .map_err(|_| RailError::AmountUnusable("BTC/11 is no unit"))
    }

    /// As money of the unit `BTC/11`.
    ///
    /// # Errors
    /// [`RailError::AmountUnusable`] for nothing, which is no amount of money.
    pub fn to_money(self) -> Result<Money, RailError> {
        let amount =
            Amount::from_minor(self.0).map_err(|_| RailError::AmountUnusable("it is zero"))?;
        Ok(Money {
            amount,
            unit: Self::unit()?,
        })
    }

    /// From money of the unit `BTC/11`.
    ///
    /// # Errors
    /// [`RailError::AmountUnusable`] if it is of another unit: nothing is converted here, least of all rounded.
    pub fn from_money(money: &Money) -> Result<Self, RailError> {
        if money.unit != Self::unit()? {
            return Err(RailError::AmountUnusable("Lightning needs BTC/11"));
        }
        Self::new(money.amount.minor())
    }
}

impl From<Total> for Msat {
    fn from(total: Total) -> Self {
        Self(total.minor())
    }
}

impl TryFrom<Msat> for Total {
    type Error = RailError;

    fn try_from(msat: Msat) -> Result<Self, RailError> {
        Total::from_minor(msat.0).map_err(|_| TOO_LARGE)
    }
}

impl FromStr for Msat {
    type Err = RailError;

    /// Reads a plain decimal number, as nodes write it.
    fn from_str(text: &str) -> Result<Self, RailError> {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| plain);
        number.ok_or(TOO_LARGE).and_then(Self::new)
    }
}

impl fmt::Display for Msat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} msat", self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_wraps() {
        let most = Msat::new(i64::MAX as u64).unwrap();
        assert!(Msat::new(i64::MAX as u64 + 1).is_err());
        assert!(Msat::from_sat(u64::MAX / 2).is_err());
        assert_eq!(most.checked_add(Msat(1)), None);
        assert_eq!(Msat(1).checked_sub(Msat(2)), None);
        assert_eq!(Msat(1).checked_add(Msat(2)), Some(Msat(3)));
        assert_eq!(
            (Msat(1000).sat_rounded_up(), Msat(1001).sat_rounded_up()),
            (1, 2)
        );
    }

    #[test]
    fn money_is_of_its_own_unit() {
        let money = Msat(150_000).to_money().unwrap();
        assert_eq!(money.to_string(), "0.00000150000 BTC");
        assert_eq!(Msat::from_money(&money).unwrap(), Msat(150_000));
        assert!(Msat::ZERO.to_money().is_err());
        for other in ["5 BTC/8", "5 USD/2", "5 MSAT"] {
            let other = Money::parse(other, &[]).unwrap();
            assert!(Msat::from_money(&other).is_err(), "{other}");
        }
    }

    #[test]
    fn only_plain_numbers_are_read() {
        assert_eq!("1500".parse::<Msat>().unwrap(), Msat(1500));
        for text in ["", "-1", "+1", "1.5", "1e3", " 1", "9223372036854775808"] {
            assert!(text.parse::<Msat>().is_err(), "{text:?}");
        }
    }
}
