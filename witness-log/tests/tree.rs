//! The tree and its tiles against two other implementations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use atomicity_witness_log::tile::{TileKind, TilePlan, changed_tiles, encode_tile};
use atomicity_witness_log::tree::*;
use atomicity_witness_log::*;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;
use tlog_tiles::{HashReader, prove_record, prove_tree, stored_hash_index};

fn entries(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|n| n.to_be_bytes().to_vec()).collect()
}

fn ours(count: u64) -> MemoryTree {
    MemoryTree::from_entries(&entries(count))
}

fn theirs(count: u64) -> MemoryBackedTree<Sha256, Vec<u8>> {
    let mut tree = MemoryBackedTree::new();
    entries(count)
        .into_iter()
        .for_each(|entry| tree.push(entry));
    tree
}

fn concat(hashes: &[Hash]) -> Vec<u8> {
    encode_tile(hashes)
}

/// tlog_tiles' view of our tree.
struct Stored(BTreeMap<u64, [u8; 32]>);

impl Stored {
    fn new(tree: &MemoryTree) -> Self {
        let mut stored = BTreeMap::new();
        for level in 0..12u8 {
            for index in 0..tree.size() >> level {
                let hash = tree.hash(level, index).unwrap();
                stored.insert(stored_hash_index(level, index), *hash.as_bytes());
            }
        }
        Self(stored)
    }
}

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes
            .iter()
            .map(|index| tlog_tiles::Hash(self.0[index]))
            .collect())
    }
}

/// All tiles that a growing log wrote, by path.
fn tiles(tree: &MemoryTree, sizes: &[u64]) -> BTreeMap<TilePath, Vec<u8>> {
    let mut written = BTreeMap::new();
    let mut old = 0;
    for &new in sizes {
        for path in changed_tiles(old, new) {
            if let TileKind::Hashes(level) = path.kind() {
                let start = path.start();
                let hashes: Vec<Hash> = (start..start + u64::from(path.width()))
                    .map(|index| tree.hash(level * 8, index).unwrap())
                    .collect();
                written.insert(path, encode_tile(&hashes));
            }
        }
        old = new;
    }
    written
}

/// Asks a plan which tiles something needs, then does it with these alone.
fn with_needed_tiles<T>(
    size: u64,
    written: &BTreeMap<TilePath, Vec<u8>>,
    make: impl Fn(&dyn HashSource) -> Result<T, LogError>,
) -> T {
    let plan = TilePlan::new(size);
    make(&plan).expect("a plan knows all");
    let mut set = TileSet::new();
    for path in plan.tiles() {
        set.insert(&path, &written[&path]).unwrap();
    }
    make(&set).expect("the planned tiles suffice")
}

#[test]
fn the_empty_tree_is_the_hash_of_nothing() {
    assert_eq!(
        Hash::empty_root().to_base64(),
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    );
    assert_eq!(MemoryTree::new().root(), Hash::empty_root());
    assert_eq!(CompactRange::new().root(), Hash::empty_root());
}

#[test]
fn every_small_tree_has_the_proofs_that_others_make() {
    let all = ours(70);
    let stored = Stored::new(&all);
    for size in 1..=70u64 {
        let reference = theirs(size);
        let root = root(&all, size).unwrap();
        assert_eq!(root.as_bytes()[..], reference.root().as_bytes()[..]);
        for index in 0..size {
            let path = prove_inclusion(&all, index, size).unwrap();
            assert_eq!(
                concat(&path),
                reference.prove_inclusion(index as usize).as_bytes()
            );
            let also: Vec<Hash> = prove_record(size, index, &stored)
                .unwrap()
                .iter()
                .map(|hash| Hash::from_bytes(hash.0))
                .collect();
            assert_eq!(path, also);
            let leaf = all.hash(0, index).unwrap();
            verify_inclusion(&leaf, index, size, &path, &root).unwrap();
        }
        for old in 1..=size {
            let proof = prove_consistency(&all, old, size).unwrap();
            assert_eq!(
                concat(&proof),
                reference
                    .prove_consistency((size - old) as usize)
                    .as_bytes()
            );
            let also: Vec<Hash> = prove_tree(size, old, &stored)
                .unwrap()
                .iter()
                .map(|hash| Hash::from_bytes(hash.0))
                .collect();
            assert_eq!(proof, also);
            let old_root = atomicity_witness_log::tree::root(&all, old).unwrap();
            verify_consistency(old, size, &proof, &old_root, &root).unwrap();
        }
    }
}

