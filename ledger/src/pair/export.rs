//! What of a pair is published in the owner's channel file, and what goes into evidence.

use super::{Pair, Side};
use crate::jws::Signed;
use crate::record::Book;

/// The records of a channel file, as compact JWS, in an order in which a reader can take them: authority, book, acks of the
/// other's book, lines, states, what goes with them.
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
        let mut own = side_records(&self.own, true);
        own.extend(acks_given(&self.theirs));
        let mut held = side_records(&self.theirs, false);
        held.extend(acks_given(&self.own));
        FileRecords { own, held }
    }

    /// Every record that bears on who owes whom, of both sides, for an evidence bundle: authorities and revocations, books,
    /// states newest and cleared, acks, refusals, and what proves a contradiction.
    #[must_use]
    pub fn evidence_records(&self) -> Vec<String> {
        let mut records = Vec::new();
        for side in [&self.own, &self.theirs] {
            records.extend(side_records(side, true));
            records.extend(acks_given(side));
            for unit in side.units.values() {
                records.extend(unit.cleared.iter().map(jws));
                records.extend(unit.frozen.iter().flat_map(|f| f.records.clone()));
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        records.retain(|record| seen.insert(record.clone()));
        records
    }
}

fn jws<T>(signed: &Signed<T>) -> String {
    signed.jws().to_owned()
}

fn side_records(side: &Side, with_notes: bool) -> Vec<String> {
    let mut records = Vec::new();
    let mut books: Vec<&Signed<Book>> = side.pending_books.iter().collect();
    for book in side.book_before.iter().chain(&side.book) {
        if !books.iter().any(|known| known.hash() == book.hash()) {
            books.push(book);
        }
    }
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
        records.extend(unit.line.iter().map(jws));
        records.extend(unit.carried.iter().map(jws));
        records.extend(unit.newest.iter().map(jws));
        if with_notes {
            records.extend(unit.refusals.iter().map(jws));
            records.extend(unit.payments.iter().map(jws));
        }
    }
    records
}

/// The acks that the other user has given for this side's records.
fn acks_given(side: &Side) -> Vec<String> {
    let acks = side.units.values().filter_map(|unit| unit.ack.as_ref());
    side.book_ack.iter().chain(acks).map(jws).collect()
}
