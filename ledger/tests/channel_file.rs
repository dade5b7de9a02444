//! Channel files: what goes in comes out, in one form, and nothing that does not belong is read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod support;

use atomicity_ledger::channel_file::{ChannelFile, MAX_BYTES, MAX_PAYMENTS};
use atomicity_ledger::record::{AnyRecord, Payment, State};
use atomicity_ledger::{Keypair, RecordId, Signed, UserKey};
use support::{amount, at, cast, samples, seq};

fn users() -> (UserKey, UserKey) {
    let c = cast();
    (c.milkman.user_key(), c.baker.user_key())
}

/// Everything of the samples that stands between the two, delegations and revocations too.
fn between() -> Vec<String> {
    samples()
        .into_iter()
        .filter(|sample| {
            ![
                "atomicity-profile",
                "atomicity-contacts",
                "atomicity-snapshot",
                "atomicity-diary",
                "atomicity-manifest",
                "atomicity-view",
                "atomicity-invoice",
                "atomicity-advert",
                "atomicity-rates",
                "atomicity-rating",
                "atomicity-reply",
                "atomicity-settlement",
                "atomicity-settlement-answer",
                "atomicity-settlement-withdrawal",
                "atomicity-request",
                "atomicity-request-state",
                "atomicity-part",
                "atomicity-part-answer",
                "atomicity-spend",
                "atomicity-pass",
            ]
            .contains(&sample.typ)
        })
        .map(|sample| sample.jws)
        .collect()
}

#[test]
fn records_go_to_the_half_of_their_author_and_come_back() {
    let (milkman, baker) = users();
    let records = between();
    let file = ChannelFile::collect(baker, milkman, &records).unwrap();
    assert_eq!((file.from(), file.to()), (baker, milkman));
    assert!(file.own().records().iter().all(|r| r.author() == baker));
    assert!(file.held().records().iter().all(|r| r.author() == milkman));
    assert_eq!(file.own().authority().len(), 4);
    assert_eq!(file.held().authority().len(), 0);
    let mut all: Vec<String> = [file.own(), file.held()]
        .into_iter()
        .flat_map(|half| {
            let records = half.records();
            let records = records.iter().map(|r| r.jws().to_owned());
            half.authority()
                .iter()
                .cloned()
                .chain(records)
                .collect::<Vec<_>>()
        })
        .collect();
    // Of two lists of endpoints the newer one is kept.
    let older = samples().into_iter();
    let older = older.filter(|sample| sample.description == "endpoints for one counterparty");
    let older: Vec<String> = older.map(|sample| sample.jws).collect();
    let mut expected = records;
    expected.retain(|jws| !older.contains(jws));
    expected.sort();
    all.sort();
    assert_eq!(all, expected);
    let bytes = file.encode().unwrap();
    let read = ChannelFile::decode(&bytes).unwrap();
    assert_eq!(read, file);
    assert_eq!(read.encode().unwrap(), bytes);
}

#[test]
fn order_and_repeats_leave_no_trace() {
    let (milkman, baker) = users();
    let records = between();
    let file = ChannelFile::collect(milkman, baker, &records)
        .unwrap()
        .encode()
        .unwrap();
    let mut turned = records.clone();
    turned.reverse();
    turned.extend(records);
    let other = ChannelFile::collect(milkman, baker, &turned)
        .unwrap()
        .encode()
        .unwrap();
    assert_eq!(file, other);
}

#[test]
fn what_a_pair_publishes_is_a_channel_file_that_its_peer_can_apply() {
    let (mut milkman, mut baker) = common::friends(500, 300);
    for minor in [100, 50] {
        milkman.issue(minor).unwrap();
    }
    let records = milkman.pair.file_records();
    let all = records.own.iter().chain(&records.held);
    let file = ChannelFile::collect(milkman.user(), baker.user(), all).unwrap();
    let read = ChannelFile::decode(&file.encode().unwrap()).unwrap();
    assert_eq!(read.own().authority(), [milkman.delegation.jws()]);
    for record in read.own().records() {
        baker.receive(&record).unwrap();
    }
    assert_eq!(baker.balance(), 150);
    assert!(
        read.held()
            .records()
            .iter()
            .all(|r| r.author() == baker.user())
    );
    assert!(!read.held().records().is_empty());
}

#[test]
fn any_changed_byte_is_refused() {
    let (milkman, baker) = users();
    let file = ChannelFile::collect(baker, milkman, between()).unwrap();
    let bytes = file.encode().unwrap();
    for place in (0..bytes.len()).step_by(3) {
        let mut changed = bytes.clone();
        changed[place] ^= 0x01;
        assert!(ChannelFile::decode(&changed).is_err(), "byte {place}");
    }
}

