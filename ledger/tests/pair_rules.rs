//! What a pair takes and what it refuses, one rule a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use atomicity_ledger::authority::{GRANT_TYP, GrantClaims};
use atomicity_ledger::pair::{Event, NewBook, Outcome, Pair, PendingReason};
use atomicity_ledger::record::{AckItem, Delegation, Scope, State};
use atomicity_ledger::{
    AnyRecord, Epoch, IouNumber, Keypair, LedgerError, Seq, Serial, Signed, Total,
};
use base64::Engine as _;
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
fn without_a_fresh_look_for_revocations_records_wait() {
    let (mut a, mut b) = friends(500, 300);
    let issued = a.issue(200).unwrap();
    let late = at(11 * 60 * 1000);
    let pen = b.device.clone();
    let outcome = b
        .pair
        .receive(&issued.state.clone().into(), late, Some(&pen))
        .unwrap();
    assert_eq!(
        outcome,
        Outcome::Pending(PendingReason::RevocationUnknown {
            key: a.device.signer_key()
        })
    );
    b.pair.authority_checked(a.device.signer_key(), late);
    let outcome = b
        .pair
        .receive(&issued.state.into(), late, Some(&pen))
        .unwrap();
    assert!(matches!(outcome, Outcome::Applied { .. }));
}

#[test]
fn a_revoked_key_counts_no_more() {
    let (a, mut b) = friends(500, 300);
    b.take(&state(&a, &a.device, 1, 100));
    b.take(&revocation(&a.root, &a.device).into());
    assert_eq!(
        refused(&mut b, &state(&a, &a.device, 2, 200)).code(),
        "key_revoked"
    );
    assert_eq!(b.balance(), 100);
}

#[test]
fn only_the_root_revokes_and_delegates() {
    let (a, mut b) = friends(500, 300);
    let thief = key(77);
    let mut forged = revocation(&a.root, &a.device).record().clone();
    forged.key = key(5).signer_key();
    let forged = Signed::sign(forged, &thief).unwrap();
    assert_eq!(refused(&mut b, &forged.into()).code(), "not_authorized");
    let mut chained = a.delegation.record().clone();
    chained.key = thief.signer_key();
    let chained = Signed::sign(chained, &a.device).unwrap();
    assert_eq!(refused(&mut b, &chained.into()).code(), "not_authorized");
}

fn with_delegation(change: impl FnOnce(&mut Delegation)) -> LedgerError {
    let (mut a, mut b) = (Party::new(1, 2, 1000), Party::new(2, 1, 1000));
    let mut record = a.delegation.record().clone();
    change(&mut record);
    a.delegation = Signed::sign(record, &a.root).unwrap();
    introduce(&mut a, &mut b);
    b.open_book(1000);
    let book = AnyRecord::from(a.open_book(1000));
    b.receive(&book).unwrap_err()
}

#[test]
fn delegations_hold_only_in_their_time_scope_and_limits() {
    assert_eq!(
        with_delegation(|d| d.not_after = at(1)).code(),
        "authority_expired"
    );
    assert_eq!(
        with_delegation(|d| d.not_before = at(2)).code(),
        "authority_not_yet_valid"
    );
    assert_eq!(
        with_delegation(|d| d.scopes = vec![Scope::Request]).code(),
        "not_authorized"
    );
    let others = with_delegation(|d| d.peers = Some(vec![key(9).user_key()]));
    assert_eq!(others.code(), "not_authorized");
    assert_eq!(
        with_delegation(|d| d.limits[0].per_peer = total(999)).code(),
        "cap_above_authority"
    );
    assert_eq!(
        with_delegation(|d| d.limits.clear()).code(),
        "cap_above_authority"
    );
}

fn grant(root: &Keypair, claims: &GrantClaims) -> String {
    // A grant as an authenticator signs it: no `kid`, the issuer stands in the payload.
    use ed25519_dalek::{Signer as _, SigningKey};
    let b64 = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let header = b64.encode(format!("{{\"alg\":\"EdDSA\",\"typ\":\"{GRANT_TYP}\"}}"));
    let payload = b64.encode(serde_json::to_vec(claims).unwrap());
    let input = format!("{header}.{payload}");
    let signature = SigningKey::from_bytes(&root.secret()).sign(input.as_bytes());
    format!("{input}.{}", b64.encode(signature.to_bytes()))
}

fn book_under_grant(
    caps: impl FnOnce(&Keypair) -> Vec<String>,
    iat: u64,
    exp: u64,
) -> Result<Outcome, LedgerError> {
    let (mut a, mut b) = (Party::new(1, 2, 1000), Party::new(2, 1, 1000));
    b.open_book(1000);
    let claims = GrantClaims {
        iss: a.user(),
        client_id: "atomicity.app".to_owned(),
        caps: caps(&a.device),
        cnf: a.device.signer_key(),
        jti: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        iat,
        exp,
    };
    b.pair
        .learn_authority(&grant(&a.root, &claims), at(0))
        .unwrap();
    b.pair.authority_checked(a.device.signer_key(), at(0));
    let book = AnyRecord::from(a.open_book(1000));
    b.receive(&book)
}

