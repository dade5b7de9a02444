//! What a log says about one promise, and its proof.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use atomicity_ledger::pair::{Expiry, Standing};
use atomicity_ledger::record::{ConditionalIou, LogProof, LogTerm};
use atomicity_ledger::text::ProofText;
use atomicity_ledger::{Preimage, RecordHash};
use atomicity_witness_log::rule::MAX_WINDOW;
use atomicity_witness_log::tile::{TilePlan, bundles, decode_bundle};
use atomicity_witness_log::{
    Checkpoint, CompactRange, End, Leaf, LogError, LogTerms, Said, SignedNote, TilePath, TileSet,
    Tombstones, Verdict, Window, judge, said,
};

use super::super::queue::PairKey;
use super::super::settings::AgentSettings;
use super::super::{Agent, store};
use super::{Known, Newest};
use crate::error::PluginError;
use crate::mirror;
use crate::state::AppState;

/// What the logs say about a promise.
pub enum Decision {
    /// Published in time.
    Published(Preimage, LogProof),
    /// Not published in time, in any log that it names.
    Expired(Vec<Expiry>),
}

fn failed(error: &LogError) -> PluginError {
    PluginError::Internal(format!("a log: {error}"))
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
pub(super) async fn leaves(
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

/// The entries `[from, size)` under the checkpoint of the tree of this size.
async fn window(
    state: &AppState,
    origin: &str,
    (from, size): (u64, u64),
    leaves: Vec<Leaf>,
    note: &SignedNote,
) -> Result<Option<Window>, PluginError> {
    let range = range(state, origin, from, size).await?;
    Ok(range.map(|range| Window::new(range, leaves, note.clone())))
}

/// A checkpoint of this size that the log signed.
async fn signed_of_size(
    state: &AppState,
    origin: &str,
    size: u64,
) -> Result<Option<SignedNote>, PluginError> {
    let own = state.witness_log.as_ref();
    let notes: Vec<SignedNote> = match own.filter(|log| log.origin() == origin) {
        Some(log) => log
            .published()
            .map(|p| p.signed.note().clone())
            .into_iter()
            .collect(),
        None => {
            let heads = mirror::store::heads(&state.pool, &mirror::log_id(origin)).await?;
            let texts = heads
                .into_iter()
                .flat_map(|heads| [heads.head, heads.published]);
            let notes = texts
                .flatten()
                .filter_map(|text| SignedNote::parse(text.as_bytes()).ok());
            notes.collect()
        }
    };
    let fits = |note: &SignedNote| Checkpoint::parse(note.text()).is_ok_and(|c| c.size == size);
    Ok(notes.into_iter().find(fits))
}

/// How a log ended, if so many of its cosigners have given it up that no quorum is left.
async fn end_of(
    state: &AppState,
    agent: &Agent,
    known: &Known,
    log: &LogTerm,
) -> Result<Option<End>, PluginError> {
    let origin = log.origin.as_str();
    let notes = agent.logs().fates.stones(origin, &known.policy);
    let Ok(Some(end)) = Tombstones::end(&known.policy, origin, &notes) else {
        return Ok(None);
    };
    let from = log.from_size;
    if from >= end.size {
        return Ok(Some(End::new(notes, end.size, None)));
    }
    let Some(last) = signed_of_size(state, origin, end.size).await? else {
        return Ok(None);
    };
    let Some(leaves) = leaves(state, origin, from, end.size).await? else {
        return Ok(None);
    };
    let window = window(state, origin, (from, end.size), leaves, &last).await?;
    Ok(window.map(|window| End::new(notes, end.size, Some(window))))
}

/// What one log says about a promise.
async fn said_by(
    state: &AppState,
    agent: &Agent,
    (known, newest): (&Known, &Newest),
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
    let bounds = (log.from_size, newest.size);
    let decided = leaves(state, origin, bounds.0, bounds.1)
        .await?
        .filter(|leaves| {
            judge(terms.from_size, terms.deadline_ms, terms.hash, leaves) != Verdict::Open
        });
    let (window, end) = match decided {
        Some(leaves) => (
            window(state, origin, bounds, leaves, &newest.note).await?,
            None,
        ),
        None => (None, end_of(state, agent, known, log).await?),
    };
    match said(window.as_ref(), end.as_ref(), &terms) {
        Ok(Some(Said::Published { preimage, proof })) => {
            let text = |text: String| {
                ProofText::try_from(text).map_err(|e| PluginError::Internal(e.to_string()))
            };
            let proof = LogProof {
                policy: text(known.text.clone())?,
                proof: text(proof.to_string())?,
            };
            let preimage = Preimage::from_bytes(preimage);
            Ok(Some(Decision::Published(preimage, proof)))
        }
        Ok(Some(Said::Expired(proof))) => Ok(Some(Decision::Expired(vec![Expiry {
            policy: known.text.clone(),
            proof: proof.encode(),
        }]))),
        Ok(None) => Ok(None),
        Err(error) => {
            tracing::warn!(origin, "no proof can be made: {error}");
            Ok(None)
        }
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
        match said_by(state, agent, (known, &newest), promise, log).await? {
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
    let pair = match agent.books().newest(&key) {
        Some(pair) => pair,
        None => match store::pair(&state.pool, &key.0, &key.1).await? {
            Some(row) => Arc::new(store::parse_pair(&row.body)?),
            None => return Ok(found),
        },
    };
    for iou in ious {
        let promise = pair.promise_given(*iou).or_else(|| pair.promise_held(*iou));
        let open = promise.filter(|p| p.standing() == Standing::Undecided);
        let Some(promise) = open else { continue };
        let record = promise.iou().record();
        let logs = agent.logs();
        if logs.is_open(&record.terms) && !logs.fates.touch(&record.terms) {
            continue;
        }
        if let Some(decision) = decide(state, agent, &keeper.settings, record).await? {
            found.push((*iou, decision));
        }
    }
    Ok(found)
}
