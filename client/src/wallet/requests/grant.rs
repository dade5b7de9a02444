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
use atomicity_ledger::{Amount, AnyRecord, RecordId, Signed, Timestamp, Unit, UserKey};
use sqlx::SqliteConnection;

use super::super::books::Change;
use super::super::{
    Direction, HistoryItem, InvoiceTerms, Wallet, WalletEvent, WalletEventKind, now, receive,
};
use super::{BATCH, is_grave, own};
use crate::error::ClientError;
use crate::store::contacts;
use crate::store::invoices::{self, InvoiceRow, Place};
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
        if let Some(before) = requests::part(change.conn(), &id, &record.id).await? {
            self.answer_again(&mut change, part, before, &mut row)
                .await?;
            return change.commit().await;
        }
        let is_direct = record.reply.is_none() || is_friend(change.conn(), &record.from).await?;
        let granted = match is_direct {
            // A debt is not paid off with more of the same debt.
            _ if row.is_call => Err(PartReason::Closed),
            true => row.fills.grant(record, change.now),
            false => Err(PartReason::NotDirect),
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

    /// A part of a name that was asked for before: the same is answered the same, by whichever record it is asked for.
    async fn answer_again(
        &self,
        change: &mut Change,
        part: &Signed<Part>,
        mut before: PartRow,
        row: &mut RequestRow,
    ) -> Result<(), ClientError> {
        let known: Signed<Part> = Signed::decode(&before.record)?;
        let same = known.record().amount == part.record().amount;
        let granted = match same {
            true => row.fills.grant(part.record(), change.now),
            false => Err(PartReason::Closed),
        };
        if let Err(reason) = granted {
            answer(change, self.user(), part, refused(reason), None).await?;
            return Ok(());
        }
        match before.answer.clone() {
            Some(answered) if before.record == part.jws() => {
                say_again(change, &before, &known, &answered).await
            }
            Some(answered) => {
                // A wallet and its agent ask for the same.
                let said = Signed::<PartAnswer>::decode(&answered)?
                    .record()
                    .said
                    .clone();
                let invoice = invoice_for(change, &before).await?;
                answer(change, self.user(), part, said, invoice.as_deref()).await?;
                Ok(())
            }
            // Whoever asked last is answered as soon as its invoice is there; the other asks again.
            None => {
                before.record = part.jws().to_owned();
                requests::put_part(change.conn(), &before).await
            }
        }
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
        let signed: Signed<Part> = Signed::decode(&part.record)?;
        let made = match signed.record().reply {
            // An agent pays directly.
            Some(_) => None,
            None => match self.invoice_row(terms).await {
                Ok(made) => Some(made),
                // Friends need no log for it.
                Err(ClientError::NoLog) if self.befriended(&part.user).await? => None,
                Err(error) => return Err(error),
            },
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

    async fn befriended(&self, user: &UserKey) -> Result<bool, ClientError> {
        is_friend(&mut *self.store().read().await?, user).await
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
    post(change, part.record(), &records).await?;
    Ok(signed.jws().to_owned())
}

/// Answers go to whoever asked.
async fn post(change: &mut Change, part: &Part, records: &[String]) -> Result<(), ClientError> {
    let (now, reply) = (change.now.millis(), part.reply.as_ref());
    letters::answer(change.conn(), &part.from, reply, records, now).await
}

/// The invoice that was made for a part.
async fn invoice_for(change: &mut Change, part: &PartRow) -> Result<Option<String>, ClientError> {
    let Some(id) = &part.invoice else {
        return Ok(None);
    };
    let invoice = invoices::named(change.conn(), id).await?;
    Ok(invoice.map(|invoice| invoice.record))
}

/// The same answer once more.
async fn say_again(
    change: &mut Change,
    row: &PartRow,
    part: &Signed<Part>,
    answer: &str,
) -> Result<(), ClientError> {
    let mut records = vec![answer.to_owned()];
    records.extend(invoice_for(change, row).await?);
    post(change, part.record(), &records).await
}

/// Whether somebody is a friend, who can pay directly.
async fn is_friend(conn: &mut SqliteConnection, user: &UserKey) -> Result<bool, ClientError> {
    let contact = contacts::get(conn, user).await?;
    Ok(receive::is_friend(contact.as_ref()))
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
        by: None,
        from: None,
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
        if let Some(reference) = &payment.reference {
            let reference = reference.to_string();
            let came = (&payment.unit, payment.amount.minor());
            told.extend(paid_directly(change, peer, &reference, came).await?);
        }
    }
    Ok(told)
}

/// A friend has paid with this reference, here or at the agent that keeps the books: it may be a part's name.
pub(in super::super) async fn paid_directly(
    change: &mut Change,
    peer: UserKey,
    reference: &str,
    (unit, amount): (&Unit, u64),
) -> Result<Option<WalletEvent>, ClientError> {
    let Ok(id) = reference.parse::<RecordId>() else {
        return Ok(None);
    };
    for part in requests::parts_paid_directly(change.conn(), &id, &peer).await? {
        let row = requests::named(change.conn(), &part.request).await?;
        if row.is_none_or(|row| row.record.record().unit != *unit) {
            continue;
        }
        // One payment pays one part.
        if let Some(kind) = paid(change, part, amount).await? {
            return Ok(Some(WalletEvent {
                at: change.now.millis(),
                user: Some(peer),
                friend: None,
                kind,
            }));
        }
    }
    Ok(None)
}
