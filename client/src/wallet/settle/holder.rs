//! The holder's side: asking a friend to pay an invoice, and following what becomes of it.

use std::time::{Duration, Instant};

use atomicity_ledger::hop::Neighbour;
use atomicity_ledger::pair::Event;
use atomicity_ledger::record::{LIGHTNING_INVOICE, MILLISATOSHI_PLACES, Pays, Target};
use atomicity_ledger::settle::{Demand, DemandNext, DemandStage, Draft, Holding, Stage};
use atomicity_ledger::{Decimal, LedgerError, Memo, Money, RecordId, UserKey};
use atomicity_paykit_adapter::rail::{Bolt11, LightningNetwork, Msat, RailError};

use super::super::books::Change;
use super::super::event::WalletEvent;
use super::super::{
    Direction, HistoryItem, MadeKind, Wallet, decide, entropy, issue, now, receive,
};
use super::released::is_directly_released;
use super::{SettleFault, SettlementView, booked, event, of_demand, of_discharge};
use crate::error::ClientError;
use crate::store::demands::{self, DemandRow};
use crate::store::pairs::agent;
use crate::store::{contacts, settlements};

/// How long to wait before a request without a last answer is sent again, at first and at most, in milliseconds.
const AGAIN_MS: (u64, u64) = (30_000, 3_600_000);
/// How often it is looked for an answer while somebody waits.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Requests that are sent again in one go.
const AT_ONCE: u32 = 100;

/// What a friend is asked to pay.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SettleTerms {
    /// A BOLT11 invoice of fixed amount.
    pub invoice: String,
    /// What it must ask for; whatever it says if `None`.
    pub pays: Option<Msat>,
    /// What it is for.
    pub memo: Option<Memo>,
}

impl SettleTerms {
    /// Asks for this invoice to be paid, whatever it costs the friend.
    #[must_use]
    pub fn invoice(invoice: String) -> Self {
        Self {
            invoice,
            pays: None,
            memo: None,
        }
    }
}

/// Off a test network only real invoices are read.
pub(crate) fn read_invoice(text: &str, testnet: bool) -> Result<Bolt11, ClientError> {
    use LightningNetwork::{Bitcoin, Regtest, Signet, Simnet, Testnet};
    let networks: &[LightningNetwork] = match testnet {
        true => &[Bitcoin, Testnet, Signet, Regtest, Simnet],
        false => &[Bitcoin],
    };
    let mut why = None;
    for network in networks {
        match Bolt11::parse(text, *network) {
            Ok(invoice) if !invoice.is_expired(now()) => return Ok(invoice),
            Ok(_) => return Err(unusable(&RailError::TargetExpired)),
            // The others are of another network; this one says more.
            Err(error) => {
                let tells = !error.to_string().contains("another network");
                if why.is_none() || tells {
                    why = Some(error);
                }
            }
        }
    }
    let why = why.unwrap_or(RailError::TargetUnsupported("no network is known"));
    Err(unusable(&why))
}

impl Wallet {
    /// Asks a friend who owes the user to pay an invoice; the claim falls by `money` if it is paid, and only then. When this returns,
    /// the request is durable here, with a direct release that reserves this part of the claim.
    ///
    /// # Errors
    /// [`SettleFault::InvoiceUnusable`], [`SettleFault::AmountDiffers`]; [`LedgerError::CannotSettle`] if the friend owes too little
    /// or the invoice was given to somebody already; [`ClientError::WithAgent`]; what hinders every signature. Nothing was signed then.
    pub async fn ask_to_settle(
        &self,
        user: &UserKey,
        money: Money,
        terms: SettleTerms,
    ) -> Result<SettlementView, ClientError> {
        if let Some(id) = self.made_before(MadeKind::Settlement).await? {
            return self.settlement(&id).await;
        }
        self.ask_for_invoice(user, money, terms).await
    }

    /// Asks for it, whoever was asked before.
    pub(super) async fn ask_for_invoice(
        &self,
        user: &UserKey,
        money: Money,
        terms: SettleTerms,
    ) -> Result<SettlementView, ClientError> {
        let invoice = read_invoice(&terms.invoice, self.config().network.testnet)?;
        if let Some(given) = terms.pays.filter(|given| *given != invoice.amount()) {
            return Err(SettleFault::AmountDiffers {
                asked: invoice.amount().to_string(),
                given: given.to_string(),
            }
            .into());
        }
        let target = Target {
            method: LIGHTNING_INVOICE.parse()?,
            value: invoice.as_str().parse()?,
        };
        let draft = Draft {
            id: RecordId::from_entropy(entropy()),
            unit: money.unit,
            amount: money.amount,
            targets: vec![target],
            pays: Some(bitcoins(invoice.amount())?),
            hash: Some(invoice.hash()),
            memo: terms.memo,
            expires: invoice.expires_at(),
        };
        self.ensure_may_sign().await?;
        self.bring_home(user).await?;
        self.refresh(user).await?;
        let view = self.open_demand(user, draft).await?;
        self.send_now(user).await?;
        Ok(view)
    }

