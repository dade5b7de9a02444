//! Evidence of pairs in trouble: whatever a debtor does afterwards, the creditor's bundle proves what the creditor's wallet says, and
//! who contradicted themselves is named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use atomicity_ledger::evidence::Report;
use atomicity_ledger::pair::Outcome;
use atomicity_ledger::record::{CreditLine, Delegation, Payment, Revocation, Scope};
use atomicity_ledger::{AnyRecord, Serial};
use common::hostile::*;
use common::*;

/// `a` owes `b` 2.00.
fn indebted() -> (Party, Party) {
    let (mut a, mut b) = friends(500, 300);
    let issued = a.issue(200).unwrap();
    let (_, replies) = b.take(&issued.state.into());
    a.take(&replies[0]);
    assert_eq!((b.balance(), proven(&b)), (200, 200));
    (a, b)
}

/// A later word of the root for the same key.
fn later_word(a: &Party, serial: u64, change: impl FnOnce(&mut Delegation)) -> AnyRecord {
    let mut word = a.delegation.record().clone();
    word.serial = Serial::new(serial).unwrap();
    change(&mut word);
    sign(word, &a.root)
}

// ── What the root says of the key afterwards ──

#[test]
fn a_later_delegation_without_limits_takes_nothing_back() {
    let (a, mut b) = indebted();
    b.take(&later_word(&a, 9, |word| word.limits.clear()));
    assert_eq!((b.balance(), proven(&b)), (200, 200));
}

#[test]
fn many_later_delegations_take_nothing_back() {
    let (a, mut b) = indebted();
    for serial in 9..30 {
        b.take(&later_word(&a, serial, |word| word.limits.clear()));
    }
    assert_eq!((b.balance(), proven(&b)), (200, 200));
}

#[test]
fn many_delegations_of_other_keys_take_nothing_back() {
    let (a, mut b) = indebted();
    for n in 150..200 {
        b.take(&delegation(&a.root, &key(n), 1000, 1).into());
    }
    assert_eq!((b.balance(), proven(&b)), (200, 200));
}

#[test]
fn a_later_delegation_for_other_peers_takes_nothing_back() {
    let (a, mut b) = indebted();
    b.take(&later_word(&a, 9, |word| {
        word.peers = Some(vec![key(77).user_key()]);
    }));
    assert_eq!((b.balance(), proven(&b)), (200, 200));
}

#[test]
fn a_revocation_takes_nothing_back() {
    let (a, mut b) = indebted();
    let revocation = Revocation {
        at: at(3),
        ..revocation(&a.root, &a.device).record().clone()
    };
    b.take(&sign(revocation, &a.root));
    assert_eq!((b.balance(), proven(&b)), (200, 200));
}

#[test]
fn many_grants_do_not_push_out_the_one_that_a_book_was_taken_under() {
    let (mut a, mut b) = (Party::new(1, 2, 1000), Party::new(2, 1, 1000));
    let word = book_grant(&a.root, &a.device);
    b.pair.learn_authority(&word, at(0)).unwrap();
    b.pair.authority_checked(a.device.signer_key(), at(0));
    b.pair
        .learn_own_authority(b.delegation.jws(), at(0))
        .unwrap();
    b.open_book(1000);
    let book = AnyRecord::from(a.open_book(1000));
    b.take(&book);
    b.line(500);
    b.take(&sign(state_of(&a, 0, 1, 400), &a.device));
    for n in 0..40 {
        let mut other = claims(&a.root, &key(150), "/pub/x:w".into(), 10);
        other.iat -= n;
        let other = grant(&a.root, &other);
        b.pair.learn_authority(&other, at(1)).unwrap();
    }
    assert_eq!((b.balance(), proven(&b)), (400, 400));
}

#[test]
fn what_a_debtor_owes_is_recovered_whatever_the_root_said_of_the_key_afterwards() {
    let (a, mut b) = indebted();
    for serial in 9..15 {
        b.take(&later_word(&a, serial, |word| {
            word.scopes = vec![Scope::Request];
        }));
    }
    let file = b.pair.file_records();
    let found = (decoded(&file.own), decoded(&file.held));
    let recovered = recover_with(&b, found, &key(60), 2, 1000).unwrap();
    assert_eq!(recovered.pair.balance(&bread()).minor(), 200);
}

// ── Books ──

