//! Broken files, hostile homeservers, ended sessions and writers at the same time.

use std::time::Duration;

use atomicity_e2e::World;
use atomicity_e2e::hostile::Answer;
use atomicity_paykit_adapter::{
    App, AppId, CreditEndpoint, Payload, Publisher, REGISTRY_PATH, ReadLimits, Reader,
    endpoints_dir, open_unit,
};
use pubky::Keypair;

use super::{Person, app, faults, lines, method, open_units, unit, units, user_key};

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
    publisher
        .set_units(&units(&["EUR/2", "HOUR/2"]))
        .await
        .unwrap();
    publisher.set_units(&units(&["HOUR/2"])).await.unwrap();
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
