//! Units as people type them into a form.

use std::collections::BTreeSet;

use atomicity_ledger::{LedgerError, Unit};

use super::books::Books;
use crate::error::PluginError;

/// Reads a unit that somebody typed: `USD/2`, or only its code if the user has books in exactly one unit of this code.
///
/// In a record, a code alone is a unit without decimal places. The page shows the code alone for all units, so here it means the unit that
/// the user knows by it. A unit without decimal places can be written as `COFFEE/0`. Small letters are taken for capitals.
///
/// # Errors
/// `unit_invalid`: it is no unit, or a code that none or several of the user's units have. The text says what to write.
pub fn resolve(books: &Books, typed: &str) -> Result<Unit, PluginError> {
    let typed = typed.trim().to_ascii_uppercase();
    if let Some(code) = typed.strip_suffix("/0")
        && !code.contains('/')
    {
        return read(code);
    }
    let unit = read(&typed)?;
    if typed.contains('/') {
        return Ok(unit);
    }
    let known: BTreeSet<&Unit> = books
        .lines
        .iter()
        .map(|line| &line.unit)
        .filter(|known| known.code() == unit.code())
        .collect();
    let mut all = known.iter();
    match (all.next(), all.next()) {
        (Some(only), None) => Ok(Unit::clone(only)),
        (None, _) => Err(invalid(format!(
            "the unit: you have no books in {unit} yet, so say how many decimal places it has: write {unit}/2 for two, {unit}/0 for none"
        ))),
        _ => {
            let known: Vec<String> = known.iter().map(|unit| written(unit)).collect();
            Err(invalid(format!(
                "the unit: {unit} could be several of yours: write {}",
                known.join(" or ")
            )))
        }
    }
}

/// A unit with its decimal places, also if there are none.
fn written(unit: &Unit) -> String {
    format!("{}/{}", unit.code(), unit.decimals())
}

fn read(text: &str) -> Result<Unit, PluginError> {
    text.parse()
        .map_err(|error: LedgerError| invalid(format!("the unit: {error}")))
}

fn invalid(detail: String) -> PluginError {
    PluginError::BadRequest {
        code: "unit_invalid",
        detail,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use atomicity_ledger::{Balance, Keypair, Total};

    use super::super::books::{Line, Source};
    use super::*;

    fn books(units: &[&str]) -> Books {
        let mut books = Books::default();
        for (number, unit) in (1..).zip(units) {
            books.lines.push(Line {
                peer: Keypair::from_secret(&[number; 32]).user_key(),
                unit: unit.parse().unwrap(),
                balance: Balance::from_minor(0),
                accept: Total::ZERO,
                accepted: Total::ZERO,
                can_pay: 0,
                can_get: 0,
                frozen: false,
                source: Source::Kept,
            });
        }
        books
    }

    #[test]
    fn a_code_means_the_unit_that_the_user_knows_by_it() {
        let books = books(&["USD/2", "USD/2", "COFFEE", "HOUR/2"]);
        for (typed, unit) in [
            ("USD", "USD/2"),
            (" usd ", "USD/2"),
            ("COFFEE", "COFFEE"),
            ("USD/3", "USD/3"),
            ("USD/0", "USD"),
            ("BREAD/2", "BREAD/2"),
            ("BREAD/0", "BREAD"),
        ] {
            assert_eq!(resolve(&books, typed).unwrap().to_string(), unit, "{typed}");
        }
    }

    #[test]
    fn what_could_mean_another_unit_is_refused_with_what_to_write() {
        let books = books(&["USD/2", "USD", "HOUR/2"]);
        for (typed, say) in [
            ("USD", "write USD/0 or USD/2"),
            ("EUR", "write EUR/2 for two, EUR/0 for none"),
            ("", "the unit: "),
            ("$", "the unit: "),
            ("USD/x", "the unit: "),
            ("USD/0/0", "the unit: "),
            ("USD/2/0", "the unit: "),
        ] {
            let error = resolve(&books, typed).unwrap_err();
            assert_eq!(error.code(), "unit_invalid", "{typed}");
            assert!(error.to_string().contains(say), "{typed}: {error}");
        }
    }
}
