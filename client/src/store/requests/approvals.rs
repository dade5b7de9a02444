//! Requests that recur and that the user approved: they are paid without being asked again.

use atomicity_ledger::RecordHash;
use sqlx::SqliteConnection;

use super::super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;

/// Who pays a request that recurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalPlace {
    /// This wallet.
    Here,
    /// It is being handed to the agent: nobody else pays until that is known to have failed.
    Handing,
    /// The agent.
    Agent,
    /// It is being taken back from the agent, which may still pay.
    Taking,
}

impl ApprovalPlace {
    /// The name for machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Handing => "handing",
            Self::Agent => "agent",
            Self::Taking => "taking",
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "handing" => Self::Handing,
            "agent" => Self::Agent,
            "taking" => Self::Taking,
            _ => Self::Here,
        }
    }
}

/// A request that recurs and is paid without asking.
#[derive(Clone, Debug)]
pub(crate) struct ApprovalRow {
    /// The request's hash.
    pub request: RecordHash,
    /// The most that one turn may cost, fees included.
    pub up_to: u64,
    /// From then on nothing is paid.
    pub until: Option<u64>,
    /// The first turn that is paid.
    pub first_turn: u32,
    pub next_at: u64,
    /// Why the last turn was not paid.
    pub why: Option<String>,
    pub created_at: u64,
    pub ended_at: Option<u64>,
    /// Who pays it.
    pub place: ApprovalPlace,
    /// Why the agent does not, or was not reached.
    pub place_why: Option<String>,
}

struct ApprovalColumns {
    request: String,
    up_to: i64,
    until: Option<i64>,
    first_turn: i64,
    next_at: i64,
    why: Option<String>,
    created_at: i64,
    ended_at: Option<i64>,
    place: String,
    place_why: Option<String>,
}

impl TryFrom<ApprovalColumns> for ApprovalRow {
    type Error = ClientError;

    fn try_from(row: ApprovalColumns) -> Result<Self, ClientError> {
        Ok(Self {
            request: parse_own(&row.request, "a request's hash")?,
            up_to: from_sql(row.up_to),
            until: row.until.map(from_sql),
            first_turn: u32::try_from(row.first_turn).unwrap_or(0),
            next_at: from_sql(row.next_at),
            why: row.why,
            created_at: from_sql(row.created_at),
            ended_at: row.ended_at.map(from_sql),
            place: ApprovalPlace::read(&row.place),
            place_why: row.place_why,
        })
    }
}

