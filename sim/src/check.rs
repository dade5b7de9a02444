//! What must hold after every step, kept beside the ledger and reckoned in another way.
//!
//! For each honest user and friend: which promises there were and what became of them, by what the user was told; what was paid; how far
//! totals and claims have come. From that follows what the ledger must say.

use std::collections::{BTreeMap, BTreeSet};

use atomicity_ledger::pair::{Expiry, Pair, Promise, Standing, Totals};
use atomicity_ledger::record::{ConditionalIou, LogProof, Terms};
use atomicity_ledger::{AnyRecord, PaymentHash, RecordHash, Signed, Unit};

use crate::work::{Fact, Work};
use crate::world::World;

/// What became of a friend's promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Undecided,
    Due,
    Expired,
    Released,
}

/// One user's channels with one friend.
#[derive(Clone, Debug, Default)]
pub(crate) struct Track {
    /// The friend's promises that are kept.
    pub(crate) phases: BTreeMap<RecordHash, (Unit, u64, Phase)>,
    /// The numbers that the friend has used.
    pub(crate) numbers: BTreeMap<(Unit, u64), RecordHash>,
    pub(crate) units: BTreeMap<Unit, Sum>,
}

/// The same in one unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum {
    /// What the user paid.
    pub(crate) paid: u64,
    /// How much of it at least is known to be signed: after a recovery a friend may show more.
    pub(crate) known: u64,
    /// What came due of the friend's promises.
    pub(crate) due: u64,
    /// What was there when this began, beyond what was paid.
    pub(crate) base: u64,
    /// What was given back of what the friend booked as promised, and was not.
    pub(crate) extra: u64,
    pub(crate) own: Totals,
    pub(crate) theirs: Totals,
    pub(crate) claim: u64,
    /// The greatest claim that there was.
    pub(crate) most: u64,
}

/// What is kept to be compared at the end.
pub type Key = (PaymentHash, u64, String, u64);

/// Everything that is watched.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// What must not have happened.
    pub violations: Vec<String>,
    pub(crate) tracks: BTreeMap<(usize, usize), Track>,
    /// Every promise that an honest user made or took.
    pub ious: BTreeMap<RecordHash, Signed<ConditionalIou>>,
    pub(crate) by_pair: BTreeMap<(usize, usize), BTreeSet<RecordHash>>,
    /// What was booked, by whom.
    pub merged: BTreeSet<(usize, RecordHash)>,
    /// What a holder gave up.
    pub released: BTreeSet<(usize, RecordHash)>,
    /// What was given back of what somebody booked after it had been given up.
    undone: BTreeMap<(usize, usize, Unit), u64>,
    /// What came due, for whom.
    pub due: BTreeSet<(usize, RecordHash)>,
    /// Incoming and outgoing promises of those in the middle.
    pub links: BTreeSet<(usize, RecordHash, RecordHash)>,
    pub(crate) hops: crate::hop_check::HopWatch,
    directs: BTreeSet<PaymentHash>,
    publications: BTreeMap<RecordHash, LogProof>,
    expiries: Vec<(Terms, Vec<Expiry>)>,
}

impl Watch {
    /// Notes what must not have happened.
    pub fn violated(&mut self, what: String) {
        self.violations.push(what);
    }

    /// A store was lost, and with it what was counted.
    pub(crate) fn forget(&mut self, n: usize) {
        self.hops.forget(n);
    }

    /// A preimage that no log is asked about.
    pub fn note_direct(&mut self, hash: &PaymentHash) {
        self.directs.insert(*hash);
    }

    /// Keeps a proof that was accepted.
    pub fn keep_publication(&mut self, iou: RecordHash, proof: LogProof) {
        self.publications.insert(iou, proof);
    }

    /// Keeps proofs that were accepted.
    pub fn keep_expiry(&mut self, terms: &Terms, proofs: &[Expiry]) {
        if !self.expiries.iter().any(|(known, _)| known == terms) {
            self.expiries.push((terms.clone(), proofs.to_vec()));
        }
    }

