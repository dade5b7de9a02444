//! What the user decided of proposals, and what became of it.

use atomicity_ledger::RecordId;
use sqlx::SqliteConnection;

use super::{from_sql, json_in, parse_own, to_sql};
use crate::error::ClientError;
use crate::net::plugin::Wish;

/// What the user decided, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProposalState {
    /// They have not decided.
    Seen,
    /// They agreed; it is not done yet.
    Accepted,
    /// They don't want it.
    Declined,
    /// It was done.
    Done,
    /// It was not done, and will not be.
    Failed,
}

impl ProposalState {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    fn read(name: &str) -> Result<Self, ClientError> {
        let all = [
            Self::Seen,
            Self::Accepted,
            Self::Declined,
            Self::Done,
            Self::Failed,
        ];
        let found = all.into_iter().find(|state| state.name() == name);
        found.ok_or_else(|| ClientError::StoreCorrupt {
            what: "a proposal",
            why: format!("{name:?} is no state"),
        })
    }
}

/// A proposal on which the user has decided.
#[derive(Clone, Debug)]
pub(crate) struct ProposalRow {
    pub id: RecordId,
    pub plugin: String,
    pub wish: Wish,
    pub state: ProposalState,
    pub told: bool,
    pub fee: u64,
    pub max_fee: Option<u64>,
    /// How much it was, where that was not known before.
    pub amount: Option<u64>,
    pub reason: Option<String>,
    pub at: u64,
}

/// What something cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Beyond the amount, in minor units.
    pub fee: u64,
    /// The amount, where that was not known before.
    pub amount: Option<u64>,
}

macro_rules! row {
    ($row:expr) => {{
        let row = $row;
        Ok::<_, ClientError>(ProposalRow {
            id: parse_own(&row.id, "a proposal")?,
            plugin: row.plugin,
            wish: json_in(&row.wish, "a proposal")?,
            state: ProposalState::read(&row.state)?,
            told: row.told != 0,
            fee: from_sql(row.fee),
            max_fee: row.max_fee.map(from_sql),
            amount: row.amount.map(from_sql),
            reason: row.reason,
            at: from_sql(row.at),
        })
    }};
}

/// One of them.
pub(crate) async fn get(
    conn: &mut SqliteConnection,
    id: &RecordId,
) -> Result<Option<ProposalRow>, ClientError> {
    let id = id.to_string();
    let row = sqlx::query!(
        "SELECT id, plugin, wish, state, told, fee, max_fee, amount, reason, at FROM proposal WHERE id = ?",
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| row!(row)).transpose()
}

/// Those that are to be done, or of which the plugin is to be told.
pub(crate) async fn unfinished(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<ProposalRow>, ClientError> {
    let limit = i64::from(limit);
    let rows = sqlx::query!(
        "SELECT id, plugin, wish, state, told, fee, max_fee, amount, reason, at FROM proposal
         WHERE state = 'accepted' OR told = 0 ORDER BY at LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| row!(row)).collect()
}

/// Keeps what the user decided; `false` if they had decided before.
pub(crate) async fn decide(
    conn: &mut SqliteConnection,
    row: &ProposalRow,
) -> Result<bool, ClientError> {
    let (id, wish) = (row.id.to_string(), super::json_out(&row.wish)?);
    let (state, at) = (row.state.name(), to_sql(row.at));
    let max_fee = row.max_fee.map(to_sql);
    let done = sqlx::query!(
        "INSERT INTO proposal (id, plugin, wish, state, told, max_fee, at) VALUES (?, ?, ?, ?, 0, ?, ?)
         ON CONFLICT (id) DO UPDATE SET plugin = excluded.plugin, wish = excluded.wish, state = excluded.state, told = 0,
             max_fee = excluded.max_fee, at = excluded.at WHERE proposal.state = 'seen'",
        id,
        row.plugin,
        wish,
        state,
        max_fee,
        at
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The user says no: also to what they agreed to, as long as the plugin has not heard of it.
pub(crate) async fn decline(
    conn: &mut SqliteConnection,
    id: &RecordId,
    at: u64,
) -> Result<(), ClientError> {
    let (id, at) = (id.to_string(), to_sql(at));
    sqlx::query!(
        "UPDATE proposal SET state = 'declined', told = 0, at = ?
         WHERE id = ? AND (state = 'seen' OR (state = 'accepted' AND told = 0))",
        at,
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets what was only seen, all but the newest `kept`.
pub(crate) async fn forget_seen(conn: &mut SqliteConnection, kept: u32) -> Result<(), ClientError> {
    let kept = i64::from(kept);
    sqlx::query!(
        "DELETE FROM proposal WHERE state = 'seen' AND id NOT IN
             (SELECT id FROM proposal WHERE state = 'seen' ORDER BY at DESC, id LIMIT ?)",
        kept
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that a proposal was seen; `false` if it was before.
pub(crate) async fn see(
    conn: &mut SqliteConnection,
    (id, plugin): (&RecordId, &str),
    wish: &Wish,
    at: u64,
) -> Result<bool, ClientError> {
    let (id, wish, at) = (id.to_string(), super::json_out(wish)?, to_sql(at));
    let done = sqlx::query!(
        "INSERT INTO proposal (id, plugin, wish, state, told, at) VALUES (?, ?, ?, 'seen', 1, ?) ON CONFLICT (id) DO NOTHING",
        id,
        plugin,
        wish,
        at
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Keeps what became of one that was to be done.
pub(crate) async fn end(
    conn: &mut SqliteConnection,
    id: &RecordId,
    (state, told): (ProposalState, bool),
    (done, reason): (Cost, Option<&str>),
) -> Result<(), ClientError> {
    let (id, state, told) = (id.to_string(), state.name(), i64::from(told));
    let (fee, amount) = (to_sql(done.fee), done.amount.map(to_sql));
    sqlx::query!(
        "UPDATE proposal SET state = ?, told = ?, fee = ?, amount = ?, reason = ? WHERE id = ? AND state = 'accepted'",
        state,
        told,
        fee,
        amount,
        reason,
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The plugin knows how it stands, if that is still so.
pub(crate) async fn told(
    conn: &mut SqliteConnection,
    id: &RecordId,
    state: ProposalState,
) -> Result<(), ClientError> {
    let (id, state) = (id.to_string(), state.name());
    sqlx::query!(
        "UPDATE proposal SET told = 1 WHERE id = ? AND state = ?",
        id,
        state
    )
    .execute(conn)
    .await?;
    Ok(())
}
