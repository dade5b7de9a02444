//! Instants, as Unix time in milliseconds. This crate never asks what time it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::LedgerError;

/// The largest integer that every JSON reader keeps exactly (RFC 8259 §6): 2^53 − 1.
pub const MAX_JSON_INTEGER: u64 = (1 << 53) - 1;

/// Milliseconds since 1970-01-01T00:00:00Z, at most 2^53 − 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Timestamp(u64);

impl Timestamp {
    /// Takes Unix milliseconds.
    ///
    /// # Errors
    /// [`LedgerError::OutOfRange`] above 2^53 − 1.
    pub fn from_millis(millis: u64) -> Result<Self, LedgerError> {
        if millis <= MAX_JSON_INTEGER {
            Ok(Self(millis))
        } else {
            Err(LedgerError::OutOfRange("time"))
        }
    }

    /// Takes Unix milliseconds of a clock; above 2^53 − 1, the last instant there is.
    #[must_use]
    pub fn saturating_from_millis(millis: u64) -> Self {
        Self(millis.min(MAX_JSON_INTEGER))
    }

    /// Unix milliseconds.
    #[must_use]
    pub fn millis(self) -> u64 {
        self.0
    }

    /// The instant `millis` later, at most the last one there is.
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis).min(MAX_JSON_INTEGER))
    }

    /// How long after `earlier` this is, in milliseconds; zero if it isn't.
    #[must_use]
    pub fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl TryFrom<u64> for Timestamp {
    type Error = LedgerError;

    fn try_from(millis: u64) -> Result<Self, LedgerError> {
        Self::from_millis(millis)
    }
}

impl From<Timestamp> for u64 {
    fn from(time: Timestamp) -> Self {
        time.0
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({} ms)", self.0)
    }
}
