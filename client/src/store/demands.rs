//! Debts that are paid off outside: what this user asked friends to pay.

use atomicity_ledger::settle::Demand;
use atomicity_ledger::{PaymentHash, Preimage, RecordHash, RecordId, Unit, UserKey};
use sqlx::SqliteConnection;

use super::settlements::reserved;
use super::{from_sql, json_in, json_out, parse_own, to_sql};
use crate::error::ClientError;

/// What this user asked a friend to pay.
#[derive(Clone, Debug)]
pub(crate) struct DemandRow {
    pub user: UserKey,
    pub demand: Demand,
    /// What was shown for it.
    pub preimage: Option<Preimage>,
    /// When it is sent again, Unix milliseconds.
    pub next_at: u64,
    /// How often it was sent again.
    pub tries: u64,
    pub created_at: u64,
    pub ended_at: Option<u64>,
}

struct DemandColumns {
    user: String,
    body: String,
    preimage: Option<String>,
    next_at: i64,
    tries: i64,
    created_at: i64,
    ended_at: Option<i64>,
}

impl TryFrom<DemandColumns> for DemandRow {
    type Error = ClientError;

    fn try_from(row: DemandColumns) -> Result<Self, ClientError> {
        Ok(Self {
            user: parse_own(&row.user, "a friend's key")?,
            demand: json_in(&row.body, "a request to settle")?,
            preimage: row
                .preimage
                .map(|text| parse_own(&text, "a preimage"))
                .transpose()?,
            next_at: from_sql(row.next_at),
            tries: from_sql(row.tries),
            created_at: from_sql(row.created_at),
            ended_at: row.ended_at.map(from_sql),
        })
    }
}

/// Keeps what this user asks for. `hash`: what its direct release hangs on.
pub(crate) async fn put(
    conn: &mut SqliteConnection,
    row: &DemandRow,
    hash: Option<&PaymentHash>,
) -> Result<(), ClientError> {
    let asked = row.demand.settlement();
    let record = asked.record();
    let (settlement, id) = (asked.hash().to_string(), record.id.to_string());
    let (user, unit) = (row.user.to_string(), record.unit.to_string());
    let body = json_out(&row.demand)?;
    let reserves = reserved(row.demand.reserves());
    let release = record.release.map(|iou| iou.to_string());
    let hash = hash.map(ToString::to_string);
    let preimage = row.preimage.map(String::from);
    let (held, over) = (row.demand.is_held(), row.demand.is_over());
    let (next_at, tries) = (to_sql(row.next_at), to_sql(row.tries));
    let (created_at, ended_at) = (to_sql(row.created_at), row.ended_at.map(to_sql));
    sqlx::query!(
        "INSERT INTO demand (settlement, id, user, unit, body, reserves, release, hash, preimage, held, over, next_at, tries, created_at, ended_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (settlement) DO UPDATE SET body = excluded.body, reserves = excluded.reserves, preimage = excluded.preimage,
             held = excluded.held, over = excluded.over, next_at = excluded.next_at, tries = excluded.tries, ended_at = excluded.ended_at",
        settlement,
        id,
        user,
        unit,
        body,
        reserves,
        release,
        hash,
        preimage,
        held,
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

/// The demand with this request.
pub(crate) async fn get(
    conn: &mut SqliteConnection,
    settlement: &RecordHash,
) -> Result<Option<DemandRow>, ClientError> {
    let settlement = settlement.to_string();
    let row = sqlx::query_as!(
        DemandColumns,
        "SELECT user, body, preimage, next_at, tries, created_at, ended_at FROM demand WHERE settlement = ?",
        settlement
    )
    .fetch_optional(conn)
    .await?;
    row.map(DemandRow::try_from).transpose()
}

/// The demand with this name.
pub(crate) async fn named(
    conn: &mut SqliteConnection,
    id: &RecordId,
) -> Result<Option<DemandRow>, ClientError> {
    let id = id.to_string();
    let row = sqlx::query_as!(
        DemandColumns,
        "SELECT user, body, preimage, next_at, tries, created_at, ended_at FROM demand WHERE id = ?",
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(DemandRow::try_from).transpose()
}

/// Who was asked for something that they have not decided.
pub(crate) async fn asked(conn: &mut SqliteConnection) -> Result<Vec<UserKey>, ClientError> {
    let users =
        sqlx::query_scalar!("SELECT DISTINCT user FROM demand WHERE over = 0 ORDER BY user")
            .fetch_all(conn)
            .await?;
    users
        .iter()
        .map(|user| parse_own(user, "a friend's key"))
        .collect()
}

/// Who paid something that this user asked for.
pub(crate) async fn payers(conn: &mut SqliteConnection) -> Result<Vec<UserKey>, ClientError> {
    let users = sqlx::query_scalar!(
        "SELECT DISTINCT user FROM demand WHERE preimage IS NOT NULL ORDER BY user"
    )
    .fetch_all(conn)
    .await?;
    users
        .iter()
        .map(|user| parse_own(user, "a friend's key"))
        .collect()
}

/// The demand with this direct release.
pub(crate) async fn with_release(
    conn: &mut SqliteConnection,
    release: &RecordHash,
) -> Result<Option<DemandRow>, ClientError> {
    let release = release.to_string();
    let row = sqlx::query_as!(
        DemandColumns,
        "SELECT user, body, preimage, next_at, tries, created_at, ended_at FROM demand WHERE release = ?",
        release
    )
    .fetch_optional(conn)
    .await?;
    row.map(DemandRow::try_from).transpose()
}

/// The newest demands, at most `limit`.
pub(crate) async fn list(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<DemandRow>, ClientError> {
    let rows = sqlx::query_as!(
        DemandColumns,
        "SELECT user, body, preimage, next_at, tries, created_at, ended_at FROM demand ORDER BY created_at DESC, id LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(DemandRow::try_from).collect()
}

/// Demands that are not over and due to be sent again, at most `limit`.
pub(crate) async fn due(
    conn: &mut SqliteConnection,
    now: u64,
    limit: u32,
) -> Result<Vec<DemandRow>, ClientError> {
    let now = to_sql(now);
    let rows = sqlx::query_as!(
        DemandColumns,
        "SELECT user, body, preimage, next_at, tries, created_at, ended_at FROM demand WHERE over = 0 AND next_at <= ?
         ORDER BY next_at, id LIMIT ?",
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(DemandRow::try_from).collect()
}

/// The demands on a friend that are not over.
pub(crate) async fn open_with(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<Vec<DemandRow>, ClientError> {
    let user = user.to_string();
    let rows = sqlx::query_as!(
        DemandColumns,
        "SELECT user, body, preimage, next_at, tries, created_at, ended_at FROM demand
         WHERE user = ? AND over = 0 ORDER BY created_at, id",
        user
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(DemandRow::try_from).collect()
}

/// What demands on a friend keep of the claim without a direct release, in minor units.
pub(crate) async fn reserved_of(
    conn: &mut SqliteConnection,
    user: &UserKey,
    unit: &Unit,
) -> Result<u64, ClientError> {
    let (user, unit) = (user.to_string(), unit.to_string());
    let row = sqlx::query!(
        r#"SELECT coalesce(sum(reserves), 0) AS "sum!: i64" FROM demand WHERE user = ? AND unit = ? AND over = 0"#,
        user,
        unit
    )
    .fetch_one(conn)
    .await?;
    Ok(from_sql(row.sum))
}
