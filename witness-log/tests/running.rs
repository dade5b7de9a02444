//! A log that runs: what it writes, what it refuses, how it goes on after a restart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use atomicity_witness_log::tile::{
    TileKind, TilePlan, changed_tiles, decode_bundle, encode_bundle,
};
use atomicity_witness_log::tree::{CompactRange, leaf_hash, prove_inclusion, verify_inclusion};
use atomicity_witness_log::*;
use common::*;
use proptest::prelude::*;

/// A log that took batches of these sizes, a second apart.
fn run(batches: &[usize]) -> (LogState, Store, MemoryTree) {
    let (mut log, mut store, mut tree) =
        (LogState::new(ORIGIN), Store::default(), MemoryTree::new());
    let mut count = 0;
    for (step, size) in (1..).zip(batches) {
        let preimages: Vec<_> = (count..count + *size as u64).map(preimage).collect();
        count += *size as u64;
        let old = log.size();
        let batch = log.append(&preimages, NOW + step * 1000).unwrap();
        assert_eq!(batch.first_index, old);
        assert_eq!(batch.leaves.len(), size + 1);
        for (position, leaf) in batch.leaves.iter().enumerate() {
            let index = leaf.preimage().map(|_| old + position as u64);
            assert_eq!(batch.index_of(position), index);
            tree.push(leaf.hash());
        }
        assert!(batch.leaves.last().unwrap().is_tick());
        let mut written: Vec<_> = batch.resources.iter().map(|(path, _)| *path).collect();
        written.sort();
        let mut expected: Vec<_> = changed_tiles(old, log.size()).collect();
        expected.sort();
        assert_eq!(written, expected);
        store.write(&batch);
        assert_eq!(
            (batch.checkpoint.size, batch.checkpoint.root),
            (log.size(), log.root())
        );
    }
    (log, store, tree)
}

#[test]
fn a_log_writes_what_its_tree_holds() {
    let (log, store, tree) = run(&[0, 3, 300, 0, 1, 700, 255, 255]);
    assert_eq!((log.size(), log.root()), (tree.size(), tree.root()));
    assert_eq!(
        log.range(),
        &CompactRange::from_source(&tree, tree.size()).unwrap()
    );
    for (path, bytes) in &store.0 {
        for (at, index) in (path.start()..).take(usize::from(path.width())).enumerate() {
            match path.kind() {
                TileKind::Hashes(level) => {
                    let expected = tree.hash(level * 8, index).unwrap();
                    assert_eq!(&bytes[at * 32..at * 32 + 32], expected.as_bytes());
                }
                TileKind::Entries => {
                    let entries = decode_bundle(path, bytes).unwrap();
                    assert_eq!(leaf_hash(entries[at]), tree.hash(0, index).unwrap());
                }
            }
        }
    }
}

#[test]
fn a_log_with_three_levels_of_tiles_goes_on_after_a_restart() {
    let (log, store, tree) = run(&[65_534]);
    assert_eq!(log.size(), 65_535);
    let mut sizes = vec![];
    let (mut log, mut store, mut tree) = (log, store, tree);
    for step in 0..4 {
        let batch = log.append(&[], NOW + 10_000 + step).unwrap();
        batch.leaves.iter().for_each(|leaf| tree.push(leaf.hash()));
        store.write(&batch);
        sizes.push(log.size());
        assert_eq!(log.root(), tree.root());
        assert_eq!(
            LogState::restore(&log.checkpoint(), store.read()).unwrap(),
            log
        );
    }
    assert_eq!(sizes, [65_536, 65_537, 65_538, 65_539]);
    // And the tiles alone make proofs.
    let plan = TilePlan::new(65_539);
    prove_inclusion(&plan, 40_000, 65_539).unwrap();
    let mut set = TileSet::new();
    for path in plan.tiles() {
        set.insert(&path, &store.0[&path]).unwrap();
    }
    let path = prove_inclusion(&set, 40_000, 65_539).unwrap();
    let leaf = tree.hash(0, 40_000).unwrap();
    verify_inclusion(&leaf, 40_000, 65_539, &path, &log.root()).unwrap();
}

