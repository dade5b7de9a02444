//! Making a log. Only the operator's command does; starting the plugin never does.

use std::path::{Path, PathBuf};

use atomicity_witness_log::{KeyKind, SigningKey};
use sqlx::{Connection as _, PgConnection};
use zeroize::Zeroizing;

use super::store;
use crate::error::PluginError;
use crate::{clock, secret};

/// Name of the key's file in the data directory.
pub const SECRET_FILE: &str = "log-secret";
/// The command that makes a log.
pub const COMMAND: &str = "atomicity-homeserver log create";

/// Where the log's key lies in `data_dir`.
#[must_use]
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(SECRET_FILE)
}

/// Reads the log's secret.
///
/// # Errors
/// As for [`secret::load_at`].
pub fn load(data_dir: &Path) -> Result<Zeroizing<[u8; 32]>, PluginError> {
    secret::load_at(&path(data_dir), COMMAND)
}

/// The key of the log of this origin.
///
/// # Errors
/// [`PluginError::Config`] if that can't be the name of a log.
pub fn key(origin: &str, secret: &Zeroizing<[u8; 32]>) -> Result<SigningKey, PluginError> {
    SigningKey::from_secret(origin, KeyKind::Ed25519, **secret)
        .map_err(|error| PluginError::Config(format!("origin of the log: {error}")))
}

/// Makes a key and a log of this origin. The schema must be current.
///
/// # Errors
/// [`PluginError::Config`] if there is a log of this origin already or that can't be a name, [`PluginError::File`] if there is a key
/// already or it can't be written, [`PluginError::Database`].
pub async fn create(
    connection: &mut PgConnection,
    data_dir: &Path,
    origin: &str,
) -> Result<SigningKey, PluginError> {
    let path = path(data_dir);
    if path.exists() {
        return Err(PluginError::Config(format!(
            "{} exists: this plugin has a log, whose key is never replaced",
            path.display()
        )));
    }
    let secret = secret::create_at(&path)?;
    let prepared = async {
        let key = key(origin, &secret)?;
        let mut tx = connection.begin().await?;
        store::create(&mut tx, &key, clock::now_ms()).await?;
        Ok::<_, PluginError>((key, tx))
    };
    let (key, tx) = match prepared.await {
        Ok(prepared) => prepared,
        Err(error) => {
            // There is no log that needs it.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
    };
    // If this fails the log may be there all the same: then it needs its key.
    tx.commit().await?;
    Ok(key)
}
