//! What binds of an epoch that ends, and the ack that says so.

use super::Pair;
use super::book::book_item;
use super::event::{Event, Outcome};
use super::own::binding;
use super::promise::{Promise, Standing};
use super::side::{Totals, UnitSide};
use crate::amount::Total;
use crate::error::LedgerError;
use crate::jws::{RecordHash, Signed, Version};
use crate::key::Keypair;
use crate::record::{Ack, AckItem, AnyRecord, Book, BookAck, Carried, UnitBase};
use crate::seq::IouNumber;
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most promises that the ack of a book lists.
const MAX_HELD_PROMISES: usize = 240;

impl Pair {
    /// What of the epoch that ends the new book does not know of, and the totals that it makes binding: up to the cap of the
    /// book that ends.
    pub(super) fn held_beyond(&self, book: &Book, events: &mut Vec<Event>) -> Beyond {
        let mut beyond = Beyond::default();
        let Some(current) = self.theirs.book.as_ref() else {
            return beyond;
        };
        for (unit, side) in &self.theirs.units {
            let known = side.totals();
            let after = book.carried(unit).map_or(Total::ZERO, |c| c.issued);
            if known.issued <= after {
                self.promises_beyond(book, current, unit, side, after, &mut beyond);
                continue;
            }
            let reach = binding(current.record().cap_for(unit), self.own.issued(unit), after);
            let bound = known.issued.min(reach);
            if bound < known.issued {
                events.push(Event::Unbound {
                    unit: unit.clone(),
                    signed: known.issued,
                    bound,
                });
            }
            if bound == after {
                self.promises_beyond(book, current, unit, side, after, &mut beyond);
                continue;
            }
            let state = side.newest.clone().or_else(|| side.carried.clone());
            let state = state.filter(|state| state.record().issued >= bound);
            let carrying = || self.theirs.book_carrying(unit, bound).map(Signed::hash);
            let backing = state.as_ref().map(Signed::hash).or_else(carrying);
            beyond.held.push(backing.unwrap_or_else(|| current.hash()));
            let merged = known.merged.min(bound);
            let room = bound.growth_since(merged);
            let returned = Total::from_minor(known.returned.minor().min(room));
            let base = UnitBase {
                unit: unit.clone(),
                issued: bound,
                merged,
                returned: returned.unwrap_or(Total::ZERO),
                next: known.next,
            };
            beyond.bases.push((base, state));
            self.promises_beyond(book, current, unit, side, bound, &mut beyond);
        }
        beyond
    }

    /// Promises of the epoch that ends whose numbers the new book does not know: they bind in order of their numbers, as far as the
    /// cap of the book that ends reaches when all that is promised comes due. The others are dropped. One whose number the book counts as
    /// decided, although its issuer can't know of it, stays claimed; the ack names it, so that its issuer takes it again.
    fn promises_beyond(
        &self,
        book: &Book,
        current: &Signed<Book>,
        unit: &Unit,
        side: &UnitSide,
        issued: Total,
        beyond: &mut Beyond,
    ) {
        let carried = book.carried(unit);
        let known = carried.map_or(IouNumber::default(), |c| c.next);
        // What the epoch in force started from, by its book or by the ack of it, binds already.
        let bound = known.max(side.base.next);
        let undecided = |p: &Promise| matches!(p.standing(), Standing::Undecided | Standing::Due);
        let totals = Totals {
            issued,
            ..side.totals()
        };
        let mut sum = side
            .reach(&totals, |p| p.number() < bound && undecided(p))
            .minor();
        let (mut next, mut missed) = (known, false);
        for promise in &side.promises {
            let hash = promise.iou().hash();
            let iou = promise.iou();
            if promise.number() < known {
                if is_missed(promise, side, current.record(), carried)
                    && beyond.held.len() < MAX_HELD_PROMISES
                {
                    beyond.held.push(hash);
                    missed = true;
                }
                continue;
            }
            let book = self.theirs.book_of(iou.kid(), iou.record().epoch);
            let cap = book.unwrap_or(current).record().cap_for(unit);
            let reach = binding(cap, self.own.issued(unit), issued);
            let after = sum.saturating_add(promise.minor());
            let is_bound = promise.number() < bound;
            let fits = is_bound || !undecided(promise) || after <= reach.minor();
            let room = beyond.held.len() < MAX_HELD_PROMISES;
            if promise.release().is_none() && fits && room {
                if undecided(promise) && !is_bound {
                    sum = after;
                }
                beyond.held.push(hash);
                next = next.max(promise.number().following());
            } else {
                beyond.unbound.push(hash);
            }
        }
        if next == known && !missed {
            return;
        }
        if let Some((base, _)) = beyond.bases.iter_mut().find(|(b, _)| b.unit == *unit) {
            base.next = base.next.max(next);
            return;
        }
        let base = carried.map_or_else(Totals::default, Totals::from);
        beyond.bases.push((base.to_base(unit, next), None));
    }

