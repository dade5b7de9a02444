//! Proofs that a preimage was **not** published in time, and never will have been.
//!
//! Such a proof shows all entries of the window: from `from_size` to the first one after the deadline. The hashes before them
//! (a compact range) and a consistency proof after them tie them to a cosigned checkpoint. Where the log died before that, tombstones
//! take the place of the checkpoint, and the window ends with the log.

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::codec::{Reader, put_bytes, put_hashes};
use crate::error::LogError;
use crate::leaf::{Leaf, PREIMAGE_BYTES, TICK_BYTES};
use crate::note::{MAX_NOTE_BYTES, SignedNote};
use crate::policy::MAX_POLICY_ITEMS;
use crate::rule::{LogTerms, Verdict, Watch};
use crate::tombstone::Tombstones;
use crate::tree::{CompactRange, Hash, HashSource, prove_consistency, verify_consistency};

/// What every encoded proof begins with.
pub const HEADER: &[u8] = b"atomicity-expiry/v1\n";
/// The most entries of a window. Twice [`crate::rule::MAX_WINDOW`]: terms may begin that far back, and the log goes on until the
/// deadline.
pub const MAX_EXPIRY_LEAVES: usize = 1 << 21;
/// Larger proofs are refused unread.
pub const MAX_EXPIRY_BYTES: usize = MAX_EXPIRY_LEAVES * PREIMAGE_BYTES + 4_000_000;

/// How the window ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With the first entry after the deadline.
    Deadline {
        consistency: Vec<Hash>,
        note: SignedNote,
    },
    /// With the log.
    Tombstoned {
        /// The log's own checkpoint of the tree that it ended with; none if the window is empty.
        last: Option<SignedNote>,
        notes: Vec<SignedNote>,
    },
}

/// A proof that a preimage was not published in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiryProof {
    /// The hashes of `[0, from_size)`.
    pub(crate) range: CompactRange,
    /// The entries from `from_size` on.
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) ending: Ending,
}

/// What a verified proof of expiry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The log.
    pub origin: String,
    /// Index of the first entry after the deadline, or the size at which the log ended.
    pub index: u64,
    /// Whether tombstones ended the window.
    pub tombstoned: bool,
}

impl ExpiryProof {
    /// Makes a proof. `range` are the hashes of `[0, from_size)`, `leaves` the entries from there to the first one after the deadline,
    /// `source` the tree of the checkpoint. A [`crate::tree::RangeSource`] over the same range and all later entries will do.
    ///
    /// # Errors
    /// [`LogError::TooLarge`], [`LogError::CheckpointMalformed`], [`LogError::OutOfRange`] if the checkpoint ends before the leaves,
    /// [`LogError::HashMissing`].
    pub fn build(
        range: CompactRange,
        leaves: Vec<Leaf>,
        source: &impl HashSource,
        note: SignedNote,
    ) -> Result<Self, LogError> {
        check_count(leaves.len())?;
        let size = Checkpoint::parse(note.text())?.size;
        let end = range.size().saturating_add(leaves.len() as u64);
        let consistency = prove_consistency(source, end, size)?;
        Ok(Self {
            range,
            leaves,
            ending: Ending::Deadline { consistency, note },
        })
    }

    /// Makes a proof for a log that ended: `leaves` are all entries from `from_size` to the largest tombstoned size, `last` is the log's
    /// checkpoint of that size (its signature is all that counts: no tombstone stands for a tree that the log did not sign). If
    /// `from_size` lies at or beyond that size: an empty range, no leaves and no checkpoint.
    ///
    /// # Errors
    /// [`LogError::TooLarge`].
    pub fn build_tombstoned(
        range: CompactRange,
        leaves: Vec<Leaf>,
        last: Option<SignedNote>,
        notes: Vec<SignedNote>,
    ) -> Result<Self, LogError> {
        check_count(leaves.len())?;
        if notes.len() > MAX_POLICY_ITEMS {
            return Err(LogError::TooLarge {
                what: "a set of tombstones",
                limit: MAX_POLICY_ITEMS,
            });
        }
        Ok(Self {
            range,
            leaves,
            ending: Ending::Tombstoned { last, notes },
        })
    }

