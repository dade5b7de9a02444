//! What lies outside: the DHT, our own packet, the homeserver, its clock, its admin password.

use std::net::{IpAddr, SocketAddrV4};
use std::time::{Duration, SystemTime};

use pkarr::SignedPacket;

use super::Check;
use crate::config::Config;
use crate::error::PluginError;
use crate::resolve::Resolver;
use crate::{announce, packet};

/// Clocks that differ by more than this make proofs look old or early.
const SKEW_WARN: Duration = Duration::from_secs(30);
const SKEW_FAIL: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn look(
    config: &Config,
    resolver: &Resolver,
    keys: Option<&pubky::Keypair>,
) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(keys) = keys {
        let found = resolver
            .packet_on_network(&keys.as_inner().public_key())
            .await;
        checks.push(dht(&found));
        checks.push(own_packet(config, keys, found.ok().flatten()));
    }
    checks.extend(homeserver(config, resolver).await);
    checks.extend(announced(config).await);
    checks
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
        Ok(true) => Check::ok(NAME, "the network's packet points here"),
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

async fn homeserver(config: &Config, resolver: &Resolver) -> Vec<Check> {
    const NAME: &str = "homeserver";
    let Some(key) = &config.accounts.homeserver else {
        return vec![Check::ok(
            NAME,
            "none is configured: registration is open to everybody",
        )];
    };
    match resolver.probe(key).await {
        Ok(probe) if (200..300).contains(&probe.status) => {
            let mut checks = vec![Check::ok(NAME, format!("{key} answers"))];
            checks.extend(probe.date.map(|date| clock(date, SystemTime::now())));
            checks
        }
        Ok(probe) => {
            let hint = "look at the homeserver's log; versions before 0.17 have no /info";
            vec![Check::warn(
                NAME,
                format!("{key} answers with status {}", probe.status),
                hint,
            )]
        }
        Err(error) => vec![Check::fail(
            NAME,
            format!("{key}: {error}"),
            "is accounts.homeserver right, does the homeserver run, and can its public address be reached from here?",
        )],
    }
}

/// Our clock beside the homeserver's. `Date` has whole seconds, and the answer took a moment.
fn clock(theirs: SystemTime, ours: SystemTime) -> Check {
    const NAME: &str = "clock";
    let skew = theirs
        .duration_since(ours)
        .or_else(|_| ours.duration_since(theirs))
        .unwrap_or_default();
    let detail = format!("differs from the homeserver's by {} s", skew.as_secs());
    let hint = "let both machines keep time by NTP: proofs are judged by the clock";
    if skew >= SKEW_FAIL {
        Check::fail(NAME, detail, hint)
    } else if skew >= SKEW_WARN {
        Check::warn(NAME, detail, hint)
    } else {
        Check::ok(NAME, detail)
    }
}

/// Whether the homeserver's admin API takes the password that it is delivered with.
pub(super) async fn admin_password(config: &Config) -> Option<Check> {
    const NAME: &str = "admin_password";
    let base = config.accounts.homeserver_admin_url.as_ref()?;
    let asked = async {
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let url = format!("{}/info", base.as_str().trim_end_matches('/'));
        client
            .get(url)
            .header("X-Admin-Password", "admin")
            .send()
            .await
    };
    Some(match asked.await {
        Ok(response) if response.status().is_success() => Check::warn(
            NAME,
            "the homeserver's admin API takes the default password",
            "set another admin_password in the homeserver's config.toml: whoever reaches that port owns every account",
        ),
        Ok(response) if matches!(response.status().as_u16(), 401 | 403) => Check::ok(
            NAME,
            "the homeserver's admin API refuses the default password",
        ),
        Ok(response) => Check::warn(
            NAME,
            format!("{base} answers with status {}", response.status().as_u16()),
            "is accounts.homeserver_admin_url the admin API (port 6288 by default)?",
        ),
        Err(_) => Check::warn(
            NAME,
            format!("{base} can't be reached"),
            "correct or remove accounts.homeserver_admin_url",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_clock_is_judged_in_both_directions() {
        let ours = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (seconds, level) in [
            (0, Level::Ok),
            (29, Level::Ok),
            (31, Level::Warn),
            (119, Level::Warn),
            (121, Level::Fail),
        ] {
            let gap = Duration::from_secs(seconds);
            assert_eq!(clock(ours + gap, ours).level, level, "{seconds} s ahead");
            assert_eq!(clock(ours - gap, ours).level, level, "{seconds} s behind");
        }
    }
}
