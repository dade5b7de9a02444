//! What guests without an account pay of a public request, over Lightning or on the chain. The plugin only carries: the guest says how much,
//! the payee's wallet answers with an invoice or an address, and says when it is paid.

use std::sync::Arc;

use atomicity_ledger::record::{Goal, PaymentRequest, RequestState};
use atomicity_ledger::{Amount, RecordId, UserKey};
use axum::extract::Path;
use axum::extract::State;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::{Extension, Json};
use sha2::{Digest as _, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::client_addr::ClientAddr;
use super::credit::{Memory, requests};
use super::etag;
use super::extract::{JsonBody, QueryParams, TextPath};
use super::inbox::hide;
use crate::auth::Caller;
use crate::clock;
use crate::db::guests::{self, Row, State as Stage, Step, Way};
use crate::error::PluginError;
use crate::limits::AddressKey;
use crate::pages::bill::{Room, Standing};
use crate::problem::Problem;
use crate::router;
use crate::state::AppState;

mod words;

use words::{GuestPartList, GuestPartsQuery, GuestReport, GuestWays, check, invalid};
pub use words::{GuestPartView, NewGuestPart};

/// How long a wallet has to answer.
const ANSWER_MS: i64 = 10 * 60 * 1_000;
/// Most characters of a guest's name.
const MAX_NAME: usize = 40;
/// Most that are listed, and most ways.
const MOST: i64 = 200;
const MOST_WAYS: usize = 200;

/// The routes.
pub(crate) fn routes(memory: &Arc<Memory>) -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(ask))
        .routes(routes!(one))
        .routes(routes!(set_ways))
        .routes(routes!(list))
        .routes(routes!(report))
        .layer(Extension(Arc::clone(memory)))
}

const UNKNOWN: PluginError = PluginError::NotFound {
    code: "guest_part_unknown",
    detail: "there is no such part of a guest",
};

/// Whether anybody may pay parts of a request as a guest: it is asked of nobody by name, and once.
#[must_use]
pub(crate) fn is_for_guests(asked: &PaymentRequest) -> bool {
    asked.payer.is_none() && asked.every.is_none()
}

/// Refuses what can't be paid of a request, as far as can be told here.
fn check_amount(
    asked: &PaymentRequest,
    said: Option<&RequestState>,
    amount: Amount,
) -> Result<(), PluginError> {
    if !is_for_guests(asked) {
        return Err(invalid(
            "guests pay requests that are for everybody and do not recur",
        ));
    }
    if Standing::of(asked, said, router::now()) != Standing::Open {
        return Err(PluginError::Refused {
            code: "request_closed",
            detail: "nothing more can be paid of this request just now".to_owned(),
        });
    }
    let fits = match &asked.amount {
        Goal::Exact(exact) => *exact == amount,
        Goal::Target { .. } | Goal::Open { .. } => {
            Room::of(asked, said).is_some_and(|room| room.takes(amount.minor()))
        }
    };
    fits.then_some(()).ok_or_else(|| {
        invalid("that is less than the least, more than is left, or not what is asked for")
    })
}

/// Stores what a guest wants to pay, or finds it there. `true` if it is new.
///
/// # Errors
/// `guests_unwelcome`, `guest_part_invalid`, `request_closed`, `id_reused`, `too_many_guest_parts`, `rate_limited`; what asking for the request
/// can end in.
pub(crate) async fn leave(
    state: &AppState,
    memory: &Memory,
    (user, request): (UserKey, RecordId),
    address: AddressKey,
    new: &NewGuestPart,
) -> Result<(bool, Row), PluginError> {
    let id = new.id.to_string();
    let digest = digest_of(&(request, new))?;
    if let Some(known) = guests::get(&state.pool, &user, &id).await? {
        return same(known, &digest);
    }
    state.limits.stranger(address)?;
    let letters = new
        .name
        .as_ref()
        .map_or(0, |name| name.as_str().chars().count());
    if letters > MAX_NAME {
        return Err(invalid("a name has at most 40 characters"));
    }
    // Before a homeserver is asked for anything.
    if !guests::takes(&state.pool, &user, new.way).await? {
        return Err(guests::UNWELCOME);
    }
    let (kept, ..) = requests::find(state, memory, (user, request)).await?;
    let asked = kept.request.record();
    let said = kept.state.as_ref().map(|said| said.record());
    let unit = asked.unit.to_string();
    if !guests::ways(&state.pool, &user, &unit)
        .await?
        .contains(&new.way)
    {
        return Err(guests::UNWELCOME);
    }
    check_amount(asked, said, new.amount)?;
    let now = clock::now_ms();
    let row = Row {
        id: id.clone(),
        request: request.to_string(),
        unit,
        way: new.way,
        amount: minor(new.amount)?,
        name: new.name.as_ref().map(|name| name.as_str().to_owned()),
        digest: digest.to_vec(),
        state: Stage::Waiting,
        at: now,
        expires: now.saturating_add(ANSWER_MS),
        price_msat: None,
        target: None,
        reason: None,
        reports: Vec::new(),
    };
    let source = source(state, address, &row);
    if guests::add(&state.pool, &user, &row, &source).await? {
        state.hub.announce_guest(user.as_bytes());
        state.news.wake(user.as_bytes());
        return Ok((true, row));
    }
    match guests::get(&state.pool, &user, &id).await? {
        Some(known) => same(known, &digest),
        None => Err(PluginError::TooMany {
            code: "too_many_guest_parts",
            detail: "as many parts of guests wait for an answer as may",
            retry_after: std::time::Duration::from_secs(60),
        }),
    }
}

