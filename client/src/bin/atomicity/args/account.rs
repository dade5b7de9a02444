//! What belongs to payment accounts.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `account …`
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Let an app spend up to a limit, with a key of its own: needs the root key
    New(Box<AccountNew>),
    /// List payment accounts, and what is left of each
    List,
    /// Show one, and everything that it asked for
    Show {
        /// What you call it
        name: String,
    },
    /// End one for good: nothing more is paid for it; needs the root key
    Revoke {
        /// What you call it
        name: String,
    },
    /// Say at which rate places outside are paid for one, from now on
    Rate {
        /// What you call it
        name: String,
        /// What one whole of its unit is worth, such as 1000sat, or `source` for what config.toml says; without it only what the unit itself counts is paid
        #[arg(value_name = "AMOUNT")]
        rate: Option<String>,
        /// How far a spend may be off that rate, in hundredths of a percent; a source has its own
        #[arg(long, value_name = "BASIS POINTS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000))]
        spread: u32,
    },
    /// For apps: pay from somebody's account, with its key alone
    Spend(Box<AccountSpend>),
    /// For apps: show how far a spend is
    Status {
        /// The file with the account's key
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
        /// The spend, as `account spend` shows it
        #[arg(allow_hyphen_values = true)]
        spend: String,
    },
    /// For apps: show what is left of an account
    Left {
        /// The file with the account's key
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
    },
}

/// `account new`
#[derive(Debug, Args)]
pub struct AccountNew {
    /// What you call it
    pub name: String,
    /// The most that it may spend on one day (UTC), such as "5.00 BREAD/2"
    #[arg(long, value_name = "AMOUNT", required_unless_present = "total")]
    pub per_day: Option<String>,
    /// The most that it may spend in all
    #[arg(long, value_name = "AMOUNT")]
    pub total: Option<String>,
    /// Whom it may pay: `anyone`, or names or keys with commas between them
    #[arg(long, value_name = "anyone|NAME,…", default_value = "anyone")]
    pub to: String,
    /// Have places outside paid for it too, such as Lightning invoices, by your rails (`rail add`)
    #[arg(long)]
    pub rails: bool,
    /// What one whole of the unit is worth there, such as 1000sat, or `source` for what config.toml says; without it only what the unit itself counts is paid
    #[arg(long, value_name = "AMOUNT", requires = "rails")]
    pub rate: Option<String>,
    /// How far a spend may be off that rate, in hundredths of a percent; a source has its own
    #[arg(long, value_name = "BASIS POINTS", requires = "rate", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub spread: u32,
    /// Until when: a time from now such as 30d, or a day such as 2031-12-24
    #[arg(long, value_name = "DATE|TIME", default_value = "30d")]
    pub until: String,
    /// The public key that the app made itself [default: a fresh one, whose secret is shown once]
    #[arg(long, value_name = "KEY", conflicts_with = "key_file")]
    pub key: Option<String>,
    /// Write the fresh key to this new file, readable for you alone, instead of showing it
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

/// `account spend`
#[derive(Debug, Args)]
pub struct AccountSpend {
    /// The file with the account's key
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
    /// How much, such as "2.00 BREAD/2"; not needed if an `atomicity:` invoice says it. Outside: what goes from the account for it
    #[arg(long, value_name = "AMOUNT")]
    pub amount: Option<String>,
    /// Whom: a key, or an invoice (`atomicity:` link); or outside: a Lightning invoice (BOLT11, of fixed amount), or METHOD=VALUE
    #[arg(long, value_name = "KEY|LINK|INVOICE|METHOD=VALUE")]
    pub to: String,
    /// What is to arrive at METHOD=VALUE: 12345sat, "4.60 EUR" [default: what the unit counts]
    #[arg(long, value_name = "AMOUNT")]
    pub pays: Option<String>,
    /// A few words for the payee
    #[arg(long)]
    pub memo: Option<String>,
    /// The most that those who pass it on may take together [default: 1 % and one smallest unit]
    #[arg(long, value_name = "AMOUNT")]
    pub max_fee: Option<String>,
    /// How long it may wait for the owner's wallet
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = crate::promise::span)]
    pub expires: std::time::Duration,
    /// Wait until it is paid, or has failed
    #[arg(long, conflicts_with = "sign_only")]
    pub wait: bool,
    /// Only sign and print the record, for another program to send
    #[arg(long)]
    pub sign_only: bool,
}
