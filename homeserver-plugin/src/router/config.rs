//! What the operator decides about the router. Every figure here is a bound on what strangers can make this plugin do or keep.

use atomicity_ledger::UserKey;
use serde::{Deserialize, Serialize};

use crate::error::PluginError;

/// Most keys that are named in the configuration.
const MAX_SEEDS: usize = 1_000;
/// Most users whose events one stream carries: homeservers take no more.
pub const USERS_PER_STREAM: usize = 50;

/// Finding routes for others.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouterConfig {
    /// Whether this plugin is a router.
    pub enabled: bool,
    /// Users to begin with, beside those registered here.
    pub seeds: Vec<UserKey>,
    /// Most users that are known at once.
    pub max_users: usize,
    /// Most homeservers that are known at once.
    pub max_homeservers: usize,
    /// Most users of one homeserver.
    pub users_per_homeserver: usize,
    /// Most advertisements of the users of one homeserver.
    pub adverts_per_homeserver: usize,
    /// Most advertisements of one user.
    pub adverts_per_user: usize,
    /// Most units that are taken of one advertisement.
    pub units_per_advert: usize,
    /// Most follows of one user that are read.
    pub follows_per_user: usize,
    /// Most ratings of one user that are read.
    pub ratings_per_user: usize,
    /// Keys that wait to be looked up, by whoever named them: most of one homeserver's users, and of strangers who asked.
    pub waiting_per_source: usize,
    /// Requests a second to all homeservers.
    pub requests_per_second: u32,
    /// Requests a second to one homeserver.
    pub homeserver_requests_per_second: u32,
    /// Most users that are visited at once.
    pub visits: usize,
    /// How long the requests of one visit may take in all, in seconds.
    pub visit_timeout_s: u64,
    /// How often a user is visited whose events are not followed, in seconds.
    pub poll_s: u64,
    /// How often a user is visited whose events are followed, in seconds.
    pub followed_poll_s: u64,
    /// How often a user is visited who has no profile, in seconds.
    pub idle_poll_s: u64,
    /// Pause after the first failure of a homeserver, in seconds; it doubles with each.
    pub backoff_s: u64,
    /// Longest such pause, in seconds.
    pub max_backoff_s: u64,
    /// Whether the event streams of homeservers are followed.
    pub follow_events: bool,
    /// Most event streams at once.
    pub max_streams: usize,
    /// Events a second of one stream before it is dropped.
    pub events_per_second: u32,
    /// Questions for routes a minute from one address.
    pub queries_per_minute: u32,
    /// Most questions that are worked on at once; 0 for one per processor.
    pub concurrent_queries: usize,
    /// Most steps of one question: edges looked at, and ways taken up again; as many again if it may be paid in parts. A step takes 50 to
    /// 150 nanoseconds.
    pub steps_per_query: u64,
    /// Most steps of a question for which no way was found within `steps_per_query`, where there may be one.
    pub steps_to_find: u64,
    /// Most hops of a route.
    pub max_hops: usize,
    /// Most parts of a route.
    pub max_parts: usize,
    /// Most alternatives of an answer.
    pub max_alternatives: usize,
    /// Users that one address may ask to be crawled a minute.
    pub hellos_per_minute: u32,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            seeds: Vec::new(),
            max_users: 100_000,
            max_homeservers: 1_000,
            users_per_homeserver: 20_000,
            adverts_per_homeserver: 50_000,
            adverts_per_user: 256,
            units_per_advert: 16,
            follows_per_user: 500,
            ratings_per_user: 256,
            waiting_per_source: 1_000,
            requests_per_second: 50,
            homeserver_requests_per_second: 5,
            visits: 32,
            visit_timeout_s: 60,
            poll_s: 600,
            followed_poll_s: 3_600,
            idle_poll_s: 86_400,
            backoff_s: 30,
            max_backoff_s: 3_600,
            follow_events: true,
            max_streams: 500,
            events_per_second: 20,
            queries_per_minute: 300,
            concurrent_queries: 0,
            steps_per_query: 12_000,
            steps_to_find: 400_000,
            max_hops: 10,
            max_parts: 8,
            max_alternatives: 5,
            hellos_per_minute: 10,
        }
    }
}

impl RouterConfig {
    /// Checks what the types can't say.
    ///
    /// # Errors
    /// [`PluginError::Config`] naming the setting.
    pub fn check(&self) -> Result<(), PluginError> {
        let refuse = |text: String| Err(PluginError::Config(format!("router.{text}")));
        if self.seeds.len() > MAX_SEEDS {
            return refuse(format!("seeds are more than {MAX_SEEDS}"));
        }
        for (name, value) in self.positive() {
            if value == 0 {
                return refuse(format!("{name} must be above 0"));
            }
        }
        if self.adverts_per_user > 1_000 || self.units_per_advert > 64 {
            return refuse(
                "adverts_per_user goes up to 1000, router.units_per_advert to 64".into(),
            );
        }
        if !(1..=10).contains(&self.max_hops) {
            return refuse("max_hops goes from 1 to 10".into());
        }
        if self.max_parts > 64 || self.max_alternatives > 16 {
            return refuse("max_parts goes up to 64, router.max_alternatives to 16".into());
        }
        if self.max_backoff_s < self.backoff_s {
            return refuse("max_backoff_s must not be below router.backoff_s".into());
        }
        Ok(())
    }

    fn positive(&self) -> [(&'static str, u64); 26] {
        let count = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        [
            ("max_users", count(self.max_users)),
            ("max_homeservers", count(self.max_homeservers)),
            ("users_per_homeserver", count(self.users_per_homeserver)),
            ("adverts_per_homeserver", count(self.adverts_per_homeserver)),
            ("adverts_per_user", count(self.adverts_per_user)),
            ("units_per_advert", count(self.units_per_advert)),
            ("follows_per_user", count(self.follows_per_user)),
            ("ratings_per_user", count(self.ratings_per_user)),
            ("waiting_per_source", count(self.waiting_per_source)),
            ("requests_per_second", self.requests_per_second.into()),
            (
                "homeserver_requests_per_second",
                self.homeserver_requests_per_second.into(),
            ),
            ("visits", count(self.visits)),
            ("visit_timeout_s", self.visit_timeout_s),
            ("poll_s", self.poll_s),
            ("followed_poll_s", self.followed_poll_s),
            ("idle_poll_s", self.idle_poll_s),
            ("backoff_s", self.backoff_s),
            ("max_backoff_s", self.max_backoff_s),
            ("max_streams", count(self.max_streams)),
            ("events_per_second", self.events_per_second.into()),
            ("queries_per_minute", self.queries_per_minute.into()),
            ("steps_per_query", self.steps_per_query),
            ("steps_to_find", self.steps_to_find),
            ("max_parts", count(self.max_parts)),
            ("max_alternatives", count(self.max_alternatives)),
            ("hellos_per_minute", self.hellos_per_minute.into()),
        ]
    }

    /// How many questions are worked on at once.
    #[must_use]
    pub fn query_permits(&self) -> usize {
        match self.concurrent_queries {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            asked => asked,
        }
    }
}
