//! What a user's page and apps propose to the user's own wallet. Nothing is signed here: the wallet shows it, and does it only when its user
//! says so on the device, since whoever has a session could have made it up.

use atomicity_ledger::link::{Link, MAX_LINK_BYTES};
use atomicity_ledger::policy::{Rule, Who};
use atomicity_ledger::{Timestamp, UserKey};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use sha2::{Digest as _, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::etag;
use super::extract::{JsonBody, QueryParams, TextPath};
use crate::auth::Caller;
use crate::clock;
use crate::db::proposals::{self, Row, State as Stage};
use crate::error::PluginError;
use crate::problem::Problem;
use crate::state::AppState;

mod words;

pub use words::{Proposal, ProposalView, Told, Wish};
use words::{ProposalList, ProposalReport, ProposalWord, ProposalsQuery};

/// Body limit of a new proposal: an invoice's link is the longest thing in it.
pub const BODY: usize = MAX_LINK_BYTES + 4 * 1024;
/// Most proposals of one user that are open.
const MOST_OPEN: i64 = 50;
/// Most that are listed.
const MOST: i64 = 100;
/// How long a proposal stands.
const LASTS_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// Most parts of a way that are told, and most people in each.
const MOST_PARTS: usize = 4;
const MOST_HOPS: usize = 20;
/// Longest reason.
const MAX_REASON: usize = 64;
/// Longest Lightning invoice: twice what wallets make.
const MAX_BOLT11: usize = 2048;

/// The routes with small bodies.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one, report, withdraw))
}

/// The route that takes a link.
pub fn new_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(propose))
}

fn unknown() -> PluginError {
    PluginError::NotFound {
        code: "proposal_unknown",
        detail: "there is no proposal of this name",
    }
}

fn invalid(detail: impl Into<String>) -> PluginError {
    PluginError::BadRequest {
        code: "proposal_invalid",
        detail: detail.into(),
    }
}

/// A proposal as it is shown.
///
/// # Errors
/// [`PluginError::Internal`].
pub fn view(row: &Row) -> Result<ProposalView, PluginError> {
    let damaged = |error: serde_json::Error| {
        PluginError::Internal(format!("a stored proposal can't be read: {error}"))
    };
    let expired = row.state == Stage::Open && row.expires <= clock::now_ms();
    Ok(ProposalView {
        proposal: serde_json::from_str(&row.body).map_err(damaged)?,
        state: if expired { "expired" } else { row.state.word() }.to_owned(),
        at: row.at,
        expires: row.expires,
        changed_at: row.changed_at,
        told: row
            .told
            .as_deref()
            .map(serde_json::from_str)
            .transpose()
            .map_err(damaged)?,
    })
}

/// Until when a proposal can be accepted: a week, or as long as what is to be paid stands.
fn check(wish: &Wish, caller: &UserKey, now: i64) -> Result<i64, PluginError> {
    let week = now.saturating_add(LASTS_MS);
    let about = match wish {
        Wish::Friend { user, .. }
        | Wish::Limit { user, .. }
        | Wish::Issue { user, .. }
        | Wish::Settle { user, .. }
        | Wish::Reassign { user, .. }
        | Wish::Block { user, .. } => Some(user),
        Wish::Ask { user, .. } => user.as_ref(),
        Wish::Pay { .. }
        | Wish::Part { .. }
        | Wish::Rule { .. }
        | Wish::Unrule { .. }
        | Wish::Account { .. }
        | Wish::Revoke { .. }
        | Wish::Agent { .. }
        | Wish::AgentOff { .. } => None,
    };
    if about == Some(caller) {
        return Err(invalid("that is your own key"));
    }
    let ends = match wish {
        Wish::Pay { link, .. } | Wish::Reassign { link, .. } => invoice_ends(link, now)?,
        Wish::Part { link, .. } => request_ends(link, now)?,
        Wish::Settle {
            invoice: Some(invoice),
            ..
        } if invoice.is_empty() || invoice.len() > MAX_BOLT11 || !invoice.is_ascii() => {
            return Err(invalid("that is no Lightning invoice"));
        }
        Wish::Rule { rule } | Wish::Unrule { rule } => {
            about_many(rule)?;
            return Ok(week);
        }
        Wish::Account {
            per_day,
            total,
            until,
            ..
        } => {
            if per_day.or(*total).is_none() {
                return Err(invalid("an account needs a limit: for a day, or in all"));
            }
            yet_to_come(*until, now)?
        }
        Wish::Agent { until } => yet_to_come(*until, now)?,
        _ => return Ok(week),
    };
    Ok(week.min(i64::try_from(ends.millis()).unwrap_or(i64::MAX)))
}

