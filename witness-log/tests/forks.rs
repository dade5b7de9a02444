//! Proofs of misbehaviour: each kind convicts, any change acquits, and honest logs and cosigners can't be accused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use atomicity_witness_log::fork::{Misdeed, Role, compare, inspect};
use atomicity_witness_log::tree::{CompactRange, ConsistencyPath};
use atomicity_witness_log::*;
use common::*;
use proptest::prelude::*;

fn tombstone(world: &World, size: u64, cosigner: u8) -> SignedNote {
    let Checkpoint {
        origin, size, root, ..
    } = world.checkpoint(size);
    Tombstone { origin, size, root }
        .sign(&cosigner_key(cosigner))
        .unwrap()
}

/// The same entries up to `at`, others from there on.
fn forked(world: &World, at: usize) -> World {
    let mut leaves = world.leaves.clone();
    for (n, leaf) in (0u64..).zip(&mut leaves).skip(at) {
        *leaf = Leaf::Preimage {
            time_ms: leaf.time_ms(),
            preimage: preimage(1_000_000 + n),
        };
    }
    World::from_leaves(leaves)
}

fn worlds() -> (World, World) {
    let world = World::with_steps(&[
        0, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 5, 5,
    ]);
    let other = forked(&world, 5);
    (world, other)
}

/// One proof of each kind against the log, and of each kind there is against a cosigner.
fn all_kinds() -> Vec<(ForkProof, Misdeed, Role)> {
    let (a, b) = worlds();
    let (log, cosigner) = (log_key().verifier(), cosigner_key(0).verifier());
    let path = ConsistencyPath::prove(&b.tree, 7, 11).unwrap();
    let pow2 = ConsistencyPath::prove(&b.tree, 8, 11).unwrap();
    let mut kinds = Vec::new();
    for (key, role) in [(&log, Role::Log), (&cosigner, Role::Cosigner)] {
        let key = || key.clone();
        let note = |world: &World, size| world.note(size, &[0, 1]);
        kinds.push((
            ForkProof::SameSize {
                key: key(),
                a: note(&a, 9),
                b: note(&b, 9),
            },
            Misdeed::SameSize,
            role,
        ));
        for (old, path) in [(7, &path), (8, &pow2)] {
            let proof = ForkProof::Inconsistent {
                key: key(),
                old: note(&a, old),
                new: note(&b, 11),
                path: path.clone(),
            };
            kinds.push((proof, Misdeed::Inconsistent, role));
        }
        let proof = ForkProof::DifferentLeaves {
            key: key(),
            a: a.tlog_proof(6, note(&a, 9)),
            b: b.tlog_proof(6, note(&b, 12)),
        };
        kinds.push((proof, Misdeed::DifferentLeaves, role));
    }
    let mut fallen = a.leaves.clone();
    fallen[8] = Leaf::Tick { time_ms: NOW };
    let fallen = World::from_leaves(fallen);
    let (before, after) = (
        fallen.tlog_proof(7, fallen.log_note(8)),
        fallen.tlog_proof(8, fallen.log_note(12)),
    );
    kinds.push((
        ForkProof::FallingTimes {
            key: log.clone(),
            before,
            after,
        },
        Misdeed::FallingTimes,
        Role::Log,
    ));
    let broken = ForkProof::BrokenTombstone {
        key: cosigner.clone(),
        tombstone: tombstone(&a, 9, 0),
        cosigned: a.note(10, &[0]),
    };
    kinds.push((broken, Misdeed::BrokenTombstone, Role::Cosigner));
    let buried = ForkProof::SameSize {
        key: cosigner.clone(),
        a: tombstone(&a, 9, 0),
        b: b.note(9, &[0]),
    };
    kinds.push((buried, Misdeed::SameSize, Role::Cosigner));
    kinds.push((malformed(&log), Misdeed::MalformedLeaf, Role::Log));
    kinds
}

fn malformed(log: &VerifierKey) -> ForkProof {
    let mut entries: Vec<Vec<u8>> = worlds().0.leaves.iter().map(Leaf::encode).collect();
    entries[3] = b"no leaf".to_vec();
    let tree = MemoryTree::from_entries(&entries);
    let note = Checkpoint::new(ORIGIN, 12, tree.root())
        .sign(&log_key())
        .unwrap();
    let path = tree::prove_inclusion(&tree, 3, 12).unwrap();
    let proof = TlogProof {
        extra: Some(entries[3].clone()),
        index: 3,
        path,
        note,
    };
    ForkProof::MalformedLeaf {
        key: log.clone(),
        proof,
    }
}

