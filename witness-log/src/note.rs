//! Signed notes (`c2sp.org/signed-note`): a text, a blank line, and signature lines.
//!
//! Two signature types are known: plain Ed25519 (0x01), by which logs sign checkpoints and cosigners sign tombstones, and timestamped
//! Ed25519 cosignatures (0x04). Signatures of other keys are kept as they are and ignored. Where the specification leaves it to the
//! verifier, the whole note is refused if one signature of a known key fails.

use std::fmt;

use crate::codec::{b64_decode, b64_encode};
use crate::error::LogError;
use crate::key::check_name;
pub use crate::key::{KeyKind, SigningKey, VerifierKey};

/// Larger notes are refused unread.
pub const MAX_NOTE_BYTES: usize = 1_000_000;
/// Notes with more signatures are refused.
pub const MAX_SIGNATURES: usize = 100;
/// Longer key names, in bytes, are refused.
pub const MAX_NAME_BYTES: usize = 255;

const DASH: &str = "\u{2014} ";

/// One signature line: a name and the bytes of key id and signature. Not verified by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NoteSignature {
    name: String,
    bytes: Vec<u8>,
}

impl NoteSignature {
    pub(crate) fn new(name: &str, bytes: Vec<u8>) -> Self {
        Self {
            name: name.to_owned(),
            bytes,
        }
    }

    /// What follows the key id.
    pub(crate) fn signature(&self) -> &[u8] {
        self.bytes.get(4..).unwrap_or_default()
    }

    /// The name of the key that it claims to be by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id that it claims.
    #[must_use]
    pub fn key_id(&self) -> Option<u32> {
        self.bytes.first_chunk().map(|id| u32::from_be_bytes(*id))
    }

    /// Reads one line, without its newline.
    ///
    /// # Errors
    /// [`LogError::NoteMalformed`] if it is none.
    pub fn parse_line(line: &str) -> Result<Self, LogError> {
        let malformed = LogError::NoteMalformed("a signature line is `— <name> <base64>`");
        let (name, signature) = line
            .strip_prefix(DASH)
            .and_then(|rest| rest.split_once(' '))
            .ok_or(malformed.clone())?;
        check_name(name).map_err(|_| malformed.clone())?;
        let bytes = b64_decode(signature).ok_or(malformed.clone())?;
        // A key id and at least one byte.
        if bytes.len() < 5 {
            return Err(malformed);
        }
        Ok(Self {
            name: name.to_owned(),
            bytes,
        })
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DASH}{} {}", self.name, b64_encode(&self.bytes))
    }
}

/// The text of a note ends with a newline and holds no other control character.
pub(crate) fn check_text(text: &str) -> Result<(), LogError> {
    if text.len() > MAX_NOTE_BYTES {
        return Err(LogError::TooLarge {
            what: "a note",
            limit: MAX_NOTE_BYTES,
        });
    }
    if !text.ends_with('\n') || text.bytes().any(|b| b < 0x20 && b != b'\n') {
        return Err(LogError::NoteMalformed(
            "its text ends with a newline and holds no control character",
        ));
    }
    Ok(())
}

/// A text with signature lines. Having one says nothing: [`Self::verify`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// Signs a text with a key of kind [`KeyKind::Ed25519`].
    ///
    /// # Errors
    /// As for [`SigningKey::sign`].
    pub fn sign(text: String, key: &SigningKey) -> Result<Self, LogError> {
        let signature = key.sign(&text)?;
        Ok(Self {
            text,
            signatures: vec![signature],
        })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`LogError::TooLarge`], [`LogError::NoteMalformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(LogError::TooLarge {
                what: "a note",
                limit: MAX_NOTE_BYTES,
            });
        }
        let note =
            std::str::from_utf8(bytes).map_err(|_| LogError::NoteMalformed("it is no UTF-8"))?;
        check_text(note)?;
        let split = note
            .rfind("\n\n")
            .ok_or(LogError::NoteMalformed("it has no blank line"))?;
        let (text, lines) = (&note[..=split], &note[split + 2..]);
        check_text(text)?;
        let signatures = parse_signatures(lines)?;
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// The signed text, with its final newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, verified or not.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature line, unless it is there already.
    ///
    /// # Errors
    /// [`LogError::TooLarge`] above [`MAX_SIGNATURES`].
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), LogError> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        if self.signatures.len() >= MAX_SIGNATURES {
            return Err(LogError::TooLarge {
                what: "the signatures of a note",
                limit: MAX_SIGNATURES,
            });
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Checks all lines that bear the name and the id of this key. Returns the newest time of a cosignature, in unix seconds; none for
    /// plain signatures.
    ///
    /// # Errors
    /// [`LogError::NotSigned`] if there is no such line; [`LogError::SignatureInvalid`] if one of them does not verify.
    pub fn verify(&self, key: &VerifierKey) -> Result<Option<u64>, LogError> {
        let mut lines = self
            .signatures
            .iter()
            .filter(|line| key.claims(line))
            .peekable();
        if lines.peek().is_none() {
            return Err(LogError::NotSigned(key.name().to_owned()));
        }
        let mut newest = None;
        for line in lines {
            let time = key
                .check(&self.text, line)
                .ok_or_else(|| LogError::SignatureInvalid(key.name().to_owned()))?;
            newest = newest.max(time);
        }
        Ok(newest)
    }

    /// The note with this key's lines alone.
    ///
    /// # Errors
    /// As for [`Self::verify`].
    pub fn only(&self, key: &VerifierKey) -> Result<Self, LogError> {
        self.verify(key)?;
        let line = self.signatures.iter().find(|line| key.claims(line));
        Ok(Self {
            text: self.text.clone(),
            signatures: line.into_iter().cloned().collect(),
        })
    }
}

/// Reads signature lines, each with its newline.
pub(crate) fn parse_signatures(lines: &str) -> Result<Vec<NoteSignature>, LogError> {
    let lines = lines
        .strip_suffix('\n')
        .ok_or(LogError::NoteMalformed("it has no signature lines"))?;
    let mut signatures = Vec::new();
    for line in lines.split('\n') {
        if signatures.len() == MAX_SIGNATURES {
            return Err(LogError::TooLarge {
                what: "the signatures of a note",
                limit: MAX_SIGNATURES,
            });
        }
        signatures.push(NoteSignature::parse_line(line)?);
    }
    Ok(signatures)
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            writeln!(f, "{signature}")?;
        }
        Ok(())
    }
}
