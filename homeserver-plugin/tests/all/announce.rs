//! What is on offer is announced on a real DHT, and `/v0/info` says the same.

use std::net::{Ipv4Addr, SocketAddrV4};

use atomicity_plugin::announce::{self, Role};
use atomicity_plugin::doctor::Level;
use mainline::Dht;
use reqwest::Method;
use serde_json::Value;

use crate::doctor::examined;
use crate::support::plugin::{Answer, Plugin};
use crate::support::until;
use crate::support::world::World;

async fn info(plugin: &Plugin) -> Value {
    let answer = Answer::of(plugin.request(Method::GET, "/v0/info")).await;
    answer.assert_status(200).body.clone()
}

/// How often `role` was announced, by outcome.
async fn counted(plugin: &Plugin, role: &str, outcome: &str) -> u64 {
    let response = plugin.request(Method::GET, "/metrics").send().await;
    let text = response.unwrap().text().await.unwrap();
    let name = format!(r#"atomicity_announcements_total{{outcome="{outcome}",role="{role}"}} "#);
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    value.map_or(0, |value| value.parse().unwrap())
}

fn place(plugin: &Plugin) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, plugin.addresses.pubky.port())
}

#[tokio::test]
async fn what_is_on_offer_is_announced_again_and_again() {
    let world = World::new();
    let plugin = Plugin::start_with(|config| {
        world.join(config);
        config.watchtower.enabled = true;
        config.announce.every_s = 1;
    })
    .await;
    let roles = &info(&plugin).await["roles"];
    assert_eq!(roles["watchtower"]["path"], "/watchtower");
    assert_eq!(roles["watchtower"]["logs"], serde_json::json!([]));
    assert_eq!(roles.as_object().unwrap().len(), 1, "{roles}");
    until("it was announced three times", || async {
        counted(&plugin, "watchtower", "announced").await >= 3
    })
    .await;
    let found = async |role| {
        announce::is_announced(&plugin.config.network, role, place(&plugin))
            .await
            .unwrap()
    };
    assert!(found(Role::Watchtower).await);
    assert!(!found(Role::Cosigner).await);

    // The doctor sees the same, by what the configuration says.
    let dir = tempfile::tempdir().unwrap();
    let mut config = plugin.config.clone();
    config.pubky.listen = plugin.addresses.pubky;
    let level = async |config: &atomicity_plugin::Config| {
        let report = examined(config, dir.path()).await;
        let check = report.checks.iter().find(|c| c.check == "announced");
        check.map(|check| check.level)
    };
    assert_eq!(level(&config).await, Some(Level::Ok));
    config.pubky.public_port = Some(1);
    assert_eq!(level(&config).await, Some(Level::Warn));
    config.announce.enabled = false;
    assert_eq!(level(&config).await, None);
}

#[tokio::test]
async fn who_offers_nothing_or_does_not_want_to_be_found_announces_nothing() {
    let world = World::new();
    let plain = Plugin::start_with(|config| world.join(config)).await;
    assert_eq!(info(&plain).await["roles"], serde_json::json!({}));
    let shy = Plugin::start_with(|config| {
        world.join(config);
        config.watchtower.enabled = true;
        config.announce.enabled = false;
    })
    .await;
    assert!(info(&shy).await["roles"]["watchtower"].is_object());
    let loud = Plugin::start_with(|config| {
        world.join(config);
        config.watchtower.enabled = true;
    })
    .await;
    until("the loud one is announced", || async {
        counted(&loud, "watchtower", "announced").await >= 1
    })
    .await;
    for silent in [&plain, &shy] {
        assert_eq!(counted(silent, "watchtower", "announced").await, 0);
        assert_eq!(counted(silent, "watchtower", "failed").await, 0);
    }
}

#[tokio::test]
async fn a_silent_network_is_asked_again_until_it_answers() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let plugin = Plugin::start_with(|config| {
        config.network.dht_bootstrap = vec![format!("127.0.0.1:{port}")];
        config.watchtower.enabled = true;
        config.announce.every_s = 1;
    })
    .await;
    until("it was tried in vain", || async {
        counted(&plugin, "watchtower", "failed").await >= 2
    })
    .await;
    assert_eq!(counted(&plugin, "watchtower", "announced").await, 0);
    // It serves all the same.
    let live = Answer::of(plugin.request(Method::GET, "/health/live")).await;
    live.assert_status(200);
    drop(socket);
    let _node = Dht::builder()
        .server_mode()
        .no_bootstrap()
        .bind_address(Ipv4Addr::LOCALHOST)
        .port(port)
        .build()
        .unwrap();
    until("it was announced", || async {
        counted(&plugin, "watchtower", "announced").await >= 1
    })
    .await;
    let network = &plugin.config.network;
    let found = announce::is_announced(network, Role::Watchtower, place(&plugin)).await;
    assert_eq!(found, Ok(true));
}
