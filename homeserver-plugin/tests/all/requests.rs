//! Public requests to be paid, over HTTP.

use atomicity_ledger::record::{PaymentRequest, RequestState, request_path, request_state_path};
use atomicity_ledger::{Keypair, RecordId, Signed};
use serde_json::{Value, json};

use super::credit::{get, neighbour};
use crate::support::world::{File, HomeServer, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_shown_with_how_far_it_is_and_only_if_the_payee_signed_it() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let plugin = neighbour(&world).await;
    let root = home.resident(&world).await;
    let user = root.user_key();
    let id = RecordId::from_entropy([7; 16]);
    let path = format!("/v0/users/{user}/requests/{id}");
    get(&plugin, &path)
        .await
        .assert_problem(404, "request_unknown");
    get(&plugin, &format!("/v0/users/{user}/requests/x"))
        .await
        .assert_problem(400, "id_malformed");
    get(&plugin, &format!("/v0/users/x/requests/{id}"))
        .await
        .assert_problem(400, "user_malformed");

    let asked: PaymentRequest = serde_json::from_value(json!({
        "v": 1, "id": id, "payee": user, "unit": "BREAD/2", "amount": {"target": {"amount": "3000"}},
        "targets": [{"method": "cash", "value": "at the table"}], "memo": "dinner",
        "expires": 4_000_000_000_000u64, "at": 1_700_000_000_000u64,
    }))
    .unwrap();
    let thief = Keypair::from_secret(&[66; 32]);
    let forged = Signed::sign(asked.clone(), &thief).unwrap();
    let at = request_path(id);
    home.put(&user, &at, File::Is(forged.jws().to_owned(), "\"f\""));
    get(&plugin, &path)
        .await
        .assert_problem(502, "upstream_unavailable");

    let signed = Signed::sign(asked, &root).unwrap();
    home.put(&user, &at, File::Is(signed.jws().to_owned(), "\"a\""));
    let first = get(&plugin, &path).await;
    let body = &first.assert_status(200).body;
    assert_eq!(body["request"]["kind"], "target");
    assert_eq!(body["request"]["amount"], "3000");
    assert_eq!(body["request"]["targets"][0]["method"], "cash");
    assert_eq!(body["state"], Value::Null);
    assert_eq!(body["link"], format!("atomicity:{}", signed.jws()));

    let state = |serial: u64, filled: &str, signer: &Keypair| {
        let state: RequestState = serde_json::from_value(json!({
            "v": 1, "request": signed.hash(), "payee": user, "filled": filled, "reserved": "500",
            "open": true, "serial": serial, "at": 1_700_000_000_000u64,
        }))
        .unwrap();
        Signed::sign(state, signer).unwrap().jws().to_owned()
    };
    let said = request_state_path(id);
    home.put(&user, &said, File::Is(state(2, "1200", &root), "\"2\""));
    // What was read a moment ago is served for as long; then the homeserver is asked again.
    let shown = loop {
        let answer = get(&plugin, &path).await;
        if !answer.assert_status(200).body["state"].is_null() {
            break answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert_eq!(shown.body["state"]["filled"], "1200");
    assert_eq!(shown.body["state"]["reserved"], "500");
    assert_eq!(shown.body["state"]["left"], "1300");
    assert_eq!(shown.body["stale"], false);
}
