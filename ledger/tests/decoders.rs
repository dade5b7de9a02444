//! Decoders never panic, refuse every mutation of a valid record, and read back what was written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use atomicity_ledger::authority::Grant;
use atomicity_ledger::channel_file::ChannelFile;
use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{AnyRecord, Payment, State};
use atomicity_ledger::{
    Balance, Epoch, IouNumber, Keypair, Memo, Money, RecordHash, RecordId, Seq, Signed, Timestamp,
    Total, Unit, UserKey, evidence,
};
use proptest::prelude::*;
use support::{AT, BAKER, BAKER_BOOK, MILKMAN, grant, iou, samples, seq, total, unit};

#[test]
fn every_flipped_byte_of_every_type_is_refused() {
    for sample in samples() {
        AnyRecord::decode(&sample.jws).unwrap();
        for place in 0..sample.jws.len() {
            // One bit, another one, and what turns letters into the other case: all stay ASCII.
            for mask in [0x01, 0x02, 0x20] {
                let mut bytes = sample.jws.clone().into_bytes();
                bytes[place] ^= mask;
                let mutated = String::from_utf8(bytes).unwrap();
                assert!(
                    AnyRecord::decode(&mutated).is_err(),
                    "{} still reads with byte {place} changed by {mask:#x}",
                    sample.description
                );
            }
        }
    }
}

#[test]
fn every_cut_and_every_doubled_byte_is_refused() {
    for sample in samples() {
        for place in 0..sample.jws.len() {
            let (head, tail) = sample.jws.split_at(place);
            assert!(AnyRecord::decode(head).is_err());
            let doubled = format!("{head}{}{tail}", &tail[..1]);
            assert!(AnyRecord::decode(&doubled).is_err());
            let missing = format!("{head}{}", &tail[1..]);
            assert!(AnyRecord::decode(&missing).is_err());
        }
    }
}

#[test]
fn every_flipped_byte_of_a_grant_is_refused() {
    let key = Keypair::from_secret(&BAKER_BOOK);
    let caps = vec![format!("/pub/atomicity/v0/book/{}:rw", key.signer_key())];
    let jws = grant(&BAKER, &key, &caps, AT / 1000, AT / 1000 + 100);
    assert_eq!(Grant::decode(&jws).unwrap().claims().cnf, key.signer_key());
    for place in 0..jws.len() {
        for mask in [0x01, 0x20] {
            let mut bytes = jws.clone().into_bytes();
            bytes[place] ^= mask;
            let mutated = String::from_utf8(bytes).unwrap();
            assert!(Grant::decode(&mutated).is_err(), "byte {place}");
        }
    }
}

#[test]
fn a_record_says_the_same_after_it_was_read() {
    for sample in samples() {
        let record = AnyRecord::decode(&sample.jws).unwrap();
        assert_eq!(record.jws(), sample.jws);
        assert_eq!(record.typ(), sample.typ);
        assert_eq!(record.kid(), sample.key().signer_key());
        assert_eq!(record.hash(), RecordHash::of(&sample.jws));
    }
}

#[test]
fn signing_again_gives_the_same_bytes() {
    for (first, second) in samples().into_iter().zip(samples()) {
        assert_eq!(first.jws, second.jws);
    }
}

