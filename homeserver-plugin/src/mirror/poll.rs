//! Looking at logs, again and again, and at single checkpoints that somebody shows us.

use std::sync::Arc;
use std::time::Duration;

use atomicity_witness_log::{SignedCheckpoint, SignedNote};

use super::advance::{self, Outcome};
use super::proofs::{self, Recorded, Via};
use super::store::{self, Change, Mirror};
use super::{Followed, MirrorError, accuse, index, upstream};
use crate::state::AppState;
use crate::{clock, cosigner, watchtower};

/// Longest pause between two looks at a log that does not answer.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// How often a step is tried again when somebody else was faster.
const ATTEMPTS: u32 = 3;

/// What comparing a checkpoint with a mirror led to.
#[derive(Clone, Debug)]
pub enum View {
    /// It is a tree of the mirror's history, which reaches at least as far now.
    Agrees,
    /// Log or cosigner lied, and the proof is stored.
    Lied(Box<Recorded>),
}

/// Compares a checkpoint with the mirror, which follows the log that far if it has to.
///
/// # Errors
/// [`MirrorError::Log`] if it is not signed by the log, or can't be reconciled with what the log serves; [`MirrorError::Unserved`];
/// [`MirrorError::Raced`]; [`MirrorError::Plugin`].
pub async fn look(
    state: &AppState,
    log: &Followed,
    note: &SignedNote,
    via: Via,
) -> Result<View, MirrorError> {
    let signed = SignedCheckpoint::new(note.clone())?;
    signed.verify_log(&log.key)?;
    let size = signed.checkpoint().size;
    let _gate = log.gate.lock().await;
    for _ in 0..ATTEMPTS {
        let mirror = store::get(&state.pool, &log.id).await?;
        match compare(state, log, &mirror, note, size).await {
            Ok(None) => return Ok(View::Agrees),
            Ok(Some(proof)) => {
                let recorded = proofs::record(state, &proof, via).await?;
                return Ok(View::Lied(Box::new(recorded)));
            }
            Err(MirrorError::Raced) => {}
            Err(error) => return Err(error),
        }
    }
    Err(MirrorError::Raced)
}

async fn compare(
    state: &AppState,
    log: &Followed,
    mirror: &Mirror,
    note: &SignedNote,
    size: u64,
) -> Result<Option<atomicity_witness_log::ForkProof>, MirrorError> {
    if size <= mirror.follower.size() {
        return match mirror.follower.head() {
            Some(head) => accuse::against_mirror(state, log, &log.key, note, head.note()).await,
            None => Ok(None),
        };
    }
    if mirror.forked && log.cosigned {
        return Err(MirrorError::Frozen);
    }
    match advance::step(state, log, mirror, note, None).await? {
        Outcome::Lied(proof) => Ok(Some(*proof)),
        Outcome::Grown(step) => {
            let change = Change {
                follower: &step.follower,
                tiles: &step.tiles,
                cosigned: false,
                tombstone: None,
            };
            store::put(&state.pool, &log.id, mirror.version, &change).await?;
            Ok(None)
        }
    }
}

/// Looks at one log until the process stops.
pub async fn run(state: AppState, log: Arc<Followed>) {
    let mut every = Duration::MAX;
    if log.cosigned {
        every = every.min(Duration::from_millis(state.config.cosigner.poll_ms));
    }
    if log.watched {
        every = every.min(Duration::from_millis(state.config.watchtower.poll_ms));
    }
    let mut pause = every;
    loop {
        if state.readiness.lock_held() {
            let answered = round(&state, &log).await;
            pause = if answered {
                every
            } else {
                pause.saturating_mul(2).clamp(every, MAX_PAUSE.max(every))
            };
        }
        let jittered = pause.mul_f64(rand::random_range(0.9..=1.1));
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = tokio::time::sleep(jittered) => {}
        }
    }
}

/// One look; whether the log answered.
async fn round(state: &AppState, log: &Followed) -> bool {
    let outcome = follow(state, log).await;
    let silent = match &outcome {
        Ok(()) => {
            state.following.round("fresh");
            false
        }
        Err(error) => {
            state.following.round(error.code());
            tracing::debug!(origin = log.origin(), %error, "a log could not be followed");
            matches!(error, MirrorError::Unserved(_))
        }
    };
    if log.note_silence(silent) {
        if silent {
            tracing::warn!(origin = log.origin(), "a log does not answer");
        } else {
            tracing::info!(origin = log.origin(), "a log answers again");
        }
    }
    if let Err(error) = settle(state, log).await {
        tracing::warn!(origin = log.origin(), %error, "a mirror could not be looked after");
    }
    !silent
}

async fn follow(state: &AppState, log: &Followed) -> Result<(), MirrorError> {
    let note = upstream::checkpoint(&state.resolver, log).await?;
    let view = look(state, log, &note, Via::Own).await?;
    if matches!(view, View::Agrees) {
        let size = SignedCheckpoint::new(note.clone())?.checkpoint().size;
        store::set_published(&state.pool, &log.id, size, &note.to_string()).await?;
        if log.watched {
            watchtower::promises::kept(state, log, &note).await?;
        }
    }
    Ok(())
}

/// What depends on where the mirror stands, not on whether the log answered.
async fn settle(state: &AppState, log: &Followed) -> Result<(), MirrorError> {
    let mirror = store::get(&state.pool, &log.id).await?;
    let now = u64::try_from(clock::now_ms()).unwrap_or(0);
    let age = mirror
        .follower
        .last_time_ms()
        .map(|newest| Duration::from_millis(now.saturating_sub(newest)));
    state
        .following
        .mirror(log.origin(), mirror.follower.size(), age);
    if log.watched {
        watchtower::examine::doubtful(state, log, mirror.follower.size()).await?;
    }
    if log.cosigned {
        cosigner::bury(state, log).await?;
    }
    // Only pages ask it: without them it would be space for nothing.
    if state.config.pages.enabled {
        index::catch_up(&state.pool, &log.id).await?;
    }
    Ok(())
}
