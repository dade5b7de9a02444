//! Counters and gauges for Prometheus.
//!
//! Labels are routes, statuses and codes: small sets that are known beforehand. No label ever holds a user's key, an address or a path.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::clock::now_ms;
use crate::error::PluginError;

/// Upper bounds of the latency classes, in seconds.
const LATENCIES: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Upper bounds of the batch classes.
const BATCHES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// A packet that was not renewed for this long is forgotten by the network.
const PACKET_STALE_AFTER: Duration = Duration::from_secs(3 * 3600);

/// Everything that is counted. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: IntCounterVec,
    latency: HistogramVec,
    rejections: IntCounterVec,
    posts: IntCounterVec,
    acked: IntCounter,
    batch: Histogram,
    streams: IntGauge,
    sessions: IntCounterVec,
    ready: IntGauge,
    draining: IntGauge,
    publications: IntCounterVec,
    packet_age: IntGauge,
    profiles: IntCounterVec,
    accounts: IntGaugeVec,
    inbox_envelopes: IntGauge,
    inbox_bytes: IntGauge,
    pool: IntGaugeVec,
    packet_expected: AtomicBool,
    packet_at_ms: AtomicU64,
}

/// What the database holds, counted when metrics are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Accounts that take messages.
    pub open_accounts: i64,
    /// Accounts whose users left, still readable.
    pub closed_accounts: i64,
    /// Envelopes that wait to be acknowledged.
    pub envelopes: i64,
    /// Their size in bytes.
    pub bytes: i64,
}

