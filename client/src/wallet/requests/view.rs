//! Requests as they are shown.

use atomicity_ledger::link::Link;
use atomicity_ledger::record::{Every, Goal, Part, PaymentRequest, Target};
use atomicity_ledger::{Memo, RecordHash, RecordId, Signed, Unit, UserKey};

use super::super::{Delivery, Wallet, now};
use super::{PayingStage, RequestFault, RequestGuest};
use crate::error::ClientError;
use crate::store::contacts;
use crate::store::requests::paying::{self, AskedRow, PayingRow};
use crate::store::requests::{self, PartRow, ReceiptRow, RequestRow};

/// The most requests, and parts of one, that are listed.
const LISTED: u32 = 200;

/// On which side of a request the user is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestRole {
    /// The user asks to be paid.
    Payee,
    /// Somebody else does.
    Payer,
}

impl RequestRole {
    /// The name for machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Payee => "payee",
            Self::Payer => "payer",
        }
    }
}

/// A part of a request, by another user or of this one. Amounts are in minor units.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestPart {
    /// Its name.
    pub id: RecordId,
    /// Who pays it.
    pub payer: UserKey,
    /// What the user calls them, if they are known.
    pub name: Option<String>,
    /// How much.
    pub amount: u64,
    /// Which turn.
    pub turn: Option<u32>,
    /// `reserved`, `paid` or `ended` of the user's own requests; else as [`PayingStage`] says.
    pub stage: String,
    /// Until when it is kept, Unix milliseconds.
    pub until: Option<u64>,
    /// Why it was not paid: a code.
    pub reason: Option<String>,
    /// When it was asked for.
    pub created_at: u64,
}

/// What came for a request another way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestReceipt {
    /// How much, in minor units.
    pub amount: u64,
    /// How.
    pub way: String,
    /// From whom, as the user wrote it.
    pub payer: Option<String>,
    /// When it was noted, Unix milliseconds.
    pub at: u64,
}

/// A request to be paid. Amounts are in minor units of `unit`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestView {
    /// Its name.
    pub id: RecordId,
    /// Its hash: what approvals and parts mean.
    pub hash: RecordHash,
    /// On which side the user is.
    pub role: RequestRole,
    /// Who is to be paid.
    pub payee: UserKey,
    /// Who is asked; everybody if `None`.
    pub payer: Option<UserKey>,
    /// What the user calls the other side, if they are known.
    pub name: Option<String>,
    /// In what.
    pub unit: Unit,
    /// How much.
    pub goal: Goal,
    /// What it is for.
    pub memo: Option<Memo>,
    /// Other ways to pay it.
    pub targets: Vec<Target>,
    /// If it recurs.
    pub every: Option<Every>,
    /// The newest turn that is due.
    pub turn_due: Option<u32>,
    /// What was paid; `None` if nobody says.
    pub filled: Option<u64>,
    /// What is being paid.
    pub reserved: Option<u64>,
    /// What came beyond what was asked for.
    pub surplus: u64,
    /// What can still be paid; `None` if there is no end to it, or nobody says.
    pub left: Option<u64>,
    /// Whether more is welcome; `None` if nobody says.
    pub open: Option<bool>,
    /// When the payee said so, Unix milliseconds.
    pub as_of: Option<u64>,
    /// Whether it calls a debt in.
    pub is_call: bool,
    /// Whether the payee sent it to this user.
    pub was_sent: bool,
    /// The `atomicity:` link.
    pub link: String,
    /// How far the letter to the payer got.
    pub delivery: Option<Delivery>,
    /// When it ends, Unix milliseconds.
    pub expires_at: u64,
    /// When it was made, or seen.
    pub created_at: u64,
    /// When it ended.
    pub ended_at: Option<u64>,
    /// Its parts, newest first: of everybody, or of this user only if somebody else asks.
    pub parts: Vec<RequestPart>,
    /// What guests are paying, newest first.
    pub guests: Vec<RequestGuest>,
    /// What came another way, newest first.
    pub receipts: Vec<RequestReceipt>,
}

impl RequestView {
    fn of(record: &Signed<PaymentRequest>, role: RequestRole) -> Self {
        let asked = record.record();
        Self {
            id: asked.id,
            hash: record.hash(),
            role,
            payee: asked.payee,
            payer: asked.payer,
            name: None,
            unit: asked.unit.clone(),
            goal: asked.amount.clone(),
            memo: asked.memo.clone(),
            targets: asked.targets.clone(),
            every: asked.every.clone(),
            turn_due: asked.turn_due(now()),
            filled: None,
            reserved: None,
            surplus: 0,
            left: None,
            open: asked.has_expired(now()).then_some(false),
            as_of: None,
            is_call: false,
            was_sent: false,
            link: Link::from(record.clone()).to_string(),
            delivery: None,
            expires_at: asked.expires.millis(),
            created_at: 0,
            ended_at: None,
            parts: Vec::new(),
            guests: Vec::new(),
            receipts: Vec::new(),
        }
    }
}

