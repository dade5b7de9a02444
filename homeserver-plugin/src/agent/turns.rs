//! Paying what recurs, turn by turn, while the user is away: asking the payee for each turn that is due, and paying what is granted over
//! the books with them.
//!
//! Whoever asks for a turn asks under the same name, so that the payee grants it once. That it is paid stands in the same transaction as
//! the payment, so that it is paid once. A process that ended leaves an approval that is due, and whoever is next goes on with it.

use std::sync::Arc;
use std::time::Duration;

use atomicity_ledger::jws::Version;
use atomicity_ledger::pair::PaymentNote;
use atomicity_ledger::record::{Part, PartAnswer, PartReason, PartSaid, turn_part};
use atomicity_ledger::{Amount, AnyRecord, Memo, RecordHash, RecordId, Signed, UserKey};
use futures_util::{StreamExt as _, stream};

use super::change::Change;
use super::issue::{Spending, sign};
use super::keeper::{Keeper, stopped};
use super::store::{self, ApprovalRow, TurnRow};
use super::{Agent, approvals, deliver, lookup, refused};
use crate::clock;
use crate::error::PluginError;
use crate::state::AppState;
use crate::witness_log::fault;

/// How often it is looked whether something is due.
const POLL: Duration = Duration::from_secs(1);
/// Approvals that are looked at in one go, and side by side.
const BATCH: i64 = 256;
const AT_ONCE: usize = 8;
/// A payee who does not answer is asked again after so long.
const AGAIN_MS: i64 = 5 * 60 * 1000;
/// After so long without an answer what was asked for is given up: nothing was signed for it.
const GIVE_UP_MS: i64 = 24 * 60 * 60 * 1000;
/// After an attempt that came to nothing the next waits, twice as long each time, at most so long.
const NEXT_MS: (i64, i64) = (10_000, 3_600_000);
/// What fails is tried again, later each time.
const RETRY_MS: (i64, i64) = (1_000, 60_000);
/// How late a turn is seen to be due at most: clocks may be set.
const LATEST_MS: i64 = 3_600_000;

/// An answer to what the agent of `owner` asked of `peer`.
pub(super) fn answer(jws: &str, (peer, owner): (UserKey, UserKey)) -> Option<Signed<PartAnswer>> {
    let answer: Signed<PartAnswer> = Signed::decode(jws).ok()?;
    let said = answer.record();
    (said.from == peer && said.to == owner).then_some(answer)
}

fn longer((first, most): (i64, i64), times: i64) -> i64 {
    let doublings = u32::try_from(times.clamp(0, 30)).unwrap_or(30);
    first
        .saturating_mul(2_i64.saturating_pow(doublings))
        .min(most)
}

fn millis(at: atomicity_ledger::Timestamp) -> i64 {
    i64::try_from(at.millis()).unwrap_or(i64::MAX)
}

/// Looks after what recurs until the process stops.
pub async fn run(state: AppState, agent: Agent) {
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = agent.turns().notified() => {}
            () = tokio::time::sleep(POLL) => {}
        }
        if !state.readiness.lock_held() {
            continue;
        }
        match store::due_approvals(&state.pool, clock::now_ms(), BATCH).await {
            Ok(due) => {
                let look = |(owner, request)| look(&state, &agent, owner, request);
                stream::iter(due).for_each_concurrent(AT_ONCE, look).await;
            }
            Err(error) => tracing::debug!(%error, "what recurs was not looked at"),
        }
    }
}

async fn look(state: &AppState, agent: &Agent, owner: UserKey, request: RecordHash) {
    let Some(keeper) = agent
        .keeper(&owner)
        .filter(|_| !state.shutdown.is_cancelled())
    else {
        return;
    };
    let found = store::approval(&state.pool, &owner, &request).await;
    let Ok(Some(row)) = found else { return };
    let turns = Turns {
        state,
        agent,
        keeper,
        payee: row.payee,
        request,
    };
    let Err(error) = turns.step().await else {
        return;
    };
    tracing::debug!(code = error.code(), "a turn waits: {error}");
    if let Err(error) = turns.put_off(&error).await {
        tracing::debug!(code = error.code(), "a turn could not be put off: {error}");
    }
}

/// One request that recurs, while it is looked after.
struct Turns<'a> {
    state: &'a AppState,
    agent: &'a Agent,
    keeper: Arc<Keeper>,
    payee: UserKey,
    request: RecordHash,
}

/// An approval in force that nobody else changes meanwhile, and what is asked for of it.
struct Locked {
    change: Change,
    row: ApprovalRow,
    open: Option<TurnRow>,
}

