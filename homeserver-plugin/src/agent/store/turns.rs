//! What the agent asked to pay of requests that recur.

use atomicity_ledger::{RecordHash, UserKey};
use sqlx::{PgPool, Postgres, Transaction};

use crate::error::PluginError;

/// Something that was asked for. Amounts are minor units, times Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnRow {
    /// Which turn, from 0.
    pub turn: i64,
    /// How many came to nothing before it.
    pub attempt: i64,
    /// The part's name.
    pub id: String,
    /// The part that was signed.
    pub record: String,
    /// Its hash.
    pub hash: [u8; 32],
    /// How much.
    pub amount: i64,
    /// `asked`, `granted`, `paid`, `refused`, `ended`.
    pub state: String,
    /// What the payee answered.
    pub answer: Option<String>,
    /// Until when it is granted.
    pub until: Option<i64>,
    /// The hash of the payment, if the agent made one.
    pub payment: Option<RecordHash>,
    /// Why it was not paid, or not by the agent: a code.
    pub reason: Option<String>,
    /// When it was asked for first.
    pub asked_at: i64,
    /// When it was paid, or came to nothing.
    pub ended_at: Option<i64>,
}

impl TurnRow {
    /// It has come to its end.
    pub fn end(&mut self, state: &str, reason: Option<&str>, now: i64) {
        self.state = state.to_owned();
        self.reason = reason.map(str::to_owned);
        self.ended_at = Some(now);
    }
}

macro_rules! turn {
    ($row:expr) => {{
        let row = $row;
        let payment = row.payment.as_deref().map(super::hash).transpose()?;
        Ok::<_, PluginError>(TurnRow {
            turn: row.turn,
            attempt: row.attempt,
            id: row.id,
            record: row.record,
            hash: super::bytes32(&row.hash)?,
            amount: row.amount,
            state: row.state,
            answer: row.answer,
            until: row.until,
            payment,
            reason: row.reason,
            asked_at: row.asked_at,
            ended_at: row.ended_at,
        })
    }};
}

/// What is asked for of a request and has not ended.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn open_turn(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    request: &RecordHash,
) -> Result<Option<TurnRow>, PluginError> {
    let row = sqlx::query!(
        "SELECT turn, attempt, id, record, hash, amount, state, answer, until, payment, reason, asked_at, ended_at
         FROM agent_turns WHERE owner = $1 AND request = $2 AND ended_at IS NULL",
        owner.as_bytes(),
        request.as_bytes()
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| turn!(row)).transpose()
}

/// The newest attempt at a turn.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn last_attempt(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    request: &RecordHash,
    turn: i64,
) -> Result<Option<TurnRow>, PluginError> {
    let row = sqlx::query!(
        "SELECT turn, attempt, id, record, hash, amount, state, answer, until, payment, reason, asked_at, ended_at
         FROM agent_turns WHERE owner = $1 AND request = $2 AND turn = $3 ORDER BY attempt DESC LIMIT 1",
        owner.as_bytes(),
        request.as_bytes(),
        turn
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| turn!(row)).transpose()
}

/// The first turn from `first` on that is not paid.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn next_turn(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    request: &RecordHash,
    first: i64,
) -> Result<i64, PluginError> {
    Ok(sqlx::query_scalar!(
        r#"WITH paid AS (
               SELECT turn FROM agent_turns WHERE owner = $1 AND request = $2 AND state = 'paid' AND turn >= $3
           )
           SELECT min(next.turn) AS "turn!" FROM (SELECT $3::bigint AS turn UNION ALL SELECT turn + 1 FROM paid) AS next
           WHERE next.turn NOT IN (SELECT turn FROM paid)"#,
        owner.as_bytes(),
        request.as_bytes(),
        first
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// Everything that was asked for of a request after an attempt at a turn, in order.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn list_turns(
    pool: &PgPool,
    owner: &UserKey,
    request: &RecordHash,
    (turn, attempt): (i64, i64),
    limit: i64,
) -> Result<Vec<TurnRow>, PluginError> {
    let rows = sqlx::query!(
        "SELECT turn, attempt, id, record, hash, amount, state, answer, until, payment, reason, asked_at, ended_at
         FROM agent_turns WHERE owner = $1 AND request = $2 AND (turn, attempt) > ($3, $4)
         ORDER BY turn, attempt LIMIT $5",
        owner.as_bytes(),
        request.as_bytes(),
        turn,
        attempt,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| turn!(row)).collect()
}

/// Stores what was asked for, or what became of it.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn put_turn(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    request: &RecordHash,
    row: &TurnRow,
) -> Result<(), PluginError> {
    sqlx::query!(
        "INSERT INTO agent_turns
             (owner, request, turn, attempt, id, record, hash, amount, state, answer, until, payment, reason, asked_at, ended_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
         ON CONFLICT (owner, request, turn, attempt) DO UPDATE SET amount = excluded.amount, state = excluded.state,
             answer = excluded.answer, until = excluded.until, payment = excluded.payment, reason = excluded.reason,
             ended_at = excluded.ended_at",
        owner.as_bytes(),
        request.as_bytes(),
        row.turn,
        row.attempt,
        row.id,
        row.record,
        row.hash.as_slice(),
        row.amount,
        row.state,
        row.answer,
        row.until,
        row.payment.as_ref().map(|hash| hash.as_bytes().as_slice()),
        row.reason,
        row.asked_at,
        row.ended_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Keeps what a payee answered to what was asked for, and has it looked at. What nobody asked them, or they answered before, changes
/// nothing. Returns whether it was new.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn answer_turn(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    payee: &UserKey,
    part: &RecordHash,
    answer: &str,
) -> Result<bool, PluginError> {
    let done = sqlx::query!(
        "WITH answered AS (
             UPDATE agent_turns t SET answer = $4 FROM agent_approvals a
             WHERE t.owner = $1 AND t.hash = $3 AND t.state = 'asked' AND t.answer IS NULL
                 AND a.owner = t.owner AND a.request = t.request AND a.payee = $2
             RETURNING t.request
         )
         UPDATE agent_approvals SET next_at = 0, tries = 0
         WHERE owner = $1 AND request IN (SELECT request FROM answered)",
        owner.as_bytes(),
        payee.as_bytes(),
        part.as_bytes(),
        answer
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() > 0)
}
