//! Sessions, and the proofs that were used up to open them.

use atomicity_ledger::UserKey;
use sqlx::PgPool;

use super::key;
use crate::auth::proof::Proven;
use crate::auth::token::TokenHash;
use crate::error::PluginError;

/// Opens a session and uses up the proof, both or neither.
///
/// # Errors
/// `proof_replayed` if the proof was used before, or [`PluginError::Database`].
pub async fn open(
    pool: &PgPool,
    proven: &Proven,
    session: &TokenHash,
    now: i64,
    expires_at: i64,
    max_per_user: i64,
) -> Result<(), PluginError> {
    let owner = proven.user.as_bytes();
    let mut tx = pool.begin().await?;
    let fresh = sqlx::query!(
        "INSERT INTO proof_nonces (owner, nonce, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        owner,
        proven.nonce,
        proven.nonce_until
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if fresh == 0 {
        return Err(PluginError::Unauthorized {
            code: "proof_replayed",
            detail: "this proof was used before: make another",
        });
    }
    sqlx::query!(
        "DELETE FROM sessions WHERE owner = $1 AND token_hash IN
         (SELECT token_hash FROM sessions WHERE owner = $1 ORDER BY created_at DESC OFFSET $2)",
        owner,
        max_per_user - 1
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "INSERT INTO sessions (owner, token_hash, created_at, expires_at) VALUES ($1, $2, $3, $4)",
        owner,
        session.as_bytes(),
        now,
        expires_at
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Who the session belongs to and when it ends; `None` if it has ended.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn find(
    pool: &PgPool,
    session: &TokenHash,
    now: i64,
) -> Result<Option<(UserKey, i64)>, PluginError> {
    let row = sqlx::query!(
        "SELECT owner, expires_at FROM sessions WHERE token_hash = $1 AND expires_at > $2",
        session.as_bytes(),
        now
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| Ok((key(&row.owner)?, row.expires_at)))
        .transpose()
}

/// Ends a session.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn close(pool: &PgPool, user: &UserKey, session: &TokenHash) -> Result<(), PluginError> {
    sqlx::query!(
        "DELETE FROM sessions WHERE owner = $1 AND token_hash = $2",
        user.as_bytes(),
        session.as_bytes()
    )
    .execute(pool)
    .await?;
    Ok(())
}
