//! Amounts of what is paid outside: decimal numbers of an asset's major unit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::LedgerError;
use crate::unit::Unit;

/// The most digits before the point.
const WHOLE: usize = 19;
/// The most digits after the point.
const PLACES: usize = 18;
const SCALE: u128 = 1_000_000_000_000_000_000;
const MILLION: u128 = 1_000_000;

/// A decimal number from 0, with at most 19 digits before the point and 18 after it. In JSON a string in its one spelling: no
/// leading zeros, no zeros at the end of a fraction, no point without a fraction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Decimal(u128);

impl Decimal {
    /// Reads a number that may have zeros that change nothing, as people and other programs write it.
    ///
    /// # Errors
    /// [`LedgerError::AmountInvalid`] if it is no plain decimal number, or has too many digits.
    pub fn read(text: &str) -> Result<Self, LedgerError> {
        let refuse = || {
            LedgerError::AmountInvalid(format!(
                "{:?} is not a decimal number with at most {WHOLE} digits before and {PLACES} after the point",
                text.chars().take(64).collect::<String>()
            ))
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(refuse());
        }
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        if whole.len() > WHOLE || fraction.len() > PLACES {
            return Err(refuse());
        }
        format!("{whole}{fraction:0<PLACES$}")
            .parse()
            .map(Self)
            .map_err(|_| refuse())
    }

    /// `minor` of an asset with so many decimal places, at most 18.
    ///
    /// # Errors
    /// [`LedgerError::OutOfRange`] if there are more.
    pub fn from_minor(minor: u64, places: u8) -> Result<Self, LedgerError> {
        let step = step(places).ok_or(LedgerError::OutOfRange("decimal places"))?;
        // 2^64 · 10^18 is below 2^128; nineteen digits hold all but the greatest numbers without places.
        let scaled = u128::from(minor) * step;
        if scaled / SCALE >= 10 * SCALE {
            return Err(LedgerError::OutOfRange("decimal number"));
        }
        Ok(Self(scaled))
    }

    /// How many minor units it is of an asset with so many decimal places, if it is a whole number of them and below 2^64.
    #[must_use]
    pub fn to_minor(self, places: u8) -> Option<u64> {
        let step = step(places)?;
        let whole = self.0.is_multiple_of(step).then_some(self.0 / step)?;
        u64::try_from(whole).ok()
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether it differs from `quoted` by no more than `spread_ppm` millionths of that; at most a million of them count.
    #[must_use]
    pub fn is_near(self, quoted: Self, spread_ppm: u32) -> bool {
        let ppm = u128::from(spread_ppm).min(MILLION);
        let spread = quoted.0 / MILLION * ppm + quoted.0 % MILLION * ppm / MILLION;
        self.0.abs_diff(quoted.0) <= spread
    }
}

fn step(places: u8) -> Option<u128> {
    let rest = PLACES.checked_sub(usize::from(places))?;
    10u128.checked_pow(u32::try_from(rest).ok()?)
}

impl FromStr for Decimal {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let read = Self::read(text)?;
        if read.to_string() == text {
            Ok(read)
        } else {
            Err(LedgerError::AmountInvalid(format!(
                "{read} must be written without zeros that change nothing"
            )))
        }
    }
}

impl TryFrom<String> for Decimal {
    type Error = LedgerError;

    fn try_from(text: String) -> Result<Self, LedgerError> {
        text.parse()
    }
}

impl From<Decimal> for String {
    fn from(number: Decimal) -> Self {
        number.to_string()
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / SCALE, self.0 % SCALE);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let fraction = format!("{fraction:0PLACES$}");
        write!(f, "{whole}.{}", fraction.trim_end_matches('0'))
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decimal({self})")
    }
}

/// The code of what is paid outside, such as `BTC` or `USD`: written like the code of a unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Asset(String);

impl Asset {
    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the amounts of `unit` are amounts of.
    #[must_use]
    pub fn of(unit: &Unit) -> Self {
        Self(unit.code().to_owned())
    }
}

impl FromStr for Asset {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let code: Unit = text.parse()?;
        if code.code() == text {
            Ok(Self(text.to_owned()))
        } else {
            Err(LedgerError::UnitInvalid {
                unit: text.chars().take(32).collect(),
                why: "an asset is a code without decimal places",
            })
        }
    }
}

impl TryFrom<String> for Asset {
    type Error = LedgerError;

    fn try_from(text: String) -> Result<Self, LedgerError> {
        text.parse()
    }
}

impl From<Asset> for String {
    fn from(asset: Asset) -> Self {
        asset.0
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn number(text: &str) -> Decimal {
        Decimal::read(text).unwrap()
    }

    #[test]
    fn a_number_has_one_spelling() {
        for text in [
            "0",
            "5",
            "0.00005",
            "9999999999999999999.999999999999999999",
        ] {
            assert_eq!(text.parse::<Decimal>().unwrap().to_string(), text);
        }
        for text in [
            "05", "5.0", "5.", ".5", "00", "0.10", "", "-1", "+1", "1e3", "1 ",
        ] {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
        for text in ["10000000000000000000", "0.0000000000000000001"] {
            assert!(Decimal::read(text).is_err(), "{text}");
        }
        assert_eq!(number("0005.500").to_string(), "5.5");
    }

    #[test]
    fn minor_units_come_and_go_exactly() {
        assert_eq!(number("0.00005").to_minor(11), Some(5_000_000));
        assert_eq!(number("0.000000000001").to_minor(11), None);
        assert_eq!(number("9999999999999999999").to_minor(18), None);
        assert_eq!(Decimal::from_minor(500, 2).unwrap(), number("5"));
        assert_eq!(Decimal::from_minor(1, 18).unwrap().to_minor(18), Some(1));
        assert!(Decimal::from_minor(u64::MAX, 0).is_err());
        assert!(Decimal::from_minor(1, 19).is_err());
    }

    #[test]
    fn what_is_near_is_within_the_spread_and_never_wraps() {
        let near = |a: &str, b: &str, ppm| number(a).is_near(number(b), ppm);
        assert!(near("1.01", "1", 10_000) && near("0.99", "1", 10_000));
        assert!(!near("1.010000000000000001", "1", 10_000));
        assert!(near("1", "1", 0) && !near("1", "2", 0));
        let most = "9999999999999999999.999999999999999999";
        assert!(near("0", most, u32::MAX) && !near("0", most, 999_999));
    }
}
