//! Accounts as operators see them: what waits for them, what their agents do, and switching them off and on.

use std::sync::Arc;

use atomicity_ledger::UserKey;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use utoipa::ToSchema;

use super::audit::{self, Action, Operator};
use crate::agent::{engine, store};
use crate::clock;
use crate::error::PluginError;
use crate::state::AppState;

/// Longest reason, in bytes.
const MOST_REASON: usize = 512;

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountLine {
    /// Whose, z-base-32.
    pub user: String,
    /// When it was made, Unix milliseconds.
    pub registered_at: i64,
    /// When its user left.
    pub closed_at: Option<i64>,
    /// When an operator switched it off.
    pub disabled_at: Option<i64>,
    /// Why.
    pub disabled_why: Option<String>,
    /// Envelopes that wait.
    pub queued: i64,
    /// Bytes that wait.
    pub queued_bytes: i64,
    /// How its agent stands: `active`, `stopped`, `new`; none if it has none.
    pub agent: Option<String>,
}

/// One account in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountDetail {
    /// What the list says of it.
    #[serde(flatten)]
    pub line: AccountLine,
    /// Friends that may write to it, as tags.
    pub tags: i64,
    /// Envelopes of strangers among those that wait.
    pub strangers: i64,
    /// When the oldest envelope came that waits.
    pub oldest_at: Option<i64>,
    /// Sessions that are open.
    pub sessions: i64,
    /// When the wallet last pushed a summary of its books.
    pub snapshot_at: Option<i64>,
    /// What its agent does, if it has one.
    pub agent_work: Option<AgentWork>,
}

/// What the agent of one user does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentWork {
    /// Its key, z-base-32.
    pub key: Option<String>,
    /// Why it stopped.
    pub why: Option<String>,
    /// Until when it may work, Unix milliseconds.
    pub until: i64,
    /// Friends whose books it keeps.
    pub pairs: i64,
    /// Records that can't be judged yet.
    pub held: i64,
    /// Parcels that wait to be sent.
    pub to_send: i64,
    /// Promises that are not decided.
    pub promises: i64,
    /// Spends of payment accounts that are open.
    pub spends: i64,
    /// What it has signed: how often each kind.
    pub signed: Vec<Signed>,
}

/// How often something was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Signed {
    /// What, such as `state`.
    pub what: String,
    /// How often.
    pub count: i64,
    /// Last, Unix milliseconds.
    pub last_at: i64,
}

/// A signature of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Signature {
    /// Its number; later ones are greater.
    pub id: String,
    /// When, Unix milliseconds.
    pub at: i64,
    /// Towards whom.
    pub peer: Option<String>,
    /// What it was.
    pub what: String,
    /// In what.
    pub unit: Option<String>,
    /// How much it is about, in minor units.
    pub amount: Option<String>,
}

/// A key that the database holds, in z-base-32.
pub(super) fn z32(bytes: &[u8]) -> Option<String> {
    let bytes: [u8; 32] = bytes.try_into().ok()?;
    Some(UserKey::from_bytes(bytes).ok()?.to_z32())
}

fn unknown() -> PluginError {
    PluginError::NotFound {
        code: "account_unknown",
        detail: "there is no such account",
    }
}

/// Accounts above the key `after`, ascending; only those that are switched off if `disabled`.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn list(
    pool: &PgPool,
    after: &[u8],
    disabled: bool,
    limit: i64,
) -> Result<Vec<AccountLine>, PluginError> {
    let rows = sqlx::query!(
        r#"SELECT a.owner, a.registered_at, a.closed_at, a.disabled_at, a.disabled_why, a.queued, a.queued_bytes,
                  g.status AS "agent?"
           FROM accounts a LEFT JOIN agents g USING (owner)
           WHERE a.owner > $1 AND (NOT $2 OR a.disabled_at IS NOT NULL) ORDER BY a.owner LIMIT $3"#,
        after,
        disabled,
        limit
    )
    .fetch_all(pool)
    .await?;
    let lines = rows.into_iter().map(|row| AccountLine {
        user: z32(&row.owner).unwrap_or_default(),
        registered_at: row.registered_at,
        closed_at: row.closed_at,
        disabled_at: row.disabled_at,
        disabled_why: row.disabled_why,
        queued: row.queued,
        queued_bytes: row.queued_bytes,
        agent: row.agent,
    });
    Ok(lines.collect())
}

