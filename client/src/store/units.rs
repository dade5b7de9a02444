//! The units that the user opened, with their own cap per friend.

use atomicity_ledger::{Total, Unit};
use sqlx::SqliteConnection;

use super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;

/// A unit in which the user gives and takes credit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUnit {
    /// The unit.
    pub unit: Unit,
    /// What the user may owe one friend in it at most; `None`: no cap of their own.
    pub cap: Option<Total>,
    /// When it was opened, Unix milliseconds.
    pub opened_at: u64,
}

/// All open units, by name.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<OpenUnit>, ClientError> {
    let rows = sqlx::query!("SELECT unit, cap, opened_at FROM unit ORDER BY unit")
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok(OpenUnit {
                unit: parse_own(&row.unit, "a unit")?,
                cap: row
                    .cap
                    .map(|cap| Total::from_minor(from_sql(cap)))
                    .transpose()?,
                opened_at: from_sql(row.opened_at),
            })
        })
        .collect()
}

/// Opens a unit or changes its cap.
pub(crate) async fn put(conn: &mut SqliteConnection, unit: &OpenUnit) -> Result<(), ClientError> {
    let name = unit.unit.to_string();
    let cap = unit.cap.map(|cap| to_sql(cap.minor()));
    let at = to_sql(unit.opened_at);
    sqlx::query!(
        "INSERT INTO unit (unit, cap, opened_at) VALUES (?, ?, ?)
         ON CONFLICT (unit) DO UPDATE SET cap = excluded.cap",
        name,
        cap,
        at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Closes a unit; `false` if it was not open.
pub(crate) async fn remove(conn: &mut SqliteConnection, unit: &Unit) -> Result<bool, ClientError> {
    let name = unit.to_string();
    let done = sqlx::query!("DELETE FROM unit WHERE unit = ?", name)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}
