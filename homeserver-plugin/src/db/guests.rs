//! What guests without an account want to pay of users' public requests, and what the users' wallets say of it.

use atomicity_ledger::UserKey;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};
use utoipa::ToSchema;

use crate::error::PluginError;

/// Most guest parts of one user that are kept, whatever became of them.
const MOST_KEPT: i64 = 500;
/// Most of one user, of one request, and of one request from one network address that wait for the wallet's answer.
const MOST_WAITING: i64 = 200;
const MOST_OF_REQUEST: i64 = 20;
const MOST_OF_ADDRESS: i64 = 3;

/// How a guest pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// By a Lightning invoice.
    Lightning,
    /// To an address on the chain.
    Onchain,
}

impl Way {
    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Lightning => "lightning",
            Self::Onchain => "onchain",
        }
    }

    fn read(word: &str) -> Result<Self, PluginError> {
        [Self::Lightning, Self::Onchain]
            .into_iter()
            .find(|way| way.word() == word)
            .ok_or_else(|| {
                PluginError::Internal("the database holds a way that is none".to_owned())
            })
    }
}

/// How far a guest part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The wallet has not answered.
    Waiting,
    /// It can be paid.
    Offered,
    /// The payment is under way: on the chain, not yet confirmed.
    Seen,
    /// It was paid.
    Paid,
    /// The wallet does not take it.
    Refused,
    /// Nobody answered, or nobody paid, in time.
    Ended,
}

impl State {
    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Offered => "offered",
            Self::Seen => "seen",
            Self::Paid => "paid",
            Self::Refused => "refused",
            Self::Ended => "ended",
        }
    }

    fn read(word: &str) -> Result<Self, PluginError> {
        [
            Self::Waiting,
            Self::Offered,
            Self::Seen,
            Self::Paid,
            Self::Refused,
            Self::Ended,
        ]
        .into_iter()
        .find(|state| state.word() == word)
        .ok_or_else(|| PluginError::Internal("the database holds a state that is none".to_owned()))
    }

    /// From which states it is reached. What is paid late counts, too.
    #[must_use]
    pub fn follows(self) -> &'static [&'static str] {
        match self {
            Self::Waiting => &[],
            Self::Offered | Self::Refused => &["waiting"],
            Self::Seen => &["offered"],
            Self::Paid => &["offered", "seen", "ended"],
            Self::Ended => &["waiting", "offered", "seen"],
        }
    }
}

/// A guest part.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name, which the guest's browser drew.
    pub id: String,
    /// Of which request.
    pub request: String,
    /// In what.
    pub unit: String,
    /// How it is paid.
    pub way: Way,
    /// How much, in minor units: as asked for, as offered, as paid.
    pub amount: i64,
    /// What the guest calls themselves.
    pub name: Option<String>,
    /// Of what the guest asked for.
    pub digest: Vec<u8>,
    /// How far it is, but for time that has passed.
    pub state: State,
    /// When it was made, Unix milliseconds.
    pub at: i64,
    /// Until when the wallet can answer; once it has, until when it can be paid.
    pub expires: i64,
    /// What is to be paid, in thousandths of a satoshi.
    pub price_msat: Option<i64>,
    /// Where it is to be paid: an invoice or an address.
    pub target: Option<String>,
    /// Why it was refused: a code.
    pub reason: Option<String>,
    /// Digests of what the wallet has reported.
    pub reports: Vec<Vec<u8>>,
}

impl Row {
    /// How far it is at `now`: one that nobody answered in time has ended.
    #[must_use]
    pub fn state_at(&self, now: i64) -> State {
        match self.state {
            State::Waiting if self.expires <= now => State::Ended,
            state => state,
        }
    }
}

macro_rules! row {
    ($row:expr) => {{
        let row = $row;
        Ok::<_, PluginError>(Row {
            id: row.id,
            request: row.request,
            unit: row.unit,
            way: Way::read(&row.way)?,
            amount: row.amount,
            name: row.name,
            digest: row.digest,
            state: State::read(&row.state)?,
            at: row.at,
            expires: row.expires,
            price_msat: row.price_msat,
            target: row.target,
            reason: row.reason,
            reports: row.reports,
        })
    }};
}

