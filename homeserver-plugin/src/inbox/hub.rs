//! Wakes the live streams of a user when something has come in.
//!
//! In this process only: one plugin per database is enforced, so nobody else writes. Streams also look for themselves now and then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::config::InboxConfig;
use crate::error::PluginError;
use crate::metrics::Metrics;

/// The number tells how many guests have come since somebody listens.
type Listeners = HashMap<[u8; 32], (watch::Sender<u64>, usize)>;

struct Inner {
    listeners: Mutex<Listeners>,
    per_account: usize,
    in_all: usize,
    metrics: Metrics,
}

/// Knows who listens.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

/// One live stream's place in the hub; given back when dropped.
pub struct Listener {
    hub: Hub,
    owner: [u8; 32],
    changes: watch::Receiver<u64>,
}

impl Hub {
    /// Takes the bounds from the configuration.
    #[must_use]
    pub fn new(config: &InboxConfig, metrics: Metrics) -> Self {
        Self(Arc::new(Inner {
            listeners: Mutex::default(),
            per_account: config.streams_per_account,
            in_all: config.streams,
            metrics,
        }))
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        // Nothing in here can panic half-way through a change.
        self.0
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts listening for `owner`.
    ///
    /// # Errors
    /// `too_many_streams`.
    pub fn listen(&self, owner: [u8; 32]) -> Result<Listener, PluginError> {
        let mut listeners = self.listeners();
        let total: usize = listeners.values().map(|(_, count)| count).sum();
        let held = listeners.get(&owner).map_or(0, |(_, count)| *count);
        if total >= self.0.in_all || held >= self.0.per_account {
            return Err(PluginError::TooMany {
                code: "too_many_streams",
                detail: "too many live streams are open: close one",
                retry_after: Duration::from_secs(10),
            });
        }
        let (sender, count) = listeners
            .entry(owner)
            .or_insert_with(|| (watch::channel(0).0, 0));
        *count += 1;
        let changes = sender.subscribe();
        self.0.metrics.inbox_streams(1);
        Ok(Listener {
            hub: self.clone(),
            owner,
            changes,
        })
    }

    /// Wakes the streams of `owner`.
    pub fn wake(&self, owner: &[u8; 32]) {
        if let Some((sender, _)) = self.listeners().get(owner) {
            sender.send_modify(|_| {});
        }
    }

    /// Wakes the streams of `owner`, and lets them know that a guest has come.
    pub fn announce_guest(&self, owner: &[u8; 32]) {
        if let Some((sender, _)) = self.listeners().get(owner) {
            sender.send_modify(|guests| *guests = guests.wrapping_add(1));
        }
    }
}

impl Listener {
    /// Returns when something has come in since the last call, or after `patience`.
    pub async fn wait(&mut self, patience: Duration) {
        // The sender lives as long as this listener does.
        let _ = tokio::time::timeout(patience, self.changes.changed()).await;
    }

    /// A number that changes whenever a guest has come.
    #[must_use]
    pub fn guests(&self) -> u64 {
        *self.changes.borrow()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = self.hub.listeners();
        if let Some((_, count)) = listeners.get_mut(&self.owner) {
            *count -= 1;
            if *count == 0 {
                listeners.remove(&self.owner);
            }
        }
        self.hub.0.metrics.inbox_streams(-1);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hub(per_account: usize, in_all: usize) -> Hub {
        let config = InboxConfig {
            streams_per_account: per_account,
            streams: in_all,
            ..InboxConfig::default()
        };
        Hub::new(&config, Metrics::new().unwrap())
    }

    #[tokio::test]
    async fn a_wake_up_between_two_waits_is_not_lost() {
        let hub = hub(1, 1);
        let mut listener = hub.listen([1; 32]).unwrap();
        hub.wake(&[1; 32]);
        listener.wait(Duration::from_secs(3600)).await;
    }

    #[tokio::test]
    async fn a_guest_wakes_who_listens_and_is_told_apart_from_all_else() {
        let hub = hub(1, 1);
        let mut listener = hub.listen([1; 32]).unwrap();
        let before = listener.guests();
        hub.wake(&[1; 32]);
        hub.announce_guest(&[2; 32]);
        listener.wait(Duration::from_secs(3600)).await;
        assert_eq!(listener.guests(), before);
        hub.announce_guest(&[1; 32]);
        listener.wait(Duration::from_secs(3600)).await;
        assert_ne!(listener.guests(), before);
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let hub = hub(2, 3);
        let code = |owner: u8| {
            hub.listen([owner; 32])
                .map(|_| ())
                .map_err(|error| error.code())
        };
        let first = hub.listen([1; 32]).unwrap();
        let _second = hub.listen([1; 32]).unwrap();
        assert_eq!(code(1), Err("too_many_streams"));
        let third = hub.listen([2; 32]).unwrap();
        assert_eq!(code(3), Err("too_many_streams"));
        drop((first, third));
        assert_eq!(code(1), Ok(()));
        assert_eq!(code(3), Ok(()));
        assert_eq!(hub.listeners().len(), 1);
    }
}
