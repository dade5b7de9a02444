//! Paying over a first friend whose books the agent keeps: this wallet seals the layers, the agent signs the promise.

use atomicity_ledger::hop::{Attempt, Request};
use atomicity_ledger::onion::FailureCode;
use atomicity_ledger::{Money, RecordHash, RecordId};

use super::super::{Direction, HistoryItem, Wallet};
use super::{open_attempt, seal_attempt};
use crate::error::ClientError;
use crate::store::{history, payments};

impl Wallet {
    /// Asks the agent for the promises of a payment that were not signed yet, as far as that is known here. Asked twice, it signs once.
    pub(super) async fn ask_for_parts(&self, id: &RecordId) -> Result<(), ClientError> {
        let row = payments::get(&mut *self.store().read().await?, id).await?;
        let Some(row) = row else {
            return Ok(());
        };
        let requests = open_attempt(&self.keys().await?, &row)?.requests();
        for request in requests {
            let asked = self.ask_for_part(&request).await;
            let said = match asked {
                Ok(iou) => Ok(iou),
                Err(error @ (ClientError::AgentRefused { .. } | ClientError::LimitExceeded(_))) => {
                    Err(refusal(&error))
                }
                // Nobody knows yet whether it was signed: the part counts, and is asked for again.
                Err(error) => return Err(error),
            };
            let me = self.user();
            let signed = said.as_ref().ok().copied();
            self.change_attempt(id, |attempt| match said {
                Ok(iou) => attempt.signed(&request.id, iou),
                Err(code) => attempt.refused(&request.id, me, code),
            })
            .await?;
            if let Some(iou) = signed {
                self.note_asked(&request, iou).await?;
            }
        }
        Ok(())
    }

    async fn ask_for_part(&self, request: &Request) -> Result<RecordHash, ClientError> {
        let agent = self.agent_for(&request.to).await?;
        let Some(agent) = agent else {
            // The books came back meanwhile: what the agent had signed came with them.
            return self.find_asked(request).await;
        };
        let promise = &request.promise;
        let money = Money {
            unit: promise.unit.clone(),
            amount: promise.amount,
        };
        let onward = promise.onward.as_ref();
        let what = (&promise.terms, onward);
        let iou = self
            .promise_by_agent(&agent, &request.to, (request.id, &money), what)
            .await?;
        self.copy_later(&agent, &request.to).await?;
        Ok(iou.hash())
    }

    /// The promise with these layers among the books that came back from the agent.
    async fn find_asked(&self, request: &Request) -> Result<RecordHash, ClientError> {
        let mut conn = self.store().read().await?;
        let pair = super::super::books::load(&mut conn, self.user(), request.to).await?;
        let same = |promise: &&atomicity_ledger::pair::Promise| {
            let iou = promise.iou().record();
            iou.from == self.user() && iou.onward == request.promise.onward
        };
        let found = super::super::promise::all(&pair).find(same);
        found
            .map(|promise| promise.iou().hash())
            .ok_or(ClientError::AgentRefused {
                code: "promise_unknown",
                detail: "it had not signed this before the books came back".to_owned(),
            })
    }

    async fn note_asked(&self, request: &Request, iou: RecordHash) -> Result<(), ClientError> {
        let mut change = self.change().await?;
        let known = history::promised(change.conn(), Direction::Out, &iou.to_string()).await?;
        if known.is_some() {
            return Ok(());
        }
        change
            .note(HistoryItem {
                user: Some(request.to),
                unit: Some(request.promise.unit.clone()),
                kind: "promised".to_owned(),
                direction: Some(Direction::Out),
                amount: Some(request.promise.amount.minor()),
                reference: Some(iou.to_string()),
                note: Some(format!("hangs on {}", request.promise.terms.hash)),
                ..HistoryItem::default()
            })
            .await?;
        change.commit().await
    }

    /// Changes the attempt of a payment as it stands now.
    async fn change_attempt(
        &self,
        id: &RecordId,
        f: impl FnOnce(&mut Attempt),
    ) -> Result<(), ClientError> {
        let mut change = self.change().await?;
        let Some(mut row) = payments::get(change.conn(), id).await? else {
            return Ok(());
        };
        let mut attempt = open_attempt(&change.keys, &row)?;
        f(&mut attempt);
        row.attempt = seal_attempt(&change.keys, &row, &attempt)?;
        payments::put(change.conn(), &row).await?;
        change.commit().await
    }
}

/// What a refusal of the agent means for the way.
fn refusal(error: &ClientError) -> FailureCode {
    match error.code() {
        "terms_refused" => FailureCode::Logs,
        "no_slot" => FailureCode::TooMany,
        "below_minimum" => FailureCode::AmountTooLow,
        _ => FailureCode::EdgeUnavailable,
    }
}
