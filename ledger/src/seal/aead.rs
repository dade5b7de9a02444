//! XChaCha20-Poly1305, as every symmetric seal here uses it.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::error::LedgerError;

/// Bytes of a nonce.
pub(super) const NONCE: usize = 24;
/// Bytes of an authentication tag.
pub(super) const TAG: usize = 16;

pub(super) fn seal(
    key: &[u8; 32],
    nonce: &[u8; NONCE],
    associated: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, LedgerError> {
    XChaCha20Poly1305::new(&Key::from(*key))
        .encrypt(
            &XNonce::from(*nonce),
            Payload {
                msg: plaintext,
                aad: associated,
            },
        )
        .map_err(|_| LedgerError::SealBroken("there is too much to seal"))
}

pub(super) fn open(
    key: &[u8; 32],
    nonce: &[u8; NONCE],
    associated: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, LedgerError> {
    XChaCha20Poly1305::new(&Key::from(*key))
        .decrypt(
            &XNonce::from(*nonce),
            Payload {
                msg: ciphertext,
                aad: associated,
            },
        )
        .map(Zeroizing::new)
        .map_err(|_| {
            LedgerError::SealBroken("it was altered, moved, or sealed with other keys than these")
        })
}
