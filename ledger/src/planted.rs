//! Bugs on purpose, for the tests of the simulator: each can be switched on in a thread, if the crate was built with the feature
//! `planted`. Without it there is nothing to switch, and no code for it.

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A promise that was booked is booked again when its proof comes again.
    MergeTwice,
    /// A proof handed over is believed.
    MergeUnpublished,
    /// A promise that is undecided takes no credit.
    ExposureIgnoresUndecided,
    /// What was passed on is given up when it expires.
    ReleaseWhileForwarded,
    /// What the peer counts as decided is cleared, owed or not.
    ClearWithoutCoverage,
    /// A promise whose deadline has passed by the own clock takes no credit.
    ExpiryByClock,
    /// Two promises may bear one number.
    NumberReused,
    /// What came due above the line is given back.
    RefundOfMerged,
    /// A promise of an ended epoch is taken.
    OldEpochTaken,
    /// A promise that its issuer no longer counts as undecided takes no credit.
    FreedByOpen,
    /// A release that names no promise gives up the next one.
    ReleaseOfAnother,
    /// What is booked of what came due is claimed beyond that.
    ClaimedTwice,
    /// A proof of publication does not undo that a promise seemed to have expired.
    ExpiryWins,
    /// A hop asks for no fee.
    FeeUnchecked,
    /// A promise onward that was made before the store was put together again is made once more.
    PassedOnTwice,
    /// What came is given up when it expires, whether what was promised onward was given up or not.
    GivenBackFirst,
    /// A proof that books what was promised onward does not claim what came.
    ProofKept,
    /// Half of what was asked for is enough to publish.
    PublishedInPart,
    /// What is undecided is sent another way.
    SentWhileOutstanding,
    /// A friend may have passed on as much as it likes.
    BudgetIgnored,
    /// A payee takes any unit.
    AnyUnitCollected,
    /// What is asked for another unit is rounded down.
    RateRoundedDown,
    /// What is being published is given back when there is little time left.
    GivenBackWhilePublished,
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