impl Turns<'_> {
    async fn locked(&self) -> Result<Option<Locked>, PluginError> {
        let peers = [self.payee].into();
        let mut change = Change::begin(self.state, &self.keeper, &peers).await?;
        let owner = self.keeper.owner;
        let row = store::lock_approval(change.tx(), &owner, &self.request).await?;
        let Some(row) = row.filter(|row| row.ended_at.is_none()) else {
            return Ok(None);
        };
        let open = store::open_turn(change.tx(), &owner, &self.request).await?;
        Ok(Some(Locked { change, row, open }))
    }

    /// Does what is next.
    async fn step(&self) -> Result<(), PluginError> {
        let Some(locked) = self.locked().await? else {
            return Ok(());
        };
        let now = millis(locked.change.now);
        if let Some(why) = over(&locked, now)? {
            return self.end(locked, why).await;
        }
        match locked.open.clone() {
            None => self.begin(locked).await,
            Some(turn) if turn.state == "granted" => self.pay(locked).await,
            Some(turn) => {
                drop(locked);
                match &turn.answer {
                    Some(answer) => self.judge(&turn, answer).await,
                    None => self.ask(&turn).await,
                }
            }
        }
    }

    /// Stores where things stand; what is due at once is done at once.
    async fn save(&self, mut locked: Locked, turn: Option<&TurnRow>) -> Result<(), PluginError> {
        let owner = self.keeper.owner;
        let tx = locked.change.tx();
        if let Some(turn) = turn {
            store::put_turn(tx, &owner, &self.request, turn).await?;
        }
        store::put_approval(tx, &owner, &locked.row).await?;
        let soon = locked.row.ended_at.is_none() && locked.row.next_at <= clock::now_ms();
        locked.change.commit().await?;
        if soon {
            self.agent.turns().notify_one();
        }
        Ok(())
    }

    /// Nothing more is paid of it.
    async fn end(&self, mut locked: Locked, why: &str) -> Result<(), PluginError> {
        let (owner, now) = (self.keeper.owner, millis(locked.change.now));
        store::end_open_turn(locked.change.tx(), &owner, &self.request, why, now).await?;
        locked.row.end(why, now);
        let request = self.request;
        locked.change.tell_of_approval(self.payee, &request, why);
        self.save(locked, None).await
    }

    /// Asks for the next turn, if it is due.
    async fn begin(&self, mut locked: Locked) -> Result<(), PluginError> {
        let (owner, now) = (self.keeper.owner, locked.change.now);
        let signed = locked.row.signed()?;
        let asked = signed.record();
        let first = locked.row.first_turn;
        let next = store::next_turn(locked.change.tx(), &owner, &self.request, first).await?;
        let every = asked.every.as_ref().ok_or_else(approvals::unknown)?;
        let turn = u32::try_from(next).unwrap_or(u32::MAX);
        if every.count.is_some_and(|count| turn >= count) {
            return self.end(locked, "done").await;
        }
        locked.row.tries = 0;
        if asked.turn_due(now).is_none_or(|due| turn > due) {
            let (due, now) = (millis(every.turn_at(turn)), millis(now));
            locked.row.next_at = due.clamp(now.saturating_add(1), now.saturating_add(LATEST_MS));
            locked.row.why = None;
            return self.save(locked, None).await;
        }
        let last = store::last_attempt(locked.change.tx(), &owner, &self.request, next).await?;
        let attempt = last
            .as_ref()
            .map_or(0, |last| last.attempt.saturating_add(1));
        if let Some(last) = last {
            let ended = last.ended_at.unwrap_or(last.asked_at);
            // What a payee said before the user approved anew says nothing now.
            let reason = last.reason.filter(|_| ended >= locked.row.created_at);
            if let Some(why) = reason.as_deref().and_then(final_word) {
                return self.end(locked, why).await;
            }
            let wait = longer(NEXT_MS, last.attempt);
            let not_before = ended.saturating_add(wait);
            if reason.is_some() && not_before > millis(now) {
                (locked.row.next_at, locked.row.why) = (not_before, reason);
                return self.save(locked, None).await;
            }
        }
        let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
        let part = Part {
            v: Version,
            id: turn_part(&self.request, &owner, turn, attempt),
            request: self.request,
            from: owner,
            to: self.payee,
            amount: approvals::amount(asked)?,
            turn: Some(turn),
            reply: Some(approvals::reply_to(self.state, &self.keeper)?),
            at: now,
        };
        let part = Signed::sign(part, &self.keeper.pen).map_err(|error| refused(&error))?;
        let row = asked_row(&part, (next, i64::from(attempt)), millis(now));
        locked.change.note(self.payee, &AnyRecord::from(part));
        locked.row.next_at = millis(now);
        self.save(locked, Some(&row)).await?;
        fault::point("agent_turn_asked");
        Ok(())
    }

    /// Sends what was asked for, once more if there is no answer.
    async fn ask(&self, turn: &TurnRow) -> Result<(), PluginError> {
        let owner = self.keeper.owner;
        if clock::now_ms().saturating_sub(turn.asked_at) > GIVE_UP_MS {
            return self
                .settle(turn, |open| {
                    open.end("ended", Some("no_answer"), clock::now_ms())
                })
                .await;
        }
        let profile = store::profile(&self.state.pool, &owner, &self.payee).await?;
        let sent = match profile.flatten() {
            Some(profile) => {
                let parties = (&owner, &self.payee);
                let records = vec![turn.record.clone()];
                deliver::letter(self.state, parties, &profile, records).await
            }
            None => Err(PluginError::Unavailable {
                code: "not_delivered",
                detail: "they have no profile",
                retry_after: POLL,
            }),
        };
        if let Err(error) = sent {
            // They may have moved. Whatever comes of this, it is tried again.
            let _ = lookup::profile(self.state, self.agent, (owner, self.payee)).await;
            return Err(error);
        }
        let Some(mut locked) = self.locked().await? else {
            return Ok(());
        };
        let waits = |open: &TurnRow| open.id == turn.id && open.answer.is_none();
        if locked.open.as_ref().is_some_and(waits) {
            locked.row.next_at = clock::now_ms().saturating_add(AGAIN_MS);
            locked.row.tries = 0;
            self.save(locked, None).await?;
        }
        Ok(())
    }

    /// Changes what is asked for, if that is still what it was, and has it looked at once more.
    async fn settle(
        &self,
        turn: &TurnRow,
        change: impl FnOnce(&mut TurnRow),
    ) -> Result<(), PluginError> {
        let Some(mut locked) = self.locked().await? else {
            return Ok(());
        };
        let Some(mut open) = locked.open.take().filter(|open| open == turn) else {
            return Ok(());
        };
        change(&mut open);
        (locked.row.next_at, locked.row.tries) = (millis(locked.change.now), 0);
        if open.state == "paid" {
            let unit = locked.row.signed()?.record().unit.to_string();
            locked
                .change
                .tell_of_turn(self.payee, &self.request, &unit, &open);
        }
        self.save(locked, Some(&open)).await
    }

    /// Takes what the payee answered.
    async fn judge(&self, turn: &TurnRow, answer: &str) -> Result<(), PluginError> {
        let answer: Signed<PartAnswer> = Signed::decode(answer)
            .map_err(|error| PluginError::Internal(format!("a stored answer: {error}")))?;
        match approvals::authorized(self.state, &self.payee, answer.kid()).await {
            Ok(()) => {}
            Err(error @ PluginError::Refused { .. }) => {
                tracing::debug!(code = error.code(), "an answer is void: {error}");
                return self.settle(turn, |open| open.answer = None).await;
            }
            Err(error) => return Err(error),
        }
        let now = clock::now_ms();
        let said = &answer.record().said;
        self.settle(turn, |open| match said {
            PartSaid::Refused {
                reason: PartReason::Paid,
            } => open.end("paid", Some("paid_already"), now),
            PartSaid::Refused { reason } => open.end("refused", Some(reason.code()), now),
            PartSaid::Granted {
                amount,
                until,
                invoice: None,
                target: None,
            } if i64::try_from(amount.minor()) == Ok(open.amount) => {
                open.state = "granted".to_owned();
                open.until = Some(millis(*until));
            }
            PartSaid::Granted { .. } => open.end("refused", Some("answer_unusable"), now),
        })
        .await
    }

    /// Pays what was granted, in one transaction with the word that it is paid.
    async fn pay(&self, mut locked: Locked) -> Result<(), PluginError> {
        fault::point("agent_turn_granted");
        let now = millis(locked.change.now);
        let Some(mut turn) = locked.open.take() else {
            return Ok(());
        };
        if turn.until.is_none_or(|until| until <= now) {
            let why = locked.row.why.clone();
            let why = why.unwrap_or_else(|| "not_paid_in_time".to_owned());
            turn.end("ended", Some(&why), now);
            locked.row.next_at = now;
            return self.save(locked, Some(&turn)).await;
        }
        let signed = locked.row.signed()?;
        let asked = signed.record();
        let id: RecordId = turn.id.parse().map_err(|error| refused(&error))?;
        let reference: Memo = turn.id.parse().map_err(|error| refused(&error))?;
        let minor = u64::try_from(turn.amount).unwrap_or(0);
        let spending = Spending {
            peer: self.payee,
            unit: asked.unit.clone(),
            amount: Amount::from_minor(minor).map_err(|error| refused(&error))?,
        };
        let note = PaymentNote {
            id,
            reference: Some(reference),
            memo: asked.memo.clone(),
        };
        let [books, payment] = sign(&mut locked.change, &spending, note).await?;
        turn.payment = Some(payment.hash());
        turn.end("paid", None, now);
        locked.change.send(self.payee, &books);
        locked.change.send(self.payee, &payment);
        let unit = asked.unit.to_string();
        locked
            .change
            .tell_of_turn(self.payee, &self.request, &unit, &turn);
        // What was due meanwhile comes next.
        (locked.row.next_at, locked.row.tries) = (now, 0);
        locked.row.why = None;
        self.save(locked, Some(&turn)).await
    }

    /// Something failed: it is tried again later, and the user told once what stands in the way.
    async fn put_off(&self, error: &PluginError) -> Result<(), PluginError> {
        if error.code() == stopped().code() {
            return Ok(());
        }
        let Some(mut locked) = self.locked().await? else {
            return Ok(());
        };
        let now = millis(locked.change.now);
        let wait = longer(RETRY_MS, locked.row.tries);
        locked.row.next_at = now.saturating_add(wait);
        locked.row.tries = locked.row.tries.saturating_add(1);
        let is_new = locked.row.why.as_deref() != Some(error.code());
        locked.row.why = Some(error.code().to_owned());
        if let (true, PluginError::Refused { .. }, Some(open)) = (is_new, error, &locked.open) {
            let unit = locked.row.signed()?.record().unit.to_string();
            let mut waits = open.clone();
            (waits.state, waits.reason) = ("waits".to_owned(), locked.row.why.clone());
            locked
                .change
                .tell_of_turn(self.payee, &self.request, &unit, &waits);
        }
        self.save(locked, None).await
    }
}

