//! Fixed keys and a record of every type, for tests, vectors and seeds.
#![allow(dead_code)]

mod accounts;
mod promises;
mod routes;
pub mod settlements;

use std::path::PathBuf;

use atomicity_ledger::jws::{Record, Version};
use atomicity_ledger::record::{
    Ack, AckItem, Book, BookAck, Carried, Contact, Contacts, CreditLine, Delegation,
    DelegationLimit, Diary, DiaryDirection, DiaryEntry, EncryptionKeyEntry, Inbox, Manifest,
    ManifestEntry, Payment, Profile, Refusal, Revocation, Scope, Snapshot, SnapshotChannel, State,
    StateAck, Unattended, UnitBase, UnitCap,
};
use atomicity_ledger::seal::{EncryptionSecret, KeyId};
use atomicity_ledger::text::Address;
use atomicity_ledger::{
    Amount, Balance, Epoch, IouNumber, Keypair, RecordHash, RecordId, Seq, Serial, Signed,
    Timestamp, Total, Unit, UserKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer as _;

/// 2026-01-01T00:00:00Z.
pub const AT: u64 = 1_767_225_600_000;
pub const DAY: u64 = 86_400_000;

pub struct Sample {
    pub typ: &'static str,
    pub description: &'static str,
    pub secret: [u8; 32],
    pub jws: String,
}

impl Sample {
    pub fn key(&self) -> Keypair {
        Keypair::from_secret(&self.secret)
    }
}

/// Who appears in the samples: two users, with a root key and a book key each.
pub struct Cast {
    pub milkman: Keypair,
    pub milkman_book: Keypair,
    pub baker: Keypair,
    pub baker_book: Keypair,
}

pub const MILKMAN: [u8; 32] = [0x11; 32];
pub const MILKMAN_BOOK: [u8; 32] = [0x12; 32];
pub const BAKER: [u8; 32] = [0x21; 32];
pub const BAKER_BOOK: [u8; 32] = [0x22; 32];

pub fn cast() -> Cast {
    Cast {
        milkman: Keypair::from_secret(&MILKMAN),
        milkman_book: Keypair::from_secret(&MILKMAN_BOOK),
        baker: Keypair::from_secret(&BAKER),
        baker_book: Keypair::from_secret(&BAKER_BOOK),
    }
}

pub fn at(offset_ms: u64) -> Timestamp {
    Timestamp::from_millis(AT + offset_ms).unwrap()
}

pub fn unit(text: &str) -> Unit {
    text.parse().unwrap()
}

pub fn total(minor: u64) -> Total {
    Total::from_minor(minor).unwrap()
}

pub fn amount(minor: u64) -> Amount {
    Amount::from_minor(minor).unwrap()
}

pub fn seq(n: u64) -> Seq {
    Seq::new(n).unwrap()
}

pub fn epoch(n: u64) -> Epoch {
    Epoch::new(n).unwrap()
}

pub fn iou(n: u64) -> IouNumber {
    IouNumber::new(n).unwrap()
}

pub fn address(text: &str) -> Address {
    text.parse().unwrap()
}

pub fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name)
}

