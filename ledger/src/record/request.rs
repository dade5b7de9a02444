//! `atomicity-request` and `atomicity-request-state`: somebody asks to be paid, by one or by many, once or again and again.

use serde::{Deserialize, Serialize};

use super::rule;
use super::target::{Target, check_targets};
use crate::amount::{Amount, Total};
use crate::error::LedgerError;
use crate::jws::{Record, RecordHash, Version};
use crate::key::UserKey;
use crate::seq::Serial;
use crate::text::{Memo, RecordId};
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most times that a request recurs.
pub const MAX_TURNS: u32 = 10_000;

const DAY_MS: u64 = 86_400_000;

/// Where a public request lies on the homeserver of its payee.
#[must_use]
pub fn request_path(id: RecordId) -> String {
    format!("/pub/atomicity/v0/requests/{id}")
}

/// Where its state lies. (Not below the request: what is a file can't be a folder everywhere.)
#[must_use]
pub fn request_state_path(id: RecordId) -> String {
    format!("{}.state", request_path(id))
}

/// `payee` asks to be paid: by `payer`, or by whoever wants to. Bears no hash: who wants to pay asks for a part of it. Signed like an
/// invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentRequest {
    /// Version 1.
    pub v: Version,
    /// Its name.
    pub id: RecordId,
    /// Who is to be paid.
    pub payee: UserKey,
    /// Who is asked; anybody if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<UserKey>,
    /// In what.
    pub unit: Unit,
    /// How much.
    pub amount: Goal,
    /// Other ways to pay it than in credit, what the payee likes best first.
    pub targets: Vec<Target>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<Memo>,
    /// If it is to be paid again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Every>,
    /// From then on nothing of it should be paid.
    pub expires: Timestamp,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// How much is asked for, in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Goal {
    /// This much, from one payer, at once.
    Exact(Amount),
    /// This much in all, from as many as like to.
    Target {
        /// In all.
        amount: Amount,
        /// The least that one payment brings; less only if less is left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<Amount>,
    },
    /// As much as the payers like, as often as they like.
    Open {
        /// The least that one payment brings.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<Amount>,
        /// The most that one payment brings.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<Amount>,
    },
}

/// How often a request recurs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Every {
    /// How long a turn is.
    pub period: Period,
    /// When the first turn, number 0, is due.
    pub from: Timestamp,
    /// How many turns there are; until the request expires if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// A length of time of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// 24 hours.
    Day,
    /// Seven days.
    Week,
    /// To the same day of the next month, or to its last day if it has no such day.
    Month,
}

impl PaymentRequest {
    /// Whether nothing of it should be paid any more at `now`.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.expires
    }

    /// Whether `user` is asked.
    #[must_use]
    pub fn asks(&self, user: UserKey) -> bool {
        user != self.payee && self.payer.is_none_or(|payer| payer == user)
    }

    /// The number of the newest turn that is due at `now`; none before the first. Whoever pays late pays each turn from the last
    /// one paid to this.
    #[must_use]
    pub fn turn_due(&self, now: Timestamp) -> Option<u32> {
        let every = self.every.as_ref()?;
        let last = every
            .count
            .unwrap_or(MAX_TURNS)
            .min(MAX_TURNS)
            .checked_sub(1)?;
        let due = |turn| {
            let at = every.turn_at(turn);
            at <= now && at < self.expires
        };
        if !due(0) {
            return None;
        }
        let (mut low, mut high) = (0, last);
        while low < high {
            let middle = high - (high - low) / 2;
            if due(middle) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Some(low)
    }
}

impl Goal {
    /// How much can come in all; without end if absent.
    #[must_use]
    pub fn most(&self) -> Option<Amount> {
        match self {
            Self::Exact(amount) | Self::Target { amount, .. } => Some(*amount),
            Self::Open { .. } => None,
        }
    }

    fn in_order(&self) -> bool {
        match self {
            Self::Exact(_) => true,
            Self::Target { amount, min } => min.is_none_or(|min| min <= *amount),
            Self::Open { min, max } => max.is_none_or(|max| min.is_none_or(|min| min <= max)),
        }
    }
}

impl Every {
    /// When turn number `turn`, from 0, is due.
    #[must_use]
    pub fn turn_at(&self, turn: u32) -> Timestamp {
        match self.period {
            Period::Day => self.from.plus_millis(u64::from(turn) * DAY_MS),
            Period::Week => self.from.plus_millis(u64::from(turn) * 7 * DAY_MS),
            Period::Month => months_later(self.from, turn),
        }
    }
}

