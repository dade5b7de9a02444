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
/// The oldest major version of Postgres that the tests run on.
const OLDEST: u32 = 14;

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
        let reachable = server(connection.server_version_num(), &version);
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

/// The server counts its versions in ten thousands: 150012 is 15.12.
fn server(number: Option<u32>, version: &str) -> Check {
    const NAME: &str = "database";
    match number {
        Some(number) if number / 10_000 < OLDEST => Check::fail(
            NAME,
            format!("reachable, but Postgres {version} is too old"),
            format!("move the database to Postgres {OLDEST} or newer: dump and restore it"),
        ),
        _ => Check::ok(NAME, format!("reachable, Postgres {version}")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_server_of_before_the_oldest_is_told() {
        for (number, level) in [
            (Some(130_021), Level::Fail),
            (Some(90_624), Level::Fail),
            (Some(140_000), Level::Ok),
            (Some(170_002), Level::Ok),
            // Some servers that speak the protocol have numbers of their own, or none.
            (None, Level::Ok),
        ] {
            assert_eq!(server(number, "x").level, level, "{number:?}");
        }
    }
}
