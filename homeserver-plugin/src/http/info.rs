//! Who this plugin is.

use atomicity_ledger::MAX_RECORD_BYTES;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::etag;
use crate::error::PluginError;
use crate::state::AppState;

/// Who this plugin is and whom it serves.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Info {
    /// The plugin's key, z-base-32. Proofs for sessions name it as their audience.
    pub plugin: String,
    /// The homeserver whose users it serves, if it serves one in particular.
    pub homeserver: Option<String>,
    /// Version of the software.
    pub version: String,
    /// Longest record it passes on, in bytes.
    pub max_record_bytes: usize,
    /// Whether users of other homeservers may register.
    pub open_registration: bool,
}

/// The routes of this module.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(info))
}

/// Who this plugin is.
#[utoipa::path(get, path = "/v0/info", tag = "plugin",
    responses((status = 200, body = Info), (status = 304, description = "Not modified")))]
async fn info(State(state): State<AppState>, headers: HeaderMap) -> Result<Response, PluginError> {
    let accounts = &state.config.accounts;
    let info = Info {
        plugin: state.keypair.public_key().z32(),
        homeserver: accounts.homeserver.map(|key| key.to_z32()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        max_record_bytes: MAX_RECORD_BYTES,
        open_registration: accounts.open_registration,
    };
    etag::respond(&headers, &info)
}
