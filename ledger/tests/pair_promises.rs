//! Conditional IOUs between two users: due if published in time, free again if proven not to be, and never lost or counted twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use atomicity_ledger::jws::Version;
use atomicity_ledger::pair::{
    Event, Expiry, KnownLogs, NewPromise, Outcome, PendingReason, Published, Standing,
};
use atomicity_ledger::record::{
    AckItem, ConditionalIou, Publication, Release, ReleaseReason, State, Terms,
};
use atomicity_ledger::{AnyRecord, IouNumber, LedgerError, RecordHash, Signed, Total};
use common::log::{TestLog, preimage};
use common::{Party, amount, at, bread, friends, total};

type Iou = Signed<ConditionalIou>;

impl Party {
    fn promise(&mut self, minor: u64, terms: Terms, logs: &KnownLogs) -> Result<Iou, LedgerError> {
        let new = NewPromise {
            unit: bread(),
            amount: amount(minor),
            terms,
            onward: None,
        };
        let device = self.device.clone();
        self.pair.promise(new, None, logs, &device, at(1))
    }

    fn receive_with(
        &mut self,
        record: &AnyRecord,
        logs: &KnownLogs,
    ) -> Result<Outcome, LedgerError> {
        let device = self.device.clone();
        self.pair.receive_with(record, logs, at(1), Some(&device))
    }

    fn take_with(&mut self, record: &AnyRecord, logs: &KnownLogs) -> (Vec<Event>, Vec<AnyRecord>) {
        match self.receive_with(record, logs).unwrap() {
            Outcome::Applied { events, replies } => (events, replies),
            other => panic!("{} was not applied: {other:?}", record.typ()),
        }
    }

    fn published(&mut self, iou: &Iou, log: &TestLog, n: u8) -> Published {
        let device = self.device.clone();
        let proof = Some(log.proof(preimage(n)));
        let published = self
            .pair
            .publish(iou.hash(), preimage(n), proof, &device, at(2));
        published.unwrap()
    }

    fn expire(&mut self, iou: &Iou, proofs: &[Expiry]) -> Result<Published, LedgerError> {
        let device = self.device.clone();
        self.pair.expire(iou.hash(), proofs, &device, at(2))
    }

    fn release(&mut self, iou: &Iou) -> Result<Vec<AnyRecord>, LedgerError> {
        let device = self.device.clone();
        let reason = ReleaseReason::Declined;
        self.pair.release(iou.hash(), reason, None, &device, at(2))
    }

    /// What the peer owes, booked or not.
    fn claim(&self) -> i64 {
        self.pair.net_claim(&bread()).minor()
    }

    fn can_pay(&self) -> u64 {
        self.pair.limits(&bread(), None, at(1)).can_issue
    }

    fn can_get(&self) -> u64 {
        self.pair.limits(&bread(), None, at(1)).can_receive
    }

    fn standing(&self, iou: &Iou) -> Option<Standing> {
        let sides = [self.pair.own(), self.pair.theirs()];
        let mut promises = sides
            .into_iter()
            .filter_map(|side| side.unit(&bread()))
            .flat_map(|unit| unit.promises());
        promises
            .find(|p| p.iou().hash() == iou.hash())
            .map(|p| p.standing())
    }
}

/// `a` may owe `b` 500, and has promised 200 on a log.
fn promised(log: &TestLog) -> (Party, Party, Iou) {
    let (mut a, mut b) = friends(300, 500);
    let iou = a.promise(200, log.terms(7, 60_000), &log.known()).unwrap();
    let (events, replies) = b.take_with(&iou.clone().into(), &log.known());
    assert!(matches!(&events[..], [Event::Promised(_)]), "{events:?}");
    for reply in replies {
        a.take(&reply);
    }
    (a, b, iou)
}

/// Hands records over, and the replies to them, until nobody has anything to say.
fn hand(from: &mut Party, to: &mut Party, records: Vec<AnyRecord>) {
    let mut forth = records;
    for _ in 0..8 {
        let mut back = Vec::new();
        for record in forth.drain(..) {
            if let Outcome::Applied { replies, .. } = to.receive(&record).unwrap() {
                back.extend(replies);
            }
        }
        for record in back {
            if let Outcome::Applied { replies, .. } = from.receive(&record).unwrap() {
                forth.extend(replies);
            }
        }
        if forth.is_empty() {
            return;
        }
    }
    panic!("they never stop");
}

