//! What belongs to web apps that read.

use atomicity_ledger::SignerKey;
use clap::{Args, Subcommand};

/// `app …`
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// Let a web app read what your plugin shows of your credit, and nothing else: needs the root key
    Grant(AppGrant),
}

/// `app grant`
#[derive(Debug, Args)]
pub struct AppGrant {
    /// The key that the app shows; it made it itself
    #[arg(value_name = "KEY")]
    pub app: SignerKey,
    /// For how long: 1h, 30d. It can't be taken back before
    #[arg(long = "for", value_name = "TIME", default_value = "1d", value_parser = crate::promise::span)]
    pub lasts: std::time::Duration,
}
