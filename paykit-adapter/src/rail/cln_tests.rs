#![allow(clippy::unwrap_used, clippy::panic)]
use atomicity_ledger::{Money, Preimage, Total};

use super::*;
use crate::rail::bolt11::tests::invoice_at;
use crate::rail::payment::Proof;
use crate::rail::replay::{Exchange, Replay, Reply, certificate};

const RUNE: &str = "tU-RLjMiDpY2U0o3W1oFowar36RFGpWloPbW9-RuZdo9MyZpZD0wMjRi";
/// Of the invoices that the tests make.
const PREIMAGE: [u8; 32] = [7; 32];

fn order() -> Order {
    let seconds = now().millis() / 1000;
    Order {
        id: Preimage::from_bytes(PREIMAGE).hash().into(),
        target: invoice_at(seconds, 150_000),
        amount: Money::parse("0.00000150000 BTC/11", &[]).unwrap(),
        max_fee: Total::from_minor(1_000).unwrap(),
        deadline: now().plus_millis(50_500),
    }
}

fn exchange(path: &'static str, body: Value, status: u16, reply: &Value) -> Exchange {
    Exchange {
        path,
        header: format!("rune: {RUNE}"),
        body,
        reply: Reply::Say(status, reply.to_string()),
    }
}

fn listpays(pays: Value) -> Exchange {
    let hash = order().id.to_string();
    let body = json!({ "payment_hash": hash });
    exchange("/v1/listpays", body, 201, &json!({ "pays": pays }))
}

fn pay(status: u16, reply: &Value) -> Exchange {
    let body = json!({
        "bolt11": null,
        // What is left of the order's time when it is sent.
        "label": null,
        "maxfee": 1_000,
        "retry_for": null,
    });
    exchange("/v1/pay", body, status, reply)
}

fn listed(status: &str, created_at: u64) -> Value {
    json!({
        "bolt11": "lnbcrt1u1…",
        "destination": "03cecbfdc68544cc596223b68ce0710c9e5d2c9cb317ee07822d95079acc703d31",
        "payment_hash": order().id.to_string(),
        "status": status,
        "created_at": created_at,
        "label": "atomicity retry_for=50",
        "amount_msat": 150_000,
        "amount_sent_msat": 150_123,
        "created_index": 3,
    })
}

fn complete(preimage: [u8; 32]) -> Value {
    let mut listed = listed("complete", 1_738_000_000);
    listed["preimage"] = crate::rail::payment::to_hex(&preimage).into();
    listed
}

fn paid(preimage: [u8; 32]) -> Value {
    json!({
        "destination": "03cecbfdc68544cc596223b68ce0710c9e5d2c9cb317ee07822d95079acc703d31",
        "payment_hash": order().id.to_string(),
        "created_at": 1_738_000_000.123,
        "parts": 1,
        "amount_msat": 150_000,
        "amount_sent_msat": 150_001,
        "payment_preimage": crate::rail::payment::to_hex(&preimage),
        "status": "complete",
    })
}

async fn rail(exchanges: Vec<Exchange>) -> (Replay, CoreLightning) {
    let replay = Replay::start(true, exchanges).await;
    let rune = std::env::temp_dir().join(format!("rune-{}", replay.address.port()));
    std::fs::write(&rune, format!("{RUNE}\n")).unwrap();
    let config = ClnConfig {
        name: "cln".to_owned(),
        url: format!("https://{}", replay.address).parse().unwrap(),
        certificate: certificate(),
        rune: rune.clone(),
        network: LightningNetwork::Regtest,
        timeout: Duration::from_secs(10),
    };
    let rail = CoreLightning::open(config).await.unwrap();
    std::fs::remove_file(rune).unwrap();
    (replay, rail)
}

/// What `pay` and `look_up` come to, in short.
fn short(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded(receipt) => format!("paid, fee {}", receipt.fee),
        Outcome::FailedForGood(failure) => format!("failed: {}", failure.reason.code()),
        Outcome::Unknown(error) => format!("unknown: {}", error.code()),
    }
}

async fn pay_by(exchanges: Vec<Exchange>) -> String {
    let (replay, rail) = rail(exchanges).await;
    let outcome = short(&rail.pay(&order()).await);
    replay.finish().await;
    outcome
}

