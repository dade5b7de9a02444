//! Answers on their way back to the payer: sealed by the hop that speaks, streamed over by every hop before it.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload as Message};
use chacha20poly1305::{Key as AeadKey, XChaCha20Poly1305, XNonce};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::answer::{self, Answer};
use super::failure::{self, Failure};
use super::keys::{HopSecret, Key, ReplyKeys, derive, stream_over};
use super::{from_text, to_text};
use crate::error::LedgerError;
use crate::text::Layers;

const NONCE: usize = 24;
const TAG: usize = 16;

/// Bytes of a failure on its way back.
pub const FAILURE_BYTES: usize = NONCE + failure::PLAIN + TAG;
/// Bytes of an answer on its way back.
pub const REPLY_BYTES: usize = NONCE + answer::PLAIN + TAG;

/// The two kinds of messages: each has its own keys and its own size.
#[derive(Clone, Copy)]
enum Kind {
    Failure,
    Reply,
}

impl Kind {
    fn size(self) -> usize {
        match self {
            Self::Failure => FAILURE_BYTES,
            Self::Reply => REPLY_BYTES,
        }
    }

    fn seal_key(self, secret: &HopSecret) -> Result<Key, LedgerError> {
        let label = match self {
            Self::Failure => "atomicity/v0/failure-seal",
            Self::Reply => "atomicity/v0/reply-seal",
        };
        derive(secret.0.as_slice(), label, &[])
    }

    fn stream_key(self, secret: &HopSecret) -> Result<Key, LedgerError> {
        let label = match self {
            Self::Failure => "atomicity/v0/failure-stream",
            Self::Reply => "atomicity/v0/reply-stream",
        };
        derive(secret.0.as_slice(), label, &[])
    }
}

impl HopSecret {
    /// Says to the payer why this hop could not do what it was asked. `entropy` must be fresh.
    ///
    /// # Errors
    /// Never for a secret that came out of layers.
    pub fn seal_failure(
        &self,
        failure: &Failure,
        entropy: &[u8; 32],
    ) -> Result<Layers, LedgerError> {
        self.seal(Kind::Failure, &failure.encode(), entropy)
    }

    /// Puts this hop's layer over a failure that came from the hop after it.
    ///
    /// # Errors
    /// [`LedgerError::LayersInvalid`] if it does not have the size of one: then this hop speaks for itself.
    pub fn wrap_failure(&self, failure: &Layers) -> Result<Layers, LedgerError> {
        self.wrap(Kind::Failure, failure)
    }

    /// Shows the payer what they asked for. `entropy` must be fresh.
    ///
    /// # Errors
    /// Never for a secret that came out of layers.
    pub fn seal_reply(&self, answer: &Answer, entropy: &[u8; 32]) -> Result<Layers, LedgerError> {
        self.seal(Kind::Reply, &answer.encode()?, entropy)
    }

    /// Puts this hop's layer over an answer that came from the hop after it.
    ///
    /// # Errors
    /// [`LedgerError::LayersInvalid`] if it does not have the size of one.
    pub fn wrap_reply(&self, reply: &Layers) -> Result<Layers, LedgerError> {
        self.wrap(Kind::Reply, reply)
    }

    fn seal(&self, kind: Kind, plain: &[u8], entropy: &[u8; 32]) -> Result<Layers, LedgerError> {
        let key = kind.seal_key(self)?;
        // Out of what is said as well: entropy that was used before does not repeat a nonce for other words.
        let digest: [u8; 32] = Sha256::digest(plain).into();
        let nonce = derive(
            entropy,
            "atomicity/v0/answer-nonce",
            &[key.as_slice(), &digest],
        )?;
        let (nonce, _) = nonce.split_at(NONCE);
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| unreadable())?;
        let sealed = aead(&key)
            .encrypt(&XNonce::from(nonce), Message::from(plain))
            .map_err(|_| unreadable())?;
        to_text(&[nonce.as_slice(), &sealed].concat())
    }

    fn wrap(&self, kind: Kind, layers: &Layers) -> Result<Layers, LedgerError> {
        let mut bytes = from_text(layers, kind.size())?;
        stream_over(&kind.stream_key(self)?, &mut bytes)?;
        to_text(&bytes)
    }
}

impl ReplyKeys {
    /// Reads a failure: which hop speaks, counted from 0 for the first after the payer, and what it says.
    ///
    /// # Errors
    /// [`LedgerError::LayersInvalid`] if no hop of this payment sealed it, or a hop on the way altered it.
    pub fn open_failure(&self, failure: &Layers) -> Result<(usize, Failure), LedgerError> {
        let (hop, plain) = self.open(Kind::Failure, failure)?;
        Ok((hop, Failure::decode(&plain)?))
    }

    /// Reads an answer: which hop speaks, counted from 0 for the first after the payer, and what it shows.
    ///
    /// # Errors
    /// [`LedgerError::LayersInvalid`] if no hop of this payment sealed it, or a hop on the way altered it.
    pub fn open_reply(&self, reply: &Layers) -> Result<(usize, Answer), LedgerError> {
        let (hop, plain) = self.open(Kind::Reply, reply)?;
        Ok((hop, Answer::decode(&plain)?))
    }

    fn open(
        &self,
        kind: Kind,
        layers: &Layers,
    ) -> Result<(usize, Zeroizing<Vec<u8>>), LedgerError> {
        let mut bytes = from_text(layers, kind.size())?;
        for (hop, secret) in self.0.iter().enumerate() {
            let (nonce, sealed) = bytes.split_at(NONCE);
            let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| unreadable())?;
            let key = kind.seal_key(secret)?;
            if let Ok(plain) = aead(&key).decrypt(&XNonce::from(nonce), Message::from(sealed)) {
                return Ok((hop, Zeroizing::new(plain)));
            }
            stream_over(&kind.stream_key(secret)?, &mut bytes)?;
        }
        Err(unreadable())
    }
}

fn aead(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&AeadKey::from(**key))
}

fn unreadable() -> LedgerError {
    LedgerError::LayersInvalid("no hop of this payment has sealed this answer, or it was altered")
}
