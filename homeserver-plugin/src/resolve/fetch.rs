//! Bounded HTTP requests to servers that strangers' packets name.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use pkarr::{PublicKey, extra::endpoints::Endpoint};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{StatusCode, header, redirect};
use url::{Host, Url};

use super::address::AddressPolicy;
use super::call::{Answer, Call, along};
use super::failure::Failure;
use super::home::HomeCall;
use super::tls::raw_key_config;
use crate::error::PluginError;

/// Most addresses of one server that are tried.
const MAX_ADDRESSES: usize = 4;
/// Most servers whose addresses are remembered between resolving and connecting.
const MAX_PINS: usize = 1024;
/// How long a response that goes on may be silent. Homeservers send a comment every 15 s.
const MAX_SILENCE: Duration = Duration::from_secs(50);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One way to reach a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// TLS with the raw public key, at addresses that the policy permits.
    Key {
        key: PublicKey,
        addresses: Vec<SocketAddr>,
    },
    /// TLS with a certificate, at a domain whose addresses are judged when they are looked up.
    Domain { domain: String, port: Option<u16> },
}

impl Route {
    /// The route that an endpoint describes, if the policy leaves anything of it.
    pub(super) fn from_endpoint(endpoint: &Endpoint, policy: AddressPolicy) -> Option<Self> {
        if let Some(domain) = endpoint.domain() {
            return permitted_domain(domain, policy).then(|| Self::Domain {
                domain: domain.to_owned(),
                port: endpoint.port(),
            });
        }
        let addresses: Vec<_> = endpoint
            .to_socket_addrs()
            .into_iter()
            .filter(|address| policy.permits(address.ip()))
            .take(MAX_ADDRESSES)
            .collect();
        (!addresses.is_empty()).then(|| Self::Key {
            key: endpoint.public_key().clone(),
            addresses,
        })
    }

    pub(super) fn base(&self) -> Result<Url, Failure> {
        let text = match self {
            Self::Key { key, .. } => format!("https://{}/", key.to_z32()),
            Self::Domain {
                domain,
                port: Some(port),
            } => format!("https://{domain}:{port}/"),
            Self::Domain { domain, port: None } => format!("https://{domain}/"),
        };
        Url::parse(&text).map_err(|_| Failure::NoRoute)
    }
}

/// Whether a "domain" may be looked up at all. A literal address in its place is not looked up but connected to, so it is judged here.
pub(super) fn permitted_domain(domain: &str, policy: AddressPolicy) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if domain.is_empty() || !domain.bytes().all(plain) {
        return false;
    }
    // The parser knows all spellings of an address, such as `0x7f.1`, and so does whatever connects.
    match Host::parse(domain) {
        Ok(Host::Ipv4(v4)) => policy.permits(v4.into()),
        Ok(Host::Ipv6(v6)) => policy.permits(v6.into()),
        Ok(Host::Domain(_)) => true,
        Err(_) => false,
    }
}

/// What to ask of a server.
#[derive(Debug, Clone)]
pub(super) struct Ask<'a> {
    /// Path and query, beginning with `/`.
    pub target: &'a str,
    /// The tenant, for servers that know only the older form of addressing.
    pub tenant: Option<&'a str>,
    /// Validator of what the caller holds.
    pub if_none_match: Option<&'a str>,
    /// Longest body that is accepted, in bytes.
    pub max_bytes: usize,
}

/// A whole response, its body within the bound that was asked for.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub etag: Option<String>,
    pub date: Option<SystemTime>,
    pub body: Vec<u8>,
}

/// The HTTP clients: one for raw public keys, one for certificates, one for addresses that the operator named. None follows redirects
/// or uses a proxy.
#[derive(Debug, Clone)]
pub(super) struct Fetcher {
    by_key: reqwest::Client,
    by_domain: reqwest::Client,
    named: reqwest::Client,
    live_by_key: reqwest::Client,
    live_by_domain: reqwest::Client,
    pins: Pins,
}

