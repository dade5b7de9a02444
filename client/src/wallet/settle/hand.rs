//! What rails remember in the wallet's store: what is to be paid by hand and what was said of it, and the transactions that may have been
//! sent. All of it is durable before a rail goes on.

use std::sync::Arc;

use atomicity_ledger::settle::{Next, Stage, Ticket, Way};
use atomicity_ledger::text::RailProof;
use atomicity_ledger::{Memo, RecordHash, RecordId};
use atomicity_paykit_adapter::rail::{
    self, Confirmations, Draft, Drafts, PayeeSaid, PayerSaid, PaymentId, RailError, Said,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::super::{MadeKind, Wallet, now};
use super::facts::Verdict;
use super::rails::RailKind;
use super::{SettleFault, SettlementView};
use crate::error::ClientError;
use crate::store::hand::{self, HandWord};
use crate::store::settlements::{self, DischargeRow};
use crate::store::{Store, json_in, json_out};

/// The store, as rails use it.
#[derive(Clone, Debug)]
pub(super) struct Kept(pub(super) Store);

impl Kept {
    pub(super) fn shared(store: &Store) -> Arc<Self> {
        Arc::new(Self(store.clone()))
    }
}

/// Nobody knows what is kept.
fn unknown(error: &ClientError) -> RailError {
    RailError::ConfigInvalid(format!("the wallet's store: {error}"))
}

impl Confirmations for Kept {
    fn ask<'a>(&'a self, order: &'a rail::Order) -> BoxFuture<'a, Result<(), RailError>> {
        let keep = async move {
            let mut tx = self.0.write().await?;
            let id = order.id.to_string();
            let at = now().millis();
            hand::ask(tx.conn(), &id, &order.target, &order.amount, at).await?;
            tx.commit().await
        };
        async move { keep.await.map_err(|error| unknown(&error)) }.boxed()
    }

    fn said(&self, id: PaymentId) -> BoxFuture<'_, Result<Option<Said>, RailError>> {
        let read = async move {
            let row = hand::get(&mut *self.0.read().await?, &id.to_string()).await?;
            Ok::<_, ClientError>(row.map(|row| Said {
                payer: row.payer.map(|word| match word {
                    HandWord::Paid(words) => PayerSaid::Paid(words),
                    HandWord::NotPaid(why) => PayerSaid::WillNotPay(why),
                }),
                payee: row.received.map(PayeeSaid::Received),
            }))
        };
        async move { read.await.map_err(|error| unknown(&error)) }.boxed()
    }
}

impl Drafts for Kept {
    fn draft(&self, id: PaymentId) -> BoxFuture<'_, Result<Option<Draft>, RailError>> {
        let read = async move {
            let text = hand::draft(&mut *self.0.read().await?, &id.to_string()).await?;
            let draft = text.map(|text| json_in(&text, "a transaction that may have been sent"));
            draft.transpose()
        };
        async move { read.await.map_err(|error| unknown(&error)) }.boxed()
    }

    fn keep<'a>(
        &'a self,
        id: PaymentId,
        draft: &'a Draft,
    ) -> BoxFuture<'a, Result<Draft, RailError>> {
        let keep = async move {
            let mut tx = self.0.write().await?;
            let (id, at) = (id.to_string(), now().millis());
            hand::keep_draft(tx.conn(), &id, &json_out(draft)?, at).await?;
            let kept = hand::draft(tx.conn(), &id).await?;
            tx.commit().await?;
            let kept = kept.ok_or_else(|| ClientError::StoreCorrupt {
                what: "the transactions that may have been sent",
                why: "one was not kept".to_owned(),
            })?;
            json_in(&kept, "a transaction that may have been sent")
        };
        async move { keep.await.map_err(|error| unknown(&error)) }.boxed()
    }
}

/// The name of an attempt on rails that do not go by payment hashes.
pub(super) fn id_of(ticket: &Ticket) -> PaymentId {
    PaymentId::from_bytes(*RecordHash::of(&ticket.to_string()).as_bytes())
}

