//! What friends call themselves: what is remembered at once, the others as far as that takes no time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use atomicity_ledger::UserKey;
use atomicity_ledger::record::Profile;
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use crate::http::credit::{Memory, profile};
use crate::state::AppState;

/// Most names that are looked up for one page.
const MOST: usize = 24;
/// How long a page waits for names that are not known yet. Whatever takes longer stands on the next page.
const WITHIN: Duration = Duration::from_millis(1_500);
/// How long nobody is asked again for a name, whatever came of it.
const PAUSE: Duration = Duration::from_secs(60);

/// The profiles of `friends`, as far as they are known or soon found out. One that is remembered counts, however old; it is looked up again
/// in the background.
pub async fn find(
    state: &AppState,
    memory: &Arc<Memory>,
    friends: BTreeSet<UserKey>,
) -> Vec<Profile> {
    let fresh_for = Duration::from_secs(state.config.network.profile_max_age_s);
    let (mut found, mut unknown, mut stale) = (Vec::new(), Vec::new(), Vec::new());
    for friend in friends {
        match memory.profile(&friend) {
            Some((kept, age)) => {
                found.push(kept.profile.record().clone());
                if age >= fresh_for {
                    stale.push(friend);
                }
            }
            None => unknown.push(friend),
        }
    }
    let due = |friends: Vec<UserKey>| {
        friends
            .into_iter()
            .filter(|friend| memory.may_ask(friend, PAUSE))
            .take(MOST)
            .collect::<Vec<_>>()
    };
    let asked = due(unknown).into_iter();
    let asked: Vec<_> = asked.map(|friend| ask(state, memory, friend)).collect();
    for friend in due(stale) {
        drop(ask(state, memory, friend));
    }
    let answers = join_all(
        asked
            .into_iter()
            .map(|asked| tokio::time::timeout(WITHIN, asked)),
    );
    let answers = answers.await.into_iter().flatten().flatten().flatten();
    found.extend(answers);
    found
}

/// Looks one up, to the end even if nobody waits for it any more.
fn ask(state: &AppState, memory: &Arc<Memory>, friend: UserKey) -> JoinHandle<Option<Profile>> {
    let (state, memory) = (state.clone(), Arc::clone(memory));
    memory.asked(friend);
    tokio::spawn(async move {
        let found = profile::find(&state, &memory, &friend).await;
        found.ok().map(|(kept, ..)| kept.profile.record().clone())
    })
}
