//! Files that still have to be written to the own homeserver: profile, delegations, contact list.
//!
//! Only the newest version of a path waits; what a later change replaced is never written.

use sqlx::SqliteConnection;

use super::to_sql;
use crate::error::ClientError;

/// One file to be written or removed.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    /// The absolute path on the homeserver.
    pub path: String,
    /// The content; `None` removes the file.
    pub body: Option<Vec<u8>>,
}

/// Plans a write (or a removal).
pub(crate) async fn put(
    conn: &mut SqliteConnection,
    path: &str,
    body: Option<&[u8]>,
    now: u64,
) -> Result<(), ClientError> {
    let now = to_sql(now);
    sqlx::query!(
        "INSERT INTO publication (path, body, created_at) VALUES (?, ?, ?)
         ON CONFLICT (path) DO UPDATE SET body = excluded.body, created_at = excluded.created_at",
        path,
        body,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What waits, at most `limit`.
pub(crate) async fn list(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<Publication>, ClientError> {
    let rows = sqlx::query!(
        "SELECT path, body FROM publication ORDER BY path LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Publication {
            path: row.path,
            body: row.body,
        })
        .collect())
}

/// Takes a write out, unless a newer one replaced it meanwhile.
pub(crate) async fn done(
    conn: &mut SqliteConnection,
    written: &Publication,
) -> Result<(), ClientError> {
    let body = written.body.as_deref();
    sqlx::query!(
        "DELETE FROM publication WHERE path = ? AND body IS ?",
        written.path,
        body
    )
    .execute(conn)
    .await?;
    Ok(())
}
