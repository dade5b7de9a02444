//! Requests to servers that the operator wrote into the configuration: cosigners, logs, watchtowers.
//!
//! Nobody else chose these addresses, so they may lie in a private network. What they answer is bounded all the same. A URL whose host
//! is a key (`https://<52 characters>/…`) is looked up in the DHT and reached over TLS with that raw public key.

use std::time::SystemTime;

use pkarr::{PublicKey, ResolvePolicy};
use tokio::time::timeout;
use url::Url;

use super::Resolver;
use super::failure::Failure;
use super::fetch::{Route, permitted_domain};
use crate::error::PluginError;

/// A request: GET without a body, POST with one.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Whom to ask.
    pub url: &'a Url,
    /// What to post, if anything.
    pub body: Option<&'a [u8]>,
    /// Longest answer that is accepted, in bytes.
    pub max_bytes: usize,
}

/// An answer, whatever its status; its body within the bound that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type, as the server wrote it.
    pub content_type: Option<String>,
    /// The server's clock, from its `Date` header.
    pub date: Option<SystemTime>,
    /// The body.
    pub body: Vec<u8>,
}

impl Resolver {
    /// Sends a request to a server of the operator's choice. Takes at most `network.fetch_timeout_ms`.
    ///
    /// # Errors
    /// [`PluginError::Upstream`] if there is no whole answer; a status of any kind is an answer.
    pub async fn call(&self, call: &Call<'_>) -> Result<Answer, PluginError> {
        self.call_as(call, None).await
    }

    /// The same with a body in JSON.
    ///
    /// # Errors
    /// As [`Resolver::call`].
    pub async fn call_json(&self, call: &Call<'_>) -> Result<Answer, PluginError> {
        self.call_as(call, Some("application/json")).await
    }

    async fn call_as(&self, call: &Call<'_>, kind: Option<&str>) -> Result<Answer, PluginError> {
        let work = async {
            let Some(key) = key_of(call.url) else {
                return self.inner.fetcher.send(None, call, kind).await;
            };
            let policy = ResolvePolicy::CacheFirst;
            match self.call_key(&key, (call, kind), policy).await {
                Err(failure) if failure.may_be_stale() => {
                    let policy = ResolvePolicy::NetworkOnly;
                    self.call_key(&key, (call, kind), policy).await
                }
                other => other,
            }
        };
        let outcome = timeout(self.inner.fetch_budget, work).await;
        Ok(outcome.map_err(|_| Failure::TimedOut)??)
    }

    /// Sends a request, with a body in JSON if any, to a server that a stranger named: only to addresses that strangers may name. Takes at most
    /// `network.fetch_timeout_ms`.
    ///
    /// # Errors
    /// [`PluginError::Upstream`] if there is no whole answer; a status of any kind is an answer.
    pub async fn call_stranger(&self, call: &Call<'_>) -> Result<Answer, PluginError> {
        let work = async {
            let Some(key) = key_of(call.url) else {
                let host = call.url.host_str().unwrap_or_default();
                let web = matches!(call.url.scheme(), "http" | "https");
                if !web || !permitted_domain(host, self.inner.policy) {
                    return Err(Failure::NoRoute);
                }
                return self.inner.fetcher.ask(None, call).await;
            };
            let mut last = Failure::NoRoute;
            for route in self.routes(&key, ResolvePolicy::CacheFirst).await? {
                match self.inner.fetcher.ask(Some(&route), call).await {
                    Ok(answer) => return Ok(answer),
                    Err(failure @ (Failure::Unreachable | Failure::NoRoute)) => last = failure,
                    Err(failure) => return Err(failure),
                }
            }
            Err(last)
        };
        let outcome = timeout(self.inner.fetch_budget, work).await;
        Ok(outcome.map_err(|_| Failure::TimedOut)??)
    }

    async fn call_key(
        &self,
        key: &PublicKey,
        (call, kind): (&Call<'_>, Option<&str>),
        policy: ResolvePolicy,
    ) -> Result<Answer, Failure> {
        let mut last = Failure::NoRoute;
        for route in self.routes_of_trusted(key, policy).await? {
            match self.inner.fetcher.send(Some(&route), call, kind).await {
                Ok(answer) => return Ok(answer),
                Err(failure @ (Failure::Unreachable | Failure::NoRoute)) => last = failure,
                Err(failure) => return Err(failure),
            }
        }
        Err(last)
    }
}

/// The key that a URL has for a host.
fn key_of(url: &Url) -> Option<PublicKey> {
    let host = url.host_str().filter(|host| host.len() == 52)?;
    (url.scheme() == "https").then_some(())?;
    PublicKey::try_from(host).ok()
}

/// `url` at the place that a route names.
pub(super) fn along(route: &Route, url: &Url) -> Result<Url, Failure> {
    let mut target = route.base()?;
    target.set_path(url.path());
    target.set_query(url.query());
    Ok(target)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_host_that_is_a_key_is_reached_by_key() {
        let key = pkarr::Keypair::random().public_key();
        let by_key: Url = format!("https://{}/log", key.to_z32()).parse().unwrap();
        assert_eq!(key_of(&by_key), Some(key.clone()));
        for other in [
            format!("http://{}/log", key.to_z32()),
            "https://example.org/log".to_owned(),
            "http://127.0.0.1:6290/log".to_owned(),
        ] {
            assert_eq!(key_of(&other.parse().unwrap()), None, "{other}");
        }
    }
}
