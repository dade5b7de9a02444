//! What a pair does with replies, and with records that are none of its business.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod support;

use atomicity_ledger::evidence;
use atomicity_ledger::jws::Version;
use atomicity_ledger::pair::{Event, Outcome, PendingReason};
use atomicity_ledger::record::{Advert, Invoice, InvoiceLog, Rating, RatingKind, Reply, Verdict};
use atomicity_ledger::{
    AnyRecord, Keypair, PolicyHash, Preimage, RecordHash, RecordId, Serial, Signed,
};
use common::{Party, at, bread, friends, key, revocation};

fn reply(from: &Party, to: &Party, signer: &Keypair) -> AnyRecord {
    let reply = Reply {
        v: Version,
        from: from.user(),
        to: to.user(),
        iou: RecordHash::of("a promise"),
        body: "c2VhbGVk".parse().unwrap(),
        at: at(1),
    };
    Signed::sign(reply, signer).unwrap().into()
}

fn public_records(from: &Party, to: &Party) -> Vec<AnyRecord> {
    let invoice = Invoice {
        v: Version,
        id: RecordId::from_entropy([1; 16]),
        payee: from.user(),
        unit: bread(),
        amount: None,
        hash: Preimage::from_bytes([7; 32]).hash(),
        logs: vec![InvoiceLog {
            origin: "log.example/1".parse().unwrap(),
            policy_hash: PolicyHash::from_bytes([1; 32]),
            url: None,
        }],
        logs_refused: vec![],
        hints: vec![],
        expires: at(1000),
        memo: None,
        at: at(1),
    };
    let advert = Advert {
        v: Version,
        from: from.user(),
        to: to.user(),
        serial: Serial::new(1).unwrap(),
        units: vec![],
        slots: None,
        max_deadline_s: 60,
        expires: at(1000),
        at: at(1),
    };
    let rating = Rating {
        v: Version,
        from: from.user(),
        subject: to.user(),
        kind: RatingKind::User,
        verdict: Verdict::Poor,
        serial: Serial::new(1).unwrap(),
        memo: None,
        at: at(1),
    };
    vec![
        Signed::sign(invoice, &from.device).unwrap().into(),
        Signed::sign(advert, &from.device).unwrap().into(),
        Signed::sign(rating, &from.device).unwrap().into(),
    ]
}

#[test]
fn a_reply_by_the_book_key_is_handed_on_and_changes_nothing() {
    let (a, mut b) = friends(500, 300);
    let record = reply(&a, &b, &a.device);
    let before = b.pair.clone();
    // It may come twice: whoever hands it back decides.
    for _ in 0..2 {
        let (events, replies) = b.take(&record);
        let [Event::Reply(reply)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(reply.iou, RecordHash::of("a promise"));
        assert_eq!(reply.body.as_str(), "c2VhbGVk");
        assert!(replies.is_empty());
    }
    assert_eq!(b.pair, before);
}

#[test]
fn a_reply_by_another_key_or_to_somebody_else_is_refused() {
    let (mut a, mut b) = friends(500, 300);
    let thief = key(77);
    let forged = reply(&a, &b, &thief);
    // Nobody has looked yet whether this key was let.
    let unknown = Outcome::Pending(PendingReason::RevocationUnknown {
        key: thief.signer_key(),
    });
    assert_eq!(b.receive(&forged), Ok(unknown));
    b.pair.authority_checked(thief.signer_key(), at(1));
    let error = b.receive(&forged).unwrap_err();
    assert_eq!(error.code(), "not_authorized");
    let own = reply(&b, &a, &b.device);
    assert_eq!(b.receive(&own).unwrap_err().code(), "foreign_channel");
    let third = Party::new(3, 1, 1000);
    let elsewhere = reply(&a, &third, &a.device);
    assert_eq!(b.receive(&elsewhere).unwrap_err().code(), "foreign_channel");
    b.take(&revocation(&a.root, &a.device).into());
    let revoked = reply(&a, &b, &a.device);
    assert_eq!(b.receive(&revoked).unwrap_err().code(), "key_revoked");
    a.take(&own);
}

#[test]
fn a_reply_waits_for_the_book_and_for_a_look_at_revocations() {
    let (a, mut b) = friends(500, 300);
    let record = reply(&a, &b, &a.device);
    let late = at(11 * 60 * 1000);
    let reason = PendingReason::RevocationUnknown {
        key: a.device.signer_key(),
    };
    let outcome = b.pair.receive(&record, late, Some(&b.device)).unwrap();
    assert_eq!(outcome, Outcome::Pending(reason));
    let (a, mut b) = (Party::new(1, 2, 1000), Party::new(2, 1, 1000));
    let outcome = b.receive(&reply(&a, &b, &a.device)).unwrap();
    assert_eq!(outcome, Outcome::Pending(PendingReason::BookUnknown));
}

#[test]
fn what_is_told_to_everybody_has_no_place_in_a_pair() {
    let (a, mut b) = friends(500, 300);
    let before = b.pair.clone();
    for record in public_records(&a, &b) {
        let error = b.receive(&record).unwrap_err();
        assert_eq!(error.code(), "wrong_type", "{}", record.typ());
        assert!(error.to_string().contains(record.typ()), "{error}");
    }
    assert_eq!(b.pair, before);
}

#[test]
fn neither_public_records_nor_replies_are_evidence_of_a_debt() {
    let (a, b) = friends(500, 300);
    let mut records = public_records(&a, &b);
    records.push(reply(&a, &b, &a.device));
    for record in records {
        let mut lines = a.pair.evidence_records();
        lines.push(record.jws().to_owned());
        let text = evidence::export(a.user(), b.user(), &lines, None, &a.device, at(5));
        let error = text.unwrap_err();
        assert_eq!(error.code(), "evidence_invalid", "{}", record.typ());
        assert!(error.to_string().contains(record.typ()), "{error}");
    }
}
