//! One stream: up to fifty users of one homeserver.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use atomicity_ledger::UserKey;
use atomicity_ledger::record::RATES_PATH;
use tokio_util::sync::CancellationToken;

use super::Open;
use super::event::{Event, Reader};
use crate::clock;
use crate::error::PluginError;
use crate::resolve::at::{Fault, Live};
use crate::router::frontier::{Source, Work};
use crate::router::{Router, store};
use crate::state::AppState;

/// Longest answer to the question which event is the newest.
const MAX_NEWEST: usize = 8 * 1024;
/// A homeserver whose first stream does not open is asked again after this time; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How often the place in a stream is stored.
const STORE_EVERY: Duration = Duration::from_secs(5);
/// What is followed.
const PATHS: &[&str] = &[
    "/pub/atomicity/v0/profile",
    "/pub/atomicity/v0/routes/",
    "/pub/atomicity/v0/delegations/",
    "/pub/atomicity/v0/ratings/",
    RATES_PATH,
    "/pub/pubky.app/follows/",
];

/// A stream to be kept open.
pub(super) struct Group {
    pub(super) state: AppState,
    pub(super) router: Router,
    pub(super) home: UserKey,
    pub(super) users: Vec<UserKey>,
    pub(super) stop: CancellationToken,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Home(#[from] Fault),
    #[error("{0}")]
    Ours(#[from] PluginError),
    #[error("more events than allowed")]
    TooMany,
    #[error("it was closed")]
    Closed,
}

impl Group {
    /// Keeps it open until it is stopped.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        let mut pause = FIRST_PAUSE;
        let longest = Duration::from_secs(self.router.config.max_backoff_s).max(FIRST_PAUSE);
        loop {
            let opened = Instant::now();
            let ended = tokio::select! {
                () = stop.cancelled() => break,
                ended = self.follow() => ended,
            };
            self.unfollow();
            tracing::debug!(home = %self.home, why = %ended, "a stream of events ended");
            let unknown = matches!(ended, Ended::Home(Fault::Status(404)));
            // A homeserver that knows none of them has no events; they are polled.
            let no_events = unknown && !self.drop_strangers().await;
            let lasted = opened.elapsed() > Duration::from_secs(60);
            pause = match (lasted, &ended) {
                (true, Ended::Closed | Ended::Home(_)) => FIRST_PAUSE,
                (_, Ended::TooMany) => longest,
                _ if no_events => longest,
                _ => pause.saturating_mul(2).min(longest),
            };
            let jittered = pause.mul_f64(rand::random_range(0.5..=1.0));
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(jittered) => {}
            }
        }
        self.unfollow();
    }

    fn unfollow(&self) {
        self.router.frontier().set_followed(&self.users, false);
    }

    /// The live stream from these places on, or the question which event is the newest.
    fn target(&self, from: Option<&HashMap<UserKey, i64>>) -> String {
        let mut target = match from {
            Some(_) => "/events-stream?live=true".to_owned(),
            None => "/events-stream?reverse=true&limit=1".to_owned(),
        };
        for user in &self.users {
            target.push_str("&user=");
            target.push_str(&user.to_z32());
            if let Some(cursor) = from.and_then(|from| from.get(user)) {
                // The colon between key and cursor.
                target.push_str("%3A");
                target.push_str(&cursor.to_string());
            }
        }
        for path in PATHS {
            target.push_str("&path=");
            target.push_str(path);
        }
        target
    }

    async fn follow(&mut self) -> Ended {
        match self.open().await {
            Ok((live, cursor)) => {
                let _open = Open::new(&self.router);
                match self.read(live, cursor).await {
                    Ok(()) => Ended::Closed,
                    Err(ended) => ended,
                }
            }
            Err(ended) => ended,
        }
    }

