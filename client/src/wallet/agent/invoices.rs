//! Invoices that the agent looks after, so that they are paid while this wallet is away: having it make them, handing over those that
//! were made here, seeing what became of them, taking them back.

use atomicity_ledger::hop::{Bill, Collection, CollectionStage};
use atomicity_ledger::record::{Hint, Invoice};
use atomicity_ledger::{AnyRecord, RecordId, Signed, Unit, UserKey};
use serde_json::json;

use super::super::books::{self, Change};
use super::super::event::{WalletEvent, WalletEventKind};
use super::super::invoice::{self, InvoiceKeeper, InvoiceTerms};
use super::super::pay::PaymentFault;
use super::super::{Direction, HistoryItem, MadeKind, Wallet, entropy, now, routed};
use super::ask::patiently;
use super::{AgentRow, agent_error};
use crate::error::ClientError;
use crate::net::plugin::{AgentInvoice, PluginClient};
use crate::store::contacts::{self, ContactStatus};
use crate::store::invoices::{self, InvoiceRow, Place};
use crate::store::pairs;
use crate::store::pairs::agent;

/// Invoices that are handed over, or taken back, in one go.
const BATCH: u32 = 100;
/// How many times at most.
const BATCHES: usize = 100;
/// What is noted of an invoice that stays here because more can come here.
const KEPT: &str = "kept";
/// What is noted of an invoice that the user wants here.
pub(in super::super) const WANTED_HERE: &str = "wanted";

/// What friends can still promise, by who keeps the books with them.
#[derive(Clone, Copy, Default)]
struct Room {
    here: u64,
    agent: u64,
}

impl Wallet {
    /// Who should look after an invoice: whoever keeps the books over which all of it can come; the agent if both do, since it is
    /// always there. An invoice is collected in one place only.
    pub(in super::super) async fn who_collects(
        &self,
        unit: &Unit,
        amount: Option<u64>,
    ) -> Result<InvoiceKeeper, ClientError> {
        let mut conn = self.store().read().await?;
        if !agent::pairs(&mut conn)
            .await?
            .iter()
            .any(|pair| pair.stage != agent::AgentStage::Wanted)
        {
            return Ok(InvoiceKeeper::Device);
        }
        let (mut room, at) = (Room::default(), now());
        for contact in contacts::list(&mut conn, ContactStatus::Friend).await? {
            let Some(row) = pairs::get(&mut conn, &contact.user).await? else {
                continue;
            };
            let most = books::parse(&row.body)?.limits(unit, None, at).can_receive;
            let side = match agent::keeps(&mut conn, &contact.user).await? {
                true => &mut room.agent,
                false => &mut room.here,
            };
            *side = side.saturating_add(most);
        }
        let enough = amount.unwrap_or(1);
        let here = room.agent < enough && (room.here >= enough || room.here > room.agent);
        Ok(match here {
            true => InvoiceKeeper::Device,
            false => InvoiceKeeper::Agent,
        })
    }

    /// Has the agent make an invoice.
    pub(in super::super) async fn invoice_by_agent(
        &self,
        terms: InvoiceTerms,
        hints: &[Hint],
    ) -> Result<InvoiceRow, ClientError> {
        let row = self.agent_row().await?;
        let client = self.plugin_client(row.plugin.clone()).await?;
        let id = RecordId::from_entropy(entropy());
        let expires_in = u64::try_from(terms.expires_in.as_millis()).unwrap_or(u64::MAX);
        let expires = now().plus_millis(expires_in);
        let mut body = json!({ "id": id, "unit": terms.unit, "expires": expires, "hints": hints });
        if let Some(body) = body.as_object_mut() {
            body.extend(
                terms
                    .amount
                    .map(|amount| ("amount".to_owned(), json!(amount))),
            );
            body.extend(terms.memo.map(|memo| ("memo".to_owned(), json!(memo))));
        }
        let made = patiently(|| client.make_invoice(&body)).await?;
        let mut change = self.change().await?;
        let made = take(&mut change, self.user(), &row, &id, &made).await?.0;
        self.note_made(change.conn(), MadeKind::Invoice, &id)
            .await?;
        change.commit().await?;
        Ok(made)
    }

