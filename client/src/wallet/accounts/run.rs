//! What this wallet pays for accounts: each spend once, however often this is interrupted.
//!
//! `waiting` → judged, counted and *claimed* in one transaction → the agent is told, so that what it reserved stays reserved → something
//! is promised, in one transaction with the word that it was (*paying*) → *paid* or *failed* → the agent is told. What is paid outside
//! is decided with the claim, and goes its own way from there until it has ended ([`Wallet::pay_outlay`]).

use atomicity_ledger::account::{day_of, judge};
use atomicity_ledger::authority::Credentials;
use atomicity_ledger::pair::PaymentNote;
use atomicity_ledger::record::{Spend, SpendTo};
use atomicity_ledger::settle::Outlay;
use atomicity_ledger::{AnyRecord, Money, RecordId, Signed, Timestamp, UserKey};
use serde_json::json;

use super::super::agent::agent_error;
use super::super::{PayOptions, PayTarget, Payable, PaymentFault, Wallet, issue, now, receive};
use crate::error::ClientError;
use crate::net::plugin::PluginClient;
use crate::store::accounts::{self, AccountRow, SpendRow, SpendStage};
use crate::store::{contacts, payments};

/// Spends that are gone on with at once.
const AT_ONCE: u32 = 100;
/// Steps from a spend that waits to one that the agent knows to have ended.
const STEPS: usize = 6;

/// Why a spend does not go on.
enum Halt {
    /// It will not be paid: a code.
    Final(String),
    /// Not now.
    Later(ClientError),
}

impl Halt {
    fn never(code: &str) -> Self {
        Self::Final(code.to_owned())
    }
}

impl From<ClientError> for Halt {
    fn from(error: ClientError) -> Self {
        Self::Later(error)
    }
}

impl Wallet {
    /// Goes on with whatever accounts wait for.
    pub(crate) async fn drive_spends(&self) -> Result<(), ClientError> {
        let rows = accounts::open_spends(&mut *self.store().read().await?, AT_ONCE).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let Some(client) = self.agent_client().await? else {
            return Ok(());
        };
        for row in rows {
            match self.drive_spend(&client, row).await {
                Ok(()) => {}
                Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
                Err(error) => tracing::info!(code = error.code(), "a spend waits: {error}"),
            }
        }
        Ok(())
    }

