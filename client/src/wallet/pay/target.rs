//! Whom to pay what: reading it, and checking that it can be paid.

use atomicity_ledger::authority::{Credentials, Purpose};
use atomicity_ledger::link::Link;
use atomicity_ledger::record::Invoice;
use atomicity_ledger::{Memo, Money, Signed, Unit, UserKey};

use super::super::access::parse_user;
use super::super::{LogView, Wallet, now};
use super::fault::PaymentFault;
use super::{PayOptions, Plan};
use crate::error::ClientError;
use crate::store::payments::{self, PaymentState};

/// The longest that ways are looked for, milliseconds.
const PATIENCE_MS: u64 = 5 * 60 * 1000;
/// The most users that one can want to avoid.
const MAX_AVOID: usize = 64;

/// Whom to pay.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PayTarget {
    /// Whoever asks for it in this invoice.
    Invoice(Box<Signed<Invoice>>),
    /// Somebody who asked for nothing.
    User(UserKey),
}

/// Whom to pay what.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Payable {
    /// Whom.
    pub target: PayTarget,
    /// How much.
    pub money: Money,
    /// What for, by the invoice or the link.
    pub memo: Option<Memo>,
}

impl Payable {
    /// Who is to be paid.
    #[must_use]
    pub fn payee(&self) -> UserKey {
        match &self.target {
            PayTarget::Invoice(invoice) => invoice.record().payee,
            PayTarget::User(user) => *user,
        }
    }
}

impl Wallet {
    /// Reads whom to pay what: an `atomicity:` link, a key or a friend's name, and an amount where none is named.
    ///
    /// # Errors
    /// [`ClientError::Payment`] if the amount is missing, in another unit, or not what the invoice asks for;
    /// [`ClientError::UnknownFriend`]; [`ClientError::Ledger`] naming what is wrong with a link, a key or an amount.
    pub async fn payable(&self, whom: &str, amount: Option<&str>) -> Result<Payable, ClientError> {
        let whom = whom.trim();
        let is_link = whom
            .get(..10)
            .is_some_and(|start| start.eq_ignore_ascii_case("atomicity:"));
        if is_link {
            return match whom.parse::<Link>()? {
                Link::Invoice(invoice) => self.payable_invoice(invoice, amount).await,
                Link::Request(request) => {
                    Err(PaymentFault::IsRequest(request.record().id.to_string()).into())
                }
                Link::User(link) => {
                    let money = match (amount, link.wanted) {
                        (Some(text), wanted) => {
                            let unit = wanted.map(|wanted| wanted.unit);
                            self.money_in(text, unit).await?
                        }
                        (None, Some(wanted)) => Money {
                            amount: wanted.amount.ok_or(PaymentFault::AmountMissing)?,
                            unit: wanted.unit,
                        },
                        (None, None) => return Err(PaymentFault::AmountMissing.into()),
                    };
                    Ok(Payable {
                        target: PayTarget::User(link.user),
                        money,
                        memo: link.memo,
                    })
                }
            };
        }
        let user = match parse_user(whom) {
            Ok(user) => user,
            Err(_) => self.friend(whom).await?.user,
        };
        let text = amount.ok_or(PaymentFault::AmountMissing)?;
        Ok(Payable {
            target: PayTarget::User(user),
            money: self.parse_money(text).await?,
            memo: None,
        })
    }

    async fn payable_invoice(
        &self,
        invoice: Box<Signed<Invoice>>,
        amount: Option<&str>,
    ) -> Result<Payable, ClientError> {
        let record = invoice.record();
        let given = match amount {
            Some(text) => Some(self.money_in(text, Some(record.unit.clone())).await?),
            None => None,
        };
        let asked = record.amount.map(|amount| Money {
            amount,
            unit: record.unit.clone(),
        });
        let money = match (asked, given) {
            (Some(asked), Some(given)) if asked.amount != given.amount => {
                return Err(PaymentFault::AmountFixed {
                    asked: asked.to_string(),
                    given: given.to_string(),
                }
                .into());
            }
            (Some(money), _) | (None, Some(money)) => money,
            (None, None) => return Err(PaymentFault::AmountMissing.into()),
        };
        Ok(Payable {
            memo: record.memo.clone(),
            target: PayTarget::Invoice(invoice),
            money,
        })
    }

