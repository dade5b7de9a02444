//! The client of a plugin's HTTP API: posting to anybody's inbox, and everything a user does at the own plugin.
//!
//! A plugin is reached over TLS by its key; where that fails, at the URL that the profile names beside the key.

mod accounts;
mod agent;
mod approvals;
mod guests;
mod inbox;
mod proposals;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use atomicity_ledger::{Unit, UserKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use url::Url;
use zeroize::Zeroizing;

use super::dial;
use super::error::NetError;
use super::session::HomeSession;
use super::{Answer, Call, Net, ServiceKey, now_ms};

pub use accounts::{AccountStanding, SpendReceipt, SpendStatus};
pub(crate) use agent::{AgentConnection, AgentInvoice, AgentNews};
pub use agent::{
    AgentEvent, AgentExchange, AgentOrder, AgentPair, AgentPeer, AgentSettings, AgentView, FileKey,
    Journal, Signature,
};
pub(crate) use approvals::AgentTurn;
pub(crate) use guests::{GuestPart, GuestReport, WelcomeWay};
pub(crate) use proposals::ProposalReport;
pub use proposals::{ProposalStanding, Wish};

pub use inbox::{InboxEvent, InboxItem, InboxPage, InboxStream};

/// The largest envelope that is sent: a record of 64 KiB, sealed and encoded, with its frame.
const MAX_ENVELOPE_BYTES: usize = 128 * 1024;
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Tokens are replaced when they have less than this to live, in milliseconds.
const RENEW_BEFORE_MS: u64 = 30_000;
/// What a plugin's session proof says it is for.
const SESSION_PURPOSE: &str = "atomicity-session";

/// Where a plugin is: its key, and the URL to use if it can't be reached by key. Written `KEY` or `KEY@URL`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PluginAddress {
    /// The plugin's Pkarr key.
    pub key: ServiceKey,
    /// Where its HTTP API is on the web, without `/v0`.
    pub url: Option<Url>,
}

impl FromStr for PluginAddress {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let (key, url) = match text.split_once('@') {
            Some((key, url)) => (key, Some(parse_url(url)?)),
            None => (text, None),
        };
        let key = key
            .parse()
            .map_err(|error| NetError::Invalid(format!("{key:?} is no plugin's key: {error}")))?;
        Ok(Self { key, url })
    }
}

impl fmt::Display for PluginAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.url {
            Some(url) => write!(f, "{}@{url}", self.key),
            None => write!(f, "{}", self.key),
        }
    }
}

fn parse_url(text: &str) -> Result<Url, NetError> {
    text.parse::<Url>()
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| NetError::Invalid(format!("{text:?} is no web address")))
}

/// What a plugin says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PluginInfo {
    /// Its key.
    pub plugin: ServiceKey,
    /// The homeserver beside it, if it serves only that one's users.
    #[serde(default)]
    pub homeserver: Option<ServiceKey>,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The largest record it takes, in bytes.
    #[serde(default)]
    pub max_record_bytes: u64,
    /// Whether users of any homeserver may register.
    #[serde(default)]
    pub open_registration: bool,
    /// What it is to others, beside that: a description by the name of each [`Role`](super::Role).
    #[serde(default)]
    pub roles: serde_json::Map<String, serde_json::Value>,
    /// Where its pages for people are on the web, if it serves some.
    #[serde(default)]
    pub pages: Option<String>,
}

impl PluginInfo {
    /// The address of a page, by its path without the slash before it; `None` if there are no pages, or what was named is no web address.
    #[must_use]
    pub fn page(&self, path: &str) -> Option<Url> {
        let mut base = parse_url(self.pages.as_deref()?).ok()?;
        base.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
        base.set_query(None);
        base.set_fragment(None);
        Some(base)
    }
}

/// What [`PluginClient::register`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration {
    /// Whether the account is new.
    pub new: bool,
}

/// What [`PluginClient::post`] did. The envelope is durable at the plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The plugin's name for it.
    pub id: String,
    /// Whether the very same envelope was there already.
    pub duplicate: bool,
}

