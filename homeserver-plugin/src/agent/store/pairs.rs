//! The books towards each peer.

use std::collections::BTreeSet;

use atomicity_ledger::UserKey;
use sqlx::{PgPool, Postgres, Transaction};

use crate::error::PluginError;

/// Books as they are stored.
#[derive(Clone, Debug)]
pub struct PairRow {
    /// Towards whom.
    pub peer: UserKey,
    /// `kept`, `returned` or `restored`.
    pub status: String,
    /// The epoch in which they were handed over.
    pub epoch: i64,
    /// The books.
    pub body: String,
    /// Grows with every change.
    pub version: i64,
    /// What the user allows.
    pub settings: String,
    /// The peer's profile.
    pub profile: Option<String>,
    /// When it was last confirmed.
    pub profile_at: i64,
    /// Records that can't be judged yet.
    pub held: i32,
    /// How many payments of the peer failed lately.
    pub tally: String,
    /// Where the channel file lies.
    pub file_path: Option<String>,
    /// To which key the books were returned.
    pub returned_to: Option<Vec<u8>>,
}

/// Books in a list.
#[derive(Clone, Debug)]
pub struct PairSummary {
    /// Towards whom.
    pub peer: UserKey,
    /// `kept`, `returned` or `restored`.
    pub status: String,
    /// The epoch in which they were handed over.
    pub epoch: i64,
    /// Grows with every change.
    pub version: i64,
    /// Records that can't be judged yet.
    pub held: i32,
    /// Records that wait to be sent, in batches.
    pub to_send: i64,
    /// What the user allows.
    pub settings: String,
}

/// Books that were locked, without the books themselves.
#[derive(Clone, Debug)]
pub struct LockedPair {
    /// Towards whom.
    pub peer: UserKey,
    /// Grows with every change.
    pub version: i64,
    /// What the user allows.
    pub settings: String,
    /// The peer's profile.
    pub profile: Option<String>,
    /// Records that can't be judged yet.
    pub held: i32,
    /// How many payments of the peer failed lately.
    pub tally: String,
}

/// Changed books.
#[derive(Clone, Debug)]
pub struct SavedPair {
    /// Towards whom.
    pub peer: UserKey,
    /// The books.
    pub body: String,
    /// How many payments of the peer failed lately.
    pub tally: String,
    /// The version that was changed.
    pub from: i64,
}

fn keys<'a>(peers: impl IntoIterator<Item = &'a UserKey>) -> Vec<Vec<u8>> {
    let peers = peers.into_iter();
    peers.map(|peer| peer.as_bytes().to_vec()).collect()
}

/// Locks the books that are kept towards `peers`, in the order of their keys.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn lock_pairs(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    peers: &BTreeSet<UserKey>,
) -> Result<Vec<LockedPair>, PluginError> {
    let rows = sqlx::query!(
        "SELECT peer, version, settings, profile, held, tally FROM agent_pairs
         WHERE owner = $1 AND peer = ANY($2) AND status = 'kept' AND NOT restored ORDER BY peer FOR NO KEY UPDATE",
        owner.as_bytes(),
        &keys(peers)
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(LockedPair {
                peer: super::key(&row.peer)?,
                version: row.version,
                settings: row.settings,
                profile: row.profile,
                held: row.held,
                tally: row.tally,
            })
        })
        .collect()
}

/// The books themselves.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn bodies_of_pairs(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    peers: &BTreeSet<UserKey>,
) -> Result<Vec<(UserKey, String)>, PluginError> {
    let rows = sqlx::query!(
        "SELECT peer, body FROM agent_pairs WHERE owner = $1 AND peer = ANY($2)",
        owner.as_bytes(),
        &keys(peers)
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| Ok((super::key(&row.peer)?, row.body)))
        .collect()
}

/// The profile of a peer, if there are books with them.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn profile(
    pool: &PgPool,
    owner: &UserKey,
    peer: &UserKey,
) -> Result<Option<Option<String>>, PluginError> {
    Ok(sqlx::query_scalar!(
        "SELECT profile FROM agent_pairs WHERE owner = $1 AND peer = $2",
        owner.as_bytes(),
        peer.as_bytes()
    )
    .fetch_optional(pool)
    .await?)
}

