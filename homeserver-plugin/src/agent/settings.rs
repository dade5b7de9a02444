//! What the user allows: for all books, and towards each peer.

use atomicity_ledger::hop::{HopBudget, HopPolicy, HopRule};
use atomicity_ledger::record::{MAX_RATES, Rate};
use atomicity_ledger::{Amount, Timestamp, Total, Unit, UserKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::config::AgentConfig;

/// Most units towards one peer, and most logs of one user.
pub const MAX_UNITS: usize = 64;
/// Most friends on whose word a line stands.
const MAX_WORDS: usize = 64;
/// Most policies of logs of one user.
pub const MAX_LOGS: usize = 16;

/// What the user allows in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSettings {
    /// Policies (C2SP tlog-policy) of logs that promises may hang on, beside those of the operator. Only logs that this plugin mirrors
    /// can be read.
    pub logs: Vec<String>,
    /// Origins of logs that are refused.
    pub logs_refused: Vec<String>,
    /// At which rates the agent promises another unit onward than it was promised; not at all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<ExchangeSettings>,
}

/// At which rates units are exchanged: those that the user publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExchangeSettings {
    /// The rates as in the record `atomicity-rates`, at most 64.
    #[schema(value_type = Vec<Object>)]
    pub rates: Vec<Rate>,
    /// From then on they don't count, Unix ms.
    #[schema(value_type = u64)]
    pub until: Timestamp,
}

impl AgentSettings {
    /// The rates that count at `now`.
    #[must_use]
    pub fn rates_at(&self, now: Timestamp) -> &[Rate] {
        let standing = self.exchange.as_ref().filter(|set| now < set.until);
        standing.map_or(&[], |set| &set.rates)
    }

    /// Whether the rates are bounded, and no unit is exchanged for itself.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let rates = self.exchange.iter().flat_map(|set| &set.rates);
        rates.clone().count() <= MAX_RATES && rates.clone().all(|rate| rate.take != rate.give)
    }
}

/// What the user allows towards one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PeerSettings {
    /// By unit. In a unit that is not listed the agent issues nothing.
    pub units: Vec<UnitSettings>,
    /// Lines that a rule about many gave, by unit, and on what they stand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_rule: Vec<RuleLine>,
    /// Whether the agent publishes what it passes on to this peer, with the grant for storage.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub adverts: bool,
    /// How many of this peer's promises may be passed on and undecided at once, within what the operator allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undecided: Option<u32>,
    /// How many of this peer's payments may fail within a minute before nothing more of theirs is passed on, within what the operator
    /// allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<u32>,
}

/// A line that a rule about many gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleLine {
    /// The unit.
    #[schema(value_type = String)]
    pub unit: Unit,
    /// How much it gave, in minor units: as much is set aside for it within the caps.
    #[schema(value_type = String)]
    pub line: Total,
    /// The friends on whose word it stands, at most 64; one is enough. None: it stands on something else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub words: Vec<UserKey>,
    /// How long what the wallet has heard counts, Unix ms.
    #[schema(value_type = u64)]
    pub until: Timestamp,
}

/// What the user allows towards one peer in one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnitSettings {
    /// The unit.
    #[schema(value_type = String)]
    pub unit: Unit,
    /// The most that the user may owe the peer through the agent, net, in minor units.
    #[schema(value_type = String)]
    pub issue: Total,
    /// The most that may be issued on one day (UTC); unlimited if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub per_day: Option<Total>,
    /// How much of this peer's promises may be passed on and undecided at once, in minor units; unlimited if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub undecided: Option<Total>,
    /// Passing promises on to this peer; not at all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<ForwardSettings>,
    /// Whether what the peer owes the user may be cleared round circles of debts: promises that only lower debts are passed on to the peer
    /// for nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clearing: bool,
}

/// For which fee promises are passed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardSettings {
    /// The part that does not depend on the amount, in minor units.
    #[schema(value_type = String)]
    pub base: Total,
    /// The part that does, in millionths.
    pub ppm: u32,
    /// The smallest amount.
    #[schema(value_type = String)]
    pub min: Amount,
}

impl PeerSettings {
    /// What is allowed in a unit.
    #[must_use]
    pub fn unit(&self, unit: &Unit) -> Option<&UnitSettings> {
        self.units.iter().find(|known| known.unit == *unit)
    }