    /// Terms for which proofs of both kinds were accepted.
    #[must_use]
    pub fn contradictions(&self) -> Vec<(Terms, LogProof, Vec<Expiry>)> {
        let mut found = Vec::new();
        for (iou, proof) in &self.publications {
            let Some(iou) = self.ious.get(iou) else {
                continue;
            };
            let terms = &iou.record().terms;
            if let Some((_, expiry)) = self.expiries.iter().find(|(known, _)| known == terms) {
                found.push((terms.clone(), proof.clone(), expiry.clone()));
            }
        }
        found
    }

    /// The greatest claim that a user ever had on a friend.
    #[must_use]
    pub fn most(&self, n: usize, peer: usize, unit: &Unit) -> u64 {
        let track = self.tracks.get(&(n, peer));
        let sum = track.and_then(|track| track.units.get(unit));
        sum.map_or(0, |sum| sum.most)
    }

    fn note_iou(&mut self, from: usize, to: usize, record: &AnyRecord) {
        if let AnyRecord::ConditionalIou(iou) = record {
            self.by_pair
                .entry((from, to))
                .or_default()
                .insert(iou.hash());
            self.ious.insert(iou.hash(), iou.clone());
        }
    }

    /// The promises of one user to another.
    pub fn between(&self, from: usize, to: usize) -> impl Iterator<Item = &Signed<ConditionalIou>> {
        let hashes = self.by_pair.get(&(from, to)).into_iter().flatten();
        hashes.filter_map(|hash| self.ious.get(hash))
    }
}

impl World {
    /// The watch sees what a user has stored, before it is sent.
    pub(crate) fn see(&mut self, n: usize, work: &Work) {
        if !self.nodes[n].is_honest() {
            return;
        }
        let mut unbound = BTreeSet::new();
        for fact in &work.facts {
            self.see_fact(n, fact, &mut unbound);
        }
        for (peer, record) in &work.out {
            if let AnyRecord::Release(release) = record {
                self.see_given_up(n, *peer, release.record());
                self.see_release(n, *peer, release.record().iou);
            }
        }
        self.see_payments(n);
        for peer in &work.touched {
            if self.nodes[n].live.pairs.contains_key(peer) {
                self.see_pair(n, *peer, unbound.contains(peer));
            }
        }
    }

    fn see_fact(&mut self, n: usize, fact: &Fact, unbound: &mut BTreeSet<usize>) {
        match fact {
            Fact::Signed { peer, iou } => self.watch.note_iou(n, *peer, iou),
            Fact::Promised { peer, iou } => self.see_promised(n, *peer, iou),
            Fact::Due { peer, iou } => self.see_due(n, *peer, *iou),
            Fact::Merged { peer, iou } => self.see_merged(n, *peer, *iou),
            Fact::Released { peer, iou } => {
                self.watch.hops.returned.insert((n, *iou));
                self.trace
                    .line(format_args!("{peer} gives up what {n} promised"));
                self.trace.bytes(iou.as_bytes());
            }
            Fact::Expired { peer, iou } => {
                self.watch.hops.expired.insert((n, *iou));
                if self.plan.logs_are_honest() && self.is_published(*iou) {
                    self.watch
                        .violated(format!("{n} takes for expired what was published"));
                }
                let track = self.watch.tracks.entry((n, *peer)).or_default();
                if let Some((.., phase)) = track.phases.get_mut(iou) {
                    *phase = Phase::Expired;
                }
            }
            Fact::Paid { peer, unit, amount } => {
                let track = self.watch.tracks.entry((n, *peer)).or_default();
                let sum = track.units.entry(unit.clone()).or_default();
                sum.paid += amount.minor();
                sum.known += amount.minor();
            }
            Fact::Took {
                peer,
                unit,
                paid,
                returned,
                back,
            } => self.see_taken(n, *peer, unit, (*paid, *returned, *back)),
            Fact::Booked { peer } => {
                unbound.insert(*peer);
            }
            Fact::PassedOn { relay } => {
                let ends = (relay.incoming.iou, relay.outgoing.iou);
                self.watch.links.insert((n, ends.0, ends.1));
                self.see_passed_on(n, relay);
            }
            Fact::Followed { relay } => self.see_followed(n, relay),
            Fact::Publishes { hash, terms } => self.see_complete(n, *hash, terms),
            Fact::Recovered { peer } => {
                unbound.insert(*peer);
                self.see_recovered(n, *peer);
            }
        }
    }

