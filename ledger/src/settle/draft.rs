//! What the holder wants to be settled, and whether the books bear it out.

use crate::amount::Amount;
use crate::digest::PaymentHash;
use crate::error::LedgerError;
use crate::jws::RecordHash;
use crate::pair::{NewPromise, Pair};
use crate::record::{ClaimRef, Pays, SettleReason, Target, Terms};
use crate::text::{Memo, RecordId};
use crate::time::Timestamp;
use crate::unit::Unit;

/// A request to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Sixteen random bytes.
    pub id: RecordId,
    /// In what the peer owes.
    pub unit: Unit,
    /// How much is to be paid off.
    pub amount: Amount,
    /// Where it is to be paid; the holder's endpoints if there are none.
    pub targets: Vec<Target>,
    /// What is to be paid; what the unit counts if absent.
    pub pays: Option<Pays>,
    /// The payment hash of the one target, if that is a Lightning invoice.
    pub hash: Option<PaymentHash>,
    /// What it is for.
    pub memo: Option<Memo>,
    /// From then on the peer must not begin.
    pub expires: Timestamp,
}

/// What the holder's other requests keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// What they reserve of this claim ([`Demand::reserves`](super::Demand::reserves)), in minor units.
    pub reserved: u64,
    /// Whether a direct release on this hash was given to anybody and has not come back: whoever learns the preimage could book it.
    pub hash_released: bool,
}

pub(super) fn check_draft(draft: &Draft, pair: &Pair, holding: Holding) -> Result<(), LedgerError> {
    let refuse = |reason| Err(LedgerError::CannotSettle { reason });
    let invoice = draft.targets.iter().any(Target::is_invoice);
    if invoice != draft.hash.is_some() {
        return refuse(SettleReason::TargetMalformed);
    }
    if draft.hash.is_some() && holding.hash_released {
        return refuse(SettleReason::HashUsed);
    }
    match pair.surely_owed(&draft.unit) {
        0 => refuse(SettleReason::NoClaim),
        owed if owed.saturating_sub(holding.reserved) < draft.amount.minor() => {
            refuse(SettleReason::ClaimSmaller)
        }
        _ => Ok(()),
    }
}

/// A promise without logs: due if the preimage is shown to the holder.
pub(super) fn direct(draft: &Draft, hash: PaymentHash) -> NewPromise {
    NewPromise {
        unit: draft.unit.clone(),
        amount: draft.amount,
        terms: Terms {
            hash,
            logs: Vec::new(),
            deadline_ms: draft.expires.millis(),
        },
        onward: None,
    }
}

pub(super) fn claim(pair: &Pair, unit: &Unit) -> Option<ClaimRef> {
    let newest = pair.theirs().unit(unit)?.newest()?;
    let (state, hash): (_, RecordHash) = (newest.record(), newest.hash());
    Some(ClaimRef {
        epoch: state.epoch,
        seq: state.seq,
        hash,
    })
}
