//! `GET /v0/users/{user}/delegations/{key}`: what a root key says about another key, for web apps that check signatures themselves.

use std::sync::Arc;
use std::time::Duration;

use atomicity_ledger::authority::{Credentials, delegation_path};
use atomicity_ledger::{LedgerError, MAX_RECORD_BYTES, SignerKey, Timestamp, UserKey};
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Memory;
use crate::clock;
use crate::error::PluginError;
use crate::http::etag;
use crate::problem::Problem;
use crate::resolve::Fetched;
use crate::state::AppState;

/// How long an answer is kept. A revocation is noticed by then.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// What the root signed about a key.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DelegationAnswer {
    /// The key, z-base-32.
    pub key: String,
    /// Signed records (compact JWS): the delegation, or the revocation that has taken its place. Each was checked to be this user's.
    pub records: Vec<String>,
}

/// What a user's root key says about another key of theirs.
///
/// Read from the user's own homeserver, wherever that is. Whoever does not want to trust this service checks the signatures: it can
/// keep a revocation back, it can't make a delegation up. An answer is up to half a minute old.
#[utoipa::path(
    get,
    path = "/v0/users/{user}/delegations/{key}",
    tag = "credit",
    params(
        ("user" = String, Path, description = "The user's key, z-base-32"),
        ("key" = String, Path, description = "The key that signed something, z-base-32"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what you hold"),
    ),
    responses(
        (status = 200, body = DelegationAnswer, description = "The root's word"),
        (status = 304, description = "What you hold is still right"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "`user_malformed`, `key_malformed`"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`delegation_unknown`: nothing is said about this key; `homeserver_unknown`: the user's key names no homeserver"),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "`upstream_unavailable`: the homeserver could not be asked, or what it said is no word of the root"),
    )
)]
pub async fn get(
    State(state): State<AppState>,
    Extension(memory): Extension<Arc<Memory>>,
    Path((user, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, PluginError> {
    let malformed = |code| {
        move |error: LedgerError| PluginError::BadRequest {
            code,
            detail: error.to_string(),
        }
    };
    let user: UserKey = user.parse().map_err(malformed("user_malformed"))?;
    let key: SignerKey = key.parse().map_err(malformed("key_malformed"))?;
    let held = memory.delegations.get(&(user, key));
    let (answer, age) = match held.filter(|(_, age)| *age < FRESH_FOR) {
        Some(held) => held,
        None => {
            let answer = Arc::new(ask(&state, user, key).await?);
            let weight = answer.records.iter().map(String::len).sum::<usize>();
            let weight = weight.saturating_add(256);
            memory
                .delegations
                .put((user, key), Arc::clone(&answer), weight);
            (answer, Duration::ZERO)
        }
    };
    let mut response = etag::respond(&headers, &*answer)?;
    let headers = response.headers_mut();
    headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    Ok(response)
}

async fn ask(
    state: &AppState,
    user: UserKey,
    key: SignerKey,
) -> Result<DelegationAnswer, PluginError> {
    let path = delegation_path(&key);
    let asking = state
        .resolver
        .get_public(&user, &path, None, MAX_RECORD_BYTES);
    let budget = state.config.http.request_timeout().mul_f32(0.8);
    let fetched = tokio::time::timeout(budget, asking)
        .await
        .map_err(|_| PluginError::Upstream("the homeserver did not answer in time".to_owned()))??;
    let Fetched::Found { body, .. } = fetched else {
        return Err(PluginError::NotFound {
            code: "delegation_unknown",
            detail: "the user's homeserver holds no word of the root about this key",
        });
    };
    let text = String::from_utf8(body).map_err(|_| not_theirs("it is not text"))?;
    let text = text.trim();
    let now = u64::try_from(clock::now_ms()).unwrap_or(0);
    // A revocation by a grant is taken without the grant: who reads it judges it.
    let learnt = Credentials::new(user).learn(text, Timestamp::saturating_from_millis(now));
    match learnt {
        Ok(_) | Err(LedgerError::NotAuthorized { .. }) => Ok(DelegationAnswer {
            key: key.to_z32(),
            records: vec![text.to_owned()],
        }),
        Err(error) => Err(not_theirs(&error.to_string())),
    }
}

fn not_theirs(why: &str) -> PluginError {
    PluginError::Upstream(format!(
        "what lies at the homeserver is no word of this user about a key: {why}"
    ))
}
