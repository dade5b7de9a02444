//! Nobody gets stuck: after recoveries, lost acks, thieves and liars, honest users come to rest with the same balance and go on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use atomicity_ledger::channel_file::ChannelFile;
use atomicity_ledger::pair::{Event, Outcome, PendingReason};
use atomicity_ledger::record::{State, UnitCap};
use atomicity_ledger::{AnyRecord, IouNumber, Keypair, Signed};
use common::hostile::*;
use common::*;

/// `a` goes on with what was recovered, `b` hears of the fresh key, and both read each other's files.
fn settle(a: &mut Party, b: &mut Party, recovered: &atomicity_ledger::pair::Recovered) {
    let new = key(50);
    go_on(a, recovered, &new, &b.device);
    know(b, a, &new, 2, 1000);
    sync_often(a, b);
}

// ── Recovery ──

#[test]
fn a_recovery_from_a_stale_file_ends_with_the_same_balance() {
    let (mut a, mut b) = friends(500, 300);
    let stale = file_halves(&a);
    let issued = a.issue(200).unwrap();
    b.take(&issued.state.into());
    let recovered = recover_with(&a, stale, &key(50), 2, 1000).unwrap();
    settle(&mut a, &mut b, &recovered);
    assert!(!a.pair.is_waiting(), "a={} b={}", a.balance(), b.balance());
    assert_eq!((a.balance(), b.balance()), (-200, 200));
}

#[test]
fn a_thiefs_last_epoch_does_not_end_all_epochs() {
    let (a, _) = friends(500, 300);
    let (mut mine, held) = file_halves(&a);
    let last = book_of(&a, (1 << 31) - 1, &a.device, 1000, None);
    mine.push(sign(last, &a.device));
    recover_with(&a, (mine, held), &key(50), 2, 1000).unwrap();
}

#[test]
fn a_thiefs_book_neither_binds_the_peer_nor_stops_the_recovery() {
    let (mut a, mut b) = friends(0, 300);
    let thief = a.device.clone();
    let book = sign(book_of(&a, 1, &thief, 1_000_000, Some(900_000_000)), &thief);
    let outcome = b.receive(&book);
    assert!(b.balance() <= 300, "{} {outcome:?}", b.balance());
    // The owner's file does not show it.
    let (mut mine, held) = file_halves(&a);
    let shown = decoded(&b.pair.file_records().held);
    mine.extend(shown.into_iter().filter(|record| *record != book));
    let recovered = recover_with(&a, (mine, held), &key(50), 2, 1000).unwrap();
    settle(&mut a, &mut b, &recovered);
    assert!(!a.pair.is_waiting());
    assert_eq!(a.balance(), -b.balance());
}

#[test]
fn both_recover_and_the_ack_by_a_lost_key_is_signed_anew() {
    let (mut a, mut b) = friends(500, 300);
    let (new_a, new_b) = (key(50), key(60));
    let of_b = recover_with(&b, file_halves(&b), &new_b, 2, 1000).unwrap();
    go_on(&mut b, &of_b, &new_b, &a.device);
    b.pair.learn_authority(a.delegation.jws(), at(0)).unwrap();
    know(&mut a, &b, &new_b, 2, 1000);
    // The ack of this book never arrives, and its key is lost then.
    a.take(&of_b.book.into());
    let file = a.pair.file_records();
    let mut mine = decoded(&file.own);
    mine.extend(decoded(&b.pair.file_records().held));
    let found = (mine, decoded(&file.held));
    let of_a = recover_with(&a, found, &new_a, 2, 1000).unwrap();
    go_on(&mut a, &of_a, &new_a, &new_b);
    know(&mut a, &b, &new_b, 2, 1000);
    know(&mut b, &a, &new_a, 2, 1000);
    sync_often(&mut a, &mut b);
    assert!(!a.pair.is_waiting() && !b.pair.is_waiting());
}

#[test]
fn a_second_recovery_before_the_peer_heard_of_the_first_does_not_wait_for_ever() {
    let (mut a, mut b) = friends(500, 300);
    let stale = file_halves(&a);
    // The peer got this by the inbox; the own file was never written again.
    let issued = a.issue(200).unwrap();
    b.take(&issued.state.into());
    let first = recover_with(&a, stale, &key(50), 2, 1000).unwrap();
    let file = first.pair.file_records();
    let found = (decoded(&file.own), decoded(&file.held));
    let second = recover_with(&a, found, &key(51), 3, 1000).unwrap();
    go_on(&mut a, &second, &key(51), &b.device);
    know(&mut b, &a, &key(50), 2, 1000);
    know(&mut b, &a, &key(51), 3, 1000);
    sync_often(&mut a, &mut b);
    assert!(!a.pair.is_waiting(), "a={} b={}", a.balance(), b.balance());
    assert_eq!((a.balance(), b.balance()), (-200, 200));
}

