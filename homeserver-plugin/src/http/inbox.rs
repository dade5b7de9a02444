//! Posting to an inbox, reading one's own.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::client_addr::ClientAddr;
use super::etag;
use super::extract::{JsonBody, QueryParams, RawJson, UserPath, parse_id};
use crate::auth::Caller;
use crate::clock;
use crate::db::envelopes::{self, Waiting};
use crate::error::PluginError;
use crate::inbox::admit::{Candidate, Posted};
use crate::inbox::envelope::{self, Envelope, Sender};
use crate::inbox::stream;
use crate::limits::AddressKey;
use crate::problem::Problem;
use crate::state::AppState;

/// Most envelopes in one page, and most ids in one acknowledgement.
pub const MAX_PAGE: i64 = 500;
/// Page size when none is asked for.
const DEFAULT_PAGE: i64 = 100;

/// Where an envelope was stored.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PostedId {
    /// Its number in that inbox, decimal.
    pub id: String,
}

/// An envelope that waits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Item {
    /// Its number in this inbox, decimal; later ones are greater.
    pub id: String,
    /// When it came, Unix milliseconds.
    pub received_at: i64,
    /// The envelope as it was posted.
    #[schema(value_type = Envelope)]
    pub envelope: Box<RawValue>,
}

impl From<Waiting> for Item {
    fn from(waiting: Waiting) -> Self {
        Self {
            id: waiting.id.to_string(),
            received_at: waiting.received_at,
            // What is stored was written by `serde_json`: it reads back.
            envelope: RawValue::from_string(waiting.body).unwrap_or_default(),
        }
    }
}

/// A page of an inbox.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page {
    /// In order.
    pub items: Vec<Item>,
    /// Ask with this as `after` for more; null at the end.
    pub next: Option<String>,
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Only what is above this id.
    after: Option<String>,
    /// Most items, 1 to 500; 100 if not given.
    limit: Option<i64>,
}

/// From where.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only what is above this id. The header `Last-Event-ID` counts before this.
    after: Option<String>,
}

/// Envelopes that were taken over.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AckRequest {
    /// At most 500.
    pub ids: Vec<String>,
}

/// What acknowledging did.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AckResult {
    /// How many of them were waiting.
    pub removed: i64,
}

/// The route that takes an envelope.
pub fn post_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(post))
}

/// The other routes of this module.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(read))
        .routes(routes!(acknowledge))
        .routes(routes!(events))
}

/// Leaves a sealed message for a user. Anybody may; answered when it is durable.
#[utoipa::path(post, path = "/v0/inbox/{user}", tag = "inbox", request_body = Envelope,
    params(("user" = String, Path, description = "Whom it is for, z-base-32")),
    responses(
        (status = 201, description = "Stored", body = PostedId),
        (status = 200, description = "The same envelope was stored before", body = PostedId),
        (status = 400, description = "`envelope_malformed`, `user_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`tag_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`account_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "`account_moved`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`record_too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`, `queue_full`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`database_unavailable`, `overloaded`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn post(
    State(state): State<AppState>,
    UserPath(user): UserPath,
    ClientAddr(address): ClientAddr,
    body: Result<RawJson, PluginError>,
) -> Result<Response, PluginError> {
    let body = body.map_err(|error| match error {
        PluginError::TooLarge { .. } => PluginError::TooLarge {
            code: "record_too_large",
        },
        other => other,
    });
    let result = match body {
        Ok(RawJson(bytes)) => take_in(&state, user, address.into(), &bytes).await,
        Err(error) => Err(error),
    };
    state.metrics.inbox_post(match &result {
        Ok(Posted::Stored(_)) => "stored",
        Ok(Posted::Repeated(_)) => "repeated",
        Err(error) => error.code(),
    });
    let (status, id) = match result? {
        Posted::Stored(id) => (StatusCode::CREATED, id),
        Posted::Repeated(id) => (StatusCode::OK, id),
    };
    Ok((status, Json(PostedId { id: id.to_string() })).into_response())
}

async fn take_in(
    state: &AppState,
    user: atomicity_ledger::UserKey,
    address: AddressKey,
    bytes: &[u8],
) -> Result<Posted, PluginError> {
    let checked = envelope::read(bytes, &user)?;
    let owner = *user.as_bytes();
    let (known, source) = match checked.sender {
        Sender::Known(tag) => {
            state.limits.tag(&owner, &tag)?;
            (true, tag)
        }
        Sender::Stranger => {
            state.limits.stranger(address)?;
            (false, hide(state, address))
        }
    };
    state
        .writer
        .post(Candidate {
            owner,
            known,
            source,
            digest: checked.digest,
            body: checked.body,
        })
        .await
}

/// What stands for a network address in the database: nobody without the plugin's secret can tell which it was.
pub(super) fn hide(state: &AppState, address: AddressKey) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"atomicity-plugin address")
        .chain_update(zeroize::Zeroizing::new(state.keypair.secret()).as_slice())
        .chain_update(address.as_bytes())
        .finalize()
        .into()
}

