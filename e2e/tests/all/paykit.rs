//! Paykit endpoints: what we write is read by Paykit's own library and what it writes is read by us, on a real homeserver.

use std::collections::BTreeSet;
use std::time::Duration;

use atomicity_e2e::hostile::Answer;
use atomicity_e2e::{Homeserver, World};
use atomicity_ledger::{Unit, UserKey};
use atomicity_paykit_adapter::{
    AdapterError, App, AppId, CreditEndpoint, Endpoint, LEGACY_DIR, Listing, MAX_ENDPOINTS,
    MethodId, Payload, Publisher, REGISTRY_PATH, ReadLimits, Reader, close_unit, endpoint_path,
    endpoints_dir, legacy_path, open_unit,
};
use futures_util::{StreamExt, stream};
use paykit_lib::{PaykitAppId, PaymentEndpointIdentifier, PaymentEndpointPayload};
use pubky::{ClientId, Keypair, PubkySession};

/// A user of a homeserver, with a session of ours, and one of the version that Paykit's library is built on.
struct Person {
    key: UserKey,
    session: PubkySession,
    reader: Reader,
    paykit_key: pubky016::PublicKey,
    paykit_session: pubky016::PubkySession,
    paykit_storage: pubky016::PublicStorage,
}

impl Person {
    async fn join(world: &World, server: &Homeserver) -> Self {
        let keypair = Keypair::random();
        let sdk = world.sdk().unwrap();
        let signer = sdk.signer(keypair.clone());
        signer.signup(&server.key(), None).await.unwrap();
        let session = signer
            .signin(ClientId::new("e2e.test").unwrap())
            .await
            .unwrap();

        let paykit_sdk = older_sdk(world);
        let paykit_keypair = pubky016::Keypair::from_secret(&keypair.secret());
        let paykit_session = paykit_sdk
            .signer(paykit_keypair.clone())
            .signin(pubky016::ClientId::new("paykit.test").unwrap())
            .await
            .unwrap();
        Self {
            key: user_key(&keypair),
            reader: Reader::new(world.sdk().unwrap().client().clone()),
            session,
            paykit_key: paykit_keypair.public_key(),
            paykit_session,
            paykit_storage: paykit_sdk.public_storage(),
        }
    }

    async fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.session.storage().put(path, body.into()).await.unwrap();
    }

    async fn text(&self, path: &str) -> String {
        self.session
            .storage()
            .get(path)
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    /// Everything that Paykit's library finds of one app, name and content, in order.
    async fn paykit_list(&self, app: &str) -> Vec<(String, String)> {
        let app = PaykitAppId::new(app).unwrap();
        let list = paykit_lib::get_payment_list(&self.paykit_storage, &self.paykit_key, &app)
            .await
            .unwrap();
        let endpoints = list.payment_endpoints.into_iter();
        let mut found: Vec<_> = endpoints
            .map(|(id, payload)| (id.to_string(), payload.into_inner()))
            .collect();
        found.sort();
        found
    }

    async fn paykit_set(&self, app: &str, name: &str, payload: &str) {
        paykit_lib::set_payment_endpoint(
            &self.paykit_session,
            &PaykitAppId::new(app).unwrap(),
            PaymentEndpointIdentifier::new(name).unwrap(),
            PaymentEndpointPayload::new(payload),
        )
        .await
        .unwrap();
    }

    async fn paykit_registry(&self) -> paykit_lib::PaykitAppRegistry {
        let found =
            paykit_lib::get_paykit_app_registry(&self.paykit_storage, &self.paykit_key).await;
        found.unwrap().unwrap()
    }
}

fn older_sdk(world: &World) -> pubky016::Pubky {
    let nodes = world.bootstrap();
    let client = pubky016::PubkyHttpClient::builder()
        .pkarr(|builder| {
            builder
                .no_default_network()
                .bootstrap(&nodes)
                .no_relays()
                .dht_report_policy(pkarr::dht::ReportPolicy::testnet())
                .dht_request_timeout(Duration::from_millis(100))
        })
        .build()
        .unwrap();
    pubky016::Pubky::with_client(client)
}

fn user_key(keypair: &Keypair) -> UserKey {
    keypair.public_key().z32().parse().unwrap()
}

fn method(name: &str) -> MethodId {
    MethodId::new(name).unwrap()
}

fn app(name: &str) -> AppId {
    AppId::new(name).unwrap()
}

