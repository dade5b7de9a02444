//! A web app's day: everything over the wallet's own HTTP, on real parts.

use anyhow::ensure;
use atomicity_e2e::people::{Person, expect, string};
use atomicity_e2e::promises::Cosigned;
use atomicity_e2e::serve::Serve;
use atomicity_e2e::town::{self, Town, befriend, engage, pass_on, settle_at, until_owed};
use atomicity_e2e::{World, wait};
use reqwest::Method;
use serde_json::{Value, json};

const USD: &str = "USD/2";

async fn serve(person: &Person) -> Serve {
    let serve = Serve::start(person.wallet(), &[]).await.unwrap();
    serve.ready().await.unwrap()
}

/// Both become friends over HTTP, and let each other owe 50.00.
async fn meet(one: (&Serve, &Person), other: (&Serve, &Person)) {
    for ((serve, _), (_, friend)) in [(one, other), (other, one)] {
        let add = json!({ "key": friend.key(), "name": friend.name() });
        let added = serve.post("/v0/friends", &add).await.unwrap().ok().unwrap();
        expect(&added, "/user", friend.key()).unwrap();
        let limit = json!({ "amount": "50.00 USD/2" });
        let path = format!("/v0/friends/{}/limit", friend.name());
        let set = serve.put(&path, &limit).await.unwrap().ok().unwrap();
        expect(&set, "/accept", "5000").unwrap();
    }
    for ((serve, _), (_, friend)) in [(one, other), (other, one)] {
        until_net(serve, friend, |row| row["can_issue"] == "5000").await;
    }
}

async fn until_net(serve: &Serve, friend: &Person, wanted: impl Fn(&Value) -> bool) {
    wait::until("a balance", || async {
        let path = format!("/v0/balances?friend={}&unit=USD", friend.name());
        let all = serve.get(&path).await?.ok()?;
        ensure!(wanted(&all["balances"][0]), "{all}");
        Ok(())
    })
    .await
    .unwrap();
}

/// What `serve`'s user is owed by `friend`.
async fn owed(serve: &Serve, friend: &Person, net: i64) {
    let net = net.to_string();
    until_net(serve, friend, |row| row["net"] == net.as_str()).await;
}

async fn strangers_stay_out(anna: &Serve) {
    let wrong = anna.request(Method::GET, "/v0/balances");
    let wrong = wrong.header("authorization", "Bearer wrong");
    let wrong = anna.send(wrong).await.unwrap();
    wrong.problem(401, "token_invalid").unwrap();
    let bare = reqwest::get(format!("{}/v0/balances", anna.url)).await;
    assert_eq!(bare.unwrap().status(), 401);
    let health = reqwest::get(format!("{}/health", anna.url)).await;
    assert_eq!(health.unwrap().status(), 200);
    let foreign = anna.request(Method::GET, "/v0/balances");
    let foreign = foreign.header("host", "evil.example");
    let foreign = anna.send(foreign).await.unwrap();
    foreign.problem(403, "host_refused").unwrap();
    let page = anna.request(Method::GET, "/v0/balances");
    let page = page.header("origin", "https://evil.example");
    let page = anna.send(page).await.unwrap();
    page.problem(403, "origin_refused").unwrap();
}

