//! Which addresses out of strangers' packets this service may connect to.
//!
//! Anyone can publish a packet that points at `127.0.0.1` or at a printer in the operator's network. Connecting there would lend strangers the operator's
//! place in the network, so only addresses of the public internet are allowed, unless the configuration says that this is a test network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The rule for addresses that strangers name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressPolicy {
    /// Only addresses that are routed on the public internet.
    PublicOnly,
    /// Loopback and private addresses too: for test networks on one machine, and for servers that the operator chose.
    AlsoPrivate,
}

impl AddressPolicy {
    /// The policy for the configuration's `network.testnet`.
    #[must_use]
    pub const fn from_testnet(testnet: bool) -> Self {
        if testnet {
            Self::AlsoPrivate
        } else {
            Self::PublicOnly
        }
    }

    /// Whether a connection to `address` may be opened.
    #[must_use]
    pub fn permits(self, address: IpAddr) -> bool {
        match self {
            Self::PublicOnly => is_public(address),
            Self::AlsoPrivate => {
                let address = unwrap_mapped(address);
                !address.is_unspecified() && !address.is_multicast()
            }
        }
    }
}

/// Whether `address` is unicast and routed on the public internet.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match unwrap_mapped(address) {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// `::ffff:a.b.c.d` reaches the same host as `a.b.c.d`, so it is judged as that.
fn unwrap_mapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0 // this network
        || a == 10
        || (a == 100 && (64..=127).contains(&b)) // carrier-grade NAT
        || a == 127
        || (a == 169 && b == 254) // link-local, cloud metadata
        || (a == 172 && (16..=31).contains(&b))
        || (a == 192 && b == 168)
        || (a == 192 && b == 0 && (c == 0 || c == 2)) // protocol assignments, documentation
        || (a == 192 && b == 88 && c == 99) // 6to4 relays
        || (a == 198 && (b == 18 || b == 19)) // benchmarks
        || (a == 198 && b == 51 && c == 100) // documentation
        || (a == 203 && b == 0 && c == 113) // documentation
        || a >= 224; // multicast, reserved, broadcast
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    if s[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_public_v4(embedded_v4(s[6], s[7])); // NAT64
    }
    if s[0] == 0x2002 {
        return is_public_v4(embedded_v4(s[1], s[2])); // 6to4
    }
    let global_unicast = s[0] & 0xe000 == 0x2000;
    let special = match s[0] {
        0x2001 => s[1] < 0x0200 || s[1] == 0x0db8, // Teredo, ORCHID, benchmarks; documentation
        0x3fff => s[1] < 0x1000,                   // documentation
        _ => false,
    };
    global_unicast && !special
}

fn embedded_v4(high: u16, low: u16) -> Ipv4Addr {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// (address, allowed on the public internet, allowed on a test network)
    const TABLE: &[(&str, bool, bool)] = &[
        ("1.1.1.1", true, true),
        ("8.8.8.8", true, true),
        ("99.255.255.255", true, true),
        ("100.63.255.255", true, true),
        ("100.64.0.1", false, true),
        ("100.127.255.255", false, true),
        ("100.128.0.1", true, true),
        ("0.0.0.0", false, false),
        ("0.1.2.3", false, true),
        ("10.0.0.1", false, true),
        ("127.0.0.1", false, true),
        ("127.255.255.254", false, true),
        ("169.254.169.254", false, true),
        ("172.15.255.255", true, true),
        ("172.16.0.1", false, true),
        ("172.31.255.255", false, true),
        ("172.32.0.1", true, true),
        ("192.0.0.8", false, true),
        ("192.0.1.1", true, true),
        ("192.0.2.1", false, true),
        ("192.88.99.1", false, true),
        ("192.168.1.1", false, true),
        ("192.169.0.1", true, true),
        ("198.17.255.255", true, true),
        ("198.18.0.1", false, true),
        ("198.19.255.255", false, true),
        ("198.51.100.7", false, true),
        ("203.0.113.9", false, true),
        ("223.255.255.255", true, true),
        ("224.0.0.251", false, false),
        ("240.0.0.1", false, true),
        ("255.255.255.255", false, true),
        ("::", false, false),
        ("::1", false, true),
        ("::7f00:1", false, true),
        ("::ffff:127.0.0.1", false, true),
        ("::ffff:0.0.0.0", false, false),
        ("::ffff:224.0.0.1", false, false),
        ("::ffff:8.8.8.8", true, true),
        ("64:ff9b::808:808", true, true),
        ("64:ff9b::a00:1", false, true),
        ("64:ff9b:1::808:808", false, true),
        ("100::1", false, true),
        ("2001::1", false, true),
        ("2001:1ff::1", false, true),
        ("2001:200::1", true, true),
        ("2001:db8::1", false, true),
        ("2001:4860:4860::8888", true, true),
        ("2002:7f00:1::", false, true),
        ("2002:808:808::", true, true),
        ("2606:4700::1111", true, true),
        ("3fff:fff::1", false, true),
        ("3fff:1000::1", true, true),
        ("4000::1", false, true),
        ("5f00::1", false, true),
        ("fc00::1", false, true),
        ("fd12:3456::1", false, true),
        ("fe80::1", false, true),
        ("fec0::1", false, true),
        ("ff02::1", false, false),
    ];

    #[test]
    fn addresses_are_judged_by_the_table() {
        for (text, public, testnet) in TABLE {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(
                AddressPolicy::PublicOnly.permits(address),
                *public,
                "{text} on the public internet"
            );
            assert_eq!(
                AddressPolicy::AlsoPrivate.permits(address),
                *testnet,
                "{text} on a test network"
            );
        }
    }

    #[test]
    fn the_configuration_chooses_the_policy() {
        assert_eq!(
            AddressPolicy::from_testnet(false),
            AddressPolicy::PublicOnly
        );
        assert_eq!(
            AddressPolicy::from_testnet(true),
            AddressPolicy::AlsoPrivate
        );
    }
}
