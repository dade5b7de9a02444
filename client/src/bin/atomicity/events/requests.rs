//! Events about requests to be paid.

use atomicity_client::wallet::WalletEventKind;
use serde_json::{Value, json};

use super::money;
use crate::output::minor_text;

/// The fields of such an event, and its name; `None` for every other.
pub(super) fn fields(
    kind: &WalletEventKind,
    put: &mut impl FnMut(&str, Value),
) -> Option<&'static str> {
    Some(match kind {
        WalletEventKind::Proposed { id, what } => {
            put("proposal", json!(id.to_string()));
            put("what", json!(what));
            "proposed"
        }
        WalletEventKind::Asked {
            request,
            unit,
            amount,
            memo,
        } => {
            put("request", json!(request.to_string()));
            put("unit", json!(unit));
            if let Some(amount) = amount {
                money(put, "amount", unit, *amount);
            }
            put("memo", json!(memo));
            "asked"
        }
        WalletEventKind::Called {
            request,
            unit,
            amount,
        } => {
            put("request", json!(request.to_string()));
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            "called"
        }
        WalletEventKind::RequestPaid {
            request,
            payer,
            unit,
            amount,
            filled,
        } => {
            put("request", json!(request.to_string()));
            put("payer", json!(payer));
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            money(put, "filled", unit, *filled);
            "request_paid"
        }
        WalletEventKind::RequestClosed { request } => {
            put("request", json!(request.to_string()));
            "request_closed"
        }
        WalletEventKind::PartPaid {
            request,
            part,
            turn,
            unit,
            amount,
        } => {
            put("request", json!(request.to_string()));
            put("part", json!(part.to_string()));
            put("turn", json!(turn));
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            "part_paid"
        }
        _ => return None,
    })
}

/// Such an event in words.
pub(super) fn text(kind: &WalletEventKind, friend: &str) -> Option<String> {
    Some(match kind {
        WalletEventKind::Asked {
            request,
            unit,
            amount,
            memo,
        } => {
            let amount = amount.map_or_else(|| unit.to_string(), |n| minor_text(unit, n));
            let memo = memo.as_ref().map(|memo| format!(" - {memo}"));
            let memo = memo.unwrap_or_default();
            format!("{friend} asks you for {amount}{memo}: atomicity request pay {request}")
        }
        WalletEventKind::Called {
            request,
            unit,
            amount,
        } => format!(
            "{friend} owes you {}: asked for it with request {request}",
            minor_text(unit, *amount)
        ),
        WalletEventKind::RequestPaid {
            request,
            unit,
            amount,
            filled,
            ..
        } => format!(
            "{} were paid for your request {request}: {} in all",
            minor_text(unit, *amount),
            minor_text(unit, *filled)
        ),
        WalletEventKind::Proposed { id, what } => {
            let what = match *what {
                "friend" => "adding a friend",
                "limit" => "another limit for a friend",
                "ask" => "to ask to be paid",
                "settle" => "to have a debt paid off",
                "reassign" => "to hand on what a friend owes",
                "block" => "whom you deal with",
                _ => "a payment",
            };
            format!("your page or an app proposes {what}: atomicity proposals accept {id}")
        }
        WalletEventKind::RequestClosed { request } => format!("request {request} is closed"),
        WalletEventKind::PartPaid {
            request,
            unit,
            amount,
            ..
        } => format!("paid {} of request {request}", minor_text(unit, *amount)),
        _ => return None,
    })
}
