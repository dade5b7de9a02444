//! The pure core of a cosigner or mirror: follows one log, entry by entry, and knows what it may cosign.
//!
//! It is stricter than `tlog-witness` asks: it sees every entry, and refuses entries that are no leaves, times that fall, heads that
//! don't end with a tick, and ticks that are too far from its own clock.
//!
//! Its state is stored ([`Follower::encode`]) before a cosignature or a tombstone leaves the house, and never an older one restored.

mod catch_up;
mod death;

pub use catch_up::CatchUp;

use crate::checkpoint::{Checkpoint, SignedCheckpoint, cosign};
use crate::codec::{Reader, put_bytes, put_hashes};
use crate::error::LogError;
use crate::fork::{ForkProof, inspect};
use crate::leaf::{Leaf, PREIMAGE_BYTES};
use crate::note::{
    MAX_NAME_BYTES, MAX_NOTE_BYTES, NoteSignature, SignedNote, SigningKey, VerifierKey,
};
use crate::planted::{self, Bug};
use crate::proof::TlogProof;
use crate::tombstone::Tombstone;
use crate::tree::{CompactRange, Hash, RangeSource, leaf_hash, prove_inclusion, verify_inclusion};

/// How far the newest tick may be from the own clock, in milliseconds, either way.
pub const MAX_SKEW_MS: u64 = 5_000;

const HEADER: &[u8] = b"atomicity-follower/v1\n";

/// The newest entry, with its proof under the newest head: what shows that a later time falls.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Newest {
    leaf: Leaf,
    path: Vec<Hash>,
}

/// What is known of the log, up to the newest head that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    signed: SignedCheckpoint,
    newest: Option<Newest>,
}

/// One log, as somebody who follows it knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    log: VerifierKey,
    range: CompactRange,
    head: Option<Head>,
    tombstone: Option<Tombstone>,
}

impl Follower {
    /// Follows the log of this key, from its first entry on.
    #[must_use]
    pub fn new(log: VerifierKey) -> Self {
        Self {
            log,
            range: CompactRange::new(),
            head: None,
            tombstone: None,
        }
    }

    /// The log's key; its name is the origin.
    #[must_use]
    pub fn log(&self) -> &VerifierKey {
        &self.log
    }

