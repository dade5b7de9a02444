//! Advertisements: the newest of each user about each peer.

use atomicity_ledger::{SignerKey, UserKey};
use sqlx::PgPool;

use super::{BITE, big, key, signer};
use crate::error::PluginError;

/// What is held of an advertisement, without its text.
#[derive(Clone, Debug)]
pub struct Held {
    /// About whom.
    pub peer: UserKey,
    /// The greater, the newer.
    pub serial: u64,
    /// Who signed.
    pub signer: SignerKey,
    /// Until when it counts, Unix ms.
    pub expires: i64,
    /// The homeserver's validator.
    pub etag: Option<String>,
    /// Whether it counts no more.
    pub withdrawn: bool,
}

/// An advertisement to be kept.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// Whose.
    pub owner: &'a UserKey,
    /// About whom.
    pub peer: &'a UserKey,
    /// The greater, the newer.
    pub serial: u64,
    /// Who signed.
    pub signer: &'a SignerKey,
    /// Until when it counts, Unix ms.
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
pub async fn of_user(pool: &PgPool, owner: &UserKey) -> Result<Vec<Held>, PluginError> {
    let rows = sqlx::query!(
        "SELECT peer, serial, signer, expires, etag, withdrawn FROM router_advert WHERE owner = $1 ORDER BY peer",
        owner.as_bytes()
    )
    .fetch_all(pool)
    .await?;
    let mut held = Vec::with_capacity(rows.len());
    for row in rows {
        if let (Some(peer), Some(signer)) = (key(&row.peer), signer(&row.signer)) {
            held.push(Held {
                peer,
                serial: u64::try_from(row.serial).unwrap_or(0),
                signer,
                expires: row.expires,
                etag: row.etag,
                withdrawn: row.withdrawn,
            });
        }
    }
    Ok(held)
}

/// Keeps an advertisement, unless a newer one is held. The same one may come back after it was gone, or under a longer authority.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn put(pool: &PgPool, new: &New<'_>, now: i64) -> Result<bool, PluginError> {
    let done = sqlx::query!(
        "INSERT INTO router_advert (owner, peer, serial, signer, expires, jws, etag, fetched_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (owner, peer) DO UPDATE SET serial = EXCLUDED.serial, signer = EXCLUDED.signer, expires = EXCLUDED.expires,
             jws = EXCLUDED.jws, etag = EXCLUDED.etag, fetched_at = EXCLUDED.fetched_at, missing = 0, withdrawn = false
         WHERE router_advert.serial < EXCLUDED.serial
            OR (router_advert.serial = EXCLUDED.serial AND router_advert.jws = EXCLUDED.jws)",
        new.owner.as_bytes(),
        new.peer.as_bytes(),
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

/// Notes that an advertisement is still there.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn present(pool: &PgPool, owner: &UserKey, peer: &UserKey) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE router_advert SET missing = 0 WHERE owner = $1 AND peer = $2 AND missing > 0",
        owner.as_bytes(),
        peer.as_bytes()
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Notes that an advertisement was not there; how often in a row.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn missing(pool: &PgPool, owner: &UserKey, peer: &UserKey) -> Result<i16, PluginError> {
    let times = sqlx::query_scalar!(
        "UPDATE router_advert SET missing = least(missing, 1000) + 1 WHERE owner = $1 AND peer = $2 RETURNING missing",
        owner.as_bytes(),
        peer.as_bytes()
    )
    .fetch_optional(pool)
    .await?;
    Ok(times.unwrap_or(0))
}

/// Notes that an advertisement counts no more. Its number stays, so that an older one can't take its place.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn withdraw(pool: &PgPool, owner: &UserKey, peer: &UserKey) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE router_advert SET withdrawn = true, etag = NULL WHERE owner = $1 AND peer = $2",
        owner.as_bytes(),
        peer.as_bytes()
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
        "DELETE FROM router_advert WHERE ctid = ANY(ARRAY(SELECT ctid FROM router_advert WHERE expires <= $1 LIMIT $2))",
        now,
        10 * BITE
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// The texts that count, after this owner and peer: those two, until when it counts, and the text.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn texts(
    pool: &PgPool,
    after: Option<(UserKey, UserKey)>,
    now: i64,
) -> Result<Vec<(UserKey, UserKey, i64, String)>, PluginError> {
    let bytes = |key: UserKey| key.as_bytes().to_vec();
    let (owner, peer) = after.map_or((Vec::new(), Vec::new()), |(a, b)| (bytes(a), bytes(b)));
    let rows = sqlx::query!(
        "SELECT owner, peer, expires, jws FROM router_advert
         WHERE (owner, peer) > ($1, $2) AND NOT withdrawn AND expires > $3 ORDER BY owner, peer LIMIT $4",
        owner,
        peer,
        now,
        BITE
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((key(&row.owner)?, key(&row.peer)?, row.expires, row.jws)))
        .collect())
}

/// A page of the texts of one user.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn page(
    pool: &PgPool,
    owner: &UserKey,
    after: Option<UserKey>,
    limit: i64,
    now: i64,
) -> Result<Vec<(UserKey, i64, String)>, PluginError> {
    let after = after.map_or_else(Vec::new, |key| key.as_bytes().to_vec());
    let rows = sqlx::query!(
        "SELECT peer, fetched_at, jws FROM router_advert
         WHERE owner = $1 AND peer > $2 AND NOT withdrawn AND expires > $3 ORDER BY peer LIMIT $4",
        owner.as_bytes(),
        after,
        now,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((key(&row.peer)?, row.fetched_at, row.jws)))
        .collect())
}

/// The text of one, if it counts.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn text(
    pool: &PgPool,
    owner: &UserKey,
    peer: &UserKey,
) -> Result<Option<String>, PluginError> {
    Ok(sqlx::query_scalar!(
        "SELECT jws FROM router_advert WHERE owner = $1 AND peer = $2 AND NOT withdrawn",
        owner.as_bytes(),
        peer.as_bytes()
    )
    .fetch_optional(pool)
    .await?)
}
