//! What is not promised, and what is not taken.

use super::*;

#[test]
fn a_promise_that_does_not_fit_is_given_up_at_once_and_for_good() {
    let log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let iou = a.promise(400, log.terms(7, 60_000), &log.known()).unwrap();
    // Meanwhile the line was lowered.
    b.line(100);
    let (events, replies) = b.take_with(&iou.clone().into(), &log.known());
    let limit = ReleaseReason::Limit;
    assert!(
        matches!(&events[..], [Event::PromiseRefused { reason, .. }] if *reason == limit),
        "{events:?}"
    );
    // It comes again after the line was raised: it stays given up.
    b.line(1_000);
    let again = b.receive_with(&iou.clone().into(), &log.known());
    assert_eq!(again.unwrap(), Outcome::Duplicate);
    hand(&mut b, &mut a, replies);
    assert_eq!(a.standing(&iou), Some(Standing::Released));
    assert_eq!(a.can_pay(), 500);
}

#[test]
fn limits_count_what_is_undecided() {
    let log = TestLog::new(1);
    let (mut a, _, _) = promised(&log);
    let refused = a
        .promise(301, log.terms(8, 60_000), &log.known())
        .unwrap_err();
    assert_eq!(refused.code(), "limit_exceeded");
    assert!(refused.to_string().contains("promised 2.00"), "{refused}");
    assert_eq!(a.issue(301).unwrap_err().code(), "limit_exceeded");
    a.issue(300).unwrap();
    assert_eq!(a.can_pay(), 0);
}

#[test]
fn terms_that_can_not_be_relied_on_are_refused_by_both() {
    let log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let mut unknown = log.terms(7, 60_000);
    unknown.logs[0].origin = "elsewhere.example".parse().unwrap();
    let mut ahead = log.terms(7, 60_000);
    ahead.logs[0].from_size = log.size() + 1;
    let late = log.terms(7, 120_002);
    for terms in [unknown.clone(), ahead.clone(), late] {
        let refused = a.promise(1, terms, &log.known()).unwrap_err();
        assert_eq!(refused.code(), "terms_refused");
    }
    // An issuer who knows other logs promises it all the same.
    let mut elsewhere = KnownLogs::default();
    let known = log.known();
    let of_log = known.get(&log.term().origin).unwrap().clone();
    elsewhere.insert(unknown.logs[0].origin.clone(), of_log.clone());
    let iou = a.promise(1, unknown, &elsewhere).unwrap();
    let (events, _) = b.take_with(&iou.into(), &log.known());
    let refusal = ReleaseReason::Log;
    assert!(matches!(&events[..], [Event::PromiseRefused { reason, .. }] if *reason == refusal));
    // What begins beyond the size known here waits until the log was read.
    let mut further = KnownLogs::default();
    let mut read = of_log;
    read.newest_size += 1;
    further.insert(log.term().origin, read);
    let iou = AnyRecord::from(a.promise(2, ahead, &further).unwrap());
    assert_eq!(
        b.receive_with(&iou, &log.known()).unwrap(),
        Outcome::Pending(PendingReason::LogUnread)
    );
    b.take_with(&iou, &further);
}

#[test]
fn a_log_with_a_proven_fork_is_refused() {
    let log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let mut refused = KnownLogs::default();
    let mut known = log.known().get(&log.term().origin).unwrap().clone();
    known.refused = true;
    refused.insert(log.term().origin, known);
    let terms = log.terms(7, 60_000);
    let error = a.promise(1, terms.clone(), &refused).unwrap_err();
    assert_eq!(error.code(), "terms_refused");
    let iou = a.promise(1, terms, &log.known()).unwrap();
    let (_, replies) = b.take_with(&iou.clone().into(), &refused);
    hand(&mut b, &mut a, replies);
    assert_eq!(a.standing(&iou), Some(Standing::Released));
}

#[test]
fn two_promises_under_one_number_freeze_the_channel_and_the_first_stands() {
    let log = TestLog::new(1);
    let (mut a, mut b, iou) = promised(&log);
    let mut twin = iou.record().clone();
    twin.amount = amount(1);
    let twin = Signed::sign(twin, &a.device).unwrap();
    let (events, _) = b.take_with(&twin.into(), &log.known());
    assert!(matches!(&events[..], [Event::Frozen { .. }]));
    let frozen = b.pair.frozen(&bread()).unwrap();
    assert_eq!(frozen.records.len(), 2);
    assert_eq!(frozen.records[0], iou.jws());
    let next = a.promise(5, log.terms(8, 60_000), &log.known()).unwrap();
    let refused = b.receive_with(&next.into(), &log.known()).unwrap_err();
    assert_eq!(refused.code(), "channel_frozen");
    assert_eq!(b.standing(&iou), Some(Standing::Undecided));
}

#[test]
fn slots_are_counted_and_freed() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 5_000);
    let mut given = Vec::new();
    for n in 0..32 {
        let iou = a.promise(1, log.terms(n, 60_000), &log.known()).unwrap();
        b.take_with(&iou.clone().into(), &log.known());
        given.push(iou);
    }
    let full = a.promise(1, log.terms(99, 60_000), &log.known());
    assert_eq!(full.unwrap_err().code(), "no_slot");
    log.publish(&[preimage(0)], 1_000);
    let published = b.published(&given[0], &log, 0);
    hand(&mut b, &mut a, published.records);
    a.promise(1, log.terms(99, 60_000), &log.known()).unwrap();
    assert_eq!(a.claim(), -1);
}

#[test]
fn what_lessens_a_debt_can_be_promised_without_a_line() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 0);
    let owed = b.issue(200).unwrap();
    let (_, acks) = a.take(&owed.state.into());
    hand(&mut a, &mut b, acks);
    let more = a
        .promise(201, log.terms(7, 60_000), &log.known())
        .unwrap_err();
    assert_eq!(more.code(), "limit_exceeded");
    let iou = a.promise(200, log.terms(7, 60_000), &log.known()).unwrap();
    b.take_with(&iou.clone().into(), &log.known());
    log.publish(&[preimage(7)], 30_000);
    let published = b.published(&iou, &log, 7);
    hand(&mut b, &mut a, published.records);
    assert_eq!((a.balance(), b.balance()), (0, 0));
}
