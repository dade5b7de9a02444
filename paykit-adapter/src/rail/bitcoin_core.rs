//! The rail of a Bitcoin Core node's wallet: payments on the chain.
//!
//! Nothing in the node's own commands for paying keeps a payment from being made twice: a comment can be looked for afterwards, but an
//! order whose answer was lost may still wait in the node's queue. So here **the transaction is the attempt**. It is drafted and signed
//! without being sent, and kept in [`Drafts`] under the payment's id, once; only then it is sent. Whoever comes later, after a crash or in
//! another process, sends that same transaction, which the chain takes at most once.
//!
//! What is authoritative: for *never seen* the drafts, since nothing is sent that is not among them; for *succeeded* the wallet's word that the
//! transaction has enough confirmations. *Failed for good* is said before anything was kept; and after that only if a transaction that pays the target
//! nothing has taken its inputs, six blocks deep. If one that pays the same target took its place, such as one with a higher fee, somebody must look at it.
//!
//! Limits: a store of drafts that was lost or restored from a backup makes a second payment possible. What has enough confirmations
//! can still be undone by a longer chain. A payment whose fee became too low stays in flight for as long as nobody helps it along. The inputs of a
//! draft are locked in the node's memory only.

mod answers;
mod received;
mod rpc;
mod standing;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use atomicity_ledger::Total;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Rail;
use super::deposits::Deposits;
use super::error::RailError;
use super::msat::Msat;
use super::node::now;
use super::payment::{Failure, FailureReason, Health, Order, Outcome, PaymentId, Quote, Standing};
use super::under_way::UnderWay;
use crate::name::MethodId;

use answers::{
    Accepted, Balances, Chain, Decoded, DecodedPsbt, Finished, Funded, Sat, Signed, Validity,
};
use rpc::{Client, is_refusal};

pub use rpc::CoreAuth;

/// The longest address.
const MAX_ADDRESS: usize = 100;
/// The largest transaction that is kept, in digits of hex: what nodes relay.
const MAX_TRANSACTION: usize = 800_000;

/// Where a Bitcoin Core node is, and how it pays.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// What the operator calls it.
    pub name: String,
    /// Its JSON-RPC interface, `http://127.0.0.1:8332`: on this machine only.
    pub url: Url,
    /// The wallet that pays.
    pub wallet: String,
    /// How the node knows us.
    pub auth: CoreAuth,
    /// Which chain the node must be on, as it names it: `main`, `test`, `signet`, `regtest`.
    pub chain: String,
    /// The methods whose places are plain addresses of this chain.
    pub methods: Vec<MethodId>,
    /// In how many blocks a payment should be, when its fee is chosen.
    pub target_blocks: u16,
    /// How many confirmations make a payment; at least one.
    pub confirmations: u32,
    /// How long one question may take.
    pub timeout: Duration,
}

/// A transaction that pays an order: signed, and not to be replaced by another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// The transaction, in hex.
    pub transaction: String,
    /// Its id.
    pub txid: String,
    /// Which of its outputs pays.
    pub output: u32,
    /// The script of that output, in hex.
    pub script: String,
    /// What it costs on top, in `BTC/11`.
    pub fee: Total,
}

/// Where drafts are kept, by whoever runs the rail.
pub trait Drafts: fmt::Debug + Send + Sync {
    /// The draft of an id, if it has one.
    ///
    /// # Errors
    /// If it can't be read.
    fn draft(&self, id: PaymentId) -> BoxFuture<'_, Result<Option<Draft>, RailError>>;

    /// Keeps a draft, unless the id has one: then that one stays. Comes back with the one that is kept, which is durable then, and is for ever.
    ///
    /// # Errors
    /// If nobody knows what is kept.
    fn keep<'a>(
        &'a self,
        id: PaymentId,
        draft: &'a Draft,
    ) -> BoxFuture<'a, Result<Draft, RailError>>;
}

/// A Bitcoin Core node's wallet as a rail. Amounts and fees are of `BTC/11`, as with Lightning; only whole satoshi can be paid.
pub struct BitcoinCore {
    name: String,
    methods: Vec<MethodId>,
    chain: String,
    target_blocks: u16,
    confirmations: u32,
    client: Client,
    drafts: Arc<dyn Drafts>,
    under_way: UnderWay,
}

/// Why no draft was made. Nothing was kept and nothing sent.
enum NoDraft {
    /// It can't be paid.
    Failed(Failure),
    /// The node could not be asked, or is not ready.
    Unknown(RailError),
}

