//! The life of the process: database, listeners, background tasks, and an orderly end.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::disabled::Disabled;
use crate::admin::{self, Admin};
use crate::agent::{self, Agent};
use crate::announce::AnnounceMetrics;
use crate::config::{Config, DatabaseConfig, HttpConfig};
use crate::db::{self, lock::DatabaseLock, migrate, patience::patiently};
use crate::error::PluginError;
use crate::http::{self, Listener, client_addr::TrustedProxies};
use crate::inbox::hub::Hub;
use crate::inbox::writer::{Writer, WriterTask};
use crate::limits::RateLimits;
use crate::metrics::Metrics;
use crate::mirror::{self, FollowMetrics, Following};
use crate::packet::Publisher;
use crate::readiness::Readiness;
use crate::resolve::Resolver;
use crate::router::Router;
use crate::secret::Secrets;
use crate::state::{AppState, Shared};
use crate::witness_log::{self, WitnessLog};
use crate::{announce, cosigner, watchtower};

/// How long a client may take to send its request line and headers, or to shake hands.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the writer gets for what was handed to it before the end.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// Where the plugin listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// HTTP, for browsers and proxies.
    pub http: SocketAddr,
    /// TLS with the plugin's raw public key.
    pub pubky: SocketAddr,
    /// HTTP for operators, if there is such a listener.
    pub admin: Option<SocketAddr>,
}

/// Serves until `stop` is cancelled, then lets open requests finish. `ready` is called once, when both listeners are open.
///
/// # Errors
/// What keeps the plugin from starting, [`PluginError::DatabaseInUse`] if another plugin took the database over, or
/// [`PluginError::Listener`].
pub async fn run(
    config: Config,
    secrets: impl Into<Secrets>,
    stop: CancellationToken,
    ready: impl FnOnce(Addresses),
) -> Result<(), PluginError> {
    let secrets = secrets.into();
    let options = db::pool::options(&config.database)?;
    let lock = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        lock = take_database(config.database.clone(), options.clone()) => lock?,
    };
    let pool = db::pool::open(&config.database, options);
    let metrics = Metrics::new()?;
    let opened = async {
        let log = open_log(&config, &secrets, &pool, &metrics).await?;
        Ok::<_, PluginError>((log, open_following(&config, &secrets, &pool).await?))
    };
    let (log, follow) = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        opened = opened => opened?,
    };
    let (log, start) = log.unzip();
    let parts = Parts {
        follow,
        pool,
        metrics,
        log: log.clone(),
        policies: secrets.policies,
        data_dir: secrets.data_dir,
    };
    let (state, writer) = assemble(config, secrets.plugin, parts, stop.child_token())?;
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        loaded = patiently(&state.config.database, || state.disabled.load(&state.pool)) => loaded?,
    }
    if let Some(agent) = &state.agent {
        let database = &state.config.database;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            opened = patiently(database, || agent::engine::open(&state, agent)) => opened?,
        }
    }
    let listeners = Listeners::open(&state)?;
    let addresses = listeners.addresses;
    let guard = Guard::start(lock, &state);
    let writer = tokio::spawn(writer.run());
    let mut tasks = JoinSet::new();
    tasks.spawn(db::janitor::run(state.clone()));
    tasks.spawn(Publisher::run(
        state.clone(),
        addresses.pubky.port(),
        addresses.http.port(),
    ));
    spawn_following(&state, &mut tasks);
    if let Some(router) = &state.router {
        router.spawn(&state, &mut tasks);
    }
    if let Some(agent) = &state.agent {
        agent::engine::spawn(&state, agent, &mut tasks);
    }
    tasks.spawn(announce::run(state.clone(), addresses.pubky.port()));
    let log = log.zip(start).map(|(log, start)| {
        let state = state.clone();
        tokio::spawn(witness_log::run(state, log, start))
    });
    tracing::info!(plugin = %state.keypair.public_key().z32(), http = %addresses.http, pubky = %addresses.pubky, admin = ?addresses.admin, "listening");
    ready(addresses);
    let outcome = serve(listeners, &state, &guard).await;
    while tasks.join_next().await.is_some() {}
    let logged = finish(log).await;
    let pool = state.pool.clone();
    // With the last state goes the last place to hand work in; the writer finishes what it has and ends.
    drop(state);
    if tokio::time::timeout(LAST_WRITES, writer).await.is_err() {
        tracing::warn!("the last writes took too long; who waited for them got no answer");
    }
    pool.close().await;
    let kept = guard.release().await;
    tracing::info!("stopped");
    outcome.and(logged).and(kept)
}

