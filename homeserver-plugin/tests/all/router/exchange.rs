//! Ways on which somebody exchanges units, out of what people publish.

use atomicity_ledger::record::{Advert, Delegation, Rates, Revocation};
use atomicity_ledger::{Keypair, Signed};
use reqwest::Method;
use serde_json::{Value, json};

use super::people::*;
use crate::support::plugin::{Answer, Plugin};
use crate::support::until;
use crate::support::world::{HomeServer, World};

const RATES: &str = "/pub/atomicity/v0/rates";
const USD: &str = "USD/2";

/// So many hundredths of a dollar for one of bread, up to 1000.00.
fn rates(of: &Somebody<'_>, serial: u64, num: u64, expires: u64) -> Value {
    json!({
        "v": 1, "from": of.user(), "serial": serial, "expires": expires, "at": now(),
        "rates": [{"take": USD, "give": "BREAD/2", "num": num.to_string(), "den": "100", "max": "100000"}],
    })
}

fn publish(of: &Somebody<'_>, serial: u64, num: u64) {
    let record = rates(of, serial, num, now() + DAY);
    of.put(RATES, signed::<Rates>(record, &of.root));
}

/// a has dollars at b, who does not publish that; b sends bread on to c.
fn with_dollars(a: &Somebody<'_>, b: &Somebody<'_>, c: &Somebody<'_>) -> Value {
    json!({
        "first": [{"user": b.user(), "capacity": "5000"}], "to": c.user(), "unit": "BREAD/2", "amount": "500",
        "pay_unit": USD, "avoid_users": [a.user()],
    })
}

/// What the payer promises, once the router says so.
async fn until_costs(plugin: &Plugin, question: &Value, minor: &str) -> Answer {
    until("the router knows the rate", || async {
        let answer = ask(plugin, question).await;
        answer.body["routes"][0]["parts"][0]["hops"][0]["amount"] == minor
    })
    .await;
    ask(plugin, question).await
}

