//! Against answers of lnd 0.20.1, recorded and shortened.
#![allow(clippy::unwrap_used)]

use super::super::http::failure;
use super::*;

const HASH: &str = "1bc3fa4abda8b2e9e621f6dc0a55433e2b31fed45923e68787e65ce4eac62bff";
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn id(hash: &str) -> PaymentId {
    hash.parse().unwrap()
}

fn payment(hash: &str, preimage: &str, status: &str, reason: &str) -> PaymentAnswer {
    let body = format!(
        r#"{{"payment_hash":"{hash}","value":"1","creation_date":"1795287685","fee":"0",
        "payment_preimage":"{preimage}","value_sat":"1","value_msat":"1500","payment_request":"lnsb15n1p4sr65",
        "status":"{status}","fee_sat":"1","fee_msat":"1042","creation_time_ns":"1795287685928924394","htlcs":[],
        "payment_index":"1","failure_reason":"{reason}","first_hop_custom_records":{{}}}}"#
    );
    PaymentAnswer::read(body.as_bytes()).unwrap()
}

#[test]
fn a_success_bears_its_proof() {
    let preimage = Preimage::from_bytes([7; 32]);
    let hash = PaymentId::from(preimage.hash()).to_string();
    let shown = "07".repeat(32);
    let paid = payment(&hash, &shown, "SUCCEEDED", "FAILURE_REASON_NONE");
    let receipt = Receipt {
        proof: Proof::Preimage(preimage),
        fee: atomicity_ledger::Total::from_minor(1042).unwrap(),
    };
    let standing = paid.standing(id(&hash)).unwrap();
    assert_eq!(standing, Standing::Succeeded(receipt));
    for wrong in [NOTHING, "", "07", &"zz".repeat(32)] {
        let paid = payment(&hash, wrong, "SUCCEEDED", "FAILURE_REASON_NONE");
        paid.standing(id(&hash)).unwrap_err();
    }
}

#[test]
fn a_failure_is_one_by_its_status_alone() {
    for (said, reason) in [
        ("FAILURE_REASON_NO_ROUTE", FailureReason::NoRoute),
        (
            "FAILURE_REASON_INSUFFICIENT_BALANCE",
            FailureReason::InsufficientBalance,
        ),
        ("FAILURE_REASON_TIMEOUT", FailureReason::TimedOut),
        (
            "FAILURE_REASON_INCORRECT_PAYMENT_DETAILS",
            FailureReason::RefusedByPayee,
        ),
        ("FAILURE_REASON_CANCELED", FailureReason::Canceled),
        ("FAILURE_REASON_ERROR", FailureReason::RefusedByRail),
        ("SOMETHING_NEW", FailureReason::RefusedByRail),
    ] {
        let failed = payment(HASH, NOTHING, "FAILED", said);
        let Standing::FailedForGood(failure) = failed.standing(id(HASH)).unwrap() else {
            unreachable!("{said}");
        };
        assert_eq!(failure.reason, reason);
        // A reason is set while parts are still under way.
        let going = payment(HASH, NOTHING, "IN_FLIGHT", said);
        assert_eq!(going.standing(id(HASH)).unwrap(), Standing::InFlight);
    }
    let begun = payment(HASH, NOTHING, "INITIATED", "FAILURE_REASON_NONE");
    assert_eq!(begun.standing(id(HASH)).unwrap(), Standing::InFlight);
}

