//! Payments that hang on a log, over one hop, on real parts.

use std::time::Duration;

use anyhow::ensure;
use atomicity_e2e::guard::{Guard, entry};
use atomicity_e2e::lying_log::{LyingLog, Story};
use atomicity_e2e::people::{Person, Site, string};
use atomicity_e2e::promises::{
    Cosigned, introduce_liar, kinds, new_secret, promise, proof_against, standing, until_standing,
};
use atomicity_e2e::story::BREAD;
use atomicity_e2e::{World, wait};
use atomicity_witness_log::fork::Misdeed;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::common::{friends, owed, settle};

/// Two friends at two homeservers.
async fn two_towns(world: &World) -> ([Site; 2], Person, Person) {
    let sites = [
        Site::open(world, "h1").await.unwrap(),
        Site::open(world, "h2").await.unwrap(),
    ];
    let mut milkman = Person::new(world, "milkman").unwrap();
    let mut baker = Person::new(world, "baker").unwrap();
    milkman.join(&sites[0], BREAD).await.unwrap();
    baker.join(&sites[1], BREAD).await.unwrap();
    friends(&milkman, &baker).await;
    (sites, milkman, baker)
}

async fn can_pay(person: &Person, other: &Person) -> String {
    let line = person.account(other, BREAD).await.unwrap();
    string(&line, "/can_issue").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promise_is_booked_if_its_secret_is_published_and_free_again_if_not() {
    let world = World::start().await.unwrap();
    let log = Cosigned::start(&world, "log", 3600).await.unwrap();
    let (mut sites, milkman, baker) = two_towns(&world).await;
    let known = log.introduce(&milkman).await.unwrap();
    assert!(
        known["quorum"].as_str().unwrap().contains("1 of the 1"),
        "{known}"
    );
    log.introduce(&baker).await.unwrap();
    let origin = log.origin();

    // Published in time: due for the baker, booked by the milkman.
    let hash = new_secret(&baker).await.unwrap();
    let first = promise(&milkman, &baker, "2.00 BREAD/2", (&hash, origin, 60))
        .await
        .unwrap();
    assert_eq!(can_pay(&milkman, &baker).await, "1800", "not reserved");
    baker.sync().await.unwrap();
    let held = baker.account(&milkman, BREAD).await.unwrap();
    assert_eq!(
        (&held["net"], &held["promised_to_me"]),
        (&"0".into(), &"200".into()),
        "{held}"
    );
    milkman.sync().await.unwrap();
    assert_eq!(standing(&milkman, &first).await.unwrap(), "undecided");
    let published = baker
        .wallet()
        .ok(&["secret", "publish", &hash])
        .await
        .unwrap();
    assert_eq!(published["log"], origin, "{published}");
    let due = baker.account(&milkman, BREAD).await.unwrap();
    assert_eq!(
        (&due["net"], &due["due_to_me"]),
        (&"0".into(), &"200".into()),
        "{due}"
    );
    let bundle = world.new_path("bundle");
    let bundle = bundle.to_str().unwrap();
    let export = ["evidence", "export", "milkman", "--out", bundle];
    baker.wallet().ok(&export).await.unwrap();
    let judged = baker
        .wallet()
        .ok(&["evidence", "verify", bundle])
        .await
        .unwrap();
    assert!(judged.to_string().contains("\"due\":\"200\""), "{judged}");
    settle(&milkman, &baker).await;
    owed(&baker, &milkman, 200).await;
    let booked = baker.account(&milkman, BREAD).await.unwrap();
    assert_eq!(
        (&booked["due_to_me"], &booked["promised_to_me"]),
        (&"0".into(), &"0".into())
    );
    let told = kinds(&baker).await.unwrap();
    assert_eq!(
        told.iter().filter(|kind| *kind == "payment").count(),
        0,
        "{told:?}"
    );
    for kind in ["promised", "due", "merged"] {
        assert!(
            told.iter().any(|told| told == kind),
            "{kind} is not in {told:?}"
        );
    }

    // Not published: expired by proof on both sides, and the credit is free.
    let hash = new_secret(&baker).await.unwrap();
    let second = promise(&milkman, &baker, "3.00 BREAD/2", (&hash, origin, 5))
        .await
        .unwrap();
    baker.sync().await.unwrap();
    assert_eq!(can_pay(&milkman, &baker).await, "1500");
    let over = (
        &["expired", "released", "gone"][..],
        &["released", "gone"][..],
    );
    until_standing(&milkman, &baker, &second, over)
        .await
        .unwrap();
    owed(&baker, &milkman, 200).await;
    assert_eq!(can_pay(&milkman, &baker).await, "1800");
    assert!(kinds(&baker).await.unwrap().contains(&"expired".to_owned()));
    let late = baker
        .wallet()
        .fails(3, &["secret", "publish", &hash])
        .await
        .unwrap();
    assert_eq!(late["code"], "nothing_to_publish", "{late}");

    // Published while the milkman's inbox is away: he reads it in the log.
    let hash = new_secret(&baker).await.unwrap();
    let third = promise(&milkman, &baker, "1.00 BREAD/2", (&hash, origin, 60))
        .await
        .unwrap();
    settle(&milkman, &baker).await;
    sites[0].plugin.stop().await.unwrap();
    baker
        .wallet()
        .ok(&["secret", "publish", &hash])
        .await
        .unwrap();
    milkman.sync().await.unwrap();
    assert_eq!(standing(&milkman, &third).await.unwrap(), "merged");
    sites[0].plugin.start().await.unwrap();
    settle(&milkman, &baker).await;
    owed(&baker, &milkman, 300).await;

    // Published by somebody else while the baker is away: due when she is back.
    let hash = new_secret(&baker).await.unwrap();
    promise(&milkman, &baker, "1.00 BREAD/2", (&hash, origin, 60))
        .await
        .unwrap();
    settle(&milkman, &baker).await;
    let shown = baker.wallet().ok(&["secret", "show", &hash]).await.unwrap();
    let preimage = URL_SAFE_NO_PAD
        .decode(string(&shown, "/preimage").unwrap())
        .unwrap();
    let reader = log.log.log();
    let policy = reader.policy().await.unwrap();
    reader
        .publish(&policy, &preimage.try_into().unwrap(), 0)
        .await
        .unwrap();
    baker.sync().await.unwrap();
    let due = baker.account(&milkman, BREAD).await.unwrap();
    assert_eq!(due["due_to_me"], "100", "{due}");
    settle(&milkman, &baker).await;
    owed(&baker, &milkman, 400).await;

    // Without a log: the secret shown to the milkman is enough. On one hash he gives that once, whomever he gives it.
    let hash = new_secret(&baker).await.unwrap();
    let direct = ["pay", "baker", "0.50 BREAD/2", "--on", &hash, "--shown"];
    let given = milkman.wallet().ok(&direct).await.unwrap();
    assert_eq!(given["logs"], serde_json::json!([]), "{given}");
    let mut carl = Person::new(&world, "carl").unwrap();
    carl.join(&sites[0], BREAD).await.unwrap();
    friends(&milkman, &carl).await;
    for whom in ["baker", "carl"] {
        let again = ["pay", whom, "0.50 BREAD/2", "--on", &hash, "--shown"];
        let refused = milkman.wallet().fails(3, &again).await.unwrap();
        assert_eq!(refused["code"], "terms_refused", "{refused}");
    }
    settle(&milkman, &baker).await;
    let publish = ["secret", "publish", &hash];
    let shown = baker.wallet().ok(&publish).await.unwrap();
    assert_eq!(shown["log"], serde_json::Value::Null, "{shown}");
    settle(&milkman, &baker).await;
    owed(&baker, &milkman, 450).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_log_dies_tombstones_end_the_promise_and_the_credit_is_free() {
    let world = World::start().await.unwrap();
    let mut log = Cosigned::start(&world, "log", 20).await.unwrap();
    let (_sites, milkman, baker) = two_towns(&world).await;
    log.introduce(&milkman).await.unwrap();
    log.introduce(&baker).await.unwrap();
    let hash = new_secret(&baker).await.unwrap();
    let name = promise(&milkman, &baker, "2.00 BREAD/2", (&hash, log.origin(), 110))
        .await
        .unwrap();
    settle(&milkman, &baker).await;
    assert_eq!(standing(&baker, &name).await.unwrap(), "undecided");
    log.log.plugin.kill().await.unwrap();
    let over = (
        &["expired", "released", "gone"][..],
        &["released", "gone"][..],
    );
    until_standing(&milkman, &baker, &name, over).await.unwrap();
    owed(&baker, &milkman, 0).await;
    assert_eq!(can_pay(&milkman, &baker).await, "2000");
    let refused = milkman
        .wallet()
        .run(&[
            "pay",
            "baker",
            "1.00 BREAD/2",
            "--on",
            &hash,
            "--log",
            log.origin(),
        ])
        .await
        .unwrap();
    assert_ne!(refused.code, Some(0), "a dead log was relied on: {refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_caught_in_a_fork_is_proven_guilty_and_refused() {
    let world = World::start().await.unwrap();
    let (_sites, milkman, baker) = two_towns(&world).await;
    let liar = LyingLog::start("liar.example/log").await.unwrap();
    let origin = liar.vkey().name().to_owned();
    // It shows the milkman one history and the baker another one of the same size.
    let (mut one, mut other) = (Story::default(), Story::default());
    for story in [&mut one, &mut other] {
        story.tick().unwrap();
    }
    one.preimage([1; 32]).unwrap();
    other.preimage([2; 32]).unwrap();
    for story in [&mut one, &mut other] {
        story.tick().unwrap();
    }
    liar.tell(&one).unwrap();
    introduce_liar(&world, &milkman, &liar).await.unwrap();
    liar.tell(&other).unwrap();
    introduce_liar(&world, &baker, &liar).await.unwrap();

    // The milkman's promise shows the baker what he relied on.
    liar.tell(&one).unwrap();
    let hash = new_secret(&baker).await.unwrap();
    let given = promise(&milkman, &baker, "1.00 BREAD/2", (&hash, &origin, 60))
        .await
        .unwrap();
    liar.tell(&other).unwrap();
    wait::until("the baker to see through it", || async {
        baker.sync().await?;
        let told = kinds(&baker).await?;
        ensure!(
            told.contains(&"log_caught".to_owned()),
            "only {told:?} so far"
        );
        Ok(())
    })
    .await
    .unwrap();
    let (proof, words) = proof_against(&baker, &origin).await.unwrap();
    assert_eq!(proof.misdeed(), Misdeed::SameSize, "{words}");
    let pay = [
        "pay",
        "milkman",
        "1.00 BREAD/2",
        "--on",
        &hash,
        "--log",
        &origin,
    ];
    let refused = baker.wallet().fails(3, &pay).await.unwrap();
    assert_eq!(refused["code"], "log_refused", "{refused}");
    assert!(
        refused["message"].as_str().unwrap().contains("proven"),
        "{refused}"
    );

    // The proof convinces the milkman too, who has seen nothing wrong.
    let file = world.new_path("proof");
    let file = file.to_str().unwrap();
    baker
        .wallet()
        .ok(&["log", "proof", &origin, "--out", file])
        .await
        .unwrap();
    let convinced = milkman
        .wallet()
        .ok(&["log", "refuse", &origin, "--proof", file])
        .await
        .unwrap();
    assert_eq!(convinced["usable"], false, "{convinced}");
    proof_against(&milkman, &origin).await.unwrap();

    // What he had promised on it is given up by the baker, and the credit is free.
    let release = ["promises", "release", given.as_str()];
    let released = baker.wallet().ok(&release).await.unwrap();
    assert_eq!(released["standing"], "released", "{released}");
    settle(&milkman, &baker).await;
    assert_eq!(can_pay(&milkman, &baker).await, "2000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_goes_back_on_what_it_showed_is_caught_at_once() {
    let world = World::start().await.unwrap();
    let (_sites, milkman, baker) = two_towns(&world).await;
    let liar = LyingLog::start("liar.example/log").await.unwrap();
    let origin = liar.vkey().name().to_owned();
    let mut story = Story::default();
    for n in 0..5 {
        story.preimage([n; 32]).unwrap();
    }
    story.tick().unwrap();
    liar.tell(&story).unwrap();
    introduce_liar(&world, &milkman, &liar).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    let mut rewritten = Story::default();
    for n in 10..20 {
        rewritten.preimage([n; 32]).unwrap();
    }
    rewritten.tick().unwrap();
    liar.tell(&rewritten).unwrap();
    let hash = new_secret(&baker).await.unwrap();
    let pay = [
        "pay",
        "baker",
        "1.00 BREAD/2",
        "--on",
        &hash,
        "--log",
        &origin,
    ];
    for _ in 0..2 {
        let refused = milkman.wallet().fails(3, &pay).await.unwrap();
        assert_eq!(refused["code"], "log_refused", "{refused}");
    }
    let (proof, words) = proof_against(&milkman, &origin).await.unwrap();
    assert_eq!(proof.misdeed(), Misdeed::Inconsistent, "{words}");
    owed(&baker, &milkman, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wallets_that_run_settle_by_themselves() {
    let world = World::start().await.unwrap();
    let log = Cosigned::start(&world, "log", 3600).await.unwrap();
    let (_sites, milkman, baker) = two_towns(&world).await;
    log.introduce(&milkman).await.unwrap();
    log.introduce(&baker).await.unwrap();
    let mut milkmans = milkman.wallet().watch(&[]).await.unwrap();
    let mut bakers = baker.wallet().watch(&[]).await.unwrap();
    let is = |kind: &'static str| move |event: &serde_json::Value| event["event"] == kind;

    let hash = new_secret(&baker).await.unwrap();
    let first = promise(&milkman, &baker, "2.00 BREAD/2", (&hash, log.origin(), 60));
    let first = first.await.unwrap();
    let heard = bakers.next("the promise", is("promised")).await.unwrap();
    assert_eq!(
        (&heard["promise"], &heard["hash"]),
        (&first.clone().into(), &hash.clone().into())
    );
    milkmans
        .next("its arrival", is("promise_arrived"))
        .await
        .unwrap();
    baker
        .wallet()
        .ok(&["secret", "publish", &hash])
        .await
        .unwrap();
    let merged = milkmans.next("the booking", is("merged")).await.unwrap();
    assert_eq!(
        (&merged["promise"], &merged["net"]),
        (&first.into(), &"-200".into())
    );
    bakers.next("the booking", is("merged")).await.unwrap();
    owed(&baker, &milkman, 200).await;

    let hash = new_secret(&baker).await.unwrap();
    let second = promise(&milkman, &baker, "1.00 BREAD/2", (&hash, log.origin(), 4));
    let second = second.await.unwrap();
    bakers
        .next("the second promise", is("promised"))
        .await
        .unwrap();
    let over = bakers.next("its end", is("expired")).await.unwrap();
    assert_eq!(over["promise"], second.as_str());
    milkmans
        .next("its end", |event| {
            ["expired", "released"]
                .iter()
                .any(|kind| event["event"] == *kind)
        })
        .await
        .unwrap();
    wait::until("the credit to be free", || async {
        let line = milkman.account(&baker, BREAD).await?;
        ensure!(line["can_issue"] == "1800", "only {}", line["can_issue"]);
        Ok(())
    })
    .await
    .unwrap();
    milkmans.stop().await.unwrap();
    bakers.stop().await.unwrap();
    settle(&milkman, &baker).await;
    owed(&baker, &milkman, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watchtower_compares_what_two_people_were_shown_and_warns_both() {
    let world = World::start().await.unwrap();
    let site = Site::open(&world, "h1").await.unwrap();
    let mut milkman = Person::new(&world, "milkman").unwrap();
    let mut baker = Person::new(&world, "baker").unwrap();
    milkman.join(&site, BREAD).await.unwrap();
    baker.join(&site, BREAD).await.unwrap();
    let liar = LyingLog::start("liar.example/log").await.unwrap();
    let origin = liar.vkey().name().to_owned();
    let story = |n: u8| {
        let mut story = Story::default();
        story.preimage([n; 32]).unwrap();
        story.tick().unwrap();
        story
    };
    liar.tell(&story(1)).unwrap();
    introduce_liar(&world, &milkman, &liar).await.unwrap();
    liar.tell(&story(2)).unwrap();
    introduce_liar(&world, &baker, &liar).await.unwrap();
    let mut tower = Guard::prepare(&world, "tower").await.unwrap();
    tower.watch(&[entry(&liar.vkey(), liar.url())]);
    tower.plugin.start().await.unwrap();
    let url = tower.plugin.http_url();
    for person in [&milkman, &baker] {
        let added = person
            .wallet()
            .ok(&["log", "watchtower", "add", &url])
            .await
            .unwrap();
        assert_eq!(added["url"], url);
    }
    // The two are no friends: they know of each other through the watchtower only.
    for person in [&milkman, &baker] {
        wait::until("a warning", || async {
            person.sync().await?;
            proof_against(person, &origin).await?;
            Ok(())
        })
        .await
        .unwrap();
    }
    let told = kinds(&baker).await.unwrap();
    assert!(told.contains(&"log_caught".to_owned()), "{told:?}");
}
