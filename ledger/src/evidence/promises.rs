//! What conditional IOUs add: those that a proof in the bundle makes due, less what the totals hold already.

use std::collections::BTreeMap;

use super::side::Side;
use crate::amount::Total;
use crate::jws::{RecordHash, Signed};
use crate::record::{AckItem, ConditionalIou, State};
use crate::time::Timestamp;
use crate::unit::Unit;

/// What one side has promised in one unit beyond its totals.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Promised {
    /// Due by proofs in the bundle, and not yet part of the total.
    pub(super) due: u64,
    /// Neither due by a proof here, nor given up, nor cleared.
    pub(super) undecided: u64,
}

/// What `side` has promised `other`, per unit.
pub(super) fn promised(
    side: &Side<'_>,
    other: &Side<'_>,
    at: Timestamp,
) -> BTreeMap<Unit, Promised> {
    let mut sums: BTreeMap<Unit, Promised> = BTreeMap::new();
    for (_, iou) in &side.ious {
        let record = iou.record();
        if !counts(side, other, iou, at) {
            continue;
        }
        let sum = sums.entry(record.unit.clone()).or_default();
        let into = if is_published(side, other, iou) {
            &mut sum.due
        } else {
            &mut sum.undecided
        };
        *into = into.saturating_add(record.amount.minor());
    }
    for (unit, sum) in &mut sums {
        let before = cleared(side, other, unit).map_or(Total::ZERO, |state| state.record().merged);
        let merged = side
            .states
            .iter()
            .filter(|(_, state)| state.record().unit == *unit)
            .map(|(_, state)| state.record().merged)
            .max();
        let booked = merged.unwrap_or(before).growth_since(before);
        // What was booked without a proof here was one of the undecided.
        let rest = booked.saturating_sub(sum.due);
        sum.due = sum.due.saturating_sub(booked);
        sum.undecided = sum.undecided.saturating_sub(rest);
    }
    sums
}

/// A promise counts if a key that kept these books in its epoch signed it, its holder did not give it up, and no clear settled it.
fn counts(side: &Side<'_>, other: &Side<'_>, iou: &Signed<ConditionalIou>, at: Timestamp) -> bool {
    let record = iou.record();
    let kept = side.books_in_turn(at).into_iter().any(|book| {
        let book = book.record();
        book.epoch == record.epoch && book.key == iou.kid()
    });
    let settled = cleared(side, other, &record.unit)
        .is_some_and(|state| state.record().closes(record.number));
    kept && !settled && !is_released(other, iou.hash())
}

fn is_released(other: &Side<'_>, iou: RecordHash) -> bool {
    let mut releases = other.releases.iter();
    releases.any(|(_, release)| release.record().iou == iou && other.keeps(release.kid()))
}

/// Whoever handed the proof over: it decides by itself.
fn is_published(side: &Side<'_>, other: &Side<'_>, iou: &Signed<ConditionalIou>) -> bool {
    let mut all = side.publications.iter().chain(&other.publications);
    all.any(|(_, publication)| {
        let record = publication.record();
        record.iou == iou.hash() && record.verify(&iou.record().terms).is_ok()
    })
}

/// The greatest state in `unit` that `other` has cleared.
fn cleared<'a>(side: &'a Side<'_>, other: &Side<'_>, unit: &Unit) -> Option<&'a Signed<State>> {
    let clears = |hash: RecordHash| {
        other.signed_acks().any(|ack| {
            ack.record()
                .items
                .iter()
                .any(|item| matches!(item, AckItem::State(item) if item.clear && item.hash == hash))
        })
    };
    let states = side.states.iter().map(|(_, state)| *state);
    states
        .filter(|state| state.record().unit == *unit && clears(state.hash()))
        .max_by_key(|state| (state.record().epoch, state.record().seq))
}
