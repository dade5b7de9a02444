//! Handing in what one was shown, and reading who lied.

use atomicity_witness_log::{ForkProof, SignedNote};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::examine::{self, Finding};
use crate::error::PluginError;
use crate::http::client_addr::ClientAddr;
use crate::http::etag;
use crate::http::extract::{JsonBody, QueryParams, parse_id};
use crate::mirror::proofs::{self, MAX_PROOF, Recorded, Verdict, Via};
use crate::problem::Problem;
use crate::state::AppState;

/// Longest request with checkpoints.
pub const CHECKPOINTS_BODY: usize = 256 * 1024;
/// Longest proof.
pub const PROOF_BODY: usize = MAX_PROOF;
/// Most checkpoints of one request.
const MAX_NOTES: usize = 16;
/// Longest checkpoint.
const MAX_NOTE: usize = 64 * 1024;
/// Most verdicts of a page.
const MAX_PAGE: i64 = 500;

/// The route that takes checkpoints.
pub fn checkpoint_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(hand_in))
}

/// The route that takes proofs.
pub fn proof_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(take_proof))
}

/// The routes that are read.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(verdicts))
        .routes(routes!(proof))
}

/// What you were shown.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandIn {
    /// Signed notes, as they came: checkpoints, and tombstones of cosigners. At most 16.
    pub notes: Vec<String>,
}

/// What came of each.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HandInResult {
    /// In the order of the notes.
    pub results: Vec<NoteResult>,
}

/// What came of a checkpoint.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NoteResult {
    /// `consistent` with what the log shows this watchtower; `kept` until the log has shown as much; `forked`: somebody lied, see
    /// `verdict`; `refused`, see `code`.
    #[schema(example = "consistent")]
    pub status: String,
    /// The number of the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// Why it was refused, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it was refused, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl From<Finding> for NoteResult {
    fn from(finding: Finding) -> Self {
        let plain = |status: &str| Self {
            status: status.to_owned(),
            verdict: None,
            code: None,
            detail: None,
        };
        match finding {
            Finding::Agrees => plain("consistent"),
            Finding::Kept => plain("kept"),
            Finding::Lied(recorded) => Self {
                verdict: Some(recorded.id.to_string()),
                ..plain("forked")
            },
            Finding::Useless { code, detail } => Self {
                code: Some(code.to_owned()),
                detail: Some(detail),
                ..plain("refused")
            },
        }
    }
}

/// Hands in checkpoints that you were shown.
///
/// They are compared with what the log shows this watchtower. Two histories make a proof.
#[utoipa::path(post, path = "/watchtower/checkpoints", tag = "logs", request_body = HandIn,
    responses(
        (status = 200, body = HandInResult),
        (status = 400, description = "`body_malformed`, `too_many_notes`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn hand_in(
    State(state): State<AppState>,
    ClientAddr(address): ClientAddr,
    JsonBody(request): JsonBody<HandIn>,
) -> Result<Json<HandInResult>, PluginError> {
    state.limits.submission(address.into())?;
    if request.notes.len() > MAX_NOTES {
        return Err(PluginError::BadRequest {
            code: "too_many_notes",
            detail: format!("at most {MAX_NOTES} checkpoints at once"),
        });
    }
    let mut results = Vec::with_capacity(request.notes.len());
    for text in &request.notes {
        results.push(examine_text(&state, text).await?.into());
    }
    Ok(Json(HandInResult { results }))
}

async fn examine_text(state: &AppState, text: &str) -> Result<Finding, PluginError> {
    if text.len() > MAX_NOTE {
        return Ok(Finding::Useless {
            code: "too_large",
            detail: format!("a checkpoint has at most {MAX_NOTE} bytes"),
        });
    }
    match SignedNote::parse(text.as_bytes()) {
        Ok(note) => examine::shown(state, &note).await,
        Err(error) => Ok(Finding::Useless {
            code: error.code(),
            detail: error.to_string(),
        }),
    }
}

/// A proof that was taken.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProofResult {
    /// The number of the verdict against this key.
    pub verdict: String,
    /// Whether the proof was new here.
    pub new: bool,
    /// Whom it convicts: a verifier key.
    pub culprit: String,
    /// Of what.
    #[schema(example = "same_size")]
    pub what: String,
}

impl From<Recorded> for ProofResult {
    fn from(recorded: Recorded) -> Self {
        Self {
            verdict: recorded.id.to_string(),
            new: recorded.new,
            culprit: recorded.culprit.key.to_string(),
            what: recorded.culprit.what.code().to_owned(),
        }
    }
}

