//! What a delegation, a grant or nothing at all lets a key sign.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use atomicity_ledger::authority::{Authority, Credentials, Purpose, book_path};
use atomicity_ledger::record::Scope;
use atomicity_ledger::{AnyRecord, Keypair, LedgerError, Serial, Signed, Timestamp};
use support::{AT, BAKER, DAY, at, cast, delegation, grant, samples};

/// The baker, who lets the book key do what these scopes say, towards the milkman only.
fn with_scopes(scopes: &[Scope]) -> Credentials {
    let c = cast();
    let mut known = Credentials::new(c.baker.user_key());
    let mut record = delegation(&c.baker, &c.baker_book);
    record.scopes = scopes.to_vec();
    record.peers = Some(vec![c.milkman.user_key()]);
    let signed = Signed::sign(record, &c.baker).unwrap();
    assert!(known.learn(signed.jws(), at(0)).unwrap());
    known
}

fn judged(known: &Credentials, purpose: Purpose, now: Timestamp) -> Result<Authority, LedgerError> {
    known.judge(cast().baker_book.signer_key(), purpose, now)
}

fn code(known: &Credentials, purpose: Purpose, now: Timestamp) -> &'static str {
    judged(known, purpose, now).unwrap_err().code()
}

#[test]
fn whoever_keeps_books_may_sign_invoices_and_ratings() {
    let known = with_scopes(&[Scope::Book]);
    let milkman = cast().milkman.user_key();
    let stranger = Keypair::from_secret(&[0x77; 32]).user_key();
    for purpose in [Purpose::Receive, Purpose::Report, Purpose::Book(milkman)] {
        let authority = judged(&known, purpose, at(1)).unwrap();
        assert!(
            matches!(authority, Authority::Delegation(_)),
            "{purpose:?}: {authority:?}"
        );
    }
    assert_eq!(
        code(&known, Purpose::Book(stranger), at(1)),
        "not_authorized"
    );
    assert_eq!(
        code(&known, Purpose::Receive, at(365 * DAY)),
        "authority_expired"
    );
    let before = Timestamp::from_millis(AT - 1).unwrap();
    assert_eq!(
        code(&known, Purpose::Receive, before),
        "authority_not_yet_valid"
    );
}

#[test]
fn a_key_that_is_there_to_receive_signs_invoices_and_nothing_else() {
    let known = with_scopes(&[Scope::Receive]);
    judged(&known, Purpose::Receive, at(1)).unwrap();
    let milkman = cast().milkman.user_key();
    for purpose in [Purpose::Book(milkman), Purpose::Report, Purpose::Profile] {
        assert_eq!(code(&known, purpose, at(1)), "not_authorized");
    }
}

#[test]
fn a_key_that_may_only_request_signs_no_invoice() {
    let known = with_scopes(&[Scope::Request]);
    for purpose in [Purpose::Receive, Purpose::Report] {
        assert_eq!(code(&known, purpose, at(1)), "not_authorized");
    }
}

#[test]
fn a_grant_that_names_the_books_covers_invoices() {
    let c = cast();
    let with_cap = |cap: String| {
        let mut known = Credentials::new(c.baker.user_key());
        let jws = grant(&BAKER, &c.baker_book, &[cap], AT / 1000, AT / 1000 + 100);
        assert!(known.learn(&jws, at(0)).unwrap());
        known
    };
    let books = with_cap(format!("{}:rw", book_path(&c.baker_book.signer_key())));
    for purpose in [Purpose::Receive, Purpose::Report] {
        assert!(matches!(
            judged(&books, purpose, at(1)),
            Ok(Authority::Grant { .. })
        ));
        assert_eq!(code(&books, purpose, at(100_000)), "authority_expired");
    }
    let directory = with_cap("/pub/atomicity/v0/:rw".to_owned());
    assert_eq!(code(&directory, Purpose::Receive, at(1)), "not_authorized");
}

#[test]
fn a_root_signs_everything_and_a_revoked_key_nothing() {
    let c = cast();
    let mut known = with_scopes(&[Scope::Book, Scope::Receive]);
    let root = known.judge(c.baker.signer_key(), Purpose::Receive, at(1));
    assert_eq!(root, Ok(Authority::Root));
    let revoked = support::samples()
        .into_iter()
        .find(|s| s.description == "a revocation of a key");
    known.learn(&revoked.unwrap().jws, at(2 * DAY)).unwrap();
    for purpose in [Purpose::Receive, Purpose::Report] {
        assert_eq!(code(&known, purpose, at(2 * DAY)), "key_revoked");
    }
}

#[test]
fn the_latest_word_about_a_key_counts() {
    let c = cast();
    let mut known = with_scopes(&[Scope::Receive]);
    let mut record = delegation(&c.baker, &c.baker_book);
    record.scopes = vec![Scope::Request];
    record.serial = Serial::new(2).unwrap();
    let signed = Signed::sign(record, &c.baker).unwrap();
    assert!(known.learn(signed.jws(), at(0)).unwrap());
    assert_eq!(code(&known, Purpose::Receive, at(1)), "not_authorized");
}

fn record(typ: &str) -> AnyRecord {
    let sample = samples().into_iter().find(|s| s.typ == typ).unwrap();
    AnyRecord::decode(&sample.jws).unwrap()
}

/// Whether the baker's second key may sign this, if the root gave it this scope towards the milkman.
fn may_sign(scope: Scope, record: &AnyRecord) -> bool {
    let purpose = match (Purpose::of(record).unwrap(), record) {
        // The samples answer the baker; here the baker answers.
        (_, AnyRecord::SettlementAnswer(_)) => Purpose::Book(cast().milkman.user_key()),
        (purpose, _) => purpose,
    };
    judged(&with_scopes(&[scope]), purpose, at(1)).is_ok()
}

#[test]
fn only_a_book_key_settles_and_a_key_that_receives_asks_to_be_paid() {
    for typ in [
        "atomicity-endpoints",
        "atomicity-settlement",
        "atomicity-settlement-answer",
        "atomicity-settlement-withdrawal",
        "atomicity-part",
    ] {
        let record = record(typ);
        assert!(may_sign(Scope::Book, &record), "{typ}");
        assert!(!may_sign(Scope::Receive, &record), "{typ}");
        assert!(!may_sign(Scope::Request, &record), "{typ}");
    }
    for typ in [
        "atomicity-request",
        "atomicity-request-state",
        "atomicity-part-answer",
    ] {
        let record = record(typ);
        assert!(may_sign(Scope::Book, &record), "{typ}");
        assert!(may_sign(Scope::Receive, &record), "{typ}");
        // Where to pay stands in it: a stolen key must not be able to say that.
        assert!(!may_sign(Scope::Request, &record), "{typ}");
    }
    assert_eq!(Purpose::of(&record("atomicity-state")), None);
}

#[test]
fn a_key_of_a_web_app_may_ask_its_own_agent_towards_the_peers_it_was_given() {
    let milkman = cast().milkman.user_key();
    let judge = |scope, peer| judged(&with_scopes(&[scope]), Purpose::Request(peer), at(1)).is_ok();
    let stranger = Keypair::from_secret(&[0x77; 32]).user_key();
    assert!(judge(Scope::Request, milkman) && judge(Scope::Book, milkman));
    assert!(!judge(Scope::Receive, milkman) && !judge(Scope::Request, stranger));
}
