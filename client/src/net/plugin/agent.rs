//! The agent at the own plugin: beginning, handing books over, asking it to sign, seeing what it did, taking books back.

use std::time::Duration;

use atomicity_ledger::record::Rate;
use atomicity_ledger::{Preimage, RecordId, SignerKey, Timestamp, UserKey};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::error::NetError;
use super::super::events::EventConnection;
use super::{PluginClient, dial};

/// Books with many promises in them.
const MAX_PAIR_BYTES: usize = 8 * 1024 * 1024;
/// A page of signatures, each with its record.
const MAX_JOURNAL_BYTES: usize = 16 * 1024 * 1024;
/// Signatures in one page.
const JOURNAL_PAGE: u32 = 100;
/// Pages of peers at most.
const MAX_PAGES: usize = 64;
/// The invoices that the agent looks after.
const INVOICES: &str = "/v0/me/agent/invoices";
/// What the agent answers with, beyond books.
const MAX_VIEW_BYTES: usize = 1024 * 1024;

/// What an agent is told.
#[derive(Serialize)]
pub struct AgentOrder {
    /// When it ends, Unix milliseconds.
    pub until: u64,
    /// The user's file keys, the current one first.
    pub encryption: Vec<FileKey>,
    /// The root's word, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// A grant to write channel files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// What is allowed in all.
    pub settings: AgentSettings,
}

/// A file key.
#[derive(Serialize)]
pub struct FileKey {
    /// Its number.
    pub n: u32,
    /// 32 bytes in base64url.
    pub secret: Zeroizing<String>,
}

/// What is allowed in all.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AgentSettings {
    /// Policies of logs that promises may hang on.
    pub logs: Vec<String>,
    /// Origins of logs that are refused.
    pub logs_refused: Vec<String>,
    /// At which rates it exchanges units, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<AgentExchange>,
}

/// At which rates the agent exchanges units.
#[derive(Clone, Debug, Serialize)]
pub struct AgentExchange {
    /// The rates.
    pub rates: Vec<Rate>,
    /// From then on they don't count.
    pub until: Timestamp,
}

/// An agent, as its plugin shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct AgentView {
    /// Its signing key.
    pub agent_key: SignerKey,
    /// `new`, `active` or `stopped`.
    pub state: String,
    /// Why it stopped.
    #[serde(default)]
    pub why: Option<String>,
    /// When it ends, Unix milliseconds.
    pub until: u64,
    /// The books that it keeps or kept.
    #[serde(default)]
    pub peers: Vec<AgentPeer>,
    /// Where the next page begins.
    #[serde(default)]
    next: Option<String>,
}

/// Books in a list.
#[derive(Clone, Debug, Deserialize)]
pub struct AgentPeer {
    /// Towards whom.
    pub peer: UserKey,
    /// `kept` or `returned`.
    pub state: String,
    /// Grows with every change.
    pub version: String,
    /// Records of the peer that can't be judged yet.
    #[serde(default)]
    pub pending: u64,
    /// Batches of records that wait to be sent.
    #[serde(default)]
    pub to_send: u64,
}

/// Books, as the agent has them.
#[derive(Debug, Deserialize)]
pub struct AgentPair {
    /// `kept` or `returned`.
    pub state: String,
    /// Grows with every change.
    pub version: String,
    /// Whether the peer has acknowledged that the agent keeps them.
    #[serde(default)]
    pub acknowledged: bool,
    /// The books.
    pub pair: Box<RawValue>,
    /// Records of the peer that could not be judged yet.
    #[serde(default)]
    pub pending: Vec<String>,
}

/// A signature.
#[derive(Clone, Debug, Deserialize)]
pub struct Signature {
    /// Its number.
    pub id: String,
    /// When, Unix milliseconds.
    pub at: u64,
    /// Towards whom.
    pub peer: UserKey,
    /// What was signed.
    pub what: String,
    /// In what.
    #[serde(default)]
    pub unit: Option<String>,
    /// How much it is about, in minor units.
    #[serde(default)]
    pub amount: Option<String>,
    /// The record in compact form.
    pub record: String,
}

/// A page of signatures.
#[derive(Clone, Debug, Deserialize)]
pub struct Journal {
    /// In order.
    pub items: Vec<Signature>,
    /// Where the next page begins.
    #[serde(default)]
    pub next: Option<String>,
}

/// An invoice that the agent looks after.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AgentInvoice {
    /// `open`, `publishing`, `paid`, `failed`, `expired` or `withdrawn`.
    pub(crate) state: String,
    /// What is promised, or was paid, in minor units.
    pub(crate) received: String,
    /// The record in compact form.
    pub(crate) invoice: String,
    /// When it was made, Unix milliseconds.
    pub(crate) created_at: u64,
    /// When it ended.
    #[serde(default)]
    pub(crate) ended_at: Option<u64>,
    /// What was published.
    #[serde(default)]
    pub(crate) preimage: Option<Preimage>,
}