#[test]
fn a_thief_who_took_the_epoch_of_the_roots_book_does_not_stop_the_recovery() {
    let (mut a, mut b) = friends(500, 300);
    let stale = file_halves(&a);
    let book = book_of(&a, 1, &a.device, 1_000_000, None);
    b.take(&sign(book, &a.device));
    b.take(&sign(state_of(&a, 1, 1, 100), &a.device));
    // The peer's file can't be reached then.
    let recovered = recover_with(&a, stale, &key(50), 2, 1000).unwrap();
    settle(&mut a, &mut b, &recovered);
    assert!(!a.pair.is_waiting() && !a.pair.is_behind());
    assert_eq!(a.balance(), -b.balance());
}

#[test]
fn many_payments_both_ways_after_the_file_was_written_do_not_stop_the_recovery() {
    let (mut a, mut b) = friends_within(100, 100, 100);
    let stale = file_halves(&a);
    let pay = |from: &mut Party, to: &mut Party, minor| {
        let issued = from.issue(minor).unwrap();
        let (_, replies) = to.take(&issued.state.into());
        for reply in &replies {
            from.take(reply);
        }
    };
    pay(&mut a, &mut b, 100);
    for _ in 0..2 {
        pay(&mut b, &mut a, 150);
        pay(&mut a, &mut b, 150);
    }
    assert_eq!(b.balance(), 100);
    let recovered = recover_with(&a, stale, &key(50), 2, 100).unwrap();
    go_on(&mut a, &recovered, &key(50), &b.device);
    know(&mut b, &a, &key(50), 2, 100);
    sync_often(&mut a, &mut b);
    assert!(!a.pair.is_waiting(), "a={} b={}", a.balance(), b.balance());
    assert_eq!(a.balance(), -b.balance());
}

#[test]
fn what_a_peer_owes_under_a_grant_is_found_again() {
    let (mut a, mut b) = (Party::new(1, 2, 1000), Party::new(2, 1, 1000));
    let word = book_grant(&b.root, &b.device);
    a.pair.learn_authority(&word, at(0)).unwrap();
    a.pair.authority_checked(b.device.signer_key(), at(0));
    a.open_book(1000);
    let book = AnyRecord::from(b.open_book(1000));
    a.take(&book);
    a.line(500);
    a.take(&sign(state_of(&b, 0, 1, 400), &b.device));
    assert_eq!(a.balance(), 400);
    let found = file_halves(&a);
    let recovered = recover_knowing(&a, found, &[word], &key(50), 2, 1000).unwrap();
    assert_eq!(recovered.pair.balance(&bread()).minor(), 400);
}

#[test]
fn the_grant_of_the_peers_key_lies_in_the_owners_own_file() {
    let (mut a, mut b) = (Party::new(1, 2, 1000), Party::new(2, 1, 1000));
    let word = book_grant(&b.root, &b.device);
    a.pair.learn_authority(&word, at(0)).unwrap();
    a.pair.authority_checked(b.device.signer_key(), at(0));
    a.open_book(1000);
    let book = AnyRecord::from(b.open_book(1000));
    a.take(&book);
    assert!(a.pair.file_records().held.contains(&word));
}

/// `a` has lost its device after paying 200; the fresh key waits for the peer's ack, and knows what the lost one signed.
fn waiting_for_the_ack() -> (Party, Party, Signed<State>) {
    let (mut a, mut b) = friends(500, 300);
    let stale = file_halves(&a);
    let issued = a.issue(200).unwrap();
    b.take(&issued.state.clone().into());
    let recovered = recover_with(&a, stale, &key(50), 2, 1000).unwrap();
    go_on(&mut a, &recovered, &key(50), &b.device);
    let state = AnyRecord::from(issued.state.clone());
    a.pair.show_own(&state, at(2)).unwrap();
    (a, b, issued.state)
}

