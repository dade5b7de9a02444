//! `cosigner`: making the key that cosigns other people's logs, and showing what others must know of it.

use std::path::Path;
use std::process::ExitCode;

use atomicity_plugin::cosigner::keys;
use atomicity_plugin::db::{lock::DatabaseLock, migrate as schema, pool};
use atomicity_plugin::{Config, PluginError, secret};
use atomicity_witness_log::VerifierKey;
use clap::Subcommand;
use sqlx::ConnectOptions as _;

/// What to do about the cosigner.
#[derive(Subcommand)]
pub enum CosignerCommand {
    /// Makes a key in the data directory, which works with this database only. Stop the plugin first. Never replaces one.
    Create {
        /// The cosigner's name; `<key of this plugin>/cosigner` if not given.
        #[arg(long)]
        name: Option<String>,
    },
    /// Puts a fresh key in the place of the present one, for good. Stop the plugin first, and give the new key to the logs' operators.
    Rotate {
        /// The cosigner's name; `<key of this plugin>/cosigner` if not given.
        #[arg(long)]
        name: Option<String>,
    },
    /// Shows key and address: what the operators of logs must know.
    Show,
}

pub async fn run(
    command: &CosignerCommand,
    config: &Config,
    data_dir: &Path,
) -> Result<ExitCode, PluginError> {
    let plugin = secret::load(data_dir)?;
    let options = pool::options(&config.database)?;
    let key = match command {
        CosignerCommand::Create { name } | CosignerCommand::Rotate { name } => {
            let default = keys::default_name(&plugin);
            // The lock keeps a running plugin away.
            let mut lock = DatabaseLock::acquire(&config.database, &options).await?;
            if config.database.migrate_on_start {
                schema::run(lock.connection()).await?;
            } else {
                schema::require_current(lock.connection()).await?;
            }
            let name = name.as_ref().unwrap_or(&default);
            match command {
                CosignerCommand::Rotate { .. } => {
                    keys::rotate(lock.connection(), data_dir, name).await?
                }
                _ => keys::create(lock.connection(), data_dir, name).await?,
            }
        }
        CosignerCommand::Show => {
            let secret = keys::load(data_dir)?;
            let mut connection = options.connect().await?;
            keys::open(&mut connection, &secret).await?.verifier()
        }
    };
    print(&key, &plugin);
    if matches!(command, CosignerCommand::Rotate { .. }) {
        say!("next: give the new key to the logs' operators, then start the plugin");
    }
    if matches!(command, CosignerCommand::Create { .. }) {
        say!(
            "next: name the logs in [cosigner] with enabled = true, start the plugin, and give key and address to the logs' operators"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn print(key: &VerifierKey, plugin: &pubky::Keypair) {
    say!("key:     {key}");
    say!("address: https://{}/cosigner", plugin.public_key().z32());
}
