//! The payee's side: asking, taking it back, noting by hand what came another way.

use std::time::Duration;

use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{
    Every, Goal, PaymentRequest, RequestState, Target, request_path, request_state_path,
};
use atomicity_ledger::settle::Fills;
use atomicity_ledger::{Memo, Money, RecordId, Serial, Signed, Timestamp, Total, Unit, UserKey};

use super::super::books::Change;
use super::super::{
    Delivery, Direction, HistoryItem, MadeKind, Wallet, WalletEvent, WalletEventKind, entropy,
    issue, now, receive,
};
use super::{RequestFault, RequestView};
use crate::error::ClientError;
use crate::store::requests::{self, ReceiptRow, RequestRow, letters};
use crate::store::{contacts, publications};

/// How long a request stands if nothing else is said.
pub const REQUEST_STANDS: Duration = Duration::from_secs(30 * 86_400);
/// How long a part is kept for who asked for it if nothing else is said.
pub const REQUEST_HOLD: Duration = Duration::from_secs(600);
/// How long a request that recurs without end stands.
const RECURS_FOR: Duration = Duration::from_secs(5 * 366 * 86_400);

/// What to ask for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestTerms {
    /// In what.
    pub unit: Unit,
    /// How much.
    pub goal: Goal,
    /// Who is asked; everybody if `None`.
    pub payer: Option<UserKey>,
    /// Other ways to pay it, the best first.
    pub targets: Vec<Target>,
    /// What it is for.
    pub memo: Option<Memo>,
    /// If it is to be paid again and again.
    pub every: Option<Every>,
    /// How long it stands; [`REQUEST_STANDS`] after it, or its last turn, is due if `None`.
    pub expires_in: Option<Duration>,
    /// How long a part is kept for who asked for it.
    pub hold: Duration,
}

impl RequestTerms {
    /// Asks everybody for this.
    #[must_use]
    pub fn new(unit: Unit, goal: Goal) -> Self {
        Self {
            unit,
            goal,
            payer: None,
            targets: Vec::new(),
            memo: None,
            every: None,
            expires_in: None,
            hold: REQUEST_HOLD,
        }
    }

    fn expires(&self, now: Timestamp) -> Timestamp {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match (self.expires_in, &self.every) {
            (Some(time), _) => now.plus_millis(ms(time)),
            (None, None) => now.plus_millis(ms(REQUEST_STANDS)),
            (None, Some(every)) => match every.count.and_then(|count| count.checked_sub(1)) {
                Some(last) => every.turn_at(last).plus_millis(ms(REQUEST_STANDS)),
                None => every.from.max(now).plus_millis(ms(RECURS_FOR)),
            },
        }
    }
}

impl Wallet {
    /// Asks to be paid. What is for everybody is published on the own homeserver; what is for one user is sent to them sealed if they are
    /// a friend, and is theirs by its link else. This wallet answers whoever wants to pay: it has to run (`watch`, or `sync` in time).
    ///
    /// # Errors
    /// [`ClientError::UnitNotOpen`]; [`ClientError::Ledger`] for what can't stand in a request; as [`Wallet::issue`].
    pub async fn ask_to_be_paid(&self, terms: RequestTerms) -> Result<RequestView, ClientError> {
        if let Some(id) = self.made_before(MadeKind::Request).await? {
            return self.request(&id.to_string()).await;
        }
        self.ensure_may_sign().await?;
        let mut change = self.change().await?;
        let row = self.sign_request(&mut change, terms, false).await?;
        let id = row.record.record().id;
        self.note_made(change.conn(), MadeKind::Request, &id)
            .await?;
        change.commit().await?;
        self.send_soon().await?;
        self.request_view(&row).await
    }

    /// Signs a request, keeps it, and plans its publication or its letter.
    pub(in super::super) async fn sign_request(
        &self,
        change: &mut Change,
        terms: RequestTerms,
        is_call: bool,
    ) -> Result<RequestRow, ClientError> {
        let now = change.now;
        let open = crate::store::units::list(change.conn()).await?;
        if !open.iter().any(|open| open.unit == terms.unit) {
            return Err(ClientError::UnitNotOpen(terms.unit));
        }
        let expires = terms.expires(now);
        let record = PaymentRequest {
            v: Version,
            id: RecordId::from_entropy(entropy()),
            payee: self.user(),
            payer: terms.payer,
            unit: terms.unit,
            amount: terms.goal,
            targets: terms.targets,
            memo: terms.memo,
            every: terms.every,
            expires,
            at: now,
        };
        let signed = Signed::sign(record, &change.keys.pen)?;
        let record = signed.record();
        let fills = Fills::new(signed.hash(), record.clone());
        let state = Signed::sign(
            fills.state(Serial::new(now.millis())?, now),
            &change.keys.pen,
        )?;
        let hold = u64::try_from(terms.hold.as_millis()).unwrap_or(u64::MAX);
        let row = RequestRow {
            fills,
            state,
            hold_ms: hold.max(1),
            is_call,
            over: false,
            created_at: now.millis(),
            ended_at: None,
            record: signed.clone(),
        };
        requests::put(change.conn(), &row).await?;
        match record.payer {
            None => {
                let path = request_path(record.id);
                let body = Some(signed.jws().as_bytes());
                publications::put(change.conn(), &path, body, now.millis()).await?;
                publish_state(change, &row).await?;
            }
            Some(payer) => {
                let contact = contacts::get(change.conn(), &payer).await?;
                if receive::is_friend(contact.as_ref()) {
                    let records = [signed.jws().to_owned()];
                    letters::send(change.conn(), &payer, &records, now.millis()).await?;
                }
            }
        }
        change
            .note(HistoryItem {
                user: record.payer,
                unit: Some(record.unit.clone()),
                kind: "request".to_owned(),
                direction: Some(Direction::In),
                amount: record.amount.most().map(|amount| amount.minor()),
                reference: Some(record.id.to_string()),
                memo: record.memo.as_ref().map(ToString::to_string),
                ..HistoryItem::default()
            })
            .await?;
        Ok(row)
    }

