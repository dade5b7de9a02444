//! Writing the users' channel files, and their adverts (`adverts`): copies of the books on the homeservers, so that nothing hangs on this plugin. On a timer, coalesced:
//! the public event feed of a homeserver must not trace payments.
//!
//! The user gave the agent's key a grant for this. It is access to a directory, and no authority to sign.

use std::collections::HashMap;
use std::time::Duration;

use atomicity_ledger::UserKey;
use atomicity_ledger::channel_file::ChannelFile;
use atomicity_ledger::seal::{Agreement, channel_path, seal_channel_file};
use futures_util::stream::{self, StreamExt as _};
use pubky::{GrantClaims, POP_JWS_TYP, PopNonce, PopProofClaims};
use pubky_common::auth::jws::sign_jws;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::keeper::Keeper;
use super::{Agent, adverts, peer_keys, store};
use crate::clock;
use crate::error::PluginError;
use crate::resolve::home::HomeCall;
use crate::state::AppState;

/// Files of one user that are written in one go.
const BATCH: i64 = 64;
/// Writes to one homeserver that are under way at once.
const AT_ONCE: usize = 4;
/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// Tokens are replaced when they have less than this to live, in milliseconds.
const RENEW_BEFORE_MS: i64 = 60_000;

/// A session at a user's homeserver.
#[derive(Clone)]
pub(super) struct Session {
    token: Zeroizing<String>,
    expires_at: i64,
}

fn internal(error: &dyn std::fmt::Display) -> PluginError {
    PluginError::Internal(error.to_string())
}

/// Exchanges the user's grant for a session.
async fn sign_in(state: &AppState, keeper: &Keeper, grant: &str) -> Result<Session, PluginError> {
    #[derive(Deserialize)]
    struct Answer {
        token: Zeroizing<String>,
        session: Times,
    }
    #[derive(Deserialize)]
    struct Times {
        token_expires_at: u64,
    }
    let claims = GrantClaims::decode(grant)
        .map_err(|_| PluginError::Upstream("the grant for storage can't be read".to_owned()))?;
    let home = state.resolver.homeserver_of(&keeper.owner).await?;
    let home =
        home.ok_or_else(|| PluginError::Upstream("the user has no homeserver".to_owned()))?;
    let aud = pubky::PublicKey::try_from_z32(&home.to_string()).map_err(|e| internal(&e))?;
    let pop = PopProofClaims {
        aud,
        gid: claims.jti.clone(),
        nonce: PopNonce::generate(),
        iat: u64::try_from(clock::now_ms() / 1_000).unwrap_or(0),
    };
    let client = pubky::Keypair::from_secret(&keeper.pen.secret());
    let pop = sign_jws(&client, POP_JWS_TYP, &pop);
    let body = serde_json::json!({"grant": grant, "pop": pop}).to_string();
    let call = HomeCall {
        method: Method::POST,
        target: "/auth/grant/session",
        bearer: None,
        content_type: Some("application/json"),
        body: body.into_bytes(),
        max_bytes: MAX_ANSWER,
    };
    let (status, body) = state.resolver.call_home(&keeper.owner, &call).await?;
    if !status.is_success() {
        return Err(PluginError::Upstream(format!(
            "the homeserver does not take the grant for storage: status {status}"
        )));
    }
    let answer: Answer = serde_json::from_slice(&body)
        .map_err(|_| PluginError::Upstream("the homeserver's session can't be read".to_owned()))?;
    Ok(Session {
        token: answer.token,
        expires_at: i64::try_from(answer.session.token_expires_at.saturating_mul(1_000))
            .unwrap_or(i64::MAX),
    })
}