#[test]
fn nonsense_is_refused_and_does_no_harm() {
    let tree = ours(5);
    let some = tree.root();
    for (index, size) in [
        (0, 0),
        (5, 5),
        (0, u64::MAX),
        (u64::MAX, u64::MAX),
        (3, 1 << 63),
    ] {
        assert_eq!(
            prove_inclusion(&tree, index, size),
            Err(LogError::OutOfRange)
        );
        assert_eq!(
            verify_inclusion(&some, index, size, &[], &some),
            Err(LogError::OutOfRange)
        );
    }
    for (old, new) in [(2, 1), (0, u64::MAX), (u64::MAX, u64::MAX), (1, 1 << 63)] {
        assert!(prove_consistency(&tree, old, new).is_err());
        assert!(verify_consistency(old, new, &[some; 64], &some, &some).is_err());
    }
    assert!(verify_consistency(3, 7, &[], &some, &some).is_err());
    assert!(verify_consistency(0, 0, &[], &some, &some).is_err());
    assert!(verify_inclusion(&some, 1, 2, &[some; 64], &some).is_err());
    assert!(prove_inclusion(&tree, 1, 6).is_err());
    assert!(tree.hash(255, 0).is_err() && tree.hash(0, u64::MAX).is_err());
    let source = RangeSource::new(CompactRange::from_source(&tree, 3).unwrap(), vec![some]);
    for level in [0, 1, 2, 62, 63, 64, 255] {
        for index in [0, 1, 7, u64::MAX] {
            let _ = source.hash(level, index);
            let _ = TileSet::new().hash(level, index);
            let _ = TilePlan::new(u64::MAX).hash(level, index);
        }
    }
    assert!(CompactRange::from_parts(3, vec![some]).is_err());
    assert!(CompactRange::from_parts(u64::MAX, vec![some; 64]).is_err());
}

