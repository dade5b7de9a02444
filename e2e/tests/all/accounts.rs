//! Payment accounts: a web shop spends for Anna with a key of its own, up to what she allowed.

mod outside;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use atomicity_e2e::people::{Person, Site, expect, string};
use atomicity_e2e::promises::Cosigned;
use atomicity_e2e::town::{
    self, befriend, engage, invoice, live, pass_on, read_news, router, settle_at, until_owed,
};
use atomicity_e2e::{Plugin, Wallet, World, wait};
use serde_json::Value;

use crate::common::BREAD;

/// Anna has an agent; Ben is her friend, Carl is Ben's. The shop has nothing but a folder.
struct Place {
    anna: Person,
    ben: Person,
    carl: Person,
    shop: Wallet,
    folder: tempfile::TempDir,
    _agents: Site,
    other: Site,
    _log: Cosigned,
    world: World,
}

impl Place {
    async fn found() -> Self {
        let world = World::start().await.unwrap();
        let log = Cosigned::start(&world, "log", 3600).await.unwrap();
        let agents = town::agents(&world, ["h1", "agents"], &log).await.unwrap();
        let other = Site::open(&world, "h2").await.unwrap();
        let anna = settle_at(&world, "anna", (&agents, BREAD), &log).await;
        let ben = settle_at(&world, "ben", (&other, BREAD), &log).await;
        let carl = settle_at(&world, "carl", (&other, BREAD), &log).await;
        let (anna, ben, carl) = (anna.unwrap(), ben.unwrap(), carl.unwrap());
        befriend(&anna, &ben, "20.00 BREAD/2").await.unwrap();
        befriend(&ben, &carl, "20.00 BREAD/2").await.unwrap();
        engage(&anna, &[], &[&ben]).await.unwrap();
        Self {
            anna,
            ben,
            carl,
            shop: world.wallet("shop").unwrap(),
            folder: tempfile::tempdir().unwrap(),
            _agents: agents,
            other,
            _log: log,
            world,
        }
    }

    fn key_file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Anna makes an account; its key is in a file.
    async fn open(&self, name: &str, more: &[&str]) -> (String, Value) {
        let file = self.key_file(name).display().to_string();
        let new = [&["account", "new", name, "--key-file", &file], more].concat();
        let made = self.anna.wallet().ok(&new).await.unwrap();
        expect(&made, "/state", "active").unwrap();
        expect(&made, "/error", Value::Null).unwrap();
        assert!(made.get("secret").is_none(), "{made}");
        (file, made)
    }

    /// A router that knows the way over Ben to Carl.
    async fn router(&self) -> Plugin {
        for person in [&self.ben, &self.carl] {
            pass_on(person, BREAD, "0.01").await.unwrap();
        }
        let router = router(
            &self.world,
            &self.other.homeserver,
            &[&self.ben, &self.carl],
        )
        .await;
        let router = router.unwrap();
        wait::until("Anna to find the router", || async {
            let found = self.anna.wallet().ok(&["services", "router"]).await?;
            let key = found.pointer("/services/0/key").and_then(Value::as_str);
            ensure!(key == Some(router.key()), "{found}");
            Ok(())
        })
        .await
        .unwrap();
        router
    }
}

