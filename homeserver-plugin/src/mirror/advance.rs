//! One step of a mirror: from the tree it knows to a larger one that the log signed.

use atomicity_witness_log::follower::CatchUp;
use atomicity_witness_log::{
    Checkpoint, Follower, ForkProof, LogError, SignedNote, TileEdge, TilePath,
};

use super::store::{self, Mirror};
use super::{Followed, MirrorError, accuse, upstream};
use crate::state::AppState;

/// Most entries that are held in memory at once; more are taken in bites.
pub const BITE: u64 = 65_536;

/// What a step leads to, not stored yet.
#[derive(Debug)]
pub struct Step {
    /// What is known of the log then.
    pub follower: Follower,
    /// The tiles to be written with it.
    pub tiles: Vec<(TilePath, Vec<u8>)>,
}

/// How a step ended.
#[derive(Debug)]
pub enum Outcome {
    /// The tree is the known one with more entries.
    Grown(Box<Step>),
    /// The log lied, and here is the proof.
    Lied(Box<ForkProof>),
}

/// The tiles at the right edge of a mirror.
async fn edge(state: &AppState, log: &Followed, size: u64) -> Result<TileEdge, MirrorError> {
    let needed = TileEdge::needed(size);
    let stored = store::tiles(&state.pool, &log.id, &needed).await?;
    if let Some(path) = needed.iter().find(|path| !stored.contains_key(path)) {
        return Err(store::missing(path));
    }
    Ok(TileEdge::restore(size, |path| stored.get(path).cloned())?)
}

/// Fetches what is between the known tree and the one in `note`, and checks it. Nothing is stored, except tiles beyond the mirror's size
/// where there is too much for one bite.
///
/// With `now_ms` the newest tick must be fresh by our clock: what will be cosigned needs that. `note` is not smaller than the known tree.
///
/// # Errors
/// [`MirrorError::Log`] for what the log should not have signed but that convicts nobody; [`MirrorError::Unserved`];
/// [`MirrorError::Plugin`].
pub async fn step(
    state: &AppState,
    log: &Followed,
    mirror: &Mirror,
    note: &SignedNote,
    now_ms: Option<u64>,
) -> Result<Outcome, MirrorError> {
    let target = Checkpoint::parse(note.text())?.size;
    let known = mirror.follower.size();
    let result = if target.saturating_sub(known) > BITE {
        in_bites(state, log, mirror, note).await
    } else {
        at_once(state, log, mirror, note, now_ms).await
    };
    match result {
        Ok(step) => Ok(Outcome::Grown(Box::new(step))),
        Err(MirrorError::Log(LogError::Forked(proof))) => Ok(Outcome::Lied(proof)),
        Err(MirrorError::Log(LogError::RootMismatch)) => {
            // Either its server gave us the wrong entries, or it signed two trees of which neither begins with the other.
            match accuse::inconsistent(state, log, mirror, note).await {
                Ok(Some(proof)) => Ok(Outcome::Lied(Box::new(proof))),
                Ok(None) | Err(_) => Err(LogError::RootMismatch.into()),
            }
        }
        Err(error) => Err(error),
    }
}

async fn at_once(
    state: &AppState,
    log: &Followed,
    mirror: &Mirror,
    note: &SignedNote,
    now_ms: Option<u64>,
) -> Result<Step, MirrorError> {
    let known = mirror.follower.size();
    let target = Checkpoint::parse(note.text())?.size;
    let entries = upstream::entries(state, log, (known, target), target).await?;
    let mut follower = mirror.follower.clone();
    follower.advance(note, &entries, now_ms)?;
    let tiles = if entries.is_empty() {
        Vec::new()
    } else {
        edge(state, log, known).await?.append(&entries)?
    };
    Ok(Step { follower, tiles })
}

async fn in_bites(
    state: &AppState,
    log: &Followed,
    mirror: &Mirror,
    note: &SignedNote,
) -> Result<Step, MirrorError> {
    let mut catch_up = CatchUp::begin(&mirror.follower, note)?;
    let mut edge = edge(state, log, catch_up.size()).await?;
    let (start, target) = (catch_up.size(), catch_up.target());
    tracing::info!(
        origin = log.origin(),
        from = start,
        to = target,
        "catching up with a log"
    );
    while catch_up.size() < target {
        let from = catch_up.size();
        let to = target.min(from.saturating_add(BITE));
        let entries = upstream::entries(state, log, (from, to), target).await?;
        catch_up.add(&entries)?;
        store::stage(&state.pool, &log.id, &edge.append(&entries)?).await?;
        if catch_up.size() != to {
            return Err(MirrorError::Unserved(
                "fewer entries than there are".to_owned(),
            ));
        }
    }
    let suspect = catch_up.suspect();
    match (catch_up.finish(), suspect) {
        (Ok(follower), _) => Ok(Step {
            follower,
            tiles: Vec::new(),
        }),
        (Err(error @ (LogError::TimeFalls { .. } | LogError::LeafMalformed)), Some(index)) => {
            let proof = accuse::staged(state, log, note, index).await?;
            Err(proof
                .map_or(error, |proof| LogError::Forked(Box::new(proof)))
                .into())
        }
        (Err(error), _) => Err(error.into()),
    }
}