proptest! {
    #[test]
    fn proofs_are_those_of_others(size in 1u64..2000, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let tree = ours(size);
        let reference = theirs(size);
        let root = tree.root();
        prop_assert_eq!(root.as_bytes().to_vec(), reference.root().as_bytes().to_vec());
        let index = a.index(size as usize) as u64;
        let path = prove_inclusion(&tree, index, size).unwrap();
        let reference_path = reference.prove_inclusion(index as usize);
        prop_assert_eq!(concat(&path), reference_path.as_bytes());
        verify_inclusion(&tree.hash(0, index).unwrap(), index, size, &path, &root).unwrap();
        let old = 1 + b.index(size as usize) as u64;
        let proof = prove_consistency(&tree, old, size).unwrap();
        prop_assert_eq!(concat(&proof), reference.prove_consistency((size - old) as usize).as_bytes().to_vec());
        let old_root = atomicity_witness_log::tree::root(&tree, old).unwrap();
        verify_consistency(old, size, &proof, &old_root, &root).unwrap();
        let full = ConsistencyPath::prove(&tree, old, size).unwrap();
        prop_assert_eq!(full.roots(old, size).unwrap(), (old_root, root));
    }

    #[test]
    fn a_changed_proof_is_refused(size in 2u64..600, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(), bit in 0usize..256, grow in any::<bool>()) {
        let tree = ours(size);
        let index = a.index(size as usize) as u64;
        let (leaf, root_hash) = (tree.hash(0, index).unwrap(), tree.root());
        let path = prove_inclusion(&tree, index, size).unwrap();
        let flip = |hash: &Hash| {
            let mut bytes = *hash.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            Hash::from_bytes(bytes)
        };
        let mut changed = path.clone();
        if grow { changed.push(leaf) } else { let at = b.index(path.len()); changed[at] = flip(&changed[at]) }
        prop_assert!(verify_inclusion(&leaf, index, size, &changed, &root_hash).is_err());
        prop_assert!(verify_inclusion(&leaf, index, size, &path[1..], &root_hash).is_err());
        prop_assert!(verify_inclusion(&flip(&leaf), index, size, &path, &root_hash).is_err());
        prop_assert!(verify_inclusion(&leaf, index ^ 1, size, &path, &root_hash).is_err());
        let old = 1 + b.index(size as usize - 1) as u64;
        let old_root = root(&tree, old).unwrap();
        let proof = prove_consistency(&tree, old, size).unwrap();
        let at = a.index(proof.len());
        let mut changed = proof.clone();
        if grow { changed.push(leaf) } else { changed[at] = flip(&changed[at]) }
        prop_assert!(verify_consistency(old, size, &changed, &old_root, &root_hash).is_err());
        prop_assert!(verify_consistency(old, size, &proof[1..], &old_root, &root_hash).is_err());
        prop_assert!(verify_consistency(old, size, &proof, &flip(&old_root), &root_hash).is_err());
        prop_assert!(verify_consistency(old, size, &proof, &old_root, &flip(&root_hash)).is_err());
    }

    #[test]
    fn a_range_and_what_follows_make_the_same_tree(size in 1u64..700, from in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), old in any::<prop::sample::Index>()) {
        let tree = ours(size);
        let from = from.index(size as usize) as u64;
        let mut range = CompactRange::from_source(&tree, from).unwrap();
        let later: Vec<Hash> = (from..size).map(|index| tree.hash(0, index).unwrap()).collect();
        let source = RangeSource::new(range.clone(), later.clone());
        prop_assert_eq!(source.size(), size);
        prop_assert_eq!(root(&source, size).unwrap(), tree.root());
        let index = from + at.index((size - from) as usize) as u64;
        prop_assert_eq!(prove_inclusion(&source, index, size).unwrap(), prove_inclusion(&tree, index, size).unwrap());
        let old = from + old.index((size - from) as usize) as u64;
        prop_assert_eq!(prove_consistency(&source, old, size).unwrap(), prove_consistency(&tree, old, size).unwrap());
        for hash in later {
            range.append(hash).unwrap();
        }
        prop_assert_eq!(range, CompactRange::from_source(&tree, size).unwrap());
    }

    #[test]
    fn tiles_are_those_of_others_and_suffice(mut sizes in prop::collection::vec(1u64..2000, 1..5), a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        sizes.sort_unstable();
        sizes.dedup();
        let size = *sizes.last().unwrap();
        let tree = ours(size);
        let mut old = 0;
        for &new in &sizes {
            let ours: Vec<_> = changed_tiles(old, new)
                .filter_map(|path| match path.kind() {
                    TileKind::Hashes(level) => Some((level, path.index(), u32::from(path.width()))),
                    TileKind::Entries => None,
                })
                .collect();
            let theirs: Vec<_> = tlog_tiles::Tile::new_tiles(8, old, new)
                .iter()
                .map(|tile| (tile.level(), tile.level_index(), tile.width()))
                .collect();
            prop_assert_eq!(ours, theirs);
            old = new;
        }
        let written = tiles(&tree, &sizes);
        let index = a.index(size as usize) as u64;
        let path = with_needed_tiles(size, &written, |source| prove_inclusion(&source, index, size));
        prop_assert_eq!(path, prove_inclusion(&tree, index, size).unwrap());
        let old = 1 + b.index(size as usize) as u64;
        let proof = with_needed_tiles(size, &written, |source| prove_consistency(&source, old, size));
        prop_assert_eq!(proof, prove_consistency(&tree, old, size).unwrap());
    }
}

/// A source that counts what it is asked for.
struct Counting<'a>(&'a MemoryTree, RefCell<usize>);

impl HashSource for Counting<'_> {
    fn hash(&self, level: u8, index: u64) -> Result<Hash, LogError> {
        *self.1.borrow_mut() += 1;
        self.0.hash(level, index)
    }
}

#[test]
fn proofs_ask_for_few_hashes() {
    let tree = ours(1999);
    let counting = Counting(&tree, RefCell::new(0));
    prove_inclusion(&counting, 1000, 1999).unwrap();
    prove_consistency(&counting, 1001, 1999).unwrap();
    assert!(*counting.1.borrow() < 60, "{}", counting.1.borrow());
}
