//! What the logs decide: read from the mirrors that this plugin keeps, or from its own log.
//!
//! New entries are looked at once, for all promises of all users: those that wait for one of the published preimages, and those whose
//! deadline has passed by the log's own clock. What a message costs does not depend on how many others wait.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atomicity_ledger::pair::{Expiry, KnownLog, KnownLogs, Standing};
use atomicity_ledger::record::{ConditionalIou, LogProof, LogTerm};
use atomicity_ledger::text::ProofText;
use atomicity_ledger::{PolicyHash, Preimage, RecordHash};
use atomicity_witness_log::leaf::preimage_hash;
use atomicity_witness_log::rule::MAX_WINDOW;
use atomicity_witness_log::tile::{TilePlan, bundles, decode_bundle};
use atomicity_witness_log::tree::RangeSource;
use atomicity_witness_log::{
    Checkpoint, CompactRange, ExpiryProof, Leaf, LogError, LogTerms, Policy, PublicationProof,
    SignedNote, TilePath, TileSet, Verdict, judge,
};

use super::queue::PairKey;
use super::settings::AgentSettings;
use super::{Agent, store};
use crate::error::PluginError;
use crate::mirror;
use crate::state::AppState;

/// Entries that are looked at in one go; beyond, every promise that hangs on the log is looked at instead.
const BITE: u64 = 65_536;
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

/// The logs that promises may hang on.
pub struct Logs {
    operator: Vec<Arc<Known>>,
    newest: Mutex<HashMap<String, Newest>>,
    parsed: Mutex<HashMap<PolicyHash, Arc<Known>>>,
    waiting: Mutex<BTreeSet<PairKey>>,
}

