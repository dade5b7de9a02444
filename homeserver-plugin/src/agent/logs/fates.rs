//! Logs that lied, and logs that died.
//!
//! Whoever was proven to lie stands in the database of this plugin's watchtower. Of a log that is silent the cosigners are asked for
//! tombstones: with enough of them it has ended, and with it what hangs on it. Both mean that nothing new may hang on it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use atomicity_ledger::PolicyHash;
use atomicity_ledger::record::Terms;
use atomicity_witness_log::{
    Liars, LogError, Policy, SignedCheckpoint, SignedNote, Tombstone, Tombstones, VerifierKey,
};
use futures_util::{StreamExt as _, stream};
use url::Url;

use super::{Known, lock};
use crate::agent::{Agent, store};
use crate::clock;
use crate::cosigner::TombstoneList;
use crate::error::PluginError;
use crate::mirror::poll::{View, look};
use crate::mirror::proofs::Via;
use crate::mirror::upstream::{self, below};
use crate::mirror::{Followed, MirrorError, id_text, log_id, store as mirrored};
use crate::resolve::call::Call;
use crate::state::AppState;
use crate::witness_log::graves;

/// A log that shows nothing newer than this may be dead, in milliseconds.
const SILENT_MS: u64 = 10_000;
/// How often the cosigners of a silent log are asked.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// The most cosigners that are asked about one log.
const MAX_ASKED: usize = 64;
/// How many of them at once.
const AT_ONCE: usize = 8;
/// Longest list of tombstones that is read, in bytes. A cosigner may follow many logs.
const MAX_LIST: usize = 2 * 1024 * 1024;

/// What is known of one log.
#[derive(Default)]
struct Fate {
    liars: Liars,
    /// By the cosigner's key.
    stones: BTreeMap<[u8; 32], SignedNote>,
    /// Whether these tombstones leave no quorum, by policy.
    ended: HashMap<PolicyHash, bool>,
    asked: Option<Instant>,
    asking: bool,
}

/// What is known of all.
#[derive(Default)]
pub(super) struct Fates(Mutex<HashMap<String, Fate>>);

/// Where a cosigner may be asked.
#[derive(Clone)]
struct Place {
    key: VerifierKey,
    url: Url,
    /// Whether a user named it, and not the operator.
    stranger: bool,
}

impl Fates {
    pub(super) fn convict(&self, origin: &str, liars: Liars) {
        lock(&self.0).entry(origin.to_owned()).or_default().liars = liars;
    }

    /// Takes all tombstones of a log; whether that is news.
    fn bury(&self, origin: &str, stones: BTreeMap<[u8; 32], SignedNote>) -> bool {
        let mut fates = lock(&self.0);
        let fate = fates.entry(origin.to_owned()).or_default();
        let news = fate.stones != stones;
        if news {
            fate.stones = stones;
            fate.ended.clear();
        }
        news
    }

    /// Whether nothing new may hang on a log under this policy.
    pub(super) fn is_over(&self, origin: &str, known: &Known) -> bool {
        let mut fates = lock(&self.0);
        let Some(fate) = fates.get_mut(origin) else {
            return false;
        };
        if fate.liars.distrust(&known.policy).is_some() {
            return true;
        }
        if fate.stones.is_empty() {
            return false;
        }
        let Fate { stones, ended, .. } = fate;
        *ended.entry(known.hash).or_insert_with(|| {
            let end = Tombstones::end(&known.policy, origin, &of_policy(stones, &known.policy));
            // Whether they agree on the root or not: nothing can be published there any more.
            matches!(end, Ok(Some(_)) | Err(LogError::TombstonesDisagree { .. }))
        })
    }

    /// The tombstones of a log that count under this policy.
    pub(super) fn stones(&self, origin: &str, policy: &Policy) -> Vec<SignedNote> {
        let fates = lock(&self.0);
        let stones = fates.get(origin).map(|fate| &fate.stones);
        stones.map_or_else(Vec::new, |stones| of_policy(stones, policy))
    }

    /// Whether a cosigner has given up a log of these terms.
    pub(super) fn touch(&self, terms: &Terms) -> bool {
        let fates = lock(&self.0);
        let mut named = terms.logs.iter();
        named.any(|log| {
            let fate = fates.get(log.origin.as_str());
            fate.is_some_and(|fate| !fate.stones.is_empty())
        })
    }

