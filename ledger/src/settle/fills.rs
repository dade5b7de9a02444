//! How far a request to be paid is filled, and what of it is being paid.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::amount::{Amount, Total};
use crate::error::LedgerError;
use crate::jws::{RecordHash, Version};
use crate::key::UserKey;
use crate::record::{Goal, MAX_TURNS, Part, PartReason, PaymentRequest, RequestState};
use crate::seq::Serial;
use crate::text::RecordId;
use crate::time::Timestamp;

/// The most parts of one request that are being paid at once.
pub const MAX_OPEN_PARTS: usize = 256;
/// The most of them by one payer.
pub const MAX_OPEN_PARTS_OF_ONE: usize = 4;
/// The most of them by guests, whom no key tells apart.
pub const MAX_OPEN_PARTS_OF_GUESTS: usize = 20;
/// The most parts that one request remembers.
pub const MAX_KEPT_PARTS: usize = 4096;

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PartStage {
    /// So much is kept for it.
    Reserved,
    /// So much was paid.
    Paid,
    /// It was not paid in time, or not at all.
    Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Who pays it; nobody who is known by a key, if a guest pays outside or the payee noted by hand what came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payer: Option<UserKey>,
    amount: Amount,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    turn: Option<u32>,
    stage: PartStage,
}

/// The parts of one request. Stored by the payee, changed in the transaction of what changes a part: the invoice that is made for it,
/// the payment that comes. Whoever comes first gets what is left; what is granted is kept until it is paid or can't be paid any more,
/// so that filled and reserved together never exceed what is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fills {
    v: Version,
    request: RecordHash,
    asked: PaymentRequest,
    parts: BTreeMap<RecordId, Kept>,
    filled: Total,
    reserved: Total,
    /// What came although there was no room for it.
    surplus: Total,
    cancelled: bool,
}

impl Fills {
    /// Nothing was paid yet of the request with this hash.
    #[must_use]
    pub fn new(request: RecordHash, asked: PaymentRequest) -> Self {
        Self {
            v: Version,
            request,
            asked,
            parts: BTreeMap::new(),
            filled: Total::ZERO,
            reserved: Total::ZERO,
            surplus: Total::ZERO,
            cancelled: false,
        }
    }

    /// The request.
    #[must_use]
    pub fn asked(&self) -> &PaymentRequest {
        &self.asked
    }

    /// What was paid; never more than is asked for.
    #[must_use]
    pub fn filled(&self) -> Total {
        self.filled
    }

    /// What is being paid.
    #[must_use]
    pub fn reserved(&self) -> Total {
        self.reserved
    }

    /// What came outside although there was no room for it any more: to be given back, or kept with thanks.
    #[must_use]
    pub fn surplus(&self) -> Total {
        self.surplus
    }

    /// What became of a part.
    #[must_use]
    pub fn part(&self, id: RecordId) -> Option<(PartStage, Amount)> {
        self.parts.get(&id).map(|kept| (kept.stage, kept.amount))
    }

