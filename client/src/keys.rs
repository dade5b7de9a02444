//! The file of the root key: the ecosystem's recovery file, so that keys of other Pubky apps work here and the reverse.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use atomicity_ledger::Keypair;
use pubky_common::recovery_file;
use zeroize::Zeroizing;

/// A recovery file is a line and an encrypted key: far below this.
const MAX_FILE_BYTES: u64 = 4096;
/// Nonce, key and tag of the encrypted part.
const SEALED_BYTES: usize = 24 + 32 + 16;

/// Why the file of a root key could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// There is a file at this path already. It is never overwritten.
    #[error("{} exists already and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// There is no file at this path.
    #[error("there is no root key at {}", .0.display())]
    Missing(PathBuf),
    /// The disk said no.
    #[error("{} can't be used: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is not a recovery file", .0.display())]
    NotARecoveryFile(PathBuf),
    /// The passphrase does not open the file.
    #[error("the passphrase does not open {}", .0.display())]
    WrongPassphrase(PathBuf),
    /// A root key is never written without a passphrase.
    #[error("the passphrase is empty")]
    PassphraseEmpty,
}

impl KeyFileError {
    /// The stable, machine-readable name of this kind of failure.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exists(_) => "root_file_exists",
            Self::Missing(_) => "root_file_missing",
            Self::Io { .. } => "root_file_io",
            Self::NotARecoveryFile(_) => "not_a_recovery_file",
            Self::WrongPassphrase(_) => "wrong_passphrase",
            Self::PassphraseEmpty => "passphrase_empty",
        }
    }
}

/// Fresh secret bytes for a root key, from the operating system.
#[must_use]
pub fn random_root() -> Zeroizing<[u8; 32]> {
    Zeroizing::new(pubky::Keypair::random().secret())
}

/// Writes the root key, encrypted with the passphrase, to a new file that only its owner can read. The file is there whole or not at
/// all. Takes a moment of computing (Argon2).
///
/// # Errors
/// [`KeyFileError::Exists`] rather than overwriting; [`KeyFileError::PassphraseEmpty`]; [`KeyFileError::Io`].
pub fn create_root_file(path: &Path, root: &Keypair, passphrase: &str) -> Result<(), KeyFileError> {
    if passphrase.is_empty() {
        return Err(KeyFileError::PassphraseEmpty);
    }
    if path.symlink_metadata().is_ok() {
        return Err(KeyFileError::Exists(path.to_owned()));
    }
    let pair = pubky::Keypair::from_secret(&root.secret());
    let bytes = recovery_file::create_recovery_file(&pair, passphrase);
    write_new(path, &bytes).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists(path.to_owned()),
        _ => KeyFileError::Io {
            path: path.to_owned(),
            source,
        },
    })
}

/// Reads a root key from a recovery file, also one of another Pubky app. Takes a moment of computing (Argon2).
///
/// # Errors
/// [`KeyFileError::Missing`], [`KeyFileError::NotARecoveryFile`], [`KeyFileError::WrongPassphrase`], [`KeyFileError::Io`].
pub fn read_root_file(path: &Path, passphrase: &str) -> Result<Keypair, KeyFileError> {
    use recovery_file::Error;

    let io_error = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing(path.to_owned()),
        _ => KeyFileError::Io {
            path: path.to_owned(),
            source,
        },
    };
    let file = File::open(path).map_err(io_error)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(io_error)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(KeyFileError::NotARecoveryFile(path.to_owned()));
    }
    // A damaged file must not look like a wrong passphrase.
    let sealed = bytes
        .iter()
        .position(|b| *b == b'\n')
        .map(|end| bytes.len() - end - 1);
    if sealed != Some(SEALED_BYTES) {
        return Err(KeyFileError::NotARecoveryFile(path.to_owned()));
    }
    let pair =
        recovery_file::decrypt_recovery_file(&bytes, passphrase).map_err(|error| match error {
            Error::DecryptError(_) => KeyFileError::WrongPassphrase(path.to_owned()),
            _ => KeyFileError::NotARecoveryFile(path.to_owned()),
        })?;
    let secret = Zeroizing::new(pair.secret());
    Ok(Keypair::from_secret(&secret))
}

/// Writes a temporary file beside `path`, makes it durable, and gives it its name unless the name is taken.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let unique: u64 = rand::random();
    let temporary = folder.join(format!(".{}.{unique:016x}", name.to_string_lossy()));
    let written = fill(&temporary, bytes)
        // A hard link fails if the name is taken, where a rename would replace what is there.
        .and_then(|()| std::fs::hard_link(&temporary, path));
    let removed = std::fs::remove_file(&temporary);
    written?;
    removed?;
    File::open(folder)?.sync_all()
}

fn fill(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_comes_back_with_its_passphrase_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.pkarr");
        let root = Keypair::from_secret(&random_root());
        create_root_file(&path, &root, "correct horse").unwrap();
        let read = read_root_file(&path, "correct horse").unwrap();
        assert_eq!(read.user_key(), root.user_key());
        let wrong = read_root_file(&path, "correct hors").unwrap_err();
        assert_eq!(wrong.code(), "wrong_passphrase");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn files_of_other_pubky_apps_are_read_and_ours_by_them() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join("theirs.pkarr");
        let pair = pubky::Keypair::random();
        std::fs::write(&theirs, recovery_file::create_recovery_file(&pair, "p")).unwrap();
        let read = read_root_file(&theirs, "p").unwrap();
        assert_eq!(read.user_key().to_z32(), pair.public_key().z32());

        let ours = folder.path().join("ours.pkarr");
        create_root_file(&ours, &read, "q").unwrap();
        let bytes = std::fs::read(&ours).unwrap();
        let again = recovery_file::decrypt_recovery_file(&bytes, "q").unwrap();
        assert_eq!(again.public_key(), pair.public_key());
    }

    #[test]
    fn an_existing_file_is_never_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.pkarr");
        std::fs::write(&path, b"something precious").unwrap();
        let root = Keypair::from_secret(&[1; 32]);
        let error = create_root_file(&path, &root, "p").unwrap_err();
        assert_eq!(error.code(), "root_file_exists");
        assert_eq!(
            write_new(&path, b"x").unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"something precious");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.pkarr");
        create_root_file(&path, &Keypair::from_secret(&[1; 32]), "p").unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn anything_else_is_named_for_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert_eq!(
            read_root_file(&path, "p").unwrap_err().code(),
            "root_file_missing"
        );
        for content in [
            &b""[..],
            b"hello",
            b"pubky.org/recovery\n",
            b"pubky.org/recovery\nshort",
            &[0; 9000],
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(
                read_root_file(&path, "p").unwrap_err().code(),
                "not_a_recovery_file"
            );
        }
        let root = Keypair::from_secret(&[1; 32]);
        let unsafe_file = folder.path().join("y");
        assert_eq!(
            create_root_file(&unsafe_file, &root, "")
                .unwrap_err()
                .code(),
            "passphrase_empty"
        );
        assert!(!unsafe_file.exists());
    }
}
