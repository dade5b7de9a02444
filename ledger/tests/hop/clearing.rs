//! Circles of debts: a payment to oneself over hops that take nothing, because all that it does to them is to lower debts.

use atomicity_ledger::hop::{Fate, HopRule, Route};
use atomicity_ledger::onion::FailureCode;
use atomicity_ledger::pair::PaymentNote;
use atomicity_ledger::{RecordId, UserKey};

use crate::common::{amount, bread, total};
use crate::net::{Net, user};

/// Three people who let each other owe 1,000; 2 owes 1, 3 owes 2, and 1 owes 3, this much each.
fn ring(debts: [u64; 3]) -> Net {
    let mut net = Net::chain(3);
    net.connect(3, 1, 1_000, 1_000);
    let [two, three, one] = debts;
    give(&mut net, 2, 1, two);
    give(&mut net, 3, 2, three);
    give(&mut net, 1, 3, one);
    for n in 1..=3 {
        net.person(n).policy.rules[0].clearing = true;
    }
    net
}

/// One pays another by owing them.
fn give(net: &mut Net, from: u8, to: u8, minor: u64) {
    let now = net.now;
    let person = net.person(from);
    let device = person.device.clone();
    let mut pair = person.store.take(user(to)).unwrap();
    let note = PaymentNote {
        id: RecordId::from_entropy([from; 16]),
        reference: None,
        memo: None,
    };
    let issued = pair.issue(&bread(), amount(minor), None, note, &device, now);
    person.store.put(pair);
    let issued = issued.unwrap();
    net.wire
        .push_back((user(from), user(to), issued.state.into()));
    net.wire
        .push_back((user(from), user(to), issued.payment.into()));
    net.run();
}

/// 1 > 2 > 3 > 1, the same amount everywhere.
fn round(net: &Net, minor: u64) -> Route {
    let mut route = net.route(&[2, 3, 1], minor, minor);
    route
        .stops
        .iter_mut()
        .for_each(|stop| stop.amount = amount(minor));
    route
}

fn clear(net: &mut Net, minor: u64) -> Fate {
    net.invoice(1, minor);
    net.attempt(1, minor, minor);
    let route = round(net, minor);
    net.send(1, 0, &route).unwrap();
    net.run();
    let attempt = net.who(1).store.attempt.as_ref();
    attempt.unwrap().parts()[0].fate.clone()
}

/// What each is owed by the next: 1 by 2, 2 by 3, 3 by 1.
fn debts(net: &Net) -> [i64; 3] {
    [
        net.who(1).balance(2),
        net.who(2).balance(3),
        net.who(3).balance(1),
    ]
}

fn wealth(net: &Net) -> Vec<i64> {
    net.people.iter().map(|person| person.wealth()).collect()
}

fn refused(net: &Net, fate: &Fate) -> (FailureCode, Option<(UserKey, UserKey)>) {
    match fate {
        Fate::Failed { failure, .. } => (failure.code, failure.edge),
        other => panic!("{other:?} after {:?}", debts(net)),
    }
}

#[test]
fn a_circle_of_debts_is_cleared_and_costs_nobody_anything() {
    let mut net = ring([500, 300, 700]);
    let before = wealth(&net);
    assert_eq!(debts(&net), [500, 300, 700]);
    assert_eq!(clear(&mut net, 300), Fate::Paid);
    assert_eq!(debts(&net), [200, 0, 400]);
    assert_eq!(wealth(&net), before);
    net.check_zero_sum();
    for n in [2, 3] {
        assert_eq!(net.who(n).store.relays[0].fee(), 0);
    }
}

#[test]
fn one_smallest_unit_above_the_debt_costs_the_usual_fee() {
    // What 3 owes 2 is the smallest: 2 would have to owe 3 something.
    let mut net = ring([500, 300, 700]);
    let fate = clear(&mut net, 301);
    let edge = Some((user(2), user(3)));
    assert_eq!(refused(&net, &fate), (FailureCode::FeeTooLow, edge));
    assert_eq!(debts(&net), [500, 300, 700]);
    // What 2 owes 1 is the smallest: 1 would come to owe 2 something.
    let mut net = ring([300, 500, 700]);
    let fate = clear(&mut net, 301);
    assert_eq!(refused(&net, &fate), (FailureCode::FeeTooLow, edge));
    assert_eq!(clear(&mut ring([300, 300, 300]), 300), Fate::Paid);
}

#[test]
fn who_does_not_agree_takes_the_usual_fee_and_who_agrees_need_not_pass_anything_else_on() {
    let mut net = ring([500; 3]);
    net.person(2).policy.rules[0].clearing = false;
    let fate = clear(&mut net, 300);
    assert_eq!(refused(&net, &fate).0, FailureCode::FeeTooLow);
    // Only clearing.
    let only = |forward, clearing| HopRule {
        forward,
        clearing,
        ..HopRule::allow(None, None, total(1), 0).unwrap()
    };
    let mut net = ring([500; 3]);
    for n in [2, 3] {
        net.person(n).policy.rules = vec![only(false, true)];
    }
    assert_eq!(clear(&mut net, 300), Fate::Paid);
    let mut net = ring([500; 3]);
    net.person(2).policy.rules = vec![only(false, true)];
    let fate = clear(&mut net, 501);
    assert_eq!(refused(&net, &fate).0, FailureCode::EdgeUnavailable);
}

#[test]
fn what_is_promised_already_is_not_cleared_twice() {
    let mut net = ring([500, 300, 700]);
    net.publishes = false;
    assert_eq!(clear(&mut net, 200), Fate::Outstanding);
    // 100 are left of what 3 owes 2 for certain; 300 of what 2 owes 1.
    let pair = |n: u8, peer: u8| net.who(n).pair(peer);
    assert_eq!(pair(2, 3).surely_owed(&bread()), 100);
    assert_eq!(pair(2, 1).surely_owes(&bread()), 300);
    assert_eq!((pair(1, 2).surely_owed(&bread())), 300);
    assert_eq!((pair(1, 3).surely_owes(&bread())), 500);
    assert_eq!(pair(1, 3).surely_owed(&bread()), 0);
    assert_eq!(pair(1, 2).surely_owes(&bread()), 0);
    net.invoice(1, 200);
    net.attempt(1, 200, 200);
    let route = round(&net, 200);
    net.send(1, 0, &route).unwrap();
    net.run();
    let attempt = net.who(1).store.attempt.as_ref();
    let fate = attempt.unwrap().parts()[0].fate.clone();
    assert_eq!(refused(&net, &fate).0, FailureCode::FeeTooLow);
}

#[test]
fn a_policy_that_was_stored_before_there_was_clearing_clears_nothing() {
    let rule = HopRule::allow(None, None, total(1), 7).unwrap();
    let text = serde_json::to_string(&rule).unwrap();
    assert!(!text.contains("clearing"));
    assert_eq!(serde_json::from_str::<HopRule>(&text).unwrap(), rule);
}