/// A rule that a wallet would take: about many, and with the caps that it needs.
fn about_many(rule: &Rule) -> Result<(), PluginError> {
    if matches!(rule.who, Who::Peer(_)) || rule.id != 0 {
        return Err(invalid("propose a rule about many, and without a number"));
    }
    rule.check().map_err(|error| invalid(error.to_string()))
}

fn yet_to_come(until: Timestamp, now: i64) -> Result<Timestamp, PluginError> {
    if i64::try_from(until.millis()).is_ok_and(|until| until <= now) {
        return Err(invalid("it would be over already"));
    }
    Ok(until)
}

fn read_link(link: &str, now: i64) -> Result<(Link, Timestamp), PluginError> {
    let read = link
        .parse()
        .map_err(|error: atomicity_ledger::LedgerError| invalid(error.to_string()))?;
    let at = Timestamp::saturating_from_millis(u64::try_from(now).unwrap_or(0));
    Ok((read, at))
}

fn invoice_ends(link: &str, now: i64) -> Result<Timestamp, PluginError> {
    let (Link::Invoice(invoice), at) = read_link(link, now)? else {
        return Err(invalid("the link holds no invoice"));
    };
    let invoice = invoice.record();
    if invoice.amount.is_none() {
        return Err(invalid("the invoice leaves the amount to the payer"));
    }
    if invoice.has_expired(at) {
        return Err(invalid("the invoice has expired"));
    }
    Ok(invoice.expires)
}

fn request_ends(link: &str, now: i64) -> Result<Timestamp, PluginError> {
    let (Link::Request(request), at) = read_link(link, now)? else {
        return Err(invalid("the link holds no request"));
    };
    let request = request.record();
    if request.has_expired(at) {
        return Err(invalid("the request has expired"));
    }
    Ok(request.expires)
}

/// Stores a proposal for the caller's wallet, or finds it there.
///
/// # Errors
/// `proposal_invalid`, `id_reused`, `too_many_proposals`, `account_unknown`, [`PluginError::Database`].
pub async fn leave(
    state: &AppState,
    caller: &Caller,
    proposal: &Proposal,
) -> Result<(bool, ProposalView), PluginError> {
    let user = &caller.user;
    let body = serde_json::to_string(proposal)
        .map_err(|error| PluginError::Internal(error.to_string()))?;
    let digest: [u8; 32] = Sha256::digest(body.as_bytes()).into();
    let id = proposal.id.to_string();
    if let Some(known) = proposals::get(&state.pool, user, &id).await? {
        return same(&known, &digest);
    }
    let now = clock::now_ms();
    let row = Row {
        id: id.clone(),
        at: now,
        expires: check(&proposal.wish, user, now)?,
        digest: digest.to_vec(),
        body,
        state: Stage::Open,
        told: None,
        changed_at: now,
    };
    if proposals::add(&state.pool, user, &row, MOST_OPEN).await? {
        state.news.wake(user.as_bytes());
        return Ok((true, view(&row)?));
    }
    match proposals::get(&state.pool, user, &id).await? {
        Some(known) => same(&known, &digest),
        None => Err(PluginError::TooMany {
            code: "too_many_proposals",
            detail: "as many proposals wait for your wallet as may",
            retry_after: std::time::Duration::from_secs(60),
        }),
    }
}

fn same(known: &Row, digest: &[u8; 32]) -> Result<(bool, ProposalView), PluginError> {
    if known.digest != digest {
        return Err(PluginError::Refused {
            code: "id_reused",
            detail: "another proposal has this name".to_owned(),
        });
    }
    Ok((false, view(known)?))
}

/// Proposes something to your wallet, which does it once its user says so there. The same again is answered as before.
#[utoipa::path(post, path = "/v0/me/proposals", tag = "account", security(("session" = [])), request_body = Proposal,
    responses(
        (status = 200, description = "It was there", body = ProposalView),
        (status = 201, body = ProposalView),
        (status = 400, description = "`body_malformed`, `proposal_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`account_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`id_reused`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_proposals`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn propose(
    State(state): State<AppState>,
    caller: Caller,
    JsonBody(proposal): JsonBody<Proposal>,
) -> Result<(StatusCode, Json<ProposalView>), PluginError> {
    let (new, view) = leave(&state, &caller, &proposal).await?;
    let status = if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(view)))
}

