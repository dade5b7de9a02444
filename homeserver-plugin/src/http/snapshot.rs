//! Taking in the signed summary that a user pushes of their own books.

use atomicity_ledger::record::Snapshot;
use atomicity_ledger::{MAX_RECORD_BYTES, Signed};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::JsonBody;
use crate::auth::Caller;
use crate::clock;
use crate::db::snapshots::{self, StoredSnapshot};
use crate::error::PluginError;
use crate::problem::Problem;
use crate::state::AppState;

/// Body limit: the record and, if needed, the delegation of its key.
pub const BODY: usize = 2 * MAX_RECORD_BYTES + 1024;

/// How far ahead of ours a wallet's clock may be, in milliseconds.
const CLOCK_SKEW_MS: i64 = 5 * 60 * 1_000;

/// A summary to store.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutSnapshot {
    /// The signed record (compact JWS, `atomicity-snapshot`).
    pub snapshot: String,
}

/// What is stored now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SnapshotResult {
    /// When the stored summary was made, Unix milliseconds.
    pub as_of: i64,
    /// Whether it is the one that was sent; false if a newer one was there.
    pub stored: bool,
}

/// The routes of this module.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(put))
}

fn invalid(detail: impl Into<String>) -> PluginError {
    PluginError::BadRequest {
        code: "snapshot_invalid",
        detail: detail.into(),
    }
}

/// Stores the newest summary of your books, for your web apps to read.
#[utoipa::path(put, path = "/v0/me/snapshot", tag = "credit", security(("session" = [])), request_body = PutSnapshot,
    responses(
        (status = 200, body = SnapshotResult),
        (status = 400, description = "`snapshot_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`account_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn put(
    State(state): State<AppState>,
    caller: Caller,
    JsonBody(request): JsonBody<PutSnapshot>,
) -> Result<Json<SnapshotResult>, PluginError> {
    let signed = Signed::<Snapshot>::decode(&request.snapshot)
        .map_err(|error| invalid(error.to_string()))?;
    let now = clock::now_ms();
    let at = check(&signed, &caller, now)?;
    let snapshot = StoredSnapshot {
        at,
        stored_at: now,
        jws: request.snapshot,
    };
    let stored = snapshots::put(&state.pool, &caller.user, &snapshot).await?;
    let as_of = if stored {
        at
    } else {
        let held = snapshots::get(&state.pool, &caller.user).await?;
        held.map_or(at, |held| held.at)
    };
    Ok(Json(SnapshotResult { as_of, stored }))
}

fn check(signed: &Signed<Snapshot>, caller: &Caller, now: i64) -> Result<i64, PluginError> {
    let record = signed.record();
    if record.user != caller.user {
        return Err(invalid("the summary is of somebody else"));
    }
    let at = i64::try_from(record.at.millis()).map_err(|_| invalid("its time is out of range"))?;
    if at > now.saturating_add(CLOCK_SKEW_MS) {
        return Err(invalid(
            "the summary comes from the future: check the clock",
        ));
    }
    Ok(at)
}
