//! The schema, brought up to date by numbered files that are compiled in. Forward only.

use sqlx::migrate::{Migrate as _, Migrator};
use sqlx::postgres::PgConnection;

use crate::error::PluginError;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

fn failed(error: impl std::fmt::Display) -> PluginError {
    PluginError::Migration(error.to_string())
}

/// Where the schema stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaState {
    /// Number of the newest file that was applied; 0 for none.
    pub applied: i64,
    /// Number of the newest file this version knows.
    pub known: i64,
}

impl SchemaState {
    /// Whether this version can work with the schema.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.applied == self.known
    }
}

/// Brings the schema up to date.
///
/// # Errors
/// [`PluginError::Migration`] if a file fails, was changed after it was applied, or the schema is newer than this version.
pub async fn run(connection: &mut PgConnection) -> Result<(), PluginError> {
    // A migration may take longer than any request should.
    sqlx::query("SET statement_timeout = 0")
        .execute(&mut *connection)
        .await?;
    MIGRATIONS.run(connection).await.map_err(failed)
}

/// Where the schema stands, changing nothing.
///
/// # Errors
/// [`PluginError::Migration`] if an earlier run was cut off or the history can't be read.
pub async fn state(connection: &mut PgConnection) -> Result<SchemaState, PluginError> {
    let known = MIGRATIONS
        .iter()
        .map(|file| file.version)
        .max()
        .unwrap_or(0);
    let exists =
        sqlx::query_scalar!(r#"SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS "exists!""#)
            .fetch_one(&mut *connection)
            .await?;
    if !exists {
        return Ok(SchemaState { applied: 0, known });
    }
    if let Some(version) = connection.dirty_version().await.map_err(failed)? {
        return Err(PluginError::Migration(format!(
            "file {version} was cut off: restore the backup made before the upgrade"
        )));
    }
    let list = connection.list_applied_migrations().await.map_err(failed)?;
    let applied = list.iter().map(|file| file.version).max().unwrap_or(0);
    Ok(SchemaState { applied, known })
}

/// Refuses a schema this version can't work with.
///
/// # Errors
/// [`PluginError::Migration`].
pub async fn require_current(connection: &mut PgConnection) -> Result<(), PluginError> {
    let state = state(connection).await?;
    if state.is_current() {
        return Ok(());
    }
    Err(PluginError::Migration(format!(
        "it is at {} and this version needs {}: run `atomicity-homeserver migrate`",
        state.applied, state.known
    )))
}
