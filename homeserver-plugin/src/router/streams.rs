//! Following the events of homeservers, so that changes come within seconds.
//!
//! An event says only *where* something changed; what changed is read by a visit, under the same limits as any other. A homeserver
//! without events, or with too many, is polled like before.

mod event;
mod group;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use atomicity_ledger::UserKey;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::group::Group;
use super::Router;
use super::config::USERS_PER_STREAM;
use crate::state::AppState;

/// How often it is looked whether somebody is to be followed who is not.
const EVERY: Duration = Duration::from_millis(1_500);

/// A stream that is kept open.
struct Running {
    users: Vec<UserKey>,
    stop: CancellationToken,
}

/// Follows events until the process stops.
pub async fn follow(state: &AppState, router: &Router) {
    if !router.config.follow_events {
        return;
    }
    let mut running: HashMap<UserKey, Vec<Running>> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        if state.readiness.lock_held() {
            let wanted = router.frontier().followable();
            running.retain(|home, groups| {
                let stays = wanted.contains_key(home);
                if !stays {
                    stop(groups);
                }
                stays
            });
            for (home, users) in wanted {
                arrange(state, router, home, users, &mut running, &mut tasks);
            }
        }
        while tasks.try_join_next().is_some() {}
        tokio::select! {
            () = state.shutdown.cancelled() => break,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    tasks.shutdown().await;
}

fn stop(groups: &[Running]) {
    for group in groups {
        group.stop.cancel();
    }
}

/// Sees to it that every one of `users` is in a stream of `home`, as far as there are places.
fn arrange(
    state: &AppState,
    router: &Router,
    home: UserKey,
    users: Vec<UserKey>,
    running: &mut HashMap<UserKey, Vec<Running>>,
    tasks: &mut JoinSet<()>,
) {
    let total: usize = running.values().map(Vec::len).sum();
    let groups = running.entry(home).or_default();
    let wanted: HashSet<UserKey> = users.into_iter().collect();
    let covered: HashSet<UserKey> = groups
        .iter()
        .flat_map(|group| group.users.clone())
        .collect();
    let mut missing: Vec<UserKey> = wanted.difference(&covered).copied().collect();
    missing.sort_unstable();
    let mut free = router.config.max_streams.saturating_sub(total);
    let mut spawn = |members: Vec<UserKey>| {
        let stop = state.shutdown.child_token();
        let group = Group {
            state: state.clone(),
            router: router.clone(),
            home,
            users: members.clone(),
            stop: stop.clone(),
        };
        tasks.spawn(group.run());
        Running {
            users: members,
            stop,
        }
    };
    // A stream whose users all left ends; one that is not full takes newcomers in, by beginning anew.
    groups.retain(|group| {
        let stays = group.users.iter().any(|user| wanted.contains(user));
        if !stays {
            group.stop.cancel();
        }
        stays
    });
    if missing.is_empty() {
        return;
    }
    if let Some(at) = groups.iter().position(|g| g.users.len() < USERS_PER_STREAM) {
        let old = groups.swap_remove(at);
        old.stop.cancel();
        let mut members = old.users.clone();
        members.retain(|user| wanted.contains(user));
        let places = USERS_PER_STREAM.saturating_sub(members.len());
        members.extend(missing.drain(..places.min(missing.len())));
        groups.push(spawn(members));
    }
    for chunk in missing.chunks(USERS_PER_STREAM) {
        if free == 0 {
            break;
        }
        free = free.saturating_sub(1);
        groups.push(spawn(chunk.to_vec()));
    }
}

/// Counts a stream while it is open.
struct Open(Arc<super::Parts>);

impl Open {
    fn new(router: &Router) -> Self {
        router.streams.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&router.0))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
