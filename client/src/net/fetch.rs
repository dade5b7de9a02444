//! Reading counterparties' files, wherever they live, many at once.

use std::pin::Pin;
use std::task::{Context, Poll};

use atomicity_ledger::UserKey;
use futures_util::Stream;
use reqwest::{Method, StatusCode};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::error::NetError;
use super::storage::{encode_path, storage_path};
use super::{Answer, Call, Net, ServiceKey};

/// Tasks of one [`Net::fetch_many`] that exist at once. Most of them only wait for their turn.
const MAX_TASKS: usize = 2048;
/// Results that wait for their consumer.
const MAX_READY: usize = 32;
const MAX_INFO_BYTES: usize = 16 * 1024;
/// Room for a listing of a thousand addresses of the kind that is asked for.
const MAX_LIST_BYTES: usize = 256 * 1024;

/// A file of somebody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whose it is.
    pub user: UserKey,
    /// Its absolute path, such as `/pub/atomicity/v0/profile`.
    pub path: String,
    /// The entity tag of the version that the caller has already applied.
    pub etag: Option<String>,
    /// The largest size to accept, in bytes; the configured limit if `None`.
    pub max_bytes: Option<usize>,
}

impl Target {
    /// The file of `user` at `path`.
    #[must_use]
    pub fn new(user: UserKey, path: impl Into<String>) -> Self {
        Self {
            user,
            path: path.into(),
            etag: None,
            max_bytes: None,
        }
    }

    /// Asks for the file only if it is no longer the version with this tag.
    #[must_use]
    pub fn with_etag(mut self, etag: Option<String>) -> Self {
        self.etag = etag;
        self
    }

    /// Refuses files larger than this, in bytes.
    #[must_use]
    pub fn at_most(mut self, bytes: usize) -> Self {
        self.max_bytes = Some(bytes);
        self
    }
}

/// What a homeserver answered. Nothing about it is trusted: it can be old, but a signature can't be forged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The homeserver that answered.
    pub home: ServiceKey,
    /// The tag of this version, to be sent back the next time *after the content was applied*.
    pub etag: Option<String>,
    /// The content.
    pub body: Body,
}

/// The content of a fetched file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The bytes.
    Bytes(Vec<u8>),
    /// Still the version that [`Target::etag`] names.
    Unchanged,
}

impl Body {
    /// The bytes, if there are new ones.
    #[must_use]
    pub fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Unchanged => None,
        }
    }
}

impl Net {
    /// Reads one file of a user from the homeserver that Pkarr names for him. If that fails, or has nothing, and what is remembered
    /// about his homeserver is not quite new, looks it up again and tries the new one: people move.
    ///
    /// # Errors
    /// [`NetError::NotFound`] if his present homeserver has nothing at this path: *no news*, never *deleted*. [`NetError::NoHome`],
    /// [`NetError::Unreachable`], [`NetError::Timeout`], [`NetError::TooLarge`], [`NetError::RefusedAddress`] and the rest as named.
    pub async fn fetch(&self, target: &Target) -> Result<Fetched, NetError> {
        let config = self.config();
        let home = self.home_known(&target.user).await?;
        let first = self.fetch_at(&home, target).await;
        let fresh_enough = match &first {
            Ok(_) => return first,
            Err(error) if error.is_network() => config.home_retry,
            Err(
                NetError::TooLarge { .. } | NetError::Invalid(_) | NetError::RateLimited { .. },
            ) => return first,
            Err(_) => config.home_recheck,
        };
        match self.home_for_sure(&target.user, fresh_enough).await {
            Ok(now) if now != home => self.fetch_at(&now, target).await,
            _ => first,
        }
    }

