//! Requests that recur and that the agent pays, and what it asked for.

use atomicity_ledger::record::PaymentRequest;
use atomicity_ledger::{Record as _, RecordHash, Signed, UserKey};
use sqlx::{PgPool, Postgres, Transaction};

use crate::error::PluginError;

/// A request that the agent pays turn by turn. Amounts are minor units, times Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRow {
    /// The request's hash.
    pub request: RecordHash,
    /// Who is paid.
    pub payee: UserKey,
    /// What they signed.
    pub record: String,
    /// The most that one turn may cost.
    pub up_to: i64,
    /// From then on nothing is paid.
    pub until: Option<i64>,
    /// The first turn that is paid.
    pub first_turn: i64,
    /// Why the last try came to nothing, or why it has ended.
    pub why: Option<String>,
    /// When it is looked at next.
    pub next_at: i64,
    /// How often something failed since it last went on.
    pub tries: i64,
    /// Since when the agent has it.
    pub created_at: i64,
    /// When it ended; it is active until then.
    pub ended_at: Option<i64>,
}

impl ApprovalRow {
    /// What the payee signed.
    ///
    /// # Errors
    /// [`PluginError::Internal`].
    pub fn signed(&self) -> Result<Signed<PaymentRequest>, PluginError> {
        Signed::decode(&self.record).map_err(|error| {
            PluginError::Internal(format!("a stored {}: {error}", PaymentRequest::TYP))
        })
    }

    /// Nothing is paid of it any more.
    pub fn end(&mut self, why: &str, now: i64) {
        self.why = Some(why.to_owned());
        self.ended_at = Some(now);
    }
}

macro_rules! approval {
    ($row:expr) => {{
        let row = $row;
        Ok::<_, PluginError>(ApprovalRow {
            request: super::hash(&row.request)?,
            payee: super::key(&row.payee)?,
            record: row.record,
            up_to: row.up_to,
            until: row.until,
            first_turn: row.first_turn,
            why: row.why,
            next_at: row.next_at,
            tries: row.tries,
            created_at: row.created_at,
            ended_at: row.ended_at,
        })
    }};
}

/// The approval of a request.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn approval(
    pool: &PgPool,
    owner: &UserKey,
    request: &RecordHash,
) -> Result<Option<ApprovalRow>, PluginError> {
    let row = sqlx::query!(
        "SELECT request, payee, record, up_to, until, first_turn, why, next_at, tries, created_at, ended_at
         FROM agent_approvals WHERE owner = $1 AND request = $2",
        owner.as_bytes(),
        request.as_bytes()
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| approval!(row)).transpose()
}

/// The same, locked: nothing is asked for or paid of it meanwhile.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn lock_approval(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    request: &RecordHash,
) -> Result<Option<ApprovalRow>, PluginError> {
    let row = sqlx::query!(
        "SELECT request, payee, record, up_to, until, first_turn, why, next_at, tries, created_at, ended_at
         FROM agent_approvals WHERE owner = $1 AND request = $2 FOR UPDATE",
        owner.as_bytes(),
        request.as_bytes()
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| approval!(row)).transpose()
}

/// The approvals of a user by the hashes of their requests, after `after`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn list_approvals(
    pool: &PgPool,
    owner: &UserKey,
    after: &[u8],
    limit: i64,
) -> Result<Vec<ApprovalRow>, PluginError> {
    let rows = sqlx::query!(
        "SELECT request, payee, record, up_to, until, first_turn, why, next_at, tries, created_at, ended_at
         FROM agent_approvals WHERE owner = $1 AND request > $2 ORDER BY request LIMIT $3",
        owner.as_bytes(),
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| approval!(row)).collect()
}

/// Of how many requests of a user turns are paid.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn count_approvals(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
) -> Result<i64, PluginError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM agent_approvals WHERE owner = $1 AND status = 'active'"#,
        owner.as_bytes()
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// The approvals that are due to be looked at, of agents at work, longest due first.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn due_approvals(
    pool: &PgPool,
    now: i64,
    limit: i64,
) -> Result<Vec<(UserKey, RecordHash)>, PluginError> {
    let rows = sqlx::query!(
        "SELECT a.owner, a.request FROM agent_approvals a JOIN agents g ON g.owner = a.owner
         WHERE a.status = 'active' AND a.next_at <= $1 AND g.status = 'active' ORDER BY a.next_at LIMIT $2",
        now,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| Ok((super::key(&row.owner)?, super::hash(&row.request)?)))
        .collect()
}

/// Stores an approval.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn put_approval(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    row: &ApprovalRow,
) -> Result<(), PluginError> {
    let status = match row.ended_at {
        Some(_) => "ended",
        None => "active",
    };
    sqlx::query!(
        "INSERT INTO agent_approvals
             (owner, request, payee, record, up_to, until, first_turn, status, why, next_at, tries, created_at, ended_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (owner, request) DO UPDATE SET up_to = excluded.up_to, until = excluded.until,
             first_turn = excluded.first_turn, status = excluded.status, why = excluded.why, next_at = excluded.next_at,
             tries = excluded.tries, created_at = excluded.created_at, ended_at = excluded.ended_at",
        owner.as_bytes(),
        row.request.as_bytes(),
        row.payee.as_bytes(),
        row.record,
        row.up_to,
        row.until,
        row.first_turn,
        status,
        row.why,
        row.next_at,
        row.tries,
        row.created_at,
        row.ended_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends everything that a peer is paid by, and returns what that is. What was asked for and is not paid ends with it.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn end_approvals_of(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    payee: &UserKey,
    why: &str,
    now: i64,
) -> Result<Vec<RecordHash>, PluginError> {
    let ended = sqlx::query_scalar!(
        "UPDATE agent_approvals SET status = 'ended', why = $3, ended_at = $4
         WHERE owner = $1 AND payee = $2 AND status = 'active' RETURNING request",
        owner.as_bytes(),
        payee.as_bytes(),
        why,
        now
    )
    .fetch_all(&mut **tx)
    .await?;
    let ended: Vec<RecordHash> = ended
        .iter()
        .map(|request| super::hash(request))
        .collect::<Result<_, _>>()?;
    for request in &ended {
        end_open_turn(tx, owner, request, why, now).await?;
    }
    Ok(ended)
}

/// What was asked for and is not paid comes to nothing.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn end_open_turn(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    request: &RecordHash,
    why: &str,
    now: i64,
) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE agent_turns SET state = 'ended', reason = $3, ended_at = $4
         WHERE owner = $1 AND request = $2 AND ended_at IS NULL",
        owner.as_bytes(),
        request.as_bytes(),
        why,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets what ended long ago.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn forget_approvals(pool: &PgPool, before: i64) -> Result<(), PluginError> {
    sqlx::query!("DELETE FROM agent_approvals WHERE ended_at < $1", before)
        .execute(pool)
        .await?;
    Ok(())
}
