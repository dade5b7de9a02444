//! Whether others can come here: by the key, at the address in our packet, and by the domain of the proxy. Only a service that runs can be asked.

use std::net::IpAddr;

use url::Url;

use super::{Check, listeners};
use crate::config::Config;
use crate::packet;
use crate::resolve::Resolver;
use crate::resolve::address::is_public;
use crate::resolve::call::Call;

const MAX_ANSWER: usize = 64 * 1024;

pub(super) async fn look(
    config: &Config,
    resolver: &Resolver,
    keys: &pubky::Keypair,
) -> Vec<Check> {
    let mut checks = Vec::new();
    let place = packet::location(config, config.pubky.listen.port());
    if !place.addresses.is_empty() {
        checks.push(by_key(config, resolver, keys, &place.addresses).await);
    }
    if let Some(url) = &config.http.public_url {
        checks.push(by_url(resolver, keys, url).await);
    }
    checks
}

/// As wallets come.
async fn by_key(
    config: &Config,
    resolver: &Resolver,
    keys: &pubky::Keypair,
    addresses: &[IpAddr],
) -> Check {
    const NAME: &str = "reachable";
    if let Some(private) = addresses.iter().find(|address| !is_public(**address))
        && !config.network.testnet
    {
        return Check::fail(
            NAME,
            format!("{private} in pubky.public_ip is an address that nobody outside can reach"),
            "set pubky.public_ip to the address by which the internet sees this machine",
        );
    }
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
    const NAME: &str = "public_url";
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
