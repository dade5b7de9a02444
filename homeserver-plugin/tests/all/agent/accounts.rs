//! Payment accounts: what a key may spend, and what it may not.

mod app;
mod kept;
mod limits;
mod waiting;

use atomicity_ledger::authority::delegation_path;
use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{Delegation, Revocation, Scope, Spend, SpendTo};
use atomicity_ledger::{Keypair, Signed, Timestamp};
use reqwest::Method;
use serde_json::json;

use self::app::{App, at_work, body_of};
use super::world::{Person, Site, now, unit};
use crate::support::database::Database;
use crate::support::until;
use crate::support::world::{File, HomeServer, World};

#[tokio::test]
async fn an_app_pays_with_its_key_alone_and_the_user_sees_it() {
    let site = Site::start().await;
    let (owner, mut friend) = at_work(&site).await;
    let shop = App::new(&site, &owner, 1);
    shop.open(&site, &owner, (Some(500), 800), Some(&friend))
        .await;
    let first = shop.pays(1, &friend, 200);
    let paid = shop.post(&site, &first).await;
    paid.assert_status(201);
    assert_eq!(
        (&paid.body["state"], &paid.body["direct"]),
        (&json!("paid"), &json!(true))
    );
    let record = paid.body["receipt"]["record"].as_str().unwrap().to_owned();
    // Sent again it is answered as before; other words under its name are refused.
    let again = shop.post(&site, &first).await;
    assert_eq!(again.assert_status(200).body, paid.body);
    shop.post(&site, &shop.pays(1, &friend, 201))
        .await
        .assert_problem(409, "id_reused");
    let second = shop.pays(2, &friend, 200);
    shop.post(&site, &second).await.assert_status(201);
    shop.post(&site, &shop.pays(3, &friend, 200))
        .await
        .assert_problem(409, "account_day_limit_exceeded");
    let user = owner.user;
    friend
        .pump_until(&site, "both arrived", |friend| {
            friend.pair(&user).balance(&unit()).minor() == 400
        })
        .await;

    // The user sees who asked, and that it was paid; the app sees what is left.
    let journal = owner.journal(&site).await;
    assert_eq!(Person::of_kind(&journal, "spend"), 2);
    assert_eq!(Person::of_kind(&journal, "payment"), 2);
    let asked = journal.iter().find(|item| item["what"] == "spend").unwrap();
    assert_eq!(asked["record"], first.jws());
    let payment = journal
        .iter()
        .find(|item| item["what"] == "payment")
        .unwrap();
    let hash = atomicity_ledger::RecordHash::of(payment["record"].as_str().unwrap());
    assert_eq!(hash.to_string(), record);
    let seen = shop.seen(&site, &owner).await;
    assert_eq!(
        (&seen["name"], &seen["spent"]),
        (&json!("shop 1"), &json!("400"))
    );
    let left = shop.left(&site).await;
    assert_eq!(
        (&left["left_today"], &left["left"], left.get("name")),
        (&json!("100"), &json!("400"), None)
    );
    let status = shop.status(&site, &second).await;
    assert_eq!(status["state"], "paid");
    let list = owner
        .call(&site, Method::GET, "/v0/me/agent/spends", None)
        .await;
    let items = list.assert_status(200).body["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(items[0]["record"], second.jws());
}

#[tokio::test]
async fn what_the_root_did_not_sign_for_is_refused() {
    let site = Site::start().await;
    let (owner, friend) = at_work(&site).await;
    let other = site.person().await;
    let shop = App::new(&site, &owner, 1);
    let spend = shop.pays(1, &friend, 100);
    shop.post(&site, &spend)
        .await
        .assert_problem(404, "payment_account_unknown");
    shop.open(&site, &owner, (Some(500), 800), Some(&friend))
        .await;
    let refused = |n: u8, change: &dyn Fn(&mut Spend), status: u16, code: &'static str| {
        let mut record = shop.order(n, &friend, 100);
        change(&mut record);
        let signed = Signed::sign(record, &shop.key).unwrap();
        let (shop, site) = (&shop, &site);
        async move { shop.post(site, &signed).await.assert_problem(status, code) }
    };
    let usd = |s: &mut Spend| s.unit = "USD/2".parse().unwrap();
    refused(2, &usd, 409, "unit_not_allowed").await;
    let stranger = |s: &mut Spend| s.to = SpendTo::Peer(other.user);
    refused(3, &stranger, 409, "peer_not_allowed").await;
    refused(4, &app::outside, 409, "target_not_allowed").await;
    let late = |s: &mut Spend| s.expires = now();
    refused(5, &late, 409, "spend_expired").await;
    let long = |s: &mut Spend| s.expires = now().plus_millis(8 * 86_400_000);
    refused(6, &long, 409, "spend_too_long").await;
    let elsewhere = |s: &mut Spend| s.plugin = other.user;
    refused(7, &elsewhere, 400, "spend_elsewhere").await;
    let of_another = |s: &mut Spend| s.owner = other.user;
    refused(8, &of_another, 400, "spend_elsewhere").await;
    // A key that nobody delegated anything to signs in vain, and so does a spoilt signature.
    let thief = App::new(&site, &owner, 9);
    thief
        .post(&site, &thief.pays(9, &friend, 1))
        .await
        .assert_problem(404, "payment_account_unknown");
    let spoilt = format!("{}x", spend.jws());
    site.call(
        Method::POST,
        &shop.path(),
        "",
        Some(json!({"spend": spoilt})),
    )
    .await
    .assert_problem(400, "spend_malformed");
    // The books' own limits hold too: the user allows 1000 towards this friend, and 1200 a day.
    let rich = App::new(&site, &owner, 2);
    rich.open(&site, &owner, (None, 100_000), None).await;
    rich.post(&site, &rich.pays(20, &friend, 1_001))
        .await
        .assert_problem(409, "limit_exceeded");
    assert_eq!(rich.left(&site).await["spent"], "0");
    // Whoever may pay anybody in credit does not reach outside by that.
    let mut order = rich.order(21, &friend, 100);
    app::outside(&mut order);
    let order = Signed::sign(order, &rich.key).unwrap();
    rich.post(&site, &order)
        .await
        .assert_problem(409, "target_not_allowed");
    assert_eq!(Person::of_kind(&owner.journal(&site).await, "payment"), 0);
}

