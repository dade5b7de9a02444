//! Passing a promise on: everything that is checked before, and both sides in one step.

use super::budget::{Tally, has_room};
use super::errand::{Errand, give_up};
use super::policy::HopPolicy;
use super::relay::{Leg, Relay, RelayStage};
use super::reply::answer;
use super::{Context, Neighbour, Step};
use crate::amount::{Amount, Total};
use crate::error::LedgerError;
use crate::jws::{Signed, Version};
use crate::key::UserKey;
use crate::onion::{Failure, FailureCode, Payload};
use crate::pair::{NewPromise, Pair, Promise, Standing};
use crate::planted::{self, Bug};
use crate::record::{AnyRecord, ConditionalIou, Rate, ReleaseReason, fee};
use crate::unit::Unit;

/// What a layer asks a middle hop to do.
#[derive(Clone, Copy)]
struct Order<'a> {
    next: UserKey,
    /// Of the promise onward.
    unit: &'a Unit,
    amount: Amount,
    reply: bool,
}

impl<'a> Order<'a> {
    fn of(errand: &'a Errand) -> Option<Self> {
        match errand.payload() {
            Payload::Forward {
                next,
                amount,
                reply,
            } => Some(Self {
                next: *next,
                unit: &errand.promise.unit,
                amount: *amount,
                reply: *reply,
            }),
            Payload::Exchange {
                next,
                unit,
                amount,
                reply,
            } => Some(Self {
                next: *next,
                unit,
                amount: *amount,
                reply: *reply,
            }),
            Payload::Deliver { .. } | Payload::Gift { .. } => None,
        }
    }
}

/// Does what the layers of a promise ask: promises the same onward, and marks the promise that came; or gives that up and tells the
/// payer why. Both happen in one step, or nothing does.
/// If the payer asked to see the promise onward, it goes back to them with this.
///
/// `outgoing` is the friend whom the layers name, if the owner has one of that key; `relay` is what is stored for this promise,
/// `None` before the first time; `tally` belongs to the friend who promised. Called again, it returns the promise onward as long as
/// that friend has not acknowledged it. A store that was put together again, and knows the promise onward but not the relay, finds
/// it by its layers and promises nothing twice; until that friend has answered its new book, nothing is passed on or given up here.
/// After a recovery the logs are read before anything is passed on.
///
/// # Errors
/// [`LedgerError::LayersInvalid`] for layers that ask for something else; [`LedgerError::ForeignChannel`] if `outgoing` is another
/// friend than the layers name; what hinders every signature.
pub fn forward(
    relay: &mut Option<Relay>,
    mut incoming: Neighbour<'_>,
    mut outgoing: Option<Neighbour<'_>>,
    errand: &Errand,
    policy: &HopPolicy,
    tally: &mut Tally,
    context: &Context<'_>,
) -> Result<Step, LedgerError> {
    let order = Order::of(errand).ok_or(LedgerError::LayersInvalid(
        "they don't ask for a promise onward",
    ))?;
    if outgoing
        .as_ref()
        .is_some_and(|o| o.pair.peer() != order.next)
    {
        return Err(LedgerError::ForeignChannel);
    }
    if let Some(relay) = relay {
        return again(relay, &incoming, outgoing.as_ref(), context);
    }
    let promise = incoming.pair.promise_held(errand.iou);
    let promise = promise.ok_or(LedgerError::PromiseUnknown)?;
    if promise.standing() != Standing::Undecided || promise.is_forwarded() {
        return Ok(Step::default());
    }
    if let Some(o) = outgoing.as_mut() {
        if let Some(known) = made_before(o.pair, errand, order) {
            if !is_covered(&errand.promise, order, policy) {
                // Whoever sends layers again for less can't have that promise connected with it. And if the rate has changed since,
                // nothing is given up either for which something was promised onward: the log decides both.
                return Ok(Step::default());
            }
            incoming.pair.mark_forwarded(errand.iou, true)?;
            o.pair.connect_found(known.hash());
            let found = relay.insert(relay_of(&incoming, errand, order, &known));
            return again(found, &incoming, outgoing.as_ref(), context);
        }
        if o.pair.is_waiting() {
            // A store that was put together again learns from that friend's answer what it had promised onward.
            return Ok(Step::default());
        }
    }
    let promised = check(
        &incoming,
        outgoing.as_ref().map(|o| &*o.pair),
        errand,
        order,
        policy,
        tally,
        context,
    )
    .and_then(|ceiling| {
        let outgoing = outgoing.as_mut();
        promise_onward(&mut incoming, outgoing, errand, order, ceiling, context)
    });
    let failure = match promised {
        Ok(iou) => {
            let new = relay.insert(relay_of(&incoming, errand, order, &iou));
            return again(new, &incoming, outgoing.as_ref(), context);
        }
        Err(failure) => failure,
    };
    let sealed = errand
        .opened
        .secret
        .seal_failure(&failure, &context.entropy)?;
    let step = give_up(
        &mut incoming,
        errand.iou,
        ReleaseReason::Onward,
        Some(sealed),
        context,
    )?;
    tally.fail(context.now, &policy.budget);
    Ok(step)
}