/// Something that happened to books at the agent.
#[derive(Clone, Debug, Deserialize)]
pub struct AgentEvent {
    /// Its number.
    pub id: String,
    /// When, Unix milliseconds.
    pub at: u64,
    /// Towards whom.
    #[serde(default)]
    pub peer: Option<UserKey>,
    /// What.
    pub kind: String,
    /// More of it.
    #[serde(default)]
    pub body: Value,
}

/// What comes from the agent's stream.
pub(crate) enum AgentNews {
    /// Something happened.
    Event(AgentEvent),
    /// All that had happened before was said.
    Ready,
}

/// What the agent signed, compact.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SignedByAgent {
    pub(crate) records: Vec<String>,
}

impl PluginClient {
    /// Begins an agent, or changes it.
    ///
    /// # Errors
    /// Network errors; what the plugin answers.
    pub async fn put_agent(&self, order: &AgentOrder) -> Result<AgentView, NetError> {
        let call = self.request(Method::PUT, "/v0/me/agent").json(order)?;
        let call = call.at_most(MAX_VIEW_BYTES);
        self.send_as_user(call).await?.json(&self.label())
    }

    /// The agent and all books with it.
    ///
    /// # Errors
    /// Network errors; `agent_unknown`.
    pub async fn agent(&self) -> Result<AgentView, NetError> {
        let mut whole: Option<AgentView> = None;
        for _ in 0..MAX_PAGES {
            let after = whole.as_ref().and_then(|view| view.next.clone());
            let query = super::super::query(after.as_deref().map(|after| ("after", after)));
            let path = match query.is_empty() {
                true => "/v0/me/agent".to_owned(),
                false => format!("/v0/me/agent?{query}"),
            };
            let call = self.request(Method::GET, path).at_most(MAX_VIEW_BYTES);
            let page: AgentView = self.send_as_user(call).await?.json(&self.label())?;
            let mut all = match whole {
                Some(mut known) => {
                    known.next = page.next;
                    known.peers.extend(page.peers);
                    known
                }
                None => page,
            };
            if all.next.is_none() || all.next == after {
                all.next = None;
                return Ok(all);
            }
            whole = Some(all);
        }
        Err(self.malformed("a list of books without end"))
    }

    /// Stops the agent at once; with `force` its keys go too, whatever is undecided.
    ///
    /// # Errors
    /// Network errors; what the plugin answers.
    pub async fn stop_agent(&self, force: bool) -> Result<(), NetError> {
        let path = format!("/v0/me/agent?force={force}");
        let call = self.request(Method::DELETE, path);
        self.send_as_user(call).await.map(|_| ())
    }

    /// Hands books over, or changes what is allowed towards this peer if the agent has them in this epoch.
    ///
    /// # Errors
    /// Network errors; what the plugin answers.
    pub async fn hand_over(
        &self,
        peer: &UserKey,
        pair: &RawValue,
        profile: Option<&str>,
        settings: &Value,
    ) -> Result<AgentPair, NetError> {
        let call = self
            .request(Method::PUT, format!("/v0/me/agent/peers/{peer}"))
            .json(&json!({ "pair": pair, "profile": profile, "settings": settings }))?
            .at_most(MAX_PAIR_BYTES);
        self.send_as_user(call).await?.json(&self.label())
    }

    /// Books as the agent has them.
    ///
    /// # Errors
    /// Network errors; `pair_unknown`.
    pub async fn agent_pair(&self, peer: &UserKey) -> Result<AgentPair, NetError> {
        let call = self
            .request(Method::GET, format!("/v0/me/agent/peers/{peer}"))
            .at_most(MAX_PAIR_BYTES);
        self.send_as_user(call).await?.json(&self.label())
    }

    /// Takes books back for `key`. Saying it again brings the same answer.
    ///
    /// # Errors
    /// Network errors; what the plugin answers.
    pub async fn take_back(
        &self,
        peer: &UserKey,
        key: SignerKey,
        caps: &Value,
    ) -> Result<AgentPair, NetError> {
        let call = self
            .request(Method::POST, format!("/v0/me/agent/peers/{peer}/return"))
            .json(&json!({ "key": key, "caps": caps }))?
            .at_most(MAX_PAIR_BYTES);
        self.send_as_user(call).await?.json(&self.label())
    }

