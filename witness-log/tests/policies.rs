//! Policies: the example of the specification, what is refused, quorums.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;

use atomicity_witness_log::*;
use common::*;
use proptest::prelude::*;

fn key(n: u8) -> String {
    cosigner_key(n).verifier().to_string()
}

/// The example of the specification, with keys.
fn example() -> String {
    format!(
        "log {}\n\nwitness X1 {}\nwitness X2 {}\nwitness X3 {}\ngroup X-witnesses 2 X1 X2 X3\n\n\
         witness Y1 {}\nwitness Y2 {}\nwitness Y3 {}\ngroup Y-witnesses any Y1 Y2 Y3\n\n\
         group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
        log_key().verifier(),
        key(1),
        key(2),
        key(3),
        key(4),
        key(5),
        key(6)
    )
}

fn set(members: &[u8]) -> BTreeSet<[u8; 32]> {
    members
        .iter()
        .map(|n| *cosigner_key(*n).verifier().public())
        .collect()
}

#[test]
fn the_example_of_the_specification() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    assert_eq!((policy.logs().len(), policy.cosigners().len()), (1, 6));
    assert_eq!(policy.as_bytes(), example().as_bytes());
    for (members, reached) in [
        (&[1, 2, 4][..], true),
        (&[1, 3, 6], true),
        (&[1, 2, 3], false),
        (&[1, 4, 5, 6], false),
        (&[], false),
        (&[1, 2, 3, 4, 5, 6], true),
    ] {
        assert_eq!(policy.reaches_quorum(&set(members)), reached, "{members:?}");
    }
    assert!(policy.can_still_reach_quorum(&set(&[1, 4, 5])));
    assert!(!policy.can_still_reach_quorum(&set(&[1, 2])));
    assert!(!policy.can_still_reach_quorum(&set(&[4, 5, 6])));
}

