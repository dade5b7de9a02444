//! Proofs of publication and of expiry say what the rule says about the log's content; and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use atomicity_witness_log::rule::{Watch, check_from_size};
use atomicity_witness_log::tombstone::Tombstones;
use atomicity_witness_log::tree::{CompactRange, RangeSource};
use atomicity_witness_log::*;
use common::*;
use proptest::prelude::*;

/// A log, a window and a preimage that may be in it.
#[derive(Clone, Debug)]
struct Case {
    steps: Vec<u64>,
    from: u64,
    deadline_ms: u64,
    wanted: u64,
    size: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let index = any::<prop::sample::Index>;
    let steps = prop::collection::vec(0u64..6, 2..90);
    (steps, index(), 0u64..260, index(), index()).prop_map(
        |(steps, from, deadline, wanted, size)| {
            let count = steps.len();
            let size = 1 + size.index(count) as u64;
            Case {
                from: from.index(size as usize) as u64,
                deadline_ms: NOW + deadline,
                wanted: wanted.index(count) as u64,
                size,
                steps,
            }
        },
    )
}

/// The rule, written down once more in the plainest way.
fn by_definition(leaves: &[Leaf], case: &Case) -> Verdict {
    let late = leaves
        .iter()
        .position(|leaf| leaf.time_ms() > case.deadline_ms);
    let end = late.unwrap_or(leaves.len());
    let hash = hash_of(case.wanted);
    let found = (case.from as usize..end).find(|at| leaves[*at].publishes(&hash));
    match (found, late) {
        (Some(index), _) => Verdict::Published {
            index: index as u64,
        },
        // The first entry after the deadline that lies in the window.
        (None, Some(late)) => Verdict::Expired {
            index: (late as u64).max(case.from),
        },
        (None, None) => Verdict::Open,
    }
}

fn shown(world: &World, case: &Case) -> Vec<Leaf> {
    world.leaves[..case.size as usize].to_vec()
}

