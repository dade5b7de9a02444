//! Asking the agent to sign, for books that it keeps.

use std::time::Duration;

use atomicity_ledger::pair::{LineTerms, Pair};
use atomicity_ledger::record::{ConditionalIou, Endpoint, Terms};
use atomicity_ledger::text::Layers;
use atomicity_ledger::{
    AnyRecord, LedgerError, Memo, Money, RecordHash, RecordId, Serial, Signed, UserKey,
};
use serde_json::{Value, json};

use super::super::books;
use super::super::flush::Delivery;
use super::super::issue::{self, IssueOptions, IssuedPayment};
use super::super::view;
use super::super::{Direction, HistoryItem, Wallet, entropy, now};
use super::{AgentRow, Tended, agent_error};
use crate::error::ClientError;
use crate::net::NetError;
use crate::net::plugin::PluginClient;
use crate::store::contacts::{self, Contact};
use crate::store::pairs::agent;
use crate::store::{rules, units};

/// How often a request that may have been lost is asked again. It bears a number: the agent does it once.
const TRIES: u32 = 3;
/// However long the agent wants to be left alone, it is asked again after this.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

impl Wallet {
    async fn ask(
        &self,
        client: &PluginClient,
        what: &str,
        body: &Value,
    ) -> Result<Vec<AnyRecord>, ClientError> {
        let signed = patiently(|| client.ask_agent(what, body)).await?;
        let records = signed.records.iter().map(|jws| AnyRecord::decode(jws));
        Ok(records.collect::<Result<_, LedgerError>>()?)
    }

    /// Copies the books as the agent has them now. What the copy says is only a help.
    pub(in super::super) async fn look_at_agent(
        &self,
        client: &PluginClient,
        user: &UserKey,
    ) -> Result<(), ClientError> {
        let row: AgentRow = self.agent_row().await?;
        let mut tended = Tended::default();
        self.copy_pair(&row, client, user, &mut tended)
            .await
            .map(|_| ())
    }

    /// The copy of the books, and the friend.
    async fn copy_of(&self, user: &UserKey) -> Result<(Pair, Contact), ClientError> {
        let mut conn = self.store().read().await?;
        let contact = contacts::get(&mut conn, user).await?;
        let contact = contact.ok_or_else(|| ClientError::UnknownFriend(user.to_z32()))?;
        Ok((books::load(&mut conn, self.user(), *user).await?, contact))
    }

    /// The agent's refusal with names and figures, where the copy of the books has them.
    async fn explain_refusal(
        &self,
        error: ClientError,
        user: &UserKey,
        money: &Money,
    ) -> Result<ClientError, ClientError> {
        let ClientError::AgentRefused { code, .. } = &error else {
            return Ok(error);
        };
        if *code != "limit_exceeded" {
            return Ok(error);
        }
        let (pair, contact) = self.copy_of(user).await?;
        let mut conn = self.store().read().await?;
        let ceiling = rules::verdict(&mut conn, user, &money.unit).await?.issue;
        let open = units::list(&mut conn).await?;
        let is_open = open.iter().any(|open| open.unit == money.unit);
        let at = now();
        let available = pair.limits(&money.unit, ceiling, at).can_issue;
        let limit = LedgerError::LimitExceeded {
            wanted: money.to_string(),
            available: available.to_string(),
            why: String::new(),
        };
        Ok(issue::explain(
            limit, &pair, &contact, money, ceiling, is_open, at,
        ))
    }

    /// Has the agent pay a friend.
    pub(in super::super) async fn issue_by_agent(
        &self,
        client: &PluginClient,
        user: &UserKey,
        money: Money,
        options: IssueOptions,
    ) -> Result<IssuedPayment, ClientError> {
        let id = RecordId::from_entropy(entropy());
        let id = self.name_of_order(id).await?;
        let mut body =
            json!({ "id": id, "peer": user, "unit": money.unit, "amount": money.amount });
        describe(&mut body, options.memo.as_ref(), options.reference.as_ref());
        let records = match self.ask(client, "issue", &body).await {
            Ok(records) => records,
            Err(error) => return Err(self.explain_refusal(error, user, &money).await?),
        };
        let state = records.iter().find_map(|record| match record {
            AnyRecord::State(state) => Some(state.record()),
            _ => None,
        });
        let mut change = self.change().await?;
        change
            .note(HistoryItem {
                user: Some(*user),
                unit: Some(money.unit.clone()),
                kind: "payment".to_owned(),
                direction: Some(Direction::Out),
                amount: Some(money.amount.minor()),
                epoch: state.map(|state| state.epoch.get()),
                seq: state.map(|state| state.seq.get()),
                status: Some("sent".to_owned()),
                payment: Some(id.to_string()),
                memo: options.memo.as_ref().map(ToString::to_string),
                reference: options.reference.as_ref().map(ToString::to_string),
                ..HistoryItem::default()
            })
            .await?;
        change.commit().await?;
        self.copy_later(client, user).await?;
        let (pair, contact) = self.copy_of(user).await?;
        let mut conn = self.store().read().await?;
        Ok(IssuedPayment {
            payment: id,
            seq: state.map_or(0, |state| state.seq.get()),
            channel: view::channel(&mut conn, &pair, &contact, &money.unit).await?,
            contact,
            money,
            delivery: Delivery::Agent,
        })
    }

