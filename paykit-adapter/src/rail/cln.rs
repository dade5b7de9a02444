//! The rail of a Core Lightning node, over its REST interface (`clnrest`).
//!
//! What is authoritative: `listpays`, which the node builds from what it stored of every part it ever sent. *Complete* has a preimage, which is
//! checked. *Pending* holds everything. *Failed* needs care: it means that the parts sent so far have failed, and the node may be about to
//! send more, until the time is over for which it was told to try. That time goes with the payment as its label. So a payment that the list calls failed
//! has failed for good only once this time is over, counted from when the node began, with a minute to spare; or if the very command that paid has come back
//! with an error of which the node says that it ends it.
//!
//! A node that is told to forget old payments (`autoclean`, `delpay`) calls them never seen: it must remember for longer than any order waits.
//!
//! The label has a second use: newer nodes hand `pay` to another program unless something like a label is asked for.

mod answers;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use atomicity_ledger::Timestamp;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::bolt11::{Bolt11, LightningNetwork, sendable};
use super::error::RailError;
use super::node::{self, now, read_file, read_line};
use super::payment::{Failure, FailureReason, Health, Order, Outcome, PaymentId, Quote, Standing};
use super::under_way::UnderWay;
use super::{PinnedCertificate, Rail};
use crate::name::MethodId;

use answers::{Channels, NodeInfo, PayAnswer, PayList};

/// Where a Core Lightning node is, and what it lets us do.
#[derive(Clone, Debug)]
pub struct ClnConfig {
    /// What the operator calls it.
    pub name: String,
    /// Its REST interface, `https://…`.
    pub url: Url,
    /// The certificate of the REST interface, `server.pem`: the only one that is accepted.
    pub certificate: PathBuf,
    /// A file with a rune. It may be restricted to the methods `pay`, `listpays`, `getinfo` and `listpeerchannels`.
    pub rune: PathBuf,
    /// Which network the node is of.
    pub network: LightningNetwork,
    /// How long one question may take.
    pub timeout: Duration,
}

/// A Core Lightning node as a rail. It pays BOLT11 invoices of fixed amount.
pub struct CoreLightning {
    name: String,
    methods: [MethodId; 1],
    network: LightningNetwork,
    http: reqwest::Client,
    base: String,
    rune: Zeroizing<String>,
    timeout: Duration,
    under_way: UnderWay,
}

/// The longest answer.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// The longest that the node is told to try, in seconds.
const MAX_RETRY_S: u64 = 3600;

/// For how long a node tries on, seconds, if so many milliseconds are left.
fn retry_for_s(left_ms: u64) -> u64 {
    (left_ms / 1000).clamp(1, MAX_RETRY_S)
}

impl CoreLightning {
    /// Reads the files that `config` names. The node is not asked yet.
    ///
    /// # Errors
    /// [`RailError::ConfigInvalid`] if a file or the address can't be used.
    pub async fn open(config: ClnConfig) -> Result<Self, RailError> {
        let invalid = |why: &str| RailError::ConfigInvalid(why.to_owned());
        if config.url.scheme() != "https" {
            return Err(invalid("the node's address must begin with https://"));
        }
        let certificate = PinnedCertificate::from_pem(&read_file(&config.certificate).await?)?;
        let builder = node::client(config.timeout).tls_backend_preconfigured(certificate.tls()?);
        let method = MethodId::new("btc-lightning-bolt11");
        Ok(Self {
            name: config.name,
            methods: [method.map_err(|why| RailError::ConfigInvalid(why.to_string()))?],
            network: config.network,
            http: node::built(builder)?,
            base: config.url.as_str().trim_end_matches('/').to_owned(),
            rune: read_line(&config.rune).await?,
            timeout: config.timeout,
            under_way: UnderWay::default(),
        })
    }

    /// Calls one of the node's methods.
    async fn call(
        &self,
        method: &str,
        params: &Value,
        wait: Duration,
    ) -> Result<Vec<u8>, RailError> {
        let mut rune = HeaderValue::from_str(&self.rune)
            .map_err(|_| RailError::ConfigInvalid("the rune is unusable".to_owned()))?;
        rune.set_sensitive(true);
        let url = format!("{}/v1/{method}", self.base);
        let request = self.http.post(url).header("Rune", rune).json(params);
        let (status, body) = node::answer(request, wait, MAX_ANSWER).await?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        Err(answers::failure(status, &body))
    }

