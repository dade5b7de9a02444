//! What only the root key can do. It is read from its file when needed and wiped afterwards.

use std::path::Path;
use std::time::Duration;

use atomicity_ledger::record::{
    Delegation, DelegationLimit, EncryptionKeyEntry, Inbox, Profile, Revocation, Scope,
};
use atomicity_ledger::seal::{EncryptionSecret, KeyId};
use atomicity_ledger::{
    Keypair, LedgerError, Name, Serial, Signed, SignerKey, Timestamp, Total, UserKey,
};
use pubky_common::StoragePath;
use pubky_common::encryption_keys::ScopedEncryptionKeyBundle;
use zeroize::Zeroizing;

use super::paths;
use crate::error::ClientError;
use crate::keys;
use crate::net::grant;
use crate::net::plugin::PluginAddress;
use crate::store::units::OpenUnit;

/// How long a delegation to a device lasts: two years, as Pubky grants do.
const DELEGATION_MS: u64 = 2 * 365 * 24 * 3600 * 1000;

/// A delegation begins a little in the past, so that a peer whose clock is behind takes it.
const CLOCK_SLACK_MS: u64 = 10 * 60 * 1000;

/// The root key, unlocked.
#[derive(Debug)]
pub struct RootKey(Keypair);

impl RootKey {
    /// Takes a root key that is already at hand.
    #[must_use]
    pub fn from_keypair(keypair: Keypair) -> Self {
        Self(keypair)
    }

    /// A new root key out of the system's randomness.
    #[must_use]
    pub fn random() -> Self {
        Self(Keypair::from_secret(&keys::random_root()))
    }

    /// Opens a recovery file.
    ///
    /// # Errors
    /// [`ClientError::KeyFile`] if it is no recovery file, or the passphrase is wrong.
    pub async fn open(path: &Path, passphrase: &str) -> Result<Self, ClientError> {
        let path = path.to_owned();
        let passphrase = Zeroizing::new(passphrase.to_owned());
        let opened = tokio::task::spawn_blocking(move || keys::read_root_file(&path, &passphrase));
        let keypair = opened.await.map_err(internal)??;
        Ok(Self(keypair))
    }

    /// Writes a recovery file; an existing file is never overwritten.
    ///
    /// # Errors
    /// [`ClientError::KeyFile`] if the file can't be written.
    pub async fn save(&self, path: &Path, passphrase: &str) -> Result<(), ClientError> {
        let path = path.to_owned();
        let root = self.0.clone();
        let passphrase = Zeroizing::new(passphrase.to_owned());
        let saved =
            tokio::task::spawn_blocking(move || keys::create_root_file(&path, &root, &passphrase));
        Ok(saved.await.map_err(internal)??)
    }

    /// Whose key it is.
    #[must_use]
    pub fn user(&self) -> UserKey {
        self.0.user_key()
    }

    pub(crate) fn keypair(&self) -> &Keypair {
        &self.0
    }

    /// The encryption file key `n`, from 1.
    pub(crate) fn encryption_key(&self, n: u32) -> Result<EncryptionSecret, ClientError> {
        let path = StoragePath::new(&paths::encryption_key(n)).map_err(internal)?;
        let secret = self.0.secret();
        let bundle =
            ScopedEncryptionKeyBundle::from_identity_secret(&secret, std::slice::from_ref(&path));
        let key = bundle.derive_for_path(&path).map_err(internal)?;
        Ok(EncryptionSecret::new(KeyId::new(n), *key))
    }

    /// Lets `device` keep books in the given units.
    pub(crate) fn delegate(
        &self,
        device: SignerKey,
        units: &[OpenUnit],
        serial: Serial,
        now: Timestamp,
    ) -> Result<Signed<Delegation>, LedgerError> {
        let begin = Timestamp::from_millis(now.millis().saturating_sub(CLOCK_SLACK_MS))?;
        let limits = units.iter().map(|open| DelegationLimit {
            unit: open.unit.clone(),
            per_peer: open.cap.unwrap_or(Total::MAX),
            per_day: None,
        });
        let delegation = Delegation {
            v: Default::default(),
            root: self.user(),
            key: device,
            scopes: vec![Scope::Book],
            peers: None,
            limits: limits.collect(),
            not_before: begin,
            not_after: now.plus_millis(DELEGATION_MS),
            serial,
        };
        Signed::sign(delegation, &self.0)
    }

    /// Lets `holder` write the user's channel files. That is no authority to sign.
    pub(crate) fn grant_files(
        &self,
        holder: &SignerKey,
        until: u64,
    ) -> Result<String, ClientError> {
        Ok(grant::Grant::for_files(&self.0, holder, until)?)
    }

    /// Lets a web app read what the user's plugin shows of their credit: signs a Pubky grant for the key that `app` made, and says until when
    /// it holds. The app can write and sign nothing with it. It is good only with the app's key, and can't be taken back before it ends.
    ///
    /// # Errors
    /// [`ClientError::Net`] if no grant can be made for the key.
    pub fn grant_reading(
        &self,
        app: &SignerKey,
        lasts: Duration,
    ) -> Result<(String, Timestamp), ClientError> {
        let lasts = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        let until = super::now().plus_millis(lasts);
        let grant = grant::Grant::for_reading(&self.0, app, until.millis())?;
        Ok((grant, until))
    }

    /// Ends the authority of `device`.
    pub(crate) fn revoke(
        &self,
        device: SignerKey,
        now: Timestamp,
    ) -> Result<Signed<Revocation>, LedgerError> {
        let revocation = Revocation {
            v: Default::default(),
            root: self.user(),
            key: device,
            grant: None,
            at: now,
        };
        Signed::sign(revocation, &self.0)
    }

    /// Signs the profile.
    pub(crate) fn profile(&self, plan: ProfilePlan<'_>) -> Result<Signed<Profile>, LedgerError> {
        let inboxes = plan.plugins.iter().map(|address| {
            Ok(Inbox {
                plugin: address.key,
                url: address
                    .url
                    .as_ref()
                    .map(|url| url.as_str().parse())
                    .transpose()?,
            })
        });
        let profile = Profile {
            v: Default::default(),
            user: self.user(),
            serial: plan.serial,
            name: plan.name,
            encryption: plan
                .encryption
                .iter()
                .map(|key| EncryptionKeyEntry {
                    n: key.id(),
                    key: key.public(),
                })
                .collect(),
            inboxes: inboxes.collect::<Result<_, LedgerError>>()?,
            units: plan.units.iter().map(|open| open.unit.clone()).collect(),
            logs_trusted: Vec::new(),
            logs_refused: Vec::new(),
            page: plan.page,
            at: plan.now,
        };
        Signed::sign(profile, &self.0)
    }
}

/// What goes into a profile.
pub(crate) struct ProfilePlan<'a> {
    pub(crate) serial: Serial,
    pub(crate) name: Option<Name>,
    /// Newest first.
    pub(crate) encryption: &'a [EncryptionSecret],
    pub(crate) plugins: &'a [PluginAddress],
    pub(crate) units: &'a [OpenUnit],
    /// Whether a page about the user may be shown.
    pub(crate) page: bool,
    pub(crate) now: Timestamp,
}

fn internal(error: impl std::fmt::Display) -> ClientError {
    ClientError::Internal(error.to_string())
}
