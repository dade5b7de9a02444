//! What the user's apps ask the agent for. Each request bears a number: asked again, it is answered as before.

use std::collections::BTreeSet;

use atomicity_ledger::pair::{LineTerms, NewPromise, PaymentNote};
use atomicity_ledger::record::{CreditLine, ReleaseReason, Terms, Unattended};
use atomicity_ledger::text::{Address, Layers};
use atomicity_ledger::{
    Amount, AnyRecord, Memo, RecordHash, RecordId, Timestamp, Total, Unit, UserKey,
};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::super::change::Change;
use super::super::issue::{Spending, count, sign};
use super::super::keeper::stopped;
use super::super::store;
use super::{agent, refused};
use crate::auth::Caller;
use crate::error::PluginError;
use crate::http::extract::{JsonBody, UserPath};
use crate::problem::Problem;
use crate::state::AppState;

/// A payment to a friend.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Issue {
    /// Sixteen random bytes in base64url: the number of the request, and of the payment.
    #[schema(value_type = String, min_length = 22, max_length = 22)]
    id: RecordId,
    /// To whom.
    #[schema(value_type = String)]
    pub(crate) peer: UserKey,
    /// In what.
    #[schema(value_type = String)]
    unit: Unit,
    /// How much, in minor units.
    #[schema(value_type = String)]
    amount: Amount,
    /// What it refers to.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    reference: Option<Memo>,
    /// A few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    memo: Option<Memo>,
}

/// A promise to a friend.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    /// Sixteen random bytes in base64url: the number of the request.
    #[schema(value_type = String, min_length = 22, max_length = 22)]
    id: RecordId,
    /// To whom.
    #[schema(value_type = String)]
    peer: UserKey,
    /// In what.
    #[schema(value_type = String)]
    unit: Unit,
    /// How much, in minor units.
    #[schema(value_type = String)]
    amount: Amount,
    /// When it becomes due.
    #[schema(value_type = Object)]
    terms: Terms,
    /// Sealed layers for whoever passes it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    onward: Option<Layers>,
}

/// Giving up a promise of a friend.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Whose.
    #[schema(value_type = String)]
    peer: UserKey,
    /// Its hash.
    #[schema(value_type = String)]
    iou: RecordHash,
}

/// How much a friend may owe.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// In what.
    #[schema(value_type = String)]
    unit: Unit,
    /// The most that the friend may owe, net, in minor units.
    #[schema(value_type = String)]
    accept: Total,
    /// The smallest payment that is welcome; 1 if left out.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    min_amount: Option<Amount>,
    /// The longest time that a promise may stay undecided, in seconds.
    #[serde(default)]
    max_deadline_s: Option<u32>,
    /// How many may be undecided at once.
    #[serde(default)]
    slots: Option<u16>,
    /// What is taken while you are away.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    unattended: Option<Unattended>,
    /// Origins of logs that are not accepted.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    logs_refused: Vec<Address>,
    /// When the line ends, Unix milliseconds.
    #[serde(default)]
    #[schema(value_type = Option<u64>)]
    expires: Option<Timestamp>,
}

impl Line {
    /// Another amount; all other terms as they were before, if there was a line.
    pub(crate) fn changed(unit: Unit, accept: Total, before: Option<&CreditLine>) -> Self {
        Self {
            unit,
            accept,
            min_amount: before.map(|line| line.min_amount),
            max_deadline_s: before.map(|line| line.max_deadline_s),
            slots: before.map(|line| line.slots),
            unattended: before.and_then(|line| line.unattended.clone()),
            logs_refused: before.map_or_else(Vec::new, |line| line.logs_refused.clone()),
            expires: before.and_then(|line| line.expires),
        }
    }
}

/// What was signed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Signed {
    /// Compact forms, in the order in which they are sent.
    records: Vec<String>,
}

impl Signed {
    /// These records, compact.
    pub(super) fn of(records: &[&str]) -> Self {
        Self {
            records: records.iter().map(|jws| (*jws).to_owned()).collect(),
        }
    }
}

/// One request, from the lock to the answer.
struct Request {
    change: Change,
    id: RecordId,
    digest: [u8; 32],
}

