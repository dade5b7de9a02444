//! Golden vectors: the same inputs make the same bytes, whatever changes inside. `WRITE_VECTORS=1` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use atomicity_witness_log::add_checkpoint::encode_response;
use atomicity_witness_log::tree::{CompactRange, ConsistencyPath, prove_consistency};
use atomicity_witness_log::*;
use common::*;

fn world() -> World {
    World::with_steps(&[700; 48])
}

fn other_world() -> World {
    let mut leaves = world().leaves;
    for leaf in leaves.iter_mut().skip(30) {
        *leaf = Leaf::Tick {
            time_ms: leaf.time_ms(),
        };
    }
    World::from_leaves(leaves)
}

fn tombstone(world: &World, size: u64, cosigner: u8) -> SignedNote {
    let Checkpoint {
        origin, size, root, ..
    } = world.checkpoint(size);
    Tombstone { origin, size, root }
        .sign(&cosigner_key(cosigner))
        .unwrap()
}

fn request(world: &World) -> AddCheckpoint {
    let checkpoint = SignedCheckpoint::new(world.log_note(48)).unwrap();
    AddCheckpoint {
        old_size: 21,
        consistency: prove_consistency(&world.tree, 21, 48).unwrap(),
        checkpoint,
    }
}

fn dead(world: &World) -> ExpiryProof {
    let range = CompactRange::from_source(&world.tree, 11).unwrap();
    let notes = vec![tombstone(world, 40, 0), tombstone(world, 39, 2)];
    ExpiryProof::build_tombstoned(
        range,
        world.leaves[11..40].to_vec(),
        Some(world.log_note(40)),
        notes,
    )
    .unwrap()
}

fn forks() -> Vec<ForkProof> {
    let (a, b) = (world(), other_world());
    let (log, cosigner) = (log_key().verifier(), cosigner_key(1).verifier());
    let path = ConsistencyPath::prove(&b.tree, 33, 45).unwrap();
    let mut fallen = a.leaves.clone();
    fallen[44] = Leaf::Tick { time_ms: NOW };
    let fallen = World::from_leaves(fallen);
    let mut entries = a.entries(0, 48);
    entries[13] = vec![7, 7];
    let odd = MemoryTree::from_entries(&entries);
    let odd_note = Checkpoint::new(ORIGIN, 48, odd.root())
        .sign(&log_key())
        .unwrap();
    let odd_path = tree::prove_inclusion(&odd, 13, 48).unwrap();
    let odd_proof = TlogProof {
        extra: Some(vec![7, 7]),
        index: 13,
        path: odd_path,
        note: odd_note,
    };
    let proofs = [
        ForkProof::SameSize {
            key: log.clone(),
            a: a.log_note(36),
            b: b.log_note(36),
        },
        ForkProof::Inconsistent {
            key: cosigner.clone(),
            old: a.note(33, &[1]),
            new: b.note(45, &[1]),
            path,
        },
        ForkProof::DifferentLeaves {
            key: log.clone(),
            a: a.tlog_proof(31, a.log_note(40)),
            b: b.tlog_proof(31, b.log_note(48)),
        },
        ForkProof::FallingTimes {
            key: log.clone(),
            before: a.tlog_proof(9, a.log_note(20)),
            after: fallen.tlog_proof(44, fallen.log_note(48)),
        },
        ForkProof::BrokenTombstone {
            key: cosigner,
            tombstone: tombstone(&a, 40, 1),
            cosigned: a.note(48, &[1]),
        },
        ForkProof::MalformedLeaf {
            key: log,
            proof: odd_proof,
        },
    ];
    proofs
        .into_iter()
        .map(|proof| proof.confirm().unwrap())
        .collect()
}

fn vectors() -> BTreeMap<String, Vec<u8>> {
    let world = world();
    let text = |text: String| text.into_bytes();
    let mut files = BTreeMap::from(
        [
            ("log.vkey", text(format!("{}\n", log_key().verifier()))),
            (
                "cosigner.vkey",
                text(format!("{}\n", cosigner_key(0).verifier())),
            ),
            ("policy", policy(3, 2).as_bytes().to_vec()),
            ("checkpoint", text(world.note(48, &[0, 2]).to_string())),
            (
                "publication.tlog-proof",
                text(world.publication(16, world.note(48, &[0, 2])).to_string()),
            ),
            (
                "expiry.bin",
                world.expiry(11, 29, world.note(48, &[0, 2])).encode(),
            ),
            ("expiry-tombstoned.bin", dead(&world).encode()),
            ("tombstone", text(tombstone(&world, 40, 0).to_string())),
            ("add-checkpoint.request", text(request(&world).to_string())),
            (
                "add-checkpoint.response",
                text(encode_response(&world.note(48, &[0]).signatures()[1..])),
            ),
            ("follower.bin", follower(&world).encode()),
        ]
        .map(|(name, bytes)| (name.to_owned(), bytes)),
    );
    for proof in forks() {
        files.insert(
            format!("fork-{}.bin", proof.misdeed().code()),
            proof.encode(),
        );
    }
    files
}

fn follower(world: &World) -> Follower {
    let mut follower = Follower::new(log_key().verifier());
    follower
        .advance(&world.log_note(48), &world.entries(0, 48), None)
        .unwrap();
    follower
}

#[test]
fn the_bytes_are_those_of_the_vectors() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vectors");
    let made = vectors();
    assert_eq!(made.len(), 17);
    if std::env::var_os("WRITE_VECTORS").is_some() {
        fs::create_dir_all(&dir).unwrap();
        made.iter()
            .for_each(|(name, bytes)| fs::write(dir.join(name), bytes).unwrap());
    }
    let kept: BTreeMap<String, Vec<u8>> = fs::read_dir(&dir)
        .unwrap()
        .map(|file| file.unwrap())
        .map(|file| {
            (
                file.file_name().into_string().unwrap(),
                fs::read(file.path()).unwrap(),
            )
        })
        .collect();
    assert_eq!(
        kept.keys().collect::<Vec<_>>(),
        made.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &made {
        assert!(kept[name] == *bytes, "{name} has changed");
    }
}

#[test]
fn the_vectors_hold() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vectors");
    let read = |name: &str| fs::read(dir.join(name)).unwrap();
    let policy = Policy::parse(&read("policy")).unwrap();
    policy
        .check(&SignedNote::parse(&read("checkpoint")).unwrap())
        .unwrap();
    let hash = hash_of(16);
    let deadline_ms = world().leaves[28].time_ms();
    let published = terms(&policy, &hash, 11, deadline_ms);
    let proof = PublicationProof::parse(&read("publication.tlog-proof")).unwrap();
    assert_eq!(proof.verify(&published).unwrap().index, 16);
    let hash = hash_of(99);
    let expired = terms(&policy, &hash, 11, deadline_ms);
    let proof = ExpiryProof::decode(&read("expiry.bin")).unwrap();
    assert_eq!(proof.verify(&expired).unwrap().index, 29);
    let proof = ExpiryProof::decode(&read("expiry-tombstoned.bin")).unwrap();
    let expired = terms(&policy, &hash, 11, u64::MAX);
    assert_eq!(proof.verify(&expired).unwrap().index, 40);
    AddCheckpoint::parse(&read("add-checkpoint.request")).unwrap();
    Follower::decode(&read("follower.bin")).unwrap();
    for proof in forks() {
        let code = proof.misdeed().code();
        let culprit = ForkProof::decode(&read(&format!("fork-{code}.bin")))
            .unwrap()
            .verify()
            .unwrap();
        assert_eq!(culprit.what.code(), code);
    }
}
