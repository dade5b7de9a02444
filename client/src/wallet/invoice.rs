//! Asking to be paid: invoices, and what has come for them.

use std::time::Duration;

use atomicity_ledger::hop::{Bill, Collection, CollectionStage};
use atomicity_ledger::jws::Version;
use atomicity_ledger::link::Link;
use atomicity_ledger::record::{Hint, Invoice, InvoiceLog, coarse};
use atomicity_ledger::{Amount, Memo, PaymentHash, Preimage, RecordId, Signed, Unit, UserKey};
use futures_util::{StreamExt as _, stream};

use super::agent::WANTED_HERE;
use super::books::Change;
use super::event::WalletEventKind;
use super::{
    Direction, HistoryItem, LogView, MadeKind, PaymentFault, Wallet, books, entropy, logs, now,
    requests, routed, secret,
};
use crate::error::ClientError;
use crate::store::contacts::{self, ContactStatus};
use crate::store::invoices::{self, InvoiceRow, Place};
use crate::store::pairs::agent;
use crate::store::{pairs, parse_own, payments};

/// How long an invoice stands if nothing else is said.
pub const DEFAULT_INVOICE_EXPIRY: Duration = Duration::from_secs(3600);
/// The most hints in an invoice.
const MAX_HINTS: usize = 4;
/// Friends who are asked whether they pass payments on to this user.
const MAX_ASKED: usize = 64;
/// How long they are waited for.
const HINT_PATIENCE: Duration = Duration::from_secs(4);
/// The most logs in an invoice.
const MAX_LOGS: usize = 4;
/// The most invoices that are listed.
const MAX_LISTED: u32 = 200;

/// What to ask for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InvoiceTerms {
    /// In what.
    pub unit: Unit,
    /// How much; the payer chooses if `None`.
    pub amount: Option<Amount>,
    /// What it is for.
    pub memo: Option<Memo>,
    /// How long it stands.
    pub expires_in: Duration,
    /// Who looks after it; whoever keeps the books over which it can come if `None`.
    pub kept_by: Option<InvoiceKeeper>,
}

/// Who looks after an invoice: collects what is promised for it, and publishes its secret when all is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvoiceKeeper {
    /// This wallet, which has to run when the payment comes.
    Device,
    /// The agent.
    Agent,
}

impl InvoiceKeeper {
    /// The name for machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Agent => "agent",
        }
    }
}

impl InvoiceTerms {
    /// Asks for an amount; `None` leaves it to the payer.
    #[must_use]
    pub fn new(unit: Unit, amount: Option<Amount>) -> Self {
        Self {
            unit,
            amount,
            memo: None,
            expires_in: DEFAULT_INVOICE_EXPIRY,
            kept_by: None,
        }
    }
}

/// How far an invoice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvoiceState {
    /// It can be paid.
    Open,
    /// It can't be paid any more, and was not.
    Expired,
    /// All is promised, and the secret is on its way to the log.
    Publishing,
    /// It was paid.
    Paid,
    /// The secret was shown to a log too late: nothing was paid.
    Failed,
    /// It was withdrawn, with the agent that looked after it.
    Withdrawn,
}

impl InvoiceState {
    /// The name for machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Expired => "expired",
            Self::Publishing => "publishing",
            Self::Paid => "paid",
            Self::Failed => "failed",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// An invoice of this user. Amounts are in minor units of `unit`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InvoiceView {
    /// Its name.
    pub id: RecordId,
    /// On what payments of it hang.
    pub hash: PaymentHash,
    /// In what.
    pub unit: Unit,
    /// How much; the payer chooses if `None`.
    pub amount: Option<u64>,
    /// What it is for.
    pub memo: Option<Memo>,
    /// How far it is.
    pub state: InvoiceState,
    /// Who looks after it.
    pub kept_by: InvoiceKeeper,
    /// The secret, once it was paid.
    pub preimage: Option<Preimage>,
    /// What was promised for it, or paid.
    pub received: u64,
    /// Friends through whom it can be paid although their channel may not be published.
    pub hints: Vec<UserKey>,
    /// The `atomicity:` link.
    pub link: String,
    /// When it ends, Unix milliseconds.
    pub expires_at: u64,
    /// When it was made.
    pub created_at: u64,
    /// When it was paid, or failed.
    pub ended_at: Option<u64>,
}

