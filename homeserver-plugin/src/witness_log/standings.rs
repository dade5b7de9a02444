//! How the log's cosigners answered last, as far as this process knows.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// How one cosigner stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// When it last cosigned, Unix milliseconds.
    pub cosigned_at: Option<i64>,
    /// When it was last heard of, or waited for in vain, Unix milliseconds.
    pub asked_at: Option<i64>,
    /// What came of that: `cosigned`, `refused`, `unreachable`, `tombstoned`, `ahead`.
    pub outcome: Option<&'static str>,
}

/// All of them, by their names. Kept in memory: after a start, nobody has been asked.
#[derive(Default)]
pub struct Standings(Mutex<BTreeMap<String, Standing>>);

impl Standings {
    /// Notes what came of asking a cosigner.
    pub fn note(&self, name: &str, outcome: &'static str, now: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = known.entry(name.to_owned()).or_default();
        standing.asked_at = Some(now);
        standing.outcome = Some(outcome);
        if outcome == "cosigned" {
            standing.cosigned_at = Some(now);
        }
    }

    /// How a cosigner stands.
    #[must_use]
    pub fn of(&self, name: &str) -> Standing {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_any_more_has_cosigned_before() {
        let standings = Standings::default();
        assert_eq!(standings.of("a"), Standing::default());
        standings.note("a", "cosigned", 7);
        standings.note("a", "unreachable", 9);
        standings.note("b", "refused", 9);
        let a = standings.of("a");
        assert_eq!((a.cosigned_at, a.asked_at), (Some(7), Some(9)));
        assert_eq!(a.outcome, Some("unreachable"));
        assert_eq!(standings.of("b").cosigned_at, None);
    }
}
