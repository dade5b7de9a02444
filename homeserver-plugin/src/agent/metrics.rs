//! What the agent is counted by. No label holds a user, a unit or an amount.

use prometheus::{IntCounterVec, IntGauge, Opts};

use super::store::JournalRow;
use crate::error::PluginError;
use crate::metrics::{Metrics, begin};

/// Counters and gauges of the agent. Cheap to clone.
#[derive(Clone)]
pub struct AgentMetrics {
    signatures: IntCounterVec,
    records: IntCounterVec,
    deliveries: IntCounterVec,
    work: IntGauge,
    users: IntGauge,
}

impl AgentMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// [`PluginError::Internal`] if a name is registered twice.
    pub fn new(metrics: &Metrics) -> Result<Self, PluginError> {
        let counters = |name: &str, help: &str, label: &str| {
            metrics.add(IntCounterVec::new(
                Opts::new(format!("atomicity_agent_{name}"), help),
                &[label],
            ))
        };
        let gauge = |name: &str, help: &str| {
            metrics.add(IntGauge::new(format!("atomicity_agent_{name}"), help))
        };
        let agent = Self {
            signatures: counters("signatures_total", "Records the agent signed.", "what")?,
            records: counters(
                "records_total",
                "Records of peers, by what became of them.",
                "outcome",
            )?,
            deliveries: counters(
                "deliveries_total",
                "Attempts to leave records in an inbox, by outcome.",
                "outcome",
            )?,
            work: gauge(
                "users_busy",
                "Users whose books are worked on or wait to be.",
            )?,
            users: gauge("users", "Users whose agent is at work.")?,
        };
        let outcomes = [
            "applied",
            "duplicate",
            "held",
            "refused",
            "void",
            "forwarded",
        ];
        begin(&agent.records, &outcomes);
        begin(&agent.deliveries, &["delivered", "failed", "no_inbox"]);
        begin(&agent.signatures, &["state", "payment"]);
        Ok(agent)
    }

    /// These were signed.
    pub fn signed(&self, rows: &[JournalRow]) {
        for row in rows {
            self.signatures.with_label_values(&[row.what]).inc();
        }
    }

    /// What became of a record.
    pub fn record(&self, outcome: &'static str) {
        self.records.with_label_values(&[outcome]).inc();
    }

    /// What became of a delivery.
    pub fn delivery(&self, outcome: &'static str) {
        self.deliveries.with_label_values(&[outcome]).inc();
    }

    /// How much there is to do.
    pub fn gauges(&self, busy: usize, users: usize) {
        self.work.set(i64::try_from(busy).unwrap_or(i64::MAX));
        self.users.set(i64::try_from(users).unwrap_or(i64::MAX));
    }
}
