//! Places outside that payment accounts have paid: by the same rails as friends' requests, and with the same care. A rail is told to pay
//! in one place only: right after the step that stores a new attempt.

use atomicity_ledger::record::{Pays, SpendTo};
use atomicity_ledger::settle::{Facts, Outlay, OutlayNext, OutlayStage, Proof, RailSaid, Refusal};
use atomicity_ledger::{Asset, Money, RecordHash, RecordId, Signed, record::Spend};
use atomicity_paykit_adapter::choose::Payable;
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::super::{Direction, HistoryItem, Wallet, now};
use super::OpenRail;
use super::facts::{invoice_ways, ways};
use super::rails::RailKind;
use crate::error::ClientError;
use crate::store::accounts::{self, SpendRow, SpendStage};
use crate::store::rails::OwnRate;
use crate::store::{WriteTx, history, settlements};

/// Steps of one payment in one go: more than it has.
const STEPS: usize = 32;
/// Payments that are worked on side by side.
const AT_ONCE: usize = 8;
/// How long to wait before a rail is asked again, at first and at most, in milliseconds.
const PAUSE_MS: (u64, u64) = (1_000, 60_000);
/// Another request or spend has the payment hash.
const ALREADY_PAID: &str = "already_paid";
/// The user has ended the account.
const REVOKED: &str = "key_revoked";

impl Wallet {
    /// Judges what an account wants paid outside by the user's rails and `rate`.
    ///
    /// # Errors
    /// What can't be known now and may be known soon: a price.
    pub(in super::super) async fn judge_outlay(
        &self,
        spend: &Signed<Spend>,
        rate: OwnRate,
    ) -> Result<Result<Outlay, Refusal>, ClientError> {
        let facts = self.outlay_facts(spend.record(), rate).await?;
        Ok(Outlay::judge(spend, &facts, now()))
    }

    async fn outlay_facts(&self, spend: &Spend, rate: OwnRate) -> Result<Facts, ClientError> {
        let pays = spend.payment()?;
        let mut rails = self.open_rails().await?;
        // An app does not have people pay by hand.
        rails.retain(|rail| rail.kind != RailKind::Hand);
        let targets = match &spend.to {
            SpendTo::Target(target) => std::slice::from_ref(target),
            _ => &[],
        };
        let (ways, invoice) = match targets.first() {
            Some(target) if target.is_invoice() => {
                invoice_ways(&rails, spend.expires, target, &pays).await
            }
            _ => (by_place(&rails, &pays, targets).await, None),
        };
        let money = Money {
            amount: spend.amount,
            unit: spend.unit.clone(),
        };
        let quote = if pays.asset == Asset::of(&spend.unit) {
            None
        } else {
            self.quoted(rate, &money, &pays.asset, targets).await?
        };
        Ok(Facts {
            unit_known: true,
            allowed: true,
            busy: false,
            ways,
            invoice,
            quote,
        })
    }

    /// What is to be paid outside for accounts, or looked up there, and due.
    pub(crate) async fn outlays_due(&self, limit: u32) -> Result<Vec<RecordId>, ClientError> {
        let mut conn = self.store().read().await?;
        accounts::open_outlays(&mut conn, now().millis(), limit).await
    }

    /// Goes on with everything that is paid outside for accounts.
    pub(crate) async fn drive_outlays(&self) -> Result<(), ClientError> {
        let mut conn = self.store().read().await?;
        let open = accounts::open_outlays(&mut conn, u64::MAX, u32::MAX).await?;
        drop(conn);
        let mut work = stream::iter(open)
            .map(|id| async move { self.pay_outlay(&id).await })
            .buffer_unordered(AT_ONCE);
        while let Some(done) = work.next().await {
            done?;
        }
        Ok(())
    }

