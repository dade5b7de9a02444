#![allow(clippy::unwrap_used, clippy::panic)]

//! Against a real (local) DHT and real servers with raw public keys.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use pkarr::dns::rdata::SVCB;
use pkarr::{Keypair, SignedPacket};

use super::*;

struct World {
    network: mainline::Testnet,
    resolver: Resolver,
}

fn config(network: &mainline::Testnet, testnet: bool) -> Config {
    let mut config = Config::default();
    config.network.testnet = testnet;
    config.network.dht_bootstrap = network.bootstrap.clone();
    config.network.dht_request_timeout_ms = 200;
    config.network.resolve_timeout_ms = 3_000;
    config.network.fetch_timeout_ms = 1_500;
    config
}

impl World {
    fn new() -> Self {
        let network = mainline::Testnet::builder(4).build().unwrap();
        let resolver = Resolver::new(&config(&network, true)).unwrap();
        Self { network, resolver }
    }

    async fn publish(&self, packet: &SignedPacket) {
        // By a client of its own: the resolver must not know the packet beforehand.
        let other = Resolver::new(&config(&self.network, true)).unwrap();
        other.pkarr().publish(packet).await.unwrap();
    }

    /// Says that `user` lives at `home`.
    async fn settle(&self, user: &Keypair, home: &Keypair) {
        let target = home.public_key().to_z32();
        let record = SVCB::new(0, target.as_str().try_into().unwrap());
        let packet = SignedPacket::builder()
            .https("_pubky".try_into().unwrap(), record, 3600)
            .sign(user)
            .unwrap();
        self.publish(&packet).await;
    }

    /// Says that `server` is at `address`.
    async fn place(&self, server: &Keypair, address: SocketAddr) {
        let mut record = SVCB::new(1, ".".try_into().unwrap());
        record.set_port(address.port());
        let packet = SignedPacket::builder()
            .https(".".try_into().unwrap(), record, 3600)
            .address(".".try_into().unwrap(), address.ip(), 3600)
            .sign(server)
            .unwrap();
        self.publish(&packet).await;
    }

    /// A server that proves `key` and serves `app`; how to stop it.
    async fn serve(&self, key: &Keypair, app: Router) -> axum_server::Handle<SocketAddr> {
        let (handle, address) = listen(key, app);
        self.place(key, address).await;
        handle
    }
}

fn listen(key: &Keypair, app: Router) -> (axum_server::Handle<SocketAddr>, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let tls = RustlsConfig::from_config(Arc::new(key.to_rpk_rustls_server_config()));
    let handle = axum_server::Handle::new();
    let server = axum_server::from_tcp(listener)
        .unwrap()
        .acceptor(RustlsAcceptor::new(tls))
        .handle(handle.clone());
    tokio::spawn(server.serve(app.into_make_service()));
    (handle, address)
}

fn user_key(keys: &Keypair) -> UserKey {
    UserKey::from_bytes(keys.public_key().to_bytes()).unwrap()
}

/// A homeserver that knows one file, by path.
fn home_of(user: &Keypair, file: &'static str) -> Router {
    let path = format!("/storage/{}/pub/f", user.public_key().to_z32());
    let answer = move |headers: HeaderMap| async move {
        match headers.get("if-none-match") {
            Some(held) if held == "\"1\"" => StatusCode::NOT_MODIFIED.into_response(),
            _ => ([("etag", "\"1\"")], file).into_response(),
        }
    };
    Router::new()
        .route(&path, get(answer))
        .route("/info", get(|| async { "{}" }))
}

