//! The words of `settle` and `rail`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

/// `settle`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Settle {
    /// Who owes you: their name or key; not with --anyone
    pub friend: Option<String>,
    /// By how much that falls, such as "5.00 USD/2"
    pub amount: Option<String>,
    /// The invoice that they are to pay: BOLT11, of fixed amount. Without it they pay by any other rail of theirs
    #[arg(long, value_name = "INVOICE", conflicts_with = "to")]
    pub invoice: Option<String>,
    /// Ask whom you trust most of those who owe you so much and can pay by Lightning, then the next
    #[arg(long)]
    pub anyone: bool,
    /// Only show who would be asked, in which order
    #[arg(long, requires = "anyone")]
    pub dry_run: bool,
    /// Where they are to pay, such as usd-cash-hand="at the café"; again for more, what you like best first [default: wherever they can pay you]
    #[arg(long, value_name = "METHOD=VALUE")]
    pub to: Vec<String>,
    /// What they are to pay: 12345sat, "4.60 EUR", or EUR for as much as your own rate says [default: what the invoice, or the unit, says]
    #[arg(long, value_name = "AMOUNT")]
    pub pays: Option<String>,
    /// For how long they may begin to pay, without an invoice: 2h, 7d
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = crate::promise::span, conflicts_with = "invoice")]
    pub expires: Duration,
    /// What it is for
    #[arg(long)]
    pub memo: Option<String>,
    /// How long to wait for it: 60s, 2m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::promise::duration)]
    pub wait: Duration,
    /// Do not wait: a running `watch`, or the next `sync`, goes on with it
    #[arg(long)]
    pub no_wait: bool,
    /// What else to do
    #[command(subcommand)]
    pub command: Option<SettleCommand>,
}