impl Fetcher {
    pub(super) fn new(policy: AddressPolicy, timeout: Duration) -> Result<Self, PluginError> {
        let pins = Pins::default();
        let tls =
            raw_key_config().map_err(|error| PluginError::Config(format!("network: {error}")))?;
        let built = |builder: reqwest::ClientBuilder| {
            builder
                .build()
                .map_err(|error| PluginError::Config(format!("network: {error}")))
        };
        let by_key = |client: reqwest::ClientBuilder| {
            built(
                client
                    .tls_backend_preconfigured(tls.clone())
                    .dns_resolver(Arc::new(pins.clone())),
            )
        };
        let by_domain = |client: reqwest::ClientBuilder| {
            built(client.dns_resolver(Arc::new(GuardedDns(policy))))
        };
        Ok(Self {
            by_key: by_key(client(timeout).timeout(timeout))?,
            by_domain: by_domain(client(timeout).timeout(timeout))?,
            named: built(client(timeout).timeout(timeout))?,
            live_by_key: by_key(client(timeout).read_timeout(MAX_SILENCE))?,
            live_by_domain: by_domain(client(timeout).read_timeout(MAX_SILENCE))?,
            pins,
        })
    }

    /// Sends a request of the operator's: along `route`, or to the address in its URL. `kind` is the media type of the body.
    pub(super) async fn send(
        &self,
        route: Option<&Route>,
        call: &Call<'_>,
        kind: Option<&str>,
    ) -> Result<Answer, Failure> {
        let (client, url) = match route {
            Some(route @ Route::Key { key, addresses }) => {
                self.pins.put(key.to_z32(), addresses.clone());
                (&self.by_key, along(route, call.url)?)
            }
            Some(route) => (&self.named, along(route, call.url)?),
            None => (&self.named, call.url.clone()),
        };
        let mut request = match call.body {
            Some(body) => client.post(url).body(body.to_vec()),
            None => client.get(url),
        };
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        answer(request, call.max_bytes).await
    }

