//! Approvals that the agent pays: handing them over, seeing what it paid, taking them back.
//!
//! Each is in one place at a time. From the moment on from which the agent may have it until the agent has said that it pays nothing more
//! of it, this wallet asks for no turn of it; and it is handed over only while no part of it is open here.

use atomicity_ledger::{Amount, RecordHash, UserKey};

use super::super::{Wallet, now};
use super::is_grave;
use super::turns::next_turn;
use crate::error::ClientError;
use crate::net::NetError;
use crate::net::plugin::{AgentTurn, PluginClient};
use crate::store::pairs::agent::{self, AgentStage};
use crate::store::requests::approvals::{self, ApprovalPlace, ApprovalRow};
use crate::store::requests::paying::{self, AskedRow, PayingRow, PayingStage};

/// Approvals that are looked at in one go.
const BATCH: u32 = 1000;
/// How often the agent is asked how far it is, if it says nothing by itself, milliseconds.
const LOOK_MS: u64 = 3_600_000;
/// What the agent refused is offered again after so long, milliseconds.
const REFUSED_MS: u64 = 3_600_000;
/// After this long an agent that did not answer is asked again, milliseconds.
const AGAIN_MS: u64 = 10_000;
/// What was taken back because its books come home is not handed over again within this time, milliseconds.
const REST_MS: u64 = 60_000;

/// What ends an approval at the agent, and here.
const FINAL: [&str; 4] = [
    "done",
    "request_closed",
    "request_expired",
    "approval_expired",
];

/// What the agent said to an offer.
enum Offered {
    Taken,
    Refused(&'static str),
}

/// Whether a plugin said no, and why; anything else passes.
fn refusal(error: NetError) -> Result<&'static str, ClientError> {
    if error.is_retryable() {
        return Err(ClientError::AgentAway(error));
    }
    match error {
        NetError::Refused { code, .. } => Ok(code),
        NetError::HttpStatus { status: 404, .. } | NetError::NotFound(_) => Ok("agent_unknown"),
        other => Err(other.into()),
    }
}

fn in_force(row: &ApprovalRow) -> bool {
    row.ended_at.is_none() && row.until.is_none_or(|until| until > now().millis())
}

impl Wallet {
    /// Hands approvals to the agent that keeps the books with their payees, sees what it paid, and takes back what it does not pay.
    pub(in super::super) async fn place_approvals(&self) -> Result<(), ClientError> {
        let at = now().millis();
        let due =
            approvals::approvals_to_place(&mut *self.store().read().await?, at, BATCH).await?;
        for row in due {
            match self.place_approval(&row).await {
                Ok(()) => {}
                Err(error) if is_grave(&error) => return Err(error),
                Err(error) => self.not_reached(&row.request, &error).await?,
            }
        }
        Ok(())
    }

    /// The same at once, whenever it was last done.
    ///
    /// # Errors
    /// [`ClientError::AgentAway`] if the agent can't be asked; what the store says.
    pub async fn refresh_approvals(&self) -> Result<(), ClientError> {
        let all = approvals::approvals_elsewhere(&mut *self.store().read().await?).await?;
        for row in all {
            self.place_approval(&row).await?;
        }
        Ok(())
    }

    async fn not_reached(
        &self,
        request: &RecordHash,
        error: &ClientError,
    ) -> Result<(), ClientError> {
        tracing::info!(
            code = error.code(),
            "an approval stays where it is: {error}"
        );
        let mut tx = self.store().write().await?;
        let until = now().millis().saturating_add(AGAIN_MS);
        if let Some(row) = approvals::approval(tx.conn(), request).await? {
            approvals::set_place(tx.conn(), request, row.place, Some(error.code()), until).await?;
        }
        tx.commit().await
    }

    async fn place_approval(&self, row: &ApprovalRow) -> Result<(), ClientError> {
        let mut conn = self.store().read().await?;
        let Some(asked) = paying::asked(&mut conn, &row.request).await? else {
            return Ok(());
        };
        let pair = agent::pair(&mut conn, &asked.record.record().payee).await?;
        drop(conn);
        let kept = pair.is_some_and(|pair| pair.stage == AgentStage::Kept);
        match (row.place, kept && in_force(row)) {
            (ApprovalPlace::Here, false) => Ok(()),
            (ApprovalPlace::Here | ApprovalPlace::Handing, true) => {
                self.hand_approval(row, &asked).await
            }
            (ApprovalPlace::Agent, true) => self.look_at_approval(row, &asked).await,
            _ => self.take_approval_back(row, &asked, None, 0).await,
        }
    }

