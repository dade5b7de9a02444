//! The witness log: a transparency log of preimages (`[witness_log]`, off unless the operator made one).
//!
//! [`sequencer`] gives preimages their places and stores them with the tree and the head in one transaction; [`publisher`] has the newest
//! head cosigned and publishes it; [`publication`] is what a caller of `POST /log/preimages` waits for. What is right and wrong about
//! trees, proofs and notes is decided by the crate `atomicity-witness-log`; here is only where bytes come from and go to.
//!
//! Nothing is signed that is not stored, nothing is answered that is not published, and on any doubt about the head the process ends.

pub mod config;
mod cosigners;
pub mod create;
mod events;
pub mod fault;
pub mod graves;
pub mod http;
mod metrics;
pub mod publication;
pub mod publisher;
pub mod sequencer;
pub mod standings;
pub mod store;
mod tiles;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use atomicity_witness_log::{Checkpoint, Policy, SignedCheckpoint, SigningKey};
use sqlx::PgPool;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::config::{Config, DatabaseConfig};
use crate::db::{patience::patiently, pool};
use crate::error::PluginError;
use crate::metrics::Metrics;
use crate::state::AppState;
use metrics::LogMetrics;
use publisher::Publisher;
use sequencer::{Job, Sequencer};
use standings::Standings;
use store::StoredLog;
pub use tiles::Tiles;

/// A published checkpoint: what proofs are made under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The checkpoint with its signatures.
    pub signed: SignedCheckpoint,
    /// The same as text.
    pub text: String,
}

impl Published {
    fn new(signed: SignedCheckpoint) -> Self {
        Self {
            text: signed.note().to_string(),
            signed,
        }
    }

    /// How many entries it covers.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.signed.checkpoint().size
    }
}

/// Where the log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has not yet heard from enough cosigners that nothing was forgotten here.
    Comparing,
    /// It sequences and signs.
    Running,
    /// It signs nothing any more, for this reason.
    Stopped(&'static str),
}

/// The plugin's log, as requests see it. Cheap to clone.
#[derive(Clone)]
pub struct WitnessLog(Arc<Inner>);

struct Inner {
    id: [u8; 32],
    key: SigningKey,
    policy: Policy,
    tiles: Tiles,
    /// Connections that only the log's own tasks use: no flood of requests may keep it from ticking.
    own: PgPool,
    metrics: LogMetrics,
    standings: Standings,
    jobs: mpsc::Sender<Job>,
    heads: watch::Sender<Option<Arc<SignedCheckpoint>>>,
    signed_size: AtomicU64,
    published: watch::Sender<Option<Arc<Published>>>,
    /// Publications that wait, and live streams.
    waiting: AtomicUsize,
    streams: AtomicUsize,
    running: OnceLock<()>,
    why_stopped: OnceLock<&'static str>,
    stopped: CancellationToken,
}

/// What [`run`] needs beside the log itself.
pub struct Start {
    jobs: mpsc::Receiver<Job>,
}

/// The URL of this plugin's log, by its key.
#[must_use]
pub fn url(plugin: &pubky::Keypair) -> String {
    format!("https://{}/log", plugin.public_key().z32())
}

impl WitnessLog {
    /// Opens the log that belongs to this key.
    ///
    /// # Errors
    /// [`PluginError::Config`] if the database has no such log or the cosigners make no policy, [`PluginError::Database`].
    pub async fn open(
        config: &Config,
        plugin: &pubky::Keypair,
        secret: &Zeroizing<[u8; 32]>,
        pool: &PgPool,
        metrics: &Metrics,
    ) -> Result<(Self, Start), PluginError> {
        let id = *create::key("log", secret)?.verifier().public();
        let load = async || store::load(&mut *pool.acquire().await?, &id).await;
        let stored = patiently(&config.database, load)
            .await?
            .ok_or_else(|| {
                PluginError::Config(
                    "the database does not hold the log of this key: restore it, or move the key away and run `atomicity-homeserver log create` \
                     for a new log"
                        .to_owned(),
                )
            })?;
        let key = create::key(&stored.origin, secret)?;
        let policy = config.witness_log.policy(key.verifier(), url(plugin))?;
        if config.witness_log.cosigners.is_empty() {
            tracing::warn!("the log has no cosigners: nobody who relies on it can tell a fork");
        }
        let published = published(&stored, &policy);
        let (sender, receiver) = mpsc::channel(config.witness_log.max_waiting);
        let log = Self(Arc::new(Inner {
            tiles: Tiles::new(pool.clone(), id),
            own: own_pool(config)?,
            metrics: LogMetrics::register(metrics)?,
            standings: Standings::default(),
            jobs: sender,
            heads: watch::Sender::new(None),
            signed_size: AtomicU64::new(stored.head.size),
            published: watch::Sender::new(published.map(Arc::new)),
            waiting: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            running: OnceLock::new(),
            why_stopped: OnceLock::new(),
            stopped: CancellationToken::new(),
            id,
            key,
            policy,
        }));
        Ok((log, Start { jobs: receiver }))
    }

    fn id(&self) -> &[u8; 32] {
        &self.0.id
    }

    fn own_pool(&self) -> &PgPool {
        &self.0.own
    }

