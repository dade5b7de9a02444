//! Summaries that wallets push.

use atomicity_ledger::record::Snapshot;
use atomicity_ledger::{Keypair, Signed};
use reqwest::Method;
use serde_json::json;

use crate::support::plugin::{Account, Answer, Plugin};

fn keypair(account: &Account<'_>) -> Keypair {
    Keypair::from_secret(&account.user.root.secret())
}

fn snapshot(account: &Account<'_>, at: i64, signer: &Keypair) -> String {
    let record: Snapshot = serde_json::from_value(json!({
        "v": 1, "user": account.z32(), "at": at, "channels": []
    }))
    .unwrap();
    Signed::sign(record, signer).unwrap().jws().to_owned()
}

async fn put(account: &Account<'_>, jws: &str) -> Answer {
    account
        .call(
            Method::PUT,
            "/v0/me/snapshot",
            Some(json!({"snapshot": jws})),
        )
        .await
}

#[tokio::test]
async fn the_newest_summary_stays() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    let root = keypair(&account);
    let now = atomicity_plugin::clock::now_ms();
    for (at, stored, as_of) in [
        (now - 10, true, now - 10),
        (now, true, now),
        (now - 5, false, now),
        (now, false, now),
    ] {
        let answer = put(&account, &snapshot(&account, at, &root)).await;
        answer.assert_status(200);
        assert_eq!(
            (&answer.body["stored"], &answer.body["as_of"]),
            (&json!(stored), &json!(as_of))
        );
    }
}

#[tokio::test]
async fn a_summary_that_is_not_the_users_own_word_is_refused() {
    let plugin = Plugin::start().await;
    let (account, other) = (plugin.user().await, plugin.user().await);
    let (root, now) = (keypair(&account), atomicity_plugin::clock::now_ms());
    let good = snapshot(&account, now, &root);
    put(&other, &good)
        .await
        .assert_problem(400, "snapshot_invalid");
    put(&account, &snapshot(&account, now + 3_600_000, &root))
        .await
        .assert_problem(400, "snapshot_invalid");
    let at = good.rfind('.').unwrap() + 3;
    let mut forged = good.clone().into_bytes();
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    put(&account, &String::from_utf8(forged).unwrap())
        .await
        .assert_problem(400, "snapshot_invalid");
    put(&account, "")
        .await
        .assert_problem(400, "snapshot_invalid");
    put(&account, &"a".repeat(70_000))
        .await
        .assert_problem(413, "body_too_large");
    // A key whose authority can't be found counts for nothing, whatever session brings it.
    let stranger = put(
        &account,
        &snapshot(&account, now, &Keypair::from_secret(&[9; 32])),
    )
    .await;
    assert!(
        matches!(stranger.status.as_u16(), 403 | 404 | 502),
        "{}",
        stranger.body
    );
    put(&account, &good).await.assert_status(200);
    let visitor = plugin.visitor().await;
    let answer = put(&visitor, &snapshot(&visitor, now, &keypair(&visitor))).await;
    answer.assert_problem(404, "account_unknown");
}
