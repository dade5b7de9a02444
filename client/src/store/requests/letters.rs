//! Records about requests on their way: to whom they are for, and from others until they were read.

use atomicity_ledger::UserKey;
use atomicity_ledger::record::ReplyTo;
use sqlx::SqliteConnection;

use super::super::{from_sql, json_in, json_out, parse_own, to_sql};
use crate::error::ClientError;

/// The most letters of one user that wait to be read.
const MAX_OF_ONE: i64 = 64;
/// The most that wait in all.
const MAX_IN_ALL: i64 = 4096;

/// Records that travel together.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub id: i64,
    /// Who is to get it, or who sent it.
    pub user: UserKey,
    pub records: Vec<String>,
    /// Where it goes, if not to the user's wallet.
    pub reply: Option<ReplyTo>,
    pub created_at: u64,
    /// How often it was tried.
    pub tries: u64,
}

/// Keeps a letter that is to be sent.
pub(crate) async fn send(
    conn: &mut SqliteConnection,
    user: &UserKey,
    records: &[String],
    now: u64,
) -> Result<(), ClientError> {
    put(conn, false, user, None, records, now).await
}

/// Keeps a letter that is to be sent to whoever asked for a user: their wallet if `reply` says nothing else.
pub(crate) async fn answer(
    conn: &mut SqliteConnection,
    user: &UserKey,
    reply: Option<&ReplyTo>,
    records: &[String],
    now: u64,
) -> Result<(), ClientError> {
    put(conn, false, user, reply, records, now).await
}

/// Keeps a letter that came. False if too many of this user, or of all, wait already.
pub(crate) async fn take(
    conn: &mut SqliteConnection,
    user: &UserKey,
    records: &[String],
    now: u64,
) -> Result<bool, ClientError> {
    let key = user.to_string();
    let row = sqlx::query!(
        r#"SELECT count(*) AS "all!: i64", count(CASE WHEN user = ? THEN 1 END) AS "theirs!: i64" FROM letter WHERE incoming = 1"#,
        key
    )
    .fetch_one(&mut *conn)
    .await?;
    if row.theirs >= MAX_OF_ONE || row.all >= MAX_IN_ALL {
        return Ok(false);
    }
    put(conn, true, user, None, records, now).await?;
    Ok(true)
}

async fn put(
    conn: &mut SqliteConnection,
    incoming: bool,
    user: &UserKey,
    reply: Option<&ReplyTo>,
    records: &[String],
    now: u64,
) -> Result<(), ClientError> {
    let (user, records, now) = (user.to_string(), json_out(&records)?, to_sql(now));
    let reply = reply.map(json_out).transpose()?;
    sqlx::query!(
        "INSERT INTO letter (incoming, user, reply, records, created_at, next_at, tries) VALUES (?, ?, ?, ?, ?, ?, 0)",
        incoming,
        user,
        reply,
        records,
        now,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The letters that are due, oldest first, at most `limit`.
pub(crate) async fn due(
    conn: &mut SqliteConnection,
    incoming: bool,
    now: u64,
    limit: u32,
) -> Result<Vec<Letter>, ClientError> {
    let now = to_sql(now);
    let rows = sqlx::query!(
        r#"SELECT id AS "id!", user, reply, records, created_at, tries FROM letter
           WHERE incoming = ? AND next_at <= ? ORDER BY id LIMIT ?"#,
        incoming,
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Letter {
                id: row.id,
                user: parse_own(&row.user, "a user's key")?,
                reply: row
                    .reply
                    .map(|text| json_in(&text, "where a letter goes"))
                    .transpose()?,
                records: json_in(&row.records, "a letter")?,
                created_at: from_sql(row.created_at),
                tries: from_sql(row.tries),
            })
        })
        .collect()
}

/// Puts a letter off.
pub(crate) async fn put_off(
    conn: &mut SqliteConnection,
    letter: &Letter,
    until: u64,
    tries: u64,
) -> Result<(), ClientError> {
    let (until, tries) = (to_sql(until), to_sql(tries));
    sqlx::query!(
        "UPDATE letter SET next_at = ?, tries = ? WHERE id = ?",
        until,
        tries,
        letter.id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes every letter due.
pub(crate) async fn retry_now(conn: &mut SqliteConnection, now: u64) -> Result<(), ClientError> {
    let now = to_sql(now);
    sqlx::query!("UPDATE letter SET next_at = ? WHERE next_at > ?", now, now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes a letter out: it is read, delivered, or void.
pub(crate) async fn remove(conn: &mut SqliteConnection, id: i64) -> Result<(), ClientError> {
    sqlx::query!("DELETE FROM letter WHERE id = ?", id)
        .execute(conn)
        .await?;
    Ok(())
}

/// How many letters wait to be sent to somebody.
pub(crate) async fn waiting(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<u64, ClientError> {
    let user = user.to_string();
    let row = sqlx::query!(
        r#"SELECT count(*) AS "n!: i64" FROM letter WHERE incoming = 0 AND user = ?"#,
        user
    )
    .fetch_one(conn)
    .await?;
    Ok(from_sql(row.n))
}
