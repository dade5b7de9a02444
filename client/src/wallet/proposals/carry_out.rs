//! Doing what the user agreed to, once however often it is begun.

use std::time::Duration;

use atomicity_ledger::policy::{Rule, RuleId};
use atomicity_ledger::record::Goal;
use atomicity_ledger::{Amount, Memo, Money, Total, Unit, UserKey};
use sha2::{Digest as _, Sha256};

use super::super::requests::{PART_PATIENCE, RequestTerms};
use super::super::settle::{OutsideTerms, SettleTerms};
use super::super::{
    AccountView, IssueOptions, NewAccount, PayOptions, PaymentFault, PaymentState, RootKey,
    RuleView, Wallet,
};
use super::{AcceptTerms, operation_of, options, unusable};
use crate::error::{ClientError, ProposalFault};
use crate::net::plugin::{PluginClient, Wish};
use crate::store::pairs::agent;
use crate::store::proposals::{Cost, ProposalRow};

impl Wallet {
    /// Does what the user agreed to; what it cost beyond the amount.
    pub(in super::super) async fn carry_out(
        &self,
        row: &ProposalRow,
        wait: bool,
        terms: AcceptTerms<'_>,
    ) -> Result<Cost, ClientError> {
        if !row.wish.is_readable() {
            return Err(unusable(&row.id, ProposalFault::Unreadable));
        }
        if !wait && self.tried(&row.wish).await? {
            return Err(PaymentFault::NotThrough("it was tried".to_owned()).into());
        }
        match &row.wish {
            Wish::Friend { user, name } => {
                self.add_friend(user, name.clone()).await?;
                Ok(Cost::default())
            }
            Wish::Limit { user, unit, accept } => {
                self.set_limit(user, unit, accept.minor()).await?;
                Ok(Cost::default())
            }
            Wish::Issue {
                user,
                unit,
                amount,
                memo,
            } => {
                let money = Money {
                    amount: *amount,
                    unit: unit.clone(),
                };
                let options = IssueOptions::described(memo.clone(), None);
                self.once(row).await?.issue(user, money, options).await?;
                Ok(Cost::default())
            }
            Wish::Pay { link, .. } => {
                let options = options(row.max_fee, terms.routers);
                let fee = self.pay_proposed(link, None, (options, wait)).await?;
                Ok(Cost { fee, amount: None })
            }
            Wish::Reassign { user, link, .. } => {
                let options = options(row.max_fee, terms.routers);
                let fee = self.pay_proposed(link, Some(user), (options, wait)).await?;
                Ok(Cost { fee, amount: None })
            }
            Wish::Block { user, blocked } => {
                self.set_blocked(user, *blocked).await?;
                Ok(Cost::default())
            }
            Wish::Rule { rule } => {
                if self.rule_like(rule).await?.is_none() {
                    self.add_rule(rule, None).await?;
                }
                Ok(Cost::default())
            }
            Wish::Unrule { rule } => {
                self.take_rule_back(row, rule).await?;
                Ok(Cost::default())
            }
            Wish::Account { .. } | Wish::Revoke { .. } | Wish::Agent { .. } => {
                let root = terms.root.ok_or(ClientError::PassphraseNeeded)?;
                self.delegate_proposed(row, root).await
            }
            Wish::AgentOff { force } => {
                self.end_agent_proposed(row, *force, terms.root).await?;
                Ok(Cost::default())
            }
            Wish::Part { link, amount, .. } => {
                let options = options(row.max_fee, terms.routers);
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
                Ok(Cost::default())
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
                Ok(Cost::default())
            }
        }
    }

    /// This wallet, lent for what is signed for a proposal: asked again, it finds what was signed before.
    async fn once(&self, row: &ProposalRow) -> Result<Self, ClientError> {
        let key = operation_of(&row.id);
        let wish = serde_json::to_vec(&row.wish)
            .map_err(|error| ClientError::Internal(error.to_string()))?;
        self.begin_operation(&key, &Sha256::digest(wish).into())
            .await?;
        Ok(self.lent_for(&key))
    }

    /// Removes the rule that says the same: there is one, or it was removed for this very proposal.
    async fn take_rule_back(&self, row: &ProposalRow, rule: &Rule) -> Result<(), ClientError> {
        let begun = self.operation(&operation_of(&row.id)).await?.is_some();
        match self.rule_like(rule).await? {
            Some(id) => {
                self.once(row).await?;
                self.remove_rule(id).await.map(|_| ())
            }
            None if begun => Ok(()),
            None => Err(ClientError::NoSuchRule),
        }
    }

    /// The rule about many that says the same.
    async fn rule_like(&self, wanted: &Rule) -> Result<Option<RuleId>, ClientError> {
        let same = |view: &RuleView| {
            let id = view.rule.id;
            let wanted = Rule {
                id,
                ..wanted.clone()
            };
            (view.rule == wanted).then_some(id)
        };
        Ok(self.rules().await?.iter().find_map(same))
    }