impl InvoiceView {
    fn new(row: &InvoiceRow) -> Result<Self, ClientError> {
        let signed: Signed<Invoice> = Signed::decode(&row.record)?;
        let invoice = signed.record();
        let kept_by = match row.place {
            Place::Here => InvoiceKeeper::Device,
            Place::Handing | Place::Agent | Place::Lost => InvoiceKeeper::Agent,
        };
        let state = match (kept_by, row.collection.stage()) {
            (InvoiceKeeper::Agent, _) => told_state(row),
            (_, CollectionStage::Publishing) => InvoiceState::Publishing,
            (_, CollectionStage::Paid { .. }) => InvoiceState::Paid,
            (_, CollectionStage::Failed) => InvoiceState::Failed,
            (_, CollectionStage::Open) => InvoiceState::Open,
        };
        let state = match state {
            InvoiceState::Open if invoice.has_expired(now()) => InvoiceState::Expired,
            state => state,
        };
        let received = match (kept_by, state) {
            (InvoiceKeeper::Agent, _) | (_, InvoiceState::Paid) => row.received,
            _ => row.collection.collected(),
        };
        let preimage = match row.collection.stage() {
            CollectionStage::Paid { preimage } => Some(*preimage),
            _ => row.preimage,
        };
        Ok(Self {
            id: invoice.id,
            hash: invoice.hash,
            unit: invoice.unit.clone(),
            amount: invoice.amount.map(Amount::minor),
            memo: invoice.memo.clone(),
            state,
            kept_by,
            preimage,
            received,
            hints: invoice.hints.iter().map(|hint| hint.peer).collect(),
            expires_at: invoice.expires.millis(),
            created_at: row.created_at,
            ended_at: row.ended_at,
            link: Link::from(signed).to_string(),
        })
    }
}

/// How far an invoice is by what its agent said last.
fn told_state(row: &InvoiceRow) -> InvoiceState {
    match row.told.as_deref() {
        Some("paid") => InvoiceState::Paid,
        Some("failed") => InvoiceState::Failed,
        Some("withdrawn") => InvoiceState::Withdrawn,
        _ if row.place == Place::Lost => InvoiceState::Withdrawn,
        Some("publishing") => InvoiceState::Publishing,
        _ => InvoiceState::Open,
    }
}

impl Wallet {
    /// Asks to be paid: draws a secret, keeps it sealed, and signs; or has the agent do so, if it keeps the books over which the
    /// payment can come. Where this wallet looks after it, it has to run (`watch`, or `sync` in time) when the payment comes.
    ///
    /// # Errors
    /// [`ClientError::NoLog`] if none can be relied on; [`ClientError::UnitNotOpen`]; [`ClientError::AgentAway`],
    /// [`ClientError::AgentRefused`], and [`ClientError::NoAgent`] if the agent was named; as [`Wallet::promise`].
    pub async fn create_invoice(&self, terms: InvoiceTerms) -> Result<InvoiceView, ClientError> {
        if let Some(id) = self.made_before(MadeKind::Invoice).await? {
            return self.invoice(&id).await;
        }
        InvoiceView::new(&self.invoice_row(terms).await?)
    }

    /// The same, as it is stored.
    pub(super) async fn invoice_row(&self, terms: InvoiceTerms) -> Result<InvoiceRow, ClientError> {
        let amount = terms.amount.map(Amount::minor);
        let kept_by = match terms.kept_by {
            Some(kept_by) => kept_by,
            None => self.who_collects(&terms.unit, amount).await?,
        };
        let hints = self.hints(&terms.unit, kept_by).await?;
        self.make_invoice(terms, hints, kept_by).await
    }

    /// Makes an invoice where it is looked after.
    pub(super) async fn make_invoice(
        &self,
        terms: InvoiceTerms,
        hints: Vec<Hint>,
        kept_by: InvoiceKeeper,
    ) -> Result<InvoiceRow, ClientError> {
        let open = self.identity().await?.units;
        if !open.contains(&terms.unit) {
            return Err(ClientError::UnitNotOpen(terms.unit));
        }
        match kept_by {
            InvoiceKeeper::Device => self.sign_invoice(terms, hints).await,
            InvoiceKeeper::Agent => self.invoice_by_agent(terms, &hints).await,
        }
    }

    /// Signs an invoice and keeps it with its secret.
    async fn sign_invoice(
        &self,
        terms: InvoiceTerms,
        hints: Vec<Hint>,
    ) -> Result<InvoiceRow, ClientError> {
        self.ensure_may_sign().await?;
        let logs = self.invoice_logs().await?;
        let mut change = self.change().await?;
        let preimage = Preimage::from_bytes(entropy());
        secret::keep_in(&mut change, &preimage).await?;
        let now = change.now;
        let expires_in = u64::try_from(terms.expires_in.as_millis()).unwrap_or(u64::MAX);
        let mut refused = logs::refused(change.conn()).await?;
        refused.retain(|origin| logs.iter().all(|log| log.origin != *origin));
        let invoice = Invoice {
            v: Version,
            id: RecordId::from_entropy(entropy()),
            payee: self.user(),
            unit: terms.unit.clone(),
            amount: terms.amount,
            hash: preimage.hash(),
            logs,
            logs_refused: refused,
            hints,
            expires: now.plus_millis(expires_in),
            memo: terms.memo,
            at: now,
        };
        let signed = Signed::sign(invoice, &change.keys.pen)?;
        let invoice = signed.record();
        let row = InvoiceRow {
            record: signed.jws().to_owned(),
            collection: Collection::new(Bill::of(invoice, routed::MIN_LEFT_MS)),
            received: 0,
            created_at: now.millis(),
            ended_at: None,
            place: Place::Here,
            told: terms.kept_by.map(|_| WANTED_HERE.to_owned()),
            preimage: None,
        };
        invoices::put(change.conn(), &row).await?;
        change
            .note(HistoryItem {
                unit: Some(terms.unit),
                kind: "invoice".to_owned(),
                direction: Some(Direction::In),
                amount: invoice.amount.map(Amount::minor),
                reference: Some(invoice.id.to_string()),
                memo: invoice.memo.as_ref().map(|memo| memo.as_str().to_owned()),
                ..HistoryItem::default()
            })
            .await?;
        self.note_made(change.conn(), MadeKind::Invoice, &invoice.id)
            .await?;
        change.commit().await?;
        Ok(row)
    }

