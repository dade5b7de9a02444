//! The ports: free, or already ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use serde::Deserialize;

use super::Check;
use crate::config::Config;

const PATIENCE: Duration = Duration::from_secs(3);
/// Ports of the Pubky homeserver.
const HOMESERVER_PORTS: std::ops::RangeInclusive<u16> = 6286..=6289;

pub(super) fn look(config: &Config, running: bool) -> Vec<Check> {
    let mut checks = vec![
        port("port_http", "http.listen", config.http.listen, running),
        port("port_pubky", "pubky.listen", config.pubky.listen, running),
    ];
    if config.admin.enabled {
        let listen = config.admin.listen;
        checks.push(port("port_admin", "admin.listen", listen, running));
    }
    checks
}

fn port(name: &'static str, setting: &str, address: SocketAddr, running: bool) -> Check {
    if HOMESERVER_PORTS.contains(&address.port()) {
        return Check::fail(
            name,
            format!("{address} is one of the homeserver's own ports"),
            format!("choose another port in {setting}; 6290 to 6292 are the defaults"),
        );
    }
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(name, format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && running => Check::ok(
            name,
            format!("{address} is in use by this service, which is running"),
        ),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Check::fail(
            name,
            format!("{address} is in use by another program"),
            format!("stop it, or choose another port in {setting}"),
        ),
        Err(error) => Check::fail(
            name,
            format!("{address}: {error}"),
            format!(
                "{setting} must be an address of this machine; ports below 1024 need a capability"
            ),
        ),
    }
}

/// Whether what answers at `listen` is this very service.
pub(super) async fn is_ours(listen: SocketAddr, own_key: Option<&pubky::Keypair>) -> bool {
    let Some(own_key) = own_key else { return false };
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let Ok(client) = client else { return false };
    let url = format!("http://{}/v0/info", reachable(listen));
    let Ok(mut response) = client.get(url).send().await else {
        return false;
    };
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > 64 * 1024 {
            return false;
        }
    }
    names(&body, own_key)
}

/// Whether an answer to `/v0/info` names this service.
pub(super) fn names(info: &[u8], own_key: &pubky::Keypair) -> bool {
    #[derive(Deserialize)]
    struct Info {
        plugin: String,
    }
    serde_json::from_slice::<Info>(info).is_ok_and(|info| info.plugin == own_key.public_key().z32())
}

/// An address to connect to, for one to listen at.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
