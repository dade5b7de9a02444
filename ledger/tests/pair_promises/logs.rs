//! What the logs decide, and what they leave open.

use super::*;

#[test]
fn what_was_not_published_in_time_is_free_again_by_proof_on_both_sides() {
    let mut log = TestLog::new(1);
    let (mut a, mut b, iou) = promised(&log);
    let terms = iou.record().terms.clone();
    log.tick(60_000);
    log.publish(&[preimage(7)], 60_001);
    let proof = log.expiry(&terms);
    let expired = a.expire(&iou, std::slice::from_ref(&proof)).unwrap();
    assert!(expired.records.is_empty());
    assert_eq!((a.can_pay(), b.can_get()), (500, 300));
    let expired = b.expire(&iou, std::slice::from_ref(&proof)).unwrap();
    assert!(matches!(&expired.records[..], [AnyRecord::Release(_)]));
    assert_eq!(b.can_get(), 500);
    hand(&mut b, &mut a, expired.records);
    assert_eq!(a.standing(&iou), Some(Standing::Released));
    assert_eq!((a.claim(), b.claim()), (0, 0));
    // A late leaf proves nothing.
    let late = Signed::sign(
        Publication {
            v: Version,
            from: b.user(),
            to: a.user(),
            iou: iou.hash(),
            preimage: preimage(7),
            proof: Some(log.proof(preimage(7))),
            at: at(2),
        },
        &b.device,
    );
    assert_eq!(a.receive(&late.unwrap().into()).unwrap(), Outcome::Stale);
    assert_eq!((a.balance(), b.balance()), (0, 0));
}

#[test]
fn no_credit_is_freed_by_a_clock_or_by_half_a_proof() {
    let mut log = TestLog::new(1);
    let (mut a, mut b, iou) = promised(&log);
    let terms = iou.record().terms.clone();
    log.tick(60_000);
    let other = TestLog::new(2);
    let mut elsewhere = other.clone();
    elsewhere.tick(60_001);
    let foreign = Expiry {
        policy: elsewhere.expiry(&other.terms(7, 60_000)).policy,
        proof: elsewhere.expiry(&other.terms(7, 60_000)).proof,
    };
    log.tick(60_001);
    let mut cut = log.expiry(&terms);
    cut.proof.pop();
    for bad in [vec![], vec![foreign], vec![cut]] {
        let refused = b.expire(&iou, &bad).unwrap_err();
        assert_eq!(refused.code(), "proof_invalid");
        assert_eq!(a.expire(&iou, &bad).unwrap_err().code(), "proof_invalid");
    }
    assert_eq!((a.can_pay(), b.can_get()), (300, 300));
}

#[test]
fn a_publication_after_a_proof_of_expiry_still_counts() {
    // A log that shows two histories: one without the preimage, one with it.
    let mut honest = TestLog::new(1);
    let (mut a, mut b, iou) = promised(&honest);
    let mut fork = honest.clone();
    honest.tick(60_001);
    fork.publish(&[preimage(7)], 50_000);
    fork.tick(60_001);
    a.expire(&iou, &[honest.expiry(&iou.record().terms)])
        .unwrap();
    let published = b.published(&iou, &fork, 7);
    hand(&mut b, &mut a, published.records);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
}

#[test]
fn a_dead_log_ends_the_window_by_tombstones() {
    let mut log = TestLog::new(1);
    let (mut a, mut b, iou) = promised(&log);
    log.tick(10_000);
    let proof = log.tombstoned(&iou.record().terms);
    a.expire(&iou, std::slice::from_ref(&proof)).unwrap();
    let expired = b.expire(&iou, &[proof]).unwrap();
    hand(&mut b, &mut a, expired.records);
    assert_eq!((a.can_pay(), b.can_get()), (500, 500));
}

#[test]
fn expired_needs_every_log_and_published_any() {
    let (mut first, mut second) = (TestLog::new(1), TestLog::new(2));
    let mut logs = first.known();
    second.add_to(&mut logs);
    let (mut a, mut b) = friends(300, 500);
    let mut terms = first.terms(7, 60_000);
    terms.logs.push(second.term());
    let iou = a.promise(200, terms.clone(), &logs).unwrap();
    b.take_with(&iou.clone().into(), &logs);
    first.tick(60_001);
    let one = first.expiry(&terms);
    let refused = b.expire(&iou, &[one.clone(), one.clone()]).unwrap_err();
    assert_eq!(refused.code(), "proof_invalid");
    second.publish(&[preimage(7)], 1_000);
    second.tick(60_001);
    let published = b.published(&iou, &second, 7);
    hand(&mut b, &mut a, published.records);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
}

#[test]
fn a_state_that_leaves_out_what_was_published_costs_the_holder_nothing() {
    let mut log = TestLog::new(1);
    let (a, mut b, iou) = promised(&log);
    log.publish(&[preimage(7)], 30_000);
    let published = b.published(&iou, &log, 7);
    // The issuer's next state says that the promise is decided, and books nothing.
    let lie = Signed::sign(
        State {
            v: Version,
            from: a.user(),
            to: b.user(),
            unit: bread(),
            epoch: iou.record().epoch,
            seq: atomicity_ledger::Seq::new(1).unwrap(),
            issued: total(50),
            merged: Total::ZERO,
            returned: Total::ZERO,
            next: iou.record().number.following(),
            open: vec![],
            at: at(2),
        },
        &a.device,
    );
    let (_, replies) = b.take(&lie.unwrap().into());
    let cleared = replies.iter().any(|reply| match reply {
        AnyRecord::Ack(ack) => ack
            .record()
            .items
            .iter()
            .any(|item| matches!(item, AckItem::State(item) if item.clear)),
        _ => false,
    });
    assert!(!cleared, "the claim would be given up");
    assert_eq!((b.balance(), b.claim()), (50, 250));
    // The proof is still worth its amount.
    assert_eq!(published.records[0].typ(), "atomicity-publication");
    assert_eq!(b.standing(&iou), Some(Standing::Due));
}

#[test]
fn what_the_total_does_not_hold_is_owed_and_not_yet_booked() {
    let mut log = TestLog::new(1);
    let (_, mut b, iou) = promised(&log);
    log.publish(&[preimage(7)], 30_000);
    b.published(&iou, &log, 7);
    let limits = b.pair.limits(&bread(), None, at(3));
    assert_eq!((limits.due_to_me, limits.promised_to_me), (200, 0));
    // Net of it the holder can pay more, and the issuer less.
    assert_eq!((limits.can_issue, limits.can_receive), (500, 300));
}
