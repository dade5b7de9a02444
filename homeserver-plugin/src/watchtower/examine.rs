//! Checkpoints that somebody was shown, beside what the log shows us.

use atomicity_witness_log::{Checkpoint, LogError, SignedCheckpoint, SignedNote};
use sha2::{Digest as _, Sha256};

use super::promises;
use crate::clock;
use crate::error::PluginError;
use crate::mirror::poll::{View, look};
use crate::mirror::proofs::{self, Recorded, Via};
use crate::mirror::{Followed, MirrorError, accuse, store};
use crate::state::AppState;

/// Checkpoints of one log that are compared again in one go.
const BITE: i64 = 32;

/// What came of a checkpoint.
#[derive(Clone, Debug)]
pub enum Finding {
    /// It is part of the one history that the log shows us.
    Agrees,
    /// Somebody lied, and is convicted.
    Lied(Box<Recorded>),
    /// The log does not show us so much yet. It is kept and compared when it does.
    Kept,
    /// It is of no use: of a log that is not watched, or not signed by it.
    Useless {
        /// Stable code.
        code: &'static str,
        /// Why, for people.
        detail: String,
    },
}

/// Compares a checkpoint that a client was shown.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn shown(state: &AppState, note: &SignedNote) -> Result<Finding, PluginError> {
    let useless = |error: &LogError| Finding::Useless {
        code: error.code(),
        detail: error.to_string(),
    };
    if promises::is_tombstone(note) {
        return promises::shown(state, note).await;
    }
    let signed = match SignedCheckpoint::new(note.clone()) {
        Ok(signed) => signed,
        Err(error) => return Ok(useless(&error)),
    };
    let origin = &signed.checkpoint().origin;
    let Some(log) = state.follow.by_origin(origin).filter(|log| log.watched) else {
        return Ok(Finding::Useless {
            code: "log_unknown",
            detail: "this log is not watched here".to_owned(),
        });
    };
    if let Err(error) = signed.verify_log(&log.key) {
        return Ok(useless(&error));
    }
    if is_kept(state, log, note).await? {
        // Whoever shows it again need not make us ask the log again.
        return Ok(Finding::Kept);
    }
    match compare(state, log, note).await {
        Ok(View::Agrees) => Ok(Finding::Agrees),
        Ok(View::Lied(recorded)) => Ok(Finding::Lied(recorded)),
        Err(MirrorError::Plugin(error)) => Err(error),
        Err(error) => {
            tracing::info!(origin, size = signed.checkpoint().size, %error, "a checkpoint can't be compared yet");
            keep(state, log, note, signed.checkpoint().size).await?;
            Ok(Finding::Kept)
        }
    }
}

/// Keeps a checkpoint that somebody relied on, if the log signed it; it is compared at the next look at the log.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn remember(state: &AppState, note: &SignedNote) -> Result<(), PluginError> {
    let Ok(signed) = SignedCheckpoint::new(note.clone()) else {
        return Ok(());
    };
    let Checkpoint { origin, size, .. } = signed.checkpoint();
    let log = state.follow.by_origin(origin).filter(|log| log.watched);
    match log.filter(|log| signed.verify_log(&log.key).is_ok()) {
        Some(log) => keep(state, log, note, *size).await,
        None => Ok(()),
    }
}

async fn compare(state: &AppState, log: &Followed, note: &SignedNote) -> Result<View, MirrorError> {
    let view = look(state, log, note, Via::Client).await?;
    let by_cosigner = cosigners(state, log, note).await?;
    Ok(match (view, by_cosigner) {
        (View::Agrees, Some(recorded)) => View::Lied(Box::new(recorded)),
        (view, _) => view,
    })
}

/// Cosigners who signed both this checkpoint and one that contradicts it.
async fn cosigners(
    state: &AppState,
    log: &Followed,
    note: &SignedNote,
) -> Result<Option<Recorded>, MirrorError> {
    let mut found = promises::kept(state, log, note).await?;
    let heads = store::heads(&state.pool, &log.id).await?;
    let Some(published) = heads.and_then(|heads| heads.published) else {
        return Ok(found);
    };
    let published = SignedNote::parse(published.as_bytes())?;
    let size = |note: &SignedNote| Checkpoint::parse(note.text()).map(|checkpoint| checkpoint.size);
    if size(note)? > size(&published)? {
        // The mirror has no tiles under that cosignature's tree.
        return Ok(found);
    }
    for key in &state.follow.cosigners {
        if note.verify(key).is_err() || published.verify(key).is_err() {
            continue;
        }
        if let Some(proof) = accuse::against_mirror(state, log, key, note, &published).await? {
            found = Some(proofs::record(state, &proof, Via::Client).await?);
        }
    }
    Ok(found)
}

async fn is_kept(state: &AppState, log: &Followed, note: &SignedNote) -> Result<bool, PluginError> {
    let digest: [u8; 32] = Sha256::digest(note.to_string().as_bytes()).into();
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM doubtful_checkpoints WHERE log = $1 AND digest = $2) AS "kept!""#,
        &log.id[..],
        &digest[..]
    )
    .fetch_one(&state.pool)
    .await?)
}

/// Keeps a checkpoint for later, unless there are too many already.
async fn keep(
    state: &AppState,
    log: &Followed,
    note: &SignedNote,
    size: u64,
) -> Result<(), PluginError> {
    let text = note.to_string();
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    sqlx::query!(
        "INSERT INTO doubtful_checkpoints (log, size, digest, note, seen_at)
         SELECT $1, $2, $3, $4, $5 WHERE (SELECT count(*) FROM doubtful_checkpoints WHERE log = $1) < $6
         ON CONFLICT DO NOTHING",
        &log.id[..],
        i64::try_from(size).unwrap_or(i64::MAX),
        &digest[..],
        text,
        clock::now_ms(),
        state.config.watchtower.doubtful_per_log
    )
    .execute(&state.pool)
    .await?;
    Ok(())
}

/// Compares the kept checkpoints that a mirror of this size has reached.
///
/// # Errors
/// [`MirrorError`].
pub async fn doubtful(state: &AppState, log: &Followed, size: u64) -> Result<(), MirrorError> {
    let rows = sqlx::query!(
        "SELECT digest, note FROM doubtful_checkpoints WHERE log = $1 AND size <= $2 ORDER BY size LIMIT $3",
        &log.id[..],
        i64::try_from(size).unwrap_or(i64::MAX),
        BITE
    )
    .fetch_all(&state.pool)
    .await?;
    for row in rows {
        let note = SignedNote::parse(row.note.as_bytes())?;
        compare(state, log, &note).await?;
        sqlx::query!(
            "DELETE FROM doubtful_checkpoints WHERE log = $1 AND digest = $2",
            &log.id[..],
            row.digest
        )
        .execute(&state.pool)
        .await?;
    }
    Ok(())
}
