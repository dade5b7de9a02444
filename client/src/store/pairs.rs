//! The books of each pair, as the ledger serializes them, and how far they were published.

pub(crate) mod agent;

use atomicity_ledger::UserKey;
use sqlx::SqliteConnection;

use super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;

/// One pair's row.
#[derive(Clone, Debug)]
pub(crate) struct PairRow {
    /// The peer.
    pub user: UserKey,
    /// Raised by every change.
    pub version: u64,
    /// The serialized books.
    pub body: String,
    /// The version that the channel file on the homeserver shows.
    pub file_version: u64,
    /// Where that file lies.
    pub file_path: Option<String>,
    /// The ETag of the peer's channel file that was applied last.
    pub peer_etag: Option<String>,
    /// When the peer's channel file was last read, Unix milliseconds.
    pub peer_read_at: Option<u64>,
}

struct Row {
    user: String,
    version: i64,
    body: String,
    file_version: i64,
    file_path: Option<String>,
    peer_etag: Option<String>,
    peer_read_at: Option<i64>,
}

impl TryFrom<Row> for PairRow {
    type Error = ClientError;

    fn try_from(row: Row) -> Result<Self, ClientError> {
        Ok(Self {
            user: parse_own(&row.user, "a peer's key")?,
            version: from_sql(row.version),
            body: row.body,
            file_version: from_sql(row.file_version),
            file_path: row.file_path,
            peer_etag: row.peer_etag,
            peer_read_at: row.peer_read_at.map(from_sql),
        })
    }
}

/// One pair.
pub(crate) async fn get(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<Option<PairRow>, ClientError> {
    let user = user.to_string();
    let row = sqlx::query_as!(
        Row,
        "SELECT user, version, body, file_version, file_path, peer_etag, peer_read_at FROM pair WHERE user = ?",
        user
    )
    .fetch_optional(conn)
    .await?;
    row.map(PairRow::try_from).transpose()
}

/// All pairs.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<PairRow>, ClientError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT user, version, body, file_version, file_path, peer_etag, peer_read_at FROM pair ORDER BY user"
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(PairRow::try_from).collect()
}

/// The pairs in whose books a promise is kept, on either side.
pub(crate) async fn with_promises(
    conn: &mut SqliteConnection,
) -> Result<Vec<PairRow>, ClientError> {
    // Reading all books to find none would be slow with many friends.
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT user, version, body, file_version, file_path, peer_etag, peer_read_at FROM pair
           WHERE instr(body, '"promises":[{') > 0 ORDER BY user"#
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(PairRow::try_from).collect()
}

/// The pairs whose channel file is behind, at most `limit`; without those of which the agent writes it.
pub(crate) async fn unpublished(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<PairRow>, ClientError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT user, version, body, file_version, file_path, peer_etag, peer_read_at FROM pair
         WHERE file_version < version
           AND user NOT IN (SELECT user FROM agent_pair WHERE stage <> 'wanted') ORDER BY user LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(PairRow::try_from).collect()
}

/// Stores changed books under the next version.
pub(crate) async fn save(
    conn: &mut SqliteConnection,
    user: &UserKey,
    body: &str,
) -> Result<(), ClientError> {
    let user = user.to_string();
    sqlx::query!(
        "INSERT INTO pair (user, version, body) VALUES (?, 1, ?)
         ON CONFLICT (user) DO UPDATE SET body = excluded.body, version = pair.version + 1",
        user,
        body
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores books that changed in nothing that others should see.
pub(crate) async fn save_quietly(
    conn: &mut SqliteConnection,
    user: &UserKey,
    body: &str,
) -> Result<(), ClientError> {
    let user = user.to_string();
    sqlx::query!("UPDATE pair SET body = ? WHERE user = ?", body, user)
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes that the channel file shows `version`.
pub(crate) async fn published(
    conn: &mut SqliteConnection,
    user: &UserKey,
    version: u64,
    path: &str,
) -> Result<(), ClientError> {
    let user = user.to_string();
    let version = to_sql(version);
    sqlx::query!(
        "UPDATE pair SET file_version = max(file_version, ?), file_path = ? WHERE user = ?",
        version,
        path,
        user
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes where an older channel file lies, so that it is removed after the next one was written.
pub(crate) async fn set_file_path(
    conn: &mut SqliteConnection,
    user: &UserKey,
    path: &str,
) -> Result<(), ClientError> {
    let user = user.to_string();
    sqlx::query!("UPDATE pair SET file_path = ? WHERE user = ?", path, user)
        .execute(conn)
        .await?;
    Ok(())
}

/// Makes every channel file count as unwritten: at a new homeserver, or under new encryption keys.
pub(crate) async fn republish_all(conn: &mut SqliteConnection) -> Result<(), ClientError> {
    sqlx::query!("UPDATE pair SET file_version = 0, peer_etag = NULL")
        .execute(conn)
        .await?;
    Ok(())
}

/// Makes one channel file count as unwritten: the peer's encryption key changed.
pub(crate) async fn republish(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<(), ClientError> {
    let user = user.to_string();
    sqlx::query!(
        "UPDATE pair SET file_version = 0, peer_etag = NULL WHERE user = ?",
        user
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes which channel file of the peer was applied.
pub(crate) async fn peer_read(
    conn: &mut SqliteConnection,
    user: &UserKey,
    etag: Option<&str>,
    at: u64,
) -> Result<(), ClientError> {
    let user = user.to_string();
    let at = to_sql(at);
    sqlx::query!(
        "UPDATE pair SET peer_etag = ?, peer_read_at = ? WHERE user = ?",
        etag,
        at,
        user
    )
    .execute(conn)
    .await?;
    Ok(())
}
