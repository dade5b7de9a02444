//! Payments as they are shown.

use atomicity_ledger::hop::{Attempt, Fate};
use atomicity_ledger::record::{LogProof, Terms};
use atomicity_ledger::{Memo, PaymentHash, Preimage, RecordId, Unit, UserKey};

use super::super::Wallet;
use super::fault::PaymentFault;
use super::{PaymentState, Plan, cost, open_attempt, promised};
use crate::error::ClientError;
use crate::store::payments::{self, PaymentRow};

/// The most payments that are listed.
const MAX_LISTED: u32 = 200;

/// A payment. Amounts are in minor units of `unit`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PaymentView {
    /// Its name.
    pub id: RecordId,
    /// On what it hangs.
    pub hash: PaymentHash,
    /// Who is paid.
    pub payee: UserKey,
    /// In what.
    pub unit: Unit,
    /// What arrives.
    pub amount: u64,
    /// What it costs beyond that, as things stand.
    pub fee: u64,
    /// The most that it may cost.
    pub max_fee: u64,
    /// What the payer promises instead, if somebody exchanges it: the unit, what is promised as things stand, and the most, in its
    /// minor units.
    pub with: Option<(Unit, u64, u64)>,
    /// How far it is.
    pub state: PaymentState,
    /// Why it failed, or what hinders it: a code.
    pub why: Option<String>,
    /// What for.
    pub memo: Option<Memo>,
    /// The invoice's name, if there is one.
    pub invoice: Option<String>,
    /// The promises.
    pub parts: Vec<PaymentPart>,
    /// How often ways were looked for.
    pub tries: u64,
    /// When it began, Unix milliseconds.
    pub created_at: u64,
    /// When it ended.
    pub ended_at: Option<u64>,
}

/// One promise of a payment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PaymentPart {
    /// Everybody on the way, the payee last.
    pub hops: Vec<UserKey>,
    /// What was promised.
    pub amount: u64,
    /// What is to arrive.
    pub arrives: u64,
    /// `outstanding`, `paid` or `failed`.
    pub fate: &'static str,
    /// Why it failed.
    pub failure: Option<&'static str>,
    /// Who could not promise to whom.
    pub edge: Option<(UserKey, UserKey)>,
}

/// What shows that a payment was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceiptView {
    /// The payment.
    pub payment: PaymentView,
    /// The signed invoice.
    pub invoice: Option<String>,
    /// The terms of every promise.
    pub terms: Terms,
    /// What was published.
    pub preimage: Preimage,
    /// The log's proof, if it is still at hand.
    pub proof: Option<LogProof>,
}

impl PaymentView {
    pub(super) fn new(row: &PaymentRow, attempt: &Attempt) -> Result<Self, ClientError> {
        let plan = Plan::read(row)?;
        let parts = attempt.parts().iter().map(|part| {
            let (fate, failure) = match &part.fate {
                Fate::Outstanding => ("outstanding", None),
                Fate::Paid => ("paid", None),
                Fate::Failed { failure, .. } => ("failed", Some(failure)),
            };
            PaymentPart {
                hops: part.hops.clone(),
                amount: part.amount.minor(),
                arrives: part.arrives.minor(),
                fate,
                failure: failure.map(|failure| failure.code.as_str()),
                edge: failure.and_then(|failure| failure.edge),
            }
        });
        let invoice = plan.invoice.as_deref().map(|jws| {
            atomicity_ledger::Signed::<atomicity_ledger::record::Invoice>::decode(jws)
                .map(|invoice| invoice.record().id.to_string())
        });
        Ok(Self {
            id: row.id,
            hash: row.hash,
            payee: plan.payee,
            amount: plan.amount.minor(),
            fee: row.fee.unwrap_or_else(|| cost(attempt)),
            max_fee: match &plan.pay {
                Some(_) => 0,
                None => plan.most.minor().saturating_sub(plan.amount.minor()),
            },
            with: plan
                .pay
                .map(|unit| (unit, promised(attempt), plan.most.minor())),
            unit: plan.unit,
            state: row.state,
            why: row.why.clone(),
            memo: plan.memo,
            invoice: invoice.transpose()?,
            parts: parts.collect(),
            tries: row.tries,
            created_at: row.created_at,
            ended_at: row.ended_at,
        })
    }
}

impl Wallet {
    /// The payments over friends, newest first.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn payments(&self) -> Result<Vec<PaymentView>, ClientError> {
        let rows = payments::list(&mut *self.store().read().await?, MAX_LISTED).await?;
        let keys = self.keys().await?;
        rows.iter()
            .map(|row| PaymentView::new(row, &open_attempt(&keys, row)?))
            .collect()
    }

    /// One payment.
    ///
    /// # Errors
    /// [`PaymentFault::Unknown`].
    pub async fn payment(&self, id: &RecordId) -> Result<PaymentView, ClientError> {
        let row = self.payment_row(id).await?;
        let keys = self.keys().await?;
        PaymentView::new(&row, &open_attempt(&keys, &row)?)
    }

    pub(super) async fn payment_row(&self, id: &RecordId) -> Result<PaymentRow, ClientError> {
        let row = payments::get(&mut *self.store().read().await?, id).await?;
        row.ok_or_else(|| PaymentFault::Unknown(id.to_string()).into())
    }

    /// What shows that a payment was made.
    ///
    /// # Errors
    /// [`PaymentFault::Unknown`]; [`PaymentFault::NoReceipt`] if it was not made.
    pub async fn receipt(&self, id: &RecordId) -> Result<ReceiptView, ClientError> {
        let row = self.payment_row(id).await?;
        let attempt = open_attempt(&self.keys().await?, &row)?;
        let receipt = attempt.receipt();
        let receipt = receipt.ok_or_else(|| PaymentFault::NoReceipt(id.to_string()))?;
        Ok(ReceiptView {
            payment: PaymentView::new(&row, &attempt)?,
            invoice: Plan::read(&row)?.invoice,
            terms: attempt.terms().clone(),
            preimage: receipt.preimage,
            proof: receipt.proof.clone(),
        })
    }
}
