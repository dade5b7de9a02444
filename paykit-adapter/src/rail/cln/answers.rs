//! What a Core Lightning node's answers say.

use atomicity_ledger::{Preimage, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::rail::bolt11::LightningNetwork;
use crate::rail::error::{RailError, bounded};
use crate::rail::msat::Msat;
use crate::rail::payment::{FailureReason, PaymentId, Proof, Receipt, Standing, from_hex};

/// Our payments' label, before the seconds for which the node was told to try.
const LABEL: &str = "atomicity retry_for=";
/// How much the node's clock and ours may differ, and how long it may take to stop, in milliseconds.
const GRACE_MS: u64 = 60_000;

/// The label of a payment that the node tries for so many seconds.
pub(super) fn label(retry_for_s: u64) -> String {
    format!("{LABEL}{retry_for_s}")
}

fn read<T: DeserializeOwned>(body: &[u8], what: &'static str) -> Result<T, RailError> {
    serde_json::from_slice(body).map_err(|_| RailError::AnswerMalformed(what))
}

/// Amounts are numbers; older nodes wrote `"1000msat"`.
fn msat<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Msat, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Spelling {
        Number(u64),
        Text(String),
    }
    match Spelling::deserialize(deserializer)? {
        Spelling::Number(msat) => Msat::new(msat),
        Spelling::Text(text) => text.strip_suffix("msat").unwrap_or(&text).parse(),
    }
    .map_err(serde::de::Error::custom)
}

fn receipt(id: PaymentId, preimage: &str, arrived: Msat, sent: Msat) -> Result<Receipt, RailError> {
    let preimage = from_hex(preimage).map(Preimage::from_bytes);
    let preimage = preimage
        .filter(|preimage| preimage.hash() == id.as_hash())
        .ok_or(RailError::AnswerMalformed(
            "a preimage that does not fit the hash",
        ))?;
    let fee = sent.checked_sub(arrived).unwrap_or(Msat::ZERO);
    Ok(Receipt {
        proof: Proof::Preimage(preimage),
        fee: fee.try_into()?,
    })
}

/// What `pay` says when it succeeds.
#[derive(Deserialize)]
pub(super) struct PayAnswer {
    payment_preimage: String,
    #[serde(deserialize_with = "msat")]
    amount_msat: Msat,
    #[serde(deserialize_with = "msat")]
    amount_sent_msat: Msat,
}

impl PayAnswer {
    pub(super) fn read(body: &[u8]) -> Result<Self, RailError> {
        read(body, "a payment")
    }

    /// The preimage that fits is what counts, whatever else it says.
    pub(super) fn receipt(&self, id: PaymentId) -> Result<Receipt, RailError> {
        receipt(
            id,
            &self.payment_preimage,
            self.amount_msat,
            self.amount_sent_msat,
        )
    }
}

/// What `listpays` says of one hash: every try that the node was told to make.
#[derive(Deserialize)]
pub(super) struct PayList {
    pays: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    payment_hash: String,
    status: String,
    created_at: u64,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    preimage: Option<String>,
    #[serde(default, deserialize_with = "some_msat")]
    amount_msat: Option<Msat>,
    #[serde(default, deserialize_with = "some_msat")]
    amount_sent_msat: Option<Msat>,
}

fn some_msat<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Msat>, D::Error> {
    msat(deserializer).map(Some)
}

impl PayList {
    pub(super) fn read(body: &[u8]) -> Result<Self, RailError> {
        read(body, "a list of payments")
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pays.is_empty()
    }

    /// What it says for certain: paid, or under way. Nothing if there is no try that has not failed.
    pub(super) fn standing(&self, id: PaymentId) -> Result<Option<Standing>, RailError> {
        let mut pending = false;
        for pay in &self.pays {
            if from_hex(&pay.payment_hash) != Some(*id.as_bytes()) {
                return Err(RailError::AnswerMalformed("a payment of another hash"));
            }
            match pay.status.as_str() {
                "complete" => return pay.receipt(id).map(Standing::Succeeded).map(Some),
                "pending" => pending = true,
                "failed" => {}
                _ => return Err(RailError::AnswerMalformed("a payment's status")),
            }
        }
        Ok(pending.then_some(Standing::InFlight))
    }