    /// Hands over the invoices that were made here before and are better looked after by the agent.
    pub(super) async fn hand_invoices(
        &self,
        row: &AgentRow,
        client: &PluginClient,
    ) -> Result<(), ClientError> {
        let found = invoices::to_hand(&mut *self.store().read().await?, BATCH).await?;
        for known in found {
            let bill = known.collection.bill();
            let amount = bill.amount.map(|amount| amount.minor());
            let fits = bill.expires > now()
                && self.who_collects(&bill.unit, amount).await? == InvoiceKeeper::Agent;
            if known.place == Place::Here && !self.mark_invoice(&known, fits).await? {
                continue;
            }
            let secret = self.reveal_secret(&bill.hash).await?;
            let id = bill.invoice;
            let handed = client.hand_invoice(&id, &known.record, &secret).await;
            let mut change = self.change().await?;
            match handed.map_err(agent_error) {
                Ok(seen) => drop(take(&mut change, self.user(), row, &id, &seen).await?),
                // It does not have it, and will not.
                Err(ClientError::AgentRefused { code, .. }) => {
                    tracing::info!(code, "an invoice stays here");
                    self.put_invoice_here(&mut change, &id).await?;
                }
                Err(error) => return Err(error),
            }
            change.commit().await?;
        }
        Ok(())
    }

    /// Notes that an invoice goes to the agent, or that it stays; nothing if something has come for it meanwhile. Returns whether it
    /// goes.
    async fn mark_invoice(&self, known: &InvoiceRow, goes: bool) -> Result<bool, ClientError> {
        let mut change = self.change().await?;
        let id = known.collection.bill().invoice;
        let Some(mut row) = invoices::named(change.conn(), &id).await? else {
            return Ok(false);
        };
        let untouched = *row.collection.stage() == CollectionStage::Open
            && row.collection.parts().is_empty()
            && row.place == Place::Here;
        if !untouched {
            return Ok(false);
        }
        match goes {
            true => row.place = Place::Handing,
            false => row.told = Some(KEPT.to_owned()),
        }
        invoices::put(change.conn(), &row).await?;
        change.commit().await?;
        Ok(goes)
    }

    async fn put_invoice_here(
        &self,
        change: &mut Change,
        id: &RecordId,
    ) -> Result<(), ClientError> {
        let Some(mut row) = invoices::named(change.conn(), id).await? else {
            return Ok(());
        };
        row.place = Place::Here;
        row.told = Some(KEPT.to_owned());
        invoices::put(change.conn(), &row).await
    }

