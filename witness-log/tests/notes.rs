//! Keys, notes, checkpoints, cosignatures and requests: examples of the specifications, round trips, mutations, nonsense.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use atomicity_witness_log::add_checkpoint::{encode_response, parse_response};
use atomicity_witness_log::checkpoint::cosign;
use atomicity_witness_log::note::{MAX_NOTE_BYTES, MAX_SIGNATURES};
use atomicity_witness_log::*;
use common::*;
use proptest::prelude::*;

/// The example of `signed-note`.
const SPEC_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const SPEC_NOTE: &str = "This is an example message.\n\n— example.com/foo \
Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
/// The example of `tlog-cosignature`; the specification does not name the keys.
const SPEC_COSIGNED: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
/// The example of `tlog-witness`.
const SPEC_REQUEST: &str = "old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\n\
example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";
const SPEC_RESPONSE: &str = "— witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==\n\
— witness.example/w1 I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt64vWhO+DlkL0+UfzuOBMh9ChdMkP1vi/lCAsmlw==\n\
— witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==\n";

#[test]
fn the_signed_note_of_the_specification_verifies() {
    let key: VerifierKey = SPEC_KEY.parse().unwrap();
    assert_eq!(
        (key.name(), key.id(), key.kind()),
        ("example.com/foo", 0x530d_903a, KeyKind::Ed25519)
    );
    assert_eq!(key.to_string(), SPEC_KEY);
    let note = SignedNote::parse(SPEC_NOTE.as_bytes()).unwrap();
    assert_eq!(note.text(), "This is an example message.\n");
    assert_eq!(note.verify(&key), Ok(None));
    assert_eq!(note.to_string(), SPEC_NOTE);
}

#[test]
fn any_changed_byte_of_the_note_of_the_specification_is_refused() {
    let key: VerifierKey = SPEC_KEY.parse().unwrap();
    for changed in mutations(SPEC_NOTE.as_bytes()) {
        assert!(
            SignedNote::parse(&changed)
                .and_then(|note| note.verify(&key))
                .is_err()
        );
    }
    for changed in mutations(SPEC_KEY.as_bytes()) {
        let key = std::str::from_utf8(&changed)
            .ok()
            .and_then(|text| text.parse::<VerifierKey>().ok());
        assert_eq!(key, None, "{}", String::from_utf8_lossy(&changed));
    }
}

#[test]
fn the_checkpoint_and_cosignature_of_the_specification_are_read() {
    let signed = SignedCheckpoint::parse(SPEC_COSIGNED.as_bytes()).unwrap();
    let checkpoint = signed.checkpoint();
    assert_eq!(
        (checkpoint.origin.as_str(), checkpoint.size),
        ("example.com/behind-the-sofa", 20_852_163)
    );
    assert_eq!(checkpoint.to_string(), signed.note().text());
    assert_eq!(signed.note().to_string(), SPEC_COSIGNED);
    let ids: Vec<_> = signed
        .note()
        .signatures()
        .iter()
        .map(NoteSignature::key_id)
        .collect();
    assert_eq!(ids, [Some(0x033d_e0ae), Some(0x8d66_cf3f)]);
}

#[test]
fn the_request_and_answer_of_the_specification_are_read() {
    let request = AddCheckpoint::parse(SPEC_REQUEST.as_bytes()).unwrap();
    assert_eq!(
        (request.old_size, request.consistency.len()),
        (20_852_014, 4)
    );
    assert_eq!(request.checkpoint.checkpoint().size, 20_852_163);
    assert_eq!(request.to_string(), SPEC_REQUEST);
    let answer = parse_response(SPEC_RESPONSE.as_bytes()).unwrap();
    assert_eq!(answer.len(), 3);
    assert_eq!(encode_response(&answer), SPEC_RESPONSE);
}

#[test]
fn cosignatures_sign_time_and_text() {
    let world = World::with_steps(&[0, 5, 5]);
    let signed = SignedCheckpoint::new(world.log_note(3)).unwrap();
    let key = cosigner_key(0);
    let mut cosigned = signed.clone();
    cosigned
        .add(&[cosign(&signed, &key, 1_679_315_147).unwrap()])
        .unwrap();
    assert_eq!(cosigned.verify_cosigner(&key.verifier()), Ok(1_679_315_147));
    assert_eq!(cosigned.verify_log(&log_key().verifier()), Ok(()));
    // The newest time of several counts.
    cosigned
        .add(&[cosign(&signed, &key, 1_679_315_100).unwrap()])
        .unwrap();
    assert_eq!(cosigned.verify_cosigner(&key.verifier()), Ok(1_679_315_147));
    assert_eq!(cosign(&signed, &key, 0), Err(LogError::OutOfRange));
    assert_eq!(cosign(&signed, &key, u64::MAX), Err(LogError::OutOfRange));
    assert_eq!(cosign(&signed, &log_key(), 5), Err(LogError::KeyKindWrong));
    assert_eq!(
        checkpoint_signed_by_cosigner(&world),
        Err(LogError::KeyKindWrong)
    );
    // One key, two types: the ids differ, and neither stands for the other.
    let plain = key.verifier().with_kind(KeyKind::Ed25519);
    assert_ne!(plain.id(), key.verifier().id());
    assert!(matches!(
        cosigned.note().verify(&plain),
        Err(LogError::NotSigned(_))
    ));
    assert_eq!(
        cosigned.verify_log(&key.verifier()),
        Err(LogError::KeyKindWrong)
    );
}

