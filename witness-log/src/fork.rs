//! Proofs that a log or a cosigner lied. Each stands alone: it names a key and shows what that key signed, and whoever reads it needs
//! nothing else. Whether the key matters to them is for the reader to say ([`crate::Policy::names`]).
//!
//! A log's own signature accuses it; no quorum is needed. Notes within a proof bear only the accused's signature.

use std::fmt;

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::error::LogError;
use crate::expiry::ExpiryProof;
use crate::leaf::Leaf;
use crate::note::{KeyKind, SignedNote, VerifierKey};
use crate::planted::{self, Bug};
use crate::proof::{PublicationProof, TlogProof};
use crate::rule::LogTerms;
use crate::tree::{ConsistencyPath, HashSource, prove_inclusion};

/// A proof of misbehaviour. `key` is the accused's: a log's (type 0x01, named as the origin) or a cosigner's (type 0x04).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForkProof {
    /// Two trees of one size with different roots. Of a cosigner, either may be a tombstone.
    SameSize {
        /// Who signed both.
        key: VerifierKey,
        /// One of them.
        a: SignedNote,
        /// The other.
        b: SignedNote,
    },
    /// Two trees of different sizes, of which the larger does not begin with the smaller. Of a cosigner, either may be a tombstone.
    Inconsistent {
        /// Who signed both.
        key: VerifierKey,
        /// The smaller tree.
        old: SignedNote,
        /// The larger tree.
        new: SignedNote,
        /// Leads to the larger tree's root, and to another root than the one signed for the smaller.
        path: ConsistencyPath,
    },
    /// Two different entries with one index. The leaves are the proofs' extra data.
    DifferentLeaves {
        /// Who signed the checkpoints of both.
        key: VerifierKey,
        /// One entry.
        a: TlogProof,
        /// The other.
        b: TlogProof,
    },
    /// An entry with a later index and an earlier time. The leaves are the proofs' extra data. Only a log can be accused of it.
    FallingTimes {
        /// The log.
        key: VerifierKey,
        /// The entry with the smaller index, and the later time.
        before: TlogProof,
        /// The entry with the larger index, and the earlier time.
        after: TlogProof,
    },
    /// A cosigner cosigned a larger tree than its own tombstone allows.
    BrokenTombstone {
        /// The cosigner.
        key: VerifierKey,
        /// Its tombstone.
        tombstone: SignedNote,
        /// The larger checkpoint, with its cosignature.
        cosigned: SignedNote,
    },
    /// An entry that is no leaf: the proof's extra data. Only a log can be accused of it.
    MalformedLeaf {
        /// The log.
        key: VerifierKey,
        /// Where it is.
        proof: TlogProof,
    },
}

/// What the accused is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It runs the log.
    Log,
    /// It cosigns.
    Cosigner,
}

impl Role {
    /// A stable, machine-readable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Cosigner => "cosigner",
        }
    }

    /// The role with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Log, Self::Cosigner]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

/// What somebody did. Each has a stable name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Misdeed {
    /// Two roots at one size.
    SameSize,
    /// A larger tree that does not begin with a smaller one.
    Inconsistent,
    /// Two entries with one index.
    DifferentLeaves,
    /// Times that fall.
    FallingTimes,
    /// A cosignature beyond a tombstone.
    BrokenTombstone,
    /// An entry that is no leaf.
    MalformedLeaf,
}

impl Misdeed {
    /// A stable, machine-readable name.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::SameSize => "same_size",
            Self::Inconsistent => "inconsistent",
            Self::DifferentLeaves => "different_leaves",
            Self::FallingTimes => "falling_times",
            Self::BrokenTombstone => "broken_tombstone",
            Self::MalformedLeaf => "malformed_leaf",
        }
    }
}

/// Whom a verified proof convicts, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// The key that signed what contradicts itself.
    pub key: VerifierKey,
    /// What this key is.
    pub role: Role,
    /// The log concerned.
    pub origin: String,
    /// What it did.
    pub what: Misdeed,
}

