//! Lines that rules about many gave.

use atomicity_ledger::UserKey;
use sqlx::PgPool;

use crate::agent::settings::{PeerSettings, RuleLine};
use crate::error::PluginError;

/// Lines that rules about many gave over books that are kept here, of at most a thousand peers.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn lines_by_rule(
    pool: &PgPool,
    owner: &UserKey,
) -> Result<Vec<(UserKey, Vec<RuleLine>)>, PluginError> {
    let rows = sqlx::query!(
        r#"SELECT peer, settings FROM agent_pairs
           WHERE owner = $1 AND status = 'kept' AND strpos(settings, '"by_rule"') > 0 ORDER BY peer LIMIT 1000"#,
        owner.as_bytes()
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let settings: PeerSettings = super::parse("settings", &row.settings)?;
            Ok((super::key(&row.peer)?, settings.by_rule))
        })
        .collect()
}
