//! Ed25519 keys: users (root keys), signers (book keys and root keys), and the pair that signs.
//!
//! Keys are written in z-base-32, 52 characters, as everywhere in the Pubky ecosystem. Points of small order and encodings that
//! are not canonical are refused when a key is parsed, so that no later check has to think of them.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::error::LedgerError;

/// Length of a key in z-base-32.
pub const Z32_LEN: usize = 52;

fn parse_key_bytes(bytes: [u8; 32]) -> Result<[u8; 32], LedgerError> {
    if !is_canonical(&bytes) {
        return Err(LedgerError::KeyInvalid("its encoding is not canonical"));
    }
    let key = VerifyingKey::from_bytes(&bytes)
        .map_err(|_| LedgerError::KeyInvalid("it is not a point of the curve"))?;
    if key.is_weak() {
        return Err(LedgerError::KeyInvalid(
            "it has small order, so anybody could sign for it",
        ));
    }
    Ok(bytes)
}

/// RFC 8032 §5.1.3: the y coordinate must be below the field's prime 2^255 − 19.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let high = bytes[31] & 0x7f == 0x7f && bytes[1..31].iter().all(|b| *b == 0xff);
    !(high && bytes[0] >= 0xed)
}

fn parse_z32(text: &str) -> Result<[u8; 32], LedgerError> {
    if text.len() != Z32_LEN {
        return Err(LedgerError::KeyInvalid(
            "a key has 52 characters of z-base-32",
        ));
    }
    let bytes = z32::decode(text.as_bytes())
        .map_err(|_| LedgerError::KeyInvalid("a key is written in z-base-32"))?;
    let bytes: [u8; 32] = bytes
        .try_into()
        .map_err(|_| LedgerError::KeyInvalid("a key has 32 bytes"))?;
    // 52 characters carry 260 bits: without this, sixteen spellings would name one key.
    if z32::encode(&bytes) != text {
        return Err(LedgerError::KeyInvalid("its spelling is not canonical"));
    }
    parse_key_bytes(bytes)
}

macro_rules! public_key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 32]);

        impl $name {
            /// Takes the 32 bytes of an Ed25519 public key.
            ///
            /// # Errors
            /// [`LedgerError::KeyInvalid`] if they are no point, not canonical, or of small order.
            pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, LedgerError> {
                parse_key_bytes(bytes).map(Self)
            }

            /// The 32 bytes of the key.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The key in z-base-32.
            #[must_use]
            pub fn to_z32(&self) -> String {
                z32::encode(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = LedgerError;

            fn from_str(text: &str) -> Result<Self, LedgerError> {
                parse_z32(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = LedgerError;

            fn try_from(text: String) -> Result<Self, LedgerError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(key: $name) -> Self {
                key.to_z32()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_z32())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.to_z32())
            }
        }
    };
}

public_key! {
    /// The root key that *is* a user. Never the key of a device.
    UserKey
}

public_key! {
    /// A key that signs records: a book key, a key with a delegation, or a root key speaking for itself.
    SignerKey
}

impl UserKey {
    /// The same key, seen as one that signs.
    #[must_use]
    pub fn as_signer(&self) -> SignerKey {
        SignerKey(self.0)
    }

    /// The X25519 form of the root key: what a user without a profile can be sealed to.
    #[must_use]
    pub fn to_x25519(&self) -> [u8; 32] {
        // The bytes were checked when the key was made.
        VerifyingKey::from_bytes(&self.0).map_or([0; 32], |key| key.to_montgomery().to_bytes())
    }
}

impl SignerKey {
    /// Whether this key is the root key of `user`.
    #[must_use]
    pub fn is_root_of(&self, user: &UserKey) -> bool {
        self.0 == user.0
    }

    /// Checks `signature` over `message`, strictly: no small-order component, no malleable encoding (`verify_strict`).
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            key.verify_strict(message, &Signature::from_bytes(signature))
                .is_ok()
        })
    }
}

/// A secret Ed25519 key. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Keypair(SigningKey);

impl Keypair {
    /// Takes the 32 secret bytes (the seed of RFC 8032). Where they come from is the caller's concern.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The secret bytes, for storing them sealed. The copy is wiped when dropped.
    #[must_use]
    pub fn secret(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    /// The public half, as a signer.
    #[must_use]
    pub fn signer_key(&self) -> SignerKey {
        SignerKey(self.0.verifying_key().to_bytes())
    }

    /// The public half, if this is a root key.
    #[must_use]
    pub fn user_key(&self) -> UserKey {
        UserKey(self.0.verifying_key().to_bytes())
    }

    /// The X25519 secret that belongs to [`UserKey::to_x25519`].
    #[must_use]
    pub fn to_x25519_secret(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_scalar_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({}, secret redacted)", self.signer_key())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_reads_back_as_written() {
        let key = Keypair::from_secret(&[7; 32]).user_key();
        assert_eq!(key.to_string().parse::<UserKey>().unwrap(), key);
        assert_eq!(key.to_string().len(), Z32_LEN);
    }

    #[test]
    fn small_order_and_non_canonical_keys_are_refused() {
        let mut identity = [0u8; 32];
        identity[0] = 1;
        assert!(UserKey::from_bytes(identity).is_err());
        let mut over = [0xffu8; 32];
        over[0] = 0xf0;
        over[31] = 0x7f;
        assert!(UserKey::from_bytes(over).is_err());
    }

    #[test]
    fn only_one_spelling_names_a_key() {
        let text = Keypair::from_secret(&[7; 32]).user_key().to_string();
        let upper = text.to_uppercase();
        assert!(upper.parse::<UserKey>().is_err());
        let last = text.chars().last().unwrap();
        let mut spellings = 0;
        for c in "ybndrfg8ejkmcpqxot1uwisza345h769".chars() {
            let mut other = text[..51].to_owned();
            other.push(c);
            if other
                .parse::<UserKey>()
                .is_ok_and(|k| k.to_string() != other)
            {
                spellings += 1;
            }
            assert!(c == last || other.parse::<UserKey>() != text.parse::<UserKey>());
        }
        assert_eq!(spellings, 0);
    }

    #[test]
    fn the_secret_never_shows() {
        let pair = Keypair::from_secret(&[9; 32]);
        let shown = format!("{pair:?}");
        assert!(shown.contains("redacted"));
        assert!(!shown.contains("9, 9"));
    }
}
