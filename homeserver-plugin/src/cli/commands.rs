//! The commands other than `init`.

use std::path::Path;
use std::process::ExitCode;

use atomicity_plugin::db::{lock::DatabaseLock, migrate as schema, pool};
use atomicity_plugin::secret::Secrets;
use atomicity_plugin::server::{self, Addresses};
use atomicity_plugin::{Config, PluginError, doctor as diagnosis, log};
use sqlx::ConnectOptions as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub async fn run(config: Config, data_dir: &Path) -> Result<ExitCode, PluginError> {
    log::start(&config.log)?;
    let secrets = Secrets::load(data_dir, &config)?;
    let plugin = secrets.plugin.public_key().z32();
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone())?);
    server::run(config, secrets, stop, |addresses| {
        announce(&plugin, addresses)
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// One line for whoever started the process.
fn announce(plugin: &str, addresses: Addresses) {
    let line = serde_json::json!({
        "ready": true,
        "plugin": plugin,
        "http": addresses.http.to_string(),
        "pubky": addresses.pubky.to_string(),
        "admin": addresses.admin.map(|address| address.to_string()),
    });
    say!("{line}");
}

fn stop_on_signal(
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + Send + 'static, PluginError> {
    let failed = |error| PluginError::Internal(format!("signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.cancel();
    })
}

pub fn check_config(config: &Config, data_dir: &Path) -> Result<ExitCode, PluginError> {
    pool::options(&config.database)?;
    let keypair = Secrets::load(data_dir, config)?.plugin;
    say!(
        "the configuration is valid; plugin key: {}",
        keypair.public_key().z32()
    );
    Ok(ExitCode::SUCCESS)
}

pub async fn doctor(
    config: &Config,
    places: &diagnosis::Places<'_>,
    json: bool,
) -> Result<ExitCode, PluginError> {
    let report = diagnosis::run(config, places).await;
    if json {
        print_json(&report)?;
    } else {
        for check in &report.checks {
            let mark = match check.level {
                diagnosis::Level::Ok => "ok  ",
                diagnosis::Level::Warn => "WARN",
                diagnosis::Level::Fail => "FAIL",
            };
            say!("{mark} {}: {}", check.check, check.detail);
            if let Some(hint) = &check.hint {
                say!("     {hint}");
            }
        }
    }
    Ok(if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Says what is wrong with the configuration, to programs in the form that they expect.
pub fn doctor_without_config(
    error: PluginError,
    config_file: &Path,
    json: bool,
) -> Result<ExitCode, PluginError> {
    if json {
        print_json(&diagnosis::Report::without_config(&error, config_file))?;
    }
    Err(error)
}

fn print_json(report: &diagnosis::Report) -> Result<(), PluginError> {
    let text =
        serde_json::to_string(report).map_err(|error| PluginError::Internal(error.to_string()))?;
    say!("{text}");
    Ok(())
}

pub async fn migrate(config: &Config, check: bool) -> Result<ExitCode, PluginError> {
    let options = pool::options(&config.database)?;
    if check {
        let mut connection = options.connect().await?;
        let state = schema::state(&mut connection).await?;
        say!("schema {} of {}", state.applied, state.known);
        return Ok(if state.is_current() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    // The lock keeps a running plugin and a migration apart.
    let mut lock = DatabaseLock::acquire(&config.database, &options).await?;
    schema::run(lock.connection()).await?;
    let state = schema::state(lock.connection()).await?;
    say!("schema {} of {}", state.applied, state.known);
    Ok(ExitCode::SUCCESS)
}
