//! What waits: envelopes, records that can't be judged yet, promises that hang on logs, promises that were passed on.

use atomicity_ledger::hop::Relay;
use atomicity_ledger::{RecordHash, UserKey};
use sqlx::{PgPool, Postgres, Transaction};

use crate::error::PluginError;

/// A record that can't be judged yet.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its hash.
    pub hash: [u8; 32],
    /// Why.
    pub reason: String,
    /// Its compact form.
    pub record: String,
}

/// A promise that hangs on a log.
#[derive(Clone, Debug)]
pub struct PromiseRow {
    /// Between the user and whom.
    pub peer: UserKey,
    /// The promise.
    pub iou: RecordHash,
    /// The log.
    pub origin: String,
    /// What it waits for.
    pub hash: [u8; 32],
    /// Until when, Unix milliseconds.
    pub deadline_ms: u64,
}

/// A promise that the logs may have decided.
pub type Candidate = (UserKey, UserKey, RecordHash);

/// Envelopes of a user by their numbers, those that wait.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn bodies(
    pool: &PgPool,
    owner: &UserKey,
    ids: &[i64],
) -> Result<Vec<(i64, String)>, PluginError> {
    let rows = sqlx::query!(
        r#"SELECT id, body AS "body!" FROM envelopes
           WHERE owner = $1 AND id = ANY($2) AND acked_at IS NULL ORDER BY id"#,
        owner.as_bytes(),
        ids
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.body)).collect())
}

/// Envelopes that wait for a user's agent, above `after`: number and tag.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn envelopes_waiting(
    pool: &PgPool,
    owner: &UserKey,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, UserKey)>, PluginError> {
    let rows = sqlx::query!(
        "SELECT e.id, t.peer FROM envelopes e JOIN agent_tags t ON t.owner = e.owner AND t.tag = e.source
         WHERE e.owner = $1 AND e.id > $2 AND e.known AND e.acked_at IS NULL ORDER BY e.id LIMIT $3",
        owner.as_bytes(),
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.id, super::key(&row.peer)?)))
        .collect()
}

/// The tags of a user's agent.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn tags_in_use(pool: &PgPool, owner: &UserKey) -> Result<Vec<[u8; 32]>, PluginError> {
    let rows = sqlx::query_scalar!(
        "SELECT tag FROM agent_tags WHERE owner = $1",
        owner.as_bytes()
    )
    .fetch_all(pool)
    .await?;
    rows.iter().map(|tag| super::bytes32(tag)).collect()
}

/// Notes envelopes that are applied by this transaction. Returns those that were not before.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn mark_seen(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    ids: &[i64],
) -> Result<Vec<i64>, PluginError> {
    Ok(sqlx::query_scalar!(
        "INSERT INTO agent_seen (owner, id) SELECT $1, unnest($2::bigint[]) ON CONFLICT DO NOTHING RETURNING id",
        owner.as_bytes(),
        ids
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// Forgets envelopes that were acknowledged.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn seen_done(pool: &PgPool, owner: &UserKey, ids: &[i64]) -> Result<(), PluginError> {
    sqlx::query!(
        "DELETE FROM agent_seen WHERE owner = $1 AND id = ANY($2)",
        owner.as_bytes(),
        ids
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Records of a peer that can't be judged yet, oldest first.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn held(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    peer: &UserKey,
) -> Result<Vec<Held>, PluginError> {
    let rows = sqlx::query!(
        "SELECT hash, reason, record FROM agent_held WHERE owner = $1 AND peer = $2 ORDER BY at, hash LIMIT 512",
        owner.as_bytes(),
        peer.as_bytes()
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Held {
                hash: super::bytes32(&row.hash)?,
                reason: row.reason,
                record: row.record,
            })
        })
        .collect()
}

/// Keeps a record that can't be judged yet.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn hold(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    peer: &UserKey,
    held: &Held,
    at: i64,
) -> Result<(), PluginError> {
    sqlx::query!(
        "INSERT INTO agent_held (owner, peer, hash, at, reason, record) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (owner, peer, hash) DO UPDATE SET reason = excluded.reason",
        owner.as_bytes(),
        peer.as_bytes(),
        &held.hash[..],
        at,
        held.reason,
        held.record
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Drops records that were judged.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn release_held(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    peer: &UserKey,
    hashes: &[[u8; 32]],
) -> Result<(), PluginError> {
    let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
    sqlx::query!(
        "DELETE FROM agent_held WHERE owner = $1 AND peer = $2 AND hash = ANY($3)",
        owner.as_bytes(),
        peer.as_bytes(),
        &hashes
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes how many records of a peer can't be judged yet.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn set_held(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    peer: &UserKey,
    count: i32,
) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE agent_pairs SET held = $3 WHERE owner = $1 AND peer = $2",
        owner.as_bytes(),
        peer.as_bytes(),
        count
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The pairs with records that wait until a log was read further.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn unread_logs(pool: &PgPool) -> Result<Vec<(UserKey, UserKey)>, PluginError> {
    let rows = sqlx::query!(
        "SELECT DISTINCT owner, peer FROM agent_held WHERE reason = 'log_unread' LIMIT 10000"
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| Ok((super::key(&row.owner)?, super::key(&row.peer)?)))
        .collect()
}

/// Notes promises that hang on logs now, and those that do no longer.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn change_promises(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    new: &[PromiseRow],
    gone: &[RecordHash],
) -> Result<(), PluginError> {
    if !gone.is_empty() {
        let gone: Vec<Vec<u8>> = gone.iter().map(|iou| iou.as_bytes().to_vec()).collect();
        sqlx::query!(
            "DELETE FROM agent_promises WHERE owner = $1 AND iou = ANY($2)",
            owner.as_bytes(),
            &gone
        )
        .execute(&mut **tx)
        .await?;
    }
    if new.is_empty() {
        return Ok(());
    }
    let peers: Vec<Vec<u8>> = new.iter().map(|row| row.peer.as_bytes().to_vec()).collect();
    let ious: Vec<Vec<u8>> = new.iter().map(|row| row.iou.as_bytes().to_vec()).collect();
    let origins: Vec<String> = new.iter().map(|row| row.origin.clone()).collect();
    let hashes: Vec<Vec<u8>> = new.iter().map(|row| row.hash.to_vec()).collect();
    let deadlines: Vec<i64> = new
        .iter()
        .map(|row| i64::try_from(row.deadline_ms).unwrap_or(i64::MAX))
        .collect();
    sqlx::query!(
        "INSERT INTO agent_promises (owner, peer, iou, origin, hash, deadline_ms)
         SELECT $1, * FROM unnest($2::bytea[], $3::bytea[], $4::text[], $5::bytea[], $6::bigint[]) ON CONFLICT DO NOTHING",
        owner.as_bytes(),
        &peers,
        &ious,
        &origins,
        &hashes,
        &deadlines
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn candidate(owner: &[u8], peer: &[u8], iou: &[u8]) -> Result<Candidate, PluginError> {
    let iou = super::hash(iou)?;
    Ok((super::key(owner)?, super::key(peer)?, iou))
}

/// The promises that hang on a log and wait for one of these hashes.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn published(
    pool: &PgPool,
    origin: &str,
    hashes: &[[u8; 32]],
) -> Result<Vec<Candidate>, PluginError> {
    let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
    let rows = sqlx::query!(
        "SELECT owner, peer, iou FROM agent_promises WHERE origin = $1 AND hash = ANY($2) LIMIT 10000",
        origin,
        &hashes
    )
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| candidate(&row.owner, &row.peer, &row.iou))
        .collect()
}

/// The promises that hang on a log and whose deadline has passed by its clock.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn due(
    pool: &PgPool,
    origin: &str,
    (after, before): (i64, i64),
) -> Result<Vec<Candidate>, PluginError> {
    let rows = sqlx::query!(
        "SELECT owner, peer, iou FROM agent_promises WHERE origin = $1 AND deadline_ms >= $2 AND deadline_ms < $3
         ORDER BY deadline_ms LIMIT 1000",
        origin,
        after,
        before
    )
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| candidate(&row.owner, &row.peer, &row.iou))
        .collect()
}

