#![allow(clippy::unwrap_used)]

mod caps;

use super::*;
use crate::amount::Amount;
use crate::key::Keypair;

pub(super) fn user(n: u8) -> UserKey {
    Keypair::from_secret(&[n; 32]).user_key()
}

pub(super) fn total(minor: u64) -> Total {
    Total::from_minor(minor).unwrap()
}

pub(super) fn usd() -> Unit {
    "USD/2".parse().unwrap()
}

/// Rule `id`: each of `who` may owe 20.00, all together `cap`.
pub(super) fn rule(id: RuleId, who: Who, cap: u64) -> Rule {
    let per_introducer = matches!(who, Who::FriendOf(_)).then(|| total(cap));
    Rule {
        id,
        accept: Some(total(2000)),
        cap: Some(total(cap)),
        per_introducer,
        ..Rule::about(who, usd())
    }
}

pub(super) fn vouched(friends: &[UserKey]) -> Facts {
    Facts {
        introducers: friends.iter().copied().collect(),
        ..Facts::default()
    }
}

fn policy(rules: Vec<Rule>) -> Policy {
    let mut policy = Policy::default();
    for rule in rules {
        policy.push(rule).unwrap();
    }
    policy
}

fn label(text: &str) -> Label {
    text.parse().unwrap()
}

#[test]
fn nobody_gets_anything_unless_a_rule_says_so() {
    let (unit, nothing) = (usd(), Facts::default());
    let mut policy = Policy::default();
    let accept = |policy: &Policy, n, unit: &Unit| policy.verdict(&user(n), unit, &nothing).accept;
    assert_eq!(accept(&policy, 1, &unit), Total::ZERO);
    policy.set_accept(user(1), &unit, total(500)).unwrap();
    assert_eq!(accept(&policy, 1, &unit), total(500));
    assert_eq!(accept(&policy, 2, &unit), Total::ZERO);
    assert_eq!(accept(&policy, 1, &"USD".parse().unwrap()), Total::ZERO);
    policy.forget(&user(1));
    let verdict = policy.verdict(&user(1), &unit, &nothing);
    assert_eq!(verdict, Verdict::default());
}

#[test]
fn a_block_comes_before_every_rule() {
    let (unit, nothing) = (usd(), Facts::default());
    let mut policy = policy(vec![rule(1, Who::Anyone, 5000)]);
    policy.set_accept(user(1), &unit, Total::MAX).unwrap();
    policy.set_blocked(user(1), true).unwrap();
    let verdict = policy.verdict(&user(1), &unit, &nothing);
    assert!(verdict.blocked);
    assert_eq!(
        (verdict.accept, verdict.issue, verdict.forward),
        (Total::ZERO, Some(Total::ZERO), Some(Forward::Refuse))
    );
    policy.set_blocked(user(1), false).unwrap();
    let verdict = policy.verdict(&user(1), &unit, &nothing);
    assert_eq!(verdict.accept, Total::MAX);
}

#[test]
fn both_limits_of_a_peer_stand_side_by_side() {
    let (unit, nothing) = (usd(), Facts::default());
    let mut policy = Policy::default();
    policy.set_accept(user(1), &unit, total(500)).unwrap();
    policy.set_issue(user(1), &unit, Some(total(200))).unwrap();
    let verdict = policy.verdict(&user(1), &unit, &nothing);
    assert_eq!(
        (verdict.accept, verdict.issue),
        (total(500), Some(total(200)))
    );
    policy.set_issue(user(1), &unit, None).unwrap();
    assert_eq!(policy.verdict(&user(1), &unit, &nothing).issue, None);
}

#[test]
fn the_first_rule_that_answers_a_question_decides_it() {
    let unit = usd();
    let refuse = Rule {
        id: 3,
        forward: Some(Forward::Refuse),
        ..Rule::about(Who::Tag(label("shop")), usd())
    };
    let pass = Forward::Pass {
        min: Amount::from_minor(1).unwrap(),
        base: total(1),
        ppm: 0,
    };
    let anyone = Rule {
        accept: Some(total(100)),
        issue: Some(total(700)),
        forward: Some(pass),
        ..rule(4, Who::Anyone, 5000)
    };
    let mut policy = policy(vec![
        refuse,
        rule(2, Who::Tag(label("Baker")), 5000),
        anyone,
    ]);
    let tagged = |words: &[&str]| Facts {
        tags: words.iter().map(|word| label(word)).collect(),
        ..Facts::default()
    };
    let baker = policy.verdict(&user(1), &unit, &tagged(&["baker", "shop"]));
    assert_eq!((baker.accept, baker.by), (total(2000), Some(2)));
    assert_eq!(baker.forward, Some(Forward::Refuse));
    assert_eq!(baker.issue, Some(total(700)));
    let other = policy.verdict(&user(1), &unit, &tagged(&["butcher"]));
    assert_eq!((other.accept, other.by), (total(100), Some(4)));
    assert_eq!(other.forward, Some(pass));
    // What was said about this one peer comes first, whenever it was said.
    policy.set_accept(user(1), &unit, total(7)).unwrap();
    let named = policy.verdict(&user(1), &unit, &tagged(&["baker"]));
    assert_eq!((named.accept, named.by), (total(7), Some(0)));
}

