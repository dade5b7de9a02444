//! `atomicity-ack`: what a receiver has taken.

use serde::{Deserialize, Serialize};

use super::{ascending, rule};
use crate::amount::Total;
use crate::error::LedgerError;
use crate::jws::{Record, RecordHash, Version};
use crate::key::UserKey;
use crate::seq::{Epoch, IouNumber, Seq};
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most items in one ack.
pub const MAX_ITEMS: usize = 64;
/// The most records of earlier epochs that the ack of a book lists.
pub const MAX_HELD: usize = 320;

/// `from` has taken these records of `to`. Signed by the book key of `from`; never acknowledged itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// Version 1.
    pub v: Version,
    /// Who has taken the records.
    pub from: UserKey,
    /// Whose records they are.
    pub to: UserKey,
    /// What was taken.
    pub items: Vec<AckItem>,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// One record that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckItem {
    /// A state.
    State(StateAck),
    /// A conditional IOU.
    Iou(IouAck),
    /// A book.
    Book(BookAck),
}

/// A conditional IOU that was taken: it arrived, and it fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IouAck {
    /// Its hash.
    pub hash: RecordHash,
}

/// A state that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateAck {
    /// Its unit.
    pub unit: Unit,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its number.
    pub seq: Seq,
    /// Its hash.
    pub hash: RecordHash,
    /// What `from` has given back in this unit, in all: of what the state issued, so much was not accepted.
    pub returned: Total,
    /// No conditional IOU with a number below the state's `next` and outside its `open` is owed beyond `issued`.
    pub clear: bool,
}

/// A book that was taken, and what it starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BookAck {
    /// The book's hash.
    pub hash: RecordHash,
    /// Hashes of the states, conditional IOUs and books of earlier epochs that were held before the book came and that reach beyond its `after`.
    pub held: Vec<RecordHash>,
    /// The totals that the new epoch starts from, where `held` puts them above the book's `after`; ascending by unit.
    pub base: Vec<UnitBase>,
}

/// The totals of one unit that a new epoch starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitBase {
    /// The unit.
    pub unit: Unit,
    /// Everything given so far.
    pub issued: Total,
    /// The part of it that came from conditional IOUs.
    pub merged: Total,
    /// The part of it that gave back what the other had paid above a credit line.
    pub returned: Total,
    /// The number after the last conditional IOU.
    pub next: IouNumber,
}

impl Record for Ack {
    const TYP: &'static str = "atomicity-ack";

    fn author(&self) -> UserKey {
        self.from
    }

    fn check(&self) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        rule(self.from != self.to, "from and to are the same user")?;
        rule(!self.items.is_empty(), "an ack names at least one record")?;
        rule(
            self.items.len() <= MAX_ITEMS,
            "an ack names at most 64 records",
        )?;
        for item in &self.items {
            if let AckItem::State(state) = item {
                rule(state.seq.get() >= 1, "the first seq of an epoch is 1")?;
            }
            if let AckItem::Book(book) = item {
                rule(
                    book.held.len() <= MAX_HELD,
                    "held lists more than 320 records",
                )?;
                rule(
                    book.base.len() <= MAX_ITEMS,
                    "base lists more than 64 units",
                )?;
                rule(
                    ascending(&book.base, |b| b.unit.clone()),
                    "base must be strictly ascending by unit",
                )?;
                rule(
                    book.base
                        .iter()
                        .all(|b| super::state::parts_fit(b.issued, b.merged, b.returned)),
                    "merged and returned are parts of issued and can't exceed it",
                )?;
            }
        }
        Ok(())
    }
}
