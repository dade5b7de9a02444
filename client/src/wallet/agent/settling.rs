//! What the agent tells that is about settlements, which are this wallet's: records of friends that it passes on, and what happened to the
//! books.

use atomicity_ledger::jws::peek_typ;
use atomicity_ledger::pair::Event;
use atomicity_ledger::record::{Payment, ReleaseReason};
use atomicity_ledger::{Amount, Epoch, Memo, Preimage, RecordHash, RecordId, Seq, Unit, UserKey};
use serde::Deserialize;
use serde_json::Value;

use super::super::books::Change;
use super::super::{now, settle};
use crate::error::ClientError;
use crate::net::plugin::AgentEvent;
use crate::store::inbox;

/// What an event says that may end a settlement: a direct release was booked or came back, or a payment came that names a request.
pub(super) fn ended(event: &AgentEvent, (peer, me): (UserKey, UserKey)) -> Option<Event> {
    #[derive(Deserialize)]
    struct Told {
        unit: Unit,
        amount: Amount,
        #[serde(default)]
        iou: Option<RecordHash>,
        #[serde(default)]
        preimage: Option<Preimage>,
        #[serde(default)]
        reason: Option<ReleaseReason>,
        #[serde(default)]
        id: Option<RecordId>,
        #[serde(default, rename = "ref")]
        reference: Option<Memo>,
    }
    let told: Told = serde_json::from_value(event.body.clone()).ok()?;
    let (unit, amount) = (told.unit, told.amount);
    Some(match event.kind.as_str() {
        "merged" => Event::Merged {
            iou: told.iou?,
            unit,
            amount,
            preimage: told.preimage?,
        },
        "released" => Event::Released {
            iou: told.iou?,
            unit,
            amount,
            reason: told.reason.unwrap_or(ReleaseReason::Declined),
        },
        "payment" => Event::Payment(Box::new(Payment {
            v: Default::default(),
            id: told.id?,
            from: peer,
            to: me,
            unit,
            amount,
            epoch: Epoch::ZERO,
            seq: Seq::ZERO,
            reference: Some(told.reference?),
            memo: None,
            at: now(),
        })),
        _ => return None,
    })
}

/// A record about a settlement that came to the agent, which passes it on: it is kept, to be judged here.
pub(super) async fn keep_passed_on(
    change: &mut Change,
    event: &AgentEvent,
) -> Result<(), ClientError> {
    let record = event.body.get("record").and_then(Value::as_str);
    let (Some(user), Some(record)) = (event.peer, record) else {
        return Ok(());
    };
    let Ok(kind) = peek_typ(record) else {
        return Ok(());
    };
    if event.kind == "settlement" && settle::is_kind(&kind) {
        let now = change.now.millis();
        if !inbox::hold(change.conn(), &user, record, &kind, "with_agent", now).await? {
            // Whoever sent it says it again as long as there is no answer.
            tracing::warn!(%user, "too many records of this friend wait already");
        }
    }
    Ok(())
}