    /// Sends a request, with a body in JSON if any, along `route`, or to the address in the URL, which was judged; its name is judged when it is looked up.
    pub(super) async fn ask(
        &self,
        route: Option<&Route>,
        call: &Call<'_>,
    ) -> Result<Answer, Failure> {
        let (client, url) = match route {
            Some(route @ Route::Key { key, addresses }) => {
                self.pins.put(key.to_z32(), addresses.clone());
                (&self.by_key, along(route, call.url)?)
            }
            Some(route) => (&self.by_domain, along(route, call.url)?),
            None => (&self.by_domain, call.url.clone()),
        };
        let request = match call.body {
            Some(body) => client
                .post(url)
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_vec()),
            None => client.get(url),
        };
        answer(request, call.max_bytes).await
    }

    /// Sends a request on behalf of a user along `route`.
    pub(super) async fn write(
        &self,
        route: &Route,
        tenant: &str,
        call: &HomeCall<'_>,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        let url = route
            .base()?
            .join(call.target)
            .map_err(|_| Failure::BadPath)?;
        let client = match route {
            Route::Key { key, addresses } => {
                self.pins.put(key.to_z32(), addresses.clone());
                &self.by_key
            }
            Route::Domain { .. } => &self.by_domain,
        };
        let mut request = client
            .request(call.method.clone(), url)
            .header("pubky-host", tenant)
            .body(call.body.clone());
        if let Some(bearer) = call.bearer {
            request = request.bearer_auth(bearer);
        }
        if let Some(kind) = call.content_type {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let mut response = request
            .send()
            .await
            .map_err(|error| unreachable_because(&error))?;
        let status = response.status();
        let body = read_body(&mut response, call.max_bytes).await?;
        Ok((status, body))
    }

    /// Opens a response that goes on. The caller bounds how long it waits for this, and what it reads.
    pub(super) async fn open(
        &self,
        route: &Route,
        target: &str,
    ) -> Result<reqwest::Response, Failure> {
        let url = route.base()?.join(target).map_err(|_| Failure::BadPath)?;
        let client = match route {
            Route::Key { key, addresses } => {
                self.pins.put(key.to_z32(), addresses.clone());
                &self.live_by_key
            }
            Route::Domain { .. } => &self.live_by_domain,
        };
        client
            .get(url)
            .send()
            .await
            .map_err(|error| unreachable_because(&error))
    }

    /// Sends one GET along `route`.
    pub(super) async fn get(&self, route: &Route, ask: &Ask<'_>) -> Result<Reply, Failure> {
        let url = route
            .base()?
            .join(ask.target)
            .map_err(|_| Failure::BadPath)?;
        let client = match route {
            Route::Key { key, addresses } => {
                self.pins.put(key.to_z32(), addresses.clone());
                &self.by_key
            }
            Route::Domain { .. } => &self.by_domain,
        };
        let mut request = client.get(url);
        if let Some(tenant) = ask.tenant {
            request = request.header("pubky-host", tenant);
        }
        if let Some(etag) = ask.if_none_match {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let response = request
            .send()
            .await
            .map_err(|error| unreachable_because(&error))?;
        read_bounded(response, ask.max_bytes).await
    }
}

async fn answer(request: reqwest::RequestBuilder, max_bytes: usize) -> Result<Answer, Failure> {
    let mut response = request
        .send()
        .await
        .map_err(|error| unreachable_because(&error))?;
    let status = response.status().as_u16();
    let content_type = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let date = response
        .headers()
        .get(header::DATE)
        .and_then(|value| value.to_str().ok())
        .and_then(|date| httpdate::parse_http_date(date).ok());
    let body = read_body(&mut response, max_bytes).await?;
    Ok(Answer {
        status,
        content_type,
        date,
        body,
    })
}

fn client(timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("atomicity-homeserver/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(timeout.min(Duration::from_secs(5)))
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(4)
}

/// Reads at most `max_bytes` of a body, in the chunks in which it arrives.
async fn read_bounded(mut response: reqwest::Response, max_bytes: usize) -> Result<Reply, Failure> {
    let status = response.status();
    let text = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let etag = text(header::ETAG).filter(|etag| etag.len() <= 200);
    let date = text(header::DATE).and_then(|date| httpdate::parse_http_date(&date).ok());
    let body = if status.is_success() {
        read_body(&mut response, max_bytes).await?
    } else {
        Vec::new()
    };
    Ok(Reply {
        status,
        etag,
        date,
        body,
    })
}

async fn read_body(response: &mut reqwest::Response, max_bytes: usize) -> Result<Vec<u8>, Failure> {
    let announced = response.content_length().unwrap_or(0);
    if announced > u64::try_from(max_bytes).unwrap_or(u64::MAX) {
        return Err(Failure::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| unreachable_because(&error))?
    {
        if body.len().saturating_add(chunk.len()) > max_bytes {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unreachable_because(error: &reqwest::Error) -> Failure {
    // A connection that can't be made in time leaves the other routes to be tried; a server that was reached and is slow does not.
    if error.is_timeout() && !error.is_connect() {
        Failure::TimedOut
    } else {
        Failure::Unreachable
    }
}

/// Addresses that were judged already, by the server's key.
#[derive(Debug, Clone, Default)]
struct Pins(Arc<Mutex<HashMap<String, Vec<SocketAddr>>>>);

impl Pins {
    fn put(&self, key: String, addresses: Vec<SocketAddr>) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= MAX_PINS
            && !map.contains_key(&key)
            && let Some(victim) = map.keys().next().cloned()
        {
            map.remove(&victim);
        }
        map.insert(key, addresses);
    }
}

impl Resolve for Pins {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name.as_str())
            .cloned();
        Box::pin(async move {
            let addresses =
                found.ok_or_else(|| BoxError::from("no permitted address of this key is known"))?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Ordinary DNS, with the answers judged before anything connects to them.
#[derive(Debug, Clone, Copy)]
struct GuardedDns(AddressPolicy);

impl Resolve for GuardedDns {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let permitted: Vec<_> = found
                .filter(|address| policy.permits(address.ip()))
                .take(MAX_ADDRESSES)
                .collect();
            if permitted.is_empty() {
                return Err(BoxError::from(
                    "the domain has no address that may be connected to",
                ));
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}