fn a_state() -> impl Strategy<Value = State> {
    let numbers = prop::collection::btree_set(0..(1u64 << 62), 0..128);
    (
        0..=i64::MAX as u64,
        any::<prop::sample::Index>(),
        1..(1u64 << 53),
        0..(1u64 << 31),
        numbers,
        0..(1u64 << 53),
    )
        .prop_map(|(issued, part, number, epoch, open, at)| {
            let merged = if issued == 0 {
                0
            } else {
                part.index(issued as usize) as u64
            };
            State {
                v: Version,
                from: Keypair::from_secret(&MILKMAN).user_key(),
                to: Keypair::from_secret(&BAKER).user_key(),
                unit: unit("BREAD/2"),
                epoch: Epoch::new(epoch).unwrap(),
                seq: seq(number),
                issued: total(issued),
                merged: total(merged),
                returned: total((issued - merged) / 2),
                next: iou(open.last().map_or(0, |n| n + 1)),
                open: open.into_iter().map(iou).collect(),
                at: Timestamp::from_millis(at).unwrap(),
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_state_comes_back(state in a_state(), secret in any::<[u8; 32]>()) {
        let key = Keypair::from_secret(&secret);
        let signed = Signed::sign(state.clone(), &key).unwrap();
        let read = Signed::<State>::decode(signed.jws()).unwrap();
        prop_assert_eq!(read.record(), &state);
        prop_assert_eq!(read.kid(), key.signer_key());
        prop_assert!(Signed::<Payment>::decode(signed.jws()).is_err());
    }

    #[test]
    fn any_words_beside_a_payment_come_back(memo in "\\PC{1,100}") {
        let template = samples().into_iter().find(|s| s.typ == "atomicity-payment").unwrap();
        let mut payment = Signed::<Payment>::decode(&template.jws).unwrap().record().clone();
        match memo.parse::<Memo>() {
            Ok(words) => {
                payment.memo = Some(words);
                let signed = Signed::sign(payment.clone(), &template.key()).unwrap();
                let read = Signed::<Payment>::decode(signed.jws()).unwrap();
                prop_assert_eq!(read.record(), &payment);
            }
            Err(error) => prop_assert_eq!(error.code(), "text_invalid"),
        }
    }

    #[test]
    fn arbitrary_text_is_no_record(text in "\\PC{0,400}") {
        prop_assert!(AnyRecord::decode(&text).is_err());
        prop_assert!(Grant::decode(&text).is_err());
    }

    #[test]
    fn arbitrary_parts_are_no_record(
        header in prop::collection::vec(any::<u8>(), 0..200),
        payload in prop::collection::vec(any::<u8>(), 0..400),
        signature in prop::collection::vec(any::<u8>(), 60..68),
    ) {
        use base64::Engine as _;
        let part = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let text = format!("{}.{}.{}", part(&header), part(&payload), part(&signature));
        prop_assert!(AnyRecord::decode(&text).is_err());
        prop_assert!(Grant::decode(&text).is_err());
    }

    #[test]
    fn a_signed_payload_of_any_json_is_judged_without_panic(
        payload in r#"\{("[a-z]{1,6}":("[A-Z0-9/]{0,12}"|[0-9.e-]{1,20}|null|\[\]|\{\})?,?){0,12}\}?"#,
        which in any::<prop::sample::Index>(),
    ) {
        let all = samples();
        let sample = which.get(&all);
        let header = format!(
            r#"{{"alg":"EdDSA","typ":"{}","kid":"{}"}}"#,
            sample.typ,
            sample.key().signer_key()
        );
        let jws = support::raw_jws(&header, &payload, &sample.secret);
        prop_assert!(AnyRecord::decode(&jws).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_no_file_and_no_bundle(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(ChannelFile::decode(&bytes).is_err());
        prop_assert!(evidence::verify(&bytes, None).is_err());
    }

    #[test]
    fn values_read_from_text_are_written_the_same_or_refused(text in "[A-Za-z0-9+/_. -]{0,60}") {
        if let Ok(key) = text.parse::<UserKey>() {
            prop_assert_eq!(key.to_string(), text.clone());
        }
        if let Ok(unit) = text.parse::<Unit>() {
            prop_assert_eq!(unit.to_string(), text.clone());
        }
        if let Ok(total) = text.parse::<Total>() {
            prop_assert_eq!(total.to_string(), text.clone());
        }
        if let Ok(hash) = text.parse::<RecordHash>() {
            prop_assert_eq!(hash.to_string(), text.clone());
        }
        if let Ok(id) = text.parse::<RecordId>() {
            prop_assert_eq!(id.to_string(), text.clone());
        }
        let _ = Money::parse(&text, &[unit("USD/2")]);
        if let Ok(balance) = serde_json::from_value::<Balance>(serde_json::json!(text)) {
            prop_assert_eq!(serde_json::to_value(balance).unwrap(), serde_json::json!(text));
        }
    }

    #[test]
    fn counters_are_bounded(n in any::<u64>()) {
        prop_assert_eq!(Seq::new(n).is_ok(), n < 1 << 53);
        prop_assert_eq!(Epoch::new(n).is_ok(), n < 1 << 31);
        prop_assert_eq!(IouNumber::new(n).is_ok(), n < 1 << 63);
        prop_assert_eq!(Timestamp::from_millis(n).is_ok(), n < 1 << 53);
        prop_assert_eq!(Total::from_minor(n).is_ok(), n < 1 << 63);
    }
}