    /// Asks the agent to sign something: `issue`, `promise`, `release`, `lines/<peer>` or `endpoints/<peer>`.
    pub(crate) async fn ask_agent(
        &self,
        what: &str,
        body: &Value,
    ) -> Result<SignedByAgent, NetError> {
        let call = self
            .request(Method::POST, format!("/v0/me/agent/{what}"))
            .json(body)?
            .at_most(MAX_VIEW_BYTES);
        self.send_as_user(call).await?.json(&self.label())
    }

    /// Has the agent make an invoice.
    pub(crate) async fn make_invoice(&self, body: &Value) -> Result<AgentInvoice, NetError> {
        let call = self
            .request(Method::POST, INVOICES)
            .json(body)?
            .at_most(MAX_VIEW_BYTES);
        self.send_as_user(call).await?.json(&self.label())
    }

    /// Hands an invoice over, with its secret. Saying it again brings the same answer.
    pub(crate) async fn hand_invoice(
        &self,
        id: &RecordId,
        invoice: &str,
        preimage: &Preimage,
    ) -> Result<AgentInvoice, NetError> {
        let secret = Zeroizing::new(String::from(*preimage));
        let call = self
            .request(Method::PUT, format!("{INVOICES}/{id}"))
            .json(&json!({ "invoice": invoice, "preimage": secret.as_str() }))?
            .at_most(MAX_VIEW_BYTES);
        self.send_as_user(call).await?.json(&self.label())
    }

    /// An invoice, and how far it is.
    pub(crate) async fn agent_invoice(&self, id: &RecordId) -> Result<AgentInvoice, NetError> {
        let call = self
            .request(Method::GET, format!("{INVOICES}/{id}"))
            .at_most(MAX_VIEW_BYTES);
        self.send_as_user(call).await?.json(&self.label())
    }

    /// Withdraws an invoice. Saying it again does no harm.
    pub(crate) async fn withdraw_invoice(&self, id: &RecordId) -> Result<AgentInvoice, NetError> {
        let call = self
            .request(Method::DELETE, format!("{INVOICES}/{id}"))
            .at_most(MAX_VIEW_BYTES);
        self.send_as_user(call).await?.json(&self.label())
    }

    /// What the agent signed after the number `after`.
    ///
    /// # Errors
    /// Network errors; what the plugin answers.
    pub async fn journal(&self, after: u64) -> Result<Journal, NetError> {
        let path = format!("/v0/me/agent/journal?after={after}&limit={JOURNAL_PAGE}");
        let call = self.request(Method::GET, path).at_most(MAX_JOURNAL_BYTES);
        self.send_as_user(call).await?.json(&self.label())
    }

    /// Opens the stream of what happens at the agent, after the number `after`.
    pub(crate) async fn agent_events(&self, after: u64) -> Result<AgentConnection, NetError> {
        let call = self
            .request(Method::GET, "/v0/me/agent/events")
            .header("accept", "text/event-stream")?
            .header("last-event-id", &after.to_string())?;
        let token = self.token(None).await?;
        let mut response = self.open(&call.clone().bearer(&token)?).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let token = self.token(Some(&token)).await?;
            response = self.open(&call.clone().bearer(&token)?).await?;
        }
        let label = self.label();
        if !response.status().is_success() {
            let answer = dial::read_body(response, &label, call.max_bytes, call.timeout).await?;
            return Err(answer.failure(&label));
        }
        let idle = self.net().config().stream_idle_timeout;
        Ok(AgentConnection {
            events: EventConnection::new(response, idle, label.clone()),
            label,
        })
    }
}

/// An open stream of what happens at the agent.
pub(crate) struct AgentConnection {
    events: EventConnection,
    label: String,
}

impl AgentConnection {
    /// What comes next. A stream that ended is an error.
    pub(crate) async fn next(&mut self) -> Result<AgentNews, NetError> {
        loop {
            let Some(event) = self.events.next().await? else {
                return Err(NetError::Unreachable {
                    server: self.label.clone(),
                    reason: "it ended the stream".to_owned(),
                });
            };
            match event.event.as_str() {
                "ready" => return Ok(AgentNews::Ready),
                "agent" => {
                    let read = serde_json::from_str(&event.data);
                    return read.map(AgentNews::Event).map_err(|_| NetError::Malformed {
                        server: self.label.clone(),
                        reason: "an event of the agent that is none".to_owned(),
                    });
                }
                // Kinds that this version does not know.
                _ => {}
            }
        }
    }

    /// The same, but `None` if nothing comes within `patience`.
    pub(crate) async fn next_within(
        &mut self,
        patience: Duration,
    ) -> Result<Option<AgentNews>, NetError> {
        match tokio::time::timeout(patience, self.next()).await {
            Ok(news) => news.map(Some),
            Err(_) => Ok(None),
        }
    }
}
