//! A hop that is promised one unit and promises another onward.

use atomicity_ledger::hop::{Attempt, Bill, Collection, Fate, RelayStage, Route};
use atomicity_ledger::onion::{Failure, FailureCode};
use atomicity_ledger::record::Rate;

use crate::common::{amount, bread, coffee, total};
use crate::net::{Net, user};
use crate::stages;

fn rate(num: u64, den: u64, max: u64) -> Rate {
    Rate {
        take: bread(),
        give: coffee(),
        num: amount(num),
        den: amount(den),
        max: amount(max),
    }
}

/// 1 owes bread, 4 takes coffee, and 2 exchanges: two of bread for one of coffee.
fn world() -> Net {
    let mut net = Net::chain(4);
    for (takes, from) in [(3, 2), (4, 3)] {
        net.set_line(takes, from, true, |line| line.unit = coffee());
    }
    // 1 may owe 2 enough for the exchange.
    net.set_line(2, 1, true, |line| line.accept = total(5_000));
    net.person(2).policy.exchange = vec![rate(2, 1, 1_000)];
    let bill = Bill {
        unit: coffee(),
        ..net.bill(Some(500))
    };
    net.person(4).store.collection = Some(Collection::new(bill));
    let attempt = Attempt::exchanged(
        (bread(), amount(1_100)),
        (coffee(), amount(500)),
        net.terms(),
    );
    net.person(1).store.attempt = Some(attempt.unwrap());
    net
}

/// 500 arrive; 3 takes 6 of coffee, and 2 takes 7: 513, for which it asks twice as much bread.
fn route(net: &Net, first: u64) -> Route {
    let mut route = net.route(&[2, 3, 4], 500, 500);
    assert_eq!(route.stops[1].amount, amount(506));
    route.stops[1].unit = Some(coffee());
    route.stops[0].amount = amount(first);
    route
}

/// What friends owe each of them together, in bread and in coffee.
fn wealth(net: &Net) -> [Vec<i64>; 2] {
    [bread(), coffee()].map(|unit| {
        let of = |person: &crate::net::Person| {
            let pairs = person.store.pairs.iter();
            pairs.map(|(_, pair)| pair.balance(&unit).minor()).sum()
        };
        net.people.iter().map(of).collect()
    })
}

fn paid(change: impl FnOnce(&mut Net), first: u64) -> Net {
    let mut net = world();
    change(&mut net);
    let route = route(&net, first);
    net.send(1, 0, &route).unwrap();
    net.run();
    net
}

fn refused(change: impl FnOnce(&mut Net), first: u64) -> (Option<u8>, Failure) {
    let net = paid(change, first);
    assert_eq!(wealth(&net), [vec![0; 4], vec![0; 4]]);
    let progress = net.who(1).store.attempt.as_ref().unwrap().progress();
    assert_eq!((progress.outstanding, progress.missing), (0, 500));
    net.failure(1, 0)
}

#[test]
fn each_unit_sums_to_zero_and_the_hop_has_what_it_asked_for() {
    let net = paid(|_| {}, 1_026);
    assert_eq!(
        wealth(&net),
        [vec![-1_026, 1_026, 0, 0], vec![0, -506, 6, 500]]
    );
    assert_eq!(stages(&net), [RelayStage::Paid; 2]);
    let relay = &net.who(2).store.relays[0];
    assert_eq!((&relay.unit, relay.unit_onward()), (&bread(), &coffee()));
    assert_eq!(relay.fee(), 0);
    let attempt = net.who(1).store.attempt.as_ref().unwrap();
    assert_eq!(attempt.parts()[0].fate, Fate::Paid);
    assert_eq!(
        (attempt.progress().paid, attempt.progress().missing),
        (1_026, 0)
    );
    assert_eq!(
        (attempt.unit(), attempt.unit_arriving()),
        (&bread(), &coffee())
    );
}

