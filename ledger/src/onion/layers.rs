//! Sealing layers for a whole path, and opening the outermost.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload as Message};
use chacha20poly1305::{ChaCha20Poly1305, Key as AeadKey, Nonce};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::keys::{HopKey, HopSecret, Key, LayerKeys, ReplyKeys, derive, stream_over};
use super::payload::{PAYLOAD, Payload};
use super::{MAX_HOPS, from_text, to_text};
use crate::digest::PaymentHash;
use crate::error::LedgerError;
use crate::key::UserKey;
use crate::seal::{EncryptionKey, EncryptionSecret, KeyId};
use crate::text::Layers;

const VERSION: u8 = 1;
const EPHEMERAL: usize = 32;
/// The ephemeral key, the payload, and the tag over everything.
const SLOT: usize = EPHEMERAL + PAYLOAD + 16;
const SLOTS: usize = MAX_HOPS * SLOT;

/// Bytes of the layers, at every hop: a version and one slot for each possible hop.
pub const LAYERS_BYTES: usize = 1 + SLOTS;

/// What the outermost layer held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What to do.
    pub payload: Payload,
    /// What the promise onward carries: as large as what came.
    pub rest: Layers,
    /// For answers to the payer.
    pub secret: HopSecret,
}

/// Seals one payload for each hop, the first hop's outermost. `entropy` must be fresh.
///
/// # Errors
/// [`LedgerError::LayersInvalid`] without hops or with more than [`MAX_HOPS`]; [`LedgerError::TooLarge`] for a memo that is too long.
pub fn seal(
    path: &[(HopKey, Payload)],
    hash: &PaymentHash,
    entropy: &[u8; 32],
) -> Result<(Layers, ReplyKeys), LedgerError> {
    if path.is_empty() || path.len() > MAX_HOPS {
        return Err(LedgerError::LayersInvalid("a path has 1 to 10 hops"));
    }
    let payloads = path.iter().map(|(_, payload)| payload.encode());
    let payloads = payloads.collect::<Result<Vec<_>, _>>()?;
    let seed = seed(path, &payloads, hash, entropy)?;
    let mut keys = Vec::new();
    for (index, (hop, _)) in (0u32..).zip(path) {
        let ephemeral = derive(
            seed.as_slice(),
            "atomicity/v0/layer-ephemeral",
            &[&index.to_be_bytes()],
        )?;
        let ephemeral = EncryptionSecret::new(KeyId::ROOT, *ephemeral);
        let layer = LayerKeys::of_payer(&ephemeral, hop, hash)?;
        keys.push((ephemeral.public(), layer));
    }
    // What the last hop passes on to nobody: as random as everything else, so that it does not show how long the path was.
    let mut rest = vec![0; SLOTS - SLOT];
    let noise = derive(seed.as_slice(), "atomicity/v0/layer-noise", &[])?;
    stream_over(&noise, &mut rest)?;
    overwrite_end(&mut rest, &filler(&keys)?);
    let mut packet = Vec::new();
    for ((ephemeral, layer), payload) in keys.iter().zip(&payloads).rev() {
        if !packet.is_empty() {
            // The hop will put its stream over what follows its slot, zeros at the end: taken off here in advance.
            stream_over(&layer.stream, &mut packet)?;
            packet.truncate(SLOTS - SLOT);
            rest = packet;
        }
        let sealed = aead(&layer.seal)
            .encrypt(
                &Nonce::from([0; 12]),
                Message {
                    msg: payload.as_slice(),
                    aad: &associated(&rest, hash),
                },
            )
            .map_err(|_| LedgerError::LayersInvalid("there is too much to seal"))?;
        packet = [ephemeral.as_bytes().as_slice(), &sealed, &rest].concat();
    }
    let secrets = keys.into_iter().map(|(_, layer)| layer.back).collect();
    Ok((
        to_text(&[&[VERSION], packet.as_slice()].concat())?,
        ReplyKeys(secrets),
    ))
}

