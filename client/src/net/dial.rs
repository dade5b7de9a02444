//! The HTTP clients: one towards servers named by key, one towards ordinary URLs. Both dial only addresses that the policy allows,
//! follow no redirects, use no proxy, and read answers in chunks up to a limit.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lru::LruCache;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, Response};
use url::{Host, Url};

use super::error::NetError;
use super::policy::AddressPolicy;
use super::tls;
use super::{Answer, ServiceKey};

/// How many servers' addresses are kept at once.
const MAX_ROUTES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// How much of an answer that is no success is read.
const MAX_COMPLAINT_BYTES: usize = 8 * 1024;

/// Error inside reqwest that says the policy refused an address.
#[derive(Debug, thiserror::Error)]
#[error("refused address {0}")]
struct Refused(IpAddr);

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unresolved(&'static str);

/// Where a server named by key listens, already checked against the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// TLS with its raw key.
    Direct(Vec<SocketAddr>),
    /// Ordinary HTTPS under a domain.
    Domain(String, Option<u16>),
}

/// Addresses of servers named by key. Only checked addresses get in, so whatever reqwest dials was checked.
#[derive(Clone)]
struct CheckedRoutes(Arc<Mutex<LruCache<String, Vec<SocketAddr>>>>);

impl Resolve for CheckedRoutes {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self
            .0
            .lock()
            .ok()
            .and_then(|mut routes| routes.get(name.as_str()).cloned());
        Box::pin(async move {
            match found {
                Some(addresses) => Ok(Box::new(addresses.into_iter()) as Addrs),
                None => Err(Unresolved("its address is not known").into()),
            }
        })
    }
}

/// Ordinary DNS behind the policy.
#[derive(Clone)]
struct CheckedDns(Arc<AddressPolicy>);

