//! The Merkle tree of RFC 6962: hashes, roots, proofs of inclusion and of consistency.
//!
//! Proofs are made from a [`HashSource`], which only has to know the hashes of *complete* subtrees: what tiles hold. A proof that was
//! made from hashes of unknown origin is worth what its verification says.

mod compact;
mod proofs;

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::codec::{b64_decode, b64_encode};
use crate::error::LogError;

pub use compact::{CompactRange, RangeSource};
pub(crate) use proofs::inclusion_across;
pub use proofs::{
    ConsistencyPath, inclusion_root, prove_consistency, prove_inclusion, verify_consistency,
    verify_inclusion,
};

/// No tree has more leaves.
pub const MAX_TREE_SIZE: u64 = i64::MAX as u64;
/// No proof has more hashes.
pub const MAX_PROOF_HASHES: usize = 63;

/// A SHA-256 hash in the tree: of a leaf, of an inner node, or a root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Takes the 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Standard base64, 44 characters: the form in checkpoints and proofs.
    #[must_use]
    pub fn to_base64(&self) -> String {
        b64_encode(&self.0)
    }

    /// Reads [`Self::to_base64`]; no other spelling is taken.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        if text.len() != 44 {
            return None;
        }
        Some(Self(b64_decode(text)?.try_into().ok()?))
    }

    /// The root of the tree without leaves: the hash of the empty string.
    #[must_use]
    pub fn empty_root() -> Self {
        Self(Sha256::digest([]).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// Hash of a leaf: SHA-256 of 0x00 and its bytes.
#[must_use]
pub fn leaf_hash(bytes: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(bytes);
    Hash(hasher.finalize().into())
}

/// Hash of an inner node: SHA-256 of 0x01 and its two children.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Hash(Sha256::digest(bytes).into())
}

/// Something that knows the hashes of complete subtrees.
pub trait HashSource {
    /// The hash of the complete subtree over the leaves `[index · 2^level, (index + 1) · 2^level)`.
    ///
    /// # Errors
    /// [`LogError::HashMissing`] if it is not at hand.
    fn hash(&self, level: u8, index: u64) -> Result<Hash, LogError>;
}

impl<S: HashSource + ?Sized> HashSource for &S {
    fn hash(&self, level: u8, index: u64) -> Result<Hash, LogError> {
        (**self).hash(level, index)
    }
}

/// The complete subtrees, as (level, index), that `[start, end)` is made of, from left to right. `start` must be a multiple of the
/// largest power of two not above the length, as it is for every node of an RFC 6962 tree.
fn subtrees(start: u64, end: u64) -> impl Iterator<Item = (u8, u64)> {
    let length = end.saturating_sub(start);
    let mut at = start;
    (0..64u8).rev().filter_map(move |level| {
        if length & (1 << level) == 0 {
            return None;
        }
        let index = at >> level;
        at = at.saturating_add(1 << level);
        Some((level, index))
    })
}

/// Folds the hashes of complete subtrees, from left to right, into one.
fn fold(hashes: &[Hash]) -> Option<Hash> {
    hashes
        .iter()
        .rev()
        .copied()
        .reduce(|right, left| node_hash(&left, &right))
}

/// The hash of `[start, end)`, which must be a node of an RFC 6962 tree.
fn range_hash(source: &impl HashSource, start: u64, end: u64) -> Result<Hash, LogError> {
    let hashes = subtrees(start, end)
        .map(|(level, index)| source.hash(level, index))
        .collect::<Result<Vec<_>, _>>()?;
    fold(&hashes).ok_or(LogError::OutOfRange)
}

/// The root of the tree over the first `size` leaves.
///
/// # Errors
/// [`LogError::HashMissing`] if the source lacks a hash; [`LogError::OutOfRange`] above [`MAX_TREE_SIZE`].
pub fn root(source: &impl HashSource, size: u64) -> Result<Hash, LogError> {
    if size > MAX_TREE_SIZE {
        return Err(LogError::OutOfRange);
    }
    if size == 0 {
        return Ok(Hash::empty_root());
    }
    range_hash(source, 0, size)
}

/// A tree in memory: all hashes of all complete subtrees. For tests, small logs and watchtowers.
#[derive(Clone, Debug, Default)]
pub struct MemoryTree {
    levels: Vec<Vec<Hash>>,
}

impl MemoryTree {
    /// The tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree over these leaves' bytes.
    #[must_use]
    pub fn from_entries<T: AsRef<[u8]>>(entries: &[T]) -> Self {
        let mut tree = Self::new();
        for entry in entries {
            tree.push(leaf_hash(entry.as_ref()));
        }
        tree
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// Adds the hash of a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let row = &mut self.levels[level];
            row.push(hash);
            let [.., left, right] = row.as_slice() else {
                return;
            };
            if row.len() % 2 == 1 {
                return;
            }
            hash = node_hash(left, right);
        }
    }

    /// The root over all leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        // All hashes are at hand, so the other case does not occur.
        root(self, self.size()).unwrap_or_else(|_| Hash::empty_root())
    }
}

impl HashSource for MemoryTree {
    fn hash(&self, level: u8, index: u64) -> Result<Hash, LogError> {
        let row = self.levels.get(usize::from(level));
        usize::try_from(index)
            .ok()
            .and_then(|index| row?.get(index))
            .copied()
            .ok_or(LogError::HashMissing { level, index })
    }
}
