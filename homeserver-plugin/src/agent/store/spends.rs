//! What the keys of payment accounts asked for, and what became of it.

use atomicity_ledger::record::Spend;
use atomicity_ledger::{Record as _, Signed, SignerKey, UserKey};
use sqlx::{PgPool, Postgres, Transaction};

use crate::error::PluginError;

/// One spend.
#[derive(Clone, Debug)]
pub struct SpendRow {
    /// Its name.
    pub id: String,
    /// The account.
    pub key: SignerKey,
    /// When it was taken.
    pub at: i64,
    /// The day (UTC) on which it counts.
    pub day: i64,
    /// What the account signed.
    pub record: String,
    /// In what.
    pub unit: String,
    /// What is to arrive, in minor units.
    pub amount: i64,
    /// What counts against the limits.
    pub cost: i64,
    /// From then on nobody begins to pay.
    pub expires: i64,
    /// Whether the agent signed it itself.
    pub direct: bool,
    /// `waiting`, `paying`, `unknown`, `paid`, `failed`.
    pub state: String,
    /// Why it failed.
    pub reason: Option<String>,
    /// What it cost beyond the amount.
    pub fee: i64,
    /// What shows that it was paid, JSON.
    pub receipt: Option<String>,
    /// When it ended.
    pub ended_at: Option<i64>,
}

impl SpendRow {
    /// What the account signed.
    ///
    /// # Errors
    /// [`PluginError::Internal`].
    pub fn signed(&self) -> Result<Signed<Spend>, PluginError> {
        Signed::decode(&self.record)
            .map_err(|error| PluginError::Internal(format!("a stored {}: {error}", Spend::TYP)))
    }
}

macro_rules! row {
    ($row:expr) => {{
        let row = $row;
        Ok::<_, PluginError>(SpendRow {
            id: row.id,
            key: super::super::signer(&row.key)?,
            at: row.at,
            day: row.day,
            record: row.record,
            unit: row.unit,
            amount: row.amount,
            cost: row.cost,
            expires: row.expires,
            direct: row.direct,
            state: row.state,
            reason: row.reason,
            fee: row.fee,
            receipt: row.receipt,
            ended_at: row.ended_at,
        })
    }};
}

/// The spend of this name.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn spend_of(
    pool: &PgPool,
    owner: &UserKey,
    id: &str,
) -> Result<Option<SpendRow>, PluginError> {
    let row = sqlx::query!(
        "SELECT id, key, at, day, record, unit, amount, cost, expires, direct, state, reason, fee, receipt, ended_at
         FROM agent_spends WHERE owner = $1 AND id = $2",
        owner.as_bytes(),
        id
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| row!(row)).transpose()
}

/// The same in a transaction that has its account locked.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn locked_spend(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    id: &str,
) -> Result<Option<SpendRow>, PluginError> {
    let row = sqlx::query!(
        "SELECT id, key, at, day, record, unit, amount, cost, expires, direct, state, reason, fee, receipt, ended_at
         FROM agent_spends WHERE owner = $1 AND id = $2 FOR UPDATE",
        owner.as_bytes(),
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| row!(row)).transpose()
}

/// What is wanted of a list of spends.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Only of this account.
    pub key: Option<&'a SignerKey>,
    /// Only what has not ended.
    pub open: bool,
    /// Only what is older than the one of this name.
    pub after: Option<&'a str>,
}

/// The spends of a user, newest first.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn list_spends(
    pool: &PgPool,
    owner: &UserKey,
    wanted: Wanted<'_>,
    limit: i64,
) -> Result<Vec<SpendRow>, PluginError> {
    let key = wanted.key.map(|key| key.as_bytes().as_slice());
    let rows = sqlx::query!(
        "SELECT id, key, at, day, record, unit, amount, cost, expires, direct, state, reason, fee, receipt, ended_at
         FROM agent_spends
         WHERE owner = $1 AND ($2::bytea IS NULL OR key = $2) AND (NOT $3 OR ended_at IS NULL)
             AND ($4::text IS NULL OR (at, id) < (SELECT at, id FROM agent_spends WHERE owner = $1 AND id = $4))
         ORDER BY at DESC, id DESC LIMIT $5",
        owner.as_bytes(),
        key,
        wanted.open,
        wanted.after,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| row!(row)).collect()
}

/// How many spends of an account have not ended. The account is locked.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn open_spends(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    key: &SignerKey,
) -> Result<i64, PluginError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM agent_spends WHERE owner = $1 AND key = $2 AND ended_at IS NULL"#,
        owner.as_bytes(),
        key.as_bytes()
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// Keeps a new spend, unless one of this name is there. Returns whether it is kept.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn add_spend(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    row: &SpendRow,
    hash: &[u8; 32],
) -> Result<bool, PluginError> {
    let done = sqlx::query!(
        "INSERT INTO agent_spends (owner, id, key, at, day, record, hash, unit, amount, cost, expires, direct, state, receipt, ended_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING",
        owner.as_bytes(),
        row.id,
        row.key.as_bytes(),
        row.at,
        row.day,
        row.record,
        hash,
        row.unit,
        row.amount,
        row.cost,
        row.expires,
        row.direct,
        row.state,
        row.receipt,
        row.ended_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Stores what became of a spend.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn put_spend(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    row: &SpendRow,
) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE agent_spends SET state = $3, reason = $4, cost = $5, fee = $6, receipt = $7, ended_at = $8
         WHERE owner = $1 AND id = $2",
        owner.as_bytes(),
        row.id,
        row.state,
        row.reason,
        row.cost,
        row.fee,
        row.receipt,
        row.ended_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends what nobody took up in time, on the account that is locked. Returns what had been counted, and on which day.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn expire_spends(
    tx: &mut Transaction<'_, Postgres>,
    owner: &UserKey,
    key: &SignerKey,
    now: i64,
) -> Result<Vec<(i64, i64)>, PluginError> {
    let rows = sqlx::query!(
        "WITH late AS (
             SELECT id, day, cost FROM agent_spends
             WHERE owner = $1 AND key = $2 AND state = 'waiting' AND expires <= $3 FOR UPDATE
         ), done AS (
             UPDATE agent_spends s SET state = 'failed', reason = 'spend_expired', cost = 0, ended_at = $3
             FROM late WHERE s.owner = $1 AND s.id = late.id
         )
         SELECT day, cost FROM late",
        owner.as_bytes(),
        key.as_bytes(),
        now
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.day, row.cost)).collect())
}

/// Forgets what ended long ago and could not be asked for again.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn forget_spends(pool: &PgPool, before: i64, now: i64) -> Result<(), PluginError> {
    sqlx::query!(
        "DELETE FROM agent_spends WHERE ended_at < $1 AND expires < $2",
        before,
        now
    )
    .execute(pool)
    .await?;
    Ok(())
}
