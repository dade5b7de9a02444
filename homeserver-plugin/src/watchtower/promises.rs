//! Tombstones are promises: never to cosign a larger tree. Those that were seen are held against what their signers cosign.

use atomicity_witness_log::tombstone::HEADER;
use atomicity_witness_log::{ForkProof, SignedNote, Tombstone, VerifierKey};

use super::examine::Finding;
use crate::error::PluginError;
use crate::mirror::proofs::{self, Recorded, Via};
use crate::mirror::{Followed, MirrorError, store};
use crate::state::AppState;

/// Whether this note says of itself that it is a tombstone.
#[must_use]
pub fn is_tombstone(note: &SignedNote) -> bool {
    let rest = note.text().strip_prefix(HEADER);
    rest.is_some_and(|rest| rest.starts_with('\n'))
}

/// Takes a tombstone that somebody was shown, and compares it with the newest published checkpoint.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn shown(state: &AppState, note: &SignedNote) -> Result<Finding, PluginError> {
    let useless = |code, detail: String| Ok(Finding::Useless { code, detail });
    let stone = match Tombstone::parse(note.text()) {
        Ok(stone) => stone,
        Err(error) => return useless(error.code(), error.to_string()),
    };
    let log = state.follow.by_origin(&stone.origin);
    let Some(log) = log.filter(|log| log.watched) else {
        return useless("log_unknown", "this log is not watched here".to_owned());
    };
    let mut cosigners = state.follow.cosigners.iter();
    let Some(key) = cosigners.find(|key| Tombstone::verify(note, key).is_ok()) else {
        let detail = "no cosigner that is watched here signed this tombstone".to_owned();
        return useless("cosigner_unknown", detail);
    };
    store::keep_tombstone(&state.pool, &log.id, key.public(), &stone, note).await?;
    let heads = store::heads(&state.pool, &log.id).await?;
    let published = heads
        .and_then(|heads| heads.published)
        .and_then(|text| SignedNote::parse(text.as_bytes()).ok());
    let broken = match published {
        Some(published) => hold_against(state, key, note, &published).await?,
        None => None,
    };
    Ok(broken.map_or(Finding::Kept, |recorded| Finding::Lied(Box::new(recorded))))
}

/// Holds all tombstones of a log that were seen against a checkpoint and the cosignatures that it bears.
///
/// # Errors
/// [`MirrorError::Log`] if a stored tombstone is damaged; [`MirrorError::Plugin`].
pub async fn kept(
    state: &AppState,
    log: &Followed,
    checkpoint: &SignedNote,
) -> Result<Option<Recorded>, MirrorError> {
    let rows = sqlx::query!(
        "SELECT cosigner, note FROM tombstones_seen WHERE log = $1",
        &log.id[..]
    )
    .fetch_all(&state.pool)
    .await?;
    let mut found = None;
    for row in rows {
        let stone = SignedNote::parse(row.note.as_bytes())?;
        let mut cosigners = state.follow.cosigners.iter();
        let Some(key) = cosigners.find(|key| key.public()[..] == row.cosigner[..]) else {
            continue;
        };
        if let Some(recorded) = hold_against(state, key, &stone, checkpoint).await? {
            found = Some(recorded);
        }
    }
    Ok(found)
}

async fn hold_against(
    state: &AppState,
    key: &VerifierKey,
    stone: &SignedNote,
    checkpoint: &SignedNote,
) -> Result<Option<Recorded>, PluginError> {
    let beyond = ForkProof::BrokenTombstone {
        key: key.clone(),
        tombstone: stone.clone(),
        cosigned: checkpoint.clone(),
    };
    let beside = ForkProof::SameSize {
        key: key.clone(),
        a: stone.clone(),
        b: checkpoint.clone(),
    };
    // Either is a proof if it verifies, and nothing if it does not.
    for proof in [beyond, beside] {
        if let Ok(proof) = proof.confirm() {
            return proofs::record(state, &proof, Via::Client).await.map(Some);
        }
    }
    Ok(None)
}
