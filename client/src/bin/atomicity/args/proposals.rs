//! What belongs to proposals.

use clap::{Args, Subcommand};

/// `proposals …`
#[derive(Debug, Args)]
pub struct Proposals {
    /// What to do; without it they are listed
    #[command(subcommand)]
    pub command: Option<ProposalCommand>,
}

/// `proposals …`
#[derive(Debug, Subcommand)]
pub enum ProposalCommand {
    /// Look for the way of a payment that is proposed, and show what it would cost; nothing is signed
    Quote {
        /// Which: its name, or its beginning
        #[arg(allow_hyphen_values = true)]
        proposal: String,
        /// Ask this router: its key, its URL, or KEY@URL; may be repeated [default: the best known]
        #[arg(long = "router", value_name = "KEY|URL")]
        routers: Vec<String>,
    },
    /// Do it
    Accept {
        /// Which: its name, or its beginning
        #[arg(allow_hyphen_values = true)]
        proposal: String,
        /// The most that a payment may cost beyond its amount, such as "0.10 USD" [default: 1 % and one smallest unit]
        #[arg(long, value_name = "AMOUNT")]
        max_fee: Option<String>,
        /// Ask this router: its key, its URL, or KEY@URL; may be repeated [default: the best known]
        #[arg(long = "router", value_name = "KEY|URL")]
        routers: Vec<String>,
        /// Agree to what is proposed without being asked once more
        #[arg(long)]
        yes: bool,
    },
    /// Don't, and say so to the page
    Decline {
        /// Which: its name, or its beginning
        #[arg(allow_hyphen_values = true)]
        proposal: String,
    },
}