proptest! {
    #[test]
    fn the_rule_is_its_definition(case in case()) {
        let world = World::with_steps(&case.steps);
        let leaves = shown(&world, &case);
        let verdict = judge(case.from, case.deadline_ms, &hash_of(case.wanted), &leaves[case.from as usize..]);
        prop_assert_eq!(verdict, by_definition(&leaves, &case));
    }

    #[test]
    fn a_verdict_never_changes_as_the_log_grows(case in case()) {
        let world = World::with_steps(&case.steps);
        let hash = hash_of(case.wanted);
        let mut watch = Watch::new(case.from, case.deadline_ms, &hash);
        let mut last = Verdict::Open;
        for leaf in &world.leaves[case.from as usize..] {
            let verdict = watch.see(leaf);
            prop_assert!(last == Verdict::Open || last == verdict);
            last = verdict;
        }
        prop_assert_eq!(watch.next_index(), world.size());
        prop_assert_eq!(last, judge(case.from, case.deadline_ms, &hash, &world.leaves[case.from as usize..]));
    }

    #[test]
    fn what_is_published_can_be_proven_and_nothing_else(case in case()) {
        let world = World::with_steps(&case.steps);
        let (policy, hash) = (policy(3, 2), hash_of(case.wanted));
        let terms = terms(&policy, &hash, case.from, case.deadline_ms);
        let verdict = by_definition(&shown(&world, &case), &case);
        let note = world.note(case.size, &[0, 2]);
        // Whatever entry somebody takes, the proof holds exactly for the one that the rule names.
        for index in 0..case.size {
            let proof = world.publication(index, note.clone());
            let published = proof.verify(&terms);
            prop_assert_eq!(published.is_ok(), verdict == Verdict::Published { index });
            if let Ok(published) = published {
                prop_assert_eq!((published.origin.as_str(), published.index, published.size), (ORIGIN, index, case.size));
                prop_assert_eq!(published.preimage, preimage(case.wanted));
                prop_assert_eq!(published.time_ms, world.leaves[index as usize].time_ms());
                prop_assert_eq!(PublicationProof::parse(proof.to_string().as_bytes()).unwrap(), proof);
            }
        }
    }

    #[test]
    fn what_is_expired_can_be_proven_and_nothing_else(case in case()) {
        let world = World::with_steps(&case.steps);
        let (policy, hash) = (policy(3, 2), hash_of(case.wanted));
        let terms = terms(&policy, &hash, case.from, case.deadline_ms);
        let verdict = by_definition(&shown(&world, &case), &case);
        let note = world.note(case.size, &[0, 1]);
        for last in case.from..case.size {
            let proof = world.expiry(case.from, last, note.clone());
            let expired = proof.verify(&terms);
            prop_assert_eq!(expired.is_ok(), verdict == Verdict::Expired { index: last });
            if let Ok(expired) = expired {
                prop_assert_eq!(expired, Expired { origin: ORIGIN.to_owned(), index: last, tombstoned: false });
            }
            prop_assert_eq!(ExpiryProof::decode(&proof.encode()).unwrap(), proof);
        }
    }

    #[test]
    fn a_dead_log_ends_the_window(case in case()) {
        let world = World::with_steps(&case.steps);
        let (policy, hash) = (policy(3, 2), hash_of(case.wanted));
        let terms = terms(&policy, &hash, case.from, case.deadline_ms);
        let notes = [tombstone(&world, case.size, 0), tombstone(&world, case.size.saturating_sub(1), 2)];
        let end = Tombstones::end(&policy, ORIGIN, &notes).unwrap().unwrap();
        prop_assert_eq!(end.size, case.size);
        let proof = dead(&world, case.from, case.size, &notes);
        let expected = match by_definition(&shown(&world, &case), &case) {
            Verdict::Published { .. } => Err(LogError::WasPublished),
            Verdict::Expired { index } => Ok(index),
            Verdict::Open => Ok(case.size),
        };
        prop_assert_eq!(proof.verify(&terms).map(|expired| expired.index), expected);
        prop_assert_eq!(ExpiryProof::decode(&proof.encode()).unwrap(), proof.clone());
        // One tombstone of three leaves a quorum of two.
        let few = dead(&world, case.from, case.size, &notes[..1]);
        prop_assert_eq!(few.verify(&terms), Err(LogError::TombstonesTooFew));
        // All entries up to the end must be shown.
        if case.size > case.from + 1 {
            let range = CompactRange::from_source(&world.tree, case.from).unwrap();
            let short = world.leaves[case.from as usize..case.size as usize - 1].to_vec();
            let short = ExpiryProof::build_tombstoned(range, short, Some(world.log_note(case.size)), notes.to_vec()).unwrap();
            prop_assert!(short.verify(&terms).is_err());
        }
    }
}

fn tombstone(world: &World, size: u64, cosigner: u8) -> SignedNote {
    let Checkpoint {
        origin, size, root, ..
    } = world.checkpoint(size);
    Tombstone { origin, size, root }
        .sign(&cosigner_key(cosigner))
        .unwrap()
}

fn dead(world: &World, from: u64, size: u64, notes: &[SignedNote]) -> ExpiryProof {
    let range = CompactRange::from_source(&world.tree, from).unwrap();
    let leaves = world.leaves[from as usize..size as usize].to_vec();
    ExpiryProof::build_tombstoned(range, leaves, Some(world.log_note(size)), notes.to_vec())
        .unwrap()
}

/// Ten entries a second apart: preimages, but for ticks at 2, 5 and 8.
fn world() -> World {
    World::with_steps(&[0, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000])
}

#[test]
fn any_changed_byte_of_a_publication_proof_is_refused() {
    let (world, policy, hash) = (world(), policy(3, 2), hash_of(4));
    let terms = terms(&policy, &hash, 2, NOW + 4000);
    let text = world.publication(4, world.note(10, &[0, 1])).to_string();
    assert!(
        PublicationProof::parse(text.as_bytes())
            .unwrap()
            .verify(&terms)
            .is_ok()
    );
    for changed in mutations(text.as_bytes()) {
        let verified = PublicationProof::parse(&changed).and_then(|proof| proof.verify(&terms));
        assert!(verified.is_err(), "{}", String::from_utf8_lossy(&changed));
    }
}