pub(super) async fn put(
    state: &AppState,
    owner: &UserKey,
    session: &Session,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<StatusCode, PluginError> {
    let target = format!("/storage/{owner}{path}");
    let call = HomeCall {
        method,
        target: &target,
        bearer: Some(&session.token),
        content_type: None,
        body,
        max_bytes: MAX_ANSWER,
    };
    Ok(state.resolver.call_home(owner, &call).await?.0)
}

async fn write(
    state: &AppState,
    keeper: &Keeper,
    session: &Session,
    peer: UserKey,
) -> Result<(), PluginError> {
    let owner = keeper.owner;
    let Some(row) = store::pair(&state.pool, &owner, &peer).await? else {
        return Ok(());
    };
    let pair = store::parse_pair(&row.body)?;
    let keys = peer_keys(&peer, row.profile.as_deref())?;
    let (Some((id, key)), Some(secret)) = (keys.first(), keeper.secrets.first()) else {
        return Ok(());
    };
    let agreement =
        Agreement::outgoing(&owner, secret, &peer, key, *id).map_err(|e| internal(&e))?;
    let path = channel_path(agreement.blind());
    let records = pair.file_records();
    let both = records.own.iter().chain(&records.held);
    let file = ChannelFile::collect(owner, peer, both).map_err(|e| internal(&e))?;
    let content = file.encode().map_err(|e| internal(&e))?;
    let sealed =
        seal_channel_file(&agreement, rand::random(), &content).map_err(|e| internal(&e))?;
    let status = put(state, &owner, session, Method::PUT, &path, sealed).await?;
    if !status.is_success() {
        return Err(PluginError::Upstream(format!(
            "a channel file was not taken: status {status}"
        )));
    }
    store::written(&state.pool, &owner, &peer, row.version, &path).await?;
    if let Some(old) = row.file_path.filter(|old| *old != path) {
        // Rewritten under other keys first, deleted then: a reader always finds one of them.
        put(state, &owner, session, Method::DELETE, &old, Vec::new()).await?;
    }
    Ok(())
}

async fn flush(
    state: &AppState,
    agent: &Agent,
    keeper: &Keeper,
    sessions: &mut HashMap<UserKey, Session>,
) -> Result<(), PluginError> {
    let Some(grant) = &keeper.storage else {
        return Ok(());
    };
    let peers = store::unwritten(&state.pool, &keeper.owner, BATCH).await?;
    let channels = adverts::due(state, keeper).await?;
    if peers.is_empty() && channels.is_empty() {
        return Ok(());
    }
    let known = sessions.get(&keeper.owner).cloned();
    let fresh = known.filter(|s| s.expires_at > clock::now_ms() + RENEW_BEFORE_MS);
    let session = match fresh {
        Some(session) => session,
        None => sign_in(state, keeper, grant).await?,
    };
    sessions.insert(keeper.owner, session.clone());
    let writes = stream::iter(peers).map(|peer| write(state, keeper, &session, peer));
    let mut results: Vec<Result<(), PluginError>> =
        writes.buffer_unordered(AT_ONCE).collect().await;
    let writes = stream::iter(channels)
        .map(|peer| adverts::write(state, agent, keeper, &session, peer))
        .buffer_unordered(AT_ONCE);
    results.extend(writes.collect::<Vec<_>>().await);
    let failed = results.into_iter().find_map(Result::err);
    if let Some(error) = failed {
        // The token may have been replaced by another process of the user's.
        sessions.remove(&keeper.owner);
        return Err(error);
    }
    Ok(())
}

/// Writes until the process stops.
pub async fn run(state: AppState, agent: Agent) {
    let every = Duration::from_secs(agent.config().file_flush_s);
    let mut sessions = HashMap::new();
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = tokio::time::sleep(every.mul_f64(rand::random_range(0.5..1.5))) => {}
        }
        if !state.readiness.lock_held() {
            continue;
        }
        for keeper in agent.keepers() {
            if state.shutdown.is_cancelled() {
                return;
            }
            if let Err(error) = flush(&state, &agent, &keeper, &mut sessions).await {
                tracing::debug!(code = error.code(), %error, "channel files were not written; tried again");
            }
        }
    }
}
