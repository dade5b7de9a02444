//! One plugin per database.
//!
//! A session-level advisory lock is held on a connection of its own for as long as the process serves. It goes when the connection
//! goes: with the process, with an outage, with an administrator's command. Losing it stops the serving at once; it is taken again
//! when the database is back, unless another plugin was faster.
//!
//! Between losing the lock and noticing, a request may still commit. That does no harm: ids are handed out under the account's row
//! lock, whoever asks. The lock keeps operators from running two plugins by mistake, not data from tearing.

use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::DatabaseConfig;
use crate::error::PluginError;
use crate::metrics::Metrics;
use crate::readiness::Readiness;

/// Number of the advisory lock: "atomicit" in ASCII.
pub const LOCK_NUMBER: i64 = 0x6174_6f6d_6963_6974;
/// How often the connection that holds the lock is looked at.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long the database may take to answer the heartbeat or a connection attempt.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// The lock, held.
pub struct DatabaseLock {
    connection: PgConnection,
    options: PgConnectOptions,
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, PluginError> {
    match timeout(PATIENCE, options.connect()).await {
        Ok(connection) => Ok(connection?),
        Err(_) => Err(PluginError::NotReady),
    }
}

async fn try_lock(connection: &mut PgConnection) -> Result<bool, PluginError> {
    let query = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "held!""#, LOCK_NUMBER);
    match timeout(PATIENCE, query.fetch_one(connection)).await {
        Ok(held) => Ok(held?),
        Err(_) => Err(PluginError::NotReady),
    }
}

/// Doubles up to [`MAX_PAUSE`], with jitter so that several processes don't knock in step.
fn next_pause(pause: Duration) -> Duration {
    let doubled = pause.saturating_mul(2).min(MAX_PAUSE);
    doubled.mul_f64(rand::random_range(0.75..=1.0))
}

impl DatabaseLock {
    /// Waits for the database, then takes the lock.
    ///
    /// # Errors
    /// [`PluginError::Database`] if the database can't be reached in `startup_wait_ms`, [`PluginError::DatabaseInUse`] if
    /// another plugin does not let go in `lock_wait_ms`.
    pub async fn acquire(
        config: &DatabaseConfig,
        options: &PgConnectOptions,
    ) -> Result<Self, PluginError> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(100);
        let mut connection = loop {
            match connect(options).await {
                Ok(connection) => break connection,
                Err(error) => {
                    if started.elapsed() >= Duration::from_millis(config.startup_wait_ms) {
                        return Err(error);
                    }
                    tracing::warn!(%error, "waiting for the database");
                    sleep(pause).await;
                    pause = next_pause(pause);
                }
            }
        };
        let connected = Instant::now();
        while !try_lock(&mut connection).await? {
            if connected.elapsed() >= Duration::from_millis(config.lock_wait_ms) {
                return Err(PluginError::DatabaseInUse);
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(Self {
            connection,
            options: options.clone(),
        })
    }

    /// The connection that holds the lock, for work that must not overlap with another plugin's.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Watches over the lock until `shutdown`, and takes it again after an outage.
    ///
    /// # Errors
    /// [`PluginError::DatabaseInUse`] if another plugin took the lock meanwhile and keeps it for `lock_grace_ms`.
    pub async fn keep(
        mut self,
        config: &DatabaseConfig,
        readiness: &Readiness,
        metrics: &Metrics,
        shutdown: &CancellationToken,
    ) -> Result<(), PluginError> {
        loop {
            readiness.set_lock_held(true);
            metrics.ready(true);
            tokio::select! {
                () = shutdown.cancelled() => {
                    // Whoever waits for the database need not wait for the socket to be noticed closed.
                    let _ = timeout(PATIENCE, self.connection.close()).await;
                    return Ok(());
                }
                () = lost(&mut self.connection) => {}
            }
            readiness.set_lock_held(false);
            metrics.ready(false);
            tracing::error!("the database or its lock is gone; serving stops until it is back");
            let grace = Duration::from_millis(config.lock_grace_ms);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                again = take_again(&self.options, grace) => self.connection = again?,
            }
            tracing::info!("the database is back and the lock is held again");
        }
    }
}

/// Returns when the connection no longer answers.
async fn lost(connection: &mut PgConnection) {
    loop {
        sleep(HEARTBEAT).await;
        match timeout(PATIENCE, connection.ping()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

async fn take_again(
    options: &PgConnectOptions,
    grace: Duration,
) -> Result<PgConnection, PluginError> {
    let mut pause = Duration::from_millis(100);
    // Our own former connection may look alive to the database for a while: that is what the grace is for.
    let mut refused_since = None;
    loop {
        let attempt = match connect(options).await {
            Ok(mut connection) => try_lock(&mut connection)
                .await
                .map(|held| held.then_some(connection)),
            Err(error) => Err(error),
        };
        match attempt {
            Ok(Some(connection)) => return Ok(connection),
            Ok(None) => {
                let since = *refused_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= grace {
                    return Err(PluginError::DatabaseInUse);
                }
            }
            Err(error) => {
                refused_since = None;
                tracing::debug!(%error, "the database is still away");
            }
        }
        sleep(pause).await;
        pause = next_pause(pause);
    }
}
