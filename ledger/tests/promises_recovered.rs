//! What channel files must remember of promises, and what nobody who begins anew may forget or take twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use atomicity_ledger::pair::{KnownLogs, NewPromise, Outcome, Recovered, Standing};
use atomicity_ledger::record::{ConditionalIou, State, Terms};
use atomicity_ledger::{AnyRecord, Keypair, Signed};
use common::hostile::*;
use common::log::{TestLog, preimage};
use common::*;

type Iou = Signed<ConditionalIou>;

fn promise(party: &mut Party, minor: u64, terms: Terms, logs: &KnownLogs) -> Iou {
    let new = NewPromise {
        unit: bread(),
        amount: amount(minor),
        terms,
        onward: None,
    };
    let device = party.device.clone();
    party.pair.promise(new, None, logs, &device, at(1)).unwrap()
}

fn take(party: &mut Party, record: &AnyRecord, logs: &KnownLogs) {
    let device = party.device.clone();
    let outcome = party.pair.receive_with(record, logs, at(1), Some(&device));
    assert!(
        matches!(outcome, Ok(Outcome::Applied { .. })),
        "{outcome:?}"
    );
}

fn publish(party: &mut Party, iou: &Iou, log: &TestLog, n: u8) {
    let device = party.device.clone();
    let proof = Some(log.proof(preimage(n)));
    party
        .pair
        .publish(iou.hash(), preimage(n), proof, &device, at(2))
        .unwrap();
}

fn standing(party: &Party, iou: &Iou) -> Option<Standing> {
    let sides = [party.pair.own(), party.pair.theirs()];
    let units = sides.into_iter().filter_map(|side| side.unit(&bread()));
    let mut promises = units.flat_map(|unit| unit.promises());
    promises
        .find(|p| p.iou().hash() == iou.hash())
        .map(|p| p.standing())
}

fn claims(a: &Party, b: &Party) -> (i64, i64) {
    let claim = |party: &Party| party.pair.net_claim(&bread()).minor();
    (claim(a), claim(b))
}

fn begin_anew(party: &mut Party, peer: &mut Party, new: &Keypair, serial: u64, found: &Recovered) {
    let device = peer.device.clone();
    go_on(party, found, new, &device);
    know(peer, party, new, serial, 1000);
}

#[test]
fn a_clear_adds_nothing_to_a_claim_when_more_is_booked_than_what_is_closed() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 220);
    let iou = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    take(&mut b, &iou.clone().into(), &log.known());
    log.publish(&[preimage(7)], 30_000);
    publish(&mut b, &iou, &log, 7);
    assert_eq!(b.pair.net_claim(&bread()).minor(), 200);
    // The issuer books a part of it, or something that there never was, and still lists it as undecided.
    let next = iou.record().number.following();
    let booked = State {
        issued: total(70),
        merged: total(50),
        next,
        open: vec![iou.record().number],
        ..state_of(&a, 0, 1, 0)
    };
    b.take(&sign(booked.clone(), &a.device));
    assert_eq!(b.pair.net_claim(&bread()).minor(), 220);
    // What it closes later is covered by the whole growth.
    let closed = State {
        seq: seq(2),
        issued: total(220),
        merged: total(200),
        open: Vec::new(),
        ..booked
    };
    b.take(&sign(closed, &a.device));
    assert_eq!(b.pair.net_claim(&bread()).minor(), 220);
    assert_eq!(standing(&b, &iou), None);
}

#[test]
fn the_book_of_a_promise_is_kept_as_long_as_the_promise() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let iou = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    take(&mut b, &iou.clone().into(), &log.known());
    for n in 0..6 {
        let new = key(60 + n);
        hand_over(&mut a, &new, 2 + u64::from(n));
        know(&mut b, &a, &new, 2 + u64::from(n), 1_000_000);
        sync_often(&mut a, &mut b);
    }
    // The issuer loses everything; only the holder's file is left.
    let mine = decoded(&b.pair.file_records().held);
    let found = recover_with(&a, (mine, Vec::new()), &key(50), 9, 1000).unwrap();
    begin_anew(&mut a, &mut b, &key(50), 9, &found);
    sync_often(&mut a, &mut b);
    assert_eq!(standing(&a, &iou), Some(Standing::Undecided));
    log.publish(&[preimage(7)], 30_000);
    publish(&mut b, &iou, &log, 7);
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
}