#[test]
fn a_promise_reserves_credit_on_both_sides_and_owes_nothing() {
    let log = TestLog::new(1);
    let (a, b, iou) = promised(&log);
    assert_eq!((a.balance(), b.balance()), (0, 0));
    assert_eq!((a.claim(), b.claim()), (0, 0));
    assert_eq!((a.can_pay(), b.can_get()), (300, 300));
    // The other direction gains nothing by what is undecided.
    assert_eq!((b.can_pay(), a.can_get()), (300, 300));
    assert_eq!(a.standing(&iou), Some(Standing::Undecided));
    assert_eq!(b.standing(&iou), Some(Standing::Undecided));
}

#[test]
fn what_is_published_in_time_is_booked_on_both_sides() {
    let mut log = TestLog::new(1);
    let (mut a, mut b, iou) = promised(&log);
    log.publish(&[preimage(7)], 30_000);
    let published = b.published(&iou, &log, 7);
    assert!(matches!(&published.events[..], [Event::Due { .. }]));
    // It is claimed before anything is booked, and the proof goes to the issuer.
    assert_eq!((b.balance(), b.claim()), (0, 200));
    hand(&mut b, &mut a, published.records);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
    assert_eq!((a.claim(), b.claim()), (-200, 200));
    assert_eq!((a.can_pay(), b.can_get()), (300, 300));
    // It was cleared: neither keeps anything of it.
    assert_eq!((a.standing(&iou), b.standing(&iou)), (None, None));
}

#[test]
fn a_proof_that_the_issuer_finds_first_is_booked_without_the_holder() {
    let mut log = TestLog::new(1);
    let (mut a, mut b, iou) = promised(&log);
    log.publish(&[preimage(7)], 30_000);
    let published = a.published(&iou, &log, 7);
    let states = published.records.clone();
    assert!(matches!(&states[..], [AnyRecord::State(_)]));
    hand(&mut a, &mut b, states);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
    // The holder learns of the proof afterwards: nothing is claimed twice.
    assert_eq!(b.standing(&iou), None);
    assert_eq!(b.claim(), 200);
}

#[test]
fn the_same_proof_again_books_nothing_twice() {
    let mut log = TestLog::new(1);
    let (mut a, mut b, iou) = promised(&log);
    log.publish(&[preimage(7)], 30_000);
    let published = b.published(&iou, &log, 7);
    let proof = published.records[0].clone();
    let (_, states) = a.take(&proof);
    assert_eq!(a.balance(), -200);
    assert_eq!(a.receive(&proof).unwrap(), Outcome::Duplicate);
    assert!(a.published(&iou, &log, 7).records.is_empty());
    assert_eq!(a.balance(), -200);
    for state in states {
        let (_, acks) = b.take(&state);
        assert_eq!(b.receive(&state).unwrap(), Outcome::Duplicate);
        for ack in acks {
            a.take(&ack);
        }
    }
    // After the clear a replay of the promise or its proof finds nothing to hold on to.
    let replayed = b.receive_with(&iou.clone().into(), &log.known());
    assert_eq!(replayed.unwrap_err().code(), "promise_cleared");
    assert_eq!(a.receive(&proof).unwrap(), Outcome::Stale);
    assert_eq!((a.claim(), b.claim()), (-200, 200));
}

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
fn a_merge_without_its_promise_waits_for_it() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let iou = a.promise(200, log.terms(7, 60_000), &log.known()).unwrap();
    log.publish(&[preimage(7)], 30_000);
    let published = a.published(&iou, &log, 7);
    let state = &published.records[0];
    assert_eq!(
        b.receive(state).unwrap(),
        Outcome::Pending(PendingReason::PromiseUnknown)
    );
    b.take_with(&iou.into(), &log.known());
    b.take(state);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
}

#[test]
fn payments_go_on_while_promises_are_undecided() {
    let mut log = TestLog::new(1);
    let (mut a, mut b, iou) = promised(&log);
    let paid = a.issue(100).unwrap();
    let (_, acks) = b.take(&paid.state.into());
    hand(&mut b, &mut a, acks);
    assert_eq!((a.balance(), a.can_pay(), b.can_get()), (-100, 200, 200));
    let back = b.issue(150).unwrap();
    let (_, acks) = a.take(&back.state.into());
    hand(&mut a, &mut b, acks);
    log.publish(&[preimage(7)], 30_000);
    let published = b.published(&iou, &log, 7);
    hand(&mut b, &mut a, published.records);
    assert_eq!((a.balance(), b.balance()), (-150, 150));
    assert_eq!((a.claim(), b.claim()), (-150, 150));
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
