//! Circles of debts, out of what people publish.

use atomicity_ledger::Signed;
use atomicity_ledger::record::Profile;
use reqwest::Method;
use serde_json::{Value, json};

use super::people::*;
use crate::support::plugin::{Answer, Plugin};
use crate::support::until;
use crate::support::world::{HomeServer, World};

async fn ask(plugin: &Plugin, question: &Value) -> Answer {
    let request = plugin.request(Method::POST, "/v0/router/circles");
    Answer::of(request.json(question)).await
}

async fn circles(plugin: &Plugin, question: &Value) -> Vec<Value> {
    let answer = ask(plugin, question).await;
    answer.assert_status(200).body["circles"]
        .as_array()
        .unwrap()
        .clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn circles_of_debts_are_found_where_both_ends_agree() {
    let world = World::new();
    let (one, two) = (
        HomeServer::open(&world).await,
        HomeServer::open(&world).await,
    );
    let a = Somebody::at(&world, &one).await;
    let b = Somebody::at(&world, &two).await;
    let c = Somebody::at(&world, &one).await;
    let d = Somebody::at(&world, &two).await;
    // b owes a, c owes b, a owes c; and round d, who owes b too.
    a.publish(1, &[(&b, owed(500)), (&c, owes(200)), (&d, owes(100))]);
    b.publish(1, &[(&a, owes(1_000)), (&c, owed(500)), (&d, owed(50))]);
    c.publish(1, &[(&b, owes(500)), (&a, owed(200))]);
    d.publish(1, &[(&b, owes(50))]);
    let plugin = router(&world, &[&a], |_| {}).await;
    let question = json!({"user": a.user(), "unit": "BREAD/2"});
    until("a circle is found", || async {
        let answer = ask(&plugin, &question).await;
        answer.body["circles"].get(0).is_some()
    })
    .await;
    let short = json!({"amount": "200", "users": [b.user(), c.user(), a.user()]});
    assert_eq!(
        circles(&plugin, &question).await,
        std::slice::from_ref(&short)
    );
    // d agrees as well.
    d.publish(2, &[(&b, owes(50)), (&a, owed(100))]);
    let other = json!({"amount": "50", "users": [b.user(), d.user(), a.user()]});
    until("both circles are found", || async {
        circles(&plugin, &question).await == [short.clone(), other.clone()]
    })
    .await;
    let large = json!({"user": a.user(), "unit": "BREAD/2", "min": "51"});
    assert_eq!(circles(&plugin, &large).await, std::slice::from_ref(&short));
    let one_only = json!({"user": a.user(), "unit": "BREAD/2", "most": 1});
    assert_eq!(
        circles(&plugin, &one_only).await,
        std::slice::from_ref(&short)
    );
    let elsewhere = json!({"user": a.user(), "unit": "HOUR"});
    assert!(circles(&plugin, &elsewhere).await.is_empty());
    until("profiles are there", || async {
        let answer = ask(&plugin, &question).await;
        let profile = answer.body["profiles"][b.user().to_z32()].as_str();
        profile.is_some_and(|jws| Signed::<Profile>::decode(jws).unwrap().record().user == b.user())
    })
    .await;
    // Debts are no way to pay.
    let pays = super::ask(&plugin, &super::question(&a, &c, 5)).await;
    assert_eq!(pays.status, 404);

    // One end takes its word back.
    c.publish(2, &[(&b, owes(500))]);
    c.publish(3, &[(&b, owes(500)), (&a, both(100))]);
    until("the circle is gone", || async {
        circles(&plugin, &question).await == [other.clone()]
    })
    .await;
    // What is unbounded is not answered.
    for (name, value) in [
        ("max_edges", 2),
        ("max_edges", 11),
        ("most", 0),
        ("most", 33),
    ] {
        let mut wrong = question.clone();
        wrong[name] = json!(value);
        let refused = ask(&plugin, &wrong).await;
        refused.assert_problem(400, "question_invalid");
    }
    let unknown = json!({"user": a.user(), "unit": "BREAD/2", "fast": true});
    ask(&plugin, &unknown)
        .await
        .assert_problem(400, "body_malformed");
    let document = get(&plugin, "/openapi.json").await;
    assert!(document.body["paths"]["/v0/router/circles"].is_object());
}
