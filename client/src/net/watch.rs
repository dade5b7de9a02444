//! Watching counterparties: their homeservers' event streams as a hint that it is worth fetching, and polling where there is none.
//!
//! Hints are only hints: an event can be withheld or invented, so every user is polled now and then all the same.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use atomicity_ledger::UserKey;
use futures_util::{Stream, StreamExt as _, stream};
use reqwest::{Method, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::backoff::Backoff;
use super::dial;
use super::error::NetError;
use super::events::EventConnection;
use super::fetch::AbortOnDrop;
use super::{Call, Net, ServiceKey};

/// A homeserver lets one request follow this many users.
const USERS_PER_STREAM: usize = 50;
/// Who is on a live stream is polled this many times less often.
const SLOWER_WITH_STREAM: u32 = 10;
/// The folder whose changes matter.
const WATCHED_FOLDER: &str = "/pub/atomicity/";
const MAX_READY: usize = 256;

/// Something that [`Net::watch`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// A file of this user changed or went away.
    Changed {
        /// Whose.
        user: UserKey,
        /// Its absolute path.
        path: String,
    },
    /// It is time to look at this user's files.
    Poll {
        /// Whose.
        user: UserKey,
    },
    /// The event stream of this homeserver broke or can't be had.
    Down {
        /// The homeserver.
        home: ServiceKey,
        /// Why.
        error: NetError,
    },
    /// It is there again.
    Up {
        /// The homeserver.
        home: ServiceKey,
    },
}

/// Hints, as they come. Dropping it ends the watching.
pub struct WatchStream {
    ready: mpsc::Receiver<Hint>,
    _driver: AbortOnDrop,
}

impl Stream for WatchStream {
    type Item = Hint;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(cx)
    }
}

/// Why following a group of users ended.
enum End {
    /// Nobody listens any more.
    Unheard,
    /// These users need to be grouped anew.
    Regroup(Vec<UserKey>),
    /// One of them is a stranger there: follow the halves.
    Split(ServiceKey, Vec<UserKey>),
}

#[derive(Clone)]
struct Watcher {
    net: Net,
    out: mpsc::Sender<Hint>,
    live: Arc<Mutex<HashSet<UserKey>>>,
}

impl Net {
    /// Watches these users' files. Each is polled at once, then every `poll` interval; where the homeserver's event stream can be had,
    /// less often, with changes reported as they happen.
    #[must_use]
    pub fn watch(&self, users: Vec<UserKey>, poll: Duration) -> WatchStream {
        let (out, ready) = mpsc::channel(MAX_READY);
        let watcher = Watcher {
            net: self.clone(),
            out,
            live: Arc::default(),
        };
        let driver = tokio::spawn(async move { watcher.run(users, poll).await });
        WatchStream {
            ready,
            _driver: AbortOnDrop(driver),
        }
    }
}

