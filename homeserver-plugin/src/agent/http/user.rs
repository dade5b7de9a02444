//! The agent as a whole: begin, look, stop.

use std::sync::Arc;

use atomicity_ledger::authority::{Authority, Purpose};
use atomicity_ledger::{SignerKey, Timestamp};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use zeroize::Zeroizing;

use super::super::keeper::{Keeper, KeeperParts};
use super::super::keys::{self, AgentKeys, FileKey};
use super::super::settings::{AgentSettings, MAX_LOGS, MAX_UNITS};
use super::super::store::{self, AgentRow};
use super::super::{change, engine, lookup, signer};
use super::{agent, bad, refused};
use crate::auth::Caller;
use crate::clock;
use crate::error::PluginError;
use crate::http::etag;
use crate::http::extract::{JsonBody, QueryParams};
use crate::problem::Problem;
use crate::state::AppState;

/// Peers in one page.
const PAGE: i64 = 500;

/// One of your file keys (X25519).
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FileKeyBody {
    /// Its number.
    n: u32,
    /// 32 bytes in base64url.
    #[schema(value_type = String)]
    secret: Zeroizing<String>,
}

/// What the agent needs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentRequest {
    /// When it ends by itself, Unix milliseconds.
    until: u64,
    /// Your file keys, the current one first: 1 to 4.
    encryption: Vec<FileKeyBody>,
    /// The root's word for the agent's key: a delegation with scope `book`, or a grant that names `/pub/atomicity/v0/book/<key>`.
    /// Leave it out to learn the key.
    #[serde(default)]
    authority: Option<String>,
    /// A grant to the agent's key to write `/pub/atomicity/v0/channels/`.
    #[serde(default)]
    storage: Option<String>,
    /// What you allow in all.
    #[serde(default)]
    settings: AgentSettings,
}

/// An agent.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentView {
    /// Its signing key, z-base-32.
    agent_key: String,
    /// `new`: it waits for the root's word. `active`. `stopped`: it signs nothing.
    state: String,
    /// Why it stopped: `closed`, `revoked`, `ended`.
    why: Option<String>,
    /// When it ends, Unix milliseconds.
    until: i64,
    /// Whether it still has its keys.
    has_keys: bool,
    /// What you allow in all.
    settings: AgentSettings,
    /// The books that it keeps, a page of them.
    peers: Vec<PeerView>,
    /// Ask with this as `after` for more; null at the end.
    next: Option<String>,
}

/// Books in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct PeerView {
    /// Towards whom.
    peer: String,
    /// `kept` or `returned`.
    state: String,
    /// The epoch in which they were handed over.
    epoch: String,
    /// Grows with every change.
    version: String,
    /// Records of the peer that can't be judged yet.
    pending: i32,
    /// Batches of records that wait to be sent.
    to_send: i64,
    /// What you allow towards this peer.
    #[schema(value_type = super::super::settings::PeerSettings)]
    settings: serde_json::Value,
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PeersQuery {
    /// Only peers after this one.
    after: Option<String>,
}

/// How to stop.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CloseQuery {
    /// Whether its keys go at once, also if promises are undecided.
    #[serde(default)]
    force: bool,
}

/// An agent that was stopped.
#[derive(Debug, Serialize, ToSchema)]
pub struct Closed {
    /// Whether its keys are gone.
    wiped: bool,
}

fn unknown() -> PluginError {
    PluginError::NotFound {
        code: "agent_unknown",
        detail: "you have no agent here",
    }
}

fn view(row: &AgentRow, key: SignerKey) -> Result<AgentView, PluginError> {
    Ok(AgentView {
        agent_key: key.to_string(),
        state: row.status.clone(),
        why: row.why.clone(),
        until: row.until,
        has_keys: row.sealed.is_some(),
        settings: store::parse("settings", &row.settings)?,
        peers: Vec::new(),
        next: None,
    })
}

