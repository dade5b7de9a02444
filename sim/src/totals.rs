//! What must hold of the totals and claims between two users.

use std::collections::BTreeSet;

use atomicity_ledger::pair::{Totals, UnitSide};
use atomicity_ledger::{RecordHash, Unit};

use crate::check::{Phase, Sum, Track};
use crate::receive::promises;
use crate::world::World;

impl World {
    /// Everything is known anew, from the files.
    pub(crate) fn see_recovered(&mut self, n: usize, peer: usize) {
        let pair = &self.nodes[n].live.pairs[&peer];
        let known = self.watch.tracks.remove(&(n, peer)).unwrap_or_default();
        let mut track = Track {
            numbers: known.numbers,
            ..Track::default()
        };
        for promise in promises(pair.theirs(), &self.units) {
            use atomicity_ledger::pair::Standing;
            let phase = match promise.standing() {
                Standing::Undecided => Phase::Undecided,
                Standing::Due | Standing::Merged => Phase::Due,
                Standing::Released => Phase::Released,
                Standing::Expired => Phase::Expired,
            };
            let record = promise.iou().record();
            let entry = (record.unit.clone(), record.amount.minor(), phase);
            track.phases.insert(promise.iou().hash(), entry);
        }
        for unit in &self.units {
            let (own, theirs) = (pair.own().unit(unit), pair.theirs().unit(unit));
            let own = own.map(UnitSide::totals).unwrap_or_default();
            let claim = theirs.map_or(0, |side| side.claim().minor());
            let due = track.phases.values();
            let due = due.filter(|(of, _, phase)| of == unit && *phase == Phase::Due);
            let covered = due.map(|(_, minor, _)| minor).sum::<u64>()
                + theirs.map_or(0, |side| side.merged_before().minor());
            let theirs = theirs.map(UnitSide::totals).unwrap_or_default();
            let sum = Sum {
                paid: known.units.get(unit).map_or(0, |sum| sum.paid),
                known: own.paid(),
                base: claim.saturating_sub(direct(&theirs)).min(covered),
                most: known.units.get(unit).map_or(0, |sum| sum.most),
                own,
                theirs,
                claim,
                ..Sum::default()
            };
            track.units.insert(unit.clone(), sum);
        }
        self.watch.merged.retain(|(who, iou)| {
            let to_peer = self.watch.by_pair.get(&(n, peer));
            *who != n || !to_peer.is_some_and(|ious| ious.contains(iou))
        });
        self.watch.tracks.insert((n, peer), track);
    }

    /// Totals and claims with one friend.
    pub(crate) fn see_pair(&mut self, n: usize, peer: usize, unbound: bool) {
        self.see_gone(n, peer, unbound);
        for unit in self.units.clone() {
            if let Some(what) = self.unit_fault(n, peer, &unit) {
                self.watch
                    .violated(format!("{what} (of {n} with {peer} in {unit})"));
            }
        }
    }

    /// Promises that are no longer kept: released, or covered by what was booked.
    fn see_gone(&mut self, n: usize, peer: usize, unbound: bool) {
        let pair = &self.nodes[n].live.pairs[&peer];
        let kept: BTreeSet<RecordHash> = promises(pair.theirs(), &self.units)
            .map(|promise| promise.iou().hash())
            .collect();
        let relays = &self.nodes[n].live.relays;
        let Some(track) = self.watch.tracks.get_mut(&(n, peer)) else {
            return;
        };
        let gone: Vec<RecordHash> = track
            .phases
            .keys()
            .filter(|hash| !kept.contains(*hash))
            .copied()
            .collect();
        for hash in gone {
            let Some((unit, minor, phase)) = track.phases.remove(&hash) else {
                continue;
            };
            let passed_on = relays.contains_key(&hash);
            let owed = match phase {
                Phase::Undecided => !unbound,
                Phase::Expired => passed_on,
                Phase::Due | Phase::Released => false,
            };
            if owed {
                track.units.entry(unit).or_default().due += minor;
                self.watch.due.insert((n, hash));
            }
        }
    }

    /// What a user promised and was published.
    fn published(&self, n: usize, peer: usize, unit: &Unit) -> u64 {
        let promised = self.watch.between(n, peer);
        let came_due = promised
            .filter(|iou| iou.record().unit == *unit && self.is_published(iou.hash()))
            .map(|iou| iou.record().amount.minor());
        came_due.sum()
    }

    fn unit_fault(&mut self, n: usize, peer: usize, unit: &Unit) -> Option<String> {
        let pair = &self.nodes[n].live.pairs[&peer];
        let none = UnitSide::default();
        let own = pair.own().unit(unit).unwrap_or(&none);
        let theirs = pair.theirs().unit(unit).unwrap_or(&none);
        let (own, claim, totals) = (own.totals(), theirs.claim().minor(), theirs.totals());
        let reach = self.reach(pair, (n, peer), unit, false);
        let track = self.watch.tracks.entry((n, peer)).or_default();
        let sum = track.units.entry(unit.clone()).or_default();
        let floor = direct(&totals) + sum.base + sum.due;
        let before = std::mem::replace(&mut sum.own, own);
        let before_theirs = std::mem::replace(&mut sum.theirs, totals);
        let before_claim = std::mem::replace(&mut sum.claim, claim);
        sum.most = sum.most.max(claim);
        let merged = own.merged.minor();
        let grown = own.merged > before.merged;
        let (paid, known) = (sum.paid, sum.known);
        let booked = if grown {
            self.published(n, peer, unit)
        } else {
            merged
        };
        let fault = if before.falls_to(&own) {
            "an own total falls".to_owned()
        } else if before_theirs.falls_to(&totals) {
            "a friend's total falls".to_owned()
        } else if claim < before_claim {
            format!("a claim falls from {before_claim} to {claim}")
        } else if claim < floor {
            format!("a claim of {floor} is only {claim}")
        } else if claim != reach {
            format!("a claim is {claim}, and {reach} by what came due")
        } else if own.paid() > paid || own.paid() < known {
            format!("{paid} was paid, and {} is signed", own.paid())
        } else if merged > booked {
            format!("{merged} is booked, and {booked} was published")
        } else {
            return None;
        };
        Some(fault)
    }
}

/// What was paid and given back: all but what was promised.
fn direct(totals: &Totals) -> u64 {
    totals.issued.minor().saturating_sub(totals.merged.minor())
}
