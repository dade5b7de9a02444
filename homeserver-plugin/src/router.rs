//! Which way can A pay D? The router crawls what users publish about their channels, keeps it as a graph, and answers.
//!
//! - [`frontier`] decides whom to look up and to visit: pure, with a share for every homeserver.
//! - [`crawl`] does what it decides: looks users up, one at a time, and visits them, a few at a time.
//! - [`visit`] reads one user: profile, advertisements, follows, ratings. Nothing is believed that the user did not sign.
//! - [`streams`] follows the events of homeservers, so that changes come within seconds.
//! - [`store`] is the durable copy, [`Map`] the graph in memory.
//! - [`query`] and [`http`] answer.

pub mod authority;
pub mod config;
pub mod crawl;
pub mod frontier;
pub mod http;
pub mod index;
mod load;
mod map;
pub mod metrics;
pub mod query;
pub mod rates;
pub mod store;
pub mod streams;
mod upkeep;
pub mod visit;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atomicity_ledger::{Keypair, Timestamp, UserKey};
use atomicity_routing::Searcher;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use self::config::RouterConfig;
use self::frontier::Frontier;
use self::metrics::RouterMetrics;
use crate::clock;
use crate::config::Config;
use crate::error::PluginError;
use crate::metrics::Metrics;
use crate::state::AppState;

pub use self::map::Map;

/// The router of this plugin. Cheap to clone.
#[derive(Clone)]
pub struct Router(Arc<Parts>);

/// The parts of [`Router`].
pub struct Parts {
    /// What the operator decided.
    pub config: RouterConfig,
    /// The graph.
    pub map: Map,
    /// What it is counted by.
    pub metrics: RouterMetrics,
    /// Whether ratings are read and served too.
    pub indexer: bool,
    /// Stands for payers who do not say who they are.
    pub stranger: UserKey,
    /// Questions that may be worked on now.
    pub queries: Arc<Semaphore>,
    /// Memory of searches that is used again.
    searchers: Mutex<Vec<Searcher>>,
    frontier: Mutex<Frontier>,
    /// Something is to be done.
    wake: Notify,
    /// Users are looked up one at a time: more at once and the network loses answers.
    lookup: tokio::sync::Mutex<()>,
    requests: DefaultDirectRateLimiter,
    per_home: DefaultKeyedRateLimiter<[u8; 32]>,
    /// When something was last heard from the outside, Unix ms.
    heard_at: AtomicI64,
    loaded: AtomicBool,
    streams: AtomicUsize,
}

fn rate(per_second: u32) -> Quota {
    let rate = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(rate)
}

impl Router {
    /// The router, if the configuration wants one.
    ///
    /// # Errors
    /// [`PluginError::Internal`] if its metrics can't be registered.
    pub fn open(config: &Config, metrics: &Metrics) -> Result<Option<Self>, PluginError> {
        let router = &config.router;
        if !router.enabled {
            return Ok(None);
        }
        let parts = Parts {
            map: Map::default(),
            metrics: RouterMetrics::new(metrics)?,
            indexer: config.watchtower.enabled,
            stranger: Keypair::from_secret(&rand::random()).user_key(),
            queries: Arc::new(Semaphore::new(router.query_permits())),
            searchers: Mutex::new(Vec::new()),
            frontier: Mutex::new(Frontier::new(router.clone())),
            wake: Notify::new(),
            lookup: tokio::sync::Mutex::new(()),
            requests: DefaultDirectRateLimiter::direct(rate(router.requests_per_second)),
            per_home: DefaultKeyedRateLimiter::keyed(rate(router.homeserver_requests_per_second)),
            heard_at: AtomicI64::new(0),
            loaded: AtomicBool::new(false),
            streams: AtomicUsize::new(0),
            config: router.clone(),
        };
        Ok(Some(Self(Arc::new(parts))))
    }

    /// Begins to crawl, from what is stored.
    pub fn spawn(&self, state: &AppState, tasks: &mut JoinSet<()>) {
        tasks.spawn(run(state.clone(), self.clone()));
    }

    /// Whom to visit; never held across a wait.
    pub fn frontier(&self) -> MutexGuard<'_, Frontier> {
        self.frontier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn searcher(&self) -> Searcher {
        let mut idle = self
            .searchers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        idle.pop().unwrap_or_default()
    }

    fn give_back(&self, searcher: Searcher) {
        let mut idle = self
            .searchers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        idle.push(searcher);
    }

    /// Waits until another request to `home` may be made.
    pub async fn pace(&self, home: &UserKey) {
        self.per_home.until_key_ready(home.as_bytes()).await;
        self.requests.until_ready().await;
    }

    /// Whether the stored copy was read.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// When something was last heard from the outside, Unix ms; 0 for never.
    #[must_use]
    pub fn heard_at(&self) -> i64 {
        self.heard_at.load(Ordering::Relaxed)
    }

    fn heard(&self, now: i64) {
        self.heard_at.fetch_max(now, Ordering::Relaxed);
    }

    /// Event streams that are open.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Calls whoever waits for work.
    pub fn wake(&self) {
        self.wake.notify_waiters();
    }
}

impl std::ops::Deref for Router {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The time, as records tell it.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::saturating_from_millis(u64::try_from(clock::now_ms()).unwrap_or(0))
}

async fn run(state: AppState, router: Router) {
    while let Err(error) = load::everything(&state.pool, &router).await {
        tracing::warn!(%error, "what the router knows could not be read; tried again");
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
        }
    }
    router.loaded.store(true, Ordering::Release);
    tokio::join!(
        crawl::look_up(&state, &router),
        crawl::visit(&state, &router),
        streams::follow(&state, &router),
        upkeep::run(&state, &router),
    );
}
