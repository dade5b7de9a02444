//! A user's own account.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::etag;
use super::extract::JsonBody;
use crate::auth::Caller;
use crate::clock;
use crate::db::{self, accounts::Registered};
use crate::error::PluginError;
use crate::inbox::envelope;
use crate::problem::Problem;
use crate::state::AppState;

/// Body limit of the list of tags: 100,000 tags are never configured with more.
pub const TAGS_BODY: usize = 5 * 1024 * 1024;

/// An account.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// Whose, z-base-32.
    pub user: String,
    /// When it was made, Unix milliseconds.
    pub registered_at: i64,
    /// When the user left, if they did. What waits can still be read for a while.
    pub closed_at: Option<i64>,
    /// Envelopes that wait.
    pub queued: i64,
    /// Bytes that wait.
    pub queued_bytes: i64,
}

/// Tags of known counterparties.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tags {
    /// Each 32 bytes in base64url.
    pub tags: Vec<String>,
}

/// How many tags are registered now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TagCount {
    /// The number of different tags.
    pub tags: usize,
}

/// The routes of this module.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get, register, close))
}

/// The route that takes a large body.
pub fn tag_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(put_tags))
}

fn account_unknown() -> PluginError {
    PluginError::NotFound {
        code: "account_unknown",
        detail: "you have no account here: PUT /v0/me makes one",
    }
}

async fn account(state: &AppState, caller: &Caller) -> Result<Me, PluginError> {
    let account = db::accounts::get(&state.pool, &caller.user)
        .await?
        .ok_or_else(account_unknown)?;
    Ok(Me {
        user: caller.user.to_z32(),
        registered_at: account.registered_at,
        closed_at: account.closed_at,
        queued: account.queued,
        queued_bytes: account.queued_bytes,
    })
}

/// Your account.
#[utoipa::path(get, path = "/v0/me", tag = "account", security(("session" = [])),
    responses(
        (status = 200, body = Me),
        (status = 304, description = "Not modified"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`account_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn get(
    State(state): State<AppState>,
    headers: HeaderMap,
    caller: Caller,
) -> Result<Response, PluginError> {
    etag::respond(&headers, &account(&state, &caller).await?)
}

/// Makes an account, or keeps the one you have. Call it as often as you like.
#[utoipa::path(put, path = "/v0/me", tag = "account", security(("session" = [])),
    responses(
        (status = 200, description = "There was one", body = Me),
        (status = 201, description = "Made, or opened again", body = Me),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`not_a_local_user`, `accounts_full`", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "`upstream_unavailable`: the user's homeserver could not be looked up", body = Problem, content_type = "application/problem+json"),
    ))]
async fn register(State(state): State<AppState>, caller: Caller) -> Result<Response, PluginError> {
    let existing = db::accounts::get(&state.pool, &caller.user).await?;
    let is_open = existing.is_some_and(|account| account.closed_at.is_none());
    // Whoever has an account keeps it without the network being asked.
    let status = if is_open {
        StatusCode::OK
    } else {
        require_local(&state, &caller).await?;
        let max = state.config.accounts.max;
        match db::accounts::register(&state.pool, &caller.user, max, clock::now_ms()).await? {
            Registered::New => StatusCode::CREATED,
            Registered::Existing => StatusCode::OK,
        }
    };
    Ok((status, Json(account(&state, &caller).await?)).into_response())
}

async fn require_local(state: &AppState, caller: &Caller) -> Result<(), PluginError> {
    let config = &state.config.accounts;
    if config.open_registration {
        return Ok(());
    }
    let home = state.resolver.homeserver_of(&caller.user).await?;
    if home.is_some() && home == config.homeserver {
        return Ok(());
    }
    Err(PluginError::Forbidden {
        code: "not_a_local_user",
        detail: "this plugin serves the users of one homeserver, and your key names another or none",
    })
}

/// Closes your account. Nothing comes in any more; what waits can be read for a while.
#[utoipa::path(delete, path = "/v0/me", tag = "account", security(("session" = [])),
    responses(
        (status = 204, description = "Closed"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`account_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn close(State(state): State<AppState>, caller: Caller) -> Result<StatusCode, PluginError> {
    if db::accounts::close(&state.pool, &caller.user, clock::now_ms()).await? {
        if let Some(agent) = &state.agent {
            // Whoever leaves is not signed for any more.
            crate::agent::lookup::stop(&state, agent, &caller.user, "closed").await?;
        }
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(account_unknown())
    }
}

/// Replaces the tags by which your known counterparties write to you. Each has a budget of its own.
#[utoipa::path(put, path = "/v0/me/tags", tag = "account", security(("session" = [])), request_body = Tags,
    responses(
        (status = 200, body = TagCount),
        (status = 400, description = "`tags_malformed`, `too_many_tags`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`account_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn put_tags(
    State(state): State<AppState>,
    caller: Caller,
    JsonBody(request): JsonBody<Tags>,
) -> Result<Json<TagCount>, PluginError> {
    let max = state.config.inbox.max_tags;
    if request.tags.len() > max {
        return Err(PluginError::BadRequest {
            code: "too_many_tags",
            detail: format!("at most {max} tags"),
        });
    }
    let tags: BTreeSet<[u8; 32]> = request
        .tags
        .iter()
        .map(|tag| envelope::read_32("tag", tag))
        .collect::<Result<_, _>>()
        .map_err(|_| PluginError::BadRequest {
            code: "tags_malformed",
            detail: "each tag must be 32 bytes in base64url without padding".to_owned(),
        })?;
    let tags: Vec<[u8; 32]> = tags.into_iter().collect();
    if db::tags::replace(&state.pool, &caller.user, &tags).await? {
        Ok(Json(TagCount { tags: tags.len() }))
    } else {
        Err(account_unknown())
    }
}
