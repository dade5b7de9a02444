//! Choosing how much of a bill to pay: what was typed in, against what is asked for and what is left. It works without scripts: the choice stands
//! in the page's address.

use atomicity_ledger::Unit;
use atomicity_ledger::record::{Goal, PaymentRequest, RequestState};
use maud::{Markup, html};
use serde::Deserialize;

use crate::pages::text;

/// Most characters of an amount that are looked at: the largest has fewer.
const MOST: usize = 40;

/// What the address says of a choice.
#[derive(Debug, Default, Deserialize)]
pub struct Typed {
    /// An amount in the unit of the request, as people write it.
    #[serde(default)]
    amount: Option<String>,
}

/// How much of a request one payer may choose, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    least: u64,
    most: Option<u64>,
    /// Whether `most` is what is left, and changes.
    left: bool,
}

impl Room {
    /// `None` if nothing can be chosen: an exact amount is paid at once.
    pub fn of(asked: &PaymentRequest, said: Option<&RequestState>) -> Option<Self> {
        let taken = said.map_or(0, |said| {
            said.filled.minor().saturating_add(said.reserved.minor())
        });
        match &asked.amount {
            Goal::Exact(_) => None,
            Goal::Target { amount, min } => {
                let left = amount.minor().saturating_sub(taken);
                Some(Self {
                    // Who comes last may pay less than the least.
                    least: min.map_or(1, |min| min.minor()).min(left.max(1)),
                    most: Some(left),
                    left: true,
                })
            }
            Goal::Open { min, max } => Some(Self {
                least: min.map_or(1, |min| min.minor()),
                most: max.map(|max| max.minor()),
                left: false,
            }),
        }
    }

    /// Whether so much can be paid at once.
    pub fn takes(self, minor: u64) -> bool {
        minor >= self.least && self.most.is_none_or(|most| minor <= most)
    }
}

/// Why an amount can't be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// It is no amount of the unit.
    Unreadable,
    /// It is less than this.
    Less(u64),
    /// It is more than this.
    More(u64),
}

/// What was chosen of a request.
#[derive(Clone, Debug)]
pub struct Choice {
    room: Room,
    /// As it was typed.
    typed: String,
    read: Option<Result<u64, Wrong>>,
}

impl Choice {
    pub fn new(room: Room, unit: &Unit, typed: Typed) -> Self {
        let typed = text::plain(typed.amount.unwrap_or_default().trim(), MOST);
        let read = (!typed.is_empty()).then(|| read(room, unit, &typed));
        Self { room, typed, read }
    }

    /// How much, in minor units, if it can be paid.
    pub fn minor(&self) -> Option<u64> {
        self.read.and_then(Result::ok)
    }

    /// What shows how it is written: the least, but no fraction of one if that is little.
    pub fn example(&self, unit: &Unit) -> String {
        let one = unit.scale().min(self.room.most.unwrap_or(u64::MAX));
        let least = self.room.least;
        unit.format_minor(if least > 1 { least } else { one.max(1) })
    }

    /// The form. `page` is the address of the bill below this server.
    pub fn form(&self, unit: &Unit, page: &str) -> Markup {
        let wrong = self.read.and_then(Result::err);
        let described = if wrong.is_some() {
            "wrong range"
        } else {
            "range"
        };
        html! {
            form method="get" action={ (page) "#choose" } {
                label for="amount" { "How much, in " (unit.code()) }
                div.row {
                    input id="amount" name="amount" inputmode="decimal" autocomplete="off" required maxlength=(MOST) value=(self.typed)
                        aria-describedby=(described) aria-invalid=[wrong.map(|_| "true")];
                    button.go type="submit" { "Choose" }
                }
            }
            p.quiet id="range" { (self.range(unit)) }
            @if let Some(wrong) = wrong { p.bad id="wrong" role="alert" { (self.why(wrong, unit)) } }
            @if let Some(minor) = self.minor() {
                p role="status" { "You pay " strong id="chosen" { (text::amount(unit, minor)) } ". Nothing is paid yet: now choose how." }
            }
        }
    }

