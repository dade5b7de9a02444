//! Whom to look up, whom to visit next, and whom not to take in: the part of the crawler that does nothing itself.
//!
//! Every user belongs to the homeserver that their packet names, and every homeserver has its own queue, its own failures and its own
//! share. The next visit goes to the homeserver that had none for the longest time. So a homeserver that is slow, floods or invents
//! users uses up its own share and nobody else's. Time and randomness are arguments.

mod homes;
mod types;
mod waiting;

use std::collections::{BTreeSet, HashMap};

use atomicity_ledger::UserKey;

pub use self::homes::Home;
use self::homes::Homes;
pub use self::types::{Outcome, Settled, User, Visit, Work};
pub use self::waiting::Source;
use self::waiting::Waiting;
use super::config::RouterConfig;

/// How long a key without a homeserver is not looked up again, in milliseconds.
const NOWHERE_MS: i64 = 3_600_000;
/// A look-up of a user's homeserver counts as fresh for this long, in milliseconds.
pub const FRESH_HOME_MS: i64 = 600_000;
/// Pause after a visit that was broken off for reasons of ours, in milliseconds.
const ABORTED_MS: i64 = 5_000;
/// Pause before what was not there is looked for once more, in milliseconds.
const DOUBTFUL_MS: i64 = 30_000;
/// A user who failed so often is looked up anew before the next visit.
const DOUBTFUL_AFTER: u32 = 2;
/// A user without a profile who failed so often is forgotten.
const FORGET_AFTER: u32 = 6;

/// Everybody who is known, and who is to be looked up.
#[derive(Debug)]
pub struct Frontier {
    config: RouterConfig,
    users: HashMap<UserKey, User>,
    homes: Homes,
    waiting: Waiting,
    pins: BTreeSet<UserKey>,
}

impl Frontier {
    /// Nobody yet.
    #[must_use]
    pub fn new(config: RouterConfig) -> Self {
        Self {
            waiting: Waiting::new(config.waiting_per_source, config.max_homeservers),
            users: HashMap::new(),
            homes: Homes::default(),
            pins: BTreeSet::new(),
            config,
        }
    }

    /// How many users are known.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// How many keys wait to be looked up.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The homeservers.
    pub fn homes(&self) -> impl Iterator<Item = (&UserKey, &Home)> {
        self.homes.iter()
    }

    /// A user, if known.
    #[must_use]
    pub fn user(&self, user: &UserKey) -> Option<&User> {
        self.users.get(user)
    }

    /// A homeserver, if known.
    #[must_use]
    pub fn home(&self, home: &UserKey) -> Option<&Home> {
        self.homes.get(home)
    }

    /// Takes in what was known before a restart.
    pub fn restore(&mut self, key: UserKey, user: User) {
        let home = self.homes.entry(user.home);
        home.users = home.users.saturating_add(1);
        home.adverts = home.adverts.saturating_add(user.adverts);
        home.due.insert((user.next_at, key));
        self.users.insert(key, user);
    }

    /// Takes in what was known of a homeserver before a restart.
    pub fn restore_home(&mut self, home: UserKey, failures: u32, next_at: i64) {
        let home = self.homes.entry(home);
        home.failures = failures;
        home.next_at = next_at;
    }

    /// The operator's own users, and those that the operator named.
    pub fn pin(&mut self, user: UserKey, now: i64) {
        if !self.pins.contains(&user) {
            if self.pins.len() >= self.config.max_users {
                return;
            }
            self.pins.insert(user);
        }
        match self.users.get_mut(&user) {
            Some(known) => known.pinned = true,
            None => {
                self.waiting.push(Source::Own, user, now);
            }
        }
    }

    /// Somebody named `user`. Whether that is news, and there is room to look into it.
    pub fn suggest(&mut self, user: UserKey, source: Source, now: i64) -> bool {
        !self.users.contains_key(&user) && self.waiting.push(source, user, now)
    }

    /// A known user is to be looked up anew.
    pub fn suggest_again(&mut self, user: UserKey, source: Source, now: i64) {
        if self.users.contains_key(&user) {
            self.waiting.push(source, user, now);
        }
    }

    /// Whom to look up now.
    pub fn next_unresolved(&mut self, now: i64) -> Option<UserKey> {
        self.waiting.pop(now)
    }

    /// A look-up said where `user` lives; `None` for nowhere.
    pub fn settle(&mut self, user: UserKey, home: Option<UserKey>, now: i64) -> Settled {
        let Some(home) = home else {
            self.waiting.nowhere(user, now.saturating_add(NOWHERE_MS));
            return match self.users.contains_key(&user) {
                true => Settled::Known,
                false => Settled::Nowhere,
            };
        };
        if self.users.contains_key(&user) {
            self.confirm(user, home, now);
            return Settled::Known;
        }
        let pinned = self.pins.contains(&user);
        let mut gone = Vec::new();
        if let Err(limit) = self.make_room(&home, pinned, &mut gone) {
            self.waiting.nowhere(user, now.saturating_add(NOWHERE_MS));
            return Settled::Full(limit);
        }
        let mut new = User::at(home, now);
        new.pinned = pinned;
        self.restore(user, new);
        Settled::New(gone)
    }

