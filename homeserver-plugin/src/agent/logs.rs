//! What the logs decide: read from the mirrors that this plugin keeps, or from its own log.
//!
//! New entries are looked at once, for all promises of all users: those that wait for one of the published preimages, and those whose
//! deadline has passed by the log's own clock. What a message costs does not depend on how many others wait.

mod decide;
mod fates;
mod views;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atomicity_ledger::PolicyHash;
use atomicity_ledger::pair::{KnownLog, KnownLogs};
use atomicity_ledger::record::{InvoiceLog, Terms};
use atomicity_ledger::text::Address;
use atomicity_witness_log::leaf::preimage_hash;
use atomicity_witness_log::{Checkpoint, Leaf, LogError, Policy, SignedNote};

use self::decide::leaves;
pub use self::decide::{Decision, decisions};
use self::fates::Fates;
use self::views::Shown;
pub use self::views::compare;
use super::queue::PairKey;
use super::settings::AgentSettings;
use super::{Agent, store};
use crate::clock;
use crate::error::PluginError;
use crate::mirror;
use crate::state::AppState;

/// Entries that are looked at in one go; beyond, every promise that hangs on the log is looked at instead.
const BITE: u64 = 65_536;
/// A log of which nothing newer is here is not alive, in milliseconds.
const LIVING_MS: u64 = 60_000;
/// Every so many looks, whatever is overdue is looked at again.
const AGAIN: u64 = 60;

/// A policy that counts for somebody.
struct Known {
    text: String,
    hash: PolicyHash,
    policy: Policy,
}

impl Known {
    fn parse(text: &str) -> Result<Self, LogError> {
        let policy = Policy::parse(text.as_bytes())?;
        Ok(Self {
            text: text.to_owned(),
            hash: PolicyHash::from_bytes(policy.hash()),
            policy,
        })
    }
}

/// The newest checkpoint that a log has shown here.
#[derive(Clone)]
struct Newest {
    note: Arc<SignedNote>,
    size: u64,
    /// How far it counts, by policy: a checkpoint with too few cosignatures counts for nothing.
    counts: HashMap<PolicyHash, u64>,
}

/// Preimages that are remembered by log.
const REMEMBERED: usize = 65_536;

/// The last entries of a log that were looked at: enough to say that a new promise is still open without reading anything.
struct Recent {
    from: u64,
    size: u64,
    time_ms: u64,
    hashes: HashSet<[u8; 32]>,
}

