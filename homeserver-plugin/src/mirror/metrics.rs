//! What following other people's logs is counted by. Labels are outcomes and the origins of configured logs.

use std::time::Duration;

use prometheus::{IntCounterVec, IntGaugeVec, Opts};

use crate::error::PluginError;
use crate::metrics::{Metrics, begin};

/// Counters and gauges of cosigner and watchtower. Cheap to clone.
#[derive(Clone)]
pub struct FollowMetrics {
    rounds: IntCounterVec,
    cosignatures: IntCounterVec,
    proofs: IntCounterVec,
    entries: IntGaugeVec,
    age: IntGaugeVec,
    tombstones: IntCounterVec,
}

impl FollowMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// [`PluginError::Internal`] if a name is registered twice.
    pub fn new(metrics: &Metrics) -> Result<Self, PluginError> {
        let counters = |name: &str, help: &str, label: &str| {
            metrics.add(IntCounterVec::new(
                Opts::new(format!("atomicity_{name}"), help),
                &[label],
            ))
        };
        let gauges = |name: &str, help: &str| {
            metrics.add(IntGaugeVec::new(
                Opts::new(format!("atomicity_{name}"), help),
                &["origin"],
            ))
        };
        let follow = Self {
            rounds: counters(
                "mirror_rounds_total",
                "Looks at logs that are followed, by outcome.",
                "outcome",
            )?,
            cosignatures: counters(
                "cosigner_requests_total",
                "Checkpoints to be cosigned, by what became of them.",
                "outcome",
            )?,
            proofs: counters(
                "fork_proofs_total",
                "Proven lies that were stored, by where the proof came from.",
                "via",
            )?,
            tombstones: counters("tombstones_total", "Tombstones that were signed.", "origin")?,
            entries: gauges("mirror_entries", "Entries of a log that were checked.")?,
            age: gauges(
                "mirror_newest_age_seconds",
                "Time since a log's newest entry, by our clock.",
            )?,
        };
        begin(&follow.rounds, &["fresh"]);
        begin(&follow.cosignatures, &["cosigned", "tick_skewed"]);
        begin(&follow.proofs, &["own", "client", "peer"]);
        Ok(follow)
    }

    /// A log was looked at: `fresh`, or the code of what went wrong.
    pub fn round(&self, outcome: &str) {
        self.rounds.with_label_values(&[outcome]).inc();
    }

    /// A checkpoint was to be cosigned: `cosigned`, or why not.
    pub fn cosignature(&self, outcome: &str) {
        self.cosignatures.with_label_values(&[outcome]).inc();
    }

    /// A proof was stored.
    pub fn proof(&self, via: &str) {
        self.proofs.with_label_values(&[via]).inc();
    }

    /// A tombstone was signed.
    pub fn tombstone(&self, origin: &str) {
        self.tombstones.with_label_values(&[origin]).inc();
    }

    /// Where a mirror stands.
    pub fn mirror(&self, origin: &str, entries: u64, age: Option<Duration>) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.entries
            .with_label_values(&[origin])
            .set(number(entries));
        self.age
            .with_label_values(&[origin])
            .set(age.map_or(-1, |age| number(age.as_secs())));
    }
}
