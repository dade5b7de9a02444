//! What belongs to payments over friends.

use clap::{Args, Subcommand};

/// `invoice`
#[derive(Debug, Args)]
pub struct Invoice {
    /// Such as "5.00 USD/2"; with --open only the unit
    #[arg(value_name = "AMOUNT")]
    pub words: Vec<String>,
    /// Leave the amount to the payer
    #[arg(long)]
    pub open: bool,
    /// What it is for
    #[arg(long)]
    pub memo: Option<String>,
    /// How long it stands: 10m, 1h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = crate::promise::span)]
    pub expires: std::time::Duration,
    /// Who looks after it: the agent, so that this device may be off, or this device [default: whoever keeps the books over which it can come]
    #[arg(long, value_name = "WHO", value_parser = ["agent", "device"])]
    pub kept_by: Option<String>,
    /// No QR code
    #[arg(long)]
    pub no_qr: bool,
}

/// `clear`
#[derive(Debug, Args)]
pub struct Clear {
    /// The unit [default: every one in which you agree to it, see `forward clear`]
    pub unit: Option<String>,
    /// Show the circles; sign nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Ask this router: its key, its URL, or KEY@URL; may be repeated [default: the best known]
    #[arg(long = "router", value_name = "KEY|URL")]
    pub routers: Vec<String>,
    /// How long everybody on a circle may take: 60s, 2m, or a number of seconds
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::promise::duration)]
    pub deadline: std::time::Duration,
}

/// `endpoint …`
#[derive(Debug, Subcommand)]
pub enum EndpointCommand {
    /// Tell everybody, or one friend, where you can be paid: add or change one endpoint
    Add {
        /// How: asset, rail and format, such as btc-lightning-bolt12 or eur-sepa-iban
        method: String,
        /// Where: an offer, an address, an account
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// The least that you take there, such as 0.0001
        #[arg(long, value_name = "AMOUNT")]
        min: Option<String>,
        /// The most that you take there
        #[arg(long, value_name = "AMOUNT")]
        max: Option<String>,
        /// Tell this friend, and nobody else
        #[arg(long = "for", value_name = "FRIEND")]
        only_for: Option<String>,
    },
    /// Show where you, or somebody else, can be paid
    List {
        /// A friend's name, or anybody's key [default: you]
        who: Option<String>,
        /// What you told this friend, and nobody else
        #[arg(long = "for", value_name = "FRIEND", conflicts_with = "who")]
        only_for: Option<String>,
    },
    /// Say no more where you can be paid by a method
    Remove {
        /// How
        method: String,
        /// What you told this friend, and nobody else
        #[arg(long = "for", value_name = "FRIEND")]
        only_for: Option<String>,
        /// Only at this place [default: everywhere by this method]
        #[arg(
            long,
            value_name = "VALUE",
            requires = "only_for",
            allow_hyphen_values = true
        )]
        at: Option<String>,
    },
}

/// `reassign`
#[derive(Debug, Args)]
pub struct Reassign {
    /// The friend who owes it: their name or key
    pub debtor: String,
    /// Whom they are to owe it from now on: an invoice of theirs, or their name or key if they take payments while they are away
    pub to: String,
    /// Such as "5.00 USD/2" [default: what the invoice says]
    pub amount: Option<String>,
    /// The most that the debtor may take for it, such as 0.05 [default: 1 % and one smallest unit]
    #[arg(long, value_name = "AMOUNT")]
    pub max_fee: Option<String>,
    /// Show what it would cost; sign nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How long both may take: 60s, 2m, or a number of seconds
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::promise::duration)]
    pub deadline: std::time::Duration,
}

/// `forward …`
#[derive(Debug, Subcommand)]
pub enum ForwardCommand {
    /// Pass payments on to friends from now on, and publish that
    On(ForwardOn),
    /// Pass nothing on any more: to nobody, or not to one friend
    Off {
        /// Their name or key
        friend: Option<String>,
        /// Only in this unit
        #[arg(long)]
        unit: Option<String>,
    },
    /// Agree to have debts cleared round circles: no fee, everybody's debts fall. Who owes whom, and roughly how much, becomes public
    Clear {
        /// The unit
        unit: String,
        /// Agree to it no more
        #[arg(long)]
        off: bool,
    },
    /// Show to whom payments are passed on, what is cleared, and what was passed on lately
    List,
}

/// `exchange …`
#[derive(Debug, Subcommand)]
pub enum ExchangeCommand {
    /// Exchange units for payments that you pass on, and publish the rate: offer 1 EUR/2 for 1.08 USD/2 --max 100
    Offer {
        /// What you give, "for", and what you take for it
        #[arg(value_name = "AMOUNT for AMOUNT", num_args = 3..)]
        words: Vec<String>,
        /// The most that you give in one payment; 1, 2 or 5 with zeros behind it are published
        #[arg(long, value_name = "AMOUNT")]
        max: String,
    },
    /// Do not give one unit for another any more
    Remove {
        /// The unit that you gave
        give: String,
        /// The unit that you took for it
        take: String,
    },
    /// Show your rates, or somebody's
    List {
        /// A name or key
        user: Option<String>,
    },
}

/// `forward on`
#[derive(Debug, Args)]
pub struct ForwardOn {
    /// Their names or keys
    pub friends: Vec<String>,
    /// To every friend without a rule of their own, later ones too
    #[arg(long)]
    pub all: bool,
    /// The unit
    #[arg(long)]
    pub unit: String,
    /// The part of the fee that does not depend on the amount
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    pub fee: String,
    /// The part that does, in millionths
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub ppm: u32,
    /// The smallest amount that is passed on
    #[arg(long, value_name = "AMOUNT")]
    pub min: Option<String>,
}
