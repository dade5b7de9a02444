//! Counterparties' files: from homeservers that work, misbehave, vanish or were left.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use atomicity_client::net::session::{HomeSession, sign_up};
use atomicity_client::net::{Body, Freshness, Net, ServiceKey, Target};
use atomicity_e2e::hostile::{Answer, Hostile};
use atomicity_e2e::proxy::Mode;
use atomicity_e2e::{World, wait};
use atomicity_ledger::{Keypair, UserKey};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures_util::{StreamExt as _, stream};
use pkarr::dns::rdata::SVCB;

use super::{PATIENCE, key_of, net, new_root, sdk_pair, served, settings};

const FILE: &str = "/pub/atomicity/v0/profile";

async fn hostile(world: &World) -> Hostile {
    Hostile::start(world.pkarr().unwrap()).await.unwrap()
}

/// Somebody whose homeserver this is.
async fn lodger(server: &Hostile) -> UserKey {
    let root = new_root();
    server.adopt(&sdk_pair(&root)).await.unwrap();
    root.user_key()
}

async fn lodgers(server: &Hostile, count: usize) -> Vec<UserKey> {
    let moving_in = stream::iter((0..count).map(|_| lodger(server)));
    moving_in.buffer_unordered(8).collect().await
}

/// Looks everybody's homeserver up.
async fn know(net: &Net, users: &[UserKey]) {
    let looking = stream::iter(
        users
            .iter()
            .map(|user| net.home_of(user, Freshness::Cached)),
    );
    let found: Vec<_> = looking.buffer_unordered(8).collect().await;
    assert!(found.iter().all(Result::is_ok));
}

