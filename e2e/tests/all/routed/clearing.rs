//! A circle of debts on real parts: found by a router in what people publish, and cleared by one of them.

use anyhow::ensure;
use atomicity_e2e::people::{Person, expect, string};
use atomicity_e2e::town::{Town, live, router};
use atomicity_e2e::{Plugin, wait};
use serde_json::Value;

use crate::common::{BREAD, friends, settle};

/// What each is owed by the next, and the last by the first, on both sides, once it is so.
async fn until_owed(ring: &[Person; 4], expected: [i64; 4]) {
    wait::until("the debts of the circle", || async {
        for (at, want) in expected.iter().enumerate() {
            let (one, next) = (&ring[at], &ring[(at + 1) % 4]);
            let mine = string(&one.account(next, BREAD).await?, "/net")?;
            let theirs = string(&next.account(one, BREAD).await?, "/net")?;
            ensure!(
                mine == want.to_string() && theirs == (-want).to_string(),
                "{} shows {mine}, {} shows {theirs}, not {want}",
                one.name(),
                next.name()
            );
        }
        Ok(())
    })
    .await
    .unwrap();
}

async fn clear(person: &Person, router: &str, more: &[&str]) -> Value {
    let clear = [&["clear", BREAD, "--router", router], more].concat();
    person.wallet().ok(&clear).await.unwrap()
}

/// Waits until the router knows circles of these amounts from this person.
async fn until_found(person: &Person, router: &str, amounts: &[&str]) {
    wait::until("circles to be known", || async {
        let arguments = ["clear", BREAD, "--router", router, "--dry-run"];
        let found = person.wallet().ok(&arguments).await?;
        let circles = found["circles"].as_array().cloned().unwrap_or_default();
        let told: Vec<&str> = circles
            .iter()
            .filter_map(|c| c["amount"].as_str())
            .collect();
        ensure!(told == amounts, "{found}");
        Ok(())
    })
    .await
    .unwrap();
}

/// A plugin that finds circles among them.
async fn finder(town: &Town, ring: &[Person; 4]) -> Plugin {
    let seeds: Vec<&Person> = ring.iter().collect();
    let home = &town.sites[0].homeserver;
    router(&town.world, home, &seeds).await.unwrap()
}