    /// Signs the request and the direct release, in one transaction.
    pub(in super::super) async fn open_demand(
        &self,
        user: &UserKey,
        draft: Draft,
    ) -> Result<SettlementView, ClientError> {
        let mut change = self.change().await?;
        let contact = contacts::get(change.conn(), user)
            .await?
            .filter(|contact| receive::is_friend(Some(contact)))
            .ok_or_else(|| ClientError::UnknownFriend(user.to_z32()))?;
        if agent::keeps(change.conn(), user).await? {
            return Err(ClientError::WithAgent(contact.name));
        }
        let mut pair = change.load(self.user(), *user).await?;
        let hash = draft.hash;
        let holding = Holding {
            reserved: demands::reserved_of(change.conn(), user, &draft.unit).await?,
            hash_released: match &hash {
                Some(hash) => is_directly_released(&mut change, hash).await?,
                None => false,
            },
        };
        let (money, memo) = (
            Money {
                amount: draft.amount,
                unit: draft.unit.clone(),
            },
            draft.memo.clone(),
        );
        let now = change.now;
        let with = Neighbour {
            pair: &mut pair,
            pen: &change.keys.pen,
        };
        let demand = Demand::open(draft, with, holding, now)
            .map_err(|error| issue::explain(error, &pair, &contact, &money, None, true, now))?;
        change.save(&pair).await?;
        decide::dispatch(&mut change, self.user(), &pair, demand.to_send()).await?;
        let id = demand.settlement().record().id;
        change
            .note(HistoryItem {
                user: Some(*user),
                unit: Some(money.unit),
                kind: "settle".to_owned(),
                direction: Some(Direction::Out),
                amount: Some(money.amount.minor()),
                reference: Some(id.to_string()),
                memo: memo.map(|memo| memo.to_string()),
                note: Some("asked to be paid outside".to_owned()),
                ..HistoryItem::default()
            })
            .await?;
        let row = DemandRow {
            user: *user,
            demand,
            preimage: None,
            next_at: now.millis().saturating_add(AGAIN_MS.0),
            tries: 0,
            created_at: now.millis(),
            ended_at: None,
        };
        demands::put(change.conn(), &row, hash.as_ref()).await?;
        self.note_made_instead(change.conn(), MadeKind::Settlement, &id)
            .await?;
        change.commit().await?;
        self.named(of_demand(&row)).await
    }