#[test]
fn a_grant_must_name_the_book_key_itself() {
    let now = NOW / 1000;
    let named = |k: &Keypair| vec![format!("/pub/atomicity/v0/book/{}:rw", k.signer_key())];
    let taken = book_under_grant(named, now, now + 100).unwrap();
    assert!(matches!(taken, Outcome::Applied { .. }));
    for caps in [
        "/:rw",
        "/pub/:rw",
        "/pub/atomicity/:rw",
        "/pub/atomicity/v0/book/:rw",
    ] {
        let error = book_under_grant(|_| vec![caps.to_owned()], now, now + 100).unwrap_err();
        assert_eq!(error.code(), "not_authorized", "{caps}");
    }
    let readable = |k: &Keypair| vec![format!("/pub/atomicity/v0/book/{}:r", k.signer_key())];
    assert_eq!(
        book_under_grant(readable, now, now + 100)
            .unwrap_err()
            .code(),
        "not_authorized"
    );
    assert_eq!(
        book_under_grant(named, now + 1, now + 100)
            .unwrap_err()
            .code(),
        "authority_not_yet_valid"
    );
    assert_eq!(
        book_under_grant(named, now - 5, now).unwrap_err().code(),
        "authority_expired"
    );
}

#[test]
fn a_grant_signed_by_somebody_else_is_no_grant() {
    let a = Party::new(1, 2, 1000);
    let mut pair = Pair::new(key(2).user_key(), a.user()).unwrap();
    let claims = GrantClaims {
        iss: a.user(),
        client_id: "atomicity.app".to_owned(),
        caps: vec![],
        cnf: a.device.signer_key(),
        jti: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        iat: 0,
        exp: 1,
    };
    let forged = grant(&key(66), &claims);
    assert_eq!(
        pair.learn_authority(&forged, at(0)).unwrap_err().code(),
        "signature_invalid"
    );
}

/// The baker's device is lost: his fresh key goes on from what the homeservers show.
fn recover(a: &Party, b: &Party, new: &Keypair) -> atomicity_ledger::pair::Recovered {
    let decode = |list: &[String]| -> Vec<AnyRecord> {
        list.iter()
            .map(|jws| AnyRecord::decode(jws).unwrap())
            .collect()
    };
    let (own, peer) = (a.pair.file_records(), b.pair.file_records());
    let mut mine = decode(&own.own);
    mine.extend(decode(&peer.held));
    let fresh = delegation(&a.root, new, 1000, 2);
    Pair::recover(
        a.user(),
        b.user(),
        &mine,
        &decode(&own.held),
        &[fresh.jws().to_owned()],
        BTreeMap::from([(bread(), total(1000))]),
        &a.root,
        new,
        at(2),
    )
    .unwrap()
}

#[test]
fn a_fresh_store_recovers_and_goes_on_in_a_new_epoch() {
    let (mut a, mut b) = friends(500, 300);
    let issued = a.issue(200).unwrap();
    let (_, acks) = b.take(&issued.state.into());
    a.take(&acks[0]);
    let back = b.issue(50).unwrap();
    a.take(&back.state.into());
    let thief = a.device.clone();
    let new = key(50);
    let recovered = recover(&a, &b, &new);
    assert_eq!(recovered.pair.balance(&bread()).minor(), -150);
    assert_eq!(recovered.book.record().epoch.get(), 1);
    assert_eq!(recovered.lines.len(), 1);
    a.pair = recovered.pair;
    a.pair.authority_checked(b.device.signer_key(), at(1));
    a.device = new;
    assert_eq!(a.issue(10).unwrap_err().code(), "book_not_acknowledged");

    // Before the peer knows of the new book, the thief still reaches the line; then the new book ends it.
    b.take(&state_of_epoch(&a, &thief, 0, 2, 250));
    assert_eq!(b.balance(), 200);
    b.pair
        .learn_authority(delegation(&a.root, &a.device, 1000, 2).jws(), at(2))
        .unwrap();
    b.pair.authority_checked(a.device.signer_key(), at(2));
    b.take(&revocation(&a.root, &thief).into());
    let (_, acks) = b.take(&recovered.book.into());
    let late = state_of_epoch(&a, &thief, 0, 3, 290);
    assert_eq!(refused(&mut b, &late).code(), "epoch_ended");
    assert_eq!(b.balance(), 200);

    // The ack names what the thief had signed before; the owner finds it in the peer's file and is bound to it.
    assert!(matches!(
        a.receive(&acks[0]).unwrap(),
        Outcome::Pending(PendingReason::HeldUnknown)
    ));
    for jws in &b.pair.file_records().held {
        let record = AnyRecord::decode(jws).unwrap();
        a.pair.show_own(&record, at(2)).unwrap();
    }
    a.take(&acks[0]);
    assert_eq!((a.balance(), b.balance()), (-200, 200));
    for line in &recovered.lines {
        b.take(&line.clone().into());
    }
    for jws in &b.pair.file_records().own {
        a.receive(&AnyRecord::decode(jws).unwrap()).unwrap();
    }
    let issued = a.issue(40).unwrap();
    b.take(&issued.state.into());
    assert_eq!((a.balance(), b.balance()), (-240, 240));
}

