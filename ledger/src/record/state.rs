//! `atomicity-state`: a running total.

use serde::{Deserialize, Serialize};

use super::{ascending, rule};
use crate::amount::Total;
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::UserKey;
use crate::seq::{Epoch, IouNumber, Seq};
use crate::time::Timestamp;
use crate::unit::Unit;

/// The most numbers that [`State::open`] may list.
pub const MAX_OPEN: usize = 128;

/// What `from` has given `to` in `unit`, in all: one number that only grows. Signed by the book key of `from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Version 1.
    pub v: Version,
    /// Whose total this is.
    pub from: UserKey,
    /// To whom it was given.
    pub to: UserKey,
    /// Of what.
    pub unit: Unit,
    /// The epoch of the book that signs.
    pub epoch: Epoch,
    /// The number of this state in its epoch, from 1; the greatest (epoch, seq) is in force.
    pub seq: Seq,
    /// Everything given, in minor units.
    pub issued: Total,
    /// The part of `issued` that came from conditional IOUs.
    pub merged: Total,
    /// The part of `issued` that gave back what the peer had paid above the credit line.
    pub returned: Total,
    /// The number that the next conditional IOU will bear.
    pub next: IouNumber,
    /// Numbers below `next` that the signer still counts as undecided, ascending.
    pub open: Vec<IouNumber>,
    /// When it was signed; information only.
    pub at: Timestamp,
}

impl State {
    /// Whether the signer says that the conditional IOU with this number is decided: below `next` and not in `open`.
    #[must_use]
    pub fn closes(&self, number: IouNumber) -> bool {
        number < self.next && self.open.binary_search(&number).is_err()
    }
}

/// Whether both parts together fit into the whole.
pub(super) fn parts_fit(issued: Total, merged: Total, returned: Total) -> bool {
    merged
        .minor()
        .checked_add(returned.minor())
        .is_some_and(|parts| parts <= issued.minor())
}

impl Record for State {
    const TYP: &'static str = "atomicity-state";

    fn author(&self) -> UserKey {
        self.from
    }

    fn check(&self) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        rule(self.from != self.to, "from and to are the same user")?;
        rule(self.seq.get() >= 1, "the first seq of an epoch is 1")?;
        rule(
            parts_fit(self.issued, self.merged, self.returned),
            "merged and returned are parts of issued and can't exceed it",
        )?;
        rule(
            self.open.len() <= MAX_OPEN,
            "open lists more than 128 numbers",
        )?;
        rule(
            ascending(&self.open, |n| *n),
            "open must be strictly ascending",
        )?;
        rule(
            self.open.last().is_none_or(|n| *n < self.next),
            "open lists a number that is not below next",
        )
    }
}
