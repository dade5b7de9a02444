//! What programs asked for under a key of their own, so that it is done once.

use sqlx::SqliteConnection;

use super::{from_sql, to_sql};
use crate::error::ClientError;

/// What an operation makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeKind {
    /// A direct payment to a friend.
    Given,
    /// A direct payment to a friend that an agent is asked for.
    Ordered,
    /// A payment over friends.
    Payment,
    /// A part of somebody's request.
    Part,
    /// A settlement, or a step of one.
    Settlement,
    /// An invoice.
    Invoice,
    /// A request to be paid.
    Request,
    /// What came for a request another way.
    Received,
}

impl MadeKind {
    /// A stable name, for machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Ordered => "ordered",
            Self::Payment => "payment",
            Self::Part => "part",
            Self::Settlement => "settlement",
            Self::Invoice => "invoice",
            Self::Request => "request",
            Self::Received => "received",
        }
    }

    fn read(text: &str) -> Result<Self, ClientError> {
        let all = [
            Self::Given,
            Self::Ordered,
            Self::Payment,
            Self::Part,
            Self::Settlement,
            Self::Invoice,
            Self::Request,
            Self::Received,
        ];
        let found = all.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| ClientError::StoreCorrupt {
            what: "an operation",
            why: format!("it made a {text:?}"),
        })
    }
}

/// An operation.
#[derive(Clone, Debug)]
pub(crate) struct OperationRow {
    pub asked: Vec<u8>,
    pub made: Option<(MadeKind, String)>,
    pub answer: Option<String>,
    pub failed: bool,
    pub created_at: u64,
    pub ended_at: Option<u64>,
}

/// Notes that something is asked for; an operation of this key stays as it is.
pub(crate) async fn begin(
    conn: &mut SqliteConnection,
    key: &str,
    asked: &[u8],
    now: u64,
) -> Result<(), ClientError> {
    let now = to_sql(now);
    sqlx::query!(
        "INSERT INTO operation (key, asked, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        key,
        asked,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The operation of this key.
pub(crate) async fn get(
    conn: &mut SqliteConnection,
    key: &str,
) -> Result<Option<OperationRow>, ClientError> {
    let row = sqlx::query!(
        "SELECT asked, kind, made, answer, failed, created_at, ended_at FROM operation WHERE key = ?",
        key
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let made = match (row.kind, row.made) {
        (Some(kind), Some(made)) => Some((MadeKind::read(&kind)?, made)),
        _ => None,
    };
    Ok(Some(OperationRow {
        asked: row.asked,
        made,
        answer: row.answer,
        failed: row.failed != 0,
        created_at: from_sql(row.created_at),
        ended_at: row.ended_at.map(from_sql),
    }))
}

/// Notes what an operation made. `false` if something else was noted before, unless that was of the same kind and `again` says that
/// one may take the place of another.
pub(crate) async fn made(
    conn: &mut SqliteConnection,
    key: &str,
    (kind, id): (MadeKind, &str),
    again: bool,
) -> Result<bool, ClientError> {
    let kind = kind.as_str();
    let done = sqlx::query!(
        "UPDATE operation SET kind = ?1, made = ?2 WHERE key = ?3 AND (made IS NULL OR (?4 AND kind = ?1))",
        kind,
        id,
        key,
        again
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps the answer to an operation. A last word stays.
pub(crate) async fn answered(
    conn: &mut SqliteConnection,
    key: &str,
    (answer, failed): (&str, bool),
    now: u64,
) -> Result<(), ClientError> {
    let now = to_sql(now);
    sqlx::query!(
        "UPDATE operation SET answer = ?, failed = ?, ended_at = ? WHERE key = ? AND (answer IS NULL OR failed = 1)",
        answer,
        failed,
        now,
        key
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets what is older than `before`.
pub(crate) async fn forget(conn: &mut SqliteConnection, before: u64) -> Result<(), ClientError> {
    let before = to_sql(before);
    sqlx::query!("DELETE FROM operation WHERE created_at < ?", before)
        .execute(conn)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Store;
    use super::*;

    #[tokio::test]
    async fn one_thing_is_made_for_a_key_and_the_last_word_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("w")).await.unwrap();
        let mut tx = store.write().await.unwrap();
        let conn = tx.conn();
        let (asked, other) = ([1; 32], [2; 32]);
        begin(conn, "key", &asked, 5).await.unwrap();
        begin(conn, "key", &other, 6).await.unwrap();
        let row = get(conn, "key").await.unwrap().unwrap();
        assert_eq!((row.asked, row.created_at), (asked.to_vec(), 5));
        assert!(row.made.is_none() && row.answer.is_none());
        let payment = (MadeKind::Payment, "a");
        assert!(made(conn, "key", payment, false).await.unwrap());
        assert!(
            !made(conn, "key", (MadeKind::Payment, "b"), false)
                .await
                .unwrap()
        );
        assert!(
            !made(conn, "key", (MadeKind::Given, "b"), true)
                .await
                .unwrap()
        );
        assert!(
            made(conn, "key", (MadeKind::Payment, "c"), true)
                .await
                .unwrap()
        );
        assert!(!made(conn, "none", payment, false).await.unwrap());
        answered(conn, "key", ("no", true), 7).await.unwrap();
        answered(conn, "key", ("yes", false), 8).await.unwrap();
        answered(conn, "key", ("late", true), 9).await.unwrap();
        let row = get(conn, "key").await.unwrap().unwrap();
        assert_eq!(row.made, Some((MadeKind::Payment, "c".to_owned())));
        assert_eq!(
            (row.answer.as_deref(), row.failed, row.ended_at),
            (Some("yes"), false, Some(8))
        );
        forget(conn, 5).await.unwrap();
        assert!(get(conn, "key").await.unwrap().is_some());
        forget(conn, 6).await.unwrap();
        assert!(get(conn, "key").await.unwrap().is_none());
    }
}
