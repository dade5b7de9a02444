//! What of a pair is published in the owner's channel file, and what goes into evidence.

use std::collections::BTreeSet;

use super::{Pair, Side};
use crate::jws::Signed;
use crate::record::{Book, Publication, State};

/// The records of a channel file, as compact JWS, in an order in which a reader can take them: authority, books, lines, states,
/// what goes with them, acks.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FileRecords {
    /// The owner's own records.
    pub own: Vec<String>,
    /// The newest records of the peer that the owner holds: recovery must not depend on debtors.
    pub held: Vec<String>,
}

impl Pair {
    /// The records that the owner publishes for the peer.
    #[must_use]
    pub fn file_records(&self) -> FileRecords {
        let mut own = debts(&self.own);
        for unit in self.own.units.values() {
            own.extend(unit.line.iter().map(jws));
            own.extend(unit.refusals.iter().map(jws));
            own.extend(unit.payments.iter().map(jws));
        }
        own.extend(acks_given(&self.theirs));
        own.extend(self.own.endpoints.iter().map(jws));
        // What the peer would only like to see here (lines, notes) stays out: nobody else decides how large this file gets.
        let mut held = debts(&self.theirs);
        held.extend(acks_given(&self.own));
        // One record of a size that is known: without it the owner would not know where to pay after a loss.
        held.extend(self.theirs.endpoints.iter().map(jws));
        // A proof lies with whoever handed it over.
        for signed in [&self.own, &self.theirs].into_iter().flat_map(publications) {
            if signed.record().from == self.me {
                own.push(jws(signed));
            } else {
                held.push(jws(signed));
            }
        }
        FileRecords { own, held }
    }

    /// Every record that bears on who owes whom, of both sides, for an evidence bundle: authorities and revocations, books,
    /// states newest and cleared, acks, the owner's refusals, and what proves a contradiction.
    #[must_use]
    pub fn evidence_records(&self) -> Vec<String> {
        let mut records = Vec::new();
        for side in [&self.own, &self.theirs] {
            records.extend(debts(side));
            records.extend(acks_given(side));
            records.extend(publications(side).map(jws));
            for unit in side.units.values() {
                records.extend(unit.cleared.iter().map(jws));
                let frozen = unit.frozen.iter().chain(&unit.past_frozen);
                records.extend(frozen.flat_map(|f| f.records.clone()));
            }
        }
        for unit in self.own.units.values() {
            records.extend(unit.refusals.iter().map(jws));
        }
        let mut seen = BTreeSet::new();
        records.retain(|record| seen.insert(record.clone()));
        records
    }
}

fn jws<T>(signed: &Signed<T>) -> String {
    signed.jws().to_owned()
}

/// What one side owes and by whose word: authorities, books and totals.
fn debts(side: &Side) -> Vec<String> {
    let mut books: Vec<&Signed<Book>> = Vec::new();
    for book in side
        .past
        .iter()
        .chain(&side.pending_books)
        .chain(&side.book)
    {
        if !books.iter().any(|known| known.hash() == book.hash()) {
            books.push(book);
        }
    }
    books.sort_by_key(|book| book.record().epoch);
    let mut records = Vec::new();
    for book in &books {
        for key in [book.record().key, book.kid()] {
            for credential in side.credentials.about(key) {
                if !records.contains(&credential) {
                    records.push(credential);
                }
            }
        }
    }
    records.extend(books.into_iter().map(jws));
    for unit in side.units.values() {
        records.extend(unit.carried.iter().map(jws));
        records.extend(unit.newest.iter().map(jws));
        // Without it a promise that was cleared would look new after a loss.
        records.extend(unit.cleared.iter().map(jws));
        records.extend(unit.promises.iter().map(|p| jws(p.iou())));
    }
    let mut seen = BTreeSet::new();
    records.retain(|record| seen.insert(record.clone()));
    records
}

/// The proofs that promises of this side are due.
fn publications(side: &Side) -> impl Iterator<Item = &Signed<Publication>> {
    let units = side.units.values();
    units.flat_map(|unit| unit.promises.iter().filter_map(|p| p.publication.as_ref()))
}

/// What the other user has said about this side's records: acks, and promises given up.
fn acks_given(side: &Side) -> Vec<String> {
    let mut records: Vec<String> = side.book_ack.iter().map(jws).collect();
    for unit in side.units.values() {
        records.extend(unit.ack.iter().map(jws));
        let cleared = unit.cleared.as_ref();
        if unit.clear_ack != unit.ack && cleared.is_some_and(|state| counts(side, state)) {
            records.extend(unit.clear_ack.iter().map(jws));
        }
        let releases = unit.promises.iter().filter_map(|p| p.release.as_ref());
        records.extend(releases.map(jws));
    }
    records
}

/// Whether the book in force follows the one of a state, or is its own. A state of a book that another one of its epoch has replaced
/// would look, acknowledged, like a state of the other one that its owner never signed.
fn counts(side: &Side, state: &Signed<State>) -> bool {
    side.book.as_ref().map(Signed::record).is_none_or(|book| {
        state.record().epoch < book.epoch
            || state.record().epoch == book.epoch && state.kid() == book.key
    })
}
