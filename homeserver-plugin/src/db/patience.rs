//! Waiting for a database that is slow while the plugin starts.

use std::time::{Duration, Instant};

use crate::config::DatabaseConfig;
use crate::error::PluginError;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Repeats a step of the start while the database is away or too slow to answer, for at most `startup_wait_ms`: nobody waits for
/// an answer yet, and a plugin that gives up is one that somebody has to start again. The step must do no harm when repeated.
///
/// # Errors
/// What the step says that waiting does not mend, or says last.
pub async fn patiently<T, F>(
    config: &DatabaseConfig,
    mut step: impl FnMut() -> F,
) -> Result<T, PluginError>
where
    F: Future<Output = Result<T, PluginError>>,
{
    let started = Instant::now();
    let patience = Duration::from_millis(config.startup_wait_ms);
    loop {
        match step().await {
            Err(error @ (PluginError::Database(_) | PluginError::NotReady))
                if error.retry_after().is_some() && started.elapsed() < patience =>
            {
                tracing::warn!(%error, "waiting for the database");
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}
