//! The sections for following other people's logs: as cosigner, as watchtower.

use std::path::{Path, PathBuf};

use atomicity_witness_log::note::{KeyKind, VerifierKey};
use atomicity_witness_log::policy::{MAX_POLICY_BYTES, Policy};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::PluginError;

/// Most logs that one plugin follows.
const MAX_LOGS: usize = 256;
/// Most other watchtowers that are asked.
const MAX_PEERS: usize = 64;
/// A log that was silent for less time than this is not dead, except on a test network.
const MIN_DEAD_AFTER_S: u64 = 600;

/// A log and where it is read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogAt {
    /// Its verifier key; the name is its origin.
    pub vkey: String,
    /// The prefix of its checkpoint and tiles, such as `https://<key>/log`.
    pub url: Url,
}

/// Cosigning other people's logs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CosignerConfig {
    /// Whether this plugin cosigns. Needs a key: `atomicity-homeserver cosigner create`.
    pub enabled: bool,
    /// The logs.
    pub logs: Vec<LogAt>,
    /// How long a log must have been silent for a tombstone, in seconds.
    pub dead_after_s: u64,
    /// How often a log is looked at, in milliseconds, apart from its own requests.
    pub poll_ms: u64,
}

impl Default for CosignerConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            logs: Vec::new(),
            dead_after_s: 3_600,
            poll_ms: 2_000,
        }
    }
}

/// A log that is watched: by key and address, or all logs of a policy.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchedLog {
    /// A file with a policy (C2SP tlog-policy); relative to the data directory. Its cosigners are watched too.
    pub policy: Option<PathBuf>,
    /// The log's verifier key.
    pub vkey: Option<String>,
    /// Where it is read.
    pub url: Option<Url>,
}

/// Watching logs, and telling others what was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchtowerConfig {
    /// Whether this plugin is a watchtower.
    pub enabled: bool,
    /// The logs.
    pub logs: Vec<WatchedLog>,
    /// Verifier keys of cosigners that are watched beside those of the policies.
    pub cosigners: Vec<String>,
    /// Other watchtowers, whose verdicts are fetched and checked.
    pub peers: Vec<Url>,
    /// How often a log is looked at, in milliseconds.
    pub poll_ms: u64,
    /// How often the other watchtowers are asked, in milliseconds.
    pub peer_poll_ms: u64,
    /// Most proofs that are kept about one key: one would do.
    pub proofs_per_key: i64,
    /// Most checkpoints of one log that are kept until they can be compared.
    pub doubtful_per_log: i64,
    /// Checkpoints and proofs a minute from one address.
    pub submissions_per_minute: u32,
}

impl Default for WatchtowerConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            logs: Vec::new(),
            cosigners: Vec::new(),
            peers: Vec::new(),
            poll_ms: 2_000,
            peer_poll_ms: 30_000,
            proofs_per_key: 16,
            doubtful_per_log: 256,
            submissions_per_minute: 120,
        }
    }
}

/// What is followed, read and checked.
#[derive(Clone, Debug, Default)]
pub struct Follow {
    /// Logs to cosign.
    pub cosigned: Vec<(VerifierKey, Url)>,
    /// Logs to watch.
    pub watched: Vec<(VerifierKey, Url)>,
    /// Cosigners to watch.
    pub cosigners: Vec<VerifierKey>,
}

fn key(section: &str, text: &str, kind: KeyKind) -> Result<VerifierKey, PluginError> {
    let key: VerifierKey = text
        .parse()
        .map_err(|error| PluginError::Config(format!("{section}: `{text}`: {error}")))?;
    if key.kind() == kind {
        Ok(key)
    } else {
        Err(PluginError::Config(format!(
            "{section}: `{text}` is a key of another kind: logs sign with type 01, cosigners with type 04"
        )))
    }
}

