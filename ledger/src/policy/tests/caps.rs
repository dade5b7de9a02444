//! Whatever happens, nobody is lent more than the caps allow.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::*;
use super::{rule, total, usd, user, vouched};

/// Somebody whom rules may be about, as a wallet would keep it.
#[derive(Clone, Debug)]
struct Stranger {
    peer: UserKey,
    facts: Facts,
    exposure: u64,
    line: u64,
    held: Option<Held>,
    /// When they got something, as a count.
    since: u64,
}

impl Stranger {
    fn new(peer: UserKey, facts: Facts) -> Self {
        Self {
            peer,
            facts,
            exposure: 0,
            line: 0,
            held: None,
            since: 0,
        }
    }

    fn takes(&self) -> u64 {
        self.line.max(self.exposure)
    }
}

/// Divides anew, and keeps what was given. Who has something comes before who has nothing, and earlier ones first.
fn divide(policy: &Policy, people: &mut [Stranger]) -> Vec<Allotment> {
    people.sort_by_key(|one| (one.held.is_none(), one.since));
    let mut since = people.iter().map(|one| one.since).max().unwrap_or(0);
    let persons: Vec<Person<'_>> = people
        .iter()
        .map(|one| Person {
            peer: one.peer,
            facts: &one.facts,
            exposure: total(one.exposure),
            held: one.held,
        })
        .collect();
    let allotted = policy.allot(&usd(), &persons);
    for (one, allotment) in people.iter_mut().zip(&allotted) {
        assert_eq!(one.peer, allotment.peer);
        one.line = allotment.line.minor();
        let counts = one.line > 0 || one.exposure > 0;
        if one.held.is_none() {
            since += 1;
            one.since = since;
        }
        one.held = allotment
            .rule
            .filter(|rule| counts && *rule != 0)
            .map(|rule| Held {
                rule,
                introducer: allotment.introducer,
            });
    }
    allotted
}

fn uses(people: &[Stranger]) -> BTreeMap<RuleId, RuleUse> {
    Policy::usage(people.iter().filter_map(|one| {
        let held = one.held?;
        Some((held, total(one.line), total(one.exposure)))
    }))
}

/// A key as good as any, of which there are more than two hundred.
fn fresh(n: u32) -> UserKey {
    let mut secret = [7; 32];
    secret[..4].copy_from_slice(&n.to_be_bytes());
    crate::key::Keypair::from_secret(&secret).user_key()
}

#[test]
fn a_thousand_fresh_keys_on_one_friends_word_cost_no_more_than_one_cap() {
    let (nora, max) = (user(1), user(2));
    let mut friends_of_friends = rule(1, Who::FriendOf(None), 9000);
    friends_of_friends.per_introducer = Some(total(5000));
    let mut policy = Policy::default();
    policy.push(friends_of_friends).unwrap();
    let mut people: Vec<Stranger> = (0..1000)
        .map(|n| Stranger::new(fresh(n), vouched(&[nora])))
        .collect();
    divide(&policy, &mut people);
    let lines: Vec<u64> = people.iter().map(|one| one.line).collect();
    assert_eq!(lines[..4], [2000, 2000, 1000, 0]);
    assert_eq!(lines.iter().sum::<u64>(), 5000);
    // Another friend has a cap of their own, up to the total.
    people.extend((1000..1005).map(|n| Stranger::new(fresh(n), vouched(&[nora, max]))));
    divide(&policy, &mut people);
    let used = uses(&people).remove(&1).unwrap();
    assert_eq!(used.by_introducer, [(nora, 5000), (max, 4000)].into());
    assert_eq!((used.taken, used.people), (9000, 5));
}

#[test]
fn what_is_owed_is_counted_after_the_word_was_taken_back() {
    let nora = user(1);
    let mut policy = Policy::default();
    policy
        .push(rule(1, Who::FriendOf(Some(nora)), 3000))
        .unwrap();
    let mut people = vec![
        Stranger::new(fresh(1), vouched(&[nora])),
        Stranger::new(fresh(2), vouched(&[nora])),
    ];
    divide(&policy, &mut people);
    people[0].exposure = 1500;
    people[0].facts = Facts::default();
    let allotted = divide(&policy, &mut people);
    // The line is closed, the debt stands, and the next one gets what it leaves.
    assert_eq!((people[0].line, people[1].line), (0, 1500));
    assert!(!allotted[0].entitled && allotted[0].rule == Some(1));
    people[0].exposure = 0;
    divide(&policy, &mut people);
    assert_eq!((people[0].line, people[1].line), (0, 2000));
    assert_eq!(people[0].held, None);
}