/// When the root's word ends.
fn end_of(keeper: &Keeper, now: Timestamp) -> Result<Timestamp, PluginError> {
    let key = keeper.pen.signer_key();
    let judged = keeper.credentials.judge(key, Purpose::Report, now);
    Ok(match judged.map_err(|error| refused(&error))? {
        Authority::Delegation(delegation) => delegation.not_after,
        Authority::Grant { exp, .. } => {
            Timestamp::saturating_from_millis(exp.saturating_mul(1_000))
        }
        Authority::Root => Timestamp::saturating_from_millis(u64::MAX),
    })
}

fn check(request: &AgentRequest) -> Result<(), PluginError> {
    let settings = &request.settings;
    if settings.logs.len() > MAX_LOGS || settings.logs_refused.len() > MAX_UNITS {
        return Err(bad("settings_invalid", "too many logs"));
    }
    if !settings.is_sound() {
        return Err(bad(
            "settings_invalid",
            "too many rates, or one between a unit and itself",
        ));
    }
    for text in &settings.logs {
        atomicity_witness_log::Policy::parse(text.as_bytes())
            .map_err(|error| bad("settings_invalid", format!("a policy: {error}")))?;
    }
    if request.until <= change::now().millis() {
        return Err(bad("until_invalid", "until must lie in the future"));
    }
    Ok(())
}

/// The keys of the agent that is there, or fresh ones: a key that was revoked or wiped does not come back.
fn keys_for(
    state: &AppState,
    caller: &Caller,
    known: Option<&AgentRow>,
    encryption: Vec<FileKey>,
) -> Result<AgentKeys, PluginError> {
    let usable = known.filter(|row| row.why.as_deref() != Some("revoked"));
    let sealed = usable.and_then(|row| row.sealed.as_ref());
    Ok(match sealed {
        Some(sealed) => AgentKeys {
            encryption,
            ..keys::open(&state.keypair, caller.user, sealed)?
        },
        None => AgentKeys::draw(encryption),
    })
}

