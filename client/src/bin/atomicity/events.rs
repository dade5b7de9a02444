//! Events, as JSON and in words.

mod requests;

use atomicity_client::wallet::{Direction, SettleRole, WalletEvent, WalletEventKind};
use atomicity_ledger::Unit;
use serde_json::{Map, Value, json};

use crate::output::{minor_text, time_text};

/// An event as one JSON object.
pub fn event_value(event: &WalletEvent) -> Value {
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| {
        map.insert(key.to_owned(), value);
    };
    put("at", json!(event.at));
    if let Some(user) = &event.user {
        put("user", json!(user));
        put("friend", json!(event.friend));
    }
    let name = event_fields(&event.kind, &mut put);
    map.insert("event".to_owned(), json!(name));
    Value::Object(map)
}

fn money(put: &mut impl FnMut(&str, Value), key: &str, unit: &Unit, minor: u64) {
    put(key, json!(minor.to_string()));
    put(&format!("{key}_text"), json!(minor_text(unit, minor)));
}

fn event_fields(kind: &WalletEventKind, put: &mut impl FnMut(&str, Value)) -> &'static str {
    match kind {
        WalletEventKind::Ready => "ready",
        WalletEventKind::Payment {
            unit,
            amount,
            memo,
            net,
        } => {
            put("direction", json!("in"));
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            put("memo", json!(memo));
            put("net", json!(net.minor().to_string()));
            put("net_text", json!(unit.format_balance(*net)));
            "payment"
        }
        WalletEventKind::PassedOn { unit, amount, fee } => {
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            money(put, "fee", unit, *fee);
            "passed_on"
        }
        WalletEventKind::Settlement {
            id,
            role,
            unit,
            amount,
            stage,
            reason,
            waits_for_user,
        } => {
            put("settlement", json!(id.to_string()));
            put("role", json!(role.as_str()));
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            put("stage", json!(stage));
            put("reason", json!(reason));
            put("waits_for_you", json!(waits_for_user));
            "settlement"
        }
        WalletEventKind::Spend { .. } => crate::account::event_fields(kind, put),
        WalletEventKind::InvoicePaid {
            invoice,
            unit,
            amount,
        } => {
            put("invoice", json!(invoice.to_string()));
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            "invoice_paid"
        }
        WalletEventKind::Paid {
            payment,
            unit,
            amount,
            fee,
        } => {
            put("payment", json!(payment.to_string()));
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            money(put, "fee", unit, *fee);
            "paid"
        }
        WalletEventKind::Cleared {
            payment,
            unit,
            amount,
        } => {
            put("payment", json!(payment.to_string()));
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            "cleared"
        }
        WalletEventKind::NotPaid {
            payment,
            unit,
            amount,
            why,
        } => {
            put("payment", json!(payment.to_string()));
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            put("why", json!(why));
            "not_paid"
        }
        WalletEventKind::Acknowledged { unit, seq } => {
            put("unit", json!(unit));
            put("seq", json!(seq.to_string()));
            "acknowledged"
        }
        WalletEventKind::Promised {
            iou,
            unit,
            amount,
            hash,
            deadline,
        } => {
            put("promise", json!(iou));
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            put("hash", json!(hash));
            put("deadline", json!(deadline));
            "promised"
        }
        WalletEventKind::PromiseArrived { iou } => {
            put("promise", json!(iou));
            "promise_arrived"
        }
        WalletEventKind::Released {
            iou,
            direction,
            unit,
            amount,
            reason,
        } => {
            put("promise", json!(iou));
            put("direction", json!(direction.as_str()));
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            put("reason", json!(reason));
            "released"
        }
        WalletEventKind::Due {
            iou,
            unit,
            amount,
            preimage,
        } => {
            put("promise", json!(iou));
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            put("preimage", json!(preimage));
            "due"
        }
        WalletEventKind::Merged {
            iou,
            direction,
            unit,
            amount,
            net,
        } => {
            put("promise", json!(iou));
            put("direction", json!(direction.as_str()));
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            put("net", json!(net.minor().to_string()));
            put("net_text", json!(unit.format_balance(*net)));
            "merged"
        }
        WalletEventKind::Expired {
            iou,
            direction,
            unit,
            amount,
        } => {
            put("promise", json!(iou));
            put("direction", json!(direction.as_str()));
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            "expired"
        }
        WalletEventKind::LogCaught {
            origin,
            culprit,
            what,
        } => {
            put("origin", json!(origin));
            put("culprit", json!(culprit));
            put("what", json!(what));
            "log_caught"
        }
        WalletEventKind::Refused { unit, amount } | WalletEventKind::PaidBack { unit, amount } => {
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            if matches!(kind, WalletEventKind::Refused { .. }) {
                "refused"
            } else {
                "paid_back"
            }
        }
        WalletEventKind::Line { unit, accept } => {
            put("unit", json!(unit));
            money(put, "accept", unit, *accept);
            "line"
        }
        WalletEventKind::Hello => "hello",
        WalletEventKind::LineByRule {
            rule,
            why,
            unit,
            line,
            let_in,
        } => {
            put("rule", json!(rule));
            put("why", json!(why));
            put("unit", json!(unit));
            money(put, "line", unit, *line);
            put("let_in", json!(let_in));
            "line_by_rule"
        }
        WalletEventKind::Book { epoch } => {
            put("epoch", json!(epoch));
            "book"
        }
        WalletEventKind::BookAcknowledged { epoch } => {
            put("epoch", json!(epoch));
            "book_acknowledged"
        }
        WalletEventKind::Unbound {
            unit,
            signed,
            bound,
        } => {
            put("unit", json!(unit));
            money(put, "signed", unit, *signed);
            money(put, "bound", unit, *bound);
            "unbound"
        }
        WalletEventKind::Frozen { unit, reason } => {
            put("unit", json!(unit));
            put("reason", json!(reason));
            "frozen"
        }
        WalletEventKind::WrittenElsewhere { unit } => {
            put("unit", json!(unit));
            "written_elsewhere"
        }
        WalletEventKind::Unreachable { what, who, message } => {
            put("what", json!(what));
            put("who", json!(who));
            put("message", json!(message));
            "unreachable"
        }
        WalletEventKind::Reachable { what, who } => {
            put("what", json!(what));
            put("who", json!(who));
            "reachable"
        }
        WalletEventKind::Error { code, message } => {
            put("code", json!(code));
            put("message", json!(message));
            "error"
        }
        other => requests::fields(other, put).unwrap_or("other"),
    }
}

