//! Tiles and entry bundles, as in `c2sp.org/tlog-tiles`: paths, bytes, which of them a growing tree touches, and hashes read from them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::codec::decimal;
use crate::error::LogError;
use crate::tree::{Hash, HashSource, MAX_TREE_SIZE, node_hash};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// Bytes of a full tile.
pub const TILE_BYTES: usize = 8192;
/// An entry of a bundle can't be longer: its length is a u16.
pub const MAX_ENTRY_BYTES: usize = 65535;
/// A tree of [`MAX_TREE_SIZE`] leaves has tiles at the levels 0 to 7.
const LEVELS: u8 = 8;

/// What a path below the log's prefix names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Hashes at this tile level; level 0 are the leaves' hashes.
    Hashes(u8),
    /// Entries.
    Entries,
}

/// A tile or an entry bundle: `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl TilePath {
    /// Names a tile or bundle.
    ///
    /// # Errors
    /// [`LogError::TileMalformed`] if level, index or width belong to no tree of at most [`MAX_TREE_SIZE`] leaves.
    pub fn new(kind: TileKind, index: u64, width: u16) -> Result<Self, LogError> {
        let level = match kind {
            TileKind::Hashes(level) => level,
            TileKind::Entries => 0,
        };
        if level >= LEVELS {
            return Err(LogError::TileMalformed("no tree has so many levels"));
        }
        if width == 0 || u64::from(width) > TILE_WIDTH {
            return Err(LogError::TileMalformed("a tile has 1 to 256 hashes"));
        }
        let end = (u128::from(index) * 256 + u128::from(width)) << (8 * u32::from(level));
        if end > u128::from(MAX_TREE_SIZE) {
            return Err(LogError::TileMalformed("no tree has such a tile"));
        }
        Ok(Self { kind, index, width })
    }

    /// Hashes of a level, or entries.
    #[must_use]
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// Position within the level.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Hashes or entries in it, 1 to 256.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it is full, so that its content never changes again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        u64::from(self.width) == TILE_WIDTH
    }

    /// Index of its first hash within the level, or of its first entry.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.index.saturating_mul(TILE_WIDTH)
    }

    /// The full tile that will replace it, or itself.
    #[must_use]
    pub fn full(&self) -> Self {
        Self {
            width: TILE_WIDTH as u16,
            ..*self
        }
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for (at, group) in groups.iter().enumerate().rev() {
            if at > 0 {
                write!(f, "x{group:03}/")?;
            } else {
                write!(f, "{group:03}")?;
            }
        }
        if !self.is_full() {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

impl FromStr for TilePath {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        parse_path(text)
            .filter(|path| path.to_string() == text)
            .ok_or(LogError::TileMalformed(
                "this is no path of a tile or bundle",
            ))
    }
}

/// Reads a path leniently: the caller compares it with the one spelling there is.
fn parse_path(text: &str) -> Option<TilePath> {
    // The longest: tile/entries/, six groups, .p/255.
    if text.len() > 64 {
        return None;
    }
    let rest = text.strip_prefix("tile/")?;
    let (kind, rest) = rest.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => TileKind::Hashes(u8::try_from(decimal(level)?).ok()?),
    };
    let (number, width) = match rest.split_once(".p/") {
        Some((number, width)) => (number, u16::try_from(decimal(width)?).ok()?),
        None => (rest, TILE_WIDTH as u16),
    };
    let mut index: u64 = 0;
    for group in number.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    TilePath::new(kind, index, width).ok()
}

/// The tiles and bundles that exist in the tree of `new` leaves and do not, or not with this width, in that of `old` leaves: what a log
/// must write before it publishes the new checkpoint. Tiles first, from the leaves upwards; then bundles.
pub fn changed_tiles(old: u64, new: u64) -> impl Iterator<Item = TilePath> {
    let new = new.min(MAX_TREE_SIZE);
    let tiles = (0..LEVELS).flat_map(move |level| {
        let shift = 8 * u32::from(level);
        changed_in_level(TileKind::Hashes(level), old >> shift, new >> shift)
    });
    tiles.chain(changed_in_level(TileKind::Entries, old, new))
}