/// The logs that promises may hang on.
pub struct Logs {
    operator: Vec<Arc<Known>>,
    newest: Mutex<HashMap<String, Newest>>,
    parsed: Mutex<HashMap<PolicyHash, Arc<Known>>>,
    waiting: Mutex<BTreeSet<PairKey>>,
    recent: Mutex<HashMap<String, Recent>>,
    fates: Fates,
    shown: Shown,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Logs {
    /// Reads the operator's policies.
    ///
    /// # Errors
    /// [`PluginError::Config`].
    pub fn new(policies: &[String]) -> Result<Self, PluginError> {
        let parse = |text: &String| {
            Known::parse(text)
                .map(Arc::new)
                .map_err(|error| PluginError::Config(format!("agent.logs: {error}")))
        };
        Ok(Self {
            operator: policies.iter().map(parse).collect::<Result<_, _>>()?,
            newest: Mutex::default(),
            parsed: Mutex::default(),
            waiting: Mutex::default(),
            recent: Mutex::default(),
            fates: Fates::default(),
            shown: Shown::default(),
        })
    }

    /// The policies that count for a user: the operator's, that of the plugin's own log, and the user's.
    fn policies(&self, state: &AppState, settings: &AgentSettings) -> Vec<Arc<Known>> {
        let own = state.witness_log.as_ref();
        let own = own.and_then(|log| std::str::from_utf8(log.policy().as_bytes()).ok());
        let texts = own
            .into_iter()
            .chain(settings.logs.iter().map(String::as_str));
        let mut found = self.operator.clone();
        let mut parsed = lock(&self.parsed);
        for text in texts {
            let hash = PolicyHash::of(text);
            let known = match parsed.get(&hash) {
                Some(known) => Some(known.clone()),
                None => Known::parse(text).ok().map(Arc::new),
            };
            if let Some(known) = known {
                parsed.insert(hash, known.clone());
                found.push(known);
            }
        }
        found
    }

    /// How far each log counts for a user.
    #[must_use]
    pub fn known(&self, state: &AppState, settings: &AgentSettings) -> Arc<KnownLogs> {
        if let Some(log) = &state.witness_log
            && let Some(published) = log.published()
        {
            self.see(&log.origin(), published.signed.note());
        }
        let policies = self.policies(state, settings);
        let mut newest = lock(&self.newest);
        let mut logs: BTreeMap<String, KnownLog> = BTreeMap::new();
        for known in &policies {
            for log in known.policy.logs() {
                let origin = log.key.name();
                let entry = logs.entry(origin.to_owned()).or_default();
                if !self.fates.is_over(origin, known) {
                    entry.policies.insert(known.hash);
                }
                entry.refused = settings.logs_refused.iter().any(|no| no == origin);
                if let Some(seen) = newest.get_mut(origin) {
                    let size = seen.size;
                    let note = seen.note.clone();
                    let counts = seen
                        .counts
                        .entry(known.hash)
                        .or_insert_with(|| known.policy.check(&note).map_or(0, |_| size));
                    entry.newest_size = entry.newest_size.max(*counts);
                }
            }
        }
        let mut all = KnownLogs::default();
        for (origin, log) in logs {
            if let Ok(origin) = origin.parse() {
                all.insert(origin, log);
            }
        }
        Arc::new(all)
    }

    /// The policies that name a log: the operator's, that of the plugin's own log, and with a mark those of users at work.
    fn naming(&self, state: &AppState, agent: &Agent, origin: &str) -> Vec<(Arc<Known>, bool)> {
        let mut found: BTreeMap<PolicyHash, (Arc<Known>, bool)> = BTreeMap::new();
        let mut add = |policies: Vec<Arc<Known>>, stranger: bool| {
            let names = |known: &Arc<Known>| known.policy.log(origin).is_some();
            for known in policies.into_iter().filter(names) {
                found.entry(known.hash).or_insert((known, stranger));
            }
        };
        add(self.policies(state, &AgentSettings::default()), false);
        for keeper in agent.keepers() {
            add(self.policies(state, &keeper.settings), true);
        }
        found.into_values().collect()
    }

    /// Whether a log has shown something new lately.
    fn is_alive(&self, origin: &str) -> bool {
        let now = u64::try_from(clock::now_ms()).unwrap_or(0);
        let recent = lock(&self.recent);
        let seen = recent.get(origin);
        seen.is_some_and(|recent| recent.time_ms.saturating_add(LIVING_MS) >= now)
    }

    /// The logs that count for a user and have shown a checkpoint that counts, lately, with where they are read.
    #[must_use]
    pub fn usable(&self, state: &AppState, settings: &AgentSettings) -> Vec<InvoiceLog> {
        let known = self.known(state, settings);
        let own = state.witness_log.as_ref().map(|log| log.origin());
        let mut usable = Vec::new();
        for policy in self.policies(state, settings) {
            for log in policy.policy.logs() {
                let name = log.key.name();
                let Ok(origin) = name.parse::<Address>() else {
                    continue;
                };
                let followed = state.follow.by_origin(name).map(|log| log.url.to_string());
                let url = match own.as_deref() == Some(name) {
                    true => Some(crate::witness_log::url(&state.keypair)),
                    false => followed,
                };
                let good = |log: &KnownLog| {
                    log.newest_size > 0 && !log.refused && log.policies.contains(&policy.hash)
                };
                let read = known.get(&origin).is_some_and(good) && self.is_alive(name);
                if let Some(url) = url.filter(|_| read) {
                    usable.push(InvoiceLog {
                        origin,
                        policy_hash: policy.hash,
                        url: url.parse().ok(),
                    });
                }
            }
        }
        usable
    }

    /// Takes a checkpoint that a log has shown. Returns whether it is news.
    fn see(&self, origin: &str, note: &SignedNote) -> bool {
        let Ok(Checkpoint { size, root, .. }) = Checkpoint::parse(note.text()) else {
            return false;
        };
        self.shown.add(origin, (size, root));
        let mut newest = lock(&self.newest);
        if newest.get(origin).is_some_and(|seen| seen.size >= size) {
            return false;
        }
        // What counted before counts still, until somebody asks how far the newer one does.
        let new = Newest {
            note: Arc::new(note.clone()),
            size,
            counts: HashMap::new(),
        };
        newest.insert(origin.to_owned(), new);
        true
    }

    fn newest(&self, origin: &str) -> Option<Newest> {
        lock(&self.newest).get(origin).cloned()
    }

    /// Remembers the entries `[from, size)`, the newest that were looked at.
    fn remember(&self, origin: &str, (from, size): (u64, u64), new: &[Leaf]) {
        let mut recent = lock(&self.recent);
        let entry = recent.entry(origin.to_owned()).or_insert_with(|| Recent {
            from,
            size: from,
            time_ms: 0,
            hashes: HashSet::new(),
        });
        if entry.size != from || entry.hashes.len() > REMEMBERED {
            entry.from = from;
            entry.hashes.clear();
        }
        entry.size = size;
        entry.time_ms = new.last().map_or(entry.time_ms, Leaf::time_ms);
        let preimages = new.iter().filter_map(Leaf::preimage);
        entry.hashes.extend(preimages.map(preimage_hash));
    }

    /// Whether what was looked at already shows that nothing is decided. What comes later is found when it is looked at.
    fn is_open(&self, terms: &Terms) -> bool {
        let recent = lock(&self.recent);
        terms.logs.iter().all(|log| {
            recent.get(log.origin.as_str()).is_some_and(|recent| {
                recent.from <= log.from_size
                    && recent.time_ms <= terms.deadline_ms
                    && !recent.hashes.contains(terms.hash.as_bytes())
            })
        })
    }

    /// These books have records that wait until a log was read further.
    pub fn wait(&self, key: PairKey) {
        lock(&self.waiting).insert(key);
    }
}

/// How far a log was looked at.
#[derive(Clone, Copy, Default)]
struct Position {
    size: u64,
    time_ms: u64,
    rounds: u64,
    begun: bool,
}

/// The newest checkpoint of a log that is here.
async fn newest_note(
    state: &AppState,
    agent: &Agent,
    origin: &str,
) -> Result<Option<SignedNote>, PluginError> {
    let own = state.witness_log.as_ref();
    if let Some(log) = own.filter(|log| log.origin() == origin) {
        return Ok(log.published().map(|p| p.signed.note().clone()));
    }
    let id = mirror::log_id(origin);
    let heads = mirror::store::heads(&state.pool, &id).await?;
    let liars = mirror::proofs::liars(&state.pool, &id).await?;
    agent.logs().fates.convict(origin, liars);
    let published = heads.and_then(|heads| heads.published);
    Ok(published.and_then(|text| SignedNote::parse(text.as_bytes()).ok()))
}

async fn look(
    state: &AppState,
    agent: &Agent,
    origin: &str,
    position: &mut Position,
) -> Result<bool, PluginError> {
    let Some(note) = newest_note(state, agent, origin).await? else {
        return Ok(false);
    };
    agent.logs().see(origin, &note);
    let Ok(size) = Checkpoint::parse(note.text()).map(|checkpoint| checkpoint.size) else {
        return Ok(false);
    };
    if position.begun && size <= position.size {
        return Ok(false);
    }
    let from = position.size.max(size.saturating_sub(1).min(position.size));
    let whole = !position.begun || size - from > BITE;
    let from = if whole { size.saturating_sub(1) } else { from };
    let Some(new) = leaves(state, origin, from, size).await? else {
        return Ok(false);
    };
    let time_ms = new.last().map_or(position.time_ms, Leaf::time_ms);
    // Before the database is asked: a promise that is stored later than that finds these entries remembered.
    agent.logs().remember(origin, (from, size), &new);
    let mut wanted = Vec::new();
    if whole {
        wanted.extend(store::open_on(&state.pool, origin).await?);
    } else {
        let hashes: Vec<[u8; 32]> = new
            .iter()
            .filter_map(Leaf::preimage)
            .map(preimage_hash)
            .collect();
        if !hashes.is_empty() {
            wanted.extend(store::published(&state.pool, origin, &hashes).await?);
        }
        let again = position.rounds.is_multiple_of(AGAIN);
        let since = if again { 0 } else { position.time_ms };
        let millis = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let window = (millis(since), millis(time_ms));
        wanted.extend(store::due(&state.pool, origin, window).await?);
    }
    for (owner, peer, iou) in wanted {
        agent.look_at_logs((owner, peer), &BTreeSet::from([iou]));
    }
    *position = Position {
        size,
        time_ms,
        rounds: position.rounds.wrapping_add(1),
        begun: true,
    };
    Ok(true)
}

/// Looks at the logs until the process stops.
pub async fn run(state: AppState, agent: Agent) {
    let every = Duration::from_millis(agent.config().log_poll_ms);
    let mut positions: BTreeMap<String, Position> = BTreeMap::new();
    for log in state.follow.logs() {
        positions.insert(log.origin().to_owned(), Position::default());
    }
    if let Some(log) = &state.witness_log {
        positions.insert(log.origin(), Position::default());
    }
    if let Ok(pairs) = store::unread_logs(&state.pool).await {
        pairs.into_iter().for_each(|key| agent.logs().wait(key));
    }
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        agent
            .metrics()
            .gauges(agent.work().len(), agent.keepers().len());
        let mut grown = false;
        for (origin, position) in &mut positions {
            match look(&state, &agent, origin, position).await {
                Ok(news) => grown |= news,
                Err(error) => tracing::debug!(origin, %error, "a log could not be looked at"),
            }
            if position.begun {
                fates::attend(&state, &agent, origin, position.time_ms);
            }
        }
        if grown {
            for key in std::mem::take(&mut *lock(&agent.logs().waiting)) {
                agent.work().add(key, |work| work.again = true);
            }
        }
    }
}
