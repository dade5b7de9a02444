//! What a user keeps for themselves in `/priv/` of their homeserver, sealed: `/priv/` is access control, and its operator reads it.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::aead::{self, NONCE, TAG};
use super::pad::{CHANNEL_CLASSES, pad, unpad};
use crate::error::LedgerError;
use crate::key::{Keypair, UserKey};

/// The most bytes that a sealed private file may have.
pub const MAX_PRIVATE_FILE_BYTES: usize = 1024 * 1024 + HEADER + TAG;

const SALT: &[u8] = b"atomicity/v0";
const LABEL: &[u8] = b"atomicity/v0/private-seal\0";
/// "Atomicity private", version 1.
const MAGIC: [u8; 4] = *b"AtP\x01";
const HEADER: usize = 4 + NONCE;

/// The symmetric key of a user's private files. The root yields it and it does not yield the root, so a wallet may keep it without
/// keeping the root. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct PrivateKey {
    user: UserKey,
    key: Zeroizing<[u8; 32]>,
}

impl PrivateKey {
    /// Derives the key from the root.
    ///
    /// # Errors
    /// Never in practice: 32 bytes can always be derived.
    pub fn of_root(root: &Keypair) -> Result<Self, LedgerError> {
        let user = root.user_key();
        let mut key = Zeroizing::new([0u8; 32]);
        Hkdf::<Sha256>::new(Some(SALT), root.secret().as_slice())
            .expand_multi_info(&[LABEL, user.as_bytes()], key.as_mut_slice())
            .map_err(|_| LedgerError::KeyInvalid("no key can be derived from it"))?;
        Ok(Self { user, key })
    }

    /// Takes a key that a wallet stored.
    #[must_use]
    pub fn from_stored(user: UserKey, key: [u8; 32]) -> Self {
        Self {
            user,
            key: Zeroizing::new(key),
        }
    }

    /// The secret bytes, for storing them. The copy is wiped when dropped.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.key.clone()
    }

    /// Whose files it opens.
    #[must_use]
    pub fn user(&self) -> &UserKey {
        &self.user
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, secret redacted)", self.user)
    }
}

fn associated(header: &[u8], user: &UserKey, path: &str) -> Vec<u8> {
    let mut data = header.to_vec();
    data.extend_from_slice(format!("pubky://{user}{path}").as_bytes());
    data
}

/// Seals a private file that will lie at `path` (absolute, as on the homeserver). `nonce` must be 24 fresh random bytes.
///
/// # Errors
/// [`LedgerError::TooLarge`] above 1 MiB − 4 bytes.
pub fn seal_private(
    key: &PrivateKey,
    path: &str,
    nonce: [u8; NONCE],
    content: &[u8],
) -> Result<Vec<u8>, LedgerError> {
    let padded = pad("private file", content, CHANNEL_CLASSES)?;
    let header = [MAGIC.as_slice(), &nonce].concat();
    let associated = associated(&header, &key.user, path);
    let sealed = aead::seal(&key.key, &nonce, &associated, &padded)?;
    Ok([header, sealed].concat())
}

/// Opens a private file that was found at `path`.
///
/// # Errors
/// [`LedgerError::SealBroken`] if it was altered, lay elsewhere, or is another user's; [`LedgerError::TooLarge`].
pub fn open_private(
    key: &PrivateKey,
    path: &str,
    file: &[u8],
) -> Result<Zeroizing<Vec<u8>>, LedgerError> {
    let broken = LedgerError::SealBroken;
    if file.len() > MAX_PRIVATE_FILE_BYTES {
        return Err(LedgerError::TooLarge {
            what: "private file",
            bytes: file.len(),
            max: MAX_PRIVATE_FILE_BYTES,
        });
    }
    let (header, sealed) = file
        .split_at_checked(HEADER)
        .ok_or(broken("it is too short for a private file"))?;
    let nonce: [u8; NONCE] = header
        .strip_prefix(&MAGIC)
        .and_then(|nonce| nonce.try_into().ok())
        .ok_or(broken("it is no private file of a known version"))?;
    let associated = associated(header, &key.user, path);
    let padded = aead::open(&key.key, &nonce, &associated, sealed)?;
    unpad(&padded, CHANNEL_CLASSES).map(Zeroizing::new)
}
