//! Services that nobody named: announced on a real DHT by real plugins, found by a wallet, proven, rated, chosen.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use atomicity_client::config::{Config, Overrides};
use atomicity_client::net::Role;
use atomicity_client::wallet::Wallet;
use atomicity_e2e::hostile::Answer;
use atomicity_e2e::people::{Person, expect, string};
use atomicity_e2e::proxy::Proxy;
use atomicity_e2e::{Homeserver, Plugin, World, ports, wait};
use atomicity_ledger::Keypair;
use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{Rating, RatingKind, Verdict, rating_path};
use atomicity_ledger::{Serial, Signed, Timestamp, UserKey};
use mainline::async_dht::AsyncDht;
use mainline::{Dht, Id};
use serde_json::{Value, json};

use crate::common::{BREAD, friends, put, settle};

/// A plugin that is a watchtower of no log: the cheapest service there is.
async fn tower(world: &World, name: &str, at: &Homeserver, more: &[&str]) -> Plugin {
    let mut options = world.plugin_options(name, at).await.unwrap();
    options.more.push("watchtower.enabled=true".to_owned());
    options.more.extend(more.iter().map(ToString::to_string));
    world.plugin_with(name, options).await.unwrap()
}

/// Somebody with a wallet, without a plugin.
async fn person(world: &World, name: &str, at: &Homeserver) -> Person {
    let mut person = Person::new(world, name).unwrap();
    person.join_without_plugin(at, BREAD).await.unwrap();
    person
}

/// The keys that a search of `role` brought, sorted.
fn found(shown: &Value) -> Vec<String> {
    let found = shown.pointer("/searches/0/found").and_then(Value::as_array);
    let mut keys: Vec<String> = found
        .expect("no search")
        .iter()
        .map(|key| key.as_str().unwrap().to_owned())
        .collect();
    keys.sort();
    keys
}

/// What `services` says of a key.
fn about<'a>(shown: &'a Value, key: &str) -> Result<&'a Value> {
    let all = shown.get("services").and_then(Value::as_array);
    let mut all = all.context("no services")?.iter();
    all.find(|service| service["key"] == key)
        .with_context(|| format!("{key} is not in {shown}"))
}

/// Until everybody who announces is found.
async fn all_found(person: &Person, mut expected: Vec<String>) -> Value {
    expected.sort();
    wait::until("all services", || async {
        let shown = person.wallet().ok(&["services", "watchtower"]).await?;
        ensure!(found(&shown) == expected, "{shown}");
        Ok(shown)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_wallet_finds_what_is_announced_and_each_proves_its_key() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let one = tower(&world, "one", &server, &[]).await;
    let other = tower(&world, "other", &server, &[]).await;
    // Not everybody wants to be found.
    let shy = tower(&world, "shy", &server, &["announce.enabled=false"]).await;
    let plain = world.plugin("plain", &server).await.unwrap();
    let alice = person(&world, "alice", &server).await;

    let keys = vec![one.key().to_owned(), other.key().to_owned()];
    let shown = all_found(&alice, keys.clone()).await;
    for key in &keys {
        let service = about(&shown, key).unwrap();
        expect(service, "/roles/watchtower/path", "/watchtower").unwrap();
        expect(service, "/roles/cosigner", Value::Null).unwrap();
        expect(service, "/excluded", Value::Null).unwrap();
        assert!(service["proven_at"].as_u64().unwrap() > 0, "{service}");
        assert!(service["successes"].as_u64().unwrap() > 0, "{service}");
    }
    for key in [shy.key(), plain.key()] {
        assert!(about(&shown, key).is_err(), "{shown}");
    }
    // What was proven is known without asking.
    let known = alice.wallet().ok(&["services", "--known"]).await.unwrap();
    assert_eq!(known["services"].as_array().unwrap().len(), 2, "{known}");
    assert_eq!(known["searches"], json!([]));
    // Nobody is a router here, and none is built in.
    let routers = alice.wallet().ok(&["services", "router"]).await.unwrap();
    assert_eq!(found(&routers), Vec::<String>::new());
    assert_eq!(routers["services"], json!([]));

    // One that is not announced can be named, and comes first.
    let named = alice.wallet().ok(&["services", "add", shy.key()]).await;
    expect(&named.unwrap(), "/stance", "named").unwrap();
    let shown = alice
        .wallet()
        .ok(&["services", "watchtower"])
        .await
        .unwrap();
    expect(&shown, "/services/0/key", shy.key()).unwrap();
    // One that is blocked comes last.
    alice
        .wallet()
        .ok(&["services", "block", shy.key()])
        .await
        .unwrap();
    let shown = alice
        .wallet()
        .ok(&["services", "watchtower", "--known"])
        .await
        .unwrap();
    expect(&shown, "/services/2/key", shy.key()).unwrap();
    expect(&shown, "/services/2/excluded", "blocked_by_you").unwrap();
}

/// A node of the world's DHT that announces whatever it is told to.
async fn node(world: &World) -> AsyncDht {
    let node = Dht::builder()
        .bootstrap(&world.bootstrap())
        .bind_address(Ipv4Addr::LOCALHOST)
        .build()
        .unwrap()
        .as_async();
    assert!(node.bootstrapped().await);
    node
}

/// `port` of this machine, announced as a watchtower.
async fn announce(node: &AsyncDht, port: u16) {
    let id: Id = Id::from(*Role::Watchtower.infohash());
    node.announce_peer(id, Some(port)).await.unwrap();
}

/// A server that says the same to everybody, whatever they say.
async fn babbler() -> u16 {
    use tokio::io::AsyncWriteExt as _;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(&[0x5a; 4096]).await;
        }
    });
    port
}

