//! What others ask for: requests that friends sent or the user found, what their payees say of them, and answers to parts.

use atomicity_ledger::link::Link;
use atomicity_ledger::record::{
    Invoice, Part, PartAnswer, PartReason, PartSaid, PaymentRequest, RequestState,
    request_state_path,
};
use atomicity_ledger::{AnyRecord, LedgerError, RecordHash, RecordId, Signed};

use super::super::{Wallet, WalletEvent, WalletEventKind, now, profile, receive};
use super::{RequestFault, RequestView};
use crate::error::ClientError;
use crate::net::{NetError, Target};
use crate::store::contacts;
use crate::store::requests;
use crate::store::requests::paying::{self, AskedRow, PayingStage};

/// The most requests of one friend that are kept.
const MAX_OF_ONE: u64 = 1000;

impl Wallet {
    /// The request that a link or a name means, with its payee's newest word: one of this user, or of somebody else.
    ///
    /// # Errors
    /// [`RequestFault::Unknown`]; [`ClientError::Ledger`] for a link that is none or was signed by nobody who may; network errors while
    /// that is looked up.
    pub async fn request(&self, link_or_id: &str) -> Result<RequestView, ClientError> {
        let text = link_or_id.trim();
        let id = text.parse::<RecordId>().ok();
        if let Some(id) = id {
            let own = requests::named(&mut *self.store().read().await?, &id).await?;
            if let Some(row) = own {
                return self.request_view(&row).await;
            }
        }
        let asked = self.asked(text).await?;
        if asked.record.record().payee == self.user() {
            let id = asked.record.record().id;
            let own = requests::named(&mut *self.store().read().await?, &id).await?;
            let row = own.ok_or_else(|| RequestFault::Unknown(id.to_string()))?;
            return self.request_view(&row).await;
        }
        let asked = self.with_state(asked).await?;
        self.asked_view(&asked).await
    }

    /// What somebody else asks for, by its link or, once it is known here, by its name. It is not kept.
    pub(super) async fn asked(&self, link_or_id: &str) -> Result<AskedRow, ClientError> {
        let text = link_or_id.trim();
        if let Ok(id) = text.parse::<RecordId>() {
            let mut conn = self.store().read().await?;
            let found = paying::asked_named(&mut conn, &id).await?;
            if let Some(found) = found.into_iter().next() {
                return Ok(found);
            }
            let fault = match requests::named(&mut conn, &id).await? {
                Some(_) => RequestFault::Own,
                None => RequestFault::Unknown(text.to_owned()),
            };
            return Err(fault.into());
        }
        let record = match text.parse::<Link>()? {
            Link::Request(request) => *request,
            _ => return Err(RequestFault::Unknown(text.chars().take(80).collect()).into()),
        };
        let known = paying::asked(&mut *self.store().read().await?, &record.hash()).await?;
        if let Some(known) = known {
            return Ok(known);
        }
        if record.record().payee != self.user() {
            self.authorized(&AnyRecord::decode(record.jws())?).await?;
        }
        Ok(AskedRow {
            record,
            state: None,
            was_sent: false,
            seen_at: now().millis(),
        })
    }

    /// Looks up what the payee says of a public request; what was known stands if that can't be read.
    pub(super) async fn with_state(&self, mut asked: AskedRow) -> Result<AskedRow, ClientError> {
        if asked.record.record().payer.is_some() {
            return Ok(asked);
        }
        let state = match self.published_state(&asked.record).await {
            Ok(state) => state,
            Err(error) if super::is_grave(&error) => return Err(error),
            Err(error) => {
                tracing::info!(code = error.code(), "no word about a request: {error}");
                None
            }
        };
        let serial = |state: &Signed<RequestState>| state.record().serial;
        let newer = state.filter(|state| {
            asked
                .state
                .as_ref()
                .is_none_or(|old| serial(old) < serial(state))
        });
        if let Some(state) = newer {
            let mut tx = self.store().write().await?;
            paying::put_state(tx.conn(), &state).await?;
            tx.commit().await?;
            asked.state = Some(state);
        }
        Ok(asked)
    }