#[test]
fn a_root_book_that_was_never_sent_takes_nothing_back() {
    let (a, b) = indebted();
    let mut records = a.pair.evidence_records();
    let book = sign(book_of(&a, 1, &key(50), 1000, None), &a.root);
    records.push(book.jws().to_owned());
    let report = report_of(&a, &records).unwrap();
    assert_eq!(owed(&report), 200, "{:#?}", report.sentences());
    assert_eq!(report.net[0].creditor, b.user());
}

#[test]
fn the_report_says_that_a_book_is_not_acknowledged() {
    let (a, _) = indebted();
    let mut records = a.pair.evidence_records();
    let book = sign(book_of(&a, 1, &key(50), 1000, None), &a.root);
    records.push(book.jws().to_owned());
    let words = report_of(&a, &records).unwrap().sentences().join("\n");
    assert!(words.contains("epoch 1"), "{words}");
    assert!(words.contains("not acknowledged"), "{words}");
}

#[test]
fn an_empty_root_book_after_a_book_of_the_device_takes_nothing_back() {
    let (mut a, mut b) = indebted();
    b.take(&rebook(&mut a).into());
    b.take(&sign(book_of(&a, 2, &key(50), 1000, None), &a.root));
    assert_eq!((b.balance(), proven(&b)), (200, 200));
}

#[test]
fn an_empty_root_book_after_two_books_of_the_device_takes_nothing_back() {
    let (mut a, mut b) = indebted();
    b.take(&rebook(&mut a).into());
    b.take(&rebook(&mut a).into());
    // No state of the first epoch is left: what backs the total is the second book alone.
    b.take(&sign(book_of(&a, 3, &key(50), 1000, None), &a.root));
    assert_eq!((b.balance(), proven(&b)), (200, 200));
}

#[test]
fn one_empty_root_book_after_another_takes_nothing_back() {
    let (a, mut b) = indebted();
    for opens in 1..8 {
        let mut book = book_of(&a, opens, &key(50), 1000, None);
        book.at = at(opens);
        b.take(&sign(book, &a.root));
        assert_eq!((b.balance(), proven(&b)), (200, 200), "epoch {opens}");
    }
}

#[test]
fn what_a_thief_says_was_carried_over_is_proven_up_to_the_cap() {
    let (mut a, b) = friends_within(1000, 500, 300);
    let mut records = a.pair.evidence_records();
    let book = book_of(&a, 1, &a.device, 1000, Some(900_000_000));
    records.push(sign(book, &a.device).jws().to_owned());
    assert_eq!(owed(&report_of(&a, &records).unwrap()), 1000);
    // What was known before stays, and what the root says is not bound.
    let issued = a.issue(200).unwrap();
    records.push(issued.state.jws().to_owned());
    let book = book_of(&a, 2, &a.device, 1000, Some(5000));
    records.push(sign(book, &a.root).jws().to_owned());
    let report = report_of(&a, &records).unwrap();
    assert_eq!((owed(&report), report.net[0].creditor), (5000, b.user()));
}

#[test]
fn what_a_recovery_found_is_proven_by_both() {
    let (mut a, mut b) = indebted();
    let found = file_halves(&a);
    let recovered = recover_with(&a, found, &key(50), 2, 1000).unwrap();
    go_on(&mut a, &recovered, &key(50), &b.device);
    know(&mut b, &a, &key(50), 2, 1000);
    sync_often(&mut a, &mut b);
    let issued = a.issue(30).unwrap();
    b.take(&issued.state.into());
    assert_eq!((a.balance(), b.balance()), (-230, 230));
    assert_eq!((proven(&a), proven(&b)), (230, 230));
}

// ── Junk ──

#[test]
fn payments_of_the_debtor_do_not_make_the_export_fail() {
    let (mut a, mut b) = friends(500, 300);
    let issued = a.issue(200).unwrap();
    b.take(&issued.state.into());
    let payment = issued.payment.record().clone();
    for unit in 0..32 {
        for n in 0..16 {
            let junk = Payment {
                unit: format!("U{unit}").parse().unwrap(),
                seq: seq(n + 1),
                ..payment.clone()
            };
            let outcome = b.receive(&sign(junk, &a.device)).unwrap();
            assert!(matches!(outcome, Outcome::Pending(_)));
        }
    }
    assert_eq!(proven(&b), 200);
}

