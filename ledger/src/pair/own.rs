//! What the peer says about the owner's records: acks.

use super::Pair;
use super::event::{Event, Outcome, PendingReason};
use super::promise::Promise;
use super::receive::{Standing, quiet};
use super::side::Totals;
use crate::amount::Total;
use crate::error::LedgerError;
use crate::jws::Signed;
use crate::record::{Ack, AckItem, BookAck, ConditionalIou, StateAck, UnitBase};
use crate::seq::IouNumber;
use crate::time::Timestamp;
use crate::unit::Unit;

impl Pair {
    pub(super) fn receive_ack(
        &mut self,
        signed: &Signed<Ack>,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        // What was taken was taken, also if the peer's books changed hands while its ack was under way.
        if let Standing::Pending(reason) = self.standing_of_any_keeper(signed.kid(), now)? {
            return Ok(Outcome::Pending(reason));
        }
        // All items or none: the pair must not be left half changed.
        let mut next = self.clone();
        let mut events = Vec::new();
        let mut changed = false;
        for item in &signed.record().items {
            let outcome = match item {
                AckItem::State(item) => next.state_acked(item, signed),
                AckItem::Iou(item) => next.iou_acked(item),
                AckItem::Book(item) => next.book_acked(item, signed),
            };
            match outcome {
                Outcome::Applied { events: more, .. } => {
                    events.extend(more);
                    changed = true;
                }
                Outcome::Pending(reason) => return Ok(Outcome::Pending(reason)),
                Outcome::Duplicate | Outcome::Stale => {}
            }
        }
        if !changed {
            return Ok(Outcome::Duplicate);
        }
        *self = next;
        Ok(Outcome::Applied {
            events,
            replies: Vec::new(),
        })
    }

    fn state_acked(&mut self, item: &StateAck, signed: &Signed<Ack>) -> Outcome {
        let epoch = match self.own.epoch() {
            // Before the peer has acknowledged the new book, its acks are of what an earlier key signed.
            Some(epoch) if !self.waiting && item.epoch >= epoch => epoch,
            _ => return Outcome::Stale,
        };
        let side = self.own.units.get_mut(&item.unit);
        let newest = side.as_ref().and_then(|side| side.newest.as_ref());
        let seq = newest.map_or(0, |newest| newest.record().seq.get());
        let same = newest.is_some_and(|newest| newest.hash() == item.hash);
        let Some(side) = side.filter(|_| {
            item.epoch == epoch && (item.seq.get() < seq || item.seq.get() == seq && same)
        }) else {
            // The peer took a state that this store never signed: the same book is written elsewhere.
            return self.written_elsewhere(item.unit.clone(), item.epoch, item.seq);
        };
        let before = side
            .ack
            .as_ref()
            .and_then(|ack| acked_seq(ack.record(), item));
        let newest_cleared =
            side.newest.as_ref().map(Signed::hash) == side.cleared.as_ref().map(Signed::hash);
        // What was taken may be cleared later, when the promises that it closes are decided.
        let clears = same && item.clear && !newest_cleared;
        if before.is_some_and(|seq| item.seq < seq || item.seq == seq && !clears) {
            return Outcome::Stale;
        }
        let known = side
            .unacked
            .iter()
            .find(|(e, s, ..)| (*e, *s) == (item.epoch, item.seq))
            .map(|(_, _, issued, paid)| (*issued, *paid));
        if let Some((issued, paid)) = known {
            side.acked = side.acked.max(issued);
            let accepted = paid.saturating_sub(item.returned.minor());
            side.accepted = side.accepted.max(accepted);
        }
        let mut events = vec![Event::Acknowledged {
            unit: item.unit.clone(),
            epoch: item.epoch,
            seq: item.seq,
        }];
        if clears && let Some(newest) = side.newest.clone() {
            events.extend(side.given_up_by_clear(newest.record()));
            side.clear_up_to(&newest);
            side.clear_ack = Some(signed.clone());
        }
        let at = (item.epoch, item.seq);
        side.unacked.retain(|(e, s, ..)| (*e, *s) > at);
        side.payments
            .retain(|p| (p.record().epoch, p.record().seq) > at);
        side.ack = Some(signed.clone());
        Outcome::Applied {
            events,
            replies: Vec::new(),
        }
    }