impl Request {
    /// Begins it, or finds the answer that was given before.
    async fn begin<B: Serialize>(
        state: &AppState,
        caller: &Caller,
        (id, peer): (RecordId, UserKey),
        body: &B,
    ) -> Result<Result<Self, Signed>, PluginError> {
        let text =
            serde_json::to_vec(body).map_err(|error| PluginError::Internal(error.to_string()))?;
        let digest: [u8; 32] = Sha256::digest(&text).into();
        let keeper = agent(state)?.keeper(&caller.user).ok_or_else(stopped)?;
        let mut change = Change::begin(state, &keeper, &BTreeSet::from([peer])).await?;
        let before = store::answer_of(change.tx(), &caller.user, &id.to_string()).await?;
        if let Some((asked, answer)) = before {
            if asked != digest {
                return Err(PluginError::Refused {
                    code: "id_reused",
                    detail: "another request had this number".to_owned(),
                });
            }
            return Ok(Err(store::parse("an answer", &answer)?));
        }
        change.require(&peer).await?;
        Ok(Ok(Self { change, id, digest }))
    }

    /// Stores and sends what was signed, and the answer.
    async fn finish(
        mut self,
        peer: UserKey,
        records: Vec<AnyRecord>,
    ) -> Result<Json<Signed>, PluginError> {
        for record in &records {
            self.change.send(peer, record);
        }
        let answer = Signed {
            records: records.iter().map(|r| r.jws().to_owned()).collect(),
        };
        let text = serde_json::to_string(&answer)
            .map_err(|error| PluginError::Internal(error.to_string()))?;
        let owner = self.change.keeper.owner;
        let at = i64::try_from(self.change.now.millis()).unwrap_or(i64::MAX);
        let id = self.id.to_string();
        let (tx, digest) = (self.change.tx(), self.digest);
        store::keep_answer(tx, &owner, (&id, at), &digest, &text).await?;
        self.change.commit().await?;
        Ok(Json(answer))
    }
}

/// Pays a friend, within your limits.
#[utoipa::path(post, path = "/v0/me/agent/issue", tag = "agent", security(("session" = [])), request_body = Issue,
    responses(
        (status = 200, body = Signed),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`pair_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`agent_stopped`, `books_restored`, `id_reused`, `day_limit_exceeded`, `limit_exceeded`, and what else the rules of the books say", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn issue(
    State(state): State<AppState>,
    caller: Caller,
    JsonBody(body): JsonBody<Issue>,
) -> Result<Json<Signed>, PluginError> {
    let peer = body.peer;
    let mut request = match Request::begin(&state, &caller, (body.id, peer), &body).await? {
        Ok(request) => request,
        Err(answer) => return Ok(Json(answer)),
    };
    let note = PaymentNote {
        id: body.id,
        reference: body.reference,
        memo: body.memo,
    };
    let spending = Spending {
        peer,
        unit: body.unit,
        amount: body.amount,
    };
    let records = sign(&mut request.change, &spending, note).await?;
    request.finish(peer, records.into()).await
}

/// Promises a friend an amount that becomes due if a preimage is published in time.
#[utoipa::path(post, path = "/v0/me/agent/promise", tag = "agent", security(("session" = [])), request_body = Promise,
    responses(
        (status = 200, body = Signed),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`pair_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`agent_stopped`, `books_restored`, `id_reused`, `day_limit_exceeded`, `limit_exceeded`, `terms_refused`, and what else the rules of the books say", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn promise(
    State(state): State<AppState>,
    caller: Caller,
    JsonBody(body): JsonBody<Promise>,
) -> Result<Json<Signed>, PluginError> {
    let peer = body.peer;
    let mut request = match Request::begin(&state, &caller, (body.id, peer), &body).await? {
        Ok(request) => request,
        Err(answer) => return Ok(Json(answer)),
    };
    let now = request.change.now;
    let settings = &request.change.keeper.settings;
    let logs = agent(&state)?.logs().known(&state, settings);
    let (loaded, pen) = request.change.pair_mut(&peer)?;
    let ceiling = Some(loaded.settings.ceiling(&body.unit));
    let new = NewPromise {
        unit: body.unit.clone(),
        amount: body.amount,
        terms: body.terms,
        onward: body.onward,
    };
    let iou = loaded
        .pair
        .promise(new, ceiling, &logs, pen, now)
        .map_err(|error| refused(&error))?;
    let spending = Spending {
        peer,
        unit: body.unit,
        amount: body.amount,
    };
    count(&mut request.change, &spending).await?;
    request.finish(peer, vec![AnyRecord::from(iou)]).await
}