fn changed_in_level(kind: TileKind, old: u64, new: u64) -> impl Iterator<Item = TilePath> {
    let end = if old < new {
        new.div_ceil(TILE_WIDTH)
    } else {
        0
    };
    (old / TILE_WIDTH..end).map(move |index| TilePath {
        kind,
        index,
        width: (new - index * TILE_WIDTH).min(TILE_WIDTH) as u16,
    })
}

/// The tiles at the right edge of the tree of `size` leaves, one for each level, and the bundle with the last entry: all that a log needs
/// to go on.
pub fn edge_tiles(size: u64) -> impl Iterator<Item = TilePath> {
    let size = size.min(MAX_TREE_SIZE);
    let tiles = (0..LEVELS)
        .map(move |level| (TileKind::Hashes(level), size >> (8 * u32::from(level))))
        .chain([(TileKind::Entries, size)]);
    tiles.filter(|(_, count)| *count > 0).map(|(kind, count)| {
        let index = (count - 1) / TILE_WIDTH;
        TilePath {
            kind,
            index,
            width: (count - index * TILE_WIDTH) as u16,
        }
    })
}

/// The bundles that hold the entries `[start, end)` of a tree of `size` leaves.
pub fn bundles(start: u64, end: u64, size: u64) -> impl Iterator<Item = TilePath> {
    let size = size.min(MAX_TREE_SIZE);
    let end = end.min(size);
    let last = if start < end {
        end.div_ceil(TILE_WIDTH)
    } else {
        0
    };
    (start / TILE_WIDTH..last).map(move |index| TilePath {
        kind: TileKind::Entries,
        index,
        width: (size - index * TILE_WIDTH).min(TILE_WIDTH) as u16,
    })
}

/// The bytes of a tile.
#[must_use]
pub fn encode_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// Reads the bytes of a tile.
///
/// # Errors
/// [`LogError::TileMalformed`] if their number is not that of the path's width, or the path is that of a bundle.
pub fn decode_tile(path: &TilePath, bytes: &[u8]) -> Result<Vec<Hash>, LogError> {
    if path.kind == TileKind::Entries {
        return Err(LogError::TileMalformed("this is the path of a bundle"));
    }
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() != usize::from(path.width) {
        return Err(LogError::TileMalformed("a tile has 32 bytes for each hash"));
    }
    Ok(hashes.iter().map(|hash| Hash::from_bytes(*hash)).collect())
}

/// The bytes of an entry bundle: each entry after its length (u16, big endian).
///
/// # Errors
/// [`LogError::TooLarge`] if there are more than 256 entries or one has more than [`MAX_ENTRY_BYTES`].
pub fn encode_bundle<T: AsRef<[u8]>>(entries: &[T]) -> Result<Vec<u8>, LogError> {
    if entries.len() > TILE_WIDTH as usize {
        return Err(LogError::TooLarge {
            what: "an entry bundle",
            limit: TILE_WIDTH as usize,
        });
    }
    let mut out = Vec::new();
    for entry in entries {
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len()).map_err(|_| LogError::TooLarge {
            what: "an entry",
            limit: MAX_ENTRY_BYTES,
        })?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(entry);
    }
    Ok(out)
}

/// Reads an entry bundle; what the entries are is not looked at.
///
/// # Errors
/// [`LogError::TileMalformed`] if it does not hold exactly as many entries as the path's width says, or the path is that of a tile.
pub fn decode_bundle<'a>(path: &TilePath, bytes: &'a [u8]) -> Result<Vec<&'a [u8]>, LogError> {
    if path.kind != TileKind::Entries {
        return Err(LogError::TileMalformed("this is the path of a tile"));
    }
    let mut rest = bytes;
    let mut entries = Vec::with_capacity(usize::from(path.width));
    for _ in 0..path.width {
        let (length, tail) = rest
            .split_first_chunk()
            .ok_or(LogError::TileMalformed("a bundle ends early"))?;
        let (entry, tail) = tail
            .split_at_checked(usize::from(u16::from_be_bytes(*length)))
            .ok_or(LogError::TileMalformed("a bundle ends early"))?;
        entries.push(entry);
        rest = tail;
    }
    if !rest.is_empty() {
        return Err(LogError::TileMalformed(
            "something follows the last entry of a bundle",
        ));
    }
    Ok(entries)
}

