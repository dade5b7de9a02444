//! The bodies of the `add-checkpoint` call (`c2sp.org/tlog-witness`): how a log asks a cosigner to cosign.

use std::fmt;

use crate::checkpoint::SignedCheckpoint;
use crate::codec::decimal;
use crate::error::LogError;
use crate::note::{MAX_NOTE_BYTES, NoteSignature, parse_signatures};
use crate::proof::parse_hashes;
use crate::tree::{Hash, MAX_TREE_SIZE};

/// Larger requests are refused unread.
pub const MAX_REQUEST_BYTES: usize = MAX_NOTE_BYTES + 8 * 1024;

/// The request: from which size on, with which proof, to which checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the cosigner cosigned last, as the log believes.
    pub old_size: u64,
    /// The consistency proof from there; empty if the old size is 0.
    pub consistency: Vec<Hash>,
    /// The checkpoint, not verified.
    pub checkpoint: SignedCheckpoint,
}

impl AddCheckpoint {
    /// Reads the body of a request. Neither signature nor proof are verified.
    ///
    /// # Errors
    /// [`LogError::TooLarge`], [`LogError::ProofMalformed`] (also if the old size is above the new one), [`LogError::NoteMalformed`],
    /// [`LogError::CheckpointMalformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        if bytes.len() > MAX_REQUEST_BYTES {
            return Err(LogError::TooLarge {
                what: "a request",
                limit: MAX_REQUEST_BYTES,
            });
        }
        let malformed = LogError::ProofMalformed;
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is no UTF-8"))?;
        let (head, note) = text
            .split_once("\n\n")
            .ok_or(malformed("it has no blank line"))?;
        let mut lines = head.split('\n');
        let old_size = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .and_then(decimal)
            .filter(|size| *size <= MAX_TREE_SIZE)
            .ok_or(malformed("its first line is `old <size>`"))?;
        let consistency = parse_hashes(lines)?;
        let checkpoint = SignedCheckpoint::parse(note.as_bytes())?;
        if old_size > checkpoint.checkpoint().size {
            return Err(malformed("the old size is above that of the checkpoint"));
        }
        Ok(Self {
            old_size,
            consistency,
            checkpoint,
        })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        for hash in &self.consistency {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{}", self.checkpoint.note())
    }
}

/// The body of the answer: signature lines.
#[must_use]
pub fn encode_response(signatures: &[NoteSignature]) -> String {
    signatures
        .iter()
        .map(|signature| format!("{signature}\n"))
        .collect()
}

/// Reads the body of the answer. Nothing is verified: the caller adds the lines to its checkpoint and checks that.
///
/// # Errors
/// [`LogError::TooLarge`], [`LogError::NoteMalformed`].
pub fn parse_response(bytes: &[u8]) -> Result<Vec<NoteSignature>, LogError> {
    if bytes.len() > MAX_NOTE_BYTES {
        return Err(LogError::TooLarge {
            what: "an answer",
            limit: MAX_NOTE_BYTES,
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| LogError::NoteMalformed("it is no UTF-8"))?;
    parse_signatures(text)
}
