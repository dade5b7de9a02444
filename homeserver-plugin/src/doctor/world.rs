//! What lies outside: the DHT, our own packet, the homeserver, its admin password.

use std::net::{IpAddr, SocketAddrV4};
use std::time::{Duration, SystemTime};

use pkarr::SignedPacket;

use super::Check;
use crate::config::Config;
use crate::error::PluginError;
use crate::resolve::Resolver;
use crate::{announce, packet};

/// The service publishes every hour; whoever finds an older packet than this finds one that was not renewed.
const PACKET_OLD: Duration = Duration::from_secs(2 * 3600);
/// Where a homeserver's admin API listens unless it is told otherwise.
const ADMIN_URL: &str = "http://127.0.0.1:6288";
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found, and what time it is at the homeserver.
pub(super) async fn look(
    config: &Config,
    resolver: &Resolver,
    keys: Option<&pubky::Keypair>,
) -> (Vec<Check>, Option<SystemTime>) {
    let mut checks = Vec::new();
    if let Some(keys) = keys {
        let found = resolver
            .packet_on_network(&keys.as_inner().public_key())
            .await;
        checks.push(dht(&found));
        checks.push(own_packet(config, keys, found.ok().flatten()));
    }
    let (found, date) = homeserver(config, resolver).await;
    checks.push(found);
    checks.extend(announced(config).await);
    (checks, date)
}

fn dht(found: &Result<Option<SignedPacket>, PluginError>) -> Check {
    const NAME: &str = "dht";
    match found {
        Ok(_) => Check::ok(NAME, "the DHT answers"),
        Err(error) => Check::fail(
            NAME,
            error.to_string(),
            "let UDP out to any port, and its answers in; on a test network look at network.dht_bootstrap",
        ),
    }
}

fn own_packet(config: &Config, keys: &pubky::Keypair, found: Option<SignedPacket>) -> Check {
    const NAME: &str = "packet";
    let place = packet::location(config, config.pubky.listen.port());
    if place.is_nowhere() {
        return Check::warn(
            NAME,
            "no packet is published: others find this service only by its URL",
            "set pubky.public_ip, or http.public_url to an https address",
        );
    }
    let Some(found) = found else {
        return Check::warn(
            NAME,
            "the network has no packet of this service",
            "it is published at the start of the service and every hour; if it runs, look at its log",
        );
    };
    match packet::points_at(&found, keys.as_inner(), &place) {
        Ok(true) => age(&found, SystemTime::now()),
        Ok(false) => Check::warn(
            NAME,
            "the network's packet points elsewhere than the configuration says",
            "restart the service to publish anew; if it comes back, another service uses the same secret",
        ),
        Err(error) => Check::fail(
            NAME,
            error.to_string(),
            "correct pubky.public_ip or http.public_url",
        ),
    }
}

/// How long ago the packet was signed.
fn age(found: &SignedPacket, now: SystemTime) -> Check {
    const NAME: &str = "packet";
    let signed = Duration::from_micros(found.timestamp().as_u64());
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let age = now.saturating_sub(signed);
    let detail = format!(
        "the network's packet points here, and is {} min old",
        age.as_secs() / 60
    );
    if age < PACKET_OLD {
        Check::ok(NAME, detail)
    } else {
        Check::warn(
            NAME,
            detail,
            "it should be renewed every hour (pubky.republish_s): does the service run, and does its log say why it can't publish?",
        )
    }
}

/// Whether those who look for what is on offer here are sent here.
async fn announced(config: &Config) -> Vec<Check> {
    const NAME: &str = "announced";
    let roles = announce::offered(config);
    if roles.is_empty() || !config.announce.enabled {
        return Vec::new();
    }
    let port = announce::port(config, config.pubky.listen.port());
    let place = packet::location(config, config.pubky.listen.port());
    let ip = place.addresses.iter().find_map(|ip| match ip {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    });
    let (Some(port), Some(ip)) = (port, ip) else {
        return vec![Check::warn(
            NAME,
            "what this service offers is not announced: it has no public IPv4 address",
            "set pubky.public_ip, or switch [announce] off",
        )];
    };
    let mut checks = Vec::new();
    for role in roles {
        let found = announce::is_announced(&config.network, role, SocketAddrV4::new(ip, port));
        checks.push(match found.await {
            Ok(true) => Check::ok(
                NAME,
                format!("whoever looks for a {} is sent here", role.name()),
            ),
            Ok(false) => Check::warn(
                NAME,
                format!("whoever looks for a {} is not sent to {ip}:{port}", role.name()),
                "it is announced while the service runs, from the address its messages come from: is that pubky.public_ip?",
            ),
            Err(error) => Check::warn(NAME, error, "see the check `dht`"),
        });
    }
    checks
}

async fn homeserver(config: &Config, resolver: &Resolver) -> (Check, Option<SystemTime>) {
    const NAME: &str = "homeserver";
    let Some(key) = &config.accounts.homeserver else {
        let detail = "none is configured: registration is open to everybody";
        return (Check::ok(NAME, detail), None);
    };
    match resolver.probe(key).await {
        Ok(probe) if (200..300).contains(&probe.status) => {
            (Check::ok(NAME, format!("{key} answers")), probe.date)
        }
        Ok(probe) => {
            let hint = "look at the homeserver's log; versions before 0.17 have no /info";
            let detail = format!("{key} answers with status {}", probe.status);
            (Check::warn(NAME, detail, hint), probe.date)
        }
        Err(error) => {
            let hint = "is accounts.homeserver right, does the homeserver run, and can its public address be reached from here?";
            (Check::fail(NAME, format!("{key}: {error}"), hint), None)
        }
    }
}

/// Whether the homeserver's admin API takes the password that it is delivered with. Where nobody said where that is, only a homeserver on this very
/// machine is asked, and nothing is said if none is there.
pub(super) async fn admin_password(config: &Config) -> Option<Check> {
    const NAME: &str = "admin_password";
    let named = config.accounts.homeserver_admin_url.as_ref();
    let base = match named {
        Some(named) => named.as_str().trim_end_matches('/').to_owned(),
        // A test network has servers of others beside it.
        None if config.network.testnet => return None,
        None => ADMIN_URL.to_owned(),
    };
    let asked = async {
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        client
            .get(format!("{base}/info"))
            .header("X-Admin-Password", "admin")
            .send()
            .await
    };
    let status = asked.await.map(|response| response.status());
    if named.is_none() && !matches!(&status, Ok(status) if status.is_success()) {
        return None;
    }
    Some(match status {
        Ok(status) if status.is_success() => Check::warn(
            NAME,
            format!("the homeserver's admin API at {base} takes the default password"),
            "set another admin_password in the homeserver's config.toml: whoever reaches that port owns every account",
        ),
        Ok(status) if matches!(status.as_u16(), 401 | 403) => Check::ok(
            NAME,
            "the homeserver's admin API refuses the default password",
        ),
        Ok(status) => Check::warn(
            NAME,
            format!("{base} answers with status {}", status.as_u16()),
            "is accounts.homeserver_admin_url the admin API (port 6288 by default)?",
        ),
        Err(_) => Check::warn(
            NAME,
            format!("{base} can't be reached"),
            "correct or remove accounts.homeserver_admin_url",
        ),
    })
}
