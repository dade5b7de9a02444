//! What the user and their apps are told: events in JSON, and what a signature was.

use std::collections::BTreeSet;

use atomicity_ledger::pair::{Event, Pair};
use atomicity_ledger::{AnyRecord, RecordHash};
use serde_json::{Value, json};

/// An event by its name and its members.
#[must_use]
pub fn event(event: &Event) -> (&'static str, Value) {
    let text = |value: &dyn std::fmt::Display| value.to_string();
    match event {
        Event::Issued {
            unit,
            growth,
            balance,
            ..
        } => (
            "issued",
            json!({"unit": unit, "growth": text(growth), "balance": text(&balance.minor())}),
        ),
        Event::Payment(payment) => (
            "payment",
            json!({"unit": payment.unit, "amount": payment.amount, "id": payment.id,
                   "ref": payment.reference, "memo": payment.memo}),
        ),
        Event::Acknowledged { unit, seq, .. } => (
            "acknowledged",
            json!({"unit": unit, "seq": text(&seq.get())}),
        ),
        Event::Refused { unit, amount, .. } => ("refused", json!({"unit": unit, "amount": amount})),
        Event::PaidBack { unit, amount, .. } => {
            ("paid_back", json!({"unit": unit, "amount": amount}))
        }
        Event::Promised(iou) => (
            "promised",
            json!({"unit": iou.unit, "amount": iou.amount, "hash": iou.terms.hash,
                   "deadline_ms": iou.terms.deadline_ms}),
        ),
        Event::PromiseRefused {
            iou,
            unit,
            amount,
            reason,
        } => (
            "promise_refused",
            json!({"iou": iou, "unit": unit, "amount": amount, "reason": reason}),
        ),
        Event::PromiseArrived { iou } => ("promise_arrived", json!({"iou": iou})),
        Event::Released {
            iou,
            unit,
            amount,
            reason,
        } => (
            "released",
            json!({"iou": iou, "unit": unit, "amount": amount, "reason": reason}),
        ),
        Event::Due {
            iou,
            unit,
            amount,
            preimage,
            ..
        } => (
            "due",
            json!({"iou": iou, "unit": unit, "amount": amount, "preimage": preimage}),
        ),
        Event::Merged {
            iou,
            unit,
            amount,
            preimage,
        } => (
            "merged",
            json!({"iou": iou, "unit": unit, "amount": amount, "preimage": preimage}),
        ),
        Event::Expired {
            iou,
            from,
            unit,
            amount,
        } => (
            "expired",
            json!({"iou": iou, "from": from, "unit": unit, "amount": amount}),
        ),
        Event::Line(line) => ("line", json!({"unit": line.unit, "accept": line.accept})),
        Event::Book { epoch, key } => ("book", json!({"epoch": text(&epoch.get()), "key": key})),
        Event::BookAcknowledged { epoch } => {
            ("book_acknowledged", json!({"epoch": text(&epoch.get())}))
        }
        Event::Frozen { unit, why } => ("frozen", json!({"unit": unit, "why": why})),
        Event::WrittenElsewhere { unit, .. } => ("written_elsewhere", json!({"unit": unit})),
        Event::Unbound { unit, .. } => ("unbound", json!({"unit": unit})),
        Event::View(_) => ("view", json!({})),
        _ => ("other", json!({})),
    }
}

/// What a payer is told beyond that: how a promise of the user that was not made for another's ended, and what came back for it.
#[must_use]
pub fn to_payer(
    pair: &Pair,
    happened: &Event,
    passed_on: &BTreeSet<RecordHash>,
) -> Option<(&'static str, Value)> {
    let iou = match happened {
        Event::Released { iou, .. } | Event::Merged { iou, .. } => *iou,
        Event::Reply(reply) => reply.iou,
        _ => return None,
    };
    if passed_on.contains(&iou) {
        return None;
    }
    if let Event::Reply(reply) = happened {
        return Some(("reply", json!({"iou": iou, "body": reply.body})));
    }
    let promise = pair.promise_given(iou)?;
    let (kind, mut body) = event(happened);
    let failure = promise.release().map(|r| &r.record().failure);
    if let Some(Some(failure)) = failure {
        body["failure"] = json!(failure);
    }
    let proof = promise.publication().map(|p| &p.record().proof);
    if let Some(Some(proof)) = proof {
        body["proof"] = json!(proof);
    }
    Some((kind, body))
}

/// Whether apps are told of it at all.
#[must_use]
pub fn is_news(event: &Event) -> bool {
    !matches!(event, Event::View(_) | Event::Reply(_))
}

/// Whether a record is for the user's wallet alone to answer.
#[must_use]
pub fn is_about_settlement(record: &AnyRecord) -> bool {
    matches!(
        record,
        AnyRecord::Settlement(_)
            | AnyRecord::SettlementAnswer(_)
            | AnyRecord::SettlementWithdrawal(_)
    )
}

/// What a signature was: its name, its unit, and the amount that it is about.
#[must_use]
pub fn signature(record: &AnyRecord) -> (&'static str, Option<String>, Option<i64>) {
    let minor = |value: u64| i64::try_from(value).ok();
    match record {
        AnyRecord::State(r) => {
            let r = r.record();
            ("state", Some(r.unit.to_string()), minor(r.issued.minor()))
        }
        AnyRecord::Payment(r) => {
            let r = r.record();
            ("payment", Some(r.unit.to_string()), minor(r.amount.minor()))
        }
        AnyRecord::ConditionalIou(r) => {
            let r = r.record();
            ("promise", Some(r.unit.to_string()), minor(r.amount.minor()))
        }
        AnyRecord::CreditLine(r) => {
            let r = r.record();
            (
                "credit_line",
                Some(r.unit.to_string()),
                minor(r.accept.minor()),
            )
        }
        AnyRecord::Refusal(r) => {
            let r = r.record();
            ("refusal", Some(r.unit.to_string()), minor(r.amount.minor()))
        }
        AnyRecord::Invoice(r) => {
            let r = r.record();
            let amount = r.amount.and_then(|amount| minor(amount.minor()));
            ("invoice", Some(r.unit.to_string()), amount)
        }
        AnyRecord::Part(r) => ("part", None, minor(r.record().amount.minor())),
        AnyRecord::Advert(_) => ("advert", None, None),
        AnyRecord::Endpoints(_) => ("endpoints", None, None),
        AnyRecord::Release(r) => ("release", Some(r.record().unit.to_string()), None),
        AnyRecord::Publication(_) => ("publication", None, None),
        AnyRecord::Ack(_) => ("ack", None, None),
        AnyRecord::Book(_) => ("book", None, None),
        AnyRecord::View(_) => ("view", None, None),
        AnyRecord::Reply(_) => ("reply", None, None),
        _ => ("other", None, None),
    }
}
