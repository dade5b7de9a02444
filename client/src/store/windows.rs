//! The entries of logs that open promises ask about: fetched once, kept while somebody asks.

use sqlx::SqliteConnection;

use super::{from_sql, to_sql};
use crate::error::ClientError;

/// From where on entries of a log are kept.
#[derive(Clone, Debug)]
pub(crate) struct WindowRow {
    /// The first entry that is kept.
    pub start: u64,
    /// The hashes before `start`, 32 bytes each.
    pub base: Vec<u8>,
}

/// The window of a log.
pub(crate) async fn get(
    conn: &mut SqliteConnection,
    origin: &str,
) -> Result<Option<WindowRow>, ClientError> {
    let row = sqlx::query!(
        "SELECT start, base FROM log_window WHERE origin = ?",
        origin
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| WindowRow {
        start: from_sql(row.start),
        base: row.base,
    }))
}

/// Keeps the window of a log.
pub(crate) async fn put(
    conn: &mut SqliteConnection,
    origin: &str,
    window: &WindowRow,
) -> Result<(), ClientError> {
    let start = to_sql(window.start);
    sqlx::query!(
        "INSERT INTO log_window (origin, start, base) VALUES (?, ?, ?)
         ON CONFLICT (origin) DO UPDATE SET start = excluded.start, base = excluded.base",
        origin,
        start,
        window.base
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The bundles of a log from number `first` on: number, width, bytes.
pub(crate) async fn bundles(
    conn: &mut SqliteConnection,
    origin: &str,
    first: u64,
) -> Result<Vec<(u64, u16, Vec<u8>)>, ClientError> {
    let first = to_sql(first);
    let rows = sqlx::query!(
        "SELECT idx, width, body FROM log_bundle WHERE origin = ? AND idx >= ? ORDER BY idx",
        origin,
        first
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let width = u16::try_from(row.width).unwrap_or(0);
            (from_sql(row.idx), width, row.body)
        })
        .collect())
}

/// Keeps a bundle; a wider one replaces a narrower one.
pub(crate) async fn put_bundle(
    conn: &mut SqliteConnection,
    origin: &str,
    idx: u64,
    width: u16,
    body: &[u8],
) -> Result<(), ClientError> {
    let (idx, width) = (to_sql(idx), i64::from(width));
    sqlx::query!(
        "INSERT INTO log_bundle (origin, idx, width, body) VALUES (?, ?, ?, ?)
         ON CONFLICT (origin, idx) DO UPDATE SET width = excluded.width, body = excluded.body
         WHERE excluded.width > log_bundle.width",
        origin,
        idx,
        width,
        body
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets what was read of a log.
pub(crate) async fn forget(conn: &mut SqliteConnection, origin: &str) -> Result<(), ClientError> {
    sqlx::query!("DELETE FROM log_window WHERE origin = ?", origin)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("DELETE FROM log_bundle WHERE origin = ?", origin)
        .execute(conn)
        .await?;
    Ok(())
}

/// The logs of which something is kept.
pub(crate) async fn origins(conn: &mut SqliteConnection) -> Result<Vec<String>, ClientError> {
    let rows = sqlx::query!("SELECT origin FROM log_window ORDER BY origin")
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.origin).collect())
}
