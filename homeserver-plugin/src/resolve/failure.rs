//! Why something of another server could not be had, in the detail that retrying needs.

use crate::error::PluginError;

/// Internal to the resolver; callers see [`PluginError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("no homeserver is published for this key")]
    NoHomeserver,
    #[error("the key could not be looked up: {0}")]
    Lookup(String),
    #[error("the server's packet names no address that may be connected to")]
    NoRoute,
    #[error("the server could not be reached")]
    Unreachable,
    #[error("the server did not answer in time")]
    TimedOut,
    #[error("the server's answer is too large")]
    TooLarge,
    #[error("the server answered with status {0}")]
    Status(u16),
    #[error("the path is not a public one")]
    BadPath,
    #[error("too many requests to other servers are under way")]
    Busy,
}

impl Failure {
    /// Whether a fresh look-up might help.
    pub(super) const fn may_be_stale(&self) -> bool {
        matches!(
            self,
            Self::NoHomeserver
                | Self::NoRoute
                | Self::Unreachable
                | Self::TimedOut
                | Self::Status(_)
                | Self::Lookup(_)
        )
    }
}

impl From<Failure> for PluginError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoHomeserver => Self::NotFound {
                code: "homeserver_unknown",
                detail: "no homeserver is published for this key",
            },
            Failure::Busy => Self::Overloaded,
            Failure::BadPath => Self::BadRequest {
                code: "path_not_public",
                detail: failure.to_string(),
            },
            other => Self::Upstream(other.to_string()),
        }
    }
}
