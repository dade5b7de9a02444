//! Passing promises on, and taking back what becomes of them: both sides in the one transaction in which either was heard of.

use std::collections::BTreeSet;

use atomicity_ledger::hop::{self, Context, Errand, HopPolicy, Neighbour, Relay, Step};
use atomicity_ledger::onion::{Failure, FailureCode, Payload};
use atomicity_ledger::pair::Event;
use atomicity_ledger::record::Reply;
use atomicity_ledger::{LedgerError, PaymentHash, RecordHash};

use super::change::Loaded;
use super::collect;
use super::intake::Intake;
use crate::error::PluginError;

/// What the events say about promises that may have been passed on.
fn concerned(events: &[Event]) -> Vec<RecordHash> {
    let named = events.iter().filter_map(|event| match event {
        Event::Released { iou, .. }
        | Event::Merged { iou, .. }
        | Event::Due { iou, .. }
        | Event::Expired { iou, .. } => Some(*iou),
        Event::Reply(reply) => Some(reply.iou),
        _ => None,
    });
    let named: BTreeSet<RecordHash> = named.collect();
    named.into_iter().collect()
}

/// Does what follows from what was heard: promises onward, releases and proofs back.
///
/// # Errors
/// [`PluginError::Database`].
pub(super) async fn work(
    intake: &mut Intake<'_>,
    invoices: &BTreeSet<PaymentHash>,
) -> Result<(), PluginError> {
    let ious = concerned(&intake.events);
    if !ious.is_empty() {
        for relay in intake.change.relays_about(&ious).await? {
            intake.passed_on.insert(relay.outgoing.iou);
            follow(intake, relay).await?;
        }
    }
    collect::follow(intake, invoices).await?;
    let peer = intake.peer;
    let errands = intake.change.pair(&peer).map(|l| hop::errands(&l.pair));
    for iou in errands.unwrap_or_default() {
        forward(intake, iou).await?;
    }
    Ok(())
}

/// Both sides of a relay, taken out of the change; none if a side is not kept here.
async fn both(
    intake: &mut Intake<'_>,
    relay: &Relay,
) -> Result<Option<(Loaded, Loaded)>, PluginError> {
    let (came, went) = (relay.incoming.peer, relay.outgoing.peer);
    intake.change.lock(&BTreeSet::from([came, went])).await?;
    let Some(incoming) = intake.change.take(&came) else {
        return Ok(None);
    };
    let Some(outgoing) = intake.change.take(&went) else {
        intake.change.put(incoming);
        return Ok(None);
    };
    Ok(Some((incoming, outgoing)))
}

/// Keeps what a step did to these books, or nothing of it. `before` are the same books, in the same order.
pub(super) fn settle(
    intake: &mut Intake<'_>,
    books: Vec<Loaded>,
    before: Vec<Kept>,
    step: Result<Step, LedgerError>,
) -> Option<Step> {
    for (mut loaded, before) in books.into_iter().zip(before) {
        if step.is_err() {
            before.restore(&mut loaded);
        }
        intake.change.put(loaded);
    }
    match step {
        Ok(step) => {
            for (to, record) in &step.send {
                intake.change.send(*to, record);
            }
            for (peer, event) in &step.events {
                intake.change.tell_event(*peer, event);
            }
            Some(step)
        }
        Err(error) => {
            tracing::debug!(
                code = error.code(),
                "a promise is not passed on now: {error}"
            );
            None
        }
    }
}

/// What must not be kept of a step that failed.
pub(super) struct Kept {
    pair: atomicity_ledger::pair::Pair,
    tally: hop::Tally,
}

impl Kept {
    pub(super) fn of(loaded: &Loaded) -> Self {
        Self {
            pair: loaded.pair.clone(),
            tally: loaded.tally.clone(),
        }
    }

    fn restore(self, loaded: &mut Loaded) {
        loaded.pair = self.pair;
        loaded.tally = self.tally;
    }
}

