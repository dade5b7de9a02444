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

/// What is believed about a user's homeserver.
#[derive(Debug, Clone, Copy)]
struct Belief {
    home: ServiceKey,
    /// When the network last said so, Unix milliseconds.
    at: u64,
    /// Whether the whole neighbourhood of the key was asked, and not only who answered first.
    sure: bool,
}

impl Belief {
    fn is_at_most(&self, age: Duration) -> bool {
        let limit = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        limit > 0 && now_ms().saturating_sub(self.at) <= limit
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Entry {
    /// When the network last answered, or failed to.
    asked: Option<Instant>,
    /// Whether it failed to, or knew nothing.
    in_vain: bool,
}

type Slot = Arc<tokio::sync::Mutex<Entry>>;

pub(crate) struct Homes {
    slots: Mutex<LruCache<UserKey, Slot>>,
    beliefs: Mutex<LruCache<UserKey, Belief>>,
}

impl Homes {
    pub(crate) fn new() -> Self {
        Self {
            slots: Mutex::new(LruCache::new(MAX_HOMES)),
            beliefs: Mutex::new(LruCache::new(MAX_HOMES)),
        }
    }

    fn slot(&self, user: &UserKey) -> Slot {
        match self.slots.lock() {
            Ok(mut slots) => Arc::clone(slots.get_or_insert(*user, Slot::default)),
            Err(_) => Slot::default(),
        }
    }

    /// Notes what is known; newer knowledge wins.
    fn note(&self, user: &UserKey, belief: Belief) {
        if let Ok(mut beliefs) = self.beliefs.lock()
            && beliefs.get(user).is_none_or(|known| known.at <= belief.at)
        {
            beliefs.put(*user, belief);
        }
    }

    /// Notes that `user` lives at `home` for sure: we made it so.
    pub(crate) fn learn(&self, user: &UserKey, home: ServiceKey) {
        let at = now_ms();
        self.note(
            user,
            Belief {
                home,
                at,
                sure: true,
            },
        );
    }

    fn known(&self, user: &UserKey) -> Option<Belief> {
        self.beliefs
            .lock()
            .ok()
            .and_then(|mut beliefs| beliefs.get(user).copied())
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
        match freshness {
            Freshness::Cached => self.home_known(user).await,
            Freshness::Network => self.home_for_sure(user, Duration::ZERO).await,
        }
    }

    /// The homeserver of `user`, from memory if it is not too old.
    pub(crate) async fn home_known(&self, user: &UserKey) -> Result<ServiceKey, NetError> {
        let max_age = self.config().home_max_age;
        self.look_up(user, false, |belief| belief.is_at_most(max_age))
            .await
    }

    /// The homeserver of `user`, asked of the whole neighbourhood of the key no longer than `max_age` ago.
    pub(crate) async fn home_for_sure(
        &self,
        user: &UserKey,
        max_age: Duration,
    ) -> Result<ServiceKey, NetError> {
        self.look_up(user, true, |belief| {
            belief.sure && belief.is_at_most(max_age)
        })
        .await
    }

    /// Look-ups of one user are shared: whoever waited while one was answered takes its answer.
    async fn look_up(
        &self,
        user: &UserKey,
        insist: bool,
        enough: impl Fn(&Belief) -> bool + Send,
    ) -> Result<ServiceKey, NetError> {
        let homes = &self.shared.homes;
        let slot = homes.slot(user);
        let began = Instant::now();
        let mut entry = slot.lock().await;
        let known = homes.known(user);
        let answered_meanwhile = entry.asked.is_some_and(|asked| asked >= began);
        // A DHT that has just failed to say is not asked before every single request.
        let asked_in_vain =
            entry.in_vain && entry.asked.is_some_and(|asked| asked.elapsed() < ASK_AGAIN);
        if let Some(belief) = known
            && (answered_meanwhile || asked_in_vain || enough(&belief))
        {
            return Ok(belief.home);
        }
        // The first answer will do, also where what was known is old: it is looked at more closely if it leads nowhere. Asking the
        // whole neighbourhood of a thousand friends' keys every day would take a minute.
        let sure = insist && known.is_some();
        let found = self.shared.lookup.home(user, sure).await;
        entry.asked = Some(Instant::now());
        entry.in_vain = !matches!(found, Ok(Some(_)));
        let last_known = known.map(|belief| belief.home);
        match found {
            Ok(Some(home)) => {
                let at = now_ms();
                homes.note(user, Belief { home, at, sure });
                Ok(home)
            }
            // The DHT forgets packets that nobody republishes, and it can be out of reach: the last known home is worth a try.
            Ok(None) => last_known.ok_or_else(|| NetError::NoHome(user.to_z32())),
            Err(error) => last_known.ok_or(error),
        }
    }

    /// Everything that is known, to be kept between runs.
    #[must_use]
    pub fn known_homes(&self) -> Vec<Home> {
        self.shared.homes.beliefs.lock().map_or_else(
            |_| Vec::new(),
            |beliefs| {
                let home = |(user, belief): (&UserKey, &Belief)| Home {
                    user: *user,
                    homeserver: belief.home,
                    resolved_at: belief.at,
                };
                beliefs.iter().map(home).collect()
            },
        )
    }

    /// Takes back what [`Net::known_homes`] gave in an earlier run. Times in the future count as now.
    pub fn seed_homes(&self, homes: impl IntoIterator<Item = Home>) {
        let now = now_ms();
        for home in homes {
            let belief = Belief {
                home: home.homeserver,
                at: home.resolved_at.min(now),
                sure: false,
            };
            self.shared.homes.note(&home.user, belief);
        }
    }
}
