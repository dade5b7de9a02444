//! Keys that wait to be looked up, by whoever named them. Sources take turns, and each has only so many places.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use atomicity_ledger::UserKey;

/// Most keys without a homeserver that are remembered as such.
const MAX_NOWHERE: usize = 50_000;

/// Who named a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The operator, or an account here.
    Own,
    /// Somebody who asked for it.
    Hello,
    /// A user of this homeserver.
    Introduced(UserKey),
    /// Known already, at this homeserver; to be looked up anew.
    Again(UserKey),
}

/// The queues.
#[derive(Debug)]
pub(super) struct Waiting {
    per_source: usize,
    max_sources: usize,
    queues: BTreeMap<Source, VecDeque<UserKey>>,
    /// Whose turn it is.
    turns: VecDeque<Source>,
    queued: HashSet<UserKey>,
    nowhere: HashMap<UserKey, i64>,
}

impl Waiting {
    pub(super) fn new(per_source: usize, homeservers: usize) -> Self {
        Self {
            per_source,
            // Each homeserver may introduce, and its users may be looked up anew.
            max_sources: homeservers.saturating_mul(2).saturating_add(2),
            queues: BTreeMap::new(),
            turns: VecDeque::new(),
            queued: HashSet::new(),
            nowhere: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queued.len()
    }

    /// Whether there was room and the key did not wait already.
    pub(super) fn push(&mut self, source: Source, user: UserKey, now: i64) -> bool {
        let doomed = self.nowhere.get(&user).is_some_and(|until| *until > now);
        if self.queued.contains(&user) || (doomed && !matches!(source, Source::Again(_))) {
            return false;
        }
        let limit = match source {
            // Bounded by the number of accounts.
            Source::Own => usize::MAX,
            _ => self.per_source,
        };
        if !self.queues.contains_key(&source) {
            if self.queues.len() >= self.max_sources {
                return false;
            }
            self.turns.push_back(source);
        }
        let queue = self.queues.entry(source).or_default();
        if queue.len() >= limit {
            return false;
        }
        queue.push_back(user);
        self.queued.insert(user);
        true
    }

    pub(super) fn pop(&mut self, now: i64) -> Option<UserKey> {
        if self.nowhere.len() > MAX_NOWHERE {
            self.nowhere.retain(|_, until| *until > now);
        }
        let source = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&source)?;
        let user = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&source);
        } else {
            self.turns.push_back(source);
        }
        if let Some(user) = &user {
            self.queued.remove(user);
        }
        user
    }

    /// Remembers that looking `user` up is of no use until then.
    pub(super) fn nowhere(&mut self, user: UserKey, until: i64) {
        if self.nowhere.len() < MAX_NOWHERE {
            self.nowhere.insert(user, until);
        }
    }
}
