//! Waiting for something to become true, with an end.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// How long anything may take before a test gives up. Generous: it only ends tests that hang.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Pauses between two looks, at first and at most: a look often is a program that is started, and costs more than it tells.
const PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_millis(400);

/// Calls `probe` until it gives a value.
///
/// # Errors
/// If it has not done so within [`PATIENCE`]; the error names `what` and the last reason given.
pub async fn until<T, F, R>(what: &str, mut probe: F) -> Result<T>
where
    F: FnMut() -> R,
    R: Future<Output = Result<T>>,
{
    let end = Instant::now() + PATIENCE;
    let mut pause = PAUSE;
    loop {
        match probe().await {
            Ok(value) => return Ok(value),
            Err(reason) if Instant::now() >= end => {
                bail!("gave up waiting for {what}: {reason:#}")
            }
            Err(_) => {
                sleep(pause).await;
                pause = MAX_PAUSE.min(pause * 2);
            }
        }
    }
}