#[test]
fn records_of_others_and_in_the_wrong_half_are_refused() {
    let (milkman, baker) = users();
    let carol = Keypair::from_secret(&[0x77; 32]);
    let foreign = Signed::sign(support::state(carol.user_key(), baker, 1, 5), &carol).unwrap();
    let error = ChannelFile::collect(milkman, baker, [foreign.jws()]).unwrap_err();
    assert_eq!(error.code(), "foreign_channel");

    let file = ChannelFile::collect(baker, milkman, between()).unwrap();
    let json = String::from_utf8(file.encode().unwrap()).unwrap();
    let exchanged = json
        .replace("\"own\":", "\"x\":")
        .replace("\"held\":", "\"own\":")
        .replace("\"x\":", "\"held\":");
    assert_eq!(
        ChannelFile::decode(exchanged.as_bytes())
            .unwrap_err()
            .code(),
        "foreign_channel"
    );
    let turned = json
        .replacen(&format!("\"from\":\"{baker}\""), "\"from\":\"?\"", 1)
        .replacen(
            &format!("\"to\":\"{milkman}\""),
            &format!("\"to\":\"{baker}\""),
            1,
        )
        .replacen("\"from\":\"?\"", &format!("\"from\":\"{milkman}\""), 1);
    assert_ne!(turned, json);
    assert_eq!(
        ChannelFile::decode(turned.as_bytes()).unwrap_err().code(),
        "foreign_channel"
    );
    for sample in samples() {
        if !between().contains(&sample.jws) {
            let error = ChannelFile::collect(baker, milkman, [&sample.jws]).unwrap_err();
            assert_eq!(error.code(), "payload_invalid", "{}", sample.description);
        }
    }
}

/// The text of the first half of a file.
fn half(json: &str) -> String {
    let start = json.find("\"own\":").unwrap() + 6;
    let end = start + json[start..].find('}').unwrap() + 1;
    json[start..end].to_owned()
}

#[test]
fn the_form_is_strict() {
    let (milkman, baker) = users();
    let empty: [&str; 0] = [];
    let file = ChannelFile::collect(baker, milkman, empty).unwrap();
    let json = String::from_utf8(file.encode().unwrap()).unwrap();
    let line = format!("\"{}\"", between()[0]);
    let cases = [
        (
            "an unknown member",
            json.replacen("\"v\":1", "\"v\":1,\"w\":1", 1),
        ),
        ("another version", json.replacen("\"v\":1", "\"v\":2", 1)),
        (
            "a member twice",
            json.replacen("\"v\":1", "\"v\":1,\"v\":1", 1),
        ),
        ("a member missing", json.replacen("\"acks\":[],", "", 1)),
        (
            "a record as an object",
            json.replacen("\"acks\":[]", "\"acks\":[{}]", 1),
        ),
        (
            "a type in the wrong list",
            json.replacen("\"acks\":[]", &format!("\"acks\":[{line}]"), 1),
        ),
        (
            "a record among the authority",
            json.replacen("\"authority\":[]", &format!("\"authority\":[{line}]"), 1),
        ),
        (
            "garbage among the authority",
            json.replacen("\"authority\":[]", "\"authority\":[\"a.b.c\"]", 1),
        ),
        (
            "a half as a list",
            json.replacen(&half(&json), "[[],[],[],[],[],[],[]]", 1),
        ),
        (
            "the file as a list",
            format!("[1,\"{baker}\",\"{milkman}\",{0},{0}]", half(&json)),
        ),
        ("trailing bytes", format!("{json}{{}}")),
        ("deep nesting", "[".repeat(100_000)),
        (
            "too many lines",
            json.replacen(
                "\"lines\":[]",
                &format!("\"lines\":[{}]", vec!["\"a\""; 65].join(",")),
                1,
            ),
        ),
        (
            "a user with themselves",
            json.replace(&milkman.to_string(), &baker.to_string()),
        ),
    ];
    for (what, text) in cases {
        assert_ne!(text, json, "{what} changed nothing");
        assert!(ChannelFile::decode(text.as_bytes()).is_err(), "{what}");
    }
    let huge = vec![b' '; MAX_BYTES + 1];
    assert_eq!(ChannelFile::decode(&huge).unwrap_err().code(), "too_large");
}

#[test]
fn of_too_many_payments_the_newest_stay_and_too_many_states_are_refused() {
    let (milkman, baker) = users();
    let key = cast().milkman_book;
    let payment = |n: u64| {
        let template = samples()
            .into_iter()
            .find(|s| s.typ == "atomicity-payment")
            .unwrap();
        let mut payment = Signed::<Payment>::decode(&template.jws)
            .unwrap()
            .record()
            .clone();
        payment.id = RecordId::from_entropy([n as u8; 16]);
        payment.seq = seq(n);
        payment.amount = amount(n);
        payment.at = at(n);
        Signed::sign(payment, &key).unwrap().jws().to_owned()
    };
    let payments: Vec<String> = (1..=100).map(payment).collect();
    let file = ChannelFile::collect(milkman, baker, &payments).unwrap();
    let kept: Vec<u64> = file
        .own()
        .records()
        .iter()
        .map(|record| match record {
            AnyRecord::Payment(payment) => payment.record().seq.get(),
            other => panic!("{}", other.typ()),
        })
        .collect();
    assert_eq!(kept, (101 - MAX_PAYMENTS as u64..=100).collect::<Vec<_>>());

    let states: Vec<String> = (1..=193)
        .map(|n| {
            let state: State = support::state(milkman, baker, n, n);
            Signed::sign(state, &key).unwrap().jws().to_owned()
        })
        .collect();
    assert!(ChannelFile::collect(milkman, baker, &states[..192]).is_ok());
    assert!(ChannelFile::collect(milkman, baker, &states).is_err());
}
