//! Paying outside: asking a friend to pay an invoice, paying what friends ask for, and what accounts have paid ([`outlay`]).
//!
//! The machines are the ledger's ([`atomicity_ledger::settle`]). Here each step is one transaction of the store, together with the books
//! and what is to be sent; a rail is told or asked only after it.

mod anyone;
mod auto;
mod booked;
mod confirm;
mod facts;
mod fault;
mod hand;
mod holder;
mod intake;
mod issuer;
mod outlay;
mod outside;
mod quotes;
mod rails;
mod released;
mod tell;
mod under_way;

use std::time::Duration;

use atomicity_ledger::record::{Pays, SettleReason, Settlement, Target};
use atomicity_ledger::settle::{DemandStage, Proof, Stage, Way};
use atomicity_ledger::text::{MethodName, RailProof};
use atomicity_ledger::{Memo, Money, Preimage, RecordHash, RecordId, Signed, Unit, UserKey};

use super::event::WalletEventKind;
use super::{Wallet, now};
use crate::error::ClientError;
use crate::store::contacts;
use crate::store::demands::{self, DemandRow};
use crate::store::settlements::{self, DischargeRow};

pub use anyone::CanSettle;
pub use fault::SettleFault;
pub use holder::SettleTerms;
pub use outside::{DEFAULT_SETTLE_EXPIRY, OutsidePays, OutsideTerms};
pub use quotes::RateView;
pub use rails::{RailBounds, RailSettings, RailView};

pub(super) use holder::follow;
pub(crate) use holder::{bitcoins, read_invoice};
pub(super) use intake::{Taken, is_one, release_came, take};
pub(super) use rails::OpenRail;
#[cfg(test)]
pub(super) use rails::RailKind;
pub(super) use released::only_direct_release;
pub(super) use under_way::{is_kind, is_under_way};

/// How long to wait for a settlement if nothing else is said.
pub const SETTLE_PATIENCE: Duration = Duration::from_secs(60);
/// The most settlements of each kind that are listed.
const LISTED: u32 = 500;

/// On which side of a settlement the user is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleRole {
    /// A friend owes them, and is asked to pay.
    Holder,
    /// They owe a friend, and are asked to pay.
    Issuer,
}

impl SettleRole {
    /// A stable name, for machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Holder => "holder",
            Self::Issuer => "issuer",
        }
    }
}

/// A settlement, as it is shown.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SettlementView {
    /// Its name.
    pub id: RecordId,
    /// The hash of the signed request.
    pub settlement: RecordHash,
    /// Whose side it is seen from.
    pub role: SettleRole,
    /// What the user calls the friend.
    pub friend: String,
    /// The friend's key.
    pub user: UserKey,
    /// In what the claim is.
    pub unit: Unit,
    /// By how much it falls, in minor units.
    pub amount: u64,
    /// What is paid outside.
    pub pays: Option<Pays>,
    /// Where.
    pub targets: Vec<Target>,
    /// What it is for. Theirs to choose: escape it before it is shown.
    pub memo: Option<Memo>,
    /// How far it is: the ledger's name of the stage.
    pub stage: &'static str,
    /// Why it was not paid.
    pub reason: Option<SettleReason>,
    /// What the issuer would pay instead.
    pub offer: Option<Pays>,
    /// What proves that the invoice was paid.
    pub preimage: Option<Preimage>,
    /// By which method the issuer says it was paid, where that is no invoice.
    pub method: Option<MethodName>,
    /// What is to show that: an output of a transaction, a bank's reference. Theirs to choose: escape it before it is shown.
    pub proof: Option<RailProof>,
    /// How it is paid, as soon as the issuer's wallet has chosen.
    pub way: Option<Way>,
    /// What the issuer has to pay by hand now, and then to say so.
    pub by_hand: Option<Money>,
    /// Whether the holder says that nothing came.
    pub disputed: bool,
    /// Whether nothing can come of it any more.
    pub over: bool,
    /// Whether the issuer has to say whether it is paid.
    pub waits_for_user: bool,
    /// Whether the issuer should have given a last answer long ago.
    pub overdue: bool,
    /// How many times a rail was told to pay.
    pub attempts: u32,
    /// From then on the issuer must not begin, Unix milliseconds.
    pub expires: u64,
    /// When it was asked for, Unix milliseconds.
    pub created_at: u64,
    /// When it ended, Unix milliseconds.
    pub ended_at: Option<u64>,
}