    /// Copies the books after the agent has signed. It stands already: what hinders the copy is only late.
    pub(in super::super) async fn copy_later(
        &self,
        client: &PluginClient,
        user: &UserKey,
    ) -> Result<(), ClientError> {
        match self.look_at_agent(client, user).await {
            Err(error @ (ClientError::StoreFull | ClientError::Store(_))) => Err(error),
            Err(error) => {
                tracing::info!(code = error.code(), "the copy follows later: {error}");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Has the agent set a credit line. Returns its number.
    pub(in super::super) async fn line_by_agent(
        &self,
        client: &PluginClient,
        user: &UserKey,
        terms: &LineTerms,
    ) -> Result<Option<u64>, ClientError> {
        let body = line_terms(terms);
        let records = self.ask(client, &format!("lines/{user}"), &body).await?;
        let seq = records.iter().find_map(|record| match record {
            AnyRecord::CreditLine(line) => Some(line.record().seq.get()),
            _ => None,
        });
        self.copy_later(client, user).await?;
        Ok(seq)
    }

    /// Has the agent promise a friend something.
    pub(in super::super) async fn promise_by_agent(
        &self,
        client: &PluginClient,
        user: &UserKey,
        (id, money): (RecordId, &Money),
        (terms, onward): (&Terms, Option<&Layers>),
    ) -> Result<Signed<ConditionalIou>, ClientError> {
        let mut body = json!({
            "id": id, "peer": user, "unit": money.unit, "amount": money.amount, "terms": terms,
        });
        if let (Some(onward), Some(body)) = (onward, body.as_object_mut()) {
            body.insert("onward".to_owned(), json!(onward));
        }
        let records = match self.ask(client, "promise", &body).await {
            Ok(records) => records,
            Err(error) => return Err(self.explain_refusal(error, user, money).await?),
        };
        let iou = records.into_iter().find_map(|record| match record {
            AnyRecord::ConditionalIou(iou) => Some(iou),
            _ => None,
        });
        iou.ok_or_else(|| ClientError::Malformed {
            what: "the agent's answer".to_owned(),
            why: "it holds no promise".to_owned(),
        })
    }

    /// Has the agent give a friend's promise up.
    pub(in super::super) async fn release_by_agent(
        &self,
        client: &PluginClient,
        user: &UserKey,
        iou: RecordHash,
    ) -> Result<(), ClientError> {
        let body = json!({ "peer": user, "iou": iou });
        self.ask(client, "release", &body).await?;
        self.copy_later(client, user).await
    }

    /// Has the agent tell a friend alone where the user can be paid. Nothing happens if `edit` says that nothing changed.
    pub(in super::super) async fn endpoints_by_agent(
        &self,
        client: &PluginClient,
        user: &UserKey,
        edit: impl FnOnce(&mut Vec<Endpoint>) -> bool,
    ) -> Result<bool, ClientError> {
        self.look_at_agent(client, user).await?;
        let (pair, _) = self.copy_of(user).await?;
        let known = pair.own_endpoints().map(|list| list.record());
        let mut list = known.map_or(&[][..], |list| list.in_force(now())).to_vec();
        if !edit(&mut list) {
            return Ok(false);
        }
        // What another device said meanwhile is not undone.
        let replaces = known.map_or(Serial::ZERO, |list| list.serial);
        let body = json!({ "replaces": replaces, "endpoints": list });
        self.ask(client, &format!("endpoints/{user}"), &body)
            .await?;
        self.copy_later(client, user).await?;
        Ok(true)
    }

    /// Whether the agent keeps the books with `user`.
    pub(in super::super) async fn is_with_agent(
        &self,
        user: &UserKey,
    ) -> Result<bool, ClientError> {
        agent::keeps(&mut *self.store().read().await?, user).await
    }
}

/// Asks until an answer comes, or it is clear that none does.
pub(super) async fn patiently<T, F: Future<Output = Result<T, NetError>>>(
    ask: impl Fn() -> F,
) -> Result<T, ClientError> {
    let mut tries = 1;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            // The agent reads the log a moment after this wallet did.
            Err(error) if tries < TRIES && matches!(error.code(), "terms_refused" | "no_log") => {
                tries += 1;
                tokio::time::sleep(LONGEST_WAIT).await;
            }
            Err(error) if tries < TRIES && is_unclear(&error) => {
                tries += 1;
                let asked = error.retry_after().unwrap_or_default();
                tokio::time::sleep(asked.min(LONGEST_WAIT)).await;
            }
            Err(error) => return Err(agent_error(error)),
        }
    }
}

/// Whether the request may have got there all the same.
fn is_unclear(error: &NetError) -> bool {
    // Whoever turns a request away in good order has done nothing; a plugin without its database may not know.
    let failed = matches!(
        error.code(),
        "database_unavailable" | "internal" | "upstream_unavailable"
    );
    failed
        || error.is_network()
        || matches!(error, NetError::HttpStatus { status, .. } if *status >= 500)
}

fn describe(body: &mut Value, memo: Option<&Memo>, reference: Option<&Memo>) {
    let Some(body) = body.as_object_mut() else {
        return;
    };
    if let Some(memo) = memo {
        body.insert("memo".to_owned(), json!(memo));
    }
    if let Some(reference) = reference {
        body.insert("ref".to_owned(), json!(reference));
    }
}

/// A credit line as the agent is asked for it.
pub(super) fn line_terms(terms: &LineTerms) -> Value {
    let mut body = json!({
        "unit": terms.unit,
        "accept": terms.accept,
        "min_amount": terms.min_amount,
        "max_deadline_s": terms.max_deadline_s,
        "slots": terms.slots,
        "logs_refused": terms.logs_refused,
    });
    if let Some(body) = body.as_object_mut() {
        if let Some(unattended) = &terms.unattended {
            body.insert("unattended".to_owned(), json!(unattended));
        }
        if let Some(expires) = &terms.expires {
            body.insert("expires".to_owned(), json!(expires));
        }
    }
    body
}