/// What was promised onward, and the answer to a payer who asks for it, as long as nobody says that it arrived.
fn again(
    relay: &Relay,
    incoming: &Neighbour<'_>,
    outgoing: Option<&Neighbour<'_>>,
    context: &Context<'_>,
) -> Result<Step, LedgerError> {
    let mut step = Step::default();
    let Some(outgoing) = outgoing else {
        return Ok(step);
    };
    let promise = outgoing.pair.promise_given(relay.outgoing.iou);
    let unheard = |p: &&Promise| p.standing() == Standing::Undecided && !p.is_acknowledged();
    let Some(promise) = promise.filter(unheard) else {
        return Ok(step);
    };
    step.send(
        relay.outgoing.peer,
        [AnyRecord::from(promise.iou().clone())],
    );
    match answer(relay, incoming, outgoing.pair, context) {
        Ok(answer) => step.join(answer),
        // The payer then sees nothing, and does not publish.
        Err(LedgerError::TooLarge { .. } | LedgerError::LayersInvalid(_)) => {}
        Err(error) => return Err(error),
    }
    Ok(step)
}

/// A promise onward that was made for these very layers: a store that was put together again may know it, and not why it was made.
/// Whoever sends layers again can't have another promise connected with it.
fn made_before(
    outgoing: &Pair,
    errand: &Errand,
    order: Order<'_>,
) -> Option<Signed<ConditionalIou>> {
    let promises = outgoing.own().unit(order.unit)?.promises();
    let exchanged = order.unit != &errand.promise.unit;
    let same = |promise: &&Promise| {
        let promised = promise.iou().record();
        promise.is_found()
            && promised.terms == errand.promise.terms
            && (exchanged || promised.amount <= errand.promise.amount)
            && promised.onward.as_ref() == Some(&errand.opened.rest)
    };
    let known = promises.iter().find(same).map(|p| p.iou().clone());
    known.filter(|_| !planted::on(Bug::PassedOnTwice))
}

/// Whether what came is worth what was promised onward, so far as that can be said: in one unit it is ([`made_before`]), in two the
/// rate of now says it.
fn is_covered(promise: &ConditionalIou, order: Order<'_>, policy: &HopPolicy) -> bool {
    let asked = |rate: &Rate| rate.taken(order.amount);
    *order.unit == promise.unit
        || policy
            .rate(&promise.unit, order.unit)
            .is_some_and(|rate| asked(rate).is_ok_and(|asked| asked <= promise.amount))
}

fn relay_of(
    incoming: &Neighbour<'_>,
    errand: &Errand,
    order: Order<'_>,
    iou: &Signed<ConditionalIou>,
) -> Relay {
    Relay {
        v: Version,
        hash: errand.promise.terms.hash,
        unit: errand.promise.unit.clone(),
        give: (*order.unit != errand.promise.unit).then(|| order.unit.clone()),
        incoming: Leg {
            peer: incoming.pair.peer(),
            iou: errand.iou,
            amount: errand.promise.amount,
        },
        outgoing: Leg {
            peer: order.next,
            iou: iou.hash(),
            amount: order.amount,
        },
        reply: order.reply,
        stage: RelayStage::Sent,
        replies: 0,
    }
}

/// Everything that can be said before the edge itself is asked. What the owner may come to owe the next hop, at most.
fn check(
    incoming: &Neighbour<'_>,
    outgoing: Option<&Pair>,
    errand: &Errand,
    order: Order<'_>,
    policy: &HopPolicy,
    tally: &Tally,
    context: &Context<'_>,
) -> Result<Option<Total>, Failure> {
    let promise = &errand.promise;
    let edge = |code| Failure::of_edge(code, incoming.pair.me(), order.next);
    let upstream = &*incoming.pair;
    // Back to where it came from helps nobody and would bind both sides of one pair.
    let outgoing = outgoing.filter(|_| order.next != upstream.peer());
    let outgoing = outgoing.ok_or(edge(FailureCode::UnknownNext))?;
    let ceiling = if clears(upstream, outgoing, promise, order, policy) {
        // After it the owner still owes the next hop nothing.
        Some(Total::ZERO)
    } else {
        check_rule(promise, order, policy).map_err(edge)?
    };
    let soonest = context.now.plus_millis(policy.min_left_ms);
    if promise.terms.deadline_ms < soonest.millis() {
        return Err(Failure::here(FailureCode::Deadline));
    }
    let (unit, budget) = (&promise.unit, &policy.budget);
    if !has_room(upstream, unit, promise.amount, tally, budget, context.now) {
        // It is about the neighbour before this hop: that is the edge to avoid.
        return Err(Failure::of_edge(
            FailureCode::TooMany,
            upstream.peer(),
            upstream.me(),
        ));
    }
    Ok(ceiling)
}

