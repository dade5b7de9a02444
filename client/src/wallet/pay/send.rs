//! Promising: everything that one way takes is signed in one transaction, with the payment's own row.

use std::collections::BTreeMap;
use std::time::Duration;

use atomicity_ledger::hop::{Attempt, Context, Neighbour, Route, Stop};
use atomicity_ledger::onion::{HopKey, MAX_GIFT_MEMO, Payload};
use atomicity_ledger::record::{Invoice, Terms};
use atomicity_ledger::{AnyRecord, Memo, PaymentHash, Preimage, RecordId, Signed, UserKey};

use super::super::books::Change;
use super::super::promise::{Hangs, PromiseTerms};
use super::super::{Direction, HistoryItem, MadeKind, Wallet, decide, entropy, logs, secret};
use super::fault::PaymentFault;
use super::reassign::still_covers;
use super::target::Payable;
use super::ways::{Need, Way, WayPart};
use super::{PayOptions, PaymentState, Plan, open_attempt, seal_attempt};
use crate::error::ClientError;
use crate::store::pairs::agent;
use crate::store::payments::{self, PaymentRow};
use crate::store::{accounts, rules};

/// How long a process that looks after a payment is believed to do so, milliseconds.
pub(super) const LEASE_MS: u64 = 15_000;

impl Wallet {
    /// Looks for ways, and signs the promises of the first that can be taken.
    pub(crate) async fn begin_payment(
        &self,
        payable: &Payable,
        options: &PayOptions,
    ) -> Result<RecordId, ClientError> {
        let plan = self.plan(payable, options).await?;
        let found = self.find_ways(&plan, &Need::all(&plan)).await?;
        let mut failure = ClientError::from(PaymentFault::RouteInvalid("it names no route"));
        for way in &found.ways {
            let keys = self.hop_keys(way, &found.profiles).await?;
            match self.begin(&plan, way, &keys).await {
                Ok(id) => return Ok(id),
                // The first friend can't take it after all: another way may do.
                Err(ClientError::Ledger(error)) => failure = error.into(),
                Err(error) => return Err(error),
            }
        }
        Err(failure)
    }

    /// Signs the promises of a new payment.
    pub(super) async fn begin(
        &self,
        plan: &Plan,
        way: &Way,
        keys: &BTreeMap<UserKey, HopKey>,
    ) -> Result<RecordId, ClientError> {
        let invoice: Option<Signed<Invoice>> =
            plan.invoice.as_deref().map(Signed::decode).transpose()?;
        let drawn = Preimage::from_bytes(entropy());
        let hash = invoice
            .as_ref()
            .map_or_else(|| drawn.hash(), |invoice| invoice.record().hash);
        let terms = self.payment_terms(plan, hash, way).await?;
        let mut change = self.change().await?;
        if let Some(known) = payments::standing(change.conn(), &hash).await?.first() {
            return Err(PaymentFault::BeingPaid(known.id.to_string()).into());
        }
        if invoice.is_none() {
            secret::keep_in(&mut change, &drawn).await?;
        }
        let mut attempt = plan.attempt(terms)?;
        let now = change.now.millis();
        let mut row = PaymentRow {
            id: RecordId::from_entropy(entropy()),
            hash,
            payee: plan.payee.to_string(),
            plan: crate::store::json_out(plan)?,
            attempt: Vec::new(),
            state: PaymentState::Open,
            tries: 1,
            lease_until: now.saturating_add(LEASE_MS),
            shown: None,
            fee: None,
            why: None,
            created_at: now,
            ended_at: None,
        };
        self.promise_way(&mut change, plan, way, keys, &mut attempt)
            .await?;
        row.attempt = seal_attempt(&change.keys, &row, &attempt)?;
        payments::put(change.conn(), &row).await?;
        self.note_made(change.conn(), MadeKind::Payment, &row.id)
            .await?;
        if let Some(spend) = &plan.spend
            && !accounts::begun(change.conn(), spend, &row.id).await?
        {
            // Another process pays it: nothing of this is kept.
            return Err(PaymentFault::BeingPaid(spend.to_string()).into());
        }
        change.commit().await?;
        // From here on the payment stands; what the agent can't be asked now is asked later.
        self.ask_soon(&row.id).await?;
        Ok(row.id)
    }

    async fn ask_soon(&self, id: &RecordId) -> Result<(), ClientError> {
        match self.ask_for_parts(id).await {
            Err(error @ (ClientError::Net(_) | ClientError::AgentAway(_))) => {
                tracing::info!(code = error.code(), "asked later: {error}");
                Ok(())
            }
            other => other,
        }
    }

    /// Signs the promises of another way for what is missing. On new terms if nothing of the old ones counts any more.
    pub(super) async fn send_again(
        &self,
        id: &RecordId,
        plan: &Plan,
        way: &Way,
        keys: &BTreeMap<UserKey, HopKey>,
        terms: Option<Terms>,
    ) -> Result<(), ClientError> {
        let mut change = self.change().await?;
        let row = payments::get(change.conn(), id).await?;
        let Some(mut row) = row.filter(|row| row.state == PaymentState::Open) else {
            return Ok(());
        };
        let mut attempt = open_attempt(&change.keys, &row)?;
        if let Some(terms) = terms {
            attempt.renew(terms)?;
        }
        self.promise_way(&mut change, plan, way, keys, &mut attempt)
            .await?;
        row.attempt = seal_attempt(&change.keys, &row, &attempt)?;
        row.tries += 1;
        payments::put(change.conn(), &row).await?;
        change.commit().await?;
        self.ask_soon(id).await
    }

