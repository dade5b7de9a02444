//! What a node's answers say.

use atomicity_ledger::Preimage;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::rail::bolt11::LightningNetwork;
use crate::rail::error::RailError;
use crate::rail::invoices::InvoiceState;
use crate::rail::msat::Msat;
use crate::rail::payment::{Failure, FailureReason, PaymentId, Proof, Receipt, Standing, from_hex};

fn read<T: DeserializeOwned>(body: &[u8], what: &'static str) -> Result<T, RailError> {
    serde_json::from_slice(body).map_err(|_| RailError::AnswerMalformed(what))
}

/// A payment as the router tells of it.
#[derive(Deserialize)]
pub(crate) struct PaymentAnswer {
    payment_hash: String,
    #[serde(default)]
    payment_preimage: String,
    status: String,
    #[serde(default)]
    fee_msat: String,
    #[serde(default)]
    failure_reason: String,
}

impl PaymentAnswer {
    pub(crate) fn read(body: &[u8]) -> Result<Self, RailError> {
        read(body, "a payment")
    }

    /// What it says of the payment `id`. A success without its proof is none.
    pub(crate) fn standing(&self, id: PaymentId) -> Result<Standing, RailError> {
        if from_hex(&self.payment_hash) != Some(*id.as_bytes()) {
            return Err(RailError::AnswerMalformed("a payment of another hash"));
        }
        match self.status.as_str() {
            "SUCCEEDED" => self.receipt(id).map(Standing::Succeeded),
            "FAILED" => Ok(Standing::FailedForGood(self.failure())),
            "IN_FLIGHT" | "INITIATED" => Ok(Standing::InFlight),
            _ => Err(RailError::AnswerMalformed("a payment's status")),
        }
    }

    fn receipt(&self, id: PaymentId) -> Result<Receipt, RailError> {
        let preimage = from_hex(&self.payment_preimage).map(Preimage::from_bytes);
        let preimage = preimage
            .filter(|preimage| preimage.hash() == id.as_hash())
            .ok_or(RailError::AnswerMalformed(
                "a preimage that does not fit the hash",
            ))?;
        Ok(Receipt {
            proof: Proof::Preimage(preimage),
            fee: self.fee_msat.parse::<Msat>()?.try_into()?,
        })
    }

    /// lnd calls a payment failed only once none of its parts is under way.
    fn failure(&self) -> Failure {
        let reason = match self.failure_reason.as_str() {
            "FAILURE_REASON_NO_ROUTE" => FailureReason::NoRoute,
            "FAILURE_REASON_INSUFFICIENT_BALANCE" => FailureReason::InsufficientBalance,
            "FAILURE_REASON_TIMEOUT" => FailureReason::TimedOut,
            "FAILURE_REASON_INCORRECT_PAYMENT_DETAILS" => FailureReason::RefusedByPayee,
            "FAILURE_REASON_CANCELED" => FailureReason::Canceled,
            _ => FailureReason::RefusedByRail,
        };
        Failure::new(reason, &self.failure_reason)
    }
}

/// Whether an error is the router's word that it has no such payment. A router that isn't there answers with the same status and code.
pub(crate) fn says_never_seen(error: &RailError) -> bool {
    says_not_found(error, "payment isn't initiated")
}

/// Whether an error is the node's word that it has no such invoice.
pub(crate) fn says_no_invoice(error: &RailError) -> bool {
    says_not_found(error, "unable to locate invoice")
        || says_not_found(error, "there are no existing invoices")
}

fn says_not_found(error: &RailError, words: &str) -> bool {
    matches!(error, RailError::NodeFailed { code: 5, message, .. } if message.contains(words))
}

/// The node as it tells of itself.
#[derive(Deserialize)]
pub(crate) struct NodeInfo {
    pub(crate) identity_pubkey: String,
    pub(crate) synced_to_chain: bool,
    #[serde(default)]
    pub(crate) block_height: u32,
    #[serde(default)]
    chains: Vec<ChainInfo>,
}

#[derive(Deserialize)]
struct ChainInfo {
    network: String,
}