async fn look_up_by(exchanges: Vec<Exchange>) -> String {
    let (replay, rail) = rail(exchanges).await;
    let standing = rail.look_up(order().id).await;
    replay.finish().await;
    match standing {
        Ok(standing) => short(&standing.into()),
        Err(error) => format!("error: {}", error.code()),
    }
}

#[test]
fn a_node_tries_for_as_long_as_is_left_and_an_hour_at_most() {
    let tried = [
        (0, 1),
        (999, 1),
        (50_999, 50),
        (3_600_000, 3_600),
        (u64::MAX, 3_600),
    ];
    for (left_ms, seconds) in tried {
        assert_eq!(retry_for_s(left_ms), seconds, "{left_ms}");
    }
}

#[tokio::test]
async fn an_invoice_is_paid_and_its_preimage_checked() {
    let (replay, rail) = rail(vec![listpays(json!([])), pay(201, &paid(PREIMAGE))]).await;
    let Outcome::Succeeded(receipt) = rail.pay(&order()).await else {
        panic!("it was paid");
    };
    replay.finish().await;
    assert_eq!(
        receipt.proof,
        Proof::Preimage(Preimage::from_bytes(PREIMAGE))
    );
    assert_eq!(receipt.fee.minor(), 1);
    assert!(!format!("{rail:?}").contains(RUNE));

    let forged = pay_by(vec![listpays(json!([])), pay(201, &paid([8; 32]))]).await;
    assert_eq!(forged, "unknown: rail_answer_malformed");
}

#[tokio::test]
async fn what_the_node_knows_is_not_sent_again() {
    let fresh = now().millis() / 1000;
    for (pays, expected) in [
        (json!([complete(PREIMAGE)]), "paid, fee 123"),
        (
            json!([listed("failed", 1), complete(PREIMAGE)]),
            "paid, fee 123",
        ),
        (json!([complete([8; 32])]), "unknown: rail_answer_malformed"),
        (json!([listed("pending", 1)]), "unknown: payment_under_way"),
        (
            json!([listed("failed", 1), listed("pending", fresh)]),
            "unknown: payment_under_way",
        ),
        (json!([listed("odd", 1)]), "unknown: rail_answer_malformed"),
        // The node may be about to send another part.
        (
            json!([listed("failed", fresh)]),
            "unknown: payment_under_way",
        ),
        (
            json!([listed("failed", fresh - 100)]),
            "unknown: payment_under_way",
        ),
        (json!([listed("failed", fresh - 112)]), "failed: timed_out"),
        (
            json!([listed("failed", fresh), listed("failed", 1)]),
            "unknown: payment_under_way",
        ),
    ] {
        assert_eq!(
            pay_by(vec![listpays(pays.clone())]).await,
            expected,
            "{pays}"
        );
        let looked_up = look_up_by(vec![listpays(pays.clone())]).await;
        assert_eq!(looked_up.replace("error", "unknown"), expected, "{pays}");
    }
    assert_eq!(
        look_up_by(vec![listpays(json!([]))]).await,
        "unknown: payment_never_seen"
    );
    // Somebody else's payment of the same invoice: nobody knows how long it is tried.
    let mut foreign = listed("failed", 1);
    foreign["label"] = "by hand".into();
    let looked_up = look_up_by(vec![listpays(json!([foreign]))]).await;
    assert_eq!(looked_up, "unknown: payment_under_way");
    let mut other = listed("failed", 1);
    other["payment_hash"] = "00".repeat(32).into();
    let looked_up = look_up_by(vec![listpays(json!([other]))]).await;
    assert_eq!(looked_up, "error: rail_answer_malformed");
}