impl Watcher {
    async fn run(self, users: Vec<UserKey>, poll: Duration) {
        let mut tasks = JoinSet::new();
        self.regroup(users.clone(), &mut tasks).await;
        let mut ticks = tokio::time::interval(poll.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut count = 0u32;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let all = count.is_multiple_of(SLOWER_WITH_STREAM);
                    count = count.wrapping_add(1);
                    for user in &users {
                        let hint = Hint::Poll { user: *user };
                        if (all || !self.is_live(user)) && self.out.send(hint).await.is_err() {
                            return;
                        }
                    }
                }
                Some(ended) = tasks.join_next() => match ended {
                    Ok(End::Unheard) => return,
                    Ok(End::Regroup(users)) => self.regroup(users, &mut tasks).await,
                    Ok(End::Split(home, users)) => {
                        for half in users.chunks(users.len().div_ceil(2).max(1)) {
                            tasks.spawn(self.clone().follow(home, half.to_vec()));
                        }
                    }
                    // A task is only cancelled together with this one.
                    Err(_) => return,
                },
            }
        }
    }

    fn is_live(&self, user: &UserKey) -> bool {
        self.live.lock().is_ok_and(|live| live.contains(user))
    }

    fn set_live(&self, users: &[UserKey], yes: bool) {
        if let Ok(mut live) = self.live.lock() {
            for user in users {
                if yes {
                    live.insert(*user);
                } else {
                    live.remove(user);
                }
            }
        }
    }

    /// Starts one task per homeserver and fifty users; those whose homeserver can't be found are tried again later.
    async fn regroup(&self, users: Vec<UserKey>, tasks: &mut JoinSet<End>) {
        let lookups = stream::iter(users.into_iter().map(|user| {
            let net = self.net.clone();
            async move { (user, net.home_known(&user).await) }
        }));
        let found: Vec<_> = lookups
            .buffer_unordered(self.net.config().lookups.max(1))
            .collect()
            .await;
        let mut groups: HashMap<ServiceKey, Vec<UserKey>> = HashMap::new();
        let mut lost = Vec::new();
        for (user, home) in found {
            match home {
                Ok(home) => groups.entry(home).or_default().push(user),
                Err(_) => lost.push(user),
            }
        }
        for (home, users) in groups {
            for some in users.chunks(USERS_PER_STREAM) {
                tasks.spawn(self.clone().follow(home, some.to_vec()));
            }
        }
        if !lost.is_empty() {
            let wait = self.net.config().home_recheck;
            tasks.spawn(async move {
                tokio::time::sleep(wait).await;
                End::Regroup(lost)
            });
        }
    }

    /// Follows some users at one homeserver until they have to be grouped anew.
    async fn follow(self, home: ServiceKey, users: Vec<UserKey>) -> End {
        let config = self.net.config().clone();
        let mut backoff = Backoff::new(config.backoff_first, config.backoff_longest);
        let mut down = false;
        loop {
            let error = match self.subscribe(&home, &users).await {
                Ok(events) => {
                    self.set_live(&users, true);
                    let ended = self
                        .relay(home, &users, events, &mut backoff, &mut down)
                        .await;
                    self.set_live(&users, false);
                    match ended {
                        Some(error) => error,
                        None => return End::Unheard,
                    }
                }
                Err(NetError::NotFound(_)) if users.len() > 1 => return End::Split(home, users),
                Err(error) => error,
            };
            let wait = match &error {
                // He does not live there (any more), or the homeserver has no such stream: polling has to do for a while.
                NetError::NotFound(_) => config.home_recheck,
                other => backoff.fail().max(other.retry_after().unwrap_or_default()),
            };
            if !std::mem::replace(&mut down, true) {
                let hint = Hint::Down { home, error };
                if self.out.send(hint).await.is_err() {
                    return End::Unheard;
                }
            }
            tokio::time::sleep(wait).await;
            if self.somebody_moved(&home, &users, config.home_retry).await {
                return End::Regroup(users);
            }
        }
    }

    async fn somebody_moved(
        &self,
        home: &ServiceKey,
        users: &[UserKey],
        max_age: Duration,
    ) -> bool {
        for user in users {
            if let Ok(now) = self.net.home_for_sure(user, max_age).await
                && now != *home
            {
                return true;
            }
        }
        false
    }

    /// Passes events on until the stream ends. `None`: nobody listens any more.
    async fn relay(
        &self,
        home: ServiceKey,
        users: &[UserKey],
        mut events: EventConnection,
        backoff: &mut Backoff,
        down: &mut bool,
    ) -> Option<NetError> {
        if std::mem::take(down) {
            self.out.send(Hint::Up { home }).await.ok()?;
            // What happened in between is not in the stream.
            for user in users {
                self.out.send(Hint::Poll { user: *user }).await.ok()?;
            }
        }
        loop {
            match events.next().await {
                Ok(Some(event)) => {
                    backoff.succeed();
                    let Some((user, path)) = changed_file(&event.data) else {
                        continue;
                    };
                    if users.contains(&user) && path.starts_with(WATCHED_FOLDER) {
                        self.out.send(Hint::Changed { user, path }).await.ok()?;
                    }
                }
                Ok(None) => {
                    return Some(NetError::Unreachable {
                        server: home.to_z32(),
                        reason: "it ended the stream".to_owned(),
                    });
                }
                Err(error) => return Some(error),
            }
        }
    }

    /// Opens a live stream that begins with what happens after now.
    async fn subscribe(
        &self,
        home: &ServiceKey,
        users: &[UserKey],
    ) -> Result<EventConnection, NetError> {
        // Without a cursor the whole past would be played; the newest event says where now is.
        let mut newest = self.request(home, users, None, false).await?;
        let cursor = match newest.next().await? {
            Some(event) => cursor_of(&event.data),
            None => None,
        };
        drop(newest);
        self.request(home, users, cursor, true).await
    }

    async fn request(
        &self,
        home: &ServiceKey,
        users: &[UserKey],
        cursor: Option<u64>,
        live: bool,
    ) -> Result<EventConnection, NetError> {
        let users: Vec<String> = users
            .iter()
            .map(|user| match cursor {
                Some(cursor) => format!("{user}:{cursor}"),
                None => user.to_z32(),
            })
            .collect();
        let mut pairs: Vec<(&str, &str)> = users.iter().map(|u| ("user", u.as_str())).collect();
        if live {
            pairs.push(("live", "true"));
        } else {
            pairs.extend([("reverse", "true"), ("limit", "1")]);
        }
        pairs.push(("path", WATCHED_FOLDER));
        let query = super::query(pairs);
        let config = self.net.config();
        let call = Call::new(Method::GET, format!("/events-stream?{query}"), config)
            .header("accept", "text/event-stream")?;
        let response = self.net.open(home, &call).await?;
        let label = home.to_z32();
        match response.status() {
            status if status.is_success() => {
                let idle = if live {
                    config.stream_idle_timeout
                } else {
                    config.request_timeout
                };
                Ok(EventConnection::new(response, idle, label))
            }
            StatusCode::NOT_FOUND => Err(NetError::NotFound(label)),
            _ => {
                let answer = dial::read_body(response, &label, 4096, call.timeout).await?;
                Err(answer.failure(&label))
            }
        }
    }
}

/// Whose file an event is about, and which.
fn changed_file(data: &str) -> Option<(UserKey, String)> {
    let address = data.lines().next()?.strip_prefix("pubky://")?;
    let (user, path) = address.split_once('/')?;
    Some((user.parse().ok()?, format!("/{path}")))
}

fn cursor_of(data: &str) -> Option<u64> {
    data.lines()
        .find_map(|line| line.strip_prefix("cursor: "))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn events_name_a_file_and_a_cursor() {
        let user = atomicity_ledger::Keypair::from_secret(&[1; 32]).user_key();
        let data =
            format!("pubky://{user}/pub/atomicity/v0/profile\ncursor: 42\ncontent_hash: abc=");
        assert_eq!(
            changed_file(&data),
            Some((user, "/pub/atomicity/v0/profile".to_owned()))
        );
        assert_eq!(cursor_of(&data), Some(42));
        for bad in ["", "cursor: 1", "pubky://nobody/pub/x", "https://x/y"] {
            assert_eq!(changed_file(bad), None);
        }
        assert_eq!(cursor_of("pubky://x\ncursor: many"), None);
    }
}
