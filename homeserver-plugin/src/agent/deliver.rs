//! Sending what waits in the outbox: to the peer's inbox here or at another plugin, in order, with retries that come later each time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use atomicity_ledger::record::Profile;
use atomicity_ledger::seal::{Agreement, Envelope, Parcel, seal_known, seal_stranger};
use atomicity_ledger::{Signed, UserKey};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::keeper::Keeper;
use super::queue::{PairKey, Queue};
use super::{Agent, lookup, peer_keys, store};
use crate::error::PluginError;
use crate::inbox::admit::{Candidate, Posted};
use crate::inbox::envelope::{self, Sender};
use crate::resolve::call::Call;
use crate::state::AppState;
use crate::witness_log::fault;

/// Rows that are sent at once.
const BATCH: i64 = 64;
/// The first pause after a failure, and the longest.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(300);
/// Longest answer of another plugin that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024;
/// A profile that led nowhere is fetched anew after so many attempts.
const LOOK_AGAIN: u32 = 3;

#[derive(Clone, Copy, Default)]
struct Progress {
    /// What has arrived, and may still stand in the database.
    upto: i64,
    attempts: u32,
}

/// What is being sent.
#[derive(Default)]
pub struct Deliveries {
    /// To whom something waits to be sent.
    pub queue: Queue<PairKey, ()>,
    progress: Mutex<HashMap<PairKey, Progress>>,
}

impl Deliveries {
    fn progress(&self, key: &PairKey) -> Progress {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.get(key).copied().unwrap_or_default()
    }

    fn note(&self, key: PairKey, change: impl FnOnce(&mut Progress)) -> Progress {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = progress.entry(key).or_default();
        change(entry);
        *entry
    }
}

/// Why something was not delivered.
enum Obstacle {
    /// The peer names no inbox that could be tried.
    NoInbox,
    /// An inbox refused or could not be reached.
    Failed(Option<Duration>),
    /// Ours to wait for.
    Ours(PluginError),
}

impl From<PluginError> for Obstacle {
    fn from(error: PluginError) -> Self {
        Self::Ours(error)
    }
}

/// Delivers until the process stops.
pub async fn run(state: AppState, agent: Agent) {
    loop {
        let (key, ()) = tokio::select! {
            () = state.shutdown.cancelled() => return,
            found = agent.deliveries().queue.next() => found,
        };
        match deliver(&state, &agent, key).await {
            Ok(()) => {
                agent
                    .deliveries()
                    .note(key, |progress| progress.attempts = 0);
            }
            Err(obstacle) => later(&state, &agent, key, obstacle),
        }
        agent.deliveries().queue.done(&key);
    }
}

fn later(state: &AppState, agent: &Agent, key: PairKey, obstacle: Obstacle) {
    let (outcome, asked) = match &obstacle {
        Obstacle::NoInbox => ("no_inbox", None),
        Obstacle::Failed(asked) => ("failed", *asked),
        Obstacle::Ours(error) => (error.code(), error.retry_after()),
    };
    agent.metrics().delivery(outcome);
    let progress = agent.deliveries().note(key, |progress| {
        progress.attempts = progress.attempts.saturating_add(1);
    });
    let pause = PAUSE
        .saturating_mul(1 << progress.attempts.min(12))
        .min(LONGEST);
    let pause = asked.map_or(pause, |asked| asked.min(LONGEST));
    let look =
        matches!(obstacle, Obstacle::NoInbox) || progress.attempts.is_multiple_of(LOOK_AGAIN);
    let (state, agent) = (state.clone(), agent.clone());
    tokio::spawn(async move {
        if look {
            // They may have moved. Whatever comes of this, it is tried again.
            let _ = lookup::profile(&state, &agent, key).await;
        }
        tokio::select! {
            () = state.shutdown.cancelled() => {}
            () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))) => {
                agent.deliver(key.0, key.1);
            }
        }
    });
}

