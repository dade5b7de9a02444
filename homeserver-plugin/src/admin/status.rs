//! Everything at a glance: what waits, what is signed, how far logs and crawls are, and how much room is left.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::audit::{self, AuditEntry};
use crate::clock;
use crate::db::migrate;
use crate::doctor::disk;
use crate::error::PluginError;
use crate::state::AppState;
use crate::witness_log;

/// How long the database gets for all of it.
const PATIENCE: Duration = Duration::from_secs(8);
const DAY_MS: i64 = 86_400_000;
/// The last actions that are shown with it.
const ACTIONS: i64 = 5;

/// How the plugin stands.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AdminStatus {
    /// The plugin's key, z-base-32.
    pub plugin: String,
    /// Version of the software.
    pub version: String,
    /// When this was so, Unix milliseconds.
    pub at: i64,
    /// Whether it may be sent requests.
    pub ready: bool,
    /// Why not, if not: `draining`, `stopping`, `database_lock_not_held`.
    pub obstacle: Option<String>,
    /// Whether new work is refused because an operator wanted that.
    pub draining: bool,
    /// Live streams that are open.
    pub streams: i64,
    /// Accounts and what waits for them.
    pub accounts: AccountTotals,
    /// Agents, if it keeps books for users.
    pub agents: Option<AgentTotals>,
    /// The log, if it runs one.
    pub log: Option<LogStatus>,
    /// Logs of others that it follows.
    pub followed: Vec<FollowedLog>,
    /// The crawl, if it is a router.
    pub router: Option<CrawlStatus>,
    /// The database.
    pub database: DatabaseStatus,
    /// Room on the disks that can be looked at from here.
    pub disks: Vec<DiskStatus>,
    /// Bounds that the operator set, or left as they are.
    pub limits: Vec<Limit>,
    /// What operators did last.
    pub actions: Vec<AuditEntry>,
}

/// Accounts, counted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AccountTotals {
    /// Open ones, switched off or not.
    pub open: i64,
    /// Those whose users left.
    pub closed: i64,
    /// Those that are switched off.
    pub disabled: i64,
    /// Envelopes that wait.
    pub queued: i64,
    /// Bytes that wait.
    pub queued_bytes: i64,
    /// When the oldest envelope came that waits, Unix milliseconds.
    pub oldest_at: Option<i64>,
    /// Sessions that are open.
    pub sessions: i64,
}

/// Agents, counted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AgentTotals {
    /// At work.
    pub active: i64,
    /// Stopped.
    pub stopped: i64,
    /// Pairs of friends whose books are kept.
    pub pairs: i64,
    /// Users whose books are worked on at this moment, or wait for that.
    pub working: u64,
    /// Records that can't be judged yet.
    pub held: i64,
    /// Parcels that wait to be sent.
    pub to_send: i64,
    /// Promises that no log has decided.
    pub promises: i64,
    /// Spends that are open.
    pub spends: i64,
    /// Signatures in the last 24 hours.
    pub signed_in_a_day: i64,
}

/// The log that this plugin runs.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LogStatus {
    /// Its name.
    pub origin: String,
    /// `running`, `comparing`, or why it stopped.
    pub status: String,
    /// Entries that were sequenced.
    pub size: i64,
    /// Entries under the newest checkpoint that enough cosigners signed.
    pub published_size: i64,
    /// The time of the newest entry, Unix milliseconds.
    pub newest_at: Option<i64>,
    /// Its cosigners, and how they answered last.
    pub cosigners: Vec<CosignerStatus>,
    /// How many must sign.
    pub quorum: u64,
    /// Cosigners that have buried it.
    pub tombstones: i64,
}

/// How a cosigner of the log stands, since the plugin was started.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CosignerStatus {
    /// Its name.
    pub name: String,
    /// When it last cosigned, Unix milliseconds.
    pub cosigned_at: Option<i64>,
    /// When it was last asked.
    pub asked_at: Option<i64>,
    /// What came of that: `cosigned`, `refused`, `unreachable`, `tombstoned`, `ahead`.
    pub outcome: Option<String>,
}

