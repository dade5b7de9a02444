//! The payer's side: asking for a part, and paying it once it is granted.
//!
//! A part is stored before it is asked for, and names what is paid: its invoice is paid at most once by the payments' own rules, a
//! direct payment refers to it. Whoever comes back after a crash finds the same part and goes on with it.

use std::time::{Duration, Instant};

use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{Goal, Invoice, Part, PartReason, PaymentRequest};
use atomicity_ledger::{Amount, Memo, Money, PaymentHash, RecordId, Signed};

use super::super::{
    IssueOptions, PayOptions, PayProgress, PayTarget, Payable, PaymentFault, Wallet, WalletEvent,
    WalletEventKind, entropy, now,
};
use super::view::own_part;
use super::{BATCH, PayingStage, RequestFault, RequestPart, is_grave};
use crate::error::ClientError;
use crate::store::history;
use crate::store::payments::{self, PaymentState};
use crate::store::requests::letters;
use crate::store::requests::paying::{self, AskedRow, PayingRow};

/// How long a payee is waited for.
pub const PART_PATIENCE: Duration = Duration::from_secs(60);
/// Pauses while a payee is waited for.
const PAUSE: Duration = Duration::from_millis(200);
/// After this long without an answer a part is given up, milliseconds: nothing was promised.
const GIVE_UP_MS: u64 = 24 * 3600 * 1000;
/// How often a part without an answer is asked for again, milliseconds.
const AGAIN_MS: u64 = 5 * 60 * 1000;
/// How long after its end a part's payment may still be begun by a process that found it in time, milliseconds.
const SLACK_MS: u64 = 6 * 60 * 1000;
/// How soon a part is looked at again that is being paid, milliseconds.
const SOON_MS: u64 = 1000;
/// The longest wait between two tries of one part, milliseconds.
const MAX_BACKOFF_MS: u64 = 60_000;

/// How far paying a part is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RequestProgress {
    /// The payee is asked for a part.
    Asking,
    /// So much is kept for this user, in minor units.
    Granted(u64),
    /// It is being paid.
    Paying(PayProgress),
}

impl Wallet {
    /// Pays a request, or a part of it: asks the payee for it, and pays what is granted, over friends of friends or directly. Whatever
    /// was asked for before and is not over is gone on with.
    ///
    /// # Errors
    /// [`RequestFault`] saying why nothing is paid; [`ClientError::Payment`] with the reason why it did not get through.
    pub async fn pay_request(
        &self,
        link_or_id: &str,
        amount: Option<&Money>,
        options: &PayOptions,
        patience: Duration,
        mut progress: impl FnMut(RequestProgress),
    ) -> Result<RequestPart, ClientError> {
        self.ensure_may_sign().await?;
        let asked = self.asked(link_or_id).await?;
        let asked = self.with_state(asked).await?;
        let row = match self.unfinished(&asked, amount).await? {
            Some(row) => row,
            None => {
                let (amount, turn) = self.what_to_pay(&asked, amount).await?;
                self.keep_asked(&asked).await?;
                self.want_part(&asked, amount, turn, false).await?
            }
        };
        progress(RequestProgress::Asking);
        self.send_soon().await?;
        let row = self.await_grant(&row.id, patience).await?;
        progress(RequestProgress::Granted(row.amount.minor()));
        match &row.invoice {
            Some(jws) => {
                let payable = payable(jws)?;
                let paid = self
                    .pay(&payable, options, |step| {
                        progress(RequestProgress::Paying(step));
                    })
                    .await;
                match paid {
                    Ok(_) => {}
                    Err(ClientError::Payment(PaymentFault::AlreadyPaid(_))) => {}
                    Err(ClientError::Payment(
                        PaymentFault::BeingPaid(_) | PaymentFault::Undecided(_),
                    )) => return Err(RequestFault::Undecided(row.id.to_string()).into()),
                    Err(error) => return Err(error),
                }
            }
            None => self.pay_directly(&row, &asked.record).await?,
        }
        self.end_part(&row.id, PayingStage::Paid, None).await?;
        self.send_soon().await?;
        Ok(own_part(&self.paying(&row.id).await?, self.user()))
    }