#[test]
fn any_changed_byte_of_an_expiry_proof_is_refused() {
    let (world, policy, hash) = (world(), policy(3, 2), hash_of(99));
    let terms = terms(&policy, &hash, 3, NOW + 6500);
    let bytes = world.expiry(3, 7, world.note(10, &[1, 2])).encode();
    assert!(ExpiryProof::decode(&bytes).unwrap().verify(&terms).is_ok());
    let notes = [tombstone(&world, 9, 0), tombstone(&world, 9, 1)];
    let buried = dead(&world, 3, 9, &notes).encode();
    assert!(ExpiryProof::decode(&buried).unwrap().verify(&terms).is_ok());
    for changed in mutations(&bytes).chain(mutations(&buried)) {
        let verified = ExpiryProof::decode(&changed).and_then(|proof| proof.verify(&terms));
        assert!(verified.is_err(), "{:?}", String::from_utf8_lossy(&changed));
    }
    for end in 0..bytes.len() {
        assert!(ExpiryProof::decode(&bytes[..end]).is_err());
    }
    assert!(ExpiryProof::decode(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn terms_bind_every_part() {
    let (world, policy) = (world(), policy(3, 2));
    let hash = hash_of(4);
    let proof = world.publication(4, world.note(10, &[0, 1]));
    let good = terms(&policy, &hash, 2, NOW + 4000);
    assert!(proof.verify(&good).is_ok());
    assert!(proof.verify(&terms(&policy, &hash, 4, NOW + 4000)).is_ok());
    assert_eq!(
        proof.verify(&terms(&policy, &hash, 5, NOW + 4000)),
        Err(LogError::BeforeWindow)
    );
    assert_eq!(
        proof.verify(&terms(&policy, &hash, 2, NOW + 3999)),
        Err(LogError::AfterDeadline)
    );
    assert_eq!(
        proof.verify(&terms(&policy, &hash_of(3), 2, NOW + 4000)),
        Err(LogError::PreimageWrong)
    );
    let other = LogTerms {
        origin: "log.example/two",
        ..good
    };
    assert!(matches!(
        proof.verify(&other),
        Err(LogError::OriginUnknown(_))
    ));
    let strict = common::policy(3, 3);
    assert_eq!(
        proof.verify(&LogTerms {
            policy: &strict,
            ..good
        }),
        Err(LogError::QuorumNotReached)
    );
    // A tick publishes nothing, whatever the terms say.
    let tick = world.publication(5, world.note(10, &[0, 1]));
    assert_eq!(tick.verify(&good), Err(LogError::PreimageWrong));
}

#[test]
fn a_proof_of_expiry_shows_the_whole_window_and_no_more() {
    let (world, policy, hash) = (world(), policy(3, 2), hash_of(99));
    let note = || world.note(10, &[0, 1]);
    let good = terms(&policy, &hash, 3, NOW + 6500);
    assert_eq!(world.expiry(3, 7, note()).verify(&good).unwrap().index, 7);
    assert_eq!(
        world.expiry(3, 6, note()).verify(&good),
        Err(LogError::WindowOpen)
    );
    assert_eq!(
        world.expiry(3, 8, note()).verify(&good),
        Err(LogError::WindowOpen)
    );
    assert_eq!(
        world.expiry(4, 7, note()).verify(&good),
        Err(LogError::WindowOpen)
    );
    assert_eq!(
        world.expiry(2, 7, note()).verify(&good),
        Err(LogError::WindowOpen)
    );
    // The checkpoint that ends with the late entry will do, and one under which it isn't will not.
    assert!(
        world
            .expiry(3, 7, world.note(8, &[0, 1]))
            .verify(&good)
            .is_ok()
    );
    assert_eq!(
        world.expiry(3, 7, world.note(10, &[0])).verify(&good),
        Err(LogError::QuorumNotReached)
    );
    // Somebody leaves out the entry that counts.
    let hash = hash_of(4);
    let caught = terms(&policy, &hash, 3, NOW + 6500);
    assert_eq!(
        world.expiry(3, 7, note()).verify(&caught),
        Err(LogError::WasPublished)
    );
    let mut forged = world.clone();
    forged.leaves[4] = Leaf::Tick {
        time_ms: NOW + 4000,
    };
    assert_eq!(
        forged.expiry(3, 7, note()).verify(&caught),
        Err(LogError::ConsistencyInvalid)
    );
    // A window that was over before it began.
    let late = terms(&policy, &hash, 9, NOW + 10);
    assert_eq!(world.expiry(9, 9, note()).verify(&late).unwrap().index, 9);
}

#[test]
fn a_window_beyond_a_dead_logs_end_is_empty() {
    let (world, policy, hash) = (world(), policy(3, 2), hash_of(99));
    let notes = vec![tombstone(&world, 6, 0), tombstone(&world, 5, 1)];
    let empty =
        ExpiryProof::build_tombstoned(CompactRange::new(), vec![], None, notes.clone()).unwrap();
    for from in [6, 7, 1000] {
        let expired = empty.verify(&terms(&policy, &hash, from, NOW)).unwrap();
        assert_eq!((expired.index, expired.tombstoned), (6, true));
    }
    assert!(empty.verify(&terms(&policy, &hash, 5, NOW)).is_err());
    // No tombstone stands for a tree that the log did not sign.
    let range = CompactRange::from_source(&world.tree, 3).unwrap();
    let window = world.leaves[3..6].to_vec();
    let unsigned =
        ExpiryProof::build_tombstoned(range.clone(), window.clone(), None, notes.clone()).unwrap();
    assert!(
        unsigned
            .verify(&terms(&policy, &hash, 3, NOW + 9000))
            .is_err()
    );
    let other =
        ExpiryProof::build_tombstoned(range, window, Some(world.log_note(7)), notes).unwrap();
    assert_eq!(
        other.verify(&terms(&policy, &hash, 3, NOW + 9000)),
        Err(LogError::RootMismatch)
    );
}

#[test]
fn tombstones_count_only_for_whom_the_policy_names() {
    let (world, policy) = (world(), policy(3, 2));
    let end = |notes: &[SignedNote]| Tombstones::end(&policy, ORIGIN, notes);
    assert_eq!(end(&[]), Ok(None));
    assert_eq!(
        end(&[tombstone(&world, 6, 0), tombstone(&world, 7, 0)]),
        Ok(None)
    );
    assert_eq!(
        end(&[tombstone(&world, 6, 0), tombstone(&world, 7, 8)]),
        Ok(None)
    );
    let two = [tombstone(&world, 6, 0), tombstone(&world, 7, 1)];
    assert_eq!(end(&two).unwrap().unwrap().size, 7);
    assert_eq!(Tombstones::end(&policy, "another", &two), Ok(None));
    let forked = World::with_steps(&[1; 10]);
    let disagree = [tombstone(&world, 7, 0), tombstone(&forked, 7, 1)];
    assert_eq!(
        end(&disagree),
        Err(LogError::TombstonesDisagree { size: 7 })
    );
    let mut spoiled = tombstone(&world, 6, 0);
    spoiled
        .add(tombstone(&world, 7, 1).signatures()[0].clone())
        .unwrap();
    assert!(matches!(
        end(&[spoiled]),
        Err(LogError::SignatureInvalid(_))
    ));
    // A checkpoint is no tombstone.
    assert!(end(&[world.note(6, &[0])]).is_err());
    for changed in mutations(two[0].to_string().as_bytes()) {
        let verified = SignedNote::parse(&changed)
            .and_then(|note| Tombstone::verify(&note, &cosigner_key(0).verifier()));
        assert!(verified.is_err());
    }
}

#[test]
fn several_logs_are_published_in_any_and_expired_in_all() {
    let (open, published, expired) = (
        Verdict::Open,
        Verdict::Published { index: 7 },
        Verdict::Expired { index: 9 },
    );
    assert_eq!(judge_all(&[]), Outcome::Open);
    assert_eq!(judge_all(&[open, expired]), Outcome::Open);
    assert_eq!(judge_all(&[expired, expired]), Outcome::Expired);
    assert_eq!(
        judge_all(&[expired, open, published]),
        Outcome::Published { log: 2, index: 7 }
    );
}

#[test]
fn from_size_lies_close_before_the_newest_size() {
    for (from, size, good) in [
        (0, 0, true),
        (5, 5, true),
        (6, 5, false),
        (0, 1 << 20, true),
        (0, (1 << 20) + 1, false),
        (u64::MAX, u64::MAX, true),
        (0, u64::MAX, false),
    ] {
        assert_eq!(check_from_size(from, size).is_ok(), good, "{from} {size}");
    }
}

#[test]
fn the_time_of_the_deadline_itself_counts() {
    let leaf = Leaf::Preimage {
        time_ms: 50,
        preimage: preimage(1),
    };
    assert_eq!(
        judge(0, 50, &hash_of(1), &[leaf]),
        Verdict::Published { index: 0 }
    );
    assert_eq!(
        judge(0, 49, &hash_of(1), &[leaf]),
        Verdict::Expired { index: 0 }
    );
    assert_eq!(judge(0, u64::MAX, &hash_of(2), &[leaf]), Verdict::Open);
}

#[test]
fn leaves_have_one_form() {
    let tick = Leaf::Tick {
        time_ms: 0x0102_0304_0506_0708,
    };
    assert_eq!(tick.encode(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let leaf = Leaf::Preimage {
        time_ms: 1,
        preimage: [9; 32],
    };
    assert_eq!(
        leaf.encode(),
        [&[1, 0, 0, 0, 0, 0, 0, 0, 1][..], &[9; 32]].concat()
    );
    for bytes in [tick.encode(), leaf.encode()] {
        assert_eq!(Leaf::decode(&bytes).unwrap().encode(), bytes);
        assert!(Leaf::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(Leaf::decode(&[&bytes[..], &[0]].concat()).is_err());
        let mut other = bytes.clone();
        other[0] ^= 1;
        assert!(Leaf::decode(&other).is_err());
        other[0] = 2;
        assert!(Leaf::decode(&other).is_err());
    }
    assert!(Leaf::decode(&[]).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[ -~\n]{0,100}") {
        let _ = Leaf::decode(&bytes);
        let _ = ExpiryProof::decode(&bytes);
        let _ = ExpiryProof::decode(&[b"atomicity-expiry/v1\n", &bytes[..]].concat());
        let _ = TlogProof::parse(&bytes);
        let _ = TlogProof::parse(format!("c2sp.org/tlog-proof@v1\n{text}").as_bytes());
        let _ = Tombstone::parse(&format!("atomicity-tombstone/v1\n{text}"));
    }

    #[test]
    fn tlog_proofs_round_trip(extra in prop::option::of(prop::collection::vec(any::<u8>(), 0..80)), index in any::<u64>(), hashes in prop::collection::vec(any::<[u8; 32]>(), 0..=63)) {
        let note = world().note(3, &[0]);
        let path: Vec<_> = hashes.into_iter().map(Hash::from_bytes).collect();
        let proof = TlogProof { extra, index, path, note };
        prop_assert_eq!(TlogProof::parse(proof.to_string().as_bytes()).unwrap(), proof);
    }
}

#[test]
fn a_proof_can_be_made_without_the_beginning_of_the_log() {
    let world = world();
    let range = CompactRange::from_source(&world.tree, 6).unwrap();
    let later = world.leaves[6..].iter().map(Leaf::hash).collect();
    let source = RangeSource::new(range, later);
    let note = world.note(10, &[0, 1]);
    let proof = PublicationProof::build(&source, 7, world.leaves[7], note.clone()).unwrap();
    assert_eq!(proof, world.publication(7, note.clone()));
    // Made from the hashes of another tree, it is refused at once.
    let wrong =
        PublicationProof::build(&World::with_steps(&[2; 10]).tree, 7, world.leaves[7], note);
    assert_eq!(wrong, Err(LogError::InclusionInvalid));
}
