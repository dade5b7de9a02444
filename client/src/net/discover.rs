//! Finding services that nobody named: addresses come from Mainline, and each must prove a key.
//!
//! Anybody can announce any address under any infohash, so what is found there is worth a connection and no more: the key that the
//! handshake proves is the service's name from then on, and what it says about itself counts only if it names that key and the role
//! that was looked for.
//!
//! The SDK keeps its DHT node to itself, so looking for services takes one of its own, started when it is first needed.

use std::collections::BTreeSet;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use mainline::async_dht::AsyncDht;
use mainline::{Dht, Id};
use rand::seq::SliceRandom as _;
use reqwest::Method;
use serde_json::{Map, Value};

use super::dial::{self, Dialer};
use super::error::NetError;
use super::plugin::PluginInfo;
use super::roles::Role;
use super::{Net, ServiceKey, tls};
use crate::config::NetworkConfig;

/// Most addresses that one search connects to.
const MAX_ADDRESSES: usize = 64;
/// Most addresses that are taken from the DHT before some are chosen.
const MAX_HEARD: usize = 2_048;
/// How many are connected to at once.
const AT_ONCE: usize = 8;
/// How long all of that may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of a description is read.
const MAX_INFO_BYTES: usize = 64 * 1024;
/// A node that has just started may not know anybody yet.
const PAUSE: Duration = Duration::from_millis(200);

/// The DHT node that looks for services.
#[derive(Default)]
pub(crate) struct Node(tokio::sync::Mutex<Option<AsyncDht>>);

/// A service that proved its key.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Found {
    /// Its key.
    pub key: ServiceKey,
    /// Where it listens; `None` if it was reached by its key.
    pub address: Option<SocketAddr>,
    /// How long connecting and answering took.
    pub latency: Duration,
    /// Its version.
    pub version: String,
    /// What it offers: role and description.
    pub roles: Vec<(Role, Value)>,
}

impl Found {
    /// A service that was reached by its key.
    pub(crate) fn by_key(
        key: ServiceKey,
        latency: Duration,
        version: &str,
        roles: Vec<(Role, Value)>,
    ) -> Self {
        Self {
            key,
            address: None,
            latency,
            version: super::shorten(version, 64),
            roles,
        }
    }
}

/// An address that was of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// The address.
    pub address: SocketAddr,
    /// Why, for machines.
    pub code: &'static str,
    /// Why, for people.
    pub reason: String,
}

/// What a search brought.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Discovered {
    /// Services that proved their keys, each once.
    pub found: Vec<Found>,
    /// Addresses that were of no use.
    pub dropped: Vec<Dropped>,
}

impl Net {
    /// Looks for providers of `role` and has each prove its key.
    ///
    /// # Errors
    /// [`NetError::Dht`] if nobody on the DHT answers; [`NetError::Setup`] if no node can be started.
    pub async fn discover(&self, role: Role) -> Result<Discovered, NetError> {
        let (chosen, dropped) = self.choose(self.announced(role).await?);
        let mut discovered = Discovered {
            found: Vec::new(),
            dropped,
        };
        let mut probes = stream::iter(chosen)
            .map(|address| async move { (address, self.prove(address, role).await) })
            .buffer_unordered(AT_ONCE);
        let end = tokio::time::Instant::now() + PATIENCE;
        while let Ok(Some((address, outcome))) = tokio::time::timeout_at(end, probes.next()).await {
            match outcome {
                // One service may be announced with several addresses: the first that answers counts.
                Ok(found) if discovered.found.iter().any(|f| f.key == found.key) => {}
                Ok(found) => discovered.found.push(found),
                Err(error) => {
                    tracing::debug!(%address, role = role.name(), "dropped: {error}");
                    discovered.dropped.push(drop_for(address, &error));
                }
            }
        }
        Ok(discovered)
    }

    /// Which of the addresses are connected to: no private ones, and a random choice if there are too many.
    fn choose(&self, heard: BTreeSet<SocketAddrV4>) -> (Vec<SocketAddr>, Vec<Dropped>) {
        let policy = &self.shared.servers.dialer.policy;
        let mut chosen = Vec::new();
        let mut dropped = Vec::new();
        for address in heard.into_iter().map(SocketAddr::V4) {
            let host = address.ip().to_string();
            if address.port() > 0 && policy.allows_host(&host, address.ip()) {
                chosen.push(address);
            } else if dropped.len() < MAX_ADDRESSES {
                let refused = NetError::RefusedAddress {
                    server: "an announced service".to_owned(),
                    address: host,
                };
                dropped.push(drop_for(address, &refused));
            }
        }
        chosen.shuffle(&mut rand::rng());
        chosen.truncate(MAX_ADDRESSES);
        (chosen, dropped)
    }

