//! Doing what the user agreed to, once however often it is begun.

use std::time::Duration;

use atomicity_ledger::record::Goal;
use atomicity_ledger::{Amount, Memo, Money, Unit, UserKey};
use sha2::{Digest as _, Sha256};

use super::super::requests::{PART_PATIENCE, RequestTerms};
use super::super::settle::{OutsideTerms, SettleTerms};
use super::super::{PayOptions, PaymentFault, PaymentState, Wallet};
use super::options;
use crate::error::ClientError;
use crate::net::plugin::Wish;
use crate::store::proposals::ProposalRow;

impl Wallet {
    /// Does what the user agreed to; what it cost beyond the amount.
    pub(in super::super) async fn carry_out(
        &self,
        row: &ProposalRow,
        wait: bool,
    ) -> Result<u64, ClientError> {
        if !wait && self.tried(&row.wish).await? {
            return Err(PaymentFault::NotThrough("it was tried".to_owned()).into());
        }
        match &row.wish {
            Wish::Friend { user, name } => {
                self.add_friend(user, name.clone()).await?;
                Ok(0)
            }
            Wish::Limit { user, unit, accept } => {
                self.set_limit(user, unit, accept.minor()).await?;
                Ok(0)
            }
            Wish::Pay { link, .. } => self.pay_proposed(link, None, (row.max_fee, wait)).await,
            Wish::Reassign { user, link, .. } => {
                self.pay_proposed(link, Some(user), (row.max_fee, wait))
                    .await
            }
            Wish::Block { user, blocked } => {
                self.set_blocked(user, *blocked).await?;
                Ok(0)
            }
            Wish::Part { link, amount, .. } => {
                let options = options(row.max_fee);
                self.pay_part_proposed(row, (link, *amount), &options, wait)
                    .await
            }
            Wish::Ask {
                user,
                unit,
                amount,
                memo,
            } => {
                let terms = asking(*user, unit, *amount, memo.clone());
                self.once(row).await?.ask_to_be_paid(terms).await?;
                Ok(0)
            }
            Wish::Settle {
                user,
                unit,
                amount,
                invoice,
            } => {
                let money = Money {
                    amount: *amount,
                    unit: unit.clone(),
                };
                let wallet = self.once(row).await?;
                match invoice {
                    Some(invoice) => {
                        let terms = SettleTerms::invoice(invoice.clone());
                        wallet.ask_to_settle(user, money, terms).await?
                    }
                    None => {
                        let terms = OutsideTerms::default();
                        wallet.ask_to_settle_outside(user, money, terms).await?
                    }
                };
                Ok(0)
            }
        }
    }

    /// This wallet, lent for what is signed for a proposal: asked again, it finds what was signed before.
    async fn once(&self, row: &ProposalRow) -> Result<Self, ClientError> {
        let key = format!("proposal/{}", row.id);
        let wish = serde_json::to_vec(&row.wish)
            .map_err(|error| ClientError::Internal(error.to_string()))?;
        self.begin_operation(&key, &Sha256::digest(wish).into())
            .await?;
        Ok(self.lent_for(&key))
    }

    /// A part is asked for once, and paid once its payee grants it. Whoever waits gets its end, others come again.
    async fn pay_part_proposed(
        &self,
        row: &ProposalRow,
        (link, amount): (&str, Option<Amount>),
        options: &PayOptions,
        wait: bool,
    ) -> Result<u64, ClientError> {
        let wallet = self.once(row).await?;
        let unit = wallet.request(link).await?.unit;
        let money = amount.map(|amount| Money { amount, unit });
        let patience = if wait { PART_PATIENCE } else { Duration::ZERO };
        wallet
            .pay_request(link, money.as_ref(), options, patience, |_| {})
            .await?;
        Ok(0)
    }

    /// Pays an invoice, or has `debtor` owe its payee what they owe the user.
    async fn pay_proposed(
        &self,
        link: &str,
        debtor: Option<&UserKey>,
        (max_fee, wait): (Option<u64>, bool),
    ) -> Result<u64, ClientError> {
        let payable = match self.payable(link, None).await {
            // An earlier run has paid it, or is at it.
            Err(ClientError::Payment(fault)) => return self.paid_before(fault, wait).await,
            other => other?,
        };
        let mut options = options(max_fee);
        if let Some(debtor) = debtor {
            self.ways_to_reassign(debtor, &payable, &options).await?;
            options = self.reassigning(debtor, &payable, &options).await?;
        }
        let paid = match wait {
            true => self
                .pay(&payable, &options, |_| {})
                .await
                .map(|view| view.fee),
            // `sync` and `watch` go on with what has begun; the next look sees what became of it.
            false => match self.begin_payment(&payable, &options).await {
                Ok(id) => Err(PaymentFault::Undecided(id.to_string()).into()),
                Err(error) => Err(error),
            },
        };
        match paid {
            Err(ClientError::Payment(fault)) => self.paid_before(fault, wait).await,
            other => other,
        }
    }

    /// Whether an invoice that was tried here did not get through: then it is not tried again without another word of the user.
    async fn tried(&self, wish: &Wish) -> Result<bool, ClientError> {
        let Some(invoice) = wish.invoice() else {
            return Ok(false);
        };
        let all = self.payments().await?;
        let mut of = all.iter().filter(|payment| payment.hash == invoice.hash);
        Ok(of.any(|payment| payment.state == PaymentState::Failed))
    }

    async fn paid_before(&self, fault: PaymentFault, wait: bool) -> Result<u64, ClientError> {
        match &fault {
            PaymentFault::AlreadyPaid(id) => {
                let view = self.payment(&id.parse()?).await?;
                Ok(match view.state {
                    PaymentState::Paid => view.fee,
                    _ => 0,
                })
            }
            PaymentFault::BeingPaid(id) if wait => {
                Ok(self.wait_for_payment(&id.parse()?, |_| {}).await?.fee)
            }
            PaymentFault::BeingPaid(id) => Err(PaymentFault::Undecided(id.clone()).into()),
            _ => Err(fault.into()),
        }
    }
}

/// One user is asked for all of it, everybody for a part.
fn asking(user: Option<UserKey>, unit: &Unit, amount: Amount, memo: Option<Memo>) -> RequestTerms {
    let goal = match user {
        Some(_) => Goal::Exact(amount),
        None => Goal::Target { amount, min: None },
    };
    let mut terms = RequestTerms::new(unit.clone(), goal);
    (terms.payer, terms.memo) = (user, memo);
    terms
}
