//! Keys with names: what signs notes and what verifies them.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::codec::{b64_decode, b64_encode};
use crate::error::LogError;
use crate::note::{MAX_NAME_BYTES, NoteSignature, check_text};
use crate::signature::{PublicKey, SecretKey};

/// The type of a signature, as its identifier byte says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// 0x01: Ed25519 over the text of the note.
    Ed25519,
    /// 0x04: a timestamped cosignature of a checkpoint (`cosignature/v1`).
    Cosignature,
}

impl KeyKind {
    fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Ed25519, Self::Cosignature]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

/// Key names hold no spaces, no plus sign and no control characters.
pub(crate) fn check_name(name: &str) -> Result<(), LogError> {
    let bad = |c: char| c == '+' || c.is_whitespace() || c < ' ';
    if name.is_empty() || name.contains(bad) {
        return Err(LogError::KeyInvalid(
            "a name is not empty and holds no space, plus or control character",
        ));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(LogError::TooLarge {
            what: "the name of a key",
            limit: MAX_NAME_BYTES,
        });
    }
    Ok(())
}

/// A public key with its name and signature type: `<name>+<key id in hex>+<base64 of type and key>` (a *vkey*).
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: KeyKind,
    key: PublicKey,
}

impl VerifierKey {
    /// Puts a key together.
    ///
    /// # Errors
    /// [`LogError::KeyInvalid`] if the name is not allowed or the bytes are no usable Ed25519 key.
    pub fn new(name: &str, kind: KeyKind, public: &[u8; 32]) -> Result<Self, LogError> {
        check_name(name)?;
        let key = PublicKey::from_bytes(public)?;
        Ok(Self {
            name: name.to_owned(),
            kind,
            key,
        })
    }

    /// The name; for a log, its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The signature type.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The 32 bytes of the Ed25519 key.
    #[must_use]
    pub fn public(&self) -> &[u8; 32] {
        self.key.bytes()
    }

    /// The key id: the first four bytes of SHA-256 of name, newline, type and key.
    #[must_use]
    pub fn id(&self) -> u32 {
        let mut hasher = Sha256::new();
        hasher.update(self.name.as_bytes());
        hasher.update([b'\n', self.kind.byte()]);
        hasher.update(self.key.bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
    }

    /// The same name and key for another signature type: the key of a cosigner's tombstones from that of its cosignatures.
    #[must_use]
    pub fn with_kind(&self, kind: KeyKind) -> Self {
        Self {
            kind,
            ..self.clone()
        }
    }

    /// Whether this line claims to be by this key.
    pub(crate) fn claims(&self, signature: &NoteSignature) -> bool {
        signature.name() == self.name && signature.key_id() == Some(self.id())
    }

    /// Checks one signature over a text; the outer option is none if it fails, the inner one holds the time of a cosignature.
    pub(crate) fn check(&self, text: &str, signature: &NoteSignature) -> Option<Option<u64>> {
        let bytes = signature.signature();
        match self.kind {
            KeyKind::Ed25519 => self.key.verify(text.as_bytes(), bytes).then_some(None),
            KeyKind::Cosignature => {
                let (time, bytes) = bytes.split_first_chunk()?;
                let time_s = u64::from_be_bytes(*time);
                let valid = time_s <= i64::MAX as u64
                    && self
                        .key
                        .verify(cosigned_message(text, time_s).as_bytes(), bytes);
                valid.then_some(Some(time_s))
            }
        }
    }
}

/// What a cosignature signs: header and time lines before the text.
fn cosigned_message(text: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut material = vec![self.kind.byte()];
        material.extend_from_slice(self.key.bytes());
        write!(
            f,
            "{}+{:08x}+{}",
            self.name,
            self.id(),
            b64_encode(&material)
        )
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl FromStr for VerifierKey {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        if text.len() > MAX_NAME_BYTES + 128 {
            return Err(LogError::TooLarge {
                what: "a verifier key",
                limit: MAX_NAME_BYTES + 128,
            });
        }
        // The name and the id hold no plus; base64 may.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(material)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(LogError::KeyInvalid(
                "a verifier key is written <name>+<id>+<key>",
            ));
        };
        let material =
            b64_decode(material).ok_or(LogError::KeyInvalid("its last part is no base64"))?;
        let (kind, public) = material
            .split_first()
            .ok_or(LogError::KeyInvalid("it has no signature type"))?;
        let kind = KeyKind::from_byte(*kind)
            .ok_or(LogError::KeyInvalid("its signature type is not supported"))?;
        let public = public
            .try_into()
            .map_err(|_| LogError::KeyInvalid("an Ed25519 key has 32 bytes"))?;
        let key = Self::new(name, kind, public)?;
        if id != format!("{:08x}", key.id()) {
            return Err(LogError::KeyInvalid(
                "its id is not that of its name and key",
            ));
        }
        Ok(key)
    }
}

/// A secret key with its name and signature type. Wiped when dropped; never printed.
#[derive(Clone)]
pub struct SigningKey {
    name: String,
    kind: KeyKind,
    secret: SecretKey,
}

impl SigningKey {
    /// Makes a key from its 32-byte Ed25519 secret (the seed of RFC 8032).
    ///
    /// # Errors
    /// [`LogError::KeyInvalid`] if the name is not allowed.
    pub fn from_secret(name: &str, kind: KeyKind, secret: [u8; 32]) -> Result<Self, LogError> {
        check_name(name)?;
        let secret = Zeroizing::new(secret);
        Ok(Self {
            name: name.to_owned(),
            kind,
            secret: SecretKey::from_bytes(&secret),
        })
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> VerifierKey {
        VerifierKey {
            name: self.name.clone(),
            kind: self.kind,
            key: self.secret.public(),
        }
    }

    /// The signature type.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The same name and secret for another signature type.
    #[must_use]
    pub fn with_kind(&self, kind: KeyKind) -> Self {
        Self {
            kind,
            ..self.clone()
        }
    }

    fn line(&self, signature: &[u8]) -> NoteSignature {
        let mut bytes = self.verifier().id().to_be_bytes().to_vec();
        bytes.extend_from_slice(signature);
        NoteSignature::new(&self.name, bytes)
    }

    /// Signs the text of a note.
    ///
    /// # Errors
    /// [`LogError::KeyKindWrong`] unless the key is of kind [`KeyKind::Ed25519`]; [`LogError::NoteMalformed`] if this is no text of a note.
    pub fn sign(&self, text: &str) -> Result<NoteSignature, LogError> {
        if self.kind != KeyKind::Ed25519 {
            return Err(LogError::KeyKindWrong);
        }
        check_text(text)?;
        Ok(self.line(&self.secret.sign(text.as_bytes())))
    }

    /// Cosigns the text of a checkpoint at this time, in unix seconds. Whether to is the caller's affair.
    pub(crate) fn sign_at(&self, text: &str, time_s: u64) -> Result<NoteSignature, LogError> {
        if self.kind != KeyKind::Cosignature {
            return Err(LogError::KeyKindWrong);
        }
        if time_s == 0 || time_s > i64::MAX as u64 {
            return Err(LogError::OutOfRange);
        }
        let mut signature = time_s.to_be_bytes().to_vec();
        signature.extend_from_slice(&self.secret.sign(cosigned_message(text, time_s).as_bytes()));
        Ok(self.line(&signature))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, secret)", self.name)
    }
}
