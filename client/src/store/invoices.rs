//! What this user asked for, and what has come for it.

use atomicity_ledger::hop::{Collection, CollectionStage};
use atomicity_ledger::{PaymentHash, Preimage, RecordId};
use sqlx::SqliteConnection;

use super::{from_sql, json_in, json_out, parse_own, to_sql};
use crate::error::ClientError;

/// Who looks after an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// This wallet.
    Here,
    /// It is being handed over: the agent may have it already.
    Handing,
    /// The agent.
    Agent,
    /// An agent that can't be asked any more: the logs decide.
    Lost,
}

impl Place {
    fn as_str(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Handing => "handing",
            Self::Agent => "agent",
            Self::Lost => "lost",
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "here" => Self::Here,
            "handing" => Self::Handing,
            "agent" => Self::Agent,
            _ => Self::Lost,
        }
    }
}

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
    /// Who looks after it.
    pub place: Place,
    /// With the agent: how far it is. Here: why it stays, once it was looked whether it should.
    pub told: Option<String>,
    /// What the agent published.
    pub preimage: Option<Preimage>,
}

struct Row {
    record: String,
    collection: String,
    received: i64,
    created_at: i64,
    ended_at: Option<i64>,
    place: String,
    told: Option<String>,
    preimage: Option<String>,
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
            place: Place::read(&row.place),
            told: row.told,
            preimage: row
                .preimage
                .map(|text| parse_own(&text, "a secret"))
                .transpose()?,
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
    let place = row.place.as_str();
    let preimage = row.preimage.map(String::from);
    sqlx::query!(
        "INSERT INTO invoice (id, hash, record, collection, stage, busy, received, created_at, ended_at, place, told, preimage)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET collection = excluded.collection, stage = excluded.stage,
             busy = excluded.busy, received = excluded.received, ended_at = excluded.ended_at,
             place = excluded.place, told = excluded.told, preimage = excluded.preimage",
        id,
        hash,
        row.record,
        collection,
        stage,
        busy,
        received,
        created_at,
        ended_at,
        place,
        row.told,
        preimage
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
        "SELECT record, collection, received, created_at, ended_at, place, told, preimage FROM invoice WHERE hash = ?",
        hash
    )
    .fetch_optional(conn)
    .await?;
    row.map(InvoiceRow::try_from).transpose()
}

/// The invoice of this name.
pub(crate) async fn named(
    conn: &mut SqliteConnection,
    id: &RecordId,
) -> Result<Option<InvoiceRow>, ClientError> {
    let id = id.to_string();
    let row = sqlx::query_as!(
        Row,
        "SELECT record, collection, received, created_at, ended_at, place, told, preimage FROM invoice WHERE id = ?",
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(InvoiceRow::try_from).transpose()
}

/// Invoices for which nothing has come and of which it is not known yet whether they should be with the agent, and those that are on
/// their way there: at most `limit`.
pub(crate) async fn to_hand(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<InvoiceRow>, ClientError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT record, collection, received, created_at, ended_at, place, told, preimage FROM invoice
         WHERE stage = 'open' AND busy = 0 AND (place = 'handing' OR (place = 'here' AND told IS NULL))
         ORDER BY created_at, id LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(InvoiceRow::try_from).collect()
}

/// Invoices that the agent has or may have, and that are not over by what it said: at most `limit`.
pub(crate) async fn with_agent(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<InvoiceRow>, ClientError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT record, collection, received, created_at, ended_at, place, told, preimage FROM invoice
         WHERE stage = 'open' AND (place = 'handing' OR (place = 'agent' AND ended_at IS NULL))
         ORDER BY created_at, id LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(InvoiceRow::try_from).collect()
}

/// Says of the invoices that are looked after here that it must be looked again whether they should be with the agent; not of those
/// that the user wants here.
pub(crate) async fn look_again(conn: &mut SqliteConnection) -> Result<(), ClientError> {
    sqlx::query!("UPDATE invoice SET told = NULL WHERE place = 'here' AND told = 'kept'")
        .execute(conn)
        .await?;
    Ok(())
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
        "SELECT record, collection, received, created_at, ended_at, place, told, preimage FROM invoice
         ORDER BY created_at DESC, id LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(InvoiceRow::try_from).collect()
}
