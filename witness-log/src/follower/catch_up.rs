//! Following a log over more entries than one wants to hold in memory at once.
//!
//! Between the known head and the new one there is no signed head, so what is handed in on the way is not verified until the end: whoever
//! stores it meanwhile must not serve it.

use super::{Follower, Head, Newest};
use crate::checkpoint::SignedCheckpoint;
use crate::error::LogError;
use crate::leaf::Leaf;
use crate::note::SignedNote;
use crate::tree::{CompactRange, Hash, RangeSource, leaf_hash, prove_inclusion};

/// One log on its way from the head that a [`Follower`] knows to a larger one.
#[derive(Clone, Debug)]
pub struct CatchUp {
    follower: Follower,
    target: SignedCheckpoint,
    /// Over everything before the newest chunk.
    before: CompactRange,
    /// The hashes of the newest chunk.
    chunk: Vec<Hash>,
    /// Over everything handed in.
    range: CompactRange,
    last: Option<Leaf>,
    wrong: Option<(u64, LogError)>,
}

impl CatchUp {
    /// Begins. The follower stays as it is until [`Self::finish`] gives its successor.
    ///
    /// # Errors
    /// As for [`Follower::advance`]: what is wrong with the note, [`LogError::Tombstoned`], [`LogError::Shrunk`].
    pub fn begin(follower: &Follower, note: &SignedNote) -> Result<Self, LogError> {
        let target = SignedCheckpoint::new(note.only(follower.log())?)?;
        target.verify_log(follower.log())?;
        let (known, got) = (follower.size(), target.checkpoint().size);
        if let Some(tombstone) = &follower.tombstone
            && got > tombstone.size
        {
            return Err(LogError::Tombstoned {
                size: tombstone.size,
            });
        }
        if got <= known {
            return Err(LogError::Shrunk { known, got });
        }
        let newest = follower.head.as_ref().and_then(|head| head.newest.as_ref());
        Ok(Self {
            target,
            before: follower.range.clone(),
            chunk: Vec::new(),
            range: follower.range.clone(),
            last: newest.map(|newest| newest.leaf),
            wrong: None,
            follower: follower.clone(),
        })
    }

    /// Number of entries seen so far, those before the known head included: the index of the next one.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.range.size()
    }

    /// Number of entries of the new head.
    #[must_use]
    pub fn target(&self) -> u64 {
        self.target.checkpoint().size
    }

    /// Index of the first entry that is no leaf, or whose time falls. If the entries turn out to be the log's, it can be shown:
    /// see [`crate::fork::inspect`].
    #[must_use]
    pub fn suspect(&self) -> Option<u64> {
        self.wrong.as_ref().map(|(index, _)| *index)
    }

    /// Takes the next entries.
    ///
    /// # Errors
    /// [`LogError::EntriesMissing`] if there are more than the new head has.
    pub fn add<T: AsRef<[u8]>>(&mut self, entries: &[T]) -> Result<(), LogError> {
        let (wanted, got) = (self.target() - self.size(), entries.len() as u64);
        if got > wanted {
            return Err(LogError::EntriesMissing { wanted, got });
        }
        if entries.is_empty() {
            return Ok(());
        }
        self.before = self.range.clone();
        self.chunk = entries
            .iter()
            .map(|entry| leaf_hash(entry.as_ref()))
            .collect();
        for (entry, hash) in entries.iter().zip(&self.chunk) {
            let index = self.range.size();
            self.range.append(*hash)?;
            match Leaf::decode(entry.as_ref()) {
                Ok(leaf) => {
                    if self
                        .last
                        .is_some_and(|last| last.time_ms() > leaf.time_ms())
                    {
                        self.wrong
                            .get_or_insert((index, LogError::TimeFalls { index }));
                    }
                    self.last = Some(leaf);
                }
                Err(error) => {
                    self.wrong.get_or_insert((index, error));
                }
            }
        }
        Ok(())
    }

    /// Ends: everything was handed in and adds up to the new head. The own clock is not asked, so what comes out is not to be cosigned
    /// before the log has shown a fresh head.
    ///
    /// # Errors
    /// [`LogError::EntriesMissing`]; [`LogError::RootMismatch`] if the entries are not those of the signed tree; if they are,
    /// [`LogError::LeafMalformed`] or [`LogError::TimeFalls`] for what stands at [`Self::suspect`], and [`LogError::NoTick`].
    pub fn finish(self) -> Result<Follower, LogError> {
        let head = self.target.checkpoint();
        if self.range.size() != head.size {
            return Err(LogError::EntriesMissing {
                wanted: head.size - self.follower.size(),
                got: self.range.size() - self.follower.size(),
            });
        }
        if self.range.root() != head.root {
            return Err(LogError::RootMismatch);
        }
        if let Some((_, error)) = self.wrong {
            return Err(error);
        }
        let leaf = self.last.filter(Leaf::is_tick).ok_or(LogError::NoTick)?;
        let tree = RangeSource::new(self.before, self.chunk);
        let path = prove_inclusion(&tree, head.size - 1, head.size)?;
        Ok(Follower {
            range: self.range,
            head: Some(Head {
                signed: self.target,
                newest: Some(Newest { leaf, path }),
            }),
            ..self.follower
        })
    }
}
