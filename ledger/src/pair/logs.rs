//! The logs that the owner knows: whether the terms of a promise can be relied on.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::PolicyHash;
use crate::record::{LogTerm, Terms};
use crate::text::Address;

/// How far back terms may begin to read a log, in leaves.
pub const MAX_WINDOW_LEAVES: u64 = 1 << 20;

/// The logs that the owner knows and how far each was seen.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KnownLogs {
    logs: BTreeMap<Address, KnownLog>,
}

/// One log.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KnownLog {
    /// The policies by which its checkpoints count for the owner.
    pub policies: BTreeSet<PolicyHash>,
    /// The size of the newest checkpoint that counts by one of them.
    pub newest_size: u64,
    /// Whether it is refused: the owner says so, or a fork was proven.
    pub refused: bool,
}

/// What is to be thought of terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TermsVerdict {
    /// Every log is known and was read far enough.
    Good,
    /// A log was not read as far as the terms begin.
    NotReadYet,
    /// A log is unknown or refused, or the terms begin too far back.
    Refused,
}

impl KnownLogs {
    /// Adds a log, or replaces what was known of it.
    pub fn insert(&mut self, origin: Address, log: KnownLog) {
        self.logs.insert(origin, log);
    }

    /// Whether no log is known at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// What is known of a log.
    #[must_use]
    pub fn get(&self, origin: &Address) -> Option<&KnownLog> {
        self.logs.get(origin)
    }

    /// Judges the terms; `refused` are the origins that this channel refuses besides.
    pub(super) fn judge(&self, terms: &Terms, refused: &[Address]) -> TermsVerdict {
        let mut verdict = TermsVerdict::Good;
        for term in &terms.logs {
            match self.judge_one(term, refused) {
                TermsVerdict::Refused => return TermsVerdict::Refused,
                TermsVerdict::NotReadYet => verdict = TermsVerdict::NotReadYet,
                TermsVerdict::Good => {}
            }
        }
        verdict
    }

    fn judge_one(&self, term: &LogTerm, refused: &[Address]) -> TermsVerdict {
        let Some(log) = self.logs.get(&term.origin) else {
            return TermsVerdict::Refused;
        };
        if log.refused
            || refused.contains(&term.origin)
            || !log.policies.contains(&term.policy_hash)
            || term.from_size < log.newest_size.saturating_sub(MAX_WINDOW_LEAVES)
        {
            return TermsVerdict::Refused;
        }
        if term.from_size > log.newest_size {
            return TermsVerdict::NotReadYet;
        }
        TermsVerdict::Good
    }
}