/// A guest part of a user.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn get(pool: &PgPool, owner: &UserKey, id: &str) -> Result<Option<Row>, PluginError> {
    let row = sqlx::query!(
        "SELECT id, request, unit, way, amount, name, digest, state, at, expires, price_msat, target, reason, reports
         FROM guest_parts WHERE owner = $1 AND id = $2",
        owner.as_bytes(),
        id
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| row!(row)).transpose()
}

/// The guest parts of a user, the newest first; those that wait or can be paid only, if `open`.
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
        "SELECT id, request, unit, way, amount, name, digest, state, at, expires, price_msat, target, reason, reports
         FROM guest_parts
         WHERE owner = $1 AND (NOT $2 OR state IN ('offered', 'seen') OR (state = 'waiting' AND expires > $3))
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

/// Stores a new guest part, unless one of its name is there, or as many wait as may. Where as many are kept as may be, those that ended
/// longest ago make room; those that can still be paid don't. `address` stands for where the guest is. Returns whether it was stored.
///
/// # Errors
/// `guests_unwelcome` without an open account, or [`PluginError::Database`].
pub async fn add(
    pool: &PgPool,
    owner: &UserKey,
    row: &Row,
    address: &[u8; 32],
) -> Result<bool, PluginError> {
    let mut tx = pool.begin().await?;
    // Locked, so that no two count at the same time.
    let open = sqlx::query_scalar!(
        r#"SELECT closed_at IS NULL AND disabled_at IS NULL AS "open!" FROM accounts WHERE owner = $1 FOR NO KEY UPDATE"#,
        owner.as_bytes()
    )
    .fetch_optional(&mut *tx)
    .await?;
    if open != Some(true) {
        return Err(UNWELCOME);
    }
    make_room(&mut tx, owner, row.at).await?;
    let done = sqlx::query!(
        "INSERT INTO guest_parts (owner, id, request, unit, way, amount, name, digest, address, state, at, expires, changed_at)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, 'waiting', $10, $11, $10
         FROM (SELECT count(*) AS kept,
                   count(*) FILTER (WHERE waits) AS waiting,
                   count(*) FILTER (WHERE waits AND request = $3) AS of_request,
                   count(*) FILTER (WHERE waits AND request = $3 AND address = $9) AS of_address
               FROM (SELECT request, address, state = 'waiting' AND expires > $10 AS waits
                     FROM guest_parts WHERE owner = $1) AS parts) AS counted
         WHERE kept < $12 AND waiting < $13 AND of_request < $14 AND of_address < $15
         ON CONFLICT DO NOTHING",
        owner.as_bytes(),
        row.id,
        row.request,
        row.unit,
        row.way.word(),
        row.amount,
        row.name,
        row.digest,
        address,
        row.at,
        row.expires,
        MOST_KEPT,
        MOST_WAITING,
        MOST_OF_REQUEST,
        MOST_OF_ADDRESS
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

/// What a guest is told where nobody takes what they would pay.
pub const UNWELCOME: PluginError = PluginError::NotFound {
    code: "guests_unwelcome",
    detail: "nobody's wallet takes payments of guests for this request here, or not in this way",
};

/// Forgets those guest parts of a user that ended longest ago, as many as it takes for one more.
async fn make_room(tx: &mut PgConnection, owner: &UserKey, now: i64) -> Result<(), PluginError> {
    sqlx::query!(
        "DELETE FROM guest_parts WHERE owner = $1 AND id IN (
             SELECT id FROM guest_parts
             WHERE owner = $1 AND state NOT IN ('offered', 'seen') AND (state <> 'waiting' OR expires <= $2)
             ORDER BY changed_at, id
             LIMIT GREATEST(0, (SELECT count(*) FROM guest_parts WHERE owner = $1) - $3 + 1))",
        owner.as_bytes(),
        now,
        MOST_KEPT
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// What a wallet says of a guest part.
#[derive(Clone, Debug)]
pub struct Step {
    /// How far it is now.
    pub state: State,
    /// How much is offered, or has come.
    pub amount: Option<i64>,
    /// What is to be paid, in thousandths of a satoshi.
    pub price_msat: Option<i64>,
    /// Where it is to be paid.
    pub target: Option<String>,
    /// Until when it can be paid.
    pub expires: Option<i64>,
    /// Why not: a code.
    pub reason: Option<String>,
    /// Of all that was said.
    pub digest: [u8; 32],
}

/// Moves a guest part on, if it is where that can follow. Returns whether it did.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn advance(
    pool: &PgPool,
    owner: &UserKey,
    id: &str,
    step: &Step,
    now: i64,
) -> Result<bool, PluginError> {
    let from: Vec<String> = step
        .state
        .follows()
        .iter()
        .map(|w| (*w).to_owned())
        .collect();
    let done = sqlx::query!(
        "UPDATE guest_parts SET state = $3, amount = COALESCE($4, amount), price_msat = COALESCE($5, price_msat),
             target = COALESCE($6, target), expires = COALESCE($7, expires), reason = $8, address = NULL,
             reports = array_append(reports, $9), changed_at = GREATEST($10, at)
         WHERE owner = $1 AND id = $2
           AND CASE WHEN state = 'waiting' AND expires <= $10 THEN 'ended' ELSE state END = ANY($11)",
        owner.as_bytes(),
        id,
        step.state.word(),
        step.amount,
        step.price_msat,
        step.target,
        step.expires,
        step.reason,
        &step.digest,
        now,
        &from
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// By which ways a user's wallet takes what guests pay in `unit`; none without an open account.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn ways(pool: &PgPool, owner: &UserKey, unit: &str) -> Result<Vec<Way>, PluginError> {
    let words = sqlx::query_scalar!(
        "SELECT way FROM guest_ways JOIN accounts USING (owner)
         WHERE owner = $1 AND unit = $2 AND closed_at IS NULL AND disabled_at IS NULL ORDER BY way",
        owner.as_bytes(),
        unit
    )
    .fetch_all(pool)
    .await?;
    words.iter().map(|word| Way::read(word)).collect()
}

/// Whether a user has an open account and their wallet takes anything of guests by this way.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn takes(pool: &PgPool, owner: &UserKey, way: Way) -> Result<bool, PluginError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM guest_ways JOIN accounts USING (owner)
           WHERE owner = $1 AND way = $2 AND closed_at IS NULL AND disabled_at IS NULL) AS "takes!""#,
        owner.as_bytes(),
        way.word()
    )
    .fetch_one(pool)
    .await?)
}