    /// What only the root signs: an account of an app, its end, an agent. What stands already is not signed once more.
    async fn delegate_proposed(
        &self,
        row: &ProposalRow,
        root: &RootKey,
    ) -> Result<Cost, ClientError> {
        match &row.wish {
            Wish::Account {
                name,
                key,
                unit,
                per_day,
                total,
                until,
            } => {
                let mut new = NewAccount::new(name.clone(), unit.clone(), until.millis());
                new.per_day = per_day.map(Total::minor);
                new.total = total.map(Total::minor);
                new.key = Some(*key);
                match self.account_of(key).await? {
                    None => {
                        self.new_account(root, new).await?;
                    }
                    // It was made for this proposal, and cut off then.
                    Some(known) if is_as_wished(&known, &new) => {}
                    Some(_) => return Err(ClientError::AccountExists(key.to_string())),
                }
            }
            Wish::Revoke { key } => {
                // What the agent says of it is no reason not to sign: it may be wrong, and others rely on the root's word.
                let account = self.account_of(key).await?;
                let account =
                    account.ok_or_else(|| ClientError::UnknownAccount(key.to_string()))?;
                if account.state != "revoked" {
                    self.revoke_account(root, &key.to_string()).await?;
                }
            }
            Wish::Agent { until } => {
                let plugins = self.own_plugins().await?;
                let here = plugins
                    .iter()
                    .map(PluginClient::address)
                    .find(|address| address.key.to_string() == row.plugin);
                let mut terms = self.agent_terms_until(until.millis()).await?;
                terms.plugin = here.cloned();
                self.agent_on(root, &terms).await?;
            }
            _ => {}
        }
        Ok(Cost::default())
    }

    /// Ends the agent that stood when this was begun, and no other that the user engaged since.
    async fn end_agent_proposed(
        &self,
        row: &ProposalRow,
        force: bool,
        root: Option<&RootKey>,
    ) -> Result<(), ClientError> {
        let root = match force {
            true => Some(root.ok_or(ClientError::PassphraseNeeded)?),
            false => None,
        };
        let key = operation_of(&row.id);
        let agent = agent::get(&mut *self.store().read().await?).await?;
        let here = agent.filter(|agent| agent.plugin.key.to_string() == row.plugin);
        let Some(here) = here else {
            // It was ended for this very proposal, and only its end was not noted.
            let begun = self.operation(&key).await?.is_some();
            return begun.then_some(()).ok_or(ClientError::NoAgent);
        };
        let asked = Sha256::digest(format!("agent_off {force} {}", here.key));
        self.begin_operation(&key, &asked.into()).await?;
        let back = match root {
            Some(root) => self.agent_revoke(root).await?,
            None => self.agent_off().await?,
        };
        match back.iter().find_map(|one| one.fault.as_ref()) {
            Some(fault) => {
                tracing::info!(
                    code = fault.code,
                    "books did not come back: {}",
                    fault.message
                );
                Err(unusable(&row.id, ProposalFault::Unfinished))
            }
            None => Ok(()),
        }
    }

    /// A part is asked for once, and paid once its payee grants it. Whoever waits gets its end, others come again.
    async fn pay_part_proposed(
        &self,
        row: &ProposalRow,
        (link, amount): (&str, Option<Amount>),
        options: &PayOptions,
        wait: bool,
    ) -> Result<Cost, ClientError> {
        let wallet = self.once(row).await?;
        let unit = wallet.request(link).await?.unit;
        let money = amount.map(|amount| Money { amount, unit });
        let patience = if wait { PART_PATIENCE } else { Duration::ZERO };
        let part = wallet
            .pay_request(link, money.as_ref(), options, patience, |_| {})
            .await?;
        Ok(Cost {
            fee: self.fee_of_part(&part.id).await?,
            amount: Some(part.amount),
        })
    }

    /// Pays an invoice, or has `debtor` owe its payee what they owe the user.
    async fn pay_proposed(
        &self,
        link: &str,
        debtor: Option<&UserKey>,
        (mut options, wait): (PayOptions, bool),
    ) -> Result<u64, ClientError> {
        let payable = match self.payable(link, None).await {
            // An earlier run has paid it, or is at it.
            Err(ClientError::Payment(fault)) => return self.paid_before(fault, wait).await,
            other => other?,
        };
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

    /// Whether the payment of what is proposed has begun here.
    pub(super) async fn has_begun_to_pay(&self, wish: &Wish) -> Result<bool, ClientError> {
        let Some(invoice) = wish.invoice() else {
            return Ok(false);
        };
        let all = self.payments().await?;
        Ok(all.iter().any(|payment| payment.hash == invoice.hash))
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

/// Whether an account is what was to be made, and still stands.
fn is_as_wished(known: &AccountView, new: &NewAccount) -> bool {
    let terms = (&known.unit, known.per_day, known.total, known.until);
    terms == (&new.unit, new.per_day, new.total, new.until) && known.state != "revoked"
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