    /// The entries of the window.
    #[must_use]
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// Checks that the preimage of these terms was not published in time.
    ///
    /// # Errors
    /// [`LogError::WasPublished`] if it was; [`LogError::WindowOpen`] if the entries don't end where the window does; [`LogError::RootMismatch`], [`LogError::ConsistencyInvalid`] if they are not the log's;
    /// [`LogError::TombstonesTooFew`]; whatever [`crate::Policy::check`] and [`Tombstones::end`] refuse.
    pub fn verify(&self, terms: &LogTerms<'_>) -> Result<Expired, LogError> {
        match &self.ending {
            Ending::Deadline { consistency, note } => {
                self.verify_deadline(terms, consistency, note)
            }
            Ending::Tombstoned { last, notes } => {
                self.verify_tombstoned(terms, last.as_ref(), notes)
            }
        }
    }

    fn verify_deadline(
        &self,
        terms: &LogTerms<'_>,
        consistency: &[Hash],
        note: &SignedNote,
    ) -> Result<Expired, LogError> {
        let index = match self.window(terms)?.verdict() {
            Verdict::Expired { index } => index,
            Verdict::Published { .. } => return Err(LogError::WasPublished),
            Verdict::Open => return Err(LogError::WindowOpen),
        };
        let checked = terms.policy.check_origin(note, terms.origin)?;
        let checkpoint = checked.checkpoint();
        let end = self.append_all()?;
        verify_consistency(
            end.size(),
            checkpoint.size,
            consistency,
            &end.root(),
            &checkpoint.root,
        )?;
        Ok(Expired {
            origin: terms.origin.to_owned(),
            index,
            tombstoned: false,
        })
    }

    fn verify_tombstoned(
        &self,
        terms: &LogTerms<'_>,
        last: Option<&SignedNote>,
        notes: &[SignedNote],
    ) -> Result<Expired, LogError> {
        let end = Tombstones::end(terms.policy, terms.origin, notes)?
            .ok_or(LogError::TombstonesTooFew)?;
        if terms.from_size >= end.size {
            // The window is empty: no entry at or after `from_size` can ever be proven.
            return if self.leaves.is_empty() && self.range.size() == 0 && last.is_none() {
                Ok(Expired {
                    origin: terms.origin.to_owned(),
                    index: end.size,
                    tombstoned: true,
                })
            } else {
                Err(LogError::WindowOpen)
            };
        }
        let index = match self.window(terms)?.end() {
            Verdict::Expired { index } => index,
            Verdict::Published { .. } | Verdict::Open => return Err(LogError::WasPublished),
        };
        // Entries after the deadline are not needed, but this form has no proof that could leave them out.
        let all = self.append_all()?;
        if all.size() != end.size {
            return Err(LogError::WindowOpen);
        }
        if all.root() != end.root {
            return Err(LogError::RootMismatch);
        }
        check_last(terms, last, &all)?;
        Ok(Expired {
            origin: terms.origin.to_owned(),
            index,
            tombstoned: true,
        })
    }

    /// Applies the rule to the leaves. A log whose times fall has lied, which others prove; the rule decides all the same, so that nothing
    /// that hangs on it stays undecided for ever.
    fn window(&self, terms: &LogTerms<'_>) -> Result<Watch, LogError> {
        if self.range.size() != terms.from_size {
            return Err(LogError::WindowOpen);
        }
        let mut watch = Watch::new(terms.from_size, terms.deadline_ms, terms.hash);
        for leaf in &self.leaves {
            // The one form ends with the entry that decides; the other shows all there is.
            match (watch.verdict(), &self.ending) {
                (Verdict::Published { .. }, _) => return Err(LogError::WasPublished),
                (Verdict::Expired { .. }, Ending::Deadline { .. }) => {
                    return Err(LogError::WindowOpen);
                }
                _ => {}
            }
            watch.see(leaf);
        }
        Ok(watch)
    }

    fn append_all(&self) -> Result<CompactRange, LogError> {
        let mut range = self.range.clone();
        for leaf in &self.leaves {
            range.append(leaf.hash())?;
        }
        Ok(range)
    }

