//! The data directory: who can read what.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Check;
use crate::error::PluginError;
use crate::secret;

/// What a unit of systemd reads the environment from.
const ENVIRONMENT_FILE: &str = "/etc/atomicity-homeserver.env";

/// Files that hold the database's password.
pub(super) fn readable(config_file: &Path) -> Vec<Check> {
    let mut checks = vec![config(config_file)];
    let environment = Path::new(ENVIRONMENT_FILE);
    if std::fs::metadata(environment).is_ok_and(|meta| meta.mode() & 0o007 != 0) {
        checks.push(exposed("environment", environment));
    }
    checks
}

fn exposed(name: &'static str, path: &Path) -> Check {
    let shown = path.display();
    let mode = std::fs::metadata(path).map_or(0, |meta| meta.mode() & 0o777);
    Check::warn(
        name,
        format!("{shown} can be read by every user of this machine (mode {mode:o})"),
        format!("it holds the database password: chmod o= {shown}"),
    )
}

fn config(path: &Path) -> Check {
    const NAME: &str = "config";
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(meta) if meta.mode() & 0o007 != 0 => exposed(NAME, path),
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
