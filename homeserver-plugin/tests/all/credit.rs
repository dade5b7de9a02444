//! Credit over HTTP: other people's profiles and endpoints, one's own balances.

use atomicity_ledger::record::{Delegation, Profile, Snapshot};
use atomicity_ledger::seal::EncryptionSecret;
use atomicity_ledger::{Keypair, Signed, UserKey};
use reqwest::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::plugin::{Account, Answer, Plugin};
use crate::support::world::{File, HomeServer, World};

const PROFILE: &str = "/pub/atomicity/v0/profile";

pub(super) async fn neighbour(world: &World) -> Plugin {
    Plugin::start_with(|config| {
        world.join(config);
        // Every request asks the homeserver.
        config.network.profile_max_age_s = 0;
    })
    .await
}

fn profile(user: &UserKey, serial: u64, signer: &Keypair) -> String {
    let record: Profile = serde_json::from_value(json!({
        "v": 1, "user": user, "serial": serial, "name": "The baker",
        "encryption": [{"n": 1, "key": x25519(7)}],
        "inboxes": [{"plugin": Keypair::from_secret(&[9; 32]).user_key(), "url": "https://credit.example.org"}],
        "units": ["BREAD/2", "HOUR/2"], "logs_trusted": [], "logs_refused": [], "at": 1_700_000_000_000u64,
    }))
    .unwrap();
    Signed::sign(record, signer).unwrap().jws().to_owned()
}

fn x25519(n: u8) -> String {
    EncryptionSecret::of_root(&Keypair::from_secret(&[n; 32]))
        .public()
        .to_string()
}

pub(super) async fn get(plugin: &Plugin, path: &str) -> Answer {
    Answer::of(plugin.request(Method::GET, path)).await
}

