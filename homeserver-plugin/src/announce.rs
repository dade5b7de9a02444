//! Telling the world which services are on offer here: each role is announced on Mainline under one fixed infohash (BEP 5), again
//! and again, since nodes forget within the hour.
//!
//! An announcement says no more than *something listens at this address*. Anybody can announce anything; whoever finds us
//! connects, has us prove our key, and reads `/v0/info`.
//!
//! The client that publishes packets keeps its node to itself, so announcing has one of its own. It is started only if there is
//! something to announce.

mod metrics;
mod roles;

use std::net::{IpAddr, SocketAddrV4};
use std::time::Duration;

use futures_util::StreamExt as _;
use mainline::async_dht::AsyncDht;
use mainline::{Dht, Id};
use serde::{Deserialize, Serialize};

pub use self::metrics::AnnounceMetrics;
pub use self::roles::Role;
use crate::config::{Config, NetworkConfig};
use crate::error::PluginError;
use crate::packet;
use crate::state::AppState;

/// How long one announcement may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// After so many rounds in a row in which nobody answered, the node is started anew.
const RESTART_AFTER: u32 = 4;
/// Nodes forget within half an hour to two hours.
const LONGEST_EVERY_S: u64 = 1_800;

/// Announcing the services that this plugin offers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnnounceConfig {
    /// Whether router, log, cosigner and watchtower are announced, as far as they run.
    pub enabled: bool,
    /// How often, in seconds.
    pub every_s: u64,
}

impl Default for AnnounceConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            every_s: 900,
        }
    }
}

impl AnnounceConfig {
    /// Checks what the types can't say.
    ///
    /// # Errors
    /// [`PluginError::Config`] naming the setting.
    pub fn check(&self, testnet: bool) -> Result<(), PluginError> {
        let shortest = if testnet { 1 } else { 60 };
        if (shortest..=LONGEST_EVERY_S).contains(&self.every_s) {
            Ok(())
        } else {
            Err(PluginError::Config(
                "announce.every_s must be 60 to 1800".to_owned(),
            ))
        }
    }
}

/// The port to be announced: that of the Pubky TLS listener as seen from outside. `None` if nobody could connect to it: a node
/// believes only the (IPv4) address that a message comes from, so there must be one.
#[must_use]
pub fn port(config: &Config, tls_port: u16) -> Option<u16> {
    let place = packet::location(config, tls_port);
    let reachable = place.addresses.iter().any(IpAddr::is_ipv4);
    reachable.then_some(place.port)
}

/// What is on offer here.
#[must_use]
pub fn offered(config: &Config) -> Vec<Role> {
    let on = [
        (Role::WitnessLog, config.witness_log.enabled),
        (Role::Cosigner, config.cosigner.enabled),
        (Role::Watchtower, config.watchtower.enabled),
        (Role::Router, config.router.enabled),
    ];
    let on = on.into_iter().filter(|(_, on)| *on);
    on.map(|(role, _)| role).collect()
}

/// Announces until the process is told to stop. Returns at once if there is nothing to announce.
pub async fn run(state: AppState, tls_port: u16) {
    let roles = offered(&state.config);
    if !state.config.announce.enabled || roles.is_empty() {
        return;
    }
    let Some(port) = port(&state.config, tls_port) else {
        tracing::warn!(
            "pubky.public_ip is no IPv4 address: what this service offers is not announced"
        );
        return;
    };
    let every = Duration::from_secs(state.config.announce.every_s);
    let mut node = None;
    let mut silent: u32 = 0;
    loop {
        let round = round(&state, &mut node, &roles, port);
        let answered = tokio::select! {
            () = state.shutdown.cancelled() => return,
            answered = round => answered,
        };
        silent = if answered {
            0
        } else {
            silent.saturating_add(1)
        };
        if silent > 0 && silent.is_multiple_of(RESTART_AFTER) {
            node = None;
        }
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = tokio::time::sleep(packet::next_pause(every, silent, rand::random())) => {}
        }
    }
}