    fn metrics(&self) -> &LogMetrics {
        &self.0.metrics
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.key.verifier().name().to_owned()
    }

    /// Its verifier key.
    #[must_use]
    pub fn vkey(&self) -> String {
        self.0.key.verifier().to_string()
    }

    /// By what others check its checkpoints.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Its tiles and bundles.
    #[must_use]
    pub fn tiles(&self) -> &Tiles {
        &self.0.tiles
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        match (self.0.why_stopped.get(), self.0.running.get()) {
            (Some(why), _) => Status::Stopped(why),
            (None, Some(())) => Status::Running,
            (None, None) => Status::Comparing,
        }
    }

    /// How its cosigners answered last.
    #[must_use]
    pub fn standings(&self) -> &Standings {
        &self.0.standings
    }

    /// The newest published checkpoint.
    #[must_use]
    pub fn published(&self) -> Option<Arc<Published>> {
        self.0.published.borrow().clone()
    }

    fn published_size(&self) -> u64 {
        self.published().map_or(0, |published| published.size())
    }

    /// How many entries the largest head has that this log ever signed, as far as this process knows.
    fn signed_size(&self) -> u64 {
        self.0.signed_size.load(Ordering::SeqCst)
    }

    fn heads(&self) -> watch::Receiver<Option<Arc<SignedCheckpoint>>> {
        let mut heads = self.0.heads.subscribe();
        heads.mark_changed();
        heads
    }

    /// Signs a head that is stored.
    fn sign(&self, head: &Checkpoint) -> Result<SignedCheckpoint, PluginError> {
        head.sign(&self.0.key)
            .and_then(SignedCheckpoint::new)
            .map_err(|error| tiles::failed(&error))
    }

    /// Hands a stored and signed head to the publisher.
    fn announce(&self, head: Arc<SignedCheckpoint>) {
        self.0
            .signed_size
            .fetch_max(head.checkpoint().size, Ordering::SeqCst);
        self.0.heads.send_replace(Some(head));
    }

    fn publish(&self, signed: SignedCheckpoint) {
        let published = Published::new(signed);
        self.0.metrics.published(published.size());
        self.0.published.send_replace(Some(Arc::new(published)));
    }

    fn set_running(&self) {
        let _ = self.0.running.set(());
        self.0.metrics.running(true);
    }

    fn stop(&self, why: &'static str) {
        let _ = self.0.why_stopped.set(why);
        self.0.metrics.running(false);
        self.0.stopped.cancel();
    }

    async fn stopped(&self) {
        self.0.stopped.cancelled().await;
    }
}

/// One connection for sequencing, one for publishing.
fn own_pool(config: &Config) -> Result<PgPool, PluginError> {
    let database = DatabaseConfig {
        max_connections: 2,
        ..config.database.clone()
    };
    let options = pool::options(&database)?;
    Ok(pool::open(&database, options))
}

/// The stored checkpoint, if it still is one by today's policy.
fn published(stored: &StoredLog, policy: &Policy) -> Option<Published> {
    let text = stored.checkpoint.as_ref()?;
    let signed = SignedCheckpoint::parse(text.as_bytes()).ok()?;
    if policy.check(signed.note()).is_err() {
        tracing::info!("the cosigners have changed: the last checkpoint is not served any more");
        return None;
    }
    Some(Published::new(signed))
}

/// Runs the log until the process stops. On an error the process is told to stop.
///
/// # Errors
/// Whatever makes it unsafe to go on.
pub async fn run(state: AppState, log: WitnessLog, start: Start) -> Result<(), PluginError> {
    let task = tokio::spawn({
        let (state, log) = (state.clone(), log.clone());
        async move { work(&state, &log, start).await }
    });
    let failed = |error| PluginError::Internal(format!("the log's task failed: {error}"));
    let outcome = task.await.map_err(failed).flatten();
    if let Err(error) = &outcome {
        tracing::error!(%error, code = error.code(), "the log can't go on");
        log.stop("failed");
        state.shutdown.cancel();
    }
    outcome
}

async fn work(state: &AppState, log: &WitnessLog, start: Start) -> Result<(), PluginError> {
    let sequencer = Sequencer::restore(state.clone(), log.clone(), start.jobs).await?;
    let mut publisher = Publisher::new(state.clone(), log.clone())?;
    let head = sequencer.head()?;
    if !publisher.compare(&head).await? {
        return Ok(());
    }
    let database = &state.config.database;
    patiently(database, || graves::stop_if_ended(state, log)).await?;
    if matches!(log.status(), Status::Stopped(_)) {
        return Ok(());
    }
    tracing::info!(
        origin = log.origin(),
        size = head.checkpoint().size,
        "the log runs"
    );
    log.set_running();
    let (sequenced, published) = tokio::join!(
        stop_if_failed(sequencer.run(), log),
        stop_if_failed(publisher.run(), log)
    );
    sequenced.and(published)
}

/// If one of the two fails, the other must not sign any more either.
async fn stop_if_failed(
    task: impl Future<Output = Result<(), PluginError>>,
    log: &WitnessLog,
) -> Result<(), PluginError> {
    let outcome = task.await;
    if outcome.is_err() {
        log.stop("failed");
    }
    outcome
}
