//! Dividing what rules give among the people whom they are about, so that no cap is ever exceeded.
//!
//! What one person takes of a cap is the greater of two: the credit line that they have, and what they owe with what they have promised
//! (their *exposure*). A line counts in full, whether it is used or not: it can be used tomorrow. What is owed counts even if the line
//! was lowered since, and even if the rule is no longer about them, until it is paid.
//!
//! Whoever got something first is served first. A person on the word of several friends is charged to one of them, and stays with that one.

use std::collections::BTreeMap;

use super::Policy;
use super::facts::Facts;
use super::rule::{Match, Rule, RuleId, Who};
use crate::amount::Total;
use crate::key::UserKey;
use crate::unit::Unit;

/// What a rule has given somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which rule.
    pub rule: RuleId,
    /// The friend who is charged, where it was given on the word of one.
    pub introducer: Option<UserKey>,
}

/// Somebody who may get a line, or has one.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// Who.
    pub peer: UserKey,
    /// What is known about them.
    pub facts: &'a Facts,
    /// What they owe the owner and have promised; zero if the owner owes them.
    pub exposure: Total,
    /// What a rule gave them before, if one did.
    pub held: Option<Held>,
}

/// What somebody gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allotment {
    /// Who.
    pub peer: UserKey,
    /// Their credit line.
    pub line: Total,
    /// What the rule would give them if there were room.
    pub most: Total,
    /// The rule that they are counted under; `None`: none, and there is no line. 0: the owner named them, and no cap counts.
    pub rule: Option<RuleId>,
    /// The friend who is charged, if one is.
    pub introducer: Option<UserKey>,
    /// Whether the rule is about them now. If not, it only counts what they still owe.
    pub entitled: bool,
}

/// How much of a cap is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleUse {
    /// By all, in minor units.
    pub taken: u64,
    /// By those for whom one friend vouches, in minor units.
    pub by_introducer: BTreeMap<UserKey, u64>,
    /// How many people have a line or owe something.
    pub people: u64,
}

/// What is left of a cap.
#[derive(Clone, Copy)]
struct Purse {
    /// What may be owed at all by those whom the rule is still about.
    lines: u64,
    /// What nobody has or owes.
    free: u64,
}

/// Somebody while the caps are divided.
struct Claim<'a> {
    person: &'a Person<'a>,
    rule: Option<&'a Rule>,
    /// Why the rule is about them; `None` if it no longer is.
    found: Option<Match>,
    introducer: Option<UserKey>,
    most: u64,
    line: u64,
}

type Account = (RuleId, Option<UserKey>);

impl Policy {
    /// What each of these people gets in `unit`. Who has something comes before who has nothing, and earlier ones first. Everybody who
    /// has something by a rule, or owes something that a rule let them, must be among them.
    #[must_use]
    pub fn allot(&self, unit: &Unit, people: &[Person<'_>]) -> Vec<Allotment> {
        let mut claims: Vec<Claim<'_>> = people
            .iter()
            .map(|person| self.claim(unit, person))
            .collect();
        let mut owed: BTreeMap<Account, u64> = BTreeMap::new();
        // Who owes something is charged before anybody gets more.
        for claim in &mut claims {
            claim.settle(&owed);
            if claim.introducer.is_some() || !claim.is_vouched() {
                claim.charge(&mut owed, |claim| claim.person.exposure.minor());
            }
        }
        let mut purses = purses(&self.rules, &claims, &owed);
        for claim in claims.iter_mut().filter(|claim| claim.is_capped()) {
            let owes = claim.person.exposure.minor().min(claim.most);
            claim.line = claim.spend(&mut purses, owes, |purse| &mut purse.lines);
        }
        for claim in claims.iter_mut().filter(|claim| claim.is_capped()) {
            if claim.introducer.is_none() && claim.is_vouched() {
                claim.introducer = claim.widest(&purses);
            }
            let more = claim.most.saturating_sub(claim.line);
            let owes_more = claim.person.exposure.minor() > claim.line;
            if !owes_more {
                let more = claim.spend(&mut purses, more, |purse| &mut purse.free);
                claim.line = claim.line.saturating_add(more);
            }
        }
        claims.iter().map(Claim::allotment).collect()
    }

    /// How much of each rule's cap is taken by what these people have and owe.
    #[must_use]
    pub fn usage<'a>(
        people: impl IntoIterator<Item = (Held, Total, Total)> + 'a,
    ) -> BTreeMap<RuleId, RuleUse> {
        let mut uses: BTreeMap<RuleId, RuleUse> = BTreeMap::new();
        for (held, line, exposure) in people {
            let takes = line.max(exposure).minor();
            if takes == 0 {
                continue;
            }
            let used = uses.entry(held.rule).or_default();
            used.taken = used.taken.saturating_add(takes);
            used.people = used.people.saturating_add(1);
            if let Some(friend) = held.introducer {
                let sum = used.by_introducer.entry(friend).or_default();
                *sum = sum.saturating_add(takes);
            }
        }
        uses
    }