    /// A part that was asked for before, for as much, and can still be paid.
    async fn unfinished(
        &self,
        asked: &AskedRow,
        amount: Option<&Money>,
    ) -> Result<Option<PayingRow>, ClientError> {
        let hash = asked.record.hash();
        let rows = paying::of_request(&mut *self.store().read().await?, &hash, BATCH).await?;
        let at = now().millis();
        let fits = |row: &PayingRow| {
            let in_time = row.until.is_none_or(|until| until > at);
            let same = amount.is_none_or(|money| money.amount == row.amount);
            !row.stage.is_over() && in_time && same
        };
        Ok(rows.into_iter().find(fits))
    }

    /// How much is to be asked for, and of which turn.
    async fn what_to_pay(
        &self,
        asked: &AskedRow,
        given: Option<&Money>,
    ) -> Result<(Amount, Option<u32>), ClientError> {
        let record = asked.record.record();
        if record.payee == self.user() {
            return Err(RequestFault::Own.into());
        }
        if !record.asks(self.user()) {
            return Err(RequestFault::NotAsked.into());
        }
        let hash = asked.record.hash();
        if record.every.is_none() && matches!(record.amount, Goal::Exact(_)) {
            let mut conn = self.store().read().await?;
            let rows = paying::of_request(&mut conn, &hash, BATCH).await?;
            if rows.iter().any(|row| row.stage == PayingStage::Paid) {
                return Err(RequestFault::AlreadyPaid(record.id.to_string()).into());
            }
        }
        if record.has_expired(now()) {
            return Err(RequestFault::Refused(PartReason::Expired).into());
        }
        if let Some(given) = given.filter(|given| given.unit != record.unit) {
            let (asked, given) = (record.unit.clone(), given.unit.clone());
            return Err(PaymentFault::WrongUnit { asked, given }.into());
        }
        let state = asked.state.as_ref().map(Signed::record);
        if state.is_some_and(|state| !state.open) {
            let reason = match record.amount.most() {
                Some(most) if state.is_some_and(|s| s.filled.minor() >= most.minor()) => {
                    PartReason::Full
                }
                _ => PartReason::Closed,
            };
            return Err(RequestFault::Refused(reason).into());
        }
        let given = given.map(|given| given.amount);
        match &record.amount {
            Goal::Exact(exact) => {
                if given.is_some_and(|given| given != *exact) {
                    let text = |amount: Amount| record.unit.format_minor(amount.minor());
                    return Err(PaymentFault::AmountFixed {
                        asked: text(*exact),
                        given: given.map(text).unwrap_or_default(),
                    }
                    .into());
                }
                if record.every.is_none() {
                    return Ok((*exact, None));
                }
                let due = record.turn_due(now()).ok_or(RequestFault::NothingDue)?;
                let taken = paying::turns(&mut *self.store().read().await?, &hash).await?;
                let turn = (0..=due).find(|turn| !taken.contains(turn));
                Ok((*exact, Some(turn.ok_or(RequestFault::NothingDue)?)))
            }
            Goal::Target { amount, .. } => {
                let taken =
                    state.map_or(0, |s| s.filled.minor().saturating_add(s.reserved.minor()));
                let left = Amount::from_minor(amount.minor().saturating_sub(taken));
                let rest = left.map_err(|_| RequestFault::Refused(PartReason::Full));
                Ok((given.map_or(rest, Ok)?, None))
            }
            Goal::Open { .. } => Ok((given.ok_or(PaymentFault::AmountMissing)?, None)),
        }
    }

    /// Stores a part and the letter that asks for it.
    pub(super) async fn want_part(
        &self,
        asked: &AskedRow,
        amount: Amount,
        turn: Option<u32>,
        by_itself: bool,
    ) -> Result<PayingRow, ClientError> {
        let mut change = self.change().await?;
        let now = change.now;
        let part = Part {
            v: Version,
            id: RecordId::from_entropy(entropy()),
            request: asked.record.hash(),
            from: self.user(),
            to: asked.record.record().payee,
            amount,
            turn,
            at: now,
        };
        let signed = Signed::sign(part, &change.keys.pen)?;
        let row = PayingRow {
            id: signed.record().id,
            request: asked.record.hash(),
            record: signed.jws().to_owned(),
            payee: signed.record().to,
            turn,
            amount,
            stage: PayingStage::Asked,
            until: None,
            invoice: None,
            reason: None,
            by_itself,
            next_at: now.millis().saturating_add(AGAIN_MS),
            tries: 0,
            created_at: now.millis(),
            ended_at: None,
        };
        paying::put(change.conn(), &row).await?;
        let records = [row.record.clone()];
        letters::send(change.conn(), &row.payee, &records, now.millis()).await?;
        change.commit().await?;
        Ok(row)
    }

