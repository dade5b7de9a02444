//! Thieves and liars: whoever holds a stolen book key, or is the peer, can't take a balance beyond what its owner allowed, can't
//! forge a user's word, and can't make others say what did not happen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use atomicity_ledger::authority::{Credentials, GrantClaims, Purpose, revoke_path};
use atomicity_ledger::channel_file::ChannelFile;
use atomicity_ledger::jws::Version;
use atomicity_ledger::pair::{Outcome, PendingReason};
use atomicity_ledger::record::{Ack, AckItem, CreditLine, Payment, Refusal, StateAck};
use atomicity_ledger::{AnyRecord, RecordHash, Serial, Signed, Total};
use common::hostile::*;
use common::*;

// ── Beyond the line and the cap ──

#[test]
fn what_claims_to_be_merged_is_bound_by_the_line_too() {
    let (a, mut b) = friends(0, 300);
    let mut state = state_of(&a, 0, 1, 900_000_000);
    state.merged = total(900_000_000);
    let outcome = b.receive(&sign(state, &a.device));
    assert!(b.balance() <= 300, "balance {} {outcome:?}", b.balance());
}

#[test]
fn acks_held_back_are_no_credit() {
    let (a, mut b) = friends(300, 300);
    // The ack never comes, and each growth claims to give it back.
    b.issue(300).unwrap();
    for n in 1..=20 {
        let _ = b.receive(&sign(state_of(&a, 0, n, 300 + 300 * n), &a.device));
    }
    assert!(b.balance() <= 300, "line 300, balance {}", b.balance());
}

#[test]
fn what_claims_to_be_given_back_is_no_credit_beyond_what_was_paid() {
    let (a, mut b) = friends(300, 300);
    b.issue(300).unwrap();
    for n in 1..=20 {
        let mut state = state_of(&a, 0, n, 300 + 300 * n);
        state.returned = state.issued;
        let _ = b.receive(&sign(state, &a.device));
    }
    assert!(b.balance() <= 300, "line 300, balance {}", b.balance());
}

#[test]
fn what_a_book_carries_over_is_bound_by_the_line_even_if_the_root_signs() {
    let (a, mut b) = friends(0, 300);
    let _ = b.receive(&sign(
        book_of(&a, 1, &a.device, 1_000_000, Some(5000)),
        &a.root,
    ));
    assert!(b.balance() <= 300, "{}", b.balance());
}

#[test]
fn a_delegation_with_a_lower_limit_lowers_the_cap_at_once() {
    let (a, mut b) = friends(500, 300);
    let mut word = a.delegation.record().clone();
    word.serial = Serial::new(9).unwrap();
    word.limits[0].per_peer = total(50);
    b.take(&sign(word, &a.root));
    let _ = b.receive(&sign(state_of(&a, 0, 1, 300), &a.device));
    assert!(b.balance() <= 50, "{}", b.balance());
}

// ── Books against books ──

#[test]
fn of_two_root_books_of_one_epoch_the_later_stands_and_a_replay_of_the_older_is_refused() {
    let (a, mut b) = friends(500, 300);
    let (first, second) = (key(50), key(51));
    know(&mut b, &a, &first, 2, 1000);
    know(&mut b, &a, &second, 3, 1000);
    let older = sign(book_of(&a, 1, &first, 1000, None), &a.root);
    let mut later = book_of(&a, 1, &second, 1000, None);
    later.at = at(1);
    b.take(&older);
    b.take(&sign(later, &a.root));
    let outcome = b.receive(&older);
    let in_force = b.pair.theirs().book().unwrap().record().key;
    assert_eq!(
        in_force,
        second.signer_key(),
        "replay took effect {outcome:?}"
    );
}

#[test]
fn a_stolen_device_does_not_beat_the_roots_book() {
    let (a, mut b) = friends(500, 300);
    // Its delegation is not yet known to the peer, or has ended.
    let fresh = key(50);
    b.take(&sign(book_of(&a, 1, &fresh, 1000, None), &a.root));
    let outcome = b.receive(&sign(book_of(&a, 1, &a.device, 1_000_000, None), &a.device));
    let in_force = b.pair.theirs().book().unwrap().record().key;
    assert_eq!(in_force, fresh.signer_key(), "{outcome:?}");
}

