//! Log lines, for people or as JSON.

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};
use crate::error::PluginError;

/// Starts logging to stderr.
///
/// # Errors
/// [`PluginError::Config`] if the filter can't be read or logging was started before.
pub fn start(config: &LogConfig) -> Result<(), PluginError> {
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|error| PluginError::Config(format!("log.filter: {error}")))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    started.map_err(|error| PluginError::Config(format!("log: {error}")))
}
