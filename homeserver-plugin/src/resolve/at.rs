//! Reading files and events at a homeserver that is known already, for whoever reads many.
//!
//! The caller has looked the user up and knows how fresh that is, paces its requests itself, and learns what went wrong in enough
//! detail to tell a homeserver that is away from one that misbehaves.

use pkarr::ResolvePolicy;
use reqwest::StatusCode;
use tokio::time::timeout;

use super::failure::Failure;
use super::fetch::Ask;
use super::{Fetched, Resolver, judge, to_pkarr};
use atomicity_ledger::UserKey;

/// Why a homeserver did not give what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It can't be found or connected to.
    #[error("the homeserver could not be reached")]
    Unreachable,
    /// It takes too long.
    #[error("the homeserver did not answer in time")]
    Slow,
    /// Its answer is longer than allowed.
    #[error("the homeserver's answer is too large")]
    TooLarge,
    /// It answers with this status.
    #[error("the homeserver answered with status {0}")]
    Status(u16),
    /// It sends something that has not the form it should have.
    #[error("the homeserver's answer is malformed")]
    Malformed,
}

impl Fault {
    /// A code for counting.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Slow => "slow",
            Self::TooLarge => "too_large",
            Self::Status(429) => "asked_to_wait",
            Self::Status(_) => "status",
            Self::Malformed => "malformed",
        }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TimedOut => Self::Slow,
            Failure::TooLarge => Self::TooLarge,
            Failure::Status(status) => Self::Status(status),
            Failure::BadPath => Self::Malformed,
            Failure::NoHomeserver
            | Failure::Lookup(_)
            | Failure::NoRoute
            | Failure::Unreachable
            | Failure::Busy => Self::Unreachable,
        }
    }
}

/// A response that goes on.
#[derive(Debug)]
pub struct Live(reqwest::Response);

impl Live {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`Fault::Slow`] if nothing came for too long, [`Fault::Unreachable`] if the connection broke.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        match self.0.chunk().await {
            Ok(chunk) => Ok(chunk.map(Into::into)),
            Err(error) if error.is_timeout() => Err(Fault::Slow),
            Err(_) => Err(Fault::Unreachable),
        }
    }
}

impl Resolver {
    /// Reads a public file (or a listing) of `user` at `home`, without asking whether `user` lives there.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn get_at(
        &self,
        home: &UserKey,
        user: &UserKey,
        target: &str,
        if_none_match: Option<&str>,
        max_bytes: usize,
    ) -> Result<Fetched, Fault> {
        let target = format!("/storage/{}{target}", user.to_z32());
        let ask = Ask {
            target: &target,
            tenant: None,
            if_none_match,
            max_bytes,
        };
        Ok(judge(self.ask_again(home, &ask).await?)?)
    }

    /// Asks `home` for something that is nobody's file. The body of an answer that is no success is empty.
    ///
    /// # Errors
    /// [`Fault`]; a status is an answer.
    pub async fn ask_home(
        &self,
        home: &UserKey,
        target: &str,
        max_bytes: usize,
    ) -> Result<(u16, Vec<u8>), Fault> {
        let ask = Ask {
            target,
            tenant: None,
            if_none_match: None,
            max_bytes,
        };
        let reply = self.ask_again(home, &ask).await?;
        Ok((reply.status.as_u16(), reply.body))
    }

    async fn ask_again(&self, home: &UserKey, ask: &Ask<'_>) -> Result<super::Reply, Fault> {
        let server = to_pkarr(home)?;
        match self.ask(&server, ask, ResolvePolicy::CacheFirst).await {
            Err(Failure::Unreachable | Failure::NoRoute) => {
                // It may have another address by now.
                Ok(self.ask(&server, ask, ResolvePolicy::NetworkOnly).await?)
            }
            other => Ok(other?),
        }
    }

    /// Opens a response of `home` that goes on, such as a stream of events.
    ///
    /// # Errors
    /// [`Fault`]; every status but 200 is one.
    pub async fn open_at(&self, home: &UserKey, target: &str) -> Result<Live, Fault> {
        let server = to_pkarr(home)?;
        let work = async {
            let mut last = Failure::NoRoute;
            for route in self.routes(&server, ResolvePolicy::CacheFirst).await? {
                match self.inner.fetcher.open(&route, target).await {
                    Ok(response) => return Ok(response),
                    Err(failure @ (Failure::Unreachable | Failure::NoRoute)) => last = failure,
                    Err(failure) => return Err(failure),
                }
            }
            Err(last)
        };
        let response = timeout(self.inner.fetch_budget, work)
            .await
            .map_err(|_| Fault::Slow)??;
        if response.status() == StatusCode::OK {
            Ok(Live(response))
        } else {
            Err(Fault::Status(response.status().as_u16()))
        }
    }
}