    /// Whether it is time to ask the cosigners of a log, and nobody does. Whoever is told so says when it is done.
    fn begin(&self, origin: &str) -> bool {
        let mut fates = lock(&self.0);
        let fate = fates.entry(origin.to_owned()).or_default();
        let due = !fate.asking && fate.asked.is_none_or(|at| at.elapsed() >= ASK_EVERY);
        if due {
            (fate.asked, fate.asking) = (Some(Instant::now()), true);
        }
        due
    }

    fn done(&self, origin: &str) {
        if let Some(fate) = lock(&self.0).get_mut(origin) {
            fate.asking = false;
        }
    }
}

fn of_policy(stones: &BTreeMap<[u8; 32], SignedNote>, policy: &Policy) -> Vec<SignedNote> {
    let cosigners = policy.cosigners().iter();
    cosigners
        .filter_map(|cosigner| stones.get(cosigner.key.public()).cloned())
        .collect()
}

/// Asks about a log whose newest entry that is here is of `time_ms`, if it is silent and was not asked about lately.
pub(super) fn attend(state: &AppState, agent: &Agent, origin: &str, time_ms: u64) {
    let now = u64::try_from(clock::now_ms()).unwrap_or(0);
    if time_ms.saturating_add(SILENT_MS) >= now || !agent.logs().fates.begin(origin) {
        return;
    }
    // Cosigners may be slow to answer, and other logs go on meanwhile.
    let (state, agent, origin) = (state.clone(), agent.clone(), origin.to_owned());
    tokio::spawn(async move {
        tokio::select! {
            () = state.shutdown.cancelled() => {}
            done = ask(&state, &agent, &origin) => if let Err(error) = done {
                tracing::debug!(origin, code = error.code(), "a silent log was not asked about");
            },
        }
        agent.logs().fates.done(&origin);
    });
}

