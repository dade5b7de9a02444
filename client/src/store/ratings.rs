//! What people think of services: the user's own ratings, and those of friends and of whom friends follow.

use atomicity_ledger::UserKey;
use sqlx::SqliteConnection;

use super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;

/// One rating that verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RatingRow {
    pub author: UserKey,
    pub subject: UserKey,
    pub kind: String,
    pub verdict: String,
    pub memo: Option<String>,
    pub serial: u64,
    pub at: u64,
    pub record: String,
}

/// Keeps a rating, unless a newer one of the same author about the same subject is kept.
pub(crate) async fn put(conn: &mut SqliteConnection, row: &RatingRow) -> Result<(), ClientError> {
    let (author, subject) = (row.author.to_z32(), row.subject.to_z32());
    let (serial, at) = (to_sql(row.serial), to_sql(row.at));
    sqlx::query!(
        "INSERT INTO rating (author, subject, kind, verdict, memo, serial, at, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (author, subject) DO UPDATE SET kind = excluded.kind, verdict = excluded.verdict, memo = excluded.memo,
            serial = excluded.serial, at = excluded.at, record = excluded.record
         WHERE excluded.serial > serial",
        author,
        subject,
        row.kind,
        row.verdict,
        row.memo,
        serial,
        at,
        row.record
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes a rating; `false` if there was none.
pub(crate) async fn remove(
    conn: &mut SqliteConnection,
    author: &UserKey,
    subject: &UserKey,
) -> Result<bool, ClientError> {
    let (author, subject) = (author.to_z32(), subject.to_z32());
    let done = sqlx::query!(
        "DELETE FROM rating WHERE author = ? AND subject = ?",
        author,
        subject
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// All ratings of an author, by subject.
pub(crate) async fn of(
    conn: &mut SqliteConnection,
    author: &UserKey,
) -> Result<Vec<RatingRow>, ClientError> {
    let author_text = author.to_z32();
    let rows = sqlx::query!(
        "SELECT subject, kind, verdict, memo, serial, at, record FROM rating WHERE author = ? ORDER BY subject LIMIT 4096",
        author_text
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(RatingRow {
                author: *author,
                subject: parse_own(&row.subject, "the subject of a rating")?,
                kind: row.kind,
                verdict: row.verdict,
                memo: row.memo,
                serial: from_sql(row.serial),
                at: from_sql(row.at),
                record: row.record,
            })
        })
        .collect()
}

/// Author and verdict of every rating of one user.
pub(crate) async fn about(
    conn: &mut SqliteConnection,
    subject: &UserKey,
) -> Result<Vec<(UserKey, String)>, ClientError> {
    let subject = subject.to_z32();
    let rows = sqlx::query!(
        "SELECT author, verdict FROM rating WHERE subject = ? ORDER BY author",
        subject
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok((
                parse_own(&row.author, "the author of a rating")?,
                row.verdict,
            ))
        })
        .collect()
}

/// Author, subject and verdict of every rating that is about a known service.
pub(crate) async fn about_services(
    conn: &mut SqliteConnection,
) -> Result<Vec<(UserKey, UserKey, String)>, ClientError> {
    let rows = sqlx::query!(
        "SELECT author, subject, verdict FROM rating WHERE subject IN (SELECT key FROM service) ORDER BY author, subject"
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok((
                parse_own(&row.author, "the author of a rating")?,
                parse_own(&row.subject, "the subject of a rating")?,
                row.verdict,
            ))
        })
        .collect()
}

/// When each author's ratings were last read.
pub(crate) async fn readers(
    conn: &mut SqliteConnection,
) -> Result<Vec<(UserKey, u64)>, ClientError> {
    let rows = sqlx::query!("SELECT author, read_at FROM rater ORDER BY author")
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok((
                parse_own(&row.author, "the author of ratings")?,
                from_sql(row.read_at),
            ))
        })
        .collect()
}

/// Replaces what is kept of an author by what was read: `present` are the subjects that they rate at all, `rows` those ratings that
/// verified. What is no longer there goes; what is there but could not be read stays as it was.
pub(crate) async fn read(
    conn: &mut SqliteConnection,
    author: &UserKey,
    present: &[UserKey],
    rows: &[RatingRow],
    now: u64,
) -> Result<(), ClientError> {
    for old in of(conn, author).await? {
        if !present.contains(&old.subject) {
            remove(conn, author, &old.subject).await?;
        }
    }
    for row in rows {
        put(conn, row).await?;
    }
    note_read(conn, author, now).await
}

