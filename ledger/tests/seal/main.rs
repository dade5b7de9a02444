//! Who can open a seal, who can't, and what an outsider sees of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod envelopes;
mod files;

use atomicity_ledger::seal::{
    Agreement, CHANNEL_CLASSES, EncryptionKey, EncryptionSecret, Envelope, KeyId,
    MAX_ENVELOPE_BYTES, PARCEL_CLASSES, Parcel, PrivateKey, Route, channel_path, open_channel_file,
    open_known, open_private, open_stranger, peek_channel_file, seal_channel_file, seal_known,
    seal_private, seal_stranger,
};
use atomicity_ledger::{Keypair, UserKey};
use proptest::prelude::*;

struct Person {
    root: Keypair,
    user: UserKey,
    secret: EncryptionSecret,
}

fn person(seed: u8, key: u32) -> Person {
    let root = Keypair::from_secret(&[seed; 32]);
    Person {
        user: root.user_key(),
        secret: EncryptionSecret::new(KeyId::new(key), [seed ^ 0x55; 32]),
        root,
    }
}

fn outgoing(me: &Person, peer: &Person) -> Agreement {
    Agreement::outgoing(
        &me.user,
        &me.secret,
        &peer.user,
        &peer.secret.public(),
        peer.secret.id(),
    )
    .unwrap()
}

fn incoming(me: &Person, peer: &Person) -> Agreement {
    Agreement::incoming(
        &me.user,
        &me.secret,
        &peer.user,
        &peer.secret.public(),
        peer.secret.id(),
    )
    .unwrap()
}

fn parcel(from: &Person, text: &str) -> Parcel {
    Parcel::new(from.user, vec![text.to_owned()]).unwrap()
}

#[test]
fn both_sides_compute_the_same_names_and_every_other_pair_other_ones() {
    let people: Vec<Person> = vec![
        person(1, 1),
        person(2, 1),
        person(3, 1),
        person(1, 2),
        person(2, 2),
    ];
    let mut blinds = Vec::new();
    let mut tags = Vec::new();
    for a in &people {
        for b in &people {
            if a.user == b.user {
                assert_eq!(
                    Agreement::outgoing(
                        &a.user,
                        &a.secret,
                        &b.user,
                        &b.secret.public(),
                        b.secret.id()
                    )
                    .unwrap_err()
                    .code(),
                    "key_invalid"
                );
                continue;
            }
            let (mine, theirs) = (outgoing(a, b), incoming(b, a));
            assert_eq!(mine.blind(), theirs.blind());
            assert_eq!(mine.tag(), theirs.tag());
            assert_eq!((mine.from(), mine.to()), (&a.user, &b.user));
            assert_eq!(
                (mine.from_key(), mine.to_key()),
                (a.secret.id(), b.secret.id())
            );
            blinds.push(mine.blind().to_string());
            tags.push(mine.tag().to_string());
        }
    }
    let count = blinds.len();
    assert_eq!(count, 16);
    for name in &blinds {
        assert_eq!(name.len(), 52);
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        );
    }
    assert!(tags.iter().all(|tag| tag.len() == 43));
    for list in [&mut blinds, &mut tags] {
        list.sort();
        list.dedup();
        assert_eq!(list.len(), count, "a name stands for two pairs");
    }
}

#[test]
fn a_user_without_a_profile_is_reached_by_the_root_key_alone() {
    let (alice, bob) = (person(1, 1), person(2, 1));
    let bob_root = EncryptionSecret::of_root(&bob.root);
    let from_alice = Agreement::outgoing(
        &alice.user,
        &alice.secret,
        &bob.user,
        &EncryptionKey::of_root(&bob.user).unwrap(),
        KeyId::ROOT,
    )
    .unwrap();
    let by_bob = Agreement::incoming(
        &bob.user,
        &bob_root,
        &alice.user,
        &alice.secret.public(),
        alice.secret.id(),
    )
    .unwrap();
    let file = seal_channel_file(&from_alice, [9; 24], b"credit for you").unwrap();
    assert_eq!(peek_channel_file(&file).unwrap().to_key, KeyId::ROOT);
    assert_eq!(
        open_channel_file(&by_bob, &file).unwrap(),
        b"credit for you"
    );

    let key = EncryptionKey::of_root(&bob.user).unwrap();
    let hello = parcel(&alice, "hello");
    let envelope = seal_stranger(&bob.user, &key, KeyId::ROOT, [3; 32], &hello).unwrap();
    assert_eq!(
        open_stranger(&bob.user, &[bob_root], &envelope).unwrap(),
        hello
    );
}

#[test]
fn two_users_with_one_encryption_key_share_nothing() {
    // Mallory publishes Bob's encryption key as his own.
    let (alice, bob) = (person(1, 1), person(2, 1));
    let mallory = person(7, 1);
    let to_bob = outgoing(&alice, &bob);
    let to_mallory = Agreement::outgoing(
        &alice.user,
        &alice.secret,
        &mallory.user,
        &bob.secret.public(),
        bob.secret.id(),
    )
    .unwrap();
    assert_ne!(to_bob.tag(), to_mallory.tag());
    let file = seal_channel_file(&to_mallory, [1; 24], b"x").unwrap();
    assert!(open_channel_file(&to_bob, &file).is_err());
}