#[tokio::test]
async fn only_who_has_the_key_learns_what_is_left() {
    let site = Site::start().await;
    let (owner, friend) = at_work(&site).await;
    let (shop, thief) = (App::new(&site, &owner, 1), App::new(&site, &owner, 2));
    shop.open(&site, &owner, (Some(500), 800), Some(&friend))
        .await;
    let path = format!("/v0/accounts/{}/{}", owner.user, shop.key.signer_key());
    let ask = |header: Option<String>| {
        let request = site.request(Method::GET, &path);
        let request = match header {
            Some(value) => request.header("authorization", value),
            None => request,
        };
        crate::support::plugin::Answer::of(request)
    };
    ask(None).await.assert_problem(401, "pass_invalid");
    let pass = |app: &App, lives: u64| format!("Atomicity {}", app.pass(lives).jws());
    ask(Some(pass(&shop, 60_000))).await.assert_status(200);
    ask(Some(pass(&thief, 60_000)))
        .await
        .assert_problem(401, "pass_invalid");
    ask(Some(pass(&shop, 0)))
        .await
        .assert_problem(401, "pass_invalid");
    ask(Some(pass(&shop, 600_000)))
        .await
        .assert_problem(401, "pass_invalid");
    let spend = format!("Atomicity {}", shop.pays(1, &friend, 1).jws());
    ask(Some(spend)).await.assert_problem(401, "pass_invalid");
    let bearer = format!("Bearer {}", owner.token);
    ask(Some(bearer)).await.assert_problem(401, "pass_invalid");
}