    /// The most that may be owed in a unit.
    #[must_use]
    pub fn ceiling(&self, unit: &Unit) -> Total {
        self.unit(unit).map_or(Total::ZERO, |known| known.issue)
    }

    /// How much of the promises of the peer to whom these settings apply is passed on.
    #[must_use]
    pub fn budget(&self, unit: &Unit, config: &AgentConfig) -> HopBudget {
        let least = |own: Option<u32>, operator: u32| own.map_or(operator, |own| own.min(operator));
        let amount = self.unit(unit).and_then(|known| known.undecided);
        HopBudget {
            undecided: least(self.undecided, config.forward_undecided),
            amount: amount.unwrap_or(Total::MAX),
            failed: least(self.failed, config.forward_failed),
            window_ms: 60_000,
        }
    }

    /// Under which conditions promises are passed on to `next`, to whom these settings apply, within the budget of who promised.
    #[must_use]
    pub fn hop_policy(&self, next: UserKey, budget: HopBudget, config: &AgentConfig) -> HopPolicy {
        let rules = self.units.iter().filter_map(|known| {
            let (unit, clearing) = (Some(known.unit.clone()), known.clearing);
            let plain = HopRule::allow(Some(next), unit, Total::ZERO, 0).ok()?;
            match &known.forward {
                Some(forward) => Some(HopRule {
                    clearing,
                    min: forward.min,
                    base: forward.base,
                    ppm: forward.ppm,
                    ceiling: Some(known.issue),
                    ..plain
                }),
                None if clearing => Some(HopRule {
                    forward: false,
                    clearing,
                    ..plain
                }),
                None => None,
            }
        });
        HopPolicy {
            rules: rules.collect(),
            // What is exchanged does not depend on the peer.
            exchange: Vec::new(),
            budget,
            min_left_ms: config.forward_min_left_ms,
        }
    }

    /// Whether it is bounded and names each unit once.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let mut units: Vec<&Unit> = self.units.iter().map(|known| &known.unit).collect();
        units.sort();
        let distinct = units.windows(2).all(|pair| pair.first() != pair.last());
        let mut lines: Vec<&Unit> = self.by_rule.iter().map(|line| &line.unit).collect();
        lines.sort();
        let once = lines.windows(2).all(|pair| pair.first() != pair.last());
        let bounded = lines.len() <= MAX_UNITS
            && self
                .by_rule
                .iter()
                .all(|line| line.words.len() <= MAX_WORDS);
        let fees = |known: &UnitSettings| known.forward.as_ref().is_none_or(|f| f.ppm <= 1_000_000);
        once && bounded && distinct && units.len() <= MAX_UNITS && self.units.iter().all(fees)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_operator_bounds_what_a_user_allows() {
        let config = AgentConfig::default();
        let (bread, cake): (Unit, Unit) = ("BREAD/2".parse().unwrap(), "CAKE".parse().unwrap());
        let text = r#"{"units": [{"unit": "BREAD/2", "issue": "0", "undecided": "500"}], "undecided": 3, "failed": 1000}"#;
        let settings: PeerSettings = serde_json::from_str(text).unwrap();
        let budget = settings.budget(&bread, &config);
        assert_eq!(
            (budget.undecided, budget.failed),
            (3, config.forward_failed)
        );
        assert_eq!(budget.amount.minor(), 500);
        assert_eq!(settings.budget(&cake, &config).amount, Total::MAX);
        let exchange = r#"{"exchange": {"rates": [{"take": "CAKE", "give": "BREAD/2", "num": "3", "den": "1", "max": "500"}], "until": 9}}"#;
        let mut settings: AgentSettings = serde_json::from_str(exchange).unwrap();
        let time = |millis| Timestamp::from_millis(millis).unwrap();
        assert!(settings.is_sound() && AgentSettings::default().is_sound());
        assert_eq!(settings.rates_at(time(8)).len(), 1);
        assert!(settings.rates_at(time(9)).is_empty());
        settings.exchange.as_mut().unwrap().rates[0].take = bread.clone();
        assert!(!settings.is_sound());
        let open = PeerSettings::default().budget(&bread, &config);
        assert_eq!(open.undecided, config.forward_undecided);
    }
}
