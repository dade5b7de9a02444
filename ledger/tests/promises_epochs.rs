//! Conditional IOUs across hand-overs, recoveries and thefts: what was promised stays promised, and a thief reaches the cap at most.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use atomicity_ledger::pair::{KnownLogs, NewPromise, Outcome, Standing};
use atomicity_ledger::record::{ConditionalIou, Publication, Terms};
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

/// The party finds the proof in the log and keeps it; it lies in its channel file from then on.
fn publish(party: &mut Party, iou: &Iou, log: &TestLog, n: u8) {
    let device = party.device.clone();
    let proof = Some(log.proof(preimage(n)));
    party
        .pair
        .publish(iou.hash(), preimage(n), proof, &device, at(2))
        .unwrap();
}

fn book_due(party: &mut Party) {
    let device = party.device.clone();
    party.pair.book_due(&device, at(2)).unwrap();
}

fn claims(a: &Party, b: &Party) -> (i64, i64) {
    (
        a.pair.net_claim(&bread()).minor(),
        b.pair.net_claim(&bread()).minor(),
    )
}

fn standing(party: &Party, iou: &Iou) -> Option<Standing> {
    let sides = [party.pair.own(), party.pair.theirs()];
    let mut promises = sides
        .into_iter()
        .filter_map(|side| side.unit(&bread()))
        .flat_map(|unit| unit.promises());
    promises
        .find(|p| p.iou().hash() == iou.hash())
        .map(|p| p.standing())
}

fn recovered(a: &mut Party, b: &mut Party, new: &Keypair, files: (Vec<AnyRecord>, Vec<AnyRecord>)) {
    let recovered = recover_with(a, files, new, 2, 1000).unwrap();
    go_on(a, &recovered, new, &b.device);
    know(b, a, new, 2, 1000);
    sync_often(a, b);
    assert!(!a.pair.is_waiting());
}

#[test]
fn a_new_device_books_what_the_old_one_promised() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let iou = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    take(&mut b, &iou.clone().into(), &log.known());
    let new = key(60);
    let book = hand_over(&mut a, &new, 2);
    know(&mut b, &a, &new, 2, 1_000_000);
    let carried = book.record().carried(&bread()).unwrap();
    assert_eq!(carried.open, vec![iou.record().number]);
    sync_often(&mut a, &mut b);
    log.publish(&[preimage(7)], 30_000);
    publish(&mut b, &iou, &log, 7);
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
    assert_eq!((standing(&a, &iou), standing(&b, &iou)), (None, None));
}

#[test]
fn a_promise_that_arrives_after_the_hand_over_counts_if_the_new_book_names_it() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let iou = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    let new = key(60);
    let book = hand_over(&mut a, &new, 2);
    know(&mut b, &a, &new, 2, 1_000_000);
    b.take(&book.into());
    take(&mut b, &iou.clone().into(), &log.known());
    // One of the old key that the new book does not name came too late.
    let mut unnamed = iou.record().clone();
    unnamed.number = iou.record().number.following();
    let unnamed = Signed::sign(unnamed, &key(101)).unwrap();
    let device = b.device.clone();
    let refused = b
        .pair
        .receive_with(&unnamed.into(), &log.known(), at(1), Some(&device));
    assert_eq!(refused.unwrap_err().code(), "epoch_ended");
    log.publish(&[preimage(7)], 30_000);
    publish(&mut b, &iou, &log, 7);
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
}

#[test]
fn a_recovered_issuer_still_owes_what_it_promised() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let iou = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    take(&mut b, &iou.clone().into(), &log.known());
    let files = file_halves(&a);
    recovered(&mut a, &mut b, &key(50), files);
    assert_eq!(standing(&a, &iou), Some(Standing::Undecided));
    log.publish(&[preimage(7)], 30_000);
    publish(&mut b, &iou, &log, 7);
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
}

#[test]
fn what_was_promised_after_the_backup_binds_because_the_peer_held_it() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let stale = file_halves(&a);
    let iou = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    take(&mut b, &iou.clone().into(), &log.known());
    recovered(&mut a, &mut b, &key(50), stale);
    assert_eq!(standing(&a, &iou), Some(Standing::Undecided));
    log.publish(&[preimage(7)], 30_000);
    publish(&mut b, &iou, &log, 7);
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
}

#[test]
fn a_recovered_holder_still_claims_what_was_published() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let iou = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    take(&mut b, &iou.clone().into(), &log.known());
    log.publish(&[preimage(7)], 30_000);
    publish(&mut b, &iou, &log, 7);
    let files = file_halves(&b);
    let recovery = recover_with(&b, files, &key(51), 2, 1000).unwrap();
    let a_device = a.device.clone();
    go_on(&mut b, &recovery, &key(51), &a_device);
    know(&mut a, &b, &key(51), 2, 1000);
    assert_eq!(claims(&a, &b), (0, 200));
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
}