/// Begins an agent, or changes it. Without `authority` it makes its key and waits for the root's word. The same again changes nothing.
#[utoipa::path(put, path = "/v0/me/agent", tag = "agent", security(("session" = [])), request_body = AgentRequest,
    responses(
        (status = 200, body = AgentView),
        (status = 400, description = "`keys_malformed`, `settings_invalid`, `until_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`account_unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "What is wrong with the authority", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_agents`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn put(
    State(state): State<AppState>,
    caller: Caller,
    JsonBody(request): JsonBody<AgentRequest>,
) -> Result<Json<AgentView>, PluginError> {
    let agent = agent(&state)?;
    check(&request)?;
    let encryption = request.encryption.into_iter().map(|key| FileKey {
        n: key.n,
        secret: key.secret,
    });
    let mut tx = state.pool.begin().await?;
    if !store::lock(&mut tx, &caller.user).await? {
        return Err(PluginError::NotFound {
            code: "account_unknown",
            detail: "register an account first",
        });
    }
    let known = store::find(&state.pool, &caller.user).await?;
    if known.is_none() && store::count(&state.pool).await? >= agent.config().max_users {
        return Err(PluginError::TooMany {
            code: "too_many_agents",
            detail: "this plugin keeps books for as many users as it takes",
            retry_after: std::time::Duration::from_secs(3_600),
        });
    }
    let keys = keys_for(&state, &caller, known.as_ref(), encryption.collect())?;
    keys.secrets()?;
    let key = keys.pen()?.signer_key();
    let same_key = known.as_ref().is_some_and(|row| row.key == key.as_bytes());
    let before = known.filter(|row| same_key && row.status == "active");
    let authority = request
        .authority
        .or_else(|| before.and_then(|row| row.authority));
    let mut row = AgentRow {
        owner: caller.user,
        key: key.as_bytes().to_vec(),
        sealed: Some(keys::seal(&state.keypair, caller.user, &keys)?),
        status: "new".to_owned(),
        why: None,
        until: i64::try_from(request.until).unwrap_or(i64::MAX),
        authority,
        storage: request.storage,
        settings: serde_json::to_string(&request.settings)
            .map_err(|error| PluginError::Internal(error.to_string()))?,
    };
    let mut keeper = None;
    if let Some(authority) = row.authority.clone() {
        let now = change::now();
        let parts = |until| {
            Ok::<_, PluginError>(KeeperParts {
                owner: caller.user,
                pen: keys.pen()?,
                secrets: keys.secrets()?,
                reply: keys.reply()?,
                authority: authority.clone(),
                storage: row.storage.clone(),
                until,
                settings: request.settings.clone(),
            })
        };
        let wanted = Timestamp::saturating_from_millis(request.until);
        let new = Keeper::new(parts(wanted)?, now).map_err(|error| refused(&error))?;
        let until = wanted.min(end_of(&new, now)?);
        let new = Keeper::new(parts(until)?, now).map_err(|error| refused(&error))?;
        row.until = i64::try_from(until.millis()).unwrap_or(i64::MAX);
        row.status = "active".to_owned();
        keeper = Some(Arc::new(new));
    }
    store::put(&mut tx, &row, clock::now_ms()).await?;
    tx.commit().await?;
    agent.replace(&caller.user, keeper.clone()).await;
    if state.disabled.contains(&caller.user) {
        // Switched off in the very moment: it goes to work when it is switched on again.
        agent.replace(&caller.user, None).await;
    } else if let Some(keeper) = keeper {
        engine::take_up(&state, agent, &keeper).await?;
    }
    Ok(Json(view(&row, key)?))
}

/// Your agent: how it stands, and whose books it keeps.
#[utoipa::path(get, path = "/v0/me/agent", tag = "agent", security(("session" = [])), params(PeersQuery),
    responses(
        (status = 200, body = AgentView),
        (status = 304, description = "Not modified"),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`agent_unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn read(
    State(state): State<AppState>,
    headers: HeaderMap,
    QueryParams(query): QueryParams<PeersQuery>,
    caller: Caller,
) -> Result<Response, PluginError> {
    let row = store::find(&state.pool, &caller.user).await?;
    let row = row.ok_or_else(unknown)?;
    let mut view = view(&row, signer(&row.key)?)?;
    let after = query.after.as_deref().map(super::peer_of).transpose()?;
    let after = after.map_or(Vec::new(), |peer| peer.as_bytes().to_vec());
    let mut pairs = store::list_pairs(&state.pool, &caller.user, &after, PAGE + 1).await?;
    let more = i64::try_from(pairs.len()).is_ok_and(|len| len > PAGE);
    if more {
        pairs.pop();
    }
    view.next = pairs
        .last()
        .filter(|_| more)
        .map(|last| last.peer.to_string());
    for pair in pairs {
        view.peers.push(PeerView {
            peer: pair.peer.to_string(),
            state: pair.status,
            epoch: pair.epoch.to_string(),
            version: pair.version.to_string(),
            pending: pair.held,
            to_send: pair.to_send,
            settings: store::parse("settings", &pair.settings)?,
        });
    }
    etag::respond(&headers, &view)
}

/// Stops your agent at once: when this is answered it signs nothing any more. Its keys go once nothing is undecided, or now if forced.
#[utoipa::path(delete, path = "/v0/me/agent", tag = "agent", security(("session" = [])), params(CloseQuery),
    responses(
        (status = 200, body = Closed),
        (status = 401, description = "`session_invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn close(
    State(state): State<AppState>,
    QueryParams(query): QueryParams<CloseQuery>,
    caller: Caller,
) -> Result<Json<Closed>, PluginError> {
    lookup::stop(&state, agent(&state)?, &caller.user, "closed").await?;
    let wiped = store::wipe(&state.pool, &caller.user, query.force, clock::now_ms()).await?;
    Ok(Json(Closed { wiped }))
}
