//! What the log costs: leaf hashing beside plain SHA-256, checking proofs beside one Ed25519 verification, and the size of each proof.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs
)]

use std::hint::black_box;

use atomicity_witness_log::checkpoint::cosign;
use atomicity_witness_log::leaf::preimage_hash;
use atomicity_witness_log::rule::LogTerms;
use atomicity_witness_log::tree::{CompactRange, RangeSource};
use atomicity_witness_log::*;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sha2::{Digest as _, Sha256};

const ORIGIN: &str = "log.example/bench";
const SIZE: u64 = 1 << 20;
const FROM: u64 = SIZE - 20_000;

/// A log of 2^20 entries, the last of them a tick after the deadline, cosigned by two of three.
struct World {
    tree: MemoryTree,
    leaves: Vec<Leaf>,
    policy: Policy,
    note: SignedNote,
    hash: [u8; 32],
}

impl World {
    fn new() -> Self {
        let mut leaves: Vec<_> = (0..SIZE - 1).map(leaf).collect();
        leaves.push(Leaf::Tick { time_ms: SIZE });
        let mut tree = MemoryTree::new();
        leaves.iter().for_each(|leaf| tree.push(leaf.hash()));
        let log = SigningKey::from_secret(ORIGIN, KeyKind::Ed25519, [1; 32]).unwrap();
        let cosigners = [2, 3, 4].map(|n| {
            let name = format!("cosigner.example/{n}");
            SigningKey::from_secret(&name, KeyKind::Cosignature, [n; 32]).unwrap()
        });
        let keys: Vec<_> = cosigners.iter().map(|key| (key.verifier(), None)).collect();
        let policy = Policy::from_parts(&[(log.verifier(), None)], &keys, 2).unwrap();
        let head = Checkpoint::new(ORIGIN, SIZE, tree.root());
        let mut signed = SignedCheckpoint::new(head.sign(&log).unwrap()).unwrap();
        let lines: Vec<_> = cosigners[..2]
            .iter()
            .map(|key| cosign(&signed, key, 1_700_000_000).unwrap())
            .collect();
        signed.add(&lines).unwrap();
        let hash = preimage_hash(leaves[FROM as usize + 9].preimage().unwrap());
        Self {
            tree,
            leaves,
            policy,
            note: signed.note().clone(),
            hash,
        }
    }

    fn terms<'a>(&'a self, hash: &'a [u8; 32]) -> LogTerms<'a> {
        LogTerms {
            policy: &self.policy,
            origin: ORIGIN,
            hash,
            from_size: FROM,
            deadline_ms: SIZE - 1,
        }
    }

    fn publication(&self) -> PublicationProof {
        let index = FROM + 9;
        let leaf = self.leaves[index as usize];
        PublicationProof::build(&self.tree, index, leaf, self.note.clone()).unwrap()
    }

    fn expiry(&self) -> ExpiryProof {
        let range = CompactRange::from_source(&self.tree, FROM).unwrap();
        let window = self.leaves[FROM as usize..].to_vec();
        let source = RangeSource::new(range.clone(), window.iter().map(Leaf::hash).collect());
        ExpiryProof::build(range, window, &source, self.note.clone()).unwrap()
    }
}

fn leaf(n: u64) -> Leaf {
    let preimage = Sha256::digest(n.to_be_bytes()).into();
    Leaf::Preimage {
        time_ms: n,
        preimage,
    }
}

fn hashing(c: &mut Criterion) {
    let bytes = leaf(7).encode();
    let mut prefixed = vec![0];
    prefixed.extend_from_slice(&bytes);
    let mut group = c.benchmark_group("hash");
    group.throughput(Throughput::Elements(1));
    group.bench_function("plain SHA-256 of 42 bytes", |b| {
        b.iter(|| Sha256::digest(black_box(&prefixed)))
    });
    group.bench_function("leaf", |b| b.iter(|| black_box(leaf_of(&bytes)).hash()));
    group.bench_function("leaf appended to the tree", |b| {
        let mut range = CompactRange::new();
        let leaf = leaf_of(&bytes);
        b.iter(|| range.append(black_box(leaf).hash()).unwrap());
    });
    group.bench_function("batch of 1000 with its tiles, each", |b| {
        let preimages = vec![[7; 32]; 999];
        let (mut log, mut now_ms) = (LogState::new(ORIGIN), 0);
        b.iter_custom(|rounds| {
            let start = std::time::Instant::now();
            for _ in 0..rounds.div_ceil(1000) {
                now_ms += 1;
                black_box(log.append(&preimages, now_ms).unwrap());
            }
            start
                .elapsed()
                .mul_f64(rounds as f64 / (rounds.div_ceil(1000) * 1000) as f64)
        });
    });
    group.finish();
}

fn leaf_of(bytes: &[u8]) -> Leaf {
    Leaf::decode(bytes).unwrap()
}

fn proofs(c: &mut Criterion) {
    let world = World::new();
    let (publication, expiry) = (world.publication(), world.expiry());
    let absent = [0; 32];
    publication.verify(&world.terms(&world.hash)).unwrap();
    expiry.verify(&world.terms(&absent)).unwrap();
    println!(
        "a log of {SIZE} entries, 2 of 3 cosigners, a window of {} entries:",
        SIZE - FROM
    );
    println!(
        "  proof of publication: {} bytes",
        publication.to_string().len()
    );
    println!("  proof of expiry: {} bytes", expiry.encode().len());
    println!("  checkpoint: {} bytes", world.note.to_string().len());
    let text = publication.to_string();
    let mut group = c.benchmark_group("proof");
    let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
    let message = world.note.text().as_bytes();
    let signature = ed25519_dalek::Signer::sign(&key, message);
    let public = key.verifying_key();
    group.bench_function("one Ed25519 verification", |b| {
        b.iter(|| public.verify_strict(black_box(message), &signature))
    });
    group.bench_function("publication, read and verified (3 signatures)", |b| {
        b.iter(|| {
            let proof = PublicationProof::parse(black_box(text.as_bytes())).unwrap();
            proof.verify(&world.terms(&world.hash)).unwrap()
        })
    });
    group.bench_function("inclusion alone", |b| {
        let proof = publication.tlog_proof();
        let (leaf, root) = (publication.leaf().hash(), world.tree.root());
        b.iter(|| tree::verify_inclusion(black_box(&leaf), proof.index, SIZE, &proof.path, &root))
    });
    group.bench_function("publication, made from a tree in memory", |b| {
        b.iter(|| world.publication())
    });
    group.sample_size(20);
    group.throughput(Throughput::Elements(SIZE - FROM));
    group.bench_function("expiry over 20,000 entries, verified", |b| {
        b.iter(|| expiry.verify(&world.terms(&absent)).unwrap())
    });
    group.finish();
}

criterion_group!(benches, hashing, proofs);
criterion_main!(benches);
