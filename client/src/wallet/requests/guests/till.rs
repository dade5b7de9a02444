//! Where guests pay: an invoice or an address for each part, and what came there.

use std::time::Duration;

use atomicity_ledger::{Money, PaymentHash};
use atomicity_paykit_adapter::rail::{
    Address, Deposited, InvoiceState, Msat, NewInvoice, RailError,
};

use super::super::super::books::Change;
use super::super::super::settle::OpenRail;
use super::super::super::{
    Direction, HistoryItem, SettleFault, Wallet, WalletEvent, WalletEventKind, now,
};
use super::super::{is_grave, own};
use super::price::worth;
use super::{AT_ONCE, GuestRail, store};
use crate::error::ClientError;
use crate::store::requests::guests::{GuestPlace, GuestRow, GuestStage, GuestWay};
use crate::store::requests::{self, ReceiptRow, RequestRow};

/// How long a node, or a source of rates, may fail until a guest is told that it does not go, milliseconds.
const PATIENCE_MS: u64 = 20_000;
/// How long after its end an invoice is looked at before it is withdrawn: it may just be paid.
const GRACE_MS: u64 = 10_000;
/// How long an address is good for at least: people write a transaction more slowly than they scan a code.
const LEAST_ON_CHAIN_MS: u64 = 3_600_000;
/// How long an address that was not paid in time is looked at, milliseconds.
const LATE_MS: u64 = 14 * 86_400_000;
/// How long after its time a transaction is waited for that no block takes, milliseconds: whoever pays no fee must not keep a part for ever.
const UNCONFIRMED_MS: u64 = 86_400_000;
/// How long ended parts are remembered, milliseconds.
const REMEMBER_MS: u64 = 30 * 86_400_000;
/// Less is not passed on by the nodes of the chain (the dust limit of an output that pays a key by its hash), satoshis.
const DUST_SAT: u64 = 546;
const PER_SAT: u64 = 1_000;
/// For how much a rail that is tried makes an invoice, satoshis.
const TEST_SAT: u64 = 1_000;
/// Why a rail is of no use here: a code.
const NOT_PAID: &str = "rail_not_paid";

/// What a rail can't do: its name, the way, and why, as a code and in words.
type Failed = (String, GuestWay, &'static str, String);

pub(super) fn fault(error: &RailError) -> ClientError {
    SettleFault::Rail {
        code: error.code(),
        why: error.to_string(),
    }
    .into()
}

fn unable_to(way: GuestWay) -> &'static str {
    match way {
        GuestWay::Lightning => "it makes no invoices",
        GuestWay::Onchain => "it gives no addresses",
    }
}

fn unable(part: &GuestRow) -> ClientError {
    SettleFault::Rail {
        code: NOT_PAID,
        why: format!("{}: {}", part.rail, unable_to(part.way)),
    }
    .into()
}

impl Wallet {
    /// Which of these rails can be paid, and how: each is asked for something that nobody sees.
    pub(in crate::wallet) async fn try_rails(
        &self,
        names: &[String],
        only: Option<GuestWay>,
    ) -> Result<(Vec<GuestRail>, Vec<Failed>), ClientError> {
        let (mut rails, mut failed): (Vec<GuestRail>, Vec<Failed>) = Default::default();
        for name in names {
            let rail = self.rail_of_guests(name).await?;
            for way in GuestWay::ALL {
                let wanted = only.is_none_or(|only| only == way);
                if !wanted || rails.iter().any(|found| found.way == way) {
                    continue;
                }
                let price = Msat::from_sat(TEST_SAT).map_err(|error| fault(&error))?;
                let (memo, hold) = ("a test that nobody pays", Duration::from_secs(60));
                match place(&rail, way, (price, memo), hold).await {
                    Ok(Some(_)) => rails.push(GuestRail {
                        way,
                        rail: name.clone(),
                    }),
                    Ok(None) => {
                        failed.push((name.clone(), way, NOT_PAID, unable_to(way).to_owned()))
                    }
                    Err(error) => failed.push((name.clone(), way, error.code(), error.to_string())),
                }
            }
        }
        failed.retain(|(_, way, ..)| !rails.iter().any(|found| found.way == *way));
        Ok((rails, failed))
    }