/// Where the packet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketState {
    /// The configuration names no place to point at.
    NotConfigured,
    /// No publication has worked yet.
    NeverPublished,
    /// The last publication that worked is so old that the network may have forgotten it.
    Stale(Duration),
    /// Published this long ago.
    Current(Duration),
}

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// [`PluginError::Internal`] if a name is registered twice.
    pub fn new() -> Result<Self, PluginError> {
        Self::build().map_err(|error| PluginError::Internal(format!("metrics: {error}")))
    }

    fn build() -> Result<Self, prometheus::Error> {
        let r = Registry::new();
        let inner = Inner {
            requests: counters(
                &r,
                "http_requests_total",
                "HTTP requests answered.",
                &["method", "route", "status"],
            )?,
            latency: add(
                &r,
                HistogramVec::new(
                    HistogramOpts::new(
                        "atomicity_http_request_duration_seconds",
                        "Time until an answer starts.",
                    )
                    .buckets(LATENCIES.to_vec()),
                    &["method", "route"],
                )?,
            )?,
            rejections: counters(
                &r,
                "rejections_total",
                "Requests refused, by problem code.",
                &["code"],
            )?,
            posts: counters(
                &r,
                "inbox_posts_total",
                "Envelopes posted, by what became of them.",
                &["outcome"],
            )?,
            acked: add(
                &r,
                IntCounter::new(
                    "atomicity_inbox_acked_total",
                    "Envelopes acknowledged by their recipients.",
                )?,
            )?,
            batch: add(
                &r,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "atomicity_inbox_batch_envelopes",
                        "Envelopes stored by one transaction.",
                    )
                    .buckets(BATCHES.to_vec()),
                )?,
            )?,
            streams: gauge(&r, "inbox_streams", "Live streams that are open.")?,
            sessions: counters(
                &r,
                "sessions_total",
                "Sessions asked for, by outcome.",
                &["outcome"],
            )?,
            ready: gauge(&r, "ready", "1 while this process may serve.")?,
            draining: gauge(
                &r,
                "draining",
                "1 while an operator wants no new work to be taken.",
            )?,
            publications: counters(
                &r,
                "packet_publications_total",
                "Packets published, by outcome.",
                &["outcome"],
            )?,
            packet_age: gauge(
                &r,
                "packet_age_seconds",
                "Time since the packet was last stored; -1 before that.",
            )?,
            profiles: counters(
                &r,
                "profile_reads_total",
                "Profiles asked for, by where they came from.",
                &["from"],
            )?,
            accounts: gauges(&r, "accounts", "Accounts.", &["state"])?,
            inbox_envelopes: gauge(
                &r,
                "inbox_envelopes",
                "Envelopes that wait to be acknowledged.",
            )?,
            inbox_bytes: gauge(
                &r,
                "inbox_bytes",
                "Size of the envelopes that wait, in bytes.",
            )?,
            pool: gauges(
                &r,
                "database_connections",
                "Connections of the pool.",
                &["state"],
            )?,
            packet_expected: AtomicBool::new(false),
            packet_at_ms: AtomicU64::new(0),
            registry: r,
        };
        begin(&inner.rejections, &["database_unavailable", "overloaded"]);
        begin(&inner.posts, &["stored", "repeated"]);
        begin(&inner.sessions, &["opened"]);
        begin(&inner.publications, &["published", "failed"]);
        begin(
            &inner.profiles,
            &["memory", "fetched", "unchanged", "stale", "failed"],
        );
        Ok(Self(Arc::new(inner)))
    }

    /// Registers a metric of a part of the plugin that is not always there.
    ///
    /// # Errors
    /// [`PluginError::Internal`] if it can't be made or its name is registered already.
    pub fn add<C: Collector + Clone + 'static>(
        &self,
        metric: Result<C, prometheus::Error>,
    ) -> Result<C, PluginError> {
        metric
            .and_then(|metric| add(&self.0.registry, metric))
            .map_err(|error| PluginError::Internal(format!("metrics: {error}")))
    }

    /// One HTTP request was answered. `route` is the pattern, never the path.
    pub fn http_request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let method = known_method(method);
        self.0
            .requests
            .with_label_values(&[method, route, &status.to_string()])
            .inc();
        self.0
            .latency
            .with_label_values(&[method, route])
            .observe(took.as_secs_f64());
    }

    /// A request was refused with this problem code.
    pub fn rejected(&self, code: &'static str) {
        self.0.rejections.with_label_values(&[code]).inc();
    }

    /// An envelope was posted: `stored`, `repeated`, or the code of the error.
    pub fn inbox_post(&self, outcome: &'static str) {
        self.0.posts.with_label_values(&[outcome]).inc();
    }

    /// Envelopes were acknowledged.
    pub fn inbox_acked(&self, count: u64) {
        self.0.acked.inc_by(count);
    }

    /// How many envelopes one transaction took in.
    pub fn inbox_batch(&self, size: usize) {
        self.0
            .batch
            .observe(f64::from(u32::try_from(size).unwrap_or(u32::MAX)));
    }

    /// A live stream was opened (+1) or closed (−1).
    pub fn inbox_streams(&self, change: i64) {
        self.0.streams.add(change);
    }

    /// How many live streams are open.
    #[must_use]
    pub fn open_streams(&self) -> i64 {
        self.0.streams.get()
    }

    /// A session was asked for: `opened` or the code of the error.
    pub fn session(&self, outcome: &'static str) {
        self.0.sessions.with_label_values(&[outcome]).inc();
    }

    /// Whether an operator wants no new work to be taken.
    pub fn draining(&self, draining: bool) {
        self.0.draining.set(i64::from(draining));
    }

    /// Whether the process may serve.
    pub fn ready(&self, ready: bool) {
        self.0.ready.set(i64::from(ready));
    }

    /// There is a place to point at, so a packet ought to be published.
    pub fn packet_expected(&self) {
        self.0.packet_expected.store(true, Ordering::Relaxed);
    }

    /// Whether the last publishing of the packet worked.
    pub fn packet_published(&self, ok: bool) {
        let outcome = if ok { "published" } else { "failed" };
        self.0.publications.with_label_values(&[outcome]).inc();
        if ok {
            self.0
                .packet_at_ms
                .store(unsigned_now_ms(), Ordering::Relaxed);
        }
    }

    /// A profile was asked for: it came from `memory`, was `fetched` or `unchanged` at the homeserver, was `stale`, or `failed`.
    pub fn profile(&self, from: &'static str) {
        self.0.profiles.with_label_values(&[from]).inc();
    }

    /// Where the packet stands.
    #[must_use]
    pub fn packet_state(&self) -> PacketState {
        let age = self.packet_age();
        match age {
            Some(age) if age < PACKET_STALE_AFTER => PacketState::Current(age),
            Some(age) => PacketState::Stale(age),
            None if self.0.packet_expected.load(Ordering::Relaxed) => PacketState::NeverPublished,
            None => PacketState::NotConfigured,
        }
    }

    fn packet_age(&self) -> Option<Duration> {
        let at = self.0.packet_at_ms.load(Ordering::Relaxed);
        (at > 0).then(|| Duration::from_millis(unsigned_now_ms().saturating_sub(at)))
    }

    /// Everything in the text format of Prometheus. `stored` is absent while the database can't be asked: its gauges then keep their last values.
    ///
    /// # Errors
    /// [`PluginError::Internal`] if a metric can't be written as text.
    pub fn render(
        &self,
        stored: Option<Stored>,
        pool: &sqlx::PgPool,
    ) -> Result<String, PluginError> {
        let inner = &self.0;
        if let Some(stored) = stored {
            inner
                .accounts
                .with_label_values(&["open"])
                .set(stored.open_accounts);
            inner
                .accounts
                .with_label_values(&["closed"])
                .set(stored.closed_accounts);
            inner.inbox_envelopes.set(stored.envelopes);
            inner.inbox_bytes.set(stored.bytes);
        }
        let idle = i64::try_from(pool.num_idle()).unwrap_or(i64::MAX);
        inner.pool.with_label_values(&["idle"]).set(idle);
        inner
            .pool
            .with_label_values(&["in_use"])
            .set(i64::from(pool.size()).saturating_sub(idle).max(0));
        let age = self
            .packet_age()
            .map_or(-1, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        inner.packet_age.set(age);
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&inner.registry.gather(), &mut text)
            .map_err(|error| PluginError::Internal(format!("metrics: {error}")))?;
        String::from_utf8(text).map_err(|error| PluginError::Internal(format!("metrics: {error}")))
    }
}