impl Wallet {
    /// The requests of this user, and those of others that were sent or that the user pays; newest first. Nothing is looked up.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn requests(&self) -> Result<Vec<RequestView>, ClientError> {
        let mut conn = self.store().read().await?;
        let own = requests::list(&mut conn, LISTED).await?;
        let asked = paying::list_asked(&mut conn, LISTED).await?;
        drop(conn);
        let mut all = Vec::new();
        for row in &own {
            all.push(self.request_view(row).await?);
        }
        for row in &asked {
            all.push(self.asked_view(row).await?);
        }
        all.sort_by_key(|view| std::cmp::Reverse(view.created_at));
        Ok(all)
    }

    async fn known_name(&self, user: &UserKey) -> Result<Option<String>, ClientError> {
        let contact = contacts::get(&mut *self.store().read().await?, user).await?;
        Ok(contact
            .map(|contact| contact.name)
            .filter(|name| !name.is_empty()))
    }

    pub(super) async fn request_view(&self, row: &RequestRow) -> Result<RequestView, ClientError> {
        let id = row.record.record().id;
        let mut conn = self.store().read().await?;
        let parts = requests::parts(&mut conn, &id, LISTED).await?;
        let receipts = requests::receipts(&mut conn, &id, LISTED).await?;
        let guests = requests::guests::of_request(&mut conn, &id, LISTED).await?;
        drop(conn);
        let mut view = RequestView::of(&row.record, RequestRole::Payee);
        if let Some(payer) = &view.payer {
            view.name = self.known_name(payer).await?;
            view.delivery = Some(self.letter_delivery(payer).await?);
        }
        view.filled = Some(row.fills.filled().minor());
        view.reserved = Some(row.fills.reserved().minor());
        view.surplus = row.fills.surplus().minor();
        view.left = row.fills.left();
        view.open = Some(row.fills.is_open(now()));
        view.as_of = Some(now().millis());
        view.is_call = row.is_call;
        (view.created_at, view.ended_at) = (row.created_at, row.ended_at);
        for part in &parts {
            view.parts.push(self.granted_part(part).await?);
        }
        view.guests = guests.into_iter().map(RequestGuest::from).collect();
        view.receipts = receipts.into_iter().map(receipt).collect();
        Ok(view)
    }

    async fn granted_part(&self, row: &PartRow) -> Result<RequestPart, ClientError> {
        let signed: Signed<Part> = Signed::decode(&row.record)?;
        Ok(RequestPart {
            id: row.id,
            payer: row.user,
            name: self.known_name(&row.user).await?,
            amount: row.amount.minor(),
            turn: signed.record().turn,
            stage: row.stage.clone(),
            until: row.until,
            reason: None,
            created_at: row.created_at,
        })
    }

    pub(super) async fn asked_view(&self, row: &AskedRow) -> Result<RequestView, ClientError> {
        let mut view = RequestView::of(&row.record, RequestRole::Payer);
        view.name = self.known_name(&view.payee).await?;
        if let Some(state) = row.state.as_ref().map(Signed::record) {
            let taken = state.filled.minor().saturating_add(state.reserved.minor());
            let most = match (&view.every, view.goal.most()) {
                (None, Some(most)) => Some(most.minor()),
                _ => None,
            };
            view.filled = Some(state.filled.minor());
            view.reserved = Some(state.reserved.minor());
            view.left = most.map(|most| most.saturating_sub(taken));
            view.open = Some(state.open && view.open != Some(false));
            view.as_of = Some(state.at.millis());
        }
        view.was_sent = row.was_sent;
        view.created_at = row.seen_at;
        let own = paying::of_request(&mut *self.store().read().await?, &view.hash, LISTED).await?;
        let me = self.user();
        view.parts = own.iter().map(|row| own_part(row, me)).collect();
        Ok(view)
    }

    /// A part that this user pays.
    pub(super) async fn paying(&self, id: &RecordId) -> Result<PayingRow, ClientError> {
        let row = paying::get(&mut *self.store().read().await?, id).await?;
        Ok(row.ok_or_else(|| RequestFault::Unknown(id.to_string()))?)
    }
}

pub(super) fn own_part(row: &PayingRow, me: UserKey) -> RequestPart {
    RequestPart {
        id: row.id,
        payer: me,
        name: None,
        amount: row.amount.minor(),
        turn: row.turn,
        stage: PayingStage::as_str(row.stage).to_owned(),
        until: row.until,
        reason: row.reason.clone(),
        created_at: row.created_at,
    }
}

fn receipt(row: ReceiptRow) -> RequestReceipt {
    RequestReceipt {
        amount: row.amount.minor(),
        way: row.way,
        payer: row.payer,
        at: row.at,
    }
}
