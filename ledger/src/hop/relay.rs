//! Two promises that belong together, and what follows from what becomes of either.

use serde::{Deserialize, Serialize};

use super::budget::Tally;
use super::errand::{Errand, give_up};
use super::policy::HopPolicy;
use super::{Context, Neighbour, Step, code_of, given_up};
use crate::amount::Amount;
use crate::digest::{PaymentHash, Preimage};
use crate::error::LedgerError;
use crate::jws::{RecordHash, Version};
use crate::key::UserKey;
use crate::onion::{Failure, Opened};
use crate::pair::{Event, Pair, Standing};
use crate::planted::{self, Bug};
use crate::record::{LogProof, ReleaseReason};
use crate::text::Layers;
use crate::unit::Unit;

/// A promise that came, and the one that was made onward for it. Stored under both their hashes; it holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    pub(super) v: Version,
    /// The payment.
    pub hash: PaymentHash,
    /// In what it came.
    pub unit: Unit,
    /// In what it was promised onward, if that is another unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub give: Option<Unit>,
    /// What came.
    pub incoming: Leg,
    /// What was promised onward.
    pub outgoing: Leg,
    /// Whether the payer asked to be shown that promise.
    pub reply: bool,
    /// How far it is.
    pub stage: RelayStage,
    /// How many answers were passed back.
    pub(super) replies: u8,
}

/// One side of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leg {
    /// The friend.
    pub peer: UserKey,
    /// The promise between the two.
    pub iou: RecordHash,
    /// How much.
    pub amount: Amount,
}

/// How far a relay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RelayStage {
    /// Promised onward, undecided.
    Sent,
    /// It is due on at least one side; the other side must get the proof.
    Due {
        /// What was published.
        preimage: Preimage,
    },
    /// Both sides have the proof: their pairs book it.
    Paid,
    /// The promise onward was released, and then the one that came.
    Returned,
}

impl Relay {
    /// The unit of the promise onward.
    #[must_use]
    pub fn unit_onward(&self) -> &Unit {
        self.give.as_ref().unwrap_or(&self.unit)
    }

    /// What the owner earns if it is paid, in minor units. Nothing can be said where units are exchanged: then it is 0.
    #[must_use]
    pub fn fee(&self) -> u64 {
        if self.give.is_some() {
            return 0;
        }
        let (came, went) = (self.incoming.amount, self.outgoing.amount);
        came.minor().saturating_sub(went.minor())
    }

    /// Whether nothing more can follow: it need not be kept.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.stage, RelayStage::Paid | RelayStage::Returned)
    }

    /// What was published, if a side still waits for its proof: find that in a log, and give it to [`published`].
    #[must_use]
    pub fn wanted(&self) -> Option<Preimage> {
        match self.stage {
            RelayStage::Due { preimage } => Some(preimage),
            _ => None,
        }
    }

    fn check(&self, incoming: &Pair, outgoing: &Pair) -> Result<(), LedgerError> {
        if incoming.peer() == self.incoming.peer && outgoing.peer() == self.outgoing.peer {
            Ok(())
        } else {
            Err(LedgerError::ForeignChannel)
        }
    }
}

/// Does what follows from what either pair has just learnt: published on one side, the proof goes to the other; released by the
/// hop after, the promise that came is released with its failure under a layer of the owner's own. `events` are those of the pair
/// with the hop after that came with the change; both go into the same transaction. `tally` belongs to the friend who promised.
///
/// # Errors
/// [`LedgerError::ForeignChannel`] for other pairs than the relay's; what hinders every signature.
pub fn follow(
    relay: &mut Relay,
    mut incoming: Neighbour<'_>,
    outgoing: Neighbour<'_>,
    events: &[Event],
    policy: &HopPolicy,
    tally: &mut Tally,
    context: &Context<'_>,
) -> Result<Step, LedgerError> {
    relay.check(incoming.pair, outgoing.pair)?;
    if relay.is_over() {
        return Ok(Step::default());
    }
    let given = outgoing.pair.promise_given(relay.outgoing.iou);
    let held = incoming.pair.promise_held(relay.incoming.iou);
    let known = given
        .and_then(|p| p.publication())
        .or(held.and_then(|p| p.publication()));
    if let Some(publication) = known.map(|signed| signed.record().clone()) {
        let (preimage, proof) = (publication.preimage, publication.proof);
        return match proof {
            Some(proof) => published(relay, incoming, outgoing, preimage, &proof, context),
            None => Ok(Step::default()),
        };
    }
    if let Some(preimage) = merged(events, relay.outgoing.iou) {
        relay.stage = RelayStage::Due { preimage };
    }
    if relay.stage != RelayStage::Sent {
        return Ok(Step::default());
    }
    let (reason, word) = match given {
        Some(p) => match p.release() {
            Some(release) => (release.record().reason, release.record().failure.clone()),
            None if p.standing() == Standing::Expired && planted::on(Bug::GivenBackFirst) => {
                (ReleaseReason::Expired, None)
            }
            None => return Ok(Step::default()),
        },
        None => match given_up(events, relay.outgoing.iou) {
            Some(reason) => (reason, None),
            // It is gone, was never due, and no log published it in time: nothing can follow from it any more.
            None if held.is_some_and(|p| p.standing() == Standing::Expired) => {
                (ReleaseReason::Expired, None)
            }
            None => return Ok(Step::default()),
        },
    };
    let step = hand_back(relay, &mut incoming, reason, word.as_ref(), context)?;
    tally.fail(context.now, &policy.budget);
    relay.stage = RelayStage::Returned;
    Ok(step)
}

