//! Work by key: any number side by side, one worker on a key at a time, what comes meanwhile is done after.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use atomicity_ledger::UserKey;
use tokio::sync::Notify;

/// The user, and the peer.
pub type PairKey = (UserKey, UserKey);

struct Slot<W> {
    work: W,
    wanted: bool,
    running: bool,
}

struct Inner<K, W> {
    slots: HashMap<K, Slot<W>>,
    ready: VecDeque<K>,
}

/// What is to be done, by key.
pub struct Queue<K, W> {
    inner: Mutex<Inner<K, W>>,
    news: Notify,
}

impl<K, W> Default for Queue<K, W> {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                slots: HashMap::new(),
                ready: VecDeque::new(),
            }),
            news: Notify::new(),
        }
    }
}

impl<K: Copy + Eq + Hash, W: Default> Queue<K, W> {
    fn inner(&self) -> MutexGuard<'_, Inner<K, W>> {
        // Nothing in here can panic half-way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to what is to be done for a key.
    pub fn add(&self, key: K, change: impl FnOnce(&mut W)) {
        let mut inner = self.inner();
        let slot = inner.slots.entry(key).or_insert_with(|| Slot {
            work: W::default(),
            wanted: false,
            running: false,
        });
        change(&mut slot.work);
        if slot.wanted {
            return;
        }
        slot.wanted = true;
        if !slot.running {
            inner.ready.push_back(key);
            drop(inner);
            self.news.notify_one();
        }
    }

    /// The next key and its work. Its slot is taken until [`Queue::done`].
    pub async fn next(&self) -> (K, W) {
        loop {
            let news = self.news.notified();
            if let Some(found) = self.pop() {
                return found;
            }
            news.await;
        }
    }

    fn pop(&self) -> Option<(K, W)> {
        let mut inner = self.inner();
        let key = inner.ready.pop_front()?;
        let more = !inner.ready.is_empty();
        let slot = inner.slots.get_mut(&key)?;
        slot.running = true;
        slot.wanted = false;
        let work = std::mem::take(&mut slot.work);
        drop(inner);
        if more {
            // A permit is kept for one waiter only.
            self.news.notify_one();
        }
        Some((key, work))
    }

    /// The work is done; what came meanwhile is next.
    pub fn done(&self, key: &K) {
        let mut inner = self.inner();
        let Some(slot) = inner.slots.get_mut(key) else {
            return;
        };
        slot.running = false;
        if slot.wanted {
            inner.ready.push_back(*key);
            drop(inner);
            self.news.notify_one();
        } else {
            inner.slots.remove(key);
        }
    }

    /// How many keys have work.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner().slots.len()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::Keypair;

    use super::*;

    fn key(n: u8) -> PairKey {
        let user = |n: u8| Keypair::from_secret(&[n; 32]).user_key();
        (user(100), user(n))
    }

    #[tokio::test]
    async fn one_worker_a_key_and_nothing_is_lost_meanwhile() {
        let queue: Queue<PairKey, Vec<u8>> = Queue::default();
        queue.add(key(1), |work| work.push(1));
        queue.add(key(2), |work| work.push(2));
        queue.add(key(1), |work| work.push(3));
        assert_eq!(queue.next().await, (key(1), vec![1, 3]));
        queue.add(key(1), |work| work.push(4));
        assert_eq!(queue.next().await, (key(2), vec![2]));
        assert!(queue.pop().is_none());
        queue.done(&key(1));
        assert_eq!(queue.next().await, (key(1), vec![4]));
        queue.done(&key(1));
        queue.done(&key(2));
        assert!(queue.is_empty());
    }
}
