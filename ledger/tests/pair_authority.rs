//! Who may sign for whom, whose book is in force, and what a lost device can and cannot do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use atomicity_ledger::authority::{GRANT_TYP, GrantClaims};
use atomicity_ledger::pair::{Event, Outcome, Pair, PendingReason};
use atomicity_ledger::record::{AckItem, Delegation, Scope, State};
use atomicity_ledger::{AnyRecord, Epoch, IouNumber, Keypair, LedgerError, Serial, Signed, Total};
use base64::Engine as _;
use common::*;

fn refused(party: &mut Party, record: &AnyRecord) -> LedgerError {
    let before = party.pair.clone();
    let error = party.receive(record).unwrap_err();
    assert_eq!(before, party.pair, "a refused record must change nothing");
    error
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
