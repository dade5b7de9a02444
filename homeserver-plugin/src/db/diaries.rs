//! What users' wallets told of what waits and what there was: the newest of each.

use atomicity_ledger::UserKey;
use sqlx::PgPool;

use crate::error::PluginError;

/// A diary as the user signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDiary {
    /// When the user made it, by their word, Unix milliseconds.
    pub at: i64,
    /// When it was stored, Unix milliseconds.
    pub stored_at: i64,
    /// The signed record.
    pub jws: String,
}

/// The newest diary of `user`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn get(pool: &PgPool, user: &UserKey) -> Result<Option<StoredDiary>, PluginError> {
    Ok(sqlx::query_as!(
        StoredDiary,
        "SELECT at, stored_at, jws FROM diaries WHERE owner = $1",
        user.as_bytes()
    )
    .fetch_optional(pool)
    .await?)
}

/// Stores `diary` unless a newer one is there. `false` if it isn't newer.
///
/// # Errors
/// `account_unknown` without an open account, or [`PluginError::Database`].
pub async fn put(pool: &PgPool, user: &UserKey, diary: &StoredDiary) -> Result<bool, PluginError> {
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
        "INSERT INTO diaries (owner, at, stored_at, jws) VALUES ($1, $2, $3, $4)
         ON CONFLICT (owner) DO UPDATE SET at = excluded.at, stored_at = excluded.stored_at, jws = excluded.jws
         WHERE diaries.at < excluded.at",
        user.as_bytes(),
        diary.at,
        diary.stored_at,
        diary.jws
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(stored.rows_affected() > 0)
}

/// Forgets what `user`'s wallet told.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn forget(pool: &PgPool, user: &UserKey) -> Result<(), PluginError> {
    sqlx::query!("DELETE FROM diaries WHERE owner = $1", user.as_bytes())
        .execute(pool)
        .await?;
    Ok(())
}