    /// Takes a request back: nothing more is granted. What was granted may still be paid.
    ///
    /// # Errors
    /// [`RequestFault::Unknown`]; [`RequestFault::Over`].
    pub async fn cancel_request(&self, id: &RecordId) -> Result<RequestView, ClientError> {
        self.ensure_may_sign().await?;
        let mut change = self.change().await?;
        let row = requests::named(change.conn(), id).await?;
        let mut row = row.ok_or_else(|| RequestFault::Unknown(id.to_string()))?;
        if !row.fills.is_open(change.now) {
            return Err(RequestFault::Over(id.to_string()).into());
        }
        row.fills.cancel();
        keep(&mut change, &mut row).await?;
        change.commit().await?;
        self.send_soon().await?;
        self.request_view(&row).await
    }

    /// Notes what came for a request another way than in credit: it counts like what is paid in credit, and what there is no room for
    /// counts apart. Of a debt that was called in, the debtor owes so much less from now on.
    ///
    /// # Errors
    /// [`RequestFault::Unknown`]; [`ClientError::Payment`] for an amount in another unit; for a debt as [`Wallet::issue`].
    pub async fn note_received(
        &self,
        id: &RecordId,
        money: &Money,
        way: &str,
        from: Option<&str>,
    ) -> Result<RequestView, ClientError> {
        let fits = |text: &str| !text.is_empty() && text.parse::<Memo>().is_ok();
        if !fits(way) || !from.is_none_or(fits) {
            return Err(ClientError::Usage(
                "say in a few words how it came, and from whom".to_owned(),
            ));
        }
        if self.made_before(MadeKind::Received).await?.is_some() {
            return self.request(&id.to_string()).await;
        }
        self.ensure_may_sign().await?;
        self.home_for_call(id).await?;
        let mut change = self.change().await?;
        let row = requests::named(change.conn(), id).await?;
        let mut row = row.ok_or_else(|| RequestFault::Unknown(id.to_string()))?;
        let record = row.record.record().clone();
        if record.unit != money.unit {
            let (asked, given) = (record.unit, money.unit.clone());
            return Err(super::super::PaymentFault::WrongUnit { asked, given }.into());
        }
        let receipt = ReceiptRow {
            id: RecordId::from_entropy(entropy()),
            request: *id,
            amount: money.amount,
            way: way.to_owned(),
            payer: from.map(str::to_owned),
            at: change.now.millis(),
        };
        row.fills.came(receipt.id, money.amount)?;
        requests::put_receipt(change.conn(), &receipt).await?;
        if let Some(payer) = record.payer.filter(|_| row.is_call) {
            self.owe_less(&mut change, &payer, money, id).await?;
        }
        change
            .note(HistoryItem {
                user: record.payer,
                unit: Some(record.unit.clone()),
                kind: "request_received".to_owned(),
                direction: Some(Direction::In),
                amount: Some(money.amount.minor()),
                reference: Some(id.to_string()),
                memo: record.memo.as_ref().map(ToString::to_string),
                note: Some(match from {
                    Some(from) => format!("{way}, from {from}"),
                    None => way.to_owned(),
                }),
                ..HistoryItem::default()
            })
            .await?;
        keep(&mut change, &mut row).await?;
        self.note_made(change.conn(), MadeKind::Received, &receipt.id)
            .await?;
        change.commit().await?;
        self.send_soon().await?;
        self.request_view(&row).await
    }

    /// Brings the books home in which a debt falls that was called in.
    async fn home_for_call(&self, id: &RecordId) -> Result<(), ClientError> {
        let row = requests::named(&mut *self.store().read().await?, id).await?;
        let payer = row.filter(|row| row.is_call);
        match payer.and_then(|row| row.record.record().payer) {
            Some(payer) => self.bring_home(&payer).await,
            None => Ok(()),
        }
    }

