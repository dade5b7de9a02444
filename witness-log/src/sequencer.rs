//! The pure core of a log: from preimages and a clock to leaves, tiles, bundles and the text of the next checkpoint.
//!
//! Whoever runs it stores the batch and the new head in one transaction before anything is signed or answered. If that fails in any
//! doubtful way the process ends: a state in memory that the store does not share must never sign.

use crate::checkpoint::Checkpoint;
use crate::error::LogError;
use crate::leaf::Leaf;
use crate::tile::{
    TILE_WIDTH, TileKind, TilePath, decode_bundle, decode_tile, edge_tiles, encode_bundle,
    encode_tile, subtree,
};
use crate::tree::{CompactRange, Hash, MAX_TREE_SIZE};

/// The most preimages of one batch.
pub const MAX_BATCH: usize = 1 << 16;

/// What a log must know to go on: the right edge of its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    origin: String,
    range: CompactRange,
    /// The partial tile of each tile level; never full.
    edge: Vec<Vec<Hash>>,
    /// The entries of the partial bundle; never full.
    bundle: Vec<Vec<u8>>,
    /// Time of the newest entry, in unix milliseconds.
    last_time_ms: Option<u64>,
}

/// What one step of a log brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Index of the first new entry.
    pub first_index: u64,
    /// The new entries: the preimages in the order given, then a tick.
    pub leaves: Vec<Leaf>,
    /// The tiles and bundles to be written, with their bytes.
    pub resources: Vec<(TilePath, Vec<u8>)>,
    /// The new head, to be signed once everything is stored.
    pub checkpoint: Checkpoint,
}

impl Batch {
    /// Index of the entry that holds the preimage given at this position.
    #[must_use]
    pub fn index_of(&self, position: usize) -> Option<u64> {
        let leaf = self.leaves.get(position)?;
        leaf.preimage()?;
        self.first_index.checked_add(position as u64)
    }
}

impl LogState {
    /// A log without entries.
    #[must_use]
    pub fn new(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            range: CompactRange::new(),
            edge: Vec::new(),
            bundle: Vec::new(),
            last_time_ms: None,
        }
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Number of entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.range.size()
    }

    /// The root over all entries.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.range.root()
    }

    /// The hashes over all entries.
    #[must_use]
    pub fn range(&self) -> &CompactRange {
        &self.range
    }

    /// Time of the newest entry, in unix milliseconds.
    #[must_use]
    pub fn last_time_ms(&self) -> Option<u64> {
        self.last_time_ms
    }

    /// The head as it is now.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint::new(&self.origin, self.size(), self.root())
    }

    /// Appends preimages and a tick, all with the time `now_ms`. On an error nothing has changed.
    ///
    /// # Errors
    /// [`LogError::ClockStuck`] unless `now_ms` is after the newest entry: time never falls, and a clock that stands still is broken.
    /// [`LogError::TooLarge`] above [`MAX_BATCH`]; [`LogError::OutOfRange`] if the tree is full.
    pub fn append(&mut self, preimages: &[[u8; 32]], now_ms: u64) -> Result<Batch, LogError> {
        if let Some(last_ms) = self.last_time_ms
            && now_ms <= last_ms
        {
            return Err(LogError::ClockStuck { now_ms, last_ms });
        }
        if preimages.len() > MAX_BATCH {
            return Err(LogError::TooLarge {
                what: "a batch",
                limit: MAX_BATCH,
            });
        }
        if self.size() > MAX_TREE_SIZE - MAX_BATCH as u64 - 1 {
            return Err(LogError::OutOfRange);
        }
        let first_index = self.size();
        let preimages = preimages.iter();
        let leaves: Vec<Leaf> = preimages
            .map(|preimage| Leaf::Preimage {
                time_ms: now_ms,
                preimage: *preimage,
            })
            .chain([Leaf::Tick { time_ms: now_ms }])
            .collect();
        let mut next = self.clone();
        let mut resources = Vec::new();
        for leaf in &leaves {
            next.push(leaf, &mut resources)?;
        }
        next.last_time_ms = Some(now_ms);
        next.put_partial(first_index, &mut resources)?;
        *self = next;
        Ok(Batch {
            first_index,
            leaves,
            resources,
            checkpoint: self.checkpoint(),
        })
    }

    /// Adds one leaf and puts out whatever became full by it.
    fn push(&mut self, leaf: &Leaf, out: &mut Vec<(TilePath, Vec<u8>)>) -> Result<(), LogError> {
        let full = TILE_WIDTH as usize;
        let entry = leaf.encode();
        let mut hash = leaf.hash();
        self.range.append(hash)?;
        let size = self.range.size();
        self.bundle.push(entry);
        if self.bundle.len() == full {
            let path = TilePath::new(TileKind::Entries, size / TILE_WIDTH - 1, full as u16)?;
            out.push((path, encode_bundle(&self.bundle)?));
            self.bundle.clear();
        }
        for level in 0u8.. {
            let at = usize::from(level);
            if at == self.edge.len() {
                self.edge.push(Vec::new());
            }
            self.edge[at].push(hash);
            if self.edge[at].len() < full {
                return Ok(());
            }
            let index = (size >> (8 * (u32::from(level) + 1))) - 1;
            let path = TilePath::new(TileKind::Hashes(level), index, full as u16)?;
            out.push((path, encode_tile(&self.edge[at])));
            hash = subtree(&self.edge[at]).ok_or(LogError::OutOfRange)?;
            self.edge[at].clear();
        }
        Ok(())
    }

    /// Puts out the partial tiles and the partial bundle that changed since `old`.
    fn put_partial(&self, old: u64, out: &mut Vec<(TilePath, Vec<u8>)>) -> Result<(), LogError> {
        for (level, hashes) in (0u8..).zip(&self.edge) {
            let shift = 8 * u32::from(level);
            if hashes.is_empty() || old >> shift == self.size() >> shift {
                continue;
            }
            let index = self.size() >> shift >> 8;
            let path = TilePath::new(TileKind::Hashes(level), index, hashes.len() as u16)?;
            out.push((path, encode_tile(hashes)));
        }
        if !self.bundle.is_empty() {
            let path = TilePath::new(
                TileKind::Entries,
                self.size() / TILE_WIDTH,
                self.bundle.len() as u16,
            )?;
            out.push((path, encode_bundle(&self.bundle)?));
        }
        Ok(())
    }

    /// The tiles and the bundle that [`Self::restore`] asks for.
    #[must_use]
    pub fn needed(size: u64) -> Vec<TilePath> {
        edge_tiles(size).collect()
    }

    /// Rebuilds the state from what was stored, and checks it against the stored head.
    ///
    /// # Errors
    /// [`LogError::TileMalformed`] if something is missing or malformed; [`LogError::RootMismatch`] if tiles, entries and head disagree;
    /// [`LogError::LeafMalformed`], [`LogError::TimeFalls`], [`LogError::NoTick`] for entries that this log would not have written.
    pub fn restore(
        head: &Checkpoint,
        mut read: impl FnMut(&TilePath) -> Option<Vec<u8>>,
    ) -> Result<Self, LogError> {
        let missing = LogError::TileMalformed("a tile or bundle that must be there is missing");
        let mut levels: Vec<Vec<Hash>> = Vec::new();
        let mut entries: Vec<Vec<u8>> = Vec::new();
        let mut last_start = 0;
        for path in Self::needed(head.size) {
            let bytes = read(&path).ok_or(missing.clone())?;
            match path.kind() {
                TileKind::Hashes(_) => levels.push(decode_tile(&path, &bytes)?),
                TileKind::Entries => {
                    last_start = path.start();
                    entries = decode_bundle(&path, &bytes)?
                        .into_iter()
                        .map(<[u8]>::to_vec)
                        .collect();
                }
            }
        }
        let last_time_ms = check_entries(&entries, last_start)?;
        check_levels(&levels, &entries)?;
        let range = range_of(&levels, head.size)?;
        if range.root() != head.root {
            return Err(LogError::RootMismatch);
        }
        // What is full is written for good; only what is partial goes on growing.
        let full = TILE_WIDTH as usize;
        for tile in &mut levels {
            tile.retain({
                let keep = tile.len() < full;
                move |_| keep
            });
        }
        entries.retain({
            let keep = entries.len() < full;
            move |_| keep
        });
        Ok(Self {
            origin: head.origin.clone(),
            range,
            edge: levels,
            bundle: entries,
            last_time_ms,
        })
    }
}

