//! What is counted about the log.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts};

use crate::error::PluginError;
use crate::metrics::{Metrics, begin};

/// Upper bounds of the latency classes, in seconds.
const LATENCIES: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// Upper bounds of the batch classes.
const BATCHES: &[f64] = &[0.0, 1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0];

/// The log's numbers.
pub struct LogMetrics {
    running: IntGauge,
    sequenced: IntGauge,
    published: IntGauge,
    batch: Histogram,
    cosigning: Histogram,
    publications: IntCounterVec,
    cosigners: IntCounterVec,
    steps: IntCounterVec,
}

impl LogMetrics {
    /// Registers them with the others.
    ///
    /// # Errors
    /// [`PluginError::Internal`] if a name is registered twice.
    pub fn register(metrics: &Metrics) -> Result<Self, PluginError> {
        let gauge = |name: &str, help: &str| metrics.add(IntGauge::new(name, help));
        let counters = |name: &str, help: &str, label: &str| {
            metrics.add(IntCounterVec::new(Opts::new(name, help), &[label]))
        };
        let histogram = |name: &str, help: &str, bounds: &[f64]| {
            metrics.add(Histogram::with_opts(
                HistogramOpts::new(name, help).buckets(bounds.to_vec()),
            ))
        };
        let log = Self {
            running: gauge(
                "atomicity_log_running",
                "1 while the log sequences and signs.",
            )?,
            sequenced: gauge("atomicity_log_entries", "Entries that were sequenced.")?,
            published: gauge(
                "atomicity_log_published_entries",
                "Entries under the published checkpoint.",
            )?,
            batch: histogram(
                "atomicity_log_batch_preimages",
                "Preimages stored by one transaction.",
                BATCHES,
            )?,
            cosigning: histogram(
                "atomicity_log_cosigning_duration_seconds",
                "Time from a head to its published checkpoint.",
                LATENCIES,
            )?,
            publications: counters(
                "atomicity_log_publications_total",
                "Preimages posted and checkpoints that could not be published, by outcome.",
                "outcome",
            )?,
            cosigners: counters(
                "atomicity_log_cosigner_requests_total",
                "Cosigners asked, by outcome.",
                "outcome",
            )?,
            steps: counters(
                "atomicity_log_steps_failed_total",
                "Batches that were not stored, by what was done about it.",
                "outcome",
            )?,
        };
        begin(&log.publications, &["published", "no_quorum", "not_stored"]);
        begin(
            &log.cosigners,
            &["cosigned", "refused", "unreachable", "tombstoned", "ahead"],
        );
        begin(&log.steps, &["later"]);
        Ok(log)
    }

    /// Whether the log sequences and signs.
    pub fn running(&self, running: bool) {
        self.running.set(i64::from(running));
    }

    /// A batch was stored.
    pub fn sequenced(&self, size: u64, preimages: usize) {
        self.sequenced.set(i64::try_from(size).unwrap_or(i64::MAX));
        self.batch
            .observe(f64::from(u32::try_from(preimages).unwrap_or(u32::MAX)));
    }

    /// A checkpoint was published.
    pub fn published(&self, size: u64) {
        self.published.set(i64::try_from(size).unwrap_or(i64::MAX));
    }

    /// How long it took to have a head cosigned and published.
    pub fn cosigned(&self, took: Duration) {
        self.cosigning.observe(took.as_secs_f64());
    }

    /// What became of a preimage or a checkpoint.
    pub fn publication(&self, outcome: &'static str) {
        self.publications.with_label_values(&[outcome]).inc();
    }

    /// What became of a request to a cosigner.
    pub fn cosigner(&self, outcome: &'static str) {
        self.cosigners.with_label_values(&[outcome]).inc();
    }

    /// A batch was not stored.
    pub fn step(&self, outcome: &'static str) {
        self.steps.with_label_values(&[outcome]).inc();
    }
}
