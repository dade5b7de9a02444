//! A web shop has Lightning invoices paid by the node of whoever let it: a real btcd, two real lnd. The other node is no user of ours.

use std::path::PathBuf;
use std::time::Duration;

use atomicity_e2e::coffee::USD;
use atomicity_e2e::lightning::Lightning;
use atomicity_e2e::people::{Person, Site, expect, string};
use atomicity_e2e::promises::Cosigned;
use atomicity_e2e::town::{self, engage, live, settle_at};
use atomicity_e2e::{Wallet, World, wait};
use atomicity_ledger::{PaymentHash, Preimage};
use atomicity_paykit_adapter::rail::{
    Bolt11, InvoiceState, Invoices, Lnd, Msat, NewInvoice, Rail as _,
};
use serde_json::Value;

/// Ivan has a node and an agent. The shop has the key of an account of his, and the café another node.
struct Street {
    ivan: Person,
    shop: Wallet,
    cafe: Lnd,
    folder: tempfile::TempDir,
    _network: Lightning,
    _agents: Site,
    _log: Cosigned,
    _world: World,
}

impl Street {
    async fn open() -> Option<Self> {
        let Some(network) = Lightning::start().await.unwrap() else {
            println!("skipped: no btcd and lnd");
            return None;
        };
        let world = World::start().await.unwrap();
        let log = Cosigned::start(&world, "log", 3600).await.unwrap();
        let agents = town::agents(&world, ["h1", "agents"], &log).await.unwrap();
        let ivan = settle_at(&world, "ivan", (&agents, USD), &log)
            .await
            .unwrap();
        engage(&ivan, &[], &[]).await.unwrap();
        let node = network.alice.rail_config().await.unwrap();
        let (cert, macaroon) = (node.certificate.display(), node.macaroon.display());
        let words = format!("rail add lnd --url {} --network simnet --cert", node.url);
        let mut words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        words.extend([
            cert.to_string(),
            "--macaroon".to_owned(),
            macaroon.to_string(),
        ]);
        ivan.wallet().ok(&words).await.unwrap();
        Some(Self {
            ivan,
            shop: world.wallet("shop").unwrap(),
            cafe: network.bob.rail().await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
            _network: network,
            _agents: agents,
            _log: log,
            _world: world,
        })
    }

    /// Ivan makes an account that spends 20.00 a day; its key is in a file.
    async fn account(&self, name: &str, more: &[&str]) -> String {
        let file: PathBuf = self.folder.path().join(name);
        let file = file.display().to_string();
        let new = [
            "account",
            "new",
            name,
            "--key-file",
            &file,
            "--per-day",
            "20.00 USD/2",
        ];
        let made = self.ivan.wallet().ok(&[&new, more].concat()).await.unwrap();
        expect(&made, "/state", "active").unwrap();
        expect(&made, "/error", Value::Null).unwrap();
        expect(&made, "/rails", !more.is_empty()).unwrap();
        file
    }

    fn till(&self) -> &dyn Invoices {
        self.cafe.invoices().unwrap()
    }

    /// What the café asks for. With `hold` it takes the money only once it says so.
    async fn invoice(&self, sat: u64, expiry: Duration, hold: Option<PaymentHash>) -> Bolt11 {
        let wanted = NewInvoice {
            amount: Msat::from_sat(sat).unwrap(),
            memo: "a coffee".to_owned(),
            expiry,
            hold,
        };
        self.till().new_invoice(&wanted).await.unwrap()
    }

    async fn status(&self, file: &str, id: &str) -> Value {
        let status = ["account", "status", "--key-file", file, id];
        let shown = self.shop.run(&status).await.unwrap();
        serde_json::from_str(&shown.stdout).unwrap()
    }

    async fn becomes(&self, file: &str, id: &str, state: &str) -> Value {
        wait::until("a spend to get further", || async {
            let shown = self.status(file, id).await;
            expect(&shown, "/state", state)?;
            Ok(shown)
        })
        .await
        .unwrap()
    }

    async fn left(&self, file: &str) -> String {
        let left = ["account", "left", "--key-file", file];
        string(&self.shop.ok(&left).await.unwrap(), "/left_today").unwrap()
    }
}

const AN_HOUR: Duration = Duration::from_secs(3600);
/// Long enough to be asked for, short enough to be waited for.
const A_WHILE: Duration = Duration::from_secs(20);