    /// Opens the stream where we were. Users of whom that is unknown are read anew, and so are all of them if the homeserver's
    /// numbers have fallen: it was restored.
    async fn open(&mut self) -> Result<(Live, i64), Ended> {
        let resolver = &self.state.resolver;
        self.router.pace(&self.home).await;
        let (status, body) = resolver
            .ask_home(&self.home, &self.target(None), MAX_NEWEST)
            .await?;
        if status != 200 {
            return Err(Fault::Status(status).into());
        }
        let events = Reader::default()
            .feed(&body)
            .map_err(|_| Fault::Malformed)?;
        let newest = events.first().map_or(0, |event| event.cursor);
        let mut from = store::cursors(&self.state.pool, &self.users).await?;
        if from.values().any(|cursor| *cursor > newest) {
            tracing::info!(home = %self.home, "a homeserver's events begin anew");
            from.clear();
        }
        let unknown: Vec<UserKey> = self
            .users
            .iter()
            .filter(|user| !from.contains_key(user))
            .copied()
            .collect();
        store::set_cursor(&self.state.pool, &unknown, newest).await?;
        from.extend(unknown.iter().map(|user| (*user, newest)));
        self.router.pace(&self.home).await;
        let live = resolver
            .open_at(&self.home, &self.target(Some(&from)))
            .await?;
        self.begin(&unknown);
        Ok((live, from.values().copied().max().unwrap_or(newest)))
    }

    /// From now on nothing is missed. What changed before is read once more, of those whose events were not followed before.
    fn begin(&self, unknown: &[UserKey]) {
        let now = clock::now_ms();
        let mut frontier = self.router.frontier();
        for user in unknown {
            frontier.touch(user, Work::everything(), now);
        }
        frontier.set_followed(&self.users, true);
        drop(frontier);
        self.router.wake();
    }

    async fn read(&self, mut live: Live, mut cursor: i64) -> Result<(), Ended> {
        let mut reader = Reader::default();
        let (mut stored, mut stored_at) = (cursor, Instant::now());
        let mut budget = Budget::new(self.router.config.events_per_second);
        while let Some(chunk) = live.chunk().await? {
            let events = reader.feed(&chunk).map_err(|_| Fault::Malformed)?;
            for event in &events {
                if !budget.spend() {
                    self.router.metrics.refused("events_per_second");
                    return Err(Ended::TooMany);
                }
                cursor = cursor.max(event.cursor);
                self.take(event);
            }
            if !events.is_empty() {
                self.router.wake();
            }
            if cursor > stored && stored_at.elapsed() > STORE_EVERY {
                store::set_cursor(&self.state.pool, &self.users, cursor).await?;
                (stored, stored_at) = (cursor, Instant::now());
            }
        }
        Ok(())
    }

    fn take(&self, event: &Event) {
        self.router.metrics.event(event.kind());
        let now = clock::now_ms();
        self.router.heard(now);
        if let Some(work) = event.work().filter(|_| self.users.contains(&event.user)) {
            self.router.frontier().touch(&event.user, work, now);
        }
    }

    /// The homeserver does not know one of the users: they have moved. Finds out who, and has them looked up. Returns whether it
    /// knows any.
    async fn drop_strangers(&mut self) -> bool {
        let mut stay = Vec::new();
        for user in self.users.iter().copied() {
            self.router.pace(&self.home).await;
            let target = format!("/events-stream?reverse=true&limit=1&user={user}");
            let asked = self
                .state
                .resolver
                .ask_home(&self.home, &target, MAX_NEWEST)
                .await;
            if matches!(asked, Ok((404, _))) {
                let now = clock::now_ms();
                self.router
                    .frontier()
                    .suggest_again(user, Source::Again(self.home), now);
            } else {
                stay.push(user);
            }
        }
        let any = !stay.is_empty();
        if any {
            self.users = stay;
        }
        any
    }
}

/// Events that may come: so many a second, and a minute's worth at once.
struct Budget {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Budget {
    fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self {
            per_second,
            left: per_second * 60.0,
            at: Instant::now(),
        }
    }

    fn spend(&mut self) -> bool {
        let grown = self.at.elapsed().as_secs_f64() * self.per_second;
        self.at = Instant::now();
        self.left = (self.left + grown).min(self.per_second * 60.0) - 1.0;
        self.left >= 0.0
    }
}
