//! One side of a pair, put together from records that lay on homeservers.
//!
//! Whoever stole a device could write there what its key can sign, and a dishonest peer could show what it likes. So a record
//! counts only under a key that had its user's word, and totals that only a book key has signed count up to the cap.

use std::collections::BTreeMap;

use super::book::{FIRST_EPOCH_OF_ROOT, book_item};
use super::own::binding;
use super::restore_promises::restore_promises;
use super::side::{MAX_PAST_BOOKS, Side, Totals, UnitSide};
use crate::amount::Total;
use crate::authority::{Authority, Purpose};
use crate::jws::Signed;
use crate::key::{SignerKey, UserKey};
use crate::record::{Ack, AckItem, AnyRecord, Book, BookAck, State, UnitBase};
use crate::seq::Epoch;
use crate::time::Timestamp;
use crate::unit::Unit;

/// Everything that was found.
pub(super) struct Found<'a> {
    pub(super) mine: &'a [AnyRecord],
    pub(super) held: &'a [AnyRecord],
    pub(super) now: Timestamp,
    /// Who puts the pair together.
    pub(super) owner: UserKey,
}

impl Found<'_> {
    pub(super) fn acks_by(&self, author: UserKey) -> impl Iterator<Item = &Signed<Ack>> {
        let all = self.mine.iter().chain(self.held);
        all.filter_map(move |record| match record {
            AnyRecord::Ack(ack) if ack.record().from == author => Some(ack),
            _ => None,
        })
    }
}

/// Plays the books of one side in order, and under each the newest totals that its key has signed.
pub(super) fn restore_side(
    mut side: Side,
    other: &Side,
    found: &Found<'_>,
    records: &[AnyRecord],
    (from, to): (UserKey, UserKey),
) -> Side {
    let mut last = None;
    let books = books_in_order(&side, records, (from, to), found.now);
    for book in &books {
        let cap = CapOf::new(&side, book, to, found.now);
        let before: BTreeMap<Unit, Totals> = totals(&side);
        side.start_epoch(book, to, found.now);
        if !book.kid().is_root_of(&from) {
            clamp(&mut side, &before, &cap, other);
        }
        restore_base(&mut side, other, book, &cap, found, to);
        restore_states(&mut side, other, book, records, &cap);
        restore_acks(&mut side, other, found, to);
        last = Some(cap);
    }
    if let Some(cap) = &last {
        keep_signing_books(&mut side, &books, found, (from, to));
        restore_promises(&mut side, other, cap, found, (from, to));
        side.forget_books(MAX_PAST_BOOKS);
    }
    restore_lines(&mut side, records, (from, to));
    for unit in side.units.values_mut() {
        // What was paid before the recovery is no news.
        unit.told = unit.totals().paid();
    }
    side
}

/// The cap that bounds what the records of one book can bind.
pub(super) struct CapOf {
    before: Option<Signed<Book>>,
    book: Signed<Book>,
    authority: Option<Authority>,
}

impl CapOf {
    fn new(side: &Side, book: &Signed<Book>, to: UserKey, now: Timestamp) -> Self {
        let key = book.record().key;
        Self {
            before: side.book.clone(),
            book: book.clone(),
            authority: side.credentials.judge(key, Purpose::Book(to), now).ok(),
        }
    }

    /// Of what the book carries over: the cap of the book before it, or its own if that is not known.
    fn of_after(&self, unit: &Unit) -> Total {
        match &self.before {
            Some(before) => before.record().cap_for(unit),
            None => self.of_states(unit),
        }
    }

    /// Of what is signed under the book.
    pub(super) fn of_states(&self, unit: &Unit) -> Total {
        let delegated = self.authority.as_ref().and_then(|a| a.cap_bound(unit));
        self.book
            .record()
            .cap_for(unit)
            .min(delegated.unwrap_or(Total::MAX))
    }
}

fn totals(side: &Side) -> BTreeMap<Unit, Totals> {
    side.units
        .iter()
        .map(|(unit, side)| (unit.clone(), side.totals()))
        .collect()
}

/// Cuts totals down to what binds.
fn clamped(totals: Totals, bound: Total) -> Totals {
    if totals.issued <= bound {
        return totals;
    }
    let merged = totals.merged.min(bound);
    let room = bound.growth_since(merged);
    Totals {
        issued: bound,
        merged,
        returned: Total::from_minor(totals.returned.minor().min(room)).unwrap_or_default(),
        next: totals.next,
    }
}

