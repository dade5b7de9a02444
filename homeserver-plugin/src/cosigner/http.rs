//! How logs ask for cosignatures (C2SP tlog-witness), and how everybody reads tombstones.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Refusal, add_checkpoint};
use crate::error::PluginError;
use crate::mirror::store;
use crate::problem::{Problem, ProblemCode};
use crate::state::AppState;

/// Longest request. A consistency proof and a checkpoint with dozens of signatures have a tenth of it.
pub const BODY: usize = 64 * 1024;
/// Seconds to wait where the log could not be read, or another request was faster.
const RETRY_AFTER_S: u64 = 1;

/// The route that takes checkpoints.
pub fn add_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(add))
}

/// The routes that are read.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(info))
        .routes(routes!(tombstones))
}

/// Asks for a cosignature.
///
/// The `add-checkpoint` call of C2SP tlog-witness. Stricter than it: the entries are fetched from the log and checked, the last one must be a
/// tick within 5 seconds of our clock, and nothing is cosigned beyond a tombstone or for a log that was proven to lie.
#[utoipa::path(post, path = "/cosigner/add-checkpoint", tag = "logs",
    request_body(content = String, content_type = "text/plain", description = "`old <size>`, the lines of the consistency proof, an empty line, the checkpoint"),
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "Signature lines"),
        (status = 400, description = "`request_malformed`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`not_signed`: the log's signature is missing or wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`log_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another size was cosigned last: the body says which", body = String, content_type = "text/x.tlog.size"),
        (status = 422, description = "It must not be cosigned: `consistency_invalid`, `root_mismatch`, `no_tick`, `tick_skewed`, `tombstoned`, `log_forked` …", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`entries_unavailable`, `catching_up`, `log_busy`: not now", body = Problem, content_type = "application/problem+json"),
    ))]
async fn add(State(state): State<AppState>, body: Bytes) -> Response {
    match add_checkpoint(&state, &body).await {
        Ok(lines) => text("text/plain; charset=utf-8", StatusCode::OK, lines),
        Err(refusal) => refuse(refusal),
    }
}

fn text(kind: &'static str, status: StatusCode, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body).into_response()
}

fn refuse(refusal: Refusal) -> Response {
    let status = match &refusal {
        Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
        Refusal::LogUnknown => StatusCode::NOT_FOUND,
        Refusal::NotSigned(_) => StatusCode::FORBIDDEN,
        Refusal::Unacceptable { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Later { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Conflict(size) => {
            return text(
                "text/x.tlog.size",
                StatusCode::CONFLICT,
                format!("{size}\n"),
            );
        }
        Refusal::Plugin(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if let Refusal::Plugin(error) = refusal {
        return error.into_response();
    }
    let code = refusal.code();
    let later = status == StatusCode::SERVICE_UNAVAILABLE;
    let problem = Problem {
        kind: format!("https://atomicity.invalid/problems/{code}"),
        title: status.canonical_reason().unwrap_or("Error").to_owned(),
        status: status.as_u16(),
        detail: refusal.to_string(),
        code: code.to_owned(),
        retry_after_s: later.then_some(RETRY_AFTER_S),
    };
    let mut response = (status, Json(problem)).into_response();
    response.extensions_mut().insert(ProblemCode(code));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(crate::problem::PROBLEM_JSON),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if later {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    }
    response
}

/// Who cosigns here.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CosignerInfo {
    /// The verifier key: what a log's operator and a policy name.
    pub vkey: String,
    /// The origins of the logs that are cosigned.
    pub logs: Vec<String>,
    /// How long a log must have been silent for a tombstone, in seconds.
    pub dead_after_s: u64,
}

/// Who cosigns here.
#[utoipa::path(get, path = "/cosigner", tag = "logs", responses(
    (status = 200, body = CosignerInfo),
    (status = 404, description = "`cosigner_off`", body = Problem, content_type = "application/problem+json")))]
async fn info(State(state): State<AppState>) -> Result<Json<CosignerInfo>, PluginError> {
    let key = state
        .follow
        .cosigner
        .as_ref()
        .ok_or(PluginError::NotFound {
            code: "cosigner_off",
            detail: "this plugin does not cosign",
        })?;
    let logs = state.follow.logs().filter(|log| log.cosigned);
    Ok(Json(CosignerInfo {
        vkey: key.verifier().to_string(),
        logs: logs.map(|log| log.origin().to_owned()).collect(),
        dead_after_s: state.config.cosigner.dead_after_s,
    }))
}

/// A promise to cosign no larger tree of a log that died.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TombstoneItem {
    /// The log.
    pub origin: String,
    /// Size of the last tree.
    pub size: u64,
    /// The signed note (`atomicity-tombstone/v1`).
    pub tombstone: String,
}

/// Tombstones.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TombstoneList {
    /// The tombstones, by origin.
    pub items: Vec<TombstoneItem>,
}

/// The tombstones that were signed here.
///
/// Each stands for ever. With so many of them that no quorum remains, the log has ended. The log itself can be read at `/mirror`.
#[utoipa::path(get, path = "/cosigner/tombstones", tag = "logs", responses((status = 200, body = TombstoneList)))]
async fn tombstones(State(state): State<AppState>) -> Result<Json<TombstoneList>, PluginError> {
    let items = store::tombstones(&state.pool).await?;
    let items = items
        .into_iter()
        .map(|(origin, size, tombstone)| TombstoneItem {
            origin,
            size,
            tombstone,
        });
    Ok(Json(TombstoneList {
        items: items.collect(),
    }))
}
