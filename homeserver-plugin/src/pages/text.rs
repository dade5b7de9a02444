//! Writing what strangers wrote, amounts and times: as plain English that works anywhere, with what a script needs to put it into the
//! reader's own language.

use atomicity_ledger::{Unit, UserKey};
use maud::{Markup, html};

/// Most characters of a foreign text in a line.
pub const LINE: usize = 120;
/// Most characters of a foreign text that may have several lines.
pub const PARAGRAPH: usize = 600;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAY_MS: u64 = 86_400_000;

/// Whether a character could make a page show another text than it holds, or nothing at all: what has no shape of its own, such as the
/// blank letters and tags, could leave a name empty that leads somewhere.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{00ad}' | '\u{034f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// What somebody else wrote, without what misleads, at most `most` characters of it.
#[must_use]
pub fn plain(text: &str, most: usize) -> String {
    let mut clean = text.chars().map(|c| if misleads(c) { ' ' } else { c });
    let mut short: String = clean.by_ref().take(most).collect();
    if clean.next().is_some() {
        short.push('…');
    }
    short
}

/// What somebody else wrote in lines, such as a signed note: without what misleads but with its line breaks, at most 4,000 characters of it.
#[must_use]
pub fn lines(text: &str) -> String {
    let short: String = text.chars().take(4_000).collect();
    short
        .lines()
        .map(|line| plain(line, 1_000) + "\n")
        .collect()
}

/// The same as an element of its own, so that its direction of writing does not touch what stands around it.
#[must_use]
pub fn foreign(text: &str, most: usize) -> Markup {
    html! { bdi { (plain(text, most)) } }
}

/// A key, with its beginning to be recognised by and all of it to be copied.
#[must_use]
pub fn key(key: &UserKey) -> Markup {
    html! { code.key { (key.to_z32()) } }
}

/// The first characters of a key, to tell two of one name apart.
#[must_use]
pub fn short_key(key: &UserKey) -> String {
    let mut text: String = key.to_z32().chars().take(8).collect();
    text.push('…');
    text
}

/// What a user calls themselves, at most `most` characters of it; the beginning of their key if that is nothing or can't be seen.
#[must_use]
pub fn name(name: Option<&str>, key: &UserKey, most: usize) -> String {
    let shown = name.map(|name| plain(name.trim(), most));
    shown
        .filter(|shown| !shown.chars().all(is_blank))
        .unwrap_or_else(|| short_key(key))
}

/// White space, or what only changes the shape of the character before it.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{fe00}'..='\u{fe0f}')
}

/// So many minor units.
#[must_use]
pub fn amount(unit: &Unit, minor: u64) -> Markup {
    let number = unit.format_minor(minor);
    html! { data value=(number) data-unit=(unit.code()) { (number) " " (unit.code()) } }
}

/// A count.
#[must_use]
pub fn count(number: u64) -> Markup {
    html! { data value=(number) { (number) } }
}

/// A time in Unix milliseconds.
#[must_use]
pub fn time(ms: u64) -> Markup {
    let at = Instant::new(ms);
    html! { time datetime=(at.machine()) { (at.words()) } }
}

/// A time with its seconds.
#[must_use]
pub fn exact_time(ms: u64) -> Markup {
    let at = Instant::new(ms);
    html! { time datetime=(at.machine()) data-exact { (at.words_with_seconds()) } }
}

/// A time of UTC, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instant {
    year: u64,
    /// From 1.
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    ms: u64,
}

impl Instant {
    fn new(ms: u64) -> Self {
        let (year, month, day) = civil(ms / DAY_MS);
        let rest = ms % DAY_MS;
        Self {
            year,
            month,
            day,
            hour: rest / 3_600_000,
            minute: rest / 60_000 % 60,
            second: rest / 1_000 % 60,
            ms: rest % 1_000,
        }
    }

    fn month_name(&self) -> &'static str {
        let index = usize::try_from(self.month).unwrap_or(1).saturating_sub(1);
        MONTHS.get(index).copied().unwrap_or_default()
    }

    fn machine(&self) -> String {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
            ms,
        } = self;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }

    fn words(&self) -> String {
        let Self {
            year,
            day,
            hour,
            minute,
            ..
        } = self;
        format!(
            "{day} {} {year}, {hour:02}:{minute:02} UTC",
            self.month_name()
        )
    }

    fn words_with_seconds(&self) -> String {
        let Self {
            year,
            day,
            hour,
            minute,
            second,
            ..
        } = self;
        format!(
            "{day} {} {year}, {hour:02}:{minute:02}:{second:02} UTC",
            self.month_name()
        )
    }
}

/// The Gregorian date of a day since 1970-01-01. Years are counted from March, so that the leap day ends them.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let days = days.saturating_add(719_468);
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (year + era * 400 + next, month, date)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_can_neither_be_a_tag_nor_turn_the_line_around_nor_fill_the_page() {
        let hostile = "\u{202e}<script>alert(1)</script>\u{200b}\n\u{0}";
        let shown = foreign(hostile, LINE).into_string();
        assert!(!shown.contains('<') || !shown.contains("<script"));
        assert!(
            !shown.contains('\u{202e}') && !shown.contains('\u{200b}') && !shown.contains('\0')
        );
        assert!(shown.contains("&lt;script&gt;"));
        let long = plain(&"ä".repeat(10_000), LINE);
        assert_eq!(long.chars().count(), LINE + 1);
        assert!(long.ends_with('…'));
        assert_eq!(plain(&"x".repeat(LINE), LINE).len(), LINE);
    }

    #[test]
    fn what_has_no_shape_is_no_name() {
        for empty in [
            "\u{3164}",
            "\u{2800}",
            "\u{ad}",
            "\u{e0041}",
            "\u{ffa0}\u{1160}",
        ] {
            assert_eq!(plain(empty, LINE).trim(), "", "{empty:?}");
        }
        let key = atomicity_ledger::Keypair::from_secret(&[1; 32]).user_key();
        assert_eq!(name(Some("\u{3164} \u{fe0f}"), &key, 40), short_key(&key));
        assert_eq!(name(Some("Ben"), &key, 40), "Ben");
        assert_eq!(plain("Søren Ñ 山田 ✨", LINE), "Søren Ñ 山田 ✨");
    }

    #[test]
    fn days_have_their_dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_453, (2025, 12, 31)),
            (20_454, (2026, 1, 1)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date, "day {days}");
        }
    }

    #[test]
    fn times_are_written_for_people_and_for_scripts() {
        let shown = time(1_795_328_706_007).into_string();
        assert!(
            shown.contains("datetime=\"2026-11-22T06:25:06.007Z\""),
            "{shown}"
        );
        assert!(shown.contains("22 November 2026, 06:25 UTC"), "{shown}");
        // The last time that a record can name.
        assert!(time((1 << 53) - 1).into_string().contains("287396-"));
    }

    #[test]
    fn amounts_are_written_with_their_places() {
        let unit: Unit = "USD/2".parse().unwrap();
        let shown = amount(&unit, 123_450).into_string();
        assert_eq!(
            shown,
            "<data value=\"1234.50\" data-unit=\"USD\">1234.50 USD</data>"
        );
    }
}
