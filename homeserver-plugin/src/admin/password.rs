//! The operator's password: a setting, or 64 characters in a file that only the service reads.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::AdminConfig;
use super::attempts::Strength;
use crate::error::PluginError;
use crate::secret;

/// Name of the file in the data directory.
pub const FILE: &str = "admin-password";
/// What makes it.
const MADE_BY: &str = "atomicity-homeserver run";

/// Where the password comes from.
pub enum Password {
    /// The configuration; only its hash is kept.
    Setting([u8; 32]),
    /// A file, which is read whenever somebody logs in.
    File(PathBuf),
}

fn digest(password: &str) -> [u8; 32] {
    Sha256::digest(password.as_bytes()).into()
}

fn hex(bytes: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Reads the password that `atomicity-homeserver admin` sends.
///
/// # Errors
/// [`PluginError::Config`] if there is none.
pub fn read(config: &AdminConfig, data_dir: &Path) -> Result<Zeroizing<String>, PluginError> {
    match &config.password {
        Some(password) => Ok(Zeroizing::new(password.clone())),
        None => Ok(hex(&*secret::load_at(&data_dir.join(FILE), MADE_BY)?)),
    }
}

impl Password {
    /// Takes it from the configuration, or from its file, which is made if it is missing.
    ///
    /// # Errors
    /// [`PluginError::Config`] without either; [`PluginError::File`].
    pub fn open(config: &AdminConfig, data_dir: Option<&Path>) -> Result<Self, PluginError> {
        if let Some(password) = &config.password {
            return Ok(Self::Setting(digest(password)));
        }
        let dir = data_dir.ok_or_else(|| {
            PluginError::Config("admin.password is missing: there is no data directory".to_owned())
        })?;
        let path = dir.join(FILE);
        if !path.exists() {
            secret::create_at(&path)?;
            tracing::info!(file = %path.display(), "made a password for operators");
        }
        secret::load_at(&path, MADE_BY)?;
        Ok(Self::File(path))
    }

    /// What identifies the present password without telling it.
    ///
    /// # Errors
    /// If its file can't be read.
    pub fn fingerprint(&self) -> Result<[u8; 32], PluginError> {
        match self {
            Self::Setting(digest) => Ok(*digest),
            Self::File(path) => Ok(digest(&hex(&*secret::load_at(path, MADE_BY)?))),
        }
    }

    /// Whether `given` is it. Takes as long for one that is nearly right as for any other.
    ///
    /// # Errors
    /// If its file can't be read.
    pub fn is(&self, given: &str) -> Result<bool, PluginError> {
        Ok(same(&digest(given), &self.fingerprint()?))
    }

    /// How hard it is to guess.
    #[must_use]
    pub fn strength(&self) -> Strength {
        match self {
            Self::Setting(_) => Strength::Chosen,
            Self::File(_) => Strength::Random,
        }
    }

    /// The file that holds it.
    ///
    /// # Errors
    /// `password_is_a_setting` if it is none.
    pub fn file(&self) -> Result<&Path, PluginError> {
        match self {
            Self::File(path) => Ok(path),
            Self::Setting(_) => Err(PluginError::Refused {
                code: "password_is_a_setting",
                detail:
                    "the password stands in the configuration: change it there, and start again"
                        .to_owned(),
            }),
        }
    }

    /// Makes another one, in the place of the one in the file; the old one counts no longer.
    ///
    /// # Errors
    /// `password_is_a_setting` if it is no file; [`PluginError::File`].
    pub fn renew(&self) -> Result<Zeroizing<String>, PluginError> {
        let path = self.file()?;
        let failed = |source| PluginError::File {
            path: path.to_owned(),
            source,
        };
        let next = path.with_extension("next");
        match std::fs::remove_file(&next) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        let made = secret::create_at(&next)?;
        std::fs::rename(&next, path).map_err(failed)?;
        Ok(hex(&made))
    }
}

/// Compares every byte, whatever the ones before said.
#[must_use]
pub fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_and_renewed_on_demand() {
        let dir = tempfile::tempdir().unwrap();
        let config = AdminConfig::default();
        assert!(read(&config, dir.path()).is_err());
        let password = Password::open(&config, Some(dir.path())).unwrap();
        let first = read(&config, dir.path()).unwrap();
        assert_eq!(first.len(), 64);
        assert!(password.is(&first).unwrap() && !password.is("").unwrap());
        Password::open(&config, Some(dir.path())).unwrap();
        assert!(password.is(&first).unwrap());
        let second = password.renew().unwrap();
        assert!(!password.is(&first).unwrap() && password.is(&second).unwrap());
        let mode = std::fs::metadata(dir.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn one_in_the_settings_is_changed_there() {
        let config = AdminConfig {
            password: Some("correct horse battery".to_owned()),
            ..AdminConfig::default()
        };
        let password = Password::open(&config, None).unwrap();
        assert!(password.is("correct horse battery").unwrap());
        assert!(!password.is("correct horse batterz").unwrap());
        assert_eq!(
            password.renew().unwrap_err().code(),
            "password_is_a_setting"
        );
    }
}
