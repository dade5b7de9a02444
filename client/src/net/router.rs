//! Asking a router for ways to pay somebody, and for circles of debts.

use std::collections::BTreeMap;

use atomicity_ledger::record::Hint;
use atomicity_ledger::{Amount, Total, Unit, UserKey};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::error::NetError;
use super::plugin::PluginClient;

/// An answer with more bytes is not read.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// What is asked: `POST /v0/router/routes`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RoutesQuestion {
    /// Where the way begins, if that is not the payer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<UserKey>,
    /// The payer's own channels: so nobody learns who pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<Vec<FirstHop>>,
    pub(crate) to: UserKey,
    pub(crate) hints: Vec<HintHop>,
    pub(crate) unit: Unit,
    pub(crate) amount: Amount,
    pub(crate) max_fee: Total,
    /// What the payer promises, if that is another unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pay_unit: Option<Unit>,
    /// The most of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_total: Option<Total>,
    pub(crate) max_parts: usize,
    pub(crate) alternatives: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) via: Option<UserKey>,
    pub(crate) avoid_users: Vec<UserKey>,
    pub(crate) avoid_edges: Vec<Edge>,
}

/// A channel of the payer, and what can go over it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FirstHop {
    pub(crate) user: UserKey,
    pub(crate) capacity: Amount,
}

/// A direction to avoid.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Edge {
    pub(crate) from: UserKey,
    pub(crate) to: UserKey,
}

/// A last hop that is not published.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HintHop {
    peer: UserKey,
    capacity: Amount,
    base: Total,
    ppm: u32,
}

impl From<Hint> for HintHop {
    fn from(hint: Hint) -> Self {
        Self {
            peer: hint.peer,
            capacity: hint.capacity,
            base: hint.base,
            ppm: hint.ppm,
        }
    }
}

/// What a router answers. Unknown members are for later versions.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RoutesAnswer {
    pub(crate) routes: Vec<Route>,
    #[serde(default)]
    pub(crate) profiles: BTreeMap<UserKey, String>,
}

/// One way, in one part or several.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Route {
    pub(crate) parts: Vec<Part>,
    /// Whether the router is certain that it knows nothing cheaper; those that don't say always are.
    #[serde(default = "always")]
    pub(crate) exact: bool,
}

fn always() -> bool {
    true
}

/// A chain of promises.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Part {
    pub(crate) hops: Vec<Hop>,
    #[serde(default)]
    pub(crate) exchange: Option<ToldExchange>,
}

/// Where units are exchanged on it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ToldExchange {
    /// How many are promised the payer's unit; the last of them exchanges.
    pub(crate) at: usize,
    /// What they signed about their rates.
    pub(crate) rates: String,
}

/// One user on the way, and what they are promised.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Hop {
    pub(crate) user: UserKey,
    pub(crate) amount: Amount,
}

/// What is asked: `POST /v0/router/circles`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CirclesQuestion {
    pub(crate) user: UserKey,
    pub(crate) unit: Unit,
    pub(crate) max_edges: usize,
}

/// Circles of debts.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct CirclesAnswer {
    pub(crate) circles: Vec<ToldCircle>,
    #[serde(default)]
    pub(crate) profiles: BTreeMap<UserKey, String>,
}

/// One of them: everybody after whoever asks, who comes last.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ToldCircle {
    pub(crate) amount: Amount,
    pub(crate) users: Vec<UserKey>,
}

impl PluginClient {
    /// Asks for circles of debts.
    ///
    /// # Errors
    /// The router's codes; network errors.
    pub(crate) async fn circles(
        &self,
        question: &CirclesQuestion,
    ) -> Result<CirclesAnswer, NetError> {
        let call = self
            .request(Method::POST, "/v0/router/circles")
            .json(question)?
            .at_most(MAX_ANSWER);
        let answer = self.check(self.send(&call, false).await?)?;
        answer.json(&self.label())
    }

    /// Asks for ways.
    ///
    /// # Errors
    /// The router's codes (`no_route`, `gave_up`, `too_narrow`, `fee_too_high`, `unknown_payee`); network errors.
    pub(crate) async fn routes(&self, question: &RoutesQuestion) -> Result<RoutesAnswer, NetError> {
        let call = self
            .request(Method::POST, "/v0/router/routes")
            .json(question)?
            .at_most(MAX_ANSWER);
        let answer = self.check(self.send(&call, false).await?)?;
        answer.json(&self.label())
    }
}