/// The books towards `peer`, kept or returned.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn pair(
    pool: &PgPool,
    owner: &UserKey,
    peer: &UserKey,
) -> Result<Option<PairRow>, PluginError> {
    let row = sqlx::query!(
        r#"SELECT CASE WHEN restored AND status = 'kept' THEN 'restored' ELSE status END AS "status!",
                  epoch, body, version, settings, profile, profile_at, held, tally, file_path, returned_to
           FROM agent_pairs WHERE owner = $1 AND peer = $2"#,
        owner.as_bytes(),
        peer.as_bytes()
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| PairRow {
        peer: *peer,
        status: row.status,
        epoch: row.epoch,
        body: row.body,
        version: row.version,
        settings: row.settings,
        profile: row.profile,
        profile_at: row.profile_at,
        held: row.held,
        tally: row.tally,
        file_path: row.file_path,
        returned_to: row.returned_to,
    }))
}

/// The books of a user, after `after`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn list_pairs(
    pool: &PgPool,
    owner: &UserKey,
    after: &[u8],
    limit: i64,
) -> Result<Vec<PairSummary>, PluginError> {
    let rows = sqlx::query!(
        r#"SELECT peer, CASE WHEN restored AND status = 'kept' THEN 'restored' ELSE status END AS "status!",
                  epoch, version, held, settings,
                  (SELECT count(*) FROM agent_outbox o WHERE o.owner = p.owner AND o.peer = p.peer) AS "to_send!"
           FROM agent_pairs p WHERE owner = $1 AND peer > $2 ORDER BY peer LIMIT $3"#,
        owner.as_bytes(),
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(PairSummary {
                peer: super::key(&row.peer)?,
                status: row.status,
                epoch: row.epoch,
                version: row.version,
                held: row.held,
                to_send: row.to_send,
                settings: row.settings,
            })
        })
        .collect()
}