fn unit(text: &str) -> Unit {
    text.parse().unwrap()
}

fn units(texts: &[&str]) -> BTreeSet<Unit> {
    texts.iter().map(|text| unit(text)).collect()
}

/// Endpoints as `app method value`.
fn lines(listing: &Listing) -> Vec<String> {
    let app = |e: &Endpoint| e.app.as_ref().map_or("-".to_owned(), ToString::to_string);
    listing
        .endpoints
        .iter()
        .map(|e| format!("{} {} {}", app(e), e.method, e.payload.value()))
        .collect()
}

/// Faults as `code path`, sorted.
fn faults(listing: &Listing) -> Vec<String> {
    let mut faults: Vec<_> = listing
        .faults
        .iter()
        .map(|f| format!("{} {}", f.error.code(), f.path))
        .collect();
    faults.sort();
    faults
}

fn open_units(listing: &Listing) -> BTreeSet<Unit> {
    let endpoints: Result<Vec<CreditEndpoint>, AdapterError> = listing.credit().collect();
    endpoints
        .unwrap()
        .iter()
        .flat_map(|endpoint| endpoint.units().clone())
        .collect()
}

#[tokio::test]
async fn paykit_reads_what_we_publish_and_no_longer_what_we_removed() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let baker = Person::join(&world, &server).await;
    let publisher = Publisher::new(baker.session.clone()).unwrap();
    let bolt12 = method("btc-lightning-bolt12");
    let offer = Payload::new("lno1offer")
        .unwrap()
        .with_limits(
            Some("0.0001".parse().unwrap()),
            Some("0.01".parse().unwrap()),
        )
        .unwrap();

    publisher.publish(&bolt12, &offer).await.unwrap();
    assert_eq!(
        open_unit(&baker.session, &unit("USD/2")).await.unwrap(),
        units(&["USD/2"])
    );
    assert_eq!(
        open_unit(&baker.session, &unit("USD")).await.unwrap(),
        units(&["USD", "USD/2"])
    );
    assert_eq!(
        open_unit(&baker.session, &unit("USD")).await.unwrap(),
        units(&["USD", "USD/2"])
    );
    open_unit(&baker.session, &unit("BREAD/2")).await.unwrap();

    let key = baker.key;
    assert_eq!(
        baker.paykit_list("atomicity").await,
        [
            (
                "bread-atomicity-ledger",
                format!(r#"{{"value":"atomicity:{key}?units=BREAD/2"}}"#)
            ),
            (
                "btc-lightning-bolt12",
                r#"{"value":"lno1offer","min":"0.0001","max":"0.01"}"#.to_owned()
            ),
            (
                "usd-atomicity-ledger",
                format!(r#"{{"value":"atomicity:{key}?units=USD,USD/2"}}"#)
            ),
        ]
        .map(|(name, content)| (name.to_owned(), content))
    );
    let registry = baker.paykit_registry().await;
    let ours = &registry.apps()[&PaykitAppId::new("atomicity").unwrap()];
    assert_eq!(ours.display_name(), "Atomicity");

    assert_eq!(
        close_unit(&baker.session, &unit("USD/2")).await.unwrap(),
        units(&["USD"])
    );
    assert_eq!(
        open_units(&baker.reader.list(&key).await.unwrap()),
        units(&["BREAD/2", "USD"])
    );
    assert_eq!(
        close_unit(&baker.session, &unit("USD")).await.unwrap(),
        units(&[])
    );
    assert_eq!(
        close_unit(&baker.session, &unit("USD")).await.unwrap(),
        units(&[])
    );
    assert!(publisher.remove(&bolt12).await.unwrap());
    assert!(!publisher.remove(&bolt12).await.unwrap());
    let left: Vec<String> = baker
        .paykit_list("atomicity")
        .await
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(left, ["bread-atomicity-ledger"]);

    publisher
        .set_units(&units(&["HOUR/2", "USD/2"]))
        .await
        .unwrap();
    let listing = baker.reader.list(&key).await.unwrap();
    assert_eq!(open_units(&listing), units(&["HOUR/2", "USD/2"]));
    assert!(faults(&listing).is_empty(), "{:?}", listing.faults);
    publisher.set_units(&units(&[])).await.unwrap();
    assert!(publisher.unregister().await.unwrap());
    assert!(baker.paykit_list("atomicity").await.is_empty());
    assert!(baker.paykit_registry().await.apps().is_empty());
}

#[tokio::test]
async fn we_read_what_paykit_writes_and_leave_its_registry_whole() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let milkman = Person::join(&world, &server).await;
    let bolt11 = method("btc-lightning-bolt11");
    assert!(
        milkman
            .reader
            .list(&milkman.key)
            .await
            .unwrap()
            .endpoints
            .is_empty()
    );
    assert_eq!(milkman.reader.registry(&milkman.key).await.unwrap(), None);

    milkman
        .paykit_set("acme", "btc-lightning-bolt11", r#"{"value":"lnbc-acme"}"#)
        .await;
    milkman
        .paykit_set(
            "bitkit",
            "btc-lightning-bolt11",
            r#"{"value":"lnbc-bitkit","min":"0.1"}"#,
        )
        .await;
    milkman
        .paykit_set("bitkit", "LnUrl_Pay.v2", "lnurl1bare")
        .await;
    let bitkit = PaykitAppId::new("bitkit").unwrap();
    let mut registry = paykit_lib::PaykitAppRegistry::new(Some(milkman.paykit_key.clone()));
    let capabilities = paykit_lib::PaykitAppCapabilities {
        private_payments: true,
        payment_requests: true,
        receipts: true,
        outgoing_payments: true,
    };
    let description = paykit_lib::PaykitApp::new("Bitkit", capabilities).unwrap();
    registry.register_app(bitkit.clone(), description).unwrap();
    let id = PaymentEndpointIdentifier::new("btc-lightning-bolt11").unwrap();
    registry
        .set_default_app_for_endpoint(id.clone(), bitkit.clone())
        .unwrap();
    paykit_lib::create_paykit_app_registry(&milkman.paykit_session, &registry)
        .await
        .unwrap();

    let listing = milkman.reader.list(&milkman.key).await.unwrap();
    assert_eq!(
        lines(&listing),
        [
            "acme btc-lightning-bolt11 lnbc-acme",
            "bitkit LnUrl_Pay.v2 lnurl1bare",
            "bitkit btc-lightning-bolt11 lnbc-bitkit",
        ]
    );
    assert!(listing.faults.is_empty(), "{:?}", listing.faults);
    let found = milkman
        .reader
        .find(&milkman.key, &bolt11)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        found.payload.value(),
        "lnbc-bitkit",
        "the user prefers this app for the method"
    );
    assert_eq!(found.payload.min().unwrap().as_str(), "0.1");

    open_unit(&milkman.session, &unit("MILK/2")).await.unwrap();
    let after = milkman.paykit_registry().await;
    assert_eq!(after.apps().len(), 2);
    assert_eq!(after.apps()[&bitkit], registry.apps()[&bitkit]);
    assert_eq!(after.noise_public_key(), registry.noise_public_key());
    assert_eq!(after.preferred_app_for_endpoint(&id), Some(&bitkit));

    paykit_lib::remove_payment_endpoint(&milkman.paykit_session, &bitkit, id)
        .await
        .unwrap();
    let found = milkman
        .reader
        .find(&milkman.key, &bolt11)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.payload.value(), "lnbc-acme");
}

