//! The words of `promises`, `secret` and `log`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `promises`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Promises {
    /// Only this friend
    #[arg(long)]
    pub friend: Option<String>,
    /// What to do; without it, they are listed
    #[command(subcommand)]
    pub command: Option<PromiseCommand>,
}

/// `promises …`
#[derive(Debug, Subcommand)]
pub enum PromiseCommand {
    /// Give a friend's promise up: nothing is claimed under it any more
    Release {
        /// Its name, as `promises` shows it
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
}

/// `secret …`
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Draw a secret, keep it sealed, and print its hash
    New,
    /// List the secrets that are kept, by their hashes
    List,
    /// Print a secret: whoever knows it can publish it
    Show {
        /// Its hash
        #[arg(allow_hyphen_values = true)]
        hash: String,
    },
    /// Publish a secret: what hangs on it becomes due
    Publish {
        /// Its hash, or the secret itself; base64url or hex
        #[arg(allow_hyphen_values = true)]
        secret: String,
        /// In this log, whether or not a promise hangs on it
        #[arg(long, value_name = "LOG")]
        log: Option<String>,
    },
}

/// `log …`
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Take a log into the list of those that promises may hang on
    Add {
        /// Its address, or a file with its policy
        source: String,
    },
    /// List the logs, whose signatures count for each, and proofs against them
    List,
    /// Forget a log; proofs against it are kept
    Remove {
        /// Its name
        origin: String,
    },
    /// Refuse a log from now on
    Refuse {
        /// Its name
        origin: String,
        /// A proof that it lied
        #[arg(long, value_name = "FILE")]
        proof: Option<PathBuf>,
    },
    /// Write the proof against a log, or its cosigner, into a file
    Proof {
        /// The log's name
        origin: String,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Watchtowers, which know of logs that lied
    #[command(subcommand)]
    Watchtower(WatchtowerCommand),
}

/// `log watchtower …`
#[derive(Debug, Subcommand)]
pub enum WatchtowerCommand {
    /// Ask a watchtower from now on, and hand it what this wallet is shown
    Add {
        /// Its address
        url: String,
    },
    /// List the watchtowers
    List,
    /// Ask a watchtower no more
    Remove {
        /// Its address
        url: String,
    },
}
