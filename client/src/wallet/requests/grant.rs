//! The payee's side: granting parts to who wants to pay them, and freeing what is not paid.
//!
//! A part is reserved in one transaction, its invoice is made, and another transaction ties the two together and answers: whoever dies
//! in between leaves a reservation without an invoice, which the next process goes on with. An invoice that was made for nothing is
//! known to nobody and expires.

use std::time::Duration;

use atomicity_ledger::hop::CollectionStage;
use atomicity_ledger::jws::Version;
use atomicity_ledger::pair::Event;
use atomicity_ledger::record::{Invoice, Part, PartAnswer, PartReason, PartSaid};
use atomicity_ledger::{Amount, AnyRecord, RecordId, Signed, Timestamp, UserKey};

use super::super::books::Change;
use super::super::{
    Direction, HistoryItem, InvoiceTerms, Wallet, WalletEvent, WalletEventKind, now, receive,
};
use super::{BATCH, is_grave, own};
use crate::error::ClientError;
use crate::store::contacts;
use crate::store::invoices::{self, InvoiceRow, Place};
use crate::store::pairs::agent;
use crate::store::requests::{self, PartRow, RequestRow, letters};

/// How long after its end a direct payment is waited for, milliseconds: it may have been signed in time.
const GRACE_MS: u64 = 60_000;
/// How long what an agent that can't be asked any more was given is kept, milliseconds.
const LOST_MS: u64 = 3_600_000;

impl Wallet {
    /// Somebody wants to pay a part: it is reserved, or refused.
    pub(in super::super) async fn take_part(&self, part: &Signed<Part>) -> Result<(), ClientError> {
        let record = part.record();
        let known = requests::of(&mut *self.store().read().await?, &record.request).await?;
        if record.to != self.user() || known.is_none() {
            return Ok(());
        }
        self.authorized(&AnyRecord::decode(part.jws())?).await?;
        self.ensure_may_sign().await?;
        let mut change = self.change().await?;
        let Some(mut row) = requests::of(change.conn(), &record.request).await? else {
            return Ok(());
        };
        let id = row.record.record().id;
        let before = requests::part(change.conn(), &id, &record.id).await?;
        if let Some(before) = before {
            let same = before.record == part.jws() && before.stage == "reserved";
            match before.answer.as_ref().filter(|_| same) {
                Some(answer) => say_again(&mut change, &before, answer).await?,
                // It is answered as soon as its invoice is there.
                None if same => return Ok(()),
                None => {
                    let reason = PartReason::Closed;
                    answer(&mut change, self.user(), part, refused(reason), None).await?;
                }
            }
            return change.commit().await;
        }
        let granted = match row.is_call {
            // A debt is not paid off with more of the same debt.
            true => Err(PartReason::Closed),
            false => row.fills.grant(record, change.now),
        };
        match granted {
            Ok(amount) => {
                let kept = PartRow {
                    request: id,
                    id: record.id,
                    record: part.jws().to_owned(),
                    user: record.from,
                    amount,
                    invoice: None,
                    answer: None,
                    until: None,
                    stage: "reserved".to_owned(),
                    created_at: change.now.millis(),
                };
                requests::put_part(change.conn(), &kept).await?;
                own::keep(&mut change, &mut row).await?;
            }
            Err(reason) => {
                answer(&mut change, self.user(), part, refused(reason), None).await?;
            }
        }
        change.commit().await
    }

