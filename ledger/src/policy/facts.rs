//! What is known about a peer when rules are asked. Where it comes from is the caller's business; what is not here is not so.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::amount::Total;
use crate::error::LedgerError;
use crate::key::UserKey;

/// The most users between the owner and a peer on one way.
pub const MAX_BETWEEN: usize = 2;

/// A word that a user tagged somebody with: lower case, no spaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

impl Label {
    /// The most characters that it may have.
    pub const MAX_CHARS: usize = 64;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Label {
    type Error = LedgerError;

    fn try_from(text: String) -> Result<Self, LedgerError> {
        let refuse = |why| LedgerError::TextInvalid { what: "tag", why };
        if text.is_empty() || text.chars().count() > Self::MAX_CHARS {
            return Err(refuse("it must have 1 to 64 characters"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(refuse("it must not contain spaces"));
        }
        Ok(Self(text.to_lowercase()))
    }
}

impl FromStr for Label {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        Self::try_from(text.trim().to_owned())
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much somebody's judgement counts, in millionths: at most all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Weight(u32);

impl Weight {
    /// Counts in full.
    pub const FULL: Self = Self(1_000_000);

    /// Takes millionths.
    ///
    /// # Errors
    /// [`LedgerError::OutOfRange`] above a million.
    pub fn from_millionths(millionths: u32) -> Result<Self, LedgerError> {
        if millionths > Self::FULL.0 {
            return Err(LedgerError::OutOfRange("a weight"));
        }
        Ok(Self(millionths))
    }

    /// Millionths.
    #[must_use]
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// Both, one after the other; rounded down.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        let product = u64::from(self.0) * u64::from(other.0) / u64::from(Self::FULL.0);
        Self(u32::try_from(product).unwrap_or(0))
    }

    /// This part of an amount; rounded down.
    #[must_use]
    pub fn of(self, whole: Total) -> Total {
        let part = u128::from(whole.minor()) * u128::from(self.0) / u128::from(Self::FULL.0);
        let part = u64::try_from(part).unwrap_or(0);
        Total::from_minor(part).unwrap_or(Total::ZERO)
    }
}

impl TryFrom<u32> for Weight {
    type Error = LedgerError;

    fn try_from(millionths: u32) -> Result<Self, LedgerError> {
        Self::from_millionths(millionths)
    }
}

impl From<Weight> for u32 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

/// What is known about one peer at one time.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Facts {
    /// What the owner tagged them with.
    pub tags: BTreeSet<Label>,
    /// Friends of the owner who vouch for them. A friend whom only a rule let in must not be among them: what was lent on
    /// somebody's word is no word of one's own.
    pub introducers: BTreeSet<UserKey>,
    /// Ways from the owner to them in the follow graph: who is between, nearest the owner first. An empty way: the owner follows
    /// them. At most [`MAX_BETWEEN`] between.
    pub ways: BTreeSet<Vec<UserKey>>,
}