/// Anna is owed by Ben, he by Carl, he by Dora, and she by Anna.
async fn ring(town: &Town) -> [Person; 4] {
    let anna = town.person("anna", 0).await.unwrap();
    let ben = town.person("ben", 0).await.unwrap();
    let carl = town.person("carl", 1).await.unwrap();
    let dora = town.person("dora", 1).await.unwrap();
    let ring = [anna, ben, carl, dora];
    for (at, money) in ["5.00", "7.00", "3.00", "9.50"].iter().enumerate() {
        let (one, next) = (&ring[at], &ring[(at + 1) % 4]);
        friends(one, next).await;
        let money = format!("{money} {BREAD}");
        next.give(one, &money, "lent").await.unwrap();
        settle(one, next).await;
    }
    ring
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_of_debts_is_cleared_by_one_of_four_and_all_owe_less() {
    let town = Town::found(BREAD).await.unwrap();
    let ring = ring(&town).await;
    let [anna, ben, carl, dora] = &ring;
    until_owed(&ring, [500, 700, 300, 950]).await;
    let finder = finder(&town, &ring).await;
    let key = finder.key().to_owned();

    // Nobody has agreed to anything: nothing is published, and nothing asked.
    let refused = anna
        .wallet()
        .fails(2, &["clear", BREAD, "--router", &key])
        .await
        .unwrap();
    assert_eq!(refused["code"], "clearing_off", "{refused}");
    for person in &ring {
        let agreed = ["forward", "clear", BREAD];
        let list = person.wallet().ok(&agreed).await.unwrap();
        expect(&list, "/clearing/0", BREAD).unwrap();
        assert_eq!(list["rules"].as_array().unwrap().len(), 0, "{list}");
    }
    // 3.00 is the least; what is published is 2.00.
    until_found(anna, &key, &["200"]).await;
    let _running = [
        live(ben).await.unwrap(),
        live(carl).await.unwrap(),
        live(dora).await.unwrap(),
    ];
    let done = clear(anna, &key, &[]).await;
    expect(&done, "/circles/0/state", "cleared").unwrap();
    expect(&done, "/circles/0/users/3", anna.key()).unwrap();
    expect(&done, "/cleared/0/amount", "200").unwrap();
    // Dora's booking reaches her when she looks.
    let _anna_runs = live(anna).await.unwrap();
    until_owed(&ring, [300, 500, 100, 750]).await;

    // It cost nothing, and a hop has earned nothing by it.
    let payments = anna.wallet().ok(&["payments"]).await.unwrap();
    expect(&payments, "/payments/0/fee", "0").unwrap();
    expect(&payments, "/payments/0/state", "paid").unwrap();
    for hop in [ben, carl, dora] {
        let list = hop.wallet().ok(&["forward", "list"]).await.unwrap();
        expect(&list, "/passed_on/0/fee", "0").unwrap();
        expect(&list, "/passed_on/0/stage", "paid").unwrap();
    }
    let history = anna.wallet().ok(&["history"]).await.unwrap();
    let cleared = history["items"].as_array().unwrap().iter();
    assert_eq!(cleared.filter(|item| item["kind"] == "cleared").count(), 1);

    // From the other side of the ring, what is left of the smallest; then there is none.
    until_found(dora, &key, &["100"]).await;
    let done = clear(dora, &key, &[]).await;
    expect(&done, "/circles/0/state", "cleared").unwrap();
    until_owed(&ring, [200, 400, 0, 650]).await;
    until_found(anna, &key, &[]).await;
    let done = clear(anna, &key, &[]).await;
    assert_eq!(done["cleared"].as_array().unwrap().len(), 0, "{done}");

    // Who agrees no more publishes nothing more.
    let off = ["forward", "clear", BREAD, "--off"];
    let list = carl.wallet().ok(&off).await.unwrap();
    assert_eq!(list["clearing"].as_array().unwrap().len(), 0, "{list}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_dies_while_it_goes_round_finds_it_cleared() {
    let town = Town::found(BREAD).await.unwrap();
    let ring = ring(&town).await;
    let [anna, ben, carl, dora] = &ring;
    let finder = finder(&town, &ring).await;
    let key = finder.key().to_owned();
    for person in &ring {
        let agreed = ["forward", "clear", BREAD];
        person.wallet().ok(&agreed).await.unwrap();
    }
    until_found(anna, &key, &["200"]).await;
    let _running = [live(carl).await.unwrap(), live(dora).await.unwrap()];
    let mut ben_runs = live(ben).await.unwrap();
    let arguments = ["clear", BREAD, "--router", &key, "--deadline", "100s"];
    let mut clearing = anna.wallet().command(&arguments).spawn().unwrap();
    let passed = |event: &Value| event["event"] == "passed_on";
    ben_runs.next("a promise passed on", passed).await.unwrap();
    clearing.kill().await.unwrap();
    // What comes back to her is taken, published, and booked on both of her sides.
    wait::until("the circle to be cleared", || async {
        anna.sync().await?;
        let list = anna.wallet().ok(&["payments"]).await?;
        expect(&list, "/payments/0/state", "paid")
    })
    .await
    .unwrap();
    let _anna_runs = live(anna).await.unwrap();
    until_owed(&ring, [300, 500, 100, 750]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_clear_the_same_circle_at_once_do_nobody_any_harm() {
    let town = Town::found(BREAD).await.unwrap();
    let ring = ring(&town).await;
    let [anna, ben, carl, dora] = &ring;
    let finder = finder(&town, &ring).await;
    let key = finder.key().to_owned();
    for person in &ring {
        let agreed = ["forward", "clear", BREAD];
        person.wallet().ok(&agreed).await.unwrap();
    }
    until_found(anna, &key, &["200"]).await;
    until_found(carl, &key, &["200"]).await;
    let _running = [
        live(anna).await.unwrap(),
        live(ben).await.unwrap(),
        live(carl).await.unwrap(),
        live(dora).await.unwrap(),
    ];
    // 3.00 are owed by Dora to Carl: only one of the two fits.
    let arguments = ["clear", BREAD, "--router", &key, "--deadline", "25s"];
    let (first, second) =
        tokio::join!(anna.wallet().run(&arguments), carl.wallet().run(&arguments));
    let mut cleared = 0;
    for done in [first.unwrap(), second.unwrap()] {
        let told = done.json().unwrap();
        let state = told["circles"][0]["state"].as_str().unwrap_or("none");
        match state {
            "cleared" => cleared += 1,
            "failed" | "none" => {}
            other => panic!("{other}: {told}"),
        }
    }
    assert!(cleared < 2, "more was cleared than was owed");
    let left = |minor: i64| minor - 200 * cleared;
    until_owed(&ring, [left(500), left(700), left(300), left(950)]).await;
    // Whatever did not go through binds nobody: all credit is free again.
    wait::until("nothing to be undecided", || async {
        for person in &ring {
            let promises = person.wallet().ok(&["promises"]).await?;
            let open = promises["promises"].as_array().cloned().unwrap_or_default();
            let open = open.iter().filter(|p| p["standing"] == "undecided");
            ensure!(open.count() == 0, "{promises}");
        }
        Ok(())
    })
    .await
    .unwrap();
}