/// What waits for your wallet, and what became of it: the newest first.
#[utoipa::path(get, path = "/v0/me/proposals", tag = "account", security(("session" = [])), params(ProposalsQuery),
    responses(
        (status = 200, body = ProposalList),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`query_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn list(
    State(state): State<AppState>,
    headers: HeaderMap,
    QueryParams(query): QueryParams<ProposalsQuery>,
    caller: Caller,
) -> Result<Response, PluginError> {
    let items = all(&state, &caller.user, query.open).await?;
    etag::respond(&headers, &ProposalList { items })
}

/// The newest proposals of a user.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn all(
    state: &AppState,
    user: &UserKey,
    open: bool,
) -> Result<Vec<ProposalView>, PluginError> {
    let rows = proposals::list(&state.pool, user, (open, clock::now_ms()), MOST).await?;
    rows.iter().map(view).collect()
}

/// One proposal.
#[utoipa::path(get, path = "/v0/me/proposals/{id}", tag = "account", security(("session" = [])),
    params(("id" = String, Path, description = "Its name")),
    responses(
        (status = 200, body = ProposalView),
        (status = 304, description = "Not modified"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`proposal_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn one(
    State(state): State<AppState>,
    headers: HeaderMap,
    TextPath(id): TextPath,
    caller: Caller,
) -> Result<Response, PluginError> {
    let row = proposals::get(&state.pool, &caller.user, &id).await?;
    etag::respond(&headers, &view(&row.ok_or_else(unknown)?)?)
}

/// Says what the wallet makes of a proposal. The same again does no harm.
#[utoipa::path(put, path = "/v0/me/proposals/{id}", tag = "account", security(("session" = [])), request_body = ProposalReport,
    params(("id" = String, Path, description = "Its name")),
    responses(
        (status = 200, body = ProposalView),
        (status = 400, description = "`body_malformed`, `proposal_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`proposal_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`proposal_ended`: it was withdrawn, has expired or is over", body = Problem, content_type = "application/problem+json"),
    ))]
async fn report(
    State(state): State<AppState>,
    TextPath(id): TextPath,
    caller: Caller,
    JsonBody(report): JsonBody<ProposalReport>,
) -> Result<Json<ProposalView>, PluginError> {
    if report.reason.as_ref().is_some_and(|r| r.len() > MAX_REASON) {
        return Err(invalid("a reason is a code"));
    }
    if report.route.len() > MOST_PARTS || report.route.iter().any(|part| part.len() > MOST_HOPS) {
        return Err(invalid("a way has at most four parts of twenty people"));
    }
    let told = Told {
        fee: report.fee,
        hops: report.hops,
        route: report.route,
        amount: report.amount,
        request: report.request,
        reason: report.reason,
    };
    let told = (told != Told::default())
        .then(|| serde_json::to_string(&told))
        .transpose()
        .map_err(|error| PluginError::Internal(error.to_string()))?;
    let next = match report.state {
        ProposalWord::Quoted => None,
        ProposalWord::Accepted => Some(Stage::Accepted),
        ProposalWord::Declined => Some(Stage::Declined),
        ProposalWord::Done => Some(Stage::Done),
        ProposalWord::Failed => Some(Stage::Failed),
    };
    let (user, now) = (&caller.user, clock::now_ms());
    let moved = match next {
        Some(next) => {
            proposals::advance(&state.pool, user, &id, (next, told.as_deref()), now).await?
        }
        None => {
            let told = told.ok_or_else(|| invalid("a quote says what it costs"))?;
            proposals::quote(&state.pool, user, &id, &told, now).await?
        }
    };
    let row = proposals::get(&state.pool, user, &id).await?;
    let row = row.ok_or_else(unknown)?;
    if !moved && next != Some(row.state) {
        return Err(ended());
    }
    state.news.wake(user.as_bytes());
    Ok(Json(view(&row)?))
}

fn ended() -> PluginError {
    PluginError::Refused {
        code: "proposal_ended",
        detail: "it was withdrawn, has expired, or is over".to_owned(),
    }
}

/// Takes a proposal back that the wallet has not accepted. Repeating it does no harm.
#[utoipa::path(delete, path = "/v0/me/proposals/{id}", tag = "account", security(("session" = [])),
    params(("id" = String, Path, description = "Its name")),
    responses(
        (status = 200, body = ProposalView),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`proposal_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`proposal_ended`: the wallet is at it, or it is over", body = Problem, content_type = "application/problem+json"),
    ))]
async fn withdraw(
    State(state): State<AppState>,
    TextPath(id): TextPath,
    caller: Caller,
) -> Result<Json<ProposalView>, PluginError> {
    Ok(Json(take_back(&state, &caller, &id).await?))
}

/// Takes a proposal back.
///
/// # Errors
/// `proposal_unknown`, `proposal_ended`, [`PluginError::Database`].
pub async fn take_back(
    state: &AppState,
    caller: &Caller,
    id: &str,
) -> Result<ProposalView, PluginError> {
    let (user, now) = (&caller.user, clock::now_ms());
    let stage = (Stage::Withdrawn, None);
    let moved = proposals::advance(&state.pool, user, id, stage, now).await?;
    let row = proposals::get(&state.pool, user, id).await?;
    let row = row.ok_or_else(unknown)?;
    if !moved && row.state != Stage::Withdrawn {
        return Err(ended());
    }
    state.news.wake(user.as_bytes());
    view(&row)
}
