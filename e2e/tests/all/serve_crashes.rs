//! A wallet that dies while it pays: asked again with the same key, it has paid once.

use anyhow::ensure;
use atomicity_e2e::people::{Person, expect};
use atomicity_e2e::serve::Serve;
use atomicity_e2e::town::{Town, befriend, invoice, live, until_owed};
use atomicity_e2e::wait;
use serde_json::{Value, json};

use crate::common::BREAD;

/// The commits at which it dies while it gives: those of the operation and of what it signs are the first ones.
const GIVING: [usize; 4] = [1, 2, 3, 5];
/// The same while it promises. Payments alone are tried at each commit elsewhere.
const PROMISING: [usize; 6] = [1, 2, 3, 5, 8, 13];

/// Pays once, with a wallet that dies at the n-th commit; whether it did die. Ben is owed so much then, and knows it.
async fn pay(
    (anna, ben): (&Person, &Person),
    (place, n): (&str, usize),
    body: &Value,
    owed: i64,
) -> bool {
    let key = format!("{place}-{n}-{}", body["memo"].as_str().unwrap_or("x"));
    let folder = tempfile::tempdir().unwrap();
    let armed = folder.path().join("armed");
    let dying = anna.wallet().dying(place, n, &armed);
    // What it does when it starts is over: the commits that count are those of the payment, and of what is watched meanwhile.
    let serve = Serve::start(&dying, &[]).await.unwrap();
    let mut serve = serve.ready().await.unwrap();
    std::fs::write(&armed, "").unwrap();
    let first = serve.once(&key, "/v0/payments", body).await;
    let died = first.is_err();
    if died {
        wait::until("its end", || {
            let runs = serve.runs();
            async move {
                ensure!(!runs?, "it runs");
                Ok(())
            }
        })
        .await
        .unwrap();
    }
    serve.kill().await.unwrap();
    let serve = Serve::start(anna.wallet(), &[]).await.unwrap();
    let paid = wait::until("the payment to be made", || async {
        let again = serve.once(&key, "/v0/payments", body).await?;
        ensure!(again.status == 200, "{again:?}");
        Ok(again.body)
    })
    .await
    .unwrap();
    expect(&paid, "/state", "paid").unwrap();
    if let Ok(first) = first {
        assert_eq!(first.ok().unwrap(), paid);
    }
    let again = serve.once(&key, "/v0/payments", body).await.unwrap();
    assert_eq!(again.ok().unwrap(), paid);
    // The answer says that it is signed; Ben hears of it as long as the wallet runs, even if the one that died had its homeserver locked.
    until_owed(ben, anna, BREAD, owed).await.unwrap();
    serve.stop().await.unwrap();
    died
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_again_after_a_death_has_paid_once() {
    let town = Town::found(BREAD).await.unwrap();
    let anna = town.person("anna", 0).await.unwrap();
    let ben = town.person("ben", 1).await.unwrap();
    befriend(&anna, &ben, "500.00 BREAD/2").await.unwrap();
    let running = live(&ben).await.unwrap();
    let mut owed = 0;
    let (mut direct, mut promised) = (0, 0);
    for place in ["before_commit", "after_commit"] {
        for n in GIVING {
            let body = json!({ "to": "ben", "amount": "1.00 BREAD/2", "memo": "d" });
            owed += 100;
            let died = pay((&anna, &ben), (place, n), &body, owed).await;
            direct += usize::from(died);
            if !died {
                break;
            }
        }
        for n in PROMISING {
            let (link, _) = invoice(&ben, "2.00 BREAD/2", "again").await.unwrap();
            owed += 200;
            let died = pay((&anna, &ben), (place, n), &json!({ "to": link }), owed).await;
            promised += usize::from(died);
            if !died {
                break;
            }
        }
    }
    println!("died {direct} times while giving, {promised} times while promising");
    assert!(direct >= 3 && promised >= 3, "{direct} and {promised}");
    running.stop().await.unwrap();
}
