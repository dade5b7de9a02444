//! How often one address, tag or session may ask.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

use crate::config::Config;
use crate::error::PluginError;

/// The part of an address that one party controls: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressKey([u8; 16]);

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => Self(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).octets()),
        }
    }
}

impl AddressKey {
    /// The bytes that stand for the address.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// All rate limits of the process.
pub struct RateLimits {
    clock: DefaultClock,
    requests: DefaultKeyedRateLimiter<AddressKey>,
    opens: DefaultKeyedRateLimiter<AddressKey>,
    strangers: DefaultKeyedRateLimiter<AddressKey>,
    tags: DefaultKeyedRateLimiter<([u8; 32], [u8; 32])>,
    publications: DefaultKeyedRateLimiter<AddressKey>,
    user_publications: DefaultKeyedRateLimiter<[u8; 32]>,
    submissions: DefaultKeyedRateLimiter<AddressKey>,
    route_queries: DefaultKeyedRateLimiter<AddressKey>,
    router_hellos: DefaultKeyedRateLimiter<AddressKey>,
    spends: DefaultKeyedRateLimiter<[u8; 32]>,
}

fn count(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).unwrap_or(NonZeroU32::MIN)
}

impl RateLimits {
    /// Takes the figures from the configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let requests = Quota::per_second(count(config.http.requests_per_second))
            .allow_burst(count(config.http.requests_burst));
        // A known counterparty may catch up after a pause: a minute's worth at once.
        let tags = Quota::per_second(count(config.inbox.tag_per_second))
            .allow_burst(count(config.inbox.tag_per_second.saturating_mul(60)));
        Self {
            clock: DefaultClock::default(),
            requests: DefaultKeyedRateLimiter::keyed(requests),
            opens: DefaultKeyedRateLimiter::keyed(Quota::per_minute(count(
                config.sessions.opens_per_minute,
            ))),
            strangers: DefaultKeyedRateLimiter::keyed(Quota::per_minute(count(
                config.inbox.stranger_per_minute,
            ))),
            tags: DefaultKeyedRateLimiter::keyed(tags),
            publications: DefaultKeyedRateLimiter::keyed(Quota::per_minute(count(
                config.witness_log.address_per_minute,
            ))),
            user_publications: DefaultKeyedRateLimiter::keyed(Quota::per_minute(count(
                config.witness_log.user_per_minute,
            ))),
            submissions: DefaultKeyedRateLimiter::keyed(Quota::per_minute(count(
                config.watchtower.submissions_per_minute,
            ))),
            route_queries: DefaultKeyedRateLimiter::keyed(Quota::per_minute(count(
                config.router.queries_per_minute,
            ))),
            router_hellos: DefaultKeyedRateLimiter::keyed(Quota::per_minute(count(
                config.router.hellos_per_minute,
            ))),
            spends: DefaultKeyedRateLimiter::keyed(Quota::per_minute(count(
                config.agent.spends_per_minute,
            ))),
        }
    }

    fn check<K: Clone + std::hash::Hash + Eq>(
        &self,
        limiter: &DefaultKeyedRateLimiter<K>,
        key: &K,
    ) -> Result<(), PluginError> {
        limiter.check_key(key).map_err(|refusal| {
            let wait = refusal.wait_time_from(self.clock.now());
            PluginError::TooMany {
                code: "rate_limited",
                detail: "too many requests from here: wait and try again",
                // Rounded up, so that who waits as told gets through.
                retry_after: Duration::from_secs(wait.as_secs().saturating_add(1)),
            }
        })
    }

    /// Counts a request from `address`.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn request(&self, address: AddressKey) -> Result<(), PluginError> {
        self.check(&self.requests, &address)
    }

    /// Counts an attempt to open a session.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn session_open(&self, address: AddressKey) -> Result<(), PluginError> {
        self.check(&self.opens, &address)
    }

    /// Counts an envelope of a stranger.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn stranger(&self, address: AddressKey) -> Result<(), PluginError> {
        self.check(&self.strangers, &address)
    }

    /// Counts an envelope to `tag` of `owner`.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn tag(&self, owner: &[u8; 32], tag: &[u8; 32]) -> Result<(), PluginError> {
        self.check(&self.tags, &(*owner, *tag))
    }

    /// Counts a preimage from `address`.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn publication(&self, address: AddressKey) -> Result<(), PluginError> {
        self.check(&self.publications, &address)
    }

    /// Counts a preimage of a registered user.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn user_publication(&self, user: &[u8; 32]) -> Result<(), PluginError> {
        self.check(&self.user_publications, user)
    }

    /// Counts checkpoints or a proof for the watchtower from `address`.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn submission(&self, address: AddressKey) -> Result<(), PluginError> {
        self.check(&self.submissions, &address)
    }

    /// Counts a question for routes from `address`.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn route_query(&self, address: AddressKey) -> Result<(), PluginError> {
        self.check(&self.route_queries, &address)
    }

    /// Counts a user that `address` wants to be crawled.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn router_hello(&self, address: AddressKey) -> Result<(), PluginError> {
        self.check(&self.router_hellos, &address)
    }

    /// Counts a spend that the key of a payment account asks for.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn spend(&self, key: &[u8; 32]) -> Result<(), PluginError> {
        self.check(&self.spends, key)
    }

    /// Forgets keys that have used up nothing; called now and then, so that memory is bounded by recent traffic.
    pub fn forget_idle(&self) {
        self.requests.retain_recent();
        self.opens.retain_recent();
        self.strangers.retain_recent();
        self.tags.retain_recent();
        self.publications.retain_recent();
        self.user_publications.retain_recent();
        self.submissions.retain_recent();
        self.route_queries.retain_recent();
        self.router_hellos.retain_recent();
        self.spends.retain_recent();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_party_can_not_pose_as_many_addresses() {
        let key = |text: &str| AddressKey::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.2"), key("192.0.2.1"));
    }

    #[test]
    fn a_budget_runs_out_for_one_address_only_and_says_when_it_is_back() {
        let mut config = Config::default();
        config.inbox.stranger_per_minute = 2;
        let limits = RateLimits::new(&config);
        let (a, b) = (AddressKey([1; 16]), AddressKey([2; 16]));
        limits.stranger(a).unwrap();
        limits.stranger(a).unwrap();
        let error = limits.stranger(a).unwrap_err();
        assert_eq!(error.code(), "rate_limited");
        assert!(error.retry_after().unwrap() <= Duration::from_secs(31));
        limits.stranger(b).unwrap();
    }
}