    async fn drive_spend(&self, client: &PluginClient, row: SpendRow) -> Result<(), ClientError> {
        let mut row = row;
        for _ in 0..STEPS {
            let before = (row.stage, row.told);
            self.step(client, &row).await?;
            let found = accounts::spend(&mut *self.store().read().await?, &row.id).await?;
            let Some(found) = found else { return Ok(()) };
            row = found;
            if (row.stage, row.told) == before {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn step(&self, client: &PluginClient, row: &SpendRow) -> Result<(), ClientError> {
        let done = match (row.stage, row.told) {
            (SpendStage::Waiting, _) => self.take_up(row).await,
            (_, true) if row.outlay.is_some() => Ok(()),
            (SpendStage::Claimed, true) => self.begin_spend(row).await,
            (SpendStage::Paying | SpendStage::Unknown, true) => self.look_at_payment(row).await,
            (SpendStage::Seen, _) | (SpendStage::Paid | SpendStage::Failed, true) => Ok(()),
            (_, false) => self.tell(client, row).await.map_err(Halt::Later),
        };
        match done {
            Ok(()) => Ok(()),
            Err(Halt::Later(error)) => Err(error),
            Err(Halt::Final(reason)) => self.fail(row, (&reason, false)).await,
        }
    }

    async fn fail(&self, row: &SpendRow, why: (&str, bool)) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        accounts::failed(tx.conn(), &row.id, row.stage, why, now().millis()).await?;
        tx.commit().await
    }

    /// Tells the agent. What it does not wait for any more is not begun.
    async fn tell(&self, client: &PluginClient, row: &SpendRow) -> Result<(), ClientError> {
        match self.report(client, row).await {
            Ok(()) => {}
            Err(ClientError::AgentRefused {
                code: code @ ("spend_ended" | "spend_unknown" | "payment_account_unknown"),
                ..
            }) => {
                if row.stage == SpendStage::Claimed {
                    return self.fail(row, (code, true)).await;
                }
            }
            Err(error) => return Err(error),
        }
        let mut tx = self.store().write().await?;
        accounts::spend_told(tx.conn(), &row.id, row.stage).await?;
        tx.commit().await
    }

    /// Judges a spend by what this wallet knows itself, counts it, and takes it on.
    async fn take_up(&self, row: &SpendRow) -> Result<(), Halt> {
        let spend = row.signed()?;
        let account = accounts::get(&mut *self.store().read().await?, &row.account)
            .await?
            .ok_or(Halt::never("payment_account_unknown"))?;
        if account.plugin != spend.record().plugin.to_z32() {
            return Err(Halt::never("spend_elsewhere"));
        }
        let credentials = self.words_on(&account).await?;
        let terms =
            judge(&credentials, &spend, now()).map_err(|fault| Halt::never(fault.code()))?;
        let outlay = self.outlay(&spend, &account).await?;
        let cost = spend.record().cost().map_err(ClientError::from)?;
        let mut change = self.change().await?;
        // The newest word: a revocation may have come meanwhile.
        let account = accounts::get(change.conn(), &row.account).await?;
        if account.is_none_or(|account| account.revoked_at.is_some()) {
            return Err(Halt::never("key_revoked"));
        }
        let day = day_of(Timestamp::saturating_from_millis(row.at));
        let used = accounts::used(change.conn(), &row.account, day).await?;
        let fits = terms.fits(cost, used);
        fits.map_err(|fault| Halt::never(fault.code()))?;
        if let SpendTo::Invoice(invoice) = &spend.record().to {
            let hash = invoice.record().hash;
            if !payments::standing(change.conn(), &hash).await?.is_empty() {
                return Err(Halt::never("already_paid"));
            }
        }
        if accounts::claim(change.conn(), &row.id, (day, cost.minor())).await?
            && let Some(outlay) = &outlay
        {
            let stage = (SpendStage::Claimed, false);
            accounts::put_outlay(change.conn(), &row.id, outlay, stage).await?;
        }
        change.commit().await?;
        Ok(())
    }

    /// How a place outside is paid, if the spend names one.
    async fn outlay(
        &self,
        spend: &Signed<Spend>,
        account: &AccountRow,
    ) -> Result<Option<Outlay>, Halt> {
        if !matches!(spend.record().to, SpendTo::Target(_)) {
            return Ok(None);
        }
        match self.judge_outlay(spend, account.rate).await? {
            Ok(outlay) => Ok(Some(outlay)),
            Err((reason, _)) => Err(Halt::never(reason.code())),
        }
    }

    /// What the root said of an account, here and at the homeserver.
    async fn words_on(&self, account: &AccountRow) -> Result<Credentials, Halt> {
        if account.revoked_at.is_some() {
            return Err(Halt::never("key_revoked"));
        }
        let at = now();
        let mut credentials = Credentials::new(self.user());
        credentials
            .learn(&account.delegation, at)
            .map_err(ClientError::from)?;
        if let Some(found) = self.fetch_authority(&self.user(), account.key).await? {
            // What lies there and is no word of the root changes nothing.
            let _ = credentials.learn(&found, at);
        }
        Ok(credentials)
    }

    async fn begin_spend(&self, row: &SpendRow) -> Result<(), Halt> {
        let spend = row.signed()?;
        let record = spend.record();
        if record.has_expired(now()) {
            return Err(Halt::never("spend_expired"));
        }
        self.ensure_may_sign().await?;
        let done = match &record.to {
            SpendTo::Peer(user) if self.is_friend(user).await? => {
                self.give(row, &spend, user).await
            }
            SpendTo::Peer(user) => self.pay_for(record, PayTarget::User(*user)).await,
            SpendTo::Invoice(invoice) => {
                self.pay_for(record, PayTarget::Invoice(invoice.clone()))
                    .await
            }
            // It was claimed without a word on how it is paid: no version of this program does so.
            SpendTo::Target(_) => return Err(Halt::never("no_method")),
        };
        match done {
            Ok(()) => Ok(()),
            // If something was promised all the same, the row says so, and this changes nothing.
            Err(error) if is_final(&error) => Err(Halt::never(error.code())),
            Err(error) => Err(Halt::Later(error)),
        }
    }

    async fn is_friend(&self, user: &UserKey) -> Result<bool, ClientError> {
        let contact = contacts::get(&mut *self.store().read().await?, user).await?;
        Ok(receive::is_friend(contact.as_ref()))
    }

    /// Pays over friends; the payment and the word that it is made for this spend are one transaction.
    async fn pay_for(&self, spend: &Spend, target: PayTarget) -> Result<(), ClientError> {
        let payable = Payable {
            target,
            money: Money {
                amount: spend.amount,
                unit: spend.unit.clone(),
            },
            memo: spend.memo.clone(),
        };
        let options = PayOptions {
            max_fee: Some(spend.max_fee.map_or(0, |fee| fee.minor())),
            memo: spend.memo.clone(),
            spend: Some(spend.id),
            ..PayOptions::default()
        };
        self.begin_payment(&payable, &options).await.map(|_| ())
    }

    /// Pays a friend: by the agent, which does it once for each name, or here, in one transaction with the word that it is done.
    async fn give(
        &self,
        row: &SpendRow,
        spend: &Signed<Spend>,
        user: &UserKey,
    ) -> Result<(), ClientError> {
        let record = spend.record();
        if let Some(agent) = self.agent_for(user).await? {
            let mut body = json!({
                "id": record.id, "peer": user, "unit": record.unit, "amount": record.amount,
            });
            if let (Some(memo), Some(body)) = (&record.memo, body.as_object_mut()) {
                body.insert("memo".to_owned(), json!(memo));
            }
            let signed = agent.ask_agent("issue", &body).await.map_err(agent_error)?;
            let payment = signed
                .records
                .iter()
                .find_map(|jws| match AnyRecord::decode(jws) {
                    Ok(AnyRecord::Payment(payment)) => Some(payment.hash()),
                    _ => None,
                });
            let mut tx = self.store().write().await?;
            let receipt = json!({ "record": payment }).to_string();
            accounts::paid(tx.conn(), &row.id, (0, &receipt), now().millis()).await?;
            return tx.commit().await;
        }
        let mut change = self.change().await?;
        let contact = contacts::get(change.conn(), user).await?;
        let contact = contact.ok_or_else(|| ClientError::UnknownFriend(user.to_z32()))?;
        let mut pair = change.load(self.user(), *user).await?;
        let money = Money {
            amount: record.amount,
            unit: record.unit.clone(),
        };
        let note = PaymentNote {
            id: record.id,
            reference: None,
            memo: record.memo.clone(),
        };
        let (_, payment) = issue::sign(&mut change, &mut pair, &contact, &money, note).await?;
        let receipt = json!({ "record": payment }).to_string();
        let at = change.now.millis();
        if !accounts::paid(change.conn(), &row.id, (0, &receipt), at).await? {
            // Another process did it: nothing of this is kept.
            return Ok(());
        }
        change.commit().await?;
        self.send_now(user).await.map(|_| ())
    }

    /// What became of the payment over friends.
    async fn look_at_payment(&self, row: &SpendRow) -> Result<(), Halt> {
        let id = row
            .payment
            .as_deref()
            .and_then(|id| id.parse::<RecordId>().ok());
        let id = id.ok_or_else(|| ClientError::StoreCorrupt {
            what: "a spend",
            why: "it is being paid by no payment".to_owned(),
        })?;
        let found = payments::get(&mut *self.store().read().await?, &id).await?;
        let Some(payment) = found else { return Ok(()) };
        match payment.state {
            payments::PaymentState::Open => Ok(()),
            payments::PaymentState::Failed => {
                let reason = payment.why.as_deref().unwrap_or("not_through");
                self.fail(row, (reason, false)).await?;
                Ok(())
            }
            payments::PaymentState::Paid => {
                let shown = self.receipt(&id).await?;
                let receipt = json!({ "preimage": shown.preimage }).to_string();
                let mut tx = self.store().write().await?;
                let fee = shown.payment.fee;
                accounts::paid(tx.conn(), &row.id, (fee, &receipt), now().millis()).await?;
                tx.commit().await?;
                Ok(())
            }
        }
    }
}

/// Whether trying again would not help; what only waits is tried until the spend expires.
fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::Payment(fault) => !matches!(
            fault,
            PaymentFault::NoRouter(_) | PaymentFault::Undecided(_) | PaymentFault::InvoiceBusy(_)
        ),
        ClientError::AgentRefused { code, .. } => !matches!(
            *code,
            "agent_stopped" | "books_restored" | "rate_limited" | "overloaded"
        ),
        ClientError::LimitExceeded(_)
        | ClientError::NoCreditLine { .. }
        | ClientError::UnitNotOpen(_)
        | ClientError::ChannelFrozen { .. }
        | ClientError::UnknownFriend(_)
        | ClientError::NoLog
        | ClientError::Ledger(_) => true,
        _ => false,
    }
}
