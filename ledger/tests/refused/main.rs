//! Hostile records: each must be refused, with the code that says why. Stored for other implementations in `refused.json`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounts;
mod fields;
mod forms;
mod lists;
mod routes;
mod settlements;
#[path = "../support/mod.rs"]
mod support;

use atomicity_ledger::authority::{GRANT_TYP, Grant};
use atomicity_ledger::record::{AnyRecord, State};
use atomicity_ledger::{Keypair, Signed};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fields::{bad_fields, contradictions};
use forms::{bad_forms, bad_headers, weak_key_signs_anything};
use lists::{lists_for_objects, with_list};
use serde_json::{Value, json};
use support::{BAKER, BAKER_BOOK, MILKMAN_BOOK, grant, raw_jws, samples, testdata};

struct Case {
    description: String,
    jws: String,
    code: &'static str,
}

fn case(description: impl Into<String>, jws: impl Into<String>, code: &'static str) -> Case {
    Case {
        description: description.into(),
        jws: jws.into(),
        code,
    }
}

fn header(typ: &str, secret: &[u8; 32]) -> String {
    let kid = Keypair::from_secret(secret).signer_key();
    format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{kid}"}}"#)
}

/// The payload of a sound record, as text that can be spoilt and signed again.
fn sound(typ: &str) -> (String, [u8; 32]) {
    let sample = samples().into_iter().find(|s| s.typ == typ).unwrap();
    let part = sample.jws.split('.').nth(1).unwrap().to_owned();
    let json = String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (json, sample.secret)
}

fn spoilt(typ: &str, from: &str, to: &str) -> String {
    let (json, secret) = sound(typ);
    assert!(json.contains(from), "{typ} holds no {from}");
    raw_jws(&header(typ, &secret), &json.replacen(from, to, 1), &secret)
}

const STATE: &str = "atomicity-state";

fn cases() -> Vec<Case> {
    let mut all = bad_forms();
    all.extend(lists_for_objects());
    all.extend(bad_headers());
    all.extend(bad_fields());
    all.extend(contradictions());
    all.push(weak_key_signs_anything());
    all.extend(routes::cases());
    all.extend(settlements::cases());
    all.extend(accounts::cases());
    all
}

#[test]
fn hostile_records_are_refused_and_the_reason_is_named() {
    for case in cases() {
        let error = AnyRecord::decode(&case.jws).expect_err(&case.description);
        assert_eq!(error.code(), case.code, "{}: {error}", case.description);
        assert!(error.to_string().len() < 1000, "{}", case.description);
    }
}

#[test]
fn a_list_in_the_place_of_an_object_is_refused_by_the_reader_of_one_type_too() {
    let (json, secret) = sound(STATE);
    let list = with_list(&json, 0).unwrap();
    assert!(list.starts_with("[1,\"") && list.ends_with(']'), "{list}");
    let jws = raw_jws(&header(STATE, &secret), &list, &secret);
    let error = Signed::<State>::decode(&jws).unwrap_err();
    assert_eq!(error.code(), "payload_invalid");
}

#[test]
fn the_reader_of_one_type_refuses_a_sound_record_of_another() {
    let all = samples();
    let ack = all.iter().find(|sample| sample.typ == "atomicity-ack");
    let jws = &ack.unwrap().jws;
    assert!(AnyRecord::decode(jws).is_ok());
    assert_eq!(
        Signed::<State>::decode(jws).unwrap_err().code(),
        "wrong_type"
    );
}

#[test]
fn a_grant_in_the_form_of_a_list_is_refused() {
    let key = Keypair::from_secret(&BAKER_BOOK);
    let jws = grant(&BAKER, &key, &[], 1, 2);
    let part = jws.split('.').nth(1).unwrap();
    let json = String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let header = format!(r#"{{"alg":"EdDSA","typ":"{GRANT_TYP}"}}"#);
    Grant::decode(&raw_jws(&header, &json, &BAKER)).unwrap();
    let list = with_list(&json, 0).unwrap();
    let error = Grant::decode(&raw_jws(&header, &list, &BAKER)).unwrap_err();
    assert_eq!(error.code(), "jws_malformed");
}

#[test]
fn the_stored_vectors_are_these_cases() {
    // What is large is described, not stored.
    let vectors: Vec<Value> = cases()
        .into_iter()
        .filter(|case| case.jws.len() < 8192)
        .map(|case| json!({"description": case.description, "jws": case.jws, "code": case.code}))
        .collect();
    let mut text = serde_json::to_string_pretty(&vectors).unwrap();
    text.push('\n');
    let path = testdata("refused.json");
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap() == text,
        "refused.json differs"
    );
}

#[test]
fn the_sound_record_behind_the_cases_is_accepted() {
    for typ in [
        STATE,
        "atomicity-refusal",
        "atomicity-delegation",
        "atomicity-ack",
        "atomicity-invoice",
        "atomicity-advert",
        "atomicity-rates",
        "atomicity-rating",
        "atomicity-reply",
        "atomicity-endpoints",
        "atomicity-settlement",
        "atomicity-settlement-answer",
        "atomicity-settlement-withdrawal",
        "atomicity-request",
        "atomicity-request-state",
        "atomicity-part",
        "atomicity-part-answer",
    ] {
        let (json, secret) = sound(typ);
        AnyRecord::decode(&raw_jws(&header(typ, &secret), &json, &secret)).unwrap();
    }
    let (json, _) = sound(STATE);
    AnyRecord::decode(&raw_jws(
        &header(STATE, &MILKMAN_BOOK),
        &json,
        &MILKMAN_BOOK,
    ))
    .unwrap();
}
