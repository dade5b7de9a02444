//! What is said of proposals on the wire.

use atomicity_ledger::link::Link;
use atomicity_ledger::policy::Rule;
use atomicity_ledger::{Amount, Memo, Name, RecordId, SignerKey, Timestamp, Total, Unit, UserKey};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What is proposed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Wish {
    /// To add somebody as a friend.
    Friend {
        /// Whom.
        #[schema(value_type = String)]
        user: UserKey,
        /// What to call them; as they call themselves if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        name: Option<Name>,
    },
    /// To let a friend owe so much.
    Limit {
        /// The friend.
        #[schema(value_type = String)]
        user: UserKey,
        /// In what.
        #[schema(value_type = String)]
        unit: Unit,
        /// How much, in minor units.
        #[schema(value_type = String)]
        accept: Total,
    },
    /// To pay a friend: they are owed so much more by you, or you so much less by them.
    Issue {
        /// The friend.
        #[schema(value_type = String)]
        user: UserKey,
        /// In what.
        #[schema(value_type = String)]
        unit: Unit,
        /// How much, in minor units.
        #[schema(value_type = String)]
        amount: Amount,
        /// What for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        memo: Option<Memo>,
    },
    /// To pay an invoice over friends.
    Pay {
        /// The `atomicity:` link with the invoice.
        link: String,
        /// The most that all who pass it on may take, in minor units; as the wallet has it if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        max_fee: Option<Total>,
    },
    /// To pay somebody's request, or a part of it.
    Part {
        /// The `atomicity:` link with the request.
        link: String,
        /// How much, in minor units; all of it, or what is left, if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        amount: Option<Amount>,
        /// The most that all who pass it on may take, in minor units; as the wallet has it if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        max_fee: Option<Total>,
    },
    /// To ask to be paid.
    Ask {
        /// By whom; by everybody together if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        user: Option<UserKey>,
        /// In what.
        #[schema(value_type = String)]
        unit: Unit,
        /// How much, in minor units.
        #[schema(value_type = String)]
        amount: Amount,
        /// What for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        memo: Option<Memo>,
    },
    /// To have a friend pay off what they owe.
    Settle {
        /// The friend.
        #[schema(value_type = String)]
        user: UserKey,
        /// In what.
        #[schema(value_type = String)]
        unit: Unit,
        /// How much of it, in minor units.
        #[schema(value_type = String)]
        amount: Amount,
        /// The Lightning invoice that the friend is to pay; wherever the wallet can be paid if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(max_length = 2048)]
        invoice: Option<String>,
    },
    /// To hand on what a friend owes to whoever made an invoice.
    Reassign {
        /// The friend who owes.
        #[schema(value_type = String)]
        user: UserKey,
        /// The `atomicity:` link with the invoice.
        link: String,
        /// The most that the friend may take for it, in minor units; as the wallet has it if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        max_fee: Option<Total>,
    },
    /// To deal with somebody no more, or again.
    Block {
        /// Whom.
        #[schema(value_type = String)]
        user: UserKey,
        /// Whether they are to be blocked.
        blocked: bool,
    },
    /// To let many owe whom the user did not add one by one.
    Rule {
        /// Whom, and how much, as wallets keep rules: `who`, `unit`, `accept`, `cap`, `per_introducer`, `issue`, `forward`.
        #[schema(value_type = Object)]
        rule: Box<Rule>,
    },
    /// To take such a rule back.
    Unrule {
        /// One that says the same.
        #[schema(value_type = Object)]
        rule: Box<Rule>,
    },
    /// To let an app spend, with a key that it made. Only the root key signs that.
    Account {
        /// What to call it.
        #[schema(value_type = String)]
        name: Name,
        /// The app's key, z-base-32.
        #[schema(value_type = String)]
        key: SignerKey,
        /// In what.
        #[schema(value_type = String)]
        unit: Unit,
        /// The most on one day (UTC), in minor units.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        per_day: Option<Total>,
        /// The most in all, in minor units.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        total: Option<Total>,
        /// When it ends, Unix milliseconds.
        #[schema(value_type = u64)]
        until: Timestamp,
    },
    /// To end an app's account for good. Only the root key signs that.
    Revoke {
        /// The app's key, z-base-32.
        #[schema(value_type = String)]
        key: SignerKey,
    },
    /// To let the agent of this plugin keep the books of all friends. Only the root key signs that.
    Agent {
        /// When it ends by itself, Unix milliseconds.
        #[schema(value_type = u64)]
        until: Timestamp,
    },
    /// To end the agent of this plugin: it hands the books back to the wallet.
    AgentOff {
        /// By the root key, whether the agent answers or not.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        force: bool,
    },
}

