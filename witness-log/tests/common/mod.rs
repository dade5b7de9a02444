//! A small log with cosigners, for the tests.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs
)]

use std::collections::BTreeMap;

use atomicity_witness_log::checkpoint::cosign;
use atomicity_witness_log::expiry::ExpiryProof;
use atomicity_witness_log::leaf::preimage_hash;
use atomicity_witness_log::rule::LogTerms;
use atomicity_witness_log::tile::{bundles, decode_bundle};
use atomicity_witness_log::tree::{CompactRange, RangeSource, root};
use atomicity_witness_log::*;

pub const ORIGIN: &str = "log.example/one";
pub const NOW: u64 = 1_700_000_000_000;

pub fn preimage(n: u64) -> [u8; 32] {
    let mut out = [0x5a; 32];
    out[..8].copy_from_slice(&n.to_be_bytes());
    out
}

pub fn log_key() -> SigningKey {
    SigningKey::from_secret(ORIGIN, KeyKind::Ed25519, [1; 32]).unwrap()
}

pub fn cosigner_key(n: u8) -> SigningKey {
    let name = format!("cosigner.example/{n}");
    SigningKey::from_secret(&name, KeyKind::Cosignature, [100 + n; 32]).unwrap()
}

pub fn policy(cosigners: u8, threshold: usize) -> Policy {
    let keys: Vec<_> = (0..cosigners)
        .map(|n| (cosigner_key(n).verifier(), None))
        .collect();
    let logs = [(
        log_key().verifier(),
        Some("https://log.example/one".to_owned()),
    )];
    Policy::from_parts(&logs, &keys, threshold).unwrap()
}

/// A log's content as a tree, with everything needed to sign heads of it.
#[derive(Clone)]
pub struct World {
    pub leaves: Vec<Leaf>,
    pub tree: MemoryTree,
}

impl World {
    pub fn from_leaves(leaves: Vec<Leaf>) -> Self {
        let entries: Vec<_> = leaves.iter().map(Leaf::encode).collect();
        Self {
            tree: MemoryTree::from_entries(&entries),
            leaves,
        }
    }

    /// Entries with these steps of time; a preimage each, but for every third, which is a tick.
    pub fn with_steps(steps: &[u64]) -> Self {
        let mut time_ms = NOW;
        let leaves = (0u64..).zip(steps).map(|(at, step)| {
            time_ms += step;
            if at % 3 == 2 {
                Leaf::Tick { time_ms }
            } else {
                Leaf::Preimage {
                    time_ms,
                    preimage: preimage(at),
                }
            }
        });
        Self::from_leaves(leaves.collect())
    }

    pub fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    pub fn checkpoint(&self, size: u64) -> Checkpoint {
        Checkpoint::new(ORIGIN, size, root(&self.tree, size).unwrap())
    }

    pub fn log_note(&self, size: u64) -> SignedNote {
        self.checkpoint(size).sign(&log_key()).unwrap()
    }

    /// The head of this size, cosigned by these cosigners.
    pub fn note(&self, size: u64, cosigners: &[u8]) -> SignedNote {
        let mut signed = SignedCheckpoint::new(self.log_note(size)).unwrap();
        let lines: Vec<_> = cosigners
            .iter()
            .map(|n| cosign(&signed, &cosigner_key(*n), NOW / 1000).unwrap())
            .collect();
        signed.add(&lines).unwrap();
        signed.note().clone()
    }

    pub fn entries(&self, from: u64, to: u64) -> Vec<Vec<u8>> {
        self.leaves[from as usize..to as usize]
            .iter()
            .map(Leaf::encode)
            .collect()
    }

    pub fn publication(&self, index: u64, note: SignedNote) -> PublicationProof {
        let leaf = self.leaves[index as usize];
        PublicationProof::build(&self.tree, index, leaf, note).unwrap()
    }

    /// The proof that ends with entry `last`, made as somebody does it who knows only what follows `from_size`.
    pub fn expiry(&self, from_size: u64, last: u64, note: SignedNote) -> ExpiryProof {
        let range = CompactRange::from_source(&self.tree, from_size).unwrap();
        let size = Checkpoint::parse(note.text()).unwrap().size;
        let later: Vec<Hash> = self.leaves[from_size as usize..size as usize]
            .iter()
            .map(Leaf::hash)
            .collect();
        let source = RangeSource::new(range.clone(), later);
        let window = self.leaves[from_size as usize..=last as usize].to_vec();
        ExpiryProof::build(range, window, &source, note).unwrap()
    }

    pub fn tlog_proof(&self, index: u64, note: SignedNote) -> TlogProof {
        let size = Checkpoint::parse(note.text()).unwrap().size;
        TlogProof {
            extra: Some(self.leaves[index as usize].encode()),
            index,
            path: tree::prove_inclusion(&self.tree, index, size).unwrap(),
            note,
        }
    }
}

pub fn terms<'a>(
    policy: &'a Policy,
    hash: &'a [u8; 32],
    from_size: u64,
    deadline_ms: u64,
) -> LogTerms<'a> {
    LogTerms {
        policy,
        origin: ORIGIN,
        hash,
        from_size,
        deadline_ms,
    }
}

pub fn hash_of(n: u64) -> [u8; 32] {
    preimage_hash(&preimage(n))
}

/// Every change of one byte: one bit flipped, in turn.
pub fn mutations(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len()).map(|at| {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 8);
        changed
    })
}

/// What a log has written, by path.
#[derive(Clone, Default)]
pub struct Store(pub BTreeMap<TilePath, Vec<u8>>);

impl Store {
    pub fn write(&mut self, batch: &Batch) {
        self.0.extend(batch.resources.iter().cloned());
    }

    pub fn read(&self) -> impl Fn(&TilePath) -> Option<Vec<u8>> {
        |path| self.0.get(path).cloned()
    }

    pub fn entries(&self, start: u64, end: u64) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for path in bundles(start, end, end) {
            let decoded = decode_bundle(&path, &self.0[&path]).unwrap();
            let numbered = (path.start()..).zip(decoded);
            all.extend(
                numbered
                    .filter(|(at, _)| *at >= start)
                    .map(|(_, entry)| entry.to_vec()),
            );
        }
        all
    }
}