#[test]
fn a_recovery_after_the_merge_books_nothing_twice() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let first = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    let second = promise(&mut a, 50, log.terms(8, 60_000), &log.known());
    take(&mut b, &first.clone().into(), &log.known());
    take(&mut b, &second.clone().into(), &log.known());
    log.publish(&[preimage(7)], 30_000);
    publish(&mut b, &first, &log, 7);
    // The issuer books it; the holder's ack and clear never arrive.
    for record in decoded(&b.pair.file_records().own) {
        let _ = a.receive(&record);
    }
    assert_eq!(a.balance(), -200);
    let files = file_halves(&a);
    recovered(&mut a, &mut b, &key(50), files);
    book_due(&mut a);
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
    assert_eq!(claims(&a, &b), (-200, 200));
    log.publish(&[preimage(8)], 40_000);
    publish(&mut b, &second, &log, 8);
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-250, 250));
    assert_eq!(claims(&a, &b), (-250, 250));
}

#[test]
fn a_thief_of_a_key_binds_by_promises_to_the_cap_at_most() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends_within(100, 300, 100_000);
    let stale = file_halves(&a);
    // The thief promises with the stolen key as if it had no cap, to a peer who plays along.
    let thief = a.device.clone();
    let template = promise(&mut a, 60, log.terms(7, 60_000), &log.known());
    let mut ious = vec![template.clone()];
    for n in 1..4u8 {
        let mut iou = template.record().clone();
        iou.number = ious[n as usize - 1].record().number.following();
        iou.terms.hash = preimage(7 + n).hash();
        ious.push(Signed::sign(iou, &thief).unwrap());
    }
    for iou in &ious {
        let device = b.device.clone();
        let _ = b
            .pair
            .receive_with(&iou.clone().into(), &log.known(), at(1), Some(&device));
    }
    recovered(&mut a, &mut b, &key(50), stale);
    log.publish(&[7, 8, 9, 10].map(preimage), 30_000);
    for (iou, n) in ious.iter().zip(7..) {
        if standing(&b, iou) == Some(Standing::Undecided) {
            publish(&mut b, iou, &log, n);
        }
    }
    sync_often(&mut a, &mut b);
    assert!(a.balance() >= -100, "a thief reached {}", a.balance());
    assert_eq!(a.balance(), -b.balance());
    assert_eq!(claims(&a, &b), (a.balance(), b.balance()));
}

#[test]
fn a_proof_counts_whoever_hands_it_over() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let iou = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    take(&mut b, &iou.clone().into(), &log.known());
    log.publish(&[preimage(7)], 30_000);
    let proof = Publication {
        v: atomicity_ledger::jws::Version,
        from: b.user(),
        to: a.user(),
        iou: iou.hash(),
        preimage: preimage(7),
        proof: Some(log.proof(preimage(7))),
        at: at(2),
    };
    // Even a key that nobody knows.
    let signed = Signed::sign(proof, &key(99)).unwrap();
    a.take(&signed.into());
    assert_eq!(a.balance(), -200);
}

#[test]
fn what_was_given_up_stays_so_under_a_fresh_key() {
    let log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let iou = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    take(&mut b, &iou.clone().into(), &log.known());
    let device = b.device.clone();
    let declined = atomicity_ledger::record::ReleaseReason::Declined;
    // The release never arrives; then the phone is lost.
    b.pair
        .release(iou.hash(), declined, None, &device, at(2))
        .unwrap();
    let files = file_halves(&b);
    let recovery = recover_with(&b, files, &key(51), 2, 1000).unwrap();
    let a_device = a.device.clone();
    go_on(&mut b, &recovery, &key(51), &a_device);
    know(&mut a, &b, &key(51), 2, 1000);
    sync_often(&mut a, &mut b);
    assert_eq!(standing(&b, &iou), Some(Standing::Released));
    assert_eq!(standing(&a, &iou), Some(Standing::Released));
    assert_eq!(claims(&a, &b), (0, 0));
}

#[test]
fn evidence_says_what_is_due_and_what_is_only_promised() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let due = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    let open = promise(&mut a, 50, log.terms(8, 60_000), &log.known());
    for iou in [&due, &open] {
        take(&mut b, &iou.clone().into(), &log.known());
    }
    assert_eq!(proven(&b), 0);
    log.publish(&[preimage(7)], 30_000);
    publish(&mut b, &due, &log, 7);
    let report = report_of(&b, &b.pair.evidence_records()).unwrap();
    assert_eq!(owed(&report), 200);
    let of_a = report.channels.iter().find(|c| c.from == a.user()).unwrap();
    assert_eq!(
        (of_a.issued.minor(), of_a.due, of_a.undecided),
        (0, 200, 50)
    );
    let words = report.sentences().join("\n");
    assert!(words.contains("Beyond that 2.00 BREAD is due"), "{words}");
    assert!(words.contains("0.50 BREAD more was promised"), "{words}");
    // Once it is booked it is not due a second time.
    sync_often(&mut a, &mut b);
    assert_eq!(proven(&b), 200);
    assert_eq!(proven(&a), 200);
}

