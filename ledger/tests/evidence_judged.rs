//! Bundles put together by hand: what counts of them, at what time, and up to where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use atomicity_ledger::authority::GRANT_TYP;
use atomicity_ledger::evidence::{self, Report};
use atomicity_ledger::jws::{Record, Version};
use atomicity_ledger::record::{
    Ack, AckItem, Book, BookAck, Carried, Manifest, Payment, Revocation, State, StateAck, UnitBase,
};
use atomicity_ledger::{Keypair, LedgerError, RecordId, Signed, Timestamp, UserKey};
use support::{Cast, DAY, cast, epoch, iou, seq, total, unit};

struct Case {
    c: Cast,
    records: Vec<String>,
}

impl Case {
    /// Both have books by delegation; nothing issued.
    fn new() -> Self {
        let c = cast();
        let (milkman, baker) = (c.milkman.user_key(), c.baker.user_key());
        let mut case = Self { records: vec![], c };
        let d1 = support::delegation(&case.c.milkman, &case.c.milkman_book);
        let d2 = support::delegation(&case.c.baker, &case.c.baker_book);
        case.add(d1, &case.c.milkman.clone());
        case.add(d2, &case.c.baker.clone());
        let b1 = support::book(milkman, baker, &case.c.milkman_book);
        let b2 = support::book(baker, milkman, &case.c.baker_book);
        case.add(b1, &case.c.milkman_book.clone());
        case.add(b2, &case.c.baker_book.clone());
        case
    }

    fn add<T: Record>(&mut self, record: T, key: &Keypair) -> Signed<T> {
        let signed = Signed::sign(record, key).unwrap();
        self.records.push(signed.jws().to_owned());
        signed
    }

    fn milkman(&self) -> UserKey {
        self.c.milkman.user_key()
    }

    fn baker(&self) -> UserKey {
        self.c.baker.user_key()
    }

    fn states(&mut self, number: u64, issued: u64) -> Signed<State> {
        let state = support::state(self.milkman(), self.baker(), number, issued);
        let key = self.c.milkman_book.clone();
        self.add(state, &key)
    }

    fn export(&self) -> Result<String, LedgerError> {
        evidence::export(
            self.baker(),
            self.milkman(),
            &self.records,
            None,
            &self.c.baker_book,
            support::at(DAY),
        )
    }

    fn report_at(&self, at: Timestamp) -> Report {
        evidence::verify(self.export().unwrap().as_bytes(), Some(at)).unwrap()
    }

    fn report(&self) -> Report {
        self.report_at(support::at(DAY))
    }
}

fn owed(report: &Report) -> u64 {
    report.net.iter().map(|net| net.amount.minor()).sum()
}

#[test]
fn a_claim_outlives_the_key_that_signed_it_up_to_the_cap() {
    let revocation = |case: &Case| Revocation {
        v: Version,
        root: case.milkman(),
        key: case.c.milkman_book.signer_key(),
        grant: None,
        at: support::at(2 * DAY),
    };
    for issued in [200, 10_000, 90_000] {
        let mut case = Case::new();
        case.states(1, issued);
        let expired = case.report_at(support::at(400 * DAY));
        assert_eq!(owed(&expired), issued.min(10_000));
        assert!(expired.keys.iter().all(|key| !key.valid));
        let word = |report: &Report, word: &str| {
            report
                .sentences()
                .iter()
                .any(|sentence| sentence.contains(word))
        };
        assert!(word(&expired, "expired") && word(&expired, "up to the cap"));

        let revoked = revocation(&case);
        case.add(revoked, &case.c.milkman.clone());
        let before = case.report_at(support::at(DAY));
        assert!(owed(&before) == issued && before.keys.iter().all(|key| key.valid));
        let after = case.report_at(support::at(2 * DAY));
        assert_eq!(owed(&after), issued.min(10_000));
        assert!(word(&after, "revoked"));
        assert_eq!(after.keys.iter().filter(|key| !key.valid).count(), 1);
    }
}