/// The issuer begins anew and knows its second promise but not the first, which arrives before the new book does.
fn with_one_that_the_issuer_forgot(log: &TestLog) -> (Party, Party, [Iou; 2]) {
    let (mut a, mut b) = friends(300, 500);
    let first = promise(&mut a, 100, log.terms(7, 60_000), &log.known());
    let second = promise(&mut a, 50, log.terms(8, 60_000), &log.known());
    take(&mut b, &second.clone().into(), &log.known());
    let mine = decoded(&b.pair.file_records().held);
    let found = recover_with(&a, (mine, Vec::new()), &key(50), 2, 1000).unwrap();
    take(&mut b, &first.clone().into(), &log.known());
    begin_anew(&mut a, &mut b, &key(50), 2, &found);
    (a, b, [first, second])
}

#[test]
fn a_promise_that_its_issuer_forgot_is_taken_again_because_the_peer_held_it() {
    let mut log = TestLog::new(1);
    let (mut a, mut b, [first, second]) = with_one_that_the_issuer_forgot(&log);
    assert_eq!(standing(&a, &first), None);
    sync_often(&mut a, &mut b);
    assert_eq!(standing(&a, &first), Some(Standing::Undecided));
    log.publish(&[preimage(7), preimage(8)], 30_000);
    publish(&mut b, &first, &log, 7);
    publish(&mut b, &second, &log, 8);
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-150, 150));
}

#[test]
fn it_is_taken_again_too_if_the_ack_comes_before_it_is_shown() {
    let log = TestLog::new(1);
    let (mut a, mut b, [first, second]) = with_one_that_the_issuer_forgot(&log);
    let book = a.pair.own().book().unwrap().clone();
    for record in decoded(&b.pair.file_records().own) {
        if matches!(record, AnyRecord::Delegation(_) | AnyRecord::Book(_)) {
            a.take(&record);
        }
    }
    for ack in b.take(&book.into()).1 {
        a.take(&ack);
    }
    assert!(!a.pair.is_waiting());
    assert_eq!(standing(&a, &first), None);
    for iou in [&first, &second, &first] {
        a.pair.show_own(&iou.clone().into(), at(2)).unwrap();
    }
    assert_eq!(standing(&a, &first), Some(Standing::Undecided));
    // What the peer did not say it held binds nobody.
    let unheld = ConditionalIou {
        amount: amount(99),
        number: second.record().number.following(),
        ..first.record().clone()
    };
    let unheld = Signed::sign(unheld, &key(101)).unwrap();
    a.pair.show_own(&unheld.clone().into(), at(2)).unwrap();
    assert_eq!(standing(&a, &unheld), None);
    assert_eq!(a.pair.own().unit(&bread()).unwrap().undecided(), 150);
}

#[test]
fn whoever_showed_a_proof_has_taken_the_promise() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let stale = file_halves(&b);
    let iou = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    take(&mut b, &iou.clone().into(), &log.known());
    log.publish(&[preimage(7)], 30_000);
    publish(&mut b, &iou, &log, 7);
    // The issuer books it by the holder's proof; no ack of the holder's comes.
    for record in decoded(&b.pair.file_records().own) {
        let _ = a.receive(&record);
    }
    assert_eq!(a.balance(), -200);
    let (mut mine, mut held) = stale;
    let shown = a.pair.file_records();
    mine.extend(decoded(&shown.held));
    held.extend(Recovered::taken_before(&mine, &decoded(&shown.own)));
    let found = recover_with(&b, (mine, held), &key(51), 2, 1000).unwrap();
    begin_anew(&mut b, &mut a, &key(51), 2, &found);
    assert_eq!(standing(&b, &iou), Some(Standing::Due));
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
    assert_eq!(claims(&a, &b), (-200, 200));
}

#[test]
fn what_was_cleared_is_not_claimed_again_after_both_began_anew() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let iou = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    take(&mut b, &iou.clone().into(), &log.known());
    let stale = file_halves(&a);
    log.publish(&[preimage(7)], 30_000);
    publish(&mut b, &iou, &log, 7);
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
    // The issuer begins anew from a file in which the promise is undecided. The holder takes the book, then it loses its store too.
    let found = recover_with(&a, stale, &key(50), 2, 1000).unwrap();
    begin_anew(&mut a, &mut b, &key(50), 2, &found);
    b.take(&found.book.into());
    let found = recover_with(&b, file_halves(&b), &key(51), 2, 1000).unwrap();
    begin_anew(&mut b, &mut a, &key(51), 2, &found);
    know(&mut b, &a, &key(50), 2, 1000);
    let device = b.device.clone();
    let again = b
        .pair
        .receive_with(&iou.clone().into(), &log.known(), at(3), Some(&device));
    assert_eq!(again.unwrap_err().code(), "promise_cleared");
    sync_often(&mut a, &mut b);
    assert_eq!(claims(&a, &b), (-200, 200));
}