/// Gives up a promise of a friend. Repeating it does no harm.
#[utoipa::path(post, path = "/v0/me/agent/release", tag = "agent", security(("session" = [])), request_body = Release,
    responses(
        (status = 200, body = Signed),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`pair_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`agent_stopped`, `books_restored`, `not_releasable`, `promise_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn release(
    State(state): State<AppState>,
    caller: Caller,
    JsonBody(body): JsonBody<Release>,
) -> Result<Json<Signed>, PluginError> {
    let agent = agent(&state)?;
    let keeper = agent.keeper(&caller.user).ok_or_else(stopped)?;
    let mut change = Change::begin(&state, &keeper, &BTreeSet::from([body.peer])).await?;
    change.require(&body.peer).await?;
    let now = change.now;
    let (loaded, pen) = change.pair_mut(&body.peer)?;
    let known = loaded.pair.promise_held(body.iou);
    if let Some(release) = known.and_then(|promise| promise.release()) {
        let records = vec![release.jws().to_owned()];
        return Ok(Json(Signed { records }));
    }
    let records = loaded
        .pair
        .release(body.iou, ReleaseReason::Declined, None, pen, now)
        .map_err(|error| refused(&error))?;
    for record in &records {
        change.send(body.peer, record);
    }
    change.commit().await?;
    let records = records.iter().map(|r| r.jws().to_owned()).collect();
    Ok(Json(Signed { records }))
}

/// Says how much a friend may owe you. The newest counts.
#[utoipa::path(post, path = "/v0/me/agent/lines/{peer}", tag = "agent", security(("session" = [])), request_body = Line,
    params(("peer" = String, Path, description = "To whom, z-base-32")),
    responses(
        (status = 200, body = Signed),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`pair_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`agent_stopped`, `books_restored`, and what the rules of the books say", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn line(
    State(state): State<AppState>,
    UserPath(peer): UserPath,
    caller: Caller,
    JsonBody(body): JsonBody<Line>,
) -> Result<Json<Signed>, PluginError> {
    let agent = agent(&state)?;
    let keeper = agent.keeper(&caller.user).ok_or_else(stopped)?;
    let mut change = Change::begin(&state, &keeper, &BTreeSet::from([peer])).await?;
    change.require(&peer).await?;
    let now = change.now;
    let body_unit = body.unit.clone();
    let mut terms = LineTerms::simple(body.unit, body.accept).map_err(|error| refused(&error))?;
    terms.min_amount = body.min_amount.unwrap_or(terms.min_amount);
    terms.max_deadline_s = body.max_deadline_s.unwrap_or(terms.max_deadline_s);
    terms.slots = body.slots.unwrap_or(terms.slots);
    terms.unattended = body.unattended;
    terms.logs_refused = body.logs_refused;
    terms.expires = body.expires;
    let (loaded, pen) = change.pair_mut(&peer)?;
    let line = loaded
        .pair
        .set_line(terms, pen, now)
        .map_err(|error| refused(&error))?;
    let record = AnyRecord::from(line);
    // Another amount was not given by a rule.
    let by_rule = loaded.settings.by_rule.len();
    let unit = &body_unit;
    let accept = body.accept;
    loaded
        .settings
        .by_rule
        .retain(|line| line.unit != *unit || line.line == accept);
    if loaded.settings.by_rule.len() != by_rule {
        let settings = store::text(&loaded.settings)?;
        let owner = change.keeper.owner;
        store::set_settings(change.tx(), &owner, &peer, &settings).await?;
    }
    change.send(peer, &record);
    change.commit().await?;
    let records = vec![record.jws().to_owned()];
    Ok(Json(Signed { records }))
}
