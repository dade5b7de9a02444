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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use atomicity_ledger::Keypair;

    use super::*;
    use crate::store::Store;

    fn key(n: u32) -> UserKey {
        let mut secret = [5; 32];
        secret[..4].copy_from_slice(&n.to_be_bytes());
        Keypair::from_secret(&secret).user_key()
    }

    fn found(n: u32, roles: &[Role]) -> Found {
        let described = |role: &Role| (*role, serde_json::json!({ "path": "/" }));
        let roles = roles.iter().map(described).collect();
        Found::by_key(key(n), Duration::from_millis(7), "1", roles)
    }

    #[tokio::test]
    async fn what_was_proven_last_counts_and_choices_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).await.unwrap();
        let mut tx = store.write().await.unwrap();
        let conn = tx.conn();
        let both = found(1, &[Role::Router, Role::Watchtower]);
        proven(conn, &both, 10).await.unwrap();
        decide(conn, &key(1), Some(Stance::Blocked), 11)
            .await
            .unwrap();
        fared(conn, &key(1), None, 12).await.unwrap();
        proven(conn, &found(1, &[Role::Router]), 20).await.unwrap();
        let rows = list(conn).await.unwrap();
        assert_eq!(rows.len(), 1);
        let row = &rows[0];
        assert_eq!(
            row.roles.iter().map(|(r, _)| *r).collect::<Vec<_>>(),
            [Role::Router]
        );
        assert_eq!(row.stance, Some(Stance::Blocked));
        assert_eq!((row.successes, row.failures), (2, 1));
        assert_eq!((row.proven_at, row.failed_at), (Some(20), Some(12)));
        // A choice about somebody who was never seen is forgotten when it is taken back; one who was seen is not.
        decide(conn, &key(2), Some(Stance::Named), 30)
            .await
            .unwrap();
        decide(conn, &key(2), None, 31).await.unwrap();
        decide(conn, &key(1), None, 32).await.unwrap();
        let rows = list(conn).await.unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].key, rows[0].stance), (key(1), None));
    }

    #[tokio::test]
    async fn a_flood_of_services_pushes_out_the_oldest_and_no_choice() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).await.unwrap();
        let mut tx = store.write().await.unwrap();
        let conn = tx.conn();
        let most = u32::try_from(MAX_SERVICES).unwrap();
        proven(conn, &found(0, &[Role::Router]), 1).await.unwrap();
        decide(conn, &key(0), Some(Stance::Named), 1).await.unwrap();
        for n in 1..=most + 3 {
            let at = u64::from(n) + 1;
            proven(conn, &found(n, &[Role::Router]), at).await.unwrap();
        }
        let rows = list(conn).await.unwrap();
        let keys: Vec<UserKey> = rows.iter().map(|row| row.key).collect();
        assert_eq!(rows.len(), usize::try_from(most).unwrap() + 1);
        assert!(keys.contains(&key(0)));
        assert!((1..=3).all(|n| !keys.contains(&key(n))));
        assert!(keys.contains(&key(4)));
    }
}
