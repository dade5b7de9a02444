//! Clears away what nobody can need any more. Works in small bites, so that no lock is held long.

use std::time::Duration;

use sqlx::PgPool;

use crate::clock;
use crate::error::PluginError;
use crate::state::AppState;

/// How often.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long a proposal to a wallet is kept after its last change, in seconds.
const PROPOSALS_S: u64 = 30 * 24 * 3_600;
/// The same of one that a wallet is at: no wallet is at it that long.
const ACCEPTED_S: u64 = 60 * 24 * 3_600;
/// How long what a guest wanted to pay is kept after its last change, in seconds.
const GUESTS_S: u64 = 30 * 24 * 3_600;
/// The same of what can still be paid: no wallet says nothing of it that long.
const OFFERED_S: u64 = 60 * 24 * 3_600;
/// Most rows of one kind in one statement.
const BITE: i64 = 1_000;

/// Runs until the process stops.
pub async fn run(state: AppState) {
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        state.limits.forget_idle();
        if !state.readiness.lock_held() {
            continue;
        }
        let config = &state.config;
        let now = clock::now_ms();
        let ages = Ages {
            now,
            acked_before: before(now, config.inbox.remember_s),
            closed_before: before(now, config.accounts.drain_s),
            proposed_before: before(now, PROPOSALS_S),
            accepted_before: before(now, ACCEPTED_S),
            guests_before: before(now, GUESTS_S),
            offered_before: before(now, OFFERED_S),
        };
        if let Err(error) = sweep(&state.pool, &ages).await {
            tracing::warn!(%error, "clearing away failed; tried again later");
        }
    }
}

fn before(now: i64, seconds: u64) -> i64 {
    let millis = i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
    now.saturating_sub(millis)
}

/// What counts as old.
#[derive(Clone, Copy, Debug)]
pub struct Ages {
    /// The time.
    pub now: i64,
    /// Envelopes acknowledged before this are forgotten.
    pub acked_before: i64,
    /// Accounts closed before this are removed with all they hold.
    pub closed_before: i64,
    /// Proposals to wallets that have not changed since are forgotten.
    pub proposed_before: i64,
    /// The same of those that a wallet has accepted, and said nothing of since.
    pub accepted_before: i64,
    /// What guests wanted to pay and has not changed since is forgotten.
    pub guests_before: i64,
    /// The same of what can still be paid, and of which the wallet has said nothing since.
    pub offered_before: i64,
}

/// Clears one bite of each kind.
///
/// # Errors
/// [`PluginError::Database`].
pub async fn sweep(pool: &PgPool, ages: &Ages) -> Result<(), PluginError> {
    sqlx::query!(
        "DELETE FROM sessions WHERE ctid = ANY(ARRAY(SELECT ctid FROM sessions WHERE expires_at <= $1 LIMIT $2))",
        ages.now,
        BITE
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "DELETE FROM proof_nonces WHERE ctid = ANY(ARRAY(SELECT ctid FROM proof_nonces WHERE expires_at <= $1 LIMIT $2))",
        ages.now,
        BITE
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "DELETE FROM envelopes WHERE ctid = ANY(ARRAY(SELECT ctid FROM envelopes WHERE acked_at <= $1 LIMIT $2))",
        ages.acked_before,
        10 * BITE
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "DELETE FROM proposals WHERE ctid = ANY(ARRAY(SELECT ctid FROM proposals
             WHERE changed_at <= $1 AND (state <> 'accepted' OR changed_at <= $2) LIMIT $3))",
        ages.proposed_before,
        ages.accepted_before,
        BITE
    )
    .execute(pool)
    .await?;
    sweep_guests(pool, ages).await?;
    sqlx::query!("DELETE FROM budgets WHERE queued = 0")
        .execute(pool)
        .await?;
    sqlx::query!(
        "DELETE FROM accounts WHERE owner IN (SELECT owner FROM accounts WHERE closed_at <= $1 AND disabled_at IS NULL LIMIT 10)",
        ages.closed_before
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Ends what wallets did not answer in time, so that nothing tells any more from where guests came, and forgets what is old.
async fn sweep_guests(pool: &PgPool, ages: &Ages) -> Result<(), PluginError> {
    sqlx::query!(
        "UPDATE guest_parts SET state = 'ended', address = NULL, changed_at = expires
         WHERE ctid = ANY(ARRAY(SELECT ctid FROM guest_parts WHERE state = 'waiting' AND expires <= $1 LIMIT $2))
           AND state = 'waiting'",
        ages.now,
        BITE
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "DELETE FROM guest_parts WHERE ctid = ANY(ARRAY(SELECT ctid FROM guest_parts
             WHERE changed_at <= $1 AND (state NOT IN ('offered', 'seen') OR changed_at <= $2) LIMIT $3))",
        ages.guests_before,
        ages.offered_before,
        BITE
    )
    .execute(pool)
    .await?;
    Ok(())
}
