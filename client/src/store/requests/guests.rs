//! Parts of requests that guests pay: people without a wallet, over Lightning or on the chain.

use atomicity_ledger::{Amount, RecordId};
use sqlx::SqliteConnection;

use super::super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;

/// How a guest pays.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum GuestWay {
    /// An invoice of Lightning (BOLT 11).
    Lightning,
    /// An address of Bitcoin.
    Onchain,
}

impl GuestWay {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Lightning, Self::Onchain];

    /// The name for machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lightning => "lightning",
            Self::Onchain => "onchain",
        }
    }

    /// The way of this name.
    #[must_use]
    pub fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.as_str() == name)
    }
}

/// How far a guest's part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuestStage {
    /// It is kept for the guest; there is no place to pay it at yet.
    Kept,
    /// It can be paid.
    Offered,
    /// It is being paid: a transaction is not confirmed yet.
    Seen,
    /// It was paid, and counts.
    Paid,
    /// It was not paid in time.
    Ended,
}

impl GuestStage {
    /// The name for machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Offered => "offered",
            Self::Seen => "seen",
            Self::Paid => "paid",
            Self::Ended => "ended",
        }
    }

    /// Whether something is kept for it.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Kept | Self::Offered | Self::Seen)
    }

    fn read(name: &str) -> Result<Self, ClientError> {
        let all = [
            Self::Kept,
            Self::Offered,
            Self::Seen,
            Self::Paid,
            Self::Ended,
        ];
        let found = all.into_iter().find(|stage| stage.as_str() == name);
        found.ok_or_else(|| ClientError::StoreCorrupt {
            what: "a guest's part",
            why: format!("{name:?} is no stage"),
        })
    }
}

/// Where a guest's part can be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GuestPlace {
    /// The payment hash of the invoice, or the address.
    pub place: String,
    /// The invoice itself.
    pub invoice: Option<String>,
    /// The block of the chain before which nothing came to the address.
    pub since_block: u32,
    /// What it costs there, in millisatoshis.
    pub price: u64,
    /// Until when it can be paid, Unix milliseconds.
    pub until: u64,
}

/// A part that a guest pays.
#[derive(Clone, Debug)]
pub(crate) struct GuestRow {
    pub id: RecordId,
    /// The request's name.
    pub request: RecordId,
    /// The plugin whose page the guest looks at: its key.
    pub plugin: String,
    /// What the guest calls themselves.
    pub name: Option<String>,
    pub way: GuestWay,
    /// The rail that is paid.
    pub rail: String,
    /// What is kept for it, in minor units of the request.
    pub amount: Amount,
    pub stage: GuestStage,
    /// What the plugin was told last.
    pub told: Option<GuestStage>,
    pub place: Option<GuestPlace>,
    /// Why it is not to be paid any more: a code.
    pub reason: Option<String>,
    pub created_at: u64,
    pub changed_at: u64,
}

struct Columns {
    id: String,
    request: String,
    plugin: String,
    name: Option<String>,
    way: String,
    rail: String,
    amount: i64,
    stage: String,
    told: Option<String>,
    place: Option<String>,
    invoice: Option<String>,
    since: i64,
    price: Option<i64>,
    until: Option<i64>,
    reason: Option<String>,
    created_at: i64,
    changed_at: i64,
}

impl TryFrom<Columns> for GuestRow {
    type Error = ClientError;

    fn try_from(row: Columns) -> Result<Self, ClientError> {
        let way = GuestWay::read(&row.way).ok_or_else(|| ClientError::StoreCorrupt {
            what: "a guest's part",
            why: format!("{:?} is no way to pay", row.way),
        })?;
        let place = match (row.place, row.price, row.until) {
            (Some(place), Some(price), Some(until)) => Some(GuestPlace {
                place,
                invoice: row.invoice,
                since_block: u32::try_from(row.since).unwrap_or(0),
                price: from_sql(price),
                until: from_sql(until),
            }),
            _ => None,
        };
        Ok(Self {
            id: parse_own(&row.id, "a guest's part")?,
            request: parse_own(&row.request, "a request's name")?,
            plugin: row.plugin,
            name: row.name,
            way,
            rail: row.rail,
            amount: Amount::from_minor(from_sql(row.amount))?,
            stage: GuestStage::read(&row.stage)?,
            told: row.told.as_deref().map(GuestStage::read).transpose()?,
            place,
            reason: row.reason,
            created_at: from_sql(row.created_at),
            changed_at: from_sql(row.changed_at),
        })
    }
}