fn after(text: Option<&str>) -> Result<i64, PluginError> {
    text.map_or(Ok(0), parse_id)
}

/// What waits for you, in order.
#[utoipa::path(get, path = "/v0/inbox", tag = "inbox", security(("session" = [])), params(PageQuery),
    responses(
        (status = 200, body = Page),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`id_malformed`, `limit_invalid`, `query_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn read(
    State(state): State<AppState>,
    headers: HeaderMap,
    QueryParams(query): QueryParams<PageQuery>,
    caller: Caller,
) -> Result<Response, PluginError> {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(PluginError::BadRequest {
            code: "limit_invalid",
            detail: format!("limit must be 1 to {MAX_PAGE}"),
        });
    }
    let after = after(query.after.as_deref())?;
    // One more than asked for tells whether there is more.
    let mut waiting = envelopes::page(&state.pool, &caller.user, after, limit + 1).await?;
    let more = i64::try_from(waiting.len()).is_ok_and(|len| len > limit);
    if more {
        waiting.pop();
    }
    let next = waiting
        .last()
        .filter(|_| more)
        .map(|last| last.id.to_string());
    let items = waiting.into_iter().map(Item::from).collect();
    etag::respond(&headers, &Page { items, next })
}

/// Says that you have taken these over: they are deleted. Repeating it does no harm.
#[utoipa::path(post, path = "/v0/inbox/ack", tag = "inbox", security(("session" = [])), request_body = AckRequest,
    responses(
        (status = 200, body = AckResult),
        (status = 400, description = "`id_malformed`, `too_many_ids`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn acknowledge(
    State(state): State<AppState>,
    caller: Caller,
    JsonBody(request): JsonBody<AckRequest>,
) -> Result<Json<AckResult>, PluginError> {
    if i64::try_from(request.ids.len()).map_or(true, |len| len > MAX_PAGE) {
        return Err(PluginError::BadRequest {
            code: "too_many_ids",
            detail: format!("at most {MAX_PAGE} ids"),
        });
    }
    let ids = request
        .ids
        .iter()
        .map(|id| parse_id(id))
        .collect::<Result<Vec<_>, _>>()?;
    let removed = envelopes::acknowledge(&state.pool, &caller.user, &ids, clock::now_ms()).await?;
    state
        .metrics
        .inbox_acked(u64::try_from(removed).unwrap_or(0));
    Ok(Json(AckResult { removed }))
}

/// Your inbox as a live stream (server-sent events): `envelope` with an item as data, `ready` once when everything that waited
/// has been sent, then also `guests` when a guest wants to pay a part of a bill. Resumes after `Last-Event-ID`.
#[utoipa::path(get, path = "/v0/inbox/events", tag = "inbox", security(("session" = [])),
    params(EventsQuery, ("Last-Event-ID" = Option<String>, Header, description = "The last id that arrived")),
    responses(
        (status = 200, description = "A stream of `envelope` events", body = Item, content_type = "text/event-stream"),
        (status = 400, description = "`id_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_streams`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn events(
    State(state): State<AppState>,
    headers: HeaderMap,
    QueryParams(query): QueryParams<EventsQuery>,
    caller: Caller,
) -> Result<impl IntoResponse, PluginError> {
    let last = headers
        .get("last-event-id")
        .map(|value| value.to_str().unwrap_or("?"));
    let after = after(last.or(query.after.as_deref()))?;
    let listener = state.hub.listen(*caller.user.as_bytes())?;
    let events = stream::events(state, caller, listener, after);
    // Proxies must not collect events before they pass them on.
    let headers = [("x-accel-buffering", "no"), ("cache-control", "no-store")];
    Ok((headers, Sse::new(events).keep_alive(KeepAlive::default())))
}