#[test]
fn what_was_merged_before_a_recovery_does_not_hide_what_comes_due_after_it() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let first = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    take(&mut b, &first.clone().into(), &log.known());
    log.publish(&[preimage(7)], 30_000);
    publish(&mut b, &first, &log, 7);
    sync_often(&mut a, &mut b);
    assert_eq!(b.balance(), 200);
    // The holder starts anew from files in which nothing is left of the first promise.
    let files = file_halves(&b);
    let recovery = recover_with(&b, files, &key(51), 2, 1000).unwrap();
    let a_device = a.device.clone();
    go_on(&mut b, &recovery, &key(51), &a_device);
    know(&mut a, &b, &key(51), 2, 1000);
    sync_often(&mut a, &mut b);
    let second = promise(&mut a, 100, log.terms(8, 60_000), &log.known());
    take(&mut b, &second.clone().into(), &log.known());
    let limits = b.pair.limits(&bread(), None, at(1));
    assert_eq!(limits.promised_to_me, 100);
    log.publish(&[preimage(8)], 40_000);
    publish(&mut b, &second, &log, 8);
    assert_eq!(b.pair.net_claim(&bread()).minor(), 300);
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-300, 300));
}

#[test]
fn a_recovered_holder_gives_nothing_up_before_it_knows_the_logs_again() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let stale = file_halves(&b);
    let iou = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    take(&mut b, &iou.clone().into(), &log.known());
    let recovery = recover_with(&b, stale, &key(51), 2, 1000).unwrap();
    let a_device = a.device.clone();
    go_on(&mut b, &recovery, &key(51), &a_device);
    know(&mut a, &b, &key(51), 2, 1000);
    // It reads the issuer's file without knowing any log.
    sync_often(&mut a, &mut b);
    assert_eq!(standing(&a, &iou), Some(Standing::Undecided));
    take(&mut b, &iou.clone().into(), &log.known());
    log.publish(&[preimage(7)], 30_000);
    publish(&mut b, &iou, &log, 7);
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
}

#[test]
fn two_books_in_a_row_do_not_wipe_out_what_is_due() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let iou = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    take(&mut b, &iou.clone().into(), &log.known());
    log.publish(&[preimage(7)], 30_000);
    publish(&mut b, &iou, &log, 7);
    // The debtor's root opens a book without any cap, then one that knows of nothing.
    let thief = key(60);
    let mut first = book_of(&a, 1, &thief, 0, None);
    first.cap = Vec::new();
    b.take(&sign(first, &a.root));
    let mut second = book_of(&a, 2, &thief, 0, None);
    (second.cap, second.after) = (Vec::new(), Vec::new());
    b.take(&sign(second, &a.root));
    assert_eq!(b.pair.net_claim(&bread()).minor(), 200);
}

#[test]
fn what_was_cleared_does_not_come_back_with_an_old_file() {
    let mut log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let iou = promise(&mut a, 200, log.terms(7, 60_000), &log.known());
    take(&mut b, &iou.clone().into(), &log.known());
    let stale = file_halves(&a);
    log.publish(&[preimage(7)], 30_000);
    publish(&mut b, &iou, &log, 7);
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
    // The issuer starts anew from a file in which the promise is undecided, and what the holder's file says.
    let (mut mine, mut held) = stale;
    let shown = b.pair.file_records();
    mine.extend(decoded(&shown.held));
    held.extend(atomicity_ledger::pair::Recovered::taken_before(
        &mine,
        &decoded(&shown.own),
    ));
    recovered(&mut a, &mut b, &key(50), (mine, held));
    let device = b.device.clone();
    let again = b
        .pair
        .receive_with(&iou.clone().into(), &log.known(), at(1), Some(&device));
    assert!(again.is_err(), "{again:?}");
    assert_eq!(claims(&a, &b), (-200, 200));
    let second = promise(&mut a, 50, log.terms(8, 60_000), &log.known());
    take(&mut b, &second.clone().into(), &log.known());
    log.publish(&[preimage(8)], 40_000);
    publish(&mut b, &second, &log, 8);
    sync_often(&mut a, &mut b);
    assert_eq!((a.balance(), b.balance()), (-250, 250));
    assert_eq!(claims(&a, &b), (-250, 250));
}