fn clamp(side: &mut Side, before: &BTreeMap<Unit, Totals>, cap: &CapOf, other: &Side) {
    for (unit, unit_side) in &mut side.units {
        let known = before.get(unit).map_or(Total::ZERO, |t| t.issued);
        let bound = binding(cap.of_after(unit), other.issued(unit), known);
        unit_side.base = clamped(unit_side.base, bound);
    }
}

/// The books of `from`, one an epoch, ascending: the root's word before any other.
fn books_in_order(
    side: &Side,
    records: &[AnyRecord],
    (from, to): (UserKey, UserKey),
    now: Timestamp,
) -> Vec<Signed<Book>> {
    let mut books: BTreeMap<Epoch, Signed<Book>> = BTreeMap::new();
    for record in records {
        let AnyRecord::Book(signed) = record else {
            continue;
        };
        let book = signed.record();
        if (book.from, book.to) != (from, to) {
            continue;
        }
        let by_root = signed.kid().is_root_of(&from);
        let plausible = by_root
            || book.epoch.get() < FIRST_EPOCH_OF_ROOT
                && side.credentials.ever_let(signed.kid(), to, now)
                && side.credentials.ever_let(book.key, to, now);
        let better = books.get(&book.epoch).is_none_or(|known| {
            let known_by_root = known.kid().is_root_of(&from);
            by_root && (!known_by_root || book.at > known.record().at)
        });
        if plausible && better {
            books.insert(book.epoch, signed.clone());
        }
    }
    books.into_values().collect()
}

/// Where the epoch of `book` started above what the book carries over, by the other's ack of it.
fn restore_base(
    side: &mut Side,
    other: &Side,
    book: &Signed<Book>,
    cap: &CapOf,
    found: &Found<'_>,
    other_user: UserKey,
) {
    let author = book.record().from;
    for ack in found.acks_by(other_user) {
        let known_key = other.book_keys().any(|key| key == ack.kid())
            || other.credentials.ever_let(ack.kid(), author, found.now);
        let item = book_item(ack.record(), book.hash()).filter(|_| known_key);
        let Some(item) = item else { continue };
        for base in &item.base {
            if raise_base(side, other, base, cap) {
                back(side, (author, other_user), &base.unit, item, found);
            }
        }
        side.book_ack = Some(ack.clone());
    }
}

fn raise_base(side: &mut Side, other: &Side, base: &UnitBase, cap: &CapOf) -> bool {
    let unit = side.units.entry(base.unit.clone()).or_default();
    let bound = binding(
        cap.of_after(&base.unit),
        other.issued(&base.unit),
        unit.base.issued,
    );
    let totals = clamped(Totals::from(base), bound);
    let raises = !unit.base.falls_to(&totals);
    if raises {
        unit.base = totals;
    }
    raises
}

/// What backs the start of an epoch stays with it: the owner of the book must be shown it again.
fn back(
    side: &mut Side,
    (user, other): (UserKey, UserKey),
    unit: &Unit,
    item: &BookAck,
    found: &Found<'_>,
) {
    let base = side.units.get(unit).map_or(Total::ZERO, |u| u.base.issued);
    let mut states = Vec::new();
    for record in found.mine.iter().chain(found.held) {
        if !item.held.contains(&record.hash()) || record.author() != user {
            continue;
        }
        match record {
            AnyRecord::State(state) => {
                keep_book_of(side, state, other, found);
                states.push(state);
            }
            AnyRecord::Book(book) => keep_backing_book(side, book, other, unit, base, found.now),
            _ => {}
        }
    }
    let state = states.into_iter().find(|state| {
        let record = state.record();
        record.unit == *unit
            && record.issued >= base
            && side.book_of(state.kid(), record.epoch).is_some()
    });
    if let (Some(state), Some(unit)) = (state.cloned(), side.units.get_mut(unit)) {
        unit.carried = Some(state);
    }
}