#[test]
fn what_is_not_understood_says_nothing() {
    for status in ["UNKNOWN", "", "failed", "SETTLED"] {
        let odd = payment(HASH, NOTHING, status, "FAILURE_REASON_NO_ROUTE");
        odd.standing(id(HASH)).unwrap_err();
    }
    let another = payment(NOTHING, NOTHING, "FAILED", "FAILURE_REASON_NO_ROUTE");
    another.standing(id(HASH)).unwrap_err();
    for body in [
        "",
        "{}",
        "null",
        r#"{"status":"FAILED"}"#,
        r#"{"payment_hash":7,"status":"FAILED"}"#,
    ] {
        assert!(PaymentAnswer::read(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn only_the_routers_own_words_mean_never_seen() {
    let never = br#"{"error":{"code":5,"message":"payment isn't initiated","details":[]}}"#;
    assert!(says_never_seen(&failure(404, never)));
    for other in [
        r#"{"code":5,"message":"Not Found","details":[]}"#,
        r#"{"error":{"code":2,"message":"payment isn't initiated","details":[]}}"#,
        "<html>404 payment isn't initiated</html>",
        "",
    ] {
        assert!(!says_never_seen(&failure(404, other.as_bytes())), "{other}");
    }
    let none = br#"{"code":5,"message":"there are no existing invoices","details":[]}"#;
    assert!(says_no_invoice(&failure(404, none)));
}

#[test]
fn invoices_have_four_states() {
    let state = |state: &str, paid: &str| {
        let body =
            format!(r#"{{"memo":"x","state":"{state}","amt_paid_msat":"{paid}","htlcs":[]}}"#);
        InvoiceAnswer::read(body.as_bytes()).unwrap().state()
    };
    assert_eq!(state("OPEN", "0").unwrap(), InvoiceState::Open);
    assert_eq!(state("ACCEPTED", "0").unwrap(), InvoiceState::Held);
    assert_eq!(state("CANCELED", "0").unwrap(), InvoiceState::Canceled);
    let received = Msat::new(1500).unwrap();
    let settled = InvoiceState::Settled { received };
    assert_eq!(state("SETTLED", "1500").unwrap(), settled);
    state("SETTLED", "-1").unwrap_err();
    state("EXPIRED", "0").unwrap_err();
}

#[test]
fn a_node_of_another_network_is_noticed() {
    let info = |network: &str| {
        let body = format!(
            r#"{{"identity_pubkey":"02cc","synced_to_chain":true,"chains":[{{"chain":"bitcoin","network":"{network}"}}]}}"#
        );
        NodeInfo::read(body.as_bytes()).unwrap()
    };
    info("simnet")
        .check_network(LightningNetwork::Simnet)
        .unwrap();
    info("mainnet")
        .check_network(LightningNetwork::Bitcoin)
        .unwrap();
    info("testnet")
        .check_network(LightningNetwork::Bitcoin)
        .unwrap_err();
    info("bitcoin")
        .check_network(LightningNetwork::Bitcoin)
        .unwrap_err();
}

#[test]
fn what_came_to_an_address_is_counted_by_its_depth_and_nothing_else_is() {
    let transaction = |depth: i64, outputs: &[(&str, u64, bool)]| {
        let outputs = outputs.iter().map(|(address, sat, ours)| {
            format!(
                r#"{{"output_type":"SCRIPT_TYPE_WITNESS_V0_PUBKEY_HASH","address":"{address}","pk_script":"0014",
                "output_index":"0","amount":"{sat}","is_our_address":{ours}}}"#
            )
        });
        let outputs: Vec<String> = outputs.collect();
        format!(
            r#"{{"tx_hash":"{HASH}","amount":"1","num_confirmations":{depth},"output_details":[{}]}}"#,
            outputs.join(",")
        )
    };
    let body = format!(
        r#"{{"transactions":[{},{},{}],"last_index":"0","first_index":"0"}}"#,
        transaction(3, &[("sb1qours", 1_000, true), ("sb1qother", 7, true)]),
        transaction(1, &[("sb1qours", 200, true), ("sb1qours", 30, true)]),
        transaction(0, &[("sb1qours", 4, true), ("sb1qours", 9_000, false)]),
    );
    let all = Transactions::read(body.as_bytes()).unwrap();
    let came = |depth| all.came_to("sb1qours", depth).unwrap().get();
    assert_eq!(
        [came(0), came(1), came(2), came(4)],
        [1_234_000, 1_230_000, 1_000_000, 0]
    );
    assert_eq!(all.came_to("sb1qnobody", 0).unwrap(), Msat::ZERO);
    // A wallet without transactions.
    let none = Transactions::read(b"{}").unwrap();
    assert_eq!(none.came_to("sb1qours", 0).unwrap(), Msat::ZERO);
    let broken = body.replace("\"30\"", "\"many\"");
    let broken = Transactions::read(broken.as_bytes()).unwrap();
    broken.came_to("sb1qours", 0).unwrap_err();
}