async fn until_refused(plugin: &Plugin, question: &Value, code: &str) {
    until("nobody exchanges", || async {
        let answer = ask(plugin, question).await;
        answer.status != 200 && answer.code() == code
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_with_an_exchange_comes_with_what_was_signed_about_the_rate() {
    let world = World::new();
    let (one, two) = (
        HomeServer::open(&world).await,
        HomeServer::open(&world).await,
    );
    let (a, b, c) = chain(&world, [&one, &two, &one]).await;
    let plugin = router(&world, &[&a], |_| {}).await;
    until_found(&plugin, &question(&a, &c, 500)).await;
    let asked = with_dollars(&a, &b, &c);
    ask(&plugin, &asked)
        .await
        .assert_problem(404, "no_exchange");

    publish(&b, 1, 108);
    // 5.00, and 0.04 that b takes for sending it on: 5.04 times 1.08 is 5.4432.
    let found = until_costs(&plugin, &asked, "545").await;
    let part = &found.body["routes"][0]["parts"][0];
    assert_eq!(users_of(&found), [b.user().to_z32(), c.user().to_z32()]);
    assert_eq!(
        (&part["amount"], &part["fee"], &part["hops"][1]["amount"]),
        (&json!("500"), &json!("4"), &json!("500"))
    );
    let exchange = &part["exchange"];
    let figures = ["num", "den", "max"].map(|name| exchange[name].as_str().unwrap());
    assert_eq!(figures, ["108", "100", "100000"]);
    assert_eq!(exchange["at"], 1);
    let told = Signed::<Rates>::decode(exchange["rates"].as_str().unwrap()).unwrap();
    assert_eq!(told.record().from, b.user());

    // Bounds, and questions that make no sense.
    let mut question = asked.clone();
    question["max_total"] = json!("544");
    let dear = ask(&plugin, &question).await;
    dear.assert_problem(409, "cost_too_high");
    assert_eq!(dear.body["cheapest"], "545");
    question["max_total"] = json!("545");
    ask(&plugin, &question).await.assert_status(200);
    let mut elsewhere = asked.clone();
    elsewhere["via"] = json!(c.user());
    ask(&plugin, &elsewhere)
        .await
        .assert_problem(404, "no_exchange");
    for (name, value) in [("pay_unit", json!("BREAD/2")), ("pay_unit", Value::Null)] {
        let mut wrong = question.clone();
        wrong[name] = value;
        ask(&plugin, &wrong)
            .await
            .assert_problem(400, "question_invalid");
    }
    let mut back = asked.clone();
    back["unit"] = json!(USD);
    back["pay_unit"] = json!("BREAD/2");
    ask(&plugin, &back).await.assert_problem(404, "no_exchange");

    // Another rate; an older one again; none.
    publish(&b, 3, 200);
    until_costs(&plugin, &asked, "1008").await;
    publish(&b, 2, 100);
    publish(&c, 1, 1);
    let of_c = json!({
        "first": [{"user": c.user(), "capacity": "5000"}], "to": b.user(), "unit": "BREAD/2", "amount": "500", "pay_unit": USD,
    });
    until_costs(&plugin, &of_c, "5").await;
    until_costs(&plugin, &asked, "1008").await;
    let document = get(&plugin, "/openapi.json").await;
    let asks = &document.body["components"]["schemas"]["RoutesRequest"]["properties"];
    assert!(asks["pay_unit"].is_object() && asks["max_total"].is_object());
    // What is stored is answered though nobody can be asked.
    one.stop();
    two.stop();
    let plugin = plugin.restart().await;
    until_costs(&plugin, &asked, "1008").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_are_exchanged_in_the_middle_of_a_way() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let (a, b, c) = chain(&world, [&home, &home, &home]).await;
    let d = Somebody::at(&world, &home).await;
    // d sends dollars on to b for one cent.
    for (from, to, base) in [(&d, &b, 1), (&b, &d, 0), (&d, &a, 0), (&a, &d, 0)] {
        let mut says = for_fee(1_000, base, 0).units();
        says[0]["unit"] = json!(USD);
        let mut advert = from.advert(&to.user(), 1, both(1), now() + DAY);
        advert["units"] = says;
        from.put(
            &format!("{ROUTES}{}", to.user()),
            signed::<Advert>(advert, &from.root),
        );
    }
    a.list(ROUTES, &[b.user(), d.user()]);
    b.list(ROUTES, &[a.user(), c.user(), d.user()]);
    d.list(ROUTES, &[a.user(), b.user()]);
    publish(&b, 1, 108);
    let plugin = router(&world, &[&a], |_| {}).await;
    let mut asked = question(&a, &c, 500);
    asked["pay_unit"] = json!(USD);
    let found = until_costs(&plugin, &asked, "546").await;
    let users = [d.user(), b.user(), c.user()].map(|user| user.to_z32());
    assert_eq!(users_of(&found), users);
    assert_eq!(found.body["routes"][0]["parts"][0]["exchange"]["at"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_somebody_signed_themselves_is_a_rate_and_only_as_long_as_it_stands() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let (a, b, c) = chain(&world, [&home, &home, &home]).await;
    let device = Keypair::from_secret(&[42; 32]);
    let plugin = router(&world, &[&a], |_| {}).await;
    until_found(&plugin, &question(&a, &c, 500)).await;
    let asked = with_dollars(&a, &b, &c);
    let refused = |why: &'static str| {
        let plugin = &plugin;
        async move {
            until(why, || async {
                let text = plugin.request(Method::GET, "/metrics").send().await;
                text.unwrap().text().await.unwrap().contains(why)
            })
            .await;
        }
    };
    // No record; another's; of a key that nobody knows; expired.
    b.put(RATES, "no record".to_owned());
    refused("rates_malformed").await;
    b.put(
        RATES,
        signed::<Rates>(rates(&a, 1, 1, now() + DAY), &a.root),
    );
    refused("rates_misplaced").await;
    b.put(RATES, signed::<Rates>(rates(&b, 1, 1, now()), &b.root));
    refused("rates_expired").await;
    let by_device = signed::<Rates>(rates(&b, 2, 108, now() + DAY), &device);
    b.put(RATES, by_device);
    refused("not_authorized").await;
    assert_eq!(ask(&plugin, &asked).await.code(), "no_exchange");

    let path = format!("/pub/atomicity/v0/delegations/{}", device.signer_key());
    let delegation = json!({
        "v": 1, "root": b.user(), "key": device.signer_key(), "scopes": ["book"], "limits": [],
        "not_before": 1, "not_after": now() + DAY, "serial": 1,
    });
    b.put(&path, signed::<Delegation>(delegation, &b.root));
    until_costs(&plugin, &asked, "545").await;
    let revocation = json!({"v": 1, "root": b.user(), "key": device.signer_key(), "at": now()});
    b.put(&path, signed::<Revocation>(revocation, &b.root));
    until_refused(&plugin, &asked, "no_exchange").await;

    // It ends by itself; it is deleted.
    let record = rates(&b, 3, 108, now() + 15_000);
    b.put(RATES, signed::<Rates>(record, &b.root));
    until_costs(&plugin, &asked, "545").await;
    until_refused(&plugin, &asked, "no_exchange").await;
    publish(&b, 4, 108);
    until_costs(&plugin, &asked, "545").await;
    b.delete(RATES);
    until_refused(&plugin, &asked, "no_exchange").await;
}