#[test]
fn an_ack_that_claims_merged_totals_and_the_last_number_stays_pending() {
    let (mut a, b, state) = waiting_for_the_ack();
    let last = IouNumber::new(i64::MAX as u64).unwrap();
    let book = a.pair.own().book().unwrap().hash();
    let ack = ack_of_book(&b, book, vec![state.hash()], (200, 200, last));
    let outcome = a.receive(&sign(ack, &b.device)).unwrap();
    assert_eq!(outcome, Outcome::Pending(PendingReason::HeldUnknown));
    assert!(a.pair.is_waiting());
}

#[test]
fn after_a_dishonest_ack_the_honest_one_lets_the_owner_go_on() {
    let (mut a, mut b, state) = waiting_for_the_ack();
    let last = IouNumber::new(i64::MAX as u64).unwrap();
    let book = a.pair.own().book().unwrap().clone();
    let ack = ack_of_book(&b, book.hash(), vec![state.hash()], (200, 200, last));
    let _ = a.receive(&sign(ack, &b.device));
    know(&mut b, &a, &key(50), 2, 1000);
    let (_, replies) = b.take(&book.into());
    a.take(&replies[0]);
    let line = b.line(300);
    a.take(&line);
    let next = a.issue(10).unwrap().state.record().next;
    assert!(next.get() < 1 << 33, "{next:?}");
}

#[test]
fn a_recovered_peer_still_knows_what_backs_the_total() {
    let (mut a, mut b) = friends(500, 300);
    let stale = file_halves(&a);
    let issued = a.issue(200).unwrap();
    b.take(&issued.state.into());
    let recovered = recover_with(&a, stale, &key(50), 2, 1_000_000).unwrap();
    go_on(&mut a, &recovered, &key(50), &b.device);
    know(&mut b, &a, &key(50), 2, 1_000_000);
    // The peer acknowledges the book and then loses its device; the owner, who still waits, opens another book.
    b.take(&recovered.book.into());
    let words = b.pair.file_records();
    let of_b = recover_knowing(&b, file_halves(&b), &words.held, &key(60), 2, 1_000_000).unwrap();
    go_on(&mut b, &of_b, &key(60), &key(50));
    rebook(&mut a);
    know(&mut a, &b, &key(60), 2, 1_000_000);
    know(&mut b, &a, &key(50), 2, 1_000_000);
    sync_often(&mut a, &mut b);
    assert!(!a.pair.is_waiting(), "a={} b={}", a.balance(), b.balance());
    assert_eq!((a.balance(), b.balance()), (-200, 200));
}

#[test]
fn a_book_that_follows_a_recovery_does_not_end_the_wait() {
    let (mut a, mut b) = friends(500, 300);
    let stale = file_halves(&a);
    let issued = a.issue(200).unwrap();
    b.take(&issued.state.into());
    let recovered = recover_with(&a, stale, &key(50), 2, 1_000_000).unwrap();
    go_on(&mut a, &recovered, &key(50), &b.device);
    know(&mut b, &a, &key(50), 2, 1_000_000);
    rebook(&mut a);
    assert!(a.pair.is_waiting());
    sync_often(&mut a, &mut b);
    assert!(!a.pair.is_waiting());
    assert_eq!((a.balance(), b.balance()), (-200, 200));
}

#[test]
fn a_total_that_only_a_book_carried_is_backed_by_that_book() {
    let (mut a, mut b) = friends(500, 300);
    let stale = file_halves(&a);
    let first = a.issue(100).unwrap();
    b.take(&first.state.into());
    // The state of this one never arrives, but the next book carries it.
    a.issue(50).unwrap();
    b.take(&rebook(&mut a).into());
    assert_eq!(b.balance(), 150);
    let recovered = recover_with(&a, stale, &key(50), 2, 1000).unwrap();
    settle(&mut a, &mut b, &recovered);
    assert!(!a.pair.is_waiting(), "a={} b={}", a.balance(), b.balance());
    assert_eq!((a.balance(), b.balance()), (-150, 150));
}

#[test]
fn a_recovered_peer_still_knows_the_book_that_backs_the_total() {
    let (mut a, mut b) = friends(500, 300);
    let stale = file_halves(&a);
    a.issue(150).unwrap();
    b.take(&rebook(&mut a).into());
    // The root's book takes the epoch of the device's, which alone carried what the owner's file does not know.
    let recovered = recover_with(&a, stale, &key(50), 2, 1_000_000).unwrap();
    go_on(&mut a, &recovered, &key(50), &b.device);
    know(&mut b, &a, &key(50), 2, 1_000_000);
    b.take(&recovered.book.into());
    let words = b.pair.file_records();
    let of_b = recover_knowing(&b, file_halves(&b), &words.held, &key(60), 2, 1_000_000).unwrap();
    go_on(&mut b, &of_b, &key(60), &key(50));
    know(&mut a, &b, &key(60), 2, 1_000_000);
    know(&mut b, &a, &key(50), 2, 1_000_000);
    sync_often(&mut a, &mut b);
    assert!(!a.pair.is_waiting(), "a={} b={}", a.balance(), b.balance());
    assert_eq!((a.balance(), b.balance()), (-150, 150));
}

