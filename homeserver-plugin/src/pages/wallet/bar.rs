//! A balance between its two limits, as a picture.

use atomicity_ledger::{Balance, Unit};
use maud::{Markup, html};

use super::books::Line;

/// Width of the picture in its own units.
const WIDTH: i128 = 1_000;

/// Where things lie in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Places {
    zero: i128,
    balance: i128,
    low: i128,
    high: i128,
}

/// From what the user may owe (left) over nothing to what the friend may owe (right); farther, if the balance is.
fn places(line: &Line) -> Places {
    let low = -i128::from(line.accepted.minor());
    let high = i128::from(line.accept.minor());
    let balance = i128::from(line.balance.minor());
    let (left, right) = (low.min(balance), high.max(balance));
    let span = right.saturating_sub(left).max(1);
    let place = |value: i128| value.saturating_sub(left).saturating_mul(WIDTH) / span;
    Places {
        zero: place(0),
        balance: place(balance),
        low: place(low),
        high: place(high),
    }
}

/// A signed number of minor units as an element that scripts can localize.
pub fn signed(unit: &Unit, balance: Balance) -> Markup {
    let sign = if balance.minor() < 0 { "-" } else { "" };
    let number = format!(
        "{sign}{}",
        unit.format_minor(balance.minor().unsigned_abs())
    );
    html! { data value=(number) data-unit=(unit.code()) { (number) " " (unit.code()) } }
}

/// What a balance means to the user. Only the name is in its own direction of writing, so that it turns nothing round but itself.
pub fn words(line: &Line, name: &str) -> Markup {
    let amount = super::super::text::amount(&line.unit, line.balance.minor().unsigned_abs());
    html! {
        span {
            @match line.balance.minor() {
                0 => "You owe each other nothing",
                minor if minor > 0 => { bdi { (name) } " owes you " (amount) }
                _ => { "You owe " bdi { (name) } " " (amount) }
            }
        }
    }
}

/// The same for an attribute, where no element can keep the name apart: characters do.
fn spoken(line: &Line, name: &str) -> String {
    let name = isolated(name);
    let amount = line.unit.format_minor(line.balance.minor().unsigned_abs());
    let code = line.unit.code();
    match line.balance.minor() {
        0 => "You owe each other nothing".to_owned(),
        minor if minor > 0 => format!("{name} owes you {amount} {code}"),
        _ => format!("You owe {name} {amount} {code}"),
    }
}

/// A name between the characters that begin and end a direction of writing of its own.
fn isolated(name: &str) -> String {
    format!("\u{2068}{name}\u{2069}")
}

/// What a balance will mean.
pub fn after(unit: &Unit, balance: Balance) -> Markup {
    let amount = super::super::text::amount(unit, balance.minor().unsigned_abs());
    html! {
        @match balance.minor() {
            0 => "you owe each other nothing",
            minor if minor > 0 => { "they owe you " (amount) }
            _ => { "you owe them " (amount) }
        }
    }
}

/// The picture.
pub fn bar(line: &Line, name: &str) -> Markup {
    let at = places(line);
    let (from, to) = (at.zero.min(at.balance), at.zero.max(at.balance));
    let side = if line.balance.minor() < 0 {
        "owing"
    } else {
        "owed"
    };
    let label = format!(
        "{}. You may owe up to {}, {} up to {}",
        spoken(line, name),
        line.unit.format_minor(line.accepted.minor()),
        isolated(name),
        line.unit.format_minor(line.accept.minor()),
    );
    html! {
        svg.bar viewBox="0 0 1000 60" preserveAspectRatio="none" role="img" aria-label=(label) {
            rect.rail x=(at.low) y="20" width=(at.high - at.low) height="20" rx="10" {}
            rect class=(side) x=(from) y="14" width=((to - from).max(4)) height="32" rx="6" {}
            rect.zero x=((at.zero - 2).max(0)) y="4" width="4" height="52" {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use atomicity_ledger::{Keypair, Total};

    use super::*;
    use crate::pages::wallet::books::Source;

    fn line(balance: i64, accept: u64, accepted: u64) -> Line {
        Line {
            peer: Keypair::from_secret(&[1; 32]).user_key(),
            unit: "BREAD/2".parse().unwrap(),
            balance: Balance::from_minor(balance),
            accept: Total::from_minor(accept).unwrap(),
            accepted: Total::from_minor(accepted).unwrap(),
            can_pay: 0,
            can_get: 0,
            frozen: false,
            source: Source::Told,
        }
    }

    #[test]
    fn the_balance_lies_between_the_limits_in_proportion() {
        let at = places(&line(200, 500, 500));
        assert_eq!((at.low, at.zero, at.balance, at.high), (0, 500, 700, 1_000));
        let at = places(&line(-500, 0, 500));
        assert_eq!((at.low, at.zero, at.balance, at.high), (0, 1_000, 0, 1_000));
    }

    #[test]
    fn nothing_and_too_much_have_a_place_too() {
        let at = places(&line(0, 0, 0));
        assert_eq!((at.low, at.zero, at.balance, at.high), (0, 0, 0, 0));
        let at = places(&line(-1_000, 500, 500));
        assert_eq!((at.low, at.balance), (333, 0));
        let most = u64::try_from(i64::MAX).unwrap();
        let at = places(&line(i64::MIN, most, most));
        assert_eq!((at.balance, at.high), (0, 1_000));
    }

    #[test]
    fn a_name_of_another_direction_of_writing_turns_neither_sentence_nor_sum_round() {
        let shown = words(&line(525, 0, 0), "שרה 12").into_string();
        let sum = "<data value=\"5.25\" data-unit=\"BREAD\">5.25 BREAD</data>";
        assert_eq!(
            shown,
            format!("<span><bdi>שרה 12</bdi> owes you {sum}</span>")
        );
        let shown = words(&line(-525, 0, 0), "שרה 12").into_string();
        assert_eq!(
            shown,
            format!("<span>You owe <bdi>שרה 12</bdi> {sum}</span>")
        );
        let picture = bar(&line(525, 0, 0), "שרה").into_string();
        let label = "aria-label=\"\u{2068}שרה\u{2069} owes you 5.25 BREAD. You may owe up to 0.00, \u{2068}שרה\u{2069} up to 0.00\"";
        assert!(picture.contains(label), "{picture}");
    }

    #[test]
    fn a_name_in_a_picture_is_text() {
        let shown = bar(&line(1, 2, 3), "\"><script>").into_string();
        assert!(!shown.contains("<script>"), "{shown}");
    }
}
