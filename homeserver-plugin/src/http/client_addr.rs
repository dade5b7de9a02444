//! Where a request really comes from.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;

use crate::error::PluginError;
use crate::state::AppState;

/// Longest chain of proxies that is followed.
const MAX_HOPS: usize = 16;

/// Proxies whose `X-Forwarded-For` is believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<(u128, u32)>);

fn bits(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl TrustedProxies {
    /// Reads addresses and networks (`10.0.0.0/8`).
    ///
    /// # Errors
    /// [`PluginError::Config`] naming the entry that is neither.
    pub fn parse(entries: &[String]) -> Result<Self, PluginError> {
        entries
            .iter()
            .map(|entry| {
                Self::parse_entry(entry).ok_or_else(|| {
                    PluginError::Config(format!(
                        "http.trusted_proxies: `{entry}` is neither an address nor a network"
                    ))
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn parse_entry(entry: &str) -> Option<(u128, u32)> {
        let (address, length) = match entry.split_once('/') {
            None => (entry, None),
            Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(width);
        if length > width {
            return None;
        }
        // An IPv4 network is a network of mapped addresses.
        Some((bits(address), length + (128 - width)))
    }

    /// Whether `address` is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = bits(address);
        self.0.iter().any(|(network, length)| {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(*length))
                .unwrap_or(0);
            address & mask == network & mask
        })
    }

    /// The nearest address that is not one of them: the peer's, or the last untrusted one in `X-Forwarded-For`.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        if !self.contains(peer) {
            return client;
        }
        let hops = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect::<Vec<_>>();
        for hop in hops.into_iter().rev().take(MAX_HOPS) {
            // What stands left of a broken entry was written by nobody we trust.
            let Ok(address) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            client = address;
            if !self.contains(address) {
                break;
            }
        }
        client
    }
}

/// The address a request comes from.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddr(pub IpAddr);

impl FromRequestParts<AppState> for ClientAddr {
    type Rejection = PluginError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> Result<Self, Self::Rejection> {
        let peer = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .ok_or_else(|| PluginError::Internal("the listener gave no peer address".into()))?;
        Ok(Self(state.proxies.client(peer.0.ip(), &parts.headers)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let trusted: Vec<String> = trusted.iter().map(|t| (*t).to_owned()).collect();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        TrustedProxies::parse(&trusted)
            .unwrap()
            .client(peer.parse().unwrap(), &headers)
            .to_string()
    }

    #[test]
    fn a_stranger_can_not_choose_their_address() {
        assert_eq!(client(&[], "192.0.2.9", &["198.51.100.1"]), "192.0.2.9");
        assert_eq!(
            client(&["10.0.0.0/8"], "192.0.2.9", &["198.51.100.1"]),
            "192.0.2.9"
        );
    }

    #[test]
    fn the_entry_that_the_trusted_proxy_added_counts() {
        let trusted = ["10.0.0.0/8", "::1"];
        assert_eq!(
            client(&trusted, "10.1.2.3", &["198.51.100.1"]),
            "198.51.100.1"
        );
        assert_eq!(
            client(&trusted, "::1", &["203.0.113.7, 198.51.100.1"]),
            "198.51.100.1"
        );
        assert_eq!(
            client(&trusted, "::1", &["203.0.113.7", "198.51.100.1, 10.9.9.9"]),
            "198.51.100.1"
        );
        assert_eq!(
            client(&trusted, "::ffff:10.1.2.3", &["198.51.100.1"]),
            "198.51.100.1"
        );
    }

    #[test]
    fn nonsense_falls_back_to_the_nearest_known_address() {
        assert_eq!(
            client(&["10.0.0.0/8"], "10.1.2.3", &["198.51.100.1, what"]),
            "10.1.2.3"
        );
        assert_eq!(client(&["10.0.0.0/8"], "10.1.2.3", &[]), "10.1.2.3");
        assert!(TrustedProxies::parse(&["10.0.0.0/33".to_owned()]).is_err());
        assert!(TrustedProxies::parse(&["proxy.example".to_owned()]).is_err());
    }
}
