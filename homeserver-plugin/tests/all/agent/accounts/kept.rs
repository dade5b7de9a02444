//! What was answered stands: over crashes, and against databases that are older than what was signed.

use std::collections::BTreeSet;

use super::super::world::{Person, Site};
use super::app::{App, at_work};

#[tokio::test]
async fn whatever_dies_a_spend_is_paid_once_or_not_at_all() {
    let mut site = Site::start().await;
    let (owner, friend) = at_work(&site).await;
    let shop = App::new(&site, &owner, 1);
    shop.open(&site, &owner, (Some(500), 800), Some(&friend))
        .await;
    let mut sent = 0;
    // After a start the agent may commit what waited before it comes to the spend: hence several times.
    for (point, expected) in [("agent_before_commit", 0), ("agent_after_commit", 50)] {
        let mut kept = BTreeSet::new();
        for times in 1..=4 {
            sent += 1;
            site.restart(Some(&format!("{point}:{times}")));
            let spend = shop.pays(sent, &friend, 50);
            let request = site.request(reqwest::Method::POST, &shop.path());
            if request.json(&super::body_of(&spend)).send().await.is_ok() {
                break;
            }
            site.after_death();
            let before = u64::from(sent - 1) * 50;
            let spent = shop.left(&site).await["spent"].as_str().unwrap().to_owned();
            let stored = spent.parse::<u64>().unwrap() - before;
            kept.insert(stored);
            // The app does not know, and sends it again.
            let again = shop.post(&site, &spend).await;
            again.assert_status(if stored == 0 { 201 } else { 200 });
            assert_eq!(again.body["state"], "paid");
        }
        assert!(kept.contains(&expected), "{point}: {kept:?}");
    }
    site.restart(None);
    let whole = u64::from(sent) * 50;
    assert_eq!(shop.left(&site).await["spent"], whole.to_string());
    let payments = Person::of_kind(&owner.journal(&site).await, "payment");
    assert_eq!(payments, usize::from(sent));
    let owed = owner.agents_pair(&site, &friend.user).await;
    let balance = owed.balance(&"BREAD/2".parse().unwrap()).minor();
    assert_eq!(balance.unsigned_abs(), whole);
}

#[tokio::test]
async fn an_account_of_a_restored_database_needs_a_new_key() {
    let mut site = Site::start().await;
    let (owner, friend) = at_work(&site).await;
    let shop = App::new(&site, &owner, 1);
    shop.open(&site, &owner, (Some(500), 800), Some(&friend))
        .await;
    let backup = site.back_up().await;
    shop.post(&site, &shop.pays(1, &friend, 400))
        .await
        .assert_status(201);
    site.restore(backup);
    shop.post(&site, &shop.pays(2, &friend, 400))
        .await
        .assert_problem(409, "account_restored");
    assert_eq!(shop.seen(&site, &owner).await["state"], "restored");
}
