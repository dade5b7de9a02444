//! Amounts that belong to a unit which is known already, such as the most that a payment may cost.

use atomicity_client::ClientError;
use atomicity_ledger::Unit;

/// Minor units of `unit`, from `0.10` or `0.10 USD`.
///
/// # Errors
/// [`ClientError::Usage`] if another unit stands there; what is wrong with the number.
pub fn minor_in(unit: &Unit, text: &str) -> Result<u64, ClientError> {
    let mut words = text.split_whitespace();
    let number = words.next().unwrap_or_default();
    let named = words.next();
    let fits = named.is_none_or(|named| named == unit.code() || named == unit.to_string());
    if !fits || words.next().is_some() {
        return Err(ClientError::Usage(format!(
            "{text:?} is to be in {unit}: write it like 0.10 {}",
            unit.code()
        )));
    }
    Ok(unit.parse_minor(number)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn another_unit_is_not_taken_for_this_one() {
        let unit: Unit = "BTC/8".parse().unwrap();
        for right in ["0.1", " 0.1 BTC ", "0.1 BTC/8"] {
            assert_eq!(minor_in(&unit, right).unwrap(), 10_000_000, "{right}");
        }
        for wrong in ["0.10 USD", "0.1 BTC more", "BTC", "", "0.1 BTC/2"] {
            assert!(minor_in(&unit, wrong).is_err(), "{wrong}");
        }
    }
}