fn state_of_epoch(from: &Party, signer: &Keypair, epoch: u64, seq: u64, issued: u64) -> AnyRecord {
    let AnyRecord::State(base) = state(from, signer, seq, issued) else {
        unreachable!()
    };
    let epoch = Epoch::new(epoch).unwrap();
    let record = State {
        epoch,
        next: epoch.first_iou(),
        ..base.record().clone()
    };
    Signed::sign(record, signer).unwrap().into()
}

#[test]
fn a_thief_binds_the_owner_to_the_cap_and_no_further() {
    let (mut a, mut b) = (Party::new(1, 2, 250), Party::new(2, 1, 1000));
    introduce(&mut a, &mut b);
    let book_a = AnyRecord::from(a.open_book(250));
    b.open_book(1000);
    b.take(&book_a);
    b.line(1000);
    // The line allows 10.00, the cap of the book 2.50: a growth beyond it is given back.
    let (events, _) = b.take(&state(&a, &a.device, 1, 251));
    assert!(matches!(events[0], Event::PaidBack { .. }));
    assert_eq!(b.balance(), 0);
}

#[test]
fn a_dishonest_peer_cannot_claim_what_no_key_has_signed() {
    let (mut a, mut b) = friends(500, 300);
    let issued = a.issue(200).unwrap();
    b.take(&issued.state.into());
    let new = key(50);
    let recovered = recover(&a, &b, &new);
    a.pair = recovered.pair;
    a.pair.authority_checked(b.device.signer_key(), at(1));
    a.device = new;
    b.pair
        .learn_authority(delegation(&a.root, &a.device, 1000, 2).jws(), at(2))
        .unwrap();
    b.pair.authority_checked(a.device.signer_key(), at(2));
    let (_, acks) = b.take(&recovered.book.into());
    let AnyRecord::Ack(honest) = &acks[0] else {
        unreachable!()
    };
    let mut lie = honest.record().clone();
    if let AckItem::Book(item) = &mut lie.items[0] {
        item.base = vec![atomicity_ledger::record::UnitBase {
            unit: bread(),
            issued: total(900),
            merged: Total::ZERO,
            returned: Total::ZERO,
            next: IouNumber::default(),
        }];
    }
    let lie = AnyRecord::from(Signed::sign(lie, &b.device).unwrap());
    assert!(matches!(
        a.receive(&lie).unwrap(),
        Outcome::Pending(PendingReason::HeldUnknown)
    ));
    assert!(a.pair.is_waiting());
    a.take(&acks[0]);
    assert_eq!(a.balance(), -200);
}

#[test]
fn only_the_root_skips_an_epoch_and_comes_before_others() {
    let (mut a, mut b) = friends(500, 300);
    let book = |party: &Party, epoch: u64, signer: &Keypair| {
        let mut record = party.pair.own().book().unwrap().record().clone();
        record.epoch = Epoch::new(epoch).unwrap();
        AnyRecord::from(Signed::sign(record, signer).unwrap())
    };
    let skipped = book(&a, 5, &a.device);
    assert_eq!(refused(&mut b, &skipped).code(), "book_out_of_turn");
    let rival = {
        let mut record = a.pair.own().book().unwrap().record().clone();
        record.cap[0].debt = total(1);
        AnyRecord::from(Signed::sign(record, &a.device).unwrap())
    };
    assert_eq!(refused(&mut b, &rival).code(), "book_out_of_turn");
    b.take(&book(&a, 5, &a.root));
    assert_eq!(b.pair.theirs().epoch(), Some(Epoch::new(5).unwrap()));
    assert_eq!(b.receive(&book(&a, 4, &a.root)).unwrap(), Outcome::Stale);
    a.pair.mark_behind();
    assert_eq!(a.issue(1).unwrap_err().code(), "no_pen");
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

#[test]
fn delegations_serial_decides_which_is_in_force() {
    let (a, mut b) = friends(500, 300);
    let older = a.delegation.record().clone();
    let mut newer = older.clone();
    newer.serial = Serial::new(7).unwrap();
    newer.not_after = at(1);
    b.take(&Signed::sign(newer, &a.root).unwrap().into());
    assert_eq!(
        refused(&mut b, &state(&a, &a.device, 1, 10)).code(),
        "authority_expired"
    );
    assert_eq!(
        b.receive(&a.delegation.clone().into()).unwrap(),
        Outcome::Duplicate
    );
}
