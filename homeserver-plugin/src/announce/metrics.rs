//! What announcing is counted by. Labels are roles and outcomes.

use prometheus::{IntCounterVec, IntGaugeVec, Opts};

use super::Role;
use crate::clock::now_ms;
use crate::error::PluginError;
use crate::metrics::Metrics;

/// Counters of announcements. Cheap to clone.
#[derive(Clone)]
pub struct AnnounceMetrics {
    announcements: IntCounterVec,
    at: IntGaugeVec,
}

impl AnnounceMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// [`PluginError::Internal`] if a name is registered twice.
    pub fn new(metrics: &Metrics) -> Result<Self, PluginError> {
        Ok(Self {
            announcements: metrics.add(IntCounterVec::new(
                Opts::new(
                    "atomicity_announcements_total",
                    "Services announced on Mainline, by outcome.",
                ),
                &["role", "outcome"],
            ))?,
            at: metrics.add(IntGaugeVec::new(
                Opts::new(
                    "atomicity_announced_timestamp_seconds",
                    "When a service was last announced, Unix time.",
                ),
                &["role"],
            ))?,
        })
    }

    /// A role was announced, or could not be.
    pub fn announced(&self, role: Role, ok: bool) {
        let outcome = if ok { "announced" } else { "failed" };
        self.announcements
            .with_label_values(&[role.name(), outcome])
            .inc();
        if ok {
            self.at
                .with_label_values(&[role.name()])
                .set(now_ms() / 1_000);
        }
    }
}
