//! Cosigning other people's logs: a signature that says *this is the largest consistent tree of that log that I have seen, and its newest
//! tick is fresh by my clock*; and, once a log has died, *I will never cosign a larger one*.
//!
//! Mirror and promise are stored in one transaction before the signature leaves the house. The key works only with the database that it
//! was made in: an empty or foreign one does not know what was promised.

mod http;
pub mod keys;

use std::time::Duration;

use atomicity_witness_log::add_checkpoint::encode_response;
use atomicity_witness_log::checkpoint::EMPTY_ROOT_WRONG;
use atomicity_witness_log::tree::verify_consistency;
use atomicity_witness_log::{AddCheckpoint, ForkProof, LogError, NoteSignature, SigningKey};
use tokio::time::timeout;

pub use self::http::{BODY, TombstoneItem, TombstoneList, add_routes, routes};
use crate::clock;
use crate::error::PluginError;
use crate::mirror::advance::{self, BITE, Outcome, Step};
use crate::mirror::proofs::{self, Via};
use crate::mirror::store::{self, Change, Mirror};
use crate::mirror::{Followed, MirrorError, accuse};
use crate::state::AppState;

/// How long a request waits for another one about the same log.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a checkpoint was not cosigned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The request can't be read.
    #[error("{0}")]
    Malformed(LogError),
    /// No log of this origin is cosigned here.
    #[error("no log of this origin is cosigned here")]
    LogUnknown,
    /// The log has not signed it.
    #[error("{0}")]
    NotSigned(LogError),
    /// The log believes that another size was cosigned last: this one was.
    #[error("the newest tree known here has {0} entries")]
    Conflict(u64),
    /// It must not be cosigned.
    #[error("{detail}")]
    Unacceptable {
        /// Stable code.
        code: &'static str,
        /// Why, for people.
        detail: String,
    },
    /// Not now.
    #[error("{detail}")]
    Later {
        /// Stable code.
        code: &'static str,
        /// Why, for people.
        detail: String,
    },
    /// The database failed.
    #[error("{0}")]
    Plugin(#[from] PluginError),
}

impl Refusal {
    /// A stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "request_malformed",
            Self::LogUnknown => "log_unknown",
            Self::NotSigned(_) => "not_signed",
            Self::Conflict(_) => "size_conflict",
            Self::Unacceptable { code, .. } | Self::Later { code, .. } => code,
            Self::Plugin(error) => error.code(),
        }
    }

    fn unacceptable(error: &LogError) -> Self {
        Self::Unacceptable {
            code: error.code(),
            detail: error.to_string(),
        }
    }

    fn busy() -> Self {
        Self::Later {
            code: "log_busy",
            detail: "another checkpoint of this log is being looked at".to_owned(),
        }
    }
}

impl From<MirrorError> for Refusal {
    fn from(error: MirrorError) -> Self {
        match error {
            MirrorError::Log(error) => Self::unacceptable(&error),
            MirrorError::Unserved(_) => Self::Later {
                code: "entries_unavailable",
                detail: error.to_string(),
            },
            MirrorError::Frozen => Self::Unacceptable {
                code: "log_forked",
                detail: error.to_string(),
            },
            MirrorError::Raced => Self::busy(),
            MirrorError::Plugin(error) => Self::Plugin(error),
        }
    }
}

/// Answers one `add-checkpoint` request: the body of the answer.
///
/// # Errors
/// [`Refusal`].
pub async fn add_checkpoint(state: &AppState, body: &[u8]) -> Result<String, Refusal> {
    let outcome = handle(state, body).await;
    let counted = outcome.as_ref().map_or_else(Refusal::code, |_| "cosigned");
    state.following.cosignature(counted);
    outcome
}

async fn handle(state: &AppState, body: &[u8]) -> Result<String, Refusal> {
    let key = state.follow.cosigner.as_ref().ok_or(Refusal::LogUnknown)?;
    let request = AddCheckpoint::parse(body).map_err(|error| match error {
        LogError::CheckpointMalformed(EMPTY_ROOT_WRONG) => Refusal::unacceptable(&error),
        other => Refusal::Malformed(other),
    })?;
    let log = state
        .follow
        .by_origin(&request.checkpoint.checkpoint().origin)
        .filter(|log| log.cosigned)
        .ok_or(Refusal::LogUnknown)?;
    request
        .checkpoint
        .verify_log(&log.key)
        .map_err(Refusal::NotSigned)?;
    let _gate = timeout(PATIENCE, log.gate.lock())
        .await
        .map_err(|_| Refusal::busy())?;
    let mirror = store::get(&state.pool, &log.id).await?;
    let step = judge(state, log, &mirror, &request).await?;
    let signature = promise(state, log, &mirror, &step, key).await?;
    Ok(encode_response(&[signature]))
}