    /// Reads many files at once. Results come in the order in which they are there; one dead homeserver delays nobody else. Dropping
    /// the stream stops the work.
    #[must_use]
    pub fn fetch_many(&self, targets: Vec<Target>) -> FetchStream {
        let (sender, ready) = mpsc::channel(MAX_READY);
        let net = self.clone();
        let driver = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            for target in targets {
                if tasks.len() >= MAX_TASKS {
                    tasks.join_next().await;
                }
                let (net, sender) = (net.clone(), sender.clone());
                tasks.spawn(async move {
                    let result = net.fetch(&target).await;
                    // A consumer that went away wants no more results.
                    sender.send((target, result)).await.ok();
                });
            }
            drop(sender);
            while tasks.join_next().await.is_some() {}
        });
        FetchStream {
            ready,
            _driver: AbortOnDrop(driver),
        }
    }

    /// What lies under a public folder of a user (`dir` ends with `/`), subfolders included: at most `limit` absolute paths, in order. A
    /// folder that does not exist is empty.
    pub(crate) async fn list_public(
        &self,
        user: &UserKey,
        dir: &str,
        limit: u16,
    ) -> Result<Vec<String>, NetError> {
        let home = self.home_known(user).await?;
        let first = self.list_at(&home, user, dir, limit).await;
        match &first {
            Err(error) if error.is_network() => {
                match self.home_for_sure(user, self.config().home_retry).await {
                    Ok(now) if now != home => self.list_at(&now, user, dir, limit).await,
                    _ => first,
                }
            }
            _ => first,
        }
    }

    async fn list_at(
        &self,
        home: &ServiceKey,
        user: &UserKey,
        dir: &str,
        limit: u16,
    ) -> Result<Vec<String>, NetError> {
        let path = format!("{}?limit={limit}", storage_path(user, dir)?);
        let call = Call::new(Method::GET, path, self.config()).at_most(MAX_LIST_BYTES);
        let answer = self.call(home, &call).await?;
        if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::GONE) {
            return Ok(Vec::new());
        }
        if !answer.status.is_success() {
            return Err(answer.failure(&home.to_z32()));
        }
        let text = String::from_utf8(answer.body).map_err(|_| NetError::Malformed {
            server: home.to_z32(),
            reason: "a listing that is not text".to_owned(),
        })?;
        let own = format!("pubky://{user}");
        let paths = text.lines().filter_map(|line| line.strip_prefix(&own));
        let below = paths.filter(|path| path.starts_with(dir));
        Ok(below.map(str::to_owned).take(limit.into()).collect())
    }

    async fn fetch_at(&self, home: &ServiceKey, target: &Target) -> Result<Fetched, NetError> {
        let max_bytes = target.max_bytes.unwrap_or(self.config().max_file_bytes);
        let mut answer = self.get_file(home, target, max_bytes).await?;
        if answer.status == StatusCode::NOT_FOUND && self.speaks_old_paths(home).await? {
            answer = self.get_file(home, target, max_bytes).await?;
        }
        let label = home.to_z32();
        match answer.status {
            StatusCode::OK => Ok(Fetched {
                home: *home,
                etag: answer.etag(),
                body: Body::Bytes(answer.body),
            }),
            StatusCode::NOT_MODIFIED if target.etag.is_some() => Ok(Fetched {
                home: *home,
                etag: target.etag.clone(),
                body: Body::Unchanged,
            }),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(NetError::NotFound(format!(
                "{}{}",
                target.user, target.path
            ))),
            _ => {
                let failure = answer.failure(&label);
                if let Some(wait) = failure.retry_after() {
                    self.shared.servers.get(home).pause(wait);
                }
                Err(failure)
            }
        }
    }

    async fn get_file(
        &self,
        home: &ServiceKey,
        target: &Target,
        max_bytes: usize,
    ) -> Result<Answer, NetError> {
        let by_path = self.shared.servers.get(home).path_addressed() != Some(false);
        let path = if by_path {
            storage_path(&target.user, &target.path)?
        } else {
            encode_path(&target.path)?
        };
        let mut call = Call::new(Method::GET, path, self.config()).at_most(max_bytes);
        if !by_path {
            call = call.header("pubky-host", &target.user.to_z32())?;
        }
        if let Some(etag) = &target.etag {
            call = call.header("if-none-match", etag)?;
        }
        self.call(home, &call).await
    }

    /// Whether this homeserver is of the older kind that takes the user from a header instead of the path. Asked once, and only after
    /// it said that something is not there. True only if that is news.
    async fn speaks_old_paths(&self, home: &ServiceKey) -> Result<bool, NetError> {
        #[derive(serde::Deserialize)]
        struct Info {
            features: Vec<String>,
        }
        let server = self.shared.servers.get(home);
        if server.path_addressed().is_some() {
            return Ok(false);
        }
        let call = Call::new(Method::GET, "/info", self.config()).at_most(MAX_INFO_BYTES);
        let answer = self.call(home, &call).await?;
        let features = answer
            .json::<Info>(&server.label)
            .map(|info| info.features)
            .unwrap_or_default();
        let by_path = features
            .iter()
            .any(|f| f == pubky_common::constants::features::PATH_ADDRESSED_STORAGE);
        server.set_path_addressed(by_path);
        Ok(!by_path)
    }
}

pub(crate) struct AbortOnDrop(pub(crate) JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Results of [`Net::fetch_many`], as they come.
pub struct FetchStream {
    ready: mpsc::Receiver<(Target, Result<Fetched, NetError>)>,
    _driver: AbortOnDrop,
}

impl Stream for FetchStream {
    type Item = (Target, Result<Fetched, NetError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(cx)
    }
}
