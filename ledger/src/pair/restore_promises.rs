//! The promises of one side, put together from records that lay on homeservers: what was cleared, what is undecided, what was
//! proven or given up.

use super::own::binding;
use super::promise::Promise;
use super::restore::{CapOf, Found};
use super::side::{Side, UnitSide};
use crate::amount::Total;
use crate::jws::Signed;
use crate::key::{SignerKey, UserKey};
use crate::record::{Ack, AckItem, AnyRecord, Carried, ConditionalIou, State};
use crate::unit::Unit;

/// Finds what was cleared, then the promises beyond it, and what is known about each.
pub(super) fn restore_promises(
    side: &mut Side,
    other: &Side,
    cap: &CapOf,
    found: &Found<'_>,
    (from, to): (UserKey, UserKey),
) {
    // What the peer has promised was taken before, within the line. The owner's own key may have been stolen.
    let bounded = from == found.owner;
    restore_cleared(side, other, found, (from, to));
    let mut ious: Vec<&Signed<ConditionalIou>> = Vec::new();
    for record in found.mine.iter().chain(found.held) {
        let AnyRecord::ConditionalIou(iou) = record else {
            continue;
        };
        let fits = (iou.record().from, iou.record().to) == (from, to);
        if fits && !ious.iter().any(|known| known.hash() == iou.hash()) {
            ious.push(iou);
        }
    }
    ious.sort_by_key(|iou| (iou.record().unit.clone(), iou.record().number));
    for iou in ious {
        let by_book = side.book_of(iou.kid(), iou.record().epoch).is_some();
        // What was taken before on the word of the book in force, because the one of its epoch had not come, stays taken.
        let vouched = || {
            let ended = side.epoch().is_some_and(|now| iou.record().epoch < now);
            !bounded && ended && side.credentials.ever_let(iou.kid(), to, found.now)
        };
        if by_book || vouched() {
            take(side, other, cap, bounded, iou);
        }
    }
    let books = side.past.iter().chain(&side.book).map(Signed::record);
    for (name, unit) in &mut side.units {
        if bounded {
            // Of the owner's own only those are kept that no total holds.
            unit.merged_before = unit.totals().merged;
        } else if unit.cleared.is_none() {
            unit.merged_before = merged_before(unit, books.clone().filter_map(|b| b.carried(name)));
        }
        mark(unit, other, found, (from, to));
        unit.forget_merged();
    }
}

/// What is booked of promises that are not kept, where no clear is known: what the last book carried over that was opened before the
/// first promise that is. What was booked later may be of those that are kept; without a proof of a clear it is not booked again.
fn merged_before<'a>(unit: &UnitSide, carried: impl Iterator<Item = &'a Carried>) -> Total {
    let first = unit.promises.iter().map(Promise::number).min();
    carried
        .filter(|carried| first.is_none_or(|first| carried.next <= first))
        .map(|carried| carried.merged)
        .fold(Total::ZERO, Total::max)
        .min(unit.totals().merged)
}

/// The greatest state that the other has cleared.
fn restore_cleared(
    side: &mut Side,
    other: &Side,
    found: &Found<'_>,
    (from, to): (UserKey, UserKey),
) {
    for record in found.mine.iter().chain(found.held) {
        let AnyRecord::State(state) = record else {
            continue;
        };
        let of = state.record();
        if (of.from, of.to) != (from, to) || side.book_of(state.kid(), of.epoch).is_none() {
            continue;
        }
        let Some(ack) = clear_of(state, other, found, (from, to)) else {
            continue;
        };
        let unit = side.units.entry(of.unit.clone()).or_default();
        let at = (of.epoch, of.seq);
        let newer = unit
            .cleared
            .as_ref()
            .is_none_or(|known| (known.record().epoch, known.record().seq) <= at);
        if newer {
            unit.merged_before = of.merged;
            unit.cleared = Some(state.clone());
            unit.clear_ack = Some(ack.clone());
        }
    }
}

fn clear_of<'a>(
    state: &Signed<State>,
    other: &Side,
    found: &'a Found<'_>,
    (from, to): (UserKey, UserKey),
) -> Option<&'a Signed<Ack>> {
    found.acks_by(to).find(|ack| {
        let clears = |item: &AckItem| {
            matches!(item, AckItem::State(item) if item.clear && item.hash == state.hash())
        };
        ack.record().items.iter().any(clears) && kept(other, ack.kid(), from, found)
    })
}

/// Whether `key` keeps or ever might have kept the books of `other`, whose own side may not be put together yet.
fn kept(other: &Side, key: SignerKey, towards: UserKey, found: &Found<'_>) -> bool {
    other.book_keys().any(|known| known == key)
        || other.credentials.ever_let(key, towards, found.now)
}

/// A promise counts under the key of its epoch, if nothing has settled it, and within the cap if everything comes due.
fn take(
    side: &mut Side,
    other: &Side,
    cap: &CapOf,
    bounded: bool,
    signed: &Signed<ConditionalIou>,
) {
    let iou = signed.record();
    let Some(epoch) = side.epoch() else {
        return;
    };
    let unit = side.units.entry(iou.unit.clone()).or_default();
    let settled = unit
        .cleared
        .as_ref()
        .is_some_and(|state| state.record().closes(iou.number));
    // Of the epochs before only what the book, or the other's ack of it, knows.
    let unknown = iou.epoch > epoch || iou.epoch < epoch && iou.number >= unit.totals().next;
    // What the owner's newest state no longer lists is booked in it, or was given up.
    let told = bounded
        && unit
            .newest
            .as_ref()
            .is_some_and(|s| s.record().closes(iou.number));
    let carried = if bounded && unit.newest.is_none() {
        side.book
            .as_ref()
            .and_then(|book| book.record().carried(&iou.unit))
    } else {
        None
    };
    let told =
        told || carried.is_some_and(|c| iou.number < c.next && !c.open.contains(&iou.number));
    if settled || told || unknown || unit.by_number(iou.number).is_some() {
        return;
    }
    let bound = reach(unit, other, cap, &iou.unit);
    let fits = unit.exposure().grow(iou.amount);
    if !bounded || fits.is_ok_and(|after| after <= bound) {
        let mut promise = Promise::new(signed.clone());
        promise.acknowledged = true;
        promise.found = true;
        unit.promises.push(promise);
    }
}

fn reach(unit: &UnitSide, other: &Side, cap: &CapOf, name: &Unit) -> Total {
    let theirs = other.units.get(name).map_or(Total::ZERO, |theirs| {
        let cut = theirs.carried.as_ref().map(|state| state.record().issued);
        cut.unwrap_or_default().max(theirs.highest())
    });
    binding(cap.of_states(name), theirs, unit.totals().issued)
}

/// What was proven about each promise, and which were given up.
fn mark(unit: &mut UnitSide, other: &Side, found: &Found<'_>, (from, to): (UserKey, UserKey)) {
    for record in found.mine.iter().chain(found.held) {
        match record {
            AnyRecord::Publication(signed) => {
                let Some(promise) = unit.promise_mut(signed.record().iou) else {
                    continue;
                };
                let holds = signed
                    .record()
                    .verify(&promise.iou().record().terms)
                    .is_ok();
                if holds && promise.publication.is_none() {
                    promise.publication = Some(signed.clone());
                }
            }
            AnyRecord::Release(signed) if signed.record().from == to => {
                if !kept(other, signed.kid(), from, found) {
                    continue;
                }
                if let Some(promise) = unit.promise_mut(signed.record().iou) {
                    promise.release = Some(signed.clone());
                }
            }
            _ => {}
        }
    }
}
