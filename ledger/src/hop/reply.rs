//! Showing a payer what they asked for: the last hop's promise to a payee who is away.

use super::errand::Errand;
use super::relay::{Relay, RelayStage};
use super::{Context, Neighbour, Step};
use crate::error::LedgerError;
use crate::jws::{Signed, Version};
use crate::onion::Answer;
use crate::pair::Pair;
use crate::record::{AnyRecord, Reply};
use crate::text::Layers;

/// The most answers to one promise that are passed on.
const MAX_REPLIES: u8 = 4;

/// Shows the payer the promise to the hop after, with that friend's credit line and what shows who may sign both. Nothing if the
/// payer did not ask.
///
/// # Errors
/// [`LedgerError::TooLarge`] if it does not fit into an answer; what hinders every signature.
pub fn answer(
    relay: &Relay,
    incoming: &Neighbour<'_>,
    outgoing: &Pair,
    context: &Context<'_>,
) -> Result<Step, LedgerError> {
    let given = outgoing.promise_given(relay.outgoing.iou);
    let Some(promise) = given.filter(|_| relay.reply && relay.stage == RelayStage::Sent) else {
        return Ok(Step::default());
    };
    let mut records = vec![promise.iou().jws().to_owned()];
    let mut signers = vec![(outgoing.own_credentials(), promise.iou().kid())];
    let unit = outgoing.theirs().unit(relay.unit_onward());
    if let Some(line) = unit.and_then(|u| u.line()) {
        records.push(line.jws().to_owned());
        signers.push((outgoing.peer_credentials(), line.kid()));
    }
    for side in [outgoing.own(), outgoing.theirs()] {
        records.extend(side.book().map(|book| book.jws().to_owned()));
    }
    for (credentials, key) in signers {
        for credential in credentials.about(key) {
            if !records.contains(&credential) {
                records.push(credential);
            }
        }
    }
    let answer = Answer::new(records)?;
    let Some(errand) = Errand::read(incoming.pair, relay.incoming.iou, context)? else {
        return Ok(Step::default());
    };
    let body = errand.opened.secret.seal_reply(&answer, &context.entropy)?;
    reply(relay, incoming, body, context)
}

/// Passes an answer of the hop after on, under a layer of the owner's.
///
/// # Errors
/// [`LedgerError::PromiseUnknown`] if it answers another promise; [`LedgerError::LayersInvalid`] if it is none;
/// [`LedgerError::NoSlot`] for the fifth; what hinders every signature.
pub fn pass_on(
    relay: &mut Relay,
    incoming: &Neighbour<'_>,
    answered: &Reply,
    context: &Context<'_>,
) -> Result<Step, LedgerError> {
    if answered.iou != relay.outgoing.iou || answered.from != relay.outgoing.peer {
        return Err(LedgerError::PromiseUnknown);
    }
    if relay.replies >= MAX_REPLIES {
        return Err(LedgerError::NoSlot {
            unit: relay.unit.clone(),
            why: "four answers to one promise were passed on",
        });
    }
    let Some(errand) = Errand::read(incoming.pair, relay.incoming.iou, context)? else {
        return Ok(Step::default());
    };
    let body = errand.opened.secret.wrap_reply(&answered.body)?;
    let step = reply(relay, incoming, body, context)?;
    relay.replies += 1;
    Ok(step)
}

fn reply(
    relay: &Relay,
    incoming: &Neighbour<'_>,
    body: Layers,
    context: &Context<'_>,
) -> Result<Step, LedgerError> {
    let reply = Signed::sign(
        Reply {
            v: Version,
            from: incoming.pair.me(),
            to: relay.incoming.peer,
            iou: relay.incoming.iou,
            body,
            at: context.now,
        },
        incoming.pen,
    )?;
    let mut step = Step::default();
    step.send(relay.incoming.peer, [AnyRecord::from(reply)]);
    Ok(step)
}