fn same(known: Row, digest: &[u8; 32]) -> Result<(bool, Row), PluginError> {
    if known.digest != digest {
        return Err(PluginError::Refused {
            code: "id_reused",
            detail: "another part has this name".to_owned(),
        });
    }
    Ok((false, known))
}

fn digest_of(said: &impl serde::Serialize) -> Result<[u8; 32], PluginError> {
    let text =
        serde_json::to_vec(said).map_err(|error| PluginError::Internal(error.to_string()))?;
    Ok(Sha256::digest(text).into())
}

/// What stands for a guest's network address: another thing at each request, so that nobody is followed from one to the next.
fn source(state: &AppState, address: AddressKey, row: &Row) -> [u8; 32] {
    Sha256::new()
        .chain_update(hide(state, address))
        .chain_update(row.request.as_bytes())
        .finalize()
        .into()
}

fn minor(amount: Amount) -> Result<i64, PluginError> {
    i64::try_from(amount.minor()).map_err(|_| invalid("that is too much"))
}

/// A guest part of a request, for whoever knows its name.
///
/// # Errors
/// `guest_part_unknown`, [`PluginError::Database`].
pub(crate) async fn find(
    state: &AppState,
    (user, request): (&UserKey, RecordId),
    id: RecordId,
) -> Result<Row, PluginError> {
    let row = guests::get(&state.pool, user, &id.to_string()).await?;
    row.filter(|row| row.request == request.to_string())
        .ok_or(UNKNOWN)
}

/// By which ways guests may pay a request of a user here.
///
/// # Errors
/// [`PluginError::Database`].
pub(crate) async fn welcome(
    state: &AppState,
    asked: &PaymentRequest,
) -> Result<Vec<Way>, PluginError> {
    if !is_for_guests(asked) {
        return Ok(Vec::new());
    }
    guests::ways(&state.pool, &asked.payee, &asked.unit.to_string()).await
}

/// Asks a payee's wallet, as a guest without an account, how to pay a part of a public request. The same again is answered as before.
#[utoipa::path(post, path = "/v0/users/{user}/requests/{id}/guest-parts", tag = "credit", request_body = NewGuestPart,
    params(("user" = String, Path, description = "The payee's key, z-base-32"), ("id" = String, Path, description = "The request's name")),
    responses(
        (status = 200, description = "It was there", body = GuestPartView),
        (status = 201, body = GuestPartView),
        (status = 400, description = "`body_malformed`, `guest_part_invalid`, `user_malformed`, `id_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`request_unknown`, `guests_unwelcome`, `homeserver_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`id_reused`, `request_closed`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_guest_parts`, `rate_limited`", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "`upstream_unavailable`: the request could not be read", body = Problem, content_type = "application/problem+json"),
    ))]
async fn ask(
    State(state): State<AppState>,
    Extension(memory): Extension<Arc<Memory>>,
    path: Result<Path<(String, String)>, PathRejection>,
    ClientAddr(address): ClientAddr,
    body: Result<JsonBody<NewGuestPart>, PluginError>,
) -> Result<(StatusCode, Json<GuestPartView>), PluginError> {
    let about = requests::parse(path)?;
    let JsonBody(new) = body?;
    let (is_new, row) = leave(&state, &memory, about, address.into(), &new).await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let view = GuestPartView::of(&row, clock::now_ms());
    Ok((status, Json(view)))
}

