//! The section `[agent]` of the configuration.

use std::path::{Path, PathBuf};

use atomicity_witness_log::policy::MAX_POLICY_BYTES;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::PluginError;

/// Most logs that the operator names.
const MAX_LOGS: usize = 64;

/// Keeping books for users who ask for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentConfig {
    /// Whether this plugin keeps books at all.
    pub enabled: bool,
    /// Most users.
    pub max_users: i64,
    /// Most peers of one user.
    pub max_pairs_per_user: i64,
    /// For how many users books are worked on side by side.
    pub workers: usize,
    /// How much of the books is kept in memory, ready for use, in MiB as they lie in the database; in memory they take about twice that.
    pub cache_mb: usize,
    /// How many deliveries are under way at once.
    pub deliveries: usize,
    /// How often channel files are written, in seconds.
    pub file_flush_s: u64,
    /// How often logs are looked at for promises that hang on them, in milliseconds.
    pub log_poll_ms: u64,
    /// How often the users' delegations are looked at, in seconds.
    pub authority_poll_s: u64,
    /// How many spends one payment account may ask for in a minute.
    pub spends_per_minute: u32,
    /// How often friends are asked for the words on which lines by rules stand, in seconds.
    pub word_poll_s: u64,
    /// How long events are kept, in days.
    pub event_days: u32,
    /// How long the journal of signatures is kept, in days.
    pub journal_days: u32,
    /// How many promises of one friend may be passed on and undecided at once.
    pub forward_undecided: u32,
    /// How many payments of one friend may fail within a minute before nothing more of theirs is passed on.
    pub forward_failed: u32,
    /// How much time must be left before a deadline for a promise to be passed on, in milliseconds.
    pub forward_min_left_ms: u64,
    /// Logs that promises may hang on, beside the plugin's own. A log is read from its mirror here: name it as cosigned or watched too.
    pub logs: Vec<AgentLog>,
}

/// A log that promises may hang on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentLog {
    /// A file with a policy (C2SP tlog-policy); relative to the data directory.
    pub policy: PathBuf,
    /// Where the log is read, if the policy does not say so.
    #[serde(default)]
    pub url: Option<Url>,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            max_users: 1_000,
            max_pairs_per_user: 2_000,
            workers: 8,
            cache_mb: 64,
            deliveries: 16,
            file_flush_s: 30,
            log_poll_ms: 250,
            authority_poll_s: 300,
            spends_per_minute: 120,
            word_poll_s: 600,
            event_days: 30,
            journal_days: 400,
            forward_undecided: 16,
            forward_failed: 32,
            forward_min_left_ms: 10_000,
            logs: Vec::new(),
        }
    }
}

impl AgentConfig {
    /// Checks what the types can't say.
    ///
    /// # Errors
    /// [`PluginError::Config`] naming the setting.
    pub fn check(&self) -> Result<(), PluginError> {
        let refuse = |text: &str| Err(PluginError::Config(text.to_owned()));
        if self.max_users < 1 || self.max_pairs_per_user < 1 {
            return refuse("agent.max_users and agent.max_pairs_per_user must be above 0");
        }
        if !(1..=256).contains(&self.workers) || !(1..=256).contains(&self.deliveries) {
            return refuse("agent.workers and agent.deliveries must be 1 to 256");
        }
        if self.cache_mb > 65_536 {
            return refuse("agent.cache_mb must be at most 65536");
        }
        if self.file_flush_s == 0 || self.log_poll_ms == 0 || self.authority_poll_s == 0 {
            return refuse(
                "agent.file_flush_s, agent.log_poll_ms and agent.authority_poll_s must be above 0",
            );
        }
        if self.spends_per_minute == 0 {
            return refuse("agent.spends_per_minute must be above 0");
        }
        if self.word_poll_s == 0 {
            return refuse("agent.word_poll_s must be above 0");
        }
        if self.logs.len() > MAX_LOGS {
            return refuse("agent.logs must be at most 64");
        }
        Ok(())
    }

    /// The texts of the operator's policies.
    ///
    /// # Errors
    /// [`PluginError::File`] for a policy that can't be read, [`PluginError::Config`] for one that is too large or no text.
    pub fn read_policies(&self, data_dir: &Path) -> Result<Vec<String>, PluginError> {
        let mut texts = Vec::new();
        for log in &self.logs {
            let path = data_dir.join(&log.policy);
            let bytes = std::fs::read(&path).map_err(|source| PluginError::File {
                path: path.clone(),
                source,
            })?;
            let text = String::from_utf8(bytes)
                .ok()
                .filter(|text| text.len() <= MAX_POLICY_BYTES);
            texts.push(
                text.ok_or_else(|| {
                    PluginError::Config(format!("{} is no policy", path.display()))
                })?,
            );
        }
        Ok(texts)
    }
}
