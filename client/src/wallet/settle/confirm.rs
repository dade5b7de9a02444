//! The holder's side of rails without a preimage: the issuer says that it was paid, and the claim falls when somebody, a rule or the
//! user's own node confirms it.

use atomicity_ledger::hop::Neighbour;
use atomicity_ledger::record::{Settlement, Target};
use atomicity_ledger::settle::{Demand, DemandNext, DemandStage};
use atomicity_ledger::{Money, RecordId};

use super::super::books::Change;
use super::super::event::WalletEvent;
use super::super::{Direction, MadeKind, Wallet, decide, entropy, issue, now};
use super::holder::{keep, note_paid, tell};
use super::{OpenRail, SettleFault, SettlementView, auto, of_demand};
use crate::error::ClientError;
use crate::store::demands::{self, DemandRow};
use crate::store::pairs::agent;
use crate::store::{confirmed, contacts};

/// Requests that are looked at in one go.
const AT_ONCE: u32 = 100;

impl Wallet {
    /// Confirms that a friend has paid what the user asked for: the claim falls by it, once. Also where the friend never said so.
    ///
    /// # Errors
    /// [`SettleFault::Unknown`], [`SettleFault::NotConfirmable`] if it was booked already or hangs on an invoice;
    /// what hinders every signature.
    pub async fn confirm_settlement(&self, id: &RecordId) -> Result<SettlementView, ClientError> {
        if self.made_before(MadeKind::Settlement).await?.is_some() {
            return self.settlement(id).await;
        }
        self.ensure_may_sign().await?;
        self.home_for_own(id, |demand| demand.clone().confirm(true))
            .await?;
        let (mut change, mut row) = self.own_demand(id).await?;
        if !book(&mut change, &mut row, true).await? {
            return Err(not("confirmed", id, &row));
        }
        self.note_made(change.conn(), MadeKind::Settlement, id)
            .await?;
        change.commit().await?;
        self.send_now(&row.user).await?;
        self.settlement(id).await
    }

    /// Says that nothing came of what a friend says was paid: the claim stands, and the friend is told.
    ///
    /// # Errors
    /// [`SettleFault::Unknown`], [`SettleFault::NotConfirmable`] if the friend does not say so; what hinders every signature.
    pub async fn dispute_settlement(&self, id: &RecordId) -> Result<SettlementView, ClientError> {
        self.ensure_may_sign().await?;
        let said = |demand: &Demand| demand.next() == DemandNext::Confirm;
        self.home_for_own(id, said).await?;
        let (mut change, mut row) = self.own_demand(id).await?;
        let mut pair = change.load(self.user(), row.user).await?;
        let now = change.now;
        let with = Neighbour {
            pair: &mut pair,
            pen: &change.keys.pen,
        };
        if !row.demand.dispute(&with, now)? {
            return Err(not("disputed", id, &row));
        }
        keep(&mut change, &mut row).await?;
        decide::dispatch(&mut change, self.user(), &pair, row.demand.to_send()).await?;
        change.commit().await?;
        self.send_now(&row.user).await?;
        self.settlement(id).await
    }

    /// Gives a request up that has no last answer and is overdue: its part of the claim is free again. If it was paid after all, the
    /// friend's word still counts.
    ///
    /// # Errors
    /// [`SettleFault::Unknown`], [`SettleFault::NotConfirmable`] if it is not overdue, or hangs on an invoice.
    pub async fn abandon_settlement(&self, id: &RecordId) -> Result<SettlementView, ClientError> {
        let mut change = self.change().await?;
        let row = demands::named(change.conn(), id).await?;
        let mut row = row.ok_or_else(|| SettleFault::Unknown(id.to_string()))?;
        if !row.demand.abandon(now()) {
            return Err(not("given up", id, &row));
        }
        keep(&mut change, &mut row).await?;
        change.commit().await?;
        self.settlement(id).await
    }

    /// The request of this name that the user made, in a transaction on books that are here.
    async fn own_demand(&self, id: &RecordId) -> Result<(Change, DemandRow), ClientError> {
        let mut change = self.change().await?;
        let row = demands::named(change.conn(), id).await?;
        let row = row.ok_or_else(|| SettleFault::Unknown(id.to_string()))?;
        if agent::keeps(change.conn(), &row.user).await? {
            let contact = contacts::get(change.conn(), &row.user).await?;
            let name = contact.map_or_else(|| row.user.to_z32(), |contact| contact.name);
            return Err(ClientError::WithAgent(name));
        }
        Ok((change, row))
    }

    /// Brings the books home that a request of the user is about, if something is to be signed for it.
    pub(super) async fn home_for_own(
        &self,
        id: &RecordId,
        needed: impl Fn(&Demand) -> bool,
    ) -> Result<(), ClientError> {
        let row = demands::named(&mut *self.store().read().await?, id).await?;
        match row.filter(|row| needed(&row.demand)) {
            Some(row) => self.bring_home(&row.user).await,
            None => Ok(()),
        }
    }