async fn open_log(
    config: &Config,
    secrets: &Secrets,
    pool: &PgPool,
    metrics: &Metrics,
) -> Result<Option<(WitnessLog, witness_log::Start)>, PluginError> {
    match &secrets.witness_log {
        Some(secret) => WitnessLog::open(config, &secrets.plugin, secret, pool, metrics)
            .await
            .map(Some),
        None => Ok(None),
    }
}

/// Opens the mirrors of what cosigner and watchtower follow.
async fn open_following(
    config: &Config,
    secrets: &Secrets,
    pool: &PgPool,
) -> Result<Following, PluginError> {
    let key = match &secrets.cosigner {
        Some(secret) => {
            Some(patiently(&config.database, || cosigner::keys::open(pool, secret)).await?)
        }
        None => None,
    };
    let following = Following::new(secrets.follow.clone(), key, config.watchtower.enabled)?;
    for log in following.logs() {
        patiently(&config.database, || mirror::store::open(pool, log)).await?;
    }
    Ok(following)
}

fn spawn_following(state: &AppState, tasks: &mut JoinSet<()>) {
    for log in state.follow.logs() {
        tasks.spawn(mirror::poll::run(state.clone(), log.clone()));
    }
    if state.follow.watchtower {
        for peer in &state.config.watchtower.peers {
            tasks.spawn(watchtower::peers::run(state.clone(), peer.clone()));
        }
    }
}

async fn finish(
    log: Option<tokio::task::JoinHandle<Result<(), PluginError>>>,
) -> Result<(), PluginError> {
    match log {
        Some(task) => task
            .await
            .map_err(|error| PluginError::Internal(format!("the log's task failed: {error}")))?,
        None => Ok(()),
    }
}

/// What is opened before the state is put together.
struct Parts {
    pool: PgPool,
    metrics: Metrics,
    log: Option<WitnessLog>,
    follow: Following,
    policies: Vec<String>,
    data_dir: Option<std::path::PathBuf>,
}

async fn take_database(
    config: DatabaseConfig,
    options: PgConnectOptions,
) -> Result<DatabaseLock, PluginError> {
    let mut lock = DatabaseLock::acquire(&config, &options).await?;
    if config.migrate_on_start {
        migrate::run(lock.connection()).await?;
    } else {
        migrate::require_current(lock.connection()).await?;
    }
    Ok(lock)
}

fn assemble(
    config: Config,
    keypair: pubky::Keypair,
    parts: Parts,
    shutdown: CancellationToken,
) -> Result<(AppState, WriterTask), PluginError> {
    let Parts {
        pool,
        metrics,
        log,
        follow,
        policies,
        data_dir,
    } = parts;
    let agent = match config.agent.enabled {
        true => Some(Agent::new(
            &config.agent,
            &config.inbox,
            &policies,
            data_dir.clone(),
            &metrics,
        )?),
        false => None,
    };
    let hub = Hub::new(&config.inbox, metrics.clone());
    let snapshots = Hub::new(&config.inbox, metrics.clone());
    let (writer, task) = Writer::new(
        pool.clone(),
        config.inbox.clone(),
        hub.clone(),
        agent.clone(),
        metrics.clone(),
    );
    let state = AppState::new(Shared {
        news: Hub::new(&config.inbox, metrics.clone()),
        resolver: Resolver::new(&config)?,
        proxies: TrustedProxies::parse(&config.http.trusted_proxies)?,
        limits: RateLimits::new(&config),
        readiness: Readiness::default(),
        admin: Admin::open(&config.admin, data_dir.as_deref())?,
        disabled: Disabled::default(),
        operating: tokio::sync::Mutex::default(),
        data_dir,
        witness_log: log,
        following: FollowMetrics::new(&metrics)?,
        agent,
        announcing: AnnounceMetrics::new(&metrics)?,
        router: Router::open(&config, &metrics)?,
        follow,
        pool,
        metrics,
        keypair,
        hub,
        snapshots,
        writer,
        shutdown,
        config,
    });
    Ok((state, task))
}

/// Watches over the database lock beside the listeners and outlives them.
struct Guard {
    task: tokio::task::JoinHandle<Result<(), PluginError>>,
    /// Cancelled when nothing writes any more.
    done: CancellationToken,
    /// Cancelled by the task when the lock is lost for good.
    lost: CancellationToken,
}

