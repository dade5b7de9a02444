//! Answers that are kept in memory for a while, bounded by their size.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A map that forgets the oldest entries when it grows too heavy.
pub(super) struct Cache<K, V> {
    max_weight: usize,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// Keys by the order in which they were put in.
    order: BTreeMap<u64, K>,
    next: u64,
    weight: usize,
}

struct Entry<V> {
    value: Arc<V>,
    weight: usize,
    order: u64,
    since: Instant,
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    /// An empty cache for entries of `max_weight` bytes in all.
    pub(super) fn new(max_weight: usize) -> Self {
        let state = State {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
            weight: 0,
        };
        Self {
            max_weight,
            state: Mutex::new(state),
        }
    }

    /// The entry, and how long ago it was put in.
    pub(super) fn get(&self, key: &K) -> Option<(Arc<V>, Duration)> {
        let state = self.lock();
        state
            .entries
            .get(key)
            .map(|entry| (Arc::clone(&entry.value), entry.since.elapsed()))
    }

    /// Puts an entry in, in place of an older one. What is heavier than the whole cache is not kept.
    pub(super) fn put(&self, key: K, value: Arc<V>, weight: usize) {
        let mut state = self.lock();
        state.remove(&key);
        if weight > self.max_weight {
            return;
        }
        while state.weight.saturating_add(weight) > self.max_weight {
            let Some((_, oldest)) = state.order.pop_first() else {
                break;
            };
            state.remove(&oldest);
        }
        let order = state.next;
        state.next = order.wrapping_add(1);
        state.weight = state.weight.saturating_add(weight);
        state.order.insert(order, key.clone());
        state.entries.insert(
            key,
            Entry {
                value,
                weight,
                order,
                since: Instant::now(),
            },
        );
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V> State<K, V> {
    fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.order);
            self.weight = self.weight.saturating_sub(entry.weight);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_make_room() {
        let cache = Cache::new(10);
        cache.put("a", Arc::new(1), 4);
        cache.put("b", Arc::new(2), 4);
        cache.put("c", Arc::new(3), 4);
        assert!(cache.get(&"a").is_none());
        assert_eq!(*cache.get(&"b").unwrap().0, 2);
        assert_eq!(*cache.get(&"c").unwrap().0, 3);
    }

    #[test]
    fn an_entry_put_again_is_young_and_counted_once() {
        let cache = Cache::new(10);
        cache.put("a", Arc::new(1), 4);
        cache.put("b", Arc::new(2), 4);
        cache.put("a", Arc::new(9), 5);
        cache.put("c", Arc::new(3), 5);
        assert_eq!(*cache.get(&"a").unwrap().0, 9);
        assert!(cache.get(&"b").is_none());
        assert_eq!(cache.lock().weight, 10);
        assert_eq!(cache.lock().order.len(), 2);
    }

    #[test]
    fn what_is_too_heavy_is_not_kept_and_replaces_what_was_there() {
        let cache = Cache::new(10);
        cache.put("a", Arc::new(1), 4);
        cache.put("a", Arc::new(2), 11);
        assert!(cache.get(&"a").is_none());
        assert_eq!(cache.lock().weight, 0);
    }
}
