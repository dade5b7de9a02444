//! `init`: a directory to start from.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::ExitCode;

use atomicity_plugin::{PluginError, secret};

/// What a new configuration says.
const TEMPLATE: &str = include_str!("template.toml");

pub fn init(data_dir: &Path, config_file: &Path) -> Result<ExitCode, PluginError> {
    let failed = |path: &Path, source| PluginError::File {
        path: path.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(|source| failed(data_dir, source))?;
    let keypair = if secret::path(data_dir).exists() {
        secret::load(data_dir)?
    } else {
        secret::create(data_dir)?
    };
    // The file will hold the database password.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(config_file);
    let made = match file {
        Ok(mut file) => {
            file.write_all(TEMPLATE.as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(|source| failed(config_file, source))?;
            true
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(failed(config_file, error)),
    };
    say!("plugin key: {}", keypair.public_key().z32());
    say!("secret:     {}", secret::path(data_dir).display());
    say!(
        "config:     {}{}",
        config_file.display(),
        if made { "" } else { " (kept)" }
    );
    if made {
        say!(
            "next: fill in database.url and accounts.homeserver, then run `atomicity-homeserver doctor`"
        );
    }
    Ok(ExitCode::SUCCESS)
}
