//! Tiles and bundles: from memory where they were used lately, else from the database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atomicity_witness_log::tile::{TileKind, TilePlan, decode_bundle, encode_bundle};
use atomicity_witness_log::{HashSource, LogError, TilePath, TileSet};
use axum::body::Bytes;
use sqlx::PgPool;

use super::store;
use crate::error::PluginError;

/// Most tiles of one generation in memory; each has at most 11 KiB.
const GENERATION: usize = 1_024;

type Key = (TileKind, u64);

/// The widest form that is known, with its width.
#[derive(Clone, Debug)]
struct Tile {
    width: u16,
    bytes: Bytes,
}

/// What was used lately, in two generations: when the young one is full, the old one is forgotten.
#[derive(Default)]
struct Memory {
    young: HashMap<Key, Tile>,
    old: HashMap<Key, Tile>,
}

impl Memory {
    fn get(&mut self, key: &Key) -> Option<Tile> {
        if let Some(tile) = self.young.get(key) {
            return Some(tile.clone());
        }
        let tile = self.old.remove(key)?;
        self.put(*key, tile.clone());
        Some(tile)
    }

    fn put(&mut self, key: Key, tile: Tile) {
        if self
            .young
            .get(&key)
            .is_some_and(|held| held.width >= tile.width)
        {
            return;
        }
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, tile);
    }
}

/// The tiles and bundles of one log, of everything that was sequenced. Cheap to clone.
#[derive(Clone)]
pub struct Tiles {
    pool: PgPool,
    log: [u8; 32],
    memory: Arc<Mutex<Memory>>,
}

pub(super) fn failed(error: &LogError) -> PluginError {
    PluginError::Internal(format!("the log's content: {error}"))
}

impl Tiles {
    /// Those of this log.
    #[must_use]
    pub fn new(pool: PgPool, log: [u8; 32]) -> Self {
        Self {
            pool,
            log,
            memory: Arc::default(),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Nothing in here can panic half-way through a change.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what was stored.
    pub fn stored(&self, resources: Vec<(TilePath, Vec<u8>)>) {
        let mut memory = self.memory();
        for (path, bytes) in resources {
            let tile = Tile {
                width: path.width(),
                bytes: bytes.into(),
            };
            memory.put((path.kind(), path.index()), tile);
        }
    }

    async fn widest(&self, path: &TilePath) -> Result<Option<Tile>, PluginError> {
        let key = (path.kind(), path.index());
        let held = self.memory().get(&key);
        if let Some(tile) = held.filter(|tile| tile.width >= path.width()) {
            return Ok(Some(tile));
        }
        let found = store::tile(&self.pool, &self.log, path.kind(), path.index()).await?;
        let Some((width, bytes)) = found else {
            return Ok(None);
        };
        let tile = Tile { width, bytes };
        self.memory().put(key, tile.clone());
        Ok((width >= path.width()).then_some(tile))
    }

    /// The bytes of a tile or bundle, none if the log has not grown so far.
    ///
    /// # Errors
    /// [`PluginError::Database`], or [`PluginError::Internal`] if what is stored is malformed.
    pub async fn read(&self, path: &TilePath) -> Result<Option<Bytes>, PluginError> {
        let Some(tile) = self.widest(path).await? else {
            return Ok(None);
        };
        if tile.width == path.width() {
            return Ok(Some(tile.bytes));
        }
        // The narrower form is the beginning of the wider one.
        let width = usize::from(path.width());
        let bytes = match path.kind() {
            TileKind::Hashes(_) => tile.bytes.slice(..tile.bytes.len().min(32 * width)),
            TileKind::Entries => {
                let stored = TilePath::new(path.kind(), path.index(), tile.width)
                    .map_err(|error| failed(&error))?;
                let mut entries =
                    decode_bundle(&stored, &tile.bytes).map_err(|error| failed(&error))?;
                entries.truncate(width);
                encode_bundle(&entries)
                    .map_err(|error| failed(&error))?
                    .into()
            }
        };
        Ok(Some(bytes))
    }

    /// The tiles that `prove` asks for in the tree of `size` entries; its results are thrown away.
    ///
    /// # Errors
    /// [`PluginError::Database`], or [`PluginError::Internal`] if something is missing or malformed.
    pub async fn needed_for(
        &self,
        size: u64,
        prove: impl Fn(&dyn HashSource),
    ) -> Result<TileSet, PluginError> {
        // The plan must not be held while waiting: it belongs to one thread.
        let wanted = {
            let plan = TilePlan::new(size);
            prove(&plan);
            plan.tiles()
        };
        let mut set = TileSet::new();
        for path in wanted {
            let bytes = self.read(&path).await?.ok_or_else(|| {
                PluginError::Internal(format!("the log's content: {path} is missing"))
            })?;
            set.insert(&path, &bytes).map_err(|error| failed(&error))?;
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tile(width: u16) -> Tile {
        Tile {
            width,
            bytes: Bytes::new(),
        }
    }

    #[test]
    fn memory_is_bounded_and_keeps_what_is_used() {
        let mut memory = Memory::default();
        let kept = (TileKind::Entries, u64::MAX);
        memory.put(kept, tile(1));
        for index in 0..20 * GENERATION as u64 {
            memory.put((TileKind::Hashes(0), index), tile(1));
            assert!(memory.get(&kept).is_some(), "forgotten at {index}");
            assert!(memory.young.len() + memory.old.len() <= 2 * GENERATION);
        }
        assert!(memory.get(&(TileKind::Hashes(0), 0)).is_none());
    }

    #[test]
    fn a_narrower_form_does_not_replace_a_wider_one() {
        let mut memory = Memory::default();
        let key = (TileKind::Hashes(1), 7);
        memory.put(key, tile(3));
        memory.put(key, tile(2));
        assert_eq!(memory.get(&key).unwrap().width, 3);
        memory.put(key, tile(4));
        assert_eq!(memory.get(&key).unwrap().width, 4);
    }
}