impl Wish {
    /// In what something is paid, if it is and its link can be read.
    #[must_use]
    pub fn paid_in(&self) -> Option<Unit> {
        let (Self::Pay { link, .. } | Self::Part { link, .. } | Self::Reassign { link, .. }) = self
        else {
            return None;
        };
        match link.parse::<Link>() {
            Ok(Link::Invoice(invoice)) => Some(invoice.record().unit.clone()),
            Ok(Link::Request(request)) => Some(request.record().unit.clone()),
            _ => None,
        }
    }
}

/// A proposal.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Proposal {
    /// Sixteen random bytes in base64url: its name.
    #[schema(value_type = String, min_length = 22, max_length = 22)]
    pub id: RecordId,
    /// What is proposed.
    #[serde(flatten)]
    pub wish: Wish,
}

/// What the wallet says of a proposal.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProposalWord {
    /// What it would cost; nothing is decided.
    Quoted,
    /// The user has agreed on the device.
    Accepted,
    /// The user does not want it.
    Declined,
    /// It was done.
    Done,
    /// It was not done, and will not be.
    Failed,
}

/// The same, with what belongs to it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposalReport {
    /// What.
    pub(super) state: ProposalWord,
    /// What it costs, or cost, beyond the amount, in minor units.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(super) fee: Option<Total>,
    /// Through how many people it goes.
    #[serde(default)]
    pub(super) hops: Option<u16>,
    /// Over whom it goes, a list for each of its parts, the payee last: at most four parts of at most twenty people.
    #[serde(default)]
    #[schema(value_type = Vec<Vec<String>>)]
    pub(super) route: Vec<Vec<UserKey>>,
    /// How much it was, in minor units, where that was not said before.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(super) amount: Option<Amount>,
    /// The name of the request that was made, for one who asks to be paid.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 22, max_length = 22)]
    pub(super) request: Option<RecordId>,
    /// Why not: a code.
    #[serde(default)]
    pub(super) reason: Option<String>,
}

/// What a wallet said, as it is kept and shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Told {
    /// What it costs, or cost, beyond the amount, in minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub fee: Option<Total>,
    /// Through how many people it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hops: Option<u16>,
    /// Over whom it goes, a list for each of its parts, the payee last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Vec<String>>)]
    pub route: Vec<Vec<UserKey>>,
    /// How much it was, in minor units, where that was not said before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub amount: Option<Amount>,
    /// The name of the request that was made, for one who asks to be paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 22, max_length = 22)]
    pub request: Option<RecordId>,
    /// Why not: a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A proposal, and how far it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProposalView {
    /// What is proposed.
    #[serde(flatten)]
    pub proposal: Proposal,
    /// `open`, `expired`, `accepted`, `declined`, `withdrawn`, `done`, `failed`.
    pub state: String,
    /// When it was made, Unix milliseconds.
    pub at: i64,
    /// From then on it can't be accepted any more.
    pub expires: i64,
    /// When it last changed.
    pub changed_at: i64,
    /// What the wallet said of it last.
    pub told: Option<Told>,
}

/// Proposals, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProposalList {
    /// At most a hundred.
    pub(super) items: Vec<ProposalView>,
}

/// Which proposals.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ProposalsQuery {
    /// Only those that wait or are being done.
    #[serde(default)]
    pub(super) open: bool,
}
