//! Books: opening the owner's, taking the peer's.

use std::collections::BTreeMap;

use super::Pair;
use super::event::{Event, Outcome, PendingReason};
use super::own::binding;
use super::side::{MAX_PENDING_BOOKS, Side, Totals, UnitSide};
use crate::amount::Total;
use crate::authority::{Authority, Purpose};
use crate::error::LedgerError;
use crate::jws::{Signed, Version};
use crate::key::{Keypair, SignerKey};
use crate::record::{Ack, AckItem, AnyRecord, Book, BookAck, Carried, State, UnitBase, UnitCap};
use crate::seq::Epoch;
use crate::time::Timestamp;
use crate::unit::Unit;

/// A book to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBook {
    /// The key that keeps it.
    pub key: SignerKey,
    /// The most net debt per unit; a unit that is not listed can't be used to owe.
    pub caps: BTreeMap<Unit, Total>,
    /// Whether the same store goes on, so that it knows every signature of the epoch that ends. Otherwise the owner must wait
    /// for the peer's ack, which may know more.
    pub continues: bool,
    /// The lowest epoch that may be opened: a recovery that found nothing still begins after whatever may have been.
    pub at_least: Epoch,
}

impl Pair {
    /// Opens the owner's book: epoch 0 for the first, else the next epoch, going on from the totals known here.
    ///
    /// # Errors
    /// [`LedgerError::OutOfRange`] if no epoch is left. Nothing has changed then.
    pub fn open_book(
        &mut self,
        new: NewBook,
        signer: &Keypair,
        now: Timestamp,
    ) -> Result<Signed<Book>, LedgerError> {
        let epoch = match self.own.epoch() {
            None => new.at_least,
            Some(epoch) => epoch.next()?.max(new.at_least),
        };
        let after = self
            .own
            .units
            .iter()
            .filter(|(_, side)| side.totals() != Totals::default())
            .map(|(unit, side)| carried(unit, side, self.own.epoch().unwrap_or_default()))
            .collect();
        let cap = new
            .caps
            .into_iter()
            .map(|(unit, debt)| UnitCap { unit, debt })
            .collect();
        let book = Signed::sign(
            Book {
                v: Version,
                from: self.me,
                to: self.peer,
                epoch,
                key: new.key,
                after,
                cap,
                at: now,
            },
            signer,
        )?;
        let pending = self.pending_after(&book)?;
        start_epoch(&mut self.own, &book);
        self.own.pending_books = pending;
        self.behind = false;
        self.waiting = !new.continues;
        Ok(book)
    }

    /// The books that the peer must still get before `book`. The root's word needs none before it.
    fn pending_after(&self, book: &Signed<Book>) -> Result<Vec<Signed<Book>>, LedgerError> {
        if book.kid().is_root_of(&self.me) {
            return Ok(Vec::new());
        }
        let mut pending = self.own.pending_books.clone();
        if self.own.book_ack.is_none() {
            pending.extend(self.own.book.clone());
        }
        if pending.len() > MAX_PENDING_BOOKS {
            return Err(LedgerError::OutOfRange(
                "number of books that the peer has not acknowledged",
            ));
        }
        Ok(pending)
    }

    pub(super) fn receive_book(
        &mut self,
        signed: &Signed<Book>,
        now: Timestamp,
        pen: Option<&Keypair>,
    ) -> Result<Outcome, LedgerError> {
        let book = signed.record();
        if let Some(current) = &self.theirs.book {
            if current.hash() == signed.hash() {
                return Ok(Outcome::Duplicate);
            }
            if book.epoch < current.record().epoch {
                return Ok(Outcome::Stale);
            }
        }
        let authority = self.book_authority(signed, now)?;
        if !self.theirs.credentials.is_fresh(signed.kid(), now) {
            return Ok(Outcome::Pending(PendingReason::RevocationUnknown {
                key: signed.kid(),
            }));
        }
        if let Some(current) = self.theirs.book.clone() {
            self.check_turn(signed, &authority, &current, now)?;
        }
        let Some(pen) = pen.filter(|pen| self.check_pen(pen).is_ok()) else {
            return Ok(Outcome::Pending(PendingReason::NoPen));
        };
        self.take_book(signed, pen, now)
    }

    /// By whose word the book's signer signs it, and whether its caps keep within that word.
    fn book_authority(
        &self,
        signed: &Signed<Book>,
        now: Timestamp,
    ) -> Result<Authority, LedgerError> {
        let book = signed.record();
        let credentials = &self.theirs.credentials;
        let signer = credentials.judge(signed.kid(), Purpose::Book(self.me), now)?;
        if signer == Authority::Root {
            return Ok(signer);
        }
        // Whoever is named must have the root's word too: there are no chains.
        let keeper = credentials.judge(book.key, Purpose::Book(self.me), now)?;
        for cap in &book.cap {
            let bound = match &keeper {
                Authority::Grant { .. } => self.grant_cap_bound(&cap.unit),
                other => other.cap_bound(&cap.unit),
            };
            if bound.is_some_and(|bound| cap.debt > bound) {
                return Err(LedgerError::CapAboveAuthority {
                    unit: cap.unit.clone(),
                });
            }
        }
        Ok(keeper)
    }

    /// A grant names no limits: the caps of the first book that was taken stand, and may only be lowered.
    fn grant_cap_bound(&self, unit: &Unit) -> Option<Total> {
        self.theirs
            .book
            .as_ref()
            .map(|book| book.record().cap_for(unit))
    }

