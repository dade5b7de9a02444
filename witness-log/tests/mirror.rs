//! What a mirror needs: tiles from entries, and following a log in bites.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use atomicity_witness_log::follower::CatchUp;
use atomicity_witness_log::{
    Batch, Checkpoint, Follower, KeyKind, Leaf, LogError, LogState, MemoryTree, SignedNote,
    SigningKey, TileEdge, TilePath,
};
use proptest::prelude::*;

const ORIGIN: &str = "log.example/mirrored";
const START: u64 = 1_700_000_000_000;

fn key() -> SigningKey {
    SigningKey::from_secret(ORIGIN, KeyKind::Ed25519, [3; 32]).unwrap()
}

fn preimages(count: usize) -> Vec<[u8; 32]> {
    (0..count).map(|n| [(n % 251) as u8; 32]).collect()
}

fn entries(batch: &Batch) -> Vec<Vec<u8>> {
    batch.leaves.iter().map(Leaf::encode).collect()
}

/// A log's entries and its head after each of these batches.
fn log_of(batches: &[usize]) -> (Vec<Vec<u8>>, Vec<SignedNote>) {
    let mut log = LogState::new(ORIGIN);
    let (mut all, mut heads) = (Vec::new(), Vec::new());
    for (at, count) in batches.iter().enumerate() {
        let batch = log.append(&preimages(*count), START + at as u64).unwrap();
        all.extend(entries(&batch));
        heads.push(batch.checkpoint.sign(&key()).unwrap());
    }
    (all, heads)
}

/// The head that a log without scruples would sign over these entries.
fn head_over(entries: &[Vec<u8>]) -> SignedNote {
    let tree = MemoryTree::from_entries(entries);
    Checkpoint::new(ORIGIN, tree.size(), tree.root())
        .sign(&key())
        .unwrap()
}

proptest! {
    #[test]
    fn a_mirror_writes_the_tiles_that_the_log_wrote(batches in prop::collection::vec(0usize..700, 1..8)) {
        let mut log = LogState::new(ORIGIN);
        let mut edge = TileEdge::new();
        let mut stored: BTreeMap<TilePath, Vec<u8>> = BTreeMap::new();
        for (at, count) in batches.iter().enumerate() {
            let batch = log.append(&preimages(*count), START + at as u64).unwrap();
            let written = edge.append(&entries(&batch)).unwrap();
            let mut theirs = batch.resources.clone();
            let mut ours = written.clone();
            theirs.sort();
            ours.sort();
            prop_assert_eq!(ours, theirs);
            stored.extend(written);
            prop_assert_eq!(edge.range().unwrap().root(), log.root());
            let restored = TileEdge::restore(edge.size(), |path| stored.get(path).cloned()).unwrap();
            prop_assert_eq!(restored.range().unwrap().root(), log.root());
            edge = restored;
        }
    }

    #[test]
    fn bites_of_any_size_lead_to_the_same_follower(
        batches in prop::collection::vec(0usize..90, 2..8), bite in 1usize..200,
    ) {
        let (all, heads) = log_of(&batches);
        let mut known = Follower::new(key().verifier());
        let first = batches[0] + 1;
        known.advance(&heads[0], &all[..first], None).unwrap();
        let newest = heads.last().unwrap();
        let mut catch_up = CatchUp::begin(&known, newest).unwrap();
        for chunk in all[first..].chunks(bite) {
            prop_assert!(catch_up.size() < catch_up.target());
            catch_up.add(chunk).unwrap();
        }
        let caught_up = catch_up.finish().unwrap();
        let mut at_once = known.clone();
        at_once.advance(newest, &all[first..], None).unwrap();
        prop_assert_eq!(caught_up.encode(), at_once.encode());
        Follower::decode(&caught_up.encode()).unwrap();
    }
}

#[test]
fn what_is_missing_or_foreign_does_not_pass() {
    let (all, heads) = log_of(&[300, 5]);
    let nobody = Follower::new(key().verifier());
    let newest = heads.last().unwrap();
    let begin = || CatchUp::begin(&nobody, newest).unwrap();

    let mut short = begin();
    short.add(&all[..200]).unwrap();
    assert!(matches!(
        short.finish().unwrap_err(),
        LogError::EntriesMissing {
            wanted: 307,
            got: 200
        }
    ));

    let mut long = begin();
    long.add(&all).unwrap();
    assert_eq!(long.add(&all[..1]).unwrap_err().code(), "entries_missing");
    long.finish().unwrap();

    let mut foreign = begin();
    let mut other = all.clone();
    other[100][20] ^= 1;
    foreign.add(&other).unwrap();
    assert_eq!(foreign.finish().unwrap_err(), LogError::RootMismatch);
}

#[test]
fn the_first_wrong_entry_is_named_once_it_is_the_logs_own() {
    let tick = |time_ms| Leaf::Tick { time_ms }.encode();
    let nobody = Follower::new(key().verifier());
    let cases = [
        (vec![tick(5), tick(4), tick(3)], 1, "time_falls"),
        (vec![tick(5), vec![9, 9], tick(3)], 1, "leaf_malformed"),
    ];
    for (entries, index, code) in cases {
        let mut catch_up = CatchUp::begin(&nobody, &head_over(&entries)).unwrap();
        for entry in &entries {
            catch_up.add(&[entry]).unwrap();
        }
        assert_eq!(catch_up.suspect(), Some(index));
        assert_eq!(catch_up.finish().unwrap_err().code(), code);
    }
    // Times must not fall from what was known before either.
    let mut known = Follower::new(key().verifier());
    known
        .advance(&head_over(&[tick(5)]), &[tick(5)], None)
        .unwrap();
    let mut catch_up = CatchUp::begin(&known, &head_over(&[tick(5), tick(4)])).unwrap();
    catch_up.add(&[tick(4)]).unwrap();
    assert_eq!(catch_up.finish().unwrap_err().code(), "time_falls");
}

#[test]
fn a_log_is_buried_after_the_time_agreed_upon_and_not_before() {
    let (all, heads) = log_of(&[2]);
    let cosigner =
        SigningKey::from_secret("cosigner.example", KeyKind::Cosignature, [4; 32]).unwrap();
    let mut follower = Follower::new(key().verifier());
    follower.advance(&heads[0], &all, None).unwrap();
    let soon = START + 10_000;
    assert_eq!(
        follower.bury_after(&cosigner, soon, 10_000).unwrap_err(),
        LogError::NotDead
    );
    assert_eq!(
        follower.bury(&cosigner, soon + 1).unwrap_err(),
        LogError::NotDead
    );
    let tombstone = follower.bury_after(&cosigner, soon + 1, 10_000).unwrap();
    assert_eq!(tombstone.text().lines().nth(2), Some("3"));
    let (_, grown) = log_of(&[2, 1]);
    assert!(matches!(
        CatchUp::begin(&follower, &grown[1]).unwrap_err(),
        LogError::Tombstoned { size: 3 }
    ));
}