fn pay<'a>(file: &'a str, invoice: &'a Bolt11, amount: &'a str) -> [&'a str; 8] {
    [
        "account",
        "spend",
        "--key-file",
        file,
        "--to",
        invoice.as_str(),
        "--amount",
        amount,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lightning_invoice_is_paid_by_the_owners_node_within_the_limits_of_the_account() {
    let Some(street) = Street::open().await else {
        return;
    };
    // An account reaches outside only if that was said.
    let inside = street.account("inside", &[]).await;
    let coffee = street.invoice(5_000, AN_HOUR, None).await;
    let refused = street
        .shop
        .fails(3, &pay(&inside, &coffee, "5.00 USD/2"))
        .await
        .unwrap();
    expect(&refused, "/code", "target_not_allowed").unwrap();
    let file = street
        .account("web shop", &["--rails", "--rate", "1000sat"])
        .await;
    let much = street.invoice(21_000, AN_HOUR, None).await;
    let refused = street
        .shop
        .fails(3, &pay(&file, &much, "21.00 USD/2"))
        .await;
    expect(&refused.unwrap(), "/code", "account_day_limit_exceeded").unwrap();

    // Ivan's phone is off: it waits, and is reserved. What is off his rate, and what has expired, waits too.
    let brief = street.invoice(1_000, A_WHILE, None).await;
    let dear = street.invoice(5_000, AN_HOUR, None).await;
    let mut ids = Vec::new();
    for (invoice, amount) in [
        (&brief, "1.00 USD/2"),
        (&coffee, "5.00 USD/2"),
        (&dear, "4.90 USD/2"),
    ] {
        let waits = street.shop.ok(&pay(&file, invoice, amount)).await.unwrap();
        expect(&waits, "/state", "waiting").unwrap();
        ids.push(string(&waits, "/id").unwrap());
    }
    assert_eq!(street.left(&file).await, "910");
    tokio::time::sleep(A_WHILE).await;

    // His wallet dies on the way, several times; then it runs.
    for millis in [200, 500, 900] {
        let mut dying = street.ivan.wallet().command(&["sync"]).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        dying.kill().await.unwrap();
    }
    let ivan_runs = live(&street.ivan).await.unwrap();
    let paid = street.becomes(&file, &ids[1], "paid").await;
    expect(&paid, "/fee", "0").unwrap();
    let preimage: Preimage = string(&paid, "/receipt/preimage").unwrap().parse().unwrap();
    assert_eq!(preimage.hash(), coffee.hash());
    let till = street.till().look_up_invoice(coffee.hash()).await.unwrap();
    let received = Msat::from_sat(5_000).unwrap();
    assert_eq!(till, Some(InvoiceState::Settled { received }));
    for (id, reason) in [(&ids[2], "rate_off"), (&ids[0], "expired")] {
        let failed = street.becomes(&file, id, "failed").await;
        expect(&failed, "/reason", reason).unwrap();
    }
    assert_eq!(street.left(&file).await, "1500");

    // The café does not take the money yet: all of it stays reserved, also when the account ends. Nothing new begins.
    let secret = Preimage::from_bytes([7; 32]);
    let held = street.invoice(2_000, AN_HOUR, Some(secret.hash())).await;
    let waits = street
        .shop
        .ok(&pay(&file, &held, "2.00 USD/2"))
        .await
        .unwrap();
    let id = string(&waits, "/id").unwrap();
    wait::until("the café to hold the money", || async {
        let state = street.till().look_up_invoice(held.hash()).await?;
        anyhow::ensure!(state == Some(InvoiceState::Held), "{state:?}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(street.left(&file).await, "1300");
    ivan_runs.stop().await.unwrap();
    let ended = street
        .ivan
        .wallet()
        .ok(&["account", "revoke", "web shop"])
        .await;
    expect(&ended.unwrap(), "/state", "revoked").unwrap();
    let next = street.invoice(1_000, AN_HOUR, None).await;
    let next = street.shop.fails(5, &pay(&file, &next, "1.00 USD/2")).await;
    expect(&next.unwrap(), "/code", "key_revoked").unwrap();
    street.till().settle_invoice(secret).await.unwrap();
    let ivan_runs = live(&street.ivan).await.unwrap();
    let paid = street.becomes(&file, &id, "paid").await;
    expect(&paid, "/receipt/preimage", String::from(secret)).unwrap();
    ivan_runs.stop().await.unwrap();

    // Ivan sees each, with what it cost him outside.
    let shown = street
        .ivan
        .wallet()
        .ok(&["account", "show", "web shop"])
        .await
        .unwrap();
    let spends = shown["spends"].as_array().unwrap();
    assert_eq!(spends.len(), 4, "{shown}");
    let first = spends
        .iter()
        .find(|spend| spend["spend"] == ids[1].as_str())
        .unwrap();
    expect(first, "/pays/msat", "5000000").unwrap();
    expect(first, "/rail", "lnd").unwrap();
    let history = street.ivan.wallet().ok(&["history"]).await.unwrap();
    let items = history["items"].as_array().unwrap().iter();
    assert_eq!(
        items.filter(|item| item["kind"] == "outlay").count(),
        2,
        "{history}"
    );
}