    /// Whether this book may follow, or at one epoch replace, the one in force.
    fn check_turn(
        &self,
        signed: &Signed<Book>,
        authority: &Authority,
        current: &Signed<Book>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let (book, in_force) = (signed.record(), current.record());
        let out_of_turn = |why| LedgerError::BookOutOfTurn {
            found: book.epoch,
            current: in_force.epoch,
            why,
        };
        if book.epoch == in_force.epoch {
            let rank = |kid: SignerKey, authority: &Authority| {
                (kid.is_root_of(&self.peer), authority.rank())
            };
            let current_authority =
                self.theirs
                    .credentials
                    .judge(in_force.key, Purpose::Book(self.me), now);
            // An authority that no longer holds gives way to one that does.
            let beaten = current_authority.map_or(true, |c| {
                rank(signed.kid(), authority) > rank(current.kid(), &c)
            });
            return if beaten {
                Ok(())
            } else {
                Err(out_of_turn("a book of this epoch is in force already"))
            };
        }
        if signed.kid().is_root_of(&self.peer) {
            return Ok(());
        }
        if book.epoch != in_force.epoch.next()? {
            return Err(out_of_turn("only the root key skips an epoch"));
        }
        if signed.kid() == in_force.key || signed.kid() == book.key {
            return Ok(());
        }
        Err(out_of_turn(
            "it is signed neither by the root, nor by the key before it, nor by the key it names",
        ))
    }

    fn take_book(
        &mut self,
        signed: &Signed<Book>,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        let book = signed.record();
        let mut events = vec![Event::Book {
            epoch: book.epoch,
            key: book.key,
        }];
        let (held, base) = self.held_beyond(book, &mut events);
        let ack = Signed::sign(
            Ack {
                v: Version,
                from: self.me,
                to: self.peer,
                items: vec![AckItem::Book(BookAck {
                    hash: signed.hash(),
                    held: held.iter().map(Signed::hash).collect(),
                    base: base.clone(),
                })],
                at: now,
            },
            pen,
        )?;
        start_epoch(&mut self.theirs, signed);
        for unit in base {
            let side = self.theirs.units.entry(unit.unit.clone()).or_default();
            side.base = Totals {
                issued: unit.issued,
                merged: unit.merged,
                next: unit.next,
            };
            side.acked = unit.issued;
        }
        for state in held {
            let side = self
                .theirs
                .units
                .entry(state.record().unit.clone())
                .or_default();
            side.carried = Some(state);
        }
        self.theirs.book_ack = Some(ack.clone());
        Ok(Outcome::Applied {
            events,
            replies: vec![AnyRecord::Ack(ack)],
        })
    }

    /// The states of the epoch that ends which the new book does not know of, and the totals that they make binding: up to the
    /// cap of the book that ends.
    fn held_beyond(
        &self,
        book: &Book,
        events: &mut Vec<Event>,
    ) -> (Vec<Signed<State>>, Vec<UnitBase>) {
        let mut held = Vec::new();
        let mut base = Vec::new();
        let Some(current) = self.theirs.book.as_ref().map(Signed::record) else {
            return (held, base);
        };
        for (unit, side) in &self.theirs.units {
            let known = side.totals();
            let after = book
                .carried(unit)
                .map_or(Total::ZERO, |carried| carried.issued);
            if known.issued <= after {
                continue;
            }
            let floor = after.max(side.base.issued);
            let reach = binding(current.cap_for(unit), self.own.issued(unit), floor);
            let bound = known.issued.min(reach);
            if bound < known.issued {
                events.push(Event::Unbound {
                    unit: unit.clone(),
                    signed: known.issued,
                    bound,
                });
            }
            if bound > after {
                held.extend(side.newest.clone().or_else(|| side.carried.clone()));
                base.push(UnitBase {
                    unit: unit.clone(),
                    issued: bound,
                    merged: known.merged.min(bound),
                    next: known.next,
                });
            }
        }
        (held, base)
    }
}

/// What the epoch that ends leaves to the next, in the words of a book.
fn carried(unit: &Unit, side: &UnitSide, epoch: Epoch) -> Carried {
    let totals = side.totals();
    let newest = side.newest.as_ref().map(Signed::record);
    Carried {
        unit: unit.clone(),
        epoch,
        seq: side.seq(),
        issued: totals.issued,
        merged: totals.merged,
        next: totals.next,
        open: newest.map_or_else(Vec::new, |state| state.open.clone()),
    }
}

/// Puts `book` in force: each unit starts from what the book carries over, never below what the epoch before started from.
pub(super) fn start_epoch(side: &mut Side, book: &Signed<Book>) {
    side.book_before = side.book.replace(book.clone());
    side.book_ack = None;
    for carried in &book.record().after {
        let unit = side.units.entry(carried.unit.clone()).or_default();
        unit.base = unit.base.max_of(&Totals {
            issued: carried.issued,
            merged: carried.merged,
            next: carried.next,
        });
    }
    for unit in side.units.values_mut() {
        let newest = unit.newest.take();
        unit.carried = newest.filter(|state| state.record().issued <= unit.base.issued);
        unit.cleared = None;
        unit.unacked.clear();
        unit.acked = unit.base.issued;
        unit.payments.clear();
        unit.refusals.clear();
        unit.shown.clear();
        unit.frozen = None;
    }
}

impl Totals {
    /// The greater totals.
    fn max_of(&self, other: &Self) -> Self {
        if other.issued >= self.issued && !self.falls_to(other) {
            *other
        } else {
            *self
        }
    }
}
