//! Going on with payments: what waits for a server or for another way. Any process of the wallet may do it, after a crash as well.

use std::time::{Duration, Instant};

use atomicity_ledger::hop::{Attempt, CollectionStage};
use atomicity_ledger::jws::peek_typ;
use atomicity_ledger::record::{Revocation, Terms};
use atomicity_ledger::{Record as _, RecordId, SignerKey, UserKey};

use super::super::event::{WalletEvent, WalletEventKind};
use super::super::{Direction, HistoryItem, MadeKind, SecretOrHash, Wallet, now, routed};
use super::fault::PaymentFault;
use super::send::LEASE_MS;
use super::target::Payable;
use super::ways::{Need, Way};
use super::word::{avoided, failure_of, final_word, last_word};
use super::{PayOptions, PaymentState, PaymentView, Plan, open_attempt};
use crate::error::ClientError;
use crate::store::payments::{self, PaymentRow};
use crate::store::{invoices, json_in};

/// How often ways are looked for.
const MAX_TRIES: u64 = 8;
/// With less time left before the deadline no other way is taken on the same terms, milliseconds.
const MIN_LEFT_MS: u64 = 20_000;
/// With less time left nothing is published for somebody who is away, milliseconds.
const MIN_PUBLISH_MS: u64 = 3_000;
/// How long after the last deadline a payment is waited for, milliseconds.
const SLACK_MS: u64 = 30_000;
/// Pauses while a payment is waited for.
const PAUSE: Duration = Duration::from_millis(200);
const LOGS_EVERY: Duration = Duration::from_secs(2);
const FILES_EVERY: Duration = Duration::from_secs(4);

/// What a payment would cost, or how it went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PayProgress {
    /// Ways are looked for.
    Searching,
    /// Promised, and waiting for what becomes of it.
    Waiting(Box<PaymentView>),
}

impl Wallet {
    /// The ways in which this could be paid now, cheapest first. Signs nothing.
    ///
    /// # Errors
    /// [`ClientError::Payment`] with the reason why it can't be paid.
    pub async fn ways_to_pay(
        &self,
        payable: &Payable,
        options: &PayOptions,
    ) -> Result<Vec<Way>, ClientError> {
        let plan = self.plan(payable, options).await?;
        Ok(self.find_ways(&plan, &Need::all(&plan)).await?.ways)
    }

    /// Pays over friends, and waits until that is decided: other ways are tried while the time allows. Once promises are signed,
    /// `sync` and `watch` go on with it, whatever becomes of this call.
    ///
    /// # Errors
    /// [`ClientError::Payment`] with the reason why nothing was signed, why it did not get through (nothing is owed then), or that it
    /// is not decided yet; as [`Wallet::promise`].
    pub async fn pay(
        &self,
        payable: &Payable,
        options: &PayOptions,
        mut progress: impl FnMut(PayProgress),
    ) -> Result<PaymentView, ClientError> {
        let id = match self.made_before(MadeKind::Payment).await? {
            Some(id) => id,
            None => {
                self.ensure_may_sign().await?;
                progress(PayProgress::Searching);
                self.begin_payment(payable, options).await?
            }
        };
        self.plain().wait_for_payment(&id, progress).await
    }

