//! A payment that is made in one unit and arrives in another.

use anyhow::ensure;
use atomicity_e2e::people::{Person, expect, string};
use atomicity_e2e::town::{self, Town};
use atomicity_e2e::wait;
use pubky::ClientId;
use serde_json::Value;

use crate::common::BREAD;
use crate::routed::agent::{Place, engage};

const EUR: &str = "EUR/2";
const USD: &str = "USD/2";
const RATES: &str = "/pub/atomicity/v0/rates";

/// Anna, whom Ben lets owe dollars; Ben, whom Carl lets owe euros; Carl, whom Dora does.
async fn people(town: &Town) -> [Person; 4] {
    let anna = town.person("anna", 0).await.unwrap();
    let ben = town.person("ben", 0).await.unwrap();
    let carl = town.person("carl", 1).await.unwrap();
    let dora = town.person("dora", 1).await.unwrap();
    for person in [&anna, &ben] {
        let open = ["unit", "open", USD];
        person.wallet().ok(&open).await.unwrap();
    }
    let friends = [
        (&anna, &ben, "50.00 USD/2"),
        (&ben, &carl, "50.00 EUR/2"),
        (&carl, &dora, "50.00 EUR/2"),
    ];
    for (one, other, money) in friends {
        town::befriend(one, other, money).await.unwrap();
    }
    for person in [&ben, &carl, &dora] {
        town::pass_on(person, EUR, "0.01").await.unwrap();
    }
    [anna, ben, carl, dora]
}

async fn offer(person: &Person, take: &str) -> Value {
    let arguments = [
        "exchange", "offer", "1", EUR, "for", take, USD, "--max", "40",
    ];
    person.wallet().ok(&arguments).await.unwrap()
}

