//! What a wallet tells of what waits and what there was: who may tell it, who sees it, and how it is shown.

use atomicity_ledger::record::Diary;
use atomicity_ledger::{Keypair as LedgerKeypair, Signed, UserKey};
use reqwest::Method;
use serde_json::{Value, json};

use super::{log_in, pages};
use crate::support::browser::{Browser, Relay};
use crate::support::plugin::{Account, Answer, Plugin};
use crate::support::user::User;

fn root(account: &Account<'_>) -> LedgerKeypair {
    LedgerKeypair::from_secret(&account.user.root.secret())
}

fn signed(user: UserKey, by: &LedgerKeypair, at: i64, lists: (Value, Value)) -> String {
    let record: Diary = serde_json::from_value(json!({
        "v": 1, "user": user, "at": at, "waiting": lists.0, "past": lists.1,
    }))
    .unwrap();
    Signed::sign(record, by).unwrap().jws().to_owned()
}

async fn put(account: &Account<'_>, jws: &str) -> Answer {
    let body = json!({"diary": jws});
    account.call(Method::PUT, "/v0/me/diary", Some(body)).await
}

fn nothing() -> (Value, Value) {
    (json!([]), json!([]))
}

#[tokio::test]
async fn a_diary_is_taken_from_its_user_alone_and_the_newest_stays() {
    let plugin = Plugin::start().await;
    let (account, other) = (plugin.user().await, plugin.user().await);
    let (root, now) = (root(&account), atomicity_plugin::clock::now_ms());
    let me = root.user_key();
    let good = signed(me, &root, now, nothing());
    put(&other, &good)
        .await
        .assert_problem(400, "diary_invalid");
    let ahead = signed(me, &root, now + 3_600_000, nothing());
    put(&account, &ahead)
        .await
        .assert_problem(400, "diary_invalid");
    put(&account, "x")
        .await
        .assert_problem(400, "diary_invalid");
    let stranger = LedgerKeypair::from_secret(&[9; 32]);
    let foreign = put(&account, &signed(me, &stranger, now, nothing())).await;
    assert!(
        matches!(foreign.status.as_u16(), 403 | 404 | 502),
        "{}",
        foreign.body
    );
    for (at, stored) in [(now, true), (now - 5, false), (now, false), (now + 1, true)] {
        let answer = put(&account, &signed(me, &root, at, nothing())).await;
        answer.assert_status(200);
        assert_eq!(answer.body["stored"], json!(stored), "{at}");
    }
    let visitor = plugin.visitor().await;
    let user = LedgerKeypair::from_secret(&visitor.user.root.secret());
    let answer = put(&visitor, &signed(user.user_key(), &user, now, nothing())).await;
    answer.assert_problem(404, "account_unknown");
}

#[tokio::test]
async fn what_waits_and_what_there_was_are_shown_to_their_user_as_text_until_they_are_forgotten() {
    let relay = Relay::start().await;
    let plugin = Plugin::start_with(|config| pages(config, &relay)).await;
    let account = plugin.user().await;
    let (root, now) = (root(&account), atomicity_plugin::clock::now_ms());
    let friend: UserKey = User::new().z32().parse().unwrap();
    let id = "AAAAAAAAAAAAAAAAAAAAAA";
    let waiting = json!([
        {"at": now - 1, "kind": "request", "direction": "out", "peer": friend, "unit": "USD/2", "amount": "4500",
         "memo": "<script>alert(1)</script> dinner", "id": id, "until": now + 60_000},
        {"at": now - 2, "kind": "settle_by_hand", "direction": "out", "peer": friend, "unit": "USD/2", "amount": "700", "id": id,
         "until": now - 60_000},
        {"at": now - 3, "kind": "request", "direction": "out", "peer": friend, "unit": "USD/2", "amount": "9900", "until": now - 60_000},
        {"at": now - 4, "kind": "from_the_future"},
    ]);
    let past = json!([
        {"at": now - 1, "kind": "paid", "direction": "out", "peer": friend, "unit": "USD/2", "amount": "1234", "receipt": "<b>the receipt</b>"},
        {"at": now - 2, "kind": "payment", "direction": "in", "unit": "USD/2", "amount": "55", "status": "received"},
        {"at": now - 3, "kind": "some_new_thing"},
    ]);
    let jws = signed(root.user_key(), &root, now, (waiting, past));
    put(&account, &jws).await.assert_status(200);

    let browser = Browser::new(&format!("http://{}", plugin.addresses.http));
    let overview = log_in(&browser, &account.user.root).await;
    for shown in [
        "asks you for",
        "45.00 USD",
        "&lt;script&gt;alert(1)&lt;/script&gt; dinner",
        "atomicity request pay AAAAAAAAAAAAAAAAAAAAAA",
        // A settlement that somebody may have begun to pay is not over with its time.
        "7.00 USD",
        "atomicity settle paid AAAAAAAAAAAAAAAAAAAAAA",
        "from the future",
    ] {
        assert!(overview.html.contains(shown), "{shown}: {}", overview.html);
    }
    assert!(!overview.html.contains("99.00 USD"), "{}", overview.html);
    assert!(
        !overview.html.contains("<script>alert"),
        "{}",
        overview.html
    );

    let history = browser.get("/wallet/history").await;
    for shown in [
        "You paid",
        "12.34 USD",
        "&lt;b&gt;the receipt&lt;/b&gt;",
        "They paid you",
        "0.55 USD",
        "some new thing",
    ] {
        assert!(history.html.contains(shown), "{shown}: {}", history.html);
    }

    // Somebody else sees nothing of it.
    let stranger = plugin.user().await;
    let theirs = Browser::new(&format!("http://{}", plugin.addresses.http));
    log_in(&theirs, &stranger.user.root).await;
    let theirs = theirs.get("/wallet/history").await;
    assert!(!theirs.html.contains("12.34 USD"), "{}", theirs.html);
    assert!(
        theirs.html.contains("atomicity diary on"),
        "{}",
        theirs.html
    );

    let forget = account.call(Method::DELETE, "/v0/me/diary", None);
    forget.await.assert_status(204);
    let history = browser.get("/wallet/history").await;
    assert!(!history.html.contains("12.34 USD"), "{}", history.html);
}
