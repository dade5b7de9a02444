//! Everything that touches the network.
//!
//! [`Net`] is made once per process. It finds users' homeservers through Pkarr, dials homeservers and plugins by their keys, and
//! remembers who can't be reached. Nothing it reads is trusted: answers are bounded, addresses are checked, and what a record is worth
//! is for the ledger to judge.

mod backoff;
mod call;
mod dial;
mod discover;
mod error;
mod events;
mod fetch;
pub(crate) mod grant;
mod homes;
pub(crate) mod log;
mod lookup;
mod paykit;
pub mod plugin;
mod policy;
mod roles;
pub(crate) mod router;
mod servers;
pub mod session;
mod sse;
mod storage;
mod tls;
pub mod watch;

use std::sync::Arc;

use atomicity_ledger::{Keypair, UserKey};
use pubky::{Pubky, PubkyHttpClient};

use crate::config::NetworkConfig;

pub(crate) use call::{Answer, Call};
pub(crate) use discover::roles_of;
pub use discover::{Discovered, Dropped, Found};
pub use error::NetError;
pub use fetch::{Body, FetchStream, Fetched, Target};
pub use homes::{Freshness, Home};
pub use roles::Role;

/// The Pkarr key of a homeserver or a plugin.
pub type ServiceKey = UserKey;

/// The network as this process sees it. Cheap to clone; all clones share one DHT node, one set of connections and one memory of who
/// can't be reached.
#[derive(Clone)]
pub struct Net {
    shared: Arc<Shared>,
}

struct Shared {
    config: NetworkConfig,
    sdk: Pubky,
    lookup: lookup::Lookup,
    homes: homes::Homes,
    servers: servers::Servers,
    /// The node that looks for services, once one was looked for.
    node: discover::Node,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").finish_non_exhaustive()
    }
}

impl Net {
    /// Starts a DHT node and builds the HTTP clients. Talks to nobody yet. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`NetError::Setup`] if the configuration can't be used (a relay that is no URL, no network at all).
    pub fn new(config: &NetworkConfig) -> Result<Self, NetError> {
        let sdk = Pubky::with_client(sdk_client(config)?);
        let pkarr = sdk.client().pkarr().clone();
        let policy = Arc::new(policy::AddressPolicy::new(config.testnet));
        let dialer = dial::Dialer::new(policy, config.connect_timeout, config.per_server)?;
        Ok(Self {
            shared: Arc::new(Shared {
                sdk,
                lookup: lookup::Lookup::new(pkarr, config),
                homes: homes::Homes::new(),
                servers: servers::Servers::new(dialer, config),
                node: discover::Node::default(),
                config: config.clone(),
            }),
        })
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> &NetworkConfig {
        &self.shared.config
    }

    /// Says that the user chose this server himself: it may live on a private address.
    pub fn trust(&self, server: &ServiceKey) {
        self.shared.servers.dialer.policy.trust(server);
    }

    pub(crate) fn trust_host(&self, host: &str) {
        self.shared.servers.dialer.policy.trust_host(host);
    }

    /// The SDK, for what needs its types.
    pub(crate) fn sdk(&self) -> &Pubky {
        &self.shared.sdk
    }

    /// Publishes the root key's `_pubky` record: from now on the world looks for this user at `homeserver`.
    /// Other records of the user's packet are kept.
    ///
    /// # Errors
    /// [`NetError::Dht`] if nobody on the DHT took it.
    pub async fn publish_home(
        &self,
        root: &Keypair,
        homeserver: &ServiceKey,
    ) -> Result<(), NetError> {
        let user = root.user_key();
        let home = pubky_key(homeserver)?;
        let pkdns = self.sdk().signer(pubky_keypair(root)).pkdns();
        let publishing = pkdns.publish_homeserver_force(Some(&home));
        // Publishing looks the packet up first, then stores it, and tries three times.
        let patience = self.config().resolve_timeout.saturating_mul(6);
        let failed = |reason: String| NetError::Dht {
            about: user.to_z32(),
            reason: shorten(&reason, 200),
        };
        match tokio::time::timeout(patience, publishing).await {
            Ok(Ok(())) => {
                self.shared.homes.learn(&user, *homeserver);
                Ok(())
            }
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("no answer in time".to_owned())),
        }
    }
}

fn sdk_client(config: &NetworkConfig) -> Result<PubkyHttpClient, NetError> {
    let setup = |error: &dyn std::fmt::Display| NetError::Setup(error.to_string());
    let mut builder = PubkyHttpClient::builder();
    let mut relay_error = None;
    builder
        .request_timeout(config.request_timeout)
        .read_timeout(config.request_timeout)
        .max_error_body_bytes(512)
        .pkarr(|pkarr| {
            if config.testnet {
                pkarr
                    .no_default_network()
                    .dht_report_policy(pkarr::dht::ReportPolicy::testnet())
                    .dht(|dht| {
                        dht.bind_address = Some(std::net::Ipv4Addr::LOCALHOST);
                        dht
                    });
            }
            if !config.dht_bootstrap.is_empty() {
                pkarr.bootstrap(&config.dht_bootstrap);
            }
            match config.relays.as_deref() {
                None => {}
                Some([]) => {
                    pkarr.no_relays();
                }
                Some(relays) => relay_error = pkarr.relays(relays).err(),
            }
            if let Some(timeout) = config.dht_request_timeout {
                pkarr.dht_request_timeout(timeout);
            }
            pkarr.cache_size(4096).maximum_ttl(300)
        });
    if let Some(error) = relay_error {
        return Err(setup(&error));
    }
    builder.build().map_err(|error| setup(&error))
}

pub(crate) fn pubky_key(key: &UserKey) -> Result<pubky::PublicKey, NetError> {
    pubky::PublicKey::try_from_z32(&key.to_z32())
        .map_err(|_| NetError::Invalid(format!("{key} is no key")))
}

pub(crate) fn pkarr_key(key: &UserKey) -> Result<pkarr::PublicKey, NetError> {
    pkarr::PublicKey::try_from(key.as_bytes())
        .map_err(|_| NetError::Invalid(format!("{key} is no key")))
}

pub(crate) fn pubky_keypair(pair: &Keypair) -> pubky::Keypair {
    pubky::Keypair::from_secret(&pair.secret())
}

/// A query string. (The serializer itself can't be held over an await.)
pub(crate) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// The first `max` characters of somebody else's text, without control characters: it may end up on a terminal.
pub(crate) fn shorten(text: &str, max: usize) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(max)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// Milliseconds since 1970 by this machine's clock.
pub(crate) fn now_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}