async fn code_of(net: &Net, user: UserKey) -> &'static str {
    net.fetch(&Target::new(user, FILE))
        .await
        .unwrap_err()
        .code()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_found_by_key_alone_and_fetched_once() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let home = key_of(&server.key());
    let (root, mine) = (new_root(), net(&world));
    sign_up(&mine, &root, &home, None).await.unwrap();
    let session = HomeSession::sign_in(&mine, &root, &home).await.unwrap();
    session.put(FILE, b"hello".to_vec()).await.unwrap();

    let theirs = net(&world);
    let target = Target::new(root.user_key(), FILE);
    let first = theirs.fetch(&target).await.unwrap();
    assert_eq!(
        (first.home, first.body),
        (home, Body::Bytes(b"hello".to_vec()))
    );
    let known = target.clone().with_etag(first.etag);
    assert_eq!(theirs.fetch(&known).await.unwrap().body, Body::Unchanged);
    session.put(FILE, b"news".to_vec()).await.unwrap();
    let news = theirs.fetch(&known).await.unwrap();
    assert_eq!(news.body, Body::Bytes(b"news".to_vec()));

    let absent = Target::new(root.user_key(), "/pub/atomicity/v0/nothing");
    assert_eq!(theirs.fetch(&absent).await.unwrap_err().code(), "not_found");
    let small = target.at_most(3);
    assert_eq!(theirs.fetch(&small).await.unwrap_err().code(), "too_large");
    assert_eq!(code_of(&theirs, new_root().user_key()).await, "no_home");

    // What one run learned, the next one knows.
    let later = net(&world);
    later.seed_homes(theirs.known_homes());
    let remembered = later
        .known_homes()
        .into_iter()
        .find(|h| h.user == root.user_key());
    assert_eq!(remembered.unwrap().homeserver, home);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_answers_end_in_errors_that_name_them() {
    let world = World::start().await.unwrap();
    let mut config = settings(&world);
    config.request_timeout = PATIENCE;
    let cases = [
        (Answer::Flood(100 * 1024 * 1024), "too_large"),
        (Answer::Silence, "timeout"),
        (Answer::Stall(b"half a fi".to_vec()), "timeout"),
        (
            Answer::Late(
                Duration::from_secs(60),
                Box::new(Answer::Bytes(b"late".to_vec())),
            ),
            "timeout",
        ),
        (Answer::Status(500), "http_status"),
        (Answer::Status(304), "http_status"),
        (Answer::Status(302), "http_status"),
        (Answer::Status(429), "rate_limited"),
        (Answer::Status(404), "not_found"),
    ];
    for (answer, code) in cases {
        let server = hostile(&world).await;
        let user = lodger(&server).await;
        let words = format!("{answer:?}");
        server.serve_everything(answer);
        let net = Net::new(&config).unwrap();
        let words = words.get(..words.len().min(40)).unwrap();
        assert_eq!(code_of(&net, user).await, code, "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_handed_on_as_they_are_for_the_ledger_to_judge() {
    let world = World::start().await.unwrap();
    let server = hostile(&world).await;
    let user = lodger(&server).await;
    let net = net(&world);
    for bytes in [&b"old bytes"[..], b"\xff\x00 garbage", b""] {
        server.serve(&served(&user, FILE), Answer::Bytes(bytes.to_vec()));
        let fetched = net.fetch(&Target::new(user, FILE)).await.unwrap();
        assert_eq!(fetched.body, Body::Bytes(bytes.to_vec()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_black_hole_of_a_hundred_delays_nobody() {
    let world = World::start().await.unwrap();
    let (dead, proxy) = world.homeserver_behind_proxy("dead").await.unwrap();
    let alive = hostile(&world).await;
    alive.serve_everything(Answer::Bytes(b"bread".to_vec()));
    let net = net(&world);
    let lost = new_root();
    sign_up(&net, &lost, &key_of(&dead.key()), None)
        .await
        .unwrap();
    let mut users = vec![lost.user_key()];
    users.extend(lodgers(&alive, 99).await);
    // Everybody is known from before; only then one homeserver falls silent.
    know(&net, &users).await;
    proxy.set(Mode::BlackHole);
    let targets = users.iter().map(|user| Target::new(*user, FILE)).collect();
    let order: Vec<_> = net
        .fetch_many(targets)
        .map(|(target, result)| (target.user, result.map_err(|error| error.code())))
        .collect()
        .await;
    assert_eq!(order.len(), 100);
    let (last, before) = order.split_last().unwrap();
    assert_eq!(last.0, lost.user_key());
    assert!(
        matches!(last.1, Err("timeout" | "unreachable")),
        "{:?}",
        last.1
    );
    assert!(before.iter().all(|(_, result)| result.is_ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_homeserver_is_tried_once_for_all_its_users() {
    let world = World::start().await.unwrap();
    let silent = hostile(&world).await;
    silent.serve_everything(Answer::Silence);
    let mut config = settings(&world);
    config.request_timeout = PATIENCE;
    config.backoff_first = Duration::from_secs(600);
    config.backoff_longest = Duration::from_secs(600);
    let net = Net::new(&config).unwrap();
    let users = lodgers(&silent, 30).await;
    know(&net, &users).await;
    let targets = users.iter().map(|user| Target::new(*user, FILE)).collect();
    let results: Vec<_> = net.fetch_many(targets).collect().await;
    assert_eq!(results.len(), 30);
    assert!(
        results
            .iter()
            .all(|(_, r)| r.as_ref().is_err_and(|e| e.is_network()))
    );
    assert_eq!(silent.asked().len(), 1);
    // And not again before its time, unless it turns out to be elsewhere.
    assert_eq!(code_of(&net, users[0]).await, "unreachable");
    assert_eq!(silent.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_homeserver_that_comes_back_is_used_again() {
    let world = World::start().await.unwrap();
    let (server, proxy) = world.homeserver_behind_proxy("h").await.unwrap();
    let home = key_of(&server.key());
    let (root, net) = (new_root(), net(&world));
    sign_up(&net, &root, &home, None).await.unwrap();
    let session = HomeSession::sign_in(&net, &root, &home).await.unwrap();
    session.put(FILE, b"here".to_vec()).await.unwrap();
    let target = Target::new(root.user_key(), FILE);
    for mode in [Mode::Refuse, Mode::Pass, Mode::Refuse, Mode::Pass] {
        proxy.set(mode);
        let pass = mode == Mode::Pass;
        wait::until("the change to show", || async {
            anyhow::ensure!(net.fetch(&target).await.is_ok() == pass);
            Ok(())
        })
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_moved_is_found_by_those_who_run() {
    let world = World::start().await.unwrap();
    let mut old = world.homeserver("old").await.unwrap();
    let new = world.homeserver("new").await.unwrap();
    let milkman = new_root();
    let mine = net(&world);
    let publish = |home, text: &'static str| {
        let (net, milkman) = (mine.clone(), &milkman);
        async move {
            sign_up(&net, milkman, &home, None).await.unwrap();
            let session = HomeSession::sign_in(&net, milkman, &home).await.unwrap();
            session.put(FILE, text.into()).await.unwrap();
        }
    };
    publish(key_of(&old.key()), "old").await;
    let baker = net(&world);
    let target = Target::new(milkman.user_key(), FILE);
    assert_eq!(
        baker.fetch(&target).await.unwrap().body,
        Body::Bytes(b"old".to_vec())
    );
    old.stop().await.unwrap();
    assert!(baker.fetch(&target).await.unwrap_err().is_network());
    publish(key_of(&new.key()), "new").await;
    let found = wait::until("the milkman to be found", || async {
        Ok(baker.fetch(&target).await?)
    });
    assert_eq!(found.await.unwrap().body, Body::Bytes(b"new".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_moved_is_found_although_the_old_homeserver_still_answers() {
    let world = World::start().await.unwrap();
    let (old, new) = (hostile(&world).await, hostile(&world).await);
    let root: Keypair = new_root();
    old.adopt(&sdk_pair(&root)).await.unwrap();
    new.serve_everything(Answer::Bytes(b"new".to_vec()));
    let mut config = settings(&world);
    config.home_recheck = Duration::from_millis(1);
    let net = Net::new(&config).unwrap();
    assert_eq!(code_of(&net, root.user_key()).await, "not_found");
    new.adopt(&sdk_pair(&root)).await.unwrap();
    let fetched = net
        .fetch(&Target::new(root.user_key(), FILE))
        .await
        .unwrap();
    assert_eq!(fetched.home, key_of(&new.key()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_packet_cannot_make_us_knock_at_our_own_door() {
    let world = World::start().await.unwrap();
    let server = hostile(&world).await;
    let user = lodger(&server).await;
    server.serve_everything(Answer::Bytes(b"x".to_vec()));
    let mut config = settings(&world);
    config.testnet = false;
    let net = Net::new(&config).unwrap();
    assert_eq!(code_of(&net, user).await, "refused_address");
    assert!(server.asked().is_empty());
    net.trust(&key_of(&server.key()));
    assert!(net.fetch(&Target::new(user, FILE)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_homeserver_of_the_older_kind_is_asked_in_its_way() {
    let world = World::start().await.unwrap();
    let server = hostile(&world).await;
    let user = lodger(&server).await;
    let info = br#"{"features": ["something-else"]}"#;
    server.serve("/info", Answer::Bytes(info.to_vec()));
    server.serve(FILE, Answer::Bytes(b"old way".to_vec()));
    let net = net(&world);
    let target = Target::new(user, FILE);
    for _ in 0..2 {
        let fetched = net.fetch(&target).await.unwrap();
        assert_eq!(fetched.body, Body::Bytes(b"old way".to_vec()));
    }
    let asked = server.asked();
    assert_eq!(asked, [served(&user, FILE).as_str(), "/info", FILE, FILE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_homeserver_with_a_new_address_is_found_there() {
    let world = World::start().await.unwrap();
    let pkarr = world.pkarr().unwrap();
    let (server, user) = (pkarr::Keypair::random(), new_root());
    let home: ServiceKey = server.public_key().to_z32().parse().unwrap();
    let net = net(&world);
    net.publish_home(&user, &home).await.unwrap();
    let target = Target::new(user.user_key(), FILE);
    for text in ["here", "there"] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut endpoint = SVCB::new(1, ".".try_into().unwrap());
        endpoint.set_port(listener.local_addr().unwrap().port());
        let packet = pkarr::SignedPacket::builder()
            .https(".".try_into().unwrap(), endpoint, 300)
            .address(".".try_into().unwrap(), Ipv4Addr::LOCALHOST.into(), 300)
            .sign(&server)
            .unwrap();
        pkarr.publish(&packet).await.unwrap();
        listener.set_nonblocking(true).unwrap();
        let tls = RustlsConfig::from_config(Arc::new(server.to_rpk_rustls_server_config()));
        let handle = axum_server::Handle::<SocketAddr>::new();
        let serving = axum_server::from_tcp(listener)
            .unwrap()
            .acceptor(RustlsAcceptor::new(tls))
            .handle(handle.clone())
            .serve(
                axum::Router::new()
                    .fallback(move || async move { text })
                    .into_make_service(),
            );
        let task = tokio::spawn(serving);
        let found = wait::until("the file", || async { Ok(net.fetch(&target).await?) });
        assert_eq!(found.await.unwrap().body, Body::Bytes(text.into()));
        handle.shutdown();
        task.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_at_the_same_address_is_not_mistaken_for_it() {
    let world = World::start().await.unwrap();
    let pkarr = world.pkarr().unwrap();
    let impostor = hostile(&world).await;
    impostor.serve_everything(Answer::Bytes(b"false".to_vec()));
    let (server, user) = (pkarr::Keypair::random(), new_root());
    let mut endpoint = SVCB::new(1, ".".try_into().unwrap());
    endpoint.set_port(impostor.port());
    let packet = pkarr::SignedPacket::builder()
        .https(".".try_into().unwrap(), endpoint, 300)
        .address(".".try_into().unwrap(), Ipv4Addr::LOCALHOST.into(), 300)
        .sign(&server)
        .unwrap();
    pkarr.publish(&packet).await.unwrap();
    let net = net(&world);
    let home = server.public_key().to_z32().parse().unwrap();
    net.publish_home(&user, &home).await.unwrap();
    assert_eq!(code_of(&net, user.user_key()).await, "unreachable");
    assert!(impostor.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_dht_is_named_and_what_is_known_still_works() {
    let world = World::start().await.unwrap();
    let server = hostile(&world).await;
    let user = lodger(&server).await;
    server.serve_everything(Answer::Bytes(b"x".to_vec()));
    // A node that never answers.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut config = settings(&world);
    config.dht_bootstrap = vec![silent.local_addr().unwrap().to_string()];
    config.resolve_timeout = PATIENCE;
    let net = Net::new(&config).unwrap();
    let error = net.fetch(&Target::new(user, FILE)).await.unwrap_err();
    assert_eq!(
        (error.code(), error.is_network()),
        ("dht_unavailable", true)
    );

    let knowing = Net::new(&settings(&world)).unwrap();
    net.seed_homes({
        knowing.home_of(&user, Freshness::Network).await.unwrap();
        knowing.known_homes()
    });
    let home = net.home_of(&user, Freshness::Network).await;
    assert_eq!(home.unwrap(), key_of(&server.key()));
}
