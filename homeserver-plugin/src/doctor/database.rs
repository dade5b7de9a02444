//! The database: reachable, schema current, rights enough, and ours alone.

use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnection;
use tokio::time::timeout;

use super::Check;
use crate::config::DatabaseConfig;
use crate::db::{migrate, pool};
use crate::error::PluginError;

const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn look(config: &DatabaseConfig) -> Vec<Check> {
    const NAME: &str = "database";
    let options = match pool::options(config) {
        Ok(options) => options,
        Err(error) => return vec![Check::fail(NAME, error.to_string(), "correct database.url")],
    };
    let mut connection = match timeout(PATIENCE, options.connect()).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            let hint = "is Postgres running, does the database exist, are user and password right?";
            return vec![Check::fail(NAME, error.to_string(), hint)];
        }
        Err(_) => {
            let hint = "look at host and port in database.url and at firewalls on the way";
            return vec![Check::fail(NAME, "no answer in time", hint)];
        }
    };
    let look_inside = async {
        let version =
            sqlx::query_scalar!(r#"SELECT current_setting('server_version') AS "version!""#)
                .fetch_one(&mut connection)
                .await
                .unwrap_or_else(|_| "of unknown version".to_owned());
        let reachable = Check::ok(NAME, format!("reachable, Postgres {version}"));
        let rights = rights(&mut connection).await;
        vec![reachable, schema(&mut connection, config).await, rights]
    };
    match timeout(PATIENCE, look_inside).await {
        Ok(checks) => checks,
        Err(_) => vec![Check::fail(
            NAME,
            "it stopped answering",
            "look at Postgres's log and load",
        )],
    }
}

async fn schema(connection: &mut PgConnection, config: &DatabaseConfig) -> Check {
    const NAME: &str = "schema";
    match migrate::state(connection).await {
        Ok(state) if state.is_current() => {
            Check::ok(NAME, format!("current, at {}", state.applied))
        }
        Ok(state) if state.applied > state.known => Check::fail(
            NAME,
            format!(
                "at {}, which is newer than this version knows ({})",
                state.applied, state.known
            ),
            "install the newer version again, or restore the backup made before the upgrade",
        ),
        Ok(state) if config.migrate_on_start => Check::warn(
            NAME,
            format!("at {} of {}", state.applied, state.known),
            "it is brought up to date at the next start; make a backup before",
        ),
        Ok(state) => Check::fail(
            NAME,
            format!("at {} of {}", state.applied, state.known),
            "make a backup, then run: atomicity-homeserver migrate",
        ),
        Err(error) => Check::fail(
            NAME,
            error.to_string(),
            "restore the backup made before the upgrade",
        ),
    }
}

/// Reading and writing every table that is there, and making those that are not.
async fn rights(connection: &mut PgConnection) -> Check {
    const NAME: &str = "rights";
    let found: Result<_, PluginError> = async {
        let can_create = sqlx::query_scalar!(
            r#"SELECT has_schema_privilege(current_schema(), 'CREATE') AS "can!""#
        )
        .fetch_one(&mut *connection)
        .await?;
        let closed = sqlx::query_scalar!(
            r#"SELECT tablename::text AS "name!" FROM pg_tables
               WHERE schemaname = current_schema()
                 AND NOT has_table_privilege(format('%I.%I', schemaname, tablename), 'SELECT, INSERT, UPDATE, DELETE')
               ORDER BY tablename LIMIT 5"#
        )
        .fetch_all(&mut *connection)
        .await?;
        Ok((can_create, closed))
    }
    .await;
    match found {
        Ok((_, closed)) if !closed.is_empty() => Check::fail(
            NAME,
            format!("no right to read and write: {}", closed.join(", ")),
            "let the service's database user own the database and everything in it",
        ),
        Ok((false, _)) => Check::fail(
            NAME,
            "no right to make tables, which upgrades need",
            "GRANT CREATE ON SCHEMA public TO the service's database user, or let it own the database",
        ),
        Ok((true, _)) => Check::ok(NAME, "the tables can be read, written and changed"),
        Err(error) => Check::fail(NAME, error.to_string(), "look at Postgres's log"),
    }
}
