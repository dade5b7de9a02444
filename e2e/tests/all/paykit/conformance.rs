//! What Paykit's library and we make of each other's files, on a real homeserver.

use atomicity_e2e::World;
use atomicity_paykit_adapter::{
    AppId, LEGACY_DIR, MAX_ENDPOINTS, MethodId, Payload, Publisher, close_unit, endpoint_path,
    endpoints_dir, legacy_path, open_unit,
};
use futures_util::{StreamExt, stream};
use paykit_lib::{PaykitAppId, PaymentEndpointIdentifier};

use super::{Person, faults, lines, method, open_units, unit, units};

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
