//! What a friend's promises cost the owner in locked credit and failures.

use serde::{Deserialize, Serialize};

use super::policy::HopBudget;
use crate::amount::Amount;
use crate::jws::Version;
use crate::pair::{Pair, Promise, Standing};
use crate::planted::{self, Bug};
use crate::time::Timestamp;
use crate::unit::Unit;

/// How many payments of one friend have failed lately. One for each friend who promises.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    v: Version,
    /// When the window began.
    since: Option<Timestamp>,
    failed: u32,
}

impl Tally {
    /// How many have failed in the window that `now` is in.
    #[must_use]
    pub fn failed(&self, now: Timestamp, budget: &HopBudget) -> u32 {
        match self.since {
            Some(since) if now.millis_since(since) < budget.window_ms => self.failed,
            _ => 0,
        }
    }

    /// Notes one that failed.
    pub(super) fn fail(&mut self, now: Timestamp, budget: &HopBudget) {
        let before = self.failed(now, budget);
        if before == 0 {
            self.since = Some(now);
        }
        self.failed = before.saturating_add(1);
    }
}

/// Whether the friend may have one more promise of this amount passed on.
pub(super) fn has_room(
    upstream: &Pair,
    unit: &Unit,
    amount: Amount,
    tally: &Tally,
    budget: &HopBudget,
    now: Timestamp,
) -> bool {
    // One that has expired still takes a slot and waits for those after it: it counts until it is released.
    let undecided = |p: &&Promise| {
        p.is_forwarded() && matches!(p.standing(), Standing::Undecided | Standing::Expired)
    };
    let mut count: u32 = 0;
    let mut sum = amount.minor();
    for (of, side) in upstream.theirs().units() {
        for promise in side.promises().iter().filter(undecided) {
            count = count.saturating_add(1);
            if of == unit {
                sum = sum.saturating_add(promise.iou().record().amount.minor());
            }
        }
    }
    planted::on(Bug::BudgetIgnored)
        || count < budget.undecided
            && sum <= budget.amount.minor()
            && tally.failed(now, budget) < budget.failed
}
