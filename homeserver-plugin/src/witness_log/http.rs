//! The log over HTTP: what C2SP's `tlog-tiles` asks for, publication, hints, a live stream.

use std::time::Duration;

use atomicity_witness_log::TilePath;
use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{WitnessLog, events, graves};
use crate::auth::{AnyCaller, Caller};
use crate::cosigner::TombstoneList;
use crate::db::accounts;
use crate::error::PluginError;
use crate::http::client_addr::ClientAddr;
use crate::http::extract::{JsonBody, QueryParams};
use crate::problem::Problem;
use crate::state::AppState;

/// What never changes may be kept for good.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// A preimage to be published.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// 32 bytes in base64url.
    pub preimage: String,
    /// Entries before this index don't count: the `from_size` of the terms. 0 if not given.
    #[serde(default)]
    pub min_index: u64,
}

/// A preimage that is published.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PublishAnswer {
    /// Index of its entry.
    pub index: u64,
    /// The entry's time, Unix milliseconds of the log's clock.
    pub time_ms: u64,
    /// The proof, in the text form of `c2sp.org/tlog-proof@v1`; its extra data is the entry.
    pub proof: String,
    /// SHA-256 of the policy under which the proof holds, base64url.
    pub policy_hash: String,
}

/// Where a preimage stands. A hint: only a proof proves.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Hint {
    /// Index of its entry.
    pub index: u64,
    /// The entry's time, Unix milliseconds of the log's clock.
    pub time_ms: u64,
}

/// From where on to look.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FromQuery {
    /// Entries before this index don't count; 0 if not given.
    #[serde(default)]
    from: u64,
}

/// Where a live stream begins.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// The first index that is wanted; the end of the published log if not given. The header `Last-Event-ID` counts before this.
    from: Option<u64>,
}

/// The log, for routes that are only there if there is one.
pub struct TheLog(pub WitnessLog);

impl FromRequestParts<AppState> for TheLog {
    type Rejection = PluginError;

    async fn from_request_parts(
        _parts: &mut Parts,
        state: &AppState,
    ) -> Result<Self, Self::Rejection> {
        state.witness_log.clone().map(Self).ok_or(NOT_HERE)
    }
}

const NOT_HERE: PluginError = PluginError::NotFound {
    code: "log_not_here",
    detail: "this plugin runs no log",
};

fn not_published(detail: &'static str) -> PluginError {
    PluginError::NotFound {
        code: "not_in_log",
        detail,
    }
}

/// The routes of a plugin that runs a log.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(checkpoint))
        .routes(routes!(tile))
        .routes(routes!(publish))
        .routes(routes!(look_up))
        .routes(routes!(live))
        .routes(routes!(policy))
        .routes(routes!(tombstones))
}

fn text(body: impl Into<Body>, cache: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, cache),
    ];
    (headers, body.into()).into_response()
}

/// The newest checkpoint that a quorum cosigned: a signed note (`c2sp.org/tlog-checkpoint`).
#[utoipa::path(get, path = "/log/checkpoint", tag = "log",
    responses(
        (status = 200, description = "The note", body = String, content_type = "text/plain"),
        (status = 404, description = "`not_in_log`: none was published yet", body = Problem, content_type = "application/problem+json"),
    ))]
async fn checkpoint(TheLog(log): TheLog) -> Result<Response, PluginError> {
    let published = log
        .published()
        .ok_or_else(|| not_published("no checkpoint was published yet"))?;
    Ok(text(published.text.clone(), "public, max-age=1"))
}

/// A tile of hashes or a bundle of entries (`c2sp.org/tlog-tiles`): `<L>/<N>[.p/<W>]` or `entries/<N>[.p/<W>]`.
///
/// Everything that was sequenced is served, also what no published checkpoint covers yet: cosigners read it before they cosign.
#[utoipa::path(get, path = "/log/tile/{*path}", tag = "log",
    params(("path" = String, Path, description = "Level (or `entries`), number and, unless it is full, width")),
    responses(
        (status = 200, description = "Its bytes, which never change", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 400, description = "`path_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_in_log`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn tile(TheLog(log): TheLog, Path(path): Path<String>) -> Result<Response, PluginError> {
    let path: TilePath =
        format!("tile/{path}")
            .parse()
            .map_err(
                |error: atomicity_witness_log::LogError| PluginError::BadRequest {
                    code: "path_malformed",
                    detail: error.to_string(),
                },
            )?;
    let bytes = log
        .tiles()
        .read(&path)
        .await?
        .ok_or_else(|| not_published("the log has not grown so far"))?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, IMMUTABLE),
    ];
    Ok((headers, bytes).into_response())
}

/// A caller with a session, or one without.
pub struct MaybeCaller(Option<Caller>);

impl FromRequestParts<AppState> for MaybeCaller {
    type Rejection = PluginError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> Result<Self, Self::Rejection> {
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            return Ok(Self(None));
        }
        // What is published is nobody's: a session that only reads may publish as whoever has none.
        let AnyCaller(caller) = AnyCaller::from_request_parts(parts, state).await?;
        Ok(Self(Some(caller)))
    }
}

fn bytes32(name: &str, text: &str) -> Result<[u8; 32], PluginError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| PluginError::BadRequest {
            code: "bytes_malformed",
            detail: format!("the {name} is not 32 bytes in base64url without padding"),
        })
}

