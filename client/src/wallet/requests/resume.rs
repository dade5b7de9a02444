//! Going on with parts that were asked for: what was paid is noted, what is approved is paid, what is over ends.

use atomicity_ledger::record::Invoice;
use atomicity_ledger::{PaymentHash, RecordId, Signed};

use super::super::{Wallet, WalletEvent, WalletEventKind, now};
use super::paying::{AGAIN_MS, NOT_IN_TIME, payable};
use super::{BATCH, PayingStage, is_grave};
use crate::error::ClientError;
use crate::store::history;
use crate::store::payments::{self, PaymentState};
use crate::store::requests::letters;
use crate::store::requests::paying::{self, AskedRow, PayingRow};

/// How long after its end a part's payment may still be begun by a process that found it in time, milliseconds.
const SLACK_MS: u64 = 6 * 60 * 1000;
/// How soon a part is looked at again that is being paid, milliseconds.
const SOON_MS: u64 = 1000;
/// The longest wait between two tries of one part, milliseconds.
const MAX_BACKOFF_MS: u64 = 60_000;
/// After this long without an answer a part is given up, milliseconds: nothing was promised.
const GIVE_UP_MS: u64 = 24 * 3600 * 1000;

impl Wallet {
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
            let reason = reason.unwrap_or_else(|| NOT_IN_TIME.to_owned());
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