async fn deliver(state: &AppState, agent: &Agent, key: PairKey) -> Result<(), Obstacle> {
    let (owner, peer) = key;
    let Some(keeper) = agent.keeper(&owner) else {
        return Ok(());
    };
    loop {
        let upto = agent.deliveries().progress(&key).upto;
        let rows = store::outbox(&state.pool, &owner, &peer, upto, BATCH).await?;
        let Some(last) = rows.last().map(|(id, _)| *id) else {
            return Ok(());
        };
        let full = i64::try_from(rows.len()).is_ok_and(|len| len == BATCH);
        let records: Vec<String> = rows.into_iter().flat_map(|(_, records)| records).collect();
        let Some(profile) = store::profile(&state.pool, &owner, &peer).await? else {
            return Ok(());
        };
        let Ok(parcels) = Parcel::split(owner, records) else {
            return Err(Obstacle::NoInbox);
        };
        fault::point("agent_before_send");
        send(state, &keeper, &peer, profile.as_deref(), &parcels).await?;
        fault::point("agent_after_send");
        agent.metrics().delivery("delivered");
        agent.deliveries().note(key, |progress| {
            progress.upto = progress.upto.max(last);
            progress.attempts = 0;
        });
        agent.cleanup().sent(key, last);
        if !full {
            return Ok(());
        }
    }
}

async fn send(
    state: &AppState,
    keeper: &Keeper,
    peer: &UserKey,
    profile: Option<&str>,
    parcels: &[Parcel],
) -> Result<(), Obstacle> {
    let Some(jws) = profile else {
        return Err(Obstacle::NoInbox);
    };
    let internal = |error: atomicity_ledger::LedgerError| PluginError::Internal(error.to_string());
    let decoded: Signed<Profile> = Signed::decode(jws).map_err(internal)?;
    let secret = keeper.secrets.first().ok_or(Obstacle::NoInbox)?;
    let keys = peer_keys(peer, profile)?;
    let (id, key) = keys.first().ok_or(Obstacle::NoInbox)?;
    let agreement = Agreement::outgoing(&keeper.owner, secret, peer, key, *id).map_err(internal)?;
    let mut last = Obstacle::NoInbox;
    for to in inboxes(state, decoded.record()) {
        let stranger = |parcel: &Parcel| {
            seal_stranger(peer, key, *id, rand::random(), parcel).map_err(internal)
        };
        match post_all(state, &to, &agreement, stranger, parcels).await {
            Ok(()) => return Ok(()),
            Err(obstacle) => last = obstacle,
        }
    }
    Err(last)
}

/// Leaves records for somebody's wallet, whoever keeps their books: sealed as by a stranger. Nothing is kept here: who wants it to arrive
/// asks again.
///
/// # Errors
/// `not_delivered` if no inbox of theirs took it; [`PluginError::Internal`].
pub(super) async fn letter(
    state: &AppState,
    (from, to): (&UserKey, &UserKey),
    profile: &str,
    records: Vec<String>,
) -> Result<(), PluginError> {
    let internal = |error: atomicity_ledger::LedgerError| PluginError::Internal(error.to_string());
    let decoded: Signed<Profile> = Signed::decode(profile).map_err(internal)?;
    let keys = peer_keys(to, Some(profile))?;
    let mut wait = None;
    let keys = keys.first();
    for inbox in inboxes(state, decoded.record()) {
        let Some((id, key)) = keys else { break };
        let mut posted = Ok(());
        for parcel in Parcel::split(*from, records.clone()).map_err(internal)? {
            let envelope = seal_stranger(to, key, *id, rand::random(), &parcel);
            let envelope = envelope.map_err(internal)?;
            if posted.is_ok() {
                posted = post(state, &inbox, (from, to), &envelope).await;
            }
        }
        match posted {
            Ok(()) => return Ok(()),
            Err(Refusal::Other(Obstacle::Failed(asked))) => wait = asked,
            Err(_) => {}
        }
    }
    Err(PluginError::Unavailable {
        code: "not_delivered",
        detail: "no inbox of theirs took it",
        retry_after: wait.unwrap_or(PAUSE),
    })
}

/// The inboxes that a profile names.
fn inboxes<'a>(state: &AppState, profile: &'a Profile) -> impl Iterator<Item = To> + use<'a> {
    let ours = state.keypair.public_key().z32();
    profile.inboxes.iter().map(move |inbox| {
        if inbox.plugin.to_string() == ours {
            return To::Here;
        }
        let url = inbox.url.as_ref().and_then(|url| url.as_str().parse().ok());
        To::There(inbox.plugin, url)
    })
}

