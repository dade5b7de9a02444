//! Settings: from a flag, else the environment, else `config.toml`, else a default.

mod file;
mod rates;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::net::ServiceKey;
use crate::net::plugin::PluginAddress;

pub use rates::RateConfig;

/// Environment variable naming the wallet's folder.
pub const ENV_HOME: &str = "ATOMICITY_HOME";
/// Environment variable naming the configuration file.
pub const ENV_CONFIG: &str = "ATOMICITY_CONFIG";
/// Environment variable that says whether this is a test network (`true`, `false`).
pub const ENV_TESTNET: &str = "ATOMICITY_TESTNET";
/// Environment variable with the DHT's entry nodes, separated by commas.
pub const ENV_DHT_BOOTSTRAP: &str = "ATOMICITY_DHT_BOOTSTRAP";
/// Environment variable with Pkarr relays, separated by commas; empty for none.
pub const ENV_RELAYS: &str = "ATOMICITY_RELAYS";
/// Environment variable with the longest time of a request, in milliseconds.
pub const ENV_REQUEST_TIMEOUT: &str = "ATOMICITY_REQUEST_TIMEOUT_MS";

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{} can't be read: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A setting is not what it should be.
    #[error("{place}: {reason}")]
    Invalid {
        /// The file or environment variable.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// Nothing says where the wallet's folder is.
    #[error("no folder for the wallet: give --home or set {ENV_HOME}")]
    NoHome,
}

impl ConfigError {
    /// The stable, machine-readable name of this kind of failure.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "config_unreadable",
            Self::Invalid { .. } => "config_invalid",
            Self::NoHome => "no_home_folder",
        }
    }
}

/// What the command line said.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--home`
    pub home: Option<PathBuf>,
    /// `--config`
    pub config: Option<PathBuf>,
    /// Test network or not, whatever the file says.
    pub testnet: Option<bool>,
}

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// The wallet's folder.
    pub home: PathBuf,
    /// How the network is used.
    pub network: NetworkConfig,
    /// What commands assume if they are not told.
    pub defaults: Defaults,
    /// What is worth how much: the sources of rates.
    pub rates: Vec<RateConfig>,
}

/// What commands assume if they are not told.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// The homeserver for `signup`.
    pub homeserver: Option<ServiceKey>,
    /// The plugins to register at.
    pub plugins: Vec<PluginAddress>,
    /// How often `watch` looks at counterparties' files.
    pub poll_interval: Duration,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            homeserver: None,
            plugins: Vec::new(),
            poll_interval: Duration::from_secs(30),
        }
    }
}

/// How the network is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// A test network: addresses on this machine and in private networks are allowed, and no public DHT node or relay is used unless
    /// named.
    pub testnet: bool,
    /// Nodes to enter the DHT by, `host:port`; empty for the public ones (none on a test network).
    pub dht_bootstrap: Vec<String>,
    /// Pkarr relays; `None` for the public ones (none on a test network), empty for none.
    pub relays: Option<Vec<String>>,
    /// How long a DHT node may take for one request.
    pub dht_request_timeout: Option<Duration>,
    /// How long looking up one key may take.
    pub resolve_timeout: Duration,
    /// How many keys are looked up at once.
    pub lookups: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long an answer may take to begin, and then to arrive.
    pub request_timeout: Duration,
    /// After how much silence an event stream counts as dead.
    pub stream_idle_timeout: Duration,
    /// The largest file of others that is read, in bytes.
    pub max_file_bytes: usize,
    /// How many answers are read at once.
    pub concurrency: usize,
    /// How many requests one server gets at once.
    pub per_server: usize,
    /// After how long a user's homeserver is looked up again although it answers.
    pub home_max_age: Duration,
    /// After how long it is looked up again if it has nothing.
    pub home_recheck: Duration,
    /// After how long it is looked up again if it can't be reached.
    pub home_retry: Duration,
    /// How long a server is left alone after its first failure.
    pub backoff_first: Duration,
    /// The longest time that a server is left alone.
    pub backoff_longest: Duration,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            testnet: false,
            dht_bootstrap: Vec::new(),
            relays: None,
            dht_request_timeout: None,
            resolve_timeout: Duration::from_secs(5),
            lookups: 4,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            stream_idle_timeout: Duration::from_secs(90),
            max_file_bytes: 1024 * 1024,
            concurrency: 32,
            per_server: 8,
            home_max_age: Duration::from_secs(600),
            home_recheck: Duration::from_secs(60),
            home_retry: Duration::from_secs(2),
            backoff_first: Duration::from_millis(500),
            backoff_longest: Duration::from_secs(60),
        }
    }
}