#[test]
fn a_key_that_handed_over_does_not_open_the_next_epoch() {
    let (mut a, mut b) = friends(500, 300);
    let (old, new) = (a.device.clone(), key(50));
    know(&mut b, &a, &new, 2, 1_000_000);
    b.take(&hand_over(&mut a, &new, 2).into());
    let outcome = b.receive(&sign(book_of(&a, 2, &old, 1_000_000, None), &old));
    let in_force = b.pair.theirs().book().unwrap().record().key;
    assert_eq!(in_force, new.signer_key(), "{outcome:?}");
}

#[test]
fn the_roots_book_ends_the_lines_of_a_thief_in_its_epoch() {
    let (mut a, mut b) = friends(500, 300);
    let stale = file_halves(&a);
    b.take(&sign(book_of(&a, 1, &a.device, 1_000_000, None), &a.device));
    b.take(&sign(
        CreditLine {
            epoch: epoch(1),
            seq: seq(1 << 52),
            accept: total(77_777),
            ..line_of(&a)
        },
        &a.device,
    ));
    let recovered = recover_with(&a, stale, &key(50), 2, 1000).unwrap();
    know(&mut b, &a, &key(50), 2, 1000);
    b.take(&recovered.book.into());
    let outcome = b.receive(&recovered.lines[0].clone().into());
    a.pair = recovered.pair;
    let line = b.pair.limits(&bread(), None, at(1)).line_for_me;
    assert_eq!(line, Some(total(500)), "{outcome:?}");
}

// ── Keys and their revocations ──

#[test]
fn no_number_of_revocations_makes_one_forgotten() {
    let (root, device) = (key(1), key(101));
    let mut credentials = Credentials::new(root.user_key());
    let mut learn = |jws: &str| credentials.learn(jws, at(0)).unwrap();
    learn(delegation(&root, &device, 10, 1).jws());
    learn(revocation(&root, &device).jws());
    for n in 0..16 {
        learn(revocation(&root, &key(150 + n)).jws());
    }
    let purpose = Purpose::Book(key(2).user_key());
    let judged = credentials.judge(device.signer_key(), purpose, at(1));
    assert_eq!(judged.unwrap_err().code(), "key_revoked");
}

#[test]
fn a_look_for_revocations_by_a_clock_of_the_future_is_none() {
    let (root, device) = (key(1), key(101));
    let mut credentials = Credentials::new(root.user_key());
    credentials.mark_checked(device.signer_key(), at(900_000_000));
    assert!(!credentials.is_fresh(device.signer_key(), at(1)));
}

#[test]
fn a_revocation_holds_although_the_grant_that_let_it_has_ended_since() {
    let (a, mut b) = friends(500, 300);
    let authenticator = key(70);
    let cap = format!("{}:w", revoke_path(&a.device.signer_key()));
    let word = grant(&a.root, &claims(&a.root, &authenticator, cap, 100));
    b.pair.learn_authority(&word, at(0)).unwrap();
    let mut revocation = revocation(&a.root, &a.device).record().clone();
    revocation.at = at(1000);
    // The peer comes back three minutes later.
    let (pen, later) = (b.device.clone(), at(180_000));
    let revoked = b
        .pair
        .receive(&sign(revocation, &authenticator), later, Some(&pen));
    let state = sign(state_of(&a, 0, 1, 100), &a.device);
    let refused = b.pair.receive(&state, later, Some(&pen));
    assert!(
        revoked.is_ok() && refused.is_err(),
        "{revoked:?} {refused:?}"
    );
}

#[test]
fn a_revoked_key_of_an_ended_epoch_freezes_nothing() {
    let (a, mut b) = friends(500, 300);
    let line = line_of(&a);
    know(&mut b, &a, &key(50), 2, 1000);
    b.take(&revocation(&a.root, &a.device).into());
    b.take(&sign(book_of(&a, 1, &key(50), 1000, None), &a.root));
    let second = CreditLine {
        accept: total(1),
        ..line
    };
    let outcome = b.receive(&sign(second, &a.device));
    assert!(b.pair.frozen(&bread()).is_none(), "{outcome:?}");
}

#[test]
fn a_book_that_anybody_signed_does_not_stop_the_owners_pen() {
    let (mut a, _) = friends(500, 300);
    let forged = sign(book_of(&a, 5, &key(99), 1, None), &key(99));
    let _ = a.pair.show_own(&forged, at(2));
    assert!(!a.pair.is_behind());
}

