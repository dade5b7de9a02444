//! A lock between processes on one wallet, for what must not overlap on the network: writing the same files.
//!
//! The books themselves need none: their transactions hold the database's own write lock. This one keeps an older channel file
//! from overtaking a newer one, and two processes from raising the generation at once. The system drops it when a process dies.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use atomicity_ledger::RecordId;

use crate::error::ClientError;

/// Name of the lock file in the wallet's folder.
const LOCK_FILE: &str = "wallet.lock";

/// Name of the lock file for publishing.
const PUBLISH_FILE: &str = "publish.lock";

/// How often a taken lock is tried again.
const RETRY: Duration = Duration::from_millis(25);

/// Held as long as this value lives.
#[derive(Debug)]
pub(crate) struct WalletLock {
    _file: File,
}

/// Takes the lock of the generation's mark, waiting at most `patience`; `None` if another process kept it for longer.
pub(crate) async fn take(
    home: &Path,
    patience: Duration,
) -> Result<Option<WalletLock>, ClientError> {
    take_file(home, LOCK_FILE, patience).await
}

/// Takes the lock of publishing, likewise. Its holder may take the other lock, never the other way round.
pub(crate) async fn take_publishing(
    home: &Path,
    patience: Duration,
) -> Result<Option<WalletLock>, ClientError> {
    take_file(home, PUBLISH_FILE, patience).await
}

/// Takes the lock of doing what was proposed under this name, likewise; a sixteenth of all names share it.
pub(crate) async fn take_proposal(
    home: &Path,
    id: &RecordId,
    patience: Duration,
) -> Result<Option<WalletLock>, ClientError> {
    let part = id.as_bytes()[0] % 16;
    take_file(home, &format!("proposal-{part:x}.lock"), patience).await
}

async fn take_file(
    home: &Path,
    name: &str,
    patience: Duration,
) -> Result<Option<WalletLock>, ClientError> {
    let path = home.join(name);
    let io = |why| ClientError::Io {
        path: path.clone(),
        why,
    };
    let file = open_private(&path).map_err(io)?;
    let end = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(WalletLock { _file: file })),
            Err(std::fs::TryLockError::WouldBlock) if Instant::now() < end => {
                tokio::time::sleep(RETRY).await;
            }
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(why)) => return Err(io(why)),
        }
    }
}

fn open_private(path: &Path) -> std::io::Result<File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = take(dir.path(), Duration::ZERO).await.unwrap();
        assert!(held.is_some());
        assert!(take(dir.path(), Duration::ZERO).await.unwrap().is_none());
        drop(held);
        assert!(take(dir.path(), Duration::ZERO).await.unwrap().is_some());
    }
}