/// The name of the attempt that is under way, where it is not a payment hash.
pub(super) fn under_way(row: &DischargeRow) -> Option<PaymentId> {
    if row.discharge.plan()?.hash.is_some() {
        return None;
    }
    match row.discharge.next() {
        Next::LookUp(order) => Some(id_of(&order.ticket)),
        _ => None,
    }
}

impl Wallet {
    /// Notes that the user has paid by hand what a friend asked for: `reference` is what shows it. What still waited for the user's word
    /// is agreed to by that.
    ///
    /// # Errors
    /// [`SettleFault::Unknown`], [`SettleFault::NotByHand`] if nothing of it is to be paid by hand now.
    pub async fn paid_by_hand(
        &self,
        id: &RecordId,
        reference: RailProof,
    ) -> Result<SettlementView, ClientError> {
        self.say_by_hand(id, HandWord::Paid(reference)).await
    }

    /// Notes that the user will not pay by hand what a friend asked for: another way is tried, if there is one.
    ///
    /// # Errors
    /// As [`Wallet::paid_by_hand`].
    pub async fn not_paid_by_hand(
        &self,
        id: &RecordId,
        why: Option<Memo>,
    ) -> Result<SettlementView, ClientError> {
        self.say_by_hand(id, HandWord::NotPaid(why)).await
    }

    async fn say_by_hand(
        &self,
        id: &RecordId,
        word: HandWord,
    ) -> Result<SettlementView, ClientError> {
        if self.made_before(MadeKind::Settlement).await?.is_some() {
            return self.settlement(id).await;
        }
        self.ensure_may_sign().await?;
        if matches!(word, HandWord::Paid(_)) && self.settlement(id).await?.waits_for_user {
            self.agree_to_pay_by_hand(id).await?;
        }
        let mut tx = self.store().write().await?;
        let rows = settlements::discharges_named(tx.conn(), id).await?;
        let Some(first) = rows.first() else {
            return Err(SettleFault::Unknown(id.to_string()).into());
        };
        let open = |row: &&DischargeRow| *row.discharge.stage() == Stage::Dispatched;
        let mut row = rows.iter().find(open).unwrap_or(first).clone();
        let said = match under_way(&row) {
            Some(attempt) => hand::say(tx.conn(), &attempt.to_string(), &word).await?,
            None => false,
        };
        if !said {
            let stage = super::of_discharge(&row).stage;
            return Err(SettleFault::NotByHand(id.to_string(), stage).into());
        }
        row.next_at = 0;
        settlements::put_discharge(tx.conn(), &row).await?;
        self.note_made(tx.conn(), MadeKind::Settlement, id).await?;
        tx.commit().await?;
        self.discharge(&row.discharge.settlement().hash()).await?;
        self.flush().await?;
        self.settlement(id).await
    }

    /// Agrees to a request, and lets nothing but people pay it: the money has changed hands already.
    async fn agree_to_pay_by_hand(&self, id: &RecordId) -> Result<(), ClientError> {
        let settlement = self.waiting(id).await?;
        self.home_for(&settlement).await?;
        let row = settlements::discharge(&mut *self.store().read().await?, &settlement).await?;
        let mut row = row.ok_or_else(|| SettleFault::Unknown(id.to_string()))?;
        row.approved = true;
        let Verdict::Judge(mut facts, _) = self.gather(&row).await? else {
            return Err(SettleFault::NotByHand(id.to_string(), "received").into());
        };
        let rails = self.open_rails().await?;
        let by_hand = |way: &Way| {
            let mut rails = rails.iter();
            rails.any(|rail| rail.name == way.rail && rail.kind == RailKind::Hand)
        };
        facts.ways.retain(by_hand);
        if facts.ways.is_empty() {
            return Err(SettleFault::NotByHand(id.to_string(), "received").into());
        }
        self.judge_by(&settlement, &facts, None, true).await?;
        self.discharge(&settlement).await?;
        Ok(())
    }
}
