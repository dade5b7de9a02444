//! What still has to reach the inbox of a peer.

use atomicity_ledger::UserKey;
use sqlx::SqliteConnection;

use super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;

/// The longest wait between two attempts, milliseconds.
const MAX_BACKOFF_MS: u64 = 10 * 60 * 1000;

/// Records of one change, for one peer.
#[derive(Clone, Debug)]
pub(crate) struct OutboxRow {
    /// Its number; earlier ones go first.
    pub id: i64,
    /// Who is to get it.
    pub user: UserKey,
    /// The records, each a JWS.
    pub records: Vec<String>,
    /// How often it was tried.
    pub attempts: u64,
}

struct Row {
    id: i64,
    user: String,
    records: String,
    attempts: i64,
}

impl TryFrom<Row> for OutboxRow {
    type Error = ClientError;

    fn try_from(row: Row) -> Result<Self, ClientError> {
        Ok(Self {
            id: row.id,
            user: parse_own(&row.user, "a peer's key")?,
            records: serde_json::from_str(&row.records).map_err(|e| ClientError::StoreCorrupt {
                what: "the outbox",
                why: e.to_string(),
            })?,
            attempts: from_sql(row.attempts),
        })
    }
}

/// Puts records for `user` into the outbox.
pub(crate) async fn push(
    conn: &mut SqliteConnection,
    user: &UserKey,
    records: &[String],
    now: u64,
) -> Result<i64, ClientError> {
    let user = user.to_string();
    let records =
        serde_json::to_string(records).map_err(|e| ClientError::Internal(e.to_string()))?;
    let now = to_sql(now);
    let done = sqlx::query!(
        "INSERT INTO outbox (user, records, created_at, next_try_at) VALUES (?, ?, ?, ?)",
        user,
        records,
        now,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.last_insert_rowid())
}

/// What is due, oldest first, at most `limit`.
pub(crate) async fn due(
    conn: &mut SqliteConnection,
    now: u64,
    limit: u32,
) -> Result<Vec<OutboxRow>, ClientError> {
    let now = to_sql(now);
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id!", user, records, attempts FROM outbox WHERE next_try_at <= ? ORDER BY id LIMIT ?"#,
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(OutboxRow::try_from).collect()
}

/// Takes out what was delivered.
pub(crate) async fn remove(conn: &mut SqliteConnection, ids: &[i64]) -> Result<(), ClientError> {
    for id in ids {
        sqlx::query!("DELETE FROM outbox WHERE id = ?", id)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Puts off what could not be delivered: twice as long each time, at most ten minutes, or as long as the plugin asked for.
pub(crate) async fn put_off(
    conn: &mut SqliteConnection,
    rows: &[OutboxRow],
    now: u64,
    asked_ms: Option<u64>,
    jitter_ms: u64,
    why: &str,
) -> Result<(), ClientError> {
    for row in rows {
        let wait = asked_ms
            .unwrap_or_else(|| backoff_ms(row.attempts))
            .min(MAX_BACKOFF_MS)
            .saturating_add(jitter_ms);
        let next = to_sql(now.saturating_add(wait));
        sqlx::query!(
            "UPDATE outbox SET attempts = attempts + 1, next_try_at = ?, last_error = ? WHERE id = ?",
            next,
            why,
            row.id
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Makes everything due at once.
pub(crate) async fn retry_now(conn: &mut SqliteConnection, now: u64) -> Result<(), ClientError> {
    let now = to_sql(now);
    sqlx::query!(
        "UPDATE outbox SET next_try_at = ? WHERE next_try_at > ?",
        now,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How much waits, and since when (Unix milliseconds).
pub(crate) async fn waiting(
    conn: &mut SqliteConnection,
    user: Option<&UserKey>,
) -> Result<(u64, Option<u64>), ClientError> {
    let user = user.map(ToString::to_string);
    let row = sqlx::query!(
        r#"SELECT count(*) AS n, min(created_at) AS "since: i64" FROM outbox WHERE ?1 IS NULL OR user = ?1"#,
        user
    )
    .fetch_one(conn)
    .await?;
    Ok((from_sql(row.n), row.since.map(from_sql)))
}

fn backoff_ms(attempts: u64) -> u64 {
    let doublings = u32::try_from(attempts.min(20)).unwrap_or(20);
    1000u64.saturating_mul(2u64.saturating_pow(doublings))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::Store;
    use atomicity_ledger::Keypair;

    #[tokio::test]
    async fn what_failed_waits_longer_each_time_and_keeps_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("w")).await.unwrap();
        let user = Keypair::from_secret(&[1; 32]).user_key();
        let mut tx = store.write().await.unwrap();
        push(tx.conn(), &user, &["a".to_owned()], 0).await.unwrap();
        push(tx.conn(), &user, &["b".to_owned()], 0).await.unwrap();
        let rows = due(tx.conn(), 0, 10).await.unwrap();
        assert_eq!(rows.len(), 2);
        put_off(tx.conn(), &rows, 0, None, 0, "no route")
            .await
            .unwrap();
        assert!(due(tx.conn(), 999, 10).await.unwrap().is_empty());
        let rows = due(tx.conn(), 1000, 10).await.unwrap();
        assert_eq!(
            rows.iter()
                .map(|r| r.records[0].as_str())
                .collect::<Vec<_>>(),
            ["a", "b"]
        );
        put_off(tx.conn(), &rows, 1000, None, 0, "no route")
            .await
            .unwrap();
        assert!(due(tx.conn(), 2999, 10).await.unwrap().is_empty());
        assert_eq!(due(tx.conn(), 3000, 10).await.unwrap().len(), 2);
        put_off(tx.conn(), &rows, 3000, Some(60_000), 0, "busy")
            .await
            .unwrap();
        assert!(due(tx.conn(), 62_999, 10).await.unwrap().is_empty());
        assert_eq!(waiting(tx.conn(), Some(&user)).await.unwrap(), (2, Some(0)));
    }

    #[test]
    fn the_wait_never_overflows() {
        assert!(backoff_ms(u64::MAX) > MAX_BACKOFF_MS);
    }
}