/// Publishes a preimage. Answered once a published checkpoint shows it, with the proof.
///
/// An entry at or after `min_index` that holds it already is used. Nothing is kept about who asked. Users with an account here send
/// their session for a budget of their own.
#[utoipa::path(post, path = "/log/preimages", tag = "log", request_body = PublishRequest, security((), ("session" = [])),
    responses(
        (status = 200, description = "It is published", body = PublishAnswer),
        (status = 400, description = "`bytes_malformed`, `min_index_ahead`, `body_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`, `queue_full`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`log_behind`: too few cosignatures in time, ask again; `log_stopped`; `database_unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn publish(
    State(state): State<AppState>,
    TheLog(log): TheLog,
    ClientAddr(address): ClientAddr,
    MaybeCaller(caller): MaybeCaller,
    JsonBody(request): JsonBody<PublishRequest>,
) -> Result<Response, PluginError> {
    let outcome = async {
        let preimage = bytes32("preimage", &request.preimage)?;
        let registered = admit(&state, address.into(), caller.as_ref()).await?;
        log.publish_preimage(&state, preimage, request.min_index, registered)
            .await
    };
    let outcome = outcome.await;
    log.metrics().publication(match &outcome {
        Ok(_) => "published",
        Err(error) => error.code(),
    });
    let publication = outcome?;
    let answer = PublishAnswer {
        index: publication.placed.index,
        time_ms: publication.placed.time_ms,
        proof: publication.proof.to_string(),
        policy_hash: URL_SAFE_NO_PAD.encode(log.policy().hash()),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

/// Counts a publication. Says whether the caller has an account here.
async fn admit(
    state: &AppState,
    address: crate::limits::AddressKey,
    caller: Option<&Caller>,
) -> Result<bool, PluginError> {
    if let Some(caller) = caller {
        let account = accounts::get(&state.pool, &caller.user).await?;
        if account.is_some_and(|account| account.closed_at.is_none()) {
            state.limits.user_publication(caller.user.as_bytes())?;
            return Ok(true);
        }
    }
    state.limits.publication(address)?;
    Ok(false)
}

/// Where the preimage of a hash stands, under the published checkpoint. A hint without a proof.
#[utoipa::path(get, path = "/log/preimages/{hash}", tag = "log",
    params(("hash" = String, Path, description = "SHA-256 of the preimage, base64url"), FromQuery),
    responses(
        (status = 200, description = "There", body = Hint),
        (status = 400, description = "`bytes_malformed`, `query_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_in_log`: not so far", body = Problem, content_type = "application/problem+json"),
    ))]
async fn look_up(
    State(state): State<AppState>,
    TheLog(log): TheLog,
    Path(hash): Path<String>,
    QueryParams(query): QueryParams<FromQuery>,
) -> Result<Response, PluginError> {
    let hash = bytes32("hash", &hash)?;
    let placed = log
        .look_up(&state, hash, query.from)
        .await?
        .ok_or_else(|| not_published("it is not in the log so far"))?;
    let hint = Hint {
        index: placed.index,
        time_ms: placed.time_ms,
    };
    Ok(([(header::CACHE_CONTROL, "public, max-age=1")], Json(hint)).into_response())
}

/// New entries as they are published, live (server-sent events): `preimage` and `tick` events, their `id` the index. Resumes after
/// `Last-Event-ID`.
#[utoipa::path(get, path = "/log/events", tag = "log",
    params(EventsQuery, ("Last-Event-ID" = Option<String>, Header, description = "The last id that arrived")),
    responses(
        (status = 200, description = "A stream of entries", body = events::Entry, content_type = "text/event-stream"),
        (status = 400, description = "`query_invalid`, `id_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_streams`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn live(
    State(state): State<AppState>,
    TheLog(log): TheLog,
    headers: HeaderMap,
    QueryParams(query): QueryParams<EventsQuery>,
) -> Result<impl IntoResponse, PluginError> {
    let from = match headers.get("last-event-id") {
        Some(last) => Some(after(last)?),
        None => query.from,
    };
    let events = events::stream(state, log, from)?;
    // Proxies must not collect events before they pass them on.
    let headers = [("x-accel-buffering", "no"), ("cache-control", "no-store")];
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok((headers, Sse::new(events).keep_alive(keep_alive)))
}

fn after(last: &HeaderValue) -> Result<u64, PluginError> {
    let id = crate::http::extract::parse_id(last.to_str().unwrap_or("?"))?;
    Ok(u64::try_from(id).unwrap_or(0).saturating_add(1))
}

/// The policy by which this log's checkpoints are checked (`c2sp.org/tlog-policy`): its key and address, its cosigners, their quorum.
///
/// Terms name it by the SHA-256 of these bytes.
#[utoipa::path(get, path = "/log/policy", tag = "log",
    responses((status = 200, description = "The policy", body = String, content_type = "text/plain")))]
async fn policy(TheLog(log): TheLog) -> Response {
    text(log.policy().as_bytes().to_vec(), "public, max-age=60")
}

/// What cosigners of this log promised who saw it silent for too long: never to cosign a larger tree.
///
/// With so many of them that no quorum remains, the log has ended.
#[utoipa::path(get, path = "/log/tombstones", tag = "log",
    responses((status = 200, description = "The tombstones known here", body = TombstoneList)))]
async fn tombstones(
    State(state): State<AppState>,
    TheLog(log): TheLog,
) -> Result<Response, PluginError> {
    let items = graves::known(&state.pool, &log).await?;
    let headers = [(header::CACHE_CONTROL, "public, max-age=60")];
    Ok((headers, Json(TombstoneList { items })).into_response())
}