#[test]
fn an_authority_that_has_not_begun_proves_nothing() {
    let mut case = Case::new();
    case.states(1, 200);
    let early = case.report_at(Timestamp::from_millis(support::AT - 1).unwrap());
    assert_eq!(owed(&early), 0);
    assert!(
        early
            .not_counted
            .iter()
            .any(|n| n.index == 5 && n.why.contains("not valid yet"))
    );
}

#[test]
fn a_later_delegation_without_limits_takes_nothing_back() {
    let mut case = Case::new();
    case.states(1, 200);
    let later = atomicity_ledger::record::Delegation {
        limits: vec![],
        serial: atomicity_ledger::Serial::new(9).unwrap(),
        ..support::delegation(&case.c.milkman, &case.c.milkman_book)
    };
    case.add(later, &case.c.milkman.clone());
    assert_eq!(owed(&case.report()), 200);
}

#[test]
fn a_book_that_nobody_acknowledged_takes_nothing_back() {
    let mut case = Case::new();
    case.states(1, 200);
    let empty = Book {
        epoch: epoch(1),
        ..support::book(
            case.milkman(),
            case.baker(),
            &Keypair::from_secret(&[0x13; 32]),
        )
    };
    case.add(empty, &case.c.milkman.clone());
    assert_eq!(owed(&case.report()), 200);
}

#[test]
fn a_revocation_by_anybody_else_revokes_nothing() {
    let mut case = Case::new();
    case.states(1, 200);
    let revocation = Revocation {
        v: Version,
        root: case.milkman(),
        key: case.c.milkman_book.signer_key(),
        grant: None,
        at: support::at(0),
    };
    case.add(revocation, &case.c.baker.clone());
    assert_eq!(owed(&case.report()), 200);
}

#[test]
fn a_state_by_a_key_without_a_book_is_named_and_not_counted() {
    let mut case = Case::new();
    case.states(1, 200);
    let forged = support::state(case.milkman(), case.baker(), 2, 900);
    case.add(forged, &Keypair::from_secret(&[0x66; 32]));
    let report = case.report();
    assert_eq!(owed(&report), 200);
    let [not_counted] = &report.not_counted[..] else {
        panic!("one")
    };
    assert_eq!(
        (not_counted.index, not_counted.typ.as_str()),
        (6, State::TYP)
    );
    assert!(
        report
            .sentences()
            .iter()
            .any(|s| s.starts_with("Record 6 (atomicity-state)"))
    );
}

#[test]
fn of_two_states_with_one_number_the_first_stands_and_both_are_named() {
    let mut case = Case::new();
    case.states(1, 200);
    case.states(1, 900);
    let report = case.report();
    assert_eq!(owed(&report), 200);
    let [contradiction] = &report.contradictions[..] else {
        panic!("one")
    };
    assert_eq!(contradiction.indexes, (5, 6));
    assert_eq!(contradiction.user, case.milkman());
}

#[test]
fn a_total_that_falls_is_not_counted() {
    let mut case = Case::new();
    case.states(1, 200);
    case.states(2, 100);
    let report = case.report();
    assert_eq!(owed(&report), 200);
    assert_eq!(report.not_counted.len(), 1);
}

#[test]
fn a_grant_that_names_the_book_key_is_authority_and_one_for_its_directory_is_none() {
    let key = cast().milkman_book;
    let directory = "/pub/atomicity/v0/book/:rw".to_owned();
    let literal = format!("/pub/atomicity/v0/book/{}:rw", key.signer_key());
    for (cap, counted) in [(literal, 200), (directory, 0)] {
        let mut case = Case::new();
        case.states(1, 200);
        let from = support::AT / 1000;
        case.records[0] = support::grant(&support::MILKMAN, &key, &[cap], from, from + 100_000);
        let report = case.report();
        assert_eq!(owed(&report), counted);
        assert_eq!(report.not_counted.is_empty(), counted > 0);
        let text = case.export().unwrap();
        let spoilt = text.replace(&case.records[0], "x.y.z");
        match evidence::verify(spoilt.as_bytes(), None).unwrap_err() {
            LedgerError::EvidenceInvalid { index, typ, .. } => {
                assert_eq!((index, typ.as_str()), (1, GRANT_TYP));
            }
            other => panic!("{other}"),
        }
    }
}

