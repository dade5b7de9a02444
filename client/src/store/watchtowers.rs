//! Watchtowers: who is asked for verdicts, up to where they were read, and what each was handed.

use sqlx::SqliteConnection;

use super::{from_sql, to_sql};
use crate::error::ClientError;

/// The most watchtowers that a wallet asks.
pub(crate) const MAX_WATCHTOWERS: usize = 16;

/// One watchtower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watchtower {
    /// Where it is.
    pub url: String,
    /// Up to where its verdicts were read, in its own numbers.
    pub after: Option<String>,
    /// Since when it is asked, Unix milliseconds.
    pub added_at: u64,
}

/// All of them.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<Watchtower>, ClientError> {
    let rows = sqlx::query!("SELECT url, after, added_at FROM watchtower ORDER BY url LIMIT 64")
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| Watchtower {
            url: row.url,
            after: row.after,
            added_at: from_sql(row.added_at),
        })
        .collect())
}

/// Adds one.
pub(crate) async fn add(
    conn: &mut SqliteConnection,
    url: &str,
    now: u64,
) -> Result<(), ClientError> {
    let now = to_sql(now);
    sqlx::query!(
        "INSERT INTO watchtower (url, added_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
        url,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes one; `false` if it was not there.
pub(crate) async fn remove(conn: &mut SqliteConnection, url: &str) -> Result<bool, ClientError> {
    let done = sqlx::query!("DELETE FROM watchtower WHERE url = ?", url)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("DELETE FROM watchtower_told WHERE url = ?", url)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Notes up to where its verdicts were read.
pub(crate) async fn read_up_to(
    conn: &mut SqliteConnection,
    url: &str,
    after: &str,
) -> Result<(), ClientError> {
    sqlx::query!("UPDATE watchtower SET after = ? WHERE url = ?", after, url)
        .execute(conn)
        .await?;
    Ok(())
}

/// Lets all verdicts be read again: there is a new log that they may be about.
pub(crate) async fn read_again(conn: &mut SqliteConnection) -> Result<(), ClientError> {
    sqlx::query!("UPDATE watchtower SET after = NULL")
        .execute(conn)
        .await?;
    Ok(())
}

/// The newest size that a watchtower was told about `what`; 0 if it was told nothing.
pub(crate) async fn told(
    conn: &mut SqliteConnection,
    url: &str,
    what: &str,
) -> Result<u64, ClientError> {
    let row = sqlx::query!(
        "SELECT size FROM watchtower_told WHERE url = ? AND what = ?",
        url,
        what
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map_or(0, |row| from_sql(row.size)))
}

/// Notes what a watchtower was told.
pub(crate) async fn tell(
    conn: &mut SqliteConnection,
    url: &str,
    what: &str,
    size: u64,
) -> Result<(), ClientError> {
    let size = to_sql(size);
    sqlx::query!(
        "INSERT INTO watchtower_told (url, what, size) VALUES (?, ?, ?)
         ON CONFLICT (url, what) DO UPDATE SET size = excluded.size",
        url,
        what,
        size
    )
    .execute(conn)
    .await?;
    Ok(())
}
