//! Conditional IOUs and what is known about each; what they add to a claim and what they reserve.

use serde::{Deserialize, Serialize};

use super::Pair;
use super::event::Event;
use super::side::{Totals, UnitSide};
use crate::amount::{Balance, Total};
use crate::jws::{RecordHash, Signed, stored};
use crate::planted::{self, Bug};
use crate::record::{Book, BookAck, ConditionalIou, Publication, Release, ReleaseReason, State};
use crate::seq::IouNumber;
use crate::unit::Unit;

/// The most conditional IOUs of one direction that are kept, in all units: those undecided and those that no clear has covered yet.
pub const MAX_PROMISES: usize = 192;

/// The most bytes of promises of one direction that are kept: a channel file must hold those of both.
pub const MAX_PROMISE_BYTES: usize = 320 * 1024;

/// A conditional IOU and what is known about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    #[serde(with = "stored::one")]
    iou: Signed<ConditionalIou>,
    /// The proof that it is due.
    #[serde(with = "stored::option")]
    pub(super) publication: Option<Signed<Publication>>,
    /// The holder's word that nothing is claimed under it.
    #[serde(with = "stored::option")]
    pub(super) release: Option<Signed<Release>>,
    /// Every log that it names has proven that the preimage did not come in time.
    pub(super) expired: bool,
    /// The issuer's total holds it; known at the issuer only.
    pub(super) merged: bool,
    /// The holder has promised the same onward and not got it back.
    pub(super) forwarded: bool,
    /// The holder has said that it arrived.
    pub(super) acknowledged: bool,
    /// It was found again after the store was lost, or may have been taken by the store that was: what it was made for may be
    /// forgotten.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) found: bool,
}

/// Where a promise stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody knows yet.
    Undecided,
    /// It was published in time: the holder claims it until it is merged or released.
    Due,
    /// The issuer's total holds it.
    Merged,
    /// The holder has given it up.
    Released,
    /// It is proven that it was not published in time. The holder has not released it yet.
    Expired,
}

impl Promise {
    pub(super) fn new(iou: Signed<ConditionalIou>) -> Self {
        Self {
            iou,
            publication: None,
            release: None,
            expired: false,
            merged: false,
            forwarded: false,
            acknowledged: false,
            found: false,
        }
    }

    /// The signed promise.
    #[must_use]
    pub fn iou(&self) -> &Signed<ConditionalIou> {
        &self.iou
    }

    /// The proof that it is due, if it was seen.
    #[must_use]
    pub fn publication(&self) -> Option<&Signed<Publication>> {
        self.publication.as_ref()
    }

    /// The holder's release, if there is one.
    #[must_use]
    pub fn release(&self) -> Option<&Signed<Release>> {
        self.release.as_ref()
    }

    /// Whether its holder has promised the same onward.
    #[must_use]
    pub fn is_forwarded(&self) -> bool {
        self.forwarded
    }

    /// Whether it was found again after the store was lost, or may have been taken before that, and has not been connected with what
    /// it was made for since.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.found
    }

    /// Whether the holder has said that it arrived.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.acknowledged
    }

    /// Where it stands. A proof of publication beats one of expiry.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if self.merged {
            Standing::Merged
        } else if self.release.is_some() {
            Standing::Released
        } else if self.expired && planted::on(Bug::ExpiryWins) {
            Standing::Expired
        } else if self.publication.is_some() {
            Standing::Due
        } else if self.expired {
            Standing::Expired
        } else {
            Standing::Undecided
        }
    }

    pub(super) fn number(&self) -> IouNumber {
        self.iou.record().number
    }

    /// Whether it was signed under this book.
    pub(super) fn is_under(&self, book: &Signed<Book>) -> bool {
        let book = book.record();
        self.iou.record().epoch == book.epoch && self.iou.kid() == book.key
    }

    pub(super) fn minor(&self) -> u64 {
        self.iou.record().amount.minor()
    }

    /// Whether the holder can claim it, booked already or not.
    fn counts(&self) -> bool {
        self.publication.is_some() && (self.release.is_none() || self.merged)
    }

    /// Whether the holder can claim it, or may come to.
    fn reaches(&self) -> bool {
        self.counts() || self.standing() == Standing::Undecided
    }

    /// Whether the issuer still lists it as undecided. One that has expired stays listed until its holder releases it: a holder that
    /// has passed it on can't clear it away yet, and everything else must not wait for that.
    fn is_open(&self) -> bool {
        !matches!(self.standing(), Standing::Merged | Standing::Released)
    }
}