    async fn promise_way(
        &self,
        change: &mut Change,
        plan: &Plan,
        way: &Way,
        keys: &BTreeMap<UserKey, HopKey>,
        attempt: &mut Attempt,
    ) -> Result<(), ClientError> {
        let payload = payload(plan)?;
        for part in &way.parts {
            let route = route(part, keys, &payload)?;
            self.promise_part(change, plan, &route, attempt).await?;
        }
        decide::want_logs(change).await
    }

    async fn promise_part(
        &self,
        change: &mut Change,
        plan: &Plan,
        route: &Route,
        attempt: &mut Attempt,
    ) -> Result<(), ClientError> {
        let first = route.stops.first().map(|stop| stop.key.user);
        let first = first.ok_or(PaymentFault::RouteInvalid("it has no hops"))?;
        if agent::keeps(change.conn(), &first).await? {
            let known = logs::known(change.conn()).await?;
            let context = Context {
                now: change.now,
                logs: &known,
                secrets: &[],
                entropy: entropy(),
            };
            return Ok(attempt.ask(RecordId::from_entropy(entropy()), route, &context)?);
        }
        let mut pair = change.load(self.user(), first).await?;
        let ceiling = rules::verdict(change.conn(), &first, plan.paying())
            .await?
            .issue;
        let known = logs::known(change.conn()).await?;
        let (pen, secrets) = (change.keys.pen.clone(), change.keys.encryption.clone());
        let context = Context {
            now: change.now,
            logs: &known,
            secrets: &secrets,
            entropy: entropy(),
        };
        let neighbour = Neighbour {
            pair: &mut pair,
            pen: &pen,
        };
        let number = attempt.parts().len();
        let step = attempt.send(number, neighbour, route, ceiling, &context)?;
        if plan.from_claim {
            let part = attempt.parts().get(number);
            let promised = part.map_or(0, |part| part.amount.minor());
            still_covers(&pair, plan.paying(), promised, change.now)?;
        }
        change.save(&pair).await?;
        let records: Vec<AnyRecord> = step.send.into_iter().map(|(_, record)| record).collect();
        decide::dispatch(change, self.user(), &pair, records).await?;
        let part = attempt.parts().get(number);
        change
            .note(HistoryItem {
                user: Some(first),
                unit: Some(plan.paying().clone()),
                kind: "promised".to_owned(),
                direction: Some(Direction::Out),
                amount: part.map(|part| part.amount.minor()),
                reference: part.map(|part| part.iou.to_string()),
                note: Some(format!(
                    "to be passed on; hangs on {}",
                    attempt.terms().hash
                )),
                ..HistoryItem::default()
            })
            .await
    }

    /// The logs as far as they are now, and the deadline.
    pub(super) async fn payment_terms(
        &self,
        plan: &Plan,
        hash: PaymentHash,
        way: &Way,
    ) -> Result<Terms, ClientError> {
        let first = way.parts.first().and_then(|part| part.hops.first());
        let (first, _) = first.ok_or(PaymentFault::RouteInvalid("it has no hops"))?;
        let deadline = Duration::from_millis(plan.deadline_ms);
        let on = |logs: Vec<String>| PromiseTerms::on(hash, Hangs::Logs { logs, deadline });
        let all = self
            .terms_for(first, plan.paying(), on(plan.logs.clone()))
            .await;
        let mut failure = match all {
            Ok(terms) => return Ok(terms),
            Err(error) => error,
        };
        // One that does not answer must not hinder the others.
        for log in plan.logs.iter().filter(|_| plan.logs.len() > 1) {
            match self
                .terms_for(first, plan.paying(), on(vec![log.clone()]))
                .await
            {
                Ok(terms) => return Ok(terms),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// What the payee is told.
fn payload(plan: &Plan) -> Result<Payload, ClientError> {
    Ok(match &plan.invoice {
        Some(jws) => Payload::Deliver {
            invoice: Signed::<Invoice>::decode(jws)?.record().id,
            total: plan.amount,
        },
        None => Payload::Gift {
            memo: plan.memo.as_ref().and_then(short),
        },
    })
}

/// A memo that fits into a layer, cut if need be.
fn short(memo: &Memo) -> Option<Memo> {
    let text = memo.as_str();
    let end = (0..=text.len().min(MAX_GIFT_MEMO)).rev();
    let mut cuts = end.filter(|end| text.is_char_boundary(*end));
    cuts.find_map(|end| text.get(..end)?.parse().ok())
}

fn route(
    part: &WayPart,
    keys: &BTreeMap<UserKey, HopKey>,
    payload: &Payload,
) -> Result<Route, ClientError> {
    let stops = part.hops.iter().enumerate().map(|(at, (user, amount))| {
        let key = keys.get(user).cloned();
        let key = key.ok_or(PaymentFault::RouteInvalid("the key of a hop is missing"))?;
        Ok(Stop {
            key,
            amount: *amount,
            unit: part.unit_from(at),
        })
    });
    Ok(Route {
        stops: stops.collect::<Result<_, PaymentFault>>()?,
        payload: payload.clone(),
        ask: matches!(payload, Payload::Gift { .. }),
    })
}
