//! What the owner signs: payments and credit lines.

use super::side::{MAX_NOTES, MAX_UNACKED, Totals, UnitSide, push_bounded};
use super::{MAX_UNITS, Pair};
use crate::amount::{Amount, Total};
use crate::error::LedgerError;
use crate::jws::{Signed, Version};
use crate::key::Keypair;
use crate::record::{CreditLine, Payment, State, Unattended};
use crate::seq::{Epoch, Seq};
use crate::text::{Address, Memo, RecordId};
use crate::time::Timestamp;
use crate::unit::Unit;

/// Why a total grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The owner pays.
    Payment,
    /// The owner gives back what the peer paid above the credit line.
    PayBack,
    /// A promise is due.
    Merge,
}

/// What a payment is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentNote {
    /// Sixteen random bytes.
    pub id: RecordId,
    /// What it refers to.
    pub reference: Option<Memo>,
    /// A few words.
    pub memo: Option<Memo>,
}

/// A payment that was signed: store the pair, then send both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The new total.
    pub state: Signed<State>,
    /// What it was for.
    pub payment: Signed<Payment>,
}

/// The terms of a credit line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineTerms {
    /// In what.
    pub unit: Unit,
    /// The most that the peer may owe, net.
    pub accept: Total,
    /// The smallest payment that is welcome.
    pub min_amount: Amount,
    /// The longest time that a conditional IOU may stay undecided, in seconds.
    pub max_deadline_s: u32,
    /// How many may be undecided at once.
    pub slots: u16,
    /// What is taken while the owner is away.
    pub unattended: Option<Unattended>,
    /// Logs that are not accepted.
    pub logs_refused: Vec<Address>,
    /// When the line ends by itself.
    pub expires: Option<Timestamp>,
}

/// The longest deadline, in seconds, that is taken where no line says otherwise.
pub(super) const USUAL_DEADLINE_S: u32 = 120;
/// The slots where no line says otherwise.
pub(super) const USUAL_SLOTS: u16 = 32;

impl LineTerms {
    /// A line with the usual terms: any amount, 120 seconds, 32 slots, no end.
    ///
    /// # Errors
    /// Never.
    pub fn simple(unit: Unit, accept: Total) -> Result<Self, LedgerError> {
        Ok(Self {
            unit,
            accept,
            min_amount: Amount::from_minor(1)?,
            max_deadline_s: USUAL_DEADLINE_S,
            slots: USUAL_SLOTS,
            unattended: None,
            logs_refused: Vec::new(),
            expires: None,
        })
    }
}

impl Pair {
    /// Pays the peer: grows the owner's total by `amount` and signs it. `own_ceiling` is the most that the owner wants to owe
    /// this peer.
    ///
    /// # Errors
    /// [`LedgerError::LimitExceeded`] with what could be paid; [`LedgerError::NoPen`], [`LedgerError::BookNotAcknowledged`],
    /// [`LedgerError::Frozen`], [`LedgerError::TotalOverflow`]. Nothing has changed then.
    pub fn issue(
        &mut self,
        unit: &Unit,
        amount: Amount,
        own_ceiling: Option<Total>,
        note: PaymentNote,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Issued, LedgerError> {
        self.check_may_commit(unit, pen)?;
        self.check_limits(unit, amount, own_ceiling, now)?;
        let side = self.own.units.get(unit).cloned().unwrap_or_default();
        // What is promised must still fit when it comes due.
        side.exposure().grow(amount)?;
        let state = self.next_state(unit, Some(amount), Kind::Payment, pen, now)?;
        let record = state.record();
        let payment = Signed::sign(
            Payment {
                v: Version,
                id: note.id,
                from: self.me,
                to: self.peer,
                unit: unit.clone(),
                epoch: record.epoch,
                seq: record.seq,
                amount,
                reference: note.reference,
                memo: note.memo,
                at: now,
            },
            pen,
        )?;
        let side = self.take_own_state(state.clone());
        push_bounded(&mut side.payments, payment.clone(), MAX_NOTES);
        Ok(Issued { state, payment })
    }

    /// Sets how much the peer may owe the owner.
    ///
    /// # Errors
    /// [`LedgerError::NoPen`], or a rule of the record that the terms break. Nothing has changed then.
    pub fn set_line(
        &mut self,
        terms: LineTerms,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Signed<CreditLine>, LedgerError> {
        self.check_pen(pen)?;
        self.check_unit_count(&terms.unit)?;
        let epoch = self.own_epoch();
        let before = self
            .own
            .units
            .get(&terms.unit)
            .and_then(|u| u.line.as_ref())
            .map(Signed::record);
        let seq = match before {
            Some(line) if line.epoch == epoch => line.seq.next()?,
            _ => Seq::ZERO.next()?,
        };
        let unit = terms.unit.clone();
        let line = Signed::sign(
            CreditLine {
                v: Version,
                from: self.me,
                to: self.peer,
                unit: terms.unit,
                epoch,
                seq,
                accept: terms.accept,
                min_amount: terms.min_amount,
                max_deadline_s: terms.max_deadline_s,
                slots: terms.slots,
                unattended: terms.unattended,
                logs_refused: terms.logs_refused,
                expires: terms.expires,
                at: now,
            },
            pen,
        )?;
        self.own.units.entry(unit).or_default().line = Some(line.clone());
        Ok(line)
    }

    /// Signs the state that grows the owner's total by `growth`, if any, and says which promises are undecided; nothing is kept
    /// yet.
    pub(super) fn next_state(
        &self,
        unit: &Unit,
        growth: Option<Amount>,
        kind: Kind,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Signed<State>, LedgerError> {
        self.check_unit_count(unit)?;
        let epoch = self.own_epoch();
        let side = self.own.units.get(unit).cloned().unwrap_or_default();
        let totals = side.totals();
        let grown = |total: Total, when: Kind| match growth {
            Some(growth) if kind == when => total.grow(growth),
            _ => Ok(total),
        };
        let issued = growth.map_or(Ok(totals.issued), |growth| totals.issued.grow(growth))?;
        Signed::sign(
            State {
                v: Version,
                from: self.me,
                to: self.peer,
                unit: unit.clone(),
                epoch,
                seq: side.seq().next()?,
                issued,
                merged: grown(totals.merged, Kind::Merge)?,
                returned: grown(totals.returned, Kind::PayBack)?,
                next: side.next_number(epoch.first_iou()),
                open: side.open_numbers(),
                at: now,
            },
            pen,
        )
    }

    /// Keeps a state that the owner has just signed.
    pub(super) fn take_own_state(&mut self, state: Signed<State>) -> &mut UnitSide {
        let record = state.record();
        let side = self.own.units.entry(record.unit.clone()).or_default();
        let paid = Totals::from(record).paid();
        push_bounded(
            &mut side.unacked,
            (record.epoch, record.seq, record.issued, paid),
            MAX_UNACKED,
        );
        side.newest = Some(state);
        side
    }

    pub(super) fn own_epoch(&self) -> Epoch {
        self.own.epoch().unwrap_or(Epoch::ZERO)
    }

    pub(super) fn check_unit_count(&self, unit: &Unit) -> Result<(), LedgerError> {
        let units = self.units();
        if units.len() >= MAX_UNITS && !units.contains(unit) {
            return Err(LedgerError::OutOfRange("number of units between two users"));
        }
        Ok(())
    }
}