impl UnitSide {
    /// The promises that are kept: those undecided, and those that the holder's last clear did not cover.
    #[must_use]
    pub fn promises(&self) -> &[Promise] {
        &self.promises
    }

    /// How much of the totals came from conditional IOUs that are no longer kept.
    #[must_use]
    pub fn merged_before(&self) -> Total {
        self.merged_before
    }

    /// What the other user can claim in all: what is booked, and what is due beyond it.
    #[must_use]
    pub fn claim(&self) -> Total {
        self.reach(&self.totals(), Promise::counts)
    }

    /// What the other user could claim if everything undecided came due.
    #[must_use]
    pub fn exposure(&self) -> Total {
        self.exposure_with(&self.totals())
    }

    pub(super) fn exposure_with(&self, totals: &Totals) -> Total {
        let newest = self.newest.as_ref().map(Signed::record);
        let freed = |p: &Promise| {
            planted::on(Bug::ExposureIgnoresUndecided)
                || planted::on(Bug::FreedByOpen) && newest.is_some_and(|s| s.closes(p.number()))
        };
        self.reach(totals, |p| {
            p.counts() || p.standing() == Standing::Undecided && !freed(p)
        })
    }

    /// The same without what is undecided although its deadline has passed by `now_ms`.
    pub(super) fn exposure_in_time(&self, totals: &Totals, now_ms: u64) -> Total {
        self.reach(totals, |p| {
            let in_time =
                p.iou.record().terms.is_direct() || p.iou.record().terms.deadline_ms >= now_ms;
            p.counts() || p.standing() == Standing::Undecided && in_time
        })
    }

    /// What is due and not yet booked, in minor units.
    #[must_use]
    pub fn due_unbooked(&self) -> u64 {
        self.claim().growth_since(self.totals().issued)
    }

    /// What is promised and undecided, in minor units.
    #[must_use]
    pub fn undecided(&self) -> u64 {
        self.sum(|p| p.standing() == Standing::Undecided)
    }

    /// How many promises take a slot: neither merged nor released.
    #[must_use]
    pub fn slots_taken(&self) -> usize {
        let takes = |p: &&Promise| !matches!(p.standing(), Standing::Merged | Standing::Released);
        self.promises.iter().filter(takes).count()
    }

    /// The number that the next promise bears, in an epoch whose first number is `first`.
    pub(super) fn next_number(&self, first: IouNumber) -> IouNumber {
        let after_last = self.promises.iter().map(|p| p.number().following());
        after_last.fold(self.totals().next.max(first), IouNumber::max)
    }

