//! What is given up, and what can not be.

use super::*;

#[test]
fn what_was_promised_onward_is_not_given_up_before_it_comes_back() {
    let mut log = TestLog::new(1);
    let (mut a, mut b, iou) = promised(&log);
    b.pair.mark_forwarded(iou.hash(), true).unwrap();
    assert_eq!(b.release(&iou).unwrap_err().code(), "not_releasable");
    log.tick(60_001);
    let proof = log.expiry(&iou.record().terms);
    // Expired upstream as well: the credit is free, and the promise is still not given up.
    let expired = b.expire(&iou, std::slice::from_ref(&proof)).unwrap();
    assert!(expired.records.is_empty());
    a.expire(&iou, &[proof]).unwrap();
    let paid = a.issue(10).unwrap();
    let (_, replies) = b.take(&paid.state.into());
    let clears = |reply: &AnyRecord| match reply {
        AnyRecord::Ack(ack) => ack
            .record()
            .items
            .iter()
            .any(|item| matches!(item, AckItem::State(item) if item.clear)),
        _ => false,
    };
    // Everything else is cleared; this one the issuer still lists, and the holder still holds.
    assert!(replies.iter().any(clears));
    hand(&mut b, &mut a, replies);
    assert_eq!(b.standing(&iou), Some(Standing::Expired));
    b.pair.mark_forwarded(iou.hash(), false).unwrap();
    let released = b.release(&iou).unwrap();
    hand(&mut b, &mut a, released);
    let paid = a.issue(10).unwrap();
    hand(&mut a, &mut b, vec![paid.state.into()]);
    assert_eq!((a.standing(&iou), b.standing(&iou)), (None, None));
}

#[test]
fn a_direct_release_is_due_when_its_issuer_is_shown_the_preimage() {
    let (mut a, mut b) = friends(300, 500);
    let terms = Terms {
        hash: preimage(9).hash(),
        logs: vec![],
        deadline_ms: 0,
    };
    let none = KnownLogs::default();
    let iou = a.promise(100, terms.clone(), &none).unwrap();
    let twice = a.promise(100, terms, &none).unwrap_err();
    assert_eq!(twice.code(), "terms_refused");
    b.take(&iou.clone().into());
    assert_eq!(
        b.pair.mark_forwarded(iou.hash(), true).unwrap_err().code(),
        "not_releasable"
    );
    let device = b.device.clone();
    let wrong = b
        .pair
        .publish(iou.hash(), preimage(8), None, &device, at(2))
        .unwrap_err();
    assert_eq!(wrong.code(), "proof_invalid");
    let shown = b
        .pair
        .publish(iou.hash(), preimage(9), None, &device, at(2))
        .unwrap();
    hand(&mut b, &mut a, shown.records);
    assert_eq!((a.balance(), b.balance()), (-100, 100));
}

#[test]
fn a_release_of_another_promise_frees_nothing() {
    let log = TestLog::new(1);
    let (mut a, mut b, iou) = promised(&log);
    let second = a.promise(50, log.terms(8, 60_000), &log.known()).unwrap();
    b.take_with(&second.clone().into(), &log.known());
    let released = b.release(&second).unwrap();
    let AnyRecord::Release(release) = &released[0] else {
        panic!("no release")
    };
    let mut forged = release.record().clone();
    forged.iou = iou.hash();
    let forged = Signed::sign(forged, &b.device).unwrap();
    assert_eq!(
        a.receive(&forged.into()).unwrap_err().code(),
        "contradiction"
    );
    let stranger = Signed::sign(release.record().clone(), &common::key(77)).unwrap();
    // A key that nobody vouches for: it waits for a look-up that will not help it.
    assert!(matches!(
        a.receive(&stranger.into()).unwrap(),
        Outcome::Pending(PendingReason::RevocationUnknown { .. })
    ));
    a.take(&released[0]);
    assert_eq!(a.standing(&iou), Some(Standing::Undecided));
    assert_eq!(a.receive(&released[0]).unwrap(), Outcome::Duplicate);
    let unknown = Release {
        iou: RecordHash::of("nothing"),
        number: IouNumber::new(9).unwrap(),
        ..release.record().clone()
    };
    let unknown = Signed::sign(unknown, &b.device).unwrap();
    assert_eq!(a.receive(&unknown.into()).unwrap(), Outcome::Stale);
}

#[test]
fn what_is_booked_is_told_although_another_promise_held_the_clear_up() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let late = a.promise(100, log.terms(7, 30_000), &log.known()).unwrap();
    let paid = a.promise(50, log.terms(8, 60_000), &log.known()).unwrap();
    for iou in [&late, &paid] {
        b.take_with(&iou.clone().into(), &log.known());
    }
    log.publish(&[preimage(8)], 31_000);
    let expiry = log.expiry(&late.record().terms);
    a.expire(&late, std::slice::from_ref(&expiry)).unwrap();
    // The issuer has read all of the log, and books what is due.
    let booked = a.published(&paid, &log, 8);
    let mut told = Vec::new();
    for record in &booked.records {
        told.extend(b.take_with(record, &log.known()).0);
    }
    assert_eq!(b.balance(), 50);
    // The holder reads that one is over before it reads that the other is due.
    told.extend(b.expire(&late, &[expiry]).unwrap().events);
    if b.pair.promise_held(paid.hash()).is_some() {
        told.extend(b.published(&paid, &log, 8).events);
    }
    let is_told = told.iter().any(|event| match event {
        Event::Booked { iou } | Event::Due { iou, .. } => *iou == paid.hash(),
        _ => false,
    });
    assert!(is_told, "{told:?}");
}