    async fn await_grant(
        &self,
        id: &RecordId,
        patience: Duration,
    ) -> Result<PayingRow, ClientError> {
        let began = Instant::now();
        loop {
            let row = self.paying(id).await?;
            match row.stage {
                PayingStage::Granted | PayingStage::Paid => return Ok(row),
                PayingStage::Refused | PayingStage::Ended => {
                    return Err(refusal(row.reason.as_deref()).into());
                }
                PayingStage::Asked => {}
            }
            if began.elapsed() >= patience {
                return Err(RequestFault::NoAnswer.into());
            }
            tokio::time::sleep(PAUSE).await;
            let look = async {
                self.flush().await?;
                self.read_inboxes().await?;
                self.read_letters().await.map(|_| ())
            };
            match look.await {
                Err(error) if error.is_network() || error.is_transient() => {
                    tracing::info!(code = error.code(), "no news: {error}");
                }
                other => other?,
            }
        }
    }

    /// Gives a friend what was granted, with the part's name beside it; once, whoever does it how often.
    async fn pay_directly(
        &self,
        row: &PayingRow,
        asked: &Signed<PaymentRequest>,
    ) -> Result<(), ClientError> {
        let name = row.id.to_string();
        let mut conn = self.store().read().await?;
        if history::was_sent_for(&mut conn, &row.payee, &name).await? {
            return Ok(());
        }
        drop(conn);
        let money = Money {
            amount: row.amount,
            unit: asked.record().unit.clone(),
        };
        let reference: Memo = name.parse()?;
        let memo = asked.record().memo.clone();
        let options = IssueOptions::described(memo, Some(reference));
        self.issue(&row.payee, money, options).await?;
        Ok(())
    }