    /// A promise was taken: within the line, under a fresh number, in an epoch that counts.
    fn see_promised(&mut self, n: usize, peer: usize, record: &AnyRecord) {
        self.watch.note_iou(peer, n, record);
        let AnyRecord::ConditionalIou(signed) = record else {
            return;
        };
        let (iou, hash) = (signed.record(), signed.hash());
        let track = self.watch.tracks.entry((n, peer)).or_default();
        let number = (iou.unit.clone(), iou.number.get());
        let first = *track.numbers.entry(number).or_insert(hash);
        let entry = (iou.unit.clone(), iou.amount.minor(), Phase::Undecided);
        track.phases.insert(hash, entry);
        if first != hash {
            self.watch
                .violated(format!("{n} takes two promises of {peer} with one number"));
        }
        let pair = &self.nodes[n].live.pairs[&peer];
        let book = pair.theirs().book().map(Signed::record);
        let named = book.is_some_and(|book| {
            let carried = book.carried(&iou.unit);
            iou.epoch == book.epoch || carried.is_some_and(|c| c.open.contains(&iou.number))
        });
        if !named {
            self.watch.violated(format!(
                "{n} takes a promise of {peer} of an epoch that ended"
            ));
        }
        // The books are seen as they are after the whole step: what was given up in it is past, and a clear may have followed.
        let kept = pair.promise_held(hash);
        if kept.is_some_and(|promise| promise.standing() != Standing::Released) {
            self.see_limit(n, peer, &iou.unit.clone(), "a promise");
        }
    }

    /// What a friend may come to owe is within what the user accepts.
    fn see_limit(&mut self, n: usize, peer: usize, unit: &Unit, what: &str) {
        let pair = &self.nodes[n].live.pairs[&peer];
        let accept = pair.own().accept_at(unit, self.clock(n)).minor();
        let reach = self.reach(pair, (n, peer), unit, true);
        let own = pair.own().unit(unit).map_or(0, |side| side.claim().minor());
        let debt = i128::from(reach) - i128::from(own);
        if debt > i128::from(accept) && !pair.is_waiting() {
            self.watch.violated(format!(
                "{n} takes {what} of {peer} in {unit}: {debt} of {accept}"
            ));
        }
    }

    /// What the friend owes in all, by what became of its promises; with those undecided, if asked.
    pub(crate) fn reach(
        &self,
        pair: &Pair,
        who: (usize, usize),
        unit: &Unit,
        undecided: bool,
    ) -> u64 {
        let Some(side) = pair.theirs().unit(unit) else {
            return 0;
        };
        let totals = side.totals();
        let booked = totals.merged.growth_since(side.merged_before());
        let track = self.watch.tracks.get(&who);
        let counts = |hash: RecordHash| {
            let phase = track.and_then(|track| track.phases.get(&hash));
            phase.is_some_and(|(.., phase)| match phase {
                Phase::Due => true,
                Phase::Undecided => undecided,
                Phase::Expired | Phase::Released => false,
            })
        };
        let sum: u64 = side
            .promises()
            .iter()
            .filter(|p| counts(p.iou().hash()))
            .map(|p| p.iou().record().amount.minor())
            .sum();
        totals.issued.minor() + sum.saturating_sub(booked)
    }

