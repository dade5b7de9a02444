//! What the node is asked and how it answers, in the tests of its rail.

use std::collections::BTreeMap;
use std::sync::Mutex;

use atomicity_ledger::Money;

use super::*;

pub(super) const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
pub(super) const SCRIPT: &str = "0014751e76e8199196d454941c45d1b3a323f1433bd6";
pub(super) const TXID: &str = "7f1c1f0c4dc3a4b1d07f60f4a4e0f3bd7d6f1b40c0fb4bfa3a8cc4a51a2f4d01";
pub(super) const OTHER: &str = "0b0d0f1113151719212325272931333537394143454749515355575961636567";
pub(super) const HEX: &str = "02000000000101beef";

/// Kept in memory. Breaks before or after keeping when told to.
#[derive(Debug, Default)]
pub(super) struct Drawer {
    pub(super) drafts: Mutex<BTreeMap<PaymentId, Draft>>,
    pub(super) breaks: Mutex<Option<bool>>,
}

impl Drafts for Drawer {
    fn draft(&self, id: PaymentId) -> BoxFuture<'_, Result<Option<Draft>, RailError>> {
        async move { Ok(self.drafts.lock().unwrap().get(&id).cloned()) }.boxed()
    }

    fn keep<'a>(
        &'a self,
        id: PaymentId,
        draft: &'a Draft,
    ) -> BoxFuture<'a, Result<Draft, RailError>> {
        async move {
            let gone = || RailError::Unreachable("the store is gone".to_owned());
            let breaks = self.breaks.lock().unwrap().take();
            if breaks == Some(false) {
                return Err(gone());
            }
            let mut drafts = self.drafts.lock().unwrap();
            let kept = drafts.entry(id).or_insert_with(|| draft.clone()).clone();
            if breaks == Some(true) {
                return Err(gone());
            }
            Ok(kept)
        }
        .boxed()
    }
}

pub(super) fn draft(txid: &str) -> Draft {
    Draft {
        transaction: HEX.to_owned(),
        txid: txid.to_owned(),
        output: 1,
        script: SCRIPT.to_owned(),
        fee: Total::from_minor(141_000).unwrap(),
    }
}

pub(super) fn order() -> Order {
    Order {
        id: PaymentId::from_bytes([7; 32]),
        target: ADDRESS.to_owned(),
        amount: Money::parse("0.00150000000 BTC/11", &[]).unwrap(),
        max_fee: Total::from_minor(141_000).unwrap(),
        deadline: now().plus_millis(60_000),
    }
}

/// A question to the node, and its answer as it is written: amounts are fractions.
pub(super) fn ask(method: &'static str, params: Value, result: &str) -> Exchange {
    let body = format!("{{\"result\":{result},\"error\":null,\"id\":\"{method}\"}}\n");
    Exchange {
        path: "/wallet/our%20wallet",
        header: "authorization: Basic X19jb29raWVfXzpzZWNyZXQ=".to_owned(),
        body: json!({ "jsonrpc": "1.0", "id": method, "method": method, "params": params }),
        reply: Reply::Say(200, body),
    }
}

pub(super) fn refuse(asked: Exchange, code: i64, message: &str) -> Exchange {
    let error = json!({ "code": code, "message": message });
    let body = json!({ "result": null, "error": error, "id": asked.body["id"] });
    Exchange {
        reply: Reply::Say(500, body.to_string()),
        ..asked
    }
}

pub(super) fn valid() -> Exchange {
    let result =
        format!("{{\"isvalid\":true,\"address\":\"{ADDRESS}\",\"scriptPubKey\":\"{SCRIPT}\"}}");
    ask("validateaddress", json!([ADDRESS]), &result)
}

pub(super) fn fund(fee: &str) -> Exchange {
    let options = json!({ "lockUnspents": true, "replaceable": false, "conf_target": 6 });
    let params = json!([[], [{ ADDRESS: "0.00150000" }], 0, options]);
    let result = format!("{{\"psbt\":\"cHNidP8\",\"fee\":{fee},\"changepos\":0}}");
    ask("walletcreatefundedpsbt", params, &result)
}

pub(super) fn sign(complete: bool) -> Exchange {
    let result = format!("{{\"psbt\":\"cHNidP9\",\"complete\":{complete}}}");
    ask("walletprocesspsbt", json!(["cHNidP8", true]), &result)
}

pub(super) fn finalize() -> Exchange {
    let result = format!("{{\"hex\":\"{HEX}\",\"complete\":true}}");
    ask("finalizepsbt", json!(["cHNidP9", true]), &result)
}

pub(super) fn decoded(txid: &str, outputs: &[(&str, &str, &str)]) -> String {
    let outputs = outputs
        .iter()
        .enumerate()
        .map(|(n, (value, script, address))| {
            let script = format!(
                "{{\"hex\":\"{script}\",\"address\":\"{address}\",\"type\":\"witness_v0_keyhash\"}}"
            );
            format!("{{\"value\":{value},\"n\":{n},\"scriptPubKey\":{script}}}")
        });
    let outputs: Vec<String> = outputs.collect();
    let inputs = format!("[{{\"txid\":\"{OTHER}\",\"vout\":3,\"sequence\":4294967294}}]");
    format!(
        "{{\"txid\":\"{txid}\",\"version\":2,\"vin\":{inputs},\"vout\":[{}]}}",
        outputs.join(",")
    )
}

pub(super) const CHANGE: (&str, &str, &str) = ("0.99849859", "0014aa", "bcrt1qchange");
pub(super) const PAYS: (&str, &str, &str) = ("0.00150000", SCRIPT, ADDRESS);

pub(super) fn decode(outputs: &[(&str, &str, &str)]) -> Exchange {
    ask(
        "decoderawtransaction",
        json!([HEX]),
        &decoded(TXID, outputs),
    )
}

pub(super) fn test(allowed: bool) -> Exchange {
    let result = format!(
        "[{{\"txid\":\"{TXID}\",\"allowed\":{allowed},\"reject-reason\":\"min relay fee not met\"}}]"
    );
    ask("testmempoolaccept", json!([[HEX]]), &result)
}

pub(super) fn unlock() -> Vec<Exchange> {
    let psbt = format!("{{\"tx\":{},\"fee\":0.00000141}}", decoded(TXID, &[]));
    let inputs = json!([{ "txid": OTHER, "vout": 3 }]);
    vec![
        ask("decodepsbt", json!(["cHNidP8"]), &psbt),
        ask("lockunspent", json!([true, inputs]), "true"),
    ]
}

pub(super) fn known(confirmations: i64, conflicts: &[&str]) -> Exchange {
    let conflicts = json!(conflicts);
    let result = format!(
        "{{\"amount\":-0.00150000,\"fee\":-0.00000141,\"confirmations\":{confirmations},\"txid\":\"{TXID}\",\"walletconflicts\":{conflicts},\"details\":[],\"hex\":\"{HEX}\"}}"
    );
    ask("gettransaction", json!({ "txid": TXID }), &result)
}

pub(super) fn unknown() -> Exchange {
    refuse(known(0, &[]), -5, "Invalid or non-wallet transaction id")
}

pub(super) fn send() -> Exchange {
    ask("sendrawtransaction", json!([HEX]), &format!("\"{TXID}\""))
}

/// All that is asked until a draft is kept.
pub(super) fn drafting() -> Vec<Exchange> {
    vec![
        valid(),
        fund("0.00000141"),
        sign(true),
        finalize(),
        decode(&[CHANGE, PAYS]),
        test(true),
    ]
}