    pub(super) async fn end_part(
        &self,
        id: &RecordId,
        stage: PayingStage,
        reason: Option<&str>,
    ) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        let row = paying::get(tx.conn(), id).await?;
        let Some(mut row) = row.filter(|row| !row.stage.is_over()) else {
            return Ok(());
        };
        row.stage = stage;
        row.reason = reason.map(str::to_owned);
        row.ended_at = Some(now().millis());
        paying::put(tx.conn(), &row).await?;
        tx.commit().await
    }

    /// Goes on with parts: what was paid is noted, what is approved is paid, what is over ends.
    pub(super) async fn go_on_paying(&self) -> Result<Vec<WalletEvent>, ClientError> {
        let mut told = Vec::new();
        let due = paying::due(&mut *self.store().read().await?, now().millis(), BATCH).await?;
        for row in due {
            match self.go_on_with(&row).await {
                Ok(event) => told.extend(event),
                Err(error) if is_grave(&error) => return Err(error),
                Err(error) => {
                    tracing::info!(code = error.code(), "a part is not paid yet: {error}");
                    let wait = 1000_u64.saturating_mul(1 << row.tries.min(10));
                    let reason = Some(error.code().to_owned());
                    self.look_later(&row.id, wait.min(MAX_BACKOFF_MS), reason)
                        .await?;
                }
            }
        }
        Ok(told)
    }

    async fn look_later(
        &self,
        id: &RecordId,
        wait: u64,
        reason: Option<String>,
    ) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        if let Some(mut row) = paying::get(tx.conn(), id).await? {
            row.next_at = now().millis().saturating_add(wait);
            row.tries = row.tries.saturating_add(u64::from(reason.is_some()));
            row.reason = reason.or(row.reason);
            paying::put(tx.conn(), &row).await?;
        }
        tx.commit().await
    }

    async fn go_on_with(&self, row: &PayingRow) -> Result<Option<WalletEvent>, ClientError> {
        let at = now().millis();
        if row.stage == PayingStage::Asked {
            if at.saturating_sub(row.created_at) > GIVE_UP_MS {
                self.end_part(&row.id, PayingStage::Ended, Some("no_answer"))
                    .await?;
            } else {
                let mut tx = self.store().write().await?;
                let records = [row.record.clone()];
                letters::send(tx.conn(), &row.payee, &records, at).await?;
                tx.commit().await?;
                self.look_later(&row.id, AGAIN_MS, None).await?;
            }
            return Ok(None);
        }
        let asked = paying::asked(&mut *self.store().read().await?, &row.request).await?;
        let Some(asked) = asked else { return Ok(None) };
        let over = |slack| {
            row.until
                .is_some_and(|until| at > until.saturating_add(slack))
        };
        let standing = match &row.invoice {
            Some(jws) => {
                let invoice: Signed<Invoice> = Signed::decode(jws)?;
                self.paid_under(&invoice.record().hash).await?
            }
            None => {
                let name = row.id.to_string();
                let mut conn = self.store().read().await?;
                let sent = history::was_sent_for(&mut conn, &row.payee, &name).await?;
                sent.then_some(true)
            }
        };
        match standing {
            Some(true) => {
                self.end_part(&row.id, PayingStage::Paid, None).await?;
                return Ok(Some(self.turn_paid(row, &asked)));
            }
            Some(false) => {
                self.look_later(&row.id, SOON_MS, None).await?;
                return Ok(None);
            }
            None => {}
        }
        if over(SLACK_MS) {
            let reason = row.reason.clone();
            let reason = reason.unwrap_or_else(|| "not_paid_in_time".to_owned());
            self.end_part(&row.id, PayingStage::Ended, Some(&reason))
                .await?;
            return Ok(None);
        }
        if !row.by_itself || over(0) {
            self.look_later(&row.id, SOON_MS, None).await?;
            return Ok(None);
        }
        let Some(options) = self.allowed_for_turn(row).await? else {
            self.end_part(&row.id, PayingStage::Ended, Some("revoked"))
                .await?;
            return Ok(None);
        };
        match &row.invoice {
            Some(jws) => {
                self.ensure_may_sign().await?;
                self.begin_payment(&payable(jws)?, &options).await?;
            }
            None => self.pay_directly(row, &asked.record).await?,
        }
        self.look_later(&row.id, 0, None).await?;
        Ok(None)
    }

    /// Whether what hangs on a hash is paid (`true`), may come to be (`false`), or neither.
    async fn paid_under(&self, hash: &PaymentHash) -> Result<Option<bool>, ClientError> {
        let standing = payments::standing(&mut *self.store().read().await?, hash).await?;
        let paid = standing.iter().any(|row| row.state == PaymentState::Paid);
        Ok((!standing.is_empty()).then_some(paid))
    }

    fn turn_paid(&self, row: &PayingRow, asked: &AskedRow) -> WalletEvent {
        WalletEvent {
            at: now().millis(),
            user: Some(row.payee),
            friend: None,
            kind: WalletEventKind::PartPaid {
                request: asked.record.record().id,
                part: row.id,
                turn: row.turn,
                unit: asked.record.record().unit.clone(),
                amount: row.amount.minor(),
            },
        }
    }
}

fn payable(invoice: &str) -> Result<Payable, ClientError> {
    let invoice: Signed<Invoice> = Signed::decode(invoice)?;
    let record = invoice.record();
    let amount = record.amount.ok_or(PaymentFault::AmountMissing)?;
    Ok(Payable {
        money: Money {
            amount,
            unit: record.unit.clone(),
        },
        memo: record.memo.clone(),
        target: PayTarget::Invoice(Box::new(invoice)),
    })
}

/// The payee's refusal, from its stored code.
fn refusal(code: Option<&str>) -> RequestFault {
    use PartReason::{Busy, Closed, Expired, Full, TooLarge, TooSmall, WrongTurn};
    let all = [Full, Closed, Expired, TooSmall, TooLarge, WrongTurn, Busy];
    let found = all
        .into_iter()
        .find(|reason| code == Some(super::fault::reason_code(*reason)));
    match (found, code) {
        (Some(reason), _) => RequestFault::Refused(reason),
        (None, Some("answer_unusable")) => RequestFault::Unusable,
        (None, _) => RequestFault::NoAnswer,
    }
}