/// Keeps an approval; who pays it stays as it was.
pub(crate) async fn put_approval(
    conn: &mut SqliteConnection,
    row: &ApprovalRow,
) -> Result<(), ClientError> {
    let (request, up_to) = (row.request.to_string(), to_sql(row.up_to));
    let (until, first) = (row.until.map(to_sql), i64::from(row.first_turn));
    let (next, created) = (to_sql(row.next_at), to_sql(row.created_at));
    let ended = row.ended_at.map(to_sql);
    sqlx::query!(
        "INSERT INTO approval (request, up_to, until, first_turn, next_at, why, created_at, ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (request) DO UPDATE SET up_to = excluded.up_to, until = excluded.until, first_turn = excluded.first_turn,
             next_at = excluded.next_at, why = excluded.why, ended_at = excluded.ended_at",
        request,
        up_to,
        until,
        first,
        next,
        row.why,
        created,
        ended
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The approval of a request.
pub(crate) async fn approval(
    conn: &mut SqliteConnection,
    request: &RecordHash,
) -> Result<Option<ApprovalRow>, ClientError> {
    let request = request.to_string();
    let row = sqlx::query_as!(
        ApprovalColumns,
        "SELECT request, up_to, until, first_turn, next_at, why, created_at, ended_at, place, place_why
         FROM approval WHERE request = ?",
        request
    )
    .fetch_optional(conn)
    .await?;
    row.map(ApprovalRow::try_from).transpose()
}

/// All approvals, newest first, at most `limit`.
pub(crate) async fn approvals(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<ApprovalRow>, ClientError> {
    let rows = sqlx::query_as!(
        ApprovalColumns,
        "SELECT request, up_to, until, first_turn, next_at, why, created_at, ended_at, place, place_why
         FROM approval
         ORDER BY created_at DESC, request LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(ApprovalRow::try_from).collect()
}

/// The approvals in force that this wallet pays and that are due to be looked at, at most `limit`.
pub(crate) async fn approvals_due(
    conn: &mut SqliteConnection,
    now: u64,
    limit: u32,
) -> Result<Vec<ApprovalRow>, ClientError> {
    let now = to_sql(now);
    let rows = sqlx::query_as!(
        ApprovalColumns,
        "SELECT request, up_to, until, first_turn, next_at, why, created_at, ended_at, place, place_why
         FROM approval
         WHERE ended_at IS NULL AND place = 'here' AND next_at <= ? ORDER BY next_at, request LIMIT ?",
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(ApprovalRow::try_from).collect()
}

/// The approvals that may have to be handed to the agent or taken back, at most `limit`.
pub(crate) async fn approvals_to_place(
    conn: &mut SqliteConnection,
    now: u64,
    limit: u32,
) -> Result<Vec<ApprovalRow>, ClientError> {
    let now = to_sql(now);
    let rows = sqlx::query_as!(
        ApprovalColumns,
        "SELECT request, up_to, until, first_turn, next_at, why, created_at, ended_at, place, place_why
         FROM approval
         WHERE (ended_at IS NULL OR place <> 'here') AND place_at <= ? ORDER BY place_at, request LIMIT ?",
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(ApprovalRow::try_from).collect()
}

/// The approvals that are with the agent, or on their way.
pub(crate) async fn approvals_elsewhere(
    conn: &mut SqliteConnection,
) -> Result<Vec<ApprovalRow>, ClientError> {
    let rows = sqlx::query_as!(
        ApprovalColumns,
        "SELECT request, up_to, until, first_turn, next_at, why, created_at, ended_at, place, place_why
         FROM approval
         WHERE place <> 'here' ORDER BY request"
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(ApprovalRow::try_from).collect()
}

/// Notes who pays a request, why not the agent, and when that is looked at again.
pub(crate) async fn set_place(
    conn: &mut SqliteConnection,
    request: &RecordHash,
    place: ApprovalPlace,
    why: Option<&str>,
    at: u64,
) -> Result<(), ClientError> {
    let (request, place, at) = (request.to_string(), place.as_str(), to_sql(at));
    sqlx::query!(
        "UPDATE approval SET place = ?, place_why = ?, place_at = ? WHERE request = ?",
        place,
        why,
        at,
        request
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes why the agent waits with a turn, or that it does not.
pub(crate) async fn set_why(
    conn: &mut SqliteConnection,
    request: &RecordHash,
    why: Option<&str>,
) -> Result<(), ClientError> {
    let request = request.to_string();
    sqlx::query!(
        "UPDATE approval SET why = ? WHERE request = ? AND place = 'agent'",
        why,
        request
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The agent has news of it: it is looked at now.
pub(crate) async fn look_now(
    conn: &mut SqliteConnection,
    request: &RecordHash,
) -> Result<(), ClientError> {
    let request = request.to_string();
    sqlx::query!(
        "UPDATE approval SET place_at = 0 WHERE request = ? AND place = 'agent'",
        request
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// There is no agent any more: this wallet pays everything.
pub(crate) async fn all_here(conn: &mut SqliteConnection) -> Result<(), ClientError> {
    sqlx::query!(
        "UPDATE approval SET place = 'here', place_why = NULL, place_at = 0, next_at = 0 WHERE place <> 'here'"
    )
    .execute(conn)
    .await?;
    Ok(())
}
