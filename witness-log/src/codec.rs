//! Bounded reading and writing of the crate's own binary forms, and the few text rules that all C2SP formats share.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::LogError;
use crate::tree::Hash;

/// Standard base64 with padding; other spellings of the same bytes are refused.
pub(crate) fn b64_decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub(crate) fn b64_encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// An ASCII decimal without sign or leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = text.as_bytes();
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if !plain || (digits.len() > 1 && digits[0] == b'0') {
        return None;
    }
    text.parse().ok()
}

/// Reads from the front of a byte string; whatever is missing is a malformed proof.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], LogError> {
        let (head, tail) = self
            .0
            .split_at_checked(count)
            .ok_or(LogError::ProofMalformed("it is cut short"))?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LogError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, LogError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, LogError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, LogError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn hash(&mut self) -> Result<Hash, LogError> {
        Ok(Hash::from_bytes(self.array()?))
    }

    /// At most 64 hashes: as many as the longest proof of a tree of 2^63 leaves has.
    pub(crate) fn hashes(&mut self) -> Result<Vec<Hash>, LogError> {
        let count = self.u8()?;
        if count > 64 {
            return Err(LogError::ProofMalformed("it has too many hashes"));
        }
        (0..count).map(|_| self.hash()).collect()
    }

    /// A byte string with its length (u32) before it.
    pub(crate) fn bytes(&mut self, limit: usize) -> Result<&'a [u8], LogError> {
        let length = self.u32()? as usize;
        if length > limit {
            return Err(LogError::ProofMalformed("a part of it is too long"));
        }
        self.take(length)
    }

    pub(crate) fn end(self) -> Result<(), LogError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(LogError::ProofMalformed("something follows its end"))
        }
    }
}

/// Appends hashes with their count (u8) before them. Proofs of this crate never have more than 64.
pub(crate) fn put_hashes(out: &mut Vec<u8>, hashes: &[Hash]) {
    let hashes = &hashes[..hashes.len().min(64)];
    out.push(hashes.len() as u8);
    for hash in hashes {
        out.extend_from_slice(hash.as_bytes());
    }
}

/// Appends a byte string with its length (u32) before it.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}
