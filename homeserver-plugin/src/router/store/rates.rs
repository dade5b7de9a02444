//! What users publish about the units that they exchange: the newest record of each.

use atomicity_ledger::{SignerKey, UserKey};
use sqlx::PgPool;

use super::{BITE, big, key, signer};
use crate::error::PluginError;

/// What is held of somebody's rates.
#[derive(Clone, Debug)]
pub struct Held {
    /// The greater, the newer.
    pub serial: u64,
    /// Who signed.
    pub signer: SignerKey,
    /// Until when they count, Unix ms.
    pub expires: i64,
    /// The homeserver's validator.
    pub etag: Option<String>,
    /// Whether they count no more.
    pub withdrawn: bool,
}

/// Rates to be kept.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// Whose.
    pub owner: &'a UserKey,
    /// The greater, the newer.
    pub serial: u64,
    /// Who signed.
    pub signer: &'a SignerKey,
    /// Until when they count, Unix ms.
    pub expires: i64,
    /// The signed text.
    pub jws: &'a str,
    /// The homeserver's validator.
    pub etag: Option<&'a str>,
}

/// What is held of a user.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn of_user(pool: &PgPool, owner: &UserKey) -> Result<Option<Held>, PluginError> {
    let row = sqlx::query!(
        "SELECT serial, signer, expires, etag, withdrawn FROM router_rates WHERE owner = $1",
        owner.as_bytes()
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.and_then(|row| {
        Some(Held {
            serial: u64::try_from(row.serial).unwrap_or(0),
            signer: signer(&row.signer)?,
            expires: row.expires,
            etag: row.etag,
            withdrawn: row.withdrawn,
        })
    }))
}

/// Keeps rates, unless newer ones are held. The same may come back after they were gone, or under a longer authority.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn put(pool: &PgPool, new: &New<'_>, now: i64) -> Result<bool, PluginError> {
    let done = sqlx::query!(
        "INSERT INTO router_rates (owner, serial, signer, expires, jws, etag, fetched_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (owner) DO UPDATE SET serial = EXCLUDED.serial, signer = EXCLUDED.signer, expires = EXCLUDED.expires,
             jws = EXCLUDED.jws, etag = EXCLUDED.etag, fetched_at = EXCLUDED.fetched_at, missing = 0, withdrawn = false
         WHERE router_rates.serial < EXCLUDED.serial
            OR (router_rates.serial = EXCLUDED.serial AND router_rates.jws = EXCLUDED.jws)",
        new.owner.as_bytes(),
        big(new.serial),
        new.signer.as_bytes(),
        new.expires.max(0),
        new.jws,
        new.etag,
        now
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Notes that they are still there.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn present(pool: &PgPool, owner: &UserKey) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE router_rates SET missing = 0 WHERE owner = $1 AND missing > 0",
        owner.as_bytes()
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Notes that they were not there; how often in a row.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn missing(pool: &PgPool, owner: &UserKey) -> Result<i16, PluginError> {
    let times = sqlx::query_scalar!(
        "UPDATE router_rates SET missing = least(missing, 1000) + 1 WHERE owner = $1 RETURNING missing",
        owner.as_bytes()
    )
    .fetch_optional(pool)
    .await?;
    Ok(times.unwrap_or(0))
}

/// Notes that they count no more. Their number stays, so that older ones can't take their place.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn withdraw(pool: &PgPool, owner: &UserKey) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE router_rates SET withdrawn = true, etag = NULL WHERE owner = $1",
        owner.as_bytes()
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Deletes what expired.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn expire(pool: &PgPool, now: i64) -> Result<u64, PluginError> {
    let done = sqlx::query!(
        "DELETE FROM router_rates WHERE ctid = ANY(ARRAY(SELECT ctid FROM router_rates WHERE expires <= $1 LIMIT $2))",
        now,
        10 * BITE
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// The texts that count, after this owner: whose, until when they count, and the text.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn texts(
    pool: &PgPool,
    after: Option<UserKey>,
    now: i64,
) -> Result<Vec<(UserKey, i64, String)>, PluginError> {
    let after = after.map_or_else(Vec::new, |key| key.as_bytes().to_vec());
    let rows = sqlx::query!(
        "SELECT owner, expires, jws FROM router_rates
         WHERE owner > $1 AND NOT withdrawn AND expires > $2 ORDER BY owner LIMIT $3",
        after,
        now,
        BITE
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((key(&row.owner)?, row.expires, row.jws)))
        .collect())
}

/// The text of one, if it counts.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn text(pool: &PgPool, owner: &UserKey, now: i64) -> Result<Option<String>, PluginError> {
    Ok(sqlx::query_scalar!(
        "SELECT jws FROM router_rates WHERE owner = $1 AND NOT withdrawn AND expires > $2",
        owner.as_bytes(),
        now
    )
    .fetch_optional(pool)
    .await?)
}
