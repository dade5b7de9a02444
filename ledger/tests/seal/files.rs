//! Channel files and private files.

use super::*;

#[test]
fn a_channel_file_opens_for_its_two_users_only() {
    let (alice, bob, carol) = (person(1, 1), person(2, 1), person(3, 1));
    let file = seal_channel_file(&outgoing(&alice, &bob), [9; 24], b"books").unwrap();
    assert_eq!(
        open_channel_file(&outgoing(&alice, &bob), &file).unwrap(),
        b"books"
    );
    assert_eq!(
        open_channel_file(&incoming(&bob, &alice), &file).unwrap(),
        b"books"
    );
    for wrong in [
        outgoing(&bob, &alice),
        incoming(&carol, &alice),
        outgoing(&alice, &carol),
        outgoing(&person(1, 2), &bob),
        outgoing(&alice, &person(2, 2)),
    ] {
        assert_eq!(
            open_channel_file(&wrong, &file).unwrap_err().code(),
            "seal_broken"
        );
    }
}

#[test]
fn any_flipped_bit_of_a_channel_file_is_noticed() {
    let (alice, bob) = (person(1, 1), person(2, 1));
    let agreement = incoming(&bob, &alice);
    let file = seal_channel_file(&outgoing(&alice, &bob), [9; 24], b"books").unwrap();
    for at in 0..file.len() {
        for bit in [0x01, 0x80] {
            let mut bad = file.clone();
            bad[at] ^= bit;
            assert!(open_channel_file(&agreement, &bad).is_err(), "byte {at}");
        }
    }
    for length in [0, 3, 35, 36, 52, file.len() - 1] {
        assert!(open_channel_file(&agreement, &file[..length]).is_err());
    }
    let mut longer = file;
    longer.push(0);
    assert!(open_channel_file(&agreement, &longer).is_err());
}

#[test]
fn oversized_input_is_refused_before_it_is_opened() {
    let (alice, bob) = (person(1, 1), person(2, 1));
    let huge = vec![0u8; 2 * 1024 * 1024];
    let agreement = outgoing(&alice, &bob);
    assert_eq!(peek_channel_file(&huge).unwrap_err().code(), "too_large");
    assert_eq!(
        seal_channel_file(&agreement, [0; 24], &huge)
            .unwrap_err()
            .code(),
        "too_large"
    );
    let private = PrivateKey::of_root(&alice.root).unwrap();
    assert_eq!(
        open_private(&private, "/priv/x", &huge).unwrap_err().code(),
        "too_large"
    );
    assert_eq!(Envelope::from_json(&huge).unwrap_err().code(), "too_large");
}

#[test]
fn a_private_file_opens_for_its_user_at_its_place_only() {
    let (alice, bob) = (person(1, 1), person(2, 1));
    let key = PrivateKey::of_root(&alice.root).unwrap();
    let path = "/priv/atomicity/v0/contacts/0";
    let file = seal_private(&key, path, [4; 24], b"whom I know").unwrap();
    let kept = PrivateKey::from_stored(alice.user, *key.to_bytes());
    assert_eq!(
        open_private(&kept, path, &file).unwrap().as_slice(),
        b"whom I know"
    );
    assert!(open_private(&key, "/priv/atomicity/v0/contacts/1", &file).is_err());
    assert!(open_private(&PrivateKey::of_root(&bob.root).unwrap(), path, &file).is_err());
    let renamed = PrivateKey::from_stored(bob.user, *key.to_bytes());
    assert!(open_private(&renamed, path, &file).is_err());
    for at in 0..file.len() {
        let mut bad = file.clone();
        bad[at] ^= 0x10;
        assert!(open_private(&key, path, &bad).is_err(), "byte {at}");
    }
}