#[test]
fn what_the_syntax_allows() {
    let log = log_key().verifier();
    let text = format!(
        "# a comment \u{e9}\n \t \n\tlog\t{log}   https://log.example/one \n  # another\nwitness \u{212a} {} https://w.example\nquorum \u{212a}\n",
        key(1)
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert_eq!(
        policy.log(ORIGIN).unwrap().url.as_deref(),
        Some("https://log.example/one")
    );
    assert_eq!(
        policy.cosigners()[0].url.as_deref(),
        Some("https://w.example")
    );
    assert_eq!(policy.cosigners()[0].name, "\u{212a}".as_bytes());
    // Names and comments are octets, not text.
    let text = [
        b"# \xff\xfe\nwitness \xff ",
        key(1).as_bytes(),
        b"\nquorum \xff\n",
    ]
    .concat();
    assert!(Policy::parse(&text).is_ok());
    let none = Policy::parse(b"quorum none\n").unwrap();
    assert!(none.reaches_quorum(&BTreeSet::new()) && none.can_still_reach_quorum(&set(&[1])));
    // The order of logs and witnesses does not matter, and witnesses may stand after the quorum.
    let late = format!("quorum none\nwitness a {}\nlog {log}\n", key(1));
    assert!(Policy::parse(late.as_bytes()).is_ok());
}

#[test]
fn what_the_syntax_refuses() {
    let log = log_key().verifier();
    let other_name = SigningKey::from_secret("another", KeyKind::Ed25519, [1; 32])
        .unwrap()
        .verifier();
    let other_key = SigningKey::from_secret(ORIGIN, KeyKind::Ed25519, [2; 32])
        .unwrap()
        .verifier();
    let renamed = SigningKey::from_secret("other", KeyKind::Cosignature, [101; 32])
        .unwrap()
        .verifier();
    let (a, b) = (key(1), key(2));
    let two = format!("witness a {a}\nwitness b {b}\n");
    for bad in [
        String::new(),
        "\n".to_owned(),
        "quorum none".to_owned(),
        "quorum none\nquorum none\n".to_owned(),
        "quorum\n".to_owned(),
        "quorum a\n".to_owned(),
        "quorum none x\n".to_owned(),
        "Quorum none\n".to_owned(),
        "nonsense\nquorum none\n".to_owned(),
        "quorum none # comment\n".to_owned(),
        format!("quorum a\nwitness a {a}\n"),
        format!("log {a}\nquorum none\n"),
        format!("log {log} url more\nquorum none\n"),
        "log x\nquorum none\n".to_owned(),
        "log\nquorum none\n".to_owned(),
        format!("log {log}\nlog {log}\nquorum none\n"),
        format!("log {log}\nlog {other_name}\nquorum none\n"),
        format!("log {log}\nlog {other_key}\nquorum none\n"),
        format!("witness a {log}\nquorum none\n"),
        format!("witness a {a}\nwitness b {renamed}\nquorum none\n"),
        format!("witness a {a}\nwitness a {b}\nquorum none\n"),
        format!("witness none {a}\nquorum none\n"),
        format!("{two}group a any a b\nquorum a\n"),
        format!("{two}group none any a b\nquorum none\n"),
        format!("{two}group g any\nquorum g\n"),
        format!("{two}group g all\nquorum g\n"),
        format!("{two}group g 0 a b\nquorum g\n"),
        format!("{two}group g 3 a b\nquorum g\n"),
        format!("{two}group g 01 a b\nquorum g\n"),
        format!("{two}group g +1 a b\nquorum g\n"),
        format!("{two}group g some a b\nquorum g\n"),
        format!("{two}group g any a a\nquorum g\n"),
        format!("{two}group g any a none\nquorum g\n"),
        format!("{two}group g any g\nquorum g\n"),
        format!("{two}group g any a h\ngroup h any b\nquorum g\n"),
        format!("{two}group g any a\ngroup h any a b\nquorum h\n"),
        format!("{two}quorum a\r\n"),
        format!("{two}quorum a\0\n"),
        format!("{two}quorum a\x7f\n"),
        format!("quorum none\n{}", "#\n".repeat(40_000)),
    ] {
        assert!(Policy::parse(bad.as_bytes()).is_err(), "{bad:.300}");
    }
    let Err(LogError::PolicyMalformed { line, .. }) =
        Policy::parse(format!("{two}\nbad\n").as_bytes())
    else {
        panic!("a bad line is named")
    };
    assert_eq!(line, 4);
}

#[test]
fn policies_from_parts() {
    let policy = policy(5, 3);
    assert_eq!(policy, Policy::parse(policy.as_bytes()).unwrap());
    assert!(policy.reaches_quorum(&set(&[0, 2, 4])) && !policy.reaches_quorum(&set(&[0, 4])));
    // n − k + 1 of them end a log.
    assert!(policy.can_still_reach_quorum(&set(&[0, 1])));
    assert!(!policy.can_still_reach_quorum(&set(&[0, 1, 2])));
    let keys: Vec<_> = (0..3).map(|n| (cosigner_key(n).verifier(), None)).collect();
    assert_eq!(Policy::from_parts(&[], &keys, 4), Err(LogError::OutOfRange));
    assert_eq!(Policy::from_parts(&[], &keys, 0), Err(LogError::OutOfRange));
    assert!(Policy::from_parts(&[], &[], 0).is_ok());
    let odd = [(log_key().verifier(), Some("a url".to_owned()))];
    assert!(Policy::from_parts(&odd, &keys, 1).is_err());
    let odd = [(log_key().verifier(), Some("x\nquorum none".to_owned()))];
    assert!(Policy::from_parts(&odd, &keys, 1).is_err());
}

#[test]
fn a_checkpoint_is_checked_against_the_policy() {
    let world = World::with_steps(&[0, 1, 2, 3]);
    let policy = policy(3, 2);
    let checked = policy.check(&world.note(4, &[0, 2])).unwrap();
    assert_eq!(checked.checkpoint(), &world.checkpoint(4));
    assert_eq!(checked.log_key(), &log_key().verifier());
    assert_eq!(checked.cosigned().len(), 2);
    assert_eq!(checked.policy_hash(), &policy.hash());
    assert_eq!(
        policy.check(&world.note(4, &[1])),
        Err(LogError::QuorumNotReached)
    );
    assert_eq!(
        policy.check(&world.note(4, &[1, 9])),
        Err(LogError::QuorumNotReached)
    );
    // Cosigners alone don't do.
    let mut unsigned = SignedNote::sign(
        world.log_note(4).text().to_owned(),
        &SigningKey::from_secret("x", KeyKind::Ed25519, [3; 32]).unwrap(),
    )
    .unwrap();
    for line in world.note(4, &[0, 1, 2]).signatures().iter().skip(1) {
        unsigned.add(line.clone()).unwrap();
    }
    assert!(matches!(
        policy.check(&unsigned),
        Err(LogError::NotSigned(_))
    ));
    // One bad cosignature of a known key spoils the note, even beyond the quorum.
    let mut spoiled = world.note(4, &[0, 1]);
    spoiled
        .add(world.note(3, &[2]).signatures()[1].clone())
        .unwrap();
    assert!(matches!(
        policy.check(&spoiled),
        Err(LogError::SignatureInvalid(_))
    ));
    assert!(matches!(
        policy.check_origin(&world.note(4, &[0, 1]), "other"),
        Err(LogError::OriginUnknown(_))
    ));
    let stranger = Policy::from_parts(&[], &[], 0).unwrap();
    assert!(matches!(
        stranger.check(&world.note(4, &[])),
        Err(LogError::OriginUnknown(_))
    ));
    assert!(policy.names(&log_key().verifier()) && policy.names(&cosigner_key(1).verifier()));
    assert!(!policy.names(&cosigner_key(3).verifier()));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "((log|witness|group|quorum|none|any|all|[0-9a-c#]{0,3})[ \t\n]){0,20}") {
        let _ = Policy::parse(&bytes);
        let _ = Policy::parse(text.as_bytes());
    }

    #[test]
    fn who_blocks_is_who_meets_every_quorum(n in 1u8..7, k in 1usize..7, mask in any::<u8>()) {
        prop_assume!(k <= usize::from(n));
        let policy = policy(n, k);
        let members: Vec<u8> = (0..n).filter(|at| mask >> at & 1 == 1).collect();
        prop_assert_eq!(policy.reaches_quorum(&set(&members)), members.len() >= k);
        prop_assert_eq!(policy.can_still_reach_quorum(&set(&members)), usize::from(n) - members.len() >= k);
    }
}