/// Where an inbox is.
enum To {
    /// At this very plugin.
    Here,
    /// At another one: by its key, and by its address if it names one.
    There(UserKey, Option<Url>),
}

async fn post_all(
    state: &AppState,
    to: &To,
    agreement: &Agreement,
    stranger: impl Fn(&Parcel) -> Result<Envelope, PluginError>,
    parcels: &[Parcel],
) -> Result<(), Obstacle> {
    let internal = |error: atomicity_ledger::LedgerError| PluginError::Internal(error.to_string());
    let parties = (agreement.from(), agreement.to());
    for parcel in parcels {
        let known = seal_known(agreement, rand::random(), parcel).map_err(internal)?;
        let posted = match post(state, to, parties, &known).await {
            // They don't know the user yet, or not by these keys.
            Err(Refusal::TagUnknown) => post(state, to, parties, &stranger(parcel)?).await,
            other => other,
        };
        match posted {
            Ok(()) => {}
            Err(Refusal::TagUnknown) => return Err(Obstacle::Failed(None)),
            Err(Refusal::Other(obstacle)) => return Err(obstacle),
        }
    }
    Ok(())
}

enum Refusal {
    TagUnknown,
    Other(Obstacle),
}

impl From<PluginError> for Refusal {
    fn from(error: PluginError) -> Self {
        if error.code() == "tag_unknown" {
            Self::TagUnknown
        } else {
            Self::Other(Obstacle::Failed(error.retry_after()))
        }
    }
}

async fn post(
    state: &AppState,
    to: &To,
    parties: (&UserKey, &UserKey),
    envelope: &Envelope,
) -> Result<(), Refusal> {
    let body = envelope
        .to_json()
        .map_err(|error| PluginError::Internal(error.to_string()))?;
    match to {
        To::Here => post_here(state, parties, &body).await.map(|_| ()),
        To::There(plugin, url) => post_there(state, plugin, url.as_ref(), parties.1, &body).await,
    }
}

/// Straight into the inbox, by the same checks as if it had come over the network.
async fn post_here(
    state: &AppState,
    (from, to): (&UserKey, &UserKey),
    body: &str,
) -> Result<Posted, Refusal> {
    let checked = envelope::read(body.as_bytes(), to)?;
    let owner = *to.as_bytes();
    let (known, source) = match checked.sender {
        Sender::Known(tag) => {
            state.limits.tag(&owner, &tag)?;
            (true, tag)
        }
        // A user of ours has no address: their own key, hidden, stands for it.
        Sender::Stranger => (false, hide(state, from)),
    };
    let candidate = Candidate {
        owner,
        known,
        source,
        digest: checked.digest,
        body: checked.body,
    };
    Ok(state.writer.post(candidate).await?)
}

fn hide(state: &AppState, user: &UserKey) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"atomicity-plugin agent sender")
        .chain_update(zeroize::Zeroizing::new(state.keypair.secret()).as_slice())
        .chain_update(user.as_bytes())
        .finalize()
        .into()
}

async fn post_there(
    state: &AppState,
    plugin: &UserKey,
    url: Option<&Url>,
    to: &UserKey,
    body: &str,
) -> Result<(), Refusal> {
    let by_key: Option<Url> = format!("https://{plugin}/").parse().ok();
    let mut last = Refusal::Other(Obstacle::NoInbox);
    for base in by_key.iter().chain(url) {
        let mut target = base.clone();
        target.set_path(&format!(
            "{}/v0/inbox/{}",
            base.path().trim_end_matches('/'),
            to
        ));
        let call = Call {
            url: &target,
            body: Some(body.as_bytes()),
            max_bytes: MAX_ANSWER,
        };
        match state.resolver.call_stranger(&call).await {
            Ok(answer) if (200..300).contains(&answer.status) => return Ok(()),
            Ok(answer) => last = refused(&answer.body),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// What another plugin said.
fn refused(body: &[u8]) -> Refusal {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    if problem.get("code").and_then(|code| code.as_str()) == Some("tag_unknown") {
        return Refusal::TagUnknown;
    }
    let wait = problem
        .get("retry_after_s")
        .and_then(serde_json::Value::as_u64);
    Refusal::Other(Obstacle::Failed(wait.map(Duration::from_secs)))
}
