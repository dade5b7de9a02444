//! What the tests share.

pub mod browser;
pub mod database;
pub mod plugin;
pub mod postgres;
pub mod process;
pub mod sse;
pub mod user;
pub mod world;

use std::time::{Duration, Instant};

/// Waits until `condition` holds. The bound only ends a hopeless wait; nothing is measured.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let started = Instant::now();
    while !condition().await {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "waited in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