#[tokio::test]
async fn the_older_path_is_read_where_nothing_newer_is_and_never_written() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let user = Person::join(&world, &server).await;
    user.put(&legacy_path(&method("btc-lightning-bolt11")), "lnbc-old")
        .await;
    user.put(&legacy_path(&method("onchain")), "bc1q-old").await;
    user.put(&format!("{LEGACY_DIR}requests/1"), "not an endpoint")
        .await;
    assert_eq!(
        lines(&user.reader.list(&user.key).await.unwrap()),
        ["- btc-lightning-bolt11 lnbc-old", "- onchain bc1q-old"]
    );
    let found = user
        .reader
        .find(&user.key, &method("onchain"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.app, found.payload.value()), (None, "bc1q-old"));

    let publisher = Publisher::new(user.session.clone()).unwrap();
    publisher
        .publish(
            &method("btc-lightning-bolt11"),
            &Payload::new("lnbc-new").unwrap(),
        )
        .await
        .unwrap();
    publisher
        .publish(
            &method("btc-bitcoin-p2tr"),
            &Payload::new("bc1p-new").unwrap(),
        )
        .await
        .unwrap();
    publisher.open_unit(&unit("USD/2")).await.unwrap();
    let listing = user.reader.list(&user.key).await.unwrap();
    assert_eq!(
        lines(&listing),
        [
            "atomicity btc-bitcoin-p2tr bc1p-new".to_owned(),
            "atomicity btc-lightning-bolt11 lnbc-new".to_owned(),
            format!(
                "atomicity usd-atomicity-ledger atomicity:{}?units=USD/2",
                user.key
            ),
            "- onchain bc1q-old".to_owned(),
        ]
    );
    let found = user
        .reader
        .find(&user.key, &method("btc-lightning-bolt11"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.payload.value(), "lnbc-new");

    let old = user
        .session
        .storage()
        .list(LEGACY_DIR)
        .unwrap()
        .send()
        .await
        .unwrap();
    assert_eq!(old.len(), 3, "{old:?}");
    assert_eq!(
        user.text(&legacy_path(&method("btc-lightning-bolt11")))
            .await,
        "lnbc-old"
    );
}

