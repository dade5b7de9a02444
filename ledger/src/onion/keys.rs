//! The keys of one hop, from one agreement of X25519 between the payer's ephemeral key and the hop's encryption key.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit as _, StreamCipher as _};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::MAX_HOPS;
use crate::digest::PaymentHash;
use crate::error::LedgerError;
use crate::key::UserKey;
use crate::seal::{EncryptionKey, EncryptionSecret, KeyId};

const SALT: &[u8] = b"atomicity/v0";

/// 32 bytes that nobody else may know. Wiped when dropped.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// Whom a layer is sealed to: a user, and the encryption key that they use now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopKey {
    /// The user.
    pub user: UserKey,
    /// Their encryption key: the profile's current one, or the X25519 form of their root key.
    pub key: EncryptionKey,
    /// Its number.
    pub id: KeyId,
}

/// What a hop shares with the payer of one payment: for sealing an answer, or putting a layer over somebody else's. Opening the
/// same layers again gives the same. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct HopSecret(pub(super) Key);

/// What the payer needs to read answers: one secret for each hop. It is stored with the payment; it gives nobody any money.
/// Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReplyKeys(pub(super) Vec<HopSecret>);

/// The keys of one layer.
pub(super) struct LayerKeys {
    pub(super) seal: Key,
    pub(super) stream: Key,
    pub(super) back: HopSecret,
}

/// Derives 32 bytes for one use.
pub(super) fn derive(secret: &[u8], label: &str, context: &[&[u8]]) -> Result<Key, LedgerError> {
    let mut info: Vec<&[u8]> = vec![label.as_bytes(), &[0]];
    info.extend(context);
    let mut out = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(SALT), secret)
        .expand_multi_info(&info, out.as_mut_slice())
        .map(|()| out)
        .map_err(|_| LedgerError::KeyInvalid("no key can be derived from it"))
}

/// Puts the key's stream over the bytes, or takes it off again. A key serves one text only, so its nonce is fixed.
pub(super) fn stream_over(key: &Key, bytes: &mut [u8]) -> Result<(), LedgerError> {
    ChaCha20::new(&(**key).into(), &[0; 12].into())
        .try_apply_keystream(bytes)
        .map_err(|_| LedgerError::LayersInvalid("they are longer than a stream"))
}

impl LayerKeys {
    /// As the payer derives them.
    pub(super) fn of_payer(
        ephemeral: &EncryptionSecret,
        hop: &HopKey,
        hash: &PaymentHash,
    ) -> Result<Self, LedgerError> {
        let shared = ephemeral.agree(&hop.key);
        Self::derive(&shared, &ephemeral.public(), hop, hash)
    }

    /// As the hop derives them.
    pub(super) fn of_hop(
        ephemeral: &EncryptionKey,
        me: &UserKey,
        secret: &EncryptionSecret,
        hash: &PaymentHash,
    ) -> Result<Self, LedgerError> {
        let shared = secret.agree(ephemeral);
        let hop = HopKey {
            user: *me,
            key: secret.public(),
            id: secret.id(),
        };
        Self::derive(&shared, ephemeral, &hop, hash)
    }

    /// Everything that both ends know goes into every key: another hop, key number, ephemeral key or payment has other keys.
    fn derive(
        shared: &Key,
        ephemeral: &EncryptionKey,
        hop: &HopKey,
        hash: &PaymentHash,
    ) -> Result<Self, LedgerError> {
        let id = hop.id.get().to_be_bytes();
        let context: [&[u8]; 5] = [
            hop.user.as_bytes(),
            &id,
            hop.key.as_bytes(),
            ephemeral.as_bytes(),
            hash.as_bytes(),
        ];
        let derive = |label| derive(shared.as_slice(), label, &context);
        Ok(Self {
            seal: derive("atomicity/v0/layer-seal")?,
            stream: derive("atomicity/v0/layer-stream")?,
            back: HopSecret(derive("atomicity/v0/layer-back")?),
        })
    }
}

impl ReplyKeys {
    /// How many hops there are.
    #[must_use]
    pub fn hops(&self) -> usize {
        self.0.len()
    }
}

impl From<ReplyKeys> for String {
    fn from(keys: ReplyKeys) -> Self {
        let bytes: Zeroizing<Vec<u8>> =
            Zeroizing::new(keys.0.iter().flat_map(|secret| *secret.0).collect());
        URL_SAFE_NO_PAD.encode(bytes.as_slice())
    }
}

impl TryFrom<String> for ReplyKeys {
    type Error = LedgerError;

    fn try_from(text: String) -> Result<Self, LedgerError> {
        let text = Zeroizing::new(text);
        let invalid = LedgerError::TextInvalid {
            what: "keys of answers",
            why: "they must be 1 to 10 times 32 bytes in base64url",
        };
        let bytes = URL_SAFE_NO_PAD.decode(text.as_str());
        let bytes = Zeroizing::new(bytes.map_err(|_| invalid.clone())?);
        let (secrets, rest) = bytes.as_chunks::<32>();
        if secrets.is_empty() || secrets.len() > MAX_HOPS || !rest.is_empty() {
            return Err(invalid);
        }
        let secrets = secrets.iter().map(|s| HopSecret(Zeroizing::new(*s)));
        Ok(Self(secrets.collect()))
    }
}

impl fmt::Debug for HopSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HopSecret(redacted)")
    }
}

impl fmt::Debug for ReplyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyKeys({} hops, redacted)", self.hops())
    }
}