#[test]
fn a_state_that_anybody_signed_does_not_stop_the_owners_pen() {
    let (mut a, _) = friends(500, 300);
    let forged = sign(state_of(&a, 5, 1, 1), &key(99));
    let _ = a.pair.show_own(&forged, at(2));
    assert!(!a.pair.is_behind());
}

// ── What is told to people ──

#[test]
fn a_refusal_without_the_pay_back_is_not_believed() {
    let (mut a, b) = friends(500, 300);
    a.issue(200).unwrap();
    let refusal = Refusal {
        v: Version,
        from: b.user(),
        to: a.user(),
        unit: bread(),
        epoch: epoch(0),
        after_seq: seq(0),
        to_seq: seq(1),
        amount: amount(200),
        returned: total(200),
        own_epoch: epoch(0),
        own_seq: seq(1),
        at: at(0),
    };
    let outcome = a.receive(&sign(refusal, &b.device)).unwrap();
    assert!(
        !matches!(outcome, Outcome::Applied { .. }),
        "balance {} and {outcome:?}",
        a.balance()
    );
}

#[test]
fn a_payment_waits_for_its_state() {
    let (mut a, mut b) = friends(500, 3000);
    let issued = a.issue(10).unwrap();
    let waiting = Outcome::Pending(PendingReason::StateUnknown);
    assert_eq!(b.receive(&issued.payment.clone().into()).unwrap(), waiting);
    b.take(&issued.state.into());
    b.take(&issued.payment.into());
}

#[test]
fn a_payment_is_told_once_however_many_came_after_it() {
    let (mut a, mut b) = friends(500, 3000);
    let mut first = None;
    for _ in 0..17 {
        let issued = a.issue(10).unwrap();
        b.take(&issued.state.into());
        b.take(&issued.payment.clone().into());
        first.get_or_insert(issued.payment);
    }
    let outcome = b.receive(&first.unwrap().into()).unwrap();
    assert!(
        matches!(outcome, Outcome::Duplicate | Outcome::Stale),
        "{outcome:?}"
    );
}

#[test]
fn a_payment_of_more_than_any_state_bears_out_is_not_told() {
    let (mut a, mut b) = friends(500, 3000);
    let payment = a.issue(10).unwrap().payment;
    let forged = Payment {
        amount: amount(1_000_000_000),
        seq: seq(77),
        ..payment.record().clone()
    };
    let outcome = b.receive(&sign(forged, &a.device)).unwrap();
    assert!(
        !matches!(outcome, Outcome::Applied { .. }),
        "balance {} {outcome:?}",
        b.balance()
    );
}

#[test]
fn an_older_state_with_a_greater_total_is_a_contradiction() {
    let (a, mut b) = friends(500, 300);
    b.take(&sign(state_of(&a, 0, 2, 100), &a.device));
    let outcome = b.receive(&sign(state_of(&a, 0, 1, 250), &a.device));
    assert!(b.pair.frozen(&bread()).is_some(), "{outcome:?}");
}

// ── Making the other's store or file too large ──

#[test]
fn acks_of_units_that_nobody_uses_do_not_grow_the_pair() {
    let (mut a, b) = friends(500, 300);
    for n in 0..300 {
        let ack = Ack {
            v: Version,
            from: b.user(),
            to: a.user(),
            items: vec![AckItem::State(StateAck {
                unit: format!("U{n}").parse().unwrap(),
                epoch: epoch(0),
                seq: seq(1),
                hash: RecordHash::of("x"),
                returned: Total::ZERO,
                clear: true,
            })],
            at: at(0),
        };
        let _ = a.receive(&sign(ack, &b.device));
    }
    assert_eq!(a.pair.units(), [bread()]);
    assert_file_fits(&a);
}

#[test]
fn hostile_grants_and_lines_do_not_make_the_file_too_large() {
    let (mut a, b) = friends(500, 300);
    for n in 0..16 {
        let claims = GrantClaims {
            client_id: "x".repeat(35_000),
            caps: vec![],
            jti: "A".into(),
            iat: n,
            exp: n + 1,
            ..claims(&b.root, &b.device, String::new(), 1)
        };
        let word = grant(&b.root, &claims);
        a.pair.learn_authority(&word, at(1)).unwrap();
    }
    for n in 0..62 {
        let line = CreditLine {
            unit: format!("U{n}").parse().unwrap(),
            logs_refused: vec!["z".repeat(512).parse().unwrap(); 16],
            ..line_of(&b)
        };
        a.take(&sign(line, &b.device));
    }
    assert_file_fits(&a);
}

