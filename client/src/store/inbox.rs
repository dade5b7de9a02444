//! Envelopes that were already read, and records that wait until their signer's authority can be checked.

use atomicity_ledger::UserKey;
use sqlx::SqliteConnection;

use super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;

/// How long the hash of an envelope is kept after it was acknowledged to the inbox, milliseconds.
const KEEP_MS: u64 = 30 * 24 * 3600 * 1000;

/// Records held back for one peer at most: a stranger can't fill the disk.
pub(crate) const MAX_PENDING_PER_PEER: u64 = 256;

/// Whether an envelope was read before.
pub(crate) async fn was_seen(
    conn: &mut SqliteConnection,
    hash: &[u8; 32],
) -> Result<bool, ClientError> {
    let hash = hash.as_slice();
    let row = sqlx::query!("SELECT seen_at FROM envelope WHERE hash = ?", hash)
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

/// Notes that an envelope was read.
pub(crate) async fn mark_seen(
    conn: &mut SqliteConnection,
    hash: &[u8; 32],
    now: u64,
) -> Result<(), ClientError> {
    let hash = hash.as_slice();
    let now = to_sql(now);
    sqlx::query!(
        "INSERT INTO envelope (hash, seen_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
        hash,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets envelopes that no inbox can still hold.
pub(crate) async fn forget_old(conn: &mut SqliteConnection, now: u64) -> Result<(), ClientError> {
    let before = to_sql(now.saturating_sub(KEEP_MS));
    sqlx::query!("DELETE FROM envelope WHERE seen_at < ?", before)
        .execute(conn)
        .await?;
    Ok(())
}

/// A record that is neither applied, refused nor lost.
#[derive(Clone, Debug)]
pub struct PendingRecord {
    /// Its number here.
    pub id: i64,
    /// Whose it says it is.
    pub user: UserKey,
    /// The JWS.
    pub record: String,
    /// Its `typ`.
    pub kind: String,
    /// Why it waits.
    pub reason: String,
    /// Since when, Unix milliseconds.
    pub since: u64,
}

/// Holds a record back; `false` if too many of that peer's wait already.
pub(crate) async fn hold(
    conn: &mut SqliteConnection,
    user: &UserKey,
    record: &str,
    kind: &str,
    reason: &str,
    now: u64,
) -> Result<bool, ClientError> {
    let user = user.to_string();
    let now = to_sql(now);
    let row = sqlx::query!(
        "SELECT count(*) AS n FROM pending_record WHERE user = ? AND record <> ?",
        user,
        record
    )
    .fetch_one(&mut *conn)
    .await?;
    if from_sql(row.n) >= MAX_PENDING_PER_PEER {
        return Ok(false);
    }
    sqlx::query!(
        "INSERT INTO pending_record (user, record, kind, reason, since) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (user, record) DO UPDATE SET reason = excluded.reason",
        user,
        record,
        kind,
        reason,
        now
    )
    .execute(conn)
    .await?;
    Ok(true)
}

/// What waits for one peer.
pub(crate) async fn held(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<Vec<PendingRecord>, ClientError> {
    let key = user.to_string();
    let rows = sqlx::query!(
        r#"SELECT id AS "id!", user, record, kind, reason, since FROM pending_record WHERE user = ? ORDER BY id"#,
        key
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(PendingRecord {
                id: row.id,
                user: parse_own(&row.user, "a held record")?,
                record: row.record,
                kind: row.kind,
                reason: row.reason,
                since: from_sql(row.since),
            })
        })
        .collect()
}

/// Whose records wait until a log was read.
pub(crate) async fn waiting_for_logs(
    conn: &mut SqliteConnection,
) -> Result<Vec<UserKey>, ClientError> {
    let rows = sqlx::query!(
        "SELECT DISTINCT user FROM pending_record WHERE reason = 'log_unread' ORDER BY user"
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| parse_own(&row.user, "a held record"))
        .collect()
}

/// How many records of one peer wait.
pub(crate) async fn count_held(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<u64, ClientError> {
    let user = user.to_string();
    let row = sqlx::query!(
        "SELECT count(*) AS n FROM pending_record WHERE user = ?",
        user
    )
    .fetch_one(conn)
    .await?;
    Ok(from_sql(row.n))
}

/// Takes a held record out.
pub(crate) async fn release(conn: &mut SqliteConnection, id: i64) -> Result<(), ClientError> {
    sqlx::query!("DELETE FROM pending_record WHERE id = ?", id)
        .execute(conn)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::Store;
    use atomicity_ledger::Keypair;

    #[tokio::test]
    async fn a_peer_cannot_fill_the_disk_with_records_that_wait() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("w")).await.unwrap();
        let user = Keypair::from_secret(&[1; 32]).user_key();
        let mut tx = store.write().await.unwrap();
        for n in 0..MAX_PENDING_PER_PEER {
            assert!(
                hold(tx.conn(), &user, &n.to_string(), "t", "r", 1)
                    .await
                    .unwrap()
            );
        }
        assert!(!hold(tx.conn(), &user, "more", "t", "r", 1).await.unwrap());
        assert!(hold(tx.conn(), &user, "0", "t", "again", 2).await.unwrap());
        let held = held(tx.conn(), &user).await.unwrap();
        assert_eq!(held.len() as u64, MAX_PENDING_PER_PEER);
        assert_eq!((held[0].reason.as_str(), held[0].since), ("again", 1));
    }
}
