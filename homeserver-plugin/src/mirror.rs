//! Following other people's logs: every entry and every tile of them is kept, checked as it comes, and served on.
//!
//! Cosigner and watchtower share one mirror per log. What is known of a log lies in the database and nowhere else: each step reads it,
//! fetches from the log what is new, and writes the outcome only if nobody else wrote meanwhile. So promises survive a crash at any
//! point, and two processes by mistake.

pub mod accuse;
pub mod advance;
mod http;
pub mod index;
pub mod metrics;
pub mod poll;
pub mod proofs;
pub mod store;
pub mod upstream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use atomicity_witness_log::{LogError, SigningKey, VerifierKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use url::Url;

pub use self::http::routes;
pub use self::metrics::FollowMetrics;
use crate::config::Follow;
use crate::error::PluginError;

/// How a log is named in the database and in URLs: SHA-256 of its origin.
pub type LogId = [u8; 32];

/// The name of the log of this origin.
#[must_use]
pub fn log_id(origin: &str) -> LogId {
    Sha256::digest(origin.as_bytes()).into()
}

/// A log's name as in URLs.
#[must_use]
pub fn id_text(id: &LogId) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(id)
}

/// Why a mirror could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// What the log said is not acceptable.
    #[error("{0}")]
    Log(#[from] LogError),
    /// The log's server did not give what is needed.
    #[error("the log does not serve what is needed: {0}")]
    Unserved(String),
    /// Somebody else changed the mirror meanwhile.
    #[error("the mirror was changed by somebody else")]
    Raced,
    /// A log that is cosigned here was proven to lie: its mirror stays where it is, so that the log can be buried.
    #[error("the log was proven to lie")]
    Frozen,
    /// The database or the network failed.
    #[error("{0}")]
    Plugin(#[from] PluginError),
}

impl MirrorError {
    /// A stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Log(error) => error.code(),
            Self::Unserved(_) => "entries_unavailable",
            Self::Raced => "raced",
            Self::Frozen => "log_forked",
            Self::Plugin(error) => error.code(),
        }
    }
}

impl From<sqlx::Error> for MirrorError {
    fn from(error: sqlx::Error) -> Self {
        Self::Plugin(error.into())
    }
}

/// One log that is followed.
#[derive(Debug)]
pub struct Followed {
    /// How it is named here.
    pub id: LogId,
    /// Its key; the name is the origin.
    pub key: VerifierKey,
    /// Where it is read.
    pub url: Url,
    /// Whether it is cosigned.
    pub cosigned: bool,
    /// Whether it is watched.
    pub watched: bool,
    /// Whether somebody other than the operator named the address.
    pub stranger: bool,
    /// Since when this process has been looking at it.
    pub since: Instant,
    /// One at a time works on a mirror: others would only lose the race.
    pub gate: Mutex<()>,
    silent: AtomicBool,
}

impl Followed {
    fn new(key: VerifierKey, url: Url) -> Self {
        Self {
            id: log_id(key.name()),
            key,
            url,
            cosigned: false,
            watched: false,
            stranger: false,
            since: Instant::now(),
            gate: Mutex::new(()),
            silent: AtomicBool::new(false),
        }
    }

    /// The same log, read at another address: at a mirror.
    #[must_use]
    pub fn elsewhere(&self, url: Url, stranger: bool) -> Self {
        Self {
            cosigned: self.cosigned,
            watched: self.watched,
            stranger,
            ..Self::new(self.key.clone(), url)
        }
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.key.name()
    }

    /// Notes whether the log answers; true if that is news.
    fn note_silence(&self, silent: bool) -> bool {
        self.silent.swap(silent, Ordering::Relaxed) != silent
    }
}

/// Everything that is followed, and the key that cosigns.
#[derive(Default)]
pub struct Following {
    logs: BTreeMap<LogId, Arc<Followed>>,
    /// Cosigners that are watched.
    pub cosigners: Vec<VerifierKey>,
    /// The cosigner's key, if this plugin cosigns.
    pub cosigner: Option<SigningKey>,
    /// Whether this plugin is a watchtower.
    pub watchtower: bool,
}

impl Following {
    /// Takes over what the configuration names.
    ///
    /// # Errors
    /// [`PluginError::Config`] if one origin is named with two keys or two addresses.
    pub fn new(
        follow: Follow,
        cosigner: Option<SigningKey>,
        watchtower: bool,
    ) -> Result<Self, PluginError> {
        let mut logs: BTreeMap<LogId, Followed> = BTreeMap::new();
        let cosigned = follow.cosigned.into_iter().map(|log| (log, true));
        let watched = follow.watched.into_iter().map(|log| (log, false));
        for ((key, url), cosign) in cosigned.chain(watched) {
            let log = logs
                .entry(log_id(key.name()))
                .or_insert_with(|| Followed::new(key.clone(), url.clone()));
            if (&log.key, &log.url) != (&key, &url) {
                return Err(PluginError::Config(format!(
                    "the log {} is named with different keys or URLs",
                    key.name()
                )));
            }
            log.cosigned |= cosign;
            log.watched |= !cosign;
        }
        let mut cosigners = follow.cosigners;
        cosigners.sort_by_key(|key| *key.public());
        cosigners.dedup_by_key(|key| *key.public());
        Ok(Self {
            logs: logs
                .into_iter()
                .map(|(id, log)| (id, Arc::new(log)))
                .collect(),
            cosigners,
            cosigner,
            watchtower,
        })
    }

    /// Whether there is anything to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// The logs.
    pub fn logs(&self) -> impl Iterator<Item = &Arc<Followed>> {
        self.logs.values()
    }

    /// The log with this name.
    #[must_use]
    pub fn log(&self, id: &LogId) -> Option<&Arc<Followed>> {
        self.logs.get(id)
    }

    /// The log of this origin.
    #[must_use]
    pub fn by_origin(&self, origin: &str) -> Option<&Arc<Followed>> {
        self.logs.get(&log_id(origin))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_witness_log::KeyKind;

    use super::*;

    #[test]
    fn a_log_that_is_cosigned_and_watched_is_followed_once() {
        let key = |secret| {
            SigningKey::from_secret("example.org/log", KeyKind::Ed25519, [secret; 32])
                .unwrap()
                .verifier()
        };
        let url: Url = "https://example.org/log".parse().unwrap();
        let follow = |other| Follow {
            cosigned: vec![(key(1), url.clone())],
            watched: vec![(other, url.clone())],
            cosigners: Vec::new(),
        };
        let following = Following::new(follow(key(1)), None, true).unwrap();
        let logs: Vec<_> = following.logs().collect();
        assert_eq!(logs.len(), 1);
        assert!(logs[0].cosigned && logs[0].watched);
        assert!(following.by_origin("example.org/log").is_some());
        assert!(Following::new(follow(key(2)), None, true).is_err());
    }
}
