//! Debts that are paid off outside: what friends asked of this user, and the payment hashes that are taken.

use atomicity_ledger::settle::Discharge;
use atomicity_ledger::{Amount, PaymentHash, RecordHash, RecordId, UserKey};
use sqlx::SqliteConnection;

use super::{from_sql, json_in, json_out, parse_own, to_sql};
use crate::error::ClientError;

/// What a friend asked this user to pay.
#[derive(Clone, Debug)]
pub(crate) struct DischargeRow {
    pub user: UserKey,
    pub discharge: Discharge,
    /// Whether the direct release that it names is its own to give up.
    pub owns_release: bool,
    /// Whether the user agreed to pay what it says.
    pub approved: bool,
    /// Whether the holder's books said that it was paid before the rail did.
    pub confirmed: bool,
    /// When it is looked at again, Unix milliseconds.
    pub next_at: u64,
    /// How often nothing came of that.
    pub tries: u64,
    pub created_at: u64,
    pub ended_at: Option<u64>,
}

struct DischargeColumns {
    user: String,
    body: String,
    release: Option<String>,
    approved: i64,
    confirmed: i64,
    next_at: i64,
    tries: i64,
    created_at: i64,
    ended_at: Option<i64>,
}

impl TryFrom<DischargeColumns> for DischargeRow {
    type Error = ClientError;

    fn try_from(row: DischargeColumns) -> Result<Self, ClientError> {
        Ok(Self {
            user: parse_own(&row.user, "a friend's key")?,
            discharge: json_in(&row.body, "a friend's request to settle")?,
            owns_release: row.release.is_some(),
            approved: row.approved != 0,
            confirmed: row.confirmed != 0,
            next_at: from_sql(row.next_at),
            tries: from_sql(row.tries),
            created_at: from_sql(row.created_at),
            ended_at: row.ended_at.map(from_sql),
        })
    }
}

pub(super) fn reserved(amount: Option<Amount>) -> i64 {
    to_sql(amount.map_or(0, Amount::minor))
}