    fn see_due(&mut self, n: usize, peer: usize, iou: RecordHash) {
        self.stats.merged += 1;
        self.see_truth(n, iou, "claims");
        let held = self.nodes[n].live.pairs[&peer].promise_held(iou);
        self.see_decided(n, held.map(Promise::standing));
        self.watch.due.insert((n, iou));
        let track = self.watch.tracks.entry((n, peer)).or_default();
        if let Some((unit, minor, phase)) = track.phases.get_mut(&iou) {
            if *phase == Phase::Released {
                self.watch
                    .violations
                    .push(format!("{n} claims from {peer} what it gave up"));
            }
            *phase = Phase::Due;
            track.units.entry(unit.clone()).or_default().due += *minor;
        }
    }

    /// What is shown to have been published stays so, whatever seemed to be before.
    fn see_decided(&mut self, n: usize, standing: Option<Standing>) {
        if let Some(Standing::Undecided | Standing::Expired) = standing {
            self.watch.violated(format!(
                "{n} was shown that a promise is due, and takes it for undecided or expired"
            ));
        }
    }

    fn see_merged(&mut self, n: usize, peer: usize, iou: RecordHash) {
        self.see_truth(n, iou, "books");
        let given = self.nodes[n].live.pairs[&peer].promise_given(iou);
        self.see_decided(n, given.map(Promise::standing));
        if !self.watch.merged.insert((n, iou)) {
            self.watch.violated(format!("{n} books a promise twice"));
        }
    }

    /// Only what was published in time is claimed or booked.
    fn see_truth(&mut self, n: usize, iou: RecordHash, does: &str) {
        if !self.is_published(iou) {
            self.watch
                .violated(format!("{n} {does} what was not published"));
        }
    }

    /// Whether a promise came due, by what the logs hold.
    #[must_use]
    pub fn is_published(&self, iou: RecordHash) -> bool {
        let Some(iou) = self.watch.ious.get(&iou) else {
            return false;
        };
        let terms = &iou.record().terms;
        if terms.is_direct() {
            return self.watch.directs.contains(&terms.hash);
        }
        terms.logs.iter().any(|term| {
            let mut logs = self.logs.logs.iter();
            let log = logs.find(|log| log.origin == term.origin.as_str());
            log.is_some_and(|log| {
                log.has_published(terms.hash.as_bytes(), term.from_size, terms.deadline_ms)
            })
        })
    }

    fn see_taken(
        &mut self,
        n: usize,
        peer: usize,
        unit: &Unit,
        (paid, returned, back): (u64, u64, u64),
    ) {
        let beyond = back.saturating_sub(paid + returned);
        let undone = self.undone(n, peer, unit, beyond);
        if beyond > undone && self.nodes[peer].is_honest() {
            self.watch.violated(format!(
                "{n} gives {beyond} back to {peer} of what was promised"
            ));
        }
        let track = self.watch.tracks.entry((n, peer)).or_default();
        track.units.entry(unit.clone()).or_default().extra += beyond;
        if paid > 0 && back == 0 {
            self.see_limit(n, peer, unit, "a payment");
        }
    }

    /// How much of this is nothing but what `n` had given up before `peer`, who did not know that yet, booked it: of promises to
    /// somebody who was away, and wants them no more.
    fn undone(&mut self, n: usize, peer: usize, unit: &Unit, beyond: u64) -> u64 {
        let promised = self.watch.between(peer, n);
        let both = promised.filter(|iou| {
            iou.record().unit == *unit
                && self.watch.released.contains(&(n, iou.hash()))
                && self.watch.merged.contains(&(peer, iou.hash()))
        });
        let sum: u64 = both.map(|iou| iou.record().amount.minor()).sum();
        let key = (n, peer, unit.clone());
        let before = self.watch.undone.entry(key).or_default();
        let undone = beyond.min(sum.saturating_sub(*before));
        *before += undone;
        undone
    }

    fn see_release(&mut self, n: usize, peer: usize, iou: RecordHash) {
        self.watch.released.insert((n, iou));
        let track = self.watch.tracks.entry((n, peer)).or_default();
        if let Some((.., phase)) = track.phases.get_mut(&iou) {
            if *phase == Phase::Due {
                self.watch
                    .violations
                    .push(format!("{n} gives up what {peer} owes"));
            }
            *phase = Phase::Released;
        }
    }
}