/// The milkman's device is lost after it signed 200 and 450; the new book knows of the first only.
fn after_a_loss(cap: u64, held: Option<bool>) -> Case {
    let mut case = Case::new();
    case.states(1, 200);
    let late = case.states(2, 450);
    let (milkman, baker) = (case.milkman(), case.baker());
    let capped = Book {
        cap: vec![atomicity_ledger::record::UnitCap {
            unit: unit("BREAD/2"),
            debt: total(cap),
        }],
        ..support::book(milkman, baker, &case.c.milkman_book)
    };
    let replaced = Signed::sign(capped, &case.c.milkman_book).unwrap();
    case.records[2] = replaced.jws().to_owned();
    let fresh = Keypair::from_secret(&[0x13; 32]);
    let book = Book {
        epoch: epoch(1),
        after: vec![Carried {
            unit: unit("BREAD/2"),
            epoch: epoch(0),
            seq: seq(1),
            issued: total(200),
            merged: total(0),
            returned: total(0),
            next: iou(0),
            open: vec![],
        }],
        ..support::book(milkman, baker, &fresh)
    };
    let book = case.add(book, &case.c.milkman.clone());
    if let Some(held) = held {
        let beyond = BookAck {
            hash: book.hash(),
            held: vec![late.hash()],
            base: vec![UnitBase {
                unit: unit("BREAD/2"),
                issued: total(450),
                merged: total(0),
                returned: total(0),
                next: iou(0),
            }],
        };
        let nothing = BookAck {
            held: vec![],
            base: vec![],
            ..beyond.clone()
        };
        let ack = Ack {
            v: Version,
            from: baker,
            to: milkman,
            items: vec![AckItem::Book(if held { beyond } else { nothing })],
            at: support::at(2000),
        };
        case.add(ack, &case.c.baker_book.clone());
    }
    case
}

#[test]
fn what_an_ended_epoch_signed_binds_only_if_it_was_held_and_within_the_cap() {
    assert_eq!(owed(&after_a_loss(10_000, Some(false)).report()), 200);
    assert_eq!(owed(&after_a_loss(10_000, Some(true)).report()), 450);
    assert_eq!(owed(&after_a_loss(300, Some(true)).report()), 200);
    // Before the other side has acknowledged the new book, what the old key signed still stands.
    assert_eq!(owed(&after_a_loss(10_000, None).report()), 450);
}

#[test]
fn the_new_key_goes_on_and_the_old_one_counts_no_more() {
    let mut case = after_a_loss(10_000, Some(false));
    case.states(9, 9_000);
    let fresh = Keypair::from_secret(&[0x13; 32]);
    let next = State {
        epoch: epoch(1),
        next: iou(1 << 32),
        ..support::state(case.milkman(), case.baker(), 1, 260)
    };
    let next = case.add(next, &fresh);
    let ack = Ack {
        v: Version,
        from: case.baker(),
        to: case.milkman(),
        items: vec![AckItem::State(StateAck {
            unit: unit("BREAD/2"),
            epoch: epoch(1),
            seq: seq(1),
            hash: next.hash(),
            returned: total(0),
            clear: true,
        })],
        at: support::at(2000),
    };
    case.add(ack, &case.c.baker_book.clone());
    let report = case.report();
    assert_eq!(owed(&report), 260);
    let [channel] = &report.channels[..] else {
        panic!("one")
    };
    assert_eq!((channel.epoch.get(), channel.seq.get()), (1, 1));
    assert!(channel.acknowledged);
    assert_eq!(channel.key, fresh.signer_key());
}

