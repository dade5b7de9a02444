//! Requests as JSON and in words.

use atomicity_client::wallet::{
    ApprovalPlace, ApprovalView, GuestStage, RequestGuest, RequestPart, RequestReceipt,
    RequestRole, RequestView,
};
use atomicity_ledger::record::{Goal, Period};
use atomicity_ledger::{Amount, Memo, Unit};
use serde_json::{Value, json};

use super::guests::words as way_words;
use crate::output::{delivery_name, minor_text, time_text};

fn kind(goal: &Goal) -> (&'static str, Option<u64>, Option<u64>, Option<u64>) {
    let minor = |amount: &Option<Amount>| amount.map(Amount::minor);
    match goal {
        Goal::Exact(amount) => ("exact", Some(amount.minor()), None, None),
        Goal::Target { amount, min } => ("target", Some(amount.minor()), minor(min), None),
        Goal::Open { min, max } => ("open", None, minor(min), minor(max)),
    }
}

fn period(period: Period) -> &'static str {
    match period {
        Period::Day => "day",
        Period::Week => "week",
        Period::Month => "month",
    }
}

/// A part of a request.
pub fn part_value(unit: &Unit, part: &RequestPart) -> Value {
    json!({
        "part": part.id.to_string(),
        "payer": part.payer,
        "name": part.name,
        "amount": part.amount.to_string(),
        "amount_text": minor_text(unit, part.amount),
        "turn": part.turn,
        "stage": part.stage,
        "until": part.until,
        "reason": part.reason,
        "created_at": part.created_at,
    })
}

fn stage_words(stage: GuestStage) -> &'static str {
    match stage {
        GuestStage::Kept => "kept",
        GuestStage::Seen => "under way",
        _ => "offered",
    }
}

fn guest_value(unit: &Unit, guest: &RequestGuest) -> Value {
    json!({
        "id": guest.id.to_string(),
        "way": guest.way,
        "amount": guest.amount.to_string(),
        "amount_text": minor_text(unit, guest.amount),
        "from": guest.name,
        "stage": guest.stage.as_str(),
        "until": guest.until,
        "at": guest.created_at,
    })
}

fn receipt_value(unit: &Unit, receipt: &RequestReceipt) -> Value {
    json!({
        "amount": receipt.amount.to_string(),
        "amount_text": minor_text(unit, receipt.amount),
        "by": receipt.way,
        "from": receipt.payer,
        "at": receipt.at,
    })
}

/// A request.
pub fn value(view: &RequestView) -> Value {
    let (kind, amount, min, max) = kind(&view.goal);
    let money = |minor: Option<u64>| minor.map(|minor| minor.to_string());
    let shown = |minor: Option<u64>| minor.map(|minor| minor_text(&view.unit, minor));
    let every = view.every.as_ref();
    let parts = view.parts.iter().map(|part| part_value(&view.unit, part));
    let receipts = view.receipts.iter();
    let guests = view.guests.iter();
    json!({
        "request": view.id.to_string(),
        "hash": view.hash,
        "role": view.role.as_str(),
        "payee": view.payee,
        "payer": view.payer,
        "name": view.name,
        "unit": view.unit,
        "kind": kind,
        "amount": money(amount),
        "amount_text": shown(amount),
        "min": money(min),
        "max": money(max),
        "memo": view.memo.as_ref().map(Memo::as_str),
        "or": view.targets,
        "every": every.map(|every| json!({
            "period": period(every.period), "from": every.from, "count": every.count,
        })),
        "turn_due": view.turn_due,
        "filled": money(view.filled),
        "filled_text": shown(view.filled),
        "reserved": money(view.reserved),
        "reserved_text": shown(view.reserved),
        "surplus": view.surplus.to_string(),
        "left": money(view.left),
        "left_text": shown(view.left),
        "open": view.open,
        "as_of": view.as_of,
        "calls_a_debt": view.is_call,
        "was_sent": view.was_sent,
        "link": view.link,
        "delivery": view.delivery.map(delivery_name),
        "expires_at": view.expires_at,
        "created_at": view.created_at,
        "ended_at": view.ended_at,
        "parts": parts.collect::<Vec<_>>(),
        "guests": guests.map(|one| guest_value(&view.unit, one)).collect::<Vec<_>>(),
        "received": receipts.map(|one| receipt_value(&view.unit, one)).collect::<Vec<_>>(),
    })
}