    /// Waits until a payment is decided, and goes on with it meanwhile.
    ///
    /// # Errors
    /// As [`Wallet::pay`].
    pub async fn wait_for_payment(
        &self,
        id: &RecordId,
        mut progress: impl FnMut(PayProgress),
    ) -> Result<PaymentView, ClientError> {
        let (mut logs_read, mut files_read) = (Instant::now(), Instant::now());
        loop {
            self.lease(id).await?;
            self.bear(self.flush().await.map(|_| ()))?;
            self.bear(self.read_news(id, &mut files_read).await)?;
            if logs_read.elapsed() >= LOGS_EVERY {
                logs_read = Instant::now();
                self.bear(self.decide().await.map(|_| ()))?;
            }
            let row = self.payment_row(id).await?;
            if Plan::read(&row)?.is_circle(self.user()) {
                // It comes back to this wallet.
                self.bear(self.drive_invoices().await.map(|_| ()))?;
            }
            self.bear(self.drive_payment(row).await.map(|_| ()))?;
            self.bear(self.flush().await.map(|_| ()))?;
            let row = self.payment_row(id).await?;
            let attempt = open_attempt(&self.keys().await?, &row)?;
            let view = PaymentView::new(&row, &attempt)?;
            match row.state {
                PaymentState::Paid => return Ok(view),
                PaymentState::Failed => return Err(failure_of(&row).into()),
                PaymentState::Open => {}
            }
            let end = attempt.terms().deadline_ms.max(Plan::read(&row)?.until);
            if now().millis() > end.saturating_add(SLACK_MS) {
                return Err(PaymentFault::Undecided(id.to_string()).into());
            }
            progress(PayProgress::Waiting(Box::new(view)));
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What only the network did wrong is over some time: the payment goes on.
    fn bear(&self, done: Result<(), ClientError>) -> Result<(), ClientError> {
        match done {
            Err(
                error @ (ClientError::Net(_)
                | ClientError::AgentAway(_)
                | ClientError::GenerationUnknown(_)),
            ) => {
                tracing::info!(code = error.code(), "later: {error}");
                Ok(())
            }
            other => other,
        }
    }

    async fn lease(&self, id: &RecordId) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        payments::lease(tx.conn(), id, now().millis().saturating_add(LEASE_MS)).await?;
        tx.commit().await
    }

    /// The inbox, and now and then the files of the friends over whom the payment goes.
    async fn read_news(&self, id: &RecordId, files: &mut Instant) -> Result<(), ClientError> {
        self.ensure_may_sign().await?;
        // What becomes of promises over the agent is told by the agent.
        self.tend_agent().await?;
        let report = self.read_inboxes().await?;
        let mut look_at = report.look_at;
        if files.elapsed() >= FILES_EVERY {
            *files = Instant::now();
            for part in self.payment(id).await?.parts {
                look_at.extend(part.hops.first().filter(|_| part.fate == "outstanding"));
            }
        }
        for user in look_at {
            let friend = self.friend(&user.to_z32()).await;
            if let Ok(friend) = friend {
                match self.sync_friend(&friend).await {
                    Ok(_) | Err(ClientError::Net(_) | ClientError::Ledger(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Goes on with everything that waits for this wallet: invoices of which all is there are published, what can't be completed is
    /// given back, payments that failed take another way.
    pub(crate) async fn drive_payments(&self) -> Result<Vec<WalletEvent>, ClientError> {
        let mut told = self.drive_invoices().await?;
        let rows = payments::open(&mut *self.store().read().await?).await?;
        for row in rows {
            if row.lease_until > now().millis() {
                continue;
            }
            match self.drive_payment(row).await {
                Ok(more) => told.extend(more),
                Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
                Err(error) => tracing::info!(code = error.code(), "a payment waits: {error}"),
            }
        }
        Ok(told)
    }

    async fn drive_invoices(&self) -> Result<Vec<WalletEvent>, ClientError> {
        let busy = invoices::busy(&mut *self.store().read().await?).await?;
        if busy.is_empty() {
            return Ok(Vec::new());
        }
        self.ensure_may_sign().await?;
        let mut change = self.change().await?;
        let mut told = routed::tidy(&mut change, self.user()).await?;
        change.commit().await?;
        for hash in busy {
            let row = invoices::of(&mut *self.store().read().await?, &hash).await?;
            let collection = row.map(|row| row.collection);
            let publishing = collection.filter(|c| *c.stage() == CollectionStage::Publishing);
            let part = publishing.and_then(|c| c.parts().first().cloned());
            let Some(part) = part else { continue };
            match self.publish_under(&part.terms).await {
                Ok(events) => told.extend(events),
                Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
                // It is asked again, until the logs say that the time is over.
                Err(error) => tracing::warn!(code = error.code(), "not published yet: {error}"),
            }
        }
        Ok(told)
    }

    /// Goes on with one payment.
    async fn drive_payment(&self, row: PaymentRow) -> Result<Vec<WalletEvent>, ClientError> {
        if row.state != PaymentState::Open {
            return Ok(Vec::new());
        }
        let mut row = row;
        let mut attempt = open_attempt(&self.keys().await?, &row)?;
        if !attempt.requests().is_empty() {
            self.ask_for_parts(&row.id).await?;
            row = self.payment_row(&row.id).await?;
            attempt = open_attempt(&self.keys().await?, &row)?;
        }
        let plan = Plan::read(&row)?;
        let progress = attempt.progress();
        if progress.missing == 0 {
            return match &row.shown {
                Some(keys) => self.publish_gift(&row, &attempt, keys).await,
                None => Ok(Vec::new()),
            };
        }
        if let Some(code) = final_word(&plan, &row, &attempt) {
            return match progress.outstanding {
                0 => self.give_up(&row, &plan, &code).await,
                // Of the other parts too little arrives: the payee gives them back.
                _ => Ok(Vec::new()),
            };
        }
        let left = attempt.terms().deadline_ms.saturating_sub(now().millis());
        let fresh = progress.outstanding == 0;
        if plan.is_circle(self.user()) {
            // There is no other way round this circle.
            return match fresh {
                true => self.give_up(&row, &plan, last_word(&attempt)).await,
                false => Ok(Vec::new()),
            };
        }
        if !fresh && left < MIN_LEFT_MS {
            return Ok(Vec::new());
        }
        if row.tries >= MAX_TRIES || now().millis() > plan.until {
            return match fresh {
                true => {
                    let code = last_word(&attempt);
                    self.give_up(&row, &plan, code).await
                }
                false => Ok(Vec::new()),
            };
        }
        self.try_another_way(&row, &plan, &attempt).await
    }

    async fn try_another_way(
        &self,
        row: &PaymentRow,
        plan: &Plan,
        attempt: &Attempt,
    ) -> Result<Vec<WalletEvent>, ClientError> {
        let fresh = attempt.progress().outstanding == 0;
        let need = Need::rest(attempt, avoided(self.user(), attempt));
        let found = match self.find_ways(plan, &need).await {
            Ok(found) => found,
            Err(ClientError::Payment(fault)) if fresh => {
                tracing::info!(code = fault.code(), "no other way: {fault}");
                return self.give_up(row, plan, last_word(attempt)).await;
            }
            Err(ClientError::Payment(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let Some(way) = found.ways.first() else {
            return Ok(Vec::new());
        };
        let keys = self.hop_keys(way, &found.profiles).await?;
        let late = attempt.terms().deadline_ms < now().millis().saturating_add(MIN_LEFT_MS);
        let terms = match fresh && late {
            true => Some(self.payment_terms(plan, row.hash, way).await?),
            false => None,
        };
        self.ensure_may_sign().await?;
        self.send_again(&row.id, plan, way, &keys, terms).await?;
        Ok(Vec::new())
    }

    /// Publishes the secret for a payee who is away, whose word and whose promise were shown: first it is looked up whether the keys
    /// that signed them were revoked.
    async fn publish_gift(
        &self,
        row: &PaymentRow,
        attempt: &Attempt,
        keys: &str,
    ) -> Result<Vec<WalletEvent>, ClientError> {
        let left = attempt.terms().deadline_ms.saturating_sub(now().millis());
        if left < MIN_PUBLISH_MS {
            return Ok(Vec::new());
        }
        let keys: Vec<(UserKey, SignerKey)> = json_in(keys, "the keys of what was shown")?;
        for (user, key) in keys {
            let found = self.fetch_authority(&user, key).await?;
            let typ = found.as_deref().and_then(|jws| peek_typ(jws).ok());
            if typ.as_deref() == Some(Revocation::TYP) {
                let mut change = self.change().await?;
                let mut row = row.clone();
                row.shown = None;
                row.why = Some("key_revoked".to_owned());
                payments::put(change.conn(), &row).await?;
                change.commit().await?;
                return Ok(Vec::new());
            }
        }
        self.publish_under(attempt.terms()).await
    }

    /// Publishes the secret of a payment in the first of its own logs that answers. Whatever else hangs on the same hash, and on
    /// which logs, does not matter: a secret that stands in another log makes nothing due.
    async fn publish_under(&self, terms: &Terms) -> Result<Vec<WalletEvent>, ClientError> {
        if terms.deadline_ms <= now().millis() {
            let why = "the time of the payment is over";
            return Err(ClientError::NothingToPublish(why.to_owned()));
        }
        let secret = SecretOrHash::from_bytes(*terms.hash.as_bytes());
        let mut failure = ClientError::NoLog;
        for log in &terms.logs {
            match self.publish_secret(secret, Some(log.origin.as_str())).await {
                Ok(published) => return Ok(published.events),
                Err(error @ ClientError::Net(_)) => failure = error,
                Err(error) => return Err(error),
            }
        }
        Err(failure)
    }

    async fn give_up(
        &self,
        row: &PaymentRow,
        plan: &Plan,
        code: &str,
    ) -> Result<Vec<WalletEvent>, ClientError> {
        let mut change = self.change().await?;
        let now_row = payments::get(change.conn(), &row.id).await?;
        let Some(mut row) = now_row.filter(|row| row.state == PaymentState::Open) else {
            return Ok(Vec::new());
        };
        // Another process may have found another way meanwhile.
        let attempt = open_attempt(&change.keys, &row)?;
        if attempt.progress().outstanding > 0 || attempt.receipt().is_some() {
            return Ok(Vec::new());
        }
        row.state = PaymentState::Failed;
        row.ended_at = Some(change.now.millis());
        row.why = Some(code.to_owned());
        row.fee = Some(0);
        payments::put(change.conn(), &row).await?;
        change
            .note(HistoryItem {
                user: Some(plan.payee),
                unit: Some(plan.unit.clone()),
                kind: "payment_failed".to_owned(),
                direction: Some(Direction::Out),
                amount: Some(plan.amount.minor()),
                reference: Some(row.id.to_string()),
                note: Some(code.to_owned()),
                ..HistoryItem::default()
            })
            .await?;
        change.commit().await?;
        Ok(vec![WalletEvent {
            at: now().millis(),
            user: Some(plan.payee),
            friend: None,
            kind: WalletEventKind::NotPaid {
                payment: row.id,
                unit: plan.unit.clone(),
                amount: plan.amount.minor(),
                why: code.to_owned(),
            },
        }])
    }
}
