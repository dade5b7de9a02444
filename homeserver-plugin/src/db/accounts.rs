//! Accounts: who may be written to.

use atomicity_ledger::UserKey;
use sqlx::PgPool;

use crate::error::PluginError;

/// An account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// When it was made, Unix milliseconds.
    pub registered_at: i64,
    /// When the user left, if they did.
    pub closed_at: Option<i64>,
    /// Envelopes that wait.
    pub queued: i64,
    /// Bytes that wait.
    pub queued_bytes: i64,
}

/// What registering did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// There was no account, or its user had left.
    New,
    /// There was one.
    Existing,
}

/// The account of `user`, if there is one.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn get(pool: &PgPool, user: &UserKey) -> Result<Option<Account>, PluginError> {
    Ok(sqlx::query_as!(
        Account,
        "SELECT registered_at, closed_at, queued, queued_bytes FROM accounts WHERE owner = $1",
        user.as_bytes()
    )
    .fetch_optional(pool)
    .await?)
}

/// Makes an account for `user`, or opens the closed one again. Refuses when `max` accounts are there.
///
/// # Errors
/// `accounts_full`, or [`PluginError::Database`].
pub async fn register(
    pool: &PgPool,
    user: &UserKey,
    max: i64,
    now: i64,
) -> Result<Registered, PluginError> {
    let mut tx = pool.begin().await?;
    let reopened = sqlx::query!(
        "UPDATE accounts SET closed_at = NULL WHERE owner = $1 AND closed_at IS NOT NULL",
        user.as_bytes()
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    // The bound is a guard, not an account of record: concurrent registrations may pass it by a few.
    let made = sqlx::query!(
        "INSERT INTO accounts (owner, registered_at)
         SELECT $1, $2 WHERE (SELECT count(*) FROM accounts) < $3
         ON CONFLICT (owner) DO NOTHING",
        user.as_bytes(),
        now,
        max
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    let exists = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM accounts WHERE owner = $1) AS "exists!""#,
        user.as_bytes()
    )
    .fetch_one(&mut *tx)
    .await?;
    if !exists {
        return Err(PluginError::Forbidden {
            code: "accounts_full",
            detail: "this plugin takes no more accounts",
        });
    }
    tx.commit().await?;
    Ok(if reopened + made > 0 {
        Registered::New
    } else {
        Registered::Existing
    })
}

/// Closes the account: nothing comes in any more, what waits can be read until the janitor clears it. `false` if there is none.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn close(pool: &PgPool, user: &UserKey, now: i64) -> Result<bool, PluginError> {
    let closed = sqlx::query!(
        "WITH unwelcome AS (DELETE FROM guest_ways WHERE owner = $1)
         UPDATE accounts SET closed_at = COALESCE(closed_at, GREATEST($2, registered_at)), public_units = '{}'
         WHERE owner = $1",
        user.as_bytes(),
        now
    )
    .execute(pool)
    .await?;
    Ok(closed.rows_affected() > 0)
}

/// Units in which the user lets everybody see that they keep books; `None` without an open account.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn public_units(
    pool: &PgPool,
    user: &UserKey,
) -> Result<Option<Vec<String>>, PluginError> {
    Ok(sqlx::query_scalar!(
        "SELECT public_units FROM accounts WHERE owner = $1 AND closed_at IS NULL",
        user.as_bytes()
    )
    .fetch_optional(pool)
    .await?)
}

/// Replaces those units. `false` without an open account.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn set_public_units(
    pool: &PgPool,
    user: &UserKey,
    units: &[String],
) -> Result<bool, PluginError> {
    let changed = sqlx::query!(
        "UPDATE accounts SET public_units = $2 WHERE owner = $1 AND closed_at IS NULL",
        user.as_bytes(),
        units
    )
    .execute(pool)
    .await?;
    Ok(changed.rows_affected() > 0)
}
