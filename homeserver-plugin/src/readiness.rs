//! Whether this process may serve, and if not, why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared flags, set by the tasks that know.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Flags>);

#[derive(Default)]
struct Flags {
    lock_held: AtomicBool,
    stopping: AtomicBool,
    draining: AtomicBool,
}

impl Readiness {
    /// Records whether the database lock that keeps a second plugin away is held.
    pub fn set_lock_held(&self, held: bool) {
        self.0.lock_held.store(held, Ordering::SeqCst);
    }

    /// Records that the process is shutting down.
    pub fn set_stopping(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
    }

    /// Records whether an operator wants no new work to be taken.
    pub fn set_draining(&self, draining: bool) {
        self.0.draining.store(draining, Ordering::SeqCst);
    }

    /// Whether no new work is taken: what is open is finished.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }

    /// Whether the lock is held. It is lost with its connection, so this is also the first sign of a database that went away.
    #[must_use]
    pub fn lock_held(&self) -> bool {
        self.0.lock_held.load(Ordering::SeqCst)
    }

    /// Why requests should go elsewhere for now; `None` when ready.
    #[must_use]
    pub fn obstacle(&self) -> Option<&'static str> {
        if self.0.stopping.load(Ordering::SeqCst) {
            Some("stopping")
        } else if !self.lock_held() {
            Some("database_lock_not_held")
        } else if self.is_draining() {
            Some("draining")
        } else {
            None
        }
    }
}