/// The promises that hang on a log.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn open_on(pool: &PgPool, origin: &str) -> Result<Vec<Candidate>, PluginError> {
    let rows = sqlx::query!(
        "SELECT owner, peer, iou FROM agent_promises WHERE origin = $1 LIMIT 100000",
        origin
    )
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| candidate(&row.owner, &row.peer, &row.iou))
        .collect()
}

/// Keeps promises that were passed on; forgets those of which nothing more can follow.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn put_relays(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    relays: &[Relay],
) -> Result<(), PluginError> {
    let bytes = |iou: &RecordHash| iou.as_bytes().to_vec();
    let (over, open): (Vec<&Relay>, Vec<&Relay>) = relays.iter().partition(|r| r.is_over());
    if !over.is_empty() {
        let over: Vec<Vec<u8>> = over.iter().map(|r| bytes(&r.incoming.iou)).collect();
        sqlx::query!(
            "DELETE FROM agent_relays WHERE owner = $1 AND incoming = ANY($2)",
            owner.as_bytes(),
            &over
        )
        .execute(&mut **tx)
        .await?;
    }
    if open.is_empty() {
        return Ok(());
    }
    let incoming: Vec<Vec<u8>> = open.iter().map(|r| bytes(&r.incoming.iou)).collect();
    let outgoing: Vec<Vec<u8>> = open.iter().map(|r| bytes(&r.outgoing.iou)).collect();
    let key = |peer: &UserKey| peer.as_bytes().to_vec();
    let from: Vec<Vec<u8>> = open.iter().map(|r| key(&r.incoming.peer)).collect();
    let to: Vec<Vec<u8>> = open.iter().map(|r| key(&r.outgoing.peer)).collect();
    let bodies = open.iter().map(|relay| super::text(*relay));
    let bodies: Vec<String> = bodies.collect::<Result<_, _>>()?;
    sqlx::query!(
        "INSERT INTO agent_relays (owner, incoming, outgoing, in_peer, out_peer, body)
         SELECT $1, * FROM unnest($2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[])
         ON CONFLICT (owner, incoming) DO UPDATE SET body = excluded.body",
        owner.as_bytes(),
        &incoming,
        &outgoing,
        &from,
        &to,
        &bodies
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The promises that were passed on and that one of these hashes names, on either side.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn relays_about(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    ious: &[RecordHash],
) -> Result<Vec<Relay>, PluginError> {
    let ious: Vec<Vec<u8>> = ious.iter().map(|iou| iou.as_bytes().to_vec()).collect();
    let rows = sqlx::query_scalar!(
        "SELECT body FROM agent_relays WHERE owner = $1 AND incoming = ANY($2)
         UNION SELECT body FROM agent_relays WHERE owner = $1 AND outgoing = ANY($2)",
        owner.as_bytes(),
        &ious
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.iter()
        .flatten()
        .map(|body| super::parse("a relay", body))
        .collect()
}
