//! What belongs to requests to be paid.

use std::time::Duration;

use clap::{Args, Subcommand};

/// `request …`
#[derive(Debug, Subcommand)]
pub enum RequestCommand {
    /// Ask to be paid: one friend, or everybody who has the link
    New(Box<RequestNew>),
    /// List what you ask for, and what others ask of you
    List,
    /// Show one: how much is paid, what is left, who asks
    Show {
        /// An `atomicity:` link, or a name as `request list` shows it
        #[arg(allow_hyphen_values = true)]
        request: String,
    },
    /// Pay a request, or a part of it
    Pay(Box<RequestPay>),
    /// Take a request of yours back: nobody can pay more of it
    Cancel {
        /// As `request list` shows it
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
    /// Note what came for a request of yours another way
    Received {
        /// As `request list` shows it
        #[arg(allow_hyphen_values = true)]
        id: String,
        /// Such as "5.00 USD/2"
        amount: String,
        /// How it came: cash, a bank transfer
        #[arg(long, default_value = "cash")]
        by: String,
        /// From whom
        #[arg(long)]
        from: Option<String>,
    },
    /// Let people without a wallet pay what you ask of everybody, over Lightning or on the chain
    Guests {
        /// By this rail, as `rail list` shows it; may be repeated, the best first
        #[arg(long = "rail", value_name = "NAME")]
        rails: Vec<String>,
        /// Only in this way [default: all that the rails can]
        #[arg(long, value_name = "WAY", value_parser = ["lightning", "onchain"], requires = "rails")]
        only: Option<String>,
        /// Not any more
        #[arg(long, conflicts_with = "rails")]
        off: bool,
    },
    /// Have a request that recurs paid whenever it is due, without asking you again
    Approve {
        /// An `atomicity:` link, or a name as `request list` shows it
        #[arg(allow_hyphen_values = true)]
        request: String,
        /// The most that each time may cost, fees included, such as "10 USD/2"
        #[arg(long, value_name = "AMOUNT")]
        up_to: String,
        /// Pay nothing from this day on, such as 2031-12-24
        #[arg(long, value_name = "DAY")]
        until: Option<String>,
        /// Do not pay what was due before now
        #[arg(long)]
        skip_missed: bool,
    },
    /// List what is paid without asking you
    Approvals,
    /// Ask before anything more of it is paid
    Revoke {
        /// An `atomicity:` link, or a name as `request approvals` shows it
        #[arg(allow_hyphen_values = true)]
        request: String,
    },
}

/// `request new`
#[derive(Debug, Args)]
pub struct RequestNew {
    /// Such as "5.00 USD/2"; with --open only the unit
    #[arg(value_name = "AMOUNT", required = true)]
    pub words: Vec<String>,
    /// Only this user is asked: a friend's name, or anybody's key [default: whoever has the link]
    #[arg(long, value_name = "USER")]
    pub to: Option<String>,
    /// This much in all, from as many as like, each a part
    #[arg(long, conflicts_with = "open")]
    pub together: bool,
    /// Leave the amount to the payers
    #[arg(long)]
    pub open: bool,
    /// The least that one payment brings, such as 1.00
    #[arg(long, value_name = "AMOUNT")]
    pub min: Option<String>,
    /// The most that one payment brings
    #[arg(long, value_name = "AMOUNT", requires = "open")]
    pub max: Option<String>,
    /// What it is for
    #[arg(long)]
    pub memo: Option<String>,
    /// Another way to pay it, such as cash=at-the-door or eur-sepa-iban=DE…; may be repeated, the best first
    #[arg(long = "or", value_name = "METHOD=VALUE")]
    pub ways: Vec<String>,
    /// Again and again
    #[arg(long, value_name = "PERIOD", value_parser = ["day", "week", "month"], conflicts_with_all = ["together", "open"])]
    pub every: Option<String>,
    /// The day on which it is due first, such as 2031-12-24 [default: now]
    #[arg(long, value_name = "DAY", requires = "every")]
    pub from: Option<String>,
    /// How many times [default: until it expires]
    #[arg(long, value_name = "N", requires = "every", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub count: Option<u32>,
    /// How long it stands: 10m, 1h, 30d [default: 30d, after the last time that it is due]
    #[arg(long, value_name = "TIME", value_parser = crate::promise::span)]
    pub expires: Option<Duration>,
    /// How long a part is kept for whoever wants to pay it
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = crate::promise::span)]
    pub hold: Duration,
    /// No QR code
    #[arg(long)]
    pub no_qr: bool,
}

/// `request pay`
#[derive(Debug, Args)]
pub struct RequestPay {
    /// An `atomicity:` link, or a name as `request list` shows it
    #[arg(allow_hyphen_values = true)]
    pub request: String,
    /// Such as "5.00 USD/2" [default: what it asks for, or what is left of it]
    pub amount: Option<String>,
    /// The most that those who pass it on may take together [default: 1 % and one smallest unit]
    #[arg(long, value_name = "AMOUNT")]
    pub max_fee: Option<String>,
    /// Ask this router: its key, its URL, or KEY@URL; may be repeated [default: the best known]
    #[arg(long = "router", value_name = "KEY|URL")]
    pub routers: Vec<String>,
    /// The whole way, the payee last, so that no router is asked
    #[arg(long, value_name = "USERS", value_delimiter = ',', hide = true)]
    pub along: Vec<String>,
    /// How long to wait for the payee's wallet: 60s, 2m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::promise::duration)]
    pub wait: Duration,
    /// How long the payment may take: 60s, 2m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::promise::duration)]
    pub deadline: Duration,
}

/// `call …`
#[derive(Debug, Subcommand)]
pub enum CallCommand {
    /// Ask for a debt as soon as it is too large, or stands for too long
    #[command(group(clap::ArgGroup::new("who").required(true).args(["friend", "tag", "all"])))]
    #[command(group(clap::ArgGroup::new("when").required(true).args(["over", "after"])))]
    Add {
        /// Whose: a friend's name or key
        friend: Option<String>,
        /// Those of friends whom you have tagged so
        #[arg(long)]
        tag: Option<String>,
        /// Those of all friends
        #[arg(long)]
        all: bool,
        /// Once more than this is owed, such as "50 USD/2"
        #[arg(long, value_name = "AMOUNT")]
        over: Option<String>,
        /// Once something is owed for so long: 30d, 1h
        #[arg(long, value_name = "TIME", value_parser = crate::promise::span)]
        after: Option<Duration>,
        /// With --after: only what is owed in this unit
        #[arg(long, value_name = "UNIT", requires = "after")]
        unit: Option<String>,
        /// A way to pay it, such as cash=at-the-door; may be repeated, the best first
        #[arg(long = "or", value_name = "METHOD=VALUE")]
        ways: Vec<String>,
    },
    /// List when debts are called in
    List,
    /// Do not call them in any more
    Remove {
        /// The number of the rule
        id: i64,
    },
}