/// One account.
///
/// # Errors
/// `account_unknown`; [`PluginError::Database`].
pub async fn one(pool: &PgPool, user: &UserKey) -> Result<AccountDetail, PluginError> {
    let row = sqlx::query!(
        r#"SELECT a.registered_at, a.closed_at, a.disabled_at, a.disabled_why, a.queued, a.queued_bytes, a.strangers,
                  (SELECT status FROM agents g WHERE g.owner = a.owner) AS agent,
                  (SELECT count(*) FROM tags t WHERE t.owner = a.owner) AS "tags!",
                  (SELECT min(received_at) FROM envelopes e WHERE e.owner = a.owner AND e.acked_at IS NULL) AS oldest_at,
                  (SELECT count(*) FROM sessions s WHERE s.owner = a.owner AND s.expires_at > $2) AS "sessions!",
                  (SELECT at FROM snapshots s WHERE s.owner = a.owner) AS snapshot_at
           FROM accounts a WHERE a.owner = $1"#,
        user.as_bytes(),
        clock::now_ms()
    )
    .fetch_optional(pool)
    .await?
    .ok_or_else(unknown)?;
    Ok(AccountDetail {
        line: AccountLine {
            user: user.to_z32(),
            registered_at: row.registered_at,
            closed_at: row.closed_at,
            disabled_at: row.disabled_at,
            disabled_why: row.disabled_why,
            queued: row.queued,
            queued_bytes: row.queued_bytes,
            agent: row.agent,
        },
        tags: row.tags,
        strangers: row.strangers,
        oldest_at: row.oldest_at,
        sessions: row.sessions,
        snapshot_at: row.snapshot_at,
        agent_work: agent_work(pool, user).await?,
    })
}

async fn agent_work(pool: &PgPool, user: &UserKey) -> Result<Option<AgentWork>, PluginError> {
    let row = sqlx::query!(
        r#"SELECT key, why, until,
                  (SELECT count(*) FROM agent_pairs p WHERE p.owner = g.owner AND p.status = 'kept') AS "pairs!",
                  (SELECT count(*) FROM agent_held h WHERE h.owner = g.owner) AS "held!",
                  (SELECT count(*) FROM agent_outbox o WHERE o.owner = g.owner) AS "to_send!",
                  (SELECT count(DISTINCT iou) FROM agent_promises p WHERE p.owner = g.owner) AS "promises!",
                  (SELECT count(*) FROM agent_spends s WHERE s.owner = g.owner AND s.ended_at IS NULL) AS "spends!"
           FROM agents g WHERE g.owner = $1"#,
        user.as_bytes()
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let signed = sqlx::query!(
        r#"SELECT what, count(*) AS "count!", max(at) AS "last_at!" FROM agent_journal WHERE owner = $1 GROUP BY what ORDER BY what"#,
        user.as_bytes()
    )
    .fetch_all(pool)
    .await?;
    let signed = signed.into_iter().map(|row| Signed {
        what: row.what,
        count: row.count,
        last_at: row.last_at,
    });
    Ok(Some(AgentWork {
        key: z32(&row.key),
        why: row.why,
        until: row.until,
        pairs: row.pairs,
        held: row.held,
        to_send: row.to_send,
        promises: row.promises,
        spends: row.spends,
        signed: signed.collect(),
    }))
}

/// What the agent of `user` signed, newest first, below the number `before`. Without the records themselves: those are the user's.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn signatures(
    pool: &PgPool,
    user: &UserKey,
    before: i64,
    limit: i64,
) -> Result<Vec<Signature>, PluginError> {
    let rows = sqlx::query!(
        "SELECT id, at, peer, what, unit, amount FROM agent_journal WHERE owner = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        user.as_bytes(),
        before,
        limit
    )
    .fetch_all(pool)
    .await?;
    let signatures = rows.into_iter().map(|row| Signature {
        id: row.id.to_string(),
        at: row.at,
        peer: z32(&row.peer),
        what: row.what,
        unit: row.unit,
        amount: row.amount.map(|amount| amount.to_string()),
    });
    Ok(signatures.collect())
}

