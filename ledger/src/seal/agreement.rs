//! What two users derive from their encryption keys, for one direction, without exchanging a message.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::keys::{EncryptionKey, EncryptionSecret, KeyId};
use crate::error::LedgerError;
use crate::key::UserKey;

const SALT: &[u8] = b"atomicity/v0";
const BLIND: &str = "atomicity/v0/blind";
const CHANNEL_SEAL: &str = "atomicity/v0/channel-seal";
const INBOX_TAG: &str = "atomicity/v0/inbox-tag";
const INBOX_SEAL: &str = "atomicity/v0/inbox-seal";

/// The last segment of a channel file's path: 32 bytes that nobody but the two users can connect with either of them.
/// Written in z-base-32, 52 lower-case letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Blind([u8; 32]);

/// The address within an inbox under which one known peer, and nobody else, leaves envelopes.
/// Written in base64url without padding, 43 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag([u8; 32]);

macro_rules! opaque_bytes {
    ($name:ident, $what:literal, $why:literal, $encode:expr, $decode:expr) => {
        impl $name {
            /// The 32 bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Takes 32 bytes that were stored.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&$encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = LedgerError;

            fn from_str(text: &str) -> Result<Self, LedgerError> {
                // The second condition: bits left over in the last character must not give one value several spellings.
                $decode(text)
                    .and_then(|bytes: Vec<u8>| bytes.try_into().ok())
                    .map(Self)
                    .filter(|value| value.to_string() == text)
                    .ok_or(LedgerError::TextInvalid {
                        what: $what,
                        why: $why,
                    })
            }
        }

        impl TryFrom<String> for $name {
            type Error = LedgerError;

            fn try_from(text: String) -> Result<Self, LedgerError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}

opaque_bytes!(
    Blind,
    "name of a channel file",
    "it must be 32 bytes in z-base-32",
    |bytes: &[u8; 32]| z32::encode(bytes),
    |text: &str| (text.len() == 52)
        .then(|| z32::decode(text.as_bytes()).ok())
        .flatten()
);
opaque_bytes!(
    Tag,
    "inbox tag",
    "it must be 32 bytes in base64url without padding",
    |bytes: &[u8; 32]| URL_SAFE_NO_PAD.encode(bytes),
    |text: &str| (text.len() == 43)
        .then(|| URL_SAFE_NO_PAD.decode(text).ok())
        .flatten()
);

/// Everything that the encryption keys of two users give for what `from` writes to `to`.
///
/// Both sides compute the same values; the other direction has other values, and so has every other pair of key numbers.
/// Secrets are wiped when dropped and never printed.
#[derive(Clone)]
pub struct Agreement {
    from: UserKey,
    to: UserKey,
    from_key: KeyId,
    to_key: KeyId,
    blind: Blind,
    tag: Tag,
    channel_key: Zeroizing<[u8; 32]>,
    inbox_key: Zeroizing<[u8; 32]>,
}

impl Agreement {
    /// For what `me` writes to `peer`: my own channel file about them, and envelopes to their inbox.
    ///
    /// # Errors
    /// [`LedgerError::KeyInvalid`] if both users are the same.
    pub fn outgoing(
        me: &UserKey,
        secret: &EncryptionSecret,
        peer: &UserKey,
        peer_key: &EncryptionKey,
        peer_key_id: KeyId,
    ) -> Result<Self, LedgerError> {
        Self::derive(secret, peer_key, (me, secret.id()), (peer, peer_key_id))
    }

    /// For what `peer` writes to `me`: their channel file about me, and their envelopes in my inbox.
    ///
    /// # Errors
    /// [`LedgerError::KeyInvalid`] if both users are the same.
    pub fn incoming(
        me: &UserKey,
        secret: &EncryptionSecret,
        peer: &UserKey,
        peer_key: &EncryptionKey,
        peer_key_id: KeyId,
    ) -> Result<Self, LedgerError> {
        Self::derive(secret, peer_key, (peer, peer_key_id), (me, secret.id()))
    }

    fn derive(
        secret: &EncryptionSecret,
        other: &EncryptionKey,
        (from, from_key): (&UserKey, KeyId),
        (to, to_key): (&UserKey, KeyId),
    ) -> Result<Self, LedgerError> {
        if from == to {
            return Err(LedgerError::KeyInvalid(
                "a user has no channel with themselves",
            ));
        }
        let shared = secret.agree(other);
        let kdf = Hkdf::<Sha256>::new(Some(SALT), shared.as_slice());
        let expand = |label: &str| {
            let mut out = Zeroizing::new([0u8; 32]);
            let parts: [&[u8]; 6] = [
                label.as_bytes(),
                &[0],
                from.as_bytes(),
                to.as_bytes(),
                &from_key.get().to_be_bytes(),
                &to_key.get().to_be_bytes(),
            ];
            kdf.expand_multi_info(&parts, out.as_mut_slice())
                .map(|()| out)
                .map_err(|_| LedgerError::KeyInvalid("no key can be derived from it"))
        };
        Ok(Self {
            from: *from,
            to: *to,
            from_key,
            to_key,
            blind: Blind(*expand(BLIND)?),
            tag: Tag(*expand(INBOX_TAG)?),
            channel_key: expand(CHANNEL_SEAL)?,
            inbox_key: expand(INBOX_SEAL)?,
        })
    }

    /// Who writes.
    #[must_use]
    pub fn from(&self) -> &UserKey {
        &self.from
    }

    /// Who reads.
    #[must_use]
    pub fn to(&self) -> &UserKey {
        &self.to
    }

    /// The number of the writer's encryption key.
    #[must_use]
    pub fn from_key(&self) -> KeyId {
        self.from_key
    }

    /// The number of the reader's encryption key.
    #[must_use]
    pub fn to_key(&self) -> KeyId {
        self.to_key
    }

    /// The name of the writer's channel file about the reader.
    #[must_use]
    pub fn blind(&self) -> Blind {
        self.blind
    }

    /// Under which tag the writer leaves envelopes in the reader's inbox.
    #[must_use]
    pub fn tag(&self) -> Tag {
        self.tag
    }

    pub(super) fn channel_key(&self) -> &[u8; 32] {
        &self.channel_key
    }

    pub(super) fn inbox_key(&self) -> &[u8; 32] {
        &self.inbox_key
    }
}

impl fmt::Debug for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Agreement({} key {} to {} key {}, secrets redacted)",
            self.from, self.from_key, self.to, self.to_key
        )
    }
}
