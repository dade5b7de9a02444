//! Doing what the frontier decides: one look-up at a time, a few visits at a time.

use std::time::Duration;

use atomicity_ledger::UserKey;
use tokio::task::JoinSet;

use super::frontier::{Settled, Source, Visit};
use super::{Router, store, visit as reading};
use crate::clock;
use crate::error::PluginError;
use crate::state::AppState;

/// How long to wait for something to do, if nobody calls.
const PAUSE: Duration = Duration::from_millis(250);
/// Pause after the database or the network failed.
const RETRY: Duration = Duration::from_secs(2);

async fn pause(state: &AppState, router: &Router, time: Duration) -> bool {
    tokio::select! {
        () = state.shutdown.cancelled() => false,
        () = router.wake.notified() => true,
        () = tokio::time::sleep(time) => true,
    }
}

/// Looks users up, until the process stops.
pub async fn look_up(state: &AppState, router: &Router) {
    loop {
        let next = match state.readiness.lock_held() {
            true => router.frontier().next_unresolved(clock::now_ms()),
            false => None,
        };
        let go_on = match next {
            None => pause(state, router, PAUSE).await,
            Some(user) => tokio::select! {
                () = state.shutdown.cancelled() => false,
                done = settle(state, router, user) => match done {
                    Ok(_) => true,
                    Err(error) => {
                        tracing::debug!(code = error.code(), "a user could not be looked up");
                        retry(state, router, user, &error).await
                    }
                }
            },
        };
        if !go_on {
            return;
        }
    }
}

/// What the operator named is looked up again; others have to be named again.
async fn retry(state: &AppState, router: &Router, user: UserKey, error: &PluginError) -> bool {
    router.metrics.lookup(error.code());
    if matches!(error, PluginError::Database(_)) {
        let now = clock::now_ms();
        router.frontier().suggest(user, Source::Hello, now);
        return pause(state, router, RETRY).await;
    }
    true
}

/// Asks the network where `user` lives and tells the frontier. Returns the home.
///
/// # Errors
/// [`PluginError::Upstream`] if the network can't be asked: no news. [`PluginError::Database`].
pub async fn settle(
    state: &AppState,
    router: &Router,
    user: UserKey,
) -> Result<Option<UserKey>, PluginError> {
    let home = {
        let _turn = router.lookup.lock().await;
        state.resolver.homeserver_of(&user).await?
    };
    let now = clock::now_ms();
    let settled = router.frontier().settle(user, home, now);
    let outcome = match &settled {
        Settled::New(_) => "new",
        Settled::Known => "known",
        Settled::Nowhere => "nowhere",
        Settled::Full(limit) => {
            router.metrics.refused(limit);
            "full"
        }
    };
    router.metrics.lookup(outcome);
    if let Settled::New(gone) = &settled {
        forget(state, router, gone).await?;
        router.wake();
    }
    keep(state, router, &user).await?;
    Ok(home)
}

async fn forget(state: &AppState, router: &Router, users: &[UserKey]) -> Result<(), PluginError> {
    if !users.is_empty() {
        store::forget(&state.pool, users).await?;
        for user in users {
            router.map.forget(user);
        }
    }
    Ok(())
}

/// Stores what the crawler knows of a user.
async fn keep(state: &AppState, router: &Router, user: &UserKey) -> Result<(), PluginError> {
    let known = router.frontier().user(user).cloned();
    match known {
        Some(known) => store::put_user(&state.pool, user, &known).await,
        None => Ok(()),
    }
}

/// Visits users, until the process stops.
pub async fn visit(state: &AppState, router: &Router) {
    let mut visits = JoinSet::new();
    loop {
        while visits.len() < router.config.visits && state.readiness.lock_held() {
            let Some(next) = router.frontier().next_visit(clock::now_ms()) else {
                break;
            };
            visits.spawn(one(state.clone(), router.clone(), next));
        }
        tokio::select! {
            () = state.shutdown.cancelled() => break,
            Some(_) = visits.join_next(), if !visits.is_empty() => {}
            () = router.wake.notified() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    visits.shutdown().await;
}

async fn one(state: AppState, router: Router, visit: Visit) {
    // Who was just found may not be stored yet, and nothing can be kept of them before.
    if let Err(error) = keep(&state, &router, &visit.user).await {
        tracing::debug!(%error, "a user could not be stored");
    }
    let outcome = reading::read(&state, &router, &visit).await;
    let now = clock::now_ms();
    if !outcome.home_failed {
        router.heard(now);
    }
    let (hopeless, home) = {
        let mut frontier = router.frontier();
        let hopeless = frontier.finish(&visit, &outcome, now, rand::random_range(0.0..1.0));
        if hopeless {
            frontier.forget(&visit.user);
        }
        let home = frontier
            .home(&visit.home)
            .map(|home| (home.failures, home.next_at));
        (hopeless, home)
    };
    let stored = async {
        if hopeless {
            forget(&state, &router, &[visit.user]).await?;
        } else {
            keep(&state, &router, &visit.user).await?;
        }
        match home {
            Some((failures, next_at)) => {
                store::put_home(&state.pool, &visit.home, failures, next_at).await
            }
            None => Ok(()),
        }
    };
    if let Err(error) = stored.await {
        tracing::warn!(%error, "what a visit led to could not be stored");
    }
}
