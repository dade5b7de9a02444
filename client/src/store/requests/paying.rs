//! What others ask for, and the parts of it that this user pays.

use atomicity_ledger::record::{PaymentRequest, RequestState};
use atomicity_ledger::{Amount, RecordHash, RecordId, Signed, UserKey};
use sqlx::SqliteConnection;

use super::super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;

/// A request of somebody else.
#[derive(Clone, Debug)]
pub(crate) struct AskedRow {
    pub record: Signed<PaymentRequest>,
    /// The payee's newest word about it.
    pub state: Option<Signed<RequestState>>,
    /// Whether the payee sent it; else the user found it.
    pub was_sent: bool,
    pub seen_at: u64,
}

struct AskedColumns {
    record: String,
    state: Option<String>,
    was_sent: i64,
    seen_at: i64,
}

impl TryFrom<AskedColumns> for AskedRow {
    type Error = ClientError;

    fn try_from(row: AskedColumns) -> Result<Self, ClientError> {
        Ok(Self {
            record: Signed::decode(&row.record)?,
            state: row.state.as_deref().map(Signed::decode).transpose()?,
            was_sent: row.was_sent != 0,
            seen_at: from_sql(row.seen_at),
        })
    }
}

/// Keeps what somebody asks for. True if it was not known.
pub(crate) async fn put_asked(
    conn: &mut SqliteConnection,
    row: &AskedRow,
) -> Result<bool, ClientError> {
    let record = row.record.record();
    let (hash, id, payee) = (
        row.record.hash().to_string(),
        record.id.to_string(),
        record.payee.to_string(),
    );
    let (jws, state) = (row.record.jws(), row.state.as_ref().map(Signed::jws));
    let seen = to_sql(row.seen_at);
    let done = sqlx::query!(
        "INSERT INTO asked (hash, id, payee, record, state, was_sent, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
        hash,
        id,
        payee,
        jws,
        state,
        row.was_sent,
        seen
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Keeps the payee's newest word.
pub(crate) async fn put_state(
    conn: &mut SqliteConnection,
    state: &Signed<RequestState>,
) -> Result<(), ClientError> {
    let (hash, jws) = (state.record().request.to_string(), state.jws());
    sqlx::query!("UPDATE asked SET state = ? WHERE hash = ?", jws, hash)
        .execute(conn)
        .await?;
    Ok(())
}

/// What somebody asks for.
pub(crate) async fn asked(
    conn: &mut SqliteConnection,
    hash: &RecordHash,
) -> Result<Option<AskedRow>, ClientError> {
    let hash = hash.to_string();
    let row = sqlx::query_as!(
        AskedColumns,
        "SELECT record, state, was_sent, seen_at FROM asked WHERE hash = ?",
        hash
    )
    .fetch_optional(conn)
    .await?;
    row.map(AskedRow::try_from).transpose()
}

/// What others ask for under this name.
pub(crate) async fn asked_named(
    conn: &mut SqliteConnection,
    id: &RecordId,
) -> Result<Vec<AskedRow>, ClientError> {
    let id = id.to_string();
    let rows = sqlx::query_as!(
        AskedColumns,
        "SELECT record, state, was_sent, seen_at FROM asked WHERE id = ? ORDER BY seen_at LIMIT 8",
        id
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(AskedRow::try_from).collect()
}

/// What others ask for, newest first, at most `limit`.
pub(crate) async fn list_asked(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<AskedRow>, ClientError> {
    let rows = sqlx::query_as!(
        AskedColumns,
        "SELECT record, state, was_sent, seen_at FROM asked ORDER BY seen_at DESC, hash LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(AskedRow::try_from).collect()
}

/// How many requests of one user are kept.
pub(crate) async fn count_asked(
    conn: &mut SqliteConnection,
    payee: &UserKey,
) -> Result<u64, ClientError> {
    let payee = payee.to_string();
    let row = sqlx::query!(
        r#"SELECT count(*) AS "n!: i64" FROM asked WHERE payee = ?"#,
        payee
    )
    .fetch_one(conn)
    .await?;
    Ok(from_sql(row.n))
}

/// How far a part is that this user pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayingStage {
    /// The payee was asked for it.
    Asked,
    /// It is kept for this user, who pays it or may.
    Granted,
    /// It is paid.
    Paid,
    /// The payee does not want it.
    Refused,
    /// It was not paid in time.
    Ended,
}

impl PayingStage {
    /// The name for machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Granted => "granted",
            Self::Paid => "paid",
            Self::Refused => "refused",
            Self::Ended => "ended",
        }
    }

    /// Whether nothing can change any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Asked | Self::Granted)
    }

    fn read(text: &str) -> Self {
        match text {
            "asked" => Self::Asked,
            "granted" => Self::Granted,
            "paid" => Self::Paid,
            "refused" => Self::Refused,
            _ => Self::Ended,
        }
    }
}

/// A part of a request of somebody else.
#[derive(Clone, Debug)]
pub(crate) struct PayingRow {
    pub id: RecordId,
    /// The request's hash.
    pub request: RecordHash,
    /// The signed part.
    pub record: String,
    pub payee: UserKey,
    pub turn: Option<u32>,
    /// What was granted; what was asked for before.
    pub amount: Amount,
    pub stage: PayingStage,
    /// Until then the grant stands.
    pub until: Option<u64>,
    /// What is to be paid; none if the payee is a friend who is paid directly.
    pub invoice: Option<String>,
    pub reason: Option<String>,
    /// Whether the wallet pays it without being asked again.
    pub by_itself: bool,
    pub next_at: u64,
    pub tries: u64,
    pub created_at: u64,
    pub ended_at: Option<u64>,
}

struct PayingColumns {
    id: String,
    request: String,
    record: String,
    payee: String,
    turn: Option<i64>,
    amount: i64,
    stage: String,
    until: Option<i64>,
    invoice: Option<String>,
    reason: Option<String>,
    by_itself: i64,
    next_at: i64,
    tries: i64,
    created_at: i64,
    ended_at: Option<i64>,
}

impl TryFrom<PayingColumns> for PayingRow {
    type Error = ClientError;

    fn try_from(row: PayingColumns) -> Result<Self, ClientError> {
        Ok(Self {
            id: parse_own(&row.id, "a part's name")?,
            request: parse_own(&row.request, "a request's hash")?,
            record: row.record,
            payee: parse_own(&row.payee, "a payee's key")?,
            turn: row.turn.and_then(|turn| u32::try_from(turn).ok()),
            amount: Amount::from_minor(from_sql(row.amount))?,
            stage: PayingStage::read(&row.stage),
            until: row.until.map(from_sql),
            invoice: row.invoice,
            reason: row.reason,
            by_itself: row.by_itself != 0,
            next_at: from_sql(row.next_at),
            tries: from_sql(row.tries),
            created_at: from_sql(row.created_at),
            ended_at: row.ended_at.map(from_sql),
        })
    }
}

/// Keeps a part that this user pays.
pub(crate) async fn put(conn: &mut SqliteConnection, row: &PayingRow) -> Result<(), ClientError> {
    let (id, request) = (row.id.to_string(), row.request.to_string());
    let (payee, turn) = (row.payee.to_string(), row.turn.map(i64::from));
    let (amount, stage) = (to_sql(row.amount.minor()), row.stage.as_str());
    let (until, next) = (row.until.map(to_sql), to_sql(row.next_at));
    let (tries, created) = (to_sql(row.tries), to_sql(row.created_at));
    let ended = row.ended_at.map(to_sql);
    sqlx::query!(
        "INSERT INTO paying (id, request, record, payee, turn, amount, stage, until, invoice, reason, by_itself, next_at, tries,
             created_at, ended_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET amount = excluded.amount, stage = excluded.stage, until = excluded.until,
             invoice = excluded.invoice, reason = excluded.reason, next_at = excluded.next_at, tries = excluded.tries,
             ended_at = excluded.ended_at",
        id,
        request,
        row.record,
        payee,
        turn,
        amount,
        stage,
        until,
        row.invoice,
        row.reason,
        row.by_itself,
        next,
        tries,
        created,
        ended
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One part.
pub(crate) async fn get(
    conn: &mut SqliteConnection,
    id: &RecordId,
) -> Result<Option<PayingRow>, ClientError> {
    let id = id.to_string();
    let row = sqlx::query_as!(
        PayingColumns,
        "SELECT id, request, record, payee, turn, amount, stage, until, invoice, reason, by_itself, next_at, tries, created_at,
             ended_at
         FROM paying WHERE id = ?",
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(PayingRow::try_from).transpose()
}

/// The parts of a request that this user pays, newest first, at most `limit`.
pub(crate) async fn of_request(
    conn: &mut SqliteConnection,
    request: &RecordHash,
    limit: u32,
) -> Result<Vec<PayingRow>, ClientError> {
    let request = request.to_string();
    let rows = sqlx::query_as!(
        PayingColumns,
        "SELECT id, request, record, payee, turn, amount, stage, until, invoice, reason, by_itself, next_at, tries, created_at,
             ended_at
         FROM paying WHERE request = ? ORDER BY created_at DESC, id LIMIT ?",
        request,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(PayingRow::try_from).collect()
}

/// The turns of a request that are paid, or being paid, ascending.
pub(crate) async fn turns(
    conn: &mut SqliteConnection,
    request: &RecordHash,
) -> Result<Vec<u32>, ClientError> {
    let request = request.to_string();
    let rows = sqlx::query!(
        r#"SELECT turn AS "turn!" FROM paying WHERE request = ? AND turn IS NOT NULL AND stage NOT IN ('refused', 'ended')
           ORDER BY turn"#,
        request
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| u32::try_from(row.turn).ok())
        .collect())
}

/// How often this user has asked for a turn of a request: the number of the next attempt.
pub(crate) async fn attempts(
    conn: &mut SqliteConnection,
    request: &RecordHash,
    turn: u32,
) -> Result<u32, ClientError> {
    let (request, turn) = (request.to_string(), i64::from(turn));
    let row = sqlx::query!(
        r#"SELECT count(*) AS "n!: i64" FROM paying WHERE request = ? AND turn = ?"#,
        request,
        turn
    )
    .fetch_one(conn)
    .await?;
    Ok(u32::try_from(row.n).unwrap_or(u32::MAX))
}

/// Whether something of a request is asked for, or being paid, by this wallet.
pub(crate) async fn any_open(
    conn: &mut SqliteConnection,
    request: &RecordHash,
) -> Result<bool, ClientError> {
    let request = request.to_string();
    let row = sqlx::query!(
        r#"SELECT count(*) AS "n!: i64" FROM paying WHERE request = ? AND stage IN ('asked', 'granted')"#,
        request
    )
    .fetch_one(conn)
    .await?;
    Ok(row.n > 0)
}

/// The parts that are not over and due to be looked at, at most `limit`.
pub(crate) async fn due(
    conn: &mut SqliteConnection,
    now: u64,
    limit: u32,
) -> Result<Vec<PayingRow>, ClientError> {
    let now = to_sql(now);
    let rows = sqlx::query_as!(
        PayingColumns,
        "SELECT id, request, record, payee, turn, amount, stage, until, invoice, reason, by_itself, next_at, tries, created_at,
             ended_at
         FROM paying WHERE stage IN ('asked', 'granted') AND next_at <= ? ORDER BY next_at, id LIMIT ?",
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(PayingRow::try_from).collect()
}

/// The parts that are not over, at most `limit`.
pub(crate) async fn open(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<PayingRow>, ClientError> {
    due(conn, u64::MAX, limit).await
}
