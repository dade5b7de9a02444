//! Being paid through an agent while the own wallet is off, and books in two places: some with the agent, some on the device.

use anyhow::ensure;
use atomicity_e2e::people::{Person, expect, string};
use atomicity_e2e::town::{live, over, pass_on, until_owed};
use atomicity_e2e::wait;
use serde_json::Value;

use super::{Place, engage};
use crate::common::{BREAD, friends, settle};

/// An invoice for 1.00, and who looks after it.
async fn ask(person: &Person, more: &[&str]) -> (String, String, String) {
    let command = [&["invoice", "1.00 BREAD/2"], more].concat();
    let made = person.wallet().ok(&command).await.unwrap();
    let text = |pointer: &str| string(&made, pointer).unwrap();
    (text("/link"), text("/invoice"), text("/kept_by"))
}

async fn shown(person: &Person, id: &str) -> Value {
    let list = person.wallet().ok(&["invoices"]).await.unwrap();
    let all = list["invoices"].as_array().unwrap().iter();
    let found = all.clone().find(|one| one["invoice"] == id);
    found.unwrap().clone()
}

async fn until_paid(person: &Person, id: &str) {
    wait::until("an invoice to be paid", || async {
        person.sync().await?;
        let seen = shown(person, id).await;
        expect(&seen, "/state", "paid")
    })
    .await
    .unwrap();
}

/// Pays over these people, and expects that it works.
async fn pay(payer: &Person, link: &str, way: &[&Person]) {
    let along = over(way);
    let pay = ["pay", link, "--along", &along, "--deadline", "100s"];
    let paid = payer.wallet().ok(&pay).await.unwrap();
    expect(&paid, "/state", "paid").unwrap();
}

