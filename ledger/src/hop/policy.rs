//! What a hop is willing to pass on, and for how much.

use serde::{Deserialize, Serialize};

use crate::amount::{Amount, Total};
use crate::error::LedgerError;
use crate::key::UserKey;
use crate::record::Rate;
use crate::unit::Unit;

/// Under which conditions the owner passes promises on. Nothing is passed on where no rule allows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HopPolicy {
    /// The first rule that names the friend and the unit of the promise onward, or leaves them open, decides.
    pub rules: Vec<HopRule>,
    /// At which rates the owner promises another unit onward than came. Where it is not among them, nothing is exchanged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exchange: Vec<Rate>,
    /// What a friend who promises may have undecided here.
    pub budget: HopBudget,
    /// How much time must be left before the deadline, in milliseconds.
    pub min_left_ms: u64,
}

/// What is promised onward to whom, in which unit, and for which fee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HopRule {
    /// The friend after the owner; anybody if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<UserKey>,
    /// The unit; any if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// Whether the owner passes on at all.
    pub forward: bool,
    /// Whether the owner agrees to clear debts: what lowers, to its full amount, what the owner owes the friend before and what this
    /// friend owes the owner is passed on for nothing, whatever else this rule says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clearing: bool,
    /// The smallest amount that is passed on.
    pub min: Amount,
    /// The part of the fee that does not depend on the amount, in minor units.
    pub base: Total,
    /// The part that does, in millionths.
    pub ppm: u32,
    /// The most that the owner wants to owe that friend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Total>,
}

/// What one friend may have undecided through the owner at once. Who only locks credit uses it up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HopBudget {
    /// How many promises, in all units.
    pub undecided: u32,
    /// How much in one unit, in minor units.
    pub amount: Total,
    /// How many payments may fail within a window.
    pub failed: u32,
    /// How long the window is, in milliseconds.
    pub window_ms: u64,
}

impl HopRule {
    /// Passes everything on, to whom it says, for this fee.
    ///
    /// # Errors
    /// Never.
    pub fn allow(
        next: Option<UserKey>,
        unit: Option<Unit>,
        base: Total,
        ppm: u32,
    ) -> Result<Self, LedgerError> {
        Ok(Self {
            next,
            unit,
            forward: true,
            clearing: false,
            min: Amount::from_minor(1)?,
            base,
            ppm,
            ceiling: None,
        })
    }
}

impl HopPolicy {
    /// Passes nothing on. The usual budget: 16 promises and 8 failures a minute for each friend, 10 seconds left.
    #[must_use]
    pub fn none() -> Self {
        Self {
            rules: Vec::new(),
            exchange: Vec::new(),
            budget: HopBudget {
                undecided: 16,
                amount: Total::MAX,
                failed: 8,
                window_ms: 60_000,
            },
            min_left_ms: 10_000,
        }
    }

    /// The rule for a promise onward, if one allows it.
    #[must_use]
    pub fn rule(&self, next: &UserKey, unit: &Unit) -> Option<&HopRule> {
        self.first(next, unit).filter(|rule| rule.forward)
    }

    /// Whether the owner agrees to clear what `next` owes them.
    #[must_use]
    pub fn clears(&self, next: &UserKey, unit: &Unit) -> bool {
        self.first(next, unit).is_some_and(|rule| rule.clearing)
    }

    pub(super) fn first(&self, next: &UserKey, unit: &Unit) -> Option<&HopRule> {
        let fits = |rule: &&HopRule| {
            rule.next.is_none_or(|named| named == *next)
                && rule.unit.as_ref().is_none_or(|named| named == unit)
        };
        self.rules.iter().find(fits)
    }

    /// The rate at which `give` is promised onward for `take`, if the owner exchanges them.
    #[must_use]
    pub fn rate(&self, take: &Unit, give: &Unit) -> Option<&Rate> {
        self.exchange
            .iter()
            .find(|rate| rate.take == *take && rate.give == *give)
    }
}
