//! The durable copy: what a restart begins with.

pub mod adverts;
pub mod keys;
pub mod rates;
pub mod ratings;

use std::collections::HashMap;

use atomicity_ledger::{SignerKey, UserKey};
use sqlx::PgPool;

use super::frontier::User;
use crate::error::PluginError;

/// Rows that are read or deleted at once.
pub const BITE: i64 = 1_000;

/// A key out of the database; what is no key is passed over, which no row of ours is.
pub fn key(bytes: &[u8]) -> Option<UserKey> {
    <[u8; 32]>::try_from(bytes)
        .ok()
        .and_then(|bytes| UserKey::from_bytes(bytes).ok())
}

fn signer(bytes: &[u8]) -> Option<SignerKey> {
    <[u8; 32]>::try_from(bytes)
        .ok()
        .and_then(|bytes| SignerKey::from_bytes(bytes).ok())
}

fn small(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A number out of a record; records hold none above 2^53.
pub fn big(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// A homeserver as it was left.
#[derive(Clone, Copy, Debug)]
pub struct HomeRow {
    /// Its key.
    pub home: UserKey,
    /// Failures in a row.
    pub failures: u32,
    /// When it may be asked again.
    pub next_at: i64,
}

/// All homeservers.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn homes(pool: &PgPool) -> Result<Vec<HomeRow>, PluginError> {
    let rows = sqlx::query!("SELECT home, failures, next_at FROM router_home")
        .fetch_all(pool)
        .await?;
    let row = |row: &_| -> Option<HomeRow> {
        let row: &(Vec<u8>, i32, i64) = row;
        Some(HomeRow {
            home: key(&row.0)?,
            failures: count(row.1),
            next_at: row.2,
        })
    };
    Ok(rows
        .into_iter()
        .filter_map(|found| row(&(found.home, found.failures, found.next_at)))
        .collect())
}

/// Where in the events of these users we are: the homeserver's number of the last one that was seen.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn cursors(
    pool: &PgPool,
    users: &[UserKey],
) -> Result<HashMap<UserKey, i64>, PluginError> {
    let owners: Vec<Vec<u8>> = users.iter().map(|user| user.as_bytes().to_vec()).collect();
    let rows = sqlx::query!(
        r#"SELECT owner, cursor AS "cursor!" FROM router_user WHERE owner = ANY($1) AND cursor IS NOT NULL"#,
        &owners
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((key(&row.owner)?, row.cursor)))
        .collect())
}

