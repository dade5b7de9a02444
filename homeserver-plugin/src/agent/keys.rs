//! The agent's keys, sealed at rest: who has the database without the plugin's secret can sign and read nothing.

use atomicity_ledger::seal::{EncryptionSecret, KeyId, PrivateKey, open_private, seal_private};
use atomicity_ledger::{Keypair, PaymentHash, Preimage, UserKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::error::PluginError;
use crate::inbox::envelope::read_32;

/// What the seal is bound to beside the user.
const PLACE: &str = "/agent/keys";
/// Most encryption keys of one user.
pub const MAX_ENCRYPTION: usize = 4;

/// One of the user's file keys.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileKey {
    /// Its number.
    pub n: u32,
    /// 32 bytes in base64url.
    pub secret: Zeroizing<String>,
}

/// What is sealed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentKeys {
    /// The signing key, 32 bytes in base64url.
    pub signing: Zeroizing<String>,
    /// The key that answers to the agent are sealed to, 32 bytes in base64url.
    pub reply: Zeroizing<String>,
    /// The user's file keys, the current one first.
    pub encryption: Vec<FileKey>,
}

impl AgentKeys {
    /// Draws a signing key, and one for answers.
    #[must_use]
    pub fn draw(encryption: Vec<FileKey>) -> Self {
        Self {
            signing: draw_secret(),
            reply: draw_secret(),
            encryption,
        }
    }

    /// What answers to the agent are sealed to.
    ///
    /// # Errors
    /// [`PluginError::Internal`] if what was sealed is no key.
    pub fn reply(&self) -> Result<EncryptionSecret, PluginError> {
        let secret = Zeroizing::new(
            read_32("reply", &self.reply)
                .map_err(|_| PluginError::Internal("a sealed key is none".to_owned()))?,
        );
        Ok(EncryptionSecret::new(KeyId::REPLY, *secret))
    }

    /// The signing key.
    ///
    /// # Errors
    /// [`PluginError::Internal`] if what was sealed is no key.
    pub fn pen(&self) -> Result<Keypair, PluginError> {
        let secret = Zeroizing::new(
            read_32("signing", &self.signing)
                .map_err(|_| PluginError::Internal("a sealed key is none".to_owned()))?,
        );
        Ok(Keypair::from_secret(&secret))
    }

    /// The user's file keys, ready for use.
    ///
    /// # Errors
    /// `keys_malformed`.
    pub fn secrets(&self) -> Result<Vec<EncryptionSecret>, PluginError> {
        let malformed = |detail: &str| PluginError::BadRequest {
            code: "keys_malformed",
            detail: detail.to_owned(),
        };
        if self.encryption.is_empty() || self.encryption.len() > MAX_ENCRYPTION {
            return Err(malformed("encryption must be 1 to 4 file keys"));
        }
        let one = |key: &FileKey| {
            let secret = read_32("secret", &key.secret)
                .map_err(|_| malformed("a file key must be 32 bytes in base64url"))?;
            let secret = Zeroizing::new(secret);
            Ok(EncryptionSecret::new(KeyId::new(key.n), *secret))
        };
        self.encryption.iter().map(one).collect()
    }
}

fn draw_secret() -> Zeroizing<String> {
    use base64::Engine as _;
    let secret = Zeroizing::new(rand::random::<[u8; 32]>());
    Zeroizing::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(*secret))
}

/// The key that seals the keys of one user: made of the plugin's own secret, which lies in no database.
fn seal_key(plugin: &pubky::Keypair, owner: UserKey) -> PrivateKey {
    let key: [u8; 32] = Sha256::new()
        .chain_update(b"atomicity-plugin agent keys v0")
        .chain_update(Zeroizing::new(plugin.secret()).as_slice())
        .chain_update(owner.as_bytes())
        .finalize()
        .into();
    PrivateKey::from_stored(owner, key)
}

/// Seals the keys of one user.
///
/// # Errors
/// [`PluginError::Internal`].
pub fn seal(
    plugin: &pubky::Keypair,
    owner: UserKey,
    keys: &AgentKeys,
) -> Result<Vec<u8>, PluginError> {
    let internal = |error: &dyn std::fmt::Display| PluginError::Internal(error.to_string());
    let text = Zeroizing::new(serde_json::to_vec(keys).map_err(|e| internal(&e))?);
    seal_private(&seal_key(plugin, owner), PLACE, rand::random(), &text).map_err(|e| internal(&e))
}

/// Opens them again.
///
/// # Errors
/// [`PluginError::Internal`] if they were sealed under another plugin's secret, or altered.
pub fn open(
    plugin: &pubky::Keypair,
    owner: UserKey,
    sealed: &[u8],
) -> Result<AgentKeys, PluginError> {
    let text = open_private(&seal_key(plugin, owner), PLACE, sealed).map_err(|_| {
        PluginError::Internal(
            "an agent's keys do not open: they were sealed under another secret".to_owned(),
        )
    })?;
    serde_json::from_slice(&text)
        .map_err(|_| PluginError::Internal("an agent's keys can't be read".to_owned()))
}

/// Under which name the secret of an invoice is sealed.
fn secret_place(hash: &PaymentHash) -> String {
    format!("/agent/secrets/{hash}")
}

/// Seals the secret of an invoice.
///
/// # Errors
/// [`PluginError::Internal`].
pub fn seal_secret(
    plugin: &pubky::Keypair,
    owner: UserKey,
    hash: &PaymentHash,
    preimage: &Preimage,
) -> Result<Vec<u8>, PluginError> {
    let key = seal_key(plugin, owner);
    let place = secret_place(hash);
    seal_private(&key, &place, rand::random(), preimage.as_bytes())
        .map_err(|error| PluginError::Internal(error.to_string()))
}

/// Opens it again.
///
/// # Errors
/// [`PluginError::Internal`] if it was sealed under another plugin's secret, or is of another hash.
pub fn open_secret(
    plugin: &pubky::Keypair,
    owner: UserKey,
    hash: &PaymentHash,
    sealed: &[u8],
) -> Result<Preimage, PluginError> {
    let broken = || PluginError::Internal("the secret of an invoice does not open".to_owned());
    let opened = open_private(&seal_key(plugin, owner), &secret_place(hash), sealed);
    let opened = opened.map_err(|_| broken())?;
    let bytes: [u8; 32] = opened.as_slice().try_into().map_err(|_| broken())?;
    let preimage = Preimage::from_bytes(bytes);
    if preimage.hash() == *hash {
        Ok(preimage)
    } else {
        Err(broken())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_open_under_the_same_secret_for_the_same_user_only() {
        let (plugin, other) = (pubky::Keypair::random(), pubky::Keypair::random());
        let user = |n: u8| Keypair::from_secret(&[n; 32]).user_key();
        let keys = AgentKeys::draw(Vec::new());
        let sealed = seal(&plugin, user(1), &keys).unwrap();
        let same = open(&plugin, user(1), &sealed).unwrap();
        assert_eq!(
            same.pen().unwrap().signer_key(),
            keys.pen().unwrap().signer_key()
        );
        let reply = same.reply().unwrap();
        assert_eq!(reply.public(), keys.reply().unwrap().public());
        assert_eq!(reply.id(), KeyId::REPLY);
        assert_ne!(keys.reply, keys.signing);
        assert!(open(&other, user(1), &sealed).is_err());
        assert!(open(&plugin, user(2), &sealed).is_err());
        let text = String::from_utf8_lossy(&sealed).into_owned();
        assert!(!text.contains(keys.signing.as_str()));
        assert!(!text.contains(keys.reply.as_str()));
    }
}
