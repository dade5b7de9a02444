//! The peer's books: who may open them, what they start from, and what of the epoch before binds.

use super::Pair;
use super::event::{Event, Outcome, PendingReason};
use super::own::binding;
use super::receive::Standing as Key;
use super::side::{Totals, UnitSide};
use super::state::{Excess, Growth, Range};
use crate::amount::{Balance, Total};
use crate::authority::{Authority, Purpose};
use crate::error::LedgerError;
use crate::jws::{RecordHash, Signed};
use crate::key::Keypair;
use crate::record::{Ack, AckItem, AnyRecord, Book, BookAck, Carried, UnitBase};
use crate::seq::{Epoch, Seq};
use crate::time::Timestamp;
use crate::unit::Unit;

/// The first epoch that only the root may open: whoever steals a book key can't use up the epochs.
pub const FIRST_EPOCH_OF_ROOT: u64 = 1 << 30;

impl Pair {
    pub(super) fn receive_book(
        &mut self,
        signed: &Signed<Book>,
        now: Timestamp,
        pen: Option<&Keypair>,
    ) -> Result<Outcome, LedgerError> {
        let book = signed.record();
        let pen = pen.filter(|pen| self.check_pen(pen).is_ok());
        if let Some(current) = self.theirs.book.clone() {
            if current.hash() == signed.hash() {
                return self.acknowledge_book_again(pen, now);
            }
            if book.epoch < current.record().epoch {
                return Ok(Outcome::Stale);
            }
        }
        let authority = match self.book_authority(signed, now)? {
            (_, Key::Pending(reason)) => return Ok(Outcome::Pending(reason)),
            (authority, Key::Good) => authority,
        };
        if let Some(current) = self.theirs.book.clone() {
            self.check_turn(signed, &authority, &current, now)?;
            self.check_after(signed)?;
        }
        match pen {
            Some(pen) => self.take_book(signed, pen, now),
            None => Ok(Outcome::Pending(PendingReason::NoPen)),
        }
    }

    /// By whose word the book holds, and whether its caps keep within that word.
    fn book_authority(
        &self,
        signed: &Signed<Book>,
        now: Timestamp,
    ) -> Result<(Authority, Key), LedgerError> {
        let book = signed.record();
        if signed.kid().is_root_of(&self.peer) {
            return Ok((Authority::Root, Key::Good));
        }
        if book.epoch.get() >= FIRST_EPOCH_OF_ROOT {
            return Err(LedgerError::BookOutOfTurn {
                found: book.epoch,
                current: self.theirs.epoch().unwrap_or_default(),
                why: "only the root key opens epochs as high as this",
            });
        }
        // Whoever is named must have the root's word too: there are no chains.
        for key in [signed.kid(), book.key] {
            if let pending @ Key::Pending(_) = self.judge_keeper(key, now)? {
                return Ok((Authority::Grant { iat: 0, exp: 0 }, pending));
            }
        }
        let keeper = self
            .theirs
            .credentials
            .judge(book.key, Purpose::Book(self.me), now)?;
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
        Ok((keeper, Key::Good))
    }

    /// A grant names no limits: the cap that a unit was first given stands, and may only be lowered.
    fn grant_cap_bound(&self, unit: &Unit) -> Option<Total> {
        let book = self.theirs.book.as_ref()?.record();
        let known = book.cap.iter().any(|cap| cap.unit == *unit);
        known.then(|| book.cap_for(unit))
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
        let by_root = signed.kid().is_root_of(&self.peer);
        let credentials = &self.theirs.credentials;
        let judged = credentials.judge(in_force.key, Purpose::Book(self.me), now);
        if book.epoch == in_force.epoch {
            let beaten = match (by_root, current.kid().is_root_of(&self.peer)) {
                (true, true) => book.at > in_force.at,
                (true, false) => true,
                // The root's word for a key ends with a revocation only.
                (false, true) => matches!(judged, Err(LedgerError::KeyRevoked { .. })),
                // An authority that no longer holds gives way to one that does.
                (false, false) => judged
                    .as_ref()
                    .map_or(true, |known| authority.rank() > known.rank()),
            };
            return if beaten {
                Ok(())
            } else {
                Err(out_of_turn("a book of this epoch is in force already"))
            };
        }
        if by_root {
            return Ok(());
        }
        if book.epoch != in_force.epoch.next()? {
            return Err(out_of_turn("only the root key skips an epoch"));
        }
        let later_word = judged
            .as_ref()
            .map_or(true, |known| authority.rank() > known.rank());
        if signed.kid() == in_force.key || signed.kid() == book.key && later_word {
            return Ok(());
        }
        Err(out_of_turn(
            "it is signed neither by the root, nor by the key before it, nor by a key with a later word of the root",
        ))
    }