impl Config {
    /// Reads the settings: flags, then the environment, then `config.toml` in the wallet's folder (or the file that was named), then
    /// defaults. A file that was not named need not exist.
    ///
    /// # Errors
    /// [`ConfigError`], naming the file or variable at fault.
    pub fn load(flags: &Overrides) -> Result<Self, ConfigError> {
        Self::load_with(flags, &|name| std::env::var(name).ok())
    }

    /// As [`Config::load`], with the environment as a function.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with(
        flags: &Overrides,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let named_home = flags
            .home
            .clone()
            .or_else(|| set(ENV_HOME).map(PathBuf::from));
        let named_file = flags
            .config
            .clone()
            .or_else(|| set(ENV_CONFIG).map(PathBuf::from));
        let guess = named_home.clone().or_else(|| default_home(&set));
        let (file, place) = match (&named_file, &guess) {
            (Some(path), _) => (file::read(path, true)?, path.clone()),
            (None, Some(home)) => {
                let path = home.join("config.toml");
                (file::read(&path, false)?, path)
            }
            (None, None) => return Err(ConfigError::NoHome),
        };
        let place = place.display().to_string();
        let home = named_home
            .or(file.home.clone())
            .or(guess)
            .ok_or(ConfigError::NoHome)?;
        let mut network = file::network_of(file.network);
        apply_env(&mut network, env)?;
        if let Some(testnet) = flags.testnet {
            network.testnet = testnet;
        }
        check(&network, &place)?;
        Ok(Self {
            home,
            network,
            defaults: file::defaults_of(file.defaults, &place)?,
            rates: rates::rates_of(file.rates, &place)?,
        })
    }

    /// A commented `config.toml` with every setting at its default.
    #[must_use]
    pub fn default_toml() -> &'static str {
        include_str!("config.toml")
    }
}

fn default_home(set: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    set("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".local/share")))
        .map(|data| data.join("atomicity"))
}

fn apply_env(
    network: &mut NetworkConfig,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    let invalid = |name: &str, reason: &str| ConfigError::Invalid {
        place: name.to_owned(),
        reason: reason.to_owned(),
    };
    let list = |text: String| -> Vec<String> {
        text.split(',')
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty())
            .collect()
    };
    if let Some(text) = env(ENV_TESTNET).filter(|text| !text.is_empty()) {
        network.testnet = match text.as_str() {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => return Err(invalid(ENV_TESTNET, "it is neither true nor false")),
        };
    }
    if let Some(text) = env(ENV_DHT_BOOTSTRAP).filter(|text| !text.is_empty()) {
        network.dht_bootstrap = list(text);
    }
    if let Some(text) = env(ENV_RELAYS) {
        network.relays = Some(list(text));
    }
    if let Some(text) = env(ENV_REQUEST_TIMEOUT).filter(|text| !text.is_empty()) {
        let ms = text
            .parse()
            .map_err(|_| invalid(ENV_REQUEST_TIMEOUT, "it is no number of milliseconds"))?;
        network.request_timeout = Duration::from_millis(ms);
    }
    Ok(())
}