/// Announces each role once, one after the other: many questions at once lose answers. Whether all were taken.
async fn round(state: &AppState, node: &mut Option<AsyncDht>, roles: &[Role], port: u16) -> bool {
    let mut all = true;
    for role in roles {
        let outcome = match started(node, &state.config.network).await {
            Ok(dht) => announce(dht, *role, port).await,
            Err(error) => Err(error),
        };
        state.announcing.announced(*role, outcome.is_ok());
        match outcome {
            Ok(()) => tracing::debug!(role = role.name(), port, "announced"),
            Err(error) => {
                all = false;
                tracing::warn!(role = role.name(), error, "could not be announced");
            }
        }
    }
    all
}

async fn started<'a>(
    node: &'a mut Option<AsyncDht>,
    network: &NetworkConfig,
) -> Result<&'a AsyncDht, String> {
    let dht = match node.take() {
        Some(dht) => dht,
        None => {
            let network = network.clone();
            // Looks names up and waits for the socket.
            tokio::task::spawn_blocking(move || start(&network))
                .await
                .map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())?
        }
    };
    Ok(node.insert(dht))
}

fn start(network: &NetworkConfig) -> std::io::Result<AsyncDht> {
    let mut builder = Dht::builder();
    if !network.dht_bootstrap.is_empty() {
        builder.bootstrap(&network.dht_bootstrap);
    } else if network.testnet {
        builder.no_bootstrap();
    }
    if network.dht_request_timeout_ms > 0 {
        builder.request_timeout(Duration::from_millis(network.dht_request_timeout_ms));
    }
    Ok(builder.build()?.as_async())
}

/// Whether the network names `place` to whoever looks for `role`.
///
/// # Errors
/// What went wrong, in words.
pub async fn is_announced(
    network: &NetworkConfig,
    role: Role,
    place: SocketAddrV4,
) -> Result<bool, String> {
    let mut node = None;
    let dht = started(&mut node, network).await?;
    let found = async {
        let mut peers = dht.get_peers(Id::from(*role.infohash()));
        while let Some(some) = peers.next().await {
            if some.contains(&place) {
                return true;
            }
        }
        false
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .map_err(|_| "no answer in time".to_owned())
}

/// The library ends its task by a panic if its node is gone; that must not end ours.
async fn announce(dht: &AsyncDht, role: Role, port: u16) -> Result<(), String> {
    let dht = dht.clone();
    let asking = tokio::spawn(async move {
        let id = Id::from(*role.infohash());
        tokio::time::timeout(PATIENCE, dht.announce_peer(id, Some(port))).await
    });
    match asking.await {
        Ok(Ok(Ok(_))) => Ok(()),
        Ok(Ok(Err(error))) => Err(error.to_string()),
        Ok(Err(_)) => Err("no answer in time".to_owned()),
        Err(error) => Err(format!("the node ended: {error}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_reached_is_announced() {
        let mut config = Config::default();
        assert_eq!(port(&config, 6291), None);
        config.pubky.public_ip = Some("2001:4860:4860::8888".parse().unwrap());
        assert_eq!(port(&config, 6291), None);
        config.pubky.public_ip = Some("203.0.113.7".parse().unwrap());
        assert_eq!(port(&config, 6291), Some(6291));
        config.pubky.public_port = Some(443);
        assert_eq!(port(&config, 6291), Some(443));
    }

    #[test]
    fn an_announcement_is_renewed_before_nodes_forget_it() {
        let mut config = AnnounceConfig::default();
        config.check(false).unwrap();
        for (every_s, testnet, fine) in [
            (59, false, false),
            (60, false, true),
            (1, true, true),
            (0, true, false),
            (1_801, true, false),
        ] {
            config.every_s = every_s;
            assert_eq!(config.check(testnet).is_ok(), fine, "{every_s} {testnet}");
        }
    }
}
