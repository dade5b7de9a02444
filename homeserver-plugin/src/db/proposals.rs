//! What is proposed to users' wallets, and what became of it.

use atomicity_ledger::UserKey;
use sqlx::{PgConnection, PgPool};

use crate::error::PluginError;

/// Most proposals of one user that are kept, whatever became of them.
const MOST_KEPT: i64 = 500;

/// How far a proposal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The wallet has not decided.
    Open,
    /// The user has agreed on their device; the wallet is at it.
    Accepted,
    /// The user does not want it.
    Declined,
    /// Whoever proposed it took it back.
    Withdrawn,
    /// It was done.
    Done,
    /// It was not done, and will not be.
    Failed,
}

impl State {
    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Withdrawn => "withdrawn",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    fn read(word: &str) -> Option<Self> {
        [
            Self::Open,
            Self::Accepted,
            Self::Declined,
            Self::Withdrawn,
            Self::Done,
            Self::Failed,
        ]
        .into_iter()
        .find(|state| state.word() == word)
    }

    /// From which states it is reached.
    #[must_use]
    pub fn follows(self) -> &'static [&'static str] {
        match self {
            Self::Open => &[],
            Self::Accepted | Self::Declined | Self::Withdrawn => &["open"],
            // Whoever begins and ends without a word between is as good.
            Self::Done | Self::Failed => &["open", "accepted"],
        }
    }
}

/// A proposal.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub id: String,
    /// When it was made, Unix milliseconds.
    pub at: i64,
    /// From then on it can't be accepted any more.
    pub expires: i64,
    /// What was asked for.
    pub digest: Vec<u8>,
    /// What is proposed, JSON.
    pub body: String,
    /// How far it is.
    pub state: State,
    /// What the wallet said of it, JSON.
    pub told: Option<String>,
    /// When it last changed.
    pub changed_at: i64,
}

macro_rules! row {
    ($row:expr) => {{
        let row = $row;
        Ok::<_, PluginError>(Row {
            id: row.id,
            at: row.at,
            expires: row.expires,
            digest: row.digest,
            body: row.body,
            state: State::read(&row.state).ok_or_else(|| {
                PluginError::Internal("the database holds a state that is none".to_owned())
            })?,
            told: row.told,
            changed_at: row.changed_at,
        })
    }};
}

/// A proposal of a user.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn get(pool: &PgPool, owner: &UserKey, id: &str) -> Result<Option<Row>, PluginError> {
    let row = sqlx::query!(
        "SELECT id, at, expires, digest, body, state, told, changed_at FROM proposals WHERE owner = $1 AND id = $2",
        owner.as_bytes(),
        id
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| row!(row)).transpose()
}

/// The proposals of a user, the newest first; those that wait or are being done only, if `open`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn list(
    pool: &PgPool,
    owner: &UserKey,
    (open, now): (bool, i64),
    limit: i64,
) -> Result<Vec<Row>, PluginError> {
    let rows = sqlx::query!(
        "SELECT id, at, expires, digest, body, state, told, changed_at FROM proposals
         WHERE owner = $1 AND (NOT $2 OR state = 'accepted' OR (state = 'open' AND expires > $3))
         ORDER BY at DESC, id LIMIT $4",
        owner.as_bytes(),
        open,
        now,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| row!(row)).collect()
}

/// Stores a new proposal, unless one of its name is there, or as many are open as may be. Where as many are kept as may be, those that
/// ended longest ago make room; those that a wallet is at don't. Returns whether it did.
///
/// # Errors
/// `account_unknown` without an open account, or [`PluginError::Database`].
pub async fn add(
    pool: &PgPool,
    owner: &UserKey,
    row: &Row,
    most: i64,
) -> Result<bool, PluginError> {
    let mut tx = pool.begin().await?;
    // Locked, so that no two count at the same time.
    let open = sqlx::query_scalar!(
        r#"SELECT closed_at IS NULL AS "open!" FROM accounts WHERE owner = $1 FOR NO KEY UPDATE"#,
        owner.as_bytes()
    )
    .fetch_optional(&mut *tx)
    .await?;
    if open != Some(true) {
        return Err(PluginError::NotFound {
            code: "account_unknown",
            detail: "register first: PUT /v0/me",
        });
    }
    make_room(&mut tx, owner, row.at).await?;
    let done = sqlx::query!(
        "INSERT INTO proposals (owner, id, at, expires, digest, body, state, changed_at)
         SELECT $1, $2, $3, $4, $5, $6, 'open', $3
         WHERE (SELECT count(*) FROM proposals WHERE owner = $1 AND state = 'open' AND expires > $3) < $7
           AND (SELECT count(*) FROM proposals WHERE owner = $1) < $8
         ON CONFLICT DO NOTHING",
        owner.as_bytes(),
        row.id,
        row.at,
        row.expires,
        row.digest,
        row.body,
        most,
        MOST_KEPT
    )
    .execute(&mut *tx)
    .await?;
    let is_stored = done.rows_affected() == 1;
    // Nothing makes room for what was not stored.
    match is_stored {
        true => tx.commit().await?,
        false => tx.rollback().await?,
    }
    Ok(is_stored)
}

/// Forgets those proposals of a user that ended longest ago, as many as it takes for one more.
async fn make_room(tx: &mut PgConnection, owner: &UserKey, now: i64) -> Result<(), PluginError> {
    sqlx::query!(
        "DELETE FROM proposals WHERE owner = $1 AND id IN (
             SELECT id FROM proposals
             WHERE owner = $1 AND state <> 'accepted' AND (state <> 'open' OR expires <= $2)
             ORDER BY changed_at, id
             LIMIT GREATEST(0, (SELECT count(*) FROM proposals WHERE owner = $1) - $3 + 1))",
        owner.as_bytes(),
        now,
        MOST_KEPT
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Moves a proposal on, if it is where `state` can follow and, to be accepted, has not expired. Returns whether it did.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn advance(
    pool: &PgPool,
    owner: &UserKey,
    id: &str,
    (state, told): (State, Option<&str>),
    now: i64,
) -> Result<bool, PluginError> {
    let from: Vec<String> = state.follows().iter().map(|w| (*w).to_owned()).collect();
    let done = sqlx::query!(
        "UPDATE proposals SET state = $3, told = COALESCE($4, told), changed_at = GREATEST($5, at)
         WHERE owner = $1 AND id = $2 AND state = ANY($6) AND ($3 <> 'accepted' OR expires > $5)",
        owner.as_bytes(),
        id,
        state.word(),
        told,
        now,
        &from
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes what the wallet says while it has not decided: a quote.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn quote(
    pool: &PgPool,
    owner: &UserKey,
    id: &str,
    told: &str,
    now: i64,
) -> Result<bool, PluginError> {
    let done = sqlx::query!(
        "UPDATE proposals SET told = $3, changed_at = GREATEST($4, at) WHERE owner = $1 AND id = $2 AND state = 'open'",
        owner.as_bytes(),
        id,
        told,
        now
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}