#[test]
fn a_hop_exchanges_at_its_rate_of_that_moment_and_not_for_less() {
    use FailureCode::*;
    let edge = |code| (Some(0), Failure::of_edge(code, user(2), user(3)));
    assert_eq!(refused(|_| {}, 1_025), edge(FeeTooLow));
    let dearer = |net: &mut Net| net.person(2).policy.exchange[0].num = amount(3);
    assert_eq!(refused(dearer, 1_026), edge(FeeTooLow));
    let fee = |net: &mut Net| net.person(2).policy.rules[0].base = total(2);
    assert_eq!(refused(fee, 1_026), edge(FeeTooLow));
    let none = |net: &mut Net| net.person(2).policy.exchange.clear();
    assert_eq!(refused(none, 1_026), edge(EdgeUnavailable));
    let back = |net: &mut Net| {
        let rate = &mut net.person(2).policy.exchange[0];
        std::mem::swap(&mut rate.take, &mut rate.give);
    };
    assert_eq!(refused(back, 1_026), edge(EdgeUnavailable));
    let narrow = |net: &mut Net| net.person(2).policy.exchange[0].max = amount(505);
    assert_eq!(refused(narrow, 1_026), edge(EdgeUnavailable));
    let absurd =
        |net: &mut Net| net.person(2).policy.exchange = vec![rate(i64::MAX as u64, 1, 1_000)];
    assert_eq!(refused(absurd, 1_026), edge(FeeTooLow));
    // 513 · 108 / 100 is 554.04: rounded up.
    let fine = |net: &mut Net| net.person(2).policy.exchange = vec![rate(108, 100, 1_000)];
    assert_eq!(refused(fine, 554), edge(FeeTooLow));
    assert_eq!(wealth(&paid(fine, 555))[0], [-555, 555, 0, 0]);
}

#[test]
fn after_a_new_rate_the_payer_may_try_again_within_its_bound() {
    let mut net = world();
    net.person(2).policy.exchange[0].num = amount(3);
    let first = route(&net, 1_026);
    net.send(1, 0, &first).unwrap();
    net.run();
    let dearer = route(&net, 1_539);
    assert_eq!(
        net.send(1, 1, &dearer).unwrap_err().code(),
        "limit_exceeded"
    );
    net.person(2).policy.exchange[0] = rate(21, 10, 1_000);
    let again = route(&net, 1_078);
    net.send(1, 1, &again).unwrap();
    net.run();
    assert_eq!(
        wealth(&net),
        [vec![-1_078, 1_078, 0, 0], vec![0, -506, 6, 500]]
    );
}

#[test]
fn a_payee_does_not_take_another_unit_than_the_invoice_names() {
    let mut net = world();
    let attempt = Attempt::new(bread(), net.terms(), amount(500), amount(1_100));
    net.person(1).store.attempt = Some(attempt.unwrap());
    let route = net.route(&[2, 3, 4], 500, 500);
    net.send(1, 0, &route).unwrap();
    net.run();
    assert_eq!(
        net.failure(1, 0),
        (Some(2), Failure::here(FailureCode::WrongAmount))
    );
    assert_eq!(wealth(&net), [vec![0; 4], vec![0; 4]]);
}

#[test]
fn a_route_must_end_in_the_unit_that_is_to_arrive() {
    let mut net = world();
    let mut none = route(&net, 1_026);
    none.stops[1].unit = None;
    let mut twice = route(&net, 1_026);
    twice.stops[2].unit = Some(bread());
    let mut first = route(&net, 1_026);
    first.stops[0].unit = first.stops[1].unit.take();
    let mut other = route(&net, 1_026);
    other.stops[1].unit = Some("TEA".parse().unwrap());
    for route in [none, twice, first, other] {
        assert_eq!(net.send(1, 0, &route).unwrap_err().code(), "layers_invalid");
    }
    let same = Attempt::exchanged((bread(), amount(9)), (bread(), amount(1)), net.terms());
    assert!(same.is_err());
}