#[tokio::test]
async fn an_error_that_ends_the_command_is_believed_once_the_list_agrees() {
    let fresh = now().millis() / 1000;
    let error =
        |code: i64| json!({ "code": code, "message": "as it says", "data": { "attempts": 3 } });
    for (code, list, expected) in [
        (
            203,
            json!([listed("failed", fresh)]),
            "failed: refused_by_payee",
        ),
        (205, json!([]), "failed: no_route"),
        (206, json!([]), "failed: no_route"),
        (207, json!([]), "failed: too_late"),
        (210, json!([listed("failed", fresh)]), "failed: timed_out"),
        (-32602, json!([]), "failed: refused_by_rail"),
        (
            210,
            json!([listed("pending", fresh)]),
            "unknown: payment_under_way",
        ),
        (201, json!([complete(PREIMAGE)]), "paid, fee 123"),
        (
            205,
            json!([listed("odd", fresh)]),
            "unknown: rail_answer_malformed",
        ),
    ] {
        let exchanges = vec![listpays(json!([])), pay(500, &error(code)), listpays(list)];
        assert_eq!(pay_by(exchanges).await, expected, "{code}");
    }
    for (status, reply, expected) in [
        (500, error(-1), "unknown: rail_failed"),
        (
            500,
            json!({ "message": "Connection refused", "code": null }),
            "unknown: rail_failed",
        ),
        (401, error(1502), "unknown: rail_not_permitted"),
        (403, error(1501), "unknown: rail_not_permitted"),
        (502, json!("bad gateway"), "unknown: rail_failed"),
        (
            201,
            json!({ "status": "pending" }),
            "unknown: rail_answer_malformed",
        ),
    ] {
        let exchanges = vec![listpays(json!([])), pay(status, &reply)];
        assert_eq!(pay_by(exchanges).await, expected, "{reply}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_it_open() {
    for (reply, expected) in [
        (Reply::HangUp, "unknown: rail_unreachable"),
        (Reply::Half, "unknown: rail_answer_broken"),
    ] {
        let broken = Exchange {
            reply,
            ..pay(0, &json!(0))
        };
        assert_eq!(
            pay_by(vec![listpays(json!([])), broken.clone()]).await,
            expected
        );
        // Nothing was sent, but what was sent before is not known either.
        let broken = Exchange {
            path: "/v1/listpays",
            body: Value::Null,
            ..broken
        };
        assert_eq!(pay_by(vec![broken]).await, expected);
    }
}

#[tokio::test]
async fn an_order_that_does_not_fit_its_invoice_is_not_sent() {
    let good = order();
    let wrong_amount = Order {
        amount: Money::parse("0.00000150001 BTC/11", &[]).unwrap(),
        ..good.clone()
    };
    let too_late = Order {
        deadline: now(),
        ..good
    };
    for (order, expected) in [
        (wrong_amount, "failed: target_unusable"),
        (too_late, "failed: too_late"),
    ] {
        let (replay, rail) = rail(vec![listpays(json!([]))]).await;
        assert_eq!(short(&rail.pay(&order).await), expected);
        replay.finish().await;
    }
}

#[tokio::test]
async fn health_is_what_the_node_says_of_itself() {
    let info = json!({
        "id": "0266e4598d1d3c415f572a8488830b60f7e744ed9235eb0b1ba93283b315c03518",
        "alias": "JUNIORBEAM", "color": "0266e4", "num_peers": 1, "version": "v25.09",
        "blockheight": 103, "network": "regtest", "fees_collected_msat": 0,
    });
    let channels = json!({ "channels": [
        { "state": "CHANNELD_NORMAL", "spendable_msat": 709_999_872, "receivable_msat": 210_000 },
        { "state": "CHANNELD_NORMAL", "spendable_msat": "128msat", "receivable_msat": 0 },
        { "state": "ONCHAIN", "spendable_msat": 5_000 },
    ] });
    let ask = |path, reply: &Value| exchange(path, json!({}), 201, reply);
    let exchanges = vec![
        ask("/v1/getinfo", &info),
        ask("/v1/listpeerchannels", &channels),
    ];
    let (replay, rail) = rail(exchanges).await;
    let health = rail.health().await.unwrap();
    replay.finish().await;
    assert!(health.ready);
    assert_eq!(health.can_send.unwrap().amount.minor(), 710_000_000);
    assert_eq!(health.can_receive.unwrap().amount.minor(), 210_000);

    let mut syncing = info.clone();
    syncing["warning_lightningd_sync"] = "Still loading latest blocks from bitcoind.".into();
    let exchanges = vec![
        ask("/v1/getinfo", &syncing),
        ask("/v1/listpeerchannels", &channels),
    ];
    let (replay, node) = rail_of(exchanges).await;
    assert!(!node.health().await.unwrap().ready);
    replay.finish().await;

    let mut foreign = info;
    foreign["network"] = "bitcoin".into();
    let (replay, node) = rail_of(vec![ask("/v1/getinfo", &foreign)]).await;
    assert_eq!(
        node.health().await.unwrap_err().code(),
        "rail_config_invalid"
    );
    replay.finish().await;
}

/// The same under a name that a local variable does not hide.
async fn rail_of(exchanges: Vec<Exchange>) -> (Replay, CoreLightning) {
    rail(exchanges).await
}
