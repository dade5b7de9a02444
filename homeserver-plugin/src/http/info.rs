//! Who this plugin is.

use atomicity_ledger::MAX_RECORD_BYTES;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{etag, web};
use crate::error::PluginError;
use crate::mirror::Followed;
use crate::pages;
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
    /// Where the JavaScript module for web apps lies below this server.
    #[schema(example = "/web/mVn8q0dQ1xYp2c_K/atomicity.js")]
    pub web_module: String,
    /// Where its pages for people are on the web, without a slash at the end; absent if it serves none, or was not told its address. The page of
    /// a request to be paid lies below it at `/u/<payee>/requests/<name>`.
    #[schema(example = "https://credit.example.org")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<String>,
    /// What it is to others, beside that. A role that is not on offer is missing.
    pub roles: Roles,
}

/// The roles on offer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Roles {
    /// It says which way somebody can be paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<RouterRole>,
    /// It runs a log of preimages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness_log: Option<WitnessLogRole>,
    /// It cosigns logs of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cosigner: Option<CosignerRole>,
    /// It watches logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchtower: Option<WatchtowerRole>,
}

/// Under which path routes are asked for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RouterRole {
    /// Under what its routes lie.
    #[schema(example = "/v0/router")]
    pub path: String,
}

/// The log of this plugin.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WitnessLogRole {
    /// Under what its routes lie.
    #[schema(example = "/log")]
    pub path: String,
    /// Its name.
    pub origin: String,
    /// Its verifier key.
    pub vkey: String,
    /// SHA-256 of its policy, base64url.
    pub policy_hash: String,
}

/// The cosigner of this plugin.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CosignerRole {
    /// Under what its routes lie.
    #[schema(example = "/cosigner")]
    pub path: String,
    /// Its verifier key.
    pub vkey: String,
    /// The origins of the logs that it cosigns.
    pub logs: Vec<String>,
}

/// The watchtower of this plugin.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WatchtowerRole {
    /// Under what its routes lie.
    #[schema(example = "/watchtower")]
    pub path: String,
    /// The origins of the logs that it watches.
    pub logs: Vec<String>,
}

fn roles(state: &AppState) -> Roles {
    let follow = &state.follow;
    let origins = |wanted: fn(&Followed) -> bool| {
        let logs = follow.logs().filter(|log| wanted(log));
        logs.map(|log| log.origin().to_owned()).collect()
    };
    Roles {
        router: state.router.as_ref().map(|_| RouterRole {
            path: "/v0/router".to_owned(),
        }),
        witness_log: state.witness_log.as_ref().map(|log| WitnessLogRole {
            path: "/log".to_owned(),
            origin: log.origin(),
            vkey: log.vkey(),
            policy_hash: URL_SAFE_NO_PAD.encode(log.policy().hash()),
        }),
        cosigner: follow.cosigner.as_ref().map(|key| CosignerRole {
            path: "/cosigner".to_owned(),
            vkey: key.verifier().to_string(),
            logs: origins(|log| log.cosigned),
        }),
        watchtower: follow.watchtower.then(|| WatchtowerRole {
            path: "/watchtower".to_owned(),
            logs: origins(|log| log.watched),
        }),
    }
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
        web_module: web::module_path(),
        pages: pages::address(&state.config),
        roles: roles(&state),
    };
    etag::respond(&headers, &info)
}
