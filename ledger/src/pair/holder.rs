//! What the peer promises: taking a conditional IOU or giving it up, and what is kept of it.

use super::Pair;
use super::event::{Event, Outcome, PendingReason};
use super::issue::{USUAL_DEADLINE_S, USUAL_SLOTS};
use super::logs::{KnownLogs, TermsVerdict};
use super::promise::{MAX_PROMISE_BYTES, MAX_PROMISES, Promise, Standing};
use super::receive::Standing as Key;
use crate::amount::{Balance, Total};
use crate::error::LedgerError;
use crate::jws::{RecordHash, Signed, Version};
use crate::key::Keypair;
use crate::planted::{self, Bug};
use crate::record::{Ack, AckItem, AnyRecord, ConditionalIou, IouAck, Release, ReleaseReason};
use crate::seq::{Epoch, IouNumber};
use crate::text::Layers;
use crate::time::Timestamp;
use crate::unit::Unit;

/// How much later than the longest deadline a promise may name: clocks differ.
const DEADLINE_GRACE_MS: u64 = 60_000;

impl Pair {
    pub(super) fn receive_iou(
        &mut self,
        signed: &Signed<ConditionalIou>,
        logs: &KnownLogs,
        now: Timestamp,
        pen: Option<&Keypair>,
    ) -> Result<Outcome, LedgerError> {
        let iou = signed.record();
        let side = self
            .theirs
            .units
            .get(&iou.unit)
            .cloned()
            .unwrap_or_default();
        if let Some(known) = side.promise(signed.hash()) {
            return self.release_again(known, now, pen);
        }
        self.check_not_cleared(iou, &side)?;
        if let Key::Pending(reason) = self.standing_of_iou(signed, now)? {
            return Ok(Outcome::Pending(reason));
        }
        let first = side.by_number(iou.number);
        if let Some(first) = first.filter(|_| !planted::on(Bug::NumberReused)) {
            let why = format!(
                "two different promises bear number {} of epoch {}",
                iou.number.get(),
                iou.epoch
            );
            let records = vec![first.iou().jws().to_owned(), signed.jws().to_owned()];
            return Ok(self.freeze(&iou.unit, why, records));
        }
        if side.frozen.is_some() {
            return Err(LedgerError::Frozen {
                unit: iou.unit.clone(),
                why: "the peer has contradicted itself in this epoch",
            });
        }
        self.check_unit_count(&iou.unit)?;
        if self.theirs.promise_count() >= MAX_PROMISES
            || self.theirs.promise_bytes() + signed.jws().len() > MAX_PROMISE_BYTES
        {
            return Err(LedgerError::NoSlot {
                unit: iou.unit.clone(),
                why: "the peer has not said which of its promises are decided",
            });
        }
        // Taken or given up, it is answered with a signature.
        let Some(pen) = pen.filter(|pen| self.check_pen(pen).is_ok()) else {
            return Ok(Outcome::Pending(PendingReason::NoPen));
        };
        match self.fault_of(iou, &side, logs, now) {
            Some(Fault::NotReadYet) => Ok(Outcome::Pending(PendingReason::LogUnread)),
            // What a store that has just been put together again does not know it must not give up: it may have taken it before.
            Some(Fault::Refuse(_)) if self.waiting || logs.is_empty() => {
                Ok(Outcome::Pending(PendingReason::LogUnread))
            }
            Some(Fault::Refuse(reason)) => self.refuse_iou(signed, reason, pen, now),
            None => self.take_iou(signed, pen, now),
        }
    }

    /// A promise that is here already: if it was given up under another key of the owner, the peer needs that from the present one.
    fn release_again(
        &mut self,
        known: &Promise,
        now: Timestamp,
        pen: Option<&Keypair>,
    ) -> Result<Outcome, LedgerError> {
        let pen = pen.filter(|pen| self.check_pen(pen).is_ok());
        let (Some(pen), Some(given)) = (pen, known.release()) else {
            return Ok(Outcome::Duplicate);
        };
        if given.kid() == pen.signer_key() {
            return Ok(Outcome::Duplicate);
        }
        let (reason, failure) = (given.record().reason, given.record().failure.clone());
        let release = self.sign_release(known.iou(), reason, failure, pen, now)?;
        if let Some(promise) = self.their_promise_mut(known.iou().hash()) {
            promise.release = Some(release.clone());
        }
        Ok(Outcome::Applied {
            events: Vec::new(),
            replies: vec![AnyRecord::Release(release)],
        })
    }

