//! Envelopes: what goes through an inbox. The inbox sees the recipient, a tag or an ephemeral key, and a size class.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::aead::{self, NONCE, TAG};
use super::agreement::{Agreement, Tag};
use super::keys::{EncryptionKey, EncryptionSecret, KeyId};
use super::pad::{PARCEL_CLASSES, pad, unpad};
use super::parcel::Parcel;
use super::stranger;
use crate::error::LedgerError;
use crate::key::UserKey;

/// The most bytes that an envelope may have as JSON: 64 KiB.
pub const MAX_ENVELOPE_BYTES: usize = 64 * 1024;

const LABEL: &[u8] = b"atomicity/v0/inbox-envelope\0";
/// Bytes of the recipient's key number before the ciphertext of a stranger.
const KEY_ID: usize = 4;

/// By what the recipient finds the key of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// A known peer: the tag of the [`Agreement`] from them.
    Known(Tag),
    /// A stranger: the ephemeral X25519 key of this one envelope.
    Stranger([u8; 32]),
}

/// A sealed parcel, addressed. In JSON `{"to", "tag" | "ephemeral", "ciphertext"}` with exactly one of the two in the middle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "EnvelopeJson", into = "EnvelopeJson")]
pub struct Envelope {
    to: UserKey,
    route: Route,
    ciphertext: Vec<u8>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeJson {
    to: UserKey,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    tag: Option<Tag>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    ephemeral: Option<String>,
    ciphertext: String,
}

/// A member that is there has a value: `null` is no way to leave it out.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl TryFrom<EnvelopeJson> for Envelope {
    type Error = LedgerError;

    fn try_from(json: EnvelopeJson) -> Result<Self, LedgerError> {
        let route = match (json.tag, json.ephemeral) {
            (Some(tag), None) => Route::Known(tag),
            (None, Some(key)) => Route::Stranger(
                URL_SAFE_NO_PAD
                    .decode(key)
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
                    .ok_or_else(|| invalid(&"ephemeral must be 32 bytes in base64url"))?,
            ),
            _ => {
                return Err(invalid(&"it must have exactly one of tag and ephemeral"));
            }
        };
        if json.ciphertext.len() > MAX_ENVELOPE_BYTES {
            return Err(too_large(json.ciphertext.len()));
        }
        let ciphertext = URL_SAFE_NO_PAD
            .decode(json.ciphertext)
            .map_err(|_| invalid(&"ciphertext is not base64url without padding"))?;
        let clear = match route {
            Route::Known(_) => NONCE + TAG,
            Route::Stranger(_) => KEY_ID + TAG,
        };
        let class = ciphertext.len().checked_sub(clear);
        if !class.is_some_and(|class| PARCEL_CLASSES.contains(&class)) {
            return Err(invalid(
                &"the size of its ciphertext is none that a parcel can have",
            ));
        }
        Ok(Self {
            to: json.to,
            route,
            ciphertext,
        })
    }
}

impl From<Envelope> for EnvelopeJson {
    fn from(envelope: Envelope) -> Self {
        let (tag, ephemeral) = match envelope.route {
            Route::Known(tag) => (Some(tag), None),
            Route::Stranger(key) => (None, Some(URL_SAFE_NO_PAD.encode(key))),
        };
        Self {
            to: envelope.to,
            tag,
            ephemeral,
            ciphertext: URL_SAFE_NO_PAD.encode(envelope.ciphertext),
        }
    }
}

impl Envelope {
    /// For whom it is.
    #[must_use]
    pub fn to(&self) -> &UserKey {
        &self.to
    }

    /// From a known peer or from a stranger.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// The size of the sealed part, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.ciphertext.len()
    }

    /// Reads an envelope: bounded, without unknown, repeated or missing members.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] above 64 KiB, [`LedgerError::PayloadInvalid`] naming what is wrong.
    pub fn from_json(json: &[u8]) -> Result<Self, LedgerError> {
        if json.len() > MAX_ENVELOPE_BYTES {
            return Err(too_large(json.len()));
        }
        // A reader of structures would take a list of the values too.
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(invalid(&"it must be an object"));
        }
        serde_json::from_slice(json).map_err(|error| invalid(&error))
    }

    /// The envelope as JSON, always with the same bytes.
    ///
    /// # Errors
    /// None for an envelope that was read or sealed here.
    pub fn to_json(&self) -> Result<String, LedgerError> {
        serde_json::to_string(self).map_err(|error| invalid(&error))
    }
}

fn associated(to: &UserKey, tag: &Tag) -> Vec<u8> {
    [LABEL, to.as_bytes(), tag.as_bytes()].concat()
}