/// Where in the tiles a hash lies: tile level, tile index, first and number of its parts in the tile.
fn locate(level: u8, index: u64) -> Option<(u8, u64, usize, usize)> {
    let height = level % 8;
    let first = index
        .checked_shl(u32::from(height))
        .filter(|first| first >> height == index)?;
    Some((
        level / 8,
        first / TILE_WIDTH,
        (first % TILE_WIDTH) as usize,
        1 << height,
    ))
}

/// Fetched tiles, as a source of hashes. Nothing says that what was put in is true: a proof made from it has to be verified.
#[derive(Clone, Debug, Default)]
pub struct TileSet {
    tiles: BTreeMap<(u8, u64), Vec<Hash>>,
}

impl TileSet {
    /// No tiles.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the bytes of a tile; a wider one replaces a narrower one.
    ///
    /// # Errors
    /// [`LogError::TileMalformed`] as in [`decode_tile`].
    pub fn insert(&mut self, path: &TilePath, bytes: &[u8]) -> Result<(), LogError> {
        let hashes = decode_tile(path, bytes)?;
        if let TileKind::Hashes(level) = path.kind {
            let held = self.tiles.entry((level, path.index)).or_default();
            if hashes.len() > held.len() {
                *held = hashes;
            }
        }
        Ok(())
    }

    /// The hashes of a tile, as far as they are held.
    #[must_use]
    pub fn tile(&self, level: u8, index: u64) -> Option<&[Hash]> {
        self.tiles.get(&(level, index)).map(Vec::as_slice)
    }
}

/// The hash over a complete subtree whose leaves these are; their number is a power of two.
pub(crate) fn subtree(hashes: &[Hash]) -> Option<Hash> {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[left, right]| node_hash(left, right))
            .collect();
    }
    row.first().copied()
}

impl HashSource for TileSet {
    fn hash(&self, level: u8, index: u64) -> Result<Hash, LogError> {
        locate(level, index)
            .and_then(|(tile, at, first, count)| {
                self.tiles
                    .get(&(tile, at))?
                    .get(first..first.checked_add(count)?)
            })
            .and_then(subtree)
            .ok_or(LogError::HashMissing { level, index })
    }
}

/// Finds out which tiles a proof needs: hand it to the function that makes the proof, throw the proof away, fetch [`Self::tiles`].
#[derive(Debug)]
pub struct TilePlan {
    size: u64,
    tiles: RefCell<BTreeSet<TilePath>>,
}

impl TilePlan {
    /// A plan for the tree of this size, whose tiles will be fetched.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self {
            size: size.min(MAX_TREE_SIZE),
            tiles: RefCell::default(),
        }
    }

    /// The tiles that were asked for.
    #[must_use]
    pub fn tiles(self) -> Vec<TilePath> {
        self.tiles.into_inner().into_iter().collect()
    }
}

impl HashSource for TilePlan {
    fn hash(&self, level: u8, index: u64) -> Result<Hash, LogError> {
        let missing = LogError::HashMissing { level, index };
        let (tile, at, first, count) = locate(level, index).ok_or(missing.clone())?;
        let in_level = self.size.checked_shr(8 * u32::from(tile)).unwrap_or(0);
        let held = in_level
            .saturating_sub(at.saturating_mul(TILE_WIDTH))
            .min(TILE_WIDTH);
        if ((first + count) as u64) > held {
            return Err(missing);
        }
        let path = TilePath {
            kind: TileKind::Hashes(tile),
            index: at,
            width: held as u16,
        };
        self.tiles.borrow_mut().insert(path);
        Ok(Hash::empty_root())
    }
}