/// Keeps what a friend asks for.
pub(crate) async fn put_discharge(
    conn: &mut SqliteConnection,
    row: &DischargeRow,
) -> Result<(), ClientError> {
    let asked = row.discharge.settlement();
    let record = asked.record();
    let (settlement, id) = (asked.hash().to_string(), record.id.to_string());
    let (user, unit) = (row.user.to_string(), record.unit.to_string());
    let body = json_out(&row.discharge)?;
    let reserves = reserved(row.discharge.reserves());
    let own = record.release.filter(|_| row.owns_release);
    let release = own.map(|iou| iou.to_string());
    let over = row.discharge.is_over();
    let (next_at, tries) = (to_sql(row.next_at), to_sql(row.tries));
    let (created_at, ended_at) = (to_sql(row.created_at), row.ended_at.map(to_sql));
    sqlx::query!(
        "INSERT INTO discharge (settlement, id, user, unit, body, reserves, release, approved, confirmed, over, next_at, tries, created_at, ended_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (settlement) DO UPDATE SET body = excluded.body, reserves = excluded.reserves, approved = excluded.approved,
             confirmed = excluded.confirmed, over = excluded.over, next_at = excluded.next_at, tries = excluded.tries, ended_at = excluded.ended_at",
        settlement,
        id,
        user,
        unit,
        body,
        reserves,
        release,
        row.approved,
        row.confirmed,
        over,
        next_at,
        tries,
        created_at,
        ended_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The discharge of this request.
pub(crate) async fn discharge(
    conn: &mut SqliteConnection,
    settlement: &RecordHash,
) -> Result<Option<DischargeRow>, ClientError> {
    let settlement = settlement.to_string();
    let row = sqlx::query_as!(
        DischargeColumns,
        "SELECT user, body, release, approved, confirmed, next_at, tries, created_at, ended_at FROM discharge WHERE settlement = ?",
        settlement
    )
    .fetch_optional(conn)
    .await?;
    row.map(DischargeRow::try_from).transpose()
}

/// The discharges of this name; each friend has at most one that was not a repeat.
pub(crate) async fn discharges_named(
    conn: &mut SqliteConnection,
    id: &RecordId,
) -> Result<Vec<DischargeRow>, ClientError> {
    let id = id.to_string();
    let rows = sqlx::query_as!(
        DischargeColumns,
        "SELECT user, body, release, approved, confirmed, next_at, tries, created_at, ended_at FROM discharge WHERE id = ?
         ORDER BY created_at LIMIT 100",
        id
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(DischargeRow::try_from).collect()
}

/// The discharge with this direct release.
pub(crate) async fn discharge_with(
    conn: &mut SqliteConnection,
    release: &RecordHash,
) -> Result<Option<DischargeRow>, ClientError> {
    let release = release.to_string();
    let row = sqlx::query_as!(
        DischargeColumns,
        "SELECT user, body, release, approved, confirmed, next_at, tries, created_at, ended_at FROM discharge WHERE release = ?",
        release
    )
    .fetch_optional(conn)
    .await?;
    row.map(DischargeRow::try_from).transpose()
}

/// The newest discharges, at most `limit`.
pub(crate) async fn discharges(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<DischargeRow>, ClientError> {
    let rows = sqlx::query_as!(
        DischargeColumns,
        "SELECT user, body, release, approved, confirmed, next_at, tries, created_at, ended_at FROM discharge
         ORDER BY created_at DESC, id LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(DischargeRow::try_from).collect()
}

/// The discharges of a friend that are not over.
pub(crate) async fn open_with(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<Vec<DischargeRow>, ClientError> {
    let user = user.to_string();
    let rows = sqlx::query_as!(
        DischargeColumns,
        "SELECT user, body, release, approved, confirmed, next_at, tries, created_at, ended_at FROM discharge
         WHERE user = ? AND over = 0 ORDER BY created_at, id",
        user
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(DischargeRow::try_from).collect()
}

/// The discharges that are not over and due to be looked at, at most `limit`.
pub(crate) async fn discharges_due(
    conn: &mut SqliteConnection,
    now: u64,
    limit: u32,
) -> Result<Vec<RecordHash>, ClientError> {
    let now = to_sql(now);
    let rows = sqlx::query!(
        "SELECT settlement FROM discharge WHERE over = 0 AND next_at <= ? ORDER BY next_at, id LIMIT ?",
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| parse_own(&row.settlement, "a request's hash"))
        .collect()
}

/// How many requests of a friend are kept.
pub(crate) async fn count_of(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<u64, ClientError> {
    let user = user.to_string();
    let row = sqlx::query!(
        r#"SELECT count(*) AS "n!: i64" FROM discharge WHERE user = ?"#,
        user
    )
    .fetch_one(conn)
    .await?;
    Ok(from_sql(row.n))
}

/// Whether another request of the friend had this name.
pub(crate) async fn id_used(
    conn: &mut SqliteConnection,
    user: &UserKey,
    id: &RecordId,
) -> Result<bool, ClientError> {
    let (user, id) = (user.to_string(), id.to_string());
    let row = sqlx::query!(
        r#"SELECT count(*) AS "n!: i64" FROM discharge WHERE user = ? AND id = ?"#,
        user,
        id
    )
    .fetch_one(conn)
    .await?;
    Ok(row.n > 0)
}

/// Takes a payment hash for a request, for ever. `false` if another one has it.
pub(crate) async fn take_hash(
    conn: &mut SqliteConnection,
    hash: &PaymentHash,
    settlement: &RecordHash,
    now: u64,
) -> Result<bool, ClientError> {
    let (hash, settlement, now) = (hash.to_string(), settlement.to_string(), to_sql(now));
    let done = sqlx::query!(
        "INSERT INTO taken_hash (hash, settlement, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        hash,
        settlement,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether another request than this has taken the hash.
pub(crate) async fn hash_taken(
    conn: &mut SqliteConnection,
    hash: &PaymentHash,
    settlement: &RecordHash,
) -> Result<bool, ClientError> {
    let (hash, settlement) = (hash.to_string(), settlement.to_string());
    let row = sqlx::query!(
        r#"SELECT count(*) AS "n!: i64" FROM taken_hash WHERE hash = ? AND settlement <> ?"#,
        hash,
        settlement
    )
    .fetch_one(conn)
    .await?;
    Ok(row.n > 0)
}
