//! The data directory: who can read what.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Check;
use crate::error::PluginError;
use crate::secret;

/// The configuration holds the database's password.
pub(super) fn config_file(data_dir: &Path) -> Check {
    const NAME: &str = "config";
    let path = data_dir.join("config.toml");
    let shown = path.display();
    match std::fs::metadata(&path) {
        Ok(meta) if meta.mode() & 0o007 != 0 => Check::warn(
            NAME,
            format!(
                "{shown} can be read by every user of this machine (mode {:o})",
                meta.mode() & 0o777
            ),
            format!("it holds the database password: chmod 640 {shown}"),
        ),
        Ok(_) => Check::ok(NAME, format!("{shown} is read and valid")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Check::ok(
            NAME,
            format!("no {shown}: settings come from flags, the environment or another file"),
        ),
        Err(error) => Check::fail(
            NAME,
            format!("{shown}: {error}"),
            "run doctor as the user that runs the service",
        ),
    }
}

pub(super) fn secret(keys: &Result<pubky::Keypair, PluginError>, data_dir: &Path) -> Check {
    const NAME: &str = "secret";
    let path = secret::path(data_dir);
    match keys {
        Ok(keys) => Check::ok(
            NAME,
            format!(
                "only its owner reads it; the service's key is {}",
                keys.public_key().z32()
            ),
        ),
        Err(error) if path.exists() => Check::fail(
            NAME,
            error.to_string(),
            format!(
                "chmod 600 {0} and let the service's user own it",
                path.display()
            ),
        ),
        Err(error) => Check::fail(
            NAME,
            error.to_string(),
            "atomicity-homeserver init makes one; a lost one comes back only from a backup",
        ),
    }
}
