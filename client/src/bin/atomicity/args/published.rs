//! What belongs to what a user shows to everybody.

use clap::Subcommand;

/// `profile …`
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// Show a published profile: your own, or somebody's
    Show {
        /// Whose; your own if left out
        key: Option<String>,
    },
    /// Let your plugin show a page about you to everybody: your name, units, and where you can be paid
    Page {
        /// From now on, or no longer
        #[arg(value_parser = ["on", "off"])]
        shown: String,
    },
}

/// `diary …`
#[derive(Debug, Subcommand)]
pub enum DiaryCommand {
    /// Tell your plugin from now on what waits for you and what there was, for your wallet page
    On,
    /// Stop telling it, and have it forget what it was told
    Off,
    /// Tell it now
    Push,
}

/// `snapshot …`
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Push signed balances to your plugin from now on
    On,
    /// Stop pushing balances
    Off,
    /// Push them now
    Push,
    /// Choose the units that your plugin shows to everybody
    Public {
        /// The units; none: nothing is shown
        units: Vec<String>,
    },
}