/// What the logs say about a promise.
pub enum Decision {
    /// Published in time.
    Published(Preimage, LogProof),
    /// Not published in time, in any log that it names.
    Expired(Vec<Expiry>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(error: &LogError) -> PluginError {
    PluginError::Internal(format!("a log: {error}"))
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
                entry.policies.insert(known.hash);
                entry.refused = settings
                    .logs_refused
                    .iter()
                    .any(|refused| refused == origin);
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

    /// Takes a checkpoint that a log has shown. Returns whether it is news.
    fn see(&self, origin: &str, note: &SignedNote) -> bool {
        let Ok(size) = Checkpoint::parse(note.text()).map(|c| c.size) else {
            return false;
        };
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

    /// These books have records that wait until a log was read further.
    pub fn wait(&self, key: PairKey) {
        lock(&self.waiting).insert(key);
    }
}

/// Those of these tiles that are there.
async fn tiles(
    state: &AppState,
    origin: &str,
    paths: &[TilePath],
) -> Result<BTreeMap<TilePath, Vec<u8>>, PluginError> {
    let own = state.witness_log.as_ref();
    if let Some(log) = own.filter(|log| log.origin() == origin) {
        let mut found = BTreeMap::new();
        for path in paths {
            if let Some(bytes) = log.tiles().read(path).await? {
                found.insert(*path, bytes.to_vec());
            }
        }
        return Ok(found);
    }
    mirror::store::tiles(&state.pool, &mirror::log_id(origin), paths).await
}

/// The entries `[from, size)`; none if not all of them are here.
async fn leaves(
    state: &AppState,
    origin: &str,
    from: u64,
    size: u64,
) -> Result<Option<Vec<Leaf>>, PluginError> {
    if from > size || size - from > MAX_WINDOW {
        return Ok(None);
    }
    let paths: Vec<TilePath> = bundles(from, size, size).collect();
    let found = tiles(state, origin, &paths).await?;
    let mut leaves = Vec::new();
    for path in &paths {
        let Some(bytes) = found.get(path) else {
            return Ok(None);
        };
        let entries = decode_bundle(path, bytes).map_err(|error| failed(&error))?;
        for (index, entry) in (path.start()..).zip(entries) {
            if (from..size).contains(&index) {
                leaves.push(Leaf::decode(entry).map_err(|error| failed(&error))?);
            }
        }
    }
    Ok(Some(leaves))
}

/// The hashes before `from`.
async fn range(
    state: &AppState,
    origin: &str,
    from: u64,
    size: u64,
) -> Result<Option<CompactRange>, PluginError> {
    let wanted = {
        let plan = TilePlan::new(size);
        let _ = CompactRange::from_source(&plan, from);
        plan.tiles()
    };
    let found = tiles(state, origin, &wanted).await?;
    let mut set = TileSet::new();
    for path in &wanted {
        let Some(bytes) = found.get(path) else {
            return Ok(None);
        };
        set.insert(path, bytes).map_err(|error| failed(&error))?;
    }
    CompactRange::from_source(&set, from)
        .map(Some)
        .map_err(|error| failed(&error))
}

/// What one log says about a promise.
async fn said_by(
    state: &AppState,
    known: &Known,
    newest: &Newest,
    promise: &ConditionalIou,
    log: &LogTerm,
) -> Result<Option<Decision>, PluginError> {
    let origin = log.origin.as_str();
    let terms = LogTerms {
        policy: &known.policy,
        origin,
        hash: promise.terms.hash.as_bytes(),
        from_size: log.from_size,
        deadline_ms: promise.terms.deadline_ms,
    };
    let Some(leaves) = leaves(state, origin, log.from_size, newest.size).await? else {
        return Ok(None);
    };
    let verdict = judge(terms.from_size, terms.deadline_ms, terms.hash, &leaves);
    if verdict == Verdict::Open {
        return Ok(None);
    }
    let Some(range) = range(state, origin, log.from_size, newest.size).await? else {
        return Ok(None);
    };
    let made = prove(&terms, verdict, range, leaves, &newest.note);
    match made {
        Ok(Proof::Publication(preimage, proof)) => {
            let text = |text: String| {
                ProofText::try_from(text).map_err(|e| PluginError::Internal(e.to_string()))
            };
            let proof = LogProof {
                policy: text(known.text.clone())?,
                proof: text(proof)?,
            };
            Ok(Some(Decision::Published(preimage, proof)))
        }
        Ok(Proof::Expiry(proof)) => Ok(Some(Decision::Expired(vec![Expiry {
            policy: known.text.clone(),
            proof,
        }]))),
        Ok(Proof::None) => Ok(None),
        Err(error) => {
            tracing::warn!(origin, "no proof can be made: {error}");
            Ok(None)
        }
    }
}

enum Proof {
    Publication(Preimage, String),
    Expiry(Vec<u8>),
    None,
}

/// The proof of a verdict, checked as everybody else will check it.
fn prove(
    terms: &LogTerms<'_>,
    verdict: Verdict,
    range: CompactRange,
    leaves: Vec<Leaf>,
    note: &SignedNote,
) -> Result<Proof, LogError> {
    let at =
        |index: u64| usize::try_from(index.saturating_sub(terms.from_size)).unwrap_or(usize::MAX);
    let source = RangeSource::new(range.clone(), leaves.iter().map(Leaf::hash).collect());
    match verdict {
        Verdict::Published { index } => {
            let leaf = *leaves.get(at(index)).ok_or(LogError::OutOfRange)?;
            let proof = PublicationProof::build(&source, index, leaf, note.clone())?;
            let published = proof.verify(terms)?;
            let preimage = Preimage::from_bytes(published.preimage);
            Ok(Proof::Publication(preimage, proof.to_string()))
        }
        Verdict::Expired { index } => {
            let mut window = leaves;
            window.truncate(at(index).saturating_add(1));
            let proof = ExpiryProof::build(range, window, &source, note.clone())?;
            proof.verify(terms)?;
            Ok(Proof::Expiry(proof.encode()))
        }
        Verdict::Open => Ok(Proof::None),
    }
}

/// What the logs have decided about a promise; none if nothing yet.
async fn decide(
    state: &AppState,
    agent: &Agent,
    settings: &AgentSettings,
    promise: &ConditionalIou,
) -> Result<Option<Decision>, PluginError> {
    let policies = agent.logs().policies(state, settings);
    let mut expired = Vec::new();
    for log in &promise.terms.logs {
        let known = policies.iter().find(|known| known.hash == log.policy_hash);
        let newest = agent.logs().newest(log.origin.as_str());
        let (Some(known), Some(newest)) = (known, newest) else {
            continue;
        };
        match said_by(state, known, &newest, promise, log).await? {
            Some(Decision::Expired(proofs)) => expired.extend(proofs),
            Some(published) => return Ok(Some(published)),
            None => {}
        }
    }
    let all = expired.len() == promise.terms.logs.len() && !expired.is_empty();
    Ok(all.then_some(Decision::Expired(expired)))
}

/// What the logs have decided about these promises of one pair.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn decisions(
    state: &AppState,
    agent: &Agent,
    key: PairKey,
    ious: &BTreeSet<RecordHash>,
) -> Result<Vec<(RecordHash, Decision)>, PluginError> {
    let mut found = Vec::new();
    if ious.is_empty() {
        return Ok(found);
    }
    let Some(keeper) = agent.keeper(&key.0) else {
        return Ok(found);
    };
    let Some(row) = store::pair(&state.pool, &key.0, &key.1).await? else {
        return Ok(found);
    };
    let pair = store::parse_pair(&row.body)?;
    for iou in ious {
        let promise = pair.promise_given(*iou).or_else(|| pair.promise_held(*iou));
        let open = promise.filter(|p| p.standing() == Standing::Undecided);
        let Some(promise) = open else { continue };
        let record = promise.iou().record();
        if let Some(decision) = decide(state, agent, &keeper.settings, record).await? {
            found.push((*iou, decision));
        }
    }
    Ok(found)
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
async fn newest_note(state: &AppState, origin: &str) -> Result<Option<SignedNote>, PluginError> {
    let own = state.witness_log.as_ref();
    if let Some(log) = own.filter(|log| log.origin() == origin) {
        return Ok(log.published().map(|p| p.signed.note().clone()));
    }
    let heads = mirror::store::heads(&state.pool, &mirror::log_id(origin)).await?;
    let published = heads.and_then(|heads| heads.published);
    Ok(published.and_then(|text| SignedNote::parse(text.as_bytes()).ok()))
}

async fn look(
    state: &AppState,
    agent: &Agent,
    origin: &str,
    position: &mut Position,
) -> Result<bool, PluginError> {
    let Some(note) = newest_note(state, origin).await? else {
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
        }
        if grown {
            for key in std::mem::take(&mut *lock(&agent.logs().waiting)) {
                agent.work().add(key, |work| work.again = true);
            }
        }
    }
}