/// Anna pays Ben directly, twice asked and once paid, and then an invoice of his.
async fn pay_and_invoice(anna: (&Serve, &Person), ben: (&Serve, &Person)) {
    let mut news = ben.0.events().await.unwrap();
    let pay = json!({ "to": "ben", "amount": "5.00 USD/2", "memo": "bread" });
    let quote = anna.0.post("/v0/payments/quote", &pay).await.unwrap();
    let quote = quote.ok().unwrap();
    expect(&quote, "/kind", "direct").unwrap();
    expect(&quote, "/ways/0/fee", "0").unwrap();
    let paid = anna.0.once("k-1", "/v0/payments", &pay).await.unwrap();
    let paid = paid.ok().unwrap();
    expect(&paid, "/kind", "direct").unwrap();
    let heard = news.next("payment", |event| event["amount"] == "500").await;
    expect(&heard.unwrap(), "/memo", "bread").unwrap();
    let again = anna.0.once("k-1", "/v0/payments", &pay).await.unwrap();
    assert_eq!(again.ok().unwrap(), paid);
    let other = json!({ "to": "ben", "amount": "6.00 USD/2" });
    let other = anna.0.once("k-1", "/v0/payments", &other).await.unwrap();
    other.problem(422, "idempotency_key_reused").unwrap();
    owed(anna.0, ben.1, -500).await;

    let ask = json!({ "amount": "3.00 USD/2", "memo": "a cake" });
    let made = ben.0.once("i-1", "/v0/invoices", &ask).await.unwrap();
    let made = made.ok().unwrap();
    let again = ben.0.once("i-1", "/v0/invoices", &ask).await.unwrap();
    assert_eq!(again.ok().unwrap(), made);
    let pay = json!({ "to": made["link"] });
    let quote = anna.0.post("/v0/payments/quote", &pay).await.unwrap();
    expect(&quote.ok().unwrap(), "/ways/0/fee", "0").unwrap();
    // Not waited for: where it can be followed is told.
    let request = anna.0.request(Method::POST, "/v0/payments").json(&pay);
    let request = request.header("idempotency-key", "k-2");
    let begun = anna.0.send(request).await.unwrap().status(202).unwrap();
    expect(&begun, "/operation", "k-2").unwrap();
    let done = wait::until("the payment", || async {
        let shown = anna.0.get("/v0/operations/k-2").await?.ok()?;
        ensure!(shown["state"] == "done", "{shown}");
        Ok(shown)
    })
    .await
    .unwrap();
    expect(&done, "/answer/state", "paid").unwrap();
    expect(&done, "/made/kind", "payment").unwrap();
    let id = string(&done, "/made/id").unwrap();
    let receipt = anna.0.get(&format!("/v0/payments/{id}/receipt")).await;
    assert!(receipt.unwrap().ok().unwrap()["preimage"].is_string());
    news.next("invoice_paid", |event| event["amount"] == "300")
        .await
        .unwrap();
    owed(anna.0, ben.1, -800).await;
    let invoice = format!("/v0/invoices/{}", string(&made, "/invoice").unwrap());
    let shown = ben.0.get(&invoice).await.unwrap().ok().unwrap();
    expect(&shown, "/state", "paid").unwrap();
    let history = anna.0.get("/v0/history?friend=ben&limit=100").await;
    let history = history.unwrap().ok().unwrap();
    let items = history["items"].as_array().unwrap();
    let given = items.iter().filter(|item| item["kind"] == "payment");
    assert_eq!(given.count(), 1, "{history}");
}

