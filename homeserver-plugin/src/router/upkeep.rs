//! What is done now and then: own users, expiry, figures.

use std::time::Duration;

use super::{Router, now, store};
use crate::clock;
use crate::error::PluginError;
use crate::state::AppState;

/// How often.
const EVERY: Duration = Duration::from_secs(10);
/// Every so many rounds memory is tidied up.
const TIDY: u32 = 360;
/// Keys that nothing is signed with are forgotten after so long, in milliseconds.
const UNUSED_MS: i64 = 86_400_000;

/// Runs until the process stops.
pub async fn run(state: &AppState, router: &Router) {
    let mut rounds = 0u32;
    loop {
        if state.readiness.lock_held()
            && let Err(error) = round(state, router, rounds).await
        {
            tracing::warn!(%error, "the router could not look after its tables; tried again later");
        }
        rounds = rounds.wrapping_add(1);
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn round(state: &AppState, router: &Router, rounds: u32) -> Result<(), PluginError> {
    pin(state, router).await?;
    router.map.purge(now());
    store::adverts::expire(&state.pool, clock::now_ms()).await?;
    store::rates::expire(&state.pool, clock::now_ms()).await?;
    if rounds % TIDY == TIDY - 1 {
        router.map.compact();
        store::forget_homes(&state.pool).await?;
        store::keys::forget_unused(&state.pool, clock::now_ms().saturating_sub(UNUSED_MS)).await?;
        router.per_home.retain_recent();
    }
    measure(router);
    Ok(())
}

/// Whoever has an account here, and whom the operator named.
async fn pin(state: &AppState, router: &Router) -> Result<(), PluginError> {
    let now = clock::now_ms();
    for seed in &router.config.seeds {
        router.frontier().pin(*seed, now);
    }
    let mut after = None;
    loop {
        let page = store::accounts(&state.pool, after).await?;
        let Some(last) = page.last() else { break };
        after = Some(*last);
        let mut frontier = router.frontier();
        for user in page {
            frontier.pin(user, now);
        }
    }
    router.wake();
    Ok(())
}

fn measure(router: &Router) {
    let size = router.map.size();
    let now = clock::now_ms();
    let (users, homes, waiting, lag) = {
        let frontier = router.frontier();
        (
            frontier.users(),
            frontier.homes().count(),
            frontier.waiting(),
            frontier.lag(now),
        )
    };
    router.metrics.graph(&size);
    router.metrics.known(users, homes, waiting);
    router.metrics.lag(lag);
    router.metrics.streams(router.open_streams());
}
