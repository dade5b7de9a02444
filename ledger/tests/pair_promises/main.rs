//! Conditional IOUs between two users: due if published in time, free again if proven not to be, and never lost or counted twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod given_up;
mod logs;
mod refused;

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
