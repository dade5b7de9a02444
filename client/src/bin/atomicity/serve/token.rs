//! The token that opens the API: 256 bits in a file that only its owner can read.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use atomicity_client::ClientError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng as _;
use zeroize::Zeroizing;

/// Name of the file in the wallet's folder.
pub const TOKEN_FILE: &str = "serve.token";

/// A file with a token has at most so many bytes.
const MAX_FILE_BYTES: u64 = 256;

/// The token.
pub struct Token(Zeroizing<[u8; 32]>);

fn io(path: &Path) -> impl Fn(std::io::Error) -> ClientError {
    let path = path.to_owned();
    move |why| ClientError::Io {
        path: path.clone(),
        why,
    }
}

impl Token {
    /// Reads the token in `path`, or draws one and keeps it there.
    ///
    /// # Errors
    /// [`ClientError::Io`]; [`ClientError::Usage`] if others can read the file, or it holds something else.
    pub fn open(path: &Path) -> Result<Self, ClientError> {
        match std::fs::File::open(path) {
            Ok(file) => Self::read(path, file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::make(path),
            Err(error) => Err(io(path)(error)),
        }
    }

    fn read(path: &Path, file: std::fs::File) -> Result<Self, ClientError> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = file.metadata().map_err(io(path))?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(ClientError::Usage(format!(
                    "others can read {}: chmod 600 it, or remove it to have a new token made",
                    path.display()
                )));
            }
        }
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_FILE_BYTES)
            .read_to_string(&mut text)
            .map_err(io(path))?;
        Self::parse(text.trim()).ok_or_else(|| {
            ClientError::Usage(format!(
                "{} holds no token: remove it to have a new one made",
                path.display()
            ))
        })
    }

    fn make(path: &Path) -> Result<Self, ClientError> {
        let mut token = Self(Zeroizing::new([0; 32]));
        rand::rng().fill_bytes(&mut *token.0);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let text = Zeroizing::new(format!("{}\n", URL_SAFE_NO_PAD.encode(*token.0)));
        let mut file = options.open(path).map_err(io(path))?;
        file.write_all(text.as_bytes()).map_err(io(path))?;
        file.sync_all().map_err(io(path))?;
        Ok(token)
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).ok()?;
        Some(Self(Zeroizing::new(bytes)))
    }

    /// Whether `given` is this token. How long that takes does not depend on how much of it is right.
    pub fn is(&self, given: &str) -> bool {
        let Some(given) = Self::parse(given) else {
            return false;
        };
        let pairs = self.0.iter().zip(given.0.iter());
        let differs = pairs.fold(0_u8, |found, (a, b)| std::hint::black_box(found | (a ^ b)));
        std::hint::black_box(differs) == 0
    }
}

/// Where the token lies.
pub fn place(home: &Path, given: Option<PathBuf>) -> PathBuf {
    given.unwrap_or_else(|| home.join(TOKEN_FILE))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = place(folder.path(), None);
        Token::open(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.trim();
        assert_eq!(text.len(), 43);
        let token = Token::open(&path).unwrap();
        assert!(token.is(text));
        let other = Token::open(&folder.path().join("other")).unwrap();
        assert!(!other.is(text));
        for wrong in [
            "",
            "x",
            &text[..42],
            &format!("{text}A"),
            &text.to_lowercase(),
        ] {
            assert!(!token.is(wrong), "{wrong}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn one_that_others_can_read_is_refused_and_so_is_anything_else() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        Token::open(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Token::open(&path), Err(ClientError::Usage(_))));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "open sesame").unwrap();
        assert!(matches!(Token::open(&path), Err(ClientError::Usage(_))));
    }
}
