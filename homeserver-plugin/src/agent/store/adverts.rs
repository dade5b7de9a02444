//! What agents publish about channels.

use atomicity_ledger::UserKey;
use sqlx::{PgPool, Postgres, Transaction};

use crate::error::PluginError;

/// What is published about one channel.
#[derive(Clone, Debug, Default)]
pub struct AdvertRow {
    /// Later ones have greater numbers.
    pub serial: i64,
    /// What it says; empty if there is nothing to say.
    pub body: String,
    /// What was signed; empty if the file is to be removed.
    pub record: String,
    /// The version of the books that it was compared with.
    pub version: i64,
    /// Whether the homeserver has it.
    pub shown: bool,
    /// When it was signed.
    pub written_at: i64,
    /// When it ends.
    pub expires_at: i64,
}

/// Peers about whom something is to be published or looked at: it is not shown yet; or it was written at `written` or before, and the
/// books have changed since or it ends before `soon`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn adverts_due(
    pool: &PgPool,
    owner: &UserKey,
    (soon, written): (i64, i64),
    limit: i64,
) -> Result<Vec<UserKey>, PluginError> {
    let rows = sqlx::query_scalar!(
        "SELECT p.peer FROM agent_pairs p LEFT JOIN agent_adverts a ON a.owner = p.owner AND a.peer = p.peer
         WHERE p.owner = $1 AND p.status = 'kept' AND NOT p.restored
             AND (a.peer IS NULL OR NOT a.shown
                  OR (a.written_at <= $2 AND (a.version < p.version OR (a.body <> '' AND a.expires_at < $3))))
         ORDER BY p.peer LIMIT $4",
        owner.as_bytes(),
        written,
        soon,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.iter().map(|peer| super::key(peer)).collect()
}

/// What is published about one channel.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn advert(
    pool: &PgPool,
    owner: &UserKey,
    peer: &UserKey,
) -> Result<Option<AdvertRow>, PluginError> {
    let row = sqlx::query_as!(
        AdvertRow,
        "SELECT serial, body, record, version, shown, written_at, expires_at FROM agent_adverts WHERE owner = $1 AND peer = $2",
        owner.as_bytes(),
        peer.as_bytes()
    )
    .fetch_optional(pool)
    .await?;
    Ok(row)
}

/// Stores what is to be published.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn put_advert(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    peer: &UserKey,
    row: &AdvertRow,
) -> Result<(), PluginError> {
    sqlx::query!(
        "INSERT INTO agent_adverts (owner, peer, serial, body, record, version, shown, written_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (owner, peer) DO UPDATE SET serial = excluded.serial, body = excluded.body, record = excluded.record,
             version = excluded.version, shown = excluded.shown, written_at = excluded.written_at, expires_at = excluded.expires_at",
        owner.as_bytes(),
        peer.as_bytes(),
        row.serial,
        row.body,
        row.record,
        row.version,
        row.shown,
        row.written_at,
        row.expires_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes that the homeserver has what was signed under this number.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn advert_shown(
    pool: &PgPool,
    owner: &UserKey,
    peer: &UserKey,
    serial: i64,
) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE agent_adverts SET shown = true WHERE owner = $1 AND peer = $2 AND serial = $3",
        owner.as_bytes(),
        peer.as_bytes(),
        serial
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Looks at what is published about a channel again: what is allowed has changed, or somebody else may have written it.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn look_at_advert(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    peer: &UserKey,
) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE agent_adverts SET version = 0, written_at = 0, body = '?' WHERE owner = $1 AND peer = $2",
        owner.as_bytes(),
        peer.as_bytes()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
