//! Requests to be paid: what this user asks for, who pays it, and what came another way.

pub(crate) mod approvals;
pub(crate) mod calls;
pub(crate) mod guests;
pub(crate) mod letters;
pub(crate) mod paying;

use atomicity_ledger::record::{PaymentRequest, RequestState};
use atomicity_ledger::settle::Fills;
use atomicity_ledger::{Amount, RecordHash, RecordId, Signed, UserKey};
use sqlx::SqliteConnection;

use super::{from_sql, json_in, json_out, parse_own, to_sql};
use crate::error::ClientError;

/// A request of this user.
#[derive(Clone, Debug)]
pub(crate) struct RequestRow {
    pub record: Signed<PaymentRequest>,
    pub fills: Fills,
    /// The newest state that was signed.
    pub state: Signed<RequestState>,
    /// How long a part is kept for who asked for it.
    pub hold_ms: u64,
    /// Whether it calls a debt in.
    pub is_call: bool,
    /// Nothing can come of it any more.
    pub over: bool,
    pub created_at: u64,
    pub ended_at: Option<u64>,
}

struct Row {
    record: String,
    fills: String,
    state: String,
    hold_ms: i64,
    is_call: i64,
    over: i64,
    created_at: i64,
    ended_at: Option<i64>,
}

impl TryFrom<Row> for RequestRow {
    type Error = ClientError;

    fn try_from(row: Row) -> Result<Self, ClientError> {
        Ok(Self {
            record: Signed::decode(&row.record)?,
            fills: json_in(&row.fills, "how far a request is filled")?,
            state: Signed::decode(&row.state)?,
            hold_ms: from_sql(row.hold_ms),
            is_call: row.is_call != 0,
            over: row.over != 0,
            created_at: from_sql(row.created_at),
            ended_at: row.ended_at.map(from_sql),
        })
    }
}