fn merged(events: &[Event], promise: RecordHash) -> Option<Preimage> {
    events.iter().find_map(|event| match event {
        Event::Merged { iou, preimage, .. } if *iou == promise => Some(*preimage),
        _ => None,
    })
}

/// Takes a proof of publication, from whichever side or from a log, to both sides: what came is claimed, what was promised is
/// booked.
///
/// # Errors
/// [`LedgerError::ProofInvalid`]; [`LedgerError::ForeignChannel`] for other pairs than the relay's; what hinders every signature.
pub fn published(
    relay: &mut Relay,
    incoming: Neighbour<'_>,
    outgoing: Neighbour<'_>,
    preimage: Preimage,
    proof: &LogProof,
    context: &Context<'_>,
) -> Result<Step, LedgerError> {
    relay.check(incoming.pair, outgoing.pair)?;
    let mut step = Step::default();
    let open = |standing| matches!(standing, Standing::Undecided | Standing::Expired);
    let held = incoming.pair.promise_held(relay.incoming.iou);
    if held.is_some_and(|p| open(p.standing())) && !planted::on(Bug::ProofKept) {
        let iou = relay.incoming.iou;
        let proof = Some(proof.clone());
        let done = incoming
            .pair
            .publish(iou, preimage, proof, incoming.pen, context.now)?;
        step.take(relay.incoming.peer, done);
    }
    let given = outgoing.pair.promise_given(relay.outgoing.iou);
    if given.is_some_and(|p| open(p.standing())) {
        let iou = relay.outgoing.iou;
        let proof = Some(proof.clone());
        let done = outgoing
            .pair
            .publish(iou, preimage, proof, outgoing.pen, context.now)?;
        step.take(relay.outgoing.peer, done);
    }
    let given = outgoing.pair.promise_given(relay.outgoing.iou);
    relay.stage = if given.is_some_and(|p| open(p.standing())) {
        // The owner may not sign there now; the proof lies with the promise that came.
        RelayStage::Due { preimage }
    } else {
        RelayStage::Paid
    };
    Ok(step)
}

/// Releases what came after what went was released.
fn hand_back(
    relay: &Relay,
    incoming: &mut Neighbour<'_>,
    reason: ReleaseReason,
    word: Option<&Layers>,
    context: &Context<'_>,
) -> Result<Step, LedgerError> {
    let iou = relay.incoming.iou;
    let Some(promise) = incoming.pair.promise_held(iou) else {
        return Ok(Step::default());
    };
    if !matches!(promise.standing(), Standing::Undecided | Standing::Expired) {
        return Ok(Step::default());
    }
    let opened = Errand::read(incoming.pair, iou, context).ok().flatten();
    let sealed = opened
        .map(|errand| speak(relay, &errand.opened, incoming.pair, reason, word, context))
        .transpose()?;
    incoming.pair.mark_forwarded(iou, false)?;
    give_up(incoming, iou, ReleaseReason::Onward, sealed, context)
}

/// The word of the hop after under a layer of the owner's, or, if there is none that can be one, the owner's own.
fn speak(
    relay: &Relay,
    opened: &Opened,
    pair: &Pair,
    reason: ReleaseReason,
    word: Option<&Layers>,
    context: &Context<'_>,
) -> Result<Layers, LedgerError> {
    if let Some(Ok(wrapped)) = word.map(|word| opened.secret.wrap_failure(word)) {
        return Ok(wrapped);
    }
    let failure = Failure::of_edge(code_of(reason), pair.me(), relay.outgoing.peer);
    opened.secret.seal_failure(&failure, &context.entropy)
}
