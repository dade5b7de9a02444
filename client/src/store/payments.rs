//! What this user pays over several hops.

use atomicity_ledger::{PaymentHash, RecordId};
use sqlx::SqliteConnection;

use super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;

/// How far a payment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentState {
    /// Something is promised, or will be: not decided.
    Open,
    /// It was published in time.
    Paid,
    /// Nothing is promised any more, and nothing will be.
    Failed,
}

impl PaymentState {
    /// The name for machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Failed => "failed",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "paid" => Self::Paid,
            "failed" => Self::Failed,
            _ => Self::Open,
        }
    }
}

/// One payment.
#[derive(Clone, Debug)]
pub(crate) struct PaymentRow {
    pub id: RecordId,
    pub hash: PaymentHash,
    pub payee: String,
    /// What was asked for and how to look for ways, JSON.
    pub plan: String,
    /// The attempt with its keys, sealed.
    pub attempt: Vec<u8>,
    pub state: PaymentState,
    pub tries: u64,
    pub lease_until: u64,
    /// Whose keys signed what the last hop showed, JSON.
    pub shown: Option<String>,
    pub fee: Option<u64>,
    pub why: Option<String>,
    pub created_at: u64,
    pub ended_at: Option<u64>,
}

struct Row {
    id: String,
    hash: String,
    payee: String,
    plan: String,
    attempt: Vec<u8>,
    state: String,
    tries: i64,
    lease_until: i64,
    shown: Option<String>,
    fee: Option<i64>,
    why: Option<String>,
    created_at: i64,
    ended_at: Option<i64>,
}

impl TryFrom<Row> for PaymentRow {
    type Error = ClientError;

    fn try_from(row: Row) -> Result<Self, ClientError> {
        Ok(Self {
            id: parse_own(&row.id, "a payment's id")?,
            hash: parse_own(&row.hash, "a payment's hash")?,
            payee: row.payee,
            plan: row.plan,
            attempt: row.attempt,
            state: PaymentState::parse(&row.state),
            tries: from_sql(row.tries),
            lease_until: from_sql(row.lease_until),
            shown: row.shown,
            fee: row.fee.map(from_sql),
            why: row.why,
            created_at: from_sql(row.created_at),
            ended_at: row.ended_at.map(from_sql),
        })
    }
}

/// Keeps a payment, all but its lease.
pub(crate) async fn put(conn: &mut SqliteConnection, row: &PaymentRow) -> Result<(), ClientError> {
    let (id, hash, state) = (row.id.to_string(), row.hash.to_string(), row.state.as_str());
    let (tries, lease) = (to_sql(row.tries), to_sql(row.lease_until));
    let (fee, created) = (row.fee.map(to_sql), to_sql(row.created_at));
    let ended = row.ended_at.map(to_sql);
    sqlx::query!(
        "INSERT INTO payment (id, hash, payee, plan, attempt, state, tries, lease_until, shown, fee, why, created_at, ended_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET plan = excluded.plan, attempt = excluded.attempt, state = excluded.state,
             tries = excluded.tries, shown = excluded.shown, fee = excluded.fee, why = excluded.why, ended_at = excluded.ended_at",
        id,
        hash,
        row.payee,
        row.plan,
        row.attempt,
        state,
        tries,
        lease,
        row.shown,
        fee,
        row.why,
        created,
        ended
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Says that a process looks after a payment until then, Unix milliseconds.
pub(crate) async fn lease(
    conn: &mut SqliteConnection,
    id: &RecordId,
    until: u64,
) -> Result<(), ClientError> {
    let (id, until) = (id.to_string(), to_sql(until));
    sqlx::query!("UPDATE payment SET lease_until = ? WHERE id = ?", until, id)
        .execute(conn)
        .await?;
    Ok(())
}

/// One payment.
pub(crate) async fn get(
    conn: &mut SqliteConnection,
    id: &RecordId,
) -> Result<Option<PaymentRow>, ClientError> {
    let id = id.to_string();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, hash, payee, plan, attempt, state, tries, lease_until, shown, fee, why, created_at, ended_at
         FROM payment WHERE id = ?",
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(PaymentRow::try_from).transpose()
}

/// The payments under a hash that are paid or may come to be.
pub(crate) async fn standing(
    conn: &mut SqliteConnection,
    hash: &PaymentHash,
) -> Result<Vec<PaymentRow>, ClientError> {
    let hash = hash.to_string();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, hash, payee, plan, attempt, state, tries, lease_until, shown, fee, why, created_at, ended_at
         FROM payment WHERE hash = ? AND state != 'failed'",
        hash
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(PaymentRow::try_from).collect()
}

/// Payments that are not decided, oldest first.
pub(crate) async fn open(conn: &mut SqliteConnection) -> Result<Vec<PaymentRow>, ClientError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, hash, payee, plan, attempt, state, tries, lease_until, shown, fee, why, created_at, ended_at
         FROM payment WHERE state = 'open' ORDER BY created_at LIMIT 1000"
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(PaymentRow::try_from).collect()
}

/// The newest payments, at most `limit`.
pub(crate) async fn list(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<PaymentRow>, ClientError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, hash, payee, plan, attempt, state, tries, lease_until, shown, fee, why, created_at, ended_at
         FROM payment ORDER BY created_at DESC, id LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(PaymentRow::try_from).collect()
}
