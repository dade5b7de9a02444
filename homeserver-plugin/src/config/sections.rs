//! The sections of the configuration, with their defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use atomicity_ledger::UserKey;
use serde::{Deserialize, Serialize};
use url::Url;

/// The plugin's own Postgres database.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `postgres://user:password@host:port/name`. Required.
    pub url: String,
    /// Most connections of the pool; one more holds the lock.
    pub max_connections: u32,
    /// How long a request waits for a connection, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// How long one statement may run, in milliseconds.
    pub statement_timeout_ms: u64,
    /// How long start-up waits for a database that is not there yet, in milliseconds.
    pub startup_wait_ms: u64,
    /// How long start-up waits for another plugin to let go of the database, in milliseconds.
    pub lock_wait_ms: u64,
    /// How long a running plugin that lost its lock tries to get it back from another one before it gives up, in milliseconds.
    pub lock_grace_ms: u64,
    /// Whether `run` brings the schema up to date by itself.
    pub migrate_on_start: bool,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            max_connections: 10,
            acquire_timeout_ms: 3_000,
            statement_timeout_ms: 10_000,
            startup_wait_ms: 30_000,
            lock_wait_ms: 3_000,
            lock_grace_ms: 30_000,
            migrate_on_start: true,
        }
    }
}

impl std::fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL carries the password.
        f.debug_struct("DatabaseConfig")
            .field("max_connections", &self.max_connections)
            .field("migrate_on_start", &self.migrate_on_start)
            .finish_non_exhaustive()
    }
}

/// The HTTP listener for browsers and proxies.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The address that others use, if a proxy stands in front; goes into the packet and into `/v0/info`.
    pub public_url: Option<Url>,
    /// Proxies whose `X-Forwarded-For` is believed: addresses or networks (`10.0.0.0/8`).
    pub trusted_proxies: Vec<String>,
    /// Origins that browsers may call from; `*` for all.
    pub cors_origins: Vec<String>,
    /// How long a request may take until its answer starts, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long open requests get when the process is told to stop, in milliseconds.
    pub drain_timeout_ms: u64,
    /// Requests a second from one address, and how many at once.
    pub requests_per_second: u32,
    /// Size of the burst on top of `requests_per_second`.
    pub requests_burst: u32,
    /// Whether `/metrics` is served on the HTTP listener (never on the Pubky TLS listener).
    pub metrics: bool,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6290),
            public_url: None,
            trusted_proxies: Vec::new(),
            cors_origins: vec!["*".to_owned()],
            request_timeout_ms: 15_000,
            drain_timeout_ms: 10_000,
            requests_per_second: 100,
            requests_burst: 400,
            metrics: true,
        }
    }
}

impl HttpConfig {
    /// How long a request may take until its answer starts.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// How long open requests get when the process is told to stop.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}

/// The Pubky TLS listener and what the plugin's packet says about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PubkyConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The address written into the packet. Without it nothing is published, and only those who know the URL find the plugin.
    pub public_ip: Option<IpAddr>,
    /// The port written into the packet, if it is not the port of `listen`.
    pub public_port: Option<u16>,
    /// How often the packet is published again, in seconds.
    pub republish_s: u64,
}

impl Default for PubkyConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 6291),
            public_ip: None,
            public_port: None,
            republish_s: 3_600,
        }
    }
}

/// Who may have an account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountsConfig {
    /// The operator's homeserver. Its users may register.
    pub homeserver: Option<UserKey>,
    /// Where the homeserver's admin API listens. Only `doctor` asks it, to warn about the default password.
    pub homeserver_admin_url: Option<Url>,
    /// Whether users of other homeservers may register too.
    pub open_registration: bool,
    /// Most accounts there may be.
    pub max: i64,
    /// How long the inbox of a user who left stays readable, in seconds.
    pub drain_s: u64,
}