    async fn pay_once(&self, order: &Order) -> Outcome {
        let Some(_held) = self.under_way.hold(order.id) else {
            return Outcome::Unknown(RailError::Busy);
        };
        // Before the order is looked at: one that expired meanwhile may have been paid before.
        match self.standing(order.id).await {
            Ok(Standing::NeverSeen) => self.send(order).await,
            Ok(standing) => standing.into(),
            Err(error) => Outcome::Unknown(error),
        }
    }

    /// Sends an order that the node has never seen.
    async fn send(&self, order: &Order) -> Outcome {
        let now = now();
        let invoice = match sendable(order, self.network, now) {
            Ok(invoice) => invoice,
            Err(failure) => return Outcome::FailedForGood(failure),
        };
        let left = order.deadline.millis_since(now);
        let retry_for = retry_for_s(left);
        let params = json!({
            "bolt11": invoice.as_str(),
            "label": answers::label(retry_for),
            "maxfee": order.max_fee.minor(),
            "retry_for": retry_for,
        });
        let wait = Duration::from_millis(left).saturating_add(self.timeout);
        let answered = self.call("pay", &params, wait).await;
        match answered.and_then(|body| PayAnswer::read(&body)?.receipt(order.id)) {
            Ok(receipt) => Outcome::Succeeded(receipt),
            Err(error) => match answers::reason_of_end(&error) {
                Some(reason) => self.after_end(order, reason, &error).await,
                None => Outcome::Unknown(error),
            },
        }
    }

    /// The command that paid has ended with an error. What the node lists now is the truth, and *failed* is final: nobody tries any more.
    async fn after_end(&self, order: &Order, reason: FailureReason, error: &RailError) -> Outcome {
        match self.list(order.id).await {
            Ok(list) => match list.standing(order.id) {
                Ok(Some(standing)) => standing.into(),
                Ok(None) => Outcome::FailedForGood(Failure::new(reason, &error.to_string())),
                Err(error) => Outcome::Unknown(error),
            },
            Err(error) => Outcome::Unknown(error),
        }
    }

    async fn list(&self, id: PaymentId) -> Result<PayList, RailError> {
        let params = json!({ "payment_hash": id.to_string() });
        PayList::read(&self.call("listpays", &params, self.timeout).await?)
    }

    async fn standing(&self, id: PaymentId) -> Result<Standing, RailError> {
        let list = self.list(id).await?;
        Ok(match list.standing(id)? {
            Some(standing) => standing,
            None if list.is_empty() => Standing::NeverSeen,
            None => failed_by(list.tries_until(), now()),
        })
    }

    async fn ask_health(&self) -> Result<Health, RailError> {
        let info = self.call("getinfo", &json!({}), self.timeout).await?;
        let info = NodeInfo::read(&info)?;
        info.check_network(self.network)?;
        let channels = self
            .call("listpeerchannels", &json!({}), self.timeout)
            .await?;
        let channels = Channels::read(&channels)?;
        Ok(Health {
            ready: info.is_synced(),
            // Nothing is no amount of money.
            can_send: channels.spendable()?.to_money().ok(),
            can_receive: channels.receivable()?.to_money().ok(),
            identity: Some(info.id),
        })
    }
}

/// What it means at `now` that every part failed, if the node may try until then. If nobody knows until when, it may try for ever.
fn failed_by(until: Option<Timestamp>, now: Timestamp) -> Standing {
    if until.is_some_and(|until| now > until) {
        let why = "every part failed, and the time to try is over";
        Standing::FailedForGood(Failure::new(FailureReason::TimedOut, why))
    } else {
        Standing::InFlight
    }
}

impl Rail for CoreLightning {
    fn name(&self) -> &str {
        &self.name
    }

    fn methods(&self) -> &[MethodId] {
        &self.methods
    }

    fn check<'a>(&'a self, target: &'a str) -> BoxFuture<'a, Result<Quote, RailError>> {
        async move { Bolt11::parse(target, self.network)?.quote(now()) }.boxed()
    }

    fn pay<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Outcome> {
        self.pay_once(order).boxed()
    }

    fn look_up(&self, id: PaymentId) -> BoxFuture<'_, Result<Standing, RailError>> {
        self.standing(id).boxed()
    }

    fn health(&self) -> BoxFuture<'_, Result<Health, RailError>> {
        self.ask_health().boxed()
    }
}

/// The rune is a secret.
impl fmt::Debug for CoreLightning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreLightning")
            .field("name", &self.name)
            .field("network", &self.network)
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "cln_tests.rs"]
mod tests;
