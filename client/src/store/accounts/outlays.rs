//! What accounts have paid outside, by the user's rails.

use atomicity_ledger::settle::Outlay;
use atomicity_ledger::{RecordId, SignerKey};
use sqlx::SqliteConnection;

use super::super::rails::OwnRate;
use super::super::{json_in, json_out, parse_own, to_sql};
use super::SpendStage;
use crate::error::ClientError;

/// Says at which rate places outside are paid for an account.
pub(crate) async fn set_rate(
    conn: &mut SqliteConnection,
    key: &SignerKey,
    rate: OwnRate,
) -> Result<(), ClientError> {
    let (key, rate_msat) = (key.to_string(), rate.msat.map(to_sql));
    sqlx::query!(
        "UPDATE account SET rate_msat = ?, spread_ppm = ?, by_source = ? WHERE key = ?",
        rate_msat,
        rate.spread_ppm,
        rate.by_source,
        key
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps how far the payment outside is, and the spend with it, if nothing has ended it. `told`: whether the agent knows of the stage.
/// It is looked at again at once.
pub(crate) async fn put_outlay(
    conn: &mut SqliteConnection,
    id: &RecordId,
    outlay: &Outlay,
    (stage, told): (SpendStage, bool),
) -> Result<bool, ClientError> {
    let (id, body, state) = (id.to_string(), json_out(outlay)?, stage.as_str());
    let done = sqlx::query!(
        "UPDATE account_spend SET outlay = ?, state = ?, told = ?, next_at = 0, tries = 0
         WHERE id = ? AND state IN ('claimed', 'paying', 'unknown')",
        body,
        state,
        told,
        id
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that it was paid outside. `receipt` is what shows it, JSON.
pub(crate) async fn outlay_paid(
    conn: &mut SqliteConnection,
    id: &RecordId,
    (outlay, receipt): (&Outlay, &str),
    now: u64,
) -> Result<bool, ClientError> {
    let (id, body, now) = (id.to_string(), json_out(outlay)?, to_sql(now));
    let done = sqlx::query!(
        "UPDATE account_spend SET outlay = ?, state = 'paid', told = 0, fee = 0, cost = amount, receipt = ?, ended_at = ?
         WHERE id = ? AND state IN ('claimed', 'paying', 'unknown')",
        body,
        receipt,
        now,
        id
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that it was not paid outside and will not be: it counts no more.
pub(crate) async fn outlay_failed(
    conn: &mut SqliteConnection,
    id: &RecordId,
    (outlay, reason): (&Outlay, &str),
    now: u64,
) -> Result<bool, ClientError> {
    let (id, body, now) = (id.to_string(), json_out(outlay)?, to_sql(now));
    let done = sqlx::query!(
        "UPDATE account_spend SET outlay = ?, state = 'failed', told = 0, cost = 0, reason = ?, ended_at = ?
         WHERE id = ? AND state IN ('claimed', 'paying', 'unknown')",
        body,
        reason,
        now,
        id
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Looks at it again then.
pub(crate) async fn put_off(
    conn: &mut SqliteConnection,
    id: &RecordId,
    (next_at, tries): (u64, u64),
) -> Result<(), ClientError> {
    let (id, next_at, tries) = (id.to_string(), to_sql(next_at), to_sql(tries));
    sqlx::query!(
        "UPDATE account_spend SET next_at = ?, tries = ? WHERE id = ?",
        next_at,
        tries,
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What is to be paid outside, or looked up there, and due by `now`. What the agent was not told of yet is not begun.
pub(crate) async fn open_outlays(
    conn: &mut SqliteConnection,
    now: u64,
    limit: u32,
) -> Result<Vec<RecordId>, ClientError> {
    let now = to_sql(now);
    let rows = sqlx::query!(
        "SELECT id FROM account_spend WHERE outlay IS NOT NULL AND ended_at IS NULL AND next_at <= ?
             AND (told = 1 OR state <> 'claimed') ORDER BY next_at, id LIMIT ?",
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| parse_own(&row.id, "a spend's id"))
        .collect()
}

/// Whether this rail may have something open for an account.
pub(crate) async fn any_by_rail(
    conn: &mut SqliteConnection,
    rail: &str,
) -> Result<bool, ClientError> {
    let rows = sqlx::query!(
        r#"SELECT outlay AS "outlay!: String" FROM account_spend WHERE outlay IS NOT NULL AND ended_at IS NULL"#
    )
    .fetch_all(conn)
    .await?;
    for row in &rows {
        let outlay: Outlay = json_in(&row.outlay, "what is paid outside for an account")?;
        let mut ways = outlay.plan().ways.iter();
        if ways.any(|way| way.rail.as_str() == rail) {
            return Ok(true);
        }
    }
    Ok(false)
}
