//! Paying somebody over friends: what is asked for, the ways, the promises, and what becomes of them.

mod asked;
mod check;
mod circle;
mod drive;
mod exchange;
mod fault;
mod reassign;
mod routers;
mod send;
mod target;
mod view;
mod ways;
mod word;

use std::time::Duration;

use atomicity_ledger::hop::{Attempt, Fate};
use atomicity_ledger::record::Terms;
use atomicity_ledger::seal::{open_private, seal_private};
use atomicity_ledger::{Amount, Memo, RecordId, Unit, UserKey};
use serde::{Deserialize, Serialize};

use super::access::Keys;
use super::entropy;
use crate::error::ClientError;
use crate::store::json_in;
use crate::store::payments::PaymentRow;

pub use crate::store::payments::PaymentState;
pub use circle::Circle;
pub use drive::PayProgress;
pub use exchange::WayExchange;
pub use fault::PaymentFault;
#[cfg(test)]
pub(super) use reassign::still_covers;
pub use target::{PayTarget, Payable};
pub use view::{PaymentPart, PaymentView, ReceiptView};
pub use ways::{Way, WayPart};

/// How long the promises of a payment stand if nothing else is said.
pub const PAY_DEADLINE: Duration = Duration::from_secs(60);

/// How to pay.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PayOptions {
    /// The most that all hops together may take, in minor units; 1 % of the amount and one smallest unit if `None`.
    pub max_fee: Option<u64>,
    /// The unit that the payer promises, if somebody on the way is to exchange it; `via` then names who. The most that is promised
    /// of it, in minor units, is all that limits what that costs.
    pub with: Option<(Unit, Amount)>,
    /// Who must be on the way.
    pub via: Option<UserKey>,
    /// Who must not be on the way.
    pub avoid: Vec<UserKey>,
    /// The routers to ask: keys, addresses or both; the best known ones if empty.
    pub routers: Vec<String>,
    /// The way to take, the payee last: nobody is asked for one then.
    pub along: Option<Vec<UserKey>>,
    /// How long the promises stand.
    pub deadline: Duration,
    /// A few words, for a payee who is away.
    pub memo: Option<Memo>,
    /// Whether only what the first hop owes the user may be spent: the promise must not make a new debt.
    pub from_claim: bool,
    /// For which spend of a payment account: it is paid once.
    pub(crate) spend: Option<RecordId>,
}

impl Default for PayOptions {
    fn default() -> Self {
        Self {
            max_fee: None,
            with: None,
            via: None,
            avoid: Vec::new(),
            routers: Vec::new(),
            along: None,
            deadline: PAY_DEADLINE,
            memo: None,
            from_claim: false,
            spend: None,
        }
    }
}

/// What was asked for and how to look for ways: stored with the payment, so that any process can go on with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) payee: UserKey,
    pub(crate) unit: Unit,
    /// What is to arrive.
    pub(crate) amount: Amount,
    /// What may be promised, fees included.
    pub(crate) most: Amount,
    /// What is promised, if that is another unit: somebody exchanges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pay: Option<Unit>,
    /// The signed invoice; without one the payee is away.
    pub(crate) invoice: Option<String>,
    pub(crate) memo: Option<Memo>,
    pub(crate) via: Option<UserKey>,
    pub(crate) avoid: Vec<UserKey>,
    pub(crate) routers: Vec<String>,
    pub(crate) along: Option<Vec<UserKey>>,
    /// How long promises stand, milliseconds.
    pub(crate) deadline_ms: u64,
    /// The logs that both rely on.
    pub(crate) logs: Vec<String>,
    /// Until when ways are looked for, Unix milliseconds.
    pub(crate) until: u64,
    /// Whether only what the first hop owes is spent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) from_claim: bool,
    /// The spend of a payment account for which it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) spend: Option<RecordId>,
}

impl Plan {
    /// The plan of a stored payment.
    pub(crate) fn read(row: &PaymentRow) -> Result<Self, ClientError> {
        json_in(&row.plan, "a payment's plan")
    }

    /// Whether it goes round a circle, back to `me`.
    pub(crate) fn is_circle(&self, me: UserKey) -> bool {
        self.payee == me
    }

    /// The unit of the payer's own promises.
    pub(crate) fn paying(&self) -> &Unit {
        self.pay.as_ref().unwrap_or(&self.unit)
    }

    /// Nothing is promised yet.
    pub(crate) fn attempt(&self, terms: Terms) -> Result<Attempt, ClientError> {
        Ok(match &self.pay {
            None => Attempt::new(self.unit.clone(), terms, self.amount, self.most)?,
            Some(pay) => Attempt::exchanged(
                (pay.clone(), self.most),
                (self.unit.clone(), self.amount),
                terms,
            )?,
        })
    }
}

/// What the payer has promised and not got back, in minor units of the payer's unit.
pub(crate) fn promised(attempt: &Attempt) -> u64 {
    let progress = attempt.progress();
    progress.outstanding.saturating_add(progress.paid)
}

/// What a payment cost beyond its amount, in minor units. Nothing can be said where units were exchanged: then it is 0.
pub(crate) fn cost(attempt: &Attempt) -> u64 {
    if attempt.unit() != attempt.unit_arriving() {
        return 0;
    }
    let counting = attempt
        .parts()
        .iter()
        .filter(|part| matches!(part.fate, Fate::Paid | Fate::Outstanding));
    counting.fold(0, |sum, part| {
        let fee = part.amount.minor().saturating_sub(part.arrives.minor());
        sum.saturating_add(fee)
    })
}

fn seal_path(id: &RecordId) -> String {
    format!("/priv/atomicity/v0/payments/{id}")
}

/// The attempt of a stored payment.
pub(crate) fn open_attempt(keys: &Keys, row: &PaymentRow) -> Result<Attempt, ClientError> {
    let opened = open_private(&keys.private, &seal_path(&row.id), &row.attempt)?;
    serde_json::from_slice(&opened).map_err(|e| ClientError::StoreCorrupt {
        what: "a payment's attempt",
        why: e.to_string(),
    })
}

/// An attempt as it is stored: it holds keys.
pub(crate) fn seal_attempt(
    keys: &Keys,
    row: &PaymentRow,
    attempt: &Attempt,
) -> Result<Vec<u8>, ClientError> {
    let text = zeroize::Zeroizing::new(
        serde_json::to_vec(attempt).map_err(|e| ClientError::Internal(e.to_string()))?,
    );
    Ok(seal_private(
        &keys.private,
        &seal_path(&row.id),
        entropy(),
        &text,
    )?)
}
