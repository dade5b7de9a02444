//! The logs that the wallet knows: policies, pins, and proofs that somebody lied.

use sqlx::SqliteConnection;

use super::{from_sql, to_sql};
use crate::error::ClientError;

/// The most logs that a wallet knows.
pub(crate) const MAX_LOGS: u64 = 64;
/// The most checkpoints of one log, shown by others, that wait to be compared.
const MAX_NOTES: i64 = 64;

/// One log.
#[derive(Clone, Debug)]
pub(crate) struct LogRow {
    /// Its name.
    pub origin: String,
    /// The text of the policy in force.
    pub policy: String,
    /// Its hash.
    pub policy_hash: String,
    /// Where the log is.
    pub url: String,
    /// Whether the user gave this address.
    pub named: bool,
    /// Whether the user refuses it.
    pub refused: bool,
    /// The newest checkpoint that counts.
    pub checkpoint: Option<String>,
    /// The size of its tree.
    pub size: u64,
    /// When that was last confirmed, Unix milliseconds.
    pub checked_at: Option<u64>,
    /// Since when it is known, Unix milliseconds.
    pub added_at: u64,
}

struct Row {
    origin: String,
    policy: String,
    policy_hash: String,
    url: String,
    named: i64,
    refused: i64,
    checkpoint: Option<String>,
    size: i64,
    checked_at: Option<i64>,
    added_at: i64,
}

impl From<Row> for LogRow {
    fn from(row: Row) -> Self {
        Self {
            origin: row.origin,
            policy: row.policy,
            policy_hash: row.policy_hash,
            url: row.url,
            named: row.named != 0,
            refused: row.refused != 0,
            checkpoint: row.checkpoint,
            size: from_sql(row.size),
            checked_at: row.checked_at.map(from_sql),
            added_at: from_sql(row.added_at),
        }
    }
}

/// All logs, by name.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<LogRow>, ClientError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT l.origin, p.policy, l.policy_hash, l.url, l.named, l.refused, l.checkpoint, l.size, l.checked_at, l.added_at
         FROM log l JOIN log_policy p ON p.origin = l.origin AND p.policy_hash = l.policy_hash ORDER BY l.origin"
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(LogRow::from).collect())
}

/// One log.
pub(crate) async fn get(
    conn: &mut SqliteConnection,
    origin: &str,
) -> Result<Option<LogRow>, ClientError> {
    let row = sqlx::query_as!(
        Row,
        "SELECT l.origin, p.policy, l.policy_hash, l.url, l.named, l.refused, l.checkpoint, l.size, l.checked_at, l.added_at
         FROM log l JOIN log_policy p ON p.origin = l.origin AND p.policy_hash = l.policy_hash WHERE l.origin = ?",
        origin
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(LogRow::from))
}

