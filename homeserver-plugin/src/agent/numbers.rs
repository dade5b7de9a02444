//! Numbers for what is read in order: journal, events, outbox.
//!
//! They are handed out before a transaction commits, and transactions commit in any order. So a reader goes only as far as the
//! smallest number that is still on its way: whoever has read up to a number never misses a smaller one. One process at a time keeps
//! a database, so this can be counted in memory.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Inner {
    next: i64,
    on_their_way: BTreeSet<i64>,
}

/// The counter. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Numbers(Arc<Mutex<Inner>>);

/// Numbers of one transaction, until it has ended.
#[derive(Debug)]
pub struct Reserved {
    numbers: Numbers,
    first: i64,
    next: i64,
    end: i64,
}

impl Numbers {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on after what is stored.
    pub fn begin_after(&self, last: i64) {
        let mut inner = self.inner();
        inner.next = inner.next.max(last.saturating_add(1)).max(1);
    }

    /// Takes `count` numbers that follow each other.
    #[must_use]
    pub fn reserve(&self, count: usize) -> Reserved {
        let mut inner = self.inner();
        let first = inner.next.max(1);
        let end = first.saturating_add(i64::try_from(count.max(1)).unwrap_or(i64::MAX));
        inner.next = end;
        inner.on_their_way.insert(first);
        drop(inner);
        Reserved {
            numbers: self.clone(),
            first,
            next: first,
            end,
        }
    }

    /// The number below which everything has been decided.
    #[must_use]
    pub fn horizon(&self) -> i64 {
        let inner = self.inner();
        inner.on_their_way.first().copied().unwrap_or(inner.next)
    }
}

impl Reserved {
    /// The next number; the last one again if more are asked for than were taken, which the database then refuses.
    pub fn take(&mut self) -> i64 {
        let number = self.next.min(self.end.saturating_sub(1));
        self.next = self.next.saturating_add(1);
        number
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.numbers.inner().on_their_way.remove(&self.first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_reads_past_what_is_on_its_way() {
        let numbers = Numbers::default();
        numbers.begin_after(10);
        let mut early = numbers.reserve(2);
        let late = numbers.reserve(1);
        assert_eq!((early.take(), early.take()), (11, 12));
        drop(late);
        assert_eq!(numbers.horizon(), 11);
        drop(early);
        assert_eq!(numbers.horizon(), 14);
    }
}