fn assert_file_fits(party: &Party) {
    let file = party.pair.file_records();
    let records = file.own.iter().chain(&file.held);
    let file = ChannelFile::collect(party.user(), party.pair.peer(), records);
    file.and_then(|file| file.encode()).unwrap();
}

// ── Recovery from what others could have written ──

#[test]
fn an_ack_that_anybody_signed_binds_nobody_at_recovery() {
    let (mut a, mut b) = friends(500, 300);
    let issued = a.issue(200).unwrap();
    b.take(&issued.state.into());
    let (mut mine, mut held) = file_halves(&a);
    held.retain(|record| !matches!(record, AnyRecord::Ack(_)));
    let book = a.pair.own().book().unwrap().hash();
    let mut forged = ack_of_book(&a, book, vec![], (900_000, 0, epoch(0).first_iou()));
    (forged.from, forged.to) = (a.user(), b.user());
    let forged = sign(forged, &key(99));
    // It even passes the strict channel file of the peer.
    let file = b.pair.file_records();
    let mut records: Vec<String> = file.own.iter().chain(&file.held).cloned().collect();
    records.push(forged.jws().to_owned());
    let file_of_b = ChannelFile::collect(b.user(), a.user(), &records).unwrap();
    ChannelFile::decode(&file_of_b.encode().unwrap()).unwrap();
    mine.extend(decoded(&file.held));
    mine.push(forged);
    let recovered = recover_with(&a, (mine, held), &key(50), 2, 1000).unwrap();
    assert_eq!(recovered.pair.balance(&bread()).minor(), -200);
}

#[test]
fn a_thiefs_state_binds_up_to_the_cap_at_recovery() {
    let (mut a, _) = friends(500, 300);
    a.issue(200).unwrap();
    let (mut mine, held) = file_halves(&a);
    mine.push(sign(state_of(&a, 0, 9, 900_000_000), &a.device));
    let recovered = recover_with(&a, (mine, held), &key(50), 2, 1000).unwrap();
    assert!(recovered.pair.balance(&bread()).minor() >= -1_000_000);
    assert!(recovered.book.record().after[0].issued <= total(1_000_000));
}

#[test]
fn a_thiefs_book_binds_up_to_the_cap_at_recovery() {
    let (mut a, _) = friends(500, 300);
    a.issue(200).unwrap();
    let (mut mine, held) = file_halves(&a);
    let book = book_of(&a, 1, &a.device, 1000, Some(900_000_000));
    mine.push(sign(book, &a.device));
    let recovered = recover_with(&a, (mine, held), &key(50), 2, 1000).unwrap();
    let balance = recovered.pair.balance(&bread()).minor();
    assert!(balance >= -1_000_000, "{balance}");
}

#[test]
fn a_line_that_anybody_signed_is_not_signed_anew_at_recovery() {
    let (a, _) = friends(500, 300);
    let (mut mine, held) = file_halves(&a);
    let line = CreditLine {
        accept: Total::MAX,
        seq: seq(1000),
        epoch: epoch(77),
        ..line_of(&a)
    };
    mine.push(sign(line, &key(99)));
    let recovered = recover_with(&a, (mine, held), &key(50), 2, 1000).unwrap();
    assert_eq!(recovered.lines[0].record().accept, total(500));
}

#[test]
fn a_book_that_anybody_signed_backs_nothing_when_nothing_was_found() {
    let (mut a, b) = friends(500, 300);
    let (forger, new) = (key(99), key(50));
    let recovered = recover_with(&a, (vec![], vec![]), &new, 2, 1000).unwrap();
    go_on(&mut a, &recovered, &new, &b.device);
    a.pair.learn_authority(b.delegation.jws(), at(0)).unwrap();
    a.take(&b.pair.own().book().unwrap().clone().into());
    let book = sign(book_of(&a, 0, &forger, None, None), &forger);
    let _ = a.pair.show_own(&book, at(2));
    let state = Signed::sign(state_of(&a, 0, 1, 900_000_000), &forger).unwrap();
    let _ = a.pair.show_own(&state.clone().into(), at(2));
    let base = (900_000_000, 0, epoch(0).first_iou());
    let ack = ack_of_book(&b, recovered.book.hash(), vec![state.hash()], base);
    let outcome = a.receive(&sign(ack, &b.device));
    assert_eq!(a.balance(), 0, "{outcome:?}");
}