async fn owed(one: &Person, other: &Person, unit: &str, expected: i64) {
    town::until_owed(one, other, unit, expected).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dollars_are_promised_and_euros_arrive_at_the_rate_that_was_shown() {
    let town = Town::found(EUR).await.unwrap();
    let [anna, ben, carl, dora] = people(&town).await;
    let home = &town.sites[0].homeserver;
    let router = town::router(&town.world, home, &[&ben, &carl])
        .await
        .unwrap();
    let key = router.key().to_owned();
    let mut running = Vec::new();
    for person in [&ben, &carl, &dora] {
        running.push(town::live(person).await.unwrap());
    }
    let (link, _) = town::invoice(&dora, "5.00 EUR/2", "coffee").await.unwrap();
    let wallet = anna.wallet();

    // Nobody exchanges so far; and without saying so nothing is exchanged.
    let with = ["pay", &link, "--with", USD, "--router", &key];
    let none = wallet
        .fails(3, &[&with[..], &["--yes"]].concat())
        .await
        .unwrap();
    assert_eq!(none["code"], "no_exchange", "{none}");
    let plain = wallet
        .fails(3, &["pay", &link, "--router", &key])
        .await
        .unwrap();
    assert_eq!(plain["code"], "no_first_hop", "{plain}");
    let wrong = wallet
        .fails(2, &["pay", &link, "5.40 USD/2"])
        .await
        .unwrap();
    assert_eq!(wrong["code"], "wrong_unit", "{wrong}");
    owed(&ben, &anna, USD, 0).await;

    let offered = offer(&ben, "1.08").await;
    expect(&offered, "/rates/0/num", "108").unwrap();
    expect(&offered, "/rates/0/max", "2000").unwrap();
    let seen = wallet.ok(&["exchange", "list", "ben"]).await.unwrap();
    expect(&seen, "/rates/0/text", "1.08 USD for 1.00 EUR").unwrap();

    // 5.00 and 0.02 at Carl are 5.02; 0.02 at Ben; 5.04 times 1.08 is 5.4432.
    let dry = wait::until("the router to know the way", || async {
        let dry = wallet.ok(&[&with[..], &["--dry-run"]].concat()).await?;
        expect(&dry, "/ways/0/promised", "545")?;
        Ok(dry)
    });
    let dry = dry.await.unwrap();
    expect(&dry, "/ways/0/exchange/num", "108").unwrap();
    let disagree = wallet.fails(2, &with).await.unwrap();
    assert!(
        disagree.to_string().contains("1.08 USD for 1.00 EUR"),
        "{disagree}"
    );
    let bound = [&with[..], &["--yes", "--max", "5.44"]].concat();
    let dear = wallet.fails(3, &bound).await.unwrap();
    assert_eq!(dear["code"], "cost_too_high", "{dear}");

    let paid = wallet.ok(&[&with[..], &["--yes"]].concat()).await.unwrap();
    expect(&paid, "/state", "paid").unwrap();
    expect(&paid, "/with/promised", "545").unwrap();
    expect(&paid, "/amount_text", "5.00 EUR").unwrap();
    owed(&ben, &anna, USD, 545).await;
    owed(&carl, &ben, EUR, 502).await;
    owed(&dora, &carl, EUR, 500).await;
    let payment = string(&paid, "/payment").unwrap();
    wallet.ok(&["receipt", &payment]).await.unwrap();

    // More than Ben gives at once; and a rate that is taken back.
    let (large, _) = town::invoice(&dora, "20.01 EUR/2", "cakes").await.unwrap();
    let large = ["pay", &large, "--with", USD, "--router", &key, "--yes"];
    let refused = wallet.fails(3, &large).await.unwrap();
    assert_eq!(refused["code"], "no_exchange", "{refused}");
    ben.wallet()
        .ok(&["exchange", "remove", EUR, USD])
        .await
        .unwrap();
    let (again, _) = town::invoice(&dora, "1.00 EUR/2", "tea").await.unwrap();
    let again = ["pay", &again, "--with", USD, "--router", &key, "--yes"];
    let refused = wallet.fails(3, &again).await.unwrap();
    assert_eq!(refused["code"], "no_exchange", "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_rate_is_refused_and_the_new_one_is_tried() {
    let town = Town::found(EUR).await.unwrap();
    let [anna, ben, carl, _dora] = people(&town).await;
    let running = [
        town::live(&ben).await.unwrap(),
        town::live(&carl).await.unwrap(),
    ];
    offer(&ben, "1.00").await;
    let sdk = town.world.sdk().unwrap();
    let read = || async {
        let address = format!("pubky{}{RATES}", ben.key());
        let found = sdk.public_storage().get(&address).await?;
        Ok::<_, anyhow::Error>(found.bytes().await?)
    };
    let old = read().await.unwrap();
    offer(&ben, "1.10").await;
    let new = read().await.unwrap();
    assert_ne!(old, new);
    let signer = sdk.signer(ben.wallet().root().unwrap());
    let session = signer
        .signin(ClientId::new("e2e.test").unwrap())
        .await
        .unwrap();
    // Ben's homeserver shows what Ben asked before.
    session.storage().put(RATES, old).await.unwrap();

    let (link, _) = town::invoice(&carl, "5.00 EUR/2", "coffee").await.unwrap();
    let pay = ["pay", &link, "--with", USD, "--yes", "--max", "6.00"];
    let wallet = anna.wallet();
    let shows_again = async {
        wait::until("the old rate to be refused", || async {
            let list = wallet.ok(&["payments"]).await?;
            let failure = list
                .pointer("/payments/0/parts/0/failure")
                .and_then(Value::as_str);
            ensure!(failure == Some("fee_too_low"), "{list}");
            Ok(())
        })
        .await
        .unwrap();
        session.storage().put(RATES, new).await.unwrap();
    };
    let (paid, ()) = tokio::join!(wallet.ok(&pay), shows_again);
    let paid = paid.unwrap();
    expect(&paid, "/state", "paid").unwrap();
    // 5.00 and 0.02 at Ben, times 1.1, is 5.522.
    expect(&paid, "/with/promised", "553").unwrap();
    expect(&paid, "/parts/0/failure", "fee_too_low").unwrap();
    owed(&ben, &anna, USD, 553).await;
    owed(&carl, &ben, EUR, 500).await;
    drop(running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_exchanges_while_the_phone_is_off() {
    let place = Place::found().await;
    let anna = place.person("anna", &place.other).await;
    let ben = place.person("ben", &place.agents).await;
    let carl = place.person("carl", &place.other).await;
    for person in [&anna, &ben] {
        let open = ["unit", "open", USD];
        person.wallet().ok(&open).await.unwrap();
    }
    town::befriend(&anna, &ben, "50.00 USD/2").await.unwrap();
    town::befriend(&ben, &carl, "50.00 BREAD/2").await.unwrap();
    town::pass_on(&ben, BREAD, "0.01").await.unwrap();
    engage(&ben, &[], &[&anna, &carl]).await;
    let rate = ["1", BREAD, "for", "1.08", USD, "--max", "40"];
    let offer = [&["exchange", "offer"], &rate[..]].concat();
    ben.wallet().ok(&offer).await.unwrap();

    // None of Ben's processes runs.
    let running = town::live(&carl).await.unwrap();
    let (link, _) = town::invoice(&carl, "5.00 BREAD/2", "bread").await.unwrap();
    let pay = ["pay", &link, "--with", USD, "--via", ben.key(), "--yes"];
    let paid = anna.wallet().ok(&pay).await.unwrap();
    // 5.02 times 1.08 is 5.4216.
    expect(&paid, "/state", "paid").unwrap();
    expect(&paid, "/with/promised", "543").unwrap();
    drop(running);
    wait::until("Ben to see it", || async {
        ben.sync().await?;
        expect(&ben.account(&anna, USD).await?, "/net", "543")?;
        expect(&ben.account(&carl, BREAD).await?, "/net", "-500")
    })
    .await
    .unwrap();

    // What he takes back, the agent takes back.
    let remove = ["exchange", "remove", BREAD, USD];
    ben.wallet().ok(&remove).await.unwrap();
    let (again, _) = town::invoice(&carl, "1.00 BREAD/2", "tea").await.unwrap();
    let again = ["pay", &again, "--with", USD, "--via", ben.key(), "--yes"];
    let refused = anna.wallet().fails(3, &again).await.unwrap();
    assert_eq!(refused["code"], "no_exchange", "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_exchanges_may_be_a_stranger_to_the_payer_and_to_the_payee() {
    let town = Town::found(EUR).await.unwrap();
    let [anna, ben, carl, dora] = people(&town).await;
    let zoe = town.person("zoe", 1).await.unwrap();
    let open = ["unit", "open", USD];
    zoe.wallet().ok(&open).await.unwrap();
    town::befriend(&zoe, &anna, "50.00 USD/2").await.unwrap();
    town::pass_on(&anna, USD, "0.01").await.unwrap();
    town::pass_on(&ben, USD, "0.01").await.unwrap();
    offer(&ben, "1.08").await;
    let home = &town.sites[0].homeserver;
    let router = town::router(&town.world, home, &[&anna, &ben, &carl])
        .await
        .unwrap();
    let mut running = Vec::new();
    for person in [&anna, &ben, &carl, &dora] {
        running.push(town::live(person).await.unwrap());
    }
    let (link, _) = town::invoice(&dora, "5.00 EUR/2", "coffee").await.unwrap();
    let with = ["pay", &link, "--with", USD, "--router", router.key()];
    // Ben is promised 5.45 as ever; Anna takes 0.01 and a thousandth of it, rounded up.
    wait::until("the router to know the way", || async {
        let dry = [&with[..], &["--dry-run"]].concat();
        let dry = zoe.wallet().ok(&dry).await?;
        expect(&dry, "/ways/0/promised", "547")?;
        expect(&dry, "/ways/0/exchange/num", "108")
    })
    .await
    .unwrap();
    let yes = [&with[..], &["--yes", "--max", "5.47"]].concat();
    let paid = zoe.wallet().ok(&yes).await.unwrap();
    expect(&paid, "/state", "paid").unwrap();
    owed(&anna, &zoe, USD, 547).await;
    owed(&ben, &anna, USD, 545).await;
    owed(&carl, &ben, EUR, 502).await;
    owed(&dora, &carl, EUR, 500).await;
}