impl Guard {
    fn start(lock: DatabaseLock, state: &AppState) -> Self {
        let (done, lost) = (CancellationToken::new(), CancellationToken::new());
        // Requests that come before the task has run its first line must not be turned away.
        state.readiness.set_lock_held(true);
        let task = tokio::spawn({
            let (done, lost) = (done.clone(), lost.clone());
            let (config, readiness) = (state.config.database.clone(), state.readiness.clone());
            let metrics = state.metrics.clone();
            async move {
                let outcome = lock.keep(&config, &readiness, &metrics, &done).await;
                lost.cancel();
                outcome
            }
        });
        Self { task, done, lost }
    }

    async fn release(self) -> Result<(), PluginError> {
        self.done.cancel();
        self.task
            .await
            .map_err(|error| PluginError::Internal(format!("the lock's keeper failed: {error}")))?
    }
}

struct Listeners {
    http: TcpListener,
    pubky: TcpListener,
    admin: Option<TcpListener>,
    addresses: Addresses,
}

fn listen(
    name: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), PluginError> {
    let failed = |source| PluginError::Listener { name, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

impl Listeners {
    fn open(state: &AppState) -> Result<Self, PluginError> {
        let (http, http_address) = listen("http", state.config.http.listen)?;
        let (pubky, pubky_address) = listen("pubky", state.config.pubky.listen)?;
        let admin = match &state.admin {
            Some(_) => Some(listen("admin", state.config.admin.listen)?),
            None => None,
        };
        let (admin, admin_address) = admin.unzip();
        Ok(Self {
            http,
            pubky,
            admin,
            addresses: Addresses {
                http: http_address,
                pubky: pubky_address,
                admin: admin_address,
            },
        })
    }
}

/// Serves on both listeners until told to stop, or until one fails.
async fn serve(listeners: Listeners, state: &AppState, guard: &Guard) -> Result<(), PluginError> {
    let handle = Handle::new();
    let http_router = http::router(Listener::Http, state)?;
    let pubky_router = http::router(Listener::Pubky, state)?;
    let http = serve_http("http", listeners.http, http_router, handle.clone());
    let admin = async {
        match listeners.admin {
            Some(listener) => {
                let router = admin::http::router(state);
                serve_http("admin", listener, router, handle.clone()).await
            }
            None => Ok(()),
        }
    };
    let tls = state.keypair.as_inner().to_rpk_rustls_server_config();
    let pubky = serve_pubky(listeners.pubky, pubky_router, tls, handle.clone());
    let both = async {
        let (http, pubky, admin) = tokio::join!(
            stop_if_failed(http, state),
            stop_if_failed(pubky, state),
            stop_if_failed(admin, state)
        );
        http.and(pubky).and(admin)
    };
    let stopping = async {
        tokio::select! {
            () = state.shutdown.cancelled() => {}
            () = guard.lost.cancelled() => {}
        }
        state.readiness.set_stopping();
        state.shutdown.cancel();
        drain(&state.config.http, &handle);
    };
    tokio::join!(both, stopping).0
}

async fn stop_if_failed(
    server: impl Future<Output = Result<(), PluginError>>,
    state: &AppState,
) -> Result<(), PluginError> {
    let outcome = server.await;
    if outcome.is_err() {
        state.shutdown.cancel();
    }
    outcome
}

fn drain(config: &HttpConfig, handle: &Handle<SocketAddr>) {
    tracing::info!("stopping: open requests may finish");
    handle.graceful_shutdown(Some(config.drain_timeout()));
}

async fn serve_http(
    name: &'static str,
    listener: TcpListener,
    router: axum::Router,
    handle: Handle<SocketAddr>,
) -> Result<(), PluginError> {
    let failed = |source| PluginError::Listener { name, source };
    let mut server = axum_server::from_tcp(listener)
        .map_err(failed)?
        .handle(handle);
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    server
        .serve(router.into_make_service_with_connect_info::<SocketAddr>())
        .await
        .map_err(failed)
}

async fn serve_pubky(
    listener: TcpListener,
    router: axum::Router,
    tls: rustls::ServerConfig,
    handle: Handle<SocketAddr>,
) -> Result<(), PluginError> {
    let failed = |source| PluginError::Listener {
        name: "pubky",
        source,
    };
    let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(Arc::new(tls)))
        .handshake_timeout(HEADER_TIMEOUT);
    let mut server = axum_server::from_tcp(listener)
        .map_err(failed)?
        .acceptor(acceptor)
        .handle(handle);
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    server
        .serve(router.into_make_service_with_connect_info::<SocketAddr>())
        .await
        .map_err(failed)
}
