//! The command line: what can be asked, in which words.

mod account;
mod agent;
mod app;
pub mod examples;
mod payments;
mod promises;
mod proposals;
mod published;
mod requests;
mod rules;
mod serve;
mod services;
mod settle;

use std::path::PathBuf;

use atomicity_handbook::Shell;
use clap::{Args, Parser, Subcommand};

pub use account::{AccountCommand, AccountNew, AccountSpend};
pub use agent::{AgentCommand, AgentOn};
pub use app::{AppCommand, AppGrant};
pub use payments::{
    Clear, EndpointCommand, ExchangeCommand, ForwardCommand, ForwardOn, Invoice, Reassign,
};
pub use promises::{LogCommand, PromiseCommand, Promises, SecretCommand, WatchtowerCommand};

pub use proposals::{ProposalCommand, Proposals};

pub use published::{DiaryCommand, ProfileCommand, SnapshotCommand};

pub use requests::{CallCommand, RequestCommand, RequestNew, RequestPay};

pub use rules::{Block, RuleAdd, RuleCommand, Says};

pub use serve::Serve;

pub use settle::{
    LightningArgs, RailAdd, RailAddBitcoind, RailAddCln, RailAddLnd, RailCommand, RailLimits,
    Settle, SettleAuto, SettleAutoConfirm, SettleCommand,
};

pub use services::{Offer, Opinion, Rate, RatedAs, ServiceCommand, Services};

/// Give and take credit among friends: nobody in between, every debt signed by who owes it.
#[derive(Debug, Parser)]
#[command(
    name = "atomicity",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Settings for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Settings for every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The wallet's folder [default: the user's data folder, or ATOMICITY_HOME]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Another configuration file [default: config.toml in the wallet's folder, or ATOMICITY_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Read the root key's passphrase from the first line of this file
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// No progress and no warnings on standard error
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Tell on standard error what happens underneath (twice: more)
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a wallet: a new root key (or an existing one) and this device's own key
    Init(Init),
    /// Take an account at a homeserver and say hello to the world
    Signup(Signup),
    /// Show who this wallet is, with a QR code to scan
    Whoami(Whoami),
    /// Units: what is owed in this wallet
    #[command(subcommand)]
    Unit(UnitCommand),
    /// Friends, and how much they may owe you
    #[command(subcommand)]
    Friend(FriendCommand),
    /// Give a friend credit on you: pay them by owing them
    Issue(Issue),
    /// Pay an invoice, or anybody, over friends; with --on, promise a friend an amount that becomes due if a secret is published
    Pay(Box<Pay>),
    /// Ask to be paid: an amount, a link, and a QR code
    Invoice(Invoice),
    /// List your invoices, and what became of them
    Invoices,
    /// List payments over friends
    Payments,
    /// Show what proves that a payment was made
    Receipt {
        /// The payment, as `payments` shows it
        #[arg(allow_hyphen_values = true)]
        payment: String,
    },
    /// Pass payments of others on, for a fee
    #[command(subcommand)]
    Forward(ForwardCommand),
    /// Clear circles of debts: what you owe falls, and what you are owed, and nobody pays for it
    Clear(Clear),
    /// Hand on what a friend owes you: they owe it to somebody else then, all or nothing
    Reassign(Box<Reassign>),
    /// Where you can be paid outside: Lightning, on-chain, a bank account
    #[command(subcommand)]
    Endpoint(EndpointCommand),
    /// Rules about whom you did not add: friends of friends, tags, distance
    #[command(subcommand)]
    Rule(RuleCommand),
    /// Have nothing more to do with somebody
    Block(Block),
    /// Lift a block
    Unblock(Block),
    /// An agent at your plugin that keeps books while this device is off
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Payment accounts: let apps spend for you up to a limit, with a key of their own
    #[command(subcommand)]
    Account(AccountCommand),
    /// Web apps: let one read what your plugin shows of your credit
    #[command(subcommand)]
    App(AppCommand),
    /// Exchange units for payments that you pass on, at rates that you publish
    #[command(subcommand)]
    Exchange(ExchangeCommand),
    /// Have a friend who owes you pay an invoice for you: atomicity settle ben "5.00 USD" --invoice lnbc…
    Settle(Box<Settle>),
    /// Ask to be paid, once or again and again, by one or by many together; pay what others ask for
    #[command(subcommand)]
    Request(RequestCommand),
    /// Debts that are called in by themselves once they are too large or too old
    #[command(subcommand)]
    Call(CallCommand),
    /// What pays for you outside, such as a Lightning node
    #[command(subcommand)]
    Rail(RailCommand),
    /// Promises that may become due, and what has become of them
    Promises(Promises),
    /// Secrets that promises hang on
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Logs that decide whether a secret was published in time
    #[command(subcommand)]
    Log(LogCommand),
    /// What your page and apps propose: list it, and do it or not
    Proposals(Proposals),
    /// Routers, logs, cosigners and watchtowers: looks for some, and shows them in the order in which they are asked
    Services(Services),
    /// Tell friends what you think of a service or of somebody
    Rate(Rate),
    /// Show what friends owe you and what you owe them
    Balance(Balance),
    /// Show what this wallet knows to have happened
    History(History),
    /// Fetch news, send what waits
    Sync(Sync),
    /// Stay connected: apply, acknowledge and send until Ctrl-C
    Watch(Watch),
    /// Answer programs on this machine over HTTP, and do what `watch` does meanwhile
    Serve(Box<Serve>),
    /// Proof of a debt, for anybody to check
    #[command(subcommand)]
    Evidence(EvidenceCommand),
    /// Make a fresh wallet from the root key alone
    Recover(Recover),
    /// Move to another homeserver; the old one need not answer
    Move(Move),
    /// The published profile, and whether a page may be made of it
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Balances for web apps, served by your plugin
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// What waits and what there was, for your wallet page at your plugin
    #[command(subcommand)]
    Diary(DiaryCommand),
    /// Look at every part and say what is wrong
    Doctor,
    /// Print what makes a shell complete the words of `atomicity`
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write the man pages, one for each command, into a folder
    Man {
        /// The folder; it is made if it is missing
        dir: PathBuf,
    },
}

