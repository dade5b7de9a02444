//! What belongs to the agent.

use clap::{Args, Subcommand};

/// `agent …`
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Let your plugin keep books while this device is off: needs the root key
    On(AgentOn),
    /// Show what it keeps, within which limits, until when
    Status,
    /// Show what it signed
    Log {
        /// How many lines at most, the newest
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show what happens to its books, live until Ctrl-C
    Events,
    /// Take books back: those with these friends, or all
    TakeBack {
        /// Their names or keys
        friends: Vec<String>,
    },
    /// Take all books back and end it
    Off {
        /// The plugin is gone for good: revoke its key and take the books over, as after the loss of a phone; needs the root key
        #[arg(long)]
        force: bool,
    },
    /// End it at once, whether it answers or not: revoke its key and take the books over; needs the root key
    Revoke,
}

/// `agent on`
#[derive(Debug, Args)]
pub struct AgentOn {
    /// Until when: a time from now such as 30d, or a day such as 2031-12-24
    #[arg(long, value_name = "DATE|TIME", default_value = "30d")]
    pub until: String,
    /// Whose books: `all`, or names or keys with commas between them
    #[arg(long, value_name = "all|NAME,…", default_value = "all")]
    pub peers: String,
    /// The most that you may owe any one of them through it, such as "100 USD"; may be repeated, once a unit
    #[arg(long, value_name = "AMOUNT")]
    pub limit: Vec<String>,
    /// The most that your apps may pay through it on one day (UTC); may be repeated, once a unit
    #[arg(long, value_name = "AMOUNT")]
    pub per_day: Vec<String>,
    /// At which plugin [default: your first]
    #[arg(long, value_name = "KEY|URL|KEY@URL")]
    pub plugin: Option<String>,
}
