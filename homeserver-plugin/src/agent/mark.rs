//! A database that was restored must not sign: it would give out numbers a second time.
//!
//! A number is raised in the database and then in a file beside the plugin's secret, at every start and again and again while books
//! change. If the file is ahead, the database is older than what was signed, and the books in it are kept no longer.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Agent, store};
use crate::error::PluginError;
use crate::state::AppState;

/// The file in the data directory.
const FILE: &str = "agent-generation";
/// How often the number is raised while books change.
const EVERY: Duration = Duration::from_secs(60);

/// The mark of this process.
pub struct Mark {
    path: Option<PathBuf>,
    changed: AtomicBool,
}

impl Mark {
    /// Lies in this directory; without one there is none.
    #[must_use]
    pub fn new(data_dir: Option<PathBuf>) -> Self {
        Self {
            path: data_dir.map(|folder| folder.join(FILE)),
            changed: AtomicBool::new(false),
        }
    }

    /// Books have changed since it was raised.
    pub fn changed(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> PluginError {
    let path = path.to_owned();
    move |source| PluginError::File { path, source }
}

/// The number in the file; none if there is no file.
fn read(path: &Path) -> Result<Option<i64>, PluginError> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let number = text.trim().parse::<i64>().ok().filter(|n| *n >= 0);
            number
                .map(Some)
                .ok_or_else(|| PluginError::Config(format!("{} holds no number", path.display())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error)),
    }
}

/// Writes the number so that a crash leaves the old one or the new one.
fn write(path: &Path, number: i64) -> Result<(), PluginError> {
    let beside = path.with_extension("new");
    let work = || {
        let mut file = std::fs::File::create(&beside)?;
        writeln!(file, "{number}")?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        match path.parent() {
            Some(folder) => std::fs::File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    work().map_err(failed(path))
}

/// Raises the number: in the database first, so that the file is never ahead of a database that is not older.
async fn raise(state: &AppState, path: &Path, above: i64) -> Result<(), PluginError> {
    let number = store::raise_mark(&state.pool, above).await?;
    let path = path.to_owned();
    let written = tokio::task::spawn_blocking(move || write(&path, number)).await;
    written.map_err(|error| PluginError::Internal(error.to_string()))?
}

/// Looks whether the database is older than what was signed; if so its books are kept no longer. Then raises the number.
///
/// # Errors
/// [`PluginError::Database`]; [`PluginError::File`] if the data directory can't be read or written.
pub async fn check(state: &AppState, agent: &Agent) -> Result<(), PluginError> {
    let Some(path) = &agent.mark().path else {
        return Ok(());
    };
    let file = read(path)?;
    let known = store::mark(&state.pool).await?;
    let is_older = file.map_or(known > 0, |file| file > known);
    if is_older {
        let pairs = store::set_restored(&state.pool).await?;
        tracing::error!(
            pairs,
            "this database is older than what its agents have signed: they keep these books no longer, and their users must take them back"
        );
    }
    raise(state, path, file.unwrap_or(0)).await
}

/// Raises the number while books change, until the process stops.
pub async fn run(state: AppState, agent: Agent) {
    let Some(path) = agent.mark().path.clone() else {
        return;
    };
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if !state.readiness.lock_held() || !agent.mark().changed.swap(false, Ordering::Relaxed) {
            continue;
        }
        if let Err(error) = raise(&state, &path, 0).await {
            agent.mark().changed();
            tracing::warn!(%error, "the mark against restored databases was not raised");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_number_is_replaced_as_a_whole_and_nothing_else_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert_eq!(read(&path).unwrap(), None);
        write(&path, 7).unwrap();
        write(&path, 8).unwrap();
        assert_eq!(read(&path).unwrap(), Some(8));
        std::fs::write(&path, "-1").unwrap();
        assert!(read(&path).is_err());
        std::fs::write(&path, "").unwrap();
        assert!(read(&path).is_err());
    }
}
