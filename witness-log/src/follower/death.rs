//! When a log is dead, and what a cosigner signs then.

use super::Follower;
use crate::checkpoint::Checkpoint;
use crate::error::LogError;
use crate::note::{SignedNote, SigningKey};
use crate::tombstone::{DEAD_AFTER_MS, Tombstone};

impl Follower {
    /// Whether the log is dead: its newest tick is older than [`DEAD_AFTER_MS`].
    #[must_use]
    pub fn is_dead(&self, now_ms: u64) -> bool {
        self.is_dead_after(now_ms, DEAD_AFTER_MS)
    }

    /// As [`Self::is_dead`], where another time was agreed upon.
    #[must_use]
    pub fn is_dead_after(&self, now_ms: u64, dead_after_ms: u64) -> bool {
        self.last_time_ms()
            .is_some_and(|last| now_ms.saturating_sub(last) > dead_after_ms)
    }

    /// Signs a tombstone at the newest head; no larger one is accepted from now on. Store the state before handing it out. Asked again, it
    /// signs the same.
    ///
    /// # Errors
    /// [`LogError::NotDead`]; [`LogError::KeyKindWrong`].
    pub fn bury(&mut self, key: &SigningKey, now_ms: u64) -> Result<SignedNote, LogError> {
        self.bury_after(key, now_ms, DEAD_AFTER_MS)
    }

    /// As [`Self::bury`], where another time was agreed upon.
    ///
    /// # Errors
    /// As for [`Self::bury`].
    pub fn bury_after(
        &mut self,
        key: &SigningKey,
        now_ms: u64,
        dead_after_ms: u64,
    ) -> Result<SignedNote, LogError> {
        if let Some(tombstone) = &self.tombstone {
            return tombstone.sign(key);
        }
        if !self.is_dead_after(now_ms, dead_after_ms) {
            return Err(LogError::NotDead);
        }
        let Checkpoint {
            origin, size, root, ..
        } = self.head().ok_or(LogError::NotDead)?.checkpoint().clone();
        let tombstone = Tombstone { origin, size, root };
        let note = tombstone.sign(key)?;
        self.tombstone = Some(tombstone);
        Ok(note)
    }
}
