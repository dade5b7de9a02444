//! Envelopes and the parcels in them.

use super::*;

#[test]
fn an_envelope_opens_for_its_recipient_only_and_tells_nobody_who_wrote() {
    let (alice, bob, carol) = (person(1, 1), person(2, 1), person(3, 1));
    let sent = parcel(&alice, "a.b.c");
    let known = seal_known(&outgoing(&alice, &bob), [5; 24], &sent).unwrap();
    assert_eq!(open_known(&incoming(&bob, &alice), &known).unwrap(), sent);
    assert_eq!(known.route(), &Route::Known(incoming(&bob, &alice).tag()));
    for wrong in [
        incoming(&bob, &carol),
        outgoing(&bob, &alice),
        incoming(&carol, &alice),
        incoming(&person(2, 2), &alice),
    ] {
        assert_eq!(
            open_known(&wrong, &known).unwrap_err().code(),
            "seal_broken"
        );
    }

    let strange = seal_stranger(
        &bob.user,
        &bob.secret.public(),
        bob.secret.id(),
        [6; 32],
        &sent,
    )
    .unwrap();
    let both = [EncryptionSecret::of_root(&bob.root), bob.secret.clone()];
    assert_eq!(open_stranger(&bob.user, &both, &strange).unwrap(), sent);
    assert!(open_stranger(&bob.user, &both[..1], &strange).is_err());
    assert!(open_stranger(&carol.user, std::slice::from_ref(&carol.secret), &strange).is_err());
    assert!(open_stranger(&bob.user, &both, &known).is_err());
    assert!(open_known(&incoming(&bob, &alice), &strange).is_err());

    for envelope in [known, strange] {
        let json = envelope.to_json().unwrap();
        assert!(!json.contains(&alice.user.to_string()));
        assert_eq!(Envelope::from_json(json.as_bytes()).unwrap(), envelope);
    }
}

#[test]
fn a_known_peer_can_send_in_no_other_name() {
    let (alice, bob, carol) = (person(1, 1), person(2, 1), person(3, 1));
    let forged = parcel(&carol, "a.b.c");
    assert!(seal_known(&outgoing(&alice, &bob), [5; 24], &forged).is_err());
}

#[test]
fn envelopes_are_read_strictly() {
    let (alice, bob) = (person(1, 1), person(2, 1));
    let envelope = seal_known(&outgoing(&alice, &bob), [5; 24], &parcel(&alice, "a.b.c")).unwrap();
    let good = envelope.to_json().unwrap();
    let tag = format!("\"tag\":\"{}\"", outgoing(&alice, &bob).tag());
    let ephemeral = format!("\"ephemeral\":\"{}\"", "A".repeat(43));
    assert!(good.contains(&tag));
    let cases = [
        (
            "both routes",
            good.replace(&tag, &format!("{tag},{ephemeral}")),
        ),
        ("no route", good.replace(&format!("{tag},"), "")),
        ("null route", good.replace(&tag, "\"tag\":null")),
        (
            "a null beside",
            good.replace(&tag, &format!("{tag},\"ephemeral\":null")),
        ),
        ("twice", good.replace(&tag, &format!("{tag},{tag}"))),
        (
            "unknown member",
            good.replace(&tag, &format!("{tag},\"x\":1")),
        ),
        ("short tag", good.replace(&tag, "\"tag\":\"AAAA\"")),
        (
            "stray bits",
            good.replace(&tag, &format!("\"tag\":\"{}B\"", "A".repeat(42))),
        ),
        ("padding", good.replace("\"}", "=\"}")),
        ("longer ciphertext", good.replace("\"}", "AAAA\"}")),
        ("trailing bytes", format!("{good} x")),
        (
            "a list of the values",
            format!("[\"{}\",\"{}\"]", bob.user, outgoing(&alice, &bob).tag()),
        ),
        ("deep", "[".repeat(10_000)),
        ("empty", String::new()),
    ];
    for (what, json) in cases {
        assert_ne!(json, good, "{what} changed nothing");
        let error = Envelope::from_json(json.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "payload_invalid", "{what}");
    }
}

#[test]
fn any_flipped_bit_of_an_envelope_is_noticed() {
    let (alice, bob) = (person(1, 1), person(2, 1));
    let sent = parcel(&alice, "a.b.c");
    let agreement = incoming(&bob, &alice);
    let known = seal_known(&outgoing(&alice, &bob), [5; 24], &sent).unwrap();
    let strange = seal_stranger(
        &bob.user,
        &bob.secret.public(),
        bob.secret.id(),
        [6; 32],
        &sent,
    )
    .unwrap();
    for (envelope, is_known) in [(known, true), (strange, false)] {
        let json = envelope.to_json().unwrap().into_bytes();
        for at in 0..json.len() {
            let mut bad = json.clone();
            bad[at] ^= 1;
            let opened = Envelope::from_json(&bad).and_then(|envelope| {
                if is_known {
                    open_known(&agreement, &envelope)
                } else {
                    open_stranger(&bob.user, std::slice::from_ref(&bob.secret), &envelope)
                }
            });
            assert!(
                opened.is_err(),
                "byte {at} of {}",
                String::from_utf8_lossy(&bad)
            );
        }
    }
}

#[test]
fn parcels_are_bounded_and_split_in_order() {
    let alice = person(1, 1);
    let bob = person(2, 1);
    assert_eq!(
        Parcel::new(alice.user, vec![]).unwrap_err().code(),
        "payload_invalid"
    );
    assert!(Parcel::new(alice.user, vec!["x".to_owned(); 33]).is_err());
    let records: Vec<String> = (0..100)
        .map(|n| format!("{n}-{}", "r".repeat(n * 37)))
        .collect();
    let parcels = Parcel::split(alice.user, records.clone()).unwrap();
    let mut seen = Vec::new();
    for parcel in &parcels {
        let envelope = seal_known(&outgoing(&alice, &bob), [5; 24], parcel).unwrap();
        assert!(envelope.to_json().unwrap().len() <= MAX_ENVELOPE_BYTES);
        seen.extend(
            open_known(&incoming(&bob, &alice), &envelope)
                .unwrap()
                .records,
        );
    }
    assert_eq!(seen, records);
    let largest = Parcel::split(alice.user, vec!["r".repeat(47_990)]).unwrap();
    let envelope = seal_known(&outgoing(&alice, &bob), [5; 24], &largest[0]).unwrap();
    assert!(envelope.to_json().unwrap().len() <= MAX_ENVELOPE_BYTES);
    assert_eq!(
        Parcel::split(alice.user, vec!["r".repeat(48_100)])
            .unwrap_err()
            .code(),
        "too_large"
    );
}
