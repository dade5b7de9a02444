//! Finding users' homeservers by key and reading public files there.
//!
//! Everything here deals with strangers, whose packets point anywhere and whose servers answer anything, slowly or without end. So every look-up has a time
//! limit, every body a size limit, every address is judged before it is connected to ([`address`]), redirects are not followed, and only so many requests
//! run at once. What the resolver remembers may be old: on failure everything is resolved anew from the network, once.

pub mod address;
pub mod at;
pub mod call;
mod failure;
mod fetch;
pub mod home;
mod tls;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use atomicity_ledger::UserKey;
use futures_util::StreamExt;
use pkarr::dns::rdata::RData;
use pkarr::{PublicKey, ResolvePolicy, SignedPacket};
use reqwest::StatusCode;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::address::AddressPolicy;
use self::failure::Failure;
use self::fetch::{Ask, Fetcher, Reply, Route};
use crate::config::{Config, NetworkConfig};
use crate::error::PluginError;

/// Most ways to reach one server that are tried.
const MAX_ROUTES: usize = 4;
/// Most requests to strangers' servers at once.
const MAX_CONCURRENT: usize = 128;
/// How long a packet may be served from memory, in seconds. Users publish with an hour, which is long when one has just moved.
const MAX_PACKET_TTL_S: u32 = 300;

/// What was found at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The file, with the server's validator.
    Found {
        /// The bytes, within the bound that was asked for.
        body: Vec<u8>,
        /// The server's `ETag`, to be sent back as it is.
        etag: Option<String>,
    },
    /// The validator that was sent is still right.
    NotModified,
    /// There is no such file at the user's homeserver, which was looked up afresh.
    NotFound,
}

/// What a server said about itself.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The HTTP status of `/info`.
    pub status: u16,
    /// The server's clock, from its `Date` header.
    pub date: Option<SystemTime>,
}

/// Looks users up, with time-outs, size caps and a cache. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Resolver {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pkarr: pkarr::Client,
    policy: AddressPolicy,
    /// Servers that the operator named may live at a private address: nobody else chose them.
    trusted: Vec<PublicKey>,
    fetcher: Fetcher,
    resolve_budget: Duration,
    fetch_budget: Duration,
    permits: Semaphore,
}

/// One file to be read.
#[derive(Debug)]
struct File<'a> {
    user: &'a UserKey,
    target: &'a str,
    if_none_match: Option<&'a str>,
    max_bytes: usize,
}

