//! What a pair takes and what it refuses, one rule a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use atomicity_ledger::pair::{Event, NewBook, Outcome, Pair, PendingReason};
use atomicity_ledger::record::State;
use atomicity_ledger::{AnyRecord, Epoch, LedgerError, Seq, Signed, Total};
use common::*;

fn refused(party: &mut Party, record: &AnyRecord) -> LedgerError {
    let before = party.pair.clone();
    let error = party.receive(record).unwrap_err();
    assert_eq!(before, party.pair, "a refused record must change nothing");
    error
}

#[test]
fn a_payment_arrives_and_both_agree() {
    let (mut a, mut b) = friends(500, 300);
    let issued = a.issue(200).unwrap();
    let (events, replies) = b.take(&issued.state.clone().into());
    assert!(matches!(events[0], Event::Issued { growth: 200, .. }));
    assert_eq!((a.balance(), b.balance()), (-200, 200));
    let (events, _) = b.take(&issued.payment.into());
    assert!(matches!(&events[0], Event::Payment(p) if p.amount == amount(200)));
    assert_eq!(a.pair.own().unit(&bread()).unwrap().unacknowledged(), 200);
    let (events, _) = a.take(&replies[0]);
    assert!(matches!(events[0], Event::Acknowledged { .. }));
    assert_eq!(a.pair.own().unit(&bread()).unwrap().unacknowledged(), 0);
}

#[test]
fn the_limit_refuses_and_nothing_changes() {
    let (mut a, mut b) = friends(500, 300);
    let first = a.issue(200).unwrap();
    b.take(&first.state.into());
    let before = a.pair.clone();
    let error = a.issue(200).unwrap_err();
    assert_eq!(error.code(), "limit_exceeded");
    let text = error.to_string();
    assert!(
        text.contains("1.00 BREAD") && text.contains("3.00 BREAD"),
        "{text}"
    );
    assert_eq!(before, a.pair);
    a.issue(100).unwrap();
}

#[test]
fn a_debt_is_cleared_and_turns_round() {
    let (mut a, mut b) = friends(500, 300);
    let bread_taken = a.issue(200).unwrap();
    b.take(&bread_taken.state.into());
    let milk_taken = b.issue(250).unwrap();
    a.take(&milk_taken.state.into());
    assert_eq!((a.balance(), b.balance()), (50, -50));
    assert_eq!(b.pair.limits(&bread(), None, at(1)).can_issue, 450);
    assert_eq!(a.pair.limits(&bread(), None, at(1)).can_issue, 350);
}

#[test]
fn own_ceiling_and_smallest_payment_bind_the_payer() {
    let (mut a, mut b) = friends(500, 300);
    let device = a.device.clone();
    let note = || atomicity_ledger::pair::PaymentNote {
        id: atomicity_ledger::RecordId::from_entropy([1; 16]),
        reference: None,
        memo: None,
    };
    let error = a
        .pair
        .issue(
            &bread(),
            amount(100),
            Some(total(50)),
            note(),
            &device,
            at(1),
        )
        .unwrap_err();
    assert!(error.to_string().contains("you want to owe"), "{error}");
    let mut terms = atomicity_ledger::pair::LineTerms::simple(bread(), total(300)).unwrap();
    terms.min_amount = amount(50);
    let pen = b.device.clone();
    let line = b.pair.set_line(terms, &pen, at(1)).unwrap();
    a.take(&line.into());
    assert_eq!(a.issue(10).unwrap_err().code(), "below_minimum");
}

#[test]
fn an_expired_line_gives_nothing() {
    let (mut a, mut b) = friends(500, 300);
    let mut terms = atomicity_ledger::pair::LineTerms::simple(bread(), total(300)).unwrap();
    terms.expires = Some(at(1));
    let pen = b.device.clone();
    let line = b.pair.set_line(terms, &pen, at(0)).unwrap();
    a.take(&line.into());
    assert_eq!(a.issue(10).unwrap_err().code(), "limit_exceeded");
}

#[test]
fn states_may_skip_repeat_and_come_late() {
    let (a, mut b) = friends(500, 1000);
    let (one, three) = (state(&a, &a.device, 1, 100), state(&a, &a.device, 3, 300));
    b.take(&three);
    assert_eq!(b.receive(&three).unwrap(), Outcome::Duplicate);
    assert_eq!(b.receive(&one).unwrap(), Outcome::Stale);
    assert_eq!(b.balance(), 300);
}

#[test]
fn totals_that_fall_are_refused() {
    let (a, mut b) = friends(500, 1000);
    b.take(&state(&a, &a.device, 1, 300));
    let error = refused(&mut b, &state(&a, &a.device, 2, 299));
    assert_eq!(error.code(), "total_fell");
    assert_eq!(b.balance(), 300);
}

#[test]
fn a_merged_part_may_not_fall_nor_eat_what_was_given_directly() {
    let (a, mut b) = friends(500, 1000);
    b.take(&state(&a, &a.device, 1, 300));
    let AnyRecord::State(last) = state(&a, &a.device, 2, 300) else {
        unreachable!()
    };
    let record = State {
        merged: total(100),
        ..last.record().clone()
    };
    let error = refused(&mut b, &Signed::sign(record, &a.device).unwrap().into());
    assert_eq!(error.code(), "total_fell");
}

