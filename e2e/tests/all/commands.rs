//! What the commands say that change nothing, or end a friendship.

use atomicity_e2e::people::Person;
use atomicity_e2e::{Wallet, World};
use serde_json::{Value, json};

use crate::common::{BREAD, settle, village};

async fn ok(person: &Person, arguments: &[&str]) -> Value {
    person.wallet().ok(arguments).await.unwrap()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name]
        .as_array()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// The fields of `value` that `expected` names are as it says.
fn matches(value: &Value, expected: &Value) {
    for (field, wanted) in expected.as_object().unwrap() {
        assert_eq!(value.get(field), Some(wanted), "{field} in {value}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn friends_are_listed_looked_at_and_removed() {
    let world = World::start().await.unwrap();
    let (site, milkman, baker) = village(&world).await;
    let mut carpenter = Person::new(&world, "carpenter").unwrap();
    carpenter.join(&site, BREAD).await.unwrap();
    carpenter.befriend(&milkman).await.unwrap();
    milkman.give(&baker, "2.00 BREAD/2", "loaf").await.unwrap();
    settle(&milkman, &baker).await;

    let all = ok(&milkman, &["friend", "list"]).await;
    let friend = json!({"user": baker.key(), "name": "baker", "state": "active"});
    assert_eq!(list(&all, "friends").len(), 1, "{all}");
    matches(&all["friends"][0], &friend);
    let (added, seen) = (
        &all["friends"][0]["added_at"],
        &all["friends"][0]["last_seen"],
    );
    assert!(added.is_u64() && seen.as_u64() >= added.as_u64(), "{all}");
    assert_eq!(list(&all, "pending").len(), 1, "{all}");
    let stranger = json!({"user": carpenter.key(), "name": "carpenter"});
    matches(&all["pending"][0], &stranger);
    assert!(all["pending"][0]["first_seen"].is_u64(), "{all}");

    limits_and_state(&milkman, &baker, site.plugin.key(), &site.homeserver.z32()).await;

    let kept = milkman.wallet().fails(3, &["friend", "remove", "baker"]);
    assert_eq!(kept.await.unwrap()["code"], "not_settled");
    assert_eq!(ok(&milkman, &["friend", "list"]).await, all);
    let removed = ok(&milkman, &["friend", "remove", "baker", "--force"]).await;
    assert_eq!(removed, json!({"user": baker.key(), "removed": true}));
    let left = ok(&milkman, &["friend", "list"]).await;
    assert_eq!(left["friends"], json!([]));
    // A debt outlives the friendship; the credit does not.
    baker.sync().await.unwrap();
    let line = baker.account(&milkman, BREAD).await.unwrap();
    matches(&line, &json!({"net": "200", "line_for_me": "0"}));
}

async fn limits_and_state(milkman: &Person, baker: &Person, plugin: &str, homeserver: &str) {
    let ceiling = ["friend", "limit", "baker", "15.00 BREAD/2", "--issue"];
    let expected = json!({
        "friend": "baker", "user": baker.key(), "unit": BREAD, "issue": "1500", "issue_text": "15.00 BREAD",
    });
    assert_eq!(ok(milkman, &ceiling).await, expected);
    let limits = ok(milkman, &["friend", "limit", "baker"]).await;
    matches(&limits, &json!({"friend": "baker", "user": baker.key()}));
    let expected = json!({
        "friend": "baker", "user": baker.key(), "unit": BREAD, "state": "active",
        "net": "-200", "net_text": "-2.00 BREAD",
        "line_for_them": "2000", "line_for_them_text": "20.00 BREAD",
        "line_for_me": "2000", "line_for_me_text": "20.00 BREAD",
        "own_ceiling": "1500", "own_ceiling_text": "15.00 BREAD",
        "can_issue": "1300", "can_issue_text": "13.00 BREAD",
        "can_receive": "2200", "can_receive_text": "22.00 BREAD",
        "unacknowledged": "0", "pending": 0, "epoch": {"mine": 0, "theirs": 0},
    });
    matches(&limits["balances"][0], &expected);

    let about = ok(milkman, &["friend", "inspect", "baker"]).await;
    let my_key = ok(milkman, &["whoami"]).await["book_key"].clone();
    let their_key = ok(baker, &["whoami"]).await["book_key"].clone();
    let expected = json!({
        "friend": "baker", "user": baker.key(), "state": "active",
        "my_book": {"epoch": 0, "key": my_key, "acknowledged": true},
        "their_book": {"epoch": 0, "key": their_key},
        "balances": limits["balances"], "frozen": null, "pending_records": [],
        "homeserver": homeserver, "plugins": [plugin], "outbox": 0,
    });
    matches(&about, &expected);
    assert!(about["reached_at"].is_u64(), "{about}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_tells_its_history_its_owner_and_its_health() {
    let world = World::start().await.unwrap();
    let (site, milkman, baker) = village(&world).await;
    let issue = [
        "issue",
        "baker",
        "2.00 BREAD/2",
        "--memo",
        "loaf",
        "--ref",
        "no. 7",
    ];
    let issued = ok(&milkman, &issue).await;
    settle(&milkman, &baker).await;

    let mut payment = json!({
        "friend": "baker", "user": baker.key(), "unit": BREAD, "kind": "payment", "direction": "out",
        "amount": "200", "amount_text": "2.00 BREAD", "memo": "loaf", "ref": "no. 7",
        "status": "acknowledged", "payment": issued["payment"], "seq": "1",
    });
    payment_in_history(milkman.wallet(), "baker", &payment).await;
    for (field, value) in [
        ("friend", "milkman"),
        ("user", milkman.key()),
        ("direction", "in"),
        ("status", "received"),
    ] {
        payment[field] = value.into();
    }
    payment_in_history(baker.wallet(), "milkman", &payment).await;

    let (plugin, home) = (site.plugin.key(), site.homeserver.z32());
    let me = ok(&milkman, &["whoami", "--no-qr"]).await;
    let expected = json!({
        "user": milkman.key(), "name": "milkman", "homeserver": home, "units": [BREAD],
        "encryption_key_number": 1,
    });
    matches(&me, &expected);
    assert!(
        me["book_key"].is_string() && me["book_key"] != me["user"],
        "{me}"
    );
    assert_eq!(me["plugins"][0]["plugin"], plugin);
    assert!(me["generation"].as_u64() >= Some(1), "{me}");

    let own = ok(&milkman, &["profile", "show"]).await;
    let mut expected = json!({
        "user": milkman.key(), "name": "milkman", "units": [BREAD], "matches_wallet": true,
        "encryption_key_number": me["encryption_key_number"],
    });
    matches(&own, &expected);
    assert_eq!(own["inboxes"][0]["plugin"], plugin);
    assert!(own["at"].is_u64() && own["signed_by"].is_string(), "{own}");
    let seen = ok(&baker, &["profile", "show", milkman.key()]).await;
    expected["matches_wallet"] = Value::Null;
    matches(&seen, &expected);
    assert_eq!(seen["signed_by"], own["signed_by"]);

    let health = ok(&milkman, &["doctor"]).await;
    assert_eq!(health["ok"], true, "{health}");
    let mut checked = Vec::new();
    for check in list(&health, "checks") {
        assert_eq!(check["ok"], true, "{check}");
        assert!(
            check["detail"].is_string() && check.get("hint").is_some(),
            "{check}"
        );
        checked.push(check["check"].as_str().unwrap());
    }
    for wanted in [
        "store",
        "permissions",
        "root_file",
        "delegation",
        "session",
        "homeserver",
        "profile",
        "plugin",
        "generation",
        "outbox",
        "clock",
    ] {
        let found = checked
            .iter()
            .any(|check| check.split(' ').next() == Some(wanted));
        assert!(found, "{wanted} is not among {checked:?}");
    }
}

/// The payment stands in the history with `friend` once, which comes newest first and in pages.
async fn payment_in_history(wallet: &Wallet, friend: &str, payment: &Value) {
    let all = wallet
        .ok(&["history", friend, "--unit", BREAD])
        .await
        .unwrap();
    let items = list(&all, "items");
    let of_payments: Vec<_> = items
        .iter()
        .filter(|item| item["kind"] == "payment")
        .collect();
    assert_eq!(of_payments.len(), 1, "{all}");
    matches(of_payments[0], payment);
    assert_eq!(all["next"], Value::Null);
    let ids: Vec<_> = items
        .iter()
        .map(|item| item["id"].as_i64().unwrap())
        .collect();
    assert!(ids.is_sorted_by(|a, b| a > b), "{ids:?}");
    assert!(
        ids.len() > 1 && items.iter().all(|item| item["at"].is_u64()),
        "{all}"
    );

    let mut paged = Vec::new();
    let mut page = wallet
        .ok(&["history", friend, "--unit", BREAD, "--limit", "1"])
        .await
        .unwrap();
    while paged.len() < items.len() {
        paged.extend(list(&page, "items").iter().cloned());
        let Some(before) = page["next"].as_i64() else {
            break;
        };
        let before = before.to_string();
        let more = [
            "history", friend, "--unit", BREAD, "--limit", "1", "--before", &before,
        ];
        page = wallet.ok(&more).await.unwrap();
    }
    assert_eq!(paged, *items);
}