    pub(super) fn ack_book(
        &mut self,
        hash: RecordHash,
        mut held: Vec<RecordHash>,
        base: Vec<UnitBase>,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Signed<Ack>, LedgerError> {
        held.sort();
        held.dedup();
        let ack = Signed::sign(
            Ack {
                v: Version,
                from: self.me,
                to: self.peer,
                items: vec![AckItem::Book(BookAck { hash, held, base })],
                at: now,
            },
            pen,
        )?;
        self.theirs.book_ack = Some(ack.clone());
        Ok(ack)
    }

    pub(super) fn acknowledge_book_again(
        &mut self,
        pen: Option<&Keypair>,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        let Some(pen) = pen else {
            return Ok(Outcome::Duplicate);
        };
        Ok(match self.renew_book_ack(pen, now)? {
            Some(ack) => Outcome::Applied {
                events: Vec::new(),
                replies: vec![AnyRecord::Ack(ack)],
            },
            None => Outcome::Duplicate,
        })
    }

    /// Signs the ack of the peer's book anew, if another key of the owner signed it or none is known.
    fn renew_book_ack(
        &mut self,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Option<Signed<Ack>>, LedgerError> {
        let Some(book) = self.theirs.book.clone() else {
            return Ok(None);
        };
        let known = self.theirs.book_ack.as_ref();
        if known.is_some_and(|ack| ack.kid() == pen.signer_key()) {
            return Ok(None);
        }
        let item = known.and_then(|ack| book_item(ack.record(), book.hash()).cloned());
        let (held, base) = match item {
            Some(item) => (item.held, item.base),
            None => self.base_beyond_after(&book),
        };
        self.ack_book(book.hash(), held, base, pen, now).map(Some)
    }

    /// Where the epoch in force started above what its book carried over.
    fn base_beyond_after(&self, book: &Signed<Book>) -> (Vec<RecordHash>, Vec<UnitBase>) {
        let mut held = Vec::new();
        let mut bases = Vec::new();
        for (unit, side) in &self.theirs.units {
            let after = book
                .record()
                .carried(unit)
                .map_or(Total::ZERO, |c| c.issued);
            let carried_next = book
                .record()
                .carried(unit)
                .map_or(IouNumber::default(), |c| c.next);
            let first = book.record().epoch.first_iou();
            let promised = side
                .promises
                .iter()
                .filter(|p| p.number() >= carried_next && p.number() < first);
            held.extend(promised.map(|p| p.iou().hash()));
            if side.base.issued <= after && side.base.next <= carried_next {
                continue;
            }
            let issued = side.base.issued;
            let state = side.carried.as_ref().map(Signed::hash);
            let book = || self.theirs.book_carrying(unit, issued).map(Signed::hash);
            held.extend(state.or_else(book));
            bases.push(UnitBase {
                unit: unit.clone(),
                issued: side.base.issued,
                merged: side.base.merged,
                returned: side.base.returned,
                next: side.base.next,
            });
        }
        (held, bases)
    }

    /// Signs anew, with a fresh key, every ack and every release that an earlier key of the owner has given: the peer takes none of
    /// that key any more. The releases are in the channel file from then on ([`Pair::file_records`]).
    ///
    /// # Errors
    /// [`LedgerError::NoPen`] if `pen` does not keep the books.
    pub fn renew_acks(
        &mut self,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Vec<Signed<Ack>>, LedgerError> {
        self.check_pen(pen)?;
        let mut next = self.clone();
        let mut acks: Vec<Signed<Ack>> = next.renew_book_ack(pen, now)?.into_iter().collect();
        for unit in self.theirs.units.keys() {
            acks.extend(next.renew_state_ack(unit, pen, now)?);
        }
        next.renew_releases(pen, now)?;
        *self = next;
        Ok(acks)
    }
}

/// Whether a promise was taken here, no state or book before has counted it as decided, and the new book does so without having booked
/// anything that is not known here: whoever opened the book can't have known of it.
fn is_missed(promise: &Promise, side: &UnitSide, before: &Book, carried: Option<&Carried>) -> bool {
    let (number, unit) = (promise.number(), &promise.iou().record().unit);
    let settles = |carried: &Carried| number < carried.next && !carried.open.contains(&number);
    let told = match side.newest.as_ref() {
        Some(state) => state.record().closes(number),
        None => before.carried(unit).is_some_and(settles),
    };
    let new = |carried: &Carried| settles(carried) && carried.merged <= side.totals().merged;
    promise.release().is_none() && !told && carried.is_some_and(new)
}

/// What binds of an epoch that ends.
#[derive(Default)]
pub(super) struct Beyond {
    pub(super) held: Vec<RecordHash>,
    /// Promises that do not bind any more.
    pub(super) unbound: Vec<RecordHash>,
    pub(super) bases: Vec<(UnitBase, Option<Signed<crate::record::State>>)>,
}

impl Totals {
    /// The same as the start of an epoch, with the number after the last promise that binds.
    fn to_base(self, unit: &Unit, next: IouNumber) -> UnitBase {
        UnitBase {
            unit: unit.clone(),
            issued: self.issued,
            merged: self.merged,
            returned: self.returned,
            next: self.next.max(next),
        }
    }
}
