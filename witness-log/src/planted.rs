//! Bugs on purpose, for the tests of the simulator: each can be switched on in a thread, if the crate was built with the feature
//! `planted`. Without it there is nothing to switch, and no code for it.

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A checkpoint counts without a quorum.
    NoQuorum,
    /// An entry at the very deadline comes too late, for those who follow a log.
    DeadlineTooEarly,
    /// An entry one millisecond after the deadline still counts, for those who check a proof.
    DeadlineTooLate,
    /// Entries before the window count.
    FromSizeIgnored,
    /// Two views are never compared to the end.
    ForkMissed,
    /// Times may fall.
    TimesMayFall,
}

#[cfg(feature = "planted")]
mod switch {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static ON: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Switches a bug on in this thread, or all off.
    pub fn set(bug: Option<Bug>) {
        ON.set(bug);
    }

    pub(crate) fn on(bug: Bug) -> bool {
        ON.get() == Some(bug)
    }
}

#[cfg(feature = "planted")]
pub(crate) use switch::on;
#[cfg(feature = "planted")]
pub use switch::set;

#[cfg(not(feature = "planted"))]
pub(crate) const fn on(_: Bug) -> bool {
    false
}
