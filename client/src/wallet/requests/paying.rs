//! The payer's side: asking for a part, and paying it once it is granted.
//!
//! A part is stored before it is asked for, and names what is paid: its invoice is paid at most once by the payments' own rules, a
//! direct payment refers to it. Whoever comes back after a crash finds the same part and goes on with it.

use std::time::{Duration, Instant};

use atomicity_ledger::jws::Version;
use atomicity_ledger::onion::FailureCode;
use atomicity_ledger::record::{Goal, Invoice, Part, PartReason, PaymentRequest, turn_part};
use atomicity_ledger::{Amount, Memo, Money, RecordId, Signed};
use sha2::{Digest as _, Sha256};

use super::super::{
    IssueOptions, MadeKind, PayOptions, PayProgress, PayTarget, Payable, PaymentFault, Wallet,
    entropy, now,
};
use super::view::own_part;
use super::{BATCH, PayingStage, RequestFault, RequestPart};
use crate::error::ClientError;
use crate::store::history;
use crate::store::requests::approvals::{self, ApprovalPlace};
use crate::store::requests::letters;
use crate::store::requests::paying::{self, AskedRow, PayingRow};

/// How long a payee is waited for.
pub const PART_PATIENCE: Duration = Duration::from_secs(60);
/// Pauses while a payee is waited for.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a part without an answer is asked for again, milliseconds.
pub(super) const AGAIN_MS: u64 = 5 * 60 * 1000;
/// How often a part is asked for whose payment came when its time was over.
const MAX_ROUNDS: u32 = 3;
/// Why a part ended that was granted, and for which nothing was paid.
pub(super) const NOT_IN_TIME: &str = "not_paid_in_time";

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
        let mut rounds = 0;
        loop {
            rounds += 1;
            let asked = self.with_state(asked.clone()).await?;
            let row = self.part_to_pay(&asked, amount).await?;
            progress(RequestProgress::Asking);
            self.send_soon().await?;
            let row = self.await_grant(&row.id, patience).await?;
            if row.stage == PayingStage::Paid {
                return Ok(own_part(&row, self.user()));
            }
            progress(RequestProgress::Granted(row.amount.minor()));
            match self
                .pay_granted(&row, &asked, options, &mut progress)
                .await?
            {
                None => {}
                // It was kept for this user for too short a time.
                Some(_) if rounds < MAX_ROUNDS => {
                    self.end_part(&row.id, PayingStage::Ended, Some(NOT_IN_TIME))
                        .await?;
                    continue;
                }
                Some(fault) => return Err(fault.into()),
            }
            self.end_part(&row.id, PayingStage::Paid, None).await?;
            self.send_soon().await?;
            return Ok(own_part(&self.paying(&row.id).await?, self.user()));
        }
    }

    /// The part to pay: what this operation asked for before, what is not over, or a new one.
    async fn part_to_pay(
        &self,
        asked: &AskedRow,
        amount: Option<&Money>,
    ) -> Result<PayingRow, ClientError> {
        if let Some(part) = self.made_before(MadeKind::Part).await? {
            let row = self.paying(&part).await?;
            // Nothing was paid for one that ended so: another takes its place.
            if row.stage != PayingStage::Ended || row.reason.as_deref() != Some(NOT_IN_TIME) {
                return Ok(row);
            }
        }
        if let Some(row) = self.unfinished(asked, amount).await? {
            self.goes_on_with(MadeKind::Part, &row.id).await?;
            return Ok(row);
        }
        let (amount, turn) = self.what_to_pay(asked, amount).await?;
        self.keep_asked(asked).await?;
        self.want_part(asked, amount, turn, false).await
    }

    /// Pays what was granted. Says so if nothing was paid since the payee knows of it no more: its time is over.
    async fn pay_granted(
        &self,
        row: &PayingRow,
        asked: &AskedRow,
        options: &PayOptions,
        mut progress: impl FnMut(RequestProgress),
    ) -> Result<Option<PaymentFault>, ClientError> {
        let Some(jws) = &row.invoice else {
            self.pay_directly(row, &asked.record).await?;
            return Ok(None);
        };
        let payable = payable(jws)?;
        let paid = self
            .plain()
            .pay(&payable, options, |step| {
                progress(RequestProgress::Paying(step));
            })
            .await;
        match paid {
            Ok(_) | Err(ClientError::Payment(PaymentFault::AlreadyPaid(_))) => Ok(None),
            Err(ClientError::Payment(PaymentFault::BeingPaid(_) | PaymentFault::Undecided(_))) => {
                Err(RequestFault::Undecided(row.id.to_string()).into())
            }
            Err(ClientError::Payment(PaymentFault::NotThrough(why)))
                if why == FailureCode::UnknownInvoice.as_str()
                    && row.until.is_some_and(|until| until <= now().millis()) =>
            {
                Ok(Some(PaymentFault::NotThrough(why)))
            }
            Err(ClientError::Payment(PaymentFault::InvoiceExpired)) => {
                Ok(Some(PaymentFault::InvoiceExpired))
            }
            Err(error) => Err(error),
        }
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
    pub(in super::super) async fn want_part(
        &self,
        asked: &AskedRow,
        amount: Amount,
        turn: Option<u32>,
        by_itself: bool,
    ) -> Result<PayingRow, ClientError> {
        let mut change = self.change().await?;
        let now = change.now;
        let request = asked.record.hash();
        let id = match turn {
            Some(turn) => {
                let approval = approvals::approval(change.conn(), &request).await?;
                if approval.is_some_and(|row| row.place != ApprovalPlace::Here) {
                    let name = asked.record.record().id.to_string();
                    return Err(RequestFault::AgentPays(name).into());
                }
                let attempt = paying::attempts(change.conn(), &request, turn).await?;
                turn_part(&request, &self.user(), turn, attempt)
            }
            None => RecordId::from_entropy(entropy()),
        };
        let part = Part {
            v: Version,
            id,
            request,
            from: self.user(),
            to: asked.record.record().payee,
            amount,
            turn,
            reply: None,
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
        self.note_made_instead(change.conn(), MadeKind::Part, &row.id)
            .await?;
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
    pub(super) async fn pay_directly(
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
        // Under the part's own name, so that it is given once also where two processes are at it, or the agent's answer was lost.
        let key = format!("part/{name}");
        let asked: [u8; 32] = Sha256::digest(row.record.as_bytes()).into();
        self.begin_operation(&key, &asked).await?;
        let given = self.lent_for(&key).issue(&row.payee, money, options).await;
        match given {
            Ok(_) => Ok(()),
            Err(ClientError::Payment(PaymentFault::BeingPaid(_))) => {
                Err(RequestFault::Undecided(name).into())
            }
            Err(error) => Err(error),
        }
    }

    /// What a part of mine cost beyond its amount, in minor units.
    pub(in super::super) async fn fee_of_part(&self, id: &RecordId) -> Result<u64, ClientError> {
        let row = self.paying(id).await?;
        let Some(jws) = &row.invoice else {
            return Ok(0);
        };
        let invoice: Signed<Invoice> = Signed::decode(jws)?;
        let hash = invoice.record().hash;
        let all = self.payments().await?;
        let paid = all.iter().find(|payment| payment.hash == hash);
        Ok(paid.map_or(0, |payment| payment.fee))
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
}

pub(super) fn payable(invoice: &str) -> Result<Payable, ClientError> {
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
    use PartReason::{
        Busy, Closed, Ended, Expired, Full, NotDirect, TooLarge, TooSmall, WrongTurn,
    };
    let all = [
        Full, Closed, Ended, NotDirect, Expired, TooSmall, TooLarge, WrongTurn, Busy,
    ];
    let found = all.into_iter().find(|reason| code == Some(reason.code()));
    match (found, code) {
        (Some(reason), _) => RequestFault::Refused(reason),
        (None, Some("answer_unusable")) => RequestFault::Unusable,
        (None, _) => RequestFault::NoAnswer,
    }
}
