//! What the agent can't do alone waits for the user's wallet, and counts meanwhile.

use atomicity_ledger::Signed;
use atomicity_ledger::record::Spend;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::world::{Person, Site};
use super::app::{App, at_work};
use crate::support::plugin::Answer;
use crate::support::until;

async fn report(site: &Site, owner: &Person, spend: &Signed<Spend>, body: Value) -> Answer {
    let path = format!("/v0/me/agent/spends/{}", spend.record().id);
    owner.call(site, Method::PUT, &path, Some(body)).await
}

async fn left(site: &Site, shop: &App) -> String {
    shop.left(site).await["left_today"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_strangers_invoice_is_reserved_until_the_wallet_says_what_became_of_it() {
    let mut site = Site::start().await;
    let (owner, _friend) = at_work(&site).await;
    let stranger = site.person().await;
    let shop = App::new(&site, &owner, 1);
    shop.open(&site, &owner, (Some(500), 800), None).await;
    let first = shop.pays_invoice(1, &stranger, (200, 10, 60_000));
    let taken = shop.post(&site, &first).await;
    assert_eq!(taken.assert_status(201).body["state"], "waiting");
    assert_eq!(taken.body["direct"], false);
    // 200, and the fee that it may cost.
    assert_eq!(left(&site, &shop).await, "290");
    let second = shop.pays_invoice(2, &stranger, (280, 10, 60_000));
    shop.post(&site, &second).await.assert_status(201);
    shop.post(&site, &shop.pays_invoice(3, &stranger, (1, 0, 60_000)))
        .await
        .assert_problem(409, "account_day_limit_exceeded");
    let open = "/v0/me/agent/spends?open=true";
    let list = owner.call(&site, Method::GET, open, None).await;
    let items = list.assert_status(200).body["items"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(items.len(), 2);
    assert_eq!(items[1]["record"], first.jws());

    // It survives a restart, and is taken up once.
    site.restart(None);
    for _ in 0..2 {
        let paying = report(&site, &owner, &first, json!({"state": "paying"})).await;
        assert_eq!(paying.assert_status(200).body["state"], "paying");
    }
    let unknown = report(&site, &owner, &first, json!({"state": "unknown"})).await;
    assert_eq!(unknown.assert_status(200).body["state"], "unknown");
    assert_eq!(left(&site, &shop).await, "0");
    let much = json!({"state": "paid", "fee": "11"});
    report(&site, &owner, &first, much)
        .await
        .assert_problem(400, "report_invalid");
    let preimage = String::from(atomicity_ledger::Preimage::from_bytes([1; 32]));
    let paid = json!({"state": "paid", "fee": "4", "receipt": {"preimage": preimage}});
    for _ in 0..2 {
        let paid = report(&site, &owner, &first, paid.clone()).await;
        assert_eq!(paid.assert_status(200).body["state"], "paid");
    }
    // What it did not cost is free again; nothing else is.
    assert_eq!(left(&site, &shop).await, "6");
    let status = shop.status(&site, &first).await;
    assert_eq!(
        (&status["receipt"]["preimage"], &status["fee"]),
        (&json!(preimage), &json!("4"))
    );
    report(&site, &owner, &first, json!({"state": "failed"}))
        .await
        .assert_problem(409, "spend_ended");

    // What failed for certain is free again, once.
    let failed = json!({"state": "failed", "reason": "no_route"});
    for _ in 0..2 {
        let answer = report(&site, &owner, &second, failed.clone()).await;
        assert_eq!(answer.assert_status(200).body["reason"], "no_route");
    }
    assert_eq!(left(&site, &shop).await, "296");
    assert_eq!(shop.left(&site).await["spent"], "204");
    let none = owner.call(&site, Method::GET, open, None).await;
    assert_eq!(none.body["items"], json!([]));
    let journal = owner.journal(&site).await;
    assert_eq!(Person::of_kind(&journal, "spend"), 2);
    assert_eq!(Person::of_kind(&journal, "payment"), 0);
}

#[tokio::test]
async fn what_nobody_takes_up_in_time_ends_and_is_free_again() {
    let site = Site::start().await;
    let (owner, _friend) = at_work(&site).await;
    let stranger = site.person().await;
    let shop = App::new(&site, &owner, 1);
    shop.open(&site, &owner, (Some(500), 500), None).await;
    // Books that the agent does not keep are the wallet's too.
    let mut gift = shop.order(1, &stranger, 500);
    gift.expires = super::super::world::now().plus_millis(2_000);
    let gift = Signed::sign(gift, &shop.key).unwrap();
    let taken = shop.post(&site, &gift).await;
    assert_eq!(taken.assert_status(201).body["state"], "waiting");
    assert_eq!(left(&site, &shop).await, "0");
    until("its time is over", || async {
        shop.status(&site, &gift).await["state"] == "failed"
    })
    .await;
    assert_eq!(shop.status(&site, &gift).await["reason"], "spend_expired");
    assert_eq!(left(&site, &shop).await, "500");
    report(&site, &owner, &gift, json!({"state": "paying"}))
        .await
        .assert_problem(409, "spend_ended");
    assert_eq!(left(&site, &shop).await, "500");
    // Sent again it is answered as before, and not begun anew.
    let again = shop.post(&site, &gift).await;
    assert_eq!(again.assert_status(200).body["state"], "failed");
}

#[tokio::test]
async fn a_place_outside_is_reserved_until_the_wallet_says_what_became_of_it() {
    let mut site = Site::start().await;
    let (owner, friend) = at_work(&site).await;
    let stranger = site.person().await;
    let shop = App::new(&site, &owner, 1);
    // In credit it may pay the friend alone; a place outside is nobody.
    shop.open_outward(&site, &owner, (Some(500), 800), Some(&friend))
        .await;
    assert_eq!(shop.left(&site).await["rails"], true);
    shop.post(&site, &shop.pays(1, &stranger, 1))
        .await
        .assert_problem(409, "peer_not_allowed");
    let (first, second) = (
        shop.pays_outside(2, &friend, 300),
        shop.pays_outside(3, &friend, 200),
    );
    for spend in [&first, &second, &first] {
        let taken = shop.post(&site, spend).await;
        assert_eq!(taken.body["state"], "waiting", "{:?}", taken.body);
        assert_eq!(taken.body["direct"], false);
    }
    assert_eq!(left(&site, &shop).await, "0");
    shop.post(&site, &shop.pays_outside(4, &friend, 1))
        .await
        .assert_problem(409, "account_day_limit_exceeded");
    // Another place under a name that was used is refused.
    let mut other = first.record().clone();
    other.pays.as_mut().unwrap().amount = "0.00006".parse().unwrap();
    let other = Signed::sign(other, &shop.key).unwrap();
    shop.post(&site, &other)
        .await
        .assert_problem(409, "id_reused");
    site.restart(None);
    for state in ["paying", "unknown", "unknown"] {
        let said = report(&site, &owner, &first, json!({"state": state})).await;
        assert_eq!(said.assert_status(200).body["state"], state);
    }
    assert_eq!(left(&site, &shop).await, "0");
    // What a rail costs is the owner's.
    let dear = json!({"state": "paid", "fee": "1"});
    report(&site, &owner, &first, dear)
        .await
        .assert_problem(400, "report_invalid");

    // The account ends; what was begun ends as it ends.
    let path = format!("/v0/me/agent/accounts/{}", shop.key.signer_key());
    let ended = owner.call(&site, Method::DELETE, &path, None).await;
    ended.assert_status(200);
    shop.post(&site, &shop.pays_outside(5, &friend, 1))
        .await
        .assert_problem(409, "key_revoked");
    let preimage = String::from(atomicity_ledger::Preimage::from_bytes([2; 32]));
    let paid = json!({"state": "paid", "receipt": {"preimage": preimage}});
    for _ in 0..2 {
        let paid = report(&site, &owner, &first, paid.clone()).await;
        assert_eq!(paid.assert_status(200).body["state"], "paid");
    }
    let failed = json!({"state": "failed", "reason": "rate_off"});
    let failed = report(&site, &owner, &second, failed).await;
    assert_eq!(failed.assert_status(200).body["reason"], "rate_off");
    let status = shop.status(&site, &first).await;
    assert_eq!(status["receipt"]["preimage"], json!(preimage));
    assert_eq!(shop.seen(&site, &owner).await["spent"], "300");
}
