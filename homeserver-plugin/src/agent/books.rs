//! Books that were worked on lately, read and ready.
//!
//! A copy counts only if its version is that of the row, which is locked by whoever changes it; so what lies here can be late or
//! missing, and never wrong. Memory is bounded by what the books weigh in the database.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atomicity_ledger::pair::Pair;

use super::queue::PairKey;

struct Entry {
    version: i64,
    pair: Arc<Pair>,
    weight: usize,
    used: u64,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<PairKey, Entry>,
    by_use: BTreeMap<u64, PairKey>,
    clock: u64,
    weight: usize,
}

/// The books that are kept in memory.
pub struct Books {
    inner: Mutex<Inner>,
    most: usize,
}

impl Books {
    /// Keeps as many as weigh at most `most` bytes in the database.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            inner: Mutex::default(),
            most,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here can panic half-way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These books in this version.
    #[must_use]
    pub fn get(&self, key: &PairKey, version: i64) -> Option<(Arc<Pair>, usize)> {
        let mut inner = self.inner();
        inner.touch(key);
        let entry = inner.entries.get(key)?;
        (entry.version == version).then(|| (entry.pair.clone(), entry.weight))
    }

    /// These books as they were when they were last committed or read here.
    #[must_use]
    pub fn newest(&self, key: &PairKey) -> Option<Arc<Pair>> {
        let inner = self.inner();
        inner.entries.get(key).map(|entry| entry.pair.clone())
    }

    /// Keeps what was read or committed. An older version than what is here changes nothing.
    pub fn put(&self, key: PairKey, version: i64, pair: Arc<Pair>, weight: usize) {
        let mut inner = self.inner();
        let known = inner.entries.get(&key).map(|entry| entry.version);
        if weight > self.most || known.is_some_and(|known| known > version) {
            return;
        }
        inner.remove(&key);
        inner.clock += 1;
        let used = inner.clock;
        inner.by_use.insert(used, key);
        inner.weight += weight;
        let entry = Entry {
            version,
            pair,
            weight,
            used,
        };
        inner.entries.insert(key, entry);
        while inner.weight > self.most {
            let Some(oldest) = inner.by_use.first_key_value().map(|(_, key)| *key) else {
                return;
            };
            inner.remove(&oldest);
        }
    }

    /// Forgets these books: nobody knows what the database holds.
    pub fn forget(&self, key: &PairKey) {
        self.inner().remove(key);
    }
}

impl Inner {
    fn touch(&mut self, key: &PairKey) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        self.clock += 1;
        self.by_use.remove(&entry.used);
        entry.used = self.clock;
        self.by_use.insert(self.clock, *key);
    }

    fn remove(&mut self, key: &PairKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_use.remove(&entry.used);
            self.weight -= entry.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::Keypair;

    use super::*;

    fn books(n: u8) -> (PairKey, Arc<Pair>) {
        let user = |n: u8| Keypair::from_secret(&[n; 32]).user_key();
        let pair = Pair::new(user(100), user(n)).unwrap();
        ((user(100), user(n)), Arc::new(pair))
    }

    #[test]
    fn only_the_version_asked_for_and_never_too_much() {
        let kept = Books::new(100);
        let ((a, pair_a), (b, pair_b), (c, pair_c)) = (books(1), books(2), books(3));
        kept.put(a, 2, pair_a.clone(), 40);
        assert!(kept.get(&a, 1).is_none() && kept.get(&a, 3).is_none());
        assert_eq!(kept.get(&a, 2).unwrap().0, pair_a);
        kept.put(a, 1, pair_b.clone(), 40);
        assert_eq!(kept.newest(&a).unwrap(), pair_a);
        kept.put(b, 1, pair_b, 40);
        assert!(kept.get(&a, 2).is_some());
        // The one that was not asked for longest goes.
        kept.put(c, 1, pair_c.clone(), 40);
        assert!(kept.newest(&b).is_none());
        assert!(kept.newest(&a).is_some() && kept.newest(&c).is_some());
        kept.put(b, 1, pair_c, 101);
        assert!(kept.newest(&b).is_none() && kept.newest(&a).is_some());
        kept.forget(&a);
        assert!(kept.newest(&a).is_none());
    }
}