fn check_url(section: &str, url: &Url) -> Result<(), PluginError> {
    if matches!(url.scheme(), "http" | "https") && !url.cannot_be_a_base() {
        Ok(())
    } else {
        Err(PluginError::Config(format!(
            "{section}: {url} must be http or https"
        )))
    }
}

impl CosignerConfig {
    /// Checks what the types can't say.
    ///
    /// # Errors
    /// [`PluginError::Config`] naming the setting.
    pub fn check(&self, testnet: bool) -> Result<(), PluginError> {
        let refuse = |text: &str| Err(PluginError::Config(format!("cosigner.{text}")));
        if self.logs.len() > MAX_LOGS {
            return refuse("logs are too many");
        }
        if self.poll_ms < 100 {
            return refuse("poll_ms must be at least 100");
        }
        if self.dead_after_s < if testnet { 1 } else { MIN_DEAD_AFTER_S } {
            return refuse("dead_after_s must be at least 600");
        }
        self.read().map(|_| ())
    }

    fn read(&self) -> Result<Vec<(VerifierKey, Url)>, PluginError> {
        let read = |log: &LogAt| {
            check_url("cosigner.logs", &log.url)?;
            let key = key("cosigner.logs", &log.vkey, KeyKind::Ed25519)?;
            Ok((key, log.url.clone()))
        };
        self.logs.iter().map(read).collect()
    }
}

impl WatchtowerConfig {
    /// Checks what the types can't say, without reading the policies.
    ///
    /// # Errors
    /// [`PluginError::Config`] naming the setting.
    pub fn check(&self) -> Result<(), PluginError> {
        let refuse = |text: &str| Err(PluginError::Config(format!("watchtower.{text}")));
        if self.logs.len() > MAX_LOGS || self.cosigners.len() > MAX_LOGS {
            return refuse("logs or watchtower.cosigners are too many");
        }
        if self.peers.len() > MAX_PEERS {
            return refuse("peers are too many");
        }
        if self.poll_ms < 100 || self.peer_poll_ms < 100 {
            return refuse("poll_ms and watchtower.peer_poll_ms must be at least 100");
        }
        if self.proofs_per_key < 1 || self.doubtful_per_log < 1 || self.submissions_per_minute < 1 {
            return refuse(
                "proofs_per_key, doubtful_per_log and submissions_per_minute must be above 0",
            );
        }
        for url in &self.peers {
            check_url("watchtower.peers", url)?;
        }
        for log in &self.logs {
            match (&log.policy, &log.vkey, &log.url) {
                (Some(_), None, None) => {}
                (None, Some(vkey), Some(url)) => {
                    check_url("watchtower.logs", url)?;
                    key("watchtower.logs", vkey, KeyKind::Ed25519)?;
                }
                _ => return refuse("logs: each has either a policy or a vkey and a url"),
            }
        }
        self.keys().map(|_| ())
    }

    fn keys(&self) -> Result<Vec<VerifierKey>, PluginError> {
        let read = |text: &String| key("watchtower.cosigners", text, KeyKind::Cosignature);
        self.cosigners.iter().map(read).collect()
    }

    fn read(&self, data_dir: &Path, follow: &mut Follow) -> Result<(), PluginError> {
        follow.cosigners.extend(self.keys()?);
        for log in &self.logs {
            if let Some(file) = &log.policy {
                read_policy(&data_dir.join(file), follow)?;
            } else if let (Some(vkey), Some(url)) = (&log.vkey, &log.url) {
                let key = key("watchtower.logs", vkey, KeyKind::Ed25519)?;
                follow.watched.push((key, url.clone()));
            }
        }
        Ok(())
    }
}