#[test]
fn a_cap_below_what_is_owed_lends_nothing_more() {
    let mut policy = Policy::default();
    policy.push(rule(1, Who::Anyone, 6000)).unwrap();
    let mut people: Vec<Stranger> = (0..3)
        .map(|n| Stranger::new(fresh(n), Facts::default()))
        .collect();
    divide(&policy, &mut people);
    for one in &mut people {
        one.exposure = 1500;
    }
    let mut lower = Policy::default();
    lower.push(rule(1, Who::Anyone, 2500)).unwrap();
    divide(&lower, &mut people);
    let lines: Vec<u64> = people.iter().map(|one| one.line).collect();
    assert_eq!(lines, [1500, 1000, 0]);
    // What is paid back is not lent again before the cap has room.
    people[2].exposure = 0;
    divide(&lower, &mut people);
    let lines: Vec<u64> = people.iter().map(|one| one.line).collect();
    assert_eq!(lines, [1500, 1000, 0]);
    people[1].exposure = 200;
    divide(&lower, &mut people);
    assert_eq!(uses(&people)[&1].taken, 2500);
}

#[test]
fn who_is_named_costs_no_cap_and_who_is_blocked_gets_nothing() {
    let mut policy = Policy::default();
    policy.push(rule(1, Who::Anyone, 2000)).unwrap();
    policy.set_accept(fresh(0), &usd(), total(9000)).unwrap();
    policy.set_blocked(fresh(1), true).unwrap();
    let mut people: Vec<Stranger> = (0..3)
        .map(|n| Stranger::new(fresh(n), Facts::default()))
        .collect();
    let allotted = divide(&policy, &mut people);
    let lines: Vec<u64> = people.iter().map(|one| one.line).collect();
    assert_eq!(lines, [9000, 0, 2000]);
    assert_eq!(allotted[0].rule, Some(0));
    assert_eq!(uses(&people)[&1].taken, 2000);
}

#[derive(Clone, Debug)]
enum Deed {
    Come {
        introducers: u8,
        tagged: bool,
    },
    /// Uses part of what the line leaves, in percent.
    Pay {
        who: usize,
        percent: u64,
    },
    PayBack {
        who: usize,
        percent: u64,
    },
    Vouch {
        who: usize,
        introducers: u8,
    },
    Block {
        who: usize,
        blocked: bool,
    },
    Name {
        who: usize,
        accept: u64,
    },
    Unname {
        who: usize,
    },
    Caps {
        total: u64,
        per: u64,
        tag: u64,
    },
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let who = || 0..12usize;
    let deed = prop_oneof![
        6 => (0..8u8, any::<bool>())
            .prop_map(|(introducers, tagged)| Deed::Come { introducers, tagged }),
        8 => (who(), 0..=100u64).prop_map(|(who, percent)| Deed::Pay { who, percent }),
        4 => (who(), 0..=100u64).prop_map(|(who, percent)| Deed::PayBack { who, percent }),
        3 => (who(), 0..8u8).prop_map(|(who, introducers)| Deed::Vouch { who, introducers }),
        1 => (who(), any::<bool>()).prop_map(|(who, blocked)| Deed::Block { who, blocked }),
        1 => (who(), 0..4000u64).prop_map(|(who, accept)| Deed::Name { who, accept }),
        1 => who().prop_map(|who| Deed::Unname { who }),
        2 => (0..9000u64, 0..6000u64, 0..5000u64)
            .prop_map(|(total, per, tag)| Deed::Caps { total, per, tag }),
    ];
    prop::collection::vec(deed, 1..60)
}

/// Friends 1 to 3, as bits.
fn friends(bits: u8) -> Vec<UserKey> {
    let set = |n: &u8| bits & (1 << (n - 1)) != 0;
    (1..=3u8).filter(set).map(user).collect()
}

struct Play {
    people: Vec<Stranger>,
    blocked: Vec<UserKey>,
    named: BTreeMap<UserKey, u64>,
    /// Totals of rules 1 and 2, and rule 1's cap for each friend.
    caps: (u64, u64, u64),
}

impl Play {
    fn policy(&self) -> Policy {
        let (all, tag, per) = self.caps;
        let mut policy = Policy::default();
        let mut friends = rule(1, Who::FriendOf(None), all);
        friends.per_introducer = Some(total(per));
        policy.push(friends).unwrap();
        let tagged = Who::Tag("baker".parse().unwrap());
        policy.push(rule(2, tagged, tag)).unwrap();
        for (peer, accept) in &self.named {
            policy.set_accept(*peer, &usd(), total(*accept)).unwrap();
        }
        for peer in &self.blocked {
            policy.set_blocked(*peer, true).unwrap();
        }
        policy
    }

