//! What a page or an app proposed to this wallet, at a plugin.

use atomicity_ledger::link::Link;
use atomicity_ledger::{Name, RecordId, Total, Unit, UserKey};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::super::error::NetError;
use super::PluginClient;

/// A hundred proposals, each with an invoice of ordinary length.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;
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
    /// To pay an invoice over friends.
    Pay {
        /// The link with the invoice.
        link: String,
        /// The most that whoever passes it on may take, in minor units.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_fee: Option<Total>,
    },
}

impl Wish {
    /// What it is, in a word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Friend { .. } => "friend",
            Self::Limit { .. } => "limit",
            Self::Pay { .. } => "pay",
        }
    }

    /// The invoice, if one is to be paid and can be read.
    #[must_use]
    pub fn invoice(&self) -> Option<atomicity_ledger::record::Invoice> {
        let Self::Pay { link, .. } = self else {
            return None;
        };
        match link.parse::<Link>() {
            Ok(Link::Invoice(invoice)) => Some(invoice.record().clone()),
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
}

/// What the wallet says of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProposalReport<'a> {
    pub(crate) state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fee: Option<Total>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hops: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
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
        let read = list.items.into_iter().map(serde_json::from_value);
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
