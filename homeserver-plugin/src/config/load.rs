//! Reading the configuration: the file, then what the environment and the flags say instead.

use std::io::Read as _;
use std::path::Path;

use toml::{Table, Value};

use super::Config;
use crate::error::PluginError;

/// The file is small; anything larger is not a configuration.
const MAX_CONFIG_BYTES: u64 = 256 * 1024;

/// Settings that replace what the file says: dotted name and value.
#[derive(Clone, Default)]
pub struct Overrides(Vec<(String, Value)>);

impl Overrides {
    /// Adds `name` (such as `http.listen`) with `value`.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// Adds a setting given as `name=value`; the value is read as TOML and, if it is none, as plain text.
    ///
    /// # Errors
    /// [`PluginError::Config`] if there is no `=`.
    pub fn set_text(&mut self, assignment: &str) -> Result<(), PluginError> {
        let (name, text) = assignment.split_once('=').ok_or_else(|| {
            PluginError::Config(format!("`{assignment}` is not of the form name=value"))
        })?;
        let value = format!("v = {text}")
            .parse::<Table>()
            .ok()
            .and_then(|mut table| table.remove("v"))
            .unwrap_or_else(|| Value::String(text.to_owned()));
        self.set(name.trim(), value);
        Ok(())
    }
}

/// Reads `file` (a missing one counts as empty) and lays `overrides` over it.
///
/// # Errors
/// [`PluginError::File`] if the file can't be read, [`PluginError::Config`] if it is no valid configuration.
pub fn load(file: &Path, overrides: &Overrides) -> Result<Config, PluginError> {
    let mut table = read(file)?;
    for (name, value) in &overrides.0 {
        put(&mut table, name, value.clone())?;
    }
    let config: Config = Value::Table(table)
        .try_into()
        .map_err(|error: toml::de::Error| PluginError::Config(error.message().to_owned()))?;
    config.check()?;
    Ok(config)
}

fn read(file: &Path) -> Result<Table, PluginError> {
    let failed = |source| PluginError::File {
        path: file.to_owned(),
        source,
    };
    let refuse = |why: &str| PluginError::Config(format!("{} {why}", file.display()));
    let opened = match std::fs::File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Table::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    // One more than allowed, to notice that there is more.
    let limit = MAX_CONFIG_BYTES.saturating_add(1);
    let length = opened.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_CONFIG_BYTES) {
        return Err(refuse(&format!("is larger than {MAX_CONFIG_BYTES} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| refuse("is not UTF-8"))?;
    // The message of the parser quotes the line, which may hold the database password.
    text.parse().map_err(|error: toml::de::Error| {
        PluginError::Config(format!("{}: {}", file.display(), error.message()))
    })
}

fn put(table: &mut Table, name: &str, value: Value) -> Result<(), PluginError> {
    match name.split_once('.') {
        None => {
            table.insert(name.to_owned(), value);
            Ok(())
        }
        Some((section, rest)) => {
            let entry = table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            match entry {
                Value::Table(inner) => put(inner, rest, value),
                _ => Err(PluginError::Config(format!("`{section}` is not a section"))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    const MINIMAL: &str =
        "[database]\nurl = \"postgres://h/d\"\n[accounts]\nopen_registration = true\n";

    #[test]
    fn a_flag_beats_the_file() {
        let file = file(&format!("{MINIMAL}[http]\nlisten = \"127.0.0.1:1\"\n"));
        let mut overrides = Overrides::default();
        assert_eq!(load(file.path(), &overrides).unwrap().http.listen.port(), 1);
        overrides.set("http.listen", "127.0.0.1:2");
        assert_eq!(load(file.path(), &overrides).unwrap().http.listen.port(), 2);
        overrides.set_text("http.listen=127.0.0.1:3").unwrap();
        assert_eq!(load(file.path(), &overrides).unwrap().http.listen.port(), 3);
    }

    #[test]
    fn an_unknown_setting_is_refused_by_name() {
        let file = file(&format!("{MINIMAL}[inbox]\nsize = 3\n"));
        let error = load(file.path(), &Overrides::default()).unwrap_err();
        assert!(error.to_string().contains("size"), "{error}");
    }

    #[test]
    fn what_is_too_large_or_no_text_is_refused() {
        let longest = usize::try_from(MAX_CONFIG_BYTES).unwrap();
        let padded = |length: usize| format!("{MINIMAL}{}", "#".repeat(length - MINIMAL.len()));
        let none = Overrides::default();
        load(file(&padded(longest)).path(), &none).unwrap();
        let error = load(file(&padded(longest + 1)).path(), &none).unwrap_err();
        assert!(error.to_string().contains("larger"), "{error}");
        let binary = file("");
        std::fs::write(binary.path(), [0xff, 0xfe]).unwrap();
        let error = load(binary.path(), &none).unwrap_err();
        assert!(error.to_string().contains("UTF-8"), "{error}");
    }

    #[test]
    fn a_broken_line_does_not_show_the_password() {
        let file = file("[database]\nurl = \"postgres://u:hunter2@h/d\" oops\n");
        let error = load(file.path(), &Overrides::default()).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let config = load(self::file(MINIMAL).path(), &Overrides::default()).unwrap();
        assert!(!format!("{config:?}").contains("postgres://"));
    }
}