fn info(key: &str, roles: &Value) -> Answer {
    let info = json!({ "plugin": key, "version": "0", "roles": roles });
    Answer::Bytes(info.to_string().into_bytes())
}

#[tokio::test]
async fn an_address_whose_key_is_not_what_it_says_is_dropped() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let honest = tower(&world, "honest", &server, &[]).await;
    let alice = person(&world, "alice", &server).await;
    all_found(&alice, vec![honest.key().to_owned()]).await;

    let roles = json!({ "watchtower": { "path": "/watchtower", "logs": [] } });
    // Says that it is the honest one.
    let impostor = world.hostile().await.unwrap();
    impostor.serve("/v0/info", info(honest.key(), &roles));
    // Is who it says, but no watchtower.
    let useless = world.hostile().await.unwrap();
    useless.serve("/v0/info", info(&useless.key().z32(), &json!({})));
    // Never ends.
    let endless = world.hostile().await.unwrap();
    endless.serve("/v0/info", Answer::Flood(64 * 1024 * 1024));
    let babbler = babbler().await;
    let nobody = ports::free().unwrap();
    // Passes everything on to the honest one, which proves its own key by it.
    let relay = Proxy::start(ports::on_loopback(honest.options().tls))
        .await
        .unwrap();
    let node = node(&world).await;
    let bad = [
        (impostor.port(), "malformed"),
        (useless.port(), "malformed"),
        (endless.port(), "too_large"),
        (babbler, "unreachable"),
        (nobody, "unreachable"),
    ];
    for (port, _) in bad {
        announce(&node, port).await;
    }
    announce(&node, relay.port()).await;

    let shown = alice
        .wallet()
        .ok(&["services", "watchtower"])
        .await
        .unwrap();
    assert_eq!(found(&shown), [honest.key()]);
    assert_eq!(shown["services"].as_array().unwrap().len(), 1, "{shown}");
    let dropped = shown["searches"][0]["dropped"].as_array().unwrap();
    assert_eq!(dropped.len(), bad.len(), "{shown}");
    for (port, code) in bad {
        let address = format!("127.0.0.1:{port}");
        let one = dropped.iter().find(|one| one["address"] == address);
        let one = one.unwrap_or_else(|| panic!("{address} is not among {dropped:?}"));
        assert_eq!(one["code"], code, "{one}");
    }
}

async fn standing(person: &Person, key: &str) -> Value {
    let shown = person
        .wallet()
        .ok(&["services", "watchtower"])
        .await
        .unwrap();
    about(&shown, key).unwrap().clone()
}

