//! Books that change hands while an ack or a release is under way: nothing that was said is lost, and nothing waits for good.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use atomicity_ledger::pair::{KnownLogs, NewPromise, Outcome, PendingReason, Standing};
use atomicity_ledger::record::{AckItem, ReleaseReason};
use atomicity_ledger::{AnyRecord, Keypair};
use common::hostile::*;
use common::log::TestLog;
use common::*;

/// `from` hands its books over to another key, and `to` hears of it at once. Returns the key that kept them until now.
fn hands_over(from: &mut Party, to: &mut Party, new: &Keypair) -> Keypair {
    let before = from.device.clone();
    let book = hand_over(from, new, 2);
    know(to, from, new, 2, 1_000_000);
    to.take(&book.into());
    before
}

fn acked(party: &Party) -> bool {
    let side = party.pair.own().unit(&bread()).unwrap();
    side.unacknowledged() == 0
}

#[test]
fn an_ack_that_arrives_after_its_keepers_book_has_ended_counts() {
    let (mut a, mut b) = friends(300, 500);
    let state = a.issue(200).unwrap().state;
    let (_, acks) = b.take(&state.into());
    hands_over(&mut b, &mut a, &key(60));
    assert!(!acked(&a));
    for ack in &acks {
        a.take(ack);
        assert_eq!(a.receive(ack), Ok(Outcome::Duplicate));
    }
    assert!(acked(&a));
}

#[test]
fn an_ack_by_an_earlier_keeper_does_not_outlive_its_authority() {
    let (mut a, mut b) = friends(300, 500);
    let state = a.issue(200).unwrap().state;
    let (_, acks) = b.take(&state.into());
    let before = hands_over(&mut b, &mut a, &key(60));
    let late = at(11 * 60 * 1000);
    let waits = a.pair.receive(&acks[0], late, None).unwrap();
    let key = before.signer_key();
    let reason = PendingReason::RevocationUnknown { key };
    assert_eq!(waits, Outcome::Pending(reason));
    a.take(&revocation(&b.root, &before).into());
    let refused = a.receive(&acks[0]).unwrap_err();
    assert_eq!(refused.code(), "key_revoked");
    assert!(!acked(&a));
}

#[test]
fn an_ack_by_somebody_who_never_kept_the_books_waits_for_their_book() {
    let (mut a, mut b) = friends(300, 500);
    let state = a.issue(200).unwrap().state;
    let (_, acks) = b.take(&state.into());
    let AnyRecord::Ack(ack) = &acks[0] else {
        panic!("{acks:?}");
    };
    let next = key(60);
    know(&mut a, &b, &next, 2, 1_000_000);
    let early = sign(ack.record().clone(), &next);
    let outcome = a.receive(&early).unwrap();
    assert_eq!(outcome, Outcome::Pending(PendingReason::BookUnknown));
}

#[test]
fn the_ack_of_a_book_counts_from_an_earlier_keeper_unless_it_says_what_binds_of_lost_epochs() {
    let (mut a, mut b) = friends(300, 500);
    let book = rebook(&mut a);
    let (_, acks) = b.take(&book.clone().into());
    hands_over(&mut b, &mut a, &key(60));
    a.take(&acks[0]);
    assert!(a.pair.own().book_ack().is_some());

    // After a recovery the next keeper says it anew, and what the earlier one said ends with that.
    let (mut a, mut b) = friends(300, 500);
    let stale = file_halves(&a);
    let state = a.issue(200).unwrap().state;
    b.take(&state.into());
    let new = key(50);
    let recovered = recover_with(&a, stale, &new, 2, 1000).unwrap();
    go_on(&mut a, &recovered, &new, &b.device);
    know(&mut b, &a, &new, 2, 1000);
    let (_, acks) = b.take(&recovered.book.clone().into());
    let names_base = |ack: &&AnyRecord| match ack {
        AnyRecord::Ack(ack) => {
            matches!(&ack.record().items[0], AckItem::Book(item) if !item.base.is_empty())
        }
        _ => false,
    };
    let early = acks.iter().find(names_base).unwrap().clone();
    hands_over(&mut b, &mut a, &key(60));
    let waits = a.receive(&early).unwrap();
    assert_eq!(waits, Outcome::Pending(PendingReason::BookUnknown));
    assert!(a.pair.is_waiting());
    let pen = b.device.clone();
    b.pair.renew_acks(&pen, at(1)).unwrap();
    sync_often(&mut a, &mut b);
    assert!(!a.pair.is_waiting());
    assert_eq!(a.receive(&early), Ok(Outcome::Duplicate));
    assert_eq!((a.balance(), b.balance()), (-200, 200));
}

#[test]
fn a_release_by_an_earlier_keeper_waits_for_the_one_that_the_next_keeper_signs() {
    let log = TestLog::new(1);
    let (mut a, mut b) = friends(300, 500);
    let new = NewPromise {
        unit: bread(),
        amount: amount(200),
        terms: log.terms(7, 60_000),
        onward: None,
    };
    let (pen_a, pen_b) = (a.device.clone(), b.device.clone());
    let iou = a.pair.promise(new, None, &log.known(), &pen_a, at(1));
    let iou = iou.unwrap();
    let arrives = |b: &mut Party, known: &KnownLogs| {
        b.pair
            .receive_with(&iou.clone().into(), known, at(1), Some(&pen_b))
            .unwrap()
    };
    arrives(&mut b, &log.known());
    let given_up = b
        .pair
        .release(iou.hash(), ReleaseReason::Declined, None, &pen_b, at(1));
    let early = given_up.unwrap().remove(0);
    hands_over(&mut b, &mut a, &key(60));
    let waits = a.receive(&early).unwrap();
    assert_eq!(waits, Outcome::Pending(PendingReason::BookUnknown));
    let pen = b.device.clone();
    b.pair.renew_acks(&pen, at(1)).unwrap();
    let held = b.pair.promise_held(iou.hash()).unwrap();
    let anew = held.release().unwrap().clone();
    assert_eq!(anew.kid(), pen.signer_key());
    a.take(&anew.into());
    assert_eq!(a.receive(&early), Ok(Outcome::Stale));
    let given = a.pair.promise_given(iou.hash()).unwrap();
    assert_eq!(given.standing(), Standing::Released);
}