    /// Reads an amount; if a unit is asked for, it has to be in that.
    async fn money_in(&self, text: &str, asked: Option<Unit>) -> Result<Money, ClientError> {
        let Some(asked) = asked else {
            return self.parse_money(text).await;
        };
        let bare = text.trim();
        if !bare.contains(char::is_whitespace) {
            let minor = asked.parse_minor(bare)?;
            return Ok(Money {
                amount: atomicity_ledger::Amount::from_minor(minor)?,
                unit: asked,
            });
        }
        let money = match Money::parse(bare, std::slice::from_ref(&asked)) {
            Ok(money) => money,
            Err(_) => self.parse_money(bare).await?,
        };
        if money.unit == asked {
            Ok(money)
        } else {
            let given = money.unit;
            Err(PaymentFault::WrongUnit { asked, given }.into())
        }
    }

    /// Everything that can be checked before a way is looked for.
    pub(super) async fn plan(
        &self,
        payable: &Payable,
        options: &PayOptions,
    ) -> Result<Plan, ClientError> {
        let payee = payable.payee();
        if payee == self.user() {
            return Err(PaymentFault::OwnInvoice.into());
        }
        if options.avoid.len() > MAX_AVOID {
            return Err(ClientError::Usage(format!(
                "at most {MAX_AVOID} users can be avoided"
            )));
        }
        let invoice = match &payable.target {
            PayTarget::Invoice(invoice) => {
                self.check_invoice(invoice).await?;
                Some(&**invoice)
            }
            PayTarget::User(_) => None,
        };
        let amount = payable.money.amount;
        let standard = amount.minor() / 100 + 1;
        let fee = options.max_fee.unwrap_or(standard);
        let most = amount.minor().saturating_add(fee);
        let most = most.min(atomicity_ledger::Total::MAX.minor());
        let with = options.with.as_ref();
        let (pay, most) = match with.filter(|(unit, _)| *unit != payable.money.unit) {
            Some((unit, most)) => (Some(unit.clone()), *most),
            None => (None, atomicity_ledger::Amount::from_minor(most)?),
        };
        let at = now().millis();
        let logs = self.common_logs(invoice.map(Signed::record)).await?;
        Ok(Plan {
            payee,
            unit: payable.money.unit.clone(),
            amount,
            most,
            pay,
            invoice: invoice.map(|invoice| invoice.jws().to_owned()),
            memo: options.memo.clone().or_else(|| payable.memo.clone()),
            via: options.via,
            avoid: options.avoid.clone(),
            routers: options.routers.clone(),
            along: options.along.clone(),
            deadline_ms: u64::try_from(options.deadline.as_millis()).unwrap_or(u64::MAX),
            logs,
            until: at.saturating_add(PATIENCE_MS),
            from_claim: options.from_claim,
            spend: options.spend,
        })
    }

    /// The signature was checked when it was read; here: whether that key may ask for this payee, the time, and what became of it.
    async fn check_invoice(&self, invoice: &Signed<Invoice>) -> Result<(), ClientError> {
        let (record, at) = (invoice.record(), now());
        let known = payments::standing(&mut *self.store().read().await?, &record.hash).await?;
        if let Some(known) = known.first() {
            let id = known.id.to_string();
            return Err(match known.state {
                PaymentState::Paid => PaymentFault::AlreadyPaid(id),
                _ => PaymentFault::BeingPaid(id),
            }
            .into());
        }
        if record.has_expired(at) {
            return Err(PaymentFault::InvoiceExpired.into());
        }
        let mut credentials = Credentials::new(record.payee);
        if !invoice.kid().is_root_of(&record.payee) {
            let found = self.fetch_authority(&record.payee, invoice.kid()).await?;
            if let Some(text) = found {
                credentials.learn(&text, at)?;
            }
        }
        credentials.judge(invoice.kid(), Purpose::Receive, at)?;
        Ok(())
    }

    /// The names of the logs on which a payment can hang: those of this user, and of the payee if there is an invoice.
    pub(super) async fn common_logs(
        &self,
        invoice: Option<&Invoice>,
    ) -> Result<Vec<String>, ClientError> {
        let mine = self.logs().await?.into_iter().filter(|log| log.usable);
        let Some(invoice) = invoice else {
            let all: Vec<String> = mine.map(|log| log.origin).collect();
            return if all.is_empty() {
                Err(ClientError::NoLog)
            } else {
                Ok(all)
            };
        };
        let trusted = |log: &LogView| {
            invoice.logs.iter().any(|theirs| {
                theirs.origin.as_str() == log.origin && theirs.policy_hash == log.policy_hash
            })
        };
        let both: Vec<String> = mine.filter(trusted).map(|log| log.origin).collect();
        if both.is_empty() {
            let theirs = invoice.logs.iter().map(|log| match &log.url {
                Some(url) => format!("{} ({url})", log.origin),
                None => log.origin.to_string(),
            });
            let theirs: Vec<String> = theirs.collect();
            return Err(PaymentFault::NoCommonLog(theirs.join(", ")).into());
        }
        Ok(both)
    }
}
