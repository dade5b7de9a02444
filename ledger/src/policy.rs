//! What a user has decided about peers: whom they let owe how much, how much they want to owe, and whom they deal with at all.
//!
//! Rules are read in order and the first that matches decides. Rules here name one peer; whoever no rule names gets nothing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::amount::Total;
use crate::error::LedgerError;
use crate::key::UserKey;
use crate::unit::Unit;

/// The most rules, and the most blocked users, in one policy.
pub const MAX_RULES: usize = 65_536;

/// One decision about one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// About whom.
    pub peer: UserKey,
    /// In which unit.
    pub unit: Unit,
    /// The most that the peer may owe the user, net: what the credit line says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<Total>,
    /// The most that the user wants to owe the peer, net.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<Total>,
}

/// A user's rules and blocks.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    rules: Vec<Rule>,
    blocks: BTreeSet<UserKey>,
}

/// What a policy says about one peer in one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Verdict {
    /// The user wants nothing to do with the peer.
    pub blocked: bool,
    /// The most that the peer may owe the user.
    pub accept: Total,
    /// The most that the user wants to owe the peer; no ceiling of their own if absent.
    pub issue: Option<Total>,
}

impl Policy {
    /// What holds for `peer` in `unit`: a block before everything, else the first rule that matches, else nothing.
    #[must_use]
    pub fn verdict(&self, peer: &UserKey, unit: &Unit) -> Verdict {
        if self.is_blocked(peer) {
            return Verdict {
                blocked: true,
                accept: Total::ZERO,
                issue: Some(Total::ZERO),
            };
        }
        self.rules
            .iter()
            .find(|rule| rule.peer == *peer && rule.unit == *unit)
            .map_or_else(Verdict::default, |rule| Verdict {
                blocked: false,
                accept: rule.accept.unwrap_or(Total::ZERO),
                issue: rule.issue,
            })
    }

    /// Sets what `peer` may owe in `unit`.
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

    /// Sets, or with `None` lifts, what the user wants to owe `peer` at most in `unit`.
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

    /// Whether the user wants nothing to do with `peer`.
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

    /// Drops every rule about `peer`.
    pub fn forget(&mut self, peer: &UserKey) {
        self.rules.retain(|rule| rule.peer != *peer);
    }

    fn rule_mut(&mut self, peer: UserKey, unit: &Unit) -> Result<&mut Rule, LedgerError> {
        let at = self
            .rules
            .iter()
            .position(|rule| rule.peer == peer && rule.unit == *unit);
        let at = match at {
            Some(at) => at,
            None if self.rules.len() >= MAX_RULES => {
                return Err(LedgerError::OutOfRange("number of rules"));
            }
            None => {
                self.rules.push(Rule {
                    peer,
                    unit: unit.clone(),
                    accept: None,
                    issue: None,
                });
                self.rules.len() - 1
            }
        };
        self.rules
            .get_mut(at)
            .ok_or(LedgerError::OutOfRange("number of rules"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::Keypair;

    fn user(n: u8) -> UserKey {
        Keypair::from_secret(&[n; 32]).user_key()
    }

    #[test]
    fn nobody_gets_anything_unless_a_rule_says_so() {
        let unit: Unit = "USD/2".parse().unwrap();
        let mut policy = Policy::default();
        assert_eq!(policy.verdict(&user(1), &unit).accept, Total::ZERO);
        let five = Total::from_minor(500).unwrap();
        policy.set_accept(user(1), &unit, five).unwrap();
        assert_eq!(policy.verdict(&user(1), &unit).accept, five);
        assert_eq!(policy.verdict(&user(2), &unit).accept, Total::ZERO);
        let other: Unit = "USD".parse().unwrap();
        assert_eq!(policy.verdict(&user(1), &other).accept, Total::ZERO);
        policy.forget(&user(1));
        assert_eq!(policy.verdict(&user(1), &unit), Verdict::default());
    }

    #[test]
    fn a_block_comes_before_every_rule() {
        let unit: Unit = "USD/2".parse().unwrap();
        let mut policy = Policy::default();
        policy.set_accept(user(1), &unit, Total::MAX).unwrap();
        policy.set_blocked(user(1), true).unwrap();
        let verdict = policy.verdict(&user(1), &unit);
        assert!(verdict.blocked);
        assert_eq!(
            (verdict.accept, verdict.issue),
            (Total::ZERO, Some(Total::ZERO))
        );
        policy.set_blocked(user(1), false).unwrap();
        assert_eq!(policy.verdict(&user(1), &unit).accept, Total::MAX);
    }

    #[test]
    fn both_limits_of_a_peer_stand_side_by_side() {
        let unit: Unit = "USD/2".parse().unwrap();
        let mut policy = Policy::default();
        let (two, five) = (
            Total::from_minor(200).unwrap(),
            Total::from_minor(500).unwrap(),
        );
        policy.set_accept(user(1), &unit, five).unwrap();
        policy.set_issue(user(1), &unit, Some(two)).unwrap();
        let verdict = policy.verdict(&user(1), &unit);
        assert_eq!((verdict.accept, verdict.issue), (five, Some(two)));
        policy.set_issue(user(1), &unit, None).unwrap();
        assert_eq!(policy.verdict(&user(1), &unit).issue, None);
    }
}
