//! One direction: what one user gives the other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::promise::Promise;
use crate::amount::Total;
use crate::authority::Credentials;
use crate::jws::{Signed, stored};
use crate::key::{SignerKey, UserKey};
use crate::record::{Ack, Book, ConditionalIou, CreditLine, Endpoints, Payment, Refusal, State};
use crate::seq::{Epoch, IouNumber, Seq};
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most payments of a unit that are kept until the peer has them.
pub(super) const MAX_NOTES: usize = 16;
/// The most refusals of a unit that are kept.
pub(super) const MAX_REFUSALS: usize = 8;
/// The most earlier books that are kept for their caps.
pub(super) const MAX_PAST_BOOKS: usize = 3;
/// The most books before those that are kept because nothing else backs a total.
pub(super) const MAX_BACKING_BOOKS: usize = 8;
/// The most books of the owner that a peer may show and that this store did not open.
pub(super) const MAX_RIVALS: usize = 8;
/// The most books that may follow one another before the other user acknowledges any.
pub(super) const MAX_PENDING_BOOKS: usize = 16;
/// The most unacknowledged totals that are remembered.
pub(super) const MAX_UNACKED: usize = 128;

/// What one user gives the other: who signs, and how much in each unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    pub(super) credentials: Credentials,
    /// The book in force.
    #[serde(with = "stored::option")]
    pub(super) book: Option<Signed<Book>>,
    /// The books before it, oldest first: their caps say how far their states bind.
    #[serde(with = "stored::list")]
    pub(super) past: Vec<Signed<Book>>,
    /// Books of this side's user that the other has shown and that were opened elsewhere.
    #[serde(with = "stored::list")]
    pub(super) rivals: Vec<Signed<Book>>,
    /// Earlier books that the other user may not know yet, oldest first: a book key hands over one epoch at a time, so the
    /// other user needs each of them.
    #[serde(with = "stored::list")]
    pub(super) pending_books: Vec<Signed<Book>>,
    /// The other user's ack of the book in force.
    #[serde(with = "stored::option")]
    pub(super) book_ack: Option<Signed<Ack>>,
    pub(super) units: BTreeMap<Unit, UnitSide>,
    /// Where this side's user can be paid outside by the other.
    #[serde(
        default,
        with = "stored::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) endpoints: Option<Signed<Endpoints>>,
}

/// One direction in one unit.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitSide {
    /// What the epoch in force started from.
    pub(super) base: Totals,
    /// The newest state of the epoch before, where it backs `base`.
    #[serde(with = "stored::option")]
    pub(super) carried: Option<Signed<State>>,
    /// States that can't be judged yet: the owner's of earlier epochs that the peer has shown, or the peer's while the owner's own
    /// total is not known for sure.
    #[serde(with = "stored::list")]
    pub(super) shown: Vec<Signed<State>>,
    /// The newest state.
    #[serde(with = "stored::option")]
    pub(super) newest: Option<Signed<State>>,
    /// The last state that the other user's ack has cleared.
    #[serde(with = "stored::option")]
    pub(super) cleared: Option<Signed<State>>,
    /// The other user's newest ack in this unit.
    #[serde(with = "stored::option")]
    pub(super) ack: Option<Signed<Ack>>,
    /// What the newest acknowledged state had issued.
    pub(super) acked: Total,
    /// How much of what was paid the other user has accepted for good: it can't be given back any more.
    pub(super) accepted: u64,
    /// States that are not acknowledged yet: their number, what they issued and how much of it was paid.
    pub(super) unacked: Vec<(Epoch, Seq, Total, u64)>,
    /// How much of what was paid has been told as payments.
    pub(super) told: u64,
    /// The credit line that this side's user gives the other.
    #[serde(with = "stored::option")]
    pub(super) line: Option<Signed<CreditLine>>,
    /// What recent growths were for.
    #[serde(with = "stored::list")]
    pub(super) payments: Vec<Signed<Payment>>,
    /// What was given back recently.
    #[serde(with = "stored::list")]
    pub(super) refusals: Vec<Signed<Refusal>>,
    /// Conditional IOUs: those undecided, and those decided since the last clear.
    #[serde(default)]
    pub(super) promises: Vec<Promise>,
    /// How much of the totals came from conditional IOUs that are no longer kept.
    #[serde(default)]
    pub(super) merged_before: Total,
    /// The ack by which the other user cleared `cleared`.
    #[serde(default, with = "stored::option")]
    pub(super) clear_ack: Option<Signed<Ack>>,
    /// Conditional IOUs of the owner's earlier keys that the peer has shown and that its ack of the new book may make binding.
    #[serde(default, with = "stored::list")]
    pub(super) shown_promises: Vec<Signed<ConditionalIou>>,
    /// How the side was frozen.
    pub(super) frozen: Option<Frozen>,
    /// How it was frozen in an epoch that has ended: the proof stays.
    pub(super) past_frozen: Option<Frozen>,
}

/// Running totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Everything given.
    pub issued: Total,
    /// The part that came from conditional IOUs.
    pub merged: Total,
    /// The part that gave back what the other had paid above a credit line.
    pub returned: Total,
    /// The number after the last conditional IOU.
    pub next: IouNumber,
}