/// Whether both promises do nothing but lower debts: what came, what the owner owes the hop before, and what goes, what the next hop
/// owes the owner; each by all of it, whatever becomes of what else is undecided; and whether the owner agrees to that.
fn clears(
    upstream: &Pair,
    outgoing: &Pair,
    promise: &ConditionalIou,
    order: Order<'_>,
    policy: &HopPolicy,
) -> bool {
    let unit = &promise.unit;
    *order.unit == *unit
        && policy.clears(&order.next, unit)
        && order.amount <= promise.amount
        // What came is among what is undecided there.
        && upstream.peer_exposure(unit).minor() <= 0
        && outgoing.surely_owed(unit) >= order.amount.minor()
}

/// What the owner asks of a payment that raises somebody's debt.
fn check_rule(
    promise: &ConditionalIou,
    order: Order<'_>,
    policy: &HopPolicy,
) -> Result<Option<Total>, FailureCode> {
    let rule = policy.rule(&order.next, order.unit);
    let rule = rule.ok_or(FailureCode::EdgeUnavailable)?;
    if order.amount < rule.min {
        return Err(FailureCode::AmountTooLow);
    }
    let mut needed = fee(rule.base, rule.ppm, order.amount).and_then(|fee| fee.grow(order.amount));
    if *order.unit != promise.unit {
        let rate = policy.rate(&promise.unit, order.unit);
        let rate = rate.filter(|rate| order.amount <= rate.max);
        let rate = rate.ok_or(FailureCode::EdgeUnavailable)?;
        // What is given and its fee are of the unit onward: both are asked for in the unit that came.
        needed = needed.and_then(|needed| {
            let asked = rate.taken(Amount::from_minor(needed.minor())?)?;
            Total::from_minor(asked.minor())
        });
    }
    let enough = needed.is_ok_and(|needed| needed.minor() <= promise.amount.minor());
    if !enough && !planted::on(Bug::FeeUnchecked) {
        return Err(FailureCode::FeeTooLow);
    }
    Ok(rule.ceiling)
}

/// Promises onward and marks what came. Whatever hinders that, nothing has changed.
fn promise_onward(
    incoming: &mut Neighbour<'_>,
    outgoing: Option<&mut Neighbour<'_>>,
    errand: &Errand,
    order: Order<'_>,
    ceiling: Option<Total>,
    context: &Context<'_>,
) -> Result<Signed<ConditionalIou>, Failure> {
    let me = incoming.pair.me();
    let edge = |code| Failure::of_edge(code, me, order.next);
    let outgoing = outgoing.ok_or(edge(FailureCode::UnknownNext))?;
    let new = NewPromise {
        unit: order.unit.clone(),
        amount: order.amount,
        terms: errand.promise.terms.clone(),
        onward: Some(errand.opened.rest.clone()),
    };
    let latest = longest(outgoing.pair, &new, context);
    incoming
        .pair
        .mark_forwarded(errand.iou, true)
        .map_err(|_| Failure::here(FailureCode::Temporary))?;
    let promised = outgoing
        .pair
        .promise(new, ceiling, context.logs, outgoing.pen, context.now);
    promised.map_err(|error| {
        // It was found above, and unmarking can't fail for what was found.
        let _ = incoming.pair.mark_forwarded(errand.iou, false);
        edge(match error {
            LedgerError::LimitExceeded { .. } => FailureCode::EdgeUnavailable,
            LedgerError::BelowMinimum { .. } => FailureCode::AmountTooLow,
            LedgerError::NoSlot { .. } => FailureCode::Busy,
            LedgerError::TermsRefused { .. } if errand.promise.terms.deadline_ms > latest => {
                FailureCode::Deadline
            }
            LedgerError::TermsRefused { .. } => FailureCode::Logs,
            _ => FailureCode::Temporary,
        })
    })
}

/// The latest deadline that the next hop takes.
fn longest(outgoing: &Pair, new: &NewPromise, context: &Context<'_>) -> u64 {
    outgoing.longest_deadline(&new.unit, context.now).millis()
}