async fn follow(intake: &mut Intake<'_>, mut relay: Relay) -> Result<(), PluginError> {
    let Some((mut incoming, mut outgoing)) = both(intake, &relay).await? else {
        return Ok(());
    };
    let before = vec![Kept::of(&incoming), Kept::of(&outgoing)];
    let keeper = intake.change.keeper.clone();
    let config = intake.agent.config();
    let budget = incoming.settings.budget(&relay.unit, config);
    let policy = outgoing
        .settings
        .hop_policy(relay.outgoing.peer, budget, config);
    let logs = intake.logs.clone();
    let context = intake.context(&keeper, &logs);
    let events = if intake.peer == relay.outgoing.peer {
        intake.events.clone()
    } else {
        Vec::new()
    };
    let step = hop::follow(
        &mut relay,
        Neighbour {
            pair: &mut incoming.pair,
            pen: &keeper.pen,
        },
        Neighbour {
            pair: &mut outgoing.pair,
            pen: &keeper.pen,
        },
        &events,
        &policy,
        &mut incoming.tally,
        &context,
    );
    let step = step.map(|mut step| {
        let onward = relay.outgoing.iou;
        let mine = |reply: &&Reply| reply.iou == onward;
        let replies = events.iter().filter_map(|event| match event {
            Event::Reply(reply) => Some(reply.as_ref()),
            _ => None,
        });
        for reply in replies.filter(mine) {
            let incoming = Neighbour {
                pair: &mut incoming.pair,
                pen: &keeper.pen,
            };
            // An answer that can't be passed on is not worth a payment.
            if let Ok(more) = hop::pass_on(&mut relay, &incoming, reply, &context) {
                step.send.extend(more.send);
            }
        }
        step
    });
    if settle(intake, vec![incoming, outgoing], before, step).is_some() {
        intake.change.keep_relay(relay);
    }
    Ok(())
}

async fn forward(intake: &mut Intake<'_>, iou: RecordHash) -> Result<(), PluginError> {
    let peer = intake.peer;
    let keeper = intake.change.keeper.clone();
    let logs = intake.logs.clone();
    let context = intake.context(&keeper, &logs);
    let Some(mut incoming) = intake.change.take(&peer) else {
        return Ok(());
    };
    let before = Kept::of(&incoming);
    let errand = match Errand::read(&incoming.pair, iou, &context) {
        Ok(Some(errand)) => errand,
        Ok(None) => {
            intake.change.put(incoming);
            return Ok(());
        }
        Err(_) => {
            let from = Neighbour {
                pair: &mut incoming.pair,
                pen: &keeper.pen,
            };
            let failure = Failure::here(FailureCode::Temporary);
            let step = hop::decline(from, iou, failure, &context);
            settle(intake, vec![incoming], vec![before], step);
            return Ok(());
        }
    };
    let next = match *errand.payload() {
        Payload::Forward { next, .. } | Payload::Exchange { next, .. } => next,
        Payload::Deliver { .. } => {
            intake.change.put(incoming);
            return collect::take_part(intake, &errand).await;
        }
        // Whoever was away takes it as it is.
        Payload::Gift { .. } => {
            intake.change.put(incoming);
            return Ok(());
        }
    };
    let mut outgoing = None;
    if next != peer {
        intake.change.lock(&BTreeSet::from([next])).await?;
        outgoing = intake.change.take(&next);
    }
    pass(intake, errand, (incoming, outgoing), before, &context).await
}

async fn pass(
    intake: &mut Intake<'_>,
    errand: Errand,
    (mut incoming, mut outgoing): (Loaded, Option<Loaded>),
    before: Kept,
    context: &Context<'_>,
) -> Result<(), PluginError> {
    let keeper = intake.change.keeper.clone();
    let before = std::iter::once(before).chain(outgoing.as_ref().map(Kept::of));
    let before: Vec<Kept> = before.collect();
    let config = intake.agent.config();
    let budget = incoming.settings.budget(&errand.promise().unit, config);
    let mut policy = outgoing.as_ref().map_or_else(HopPolicy::none, |o| {
        o.settings.hop_policy(o.pair.peer(), budget, config)
    });
    policy.exchange = keeper.settings.rates_at(context.now).to_vec();
    let mut relay = None;
    let step = hop::forward(
        &mut relay,
        Neighbour {
            pair: &mut incoming.pair,
            pen: &keeper.pen,
        },
        outgoing.as_mut().map(|outgoing| Neighbour {
            pair: &mut outgoing.pair,
            pen: &keeper.pen,
        }),
        &errand,
        &policy,
        &mut incoming.tally,
        context,
    );
    let books = std::iter::once(incoming).chain(outgoing).collect();
    let kept = settle(intake, books, before, step);
    if let Some(relay) = relay.filter(|_| kept.is_some()) {
        intake.agent.metrics().record("forwarded");
        intake.change.keep_relay(relay);
    }
    Ok(())
}