/// A log of somebody else.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FollowedLog {
    /// Its name.
    pub origin: String,
    /// Entries that were read and verified.
    pub size: i64,
    /// The time of the newest of them, Unix milliseconds.
    pub newest_at: Option<i64>,
    /// The largest tree of it that was cosigned here.
    pub cosigned_size: i64,
    /// Whether it was buried here.
    pub buried: bool,
    /// Proofs that it, or a cosigner of it, lied.
    pub proofs: i64,
}

/// How far the crawl is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CrawlStatus {
    /// Users that are known.
    pub users: i64,
    /// Of these, those that were read at least once.
    pub visited: i64,
    /// Those whose turn it is.
    pub due: i64,
    /// Those that could not be read last time.
    pub failing: i64,
    /// Homeservers that are known.
    pub homeservers: i64,
    /// Of these, those that did not answer last time.
    pub failing_homeservers: i64,
    /// Advertisements that are in force.
    pub adverts: i64,
    /// Users who exchange.
    pub rates: i64,
}

/// The database.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DatabaseStatus {
    /// Its version, as it says itself.
    pub version: String,
    /// The newest change of the schema that was applied.
    pub schema: i64,
    /// The newest that this version knows.
    pub schema_known: i64,
    /// What it weighs on disk, in bytes.
    pub bytes: i64,
    /// Connections of the pool that are open.
    pub connections: u32,
    /// Of these, those with nothing to do.
    pub idle: u64,
}

/// Room on a disk.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DiskStatus {
    /// Of which folder.
    pub path: String,
    /// What is left, in bytes.
    pub free_bytes: u64,
}

/// A bound.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Limit {
    /// The setting.
    #[schema(example = "inbox.account_envelopes")]
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Collects it.
///
/// # Errors
/// [`PluginError::Database`]; `database_unavailable` if it does not answer in time.
pub async fn collect(state: &AppState) -> Result<AdminStatus, PluginError> {
    let pool = &state.pool;
    let reading = async {
        Ok::<_, PluginError>((
            accounts(pool).await?,
            match &state.agent {
                Some(agent) => Some(agents(pool, agent.work().len()).await?),
                None => None,
            },
            match &state.witness_log {
                Some(log) => Some(own_log(state, log).await?),
                None => None,
            },
            followed(pool).await?,
            match &state.router {
                Some(_) => Some(crawl(pool).await?),
                None => None,
            },
            database(pool).await?,
            audit::page(pool, None, i64::MAX, ACTIONS).await?,
        ))
    };
    let (accounts, agents, log, followed, router, database, actions) = timeout(PATIENCE, reading)
        .await
        .map_err(|_| PluginError::NotReady)??;
    let obstacle = state.readiness.obstacle();
    Ok(AdminStatus {
        plugin: state.keypair.public_key().z32(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: clock::now_ms(),
        ready: obstacle.is_none(),
        obstacle: obstacle.map(str::to_owned),
        draining: state.readiness.is_draining(),
        streams: state.metrics.open_streams(),
        accounts,
        agents,
        log,
        followed,
        router,
        database,
        disks: disks(state),
        limits: limits(state),
        actions,
    })
}

async fn accounts(pool: &PgPool) -> Result<AccountTotals, PluginError> {
    let row = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE closed_at IS NULL) AS "open!",
                  count(*) FILTER (WHERE closed_at IS NOT NULL) AS "closed!",
                  count(*) FILTER (WHERE disabled_at IS NOT NULL) AS "disabled!",
                  COALESCE(sum(queued), 0)::bigint AS "queued!",
                  COALESCE(sum(queued_bytes), 0)::bigint AS "queued_bytes!",
                  (SELECT min(received_at) FROM envelopes WHERE acked_at IS NULL) AS oldest_at,
                  (SELECT count(*) FROM sessions WHERE expires_at > $1) AS "sessions!"
           FROM accounts"#,
        clock::now_ms()
    )
    .fetch_one(pool)
    .await?;
    Ok(AccountTotals {
        open: row.open,
        closed: row.closed,
        disabled: row.disabled,
        queued: row.queued,
        queued_bytes: row.queued_bytes,
        oldest_at: row.oldest_at,
        sessions: row.sessions,
    })
}