    /// The numbers that the issuer still counts as undecided, ascending.
    pub(super) fn open_numbers(&self) -> Vec<IouNumber> {
        let open = self.promises.iter().filter(|p| p.is_open());
        let mut numbers: Vec<IouNumber> = open.map(Promise::number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// The number after the last promise that is known here or that the peer has shown and says it held.
    pub(super) fn next_after_shown(&self, item: &BookAck) -> IouNumber {
        let shown = self.shown_promises.iter();
        shown
            .filter(|iou| item.held.contains(&iou.hash()))
            .map(|iou| iou.record().number.following())
            .fold(self.next_number(IouNumber::default()), IouNumber::max)
    }

    /// How many promises are decided, and no state says so.
    pub(super) fn untold(&self) -> usize {
        let newest = self.newest.as_ref().map(Signed::record);
        let told = |p: &Promise| newest.is_some_and(|state| state.closes(p.number()));
        let untold = |p: &&Promise| !p.is_open() && !told(p);
        self.promises.iter().filter(untold).count()
    }

    pub(super) fn promise(&self, hash: RecordHash) -> Option<&Promise> {
        self.promises.iter().find(|p| p.iou.hash() == hash)
    }

    pub(super) fn promise_mut(&mut self, hash: RecordHash) -> Option<&mut Promise> {
        self.promises.iter_mut().find(|p| p.iou.hash() == hash)
    }

    pub(super) fn by_number(&self, number: IouNumber) -> Option<&Promise> {
        self.promises.iter().find(|p| p.number() == number)
    }

    /// What `totals` book, and what of the chosen promises they do not cover.
    pub(super) fn reach(&self, totals: &Totals, chosen: impl Fn(&Promise) -> bool) -> Total {
        let booked = if planted::on(Bug::ClaimedTwice) {
            0
        } else {
            totals.merged.growth_since(self.merged_before)
        };
        let beyond = self.sum(chosen).saturating_sub(booked);
        let reach = totals.issued.minor().saturating_add(beyond);
        Total::from_minor(reach).unwrap_or(Total::MAX)
    }

    pub(super) fn sum(&self, chosen: impl Fn(&Promise) -> bool) -> u64 {
        let chosen = self.promises.iter().filter(|p| chosen(p));
        chosen.fold(0, |sum, p| sum.saturating_add(p.minor()))
    }

    /// Whether an ack of `state` may clear: nothing that `state` counts as closed is owed beyond what it issues, and nothing that
    /// is given up with it is promised onward.
    pub(super) fn may_clear(&self, state: &State) -> bool {
        let closed = |p: &Promise| state.closes(p.number());
        let booked = state.merged.growth_since(self.merged_before);
        if planted::on(Bug::ClearWithoutCoverage) {
            return true;
        }
        // What is booked beyond what is closed may be a promise that is listed as undecided: without it the clear would add to a claim.
        let founded = self.sum(|p| closed(p) && p.reaches());
        if booked > founded && self.promises.iter().any(|p| !closed(p) && p.reaches()) {
            return false;
        }
        let all = self.sum(|p| closed(p) && (p.release.is_none() || p.counts()));
        if all <= booked {
            return true;
        }
        let unsettled = |p: &Promise| {
            closed(p) && (p.standing() == Standing::Undecided || p.forwarded && !p.counts())
        };
        let due = self.sum(|p| closed(p) && p.counts());
        due <= booked && !self.promises.iter().any(unsettled)
    }

    /// What the holder gives up by clearing `state`: everything that it closes and that is not part of its total. A store that was put
    /// together again may not know what its total holds; then nothing is said.
    pub(super) fn given_up_by_clear(&self, state: &State) -> Vec<Event> {
        let closed = |p: &&Promise| state.closes(p.number());
        let booked = state.merged.growth_since(self.merged_before);
        let known = self.sum(|p| closed(&p) && p.merged);
        let given_up = |p: &&Promise| !p.merged && p.release.is_none();
        let promises = self.promises.iter().filter(closed).filter(given_up);
        promises
            .filter(|_| known == booked)
            .map(|p| Event::Released {
                iou: p.iou.hash(),
                unit: state.unit.clone(),
                amount: p.iou.record().amount,
                reason: ReleaseReason::Expired,
            })
            .collect()
    }

    /// What the holder's clear of `state` settles because all of it is booked, and that the holder was not shown to be due.
    pub(super) fn booked_by_clear(&self, state: &State) -> Vec<Event> {
        let closed = |p: &Promise| state.closes(p.number());
        let booked = state.merged.growth_since(self.merged_before);
        let all = self.sum(|p| closed(p) && (p.release.is_none() || p.counts()));
        let unseen = |p: &&Promise| closed(p) && p.release.is_none() && p.publication.is_none();
        let promises = self.promises.iter().filter(unseen);
        promises
            .filter(|_| all <= booked)
            .map(|p| Event::Booked { iou: p.iou.hash() })
            .collect()
    }

    /// Drops what the holder's clear of `state` has covered.
    pub(super) fn clear_up_to(&mut self, state: &Signed<State>) {
        let record = state.record();
        self.promises.retain(|p| !record.closes(p.number()));
        self.merged_before = record.merged;
        self.cleared = Some(state.clone());
    }
}

impl super::Side {
    /// How many promises are kept, in all units.
    pub(super) fn promise_count(&self) -> usize {
        self.units.values().map(|unit| unit.promises.len()).sum()
    }

    /// How many bytes they have.
    pub(super) fn promise_bytes(&self) -> usize {
        let promises = self.units.values().flat_map(|unit| &unit.promises);
        promises.map(|p| p.iou.jws().len()).sum()
    }
}

impl Pair {
    /// A promise of the owner to the peer, as long as it is kept.
    #[must_use]
    pub fn promise_given(&self, iou: RecordHash) -> Option<&Promise> {
        self.own.units.values().find_map(|side| side.promise(iou))
    }

    /// A promise of the owner that was found again is connected with the one for which it was made.
    pub(crate) fn connect_found(&mut self, iou: RecordHash) {
        let mut units = self.own.units.values_mut();
        if let Some(promise) = units.find_map(|side| side.promise_mut(iou)) {
            promise.found = false;
        }
    }

    /// A promise of the peer to the owner, as long as it is kept.
    #[must_use]
    pub fn promise_held(&self, iou: RecordHash) -> Option<&Promise> {
        self.theirs
            .units
            .values()
            .find_map(|side| side.promise(iou))
    }

    /// What the peer owes the owner, net, with what is due and not yet booked.
    #[must_use]
    pub fn net_claim(&self, unit: &Unit) -> Balance {
        let claim = |side: &super::Side| side.units.get(unit).map_or(Total::ZERO, UnitSide::claim);
        Balance::between(claim(&self.theirs), claim(&self.own))
    }

    /// What the peer owes the owner whatever becomes of the owner's undecided promises: so much can still be cleared by promising it
    /// to the peer. In minor units; zero if it is the owner who owes.
    #[must_use]
    pub fn surely_owed(&self, unit: &Unit) -> u64 {
        below_zero(self.own_exposure(unit))
    }

    /// What the owner owes the peer whatever becomes of the peer's undecided promises. In minor units; zero if it is the peer who owes.
    #[must_use]
    pub fn surely_owes(&self, unit: &Unit) -> u64 {
        below_zero(self.peer_exposure(unit))
    }

    /// What the peer would owe the owner, net, if everything that the peer has promised came due.
    #[must_use]
    pub fn peer_exposure(&self, unit: &Unit) -> Balance {
        exposure(&self.theirs, &self.own, unit)
    }

    /// What the owner would owe the peer, net, if everything that the owner has promised came due.
    pub(super) fn own_exposure(&self, unit: &Unit) -> Balance {
        exposure(&self.own, &self.theirs, unit)
    }
}

fn below_zero(owed: Balance) -> u64 {
    owed.minor().min(0).unsigned_abs()
}

/// What `debtor` would owe, net: undecided promises of the other direction do not help.
fn exposure(debtor: &super::Side, creditor: &super::Side, unit: &Unit) -> Balance {
    let reach = debtor
        .units
        .get(unit)
        .map_or(Total::ZERO, UnitSide::exposure);
    let claim = creditor
        .units
        .get(unit)
        .map_or(Total::ZERO, UnitSide::claim);
    Balance::between(reach, claim)
}