    /// What became of these invoices, as the agent says now.
    pub(super) async fn see_invoices(
        &self,
        client: &PluginClient,
        ids: impl IntoIterator<Item = RecordId>,
    ) -> Result<Vec<(RecordId, AgentInvoice)>, ClientError> {
        let mut seen = Vec::new();
        for id in ids {
            match client.agent_invoice(&id).await.map_err(agent_error) {
                Ok(invoice) => seen.push((id, invoice)),
                Err(ClientError::AgentRefused { code, .. }) => {
                    tracing::info!(code, "the agent does not show an invoice");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(seen)
    }

    /// Asks the agent what became of an invoice, now.
    pub(in super::super) async fn look_at_invoice(
        &self,
        id: &RecordId,
    ) -> Result<Vec<WalletEvent>, ClientError> {
        let row = self.agent_row().await?;
        let client = self.plugin_client(row.plugin.clone()).await?;
        let mut told = Vec::new();
        for (id, seen) in self.see_invoices(&client, [*id]).await? {
            let mut change = self.change().await?;
            let (_, events) = take(&mut change, self.user(), &row, &id, &seen).await?;
            change.commit().await?;
            told.extend(events);
        }
        Ok(told)
    }

    /// Takes invoices back before the agent ends: those that were made here are looked after here again, the others are withdrawn.
    ///
    /// # Errors
    /// [`PaymentFault::InvoiceBusy`] if one is just being paid: nothing is lost, and a moment later it is decided.
    pub(super) async fn take_invoices_back(
        &self,
        row: &AgentRow,
        client: &PluginClient,
    ) -> Result<(), ClientError> {
        for _ in 0..BATCHES {
            let found = invoices::with_agent(&mut *self.store().read().await?, BATCH).await?;
            if found.is_empty() {
                break;
            }
            for known in found {
                self.take_invoice_back(row, client, &known).await?;
            }
        }
        Ok(())
    }

    async fn take_invoice_back(
        &self,
        row: &AgentRow,
        client: &PluginClient,
        known: &InvoiceRow,
    ) -> Result<(), ClientError> {
        let bill = known.collection.bill();
        let id = bill.invoice;
        let seen = match client.withdraw_invoice(&id).await.map_err(agent_error) {
            Err(ClientError::AgentRefused {
                code: "invoice_unknown",
                ..
            }) => None,
            Err(ClientError::AgentRefused {
                code: "invoice_busy",
                ..
            }) => Some(client.agent_invoice(&id).await.map_err(agent_error)?),
            other => Some(other?),
        };
        if seen.as_ref().is_some_and(|seen| seen.state == "publishing") {
            return Err(PaymentFault::InvoiceBusy(id.to_string()).into());
        }
        let mut change = self.change().await?;
        if let Some(seen) = &seen {
            take(&mut change, self.user(), row, &id, seen).await?;
        }
        let is_over = seen.is_some_and(|seen| seen.state != "withdrawn");
        let own = signed_here(known, row);
        if !is_over && let Some(mut row) = invoices::named(change.conn(), &id).await? {
            match own {
                true => (row.place, row.told, row.ended_at) = (Place::Here, None, None),
                false => row.told = Some("withdrawn".to_owned()),
            }
            row.ended_at = (!own).then(|| change.now.millis());
            invoices::put(change.conn(), &row).await?;
        }
        change.commit().await
    }

    /// An agent that was revoked can't be asked: what it has shown to a log nobody knows but the log.
    pub(super) async fn lose_invoices(&self) -> Result<(), ClientError> {
        for _ in 0..BATCHES {
            let mut change = self.change().await?;
            let found = invoices::with_agent(change.conn(), BATCH).await?;
            if found.is_empty() {
                break;
            }
            for mut row in found {
                row.place = Place::Lost;
                row.ended_at = Some(change.now.millis());
                invoices::put(change.conn(), &row).await?;
            }
            change.commit().await?;
        }
        Ok(())
    }
}

/// Whether this wallet signed an invoice, and so has its secret.
fn signed_here(known: &InvoiceRow, row: &AgentRow) -> bool {
    AnyRecord::decode(&known.record).is_ok_and(|record| record.kid() != row.key)
}

/// Notes how far an invoice is at the agent. The invoice is checked against what is known; one that another app had made is added.
pub(super) async fn take(
    change: &mut Change,
    me: UserKey,
    agent: &AgentRow,
    id: &RecordId,
    seen: &AgentInvoice,
) -> Result<(InvoiceRow, Vec<WalletEvent>), ClientError> {
    let malformed = |why: &str| ClientError::Malformed {
        what: "the agent's invoice".to_owned(),
        why: why.to_owned(),
    };
    let signed: Signed<Invoice> = Signed::decode(&seen.invoice)?;
    let invoice = signed.record();
    let received = seen.received.parse();
    let received: u64 = received.map_err(|_| malformed("its amount is no number"))?;
    let known = invoices::named(change.conn(), id).await?;
    let mut row = match known {
        Some(known) => known,
        None => {
            if signed.kid() != agent.key {
                return Err(malformed("somebody else has signed it"));
            }
            note_made(change, invoice).await?;
            InvoiceRow {
                record: seen.invoice.clone(),
                collection: Collection::new(Bill::of(invoice, routed::MIN_LEFT_MS)),
                received: 0,
                created_at: seen.created_at,
                ended_at: None,
                place: Place::Agent,
                told: None,
                preimage: None,
            }
        }
    };
    if invoice.id != *id || invoice.payee != me || row.record != seen.invoice {
        return Err(malformed("it is another one"));
    }
    let was_paid = row.told.as_deref() == Some("paid");
    row.place = Place::Agent;
    row.told = Some(seen.state.clone());
    row.received = received;
    row.ended_at = seen.ended_at;
    row.preimage = seen.preimage.filter(|secret| secret.hash() == invoice.hash);
    invoices::put(change.conn(), &row).await?;
    let mut told = Vec::new();
    if seen.state == "paid" && !was_paid {
        let kinds = invoice::note_paid(change, invoice, received).await?;
        told.extend(kinds.into_iter().map(|kind: WalletEventKind| WalletEvent {
            at: seen.ended_at.unwrap_or_else(|| now().millis()),
            user: None,
            friend: None,
            kind,
        }));
    }
    Ok((row, told))
}

async fn note_made(change: &mut Change, invoice: &Invoice) -> Result<(), ClientError> {
    change
        .note(HistoryItem {
            unit: Some(invoice.unit.clone()),
            kind: "invoice".to_owned(),
            direction: Some(Direction::In),
            amount: invoice.amount.map(|amount| amount.minor()),
            reference: Some(invoice.id.to_string()),
            memo: invoice.memo.as_ref().map(|memo| memo.as_str().to_owned()),
            ..HistoryItem::default()
        })
        .await
}
