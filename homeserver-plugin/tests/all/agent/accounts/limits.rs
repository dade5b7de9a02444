//! However many ask at once: a key spends at most its limit.

use futures_util::future::join_all;
use serde_json::json;

use super::super::world::{Person, Site};
use super::app::{App, at_work};

/// Asks for 16 times 100 at once. Returns how many were paid, and the code of the others.
async fn rush(site: &Site, shop: &App, friend: &Person, first: u8) -> (usize, Vec<String>) {
    let spends: Vec<_> = (first..first + 16)
        .map(|n| shop.pays(n, friend, 100))
        .collect();
    let answers = join_all(spends.iter().map(|spend| shop.post(site, spend))).await;
    let paid = answers.iter().filter(|a| a.status == 201).count();
    let others = answers.iter().filter(|a| a.status != 201);
    (paid, others.map(|a| a.code().to_owned()).collect())
}

#[tokio::test]
async fn sixteen_at_once_never_exceed_the_day_nor_the_sum_of_all() {
    let mut site = Site::start().await;
    let (owner, friend) = at_work(&site).await;
    let (daily, bounded) = (App::new(&site, &owner, 1), App::new(&site, &owner, 2));
    daily
        .open(&site, &owner, (Some(500), 100_000), Some(&friend))
        .await;
    bounded
        .open(&site, &owner, (None, 300), Some(&friend))
        .await;
    let (paid, codes) = rush(&site, &daily, &friend, 0).await;
    assert_eq!(paid, 5);
    assert!(
        codes
            .iter()
            .all(|code| code == "account_day_limit_exceeded"),
        "{codes:?}"
    );
    let (paid, codes) = rush(&site, &bounded, &friend, 100).await;
    assert_eq!(paid, 3);
    assert!(
        codes.iter().all(|code| code == "account_limit_exceeded"),
        "{codes:?}"
    );
    let owed = owner.agents_pair(&site, &friend.user).await;
    let owed = owed.balance(&"BREAD/2".parse().unwrap()).minor();
    assert_eq!(owed, -800);

    // What a thief of the key can do is done, also after a restart.
    site.restart(None);
    let (paid, _) = rush(&site, &daily, &friend, 30).await;
    assert_eq!(paid, 0);
    assert_eq!(daily.left(&site).await["left_today"], "0");
    assert_eq!(bounded.left(&site).await["left"], "0");
    assert_eq!(bounded.seen(&site, &owner).await["spent"], json!("300"));
}

#[tokio::test]
async fn one_spend_that_is_sent_many_times_at_once_is_paid_once() {
    let site = Site::start().await;
    let (owner, friend) = at_work(&site).await;
    let shop = App::new(&site, &owner, 1);
    shop.open(&site, &owner, (Some(500), 800), Some(&friend))
        .await;
    let spend = shop.pays(1, &friend, 100);
    let answers = join_all((0..16).map(|_| shop.post(&site, &spend))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1);
    assert!(
        answers
            .iter()
            .all(|answer| answer.body["id"] == answers[0].body["id"])
    );
    assert_eq!(shop.left(&site).await["spent"], "100");
    assert_eq!(Person::of_kind(&owner.journal(&site).await, "payment"), 1);
}
