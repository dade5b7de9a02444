//! A payee who is away: the payer is shown the last hop's promise before they publish.

use atomicity_ledger::hop::{Expected, Shown};
use atomicity_ledger::onion::{Answer, Payload};
use atomicity_ledger::pair::LineTerms;
use atomicity_ledger::record::{Terms, Unattended};

use crate::common::log::preimage;
use crate::common::{amount, at, bread, total};
use crate::net::{DEADLINE, HASH, Net, user};
use crate::wealth;

/// 4 is away, and lets 3 promise meanwhile what its line says; 1 sends 500 and asks to see.
fn gift(change: impl Fn(&mut LineTerms)) -> Net {
    let mut net = Net::chain(4);
    let origin = net.log.term().origin;
    net.set_line(4, 3, true, |line| {
        line.accept = total(2_000);
        line.unattended = Some(Unattended {
            amount: amount(500),
            logs: vec![origin.clone()],
            until: at(DEADLINE),
        });
        change(line);
    });
    net.person(4).mute = true;
    net.attempt(1, 500, 520);
    let mut route = net.route(&[2, 3, 4], 500, 500);
    route.ask = true;
    route.payload = Payload::Gift {
        memo: Some("bread".parse().unwrap()),
    };
    net.send(1, 0, &route).unwrap();
    net.run();
    net
}

fn check(
    net: &Net,
    answer: &Answer,
    change: impl FnOnce(&mut Expected<'_>, &mut Terms),
) -> Result<Shown, String> {
    let unit = bread();
    let mut terms = net.who(1).store.attempt.as_ref().unwrap().terms().clone();
    let template = terms.clone();
    let mut expected = Expected {
        hop: user(3),
        payee: user(4),
        unit: &unit,
        amount: amount(500),
        terms: &template,
        now: net.now,
    };
    change(&mut expected, &mut terms);
    let expected = Expected {
        terms: &terms,
        ..expected
    };
    Shown::check(answer, &expected).map_err(|error| error.code().to_owned())
}

#[test]
fn the_payer_sees_the_promise_publishes_and_the_payee_finds_itself_paid() {
    let mut net = gift(|_| {});
    let (part, hop, answer) = net.who(1).shown[0].clone();
    assert_eq!((part, hop), (0, user(3)));
    let shown = check(&net, &answer, |_, _| {}).unwrap();
    assert_eq!(shown.iou.record().amount, amount(500));
    assert_eq!(shown.keys.len(), 2);
    net.log.publish(&[preimage(HASH)], 1_000);
    net.read_log_of(0);
    net.read_log_of(1);
    net.read_log_of(2);
    net.run();
    net.person(4).mute = false;
    net.sync();
    net.read_log();
    net.sync();
    assert_eq!(wealth(&net), [-513, 7, 6, 500]);
    net.check_zero_sum();
}

#[test]
fn what_is_shown_must_fit_in_everything() {
    let net = gift(|_| {});
    let answer = net.who(1).shown[0].2.clone();
    let refused = Err("terms_refused".to_owned());
    assert_eq!(check(&net, &answer, |e, _| e.amount = amount(501)), refused);
    assert_eq!(check(&net, &answer, |e, _| e.hop = user(2)), refused);
    assert_eq!(check(&net, &answer, |e, _| e.payee = user(2)), refused);
    assert_eq!(check(&net, &answer, |_, t| t.deadline_ms += 1), refused);
    assert_eq!(
        check(&net, &answer, |_, t| t.logs[0].from_size += 1),
        refused
    );
    // The delegations have expired by then.
    let late = check(&net, &answer, |e, _| e.now = at(2_000_000_000));
    assert!(late.is_err());
    // Each record is needed.
    for left_out in 0..answer.records().len() {
        let mut records = answer.records().to_vec();
        records.remove(left_out);
        let less = Answer::new(records).unwrap();
        assert!(check(&net, &less, |_, _| {}).is_err(), "record {left_out}");
    }
}

/// Whether 1 would publish if the allowance of 4 were changed like this.
fn allowed(change: impl Fn(&mut Unattended)) -> Result<(), String> {
    allowed_by(|line| {
        change(line.unattended.as_mut().unwrap());
    })
}

fn allowed_by(change: impl Fn(&mut LineTerms)) -> Result<(), String> {
    let net = gift(change);
    assert_eq!(wealth(&net), [0; 4]);
    let answer = net.who(1).shown[0].2.clone();
    check(&net, &answer, |_, _| {}).map(drop)
}

#[test]
fn without_an_allowance_that_fits_nothing_is_published() {
    let refused = Err("terms_refused".to_owned());
    assert_eq!(allowed(|_| {}), Ok(()));
    assert_eq!(allowed_by(|line| line.unattended = None), refused);
    assert_eq!(allowed(|allowance| allowance.amount = amount(499)), refused);
    assert_eq!(allowed(|allowance| allowance.logs.clear()), refused);
    assert_eq!(
        allowed(|allowance| allowance.until = at(DEADLINE - 1)),
        refused
    );
    // The line itself must outlast the deadline.
    assert_eq!(
        allowed_by(|line| line.expires = Some(at(DEADLINE + 1))),
        Ok(())
    );
    assert_eq!(
        allowed_by(|line| line.expires = Some(at(DEADLINE))),
        refused
    );
}

#[test]
fn no_more_than_four_answers_are_passed_on() {
    let mut net = gift(|_| {});
    assert_eq!(net.who(1).shown.len(), 1);
    // 3 sends its answer over and over.
    for _ in 0..6 {
        let peer = user(2);
        let iou = net.who(3).store.relays[0].incoming.iou;
        net.act(2, peer, iou);
        net.run();
    }
    assert_eq!(net.who(1).shown.len(), 4);
}
