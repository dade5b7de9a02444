//! The owner's own records, as the peer shows them: what an earlier key signed may bind, and what the present key did not sign
//! here was signed elsewhere.

use super::Pair;
use super::book::book_item;
use super::event::Outcome;
use super::promise::MAX_PROMISES;
use super::receive::quiet;
use super::side::{MAX_NOTES, MAX_RIVALS, push_bounded};
use crate::error::LedgerError;
use crate::jws::Signed;
use crate::record::{AnyRecord, Book, ConditionalIou, State};
use crate::seq::Seq;
use crate::time::Timestamp;

impl Pair {
    /// Takes one of the owner's own records that the peer has shown: a state or a book of an earlier key, which may bind, or a
    /// sign that the owner's book was written elsewhere.
    ///
    /// # Errors
    /// [`LedgerError::ForeignChannel`] if it is not the owner's towards this peer.
    pub fn show_own(&mut self, record: &AnyRecord, now: Timestamp) -> Result<Outcome, LedgerError> {
        let (author, to) = match record {
            AnyRecord::State(r) => (r.record().from, r.record().to),
            AnyRecord::Book(r) => (r.record().from, r.record().to),
            AnyRecord::ConditionalIou(r) => (r.record().from, r.record().to),
            // The authority of the owner's earlier keys: without it their records could not be told from forgeries.
            AnyRecord::Delegation(_) | AnyRecord::Revocation(_) if record.author() == self.me => {
                self.own.credentials.learn(record.jws(), now)?;
                return Ok(Outcome::Stale);
            }
            _ => return Ok(Outcome::Stale),
        };
        if author != self.me || to != self.peer {
            return Err(LedgerError::ForeignChannel);
        }
        Ok(match record {
            AnyRecord::State(state) => self.show_state(state),
            AnyRecord::Book(book) => self.show_book(book, now),
            AnyRecord::ConditionalIou(iou) => self.show_iou(iou),
            _ => Outcome::Stale,
        })
    }

    fn show_state(&mut self, signed: &Signed<State>) -> Outcome {
        let state = signed.record();
        let Some(current) = self.own.book.as_ref().map(Signed::record) else {
            return Outcome::Stale;
        };
        let (epoch, key) = (current.epoch, current.key);
        if self.own.book_of(signed.kid(), state.epoch).is_none() {
            return Outcome::Stale;
        }
        let side = self.own.units.get_mut(&state.unit);
        if state.epoch == epoch && signed.kid() == key {
            let newest = side.and_then(|side| side.newest.as_ref());
            let seq = newest.map_or(0, |newest| newest.record().seq.get());
            let same = newest.is_some_and(|newest| newest.hash() == signed.hash());
            return if state.seq.get() > seq || state.seq.get() == seq && !same {
                self.written_elsewhere(state.unit.clone(), state.epoch, state.seq)
            } else {
                Outcome::Stale
            };
        }
        if state.epoch > epoch {
            return self.written_elsewhere(state.unit.clone(), state.epoch, state.seq);
        }
        if self.check_unit_count(&state.unit).is_err() {
            return Outcome::Stale;
        }
        let side = self.own.units.entry(state.unit.clone()).or_default();
        let known = side.shown.iter().any(|s| s.hash() == signed.hash());
        if known || !self.waiting || state.issued <= side.base.issued {
            return Outcome::Stale;
        }
        push_bounded(&mut side.shown, signed.clone(), MAX_NOTES);
        quiet()
    }

    fn show_iou(&mut self, signed: &Signed<ConditionalIou>) -> Outcome {
        let iou = signed.record();
        let Some(current) = self.own.book.as_ref().map(Signed::record) else {
            return Outcome::Stale;
        };
        let (epoch, key) = (current.epoch, current.key);
        if self.own.book_of(signed.kid(), iou.epoch).is_none()
            || self.check_unit_count(&iou.unit).is_err()
        {
            return Outcome::Stale;
        }
        let first = epoch.first_iou();
        let side = self.own.units.entry(iou.unit.clone()).or_default();
        if side.promise(signed.hash()).is_some() {
            return Outcome::Stale;
        }
        let twice = side.by_number(iou.number).is_some();
        if iou.epoch == epoch
            && signed.kid() == key
            && (twice || iou.number >= side.next_number(first))
        {
            return self.written_elsewhere(iou.unit.clone(), iou.epoch, Seq::ZERO);
        }
        let known = side
            .shown_promises
            .iter()
            .any(|s| s.hash() == signed.hash());
        if iou.epoch >= epoch || known || twice {
            return Outcome::Stale;
        }
        if !self.waiting {
            return self.show_held(signed);
        }
        push_bounded(&mut side.shown_promises, signed.clone(), MAX_PROMISES);
        quiet()
    }

    /// A promise that the peer's ack of the book in force said it held, and that comes after that ack.
    fn show_held(&mut self, signed: &Signed<ConditionalIou>) -> Outcome {
        let book = self.own.book.as_ref().map(Signed::hash);
        let ack = self.own.book_ack.as_ref().map(Signed::record);
        let item = ack.zip(book).and_then(|(ack, book)| book_item(ack, book));
        let unit = &signed.record().unit;
        if item.is_some_and(|item| item.held.contains(&signed.hash()))
            && self.take_held(signed.clone(), self.highest_of_peer(unit))
        {
            return quiet();
        }
        Outcome::Stale
    }

    /// Whether the peer, who has this book of the root, can't take those that wait for its ack: none of the root comes after it among them.
    fn can_not_follow(&self, book: &Book) -> bool {
        if self.own.book_ack.is_some() {
            return false;
        }
        let waiting = self.own.pending_books.iter().chain(&self.own.book);
        let mut of_root = waiting.filter(|own| own.kid().is_root_of(&self.me));
        let comes_after = |own: &Signed<Book>| {
            let own = own.record();
            own.epoch > book.epoch || own.epoch == book.epoch && own.at >= book.at
        };
        !of_root.any(comes_after)
    }

    fn show_book(&mut self, signed: &Signed<Book>, now: Timestamp) -> Outcome {
        let Some(current) = self.own.book.as_ref() else {
            return Outcome::Stale;
        };
        let book = signed.record();
        let known = self
            .own
            .book_of(book.key, book.epoch)
            .is_some_and(|known| known.hash() == signed.hash());
        let word = signed.kid().is_root_of(&self.me)
            || self.own.credentials.ever_let(signed.kid(), self.peer, now);
        if known || !word {
            return Outcome::Stale;
        }
        let in_force = current.record();
        let by_root = |book: &Signed<Book>| book.kid().is_root_of(&self.me);
        // At one epoch the root's word comes before a device's, and of two words of the root the later.
        let beats = by_root(signed) && (!by_root(current) || book.at > in_force.at);
        let ahead = book.epoch > in_force.epoch
            || book.epoch == in_force.epoch && beats
            || by_root(signed) && self.can_not_follow(book);
        if !self.own.rivals.iter().any(|r| r.hash() == signed.hash()) {
            push_bounded(&mut self.own.rivals, signed.clone(), MAX_RIVALS);
        }
        if ahead {
            // Somebody goes on after this epoch, or instead: only a recovery by the root comes after that.
            self.behind = true;
        }
        quiet()
    }
}