/// Hands in a proof that somebody lied.
#[utoipa::path(post, path = "/watchtower/proofs", tag = "logs",
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "`atomicity-fork/v1`"),
    responses(
        (status = 201, body = ProofResult),
        (status = 200, body = ProofResult, description = "The culprit is convicted already"),
        (status = 400, description = "`proof_malformed`, `proof_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`key_unknown`: about nobody who is watched here", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`proof_too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn take_proof(
    State(state): State<AppState>,
    ClientAddr(address): ClientAddr,
    body: Bytes,
) -> Result<Response, PluginError> {
    state.limits.submission(address.into())?;
    let proof = ForkProof::decode(&body).map_err(|error| PluginError::BadRequest {
        code: "proof_malformed",
        detail: error.to_string(),
    })?;
    let recorded = proofs::record(&state, &proof, Via::Client).await?;
    let status = if recorded.new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(ProofResult::from(recorded))).into_response())
}

/// Which verdicts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct PageParams {
    /// Only those above this number.
    pub after: Option<String>,
    /// At most so many, 1 to 500; 100 if absent.
    pub limit: Option<i64>,
    /// Only those about this log.
    pub origin: Option<String>,
}

/// A verdict.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VerdictItem {
    /// Its number here.
    pub id: String,
    /// The log concerned.
    pub origin: String,
    /// The culprit's verifier key.
    pub culprit: String,
    /// `log` or `cosigner`.
    pub role: String,
    /// What it did.
    #[schema(example = "inconsistent")]
    pub what: String,
    /// When this watchtower learned of it, Unix milliseconds.
    pub found_at: i64,
    /// SHA-256 of the proof, base64url.
    pub digest: String,
    /// Where the proof is, seen from here.
    #[schema(example = "/watchtower/proofs/7")]
    pub proof_url: String,
}

impl From<Verdict> for VerdictItem {
    fn from(verdict: Verdict) -> Self {
        Self {
            id: verdict.id.to_string(),
            origin: verdict.origin,
            culprit: verdict.culprit,
            role: verdict.role,
            what: verdict.what,
            found_at: verdict.found_at,
            digest: BASE64_URL_SAFE_NO_PAD.encode(&verdict.digest),
            proof_url: format!("/watchtower/proofs/{}", verdict.id),
        }
    }
}

/// Verdicts, in the order in which this watchtower learned of them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VerdictPage {
    /// The verdicts.
    pub items: Vec<VerdictItem>,
    /// What to give as `after` for the next page; absent at the end.
    pub next: Option<String>,
}

/// Who lied.
///
/// A verdict is worth what its proof is worth: fetch it and check it.
#[utoipa::path(get, path = "/watchtower/verdicts", tag = "logs", params(PageParams),
    responses(
        (status = 200, body = VerdictPage),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`query_invalid`, `id_malformed`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn verdicts(
    State(state): State<AppState>,
    QueryParams(params): QueryParams<PageParams>,
    headers: HeaderMap,
) -> Result<Response, PluginError> {
    let after = params.after.as_deref().map_or(Ok(0), parse_id)?;
    let limit = params.limit.unwrap_or(100);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(PluginError::BadRequest {
            code: "query_invalid",
            detail: format!("limit is 1 to {MAX_PAGE}"),
        });
    }
    let more = limit.saturating_add(1);
    let mut found = proofs::page(&state.pool, after, more, params.origin.as_deref()).await?;
    let full = i64::try_from(found.len()).is_ok_and(|count| count > limit);
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = found
        .last()
        .filter(|_| full)
        .map(|verdict| verdict.id.to_string());
    let items = found.into_iter().map(VerdictItem::from).collect();
    etag::respond(&headers, &VerdictPage { items, next })
}

/// The proof of a verdict.
///
/// `atomicity-fork/v1`: it names the culprit's key, and whoever reads it needs nothing else to check it.
#[utoipa::path(get, path = "/watchtower/proofs/{id}", tag = "logs",
    params(("id" = String, Path, description = "The verdict's number")),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, description = "`verdict_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn proof(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, PluginError> {
    let bytes = proofs::get(&state.pool, parse_id(&id)?).await?;
    let bytes = bytes.ok_or(PluginError::NotFound {
        code: "verdict_unknown",
        detail: "there is no verdict with this number",
    })?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, bytes).into_response())
}