/// Has counters with one label begin at 0 for values that are known beforehand. A counter that appears with its first event has not risen by it, so that an
/// alert on its increase would sleep through that one.
pub fn begin(counters: &IntCounterVec, values: &[&str]) {
    for value in values {
        counters.with_label_values(&[value]);
    }
}

/// A method of one's own invention would be a label of one's own invention.
fn known_method(method: &str) -> &str {
    match method {
        "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH" => method,
        _ => "other",
    }
}

fn unsigned_now_ms() -> u64 {
    u64::try_from(now_ms()).unwrap_or(0)
}

fn add<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    add(
        registry,
        IntCounterVec::new(Opts::new(format!("atomicity_{name}"), help), labels)?,
    )
}

fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    add(
        registry,
        IntGaugeVec::new(Opts::new(format!("atomicity_{name}"), help), labels)?,
    )
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    add(
        registry,
        IntGauge::with_opts(Opts::new(format!("atomicity_{name}"), help))?,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics, stored: Option<Stored>) -> String {
        let pool = sqlx::PgPool::connect_lazy("postgres://nobody@127.0.0.1:1/none").unwrap();
        metrics.render(stored, &pool).unwrap()
    }

    #[tokio::test]
    async fn what_happened_is_in_the_text() {
        let metrics = Metrics::new().unwrap();
        metrics.http_request(
            "GET",
            "/v0/users/{user}/profile",
            200,
            Duration::from_millis(3),
        );
        metrics.http_request("BREW", "/v0/info", 405, Duration::from_millis(1));
        metrics.rejected("rate_limited");
        metrics.inbox_post("stored");
        metrics.inbox_acked(3);
        metrics.inbox_batch(7);
        metrics.inbox_streams(2);
        metrics.inbox_streams(-1);
        metrics.session("opened");
        metrics.ready(true);
        let stored = Stored {
            open_accounts: 5,
            closed_accounts: 1,
            envelopes: 9,
            bytes: 900,
        };
        let text = text(&metrics, Some(stored));
        for line in [
            r#"atomicity_http_requests_total{method="GET",route="/v0/users/{user}/profile",status="200"} 1"#,
            r#"atomicity_http_requests_total{method="other",route="/v0/info",status="405"} 1"#,
            r#"atomicity_rejections_total{code="rate_limited"} 1"#,
            r#"atomicity_inbox_posts_total{outcome="stored"} 1"#,
            "atomicity_inbox_acked_total 3",
            "atomicity_inbox_batch_envelopes_sum 7",
            "atomicity_inbox_streams 1",
            r#"atomicity_sessions_total{outcome="opened"} 1"#,
            "atomicity_ready 1",
            r#"atomicity_accounts{state="open"} 5"#,
            "atomicity_inbox_envelopes 9",
            "atomicity_inbox_bytes 900",
            "atomicity_packet_age_seconds -1",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[tokio::test]
    async fn gauges_of_the_database_keep_their_values_while_it_is_away() {
        let metrics = Metrics::new().unwrap();
        let stored = Stored {
            envelopes: 4,
            ..Stored::default()
        };
        assert!(text(&metrics, Some(stored)).contains("atomicity_inbox_envelopes 4"));
        assert!(text(&metrics, None).contains("atomicity_inbox_envelopes 4"));
    }

    #[test]
    fn a_packet_is_missing_then_current_then_stale() {
        let metrics = Metrics::new().unwrap();
        assert_eq!(metrics.packet_state(), PacketState::NotConfigured);
        metrics.packet_expected();
        metrics.packet_published(false);
        assert_eq!(metrics.packet_state(), PacketState::NeverPublished);
        metrics.packet_published(true);
        assert!(matches!(metrics.packet_state(), PacketState::Current(_)));
        metrics.0.packet_at_ms.store(1, Ordering::Relaxed);
        assert!(matches!(metrics.packet_state(), PacketState::Stale(_)));
    }
}
