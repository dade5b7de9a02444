//! The passphrase of the root key: from a file, the environment, or a prompt that does not echo.

use std::io::IsTerminal as _;
use std::path::Path;

use atomicity_client::ClientError;
use zeroize::Zeroizing;

use crate::args::Global;

/// Name of the environment variable.
const VARIABLE: &str = "ATOMICITY_PASSPHRASE";

/// A file with a passphrase has at most so many bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// The passphrase of an existing key.
pub fn ask(global: &Global, whose: &str) -> Result<Zeroizing<String>, ClientError> {
    if let Some(given) = given(global)? {
        return Ok(given);
    }
    prompt(&format!("Passphrase of {whose}: "))
}

/// The passphrase of a new key, typed twice on a terminal.
pub fn choose(global: &Global) -> Result<Zeroizing<String>, ClientError> {
    if let Some(given) = given(global)? {
        return Ok(given);
    }
    let first = prompt("Choose a passphrase for the root key: ")?;
    let second = prompt("Once more: ")?;
    if *first != *second {
        return Err(ClientError::Usage("the two passphrases differ".to_owned()));
    }
    Ok(first)
}

fn given(global: &Global) -> Result<Option<Zeroizing<String>>, ClientError> {
    if let Some(path) = &global.passphrase_file {
        return read(path).map(Some);
    }
    Ok(std::env::var(VARIABLE).ok().map(Zeroizing::new))
}

fn read(path: &Path) -> Result<Zeroizing<String>, ClientError> {
    use std::io::Read as _;
    let io = |why| ClientError::Io {
        path: path.to_owned(),
        why,
    };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(io)?;
    Ok(Zeroizing::new(
        text.lines().next().unwrap_or_default().to_owned(),
    ))
}

fn prompt(text: &str) -> Result<Zeroizing<String>, ClientError> {
    if !std::io::stdin().is_terminal() {
        return Err(ClientError::PassphraseNeeded);
    }
    rpassword::prompt_password(text)
        .map(Zeroizing::new)
        .map_err(|_| ClientError::PassphraseNeeded)
}
