//! What a hop publishes about the channel with a friend: as much as its policy and its books allow, in coarse figures.

use super::HopPolicy;
use super::policy::HopRule;
use crate::pair::{Limits, Pair};
use crate::record::{AdvertUnit, Clears, Intake, Offer, coarse};
use crate::time::Timestamp;
use crate::unit::Unit;

impl HopPolicy {
    /// What can be said about the channel of these books in one unit; `None` if nothing goes over it.
    #[must_use]
    pub fn advertise(&self, pair: &Pair, unit: &Unit, now: Timestamp) -> Option<AdvertUnit> {
        let rule = self.first(&pair.peer(), unit)?;
        if pair.is_waiting() || pair.frozen(unit).is_some() {
            return None;
        }
        let limits = pair.limits(unit, rule.ceiling, now);
        let (send, receive) = match rule.forward {
            true => ways(rule, &limits),
            false => (None, None),
        };
        let clears = rule.clearing.then(|| debt(pair, unit)).flatten();
        let anything = send.is_some() || receive.is_some() || clears.is_some();
        anything.then(|| AdvertUnit {
            unit: unit.clone(),
            send,
            receive,
            clears,
        })
    }
}

/// What can go each way, as far as the rule allows.
fn ways(rule: &HopRule, limits: &Limits) -> (Option<Offer>, Option<Intake>) {
    let least = limits.min_amount.map_or(rule.min, |min| min.max(rule.min));
    let send = coarse(limits.can_issue).filter(|capacity| *capacity >= least);
    let send = send.map(|capacity| Offer {
        capacity,
        min: least,
        base: rule.base,
        ppm: rule.ppm,
    });
    let receive = coarse(limits.can_receive).map(|capacity| Intake { capacity });
    (send, receive)
}

/// What one owes the other and can be cleared, whatever becomes of what is undecided.
fn debt(pair: &Pair, unit: &Unit) -> Option<Clears> {
    let owed = coarse(pair.surely_owed(unit)).map(Clears::Owed);
    owed.or_else(|| coarse(pair.surely_owes(unit)).map(Clears::Owes))
}