    /// Number of entries seen.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.range.size()
    }

    /// The root over them.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.range.root()
    }

    /// The hashes over them.
    #[must_use]
    pub fn range(&self) -> &CompactRange {
        &self.range
    }

    /// Time of the newest entry, in unix milliseconds of the log's clock.
    #[must_use]
    pub fn last_time_ms(&self) -> Option<u64> {
        Some(self.head.as_ref()?.newest.as_ref()?.leaf.time_ms())
    }

    /// The newest head that was accepted.
    #[must_use]
    pub fn head(&self) -> Option<&SignedCheckpoint> {
        self.head.as_ref().map(|head| &head.signed)
    }

    /// The tombstone that was signed, if any.
    #[must_use]
    pub fn tombstone(&self) -> Option<&Tombstone> {
        self.tombstone.as_ref()
    }

    /// Takes a new head and the entries between the known size and its size. On an error nothing has changed.
    ///
    /// `now_ms` is the own clock; none skips the comparison with it, for a mirror that catches up and will not cosign what it takes.
    ///
    /// # Errors
    /// [`LogError::Forked`] with a proof, if the log lied: another root at the known size, an entry that is no leaf, times that fall.
    /// Otherwise [`LogError::OriginUnknown`], [`LogError::NotSigned`], [`LogError::SignatureInvalid`], [`LogError::CheckpointMalformed`];
    /// [`LogError::Tombstoned`]; [`LogError::Shrunk`]; [`LogError::EntriesMissing`]; [`LogError::RootMismatch`] if entries and root
    /// disagree (fetch again; if they stay so, the trees are inconsistent: see [`crate::fork::compare`]); [`LogError::NoTick`];
    /// [`LogError::TickSkewed`].
    pub fn advance<T: AsRef<[u8]>>(
        &mut self,
        note: &SignedNote,
        entries: &[T],
        now_ms: Option<u64>,
    ) -> Result<(), LogError> {
        let signed = SignedCheckpoint::new(note.only(&self.log)?)?;
        signed.verify_log(&self.log)?;
        let new = signed.checkpoint().clone();
        if let Some(tombstone) = &self.tombstone
            && new.size > tombstone.size
        {
            return Err(LogError::Tombstoned {
                size: tombstone.size,
            });
        }
        let known = self.size();
        if new.size < known {
            return Err(LogError::Shrunk {
                known,
                got: new.size,
            });
        }
        if new.size == known {
            return self.same_size(signed, now_ms);
        }
        let (wanted, got) = (new.size - known, entries.len() as u64);
        if wanted != got {
            return Err(LogError::EntriesMissing { wanted, got });
        }
        let hashes: Vec<Hash> = entries
            .iter()
            .map(|entry| leaf_hash(entry.as_ref()))
            .collect();
        let mut range = self.range.clone();
        hashes.iter().try_for_each(|hash| range.append(*hash))?;
        if range.root() != new.root {
            return Err(LogError::RootMismatch);
        }
        let tree = RangeSource::new(self.range.clone(), hashes);
        self.refuse_lies(&signed, entries, &tree)?;
        let Some(last) = entries.last() else {
            return Err(LogError::EntriesMissing { wanted, got });
        };
        let leaf = Leaf::decode(last.as_ref())?;
        check_tick(&leaf, now_ms)?;
        let path = prove_inclusion(&tree, new.size - 1, new.size)?;
        self.range = range;
        self.head = Some(Head {
            signed,
            newest: Some(Newest { leaf, path }),
        });
        Ok(())
    }

    /// A head of the size already known: the same tree, or a fork.
    fn same_size(&mut self, signed: SignedCheckpoint, now_ms: Option<u64>) -> Result<(), LogError> {
        let new = signed.checkpoint();
        if new.root != self.root() {
            return Err(match &self.head {
                Some(head) => {
                    let (a, b) = (head.signed.note().clone(), signed.note().clone());
                    forked(
                        ForkProof::SameSize {
                            key: self.log.clone(),
                            a,
                            b,
                        }
                        .confirm()?,
                    )
                }
                None => LogError::RootMismatch,
            });
        }
        if let Some(newest) = self.head.as_ref().and_then(|head| head.newest.as_ref()) {
            check_tick(&newest.leaf, now_ms)?;
        }
        let newest = self.head.take().and_then(|head| head.newest);
        self.head = Some(Head { signed, newest });
        Ok(())
    }

    /// Entries that hash to the signed root are the log's own words.
    fn refuse_lies<T: AsRef<[u8]>>(
        &self,
        signed: &SignedCheckpoint,
        entries: &[T],
        tree: &RangeSource,
    ) -> Result<(), LogError> {
        if planted::on(Bug::TimesMayFall) {
            return Ok(());
        }
        if let Some(proof) = inspect(&self.log, signed.note(), self.size(), entries, tree)? {
            return Err(forked(proof));
        }
        let first = entries
            .first()
            .and_then(|entry| Leaf::decode(entry.as_ref()).ok());
        let (Some(head), Some(first)) = (&self.head, first) else {
            return Ok(());
        };
        let Some(newest) = &head.newest else {
            return Ok(());
        };
        if first.time_ms() >= newest.leaf.time_ms() {
            return Ok(());
        }
        let index = self.size();
        let proof_of = |leaf: &Leaf, index, path, signed: &SignedCheckpoint| TlogProof {
            extra: Some(leaf.encode()),
            index,
            path,
            note: signed.note().clone(),
        };
        let before = proof_of(
            &newest.leaf,
            index.saturating_sub(1),
            newest.path.clone(),
            &head.signed,
        );
        let path = prove_inclusion(tree, index, signed.checkpoint().size)?;
        let after = proof_of(&first, index, path, signed);
        let proof = ForkProof::FallingTimes {
            key: self.log.clone(),
            before,
            after,
        };
        Err(forked(proof.confirm()?))
    }

    /// Cosigns the newest head at this time, in unix seconds. Store the state first.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] if no head was accepted yet, or for a time of 0; [`LogError::KeyKindWrong`].
    pub fn cosign(&self, key: &SigningKey, now_s: u64) -> Result<NoteSignature, LogError> {
        let head = self.head().ok_or(LogError::OutOfRange)?;
        cosign(head, key, now_s)
    }

    /// The state, to be stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = HEADER.to_vec();
        put_bytes(&mut out, self.log.to_string().as_bytes());
        out.extend_from_slice(&self.range.size().to_be_bytes());
        put_hashes(&mut out, self.range.hashes());
        let text = |text: Option<String>| text.unwrap_or_default().into_bytes();
        put_bytes(
            &mut out,
            &text(self.head().map(|head| head.note().to_string())),
        );
        let newest = self.head.as_ref().and_then(|head| head.newest.as_ref());
        put_bytes(
            &mut out,
            &newest
                .map(|newest| newest.leaf.encode())
                .unwrap_or_default(),
        );
        put_hashes(
            &mut out,
            newest.map_or(&[][..], |newest| newest.path.as_slice()),
        );
        put_bytes(
            &mut out,
            &text(self.tombstone.as_ref().map(Tombstone::to_string)),
        );
        out
    }

    /// Reads a stored state and checks that its parts belong together.
    ///
    /// # Errors
    /// [`LogError::ProofMalformed`], [`LogError::RootMismatch`], and whatever is wrong with a part.
    pub fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let malformed = LogError::ProofMalformed;
        if bytes.len() > 2 * MAX_NOTE_BYTES {
            return Err(LogError::TooLarge {
                what: "a state",
                limit: 2 * MAX_NOTE_BYTES,
            });
        }
        let mut reader = Reader::new(bytes);
        if reader.take(HEADER.len())? != HEADER {
            return Err(malformed("this is no state of a follower"));
        }
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| malformed("a text is no UTF-8"));
        let log: VerifierKey = text(reader.bytes(MAX_NAME_BYTES + 128)?)?.parse()?;
        let range = CompactRange::from_parts(reader.u64()?, reader.hashes()?)?;
        let note = reader.bytes(MAX_NOTE_BYTES)?;
        let leaf = reader.bytes(PREIMAGE_BYTES)?;
        let path = reader.hashes()?;
        let tombstone = match reader.bytes(MAX_NOTE_BYTES)? {
            [] => None,
            bytes => Some(Tombstone::parse(text(bytes)?)?),
        };
        reader.end()?;
        let head = if note.is_empty() {
            None
        } else {
            Some(read_head(&log, &range, note, leaf, path)?)
        };
        if head.is_none() && range.size() > 0 {
            return Err(malformed("a state with entries has a head"));
        }
        Ok(Self {
            log,
            range,
            head,
            tombstone,
        })
    }
}