#[test]
fn every_kind_convicts_its_key() {
    let kinds = all_kinds();
    assert_eq!(kinds.len(), 12);
    for (proof, what, role) in kinds {
        let confirmed = proof.confirm().unwrap();
        let culprit = confirmed.verify().unwrap();
        assert_eq!(
            (culprit.what, culprit.role, culprit.origin.as_str()),
            (what, role, ORIGIN)
        );
        let expected = if role == Role::Log {
            log_key()
        } else {
            cosigner_key(0)
        };
        assert_eq!(culprit.key, expected.verifier());
        assert_eq!(ForkProof::decode(&confirmed.encode()).unwrap(), confirmed);
        assert!(!confirmed.to_string().is_empty() && !what.code().is_empty());
    }
}

#[test]
fn any_changed_byte_acquits() {
    for (proof, what, _) in all_kinds() {
        let bytes = proof.confirm().unwrap().encode();
        for changed in mutations(&bytes) {
            let verified = ForkProof::decode(&changed).and_then(|proof| proof.verify());
            assert!(
                verified.is_err(),
                "{what:?} {}",
                String::from_utf8_lossy(&changed)
            );
        }
        assert!(ForkProof::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(ForkProof::decode(&[&bytes[..], b"x"].concat()).is_err());
    }
}

#[test]
fn proofs_bear_the_accuseds_signature_alone() {
    let (a, b) = worlds();
    let loose = ForkProof::SameSize {
        key: log_key().verifier(),
        a: a.note(9, &[0]),
        b: b.log_note(9),
    };
    assert!(matches!(loose.verify(), Err(LogError::NotAFork(_))));
    assert!(loose.confirm().unwrap().verify().is_ok());
}

#[test]
fn the_honest_cannot_be_accused() {
    let (a, b) = worlds();
    let (log, cosigner) = (log_key().verifier(), cosigner_key(0).verifier());
    let other_log = SigningKey::from_secret("log.example/two", KeyKind::Ed25519, [2; 32]).unwrap();
    let elsewhere = Checkpoint::new("log.example/two", 9, b.checkpoint(9).root)
        .sign(&other_log)
        .unwrap();
    let path = ConsistencyPath::prove(&a.tree, 7, 11).unwrap();
    let foreign = ConsistencyPath::prove(&b.tree, 7, 11).unwrap();
    let proofs = [
        ForkProof::SameSize {
            key: log.clone(),
            a: a.log_note(9),
            b: a.log_note(9),
        },
        ForkProof::SameSize {
            key: log.clone(),
            a: a.log_note(9),
            b: a.log_note(10),
        },
        ForkProof::SameSize {
            key: log.clone(),
            a: a.log_note(9),
            b: elsewhere.clone(),
        },
        ForkProof::SameSize {
            key: other_log.verifier(),
            a: a.log_note(9),
            b: elsewhere,
        },
        ForkProof::SameSize {
            key: cosigner.clone(),
            a: a.log_note(9),
            b: b.log_note(9),
        },
        ForkProof::SameSize {
            key: cosigner.clone(),
            a: a.note(9, &[0]),
            b: b.note(9, &[1]),
        },
        ForkProof::Inconsistent {
            key: log.clone(),
            old: a.log_note(7),
            new: a.log_note(11),
            path: path.clone(),
        },
        ForkProof::Inconsistent {
            key: log.clone(),
            old: a.log_note(7),
            new: a.log_note(11),
            path: foreign,
        },
        ForkProof::Inconsistent {
            key: log.clone(),
            old: a.log_note(11),
            new: a.log_note(7),
            path,
        },
        ForkProof::DifferentLeaves {
            key: log.clone(),
            a: a.tlog_proof(6, a.log_note(9)),
            b: a.tlog_proof(6, a.log_note(12)),
        },
        ForkProof::DifferentLeaves {
            key: log.clone(),
            a: a.tlog_proof(6, a.log_note(9)),
            b: a.tlog_proof(7, a.log_note(12)),
        },
        ForkProof::FallingTimes {
            key: log.clone(),
            before: a.tlog_proof(6, a.log_note(9)),
            after: a.tlog_proof(7, a.log_note(12)),
        },
        ForkProof::FallingTimes {
            key: log.clone(),
            before: a.tlog_proof(7, a.log_note(9)),
            after: a.tlog_proof(6, a.log_note(12)),
        },
        ForkProof::BrokenTombstone {
            key: cosigner.clone(),
            tombstone: tombstone(&a, 9, 0),
            cosigned: a.note(9, &[0]),
        },
        ForkProof::BrokenTombstone {
            key: cosigner.clone(),
            tombstone: tombstone(&a, 9, 0),
            cosigned: a.note(10, &[1]),
        },
        ForkProof::BrokenTombstone {
            key: cosigner.clone(),
            tombstone: tombstone(&a, 9, 0),
            cosigned: tombstone(&a, 10, 0),
        },
        ForkProof::BrokenTombstone {
            key: log.clone(),
            tombstone: tombstone(&a, 9, 0),
            cosigned: a.note(10, &[0]),
        },
        ForkProof::MalformedLeaf {
            key: log.clone(),
            proof: a.tlog_proof(6, a.log_note(9)),
        },
    ];
    for proof in proofs {
        assert!(proof.verify().is_err(), "{proof:?}");
        assert!(proof.clone().confirm().is_err(), "{proof:?}");
    }
    // Who only cosigned is not to blame for what entries say.
    let mut fallen = a.leaves.clone();
    fallen[8] = Leaf::Tick { time_ms: NOW };
    let fallen = World::from_leaves(fallen);
    let note = || fallen.note(12, &[0]);
    let proof = ForkProof::FallingTimes {
        key: cosigner,
        before: fallen.tlog_proof(7, note()),
        after: fallen.tlog_proof(8, note()),
    };
    assert!(matches!(proof.confirm(), Err(LogError::NotAFork(_))));
}

#[test]
fn views_are_compared() {
    let (a, b) = worlds();
    let key = log_key().verifier();
    let what = |x: &SignedNote, y: &SignedNote, tree: &MemoryTree| {
        compare(&key, x, y, tree).map(|proof| proof.map(|proof| proof.verify().unwrap().what))
    };
    assert_eq!(what(&a.log_note(9), &a.note(9, &[0]), &a.tree), Ok(None));
    assert_eq!(what(&a.log_note(9), &a.log_note(12), &a.tree), Ok(None));
    assert_eq!(what(&a.log_note(12), &a.log_note(9), &a.tree), Ok(None));
    // Before the fork the two agree.
    assert_eq!(what(&a.log_note(5), &b.log_note(12), &b.tree), Ok(None));
    assert_eq!(
        what(&a.log_note(9), &b.log_note(9), &MemoryTree::new()),
        Ok(Some(Misdeed::SameSize))
    );
    assert_eq!(
        what(&a.log_note(9), &b.log_note(12), &b.tree),
        Ok(Some(Misdeed::Inconsistent))
    );
    assert_eq!(
        what(&b.log_note(12), &a.log_note(9), &b.tree),
        Ok(Some(Misdeed::Inconsistent))
    );
    assert_eq!(
        what(&a.log_note(9), &b.log_note(12), &a.tree),
        Err(LogError::ConsistencyInvalid)
    );
    let cosigner = cosigner_key(1).verifier();
    let proof = compare(&cosigner, &a.note(9, &[1]), &b.note(12, &[1]), &b.tree)
        .unwrap()
        .unwrap();
    assert_eq!(proof.verify().unwrap().role, Role::Cosigner);
}

#[test]
fn entries_are_inspected() {
    let (a, _) = worlds();
    let key = log_key().verifier();
    let look = |world: &World, start: u64| {
        let entries = world.entries(start, world.size());
        inspect(
            &key,
            &world.log_note(world.size()),
            start,
            &entries,
            &world.tree,
        )
    };
    assert_eq!(look(&a, 0), Ok(None));
    assert_eq!(look(&a, 4), Ok(None));
    let mut fallen = a.clone();
    fallen.leaves[8] = Leaf::Tick { time_ms: NOW };
    let fallen = World::from_leaves(fallen.leaves);
    let proof = look(&fallen, 3).unwrap().unwrap();
    assert_eq!(proof.verify().unwrap().what, Misdeed::FallingTimes);
    // Entries that are not the tree's prove nothing.
    let entries = fallen.entries(0, 12);
    assert!(inspect(&key, &a.log_note(12), 0, &entries, &a.tree).is_err());
}

/// A log, where another history begins, and a preimage published in the first one: its index, `from_size` and two sizes.
#[derive(Clone, Debug)]
struct Contradiction {
    steps: Vec<u64>,
    at: usize,
    from: u64,
    index: u64,
    sizes: (u64, u64),
}

fn contradiction() -> impl Strategy<Value = Contradiction> {
    let index = any::<prop::sample::Index>;
    let steps = prop::collection::vec(0u64..4, 6..60);
    (steps, index(), index(), index(), index(), index()).prop_map(
        |(steps, at, index, from, a, b)| {
            let count = steps.len();
            // Every third entry is a tick.
            let index = index.index(count / 3) as u64 * 3;
            let from = from.index(index as usize + 1) as u64;
            let larger = |than: u64, by: prop::sample::Index| {
                than + 1 + by.index(count - than as usize) as u64
            };
            Contradiction {
                at: at.index(count),
                from,
                index,
                sizes: (larger(index, a), larger(from, b)),
                steps,
            }
        },
    )
}

proptest! {
    /// Whatever two histories a log shows: if one proves publication and the other expiry under the same terms, somebody is convicted; and
    /// under one history the two never both hold.
    #[test]
    fn published_and_expired_convicts_somebody(case in contradiction(), late in 0u64..30, shift in 0u64..40, buried in any::<bool>()) {
        let Contradiction { steps, at, from, index, sizes: (size_a, size_b) } = case;
        let honest = World::with_steps(&steps);
        let mut leaves = forked(&honest, at).leaves;
        for leaf in leaves.iter_mut().skip(at) {
            // Another history also has other times, falling ones among them.
            *leaf = Leaf::Tick { time_ms: (leaf.time_ms() + 20).saturating_sub(shift) };
        }
        let other = World::from_leaves(leaves);
        let (policy, hash) = (policy(3, 2), hash_of(index));
        let deadline_ms = honest.leaves[index as usize].time_ms() + late;
        let terms = terms(&policy, &hash, from, deadline_ms);
        let publication = honest.publication(index, honest.note(size_a, &[0, 1]));
        prop_assert!(publication.verify(&terms).is_ok());
        for (world, same) in [(&other, false), (&honest, true)] {
            let expiry = if buried {
                let notes = vec![tombstone(world, size_b, 1), tombstone(world, size_b.saturating_sub(2), 2)];
                let range = CompactRange::from_source(&world.tree, from).unwrap();
                let window = world.leaves[from as usize..size_b as usize].to_vec();
                ExpiryProof::build_tombstoned(range, window, Some(world.log_note(size_b)), notes).unwrap()
            } else {
                let late = (from..size_b).find(|at| world.leaves[*at as usize].time_ms() > deadline_ms);
                world.expiry(from, late.unwrap_or(size_b - 1), world.note(size_b, &[1, 2]))
            };
            match expiry.verify(&terms) {
                Err(_) => prop_assert!(ForkProof::from_contradiction(&terms, &publication, &expiry).is_err()),
                Ok(_) => {
                    let culprit = ForkProof::from_contradiction(&terms, &publication, &expiry).unwrap().verify().unwrap();
                    prop_assert!(policy.names(&culprit.key));
                    // One honest history: only a cosigner who went on after its tombstone can be at fault.
                    prop_assert!(!same || culprit.what == Misdeed::BrokenTombstone);
                }
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0u8..7) {
        let _ = ForkProof::decode(&bytes);
        let key = log_key().verifier().to_string();
        let head = [&b"atomicity-fork/v1\n"[..], &[kind], &(key.len() as u32).to_be_bytes(), key.as_bytes()].concat();
        let _ = ForkProof::decode(&[&head[..], &bytes].concat());
    }
}

#[test]
fn contradictions_of_each_kind_are_found() {
    let (a, b) = worlds();
    let policy = policy(3, 2);
    // Published at 6 in one history, another entry there in the other.
    let hash = hash_of(6);
    let terms_6 = terms(&policy, &hash, 2, NOW + 7500);
    let publication = a.publication(6, a.note(9, &[0, 1]));
    let expiry = b.expiry(2, 8, b.note(12, &[1, 2]));
    let proof = ForkProof::from_contradiction(&terms_6, &publication, &expiry).unwrap();
    assert_eq!(proof.verify().unwrap().what, Misdeed::DifferentLeaves);
    // Published at 10, in time, though entry 9 was too late: the times fall.
    let mut fallen = a.leaves.clone();
    fallen[10] = Leaf::Preimage {
        time_ms: NOW + 7000,
        preimage: preimage(77),
    };
    let fallen = World::from_leaves(fallen);
    let hash = hash_of(77);
    let terms_77 = terms(&policy, &hash, 2, NOW + 8500);
    let publication = fallen.publication(10, fallen.note(12, &[0, 1]));
    let expiry = fallen.expiry(2, 9, fallen.note(12, &[0, 1]));
    let proof = ForkProof::from_contradiction(&terms_77, &publication, &expiry).unwrap();
    assert_eq!(proof.verify().unwrap().what, Misdeed::FallingTimes);
    // Published after the log was buried: somebody who buried it cosigned.
    let hash = hash_of(10);
    let terms_10 = terms(&policy, &hash, 2, NOW + 99_000);
    let publication = a.publication(10, a.note(12, &[0, 1]));
    let range = CompactRange::from_source(&a.tree, 2).unwrap();
    let notes = vec![tombstone(&a, 9, 1), tombstone(&a, 8, 2)];
    let expiry =
        ExpiryProof::build_tombstoned(range, a.leaves[2..9].to_vec(), Some(a.log_note(9)), notes)
            .unwrap();
    let culprit = ForkProof::from_contradiction(&terms_10, &publication, &expiry)
        .unwrap()
        .verify()
        .unwrap();
    assert_eq!(
        (culprit.what, culprit.key),
        (Misdeed::BrokenTombstone, cosigner_key(1).verifier())
    );
}
