//! Parts of public requests that guests want to pay, at a plugin.

use atomicity_ledger::{Amount, RecordId, Unit};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::super::error::NetError;
use super::PluginClient;
use crate::store::requests::guests::GuestWay;

/// Where they are.
const GUEST_PARTS: &str = "/v0/me/guest-parts";
/// Where it stands how guests may pay.
const GUEST_WAYS: &str = "/v0/me/guest-ways";
/// As many as a plugin lists.
const MOST: usize = 200;
/// Each with an invoice, and what stands beside it.
const MAX_PAGE_BYTES: usize = MOST * 4 * 1024;

/// What a guest wants to pay, as the plugin shows it. Whoever has a look at the page could have asked for it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct GuestPart {
    /// Its name.
    pub(crate) id: RecordId,
    /// The request's name.
    pub(crate) request: RecordId,
    /// In what.
    pub(crate) unit: Unit,
    /// How, by its name.
    pub(crate) way: String,
    /// How much.
    pub(crate) amount: Amount,
    /// What the guest calls themselves.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// `waiting`, `offered`, `seen`, `paid`, `refused`, `ended`.
    pub(crate) state: String,
    /// Until when it waits, or can be paid, Unix milliseconds.
    pub(crate) expires: u64,
}

/// What the wallet says of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct GuestReport<'a> {
    pub(crate) state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) amount: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) invoice: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) price_msat: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
}

impl<'a> GuestReport<'a> {
    /// This word, with nothing beside it.
    pub(crate) fn of(state: &'a str) -> Self {
        Self {
            state,
            ..Self::default()
        }
    }
}

/// A way in which guests may pay what is asked for in a unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct WelcomeWay {
    pub(crate) way: GuestWay,
    pub(crate) unit: Unit,
}

#[derive(Serialize)]
struct Ways<'a> {
    ways: &'a [WelcomeWay],
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<serde_json::Value>,
}

impl PluginClient {
    /// What guests want to pay or are paying. What this version can't read is left out.
    pub(crate) async fn open_guest_parts(&self) -> Result<Vec<GuestPart>, NetError> {
        let path = format!("{GUEST_PARTS}?open=true");
        let call = self.request(Method::GET, path).at_most(MAX_PAGE_BYTES);
        let list: List = self.send_as_user(call).await?.json(&self.label())?;
        let read = list
            .items
            .into_iter()
            .take(MOST)
            .map(serde_json::from_value);
        Ok(read.filter_map(Result::ok).collect())
    }

    /// Says what becomes of a guest's part.
    pub(crate) async fn report_guest_part(
        &self,
        id: &RecordId,
        report: &GuestReport<'_>,
    ) -> Result<(), NetError> {
        let call = self
            .request(Method::PUT, format!("{GUEST_PARTS}/{id}"))
            .json(report)?;
        self.send_as_user(call).await.map(|_| ())
    }

    /// Says how guests may pay, and in which units; nothing takes none.
    pub(crate) async fn welcome_guests(&self, ways: &[WelcomeWay]) -> Result<(), NetError> {
        let call = self
            .request(Method::PUT, GUEST_WAYS.to_owned())
            .json(&Ways { ways })?;
        self.send_as_user(call).await.map(|_| ())
    }
}