/// What became of a part that a guest wants to pay.
#[utoipa::path(get, path = "/v0/users/{user}/requests/{id}/guest-parts/{part}", tag = "credit",
    params(
        ("user" = String, Path, description = "The payee's key, z-base-32"),
        ("id" = String, Path, description = "The request's name"),
        ("part" = String, Path, description = "The part's name"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what you hold"),
    ),
    responses(
        (status = 200, body = GuestPartView),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`user_malformed`, `id_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`guest_part_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn one(
    State(state): State<AppState>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, PluginError> {
    let (user, request, id) = parse(path)?;
    let row = find(&state, (&user, request), id).await?;
    etag::respond(&headers, &GuestPartView::of(&row, clock::now_ms()))
}

/// Whose request, which, and which part of it.
///
/// # Errors
/// `user_malformed`, `id_malformed`.
pub(crate) fn parse(
    path: Result<Path<(String, String, String)>, PathRejection>,
) -> Result<(UserKey, RecordId, RecordId), PluginError> {
    let malformed = |code, detail: String| PluginError::BadRequest { code, detail };
    let path = path.map_err(|rejection| malformed("user_malformed", rejection.body_text()));
    let Path((user, request, part)) = path?;
    let (user, request) = requests::parse(Ok(Path((user, request))))?;
    let part = part.parse::<RecordId>();
    let part = part.map_err(|error| malformed("id_malformed", error.to_string()))?;
    Ok((user, request, part))
}

/// Says by which ways, and in which units, your wallet takes what guests pay of your public requests. Replaces what was said before.
#[utoipa::path(put, path = "/v0/me/guest-ways", tag = "account", security(("session" = [])), request_body = GuestWays,
    responses(
        (status = 200, body = GuestWays),
        (status = 400, description = "`body_malformed`, `too_many_ways`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`session_reads_only`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`account_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn set_ways(
    State(state): State<AppState>,
    caller: Caller,
    JsonBody(ways): JsonBody<GuestWays>,
) -> Result<Json<GuestWays>, PluginError> {
    if ways.ways.len() > MOST_WAYS {
        return Err(PluginError::BadRequest {
            code: "too_many_ways",
            detail: format!("at most {MOST_WAYS} ways are kept"),
        });
    }
    let rows: Vec<(Way, String)> = ways
        .ways
        .iter()
        .map(|way| (way.way, way.unit.to_string()))
        .collect();
    if !guests::set_ways(&state.pool, &caller.user, &rows).await? {
        return Err(PluginError::NotFound {
            code: "account_unknown",
            detail: "register first: PUT /v0/me",
        });
    }
    Ok(Json(ways))
}

/// What guests want to pay of your public requests, and what became of it: the newest first.
#[utoipa::path(get, path = "/v0/me/guest-parts", tag = "account", security(("session" = [])), params(GuestPartsQuery),
    responses(
        (status = 200, body = GuestPartList),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`query_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn list(
    State(state): State<AppState>,
    headers: HeaderMap,
    QueryParams(query): QueryParams<GuestPartsQuery>,
    caller: Caller,
) -> Result<Response, PluginError> {
    let now = clock::now_ms();
    let rows = guests::list(&state.pool, &caller.user, (query.open, now), MOST).await?;
    let items = rows.iter().map(|row| GuestPartView::of(row, now)).collect();
    etag::respond(&headers, &GuestPartList { items })
}

/// Says what the wallet makes of a guest part: what to pay, that it is paid, or why not. The same again does no harm.
#[utoipa::path(put, path = "/v0/me/guest-parts/{id}", tag = "account", security(("session" = [])), request_body = GuestReport,
    params(("id" = String, Path, description = "Its name")),
    responses(
        (status = 200, body = GuestPartView),
        (status = 400, description = "`body_malformed`, `guest_part_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`session_reads_only`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`guest_part_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`guest_part_ended`: it was not answered in time, or is over", body = Problem, content_type = "application/problem+json"),
    ))]
async fn report(
    State(state): State<AppState>,
    TextPath(id): TextPath,
    caller: Caller,
    JsonBody(report): JsonBody<GuestReport>,
) -> Result<Json<GuestPartView>, PluginError> {
    let (user, now) = (&caller.user, clock::now_ms());
    let row = guests::get(&state.pool, user, &id).await?.ok_or(UNKNOWN)?;
    check(&report, &row)?;
    let until = report.expires.map(|until| i64::try_from(until.millis()));
    let step = Step {
        state: report.state.into(),
        amount: report.amount.map(minor).transpose()?,
        price_msat: report.price_msat.map(minor).transpose()?,
        target: report.invoice.clone().or_else(|| report.address.clone()),
        expires: until.transpose().map_err(|_| invalid("that is too late"))?,
        reason: report.reason.clone(),
        digest: digest_of(&report)?,
    };
    if guests::advance(&state.pool, user, &id, &step, now).await? {
        state.news.wake(user.as_bytes());
    }
    let row = guests::get(&state.pool, user, &id).await?.ok_or(UNKNOWN)?;
    // What it says already, or was told before, does no harm.
    let told = row.reports.iter().any(|known| *known == step.digest);
    let over = step.state == Stage::Ended && row.state_at(now) == Stage::Ended;
    if !told && !over {
        return Err(PluginError::Refused {
            code: "guest_part_ended",
            detail: "it was not answered in time, or is over, or stands otherwise".to_owned(),
        });
    }
    Ok(Json(GuestPartView::of(&row, now)))
}
