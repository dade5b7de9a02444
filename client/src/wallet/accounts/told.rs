//! What the agent is told of payment accounts, and what it tells.

use atomicity_ledger::account::{MAX_SPEND_LIFE_MS, day_of};
use atomicity_ledger::record::{Payment, Spend};
use atomicity_ledger::{Signed, Timestamp};
use serde_json::json;

use super::super::agent::agent_error;
use super::super::books::Change;
use super::super::{Direction, HistoryItem, Wallet, now};
use crate::error::ClientError;
use crate::net::plugin::PluginClient;
use crate::store::pairs::agent;
use crate::store::{accounts, history};

impl Wallet {
    /// The plugin with the agent, if there is one.
    pub(super) async fn agent_client(&self) -> Result<Option<PluginClient>, ClientError> {
        let row = agent::get(&mut *self.store().read().await?).await?;
        match row {
            Some(row) => self.plugin_client(row.plugin).await.map(Some),
            None => Ok(None),
        }
    }

    /// Tells the agent of accounts that it does not know to stand, or to have ended.
    pub(super) async fn tell_accounts(&self, client: &PluginClient) -> Result<(), ClientError> {
        let rows = accounts::list(&mut *self.store().read().await?).await?;
        let here = client.address().key.to_z32();
        let mut refused = None;
        for row in rows.iter().filter(|row| !row.told && row.plugin == here) {
            let told = match row.revoked_at {
                Some(_) => client.revoke_account(&row.key).await.map_err(agent_error),
                None => client
                    .put_account(&row.key, &row.name, &row.delegation)
                    .await
                    .map(|_| ())
                    .map_err(agent_error),
            };
            match told {
                Ok(()) => {}
                // It never heard of the account, or knows that it has ended: nothing can be spent.
                Err(ClientError::AgentRefused {
                    code:
                        "payment_account_unknown"
                        | "key_revoked"
                        | "account_restored"
                        | "authority_expired",
                    ..
                }) => {}
                // One that can't be made known must not hold up the others.
                Err(error @ ClientError::AgentRefused { .. }) => {
                    refused.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(error),
            }
            let mut tx = self.store().write().await?;
            let now = accounts::get(tx.conn(), &row.key).await?;
            if now.is_some_and(|now| now.revoked_at == row.revoked_at) {
                accounts::set_told(tx.conn(), &row.key, true).await?;
            }
            tx.commit().await?;
        }
        refused.map_or(Ok(()), Err)
    }

    /// Reads what accounts asked for and the agent can't do alone.
    pub(in super::super) async fn read_spends(
        &self,
        client: &PluginClient,
    ) -> Result<(), ClientError> {
        if accounts::list(&mut *self.store().read().await?)
            .await?
            .is_empty()
        {
            return Ok(());
        }
        match self.tell_accounts(client).await {
            Err(error @ ClientError::AgentRefused { .. }) => {
                tracing::warn!(
                    code = error.code(),
                    "an account is not known to the agent: {error}"
                );
            }
            other => other?,
        }
        let open = client.open_spends().await.map_err(agent_error)?;
        for item in open.iter().filter(|item| !item.status.direct) {
            let Ok(spend) = Signed::<Spend>::decode(&item.record) else {
                continue;
            };
            let mut change = self.change().await?;
            take_spend(&mut change, &spend, item.status.at).await?;
            accounts::wanted(change.conn(), &spend.record().id, spend.jws()).await?;
            change.commit().await?;
        }
        Ok(())
    }

    /// What the user calls the account that signed this record, if one did.
    pub(in super::super) async fn account_named_in(
        &self,
        jws: &str,
    ) -> Result<Option<String>, ClientError> {
        let Ok(spend) = Signed::<Spend>::decode(jws) else {
            return Ok(None);
        };
        let account = accounts::get(&mut *self.store().read().await?, &spend.kid()).await?;
        Ok(account.map(|account| account.name))
    }

    /// Tells the agent how a spend stands.
    pub(super) async fn report(
        &self,
        client: &PluginClient,
        row: &accounts::SpendRow,
    ) -> Result<(), ClientError> {
        use accounts::SpendStage;
        let body = match row.stage {
            SpendStage::Claimed | SpendStage::Paying => json!({ "state": "paying" }),
            SpendStage::Unknown => json!({ "state": "unknown" }),
            SpendStage::Failed => json!({ "state": "failed", "reason": row.reason }),
            SpendStage::Paid => {
                let receipt = row.receipt.as_deref();
                let receipt: Option<serde_json::Value> =
                    receipt.and_then(|text| serde_json::from_str(text).ok());
                json!({ "state": "paid", "fee": row.fee.to_string(), "receipt": receipt })
            }
            SpendStage::Seen | SpendStage::Waiting => return Ok(()),
        };
        let told = client.report_spend(&row.id, &body).await;
        told.map(|_| ()).map_err(agent_error)
    }
}

/// Notes what an account asked for. The day on which it counts is the agent's, as far as that can be.
pub(in super::super) async fn take_spend(
    change: &mut Change,
    spend: &Signed<Spend>,
    at: u64,
) -> Result<(), ClientError> {
    let record = spend.record();
    let account = accounts::get(change.conn(), &spend.kid()).await?;
    let Some(account) = account else {
        return Ok(());
    };
    let expires = record.expires.millis();
    let at = at.clamp(
        expires
            .saturating_sub(MAX_SPEND_LIFE_MS)
            .min(now().millis()),
        now().millis(),
    );
    let day = day_of(Timestamp::saturating_from_millis(at));
    if !accounts::add_spend(change.conn(), spend, (at, day)).await? {
        return Ok(());
    }
    let line = HistoryItem {
        at,
        user: record.payee(),
        unit: Some(record.unit.clone()),
        kind: "spend".to_owned(),
        direction: Some(Direction::Out),
        amount: Some(record.amount.minor()),
        reference: Some(record.id.to_string()),
        memo: record.memo.as_ref().map(ToString::to_string),
        note: Some(format!("asked for by {:?}", account.name)),
        ..HistoryItem::default()
    };
    history::add(change.conn(), &line).await
}

/// Notes a payment that the agent signed for an account. Returns the account's name, if it was for one.
pub(in super::super) async fn take_payment(
    change: &mut Change,
    payment: &Signed<Payment>,
    at: u64,
) -> Result<Option<String>, ClientError> {
    let record = payment.record();
    let (id, payee) = (record.id.to_string(), record.to.to_z32());
    let receipt = json!({ "record": payment.hash() }).to_string();
    let paid = accounts::paid_by_agent(change.conn(), &id, (&payee, &receipt), at).await?;
    if !paid {
        return Ok(None);
    }
    let spend = accounts::spend(change.conn(), &record.id).await?;
    let Some(spend) = spend else { return Ok(None) };
    let account = accounts::get(change.conn(), &spend.account).await?;
    Ok(account.map(|account| account.name))
}
