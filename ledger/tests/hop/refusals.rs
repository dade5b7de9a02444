//! Each check of a hop and of the payee, and what the payer hears of it.

use atomicity_ledger::RecordId;
use atomicity_ledger::hop::{HopRule, Route};
use atomicity_ledger::onion::{Failure, FailureCode, Payload};

use crate::common::{amount, at, total};
use crate::net::{DEADLINE, HASH, Net, user};
use crate::{paying, wealth};

/// Pays over [2, 3, 4] in a changed world, and says who speaks and what they say.
fn refused(change: impl FnOnce(&mut Net, &mut Route)) -> (Option<u8>, Failure) {
    let mut net = Net::chain(4);
    net.invoice(4, 500);
    net.attempt(1, 500, 600);
    let mut route = net.route(&[2, 3, 4], 500, 500);
    change(&mut net, &mut route);
    net.send(1, 0, &route).unwrap();
    net.run();
    assert_eq!(wealth(&net), [0; 4]);
    // Whatever was refused reserves nothing, and may go another way.
    let attempt = net.who(1).store.attempt.as_ref().unwrap();
    let progress = attempt.progress();
    assert_eq!((progress.outstanding, progress.missing), (0, 500));
    for (a, b) in [(1, 2), (2, 3), (3, 4)] {
        let side = net.who(a).pair(b).own().unit(&crate::common::bread());
        assert_eq!(side.map_or(0, |s| s.undecided()), 0);
    }
    net.failure(1, 0)
}

fn edge(code: FailureCode, from: u8, to: u8) -> Failure {
    Failure::of_edge(code, user(from), user(to))
}

#[test]
fn every_check_of_a_hop_names_itself_and_the_edge() {
    use FailureCode::*;
    let rule = || HopRule::allow(None, None, total(1), 10_000).unwrap();
    let no_rule = refused(|net, _| net.person(3).policy.rules.clear());
    assert_eq!(no_rule, (Some(1), edge(EdgeUnavailable, 3, 4)));
    let forbidden = refused(|net, _| net.person(3).policy.rules[0].forward = false);
    assert_eq!(forbidden, (Some(1), edge(EdgeUnavailable, 3, 4)));
    let dearer = refused(|net, _| net.person(3).policy.rules[0].base = total(2));
    assert_eq!(dearer, (Some(1), edge(FeeTooLow, 3, 4)));
    let first = refused(|net, _| net.person(2).policy.rules[0].ppm = 20_000);
    assert_eq!(first, (Some(0), edge(FeeTooLow, 2, 3)));
    let small = refused(|net, _| net.person(3).policy.rules[0].min = amount(501));
    assert_eq!(small, (Some(1), edge(AmountTooLow, 3, 4)));
    let short = refused(|net, _| net.person(3).policy.min_left_ms = 60_000);
    assert_eq!(short, (Some(1), Failure::here(Deadline)));
    let count = refused(|net, _| net.person(3).policy.budget.undecided = 0);
    assert_eq!(count, (Some(1), edge(TooMany, 2, 3)));
    let sum = refused(|net, _| net.person(3).policy.budget.amount = total(505));
    assert_eq!(sum, (Some(1), edge(TooMany, 2, 3)));
    let fails = refused(|net, _| net.person(3).policy.budget.failed = 0);
    assert_eq!(fails, (Some(1), edge(TooMany, 2, 3)));
    let ceiling = refused(|net, _| {
        let cautious = HopRule {
            ceiling: Some(total(499)),
            ..rule()
        };
        net.person(3).policy.rules.insert(0, cautious);
    });
    assert_eq!(ceiling, (Some(1), edge(EdgeUnavailable, 3, 4)));
    // A rule for another friend changes nothing for this one.
    let other = refused(|net, _| {
        let other = HopRule {
            next: Some(user(9)),
            ..rule()
        };
        net.person(3).policy.rules = vec![other];
    });
    assert_eq!(other, (Some(1), edge(EdgeUnavailable, 3, 4)));
}

#[test]
fn every_limit_of_an_edge_is_said() {
    use FailureCode::*;
    let narrow = refused(|net, _| net.set_line(4, 3, true, |line| line.accept = total(499)));
    assert_eq!(narrow, (Some(1), edge(EdgeUnavailable, 3, 4)));
    let min = refused(|net, _| net.set_line(4, 3, true, |line| line.min_amount = amount(501)));
    assert_eq!(min, (Some(1), edge(AmountTooLow, 3, 4)));
    let slots = refused(|net, _| net.set_line(4, 3, true, |line| line.slots = 0));
    assert_eq!(slots, (Some(1), edge(Busy, 3, 4)));
    let long = refused(|net, _| net.set_line(4, 3, true, |line| line.max_deadline_s = 30));
    assert_eq!(long, (Some(1), edge(Deadline, 3, 4)));
    let logs = refused(|net, _| {
        let origin = net.log.term().origin;
        net.set_line(4, 3, true, |line| line.logs_refused = vec![origin.clone()]);
    });
    assert_eq!(logs, (Some(1), edge(Logs, 3, 4)));
}