    fn act(&mut self, deed: &Deed) {
        let count = u32::try_from(self.people.len()).unwrap();
        match *deed {
            Deed::Come {
                introducers,
                tagged,
            } if count < 12 => {
                let mut facts = vouched(&friends(introducers));
                facts.tags = tagged
                    .then(|| "baker".parse().unwrap())
                    .into_iter()
                    .collect();
                self.people.push(Stranger::new(fresh(count), facts));
            }
            Deed::Come { .. } => {}
            Deed::Caps { total, per, tag } => self.caps = (total, tag, per),
            Deed::Pay { who, percent } => self.with(who, |one| {
                one.exposure += one.line.saturating_sub(one.exposure) * percent / 100;
            }),
            Deed::PayBack { who, percent } => self.with(who, |one| {
                one.exposure -= one.exposure * percent / 100;
            }),
            Deed::Vouch { who, introducers } => self.with(who, |one| {
                one.facts.introducers = friends(introducers).into_iter().collect();
            }),
            Deed::Block { who, blocked } => {
                let peer = self.people.get(who).map(|one| one.peer);
                self.blocked.retain(|known| Some(*known) != peer);
                self.blocked.extend(peer.filter(|_| blocked));
            }
            Deed::Name { who, accept } => {
                if let Some(one) = self.people.get(who) {
                    self.named.insert(one.peer, accept);
                }
            }
            Deed::Unname { who } => {
                if let Some(one) = self.people.get(who) {
                    self.named.remove(&one.peer);
                }
            }
        }
    }

    fn with(&mut self, who: usize, change: impl FnOnce(&mut Stranger)) {
        if let Some(one) = self.people.get_mut(who) {
            change(one);
        }
    }
}

proptest! {
    #[test]
    fn no_sequence_of_grants_payments_and_changes_exceeds_a_cap(deeds in deeds()) {
        let mut play = Play {
            people: Vec::new(),
            blocked: Vec::new(),
            named: BTreeMap::new(),
            caps: (5000, 3000, 3000),
        };
        for deed in deeds {
            play.act(&deed);
            let allotted = divide(&play.policy(), &mut play.people);
            let (all, tag, per) = play.caps;
            let of = |rule| {
                let mine = play.people.iter().filter(move |one| {
                    one.held.is_some_and(|held| held.rule == rule)
                });
                mine.collect::<Vec<_>>()
            };
            for (rule, cap) in [(1, all), (2, tag)] {
                let owes: u64 = of(rule).iter().map(|one| one.exposure).sum();
                let lines: u64 = of(rule).iter().map(|one| one.line).sum();
                let takes: u64 = of(rule).iter().map(|one| one.takes()).sum();
                prop_assert!(lines <= cap, "rule {} lends {} of {}", rule, lines, cap);
                // Only what was owed before a cap was lowered, or before the rule was about them, may exceed it.
                prop_assert!(takes <= cap.max(owes), "rule {} takes {} of {}", rule, takes, cap);
            }
            for friend in friends(7) {
                let vouched: Vec<_> = of(1).into_iter().filter(|one| {
                    one.held.is_some_and(|held| held.introducer == Some(friend))
                }).collect();
                let owes: u64 = vouched.iter().map(|one| one.exposure).sum();
                let lines: u64 = vouched.iter().map(|one| one.line).sum();
                let takes: u64 = vouched.iter().map(|one| one.takes()).sum();
                prop_assert!(lines <= per && takes <= per.max(owes));
            }
            for (one, allotment) in play.people.iter().zip(&allotted) {
                prop_assert!(one.line <= allotment.most.minor());
                if play.blocked.contains(&one.peer) {
                    prop_assert_eq!(one.line, 0);
                } else if let Some(accept) = play.named.get(&one.peer) {
                    prop_assert_eq!(one.line, *accept);
                }
            }
            // Who lost the word of one friend and is charged to another may make room: asked again and again, it settles.
            let lines = |people: &[Stranger]| -> BTreeMap<UserKey, u64> {
                people.iter().map(|one| (one.peer, one.line)).collect()
            };
            let settles = (0..4).any(|_| {
                let before = lines(&play.people);
                divide(&play.policy(), &mut play.people);
                before == lines(&play.people)
            });
            prop_assert!(settles);
        }
    }
}
