//! The seal of a channel file: `header ‖ XChaCha20-Poly1305(padded content)`.

use super::aead::{self, NONCE, TAG};
use super::agreement::{Agreement, Blind};
use super::keys::KeyId;
use super::pad::{CHANNEL_CLASSES, pad, unpad};
use crate::error::LedgerError;
use crate::key::UserKey;

/// Where channel files lie on a homeserver.
pub const CHANNELS_DIR: &str = "/pub/atomicity/v0/channels/";
/// The most bytes that a sealed channel file may have: the largest class, the header and the authentication tag.
pub const MAX_CHANNEL_FILE_BYTES: usize = 1024 * 1024 + HEADER + TAG;

/// "Atomicity channel", version 1.
const MAGIC: [u8; 4] = *b"AtC\x01";
const HEADER: usize = 4 + 4 + 4 + NONCE;

/// The part of a channel file that is not sealed, though authenticated: which keys it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelHeader {
    /// The number of the writer's encryption key.
    pub from_key: KeyId,
    /// The number of the reader's encryption key.
    pub to_key: KeyId,
}

/// The path of a channel file on its writer's homeserver.
#[must_use]
pub fn channel_path(blind: Blind) -> String {
    format!("{CHANNELS_DIR}{blind}")
}

/// What the seal is bound to besides its key: the header, and the writer's address of the file.
fn associated(header: &[u8], from: &UserKey, blind: Blind) -> Vec<u8> {
    let mut data = header.to_vec();
    data.extend_from_slice(format!("pubky://{from}{}", channel_path(blind)).as_bytes());
    data
}

/// Seals a channel file of `agreement.from()`. `nonce` must be 24 fresh random bytes.
///
/// # Errors
/// [`LedgerError::TooLarge`] above 1 MiB − 4 bytes.
pub fn seal_channel_file(
    agreement: &Agreement,
    nonce: [u8; NONCE],
    content: &[u8],
) -> Result<Vec<u8>, LedgerError> {
    let padded = pad("channel file", content, CHANNEL_CLASSES)?;
    let mut file = Vec::with_capacity(HEADER + padded.len() + TAG);
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&agreement.from_key().get().to_be_bytes());
    file.extend_from_slice(&agreement.to_key().get().to_be_bytes());
    file.extend_from_slice(&nonce);
    let associated = associated(&file, agreement.from(), agreement.blind());
    let sealed = aead::seal(agreement.channel_key(), &nonce, &associated, &padded)?;
    file.extend_from_slice(&sealed);
    Ok(file)
}

struct Parts<'a> {
    header: ChannelHeader,
    header_bytes: &'a [u8],
    nonce: [u8; NONCE],
    sealed: &'a [u8],
}

fn split(file: &[u8]) -> Result<Parts<'_>, LedgerError> {
    let broken = LedgerError::SealBroken;
    if file.len() > MAX_CHANNEL_FILE_BYTES {
        return Err(LedgerError::TooLarge {
            what: "channel file",
            bytes: file.len(),
            max: MAX_CHANNEL_FILE_BYTES,
        });
    }
    let (header_bytes, sealed) = file
        .split_at_checked(HEADER)
        .ok_or(broken("it is too short for a channel file"))?;
    let rest = header_bytes
        .strip_prefix(&MAGIC)
        .ok_or(broken("it is no channel file of a known version"))?;
    let (from_key, rest) = rest
        .split_first_chunk::<4>()
        .ok_or(broken("its header is too short"))?;
    let (to_key, rest) = rest
        .split_first_chunk::<4>()
        .ok_or(broken("its header is too short"))?;
    let nonce = rest
        .try_into()
        .map_err(|_| broken("its header is too short"))?;
    let class = sealed.len().checked_sub(TAG);
    if !class.is_some_and(|class| CHANNEL_CLASSES.contains(&class)) {
        return Err(broken("its size is none that a channel file can have"));
    }
    Ok(Parts {
        header: ChannelHeader {
            from_key: KeyId::new(u32::from_be_bytes(*from_key)),
            to_key: KeyId::new(u32::from_be_bytes(*to_key)),
        },
        header_bytes,
        nonce,
        sealed,
    })
}

/// Reads which keys a channel file needs, without opening it. Nothing of it is proven yet.
///
/// # Errors
/// [`LedgerError::TooLarge`] or [`LedgerError::SealBroken`] if it can't be a channel file.
pub fn peek_channel_file(file: &[u8]) -> Result<ChannelHeader, LedgerError> {
    split(file).map(|parts| parts.header)
}

/// Opens a channel file with the agreement of the keys that its header names.
///
/// # Errors
/// [`LedgerError::SealBroken`] if the agreement is of other key numbers, another direction or other users, or if any byte of the
/// file was altered or it lay at another path; [`LedgerError::TooLarge`].
pub fn open_channel_file(agreement: &Agreement, file: &[u8]) -> Result<Vec<u8>, LedgerError> {
    let parts = split(file)?;
    if parts.header.from_key != agreement.from_key() || parts.header.to_key != agreement.to_key() {
        return Err(LedgerError::SealBroken(
            "it names other encryption keys than these",
        ));
    }
    let associated = associated(parts.header_bytes, agreement.from(), agreement.blind());
    let padded = aead::open(
        agreement.channel_key(),
        &parts.nonce,
        &associated,
        parts.sealed,
    )?;
    unpad(&padded, CHANNEL_CLASSES)
}
