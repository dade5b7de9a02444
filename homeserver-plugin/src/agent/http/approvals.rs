//! Requests that recur and that the user lets the agent pay.

use atomicity_ledger::{Amount, LedgerError, RecordHash, Timestamp};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::approvals::{self, unknown};
use super::super::change::{Change, now, pair_unknown};
use super::super::keeper::stopped;
use super::super::store::{self, ApprovalRow, TurnRow};
use super::{agent, bad};
use crate::auth::Caller;
use crate::clock;
use crate::error::PluginError;
use crate::http::etag;
use crate::http::extract::{JsonBody, QueryParams, TextPath};
use crate::problem::Problem;
use crate::state::AppState;

/// Most requests of one user that are paid turn by turn.
const MOST_APPROVALS: i64 = 256;
/// Items in one page.
const PAGE: i64 = 100;

/// What the agent may pay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRequest {
    /// The `atomicity-request` in compact form; it recurs.
    request: String,
    /// The most that one turn may cost, in minor units.
    #[schema(value_type = String)]
    up_to: Amount,
    /// From then on nothing is paid, Unix milliseconds.
    #[serde(default)]
    #[schema(value_type = Option<u64>)]
    until: Option<Timestamp>,
    /// The first turn that is paid, from 0.
    first_turn: u32,
}

/// A request that the agent pays, or paid.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApprovalView {
    /// The request's hash.
    request: String,
    /// Who is paid.
    payee: String,
    /// In what.
    unit: String,
    /// What each turn asks for, in minor units.
    amount: String,
    /// The most that one turn may cost.
    up_to: String,
    /// From then on nothing is paid, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
    /// The first turn that is paid.
    first_turn: i64,
    /// `active`, `ended`.
    state: String,
    /// Why the last try came to nothing, or why it has ended: a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// When it is looked at next, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<i64>,
    /// Since when the agent has it.
    at: i64,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<i64>,
}

/// A page of approvals.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApprovalPage {
    /// By the hashes of their requests.
    items: Vec<ApprovalView>,
    /// Ask with this as `after` for more; null at the end.
    next: Option<String>,
}

/// Which approvals.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApprovalsQuery {
    /// Only those after this hash.
    after: Option<String>,
}

/// A part that the agent asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct TurnView {
    /// Which turn, from 0.
    turn: i64,
    /// How many parts for this turn came to nothing before.
    attempt: i64,
    /// The part's name; a payment of it bears it as what it refers to.
    id: String,
    /// The `atomicity-part` in compact form.
    record: String,
    /// How much, in minor units.
    amount: String,
    /// `asked`, `granted`, `paid`, `refused`, `ended`.
    state: String,
    /// The hash of the payment, if the agent made one; else the payee says that it was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<String>,
    /// Why it was not paid: a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When it was asked for first, Unix milliseconds.
    at: i64,
    /// When it was paid or came to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<i64>,
}

/// A page of parts.
#[derive(Debug, Serialize, ToSchema)]
pub struct TurnPage {
    /// By turn and attempt.
    items: Vec<TurnView>,
    /// Ask with this as `after` for more; null at the end.
    next: Option<String>,
}

/// Which parts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TurnsQuery {
    /// Only those after this one: what a page said as `next`, or a turn.
    after: Option<String>,
}

fn hash_of(text: &str) -> Result<RecordHash, PluginError> {
    text.parse()
        .map_err(|error: LedgerError| bad("hash_malformed", error.to_string()))
}

fn view(row: &ApprovalRow) -> Result<ApprovalView, PluginError> {
    let signed = row.signed()?;
    let asked = signed.record();
    Ok(ApprovalView {
        request: row.request.to_string(),
        payee: row.payee.to_string(),
        unit: asked.unit.to_string(),
        amount: approvals::amount(asked)?.minor().to_string(),
        up_to: row.up_to.to_string(),
        until: row.until,
        first_turn: row.first_turn,
        state: match row.ended_at {
            Some(_) => "ended",
            None => "active",
        }
        .to_owned(),
        why: row.why.clone(),
        next_at: row.ended_at.is_none().then_some(row.next_at),
        at: row.created_at,
        ended_at: row.ended_at,
    })
}

fn turn_view(row: TurnRow) -> TurnView {
    TurnView {
        turn: row.turn,
        attempt: row.attempt,
        id: row.id,
        record: row.record,
        amount: row.amount.to_string(),
        state: row.state,
        payment: row.payment.map(|hash| hash.to_string()),
        reason: row.reason,
        at: row.asked_at,
        ended_at: row.ended_at,
    }
}