    /// The bytes of the proof.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = HEADER.to_vec();
        out.push(match self.ending {
            Ending::Deadline { .. } => 0,
            Ending::Tombstoned { .. } => 1,
        });
        out.extend_from_slice(&self.range.size().to_be_bytes());
        put_hashes(&mut out, self.range.hashes());
        // At most 2^21.
        out.extend_from_slice(&(self.leaves.len() as u32).to_be_bytes());
        for leaf in &self.leaves {
            out.extend_from_slice(&leaf.encode());
        }
        let notes = match &self.ending {
            Ending::Deadline { consistency, note } => {
                put_hashes(&mut out, consistency);
                std::slice::from_ref(note)
            }
            Ending::Tombstoned { last, notes } => {
                out.push(u8::from(last.is_some()));
                if let Some(last) = last {
                    put_bytes(&mut out, last.to_string().as_bytes());
                }
                notes.as_slice()
            }
        };
        out.push(notes.len() as u8);
        for note in notes {
            put_bytes(&mut out, note.to_string().as_bytes());
        }
        out
    }

    /// Reads the bytes of a proof. Nothing is verified.
    ///
    /// # Errors
    /// [`LogError::TooLarge`], [`LogError::ProofMalformed`], [`LogError::LeafMalformed`], [`LogError::NoteMalformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        if bytes.len() > MAX_EXPIRY_BYTES {
            return Err(LogError::TooLarge {
                what: "a proof",
                limit: MAX_EXPIRY_BYTES,
            });
        }
        let mut reader = Reader::new(bytes);
        if reader.take(HEADER.len())? != HEADER {
            return Err(LogError::ProofMalformed(
                "it does not begin as a proof of expiry",
            ));
        }
        let kind = reader.u8()?;
        let from_size = reader.u64()?;
        let range = CompactRange::from_parts(from_size, reader.hashes()?)?;
        let leaves = read_leaves(&mut reader)?;
        let ending = match kind {
            0 => {
                let consistency = reader.hashes()?;
                let notes = read_notes(&mut reader)?;
                let [note] = <[SignedNote; 1]>::try_from(notes)
                    .map_err(|_| LogError::ProofMalformed("it has one checkpoint"))?;
                Ending::Deadline { consistency, note }
            }
            1 => Ending::Tombstoned {
                last: read_last(&mut reader)?,
                notes: read_notes(&mut reader)?,
            },
            _ => return Err(LogError::ProofMalformed("it is of no known kind")),
        };
        reader.end()?;
        Ok(Self {
            range,
            leaves,
            ending,
        })
    }
}

/// The log itself must have signed the tree that it ended with. A cosigner alone could tombstone anything, and if that contradicted what
/// was published nobody could be convicted.
fn check_last(
    terms: &LogTerms<'_>,
    last: Option<&SignedNote>,
    all: &CompactRange,
) -> Result<(), LogError> {
    let log = terms
        .policy
        .log(terms.origin)
        .ok_or_else(|| LogError::OriginUnknown(terms.origin.to_owned()))?;
    let note = last.ok_or(LogError::ProofMalformed(
        "it lacks the log's last checkpoint",
    ))?;
    let signed = SignedCheckpoint::new(note.clone())?;
    signed.verify_log(&log.key)?;
    let last = signed.checkpoint();
    if (last.size, last.root) == (all.size(), all.root()) {
        Ok(())
    } else {
        Err(LogError::RootMismatch)
    }
}

fn check_count(count: usize) -> Result<(), LogError> {
    if count <= MAX_EXPIRY_LEAVES {
        Ok(())
    } else {
        Err(LogError::TooLarge {
            what: "the entries of a proof",
            limit: MAX_EXPIRY_LEAVES,
        })
    }
}

fn read_leaves(reader: &mut Reader<'_>) -> Result<Vec<Leaf>, LogError> {
    let count = reader.u32()? as usize;
    check_count(count)?;
    // Grown as they are read: the count alone allocates nothing.
    let mut leaves = Vec::new();
    for _ in 0..count {
        let head = reader.take(TICK_BYTES)?;
        let leaf = if head.first() == Some(&0) {
            Leaf::decode(head)?
        } else {
            let rest = reader.take(PREIMAGE_BYTES - TICK_BYTES)?;
            Leaf::decode(&[head, rest].concat())?
        };
        leaves.push(leaf);
    }
    Ok(leaves)
}

fn read_last(reader: &mut Reader<'_>) -> Result<Option<SignedNote>, LogError> {
    match reader.u8()? {
        0 => Ok(None),
        1 => SignedNote::parse(reader.bytes(MAX_NOTE_BYTES)?).map(Some),
        _ => Err(LogError::ProofMalformed(
            "it has one last checkpoint or none",
        )),
    }
}

fn read_notes(reader: &mut Reader<'_>) -> Result<Vec<SignedNote>, LogError> {
    let count = usize::from(reader.u8()?);
    if count > MAX_POLICY_ITEMS {
        return Err(LogError::ProofMalformed("it has too many notes"));
    }
    (0..count)
        .map(|_| SignedNote::parse(reader.bytes(MAX_NOTE_BYTES)?))
        .collect()
}