/// Asks the plugin at a URL that the user gave for its key.
///
/// # Errors
/// Network errors; [`NetError::Malformed`] if there is no plugin there.
pub async fn discover(net: &Net, url: &Url) -> Result<PluginAddress, NetError> {
    if let Some(host) = url.host_str() {
        net.trust_host(host);
    }
    let call = Call::new(Method::GET, "/v0/info", net.config()).at_most(MAX_ANSWER_BYTES);
    let answer = net.call_url(url, &call).await?;
    let label = url.host_str().unwrap_or("the plugin");
    if !answer.status.is_success() {
        return Err(answer.failure(label));
    }
    let info: PluginInfo = answer.json(label)?;
    Ok(PluginAddress {
        key: info.plugin,
        url: Some(url.clone()),
    })
}

struct Token {
    text: Zeroizing<String>,
    /// Unix milliseconds.
    expires_at: u64,
}

struct Inner {
    net: Net,
    address: PluginAddress,
    session: Option<HomeSession>,
    token: Mutex<Option<Token>>,
}

/// A plugin, as seen by a client. Cheap to clone.
#[derive(Clone)]
pub struct PluginClient {
    inner: Arc<Inner>,
}

impl fmt::Debug for PluginClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PluginClient({})", self.inner.address)
    }
}

impl PluginClient {
    /// Somebody's plugin, to post to.
    #[must_use]
    pub fn new(net: &Net, address: PluginAddress) -> Self {
        Self::build(net, address, None)
    }

    /// The user's own plugin. Logs in by itself, with a proof from the homeserver's session, when it has to.
    #[must_use]
    pub fn with_session(net: &Net, address: PluginAddress, session: &HomeSession) -> Self {
        net.trust(&address.key);
        if let Some(host) = address.url.as_ref().and_then(Url::host_str) {
            net.trust_host(host);
        }
        Self::build(net, address, Some(session.clone()))
    }

    fn build(net: &Net, address: PluginAddress, session: Option<HomeSession>) -> Self {
        Self {
            inner: Arc::new(Inner {
                net: net.clone(),
                address,
                session,
                token: Mutex::default(),
            }),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &PluginAddress {
        &self.inner.address
    }

    fn net(&self) -> &Net {
        &self.inner.net
    }

    pub(super) fn label(&self) -> String {
        self.inner.address.key.to_z32()
    }

    pub(super) fn request(&self, method: Method, path: impl Into<String>) -> Call {
        Call::new(method, path, self.net().config()).at_most(MAX_ANSWER_BYTES)
    }

    /// The URL to try when the key did not help. Tokens don't travel in the clear, except on a test network.
    fn fallback(&self, error: &NetError, secret: bool) -> Option<&Url> {
        if !error.is_network() && !matches!(error, NetError::RefusedAddress { .. }) {
            return None;
        }
        let clear_is_fine = self.net().config().testnet || !secret;
        self.inner
            .address
            .url
            .as_ref()
            .filter(|url| url.scheme() == "https" || clear_is_fine)
    }

    pub(super) async fn send(&self, call: &Call, secret: bool) -> Result<Answer, NetError> {
        match self.net().call(&self.inner.address.key, call).await {
            Err(error) => match self.fallback(&error, secret) {
                Some(url) => self.net().call_url(url, call).await,
                None => Err(error),
            },
            answer => answer,
        }
    }

    async fn open(&self, call: &Call) -> Result<Response, NetError> {
        match self.net().open(&self.inner.address.key, call).await {
            Err(error) => match self.fallback(&error, true) {
                Some(url) => self.net().open_url(url, call).await,
                None => Err(error),
            },
            response => response,
        }
    }

    fn malformed(&self, reason: &str) -> NetError {
        NetError::Malformed {
            server: self.label(),
            reason: reason.to_owned(),
        }
    }

    pub(super) fn check(&self, answer: Answer) -> Result<Answer, NetError> {
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(answer.failure(&self.label()))
        }
    }

    /// A valid token: the one at hand, unless it is near its end or is `used`, which was turned down.
    async fn token(&self, used: Option<&str>) -> Result<Zeroizing<String>, NetError> {
        #[derive(Deserialize)]
        struct Opened {
            token: Zeroizing<String>,
            expires_at: u64,
        }
        let session = self.inner.session.as_ref().ok_or_else(|| {
            NetError::Invalid("this needs a session, but the plugin is somebody else's".to_owned())
        })?;
        let mut token = self.inner.token.lock().await;
        if let Some(current) = token.as_ref()
            && used != Some(current.text.as_str())
            && current.expires_at > now_ms().saturating_add(RENEW_BEFORE_MS)
        {
            return Ok(current.text.clone());
        }
        let proof = session.custom_pop(serde_json::json!({
            "audience": self.inner.address.key,
            "purpose": SESSION_PURPOSE,
        }));
        let call = self
            .request(Method::POST, "/v0/sessions")
            .json(&serde_json::json!({ "proof": proof }))?;
        let answer = self.check(self.send(&call, true).await?)?;
        let opened: Opened = answer.json(&self.label())?;
        *token = Some(Token {
            text: opened.token.clone(),
            expires_at: opened.expires_at,
        });
        Ok(opened.token)
    }

    /// Sends a call as the user; logs in again if the token is turned down.
    async fn send_as_user(&self, call: Call) -> Result<Answer, NetError> {
        let token = self.token(None).await?;
        let answer = self.send(&call.clone().bearer(&token)?, true).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return self.check(answer);
        }
        let token = self.token(Some(&token)).await?;
        let answer = self.send(&call.bearer(&token)?, true).await?;
        self.check(answer)
    }