impl ForkProof {
    /// The accused's key.
    #[must_use]
    pub fn key(&self) -> &VerifierKey {
        match self {
            Self::SameSize { key, .. }
            | Self::Inconsistent { key, .. }
            | Self::DifferentLeaves { key, .. }
            | Self::FallingTimes { key, .. }
            | Self::BrokenTombstone { key, .. }
            | Self::MalformedLeaf { key, .. } => key,
        }
    }

    /// What the accused is said to have done.
    #[must_use]
    pub fn misdeed(&self) -> Misdeed {
        match self {
            Self::SameSize { .. } => Misdeed::SameSize,
            Self::Inconsistent { .. } => Misdeed::Inconsistent,
            Self::DifferentLeaves { .. } => Misdeed::DifferentLeaves,
            Self::FallingTimes { .. } => Misdeed::FallingTimes,
            Self::BrokenTombstone { .. } => Misdeed::BrokenTombstone,
            Self::MalformedLeaf { .. } => Misdeed::MalformedLeaf,
        }
    }

    /// Checks the proof.
    ///
    /// # Errors
    /// [`LogError::NotAFork`] if what is shown is no contradiction; otherwise what is wrong with a note or proof in it.
    pub fn verify(&self) -> Result<Culprit, LogError> {
        crate::fork_verify::verify(self)
    }

    /// Makes a proof out of freshly gathered material: drops signatures of others, then checks it.
    ///
    /// # Errors
    /// As for [`Self::verify`].
    pub fn confirm(self) -> Result<Self, LogError> {
        let key = self.key().clone();
        let only = |note: SignedNote| crate::fork_verify::only(&note, &key);
        let proof_only = |mut proof: TlogProof| {
            proof.note = only(proof.note)?;
            Ok::<_, LogError>(proof)
        };
        let key = key.clone();
        let proof = match self {
            Self::SameSize { a, b, .. } => Self::SameSize {
                a: only(a)?,
                b: only(b)?,
                key,
            },
            Self::Inconsistent { old, new, path, .. } => Self::Inconsistent {
                old: only(old)?,
                new: only(new)?,
                path,
                key,
            },
            Self::DifferentLeaves { a, b, .. } => Self::DifferentLeaves {
                a: proof_only(a)?,
                b: proof_only(b)?,
                key,
            },
            Self::FallingTimes { before, after, .. } => Self::FallingTimes {
                before: proof_only(before)?,
                after: proof_only(after)?,
                key,
            },
            Self::BrokenTombstone {
                tombstone,
                cosigned,
                ..
            } => Self::BrokenTombstone {
                tombstone: only(tombstone)?,
                cosigned: only(cosigned)?,
                key,
            },
            Self::MalformedLeaf { proof, .. } => Self::MalformedLeaf {
                proof: proof_only(proof)?,
                key,
            },
        };
        proof.verify()?;
        Ok(proof)
    }

    /// Who lied, if a proof of publication and a proof of expiry both hold under the same terms. Publication wins, and there always is a
    /// culprit.
    ///
    /// # Errors
    /// Whatever is wrong with one of the two proofs.
    pub fn from_contradiction(
        terms: &LogTerms<'_>,
        publication: &PublicationProof,
        expiry: &ExpiryProof,
    ) -> Result<Self, LogError> {
        crate::contradiction::convict(terms, publication, expiry)
    }

    /// The bytes of the proof.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        crate::fork_codec::encode(self)
    }

    /// Reads the bytes of a proof. Nothing is verified.
    ///
    /// # Errors
    /// [`LogError::TooLarge`], [`LogError::ProofMalformed`], [`LogError::NoteMalformed`], [`LogError::KeyInvalid`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        crate::fork_codec::decode(bytes)
    }
}

impl fmt::Display for ForkProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.misdeed() {
            Misdeed::SameSize => "signed different roots at one size",
            Misdeed::Inconsistent => "signed a tree that does not begin with an earlier one",
            Misdeed::DifferentLeaves => "signed different entries with one index",
            Misdeed::FallingTimes => "signed entries whose times fall",
            Misdeed::BrokenTombstone => "cosigned a tree beyond its own tombstone",
            Misdeed::MalformedLeaf => "signed an entry that is no leaf",
        };
        write!(f, "{} {what}", self.key().name())
    }
}