    /// Notes that somebody else signs with the owner's book key, or that this store is older than its own signatures.
    pub(super) fn written_elsewhere(
        &mut self,
        unit: Unit,
        epoch: crate::Epoch,
        seq: crate::Seq,
    ) -> Outcome {
        if self.behind {
            return Outcome::Duplicate;
        }
        self.behind = true;
        applied(Event::WrittenElsewhere { unit, epoch, seq })
    }

    fn book_acked(&mut self, item: &BookAck, signed: &Signed<Ack>) -> Outcome {
        let Some(book) = self.own.book.clone() else {
            return Outcome::Stale;
        };
        let pending = &self.own.pending_books;
        if let Some(at) = pending.iter().position(|p| p.hash() == item.hash) {
            self.own.pending_books.drain(..=at);
            return quiet();
        }
        if book.hash() != item.hash {
            return Outcome::Stale;
        }
        if self.own.book_ack.is_some() {
            return Outcome::Duplicate;
        }
        // What binds of epochs that were lost is for the keeper of now to say, who signs anew what earlier ones have said.
        if self.theirs.kept_before(signed.kid()) && (self.waiting || !item.base.is_empty()) {
            return Outcome::Pending(PendingReason::BookUnknown);
        }
        if !item.base.iter().all(|base| self.is_backed(item, base)) {
            return Outcome::Pending(PendingReason::HeldUnknown);
        }
        for base in &item.base {
            self.start_from(item, base);
        }
        for side in self.own.units.values_mut() {
            side.shown.clear();
            side.shown_promises.clear();
            if side.newest.is_none() {
                side.acked = side.base.issued;
            }
        }
        self.own.book_ack = Some(signed.clone());
        self.own.pending_books.clear();
        self.waiting = false;
        applied(Event::BookAcknowledged {
            epoch: book.record().epoch,
        })
    }

    fn start_from(&mut self, item: &BookAck, base: &UnitBase) {
        let totals = Totals::from(base);
        let side = self.own.units.entry(base.unit.clone()).or_default();
        if side.newest.is_none() && !side.base.falls_to(&totals) {
            let merged = totals.merged.growth_since(side.base.merged);
            side.base = totals;
            side.acked = totals.issued;
            side.carried = side
                .shown
                .iter()
                .find(|state| item.held.contains(&state.hash()))
                .cloned();
            side.forget_booked(merged);
            side.forget_merged();
        }
        self.take_held_promises(item, base, self.highest_of_peer(&base.unit));
    }

    /// The greatest total that the peer is known to have signed.
    pub(super) fn highest_of_peer(&self, unit: &Unit) -> Total {
        let theirs = self.theirs.units.get(unit);
        theirs.map_or(Total::ZERO, super::UnitSide::highest)
    }

    /// How far the numbers of promises reach by what is known here and by what the peer has shown and says it held.
    fn next_backed(&self, item: &BookAck, base: &UnitBase, side: &super::UnitSide) -> IouNumber {
        let states = side.shown.iter().filter(|s| item.held.contains(&s.hash()));
        let books = self
            .own
            .rivals
            .iter()
            .filter(|b| item.held.contains(&b.hash()));
        let carried = books.filter_map(|book| book.record().carried(&base.unit));
        states
            .map(|state| state.record().next)
            .chain(carried.map(|carried| carried.next))
            .fold(side.next_after_shown(item), IouNumber::max)
    }