    /// What the plugin says about itself.
    ///
    /// # Errors
    /// Network errors; [`NetError::Malformed`] if another key answers.
    pub async fn info(&self) -> Result<PluginInfo, NetError> {
        let call = self.request(Method::GET, "/v0/info");
        let answer = self.check(self.send(&call, false).await?)?;
        let info: PluginInfo = answer.json(&self.label())?;
        if info.plugin != self.inner.address.key {
            return Err(NetError::Malformed {
                server: self.label(),
                reason: format!("its key is {}", info.plugin),
            });
        }
        Ok(info)
    }

    /// Registers the user, or finds that he is registered.
    ///
    /// # Errors
    /// [`NetError::Refused`] with code `not_a_local_user` if the plugin serves another homeserver only; network errors.
    pub async fn register(&self) -> Result<Registration, NetError> {
        let call = self.request(Method::PUT, "/v0/me");
        let answer = self.send_as_user(call).await?;
        Ok(Registration {
            new: answer.status == StatusCode::CREATED,
        })
    }

    /// Closes the account.
    ///
    /// # Errors
    /// Network errors; what the plugin answers.
    pub async fn close_account(&self) -> Result<(), NetError> {
        let call = self.request(Method::DELETE, "/v0/me");
        self.send_as_user(call).await.map(|_| ())
    }

    /// Says by which tags known counterparties are recognized. Replaces what was said before.
    ///
    /// # Errors
    /// Network errors; what the plugin answers.
    pub async fn set_tags(&self, tags: &[[u8; 32]]) -> Result<(), NetError> {
        let tags: Vec<String> = tags.iter().map(|tag| URL_SAFE_NO_PAD.encode(tag)).collect();
        let call = self
            .request(Method::PUT, "/v0/me/tags")
            .json(&serde_json::json!({ "tags": tags }))?;
        self.send_as_user(call).await.map(|_| ())
    }

