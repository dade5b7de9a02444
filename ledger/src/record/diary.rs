//! `atomicity-diary`: what waits for a user and what there was lately, as their wallet saw it, for the user's own pages.

use serde::{Deserialize, Serialize};

use super::rule;
use crate::amount::Total;
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::UserKey;
use crate::text::{Memo, RecordId, Voucher, Word};
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most entries in each of the two lists.
pub const MAX_ENTRIES: usize = 50;

/// What `user`'s wallet tells at `at`. Signed by a book key of the user. It proves nothing to anybody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diary {
    /// Version 1.
    pub v: Version,
    /// Whose.
    pub user: UserKey,
    /// When.
    pub at: Timestamp,
    /// What is not done yet, newest first.
    pub waiting: Vec<DiaryEntry>,
    /// What there was, newest first.
    pub past: Vec<DiaryEntry>,
}

/// Something that waits, or that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiaryEntry {
    /// Since when, or when.
    pub at: Timestamp,
    /// What it is. Readers show a kind that they do not know by its name.
    pub kind: Word,
    /// Which way it goes: `out` from the user, `in` to the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<DiaryDirection>,
    /// With whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<UserKey>,
    /// In what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// How much, in minor units of `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Total>,
    /// What was written beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<Memo>,
    /// The name of the request, payment or settlement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RecordId>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Word>,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What shows others that it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Voucher>,
}

/// Which way something goes, seen from the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiaryDirection {
    /// From the user.
    Out,
    /// To the user.
    In,
}

impl Record for Diary {
    const TYP: &'static str = "atomicity-diary";

    fn author(&self) -> UserKey {
        self.user
    }

    fn check(&self) -> Result<(), LedgerError> {
        for entries in [&self.waiting, &self.past] {
            rule(
                Self::TYP,
                entries.len() <= MAX_ENTRIES
                    && entries.windows(2).all(|pair| pair[0].at >= pair[1].at),
                "waiting and past are at most 50 entries each, newest first",
            )?;
            rule(
                Self::TYP,
                entries
                    .iter()
                    .all(|entry| entry.amount.is_none() || entry.unit.is_some()),
                "an amount needs a unit",
            )?;
            rule(
                Self::TYP,
                entries.iter().all(|entry| entry.peer != Some(self.user)),
                "a user has nothing to do with themselves",
            )?;
        }
        Ok(())
    }
}
