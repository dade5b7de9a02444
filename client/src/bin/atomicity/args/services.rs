//! The words of `services` and `rate`.

use clap::{Args, Subcommand};

/// What plugins offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Offer {
    /// Finds ways to people you don't know
    Router,
    /// Decides whether a secret was published in time
    Log,
    /// Vouches for logs
    Cosigner,
    /// Knows of logs that lied
    Watchtower,
}

/// `services`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Services {
    /// Only these [default: all]
    #[arg(value_enum)]
    pub offer: Option<Offer>,
    /// Only show what is known, and ask nobody
    #[arg(long)]
    pub known: bool,
    /// What to do; without it, services are looked for and listed
    #[command(subcommand)]
    pub command: Option<ServiceCommand>,
}

/// `services …`
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Choose a service: it is asked first
    Add {
        /// Its key
        key: String,
    },
    /// Never ask a service; nobody else learns of it (see `rate` for that)
    Block {
        /// Its key
        key: String,
    },
    /// Take a choice or a block back
    Forget {
        /// Its key
        key: String,
    },
}

/// What is thought of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Opinion {
    /// Does what it should
    Good,
    /// Better go elsewhere
    Poor,
    /// Have nothing to do with it
    Block,
}

/// What somebody is judged as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RatedAs {
    /// A finder of ways
    Router,
    /// A log
    Log,
    /// A cosigner of logs
    Cosigner,
    /// A watchtower
    Watchtower,
    /// A person
    User,
}

/// `rate`
#[derive(Debug, Args)]
pub struct Rate {
    /// Whose key
    pub key: Option<String>,
    /// What you think; everybody can read it
    #[arg(value_enum, requires = "key", required_unless_present_any = ["remove", "list"])]
    pub verdict: Option<Opinion>,
    /// Why, in a few words
    #[arg(long, requires = "verdict")]
    pub memo: Option<String>,
    /// As what [default: what it offers]
    #[arg(long = "as", value_enum, requires = "verdict")]
    pub kind: Option<RatedAs>,
    /// Take back what you said
    #[arg(long, requires = "key", conflicts_with = "verdict")]
    pub remove: bool,
    /// List your ratings
    #[arg(long, conflicts_with_all = ["key", "verdict", "remove"])]
    pub list: bool,
}