#[test]
fn two_states_under_one_number_freeze_the_channel_and_both_are_kept() {
    let (a, mut b) = friends(500, 1000);
    let (first, second) = (state(&a, &a.device, 1, 100), state(&a, &a.device, 1, 150));
    b.take(&first);
    let (events, _) = b.take(&second);
    assert!(matches!(events[0], Event::Frozen { .. }));
    let frozen = b.pair.frozen(&bread()).unwrap();
    assert_eq!(frozen.records, vec![first.jws(), second.jws()]);
    assert_eq!(b.balance(), 100, "the first stands");
    let error = refused(&mut b, &state(&a, &a.device, 2, 160));
    assert_eq!(error.code(), "channel_frozen");
    assert_eq!(b.issue(1).unwrap_err().code(), "channel_frozen");
    assert!(b.pair.evidence_records().contains(&second.jws().to_owned()));
}

#[test]
fn a_new_book_thaws_a_frozen_channel() {
    let (mut a, mut b) = friends(500, 1000);
    b.take(&state(&a, &a.device, 1, 100));
    b.take(&state(&a, &a.device, 1, 150));
    let root = a.root.clone();
    let new = NewBook {
        key: a.device.signer_key(),
        caps: BTreeMap::from([(bread(), total(1000))]),
        continues: true,
        at_least: Epoch::ZERO,
    };
    let book = a.pair.open_book(new, &root, at(1)).unwrap();
    b.take(&book.into());
    assert!(b.pair.frozen(&bread()).is_none());
    assert_eq!(b.balance(), 100);
}

#[test]
fn two_lines_under_one_number_freeze_the_channel() {
    let (mut a, mut b) = friends(500, 300);
    let first = b.line(400);
    a.take(&first);
    let AnyRecord::CreditLine(line) = &first else {
        unreachable!()
    };
    let mut record = line.record().clone();
    record.accept = total(900);
    let second = Signed::sign(record, &b.device).unwrap();
    let (events, _) = a.take(&second.into());
    assert!(matches!(events[0], Event::Frozen { .. }));
    assert_eq!(
        a.pair.limits(&bread(), None, at(1)).line_for_me,
        Some(total(400))
    );
}

#[test]
fn records_of_other_channels_units_and_keys_are_refused() {
    let (mut a, mut b) = friends(500, 300);
    let stranger = Party::new(3, 2, 100);
    assert_eq!(
        refused(&mut b, &state(&stranger, &stranger.device, 1, 10)).code(),
        "foreign_channel"
    );
    let AnyRecord::State(mine) = state(&a, &a.device, 1, 10) else {
        unreachable!()
    };
    let misaddressed = State {
        to: stranger.user(),
        ..mine.record().clone()
    };
    let misaddressed = Signed::sign(misaddressed, &a.device).unwrap();
    assert_eq!(
        refused(&mut b, &misaddressed.into()).code(),
        "foreign_channel"
    );
    let forged = state(&a, &stranger.device, 1, 10);
    assert_eq!(refused(&mut b, &forged).code(), "not_authorized");
    // The root itself signs no states: its book names another key.
    assert_eq!(
        refused(&mut b, &state(&a, &a.root, 1, 10)).code(),
        "not_authorized"
    );
    // Another unit is another channel, with no credit line: the growth is given back.
    let milk = State {
        unit: "MILK/2".parse().unwrap(),
        ..mine.record().clone()
    };
    let (events, replies) = b.take(&Signed::sign(milk, &a.device).unwrap().into());
    assert!(matches!(events[0], Event::PaidBack { .. }));
    for reply in &replies {
        a.receive(reply).unwrap();
    }
    assert_eq!(b.pair.balance(&"MILK/2".parse().unwrap()).minor(), 0);
    assert_eq!(b.balance(), 0);
}

#[test]
fn a_growth_above_the_line_is_paid_back_and_both_agree() {
    let (mut a, mut b) = friends(500, 300);
    // The baker lowers the line while the milkman, who has not heard of it, pays.
    let lowered = b.line(100);
    let issued = a.issue(200).unwrap();
    let (events, replies) = b.take(&issued.state.into());
    assert!(matches!(events[0], Event::PaidBack { .. }));
    assert_eq!(b.balance(), 0);
    assert!(matches!(replies[0], AnyRecord::State(_)));
    assert!(matches!(replies[1], AnyRecord::Refusal(_)));
    for reply in &replies {
        let (events, more) = a.take(reply);
        if matches!(reply, AnyRecord::Refusal(_)) {
            assert!(matches!(events[0], Event::Refused { .. }));
        }
        for ack in &more {
            b.take(ack);
        }
    }
    a.take(&lowered);
    assert_eq!((a.balance(), b.balance()), (0, 0));
    assert_eq!(a.issue(200).unwrap_err().code(), "limit_exceeded");
}

