//! Requests that recur: approved once, with a ceiling, and then paid turn by turn when they are due, each once.

use atomicity_ledger::record::{Goal, PartReason};
use atomicity_ledger::{Money, RecordHash, RecordId, Timestamp, Unit, UserKey};

use super::super::{PayOptions, Wallet, now};
use super::{BATCH, RequestFault, is_grave};
use crate::error::ClientError;
use crate::store::contacts;
use crate::store::requests::approvals::{self, ApprovalPlace, ApprovalRow};
use crate::store::requests::paying::{self, AskedRow, PayingRow, PayingStage};

/// How soon it is looked again while a turn is being paid, milliseconds.
const SOON_MS: u64 = 1000;
/// After a turn that was not paid the next try waits, milliseconds; twice as long each time, at most so long.
const AGAIN_MS: (u64, u64) = (10_000, 3_600_000);
/// How late a new turn is seen at most, milliseconds: clocks may be set.
const LATEST_MS: u64 = 3_600_000;

/// What the user approved. Amounts are in minor units of `unit`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ApprovalView {
    /// The request.
    pub request: RecordId,
    /// Its hash: a request that asks for anything else is another one.
    pub hash: RecordHash,
    /// Who is paid.
    pub payee: UserKey,
    /// What the user calls them, if they are known.
    pub name: Option<String>,
    /// In what.
    pub unit: Unit,
    /// What each turn asks for.
    pub amount: u64,
    /// The most that one turn may cost, fees included.
    pub up_to: u64,
    /// From then on nothing is paid, Unix milliseconds.
    pub until: Option<u64>,
    /// The first turn that is paid.
    pub first_turn: u32,
    /// The turns that are paid, or being paid.
    pub turns: Vec<u32>,
    /// When the next turn is due that is not paid, Unix milliseconds.
    pub next_due: Option<u64>,
    /// Why the last try was not paid: a code.
    pub why: Option<String>,
    /// Who pays it: this wallet, or the agent.
    pub place: ApprovalPlace,
    /// Why the agent does not, or was not reached: a code.
    pub place_why: Option<String>,
    /// Whether it is in force.
    pub active: bool,
    /// When it was approved.
    pub created_at: u64,
}

impl Wallet {
    /// Approves a request that recurs: every turn is paid when it is due, those that were missed as well, none for more than `up_to`,
    /// fees included, and none after `until`. Approving again changes the ceiling and the end.
    ///
    /// # Errors
    /// [`RequestFault::NotRecurring`], [`RequestFault::NotAsked`], [`RequestFault::AboveCeiling`]; [`ClientError::Payment`] for another
    /// unit; as [`Wallet::request`].
    pub async fn approve_request(
        &self,
        link_or_id: &str,
        up_to: &Money,
        until: Option<Timestamp>,
        skip_missed: bool,
    ) -> Result<ApprovalView, ClientError> {
        let asked = self.asked(link_or_id).await?;
        let record = asked.record.record();
        if record.every.is_none() {
            return Err(RequestFault::NotRecurring.into());
        }
        if !record.asks(self.user()) {
            return Err(RequestFault::NotAsked.into());
        }
        if record.unit != up_to.unit {
            let (asked, given) = (record.unit.clone(), up_to.unit.clone());
            return Err(super::super::PaymentFault::WrongUnit { asked, given }.into());
        }
        let Goal::Exact(amount) = record.amount else {
            return Err(RequestFault::NotRecurring.into());
        };
        if amount > up_to.amount {
            let asked = Money {
                amount,
                unit: record.unit.clone(),
            };
            return Err(RequestFault::AboveCeiling {
                asked: asked.to_string(),
                up_to: up_to.to_string(),
            }
            .into());
        }
        self.keep_asked(&asked).await?;
        let at = now();
        let first_turn = match (skip_missed, record.turn_due(at)) {
            (true, Some(due)) => due.saturating_add(1),
            _ => 0,
        };
        let row = ApprovalRow {
            request: asked.record.hash(),
            up_to: up_to.amount.minor(),
            until: until.map(Timestamp::millis),
            first_turn,
            next_at: at.millis(),
            why: None,
            created_at: at.millis(),
            ended_at: None,
            place: ApprovalPlace::Here,
            place_why: None,
        };
        let mut tx = self.store().write().await?;
        let known = approvals::approval(tx.conn(), &row.request).await?;
        approvals::put_approval(tx.conn(), &row).await?;
        // An agent that has it is told the new terms.
        let place = match known.map(|known| known.place) {
            Some(ApprovalPlace::Agent | ApprovalPlace::Handing) => ApprovalPlace::Handing,
            Some(ApprovalPlace::Taking) => ApprovalPlace::Taking,
            _ => ApprovalPlace::Here,
        };
        approvals::set_place(tx.conn(), &row.request, place, None, 0).await?;
        tx.commit().await?;
        self.place_approvals().await?;
        let row = approvals::approval(&mut *self.store().read().await?, &row.request).await?;
        let row = row.ok_or_else(|| RequestFault::NotApproved(record.id.to_string()))?;
        self.approval_view(&row, &asked).await
    }