#[test]
fn what_a_shown_total_holds_is_not_booked_again() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let iou = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    take(&mut b, &iou.clone().into(), &log.known());
    let stale = file_halves(&a);
    log.publish(&[preimage(7)], 30_000);
    publish(&mut b, &iou, &log, 7);
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
    // The issuer begins anew from a file in which the promise is undecided; the peer shows the total afterwards.
    let found = recover_with(&a, stale, &key(50), 2, 1000).unwrap();
    begin_anew(&mut a, &mut b, &key(50), 2, &found);
    sync_often(&mut a, &mut b);
    assert!(!a.pair.is_waiting());
    let second = promise(&mut a, 50, log.terms(8, 60_000), &log.known());
    take(&mut b, &second.clone().into(), &log.known());
    b.take(&a.issue(10).unwrap().state.into());
    sync_often(&mut a, &mut b);
    // It finds the first promise's proof once more.
    let device = a.device.clone();
    let proof = Some(log.proof(preimage(7)));
    let _ = a
        .pair
        .publish(iou.hash(), preimage(7), proof, &device, at(2));
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-210, 210));
    log.publish(&[preimage(8)], 40_000);
    publish(&mut b, &second, &log, 8);
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-260, 260));
    assert_eq!(claims(&a, &b), (-260, 260));
}

#[test]
fn what_was_taken_on_the_word_of_a_later_book_is_still_there_after_a_recovery() {
    let log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let first = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    let book = hand_over(&mut a, &key(60), 2);
    know(&mut b, &a, &key(60), 2, 1_000_000);
    b.take(&book.into());
    // The book names the number; its key signs another promise under it, and the holder sees nothing else.
    let other = ConditionalIou {
        amount: amount(90),
        ..first.record().clone()
    };
    let other = Signed::sign(other, &key(60)).unwrap();
    take(&mut b, &other.clone().into(), &log.known());
    let found = recover_with(&b, file_halves(&b), &key(51), 2, 1000).unwrap();
    begin_anew(&mut b, &mut a, &key(51), 2, &found);
    assert_eq!(standing(&b, &other), Some(Standing::Undecided));
    // Who signed the same number twice is caught by it.
    let device = b.device.clone();
    let again = b
        .pair
        .receive_with(&first.into(), &log.known(), at(3), Some(&device));
    assert!(again.is_ok());
    assert!(b.pair.frozen(&bread()).is_some());
}

#[test]
fn a_recovery_still_shows_the_state_of_a_book_that_was_replaced() {
    let (mut a, mut b) = friends(300, 500);
    let stale = file_halves(&a);
    b.take(&rebook(&mut a).into());
    b.take(&a.issue(7).unwrap().state.into());
    // The root begins the same epoch anew, without a word of that; two books follow before the peer hears of any.
    let found = recover_with(&a, stale, &key(50), 2, 1000).unwrap();
    begin_anew(&mut a, &mut b, &key(50), 2, &found);
    for _ in 0..2 {
        let next = going_on(&key(50), 1000);
        a.pair.open_book(next, &key(50), at(2)).unwrap();
    }
    for record in decoded(&a.pair.file_records().own) {
        let _ = b.receive(&record);
    }
    // Before it has shown what it holds, the peer loses its store too.
    let found = recover_with(&b, file_halves(&b), &key(51), 2, 1000).unwrap();
    begin_anew(&mut b, &mut a, &key(51), 2, &found);
    know(&mut b, &a, &key(50), 2, 1000);
    sync_often(&mut a, &mut b);
    assert!(!a.pair.is_waiting() && !b.pair.is_waiting());
    assert_eq!((a.balance(), b.balance()), (-7, 7));
}

#[test]
fn what_may_have_come_before_a_loss_is_remembered_as_such() {
    let log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let mine = decoded(&a.pair.file_records().held);
    let found = recover_with(&b, (mine, Vec::new()), &key(50), 9, 1000).unwrap();
    begin_anew(&mut b, &mut a, &key(50), 9, &found);
    sync_often(&mut a, &mut b);
    let mut taken = |now: u64, deadline_ms: u64| {
        let new = NewPromise {
            unit: bread(),
            amount: amount(1),
            terms: log.terms(7, deadline_ms),
            onward: None,
        };
        let (device, holder) = (a.device.clone(), b.device.clone());
        let iou = a.pair.promise(new, None, &log.known(), &device, at(now));
        let iou = iou.unwrap();
        let record = iou.clone().into();
        let outcome = b
            .pair
            .receive_with(&record, &log.known(), at(now), Some(&holder));
        assert!(
            matches!(outcome, Ok(Outcome::Applied { .. })),
            "{outcome:?}"
        );
        b.pair.promise_held(iou.hash()).unwrap().is_found()
    };
    // It may have been taken at the last moment, until the latest deadline.
    assert!(taken(2, 100_000));
    assert!(taken(100_000, 180_000));
    assert!(!taken(100_000, 200_000));
}
