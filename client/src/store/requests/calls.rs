//! Rules that call debts in, since when debts stand, and what was called.

use atomicity_ledger::record::Target;
use atomicity_ledger::{RecordId, Unit, UserKey};
use sqlx::SqliteConnection;

use super::super::{from_sql, json_in, json_out, parse_own, to_sql};
use crate::error::ClientError;

/// When debts are called in.
#[derive(Clone, Debug)]
pub(crate) struct CallRow {
    pub id: i64,
    /// One friend, or those with a tag; all if neither.
    pub user: Option<UserKey>,
    pub tag: Option<String>,
    /// Only debts in this unit.
    pub unit: Option<Unit>,
    /// More than this is owed.
    pub over: Option<u64>,
    /// It is owed for longer than this, milliseconds.
    pub after_ms: Option<u64>,
    /// Other ways to pay.
    pub targets: Vec<Target>,
    pub created_at: u64,
}

/// Keeps a new rule and returns its number.
pub(crate) async fn add(conn: &mut SqliteConnection, row: &CallRow) -> Result<i64, ClientError> {
    let user = row.user.map(|user| user.to_string());
    let unit = row.unit.as_ref().map(ToString::to_string);
    let (over, after) = (row.over.map(to_sql), row.after_ms.map(to_sql));
    let (targets, created) = (json_out(&row.targets)?, to_sql(row.created_at));
    let done = sqlx::query!(
        "INSERT INTO call_rule (user, tag, unit, over, after_ms, targets, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        user,
        row.tag,
        unit,
        over,
        after,
        targets,
        created
    )
    .execute(conn)
    .await?;
    Ok(done.last_insert_rowid())
}

/// Forgets a rule. False if there is none.
pub(crate) async fn remove(conn: &mut SqliteConnection, id: i64) -> Result<bool, ClientError> {
    let done = sqlx::query!("DELETE FROM call_rule WHERE id = ?", id)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// All rules, in the order in which they were made.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<CallRow>, ClientError> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id!", user, tag, unit, over, after_ms, targets, created_at FROM call_rule ORDER BY id"#
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let (user, unit) = (row.user.as_deref(), row.unit.as_deref());
            Ok(CallRow {
                id: row.id,
                user: user
                    .map(|text| parse_own(text, "a friend's key"))
                    .transpose()?,
                tag: row.tag,
                unit: unit.map(|text| parse_own(text, "a unit")).transpose()?,
                over: row.over.map(from_sql),
                after_ms: row.after_ms.map(from_sql),
                targets: json_in(&row.targets, "ways to pay")?,
                created_at: from_sql(row.created_at),
            })
        })
        .collect()
}

/// Notes that a friend owes something, or nothing any more: since when is kept until it ends.
pub(crate) async fn note_debt(
    conn: &mut SqliteConnection,
    user: &UserKey,
    unit: &Unit,
    owes: bool,
    now: u64,
) -> Result<(), ClientError> {
    let (user, unit, now) = (user.to_string(), unit.to_string(), to_sql(now));
    if owes {
        sqlx::query!(
            "INSERT INTO debt (user, unit, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            user,
            unit,
            now
        )
        .execute(conn)
        .await?;
    } else {
        sqlx::query!("DELETE FROM debt WHERE user = ? AND unit = ?", user, unit)
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Since when a friend owes something, Unix milliseconds.
pub(crate) async fn owes_since(
    conn: &mut SqliteConnection,
    user: &UserKey,
    unit: &Unit,
) -> Result<Option<u64>, ClientError> {
    let (user, unit) = (user.to_string(), unit.to_string());
    let row = sqlx::query!(
        "SELECT since FROM debt WHERE user = ? AND unit = ?",
        user,
        unit
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| from_sql(row.since)))
}

/// The request by which a debt was called in that is not settled.
pub(crate) async fn called(
    conn: &mut SqliteConnection,
    user: &UserKey,
    unit: &Unit,
) -> Result<Option<RecordId>, ClientError> {
    let (user, unit) = (user.to_string(), unit.to_string());
    let row = sqlx::query!(
        "SELECT request FROM called WHERE user = ? AND unit = ?",
        user,
        unit
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| parse_own(&row.request, "a request's name"))
        .transpose()
}

/// Notes that a debt is called in.
pub(crate) async fn put_called(
    conn: &mut SqliteConnection,
    user: &UserKey,
    unit: &Unit,
    request: &RecordId,
    now: u64,
) -> Result<(), ClientError> {
    let (user, unit) = (user.to_string(), unit.to_string());
    let (request, now) = (request.to_string(), to_sql(now));
    sqlx::query!(
        "INSERT INTO called (user, unit, request, at) VALUES (?, ?, ?, ?)",
        user,
        unit,
        request,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that a debt that was called in is settled: it is called again when a rule holds anew.
pub(crate) async fn settled(
    conn: &mut SqliteConnection,
    user: &UserKey,
    unit: &Unit,
) -> Result<(), ClientError> {
    let (user, unit) = (user.to_string(), unit.to_string());
    sqlx::query!("DELETE FROM called WHERE user = ? AND unit = ?", user, unit)
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether no debt is called in.
pub(crate) async fn none_called(conn: &mut SqliteConnection) -> Result<bool, ClientError> {
    let row = sqlx::query!(r#"SELECT count(*) AS "n!: i64" FROM called"#)
        .fetch_one(conn)
        .await?;
    Ok(row.n == 0)
}
