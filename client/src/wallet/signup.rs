//! Taking an account: at a homeserver, and at the plugin beside it.

use atomicity_ledger::authority::delegation_path;
use atomicity_ledger::{Signed, record};
use url::Url;

use super::access::{self, Keys};
use super::create::check_root;
use super::{Fault, RootKey, Wallet, now, profile};
use crate::error::ClientError;
use crate::net::ServiceKey;
use crate::net::plugin::{self, PluginAddress, PluginClient};
use crate::net::session::{self, HomeSession, SignUp};
use crate::store::{pairs, publications, settings};

/// What became of the registration at one plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginOutcome {
    /// The account is new.
    New,
    /// There was one already.
    Existing,
    /// It failed; trying again may help.
    Failed(Fault),
}

/// One plugin and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginRegistration {
    /// Which plugin.
    pub address: PluginAddress,
    /// What became of it.
    pub outcome: PluginOutcome,
}

/// A user who has signed up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SignedUp {
    /// Where.
    pub homeserver: ServiceKey,
    /// Whether the account is new.
    pub new_account: bool,
    /// The plugins that take records.
    pub plugins: Vec<PluginRegistration>,
    /// What could not be written yet; the next `sync` tries again.
    pub fault: Option<Fault>,
}

impl Wallet {
    /// Takes an account at `homeserver` (or signs in, if there is one), publishes `_pubky`, profile and delegation, and registers
    /// at the plugins. Called again, it repairs what is missing.
    ///
    /// # Errors
    /// [`ClientError::Net`] if the homeserver or the DHT refuse or can't be reached, [`ClientError::BookKeyInUse`] if another
    /// wallet of the same root keeps the books: recover instead.
    pub async fn sign_up(
        &self,
        root: &RootKey,
        homeserver: &ServiceKey,
        token: Option<&str>,
        plugins: &[PluginAddress],
    ) -> Result<SignedUp, ClientError> {
        check_root(root, self.user())?;
        let account = session::sign_up(self.net(), root.keypair(), homeserver, token).await?;
        let session = HomeSession::sign_in(self.net(), root.keypair(), homeserver).await?;
        self.set_session(session).await?;
        self.ensure_may_sign().await?;
        let plugins = self.with_known_plugins(plugins).await?;
        self.publish_identity(root, &plugins).await?;
        let registrations = self.register(&plugins).await?;
        let flushed = self.flush().await?;
        Ok(SignedUp {
            homeserver: *homeserver,
            new_account: account == SignUp::New,
            plugins: registrations,
            fault: flushed.fault,
        })
    }

    /// The plugins asked for, or those known already if none is asked for.
    async fn with_known_plugins(
        &self,
        asked: &[PluginAddress],
    ) -> Result<Vec<PluginAddress>, ClientError> {
        if asked.is_empty() {
            access::plugins(&mut *self.store().read().await?).await
        } else {
            Ok(asked.to_vec())
        }
    }

    /// Writes profile and delegation anew; everything else is written again too.
    pub(crate) async fn publish_identity(
        &self,
        root: &RootKey,
        plugins: &[PluginAddress],
    ) -> Result<(), ClientError> {
        let mut change = self.change().await?;
        let now = now().millis();
        access::set_plugins(change.conn(), plugins).await?;
        let delegation = settings::need(change.conn(), settings::DELEGATION).await?;
        let signed: Signed<record::Delegation> = Signed::decode(&delegation)?;
        let path = delegation_path(&signed.record().key);
        publications::put(change.conn(), &path, Some(delegation.as_bytes()), now).await?;
        profile::renew(change.conn(), root, self.user()).await?;
        for stale in [
            settings::TAGS_STALE,
            settings::ENDPOINTS_STALE,
            settings::CONTACTS_STALE,
        ] {
            settings::set(change.conn(), stale, "1").await?;
        }
        pairs::republish_all(change.conn()).await?;
        change.signed();
        change.commit().await
    }

    /// Registers at each plugin; one that fails keeps no other from being tried.
    pub(crate) async fn register(
        &self,
        plugins: &[PluginAddress],
    ) -> Result<Vec<PluginRegistration>, ClientError> {
        let session = self.session().await?;
        let mut done = Vec::new();
        for address in plugins {
            self.net().trust(&address.key);
            let client = PluginClient::with_session(self.net(), address.clone(), &session);
            let outcome = match client.register().await {
                Ok(registration) if registration.new => PluginOutcome::New,
                Ok(_) => PluginOutcome::Existing,
                Err(error) => PluginOutcome::Failed(Fault::from(&ClientError::Net(error))),
            };
            done.push(PluginRegistration {
                address: address.clone(),
                outcome,
            });
        }
        Ok(done)
    }

    /// Reads the address of a plugin as people write it: its key, `KEY@URL`, or its URL, which is then asked for its key.
    ///
    /// # Errors
    /// [`ClientError::Usage`] if it is none of these, [`ClientError::Net`] if the URL does not answer.
    pub async fn plugin_address(&self, text: &str) -> Result<PluginAddress, ClientError> {
        if text.starts_with("http://") || text.starts_with("https://") {
            let url: Url = text
                .parse()
                .map_err(|e| ClientError::Usage(format!("{text:?} is no URL: {e}")))?;
            return Ok(plugin::discover(self.net(), &url).await?);
        }
        text.parse().map_err(|_| {
            ClientError::Usage(format!(
                "{text:?} names no plugin: give its key, its URL, or KEY@URL"
            ))
        })
    }

    /// The book key of this device.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn book_key(&self) -> Result<atomicity_ledger::SignerKey, ClientError> {
        let keys = Keys::load(&mut *self.store().read().await?, self.user()).await?;
        Ok(keys.pen.signer_key())
    }
}
