//! Looking up what users publish: the authority of keys, profiles, and whether the user has revoked the agent itself.

use std::time::Duration;

use atomicity_ledger::authority::{Credentials, PROFILE_PATH, Purpose, delegation_path};
use atomicity_ledger::record::Profile;
use atomicity_ledger::{
    LedgerError, MAX_RECORD_BYTES, Serial, Signed, SignerKey, Timestamp, UserKey,
};

use super::keeper::Keeper;
use super::queue::PairKey;
use super::{Agent, accounts, change, store};
use crate::error::PluginError;
use crate::resolve::Fetched;
use crate::state::AppState;

/// How long to wait before a look-up that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Checks a profile: whose it is, and that the root, or a grant that names the path, signed it.
///
/// # Errors
/// What is wrong with it.
pub fn judge_profile(
    jws: &str,
    user: UserKey,
    credentials: &Credentials,
    now: Timestamp,
) -> Result<Signed<Profile>, LedgerError> {
    let profile: Signed<Profile> = Signed::decode(jws)?;
    if profile.record().user != user {
        return Err(LedgerError::ForeignChannel);
    }
    credentials.judge(profile.kid(), Purpose::Profile, now)?;
    Ok(profile)
}

/// The serial of a stored profile.
#[must_use]
pub fn serial_of(jws: &str) -> Option<Serial> {
    let profile: Signed<Profile> = Signed::decode(jws).ok()?;
    Some(profile.record().serial)
}

/// A small public file of a user; none if there is none.
pub(super) async fn read(
    state: &AppState,
    user: &UserKey,
    path: &str,
) -> Result<Option<String>, PluginError> {
    let fetched = state
        .resolver
        .get_public(user, path, None, MAX_RECORD_BYTES)
        .await?;
    Ok(match fetched {
        Fetched::Found { body, .. } => String::from_utf8(body).ok(),
        Fetched::NotModified | Fetched::NotFound => None,
    })
}

/// Looks where the delegation of a peer's key lies, and has the records that wait for it judged.
pub fn authority(state: &AppState, agent: &Agent, pair: PairKey, key: SignerKey) {
    let (state, agent) = (state.clone(), agent.clone());
    tokio::spawn(async move {
        let path = delegation_path(&key);
        match read(&state, &pair.1, &path).await {
            Ok(found) => agent.work().add(pair, |work| {
                work.authorities
                    .push((key, found.map(|jws| jws.trim().to_owned())));
                work.again = true;
            }),
            Err(error) => {
                tracing::debug!(code = error.code(), "a delegation could not be looked up");
                tokio::select! {
                    () = state.shutdown.cancelled() => {}
                    () = tokio::time::sleep(RETRY.mul_f64(rand::random_range(0.5..1.5))) => {
                        agent.work().add(pair, |work| work.again = true);
                    }
                }
            }
        }
    });
}

/// Fetches a peer's profile, and has it judged.
///
/// # Errors
/// [`PluginError::Upstream`], [`PluginError::NotFound`].
pub async fn profile(state: &AppState, agent: &Agent, pair: PairKey) -> Result<bool, PluginError> {
    let found = read(state, &pair.1, PROFILE_PATH).await?;
    let Some(jws) = found else { return Ok(false) };
    agent
        .work()
        .add(pair, |work| work.profile = Some(jws.trim().to_owned()));
    Ok(true)
}

/// Whether the user still lets the agent work: what lies where its delegation was published.
async fn check(state: &AppState, agent: &Agent, keeper: &Keeper) -> Result<(), PluginError> {
    let now = change::now();
    if now >= keeper.until {
        return stop(state, agent, &keeper.owner, "ended").await;
    }
    let key = keeper.pen.signer_key();
    let mut credentials = keeper.credentials.clone();
    if let Some(found) = read(state, &keeper.owner, &delegation_path(&key)).await? {
        // What lies there and is no word of the root changes nothing.
        let _ = credentials.learn(found.trim(), now);
    }
    match credentials.judge(key, Purpose::Report, now) {
        Err(LedgerError::KeyRevoked { .. }) => stop(state, agent, &keeper.owner, "revoked").await,
        Err(LedgerError::AuthorityExpired { .. }) => {
            stop(state, agent, &keeper.owner, "ended").await
        }
        _ => Ok(()),
    }
}

/// Stops a user's agent: once this returns it signs nothing any more.
///
/// # Errors
/// [`PluginError::Database`]; it signs nothing all the same as long as this process lives.
pub async fn stop(
    state: &AppState,
    agent: &Agent,
    owner: &UserKey,
    why: &str,
) -> Result<(), PluginError> {
    agent.replace(owner, None).await;
    agent.forget_tags(owner);
    store::set_status(&state.pool, owner, why).await?;
    Ok(())
}

/// Looks at the users' delegations again and again, until the process stops.
pub async fn run(state: AppState, agent: Agent) {
    let every = Duration::from_secs(agent.config().authority_poll_s);
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = tokio::time::sleep(every.mul_f64(rand::random_range(0.9..1.1))) => {}
        }
        for keeper in agent.keepers() {
            if state.shutdown.is_cancelled() {
                return;
            }
            if let Err(error) = check(&state, &agent, &keeper).await {
                tracing::debug!(
                    code = error.code(),
                    "a user's own delegation was not looked up"
                );
            }
            if let Err(error) = accounts::tend(&state, &keeper).await {
                tracing::debug!(code = error.code(), "payment accounts were not tended");
            }
        }
    }
}