fn read_policy(path: &Path, follow: &mut Follow) -> Result<(), PluginError> {
    let failed = |source| PluginError::File {
        path: path.to_owned(),
        source,
    };
    let refuse = |why: String| PluginError::Config(format!("{}: {why}", path.display()));
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > MAX_POLICY_BYTES as u64 {
        return Err(refuse("it is too large for a policy".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let policy = Policy::parse(&bytes).map_err(|error| refuse(error.to_string()))?;
    for log in policy.logs() {
        let url = log
            .url
            .as_ref()
            .ok_or_else(|| refuse(format!("it does not say where {} is read", log.key.name())))?;
        let url: Url = url
            .parse()
            .map_err(|_| refuse(format!("`{url}` is no URL")))?;
        check_url("watchtower.logs", &url)?;
        follow.watched.push((log.key.clone(), url));
    }
    let cosigners = policy.cosigners().iter();
    follow
        .cosigners
        .extend(cosigners.map(|cosigner| cosigner.key.clone()));
    Ok(())
}

impl Follow {
    /// Reads what the enabled sections name.
    ///
    /// # Errors
    /// [`PluginError::Config`] naming the setting; [`PluginError::File`] for a policy that can't be read.
    pub fn read(
        cosigner: &CosignerConfig,
        watchtower: &WatchtowerConfig,
        data_dir: &Path,
    ) -> Result<Self, PluginError> {
        let mut follow = Self::default();
        if cosigner.enabled {
            follow.cosigned = cosigner.read()?;
        }
        if watchtower.enabled {
            watchtower.read(data_dir, &mut follow)?;
        }
        Ok(follow)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_witness_log::SigningKey;

    use super::*;

    fn vkey(name: &str, kind: KeyKind) -> String {
        let key = SigningKey::from_secret(name, kind, [7; 32]).unwrap();
        key.verifier().to_string()
    }

    #[test]
    fn a_log_needs_a_key_of_the_right_kind_and_an_address() {
        let log = |vkey: String, url: &str| CosignerConfig {
            logs: vec![LogAt {
                vkey,
                url: url.parse().unwrap(),
            }],
            ..CosignerConfig::default()
        };
        let good = vkey("example.org/log", KeyKind::Ed25519);
        log(good.clone(), "https://example.org/log")
            .check(false)
            .unwrap();
        for bad in [
            log(good.clone(), "ftp://example.org/log"),
            log(
                vkey("example.org/log", KeyKind::Cosignature),
                "https://example.org",
            ),
            log("example.org/log".to_owned(), "https://example.org"),
        ] {
            assert_eq!(bad.check(false).unwrap_err().code(), "config_invalid");
        }
    }

    #[test]
    fn outside_of_test_networks_a_log_is_not_dead_within_minutes() {
        let hasty = CosignerConfig {
            dead_after_s: 5,
            ..CosignerConfig::default()
        };
        assert!(hasty.check(false).is_err());
        hasty.check(true).unwrap();
    }

    #[test]
    fn a_policy_names_logs_and_cosigners() {
        let dir = tempfile::tempdir().unwrap();
        let parse = |text: String| text.parse::<VerifierKey>().unwrap();
        let log = parse(vkey("example.org/log", KeyKind::Ed25519));
        let cosigner = parse(vkey("example.org/cosigner", KeyKind::Cosignature));
        let watch = |policy: &Policy| {
            std::fs::write(dir.path().join("policy"), policy.as_bytes()).unwrap();
            let config = WatchtowerConfig {
                enabled: true,
                logs: vec![WatchedLog {
                    policy: Some("policy".into()),
                    ..WatchedLog::default()
                }],
                ..WatchtowerConfig::default()
            };
            config.check().unwrap();
            Follow::read(&CosignerConfig::default(), &config, dir.path())
        };
        let url = Some("https://example.org/log".to_owned());
        let cosigners = [(cosigner.clone(), None)];
        let policy = Policy::from_parts(&[(log.clone(), url)], &cosigners, 1).unwrap();
        let follow = watch(&policy).unwrap();
        assert_eq!(follow.watched[0].0, log);
        assert_eq!(follow.cosigners, [cosigner]);
        let homeless = Policy::from_parts(&[(log, None)], &cosigners, 1).unwrap();
        assert!(watch(&homeless).is_err());
    }
}
