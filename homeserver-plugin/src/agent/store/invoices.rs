//! Invoices, and what has come for them.

use atomicity_ledger::hop::{Collection, CollectionStage};
use atomicity_ledger::{PaymentHash, UserKey};
use sqlx::{PgPool, Postgres, Transaction};

use crate::error::PluginError;

/// An invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceRow {
    /// The hash of its secret.
    pub hash: PaymentHash,
    /// Its name.
    pub id: String,
    /// When it was made, Unix milliseconds.
    pub created_at: i64,
    /// What was asked for.
    pub digest: Vec<u8>,
    /// The record.
    pub record: String,
    /// The secret, sealed.
    pub sealed: Vec<u8>,
    /// What has come.
    pub collection: Collection,
    /// Whether the user has withdrawn it.
    pub withdrawn: bool,
    /// What was published for, or has come, in minor units.
    pub received: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
}

impl InvoiceRow {
    /// How far it is, as it is stored.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.collection.stage() {
            CollectionStage::Open if self.withdrawn => "withdrawn",
            CollectionStage::Open => "open",
            CollectionStage::Publishing => "publishing",
            CollectionStage::Paid { .. } => "paid",
            CollectionStage::Failed => "failed",
        }
    }

    /// When what has come must be given back.
    fn look_at(&self) -> Option<i64> {
        if *self.collection.stage() != CollectionStage::Open {
            return None;
        }
        let left = self.collection.bill().min_left_ms;
        let parts = self.collection.parts().iter();
        let times = parts.map(|part| part.terms.deadline_ms.saturating_sub(left));
        times.min().map(millis)
    }
}

fn millis(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn payment_hash(bytes: &[u8]) -> Result<PaymentHash, PluginError> {
    Ok(PaymentHash::from_bytes(super::bytes32(bytes)?))
}

macro_rules! row {
    ($row:expr) => {{
        let row = $row;
        Ok::<_, PluginError>(InvoiceRow {
            hash: payment_hash(&row.hash)?,
            id: row.id,
            created_at: row.created_at,
            digest: row.digest,
            record: row.record,
            sealed: row.sealed,
            collection: super::parse("what has come for an invoice", &row.collection)?,
            withdrawn: row.state == "withdrawn",
            received: row.received,
            ended_at: row.ended_at,
        })
    }};
}

/// The invoice of a hash, locked.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn lock_invoice(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    hash: &PaymentHash,
) -> Result<Option<InvoiceRow>, PluginError> {
    let row = sqlx::query!(
        "SELECT hash, id, created_at, digest, record, sealed, collection, state, received, ended_at
         FROM agent_invoices WHERE owner = $1 AND hash = $2 FOR UPDATE",
        owner.as_bytes(),
        hash.as_bytes()
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| row!(row)).transpose()
}

/// The invoice of a hash.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn invoice_of(
    pool: &PgPool,
    owner: &UserKey,
    hash: &PaymentHash,
) -> Result<Option<InvoiceRow>, PluginError> {
    let row = sqlx::query!(
        "SELECT hash, id, created_at, digest, record, sealed, collection, state, received, ended_at
         FROM agent_invoices WHERE owner = $1 AND hash = $2",
        owner.as_bytes(),
        hash.as_bytes()
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| row!(row)).transpose()
}

/// The invoice of this name.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn invoice(
    pool: &PgPool,
    owner: &UserKey,
    id: &str,
) -> Result<Option<InvoiceRow>, PluginError> {
    let row = sqlx::query!(
        "SELECT hash, id, created_at, digest, record, sealed, collection, state, received, ended_at
         FROM agent_invoices WHERE owner = $1 AND id = $2",
        owner.as_bytes(),
        id
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| row!(row)).transpose()
}

