//! Reading packets from the DHT: a few at a time, with a budget each.

use std::time::Duration;

use atomicity_ledger::UserKey;
use pkarr::dns::rdata::RData;
use pkarr::errors::ResolveError;
use pkarr::{ResolvePolicy, SignedPacket};
use tokio::sync::Semaphore;

use super::dial::Route;
use super::error::NetError;
use super::policy::AddressPolicy;
use super::{ServiceKey, pkarr_key};
use crate::config::NetworkConfig;

/// Record name under which a user names the homeserver.
const HOME_NAME: &str = "_pubky";

/// The way to the DHT. Many look-ups at once lose answers, so only a few run side by side.
pub(crate) struct Lookup {
    pkarr: pkarr::Client,
    turns: Semaphore,
    timeout: Duration,
}

impl Lookup {
    pub(crate) fn new(pkarr: pkarr::Client, config: &NetworkConfig) -> Self {
        Self {
            pkarr,
            turns: Semaphore::new(config.lookups.max(1)),
            timeout: config.resolve_timeout,
        }
    }

    /// The newest packet of a key, or `None` if the network has none.
    async fn packet(
        &self,
        key: &UserKey,
        policy: ResolvePolicy,
    ) -> Result<Option<SignedPacket>, NetError> {
        let failed = |reason: String| NetError::Dht {
            about: key.to_z32(),
            reason,
        };
        let pkarr_key = pkarr_key(key)?;
        let _turn = self
            .turns
            .acquire()
            .await
            .map_err(|_| failed("shutting down".to_owned()))?;
        let asking = async {
            loop {
                match self.pkarr.resolve(&pkarr_key, policy).await {
                    // A node that has just started may not know anybody yet: ask until the budget is used up.
                    Err(ResolveError::NoDhtNodesQueried | ResolveError::NoResponses) => {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                    other => return other,
                }
            }
        };
        match tokio::time::timeout(self.timeout, asking).await {
            Ok(Ok(packet)) => Ok(Some(packet)),
            Ok(Err(ResolveError::NotFound)) => Ok(None),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!(
                "no answer within {} ms",
                self.timeout.as_millis()
            ))),
        }
    }

    /// The homeserver that a user names: the newest that any node near the key knows if `sure`, else the first that one does.
    pub(crate) async fn home(
        &self,
        user: &UserKey,
        sure: bool,
    ) -> Result<Option<ServiceKey>, NetError> {
        let policy = if sure {
            ResolvePolicy::NetworkOnly
        } else {
            ResolvePolicy::CacheFirst
        };
        let packet = self.packet(user, policy).await?;
        let Some(packet) = packet else {
            return Ok(None);
        };
        let Some(target) = home_target(&packet) else {
            return Ok(None);
        };
        target
            .trim_end_matches('.')
            .parse()
            .map(Some)
            .map_err(|_| NetError::Malformed {
                server: user.to_z32(),
                reason: "its `_pubky` record does not name a homeserver's key".to_owned(),
            })
    }

    /// Where a server listens: the addresses in its packet that the policy allows, else its domain.
    pub(crate) async fn route(
        &self,
        server: &ServiceKey,
        anew: bool,
        policy: &AddressPolicy,
    ) -> Result<Route, NetError> {
        let resolve = if anew {
            ResolvePolicy::NetworkOnly
        } else {
            ResolvePolicy::CacheFirst
        };
        let packet = self
            .packet(server, resolve)
            .await?
            .ok_or_else(|| NetError::Unreachable {
                server: server.to_z32(),
                reason: "it has published no address".to_owned(),
            })?;
        route_of(server, &packet, policy)
    }
}

fn home_target(packet: &SignedPacket) -> Option<String> {
    packet
        .resource_records(HOME_NAME)
        .find_map(|record| match &record.rdata {
            RData::SVCB(svcb) => Some(svcb.target.to_string()),
            RData::HTTPS(https) => Some(https.0.target.to_string()),
            _ => None,
        })
}