async fn agents(pool: &PgPool, working: usize) -> Result<AgentTotals, PluginError> {
    let row = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE status = 'active') AS "active!",
                  count(*) FILTER (WHERE status = 'stopped') AS "stopped!",
                  (SELECT count(*) FROM agent_pairs WHERE status = 'kept') AS "pairs!",
                  (SELECT count(*) FROM agent_held) AS "held!",
                  (SELECT count(*) FROM agent_outbox) AS "to_send!",
                  (SELECT count(DISTINCT (owner, iou)) FROM agent_promises) AS "promises!",
                  (SELECT count(*) FROM agent_spends WHERE ended_at IS NULL) AS "spends!",
                  (SELECT count(*) FROM agent_journal WHERE at >= $1) AS "signed!"
           FROM agents"#,
        clock::now_ms().saturating_sub(DAY_MS)
    )
    .fetch_one(pool)
    .await?;
    Ok(AgentTotals {
        active: row.active,
        stopped: row.stopped,
        pairs: row.pairs,
        working: u64::try_from(working).unwrap_or(u64::MAX),
        held: row.held,
        to_send: row.to_send,
        promises: row.promises,
        spends: row.spends,
        signed_in_a_day: row.signed,
    })
}

async fn own_log(
    state: &AppState,
    log: &witness_log::WitnessLog,
) -> Result<LogStatus, PluginError> {
    let origin = log.origin();
    let config = &state.config.witness_log;
    // A verifier key begins with its name.
    let cosigners = config.cosigners.iter().map(|cosigner| {
        let name = cosigner.vkey.split('+').next().unwrap_or_default();
        let standing = log.standings().of(name);
        CosignerStatus {
            name: name.to_owned(),
            cosigned_at: standing.cosigned_at,
            asked_at: standing.asked_at,
            outcome: standing.outcome.map(str::to_owned),
        }
    });
    let row = sqlx::query!(
        r#"SELECT size, published_size, last_time_ms,
                  (SELECT count(*) FROM log_tombstones t WHERE t.log = l.log) AS "tombstones!"
           FROM logs l WHERE origin = $1"#,
        origin
    )
    .fetch_one(&state.pool)
    .await?;
    let status = match log.status() {
        witness_log::Status::Running => "running",
        witness_log::Status::Comparing => "comparing",
        witness_log::Status::Stopped(why) => why,
    };
    Ok(LogStatus {
        cosigners: cosigners.collect(),
        quorum: u64::try_from(config.quorum).unwrap_or(u64::MAX),
        origin,
        status: status.to_owned(),
        size: row.size,
        published_size: row.published_size,
        newest_at: row.last_time_ms,
        tombstones: row.tombstones,
    })
}

async fn followed(pool: &PgPool) -> Result<Vec<FollowedLog>, PluginError> {
    let rows = sqlx::query!(
        r#"SELECT origin, size, newest_ms, cosigned_size, tombstone IS NOT NULL AS "buried!",
                  (SELECT count(*) FROM fork_proofs f WHERE f.log = m.log) AS "proofs!"
           FROM mirrors m ORDER BY origin LIMIT 1000"#
    )
    .fetch_all(pool)
    .await?;
    let logs = rows.into_iter().map(|row| FollowedLog {
        origin: row.origin,
        size: row.size,
        newest_at: row.newest_ms,
        cosigned_size: row.cosigned_size,
        buried: row.buried,
        proofs: row.proofs,
    });
    Ok(logs.collect())
}

