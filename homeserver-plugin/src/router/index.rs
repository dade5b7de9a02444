//! `GET /v0/index/ratings/{subject}`: what users say of a service or of somebody, counted, with what each of them signed.
//!
//! The counts say nothing by themselves: keys are free, so anybody can have as many good ratings as they like. Whoever asks looks for
//! people they know in the list.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::http::KnownPage;
use super::store;
use crate::error::PluginError;
use crate::http::etag;
use crate::http::extract::{QueryParams, UserPath};
use crate::problem::Problem;
use crate::state::AppState;

/// The routes of this module.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(ratings))
}

/// What is said of somebody.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Ratings {
    /// Of whom, z-base-32.
    pub subject: String,
    /// When the indexer last heard from the outside, Unix ms.
    pub as_of: i64,
    /// How many say what.
    pub counts: Vec<RatingCount>,
    /// Who says it, by key.
    pub items: Vec<RatingItem>,
    /// What to send as `after` for the next page; absent at the end.
    pub next: Option<String>,
}

/// How many say the same.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RatingCount {
    /// As what: `router`, `log`, `watchtower`, `cosigner` or `user`.
    pub kind: String,
    /// `good`, `poor` or `block`.
    pub verdict: String,
    /// How many users.
    pub count: i64,
}

/// What one user says.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RatingItem {
    /// Who, z-base-32.
    pub from: String,
    /// As what.
    pub kind: String,
    /// The judgement.
    pub verdict: String,
    /// The signed record.
    pub jws: String,
}

/// What users say of a service or of somebody.
///
/// Every rating comes with its signature; those of people you know are worth reading.
#[utoipa::path(get, path = "/v0/index/ratings/{subject}", tag = "router",
    params(("subject" = String, Path, description = "The key of whoever is judged, z-base-32"), KnownPage),
    responses(
        (status = 200, body = Ratings),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`limit_invalid`, `cursor_invalid`, `user_malformed`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn ratings(
    State(state): State<AppState>,
    UserPath(subject): UserPath,
    QueryParams(page): QueryParams<KnownPage>,
    headers: HeaderMap,
) -> Result<Response, PluginError> {
    let (after, limit) = page.read()?;
    let counts = store::ratings::counts(&state.pool, &subject).await?;
    let found = store::ratings::page(&state.pool, &subject, after, limit).await?;
    let full = found.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next = found
        .last()
        .filter(|_| full)
        .map(|(from, ..)| from.to_z32());
    let answer = Ratings {
        subject: subject.to_z32(),
        as_of: state.router.as_ref().map_or(0, |router| router.heard_at()),
        counts: counts
            .into_iter()
            .map(|(kind, verdict, count)| RatingCount {
                kind,
                verdict,
                count,
            })
            .collect(),
        items: found
            .into_iter()
            .map(|(from, kind, verdict, jws)| RatingItem {
                from: from.to_z32(),
                kind,
                verdict,
                jws,
            })
            .collect(),
        next,
    };
    etag::respond(&headers, &answer)
}
