//! Payment accounts at a plugin: the user's side, and that of an app.

use atomicity_ledger::record::{Pass, Spend};
use atomicity_ledger::{Preimage, RecordHash, RecordId, Signed, SignerKey, Unit, UserKey};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::error::NetError;
use super::PluginClient;

/// A page of spends, each with its record.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Pages that are read at once at most.
const MAX_PAGES: usize = 16;
/// The accounts of a user.
const ACCOUNTS: &str = "/v0/me/agent/accounts";
/// What they asked for.
const SPENDS: &str = "/v0/me/agent/spends";

/// A payment account, as its plugin shows it. Amounts are decimal strings of minor units.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct AccountStanding {
    /// Its key.
    pub account: SignerKey,
    /// `active`, `revoked`, `restored`.
    pub state: String,
    /// In what.
    pub unit: Unit,
    /// The most on one day (UTC), if that is bounded.
    #[serde(default)]
    pub per_day: Option<String>,
    /// The most in all.
    pub total: String,
    /// What was spent, with what is reserved.
    pub spent: String,
    /// What can still be spent today.
    pub left_today: String,
    /// What can still be spent in all.
    pub left: String,
    /// Whom it may pay; anybody if absent.
    #[serde(default)]
    pub peers: Option<Vec<UserKey>>,
    /// Whether it reaches places outside, by the rails of its owner.
    #[serde(default)]
    pub rails: bool,
    /// From when, Unix milliseconds.
    pub from: u64,
    /// Until when.
    pub until: u64,
}

/// A spend, as its plugin shows it.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct SpendStatus {
    /// Its name.
    pub id: RecordId,
    /// The account.
    pub account: SignerKey,
    /// `waiting` for the user's wallet, `paying`, `unknown`, `paid`, `failed`.
    pub state: String,
    /// Why it failed: a code.
    #[serde(default)]
    pub reason: Option<String>,
    /// In what.
    pub unit: Unit,
    /// What is to arrive, in minor units.
    pub amount: String,
    /// What it cost beyond that.
    pub fee: String,
    /// Whether the agent signed it at once.
    pub direct: bool,
    /// What shows that it was paid.
    #[serde(default)]
    pub receipt: Option<SpendReceipt>,
    /// When it was taken, Unix milliseconds.
    pub at: u64,
    /// From then on nobody begins to pay.
    pub expires: u64,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<u64>,
}

/// What shows that a spend was paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SpendReceipt {
    /// The preimage of the invoice's hash.
    Preimage(Preimage),
    /// The hash of the payment.
    Record(RecordHash),
    /// What another rail has.
    Proof(String),
}

/// A spend with what its account signed, as the user sees it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SpendItem {
    #[serde(flatten)]
    pub(crate) status: SpendStatus,
    pub(crate) record: String,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl PluginClient {
    /// Makes a payment account known to the agent.
    pub(crate) async fn put_account(
        &self,
        key: &SignerKey,
        name: &str,
        delegation: &str,
    ) -> Result<AccountStanding, NetError> {
        let call = self
            .request(Method::PUT, format!("{ACCOUNTS}/{key}"))
            .json(&json!({ "name": name, "delegation": delegation }))?;
        self.send_as_user(call).await?.json(&self.label())
    }

    /// Ends a payment account at once.
    pub(crate) async fn revoke_account(&self, key: &SignerKey) -> Result<(), NetError> {
        let call = self.request(Method::DELETE, format!("{ACCOUNTS}/{key}"));
        self.send_as_user(call).await.map(|_| ())
    }

    /// The user's payment accounts.
    pub(crate) async fn accounts(&self) -> Result<Vec<AccountStanding>, NetError> {
        self.pages(ACCOUNTS.to_owned(), |last: &AccountStanding| {
            last.account.to_string()
        })
        .await
    }

    /// What payment accounts asked for and has not ended, newest first.
    pub(crate) async fn open_spends(&self) -> Result<Vec<SpendItem>, NetError> {
        self.pages(format!("{SPENDS}?open=true"), |last: &SpendItem| {
            last.status.id.to_string()
        })
        .await
    }

    async fn pages<T: serde::de::DeserializeOwned>(
        &self,
        path: String,
        name: impl Fn(&T) -> String,
    ) -> Result<Vec<T>, NetError> {
        let mut all: Vec<T> = Vec::new();
        for _ in 0..MAX_PAGES {
            let mark = if path.contains('?') { '&' } else { '?' };
            let path = match all.last().map(&name) {
                Some(after) => format!("{path}{mark}after={after}"),
                None => path.clone(),
            };
            let call = self.request(Method::GET, path).at_most(MAX_PAGE_BYTES);
            let page: Page<T> = self.send_as_user(call).await?.json(&self.label())?;
            let ended = page.next.is_none() || page.items.is_empty();
            all.extend(page.items);
            if ended {
                break;
            }
        }
        Ok(all)
    }

    /// Says what became of a spend.
    pub(crate) async fn report_spend(
        &self,
        id: &RecordId,
        report: &serde_json::Value,
    ) -> Result<SpendStatus, NetError> {
        let call = self
            .request(Method::PUT, format!("{SPENDS}/{id}"))
            .json(report)?;
        self.send_as_user(call).await?.json(&self.label())
    }

    /// Asks the agent of a user to pay. Saying it again brings the same answer.
    ///
    /// # Errors
    /// Network errors; what the plugin answers.
    pub async fn spend(&self, spend: &Signed<Spend>) -> Result<SpendStatus, NetError> {
        let owner = spend.record().owner;
        let call = self
            .request(Method::POST, format!("/v0/accounts/{owner}/spends"))
            .json(&json!({ "spend": spend.jws() }))?;
        let answer = self.send(&call, false).await?;
        self.check(answer)?.json(&self.label())
    }

    /// How far a spend is.
    ///
    /// # Errors
    /// Network errors; `spend_unknown`.
    pub async fn spend_status(
        &self,
        owner: &UserKey,
        id: &RecordId,
    ) -> Result<SpendStatus, NetError> {
        let call = self.request(Method::GET, format!("/v0/accounts/{owner}/spends/{id}"));
        let answer = self.send(&call, false).await?;
        self.check(answer)?.json(&self.label())
    }

    /// How the account of the key that signed `pass` stands.
    ///
    /// # Errors
    /// Network errors; `payment_account_unknown`.
    pub async fn account_standing(&self, pass: &Signed<Pass>) -> Result<AccountStanding, NetError> {
        let path = format!("/v0/accounts/{}/{}", pass.record().owner, pass.kid());
        let value = format!("Atomicity {}", pass.jws());
        let call = self
            .request(Method::GET, path)
            .header("authorization", &value)?;
        let answer = self.send(&call, true).await?;
        self.check(answer)?.json(&self.label())
    }
}