#[test]
fn a_book_that_a_thief_skips_ahead_with_is_not_in_force() {
    let mut case = Case::new();
    case.states(1, 200);
    let thief = Keypair::from_secret(&[0x66; 32]);
    let book = Book {
        epoch: epoch(7),
        ..support::book(case.milkman(), case.baker(), &thief)
    };
    case.add(book, &thief);
    let state = State {
        epoch: epoch(7),
        next: iou(7 << 32),
        ..support::state(case.milkman(), case.baker(), 1, 9_000)
    };
    case.add(state, &thief);
    let report = case.report();
    assert_eq!(owed(&report), 200);
    assert!(
        report
            .keys
            .iter()
            .any(|k| k.key == thief.signer_key() && !k.valid)
    );
    assert_eq!(report.not_counted.len(), 1);
}

#[test]
fn a_key_with_authority_can_neither_skip_an_epoch_nor_raise_its_cap() {
    let skipping = |c: &Case| Book {
        epoch: epoch(2),
        ..support::book(c.milkman(), c.baker(), &c.c.milkman_book)
    };
    let mut case = Case::new();
    case.states(1, 200);
    let book = skipping(&case);
    case.add(book, &case.c.milkman_book.clone());
    let state = State {
        epoch: epoch(2),
        next: iou(2 << 32),
        ..support::state(case.milkman(), case.baker(), 1, 9_000)
    };
    case.add(state, &case.c.milkman_book.clone());
    assert_eq!(owed(&case.report()), 200);
    let by_root = skipping(&case);
    case.add(
        Book {
            at: support::at(600),
            ..by_root
        },
        &case.c.milkman.clone(),
    );
    assert_eq!(owed(&case.report()), 9_000);

    let mut case = Case::new();
    let greedy = Book {
        cap: vec![atomicity_ledger::record::UnitCap {
            unit: unit("BREAD/2"),
            debt: total(10_001),
        }],
        ..support::book(case.milkman(), case.baker(), &case.c.milkman_book)
    };
    let greedy = Signed::sign(greedy, &case.c.milkman_book).unwrap();
    case.records[2] = greedy.jws().to_owned();
    case.states(1, 200);
    let report = case.report();
    assert_eq!(owed(&report), 0);
    assert!(report.keys.iter().any(|key| !key.valid));
}

#[test]
fn records_of_others_and_foreign_exporters_are_refused() {
    let carol = Keypair::from_secret(&[0x77; 32]);
    let mut case = Case::new();
    let foreign = support::state(carol.user_key(), case.baker(), 1, 1);
    case.add(foreign, &carol);
    match case.export().unwrap_err() {
        LedgerError::EvidenceInvalid { index, typ, .. } => {
            assert_eq!((index, typ.as_str()), (5, State::TYP));
        }
        other => panic!("{other}"),
    }
    let case = Case::new();
    let error = evidence::export(
        case.baker(),
        case.milkman(),
        &case.records,
        None,
        &carol,
        support::at(DAY),
    )
    .unwrap_err();
    match error {
        LedgerError::EvidenceInvalid { index, typ, .. } => {
            assert_eq!((index, typ.as_str()), (5, Manifest::TYP));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn of_too_many_records_payments_are_left_out_and_states_never() {
    let mut case = Case::new();
    let template = support::samples()
        .into_iter()
        .find(|sample| sample.typ == Payment::TYP)
        .unwrap();
    let payment = Signed::<Payment>::decode(&template.jws)
        .unwrap()
        .record()
        .clone();
    for n in 0..600u64 {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        let payment = Payment {
            id: RecordId::from_entropy(id),
            ..payment.clone()
        };
        case.add(payment, &case.c.milkman_book.clone());
    }
    case.states(1, 200);
    let report = case.report();
    assert_eq!(report.records, 512);
    assert_eq!(owed(&report), 200);
    let text = case.export().unwrap();
    assert!(text.contains(case.records.last().unwrap()));
    assert!(!text.contains(&case.records[4]) && text.contains(&case.records[603]));
}

#[test]
fn what_is_no_record_is_named_before_anything_is_written() {
    let mut case = Case::new();
    case.records.push("not.a.record".to_owned());
    match case.export().unwrap_err() {
        LedgerError::EvidenceInvalid { index, .. } => assert_eq!(index, 5),
        other => panic!("{other}"),
    }
}