impl NodeInfo {
    pub(crate) fn read(body: &[u8]) -> Result<Self, RailError> {
        read(body, "what the node says of itself")
    }

    /// The node must be of the network whose invoices we take.
    pub(crate) fn check_network(&self, expected: LightningNetwork) -> Result<(), RailError> {
        let name = match expected {
            LightningNetwork::Bitcoin => "mainnet",
            other => other.as_str(),
        };
        if self.chains.iter().any(|chain| chain.network == name) {
            return Ok(());
        }
        let why = format!("the node is not of the network {expected}");
        Err(RailError::ConfigInvalid(why))
    }
}

/// What the node's channels hold.
pub(crate) struct ChannelBalance {
    pub(crate) local: Msat,
    pub(crate) remote: Msat,
}

impl ChannelBalance {
    pub(crate) fn read(body: &[u8]) -> Result<Self, RailError> {
        #[derive(Deserialize)]
        struct Answer {
            local_balance: Both,
            remote_balance: Both,
        }
        #[derive(Deserialize)]
        struct Both {
            msat: String,
        }
        let answer: Answer = read(body, "a balance")?;
        Ok(Self {
            local: answer.local_balance.msat.parse()?,
            remote: answer.remote_balance.msat.parse()?,
        })
    }
}

/// An invoice of our node.
#[derive(Deserialize)]
pub(crate) struct InvoiceAnswer {
    state: String,
    #[serde(default)]
    amt_paid_msat: String,
}

impl InvoiceAnswer {
    pub(crate) fn read(body: &[u8]) -> Result<Self, RailError> {
        read(body, "an invoice")
    }

    pub(crate) fn state(&self) -> Result<InvoiceState, RailError> {
        Ok(match self.state.as_str() {
            "OPEN" => InvoiceState::Open,
            "ACCEPTED" => InvoiceState::Held,
            "SETTLED" => InvoiceState::Settled {
                received: self.amt_paid_msat.parse()?,
            },
            "CANCELED" => InvoiceState::Canceled,
            _ => return Err(RailError::AnswerMalformed("an invoice's state")),
        })
    }
}

/// An invoice that the node just made.
#[derive(Deserialize)]
pub(crate) struct MadeInvoice {
    pub(crate) payment_request: String,
}

impl MadeInvoice {
    pub(crate) fn read(body: &[u8]) -> Result<Self, RailError> {
        read(body, "a new invoice")
    }
}

/// A new address of the node's wallet.
#[derive(Deserialize)]
pub(crate) struct NewAddress {
    pub(crate) address: String,
}

impl NewAddress {
    pub(crate) fn read(body: &[u8]) -> Result<Self, RailError> {
        read(body, "a new address")
    }
}

/// The transactions of the node's wallet.
#[derive(Deserialize)]
pub(crate) struct Transactions {
    #[serde(default)]
    transactions: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Transaction {
    #[serde(default)]
    num_confirmations: i64,
    #[serde(default)]
    output_details: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    address: String,
    /// In satoshis.
    #[serde(default)]
    amount: String,
    #[serde(default)]
    is_our_address: bool,
}

impl Transactions {
    pub(crate) fn read(body: &[u8]) -> Result<Self, RailError> {
        read(body, "transactions")
    }

    /// What they brought to an address, as far as they lie that deep.
    pub(crate) fn came_to(&self, address: &str, depth: u32) -> Result<Msat, RailError> {
        let deep = |one: &&Transaction| one.num_confirmations >= i64::from(depth);
        let outputs = self.transactions.iter().filter(deep);
        let outputs = outputs.flat_map(|one| &one.output_details);
        let mut sum = Msat::ZERO;
        for output in outputs.filter(|out| out.is_our_address && out.address == address) {
            let sat = output.amount.parse();
            let sat = sat.map_err(|_| RailError::AnswerMalformed("an output's amount"))?;
            let next = sum.checked_add(Msat::from_sat(sat)?);
            sum = next.ok_or(RailError::AnswerMalformed("outputs without end"))?;
        }
        Ok(sum)
    }
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
