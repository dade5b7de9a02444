//! The newest signed summary that a user pushed of their own books.

use atomicity_ledger::UserKey;
use sqlx::PgPool;

use crate::error::PluginError;

/// A summary as the user signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// When the user made it, by their word, Unix milliseconds.
    pub at: i64,
    /// When it was stored, Unix milliseconds.
    pub stored_at: i64,
    /// The signed record.
    pub jws: String,
}

/// The newest summary of `user`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn get(pool: &PgPool, user: &UserKey) -> Result<Option<StoredSnapshot>, PluginError> {
    Ok(sqlx::query_as!(
        StoredSnapshot,
        "SELECT at, stored_at, jws FROM snapshots WHERE owner = $1",
        user.as_bytes()
    )
    .fetch_optional(pool)
    .await?)
}

/// Stores `snapshot` unless a newer one is there. `false` if it isn't newer.
///
/// # Errors
/// `account_unknown` without an open account, or [`PluginError::Database`].
pub async fn put(
    pool: &PgPool,
    user: &UserKey,
    snapshot: &StoredSnapshot,
) -> Result<bool, PluginError> {
    let mut tx = pool.begin().await?;
    let open = sqlx::query_scalar!(
        r#"SELECT closed_at IS NULL AS "open!" FROM accounts WHERE owner = $1 FOR SHARE"#,
        user.as_bytes()
    )
    .fetch_optional(&mut *tx)
    .await?;
    if open != Some(true) {
        return Err(PluginError::NotFound {
            code: "account_unknown",
            detail: "register first: PUT /v0/me",
        });
    }
    let stored = sqlx::query!(
        "INSERT INTO snapshots (owner, at, stored_at, jws) VALUES ($1, $2, $3, $4)
         ON CONFLICT (owner) DO UPDATE SET at = excluded.at, stored_at = excluded.stored_at, jws = excluded.jws
         WHERE snapshots.at < excluded.at",
        user.as_bytes(),
        snapshot.at,
        snapshot.stored_at,
        snapshot.jws
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(stored.rows_affected() > 0)
}
