//! What a page or an app proposed to this wallet, at a plugin.

use atomicity_ledger::link::{Link, MAX_LINK_BYTES};
use atomicity_ledger::policy::Rule;
use atomicity_ledger::record::Goal;
use atomicity_ledger::{Amount, Memo, Name, RecordId, SignerKey, Timestamp, Total, Unit, UserKey};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::super::error::NetError;
use super::PluginClient;

/// A hundred proposals, each with an invoice of ordinary length.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;
/// As many as a plugin lists.
const MOST: usize = 100;
/// A proposal with the longest link, and what stands beside it.
const MAX_ITEM_BYTES: usize = MAX_LINK_BYTES + 8 * 1024;
/// Where they are.
const PROPOSALS: &str = "/v0/me/proposals";

/// What is proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Wish {
    /// To add somebody as a friend.
    Friend {
        /// Whom.
        user: UserKey,
        /// What to call them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Name>,
    },
    /// To let a friend owe so much.
    Limit {
        /// The friend.
        user: UserKey,
        /// In what.
        unit: Unit,
        /// How much.
        accept: Total,
    },
    /// To pay a friend.
    Issue {
        /// The friend.
        user: UserKey,
        /// In what.
        unit: Unit,
        /// How much.
        amount: Amount,
        /// What for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memo: Option<Memo>,
    },
    /// To pay an invoice over friends.
    Pay {
        /// The link with the invoice.
        link: String,
        /// The most that whoever passes it on may take, in minor units.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_fee: Option<Total>,
    },
    /// To pay somebody's request, or a part of it.
    Part {
        /// The link with the request.
        link: String,
        /// How much; all of it, or what is left, if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<Amount>,
        /// The most that whoever passes it on may take, in minor units.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_fee: Option<Total>,
    },
    /// To ask to be paid.
    Ask {
        /// By whom; by everybody together if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<UserKey>,
        /// In what.
        unit: Unit,
        /// How much.
        amount: Amount,
        /// What for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memo: Option<Memo>,
    },
    /// To have a friend pay off what they owe.
    Settle {
        /// The friend.
        user: UserKey,
        /// In what.
        unit: Unit,
        /// How much of it.
        amount: Amount,
        /// The Lightning invoice that the friend is to pay; if not given, wherever the wallet can be paid.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        invoice: Option<String>,
    },
    /// To hand on what a friend owes to whoever made an invoice.
    Reassign {
        /// The friend who owes.
        user: UserKey,
        /// The link with the invoice.
        link: String,
        /// The most that the friend may take for it, in minor units.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_fee: Option<Total>,
    },
    /// To deal with somebody no more, or again.
    Block {
        /// Whom.
        user: UserKey,
        /// Whether they are to be blocked.
        blocked: bool,
    },
    /// To let many owe whom the user did not add one by one.
    Rule {
        /// Whom, and how much.
        rule: Box<Rule>,
    },
    /// To take such a rule back.
    Unrule {
        /// One that says the same.
        rule: Box<Rule>,
    },
    /// To let an app spend, with a key that it made.
    Account {
        /// What to call it.
        name: Name,
        /// The app's key.
        key: SignerKey,
        /// In what.
        unit: Unit,
        /// The most on one day (UTC).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        per_day: Option<Total>,
        /// The most in all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<Total>,
        /// When it ends.
        until: Timestamp,
    },
    /// To end an app's account for good.
    Revoke {
        /// The app's key.
        key: SignerKey,
    },
    /// To let the agent at this plugin keep the books of all friends, within the limits of the device.
    Agent {
        /// When it ends by itself.
        until: Timestamp,
    },
    /// To end the agent at this plugin: the books come back to this device.
    AgentOff {
        /// By the root's word, whether the agent answers or not.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        force: bool,
    },
}