/// Switches an account off: its user's calls are refused and its agent signs nothing, but nothing in it is lost, and what others
/// send to it is kept. Doing it again changes the reason.
///
/// # Errors
/// `account_unknown`; `reason_invalid`; [`PluginError::Database`].
pub async fn disable(
    state: &AppState,
    operator: Operator,
    user: &UserKey,
    why: &str,
) -> Result<(), PluginError> {
    let why = why.trim();
    if why.is_empty() || why.len() > MOST_REASON || why.chars().any(char::is_control) {
        return Err(PluginError::BadRequest {
            code: "reason_invalid",
            detail: format!("say why, in one line of at most {MOST_REASON} bytes"),
        });
    }
    let action = Action {
        name: "disable_account",
        subject: Some(user),
        detail: why,
    };
    set(state, operator, action, user, Some(why)).await
}

/// Switches an account on again. Its agent takes up what has come meanwhile.
///
/// # Errors
/// `account_unknown`; [`PluginError::Database`].
pub async fn enable(
    state: &AppState,
    operator: Operator,
    user: &UserKey,
) -> Result<(), PluginError> {
    let action = Action {
        name: "enable_account",
        subject: Some(user),
        detail: "",
    };
    set(state, operator, action, user, None).await
}

async fn set(
    state: &AppState,
    operator: Operator,
    action: Action<'_>,
    user: &UserKey,
    why: Option<&str>,
) -> Result<(), PluginError> {
    // One after the other: what is remembered must be what was decided last.
    let _turn = state.operating.lock().await;
    let written = write(state, operator, action, user, why).await;
    // Whether or not that was answered: what counts is what the database says now.
    let applied = apply(state, user).await;
    written.and(applied)
}

async fn write(
    state: &AppState,
    operator: Operator,
    action: Action<'_>,
    user: &UserKey,
    why: Option<&str>,
) -> Result<(), PluginError> {
    let mut tx = state.pool.begin().await?;
    let found = sqlx::query!(
        "UPDATE accounts SET disabled_why = $2::text,
                disabled_at = CASE WHEN $2::text IS NULL THEN NULL ELSE COALESCE(disabled_at, $3) END
         WHERE owner = $1",
        user.as_bytes(),
        why,
        clock::now_ms()
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if found == 0 {
        return Err(unknown());
    }
    audit::note(&mut *tx, operator, action).await?;
    tx.commit().await?;
    Ok(())
}

/// Does in this process what the database says about an account.
async fn apply(state: &AppState, user: &UserKey) -> Result<(), PluginError> {
    let is_disabled = sqlx::query_scalar!(
        r#"SELECT disabled_at IS NOT NULL AS "disabled!" FROM accounts WHERE owner = $1"#,
        user.as_bytes()
    )
    .fetch_optional(&state.pool)
    .await?
    .unwrap_or(false);
    state.disabled.set(user, is_disabled);
    let Some(agent) = &state.agent else {
        return Ok(());
    };
    if is_disabled {
        // Once this returns, the agent signs nothing any more.
        agent.replace(user, None).await;
        agent.forget_tags(user);
    } else if agent.keeper(user).is_none()
        && let Some(row) = store::find(&state.pool, user).await?
        && row.status == "active"
    {
        let keeper = Arc::new(engine::revive(state, &row)?);
        agent.replace(user, Some(keeper.clone())).await;
        engine::take_up(state, agent, &keeper).await?;
    }
    // Live streams look whether they may go on.
    state.hub.wake(user.as_bytes());
    state.snapshots.wake(user.as_bytes());
    if let Some(agent) = &state.agent {
        agent.hub().wake(user.as_bytes());
    }
    Ok(())
}
