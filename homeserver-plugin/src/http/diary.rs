//! What waits for a user and what there was, as the user's wallet tells it for the user's own page. No app can read it here.

use atomicity_ledger::record::Diary;
use atomicity_ledger::{MAX_RECORD_BYTES, Signed, UserKey};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::JsonBody;
use super::snapshot::{require_authority, time_of};
use crate::auth::Caller;
use crate::clock;
use crate::db::diaries::{self, StoredDiary};
use crate::error::PluginError;
use crate::problem::Problem;
use crate::state::AppState;

/// Body limit.
pub const BODY: usize = MAX_RECORD_BYTES + 1024;

/// A diary to store.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutDiary {
    /// The signed record (compact JWS, `atomicity-diary`).
    pub diary: String,
}

/// What is stored now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DiaryResult {
    /// When the diary that was sent was made, Unix milliseconds.
    pub as_of: i64,
    /// Whether it was stored; false if a newer one was there.
    pub stored: bool,
}

/// The routes of this module.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(put, forget))
}

/// What `user`'s wallet told last, with when it arrived, Unix milliseconds.
///
/// # Errors
/// [`PluginError::Database`]; [`PluginError::Internal`] if what is stored does not hold.
pub async fn load(
    state: &AppState,
    user: &UserKey,
) -> Result<Option<(Signed<Diary>, i64)>, PluginError> {
    let Some(stored) = diaries::get(&state.pool, user).await? else {
        return Ok(None);
    };
    let damaged =
        |why: String| PluginError::Internal(format!("a stored diary does not hold: {why}"));
    let diary = Signed::<Diary>::decode(&stored.jws).map_err(|error| damaged(error.to_string()))?;
    if diary.record().user != *user {
        return Err(damaged("it is another user's".to_owned()));
    }
    Ok(Some((diary, stored.stored_at)))
}

fn invalid(detail: impl Into<String>) -> PluginError {
    PluginError::BadRequest {
        code: "diary_invalid",
        detail: detail.into(),
    }
}

/// Stores what your wallet tells of what waits and what there was, for your own page.
#[utoipa::path(put, path = "/v0/me/diary", tag = "credit", security(("session" = [])), request_body = PutDiary,
    responses(
        (status = 200, body = DiaryResult),
        (status = 400, description = "`diary_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`signer_not_authorized`, `session_reads_only`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`account_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "`upstream_unavailable`: the signer's delegation could not be fetched", body = Problem, content_type = "application/problem+json"),
    ))]
async fn put(
    State(state): State<AppState>,
    caller: Caller,
    JsonBody(request): JsonBody<PutDiary>,
) -> Result<Json<DiaryResult>, PluginError> {
    let signed =
        Signed::<Diary>::decode(&request.diary).map_err(|error| invalid(error.to_string()))?;
    if signed.record().user != caller.user {
        return Err(invalid("the diary is of somebody else"));
    }
    let now = clock::now_ms();
    let at = time_of(signed.record().at, now).map_err(invalid)?;
    require_authority(&state, &signed).await?;
    let diary = StoredDiary {
        at,
        stored_at: now,
        jws: request.diary,
    };
    let stored = diaries::put(&state.pool, &caller.user, &diary).await?;
    if stored {
        state.news.wake(caller.user.as_bytes());
    }
    Ok(Json(DiaryResult { as_of: at, stored }))
}

/// Forgets what your wallet told of what waits and what there was.
#[utoipa::path(delete, path = "/v0/me/diary", tag = "credit", security(("session" = [])),
    responses(
        (status = 204, description = "It is forgotten, or there was none"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`session_reads_only`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn forget(State(state): State<AppState>, caller: Caller) -> Result<StatusCode, PluginError> {
    diaries::forget(&state.pool, &caller.user).await?;
    state.news.wake(caller.user.as_bytes());
    Ok(StatusCode::NO_CONTENT)
}