/// The entries of the last bundle must be what this log would have written. Returns the time of the last.
fn check_entries(entries: &[Vec<u8>], start: u64) -> Result<Option<u64>, LogError> {
    let mut last: Option<Leaf> = None;
    for (index, entry) in (start..).zip(entries) {
        let leaf = Leaf::decode(entry)?;
        if last.is_some_and(|last| last.time_ms() > leaf.time_ms()) {
            return Err(LogError::TimeFalls { index });
        }
        last = Some(leaf);
    }
    match last {
        Some(leaf) if !leaf.is_tick() => Err(LogError::NoTick),
        last => Ok(last.map(|leaf| leaf.time_ms())),
    }
}

/// The entries must hash to the leaves' tile, and a full tile to the last hash of the tile above it.
fn check_levels(levels: &[Vec<Hash>], entries: &[Vec<u8>]) -> Result<(), LogError> {
    let leaves: Vec<Hash> = entries
        .iter()
        .map(|entry| crate::tree::leaf_hash(entry))
        .collect();
    if levels.first().map_or(&[][..], Vec::as_slice) != leaves {
        return Err(LogError::RootMismatch);
    }
    for pair in levels.windows(2) {
        let [below, above] = pair else { continue };
        let full = below.len() == TILE_WIDTH as usize;
        if full && subtree(below).as_ref() != above.last() {
            return Err(LogError::RootMismatch);
        }
    }
    Ok(())
}

/// The compact range of a tree, from the tiles at its right edge.
fn range_of(levels: &[Vec<Hash>], size: u64) -> Result<CompactRange, LogError> {
    let mut hashes = Vec::new();
    for tile in levels
        .iter()
        .rev()
        .filter(|tile| tile.len() < TILE_WIDTH as usize)
    {
        let mut rest = tile.as_slice();
        for bit in (0..8).rev().filter(|bit| tile.len() >> bit & 1 == 1) {
            let (head, tail) = rest
                .split_at_checked(1 << bit)
                .ok_or(LogError::OutOfRange)?;
            hashes.push(subtree(head).ok_or(LogError::OutOfRange)?);
            rest = tail;
        }
    }
    CompactRange::from_parts(size, hashes)
}