fn found(body: &str) -> Fetched {
    Fetched::Found {
        body: body.as_bytes().to_vec(),
        etag: Some("\"1\"".to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_found_by_key_alone() {
    let world = World::new();
    let (user, home) = (Keypair::random(), Keypair::random());
    world.settle(&user, &home).await;
    world.serve(&home, home_of(&user, "hello")).await;
    let who = user_key(&user);
    assert_eq!(
        world.resolver.homeserver_of(&who).await.unwrap(),
        Some(user_key(&home))
    );
    assert_eq!(
        world
            .resolver
            .get_public(&who, "/pub/f", None, 100)
            .await
            .unwrap(),
        found("hello")
    );
    assert_eq!(
        world
            .resolver
            .get_public(&who, "/pub/f", Some("\"1\""), 100)
            .await
            .unwrap(),
        Fetched::NotModified
    );
    assert_eq!(
        world
            .resolver
            .get_public(&who, "/pub/none", None, 100)
            .await
            .unwrap(),
        Fetched::NotFound
    );
    let probe = world.resolver.probe(&user_key(&home)).await.unwrap();
    assert_eq!(probe.status, 200);
    assert!(probe.date.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_packet_has_no_homeserver() {
    let world = World::new();
    let nobody = user_key(&Keypair::random());
    assert_eq!(world.resolver.homeserver_of(&nobody).await.unwrap(), None);
    let error = world
        .resolver
        .get_public(&nobody, "/pub/f", None, 100)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "homeserver_unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_homeserver_is_asked_in_the_older_way() {
    let world = World::new();
    let (user, home) = (Keypair::random(), Keypair::random());
    world.settle(&user, &home).await;
    let tenant = user.public_key().to_z32();
    let app = Router::new().route(
        "/pub/f",
        get(move |headers: HeaderMap| async move {
            if headers
                .get("pubky-host")
                .is_some_and(|host| host == tenant.as_str())
            {
                "old"
            } else {
                "whose?"
            }
        }),
    );
    world.serve(&home, app).await;
    let answer = world
        .resolver
        .get_public(&user_key(&user), "/pub/f", None, 100)
        .await
        .unwrap();
    assert_eq!(
        answer,
        Fetched::Found {
            body: b"old".to_vec(),
            etag: None
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_moved_is_found_again_without_restart() {
    let world = World::new();
    let (user, first, second) = (Keypair::random(), Keypair::random(), Keypair::random());
    let who = user_key(&user);
    world.settle(&user, &first).await;
    let stop = world.serve(&first, home_of(&user, "first")).await;
    assert_eq!(
        world
            .resolver
            .get_public(&who, "/pub/f", None, 100)
            .await
            .unwrap(),
        found("first")
    );
    stop.shutdown();
    world.settle(&user, &second).await;
    world.serve(&second, home_of(&user, "second")).await;
    assert_eq!(
        world
            .resolver
            .get_public(&who, "/pub/f", None, 100)
            .await
            .unwrap(),
        found("second")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_where_the_user_was_is_found_where_they_are() {
    let world = World::new();
    let (user, first, second) = (Keypair::random(), Keypair::random(), Keypair::random());
    let who = user_key(&user);
    world.settle(&user, &first).await;
    world.serve(&first, Router::new()).await;
    assert_eq!(
        world
            .resolver
            .get_public(&who, "/pub/f", None, 100)
            .await
            .unwrap(),
        Fetched::NotFound
    );
    world.settle(&user, &second).await;
    world.serve(&second, home_of(&user, "second")).await;
    assert_eq!(
        world
            .resolver
            .get_public(&who, "/pub/f", None, 100)
            .await
            .unwrap(),
        found("second")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_can_not_point_us_at_this_machine() {
    let world = World::new();
    let (user, home) = (Keypair::random(), Keypair::random());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let app = Router::new().fallback(move || async move {
        count.fetch_add(1, Ordering::SeqCst);
        "reached"
    });
    world.settle(&user, &home).await;
    world.serve(&home, app).await;
    let strict = Resolver::new(&config(&world.network, false)).unwrap();
    let error = strict
        .get_public(&user_key(&user), "/pub/f", None, 100)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "upstream_unavailable");
    assert_eq!(asked.load(Ordering::SeqCst), 0);

    // The operator's own homeserver may be here: the operator chose it.
    let mut own = config(&world.network, false);
    own.accounts.homeserver = Some(user_key(&home));
    let own = Resolver::new(&own).unwrap();
    assert!(matches!(
        own.get_public(&user_key(&user), "/pub/f", None, 100)
            .await
            .unwrap(),
        Fetched::Found { .. }
    ));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_can_not_point_us_at_this_machine_either() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let world = World::new();
    let strict = Resolver::new(&config(&world.network, false)).unwrap();
    for domain in [
        "localhost",
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
    ] {
        let (user, home) = (Keypair::random(), Keypair::random());
        world.settle(&user, &home).await;
        let mut record = SVCB::new(1, domain.try_into().unwrap());
        record.set_port(port);
        let packet = SignedPacket::builder()
            .https(".".try_into().unwrap(), record, 3600)
            .sign(&home)
            .unwrap();
        world.publish(&packet).await;
        let error = strict
            .get_public(&user_key(&user), "/pub/f", None, 100)
            .await
            .unwrap_err();
        assert_eq!(error.code(), "upstream_unavailable", "{domain}");
        assert!(listener.accept().is_err(), "{domain} was connected to");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let world = World::new();
    let (user, home) = (Keypair::random(), Keypair::random());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let app = Router::new().fallback(move |request: Request| async move {
        if request.uri().path() == "/secret" {
            count.fetch_add(1, Ordering::SeqCst);
        }
        (StatusCode::TEMPORARY_REDIRECT, [("location", "/secret")])
    });
    world.settle(&user, &home).await;
    world.serve(&home, app).await;
    let error = world
        .resolver
        .get_public(&user_key(&user), "/pub/f", None, 100)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("307"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_is_cut_off_and_one_that_fits_is_not() {
    let world = World::new();
    let (user, home) = (Keypair::random(), Keypair::random());
    let endless = || async {
        let chunks =
            futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 8192]));
        Response::new(Body::from_stream(chunks))
    };
    let name = user.public_key().to_z32();
    let app = Router::new()
        .route(&format!("/storage/{name}/pub/endless"), get(endless))
        .route(
            &format!("/storage/{name}/pub/announced"),
            get(|| async { vec![b'x'; 101] }),
        )
        .route(
            &format!("/storage/{name}/pub/fits"),
            get(|| async { vec![b'x'; 100] }),
        );
    world.settle(&user, &home).await;
    world.serve(&home, app).await;
    let who = user_key(&user);
    for path in ["/pub/endless", "/pub/announced"] {
        let error = world
            .resolver
            .get_public(&who, path, None, 100)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("too large"), "{path}: {error}");
    }
    let fits = world
        .resolver
        .get_public(&who, "/pub/fits", None, 100)
        .await
        .unwrap();
    assert!(matches!(fits, Fetched::Found { body, .. } if body.len() == 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_is_given_up() {
    let world = World::new();
    let (user, home) = (Keypair::random(), Keypair::random());
    let app = Router::new().fallback(|| async { std::future::pending::<&str>().await });
    world.settle(&user, &home).await;
    world.serve(&home, app).await;
    let error = world
        .resolver
        .get_public(&user_key(&user), "/pub/f", None, 100)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_must_prove_the_key_it_is_asked_for() {
    let world = World::new();
    let (user, home, thief) = (Keypair::random(), Keypair::random(), Keypair::random());
    world.settle(&user, &home).await;
    let (_stop, address) = listen(&thief, home_of(&user, "forged"));
    world.place(&home, address).await;
    let error = world
        .resolver
        .get_public(&user_key(&user), "/pub/f", None, 100)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "upstream_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_public_paths_are_asked_for() {
    let world = World::new();
    for path in ["/priv/x", "pub/x", "/pub/../priv/x", "/"] {
        let error = world
            .resolver
            .get_public(&user_key(&Keypair::random()), path, None, 100)
            .await
            .unwrap_err();
        assert_eq!(error.code(), "path_not_public", "{path}");
    }
}

#[test]
fn a_literal_address_in_place_of_a_domain_is_judged() {
    use super::fetch::permitted_domain;
    for domain in [
        "127.0.0.1",
        "10.0.0.1",
        "0x7f.1",
        "169.254.169.254",
        "[::1]",
        "2130706433",
    ] {
        assert!(
            !permitted_domain(domain, AddressPolicy::PublicOnly),
            "{domain}"
        );
    }
    assert!(permitted_domain("127.0.0.1", AddressPolicy::AlsoPrivate));
    assert!(permitted_domain("1.1.1.1", AddressPolicy::PublicOnly));
    assert!(permitted_domain("example.org", AddressPolicy::PublicOnly));
    for nonsense in [
        "",
        "a b",
        "user@example.org",
        "example.org/y?z",
        "example.org:80",
        "1.1.1.1.1",
    ] {
        assert!(
            !permitted_domain(nonsense, AddressPolicy::PublicOnly),
            "{nonsense}"
        );
    }
}