    fn range(&self, unit: &Unit) -> Markup {
        let Room { least, most, left } = self.room;
        html! {
            @if least > 1 { (text::amount(unit, least)) " or more. " }
            @if let Some(most) = most {
                @if left { span id="room" { (text::amount(unit, most)) } " can still be paid." } @else { (text::amount(unit, most)) " at most." }
            }
        }
    }

    fn why(&self, wrong: Wrong, unit: &Unit) -> Markup {
        html! {
            @match wrong {
                Wrong::Unreadable => {
                    "“" (text::foreign(&self.typed, MOST)) "” is no amount of " (unit.code()) ": write it like " (self.example(unit)) "."
                },
                Wrong::Less(least) => { "That is too little: choose " (text::amount(unit, least)) " or more." },
                Wrong::More(most) if self.room.left => {
                    "That is more than is left: choose " (text::amount(unit, most)) " or less."
                },
                Wrong::More(most) => { "That is too much: choose " (text::amount(unit, most)) " or less." },
            }
        }
    }
}

fn read(room: Room, unit: &Unit, typed: &str) -> Result<u64, Wrong> {
    // People also write the unit behind it, and a comma where they live.
    let number = typed.strip_suffix(unit.code()).unwrap_or(typed).trim();
    let number = match number.matches([',', '.']).count() {
        1 => number.replace(',', "."),
        _ => number.to_owned(),
    };
    let minor = unit.parse_minor(&number).map_err(|_| Wrong::Unreadable)?;
    if minor < room.least {
        return Err(Wrong::Less(room.least));
    }
    match room.most {
        Some(most) if minor > most => Err(Wrong::More(most)),
        _ => Ok(minor),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ROOM: Room = Room {
        least: 250,
        most: Some(2_000),
        left: true,
    };

    fn chosen(room: Room, typed: &str) -> Choice {
        let typed = Typed {
            amount: Some(typed.to_owned()),
        };
        Choice::new(room, &"USD/2".parse().unwrap(), typed)
    }

    #[test]
    fn amounts_are_read_as_people_write_them_and_nothing_else_is() {
        for (typed, minor) in [
            ("5", 500),
            (" 12.50 ", 1_250),
            ("12,50", 1_250),
            ("20.00 USD", 2_000),
            ("2.5", 250),
        ] {
            assert_eq!(chosen(ROOM, typed).minor(), Some(minor), "{typed}");
        }
        for typed in [
            "x",
            "-5",
            "5.001",
            "1,000",
            "1,000.00",
            "1e3",
            "5 EUR",
            "9".repeat(60).as_str(),
        ] {
            let choice = chosen(ROOM, typed);
            assert_eq!(choice.read, Some(Err(Wrong::Unreadable)), "{typed}");
        }
        assert_eq!(chosen(ROOM, "  ").read, None);
    }

    #[test]
    fn what_is_too_little_or_more_than_is_left_is_said_in_words() {
        let unit: Unit = "USD/2".parse().unwrap();
        let words = |room, typed| chosen(room, typed).form(&unit, "/b").into_string();
        let little = words(ROOM, "2.49");
        assert!(
            little.contains("That is too little") && little.contains("2.50 USD"),
            "{little}"
        );
        assert!(little.contains("aria-invalid=\"true\""), "{little}");
        assert!(words(ROOM, "20.01").contains("more than is left"));
        let bounded = Room {
            left: false,
            ..ROOM
        };
        assert!(words(bounded, "20.01").contains("That is too much"));
        let right = words(ROOM, "20.00");
        assert!(
            right.contains("You pay") && !right.contains("id=\"wrong\""),
            "{right}"
        );
        let hostile = words(ROOM, "\"><script>");
        assert!(!hostile.contains("<script>"), "{hostile}");
        // Nothing at all is too little, even where no least is named.
        let free = Room {
            least: 1,
            most: None,
            left: false,
        };
        assert!(words(free, "0").contains("That is too little"));
        assert_eq!(chosen(free, "1000000").minor(), Some(100_000_000));
    }
}