#[test]
fn a_hop_promises_to_nobody_but_its_friends_and_not_back() {
    let stranger = refused(|net, route| {
        route.stops[2].key.user = user(9);
        net.person(4).store.collection = None;
    });
    assert_eq!(stranger, (Some(1), edge(FailureCode::UnknownNext, 3, 9)));
    let back = refused(|net, route| {
        let stop = route.stops[0].clone();
        route.stops[2].key = stop.key;
        net.person(4).store.collection = None;
    });
    assert_eq!(back, (Some(1), edge(FailureCode::UnknownNext, 3, 2)));
}

#[test]
fn what_a_neighbour_refuses_without_a_word_the_hop_before_says() {
    use FailureCode::*;
    // 4 takes less than it has told 3: it refuses by its line, and seals nothing.
    let limit = refused(|net, _| net.set_line(4, 3, false, |line| line.accept = total(10)));
    assert_eq!(limit, (Some(1), edge(EdgeUnavailable, 3, 4)));
    // The first stop itself: then its reason is all that the payer has.
    let first = refused(|net, _| net.set_line(2, 1, false, |line| line.accept = total(10)));
    assert_eq!(first, (None, edge(EdgeUnavailable, 1, 2)));
}

#[test]
fn layers_for_somebody_else_are_given_up_and_the_hop_before_speaks() {
    let wrong = refused(|net, route| {
        let mine = route.stops[0].key.clone();
        route.stops[2].key.key = mine.key;
        net.person(4).store.collection = None;
    });
    assert_eq!(wrong, (Some(1), edge(FailureCode::Declined, 3, 4)));
}

#[test]
fn every_check_of_the_payee_reaches_the_payer() {
    use FailureCode::*;
    let says = |code| (Some(2), Failure::here(code));
    let none = refused(|net, _| net.person(4).store.collection = None);
    assert_eq!(none, says(UnknownInvoice));
    let other = refused(|_, route| {
        route.payload = Payload::Deliver {
            invoice: RecordId::from_entropy([8; 16]),
            total: amount(500),
        };
    });
    assert_eq!(other, says(UnknownInvoice));
    let bill = |change: fn(&mut atomicity_ledger::hop::Bill)| {
        refused(|net, _| {
            let mut bill = net.bill(Some(500));
            change(&mut bill);
            let collection = atomicity_ledger::hop::Collection::new(bill);
            net.person(4).store.collection = Some(collection);
        })
    };
    assert_eq!(bill(|bill| bill.expires = at(1)), says(UnknownInvoice));
    assert_eq!(
        bill(|bill| bill.amount = Some(amount(501))),
        says(WrongAmount)
    );
    assert_eq!(
        bill(|bill| bill.unit = "MILK/2".parse().unwrap()),
        says(WrongAmount)
    );
    assert_eq!(bill(|bill| bill.logs.clear()), says(Logs));
    assert_eq!(bill(|bill| bill.min_left_ms = DEADLINE), says(Deadline));
    let other_hash = bill(|bill| bill.hash = crate::common::log::hash(HASH + 1));
    assert_eq!(other_hash, says(UnknownInvoice));
    let too_little = refused(|_, route| {
        route.payload = Payload::Deliver {
            invoice: RecordId::from_entropy([9; 16]),
            total: amount(499),
        };
    });
    assert_eq!(too_little, says(WrongAmount));
}

#[test]
fn an_invoice_is_paid_once() {
    let mut net = paying();
    net.run();
    // Somebody else pays the same invoice, its hash is public by now.
    net.person(1).store.attempt = None;
    net.attempt(1, 400, 500);
    let route = net.route(&[2, 3, 4], 400, 500);
    net.send(1, 0, &route).unwrap();
    net.run();
    let says = Failure::here(FailureCode::UnknownInvoice);
    assert_eq!(net.failure(1, 0), (Some(2), says));
    assert_eq!(wealth(&net), [-513, 7, 6, 500]);
}

#[test]
fn failures_use_up_the_budget_of_the_neighbour_before_until_the_window_is_over() {
    let mut net = Net::chain(4);
    net.attempt(1, 500, 600);
    net.person(3).policy.budget.failed = 2;
    let route = net.route(&[2, 3, 4], 500, 500);
    let mut codes = Vec::new();
    for number in 0..4 {
        if number == 3 {
            net.now = at(30_000);
            net.person(3).policy.budget.window_ms = 20_000;
        }
        net.send(1, number, &route).unwrap();
        net.run();
        codes.push(net.failure(1, number).1.code);
    }
    use FailureCode::*;
    assert_eq!(
        codes,
        [UnknownInvoice, UnknownInvoice, TooMany, UnknownInvoice]
    );
}
