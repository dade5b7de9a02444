//! Hops that lie about what they were told.

use atomicity_ledger::hop::{Context, Errand};
use atomicity_ledger::pair::NewPromise;
use atomicity_ledger::record::AnyRecord;

use crate::common::log::preimage;
use crate::common::{amount, at, bread};
use crate::net::{DEADLINE, HASH, Net, user};
use crate::{paying, wealth};

/// 2 takes what 1 promises, and promises 3 something else instead of what it is told.
fn lying(publishes: bool, change: impl FnOnce(&mut NewPromise)) -> Net {
    let mut net = paying();
    net.publishes = publishes;
    let (_, _, promise) = net.wire.pop_front().unwrap();
    let (logs, now) = (net.log.known(), net.now);
    let liar = net.person(2);
    let device = liar.device.clone();
    let mut pair = liar.store.take(user(1)).unwrap();
    pair.receive_with(&promise, &logs, now, Some(&device))
        .unwrap();
    let secrets = [liar.secret.clone()];
    let context = Context {
        now,
        logs: &logs,
        secrets: &secrets,
        entropy: [1; 32],
    };
    let errand = Errand::read(&pair, promise.hash(), &context)
        .unwrap()
        .unwrap();
    pair.mark_forwarded(promise.hash(), true).unwrap();
    liar.store.put(pair);
    let opened = atomicity_ledger::onion::open(
        errand.promise().onward.as_ref().unwrap(),
        &errand.promise().terms.hash,
        &user(2),
        &secrets,
    );
    let mut new = NewPromise {
        unit: bread(),
        amount: amount(506),
        terms: errand.promise().terms.clone(),
        onward: Some(opened.unwrap().rest),
    };
    change(&mut new);
    let mut pair = liar.store.take(user(3)).unwrap();
    let iou = pair.promise(new, None, &logs, &device, now).unwrap();
    liar.store.put(pair);
    net.wire.push_back((user(2), user(3), AnyRecord::from(iou)));
    net.run();
    net
}

/// How 3 gave up what 2 had promised.
fn given_up_by_3(net: &Net) -> bool {
    let side = net.who(2).pair(3).own().unit(&bread()).unwrap();
    let promise = &side.promises()[0];
    promise
        .release()
        .is_some_and(|r| r.record().failure.is_some())
}

#[test]
fn a_hop_that_keeps_more_than_its_fee_is_refused_by_the_next() {
    let net = lying(true, |new| new.amount = amount(505));
    assert!(given_up_by_3(&net));
    assert_eq!((wealth(&net), net.asked.len()), (vec![0; 4], 0));
}

#[test]
fn a_hop_that_changes_the_terms_stands_for_that_itself() {
    // A later deadline: everybody after it hangs on that, and 2 still on the one before. Here it comes in time for both.
    let mut net = lying(true, |new| new.terms.deadline_ms += 30_000);
    assert_eq!(net.asked.len(), 1);
    assert_eq!(wealth(&net), [0, -506, 6, 500]);
    net.read_log();
    net.run();
    assert_eq!(wealth(&net), [-513, 7, 6, 500]);
}

#[test]
fn a_hop_that_changes_the_terms_pays_what_comes_too_late_for_those_before() {
    let mut net = lying(false, |new| new.terms.deadline_ms += 30_000);
    net.log.publish(&[preimage(HASH)], DEADLINE + 1_000);
    net.now = at(DEADLINE + 2_000);
    for here in [3, 2] {
        net.read_log_of(here);
        net.run();
    }
    assert_eq!(wealth(&net), [0, -506, 6, 500]);
    net.check_zero_sum();
}

#[test]
fn layers_of_another_payment_are_not_passed_on() {
    let net = lying(true, |new| new.terms.hash = preimage(HASH + 1).hash());
    // 3 can't open them, so it has no key for a word to the payer either.
    let side = net.who(2).pair(3).own().unit(&bread()).unwrap();
    let release = side.promises()[0].release().unwrap().record().clone();
    assert_eq!(release.failure, None);
    assert_eq!(wealth(&net), [0; 4]);
}
