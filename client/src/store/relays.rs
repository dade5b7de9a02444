//! Promises that were passed on, and what each friend's payments cost here.

use atomicity_ledger::hop::{Relay, Tally};
use atomicity_ledger::{RecordHash, UserKey};
use sqlx::SqliteConnection;

use super::{json_in, json_out, to_sql};
use crate::error::ClientError;

/// Keeps a relay.
pub(crate) async fn put(
    conn: &mut SqliteConnection,
    relay: &Relay,
    now: u64,
) -> Result<(), ClientError> {
    let (incoming, outgoing) = (
        relay.incoming.iou.to_string(),
        relay.outgoing.iou.to_string(),
    );
    let (from, to) = (
        relay.incoming.peer.to_string(),
        relay.outgoing.peer.to_string(),
    );
    let (body, over, now) = (json_out(relay)?, relay.is_over(), to_sql(now));
    sqlx::query!(
        "INSERT INTO relay (incoming, outgoing, from_user, to_user, body, over, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (incoming) DO UPDATE SET body = excluded.body, over = excluded.over",
        incoming,
        outgoing,
        from,
        to,
        body,
        over,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The relay of a promise that came.
pub(crate) async fn of(
    conn: &mut SqliteConnection,
    incoming: &RecordHash,
) -> Result<Option<Relay>, ClientError> {
    let incoming = incoming.to_string();
    let row = sqlx::query!("SELECT body FROM relay WHERE incoming = ?", incoming)
        .fetch_optional(conn)
        .await?;
    row.map(|row| json_in(&row.body, "what was passed on"))
        .transpose()
}

/// The relays that are not over and concern a friend, on either side.
pub(crate) async fn with(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<Vec<Relay>, ClientError> {
    let user = user.to_string();
    let rows = sqlx::query!(
        "SELECT body AS \"body!\" FROM relay WHERE from_user = ?1 AND over = 0
         UNION SELECT body FROM relay WHERE to_user = ?1 AND over = 0",
        user
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| json_in(&row.body, "what was passed on"))
        .collect()
}

/// The newest relays, at most `limit`: when each began.
pub(crate) async fn list(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<(u64, Relay)>, ClientError> {
    let rows = sqlx::query!(
        "SELECT body, created_at FROM relay ORDER BY created_at DESC, incoming LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let relay = json_in(&row.body, "what was passed on")?;
            Ok((super::from_sql(row.created_at), relay))
        })
        .collect()
}

/// Forgets relays that are over and began before `before`, Unix milliseconds.
pub(crate) async fn forget(conn: &mut SqliteConnection, before: u64) -> Result<(), ClientError> {
    let before = to_sql(before);
    sqlx::query!(
        "DELETE FROM relay WHERE over = 1 AND created_at < ?",
        before
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a friend's payments cost here.
pub(crate) async fn tally(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<Tally, ClientError> {
    let user = user.to_string();
    let row = sqlx::query!("SELECT body FROM tally WHERE user = ?", user)
        .fetch_optional(conn)
        .await?;
    match row {
        Some(row) => json_in(&row.body, "a tally"),
        None => Ok(Tally::default()),
    }
}

/// Keeps what a friend's payments cost here.
pub(crate) async fn put_tally(
    conn: &mut SqliteConnection,
    user: &UserKey,
    tally: &Tally,
) -> Result<(), ClientError> {
    let (user, body) = (user.to_string(), json_out(tally)?);
    sqlx::query!(
        "INSERT INTO tally (user, body) VALUES (?, ?) ON CONFLICT (user) DO UPDATE SET body = excluded.body",
        user,
        body
    )
    .execute(conn)
    .await?;
    Ok(())
}
