//! Which addresses may be dialled.
//!
//! Addresses come out of packets and profiles that strangers wrote. A stranger who points them at this machine or at the network it
//! stands in would have us knock on doors that are closed to him, so such addresses are refused, unless the configuration says that
//! this is a test network or the user named the server himself.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::RwLock;

use super::ServiceKey;

/// The rule and its exceptions.
#[derive(Debug)]
pub(crate) struct AddressPolicy {
    allow_private: bool,
    trusted_keys: RwLock<HashSet<ServiceKey>>,
    trusted_hosts: RwLock<HashSet<String>>,
}

impl AddressPolicy {
    pub(crate) fn new(allow_private: bool) -> Self {
        Self {
            allow_private,
            trusted_keys: RwLock::default(),
            trusted_hosts: RwLock::default(),
        }
    }

    /// From now on this server may live on a private address: the user chose it.
    pub(crate) fn trust(&self, key: &ServiceKey) {
        if let Ok(mut keys) = self.trusted_keys.write() {
            keys.insert(*key);
        }
    }

    /// From now on this host name (or address) may be private: the user chose it.
    pub(crate) fn trust_host(&self, host: &str) {
        if let Ok(mut hosts) = self.trusted_hosts.write() {
            hosts.insert(host.to_ascii_lowercase());
        }
    }

    pub(crate) fn trusts(&self, key: &ServiceKey) -> bool {
        self.trusted_keys
            .read()
            .is_ok_and(|keys| keys.contains(key))
    }

    /// Whether `address`, found in the packet of `key`, may be dialled.
    pub(crate) fn allows(&self, key: &ServiceKey, address: IpAddr) -> bool {
        self.allow_private || is_public(address) || self.trusts(key)
    }

    /// Whether `address`, found for the host name `host`, may be dialled.
    pub(crate) fn allows_host(&self, host: &str, address: IpAddr) -> bool {
        self.allow_private
            || is_public(address)
            || self
                .trusted_hosts
                .read()
                .is_ok_and(|hosts| hosts.contains(&host.to_ascii_lowercase()))
    }
}

/// Whether an address is reachable from anywhere and belongs to no special range (RFC 6890 and its successors).
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(a: Ipv4Addr) -> bool {
    let [first, second, third, _] = a.octets();
    let special = a.is_unspecified()
        || first == 0
        || a.is_loopback()
        || a.is_private()
        || a.is_link_local()
        || a.is_broadcast()
        || a.is_documentation()
        || a.is_multicast()
        || first >= 240
        // Carrier-grade NAT, protocol assignments, benchmarking.
        || (first == 100 && (64..128).contains(&second))
        || (first == 192 && second == 0 && third == 0)
        || (first == 198 && (18..20).contains(&second));
    !special
}

fn is_public_v6(a: Ipv6Addr) -> bool {
    // An IPv4 address in another coat is judged by what is underneath.
    if let Some(v4) = a.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let segments = a.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, discard, documentation, ORCHID: nothing of ours lives there.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        // Only 2000::/3 is handed out; this leaves ::1, fc00::/7, fe80::/10 and ff00::/8 outside.
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use atomicity_ledger::Keypair;

    #[test]
    fn addresses_of_this_machine_and_of_private_networks_are_not_public() {
        for text in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        for text in [
            "1.1.1.1",
            "100.63.255.255",
            "172.32.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "2a05:d014:275:6201::64",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn only_what_the_user_chose_may_be_private() {
        let policy = AddressPolicy::new(false);
        let (mine, other) = (
            Keypair::from_secret(&[1; 32]).user_key(),
            Keypair::from_secret(&[2; 32]).user_key(),
        );
        let home: IpAddr = "192.168.1.5".parse().unwrap();
        assert!(!policy.allows(&mine, home));
        policy.trust(&mine);
        policy.trust_host("Box.local");
        assert!(policy.allows(&mine, home) && !policy.allows(&other, home));
        assert!(policy.allows_host("box.LOCAL", home) && !policy.allows_host("other.local", home));
        assert!(AddressPolicy::new(true).allows(&other, home));
    }
}