async fn ask(state: &AppState, agent: &Agent, origin: &str) -> Result<(), PluginError> {
    let policies = agent.logs().naming(state, agent, origin);
    let mut stones = stored(state, origin, &policies).await?;
    let followed = state.follow.by_origin(origin);
    let places = places(&policies);
    if let Some(log) = followed {
        let mut unasked = places.clone();
        unasked.retain(|place| !stones.contains_key(place.key.public()));
        let asked: Vec<_> = stream::iter(unasked)
            .map(|place| {
                let (state, origin) = (state.clone(), origin.to_owned());
                async move {
                    let found = tombstone(&state, &place, &origin).await;
                    (place, found)
                }
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (place, found) in asked {
            let Ok((stone, note)) = found else { continue };
            mirrored::keep_tombstone(&state.pool, &log.id, place.key.public(), &stone, &note)
                .await?;
            stones.insert(*place.key.public(), note);
        }
    }
    if stones.is_empty() {
        return Ok(());
    }
    let news = agent.logs().fates.bury(origin, stones.clone());
    let ends = policies.iter().filter_map(|(known, _)| {
        let notes = of_policy(&stones, &known.policy);
        Tombstones::end(&known.policy, origin, &notes)
            .ok()
            .flatten()
    });
    let Some(size) = ends.map(|end| end.size).max() else {
        return Ok(());
    };
    if news {
        tracing::error!(
            origin,
            size,
            "a log has ended: promises on it end, and no new ones are taken"
        );
    }
    if let Some(log) = followed {
        catch_up(state, log, size, &places).await?;
    }
    for (owner, peer, iou) in store::open_on(&state.pool, origin).await? {
        agent.look_at_logs((owner, peer), &[iou].into());
    }
    Ok(())
}

/// The cosigners of these policies, each once.
fn places(policies: &[(Arc<Known>, bool)]) -> Vec<Place> {
    let mut found: BTreeMap<([u8; 32], String), Place> = BTreeMap::new();
    for (known, stranger) in policies {
        for cosigner in known.policy.cosigners() {
            let url = cosigner
                .url
                .as_deref()
                .and_then(|url| url.parse::<Url>().ok());
            let Some(mut url) = url else { continue };
            let path = url.path().trim_end_matches('/');
            let path = path.strip_suffix("/cosigner").unwrap_or(path).to_owned();
            url.set_path(&path);
            let place = Place {
                key: cosigner.key.clone(),
                url,
                stranger: *stranger,
            };
            let name = (*place.key.public(), place.url.to_string());
            let known = found.entry(name).or_insert(place);
            known.stranger &= stranger;
        }
    }
    // Those that the operator named come first.
    let mut places: Vec<Place> = found.into_values().collect();
    places.sort_by_key(|place| place.stranger);
    places.truncate(MAX_ASKED);
    places
}

/// The tombstones that were seen before, of cosigners of these policies.
async fn stored(
    state: &AppState,
    origin: &str,
    policies: &[(Arc<Known>, bool)],
) -> Result<BTreeMap<[u8; 32], SignedNote>, PluginError> {
    let own = state.witness_log.as_ref();
    let texts: Vec<String> = match own.filter(|log| log.origin() == origin) {
        Some(log) => {
            let items = graves::known(&state.pool, log).await?.into_iter();
            items.map(|item| item.tombstone).collect()
        }
        None => mirrored::tombstones_of(&state.pool, &log_id(origin)).await?,
    };
    let notes = texts
        .iter()
        .filter_map(|text| SignedNote::parse(text.as_bytes()).ok());
    let mut found = BTreeMap::new();
    for note in notes {
        let mut keys = policies
            .iter()
            .flat_map(|(known, _)| known.policy.cosigners());
        if let Some(signer) = keys.find(|c| read(&note, &c.key, origin).is_some()) {
            found.insert(*signer.key.public(), note);
        }
    }
    Ok(found)
}

fn read(note: &SignedNote, key: &VerifierKey, origin: &str) -> Option<Tombstone> {
    let stone = Tombstone::verify(note, key).ok()?;
    (stone.origin == origin).then_some(stone)
}

/// The tombstone that a cosigner shows.
async fn tombstone(
    state: &AppState,
    place: &Place,
    origin: &str,
) -> Result<(Tombstone, SignedNote), PluginError> {
    let url = below(&place.url, "cosigner/tombstones");
    let call = Call {
        url: &url,
        body: None,
        max_bytes: MAX_LIST,
    };
    let answer = match place.stranger {
        true => state.resolver.call_stranger(&call).await?,
        false => state.resolver.call(&call).await?,
    };
    let none = || PluginError::Upstream("the cosigner shows no tombstone".to_owned());
    let list: TombstoneList = serde_json::from_slice(&answer.body).map_err(|_| none())?;
    let mut items = list.items.iter().filter(|item| item.origin == origin);
    let found = items.find_map(|item| {
        let note = SignedNote::parse(item.tombstone.as_bytes()).ok()?;
        Some((read(&note, &place.key, origin)?, note))
    });
    found.ok_or_else(none)
}

/// Brings the mirror of a dead log to the size with which it ended, from what its cosigners keep.
async fn catch_up(
    state: &AppState,
    log: &Followed,
    size: u64,
    places: &[Place],
) -> Result<(), PluginError> {
    for place in places {
        let heads = mirrored::heads(&state.pool, &log.id).await?;
        if heads.is_none_or(|heads| heads.size >= size) {
            return Ok(());
        }
        let base = below(&place.url, &format!("mirror/{}", id_text(&log.id)));
        let there = log.elsewhere(base, place.stranger);
        match read_mirror(state, &there).await {
            Ok(()) => {}
            Err(MirrorError::Plugin(error @ PluginError::Database(_))) => return Err(error),
            Err(error) => {
                let (origin, code) = (log.origin(), error.code());
                tracing::debug!(origin, code, "a cosigner's mirror was of no use: {error}");
            }
        }
    }
    Ok(())
}

async fn read_mirror(state: &AppState, there: &Followed) -> Result<(), MirrorError> {
    let published = upstream::checkpoint(&state.resolver, there).await?;
    if matches!(
        look(state, there, &published, Via::Own).await?,
        View::Agrees
    ) {
        let size = SignedCheckpoint::new(published.clone())?.checkpoint().size;
        mirrored::set_published(&state.pool, &there.id, size, &published.to_string()).await?;
    }
    let head = upstream::head(&state.resolver, there).await?;
    look(state, there, &head, Via::Own).await.map(drop)
}
