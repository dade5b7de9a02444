//! The words of `rule`, `block` and `unblock`.

use clap::{Args, Subcommand};

/// `rule …`
#[derive(Debug, Subcommand)]
pub enum RuleCommand {
    /// Let people owe you whom you did not add yourself
    #[command(subcommand)]
    Add(RuleAdd),
    /// Show the rules in the order in which they are asked, and how much of their caps is taken
    List,
    /// Take a rule back: the lines that it gave are closed, what is owed stays owed
    Remove {
        /// Its number, as `rule list` shows it
        rule: u32,
    },
    /// Ask every rule about somebody; changes nothing
    Try {
        /// Their name or key
        who: String,
    },
    /// Look at everybody anew, and give and take credit by the rules now
    Apply,
}

/// `rule add …`
#[derive(Debug, Subcommand)]
pub enum RuleAdd {
    /// Those for whom a friend vouches: atomicity rule add friend-of nora 20 USD/2 each --total 200 USD/2
    FriendOf {
        /// The friend's name or key; "any" for every friend
        friend: String,
        /// What it says.
        #[command(flatten)]
        says: Says,
        /// The most that all for whom one friend vouches may owe you [default: the total]
        #[arg(long, value_name = "AMOUNT", num_args = 1..=2)]
        per_friend: Vec<String>,
    },
    /// Those whom you tagged with a word in a Pubky app
    Tag {
        /// The word
        tag: String,
        /// What it says.
        #[command(flatten)]
        says: Says,
    },
    /// Those who are near in the follow graph: 1 for whom you follow, 2 for whom those follow, at most 3
    Distance {
        /// How far
        #[arg(value_parser = clap::value_parser!(u8).range(1..=3))]
        hops: u8,
        /// How much the judgement of each person between counts; it multiplies along the way
        #[arg(long, value_name = "PERCENT", default_value = "100%")]
        weight: String,
        /// The same for one person, such as nora=80%; may be repeated
        #[arg(long = "weigh", value_name = "USER=PERCENT")]
        weigh: Vec<String>,
        /// What it says.
        #[command(flatten)]
        says: Says,
    },
    /// Everybody
    Anyone {
        /// What it says.
        #[command(flatten)]
        says: Says,
    },
}

/// What a rule says.
#[derive(Debug, Args)]
pub struct Says {
    /// The most that each may owe you, such as 20 USD/2
    #[arg(value_name = "AMOUNT")]
    pub each: Vec<String>,
    /// The most that all of them together may owe you
    #[arg(long, value_name = "AMOUNT", num_args = 1..=2)]
    pub total: Vec<String>,
    /// The most that you will owe each of them
    #[arg(long, value_name = "AMOUNT", num_args = 1..=2)]
    pub issue: Vec<String>,
    /// Pass payments on to them for this fee
    #[arg(long, value_name = "FEE", num_args = 1..=2, conflicts_with = "no_forward")]
    pub forward: Vec<String>,
    /// The part of the fee that depends on the amount, in millionths
    #[arg(long, default_value_t = 0, requires = "forward", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub ppm: u32,
    /// Pass nothing on to them
    #[arg(long)]
    pub no_forward: bool,
    /// The unit, if no amount says it
    #[arg(long)]
    pub unit: Option<String>,
    /// Ask it before this rule [default: after all others]
    #[arg(long, value_name = "RULE")]
    pub before: Option<u32>,
}

/// `block` and `unblock`
#[derive(Debug, Args)]
pub struct Block {
    /// Their name or key; without it, `block` lists who is blocked
    pub who: Option<String>,
}