    /// A debtor has paid outside: the claim falls, in the transaction of the note.
    async fn owe_less(
        &self,
        change: &mut Change,
        payer: &UserKey,
        money: &Money,
        id: &RecordId,
    ) -> Result<(), ClientError> {
        if crate::store::pairs::agent::keeps(change.conn(), payer).await? {
            return Err(ClientError::WithAgent(payer.to_z32()));
        }
        let contact = contacts::get(change.conn(), payer).await?;
        let contact = contact.ok_or_else(|| ClientError::UnknownFriend(payer.to_z32()))?;
        let mut pair = change.load(self.user(), *payer).await?;
        let note = atomicity_ledger::pair::PaymentNote {
            id: RecordId::from_entropy(entropy()),
            reference: Some(id.to_string().parse()?),
            memo: None,
        };
        issue::sign(change, &mut pair, &contact, money, note).await?;
        Ok(())
    }

    /// Sends what was committed. What can't be sent now is sent later.
    pub(super) async fn send_soon(&self) -> Result<(), ClientError> {
        match self.flush().await {
            Err(error) if super::is_grave(&error) => Err(error),
            Err(error) => {
                tracing::info!(code = error.code(), "sent later: {error}");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    /// How far a letter to somebody got.
    pub(super) async fn letter_delivery(&self, user: &UserKey) -> Result<Delivery, ClientError> {
        let waiting = letters::waiting(&mut *self.store().read().await?, user).await?;
        Ok(if waiting == 0 {
            Delivery::Inbox
        } else {
            Delivery::Queued
        })
    }

    /// Tells of requests that are full, each once, whichever process noted what came last.
    pub(super) async fn tell_of_full(&self) -> Result<Vec<WalletEvent>, ClientError> {
        let full = requests::full(&mut *self.store().read().await?, super::BATCH).await?;
        let mut told = Vec::new();
        for row in full {
            let record = row.record.record();
            let mut tx = self.store().write().await?;
            // Another process may have told it meanwhile.
            if !requests::tell_full(tx.conn(), &record.id, false).await? {
                continue;
            }
            tx.commit().await?;
            told.push(WalletEvent {
                at: now().millis(),
                user: None,
                friend: None,
                kind: WalletEventKind::RequestFilled {
                    request: record.id,
                    unit: record.unit.clone(),
                    amount: row.fills.filled().minor(),
                    memo: record.memo.as_ref().map(ToString::to_string),
                },
            });
        }
        Ok(told)
    }

    /// Ends requests whose time is over.
    pub(super) async fn end_requests(&self) -> Result<(), ClientError> {
        let open = requests::open(&mut *self.store().read().await?, u32::MAX).await?;
        let ended = |row: &RequestRow| {
            !row.fills.is_open(now())
                && (row.fills.reserved() == Total::ZERO || row.state.record().open)
        };
        for old in open.iter().filter(|row| ended(row)) {
            let mut change = self.change().await?;
            let id = old.record.record().id;
            if let Some(mut row) = requests::named(change.conn(), &id).await? {
                keep(&mut change, &mut row).await?;
                change.commit().await?;
            }
        }
        Ok(())
    }
}

/// Stores how far a request is, and says so where it can be read.
pub(super) async fn keep(change: &mut Change, row: &mut RequestRow) -> Result<(), ClientError> {
    let now = change.now;
    let before = row.state.record();
    let serial = before.serial.get().saturating_add(1).max(now.millis());
    let state = row.fills.state(Serial::new(serial)?, now);
    let figures = |state: &RequestState| (state.filled, state.reserved, state.open);
    let changed = figures(before) != figures(&state);
    let closed = before.open && !state.open;
    let grew = before.filled < state.filled;
    row.over = !row.fills.is_open(now) && row.fills.reserved() == Total::ZERO;
    if row.over && row.ended_at.is_none() {
        row.ended_at = Some(now.millis());
    }
    if changed {
        row.state = Signed::sign(state, &change.keys.pen)?;
        match row.record.record().payer {
            None => publish_state(change, row).await?,
            Some(payer) if closed => {
                let contact = contacts::get(change.conn(), &payer).await?;
                if receive::is_friend(contact.as_ref()) {
                    let records = [row.state.jws().to_owned()];
                    letters::send(change.conn(), &payer, &records, now.millis()).await?;
                }
            }
            Some(_) => {}
        }
    }
    requests::put(change.conn(), row).await?;
    // All of it came just now; nothing that was paid ever goes again.
    if grew && row.fills.is_full() {
        requests::tell_full(change.conn(), &row.record.record().id, true).await?;
    }
    Ok(())
}

async fn publish_state(change: &mut Change, row: &RequestRow) -> Result<(), ClientError> {
    let path = request_state_path(row.record.record().id);
    let now = change.now.millis();
    publications::put(change.conn(), &path, Some(row.state.jws().as_bytes()), now).await
}
