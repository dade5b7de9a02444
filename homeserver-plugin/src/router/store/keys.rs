//! What is known of the authority of the keys that sign for users.

use atomicity_ledger::{SignerKey, UserKey};
use sqlx::PgPool;

use crate::error::PluginError;
use crate::router::authority::KeyFile;

/// What is known of `signer`, if it was ever looked for.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn get(
    pool: &PgPool,
    owner: &UserKey,
    signer: &SignerKey,
) -> Result<Option<KeyFile>, PluginError> {
    Ok(sqlx::query_as!(
        KeyFile,
        "SELECT authority, revocation, etag, checked_at FROM router_key WHERE owner = $1 AND signer = $2",
        owner.as_bytes(),
        signer.as_bytes()
    )
    .fetch_optional(pool)
    .await?)
}

/// How many keys are kept of a user.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn count(pool: &PgPool, owner: &UserKey) -> Result<i64, PluginError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM router_key WHERE owner = $1"#,
        owner.as_bytes()
    )
    .fetch_one(pool)
    .await?)
}

/// Keeps what is known of `signer`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn put(
    pool: &PgPool,
    owner: &UserKey,
    signer: &SignerKey,
    file: &KeyFile,
) -> Result<(), PluginError> {
    sqlx::query!(
        "INSERT INTO router_key (owner, signer, authority, revocation, etag, checked_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (owner, signer) DO UPDATE SET authority = EXCLUDED.authority, revocation = EXCLUDED.revocation,
             etag = EXCLUDED.etag, checked_at = EXCLUDED.checked_at",
        owner.as_bytes(),
        signer.as_bytes(),
        file.authority,
        file.revocation,
        file.etag,
        file.checked_at
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Forgets keys under which nothing is held and that were not looked for since `before`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn forget_unused(pool: &PgPool, before: i64) -> Result<(), PluginError> {
    sqlx::query!(
        "DELETE FROM router_key k WHERE checked_at < $1 AND revocation IS NULL
         AND NOT EXISTS (SELECT 1 FROM router_advert a WHERE a.owner = k.owner AND a.signer = k.signer)
         AND NOT EXISTS (SELECT 1 FROM router_rates r WHERE r.owner = k.owner AND r.signer = k.signer)",
        before
    )
    .execute(pool)
    .await?;
    Ok(())
}
