//! A fresh store with only the root key: what it finds on the homeservers becomes a pair again, and a new epoch begins.

use std::collections::BTreeMap;

use super::Pair;
use super::book::{NewBook, start_epoch};
use super::event::{Event, Outcome};
use super::issue::LineTerms;
use super::side::{MAX_NOTES, Side, Totals, push_bounded};
use crate::amount::Total;
use crate::authority::{Authority, Purpose};
use crate::error::LedgerError;
use crate::jws::{RecordHash, Signed};
use crate::key::{Keypair, UserKey};
use crate::record::{Ack, AckItem, AnyRecord, Book, BookAck, CreditLine, State};
use crate::seq::Epoch;
use crate::time::Timestamp;
use crate::unit::Unit;

/// A pair that was put together again, with a new epoch begun: store it, then send the book and the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The pair.
    pub pair: Pair,
    /// The book of the new epoch.
    pub book: Signed<Book>,
    /// The credit lines that were found, signed anew: show them, a thief might have raised them.
    pub lines: Vec<Signed<CreditLine>>,
}

impl Pair {
    /// Puts a pair together from what lies on the homeservers and begins a new epoch under `pen`, by the word of the root.
    ///
    /// `mine` are the owner's records, from the owner's own channel file and from what the peer's file holds of them; `held` are
    /// the peer's records from the owner's own channel file, which the owner had taken before. What the peer's file says beyond
    /// that goes through [`Pair::receive`] afterwards. `authority` are the owner's delegations and grants, old and new.
    ///
    /// # Errors
    /// [`LedgerError::OutOfRange`] if no epoch is left.
    #[allow(clippy::too_many_arguments)]
    pub fn recover(
        me: UserKey,
        peer: UserKey,
        mine: &[AnyRecord],
        held: &[AnyRecord],
        authority: &[String],
        caps: BTreeMap<Unit, Total>,
        root: &Keypair,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Recovered, LedgerError> {
        let mut pair = Self::new(me, peer)?;
        for jws in authority {
            // What is no authority of ours is of no use here, and no harm either.
            let _ = pair.own.credentials.learn(jws, now);
        }
        for record in mine.iter().chain(held) {
            pair.learn_found(record, now);
        }
        let acks = found_acks(mine, held);
        restore_side(&mut pair.own, me, peer, mine, &acks, now);
        restore_side(&mut pair.theirs, peer, me, held, &acks, now);
        let book = pair.open_book(
            NewBook {
                key: pen.signer_key(),
                caps,
                continues: false,
                at_least: Epoch::ZERO.next()?,
            },
            root,
            now,
        )?;
        let mut lines = Vec::new();
        for terms in pair.found_lines() {
            lines.push(pair.set_line(terms, pen, now)?);
        }
        Ok(Recovered { pair, book, lines })
    }

    /// Takes one of the owner's own records that the peer has shown: a state of an epoch that ended, which may bind, or a sign
    /// that the owner's book was written elsewhere.
    ///
    /// # Errors
    /// [`LedgerError::ForeignChannel`] if it is not the owner's towards this peer.
    pub fn show_own(&mut self, record: &AnyRecord) -> Result<Outcome, LedgerError> {
        let (author, to) = match record {
            AnyRecord::State(r) => (r.record().from, r.record().to),
            AnyRecord::Book(r) => (r.record().from, r.record().to),
            _ => return Ok(Outcome::Stale),
        };
        if author != self.me || to != self.peer {
            return Err(LedgerError::ForeignChannel);
        }
        match record {
            AnyRecord::State(state) => Ok(self.show_state(state)),
            AnyRecord::Book(book) => Ok(self.show_book(book)),
            _ => Ok(Outcome::Stale),
        }
    }

    fn show_state(&mut self, signed: &Signed<State>) -> Outcome {
        let state = signed.record();
        let Some(book) = self.own.book.as_ref() else {
            return Outcome::Stale;
        };
        let (epoch, key) = (book.record().epoch, book.record().key);
        if state.epoch < epoch {
            let by_old_key = self.own.book_before.as_ref().is_some_and(|before| {
                before.record().epoch == state.epoch && before.record().key == signed.kid()
            });
            let side = self.own.units.entry(state.unit.clone()).or_default();
            let known = side.shown.iter().any(|s| s.hash() == signed.hash());
            if !by_old_key || known || state.issued <= side.base.issued {
                return Outcome::Stale;
            }
            push_bounded(&mut side.shown, signed.clone(), MAX_NOTES);
            return quiet();
        }
        let known = self.own.units.get(&state.unit);
        let newest = known.and_then(|side| side.newest.as_ref());
        let seq = newest.map_or(0, |newest| newest.record().seq.get());
        let same = newest.is_some_and(|newest| newest.hash() == signed.hash());
        let elsewhere = state.epoch > epoch
            || signed.kid() == key && (state.seq.get() > seq || state.seq.get() == seq && !same);
        if elsewhere && !self.behind {
            self.behind = true;
            return Outcome::Applied {
                events: vec![Event::WrittenElsewhere {
                    unit: state.unit.clone(),
                    epoch: state.epoch,
                    seq: state.seq,
                }],
                replies: Vec::new(),
            };
        }
        Outcome::Stale
    }

    fn show_book(&mut self, signed: &Signed<Book>) -> Outcome {
        let Some(current) = self.own.book.as_ref() else {
            return Outcome::Stale;
        };
        let (book, in_force) = (signed.record(), current.record());
        if book.epoch < in_force.epoch {
            let newer = self
                .own
                .book_before
                .as_ref()
                .is_none_or(|before| before.record().epoch < book.epoch);
            if self.waiting && newer {
                self.own.book_before = Some(signed.clone());
                return quiet();
            }
            return Outcome::Stale;
        }
        if signed.hash() != current.hash() && book.epoch > in_force.epoch {
            self.behind = true;
        }
        Outcome::Stale
    }

    fn learn_found(&mut self, record: &AnyRecord, now: Timestamp) {
        let credentials = if record.author() == self.me {
            &mut self.own.credentials
        } else {
            &mut self.theirs.credentials
        };
        if matches!(record, AnyRecord::Delegation(_) | AnyRecord::Revocation(_)) {
            // An authority that does not hold is simply not known.
            let _ = credentials.learn(record.jws(), now);
        }
    }

    fn found_lines(&self) -> Vec<LineTerms> {
        self.own
            .units
            .values()
            .filter_map(|side| side.line.as_ref())
            .map(|line| {
                let line = line.record();
                LineTerms {
                    unit: line.unit.clone(),
                    accept: line.accept,
                    min_amount: line.min_amount,
                    max_deadline_s: line.max_deadline_s,
                    slots: line.slots,
                    unattended: line.unattended.clone(),
                    logs_refused: line.logs_refused.clone(),
                    expires: line.expires,
                }
            })
            .collect()
    }
}

fn quiet() -> Outcome {
    Outcome::Applied {
        events: Vec::new(),
        replies: Vec::new(),
    }
}

/// Every acknowledged book, with what its epoch started from.
fn found_acks(
    mine: &[AnyRecord],
    held: &[AnyRecord],
) -> BTreeMap<RecordHash, (BookAck, Signed<Ack>)> {
    let mut acks = BTreeMap::new();
    for record in mine.iter().chain(held) {
        if let AnyRecord::Ack(signed) = record {
            for item in &signed.record().items {
                if let AckItem::Book(book) = item {
                    acks.insert(book.hash, (book.clone(), signed.clone()));
                }
            }
        }
    }
    acks
}

/// Plays the books of one side in order, and under each the newest totals that its key has signed.
fn restore_side(
    side: &mut Side,
    from: UserKey,
    to: UserKey,
    records: &[AnyRecord],
    acks: &BTreeMap<RecordHash, (BookAck, Signed<Ack>)>,
    now: Timestamp,
) {
    for book in books_in_order(side, from, to, records, now) {
        start_epoch(side, &book);
        if let Some((item, ack)) = acks.get(&book.hash()) {
            for base in &item.base {
                let unit = side.units.entry(base.unit.clone()).or_default();
                let totals = Totals {
                    issued: base.issued,
                    merged: base.merged,
                    next: base.next,
                };
                if !unit.base.falls_to(&totals) {
                    unit.base = totals;
                }
            }
            side.book_ack = Some(ack.clone());
        }
        restore_states(side, &book, records);
    }
    restore_lines(side, from, to, records);
}

/// The books of `from`, one an epoch, ascending: the root's word before any other.
fn books_in_order(
    side: &Side,
    from: UserKey,
    to: UserKey,
    records: &[AnyRecord],
    now: Timestamp,
) -> Vec<Signed<Book>> {
    let mut books: BTreeMap<Epoch, Signed<Book>> = BTreeMap::new();
    for record in records {
        let AnyRecord::Book(signed) = record else {
            continue;
        };
        let book = signed.record();
        if book.from != from || book.to != to {
            continue;
        }
        let by_root = signed.kid().is_root_of(&from);
        // A thief's epoch counts for finding the highest one, but only if the thief's key once had authority.
        let plausible = by_root
            || matches!(
                side.credentials.judge(signed.kid(), Purpose::Book(to), now),
                Ok(Authority::Delegation(_) | Authority::Grant { .. })
                    | Err(LedgerError::AuthorityExpired { .. } | LedgerError::KeyRevoked { .. })
            )
            || books.values().any(|b| b.record().key == signed.kid());
        let better = books
            .get(&book.epoch)
            .is_none_or(|known| by_root && !known.kid().is_root_of(&from));
        if plausible && better {
            books.insert(book.epoch, signed.clone());
        }
    }
    books.into_values().collect()
}

fn restore_states(side: &mut Side, book: &Signed<Book>, records: &[AnyRecord]) {
    let of_book = book.record();
    for record in records {
        let AnyRecord::State(signed) = record else {
            continue;
        };
        let state = signed.record();
        let fits = (state.from, state.to) == (of_book.from, of_book.to)
            && state.epoch == of_book.epoch
            && signed.kid() == of_book.key;
        if !fits {
            continue;
        }
        let unit = side.units.entry(state.unit.clone()).or_default();
        if state.seq > unit.seq() && !unit.totals().falls_to(&Totals::from(state)) {
            unit.newest = Some(signed.clone());
        }
    }
}

fn restore_lines(side: &mut Side, from: UserKey, to: UserKey, records: &[AnyRecord]) {
    for record in records {
        let AnyRecord::CreditLine(signed) = record else {
            continue;
        };
        let line = signed.record();
        if (line.from, line.to) != (from, to) {
            continue;
        }
        let unit = side.units.entry(line.unit.clone()).or_default();
        let newer = unit.line.as_ref().is_none_or(|known| {
            (known.record().epoch, known.record().seq) < (line.epoch, line.seq)
        });
        if newer {
            unit.line = Some(signed.clone());
        }
    }
}
