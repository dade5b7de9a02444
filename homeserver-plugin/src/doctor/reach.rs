//! Whether others can come here: by the key, at the address in our packet, and by the domain of the proxy. Only a service that runs can be asked; what can't
//! work is told before it does.

use std::net::IpAddr;

use url::Url;

use super::{Check, listeners};
use crate::config::Config;
use crate::packet;
use crate::resolve::Resolver;
use crate::resolve::address::is_public;
use crate::resolve::call::Call;

const MAX_ANSWER: usize = 64 * 1024;
const REACHABLE: &str = "reachable";
const PUBLIC_URL: &str = "public_url";

pub(super) async fn look(
    config: &Config,
    resolver: &Resolver,
    keys: Option<&pubky::Keypair>,
) -> Vec<Check> {
    let place = packet::location(config, config.pubky.listen.port());
    let mut checks = Vec::new();
    match (private(config, &place.addresses), keys) {
        (Some(check), _) => checks.push(check),
        (None, Some(keys)) if !place.addresses.is_empty() => {
            checks.push(by_key(resolver, keys).await);
        }
        _ => {}
    }
    let Some(url) = &config.http.public_url else {
        return checks;
    };
    match (in_clear(config, url), keys) {
        (Some(check), _) => checks.push(check),
        (None, Some(keys)) => checks.push(by_url(resolver, keys, url).await),
        _ => {}
    }
    checks.extend(unnamed_proxy(config, url));
    checks
}

/// An address in the packet that leads nobody here.
fn private(config: &Config, addresses: &[IpAddr]) -> Option<Check> {
    let private = addresses.iter().find(|address| !is_public(**address))?;
    (!config.network.testnet).then(|| {
        Check::fail(
            REACHABLE,
            format!("{private} in pubky.public_ip is an address that nobody outside can reach"),
            "set pubky.public_ip to the address by which the internet sees this machine",
        )
    })
}

/// A URL on whose way everybody can read along.
fn in_clear(config: &Config, url: &Url) -> Option<Check> {
    (url.scheme() == "http" && !config.network.testnet).then(|| {
        Check::warn(
            PUBLIC_URL,
            format!("{url} has no TLS: sessions can be read on the way, and pages of https sites can't ask there"),
            "put a proxy with a certificate in front, and set http.public_url to its https address",
        )
    })
}

/// A proxy whose word on addresses is not believed: then all requests seem to come from it.
fn unnamed_proxy(config: &Config, url: &Url) -> Option<Check> {
    (url.scheme() == "https" && config.http.trusted_proxies.is_empty()).then(|| {
        Check::warn(
            "trusted_proxies",
            "http.public_url is https, so a proxy stands in front, and http.trusted_proxies names none: all users together have the limits of one address",
            "set http.trusted_proxies to the proxy's address, such as [\"127.0.0.1\"], and let it set X-Forwarded-For",
        )
    })
}

/// As wallets come.
async fn by_key(resolver: &Resolver, keys: &pubky::Keypair) -> Check {
    const NAME: &str = REACHABLE;
    let url = format!("https://{}/v0/info", keys.public_key().z32());
    match asked(resolver, keys, &url).await {
        Ok(()) => Check::ok(NAME, "wallets reach this service by its key"),
        Err(why) => Check::warn(
            NAME,
            format!("this service runs, and can't be reached by its key: {why}"),
            "is the port of pubky.listen open in every firewall, handed on by the router, and the one in the packet (pubky.public_port)? Some routers don't let a machine reach its own public address: then ask from elsewhere",
        ),
    }
}

/// As web apps come.
async fn by_url(resolver: &Resolver, keys: &pubky::Keypair, url: &Url) -> Check {
    const NAME: &str = PUBLIC_URL;
    let info = format!("{}/v0/info", url.as_str().trim_end_matches('/'));
    match asked(resolver, keys, &info).await {
        Ok(()) => Check::ok(NAME, format!("web apps reach this service at {url}")),
        Err(why) => Check::warn(
            NAME,
            format!("web apps don't reach this service at {url}: {why}"),
            "does the name point here, does the proxy run, and does it hand on to http.listen?",
        ),
    }
}

async fn asked(resolver: &Resolver, keys: &pubky::Keypair, url: &str) -> Result<(), String> {
    let url: Url = url.parse().map_err(|error| format!("{error}"))?;
    let call = Call {
        url: &url,
        body: None,
        max_bytes: MAX_ANSWER,
    };
    match resolver.call(&call).await {
        Ok(answer) if answer.status == 200 && listeners::names(&answer.body, keys) => Ok(()),
        Ok(answer) if answer.status == 200 => Err("something else answers there".to_owned()),
        Ok(answer) => Err(format!("status {}", answer.status)),
        Err(error) => Err(error.to_string()),
    }
}
