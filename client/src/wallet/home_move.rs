//! Moving to another homeserver. The old one need not answer; nobody's balance changes.

use std::time::Duration;

use super::agent::plan_delegation;
use super::create::check_root;
use super::signup::PluginRegistration;
use super::{Fault, HistoryItem, RootKey, Wallet, accounts, recover};
use crate::error::ClientError;
use crate::net::ServiceKey;
use crate::net::plugin::PluginAddress;
use crate::net::session::{self, HomeSession};
use crate::store::pairs::agent;
use crate::store::{outbox, pairs};

/// How long to look into the old inbox before leaving.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// A user who has moved.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Moved {
    /// From where, if there was a homeserver before.
    pub from: Option<ServiceKey>,
    /// To where.
    pub to: ServiceKey,
    /// Channel files that lie at the new homeserver now.
    pub files: u64,
    /// The plugins that take records from now on.
    pub plugins: Vec<PluginRegistration>,
    /// What could not be written yet; the next `sync` tries again.
    pub fault: Option<Fault>,
}

impl Wallet {
    /// Takes an account at another homeserver, writes everything there, and publishes `_pubky` anew. The books of this wallet go
    /// on as they are.
    ///
    /// # Errors
    /// [`ClientError::Net`] if the new homeserver or the DHT refuse or can't be reached, else what the store says.
    pub async fn move_home(
        &self,
        root: &RootKey,
        homeserver: &ServiceKey,
        token: Option<&str>,
        plugins: &[PluginAddress],
    ) -> Result<Moved, ClientError> {
        check_root(root, self.user())?;
        let from = self.homeserver().await?;
        self.empty_old_inbox().await?;
        session::sign_up(self.net(), root.keypair(), homeserver, token).await?;
        let session = HomeSession::sign_in(self.net(), root.keypair(), homeserver).await?;
        self.set_session(session).await?;
        self.seize_generation().await?;
        self.publish_identity(root, plugins).await?;
        self.tell_everybody().await?;
        let plugins = self.register(plugins).await?;
        let flushed = self.flush().await?;
        let files = pairs::list(&mut *self.store().read().await?)
            .await?
            .iter()
            .filter(|row| row.file_version >= row.version)
            .count() as u64;
        Ok(Moved {
            from,
            to: *homeserver,
            files,
            plugins,
            fault: flushed.fault,
        })
    }

    /// What still waits in the old inbox is taken along, if its plugin answers soon.
    async fn empty_old_inbox(&self) -> Result<(), ClientError> {
        match tokio::time::timeout(LAST_LOOK, self.read_inboxes()).await {
            Ok(Err(error @ (ClientError::StoreFull | ClientError::Store(_)))) => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts the new profile into everybody's inbox, so that running wallets need not find out by themselves.
    async fn tell_everybody(&self) -> Result<(), ClientError> {
        let mut change = self.change().await?;
        recover::plan_revocations(change.conn()).await?;
        accounts::plan_all(change.conn()).await?;
        if let Some(agent) = agent::get(change.conn()).await? {
            plan_delegation(change.conn(), &agent).await?;
        }
        let profile =
            crate::store::settings::need(change.conn(), crate::store::settings::PROFILE).await?;
        for row in pairs::list(change.conn()).await? {
            change
                .send(&row.user, std::slice::from_ref(&profile))
                .await?;
        }
        let now = change.now.millis();
        outbox::retry_now(change.conn(), now).await?;
        change
            .note(HistoryItem {
                kind: "moved".to_owned(),
                note: self.homeserver().await?.map(|home| home.to_z32()),
                ..HistoryItem::default()
            })
            .await?;
        change.signed();
        change.commit().await
    }
}