    /// Makes the invoices for what was granted.
    pub(in super::super) async fn make_invoices(&self) -> Result<(), ClientError> {
        let reserved = requests::reserved(&mut *self.store().read().await?, BATCH).await?;
        for part in reserved.iter().filter(|part| part.answer.is_none()) {
            let row = requests::named(&mut *self.store().read().await?, &part.request).await?;
            let Some(row) = row else { continue };
            match self.make_one(part, &row).await {
                Ok(()) => {}
                Err(error) if is_grave(&error) => return Err(error),
                Err(error) => {
                    tracing::info!(code = error.code(), "a part waits: {error}");
                    let late = part.created_at.saturating_add(row.hold_ms) <= now().millis();
                    let passes = error.is_network() || error.is_transient();
                    if late || !passes {
                        self.give_part_up(part).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn make_one(&self, part: &PartRow, row: &RequestRow) -> Result<(), ClientError> {
        self.ensure_may_sign().await?;
        let asked = row.record.record();
        let mut terms = InvoiceTerms::new(asked.unit.clone(), Some(part.amount));
        terms.memo.clone_from(&asked.memo);
        terms.expires_in = Duration::from_millis(row.hold_ms);
        let made = match self.invoice_row(terms).await {
            Ok(made) => Some(made),
            // Friends need no log for it.
            Err(ClientError::NoLog) if self.is_paid_directly(&part.user).await? => None,
            Err(error) => return Err(error),
        };
        let mut change = self.change().await?;
        let kept = requests::part(change.conn(), &part.request, &part.id).await?;
        let Some(mut kept) = kept.filter(|p| p.answer.is_none() && p.stage == "reserved") else {
            return Ok(());
        };
        let signed: Signed<Part> = Signed::decode(&kept.record)?;
        let invoice: Option<Signed<Invoice>> = made
            .as_ref()
            .map(|made| Signed::decode(&made.record))
            .transpose()?;
        let until = match &invoice {
            Some(invoice) => invoice.record().expires,
            None => change.now.plus_millis(row.hold_ms),
        };
        let said = PartSaid::Granted {
            amount: kept.amount,
            until,
            invoice: invoice.as_ref().map(Signed::hash),
            target: None,
        };
        kept.invoice = invoice.as_ref().map(|invoice| invoice.record().id);
        kept.until = Some(until.millis());
        let jws = invoice.as_ref().map(Signed::jws);
        kept.answer = Some(answer(&mut change, self.user(), &signed, said, jws).await?);
        requests::put_part(change.conn(), &kept).await?;
        change.commit().await
    }

    /// Whether somebody can pay without an invoice: a friend whose books are kept here.
    async fn is_paid_directly(&self, user: &UserKey) -> Result<bool, ClientError> {
        let mut conn = self.store().read().await?;
        let contact = contacts::get(&mut conn, user).await?;
        Ok(receive::is_friend(contact.as_ref()) && !agent::keeps(&mut conn, user).await?)
    }

    /// No invoice can be made: what was kept is free, and the payer told to come again.
    async fn give_part_up(&self, part: &PartRow) -> Result<(), ClientError> {
        let mut change = self.change().await?;
        let kept = requests::part(change.conn(), &part.request, &part.id).await?;
        let Some(kept) = kept.filter(|p| p.answer.is_none() && p.stage == "reserved") else {
            return Ok(());
        };
        let signed: Signed<Part> = Signed::decode(&kept.record)?;
        let said = refused(PartReason::Busy);
        answer(&mut change, self.user(), &signed, said, None).await?;
        end(&mut change, kept).await?;
        change.commit().await
    }

    /// Looks at what is kept for others: what was paid counts, what can't be paid any more is free again.
    pub(super) async fn sweep_parts(&self) -> Result<Vec<WalletEvent>, ClientError> {
        let mut told = Vec::new();
        let at = now();
        let reserved = requests::reserved(&mut *self.store().read().await?, BATCH).await?;
        for part in reserved {
            let Some(until) = part.until.filter(|until| *until <= at.millis()) else {
                continue;
            };
            let Some(invoice) = &part.invoice else {
                if at.millis() > until.saturating_add(GRACE_MS) {
                    self.free_part(&part).await?;
                }
                continue;
            };
            let mut row = invoices::named(&mut *self.store().read().await?, invoice).await?;
            if row.as_ref().is_some_and(|row| row.place == Place::Agent) {
                match self.look_at_invoice(invoice).await {
                    Ok(events) => told.extend(events),
                    Err(error) if is_grave(&error) => return Err(error),
                    Err(error) => tracing::info!(code = error.code(), "looked at later: {error}"),
                }
                row = invoices::named(&mut *self.store().read().await?, invoice).await?;
            }
            if row.is_none_or(|row| is_dead(&row, at)) {
                self.free_part(&part).await?;
            }
        }
        Ok(told)
    }

    async fn free_part(&self, part: &PartRow) -> Result<(), ClientError> {
        let mut change = self.change().await?;
        let kept = requests::part(change.conn(), &part.request, &part.id).await?;
        let Some(kept) = kept.filter(|part| part.stage == "reserved") else {
            return Ok(());
        };
        if let Some(id) = &kept.invoice {
            // Something may have come since it was looked at.
            let row = invoices::named(change.conn(), id).await?;
            if row.is_some_and(|row| !is_dead(&row, change.now)) {
                return Ok(());
            }
        }
        end(&mut change, kept).await?;
        change.commit().await
    }
}

/// Whether nothing can come for an invoice any more: its time is over, or its secret can't be used, and no promise is undecided.
fn is_dead(row: &InvoiceRow, at: Timestamp) -> bool {
    let expires = row.collection.bill().expires;
    match row.place {
        Place::Here => match row.collection.stage() {
            CollectionStage::Failed => true,
            CollectionStage::Open => at >= expires && row.collection.parts().is_empty(),
            CollectionStage::Publishing | CollectionStage::Paid { .. } => false,
        },
        Place::Handing => false,
        Place::Agent => match row.told.as_deref() {
            Some("failed" | "withdrawn") => true,
            Some("expired") => row.received == 0,
            _ => false,
        },
        Place::Lost => at >= expires.plus_millis(LOST_MS) && row.told.as_deref() != Some("paid"),
    }
}

fn refused(reason: PartReason) -> PartSaid {
    PartSaid::Refused { reason }
}

/// Signs an answer and puts it into a letter, with the invoice if there is one.
async fn answer(
    change: &mut Change,
    me: UserKey,
    part: &Signed<Part>,
    said: PartSaid,
    invoice: Option<&str>,
) -> Result<String, ClientError> {
    let record = PartAnswer {
        v: Version,
        part: part.hash(),
        from: me,
        to: part.record().from,
        said,
        at: change.now,
    };
    let signed = Signed::sign(record, &change.keys.pen)?;
    let mut records = vec![signed.jws().to_owned()];
    records.extend(invoice.map(str::to_owned));
    let now = change.now.millis();
    letters::send(change.conn(), &part.record().from, &records, now).await?;
    Ok(signed.jws().to_owned())
}

/// The same answer once more.
async fn say_again(change: &mut Change, part: &PartRow, answer: &str) -> Result<(), ClientError> {
    let mut records = vec![answer.to_owned()];
    if let Some(id) = &part.invoice {
        let invoice = invoices::named(change.conn(), id).await?;
        records.extend(invoice.map(|invoice| invoice.record));
    }
    let now = change.now.millis();
    letters::send(change.conn(), &part.user, &records, now).await
}

/// What was kept is free.
async fn end(change: &mut Change, mut part: PartRow) -> Result<(), ClientError> {
    part.stage = "ended".to_owned();
    requests::put_part(change.conn(), &part).await?;
    let Some(mut row) = requests::named(change.conn(), &part.request).await? else {
        return Ok(());
    };
    row.fills.ended(part.id)?;
    own::keep(change, &mut row).await
}

/// A part was paid: it counts, once.
async fn paid(
    change: &mut Change,
    mut part: PartRow,
    received: u64,
) -> Result<Option<WalletEventKind>, ClientError> {
    let Some(mut row) = requests::named(change.conn(), &part.request).await? else {
        return Ok(None);
    };
    let Ok(amount) = Amount::from_minor(received) else {
        return Ok(None);
    };
    if !row.fills.paid(part.id, amount)? {
        return Ok(None);
    }
    part.stage = "paid".to_owned();
    requests::put_part(change.conn(), &part).await?;
    own::keep(change, &mut row).await?;
    let record = row.record.record();
    change
        .note(HistoryItem {
            user: Some(part.user),
            unit: Some(record.unit.clone()),
            kind: "request_paid".to_owned(),
            direction: Some(Direction::In),
            amount: Some(received),
            reference: Some(record.id.to_string()),
            memo: record.memo.as_ref().map(ToString::to_string),
            ..HistoryItem::default()
        })
        .await?;
    Ok(Some(WalletEventKind::RequestPaid {
        request: record.id,
        payer: Some(part.user),
        unit: record.unit.clone(),
        amount: received,
        filled: row.fills.filled().minor(),
    }))
}

/// An invoice was paid; if it was made for a part of a request, that counts, in the same transaction.
pub(in super::super) async fn invoice_paid(
    change: &mut Change,
    invoice: &RecordId,
    received: u64,
) -> Result<Option<WalletEventKind>, ClientError> {
    match requests::part_of_invoice(change.conn(), invoice).await? {
        Some(part) => paid(change, part, received).await,
        None => Ok(None),
    }
}

/// What follows for requests from a change of the books with `peer`: a friend may have paid a part directly.
pub(in super::super) async fn follow(
    change: &mut Change,
    peer: UserKey,
    events: &[Event],
) -> Result<Vec<WalletEvent>, ClientError> {
    let mut told = Vec::new();
    for event in events {
        let Event::Payment(payment) = event else {
            continue;
        };
        let reference = payment.reference.as_ref().map(ToString::to_string);
        let Some(id) = reference.and_then(|text| text.parse::<RecordId>().ok()) else {
            continue;
        };
        for part in requests::parts_paid_directly(change.conn(), &id, &peer).await? {
            let row = requests::named(change.conn(), &part.request).await?;
            if row.is_none_or(|row| row.record.record().unit != payment.unit) {
                continue;
            }
            let Some(kind) = paid(change, part, payment.amount.minor()).await? else {
                continue;
            };
            told.push(WalletEvent {
                at: change.now.millis(),
                user: Some(peer),
                friend: None,
                kind,
            });
            // One payment pays one part.
            break;
        }
    }
    Ok(told)
}