/// Stores books that were handed over, in place of older ones. `false` if the user has as many as are allowed.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn hand_over(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    row: &PairRow,
    most: i64,
) -> Result<bool, PluginError> {
    let done = sqlx::query!(
        "INSERT INTO agent_pairs (owner, peer, status, epoch, body, version, settings, profile, profile_at, tally)
         SELECT $1, $2, 'kept', $3, $4, $5, $6, $7, $8, $9
         WHERE (SELECT count(*) FROM agent_pairs WHERE owner = $1 AND peer <> $2) < $10
         ON CONFLICT (owner, peer) DO UPDATE SET status = 'kept', restored = false, epoch = excluded.epoch, body = excluded.body,
             version = agent_pairs.version + 1, settings = excluded.settings,
             profile = COALESCE(excluded.profile, agent_pairs.profile),
             profile_at = GREATEST(excluded.profile_at, agent_pairs.profile_at), returned_to = NULL",
        owner.as_bytes(),
        row.peer.as_bytes(),
        row.epoch,
        row.body,
        row.version,
        row.settings,
        row.profile,
        row.profile_at,
        row.tally,
        most
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Stores changed books, each from one version to the next.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn save_pairs(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    pairs: &[SavedPair],
) -> Result<(), PluginError> {
    if pairs.is_empty() {
        return Ok(());
    }
    let bodies: Vec<&str> = pairs.iter().map(|pair| pair.body.as_str()).collect();
    let tallies: Vec<&str> = pairs.iter().map(|pair| pair.tally.as_str()).collect();
    let versions: Vec<i64> = pairs.iter().map(|pair| pair.from).collect();
    let done = sqlx::query!(
        "UPDATE agent_pairs p SET body = s.body, tally = s.tally, version = s.version + 1
         FROM unnest($2::bytea[], $3::text[], $4::text[], $5::bigint[]) AS s (peer, body, tally, version)
         WHERE p.owner = $1 AND p.peer = s.peer AND p.version = s.version",
        owner.as_bytes(),
        &keys(pairs.iter().map(|pair| &pair.peer)),
        &bodies as &[&str],
        &tallies as &[&str],
        &versions
    )
    .execute(&mut **tx)
    .await?;
    if usize::try_from(done.rows_affected()).is_ok_and(|rows| rows == pairs.len()) {
        Ok(())
    } else {
        // The rows are locked: this can't be.
        Err(PluginError::Internal(
            "books changed under a lock".to_owned(),
        ))
    }
}

/// Stores how many payments of each peer failed lately.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn save_tallies(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    tallies: &[(UserKey, String)],
) -> Result<(), PluginError> {
    if tallies.is_empty() {
        return Ok(());
    }
    let texts: Vec<&str> = tallies.iter().map(|(_, text)| text.as_str()).collect();
    sqlx::query!(
        "UPDATE agent_pairs p SET tally = s.tally FROM unnest($2::bytea[], $3::text[]) AS s (peer, tally)
         WHERE p.owner = $1 AND p.peer = s.peer",
        owner.as_bytes(),
        &keys(tallies.iter().map(|(peer, _)| peer)),
        &texts as &[&str]
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Changes what the user allows towards a peer.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn set_settings(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    peer: &UserKey,
    settings: &str,
) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE agent_pairs SET settings = $3 WHERE owner = $1 AND peer = $2",
        owner.as_bytes(),
        peer.as_bytes(),
        settings
    )
    .execute(&mut **tx)
    .await?;
    super::look_at_advert(tx, owner, peer).await
}

/// Notes that the books were returned: the agent does not keep them any more.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn set_returned(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    peer: &UserKey,
    to: &[u8; 32],
) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE agent_pairs SET status = 'returned', returned_to = $3 WHERE owner = $1 AND peer = $2",
        owner.as_bytes(),
        peer.as_bytes(),
        to
    )
    .execute(&mut **tx)
    .await?;
    for statement in [
        "DELETE FROM agent_tags WHERE owner = $1 AND peer = $2",
        "DELETE FROM agent_promises WHERE owner = $1 AND peer = $2",
    ] {
        sqlx::query(statement)
            .bind(owner.as_bytes())
            .bind(peer.as_bytes())
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// Keeps a peer's profile, and the tags under which they write from now on.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn put_profile(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    peer: &UserKey,
    profile: Option<(&str, i64)>,
    tags: &[[u8; 32]],
) -> Result<(), PluginError> {
    if let Some((profile, at)) = profile {
        sqlx::query!(
            "UPDATE agent_pairs SET profile = $3, profile_at = $4 WHERE owner = $1 AND peer = $2",
            owner.as_bytes(),
            peer.as_bytes(),
            profile,
            at
        )
        .execute(&mut **tx)
        .await?;
    }
    let tags: Vec<Vec<u8>> = tags.iter().map(|tag| tag.to_vec()).collect();
    sqlx::query!(
        "WITH gone AS (DELETE FROM agent_tags WHERE owner = $1 AND peer = $2 AND tag <> ALL($3)),
              known AS (INSERT INTO tags (owner, tag) SELECT $1, unnest($3::bytea[]) ON CONFLICT DO NOTHING)
         INSERT INTO agent_tags (owner, peer, tag) SELECT $1, $2, unnest($3::bytea[]) ON CONFLICT DO NOTHING",
        owner.as_bytes(),
        peer.as_bytes(),
        &tags
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The peers of a user with their profiles, after `after`: what tags are made of.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn tags_of(
    pool: &PgPool,
    owner: &UserKey,
    after: &[u8],
    limit: i64,
) -> Result<Vec<(UserKey, Option<String>)>, PluginError> {
    let rows = sqlx::query!(
        "SELECT peer, profile FROM agent_pairs WHERE owner = $1 AND status = 'kept' AND peer > $2 ORDER BY peer LIMIT $3",
        owner.as_bytes(),
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| Ok((super::key(&row.peer)?, row.profile)))
        .collect()
}

/// Books of a user whose channel files are older than they are.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn unwritten(
    pool: &PgPool,
    owner: &UserKey,
    limit: i64,
) -> Result<Vec<UserKey>, PluginError> {
    let rows = sqlx::query_scalar!(
        "SELECT peer FROM agent_pairs WHERE owner = $1 AND file_version < version AND status = 'kept' AND NOT restored ORDER BY peer LIMIT $2",
        owner.as_bytes(),
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.iter().map(|peer| super::key(peer)).collect()
}

/// Notes that a channel file tells `version`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn written(
    pool: &PgPool,
    owner: &UserKey,
    peer: &UserKey,
    version: i64,
    path: &str,
) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE agent_pairs SET file_version = GREATEST(file_version, $3), file_path = $4 WHERE owner = $1 AND peer = $2",
        owner.as_bytes(),
        peer.as_bytes(),
        version,
        path
    )
    .execute(pool)
    .await?;
    Ok(())
}