    /// A client of the plugin where the agent is, if there is one.
    async fn at_agent(&self) -> Result<Option<PluginClient>, ClientError> {
        let row = agent::get(&mut *self.store().read().await?).await?;
        match row {
            Some(row) => self.plugin_client(row.plugin).await.map(Some),
            None => Ok(None),
        }
    }

    /// Lets the agent pay from the first turn on that is not paid.
    async fn hand_approval(&self, row: &ApprovalRow, asked: &AskedRow) -> Result<(), ClientError> {
        let Some(client) = self.at_agent().await? else {
            return Ok(());
        };
        let mut tx = self.store().write().await?;
        let known = approvals::approval(tx.conn(), &row.request).await?;
        let fits = |known: &ApprovalRow| known.place == row.place && in_force(known);
        let Some(known) = known.filter(fits) else {
            return Ok(());
        };
        // What is being paid here is paid here.
        if paying::any_open(tx.conn(), &row.request).await? {
            return Ok(());
        }
        let first = next_turn(&known, &paying::turns(tx.conn(), &row.request).await?);
        let at = now().millis();
        let place = ApprovalPlace::Handing;
        approvals::set_place(
            tx.conn(),
            &row.request,
            place,
            None,
            at.saturating_add(AGAIN_MS),
        )
        .await?;
        tx.commit().await?;
        let terms = (known.up_to, known.until, first);
        let put = client.put_approval(&row.request, asked.record.jws(), terms);
        let offered = match put.await {
            Ok(_) => Offered::Taken,
            Err(error) => Offered::Refused(refusal(error)?),
        };
        match offered {
            Offered::Taken => {
                if self.is_taken(&row.request).await? {
                    return Ok(());
                }
                // The user has said otherwise meanwhile.
                self.take_approval_back(row, asked, None, 0).await
            }
            // An offer before this one may have been taken, and something paid of it.
            Offered::Refused(code) => {
                self.take_approval_back(row, asked, Some(code), REFUSED_MS)
                    .await
            }
        }
    }

    /// Notes that the agent has it. False if it should not any more: it is to be taken back then.
    async fn is_taken(&self, request: &RecordHash) -> Result<bool, ClientError> {
        let mut tx = self.store().write().await?;
        let row = approvals::approval(tx.conn(), request).await?;
        let wanted = |row: &ApprovalRow| {
            let on_its_way = [ApprovalPlace::Handing, ApprovalPlace::Agent].contains(&row.place);
            on_its_way && in_force(row)
        };
        let is_wanted = row.as_ref().is_some_and(wanted);
        let (place, at) = match is_wanted {
            true => (ApprovalPlace::Agent, now().millis().saturating_add(LOOK_MS)),
            false => (ApprovalPlace::Taking, now().millis()),
        };
        approvals::set_place(tx.conn(), request, place, None, at).await?;
        tx.commit().await?;
        Ok(is_wanted)
    }

