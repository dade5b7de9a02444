//! Requests to a user's own homeserver, found by the user's key: signing in by a grant, writing files.

use pkarr::ResolvePolicy;
use reqwest::{Method, StatusCode};
use tokio::time::timeout;

use super::failure::Failure;
use super::{Resolver, to_pkarr};
use crate::error::PluginError;
use atomicity_ledger::UserKey;

/// A request to a homeserver on behalf of one of its users.
#[derive(Clone, Debug)]
pub struct HomeCall<'a> {
    /// GET, POST, PUT or DELETE.
    pub method: Method,
    /// Path and query.
    pub target: &'a str,
    /// The session's token.
    pub bearer: Option<&'a str>,
    /// The media type of the body.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Vec<u8>,
    /// Longest answer that is accepted, in bytes.
    pub max_bytes: usize,
}

impl Resolver {
    /// Sends a request to the homeserver of `user`, as `user`'s. Takes at most `network.fetch_timeout_ms`.
    ///
    /// # Errors
    /// [`PluginError::NotFound`] (`homeserver_unknown`); [`PluginError::Upstream`] if there is no whole answer; a status of any kind is an
    /// answer.
    pub async fn call_home(
        &self,
        user: &UserKey,
        call: &HomeCall<'_>,
    ) -> Result<(StatusCode, Vec<u8>), PluginError> {
        let waiting = timeout(self.inner.resolve_budget, self.inner.permits.acquire());
        let _permit = waiting
            .await
            .map_err(|_| Failure::Busy)?
            .map_err(|_| Failure::Busy)?;
        match self
            .call_home_by(user, call, ResolvePolicy::CacheFirst)
            .await
        {
            Err(failure) if failure.may_be_stale() => Ok(self
                .call_home_by(user, call, ResolvePolicy::NetworkOnly)
                .await?),
            other => Ok(other?),
        }
    }

    async fn call_home_by(
        &self,
        user: &UserKey,
        call: &HomeCall<'_>,
        policy: ResolvePolicy,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        let home = self.home(user, policy).await?;
        // The name that the server knows the user by, as text.
        let tenant = to_pkarr(user)?.to_z32();
        let work = async {
            let mut last = Failure::NoRoute;
            for route in self.routes(&home, policy).await? {
                match self.inner.fetcher.write(&route, &tenant, call).await {
                    Ok(answer) => return Ok(answer),
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
}
