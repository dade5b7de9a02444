//! The publication rule: what the content of a log says about terms.
//!
//! Let J be the index of the first entry whose time is after the deadline. A preimage is **published** in a log iff an entry with index in
//! `[from_size, J)` holds it, and **expired** iff J exists and none does. That is a pure function of the log's content: whoever asks,
//! whenever, gets the same answer. Where a log ended (tombstones) before J exists, the window ends with the log.

use crate::error::LogError;
use crate::leaf::Leaf;
use crate::planted::{self, Bug};
use crate::policy::Policy;

/// How far back `from_size` may lie before the newest size known, and so how much of a log somebody may have to read.
pub const MAX_WINDOW: u64 = 1 << 20;

/// What some terms say about one log: everything that a proof is checked against.
#[derive(Clone, Copy, Debug)]
pub struct LogTerms<'a> {
    /// The policy whose hash the terms name. Whoever looked it up compared the hash.
    pub policy: &'a Policy,
    /// The log's origin; the policy lists it.
    pub origin: &'a str,
    /// SHA-256 of the preimage.
    pub hash: &'a [u8; 32],
    /// The first index that counts.
    pub from_size: u64,
    /// The last moment that counts, in unix milliseconds of the log's clock.
    pub deadline_ms: u64,
}

/// What one log says about terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can't be said yet.
    Open,
    /// The preimage was published in time.
    Published {
        /// Index of the entry that holds it.
        index: u64,
    },
    /// The preimage was not published in time, and never will have been.
    Expired {
        /// Index of the first entry after the deadline; or the size at which the log ended.
        index: u64,
    },
}

/// What all logs that the terms name say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not published anywhere so far, and not expired everywhere.
    Open,
    /// Published in at least one log.
    Published {
        /// Position of the first such log in the terms.
        log: usize,
        /// Index of the entry there.
        index: u64,
    },
    /// Expired in all logs.
    Expired,
}

/// Applies the rule entry by entry: for those who follow a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    hash: [u8; 32],
    deadline_ms: u64,
    next: u64,
    verdict: Verdict,
}

impl Watch {
    /// Begins at `from_size`.
    #[must_use]
    pub fn new(from_size: u64, deadline_ms: u64, hash: &[u8; 32]) -> Self {
        Self {
            hash: *hash,
            deadline_ms,
            next: from_size,
            verdict: Verdict::Open,
        }
    }

    /// Index of the entry that [`Self::see`] takes next.
    #[must_use]
    pub fn next_index(&self) -> u64 {
        self.next
    }

    /// What the entries so far say.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Takes the next entry. Once decided, nothing changes the verdict.
    pub fn see(&mut self, leaf: &Leaf) -> Verdict {
        let index = self.next;
        self.next = self.next.saturating_add(1);
        if self.verdict == Verdict::Open {
            let early = u64::from(planted::on(Bug::DeadlineTooEarly));
            if leaf.time_ms().saturating_add(early) > self.deadline_ms {
                self.verdict = Verdict::Expired { index };
            } else if leaf.publishes(&self.hash) {
                self.verdict = Verdict::Published { index };
            }
        }
        self.verdict
    }

    /// The log ended with the entries seen so far.
    pub fn end(&mut self) -> Verdict {
        if self.verdict == Verdict::Open {
            self.verdict = Verdict::Expired { index: self.next };
        }
        self.verdict
    }
}

/// The rule over the entries from index `from_size` on.
#[must_use]
pub fn judge<'a>(
    from_size: u64,
    deadline_ms: u64,
    hash: &[u8; 32],
    leaves: impl IntoIterator<Item = &'a Leaf>,
) -> Verdict {
    let mut watch = Watch::new(from_size, deadline_ms, hash);
    for leaf in leaves {
        if watch.see(leaf) != Verdict::Open {
            break;
        }
    }
    watch.verdict()
}

/// Several logs: published in any one, expired in all. No log at all decides nothing.
#[must_use]
pub fn judge_all(verdicts: &[Verdict]) -> Outcome {
    let published = verdicts
        .iter()
        .enumerate()
        .find_map(|(log, verdict)| match *verdict {
            Verdict::Published { index } => Some(Outcome::Published { log, index }),
            _ => None,
        });
    let expired = |verdict: &Verdict| matches!(verdict, Verdict::Expired { .. });
    match published {
        Some(outcome) => outcome,
        None if !verdicts.is_empty() && verdicts.iter().all(expired) => Outcome::Expired,
        None => Outcome::Open,
    }
}

/// Whether terms may name this `from_size`, given the newest cosigned size known: not ahead of it, and at most [`MAX_WINDOW`] behind.
///
/// # Errors
/// [`LogError::FromSizeOutside`].
pub fn check_from_size(from_size: u64, size: u64) -> Result<(), LogError> {
    if from_size <= size && size - from_size <= MAX_WINDOW {
        Ok(())
    } else {
        Err(LogError::FromSizeOutside { from_size, size })
    }
}
