//! Which homeserver a user lives at: remembered with its age, looked up anew when old or when it fails.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use atomicity_ledger::UserKey;
use lru::LruCache;

use super::error::NetError;
use super::{Net, ServiceKey, now_ms};

const MAX_HOMES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(65_535);

/// After the network failed to say, it is not asked about that user again for so long, unless somebody insists.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A user's homeserver and when it was looked up: to be kept between runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Home {
    /// Whose it is.
    pub user: UserKey,
    /// The homeserver's key.
    pub homeserver: ServiceKey,
    /// When the DHT said so, Unix milliseconds.
    pub resolved_at: u64,
}

/// How fresh an answer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// What is remembered will do, if it is not too old.
    Cached,
    /// Ask the network now.
    Network,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Entry {
    /// What is believed, with the time at which the network last confirmed it.
    home: Option<(ServiceKey, u64)>,
    /// When the network last answered, or failed to.
    asked: Option<Instant>,
    /// Whether it failed to, or knew nothing.
    in_vain: bool,
}

type Slot = Arc<tokio::sync::Mutex<Entry>>;

pub(crate) struct Homes {
    slots: Mutex<LruCache<UserKey, Slot>>,
    learned: Mutex<LruCache<UserKey, (ServiceKey, u64)>>,
}

impl Homes {
    pub(crate) fn new() -> Self {
        Self {
            slots: Mutex::new(LruCache::new(MAX_HOMES)),
            learned: Mutex::new(LruCache::new(MAX_HOMES)),
        }
    }

    fn slot(&self, user: &UserKey) -> Slot {
        match self.slots.lock() {
            Ok(mut slots) => Arc::clone(slots.get_or_insert(*user, Slot::default)),
            Err(_) => Slot::default(),
        }
    }

    /// Notes what is known from elsewhere; newer knowledge wins.
    fn note(&self, user: &UserKey, home: ServiceKey, at: u64) {
        if let Ok(mut learned) = self.learned.lock()
            && learned.get(user).is_none_or(|(_, known)| *known <= at)
        {
            learned.put(*user, (home, at));
        }
    }

    pub(crate) fn learn(&self, user: &UserKey, home: ServiceKey) {
        self.note(user, home, now_ms());
    }

    fn known(&self, user: &UserKey) -> Option<(ServiceKey, u64)> {
        self.learned
            .lock()
            .ok()
            .and_then(|mut learned| learned.get(user).copied())
    }
}

impl Net {
    /// The homeserver of `user`.
    ///
    /// # Errors
    /// [`NetError::NoHome`] if none is published, [`NetError::Dht`] if the network can't say and nothing is remembered.
    pub async fn home_of(
        &self,
        user: &UserKey,
        freshness: Freshness,
    ) -> Result<ServiceKey, NetError> {
        let max_age = match freshness {
            Freshness::Cached => self.config().home_max_age,
            Freshness::Network => Duration::ZERO,
        };
        self.home_within(user, max_age).await
    }

    /// The homeserver of `user`, looked up anew if what is remembered is older than `max_age`. Look-ups of one user are shared:
    /// whoever waited while it was answered takes its answer.
    pub(crate) async fn home_within(
        &self,
        user: &UserKey,
        max_age: Duration,
    ) -> Result<ServiceKey, NetError> {
        let homes = &self.shared.homes;
        let slot = homes.slot(user);
        let began = Instant::now();
        let mut entry = slot.lock().await;
        entry.home = homes.known(user);
        let limit = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX);
        let answered_meanwhile = entry.asked.is_some_and(|asked| asked >= began);
        // A DHT that has just failed to say is not asked before every single request.
        let asked_in_vain =
            entry.in_vain && entry.asked.is_some_and(|asked| asked.elapsed() < ASK_AGAIN);
        if let Some((home, at)) = entry.home
            && (answered_meanwhile
                || (limit > 0 && (asked_in_vain || now_ms().saturating_sub(at) <= limit)))
        {
            return Ok(home);
        }
        let found = self.shared.lookup.home(user).await;
        entry.asked = Some(Instant::now());
        entry.in_vain = !matches!(found, Ok(Some(_)));
        match found {
            Ok(Some(home)) => {
                homes.learn(user, home);
                entry.home = homes.known(user);
                Ok(home)
            }
            // The DHT forgets packets that nobody republishes, and it can be out of reach: the last known home is worth a try.
            Ok(None) => entry
                .home
                .map(|(home, _)| home)
                .ok_or_else(|| NetError::NoHome(user.to_z32())),
            Err(error) => entry.home.map(|(home, _)| home).ok_or(error),
        }
    }

    /// Everything that is known, to be kept between runs.
    #[must_use]
    pub fn known_homes(&self) -> Vec<Home> {
        self.shared.homes.learned.lock().map_or_else(
            |_| Vec::new(),
            |learned| {
                learned
                    .iter()
                    .map(|(user, (homeserver, resolved_at))| Home {
                        user: *user,
                        homeserver: *homeserver,
                        resolved_at: *resolved_at,
                    })
                    .collect()
            },
        )
    }

    /// Takes back what [`Net::known_homes`] gave in an earlier run. Times in the future count as now.
    pub fn seed_homes(&self, homes: impl IntoIterator<Item = Home>) {
        let now = now_ms();
        for home in homes {
            self.shared
                .homes
                .note(&home.user, home.homeserver, home.resolved_at.min(now));
        }
    }
}