async fn crawl(pool: &PgPool) -> Result<CrawlStatus, PluginError> {
    let row = sqlx::query!(
        r#"SELECT count(*) AS "users!",
                  count(*) FILTER (WHERE visited_at IS NOT NULL) AS "visited!",
                  count(*) FILTER (WHERE next_at <= $1) AS "due!",
                  count(*) FILTER (WHERE failures > 0) AS "failing!",
                  (SELECT count(*) FROM router_home) AS "homeservers!",
                  (SELECT count(*) FROM router_home WHERE failures > 0) AS "failing_homeservers!",
                  (SELECT count(*) FROM router_advert WHERE expires > $1 AND NOT withdrawn) AS "adverts!",
                  (SELECT count(*) FROM router_rates WHERE expires > $1 AND NOT withdrawn) AS "rates!"
           FROM router_user"#,
        clock::now_ms()
    )
    .fetch_one(pool)
    .await?;
    Ok(CrawlStatus {
        users: row.users,
        visited: row.visited,
        due: row.due,
        failing: row.failing,
        homeservers: row.homeservers,
        failing_homeservers: row.failing_homeservers,
        adverts: row.adverts,
        rates: row.rates,
    })
}

async fn database(pool: &PgPool) -> Result<DatabaseStatus, PluginError> {
    let mut connection = pool.acquire().await?;
    let row = sqlx::query!(
        r#"SELECT pg_database_size(current_database()) AS "bytes!", current_setting('server_version') AS "version!""#
    )
    .fetch_one(&mut *connection)
    .await?;
    let schema = migrate::state(&mut connection).await?;
    Ok(DatabaseStatus {
        version: row.version,
        schema: schema.applied,
        schema_known: schema.known,
        bytes: row.bytes,
        connections: pool.size(),
        idle: u64::try_from(pool.num_idle()).unwrap_or(u64::MAX),
    })
}

fn disks(state: &AppState) -> Vec<DiskStatus> {
    let Some(data_dir) = &state.data_dir else {
        return Vec::new();
    };
    let places = disk::places(&state.config.database, data_dir);
    let free = places.into_iter().filter_map(|path| {
        let free_bytes = disk::free_bytes(&path)?;
        Some(DiskStatus {
            path: path.display().to_string(),
            free_bytes,
        })
    });
    free.collect()
}

fn limits(state: &AppState) -> Vec<Limit> {
    let config = &state.config;
    let (accounts, inbox, http) = (&config.accounts, &config.inbox, &config.http);
    let mut limits = vec![
        ("accounts.max", accounts.max.to_string()),
        (
            "accounts.open_registration",
            accounts.open_registration.to_string(),
        ),
        (
            "sessions.max_per_user",
            config.sessions.max_per_user.to_string(),
        ),
        (
            "inbox.account_envelopes",
            inbox.account_envelopes.to_string(),
        ),
        ("inbox.account_bytes", inbox.account_bytes.to_string()),
        (
            "inbox.strangers_envelopes",
            inbox.strangers_envelopes.to_string(),
        ),
        ("inbox.streams", inbox.streams.to_string()),
        (
            "http.requests_per_second",
            http.requests_per_second.to_string(),
        ),
        (
            "database.max_connections",
            config.database.max_connections.to_string(),
        ),
    ];
    if state.agent.is_some() {
        limits.push(("agent.max_users", config.agent.max_users.to_string()));
        limits.push((
            "agent.max_pairs_per_user",
            config.agent.max_pairs_per_user.to_string(),
        ));
    }
    if state.router.is_some() {
        limits.push(("router.max_users", config.router.max_users.to_string()));
        limits.push((
            "router.queries_per_minute",
            config.router.queries_per_minute.to_string(),
        ));
    }
    let named = limits.into_iter().map(|(name, value)| Limit {
        name: name.to_owned(),
        value,
    });
    named.collect()
}
