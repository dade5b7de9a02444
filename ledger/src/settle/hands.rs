//! What a [`Discharge`] asks for, done to the issuer's books and signed.

use super::{Discharge, Entry};
use crate::digest::Preimage;
use crate::error::LedgerError;
use crate::hop::Neighbour;
use crate::jws::{RecordHash, Signed, Version};
use crate::pair::{Pair, Standing};
use crate::record::{AnyRecord, ReleaseReason, SettlementAnswer, SettlementSaid};
use crate::time::Timestamp;

impl Discharge {
    /// Does what these entries ask for in the issuer's books with the holder, and returns what is to be sent to the holder. Store the
    /// pair, this value and every hash of [`Entry::TakeHash`] in one transaction; send after it. Entries that were carried out before
    /// change nothing.
    ///
    /// # Errors
    /// [`LedgerError::ForeignChannel`] if the pair is not that of issuer and holder; what hinders every signature. Nothing of it may
    /// be stored then.
    pub fn carry_out(
        &self,
        entries: &[Entry],
        mut with: Neighbour<'_>,
        now: Timestamp,
    ) -> Result<Vec<AnyRecord>, LedgerError> {
        let asked = self.settlement().record();
        if (with.pair.me(), with.pair.peer()) != (asked.issuer, asked.holder) {
            return Err(LedgerError::ForeignChannel);
        }
        let mut records = Vec::new();
        for entry in entries {
            match entry {
                Entry::TakeHash(_) => {}
                Entry::Answer(said) => records.push(self.answer(said, &with, now)?),
                Entry::GiveUp { iou } => records.extend(give_up(*iou, &mut with, now)?),
                Entry::Show { iou, preimage } => {
                    records.extend(show(*iou, *preimage, &mut with, now)?);
                }
            }
        }
        Ok(records)
    }

    fn answer(
        &self,
        said: &SettlementSaid,
        with: &Neighbour<'_>,
        now: Timestamp,
    ) -> Result<AnyRecord, LedgerError> {
        with.pair.check_pen(with.pen)?;
        let answer = SettlementAnswer {
            v: Version,
            settlement: self.settlement().hash(),
            from: with.pair.me(),
            to: with.pair.peer(),
            said: said.clone(),
            at: now,
        };
        Signed::sign(answer, with.pen).map(AnyRecord::from)
    }

    /// Whether the holder's books in `pair` have the direct release of this request: it is part of their total.
    #[must_use]
    pub fn is_booked_in(&self, pair: &Pair) -> bool {
        let asked = self.settlement().record();
        let Some(iou) = asked.release else {
            return false;
        };
        match pair.promise_held(iou).map(|promise| promise.standing()) {
            // It was cleared, or is part of what is booked already.
            None => true,
            Some(Standing::Due) => {
                let unit = pair.theirs().unit(&asked.unit);
                unit.is_some_and(|unit| unit.due_unbooked() == 0)
            }
            Some(_) => false,
        }
    }
}

fn give_up(
    iou: RecordHash,
    with: &mut Neighbour<'_>,
    now: Timestamp,
) -> Result<Vec<AnyRecord>, LedgerError> {
    let standing = with
        .pair
        .promise_held(iou)
        .map(|promise| promise.standing());
    if standing != Some(Standing::Undecided) {
        return Ok(Vec::new());
    }
    with.pair
        .release(iou, ReleaseReason::Declined, None, with.pen, now)
}

fn show(
    iou: RecordHash,
    preimage: Preimage,
    with: &mut Neighbour<'_>,
    now: Timestamp,
) -> Result<Vec<AnyRecord>, LedgerError> {
    let Some(promise) = with.pair.promise_held(iou) else {
        return Ok(Vec::new());
    };
    if let Some(shown) = promise.publication() {
        return Ok(vec![shown.clone().into()]);
    }
    let shown = with.pair.publish(iou, preimage, None, with.pen, now)?;
    Ok(shown.records)
}