    /// Until when the node may send more, with time to spare; nothing if that can't be known.
    pub(super) fn tries_until(&self) -> Option<Timestamp> {
        let ends = self.pays.iter().map(Listed::tries_until);
        ends.collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

impl Listed {
    fn receipt(&self, id: PaymentId) -> Result<Receipt, RailError> {
        let preimage = self.preimage.as_deref().unwrap_or_default();
        let sent = self.amount_sent_msat.unwrap_or(Msat::ZERO);
        receipt(id, preimage, self.amount_msat.unwrap_or(sent), sent)
    }

    /// Counted from when the first part was made, by the node's clock: the command began before that, so it ends before this.
    fn tries_until(&self) -> Option<Timestamp> {
        let seconds: u64 = self.label.as_deref()?.strip_prefix(LABEL)?.parse().ok()?;
        let begun = self.created_at.checked_mul(1000)?;
        let end = begun.checked_add(seconds.checked_mul(1000)?)?;
        Timestamp::from_millis(end.checked_add(GRACE_MS)?).ok()
    }
}

/// The node as it tells of itself.
#[derive(Deserialize)]
pub(super) struct NodeInfo {
    pub(super) id: String,
    network: String,
    #[serde(default)]
    warning_bitcoind_sync: Option<String>,
    #[serde(default)]
    warning_lightningd_sync: Option<String>,
}

impl NodeInfo {
    pub(super) fn read(body: &[u8]) -> Result<Self, RailError> {
        read(body, "what the node says of itself")
    }

    pub(super) fn is_synced(&self) -> bool {
        self.warning_bitcoind_sync.is_none() && self.warning_lightningd_sync.is_none()
    }

    /// The node must be of the network whose invoices we take.
    pub(super) fn check_network(&self, expected: LightningNetwork) -> Result<(), RailError> {
        if self.network == expected.as_str() {
            return Ok(());
        }
        let why = format!("the node is not of the network {expected}");
        Err(RailError::ConfigInvalid(why))
    }
}

/// What the node's channels hold.
#[derive(Deserialize)]
pub(super) struct Channels {
    channels: Vec<Channel>,
}

#[derive(Deserialize)]
struct Channel {
    state: String,
    #[serde(default, deserialize_with = "some_msat")]
    spendable_msat: Option<Msat>,
    #[serde(default, deserialize_with = "some_msat")]
    receivable_msat: Option<Msat>,
}

impl Channels {
    pub(super) fn read(body: &[u8]) -> Result<Self, RailError> {
        read(body, "channels")
    }

    pub(super) fn spendable(&self) -> Result<Msat, RailError> {
        self.sum(|channel| channel.spendable_msat)
    }

    pub(super) fn receivable(&self) -> Result<Msat, RailError> {
        self.sum(|channel| channel.receivable_msat)
    }

    fn sum(&self, part: impl Fn(&Channel) -> Option<Msat>) -> Result<Msat, RailError> {
        let open = self.channels.iter();
        let open = open.filter(|channel| channel.state == "CHANNELD_NORMAL");
        open.filter_map(part)
            .try_fold(Msat::ZERO, Msat::checked_add)
            .ok_or(RailError::AmountUnusable("it is out of range"))
    }
}

/// What a node's answer of failure means.
pub(super) fn failure(status: u16, body: &[u8]) -> RailError {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Words {
        code: Option<i64>,
        message: String,
    }
    let words: Words = serde_json::from_slice(body).unwrap_or_default();
    let message = bounded(&words.message);
    let code = words.code.unwrap_or_default();
    // 15xx: what the REST interface says of a rune.
    if matches!(status, 401 | 403) || (1500..1600).contains(&code) {
        return RailError::NotPermitted(message);
    }
    RailError::NodeFailed {
        status,
        code,
        message,
    }
}

/// Why the node gave up, if the error is its word that the command which paid has ended. An error of any kind (-1), or none that it
/// numbers, is not: the command may still go on.
pub(super) fn reason_of_end(error: &RailError) -> Option<FailureReason> {
    let RailError::NodeFailed { code, .. } = error else {
        return None;
    };
    match code {
        203 => Some(FailureReason::RefusedByPayee),
        205 | 206 => Some(FailureReason::NoRoute),
        207 => Some(FailureReason::TooLate),
        210 => Some(FailureReason::TimedOut),
        // Paid already otherwise; no such command; parameters that it does not take.
        201 | -32601 | -32602 => Some(FailureReason::RefusedByRail),
        _ => None,
    }
}