    /// The invoice of this name.
    ///
    /// # Errors
    /// [`PaymentFault::InvoiceUnknown`]; [`ClientError::Store`] if the store can't be read.
    pub async fn invoice(&self, id: &RecordId) -> Result<InvoiceView, ClientError> {
        let row = invoices::named(&mut *self.store().read().await?, id).await?;
        let row = row.ok_or_else(|| PaymentFault::InvoiceUnknown(id.to_string()))?;
        InvoiceView::new(&row)
    }

    /// The invoices of this user, newest first.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn invoices(&self) -> Result<Vec<InvoiceView>, ClientError> {
        let rows = invoices::list(&mut *self.store().read().await?, MAX_LISTED).await?;
        rows.iter().map(InvoiceView::new).collect()
    }

    /// The logs on which a payment to this user can hang.
    async fn invoice_logs(&self) -> Result<Vec<InvoiceLog>, ClientError> {
        let mut usable: Vec<LogView> = self.logs().await?;
        usable.retain(|log| log.usable);
        usable.sort_by(|a, b| a.origin.cmp(&b.origin));
        usable.truncate(MAX_LOGS);
        if usable.is_empty() {
            return Err(ClientError::NoLog);
        }
        usable
            .into_iter()
            .map(|log| {
                Ok(InvoiceLog {
                    origin: parse_own(&log.origin, "the name of a log")?,
                    policy_hash: log.policy_hash,
                    // An address that does not fit is left out: it only helps.
                    url: log.url.parse().ok(),
                })
            })
            .collect()
    }

    /// Friends who say that they pass payments on to this user, widest first, at most four; what they take, by their own word.
    async fn hints(&self, unit: &Unit, kept_by: InvoiceKeeper) -> Result<Vec<Hint>, ClientError> {
        let mut friends = Vec::new();
        let mut conn = self.store().read().await?;
        for contact in contacts::list(&mut conn, ContactStatus::Friend).await? {
            // What comes elsewhere is not collected there.
            if agent::keeps(&mut conn, &contact.user).await? != (kept_by == InvoiceKeeper::Agent) {
                continue;
            }
            let Some(row) = pairs::get(&mut conn, &contact.user).await? else {
                continue;
            };
            let limits = books::parse(&row.body)?.limits(unit, None, now());
            friends.extend(coarse(limits.can_receive).map(|most| (contact.user, most)));
        }
        drop(conn);
        friends.sort_by_key(|(user, most)| (std::cmp::Reverse(*most), *user));
        friends.truncate(MAX_ASKED);
        let asked = stream::iter(friends).map(|(peer, most)| async move {
            let advert = self.advert_of(&peer, &self.user()).await.ok().flatten()?;
            let offer = advert.record().unit_at(unit, now())?.send.clone()?;
            Some(Hint {
                peer,
                capacity: most.min(offer.capacity),
                base: offer.base,
                ppm: offer.ppm,
            })
        });
        let mut asked = asked.buffer_unordered(8);
        let mut hints = Vec::new();
        let gather = async {
            while let Some(hint) = asked.next().await {
                hints.extend(hint);
            }
        };
        // Whoever does not answer in time gives no hint.
        let _ = tokio::time::timeout(HINT_PATIENCE, gather).await;
        hints.sort_by_key(|hint: &Hint| (std::cmp::Reverse(hint.capacity), hint.peer));
        hints.truncate(MAX_HINTS);
        hints.sort_by_key(|hint| hint.peer);
        Ok(hints)
    }
}

/// Writes into the history that an invoice was paid, and counts it for the request that it was made for. What went round a circle is
/// told as that.
pub(super) async fn note_paid(
    change: &mut Change,
    invoice: &Invoice,
    received: u64,
) -> Result<Vec<WalletEventKind>, ClientError> {
    let own = payments::standing(change.conn(), &invoice.hash).await?;
    if !own.is_empty() {
        return Ok(Vec::new());
    }
    let filled = requests::invoice_paid(change, &invoice.id, received).await?;
    let item = HistoryItem {
        unit: Some(invoice.unit.clone()),
        kind: "invoice_paid".to_owned(),
        direction: Some(Direction::In),
        amount: Some(received),
        reference: Some(invoice.id.to_string()),
        memo: invoice.memo.as_ref().map(|memo| memo.as_str().to_owned()),
        ..HistoryItem::default()
    };
    change.note(item).await?;
    let mut told = vec![WalletEventKind::InvoicePaid {
        invoice: invoice.id,
        unit: invoice.unit.clone(),
        amount: received,
    }];
    told.extend(filled);
    Ok(told)
}
