//! Making and checking proofs of inclusion and of consistency (RFC 6962, sections 2.1.1 and 2.1.2).

use super::{Hash, HashSource, MAX_TREE_SIZE, node_hash, range_hash};
use crate::error::LogError;

/// The largest power of two below `length`, which must be at least 2.
fn split(length: u64) -> u64 {
    1 << (63 - (length - 1).leading_zeros())
}

/// The path from leaf `index` to the root of the tree over the first `size` leaves: its sibling first, the root's child last.
///
/// # Errors
/// [`LogError::OutOfRange`] unless `index < size`; [`LogError::HashMissing`] if the source lacks a hash.
pub fn prove_inclusion(
    source: &impl HashSource,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, LogError> {
    if index >= size || size > MAX_TREE_SIZE {
        return Err(LogError::OutOfRange);
    }
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(range_hash(source, middle, end)?);
            end = middle;
        } else {
            path.push(range_hash(source, start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The root that an inclusion proof leads to.
///
/// # Errors
/// [`LogError::OutOfRange`] unless `index < size`; [`LogError::InclusionInvalid`] if the proof has the wrong length.
pub fn inclusion_root(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Result<Hash, LogError> {
    if index >= size || size > MAX_TREE_SIZE {
        return Err(LogError::OutOfRange);
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return Err(LogError::InclusionInvalid);
        }
        if node % 2 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            // A node at the right edge without a sibling is its own parent.
            while node.is_multiple_of(2) && node != 0 {
                node /= 2;
                last /= 2;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node /= 2;
        last /= 2;
    }
    if last == 0 {
        Ok(hash)
    } else {
        Err(LogError::InclusionInvalid)
    }
}

/// Checks that the leaf with this hash is entry `index` of the tree of this size and root.
///
/// # Errors
/// [`LogError::OutOfRange`] unless `index < size`; [`LogError::InclusionInvalid`] if the proof does not hold.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), LogError> {
    if inclusion_root(leaf, index, size, path)? == *root {
        Ok(())
    } else {
        Err(LogError::InclusionInvalid)
    }
}

/// What a consistency proof is made of, before RFC 6962 leaves out what the verifier knows: the node that both trees share at the
/// old tree's right edge, and the path from there to both roots.
///
/// It shows more than a consistency proof does: which root the larger tree *had* at the old size, even if the old root is a lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyPath {
    /// The largest complete subtree of the larger tree that ends at the old size.
    pub seed: Hash,
    /// The other nodes, from the leaves to the root.
    pub path: Vec<Hash>,
}

impl ConsistencyPath {
    /// The path from the tree over the first `old` leaves to that over the first `new`.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] unless `0 < old ≤ new`; [`LogError::HashMissing`] if the source lacks a hash.
    pub fn prove(source: &impl HashSource, old: u64, new: u64) -> Result<Self, LogError> {
        if old == 0 || old > new || new > MAX_TREE_SIZE {
            return Err(LogError::OutOfRange);
        }
        let (mut start, mut end) = (0, new);
        let mut path = Vec::new();
        // The seed is the subtree that ends at `old` and is as large as the lowest one-bit of `old`, or both trees if they are one.
        while end != old {
            let middle = start + split(end - start);
            if old <= middle {
                path.push(range_hash(source, middle, end)?);
                end = middle;
            } else {
                path.push(range_hash(source, start, middle)?);
                start = middle;
            }
        }
        path.reverse();
        let seed = range_hash(source, start, end)?;
        Ok(Self { seed, path })
    }

    /// The roots of the old and of the new tree that the path leads to.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] unless `0 < old ≤ new`; [`LogError::ConsistencyInvalid`] if the path has the wrong length.
    pub fn roots(&self, old: u64, new: u64) -> Result<(Hash, Hash), LogError> {
        if old == 0 || old > new || new > MAX_TREE_SIZE {
            return Err(LogError::OutOfRange);
        }
        if old == new {
            return if self.path.is_empty() {
                Ok((self.seed, self.seed))
            } else {
                Err(LogError::ConsistencyInvalid)
            };
        }
        let shift = old.trailing_zeros();
        let (mut node, mut last) = ((old - 1) >> shift, (new - 1) >> shift);
        let (mut old_root, mut new_root) = (self.seed, self.seed);
        for sibling in &self.path {
            if last == 0 {
                return Err(LogError::ConsistencyInvalid);
            }
            if node % 2 == 1 || node == last {
                old_root = node_hash(sibling, &old_root);
                new_root = node_hash(sibling, &new_root);
                while node.is_multiple_of(2) && node != 0 {
                    node /= 2;
                    last /= 2;
                }
            } else {
                new_root = node_hash(&new_root, sibling);
            }
            node /= 2;
            last /= 2;
        }
        if last == 0 {
            Ok((old_root, new_root))
        } else {
            Err(LogError::ConsistencyInvalid)
        }
    }
}

/// The inclusion proof of a leaf in the tree of `new` leaves, made from the tree over the first `old` of them (which holds the leaf) and the
/// consistency proof between the two.
pub(crate) fn inclusion_across(
    source: &impl HashSource,
    index: u64,
    (old, new): (u64, u64),
    consistency: &[Hash],
) -> Result<Vec<Hash>, LogError> {
    if index >= old || old > new || new > MAX_TREE_SIZE {
        return Err(LogError::OutOfRange);
    }
    // The nodes to the right of the old tree, as the consistency proof lists them.
    let skip = usize::from(!old.is_power_of_two());
    let mut hashes = consistency.get(skip..).unwrap_or_default().iter().rev();
    let mut right = Vec::new();
    let (mut start, mut end) = (0, new);
    while end != old {
        let middle = start + split(end - start);
        let hash = hashes.next().ok_or(LogError::ConsistencyInvalid)?;
        if old <= middle {
            right.push(((middle, end), *hash));
            end = middle;
        } else {
            start = middle;
        }
    }
    let (mut start, mut end) = (0, new);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        let sibling = if index < middle {
            (middle, end)
        } else {
            (start, middle)
        };
        path.push(hash_across(source, sibling, old, &right)?);
        (start, end) = if index < middle {
            (start, middle)
        } else {
            (middle, end)
        };
    }
    path.reverse();
    Ok(path)
}

/// The hash of a node that may reach beyond the old tree.
fn hash_across(
    source: &impl HashSource,
    (start, end): (u64, u64),
    old: u64,
    right: &[((u64, u64), Hash)],
) -> Result<Hash, LogError> {
    if end <= old {
        return range_hash(source, start, end);
    }
    if let Some((_, hash)) = right.iter().find(|(node, _)| *node == (start, end)) {
        return Ok(*hash);
    }
    if start >= old || end - start < 2 {
        return Err(LogError::ConsistencyInvalid);
    }
    let middle = start + split(end - start);
    let left = hash_across(source, (start, middle), old, right)?;
    let rest = hash_across(source, (middle, end), old, right)?;
    Ok(node_hash(&left, &rest))
}

/// The consistency proof of RFC 6962 between the trees over the first `old` and `new` leaves; empty if `old` is 0 or `new`.
///
/// # Errors
/// [`LogError::OutOfRange`] unless `old ≤ new`; [`LogError::HashMissing`] if the source lacks a hash.
pub fn prove_consistency(
    source: &impl HashSource,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, LogError> {
    if old > new || new > MAX_TREE_SIZE {
        return Err(LogError::OutOfRange);
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let ConsistencyPath { seed, mut path } = ConsistencyPath::prove(source, old, new)?;
    // A power of two is one subtree: its hash is the old root, which the verifier knows.
    if !old.is_power_of_two() {
        path.insert(0, seed);
    }
    Ok(path)
}

/// Checks that the tree of the old size and root is the beginning of the one of the new size and root.
///
/// # Errors
/// [`LogError::OutOfRange`] unless `old ≤ new`; [`LogError::ConsistencyInvalid`] if the proof does not hold.
pub fn verify_consistency(
    old: u64,
    new: u64,
    proof: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> Result<(), LogError> {
    if old > new || new > MAX_TREE_SIZE {
        return Err(LogError::OutOfRange);
    }
    let holds = if old == 0 {
        let both = new > 0 || *new_root == Hash::empty_root();
        proof.is_empty() && *old_root == Hash::empty_root() && both
    } else if old == new {
        proof.is_empty() && old_root == new_root
    } else {
        let path = if old.is_power_of_two() {
            ConsistencyPath {
                seed: *old_root,
                path: proof.to_vec(),
            }
        } else {
            let (seed, path) = proof.split_first().ok_or(LogError::ConsistencyInvalid)?;
            ConsistencyPath {
                seed: *seed,
                path: path.to_vec(),
            }
        };
        path.roots(old, new)? == (*old_root, *new_root)
    };
    if holds {
        Ok(())
    } else {
        Err(LogError::ConsistencyInvalid)
    }
}