/// Why nothing more may be paid of it, if so.
fn over(locked: &Locked, now: i64) -> Result<Option<&'static str>, PluginError> {
    let row = &locked.row;
    if locked.change.pair(&row.payee).is_none() {
        return Ok(Some("books_returned"));
    }
    if row.until.is_some_and(|until| until <= now) {
        return Ok(Some("approval_expired"));
    }
    let signed = row.signed()?;
    let granted = locked
        .open
        .as_ref()
        .is_some_and(|open| open.state == "granted");
    let expired = signed.record().has_expired(locked.change.now);
    Ok((expired && !granted).then_some("request_expired"))
}

/// What of a payee's words ends an approval.
fn final_word(reason: &str) -> Option<&'static str> {
    [
        PartReason::Closed,
        PartReason::Expired,
        PartReason::NotDirect,
    ]
    .into_iter()
    .map(PartReason::code)
    .find(|code| *code == reason)
}

fn asked_row(part: &Signed<Part>, (turn, attempt): (i64, i64), now: i64) -> TurnRow {
    let record = part.record();
    TurnRow {
        turn,
        attempt,
        id: record.id.to_string(),
        record: part.jws().to_owned(),
        hash: *part.hash().as_bytes(),
        amount: i64::try_from(record.amount.minor()).unwrap_or(i64::MAX),
        state: "asked".to_owned(),
        answer: None,
        until: None,
        payment: None,
        reason: None,
        asked_at: now,
        ended_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_waits_longer_each_time_and_never_too_long() {
        let waits: Vec<i64> = (0..6).map(|n| longer(NEXT_MS, n)).collect();
        assert_eq!(waits, [10_000, 20_000, 40_000, 80_000, 160_000, 320_000]);
        assert_eq!(longer(NEXT_MS, i64::MAX), NEXT_MS.1);
        assert_eq!(longer(RETRY_MS, -1), RETRY_MS.0);
    }

    #[test]
    fn only_what_can_not_change_ends_an_approval() {
        assert_eq!(final_word("request_closed"), Some("request_closed"));
        assert_eq!(final_word("not_direct"), Some("not_direct"));
        for passes in ["request_busy", "wrong_turn", "part_ended", "no_answer"] {
            assert_eq!(final_word(passes), None);
        }
    }
}
