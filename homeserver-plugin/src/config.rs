//! What the operator decides, from flags, environment and `config.toml`, in this order of precedence.

mod check;
pub mod follow;
mod load;
mod sections;

use serde::{Deserialize, Serialize};

use crate::admin::AdminConfig;
use crate::agent::config::AgentConfig;
use crate::announce::AnnounceConfig;
use crate::pages::config::PagesConfig;
use crate::router::config::RouterConfig;
use crate::witness_log::config::WitnessLogConfig;

pub use follow::{CosignerConfig, Follow, WatchtowerConfig};
pub use load::{Overrides, load};
pub use sections::{
    AccountsConfig, DatabaseConfig, HttpConfig, InboxConfig, LogConfig, LogFormat, NetworkConfig,
    PubkyConfig, SessionsConfig,
};

/// Everything the operator decides. Each section is optional in the file; what is missing has the default given in the section.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The plugin's own Postgres database.
    pub database: DatabaseConfig,
    /// The HTTP listener for browsers and proxies.
    pub http: HttpConfig,
    /// The Pubky TLS listener and what the plugin's packet says about it.
    pub pubky: PubkyConfig,
    /// Who may have an account.
    pub accounts: AccountsConfig,
    /// Sessions and the proofs that open them.
    pub sessions: SessionsConfig,
    /// How much an inbox holds.
    pub inbox: InboxConfig,
    /// How others are found and fetched from.
    pub network: NetworkConfig,
    /// The transparency log of preimages.
    pub witness_log: WitnessLogConfig,
    /// Cosigning other people's logs.
    pub cosigner: CosignerConfig,
    /// Watching logs for others.
    pub watchtower: WatchtowerConfig,
    /// Keeping books for users.
    pub agent: AgentConfig,
    /// Telling the world what is on offer.
    pub announce: AnnounceConfig,
    /// Finding routes for others.
    pub router: RouterConfig,
    /// Pages for people.
    pub pages: PagesConfig,
    /// The listener for operators.
    pub admin: AdminConfig,
    /// What is logged, and how.
    pub log: LogConfig,
}
