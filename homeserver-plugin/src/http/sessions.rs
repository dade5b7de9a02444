//! Opening and ending sessions.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::client_addr::ClientAddr;
use super::extract::JsonBody;
use crate::auth::proof::{self, Proof};
use crate::auth::{AnyCaller, token};
use crate::clock;
use crate::db::{
    self,
    sessions::{Kind, NewSession},
};
use crate::error::PluginError;
use crate::limits::AddressKey;
use crate::problem::Problem;
use crate::state::AppState;

/// A request for a session.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenSession {
    /// Who asks. Counts once.
    pub proof: Proof,
}

/// A session.
#[derive(Serialize, ToSchema)]
pub struct Session {
    /// Send it as `Authorization: Bearer …`. A secret.
    pub token: String,
    /// When it ends, Unix milliseconds.
    pub expires_at: i64,
    /// Whose it is, z-base-32.
    pub user: String,
    /// Whether the user has an account here.
    pub registered: bool,
}

/// The routes of this module.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(open))
        .routes(routes!(close))
}

/// Opens a session by proof of key.
#[utoipa::path(post, path = "/v0/sessions", tag = "sessions", request_body = OpenSession,
    responses(
        (status = 201, body = Session),
        (status = 400, description = "`body_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`proof_invalid`, `proof_expired`, `proof_not_yet_valid`, `proof_wrong_audience`, `proof_replayed`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`database_unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn open(
    State(state): State<AppState>,
    ClientAddr(address): ClientAddr,
    JsonBody(request): JsonBody<OpenSession>,
) -> Result<(StatusCode, Json<Session>), PluginError> {
    let session = open_counted(&state, address.into(), request.proof, Kind::App).await?;
    Ok((StatusCode::CREATED, Json(session)))
}

/// Opens a session by a proof that counts once, within the budget of whoever asks, and counts what came of it.
///
/// # Errors
/// What [`open`] answers.
pub(crate) async fn open_counted(
    state: &AppState,
    address: AddressKey,
    proof: Proof,
    kind: Kind,
) -> Result<Session, PluginError> {
    let result = open_session(state, address, proof, kind).await;
    state
        .metrics
        .session(result.as_ref().map_or_else(PluginError::code, |_| "opened"));
    result
}

async fn open_session(
    state: &AppState,
    address: AddressKey,
    proof: Proof,
    kind: Kind,
) -> Result<Session, PluginError> {
    state.limits.session_open(address)?;
    let config = &state.config.sessions;
    let now = clock::now_ms();
    let audience = state.keypair.public_key().z32();
    let proven = proof::verify(proof, &audience, config.proof_max_age_s, now)?;
    let lasts = i64::try_from(config.ttl_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let expires_at = now.saturating_add(lasts).min(proven.grant_until);
    let (token, hash) = token::generate();
    let session = NewSession {
        token: hash,
        kind,
        now,
        expires_at,
        // The wallet page acts by itself for whoever logged in on it, by a grant that is for nothing else and names no files.
        writes: kind == Kind::Page || proven.writes,
    };
    db::sessions::open(&state.pool, &proven, &session, config.max_per_user).await?;
    let account = db::accounts::get(&state.pool, &proven.user).await?;
    Ok(Session {
        token: token.to_string(),
        expires_at,
        user: proven.user.to_z32(),
        registered: account.is_some_and(|account| account.closed_at.is_none()),
    })
}

/// Ends the session it is called with.
#[utoipa::path(delete, path = "/v0/sessions/current", tag = "sessions", security(("session" = [])),
    responses(
        (status = 204, description = "Ended"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn close(
    State(state): State<AppState>,
    AnyCaller(caller): AnyCaller,
) -> Result<StatusCode, PluginError> {
    db::sessions::close(&state.pool, &caller.user, &caller.session).await?;
    Ok(StatusCode::NO_CONTENT)
}