    /// What can still be granted; without end if nothing is said of that.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        let most = self.asked.amount.most()?.minor();
        let turns = match (&self.asked.every, self.asked.payer) {
            (None, _) => 1,
            (Some(every), Some(_)) => u64::from(every.count.unwrap_or(MAX_TURNS)),
            // Everybody may pay every turn.
            (Some(_), None) => return None,
        };
        let taken = self.filled.minor().saturating_add(self.reserved.minor());
        Some(most.saturating_mul(turns).saturating_sub(taken))
    }

    /// Whether all that is asked for was paid.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.left() == Some(0) && self.reserved == Total::ZERO
    }

    /// Whether more is welcome at `now`.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        !self.cancelled && !self.is_full() && !self.asked.has_expired(now)
    }

    /// What the payee signs and publishes of it.
    #[must_use]
    pub fn state(&self, serial: Serial, now: Timestamp) -> RequestState {
        RequestState {
            v: Version,
            request: self.request,
            payee: self.asked.payee,
            filled: self.filled,
            reserved: self.reserved,
            open: self.is_open(now),
            serial,
            at: now,
        }
    }

    /// The payee takes the request back: nothing more is granted. What is being paid may still be paid.
    pub fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// Grants a part as much as is left of what it asks for, and keeps that for it. The same part again is granted the same again, by
    /// whichever record it is asked for.
    ///
    /// # Errors
    /// Why nothing of it should be paid. Nothing has changed then.
    pub fn grant(&mut self, part: &Part, now: Timestamp) -> Result<Amount, PartReason> {
        if let Some(kept) = self.parts.get(&part.id) {
            let same = kept.payer == Some(part.from) && kept.turn == part.turn;
            return match kept.stage {
                _ if !same => Err(PartReason::Closed),
                PartStage::Reserved => Ok(kept.amount),
                PartStage::Paid => Err(PartReason::Paid),
                PartStage::Ended => Err(PartReason::Ended),
            };
        }
        self.check(part, now)?;
        let amount = self.room(part.amount)?;
        self.keep(part.id, Some(part.from), part.turn, amount)
    }

    /// Grants a part to a guest: somebody without a key, who pays outside under this name, as by an invoice of Lightning that is made for
    /// it. Only what asks everybody, once, is paid so. The same name again is granted the same again.
    ///
    /// # Errors
    /// Why nothing of it should be paid. Nothing has changed then.
    pub fn grant_guest(
        &mut self,
        id: RecordId,
        asked: Amount,
        now: Timestamp,
    ) -> Result<Amount, PartReason> {
        if let Some(kept) = self.parts.get(&id) {
            return match kept.stage {
                _ if kept.payer.is_some() => Err(PartReason::Closed),
                PartStage::Reserved => Ok(kept.amount),
                PartStage::Paid => Err(PartReason::Paid),
                PartStage::Ended => Err(PartReason::Ended),
            };
        }
        if self.cancelled || self.asked.payer.is_some() {
            return Err(PartReason::Closed);
        }
        if self.asked.every.is_some() {
            return Err(PartReason::WrongTurn);
        }
        if self.asked.has_expired(now) {
            return Err(PartReason::Expired);
        }
        if self.is_busy(None, MAX_OPEN_PARTS_OF_GUESTS) {
            return Err(PartReason::Busy);
        }
        let amount = self.room(asked)?;
        self.keep(id, None, None, amount)
    }

    /// Keeps so much for a part.
    fn keep(
        &mut self,
        id: RecordId,
        payer: Option<UserKey>,
        turn: Option<u32>,
        amount: Amount,
    ) -> Result<Amount, PartReason> {
        let reserved = self.reserved.grow(amount).map_err(|_| PartReason::Full)?;
        // What is filled must be countable too, once this is paid.
        let all = reserved.minor().checked_add(self.filled.minor());
        all.and_then(|minor| Total::from_minor(minor).ok())
            .ok_or(PartReason::Full)?;
        self.reserved = reserved;
        let stage = PartStage::Reserved;
        let kept = Kept {
            payer,
            amount,
            turn,
            stage,
        };
        self.parts.insert(id, kept);
        Ok(amount)
    }

    /// Whether as many parts are kept or being paid as may be, of all or of this payer.
    fn is_busy(&self, payer: Option<UserKey>, most: usize) -> bool {
        let open = |kept: &&Kept| kept.stage == PartStage::Reserved;
        let of_one = |kept: &&Kept| open(kept) && kept.payer == payer;
        self.parts.len() >= MAX_KEPT_PARTS
            || self.parts.values().filter(open).count() >= MAX_OPEN_PARTS
            || self.parts.values().filter(of_one).count() >= most
    }

    fn check(&self, part: &Part, now: Timestamp) -> Result<(), PartReason> {
        if self.cancelled || part.request != self.request || !self.asked.asks(part.from) {
            return Err(PartReason::Closed);
        }
        if self.asked.has_expired(now) {
            return Err(PartReason::Expired);
        }
        let due = self.asked.turn_due(now);
        let turn_fits = match part.turn {
            None => self.asked.every.is_none(),
            Some(turn) if self.has_turn(part.from, turn, PartStage::Paid) => {
                return Err(PartReason::Paid);
            }
            Some(turn) => {
                let free = !self.has_turn(part.from, turn, PartStage::Reserved);
                due.is_some_and(|due| turn <= due) && free
            }
        };
        if !turn_fits {
            return Err(PartReason::WrongTurn);
        }
        if self.is_busy(Some(part.from), MAX_OPEN_PARTS_OF_ONE) {
            return Err(PartReason::Busy);
        }
        Ok(())
    }

    /// Whether somebody has a part for a turn that has got so far.
    fn has_turn(&self, payer: UserKey, turn: u32, stage: PartStage) -> bool {
        let has = |kept: &Kept| {
            kept.payer == Some(payer) && kept.turn == Some(turn) && kept.stage == stage
        };
        self.parts.values().any(has)
    }

    /// How much of what is offered there is room for.
    fn room(&self, offered: Amount) -> Result<Amount, PartReason> {
        let left = self.left().unwrap_or(u64::MAX);
        if left == 0 {
            return Err(PartReason::Full);
        }
        let offered = offered.minor();
        let (least, most) = match &self.asked.amount {
            Goal::Exact(amount) => (amount.minor(), Some(amount.minor())),
            Goal::Target { min, .. } => (min.map_or(1, Amount::minor).min(left), None),
            Goal::Open { min, max } => (min.map_or(1, Amount::minor), max.map(Amount::minor)),
        };
        if most.is_some_and(|most| offered > most) {
            return Err(PartReason::TooLarge);
        }
        if offered < least {
            return Err(PartReason::TooSmall);
        }
        // What is left may be less than an exact amount: somebody else is paying it.
        if left < least {
            return Err(PartReason::Full);
        }
        Amount::from_minor(offered.min(left)).map_err(|_| PartReason::Full)
    }

    /// A part was paid, in credit or outside: it counts once, whoever says so how often. Less than was granted counts as what it is; what
    /// comes late, or is more, counts as far as there is room, and the rest is surplus. Returns whether it changed anything.
    ///
    /// # Errors
    /// [`LedgerError::PartUnknown`]; [`LedgerError::TotalOverflow`]. Nothing has changed then.
    pub fn paid(&mut self, id: RecordId, amount: Amount) -> Result<bool, LedgerError> {
        let kept = self.parts.get(&id).ok_or(LedgerError::PartUnknown)?;
        let reserved = match kept.stage {
            PartStage::Paid => return Ok(false),
            PartStage::Reserved => less(self.reserved, kept.amount)?,
            PartStage::Ended => self.reserved,
        };
        let mut next = self.clone();
        next.reserved = reserved;
        next.count(amount)?;
        if let Some(kept) = next.parts.get_mut(&id) {
            kept.stage = PartStage::Paid;
            kept.amount = amount;
        }
        *self = next;
        Ok(true)
    }

    /// Something came that nobody had asked for a part for, and the payee noted it by hand: cash, a transfer. It counts once under its
    /// name, as far as there is room; the rest is surplus. What is kept for others stays kept. Returns whether it changed anything.
    ///
    /// # Errors
    /// [`LedgerError::TotalOverflow`]. Nothing has changed then.
    pub fn came(&mut self, id: RecordId, amount: Amount) -> Result<bool, LedgerError> {
        if self.parts.contains_key(&id) {
            return Ok(false);
        }
        let mut next = self.clone();
        next.count(amount)?;
        let kept = Kept {
            payer: None,
            amount,
            turn: None,
            stage: PartStage::Paid,
        };
        next.parts.insert(id, kept);
        *self = next;
        Ok(true)
    }

    /// Adds what came, as far as there is room for it.
    fn count(&mut self, amount: Amount) -> Result<(), LedgerError> {
        let counts = self.left().unwrap_or(u64::MAX).min(amount.minor());
        if let Ok(counts) = Amount::from_minor(counts) {
            self.filled = self.filled.grow(counts)?;
        }
        if let Ok(beyond) = Amount::from_minor(amount.minor() - counts) {
            self.surplus = self.surplus.grow(beyond)?;
        }
        Ok(())
    }

    /// A part can't be paid any more: its invoice has expired and nothing is promised on it, or its payer gave up. What was kept for it is
    /// free for others. Returns whether it changed anything.
    ///
    /// # Errors
    /// [`LedgerError::PartUnknown`].
    pub fn ended(&mut self, id: RecordId) -> Result<bool, LedgerError> {
        let kept = self.parts.get_mut(&id).ok_or(LedgerError::PartUnknown)?;
        if kept.stage != PartStage::Reserved {
            return Ok(false);
        }
        let reserved = less(self.reserved, kept.amount)?;
        kept.stage = PartStage::Ended;
        self.reserved = reserved;
        Ok(true)
    }
}

fn less(total: Total, amount: Amount) -> Result<Total, LedgerError> {
    let rest = total.minor().checked_sub(amount.minor());
    Total::from_minor(rest.ok_or(LedgerError::TotalOverflow)?)
}