impl From<RailError> for NoDraft {
    /// What the node itself refuses before there is a draft is certain.
    fn from(error: RailError) -> Self {
        let insufficient = matches!(&error, RailError::NodeFailed { code, message, .. }
            if *code == -6 || message.contains("nsufficient funds"));
        if insufficient {
            failed(FailureReason::InsufficientBalance, &error.to_string())
        } else if is_refusal(&error) {
            failed(FailureReason::RefusedByRail, &error.to_string())
        } else {
            Self::Unknown(error)
        }
    }
}

fn failed(reason: FailureReason, why: &str) -> NoDraft {
    NoDraft::Failed(Failure::new(reason, why))
}

impl BitcoinCore {
    /// Reads the settings. The node is not asked yet.
    ///
    /// # Errors
    /// [`RailError::ConfigInvalid`].
    pub fn open(config: CoreConfig, drafts: Arc<dyn Drafts>) -> Result<Self, RailError> {
        if config.methods.is_empty() || config.confirmations == 0 || config.target_blocks == 0 {
            let why = "methods, confirmations and blocks must not be none";
            return Err(RailError::ConfigInvalid(why.to_owned()));
        }
        Ok(Self {
            client: Client::new(config.url, &config.wallet, config.auth, config.timeout)?,
            name: config.name,
            methods: config.methods,
            chain: config.chain,
            target_blocks: config.target_blocks,
            confirmations: config.confirmations,
            drafts,
            under_way: UnderWay::default(),
        })
    }

    async fn pay_once(&self, order: &Order) -> Outcome {
        let Some(_held) = self.under_way.hold(order.id) else {
            return Outcome::Unknown(RailError::Busy);
        };
        let kept = match self.drafts.draft(order.id).await {
            Ok(Some(draft)) => Ok(draft),
            Ok(None) => self.begin(order).await,
            Err(error) => Err(NoDraft::Unknown(error)),
        };
        match kept {
            Ok(draft) => match self.standing(&draft).await {
                Ok(standing) => standing.into(),
                Err(error) => Outcome::Unknown(error),
            },
            Err(NoDraft::Failed(failure)) => Outcome::FailedForGood(failure),
            Err(NoDraft::Unknown(error)) => Outcome::Unknown(error),
        }
    }

    /// Drafts the payment and keeps the draft. It is sent by whoever looks next.
    async fn begin(&self, order: &Order) -> Result<Draft, NoDraft> {
        let too_late = || failed(FailureReason::TooLate, "the deadline has passed");
        if now() >= order.deadline {
            return Err(too_late());
        }
        let unusable = |why: RailError| failed(FailureReason::TargetUnusable, &why.to_string());
        let amount = Msat::from_money(&order.amount).and_then(Sat::of);
        let amount = amount.map_err(unusable)?;
        match self.check_address(&order.target).await {
            Ok(()) => {}
            Err(error @ RailError::TargetMalformed(_)) => return Err(unusable(error)),
            Err(error) => return Err(error.into()),
        }
        let funded = self.fund(&order.target, amount).await?;
        let mut drafted = self.sign(order, amount, &funded).await;
        if drafted.is_ok() && now() >= order.deadline {
            drafted = Err(too_late());
        }
        let draft = match drafted {
            Ok(draft) => draft,
            Err(why) => {
                self.unlock(&funded.psbt).await;
                return Err(why);
            }
        };
        // From here on it may be sent, by anybody who finds it.
        let kept = self.drafts.keep(order.id, &draft).await;
        let kept = kept.map_err(NoDraft::Unknown)?;
        if kept.txid != draft.txid {
            self.unlock(&funded.psbt).await;
        }
        Ok(kept)
    }

    async fn check_address(&self, address: &str) -> Result<(), RailError> {
        let malformed = |why: &str| RailError::TargetMalformed(why.to_owned());
        let plain = address.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !plain || address.is_empty() || address.len() > MAX_ADDRESS {
            return Err(malformed("it is no plain address"));
        }
        let params = json!([address]);
        let validity: Validity = self.client.call("validateaddress", params).await?;
        if validity.isvalid {
            Ok(())
        } else {
            Err(malformed("the node does not take this address"))
        }
    }

    /// A transaction without signatures. Its inputs are locked, so that no other takes them.
    async fn fund(&self, address: &str, amount: Sat) -> Result<Funded, RailError> {
        let outputs = json!([{ address: amount.bitcoin() }]);
        let options = json!({
            "lockUnspents": true,
            "replaceable": false,
            "conf_target": self.target_blocks,
        });
        let params = json!([[], outputs, 0, options]);
        self.client.call("walletcreatefundedpsbt", params).await
    }

