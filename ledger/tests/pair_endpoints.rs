//! Where two users can be paid by each other alone: the newest list counts, it lies in the channel file, and comes back after a loss.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use atomicity_ledger::channel_file::ChannelFile;
use atomicity_ledger::jws::Version;
use atomicity_ledger::pair::{Outcome, Pair};
use atomicity_ledger::record::{Endpoint, Endpoints};
use atomicity_ledger::{AnyRecord, Keypair, Serial, Signed};
use common::{Party, at, bread, delegation, friends, key, revocation, total};

fn place(value: &str) -> Endpoint {
    Endpoint {
        method: "usd-cash-hand".parse().unwrap(),
        value: value.parse().unwrap(),
        min: None,
        max: Some("20".parse().unwrap()),
    }
}

fn list(from: &Party, to: &Party, serial: u64, value: &str, pen: &Keypair) -> AnyRecord {
    let list = Endpoints {
        v: Version,
        from: from.user(),
        to: to.user(),
        serial: Serial::new(serial).unwrap(),
        endpoints: vec![place(value)],
        expires: None,
        at: at(1),
    };
    Signed::sign(list, pen).unwrap().into()
}

fn known(to: &Party) -> Vec<String> {
    let places = to.pair.private_endpoints(at(1)).iter();
    places.map(|place| place.value.to_string()).collect()
}

fn publish(party: &Party, values: &[&str]) -> (Pair, AnyRecord) {
    let mut pair = party.pair.clone();
    let places = values.iter().map(|value| place(value)).collect();
    let signed = pair.set_endpoints(places, None, &party.device, at(1));
    (pair, signed.unwrap().into())
}

#[test]
fn the_newest_list_counts_in_whatever_order_they_come() {
    let (mut a, mut b) = friends(500, 300);
    let (pair, first) = publish(&a, &["at home"]);
    a.pair = pair;
    let (pair, second) = publish(&a, &["at work", "at home"]);
    a.pair = pair;
    b.receive(&second).unwrap();
    assert_eq!(known(&b), ["at work", "at home"]);
    assert_eq!(b.receive(&first).unwrap(), Outcome::Stale);
    assert_eq!(b.receive(&second).unwrap(), Outcome::Duplicate);
    assert_eq!(known(&b), ["at work", "at home"]);
    // Nothing is owed by it.
    assert_eq!(b.balance(), 0);
    let (pair, none) = publish(&a, &[]);
    a.pair = pair;
    b.receive(&none).unwrap();
    assert_eq!(known(&b), Vec::<String>::new());
    // Stored and read again it is the same.
    let text = serde_json::to_string(&b.pair).unwrap();
    assert_eq!(serde_json::from_str::<Pair>(&text).unwrap(), b.pair);
}

#[test]
fn a_list_that_expires_counts_as_empty_and_wrong_ones_change_nothing() {
    let (mut a, mut b) = friends(500, 300);
    let places = vec![place("at home")];
    let brief = a
        .pair
        .set_endpoints(places.clone(), Some(at(10)), &a.device, at(1));
    b.receive(&brief.unwrap().into()).unwrap();
    assert_eq!(b.pair.private_endpoints(at(9)).len(), 1);
    assert_eq!(b.pair.private_endpoints(at(10)).len(), 0);
    let before = b.pair.clone();
    // By a key that keeps no books, towards somebody else, and by the holder of the list himself.
    let forged = list(&a, &b, 9, "elsewhere", &key(66));
    b.pair.authority_checked(key(66).signer_key(), at(1));
    let before_looking = b.pair.clone();
    assert!(b.receive(&forged).is_err());
    assert_eq!(b.pair, before_looking);
    b.pair = before;
    let (_, mine) = publish(&b, &["here"]);
    assert_eq!(b.receive(&mine).unwrap_err().code(), "foreign_channel");
    // Seventeen of them, or by another pen: nothing is signed.
    let many: Vec<Endpoint> = (0..17).map(|n| place(&n.to_string())).collect();
    let before = a.pair.clone();
    assert!(a.pair.set_endpoints(many, None, &a.device, at(2)).is_err());
    let other = a.pair.set_endpoints(places, None, &key(66), at(2));
    assert_eq!(other.unwrap_err().code(), "no_pen");
    assert_eq!(a.pair, before);
}

