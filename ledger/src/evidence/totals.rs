//! What one side has given in all, from its books, its states, and what the other has acknowledged of them.

use std::collections::BTreeMap;

use super::report::NotCounted;
use super::side::Side;
use crate::amount::Total;
use crate::jws::{Record as _, RecordHash, Signed};
use crate::key::SignerKey;
use crate::record::{AckItem, Book, BookAck, State};
use crate::seq::{Epoch, Seq};
use crate::time::Timestamp;
use crate::unit::Unit;

/// What one side has given in one unit, and by which record.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) issued: Total,
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
    pub(super) key: SignerKey,
    pub(super) hash: RecordHash,
}

type PerUnit = BTreeMap<Unit, Given>;

/// Plays the books of `side` in turn and adds up what it has given, per unit. What falls behind is noted.
pub(super) fn given(
    side: &Side<'_>,
    other: &Side<'_>,
    at: Timestamp,
    notes: &mut Vec<NotCounted>,
) -> PerUnit {
    let mut given = PerUnit::new();
    let mut before: Option<&Signed<Book>> = None;
    for book in side.books_in_turn(at) {
        let mut next = carried(side, book, other, at);
        if !book.kid().is_root_of(&side.user) {
            bind(&mut next, before.unwrap_or(book), &given, other);
        }
        before = Some(book);
        // A new book is in force for the other once they have acknowledged it. Until then nothing that stood before falls.
        if !other.has_acknowledged(book.hash()) {
            keep_greater(&mut next, given);
        }
        let start = next.clone();
        add_states(side, book, &mut next, notes);
        if side.standing(book, at).is_err() {
            for (unit, given) in &mut next {
                let floor = start.get(unit).map_or(Total::ZERO, |start| start.issued);
                given.issued = within_cap(given.issued, book.record(), unit, other).max(floor);
            }
        }
        given = next;
    }
    given
}

/// What only a book key says was carried over binds up to the cap of the book that it kept before.
fn bind(next: &mut PerUnit, kept: &Signed<Book>, known: &PerUnit, other: &Side<'_>) {
    for (unit, given) in next {
        let floor = known.get(unit).map_or(Total::ZERO, |known| known.issued);
        let bound = within_cap(given.issued, kept.record(), unit, other);
        given.issued = given.issued.min(bound.max(floor));
    }
}

fn keep_greater(next: &mut PerUnit, before: PerUnit) {
    for (unit, before) in before {
        let greater = next
            .get(&unit)
            .is_none_or(|next| next.issued < before.issued);
        if greater {
            next.insert(unit, before);
        }
    }
}

fn add_states(
    side: &Side<'_>,
    book: &Signed<Book>,
    given: &mut PerUnit,
    notes: &mut Vec<NotCounted>,
) {
    for (index, state) in side.of_book(book) {
        let record = state.record();
        let known = given.get(&record.unit);
        if known.is_some_and(|known| record.issued < known.issued) {
            notes.push(NotCounted {
                index,
                typ: State::TYP.to_owned(),
                why: "its total is below one that was in force before it".to_owned(),
            });
            continue;
        }
        let second = known.is_some_and(|k| (k.epoch, k.seq) == (record.epoch, record.seq));
        if !second {
            given.insert(
                record.unit.clone(),
                Given {
                    issued: record.issued,
                    epoch: record.epoch,
                    seq: record.seq,
                    key: state.kid(),
                    hash: state.hash(),
                },
            );
        }
    }
}

/// The totals that an epoch started from: what its book says, and what the other's ack of it adds.
fn carried(side: &Side<'_>, book: &Signed<Book>, other: &Side<'_>, at: Timestamp) -> PerUnit {
    let start = |issued| Given {
        issued,
        epoch: book.record().epoch,
        seq: Seq::ZERO,
        key: book.kid(),
        hash: book.hash(),
    };
    let after = book.record().after.iter();
    let mut given: PerUnit = after
        .map(|carried| (carried.unit.clone(), start(carried.issued)))
        .collect();
    for (unit, issued) in held_beyond(side, book, other, at) {
        let known = given.get(&unit).map_or(Total::ZERO, |known| known.issued);
        if issued > known {
            given.insert(unit, start(issued));
        }
    }
    given
}

/// What the other's acks of `book` say it held of earlier epochs: it binds if what it held is here, signed by a key that kept these
/// books, up to the cap of the book that the key signed under.
fn held_beyond(
    side: &Side<'_>,
    book: &Signed<Book>,
    other: &Side<'_>,
    at: Timestamp,
) -> Vec<(Unit, Total)> {
    let items = other
        .signed_acks()
        .flat_map(|ack| &ack.record().items)
        .filter_map(|item| match item {
            AckItem::Book(item) if item.hash == book.hash() => Some(item),
            _ => None,
        });
    let mut out = Vec::new();
    for item in items {
        for base in &item.base {
            if base.issued <= reached(side, book, item, &base.unit, other, at) {
                out.push((base.unit.clone(), base.issued));
            }
        }
    }
    out
}

/// How far the held records that `item` names take the total in `unit`.
fn reached(
    side: &Side<'_>,
    book: &Signed<Book>,
    item: &BookAck,
    unit: &Unit,
    other: &Side<'_>,
    at: Timestamp,
) -> Total {
    let held = |hash: RecordHash| item.held.contains(&hash);
    let mut most = Total::ZERO;
    for (_, earlier) in &side.books {
        let counts = earlier.hash() != book.hash() && side.once_standing(earlier, at).is_some();
        if !counts {
            continue;
        }
        let states = side
            .of_book(earlier)
            .filter(|(_, state)| held(state.hash()) && state.record().unit == *unit)
            .map(|(_, state)| state.record().issued);
        // A book that an earlier key opened carries totals as a state does.
        let carried = earlier.record().carried(unit);
        let carried = carried
            .filter(|_| held(earlier.hash()))
            .map(|carried| carried.issued);
        for issued in states.chain(carried) {
            most = most.max(within_cap(issued, earlier.record(), unit, other));
        }
    }
    most
}

/// `issued`, or what the cap of `book` on net debt allows over everything that the other has given.
fn within_cap(issued: Total, book: &Book, unit: &Unit, other: &Side<'_>) -> Total {
    let stated = other
        .states
        .iter()
        .filter(|(_, s)| s.record().unit == *unit)
        .map(|(_, s)| s.record().issued);
    let carried = other
        .books
        .iter()
        .filter_map(|(_, b)| b.record().carried(unit).map(|c| c.issued));
    let issued_by_other = stated.chain(carried).max().unwrap_or(Total::ZERO);
    let reach = book
        .cap_for(unit)
        .minor()
        .saturating_add(issued_by_other.minor());
    issued.min(Total::from_minor(reach).unwrap_or(Total::MAX))
}
