//! X25519 keys (RFC 7748) that records are sealed to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::error::LedgerError;
use crate::key::{Keypair, UserKey};

/// The number of an encryption key of a user: 0 is the X25519 form of the root key, others count from 1.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct KeyId(u32);

impl KeyId {
    /// The X25519 form of the root key.
    pub const ROOT: Self = Self(0);
    /// A key that stands in no profile: an agent's, for answers to what it asks.
    pub const REPLY: Self = Self(u32::MAX);

    /// Takes a number.
    #[must_use]
    pub fn new(n: u32) -> Self {
        Self(n)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A public X25519 key, in z-base-32. Keys of small order are refused: an agreement with them is no secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncryptionKey([u8; 32]);

impl EncryptionKey {
    /// Takes the 32 bytes of a key.
    ///
    /// # Errors
    /// [`LedgerError::KeyInvalid`] if the key has small order.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, LedgerError> {
        // Any secret shows whether a key has small order (RFC 7748 §6.1): the agreement is then all zeros.
        let probe = StaticSecret::from([1; 32]).diffie_hellman(&PublicKey::from(bytes));
        if probe.was_contributory() {
            Ok(Self(bytes))
        } else {
            Err(LedgerError::KeyInvalid(
                "an encryption key of small order seals nothing",
            ))
        }
    }

    /// The X25519 form of a root key.
    ///
    /// # Errors
    /// Never for a key that was parsed.
    pub fn of_root(user: &UserKey) -> Result<Self, LedgerError> {
        Self::from_bytes(user.to_x25519())
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for EncryptionKey {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let invalid = LedgerError::KeyInvalid("an encryption key has 52 characters of z-base-32");
        if text.len() != crate::key::Z32_LEN {
            return Err(invalid);
        }
        let bytes: [u8; 32] = z32::decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .filter(|bytes: &[u8; 32]| z32::encode(bytes) == text)
            .ok_or(invalid)?;
        Self::from_bytes(bytes)
    }
}

impl fmt::Display for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&z32::encode(&self.0))
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionKey({self})")
    }
}

/// A secret X25519 key with its number. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct EncryptionSecret {
    id: KeyId,
    secret: StaticSecret,
}

impl EncryptionSecret {
    /// Takes a secret that was derived or drawn elsewhere.
    #[must_use]
    pub fn new(id: KeyId, secret: [u8; 32]) -> Self {
        Self {
            id,
            secret: StaticSecret::from(secret),
        }
    }

    /// The X25519 form of a root key, number 0.
    #[must_use]
    pub fn of_root(root: &Keypair) -> Self {
        Self::new(KeyId::ROOT, *root.to_x25519_secret())
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> EncryptionKey {
        EncryptionKey(PublicKey::from(&self.secret).to_bytes())
    }

    /// The agreement with another key (RFC 7748 §6.1). Keys of small order are refused where they are parsed, so it is never zero.
    pub(crate) fn agree(&self, other: &EncryptionKey) -> zeroize::Zeroizing<[u8; 32]> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(other.0));
        zeroize::Zeroizing::new(shared.to_bytes())
    }

    /// The secret bytes, for storing them sealed. The copy is wiped when dropped.
    #[must_use]
    pub fn to_bytes(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.secret.to_bytes())
    }
}

impl fmt::Debug for EncryptionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionSecret({}, redacted)", self.id)
    }
}
