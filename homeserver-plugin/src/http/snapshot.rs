//! The signed summary that a user pushes of their own books: taking it in, and handing it to the user's apps.

mod read;

use atomicity_ledger::authority::{Credentials, Purpose, delegation_path};
use atomicity_ledger::record::Snapshot;
use atomicity_ledger::{MAX_RECORD_BYTES, Record, Signed, Timestamp};
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
use crate::resolve::Fetched;
use crate::state::AppState;

/// Body limit.
pub const BODY: usize = MAX_RECORD_BYTES + 1024;

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

/// The routes that hand it out.
pub fn read_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(read::newest))
        .routes(routes!(read::live))
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
        (status = 403, description = "`signer_not_authorized`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`account_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "`upstream_unavailable`: the signer's delegation could not be fetched", body = Problem, content_type = "application/problem+json"),
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
    require_authority(&state, &signed).await?;
    let snapshot = StoredSnapshot {
        at,
        stored_at: now,
        jws: request.snapshot,
    };
    let stored = snapshots::put(&state.pool, &caller.user, &snapshot).await?;
    if stored {
        state.snapshots.wake(caller.user.as_bytes());
    }
    let as_of = if stored {
        state.news.wake(caller.user.as_bytes());
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
    time_of(record.at, now).map_err(invalid)
}

/// When a wallet says that it made something, Unix milliseconds; why it is refused if that is ahead of `now`.
pub(super) fn time_of(at: Timestamp, now: i64) -> Result<i64, &'static str> {
    let at = i64::try_from(at.millis()).map_err(|_| "its time is out of range")?;
    if at > now.saturating_add(CLOCK_SKEW_MS) {
        return Err("it comes from the future: check the clock");
    }
    Ok(at)
}

/// A session alone must not be enough: any app of the user has one, and could show the others what it likes. So the signer must be
/// the root key, or a key whose authority lies on the user's homeserver now.
pub(super) async fn require_authority<R: Record>(
    state: &AppState,
    signed: &Signed<R>,
) -> Result<(), PluginError> {
    let (user, signer) = (signed.record().author(), signed.kid());
    if signer.is_root_of(&user) {
        return Ok(());
    }
    let refuse = || PluginError::Forbidden {
        code: "signer_not_authorized",
        detail: "it is signed by a key that may not keep the user's books",
    };
    let path = delegation_path(&signer);
    let fetched = state
        .resolver
        .get_public(&user, &path, None, MAX_RECORD_BYTES)
        .await?;
    let Fetched::Found { body, .. } = fetched else {
        return Err(refuse());
    };
    let jws = String::from_utf8(body).map_err(|_| refuse())?;
    let now = u64::try_from(clock::now_ms()).unwrap_or(0);
    let now =
        Timestamp::from_millis(now).map_err(|error| PluginError::Internal(error.to_string()))?;
    let mut credentials = Credentials::new(user);
    credentials.learn(jws.trim(), now).map_err(|_| refuse())?;
    credentials
        .judge(signer, Purpose::Report, now)
        .map(|_| ())
        .map_err(|_| refuse())
}