fn route_of(
    server: &ServiceKey,
    packet: &SignedPacket,
    policy: &AddressPolicy,
) -> Result<Route, NetError> {
    use std::net::{IpAddr, SocketAddr};

    let mut ips: Vec<IpAddr> = packet
        .resource_records("@")
        .filter_map(|record| match &record.rdata {
            RData::A(a) => Some(IpAddr::V4(a.address.into())),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.address.into())),
            _ => None,
        })
        .take(16)
        .collect();
    ips.sort_unstable();
    ips.dedup();

    let mut offers: Vec<(u16, String, Option<u16>)> = packet
        .resource_records("@")
        .filter_map(|record| match &record.rdata {
            RData::HTTPS(https) => Some(&https.0),
            RData::SVCB(svcb) => Some(svcb),
            _ => None,
        })
        .map(|svcb| {
            let port = svcb.iter_params().find_map(|param| match param {
                pkarr::dns::rdata::SVCParam::Port(port) if *port > 0 => Some(*port),
                _ => None,
            });
            let target = svcb.target.to_string();
            (svcb.priority, target.trim_end_matches('.').to_owned(), port)
        })
        .take(16)
        .collect();
    offers.sort();

    let mut refused = None;
    let mut direct = Vec::new();
    let mut domain = None;
    for (_, target, port) in offers {
        if target.is_empty() {
            for ip in &ips {
                if policy.allows(server, *ip) {
                    direct.push(SocketAddr::new(*ip, port.unwrap_or(443)));
                } else {
                    refused = Some(*ip);
                }
            }
        } else if domain.is_none() && target.parse::<UserKey>().is_err() {
            domain = Some((target, port));
        }
    }
    if !direct.is_empty() {
        return Ok(Route::Direct(direct));
    }
    match (domain, refused) {
        (Some((domain, port)), _) => Ok(Route::Domain(domain, port)),
        (None, Some(ip)) => Err(NetError::RefusedAddress {
            server: server.to_z32(),
            address: ip.to_string(),
        }),
        (None, None) => Err(NetError::Unreachable {
            server: server.to_z32(),
            reason: "its packet names no address".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use pkarr::Keypair;
    use pkarr::dns::rdata::SVCB;

    fn key(pair: &Keypair) -> ServiceKey {
        pair.public_key().to_z32().parse().unwrap()
    }

    fn packet(pair: &Keypair, ip: &str, domain: Option<&'static str>) -> SignedPacket {
        let mut direct = SVCB::new(1, ".".try_into().unwrap());
        direct.set_port(6287);
        let mut builder = SignedPacket::builder()
            .https(".".try_into().unwrap(), direct, 3600)
            .address(".".try_into().unwrap(), ip.parse().unwrap(), 3600);
        if let Some(domain) = domain {
            let svcb = SVCB::new(10, domain.try_into().unwrap());
            builder = builder.https(".".try_into().unwrap(), svcb, 3600);
        }
        builder.sign(pair).unwrap()
    }

    #[test]
    fn a_public_address_is_dialled_with_the_published_port() {
        let pair = Keypair::random();
        let packet = packet(&pair, "1.2.3.4", Some("example.com"));
        let route = route_of(&key(&pair), &packet, &AddressPolicy::new(false)).unwrap();
        assert_eq!(route, Route::Direct(vec!["1.2.3.4:6287".parse().unwrap()]));
    }

    #[test]
    fn a_private_address_in_a_strangers_packet_is_refused() {
        let pair = Keypair::random();
        for ip in ["127.0.0.1", "10.0.0.1", "::1"] {
            let packet = packet(&pair, ip, None);
            let refused = route_of(&key(&pair), &packet, &AddressPolicy::new(false)).unwrap_err();
            assert_eq!(refused.code(), "refused_address");
            assert!(route_of(&key(&pair), &packet, &AddressPolicy::new(true)).is_ok());
        }
    }

    #[test]
    fn the_domain_serves_where_no_address_may_be_dialled() {
        let pair = Keypair::random();
        let packet = packet(&pair, "192.168.0.2", Some("example.com"));
        let route = route_of(&key(&pair), &packet, &AddressPolicy::new(false)).unwrap();
        assert_eq!(route, Route::Domain("example.com".to_owned(), None));
    }

    #[test]
    fn the_homeserver_is_read_from_the_users_packet() {
        let (user, home) = (Keypair::random(), Keypair::random());
        let z32 = home.public_key().to_z32();
        let packet = SignedPacket::builder()
            .https(
                "_pubky".try_into().unwrap(),
                SVCB::new(0, z32.as_str().try_into().unwrap()),
                3600,
            )
            .sign(&user)
            .unwrap();
        assert_eq!(home_target(&packet).unwrap().trim_end_matches('.'), z32);
        let empty = SignedPacket::builder().sign(&user).unwrap();
        assert_eq!(home_target(&empty), None);
    }
}