/// Keeps a request.
pub(crate) async fn put(conn: &mut SqliteConnection, row: &RequestRow) -> Result<(), ClientError> {
    let (id, hash) = (
        row.record.record().id.to_string(),
        row.record.hash().to_string(),
    );
    let (record, state) = (row.record.jws(), row.state.jws());
    let fills = json_out(&row.fills)?;
    let (hold, created) = (to_sql(row.hold_ms), to_sql(row.created_at));
    let ended = row.ended_at.map(to_sql);
    sqlx::query!(
        "INSERT INTO request (id, hash, record, fills, state, hold_ms, is_call, over, created_at, ended_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET fills = excluded.fills, state = excluded.state, over = excluded.over,
             ended_at = excluded.ended_at",
        id,
        hash,
        record,
        fills,
        state,
        hold,
        row.is_call,
        row.over,
        created,
        ended
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The request with this hash.
pub(crate) async fn of(
    conn: &mut SqliteConnection,
    hash: &RecordHash,
) -> Result<Option<RequestRow>, ClientError> {
    let hash = hash.to_string();
    let row = sqlx::query_as!(
        Row,
        "SELECT record, fills, state, hold_ms, is_call, over, created_at, ended_at FROM request WHERE hash = ?",
        hash
    )
    .fetch_optional(conn)
    .await?;
    row.map(RequestRow::try_from).transpose()
}

/// The request of this name.
pub(crate) async fn named(
    conn: &mut SqliteConnection,
    id: &RecordId,
) -> Result<Option<RequestRow>, ClientError> {
    let id = id.to_string();
    let row = sqlx::query_as!(
        Row,
        "SELECT record, fills, state, hold_ms, is_call, over, created_at, ended_at FROM request WHERE id = ?",
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(RequestRow::try_from).transpose()
}

/// The newest requests, at most `limit`.
pub(crate) async fn list(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<RequestRow>, ClientError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT record, fills, state, hold_ms, is_call, over, created_at, ended_at FROM request
         ORDER BY created_at DESC, id LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(RequestRow::try_from).collect()
}

/// The requests of which something may still come, oldest first, at most `limit`.
pub(crate) async fn open(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<RequestRow>, ClientError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT record, fills, state, hold_ms, is_call, over, created_at, ended_at FROM request
         WHERE over = 0 ORDER BY created_at, id LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(RequestRow::try_from).collect()
}

/// Whether something may still come of a request that asks everybody.
pub(crate) async fn any_public(conn: &mut SqliteConnection) -> Result<bool, ClientError> {
    let open = open(conn, u32::MAX).await?;
    Ok(open.iter().any(|row| row.record.record().payer.is_none()))
}

/// Notes whether the user is still to be told that a request is full. Returns whether that is new.
pub(crate) async fn tell_full(
    conn: &mut SqliteConnection,
    id: &RecordId,
    tell: bool,
) -> Result<bool, ClientError> {
    let id = id.to_string();
    let done = sqlx::query!(
        "UPDATE request SET tell_full = ? WHERE id = ? AND tell_full <> ?",
        tell,
        id,
        tell
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The full requests of which the user is still to be told, at most `limit`.
pub(crate) async fn full(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<RequestRow>, ClientError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT record, fills, state, hold_ms, is_call, over, created_at, ended_at FROM request
         WHERE tell_full = 1 ORDER BY id LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(RequestRow::try_from).collect()
}

/// A part that was granted.
#[derive(Clone, Debug)]
pub(crate) struct PartRow {
    /// The request's name.
    pub request: RecordId,
    pub id: RecordId,
    /// The signed part.
    pub record: String,
    pub user: UserKey,
    pub amount: Amount,
    /// The invoice that is made for it.
    pub invoice: Option<RecordId>,
    /// What the payer was told; none while the invoice is being made.
    pub answer: Option<String>,
    /// Until then it is kept.
    pub until: Option<u64>,
    /// `reserved`, `paid` or `ended`.
    pub stage: String,
    pub created_at: u64,
}

struct PartColumns {
    request: String,
    id: String,
    record: String,
    user: String,
    amount: i64,
    invoice: Option<String>,
    answer: Option<String>,
    until: Option<i64>,
    stage: String,
    created_at: i64,
}

impl TryFrom<PartColumns> for PartRow {
    type Error = ClientError;

    fn try_from(row: PartColumns) -> Result<Self, ClientError> {
        let invoice = row.invoice.as_deref();
        Ok(Self {
            request: parse_own(&row.request, "a request's name")?,
            id: parse_own(&row.id, "a part's name")?,
            record: row.record,
            user: parse_own(&row.user, "a payer's key")?,
            amount: Amount::from_minor(from_sql(row.amount))?,
            invoice: invoice
                .map(|text| parse_own(text, "an invoice's name"))
                .transpose()?,
            answer: row.answer,
            until: row.until.map(from_sql),
            stage: row.stage,
            created_at: from_sql(row.created_at),
        })
    }
}

/// Keeps a part.
pub(crate) async fn put_part(
    conn: &mut SqliteConnection,
    row: &PartRow,
) -> Result<(), ClientError> {
    let (request, id) = (row.request.to_string(), row.id.to_string());
    let (user, amount) = (row.user.to_string(), to_sql(row.amount.minor()));
    let invoice = row.invoice.map(|id| id.to_string());
    let (until, created) = (row.until.map(to_sql), to_sql(row.created_at));
    sqlx::query!(
        "INSERT INTO part (request, id, record, user, amount, invoice, answer, until, stage, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (request, id) DO UPDATE SET record = excluded.record, invoice = excluded.invoice, answer = excluded.answer,
             until = excluded.until, stage = excluded.stage",
        request,
        id,
        row.record,
        user,
        amount,
        invoice,
        row.answer,
        until,
        row.stage,
        created
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A part of a request.
pub(crate) async fn part(
    conn: &mut SqliteConnection,
    request: &RecordId,
    id: &RecordId,
) -> Result<Option<PartRow>, ClientError> {
    let (request, id) = (request.to_string(), id.to_string());
    let row = sqlx::query_as!(
        PartColumns,
        "SELECT request, id, record, user, amount, invoice, answer, until, stage, created_at FROM part
         WHERE request = ? AND id = ?",
        request,
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(PartRow::try_from).transpose()
}

/// The part for which this invoice was made.
pub(crate) async fn part_of_invoice(
    conn: &mut SqliteConnection,
    invoice: &RecordId,
) -> Result<Option<PartRow>, ClientError> {
    let invoice = invoice.to_string();
    let row = sqlx::query_as!(
        PartColumns,
        "SELECT request, id, record, user, amount, invoice, answer, until, stage, created_at FROM part WHERE invoice = ?",
        invoice
    )
    .fetch_optional(conn)
    .await?;
    row.map(PartRow::try_from).transpose()
}

/// The parts with this name that are paid directly, without an invoice, by this friend.
pub(crate) async fn parts_paid_directly(
    conn: &mut SqliteConnection,
    id: &RecordId,
    user: &UserKey,
) -> Result<Vec<PartRow>, ClientError> {
    let (id, user) = (id.to_string(), user.to_string());
    let rows = sqlx::query_as!(
        PartColumns,
        "SELECT request, id, record, user, amount, invoice, answer, until, stage, created_at FROM part
         WHERE id = ? AND user = ? AND invoice IS NULL AND answer IS NOT NULL LIMIT 8",
        id,
        user
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(PartRow::try_from).collect()
}

/// The parts that are kept for somebody, at most `limit`; those for which no invoice is made yet first, then those that end first.
pub(crate) async fn reserved(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<PartRow>, ClientError> {
    let rows = sqlx::query_as!(
        PartColumns,
        "SELECT request, id, record, user, amount, invoice, answer, until, stage, created_at FROM part
         WHERE stage = 'reserved' ORDER BY until, created_at, id LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(PartRow::try_from).collect()
}

/// The parts of a request, newest first, at most `limit`.
pub(crate) async fn parts(
    conn: &mut SqliteConnection,
    request: &RecordId,
    limit: u32,
) -> Result<Vec<PartRow>, ClientError> {
    let request = request.to_string();
    let rows = sqlx::query_as!(
        PartColumns,
        "SELECT request, id, record, user, amount, invoice, answer, until, stage, created_at FROM part
         WHERE request = ? ORDER BY created_at DESC, id LIMIT ?",
        request,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(PartRow::try_from).collect()
}

/// Something that came another way.
#[derive(Clone, Debug)]
pub(crate) struct ReceiptRow {
    pub id: RecordId,
    pub request: RecordId,
    pub amount: Amount,
    /// How: `cash`.
    pub way: String,
    /// From whom, as the user writes it.
    pub payer: Option<String>,
    pub at: u64,
}

/// Notes what came another way.
pub(crate) async fn put_receipt(
    conn: &mut SqliteConnection,
    row: &ReceiptRow,
) -> Result<(), ClientError> {
    let (id, request) = (row.id.to_string(), row.request.to_string());
    let (amount, at) = (to_sql(row.amount.minor()), to_sql(row.at));
    sqlx::query!(
        "INSERT INTO receipt (id, request, amount, way, payer, at) VALUES (?, ?, ?, ?, ?, ?)",
        id,
        request,
        amount,
        row.way,
        row.payer,
        at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What came another way for a request, newest first, at most `limit`.
pub(crate) async fn receipts(
    conn: &mut SqliteConnection,
    request: &RecordId,
    limit: u32,
) -> Result<Vec<ReceiptRow>, ClientError> {
    let request = request.to_string();
    let rows = sqlx::query!(
        "SELECT id, request, amount, way, payer, at FROM receipt WHERE request = ? ORDER BY at DESC, id LIMIT ?",
        request,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(ReceiptRow {
                id: parse_own(&row.id, "a receipt's name")?,
                request: parse_own(&row.request, "a request's name")?,
                amount: Amount::from_minor(from_sql(row.amount))?,
                way: row.way,
                payer: row.payer,
                at: from_sql(row.at),
            })
        })
        .collect()
}