impl Default for AccountsConfig {
    fn default() -> Self {
        Self {
            homeserver: None,
            homeserver_admin_url: None,
            open_registration: false,
            max: 1_000_000,
            drain_s: 30 * 24 * 3_600,
        }
    }
}

/// Sessions and the proofs that open them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionsConfig {
    /// How long a session lasts, in seconds. It never outlives the grant it was opened with.
    pub ttl_s: u64,
    /// Most sessions of one user of each kind (of wallets, of apps that only read, of the wallet page); the oldest ends when another is opened.
    pub max_per_user: i64,
    /// How old a proof may be, in seconds.
    pub proof_max_age_s: u64,
    /// How many sessions one address may open a minute.
    pub opens_per_minute: u32,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self {
            ttl_s: 24 * 3_600,
            max_per_user: 32,
            proof_max_age_s: 120,
            opens_per_minute: 60,
        }
    }
}

/// How much an inbox holds, and how fast it fills.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InboxConfig {
    /// Most envelopes of one account.
    pub account_envelopes: i64,
    /// Most bytes of one account.
    pub account_bytes: i64,
    /// Most envelopes of one account that come from strangers, all together.
    pub strangers_envelopes: i64,
    /// Most envelopes that wait under one tag.
    pub tag_envelopes: i64,
    /// Most bytes that wait under one tag.
    pub tag_bytes: i64,
    /// Most envelopes of strangers that wait from one address.
    pub address_envelopes: i64,
    /// Most bytes of strangers that wait from one address.
    pub address_bytes: i64,
    /// Most tags of one account.
    pub max_tags: usize,
    /// Envelopes a second to one tag.
    pub tag_per_second: u32,
    /// Envelopes a minute of strangers from one address.
    pub stranger_per_minute: u32,
    /// How long an acknowledged envelope is remembered so that a late repeat is recognised, in seconds.
    pub remember_s: u64,
    /// Most live streams of one account.
    pub streams_per_account: usize,
    /// Most live streams in all.
    pub streams: usize,
    /// How often a live stream looks for itself, in milliseconds, in case it missed a wake-up.
    pub poll_ms: u64,
}

impl Default for InboxConfig {
    fn default() -> Self {
        Self {
            account_envelopes: 20_000,
            account_bytes: 256 * 1024 * 1024,
            strangers_envelopes: 1_000,
            tag_envelopes: 1_000,
            tag_bytes: 16 * 1024 * 1024,
            address_envelopes: 20,
            address_bytes: 1024 * 1024,
            max_tags: 10_000,
            tag_per_second: 50,
            stranger_per_minute: 30,
            remember_s: 24 * 3_600,
            streams_per_account: 8,
            streams: 10_000,
            poll_ms: 15_000,
        }
    }
}

/// How others are found and fetched from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// A test network: addresses on this machine and in private networks are allowed.
    pub testnet: bool,
    /// Nodes to join the DHT by (`host:port`); empty for the public ones, unless this is a test network.
    pub dht_bootstrap: Vec<String>,
    /// How long one DHT request may take, in milliseconds; 0 for the library's default.
    pub dht_request_timeout_ms: u64,
    /// Pkarr relays beside the DHT; empty for none.
    pub relays: Vec<Url>,
    /// How long looking one key up may take, in milliseconds.
    pub resolve_timeout_ms: u64,
    /// How long fetching one file may take, in milliseconds.
    pub fetch_timeout_ms: u64,
    /// How long a profile is served without asking its homeserver again, in seconds.
    pub profile_max_age_s: u64,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            testnet: false,
            dht_bootstrap: Vec::new(),
            dht_request_timeout_ms: 0,
            relays: Vec::new(),
            resolve_timeout_ms: 5_000,
            fetch_timeout_ms: 10_000,
            profile_max_age_s: 60,
        }
    }
}

/// What is logged, and how. Logs never hold amounts, tokens, keys' secrets or message bodies.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// Which lines, in the syntax of `tracing`'s filters.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
