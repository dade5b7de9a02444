//! What every request can reach.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::admin::disabled::Disabled;
use crate::agent::Agent;
use crate::announce::AnnounceMetrics;
use crate::config::Config;
use crate::http::client_addr::TrustedProxies;
use crate::inbox::hub::Hub;
use crate::inbox::writer::Writer;
use crate::limits::RateLimits;
use crate::metrics::Metrics;
use crate::mirror::{FollowMetrics, Following};
use crate::readiness::Readiness;
use crate::resolve::Resolver;
use crate::router::Router;
use crate::witness_log::WitnessLog;

/// Shared by all requests; cloning is cheap.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

/// The parts of [`AppState`].
pub struct Shared {
    /// Connections to the plugin's own database.
    pub pool: PgPool,
    /// The configuration the process started with.
    pub config: Config,
    /// Counters and gauges.
    pub metrics: Metrics,
    /// Looks users up: key → homeserver → files.
    pub resolver: Resolver,
    /// The plugin's own Pkarr key.
    pub keypair: pubky::Keypair,
    /// Wakes readers that wait for new envelopes.
    pub hub: Hub,
    /// Wakes pages that show what a user's wallet and apps leave here.
    pub news: Hub,
    /// Wakes readers that wait for a newer summary of a user's books.
    pub snapshots: Hub,
    /// Takes envelopes in, in batches.
    pub writer: Writer,
    /// Proxies whose word on addresses is believed.
    pub proxies: TrustedProxies,
    /// Requests per address and per tag.
    pub limits: RateLimits,
    /// The log, if this plugin runs one.
    pub witness_log: Option<WitnessLog>,
    /// Other people's logs that are followed, as cosigner and as watchtower.
    pub follow: Following,
    /// What following them is counted by.
    pub following: FollowMetrics,
    /// The router, if this plugin is one.
    pub router: Option<Router>,
    /// Books that are kept for users, if this plugin keeps any.
    pub agent: Option<Agent>,
    /// What announcing services is counted by.
    pub announcing: AnnounceMetrics,
    /// What the listener for operators needs, if there is one.
    pub admin: Option<Admin>,
    /// Accounts that are switched off.
    pub disabled: Disabled,
    /// Held while an account is switched off or on: one after the other.
    pub operating: tokio::sync::Mutex<()>,
    /// Where the plugin keeps its files; none in a test.
    pub data_dir: Option<PathBuf>,
    /// Whether this process may serve.
    pub readiness: Readiness,
    /// Cancelled when the process is to stop: streams end, background tasks return.
    pub shutdown: CancellationToken,
}

impl AppState {
    /// Wraps the parts.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
