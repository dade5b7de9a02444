//! Several parts under one hash, and what the payer has outstanding.

use atomicity_ledger::hop::{Attempt, CollectionStage, Fate};
use atomicity_ledger::onion::FailureCode;

use crate::common::log::preimage;
use crate::common::{amount, at, bread};
use crate::net::{DEADLINE, HASH, Net, user};

/// 1 can reach 4 over 2 and over 3.
fn two_ways() -> Net {
    let mut net = Net::new(4);
    for (a, b) in [(1, 2), (1, 3), (2, 4), (3, 4)] {
        net.connect(a, b, 1_000, 1_000);
    }
    net.invoice(4, 500);
    net.attempt(1, 500, 520);
    net
}

fn wealth(net: &Net) -> Vec<i64> {
    net.people.iter().map(crate::net::Person::wealth).collect()
}

#[test]
fn the_payee_publishes_only_when_every_part_is_there() {
    let mut net = two_ways();
    let (a, b) = (net.route(&[2, 4], 300, 500), net.route(&[3, 4], 200, 500));
    net.send(1, 0, &a).unwrap();
    net.run();
    assert!(net.asked.is_empty());
    let collection = net.who(4).store.collection.as_ref().unwrap();
    assert_eq!(
        (collection.collected(), collection.stage()),
        (300, &CollectionStage::Open)
    );
    assert_eq!(wealth(&net), [0; 4]);
    net.send(1, 1, &b).unwrap();
    net.run();
    // 300 + 4 and 200 + 3.
    assert_eq!((net.asked.len(), net.asked[0].amount), (1, 500));
    assert_eq!(wealth(&net), [-507, 4, 3, 500]);
    net.check_zero_sum();
    let attempt = net.who(1).store.attempt.as_ref().unwrap();
    assert!(attempt.parts().iter().all(|part| part.fate == Fate::Paid));
}

#[test]
fn parts_on_other_terms_or_of_another_total_do_not_count_together() {
    let mut net = two_ways();
    let (a, mut b) = (net.route(&[2, 4], 300, 500), net.route(&[3, 4], 200, 501));
    net.send(1, 0, &a).unwrap();
    net.send(1, 1, &b).unwrap();
    net.run();
    assert!(net.asked.is_empty());
    // The right second part comes: the stray one is given up before anything is published.
    let mut more = Attempt::new(bread(), net.terms(), amount(500), amount(520)).unwrap();
    std::mem::swap(&mut more, net.person(1).store.attempt.as_mut().unwrap());
    b = net.route(&[3, 4], 200, 500);
    net.send(1, 0, &b).unwrap();
    net.run();
    assert_eq!((net.asked.len(), net.asked[0].amount), (1, 500));
    assert_eq!(wealth(&net), [-507, 4, 3, 500]);
    net.check_zero_sum();
}

#[test]
fn too_little_in_time_goes_back_and_may_come_again() {
    let mut net = two_ways();
    let a = net.route(&[2, 4], 300, 500);
    net.send(1, 0, &a).unwrap();
    net.run();
    let give_back = |net: &mut Net| {
        let step = net.with_collection(3, |collection, pairs, context| {
            collection.give_back(pairs, false, context).unwrap()
        });
        let me = net.people[3].user;
        let sent = step.unwrap().send;
        let none = sent.is_empty();
        net.wire.extend(sent.into_iter().map(|(to, r)| (me, to, r)));
        net.run();
        none
    };
    // There is time left: nothing goes back.
    assert!(give_back(&mut net));
    net.now = at(DEADLINE - 9_000);
    assert!(!give_back(&mut net));
    assert!(give_back(&mut net));
    let (hop, failure) = net.failure(1, 0);
    assert_eq!((hop, failure.code), (Some(1), FailureCode::WrongAmount));
    // Under the same hash on later terms.
    let later = net.log.terms(HASH, DEADLINE + 60_000);
    net.person(1)
        .store
        .attempt
        .as_mut()
        .unwrap()
        .renew(later)
        .unwrap();
    let whole = net.route(&[3, 4], 500, 500);
    net.send(1, 1, &whole).unwrap();
    net.run();
    assert_eq!(wealth(&net), [-506, 0, 6, 500]);
}

#[test]
fn the_payer_never_promises_more_than_the_amount_and_its_fees() {
    let mut net = two_ways();
    net.person(2).mute = true;
    let (a, b) = (net.route(&[2, 4], 300, 500), net.route(&[3, 4], 300, 500));
    net.send(1, 0, &a).unwrap();
    net.run();
    // A hop swallows the first part: as long as it may come due, no more than the rest is sent another way.
    assert_eq!(net.send(1, 1, &b).unwrap_err().code(), "limit_exceeded");
    let rest = net.route(&[3, 4], 200, 500);
    net.send(1, 1, &rest).unwrap();
    net.run();
    assert_eq!(net.send(1, 2, &rest).unwrap_err().code(), "limit_exceeded");
    let attempt = net.who(1).store.attempt.clone().unwrap();
    assert_eq!(attempt.progress().outstanding, 304 + 203);
    assert_eq!(
        (attempt.progress().missing, attempt.progress().room),
        (0, 13)
    );
    let later = net.log.terms(HASH, DEADLINE + 60_000);
    let refused = net.person(1).store.attempt.as_mut().unwrap().renew(later);
    assert_eq!(refused.unwrap_err().code(), "terms_refused");
    // A clock frees nothing; the proof that it was not published in time does.
    net.now = at(DEADLINE + 10);
    assert_eq!(net.send(1, 2, &rest).unwrap_err().code(), "limit_exceeded");
    net.log.tick(DEADLINE + 1);
    net.read_log();
    net.run();
    let progress = net.who(1).store.attempt.as_ref().unwrap().progress();
    assert_eq!((progress.outstanding, progress.missing), (0, 500));
}

