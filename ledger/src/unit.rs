//! Units in Unambiguous Monetary Notation: `USD/2`, `BTC/8`, `HOUR/2`, `COFFEE`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::amount::Balance;
use crate::error::LedgerError;

/// What is owed: a code and the number of decimal places of its minor unit.
///
/// The code is `[A-Z][A-Z0-9]{0,16}`. The places are written after a slash, 1 to 18, or not at all when there are none;
/// `USD/0` and `USD/02` are malformed. `USD/2` and `USD` are different units.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Unit {
    code: String,
    decimals: u8,
}

/// The most decimal places that a unit may have: 10^18 still fits into an amount.
pub const MAX_DECIMALS: u8 = 18;
const MAX_CODE: usize = 17;

impl Unit {
    /// The code, such as `USD`.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The number of decimal places of the minor unit, 0 to 18.
    #[must_use]
    pub fn decimals(&self) -> u8 {
        self.decimals
    }

    /// How many minor units make one: 10^decimals.
    #[must_use]
    pub fn scale(&self) -> u64 {
        10u64.pow(u32::from(self.decimals))
    }

    /// Minor units as people write them: `200` in `BREAD/2` is `2.00`.
    #[must_use]
    pub fn format_minor(&self, minor: u64) -> String {
        if self.decimals == 0 {
            return minor.to_string();
        }
        let scale = self.scale();
        format!(
            "{}.{:0width$}",
            minor / scale,
            minor % scale,
            width = usize::from(self.decimals)
        )
    }

    /// A signed balance as people write it, with its code: `-0.50 BREAD`.
    #[must_use]
    pub fn format_balance(&self, balance: Balance) -> String {
        let sign = if balance.minor() < 0 { "-" } else { "" };
        format!(
            "{sign}{} {}",
            self.format_minor(balance.minor().unsigned_abs()),
            self.code
        )
    }

    /// Reads a decimal number of this unit into minor units.
    ///
    /// # Errors
    /// [`LedgerError::AmountInvalid`] if it is no plain decimal number, has more places than the unit, or is too large.
    pub fn parse_minor(&self, text: &str) -> Result<u64, LedgerError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
            return Err(LedgerError::AmountInvalid(format!(
                "{text:?} is not a number like 5 or 5.25"
            )));
        }
        if fraction.len() > usize::from(self.decimals) {
            return Err(LedgerError::AmountInvalid(format!(
                "{text:?} has more decimal places than {self} has ({})",
                self.decimals
            )));
        }
        let padded = format!(
            "{whole}{fraction:0<width$}",
            width = usize::from(self.decimals)
        );
        padded
            .parse::<u64>()
            .ok()
            .filter(|minor| *minor <= crate::amount::MAX_MINOR)
            .ok_or_else(|| {
                LedgerError::AmountInvalid(format!("{text:?} is larger than any amount may be"))
            })
    }
}

impl FromStr for Unit {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let invalid = |why| LedgerError::UnitInvalid {
            unit: text.chars().take(32).collect(),
            why,
        };
        let (code, places) = match text.split_once('/') {
            None => (text, None),
            Some((code, places)) => (code, Some(places)),
        };
        let mut bytes = code.bytes();
        if code.len() > MAX_CODE
            || !bytes.next().is_some_and(|b| b.is_ascii_uppercase())
            || !bytes.all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        {
            return Err(invalid(
                "a code is 1 to 17 capital letters and digits, a letter first",
            ));
        }
        let decimals = match places {
            None => 0,
            Some(p) => p
                .parse::<u8>()
                .ok()
                .filter(|n| (1..=MAX_DECIMALS).contains(n) && n.to_string() == p)
                .ok_or_else(|| {
                    invalid("after the slash stand 1 to 18 decimal places, without leading zero")
                })?,
        };
        Ok(Self {
            code: code.to_owned(),
            decimals,
        })
    }
}

impl TryFrom<String> for Unit {
    type Error = LedgerError;

    fn try_from(text: String) -> Result<Self, LedgerError> {
        text.parse()
    }
}

impl From<Unit> for String {
    fn from(unit: Unit) -> Self {
        unit.to_string()
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decimals {
            0 => f.write_str(&self.code),
            n => write!(f, "{}/{n}", self.code),
        }
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unit({self})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn units_read_back_as_written() {
        for text in ["USD/2", "BTC/8", "COFFEE", "A", "X9/18"] {
            assert_eq!(text.parse::<Unit>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn malformed_units_are_refused() {
        for text in [
            "",
            "usd/2",
            "USD/0",
            "USD/02",
            "USD/19",
            "USD/",
            "/2",
            "2USD",
            "USD/2/2",
            "USD /2",
            "USD/+2",
            "ABCDEFGHIJKLMNOPQR",
            "É",
        ] {
            assert!(text.parse::<Unit>().is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_read_and_print_exactly() {
        let unit: Unit = "BREAD/2".parse().unwrap();
        assert_eq!(unit.parse_minor("2").unwrap(), 200);
        assert_eq!(unit.parse_minor("2.5").unwrap(), 250);
        assert_eq!(unit.format_minor(5), "0.05");
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "1.234",
            "-1",
            "1e3",
            "1,5",
            "99999999999999999999",
        ] {
            assert!(unit.parse_minor(bad).is_err(), "{bad}");
        }
    }
}