/// What is asked for, in words.
fn asked(view: &RequestView) -> String {
    let money = |minor: u64| minor_text(&view.unit, minor);
    let amount = match kind(&view.goal) {
        ("exact", Some(amount), _, _) => money(amount),
        (_, Some(amount), Some(min), _) => {
            format!("{} together, {} or more each", money(amount), money(min))
        }
        (_, Some(amount), None, _) => format!("{} together", money(amount)),
        _ => format!("any amount of {}", view.unit),
    };
    match &view.every {
        Some(every) => format!("{amount} every {}", period(every.period)),
        None => amount,
    }
}

/// How it stands, in words.
fn standing(view: &RequestView) -> &'static str {
    let paid =
        view.role == RequestRole::Payer && view.parts.iter().any(|part| part.stage == "paid");
    match view.open {
        _ if paid && view.every.is_none() => "you paid",
        Some(true) | None => "open",
        Some(false) if view.left == Some(0) => "paid",
        Some(false) => "closed",
    }
}

fn who(view: &RequestView) -> String {
    let other = match view.role {
        RequestRole::Payee => view.payer.as_ref(),
        RequestRole::Payer => Some(&view.payee),
    };
    let named = view.name.clone();
    let key = other.map(|user| user.to_z32());
    let other = named.or(key).unwrap_or_else(|| "everybody".to_owned());
    match view.role {
        RequestRole::Payee => format!("you ask {other}"),
        RequestRole::Payer => format!("{other} asks"),
    }
}

/// A line of a table.
pub fn words(view: &RequestView) -> Vec<String> {
    let filled = view.filled.map(|minor| minor_text(&view.unit, minor));
    vec![
        view.id.to_string(),
        who(view),
        asked(view),
        filled.unwrap_or_else(|| "-".to_owned()),
        standing(view).to_owned(),
        time_text(view.expires_at),
        view.memo.as_ref().map_or("", Memo::as_str).to_owned(),
    ]
}

/// A request for people.
pub fn text(view: &RequestView) -> String {
    let money = |minor: u64| minor_text(&view.unit, minor);
    let verb = match view.role {
        RequestRole::Payee => "for",
        RequestRole::Payer => "you for",
    };
    let mut lines = vec![format!(
        "{} {verb} {}: {}.",
        who(view),
        asked(view),
        standing(view)
    )];
    lines.extend(view.memo.as_ref().map(|memo| format!("for       {memo}")));
    lines.push(format!("name      {}", view.id));
    if let Some(filled) = view.filled {
        let mut line = format!("paid      {}", money(filled));
        if let Some(reserved) = view.reserved.filter(|minor| *minor > 0) {
            line.push_str(&format!(", {} being paid", money(reserved)));
        }
        if let Some(left) = view.left {
            line.push_str(&format!(", {} left", money(left)));
        }
        lines.push(line);
    }
    if view.surplus > 0 {
        lines.push(format!(
            "too much  {}: give it back, or keep it with thanks",
            money(view.surplus)
        ));
    }
    for target in &view.targets {
        lines.push(format!("or        {} {}", target.method, target.value));
    }
    for part in &view.parts {
        let who = part.name.clone().unwrap_or_else(|| part.payer.to_z32());
        let turn = part
            .turn
            .map(|turn| format!(", turn {turn}"))
            .unwrap_or_default();
        let why = part
            .reason
            .as_ref()
            .map(|why| format!(" ({why})"))
            .unwrap_or_default();
        let amount = money(part.amount);
        lines.push(format!(
            "part      {amount} {}{why}, {who}{turn}",
            part.stage
        ));
    }
    for guest in &view.guests {
        let amount = money(guest.amount);
        let way = way_words(guest.way.as_str());
        let from = guest.name.as_ref().map(|name| format!(", {name}"));
        let from = from.unwrap_or_default();
        lines.push(format!(
            "guest     {amount} {}, {way}{from}",
            stage_words(guest.stage)
        ));
    }
    for receipt in &view.receipts {
        let from = receipt.payer.as_ref().map(|from| format!(", from {from}"));
        let amount = money(receipt.amount);
        lines.push(format!(
            "came      {amount} by {}{}",
            receipt.way,
            from.unwrap_or_default()
        ));
    }
    lines.push(format!("until     {}", time_text(view.expires_at)));
    lines.join("\n")
}