async fn shown(person: &Person, name: &str) -> Value {
    person
        .wallet()
        .ok(&["account", "show", name])
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_shop_spends_what_anna_allows_until_she_revokes_its_key() {
    let place = Place::found().await;
    let (anna, ben, shop) = (&place.anna, &place.ben, &place.shop);
    let terms = ["--per-day", "5.00 BREAD/2", "--to", "ben", "--until", "2d"];
    let (file, made) = place.open("web shop", &terms).await;
    expect(&made, "/per_day", "500").unwrap();
    let key = string(&made, "/account").unwrap();
    let spend = |amount: &'static str| {
        [
            "account",
            "spend",
            "--key-file",
            &file,
            "--to",
            ben.key(),
            "--amount",
            amount,
        ]
    };
    for left in ["300", "100"] {
        let paid = shop.ok(&spend("2.00 BREAD/2")).await.unwrap();
        expect(&paid, "/state", "paid").unwrap();
        expect(&paid, "/direct", true).unwrap();
        let status = [
            "account",
            "status",
            "--key-file",
            &file,
            &string(&paid, "/id").unwrap(),
        ];
        expect(&shop.ok(&status).await.unwrap(), "/state", "paid").unwrap();
        let now = shop
            .ok(&["account", "left", "--key-file", &file])
            .await
            .unwrap();
        expect(&now, "/left_today", left).unwrap();
    }
    let third = shop.fails(3, &spend("2.00 BREAD/2")).await.unwrap();
    assert_eq!(third["code"], "account_day_limit_exceeded", "{third}");
    let other = [
        "account",
        "spend",
        "--key-file",
        &file,
        "--to",
        place.carl.key(),
        "--amount",
        "1.00 BREAD/2",
    ];
    let other = shop.fails(3, &other).await.unwrap();
    assert_eq!(other["code"], "peer_not_allowed", "{other}");

    // Ben has it, and Anna sees each, with the name that she gave the shop.
    ben.sync().await.unwrap();
    read_news(anna, ben).await.unwrap();
    until_owed(ben, anna, BREAD, 400).await.unwrap();
    let account = shown(anna, "web shop").await;
    let spends = account["spends"].as_array().unwrap();
    assert_eq!(spends.len(), 2, "{account}");
    for spend in spends {
        expect(spend, "/state", "paid").unwrap();
        expect(spend, "/to", "ben").unwrap();
    }
    let list = anna.wallet().ok(&["account", "list"]).await.unwrap();
    expect(&list, "/accounts/0/left_today", "100").unwrap();
    expect(&list, "/accounts/0/fresh", true).unwrap();
    let log = anna.wallet().ok(&["agent", "log"]).await.unwrap();
    let items = log["items"].as_array().unwrap();
    let asked = items.iter().filter(|item| item["account"] == "web shop");
    assert_eq!(asked.count(), 2, "{log}");
    let history = anna.wallet().ok(&["history"]).await.unwrap();
    assert!(history.to_string().contains("web shop"), "{history}");

    // She ends it: the next fails, and whoever looks finds her word.
    let ended = anna
        .wallet()
        .ok(&["account", "revoke", "web shop"])
        .await
        .unwrap();
    expect(&ended, "/state", "revoked").unwrap();
    expect(&ended, "/error", Value::Null).unwrap();
    let next = shop.fails(5, &spend("1.00 BREAD/2")).await.unwrap();
    assert_eq!(next["code"], "key_revoked", "{next}");
    until_owed(ben, anna, BREAD, 400).await.unwrap();
    // The key does not come back, the name may.
    let again = [
        "account",
        "new",
        "web shop",
        "--key",
        &key,
        "--per-day",
        "1.00 BREAD/2",
    ];
    anna.wallet().fails(2, &again).await.unwrap();
    let named = ["account", "new", "web shop", "--total", "1.00 BREAD/2"];
    let fresh = anna.wallet().ok(&named).await.unwrap();
    assert_ne!(string(&fresh, "/account").unwrap(), key);
    assert_eq!(string(&fresh, "/secret").unwrap().len(), 43);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_invoice_waits_for_annas_wallet_and_is_paid_once() {
    let place = Place::found().await;
    let (anna, ben, carl, shop) = (&place.anna, &place.ben, &place.carl, &place.shop);
    let _router = place.router().await;
    let (file, _) = place
        .open(
            "market",
            &["--per-day", "5.00 BREAD/2", "--total", "9.00 BREAD/2"],
        )
        .await;
    let _ben_runs = live(ben).await.unwrap();
    let _carl_runs = live(carl).await.unwrap();
    let (link, _) = invoice(carl, "3.00 BREAD/2", "a cake").await.unwrap();
    wait::until("the router to know the way", || async {
        anna.wallet().ok(&["pay", &link, "--dry-run"]).await
    })
    .await
    .unwrap();

    // Anna's phone is off: it waits, and what it may cost is reserved.
    let spend = ["account", "spend", "--key-file", &file, "--to", &link];
    let waits = shop.ok(&spend).await.unwrap();
    expect(&waits, "/state", "waiting").unwrap();
    let id = string(&waits, "/id").unwrap();
    let left = ["account", "left", "--key-file", &file];
    expect(&shop.ok(&left).await.unwrap(), "/left_today", "196").unwrap();
    let much = [
        "account",
        "spend",
        "--key-file",
        &file,
        "--to",
        ben.key(),
        "--amount",
        "1.97 BREAD/2",
    ];
    let much = shop.fails(3, &much).await.unwrap();
    assert_eq!(much["code"], "account_day_limit_exceeded", "{much}");

    // Her wallet dies on the way, several times; then it runs.
    for millis in [200, 500, 900] {
        let mut dying = anna.wallet().command(&["sync"]).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        dying.kill().await.unwrap();
    }
    let anna_runs = live(anna).await.unwrap();
    let status = ["account", "status", "--key-file", &file, &id];
    let paid = wait::until("the invoice to be paid", || async {
        let paid = shop.ok(&status).await?;
        expect(&paid, "/state", "paid")?;
        Ok(paid)
    });
    let paid = paid.await.unwrap();
    // Ben takes 0.01 and a thousandth, rounded up.
    expect(&paid, "/fee", "2").unwrap();
    let preimage = string(&paid, "/receipt/preimage").unwrap();
    until_owed(carl, ben, BREAD, 300).await.unwrap();
    until_owed(ben, anna, BREAD, 302).await.unwrap();
    // What it did not cost is free again.
    expect(&shop.ok(&left).await.unwrap(), "/left_today", "198").unwrap();
    let payments = anna.wallet().ok(&["payments"]).await.unwrap();
    assert_eq!(
        payments["payments"].as_array().unwrap().len(),
        1,
        "{payments}"
    );
    let payment = string(&payments, "/payments/0/payment").unwrap();
    let receipt = anna.wallet().ok(&["receipt", &payment]).await.unwrap();
    expect(&receipt, "/preimage", preimage.as_str()).unwrap();

    // Two spends on one invoice: her wallet pays it once, and nothing of the other stays counted.
    anna_runs.stop().await.unwrap();
    let (bun, _) = invoice(carl, "0.50 BREAD/2", "a bun").await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let buy = [
            "account",
            "spend",
            "--key-file",
            &file,
            "--to",
            &bun,
            "--max-fee",
            "0.02",
        ];
        let waits = shop.ok(&buy).await.unwrap();
        expect(&waits, "/state", "waiting").unwrap();
        ids.push(string(&waits, "/id").unwrap());
    }
    expect(&shop.ok(&left).await.unwrap(), "/left_today", "94").unwrap();
    let anna_runs = live(anna).await.unwrap();
    wait::until("one to be paid, and the other to have failed", || async {
        let mut states = Vec::new();
        for id in &ids {
            let status = ["account", "status", "--key-file", &file, id];
            let shown = shop.run(&status).await?;
            let shown: Value = serde_json::from_str(&shown.stdout)?;
            states.push((string(&shown, "/state")?, shown["reason"].clone()));
        }
        states.sort_by(|a, b| a.0.cmp(&b.0));
        ensure!(
            states[0] == ("failed".to_owned(), "already_paid".into()),
            "{states:?}"
        );
        ensure!(states[1].0 == "paid", "{states:?}");
        Ok(())
    })
    .await
    .unwrap();
    expect(&shop.ok(&left).await.unwrap(), "/left_today", "146").unwrap();
    anna_runs.stop().await.unwrap();
    let account = shown(anna, "market").await;
    let spends = account["spends"].as_array().unwrap();
    let paid = spends.iter().filter(|spend| spend["state"] == "paid");
    assert_eq!((spends.len(), paid.count()), (3, 2), "{account}");
    expect(&account, "/left_today", "146").unwrap();
    until_owed(carl, ben, BREAD, 350).await.unwrap();
}