#[test]
fn a_recovery_that_was_forgotten_and_wins_after_all_asks_for_another() {
    let (mut a, mut b) = friends(500, 300);
    let stale = file_halves(&a);
    a.issue(200).unwrap();
    rebook(&mut a);
    // The first recovery knows of both, and is lost before the peer hears of it; the second does not, and a device goes on.
    let forgotten = recover_with(&a, file_halves(&a), &key(50), 2, 1_000_000).unwrap();
    let recovered = recover_with(&a, stale, &key(51), 3, 1_000_000).unwrap();
    go_on(&mut a, &recovered, &key(51), &b.device);
    know(&mut b, &a, &key(50), 2, 1_000_000);
    know(&mut b, &a, &key(51), 3, 1_000_000);
    rebook(&mut a);
    sync_often(&mut a, &mut b);
    assert!(!a.pair.is_waiting() && !a.pair.is_behind());
    b.take(&forgotten.book.into());
    sync_often(&mut a, &mut b);
    assert!(a.pair.is_behind(), "a={} b={}", a.balance(), b.balance());
    let (mut mine, held) = file_halves(&a);
    mine.extend(decoded(&b.pair.file_records().held));
    let last = recover_with(&a, (mine, held), &key(52), 4, 1_000_000).unwrap();
    go_on(&mut a, &last, &key(52), &b.device);
    know(&mut b, &a, &key(52), 4, 1_000_000);
    sync_often(&mut a, &mut b);
    assert!(!a.pair.is_waiting() && !a.pair.is_behind());
    assert_eq!((a.balance(), b.balance()), (-200, 200));
}

// ── Books ──

#[test]
fn acks_by_a_key_that_handed_over_are_signed_anew() {
    let (mut a, mut b) = friends(500, 300);
    let issued = a.issue(100).unwrap();
    // The ack is lost.
    b.take(&issued.state.into());
    know(&mut a, &b, &key(60), 2, 1_000_000);
    hand_over(&mut b, &key(60), 2);
    sync_often(&mut a, &mut b);
    let side = a.pair.own().unit(&bread()).unwrap();
    assert_eq!(side.unacknowledged(), 0);
}

#[test]
fn an_ack_by_a_new_key_waits_for_its_book() {
    let (mut a, mut b) = friends(500, 300);
    let issued = a.issue(10).unwrap();
    know(&mut a, &b, &key(60), 2, 1_000_000);
    hand_over(&mut b, &key(60), 2);
    let (_, replies) = b.take(&issued.state.into());
    let outcome = a.receive(&replies[0]);
    assert!(matches!(outcome, Ok(Outcome::Pending(_))), "{outcome:?}");
}

#[test]
fn a_book_waits_for_its_delegation() {
    let (mut a, mut b) = (Party::new(1, 2, 1000), Party::new(2, 1, 1000));
    b.open_book(1000);
    let book = AnyRecord::from(a.open_book(1000));
    let outcome = b.receive(&book);
    assert!(matches!(outcome, Ok(Outcome::Pending(_))), "{outcome:?}");
}

#[test]
fn books_that_nobody_acknowledged_fit_into_the_channel_file() {
    let (mut a, b) = friends(500, 300);
    for _ in 0..5 {
        rebook(&mut a);
    }
    let file = a.pair.file_records();
    let records = file.own.iter().chain(&file.held);
    ChannelFile::collect(a.user(), b.user(), records).unwrap();
}

#[test]
fn a_device_opens_no_more_books_than_the_peer_can_be_asked_to_read() {
    let (mut a, _) = friends(500, 300);
    // Sixteen may wait besides the one in force.
    for _ in 0..17 {
        rebook(&mut a);
    }
    let (before, device) = (a.pair.clone(), a.device.clone());
    let terms = going_on(&device, 1000);
    let error = a.pair.open_book(terms, &device, at(1)).unwrap_err();
    assert_eq!(error.code(), "out_of_range");
    assert_eq!(a.pair, before);
}