    /// A number that was settled for good, or that the book in force does not know of.
    fn check_not_cleared(
        &self,
        iou: &ConditionalIou,
        side: &super::UnitSide,
    ) -> Result<(), LedgerError> {
        if side.has_settled(iou.number) {
            return Err(LedgerError::PromiseCleared {
                unit: iou.unit.clone(),
                number: iou.number.get(),
            });
        }
        let Some(book) = self.theirs.book.as_ref().map(Signed::record) else {
            return Ok(());
        };
        // Of the epochs before only what the book names, or what was here before it, binds.
        let named = book
            .carried(&iou.unit)
            .is_some_and(|c| c.open.binary_search(&iou.number).is_ok());
        if iou.epoch < book.epoch && !named && !planted::on(Bug::OldEpochTaken) {
            return Err(LedgerError::EpochEnded {
                found: iou.epoch,
                current: book.epoch,
            });
        }
        Ok(())
    }

    /// The key of its epoch must have signed it; of an epoch that has ended, the book in force vouches for what it names.
    fn standing_of_iou(
        &self,
        signed: &Signed<ConditionalIou>,
        now: Timestamp,
    ) -> Result<Key, LedgerError> {
        let iou = signed.record();
        let current = self.theirs.epoch();
        if current.is_some_and(|current| iou.epoch < current) {
            if self.theirs.book_of(signed.kid(), iou.epoch).is_some() {
                return Ok(Key::Good);
            }
            // The book of that epoch may never have come. The one in force names the number, and the root's word is behind the key.
            let unknown = matches!(self.judge_keeper(signed.kid(), now), Ok(Key::Pending(_)));
            let credentials = &self.theirs.credentials;
            return if credentials.ever_let(signed.kid(), self.me, now) {
                Ok(Key::Good)
            } else if unknown {
                let key = signed.kid();
                Ok(Key::Pending(PendingReason::RevocationUnknown { key }))
            } else {
                Err(LedgerError::NotAuthorized {
                    key: signed.kid(),
                    user: self.peer,
                    why: "it was not the book key of that epoch, as far as is known here",
                })
            };
        }
        self.standing(signed.kid(), iou.epoch, now)
    }

    /// Why a promise can't be taken, if it can't.
    fn fault_of(
        &self,
        iou: &ConditionalIou,
        side: &super::UnitSide,
        logs: &KnownLogs,
        now: Timestamp,
    ) -> Option<Fault> {
        let own = self.own.units.get(&iou.unit);
        let line = own.and_then(|u| u.line()).map(Signed::record);
        let refused = line.map_or(&[][..], |line| &line.logs_refused);
        match logs.judge(&iou.terms, refused) {
            TermsVerdict::Good => {}
            TermsVerdict::NotReadYet => return Some(Fault::NotReadYet),
            TermsVerdict::Refused => return Some(Fault::Refuse(ReleaseReason::Log)),
        }
        let accept = self.accept(&iou.unit, now);
        let claimed = own.map_or(Total::ZERO, super::UnitSide::claim);
        let exposure = if planted::on(Bug::ExpiryByClock) {
            side.exposure_in_time(&side.totals(), now.millis())
        } else {
            side.exposure()
        };
        let fits = exposure.grow(iou.amount).is_ok_and(|reach| {
            let debt = Balance::between(reach, claimed).minor();
            debt <= i64::try_from(accept.minor()).unwrap_or(i64::MAX)
        });
        // Without a line nothing is taken but what lessens the owner's own debt, on the usual terms.
        let usual = (1, USUAL_SLOTS, USUAL_DEADLINE_S);
        let (min, slots, max_deadline_s) = line.map_or(usual, |line| {
            (line.min_amount.minor(), line.slots, line.max_deadline_s)
        });
        let latest = now
            .plus_millis(u64::from(max_deadline_s) * 1000)
            .plus_millis(DEADLINE_GRACE_MS);
        let in_time = iou.terms.is_direct() || iou.terms.deadline_ms <= latest.millis();
        let good =
            fits && in_time && iou.amount.minor() >= min && side.slots_taken() < usize::from(slots);
        (!good).then_some(Fault::Refuse(ReleaseReason::Limit))
    }