fn checkpoint_signed_by_cosigner(world: &World) -> Result<SignedNote, LogError> {
    let key = SigningKey::from_secret(ORIGIN, KeyKind::Cosignature, [1; 32]).unwrap();
    world.checkpoint(3).sign(&key)
}

#[test]
fn a_bad_signature_of_a_known_key_spoils_the_note() {
    let world = World::with_steps(&[0, 5, 5]);
    let (good, other) = (world.log_note(3), world.log_note(2));
    let mut note = good.clone();
    note.add(other.signatures()[0].clone()).unwrap();
    assert!(matches!(
        note.verify(&log_key().verifier()),
        Err(LogError::SignatureInvalid(_))
    ));
    // One by an unknown key does not.
    let stranger = SigningKey::from_secret(ORIGIN, KeyKind::Ed25519, [9; 32]).unwrap();
    let mut note = good.clone();
    note.add(stranger.sign("something else\n").unwrap())
        .unwrap();
    assert_eq!(note.verify(&log_key().verifier()), Ok(None));
    // A signature that is there already is not added again.
    let mut note = good.clone();
    note.add(good.signatures()[0].clone()).unwrap();
    assert_eq!(note, good);
}

#[test]
fn malformed_notes_are_refused() {
    let line = SPEC_NOTE.split_once("\n\n").unwrap().1;
    let good = |text: &str| SignedNote::parse(text.as_bytes());
    assert!(good(&format!("a\n\nb\n\n{line}")).is_ok());
    for bad in [
        String::new(),
        "\n\n".to_owned(),
        "text\n".to_owned(),
        "text\n\n".to_owned(),
        format!("text\n{line}"),
        format!("text\n\n{}", line.trim_end()),
        format!("text\n\n{line}\n"),
        format!("te\txt\n\n{line}"),
        format!("text\r\n\n{line}"),
        format!("text\n\n-{}", &line[3..]),
        format!(
            "text\n\n{}",
            line.replace("example.com/foo ", "example.com/foo  ")
        ),
        format!("text\n\n{}", line.replace("example.com/foo", "exa+mple")),
        format!("text\n\n{}", line.replace("example.com/foo", "")),
        format!("text\n\n{}", line.replace('=', "")),
        "text\n\n— name AAAAAA==\n".to_owned(),
        format!("text\n\n{}", line.repeat(MAX_SIGNATURES + 1)),
        format!("{}\n\n{line}", "x".repeat(MAX_NOTE_BYTES)),
    ] {
        assert!(good(&bad).is_err(), "{bad:.80}");
    }
    assert!(SignedNote::parse(&[0xff, b'\n', b'\n']).is_err());
    assert!(good(&format!("text\n\n{}", line.repeat(MAX_SIGNATURES))).is_ok());
}

#[test]
fn malformed_checkpoints_are_refused() {
    let root = Hash::from_bytes([7; 32]);
    let good = format!("origin\n5\n{root}\n");
    assert!(Checkpoint::parse(&good).is_ok());
    let extended = Checkpoint::parse(&format!("{good}more\nlines\n")).unwrap();
    assert_eq!(extended.extensions, ["more", "lines"]);
    for bad in [
        "".to_owned(),
        format!("\n5\n{root}\n"),
        "origin\n5\n".to_owned(),
        format!("origin\n05\n{root}\n"),
        format!("origin\n+5\n{root}\n"),
        format!("origin\n\n{root}\n"),
        format!("origin\n-1\n{root}\n"),
        format!("origin\n9223372036854775808\n{root}\n"),
        format!("origin\n99999999999999999999999\n{root}\n"),
        format!("origin\n5\n{root}"),
        format!("origin\n5\n{root}\n\n"),
        format!("origin\n5\n{root}\n\nx\n"),
        format!("origin\n5\n{root} \n"),
        "origin\n5\nAAAA\n".to_owned(),
        format!("origin\n0\n{root}\n"),
        // The same hash with other trailing bits.
        format!("origin\n5\n{}\n", root.to_base64().replace("c=", "d=")),
    ] {
        assert!(Checkpoint::parse(&bad).is_err(), "{bad}");
    }
    let empty = Checkpoint::new("origin", 0, Hash::empty_root());
    assert_eq!(Checkpoint::parse(&empty.to_string()), Ok(empty));
    let mut odd = Checkpoint::new(ORIGIN, 1, root);
    odd.extensions = vec!["a\nb".to_owned()];
    assert!(odd.sign(&log_key()).is_err());
    let other = Checkpoint::new("another", 1, root);
    assert!(matches!(
        other.sign(&log_key()),
        Err(LogError::OriginUnknown(_))
    ));
}