/// Seals a parcel to a known peer, under the tag that they registered. `nonce` must be 24 fresh random bytes.
///
/// # Errors
/// [`LedgerError::TooLarge`] if it does not fit into an envelope; [`LedgerError::SealBroken`] if the parcel's sender is not
/// `agreement.from()`.
pub fn seal_known(
    agreement: &Agreement,
    nonce: [u8; NONCE],
    parcel: &Parcel,
) -> Result<Envelope, LedgerError> {
    if parcel.from != *agreement.from() {
        return Err(LedgerError::SealBroken("the parcel has another sender"));
    }
    let padded = pad("parcel", &parcel_json(parcel)?, PARCEL_CLASSES)?;
    let tag = agreement.tag();
    let associated = associated(agreement.to(), &tag);
    let sealed = aead::seal(agreement.inbox_key(), &nonce, &associated, &padded)?;
    Ok(Envelope {
        to: *agreement.to(),
        route: Route::Known(tag),
        ciphertext: [nonce.as_slice(), &sealed].concat(),
    })
}

/// Opens an envelope of a known peer with the agreement from them whose tag it bears.
///
/// # Errors
/// [`LedgerError::SealBroken`] if it is for somebody else, bears another tag, was altered, or names another sender inside.
pub fn open_known(agreement: &Agreement, envelope: &Envelope) -> Result<Parcel, LedgerError> {
    let broken = LedgerError::SealBroken;
    if envelope.to != *agreement.to() {
        return Err(broken("it is for somebody else"));
    }
    if envelope.route != Route::Known(agreement.tag()) {
        return Err(broken("it bears another tag"));
    }
    let (nonce, sealed) = envelope
        .ciphertext
        .split_first_chunk::<NONCE>()
        .ok_or(broken("it is too short"))?;
    let associated = associated(agreement.to(), &agreement.tag());
    let padded = aead::open(agreement.inbox_key(), nonce, &associated, sealed)?;
    let parcel = Parcel::from_json(&Zeroizing::new(unpad(&padded, PARCEL_CLASSES)?))?;
    if parcel.from == *agreement.from() {
        Ok(parcel)
    } else {
        Err(broken("the parcel names another sender than its tag"))
    }
}

/// Seals a parcel to somebody who has no tag for the sender yet. `entropy` must be 32 fresh random bytes.
///
/// # Errors
/// [`LedgerError::TooLarge`] if it does not fit into an envelope.
pub fn seal_stranger(
    to: &UserKey,
    key: &EncryptionKey,
    key_id: KeyId,
    entropy: [u8; 32],
    parcel: &Parcel,
) -> Result<Envelope, LedgerError> {
    let padded = pad("parcel", &parcel_json(parcel)?, PARCEL_CLASSES)?;
    let (ephemeral, sealed) = stranger::seal(to, key, key_id, Zeroizing::new(entropy), &padded)?;
    Ok(Envelope {
        to: *to,
        route: Route::Stranger(ephemeral),
        ciphertext: [key_id.get().to_be_bytes().as_slice(), &sealed].concat(),
    })
}

/// Opens an envelope of a stranger with whichever of `secrets` it names. The sender inside is a claim: only the records prove it.
///
/// # Errors
/// [`LedgerError::SealBroken`] if it is for somebody else, is from a known peer, names a key that is not among `secrets`, or was
/// altered.
pub fn open_stranger(
    me: &UserKey,
    secrets: &[EncryptionSecret],
    envelope: &Envelope,
) -> Result<Parcel, LedgerError> {
    let broken = LedgerError::SealBroken;
    if envelope.to != *me {
        return Err(broken("it is for somebody else"));
    }
    let Route::Stranger(ephemeral) = &envelope.route else {
        return Err(broken("it bears a tag, so it is not from a stranger"));
    };
    let (key_id, sealed) = envelope
        .ciphertext
        .split_first_chunk::<KEY_ID>()
        .ok_or(broken("it is too short"))?;
    let key_id = KeyId::new(u32::from_be_bytes(*key_id));
    let secret = secrets
        .iter()
        .find(|secret| secret.id() == key_id)
        .ok_or(broken("it names an encryption key that is not at hand"))?;
    let padded = stranger::open(me, secret, ephemeral, sealed)?;
    Parcel::from_json(&Zeroizing::new(unpad(&padded, PARCEL_CLASSES)?))
}

fn parcel_json(parcel: &Parcel) -> Result<Zeroizing<Vec<u8>>, LedgerError> {
    parcel.to_json().map(Zeroizing::new)
}

fn too_large(bytes: usize) -> LedgerError {
    LedgerError::TooLarge {
        what: "envelope",
        bytes,
        max: MAX_ENVELOPE_BYTES,
    }
}

fn invalid(why: &impl std::fmt::Display) -> LedgerError {
    LedgerError::PayloadInvalid {
        typ: "envelope".to_owned(),
        detail: why.to_string(),
    }
}