/// `init`
#[derive(Debug, Args)]
pub struct Init {
    /// Take the root key from this Pubky recovery file instead of making one
    #[arg(long, value_name = "FILE")]
    pub import: Option<PathBuf>,
    /// What others see you called
    #[arg(long)]
    pub name: Option<String>,
}

/// Where records for this user may be left.
#[derive(Clone, Debug, Args)]
pub struct Plugins {
    /// The plugin beside the homeserver: its key, its URL, or KEY@URL; may be repeated
    #[arg(long = "plugin", value_name = "KEY|URL|KEY@URL")]
    pub plugins: Vec<String>,
}

/// `signup`
#[derive(Debug, Args)]
pub struct Signup {
    /// The homeserver's key
    pub homeserver: String,
    /// An invitation, if the homeserver wants one
    #[arg(long)]
    pub token: Option<String>,
    /// Where records may be left.
    #[command(flatten)]
    pub plugins: Plugins,
}

/// `whoami`
#[derive(Debug, Args)]
pub struct Whoami {
    /// No QR code
    #[arg(long)]
    pub no_qr: bool,
}

/// `unit …`
#[derive(Debug, Subcommand)]
pub enum UnitCommand {
    /// Open a unit, such as USD/2, HOUR/2 or COFFEE
    Open {
        /// The unit
        unit: String,
        /// The most that you will owe any one friend in it
        #[arg(long, value_name = "AMOUNT")]
        cap: Option<String>,
    },
    /// List the open units
    List,
    /// Close a unit: no new credit in it
    Close {
        /// The unit
        unit: String,
    },
}

/// `friend …`
#[derive(Debug, Subcommand)]
pub enum FriendCommand {
    /// Add somebody by their key
    Add {
        /// Their key
        key: String,
        /// What you call them
        #[arg(long)]
        name: Option<String>,
    },
    /// List friends, and strangers who said hello
    List,
    /// Remove a friend who owes nothing and is owed nothing
    Remove {
        /// Their name or key
        friend: String,
        /// Also if something is still owed
        #[arg(long)]
        force: bool,
    },
    /// Set how much a friend may owe you (or, with --issue, how much you will owe them)
    Limit {
        /// Their name or key
        friend: String,
        /// Such as "3.00 BREAD/2"; zero closes the line. Without it, shows the limits
        amount: Option<String>,
        /// Your own ceiling for what you will owe them; nobody else sees it
        #[arg(long, requires = "amount")]
        issue: bool,
        /// The most that they may pay you at once while you are away; 0 for nothing
        #[arg(
            long,
            value_name = "AMOUNT",
            requires = "amount",
            conflicts_with = "issue"
        )]
        unattended: Option<String>,
        /// For how long that holds: 12h, 30d
        #[arg(long, value_name = "TIME", requires = "unattended", default_value = "30d", value_parser = super::promise::span)]
        until: std::time::Duration,
    },
    /// Show everything about one friend
    Inspect {
        /// Their name or key
        friend: String,
    },
}

/// `issue`
#[derive(Debug, Args)]
pub struct Issue {
    /// Their name or key
    pub friend: String,
    /// Such as "2.00 BREAD/2"
    pub amount: String,
    /// A few words for them to read
    #[arg(long)]
    pub memo: Option<String>,
    /// What it refers to, an invoice's number, say
    #[arg(long = "ref", value_name = "TEXT")]
    pub reference: Option<String>,
    /// Only sign and keep it: a running `watch`, or the next `sync`, sends it
    #[arg(long)]
    pub no_wait: bool,
}

