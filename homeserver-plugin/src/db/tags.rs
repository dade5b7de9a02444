//! The tags by which a user's known counterparties address them.

use atomicity_ledger::UserKey;
use sqlx::PgPool;

use crate::error::PluginError;

/// Replaces the set of tags. `false` without an open account.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn replace(
    pool: &PgPool,
    user: &UserKey,
    tags: &[[u8; 32]],
) -> Result<bool, PluginError> {
    let owner = user.as_bytes();
    let list: Vec<Vec<u8>> = tags.iter().map(|tag| tag.to_vec()).collect();
    let mut tx = pool.begin().await?;
    // Two replacements at once must not end in a mixture.
    let open = sqlx::query_scalar!(
        r#"SELECT closed_at IS NULL AS "open!" FROM accounts WHERE owner = $1 FOR UPDATE"#,
        owner
    )
    .fetch_optional(&mut *tx)
    .await?;
    if open != Some(true) {
        return Ok(false);
    }
    sqlx::query!(
        "DELETE FROM tags t WHERE owner = $1 AND tag <> ALL($2)
         AND NOT EXISTS (SELECT 1 FROM agent_tags a WHERE a.owner = t.owner AND a.tag = t.tag)",
        owner,
        &list
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "INSERT INTO tags (owner, tag) SELECT $1, unnest($2::bytea[]) ON CONFLICT DO NOTHING",
        owner,
        &list
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(true)
}