    /// The network says again where a known user lives.
    fn confirm(&mut self, key: UserKey, home: UserKey, now: i64) {
        let Some(user) = self.users.get_mut(&key) else {
            return;
        };
        user.home_at = now;
        if user.home == home {
            return;
        }
        let (old, next_at, adverts) = (user.home, user.next_at, user.adverts);
        user.home = home;
        user.next_at = now;
        user.failures = 0;
        user.followed = false;
        let busy = user.busy;
        self.homes.leave(&old, key, next_at, adverts);
        let home = self.homes.entry(home);
        home.users = home.users.saturating_add(1);
        home.adverts = home.adverts.saturating_add(adverts);
        if !busy {
            home.due.insert((now, key));
        }
    }

    fn make_room(
        &mut self,
        home: &UserKey,
        pinned: bool,
        gone: &mut Vec<UserKey>,
    ) -> Result<(), &'static str> {
        let known = self.homes.get(home).map_or(0, |home| home.users);
        if known == 0 && self.homes.len() >= self.config.max_homeservers && !pinned {
            let useless = self.homes.most_useless().ok_or("max_homeservers")?;
            let users: Vec<UserKey> = self.spare_of(&useless, usize::MAX);
            if self.homes.get(&useless).map_or(0, |home| home.users) != users.len() {
                return Err("max_homeservers");
            }
            gone.extend(users);
            self.homes.remove(&useless);
        }
        if known >= self.config.users_per_homeserver && !pinned {
            let spare = self.spare_of(home, 1);
            if spare.is_empty() {
                return Err("users_per_homeserver");
            }
            gone.extend(spare);
        } else if self.users.len().saturating_sub(gone.len()) >= self.config.max_users {
            // The fullest homeserver gives way, unless the newcomer is of it.
            let fullest = self.homes.fullest().ok_or("max_users")?;
            let count = self.homes.get(&fullest).map_or(0, |home| home.users);
            let spare = match pinned || (fullest != *home && count > known.saturating_add(1)) {
                true => self.spare_of(&fullest, 1),
                false => Vec::new(),
            };
            if spare.is_empty() {
                return Err("max_users");
            }
            gone.extend(spare);
        }
        for user in gone.iter() {
            self.forget(user);
        }
        Ok(())
    }

    /// Users of `home` who can be pushed out. Those without a profile first.
    fn spare_of(&self, home: &UserKey, most: usize) -> Vec<UserKey> {
        let mut spare: Vec<(bool, UserKey)> = self
            .users
            .iter()
            .filter(|(_, user)| user.home == *home && user.is_spare())
            .map(|(key, user)| (user.profile, *key))
            .collect();
        spare.sort_unstable();
        spare.into_iter().take(most).map(|(_, key)| key).collect()
    }

    /// Forgets a user.
    pub fn forget(&mut self, key: &UserKey) {
        if let Some(user) = self.users.remove(key) {
            self.homes
                .leave(&user.home, *key, user.next_at, user.adverts);
        }
    }

    /// The next visit, if one is due and may be made.
    pub fn next_visit(&mut self, now: i64) -> Option<Visit> {
        let (home, next_at, key) = self.homes.take_due(now)?;
        let Some(user) = self.users.get_mut(&key) else {
            self.homes.give_back(&home);
            return None;
        };
        debug_assert_eq!((user.next_at, user.home), (next_at, home));
        user.busy = true;
        let mut work = std::mem::take(&mut user.changes);
        if now >= user.read_at.saturating_add(self.full_every(key)) || user_is_new(self.user(&key))
        {
            work.full = true;
        }
        if work.is_empty() {
            work = Work::keys_only();
        }
        let user = self.users.get(&key)?;
        Some(Visit {
            user: key,
            home,
            home_at: user.home_at,
            work,
            pinned: user.pinned,
        })
    }

    /// How often everything of a user is read, in milliseconds.
    fn full_every(&self, key: UserKey) -> i64 {
        let Some(user) = self.users.get(&key) else {
            return 0;
        };
        let seconds = match (user.profile || user.adverts > 0, user.followed) {
            (false, _) if user.pinned => self.config.poll_s,
            (false, _) => self.config.idle_poll_s,
            (true, true) => self.config.followed_poll_s,
            (true, false) => self.config.poll_s,
        };
        millis(seconds)
    }

    /// A visit is over. `jitter` lies between 0 and 1. Whether the user is to be forgotten.
    pub fn finish(&mut self, visit: &Visit, outcome: &Outcome, now: i64, jitter: f64) -> bool {
        let key = visit.user;
        let failed = outcome.home_failed;
        self.homes
            .finished(&visit.home, failed, &self.config, now, jitter);
        let Some(user) = self.users.get_mut(&key) else {
            return false;
        };
        // Not where the visit was, if they have moved meanwhile.
        let (home, before) = (user.home, user.adverts);
        user.take(visit, outcome, now);
        self.homes.recount(&home, before, user.adverts);
        let (failures, home_at) = (user.failures, user.home_at);
        let hopeless = failures >= FORGET_AFTER && !user.pinned && !user.profile;
        self.schedule(key, outcome, now, jitter);
        let old = now >= home_at.saturating_add(FRESH_HOME_MS);
        if failures >= DOUBTFUL_AFTER && old && !hopeless {
            self.waiting.push(Source::Again(home), key, now);
        }
        hopeless
    }

    /// When `key` is visited next.
    fn schedule(&mut self, key: UserKey, outcome: &Outcome, now: i64, jitter: f64) {
        let every = self.full_every(key);
        let failures = self.users.get(&key).map_or(0, |user| user.failures);
        let mut pause = self.pause_after(failures, every, outcome, jitter);
        if !outcome.doubtful.is_empty() || outcome.rates_doubtful {
            pause = pause.min(DOUBTFUL_MS);
        }
        let Some(user) = self.users.get_mut(&key) else {
            return;
        };
        let broken = outcome.home_failed || outcome.aborted;
        user.next_at = if user.changes.is_empty() || broken {
            now.saturating_add(pause)
        } else {
            now
        };
        user.changes.merge(Work {
            peers: outcome.doubtful.clone(),
            rates: outcome.rates_doubtful,
            ..Work::default()
        });
        let due = (user.next_at, key);
        self.homes.entry(user.home).due.insert(due);
    }

    fn pause_after(&self, failures: u32, every: i64, outcome: &Outcome, jitter: f64) -> i64 {
        let base = if outcome.aborted {
            ABORTED_MS
        } else if failures > 0 {
            let doubled = millis(self.config.backoff_s)
                .saturating_mul(1_i64.checked_shl(failures.min(20)).unwrap_or(i64::MAX));
            doubled.min(millis(self.config.max_backoff_s)).min(every)
        } else if outcome.delegates {
            // Revocations are looked for at least every ten minutes.
            every.min(super::authority::LOOK_EVERY_MS)
        } else {
            every
        };
        jittered(base, jitter)
    }

    /// Something of `key` changed. Nothing happens for users that are not known.
    pub fn touch(&mut self, key: &UserKey, work: Work, now: i64) {
        let Some(user) = self.users.get_mut(key) else {
            return;
        };
        user.changes.merge(work);
        if !user.busy && user.next_at > now {
            let before = user.next_at;
            user.next_at = now;
            let due = &mut self.homes.entry(user.home).due;
            due.remove(&(before, *key));
            due.insert((now, *key));
        }
    }

    /// The users whose events are worth following, by homeserver: whoever takes part.
    #[must_use]
    pub fn followable(&self) -> HashMap<UserKey, Vec<UserKey>> {
        let mut all: HashMap<UserKey, Vec<UserKey>> = HashMap::new();
        let takes_part = |user: &User| user.profile || user.adverts > 0;
        for (key, user) in self.users.iter().filter(|(_, user)| takes_part(user)) {
            all.entry(user.home).or_default().push(*key);
        }
        all
    }

    /// Whether the events of these users are followed.
    pub fn set_followed(&mut self, users: &[UserKey], followed: bool) {
        for key in users {
            if let Some(user) = self.users.get_mut(key) {
                user.followed = followed;
            }
        }
    }

    /// How long the most overdue visit waits, in milliseconds.
    #[must_use]
    pub fn lag(&self, now: i64) -> i64 {
        self.homes.lag(now)
    }

    /// Whether `home` has room for so many more advertisements.
    #[must_use]
    pub fn room_for_adverts(&self, home: &UserKey) -> usize {
        let held = self.homes.get(home).map_or(0, |home| home.adverts);
        self.config.adverts_per_homeserver.saturating_sub(held)
    }
}

fn user_is_new(user: Option<&User>) -> bool {
    user.is_some_and(|user| user.read_at == 0)
}

fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

/// `base` less up to a fifth of it.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn jittered(base: i64, jitter: f64) -> i64 {
    let share = (base as f64 * 0.2 * jitter.clamp(0.0, 1.0)) as i64;
    base.saturating_sub(share)
}

#[cfg(test)]
mod tests;