#[test]
fn weights_multiply_along_the_way_and_the_best_way_counts() {
    let half = Weight::from_millionths(500_000).unwrap();
    let third = Weight::from_millionths(333_333).unwrap();
    let near = |hops, weights: &[(UserKey, Weight)]| {
        let who = Who::Distance {
            hops,
            weight: half,
            weights: weights.iter().copied().collect(),
        };
        policy(vec![rule(1, who, 5000)])
    };
    let ways = |ways: &[&[UserKey]]| Facts {
        ways: ways.iter().map(|way| way.to_vec()).collect(),
        ..Facts::default()
    };
    let (a, b) = (user(1), user(2));
    let accept = |policy: &Policy, facts: &Facts| policy.verdict(&user(9), &usd(), facts).accept;
    let two = near(2, &[]);
    assert_eq!(accept(&two, &ways(&[&[]])), total(2000));
    assert_eq!(accept(&two, &ways(&[&[a]])), total(1000));
    assert_eq!(accept(&two, &ways(&[&[a, b]])), Total::ZERO);
    let three = near(3, &[(a, third)]);
    // 0.5 of a third, rounded down to a millionth: 20.00 times 0.166666.
    assert_eq!(accept(&three, &ways(&[&[a, b]])), total(333));
    assert_eq!(accept(&three, &ways(&[&[a], &[b, a]])), total(666));
    assert_eq!(accept(&three, &ways(&[&[a], &[b]])), total(1000));
    assert_eq!(accept(&three, &ways(&[])), Total::ZERO);
}

#[test]
fn a_rule_about_many_needs_a_cap_and_one_about_friends_of_friends_another() {
    let refused = |change: &dyn Fn(&mut Rule), who: Who| {
        let mut rule = rule(1, who, 100);
        change(&mut rule);
        rule.check().unwrap_err().code()
    };
    let anyone = || Who::Anyone;
    assert_eq!(refused(&|rule| rule.cap = None, anyone()), "rule_invalid");
    assert_eq!(
        refused(&|rule| rule.per_introducer = None, Who::FriendOf(None)),
        "rule_invalid"
    );
    assert_eq!(
        refused(&|rule| rule.per_introducer = rule.cap, anyone()),
        "rule_invalid"
    );
    assert_eq!(
        refused(&|rule| rule.accept = None, anyone()),
        "rule_invalid"
    );
    assert_eq!(refused(&|_| (), Who::Peer(user(1))), "rule_invalid");
    let far = Who::Distance {
        hops: 4,
        weight: Weight::FULL,
        weights: Default::default(),
    };
    assert_eq!(refused(&|_| (), far), "rule_invalid");
    let mut twice = policy(vec![rule(1, Who::Anyone, 1)]);
    let again = twice.push(rule(1, Who::Anyone, 1)).unwrap_err();
    assert_eq!(again.code(), "rule_invalid");
}

#[test]
fn a_rule_reads_back_as_it_was_written() {
    let rules = vec![
        rule(1, Who::FriendOf(Some(user(1))), 100),
        rule(2, Who::FriendOf(None), 100),
        rule(3, Who::Tag(label("baker")), 100),
        rule(
            4,
            Who::Distance {
                hops: 2,
                weight: Weight::from_millionths(250_000).unwrap(),
                weights: [(user(2), Weight::FULL)].into(),
            },
            100,
        ),
        rule(5, Who::Anyone, 100),
    ];
    let mut written = policy(rules);
    written.set_accept(user(3), &usd(), total(1)).unwrap();
    written.set_blocked(user(4), true).unwrap();
    let text = serde_json::to_string(&written).unwrap();
    assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), written);
    let unknown = text.replacen("\"cap\"", "\"cup\"", 1);
    assert!(serde_json::from_str::<Policy>(&unknown).is_err());
    let heavy = text.replacen("250000", "1000001", 1);
    assert!(serde_json::from_str::<Policy>(&heavy).is_err());
}