    /// Puts an envelope into the inbox of `to`. After success it is durable there; sending it again does no harm.
    ///
    /// # Errors
    /// Tell *later* from *never* by [`NetError::is_retryable`] and [`NetError::retry_after`].
    pub async fn post(
        &self,
        to: &UserKey,
        envelope: &(impl Serialize + Sync),
    ) -> Result<Posted, NetError> {
        #[derive(Deserialize)]
        struct Taken {
            id: String,
        }
        let call = self
            .request(Method::POST, format!("/v0/inbox/{}", to.to_z32()))
            .json(envelope)?;
        if call
            .body
            .as_ref()
            .is_some_and(|body| body.len() > MAX_ENVELOPE_BYTES)
        {
            return Err(NetError::Invalid(format!(
                "an envelope of more than {MAX_ENVELOPE_BYTES} bytes is not sent"
            )));
        }
        let answer = self.check(self.send(&call, false).await?)?;
        let taken: Taken = answer.json(&self.label())?;
        Ok(Posted {
            id: super::shorten(&taken.id, 64),
            duplicate: answer.status == StatusCode::OK,
        })
    }

    /// Hands the plugin a signed snapshot of the user's balances, to be served to his web apps.
    ///
    /// # Errors
    /// Network errors; what the plugin answers.
    pub async fn push_snapshot(&self, jws: &str) -> Result<(), NetError> {
        let call = self
            .request(Method::PUT, "/v0/me/snapshot")
            .json(&serde_json::json!({ "snapshot": jws }))?;
        self.send_as_user(call).await.map(|_| ())
    }

    /// Hands the plugin what waits for the user and what there was, to be shown on his own page.
    ///
    /// # Errors
    /// Network errors; what the plugin answers.
    pub async fn push_diary(&self, jws: &str) -> Result<(), NetError> {
        let call = self
            .request(Method::PUT, "/v0/me/diary")
            .json(&serde_json::json!({ "diary": jws }))?;
        self.send_as_user(call).await.map(|_| ())
    }

    /// Has the plugin forget it.
    ///
    /// # Errors
    /// Network errors; what the plugin answers.
    pub async fn forget_diary(&self) -> Result<(), NetError> {
        let call = self.request(Method::DELETE, "/v0/me/diary");
        self.send_as_user(call).await.map(|_| ())
    }

    /// Says which units the plugin may show to anybody. Replaces what was said before.
    ///
    /// # Errors
    /// Network errors; what the plugin answers.
    pub async fn set_public_units(&self, units: &[Unit]) -> Result<(), NetError> {
        let units: Vec<String> = units.iter().map(ToString::to_string).collect();
        let call = self
            .request(Method::PUT, "/v0/me/public-units")
            .json(&serde_json::json!({ "units": units }))?;
        self.send_as_user(call).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_page_lies_below_what_a_plugin_names_and_only_on_the_web() {
        let page = |pages: &str| {
            let key = atomicity_ledger::Keypair::from_secret(&[1; 32]).user_key();
            let info = serde_json::json!({"plugin": key.to_z32(), "pages": pages});
            let info: PluginInfo = serde_json::from_value(info).unwrap();
            info.page("u/x/requests/y").map(String::from)
        };
        let lies = |at: &str| Some(format!("https://{at}/u/x/requests/y"));
        assert_eq!(page("https://pay.example"), lies("pay.example"));
        assert_eq!(page("https://a.example/pay/?q#f"), lies("a.example/pay"));
        for bad in ["", "javascript:alert(1)", "file:///etc", "pay.example"] {
            assert_eq!(page(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_address_is_a_key_and_maybe_a_url() {
        let key = atomicity_ledger::Keypair::from_secret(&[1; 32]).user_key();
        let plain: PluginAddress = key.to_z32().parse().unwrap();
        assert_eq!((plain.key, plain.url.clone()), (key, None));
        let text = format!("{key}@https://example.com/credit");
        let both: PluginAddress = text.parse().unwrap();
        assert_eq!(both.to_string(), text);
        for bad in [
            "",
            "abc",
            &format!("{key}@"),
            &format!("{key}@ftp://x/"),
            "@https://x/",
        ] {
            assert_eq!(
                bad.parse::<PluginAddress>().unwrap_err().code(),
                "invalid_argument",
                "{bad}"
            );
        }
    }
}
