//! The router: what it takes in, what it answers, what it survives. Homeservers here do as the test tells them.

mod circles;
mod effort;
mod exchange;
mod people;
mod picture;

use atomicity_ledger::record::{Advert, Delegation, Profile, Rating, Revocation};
use atomicity_ledger::{Keypair, Signed, UserKey};
use atomicity_plugin::doctor::Level;
use reqwest::Method;
use serde_json::{Value, json};

use self::people::*;
use crate::doctor::examined;
use crate::support::plugin::{Answer, Plugin};
use crate::support::until;
use crate::support::world::{HomeServer, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_found_from_one_end_with_exact_fees_and_profiles() {
    let world = World::new();
    let (one, two) = (
        HomeServer::open(&world).await,
        HomeServer::open(&world).await,
    );
    let (a, b, c) = chain(&world, [&one, &two, &one]).await;
    let plugin = router(&world, &[&a], |_| {}).await;
    let answer = until_found(&plugin, &question(&a, &c, 500)).await;
    assert_eq!(users_of(&answer), [b.user().to_z32(), c.user().to_z32()]);
    let route = &answer.body["routes"][0];
    assert_eq!(route["fee"], "4");
    assert_eq!(route["exact"], true);
    assert_eq!(route["parts"][0]["hops"][0]["amount"], "504");
    assert_eq!(route["parts"][0]["hops"][1]["amount"], "500");
    assert!(answer.body["as_of"].as_i64().unwrap() > 0);
    until("profiles are there", || async {
        let answer = ask(&plugin, &question(&a, &c, 500)).await;
        let profile = answer.body["profiles"][b.user().to_z32()].as_str();
        profile.is_some_and(|jws| Signed::<Profile>::decode(jws).unwrap().record().user == b.user())
    })
    .await;

    // Without saying who pays.
    let anonymous = json!({"first": [{"user": b.user(), "capacity": "600"}], "to": c.user(), "unit": "BREAD/2", "amount": "500"});
    ask(&plugin, &anonymous).await.assert_status(200);
    // What everybody can check.
    let known = get(&plugin, &format!("/v0/router/users/{}", b.user())).await;
    assert_eq!(
        known.assert_status(200).body["adverts"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(known.body["homeserver"], two.key().to_z32());
    let first = get(&plugin, &format!("/v0/router/users/{}?limit=1", b.user())).await;
    let next = first.body["next"].as_str().unwrap().to_owned();
    let second = get(
        &plugin,
        &format!("/v0/router/users/{}?limit=1&after={next}", b.user()),
    )
    .await;
    assert_ne!(
        first.body["adverts"][0]["peer"],
        second.body["adverts"][0]["peer"]
    );
    let status = get(&plugin, "/v0/router/status").await;
    assert_eq!(status.assert_status(200).body["homeservers"], 2);
    let info = get(&plugin, "/v0/info").await;
    assert_eq!(info.body["roles"]["router"]["path"], "/v0/router");
    let document = get(&plugin, "/openapi.json").await;
    let told = |path: &str| document.body["paths"][path].is_object();
    for path in ["routes", "hello", "status", "users/{user}"] {
        assert!(told(&format!("/v0/router/{path}")), "{path} is not told");
    }
    assert!(!told("/v0/index/ratings/{subject}"), "it is no indexer");
    // What the operator looks at.
    let nowhere = tempfile::tempdir().unwrap();
    let report = examined(&plugin.config, nowhere.path()).await;
    let found = |name: &str| report.checks.iter().find(|check| check.check == name);
    assert_eq!(found("router").unwrap().level, Level::Ok);
    assert!(
        found("router")
            .unwrap()
            .detail
            .contains("3 users and 4 advertisements")
    );
    assert_eq!(found("router_seed").unwrap().level, Level::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_counts_only_if_both_ends_publish_it() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let (a, b, c) = chain(&world, [&home, &home, &home]).await;
    let d = Somebody::at(&world, &home).await;
    // Both ends of b → c; of c → d only one.
    c.publish(2, &[(&b, both(1_000)), (&d, both(1_000))]);
    let plugin = router(&world, &[&a, &d], |_| {}).await;
    until_found(&plugin, &question(&a, &c, 5)).await;
    let alone = question(&a, &d, 5);
    let code = ask(&plugin, &alone).await.code().to_owned();
    assert!(
        ["no_route", "unknown_payee"].contains(&code.as_str()),
        "{code}"
    );
    d.publish(1, &[(&c, both(1_000))]);
    until_found(&plugin, &alone).await;
    // One end takes it back, with a newer advertisement that says nothing.
    let empty = json!({"v": 1, "from": c.user(), "to": d.user(), "serial": 4, "units": [], "max_deadline_s": 1, "expires": now() + DAY, "at": 1});
    c.put(
        &format!("{ROUTES}{}", d.user()),
        signed::<Advert>(empty, &c.root),
    );
    until("the edge is gone", || async {
        ask(&plugin, &alone).await.status != 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_there_is_no_way_is_told_in_codes_with_figures() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let (a, b, c) = chain(&world, [&home, &home, &home]).await;
    let plugin = router(&world, &[&a], |_| {}).await;
    until_found(&plugin, &question(&a, &c, 500)).await;
    let wide = ask(&plugin, &question(&a, &c, 5_000)).await;
    wide.assert_problem(409, "too_narrow");
    // Of 1000 that b can be promised, four are b's.
    assert_eq!(wide.body["widest"], "996");
    let mut dear = question(&a, &c, 500);
    dear["max_fee"] = json!("3");
    let dear = ask(&plugin, &dear).await;
    dear.assert_problem(409, "fee_too_high");
    assert_eq!(dear.body["cheapest"], "4");
    let stranger = Keypair::from_secret(&[3; 32]).user_key();
    let mut unknown = question(&a, &c, 500);
    unknown["to"] = json!(stranger);
    ask(&plugin, &unknown)
        .await
        .assert_problem(404, "unknown_payee");
    // An invoice's hint makes them known.
    unknown["hints"] = json!([{"peer": c.user(), "capacity": "700", "base": "1", "ppm": 0}]);
    let hinted = ask(&plugin, &unknown).await;
    assert_eq!(users_of(hinted.assert_status(200)).len(), 3);
    let mut avoided = question(&a, &c, 500);
    avoided["avoid_users"] = json!([b.user()]);
    ask(&plugin, &avoided).await.assert_problem(404, "no_route");
    let mut avoided = question(&a, &c, 500);
    avoided["avoid_edges"] = json!([{"from": b.user(), "to": c.user()}]);
    ask(&plugin, &avoided).await.assert_problem(404, "no_route");
    let bad = json!({"to": c.user(), "unit": "BREAD/2", "amount": "5"});
    ask(&plugin, &bad)
        .await
        .assert_problem(400, "question_invalid");
    let bad = json!({"from": a.user(), "to": c.user(), "unit": "BREAD/02", "amount": "5"});
    ask(&plugin, &bad)
        .await
        .assert_problem(400, "body_malformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_too_wide_for_one_way_goes_over_several() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let (a, b, c) = chain(&world, [&home, &home, &home]).await;
    let d = Somebody::at(&world, &home).await;
    a.publish(2, &[(&b, both(1_000)), (&d, both(1_000))]);
    d.publish(1, &[(&a, both(1_000)), (&c, for_fee(1_000, 1, 0))]);
    c.publish(2, &[(&b, both(1_000)), (&d, both(1_000))]);
    let plugin = router(&world, &[&a], |_| {}).await;
    let wide = question(&a, &c, 1_500);
    let answer = until_found(&plugin, &wide).await;
    let parts = answer.body["routes"][0]["parts"].as_array().unwrap();
    let amount = |part: &Value| part["amount"].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(
        (parts.len(), parts.iter().map(amount).sum::<u64>()),
        (2, 1_500)
    );
    let mut single = wide;
    single["max_parts"] = json!(1);
    ask(&plugin, &single)
        .await
        .assert_problem(409, "too_narrow");
    let mut choice = question(&a, &c, 500);
    choice["alternatives"] = json!(3);
    let routes = ask(&plugin, &choice).await;
    assert_eq!(routes.body["routes"].as_array().unwrap().len(), 2);
    assert_eq!(routes.body["routes"][0]["fee"], "1", "the cheapest first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_homeserver_takes_nothing_with_it_and_a_restart_keeps_the_graph() {
    let world = World::new();
    let (one, two) = (
        HomeServer::open(&world).await,
        HomeServer::open(&world).await,
    );
    let (a, _b, c) = chain(&world, [&one, &two, &one]).await;
    let plugin = router(&world, &[&a], |_| {}).await;
    until_found(&plugin, &question(&a, &c, 500)).await;
    two.stop();
    until("the failure was noticed", || async {
        let status = get(&plugin, "/v0/router/status").await;
        status.body["homeservers_failing"] == 1
    })
    .await;
    ask(&plugin, &question(&a, &c, 500))
        .await
        .assert_status(200);
    one.stop();
    // Nobody can be asked now: what is answered was stored.
    let plugin = plugin.restart().await;
    until_found(&plugin, &question(&a, &c, 500)).await;
    let status = get(&plugin, "/v0/router/status").await;
    assert_eq!(status.body["edges"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_advertisement_goes_and_an_older_one_does_not_come_back() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let (a, b, c) = chain(&world, [&home, &home, &home]).await;
    b.publish(7, &[(&a, both(1_000)), (&c, for_fee(1_000, 3, 0))]);
    let plugin = router(&world, &[&a], |_| {}).await;
    let chain = question(&a, &c, 500);
    until_found(&plugin, &chain).await;
    let path = format!("{ROUTES}{}", c.user());
    b.list(ROUTES, &[a.user()]);
    b.delete(&path);
    until("the edge is gone", || async {
        ask(&plugin, &chain).await.status != 200
    })
    .await;
    // Replayed.
    b.publish(6, &[(&a, both(1_000)), (&c, for_fee(1_000, 0, 0))]);
    let asked = format!("/storage/{}{path}", b.user());
    let times = std::cell::Cell::new(0);
    until("the old one was read twice", || async {
        times.set(
            times.get()
                + home
                    .asked()
                    .iter()
                    .filter(|(path, _)| *path == asked)
                    .count(),
        );
        times.get() >= 2
    })
    .await;
    assert_ne!(ask(&plugin, &chain).await.status, 200);
    b.publish(8, &[(&a, both(1_000)), (&c, for_fee(1_000, 2, 0))]);
    assert_eq!(
        until_found(&plugin, &chain).await.body["routes"][0]["fee"],
        "2"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_counts_no_more() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let (a, b, c) = chain(&world, [&home, &home, &home]).await;
    let plugin = router(&world, &[&a], |_| {}).await;
    let chain = question(&a, &c, 500);
    until_found(&plugin, &chain).await;
    // The first one holds for a day; what replaces it does not.
    let advert = b.advert(&c.user(), 2, both(1_000), now() + 4_000);
    b.put(
        &format!("{ROUTES}{}", c.user()),
        signed::<Advert>(advert, &b.root),
    );
    until("it has expired", || async {
        ask(&plugin, &chain).await.status != 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegated_key_signs_until_it_is_revoked() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let (a, b, c) = chain(&world, [&home, &home, &home]).await;
    let device = Keypair::from_secret(&[42; 32]);
    let path = format!("/pub/atomicity/v0/delegations/{}", device.signer_key());
    let advert = b.advert(&c.user(), 2, both(1_000), now() + DAY);
    b.put(
        &format!("{ROUTES}{}", c.user()),
        signed::<Advert>(advert, &device),
    );
    let plugin = router(&world, &[&a, &c], |_| {}).await;
    until("everybody is known", || async {
        let known = get(&plugin, &format!("/v0/router/users/{}", c.user())).await;
        known.body["adverts"]
            .as_array()
            .is_some_and(|adverts| adverts.len() == 1)
    })
    .await;
    let chain = question(&a, &c, 500);
    // Nobody knows the key yet.
    assert_ne!(ask(&plugin, &chain).await.status, 200);
    let delegation = json!({
        "v": 1, "root": b.user(), "key": device.signer_key(), "scopes": ["book"], "limits": [],
        "not_before": 1, "not_after": now() + DAY, "serial": 1,
    });
    b.put(&path, signed::<Delegation>(delegation, &b.root));
    until_found(&plugin, &chain).await;
    let revocation = json!({"v": 1, "root": b.user(), "key": device.signer_key(), "at": now()});
    // A revocation by somebody else is none.
    b.put(&path, signed::<Revocation>(revocation.clone(), &a.root));
    let asked = format!("/storage/{}{path}", b.user());
    home.asked();
    until("it was read", || async {
        home.asked().iter().any(|(path, _)| *path == asked)
    })
    .await;
    ask(&plugin, &chain).await.assert_status(200);
    b.put(&path, signed::<Revocation>(revocation, &b.root));
    until("the edge is gone", || async {
        ask(&plugin, &chain).await.status != 200
    })
    .await;
    // For good.
    let plugin = plugin.restart().await;
    until("it has read what it knew", || async {
        get(&plugin, "/v0/router/status").await.status == 200
    })
    .await;
    assert_ne!(ask(&plugin, &chain).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_costs_itself() {
    let world = World::new();
    let (honest, liar) = (
        HomeServer::open(&world).await,
        HomeServer::open(&world).await,
    );
    let (a, b, c) = chain(&world, [&honest, &honest, &honest]).await;
    let l = Somebody::at(&world, &liar).await;
    // Named by an honest user, so that it is visited.
    a.publish(2, &[(&b, both(1_000)), (&l, both(1_000))]);
    let fake = |n: u32| {
        let mut secret = [9; 32];
        secret[..4].copy_from_slice(&n.to_be_bytes());
        Keypair::from_secret(&secret).user_key()
    };
    let fakes: Vec<UserKey> = (0..400).map(fake).collect();
    // Signed by another; about another; far too long; no record.
    let forged = signed::<Advert>(l.advert(&a.user(), 9, both(1_000), now() + DAY), &c.root);
    l.put(&format!("{ROUTES}{}", a.user()), forged);
    let misplaced = signed::<Advert>(l.advert(&c.user(), 9, both(1_000), now() + DAY), &l.root);
    l.put(&format!("{ROUTES}{}", b.user()), misplaced);
    l.put(&format!("{ROUTES}{}", c.user()), "x".repeat(1_000_000));
    for fake in &fakes[..20] {
        l.put(&format!("{ROUTES}{fake}"), "no record".to_owned());
    }
    let named: Vec<UserKey> = [a.user(), b.user(), c.user()]
        .into_iter()
        .chain(fakes.iter().copied())
        .collect();
    l.list(ROUTES, &named);
    l.list("/pub/pubky.app/follows/", &fakes);
    let plugin = router(&world, &[&a], |config| {
        config.router.waiting_per_source = 50;
        config.router.adverts_per_user = 100;
    })
    .await;
    until_found(&plugin, &question(&a, &c, 500)).await;
    until("the liar was caught", || async {
        let text = plugin
            .request(Method::GET, "/metrics")
            .send()
            .await
            .unwrap();
        let text = text.text().await.unwrap();
        ["too_large", "advert_m"]
            .iter()
            .any(|what| text.contains(what))
    })
    .await;
    ask(&plugin, &question(&a, &l, 5))
        .await
        .assert_problem(404, "no_route");
    let d = Somebody::at(&world, &honest).await;
    d.publish(1, &[(&c, both(1_000))]);
    c.publish(3, &[(&b, both(1_000)), (&d, both(1_000))]);
    // The honest are served all the while.
    until_found(&plugin, &question(&a, &d, 5)).await;
    let status = get(&plugin, "/v0/router/status").await;
    assert!(
        status.body["waiting"].as_u64().unwrap() <= 60,
        "{}",
        status.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_to_be_found_is_found() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let (a, _b, c) = chain(&world, [&home, &home, &home]).await;
    let plugin = router(&world, &[], |_| {}).await;
    until("it has read what it knew", || async {
        get(&plugin, "/v0/router/status").await.status == 200
    })
    .await;
    let hello = plugin.request(Method::POST, "/v0/router/hello");
    let answer = Answer::of(hello.json(&json!({"user": a.user()}))).await;
    assert_eq!(
        answer.assert_status(202).body,
        json!({"known": false, "queued": true})
    );
    until_found(&plugin, &question(&a, &c, 500)).await;
    let hello = plugin.request(Method::POST, "/v0/router/hello");
    let answer = Answer::of(hello.json(&json!({"user": a.user()}))).await;
    assert_eq!(answer.body["known"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_indexer_serves_ratings_with_their_signatures() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let (a, b, c) = chain(&world, [&home, &home, &home]).await;
    let subject = Keypair::from_secret(&[5; 32]).user_key();
    let folder = "/pub/atomicity/v0/ratings/";
    let rate = |who: &Somebody<'_>, verdict: &str, signer: &Keypair| {
        let rating = json!({
            "v": 1, "from": who.user(), "subject": subject, "kind": "router", "verdict": verdict, "serial": 1, "at": now(),
        });
        who.put(
            &format!("{folder}{subject}"),
            signed::<Rating>(rating, signer),
        );
        who.list(folder, &[subject]);
    };
    rate(&a, "good", &a.root);
    rate(&b, "block", &b.root);
    rate(&c, "good", &a.root); // not theirs to say
    let plugin = router(&world, &[&a], |config| config.watchtower.enabled = true).await;
    let path = format!("/v0/index/ratings/{subject}");
    until("two ratings are there", || async {
        get(&plugin, &path).await.body["items"]
            .as_array()
            .is_some_and(|items| items.len() == 2)
    })
    .await;
    let answer = get(&plugin, &path).await;
    assert_eq!(
        answer.body["counts"],
        json!([{"kind": "router", "verdict": "block", "count": 1}, {"kind": "router", "verdict": "good", "count": 1}])
    );
    for item in answer.body["items"].as_array().unwrap() {
        let signed = Signed::<Rating>::decode(item["jws"].as_str().unwrap()).unwrap();
        assert_eq!(signed.record().from.to_z32(), item["from"]);
    }
    b.list(folder, &[]);
    until("one was taken back", || async {
        get(&plugin, &path).await.body["items"]
            .as_array()
            .unwrap()
            .len()
            == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_of_one_address_are_limited_and_a_plugin_without_router_has_no_route() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let a = Somebody::at(&world, &home).await;
    let plugin = router(&world, &[], |config| config.router.queries_per_minute = 2).await;
    let asked = question(&a, &a, 5);
    for _ in 0..2 {
        assert_ne!(ask(&plugin, &asked).await.status, 429);
    }
    ask(&plugin, &asked)
        .await
        .assert_problem(429, "rate_limited");
    let plain = Plugin::start().await;
    ask(&plain, &asked)
        .await
        .assert_problem(404, "route_unknown");
}