impl Wish {
    /// What it is, in a word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Friend { .. } => "friend",
            Self::Limit { .. } => "limit",
            Self::Issue { .. } => "issue",
            Self::Pay { .. } => "pay",
            Self::Part { .. } => "part",
            Self::Ask { .. } => "ask",
            Self::Settle { .. } => "settle",
            Self::Reassign { .. } => "reassign",
            Self::Block { .. } => "block",
            Self::Rule { .. } => "rule",
            Self::Unrule { .. } => "unrule",
            Self::Account { .. } => "account",
            Self::Revoke { .. } => "revoke",
            Self::Agent { .. } => "agent",
            Self::AgentOff { .. } => "agent_off",
        }
    }

    /// Whether only the root key can do it: then it is done when the user accepts it, and by nothing that goes on later.
    #[must_use]
    pub fn needs_root(&self) -> bool {
        matches!(
            self,
            Self::Account { .. }
                | Self::Revoke { .. }
                | Self::Agent { .. }
                | Self::AgentOff { force: true }
        )
    }

    /// The invoice, if one is to be paid and can be read.
    #[must_use]
    pub fn invoice(&self) -> Option<atomicity_ledger::record::Invoice> {
        let (Self::Pay { link, .. } | Self::Reassign { link, .. }) = self else {
            return None;
        };
        match link.parse::<Link>() {
            Ok(Link::Invoice(invoice)) => Some(invoice.record().clone()),
            _ => None,
        }
    }

    /// The request, if one is to be paid and can be read.
    #[must_use]
    pub fn request(&self) -> Option<atomicity_ledger::record::PaymentRequest> {
        let Self::Part { link, .. } = self else {
            return None;
        };
        match link.parse::<Link>() {
            Ok(Link::Request(request)) => Some(request.record().clone()),
            _ => None,
        }
    }

    /// Whether it names what is to be paid, if something is: else nothing of it is done.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        match self {
            Self::Pay { .. } | Self::Reassign { .. } => self
                .invoice()
                .is_some_and(|invoice| invoice.amount.is_some()),
            Self::Part { .. } => self.request().is_some(),
            _ => true,
        }
    }

    /// Whether something is paid, asked for or handed on, and not only set.
    #[must_use]
    pub fn pays(&self) -> bool {
        matches!(
            self,
            Self::Issue { .. }
                | Self::Pay { .. }
                | Self::Part { .. }
                | Self::Ask { .. }
                | Self::Settle { .. }
                | Self::Reassign { .. }
        )
    }

    /// How much is paid over others, as far as it is known before.
    #[must_use]
    pub fn amount(&self) -> Option<Amount> {
        match self {
            Self::Part { amount, .. } => amount.or_else(|| match self.request()?.amount {
                Goal::Exact(exact) => Some(exact),
                _ => None,
            }),
            _ => self.invoice().and_then(|invoice| invoice.amount),
        }
    }

    /// In what something is paid, if it is: then it may cost more than its amount.
    #[must_use]
    pub fn paid_in(&self) -> Option<Unit> {
        let invoice = self.invoice().map(|invoice| invoice.unit);
        invoice.or_else(|| self.request().map(|request| request.unit))
    }

    /// The most that whoever passes it on may take, as it was proposed.
    #[must_use]
    pub fn max_fee(&self) -> Option<u64> {
        match self {
            Self::Pay { max_fee, .. }
            | Self::Part { max_fee, .. }
            | Self::Reassign { max_fee, .. } => max_fee.map(Total::minor),
            _ => None,
        }
    }
}

/// A proposal, as its plugin shows it. Whoever has a session could have made it up.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct ProposalStanding {
    /// Its name.
    pub id: RecordId,
    /// What is proposed.
    #[serde(flatten)]
    pub wish: Wish,
    /// `open`, `expired`, `accepted`, `declined`, `withdrawn`, `done`, `failed`.
    pub state: String,
    /// When it was made, Unix milliseconds, by the plugin's clock.
    pub at: u64,
    /// From then on it can't be accepted any more.
    pub expires: u64,
    /// What a wallet said of it, if one has.
    #[serde(default)]
    pub(crate) told: Option<serde::de::IgnoredAny>,
}

/// What the wallet says of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProposalReport<'a> {
    pub(crate) state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fee: Option<Total>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hops: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) route: Vec<Vec<UserKey>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) amount: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<RecordId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
}

impl<'a> ProposalReport<'a> {
    /// This word, with nothing beside it.
    pub(crate) fn of(state: &'a str) -> Self {
        Self {
            state,
            fee: None,
            hops: None,
            route: Vec::new(),
            amount: None,
            request: None,
            reason: None,
        }
    }
}

#[derive(Deserialize)]
struct List {
    items: Vec<serde_json::Value>,
}

impl PluginClient {
    /// What waits for this wallet, the newest first. What this version can't read is left out.
    pub(crate) async fn open_proposals(&self) -> Result<Vec<ProposalStanding>, NetError> {
        let path = format!("{PROPOSALS}?open=true");
        let call = self.request(Method::GET, path).at_most(MAX_PAGE_BYTES);
        let list: List = self.send_as_user(call).await?.json(&self.label())?;
        let read = list.items.into_iter().take(MOST).filter(|item| {
            // Nothing is that long which an honest plugin takes.
            item.to_string().len() <= MAX_ITEM_BYTES
        });
        let read = read.map(serde_json::from_value);
        Ok(read.filter_map(Result::ok).collect())
    }

    /// Says what becomes of a proposal.
    pub(crate) async fn report_proposal(
        &self,
        id: &RecordId,
        report: &ProposalReport<'_>,
    ) -> Result<(), NetError> {
        let call = self
            .request(Method::PUT, format!("{PROPOSALS}/{id}"))
            .json(report)?;
        self.send_as_user(call).await.map(|_| ())
    }
}