/// A state that backs a total may have been signed under a book that another one of its epoch has replaced since.
fn keep_book_of(side: &mut Side, state: &Signed<State>, other: UserKey, found: &Found<'_>) {
    let epoch = state.record().epoch;
    if side.book_of(state.kid(), epoch).is_some() {
        return;
    }
    let signs = |record: &&AnyRecord| match record {
        AnyRecord::Book(book) => {
            let of = book.record();
            (of.from, of.to, of.epoch, of.key) == (state.record().from, other, epoch, state.kid())
                && side.credentials.ever_let(book.kid(), other, found.now)
                && side.credentials.ever_let(of.key, other, found.now)
        }
        _ => false,
    };
    let mut records = found.mine.iter().chain(found.held);
    if let Some(AnyRecord::Book(book)) = records.find(signs) {
        side.past.push(book.clone());
    }
}

/// Of the books of one epoch only the one that won is played; one that lost may still be all that carried a total over.
fn keep_backing_book(
    side: &mut Side,
    book: &Signed<Book>,
    other: UserKey,
    unit: &Unit,
    base: Total,
    now: Timestamp,
) {
    let carried = book.record().carried(unit);
    let known = side.past.iter().chain(&side.book);
    if carried.is_some_and(|carried| carried.issued >= base)
        && !known.into_iter().any(|known| known.hash() == book.hash())
        && side.credentials.ever_let(book.kid(), other, now)
        && side.credentials.ever_let(book.record().key, other, now)
    {
        side.past.push(book.clone());
    }
}

/// Of the books that were played and forgotten, those under which a promise was signed that was found: it may still be undecided.
fn keep_signing_books(
    side: &mut Side,
    books: &[Signed<Book>],
    found: &Found<'_>,
    (from, to): (UserKey, UserKey),
) {
    for record in found.mine.iter().chain(found.held) {
        let AnyRecord::ConditionalIou(signed) = record else {
            continue;
        };
        let iou = signed.record();
        if (iou.from, iou.to) != (from, to) || side.book_of(signed.kid(), iou.epoch).is_some() {
            continue;
        }
        let signs = |book: &&Signed<Book>| {
            book.record().key == signed.kid() && book.record().epoch == iou.epoch
        };
        if let Some(book) = books.iter().find(signs) {
            let at = |known: &Signed<Book>| known.record().epoch < iou.epoch;
            let at = side.past.partition_point(at);
            side.past.insert(at, book.clone());
        }
    }
}

fn restore_states(
    side: &mut Side,
    other: &Side,
    book: &Signed<Book>,
    records: &[AnyRecord],
    cap: &CapOf,
) {
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
    for (name, unit) in &mut side.units {
        let bound = binding(cap.of_states(name), other.issued(name), unit.base.issued);
        cut_state(unit, bound);
    }
}

/// A state above what binds counts up to there, and stays as what backs it.
fn cut_state(unit: &mut UnitSide, bound: Total) {
    let above = |state: &Signed<State>| state.record().issued > bound;
    if unit.newest.as_ref().is_some_and(above)
        && let Some(state) = unit.newest.take()
    {
        unit.base = clamped(Totals::from(state.record()), bound);
        unit.carried = Some(state);
    }
}

/// What the other has acknowledged of the newest states.
fn restore_acks(side: &mut Side, other: &Side, found: &Found<'_>, other_user: UserKey) {
    for ack in found.acks_by(other_user) {
        if !other.book_keys().any(|key| key == ack.kid()) {
            continue;
        }
        for item in &ack.record().items {
            let AckItem::State(item) = item else { continue };
            let Some(unit) = side.units.get_mut(&item.unit) else {
                continue;
            };
            let Some(newest) = unit.newest.clone().filter(|n| n.hash() == item.hash) else {
                continue;
            };
            let paid = Totals::from(newest.record()).paid();
            unit.acked = newest.record().issued;
            unit.accepted = paid.saturating_sub(item.returned.minor());
            unit.ack = Some(ack.clone());
        }
    }
}

/// The newest line of each unit that a book key of its epoch signed.
fn restore_lines(side: &mut Side, records: &[AnyRecord], (from, to): (UserKey, UserKey)) {
    for record in records {
        let AnyRecord::CreditLine(signed) = record else {
            continue;
        };
        let line = signed.record();
        if (line.from, line.to) != (from, to)
            || side.book_of(signed.kid(), line.epoch).is_none()
                && !side.book_keys().any(|key| key == signed.kid())
        {
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

impl Side {
    /// Every key that keeps or kept these books, as far as it is known here.
    pub(super) fn book_keys(&self) -> impl Iterator<Item = SignerKey> {
        self.book
            .iter()
            .chain(&self.past)
            .chain(&self.pending_books)
            .map(|book| book.record().key)
    }
}