#[test]
fn no_more_may_arrive_than_is_asked_for_however_much_there_is_room_for() {
    let mut net = two_ways();
    net.attempt(1, 500, 5_000);
    let (a, b) = (net.route(&[2, 4], 300, 500), net.route(&[3, 4], 201, 500));
    net.send(1, 0, &a).unwrap();
    assert_eq!(net.send(1, 1, &b).unwrap_err().code(), "limit_exceeded");
    let rest = net.route(&[3, 4], 200, 500);
    net.send(1, 1, &rest).unwrap();
}

#[test]
fn fees_have_a_bound_and_a_route_does_not_grow() {
    let mut net = two_ways();
    net.person(1).store.attempt = None;
    net.attempt(1, 500, 505);
    // 506 would be needed.
    let dear = net.route(&[2, 4], 500, 500);
    assert_eq!(net.send(1, 0, &dear).unwrap_err().code(), "limit_exceeded");
    let mut grows = net.route(&[2, 4], 400, 500);
    grows.stops[0].amount = amount(399);
    assert_eq!(net.send(1, 0, &grows).unwrap_err().code(), "layers_invalid");
    let mut elsewhere = net.route(&[2, 4], 400, 500);
    elsewhere.stops.clear();
    let mut pair = net.person(1).store.take(user(2)).unwrap();
    let before = pair.clone();
    let logs = net.log.known();
    let context = atomicity_ledger::hop::Context {
        now: net.now,
        logs: &logs,
        secrets: &[],
        entropy: [1; 32],
    };
    let device = net.who(1).device.clone();
    let mut attempt = net.who(1).store.attempt.clone().unwrap();
    for (route, code) in [
        (&elsewhere, "layers_invalid"),
        (&net.route(&[3, 4], 400, 500), "foreign_channel"),
    ] {
        let first = atomicity_ledger::hop::Neighbour {
            pair: &mut pair,
            pen: &device,
        };
        let refused = attempt.send(0, first, route, None, &context).unwrap_err();
        assert_eq!(refused.code(), code);
    }
    let first = atomicity_ledger::hop::Neighbour {
        pair: &mut pair,
        pen: &device,
    };
    let cheap = net.route(&[2, 4], 400, 500);
    let skipped = attempt.send(1, first, &cheap, None, &context);
    assert_eq!(skipped.unwrap_err().code(), "out_of_range");
    assert_eq!(pair, before);
    let most = Attempt::new(bread(), net.terms(), amount(500), amount(499));
    assert_eq!(most.unwrap_err().code(), "out_of_range");
}

#[test]
fn a_part_that_failed_goes_another_way() {
    let mut net = two_ways();
    net.person(2).policy.rules.clear();
    let a = net.route(&[2, 4], 500, 500);
    net.send(1, 0, &a).unwrap();
    net.run();
    let (hop, failure) = net.failure(1, 0);
    assert_eq!((hop, failure.edge), (Some(0), Some((user(2), user(4)))));
    let b = net.route(&[3, 4], 500, 500);
    net.send(1, 1, &b).unwrap();
    net.run();
    assert_eq!(wealth(&net), [-506, 0, 6, 500]);
}

#[test]
fn what_was_shown_to_a_log_is_never_given_up() {
    let mut net = two_ways();
    net.publishes = false;
    let a = net.route(&[2, 4], 500, 500);
    net.send(1, 0, &a).unwrap();
    net.run();
    assert_eq!(net.asked.len(), 1);
    net.now = at(DEADLINE - 1_000);
    let step = net.with_collection(3, |collection, pairs, context| {
        collection.give_back(pairs, true, context).unwrap()
    });
    assert!(step.unwrap().send.is_empty());
    // Asked again, it says the same again: publish.
    net.collect(3, &[]);
    assert_eq!(net.asked.len(), 2);
    assert_eq!(net.asked[0], net.asked[1]);
    // No log took it in time.
    net.now = at(DEADLINE + 10);
    net.log.tick(DEADLINE + 1);
    net.read_log();
    net.run();
    let collection = net.who(4).store.collection.as_ref().unwrap();
    assert_eq!(collection.stage(), &CollectionStage::Failed);
    assert_eq!(wealth(&net), [0; 4]);
    assert!(!net.log.holds(preimage(HASH)));
}