/// Any header and payload, signed: also such as this crate would never sign.
pub fn raw_jws(header: &str, payload: &str, secret: &[u8; 32]) -> String {
    let input = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let signature = ed25519_dalek::SigningKey::from_bytes(secret).sign(input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

/// A Pubky grant of `root` to `key` with these capabilities.
pub fn grant(root: &[u8; 32], key: &Keypair, caps: &[String], iat: u64, exp: u64) -> String {
    let payload = serde_json::json!({
        "iss": Keypair::from_secret(root).user_key().to_string(),
        "client_id": "atomicity.example",
        "caps": caps,
        "cnf": key.signer_key().to_string(),
        "jti": RecordId::from_entropy([0xaa; 16]).to_string(),
        "iat": iat,
        "exp": exp,
    });
    raw_jws(
        r#"{"alg":"EdDSA","typ":"pubky-grant"}"#,
        &payload.to_string(),
        root,
    )
}

fn sample<T: Record>(description: &'static str, secret: [u8; 32], record: T) -> Sample {
    let signed = Signed::sign(record, &Keypair::from_secret(&secret)).unwrap();
    Sample {
        typ: T::TYP,
        description,
        secret,
        jws: signed.jws().to_owned(),
    }
}

pub fn state(from: UserKey, to: UserKey, number: u64, issued: u64) -> State {
    State {
        v: Version,
        from,
        to,
        unit: unit("BREAD/2"),
        epoch: epoch(0),
        seq: seq(number),
        issued: total(issued),
        merged: Total::ZERO,
        returned: Total::ZERO,
        next: iou(0),
        open: vec![],
        at: at(1000),
    }
}

pub fn delegation(root: &Keypair, key: &Keypair) -> Delegation {
    Delegation {
        v: Version,
        root: root.user_key(),
        key: key.signer_key(),
        scopes: vec![Scope::Book],
        peers: None,
        limits: vec![DelegationLimit {
            unit: unit("BREAD/2"),
            per_peer: total(10_000),
            per_day: None,
        }],
        not_before: at(0),
        not_after: at(365 * DAY),
        serial: Serial::new(1).unwrap(),
    }
}

pub fn book(from: UserKey, to: UserKey, key: &Keypair) -> Book {
    Book {
        v: Version,
        from,
        to,
        epoch: epoch(0),
        key: key.signer_key(),
        after: vec![],
        cap: vec![UnitCap {
            unit: unit("BREAD/2"),
            debt: total(10_000),
        }],
        at: at(500),
    }
}

/// One record of every type at least, each type also with everything that is optional.
pub fn samples() -> Vec<Sample> {
    let mut all = channel_samples();
    all.extend(book_samples());
    all.extend(authority_samples());
    all.extend(user_samples());
    all.extend(promises::promise_samples());
    all.extend(routes::route_samples());
    all.extend(settlements::settlement_samples());
    all.extend(accounts::account_samples());
    all
}

fn channel_samples() -> Vec<Sample> {
    let c = cast();
    let (milkman, baker) = (c.milkman.user_key(), c.baker.user_key());
    let first = state(milkman, baker, 1, 200);
    let largest = State {
        unit: unit("COFFEE"),
        epoch: epoch((1 << 31) - 1),
        seq: seq((1 << 53) - 1),
        issued: Total::MAX,
        merged: total(i64::MAX as u64 - 1),
        returned: total(1),
        next: iou(i64::MAX as u64),
        open: vec![iou(0), iou(4_294_967_296), iou(i64::MAX as u64 - 1)],
        ..first.clone()
    };
    let line = CreditLine {
        v: Version,
        from: baker,
        to: milkman,
        unit: unit("BREAD/2"),
        epoch: epoch(0),
        seq: seq(1),
        accept: total(300),
        min_amount: amount(1),
        max_deadline_s: 120,
        slots: 32,
        unattended: None,
        logs_refused: vec![],
        expires: None,
        at: at(900),
    };
    let full_line = CreditLine {
        seq: seq(2),
        unattended: Some(Unattended {
            amount: amount(50),
            logs: vec![address("log.example/one")],
            until: at(DAY),
        }),
        logs_refused: vec![address("log.example/two")],
        expires: Some(at(30 * DAY)),
        ..line.clone()
    };
    let payment = Payment {
        v: Version,
        id: RecordId::from_entropy([7; 16]),
        from: milkman,
        to: baker,
        unit: unit("BREAD/2"),
        epoch: epoch(0),
        seq: seq(1),
        amount: amount(200),
        reference: None,
        memo: None,
        at: at(1000),
    };
    let full_payment = Payment {
        reference: Some("invoice 17".parse().unwrap()),
        memo: Some("Brötchen für Dienstag 🥐".parse().unwrap()),
        ..payment.clone()
    };
    let refusal = Refusal {
        v: Version,
        from: baker,
        to: milkman,
        unit: unit("BREAD/2"),
        epoch: epoch(0),
        after_seq: seq(1),
        to_seq: seq(3),
        amount: amount(200),
        returned: total(300),
        own_epoch: epoch(0),
        own_seq: seq(1),
        at: at(3000),
    };
    vec![
        sample("a first state", MILKMAN_BOOK, first),
        sample("a state with the largest numbers", MILKMAN_BOOK, largest),
        sample("a payment without words", MILKMAN_BOOK, payment),
        sample(
            "a payment with reference and memo",
            MILKMAN_BOOK,
            full_payment,
        ),
        sample("a credit line", BAKER_BOOK, line),
        sample("a credit line with every term", BAKER_BOOK, full_line),
        sample("a refusal", BAKER_BOOK, refusal),
    ]
}

fn book_samples() -> Vec<Sample> {
    let c = cast();
    let (milkman, baker) = (c.milkman.user_key(), c.baker.user_key());
    let first = book(baker, milkman, &c.baker_book);
    let second = Book {
        epoch: epoch(3),
        key: c.milkman_book.signer_key(),
        after: vec![
            Carried {
                unit: unit("BREAD/2"),
                epoch: epoch(2),
                seq: seq(9),
                issued: total(450),
                merged: total(50),
                returned: total(25),
                next: iou((2 << 32) + 4),
                open: vec![iou(1), iou((2 << 32) + 3)],
            },
            Carried {
                unit: unit("HOUR/2"),
                epoch: epoch(0),
                seq: seq(1),
                issued: total(1),
                merged: Total::ZERO,
                returned: Total::ZERO,
                next: iou(0),
                open: vec![],
            },
        ],
        cap: vec![],
        ..first.clone()
    };
    let signed_state = Signed::sign(state(milkman, baker, 1, 200), &c.milkman_book).unwrap();
    let ack_of_state = Ack {
        v: Version,
        from: baker,
        to: milkman,
        items: vec![AckItem::State(StateAck {
            unit: unit("BREAD/2"),
            epoch: epoch(0),
            seq: seq(1),
            hash: signed_state.hash(),
            returned: Total::ZERO,
            clear: true,
        })],
        at: at(2000),
    };
    let ack_of_book = Ack {
        items: vec![
            AckItem::Book(BookAck {
                hash: RecordHash::of("a book"),
                held: vec![signed_state.hash()],
                base: vec![UnitBase {
                    unit: unit("BREAD/2"),
                    issued: total(200),
                    merged: Total::ZERO,
                    returned: Total::ZERO,
                    next: iou(0),
                }],
            }),
            ack_of_state.items[0].clone(),
        ],
        ..ack_of_state.clone()
    };
    vec![
        sample("a first book, signed by its own key", BAKER_BOOK, first),
        sample(
            "a book after a lost device, signed by the root",
            BAKER,
            second,
        ),
        sample("an ack of a state", BAKER_BOOK, ack_of_state),
        sample("an ack of a book and of a state", BAKER_BOOK, ack_of_book),
    ]
}

fn authority_samples() -> Vec<Sample> {
    let c = cast();
    let plain = delegation(&c.baker, &c.baker_book);
    let full = Delegation {
        scopes: vec![Scope::Book, Scope::Receive, Scope::Request, Scope::Rails],
        peers: Some(vec![c.milkman.user_key()]),
        limits: vec![
            DelegationLimit {
                unit: unit("BREAD/2"),
                per_peer: total(10_000),
                per_day: Some(total(2_000)),
            },
            DelegationLimit {
                unit: unit("BTC/8"),
                per_peer: Total::ZERO,
                per_day: None,
            },
        ],
        ..plain.clone()
    };
    let all = Revocation {
        v: Version,
        root: c.baker.user_key(),
        key: c.baker_book.signer_key(),
        grant: None,
        at: at(DAY),
    };
    let one = Revocation {
        grant: Some(RecordId::from_entropy([0xaa; 16])),
        ..all.clone()
    };
    vec![
        sample("a delegation to keep books", BAKER, plain),
        sample("a delegation with every scope, for one peer", BAKER, full),
        sample("a revocation of a key", BAKER, all),
        sample("a revocation of one grant", BAKER, one),
    ]
}

fn user_samples() -> Vec<Sample> {
    let c = cast();
    let (milkman, baker) = (c.milkman.user_key(), c.baker.user_key());
    let key = |n: u32| EncryptionKeyEntry {
        n: KeyId::new(n),
        key: EncryptionSecret::new(KeyId::new(n), [n as u8; 32]).public(),
    };
    let profile = Profile {
        v: Version,
        user: baker,
        serial: Serial::new(1).unwrap(),
        name: None,
        encryption: vec![key(1)],
        inboxes: vec![],
        units: vec![],
        logs_trusted: vec![],
        logs_refused: vec![],
        page: false,
        at: at(0),
    };
    let shown_profile = Profile {
        page: true,
        ..profile.clone()
    };
    let full_profile = Profile {
        serial: Serial::new(2).unwrap(),
        name: Some("The baker".parse().unwrap()),
        encryption: vec![key(2), key(1)],
        inboxes: vec![
            Inbox {
                plugin: milkman,
                url: Some(address("https://inbox.example")),
            },
            Inbox {
                plugin: baker,
                url: None,
            },
        ],
        units: vec![unit("BREAD/2"), unit("BTC/8"), unit("COFFEE")],
        logs_trusted: vec![address("log.example/one")],
        logs_refused: vec![address("log.example/two")],
        ..profile.clone()
    };
    let contacts = Contacts {
        v: Version,
        user: baker,
        serial: Serial::new(5).unwrap(),
        page: 0,
        pages: 1,
        contacts: vec![Contact {
            user: milkman,
            name: Some("Milkman".parse().unwrap()),
            own_key: KeyId::new(1),
            their_key: KeyId::ROOT,
        }],
        at: at(0),
    };
    let snapshot = Snapshot {
        v: Version,
        user: baker,
        at: at(DAY),
        channels: vec![SnapshotChannel {
            peer: milkman,
            unit: unit("BREAD/2"),
            balance: Balance::from_minor(-50),
            accept: total(300),
            accepted_by_peer: total(500),
            frozen: false,
        }],
    };
    let diary = Diary {
        v: Version,
        user: baker,
        at: at(DAY),
        waiting: vec![DiaryEntry {
            at: at(0),
            kind: "request".parse().unwrap(),
            direction: Some(DiaryDirection::Out),
            peer: Some(milkman),
            unit: Some(unit("BREAD/2")),
            amount: Some(total(450)),
            memo: Some("three litres".parse().unwrap()),
            id: Some(RecordId::from_entropy([9; 16])),
            status: Some("unanswered".parse().unwrap()),
            until: Some(at(2 * DAY)),
            receipt: None,
        }],
        past: vec![DiaryEntry {
            at: at(0),
            kind: "payment".parse().unwrap(),
            direction: Some(DiaryDirection::In),
            peer: None,
            unit: None,
            amount: None,
            memo: None,
            id: None,
            status: None,
            until: None,
            receipt: Some("a signed record".parse().unwrap()),
        }],
    };
    let manifest = Manifest {
        v: Version,
        user: baker,
        peer: milkman,
        records: vec![ManifestEntry {
            typ: State::TYP.to_owned(),
            hash: RecordHash::of("a state"),
        }],
        note: Some("unpaid since spring".parse().unwrap()),
        at: at(DAY),
    };
    vec![
        sample("a profile with what it must have", BAKER, profile),
        sample("a profile with everything", BAKER, full_profile),
        sample(
            "a profile of which a page may be shown",
            BAKER,
            shown_profile,
        ),
        sample("a contact list", BAKER_BOOK, contacts),
        sample("a balance snapshot", BAKER_BOOK, snapshot),
        sample("a diary", BAKER_BOOK, diary),
        sample("a manifest of evidence", BAKER_BOOK, manifest),
    ]
}