/// Keeps where in the events of these users we are.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn set_cursor(pool: &PgPool, users: &[UserKey], cursor: i64) -> Result<(), PluginError> {
    let owners: Vec<Vec<u8>> = users.iter().map(|user| user.as_bytes().to_vec()).collect();
    sqlx::query!(
        "UPDATE router_user SET cursor = $2 WHERE owner = ANY($1)",
        &owners,
        cursor
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Keeps how `home` behaves.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn put_home(
    pool: &PgPool,
    home: &UserKey,
    failures: u32,
    next_at: i64,
) -> Result<(), PluginError> {
    sqlx::query!(
        "INSERT INTO router_home (home, failures, next_at) VALUES ($1, $2, $3)
         ON CONFLICT (home) DO UPDATE SET failures = EXCLUDED.failures, next_at = EXCLUDED.next_at",
        home.as_bytes(),
        small(failures),
        next_at.max(0)
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The users after `after`, with how many advertisements are held of each and whether keys other than the root signed those.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn users(
    pool: &PgPool,
    after: Option<UserKey>,
) -> Result<Vec<(UserKey, User)>, PluginError> {
    let after = after.map_or_else(Vec::new, |key| key.as_bytes().to_vec());
    let rows = sqlx::query!(
        r#"SELECT u.owner, u.home, u.home_at, u.next_at, u.failures, u.visited_at, u.profile_serial,
                  (SELECT count(*) FROM router_advert a WHERE a.owner = u.owner AND NOT a.withdrawn) AS "adverts!",
                  (EXISTS (SELECT 1 FROM router_advert a WHERE a.owner = u.owner AND a.signer <> a.owner)
                   OR EXISTS (SELECT 1 FROM router_rates r WHERE r.owner = u.owner AND r.signer <> r.owner)) AS "delegates!"
           FROM router_user u WHERE u.owner > $1 ORDER BY u.owner LIMIT $2"#,
        after,
        BITE
    )
    .fetch_all(pool)
    .await?;
    let mut users = Vec::with_capacity(rows.len());
    for row in rows {
        if let (Some(owner), Some(home)) = (key(&row.owner), key(&row.home)) {
            let mut user = User::at(home, row.home_at);
            user.next_at = row.next_at;
            user.failures = count(row.failures);
            user.read_at = row.visited_at.unwrap_or(0);
            user.profile = row.profile_serial.is_some();
            user.adverts = usize::try_from(row.adverts).unwrap_or(0);
            user.delegates = row.delegates;
            users.push((owner, user));
        }
    }
    Ok(users)
}

/// Keeps what the crawler knows of a user.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn put_user(pool: &PgPool, owner: &UserKey, user: &User) -> Result<(), PluginError> {
    let visited = (user.read_at > 0).then_some(user.read_at);
    sqlx::query!(
        "INSERT INTO router_user (owner, home, home_at, next_at, failures, visited_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (owner) DO UPDATE SET home = EXCLUDED.home, home_at = EXCLUDED.home_at, next_at = EXCLUDED.next_at,
             failures = EXCLUDED.failures, visited_at = EXCLUDED.visited_at,
             cursor = CASE WHEN router_user.home = EXCLUDED.home THEN router_user.cursor END",
        owner.as_bytes(),
        user.home.as_bytes(),
        user.home_at.max(0),
        user.next_at.max(0),
        small(user.failures),
        visited
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Forgets users with all that is held of them.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn forget(pool: &PgPool, users: &[UserKey]) -> Result<(), PluginError> {
    let owners: Vec<Vec<u8>> = users.iter().map(|user| user.as_bytes().to_vec()).collect();
    sqlx::query!("DELETE FROM router_user WHERE owner = ANY($1)", &owners)
        .execute(pool)
        .await?;
    Ok(())
}

/// Forgets homeservers where nobody lives any more.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn forget_homes(pool: &PgPool) -> Result<(), PluginError> {
    sqlx::query!(
        "DELETE FROM router_home h WHERE NOT EXISTS (SELECT 1 FROM router_user u WHERE u.home = h.home)"
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The serial and the validator of a user's profile, if one is held.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn profile(
    pool: &PgPool,
    owner: &UserKey,
) -> Result<Option<(u64, Option<String>)>, PluginError> {
    let row = sqlx::query!(
        "SELECT profile_serial, profile_etag FROM router_user WHERE owner = $1",
        owner.as_bytes()
    )
    .fetch_optional(pool)
    .await?;
    let serial = |serial: i64| u64::try_from(serial).unwrap_or(0);
    Ok(row.and_then(|row| Some((serial(row.profile_serial?), row.profile_etag))))
}

/// Keeps a user's profile.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn put_profile(
    pool: &PgPool,
    owner: &UserKey,
    jws: &str,
    serial: u64,
    etag: Option<&str>,
) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE router_user SET profile = $2, profile_serial = $3, profile_etag = $4 WHERE owner = $1",
        owner.as_bytes(),
        jws,
        big(serial),
        etag
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The profiles of these users, as far as they are held.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn profiles(
    pool: &PgPool,
    users: &[UserKey],
) -> Result<Vec<(UserKey, String)>, PluginError> {
    let owners: Vec<Vec<u8>> = users.iter().map(|user| user.as_bytes().to_vec()).collect();
    let rows = sqlx::query!(
        r#"SELECT owner, profile AS "profile!" FROM router_user WHERE owner = ANY($1) AND profile IS NOT NULL"#,
        &owners
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((key(&row.owner)?, row.profile)))
        .collect())
}

/// Accounts here after `after`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn accounts(pool: &PgPool, after: Option<UserKey>) -> Result<Vec<UserKey>, PluginError> {
    let after = after.map_or_else(Vec::new, |key| key.as_bytes().to_vec());
    let rows = sqlx::query_scalar!(
        "SELECT owner FROM accounts WHERE closed_at IS NULL AND owner > $1 ORDER BY owner LIMIT $2",
        after,
        BITE
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.iter().filter_map(|owner| key(owner)).collect())
}