    /// What a book carries over beyond the totals known here is signed only by this book: a key may not name more than its cap.
    fn check_after(&self, signed: &Signed<Book>) -> Result<(), LedgerError> {
        let by_root = signed.kid().is_root_of(&self.peer);
        let Some(current) = self.theirs.book.as_ref().map(Signed::record) else {
            return Ok(());
        };
        for carried in &signed.record().after {
            let known = self.totals_of(&carried.unit);
            let after = Totals::from(carried);
            let reach = binding(
                current.cap_for(&carried.unit),
                self.own.issued(&carried.unit),
                known.issued,
            );
            if !by_root && after.issued > reach {
                return Err(LedgerError::CapAboveAuthority {
                    unit: carried.unit.clone(),
                });
            }
        }
        Ok(())
    }

    fn totals_of(&self, unit: &Unit) -> Totals {
        self.theirs
            .units
            .get(unit)
            .map_or_else(Totals::default, UnitSide::totals)
    }

    fn take_book(
        &mut self,
        signed: &Signed<Book>,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        let mut next = self.clone();
        let book = signed.record();
        let first = self.theirs.book.is_none();
        let takes_over = self.theirs.epoch() == Some(book.epoch);
        let mut events = vec![Event::Book {
            epoch: book.epoch,
            key: book.key,
        }];
        let beyond = self.held_beyond(book, &mut events);
        next.theirs.start_epoch(signed, self.me, now);
        if takes_over {
            // What the key that lost had said in this epoch is no word of its user.
            for unit in next.theirs.units.values_mut() {
                unit.line = unit.line.take().filter(|l| l.record().epoch < book.epoch);
            }
        }
        for (base, state) in &beyond.bases {
            let side = next.theirs.units.entry(base.unit.clone()).or_default();
            side.base = Totals::from(base);
            side.acked = base.issued;
            side.carried.clone_from(state);
            side.forget_merged();
        }
        for unbound in &beyond.unbound {
            for side in next.theirs.units.values_mut() {
                side.promises.retain(|p| p.iou().hash() != *unbound);
            }
        }
        let mut replies = Vec::new();
        if !first {
            next.answer_after(self, book, pen, now, &mut events, &mut replies)?;
        }
        let bases = beyond.bases.into_iter().map(|(base, _)| base).collect();
        let ack = next.ack_book(signed.hash(), beyond.held, bases, pen, now)?;
        replies.push(AnyRecord::Ack(ack));
        *self = next;
        Ok(Outcome::Applied { events, replies })
    }

    /// A book may carry over payments whose states never arrived: they are taken, or given back, as the states would have been.
    fn answer_after(
        &mut self,
        before: &Self,
        book: &Book,
        pen: &Keypair,
        now: Timestamp,
        events: &mut Vec<Event>,
        replies: &mut Vec<AnyRecord>,
    ) -> Result<(), LedgerError> {
        for carried in &book.after {
            let (known, after) = (
                before.totals_of(&carried.unit),
                self.totals_of(&carried.unit),
            );
            let growth = after.issued.growth_since(known.issued);
            if growth == 0 {
                continue;
            }
            let unfounded = before.theirs.units.get(&carried.unit).map_or(0, |side| {
                let booked = after.merged.growth_since(side.merged_before);
                let growth = after.merged.growth_since(known.merged);
                booked
                    .saturating_sub(side.sum(|p| p.release.is_none()))
                    .min(growth)
            });
            let grown = Growth {
                before: known,
                after,
                unfounded,
            };
            let excess = self.excess(&carried.unit, &grown, now);
            // While the owner's own total is not known for sure nothing can be given back, nor judged.
            if let Excess::Growth(excess) = excess
                && !self.waiting
            {
                let range = Range {
                    epoch: carried.epoch,
                    after: before.seq_in(&carried.unit, carried.epoch),
                    to: carried.seq,
                };
                if range.after < range.to {
                    let (event, more) = self.pay_back(&carried.unit, excess, &range, pen, now)?;
                    events.push(event);
                    replies.extend(more);
                    continue;
                }
            }
            events.push(Event::Issued {
                unit: carried.unit.clone(),
                growth,
                epoch: carried.epoch,
                seq: carried.seq,
                balance: Balance::between(after.issued, self.own.issued(&carried.unit)),
            });
        }
        Ok(())
    }

    /// The newest number known of the peer's `epoch`.
    fn seq_in(&self, unit: &Unit, epoch: Epoch) -> Seq {
        if self.theirs.epoch() == Some(epoch) {
            self.theirs.units.get(unit).map_or(Seq::ZERO, UnitSide::seq)
        } else {
            Seq::ZERO
        }
    }
}

/// The item of an ack that is about the book with this hash.
pub(super) fn book_item(ack: &Ack, hash: RecordHash) -> Option<&BookAck> {
    ack.items.iter().find_map(|item| match item {
        AckItem::Book(item) if item.hash == hash => Some(item),
        _ => None,
    })
}

impl From<&Carried> for Totals {
    fn from(carried: &Carried) -> Self {
        Self {
            issued: carried.issued,
            merged: carried.merged,
            returned: carried.returned,
            next: carried.next,
        }
    }
}

impl From<&UnitBase> for Totals {
    fn from(base: &UnitBase) -> Self {
        Self {
            issued: base.issued,
            merged: base.merged,
            returned: base.returned,
            next: base.next,
        }
    }
}