/// Everything that must hold before a checkpoint is cosigned. What it brings is not stored yet.
async fn judge(
    state: &AppState,
    log: &Followed,
    mirror: &Mirror,
    request: &AddCheckpoint,
) -> Result<Step, Refusal> {
    let (known, new) = (mirror.follower.size(), request.checkpoint.checkpoint());
    if mirror.forked {
        return Err(Refusal::Unacceptable {
            code: "log_forked",
            detail: "this log was proven to lie".to_owned(),
        });
    }
    if request.old_size != known {
        return Err(Refusal::Conflict(known));
    }
    if let Some(tombstone) = mirror.follower.tombstone() {
        // Not even the tombstoned size once more: what ended the log must stay the end of it.
        return Err(Refusal::unacceptable(&LogError::Tombstoned {
            size: tombstone.size,
        }));
    }
    if new.size == 0 {
        // A mirror has nothing to say about an empty tree, and no newest tick to judge the clock by.
        return Err(Refusal::unacceptable(&LogError::NoTick));
    }
    if let Err(error) = consistent(mirror, request) {
        // A wrong proof convicts nobody, but the log's own tiles may.
        let found = accuse::inconsistent(state, log, mirror, request.checkpoint.note()).await;
        return Err(match found {
            Ok(Some(proof)) => lied(state, &proof).await?,
            Ok(None) | Err(_) => Refusal::unacceptable(&error),
        });
    }
    if new.size - known > BITE {
        return Err(Refusal::Later {
            code: "catching_up",
            detail: format!("{} entries have to be read first", new.size - known),
        });
    }
    let now = u64::try_from(clock::now_ms()).unwrap_or(0);
    let note = request.checkpoint.note();
    match advance::step(state, log, mirror, note, Some(now)).await? {
        Outcome::Grown(step) => Ok(*step),
        Outcome::Lied(proof) => Err(lied(state, &proof).await?),
    }
}

/// Whether the request's proof leads from the known tree to the new one. Where the sizes are the same the roots are compared later, because
/// two of them are a proven lie.
fn consistent(mirror: &Mirror, request: &AddCheckpoint) -> Result<(), LogError> {
    let (known, new) = (mirror.follower.size(), request.checkpoint.checkpoint());
    if known == new.size {
        return if request.consistency.is_empty() {
            Ok(())
        } else {
            Err(LogError::ConsistencyInvalid)
        };
    }
    let root = mirror.follower.root();
    verify_consistency(known, new.size, &request.consistency, &root, &new.root)
}

async fn lied(state: &AppState, proof: &ForkProof) -> Result<Refusal, PluginError> {
    let recorded = proofs::record(state, proof, Via::Own).await?;
    Ok(Refusal::Unacceptable {
        code: "log_forked",
        detail: format!("the log lies: {}", recorded.culprit.what.code()),
    })
}

/// Stores mirror and promise, then signs.
async fn promise(
    state: &AppState,
    log: &Followed,
    mirror: &Mirror,
    step: &Step,
    key: &SigningKey,
) -> Result<NoteSignature, Refusal> {
    let change = Change {
        follower: &step.follower,
        tiles: &step.tiles,
        cosigned: true,
        tombstone: None,
    };
    store::put(&state.pool, &log.id, mirror.version, &change).await?;
    let now_s = u64::try_from(clock::now_ms()).unwrap_or(0) / 1_000;
    step.follower
        .cosign(key, now_s)
        .map_err(|error| Refusal::unacceptable(&error))
}

/// Signs a tombstone if the log has been silent for too long, by its newest tick and as long as this process has been looking: a cosigner
/// that was away itself has not seen a log die.
///
/// # Errors
/// [`MirrorError`].
pub async fn bury(state: &AppState, log: &Followed) -> Result<(), MirrorError> {
    let Some(key) = state.follow.cosigner.as_ref() else {
        return Ok(());
    };
    let dead_after = Duration::from_secs(state.config.cosigner.dead_after_s);
    if log.since.elapsed() < dead_after {
        return Ok(());
    }
    let _gate = log.gate.lock().await;
    let mirror = store::get(&state.pool, &log.id).await?;
    let now = u64::try_from(clock::now_ms()).unwrap_or(0);
    let dead_after_ms = u64::try_from(dead_after.as_millis()).unwrap_or(u64::MAX);
    if mirror.tombstone.is_some() || !mirror.follower.is_dead_after(now, dead_after_ms) {
        return Ok(());
    }
    let mut follower = mirror.follower.clone();
    let tombstone = follower.bury_after(key, now, dead_after_ms)?;
    let change = Change {
        follower: &follower,
        tiles: &[],
        cosigned: false,
        tombstone: Some(tombstone.to_string()),
    };
    store::put(&state.pool, &log.id, mirror.version, &change).await?;
    state.following.tombstone(log.origin());
    tracing::error!(
        origin = log.origin(),
        size = follower.size(),
        "a log has died: its tombstone is signed"
    );
    Ok(())
}