#[tokio::test]
async fn what_friends_block_is_not_used_unless_one_knows_better() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let service = tower(&world, "service", &server, &[]).await;
    let key = service.key();
    let alice = person(&world, "alice", &server).await;
    let bob = person(&world, "bob", &server).await;
    let carol = person(&world, "carol", &server).await;
    let mallory = person(&world, "mallory", &server).await;
    friends(&alice, &bob).await;
    settle(&alice, &bob).await;
    all_found(&alice, vec![key.to_owned()]).await;

    // Strangers don't count; whom a friend follows counts a quarter.
    for stranger in [&mallory, &carol] {
        let rated = stranger.wallet().ok(&["rate", key, "block"]).await.unwrap();
        expect(&rated, "/published", true).unwrap();
        // They have never heard of it.
        expect(&rated, "/rating/kind", "user").unwrap();
    }
    let follow = format!("/pub/pubky.app/follows/{}", carol.key());
    put(&world, &bob, &follow, br#"{"created_at":1}"#.to_vec()).await;
    let seen = standing(&alice, key).await;
    expect(&seen, "/friends/block", "0.25").unwrap();
    expect(&seen, "/excluded", Value::Null).unwrap();

    // A friend counts.
    let memo = "it was silent for days";
    bob.wallet()
        .ok(&["rate", key, "block", "--as", "watchtower", "--memo", memo])
        .await
        .unwrap();
    let seen = standing(&alice, key).await;
    expect(&seen, "/friends/block", "1.25").unwrap();
    expect(&seen, "/excluded", "blocked_by_friends").unwrap();
    assert_eq!(usable(&world, &alice).await, Vec::<UserKey>::new());

    // The own word decides.
    alice.wallet().ok(&["rate", key, "good"]).await.unwrap();
    let seen = standing(&alice, key).await;
    expect(&seen, "/rating", "good").unwrap();
    expect(&seen, "/excluded", Value::Null).unwrap();
    assert_eq!(usable(&world, &alice).await, [key.parse().unwrap()]);
    let mine = alice.wallet().ok(&["rate", "--list"]).await.unwrap();
    expect(&mine, "/ratings/0/kind", "watchtower").unwrap();

    // Words are taken back.
    alice.wallet().ok(&["rate", key, "--remove"]).await.unwrap();
    let seen = standing(&alice, key).await;
    expect(&seen, "/excluded", "blocked_by_friends").unwrap();
    bob.wallet().ok(&["rate", key, "--remove"]).await.unwrap();
    let seen = standing(&alice, key).await;
    expect(&seen, "/friends/block", "0.25").unwrap();
    expect(&seen, "/excluded", Value::Null).unwrap();
    let error = bob.wallet().fails(2, &["rate", key, "--remove"]).await;
    assert_eq!(string(&error.unwrap(), "/code").unwrap(), "usage");
}

/// The watchtowers that a wallet would ask.
async fn usable(world: &World, person: &Person) -> Vec<UserKey> {
    let file = world.new_path("wallet.toml");
    std::fs::write(&file, world.network_toml()).unwrap();
    let config = Config::load(&Overrides {
        home: Some(person.wallet().home().to_owned()),
        config: Some(file),
        testnet: None,
    });
    let wallet = Wallet::open(&config.unwrap()).await.unwrap();
    let services = wallet.services_for(Role::Watchtower, 3).await.unwrap();
    wallet.close().await;
    services.into_iter().map(|service| service.key).collect()
}

#[tokio::test]
async fn a_rating_that_its_author_did_not_sign_does_not_count() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let service = tower(&world, "service", &server, &[]).await;
    let alice = person(&world, "alice", &server).await;
    let bob = person(&world, "bob", &server).await;
    friends(&alice, &bob).await;
    all_found(&alice, vec![service.key().to_owned()]).await;

    let subject: UserKey = service.key().parse().unwrap();
    let (bob_key, other): (UserKey, UserKey) =
        (bob.key().parse().unwrap(), alice.key().parse().unwrap());
    let stranger = Keypair::from_secret(&[9; 32]);
    let root = Keypair::from_secret(&bob.wallet().root().unwrap().secret());
    let rating = |from: UserKey, subject: UserKey| Rating {
        v: Version,
        from,
        subject,
        kind: RatingKind::Watchtower,
        verdict: Verdict::Block,
        serial: Serial::new(1).unwrap(),
        memo: None,
        at: Timestamp::saturating_from_millis(1),
    };
    let forged = [
        b"garbage".to_vec(),
        vec![b'a'; 300_000],
        // By a key that Bob never delegated anything to.
        signed(rating(bob_key, subject), &stranger),
        // Somebody else's opinion.
        signed(rating(stranger.user_key(), subject), &stranger),
        // About somebody else.
        signed(rating(bob_key, other), &root),
    ];
    for bytes in forged {
        put(&world, &bob, &rating_path(&subject), bytes).await;
        let seen = standing(&alice, service.key()).await;
        expect(&seen, "/friends/block", "0").unwrap();
    }
    // The root itself may say so.
    let real = signed(rating(bob_key, subject), &root);
    put(&world, &bob, &rating_path(&subject), real).await;
    let seen = standing(&alice, service.key()).await;
    expect(&seen, "/excluded", "blocked_by_friends").unwrap();
}

fn signed(rating: Rating, by: &Keypair) -> Vec<u8> {
    let signed = Signed::sign(rating, by).unwrap();
    signed.jws().as_bytes().to_vec()
}