    /// Confirms what rules or the user's own node say was paid. `all`: also what was looked at a short time ago.
    pub(crate) async fn confirm_all(&self, all: bool) -> Result<Vec<WalletEvent>, ClientError> {
        let until = if all { u64::MAX } else { now().millis() };
        let mut conn = self.store().read().await?;
        let due = demands::due(&mut conn, until, AT_ONCE).await?;
        let rules = confirmed::rules(&mut conn).await?;
        drop(conn);
        let mut told = Vec::new();
        for row in due {
            if row.demand.next() != DemandNext::Confirm {
                continue;
            }
            let asked = row.demand.settlement().record();
            let amount = asked.amount.minor();
            let output = if auto::believes(&rules, &row.user, &asked.unit, amount) {
                None
            } else {
                match self.seen_on_chain(&row).await? {
                    Some(output) => Some(output),
                    None => continue,
                }
            };
            told.extend(self.confirm_quietly(&row, output.as_deref()).await?);
        }
        Ok(told)
    }

    /// Books what needs no user. Whatever changed since it was looked at counts.
    async fn confirm_quietly(
        &self,
        row: &DemandRow,
        output: Option<&str>,
    ) -> Result<Vec<WalletEvent>, ClientError> {
        self.ensure_may_sign().await?;
        if let Err(error) = self.bring_home(&row.user).await {
            return late(error).map(|()| Vec::new());
        }
        let settlement = row.demand.settlement().hash();
        let mut change = self.change().await?;
        let Some(mut row) = demands::get(change.conn(), &settlement).await? else {
            return Ok(Vec::new());
        };
        if agent::keeps(change.conn(), &row.user).await? {
            return Ok(Vec::new());
        }
        if let Some(output) = output
            && !confirmed::use_output(change.conn(), output, &settlement).await?
        {
            tracing::warn!("an output that has paid another request is said to pay this one");
            return Ok(Vec::new());
        }
        if !book(&mut change, &mut row, false).await? {
            return Ok(Vec::new());
        }
        let told = tell(&mut change, vec![of_demand(&row)]).await?;
        change.commit().await?;
        Ok(told)
    }

    /// The output by which the user's own node has received it. Only at an address that this request alone has named: what came to
    /// another one may have been paid by anybody, for anything.
    async fn seen_on_chain(&self, row: &DemandRow) -> Result<Option<String>, ClientError> {
        let DemandStage::Paid { method, proof } = row.demand.stage() else {
            return Ok(None);
        };
        let asked = row.demand.settlement().record();
        let mut named = Vec::new();
        for target in asked.targets.iter().filter(|t| t.method == *method) {
            if self.is_named_once(asked, target).await? {
                named.push(target);
            }
        }
        if named.is_empty() {
            return Ok(None);
        }
        for rail in self.open_rails().await? {
            for target in &named {
                if has_received(&rail, asked, target, proof.as_str()).await {
                    return Ok(Some(proof.as_str().to_owned()));
                }
            }
        }
        Ok(None)
    }

    async fn is_named_once(
        &self,
        asked: &Settlement,
        target: &Target,
    ) -> Result<bool, ClientError> {
        let all = demands::list(&mut *self.store().read().await?, u32::MAX).await?;
        let others = all.iter().map(|row| row.demand.settlement().record());
        let mut others = others.filter(|other| other.id != asked.id);
        Ok(!others.any(|other| other.targets.iter().any(|t| t.value == target.value)))
    }
}

async fn has_received(rail: &OpenRail, asked: &Settlement, target: &Target, output: &str) -> bool {
    let Some(core) = &rail.chain else {
        return false;
    };
    let Some(money) = asked.payment().ok().and_then(|pays| rail.money(&pays)) else {
        return false;
    };
    let seen = core.has_received(output, target.value.as_str(), &money);
    match seen.await {
        Ok(seen) => seen,
        Err(error) => {
            tracing::info!(code = error.code(), "the node does not say: {error}");
            false
        }
    }
}

/// What keeps books from coming home now is tried again.
pub(super) fn late(error: ClientError) -> Result<(), ClientError> {
    match error {
        ClientError::AgentAway(_) | ClientError::AgentRefused { .. } => {
            tracing::info!(code = error.code(), "books do not come home now: {error}");
            Ok(())
        }
        error => Err(error),
    }
}

fn not(what: &'static str, id: &RecordId, row: &DemandRow) -> ClientError {
    SettleFault::NotConfirmable(id.to_string(), what, of_demand(row).stage).into()
}

/// Lets the claim fall, once. `false` if it can't be confirmed, or was.
async fn book(
    change: &mut Change,
    row: &mut DemandRow,
    by_hand: bool,
) -> Result<bool, ClientError> {
    let asked = row.demand.settlement().record().clone();
    let mut pair = change.load(asked.holder, row.user).await?;
    let with = Neighbour {
        pair: &mut pair,
        pen: &change.keys.pen,
    };
    let payment = RecordId::from_entropy(entropy());
    let now = change.now;
    let booked = row.demand.book(by_hand, payment, with, now);
    let records = match booked {
        Ok(records) if records.is_empty() => return Ok(false),
        Ok(records) => records,
        Err(error) => {
            let contact = contacts::get(change.conn(), &row.user).await?;
            let contact = contact.ok_or_else(|| ClientError::UnknownFriend(row.user.to_z32()))?;
            let money = Money {
                amount: asked.amount,
                unit: asked.unit,
            };
            return Err(issue::explain(
                error, &pair, &contact, &money, None, true, now,
            ));
        }
    };
    change.save(&pair).await?;
    decide::dispatch(change, asked.holder, &pair, records).await?;
    keep(change, row).await?;
    note_paid(change, &of_demand(row), Direction::In).await?;
    Ok(true)
}
