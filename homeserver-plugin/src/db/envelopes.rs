//! Envelopes that wait for their users.

use atomicity_ledger::UserKey;
use sqlx::{PgPool, Postgres, Transaction};

use crate::error::PluginError;
use crate::inbox::admit::{Accepted, AccountRoom, Candidate, Found, SourceRoom};

/// An envelope as its user reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its number in this inbox.
    pub id: i64,
    /// When it came, Unix milliseconds.
    pub received_at: i64,
    /// The envelope as JSON text.
    pub body: String,
}

/// At most `limit` envelopes above `after`, in order.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn page(
    pool: &PgPool,
    user: &UserKey,
    after: i64,
    limit: i64,
) -> Result<Vec<Waiting>, PluginError> {
    Ok(sqlx::query_as!(
        Waiting,
        r#"SELECT id, received_at, body AS "body!" FROM envelopes
           WHERE owner = $1 AND id > $2 AND acked_at IS NULL ORDER BY id LIMIT $3"#,
        user.as_bytes(),
        after,
        limit
    )
    .fetch_all(pool)
    .await?)
}

/// Empties the envelopes with these ids and frees what they took. Says how many were waiting.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn acknowledge(
    pool: &PgPool,
    user: &UserKey,
    ids: &[i64],
    now: i64,
) -> Result<i64, PluginError> {
    let owner = user.as_bytes();
    let mut tx = pool.begin().await?;
    // The same lock as for posting, taken first by both: neither waits for the other while holding what it needs.
    sqlx::query!(
        "SELECT 1 AS one FROM accounts WHERE owner = $1 FOR NO KEY UPDATE",
        owner
    )
    .fetch_optional(&mut *tx)
    .await?;
    let removed = sqlx::query_scalar!(
        r#"WITH gone AS (
               UPDATE envelopes SET body = NULL, acked_at = GREATEST($3, received_at)
               WHERE owner = $1 AND id = ANY($2) AND acked_at IS NULL
               RETURNING known, source, size
           ), freed AS (
               UPDATE budgets SET queued = budgets.queued - g.n, queued_bytes = budgets.queued_bytes - g.bytes
               FROM (SELECT known, source, count(*) AS n, sum(size) AS bytes FROM gone GROUP BY known, source) AS g
               WHERE budgets.owner = $1 AND budgets.known = g.known AND budgets.source = g.source
           ), account AS (
               UPDATE accounts SET queued = accounts.queued - g.n, queued_bytes = accounts.queued_bytes - g.bytes,
                                   strangers = accounts.strangers - g.strangers
               FROM (SELECT count(*) AS n, COALESCE(sum(size), 0) AS bytes,
                            count(*) FILTER (WHERE NOT known) AS strangers FROM gone) AS g
               WHERE accounts.owner = $1 AND g.n > 0
           )
           SELECT count(*) AS "n!" FROM gone"#,
        owner,
        ids,
        now
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(removed)
}

/// Locks the accounts that `owners` (ascending, without repeats) name, in this order, and reads them.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn lock_accounts(
    tx: &mut Transaction<'_, Postgres>,
    owners: &[Vec<u8>],
) -> Result<Vec<(Vec<u8>, AccountRoom)>, PluginError> {
    let rows = sqlx::query!(
        r#"SELECT owner, closed_at IS NOT NULL AS "closed!", last_id, queued, queued_bytes, strangers
           FROM accounts WHERE owner = ANY($1) ORDER BY owner FOR NO KEY UPDATE"#,
        owners
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let room = AccountRoom {
                closed: row.closed,
                last_id: row.last_id,
                queued: row.queued,
                queued_bytes: row.queued_bytes,
                strangers: row.strangers,
            };
            (row.owner, room)
        })
        .collect())
}

