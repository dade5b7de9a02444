//! What the owner promises: conditional IOUs, and what becomes of them.

use super::Pair;
use super::event::{Event, Outcome};
use super::issue::{Kind, USUAL_DEADLINE_S, USUAL_SLOTS};
use super::logs::{KnownLogs, TermsVerdict};
use super::promise::{MAX_PROMISE_BYTES, MAX_PROMISES, Promise, Standing};
use super::receive::{Standing as Key, told};
use crate::amount::{Amount, Total};
use crate::error::LedgerError;
use crate::jws::{RecordHash, Signed, Version};
use crate::key::Keypair;
use crate::planted::{self, Bug};
use crate::record::{AnyRecord, ConditionalIou, IouAck, Release, State, Terms};
use crate::text::Layers;
use crate::time::Timestamp;
use crate::unit::Unit;

/// How many decided promises may wait for a state that says so, before one is signed only for that.
const UNTOLD_PROMISES: usize = 32;

/// The most bytes of promises that an issuer keeps before one more: the holder must have room for it.
const MAX_OWN_BYTES: usize = MAX_PROMISE_BYTES - 20_000;

/// A promise to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPromise {
    /// In what.
    pub unit: Unit,
    /// How much.
    pub amount: Amount,
    /// When it becomes due.
    pub terms: Terms,
    /// What the peer is to do with it.
    pub onward: Option<Layers>,
}