fn demand_stage(stage: &DemandStage) -> (&'static str, Option<SettleReason>, Option<Pays>) {
    match stage {
        DemandStage::Sent => ("sent", None, None),
        DemandStage::Accepted => ("accepted", None, None),
        DemandStage::Paid { .. } => ("paid", None, None),
        DemandStage::Disputed { .. } => ("disputed", None, None),
        DemandStage::Booked => ("booked", None, None),
        DemandStage::Declined { reason, offer } => ("declined", Some(*reason), offer.clone()),
        DemandStage::Failed { reason } => ("failed", Some(*reason), None),
    }
}

fn stage(stage: &Stage) -> (&'static str, Option<SettleReason>, Option<Pays>) {
    match stage {
        Stage::Received => ("received", None, None),
        Stage::Checked => ("checked", None, None),
        Stage::Reserved => ("reserved", None, None),
        Stage::Dispatched => ("dispatched", None, None),
        Stage::Proven { .. } => ("proven", None, None),
        Stage::Done { .. } => ("done", None, None),
        Stage::Declined { reason, offer } => ("declined", Some(*reason), offer.clone()),
        Stage::Failed { reason } => ("failed", Some(*reason), None),
    }
}

fn view(
    role: SettleRole,
    asked: &Signed<Settlement>,
    (stage, reason, offer): (&'static str, Option<SettleReason>, Option<Pays>),
) -> SettlementView {
    let record = asked.record();
    SettlementView {
        id: record.id,
        settlement: asked.hash(),
        role,
        friend: String::new(),
        user: match role {
            SettleRole::Holder => record.issuer,
            SettleRole::Issuer => record.holder,
        },
        unit: record.unit.clone(),
        amount: record.amount.minor(),
        pays: record.payment().ok(),
        targets: record.targets.clone(),
        memo: record.memo.clone(),
        stage,
        reason,
        offer,
        preimage: None,
        method: None,
        proof: None,
        way: None,
        by_hand: None,
        disputed: false,
        over: false,
        waits_for_user: false,
        overdue: false,
        attempts: 0,
        expires: record.expires.millis(),
        created_at: 0,
        ended_at: None,
    }
}

/// What this user asked for.
fn of_demand(row: &DemandRow) -> SettlementView {
    let demand = &row.demand;
    let shown = view(
        SettleRole::Holder,
        demand.settlement(),
        demand_stage(demand.stage()),
    );
    let (method, proof) = match demand.stage() {
        DemandStage::Paid { method, proof } | DemandStage::Disputed { method, proof } => {
            (Some(method.clone()), Some(proof.clone()))
        }
        _ => (None, None),
    };
    SettlementView {
        preimage: row.preimage,
        disputed: matches!(demand.stage(), DemandStage::Disputed { .. }),
        method,
        proof,
        over: demand.is_over(),
        overdue: demand.is_overdue(now()),
        created_at: row.created_at,
        ended_at: row.ended_at,
        ..shown
    }
}

/// What a friend asked for.
fn of_discharge(row: &DischargeRow) -> SettlementView {
    let discharge = &row.discharge;
    let shown = view(
        SettleRole::Issuer,
        discharge.settlement(),
        stage(discharge.stage()),
    );
    let (preimage, proof) = match discharge.stage() {
        Stage::Proven { proof } | Stage::Done { proof } => match proof {
            Proof::Preimage(preimage) => (Some(*preimage), None),
            Proof::Text(words) => (None, Some(words.clone())),
        },
        _ => (None, None),
    };
    let way = discharge.way().cloned();
    SettlementView {
        preimage,
        method: proof
            .as_ref()
            .and(way.as_ref())
            .map(|way| way.target.method.clone()),
        proof,
        way,
        disputed: discharge.is_disputed(),
        over: discharge.is_over(),
        waits_for_user: !row.approved && *discharge.stage() == Stage::Received,
        attempts: discharge.attempts(),
        created_at: row.created_at,
        ended_at: row.ended_at,
        ..shown
    }
}

/// What is told of a settlement.
fn event(view: &SettlementView) -> WalletEventKind {
    WalletEventKind::Settlement {
        id: view.id,
        role: view.role,
        unit: view.unit.clone(),
        amount: view.amount,
        stage: view.stage,
        reason: view.reason.map(SettleReason::code),
        waits_for_user: view.waits_for_user,
    }
}

impl Wallet {
    /// The settlements that the user asked for, and those that friends asked of them; the newest first.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn settlements(&self) -> Result<Vec<SettlementView>, ClientError> {
        let mut conn = self.store().read().await?;
        let demands = demands::list(&mut conn, LISTED).await?;
        let discharges = settlements::discharges(&mut conn, LISTED).await?;
        drop(conn);
        let mut all: Vec<SettlementView> = demands.iter().map(of_demand).collect();
        all.extend(discharges.iter().map(of_discharge));
        all.sort_by_key(|view| std::cmp::Reverse(view.created_at));
        let mut named = Vec::new();
        for view in all {
            named.push(self.named(view).await?);
        }
        Ok(named)
    }

    /// The settlement of this name: one that the user asked for, else one that a friend asked for.
    ///
    /// # Errors
    /// [`SettleFault::Unknown`].
    pub async fn settlement(&self, id: &RecordId) -> Result<SettlementView, ClientError> {
        let mut conn = self.store().read().await?;
        let demand = demands::named(&mut conn, id).await?;
        let discharges = settlements::discharges_named(&mut conn, id).await?;
        drop(conn);
        if let Some(row) = &demand {
            return self.named(of_demand(row)).await;
        }
        let row = discharges.first();
        let row = row.ok_or_else(|| SettleFault::Unknown(id.to_string()))?;
        let mut view = self.named(of_discharge(row)).await?;
        view.by_hand = self.left_to_the_user(row).await?;
        Ok(view)
    }

    /// What the user has to pay by hand now for a friend's request.
    async fn left_to_the_user(&self, row: &DischargeRow) -> Result<Option<Money>, ClientError> {
        let Some(attempt) = hand::under_way(row) else {
            return Ok(None);
        };
        let mut conn = self.store().read().await?;
        let order = crate::store::hand::get(&mut conn, &attempt.to_string()).await?;
        Ok(order
            .filter(|order| order.payer.is_none() && order.received.is_none())
            .map(|order| order.money))
    }

    /// What the user's own rate says would be paid for a friend's request that waits for their word, if the request is not for what the
    /// unit itself counts.
    ///
    /// # Errors
    /// [`SettleFault::Rate`] if there is no rate.
    pub async fn own_rate_for(&self, view: &SettlementView) -> Result<Option<Pays>, ClientError> {
        let mut conn = self.store().read().await?;
        let row = settlements::discharge(&mut conn, &view.settlement).await?;
        drop(conn);
        match row {
            Some(row) => self.quote_for(row.discharge.settlement().record()).await,
            None => Ok(None),
        }
    }

    async fn named(&self, view: SettlementView) -> Result<SettlementView, ClientError> {
        let contact = contacts::get(&mut *self.store().read().await?, &view.user).await?;
        let friend = contact.map_or_else(|| view.user.to_z32(), |contact| contact.name);
        Ok(SettlementView { friend, ..view })
    }
}
