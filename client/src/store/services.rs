//! Services of plugins: who proved which key and role, how they fared, and what the user thinks of them.

use atomicity_ledger::UserKey;
use sqlx::SqliteConnection;

use super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;
use crate::net::{Found, Role};

/// The most services that are remembered. The user's own choices are never forgotten.
const MAX_SERVICES: i64 = 512;

/// What the user decided about a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// Chosen by the user: asked first.
    Named,
    /// Never asked.
    Blocked,
}

impl Stance {
    fn as_str(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Blocked => "blocked",
        }
    }
}

/// One service, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceRow {
    pub key: UserKey,
    pub stance: Option<Stance>,
    pub address: Option<String>,
    pub version: String,
    pub proven_at: Option<u64>,
    pub latency_ms: Option<u64>,
    pub successes: u64,
    pub failures: u64,
    pub failed_at: Option<u64>,
    pub roles: Vec<(Role, String)>,
}

/// All that are remembered.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<ServiceRow>, ClientError> {
    let rows = sqlx::query!(
        "SELECT key, stance, address, version, proven_at, latency_ms, successes, failures, failed_at
         FROM service ORDER BY key LIMIT 4096"
    )
    .fetch_all(&mut *conn)
    .await?;
    let roles = sqlx::query!("SELECT key, role, description FROM service_role ORDER BY key, role")
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            let own = roles.iter().filter(|role| role.key == row.key);
            Ok(ServiceRow {
                key: parse_own(&row.key, "the key of a service")?,
                stance: row.stance.map(|stance| match stance.as_str() {
                    "named" => Stance::Named,
                    _ => Stance::Blocked,
                }),
                address: row.address,
                version: row.version,
                proven_at: row.proven_at.map(from_sql),
                latency_ms: row.latency_ms.map(from_sql),
                successes: from_sql(row.successes),
                failures: from_sql(row.failures),
                failed_at: row.failed_at.map(from_sql),
                roles: own
                    .filter_map(|role| {
                        Some((Role::from_name(&role.role)?, role.description.clone()))
                    })
                    .collect(),
            })
        })
        .collect()
}

/// Keeps what a service proved and said. Forgets those that nobody chose and that were not seen the longest, if there are too many.
pub(crate) async fn proven(
    conn: &mut SqliteConnection,
    found: &Found,
    now: u64,
) -> Result<(), ClientError> {
    let key = found.key.to_z32();
    let address = found.address.map(|address| address.to_string());
    let latency = to_sql(u64::try_from(found.latency.as_millis()).unwrap_or(u64::MAX));
    let now = to_sql(now);
    sqlx::query!(
        "INSERT INTO service (key, address, version, proven_at, latency_ms, successes, added_at) VALUES (?, ?, ?, ?, ?, 1, ?)
         ON CONFLICT (key) DO UPDATE SET address = coalesce(excluded.address, address), version = excluded.version, proven_at = excluded.proven_at,
            latency_ms = excluded.latency_ms, successes = successes + 1",
        key,
        address,
        found.version,
        now,
        latency,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("DELETE FROM service_role WHERE key = ?", key)
        .execute(&mut *conn)
        .await?;
    for (role, description) in &found.roles {
        let (role, description) = (role.name(), description.to_string());
        sqlx::query!(
            "INSERT INTO service_role (key, role, description) VALUES (?, ?, ?)",
            key,
            role,
            description
        )
        .execute(&mut *conn)
        .await?;
    }
    sqlx::query!(
        "DELETE FROM service WHERE stance IS NULL AND key NOT IN (
            SELECT key FROM service WHERE stance IS NULL ORDER BY proven_at DESC LIMIT ?)",
        MAX_SERVICES
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes how a service fared: how long it took to answer, or that it failed.
pub(crate) async fn fared(
    conn: &mut SqliteConnection,
    key: &UserKey,
    latency_ms: Option<u64>,
    now: u64,
) -> Result<(), ClientError> {
    let (key, now) = (key.to_z32(), to_sql(now));
    match latency_ms.map(to_sql) {
        Some(latency) => {
            sqlx::query!(
                "UPDATE service SET successes = successes + 1, latency_ms = ?, proven_at = ? WHERE key = ?",
                latency,
                now,
                key
            )
            .execute(conn)
            .await?
        }
        None => {
            sqlx::query!(
                "UPDATE service SET failures = failures + 1, failed_at = ? WHERE key = ?",
                now,
                key
            )
            .execute(conn)
            .await?
        }
    };
    Ok(())
}

/// Keeps what the user decided about a service; `None`: it is as if they had never said anything.
pub(crate) async fn decide(
    conn: &mut SqliteConnection,
    key: &UserKey,
    stance: Option<Stance>,
    now: u64,
) -> Result<(), ClientError> {
    let (key, now) = (key.to_z32(), to_sql(now));
    let stance = stance.map(Stance::as_str);
    sqlx::query!(
        "INSERT INTO service (key, stance, added_at) VALUES (?, ?, ?)
         ON CONFLICT (key) DO UPDATE SET stance = excluded.stance",
        key,
        stance,
        now
    )
    .execute(&mut *conn)
    .await?;
    // What was never seen is worth nothing if it was not chosen either.
    sqlx::query!("DELETE FROM service WHERE stance IS NULL AND proven_at IS NULL")
        .execute(conn)
        .await?;
    Ok(())
}

/// When providers of `role` were last looked for.
pub(crate) async fn searched(
    conn: &mut SqliteConnection,
    role: Role,
) -> Result<Option<u64>, ClientError> {
    let role = role.name();
    let row = sqlx::query!(
        "SELECT searched_at FROM service_search WHERE role = ?",
        role
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| from_sql(row.searched_at)))
}

/// Notes that providers of `role` were looked for.
pub(crate) async fn note_search(
    conn: &mut SqliteConnection,
    role: Role,
    now: u64,
) -> Result<(), ClientError> {
    let (role, now) = (role.name(), to_sql(now));
    sqlx::query!(
        "INSERT INTO service_search (role, searched_at) VALUES (?, ?)
         ON CONFLICT (role) DO UPDATE SET searched_at = excluded.searched_at",
        role,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
