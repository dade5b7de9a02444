//! Who gets in: requests that were meant for this wallet, from pages that may ask, with the token, a bounded number at a time.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Semaphore;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::problem::Problem;
use super::token::Token;

/// Requests that are worked on at the same time.
const AT_ONCE: usize = 64;
/// How long an answer may take to begin.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who gets in.
pub struct Gate {
    listen: SocketAddr,
    remote: bool,
    hosts: Vec<String>,
    origins: Vec<HeaderValue>,
    token: Token,
    slots: Semaphore,
}

impl Gate {
    /// For what listens at `listen`.
    ///
    /// # Errors
    /// A problem, in words, with what may call.
    pub fn new(
        listen: SocketAddr,
        remote: bool,
        (hosts, origins): (&[String], &[String]),
        token: Token,
    ) -> Result<Self, String> {
        may_listen(listen, remote)?;
        Ok(Self {
            listen,
            remote,
            hosts: hosts.iter().map(|host| host.to_lowercase()).collect(),
            origins: origins
                .iter()
                .map(|text| origin(text))
                .collect::<Result<_, _>>()?,
            token,
            slots: Semaphore::new(AT_ONCE),
        })
    }

    /// Whether a request to this host was meant for us. A foreign page can have its own name lead here, but it can't have the browser
    /// say another name than that.
    fn is_own_host(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else {
            return false;
        };
        if host.contains('@') {
            return false;
        }
        let name = authority.host().to_lowercase();
        if self.hosts.contains(&name) {
            return true;
        }
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse::<IpAddr>().ok();
        let here = name == "localhost" || address.is_some_and(|ip| ip.is_loopback());
        let port = authority.port_u16().unwrap_or(80);
        // An address is no name that somebody else could have lead here.
        here && port == self.listen.port() || self.remote && address.is_some()
    }

    fn judge(&self, request: &Request) -> Result<(), Problem> {
        let refuse = |code, detail| Problem::new(StatusCode::FORBIDDEN, code, detail);
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok(),
            (None, _) => request.uri().authority().map(Authority::as_str),
            _ => None,
        };
        if !host.is_some_and(|host| self.is_own_host(host)) {
            return Err(refuse("host_refused", "this is not a name of this wallet")
                .with_hint("ask for the address that `atomicity serve` printed, or name yours with --allow-host"));
        }
        let mut origins = request.headers().get_all(header::ORIGIN).iter();
        if !origins.all(|origin| self.origins.contains(origin)) {
            return Err(
                refuse("origin_refused", "this page may not call this wallet")
                    .with_hint("allow it with `atomicity serve --allow-origin`"),
            );
        }
        Ok(())
    }

    fn has_token(&self, request: &Request) -> bool {
        let mut given = request.headers().get_all(header::AUTHORIZATION).iter();
        let (Some(given), None) = (given.next(), given.next()) else {
            return false;
        };
        let given = given.to_str().unwrap_or_default().split_once(' ');
        given.is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && self.token.is(token.trim())
        })
    }

    /// What browsers are told about pages that may call: nothing, if none may.
    pub fn cors(&self) -> CorsLayer {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(self.origins.clone()))
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                HeaderName::from_static("idempotency-key"),
            ])
            .expose_headers([header::LOCATION])
            .max_age(Duration::from_secs(3_600))
    }
}

/// Other machines get in only if that was said.
pub fn may_listen(address: SocketAddr, remote: bool) -> Result<(), String> {
    match remote || address.ip().is_loopback() {
        true => Ok(()),
        false => Err(format!(
            "{address} can be reached from other machines: say --allow-remote if you want that"
        )),
    }
}

/// An origin as browsers write it.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let wrong = || format!("{text:?} is no origin: write it like https://shop.example");
    let url: url::Url = text.parse().map_err(|_| wrong())?;
    let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let ascii = url.origin().ascii_serialization();
    if !matches!(url.scheme(), "http" | "https") || !plain || !url.username().is_empty() {
        return Err(wrong());
    }
    HeaderValue::from_str(&ascii).map_err(|_| wrong())
}

/// Turns away what was not meant for this wallet.
pub async fn own_host(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    match gate.judge(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Turns away who does not have the token.
pub async fn token(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    if gate.has_token(&request) {
        return next.run(request).await;
    }
    let detail = "this needs the wallet's token as a bearer token";
    Problem::new(StatusCode::UNAUTHORIZED, "token_invalid", detail)
        .with_hint("`atomicity serve` prints where the file with it lies")
        .into_response()
}

/// Bounds how many requests are worked on, and for how long.
pub async fn bounds(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let Ok(_slot) = gate.slots.try_acquire() else {
        let (status, detail) = (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many requests at a time",
        );
        return Problem::new(status, "too_busy", detail).into_response();
    };
    match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let (status, detail) = (StatusCode::GATEWAY_TIMEOUT, "this takes too long");
            Problem::new(status, "timeout", detail).into_response()
        }
    }
}

/// Headers that every answer carries.
pub async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// There is no such route.
pub async fn not_found() -> Problem {
    let detail = "there is no such route: see /openapi.json";
    Problem::new(StatusCode::NOT_FOUND, "route_unknown", detail)
}

/// There is, but not with this method.
pub async fn method_not_allowed() -> Problem {
    let detail = "not with this method: see /openapi.json";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn gate(listen: &str, remote: bool, hosts: &[&str]) -> Gate {
        let folder = tempfile::tempdir().unwrap();
        let token = Token::open(&folder.path().join("token")).unwrap();
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        Gate::new(listen.parse().unwrap(), remote, (&hosts, &[]), token).unwrap()
    }

    #[test]
    fn only_own_names_are_answered() {
        let here = gate("127.0.0.1:6295", false, &["wallet.lan"]);
        for own in [
            "127.0.0.1:6295",
            "localhost:6295",
            "LOCALHOST:6295",
            "[::1]:6295",
            "wallet.lan",
            "wallet.lan:8443",
        ] {
            assert!(here.is_own_host(own), "{own}");
        }
        for foreign in [
            "",
            "evil.example:6295",
            "localhost",
            "localhost:80",
            "127.0.0.1",
            "127.0.0.1:6295.evil.example",
            "localhost.evil.example:6295",
            "me@localhost:6295",
            "192.168.1.2:6295",
            "wallet.lan.evil.example",
        ] {
            assert!(!here.is_own_host(foreign), "{foreign}");
        }
        let everywhere = gate("0.0.0.0:6295", true, &[]);
        assert!(everywhere.is_own_host("192.168.1.2:6295"));
        assert!(!everywhere.is_own_host("evil.example:6295"));
    }

    #[test]
    fn other_machines_only_if_that_was_said_and_origins_as_browsers_write_them() {
        let folder = tempfile::tempdir().unwrap();
        let token = || Token::open(&folder.path().join("token")).unwrap();
        let open = |listen: &str, origins: &[String]| {
            Gate::new(listen.parse().unwrap(), false, (&[], origins), token())
        };
        assert!(open("0.0.0.0:1", &[]).is_err());
        assert!(open("[::1]:1", &[]).is_ok());
        for good in ["https://shop.example", "http://localhost:3000/"] {
            assert!(open("127.0.0.1:1", &[good.to_owned()]).is_ok(), "{good}");
        }
        for bad in [
            "*",
            "shop.example",
            "null",
            "https://a.example/path",
            "file:///x",
        ] {
            assert!(open("127.0.0.1:1", &[bad.to_owned()]).is_err(), "{bad}");
        }
        assert_eq!(
            origin("https://Shop.example:443/").unwrap(),
            "https://shop.example"
        );
    }
}