/// The same time of day on the same day of the month, so many months later; on its last day if it has no such day.
fn months_later(from: Timestamp, months: u32) -> Timestamp {
    let (days, rest) = (from.millis() / DAY_MS, from.millis() % DAY_MS);
    let (year, month, day) = date(days);
    let month = month + u64::from(months);
    let (year, month) = (year + month / 12, month % 12);
    let day = day.min(days_of(year, month) - 1);
    let days = days_before(year) + month_starts(year, month) + day;
    Timestamp::saturating_from_millis(days * DAY_MS + rest)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// The days of a month; months are counted from 0.
fn days_of(year: u64, month: u64) -> u64 {
    match month {
        1 if is_leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

/// The days of a year before a month.
fn month_starts(year: u64, month: u64) -> u64 {
    (0..month).map(|m| days_of(year, m)).sum()
}

/// The days from the beginning of 1970 to that of a year.
fn days_before(year: u64) -> u64 {
    let leaps = |before: u64| before / 4 - before / 100 + before / 400;
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

/// Year, month and day, both from 0, of a day since the beginning of 1970.
fn date(days: u64) -> (u64, u64, u64) {
    // No year is longer than 366 days: the guess is never too late.
    let mut year = 1970 + days / 366;
    while days_before(year + 1) <= days {
        year += 1;
    }
    let mut rest = days - days_before(year);
    let mut month = 0;
    while rest >= days_of(year, month) {
        rest -= days_of(year, month);
        month += 1;
    }
    (year, month, rest)
}

impl Record for PaymentRequest {
    const TYP: &'static str = "atomicity-request";

    fn author(&self) -> UserKey {
        self.payee
    }

    fn check(&self) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        rule(
            self.payer != Some(self.payee),
            "the payee is asked to pay themselves",
        )?;
        rule(
            self.amount.in_order(),
            "more is asked for at least than at most",
        )?;
        check_targets(Self::TYP, &self.targets)?;
        rule(
            self.targets.iter().all(|target| !target.is_invoice()),
            "a Lightning invoice is for one payer and has no place in a request",
        )?;
        let Some(every) = &self.every else {
            return Ok(());
        };
        rule(
            matches!(self.amount, Goal::Exact(_)),
            "what recurs must be of an exact amount",
        )?;
        rule(
            every.count.is_none_or(|n| (1..=MAX_TURNS).contains(&n)),
            "it must recur 1 to 10000 times",
        )?;
        rule(every.from < self.expires, "it expires before it is due")
    }
}

/// The payee says how far a request has come. The greatest serial counts. Signed like the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestState {
    /// Version 1.
    pub v: Version,
    /// The request.
    pub request: RecordHash,
    /// Who is to be paid.
    pub payee: UserKey,
    /// What was paid, in minor units.
    pub filled: Total,
    /// What is being paid, in minor units.
    pub reserved: Total,
    /// Whether more is welcome; false once it is full, or was cancelled.
    pub open: bool,
    /// Later states have greater serials.
    pub serial: Serial,
    /// When it was signed; information only.
    pub at: Timestamp,
}

impl Record for RequestState {
    const TYP: &'static str = "atomicity-request-state";

    fn author(&self) -> UserKey {
        self.payee
    }

    fn check(&self) -> Result<(), LedgerError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::Keypair;

    /// 2024-01-31T12:00:00Z.
    const JANUARY: u64 = 1_706_702_400_000;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms).unwrap()
    }

    fn monthly(count: Option<u32>, expires: u64) -> PaymentRequest {
        PaymentRequest {
            v: Version,
            id: RecordId::from_entropy([1; 16]),
            payee: Keypair::from_secret(&[1; 32]).user_key(),
            payer: None,
            unit: "USD/2".parse().unwrap(),
            amount: Goal::Exact(Amount::from_minor(5).unwrap()),
            targets: vec![],
            memo: None,
            every: Some(Every {
                period: Period::Month,
                from: at(JANUARY),
                count,
            }),
            expires: at(expires),
            at: at(0),
        }
    }

    #[test]
    fn a_month_ends_on_its_last_day_and_the_next_goes_on_as_before() {
        let every = monthly(None, u64::MAX >> 11).every.unwrap();
        let days: Vec<u64> = (0..15)
            .map(|turn| (every.turn_at(turn).millis() - JANUARY) / DAY_MS)
            .collect();
        // To the end of February 29, of March 31, of April 30 …, of February 2025 394 days.
        assert_eq!(
            days,
            [
                0, 29, 60, 90, 121, 151, 182, 213, 243, 274, 304, 335, 366, 394, 425
            ]
        );
        assert!(days.len() == 15 && every.turn_at(14).millis() % DAY_MS == DAY_MS / 2);
    }

    #[test]
    fn dates_come_and_go_over_centuries() {
        for days in (0..200_000).step_by(13) {
            let (year, month, day) = date(days);
            assert_eq!(days_before(year) + month_starts(year, month) + day, days);
            assert!(month < 12 && day < days_of(year, month));
        }
        assert_eq!(date(11_016), (2000, 1, 28));
        assert_eq!(days_before(2101) - days_before(2100), 365);
    }

    #[test]
    fn turns_are_due_one_after_another_and_end() {
        let request = monthly(Some(3), JANUARY + 400 * DAY_MS);
        let due = |day: u64| request.turn_due(at(JANUARY + day * DAY_MS));
        assert_eq!(request.turn_due(at(JANUARY - 1)), None);
        assert_eq!(
            (due(0), due(28), due(29), due(59)),
            (Some(0), Some(0), Some(1), Some(1))
        );
        assert_eq!((due(60), due(399)), (Some(2), Some(2)));
        let ends = monthly(None, JANUARY + 60 * DAY_MS);
        assert_eq!(ends.turn_due(at(JANUARY + 5_000 * DAY_MS)), Some(1));
    }
}
