//! Layers of equal size: who can open what, and what answers tell the payer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use atomicity_ledger::onion::{
    Answer, FAILURE_BYTES, Failure, FailureCode, HopKey, HopSecret, LAYERS_BYTES, MAX_HOPS, Opened,
    Payload, REPLY_BYTES, ReplyKeys, open, seal,
};
use atomicity_ledger::seal::{EncryptionKey, EncryptionSecret, KeyId};
use atomicity_ledger::text::Layers;
use atomicity_ledger::{Amount, Keypair, LedgerError, PaymentHash, Preimage, RecordId, UserKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

struct Person {
    root: Keypair,
    user: UserKey,
    secret: EncryptionSecret,
}

fn person(n: u8) -> Person {
    let root = Keypair::from_secret(&[n; 32]);
    Person {
        user: root.user_key(),
        secret: EncryptionSecret::new(KeyId::new(1), [n ^ 0x55; 32]),
        root,
    }
}

impl Person {
    fn hop(&self) -> HopKey {
        HopKey {
            user: self.user,
            key: self.secret.public(),
            id: self.secret.id(),
        }
    }

    fn open(&self, layers: &Layers, hash: &PaymentHash) -> Result<Opened, LedgerError> {
        open(layers, hash, &self.user, std::slice::from_ref(&self.secret))
    }
}

fn hash(n: u8) -> PaymentHash {
    Preimage::from_bytes([n; 32]).hash()
}

fn amount(minor: u64) -> Amount {
    Amount::from_minor(minor).unwrap()
}

/// People 1 to n, what each is to do, and the layers.
fn path(n: u8, entropy: u8) -> (Vec<Person>, Vec<Payload>, Layers, ReplyKeys) {
    let people: Vec<Person> = (1..=n).map(person).collect();
    let payloads: Vec<Payload> = (1..=n)
        .map(|i| {
            if i == n {
                Payload::Deliver {
                    invoice: RecordId::from_entropy([9; 16]),
                    total: amount(500),
                }
            } else {
                Payload::Forward {
                    next: person(i + 1).user,
                    amount: amount(500 + u64::from(n - i)),
                    reply: i + 1 == n,
                }
            }
        })
        .collect();
    let hops: Vec<(HopKey, Payload)> = people
        .iter()
        .map(Person::hop)
        .zip(payloads.clone())
        .collect();
    let (layers, keys) = seal(&hops, &hash(7), &[entropy; 32]).unwrap();
    (people, payloads, layers, keys)
}

/// Opens all layers in turn.
fn peel(people: &[Person], layers: &Layers) -> Vec<Opened> {
    let mut layers = layers.clone();
    let mut opened = Vec::new();
    for person in people {
        let one = person.open(&layers, &hash(7)).unwrap();
        layers = one.rest.clone();
        opened.push(one);
    }
    opened
}

fn flipped(layers: &Layers, byte: usize, mask: u8) -> Layers {
    let mut bytes = URL_SAFE_NO_PAD.decode(layers.as_str()).unwrap();
    let at = byte % bytes.len();
    bytes[at] ^= mask;
    URL_SAFE_NO_PAD.encode(bytes).parse().unwrap()
}

fn secrets(people: &[Person], layers: &Layers) -> Vec<HopSecret> {
    peel(people, layers).into_iter().map(|o| o.secret).collect()
}

/// The way back of an answer that hop `origin` has sealed.
fn carried(
    secrets: &[HopSecret],
    origin: usize,
    sealed: Layers,
    wrap: impl Fn(&HopSecret, &Layers) -> Result<Layers, LedgerError>,
) -> Layers {
    let before = secrets[..origin].iter().rev();
    before.fold(sealed, |layers, secret| wrap(secret, &layers).unwrap())
}

#[test]
fn layers_have_one_size_and_the_longest_text_of_an_answer_fits() {
    let (_, _, layers, keys) = path(1, 1);
    assert_eq!(layers.as_str().len(), LAYERS_BYTES.div_ceil(3) * 4 - 1);
    assert_eq!(REPLY_BYTES.div_ceil(3) * 4, Layers::MAX_BYTES);
    assert_eq!((LAYERS_BYTES, FAILURE_BYTES, keys.hops()), (2081, 256, 1));
}

#[test]
fn a_path_has_one_to_ten_hops_and_a_gift_few_words() {
    assert_eq!(
        seal(&[], &hash(7), &[1; 32]).unwrap_err().code(),
        "layers_invalid"
    );
    let hop = (person(1).hop(), Payload::Gift { memo: None });
    let long = vec![hop.clone(); MAX_HOPS + 1];
    assert_eq!(
        seal(&long, &hash(7), &[1; 32]).unwrap_err().code(),
        "layers_invalid"
    );
    for (len, fits) in [(140, true), (141, false)] {
        let memo = Some("m".repeat(len).parse().unwrap());
        let gift = Payload::Gift { memo };
        let sealed = seal(&[(hop.0.clone(), gift.clone())], &hash(7), &[1; 32]);
        match sealed {
            Ok((layers, _)) if fits => {
                assert_eq!(person(1).open(&layers, &hash(7)).unwrap().payload, gift);
            }
            Err(error) if !fits => assert_eq!(error.code(), "too_large"),
            other => panic!("{len}: {other:?}"),
        }
    }
}

#[test]
fn a_hop_tries_the_keys_that_it_still_reads() {
    let (bob, hash) = (person(1), hash(7));
    let root_key = HopKey {
        user: bob.user,
        key: EncryptionKey::of_root(&bob.user).unwrap(),
        id: KeyId::ROOT,
    };
    let gift = Payload::Gift { memo: None };
    let (layers, _) = seal(&[(root_key, gift.clone())], &hash, &[1; 32]).unwrap();
    let all = [bob.secret.clone(), EncryptionSecret::of_root(&bob.root)];
    assert_eq!(open(&layers, &hash, &bob.user, &all).unwrap().payload, gift);
    let without_root = open(&layers, &hash, &bob.user, &all[..1]);
    assert_eq!(without_root.unwrap_err().code(), "layers_invalid");
    // The same key under another number, and for another user, opens nothing.
    let renumbered = EncryptionSecret::new(KeyId::new(2), *all[1].to_bytes());
    assert!(open(&layers, &hash, &bob.user, &[renumbered]).is_err());
    assert!(open(&layers, &hash, &person(2).user, &all).is_err());
    assert!(open(&layers, &hash, &bob.user, &[]).is_err());
}

#[test]
fn the_same_layers_open_to_the_same_and_other_entropy_gives_others() {
    let (people, _, layers, _) = path(3, 1);
    assert_eq!(peel(&people, &layers), peel(&people, &layers));
    let (_, _, again, _) = path(3, 1);
    let (_, _, other, _) = path(3, 2);
    assert_eq!(layers, again);
    assert_ne!(layers, other);
    // Entropy that was used for something else repeats nothing: not even the first ephemeral key.
    let hop = (person(1).hop(), Payload::Gift { memo: None });
    let (reused, _) = seal(&[hop], &hash(7), &[1; 32]).unwrap();
    assert_ne!(layers.as_str()[..43], reused.as_str()[..43]);
}

#[test]
fn nothing_of_a_layer_shows_in_those_around_it() {
    let (people, _, layers, _) = path(4, 1);
    let texts: Vec<Vec<u8>> = std::iter::once(layers.clone())
        .chain(peel(&people, &layers).into_iter().map(|o| o.rest))
        .map(|layers| URL_SAFE_NO_PAD.decode(layers.as_str()).unwrap())
        .collect();
    for (i, a) in texts.iter().enumerate() {
        for b in &texts[i + 1..] {
            let windows = a[1..]
                .windows(8)
                .filter(|w| b[1..].windows(8).any(|x| x == *w));
            assert_eq!(windows.count(), 0);
        }
        // Neither zeros nor another filling at the end.
        assert!(!a.windows(8).any(|w| w.iter().all(|byte| *byte == w[0])));
    }
}

#[test]
fn secrets_are_not_printed() {
    let (people, _, layers, keys) = path(2, 1);
    let secret = peel(&people, &layers).remove(0).secret;
    assert_eq!(format!("{secret:?}"), "HopSecret(redacted)");
    assert_eq!(format!("{keys:?}"), "ReplyKeys(2 hops, redacted)");
    let stored = serde_json::to_string(&keys).unwrap();
    assert_eq!(serde_json::from_str::<ReplyKeys>(&stored).unwrap(), keys);
    for bad in [
        json!(""),
        json!("AAAA"),
        json!("A".repeat(43 * 11)),
        json!(7),
    ] {
        assert!(serde_json::from_value::<ReplyKeys>(bad).is_err());
    }
}

#[test]
fn every_code_of_a_failure_arrives_and_the_first_hop_needs_no_wrapping() {
    let (people, _, layers, keys) = path(3, 1);
    let secrets = secrets(&people, &layers);
    for code in FailureCode::ALL {
        for failure in [
            Failure::here(*code),
            Failure::of_edge(*code, people[1].user, people[2].user),
        ] {
            let sealed = secrets[1].seal_failure(&failure, &[4; 32]).unwrap();
            let arrived = carried(&secrets, 1, sealed, HopSecret::wrap_failure);
            assert_eq!(keys.open_failure(&arrived).unwrap(), (1, failure));
            let stored = serde_json::to_string(&failure).unwrap();
            assert_eq!(serde_json::from_str::<Failure>(&stored).unwrap(), failure);
            assert!(stored.contains(code.as_str()));
        }
    }
}

#[test]
fn an_answer_of_another_size_or_kind_is_not_passed_on() {
    let (people, _, layers, keys) = path(3, 1);
    let secrets = secrets(&people, &layers);
    let answer = Answer::new(vec!["YQ.Yg.Yw".to_owned()]).unwrap();
    let reply = secrets[1].seal_reply(&answer, &[4; 32]).unwrap();
    let failure = secrets[1]
        .seal_failure(&Failure::here(FailureCode::Busy), &[4; 32])
        .unwrap();
    let short: Layers = "AAAA".parse().unwrap();
    for bad in [&reply, &short, &layers] {
        assert_eq!(
            secrets[0].wrap_failure(bad).unwrap_err().code(),
            "layers_invalid"
        );
        assert_eq!(keys.open_failure(bad).unwrap_err().code(), "layers_invalid");
    }
    for bad in [&failure, &short, &layers] {
        assert!(secrets[0].wrap_reply(bad).is_err());
        assert!(keys.open_reply(bad).is_err());
    }
}

#[test]
fn answers_hold_records_and_nothing_else() {
    for bad in [
        vec![],
        vec!["YQ.Yg.Yw".to_owned(); 17],
        vec!["YQ.Yg".to_owned()],
    ] {
        assert_eq!(Answer::new(bad).unwrap_err().code(), "layers_invalid");
    }
    // Two spellings of one value would come back as one.
    for bad in ["YR.Yg.Yw", "YQ==.Yg.Yw", "a b.Yg.Yw", "YQ.Yg.Yw.ZA"] {
        assert!(Answer::new(vec![bad.to_owned()]).is_err());
    }
    let big = format!("YQ.{}.Yw", "AAAA".repeat(2900));
    assert_eq!(Answer::new(vec![big]).unwrap_err().code(), "too_large");
    let most = format!("YQ.{}.Yw", "AAAA".repeat(2799));
    assert_eq!(Answer::new(vec![most.clone()]).unwrap().records(), [most]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_hop_opens_exactly_its_payload_and_all_see_one_size(
        n in 1..=10u8, entropy in any::<u8>()
    ) {
        let (people, payloads, layers, keys) = path(n, entropy);
        let opened = peel(&people, &layers);
        let found: Vec<Payload> = opened.iter().map(|o| o.payload.clone()).collect();
        prop_assert_eq!(found, payloads);
        prop_assert_eq!(keys.hops(), usize::from(n));
        for one in &opened {
            prop_assert_eq!(one.rest.as_str().len(), layers.as_str().len());
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_by_whoever_opens_next(
        n in 1..=10u8, at in any::<prop::sample::Index>(), byte in 0..LAYERS_BYTES, bit in 0..8u8
    ) {
        let (people, _, layers, _) = path(n, 3);
        let hop = at.index(people.len());
        let mut texts = vec![layers.clone()];
        texts.extend(peel(&people, &layers).into_iter().map(|o| o.rest));
        let bad = flipped(&texts[hop], byte, 1 << bit);
        let refused = people[hop].open(&bad, &hash(7)).unwrap_err();
        prop_assert_eq!(refused.code(), "layers_invalid");
    }

    #[test]
    fn only_the_hop_itself_opens_and_only_for_its_payment(n in 1..=10u8, who in 1..=12u8, of in 0..20u8) {
        let (people, _, layers, _) = path(n, 3);
        let mut texts = vec![layers.clone()];
        texts.extend(peel(&people, &layers).into_iter().map(|o| o.rest));
        for (place, text) in texts.iter().enumerate() {
            let opens = person(who).open(text, &hash(of)).is_ok();
            let may = of == 7 && place + 1 == usize::from(who) && who <= n;
            prop_assert_eq!(opens, may, "place {}", place);
        }
    }

    #[test]
    fn the_payer_learns_which_hop_speaks(n in 1..=10u8, at in any::<prop::sample::Index>()) {
        let (people, _, layers, keys) = path(n, 3);
        let secrets = secrets(&people, &layers);
        let origin = at.index(people.len());
        let failure = Failure::of_edge(FailureCode::EdgeUnavailable, people[origin].user, person(77).user);
        let sealed = secrets[origin].seal_failure(&failure, &[4; 32]).unwrap();
        let arrived = carried(&secrets, origin, sealed.clone(), HopSecret::wrap_failure);
        prop_assert_eq!(arrived.as_str().len(), sealed.as_str().len());
        prop_assert_eq!(keys.open_failure(&arrived).unwrap(), (origin, failure));
        let answer = Answer::new(vec!["YQ.Yg.Yw".to_owned(), "..YQ".to_owned()]).unwrap();
        let sealed = secrets[origin].seal_reply(&answer, &[4; 32]).unwrap();
        let arrived = carried(&secrets, origin, sealed.clone(), HopSecret::wrap_reply);
        prop_assert_eq!(arrived.as_str().len(), sealed.as_str().len());
        prop_assert_eq!(keys.open_reply(&arrived).unwrap(), (origin, answer));
    }

    #[test]
    fn an_altered_answer_is_not_read(
        n in 1..=6u8, at in any::<prop::sample::Index>(), byte in any::<usize>(), bit in 0..8u8
    ) {
        let (people, _, layers, keys) = path(n, 3);
        let secrets = secrets(&people, &layers);
        let origin = at.index(people.len());
        let sealed = secrets[origin].seal_failure(&Failure::here(FailureCode::Busy), &[4; 32]).unwrap();
        let arrived = carried(&secrets, origin, sealed, HopSecret::wrap_failure);
        let bad = flipped(&arrived, byte, 1 << bit);
        prop_assert_eq!(keys.open_failure(&bad).unwrap_err().code(), "layers_invalid");
        // Nor does a payer of another payment read it.
        let (_, _, _, others) = path(n, 4);
        prop_assert!(others.open_failure(&arrived).is_err());
    }

    #[test]
    fn whatever_is_given_to_a_decoder_it_says_no(bytes in prop::collection::vec(any::<u8>(), 1..8448)) {
        let (people, _, layers, keys) = path(2, 3);
        let text: Layers = URL_SAFE_NO_PAD.encode(&bytes).parse().unwrap();
        prop_assert!(people[0].open(&text, &hash(7)).is_err());
        prop_assert!(keys.open_failure(&text).is_err());
        prop_assert!(keys.open_reply(&text).is_err());
        let mut full = URL_SAFE_NO_PAD.decode(layers.as_str()).unwrap();
        let n = bytes.len().min(full.len());
        let start = full.len() - n;
        full[start..].copy_from_slice(&bytes[..n]);
        let text: Layers = URL_SAFE_NO_PAD.encode(&full).parse().unwrap();
        prop_assert!(people[0].open(&text, &hash(7)).is_err());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `UPDATE_VECTORS=1 cargo test -p atomicity-ledger --test onion` writes them anew after a wanted change.
fn golden(name: &str, value: &Value) {
    let path = format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut text = serde_json::to_string_pretty(value).unwrap();
    text.push('\n');
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap();
    assert!(stored == text, "{name} differs from what is written now");
}

fn payload_json(payload: &Payload) -> Value {
    match payload {
        Payload::Forward {
            next,
            amount,
            reply,
        } => {
            json!({"forward": {"next": next, "amount": amount, "reply": reply}})
        }
        Payload::Exchange {
            next,
            unit,
            amount,
            reply,
        } => {
            json!({"exchange": {"next": next, "unit": unit, "amount": amount, "reply": reply}})
        }
        Payload::Deliver { invoice, total } => {
            json!({"deliver": {"invoice": invoice, "total": total}})
        }
        Payload::Gift { memo } => json!({"gift": {"memo": memo}}),
    }
}

#[test]
fn layers_are_as_the_vectors_say() {
    let people: Vec<Person> = (1..=3).map(person).collect();
    let payloads = [
        Payload::Forward {
            next: people[1].user,
            amount: amount(501),
            reply: false,
        },
        Payload::Forward {
            next: people[2].user,
            amount: amount(500),
            reply: true,
        },
        Payload::Gift {
            memo: Some("for the bread".parse().unwrap()),
        },
    ];
    let hops: Vec<_> = people.iter().map(Person::hop).zip(payloads).collect();
    let (layers, keys) = seal(&hops, &hash(7), &[0x42; 32]).unwrap();
    let mut at_hops = Vec::new();
    let mut text = layers.clone();
    for person in &people {
        let opened = person.open(&text, &hash(7)).unwrap();
        at_hops.push(json!({
            "user": person.user,
            "encryption_key_id": person.secret.id(),
            "encryption_secret_hex": hex(person.secret.to_bytes().as_slice()),
            "layers": text.as_str(),
            "payload": payload_json(&opened.payload),
        }));
        text = opened.rest;
    }
    let secrets = secrets(&people, &layers);
    let failure = Failure::of_edge(FailureCode::EdgeUnavailable, people[2].user, person(9).user);
    let sealed = secrets[2].seal_failure(&failure, &[0x43; 32]).unwrap();
    let at_second = secrets[1].wrap_failure(&sealed).unwrap();
    let at_payer = secrets[0].wrap_failure(&at_second).unwrap();
    assert_eq!(keys.open_failure(&at_payer).unwrap(), (2, failure));
    let answer = Answer::new(vec!["YQ.Yg.Yw".to_owned()]).unwrap();
    let reply = secrets[1].seal_reply(&answer, &[0x44; 32]).unwrap();
    let reply_at_payer = secrets[0].wrap_reply(&reply).unwrap();
    assert_eq!(
        keys.open_reply(&reply_at_payer).unwrap(),
        (1, answer.clone())
    );
    golden(
        "onions.json",
        &json!({
            "hash": hash(7),
            "entropy_hex": hex(&[0x42; 32]),
            "hops": at_hops,
            "left_at_last_hop": text.as_str(),
            "reply_keys": keys,
            "failure": {
                "content": failure,
                "entropy_hex": hex(&[0x43; 32]),
                "sealed_by_hop_2": sealed.as_str(),
                "at_hop_1": at_second.as_str(),
                "at_payer": at_payer.as_str(),
            },
            "reply": {
                "records": answer.records(),
                "entropy_hex": hex(&[0x44; 32]),
                "sealed_by_hop_1": reply.as_str(),
                "at_payer": reply_at_payer.as_str(),
            },
        }),
    );
}
