//! Mirrors, served in the same paths as the logs themselves (C2SP tlog-tiles), below `/mirror/<name>`.

use atomicity_witness_log::TilePath;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, Heads};
use super::{LogId, id_text};
use crate::error::PluginError;
use crate::problem::Problem;
use crate::state::AppState;

/// The routes of this module.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(checkpoint))
        .routes(routes!(head))
        // A tile's path has as many segments as its number needs, which no path of the document can say.
        .route("/mirror/{log}/tile/{*path}", get(tile))
}

/// A log that is mirrored here.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MirroredLog {
    /// Its name: `/mirror/<name>/checkpoint`, `/mirror/<name>/tile/…`.
    pub name: String,
    /// Its origin.
    pub origin: String,
    /// Its verifier key.
    pub vkey: String,
    /// Where the log itself is read.
    pub url: String,
    /// Whether it is cosigned here.
    pub cosigned: bool,
    /// Whether it is watched here.
    pub watched: bool,
}

/// The logs that are mirrored here.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MirrorList {
    /// The logs, in order of their names.
    pub items: Vec<MirroredLog>,
}

/// The logs that are mirrored here.
#[utoipa::path(get, path = "/mirror", tag = "logs", responses((status = 200, body = MirrorList)))]
async fn list(State(state): State<AppState>) -> axum::Json<MirrorList> {
    let logs = state.follow.logs();
    let items = logs.map(|log| MirroredLog {
        name: id_text(&log.id),
        origin: log.origin().to_owned(),
        vkey: log.key.to_string(),
        url: log.url.to_string(),
        cosigned: log.cosigned,
        watched: log.watched,
    });
    axum::Json(MirrorList {
        items: items.collect(),
    })
}

fn unknown() -> PluginError {
    PluginError::NotFound {
        code: "log_unknown",
        detail: "no log of this name is mirrored here: /mirror lists them",
    }
}

fn parse(name: &str) -> Result<LogId, PluginError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(name).map_err(|_| unknown())?;
    bytes.try_into().map_err(|_| unknown())
}

async fn heads(state: &AppState, name: &str) -> Result<Heads, PluginError> {
    let id = parse(name)?;
    store::heads(&state.pool, &id).await?.ok_or_else(unknown)
}

fn note(text: Option<String>) -> Result<Response, PluginError> {
    let text = text.ok_or(PluginError::NotFound {
        code: "nothing_yet",
        detail: "nothing of this log has been seen yet",
    })?;
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "max-age=1"),
    ];
    Ok((headers, text).into_response())
}

/// The newest checkpoint that a log published.
///
/// As the log served it, with the cosignatures that it bore.
#[utoipa::path(get, path = "/mirror/{log}/checkpoint", tag = "logs",
    params(("log" = String, Path, description = "SHA-256 of the origin, base64url")),
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = 404, description = "`log_unknown`, `nothing_yet`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn checkpoint(
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<Response, PluginError> {
    note(heads(&state, &name).await?.published)
}

/// The newest checkpoint that a log signed, as far as its mirror knows.
///
/// With the log's signature alone. It can be newer than the published one: a log whose last checkpoints found no quorum, or that died.
#[utoipa::path(get, path = "/mirror/{log}/head", tag = "logs",
    params(("log" = String, Path, description = "SHA-256 of the origin, base64url")),
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = 404, description = "`log_unknown`, `nothing_yet`", body = Problem, content_type = "application/problem+json"),
    ))]
async fn head(
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<Response, PluginError> {
    note(heads(&state, &name).await?.head)
}

async fn tile(
    State(state): State<AppState>,
    Path((name, path)): Path<(String, String)>,
) -> Result<Response, PluginError> {
    let none = || PluginError::NotFound {
        code: "tile_unknown",
        detail: "the mirror has no such tile",
    };
    let path: TilePath = format!("tile/{path}").parse().map_err(|_| none())?;
    let id = parse(&name)?;
    let heads = store::heads(&state.pool, &id).await?.ok_or_else(unknown)?;
    if !store::within(&path, heads.size) {
        return Err(none());
    }
    let mut found = store::tiles(&state.pool, &id, &[path]).await?;
    let bytes = found.remove(&path).ok_or_else(none)?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, bytes).into_response())
}
