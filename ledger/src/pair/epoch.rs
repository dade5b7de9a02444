//! The owner's books: opening one, and what an epoch leaves to the next.

use std::collections::BTreeMap;

use super::Pair;
use super::book::FIRST_EPOCH_OF_ROOT;
use super::promise::Promise;
use super::side::{MAX_BACKING_BOOKS, MAX_PAST_BOOKS, MAX_PENDING_BOOKS, Side, Totals, UnitSide};
use crate::amount::Total;
use crate::error::LedgerError;
use crate::jws::{Signed, Version};
use crate::key::{Keypair, SignerKey, UserKey};
use crate::record::{Book, Carried, State, UnitCap};
use crate::seq::{Epoch, IouNumber};
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
    /// [`LedgerError::OutOfRange`] if no epoch is left, or if too many books of a device wait for the peer's ack. Nothing has
    /// changed then.
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
        if epoch.get() >= FIRST_EPOCH_OF_ROOT && !signer.signer_key().is_root_of(&self.me) {
            return Err(LedgerError::OutOfRange("epoch of a device's book"));
        }
        let after = self
            .own
            .units
            .iter()
            .filter(|(_, side)| side.totals() != Totals::default() || !side.promises.is_empty())
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
        self.own.start_epoch(&book, self.peer, now);
        self.own.pending_books = pending;
        self.behind = false;
        // What a recovery may not know is not known better because another book follows.
        self.waiting |= !new.continues;
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
}

/// What the epoch that ends leaves to the next, in the words of a book.
fn carried(unit: &Unit, side: &UnitSide, epoch: Epoch) -> Carried {
    let totals = side.totals();
    Carried {
        unit: unit.clone(),
        epoch,
        seq: side.seq(),
        issued: totals.issued,
        merged: totals.merged,
        returned: totals.returned,
        next: side.next_number(IouNumber::default()),
        open: side.open_numbers(),
    }
}

impl Side {
    /// Puts `book` in force: each unit starts from what the book carries over, never below what the epoch before started from.
    pub(super) fn start_epoch(&mut self, book: &Signed<Book>, other: UserKey, now: Timestamp) {
        // Room for the one that ends now.
        self.forget_books(MAX_PAST_BOOKS - 1);
        self.past.extend(self.book.replace(book.clone()));
        for key in [book.record().key, book.kid()] {
            self.credentials.rely_on(key, other, now);
        }
        self.book_ack = None;
        for carried in &book.record().after {
            let unit = self.units.entry(carried.unit.clone()).or_default();
            let after = Totals::from(carried);
            if !unit.base.falls_to(&after) {
                unit.base = after;
            }
        }
        for unit in self.units.values_mut() {
            unit.start_epoch();
        }
    }

    /// Forgets earlier books before the newest `keep`: of the older ones those stay that back a total beyond the book in force, or under which a
    /// promise was signed that is still kept: without its book nobody could take the promise again after a loss.
    pub(super) fn forget_books(&mut self, keep: usize) {
        let old = self.past.len().saturating_sub(keep);
        let recent = self.past.split_off(old);
        let (past, units) = (std::mem::take(&mut self.past), &self.units);
        let current = self.book.as_ref().map(Signed::record);
        let carries = |book: &Signed<Book>, unit: &Unit, issued: Total| {
            let carried = book.record().carried(unit);
            carried.is_some_and(|carried| carried.issued >= issued)
        };
        let backs = |book: &&Signed<Book>| {
            units.iter().any(|(unit, side)| {
                let base = side.base.issued;
                let after = current.and_then(|current| current.carried(unit));
                let state = side.carried.as_ref();
                let by_state = state.filter(|state| state.record().issued >= base);
                after.is_none_or(|after| after.issued < base)
                    && match by_state {
                        Some(state) => {
                            state.record().epoch == book.record().epoch
                                && state.kid() == book.record().key
                        }
                        None => base > Total::ZERO && carries(book, unit, base),
                    }
            })
        };
        let signs = |book: &&Signed<Book>| {
            let mut promises = units.values().flat_map(|side| &side.promises);
            promises.any(|promise| promise.is_under(book))
        };
        let mut kept: Vec<Signed<Book>> = past
            .iter()
            .filter(|book| backs(book) || signs(book))
            .cloned()
            .collect();
        kept.drain(..kept.len().saturating_sub(MAX_BACKING_BOOKS));
        kept.extend(recent);
        self.past = kept;
    }

    /// The newest book that carries at least `issued` over.
    pub(super) fn book_carrying(&self, unit: &Unit, issued: Total) -> Option<&Signed<Book>> {
        let books = self.book.iter().chain(self.past.iter().rev());
        let mut carrying = books.filter(|book| {
            let carried = book.record().carried(unit);
            carried.is_some_and(|carried| carried.issued >= issued)
        });
        carrying.next()
    }
}

impl UnitSide {
    /// Without promises that a clear has left, everything merged so far belongs to what is no longer kept. What was cleared is
    /// remembered all the same: it does not come again.
    pub(super) fn forget_merged(&mut self) {
        if self.promises.is_empty() {
            self.merged_before = self.totals().merged;
        }
    }

    /// A total that the peer has shown holds `merged` more than what was known here. What the state of that total no longer lists is
    /// part of it, as far as that reaches: it is not kept as if it could come due again.
    pub(super) fn forget_booked(&mut self, merged: u64) {
        let base = self.base;
        let whole = |state: &&Signed<State>| Totals::from(state.record()).issued == base.issued;
        let Some(state) = self.carried.clone().filter(|state| whole(&state)) else {
            return;
        };
        let closes = |promise: &Promise| state.record().closes(promise.number());
        let closed = self.sum(|p| closes(p) && p.release().is_none());
        if merged > 0 && closed <= merged {
            self.promises.retain(|promise| !closes(promise));
            let before = self.merged_before.minor().saturating_add(merged);
            self.merged_before = Total::from_minor(before).unwrap_or(base.merged);
        }
    }

    fn start_epoch(&mut self) {
        let newest = self.newest.take();
        // What names less than the epoch starts from backs nothing, and what names more is not known to the book.
        self.carried = newest.filter(|state| state.record().issued == self.base.issued);
        self.forget_merged();
        self.shown_promises.clear();
        self.ack = None;
        self.acked = self.acked.min(self.base.issued);
        self.shown.clear();
        // A contradiction ends with its epoch; the proof of it stays.
        if let Some(frozen) = self.frozen.take() {
            self.past_frozen = Some(frozen);
        }
    }
}
