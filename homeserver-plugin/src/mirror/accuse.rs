//! From a suspicion to a proof.
//!
//! The pure crate decides what is a proof; here is only fetched what it asks for. [`TilePlan`] finds out: the function runs once with a
//! plan instead of a tree, fails, and leaves behind which tiles it wanted.

use atomicity_witness_log::fork::{compare, inspect};
use atomicity_witness_log::tile::{TilePlan, bundles, decode_bundle};
use atomicity_witness_log::{Checkpoint, ForkProof, SignedNote, TilePath, TileSet, VerifierKey};

use super::store::{self, Mirror};
use super::{Followed, MirrorError, upstream};
use crate::state::AppState;

/// The head of a mirror as a note; `None` before the first.
fn head(mirror: &Mirror) -> Option<&SignedNote> {
    mirror.follower.head().map(|head| head.note())
}

fn larger_of(a: &SignedNote, b: &SignedNote) -> Result<u64, MirrorError> {
    let size = |note: &SignedNote| Checkpoint::parse(note.text()).map(|checkpoint| checkpoint.size);
    Ok(size(a)?.max(size(b)?))
}

/// The tiles that comparing two checkpoints takes.
fn wanted(key: &VerifierKey, a: &SignedNote, b: &SignedNote) -> Result<Vec<TilePath>, MirrorError> {
    let plan = TilePlan::new(larger_of(a, b)?);
    // What it says is of no use: the hashes of a plan are none.
    let _ = compare(key, a, b, &plan);
    Ok(plan.tiles())
}

/// Tiles of the mirror, whether verified or staged.
async fn own_tiles(
    state: &AppState,
    log: &Followed,
    paths: &[TilePath],
) -> Result<TileSet, MirrorError> {
    let stored = store::tiles(&state.pool, &log.id, paths).await?;
    let mut set = TileSet::new();
    for path in paths {
        let bytes = stored.get(path).ok_or_else(|| store::missing(path))?;
        set.insert(path, bytes)?;
    }
    Ok(set)
}

/// Compares a checkpoint that is not larger than the mirror with the mirror's head: as signed by `key`, which is the log's or that of a
/// cosigner of both. `None`: they agree.
///
/// # Errors
/// [`MirrorError::Log`] for what is wrong with a signature; [`MirrorError::Plugin`].
pub async fn against_mirror(
    state: &AppState,
    log: &Followed,
    key: &VerifierKey,
    note: &SignedNote,
    head: &SignedNote,
) -> Result<Option<ForkProof>, MirrorError> {
    let tiles = own_tiles(state, log, &wanted(key, note, head)?).await?;
    Ok(compare(key, note, head, &tiles)?)
}

/// Compares a larger checkpoint with the mirror's head, by the tiles that the log itself gives. `None`: they agree, or there is no head.
///
/// # Errors
/// [`MirrorError::Unserved`]; [`MirrorError::Log`], such as when the tiles given are not those of the tree that was signed.
pub async fn inconsistent(
    state: &AppState,
    log: &Followed,
    mirror: &Mirror,
    note: &SignedNote,
) -> Result<Option<ForkProof>, MirrorError> {
    let Some(head) = head(mirror) else {
        return Ok(None);
    };
    let paths = wanted(&log.key, head, note)?;
    let tiles = upstream::tiles(state, log, paths).await?;
    Ok(compare(&log.key, head, note, &tiles)?)
}

/// Looks at a staged entry and the one before it: one of them is no leaf, or its time falls.
///
/// # Errors
/// [`MirrorError::Plugin`], [`MirrorError::Log`].
pub async fn staged(
    state: &AppState,
    log: &Followed,
    note: &SignedNote,
    index: u64,
) -> Result<Option<ForkProof>, MirrorError> {
    let size = Checkpoint::parse(note.text())?.size;
    let start = index.saturating_sub(1);
    let paths: Vec<TilePath> = bundles(start, index.saturating_add(1), size).collect();
    let stored = store::tiles(&state.pool, &log.id, &paths).await?;
    let mut entries = Vec::new();
    for path in &paths {
        let bytes = stored.get(path).ok_or_else(|| store::missing(path))?;
        let numbered = (path.start()..).zip(decode_bundle(path, bytes)?);
        entries.extend(
            numbered
                .filter(|(at, _)| (start..=index).contains(at))
                .map(|(_, entry)| entry.to_vec()),
        );
    }
    let plan = TilePlan::new(size);
    for at in start..=index {
        let _ = atomicity_witness_log::tree::prove_inclusion(&plan, at, size);
    }
    let tiles = own_tiles(state, log, &plan.tiles()).await?;
    Ok(inspect(&log.key, note, start, &entries, &tiles)?)
}