#[test]
fn the_root_opens_a_book_however_many_are_not_acknowledged() {
    let (mut a, mut b) = friends(500, 300);
    for _ in 0..17 {
        rebook(&mut a);
    }
    let (root, device): (Keypair, _) = (a.root.clone(), a.device.clone());
    let terms = going_on(&device, 1000);
    let book = a.pair.open_book(terms, &root, at(1)).unwrap();
    let (_, replies) = b.take(&book.into());
    a.take(&replies[0]);
    assert!(a.issue(10).is_ok());
}

#[test]
fn who_keeps_books_under_a_grant_can_add_a_unit() {
    let (mut a, mut b) = (Party::new(1, 2, 1000), Party::new(2, 1, 1000));
    let word = book_grant(&a.root, &a.device);
    b.pair.learn_authority(&word, at(0)).unwrap();
    b.pair.authority_checked(a.device.signer_key(), at(0));
    b.open_book(1000);
    let book = AnyRecord::from(a.open_book(1000));
    b.take(&book);
    let mut next = book_of(&a, 1, &a.device, 1000, None);
    next.cap.push(UnitCap {
        unit: "HOUR/2".parse().unwrap(),
        debt: total(20),
    });
    let outcome = b.receive(&sign(next, &a.device));
    assert!(
        matches!(outcome, Ok(Outcome::Applied { .. })),
        "{outcome:?}"
    );
}

#[test]
fn a_line_of_an_ended_epoch_still_arrives() {
    let (mut a, mut b) = friends(500, 300);
    let _lost = a.line(9_000);
    rebook(&mut a);
    sync_often(&mut a, &mut b);
    let line = b.pair.limits(&bread(), None, at(1)).line_for_me;
    assert_eq!(line, Some(total(9_000)));
}

// ── Refusals ──

#[test]
fn a_refusal_of_an_ended_epoch_is_told_as_a_refusal() {
    let (mut a, mut b) = friends(500, 300);
    b.line(0);
    let issued = a.issue(200).unwrap();
    // It is paid back; refusal, state and ack are lost.
    b.take(&issued.state.into());
    rebook(&mut b);
    let mut events = Vec::new();
    for _ in 0..4 {
        for record in decoded(&b.pair.file_records().own) {
            if let Ok(Outcome::Applied {
                events: more,
                replies,
            }) = a.receive(&record)
            {
                events.extend(more);
                for reply in replies {
                    let _ = b.receive(&reply);
                }
            }
        }
    }
    let refused = |event: &Event| matches!(event, Event::Refused { .. });
    assert_eq!(events.iter().filter(|e| refused(e)).count(), 1);
    assert_eq!((a.balance(), b.balance()), (0, 0));
}

/// Delivers `records` to `to`, the last first, and gives back what was answered and how often something was paid back.
fn overtaking(to: &mut Party, records: &[AnyRecord]) -> (Vec<AnyRecord>, usize) {
    let (mut answers, mut paid_back) = (Vec::new(), 0);
    for record in records.iter().rev() {
        if let Ok(Outcome::Applied { events, replies }) = to.receive(record) {
            let is_pay_back = |event: &&Event| matches!(event, Event::PaidBack { .. });
            paid_back += events.iter().filter(is_pay_back).count();
            answers.extend(replies);
        }
    }
    (answers, paid_back)
}

#[test]
fn a_pay_back_that_its_ack_overtakes_is_not_paid_back() {
    let (mut a, mut b) = friends(500, 300);
    let debt = b.issue(400).unwrap();
    let (_, replies) = a.take(&debt.state.into());
    b.take(&replies[0]);
    let (line_a, line_b) = (a.line(100), b.line(0));
    let issued = a.issue(600).unwrap();
    let (_, mut to_a) = b.take(&issued.state.into());
    let (mut rounds, mut paid_back) = (0, 0);
    while !to_a.is_empty() {
        rounds += 1;
        assert!(rounds < 50, "the two never come to rest");
        let (to_b, by_a) = overtaking(&mut a, &to_a);
        let (next, by_b) = overtaking(&mut b, &to_b);
        paid_back += by_a + by_b;
        to_a = next;
    }
    b.take(&line_a);
    a.take(&line_b);
    assert_eq!(paid_back, 0, "pay-backs of pay-backs");
    assert_eq!(a.balance(), -b.balance());
}