/// An event in words.
pub fn event_text(event: &WalletEvent) -> String {
    let friend = event
        .friend
        .as_deref()
        .filter(|name| !name.is_empty())
        .unwrap_or("somebody");
    let what = match &event.kind {
        WalletEventKind::Ready => "up to date; waiting for news (Ctrl-C ends)".to_owned(),
        WalletEventKind::Payment {
            unit,
            amount,
            memo,
            net,
        } => {
            let memo = memo
                .as_ref()
                .map(|memo| format!(" - {memo}"))
                .unwrap_or_default();
            format!(
                "{friend} gave you {}{memo}; balance {}",
                minor_text(unit, *amount),
                unit.format_balance(*net)
            )
        }
        WalletEventKind::PassedOn { unit, amount, fee } => format!(
            "you promised {friend} {} for somebody else, for a fee of {}",
            minor_text(unit, *amount),
            minor_text(unit, *fee)
        ),
        WalletEventKind::Settlement {
            id,
            role,
            unit,
            amount,
            stage,
            reason,
            waits_for_user,
        } => {
            let money = minor_text(unit, *amount);
            let what = match role {
                SettleRole::Holder => format!("settlement {id}: {friend} pays for you, {money}"),
                SettleRole::Issuer => format!("settlement {id}: you pay for {friend}, {money}"),
            };
            let why = reason.map(|why| format!(" ({why})")).unwrap_or_default();
            let ask = match waits_for_user {
                true => format!("; agree with: atomicity settle pay {id}"),
                false => String::new(),
            };
            format!("{what}: {stage}{why}{ask}")
        }
        kind @ WalletEventKind::Spend { .. } => crate::account::event_text(kind),
        WalletEventKind::InvoicePaid {
            invoice,
            unit,
            amount,
        } => format!(
            "your invoice {invoice} is paid: {}",
            minor_text(unit, *amount)
        ),
        WalletEventKind::Paid {
            unit, amount, fee, ..
        } => format!(
            "paid {} over friends, for a fee of {}",
            minor_text(unit, *amount),
            minor_text(unit, *fee)
        ),
        WalletEventKind::Cleared { unit, amount, .. } => format!(
            "cleared {} round a circle of debts",
            minor_text(unit, *amount)
        ),
        WalletEventKind::NotPaid {
            unit, amount, why, ..
        } => format!(
            "{} did not get through ({why}); nothing is owed",
            minor_text(unit, *amount)
        ),
        WalletEventKind::Acknowledged { unit, .. } => {
            format!("{friend} has what you gave them in {unit}")
        }
        WalletEventKind::Refused { unit, amount } => {
            format!(
                "{friend} gave {} back: above their limit",
                minor_text(unit, *amount)
            )
        }
        WalletEventKind::PaidBack { unit, amount } => {
            format!(
                "you gave {} back to {friend}: above your limit",
                minor_text(unit, *amount)
            )
        }
        WalletEventKind::Line { unit, accept } => {
            format!("{friend} lets you owe up to {}", minor_text(unit, *accept))
        }
        WalletEventKind::Promised { unit, amount, .. } => format!(
            "{friend} promises you {}, due if a secret is published in time",
            minor_text(unit, *amount)
        ),
        WalletEventKind::PromiseArrived { .. } => format!("{friend} has your promise"),
        WalletEventKind::Released {
            direction,
            unit,
            amount,
            ..
        } => match direction {
            Direction::Out => format!(
                "{friend} gave up your promise of {}",
                minor_text(unit, *amount)
            ),
            Direction::In => format!(
                "you gave up {friend}'s promise of {}",
                minor_text(unit, *amount)
            ),
        },
        WalletEventKind::Due { unit, amount, .. } => format!(
            "{friend} owes you {} more: the secret was published in time",
            minor_text(unit, *amount)
        ),
        WalletEventKind::Merged {
            direction,
            unit,
            amount,
            net,
            ..
        } => {
            let who = match direction {
                Direction::Out => "you".to_owned(),
                Direction::In => friend.to_owned(),
            };
            format!(
                "{who} booked {} that was promised and due; balance {}",
                minor_text(unit, *amount),
                unit.format_balance(*net)
            )
        }
        WalletEventKind::Expired {
            direction,
            unit,
            amount,
            ..
        } => {
            let whose = match direction {
                Direction::Out => format!("your promise to {friend}"),
                Direction::In => format!("{friend}'s promise"),
            };
            format!(
                "{whose} of {} has expired: the log proves that the secret was not published in time",
                minor_text(unit, *amount)
            )
        }
        WalletEventKind::LogCaught { origin, what, .. } => {
            format!("CAUGHT: {what}; the proof is kept, see: atomicity log list ({origin})")
        }
        WalletEventKind::LineByRule {
            rule,
            why,
            unit,
            line,
            let_in,
        } => {
            let money = minor_text(unit, *line);
            match (why, let_in) {
                (Some(why), true) => {
                    format!(
                        "{friend} is your friend now by rule {rule} ({why}) and may owe you {money}"
                    )
                }
                (Some(why), false) => {
                    format!("{friend} may owe you {money} by rule {rule} ({why})")
                }
                (None, _) => format!("{friend} may owe you {money}: rule {rule} is gone"),
            }
        }
        WalletEventKind::Hello => match &event.user {
            Some(user) => {
                format!("{friend} says hello; add them with: atomicity friend add {user}")
            }
            None => format!("{friend} says hello"),
        },
        WalletEventKind::Book { epoch } => {
            format!("{friend} keeps their books with a new key (epoch {epoch})")
        }
        WalletEventKind::BookAcknowledged { .. } => format!("{friend} acknowledged your book"),
        WalletEventKind::Unbound {
            unit,
            signed,
            bound,
        } => format!(
            "an earlier key of {friend} signed {}, but only {} binds them",
            minor_text(unit, *signed),
            minor_text(unit, *bound)
        ),
        WalletEventKind::Frozen { unit, reason } => {
            format!("FROZEN with {friend} in {unit}: {reason}")
        }
        WalletEventKind::WrittenElsewhere { .. } => {
            format!(
                "another copy of this wallet has signed towards {friend}: this one stops signing to them"
            )
        }
        WalletEventKind::Unreachable { what, who, message } => {
            format!("{what} {who} can't be reached: {message}")
        }
        WalletEventKind::Reachable { what, who } => format!("{what} {who} can be reached again"),
        WalletEventKind::Error { message, .. } => message.clone(),
        other => requests::text(other, friend)
            .unwrap_or_else(|| "something happened that this version has no words for".to_owned()),
    };
    format!("{}  {what}", time_text(event.at))
}
