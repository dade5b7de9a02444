//! What a user looks at: books, what happened, what was signed; the newest first.

use atomicity_ledger::UserKey;
use sqlx::PgPool;

use super::{EventView, JournalView};
use crate::error::PluginError;

/// Books that are kept, with what is shown beside them.
#[derive(Clone, Debug)]
pub struct KeptPair {
    /// Towards whom.
    pub peer: UserKey,
    /// The books.
    pub body: String,
    /// What the user allows.
    pub settings: String,
    /// The peer's profile.
    pub profile: Option<String>,
    /// Records of the peer that can't be judged yet.
    pub held: i32,
}

/// The books of a user that are kept here, by the peers' keys: for as long as the user's agent is at work, which the caller knows. After that
/// they are what the agent left behind.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn kept_pairs(
    pool: &PgPool,
    owner: &UserKey,
    limit: i64,
) -> Result<Vec<KeptPair>, PluginError> {
    let rows = sqlx::query!(
        "SELECT peer, body, settings, profile, held FROM agent_pairs
         WHERE owner = $1 AND status = 'kept' AND NOT restored ORDER BY peer LIMIT $2",
        owner.as_bytes(),
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(KeptPair {
                peer: super::key(&row.peer)?,
                body: row.body,
                settings: row.settings,
                profile: row.profile,
                held: row.held,
            })
        })
        .collect()
}

/// What happened of these kinds, below `before`, the newest first; with one peer only, if one is named.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn events_before(
    pool: &PgPool,
    (owner, peer): (&UserKey, Option<&UserKey>),
    kinds: &[String],
    before: i64,
    limit: i64,
) -> Result<Vec<EventView>, PluginError> {
    let peer = peer.map(|peer| peer.as_bytes().to_vec());
    let rows = sqlx::query!(
        "SELECT id, at, peer, kind, body FROM agent_events
         WHERE owner = $1 AND id < $2 AND kind = ANY($3) AND ($4::bytea IS NULL OR peer = $4)
         ORDER BY id DESC LIMIT $5",
        owner.as_bytes(),
        before,
        kinds,
        peer as Option<Vec<u8>>,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(EventView {
                id: row.id,
                at: row.at,
                peer: row.peer.as_deref().map(super::key).transpose()?,
                kind: row.kind,
                body: row.body,
            })
        })
        .collect()
}

/// What was signed of these kinds, below `before`, the newest first; towards one peer only, if one is named.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn journal_before(
    pool: &PgPool,
    (owner, peer): (&UserKey, Option<&UserKey>),
    what: &[String],
    before: i64,
    limit: i64,
) -> Result<Vec<JournalView>, PluginError> {
    let peer = peer.map(|peer| peer.as_bytes().to_vec());
    let rows = sqlx::query!(
        "SELECT id, at, peer, what, unit, amount, record FROM agent_journal
         WHERE owner = $1 AND id < $2 AND what = ANY($3) AND ($4::bytea IS NULL OR peer = $4)
         ORDER BY id DESC LIMIT $5",
        owner.as_bytes(),
        before,
        what,
        peer as Option<Vec<u8>>,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(JournalView {
                id: row.id,
                at: row.at,
                peer: super::key(&row.peer)?,
                what: row.what,
                unit: row.unit,
                amount: row.amount,
                record: row.record,
            })
        })
        .collect()
}