    /// Notes where an approval is, if it is still where it was.
    async fn move_on(
        &self,
        request: &RecordHash,
        from: ApprovalPlace,
        (to, at): (ApprovalPlace, u64),
        why: Option<&str>,
    ) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        let row = approvals::approval(tx.conn(), request).await?;
        if row.is_some_and(|row| row.place == from) {
            approvals::set_place(tx.conn(), request, to, why, at).await?;
        }
        tx.commit().await
    }

    /// What the agent has paid of it, and whether it goes on.
    async fn look_at_approval(
        &self,
        row: &ApprovalRow,
        asked: &AskedRow,
    ) -> Result<(), ClientError> {
        let Some(client) = self.at_agent().await? else {
            return Ok(());
        };
        let all = client.agent_approvals().await;
        let all = all.map_err(ClientError::AgentAway)?;
        let found = all.into_iter().find(|one| one.request == row.request);
        let Some(found) = found else {
            return self
                .take_approval_back(row, asked, Some("approval_unknown"), REFUSED_MS)
                .await;
        };
        if found.state == "active" {
            let known = paying::turns(&mut *self.store().read().await?, &row.request).await?;
            let after = known.last().copied();
            let turns = client.agent_turns(&row.request, after).await;
            let turns = turns.map_err(ClientError::AgentAway)?;
            self.note_turns(row, asked, &turns).await?;
            let mut tx = self.store().write().await?;
            approvals::set_why(tx.conn(), &row.request, found.why.as_deref()).await?;
            tx.commit().await?;
            let next = (ApprovalPlace::Agent, now().millis().saturating_add(LOOK_MS));
            return self
                .move_on(&row.request, ApprovalPlace::Agent, next, None)
                .await;
        }
        let why = found.why.as_deref().unwrap_or("ended");
        self.take_approval_back(row, asked, Some(why), REFUSED_MS)
            .await
    }

    /// The agent pays nothing more of it. What it paid is known here before this wallet pays anything.
    async fn take_approval_back(
        &self,
        row: &ApprovalRow,
        asked: &AskedRow,
        why: Option<&str>,
        rest_ms: u64,
    ) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        let known = approvals::approval(tx.conn(), &row.request).await?;
        if known.is_none_or(|known| known.place == ApprovalPlace::Here) {
            return Ok(());
        }
        let place = ApprovalPlace::Taking;
        approvals::set_place(tx.conn(), &row.request, place, why, now().millis()).await?;
        tx.commit().await?;
        // Without an agent there is nobody to ask: what it paid the payee says.
        if let Some(client) = self.at_agent().await? {
            let ended = client.end_approval(&row.request).await;
            match ended.map_err(refusal) {
                Ok(_) => {
                    let turns = client.agent_turns(&row.request, None).await;
                    let turns = turns.map_err(ClientError::AgentAway)?;
                    self.note_turns(row, asked, &turns).await?;
                }
                Err(Ok(_)) => {}
                Err(Err(error)) => return Err(error),
            }
        }
        let at = now().millis();
        let mut tx = self.store().write().await?;
        let known = approvals::approval(tx.conn(), &row.request).await?;
        let Some(mut known) = known.filter(|row| row.place == ApprovalPlace::Taking) else {
            return Ok(());
        };
        known.next_at = at;
        if known.ended_at.is_none() && why.is_some_and(|why| FINAL.contains(&why)) {
            known.ended_at = Some(at);
            known.why = why.filter(|why| *why != "done").map(str::to_owned);
        }
        approvals::put_approval(tx.conn(), &known).await?;
        let (place, rests) = (ApprovalPlace::Here, at.saturating_add(rest_ms));
        approvals::set_place(tx.conn(), &row.request, place, why, rests).await?;
        tx.commit().await
    }

    /// Takes the approvals back by which friends are paid whose books come home.
    pub(in super::super) async fn take_approvals_back(
        &self,
        of: impl Fn(&UserKey) -> bool,
    ) -> Result<(), ClientError> {
        let all = approvals::approvals_elsewhere(&mut *self.store().read().await?).await?;
        for row in all {
            let asked = paying::asked(&mut *self.store().read().await?, &row.request).await?;
            let asked = asked.filter(|asked| of(&asked.record.record().payee));
            if let Some(asked) = asked {
                self.take_approval_back(&row, &asked, None, REST_MS).await?;
            }
        }
        Ok(())
    }

    /// Ends an approval that is not here. If the agent can't be reached it is told as soon as it can.
    pub(super) async fn end_elsewhere(
        &self,
        row: &ApprovalRow,
        asked: &AskedRow,
    ) -> Result<(), ClientError> {
        match self.take_approval_back(row, asked, None, 0).await {
            Err(error) if !is_grave(&error) => self.not_reached(&row.request, &error).await,
            other => other,
        }
    }

    /// Keeps what the agent paid beside what this wallet paid.
    pub(in super::super) async fn note_turns(
        &self,
        row: &ApprovalRow,
        asked: &AskedRow,
        turns: &[AgentTurn],
    ) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        for turn in turns.iter().filter(|turn| turn.state == "paid") {
            let known = paying::of_request(tx.conn(), &row.request, u32::MAX).await?;
            let own = known.into_iter().filter(|own| own.turn == Some(turn.turn));
            let own: Vec<PayingRow> = own.collect();
            if own.iter().any(|own| own.stage == PayingStage::Paid) {
                continue;
            }
            for mut open in own.into_iter().filter(|own| !own.stage.is_over()) {
                open.stage = PayingStage::Ended;
                open.reason = Some("paid_by_agent".to_owned());
                open.ended_at = Some(now().millis());
                paying::put(tx.conn(), &open).await?;
            }
            let paid = paid_row(row, asked.record.record().payee, turn)?;
            paying::put(tx.conn(), &paid).await?;
        }
        tx.commit().await
    }
}

fn paid_row(row: &ApprovalRow, payee: UserKey, turn: &AgentTurn) -> Result<PayingRow, ClientError> {
    let minor = turn.amount.parse().map_err(|_| ClientError::Malformed {
        what: "what the agent paid".to_owned(),
        why: "its amount is none".to_owned(),
    })?;
    Ok(PayingRow {
        id: turn.id,
        request: row.request,
        record: turn.record.clone(),
        payee,
        turn: Some(turn.turn),
        amount: Amount::from_minor(minor)?,
        stage: PayingStage::Paid,
        until: None,
        invoice: None,
        reason: None,
        by_itself: true,
        next_at: 0,
        tries: 0,
        created_at: turn.at,
        ended_at: turn.ended_at,
    })
}
