//! The client's network layer against real homeservers, a real DHT, and servers that misbehave.

mod fetching;
mod plugin;
mod session;
mod watching;

use std::time::Duration;

use atomicity_client::config::NetworkConfig;
use atomicity_client::net::{Net, ServiceKey};
use atomicity_e2e::World;
use atomicity_ledger::{Keypair, UserKey};

/// Longer than anything in a working test takes; short enough to be waited for where a time-out is the point.
const PATIENCE: Duration = Duration::from_secs(1);

/// Settings for this world.
fn settings(world: &World) -> NetworkConfig {
    NetworkConfig {
        testnet: true,
        dht_bootstrap: world.bootstrap(),
        relays: Some(Vec::new()),
        dht_request_timeout: Some(Duration::from_millis(100)),
        backoff_first: Duration::from_millis(20),
        backoff_longest: Duration::from_millis(200),
        home_retry: Duration::from_millis(1),
        ..NetworkConfig::default()
    }
}

fn net(world: &World) -> Net {
    Net::new(&settings(world)).unwrap()
}

fn new_root() -> Keypair {
    Keypair::from_secret(&atomicity_client::keys::random_root())
}

fn sdk_pair(root: &Keypair) -> pubky::Keypair {
    pubky::Keypair::from_secret(&root.secret())
}

fn key_of(key: &pubky::PublicKey) -> ServiceKey {
    key.z32().parse().unwrap()
}

/// The path under which a homeserver is asked for a user's file.
fn served(user: &UserKey, path: &str) -> String {
    format!("/storage/{user}{path}")
}
