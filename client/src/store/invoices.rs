//! What this user asked for, and what has come for it.

use atomicity_ledger::PaymentHash;
use atomicity_ledger::hop::{Collection, CollectionStage};
use sqlx::SqliteConnection;

use super::{from_sql, json_in, json_out, parse_own, to_sql};
use crate::error::ClientError;

/// An invoice of this user.
#[derive(Clone, Debug)]
pub(crate) struct InvoiceRow {
    /// The signed invoice.
    pub record: String,
    /// What has come.
    pub collection: Collection,
    /// What was paid, in minor units.
    pub received: u64,
    pub created_at: u64,
    pub ended_at: Option<u64>,
}

struct Row {
    record: String,
    collection: String,
    received: i64,
    created_at: i64,
    ended_at: Option<i64>,
}

impl TryFrom<Row> for InvoiceRow {
    type Error = ClientError;

    fn try_from(row: Row) -> Result<Self, ClientError> {
        Ok(Self {
            record: row.record,
            collection: json_in(&row.collection, "what an invoice collected")?,
            received: from_sql(row.received),
            created_at: from_sql(row.created_at),
            ended_at: row.ended_at.map(from_sql),
        })
    }
}

/// Keeps an invoice.
pub(crate) async fn put(conn: &mut SqliteConnection, row: &InvoiceRow) -> Result<(), ClientError> {
    let bill = row.collection.bill();
    let (id, hash) = (bill.invoice.to_string(), bill.hash.to_string());
    let collection = json_out(&row.collection)?;
    let (stage, busy) = match row.collection.stage() {
        CollectionStage::Open => ("open", !row.collection.parts().is_empty()),
        CollectionStage::Publishing => ("publishing", true),
        CollectionStage::Paid { .. } => ("paid", false),
        CollectionStage::Failed => ("failed", false),
    };
    let (received, created_at) = (to_sql(row.received), to_sql(row.created_at));
    let ended_at = row.ended_at.map(to_sql);
    sqlx::query!(
        "INSERT INTO invoice (id, hash, record, collection, stage, busy, received, created_at, ended_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET collection = excluded.collection, stage = excluded.stage,
             busy = excluded.busy, received = excluded.received, ended_at = excluded.ended_at",
        id,
        hash,
        row.record,
        collection,
        stage,
        busy,
        received,
        created_at,
        ended_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The invoice of a hash.
pub(crate) async fn of(
    conn: &mut SqliteConnection,
    hash: &PaymentHash,
) -> Result<Option<InvoiceRow>, ClientError> {
    let hash = hash.to_string();
    let row = sqlx::query_as!(
        Row,
        "SELECT record, collection, received, created_at, ended_at FROM invoice WHERE hash = ?",
        hash
    )
    .fetch_optional(conn)
    .await?;
    row.map(InvoiceRow::try_from).transpose()
}

/// The hashes of the invoices for which something has come that is not decided.
pub(crate) async fn busy(conn: &mut SqliteConnection) -> Result<Vec<PaymentHash>, ClientError> {
    let rows = sqlx::query!("SELECT hash FROM invoice WHERE busy = 1 ORDER BY hash")
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| parse_own(&row.hash, "an invoice's hash"))
        .collect()
}

/// The newest invoices, at most `limit`.
pub(crate) async fn list(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<InvoiceRow>, ClientError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT record, collection, received, created_at, ended_at FROM invoice
         ORDER BY created_at DESC, id LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(InvoiceRow::try_from).collect()
}
