//! Figures and places that belong to an error.

use atomicity_ledger::Unit;

/// Why a payment exceeds the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitDetail {
    /// The friend's name.
    pub friend: String,
    /// The unit.
    pub unit: Unit,
    /// What was to be paid, in minor units.
    pub amount: u64,
    /// What can be paid at most now, in minor units.
    pub available: u64,
    /// The friend's credit line, in minor units.
    pub accept: u64,
    /// The user's own ceiling for this friend, in minor units, if there is one.
    pub own_issue: Option<u64>,
    /// What the friend owes, net, in minor units.
    pub net: i64,
}

impl LimitDetail {
    pub(super) fn message(&self) -> String {
        let show = |minor| format!("{} {}", self.unit.format_minor(minor), self.unit.code());
        let bound = match self.own_issue {
            Some(own) if own < self.accept => {
                format!("your own limit for {} is {}", self.friend, show(own))
            }
            _ => format!(
                "{} accepts at most {} from you",
                self.friend,
                show(self.accept)
            ),
        };
        format!(
            "{} is more than you can give {} now: {} and {} of it is left",
            show(self.amount),
            self.friend,
            bound,
            show(self.available),
        )
    }
}

/// What is wrong with an evidence bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EvidenceFault {
    /// In words, naming the record and its type.
    pub message: String,
    /// The number of the record, from 1.
    pub record: Option<usize>,
    /// The record's `typ`, as far as it can be told.
    pub typ: Option<String>,
    /// The ledger's code for the fault.
    pub code: &'static str,
}