async fn profile_of(plugin: &Plugin, user: &UserKey) -> Answer {
    get(plugin, &format!("/v0/users/{user}/profile")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_fetched_checked_and_shown() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let root = home.resident(&world).await;
    let user = root.user_key();
    let jws = profile(&user, 3, &root);
    home.put(&user, PROFILE, File::Is(jws.clone(), "\"a\""));
    let plugin = neighbour(&world).await;
    let answer = profile_of(&plugin, &user).await;
    answer.assert_status(200);
    let shown = &answer.body["profile"];
    assert_eq!(shown["user"], user.to_z32());
    assert_eq!(shown["name"], "The baker");
    assert_eq!(shown["serial"], 3);
    assert_eq!(shown["units"], json!(["BREAD/2", "HOUR/2"]));
    assert_eq!(shown["encryption"][0], json!({"n": 1, "key": x25519(7)}));
    assert_eq!(shown["inboxes"][0]["url"], "https://credit.example.org");
    assert_eq!(answer.body["signed_by"], user.to_z32());
    assert_eq!(answer.body["jws"], jws);
    assert_eq!(answer.body["stale"], false);
    assert_eq!(answer.headers["age"], "0");
    let again = plugin
        .request(Method::GET, &format!("/v0/users/{user}/profile"))
        .header("if-none-match", &answer.headers["etag"]);
    assert_eq!(Answer::of(again).await.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_profile_is_only_confirmed_and_a_fresh_one_is_not_asked_for() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let root = home.resident(&world).await;
    let user = root.user_key();
    home.put(&user, PROFILE, File::Is(profile(&user, 1, &root), "\"a\""));
    let eager = neighbour(&world).await;
    for _ in 0..2 {
        profile_of(&eager, &user).await.assert_status(200);
    }
    let path = format!("/storage/{user}{PROFILE}");
    assert_eq!(
        home.asked(),
        [(path.clone(), None), (path, Some("\"a\"".to_owned()))]
    );

    let calm = Plugin::start_with(|config| world.join(config)).await;
    for _ in 0..3 {
        profile_of(&calm, &user).await.assert_status(200);
    }
    assert_eq!(home.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_user_signed_outlives_what_the_homeserver_says_later() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let root = home.resident(&world).await;
    let user = root.user_key();
    let plugin = neighbour(&world).await;
    let new = profile(&user, 5, &root);
    home.put(&user, PROFILE, File::Is(new.clone(), "\"5\""));
    profile_of(&plugin, &user).await.assert_status(200);

    // An old file served again is no news.
    home.put(&user, PROFILE, File::Is(profile(&user, 4, &root), "\"4\""));
    let answer = profile_of(&plugin, &user).await;
    assert_eq!(
        (&answer.body["jws"], &answer.body["stale"]),
        (&json!(new), &json!(false))
    );

    let bad = [
        File::Is("garbage".to_owned(), "\"g\""),
        File::Is("x".repeat(10_000_000), "\"x\""),
        File::Is(profile(&user, 6, &Keypair::from_secret(&[5; 32])), "\"f\""),
        File::Fails(StatusCode::INTERNAL_SERVER_ERROR),
        File::Fails(StatusCode::NOT_FOUND),
    ];
    for file in bad {
        home.put(&user, PROFILE, file);
        let answer = profile_of(&plugin, &user).await;
        answer.assert_status(200);
        assert_eq!(
            (&answer.body["jws"], &answer.body["stale"]),
            (&json!(new), &json!(true))
        );
    }
    home.stop();
    let answer = profile_of(&plugin, &user).await;
    assert_eq!(
        (&answer.body["jws"], &answer.body["stale"]),
        (&json!(new), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_users_profile_is_not_shown() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let plugin = neighbour(&world).await;
    let root = home.resident(&world).await;
    let user = root.user_key();
    profile_of(&plugin, &user)
        .await
        .assert_problem(404, "profile_unknown");
    let nobody = Keypair::from_secret(&[77; 32]).user_key();
    profile_of(&plugin, &nobody)
        .await
        .assert_problem(404, "homeserver_unknown");
    get(&plugin, "/v0/users/short/profile")
        .await
        .assert_problem(400, "user_malformed");

    let other = home.resident(&world).await;
    let device = Keypair::from_secret(&[5; 32]);
    let good = profile(&user, 1, &root);
    let mut flipped = good.clone().into_bytes();
    let at = flipped.len() / 2;
    flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
    let bad = [
        profile(&other.user_key(), 1, &other),
        profile(&user, 1, &device),
        String::from_utf8(flipped).unwrap(),
        "x".repeat(65_537),
        String::new(),
    ];
    for file in bad {
        home.put(&user, PROFILE, File::Is(file, "\"b\""));
        profile_of(&plugin, &user)
            .await
            .assert_problem(502, "upstream_unavailable");
    }
    // A delegation for the books is no authority over the profile.
    let delegation: Delegation = serde_json::from_value(json!({
        "v": 1, "root": user, "key": device.signer_key(), "scopes": ["book"], "limits": [],
        "not_before": 0, "not_after": 4_000_000_000_000u64, "serial": 1,
    }))
    .unwrap();
    let delegation = Signed::sign(delegation, &root).unwrap();
    let path = atomicity_ledger::authority::delegation_path(&device.signer_key());
    home.put(&user, &path, File::Is(delegation.jws().to_owned(), "\"d\""));
    home.put(
        &user,
        PROFILE,
        File::Is(profile(&user, 1, &device), "\"p\""),
    );
    profile_of(&plugin, &user)
        .await
        .assert_problem(502, "upstream_unavailable");

    home.put(&user, PROFILE, File::Is(good, "\"g\""));
    profile_of(&plugin, &user).await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_an_older_wallet_is_read_too() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let plugin = neighbour(&world).await;
    let user = home.resident(&world).await.user_key();
    let line = format!("pubky://{user}/pub/paykit.app/v0/onchain");
    home.put(&user, "/pub/paykit.app/v0/", File::Is(line, "\"l\""));
    home.put(
        &user,
        "/pub/paykit.app/v0/onchain",
        File::Is("bc1q".to_owned(), "\"o\""),
    );
    let answer = get(&plugin, &format!("/v0/users/{user}/endpoints")).await;
    assert_eq!(
        answer.assert_status(200).body["items"],
        json!([{"app": null, "method": "onchain", "value": "bc1q", "min": null, "max": null}])
    );
}

fn put_endpoints(home: &HomeServer, user: &UserKey, names: &[&str]) {
    let lines: Vec<_> = names
        .iter()
        .map(|name| format!("pubky://{user}/pub/paykit/v0/apps/{name}"))
        .collect();
    home.put(
        user,
        "/pub/paykit/v0/apps/",
        File::Is(lines.join("\n"), "\"l\""),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_read_page_by_page() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let plugin = neighbour(&world).await;
    let user = home.resident(&world).await.user_key();
    let path = format!("/v0/users/{user}/endpoints");
    let none = get(&plugin, &path).await;
    assert_eq!(
        none.assert_status(200).body,
        json!({"items": [], "unreadable": [], "next": null})
    );

    let names = [
        "atomicity/endpoints/bread-atomicity-ledger",
        "bitkit/endpoints/btc-lightning-bolt11",
        "bitkit/endpoints/broken-a-b",
    ];
    put_endpoints(&home, &user, &names);
    let at = |name: &str| format!("/pub/paykit/v0/apps/{name}");
    home.put(
        &user,
        &at(names[0]),
        File::Is(r#"{"value":"atomicity:x"}"#.to_owned(), "\"1\""),
    );
    home.put(
        &user,
        &at(names[1]),
        File::Is(
            r#"{"value":"lnbc1","min":"0.0001","max":"2"}"#.to_owned(),
            "\"2\"",
        ),
    );
    home.put(&user, &at(names[2]), File::Is("[]".to_owned(), "\"3\""));
    let first = get(&plugin, &format!("{path}?limit=2")).await;
    first.assert_status(200);
    assert_eq!(first.body["items"][0]["value"], "atomicity:x");
    assert_eq!(first.body["unreadable"], json!(["bitkit/broken-a-b"]));
    let next = first.body["next"].as_str().unwrap();
    let second = get(&plugin, &format!("{path}?limit=2&after={next}")).await;
    assert_eq!(
        second.assert_status(200).body,
        json!({
            "items": [{"app": "bitkit", "method": "btc-lightning-bolt11", "value": "lnbc1", "min": "0.0001", "max": "2"}],
            "unreadable": [], "next": null
        })
    );
    for (query, code) in [
        ("limit=0", "limit_invalid"),
        ("limit=51", "limit_invalid"),
        ("limit=x", "query_invalid"),
        ("after=x", "cursor_invalid"),
        ("page=2", "query_invalid"),
    ] {
        get(&plugin, &format!("{path}?{query}"))
            .await
            .assert_problem(400, code);
    }
}

#[tokio::test]
async fn units_are_shown_only_if_the_user_says_so() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    let public = format!("/v0/users/{}/units", account.z32());
    assert_eq!(
        get(&plugin, &public).await.assert_status(200).body,
        json!({"units": []})
    );
    let choose = |units: Value| {
        account.call(
            Method::PUT,
            "/v0/me/public-units",
            Some(json!({"units": units})),
        )
    };
    let chosen = choose(json!(["HOUR/2", "BREAD/2", "HOUR/2"])).await;
    assert_eq!(
        chosen.assert_status(200).body,
        json!({"units": ["BREAD/2", "HOUR/2"]})
    );
    assert_eq!(get(&plugin, &public).await.body, chosen.body);
    assert_eq!(
        account
            .call(Method::GET, "/v0/me/public-units", None)
            .await
            .body,
        chosen.body
    );
    choose(json!(["bread"]))
        .await
        .assert_problem(400, "unit_invalid");
    choose(json!((0..65).map(|n| format!("U{n}")).collect::<Vec<_>>()))
        .await
        .assert_problem(400, "units_too_many");
    assert_eq!(get(&plugin, &public).await.body, chosen.body);
    choose(json!([])).await.assert_status(200);
    assert_eq!(get(&plugin, &public).await.body, json!({"units": []}));

    let visitor = plugin.visitor().await;
    get(&plugin, &format!("/v0/users/{}/units", visitor.z32()))
        .await
        .assert_problem(404, "account_unknown");
    let refused = visitor
        .call(
            Method::PUT,
            "/v0/me/public-units",
            Some(json!({"units": []})),
        )
        .await;
    refused.assert_problem(404, "account_unknown");
}

fn friend(n: u8) -> UserKey {
    Keypair::from_secret(&[n; 32]).user_key()
}

/// A snapshot with three friends, `balance` with the first of them in bread.
async fn push(account: &Account<'_>, at: i64, balance: &str) {
    let mut friends = [friend(1), friend(2), friend(3)];
    friends.sort();
    let channel = |peer: &UserKey, unit: &str, balance: &str| json!({"peer": peer, "unit": unit, "balance": balance, "accept": "500", "accepted_by_peer": "300", "frozen": false});
    let record: Snapshot = serde_json::from_value(json!({
        "v": 1, "user": account.z32(), "at": at,
        "channels": [
            channel(&friends[0], "BREAD/2", balance), channel(&friends[0], "HOUR/2", "100"),
            channel(&friends[1], "BREAD/2", "200"), channel(&friends[2], "HOUR/2", "-400"),
        ],
    }))
    .unwrap();
    let root = Keypair::from_secret(&account.user.root.secret());
    let jws = Signed::sign(record, &root).unwrap().jws().to_owned();
    account
        .call(
            Method::PUT,
            "/v0/me/snapshot",
            Some(json!({"snapshot": jws})),
        )
        .await
        .assert_status(200);
}

#[tokio::test]
async fn balances_are_those_of_the_newest_snapshot() {
    let plugin = Plugin::start().await;
    let (account, other) = (plugin.user().await, plugin.user().await);
    let now = atomicity_plugin::clock::now_ms();
    account
        .call(Method::GET, "/v0/me/balances", None)
        .await
        .assert_problem(404, "no_snapshot");
    push(&account, now - 2, "-300").await;
    let first = account.call(Method::GET, "/v0/me/balances", None).await;
    first.assert_status(200);
    assert_eq!(first.body["as_of"], now - 2);
    assert_eq!(first.body["signed_by"], account.z32());
    assert_eq!(
        first.body["balances"],
        json!([
            {"unit": "BREAD/2", "net": "-100", "owed_to_me": "200", "owed_by_me": "300", "channels": 2},
            {"unit": "HOUR/2", "net": "-300", "owed_to_me": "100", "owed_by_me": "400", "channels": 2},
        ])
    );
    let etag = first.headers["etag"].clone();
    let held = || {
        account
            .request(Method::GET, "/v0/me/balances")
            .header("if-none-match", &etag)
    };
    assert_eq!(Answer::of(held()).await.status, StatusCode::NOT_MODIFIED);
    push(&account, now - 1, "50").await;
    let changed = Answer::of(held()).await;
    assert_eq!(changed.assert_status(200).body["balances"][0]["net"], "250");
    // Nobody else's session opens them.
    other
        .call(Method::GET, "/v0/me/balances", None)
        .await
        .assert_problem(404, "no_snapshot");
    get(&plugin, "/v0/me/balances")
        .await
        .assert_problem(401, "session_invalid");
}

#[tokio::test]
async fn channels_come_page_by_page() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    push(&account, atomicity_plugin::clock::now_ms(), "-300").await;
    let (mut seen, mut query) = (Vec::new(), "?limit=3".to_owned());
    loop {
        let page = account
            .call(Method::GET, &format!("/v0/me/channels{query}"), None)
            .await;
        page.assert_status(200);
        seen.extend(page.body["channels"].as_array().unwrap().clone());
        let Some(next) = page.body["next"].as_str() else {
            break;
        };
        query = format!("?limit=3&after={next}");
    }
    assert_eq!(seen.len(), 4);
    let mut friends = [friend(1), friend(2), friend(3)];
    friends.sort();
    assert_eq!(
        seen[0],
        json!({"peer": friends[0], "unit": "BREAD/2", "balance": "-300", "accept": "500", "accepted_by_peer": "300", "frozen": false})
    );
    let names: Vec<_> = seen
        .iter()
        .map(|c| (c["peer"].clone(), c["unit"].clone()))
        .collect();
    assert_eq!(names[3], (json!(friends[2]), json!("HOUR/2")));
    for (query, code) in [
        ("limit=0", "limit_invalid"),
        ("limit=257", "limit_invalid"),
        ("after=x", "cursor_invalid"),
    ] {
        let answer = account
            .call(Method::GET, &format!("/v0/me/channels?{query}"), None)
            .await;
        answer.assert_problem(400, code);
    }
}