    /// Promises of earlier keys that the peer held before it got the book bind, in order of their numbers, as far as the cap of
    /// the book that they were signed under reaches.
    fn take_held_promises(&mut self, item: &BookAck, base: &UnitBase, issued_by_peer: Total) {
        let Some(side) = self.own.units.get(&base.unit) else {
            return;
        };
        let mut held: Vec<_> = side
            .shown_promises
            .iter()
            .filter(|iou| item.held.contains(&iou.hash()) && iou.record().number < base.next)
            .cloned()
            .collect();
        held.sort_by_key(|iou| iou.record().number);
        for iou in held {
            self.take_held(iou, issued_by_peer);
        }
    }

    /// Takes a promise of an earlier key that the peer held, if the cap of its book reaches that far. Returns whether it did.
    pub(super) fn take_held(&mut self, iou: Signed<ConditionalIou>, issued_by_peer: Total) -> bool {
        let (unit, number) = (iou.record().unit.clone(), iou.record().number);
        let book = self.own.book_of(iou.kid(), iou.record().epoch);
        let cap = book.map_or(Total::ZERO, |book| book.record().cap_for(&unit));
        let Some(side) = self.own.units.get_mut(&unit) else {
            return false;
        };
        let reach = binding(cap, issued_by_peer, side.base.issued);
        let fits = side
            .exposure()
            .grow(iou.record().amount)
            .is_ok_and(|after| after <= reach);
        if !fits || side.by_number(number).is_some() || side.has_settled(number) {
            return false;
        }
        let at = side.promises.partition_point(|p| p.number() < number);
        let mut promise = Promise::new(iou);
        promise.found = true;
        side.promises.insert(at, promise);
        true
    }

    /// Whether what the peer says it held is known here, signed by a key that kept the owner's books, and binds the owner: up to
    /// the cap of the book that the key signed under, over what the peer has issued.
    fn is_backed(&self, item: &BookAck, base: &UnitBase) -> bool {
        let Some(side) = self.own.units.get(&base.unit) else {
            return false;
        };
        let totals = Totals::from(base);
        if base.next > self.next_backed(item, base, side) {
            return false;
        }
        if totals.issued <= side.base.issued {
            return true;
        }
        let issued_by_peer = self.highest_of_peer(&base.unit);
        let reaches = |backing: Totals, cap: Total| {
            totals.issued <= backing.issued
                && totals.merged <= backing.merged
                && totals.returned <= backing.returned
                && totals.issued <= binding(cap, issued_by_peer, side.base.issued)
        };
        let by_state = side.shown.iter().any(|state| {
            let record = state.record();
            item.held.contains(&state.hash())
                && self
                    .own
                    .book_of(state.kid(), record.epoch)
                    .is_some_and(|book| {
                        reaches(Totals::from(record), book.record().cap_for(&base.unit))
                    })
        });
        // A book that somebody opened with the owner's earlier key carries totals as a state does.
        by_state
            || self.own.rivals.iter().any(|book| {
                let carried = book.record().carried(&base.unit);
                item.held.contains(&book.hash())
                    && carried.is_some_and(|carried| {
                        reaches(Totals::from(carried), book.record().cap_for(&base.unit))
                    })
            })
    }
}

/// The greatest total that binds one side beyond `known`: its cap on net debt, over what the other side has issued.
pub(super) fn binding(cap: Total, issued_by_other: Total, known: Total) -> Total {
    let reach = cap.minor().saturating_add(issued_by_other.minor());
    Total::from_minor(reach).unwrap_or(Total::MAX).max(known)
}

fn acked_seq(ack: &Ack, like: &StateAck) -> Option<crate::Seq> {
    ack.items.iter().find_map(|item| match item {
        AckItem::State(s) if s.unit == like.unit && s.epoch == like.epoch => Some(s.seq),
        _ => None,
    })
}

fn applied(event: Event) -> Outcome {
    Outcome::Applied {
        events: vec![event],
        replies: Vec::new(),
    }
}