/// The invoices of a user, newest first, after the one of the name `after`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn list_invoices(
    pool: &PgPool,
    owner: &UserKey,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<InvoiceRow>, PluginError> {
    let rows = sqlx::query!(
        "SELECT hash, id, created_at, digest, record, sealed, collection, state, received, ended_at
         FROM agent_invoices
         WHERE owner = $1 AND ($2::text IS NULL
             OR (created_at, id) < (SELECT created_at, id FROM agent_invoices WHERE owner = $1 AND id = $2))
         ORDER BY created_at DESC, id DESC LIMIT $3",
        owner.as_bytes(),
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| row!(row)).collect()
}

/// Stores a new invoice, unless as many as `most` are open or one of this name or hash is there. Returns whether it is stored.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn add_invoice(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    row: &InvoiceRow,
    most: i64,
) -> Result<bool, PluginError> {
    let collection = super::text(&row.collection)?;
    let expires = millis(row.collection.bill().expires.millis());
    let done = sqlx::query!(
        "INSERT INTO agent_invoices (owner, hash, id, created_at, digest, record, sealed, collection, state, expires)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, 'open', $10
         WHERE (SELECT count(*) FROM agent_invoices WHERE owner = $1 AND state = 'open' AND expires > $4) < $9
         ON CONFLICT DO NOTHING",
        owner.as_bytes(),
        row.hash.as_bytes(),
        row.id,
        row.created_at,
        row.digest,
        row.record,
        row.sealed,
        collection,
        most,
        expires
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Stores what has come, and how far it is.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn put_invoice(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    row: &InvoiceRow,
) -> Result<(), PluginError> {
    let collection = super::text(&row.collection)?;
    sqlx::query!(
        "UPDATE agent_invoices SET collection = $3, state = $4, received = $5, look_at = $6, ended_at = $7
         WHERE owner = $1 AND hash = $2",
        owner.as_bytes(),
        row.hash.as_bytes(),
        collection,
        row.state(),
        row.received,
        row.look_at(),
        row.ended_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Withdraws an invoice for which nothing is published yet. Returns whether it is withdrawn now.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn withdraw(
    pool: &PgPool,
    owner: &UserKey,
    id: &str,
    now: i64,
) -> Result<bool, PluginError> {
    let done = sqlx::query!(
        "UPDATE agent_invoices SET state = 'withdrawn', ended_at = COALESCE(ended_at, $3),
             look_at = CASE WHEN look_at IS NULL THEN NULL ELSE 0 END
         WHERE owner = $1 AND id = $2 AND state IN ('open', 'withdrawn')",
        owner.as_bytes(),
        id,
        now
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether something that this peer promised is collected for an invoice and is not decided.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn is_collecting(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    peer: &UserKey,
) -> Result<bool, PluginError> {
    let rows = sqlx::query_scalar!(
        "SELECT collection FROM agent_invoices
         WHERE owner = $1 AND (state = 'publishing' OR look_at IS NOT NULL)",
        owner.as_bytes()
    )
    .fetch_all(&mut **tx)
    .await?;
    for text in rows {
        let collection: Collection = super::parse("what has come for an invoice", &text)?;
        if collection.neighbours().contains(peer) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Invoices for which too little has come and little time is left.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn late_invoices(
    pool: &PgPool,
    now: i64,
) -> Result<Vec<(UserKey, InvoiceRow)>, PluginError> {
    let rows = sqlx::query!(
        "SELECT owner, hash, id, created_at, digest, record, sealed, collection, state, received, ended_at
         FROM agent_invoices WHERE look_at <= $1 ORDER BY look_at LIMIT 500",
        now
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| Ok((super::key(&row.owner)?, row!(row)?)))
        .collect()
}

/// Invoices whose secret is to be published.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn unpublished(pool: &PgPool, owner: &UserKey) -> Result<Vec<PaymentHash>, PluginError> {
    let rows = sqlx::query_scalar!(
        "SELECT hash FROM agent_invoices WHERE owner = $1 AND state = 'publishing' LIMIT 10000",
        owner.as_bytes()
    )
    .fetch_all(pool)
    .await?;
    rows.iter().map(|hash| payment_hash(hash)).collect()
}
