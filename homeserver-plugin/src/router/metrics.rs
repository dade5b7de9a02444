//! What the router is counted by. No label holds a key.

use std::time::Duration;

use atomicity_routing::GraphSize;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts};

use crate::error::PluginError;
use crate::metrics::{Metrics, begin};

/// Upper bounds of the classes for questions, in seconds: the interesting part lies below a millisecond.
const CLASSES: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
];

/// Counters and gauges of the router. Cheap to clone.
#[derive(Clone)]
pub struct RouterMetrics {
    users: IntGauge,
    homes: IntGauge,
    waiting: IntGauge,
    adverts: IntGauge,
    edges: IntGauge,
    bytes: IntGauge,
    streams: IntGauge,
    lag: Gauge,
    requests: IntCounterVec,
    lookups: IntCounterVec,
    visits: IntCounterVec,
    refused: IntCounterVec,
    events: IntCounterVec,
    queries: IntCounterVec,
    search: Histogram,
}

fn number(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl RouterMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// [`PluginError::Internal`] if a name is registered twice.
    pub fn new(metrics: &Metrics) -> Result<Self, PluginError> {
        let gauge = |name: &str, help: &str| {
            metrics.add(IntGauge::new(format!("atomicity_router_{name}"), help))
        };
        let counters = |name: &str, help: &str, label: &str| {
            metrics.add(IntCounterVec::new(
                Opts::new(format!("atomicity_router_{name}_total"), help),
                &[label],
            ))
        };
        let search = HistogramOpts::new(
            "atomicity_router_search_seconds",
            "Time that searching the graph took.",
        );
        let router = Self {
            users: gauge("users", "Users that are known.")?,
            homes: gauge("homeservers", "Homeservers that are known.")?,
            waiting: gauge("waiting", "Keys that wait to be looked up.")?,
            adverts: gauge("adverts", "Advertisements in the graph, one for each unit.")?,
            edges: gauge("edges", "Directions that both ends publish.")?,
            bytes: gauge("graph_bytes", "Memory of the graph.")?,
            streams: gauge("streams", "Event streams that are open.")?,
            lag: metrics.add(Gauge::new(
                "atomicity_router_lag_seconds",
                "How long the most overdue visit waits.",
            ))?,
            requests: counters(
                "requests",
                "Requests to homeservers, by outcome.",
                "outcome",
            )?,
            lookups: counters("lookups", "Users looked up, by outcome.", "outcome")?,
            visits: counters("visits", "Users visited, by outcome.", "outcome")?,
            refused: counters(
                "refused",
                "Records and users that were not taken, by reason.",
                "why",
            )?,
            events: counters("events", "Events of homeservers, by what they are.", "kind")?,
            queries: counters("queries", "Questions for routes, by answer.", "outcome")?,
            search: metrics.add(Histogram::with_opts(search.buckets(CLASSES.to_vec())))?,
        };
        begin(&router.visits, &["done", "refused", "aborted"]);
        begin(&router.lookups, &["new", "known", "nowhere", "full"]);
        begin(&router.queries, &["routes"]);
        begin(&router.requests, &["found", "unchanged", "not_found"]);
        Ok(router)
    }

    /// How large the graph is.
    pub fn graph(&self, size: &GraphSize) {
        self.adverts.set(number(size.adverts));
        self.edges.set(number(size.edges));
        self.bytes.set(number(size.bytes));
    }

    /// Whom the crawler knows.
    pub fn known(&self, users: usize, homes: usize, waiting: usize) {
        self.users.set(number(users));
        self.homes.set(number(homes));
        self.waiting.set(number(waiting));
    }

    /// How long the most overdue visit waits, in milliseconds.
    #[allow(clippy::cast_precision_loss)]
    pub fn lag(&self, millis: i64) {
        self.lag.set(millis as f64 / 1_000.0);
    }

    /// Event streams that are open.
    pub fn streams(&self, open: usize) {
        self.streams.set(number(open));
    }

    /// A request to a homeserver: `found`, `unchanged`, `not_found` or what went wrong.
    pub fn request(&self, outcome: &str) {
        self.requests.with_label_values(&[outcome]).inc();
    }

    /// A user was looked up.
    pub fn lookup(&self, outcome: &str) {
        self.lookups.with_label_values(&[outcome]).inc();
    }

    /// A user was visited.
    pub fn visit(&self, outcome: &str) {
        self.visits.with_label_values(&[outcome]).inc();
    }

    /// A record or a user was not taken.
    pub fn refused(&self, why: &str) {
        self.refused.with_label_values(&[why]).inc();
    }

    /// An event came.
    pub fn event(&self, kind: &str) {
        self.events.with_label_values(&[kind]).inc();
    }

    /// A question was answered: `routes`, or the code of the problem.
    pub fn query(&self, outcome: &str, took: Duration) {
        self.queries.with_label_values(&[outcome]).inc();
        self.search.observe(took.as_secs_f64());
    }
}
