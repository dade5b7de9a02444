//! What users say of services and of each other.

use std::collections::HashMap;

use atomicity_ledger::UserKey;
use sqlx::PgPool;

use super::{big, key};
use crate::error::PluginError;

/// A rating to be kept.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// Who judges.
    pub owner: &'a UserKey,
    /// Who is judged.
    pub subject: &'a UserKey,
    /// As what.
    pub kind: &'a str,
    /// The judgement.
    pub verdict: &'a str,
    /// The greater, the newer.
    pub serial: u64,
    /// The signed text.
    pub jws: &'a str,
    /// The homeserver's validator.
    pub etag: Option<&'a str>,
}

/// The subjects that `owner` judged, with the homeserver's validators.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn of_user(
    pool: &PgPool,
    owner: &UserKey,
) -> Result<HashMap<UserKey, Option<String>>, PluginError> {
    let rows = sqlx::query!(
        "SELECT subject, etag FROM router_rating WHERE owner = $1",
        owner.as_bytes()
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((key(&row.subject)?, row.etag)))
        .collect())
}

/// Keeps a rating, unless a newer one is held.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn put(pool: &PgPool, new: &New<'_>) -> Result<(), PluginError> {
    sqlx::query!(
        "INSERT INTO router_rating (owner, subject, kind, verdict, serial, jws, etag) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (owner, subject) DO UPDATE SET kind = EXCLUDED.kind, verdict = EXCLUDED.verdict, serial = EXCLUDED.serial,
             jws = EXCLUDED.jws, etag = EXCLUDED.etag
         WHERE router_rating.serial < EXCLUDED.serial",
        new.owner.as_bytes(),
        new.subject.as_bytes(),
        new.kind,
        new.verdict,
        big(new.serial),
        new.jws,
        new.etag
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Forgets what `owner` says of `subject`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn remove(pool: &PgPool, owner: &UserKey, subject: &UserKey) -> Result<(), PluginError> {
    sqlx::query!(
        "DELETE FROM router_rating WHERE owner = $1 AND subject = $2",
        owner.as_bytes(),
        subject.as_bytes()
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// How many say what of `subject`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn counts(
    pool: &PgPool,
    subject: &UserKey,
) -> Result<Vec<(String, String, i64)>, PluginError> {
    let rows = sqlx::query!(
        r#"SELECT kind, verdict, count(*) AS "count!" FROM router_rating WHERE subject = $1
           GROUP BY kind, verdict ORDER BY kind, verdict"#,
        subject.as_bytes()
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.kind, row.verdict, row.count))
        .collect())
}

/// A page of ratings of `subject`: who judges, as what, how, and the signed text.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn page(
    pool: &PgPool,
    subject: &UserKey,
    after: Option<UserKey>,
    limit: i64,
) -> Result<Vec<(UserKey, String, String, String)>, PluginError> {
    let after = after.map_or_else(Vec::new, |key| key.as_bytes().to_vec());
    let rows = sqlx::query!(
        "SELECT owner, kind, verdict, jws FROM router_rating WHERE subject = $1 AND owner > $2 ORDER BY owner LIMIT $3",
        subject.as_bytes(),
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((key(&row.owner)?, row.kind, row.verdict, row.jws)))
        .collect())
}