    /// The addresses that are announced for `role`.
    async fn announced(&self, role: Role) -> Result<BTreeSet<SocketAddrV4>, NetError> {
        let node = self.node().await?;
        let mut heard = BTreeSet::new();
        // A first search begins with finding the network.
        let budget = self.config().resolve_timeout.saturating_mul(2);
        let asking = async {
            loop {
                let mut peers = node.get_peers(Id::from(*role.infohash()));
                while let Some(some) = peers.next().await {
                    let room = MAX_HEARD.saturating_sub(heard.len());
                    heard.extend(some.into_iter().take(room));
                }
                if !heard.is_empty() || !node.to_bootstrap().await.is_empty() {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let ended = tokio::time::timeout(budget, asking).await.is_ok();
        if ended || !heard.is_empty() {
            return Ok(heard);
        }
        Err(NetError::Dht {
            about: role.phrase().to_owned(),
            reason: format!("no answer within {} ms", budget.as_millis()),
        })
    }

    async fn node(&self) -> Result<AsyncDht, NetError> {
        let mut slot = self.shared.node.0.lock().await;
        if let Some(node) = slot.as_ref() {
            return Ok(node.clone());
        }
        let config = self.config().clone();
        let setup = |error: &dyn std::fmt::Display| NetError::Setup(error.to_string());
        // Looks names up and waits for the socket.
        let node = tokio::task::spawn_blocking(move || start(&config))
            .await
            .map_err(|error| setup(&error))?
            .map_err(|error| setup(&error))?;
        *slot = Some(node.clone());
        Ok(node)
    }

    /// Connects to an address and has whoever listens there prove a key and describe itself.
    async fn prove(&self, address: SocketAddr, role: Role) -> Result<Found, NetError> {
        let config = self.config();
        let label = address.to_string();
        let (tls, learned) =
            tls::learning_config().map_err(|error| NetError::Setup(error.to_string()))?;
        let client = Dialer::to_one_address(tls, config.connect_timeout)?;
        let begun = Instant::now();
        let request = client.request(Method::GET, format!("https://{address}/v0/info"));
        let response = dial::send(request, &label, config.request_timeout).await?;
        let answer =
            dial::read_body(response, &label, MAX_INFO_BYTES, config.request_timeout).await?;
        let latency = begun.elapsed();
        if !answer.status.is_success() {
            return Err(answer.failure(&label));
        }
        let malformed = |reason: String| NetError::Malformed {
            server: label.clone(),
            reason,
        };
        let key = learned
            .get()
            .ok_or_else(|| malformed("it proved no key".to_owned()))?;
        let info: PluginInfo = answer.json(&label)?;
        if info.plugin != key {
            return Err(malformed(format!(
                "it says that it is {}, but proved the key {key}",
                info.plugin
            )));
        }
        let roles = roles_of(&info.roles);
        if !roles.iter().any(|(offered, _)| *offered == role) {
            return Err(malformed(format!("{key} does not offer {}", role.name())));
        }
        Ok(Found {
            key,
            address: Some(address),
            latency,
            version: super::shorten(&info.version, 64),
            roles,
        })
    }
}

/// The roles that this program knows, out of a description.
pub(crate) fn roles_of(roles: &Map<String, Value>) -> Vec<(Role, Value)> {
    let offered = Role::ALL.into_iter();
    offered
        .filter_map(|role| Some((role, roles.get(role.name())?.clone())))
        .filter(|(_, description)| description.is_object())
        .collect()
}

fn drop_for(address: SocketAddr, error: &NetError) -> Dropped {
    Dropped {
        address,
        code: error.code(),
        reason: super::shorten(&error.to_string(), 300),
    }
}

fn start(config: &NetworkConfig) -> std::io::Result<AsyncDht> {
    let mut builder = Dht::builder();
    if !config.dht_bootstrap.is_empty() {
        builder.bootstrap(&config.dht_bootstrap);
    } else if config.testnet {
        builder.no_bootstrap();
    }
    if config.testnet {
        builder.bind_address(std::net::Ipv4Addr::LOCALHOST);
    }
    if let Some(timeout) = config.dht_request_timeout {
        builder.request_timeout(timeout);
    }
    Ok(builder.build()?.as_async())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn net(testnet: bool) -> Net {
        Net::new(&NetworkConfig {
            testnet,
            dht_bootstrap: vec!["127.0.0.1:1".to_owned()],
            relays: Some(Vec::new()),
            resolve_timeout: Duration::from_millis(300),
            ..NetworkConfig::default()
        })
        .unwrap()
    }

    fn heard(texts: &[&str]) -> BTreeSet<SocketAddrV4> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn announced_addresses_can_t_point_inside() {
        let all = heard(&["127.0.0.1:1", "10.0.0.1:1", "1.1.1.1:0", "1.1.1.1:1"]);
        let (chosen, dropped) = net(false).choose(all.clone());
        assert_eq!(chosen, ["1.1.1.1:1".parse().unwrap()]);
        assert_eq!(dropped.len(), 3);
        assert!(dropped.iter().all(|d| d.code == "refused_address"));
        assert_eq!(net(true).choose(all).0.len(), 3);
    }

    #[tokio::test]
    async fn a_flood_of_addresses_costs_a_bounded_number_of_connections() {
        let flood: BTreeSet<SocketAddrV4> = (0..5_000_u16)
            .map(|port| SocketAddrV4::new([1, 1, 1, 1].into(), 1_000 + port))
            .collect();
        let net = net(false);
        let (one, _) = net.choose(flood.clone());
        let (other, _) = net.choose(flood);
        assert_eq!(one.len(), MAX_ADDRESSES);
        // By chance: nobody can be first by their port.
        assert_ne!(one, other);
    }

    #[tokio::test]
    async fn a_silent_network_is_told_from_an_empty_one() {
        let error = net(true).discover(Role::Router).await.unwrap_err();
        assert_eq!(error.code(), "dht_unavailable");
    }

    #[test]
    fn only_roles_with_a_description_count() {
        let roles =
            serde_json::json!({"router": {"path": "/v0/router"}, "cosigner": 1, "king": {}});
        let found = roles_of(roles.as_object().unwrap());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, Role::Router);
    }
}
