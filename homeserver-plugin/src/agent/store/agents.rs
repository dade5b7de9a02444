//! One row per user who has an agent.

use atomicity_ledger::UserKey;
use sqlx::{PgPool, Postgres, Transaction};

use crate::error::PluginError;

/// A user's agent.
#[derive(Clone, Debug)]
pub struct AgentRow {
    /// Whose.
    pub owner: UserKey,
    /// Its public signing key.
    pub key: Vec<u8>,
    /// Its sealed keys; none once wiped.
    pub sealed: Option<Vec<u8>>,
    /// `new`, `active` or `stopped`.
    pub status: String,
    /// Why it stopped.
    pub why: Option<String>,
    /// When it ends, Unix milliseconds.
    pub until: i64,
    /// The root's word.
    pub authority: Option<String>,
    /// A grant to write channel files.
    pub storage: Option<String>,
    /// What the user allows.
    pub settings: String,
}

/// The agent of a user.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn find(pool: &PgPool, owner: &UserKey) -> Result<Option<AgentRow>, PluginError> {
    let row = sqlx::query!(
        "SELECT key, sealed, status, why, until, authority, storage, settings FROM agents WHERE owner = $1",
        owner.as_bytes()
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| AgentRow {
        owner: *owner,
        key: row.key,
        sealed: row.sealed,
        status: row.status,
        why: row.why,
        until: row.until,
        authority: row.authority,
        storage: row.storage,
        settings: row.settings,
    }))
}

/// All that are at work, after `after`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn all(pool: &PgPool, after: &[u8], limit: i64) -> Result<Vec<AgentRow>, PluginError> {
    let rows = sqlx::query!(
        "SELECT owner, key, sealed, status, why, until, authority, storage, settings FROM agents
         WHERE status = 'active' AND owner > $1 ORDER BY owner LIMIT $2",
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(AgentRow {
                owner: super::key(&row.owner)?,
                key: row.key,
                sealed: row.sealed,
                status: row.status,
                why: row.why,
                until: row.until,
                authority: row.authority,
                storage: row.storage,
                settings: row.settings,
            })
        })
        .collect()
}

/// How many agents are not stopped.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn count(pool: &PgPool) -> Result<i64, PluginError> {
    Ok(
        sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM agents WHERE status <> 'stopped'"#)
            .fetch_one(pool)
            .await?,
    )
}

/// Locks the account of a user, so that nobody else changes their agent. `false` without an open account.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn lock(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
) -> Result<bool, PluginError> {
    let open = sqlx::query_scalar!(
        r#"SELECT closed_at IS NULL AS "open!" FROM accounts WHERE owner = $1 FOR NO KEY UPDATE"#,
        owner.as_bytes()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(open == Some(true))
}

/// Stores an agent, new or changed.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn put(
    tx: &mut Transaction<'_, Postgres>,
    row: &AgentRow,
    now: i64,
) -> Result<(), PluginError> {
    sqlx::query!(
        "INSERT INTO agents (owner, key, sealed, status, why, until, authority, storage, settings, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (owner) DO UPDATE SET key = excluded.key, sealed = excluded.sealed, status = excluded.status,
             why = excluded.why, until = excluded.until, authority = excluded.authority, storage = excluded.storage,
             settings = excluded.settings",
        row.owner.as_bytes(),
        row.key,
        row.sealed,
        row.status,
        row.why,
        row.until,
        row.authority,
        row.storage,
        row.settings,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Stops an agent.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn set_status(pool: &PgPool, owner: &UserKey, why: &str) -> Result<bool, PluginError> {
    let done = sqlx::query!(
        "UPDATE agents SET status = 'stopped', why = $2 WHERE owner = $1 AND status <> 'stopped'",
        owner.as_bytes(),
        why
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Wipes the keys of agents that are stopped: all of `owner`'s if forced, else only if the time of every promise is over. Returns whether the keys
/// are gone.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn wipe(
    pool: &PgPool,
    owner: &UserKey,
    force: bool,
    now: i64,
) -> Result<bool, PluginError> {
    sqlx::query!(
        "UPDATE agents SET sealed = NULL WHERE owner = $1 AND status = 'stopped'
         AND ($2 OR NOT EXISTS (SELECT 1 FROM agent_promises p WHERE p.owner = $1 AND p.deadline_ms >= $3))",
        owner.as_bytes(),
        force,
        now
    )
    .execute(pool)
    .await?;
    let gone = sqlx::query_scalar!(
        r#"SELECT sealed IS NULL AS "gone!" FROM agents WHERE owner = $1"#,
        owner.as_bytes()
    )
    .fetch_optional(pool)
    .await?;
    Ok(gone.unwrap_or(true))
}

/// Wipes the keys of all agents that are stopped, once the time of every promise is over.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn wipe_idle(pool: &PgPool, now: i64) -> Result<u64, PluginError> {
    let done = sqlx::query!(
        "UPDATE agents a SET sealed = NULL WHERE a.status = 'stopped' AND a.sealed IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM agent_promises p WHERE p.owner = a.owner AND p.deadline_ms >= $1)",
        now
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// The mark of this database.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn mark(pool: &PgPool) -> Result<i64, PluginError> {
    Ok(sqlx::query_scalar!("SELECT generation FROM agent_mark")
        .fetch_one(pool)
        .await?)
}

/// Raises the mark of this database above what it was, and above `above`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn raise_mark(pool: &PgPool, above: i64) -> Result<i64, PluginError> {
    Ok(sqlx::query_scalar!(
        "UPDATE agent_mark SET generation = GREATEST(generation, $1) + 1 RETURNING generation",
        above
    )
    .fetch_one(pool)
    .await?)
}

/// Keeps no books any more that are kept now. Returns how many these are.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn set_restored(pool: &PgPool) -> Result<u64, PluginError> {
    let done = sqlx::query!("UPDATE agent_pairs SET restored = true WHERE status = 'kept'")
        .execute(pool)
        .await?;
    // Nor which turns were paid: the users' wallets find that out from whom they pay.
    sqlx::query!(
        "UPDATE agent_approvals SET status = 'ended', why = 'books_restored', ended_at = (extract(epoch FROM now()) * 1000)::bigint
         WHERE status = 'active'"
    )
    .execute(pool)
    .await?;
    // What the accounts have spent meanwhile is not known: their keys must not spend again.
    sqlx::query!("UPDATE agent_accounts SET status = 'restored' WHERE status = 'active'")
        .execute(pool)
        .await?;
    Ok(done.rows_affected())
}

/// Whether books are of a database that was restored.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn is_restored(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    peer: &UserKey,
) -> Result<bool, PluginError> {
    let found = sqlx::query_scalar!(
        "SELECT restored FROM agent_pairs WHERE owner = $1 AND peer = $2 AND status = 'kept'",
        owner.as_bytes(),
        peer.as_bytes()
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found == Some(true))
}
