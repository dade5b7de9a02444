//! Payments over several hops on real parts: invoices, passing on, adverts, routers, payees who are away, crashes.

pub(crate) mod agent;
mod clearing;
mod policy;

use anyhow::ensure;
use atomicity_e2e::people::{Person, expect, string};
use atomicity_e2e::promises::{Cosigned, promise};
use atomicity_e2e::town::{self, Town, over};
use atomicity_e2e::watch::Watch;
use atomicity_e2e::{Plugin, wait};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::common::{BREAD, friends, settle};

async fn found() -> Town {
    Town::found(BREAD).await.unwrap()
}

/// Anna, Ben, Carl, Dora: each lets the next owe 20.00, and the other way round. Ben and Carl pass on.
async fn chain(town: &Town) -> [Person; 4] {
    let anna = town.person("anna", 0).await.unwrap();
    let ben = town.person("ben", 0).await.unwrap();
    let carl = town.person("carl", 1).await.unwrap();
    let dora = town.person("dora", 1).await.unwrap();
    friends(&anna, &ben).await;
    friends(&ben, &carl).await;
    friends(&carl, &dora).await;
    pass_on(&ben, "0.01").await;
    pass_on(&carl, "0.01").await;
    [anna, ben, carl, dora]
}

async fn pass_on(person: &Person, fee: &str) {
    town::pass_on(person, BREAD, fee).await.unwrap();
}

async fn live(person: &Person) -> Watch {
    town::live(person).await.unwrap()
}

async fn invoice(person: &Person, amount: &str) -> (String, String) {
    town::invoice(person, amount, "bread").await.unwrap()
}

/// What `one` is owed by `other`, on both sides, once it is so.
async fn until_owed(one: &Person, other: &Person, expected: i64) {
    town::until_owed(one, other, BREAD, expected).await.unwrap();
}

async fn can_pay(person: &Person, other: &Person) -> String {
    let line = person.account(other, BREAD).await.unwrap();
    string(&line, "/can_issue").unwrap()
}

