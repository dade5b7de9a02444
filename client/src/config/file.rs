//! The form of `config.toml`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::rates::FileRate;
use super::{ConfigError, Defaults, NetworkConfig};
use crate::net::ServiceKey;
use crate::net::plugin::PluginAddress;

const MAX_FILE_BYTES: u64 = 64 * 1024;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileConfig {
    pub(super) home: Option<PathBuf>,
    pub(super) network: FileNetwork,
    pub(super) defaults: FileDefaults,
    pub(super) rates: Vec<FileRate>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileNetwork {
    testnet: Option<bool>,
    dht_bootstrap: Option<Vec<String>>,
    relays: Option<Vec<String>>,
    dht_request_timeout_ms: Option<u64>,
    resolve_timeout_ms: Option<u64>,
    lookups: Option<usize>,
    connect_timeout_ms: Option<u64>,
    request_timeout_ms: Option<u64>,
    stream_idle_timeout_ms: Option<u64>,
    max_file_bytes: Option<usize>,
    concurrency: Option<usize>,
    per_server: Option<usize>,
    home_max_age_ms: Option<u64>,
    home_recheck_ms: Option<u64>,
    home_retry_ms: Option<u64>,
    backoff_first_ms: Option<u64>,
    backoff_longest_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileDefaults {
    homeserver: Option<String>,
    plugins: Vec<String>,
    poll_seconds: Option<u64>,
}

pub(super) fn read(path: &Path, must_exist: bool) -> Result<FileConfig, ConfigError> {
    use std::io::Read as _;

    let unreadable = |reason: String| ConfigError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {
            return Ok(FileConfig::default());
        }
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let mut text = String::new();
    file.take(MAX_FILE_BYTES.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(|error| unreadable(error.to_string()))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable("it is too large for a configuration".to_owned()));
    }
    toml::from_str(&text).map_err(|error| ConfigError::Invalid {
        place: path.display().to_string(),
        reason: error.to_string(),
    })
}

pub(super) fn network_of(file: FileNetwork) -> NetworkConfig {
    let standard = NetworkConfig::default();
    let ms = |value: Option<u64>, standard: Duration| value.map_or(standard, Duration::from_millis);
    NetworkConfig {
        testnet: file.testnet.unwrap_or(standard.testnet),
        dht_bootstrap: file.dht_bootstrap.unwrap_or(standard.dht_bootstrap),
        relays: file.relays.or(standard.relays),
        dht_request_timeout: file
            .dht_request_timeout_ms
            .filter(|ms| *ms > 0)
            .map(Duration::from_millis),
        resolve_timeout: ms(file.resolve_timeout_ms, standard.resolve_timeout),
        lookups: file.lookups.unwrap_or(standard.lookups),
        connect_timeout: ms(file.connect_timeout_ms, standard.connect_timeout),
        request_timeout: ms(file.request_timeout_ms, standard.request_timeout),
        stream_idle_timeout: ms(file.stream_idle_timeout_ms, standard.stream_idle_timeout),
        max_file_bytes: file.max_file_bytes.unwrap_or(standard.max_file_bytes),
        concurrency: file.concurrency.unwrap_or(standard.concurrency),
        per_server: file.per_server.unwrap_or(standard.per_server),
        home_max_age: ms(file.home_max_age_ms, standard.home_max_age),
        home_recheck: ms(file.home_recheck_ms, standard.home_recheck),
        home_retry: ms(file.home_retry_ms, standard.home_retry),
        backoff_first: ms(file.backoff_first_ms, standard.backoff_first),
        backoff_longest: ms(file.backoff_longest_ms, standard.backoff_longest),
    }
}

pub(super) fn defaults_of(file: FileDefaults, place: &str) -> Result<Defaults, ConfigError> {
    let invalid = |reason: String| ConfigError::Invalid {
        place: place.to_owned(),
        reason,
    };
    let standard = Defaults::default();
    let homeserver = file
        .homeserver
        .filter(|text| !text.is_empty())
        .map(|text| text.parse::<ServiceKey>())
        .transpose()
        .map_err(|error| invalid(format!("homeserver: {error}")))?;
    let plugins = file
        .plugins
        .iter()
        .map(|text| text.parse::<PluginAddress>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| invalid(format!("plugins: {error}")))?;
    let poll_interval = match file.poll_seconds {
        Some(0) => return Err(invalid("poll_seconds must be above 0".to_owned())),
        Some(seconds) => Duration::from_secs(seconds),
        None => standard.poll_interval,
    };
    Ok(Defaults {
        homeserver,
        plugins,
        poll_interval,
    })
}
