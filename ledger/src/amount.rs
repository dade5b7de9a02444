//! Whole numbers of minor units: what is paid ([`Amount`]), what was given in all ([`Total`]), what is owed net ([`Balance`]).
//!
//! All arithmetic is checked. In JSON, amounts and totals are decimal strings without sign or leading zeros, because JSON
//! numbers lose precision above 2^53 in many readers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::LedgerError;

/// The largest amount and the largest total: 2^63 − 1 minor units.
pub const MAX_MINOR: u64 = i64::MAX as u64;

/// Reads a decimal string as it stands in records: digits only, no leading zero, at most `max`.
pub(crate) fn parse_decimal(text: &str, max: u64) -> Result<u64, LedgerError> {
    let plain = !text.is_empty()
        && text.len() <= 20
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    text.parse::<u64>()
        .ok()
        .filter(|n| plain && *n <= max)
        .ok_or_else(|| {
            let shown: String = text.chars().take(32).collect();
            LedgerError::AmountInvalid(format!(
                "{shown:?} is not a decimal number from 0 to {max} without sign or leading zeros"
            ))
        })
}

macro_rules! minor_units {
    ($(#[$doc:meta])* $name:ident, $min:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(u64);

        impl $name {
            /// Takes a number of minor units.
            ///
            /// # Errors
            /// [`LedgerError::AmountInvalid`] if it is out of range.
            pub fn from_minor(minor: u64) -> Result<Self, LedgerError> {
                if ($min..=MAX_MINOR).contains(&minor) {
                    Ok(Self(minor))
                } else {
                    Err(LedgerError::AmountInvalid(format!(
                        "{minor} is not between {} and {MAX_MINOR} minor units",
                        $min
                    )))
                }
            }

            /// The number of minor units.
            #[must_use]
            pub fn minor(self) -> u64 {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = LedgerError;

            fn from_str(text: &str) -> Result<Self, LedgerError> {
                parse_decimal(text, MAX_MINOR).and_then(Self::from_minor)
            }
        }

        impl TryFrom<String> for $name {
            type Error = LedgerError;

            fn try_from(text: String) -> Result<Self, LedgerError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

minor_units! {
    /// What one payment is worth: 1 to 2^63 − 1 minor units.
    Amount, 1
}

minor_units! {
    /// A running total: 0 to 2^63 − 1 minor units. It only grows.
    Total, 0
}

impl Default for Total {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Total {
    /// Nothing given yet.
    pub const ZERO: Self = Self(0);
    /// The largest total.
    pub const MAX: Self = Self(MAX_MINOR);

    /// The total after `amount` more.
    ///
    /// # Errors
    /// [`LedgerError::TotalOverflow`] above 2^63 − 1.
    pub fn grow(self, amount: Amount) -> Result<Self, LedgerError> {
        self.0
            .checked_add(amount.0)
            .filter(|n| *n <= MAX_MINOR)
            .map(Self)
            .ok_or(LedgerError::TotalOverflow)
    }

    /// By how much this total exceeds `earlier`; zero if it doesn't.
    #[must_use]
    pub fn growth_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What a peer owes, net, in minor units: positive is owed to the one who asks, negative is owed by them.
///
/// The difference of two totals always fits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Balance(i64);

impl Balance {
    /// `d(A,B) = issued(B→A) − issued(A→B)`: what B owes A.
    #[must_use]
    pub fn between(issued_by_peer: Total, issued_by_me: Total) -> Self {
        // Totals are at most 2^63 − 1, so each fits and the difference is within ±(2^63 − 1): nothing saturates.
        let signed = |total: Total| i64::try_from(total.0).unwrap_or(i64::MAX);
        Self(signed(issued_by_peer).saturating_sub(signed(issued_by_me)))
    }

    /// Takes signed minor units.
    #[must_use]
    pub fn from_minor(minor: i64) -> Self {
        Self(minor)
    }

    /// Signed minor units.
    #[must_use]
    pub fn minor(self) -> i64 {
        self.0
    }

    /// The same balance seen from the other side.
    #[must_use]
    pub fn mirrored(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl fmt::Debug for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Balance({})", self.0)
    }
}

impl Serialize for Balance {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Balance {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.as_str()),
        };
        let minor = parse_decimal(digits, MAX_MINOR).map_err(serde::de::Error::custom)?;
        let minor = i64::try_from(minor).map_err(serde::de::Error::custom)?;
        if negative && minor == 0 {
            return Err(serde::de::Error::custom("-0 is not a balance"));
        }
        Ok(Self(if negative { -minor } else { minor }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn decimal_strings_are_strict() {
        for bad in [
            "",
            "00",
            "01",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1.0",
            "9223372036854775808",
            "1e1",
        ] {
            assert!(bad.parse::<Total>().is_err(), "{bad}");
        }
        assert!("0".parse::<Amount>().is_err());
        assert_eq!("9223372036854775807".parse::<Total>().unwrap(), Total::MAX);
    }

    #[test]
    fn totals_never_wrap() {
        let one = Amount::from_minor(1).unwrap();
        assert!(Total::MAX.grow(one).is_err());
        assert_eq!(
            Balance::between(Total::ZERO, Total::MAX),
            Balance::between(Total::MAX, Total::ZERO).mirrored()
        );
    }
}
