//! Proofs that somebody lied, checked before they are stored.

use atomicity_witness_log::fork::{Culprit, Role};
use atomicity_witness_log::{ForkProof, KeyKind, Liars};
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;

use super::{Following, LogId, log_id};
use crate::clock;
use crate::error::PluginError;
use crate::state::AppState;

/// Longest proof that is taken, in bytes.
pub const MAX_PROOF: usize = 512 * 1024;

/// Where a proof came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// We found it.
    Own,
    /// Somebody handed it in.
    Client,
    /// Another watchtower had it.
    Peer,
}

impl Via {
    /// Its name in the database and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Client => "client",
            Self::Peer => "peer",
        }
    }
}

/// What became of a proof.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The number of the verdict that rests on it, or on another proof against the same key.
    pub id: i64,
    /// Whether it was stored just now.
    pub new: bool,
    /// Whom it convicts.
    pub culprit: Culprit,
}

/// Whether we have anything to do with this key. Anybody can make a key and catch it lying, so proofs about others are not kept.
#[must_use]
pub fn concerns(following: &Following, culprit: &Culprit) -> bool {
    match culprit.key.kind() {
        KeyKind::Ed25519 => following
            .by_origin(&culprit.origin)
            .is_some_and(|log| log.key == culprit.key),
        // Cosignatures don't commit to the cosigner's name.
        KeyKind::Cosignature => following
            .cosigners
            .iter()
            .any(|key| key.public() == culprit.key.public()),
    }
}

/// Checks a proof and stores it. Who is convicted already is not convicted of everything once more: beyond the configured number of
/// proofs the newest of the stored ones stands for all.
///
/// # Errors
/// `proof_invalid` if it proves nothing, `proof_too_large`, `key_unknown` if it is about nobody we watch, [`PluginError::Database`].
pub async fn record(
    state: &AppState,
    proof: &ForkProof,
    via: Via,
) -> Result<Recorded, PluginError> {
    let culprit = proof.verify().map_err(|error| PluginError::BadRequest {
        code: "proof_invalid",
        detail: error.to_string(),
    })?;
    if !concerns(&state.follow, &culprit) {
        return Err(PluginError::NotFound {
            code: "key_unknown",
            detail: "this watchtower watches neither the log nor the cosigner that the proof is about",
        });
    }
    let bytes = proof.encode();
    if bytes.len() > MAX_PROOF {
        return Err(PluginError::TooLarge {
            code: "proof_too_large",
        });
    }
    let (id, new) = store(&state.pool, &culprit, &bytes, via, state).await?;
    if new {
        tracing::error!(origin = %culprit.origin, culprit = %culprit.key, what = culprit.what.code(), via = via.name(), id, "a proven lie");
        state.following.proof(via.name());
    }
    Ok(Recorded { id, new, culprit })
}

async fn store(
    pool: &PgPool,
    culprit: &Culprit,
    bytes: &[u8],
    via: Via,
    state: &AppState,
) -> Result<(i64, bool), PluginError> {
    let log = log_id(&culprit.origin);
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let key = culprit.key.to_string();
    let limit = state.config.watchtower.proofs_per_key;
    let mut tx = pool.begin().await?;
    let made = sqlx::query_scalar!(
        "INSERT INTO fork_proofs (log, origin, culprit, role, what, via, found_at, digest, proof)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9
         WHERE (SELECT count(*) FROM fork_proofs WHERE culprit = $3) < $10
         ON CONFLICT (log, digest) DO NOTHING RETURNING id",
        &log[..],
        &culprit.origin,
        &key,
        culprit.role.name(),
        culprit.what.code(),
        via.name(),
        clock::now_ms(),
        &digest[..],
        bytes,
        limit
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(id) = made else {
        let known = sqlx::query_scalar!(
            "SELECT id FROM fork_proofs WHERE culprit = $1 ORDER BY (digest = $2) DESC, id DESC LIMIT 1",
            &key,
            &digest[..]
        )
        .fetch_one(&mut *tx)
        .await?;
        return Ok((known, false));
    };
    // Who is about to cosign the liar's next checkpoint finds that the mirror has changed.
    sqlx::query!(
        "UPDATE mirrors SET version = version + 1 WHERE log = $1",
        &log[..]
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok((id, true))
}

/// A verdict.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Its number here.
    pub id: i64,
    /// The log concerned.
    pub origin: String,
    /// The culprit's verifier key.
    pub culprit: String,
    /// `log` or `cosigner`.
    pub role: String,
    /// What it did.
    pub what: String,
    /// When we learned of it, Unix milliseconds.
    pub found_at: i64,
    /// SHA-256 of the proof.
    pub digest: Vec<u8>,
}

/// At most `limit` verdicts above `after`, of all logs or one.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn page(
    pool: &PgPool,
    after: i64,
    limit: i64,
    origin: Option<&str>,
) -> Result<Vec<Verdict>, PluginError> {
    let log = origin.map(|origin| log_id(origin).to_vec());
    Ok(sqlx::query_as!(
        Verdict,
        "SELECT id, origin, culprit, role, what, found_at, digest FROM fork_proofs
         WHERE id > $1 AND ($3::bytea IS NULL OR log = $3) ORDER BY id LIMIT $2",
        after,
        limit,
        log
    )
    .fetch_all(pool)
    .await?)
}

/// The bytes of a proof.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn get(pool: &PgPool, id: i64) -> Result<Option<Vec<u8>>, PluginError> {
    Ok(
        sqlx::query_scalar!("SELECT proof FROM fork_proofs WHERE id = $1", id)
            .fetch_optional(pool)
            .await?,
    )
}

/// Who was proven to lie about a log.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn liars(pool: &PgPool, id: &LogId) -> Result<Liars, PluginError> {
    let rows = sqlx::query!(
        "SELECT DISTINCT culprit, role FROM fork_proofs WHERE log = $1 LIMIT 1000",
        &id[..]
    )
    .fetch_all(pool)
    .await?;
    let mut liars = Liars::default();
    for row in rows {
        if let (Some(role), Ok(key)) = (Role::named(&row.role), row.culprit.parse()) {
            liars.add(role, &key);
        }
    }
    Ok(liars)
}

/// Whether a proof with this digest is stored, or its culprit has as many as are kept.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn is_settled(
    pool: &PgPool,
    culprit: &str,
    digest: &[u8],
    limit: i64,
) -> Result<bool, PluginError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM fork_proofs WHERE digest = $2)
                  OR (SELECT count(*) FROM fork_proofs WHERE culprit = $1) >= $3 AS "settled!""#,
        culprit,
        digest,
        limit
    )
    .fetch_one(pool)
    .await?)
}
