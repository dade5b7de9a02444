//! The packet that says where this service is: how a key becomes an address.
//!
//! It is published at start and every hour, with jitter so that many services don't publish at once. It holds pointers only, and stays below the 1000 bytes
//! that the DHT takes.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use pkarr::dns::rdata::SVCB;
use pkarr::dns::{Name, SimpleDnsError};
use pkarr::{Keypair, SignedPacket};
use url::Host;

use crate::config::Config;
use crate::state::AppState;

/// The longest packet that the DHT stores, in bytes.
pub const MAX_PACKET_BYTES: usize = 1000;
/// How long others may remember the records, in seconds.
const TTL_S: u32 = 3600;
/// How long one publication may take.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);
/// First and longest pause after a publication that failed.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// Where this service can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Public addresses of the listener that speaks TLS with the raw public key.
    pub addresses: Vec<IpAddr>,
    /// Port of that listener, as seen from outside.
    pub port: u16,
    /// Domain (and port) under which a proxy serves the same to browsers.
    pub domain: Option<(String, Option<u16>)>,
}

impl Location {
    /// Whether there is nothing to point at.
    #[must_use]
    pub fn is_nowhere(&self) -> bool {
        self.addresses.is_empty() && self.domain.is_none()
    }
}

/// Why a packet could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// The domain is not a DNS name.
    #[error("the domain is not a DNS name: {0}")]
    Name(#[from] SimpleDnsError),
    /// The records don't fit, or can't be encoded.
    #[error("the packet could not be signed: {0}")]
    Build(String),
    /// There is nothing to point at.
    #[error("the packet would name neither an address nor a domain")]
    Empty,
}

/// Makes and signs the packet for `location`.
///
/// # Errors
/// [`PacketError`] if the domain is malformed, nothing is to be published, or the records exceed [`MAX_PACKET_BYTES`].
pub fn build(keys: &Keypair, location: &Location) -> Result<SignedPacket, PacketError> {
    if location.is_nowhere() {
        return Err(PacketError::Empty);
    }
    let mut packet = SignedPacket::builder();
    if !location.addresses.is_empty() {
        let mut direct = SVCB::new(1, Name::try_from(".")?);
        direct.set_port(location.port);
        packet = packet.https(Name::try_from(".")?, direct, TTL_S);
        for address in &location.addresses {
            packet = packet.address(Name::try_from(".")?, *address, TTL_S);
        }
    }
    if let Some((domain, port)) = &location.domain {
        let mut proxied = SVCB::new(10, Name::try_from(domain.as_str())?);
        if let Some(port) = port {
            proxied.set_port(*port);
        }
        packet = packet.https(Name::try_from(".")?, proxied, TTL_S);
    }
    packet
        .sign(keys)
        .map_err(|error| PacketError::Build(error.to_string()))
}

/// Whether `packet` points at `location`: what a stranger who resolves us would find.
///
/// # Errors
/// As [`build`].
pub fn points_at(
    packet: &SignedPacket,
    keys: &Keypair,
    location: &Location,
) -> Result<bool, PacketError> {
    let ours = build(keys, location)?;
    Ok(records(packet) == records(&ours))
}

fn records(packet: &SignedPacket) -> Vec<String> {
    let mut texts: Vec<_> = packet
        .all_resource_records()
        .map(|record| format!("{} {:?}", record.name, record.rdata))
        .collect();
    texts.sort();
    texts
}

/// Where the configuration says that this service is. `tls_port` is the port that the listener for raw public keys took.
#[must_use]
pub fn location(config: &Config, tls_port: u16) -> Location {
    let fallback = config
        .network
        .testnet
        .then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let domain = config
        .http
        .public_url
        .as_ref()
        .and_then(|url| match (url.scheme(), url.host()) {
            ("https", Some(Host::Domain(name))) => Some((name.to_owned(), url.port())),
            _ => None,
        });
    Location {
        addresses: config.pubky.public_ip.or(fallback).into_iter().collect(),
        port: config.pubky.public_port.unwrap_or(tls_port),
        domain,
    }
}

/// Keeps the packet on the network.
#[derive(Debug, Clone, Copy)]
pub struct Publisher;

impl Publisher {
    /// Publishes at once, then every `pubky.republish_s`, until the process is told to stop. Without an address or a domain there is nothing to publish, and
    /// this returns at once.
    ///
    /// `http_port` is not announced: browsers come by the domain.
    pub async fn run(state: AppState, tls_port: u16, _http_port: u16) {
        let place = location(&state.config, tls_port);
        if place.is_nowhere() {
            tracing::warn!(
                "neither pubky.public_ip nor an https http.public_url is set: no packet is published"
            );
            return;
        }
        state.metrics.packet_expected();
        let every = Duration::from_secs(state.config.pubky.republish_s);
        let mut failures: u32 = 0;
        loop {
            let publishing = publish_once(state.resolver.pkarr(), state.keypair.as_inner(), &place);
            let outcome = tokio::select! {
                () = state.shutdown.cancelled() => return,
                outcome = publishing => outcome,
            };
            state.metrics.packet_published(outcome.is_ok());
            match outcome {
                Ok(nodes) => {
                    failures = 0;
                    tracing::info!(nodes, "packet published");
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(failures, error, "packet could not be published");
                }
            }
            tokio::select! {
                () = state.shutdown.cancelled() => return,
                () = tokio::time::sleep(next_pause(every, failures, rand::random())) => {}
            }
        }
    }
}

