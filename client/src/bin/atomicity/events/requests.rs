//! Events about requests to be paid.

use atomicity_client::wallet::WalletEventKind;
use serde_json::{Value, json};

use super::money;
use crate::output::minor_text;
use crate::request::guests::words as way_words;

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
            by,
            from,
            unit,
            amount,
            filled,
        } => {
            put("request", json!(request.to_string()));
            put("payer", json!(payer));
            put("by", json!(by));
            put("from", json!(from));
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            money(put, "filled", unit, *filled);
            "request_paid"
        }
        WalletEventKind::RequestFilled {
            request,
            unit,
            amount,
            memo,
        } => {
            put("request", json!(request.to_string()));
            put("unit", json!(unit));
            money(put, "amount", unit, *amount);
            put("memo", json!(memo));
            "request_filled"
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
            by,
            from,
            unit,
            amount,
            filled,
            ..
        } => {
            let by = by.map(|way| format!(" {}", way_words(way)));
            let from = from.as_ref().map(|from| format!(" by {from}"));
            format!(
                "{} were paid{}{} for your request {request}: {} in all",
                minor_text(unit, *amount),
                by.unwrap_or_default(),
                from.unwrap_or_default(),
                minor_text(unit, *filled)
            )
        }
        WalletEventKind::RequestFilled {
            request,
            unit,
            amount,
            memo,
        } => {
            let memo = memo.as_ref().map(|memo| format!(" ({memo})"));
            let memo = memo.unwrap_or_default();
            let amount = minor_text(unit, *amount);
            format!("your request {request}{memo} is full: {amount}")
        }
        WalletEventKind::Proposed { id, what } => {
            let what = match *what {
                "friend" => "to add a friend",
                "limit" => "another limit for a friend",
                "ask" => "to ask to be paid",
                "settle" => "to have a debt paid off",
                "reassign" => "to hand on what a friend owes",
                "block" => "whom you deal with",
                "rule" | "unrule" => "whom you trust without knowing them",
                "account" => "to let an app spend for you",
                "revoke" => "to end an app's account",
                "agent" => "whom an agent keeps your books with, and for how long",
                "issue" | "pay" | "part" => "a payment",
                _ => "something",
            };
            format!(
                "your page or an app proposes {what}: look at it with `atomicity proposals` ({id})"
            )
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::RecordId;

    use super::*;

    #[test]
    fn a_full_request_is_told_in_words_and_as_json() {
        let kind = WalletEventKind::RequestFilled {
            request: RecordId::from_entropy([1; 16]),
            unit: "USD/2".parse().unwrap(),
            amount: 30_000,
            memo: Some("the hut".to_owned()),
        };
        let words = text(&kind, "somebody").unwrap();
        assert!(words.ends_with("(the hut) is full: 300.00 USD"), "{words}");
        let mut said = serde_json::Map::new();
        let mut put = |key: &str, value: Value| {
            said.insert(key.to_owned(), value);
        };
        assert_eq!(fields(&kind, &mut put), Some("request_filled"));
        assert_eq!(said["amount"], "30000");
        assert_eq!(said["memo"], "the hut");
    }
}
