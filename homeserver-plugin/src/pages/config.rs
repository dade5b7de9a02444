//! What the operator decides about pages.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::PluginError;

/// Pages for people.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PagesConfig {
    /// Whether the HTTP listener serves pages. They bear what users write, under the operator's name: so not unless wanted.
    pub enabled: bool,
    /// Whether there are pages about users without an account here too. Who they are and what they write is nobody's choice here.
    pub strangers: bool,
    /// The relay through which users log in to the wallet page with an authenticator, such as `https://relay.example/inbox/`. Without it there
    /// is no wallet page.
    pub relay: Option<Url>,
    /// Whether users may log in to the wallet page with a recovery file. In a test network only: the file holds all that a user is.
    pub recovery_login: bool,
}

impl PagesConfig {
    /// Whether there is a wallet page: if there is a way to log in.
    #[must_use]
    pub fn wallet(&self) -> bool {
        self.relay.is_some() || self.recovery_login
    }

    /// Checks what the types can't say.
    ///
    /// # Errors
    /// [`PluginError::Config`] naming the setting.
    pub fn check(&self, testnet: bool) -> Result<(), PluginError> {
        let refuse = |text: &str| Err(PluginError::Config(text.to_owned()));
        if self.recovery_login && !testnet {
            return refuse(
                "pages.recovery_login is for test networks (network.testnet): a recovery file must be given to no page",
            );
        }
        if let Some(relay) = &self.relay {
            let https = relay.scheme() == "https" || (testnet && relay.scheme() == "http");
            if !https || relay.cannot_be_a_base() {
                return refuse("pages.relay must be an https URL");
            }
            if relay.query().is_some() || relay.fragment().is_some() {
                return refuse("pages.relay must end with its path");
            }
        }
        Ok(())
    }
}
