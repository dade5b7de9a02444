//! The right edge of a mirror's tiles: from entries to the tiles and bundles that have to be written.

use crate::error::LogError;
use crate::tile::{
    TILE_WIDTH, TileKind, TilePath, decode_bundle, decode_tile, edge_tiles, encode_bundle,
    encode_tile, subtree,
};
use crate::tree::{CompactRange, Hash, leaf_hash};

/// What a mirror must know to write the tiles of further entries: the tiles that are not full yet.
///
/// Unlike a [`crate::LogState`] it takes entries as they come and judges none of them: that is a [`crate::Follower`]'s affair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TileEdge {
    size: u64,
    /// The partial tile of each tile level; never full.
    levels: Vec<Vec<Hash>>,
    /// The entries of the partial bundle; never full.
    bundle: Vec<Vec<u8>>,
}

impl TileEdge {
    /// The edge of the tree without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tiles and the bundle that [`Self::restore`] asks for.
    #[must_use]
    pub fn needed(size: u64) -> Vec<TilePath> {
        edge_tiles(size).filter(|path| !path.is_full()).collect()
    }

    /// Reads the edge of a tree of this size back from what was stored.
    ///
    /// # Errors
    /// [`LogError::TileMalformed`] if something is missing or malformed.
    pub fn restore(
        size: u64,
        mut read: impl FnMut(&TilePath) -> Option<Vec<u8>>,
    ) -> Result<Self, LogError> {
        let missing = LogError::TileMalformed("a tile or bundle that must be there is missing");
        let mut edge = Self {
            size,
            ..Self::default()
        };
        for path in Self::needed(size) {
            let bytes = read(&path).ok_or(missing.clone())?;
            match path.kind() {
                TileKind::Hashes(level) => {
                    let at = usize::from(level);
                    edge.levels
                        .resize(edge.levels.len().max(at + 1), Vec::new());
                    edge.levels[at] = decode_tile(&path, &bytes)?;
                }
                TileKind::Entries => {
                    let entries = decode_bundle(&path, &bytes)?;
                    edge.bundle = entries.into_iter().map(<[u8]>::to_vec).collect();
                }
            }
        }
        Ok(edge)
    }

    /// Number of entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes over all entries, as the partial tiles have them.
    ///
    /// # Errors
    /// [`LogError::ProofMalformed`] if the tiles don't make a tree of this size.
    pub fn range(&self) -> Result<CompactRange, LogError> {
        let mut hashes = Vec::new();
        for tile in self.levels.iter().rev() {
            let mut rest = tile.as_slice();
            for bit in (0..8).rev().filter(|bit| tile.len() >> bit & 1 == 1) {
                let (head, tail) = rest
                    .split_at_checked(1 << bit)
                    .ok_or(LogError::OutOfRange)?;
                hashes.push(subtree(head).ok_or(LogError::OutOfRange)?);
                rest = tail;
            }
        }
        CompactRange::from_parts(self.size, hashes)
    }

    /// Appends entries. Returns the tiles and bundles to be written, with their bytes: all that are in the new tree and were not, or not
    /// with this width, in the old one. On an error nothing has changed.
    ///
    /// # Errors
    /// [`LogError::TooLarge`] if an entry fits into no bundle; [`LogError::TileMalformed`] if the tree is full.
    pub fn append<T: AsRef<[u8]>>(
        &mut self,
        entries: &[T],
    ) -> Result<Vec<(TilePath, Vec<u8>)>, LogError> {
        let mut next = self.clone();
        let mut out = Vec::new();
        for entry in entries {
            next.push(entry.as_ref(), &mut out)?;
        }
        next.put_partial(self.size, &mut out)?;
        *self = next;
        Ok(out)
    }

    fn push(&mut self, entry: &[u8], out: &mut Vec<(TilePath, Vec<u8>)>) -> Result<(), LogError> {
        let full = TILE_WIDTH as usize;
        self.size += 1;
        self.bundle.push(entry.to_vec());
        if self.bundle.len() == full {
            let path = TilePath::new(TileKind::Entries, self.size / TILE_WIDTH - 1, full as u16)?;
            out.push((path, encode_bundle(&self.bundle)?));
            self.bundle.clear();
        }
        let mut hash = leaf_hash(entry);
        for level in 0u8.. {
            let at = usize::from(level);
            if at == self.levels.len() {
                self.levels.push(Vec::new());
            }
            self.levels[at].push(hash);
            if self.levels[at].len() < full {
                return Ok(());
            }
            let index = (self.size >> (8 * (u32::from(level) + 1))) - 1;
            let path = TilePath::new(TileKind::Hashes(level), index, full as u16)?;
            out.push((path, encode_tile(&self.levels[at])));
            hash = subtree(&self.levels[at]).ok_or(LogError::OutOfRange)?;
            self.levels[at].clear();
        }
        Ok(())
    }

    /// Puts out the partial tiles and the partial bundle that changed since `old`.
    fn put_partial(&self, old: u64, out: &mut Vec<(TilePath, Vec<u8>)>) -> Result<(), LogError> {
        for (level, hashes) in (0u8..).zip(&self.levels) {
            let shift = 8 * u32::from(level);
            if hashes.is_empty() || old >> shift == self.size >> shift {
                continue;
            }
            let index = self.size >> shift >> 8;
            let path = TilePath::new(TileKind::Hashes(level), index, hashes.len() as u16)?;
            out.push((path, encode_tile(hashes)));
        }
        if !self.bundle.is_empty() && old != self.size {
            let (index, width) = (self.size / TILE_WIDTH, self.bundle.len() as u16);
            let path = TilePath::new(TileKind::Entries, index, width)?;
            out.push((path, encode_bundle(&self.bundle)?));
        }
        Ok(())
    }
}