    fn take_iou(
        &mut self,
        signed: &Signed<ConditionalIou>,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        let ack = Signed::sign(
            Ack {
                v: Version,
                from: self.me,
                to: self.peer,
                items: vec![AckItem::Iou(IouAck {
                    hash: signed.hash(),
                })],
                at: now,
            },
            pen,
        )?;
        self.keep_iou(signed);
        Ok(Outcome::Applied {
            events: vec![Event::Promised(Box::new(signed.record().clone()))],
            replies: vec![AnyRecord::Ack(ack)],
        })
    }

    /// A promise that does not fit is given up at once, and remembered: it may be sent again.
    fn refuse_iou(
        &mut self,
        signed: &Signed<ConditionalIou>,
        reason: ReleaseReason,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        let release = self.sign_release(signed, reason, None, pen, now)?;
        let promise = self.keep_iou(signed);
        promise.release = Some(release.clone());
        Ok(Outcome::Applied {
            events: vec![Event::PromiseRefused {
                iou: signed.hash(),
                unit: signed.record().unit.clone(),
                amount: signed.record().amount,
                reason,
            }],
            replies: vec![AnyRecord::Release(release)],
        })
    }

    fn keep_iou(&mut self, signed: &Signed<ConditionalIou>) -> &mut Promise {
        let found = self.may_be_known(signed.record());
        let unit = signed.record().unit.clone();
        let promises = &mut self.theirs.units.entry(unit).or_default().promises;
        let at = promises.partition_point(|p| p.number() < signed.record().number);
        let mut promise = Promise::new(signed.clone());
        promise.acknowledged = true;
        promise.found = found;
        promises.insert(at, promise);
        &mut promises[at]
    }

    /// Whether a store that was lost may have taken this promise, although nothing that was found says so: the root began a new book
    /// when such a promise could have been made.
    fn may_be_known(&self, iou: &ConditionalIou) -> bool {
        let books = self.own.book.iter().chain(&self.own.past);
        let mut anew = books
            .filter(|book| book.record().epoch > Epoch::ZERO && book.kid().is_root_of(&self.me));
        let line = self.own.units.get(&iou.unit).and_then(|u| u.line());
        let longest_s = line.map_or(USUAL_DEADLINE_S, |line| line.record().max_deadline_s);
        let longest_ms = u64::from(longest_s.max(USUAL_DEADLINE_S)) * 1000 + DEADLINE_GRACE_MS;
        anew.any(|book| iou.terms.deadline_ms <= book.record().at.plus_millis(longest_ms).millis())
    }

