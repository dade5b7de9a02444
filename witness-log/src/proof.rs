//! Proofs that an entry is in a log (`c2sp.org/tlog-proof`), and what one that holds a preimage proves about terms.

use std::fmt;

use crate::codec::{b64_decode, b64_encode, decimal};
use crate::error::LogError;
use crate::leaf::Leaf;
use crate::note::{MAX_NOTE_BYTES, SignedNote};
use crate::planted::{self, Bug};
use crate::policy::{CheckedCheckpoint, Policy};
use crate::rule::LogTerms;
use crate::tree::{
    Hash, HashSource, MAX_PROOF_HASHES, leaf_hash, prove_inclusion, verify_inclusion,
};

/// The first line of every proof.
pub const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// The extra data may not be longer: no entry of a log is.
pub const MAX_EXTRA_BYTES: usize = 65535;
/// Larger proofs are refused unread.
pub const MAX_TLOG_PROOF_BYTES: usize = MAX_NOTE_BYTES + 128 * 1024;

/// An inclusion proof with its checkpoint: what a file `….tlog-proof` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Data that is not authenticated by itself; in this crate, the bytes of the leaf.
    pub extra: Option<Vec<u8>>,
    /// Index of the entry.
    pub index: u64,
    /// The inclusion proof, the leaf's sibling first.
    pub path: Vec<Hash>,
    /// The checkpoint with its signatures.
    pub note: SignedNote,
}

impl TlogProof {
    /// Reads a proof. Nothing is verified.
    ///
    /// # Errors
    /// [`LogError::TooLarge`], [`LogError::ProofMalformed`], [`LogError::NoteMalformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        if bytes.len() > MAX_TLOG_PROOF_BYTES {
            return Err(LogError::TooLarge {
                what: "a proof",
                limit: MAX_TLOG_PROOF_BYTES,
            });
        }
        let malformed = LogError::ProofMalformed;
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is no UTF-8"))?;
        let (head, note) = text
            .split_once("\n\n")
            .ok_or(malformed("it has no blank line"))?;
        let note = SignedNote::parse(note.as_bytes())?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(malformed("its first line is another one"));
        }
        let extra = match lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            Some(extra) => {
                lines.next();
                let extra = b64_decode(extra).filter(|extra| extra.len() <= MAX_EXTRA_BYTES);
                Some(extra.ok_or(malformed("its extra line is no base64, or too long"))?)
            }
            None => None,
        };
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(decimal)
            .ok_or(malformed("it has no index"))?;
        let path = parse_hashes(lines)?;
        Ok(Self {
            extra,
            index,
            path,
            note,
        })
    }

    /// Checks the proof for an entry with these bytes under a policy.
    ///
    /// # Errors
    /// Whatever [`Policy::check`] refuses; [`LogError::OutOfRange`], [`LogError::InclusionInvalid`].
    pub fn verify(&self, policy: &Policy, entry: &[u8]) -> Result<CheckedCheckpoint, LogError> {
        let checked = policy.check(&self.note)?;
        let checkpoint = checked.checkpoint();
        verify_inclusion(
            &leaf_hash(entry),
            self.index,
            checkpoint.size,
            &self.path,
            &checkpoint.root,
        )?;
        Ok(checked)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", b64_encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{}", self.note)
    }
}

/// Reads lines of one hash each.
pub(crate) fn parse_hashes<'a>(
    lines: impl Iterator<Item = &'a str>,
) -> Result<Vec<Hash>, LogError> {
    let mut hashes = Vec::new();
    for line in lines {
        if hashes.len() == MAX_PROOF_HASHES {
            return Err(LogError::ProofMalformed("it has too many hashes"));
        }
        hashes.push(Hash::from_base64(line).ok_or(LogError::ProofMalformed("a line is no hash"))?);
    }
    Ok(hashes)
}

/// That a preimage was published: a [`TlogProof`] that carries its leaf, so that it stands alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicationProof {
    leaf: Leaf,
    proof: TlogProof,
}

/// What a verified proof of publication says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The log.
    pub origin: String,
    /// Index of the entry.
    pub index: u64,
    /// The entry's time, in unix milliseconds.
    pub time_ms: u64,
    /// The preimage.
    pub preimage: [u8; 32],
    /// Size of the tree that the proof is of.
    pub size: u64,
}

impl PublicationProof {
    /// Makes the proof for entry `index` from hashes of the log's tree and a checkpoint.
    ///
    /// # Errors
    /// [`LogError::CheckpointMalformed`], [`LogError::OutOfRange`], [`LogError::HashMissing`]; [`LogError::InclusionInvalid`] if the
    /// hashes are not those of the checkpoint's tree.
    pub fn build(
        source: &impl HashSource,
        index: u64,
        leaf: Leaf,
        note: SignedNote,
    ) -> Result<Self, LogError> {
        let checkpoint = crate::checkpoint::Checkpoint::parse(note.text())?;
        let path = prove_inclusion(source, index, checkpoint.size)?;
        verify_inclusion(
            &leaf.hash(),
            index,
            checkpoint.size,
            &path,
            &checkpoint.root,
        )?;
        Self::new(TlogProof {
            extra: Some(leaf.encode()),
            index,
            path,
            note,
        })
    }

    /// Takes a proof whose extra data is a leaf.
    ///
    /// # Errors
    /// [`LogError::LeafMalformed`].
    pub fn new(proof: TlogProof) -> Result<Self, LogError> {
        let leaf = Leaf::decode(proof.extra.as_deref().unwrap_or_default())?;
        Ok(Self { leaf, proof })
    }

    /// Reads the text of a proof. Nothing is verified.
    ///
    /// # Errors
    /// As for [`TlogProof::parse`] and [`Self::new`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        Self::new(TlogProof::parse(bytes)?)
    }

    /// The leaf that the proof claims.
    #[must_use]
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The proof as such.
    #[must_use]
    pub fn tlog_proof(&self) -> &TlogProof {
        &self.proof
    }

    /// Checks that the preimage of these terms was published in time.
    ///
    /// # Errors
    /// [`LogError::PreimageWrong`], [`LogError::BeforeWindow`], [`LogError::AfterDeadline`]; whatever [`TlogProof::verify`] refuses.
    pub fn verify(&self, terms: &LogTerms<'_>) -> Result<Published, LogError> {
        let Leaf::Preimage { time_ms, preimage } = self.leaf else {
            return Err(LogError::PreimageWrong);
        };
        if !self.leaf.publishes(terms.hash) {
            return Err(LogError::PreimageWrong);
        }
        if self.proof.index < terms.from_size && !planted::on(Bug::FromSizeIgnored) {
            return Err(LogError::BeforeWindow);
        }
        // Times never fall, so an entry in time lies before the first one that is too late; a log in which it does not has lied.
        let late = u64::from(planted::on(Bug::DeadlineTooLate));
        if time_ms > terms.deadline_ms.saturating_add(late) {
            return Err(LogError::AfterDeadline);
        }
        let checked = self.proof.verify(terms.policy, &self.leaf.encode())?;
        let checkpoint = checked.checkpoint();
        if checkpoint.origin != terms.origin {
            return Err(LogError::OriginUnknown(checkpoint.origin.clone()));
        }
        Ok(Published {
            origin: checkpoint.origin.clone(),
            index: self.proof.index,
            time_ms,
            preimage,
            size: checkpoint.size,
        })
    }
}

impl fmt::Display for PublicationProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.proof.fmt(f)
    }
}