#[tokio::test]
async fn broken_files_are_named_and_hide_no_good_ones() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let user = Person::join(&world, &server).await;
    let dir = endpoints_dir(&app("shop"));
    user.put(
        &format!("{dir}btc-bitcoin-p2tr"),
        r#"{"value":"bc1p-good"}"#,
    )
    .await;
    user.put(
        &format!("{dir}eur-sepa-iban"),
        r#"{"value":"DE89","bic":"COBADEFF","later":[1]}"#,
    )
    .await;
    user.put(&format!("{dir}garbage"), vec![0xff, 0x00, 0xfe])
        .await;
    user.put(&format!("{dir}half"), r#"{"value":"x""#).await;
    user.put(&format!("{dir}huge"), vec![b'x'; 200 * 1024])
        .await;
    user.put(&format!("{dir}empty"), "").await;
    user.put(&format!("{dir}white space"), "x").await;
    user.put(&format!("{dir}{}", "n".repeat(65)), "x").await;
    user.put(&format!("{dir}nested/deeper"), "x").await;
    user.put("/pub/paykit/v0/apps/Not_An_App/endpoints/x", "x")
        .await;
    user.put(
        "/pub/paykit/v0/apps/wrong-credit/endpoints/usd-atomicity-ledger",
        "atomicity:me?units=USD",
    )
    .await;
    user.put(REGISTRY_PATH, "{}").await;

    let listing = user.reader.list(&user.key).await.unwrap();
    assert_eq!(
        lines(&listing),
        [
            "shop btc-bitcoin-p2tr bc1p-good",
            "shop eur-sepa-iban DE89",
            "wrong-credit usd-atomicity-ledger atomicity:me?units=USD",
        ]
    );
    assert_eq!(
        listing.endpoints[1].payload.field("bic").unwrap(),
        "COBADEFF"
    );
    let expected = [
        format!("app_malformed {}", "/pub/paykit/v0/apps/Not_An_App"),
        format!(
            "method_malformed {dir}{}",
            &"n".repeat(80)[..80 - dir.len()]
        ) + "…",
        format!("method_malformed {dir}white%20space"),
        format!("payload_malformed {dir}garbage"),
        format!("payload_malformed {dir}half"),
        format!("too_large {dir}huge"),
    ];
    assert_eq!(faults(&listing), expected);
    let credit: Vec<_> = listing
        .credit()
        .map(|found| found.map_err(|error| error.code()))
        .collect();
    assert_eq!(credit, [Err("credit_malformed")]);

    let error = user.reader.registry(&user.key).await.unwrap_err();
    assert_eq!(error.code(), "registry_malformed");
    let error = open_unit(&user.session, &unit("USD/2")).await.unwrap_err();
    assert_eq!(error.code(), "registry_malformed");
    assert_eq!(
        user.text(REGISTRY_PATH).await,
        "{}",
        "a registry that we don't understand is not ours to replace"
    );
    let found = user
        .reader
        .list_app(&user.key, &AppId::atomicity())
        .await
        .unwrap();
    assert_eq!(
        open_units(&found),
        units(&["USD/2"]),
        "the endpoint is there nevertheless"
    );
    let error = user
        .reader
        .get(&user.key, &app("shop"), &method("huge"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "too_large");
    assert_eq!(
        user.reader
            .get(&user.key, &app("shop"), &method("empty"))
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn a_hostile_homeserver_costs_bounded_time_and_memory() {
    let world = World::start().await.unwrap();
    let hostile = world.hostile().await.unwrap();
    let keypair = Keypair::random();
    hostile.adopt(&keypair).await.unwrap();
    let key = user_key(&keypair);
    let mut limits = ReadLimits::default();
    limits.request = Duration::from_millis(1500);
    limits.total = Duration::from_secs(20);
    limits.bytes = 1024 * 1024;
    let reader = Reader::new(world.sdk().unwrap().client().clone()).with_limits(limits);
    let dir = endpoints_dir(&app("shop"));
    let list = |dir: &str, names: &[&str]| {
        let lines: Vec<String> = names
            .iter()
            .map(|name| format!("pubky://{key}{dir}{name}"))
            .collect();
        Answer::Bytes(lines.join("\n").into_bytes())
    };

    let apps = "/pub/paykit/v0/apps/";
    for (answer, code) in [
        (Answer::Flood(8 * 1024 * 1024), "too_large"),
        (Answer::Silence, "timeout"),
        (Answer::Stall(b"pubky://".to_vec()), "timeout"),
        (Answer::Status(500), "homeserver_failed"),
        (Answer::Status(429), "rate_limited"),
        (Answer::Status(403), "not_permitted"),
        (Answer::Bytes(b"<html>".to_vec()), "listing_malformed"),
        (
            Answer::Bytes(format!("pubky://{key}/pub/elsewhere/x").into_bytes()),
            "listing_malformed",
        ),
        (Answer::Bytes(vec![0xff; 10]), "listing_malformed"),
    ] {
        hostile.serve(apps, answer.clone());
        let error = reader.list(&key).await.unwrap_err();
        assert_eq!(error.code(), code, "{answer:?}");
    }

    hostile.serve(apps, list(apps, &["shop/"]));
    // Whatever page is asked for, the same hundred names come: the loop has to end.
    let names: Vec<String> = (0..96).map(|n| format!("missing-{n:03}")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.extend(["eur-sepa-iban", "flood", "silent", "stalls"]);
    hostile.serve(&dir, list(&dir, &names));
    hostile.serve(
        &format!("{dir}eur-sepa-iban"),
        Answer::Bytes(br#"{"value":"DE89"}"#.to_vec()),
    );
    hostile.serve(&format!("{dir}flood"), Answer::Flood(100 * 1024 * 1024));
    hostile.serve(&format!("{dir}silent"), Answer::Silence);
    hostile.serve(
        &format!("{dir}stalls"),
        Answer::Stall(br#"{"value":"#.to_vec()),
    );
    let listing = reader.list(&key).await.unwrap();
    assert_eq!(lines(&listing), ["shop eur-sepa-iban DE89"]);
    assert_eq!(
        faults(&listing),
        [
            format!("timeout {dir}silent"),
            format!("timeout {dir}stalls"),
            format!("too_large {dir}flood"),
        ]
    );

    let mut limits = ReadLimits::default();
    limits.bytes = 20_000;
    let reader = Reader::new(world.sdk().unwrap().client().clone()).with_limits(limits);
    hostile.serve(&dir, list(&dir, &["eur-sepa-iban", "flood"]));
    let listing = reader.list(&key).await.unwrap();
    assert_eq!(lines(&listing), ["shop eur-sepa-iban DE89"]);
    assert!(
        listing
            .faults
            .iter()
            .any(|fault| fault.error.code() == "budget_exhausted"),
        "{:?}",
        listing.faults
    );
}

#[tokio::test]
async fn an_app_has_at_most_256_endpoints() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let user = Person::join(&world, &server).await;
    let publisher = Publisher::new(user.session.clone()).unwrap();
    let payload = Payload::new("x").unwrap();
    let names: Vec<MethodId> = (0..MAX_ENDPOINTS)
        .map(|n| method(&format!("btc-test-n{n:03}")))
        .collect();
    let body = payload.encode().unwrap();
    let storage = user.session.storage();
    let puts = names
        .iter()
        .map(|name| storage.put(endpoint_path(&AppId::atomicity(), name), body.clone()));
    let answers: Vec<_> = stream::iter(puts).buffer_unordered(8).collect().await;
    for answer in answers {
        answer.unwrap();
    }

    let error = publisher
        .publish(&method("eur-sepa-iban"), &payload)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "too_many");
    let error = publisher.open_unit(&unit("USD/2")).await.unwrap_err();
    assert_eq!(error.code(), "too_many");
    publisher
        .publish(&names[0], &Payload::new("changed").unwrap())
        .await
        .unwrap();
    assert_eq!(
        user.paykit_list("atomicity").await.len(),
        MAX_ENDPOINTS,
        "Paykit would refuse one more"
    );
    let listing = user.reader.list(&user.key).await.unwrap();
    assert_eq!(listing.endpoints.len(), MAX_ENDPOINTS);
    assert!(listing.faults.is_empty(), "{:?}", listing.faults);
    assert_eq!(listing.endpoints[0].payload.value(), "changed");

    user.put(
        &endpoint_path(&AppId::atomicity(), &method("zzz-one-more")),
        body,
    )
    .await;
    let listing = user.reader.list(&user.key).await.unwrap();
    assert_eq!(listing.endpoints.len(), MAX_ENDPOINTS);
    assert_eq!(
        faults(&listing),
        [format!("too_many {}", endpoints_dir(&AppId::atomicity()))]
    );
}

#[tokio::test]
async fn units_opened_at_once_are_all_open_and_a_foreign_payee_stays() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let user = Person::join(&world, &server).await;
    let wanted = units(&["USD", "USD/1", "USD/2", "USD/3", "USD/4"]);
    let opened: Vec<_> =
        futures_util::future::join_all(wanted.iter().map(|unit| open_unit(&user.session, unit)))
            .await;
    for result in opened {
        result.unwrap();
    }
    assert_eq!(
        open_units(&user.reader.list(&user.key).await.unwrap()),
        wanted
    );

    let friend = user_key(&Keypair::random());
    let elsewhere = CreditEndpoint::new(friend, unit("EUR/2"));
    let eur = CreditEndpoint::method(&unit("EUR/2")).unwrap();
    let publisher = Publisher::new(user.session.clone()).unwrap();
    publisher
        .publish(&eur, &elsewhere.payload().unwrap())
        .await
        .unwrap();
    let error = publisher.open_unit(&unit("EUR")).await.unwrap_err();
    assert_eq!(error.code(), "payee_differs");
    let found = user.reader.find(&user.key, &eur).await.unwrap().unwrap();
    assert_eq!(
        CreditEndpoint::read(&eur, &found.payload).unwrap().payee(),
        &friend
    );

    let error = publisher
        .publish(&method("lightning"), &Payload::new("x").unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "method_unconventional");
    let other = Publisher::for_app(user.session.clone(), app("other")).unwrap();
    assert!(
        other
            .register(App::new("Other", Default::default()).unwrap())
            .await
            .unwrap()
    );
    assert!(
        !other
            .register(App::new("Other", Default::default()).unwrap())
            .await
            .unwrap()
    );
    assert_eq!(user.paykit_registry().await.apps().len(), 2);
}

#[tokio::test]
async fn a_session_that_has_ended_publishes_nothing() {
    let world = World::start().await.unwrap();
    let server = world.homeserver("h").await.unwrap();
    let user = Person::join(&world, &server).await;
    let publisher = Publisher::new(user.session.clone()).unwrap();
    user.session.clone().signout().await.unwrap();
    let error = publisher.open_unit(&unit("USD/2")).await.unwrap_err();
    assert_eq!(error.code(), "not_permitted", "{error:?}");
    assert!(
        user.reader
            .list(&user.key)
            .await
            .unwrap()
            .endpoints
            .is_empty()
    );
}

#[tokio::test]
async fn an_owner_who_cannot_be_reached_is_an_error_and_not_an_empty_list() {
    let world = World::start().await.unwrap();
    let mut server = world.homeserver("h").await.unwrap();
    let user = Person::join(&world, &server).await;
    open_unit(&user.session, &unit("USD/2")).await.unwrap();
    server.stop().await.unwrap();
    let error = user.reader.list(&user.key).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let error = open_unit(&user.session, &unit("USD")).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    server.restart().await.unwrap();
    assert_eq!(
        open_unit(&user.session, &unit("USD")).await.unwrap(),
        units(&["USD", "USD/2"])
    );

    let nobody = user_key(&Keypair::random());
    let error = user.reader.list(&nobody).await.unwrap_err();
    assert_eq!(error.code(), "homeserver_unreachable", "{error:?}");
}