/// Lets the agent pay a request that recurs, turn by turn, over the books with its payee. Said again it changes the ceiling, the end and
/// the first turn; what was paid stays paid.
#[utoipa::path(put, path = "/v0/me/agent/approvals/{hash}", tag = "agent", security(("session" = [])), request_body = ApprovalRequest,
    params(("hash" = String, Path, description = "The request's hash")),
    responses(
        (status = 200, body = ApprovalView),
        (status = 400, description = "`approval_malformed`, `hash_malformed`, `until_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`pair_unknown`: only whom it keeps books with can be paid by the agent", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`agent_stopped`, `books_restored`, `not_asked`, `above_ceiling`, `request_expired`, `unit_not_allowed`, `not_authorized` and what else is wrong with the key that signed the request", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_approvals`", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The payee's homeserver can't be asked", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn put(
    State(state): State<AppState>,
    TextPath(hash): TextPath,
    caller: Caller,
    JsonBody(body): JsonBody<ApprovalRequest>,
) -> Result<Json<ApprovalView>, PluginError> {
    let (owner, hash) = (caller.user, hash_of(&hash)?);
    let agent = agent(&state)?;
    let keeper = agent.keeper(&owner).ok_or_else(stopped)?;
    if body.until.is_some_and(|until| until <= now()) {
        return Err(bad("until_invalid", "until must lie in the future"));
    }
    let signed = approvals::read(owner, hash, &body.request, (body.up_to, body.first_turn))?;
    let payee = signed.record().payee;
    approvals::authorized(&state, &payee, signed.kid()).await?;
    let mut change = Change::begin(&state, &keeper, &[payee].into()).await?;
    change.require(&payee).await?;
    let loaded = change.pair(&payee).ok_or_else(pair_unknown)?;
    if loaded.settings.unit(&signed.record().unit).is_none() {
        return Err(PluginError::Refused {
            code: "unit_not_allowed",
            detail: "nothing may be issued to them in this unit".to_owned(),
        });
    }
    let known = store::lock_approval(change.tx(), &owner, &hash).await?;
    let active = known.filter(|row| row.ended_at.is_none());
    if active.is_none() && store::count_approvals(change.tx(), &owner).await? >= MOST_APPROVALS {
        return Err(PluginError::TooMany {
            code: "too_many_approvals",
            detail: "as many requests are paid for you turn by turn as may",
            retry_after: std::time::Duration::from_secs(3_600),
        });
    }
    let minor = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let at = minor(change.now.millis());
    let row = ApprovalRow {
        request: hash,
        payee,
        record: signed.jws().to_owned(),
        up_to: minor(body.up_to.minor()),
        until: body.until.map(|until| minor(until.millis())),
        first_turn: i64::from(body.first_turn),
        why: None,
        next_at: at,
        tries: 0,
        created_at: active.map_or(at, |row| row.created_at),
        ended_at: None,
    };
    store::put_approval(change.tx(), &owner, &row).await?;
    change.commit().await?;
    agent.turns().notify_one();
    Ok(Json(view(&row)?))
}

/// Has the agent pay nothing more of a request: once this is answered nothing is signed for it. Repeating it does no harm.
#[utoipa::path(delete, path = "/v0/me/agent/approvals/{hash}", tag = "agent", security(("session" = [])),
    params(("hash" = String, Path, description = "The request's hash")),
    responses(
        (status = 200, body = ApprovalView),
        (status = 400, description = "`hash_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`approval_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn revoke(
    State(state): State<AppState>,
    TextPath(hash): TextPath,
    caller: Caller,
) -> Result<Json<ApprovalView>, PluginError> {
    let (owner, hash) = (caller.user, hash_of(&hash)?);
    let mut tx = state.pool.begin().await?;
    let row = store::lock_approval(&mut tx, &owner, &hash).await?;
    let mut row = row.ok_or_else(unknown)?;
    if row.ended_at.is_none() {
        let now = clock::now_ms();
        store::end_open_turn(&mut tx, &owner, &hash, "revoked", now).await?;
        row.end("revoked", now);
        store::put_approval(&mut tx, &owner, &row).await?;
        tx.commit().await?;
    }
    Ok(Json(view(&row)?))
}

/// The requests that your agent pays turn by turn, and those that it paid.
#[utoipa::path(get, path = "/v0/me/agent/approvals", tag = "agent", security(("session" = [])), params(ApprovalsQuery),
    responses(
        (status = 200, body = ApprovalPage),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`hash_malformed`, `query_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn list(
    State(state): State<AppState>,
    headers: HeaderMap,
    QueryParams(query): QueryParams<ApprovalsQuery>,
    caller: Caller,
) -> Result<Response, PluginError> {
    let after = query.after.as_deref().map(hash_of).transpose()?;
    let after = after.map_or(Vec::new(), |hash| hash.as_bytes().to_vec());
    let mut rows = store::list_approvals(&state.pool, &caller.user, &after, PAGE + 1).await?;
    let more = i64::try_from(rows.len()).is_ok_and(|len| len > PAGE);
    rows.truncate(usize::try_from(PAGE).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| more);
    let next = next.map(|last| last.request.to_string());
    let items = rows.iter().map(view).collect::<Result<_, _>>()?;
    etag::respond(&headers, &ApprovalPage { items, next })
}

/// Reads from where a page goes on: a turn, or a turn and an attempt.
fn position(text: &str) -> Result<(i64, i64), PluginError> {
    let number = |text: &str| {
        let number = text.parse::<u32>().map(i64::from);
        number.map_err(|error| bad("id_malformed", error.to_string()))
    };
    match text.split_once('.') {
        Some((turn, attempt)) => Ok((number(turn)?, number(attempt)?)),
        None => Ok((number(text)?, i64::MAX)),
    }
}

/// What your agent asked for of a request, and what became of it.
#[utoipa::path(get, path = "/v0/me/agent/approvals/{hash}/turns", tag = "agent", security(("session" = [])),
    params(("hash" = String, Path, description = "The request's hash"), TurnsQuery),
    responses(
        (status = 200, body = TurnPage),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`hash_malformed`, `id_malformed`, `query_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn turns(
    State(state): State<AppState>,
    headers: HeaderMap,
    TextPath(hash): TextPath,
    QueryParams(query): QueryParams<TurnsQuery>,
    caller: Caller,
) -> Result<Response, PluginError> {
    let hash = hash_of(&hash)?;
    let after = query.after.as_deref().map(position).transpose()?;
    let after = after.unwrap_or((-1, 0));
    let mut rows = store::list_turns(&state.pool, &caller.user, &hash, after, PAGE + 1).await?;
    let more = i64::try_from(rows.len()).is_ok_and(|len| len > PAGE);
    rows.truncate(usize::try_from(PAGE).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| more);
    let next = next.map(|last| format!("{}.{}", last.turn, last.attempt));
    let items = rows.into_iter().map(turn_view).collect();
    etag::respond(&headers, &TurnPage { items, next })
}
