//! What is known of homeservers: how much of their share they use, and whether they may be asked now.

use std::collections::{BTreeSet, HashMap};

use atomicity_ledger::UserKey;

use super::{jittered, millis};
use crate::router::config::RouterConfig;

/// Most visits to one homeserver at once.
const VISITS_PER_HOME: u32 = 2;

/// A homeserver.
#[derive(Clone, Debug, Default)]
pub struct Home {
    /// Users who live there.
    pub users: usize,
    /// Their advertisements.
    pub adverts: usize,
    /// Visits in a row that failed because of it.
    pub failures: u32,
    /// Nothing is asked of it before this time, Unix ms.
    pub next_at: i64,
    /// Its users, by when they are due.
    pub(super) due: BTreeSet<(i64, UserKey)>,
    busy: u32,
    served: u64,
}

/// All homeservers.
#[derive(Debug, Default)]
pub(super) struct Homes {
    homes: HashMap<UserKey, Home>,
    turns: u64,
}

impl Homes {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&UserKey, &Home)> {
        self.homes.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.homes.len()
    }

    pub(super) fn get(&self, home: &UserKey) -> Option<&Home> {
        self.homes.get(home)
    }

    pub(super) fn entry(&mut self, home: UserKey) -> &mut Home {
        self.homes.entry(home).or_default()
    }

    pub(super) fn remove(&mut self, home: &UserKey) {
        self.homes.remove(home);
    }

    /// A user left. A homeserver without users is forgotten.
    pub(super) fn leave(&mut self, home: &UserKey, user: UserKey, due: i64, adverts: usize) {
        if let Some(entry) = self.homes.get_mut(home) {
            entry.due.remove(&(due, user));
            entry.users = entry.users.saturating_sub(1);
            entry.adverts = entry.adverts.saturating_sub(adverts);
            if entry.users == 0 && entry.busy == 0 {
                self.homes.remove(home);
            }
        }
    }

    pub(super) fn recount(&mut self, home: &UserKey, before: usize, after: usize) {
        let entry = self.entry(*home);
        entry.adverts = entry.adverts.saturating_sub(before).saturating_add(after);
    }

    /// The homeserver with the most users.
    pub(super) fn fullest(&self) -> Option<UserKey> {
        let fullest = self
            .homes
            .iter()
            .max_by_key(|(key, home)| (home.users, **key));
        fullest.map(|(key, _)| *key)
    }

    /// The homeserver that failed most often of those with no advertisements.
    pub(super) fn most_useless(&self) -> Option<UserKey> {
        let useless = |home: &Home| home.adverts == 0 && home.failures > 0 && home.busy == 0;
        let candidates = self.homes.iter().filter(|(_, home)| useless(home));
        candidates
            .max_by_key(|(key, home)| (home.failures, **key))
            .map(|(key, _)| *key)
    }

    /// Takes the most overdue user of the homeserver whose last turn was the longest ago.
    pub(super) fn take_due(&mut self, now: i64) -> Option<(UserKey, i64, UserKey)> {
        let ready = |home: &Home| {
            home.busy < VISITS_PER_HOME
                && home.next_at <= now
                && home.due.first().is_some_and(|(due, _)| *due <= now)
        };
        let candidates = self.homes.iter_mut().filter(|(_, home)| ready(home));
        let (key, home) = candidates.min_by_key(|(key, home)| (home.served, **key))?;
        let (due, user) = home.due.pop_first()?;
        self.turns = self.turns.saturating_add(1);
        home.served = self.turns;
        home.busy = home.busy.saturating_add(1);
        Some((*key, due, user))
    }

    /// A visit is over, or is not made after all.
    pub(super) fn give_back(&mut self, home: &UserKey) {
        if let Some(entry) = self.homes.get_mut(home) {
            entry.busy = entry.busy.saturating_sub(1);
            if entry.users == 0 && entry.busy == 0 {
                self.homes.remove(home);
            }
        }
    }

    /// A visit is over.
    pub(super) fn finished(
        &mut self,
        home: &UserKey,
        failed: bool,
        config: &RouterConfig,
        now: i64,
        jitter: f64,
    ) {
        self.give_back(home);
        let Some(home) = self.homes.get_mut(home) else {
            return;
        };
        if !failed {
            home.failures = 0;
            home.next_at = 0;
            return;
        }
        home.failures = home.failures.saturating_add(1);
        let doublings = home.failures.saturating_sub(1).min(20);
        let pause = millis(config.backoff_s)
            .saturating_mul(1_i64.checked_shl(doublings).unwrap_or(i64::MAX))
            .min(millis(config.max_backoff_s));
        home.next_at = now.saturating_add(jittered(pause, jitter));
    }

    /// How long the most overdue user waits whose homeserver may be asked.
    pub(super) fn lag(&self, now: i64) -> i64 {
        let open = self.homes.values().filter(|home| home.next_at <= now);
        let first = open
            .filter_map(|home| home.due.first())
            .map(|(due, _)| *due);
        first.min().map_or(0, |due| now.saturating_sub(due).max(0))
    }
}