/// What is stored about each candidate, in the same order. Only true while its account is locked.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn look_up(
    tx: &mut Transaction<'_, Postgres>,
    candidates: &[Candidate],
) -> Result<Vec<Found>, PluginError> {
    let owners: Vec<Vec<u8>> = candidates.iter().map(|c| c.owner.to_vec()).collect();
    let known: Vec<bool> = candidates.iter().map(|c| c.known).collect();
    let sources: Vec<Vec<u8>> = candidates.iter().map(|c| c.source.to_vec()).collect();
    let digests: Vec<Vec<u8>> = candidates.iter().map(|c| c.digest.to_vec()).collect();
    let rows = sqlx::query!(
        r#"SELECT e.id AS "repeated?", t.tag IS NOT NULL AS "tag_known!",
                  COALESCE(b.queued, 0) AS "queued!", COALESCE(b.queued_bytes, 0) AS "queued_bytes!"
           FROM unnest($1::bytea[], $2::boolean[], $3::bytea[], $4::bytea[])
                WITH ORDINALITY AS c (owner, known, source, digest, position)
           LEFT JOIN envelopes e ON e.owner = c.owner AND e.digest = c.digest
           LEFT JOIN tags t ON c.known AND t.owner = c.owner AND t.tag = c.source
           LEFT JOIN budgets b ON b.owner = c.owner AND b.known = c.known AND b.source = c.source
           ORDER BY c.position"#,
        &owners,
        &known,
        &sources,
        &digests
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Found {
            repeated: row.repeated,
            tag_known: row.tag_known,
            source: SourceRoom {
                queued: row.queued,
                queued_bytes: row.queued_bytes,
            },
        })
        .collect())
}

/// Stores what was accepted and counts it.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn store(
    tx: &mut Transaction<'_, Postgres>,
    accepted: &[Accepted<'_>],
    now: i64,
) -> Result<(), PluginError> {
    let owners: Vec<Vec<u8>> = accepted
        .iter()
        .map(|a| a.candidate.owner.to_vec())
        .collect();
    let ids: Vec<i64> = accepted.iter().map(|a| a.id).collect();
    let digests: Vec<Vec<u8>> = accepted
        .iter()
        .map(|a| a.candidate.digest.to_vec())
        .collect();
    let known: Vec<bool> = accepted.iter().map(|a| a.candidate.known).collect();
    let sources: Vec<Vec<u8>> = accepted
        .iter()
        .map(|a| a.candidate.source.to_vec())
        .collect();
    let sizes: Vec<i32> = accepted.iter().map(|a| a.candidate.size()).collect();
    let bodies: Vec<String> = accepted.iter().map(|a| a.candidate.body.clone()).collect();
    sqlx::query!(
        r#"WITH new AS (
               SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::boolean[], $5::bytea[], $6::integer[], $7::text[])
                        AS n (owner, id, digest, known, source, size, body)
           ), stored AS (
               INSERT INTO envelopes (owner, id, digest, known, source, received_at, size, body)
               SELECT owner, id, digest, known, source, $8, size, body FROM new
           ), counted AS (
               INSERT INTO budgets (owner, known, source, queued, queued_bytes)
               SELECT owner, known, source, count(*), sum(size) FROM new GROUP BY owner, known, source
               ON CONFLICT (owner, known, source) DO UPDATE
               SET queued = budgets.queued + excluded.queued, queued_bytes = budgets.queued_bytes + excluded.queued_bytes
           )
           UPDATE accounts SET last_id = s.last_id, queued = accounts.queued + s.n,
                               queued_bytes = accounts.queued_bytes + s.bytes, strangers = accounts.strangers + s.strangers
           FROM (SELECT owner, max(id) AS last_id, count(*) AS n, sum(size) AS bytes,
                        count(*) FILTER (WHERE NOT known) AS strangers FROM new GROUP BY owner) AS s
           WHERE accounts.owner = s.owner"#,
        &owners,
        &ids,
        &digests,
        &known,
        &sources,
        &sizes,
        &bodies,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