    /// Waits until it is known what became of a settlement that the user asked for. Says whenever its stage has changed.
    ///
    /// # Errors
    /// [`SettleFault::NotPaid`] if it was not; [`SettleFault::Undecided`] if `patience` is over: it goes on all the same.
    pub async fn await_settlement(
        &self,
        id: &RecordId,
        patience: Duration,
        mut progress: impl FnMut(&SettlementView),
    ) -> Result<SettlementView, ClientError> {
        let began = Instant::now();
        let mut seen = "";
        loop {
            let view = self.settlement(id).await?;
            if view.stage != seen {
                seen = view.stage;
                progress(&view);
            }
            if let Some(reason) = view.reason {
                let offer = view.offer;
                return Err(SettleFault::NotPaid { reason, offer }.into());
            }
            if matches!(
                view.stage,
                "booked" | "paid" | "disputed" | "proven" | "done"
            ) || view.by_hand.is_some()
            {
                return Ok(view);
            }
            if began.elapsed() >= patience {
                return Err(SettleFault::Undecided(id.to_string()).into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
            self.look_for_word(&view).await?;
        }
    }

    /// Whatever the network does wrong is only late.
    pub(super) async fn look_for_word(&self, view: &SettlementView) -> Result<(), ClientError> {
        let look = async {
            self.read_inboxes().await?;
            if view.role == super::SettleRole::Issuer {
                self.discharge(&view.settlement).await?;
            }
            self.flush().await.map(|_| ())
        };
        match look.await {
            Err(error) if error.is_network() || error.is_transient() => {
                tracing::info!(code = error.code(), "no news: {error}");
                Ok(())
            }
            done => done,
        }
    }

    /// Takes a request back, if that may still count.
    ///
    /// # Errors
    /// [`SettleFault::Unknown`], [`SettleFault::Ended`].
    pub async fn withdraw_settlement(&self, id: &RecordId) -> Result<SettlementView, ClientError> {
        self.ensure_may_sign().await?;
        self.home_for_own(id, |demand| demand.next() == DemandNext::Send)
            .await?;
        let mut change = self.change().await?;
        let row = demands::named(change.conn(), id).await?;
        let mut row = row.ok_or_else(|| SettleFault::Unknown(id.to_string()))?;
        let mut pair = change.load(self.user(), row.user).await?;
        let now = change.now;
        let with = Neighbour {
            pair: &mut pair,
            pen: &change.keys.pen,
        };
        if row.demand.next() != DemandNext::Send {
            return Err(SettleFault::Ended(id.to_string(), of_demand(&row).stage).into());
        }
        if row.demand.withdraw(&with, now)? {
            keep(&mut change, &mut row).await?;
            decide::dispatch(&mut change, self.user(), &pair, row.demand.to_send()).await?;
            change.commit().await?;
        }
        self.send_now(&row.user).await?;
        self.settlement(id).await
    }

    /// Sends requests again that have no last answer. `true` if there were any.
    pub(crate) async fn ask_once_more(&self, all: bool) -> Result<bool, ClientError> {
        let until = if all { u64::MAX } else { now().millis() };
        let due = demands::due(&mut *self.store().read().await?, until, AT_ONCE).await?;
        if due.is_empty() {
            return Ok(false);
        }
        let mut change = self.change().await?;
        for old in due {
            let settlement = old.demand.settlement().hash();
            let Some(mut row) = demands::get(change.conn(), &settlement).await? else {
                continue;
            };
            let doublings = u32::try_from(row.tries.min(16)).unwrap_or(16);
            let wait = AGAIN_MS.0.saturating_mul(2u64.saturating_pow(doublings));
            row.next_at = change.now.millis().saturating_add(wait.min(AGAIN_MS.1));
            row.tries = row.tries.saturating_add(1);
            if row.demand.next() == DemandNext::Send {
                let records = row.demand.to_send();
                let records: Vec<String> = records.iter().map(|r| r.jws().to_owned()).collect();
                change.send(&row.user, &records).await?;
            }
            demands::put(change.conn(), &row, None).await?;
        }
        change.commit().await?;
        Ok(true)
    }
}

fn unusable(error: &RailError) -> ClientError {
    SettleFault::InvoiceUnusable(error.to_string()).into()
}

/// What Lightning pays, as a record says it.
pub(crate) fn bitcoins(amount: Msat) -> Result<Pays, LedgerError> {
    Ok(Pays {
        asset: "BTC".parse()?,
        amount: Decimal::from_minor(amount.get(), MILLISATOSHI_PLACES)?,
    })
}

/// Stores a demand, and when it ended.
pub(super) async fn keep(change: &mut Change, row: &mut DemandRow) -> Result<(), ClientError> {
    if row.demand.is_over() && row.ended_at.is_none() {
        row.ended_at = Some(change.now.millis());
        agent::may_go(change.conn(), &row.user).await?;
    }
    demands::put(change.conn(), row, None).await
}

/// What follows for settlements from a change of the books with `peer`, which are stored already: a direct release was booked or came
/// back, or the friend's books say that something was paid.
pub(crate) async fn follow(
    change: &mut Change,
    me: UserKey,
    peer: UserKey,
    events: &[Event],
) -> Result<Vec<WalletEvent>, ClientError> {
    let mut told = Vec::new();
    for happened in events {
        if let Event::Payment(payment) = happened {
            told.extend(booked::payment_came(change, me, peer, payment).await?);
        }
        let (iou, shown) = match happened {
            Event::Merged { iou, preimage, .. } => (iou, Some(*preimage)),
            Event::Released { iou, .. } => (iou, None),
            _ => continue,
        };
        let row = demands::with_release(change.conn(), iou).await?;
        let Some(mut row) = row.filter(|row| row.user == peer) else {
            continue;
        };
        if !row.demand.follow(happened) {
            continue;
        }
        row.preimage = shown.or(row.preimage);
        keep(change, &mut row).await?;
        if *row.demand.stage() == DemandStage::Booked {
            note_paid(change, &of_demand(&row), Direction::In).await?;
        }
        told.push(of_demand(&row));
    }
    for mut row in settlements::open_with(change.conn(), &peer).await? {
        if !matches!(row.discharge.stage(), Stage::Proven { .. }) {
            continue;
        }
        let pair = change.load(me, peer).await?;
        if row.discharge.is_booked_in(&pair) {
            row.discharge.booked();
            super::intake::keep(change, &mut row).await?;
            told.push(of_discharge(&row));
        }
    }
    tell(change, told).await
}

/// Events of settlements.
pub(super) async fn tell(
    change: &mut Change,
    views: Vec<SettlementView>,
) -> Result<Vec<WalletEvent>, ClientError> {
    let mut told = Vec::new();
    for view in views {
        let contact = contacts::get(change.conn(), &view.user).await?;
        told.push(WalletEvent {
            at: change.now.millis(),
            user: Some(view.user),
            friend: contact.map(|contact| contact.name),
            kind: event(&view),
        });
    }
    Ok(told)
}

/// A line in the history: something was paid outside, and a debt fell.
pub(super) async fn note_paid(
    change: &mut Change,
    view: &SettlementView,
    direction: Direction,
) -> Result<(), ClientError> {
    let paid = view.pays.as_ref();
    change
        .note(HistoryItem {
            user: Some(view.user),
            unit: Some(view.unit.clone()),
            kind: "settled".to_owned(),
            direction: Some(direction),
            amount: Some(view.amount),
            reference: Some(view.id.to_string()),
            memo: view.memo.as_ref().map(ToString::to_string),
            note: paid.map(|paid| format!("{} {} were paid outside", paid.amount, paid.asset)),
            ..HistoryItem::default()
        })
        .await
}
