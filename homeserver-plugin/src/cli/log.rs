//! `log`: making the witness log, and showing what others must know of it.

use std::path::Path;
use std::process::ExitCode;

use atomicity_plugin::db::{lock::DatabaseLock, migrate as schema, pool};
use atomicity_plugin::witness_log::{create, store};
use atomicity_plugin::{Config, PluginError, secret, witness_log};
use atomicity_witness_log::SigningKey;
use clap::Subcommand;
use sqlx::ConnectOptions as _;

/// What to do about the log.
#[derive(Subcommand)]
pub enum LogCommand {
    /// Makes a log: a key in the data directory, and an empty log in the database. Stop the plugin first. Never replaces one.
    Create {
        /// The log's name, for good; `<key of this plugin>/log` if not given.
        #[arg(long)]
        origin: Option<String>,
    },
    /// Shows name, key and address of the log: what its cosigners must know.
    Show,
}

pub async fn run(
    command: &LogCommand,
    config: &Config,
    data_dir: &Path,
) -> Result<ExitCode, PluginError> {
    let plugin = secret::load(data_dir)?;
    let options = pool::options(&config.database)?;
    let key = match command {
        LogCommand::Create { origin } => {
            let default = format!("{}/log", plugin.public_key().z32());
            let origin = origin.as_ref().unwrap_or(&default);
            // The lock keeps a running plugin away.
            let mut lock = DatabaseLock::acquire(&config.database, &options).await?;
            if config.database.migrate_on_start {
                schema::run(lock.connection()).await?;
            } else {
                schema::require_current(lock.connection()).await?;
            }
            create::create(lock.connection(), data_dir, origin).await?
        }
        LogCommand::Show => {
            let secret = create::load(data_dir)?;
            let id = *create::key("log", &secret)?.verifier().public();
            let stored = store::load(&mut options.connect().await?, &id).await?;
            let stored = stored.ok_or_else(|| {
                PluginError::Config("the database does not hold the log of this key".to_owned())
            })?;
            create::key(&stored.origin, &secret)?
        }
    };
    print(&key, &witness_log::url(&plugin));
    if matches!(command, LogCommand::Create { .. }) {
        say!(
            "next: give key and address to the cosigners, fill in [witness_log] with theirs and enabled = true, then start the plugin"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn print(key: &SigningKey, url: &str) {
    let vkey = key.verifier();
    say!("origin:  {}", vkey.name());
    say!("key:     {vkey}");
    say!("address: {url}");
}
