//! What a promise asks of its holder, and saying no.

use super::{Context, Neighbour, Step};
use crate::error::LedgerError;
use crate::jws::RecordHash;
use crate::onion::{self, Failure, FailureCode, Opened, Payload};
use crate::pair::{Pair, Standing};
use crate::record::{ConditionalIou, ReleaseReason};
use crate::text::Layers;

/// A promise that the owner holds, and what its layers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    pub(super) iou: RecordHash,
    pub(super) promise: ConditionalIou,
    pub(super) opened: Opened,
}

impl Errand {
    /// Opens the layers of a promise that the owner holds. `None` if it carries none: it asks for nothing.
    ///
    /// # Errors
    /// [`LedgerError::PromiseUnknown`]; [`LedgerError::LayersInvalid`] if the layers can't be opened: then [`decline`] it.
    pub fn read(
        pair: &Pair,
        iou: RecordHash,
        context: &Context<'_>,
    ) -> Result<Option<Self>, LedgerError> {
        let promise = pair.promise_held(iou).ok_or(LedgerError::PromiseUnknown)?;
        let promise = promise.iou().record().clone();
        let Some(layers) = &promise.onward else {
            return Ok(None);
        };
        let opened = onion::open(layers, &promise.terms.hash, &pair.me(), context.secrets)?;
        Ok(Some(Self {
            iou,
            promise,
            opened,
        }))
    }

    /// The promise that carries it.
    #[must_use]
    pub fn promise(&self) -> &ConditionalIou {
        &self.promise
    }

    /// The hash of that promise.
    #[must_use]
    pub fn iou(&self) -> RecordHash {
        self.iou
    }

    /// The layers for the hop after the owner.
    #[must_use]
    pub fn rest(&self) -> &Layers {
        &self.opened.rest
    }

    /// What to do.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.opened.payload
    }
}

/// The promises of a friend that wait for the owner to act on their layers: undecided and not passed on. After a crash each of them
/// is looked at again; those that a [`Collection`](super::Collection) holds are among them.
#[must_use]
pub fn errands(pair: &Pair) -> Vec<RecordHash> {
    let units = pair.theirs().units();
    let promises = units.flat_map(|(_, side)| side.promises());
    promises
        .filter(|p| p.standing() == Standing::Undecided && !p.is_forwarded())
        .filter(|p| p.iou().record().onward.is_some())
        .map(|p| p.iou().hash())
        .collect()
}

/// Gives a promise up and tells the payer why, if its layers can be opened.
///
/// Nothing happens if an invoice is unknown to a store that was put together again: it may have been forgotten, and its preimage
/// published. Then the logs decide.
///
/// # Errors
/// As [`Pair::release`]: above all, that it is due, or was passed on.
pub fn decline(
    mut from: Neighbour<'_>,
    iou: RecordHash,
    failure: Failure,
    context: &Context<'_>,
) -> Result<Step, LedgerError> {
    let promise = from
        .pair
        .promise_held(iou)
        .ok_or(LedgerError::PromiseUnknown)?;
    let forgotten = promise.is_found() && failure.code == FailureCode::UnknownInvoice;
    if promise.standing() == Standing::Released || forgotten {
        return Ok(Step::default());
    }
    let sealed = match Errand::read(from.pair, iou, context) {
        Ok(Some(errand)) => Some(
            errand
                .opened
                .secret
                .seal_failure(&failure, &context.entropy)?,
        ),
        // Nobody can be told; the hop before will speak for itself.
        Ok(None) | Err(LedgerError::LayersInvalid(_)) => None,
        Err(error) => return Err(error),
    };
    give_up(&mut from, iou, ReleaseReason::Declined, sealed, context)
}

/// Releases a promise that the owner holds.
pub(super) fn give_up(
    from: &mut Neighbour<'_>,
    iou: RecordHash,
    reason: ReleaseReason,
    sealed: Option<Layers>,
    context: &Context<'_>,
) -> Result<Step, LedgerError> {
    let records = from
        .pair
        .release(iou, reason, sealed, from.pen, context.now)?;
    let mut step = Step::default();
    step.send(from.pair.peer(), records);
    Ok(step)
}
