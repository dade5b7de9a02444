//! `atomicity-book`: who keeps the books of a user towards a peer.

use serde::{Deserialize, Serialize};

use super::{ascending, rule};
use crate::amount::Total;
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::{SignerKey, UserKey};
use crate::seq::{Epoch, IouNumber, Seq};
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most units in one book.
pub const MAX_UNITS: usize = 64;

/// From this epoch on, `key` keeps the books of `from` towards `to`, going on from the totals in `after`.
///
/// Signed by the root of `from`; or by the book key before it, for the next epoch only; or by `key` itself under a delegation or
/// a grant, for epoch 0 or the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    /// Version 1.
    pub v: Version,
    /// Whose books.
    pub from: UserKey,
    /// Towards whom.
    pub to: UserKey,
    /// The epoch that begins.
    pub epoch: Epoch,
    /// The book key of this epoch.
    pub key: SignerKey,
    /// The last totals of the epochs before, as far as the signer knows them; ascending by unit.
    pub after: Vec<Carried>,
    /// How far, per unit, the net debt of `from` may go that later binds `from` although a new book did not know of it; ascending
    /// by unit. A unit that is not listed has no such allowance.
    pub cap: Vec<UnitCap>,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// Totals carried over from the epochs before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// The unit.
    pub unit: Unit,
    /// The epoch of the last state that the signer knows.
    pub epoch: Epoch,
    /// The number of that state.
    pub seq: Seq,
    /// Everything given so far.
    pub issued: Total,
    /// The part of it that came from conditional IOUs.
    pub merged: Total,
    /// The part of it that gave back what the other had paid above a credit line.
    pub returned: Total,
    /// The number after the last conditional IOU.
    pub next: IouNumber,
    /// Undecided conditional IOUs, ascending.
    pub open: Vec<IouNumber>,
}

/// A cap on net debt in one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitCap {
    /// The unit.
    pub unit: Unit,
    /// The most that `from` may owe `to`, net, in minor units.
    pub debt: Total,
}

impl Book {
    /// The cap in `unit`; zero if none is named.
    #[must_use]
    pub fn cap_for(&self, unit: &Unit) -> Total {
        self.cap
            .iter()
            .find(|cap| cap.unit == *unit)
            .map_or(Total::ZERO, |cap| cap.debt)
    }

    /// What was carried over in `unit`, if anything.
    #[must_use]
    pub fn carried(&self, unit: &Unit) -> Option<&Carried> {
        self.after.iter().find(|carried| carried.unit == *unit)
    }
}

impl Record for Book {
    const TYP: &'static str = "atomicity-book";

    fn author(&self) -> UserKey {
        self.from
    }

    fn check(&self) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        rule(self.from != self.to, "from and to are the same user")?;
        rule(
            self.after.len() <= MAX_UNITS,
            "after lists more than 64 units",
        )?;
        rule(self.cap.len() <= MAX_UNITS, "cap lists more than 64 units")?;
        rule(
            ascending(&self.after, |c| c.unit.clone()),
            "after must be strictly ascending by unit",
        )?;
        rule(
            ascending(&self.cap, |c| c.unit.clone()),
            "cap must be strictly ascending by unit",
        )?;
        for carried in &self.after {
            rule(
                super::state::parts_fit(carried.issued, carried.merged, carried.returned),
                "merged and returned are parts of issued and can't exceed it",
            )?;
            rule(
                carried.epoch < self.epoch,
                "after names an epoch that is not before this one",
            )?;
            rule(
                carried.open.len() <= super::state::MAX_OPEN,
                "open lists more than 128 numbers",
            )?;
            rule(
                ascending(&carried.open, |n| *n),
                "open must be strictly ascending",
            )?;
        }
        Ok(())
    }
}