/// `pay`
#[derive(Debug, Args)]
pub struct Pay {
    /// An `atomicity:` link, a key, or a friend's name
    pub whom: String,
    /// Such as "2.00 BREAD/2"; not needed if the link says it
    pub amount: Option<String>,
    /// The most that those who pass it on may take together [default: 1 % and one smallest unit]
    #[arg(long, value_name = "AMOUNT", conflicts_with = "on")]
    pub max_fee: Option<String>,
    /// Promise another unit, which somebody on the way exchanges: a friend, or whom you name with --via
    #[arg(long = "with", value_name = "UNIT", conflicts_with_all = ["on", "along", "max_fee"])]
    pub with: Option<String>,
    /// The most of that unit that you promise [default: what is shown, and 1 %]
    #[arg(long, value_name = "AMOUNT", requires = "with")]
    pub max: Option<String>,
    /// Agree to the rate that is shown
    #[arg(long, requires = "with")]
    pub yes: bool,
    /// Only over this user
    #[arg(long, value_name = "USER", conflicts_with = "on")]
    pub via: Option<String>,
    /// Not over this user; may be repeated
    #[arg(long, value_name = "USER", conflicts_with = "on")]
    pub avoid: Vec<String>,
    /// Show the ways and what they cost; sign nothing
    #[arg(long, conflicts_with = "on")]
    pub dry_run: bool,
    /// Ask this router: its key, its URL, or KEY@URL; may be repeated [default: the best known]
    #[arg(long = "router", value_name = "KEY|URL", conflicts_with = "on")]
    pub routers: Vec<String>,
    /// The whole way, the payee last, so that no router is asked
    #[arg(
        long,
        value_name = "USERS",
        value_delimiter = ',',
        hide = true,
        conflicts_with = "on"
    )]
    pub along: Vec<String>,
    /// A few words, for somebody who is away
    #[arg(long, conflicts_with = "on")]
    pub memo: Option<String>,
    /// The hash of the secret that it hangs on, in base64url or hex
    // One hash in 64 begins with a hyphen.
    #[arg(
        long,
        value_name = "HASH",
        allow_hyphen_values = true,
        requires = "amount"
    )]
    pub on: Option<String>,
    /// A log that decides, by its name or address; may be repeated [default: all known ones that can be relied on]
    #[arg(long = "log", value_name = "LOG", requires = "on")]
    pub logs: Vec<String>,
    /// How long the secret may take: 60s, 2m, or a number of seconds
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = super::promise::duration)]
    pub deadline: std::time::Duration,
    /// Without log and deadline: due as soon as the friend shows you the secret
    #[arg(long, requires = "on", conflicts_with_all = ["logs", "deadline"])]
    pub shown: bool,
}

/// `balance`
#[derive(Debug, Args)]
pub struct Balance {
    /// Only this friend
    pub friend: Option<String>,
    /// Only this unit
    #[arg(long)]
    pub unit: Option<String>,
}

/// `history`
#[derive(Debug, Args)]
pub struct History {
    /// Only this friend
    pub friend: Option<String>,
    /// Only this unit
    #[arg(long)]
    pub unit: Option<String>,
    /// At most so many lines
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Only lines before this number
    #[arg(long, value_name = "ID")]
    pub before: Option<i64>,
}

/// `sync`
#[derive(Debug, Args)]
pub struct Sync {
    /// Only these friends' files (the inbox is read in any case)
    pub friends: Vec<String>,
}

/// `watch`
#[derive(Debug, Args)]
pub struct Watch {
    /// How often to look at friends' files [default: as configured, 30 s]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub poll: Option<u64>,
}

/// `evidence …`
#[derive(Debug, Subcommand)]
pub enum EvidenceCommand {
    /// Write down everything that proves what a friend owes
    Export {
        /// Their name or key
        friend: String,
        /// The file to write [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Check such a file; needs neither a wallet nor a network
    Verify {
        /// The file
        file: PathBuf,
    },
}

/// `recover`
#[derive(Debug, Args)]
pub struct Recover {
    /// The root key, as a Pubky recovery file
    #[arg(long, value_name = "FILE")]
    pub root_file: PathBuf,
    /// Where records may be left [default: as in the published profile].
    #[command(flatten)]
    pub plugins: Plugins,
}

/// `move`
#[derive(Debug, Args)]
pub struct Move {
    /// The new homeserver's key
    pub homeserver: String,
    /// An invitation, if the homeserver wants one
    #[arg(long)]
    pub token: Option<String>,
    /// Where records may be left from now on.
    #[command(flatten)]
    pub plugins: Plugins,
}