/// Ben asks for 2.00, and Anna pays it.
async fn request(anna: (&Serve, &Person), ben: (&Serve, &Person)) {
    let mut news = anna.0.events().await.unwrap();
    let ask = json!({ "amount": "2.00 USD/2", "to": "anna", "memo": "stamps" });
    let made = ben.0.once("r-1", "/v0/requests", &ask).await.unwrap();
    let id = string(&made.ok().unwrap(), "/request").unwrap();
    let asked = news.next("asked", |event| event["request"] == *id).await;
    expect(&asked.unwrap(), "/memo", "stamps").unwrap();
    let path = format!("/v0/requests/{id}");
    let pay = format!("{path}/pay");
    let paid = anna.0.once("r-2", &pay, &json!({})).await.unwrap();
    let paid = paid.ok().unwrap();
    expect(&paid, "/stage", "paid").unwrap();
    let again = anna.0.once("r-2", &pay, &json!({})).await.unwrap();
    assert_eq!(again.ok().unwrap(), paid);
    owed(anna.0, ben.1, -1000).await;
    wait::until("Ben to see it paid", || async {
        let shown = ben.0.get(&path).await?.ok()?;
        ensure!(shown["left"] == "0", "{shown}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Anna pays 4.00 of it in cash.
async fn cash(anna: (&Serve, &Person), ben: (&Serve, &Person)) {
    let purse = json!({ "kind": "manual", "name": "purse", "methods": ["usd-cash-hand"] });
    let added = anna.0.post("/v0/rails", &purse).await.unwrap();
    expect(&added.ok().unwrap(), "/health/ready", true).unwrap();
    let mut news = anna.0.events().await.unwrap();
    let ask =
        json!({ "friend": "anna", "amount": "4.00 USD/2", "to": ["usd-cash-hand=at the café"] });
    let asked = ben.0.once("s-1", "/v0/settlements", &ask).await.unwrap();
    let asked = asked.ok().unwrap();
    let again = ben.0.once("s-1", "/v0/settlements", &ask).await.unwrap();
    assert_eq!(again.ok().unwrap()["id"], asked["id"]);
    let id = string(&asked, "/id").unwrap();
    let waits = news.next("settlement", |event| event["waits_for_you"] == true);
    expect(&waits.await.unwrap(), "/settlement", id.as_str()).unwrap();
    let waiting = anna.0.get("/v0/settlements?waiting=true").await.unwrap();
    let waiting = waiting.ok().unwrap();
    assert_eq!(waiting["settlements"].as_array().unwrap().len(), 1);
    let path = format!("/v0/settlements/{id}");
    let (pay, paid, confirm) = (
        format!("{path}/pay"),
        format!("{path}/paid"),
        format!("{path}/confirm"),
    );
    let agreed = anna.0.once("s-2", &pay, &json!({})).await.unwrap();
    expect(&agreed.ok().unwrap(), "/by_hand", "4.00 USD").unwrap();
    let word = json!({ "reference": "handed over at four" });
    let told = anna.0.once("s-3", &paid, &word).await.unwrap();
    expect(&told.ok().unwrap(), "/stage", "proven").unwrap();
    wait::until("Ben to hear of it", || async {
        let shown = ben.0.get(&path).await?.ok()?;
        ensure!(shown["stage"] == "paid", "{shown}");
        Ok(())
    })
    .await
    .unwrap();
    owed(ben.0, anna.1, 1000).await;
    let booked = ben.0.once("s-4", &confirm, &json!({})).await.unwrap();
    let booked = booked.ok().unwrap();
    expect(&booked, "/stage", "booked").unwrap();
    let again = ben.0.once("s-4", &confirm, &json!({})).await.unwrap();
    assert_eq!(again.ok().unwrap(), booked);
    let other = ben.0.once("s-5", &confirm, &json!({})).await.unwrap();
    other.problem(409, "not_confirmable").unwrap();
    owed(anna.0, ben.1, -600).await;
}

async fn endpoints(anna: &Serve, ben: &Serve) {
    let add = json!({ "method": "btc-lightning-bolt12", "value": "lno1anna" });
    let added = anna.post("/v0/endpoints", &add).await.unwrap();
    expect(&added.ok().unwrap(), "/private", false).unwrap();
    let add = json!({ "method": "eur-sepa-iban", "value": "DE02", "for": "ben" });
    let added = anna.post("/v0/endpoints", &add).await.unwrap();
    expect(&added.ok().unwrap(), "/private", true).unwrap();
    let own = anna.get("/v0/endpoints?for=ben").await.unwrap().ok();
    expect(&own.unwrap(), "/endpoints/0/value", "DE02").unwrap();
    wait::until("Ben to see both", || async {
        let seen = ben.get("/v0/endpoints?who=anna").await?.ok()?.to_string();
        ensure!(seen.contains("lno1anna") && seen.contains("DE02"), "{seen}");
        Ok(())
    })
    .await
    .unwrap();
    let path = "/v0/endpoints/btc-lightning-bolt12";
    let removed = anna.delete(path).await.unwrap().ok().unwrap();
    expect(&removed, "/removed", true).unwrap();
}

/// Ben hands 2.00 of what Anna owes him to Carl.
async fn reassign(ben: &Serve, carl: &Serve, people: [&Person; 3]) {
    let [anna, _, _] = people;
    let ask = json!({ "amount": "2.00 USD/2" });
    let made = carl.once("c-1", "/v0/invoices", &ask).await.unwrap();
    let give = json!({ "debtor": "anna", "to": made.ok().unwrap()["link"] });
    let quote = ben.post("/v0/reassignments/quote", &give).await.unwrap();
    let fee = string(&quote.ok().unwrap(), "/fee").unwrap();
    let fee: i64 = fee.parse().unwrap();
    let done = ben.once("c-2", "/v0/reassignments", &give).await.unwrap();
    let done = done.ok().unwrap();
    expect(&done, "/kind", "reassigned").unwrap();
    let again = ben.once("c-2", "/v0/reassignments", &give).await.unwrap();
    assert_eq!(again.ok().unwrap(), done);
    owed(carl, anna, 200).await;
    owed(ben, anna, 600 - 200 - fee).await;
}

/// What is answered is what the program prints, errors too.
async fn same_answers(anna: &Serve, person: &Person) {
    let all: [(&str, &[&str]); 15] = [
        ("/v0/units", &["unit", "list"]),
        ("/v0/friends", &["friend", "list"]),
        ("/v0/friends/ben/limit", &["friend", "limit", "ben"]),
        (
            "/v0/history?limit=20&unit=USD",
            &["history", "--limit", "20", "--unit", "USD"],
        ),
        ("/v0/payments", &["payments"]),
        ("/v0/invoices", &["invoices"]),
        ("/v0/requests", &["request", "list"]),
        ("/v0/approvals", &["request", "approvals"]),
        ("/v0/calls", &["call", "list"]),
        ("/v0/settlements", &["settle", "list"]),
        ("/v0/rails", &["rail", "list"]),
        ("/v0/guests", &["request", "guests"]),
        ("/v0/pay-rules", &["settle", "auto"]),
        (
            "/v0/endpoints?for=ben",
            &["endpoint", "list", "--for", "ben"],
        ),
        ("/v0/exchange", &["exchange", "list"]),
    ];
    for (path, words) in all {
        let mut said = person.wallet().ok(words).await.unwrap();
        let mut served = anna.get(path).await.unwrap().ok().unwrap();
        // The service goes on looking at friends between the two.
        for friends in [&mut said, &mut served] {
            let friends = friends.get_mut("friends").and_then(Value::as_array_mut);
            for friend in friends.into_iter().flatten() {
                assert!(friend["last_seen"].is_u64(), "{friend}");
                friend["last_seen"] = Value::Null;
            }
        }
        assert_eq!(served, said, "{path}");
    }
    let said = person.wallet().ok(&["balance", "ben"]).await.unwrap();
    let served = anna.get("/v0/balances?friend=ben").await.unwrap();
    assert_eq!(served.ok().unwrap()["balances"], said["balances"]);
    let inspect = ["friend", "inspect", "nobody"];
    let said = person.wallet().fails(2, &inspect).await.unwrap();
    let served = anna.get("/v0/friends/nobody").await.unwrap();
    let served = served.problem(404, "unknown_friend").unwrap();
    assert_eq!(said["code"], served["code"]);
    assert_eq!(said["hint"], served["hint"]);
    let none = anna.delete("/v0/guests").await.unwrap().ok().unwrap();
    assert_eq!(none["guests"], json!([]));
    let unknown = anna.put("/v0/guests", &json!({"rails": ["x"]})).await;
    unknown.unwrap().problem(404, "rail_unknown").unwrap();
    let nothing = anna.put("/v0/guests", &json!({"rails": []})).await;
    nothing.unwrap().problem(400, "body_malformed").unwrap();
    // Files outside of the folder for them are not read for whoever has the token.
    let node = json!({ "kind": "lnd", "url": "https://127.0.0.1:1", "cert": "/etc/hostname", "macaroon": "../serve.token" });
    let refused = anna.post("/v0/rails", &node).await.unwrap();
    refused.problem(400, "file_refused").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn friends_do_everything_over_http_alone() {
    let town = Town::found(USD).await.unwrap();
    let anna = town.person("anna", 0).await.unwrap();
    let ben = town.person("ben", 1).await.unwrap();
    let carl = town.person("carl", 1).await.unwrap();
    let (at_anna, at_ben) = (serve(&anna).await, serve(&ben).await);
    let at_carl = serve(&carl).await;
    strangers_stay_out(&at_anna).await;
    meet((&at_anna, &anna), (&at_ben, &ben)).await;
    meet((&at_anna, &anna), (&at_carl, &carl)).await;
    let (with_anna, with_ben) = ((&at_anna, &anna), (&at_ben, &ben));
    pay_and_invoice(with_anna, with_ben).await;
    request(with_anna, with_ben).await;
    cash(with_anna, with_ben).await;
    endpoints(&at_anna, &at_ben).await;
    // The program is used beside it, by a person or a script.
    pass_on(&anna, USD, "0.01").await.unwrap();
    reassign(&at_ben, &at_carl, [&anna, &ben, &carl]).await;
    same_answers(&at_anna, &anna).await;
    // There is one serve at a time.
    let listen = ["serve", "--listen", "127.0.0.1:0"];
    let second = anna.wallet().fails(2, &listen).await.unwrap();
    assert!(second.to_string().contains("another"), "{second}");
    for running in [at_anna, at_ben, at_carl] {
        running.stop().await.unwrap();
    }
    // After a restart it still knows.
    let at_anna = serve(&anna).await;
    let pay = json!({ "to": "ben", "amount": "5.00 USD/2", "memo": "bread" });
    let again = at_anna.once("k-1", "/v0/payments", &pay).await.unwrap();
    expect(&again.ok().unwrap(), "/kind", "direct").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_gets_a_key_and_loses_it_over_http() {
    let world = World::start().await.unwrap();
    let log = Cosigned::start(&world, "log", 3600).await.unwrap();
    let site = town::agents(&world, ["h1", "agents"], &log).await.unwrap();
    let anna = settle_at(&world, "anna", (&site, USD), &log).await.unwrap();
    let ben = settle_at(&world, "ben", (&site, USD), &log).await.unwrap();
    befriend(&anna, &ben, "20.00 USD/2").await.unwrap();
    engage(&anna, &[], &[&ben]).await.unwrap();
    let at_anna = serve(&anna).await;
    let new = json!({ "name": "shop", "per_day": "5.00 USD/2", "to": ["ben"] });
    let locked = at_anna.post("/v0/accounts", &new).await.unwrap();
    locked.problem(400, "passphrase_needed").unwrap();
    let mut wrong = new.clone();
    wrong["passphrase"] = json!("not it");
    let wrong = at_anna.post("/v0/accounts", &wrong).await.unwrap();
    assert_eq!(wrong.status, 403, "{wrong:?}");
    let mut right = new.clone();
    let passphrase = anna.wallet().passphrase();
    right["passphrase"] = json!(passphrase);
    let made = at_anna.post("/v0/accounts", &right).await.unwrap();
    let made = made.ok().unwrap();
    expect(&made, "/state", "active").unwrap();
    assert!(made["secret"].is_string(), "{made}");
    let shown = at_anna.get("/v0/accounts/shop").await.unwrap().ok();
    expect(&shown.unwrap(), "/left_today", "500").unwrap();
    // A payment that the agent signs is made once too.
    let pay = json!({ "to": "ben", "amount": "1.00 USD/2" });
    let paid = at_anna.once("a-1", "/v0/payments", &pay).await.unwrap();
    let paid = paid.ok().unwrap();
    expect(&paid, "/delivery", "agent").unwrap();
    let again = at_anna.once("a-1", "/v0/payments", &pay).await.unwrap();
    assert_eq!(again.ok().unwrap(), paid);
    let path = "/v0/accounts/shop/revoke";
    let end = json!({ "passphrase": passphrase });
    let ended = at_anna.post(path, &end).await.unwrap().ok().unwrap();
    expect(&ended, "/state", "revoked").unwrap();
    at_anna.stop().await.unwrap();
    // Ben was away all the time.
    ben.sync().await.unwrap();
    until_owed(&ben, &anna, USD, 100).await.unwrap();
}