impl Resolver {
    /// Sets up the clients; nothing is asked yet.
    ///
    /// # Errors
    /// [`PluginError::Config`] if the network settings can't be used.
    pub fn new(config: &Config) -> Result<Self, PluginError> {
        let network = &config.network;
        let pkarr = pkarr_client(network)?;
        let policy = AddressPolicy::from_testnet(network.testnet);
        let fetch_budget = Duration::from_millis(network.fetch_timeout_ms);
        let inner = Inner {
            pkarr,
            policy,
            trusted: config
                .accounts
                .homeserver
                .iter()
                .filter_map(|key| to_pkarr(key).ok())
                .collect(),
            fetcher: Fetcher::new(policy, fetch_budget)?,
            resolve_budget: Duration::from_millis(network.resolve_timeout_ms),
            fetch_budget,
            permits: Semaphore::new(MAX_CONCURRENT),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The client for packets, for publishing our own.
    #[must_use]
    pub fn pkarr(&self) -> &pkarr::Client {
        &self.inner.pkarr
    }

    /// The homeserver that `user`'s packet names, asked from the network; `None` if they have no packet or name none.
    ///
    /// # Errors
    /// [`PluginError::Upstream`] if the network can't be asked.
    pub async fn homeserver_of(&self, user: &UserKey) -> Result<Option<UserKey>, PluginError> {
        let mut found = self.home(user, ResolvePolicy::NetworkOnly).await;
        if found.is_err() {
            // The network loses some answers. What is in memory is at most minutes old, and if there is nothing, this asks once more.
            found = self.home(user, ResolvePolicy::CacheFirst).await;
        }
        match found {
            Ok(home) => Ok(UserKey::from_bytes(home.to_bytes()).ok()),
            Err(Failure::NoHomeserver) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Reads a public file (or, with a trailing `/`, a listing) of a user at their homeserver.
    ///
    /// `target` is path and query and begins with `/pub/`; `if_none_match` is the validator of what the caller holds; an answer longer than `max_bytes` is
    /// an error.
    ///
    /// # Errors
    /// [`PluginError::NotFound`] (`homeserver_unknown`) if the user's packet names no homeserver, [`PluginError::Overloaded`] if too many requests are under
    /// way, [`PluginError::Upstream`] for everything that the network or the server did wrong.
    pub async fn get_public(
        &self,
        user: &UserKey,
        target: &str,
        if_none_match: Option<&str>,
        max_bytes: usize,
    ) -> Result<Fetched, PluginError> {
        let file = File {
            user,
            target,
            if_none_match,
            max_bytes,
        };
        self.read_retrying(&file).await.map_err(PluginError::from)
    }

    /// Asks a server for its `/info`.
    ///
    /// # Errors
    /// [`PluginError::Upstream`] if it can't be found or reached.
    pub async fn probe(&self, server: &UserKey) -> Result<Probe, PluginError> {
        let server = to_pkarr(server)?;
        let ask = Ask {
            target: "/info",
            tenant: None,
            if_none_match: None,
            max_bytes: 16 * 1024,
        };
        let reply = match self.ask(&server, &ask, ResolvePolicy::CacheFirst).await {
            Ok(reply) => reply,
            Err(_) => self.ask(&server, &ask, ResolvePolicy::NetworkOnly).await?,
        };
        Ok(Probe {
            status: reply.status.as_u16(),
            date: reply.date,
        })
    }

    /// The packet of a key, as the network has it now; `None` if it has none.
    ///
    /// # Errors
    /// [`PluginError::Upstream`] if the network can't be asked.
    pub async fn packet_on_network(
        &self,
        key: &PublicKey,
    ) -> Result<Option<SignedPacket>, PluginError> {
        match self.packet(key, ResolvePolicy::NetworkOnly).await {
            Ok(packet) => Ok(Some(packet)),
            Err(Failure::NoHomeserver) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn read_retrying(&self, file: &File<'_>) -> Result<Fetched, Failure> {
        if !file.target.starts_with("/pub/") || file.target.contains("..") {
            return Err(Failure::BadPath);
        }
        let waiting = timeout(self.inner.resolve_budget, self.inner.permits.acquire());
        let _permit = waiting
            .await
            .map_err(|_| Failure::Busy)?
            .map_err(|_| Failure::Busy)?;
        match self.read(file, ResolvePolicy::CacheFirst).await {
            Ok((_, found @ (Fetched::Found { .. } | Fetched::NotModified))) => Ok(found),
            Ok((home, Fetched::NotFound)) => self.not_found_at(&home, file).await,
            Err(failure) if failure.may_be_stale() => self
                .read(file, ResolvePolicy::NetworkOnly)
                .await
                .map(|(_, found)| found),
            Err(failure) => Err(failure),
        }
    }

    /// A file that the home we knew does not have: the user may have moved since.
    async fn not_found_at(&self, home: &PublicKey, file: &File<'_>) -> Result<Fetched, Failure> {
        match self.home(file.user, ResolvePolicy::NetworkOnly).await {
            Ok(fresh) if fresh != *home => self
                .read(file, ResolvePolicy::NetworkOnly)
                .await
                .map(|(_, found)| found),
            Ok(_) | Err(Failure::NoHomeserver) => Ok(Fetched::NotFound),
            Err(failure) => Err(failure),
        }
    }

    async fn read(
        &self,
        file: &File<'_>,
        policy: ResolvePolicy,
    ) -> Result<(PublicKey, Fetched), Failure> {
        let home = self.home(file.user, policy).await?;
        let user = file.user.to_z32();
        let by_path = format!("/storage/{user}{}", file.target);
        let mut ask = Ask {
            target: &by_path,
            tenant: None,
            if_none_match: file.if_none_match,
            max_bytes: file.max_bytes,
        };
        let mut reply = self.ask(&home, &ask, policy).await?;
        if matches!(
            reply.status,
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED
        ) {
            // Older homeservers know the tenant by a header only.
            ask.target = file.target;
            ask.tenant = Some(&user);
            reply = self.ask(&home, &ask, policy).await?;
        }
        Ok((home, judge(reply)?))
    }

    /// Sends one request to a server along the first route that works.
    async fn ask(
        &self,
        server: &PublicKey,
        ask: &Ask<'_>,
        policy: ResolvePolicy,
    ) -> Result<Reply, Failure> {
        let work = async {
            let mut last = Failure::NoRoute;
            for route in self.routes(server, policy).await? {
                match self.inner.fetcher.get(&route, ask).await {
                    Ok(reply) => return Ok(reply),
                    Err(failure @ (Failure::Unreachable | Failure::NoRoute)) => last = failure,
                    Err(failure) => return Err(failure),
                }
            }
            Err(last)
        };
        timeout(self.inner.fetch_budget, work)
            .await
            .map_err(|_| Failure::TimedOut)?
    }

    /// The permitted ways to reach a server: by key first, since that needs no certificate authority.
    async fn routes(
        &self,
        server: &PublicKey,
        policy: ResolvePolicy,
    ) -> Result<Vec<Route>, Failure> {
        let trusted = self.inner.trusted.contains(server);
        let allowed = if trusted {
            AddressPolicy::AlsoPrivate
        } else {
            self.inner.policy
        };
        self.routes_within(server, policy, allowed).await
    }

    /// The ways to reach a server that the operator named.
    async fn routes_of_trusted(
        &self,
        server: &PublicKey,
        policy: ResolvePolicy,
    ) -> Result<Vec<Route>, Failure> {
        self.routes_within(server, policy, AddressPolicy::AlsoPrivate)
            .await
    }

    async fn routes_within(
        &self,
        server: &PublicKey,
        policy: ResolvePolicy,
        allowed: AddressPolicy,
    ) -> Result<Vec<Route>, Failure> {
        if policy == ResolvePolicy::NetworkOnly {
            // Refreshes what the next lines find in memory. If it fails, what is there is as good as anything.
            let _ = self.packet(server, policy).await;
        }
        let name = server.to_z32();
        let gather = async {
            let endpoints = std::pin::pin!(self.inner.pkarr.resolve_https_endpoints(&name));
            endpoints.take(MAX_ROUTES).collect::<Vec<_>>().await
        };
        let endpoints = timeout(self.inner.resolve_budget, gather)
            .await
            .map_err(|_| Failure::TimedOut)?;
        let mut routes: Vec<_> = endpoints
            .iter()
            .filter_map(|endpoint| Route::from_endpoint(endpoint, allowed))
            .collect();
        routes.sort_by_key(|route| matches!(route, Route::Domain { .. }));
        Ok(routes)
    }

    async fn home(&self, user: &UserKey, policy: ResolvePolicy) -> Result<PublicKey, Failure> {
        let packet = self.packet(&to_pkarr(user)?, policy).await?;
        homeserver_in(&packet).ok_or(Failure::NoHomeserver)
    }

    async fn packet(
        &self,
        key: &PublicKey,
        policy: ResolvePolicy,
    ) -> Result<SignedPacket, Failure> {
        let found = timeout(
            self.inner.resolve_budget,
            self.inner.pkarr.resolve(key, policy),
        )
        .await;
        match found {
            Ok(Ok(packet)) => Ok(packet),
            Ok(Err(pkarr::errors::ResolveError::NotFound)) => Err(Failure::NoHomeserver),
            Ok(Err(error)) => Err(Failure::Lookup(error.to_string())),
            Err(_) => Err(Failure::Lookup("no answer in time".to_owned())),
        }
    }
}

fn judge(reply: Reply) -> Result<Fetched, Failure> {
    match reply.status {
        StatusCode::OK => Ok(Fetched::Found {
            body: reply.body,
            etag: reply.etag,
        }),
        StatusCode::NOT_MODIFIED => Ok(Fetched::NotModified),
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Fetched::NotFound),
        status => Err(Failure::Status(status.as_u16())),
    }
}

/// The homeserver that a user's packet names under `_pubky`.
fn homeserver_in(packet: &SignedPacket) -> Option<PublicKey> {
    packet.resource_records("_pubky").find_map(|record| {
        let target = match &record.rdata {
            RData::SVCB(svcb) => svcb.target.to_string(),
            RData::HTTPS(https) => https.0.target.to_string(),
            _ => return None,
        };
        PublicKey::try_from(target.as_str()).ok()
    })
}

fn to_pkarr(key: &UserKey) -> Result<PublicKey, Failure> {
    PublicKey::try_from(key.as_bytes()).map_err(|_| Failure::NoHomeserver)
}

fn pkarr_client(network: &NetworkConfig) -> Result<pkarr::Client, PluginError> {
    let mut builder = pkarr::Client::builder();
    builder.maximum_ttl(MAX_PACKET_TTL_S);
    if !network.dht_bootstrap.is_empty() || network.testnet {
        builder.bootstrap(&network.dht_bootstrap);
    }
    if network.testnet {
        builder.dht_report_policy(pkarr::dht::ReportPolicy::testnet());
    }
    if network.dht_request_timeout_ms > 0 {
        builder.dht_request_timeout(Duration::from_millis(network.dht_request_timeout_ms));
    }
    if network.relays.is_empty() {
        builder.no_relays();
    } else {
        builder
            .relays(&network.relays)
            .map_err(|error| PluginError::Config(format!("network.relays: {error}")))?;
    }
    builder
        .build()
        .map_err(|error| PluginError::Config(format!("network: {error}")))
}

#[cfg(test)]
mod tests;