#[tokio::test]
async fn an_account_is_what_the_root_signed_and_nothing_else() {
    let site = Site::start().await;
    let (owner, friend) = at_work(&site).await;
    let shop = App::new(&site, &owner, 1);
    let path = format!("/v0/me/agent/accounts/{}", shop.key.signer_key());
    let put = |word: Delegation, by: Keypair| {
        let signed = Signed::sign(word, &by).unwrap();
        let body = json!({"delegation": signed.jws(), "name": "shop"});
        owner.call(&site, Method::PUT, &path, Some(body))
    };
    let word = || shop.word(&owner, (Some(500), 800), Some(&friend), 1);
    let root = || owner.root.clone();
    put(word(), friend.root.clone())
        .await
        .assert_problem(400, "delegation_malformed");
    let foreign = Delegation {
        key: friend.root.signer_key(),
        ..word()
    };
    put(foreign, root())
        .await
        .assert_problem(400, "delegation_malformed");
    let books = Delegation {
        scopes: vec![Scope::Book],
        ..word()
    };
    put(books, root())
        .await
        .assert_problem(409, "not_an_account");
    let only_outside = Delegation {
        scopes: vec![Scope::Rails],
        ..word()
    };
    put(only_outside, root())
        .await
        .assert_problem(409, "not_an_account");
    let over = Delegation {
        not_after: Timestamp::saturating_from_millis(now().millis() - 1),
        ..word()
    };
    put(over, root())
        .await
        .assert_problem(409, "authority_expired");
    put(word(), root()).await.assert_status(200);
    shop.post(&site, &shop.pays(1, &friend, 300))
        .await
        .assert_status(201);

    // New terms keep count of what was spent; older ones don't come back, nor another unit.
    let wider = shop.word(&owner, (Some(700), 800), Some(&friend), 2);
    let changed = put(wider, root()).await;
    assert_eq!(changed.assert_status(200).body["left_today"], "400");
    put(word(), root())
        .await
        .assert_problem(409, "delegation_older");
    let mut other = shop.word(&owner, (Some(700), 800), Some(&friend), 3);
    other.limits[0].unit = "USD/2".parse().unwrap();
    put(other, root())
        .await
        .assert_problem(409, "unit_not_allowed");

    // Told to end it, the agent pays nothing more, and the key does not come back.
    let ended = owner.call(&site, Method::DELETE, &path, None).await;
    assert_eq!(ended.assert_status(200).body["state"], "revoked");
    shop.post(&site, &shop.pays(2, &friend, 1))
        .await
        .assert_problem(409, "key_revoked");
    let later = shop.word(&owner, (Some(700), 800), Some(&friend), 9);
    put(later, root()).await.assert_problem(409, "key_revoked");
    // What was paid before is still answered.
    shop.post(&site, &shop.pays(1, &friend, 300))
        .await
        .assert_problem(409, "id_reused");
}

#[tokio::test]
async fn a_revocation_that_is_only_published_ends_it_too() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let bootstrap = format!("network.dht_bootstrap={:?}", world.network.bootstrap);
    let sets = [
        bootstrap.as_str(),
        "network.dht_request_timeout_ms=200",
        "agent.authority_poll_s=1",
    ];
    let site = Site::start_on(Database::create().await, &sets).await;
    let (owner, friend) = at_work(&site).await;
    let root = pkarr::Keypair::from_secret_key(&owner.root.secret());
    world.settle(&root, &home.keys).await;
    let shop = App::new(&site, &owner, 1);
    shop.open(&site, &owner, (Some(500), 800), Some(&friend))
        .await;
    shop.post(&site, &shop.pays(1, &friend, 100))
        .await
        .assert_status(201);
    let revocation = |by: &Keypair| {
        let revocation = Revocation {
            v: Version,
            root: owner.user,
            key: shop.key.signer_key(),
            grant: None,
            at: now(),
        };
        Signed::sign(revocation, by).unwrap().jws().to_owned()
    };
    let path = delegation_path(&shop.key.signer_key());
    // Another's word changes nothing.
    home.put(
        &owner.user,
        &path,
        File::Is(revocation(&friend.root), "\"1\""),
    );
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    shop.post(&site, &shop.pays(2, &friend, 100))
        .await
        .assert_status(201);
    home.put(
        &owner.user,
        &path,
        File::Is(revocation(&owner.root), "\"2\""),
    );
    until("the agent has seen it", || async {
        shop.seen(&site, &owner).await["state"] == "revoked"
    })
    .await;
    shop.post(&site, &shop.pays(3, &friend, 100))
        .await
        .assert_problem(409, "key_revoked");
}
