//! Requests that recur and that the agent pays.

use atomicity_ledger::{RecordHash, RecordId};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::super::error::NetError;
use super::PluginClient;

/// A page of parts, each with its record.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Pages that are read at once at most.
const MAX_PAGES: usize = 128;
/// What the agent pays turn by turn.
const APPROVALS: &str = "/v0/me/agent/approvals";

/// A request that the agent pays, as its plugin shows it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AgentApproval {
    /// The request's hash.
    pub(crate) request: RecordHash,
    /// `active`, `ended`.
    pub(crate) state: String,
    /// Why the last try came to nothing, or why it has ended.
    #[serde(default)]
    pub(crate) why: Option<String>,
}

/// A part that the agent asked for.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AgentTurn {
    /// Which turn.
    pub(crate) turn: u32,
    /// The part's name.
    pub(crate) id: RecordId,
    /// What was signed.
    pub(crate) record: String,
    /// How much, in minor units.
    pub(crate) amount: String,
    /// `asked`, `granted`, `paid`, `refused`, `ended`.
    pub(crate) state: String,
    /// When it was asked for, Unix milliseconds.
    pub(crate) at: u64,
    /// When it was paid.
    #[serde(default)]
    pub(crate) ended_at: Option<u64>,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl PluginClient {
    /// Lets the agent pay a request, turn by turn.
    pub(crate) async fn put_approval(
        &self,
        hash: &RecordHash,
        request: &str,
        (up_to, until, first_turn): (u64, Option<u64>, u32),
    ) -> Result<AgentApproval, NetError> {
        let up_to = up_to.to_string();
        let body =
            json!({"request": request, "up_to": up_to, "until": until, "first_turn": first_turn});
        let call = self.request(Method::PUT, format!("{APPROVALS}/{hash}"));
        let answer = self.send_as_user(call.json(&body)?).await?;
        answer.json(&self.label())
    }

    /// Has the agent pay nothing more of a request. Saying it again does no harm.
    pub(crate) async fn end_approval(&self, hash: &RecordHash) -> Result<AgentApproval, NetError> {
        let call = self.request(Method::DELETE, format!("{APPROVALS}/{hash}"));
        self.send_as_user(call).await?.json(&self.label())
    }

    /// What the agent pays, and paid.
    pub(crate) async fn agent_approvals(&self) -> Result<Vec<AgentApproval>, NetError> {
        self.list(APPROVALS, None).await
    }

    /// What the agent asked for of a request after a turn, or from the first on.
    pub(crate) async fn agent_turns(
        &self,
        hash: &RecordHash,
        after: Option<u32>,
    ) -> Result<Vec<AgentTurn>, NetError> {
        let path = format!("{APPROVALS}/{hash}/turns");
        self.list(&path, after.map(|turn| turn.to_string())).await
    }

    async fn list<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        mut after: Option<String>,
    ) -> Result<Vec<T>, NetError> {
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let query = super::super::query(after.as_deref().map(|after| ("after", after)));
            let path = match query.is_empty() {
                true => path.to_owned(),
                false => format!("{path}?{query}"),
            };
            let call = self.request(Method::GET, path).at_most(MAX_PAGE_BYTES);
            let page: Page<T> = self.send_as_user(call).await?.json(&self.label())?;
            all.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
        Err(self.malformed("a list without end"))
    }
}