/// Settings that would hang or do nothing are refused rather than bent.
fn check(network: &NetworkConfig, place: &str) -> Result<(), ConfigError> {
    let invalid = |reason: &str| ConfigError::Invalid {
        place: place.to_owned(),
        reason: reason.to_owned(),
    };
    let times = [
        network.resolve_timeout,
        network.connect_timeout,
        network.request_timeout,
        network.stream_idle_timeout,
        network.backoff_first,
        network.backoff_longest,
    ];
    if times.iter().any(Duration::is_zero) {
        return Err(invalid("time-outs and back-off times must be above 0"));
    }
    if network.lookups == 0 || network.concurrency == 0 || network.per_server == 0 {
        return Err(invalid(
            "lookups, concurrency and per_server must be at least 1",
        ));
    }
    if !(1024..=64 * 1024 * 1024).contains(&network.max_file_bytes) {
        return Err(invalid("max_file_bytes must be between 1 KiB and 64 MiB"));
    }
    let has_port = |node: &String| {
        node.rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    if !network.dht_bootstrap.iter().all(has_port) {
        return Err(invalid("each of dht_bootstrap must be host:port"));
    }
    let is_url = |relay: &String| {
        relay
            .parse::<url::Url>()
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    };
    if !network.relays.iter().flatten().all(is_url) {
        return Err(invalid("each of relays must be a web address"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn load(
        file: &str,
        env: &[(&str, &str)],
        testnet: Option<bool>,
    ) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), file).unwrap();
        let flags = Overrides {
            home: Some(folder.path().to_owned()),
            config: None,
            testnet,
        };
        let find = |name: &str| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Config::load_with(&flags, &find)
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let file = "[network]\ntestnet = true\nrequest_timeout_ms = 700\n";
        let config = load(file, &[], None).unwrap();
        assert!(config.network.testnet);
        assert_eq!(config.network.request_timeout, Duration::from_millis(700));
        assert_eq!(
            config.network.concurrency,
            NetworkConfig::default().concurrency
        );
        let env = [(ENV_TESTNET, "false"), (ENV_REQUEST_TIMEOUT, "800")];
        let config = load(file, &env, None).unwrap();
        assert!(!config.network.testnet);
        assert_eq!(config.network.request_timeout, Duration::from_millis(800));
        assert!(load(file, &env, Some(true)).unwrap().network.testnet);
    }

    #[test]
    fn the_folder_comes_from_the_environment_or_the_data_folder() {
        let find = |name: &str| (name == "HOME").then(|| "/nowhere".to_owned());
        let config = Config::load_with(&Overrides::default(), &find).unwrap();
        assert_eq!(config.home, Path::new("/nowhere/.local/share/atomicity"));
        let none = Config::load_with(&Overrides::default(), &|_| None).unwrap_err();
        assert_eq!(none.code(), "no_home_folder");
    }

    #[test]
    fn a_wrong_setting_is_named() {
        for bad in [
            "[network]\nrequest_timeout_ms = 0",
            "[network]\nconcurrency = 0",
            "[network]\ndht_bootstrap = [\"nowhere\"]",
            "[network]\nrelays = [\"nowhere\"]",
            "[network]\nunknown = 1",
            "[defaults]\nhomeserver = \"short\"",
            "[defaults]\npoll_seconds = 0",
            "not toml",
        ] {
            assert_eq!(
                load(bad, &[], None).unwrap_err().code(),
                "config_invalid",
                "{bad}"
            );
        }
        let error = load("", &[(ENV_TESTNET, "maybe")], None).unwrap_err();
        assert!(error.to_string().contains(ENV_TESTNET));
    }

    #[test]
    fn a_named_file_must_exist() {
        let flags = Overrides {
            config: Some("/nowhere/at/all.toml".into()),
            home: Some("/nowhere".into()),
            testnet: None,
        };
        let error = Config::load_with(&flags, &|_| None).unwrap_err();
        assert_eq!(error.code(), "config_unreadable");
    }

    #[test]
    fn the_commented_file_says_the_defaults() {
        let uncommented: String = Config::default_toml()
            .lines()
            .map(|line| line.strip_prefix("#").unwrap_or(line))
            .filter(|line| line.starts_with('[') || line.contains(" = "))
            .fold(String::new(), |text, line| text + line + "\n");
        let config = load(&uncommented, &[], None).unwrap();
        let standard = NetworkConfig {
            // Written out in the file: an empty list means the public ones for the DHT, and none for relays.
            relays: config.network.relays.clone(),
            ..NetworkConfig::default()
        };
        assert_eq!(config.network, standard);
    }
}
