//! One rule: about whom, in which unit, and what it says.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::facts::{Facts, Label, MAX_BETWEEN, Weight};
use crate::amount::{Amount, Total};
use crate::error::LedgerError;
use crate::key::UserKey;
use crate::unit::Unit;

/// The most hops of a rule about distance.
pub const MAX_HOPS: u8 = 3;
/// The most people whose judgement one rule weighs by itself.
pub const MAX_WEIGHTS: usize = 64;

/// Names a rule, so that what it gave can be told from what another gave. Rules about one peer bear 0: they have no cap to count.
pub type RuleId = u32;

/// About whom a rule is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Who {
    /// This one user.
    Peer(UserKey),
    /// Whom the owner tagged so.
    Tag(Label),
    /// For whom this friend vouches; any friend if absent.
    FriendOf(Option<UserKey>),
    /// Who is at most so many hops away in the follow graph: one hop is whom the owner follows.
    Distance {
        /// How far: 1 to [`MAX_HOPS`].
        hops: u8,
        /// How much the judgement of each person between counts. What counts on a way is the product.
        weight: Weight,
        /// The same for particular people.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        weights: BTreeMap<UserKey, Weight>,
    },
    /// Everybody.
    Anyone,
}

/// Whether payments are passed on to whom a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Forward {
    /// No.
    Refuse,
    /// Yes, for a fee.
    Pass {
        /// The smallest amount.
        min: Amount,
        /// The part of the fee that does not depend on the amount, in minor units.
        base: Total,
        /// The part that does, in millionths.
        ppm: u32,
    },
}

/// What an owner decided about some peers in one unit. What it leaves open, a later rule may say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name.
    #[serde(default)]
    pub id: RuleId,
    /// About whom.
    pub who: Who,
    /// In which unit.
    pub unit: Unit,
    /// The most that each of them may owe the owner, net.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<Total>,
    /// The most that the owner wants to owe each of them, net.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<Total>,
    /// Whether payments are passed on to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// The most that all of them together may owe the owner. A rule that lets anybody owe has one, unless it names one peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<Total>,
    /// The most that all for whom one friend vouches may owe. A rule about friends of friends that lets them owe has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_introducer: Option<Total>,
}

/// Why a rule is about a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Which part of what the rule gives goes to this peer.
    pub weight: Weight,
    /// The friends on whose word it is, of whom one is charged.
    pub introducers: BTreeSet<UserKey>,
}

impl Match {
    fn plain() -> Self {
        Self {
            weight: Weight::FULL,
            introducers: BTreeSet::new(),
        }
    }
}

impl Who {
    /// Whether `peer`, about whom `facts` are known, is meant.
    #[must_use]
    pub fn matches(&self, peer: &UserKey, facts: &Facts) -> Option<Match> {
        match self {
            Self::Peer(named) => (named == peer).then(Match::plain),
            Self::Tag(label) => facts.tags.contains(label).then(Match::plain),
            Self::Anyone => Some(Match::plain()),
            Self::FriendOf(friend) => {
                let counts = |who: &&UserKey| friend.is_none_or(|friend| friend == **who);
                let introducers: BTreeSet<UserKey> =
                    facts.introducers.iter().filter(counts).copied().collect();
                (!introducers.is_empty()).then_some(Match {
                    weight: Weight::FULL,
                    introducers,
                })
            }
            Self::Distance {
                hops,
                weight,
                weights,
            } => {
                let most = usize::from(hops.saturating_sub(1)).min(MAX_BETWEEN);
                let near = facts.ways.iter().filter(|way| way.len() <= most);
                let weigh = |way: &Vec<UserKey>| {
                    way.iter().fold(Weight::FULL, |product, who| {
                        product.times(*weights.get(who).unwrap_or(weight))
                    })
                };
                near.map(weigh).max().map(|weight| Match {
                    weight,
                    introducers: BTreeSet::new(),
                })
            }
        }
    }
}

impl Rule {
    /// A rule that says nothing yet.
    #[must_use]
    pub fn about(who: Who, unit: Unit) -> Self {
        Self {
            id: 0,
            who,
            unit,
            accept: None,
            issue: None,
            forward: None,
            cap: None,
            per_introducer: None,
        }
    }

    /// Whether it holds together.
    ///
    /// # Errors
    /// [`LedgerError::RuleInvalid`] with what is missing or too much.
    pub fn check(&self) -> Result<(), LedgerError> {
        let refuse = |why| Err(LedgerError::RuleInvalid(why));
        if let Who::Distance { hops, weights, .. } = &self.who {
            if !(1..=MAX_HOPS).contains(hops) {
                return refuse("a distance is 1 to 3 hops");
            }
            if weights.len() > MAX_WEIGHTS {
                return refuse("it weighs more than 64 people");
            }
        }
        if let Some(Forward::Pass { ppm, .. }) = self.forward
            && ppm > 1_000_000
        {
            return refuse("a fee is at most a million millionths");
        }
        let one = matches!(self.who, Who::Peer(_));
        let vouched = matches!(self.who, Who::FriendOf(_));
        if one && (self.cap.is_some() || self.id != 0) {
            return refuse("a rule about one peer has neither a number nor a total cap");
        }
        if !one && self.accept.is_some() && self.cap.is_none() {
            return refuse("it names no single peer and so needs a total cap");
        }
        if vouched && self.accept.is_some() && self.per_introducer.is_none() {
            return refuse("it is about friends of friends and so needs a cap for each friend");
        }
        if !vouched && self.per_introducer.is_some() {
            return refuse("only friends of friends have a cap for each friend");
        }
        if self.accept.is_none() && self.issue.is_none() && self.forward.is_none() {
            return refuse("it says nothing");
        }
        Ok(())
    }
}