#[test]
fn nothing_that_a_debtor_sends_makes_the_export_fail() {
    let (mut a, mut b) = friends(500, 300);
    let issued = a.issue(200).unwrap();
    b.take(&issued.state.into());
    for n in 0..63 {
        let line = CreditLine {
            unit: format!("U{n}").parse().unwrap(),
            ..line_of(&a)
        };
        b.take(&sign(line.clone(), &a.device));
        let twice = CreditLine {
            accept: total(1),
            ..line
        };
        b.take(&sign(twice, &a.device));
    }
    for serial in 9..40 {
        b.take(&later_word(&a, serial, |_| {}));
    }
    for n in 0..40 {
        let cap = format!("/pub/atomicity/v0/book/{}:w", a.device.signer_key());
        let mut claims = claims(&a.root, &a.device, cap, 10 + n);
        claims.client_id = "x".repeat(35_000);
        let word = grant(&a.root, &claims);
        b.pair.learn_authority(&word, at(1)).unwrap();
    }
    for n in 0..300u64 {
        let mut revocation = revocation(&a.root, &a.device).record().clone();
        let mut id = [7; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        revocation.grant = Some(atomicity_ledger::RecordId::from_entropy(id));
        b.take(&sign(revocation, &a.root));
    }
    let records = b.pair.evidence_records();
    assert!(records.len() <= 400, "{} records", records.len());
    assert_eq!(proven(&b), 200);
    let file = b.pair.file_records();
    let all = file.own.iter().chain(&file.held);
    let file = atomicity_ledger::channel_file::ChannelFile::collect(b.user(), a.user(), all);
    file.and_then(|file| file.encode()).unwrap();
}

// ── Contradictions ──

fn contradictions_of(party: &Party) -> Report {
    let report = report_of(party, &party.pair.evidence_records()).unwrap();
    for contradiction in &report.contradictions {
        assert_eq!(contradiction.user, party.pair.peer());
    }
    report
}

/// Whether both records of the contradiction are the ones that froze the pair.
fn names_both(party: &Party, report: &Report, frozen: &[String]) -> bool {
    let records = party.pair.evidence_records();
    report.contradictions.iter().any(|c| {
        let (first, second) = c.indexes;
        let both = [&records[first - 1], &records[second - 1]];
        frozen.iter().all(|record| both.contains(&record))
    })
}

#[test]
fn two_states_with_one_number_are_reported_with_both() {
    let (a, mut b) = friends(500, 300);
    b.take(&sign(state_of(&a, 0, 1, 100), &a.device));
    b.take(&sign(state_of(&a, 0, 1, 150), &a.device));
    let report = contradictions_of(&b);
    let frozen = b.pair.frozen(&bread()).unwrap();
    assert!(names_both(&b, &report, &frozen.records));
    assert_eq!((b.balance(), owed(&report)), (100, 100));
}

#[test]
fn a_state_above_a_later_one_is_reported_with_both() {
    let (a, mut b) = friends(500, 300);
    b.take(&sign(state_of(&a, 0, 2, 100), &a.device));
    b.take(&sign(state_of(&a, 0, 1, 250), &a.device));
    let report = contradictions_of(&b);
    let frozen = b.pair.frozen(&bread()).unwrap();
    assert!(names_both(&b, &report, &frozen.records));
}

#[test]
fn two_lines_with_one_number_are_reported_with_both() {
    let (a, mut b) = friends(500, 300);
    let second = CreditLine {
        accept: total(1),
        ..line_of(&a)
    };
    b.take(&sign(second, &a.device));
    let report = contradictions_of(&b);
    let frozen = b.pair.frozen(&bread()).unwrap();
    assert!(names_both(&b, &report, &frozen.records));
}

#[test]
fn a_contradiction_is_reported_after_a_new_book_has_ended_it() {
    let (mut a, mut b) = friends(500, 300);
    b.take(&sign(state_of(&a, 0, 1, 100), &a.device));
    let second = sign(state_of(&a, 0, 1, 150), &a.device);
    b.take(&second);
    b.take(&rebook(&mut a).into());
    assert!(b.pair.frozen(&bread()).is_none());
    let side = b.pair.theirs().unit(&bread()).unwrap();
    let frozen = side.past_frozen().unwrap().clone();
    assert!(frozen.records.contains(&second.jws().to_owned()));
    let report = contradictions_of(&b);
    assert!(names_both(&b, &report, &frozen.records));
    assert_eq!((b.balance(), owed(&report)), (100, 100));
}
