//! The rail of an lnd node, over its REST interface.

mod answers;
mod deposits;
mod http;
mod receive;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use atomicity_ledger::{PaymentHash, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::{Method, Url};
use serde_json::json;

use super::bolt11::{Bolt11, LightningNetwork, sendable};
use super::deposits::Deposits;
use super::error::RailError;
use super::invoices::Invoices;
use super::node::{now, read_file};
use super::payment::{Failure, FailureReason, Health, Order, Outcome, PaymentId, Quote, Standing};
use super::under_way::UnderWay;
use super::{PinnedCertificate, Rail};
use crate::name::MethodId;

use answers::{ChannelBalance, NodeInfo, PaymentAnswer};
use http::Client;

/// Where an lnd node is, and what it lets us do.
#[derive(Clone, Debug)]
pub struct LndConfig {
    /// What the operator calls it.
    pub name: String,
    /// Its REST interface, `https://…`.
    pub url: Url,
    /// Its TLS certificate, `tls.cert`: the only one that is accepted.
    pub certificate: PathBuf,
    /// A macaroon. It needs the rights `offchain:read`, `offchain:write` and `info:read`, for invoices also `invoices:read` and
    /// `invoices:write`. On the chain it needs nothing, unless it is to be paid there: then `address:write` and `onchain:read`.
    pub macaroon: PathBuf,
    /// Which network the node is of.
    pub network: LightningNetwork,
    /// How long one question may take.
    pub timeout: Duration,
}

/// An lnd node as a rail. It pays BOLT11 invoices of fixed amount.
pub struct Lnd {
    name: String,
    methods: [MethodId; 1],
    network: LightningNetwork,
    client: Client,
    under_way: UnderWay,
}

/// How many parts a payment may be split into.
const MAX_PARTS: u32 = 16;

impl Lnd {
    /// Reads the files that `config` names. The node is not asked yet.
    ///
    /// # Errors
    /// [`RailError::ConfigInvalid`] if a file or the address can't be used.
    pub async fn open(config: LndConfig) -> Result<Self, RailError> {
        let certificate = read_file(&config.certificate).await?;
        let macaroon = read_file(&config.macaroon).await?;
        let method = MethodId::new("btc-lightning-bolt11");
        let method = method.map_err(|why| RailError::ConfigInvalid(why.to_string()))?;
        let certificate = PinnedCertificate::from_pem(&certificate)?;
        Ok(Self {
            name: config.name,
            methods: [method],
            network: config.network,
            client: Client::new(config.url, &certificate, &macaroon, config.timeout)?,
            under_way: UnderWay::default(),
        })
    }

    async fn pay_once(&self, order: &Order) -> Outcome {
        let Some(_held) = self.under_way.hold(order.id) else {
            return Outcome::Unknown(RailError::Busy);
        };
        // Before the order is looked at: one that expired meanwhile may have been paid before.
        match self.standing(order.id).await {
            Ok(Standing::NeverSeen) => self.send(order).await,
            Ok(Standing::InFlight) => self.follow(order).await,
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
        let body = json!({
            "payment_request": invoice.as_str(),
            "fee_limit_msat": order.max_fee.minor().to_string(),
            "timeout_seconds": (left / 1000).clamp(1, 3600),
            "max_parts": MAX_PARTS,
            "no_inflight_updates": true,
        });
        let wait = self.patience(order, now);
        let request = (Method::POST, "/v2/router/send");
        match self.client.first(request, Some(&body), wait).await {
            Ok(line) => outcome(&line, order.id),
            Err(error) if is_refusal(&error) => self.after_refusal(order, error).await,
            Err(error) => Outcome::Unknown(error),
        }
    }

    /// The node refused to begin, or says that it did so already: what it knows now is the truth.
    async fn after_refusal(&self, order: &Order, refusal: RailError) -> Outcome {
        match self.standing(order.id).await {
            Ok(Standing::NeverSeen) => Outcome::FailedForGood(Failure::new(
                FailureReason::RefusedByRail,
                &refusal.to_string(),
            )),
            Ok(Standing::InFlight) => self.follow(order).await,
            Ok(standing) => standing.into(),
            Err(error) => Outcome::Unknown(error),
        }
    }

    /// Waits for the end of a payment that is under way.
    async fn follow(&self, order: &Order) -> Outcome {
        let wait = self.patience(order, now());
        let path = format!("{}?no_inflight_updates=true", track_path(order.id));
        match self.client.first((Method::GET, &path), None, wait).await {
            Ok(line) => outcome(&line, order.id),
            Err(error) => Outcome::Unknown(error),
        }
    }

    /// Until the deadline, and then as long as the node may take to say that it is over.
    fn patience(&self, order: &Order, now: Timestamp) -> Duration {
        Duration::from_millis(order.deadline.millis_since(now))
            .saturating_add(self.client.timeout())
    }

    async fn standing(&self, id: PaymentId) -> Result<Standing, RailError> {
        let path = track_path(id);
        let wait = self.client.timeout();
        match self.client.first((Method::GET, &path), None, wait).await {
            Ok(line) => PaymentAnswer::read(&line)?.standing(id),
            Err(error) if answers::says_never_seen(&error) => Ok(Standing::NeverSeen),
            Err(error) => Err(error),
        }
    }

    async fn ask_health(&self) -> Result<Health, RailError> {
        let info = self.client.ask((Method::GET, "/v1/getinfo"), None).await?;
        let info = NodeInfo::read(&info)?;
        info.check_network(self.network)?;
        let path = "/v1/balance/channels";
        let balance = self.client.ask((Method::GET, path), None).await?;
        let balance = ChannelBalance::read(&balance)?;
        Ok(Health {
            ready: info.synced_to_chain,
            identity: Some(info.identity_pubkey),
            // Nothing is no amount of money.
            can_send: balance.local.to_money().ok(),
            can_receive: balance.remote.to_money().ok(),
        })
    }
}

/// Whether the node itself refused a request to pay, and is done with it.
fn is_refusal(error: &RailError) -> bool {
    /// As gRPC numbers them: unknown (lnd's own words), invalid argument, not found, already exists, failed precondition, unimplemented.
    /// The others can come from a connection that broke on the way, behind which a payment may have begun.
    const REFUSALS: [i64; 6] = [2, 3, 5, 6, 9, 12];
    matches!(error, RailError::NodeFailed { code, .. } if REFUSALS.contains(code))
}

fn outcome(line: &[u8], id: PaymentId) -> Outcome {
    match PaymentAnswer::read(line).and_then(|answer| answer.standing(id)) {
        Ok(standing) => standing.into(),
        Err(error) => Outcome::Unknown(error),
    }
}

fn track_path(id: PaymentId) -> String {
    format!("/v2/router/track/{}", URL_SAFE.encode(id.as_bytes()))
}

fn hash_path(prefix: &str, hash: PaymentHash) -> String {
    format!("{prefix}/{}", URL_SAFE.encode(hash.as_bytes()))
}

impl Rail for Lnd {
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

    fn invoices(&self) -> Option<&dyn Invoices> {
        Some(self)
    }

    fn deposits(&self) -> Option<&dyn Deposits> {
        Some(self)
    }
}

impl fmt::Debug for Lnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lnd")
            .field("name", &self.name)
            .field("network", &self.network)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
