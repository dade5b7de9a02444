//! Sealing to somebody who does not know the sender yet: HPKE (RFC 9180) in base mode, with DHKEM(X25519, HKDF-SHA256),
//! HKDF-SHA256 and ChaCha20-Poly1305. Foreign types end here.

use std::convert::Infallible;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{
    Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _, single_shot_open,
    single_shot_seal_with_rng,
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::keys::{EncryptionKey, EncryptionSecret, KeyId};
use crate::error::LedgerError;
use crate::key::UserKey;

const INFO: &[u8] = b"atomicity/v0/inbox-hpke\0";

type Suite = X25519HkdfSha256;

/// Turns the caller's 32 random bytes into as many as the key encapsulation asks for: SHA-256(counter ‖ bytes), block by block.
struct Entropy {
    bytes: Zeroizing<[u8; 32]>,
    counter: u64,
}

impl TryRng for Entropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut out = [0; 4];
        self.try_fill_bytes(&mut out)?;
        Ok(u32::from_le_bytes(out))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut out = [0; 8];
        self.try_fill_bytes(&mut out)?;
        Ok(u64::from_le_bytes(out))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(32) {
            let block = Sha256::new()
                .chain_update(self.counter.to_be_bytes())
                .chain_update(self.bytes.as_slice())
                .finalize();
            self.counter = self.counter.wrapping_add(1);
            for (to, from) in chunk.iter_mut().zip(block) {
                *to = from;
            }
        }
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}

/// Binds the seal to its purpose, the recipient and the number of the recipient's key.
fn info(to: &UserKey, key: KeyId) -> Vec<u8> {
    [INFO, to.as_bytes(), &key.get().to_be_bytes()].concat()
}

/// Returns the ephemeral key and the ciphertext.
pub(super) fn seal(
    to: &UserKey,
    key: &EncryptionKey,
    key_id: KeyId,
    entropy: Zeroizing<[u8; 32]>,
    plaintext: &[u8],
) -> Result<([u8; 32], Vec<u8>), LedgerError> {
    let broken = |_| LedgerError::SealBroken("nothing can be sealed to this key");
    let recipient = <Suite as Kem>::PublicKey::from_bytes(key.as_bytes()).map_err(broken)?;
    let mut rng = Entropy {
        bytes: entropy,
        counter: 0,
    };
    let (encapped, sealed) = single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, Suite>(
        &OpModeS::Base,
        &recipient,
        &info(to, key_id),
        plaintext,
        &[],
        &mut rng,
    )
    .map_err(broken)?;
    Ok((encapped.to_bytes().into(), sealed))
}

pub(super) fn open(
    me: &UserKey,
    secret: &EncryptionSecret,
    ephemeral: &[u8; 32],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, LedgerError> {
    let broken =
        |_| LedgerError::SealBroken("it was altered, or sealed to another user or another key");
    let private =
        <Suite as Kem>::PrivateKey::from_bytes(secret.to_bytes().as_slice()).map_err(broken)?;
    let encapped = <Suite as Kem>::EncappedKey::from_bytes(ephemeral).map_err(broken)?;
    single_shot_open::<ChaCha20Poly1305, HkdfSha256, Suite>(
        &OpModeR::Base,
        &private,
        &encapped,
        &info(me, secret.id()),
        ciphertext,
        &[],
    )
    .map(Zeroizing::new)
    .map_err(broken)
}
