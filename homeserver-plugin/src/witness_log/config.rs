//! The section `[witness_log]`.

use std::time::Duration;

use atomicity_witness_log::{KeyKind, Policy, VerifierKey};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::PluginError;

/// A transparency log of preimages. Made by `atomicity-homeserver log create`, run if `enabled`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WitnessLogConfig {
    /// Whether this plugin runs its log.
    pub enabled: bool,
    /// Time between two checkpoints, 200 to 1000 milliseconds.
    pub interval_ms: u64,
    /// Who cosigns.
    pub cosigners: Vec<CosignerEntry>,
    /// How many of them must have cosigned before a checkpoint is published.
    pub quorum: usize,
    /// How long the cosigners may take for one checkpoint, in milliseconds.
    pub cosign_timeout_ms: u64,
    /// How long a publication waits for the checkpoint that shows it, in milliseconds.
    pub answer_timeout_ms: u64,
    /// Publications a minute from one address.
    pub address_per_minute: u32,
    /// Publications a minute of one registered user, who is recognised by their session.
    pub user_per_minute: u32,
    /// Most publications that wait at once.
    pub max_waiting: usize,
    /// How many of these places only registered users get.
    pub reserved_waiting: usize,
    /// Most live streams.
    pub streams: usize,
}

/// A cosigner of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosignerEntry {
    /// Its key, as its operator gave it.
    pub vkey: String,
    /// Where it takes checkpoints: `add-checkpoint` is asked for below this.
    pub url: Url,
}

impl Default for WitnessLogConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            interval_ms: 1_000,
            cosigners: Vec::new(),
            quorum: 0,
            cosign_timeout_ms: 3_000,
            answer_timeout_ms: 10_000,
            address_per_minute: 60,
            user_per_minute: 600,
            max_waiting: 4_096,
            reserved_waiting: 1_024,
            streams: 1_000,
        }
    }
}

impl WitnessLogConfig {
    /// Time between two checkpoints.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    /// Checks what the types can't say.
    ///
    /// # Errors
    /// [`PluginError::Config`] naming the setting.
    pub fn check(&self) -> Result<(), PluginError> {
        let refuse = |text: &str| Err(PluginError::Config(format!("witness_log.{text}")));
        if !(200..=1_000).contains(&self.interval_ms) {
            return refuse("interval_ms must be 200 to 1000");
        }
        if self.quorum > self.cosigners.len() {
            return refuse("quorum must not be above the number of cosigners");
        }
        if self.quorum == 0 && !self.cosigners.is_empty() {
            return refuse("quorum must be at least 1 where there are cosigners");
        }
        if self.reserved_waiting >= self.max_waiting {
            return refuse("reserved_waiting must be below max_waiting");
        }
        for (name, value) in [
            ("cosign_timeout_ms", self.cosign_timeout_ms),
            ("answer_timeout_ms", self.answer_timeout_ms),
            ("address_per_minute", self.address_per_minute.into()),
            ("user_per_minute", self.user_per_minute.into()),
        ] {
            if value == 0 {
                return refuse(&format!("{name} must be above 0"));
            }
        }
        self.cosigner_keys().map(|_| ())
    }

    fn cosigner_keys(&self) -> Result<Vec<VerifierKey>, PluginError> {
        let read = |entry: &CosignerEntry| {
            entry
                .vkey
                .parse::<VerifierKey>()
                .ok()
                .filter(|key| key.kind() == KeyKind::Cosignature)
                .ok_or_else(|| {
                    PluginError::Config(format!(
                        "witness_log.cosigners: `{}` is no key of a cosigner",
                        entry.vkey
                    ))
                })
        };
        self.cosigners.iter().map(read).collect()
    }

    /// The cosigners with the address at which each takes checkpoints.
    ///
    /// # Errors
    /// [`PluginError::Config`].
    pub fn cosigners(&self) -> Result<Vec<(VerifierKey, Url)>, PluginError> {
        let keys = self.cosigner_keys()?;
        Ok(keys
            .into_iter()
            .zip(self.cosigners.iter().map(|entry| entry.url.clone()))
            .collect())
    }

    /// The policy by which others check this log's checkpoints.
    ///
    /// # Errors
    /// [`PluginError::Config`], for example if one cosigner is named twice.
    pub fn policy(&self, log: VerifierKey, url: String) -> Result<Policy, PluginError> {
        let cosigners: Vec<_> = self
            .cosigners()?
            .into_iter()
            .map(|(key, url)| (key, Some(url.to_string())))
            .collect();
        Policy::from_parts(&[(log, Some(url))], &cosigners, self.quorum)
            .map_err(|error| PluginError::Config(format!("witness_log: {error}")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_witness_log::SigningKey;

    use super::*;

    fn cosigner(seed: u8) -> CosignerEntry {
        let key = SigningKey::from_secret("c", KeyKind::Cosignature, [seed; 32]).unwrap();
        CosignerEntry {
            vkey: key.verifier().to_string(),
            url: format!("https://c{seed}.example.org/cosigner")
                .parse()
                .unwrap(),
        }
    }

    fn refusal(change: impl FnOnce(&mut WitnessLogConfig)) -> String {
        let mut config = WitnessLogConfig {
            cosigners: vec![cosigner(1), cosigner(2)],
            quorum: 2,
            ..WitnessLogConfig::default()
        };
        config.check().unwrap();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn contradictions_are_refused_by_name() {
        assert!(refusal(|c| c.interval_ms = 199).contains("interval_ms"));
        assert!(refusal(|c| c.interval_ms = 1_001).contains("interval_ms"));
        assert!(refusal(|c| c.quorum = 3).contains("quorum"));
        assert!(refusal(|c| c.quorum = 0).contains("quorum"));
        assert!(refusal(|c| c.reserved_waiting = c.max_waiting).contains("reserved_waiting"));
        let log = SigningKey::from_secret("l", KeyKind::Ed25519, [3; 32]).unwrap();
        let vkey = log.verifier().to_string();
        // A log's key can't cosign.
        assert!(refusal(|c| c.cosigners[0].vkey = vkey).contains("cosigners"));
    }

    #[test]
    fn the_policy_names_the_log_the_cosigners_and_the_quorum() {
        let mut config = WitnessLogConfig {
            cosigners: vec![cosigner(1), cosigner(2)],
            quorum: 2,
            ..WitnessLogConfig::default()
        };
        let log = SigningKey::from_secret("l", KeyKind::Ed25519, [3; 32]).unwrap();
        let url = "https://example.org/log".to_owned();
        let policy = config.policy(log.verifier(), url.clone()).unwrap();
        let text = String::from_utf8(policy.as_bytes().to_vec()).unwrap();
        assert!(text.contains(&log.verifier().to_string()), "{text}");
        assert!(text.contains("group cosigners 2 c1 c2"), "{text}");
        config.cosigners[1] = cosigner(1);
        assert!(config.policy(log.verifier(), url).is_err());
    }
}