#[test]
fn a_clock_that_does_not_advance_stops_the_log() {
    let mut log = LogState::new(ORIGIN);
    log.append(&[preimage(1)], NOW).unwrap();
    let before = log.clone();
    for now_ms in [NOW, NOW - 1, 0] {
        let refused = log.append(&[preimage(2)], now_ms);
        assert_eq!(
            refused,
            Err(LogError::ClockStuck {
                now_ms,
                last_ms: NOW
            })
        );
        assert_eq!(log, before);
    }
    assert!(log.append(&vec![[0; 32]; (1 << 16) + 1], NOW + 1).is_err());
    assert_eq!(log, before);
    assert!(log.append(&[preimage(2)], NOW + 1).is_ok());
    assert_eq!(log.last_time_ms(), Some(NOW + 1));
}

#[test]
fn a_store_that_disagrees_with_its_head_is_refused() {
    let (log, store, _) = run(&[3, 300, 20]);
    let head = log.checkpoint();
    assert_eq!(LogState::restore(&head, store.read()).unwrap(), log);
    for needed in LogState::needed(head.size) {
        let mut broken = store.clone();
        broken.0.remove(&needed);
        assert!(
            LogState::restore(&head, broken.read()).is_err(),
            "without {needed}"
        );
        for at in [0, 20, store.0[&needed].len() - 1] {
            let mut broken = store.clone();
            broken.0.get_mut(&needed).unwrap()[at] ^= 1;
            assert!(
                LogState::restore(&head, broken.read()).is_err(),
                "{needed} at {at}"
            );
        }
    }
    let other = Checkpoint {
        root: Hash::from_bytes([1; 32]),
        ..head.clone()
    };
    assert_eq!(
        LogState::restore(&other, store.read()),
        Err(LogError::RootMismatch)
    );
    let longer = Checkpoint {
        size: head.size + 1,
        ..head
    };
    assert!(LogState::restore(&longer, store.read()).is_err());
    let empty = LogState::restore(&Checkpoint::new(ORIGIN, 0, Hash::empty_root()), |_| None);
    assert_eq!(empty.unwrap(), LogState::new(ORIGIN));
}

#[test]
fn a_store_with_entries_that_no_log_writes_is_refused() {
    let tick = |time_ms| Leaf::Tick { time_ms }.encode();
    let last = Leaf::Preimage {
        time_ms: 9,
        preimage: [0; 32],
    }
    .encode();
    for (entries, refusal) in [
        (vec![tick(5), tick(4)], LogError::TimeFalls { index: 1 }),
        (vec![tick(5), last], LogError::NoTick),
        (vec![b"odd".to_vec(), tick(5)], LogError::LeafMalformed),
    ] {
        let tree = MemoryTree::from_entries(&entries);
        let head = Checkpoint::new(ORIGIN, 2, tree.root());
        let hashes: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let restored = LogState::restore(&head, |path| match path.kind() {
            TileKind::Entries => Some(encode_bundle(&entries).unwrap()),
            TileKind::Hashes(_) => Some(tile::encode_tile(&hashes)),
        });
        assert_eq!(restored, Err(refusal));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_restart_changes_nothing(batches in prop::collection::vec(0usize..400, 1..7), more in prop::collection::vec(0usize..400, 1..4)) {
        let (mut log, mut store, _) = run(&batches);
        let mut restored = LogState::restore(&log.checkpoint(), store.read()).unwrap();
        prop_assert_eq!(&restored, &log);
        for (step, size) in (0..).zip(more) {
            let preimages: Vec<_> = (0..size as u64).map(preimage).collect();
            let now_ms = NOW + 1_000_000 + step;
            let batch = log.append(&preimages, now_ms).unwrap();
            prop_assert_eq!(&restored.append(&preimages, now_ms).unwrap(), &batch);
            store.write(&batch);
        }
        prop_assert_eq!(LogState::restore(&log.checkpoint(), store.read()).unwrap(), log);
    }
}