    /// Goes on with what is paid outside for a spend, as far as it goes now.
    ///
    /// # Errors
    /// What hinders signing, and what the store says. What a rail does wrong is none: it is asked again.
    pub(crate) async fn pay_outlay(&self, id: &RecordId) -> Result<(), ClientError> {
        self.ensure_may_sign().await?;
        for _ in 0..STEPS {
            let row = accounts::spend(&mut *self.store().read().await?, id).await?;
            let Some((row, outlay)) = row.and_then(open) else {
                break;
            };
            let (attempt, said) = match outlay.next() {
                OutlayNext::Over => break,
                OutlayNext::Dispatch => match self.dispatch_outlay(&row, &outlay).await? {
                    Some(said) => said,
                    None => break,
                },
                OutlayNext::LookUp(order) => {
                    let said = self.ask_rail(&order, outlay.plan().hash).await?;
                    (order.ticket.attempt, said)
                }
            };
            if !self.outlay_heard(id, attempt, said).await? {
                break;
            }
        }
        Ok(())
    }

    /// Begins an attempt and tells the rail, if the rail can be asked at all: otherwise nothing is begun. Nothing if it waits, or has
    /// ended.
    async fn dispatch_outlay(
        &self,
        row: &SpendRow,
        seen: &Outlay,
    ) -> Result<Option<(u32, RailSaid)>, ClientError> {
        let hash = seen.plan().hash;
        if let Some(way) = seen.way().filter(|_| now() < seen.plan().not_after)
            && !self.rail_answers(way, hash).await?
        {
            let mut tx = self.store().write().await?;
            rest(&mut tx, row, seen).await?;
            tx.commit().await?;
            return Ok(None);
        }
        let mut tx = self.store().write().await?;
        let row = accounts::spend(tx.conn(), &row.id).await?;
        let Some((row, mut outlay)) = row.and_then(open).filter(|(_, now)| now == seen) else {
            // Another process goes on with it.
            return Ok(None);
        };
        if let Some(reason) = obstacle(&mut tx, &row, &outlay).await? {
            accounts::outlay_failed(tx.conn(), &row.id, (&outlay, reason), now().millis()).await?;
            tx.commit().await?;
            return Ok(None);
        }
        let order = outlay.dispatch(now());
        store(&mut tx, &row, &outlay, None).await?;
        tx.commit().await?;
        let Some(order) = order else {
            return Ok(None);
        };
        // Stored. Only now, and only here, is the rail told.
        let said = self.tell_rail(&order, hash).await?;
        Ok(Some((order.ticket.attempt, said)))
    }

    /// Takes what a rail said of an attempt. Returns whether it can go on at once.
    async fn outlay_heard(
        &self,
        id: &RecordId,
        attempt: u32,
        said: RailSaid,
    ) -> Result<bool, ClientError> {
        let mut tx = self.store().write().await?;
        let row = accounts::spend(tx.conn(), id).await?;
        let Some((row, mut outlay)) = row.and_then(open) else {
            return Ok(false);
        };
        let before = outlay.clone();
        outlay.rail_said(attempt, said.clone(), now());
        let moved = outlay != before;
        if moved || row.stage != stage_of(&row, &said) {
            store(&mut tx, &row, &outlay, Some(&said)).await?;
        }
        if !moved {
            rest(&mut tx, &row, &outlay).await?;
        }
        tx.commit().await?;
        Ok(moved)
    }
}

/// A spend that is paid outside, and not over.
fn open(row: SpendRow) -> Option<(SpendRow, Outlay)> {
    let outlay = row.outlay.clone().filter(|_| row.ended_at.is_none())?;
    // The agent must keep what is reserved before anything begins.
    let begun = row.stage != SpendStage::Claimed || row.told;
    begun.then_some((row, outlay))
}

async fn by_place(
    rails: &[OpenRail],
    pays: &Pays,
    targets: &[atomicity_ledger::record::Target],
) -> Vec<atomicity_ledger::settle::Way> {
    let places: Vec<Payable> = targets.iter().filter_map(Payable::of_target).collect();
    ways(rails, pays, &places).await
}

