//! The plugin's secret key: a file that only its owner reads.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::{Config, Follow};
use crate::cosigner::keys;
use crate::error::PluginError;
use crate::witness_log::create;

/// Name of the file in the data directory.
pub const SECRET_FILE: &str = "secret";

/// 64 hexadecimal digits, as the Pubky homeserver writes its own.
const HEX_LEN: usize = 64;

fn failed(path: &Path) -> impl Fn(std::io::Error) -> PluginError + '_ {
    |source| PluginError::File {
        path: path.to_owned(),
        source,
    }
}

/// Where the secret lies in `data_dir`.
#[must_use]
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(SECRET_FILE)
}

/// Makes a new key and stores it; never over an existing one.
///
/// # Errors
/// [`PluginError::File`] if the file exists or can't be written.
pub fn create(data_dir: &Path) -> Result<pubky::Keypair, PluginError> {
    let secret = create_at(&path(data_dir))?;
    Ok(pubky::Keypair::from_secret(&secret))
}

/// Reads the key back.
///
/// # Errors
/// [`PluginError::File`] if it can't be read, [`PluginError::Config`] if others may read it too or it is no key.
pub fn load(data_dir: &Path) -> Result<pubky::Keypair, PluginError> {
    let secret = load_at(&path(data_dir), "atomicity-homeserver init")?;
    Ok(pubky::Keypair::from_secret(&secret))
}

/// Makes 32 random bytes and stores them in a new file at `path`; never over an existing one.
///
/// # Errors
/// [`PluginError::File`] if the file exists or can't be written.
pub fn create_at(path: &Path) -> Result<Zeroizing<[u8; 32]>, PluginError> {
    let failed = failed(path);
    let secret = Zeroizing::new(rand::random::<[u8; 32]>());
    let mut text = Zeroizing::new(String::with_capacity(HEX_LEN + 1));
    for byte in secret.iter() {
        for nibble in [byte >> 4, byte & 0x0f] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text.push('\n');
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(&failed)?;
    file.write_all(text.as_bytes()).map_err(&failed)?;
    file.sync_all().map_err(&failed)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(&failed)?;
    Ok(secret)
}

/// Reads back what [`create_at`] stored. `made_by` is the command to run if there is nothing.
///
/// # Errors
/// [`PluginError::File`] if it can't be read, [`PluginError::Config`] if it is missing, others may read it too, or it is no key.
pub fn load_at(path: &Path, made_by: &str) -> Result<Zeroizing<[u8; 32]>, PluginError> {
    let failed = failed(path);
    let file = File::open(path).map_err(|source| {
        if source.kind() == std::io::ErrorKind::NotFound {
            PluginError::Config(format!(
                "{} is missing: run `{made_by}` first",
                path.display()
            ))
        } else {
            failed(source)
        }
    })?;
    let mode = file.metadata().map_err(&failed)?.mode();
    if mode & 0o077 != 0 {
        return Err(PluginError::Config(format!(
            "{} may be read by others (mode {:o}): chmod 600 it",
            path.display(),
            mode & 0o777
        )));
    }
    let mut text = Zeroizing::new(String::with_capacity(2 * HEX_LEN));
    let limit = u64::try_from(2 * HEX_LEN).unwrap_or(u64::MAX);
    file.take(limit)
        .read_to_string(&mut text)
        .map_err(&failed)?;
    parse(text.trim()).ok_or_else(|| {
        PluginError::Config(format!(
            "{} does not hold 64 hexadecimal digits",
            path.display()
        ))
    })
}

/// The secret keys of the process, and what else lies in the data directory.
pub struct Secrets {
    /// The plugin's own.
    pub plugin: pubky::Keypair,
    /// The log's, if this plugin runs one.
    pub witness_log: Option<Zeroizing<[u8; 32]>>,
    /// The cosigner's, if this plugin cosigns.
    pub cosigner: Option<Zeroizing<[u8; 32]>>,
    /// What cosigner and watchtower follow.
    pub follow: Follow,
    /// Policies of logs that the agent's promises may hang on.
    pub policies: Vec<String>,
    /// Where they lie; none if they were made for a test.
    pub data_dir: Option<PathBuf>,
}

impl From<pubky::Keypair> for Secrets {
    fn from(plugin: pubky::Keypair) -> Self {
        Self {
            plugin,
            witness_log: None,
            cosigner: None,
            follow: Follow::default(),
            policies: Vec::new(),
            data_dir: None,
        }
    }
}

impl Secrets {
    /// Reads the keys of everything that the configuration enables.
    ///
    /// # Errors
    /// As for [`load_at`].
    pub fn load(data_dir: &Path, config: &Config) -> Result<Self, PluginError> {
        let witness_log = config
            .witness_log
            .enabled
            .then(|| create::load(data_dir))
            .transpose()?;
        let cosigner = config
            .cosigner
            .enabled
            .then(|| keys::load(data_dir))
            .transpose()?;
        Ok(Self {
            plugin: load(data_dir)?,
            witness_log,
            cosigner,
            follow: Follow::read(&config.cosigner, &config.watchtower, data_dir)?,
            policies: match config.agent.enabled {
                true => config.agent.read_policies(data_dir)?,
                false => Vec::new(),
            },
            data_dir: Some(data_dir.to_owned()),
        })
    }
}

fn parse(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    if text.len() != HEX_LEN || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut secret = Zeroizing::new([0u8; 32]);
    for (byte, digits) in secret.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_reads_back_and_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let made = create(dir.path()).unwrap();
        assert_eq!(load(dir.path()).unwrap().public_key(), made.public_key());
        assert!(create(dir.path()).is_err());
        assert_eq!(load(dir.path()).unwrap().public_key(), made.public_key());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path()).unwrap();
        let path = path(dir.path());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(load(dir.path()).unwrap_err().code(), "config_invalid");
    }

    #[test]
    fn garbage_is_refused_without_being_shown() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path()).unwrap();
        std::fs::write(path(dir.path()), "+1".repeat(32)).unwrap();
        let accepted = load(dir.path());
        // `+1` is a number to the standard library, not two hexadecimal digits.
        assert!(accepted.is_err());
        std::fs::write(path(dir.path()), "s3cret").unwrap();
        assert!(!load(dir.path()).unwrap_err().to_string().contains("s3cret"));
    }
}