async fn state_of(person: &Person, invoice: &str) -> String {
    let list = person.wallet().ok(&["invoices"]).await.unwrap();
    let all = list["invoices"].as_array().unwrap().iter();
    let found = all.clone().find(|one| one["invoice"] == invoice).unwrap();
    string(found, "/state").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_paid_over_two_friends_in_one_command() {
    let town = found().await;
    let [anna, ben, carl, dora] = chain(&town).await;
    let _running = [live(&ben).await, live(&carl).await, live(&dora).await];
    let (link, id) = invoice(&dora, "5.00 BREAD/2").await;
    let along = over(&[&ben, &carl, &dora]);

    // What can't be paid says why, and signs nothing.
    let pay = ["pay", link.as_str(), "--along", along.as_str()];
    let wallet = anna.wallet();
    let wrong = wallet
        .fails(2, &["pay", &link, "5.00 USD/2"])
        .await
        .unwrap();
    assert_eq!(wrong["code"], "wrong_unit", "{wrong}");
    let less = wallet
        .fails(2, &["pay", &link, "4.00 BREAD/2"])
        .await
        .unwrap();
    assert_eq!(less["code"], "amount_fixed", "{less}");
    let made = dora.wallet().ok(&["invoice", "--open", BREAD]).await;
    let open = string(&made.unwrap(), "/link").unwrap();
    let how_much = wallet.fails(2, &["pay", &open]).await.unwrap();
    assert_eq!(how_much["code"], "amount_missing", "{how_much}");
    let short = ["invoice", "1.00 BREAD/2", "--expires", "1s"];
    let made = dora.wallet().ok(&short).await.unwrap();
    let over = string(&made, "/link").unwrap();
    wait::until("an invoice to expire", || async {
        let late = wallet.run(&["pay", &over, "--along", dora.key()]).await?;
        ensure!(late.json()?["error"]["code"] == "invoice_expired", "{late}");
        Ok(())
    })
    .await
    .unwrap();
    let own = dora.wallet().fails(2, &["pay", &link]).await.unwrap();
    assert_eq!(own["code"], "own_invoice", "{own}");
    let dear = [&pay[..], &["--max-fee", "0.03"]].concat();
    let dear = wallet.fails(3, &dear).await.unwrap();
    assert_eq!(dear["code"], "fee_too_high", "{dear}");
    let dry = [&pay[..], &["--dry-run"]].concat();
    let dry = wallet.ok(&dry).await.unwrap();
    expect(&dry, "/ways/0/fee", "4").unwrap();
    assert_eq!(can_pay(&anna, &ben).await, "2000");

    let paid = wallet.ok(&pay).await.unwrap();
    expect(&paid, "/state", "paid").unwrap();
    expect(&paid, "/fee", "4").unwrap();
    expect(&paid, "/tries", 1).unwrap();
    until_owed(&dora, &carl, 500).await;
    until_owed(&carl, &ben, 502).await;
    until_owed(&ben, &anna, 504).await;
    assert_eq!(state_of(&dora, &id).await, "paid");

    // The receipt is the secret, and the log's proof of it.
    let payment = string(&paid, "/payment").unwrap();
    let receipt = wallet.ok(&["receipt", &payment]).await.unwrap();
    let preimage = URL_SAFE_NO_PAD.decode(string(&receipt, "/preimage").unwrap());
    let preimage: [u8; 32] = preimage.unwrap().try_into().unwrap();
    let hash = atomicity_ledger::Preimage::from_bytes(preimage).hash();
    expect(&receipt, "/hash", hash.to_string()).unwrap();
    assert!(receipt["proof"]["proof"].is_string(), "{receipt}");

    let again = wallet.fails(3, &pay).await.unwrap();
    assert_eq!(again["code"], "already_paid", "{again}");

    // Friends need nobody between: an invoice is one promise, and without one it is given as ever.
    let given = carl.wallet().ok(&["pay", &open, "2.00"]).await.unwrap();
    expect(&given, "/fee", "0").unwrap();
    expect(&given, "/state", "paid").unwrap();
    until_owed(&dora, &carl, 700).await;
    let plain = ["pay", "ben", "1.00 BREAD/2"];
    let plain = wallet.ok(&plain).await.unwrap();
    expect(&plain, "/kind", "direct").unwrap();
    until_owed(&ben, &anna, 604).await;
    let list = ben.wallet().ok(&["forward", "list"]).await.unwrap();
    expect(&list, "/passed_on/0/fee", "2").unwrap();
    expect(&list, "/passed_on/0/stage", "paid").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hop_that_is_away_costs_nobody_anything() {
    let town = found().await;
    let [anna, ben, carl, dora] = chain(&town).await;
    let _running = [live(&ben).await, live(&dora).await];
    let (link, id) = invoice(&dora, "5.00 BREAD/2").await;
    let along = over(&[&ben, &carl, &dora]);
    let pay = ["pay", &link, "--along", &along, "--deadline", "25s"];
    let failed = anna.wallet().fails(3, &pay).await.unwrap();
    assert_eq!(failed["code"], "not_through", "{failed}");
    assert_eq!(can_pay(&anna, &ben).await, "2000");
    wait::until("credit that is free again", || async {
        let free = can_pay(&ben, &carl).await;
        ensure!(free == "2000", "{free}");
        Ok(())
    })
    .await
    .unwrap();
    // Whoever comes back finds that it is over.
    let carl_runs = live(&carl).await;
    settle(&anna, &dora).await;
    for (one, other) in [(&ben, &anna), (&carl, &ben), (&dora, &carl)] {
        until_owed(one, other, 0).await;
    }
    drop(carl_runs);
    assert_eq!(state_of(&dora, &id).await, "open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_away_is_paid_within_the_allowance_and_not_without() {
    let town = found().await;
    let [anna, ben, carl, dora] = chain(&town).await;
    let _running = [live(&ben).await, live(&carl).await];
    let along = over(&[&ben, &carl, &dora]);
    let wallet = anna.wallet();
    let gift = ["pay", dora.key(), "3.00 BREAD/2", "--along", &along];
    let short = [&gift[..], &["--deadline", "25s"]].concat();
    let refused = wallet.fails(3, &short).await.unwrap();
    assert_eq!(refused["code"], "not_unattended", "{refused}");

    let allow = [
        "friend",
        "limit",
        "carl",
        "20.00 BREAD/2",
        "--unattended",
        "4.00",
    ];
    dora.wallet().ok(&allow).await.unwrap();
    wait::until("the allowance to arrive", || async {
        let paid = wallet
            .ok(&[&gift[..], &["--memo", "for the roof"]].concat())
            .await?;
        expect(&paid, "/state", "paid")?;
        expect(&paid, "/fee", "4")
    })
    .await
    .unwrap();
    // She was not there; now she is, and finds herself paid.
    settle(&dora, &anna).await;
    until_owed(&carl, &ben, 302).await;
    wait::until("Dora to be paid", || async {
        dora.sync().await?;
        let line = dora.account(&carl, BREAD).await?;
        expect(&line, "/net", "300")
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_killed_in_the_middle_goes_on_and_all_is_settled() {
    let town = found().await;
    let [anna, ben, carl, dora] = chain(&town).await;
    let (link, _) = invoice(&dora, "5.00 BREAD/2").await;
    let along = over(&[&ben, &carl, &dora]);
    let pay = ["pay", &link, "--along", &along, "--deadline", "100s"];
    // The payer dies when the promise is signed, the first hop when it has passed it on.
    let mut ben_runs = live(&ben).await;
    let mut payer = anna.wallet().command(&pay).spawn().unwrap();
    let passed = |event: &Value| event["event"] == "passed_on";
    ben_runs.next("a promise passed on", passed).await.unwrap();
    payer.kill().await.unwrap();
    drop(ben_runs);
    let open = anna.wallet().ok(&["payments"]).await.unwrap();
    expect(&open, "/payments/0/state", "open").unwrap();
    // One hash serves one payment, also after a crash.
    let again = anna.wallet().fails(3, &pay).await.unwrap();
    assert_eq!(again["code"], "being_paid", "{again}");

    let _running = [live(&ben).await, live(&carl).await, live(&dora).await];
    wait::until("the payment to be made", || async {
        anna.sync().await?;
        let list = anna.wallet().ok(&["payments"]).await?;
        expect(&list, "/payments/0/state", "paid")
    })
    .await
    .unwrap();
    until_owed(&dora, &carl, 500).await;
    until_owed(&carl, &ben, 502).await;
    wait::until("the payer to have booked it", || async {
        anna.sync().await?;
        expect(&anna.account(&ben, BREAD).await?, "/net", "-504")
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promise_on_another_log_does_not_lure_the_secret_there() {
    let town = found().await;
    let [anna, ben, carl, dora] = chain(&town).await;
    let other = Cosigned::start(&town.world, "other", 3600).await.unwrap();
    for person in [&carl, &dora] {
        other.introduce(person).await.unwrap();
    }
    let made = dora.wallet().ok(&["invoice", "5.00 BREAD/2"]).await;
    let made = made.unwrap();
    let (link, hash) = (
        string(&made, "/link").unwrap(),
        string(&made, "/hash").unwrap(),
    );
    // Carl, who is on the way, hangs a trifle on the same hash and on a log that the payment does not name.
    promise(&carl, &dora, "0.01 BREAD/2", (&hash, other.origin(), 110))
        .await
        .unwrap();
    dora.sync().await.unwrap();
    let _running = [live(&ben).await, live(&carl).await, live(&dora).await];
    let along = over(&[&ben, &carl, &dora]);
    let paid = anna.wallet().ok(&["pay", &link, "--along", &along]).await;
    expect(&paid.unwrap(), "/state", "paid").unwrap();
    until_owed(&dora, &carl, 500).await;
}

/// A plugin that finds ways, beginning with these people.
async fn router(town: &Town, seeds: &[&Person]) -> Plugin {
    let home = &town.sites[0].homeserver;
    town::router(&town.world, home, seeds).await.unwrap()
}

/// Anna, Dora, and between them Ben and Carl side by side.
async fn diamond(town: &Town) -> [Person; 4] {
    let anna = town.person("anna", 0).await.unwrap();
    let ben = town.person("ben", 0).await.unwrap();
    let carl = town.person("carl", 1).await.unwrap();
    let dora = town.person("dora", 1).await.unwrap();
    for middle in [&ben, &carl] {
        friends(&anna, middle).await;
        friends(middle, &dora).await;
    }
    pass_on(&ben, "0.01").await;
    pass_on(&carl, "0.05").await;
    pass_on(&dora, "0.01").await;
    [anna, ben, carl, dora]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hop_that_refuses_is_passed_by_and_an_amount_too_wide_for_one_way_is_divided() {
    let town = found().await;
    let [anna, ben, carl, dora] = diamond(&town).await;
    let router = router(&town, &[&ben, &carl]).await;
    let key = router.key().to_owned();
    let _running = [live(&ben).await, live(&carl).await, live(&dora).await];
    let wallet = anna.wallet();

    // The invoice names Ben's old fee; he takes more by now and refuses. The payment goes over Carl.
    let (link, _) = invoice(&dora, "1.00 BREAD/2").await;
    wait::until("the router to know the ways", || async {
        let dry = ["pay", &link, "--router", &key, "--dry-run"];
        let dry = [&dry[..], &["--max-fee", "0.20"]].concat();
        let ways = wallet.ok(&dry).await?;
        let text = ways.to_string();
        ensure!(
            text.contains(ben.key()) && text.contains(carl.key()),
            "{ways}"
        );
        Ok(())
    })
    .await
    .unwrap();
    // A way that costs too much is called dear, not narrow.
    let cheap = ["pay", &link, "--router", &key, "--max-fee", "0.01"];
    let dear = wallet.fails(3, &cheap).await.unwrap();
    assert_eq!(dear["code"], "fee_too_high", "{dear}");
    pass_on(&ben, "0.90").await;
    let pay = ["pay", &link, "--router", &key, "--max-fee", "0.20"];
    let paid = wallet.ok(&pay).await.unwrap();
    expect(&paid, "/state", "paid").unwrap();
    expect(&paid, "/parts/0/hops/0", ben.key()).unwrap();
    expect(&paid, "/parts/0/failure", "fee_too_low").unwrap();
    expect(&paid, "/parts/0/edge/1", dora.key()).unwrap();
    expect(&paid, "/parts/1/hops/0", carl.key()).unwrap();
    expect(&paid, "/fee", "6").unwrap();
    until_owed(&dora, &carl, 100).await;
    until_owed(&dora, &ben, 0).await;

    // Wider than either way: in parts, all or nothing.
    let (link, _) = invoice(&dora, "28.00 BREAD/2").await;
    let wide = ["pay", &link, "--router", &key, "--max-fee", "1.50"];
    let dry = [&wide[..], &["--dry-run"]].concat();
    wait::until("a way in parts", || async {
        let ways = wallet.ok(&dry).await?;
        ensure!(
            ways["ways"][0]["parts"]
                .as_array()
                .is_some_and(|p| p.len() == 2),
            "{ways}"
        );
        Ok(())
    })
    .await
    .unwrap();
    let paid = wallet.ok(&wide).await.unwrap();
    expect(&paid, "/state", "paid").unwrap();
    assert_eq!(paid["parts"].as_array().unwrap().len(), 2, "{paid}");
    wait::until("both parts to be booked", || async {
        let mut sum = 0;
        for middle in [&ben, &carl] {
            let line = dora.account(middle, BREAD).await?;
            sum += string(&line, "/net")?.parse::<i64>()?;
        }
        ensure!(sum == 2900, "{sum}");
        Ok(())
    })
    .await
    .unwrap();

    // Whom the payer wants to avoid is avoided.
    let (link, _) = invoice(&dora, "1.00 BREAD/2").await;
    let avoid = [
        "pay",
        &link,
        "--router",
        &key,
        "--avoid",
        "carl",
        "--max-fee",
        "0.20",
    ];
    let refused = wallet.fails(3, &avoid).await.unwrap();
    let known = ["fee_too_high", "no_route", "too_narrow", "no_first_hop"];
    assert!(
        known.iter().any(|code| refused["code"] == *code),
        "{refused}"
    );
}
