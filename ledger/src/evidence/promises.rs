//! What conditional IOUs add: those that a proof in the bundle makes due, less what the totals hold already.

use std::collections::BTreeMap;

use super::side::Side;
use crate::amount::Total;
use crate::jws::{RecordHash, Signed};
use crate::record::{AckItem, Book, ConditionalIou, State};
use crate::time::Timestamp;
use crate::unit::Unit;

/// What one side has promised in one unit beyond its totals.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Promised {
    /// Due by proofs in the bundle, and not yet part of the total.
    pub(super) due: u64,
    /// Neither due by a proof here, nor given up, nor cleared.
    pub(super) undecided: u64,
}

/// What `side` has promised `other`, per unit.
pub(super) fn promised(
    side: &Side<'_>,
    other: &Side<'_>,
    at: Timestamp,
) -> BTreeMap<Unit, Promised> {
    let mut sums: BTreeMap<Unit, Promised> = BTreeMap::new();
    let mut capped: BTreeMap<Unit, u64> = BTreeMap::new();
    for (_, iou) in &side.ious {
        let record = iou.record();
        if !counts(side, other, iou, at) {
            continue;
        }
        let sum = sums.entry(record.unit.clone()).or_default();
        if ended(side, iou, at) {
            // When it was signed no file can prove: it counts up to the cap, as totals do.
            capped
                .entry(record.unit.clone())
                .or_insert_with(|| cap_of(side, iou));
        }
        let into = if is_published(side, other, iou) {
            &mut sum.due
        } else {
            &mut sum.undecided
        };
        *into = into.saturating_add(record.amount.minor());
    }
    for (unit, sum) in &mut sums {
        let booked = booked(side, other, unit, at);
        // What was booked without a proof here was one of the undecided.
        let rest = booked.saturating_sub(sum.due);
        sum.due = sum.due.saturating_sub(booked);
        sum.undecided = sum.undecided.saturating_sub(rest);
        if let Some(cap) = capped.get(unit) {
            sum.due = sum.due.min(*cap);
            sum.undecided = sum.undecided.min(cap.saturating_sub(sum.due));
        }
    }
    sums
}

/// The book that the promise was signed under.
fn book_of<'a>(side: &Side<'a>, iou: &Signed<ConditionalIou>) -> Option<&'a Signed<Book>> {
    let mut books = side.books.iter().map(|(_, book)| *book);
    books.find(|book| book.record().epoch == iou.record().epoch && book.record().key == iou.kid())
}

fn ended(side: &Side<'_>, iou: &Signed<ConditionalIou>, at: Timestamp) -> bool {
    book_of(side, iou).is_none_or(|book| side.standing(book, at).is_err())
}

fn cap_of(side: &Side<'_>, iou: &Signed<ConditionalIou>) -> u64 {
    book_of(side, iou).map_or(0, |book| book.record().cap_for(&iou.record().unit).minor())
}

/// How much of what counts here is part of the totals already: what was merged since the last clear, or, where the bundle shows none,
/// since the book in force was opened.
fn booked(side: &Side<'_>, other: &Side<'_>, unit: &Unit, at: Timestamp) -> u64 {
    let turn = side.books_in_turn(at);
    let carried = turn.last().and_then(|book| book.record().carried(unit));
    let carried = carried.map_or(Total::ZERO, |carried| carried.merged);
    let before = cleared(side, other, unit).map_or(carried, |state| state.record().merged);
    let counted = side.states.iter().filter(|(_, state)| {
        let record = state.record();
        let kept = |book: &&Signed<Book>| {
            book.record().epoch == record.epoch && book.record().key == state.kid()
        };
        record.unit == *unit && turn.iter().any(kept)
    });
    let merged = counted.map(|(_, state)| state.record().merged).max();
    merged.unwrap_or(carried).max(carried).growth_since(before)
}

/// A promise counts if a key that kept these books in its epoch signed it, its holder did not give it up, and no clear settled it; of an
/// epoch that has ended, only what the book after it, or the holder's ack of that, knows.
fn counts(side: &Side<'_>, other: &Side<'_>, iou: &Signed<ConditionalIou>, at: Timestamp) -> bool {
    let record = iou.record();
    let kept = side.books_in_turn(at).into_iter().any(|book| {
        let book = book.record();
        book.epoch == record.epoch && book.key == iou.kid()
    });
    let settled = cleared(side, other, &record.unit)
        .is_some_and(|state| state.record().closes(record.number));
    kept && !settled && !is_released(other, iou.hash()) && binds(side, other, iou, at)
}

/// Whether a book that the other has acknowledged leaves the promise in force.
fn binds(side: &Side<'_>, other: &Side<'_>, iou: &Signed<ConditionalIou>, at: Timestamp) -> bool {
    let record = iou.record();
    let after = |book: &&&Signed<Book>| {
        book.record().epoch > record.epoch && other.has_acknowledged(book.hash())
    };
    let turn = side.books_in_turn(at);
    let Some(book) = turn.iter().find(after) else {
        return true;
    };
    let next = book
        .record()
        .carried(&record.unit)
        .map_or(0, |c| c.next.get());
    let held = other.signed_acks().any(|ack| {
        ack.record().items.iter().any(|item| {
            matches!(item, AckItem::Book(item) if item.hash == book.hash() && item.held.contains(&iou.hash()))
        })
    });
    record.number.get() < next || held
}

fn is_released(other: &Side<'_>, iou: RecordHash) -> bool {
    let mut releases = other.releases.iter();
    releases.any(|(_, release)| release.record().iou == iou && other.keeps(release.kid()))
}

/// Whoever handed the proof over: it decides by itself.
fn is_published(side: &Side<'_>, other: &Side<'_>, iou: &Signed<ConditionalIou>) -> bool {
    let mut all = side.publications.iter().chain(&other.publications);
    all.any(|(_, publication)| {
        let record = publication.record();
        record.iou == iou.hash() && record.verify(&iou.record().terms).is_ok()
    })
}

/// The greatest state in `unit` that `other` has cleared.
fn cleared<'a>(side: &'a Side<'_>, other: &Side<'_>, unit: &Unit) -> Option<&'a Signed<State>> {
    let clears = |hash: RecordHash| {
        other.signed_acks().any(|ack| {
            ack.record()
                .items
                .iter()
                .any(|item| matches!(item, AckItem::State(item) if item.clear && item.hash == hash))
        })
    };
    let states = side.states.iter().map(|(_, state)| *state);
    states
        .filter(|state| state.record().unit == *unit && clears(state.hash()))
        .max_by_key(|state| (state.record().epoch, state.record().seq))
}