#[test]
fn nothing_secret_is_printed() {
    let (alice, bob) = (person(1, 1), person(2, 1));
    let shown = format!(
        "{:?} {:?} {:?}",
        outgoing(&alice, &bob),
        alice.secret,
        PrivateKey::from_stored(alice.user, [0xab; 32])
    );
    assert_eq!(shown.matches("redacted").count(), 3);
    assert!(!shown.contains("171"));
    assert!(!shown.contains(&outgoing(&alice, &bob).blind().to_string()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_sealed_comes_back_and_its_size_shows_the_class_only(
        content in proptest::collection::vec(any::<u8>(), 0..70_000),
        nonce in any::<[u8; 24]>(),
        ids in any::<(u32, u32)>(),
    ) {
        let (alice, bob) = (person(1, ids.0), person(2, ids.1));
        let agreement = outgoing(&alice, &bob);
        let file = seal_channel_file(&agreement, nonce, &content).unwrap();
        let class = CHANNEL_CLASSES.iter().find(|class| content.len() + 4 <= **class).unwrap();
        prop_assert_eq!(file.len(), class + 36 + 16);
        prop_assert_eq!(peek_channel_file(&file).unwrap().from_key.get(), ids.0);
        prop_assert_eq!(peek_channel_file(&file).unwrap().to_key.get(), ids.1);
        prop_assert_eq!(open_channel_file(&incoming(&bob, &alice), &file).unwrap(), content);
        prop_assert!(channel_path(agreement.blind()).starts_with("/pub/atomicity/v0/channels/"));
    }

    #[test]
    fn parcels_come_back_and_their_envelopes_show_the_class_only(
        records in proptest::collection::vec("[A-Za-z0-9._-]{1,1400}", 1..=32),
        nonce in any::<[u8; 24]>(),
        entropy in any::<[u8; 32]>(),
    ) {
        let (alice, bob) = (person(1, 1), person(2, 4));
        let sent = Parcel::new(alice.user, records).unwrap();
        let known = seal_known(&outgoing(&alice, &bob), nonce, &sent).unwrap();
        let strange =
            seal_stranger(&bob.user, &bob.secret.public(), bob.secret.id(), entropy, &sent).unwrap();
        prop_assert!(PARCEL_CLASSES.contains(&(known.size() - 24 - 16)));
        prop_assert!(PARCEL_CLASSES.contains(&(strange.size() - 4 - 16)));
        prop_assert_eq!(&open_known(&incoming(&bob, &alice), &known).unwrap(), &sent);
        prop_assert_eq!(open_stranger(&bob.user, &[bob.secret], &strange).unwrap(), sent);
    }

    #[test]
    fn arbitrary_bytes_open_nothing_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3_000)) {
        let (alice, bob) = (person(1, 1), person(2, 1));
        prop_assert!(open_channel_file(&incoming(&bob, &alice), &bytes).is_err());
        prop_assert!(Envelope::from_json(&bytes).is_err());
        prop_assert!(open_private(&PrivateKey::of_root(&alice.root).unwrap(), "/priv/a", &bytes).is_err());
        if let Ok(bytes) = <[u8; 32]>::try_from(bytes.iter().copied().take(32).collect::<Vec<_>>()) {
            let _ = EncryptionKey::from_bytes(bytes);
        }
    }

    #[test]
    fn names_are_read_back_as_written_and_in_one_spelling(bytes in any::<[u8; 32]>()) {
        use atomicity_ledger::seal::{Blind, Tag};
        let (blind, tag) = (Blind::from_bytes(bytes), Tag::from_bytes(bytes));
        prop_assert_eq!(blind.to_string().parse::<Blind>().unwrap(), blind);
        prop_assert_eq!(tag.to_string().parse::<Tag>().unwrap(), tag);
        prop_assert!(blind.to_string().to_uppercase().parse::<Blind>().is_err());
        let padded = format!("{}=", tag);
        prop_assert!(padded.parse::<Tag>().is_err());
    }
}

#[test]
fn encryption_keys_of_small_order_are_refused() {
    // The points of small order of Curve25519: 0, 1, p − 1 and two of order 8, then p and p + 1, which spell 0 and 1 again.
    let mut p = [0xff; 32];
    p[31] = 0x7f;
    let near_p = |low: u8| {
        let mut bytes = p;
        bytes[0] = low;
        bytes
    };
    let mut one = [0; 32];
    one[0] = 1;
    let order_8 = [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ]
    .map(|hex| std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()));
    let all = [
        [0; 32],
        one,
        near_p(0xec),
        near_p(0xed),
        near_p(0xee),
        order_8[0],
        order_8[1],
    ];
    for bytes in all {
        assert!(EncryptionKey::from_bytes(bytes).is_err());
    }
}
