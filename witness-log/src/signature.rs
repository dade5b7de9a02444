//! Ed25519, strictly: keys that anybody could sign for are refused, and so are signatures that only some verifiers take.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::error::LogError;

/// Bytes of an Ed25519 signature.
pub(crate) const SIGNATURE_BYTES: usize = 64;

/// A public key that was checked when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey(VerifyingKey);

impl PublicKey {
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Result<Self, LogError> {
        let key = VerifyingKey::from_bytes(bytes)
            .map_err(|_| LogError::KeyInvalid("it is not a point of the curve"))?;
        if key.is_weak() {
            return Err(LogError::KeyInvalid(
                "it has small order, so anybody could sign for it",
            ));
        }
        // The curve library reads some points from more than one spelling.
        if !is_canonical(bytes) {
            return Err(LogError::KeyInvalid("its encoding is not canonical"));
        }
        Ok(Self(key))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

/// RFC 8032 §5.1.3: the y coordinate must be below the field's prime 2^255 − 19.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let high = bytes[31] & 0x7f == 0x7f && bytes[1..31].iter().all(|b| *b == 0xff);
    !(high && bytes[0] >= 0xed)
}

/// The secret half; wiped when dropped.
#[derive(Clone)]
pub(crate) struct SecretKey(SigningKey);

impl SecretKey {
    pub(crate) fn from_bytes(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).to_bytes()
    }
}