    async fn sign(&self, order: &Order, amount: Sat, funded: &Funded) -> Result<Draft, NoDraft> {
        let refused = |why: &str| failed(FailureReason::RefusedByRail, why);
        let fee: Total = funded.fee.msat()?.try_into()?;
        if fee > order.max_fee {
            return Err(failed(
                FailureReason::NoRoute,
                "the fee would be above the limit",
            ));
        }
        let params = json!([funded.psbt, true]);
        let signed: Signed = self.client.call("walletprocesspsbt", params).await?;
        if !signed.complete {
            return Err(refused("the wallet can't sign by itself"));
        }
        let params = json!([signed.psbt, true]);
        let finished: Finished = self.client.call("finalizepsbt", params).await?;
        if !finished.complete || finished.hex.len() > MAX_TRANSACTION {
            return Err(refused("the transaction can't be completed"));
        }
        let params = json!([finished.hex]);
        let decoded: Decoded = self.client.call("decoderawtransaction", params).await?;
        let pays = decoded
            .vout
            .iter()
            .filter(|output| output.script.address == order.target && output.value == amount);
        let pays: Vec<_> = pays.collect();
        let [pays] = pays.as_slice() else {
            return Err(refused(
                "the node's transaction does not pay what was ordered",
            ));
        };
        let params = json!([[finished.hex]]);
        let accepted: Vec<Accepted> = self.client.call("testmempoolaccept", params).await?;
        match accepted.as_slice() {
            [Accepted { allowed: true, .. }] => {}
            [Accepted { reason, .. }] => return Err(refused(reason)),
            _ => return Err(refused("the node does not say whether it takes it")),
        }
        Ok(Draft {
            txid: decoded.txid.clone(),
            output: pays.n,
            script: pays.script.hex.clone(),
            transaction: finished.hex,
            fee,
        })
    }

    /// Gives the inputs of a transaction back that will not be sent. If that fails, they are free when the node starts anew.
    async fn unlock(&self, psbt: &str) {
        let decoded = self.client.call("decodepsbt", json!([psbt])).await;
        let Ok(DecodedPsbt { tx }) = decoded else {
            return;
        };
        let inputs = tx.vin.iter();
        let inputs = inputs.map(|input| json!({ "txid": input.txid, "vout": input.vout }));
        let inputs: Vec<Value> = inputs.collect();
        let _: Result<bool, _> = self.client.call("lockunspent", json!([true, inputs])).await;
    }

    async fn look(&self, id: PaymentId) -> Result<Standing, RailError> {
        match self.drafts.draft(id).await? {
            Some(draft) => self.standing(&draft).await,
            None => Ok(Standing::NeverSeen),
        }
    }

    /// How far the node is, which must be on the chain that was said.
    async fn ask_chain(&self) -> Result<Chain, RailError> {
        let chain: Chain = self.client.call("getblockchaininfo", json!([])).await?;
        if chain.chain != self.chain {
            let why = format!("the node is not on the chain {}", self.chain);
            return Err(RailError::ConfigInvalid(why));
        }
        Ok(chain)
    }

    async fn ask_health(&self) -> Result<Health, RailError> {
        let chain = self.ask_chain().await?;
        let balances: Balances = self.client.call("getbalances", json!([])).await?;
        Ok(Health {
            ready: !chain.initialblockdownload && chain.blocks >= chain.headers,
            identity: None,
            // Nothing is no amount of money.
            can_send: balances.mine.trusted.msat()?.to_money().ok(),
            can_receive: None,
        })
    }
}

impl Rail for BitcoinCore {
    fn name(&self) -> &str {
        &self.name
    }

    fn methods(&self) -> &[MethodId] {
        &self.methods
    }

    /// Asks the node whether it is an address of its chain. An address asks for no amount and has no end.
    fn check<'a>(&'a self, target: &'a str) -> BoxFuture<'a, Result<Quote, RailError>> {
        async move {
            self.check_address(target).await?;
            Ok(Quote {
                id: None,
                amount: None,
                expires_at: None,
                payee: None,
                memo: None,
            })
        }
        .boxed()
    }

    fn pay<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Outcome> {
        self.pay_once(order).boxed()
    }

    /// A draft that the node has lost, or never got, is sent again: it was decided on when it was kept, and can be mined only once.
    fn look_up(&self, id: PaymentId) -> BoxFuture<'_, Result<Standing, RailError>> {
        self.look(id).boxed()
    }

    fn health(&self) -> BoxFuture<'_, Result<Health, RailError>> {
        self.ask_health().boxed()
    }

    fn deposits(&self) -> Option<&dyn Deposits> {
        Some(self)
    }
}

impl fmt::Debug for BitcoinCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BitcoinCore")
            .field("name", &self.name)
            .field("chain", &self.chain)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "bitcoin_core_tests.rs"]
mod tests;