    /// Gives up a promise of the peer: nothing is claimed under it any more, whatever is published.
    ///
    /// # Errors
    /// [`LedgerError::PromiseUnknown`]; [`LedgerError::NotReleasable`] if it is due, decided already, or promised onward;
    /// [`LedgerError::NoPen`]. Nothing has changed then.
    pub fn release(
        &mut self,
        iou: RecordHash,
        reason: ReleaseReason,
        failure: Option<Layers>,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Vec<AnyRecord>, LedgerError> {
        self.check_pen(pen)?;
        let (unit, promise) = self.their_promise(iou)?;
        let refuse = |why| Err(LedgerError::NotReleasable { why });
        match promise.standing() {
            Standing::Due => return refuse("it is due: the preimage was published in time"),
            Standing::Released | Standing::Merged => return refuse("it is decided already"),
            Standing::Undecided | Standing::Expired => {}
        }
        if promise.forwarded && !planted::on(Bug::ReleaseWhileForwarded) {
            return refuse("it was promised onward, and that promise is not released yet");
        }
        let release = self.sign_release(&promise.iou().clone(), reason, failure, pen, now)?;
        let mut next = self.clone();
        if let Some(promise) = next.their_promise_mut(iou) {
            promise.release = Some(release.clone());
        }
        let mut replies = vec![AnyRecord::Release(release)];
        replies.extend(next.clear_if_settled(&unit, pen, now)?.map(AnyRecord::Ack));
        *self = next;
        Ok(replies)
    }

    /// Notes that a promise of the peer was promised onward, or that the one onward was released: in between it can't be given
    /// up here. Returns whether that changed anything.
    ///
    /// # Errors
    /// [`LedgerError::PromiseUnknown`]; [`LedgerError::NotReleasable`] if it was given up already, or if it is a direct release,
    /// which nobody can pass on.
    pub fn mark_forwarded(
        &mut self,
        iou: RecordHash,
        forwarded: bool,
    ) -> Result<bool, LedgerError> {
        let promise = self
            .their_promise_mut(iou)
            .ok_or(LedgerError::PromiseUnknown)?;
        if forwarded && promise.iou().record().terms.is_direct() {
            return Err(LedgerError::NotReleasable {
                why: "a direct release can't be promised onward",
            });
        }
        if forwarded && promise.release.is_some() {
            return Err(LedgerError::NotReleasable {
                why: "it was given up already",
            });
        }
        let changed = promise.forwarded != forwarded;
        promise.forwarded = forwarded;
        Ok(changed)
    }

    pub(super) fn sign_release(
        &self,
        iou: &Signed<ConditionalIou>,
        reason: ReleaseReason,
        failure: Option<Layers>,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Signed<Release>, LedgerError> {
        let promised = iou.record();
        Signed::sign(
            Release {
                v: Version,
                from: self.me,
                to: self.peer,
                unit: promised.unit.clone(),
                epoch: promised.epoch,
                number: promised.number,
                iou: iou.hash(),
                reason,
                failure,
                at: now,
            },
            pen,
        )
    }

    /// Signs the releases anew that an earlier key of the owner has given.
    pub(super) fn renew_releases(
        &mut self,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let stale: Vec<_> = self
            .theirs
            .units
            .values()
            .flat_map(|side| &side.promises)
            .filter_map(|p| {
                p.release
                    .as_ref()
                    .map(|release| (p.iou().clone(), release.clone()))
            })
            .filter(|(_, release)| release.kid() != pen.signer_key())
            .collect();
        for (iou, release) in stale {
            let (reason, failure) = (release.record().reason, release.record().failure.clone());
            let renewed = self.sign_release(&iou, reason, failure, pen, now)?;
            if let Some(promise) = self.their_promise_mut(iou.hash()) {
                promise.release = Some(renewed);
            }
        }
        Ok(())
    }

    /// A promise of the peer by its hash.
    ///
    /// # Errors
    /// [`LedgerError::PromiseUnknown`].
    pub(super) fn their_promise(&self, iou: RecordHash) -> Result<(Unit, Promise), LedgerError> {
        let found = self.theirs.units.iter().find_map(|(unit, side)| {
            let promise = side.promise(iou)?;
            Some((unit.clone(), promise.clone()))
        });
        found.ok_or(LedgerError::PromiseUnknown)
    }

    pub(super) fn their_promise_mut(&mut self, iou: RecordHash) -> Option<&mut Promise> {
        let mut units = self.theirs.units.values_mut();
        units.find_map(|side| side.promise_mut(iou))
    }

    /// How much of a growth of `merged` is founded on no promise that was here, and whether one may just not have come.
    pub(super) fn unfounded(
        &self,
        side: &super::UnitSide,
        state: &crate::record::State,
    ) -> Unfounded {
        let booked = state.merged.growth_since(side.merged_before);
        let known = side.sum(|p| p.release.is_none());
        let beyond = booked
            .saturating_sub(known)
            .min(state.merged.growth_since(side.totals().merged));
        Unfounded {
            amount: beyond,
            may_come: beyond > 0 && self.misses_promises(side, state),
        }
    }

    fn misses_promises(&self, side: &super::UnitSide, state: &crate::record::State) -> bool {
        let book = self.theirs.book.as_ref().map(Signed::record);
        let cleared = side.cleared.as_ref().map(Signed::record);
        let epoch = state.epoch;
        let open: &[IouNumber] = match (cleared, book) {
            (Some(cleared), _) => &cleared.open,
            (None, Some(book)) => book.carried(&state.unit).map_or(&[], |c| &c.open),
            (None, None) => &[],
        };
        let from = cleared.map_or(epoch.first_iou(), |c| c.next.max(epoch.first_iou()));
        let seen = side
            .promises
            .iter()
            .filter(|p| p.number() >= from && p.number() < state.next)
            .count() as u64;
        let named = state.next.get().saturating_sub(from.get());
        named > seen || open.iter().any(|n| side.by_number(*n).is_none())
    }
}

/// Why a promise can't be taken.
enum Fault {
    /// A log must be read first.
    NotReadYet,
    /// It is given up.
    Refuse(ReleaseReason),
}

/// A growth of `merged` that no known promise bears out.
pub(super) struct Unfounded {
    pub(super) amount: u64,
    /// A promise that would bear it out may still be on its way.
    pub(super) may_come: bool,
}
