//! What was signed, what must be sent, what happened, what was asked for.

use std::collections::BTreeMap;

use atomicity_ledger::UserKey;
use sqlx::{PgPool, Postgres, Transaction};

use super::super::numbers::Reserved;
use crate::error::PluginError;

/// A signature.
#[derive(Clone, Debug)]
pub struct JournalRow {
    /// Towards whom.
    pub peer: UserKey,
    /// What it was.
    pub what: &'static str,
    /// In what.
    pub unit: Option<String>,
    /// How much it is about.
    pub amount: Option<i64>,
    /// The record's hash.
    pub hash: [u8; 32],
    /// Its compact form.
    pub record: String,
}

/// A signature as it is read.
#[derive(Clone, Debug)]
pub struct JournalView {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: i64,
    /// Towards whom.
    pub peer: UserKey,
    /// What it was.
    pub what: String,
    /// In what.
    pub unit: Option<String>,
    /// How much it is about.
    pub amount: Option<i64>,
    /// The record.
    pub record: String,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct EventRow {
    /// Towards whom.
    pub peer: Option<UserKey>,
    /// What.
    pub kind: &'static str,
    /// More of it, in JSON.
    pub body: String,
}

/// Something that happened, as it is read.
#[derive(Clone, Debug)]
pub struct EventView {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: i64,
    /// Towards whom.
    pub peer: Option<UserKey>,
    /// What.
    pub kind: String,
    /// More of it, in JSON.
    pub body: String,
}

fn keys<'a>(peers: impl Iterator<Item = &'a UserKey>) -> Vec<Vec<u8>> {
    peers.map(|peer| peer.as_bytes().to_vec()).collect()
}

/// The greatest number that was given.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn last_number(pool: &PgPool) -> Result<i64, PluginError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT GREATEST((SELECT max(id) FROM agent_journal), (SELECT max(id) FROM agent_events),
                           (SELECT max(id) FROM agent_outbox), 0) AS "last!""#
    )
    .fetch_one(pool)
    .await?)
}

