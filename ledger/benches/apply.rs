//! How many records one core takes in a second, beside the bare signature check that none of them can do without.
//!
//! `cargo bench -p atomicity-ledger`. Every figure is of one thread.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;
use std::hint::black_box;

use atomicity_ledger::channel_file::ChannelFile;
use atomicity_ledger::jws::Version;
use atomicity_ledger::pair::{LineTerms, NewBook, Outcome, Pair, PaymentNote};
use atomicity_ledger::record::{Delegation, DelegationLimit, Scope, State};
use atomicity_ledger::seal::{
    Agreement, EncryptionSecret, KeyId, Parcel, open_channel_file, open_known, open_stranger,
    seal_channel_file, seal_known, seal_stranger,
};
use atomicity_ledger::{
    Amount, AnyRecord, Epoch, Keypair, RecordId, Serial, Signed, Timestamp, Total, Unit,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

const NOW: u64 = 1_800_000_000_000;
/// States in one round: each is newer than the one before, as in a channel that is in use.
const STATES: usize = 64;

fn now() -> Timestamp {
    Timestamp::from_millis(NOW).unwrap()
}

fn bread() -> Unit {
    "BREAD/2".parse().unwrap()
}

struct Party {
    root: Keypair,
    device: Keypair,
    pair: Pair,
}

fn party(n: u8, peer: u8) -> Party {
    let (root, device) = (
        Keypair::from_secret(&[n; 32]),
        Keypair::from_secret(&[100 + n; 32]),
    );
    let peer = Keypair::from_secret(&[peer; 32]).user_key();
    let pair = Pair::new(root.user_key(), peer).unwrap();
    Party { root, device, pair }
}

fn delegation(party: &Party) -> Signed<Delegation> {
    let record = Delegation {
        v: Version,
        root: party.root.user_key(),
        key: party.device.signer_key(),
        scopes: vec![Scope::Book],
        peers: None,
        limits: vec![DelegationLimit {
            unit: bread(),
            per_peer: Total::MAX,
            per_day: None,
        }],
        not_before: now(),
        not_after: now().plus_millis(1_000_000_000),
        serial: Serial::new(1).unwrap(),
    };
    Signed::sign(record, &party.root).unwrap()
}

/// Everything that a party says before the first payment.
fn opening(party: &mut Party) -> Vec<AnyRecord> {
    let delegation = delegation(party);
    party
        .pair
        .learn_own_authority(delegation.jws(), now())
        .unwrap();
    let book = NewBook {
        key: party.device.signer_key(),
        caps: BTreeMap::from([(bread(), Total::MAX)]),
        continues: true,
        at_least: Epoch::ZERO,
    };
    let book = party.pair.open_book(book, &party.device, now()).unwrap();
    let terms = LineTerms::simple(bread(), Total::from_minor(1 << 60).unwrap()).unwrap();
    let line = party.pair.set_line(terms, &party.device, now()).unwrap();
    vec![delegation.into(), book.into(), line.into()]
}

/// A baker who is ready to take the milkman's payments, and the milkman.
fn friends() -> (Party, Party) {
    let (mut milkman, mut baker) = (party(1, 2), party(2, 1));
    let (from_milkman, from_baker) = (opening(&mut milkman), opening(&mut baker));
    baker
        .pair
        .authority_checked(milkman.device.signer_key(), now());
    milkman
        .pair
        .authority_checked(baker.device.signer_key(), now());
    for record in from_milkman {
        baker
            .pair
            .receive(&record, now(), Some(&baker.device))
            .unwrap();
    }
    for record in from_baker {
        milkman
            .pair
            .receive(&record, now(), Some(&milkman.device))
            .unwrap();
    }
    (milkman, baker)
}

fn pay(milkman: &mut Party, n: usize) -> String {
    let note = PaymentNote {
        id: RecordId::from_entropy([n as u8; 16]),
        reference: None,
        memo: None,
    };
    let amount = Amount::from_minor(1).unwrap();
    let issued = milkman
        .pair
        .issue(&bread(), amount, None, note, &milkman.device, now())
        .unwrap();
    issued.state.jws().to_owned()
}

fn records(c: &mut Criterion) {
    let (mut milkman, baker) = friends();
    let states: Vec<String> = (0..STATES).map(|n| pay(&mut milkman, n)).collect();
    let one = states[0].clone();

    let mut group = c.benchmark_group("record");
    group.throughput(Throughput::Elements(1));
    let input = one.rsplit_once('.').unwrap().0.as_bytes().to_vec();
    let signing = SigningKey::from_bytes(&[101; 32]);
    let key: VerifyingKey = signing.verifying_key();
    let signature: Signature = signing.sign(&input);
    group.bench_function("raw Ed25519 verification of as many bytes", |b| {
        b.iter(|| {
            key.verify_strict(black_box(&input), black_box(&signature))
                .unwrap()
        });
    });
    group.bench_function("raw Ed25519 signing of as many bytes", |b| {
        b.iter(|| signing.sign(black_box(&input)));
    });
    group.bench_function("verify and decode a state", |b| {
        b.iter(|| Signed::<State>::decode(black_box(&one)).unwrap());
    });
    let state = Signed::<State>::decode(&one).unwrap().record().clone();
    group.bench_function("sign a state", |b| {
        b.iter(|| Signed::sign(black_box(state.clone()), &milkman.device).unwrap());
    });
    group.throughput(Throughput::Elements(STATES as u64));
    group.bench_function("verify and apply states, acks signed", |b| {
        b.iter_batched(
            || baker.pair.clone(),
            |mut pair| {
                for jws in &states {
                    let record = AnyRecord::decode(black_box(jws)).unwrap();
                    let outcome = pair.receive(&record, now(), Some(&baker.device)).unwrap();
                    assert!(matches!(outcome, Outcome::Applied { .. }));
                }
                pair
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("issue payments", |b| {
        b.iter_batched(
            || Party {
                root: milkman.root.clone(),
                device: milkman.device.clone(),
                pair: milkman.pair.clone(),
            },
            |mut party| (0..STATES).map(|n| pay(&mut party, n)).last(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn seals(c: &mut Criterion) {
    let (mut milkman, mut baker) = friends();
    let own = EncryptionSecret::new(KeyId::new(1), [3; 32]);
    let other = EncryptionSecret::new(KeyId::new(1), [4; 32]);
    let (from, to) = (milkman.root.user_key(), baker.root.user_key());
    let outgoing = Agreement::outgoing(&from, &own, &to, &other.public(), other.id()).unwrap();
    let incoming = Agreement::incoming(&to, &other, &from, &own.public(), own.id()).unwrap();
    let state = pay(&mut milkman, 1);
    let record = AnyRecord::decode(&state).unwrap();
    baker
        .pair
        .receive(&record, now(), Some(&baker.device))
        .unwrap();
    let published = milkman.pair.file_records();
    let all = published.own.iter().chain(&published.held);
    let content = ChannelFile::collect(from, to, all)
        .unwrap()
        .encode()
        .unwrap();
    let file = seal_channel_file(&outgoing, [5; 24], &content).unwrap();
    println!(
        "a channel of one unit: {} bytes of content, {} bytes sealed",
        content.len(),
        file.len()
    );

    let mut group = c.benchmark_group("seal");
    group.throughput(Throughput::Elements(1));
    group.bench_function("agree with a peer", |b| {
        b.iter(|| {
            Agreement::outgoing(black_box(&from), &own, &to, &other.public(), other.id()).unwrap()
        });
    });
    group.bench_function("seal a channel file", |b| {
        b.iter(|| seal_channel_file(&outgoing, [5; 24], black_box(&content)).unwrap());
    });
    group.bench_function("open a channel file", |b| {
        b.iter(|| open_channel_file(&incoming, black_box(&file)).unwrap());
    });
    group.bench_function("open and decode a channel file", |b| {
        b.iter(|| {
            let content = open_channel_file(&incoming, black_box(&file)).unwrap();
            ChannelFile::decode(&content).unwrap()
        });
    });
    let parcel = Parcel::new(from, vec![state]).unwrap();
    let known = seal_known(&outgoing, [6; 24], &parcel).unwrap();
    let strange = seal_stranger(&to, &other.public(), other.id(), [7; 32], &parcel).unwrap();
    group.bench_function("open an envelope of a known peer", |b| {
        b.iter(|| open_known(&incoming, black_box(&known)).unwrap());
    });
    group.bench_function("open an envelope of a stranger", |b| {
        b.iter(|| open_stranger(&to, std::slice::from_ref(&other), black_box(&strange)).unwrap());
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(3));
    targets = records, seals
}
criterion_main!(benches);