/// `settle …`
#[derive(Debug, Subcommand)]
pub enum SettleCommand {
    /// List what you asked friends to pay, and what they asked you
    List,
    /// Show one
    Show {
        /// As `settle list` shows it
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
    /// Take a request back, as long as nobody was told to pay
    Withdraw {
        /// As `settle list` shows it
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
    /// List what friends ask you to pay and wait for your word
    Requests,
    /// Pay what a friend asks for, and owe them so much less
    Pay {
        /// As `settle requests` shows it
        #[arg(allow_hyphen_values = true)]
        id: String,
        /// How long to wait for it: 60s, 2m
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::promise::duration)]
        wait: Duration,
    },
    /// Do not pay it
    Decline {
        /// As `settle requests` shows it
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
    /// Say that you have paid by hand what a friend asks for
    Paid {
        /// As `settle requests` or `settle list` shows it
        #[arg(allow_hyphen_values = true)]
        id: String,
        /// What shows it: a bank's reference, who took the cash
        reference: String,
    },
    /// Say that you will not pay it by hand: another of your rails is tried, if one fits
    NotPaid {
        /// As `settle list` shows it
        #[arg(allow_hyphen_values = true)]
        id: String,
        /// Why
        #[arg(long)]
        why: Option<String>,
    },
    /// Confirm that you were paid what you asked for: what they owe you falls by it
    Confirm {
        /// As `settle list` shows it
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
    /// Say that nothing came of what they say was paid
    Dispute {
        /// As `settle list` shows it
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
    /// Give up a request that nobody answered in time: that part of the claim is free again
    Abandon {
        /// As `settle list` shows it
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
    /// Pay without being asked, within limits; without any of these, shows them
    Auto(SettleAuto),
    /// Take the word of friends who say that they have paid, within limits; without any of these, shows them
    AutoConfirm(SettleAutoConfirm),
    /// Show your sources of rates, and what they say now
    Rates,
}

/// `settle auto-confirm`
#[derive(Debug, Args)]
pub struct SettleAutoConfirm {
    /// The most that one request may be about, such as "20 USD/2"
    #[arg(long, value_name = "AMOUNT")]
    pub up_to: Option<String>,
    /// Only of this friend [default: of everybody without limits of their own]
    #[arg(long, value_name = "FRIEND")]
    pub of: Option<String>,
    /// Ask again before anything in this unit counts as paid
    #[arg(long, value_name = "UNIT", conflicts_with = "up_to")]
    pub off: Option<String>,
}

/// `settle auto`
#[derive(Debug, Args)]
pub struct SettleAuto {
    /// The most that one request may ask for, such as "50 USD/2"
    #[arg(long, value_name = "AMOUNT")]
    pub up_to: Option<String>,
    /// Only for this friend [default: everybody without limits of their own]
    #[arg(long, value_name = "FRIEND")]
    pub to: Option<String>,
    /// What one whole of the unit is worth, such as 1600sat, or `source` for what config.toml says; without it only what the unit itself counts is paid
    #[arg(long, value_name = "AMOUNT", requires = "up_to")]
    pub rate: Option<String>,
    /// How far a request may be off that rate, in hundredths of a percent; a source has its own
    #[arg(long, value_name = "BASIS POINTS", requires = "rate", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub spread: u32,
    /// The most that may go in 24 hours, such as "100 USD/2"; beyond that you are asked
    #[arg(long, value_name = "AMOUNT", requires = "up_to")]
    pub per_day: Option<String>,
    /// Ask again before anything in this unit is paid
    #[arg(long, value_name = "UNIT", conflicts_with = "up_to")]
    pub off: Option<String>,
}

/// `rail …`
#[derive(Debug, Subcommand)]
pub enum RailCommand {
    /// Let something pay for you
    #[command(subcommand)]
    Add(Box<RailAdd>),
    /// List what pays for you, in the order in which it is tried
    List,
    /// Say which ones are tried first; the others follow as they were
    Order {
        /// Their names, the first one first
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Ask it how it does
    Test {
        /// Its name
        name: String,
    },
    /// Forget it
    Remove {
        /// Its name
        name: String,
    },
}

/// `rail add …`
#[derive(Debug, Subcommand)]
pub enum RailAdd {
    /// An lnd node
    Lnd(RailAddLnd),
    /// A Core Lightning node
    Cln(RailAddCln),
    /// A wallet of a Bitcoin Core node on this machine
    Bitcoind(RailAddBitcoind),
    /// You, by hand: cash, a bank transfer
    Manual(RailAddManual),
}

/// What every rail can be told.
#[derive(Debug, Args)]
pub struct RailLimits {
    /// The least that is paid by it, in whole units of what it pays, such as 0.0001
    #[arg(long, value_name = "AMOUNT")]
    pub min: Option<String>,
    /// The most that is paid by it
    #[arg(long, value_name = "AMOUNT")]
    pub max: Option<String>,
}

/// A Lightning node.
#[derive(Debug, Args)]
pub struct LightningArgs {
    /// Which network it is of: bitcoin, testnet, signet, regtest, simnet
    #[arg(long, default_value = "bitcoin")]
    pub network: String,
    /// The most that a payment may cost on top, in millionths of it; ten satoshis are always allowed
    #[arg(long, value_name = "PPM", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub max_fee_ppm: u32,
}

/// `rail add lnd`
#[derive(Debug, Args)]
pub struct RailAddLnd {
    /// Its REST interface, such as https://127.0.0.1:8080
    #[arg(long)]
    pub url: String,
    /// Its certificate, tls.cert: no other is accepted
    #[arg(long, value_name = "FILE")]
    pub cert: PathBuf,
    /// A macaroon with the rights info:read, offchain:read and offchain:write
    #[arg(long, value_name = "FILE")]
    pub macaroon: PathBuf,
    /// What you call it
    #[arg(long, default_value = "lnd")]
    pub name: String,
    #[command(flatten)]
    pub lightning: LightningArgs,
    #[command(flatten)]
    pub limits: RailLimits,
}

/// `rail add cln`
#[derive(Debug, Args)]
pub struct RailAddCln {
    /// Its REST interface (clnrest), such as https://127.0.0.1:3010
    #[arg(long)]
    pub url: String,
    /// Its certificate, server.pem: no other is accepted
    #[arg(long, value_name = "FILE")]
    pub cert: PathBuf,
    /// A file with a rune for pay, listpays, getinfo and listpeerchannels
    #[arg(long, value_name = "FILE")]
    pub rune: PathBuf,
    /// What you call it
    #[arg(long, default_value = "cln")]
    pub name: String,
    #[command(flatten)]
    pub lightning: LightningArgs,
    #[command(flatten)]
    pub limits: RailLimits,
}

/// `rail add bitcoind`
#[derive(Debug, Args)]
pub struct RailAddBitcoind {
    /// Its JSON-RPC interface: a loopback address
    #[arg(long, default_value = "http://127.0.0.1:8332")]
    pub url: String,
    /// The wallet that pays
    #[arg(long)]
    pub wallet: String,
    /// The node's cookie
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "password"], required_unless_present = "user")]
    pub cookie: Option<PathBuf>,
    /// A user of rpcauth, instead of the cookie
    #[arg(long, requires = "password")]
    pub user: Option<String>,
    /// A file with the password of that user
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password: Option<PathBuf>,
    /// What you call it
    #[arg(long, default_value = "bitcoind")]
    pub name: String,
    /// Which chain it must be on: main, test, signet, regtest
    #[arg(long, default_value = "main")]
    pub chain: String,
    /// A method whose places are plain addresses; again for more
    #[arg(long, value_name = "METHOD", default_values = ["btc-bitcoin-address", "btc-bitcoin-p2tr", "btc-bitcoin-p2wpkh"])]
    pub method: Vec<String>,
    /// In how many blocks a payment should be
    #[arg(long, value_name = "BLOCKS", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=1008))]
    pub target_blocks: u16,
    /// How many confirmations make a payment, sent or received
    #[arg(long, value_name = "BLOCKS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub confirmations: u32,
    /// The most that a payment may cost on top, in satoshi
    #[arg(long, value_name = "SAT", default_value_t = 10_000)]
    pub max_fee_sat: u64,
    #[command(flatten)]
    pub limits: RailLimits,
}

/// `rail add manual`
#[derive(Debug, Args)]
pub struct RailAddManual {
    /// A method that you pay by hand, by asset, rail and format, such as usd-cash-hand or eur-sepa-iban; again for more
    #[arg(long, value_name = "METHOD", required = true)]
    pub method: Vec<String>,
    /// What you call it
    #[arg(long, default_value = "manual")]
    pub name: String,
    #[command(flatten)]
    pub limits: RailLimits,
}