/// Compares two checkpoints that the same key signed: a log's, or a cosigner's cosignatures. `larger` is the tree of the larger one, from
/// its tiles; for equal sizes it is not asked. None: the two agree.
///
/// # Errors
/// What is wrong with a signature or checkpoint; [`LogError::HashMissing`]; [`LogError::ConsistencyInvalid`] if `larger` is not the tree of
/// the larger checkpoint.
pub fn compare(
    key: &VerifierKey,
    a: &SignedNote,
    b: &SignedNote,
    larger: &impl HashSource,
) -> Result<Option<ForkProof>, LogError> {
    let size_of = |note: &SignedNote| -> Result<Checkpoint, LogError> {
        let signed = SignedCheckpoint::new(note.clone())?;
        match key.kind() {
            KeyKind::Ed25519 => signed.verify_log(key)?,
            KeyKind::Cosignature => signed.verify_cosigner(key).map(|_| ())?,
        }
        Ok(signed.checkpoint().clone())
    };
    let (first, second) = (size_of(a)?, size_of(b)?);
    if first.origin != second.origin {
        return Err(LogError::OriginUnknown(second.origin));
    }
    if first.size != second.size && planted::on(Bug::ForkMissed) {
        return Ok(None);
    }
    if first.size == second.size {
        if first.root == second.root {
            return Ok(None);
        }
        let proof = ForkProof::SameSize {
            key: key.clone(),
            a: a.clone(),
            b: b.clone(),
        };
        return proof.confirm().map(Some);
    }
    let ((old, old_note), (new, new_note)) = if first.size < second.size {
        ((first, a), (second, b))
    } else {
        ((second, b), (first, a))
    };
    if old.size == 0 {
        return Ok(None);
    }
    let path = ConsistencyPath::prove(larger, old.size, new.size)?;
    let (old_root, new_root) = path.roots(old.size, new.size)?;
    if new_root != new.root {
        return Err(LogError::ConsistencyInvalid);
    }
    if old_root == old.root {
        return Ok(None);
    }
    let proof = ForkProof::Inconsistent {
        key: key.clone(),
        old: old_note.clone(),
        new: new_note.clone(),
        path,
    };
    proof.confirm().map(Some)
}

/// Looks through consecutive entries of one checkpoint's tree, from index `start` on, for one that is no leaf or whose time falls.
/// None: nothing is wrong with them. Whether the entries are those of the tree shows when the proof is made.
///
/// # Errors
/// What is wrong with the checkpoint; [`LogError::HashMissing`]; [`LogError::InclusionInvalid`] if the entries are not those of the tree.
pub fn inspect<T: AsRef<[u8]>>(
    key: &VerifierKey,
    note: &SignedNote,
    start: u64,
    entries: &[T],
    source: &impl HashSource,
) -> Result<Option<ForkProof>, LogError> {
    let size = Checkpoint::parse(note.text())?.size;
    let proof_of = |index: u64, entry: &[u8]| -> Result<TlogProof, LogError> {
        let path = prove_inclusion(source, index, size)?;
        Ok(TlogProof {
            extra: Some(entry.to_vec()),
            index,
            path,
            note: note.clone(),
        })
    };
    let mut last: Option<(u64, u64, &[u8])> = None;
    for (index, entry) in (start..).zip(entries) {
        let entry = entry.as_ref();
        let Ok(leaf) = Leaf::decode(entry) else {
            let proof = proof_of(index, entry)?;
            return ForkProof::MalformedLeaf {
                key: key.clone(),
                proof,
            }
            .confirm()
            .map(Some);
        };
        if let Some((before, time_ms, bytes)) = last
            && time_ms > leaf.time_ms()
        {
            let (before, after) = (proof_of(before, bytes)?, proof_of(index, entry)?);
            return ForkProof::FallingTimes {
                key: key.clone(),
                before,
                after,
            }
            .confirm()
            .map(Some);
        }
        last = Some((index, leaf.time_ms(), entry));
    }
    Ok(None)
}