/// Notes what must be sent, one row for each peer.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn add_outbox(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    out: &BTreeMap<UserKey, Vec<String>>,
    numbers: &mut Reserved,
) -> Result<(), PluginError> {
    if out.is_empty() {
        return Ok(());
    }
    let peers = keys(out.keys());
    let ids: Vec<i64> = out.iter().map(|_| numbers.take()).collect();
    let records: Vec<String> = out.values().map(|records| records.join("\n")).collect();
    sqlx::query!(
        "INSERT INTO agent_outbox (owner, peer, id, records)
         SELECT $1, * FROM unnest($2::bytea[], $3::bigint[], $4::text[])",
        owner.as_bytes(),
        &peers,
        &ids,
        &records
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes what was signed.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn add_journal(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    at: i64,
    rows: &[JournalRow],
    numbers: &mut Reserved,
) -> Result<(), PluginError> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = rows.iter().map(|_| numbers.take()).collect();
    let peers = keys(rows.iter().map(|row| &row.peer));
    let what: Vec<String> = rows.iter().map(|row| row.what.to_owned()).collect();
    let units: Vec<Option<String>> = rows.iter().map(|row| row.unit.clone()).collect();
    let amounts: Vec<Option<i64>> = rows.iter().map(|row| row.amount).collect();
    let hashes: Vec<Vec<u8>> = rows.iter().map(|row| row.hash.to_vec()).collect();
    let records: Vec<String> = rows.iter().map(|row| row.record.clone()).collect();
    sqlx::query!(
        "INSERT INTO agent_journal (owner, at, id, peer, what, unit, amount, hash, record)
         SELECT $1, $2, * FROM unnest($3::bigint[], $4::bytea[], $5::text[], $6::text[], $7::bigint[], $8::bytea[], $9::text[])",
        owner.as_bytes(),
        at,
        &ids,
        &peers,
        &what,
        &units as &[Option<String>],
        &amounts as &[Option<i64>],
        &hashes,
        &records
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes what happened.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn add_events(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    at: i64,
    rows: &[EventRow],
    numbers: &mut Reserved,
) -> Result<(), PluginError> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = rows.iter().map(|_| numbers.take()).collect();
    let peers: Vec<Option<Vec<u8>>> = rows
        .iter()
        .map(|row| row.peer.map(|peer| peer.as_bytes().to_vec()))
        .collect();
    let kinds: Vec<String> = rows.iter().map(|row| row.kind.to_owned()).collect();
    let bodies: Vec<String> = rows.iter().map(|row| row.body.clone()).collect();
    sqlx::query!(
        "INSERT INTO agent_events (owner, at, id, peer, kind, body)
         SELECT $1, $2, * FROM unnest($3::bigint[], $4::bytea[], $5::text[], $6::text[])",
        owner.as_bytes(),
        at,
        &ids,
        &peers as &[Option<Vec<u8>>],
        &kinds,
        &bodies
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Signatures above `after` and below `horizon`, in order.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn journal(
    pool: &PgPool,
    owner: &UserKey,
    (after, horizon): (i64, i64),
    limit: i64,
) -> Result<Vec<JournalView>, PluginError> {
    let rows = sqlx::query!(
        "SELECT id, at, peer, what, unit, amount, record FROM agent_journal
         WHERE owner = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4",
        owner.as_bytes(),
        after,
        horizon,
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

/// Events above `after` and below `horizon`, in order.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn events(
    pool: &PgPool,
    owner: &UserKey,
    (after, horizon): (i64, i64),
    limit: i64,
) -> Result<Vec<EventView>, PluginError> {
    let rows = sqlx::query!(
        "SELECT id, at, peer, kind, body FROM agent_events
         WHERE owner = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4",
        owner.as_bytes(),
        after,
        horizon,
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

/// What must be sent to a peer, above `after`, in order.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn outbox(
    pool: &PgPool,
    owner: &UserKey,
    peer: &UserKey,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, Vec<String>)>, PluginError> {
    let rows = sqlx::query!(
        "SELECT id, records FROM agent_outbox WHERE owner = $1 AND peer = $2 AND id > $3 ORDER BY id LIMIT $4",
        owner.as_bytes(),
        peer.as_bytes(),
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    let split = |records: String| records.lines().map(str::to_owned).collect();
    Ok(rows
        .into_iter()
        .map(|row| (row.id, split(row.records)))
        .collect())
}

/// To whom something must be sent.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn pairs_to_deliver(pool: &PgPool, owner: &UserKey) -> Result<Vec<UserKey>, PluginError> {
    let rows = sqlx::query_scalar!(
        "SELECT DISTINCT peer FROM agent_outbox WHERE owner = $1",
        owner.as_bytes()
    )
    .fetch_all(pool)
    .await?;
    rows.iter().map(|peer| super::key(peer)).collect()
}

/// Removes what has arrived: everything to a peer up to a number.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn remove_sent(
    pool: &PgPool,
    sent: &[(UserKey, UserKey, i64)],
) -> Result<(), PluginError> {
    let owners = keys(sent.iter().map(|(owner, ..)| owner));
    let peers = keys(sent.iter().map(|(_, peer, _)| peer));
    let ids: Vec<i64> = sent.iter().map(|(.., id)| *id).collect();
    sqlx::query!(
        "DELETE FROM agent_outbox o USING unnest($1::bytea[], $2::bytea[], $3::bigint[]) AS s (owner, peer, id)
         WHERE o.owner = s.owner AND o.peer = s.peer AND o.id <= s.id",
        &owners,
        &peers,
        &ids
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// How much was issued on a day towards `peer`. The row is not locked.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn spent(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    peer: &UserKey,
    unit: &str,
    day: i64,
) -> Result<i64, PluginError> {
    let found = sqlx::query_scalar!(
        "SELECT amount FROM agent_spent WHERE owner = $1 AND peer = $2 AND unit = $3 AND day = $4",
        owner.as_bytes(),
        peer.as_bytes(),
        unit,
        day
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.unwrap_or(0))
}

/// Counts an amount, unless the day's sum would exceed `most`. Returns whether it fits.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn spend(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    peer: &UserKey,
    (unit, day): (&str, i64),
    (amount, most): (i64, i64),
) -> Result<bool, PluginError> {
    if amount > most {
        return Ok(false);
    }
    let done = sqlx::query!(
        "INSERT INTO agent_spent (owner, peer, unit, day, amount) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (owner, peer, unit, day) DO UPDATE SET amount = agent_spent.amount + excluded.amount
         WHERE agent_spent.amount <= $6 - excluded.amount",
        owner.as_bytes(),
        peer.as_bytes(),
        unit,
        day,
        amount,
        most
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What was answered to a request of this number, and what it had asked.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn answer_of(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    id: &str,
) -> Result<Option<(Vec<u8>, String)>, PluginError> {
    let found = sqlx::query!(
        "SELECT digest, answer FROM agent_requests WHERE owner = $1 AND id = $2",
        owner.as_bytes(),
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.map(|row| (row.digest, row.answer)))
}

/// Keeps the answer to a request.
///
/// # Errors
/// [`PluginError::Database`]; above all if the same request was answered meanwhile.
pub async fn keep_answer(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    (id, at): (&str, i64),
    digest: &[u8; 32],
    answer: &str,
) -> Result<(), PluginError> {
    sqlx::query!(
        "INSERT INTO agent_requests (owner, id, at, digest, answer) VALUES ($1, $2, $3, $4, $5)",
        owner.as_bytes(),
        id,
        at,
        digest,
        answer
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets what is old: events, answers, signatures, what was spent.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn forget_old(
    pool: &PgPool,
    events_before: i64,
    journal_before: i64,
    day_before: i64,
) -> Result<(), PluginError> {
    sqlx::query!("DELETE FROM agent_events WHERE at < $1", events_before)
        .execute(pool)
        .await?;
    sqlx::query!("DELETE FROM agent_requests WHERE at < $1", events_before)
        .execute(pool)
        .await?;
    sqlx::query!("DELETE FROM agent_journal WHERE at < $1", journal_before)
        .execute(pool)
        .await?;
    sqlx::query!("DELETE FROM agent_spent WHERE day < $1", day_before)
        .execute(pool)
        .await?;
    Ok(())
}