/// Adds a log, or changes its policy and place; what was pinned stays pinned.
pub(crate) async fn put(
    conn: &mut SqliteConnection,
    origin: &str,
    (policy_hash, policy): (&str, &str),
    (url, named): (&str, bool),
    now: u64,
) -> Result<(), ClientError> {
    let now = to_sql(now);
    sqlx::query!(
        "INSERT INTO log_policy (origin, policy_hash, policy) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        origin,
        policy_hash,
        policy
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO log (origin, policy_hash, url, named, added_at) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (origin) DO UPDATE SET
             policy_hash = excluded.policy_hash, url = excluded.url, named = excluded.named, refused = 0",
        origin,
        policy_hash,
        url,
        named,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the user's word whether a log is refused; `false` if it is not known.
pub(crate) async fn set_refused(
    conn: &mut SqliteConnection,
    origin: &str,
    refused: bool,
) -> Result<bool, ClientError> {
    let done = sqlx::query!(
        "UPDATE log SET refused = ? WHERE origin = ?",
        refused,
        origin
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Forgets a log, except for proofs against it and its policies.
pub(crate) async fn remove(conn: &mut SqliteConnection, origin: &str) -> Result<bool, ClientError> {
    let done = sqlx::query!("DELETE FROM log WHERE origin = ?", origin)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("DELETE FROM log_note WHERE origin = ?", origin)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Pins a checkpoint. A pin never goes back: a smaller one changes nothing.
pub(crate) async fn pin(
    conn: &mut SqliteConnection,
    origin: &str,
    checkpoint: &str,
    size: u64,
    now: u64,
) -> Result<(), ClientError> {
    let (size, now) = (to_sql(size), to_sql(now));
    sqlx::query!(
        "UPDATE log SET checkpoint = ?, size = ?, checked_at = ? WHERE origin = ? AND (checkpoint IS NULL OR size <= ?)",
        checkpoint,
        size,
        now,
        origin,
        size
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The policies of a log by which promises may have been made: hash and text.
pub(crate) async fn policies(
    conn: &mut SqliteConnection,
    origin: &str,
) -> Result<Vec<(String, String)>, ClientError> {
    let rows = sqlx::query!(
        "SELECT policy_hash, policy FROM log_policy WHERE origin = ? ORDER BY policy_hash",
        origin
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.policy_hash, row.policy))
        .collect())
}

/// A verified proof that somebody lied.
#[derive(Clone, Debug)]
pub(crate) struct ForkRow {
    /// The log.
    pub origin: String,
    /// The key of who lied.
    pub culprit: String,
    /// `log` or `cosigner`.
    pub role: String,
    /// What was done, by its stable name.
    pub what: String,
    /// The proof.
    pub proof: Vec<u8>,
    /// When this wallet learned of it, Unix milliseconds.
    pub found_at: u64,
}

/// Keeps a proof; `false` if this culprit was convicted already.
pub(crate) async fn convict(
    conn: &mut SqliteConnection,
    fork: &ForkRow,
) -> Result<bool, ClientError> {
    let at = to_sql(fork.found_at);
    let done = sqlx::query!(
        "INSERT INTO log_fork (origin, culprit, role, what, proof, found_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        fork.origin,
        fork.culprit,
        fork.role,
        fork.what,
        fork.proof,
        at
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// All proofs.
pub(crate) async fn forks(conn: &mut SqliteConnection) -> Result<Vec<ForkRow>, ClientError> {
    let rows = sqlx::query!(
        "SELECT origin, culprit, role, what, proof, found_at FROM log_fork ORDER BY origin, culprit LIMIT 1000"
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ForkRow {
            origin: row.origin,
            culprit: row.culprit,
            role: row.role,
            what: row.what,
            proof: row.proof,
            found_at: from_sql(row.found_at),
        })
        .collect())
}

/// A checkpoint that somebody relied on.
#[derive(Clone, Debug)]
pub(crate) struct NoteRow {
    /// Its number.
    pub id: i64,
    /// The log.
    pub origin: String,
    /// The signed note.
    pub note: String,
    /// When it was seen, Unix milliseconds.
    pub seen_at: u64,
}

/// Keeps a checkpoint until it can be compared. Of too many the oldest go.
pub(crate) async fn keep_note(
    conn: &mut SqliteConnection,
    origin: &str,
    note: &str,
    user: Option<&str>,
    now: u64,
) -> Result<(), ClientError> {
    let now = to_sql(now);
    sqlx::query!(
        "INSERT INTO log_note (origin, note, user, seen_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        origin,
        note,
        user,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM log_note WHERE origin = ?1 AND id NOT IN (SELECT id FROM log_note WHERE origin = ?1 ORDER BY id DESC LIMIT ?2)",
        origin,
        MAX_NOTES
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The checkpoints that wait to be compared.
pub(crate) async fn notes(conn: &mut SqliteConnection) -> Result<Vec<NoteRow>, ClientError> {
    let rows = sqlx::query!("SELECT id, origin, note, seen_at FROM log_note ORDER BY id LIMIT 256")
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| NoteRow {
            id: row.id,
            origin: row.origin,
            note: row.note,
            seen_at: from_sql(row.seen_at),
        })
        .collect())
}

/// Takes a checkpoint out: it was compared.
pub(crate) async fn drop_note(conn: &mut SqliteConnection, id: i64) -> Result<(), ClientError> {
    sqlx::query!("DELETE FROM log_note WHERE id = ?", id)
        .execute(conn)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn a_pin_never_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("w")).await.unwrap();
        let mut tx = store.write().await.unwrap();
        put(tx.conn(), "o", ("h", "p"), ("https://x/", true), 1)
            .await
            .unwrap();
        pin(tx.conn(), "o", "five", 5, 2).await.unwrap();
        pin(tx.conn(), "o", "four", 4, 3).await.unwrap();
        let row = get(tx.conn(), "o").await.unwrap().unwrap();
        assert_eq!((row.size, row.checkpoint.as_deref()), (5, Some("five")));
        put(tx.conn(), "o", ("h2", "p2"), ("https://y/", true), 4)
            .await
            .unwrap();
        let row = get(tx.conn(), "o").await.unwrap().unwrap();
        assert_eq!((row.size, row.policy.as_str()), (5, "p2"));
        assert_eq!(policies(tx.conn(), "o").await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn what_others_show_cannot_fill_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("w")).await.unwrap();
        let mut tx = store.write().await.unwrap();
        for n in 0..MAX_NOTES + 10 {
            keep_note(tx.conn(), "o", &n.to_string(), None, 1)
                .await
                .unwrap();
        }
        let kept = notes(tx.conn()).await.unwrap();
        assert_eq!(kept.len() as i64, MAX_NOTES);
        assert_eq!(kept.first().unwrap().note, "10");
    }
}