#[test]
fn malformed_requests_are_refused() {
    let (head, note) = SPEC_REQUEST.split_once("\n\n").unwrap();
    let hash = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=";
    for bad in [
        head.to_owned(),
        format!("{head}\n{note}"),
        format!("old\n\n{note}"),
        format!("old 01\n\n{note}"),
        format!("old  1\n\n{note}"),
        format!("new 1\n\n{note}"),
        format!("old 20852164\n\n{note}"),
        format!("old 1\nxyz\n\n{note}"),
        format!("old 1{}\n\n{note}", format!("\n{hash}").repeat(64)),
        format!("\n\n{note}"),
    ] {
        assert!(AddCheckpoint::parse(bad.as_bytes()).is_err(), "{bad:.60}");
    }
    let most = format!("old 1{}\n\n{note}", format!("\n{hash}").repeat(63));
    assert!(AddCheckpoint::parse(most.as_bytes()).is_ok());
    for bad in ["", "\n", "text\n", "— w1 CMp+6LWBU0anHGH5aNDTJkH/\n\n"] {
        assert!(parse_response(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn keys_that_anybody_could_sign_for_are_refused() {
    let mut small = [0; 32];
    small[0] = 1;
    for public in [[0; 32], small, [0xff; 32]] {
        assert!(matches!(
            VerifierKey::new("name", KeyKind::Ed25519, &public),
            Err(LogError::KeyInvalid(_))
        ));
    }
    let public = *log_key().verifier().public();
    for name in ["", "a b", "a+b", "a\u{a0}b", "a\nb", "\u{2003}"] {
        assert!(
            VerifierKey::new(name, KeyKind::Ed25519, &public).is_err(),
            "{name:?}"
        );
        assert!(SigningKey::from_secret(name, KeyKind::Ed25519, [1; 32]).is_err());
    }
    assert!(VerifierKey::new(&"n".repeat(256), KeyKind::Ed25519, &public).is_err());
    // ML-DSA, and types that don't exist.
    for kind in [0u8, 2, 3, 5, 6, 0xff] {
        use base64::Engine as _;
        let material = [&[kind][..], &public].concat();
        let text = format!(
            "name+00000000+{}",
            base64::engine::general_purpose::STANDARD.encode(material)
        );
        assert!(text.parse::<VerifierKey>().is_err());
    }
}

#[test]
fn secrets_are_not_printed() {
    let shown = format!("{:?}", log_key());
    assert_eq!(shown, "SigningKey(log.example/one, secret)");
}

#[test]
fn another_implementation_reads_and_writes_the_same_notes() {
    let world = World::with_steps(&[0, 5, 5]);
    let bytes = world.log_note(3).to_string();
    let theirs = signed_note::Note::from_bytes(bytes.as_bytes()).unwrap();
    let key = log_key().verifier().to_string();
    let verifier = signed_note::StandardVerifier::new(&key).unwrap();
    let (verified, _) = theirs
        .verify(&signed_note::VerifierList::new(vec![Box::new(verifier)]))
        .unwrap();
    assert_eq!(verified.len(), 1);
    assert_eq!(theirs.to_bytes(), bytes.as_bytes());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[ -~\n—+=]{0,200}") {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            let _ = SignedNote::parse(bytes);
            let _ = SignedCheckpoint::parse(bytes);
            let _ = AddCheckpoint::parse(bytes);
            let _ = parse_response(bytes);
        }
        let _ = Checkpoint::parse(&text);
        let _ = text.parse::<VerifierKey>();
        let _ = NoteSignature::parse_line(&text);
    }

    #[test]
    fn notes_round_trip(text in "[ -~é]{0,30}(\n[ -~é]{0,30}){0,4}", secrets in prop::collection::vec(any::<[u8; 32]>(), 1..5)) {
        let text = format!("{text}\n");
        let keys: Vec<_> = (0..).zip(&secrets)
            .map(|(n, secret)| SigningKey::from_secret(&format!("key/{n}"), KeyKind::Ed25519, *secret).unwrap())
            .collect();
        let mut note = SignedNote::sign(text.clone(), &keys[0]).unwrap();
        for key in &keys[1..] {
            note.add(key.sign(&text).unwrap()).unwrap();
        }
        let read = SignedNote::parse(note.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&read, &note);
        for key in &keys {
            prop_assert_eq!(read.verify(&key.verifier()), Ok(None));
            prop_assert_eq!(key.verifier().to_string().parse::<VerifierKey>().unwrap(), key.verifier());
        }
    }
}
