//! Money as people write it: `5 USD`, `2.50 BREAD/2`.

use std::fmt;

use crate::amount::Amount;
use crate::error::LedgerError;
use crate::unit::Unit;

/// An amount with its unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Money {
    /// How much, in minor units.
    pub amount: Amount,
    /// Of what.
    pub unit: Unit,
}

impl Money {
    /// Reads `<number> <unit>`. The unit may be written in full (`5 USD/2`) or, if exactly one of `known` bears its code, by
    /// the code alone (`5 USD`).
    ///
    /// # Errors
    /// Says what is wrong with the number or the unit, and which units the code could mean.
    pub fn parse(text: &str, known: &[Unit]) -> Result<Self, LedgerError> {
        let (number, unit) = text.trim().split_once(char::is_whitespace).ok_or_else(|| {
            LedgerError::AmountInvalid(format!(
                "{text:?}: write a number and a unit, such as 5 USD/2"
            ))
        })?;
        let unit = resolve_unit(unit.trim(), known)?;
        let amount = Amount::from_minor(unit.parse_minor(number)?)?;
        Ok(Self { amount, unit })
    }
}

/// The unit that `text` names: in full, or by its code if that is clear among `known`.
///
/// # Errors
/// [`LedgerError::UnitInvalid`] if it is malformed; [`LedgerError::UnitAmbiguous`] if the code alone fits several known units.
pub fn resolve_unit(text: &str, known: &[Unit]) -> Result<Unit, LedgerError> {
    let parsed: Unit = text.parse()?;
    if text.contains('/') || known.contains(&parsed) {
        return Ok(parsed);
    }
    let matches: Vec<&Unit> = known.iter().filter(|u| u.code() == parsed.code()).collect();
    match matches.as_slice() {
        [] => Ok(parsed),
        [one] => Ok((*one).clone()),
        several => Err(LedgerError::UnitAmbiguous {
            code: parsed.code().to_owned(),
            candidates: several
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}",
            self.unit.format_minor(self.amount.minor()),
            self.unit.code()
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_code_alone_means_the_one_known_unit() {
        let usd: Unit = "USD/2".parse().unwrap();
        let money = Money::parse("5 USD", std::slice::from_ref(&usd)).unwrap();
        assert_eq!(
            (money.amount.minor(), money.to_string().as_str()),
            (500, "5.00 USD")
        );
        let other: Unit = "USD/4".parse().unwrap();
        assert!(Money::parse("5 USD", &[usd, other]).is_err());
        assert_eq!(Money::parse("5 USD", &[]).unwrap().amount.minor(), 5);
    }

    #[test]
    fn nothing_is_not_money() {
        for bad in ["0 USD/2", "5", "USD", "five USD", "5.001 USD/2"] {
            assert!(Money::parse(bad, &[]).is_err(), "{bad}");
        }
    }
}