    async fn rail_of_guests(&self, name: &str) -> Result<OpenRail, ClientError> {
        let unknown = || SettleFault::RailUnknown(name.to_owned());
        let parsed = name.parse().map_err(|_| unknown())?;
        let rail = self.open_rail(&parsed).await?;
        Ok(rail.ok_or_else(unknown)?)
    }

    /// Makes a place to pay at for what was kept.
    pub(in crate::wallet) async fn make_places(&self) -> Result<(), ClientError> {
        let open = store::open(&mut *self.store().read().await?, AT_ONCE).await?;
        for part in open.iter().filter(|part| part.stage == GuestStage::Kept) {
            match self.make_place(part).await {
                Ok(()) => {}
                Err(error) if is_grave(&error) => return Err(error),
                Err(error) => {
                    tracing::info!(code = error.code(), "a guest waits: {error}");
                    if part.created_at.saturating_add(PATIENCE_MS) <= now().millis() {
                        self.end_guest(part, error.code()).await?;
                    }
                    // The same node would be asked for the next one.
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn make_place(&self, part: &GuestRow) -> Result<(), ClientError> {
        let request = requests::named(&mut *self.store().read().await?, &part.request).await?;
        let Some(request) = request else {
            return self.end_guest(part, "request_unknown").await;
        };
        let asked = request.record.record();
        let money = Money {
            amount: part.amount,
            unit: asked.unit.clone(),
        };
        let price = self.price_for_guests(&money).await?;
        if part.way == GuestWay::Onchain && price.get() < DUST_SAT * PER_SAT {
            return self.end_guest(part, "below_dust").await;
        }
        let rail = self.rail_of_guests(&part.rail).await?;
        let hold = match part.way {
            GuestWay::Lightning => request.hold_ms,
            GuestWay::Onchain => request.hold_ms.max(LEAST_ON_CHAIN_MS),
        };
        let memo = match &asked.memo {
            Some(memo) => memo.to_string(),
            None => format!("a part of request {}", asked.id),
        };
        let made = place(&rail, part.way, (price, &memo), Duration::from_millis(hold));
        let made = made.await.map_err(|error| fault(&error))?;
        let made = made.ok_or_else(|| unable(part))?;
        let mut change = self.change().await?;
        let kept = store::get(change.conn(), &part.id).await?;
        if let Some(mut kept) = kept.filter(|kept| kept.stage == GuestStage::Kept) {
            kept.stage = GuestStage::Offered;
            kept.place = Some(made);
            kept.changed_at = change.now.millis();
            store::put(change.conn(), &kept).await?;
            change.commit().await?;
        }
        Ok(())
    }

    /// Looks what came.
    pub(in crate::wallet) async fn look_at_tills(&self) -> Result<Vec<WalletEvent>, ClientError> {
        let mut all = store::open(&mut *self.store().read().await?, AT_ONCE).await?;
        // Blocks take minutes.
        if !self.looks_at_chain_for_guests() {
            all.retain(|part| part.way != GuestWay::Onchain);
        }
        if self.looks_at_late_guests() {
            let at = now().millis();
            let (late, old) = (at.saturating_sub(LATE_MS), at.saturating_sub(REMEMBER_MS));
            all.extend(store::late(&mut *self.store().read().await?, late, AT_ONCE).await?);
            let mut tx = self.store().write().await?;
            store::forget(tx.conn(), old).await?;
            tx.commit().await?;
        }
        let mut told = Vec::new();
        let mut silent: Vec<String> = Vec::new();
        for part in all {
            // A node that does not answer is asked once in a round.
            let Some(place) = part.place.clone().filter(|_| !silent.contains(&part.rail)) else {
                continue;
            };
            match self.look_at_till(&part, &place).await {
                Ok(event) => told.extend(event),
                Err(error) if is_grave(&error) => return Err(error),
                Err(error) => {
                    tracing::info!(code = error.code(), "looked at later: {error}");
                    silent.push(part.rail);
                }
            }
        }
        Ok(told)
    }

    async fn look_at_till(
        &self,
        part: &GuestRow,
        place: &GuestPlace,
    ) -> Result<Option<WalletEvent>, ClientError> {
        let rail = self.rail_of_guests(&part.rail).await?;
        let over = now().millis() > place.until.saturating_add(GRACE_MS);
        match part.way {
            GuestWay::Lightning => self.look_at_invoice_of(part, place, (&rail, over)).await,
            GuestWay::Onchain => self.look_at_address_of(part, place, (&rail, over)).await,
        }
    }

    async fn look_at_invoice_of(
        &self,
        part: &GuestRow,
        place: &GuestPlace,
        (rail, over): (&OpenRail, bool),
    ) -> Result<Option<WalletEvent>, ClientError> {
        let till = rail.rail.invoices();
        let till = till.ok_or_else(|| unable(part))?;
        let hash: PaymentHash = place.place.parse()?;
        let state = till.look_up_invoice(hash).await;
        match state.map_err(|error| fault(&error))? {
            Some(InvoiceState::Settled { received }) => self.guest_paid(part, received).await,
            Some(InvoiceState::Canceled) => self.end_guest(part, "not_paid").await.map(|()| None),
            None if over => self.end_guest(part, "not_paid").await.map(|()| None),
            Some(InvoiceState::Open) if over => {
                // From then on it is certain that nothing comes; until then it may.
                let withdrawn = till.cancel_invoice(hash).await;
                withdrawn.map_err(|error| fault(&error))?;
                Ok(None)
            }
            Some(InvoiceState::Open | InvoiceState::Held) | None => Ok(None),
        }
    }

    async fn look_at_address_of(
        &self,
        part: &GuestRow,
        place: &GuestPlace,
        (rail, over): (&OpenRail, bool),
    ) -> Result<Option<WalletEvent>, ClientError> {
        let till = rail.rail.deposits();
        let till = till.ok_or_else(|| unable(part))?;
        let address = Address {
            address: place.place.clone(),
            since_block: place.since_block,
        };
        let came = till.deposited(&address).await;
        let Deposited { seen, confirmed } = came.map_err(|error| fault(&error))?;
        let whole = confirmed.get() >= place.price;
        // Of who sends it in two halves the second is waited for, but not for ever.
        let too_long = now().millis() > place.until.saturating_add(UNCONFIRMED_MS);
        let all_is_there = over && (confirmed == seen || too_long);
        let is_worth_something = worth(part, confirmed).is_some();
        if is_worth_something && (whole || all_is_there) {
            return self.guest_paid(part, confirmed).await;
        }
        if all_is_there && part.stage.is_open() {
            return self.end_guest(part, "not_paid").await.map(|()| None);
        }
        if seen != Msat::ZERO && part.stage == GuestStage::Offered {
            self.guest_seen(part).await?;
        }
        Ok(None)
    }

    async fn guest_seen(&self, part: &GuestRow) -> Result<(), ClientError> {
        let mut change = self.change().await?;
        let kept = store::get(change.conn(), &part.id).await?;
        if let Some(mut kept) = kept.filter(|kept| kept.stage == GuestStage::Offered) {
            kept.stage = GuestStage::Seen;
            kept.changed_at = change.now.millis();
            store::put(change.conn(), &kept).await?;
            change.commit().await?;
        }
        Ok(())
    }

    /// It came: it counts, once.
    async fn guest_paid(
        &self,
        part: &GuestRow,
        received: Msat,
    ) -> Result<Option<WalletEvent>, ClientError> {
        self.ensure_may_sign().await?;
        let mut change = self.change().await?;
        let kept = store::get(change.conn(), &part.id).await?;
        let Some(mut kept) = kept.filter(|kept| kept.stage != GuestStage::Paid) else {
            return Ok(None);
        };
        let row = requests::named(change.conn(), &part.request).await?;
        let (Some(mut row), Some(amount)) = (row, worth(&kept, received)) else {
            return Ok(None);
        };
        if !row.fills.paid(kept.id, amount)? {
            return Ok(None);
        }
        kept.stage = GuestStage::Paid;
        kept.amount = amount;
        kept.changed_at = change.now.millis();
        store::put(change.conn(), &kept).await?;
        note(&mut change, &row, &kept).await?;
        own::keep(&mut change, &mut row).await?;
        let at = change.now.millis();
        change.commit().await?;
        let record = row.record.record();
        Ok(Some(WalletEvent {
            at,
            user: None,
            friend: None,
            kind: WalletEventKind::RequestPaid {
                request: record.id,
                payer: None,
                by: Some(kept.way.as_str()),
                from: kept.name,
                unit: record.unit.clone(),
                amount: amount.minor(),
                filled: row.fills.filled().minor(),
            },
        }))
    }

    /// It can't be paid any more: what was kept is free.
    pub(super) async fn end_guest(&self, part: &GuestRow, reason: &str) -> Result<(), ClientError> {
        self.ensure_may_sign().await?;
        let mut change = self.change().await?;
        let kept = store::get(change.conn(), &part.id).await?;
        // It may have got further since it was looked at.
        let Some(mut kept) = kept.filter(|kept| kept.stage == part.stage && kept.stage.is_open())
        else {
            return Ok(());
        };
        kept.stage = GuestStage::Ended;
        kept.reason = Some(reason.to_owned());
        kept.changed_at = change.now.millis();
        store::put(change.conn(), &kept).await?;
        if let Some(mut row) = requests::named(change.conn(), &kept.request).await? {
            row.fills.ended(kept.id)?;
            own::keep(&mut change, &mut row).await?;
        }
        change.commit().await
    }
}

/// Asks a rail for a place to pay at; nothing if it has none of that kind.
async fn place(
    rail: &OpenRail,
    way: GuestWay,
    (price, memo): (Msat, &str),
    hold: Duration,
) -> Result<Option<GuestPlace>, RailError> {
    match way {
        GuestWay::Lightning => {
            let Some(till) = rail.rail.invoices() else {
                return Ok(None);
            };
            let wanted = NewInvoice {
                amount: price,
                memo: memo.to_owned(),
                // Whole seconds, at least one.
                expiry: Duration::from_secs(hold.as_secs().max(1)),
                hold: None,
            };
            let made = till.new_invoice(&wanted).await?;
            Ok(Some(GuestPlace {
                place: made.hash().to_string(),
                invoice: Some(made.as_str().to_owned()),
                since_block: 0,
                price: price.get(),
                until: made.expires_at().millis(),
            }))
        }
        GuestWay::Onchain => {
            let Some(till) = rail.rail.deposits() else {
                return Ok(None);
            };
            let made = till.new_address().await?;
            let hold = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
            Ok(Some(GuestPlace {
                place: made.address,
                invoice: None,
                since_block: made.since_block,
                price: price.get(),
                until: now().plus_millis(hold).millis(),
            }))
        }
    }
}

/// What came stands in the request's receipts and in the history.
async fn note(change: &mut Change, row: &RequestRow, part: &GuestRow) -> Result<(), ClientError> {
    let record = row.record.record();
    let way = part.way.as_str();
    let receipt = ReceiptRow {
        id: part.id,
        request: part.request,
        amount: part.amount,
        way: way.to_owned(),
        payer: part.name.clone(),
        at: change.now.millis(),
    };
    requests::put_receipt(change.conn(), &receipt).await?;
    change
        .note(HistoryItem {
            unit: Some(record.unit.clone()),
            kind: "request_received".to_owned(),
            direction: Some(Direction::In),
            amount: Some(part.amount.minor()),
            reference: Some(record.id.to_string()),
            memo: record.memo.as_ref().map(ToString::to_string),
            note: Some(match &part.name {
                Some(from) => format!("{way}, from {from}"),
                None => way.to_owned(),
            }),
            ..HistoryItem::default()
        })
        .await
}