/// Tries to pay over these people; it fails before its time is over, and the last part's failure is answered.
async fn refused(payer: &Person, link: &str, way: &[&Person]) -> Value {
    let along = over(way);
    let pay = ["pay", link, "--along", &along, "--max-fee", "0.10"];
    let pay = [&pay[..], &["--deadline", "100s"]].concat();
    let begun = std::time::Instant::now();
    let failed = payer.wallet().fails(3, &pay).await.unwrap();
    assert_eq!(failed["code"], "not_through", "{failed}");
    let took = begun.elapsed();
    assert!(took < std::time::Duration::from_secs(90), "{took:?}");
    let list = payer.wallet().ok(&["payments"]).await.unwrap();
    list["payments"][0]["parts"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payee_whose_phone_is_off_is_paid_through_the_agent() {
    let place = Place::found().await;
    let anna = place.person("anna", &place.other).await;
    let ben = place.person("ben", &place.other).await;
    let carl = place.person("carl", &place.agents).await;
    friends(&anna, &ben).await;
    friends(&ben, &carl).await;
    pass_on(&ben, BREAD, "0.01").await.unwrap();

    // One that was made before goes along with the books, unless it is wanted here.
    let (early, early_id, kept_by) = ask(&carl, &[]).await;
    assert_eq!(kept_by, "device");
    engage(&carl, &[], &[&ben]).await;
    assert_eq!(shown(&carl, &early_id).await["kept_by"], "agent");
    let (late, late_id, kept_by) = ask(&carl, &["--memo", "a loaf"]).await;
    assert_eq!(kept_by, "agent");

    // None of Carl's processes runs.
    let ben_runs = live(&ben).await.unwrap();
    pay(&anna, &late, &[&ben, &carl]).await;
    pay(&anna, &early, &[&ben, &carl]).await;
    drop(ben_runs);

    // He comes back and finds himself paid, with the receipts.
    let carl_runs = live(&carl).await.unwrap();
    wait::until("the news", || async {
        let news = carl_runs.events();
        for id in [&late_id, &early_id] {
            let told =
                |event: &Value| event["event"] == "invoice_paid" && event["invoice"] == id.as_str();
            ensure!(news.iter().any(told), "{news:?}");
        }
        Ok(())
    })
    .await
    .unwrap();
    drop(carl_runs);
    for id in [&late_id, &early_id] {
        until_paid(&carl, id).await;
        let seen = shown(&carl, id).await;
        expect(&seen, "/received", "100").unwrap();
        let preimage: atomicity_ledger::Preimage =
            serde_json::from_value(seen["preimage"].clone()).unwrap();
        assert_eq!(seen["hash"], preimage.hash().to_string());
    }
    let history = carl.wallet().ok(&["history"]).await.unwrap();
    let items = history["items"].as_array().unwrap().iter();
    let paid = items.filter(|item| item["kind"] == "invoice_paid").count();
    assert_eq!(paid, 2, "{history}");
    wait::until("the books to agree", || async {
        settle(&ben, &carl).await;
        expect(&carl.account(&ben, BREAD).await?, "/net", "200")?;
        expect(&ben.account(&carl, BREAD).await?, "/net", "-200")
    })
    .await
    .unwrap();

    // The agent ends: what it made is withdrawn; what was made by the wallet is looked after by it again.
    let (_, gone, _) = ask(&carl, &[]).await;
    carl.wallet().ok(&["agent", "off"]).await.unwrap();
    assert_eq!(shown(&carl, &gone).await["state"], "withdrawn");
    let (link, mine, _) = ask(&carl, &[]).await;
    engage(&carl, &[], &[&ben]).await;
    assert_eq!(shown(&carl, &mine).await["kept_by"], "agent");
    carl.wallet().ok(&["agent", "off"]).await.unwrap();
    let seen = shown(&carl, &mine).await;
    assert_eq!(
        (&seen["kept_by"], &seen["state"]),
        (&"device".into(), &"open".into())
    );
    settle(&ben, &carl).await;
    let _running = [live(&ben).await.unwrap(), live(&carl).await.unwrap()];
    pay(&anna, &link, &[&ben, &carl]).await;
    until_owed(&carl, &ben, BREAD, 300).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_in_two_places_lose_no_payment_and_say_which_edge_to_avoid() {
    let place = Place::found().await;
    let anna = place.person("anna", &place.other).await;
    let ben = place.person("ben", &place.other).await;
    let carl = place.person("carl", &place.agents).await;
    let dora = place.person("dora", &place.other).await;
    for middle in [&ben, &dora] {
        friends(&anna, middle).await;
        friends(middle, &carl).await;
        pass_on(middle, BREAD, "0.01").await.unwrap();
    }
    pass_on(&carl, BREAD, "0.01").await.unwrap();
    // Ben's books are with the agent, Dora's stay on the device.
    engage(&carl, &["--peers", "ben"], &[&ben]).await;
    let running = [live(&ben).await.unwrap(), live(&dora).await.unwrap()];

    // An invoice that the agent looks after can be paid over Ben only: Carl's device says so when it runs.
    let (link, id, kept_by) = ask(&carl, &[]).await;
    assert_eq!(kept_by, "agent");
    let carl_runs = live(&carl).await.unwrap();
    let part = refused(&anna, &link, &[&dora, &carl]).await;
    expect(&part, "/failure", "unknown_invoice").unwrap();
    expect(&part, "/edge/0", dora.key()).unwrap();
    expect(&part, "/edge/1", carl.key()).unwrap();
    pay(&anna, &link, &[&ben, &carl]).await;
    until_paid(&carl, &id).await;

    // One that the device looks after, over Dora only: the agent says so.
    let (link, id, kept_by) = ask(&carl, &["--kept-by", "device"]).await;
    assert_eq!(kept_by, "device");
    let part = refused(&anna, &link, &[&ben, &carl]).await;
    expect(&part, "/failure", "unknown_invoice").unwrap();
    expect(&part, "/edge/0", ben.key()).unwrap();
    pay(&anna, &link, &[&dora, &carl]).await;
    until_paid(&carl, &id).await;

    // Nothing goes from one place to the other: no such way is published, and who knows of one all the same hears which edge it is.
    let made = dora.wallet().ok(&["invoice", "1.00 BREAD/2"]).await;
    let link = string(&made.unwrap(), "/link").unwrap();
    let along = over(&[&ben, &carl, &dora]);
    let pay = ["pay", &link, "--along", &along, "--max-fee", "0.10"];
    let failed = anna.wallet().fails(3, &pay).await.unwrap();
    let known = ["no_route", "not_through"];
    assert!(known.iter().any(|code| failed["code"] == *code), "{failed}");

    drop(carl_runs);
    drop(running);
    wait::until("all to agree", || async {
        for person in [&anna, &ben, &dora, &carl] {
            person.sync().await?;
        }
        for middle in [&ben, &dora] {
            expect(&carl.account(middle, BREAD).await?, "/net", "100")?;
            expect(&middle.account(&carl, BREAD).await?, "/net", "-100")?;
            let line = anna.account(middle, BREAD).await?;
            ensure!(line["can_issue"] == "1898", "{line}");
        }
        Ok(())
    })
    .await
    .unwrap();
}