/// An approval.
pub fn approval_value(view: &ApprovalView) -> Value {
    json!({
        "request": view.request.to_string(),
        "hash": view.hash,
        "payee": view.payee,
        "name": view.name,
        "unit": view.unit,
        "amount": view.amount.to_string(),
        "amount_text": minor_text(&view.unit, view.amount),
        "up_to": view.up_to.to_string(),
        "up_to_text": minor_text(&view.unit, view.up_to),
        "until": view.until,
        "first_turn": view.first_turn,
        "turns": view.turns,
        "next_due": view.next_due,
        "why": view.why,
        "place": view.place.as_str(),
        "place_why": view.place_why,
        "active": view.active,
        "created_at": view.created_at,
    })
}

/// An approval as a line of a table.
pub fn approval_row(view: &ApprovalView) -> Vec<String> {
    let next = match (view.active, view.next_due) {
        (true, Some(at)) => time_text(at),
        (true, None) => "-".to_owned(),
        (false, _) => "ended".to_owned(),
    };
    vec![
        view.request.to_string(),
        view.name.clone().unwrap_or_else(|| view.payee.to_z32()),
        minor_text(&view.unit, view.amount),
        minor_text(&view.unit, view.up_to),
        format!("{} times", view.turns.len()),
        who_pays(view).to_owned(),
        next,
        view.why.clone().unwrap_or_default(),
    ]
}

/// Who pays it, in words.
pub fn who_pays(view: &ApprovalView) -> &'static str {
    match (view.place, view.active) {
        (ApprovalPlace::Agent, _) => "your agent",
        (ApprovalPlace::Handing, _) => "your agent, once it answers",
        (ApprovalPlace::Taking, true) => "this wallet, once your agent answers",
        (ApprovalPlace::Taking, false) => "your agent, until it answers",
        (ApprovalPlace::Here, _) => "this wallet",
    }
}

/// What the user is to know of an approval that is made.
pub fn approved_text(view: &ApprovalView, now: u64) -> String {
    let first = match view.next_due {
        Some(at) if at <= now => "It is due now".to_owned(),
        Some(at) => format!("It is due on {}", time_text(at)),
        None => "Nothing of it is due any more".to_owned(),
    };
    match view.place {
        ApprovalPlace::Agent => {
            format!("{first}. Your agent pays it, also while this wallet is away.")
        }
        ApprovalPlace::Handing => {
            format!(
                "{first}. Your agent pays it as soon as it could be told: it does not answer now."
            )
        }
        ApprovalPlace::Here | ApprovalPlace::Taking => {
            format!(
                "{first}. Leave `atomicity watch` running, or sync now and then: it is paid without asking you."
            )
        }
    }
}

/// What the user is to know of an approval that has ended.
pub fn revoked_text(view: &ApprovalView) -> String {
    if view.place == ApprovalPlace::Here {
        return "Nothing more of it is paid without asking you.".to_owned();
    }
    "This wallet pays nothing more of it. Your agent does not answer: it is told as soon as it does, and may pay until then. `atomicity agent revoke` ends all that it does at once."
        .to_owned()
}
