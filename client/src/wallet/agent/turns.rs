//! What the agent tells of requests that it pays turn by turn.

use atomicity_ledger::{RecordHash, RecordId};
use serde::Deserialize;
use serde_json::Value;

use super::super::books::Change;
use super::super::event::{WalletEvent, WalletEventKind};
use super::follow::number;
use crate::error::ClientError;
use crate::net::plugin::AgentEvent;
use crate::store::requests::{approvals, paying};

/// What an event says of a request that the agent pays turn by turn.
pub(super) async fn take(
    change: &mut Change,
    event: &AgentEvent,
) -> Result<Option<WalletEvent>, ClientError> {
    #[derive(Deserialize)]
    struct Told {
        request: RecordHash,
        state: String,
        #[serde(default)]
        turn: Option<u32>,
        #[serde(default)]
        id: Option<RecordId>,
        #[serde(default)]
        amount: Option<Value>,
        #[serde(default)]
        reason: Option<String>,
    }
    if event.kind != "turn" && event.kind != "approval" {
        return Ok(None);
    }
    let Ok(told) = serde_json::from_value::<Told>(event.body.clone()) else {
        return Ok(None);
    };
    // What it paid is read from it then.
    approvals::look_now(change.conn(), &told.request).await?;
    let waits = told.reason.as_deref().filter(|_| told.state == "waits");
    approvals::set_why(change.conn(), &told.request, waits).await?;
    let asked = paying::asked(change.conn(), &told.request).await?;
    let paid = told.state == "paid" && told.reason.is_none();
    let amount = number(told.amount.as_ref()).filter(|_| paid);
    let (Some(asked), Some(part), Some(amount)) = (asked, told.id, amount) else {
        return Ok(None);
    };
    let record = asked.record.record();
    Ok(Some(WalletEvent {
        at: event.at,
        user: Some(record.payee),
        friend: None,
        kind: WalletEventKind::PartPaid {
            request: record.id,
            part,
            turn: told.turn,
            unit: record.unit.clone(),
            amount,
        },
    }))
}