#[test]
fn lowered_lines_on_both_sides_do_not_throw_an_amount_to_and_fro() {
    let (mut a, mut b) = friends(500, 300);
    // B owes A 4.00, then A lowers its line for B below that, B lowers its line for A to nothing.
    let debt = b.issue(400).unwrap();
    let (_, acks) = a.take(&debt.state.into());
    b.take(&acks[0]);
    let (lower_a, lower_b) = (a.line(100), b.line(0));
    // A, who has not heard, takes bread for 6.00: it clears the debt and turns it by 2.00, which B no longer accepts.
    let issued = a.issue(600).unwrap();
    let (_, replies) = b.take(&issued.state.into());
    assert_eq!(b.balance(), -400);
    let mut rounds = 0;
    let mut to_a = replies;
    while !to_a.is_empty() {
        rounds += 1;
        assert!(rounds < 5, "the pay-back was paid back");
        let to_b: Vec<AnyRecord> = to_a.iter().flat_map(|r| a.take(r).1).collect();
        to_a = to_b.iter().flat_map(|r| b.take(r).1).collect();
    }
    b.take(&lower_a);
    a.take(&lower_b);
    assert_eq!((a.balance(), b.balance()), (400, -400));
}

#[test]
fn a_pay_back_that_does_not_fit_freezes_the_channel() {
    let max = i64::MAX as u64;
    let (mut a, mut b) = friends_within(max, max, 300);
    let cap = NewBook {
        key: b.device.signer_key(),
        caps: BTreeMap::from([(bread(), Total::MAX)]),
        continues: true,
        at_least: Epoch::ZERO,
    };
    let root = b.root.clone();
    let book = b.pair.open_book(cap, &root, at(1)).unwrap();
    a.take(&book.into());
    let all = b.issue(i64::MAX as u64 - 10).unwrap();
    a.take(&all.state.into());
    // A's state would have to be paid back beyond the largest total.
    let lowered = b.line(0);
    let too_much = state(&a, &a.device, 1, i64::MAX as u64);
    let (events, replies) = b.take(&too_much);
    assert!(matches!(events[0], Event::Frozen { .. }) && replies.is_empty());
    a.take(&lowered);
    assert_eq!(
        refused(&mut b, &state(&a, &a.device, 2, i64::MAX as u64)).code(),
        "channel_frozen"
    );
}

#[test]
fn totals_never_overflow() {
    let max = i64::MAX as u64;
    let (mut a, mut b) = friends_within(max, max, max);
    for party in [&mut a, &mut b] {
        let root = party.root.clone();
        let new = NewBook {
            key: party.device.signer_key(),
            caps: BTreeMap::from([(bread(), Total::MAX)]),
            continues: true,
            at_least: Epoch::ZERO,
        };
        party.pair.open_book(new, &root, at(1)).unwrap();
    }
    let (book_a, book_b) = (
        a.pair.own().book().unwrap().clone(),
        b.pair.own().book().unwrap().clone(),
    );
    b.take(&book_a.into());
    a.take(&book_b.into());
    let all = a.issue(max).unwrap();
    b.take(&all.state.into());
    let back = b.issue(10).unwrap();
    a.take(&back.state.into());
    // There is room on the credit line again, but the total is at its end.
    let before = a.pair.clone();
    assert_eq!(a.issue(1).unwrap_err().code(), "total_overflow");
    assert_eq!(a.pair, before);
}

#[test]
fn an_ack_of_what_was_never_signed_here_stops_the_pen() {
    let (mut a, mut b) = friends(500, 300);
    // A second store with the same key pays; this one, restored from a backup, has not heard of it.
    let backup = a.pair.clone();
    let issued = a.issue(100).unwrap();
    let (_, acks) = b.take(&issued.state.into());
    a.pair = backup;
    let (events, _) = a.take(&acks[0]);
    assert!(
        matches!(events[0], Event::WrittenElsewhere { seq, .. } if seq == Seq::new(1).unwrap())
    );
    assert_eq!(a.issue(1).unwrap_err().code(), "no_pen");
}

#[test]
fn a_states_own_epoch_must_be_known_first() {
    let (mut a, mut b) = friends(500, 300);
    let root = a.root.clone();
    let new = NewBook {
        key: a.device.signer_key(),
        caps: BTreeMap::from([(bread(), total(1000))]),
        continues: true,
        at_least: Epoch::ZERO,
    };
    let book = a.pair.open_book(new, &root, at(1)).unwrap();
    let issued = a.issue(10).unwrap();
    let waiting = b.receive(&issued.state.clone().into()).unwrap();
    assert_eq!(waiting, Outcome::Pending(PendingReason::BookUnknown));
    b.take(&book.into());
    b.take(&issued.state.into());
    assert_eq!(b.balance(), 10);
}

#[test]
fn a_pair_survives_its_store() {
    let (mut a, mut b) = friends(500, 300);
    let issued = a.issue(200).unwrap();
    b.take(&issued.state.into());
    for pair in [&a.pair, &b.pair] {
        let stored = serde_json::to_string(pair).unwrap();
        assert_eq!(&serde_json::from_str::<Pair>(&stored).unwrap(), pair);
    }
}