/// Notes when an author was read, or is to count as read.
pub(crate) async fn note_read(
    conn: &mut SqliteConnection,
    author: &UserKey,
    at: u64,
) -> Result<(), ClientError> {
    let (author, at) = (author.to_z32(), to_sql(at));
    sqlx::query!(
        "INSERT INTO rater (author, read_at) VALUES (?, ?)
         ON CONFLICT (author) DO UPDATE SET read_at = excluded.read_at",
        author,
        at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets everything about authors who are none of `wanted` any more.
pub(crate) async fn keep_only(
    conn: &mut SqliteConnection,
    wanted: &[UserKey],
) -> Result<(), ClientError> {
    for (author, _) in readers(conn).await? {
        if !wanted.contains(&author) {
            let author = author.to_z32();
            sqlx::query!("DELETE FROM rating WHERE author = ?", author)
                .execute(&mut *conn)
                .await?;
            sqlx::query!("DELETE FROM rater WHERE author = ?", author)
                .execute(&mut *conn)
                .await?;
        }
    }
    Ok(())
}

/// Who is followed by which friend.
pub(crate) async fn follows(
    conn: &mut SqliteConnection,
) -> Result<Vec<(UserKey, UserKey)>, ClientError> {
    let rows = sqlx::query!("SELECT friend, user FROM follow ORDER BY friend, user")
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok((
                parse_own(&row.friend, "a friend")?,
                parse_own(&row.user, "whom a friend follows")?,
            ))
        })
        .collect()
}

/// Replaces whom a friend follows.
pub(crate) async fn set_follows(
    conn: &mut SqliteConnection,
    friend: &UserKey,
    users: &[UserKey],
) -> Result<(), ClientError> {
    let friend = friend.to_z32();
    sqlx::query!("DELETE FROM follow WHERE friend = ?", friend)
        .execute(&mut *conn)
        .await?;
    for user in users {
        let user = user.to_z32();
        sqlx::query!(
            "INSERT INTO follow (friend, user) VALUES (?, ?) ON CONFLICT DO NOTHING",
            friend,
            user
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::Keypair;

    use super::*;
    use crate::store::Store;

    fn key(n: u8) -> UserKey {
        Keypair::from_secret(&[n; 32]).user_key()
    }

    fn row(subject: u8, verdict: &str, serial: u64) -> RatingRow {
        RatingRow {
            author: key(1),
            subject: key(subject),
            kind: "router".to_owned(),
            verdict: verdict.to_owned(),
            memo: None,
            serial,
            at: serial,
            record: String::new(),
        }
    }

    #[tokio::test]
    async fn what_is_gone_goes_what_is_older_does_not_count_and_what_is_unreadable_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).await.unwrap();
        let mut tx = store.write().await.unwrap();
        let conn = tx.conn();
        let author = key(1);
        let first = [row(2, "good", 5), row(3, "poor", 5), row(4, "block", 5)];
        let present = [key(2), key(3), key(4)];
        read(conn, &author, &present, &first, 10).await.unwrap();
        // 2 has an old one, 3 can't be read, 4 is gone.
        let second = [row(2, "block", 4)];
        read(conn, &author, &present[..2], &second, 20)
            .await
            .unwrap();
        let kept = of(conn, &author).await.unwrap();
        let mut verdicts: Vec<(UserKey, String)> = kept
            .into_iter()
            .map(|row| (row.subject, row.verdict))
            .collect();
        verdicts.sort();
        let mut expected = [(key(2), "good".to_owned()), (key(3), "poor".to_owned())];
        expected.sort();
        assert_eq!(verdicts, expected);
        assert_eq!(readers(conn).await.unwrap(), [(author, 20)]);
        // Who is no longer listened to is forgotten.
        keep_only(conn, &[key(9)]).await.unwrap();
        assert!(of(conn, &author).await.unwrap().is_empty());
        assert!(readers(conn).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_friend_follows_whom_they_follow_now() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).await.unwrap();
        let mut tx = store.write().await.unwrap();
        let conn = tx.conn();
        set_follows(conn, &key(1), &[key(2), key(3)]).await.unwrap();
        set_follows(conn, &key(4), &[key(2)]).await.unwrap();
        set_follows(conn, &key(1), &[key(3)]).await.unwrap();
        let mut expected = [(key(1), key(3)), (key(4), key(2))];
        let mut all = follows(conn).await.unwrap();
        all.sort();
        expected.sort();
        assert_eq!(all, expected);
    }
}