/// Opens the outermost layer as `me`, with the encryption keys that `me` still reads: the current one, the previous, and the
/// X25519 form of the root key.
///
/// # Errors
/// [`LedgerError::LayersInvalid`] if they are malformed, altered, moved from another payment, or sealed to somebody else.
pub fn open(
    layers: &Layers,
    hash: &PaymentHash,
    me: &UserKey,
    secrets: &[EncryptionSecret],
) -> Result<Opened, LedgerError> {
    let closed = LedgerError::LayersInvalid(
        "they were altered, moved from another payment, or sealed to another user or key",
    );
    let bytes = from_text(layers, LAYERS_BYTES)?;
    let (version, packet) = bytes.split_at(1);
    if version != [VERSION] {
        return Err(LedgerError::LayersInvalid(
            "they are of a version that is unknown here",
        ));
    }
    let (ephemeral, after) = packet.split_at(EPHEMERAL);
    let (sealed, rest) = after.split_at(SLOT - EPHEMERAL);
    let ephemeral: [u8; EPHEMERAL] = ephemeral.try_into().map_err(|_| closed.clone())?;
    let ephemeral = EncryptionKey::from_bytes(ephemeral).map_err(|_| closed.clone())?;
    let associated = associated(rest, hash);
    for secret in secrets {
        let keys = LayerKeys::of_hop(&ephemeral, me, secret, hash)?;
        let message = Message {
            msg: sealed,
            aad: &associated,
        };
        let Ok(plain) = aead(&keys.seal).decrypt(&Nonce::from([0; 12]), message) else {
            continue;
        };
        let payload = Payload::decode(&Zeroizing::new(plain))?;
        let mut next = [rest, &[0; SLOT]].concat();
        stream_over(&keys.stream, &mut next)?;
        return Ok(Opened {
            payload,
            rest: to_text(&[&[VERSION], next.as_slice()].concat())?,
            secret: keys.back,
        });
    }
    Err(closed)
}

fn aead(key: &Key) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&AeadKey::from(**key))
}

/// What a slot's tag covers besides its payload: all that follows, and the payment.
fn associated(rest: &[u8], hash: &PaymentHash) -> Vec<u8> {
    [&[VERSION], hash.as_bytes().as_slice(), rest].concat()
}

/// Everything random comes from the entropy and from what is sealed: entropy that was used before does not repeat a key.
fn seed(
    path: &[(HopKey, Payload)],
    payloads: &[Zeroizing<[u8; PAYLOAD]>],
    hash: &PaymentHash,
    entropy: &[u8; 32],
) -> Result<Key, LedgerError> {
    let mut digest = Sha256::new();
    for ((hop, _), payload) in path.iter().zip(payloads) {
        digest.update(hop.user.as_bytes());
        digest.update(hop.id.get().to_be_bytes());
        digest.update(hop.key.as_bytes());
        digest.update(payload.as_slice());
    }
    let digest: [u8; 32] = digest.finalize().into();
    let context: [&[u8]; 2] = [hash.as_bytes(), &digest];
    derive(entropy, "atomicity/v0/layer-seed", &context)
}

/// What the packet of the last hop ends with: what the hops before it have appended, one slot each.
fn filler(keys: &[(EncryptionKey, LayerKeys)]) -> Result<Vec<u8>, LedgerError> {
    let mut filler = Vec::new();
    let before_last = keys.len().saturating_sub(1);
    for (_, layer) in keys.iter().take(before_last) {
        filler.extend([0; SLOT]);
        let mut stream = vec![0; SLOTS];
        stream_over(&layer.stream, &mut stream)?;
        let end = stream.iter().skip(SLOTS - filler.len());
        for (byte, key) in filler.iter_mut().zip(end) {
            *byte ^= key;
        }
    }
    Ok(filler)
}

fn overwrite_end(bytes: &mut [u8], end: &[u8]) {
    let start = bytes.len().saturating_sub(end.len());
    for (byte, new) in bytes.iter_mut().skip(start).zip(end) {
        *byte = *new;
    }
}