impl Totals {
    /// The part that was paid directly: neither merged nor given back.
    #[must_use]
    pub fn paid(&self) -> u64 {
        self.issued
            .minor()
            .saturating_sub(self.merged.minor())
            .saturating_sub(self.returned.minor())
    }

    /// Whether `later` has fallen behind in any total.
    #[must_use]
    pub fn falls_to(&self, later: &Self) -> bool {
        later.issued < self.issued
            || later.merged < self.merged
            || later.returned < self.returned
            || later.paid() < self.paid()
            || later.next < self.next
    }
}

impl From<&State> for Totals {
    fn from(state: &State) -> Self {
        Self {
            issued: state.issued,
            merged: state.merged,
            returned: state.returned,
            next: state.next,
        }
    }
}

/// A contradiction, with the two records that prove it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frozen {
    /// What happened, in words.
    pub why: String,
    /// The compact forms of the records that prove it: the one that stands first.
    pub records: Vec<String>,
}

impl Side {
    pub(super) fn new(user: UserKey) -> Self {
        Self {
            credentials: Credentials::new(user),
            book: None,
            past: Vec::new(),
            rivals: Vec::new(),
            pending_books: Vec::new(),
            book_ack: None,
            units: BTreeMap::new(),
            endpoints: None,
        }
    }

    /// The book in force.
    #[must_use]
    pub fn book(&self) -> Option<&Signed<Book>> {
        self.book.as_ref()
    }

    /// The other user's ack of the book in force.
    #[must_use]
    pub fn book_ack(&self) -> Option<&Signed<Ack>> {
        self.book_ack.as_ref()
    }

    /// One unit of this side.
    #[must_use]
    pub fn unit(&self, unit: &Unit) -> Option<&UnitSide> {
        self.units.get(unit)
    }

    /// Every unit in which this side has given anything, or let the other owe, ascending.
    pub fn units(&self) -> impl Iterator<Item = (&Unit, &UnitSide)> {
        self.units.iter()
    }

    /// The epoch in force, if a book is known.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.book.as_ref().map(|book| book.record().epoch)
    }

    /// Everything given in `unit`.
    #[must_use]
    pub fn issued(&self, unit: &Unit) -> Total {
        self.units
            .get(unit)
            .map_or(Total::ZERO, |u| u.totals().issued)
    }

    /// The book that named `key` as the keeper of `epoch`, in force, past or opened elsewhere.
    pub(super) fn book_of(&self, key: SignerKey, epoch: Epoch) -> Option<&Signed<Book>> {
        self.book
            .iter()
            .chain(&self.past)
            .chain(&self.pending_books)
            .chain(&self.rivals)
            .find(|book| book.record().key == key && book.record().epoch == epoch)
    }

    /// What this side's user lets the other owe in `unit` at `now`.
    #[must_use]
    pub fn accept_at(&self, unit: &Unit, now: Timestamp) -> Total {
        self.units
            .get(unit)
            .and_then(|u| u.line.as_ref())
            .map_or(Total::ZERO, |line| line.record().accept_at(now))
    }
}

impl UnitSide {
    /// Whether the conditional IOU with this number was cleared: it is never taken again.
    pub(super) fn has_settled(&self, number: IouNumber) -> bool {
        let cleared = self.cleared.as_ref().map(Signed::record);
        cleared.is_some_and(|state| state.closes(number))
    }

    /// The totals in force: the newest state's, else what the epoch started from.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.newest
            .as_ref()
            .map_or(self.base, |state| Totals::from(state.record()))
    }

    /// The newest state of the epoch in force.
    #[must_use]
    pub fn newest(&self) -> Option<&Signed<State>> {
        self.newest.as_ref()
    }

    /// The other user's newest ack in this unit.
    #[must_use]
    pub fn ack(&self) -> Option<&Signed<Ack>> {
        self.ack.as_ref()
    }

    /// The credit line that this side's user gives the other.
    #[must_use]
    pub fn line(&self) -> Option<&Signed<CreditLine>> {
        self.line.as_ref()
    }

    /// What was issued and is not acknowledged yet, in minor units.
    #[must_use]
    pub fn unacknowledged(&self) -> u64 {
        self.totals().issued.growth_since(self.acked)
    }

    /// How it was frozen, if it was.
    #[must_use]
    pub fn frozen(&self) -> Option<&Frozen> {
        self.frozen.as_ref()
    }

    /// How this side was frozen in an epoch that has ended, if it was.
    #[must_use]
    pub fn past_frozen(&self) -> Option<&Frozen> {
        self.past_frozen.as_ref()
    }

    /// The greatest total that this side is known to have signed, judged or not.
    pub(super) fn highest(&self) -> Total {
        let shown = self.shown.iter().map(|state| state.record().issued);
        shown.fold(self.totals().issued, Total::max)
    }

    pub(super) fn seq(&self) -> Seq {
        self.newest
            .as_ref()
            .map_or(Seq::ZERO, |state| state.record().seq)
    }
}

/// Appends, and drops the oldest above `max`.
pub(super) fn push_bounded<T>(list: &mut Vec<T>, item: T, max: usize) {
    if list.len() >= max {
        list.remove(0);
    }
    list.push(item);
}