impl Resolve for CheckedDns {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.0);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let mut refused = None;
            let mut allowed = Vec::new();
            for address in tokio::net::lookup_host((host.as_str(), 0)).await? {
                if policy.allows_host(&host, address.ip()) {
                    allowed.push(address);
                } else {
                    refused = Some(address.ip());
                }
            }
            match (allowed.is_empty(), refused) {
                (true, Some(ip)) => Err(Refused(ip).into()),
                (true, None) => Err(Unresolved("the name has no address").into()),
                (false, _) => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

/// The two HTTP clients and the policy they share.
pub(crate) struct Dialer {
    pub(crate) policy: Arc<AddressPolicy>,
    routes: CheckedRoutes,
    by_key: reqwest::Client,
    by_name: reqwest::Client,
}

impl Dialer {
    pub(crate) fn new(
        policy: Arc<AddressPolicy>,
        connect_timeout: Duration,
        idle_per_host: usize,
    ) -> Result<Self, NetError> {
        let setup = |error: &dyn std::fmt::Display| NetError::Setup(error.to_string());
        let routes = CheckedRoutes(Arc::new(Mutex::new(LruCache::new(MAX_ROUTES))));
        let base = || {
            reqwest::Client::builder()
                .user_agent(concat!("atomicity/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .connect_timeout(connect_timeout)
                .pool_max_idle_per_host(idle_per_host)
                .tcp_nodelay(true)
        };
        let by_key = base()
            .tls_backend_preconfigured(tls::raw_key_config().map_err(|e| setup(&e))?)
            .dns_resolver(routes.clone())
            .https_only(true)
            .build()
            .map_err(|e| setup(&e))?;
        let by_name = base()
            .dns_resolver(CheckedDns(Arc::clone(&policy)))
            .build()
            .map_err(|e| setup(&e))?;
        Ok(Self {
            policy,
            routes,
            by_key,
            by_name,
        })
    }

    /// A client for one server of which only the address is known. The caller has checked the address.
    pub(crate) fn to_one_address(
        tls: rustls::ClientConfig,
        connect_timeout: Duration,
    ) -> Result<reqwest::Client, NetError> {
        reqwest::Client::builder()
            .user_agent(concat!("atomicity/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(connect_timeout)
            .pool_max_idle_per_host(0)
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .build()
            .map_err(|error| NetError::Setup(error.to_string()))
    }

    /// A request to a server named by key, over the route that was found for it.
    pub(crate) fn to_server(
        &self,
        server: &ServiceKey,
        route: &Route,
        method: Method,
        path_and_query: &str,
    ) -> Result<RequestBuilder, NetError> {
        let z32 = server.to_z32();
        match route {
            Route::Direct(addresses) => {
                if let Ok(mut routes) = self.routes.0.lock() {
                    routes.put(z32.clone(), addresses.clone());
                }
                let url = parse_url(&format!("https://{z32}{path_and_query}"))?;
                Ok(self.by_key.request(method, url))
            }
            Route::Domain(domain, port) => {
                let mut url = parse_url(&format!("https://{domain}{path_and_query}"))?;
                if let Some(port) = port {
                    url.set_port(Some(*port))
                        .map_err(|()| NetError::Invalid(format!("{domain} can't have a port")))?;
                }
                if self.policy.trusts(server) {
                    self.policy.trust_host(domain);
                }
                Ok(self.to_url(method, url)?.header("pubky-host", z32))
            }
        }
    }

    /// A request to an ordinary URL.
    pub(crate) fn to_url(&self, method: Method, url: Url) -> Result<RequestBuilder, NetError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(NetError::Invalid(format!("{url} is no web address")));
        }
        // reqwest asks no resolver about addresses in digits.
        let literal = match url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            Some(Host::Domain(_)) => None,
            None => return Err(NetError::Invalid(format!("{url} names no host"))),
        };
        if let (Some(ip), Some(host)) = (literal, url.host_str())
            && !self.policy.allows_host(host, ip)
        {
            return Err(NetError::RefusedAddress {
                server: host.to_owned(),
                address: ip.to_string(),
            });
        }
        Ok(self.by_name.request(method, url))
    }
}

fn parse_url(text: &str) -> Result<Url, NetError> {
    Url::from_str(text).map_err(|error| NetError::Invalid(format!("{text} is no address: {error}")))
}

/// Sends a request and waits for the head of the answer.
pub(crate) async fn send(
    request: RequestBuilder,
    server: &str,
    timeout: Duration,
) -> Result<Response, NetError> {
    match tokio::time::timeout(timeout, request.send()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(explain(error, server, timeout)),
        Err(_) => Err(timed_out(server, timeout)),
    }
}

/// Reads the body of an answer within `timeout`: at most `max` bytes of a success, and the first few of anything else.
pub(crate) async fn read_body(
    mut response: Response,
    server: &str,
    max: usize,
    timeout: Duration,
) -> Result<Answer, NetError> {
    let too_large = || NetError::TooLarge {
        server: server.to_owned(),
        limit: max,
    };
    let status = response.status();
    let headers = std::mem::take(response.headers_mut());
    let limit = if status.is_success() {
        max
    } else {
        MAX_COMPLAINT_BYTES
    };
    if status.is_success() && announced_length(&headers).is_some_and(|length| length > max as u64) {
        return Err(too_large());
    }
    let reading = async {
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| explain(error, server, timeout))?
        {
            let room = limit.saturating_sub(body.len());
            match chunk.get(..room) {
                // What a server complains about at length is cut short.
                Some(_) if chunk.len() == room => body.extend_from_slice(&chunk),
                Some(start) if !status.is_success() => {
                    body.extend_from_slice(start);
                    break;
                }
                Some(_) => return Err(too_large()),
                None => body.extend_from_slice(&chunk),
            }
        }
        Ok(body)
    };
    match tokio::time::timeout(timeout, reading).await {
        Ok(body) => Ok(Answer {
            status,
            headers,
            body: body?,
        }),
        Err(_) => Err(timed_out(server, timeout)),
    }
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(reqwest::header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

fn timed_out(server: &str, timeout: Duration) -> NetError {
    NetError::Timeout {
        server: server.to_owned(),
        after_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Turns an error of reqwest into one of ours. The chain of causes is searched for a refusal of our own resolver.
pub(crate) fn explain(error: reqwest::Error, server: &str, timeout: Duration) -> NetError {
    if error.is_timeout() {
        return timed_out(server, timeout);
    }
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        if let Some(Refused(ip)) = inner.downcast_ref::<Refused>() {
            return NetError::RefusedAddress {
                server: server.to_owned(),
                address: ip.to_string(),
            };
        }
        // The innermost cause is the one that says what happened.
        reason = inner.to_string();
        cause = inner.source();
    }
    NetError::Unreachable {
        server: server.to_owned(),
        reason: super::shorten(&reason, 200),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn dialer(policy: AddressPolicy) -> Dialer {
        Dialer::new(Arc::new(policy), PATIENCE, 1).unwrap()
    }

    async fn code_of(dialer: &Dialer, url: &str) -> &'static str {
        let request = match dialer.to_url(Method::GET, url.parse().unwrap()) {
            Ok(request) => request,
            Err(error) => return error.code(),
        };
        send(request, "server", PATIENCE)
            .await
            .map_or_else(|error| error.code(), |_| "answered")
    }

    #[tokio::test]
    async fn a_strangers_url_cannot_point_inside() {
        let strict = dialer(AddressPolicy::new(false));
        for url in [
            "http://127.0.0.1:9/",
            "http://[::1]:9/",
            "http://2130706433:9/",
            "http://localhost:9/",
        ] {
            assert_eq!(code_of(&strict, url).await, "refused_address", "{url}");
        }
        assert_eq!(
            code_of(&strict, "ftp://example.com/").await,
            "invalid_argument"
        );
    }

    #[tokio::test]
    async fn the_users_own_url_may() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = axum::Router::new().fallback(|| async { "hello" });
        let serving = tokio::spawn(async move { axum::serve(listener, app).await });
        let policy = AddressPolicy::new(false);
        policy.trust_host("127.0.0.1");
        let trusting = dialer(policy);
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(code_of(&trusting, &url).await, "answered");
        serving.abort();
    }
}