    async fn published_state(
        &self,
        asked: &Signed<PaymentRequest>,
    ) -> Result<Option<Signed<RequestState>>, ClientError> {
        let record = asked.record();
        let target = Target::new(record.payee, request_state_path(record.id));
        let text = match self.net().fetch(&target.at_most(profile::MAX_BYTES)).await {
            Ok(fetched) => fetched.body.bytes().map(profile::text).transpose()?,
            Err(NetError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(text) = text else { return Ok(None) };
        let state: Signed<RequestState> = Signed::decode(&text)?;
        let is_of_it =
            state.record().payee == record.payee && state.record().request == asked.hash();
        if !is_of_it {
            return Err(LedgerError::ForeignChannel.into());
        }
        self.authorized(&AnyRecord::decode(state.jws())?).await?;
        Ok(Some(state))
    }

    /// Keeps what somebody asks for, because the user pays it.
    pub(super) async fn keep_asked(&self, asked: &AskedRow) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        paying::put_asked(tx.conn(), asked).await?;
        tx.commit().await
    }

    /// A friend asks this user to pay.
    pub(super) async fn take_request(
        &self,
        asked: &Signed<PaymentRequest>,
    ) -> Result<Option<WalletEvent>, ClientError> {
        let record = asked.record();
        let mut conn = self.store().read().await?;
        let contact = contacts::get(&mut conn, &record.payee).await?;
        let many = paying::count_asked(&mut conn, &record.payee).await? >= MAX_OF_ONE;
        drop(conn);
        let contact = contact.filter(|contact| receive::is_friend(Some(contact)));
        let Some(contact) = contact.filter(|_| !many && record.payer == Some(self.user())) else {
            // A stranger's request is the user's to find.
            return Ok(None);
        };
        self.authorized(&AnyRecord::decode(asked.jws())?).await?;
        let mut tx = self.store().write().await?;
        let row = AskedRow {
            record: asked.clone(),
            state: None,
            was_sent: true,
            seen_at: now().millis(),
        };
        let is_new = paying::put_asked(tx.conn(), &row).await?;
        tx.commit().await?;
        Ok(is_new.then(|| WalletEvent {
            at: now().millis(),
            user: Some(record.payee),
            friend: Some(contact.name),
            kind: WalletEventKind::Asked {
                request: record.id,
                unit: record.unit.clone(),
                amount: record.amount.most().map(|amount| amount.minor()),
                memo: record.memo.as_ref().map(ToString::to_string),
            },
        }))
    }

    /// The payee of a request that was sent says how far it is.
    pub(super) async fn take_state(
        &self,
        state: &Signed<RequestState>,
    ) -> Result<Option<WalletEvent>, ClientError> {
        let said = state.record();
        let known = paying::asked(&mut *self.store().read().await?, &said.request).await?;
        let Some(known) = known.filter(|known| known.record.record().payee == said.payee) else {
            return Ok(None);
        };
        self.authorized(&AnyRecord::decode(state.jws())?).await?;
        let mut tx = self.store().write().await?;
        let known = paying::asked(tx.conn(), &said.request)
            .await?
            .unwrap_or(known);
        let before = known.state.as_ref().map(Signed::record);
        if before.is_some_and(|before| before.serial >= said.serial) {
            return Ok(None);
        }
        paying::put_state(tx.conn(), state).await?;
        tx.commit().await?;
        let closed = !said.open && before.is_none_or(|before| before.open);
        Ok(closed.then(|| WalletEvent {
            at: now().millis(),
            user: Some(said.payee),
            friend: None,
            kind: WalletEventKind::RequestClosed {
                request: known.record.record().id,
            },
        }))
    }

    /// The payee answers a part.
    pub(in super::super) async fn take_answer(
        &self,
        answer: &Signed<PartAnswer>,
        invoices: &[Signed<Invoice>],
    ) -> Result<(), ClientError> {
        let said = answer.record();
        if said.to != self.user() {
            return Ok(());
        }
        let Some(id) = self.asked_part(&said.part).await? else {
            return Ok(());
        };
        self.authorized(&AnyRecord::decode(answer.jws())?).await?;
        let mut tx = self.store().write().await?;
        let row = paying::get(tx.conn(), &id).await?;
        let row = row.filter(|row| row.stage == PayingStage::Asked && row.payee == said.from);
        let Some(mut row) = row else { return Ok(()) };
        let asked = paying::asked(tx.conn(), &row.request).await?;
        let Some(asked) = asked else { return Ok(()) };
        let at = now().millis();
        row.next_at = at;
        match &said.said {
            PartSaid::Refused { reason } => {
                // Their word that it is paid costs nothing: nothing is paid for it again.
                row.stage = match reason {
                    PartReason::Paid => PayingStage::Paid,
                    _ => PayingStage::Refused,
                };
                row.reason = Some(reason.code().to_owned());
                row.ended_at = Some(at);
            }
            PartSaid::Granted {
                amount,
                until,
                invoice: named,
                target,
            } => {
                let found = match named {
                    Some(hash) => invoices.iter().find(|invoice| invoice.hash() == *hash),
                    None => None,
                };
                let unit = &asked.record.record().unit;
                let fits = found.is_none_or(|invoice| {
                    let bill = invoice.record();
                    let same = bill.payee == row.payee && bill.unit == *unit;
                    same && bill.amount == Some(*amount)
                });
                if *amount > row.amount
                    || !fits
                    || target.is_some()
                    || named.is_some() != found.is_some()
                {
                    // It asks for something else than was offered: nothing is paid.
                    row.stage = PayingStage::Refused;
                    row.reason = Some("answer_unusable".to_owned());
                    row.ended_at = Some(at);
                } else {
                    row.stage = PayingStage::Granted;
                    row.amount = *amount;
                    row.until = Some(until.millis());
                    row.invoice = found.map(|invoice| invoice.jws().to_owned());
                }
            }
        }
        paying::put(tx.conn(), &row).await?;
        tx.commit().await
    }

    /// The name of the part with this hash, if this user asked for it and has no answer yet.
    async fn asked_part(&self, hash: &RecordHash) -> Result<Option<RecordId>, ClientError> {
        let open = paying::open(&mut *self.store().read().await?, 1000).await?;
        let found = open
            .into_iter()
            .find(|row| RecordHash::of(&row.record) == *hash);
        let part: Option<Signed<Part>> =
            found.map(|row| Signed::decode(&row.record)).transpose()?;
        Ok(part.map(|part| part.record().id))
    }
}
