//! Compact ranges: as many hashes as a size has one-bits, enough to append and to know the root.

use super::{Hash, HashSource, MAX_TREE_SIZE, fold, node_hash, subtrees};
use crate::error::LogError;

/// The hashes of the complete subtrees that make up the first `size` leaves, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactRange {
    size: u64,
    hashes: Vec<Hash>,
}

impl CompactRange {
    /// The range without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the parts of [`Self::size`] and [`Self::hashes`].
    ///
    /// # Errors
    /// [`LogError::ProofMalformed`] if the number of hashes is not that of the one-bits of `size`; [`LogError::OutOfRange`] above
    /// [`MAX_TREE_SIZE`].
    pub fn from_parts(size: u64, hashes: Vec<Hash>) -> Result<Self, LogError> {
        if size > MAX_TREE_SIZE {
            return Err(LogError::OutOfRange);
        }
        if hashes.len() != size.count_ones() as usize {
            return Err(LogError::ProofMalformed(
                "a compact range has one hash for each one-bit of its size",
            ));
        }
        Ok(Self { size, hashes })
    }

    /// The range over the first `size` leaves of a tree.
    ///
    /// # Errors
    /// [`LogError::HashMissing`] if the source lacks a hash; [`LogError::OutOfRange`] above [`MAX_TREE_SIZE`].
    pub fn from_source(source: &impl HashSource, size: u64) -> Result<Self, LogError> {
        if size > MAX_TREE_SIZE {
            return Err(LogError::OutOfRange);
        }
        let hashes = subtrees(0, size)
            .map(|(level, index)| source.hash(level, index))
            .collect::<Result<_, _>>()?;
        Ok(Self { size, hashes })
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes, that of the largest subtree first.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Adds the hash of a leaf.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] if the tree has [`MAX_TREE_SIZE`] leaves already.
    pub fn append(&mut self, leaf: Hash) -> Result<(), LogError> {
        if self.size >= MAX_TREE_SIZE {
            return Err(LogError::OutOfRange);
        }
        let mut hash = leaf;
        // Each trailing one-bit of the old size is a complete subtree that the new leaf merges with.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.hashes.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.hashes.push(hash);
        self.size += 1;
        Ok(())
    }

    /// The root over all leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold(&self.hashes).unwrap_or_else(Hash::empty_root)
    }
}

/// A tree of which only a compact range and the leaves after it are known: enough for proofs about those leaves.
#[derive(Clone, Debug)]
pub struct RangeSource {
    range: CompactRange,
    /// `levels[l]` holds the complete subtrees of level l that begin after the range, with the index of the first of them.
    levels: Vec<(u64, Vec<Hash>)>,
}

impl RangeSource {
    /// The tree of this range and these leaf hashes after it.
    #[must_use]
    pub fn new(range: CompactRange, leaves: Vec<Hash>) -> Self {
        let mut levels = vec![(range.size, leaves)];
        while let Some((start, row)) = levels.last() {
            // A subtree whose left child lies in the range is no row's member: `hash` puts it together when asked.
            let skip = (start % 2) as usize;
            let next: Vec<Hash> = row
                .get(skip..)
                .unwrap_or_default()
                .as_chunks::<2>()
                .0
                .iter()
                .map(|[left, right]| node_hash(left, right))
                .collect();
            if next.is_empty() {
                break;
            }
            let start = start.div_ceil(2);
            levels.push((start, next));
        }
        Self { range, levels }
    }

    /// Number of leaves, those of the range included.
    #[must_use]
    pub fn size(&self) -> u64 {
        let leaves = self.levels.first().map_or(0, |(_, row)| row.len() as u64);
        self.range.size.saturating_add(leaves)
    }

    fn row(&self, level: u8, index: u64) -> Option<Hash> {
        let (start, row) = self.levels.get(usize::from(level))?;
        let at = usize::try_from(index.checked_sub(*start)?).ok()?;
        row.get(at).copied()
    }
}

impl HashSource for RangeSource {
    fn hash(&self, level: u8, index: u64) -> Result<Hash, LogError> {
        let missing = LogError::HashMissing { level, index };
        if level > 62 {
            return Err(missing);
        }
        if let Some(hash) = self.row(level, index) {
            return Ok(hash);
        }
        let in_range = subtrees(0, self.range.size)
            .zip(&self.range.hashes)
            .find(|(node, _)| *node == (level, index));
        if let Some((_, hash)) = in_range {
            return Ok(*hash);
        }
        let (start, end) = (u128::from(index) << level, (u128::from(index) + 1) << level);
        let straddles = start < u128::from(self.range.size) && end > u128::from(self.range.size);
        if !straddles || end > u128::from(self.size()) {
            return Err(missing);
        }
        let left = self.hash(level - 1, index * 2)?;
        let right = self.hash(level - 1, index * 2 + 1)?;
        Ok(node_hash(&left, &right))
    }
}
