//! Users, what is to be read of them, and what came of it.

use std::collections::BTreeSet;

use atomicity_ledger::UserKey;

/// Files of one user that changed; more than this and everything is read.
pub(super) const MAX_CHANGES: usize = 64;

/// What is to be read of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Everything.
    pub full: bool,
    /// The profile.
    pub profile: bool,
    /// The list of follows.
    pub follows: bool,
    /// The advertisements about these.
    pub peers: BTreeSet<UserKey>,
    /// Of these, those whose file was said to be deleted.
    pub deleted: BTreeSet<UserKey>,
    /// Whether the keys that sign for the user still may.
    pub keys: bool,
    /// The ratings.
    pub ratings: bool,
    /// What they exchange.
    pub rates: bool,
    /// Whether that was said to be deleted.
    pub rates_deleted: bool,
}

impl Work {
    /// Everything.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            full: true,
            ..Self::default()
        }
    }

    /// Only whether keys still may sign.
    #[must_use]
    pub fn keys_only() -> Self {
        Self {
            keys: true,
            ..Self::default()
        }
    }

    /// This and that.
    pub fn merge(&mut self, other: Self) {
        self.full |= other.full;
        self.profile |= other.profile;
        self.follows |= other.follows;
        self.keys |= other.keys;
        self.ratings |= other.ratings;
        self.rates |= other.rates;
        self.rates_deleted |= other.rates_deleted;
        self.peers.extend(other.peers);
        self.deleted.extend(other.deleted);
        if self.peers.len() > MAX_CHANGES {
            self.peers.clear();
            self.deleted.clear();
            self.full = true;
        }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A user as the crawler sees them.
#[derive(Clone, Debug)]
pub struct User {
    /// Where they live.
    pub home: UserKey,
    /// When the network last said so, Unix ms.
    pub home_at: i64,
    /// When they are due.
    pub next_at: i64,
    /// Visits in a row that went wrong for reasons of their own.
    pub failures: u32,
    /// Named by the operator, or registered here: never pushed out.
    pub pinned: bool,
    /// Whether they have a profile.
    pub profile: bool,
    /// Advertisements that are held.
    pub adverts: usize,
    /// Whether keys other than the root sign for them, so that revocations must be looked for.
    pub delegates: bool,
    /// Whether their events are followed.
    pub followed: bool,
    /// When everything was read last, Unix ms.
    pub read_at: i64,
    pub(super) busy: bool,
    pub(super) changes: Work,
}

impl User {
    /// A user who was just found to live at `home`.
    #[must_use]
    pub fn at(home: UserKey, now: i64) -> Self {
        Self {
            home,
            home_at: now,
            next_at: now,
            failures: 0,
            pinned: false,
            profile: false,
            adverts: 0,
            delegates: false,
            followed: false,
            read_at: 0,
            busy: false,
            changes: Work::default(),
        }
    }

    /// A visit is over.
    pub(super) fn take(&mut self, visit: &Visit, outcome: &Outcome, now: i64) {
        self.busy = false;
        if outcome.home_failed || outcome.aborted {
            // What was to be read is read another time.
            self.changes.merge(visit.work.clone());
        } else {
            self.profile = outcome.profile;
            self.adverts = outcome.adverts;
            self.delegates = outcome.delegates;
            if outcome.full {
                self.read_at = now;
            }
        }
        self.failures = if outcome.home_failed || outcome.user_failed {
            self.failures.saturating_add(1)
        } else {
            0
        };
    }

    /// Whether pushing them out loses nothing.
    pub(super) fn is_spare(&self) -> bool {
        !self.pinned && !self.busy && self.adverts == 0
    }
}

/// A visit to be made.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Whom to visit.
    pub user: UserKey,
    /// Where.
    pub home: UserKey,
    /// When the network last said that they live there.
    pub home_at: i64,
    /// What to read.
    pub work: Work,
    /// Whether nobody may push them out.
    pub pinned: bool,
}

/// What became of a visit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The homeserver failed or misbehaved.
    pub home_failed: bool,
    /// What the user has there is not what it should be.
    pub user_failed: bool,
    /// Whether they have a profile.
    pub profile: bool,
    /// Advertisements that are held.
    pub adverts: usize,
    /// Whether keys other than the root sign for them.
    pub delegates: bool,
    /// Whether everything was read.
    pub full: bool,
    /// It was broken off for reasons of ours.
    pub aborted: bool,
    /// Advertisements that were not there, and may be gone: they are looked for once more soon.
    pub doubtful: BTreeSet<UserKey>,
    /// The same of the rates.
    pub rates_doubtful: bool,
}

/// What a look-up led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// They are known now; those who had to make room are to be forgotten.
    New(Vec<UserKey>),
    /// They are known already.
    Known,
    /// They have no homeserver.
    Nowhere,
    /// There is no room, by this limit.
    Full(&'static str),
}