/// Replaces the ways by which a user's wallet takes what guests pay. `false` without an open account.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn set_ways(
    pool: &PgPool,
    owner: &UserKey,
    ways: &[(Way, String)],
) -> Result<bool, PluginError> {
    let words: Vec<String> = ways.iter().map(|(way, _)| way.word().to_owned()).collect();
    let units: Vec<String> = ways.iter().map(|(_, unit)| unit.clone()).collect();
    let mut tx = pool.begin().await?;
    // Two replacements at once must not end in a mixture.
    let open = sqlx::query_scalar!(
        r#"SELECT closed_at IS NULL AS "open!" FROM accounts WHERE owner = $1 FOR NO KEY UPDATE"#,
        owner.as_bytes()
    )
    .fetch_optional(&mut *tx)
    .await?;
    if open != Some(true) {
        return Ok(false);
    }
    sqlx::query!("DELETE FROM guest_ways WHERE owner = $1", owner.as_bytes())
        .execute(&mut *tx)
        .await?;
    sqlx::query!(
        "INSERT INTO guest_ways (owner, way, unit) SELECT $1, way, unit FROM unnest($2::text[], $3::text[]) AS t (way, unit)
         ON CONFLICT DO NOTHING",
        owner.as_bytes(),
        &words,
        &units
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(true)
}