/// Publishes the packet once; answers how many nodes stored it.
///
/// # Errors
/// A text that says what went wrong: the packet can't be made, or the network did not take it.
async fn publish_once(
    client: &pkarr::Client,
    keys: &Keypair,
    location: &Location,
) -> Result<u64, String> {
    let packet = build(keys, location).map_err(|error| error.to_string())?;
    let publishing = tokio::time::timeout(PUBLISH_TIMEOUT, client.publish(&packet));
    let stored = publishing
        .await
        .map_err(|_| "no answer in time".to_owned())?
        .map_err(|error| error.to_string())?;
    Ok(u64::from(stored))
}

/// The pause before the next attempt: `every` after a success, doubling from seconds to minutes after failures; `jitter` moves it by up to a fifth
/// either way.
pub(crate) fn next_pause(every: Duration, failures: u32, jitter: u8) -> Duration {
    let base = match failures.checked_sub(1) {
        None => every,
        Some(doublings) => FIRST_RETRY
            .saturating_mul(1_u32 << doublings.min(10))
            .min(LAST_RETRY)
            .min(every),
    };
    let percent = 80 + u32::from(jitter) * 40 / 255;
    base.saturating_mul(percent) / 100
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn place() -> Location {
        Location {
            addresses: vec![
                "203.0.113.5".parse().unwrap(),
                "2001:db8::5".parse().unwrap(),
            ],
            port: 6290,
            domain: Some(("credit.example.org".to_owned(), None)),
        }
    }

    #[test]
    fn a_packet_names_port_addresses_and_domain() {
        let keys = Keypair::random();
        let packet = build(&keys, &place()).unwrap();
        let text = records(&packet).join("\n");
        assert!(text.contains("6290"), "{text}");
        assert!(text.contains("credit"), "{text}");
        assert_eq!(packet.all_resource_records().count(), 4);
        assert_eq!(packet.public_key(), keys.public_key());
    }

    #[test]
    fn the_longest_reasonable_packet_fits() {
        let keys = Keypair::random();
        let label = "a".repeat(63);
        let mut crowded = place();
        crowded.addresses = (0..8)
            .flat_map(|n| {
                [
                    IpAddr::from([203, 0, 113, n]),
                    IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(n)]),
                ]
            })
            .collect();
        crowded.domain = Some((format!("{label}.{label}.{label}.example"), Some(8443)));
        assert!(build(&keys, &crowded).unwrap().encoded_packet().len() <= MAX_PACKET_BYTES);
    }

    #[test]
    fn a_packet_that_would_not_fit_is_refused() {
        let keys = Keypair::random();
        let mut crowded = place();
        crowded.addresses = (0..200).map(|n| IpAddr::from([203, 0, 113, n])).collect();
        assert!(matches!(build(&keys, &crowded), Err(PacketError::Build(_))));
    }

    #[test]
    fn a_packet_without_a_place_is_refused() {
        let nowhere = Location {
            addresses: Vec::new(),
            port: 1,
            domain: None,
        };
        assert!(matches!(
            build(&Keypair::random(), &nowhere),
            Err(PacketError::Empty)
        ));
    }

    #[test]
    fn a_packet_points_at_its_own_location_and_at_no_other() {
        let keys = Keypair::random();
        let packet = build(&keys, &place()).unwrap();
        assert!(points_at(&packet, &keys, &place()).unwrap());
        let mut reordered = place();
        reordered.addresses.reverse();
        assert!(points_at(&packet, &keys, &reordered).unwrap());
        let mut moved = place();
        moved.port = 6291;
        assert!(!points_at(&packet, &keys, &moved).unwrap());
        let mut elsewhere = place();
        elsewhere.addresses.pop();
        assert!(!points_at(&packet, &keys, &elsewhere).unwrap());
    }

    #[test]
    fn failures_back_off_and_success_waits_an_hour() {
        let (hour, middle) = (Duration::from_secs(3600), 128);
        assert_eq!(next_pause(hour, 0, 0).as_secs(), 3600 * 80 / 100);
        assert_eq!(next_pause(hour, 0, 255).as_secs(), 3600 * 120 / 100);
        assert!(next_pause(hour, 1, middle) < next_pause(hour, 2, middle));
        assert!(next_pause(hour, 2, middle) < next_pause(hour, 3, middle));
        assert_eq!(next_pause(hour, 40, middle), next_pause(hour, 4000, middle));
        assert!(next_pause(hour, u32::MAX, 255).as_secs() <= 300 * 120 / 100);
        assert!(next_pause(Duration::from_secs(1), 9, 255) <= Duration::from_millis(1200));
    }

    #[test]
    fn the_configuration_says_where_we_are() {
        let mut config = Config::default();
        assert!(location(&config, 6291).is_nowhere());
        config.network.testnet = true;
        assert_eq!(
            location(&config, 5).addresses,
            [IpAddr::V4(Ipv4Addr::LOCALHOST)]
        );
        config.pubky.public_ip = Some("203.0.113.5".parse().unwrap());
        config.pubky.public_port = Some(443);
        config.http.public_url = Some("https://credit.example.org:8443/".parse().unwrap());
        let place = location(&config, 5);
        assert_eq!((place.addresses.len(), place.port), (1, 443));
        assert_eq!(
            place.domain,
            Some(("credit.example.org".to_owned(), Some(8443)))
        );
        for not_a_domain in ["http://credit.example.org/", "https://203.0.113.5/"] {
            config.http.public_url = Some(not_a_domain.parse().unwrap());
            assert_eq!(location(&config, 5).domain, None, "{not_a_domain}");
        }
    }
}