fn read_head(
    log: &VerifierKey,
    range: &CompactRange,
    note: &[u8],
    leaf: &[u8],
    path: Vec<Hash>,
) -> Result<Head, LogError> {
    let signed = SignedCheckpoint::parse(note)?;
    signed.verify_log(log)?;
    let Checkpoint { size, root, .. } = signed.checkpoint();
    if (*size, *root) != (range.size(), range.root()) {
        return Err(LogError::RootMismatch);
    }
    if *size == 0 && leaf.is_empty() && path.is_empty() {
        return Ok(Head {
            signed,
            newest: None,
        });
    }
    let leaf = Leaf::decode(leaf)?;
    verify_inclusion(&leaf.hash(), size.saturating_sub(1), *size, &path, root)?;
    Ok(Head {
        signed,
        newest: Some(Newest { leaf, path }),
    })
}

fn check_tick(leaf: &Leaf, now_ms: Option<u64>) -> Result<(), LogError> {
    if !leaf.is_tick() {
        return Err(LogError::NoTick);
    }
    let tick_ms = leaf.time_ms();
    match now_ms {
        Some(now_ms) if tick_ms.abs_diff(now_ms) > MAX_SKEW_MS => {
            Err(LogError::TickSkewed { tick_ms, now_ms })
        }
        _ => Ok(()),
    }
}

fn forked(proof: ForkProof) -> LogError {
    LogError::Forked(Box::new(proof))
}
