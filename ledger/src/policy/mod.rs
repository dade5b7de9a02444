//! What a user has decided about peers: whom they let owe how much, how much they want to owe, to whom they pass payments on, and whom
//! they deal with at all.
//!
//! A block comes before everything. Then rules are asked in order, and of each question the first rule that is about the peer and
//! answers it decides. Whoever no rule is about gets nothing. What is known about a peer is an argument ([`Facts`]): nothing here
//! looks anything up.
//!
//! A rule that does not name one peer has a total cap over all whom it is about; how the credit under a cap is divided is
//! [`Policy::allot`]'s business.

mod allot;
mod facts;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::amount::Total;
use crate::error::LedgerError;
use crate::key::UserKey;
use crate::unit::Unit;

pub use allot::{Allotment, Held, Person, RuleUse};
pub use facts::{Facts, Label, MAX_BETWEEN, Weight};
pub use rule::{Forward, MAX_HOPS, MAX_WEIGHTS, Match, Rule, RuleId, Who};

/// The most rules, and the most blocked users, in one policy.
pub const MAX_RULES: usize = 65_536;

/// A user's rules and blocks.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    rules: Vec<Rule>,
    blocks: BTreeSet<UserKey>,
}

/// What a policy says about one peer in one unit.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Verdict {
    /// The owner wants nothing to do with the peer.
    pub blocked: bool,
    /// The most that the peer may owe the owner, if the caps leave room for it.
    pub accept: Total,
    /// The most that the owner wants to owe the peer; no ceiling of their own if absent.
    pub issue: Option<Total>,
    /// Whether payments are passed on to the peer; nothing is said if absent.
    pub forward: Option<Forward>,
    /// The rule that says how much the peer may owe; `None` if none does. Rules about one peer bear 0.
    pub by: Option<RuleId>,
}

impl Policy {
    /// What holds for `peer`, about whom `facts` are known, in `unit`.
    #[must_use]
    pub fn verdict(&self, peer: &UserKey, unit: &Unit, facts: &Facts) -> Verdict {
        if self.is_blocked(peer) {
            return Verdict {
                blocked: true,
                accept: Total::ZERO,
                issue: Some(Total::ZERO),
                forward: Some(Forward::Refuse),
                by: None,
            };
        }
        let mut verdict = Verdict::default();
        for rule in self.rules.iter().filter(|rule| rule.unit == *unit) {
            let Some(found) = rule.who.matches(peer, facts) else {
                continue;
            };
            if let Some(accept) = rule.accept.filter(|_| verdict.by.is_none()) {
                verdict.accept = found.weight.of(accept);
                verdict.by = Some(rule.id);
            }
            verdict.issue = verdict.issue.or(rule.issue);
            verdict.forward = verdict.forward.or(rule.forward);
        }
        verdict
    }

    /// The first rule in `unit` that is about `peer` and lets them owe something, and why.
    fn grants(&self, peer: &UserKey, unit: &Unit, facts: &Facts) -> Option<(&Rule, Match)> {
        if self.is_blocked(peer) {
            return None;
        }
        let says = |rule: &&Rule| rule.unit == *unit && rule.accept.is_some();
        self.rules
            .iter()
            .filter(says)
            .find_map(|rule| Some((rule, rule.who.matches(peer, facts)?)))
    }

    /// Adds a rule after all others.
    ///
    /// # Errors
    /// [`LedgerError::RuleInvalid`], [`LedgerError::OutOfRange`] with too many rules.
    pub fn push(&mut self, rule: Rule) -> Result<(), LedgerError> {
        rule.check()?;
        if rule.id != 0 && self.rules.iter().any(|known| known.id == rule.id) {
            return Err(LedgerError::RuleInvalid("another rule has its number"));
        }
        if self.rules.len() >= MAX_RULES {
            return Err(LedgerError::OutOfRange("number of rules"));
        }
        self.rules.push(rule);
        Ok(())
    }

    /// All rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Sets what `peer` may owe in `unit`. Comes before every rule that names nobody.
    ///
    /// # Errors
    /// [`LedgerError::OutOfRange`] with too many rules.
    pub fn set_accept(
        &mut self,
        peer: UserKey,
        unit: &Unit,
        accept: Total,
    ) -> Result<(), LedgerError> {
        self.rule_mut(peer, unit)?.accept = Some(accept);
        Ok(())
    }

    /// Sets, or with `None` lifts, what the owner wants to owe `peer` at most in `unit`. Comes before every rule that names nobody.
    ///
    /// # Errors
    /// [`LedgerError::OutOfRange`] with too many rules.
    pub fn set_issue(
        &mut self,
        peer: UserKey,
        unit: &Unit,
        issue: Option<Total>,
    ) -> Result<(), LedgerError> {
        self.rule_mut(peer, unit)?.issue = issue;
        Ok(())
    }

    /// Whether the owner wants nothing to do with `peer`.
    #[must_use]
    pub fn is_blocked(&self, peer: &UserKey) -> bool {
        self.blocks.contains(peer)
    }

    /// Blocks `peer`, or lifts the block.
    ///
    /// # Errors
    /// [`LedgerError::OutOfRange`] with too many blocks.
    pub fn set_blocked(&mut self, peer: UserKey, blocked: bool) -> Result<(), LedgerError> {
        if !blocked {
            self.blocks.remove(&peer);
        } else if self.blocks.len() < MAX_RULES {
            self.blocks.insert(peer);
        } else {
            return Err(LedgerError::OutOfRange("number of blocked users"));
        }
        Ok(())
    }

    /// Drops every rule that names `peer`.
    pub fn forget(&mut self, peer: &UserKey) {
        self.rules.retain(|rule| rule.who != Who::Peer(*peer));
    }

    fn rule_mut(&mut self, peer: UserKey, unit: &Unit) -> Result<&mut Rule, LedgerError> {
        let who = Who::Peer(peer);
        let found = |rule: &Rule| rule.who == who && rule.unit == *unit;
        let at = match self.rules.iter().position(found) {
            Some(at) => at,
            None if self.rules.len() >= MAX_RULES => {
                return Err(LedgerError::OutOfRange("number of rules"));
            }
            None => {
                self.rules.insert(0, Rule::about(who, unit.clone()));
                0
            }
        };
        self.rules
            .get_mut(at)
            .ok_or(LedgerError::OutOfRange("number of rules"))
    }
}