    /// What the user approved, newest first, ended ones as well.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn approvals(&self) -> Result<Vec<ApprovalView>, ClientError> {
        let rows = approvals::approvals(&mut *self.store().read().await?, 200).await?;
        let mut all = Vec::new();
        for row in rows {
            let asked = paying::asked(&mut *self.store().read().await?, &row.request).await?;
            if let Some(asked) = asked {
                all.push(self.approval_view(&row, &asked).await?);
            }
        }
        Ok(all)
    }

    /// Nothing more is paid of it without asking, by this wallet and by the agent. What is being paid just now may still be; and what
    /// an agent pays that can't be reached: then the approval is [`ApprovalPlace::Taking`].
    ///
    /// # Errors
    /// [`RequestFault::NotApproved`]; as [`Wallet::request`].
    pub async fn revoke_approval(&self, link_or_id: &str) -> Result<ApprovalView, ClientError> {
        let asked = self.asked(link_or_id).await?;
        let hash = asked.record.hash();
        let mut tx = self.store().write().await?;
        let row = approvals::approval(tx.conn(), &hash).await?;
        let row = row.filter(|row| row.ended_at.is_none());
        let name = asked.record.record().id.to_string();
        let mut row = row.ok_or(RequestFault::NotApproved(name))?;
        row.ended_at = Some(now().millis());
        row.why = Some("revoked".to_owned());
        approvals::put_approval(tx.conn(), &row).await?;
        tx.commit().await?;
        if row.place != ApprovalPlace::Here {
            self.end_elsewhere(&row, &asked).await?;
            let known = approvals::approval(&mut *self.store().read().await?, &hash).await?;
            row = known.unwrap_or(row);
        }
        self.approval_view(&row, &asked).await
    }

    async fn approval_view(
        &self,
        row: &ApprovalRow,
        asked: &AskedRow,
    ) -> Result<ApprovalView, ClientError> {
        let record = asked.record.record();
        let mut conn = self.store().read().await?;
        let turns = paying::turns(&mut conn, &row.request).await?;
        let contact = contacts::get(&mut conn, &record.payee).await?;
        let active = row.ended_at.is_none() && row.until.is_none_or(|until| until > now().millis());
        let next = next_turn(row, &turns);
        let every = record.every.as_ref();
        let due = every.map(|every| (every.turn_at(next), every.count));
        let due = due.filter(|(at, count)| {
            let counts = count.is_none_or(|count| next < count);
            active && counts && *at < record.expires
        });
        Ok(ApprovalView {
            request: record.id,
            hash: row.request,
            payee: record.payee,
            name: contact
                .map(|contact| contact.name)
                .filter(|name| !name.is_empty()),
            unit: record.unit.clone(),
            amount: record.amount.most().map_or(0, |amount| amount.minor()),
            up_to: row.up_to,
            until: row.until,
            first_turn: row.first_turn,
            next_due: due.map(|(at, _)| at.millis()),
            turns,
            why: row.why.clone(),
            place: row.place,
            place_why: row.place_why.clone(),
            active,
            created_at: row.created_at,
        })
    }

    /// Asks for the turns that are due and approved, one at a time for each request.
    pub(in super::super) async fn ask_for_turns(&self) -> Result<(), ClientError> {
        let at = now().millis();
        let due = approvals::approvals_due(&mut *self.store().read().await?, at, BATCH).await?;
        for mut row in due {
            match self.ask_for_turn(&mut row).await {
                Ok(()) => {}
                Err(error) if is_grave(&error) => return Err(error),
                Err(error) => {
                    tracing::info!(code = error.code(), "a turn waits: {error}");
                    row.why = Some(error.code().to_owned());
                    row.next_at = at.saturating_add(AGAIN_MS.0);
                }
            }
            let mut tx = self.store().write().await?;
            let now_row = approvals::approval(tx.conn(), &row.request).await?;
            // The user may have said otherwise meanwhile.
            let same = |other: &ApprovalRow| {
                let here = other.place == ApprovalPlace::Here;
                here && other.ended_at.is_none() && other.created_at == row.created_at
            };
            if now_row.as_ref().is_some_and(same) {
                approvals::put_approval(tx.conn(), &row).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    async fn ask_for_turn(&self, row: &mut ApprovalRow) -> Result<(), ClientError> {
        let at = now();
        let mut conn = self.store().read().await?;
        let Some(asked) = paying::asked(&mut conn, &row.request).await? else {
            row.ended_at = Some(at.millis());
            return Ok(());
        };
        let record = asked.record.record();
        let parts = paying::of_request(&mut conn, &row.request, u32::MAX).await?;
        let turns = paying::turns(&mut conn, &row.request).await?;
        drop(conn);
        if parts.iter().any(|part| !part.stage.is_over()) {
            row.next_at = at.millis().saturating_add(SOON_MS);
            return Ok(());
        }
        let turn = next_turn(row, &turns);
        // What became of the tries so far.
        let tries = parts.iter().filter(|part| part.turn == Some(turn));
        let failed: Vec<&PayingRow> = tries.collect();
        row.why = failed.first().and_then(|part| part.reason.clone());
        let said = |part: Option<&&PayingRow>, code: &str| {
            part.is_some_and(|part| {
                part.stage == PayingStage::Refused && part.reason.as_deref() == Some(code)
            })
        };
        let shut = [PartReason::Expired, PartReason::Closed]
            .into_iter()
            .any(|reason| said(failed.first(), reason.code()));
        let over = row.until.is_some_and(|until| until <= at.millis()) || record.has_expired(at);
        if over || shut {
            row.ended_at = Some(at.millis());
            return Ok(());
        }
        let due = record.turn_due(at).is_some_and(|due| turn <= due);
        if !due {
            let next = record.every.as_ref().map(|every| every.turn_at(turn));
            let next = next.map_or(u64::MAX, Timestamp::millis);
            row.next_at = next.clamp(at.millis(), at.millis().saturating_add(LATEST_MS));
            if record
                .every
                .as_ref()
                .and_then(|every| every.count)
                .is_some_and(|n| turn >= n)
            {
                row.ended_at = Some(at.millis());
                row.why = None;
            }
            return Ok(());
        }
        let last = failed.iter().filter_map(|part| part.ended_at).max();
        let doublings = u32::try_from(failed.len().saturating_sub(1).min(16)).unwrap_or(16);
        let wait = AGAIN_MS.0.saturating_mul(2_u64.saturating_pow(doublings));
        if let Some(last) = last {
            let not_before = last.saturating_add(wait.min(AGAIN_MS.1));
            if not_before > at.millis() {
                row.next_at = not_before;
                return Ok(());
            }
        }
        let Goal::Exact(amount) = record.amount else {
            return Ok(());
        };
        self.want_part(&asked, amount, Some(turn), true).await?;
        row.next_at = at.millis().saturating_add(SOON_MS);
        Ok(())
    }

    /// How a turn may be paid; `None` if it may not any more.
    pub(super) async fn allowed_for_turn(
        &self,
        part: &PayingRow,
    ) -> Result<Option<PayOptions>, ClientError> {
        let row = approvals::approval(&mut *self.store().read().await?, &part.request).await?;
        let in_force = |row: &ApprovalRow| {
            row.ended_at.is_none() && row.until.is_none_or(|until| until > now().millis())
        };
        let row = row.filter(in_force);
        let room = row.and_then(|row| row.up_to.checked_sub(part.amount.minor()));
        Ok(room.map(|room| PayOptions {
            max_fee: Some(room),
            ..PayOptions::default()
        }))
    }
}

/// The first turn that is not paid.
pub(super) fn next_turn(row: &ApprovalRow, taken: &[u32]) -> u32 {
    let mut turn = row.first_turn;
    while taken.binary_search(&turn).is_ok() {
        turn = turn.saturating_add(1);
    }
    turn
}
