//! Connections to the database.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::config::DatabaseConfig;
use crate::error::PluginError;

/// How the database is connected to.
///
/// # Errors
/// [`PluginError::Config`] if the URL can't be read. The URL is not shown: it holds the password.
pub fn options(config: &DatabaseConfig) -> Result<PgConnectOptions, PluginError> {
    let options = PgConnectOptions::from_str(&config.url)
        .map_err(|_| PluginError::Config("database.url can't be read".to_owned()))?;
    Ok(options.application_name("atomicity-homeserver").options([
        // What is answered with success has reached the disk, whatever the server's default.
        ("synchronous_commit", "on".to_owned()),
        ("statement_timeout", config.statement_timeout_ms.to_string()),
        ("idle_in_transaction_session_timeout", "30000".to_owned()),
    ]))
}

/// A pool that connects when it is first needed and reconnects by itself after an outage.
#[must_use]
pub fn open(config: &DatabaseConfig, options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(Duration::from_millis(config.acquire_timeout_ms))
        .test_before_acquire(true)
        .connect_lazy_with(options)
}