    fn claim<'a>(&'a self, unit: &Unit, person: &'a Person<'a>) -> Claim<'a> {
        let granted = self.grants(&person.peer, unit, person.facts);
        if let Some((rule, found)) = granted {
            let most = found.weight.of(rule.accept.unwrap_or(Total::ZERO)).minor();
            let before = person.held.filter(|held| held.rule == rule.id);
            let before = before.and_then(|held| held.introducer);
            return Claim {
                person,
                rule: Some(rule),
                introducer: before.filter(|friend| found.introducers.contains(friend)),
                found: Some(found),
                most,
                line: 0,
            };
        }
        // What they owe still counts where it was given.
        let held = person.held.filter(|_| person.exposure > Total::ZERO);
        let fits =
            |rule: &&Rule| held.is_some_and(|held| held.rule == rule.id) && rule.unit == *unit;
        let rule = self.rules.iter().filter(|rule| rule.id != 0).find(fits);
        Claim {
            person,
            rule,
            introducer: held.and_then(|held| held.introducer),
            found: None,
            most: 0,
            line: 0,
        }
    }
}

impl Claim<'_> {
    fn is_capped(&self) -> bool {
        self.found.is_some() && self.rule.is_some_and(|rule| rule.cap.is_some())
    }

    fn is_vouched(&self) -> bool {
        self.rule
            .is_some_and(|rule| matches!(rule.who, Who::FriendOf(_)))
    }

    /// Whoever owes something must be charged to one friend from the beginning: the one who has the least to answer for.
    fn settle(&mut self, owed: &BTreeMap<Account, u64>) {
        let owes = self.person.exposure > Total::ZERO;
        let (Some(rule), Some(found)) = (self.rule, &self.found) else {
            return;
        };
        if owes && self.introducer.is_none() {
            let answers_for =
                |friend: &&UserKey| owed.get(&(rule.id, Some(**friend))).copied().unwrap_or(0);
            self.introducer = found.introducers.iter().min_by_key(answers_for).copied();
        }
    }

    /// The friend with the most left to vouch with.
    fn widest(&self, purses: &BTreeMap<Account, Purse>) -> Option<UserKey> {
        let (Some(rule), Some(found)) = (self.rule, &self.found) else {
            return None;
        };
        let left = |friend: &&UserKey| purses.get(&(rule.id, Some(**friend))).map_or(0, |p| p.free);
        // The first of equals, whatever the order in which they are asked.
        let friends = found.introducers.iter().rev();
        friends.max_by_key(left).copied()
    }

    /// The accounts that it is counted in: the rule's, and the friend's within it.
    fn accounts(&self) -> impl Iterator<Item = Account> {
        let rule = self.rule.map(|rule| rule.id);
        let friend = self.introducer;
        let own = rule.map(|rule| (rule, None));
        own.into_iter()
            .chain(rule.and_then(|rule| friend.map(|friend| (rule, Some(friend)))))
    }

    fn charge(&self, sums: &mut BTreeMap<Account, u64>, amount: impl Fn(&Self) -> u64) {
        for account in self.accounts() {
            let sum = sums.entry(account).or_default();
            *sum = sum.saturating_add(amount(self));
        }
    }

    /// Takes up to `wanted` from all its accounts, and says how much.
    fn spend(
        &self,
        purses: &mut BTreeMap<Account, Purse>,
        wanted: u64,
        part: impl Fn(&mut Purse) -> &mut u64,
    ) -> u64 {
        let mut got = wanted;
        for account in self.accounts() {
            got = got.min(purses.get_mut(&account).map_or(0, |purse| *part(purse)));
        }
        for account in self.accounts() {
            if let Some(purse) = purses.get_mut(&account) {
                let left = part(purse);
                *left = left.saturating_sub(got);
            }
        }
        got
    }

    fn allotment(&self) -> Allotment {
        let named = self.found.is_some() && !self.is_capped();
        let line = if named { self.most } else { self.line };
        Allotment {
            peer: self.person.peer,
            line: Total::from_minor(line).unwrap_or(Total::ZERO),
            most: Total::from_minor(self.most).unwrap_or(Total::ZERO),
            rule: self.rule.map(|rule| rule.id),
            introducer: self.introducer,
            entitled: self.found.is_some(),
        }
    }
}

/// What is left of every cap once all that is owed is counted.
fn purses(
    rules: &[Rule],
    claims: &[Claim<'_>],
    owed: &BTreeMap<Account, u64>,
) -> BTreeMap<Account, Purse> {
    // What is owed by people whom the rule is no longer about leaves less for the others.
    let mut gone: BTreeMap<Account, u64> = BTreeMap::new();
    for claim in claims.iter().filter(|claim| claim.found.is_none()) {
        claim.charge(&mut gone, |claim| claim.person.exposure.minor());
    }
    let sum =
        |sums: &BTreeMap<Account, u64>, account: &Account| sums.get(account).copied().unwrap_or(0);
    let mut purses = BTreeMap::new();
    let mut open = |account: Account, cap: Total| {
        let purse = Purse {
            lines: cap.minor().saturating_sub(sum(&gone, &account)),
            free: cap.minor().saturating_sub(sum(owed, &account)),
        };
        purses.insert(account, purse);
    };
    for rule in rules {
        let Some(cap) = rule.cap else { continue };
        open((rule.id, None), cap);
        let Some(per) = rule.per_introducer else {
            continue;
        };
        for claim in claims {
            let counted = claim.rule.is_some_and(|known| known.id == rule.id);
            let vouching = claim.found.iter().flat_map(|found| &found.introducers);
            for friend in vouching.chain(&claim.introducer).filter(|_| counted) {
                open((rule.id, Some(*friend)), per);
            }
        }
    }
    purses
}