/// What keeps an attempt from beginning. The payment hash is this spend's from here on, for ever.
async fn obstacle(
    tx: &mut WriteTx,
    row: &SpendRow,
    outlay: &Outlay,
) -> Result<Option<&'static str>, ClientError> {
    let account = accounts::get(tx.conn(), &row.account).await?;
    if account.is_none_or(|account| account.revoked_at.is_some()) {
        return Ok(Some(REVOKED));
    }
    let Some(hash) = outlay.plan().hash else {
        return Ok(None);
    };
    let spend: RecordHash = row.signed()?.hash();
    if settlements::hash_taken(tx.conn(), &hash, &spend).await? {
        return Ok(Some(ALREADY_PAID));
    }
    settlements::take_hash(tx.conn(), &hash, &spend, now().millis()).await?;
    Ok(None)
}

/// How far the spend is after such a word that decides nothing.
fn stage_of(row: &SpendRow, said: &RailSaid) -> SpendStage {
    match said {
        RailSaid::Unknown => SpendStage::Unknown,
        _ if row.stage == SpendStage::Unknown => SpendStage::Unknown,
        _ => SpendStage::Paying,
    }
}

/// Makes a step durable, with all that follows for the spend.
async fn store(
    tx: &mut WriteTx,
    row: &SpendRow,
    outlay: &Outlay,
    said: Option<&RailSaid>,
) -> Result<(), ClientError> {
    let at = now().millis();
    match outlay.stage() {
        OutlayStage::Paid { proof } => {
            let receipt = match proof {
                Proof::Preimage(preimage) => json!({ "preimage": preimage }),
                Proof::Text(words) => json!({ "proof": words }),
            };
            let paid = (outlay, receipt.to_string());
            if accounts::outlay_paid(tx.conn(), &row.id, (paid.0, &paid.1), at).await? {
                note_paid(tx, row, outlay).await?;
            }
        }
        OutlayStage::Failed { reason } => {
            accounts::outlay_failed(tx.conn(), &row.id, (outlay, reason.code()), at).await?;
        }
        OutlayStage::Planned | OutlayStage::Dispatched => {
            let stage = said.map_or_else(|| begun(row), |said| stage_of(row, said));
            // The agent keeps what is reserved as it is: it need only be told that nobody knows.
            let told = stage == row.stage && row.told || stage == SpendStage::Paying;
            accounts::put_outlay(tx.conn(), &row.id, outlay, (stage, told)).await?;
        }
    }
    Ok(())
}

/// How far the spend is once a rail is told.
fn begun(row: &SpendRow) -> SpendStage {
    match row.stage {
        SpendStage::Unknown => SpendStage::Unknown,
        _ => SpendStage::Paying,
    }
}

async fn note_paid(tx: &mut WriteTx, row: &SpendRow, outlay: &Outlay) -> Result<(), ClientError> {
    let account = accounts::get(tx.conn(), &row.account).await?;
    let name = account.map(|account| account.name).unwrap_or_default();
    let (spend, pays) = (row.signed()?, &outlay.plan().pays);
    let record = spend.record();
    let line = HistoryItem {
        at: now().millis(),
        unit: Some(record.unit.clone()),
        kind: "outlay".to_owned(),
        direction: Some(Direction::Out),
        amount: Some(row.amount),
        reference: Some(row.id.to_string()),
        memo: record.memo.as_ref().map(ToString::to_string),
        note: Some(format!(
            "{} {} were paid outside for {name:?}",
            pays.amount, pays.asset
        )),
        ..HistoryItem::default()
    };
    history::add(tx.conn(), &line).await
}

/// Looks at it again later, twice as long each time, but not beyond its end.
async fn rest(tx: &mut WriteTx, row: &SpendRow, outlay: &Outlay) -> Result<(), ClientError> {
    let at = now().millis();
    let doublings = u32::try_from(row.tries.min(16)).unwrap_or(16);
    let wait = PAUSE_MS.0.saturating_mul(2u64.saturating_pow(doublings));
    let next_at = at.saturating_add(wait.min(PAUSE_MS.1));
    let end = outlay.plan().not_after.millis();
    // What ends meanwhile is ended in time.
    let next_at = if end > at { next_at.min(end) } else { next_at };
    accounts::put_off(tx.conn(), &row.id, (next_at, row.tries.saturating_add(1))).await
}