/// Keeps a guest's part. What it is never changes; how far it is does.
pub(crate) async fn put(conn: &mut SqliteConnection, row: &GuestRow) -> Result<(), ClientError> {
    let (id, request) = (row.id.to_string(), row.request.to_string());
    let (way, stage) = (row.way.as_str(), row.stage.as_str());
    let told = row.told.map(GuestStage::as_str);
    let amount = to_sql(row.amount.minor());
    let place = row.place.as_ref();
    let at = place.map(|place| place.place.as_str());
    let invoice = place.and_then(|place| place.invoice.as_deref());
    let since = place.map_or(0, |place| place.since_block);
    let price = place.map(|place| to_sql(place.price));
    let until = place.map(|place| to_sql(place.until));
    let (created, changed) = (to_sql(row.created_at), to_sql(row.changed_at));
    sqlx::query!(
        "INSERT INTO guest (id, request, plugin, name, way, rail, amount, stage, told, place, invoice, since, price, until, reason, created_at, changed_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET stage = excluded.stage, told = excluded.told, place = excluded.place, invoice = excluded.invoice,
             since = excluded.since, price = excluded.price, until = excluded.until, reason = excluded.reason, changed_at = excluded.changed_at",
        id,
        request,
        row.plugin,
        row.name,
        way,
        row.rail,
        amount,
        stage,
        told,
        at,
        invoice,
        since,
        price,
        until,
        row.reason,
        created,
        changed
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The part of this name.
pub(crate) async fn get(
    conn: &mut SqliteConnection,
    id: &RecordId,
) -> Result<Option<GuestRow>, ClientError> {
    let id = id.to_string();
    let row = sqlx::query_as!(
        Columns,
        "SELECT id, request, plugin, name, way, rail, amount, stage, told, place, invoice, since, price, until, reason, created_at, changed_at
         FROM guest WHERE id = ?",
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(GuestRow::try_from).transpose()
}

/// The parts for which something is kept, oldest first, at most `limit`.
pub(crate) async fn open(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<GuestRow>, ClientError> {
    let rows = sqlx::query_as!(
        Columns,
        "SELECT id, request, plugin, name, way, rail, amount, stage, told, place, invoice, since, price, until, reason, created_at, changed_at
         FROM guest WHERE stage IN ('kept', 'offered', 'seen') ORDER BY created_at, id LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(GuestRow::try_from).collect()
}

/// The addresses that were not paid in time and were given out since then: money may still come there.
pub(crate) async fn late(
    conn: &mut SqliteConnection,
    since: u64,
    limit: u32,
) -> Result<Vec<GuestRow>, ClientError> {
    let since = to_sql(since);
    let rows = sqlx::query_as!(
        Columns,
        "SELECT id, request, plugin, name, way, rail, amount, stage, told, place, invoice, since, price, until, reason, created_at, changed_at
         FROM guest WHERE stage = 'ended' AND way = 'onchain' AND place IS NOT NULL AND created_at >= ? ORDER BY created_at, id LIMIT ?",
        since,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(GuestRow::try_from).collect()
}

/// The parts of which the plugin is still to be told, oldest first, at most `limit`.
pub(crate) async fn untold(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<GuestRow>, ClientError> {
    let rows = sqlx::query_as!(
        Columns,
        "SELECT id, request, plugin, name, way, rail, amount, stage, told, place, invoice, since, price, until, reason, created_at, changed_at
         FROM guest WHERE stage <> 'kept' AND (told IS NULL OR told <> stage) ORDER BY created_at, id LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(GuestRow::try_from).collect()
}

/// The guests' parts of a request for which something is kept, newest first, at most `limit`.
pub(crate) async fn of_request(
    conn: &mut SqliteConnection,
    request: &RecordId,
    limit: u32,
) -> Result<Vec<GuestRow>, ClientError> {
    let request = request.to_string();
    let rows = sqlx::query_as!(
        Columns,
        "SELECT id, request, plugin, name, way, rail, amount, stage, told, place, invoice, since, price, until, reason, created_at, changed_at
         FROM guest WHERE request = ? AND stage IN ('kept', 'offered', 'seen') ORDER BY created_at DESC, id LIMIT ?",
        request,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(GuestRow::try_from).collect()
}

/// Whether something is kept for a guest who pays by this rail.
pub(crate) async fn any_by_rail(
    conn: &mut SqliteConnection,
    rail: &str,
) -> Result<bool, ClientError> {
    let row = sqlx::query!(
        "SELECT id FROM guest WHERE rail = ? AND stage IN ('kept', 'offered', 'seen') LIMIT 1",
        rail
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Forgets what ended before then and of which the plugin knows. What was paid stands in the request's receipts.
pub(crate) async fn forget(conn: &mut SqliteConnection, before: u64) -> Result<(), ClientError> {
    let before = to_sql(before);
    sqlx::query!(
        "DELETE FROM guest WHERE stage IN ('paid', 'ended') AND told = stage AND changed_at < ?",
        before
    )
    .execute(conn)
    .await?;
    Ok(())
}
