//! What a log says about one promise, and its proof.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use atomicity_ledger::pair::{Expiry, Standing};
use atomicity_ledger::record::{ConditionalIou, LogProof, LogTerm};
use atomicity_ledger::text::ProofText;
use atomicity_ledger::{Preimage, RecordHash};
use atomicity_witness_log::rule::MAX_WINDOW;
use atomicity_witness_log::tile::{TilePlan, bundles, decode_bundle};
use atomicity_witness_log::tree::RangeSource;
use atomicity_witness_log::{
    CompactRange, ExpiryProof, Leaf, LogError, LogTerms, PublicationProof, SignedNote, TilePath,
    TileSet, Verdict, judge,
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
        if agent.logs().is_open(&record.terms) {
            continue;
        }
        if let Some(decision) = decide(state, agent, &keeper.settings, record).await? {
            found.push((*iou, decision));
        }
    }
    Ok(found)
}
