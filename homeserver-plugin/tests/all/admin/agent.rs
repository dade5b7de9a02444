//! An agent of an account that is switched off signs nothing, and takes up what came when it is switched on again.

use atomicity_ledger::pair::PaymentNote;
use atomicity_ledger::{Amount, RecordId};
use reqwest::Method;
use serde_json::json;

use super::PASSWORD;
use crate::agent::world::{Site, allow, befriend, engage, hand_over, now, payment, unit};
use crate::support::database::Database;
use crate::support::plugin::Answer;

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn an_agent_rests_while_the_account_is_off() {
    let port = free_port();
    let listen = format!("admin.listen=127.0.0.1:{port}");
    let password = format!("admin.password={PASSWORD}");
    let sets = ["admin.enabled=true", &listen, &password];
    let site = Site::start_on(Database::create().await, &sets).await;
    let (mut owner, mut friend) = (site.person().await, site.person().await);
    befriend(&site, &mut owner, &mut friend, 2_000).await;
    let key = engage(&site, &mut owner, 5_000, Some(1_500)).await;
    hand_over(&site, &mut owner, &mut friend, key, allow(1_000)).await;

    let operate = async |what: &str, body| {
        let url = format!(
            "http://127.0.0.1:{port}/v0/admin/accounts/{}{what}",
            owner.user
        );
        let request = reqwest::Client::new().post(url).bearer_auth(PASSWORD);
        Answer::of(request.json(&body))
            .await
            .assert_status(200)
            .body
            .clone()
    };
    let signed = |account: &serde_json::Value| -> i64 {
        let signed = account["agent_work"]["signed"].as_array().unwrap().iter();
        signed.map(|line| line["count"].as_i64().unwrap()).sum()
    };
    let off = operate("/disable", json!({"reason": "a test"})).await;
    let before = signed(&off);
    owner
        .call(
            &site,
            Method::POST,
            "/v0/me/agent/issue",
            Some(payment(1, &friend.user, 100)),
        )
        .await
        .assert_problem(403, "account_disabled");
    // A friend pays: it is kept, and not answered.
    let user = owner.user;
    let note = PaymentNote {
        id: RecordId::from_entropy([9; 16]),
        reference: None,
        memo: None,
    };
    let root = friend.root.clone();
    let pair = friend.pairs.get_mut(&user).unwrap();
    let amount = Amount::from_minor(300).unwrap();
    let paid = pair.issue(&unit(), amount, None, note, &root, now());
    let paid = paid.unwrap();
    let records = vec![paid.state.jws().to_owned(), paid.payment.jws().to_owned()];
    friend.send(&site, &user, records).await;
    let still = operate("/disable", json!({"reason": "still"})).await;
    assert_eq!(signed(&still), before);
    assert!(still["queued"].as_i64().unwrap() >= 1);

    operate("/enable", json!({})).await;
    friend
        .pump_until(&site, "the agent acknowledged", |friend| {
            let side = friend.pair(&user).own().unit(&unit()).unwrap();
            side.unacknowledged() == 0
        })
        .await;
    let pair = owner.agents_pair(&site, &friend.user).await;
    assert_eq!(pair.balance(&unit()).minor(), 300);
    owner
        .call(
            &site,
            Method::POST,
            "/v0/me/agent/issue",
            Some(payment(1, &friend.user, 100)),
        )
        .await
        .assert_status(200);
}
