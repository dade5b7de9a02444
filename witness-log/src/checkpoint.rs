//! Checkpoints (`c2sp.org/tlog-checkpoint`) and cosignatures (`c2sp.org/tlog-cosignature`, version `cosignature/v1`).

use std::fmt;

use crate::codec::decimal;
use crate::error::LogError;
use crate::note::{KeyKind, NoteSignature, SignedNote, SigningKey, VerifierKey};
use crate::tree::{Hash, MAX_TREE_SIZE};

/// What is said of a checkpoint of size 0 with another root than that of the empty tree. `tlog-witness` has an answer of its own for it.
pub const EMPTY_ROOT_WRONG: &str = "the root of the empty tree is the hash of nothing";

/// The head of a log's tree: what the text of a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root hash over these entries.
    pub root: Hash,
    /// Further lines, without a meaning here. Logs of this crate write none.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    #[must_use]
    pub fn new(origin: &str, size: u64, root: Hash) -> Self {
        Self {
            origin: origin.to_owned(),
            size,
            root,
            extensions: Vec::new(),
        }
    }

    /// Reads the text of a checkpoint.
    ///
    /// # Errors
    /// [`LogError::CheckpointMalformed`].
    pub fn parse(text: &str) -> Result<Self, LogError> {
        let malformed = LogError::CheckpointMalformed;
        let body = text
            .strip_suffix('\n')
            .ok_or(malformed("it ends with a newline"))?;
        let mut lines = body.split('\n');
        let origin = lines
            .next()
            .filter(|line| !line.is_empty())
            .ok_or(malformed("it has no origin"))?;
        let size = lines
            .next()
            .and_then(decimal)
            .filter(|size| *size <= MAX_TREE_SIZE)
            .ok_or(malformed("its second line is no tree size"))?;
        let root = lines
            .next()
            .and_then(Hash::from_base64)
            .ok_or(malformed("its third line is no root hash"))?;
        if size == 0 && root != Hash::empty_root() {
            return Err(malformed(EMPTY_ROOT_WRONG));
        }
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(malformed("an extension line is empty"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
            extensions,
        })
    }

    /// Signs it as the log. The key's name is the origin.
    ///
    /// # Errors
    /// [`LogError::KeyKindWrong`], [`LogError::OriginUnknown`] if the key bears another name, [`LogError::CheckpointMalformed`] if the
    /// fields make no valid text.
    pub fn sign(&self, key: &SigningKey) -> Result<SignedNote, LogError> {
        if key.verifier().name() != self.origin {
            return Err(LogError::OriginUnknown(self.origin.clone()));
        }
        let text = self.to_string();
        if Self::parse(&text)? != *self {
            return Err(LogError::CheckpointMalformed("a line break within a line"));
        }
        SignedNote::sign(text, key)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)?;
        for line in &self.extensions {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

/// A note whose text is a checkpoint, taken apart but **not verified**.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    note: SignedNote,
    checkpoint: Checkpoint,
}

impl SignedCheckpoint {
    /// Takes a note apart.
    ///
    /// # Errors
    /// [`LogError::CheckpointMalformed`].
    pub fn new(note: SignedNote) -> Result<Self, LogError> {
        let checkpoint = Checkpoint::parse(note.text())?;
        Ok(Self { note, checkpoint })
    }

    /// Reads a note and takes it apart.
    ///
    /// # Errors
    /// [`LogError::TooLarge`], [`LogError::NoteMalformed`], [`LogError::CheckpointMalformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        Self::new(SignedNote::parse(bytes)?)
    }

    /// The note.
    #[must_use]
    pub fn note(&self) -> &SignedNote {
        &self.note
    }

    /// What it says.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Checks that it is of the log of this key, and signed by it.
    ///
    /// # Errors
    /// [`LogError::KeyKindWrong`], [`LogError::OriginUnknown`], [`LogError::NotSigned`], [`LogError::SignatureInvalid`].
    pub fn verify_log(&self, key: &VerifierKey) -> Result<(), LogError> {
        if key.kind() != KeyKind::Ed25519 {
            return Err(LogError::KeyKindWrong);
        }
        if key.name() != self.checkpoint.origin {
            return Err(LogError::OriginUnknown(self.checkpoint.origin.clone()));
        }
        self.note.verify(key).map(|_| ())
    }

    /// Checks the cosignature of this key and returns its time in unix seconds.
    ///
    /// # Errors
    /// [`LogError::KeyKindWrong`], [`LogError::NotSigned`], [`LogError::SignatureInvalid`].
    pub fn verify_cosigner(&self, key: &VerifierKey) -> Result<u64, LogError> {
        self.note.verify(key)?.ok_or(LogError::KeyKindWrong)
    }

    /// Adds signature lines, such as a cosigner's answer.
    ///
    /// # Errors
    /// [`LogError::TooLarge`].
    pub fn add(&mut self, signatures: &[NoteSignature]) -> Result<(), LogError> {
        signatures
            .iter()
            .try_for_each(|signature| self.note.add(signature.clone()))
    }
}

/// Cosigns a checkpoint at this time (unix seconds). It says: this is the largest consistent tree of that log that the cosigner has seen.
/// A [`crate::follower::Follower`] knows whether that is so; this does not check anything.
///
/// # Errors
/// [`LogError::KeyKindWrong`] unless the key is of kind [`KeyKind::Cosignature`]; [`LogError::OutOfRange`] for the time 0 or one beyond
/// 2^63 − 1.
pub fn cosign(
    checkpoint: &SignedCheckpoint,
    key: &SigningKey,
    time_s: u64,
) -> Result<NoteSignature, LogError> {
    key.sign_at(checkpoint.note.text(), time_s)
}