#[test]
fn both_halves_of_the_channel_file_have_it_and_old_files_are_read() {
    let (mut a, mut b) = friends(500, 300);
    let (pair, mine) = publish(&a, &["at home"]);
    a.pair = pair;
    b.receive(&mine).unwrap();
    let file = |party: &Party, other: &Party| {
        let records = party.pair.file_records();
        let all = records.own.iter().chain(&records.held);
        ChannelFile::collect(party.user(), other.user(), all).unwrap()
    };
    let (own, theirs) = (file(&a, &b), file(&b, &a));
    assert!(own.own().records().contains(&mine));
    assert!(theirs.held().records().contains(&mine));
    let text = String::from_utf8(theirs.encode().unwrap()).unwrap();
    assert_eq!(ChannelFile::decode(text.as_bytes()).unwrap(), theirs);
    // A file from before there were such lists is the same without the member.
    let old = text.replace(&format!(",\"endpoints\":[\"{}\"]", mine.jws()), "");
    assert_ne!(old, text);
    let old = ChannelFile::decode(old.as_bytes()).unwrap();
    assert!(!old.held().records().contains(&mine));
    // Two lists in a half, or one in the wrong half, void the file; of several that are collected the newest stays.
    let newer = list(&a, &b, 5, "at work", &a.device);
    let one = format!("\"{}\"", mine.jws());
    let two = text.replace(&one, &format!("{one},\"{}\"", newer.jws()));
    assert_eq!(
        ChannelFile::decode(two.as_bytes()).unwrap_err().code(),
        "payload_invalid"
    );
    let wrong = text
        .replace(&format!(",\"endpoints\":[{one}]"), "")
        .replacen(
            "\"refusals\":[]",
            &format!("\"refusals\":[],\"endpoints\":[{one}]"),
            1,
        );
    assert!(ChannelFile::decode(wrong.as_bytes()).is_err());
    let both = [newer.jws(), mine.jws(), newer.jws()];
    let file = ChannelFile::collect(a.user(), b.user(), both).unwrap();
    assert_eq!(file.own().records(), [newer]);
}

#[test]
fn after_a_loss_both_lists_are_back_and_the_new_keeper_has_the_word() {
    let (mut a, mut b) = friends(500, 300);
    let (pair, mine) = publish(&a, &["at home"]);
    a.pair = pair;
    b.receive(&mine).unwrap();
    let (pair, theirs) = publish(&b, &["in the bakery"]);
    b.pair = pair;
    a.receive(&theirs).unwrap();
    let thief = a.device.clone();
    let new = key(50);
    let records = a.pair.file_records();
    let decode = |list: &[String]| -> Vec<AnyRecord> {
        list.iter()
            .map(|jws| AnyRecord::decode(jws).unwrap())
            .collect()
    };
    let mut found = decode(&records.own);
    // What nobody signed who ever kept the books is not taken.
    found.push(list(&a, &b, 7, "elsewhere", &key(66)));
    let fresh = delegation(&a.root, &new, 1000, 2);
    let recovered = Pair::recover(
        a.user(),
        b.user(),
        &found,
        &decode(&records.held),
        &[fresh.jws().to_owned()],
        BTreeMap::from([(bread(), total(1000))]),
        &a.root,
        &new,
        at(2),
    )
    .unwrap();
    let renewed = recovered.endpoints.unwrap();
    assert_eq!(renewed.record().endpoints, [place("at home")]);
    assert_eq!(
        (renewed.record().serial.get(), renewed.kid()),
        (2, new.signer_key())
    );
    a.pair = recovered.pair;
    assert_eq!(known(&a), ["in the bakery"]);

    // The thief has the last serial of all; the new keeper's list counts all the same.
    let stolen = list(&a, &b, Serial::MAX, "at the thief's", &thief);
    b.receive(&stolen).unwrap();
    assert_eq!(known(&b), ["at the thief's"]);
    b.pair.learn_authority(fresh.jws(), at(2)).unwrap();
    b.pair.authority_checked(new.signer_key(), at(2));
    b.take(&revocation(&a.root, &thief).into());
    b.take(&recovered.book.into());
    b.receive(&renewed.into()).unwrap();
    assert_eq!(known(&b), ["at home"]);
    let again = b.receive(&stolen);
    assert!(!matches!(again, Ok(Outcome::Applied { .. })), "{again:?}");
    assert_eq!(known(&b), ["at home"]);
}

#[test]
fn whoever_used_up_the_serials_hinders_no_recovery() {
    let (a, b) = friends(500, 300);
    let stolen = list(&a, &b, Serial::MAX, "at the thief's", &a.device);
    let mut found: Vec<AnyRecord> = a
        .pair
        .file_records()
        .own
        .iter()
        .map(|jws| AnyRecord::decode(jws).unwrap())
        .collect();
    found.push(stolen);
    let fresh = delegation(&a.root, &key(50), 1000, 2);
    let recovered = Pair::recover(
        a.user(),
        b.user(),
        &found,
        &[],
        &[fresh.jws().to_owned()],
        BTreeMap::from([(bread(), total(1000))]),
        &a.root,
        &key(50),
        at(2),
    );
    let renewed = recovered.unwrap().endpoints.unwrap();
    assert_eq!(renewed.record().serial.get(), 1);
}