impl Pair {
    /// Promises the peer an amount that becomes due if a preimage is published in time. It reserves the peer's credit until it is
    /// decided. `logs` are those that the owner knows.
    ///
    /// # Errors
    /// [`LedgerError::LimitExceeded`], [`LedgerError::BelowMinimum`], [`LedgerError::NoSlot`], [`LedgerError::TermsRefused`], and
    /// what hinders every signature. Nothing has changed then.
    pub fn promise(
        &mut self,
        new: NewPromise,
        own_ceiling: Option<Total>,
        logs: &KnownLogs,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Signed<ConditionalIou>, LedgerError> {
        self.check_may_commit(&new.unit, pen)?;
        self.check_own_terms(&new, logs, now)?;
        self.check_limits(&new.unit, new.amount, own_ceiling, now)?;
        self.check_slot(&new.unit)?;
        self.check_unit_count(&new.unit)?;
        let epoch = self.own_epoch();
        let side = self.own.units.get(&new.unit).cloned().unwrap_or_default();
        // Whatever comes due must fit into the total.
        side.exposure().grow(new.amount)?;
        let iou = Signed::sign(
            ConditionalIou {
                v: Version,
                from: self.me,
                to: self.peer,
                unit: new.unit.clone(),
                epoch,
                number: side.next_number(epoch.first_iou()),
                amount: new.amount,
                terms: new.terms,
                onward: new.onward,
                at: now,
            },
            pen,
        )?;
        let side = self.own.units.entry(new.unit).or_default();
        side.promises.push(Promise::new(iou.clone()));
        Ok(iou)
    }

    /// The latest deadline that the peer takes promises for.
    #[must_use]
    pub fn longest_deadline(&self, unit: &Unit, now: Timestamp) -> Timestamp {
        let line = self.theirs.units.get(unit).and_then(|u| u.line());
        let longest_s = line.map_or(USUAL_DEADLINE_S, |line| line.record().max_deadline_s);
        now.plus_millis(u64::from(longest_s) * 1000)
    }

    /// What hinders a new payment or promise, whatever its amount.
    pub(super) fn check_may_commit(&self, unit: &Unit, pen: &Keypair) -> Result<(), LedgerError> {
        self.check_pen(pen)?;
        if self.waiting {
            return Err(LedgerError::BookNotAcknowledged);
        }
        if self.frozen(unit).is_some() {
            return Err(LedgerError::Frozen {
                unit: unit.clone(),
                why: "the peer has contradicted itself; both records are kept as evidence",
            });
        }
        Ok(())
    }

    fn check_own_terms(
        &self,
        new: &NewPromise,
        logs: &KnownLogs,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let refuse = |why| Err(LedgerError::TermsRefused { why });
        if new.terms.is_direct() {
            return self.check_direct(new);
        }
        let line = self.theirs.units.get(&new.unit).and_then(|u| u.line());
        let refused = line.map_or(&[][..], |line| &line.record().logs_refused);
        match logs.judge(&new.terms, refused) {
            TermsVerdict::Good => {}
            TermsVerdict::NotReadYet => {
                return refuse("a log that they name was not read as far as they begin");
            }
            TermsVerdict::Refused => {
                return refuse("a log that they name is unknown or refused here or by this friend");
            }
        }
        let latest = self.longest_deadline(&new.unit, now);
        if new.terms.deadline_ms <= now.millis() {
            return refuse("the deadline has passed");
        }
        if new.terms.deadline_ms > latest.millis() {
            return refuse("the deadline is later than this friend takes promises for");
        }
        Ok(())
    }

    /// At most one unreleased direct release on a hash: whoever learns the preimage could call for each of them.
    fn check_direct(&self, new: &NewPromise) -> Result<(), LedgerError> {
        let same = |p: &&Promise| {
            let terms = &p.iou().record().terms;
            terms.is_direct() && terms.hash == new.terms.hash && p.release.is_none()
        };
        if self
            .own
            .units
            .values()
            .flat_map(|u| u.promises())
            .any(|p| same(&p))
        {
            return Err(LedgerError::TermsRefused {
                why: "a direct release on the same hash was given already",
            });
        }
        Ok(())
    }

    fn check_slot(&self, unit: &Unit) -> Result<(), LedgerError> {
        let no_slot = |why| LedgerError::NoSlot {
            unit: unit.clone(),
            why,
        };
        let line = self.theirs.units.get(unit).and_then(|u| u.line());
        let slots = line.map_or(USUAL_SLOTS, |line| line.record().slots);
        let taken = self
            .own
            .units
            .get(unit)
            .map_or(0, |side| side.slots_taken());
        if taken >= usize::from(slots) {
            return Err(no_slot(
                "this friend has as many undecided promises as they take; wait until one is decided",
            ));
        }
        if self.own.promise_count() >= MAX_PROMISES || self.own.promise_bytes() >= MAX_OWN_BYTES {
            return Err(no_slot(
                "this friend must first acknowledge those that are decided",
            ));
        }
        Ok(())
    }

    /// Books what is due of the owner's promises in `unit`: the total grows by what it does not hold yet. Nothing if it holds all
    /// (a store that was put together again may not know which promise a total already holds).
    pub(super) fn merge(
        &mut self,
        unit: &Unit,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Option<Signed<State>>, LedgerError> {
        let Some(side) = self.own.units.get(unit) else {
            return Ok(None);
        };
        let mut due = side.due_unbooked();
        if planted::on(Bug::MergeTwice) {
            due = side.sum(|p| p.publication.is_some() && p.release.is_none());
        }
        let growth = Amount::from_minor(due).ok();
        let mut next = self.clone();
        if let Some(side) = next.own.units.get_mut(unit) {
            for promise in &mut side.promises {
                promise.merged |= promise.standing() == Standing::Due;
            }
        }
        let state = match growth {
            Some(growth) => Some(next.next_state(unit, Some(growth), Kind::Merge, pen, now)?),
            None => None,
        };
        if let Some(state) = &state {
            next.take_own_state(state.clone());
        }
        *self = next;
        Ok(state)
    }

    /// Books everything of the owner's that is due, and says, if there is much to say, which promises are decided.
    ///
    /// # Errors
    /// [`LedgerError::NoPen`] if `pen` does not keep the books. Nothing has changed then.
    pub fn book_due(
        &mut self,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Vec<Signed<State>>, LedgerError> {
        self.check_pen(pen)?;
        if self.waiting {
            return Ok(Vec::new());
        }
        let mut next = self.clone();
        let mut states = Vec::new();
        for unit in self.own.units.keys() {
            states.extend(next.merge(unit, pen, now)?);
            let much = next
                .own
                .units
                .get(unit)
                .is_some_and(|side| side.untold() >= UNTOLD_PROMISES);
            if much {
                let state = next.next_state(unit, None, Kind::Merge, pen, now)?;
                next.take_own_state(state.clone());
                states.push(state);
            }
        }
        *self = next;
        Ok(states)
    }

    pub(super) fn own_promise_mut(
        &mut self,
        unit: &Unit,
        hash: RecordHash,
    ) -> Option<&mut Promise> {
        let side = self.own.units.get_mut(unit)?;
        side.promise_mut(hash)
    }

    /// The peer gives a promise of the owner up.
    pub(super) fn receive_release(
        &mut self,
        signed: &Signed<Release>,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        let release = signed.record();
        // The next keeper of the books signs it anew: what an earlier one signed waits for nothing once that has come.
        let known = self.promise_given(release.iou).map(Promise::standing);
        let is_decided = matches!(known, None | Some(Standing::Released | Standing::Merged));
        if is_decided && self.theirs.kept_before(signed.kid()) {
            return Ok(Outcome::Stale);
        }
        if let Key::Pending(reason) = self.standing_now(signed.kid(), now)? {
            return Ok(Outcome::Pending(reason));
        }
        let another = planted::on(Bug::ReleaseOfAnother);
        let side = self.own.units.get_mut(&release.unit);
        let mut promises = side.into_iter().flat_map(|side| &mut side.promises);
        let named = |p: &&mut Promise| {
            p.iou().hash() == release.iou || another && p.standing() == Standing::Undecided
        };
        let Some(promise) = promises.find(named) else {
            return Ok(Outcome::Stale);
        };
        let iou = promise.iou().record().clone();
        if !another && (iou.epoch, iou.number) != (release.epoch, release.number) {
            return Err(LedgerError::Contradiction {
                typ: "atomicity-release",
                why: "the promise with this hash has another number",
            });
        }
        match promise.standing() {
            Standing::Released => return Ok(Outcome::Duplicate),
            Standing::Merged => return Ok(Outcome::Stale),
            Standing::Undecided | Standing::Due | Standing::Expired => {}
        }
        promise.release = Some(signed.clone());
        promise.acknowledged = true;
        Ok(Outcome::Applied {
            events: vec![Event::Released {
                iou: release.iou,
                unit: iou.unit,
                amount: iou.amount,
                reason: release.reason,
            }],
            replies: Vec::<AnyRecord>::new(),
        })
    }

    pub(super) fn iou_acked(&mut self, item: &IouAck) -> Outcome {
        let mut promises = self.own.units.values_mut().flat_map(|u| &mut u.promises);
        match promises.find(|p| p.iou().hash() == item.hash) {
            Some(promise) if !promise.acknowledged => {
                promise.acknowledged = true;
                told(Event::PromiseArrived { iou: item.hash })
            }
            Some(_) => Outcome::Duplicate,
            // It was settled and dropped, or an earlier store of the owner's made it.
            None => Outcome::Stale,
        }
    }
}
