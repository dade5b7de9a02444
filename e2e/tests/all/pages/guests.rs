//! Guests without a wallet pay parts of a bill on its page: a real btcd, two real lnd, real Chromium. What they pay counts by itself.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use atomicity_e2e::lightning::Lightning;
use atomicity_e2e::people::{Person, Site, expect, string};
use atomicity_e2e::town::live;
use atomicity_e2e::{World, wait};
use atomicity_ledger::{PaymentHash, RecordId, Timestamp, Total};
use atomicity_paykit_adapter::rail::{
    Bolt11, InvoiceState, LightningNetwork, Lnd, Msat, Order, Outcome, Rail as _,
};
use serde_json::{Value, json};

use super::Visitor;
use super::people::{do_this, person, site};
use crate::common::commits;

/// What a dollar costs, in satoshis, by Paula's settings.
const SAT_A_DOLLAR: u64 = 1_000;
/// More commits than a part has.
const MOST: usize = 30;

/// Paula has a node, Bob's, and asks for 300 dollars. Whoever pays uses the other node, and knows nothing of us.
struct Bill {
    paula: Person,
    /// The name of the request.
    request: String,
    /// Its page.
    page: String,
    /// What guests pay from.
    purse: Lnd,
    base: String,
    network: Lightning,
    _site: Site,
    world: World,
}

impl Bill {
    async fn open(hold: &str) -> Option<Self> {
        let Some(network) = Lightning::start().await.unwrap() else {
            println!("skipped: no btcd and lnd");
            return None;
        };
        let world = World::start().await.unwrap();
        let file = world.dir().join("wallet.toml");
        let mut config = std::fs::read_to_string(&file).unwrap();
        config.push_str("\n[[rates]]\nbase = \"BTC\"\nquote = \"USD\"\nprice = \"100000\"\n");
        std::fs::write(&file, config).unwrap();
        let site = site(&world).await;
        let base = site.plugin.http_url();
        let paula = person(&world, &site, "paula").await;

        let none = do_this(&paula, &["request", "guests"]).await;
        expect(&none, "/guests", json!([])).unwrap();
        let node = network.bob.till_config().await.unwrap();
        let (cert, macaroon) = (node.certificate.display(), node.macaroon.display());
        let add = format!(
            "rail add lnd --name till --url {} --network simnet --cert {cert}",
            node.url
        );
        let macaroon = macaroon.to_string();
        let words: Vec<&str> = add.split(' ').chain(["--macaroon", &macaroon]).collect();
        do_this(&paula, &words).await;
        let welcome = do_this(&paula, &["request", "guests", "--rail", "till"]).await;
        let ways =
            json!([{"way": "lightning", "rail": "till"}, {"way": "onchain", "rail": "till"}]);
        expect(&welcome, "/guests", ways).unwrap();
        expect(&welcome, "/units", json!(["USD/2"])).unwrap();
        expect(&welcome, "/failed", json!([])).unwrap();

        let bill = "request new 300.00_USD/2 --together --min 1.00 --memo the_hut --hold";
        let words: Vec<String> = bill.split(' ').map(|w| w.replace('_', " ")).collect();
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.push(hold);
        let made = do_this(&paula, &words).await;
        let purse = network.alice.rail().await.unwrap();
        Some(Self {
            request: string(&made, "/request").unwrap(),
            page: string(&made, "/page").unwrap(),
            paula,
            purse,
            base,
            network,
            _site: site,
            world,
        })
    }

    fn parts(&self) -> String {
        let (base, payee, request) = (&self.base, self.paula.key(), &self.request);
        format!("{base}/v0/users/{payee}/requests/{request}/guest-parts")
    }

    /// Asks for a part as the page does; its name.
    async fn ask(&self, way: &str, minor: u64) -> Result<String> {
        let id = RecordId::from_entropy(rand::random()).to_string();
        let body = json!({"id": id, "amount": minor.to_string(), "way": way, "name": "Carla"});
        let asked = reqwest::Client::new().post(self.parts()).json(&body).send();
        let asked = asked.await?;
        let status = asked.status();
        ensure!(status == 201, "{status}: {}", asked.text().await?);
        Ok(id)
    }

    /// How a part stands.
    async fn part(&self, id: &str) -> Result<Value> {
        let shown = reqwest::get(format!("{}/{id}", self.parts())).await?;
        Ok(shown.error_for_status()?.json().await?)
    }

    async fn becomes(&self, id: &str, state: &str) -> Value {
        let what = format!("a part to be {state}");
        wait::until(&what, || async {
            let part = self.part(id).await?;
            expect(&part, "/state", state)?;
            Ok(part)
        })
        .await
        .unwrap()
    }

    /// What is filled, reserved and surplus, by Paula's wallet.
    async fn figures(&self) -> [String; 3] {
        let shown = do_this(&self.paula, &["request", "show", &self.request]).await;
        ["/filled", "/reserved", "/surplus"].map(|at| string(&shown, at).unwrap())
    }

    /// The page says so, sooner or later, to whoever reads it by the API.
    async fn is_filled(&self, filled: u64, reserved: u64) {
        let (base, payee, request) = (&self.base, self.paula.key(), &self.request);
        let url = format!("{base}/v0/users/{payee}/requests/{request}");
        wait::until("the bill to say so", || async {
            let shown: Value = reqwest::get(&url).await?.error_for_status()?.json().await?;
            expect(&shown, "/state/filled", filled.to_string())?;
            expect(&shown, "/state/reserved", reserved.to_string())
        })
        .await
        .unwrap();
    }

    async fn pays(&self, invoice: &str) -> Outcome {
        pay(&self.purse, invoice).await
    }

    /// Sends coins from the other node.
    async fn sends(&self, address: &str, sat: u64) {
        let coins = json!({"addr": address, "amount": sat.to_string(), "sat_per_vbyte": "2"});
        let sent = self.network.alice.post("/v1/transactions", &coins).await;
        sent.unwrap();
    }
}

async fn pay(purse: &Lnd, invoice: &str) -> Outcome {
    let invoice = Bolt11::parse(invoice, LightningNetwork::Simnet).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = u64::try_from(now.unwrap().as_millis()).unwrap();
    let order = Order {
        id: invoice.hash().into(),
        target: invoice.as_str().to_owned(),
        amount: invoice.amount().to_money().unwrap(),
        max_fee: Total::from_minor(10_000).unwrap(),
        deadline: Timestamp::from_millis(now + 60_000).unwrap(),
    };
    purse.pay(&order).await
}

fn hash(invoice: &str) -> PaymentHash {
    let invoice = Bolt11::parse(invoice, LightningNetwork::Simnet);
    invoice.unwrap().hash()
}

/// A guest opens the bill, says how much and who they are, and how they pay.
async fn chooses(visitor: &mut Visitor, page: &str, (amount, name, way): (&str, &str, &str)) {
    let browser = &mut visitor.browser;
    browser
        .goto(&format!("{page}?amount={amount}"))
        .await
        .unwrap();
    let form = "document.querySelector('form[action$=\"/guest\"]')";
    browser.until(&format!("{form} !== null")).await.unwrap();
    let fill = format!("{form}.elements.name.value = {name:?}");
    browser.eval(&fill).await.unwrap();
    let press = format!("{form}.querySelector('button[value={way}]').click()");
    browser.eval(&press).await.unwrap();
}

/// What the page of a part says of how it stands.
fn stands(state: &str) -> String {
    format!("document.querySelector('[data-state={state}]')?.checkVisibility() === true")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_pay_parts_of_a_bill_over_lightning_and_on_the_chain_and_it_fills() {
    let Some(bill) = Bill::open("10m").await else {
        return;
    };
    let Some(mut visitor) = Visitor::come(&bill.world).await else {
        return;
    };
    let mut runs = live(&bill.paula).await.unwrap();
    wait::until("the bill to be there", || async {
        reqwest::get(&bill.page).await?.error_for_status()?;
        Ok(())
    })
    .await
    .unwrap();

    let chosen = format!("{}?amount=25.00", bill.page);
    visitor.inspect(&chosen, "bill-guest").await;

    // Over Lightning. The code is what the link says, and is gone once it is paid.
    chooses(&mut visitor, &bill.page, ("25.00", "Carla", "lightning")).await;
    visitor.browser.until(&stands("offered")).await.unwrap();
    visitor.inspect_here("guest-lightning").await;
    let invoice = visitor.text("#target").await;
    let link = visitor
        .browser
        .eval("document.querySelector('a.go[href^=lightning]').href")
        .await;
    let link = link.unwrap().as_str().unwrap().to_lowercase();
    assert_eq!(link, format!("lightning:{invoice}"));
    visitor.browser.prefer_dark(false).await.unwrap();
    assert_eq!(visitor.scan("#pay svg").await.to_lowercase(), link);
    let asked = Bolt11::parse(&invoice, LightningNetwork::Simnet).unwrap();
    assert_eq!(asked.amount(), Msat::from_sat(25 * SAT_A_DOLLAR).unwrap());
    assert_eq!(asked.memo(), Some("the hut"));
    assert_eq!(bill.figures().await, ["0", "2500", "0"]);
    visitor.browser.eval("window.same = true").await.unwrap();
    let paid = bill.pays(&invoice).await;
    assert!(matches!(paid, Outcome::Succeeded(_)), "{paid:?}");
    visitor.browser.until(&stands("paid")).await.unwrap();
    assert_eq!(visitor.browser.eval("window.same").await.unwrap(), true);
    visitor.inspect_here("guest-paid").await;
    bill.is_filled(2_500, 0).await;
    let told = runs.next("that Carla paid", |e| e["event"] == "request_paid");
    let told = told.await.unwrap();
    expect(&told, "/by", "lightning").unwrap();
    expect(&told, "/from", "Carla").unwrap();
    expect(&told, "/amount_text", "25.00 USD").unwrap();

    // On the chain: it is seen at once, and counts with the next block.
    let hostile = "<b>Dave</b>";
    chooses(&mut visitor, &bill.page, ("50.00", hostile, "onchain")).await;
    visitor.browser.until(&stands("offered")).await.unwrap();
    visitor.inspect_here("guest-onchain").await;
    let address = visitor.text("#target").await;
    let link = visitor
        .browser
        .eval("document.querySelector('a.go[href^=bitcoin]').href")
        .await;
    assert_eq!(link.unwrap(), format!("bitcoin:{address}?amount=0.0005"));
    bill.sends(&address, 50 * SAT_A_DOLLAR).await;
    visitor.browser.until(&stands("seen")).await.unwrap();
    bill.is_filled(2_500, 5_000).await;
    bill.network.mine(1).await.unwrap();
    visitor.browser.until(&stands("paid")).await.unwrap();
    bill.is_filled(7_500, 0).await;
    assert_eq!(visitor.browser.complaints(), [""; 0]);

    // Who asks sees both, as what they are.
    let shown = do_this(&bill.paula, &["request", "show", &bill.request]).await;
    for (at, by, from, amount) in [
        (0, "onchain", hostile, "50.00 USD"),
        (1, "lightning", "Carla", "25.00 USD"),
    ] {
        expect(&shown, &format!("/received/{at}/by"), by).unwrap();
        expect(&shown, &format!("/received/{at}/from"), from).unwrap();
        expect(&shown, &format!("/received/{at}/amount_text"), amount).unwrap();
    }

    // The last one pays what is left, and Paula is told that it is full.
    let last = bill.ask("lightning", 22_500).await.unwrap();
    let offered = bill.becomes(&last, "offered").await;
    let paid = bill.pays(&string(&offered, "/invoice").unwrap()).await;
    assert!(matches!(paid, Outcome::Succeeded(_)), "{paid:?}");
    let told = runs.next("that it is full", |e| e["event"] == "request_filled");
    expect(&told.await.unwrap(), "/amount_text", "300.00 USD").unwrap();
    bill.becomes(&last, "paid").await;
    bill.is_filled(30_000, 0).await;
    wait::until("nobody to get another part", || async {
        let late = bill.ask("lightning", 100).await;
        let late = late.err().context("it was taken")?.to_string();
        ensure!(late.contains("request_closed"), "{late}");
        Ok(())
    })
    .await
    .unwrap();
    runs.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_does_not_pay_in_time_is_free_for_others_and_can_not_be_paid_any_more() {
    let Some(bill) = Bill::open("4s").await else {
        return;
    };
    let runs = live(&bill.paula).await.unwrap();
    let ask = || async { bill.ask("lightning", 30_000).await };
    let id = wait::until("a part to be taken", ask).await.unwrap();
    let offered = bill.becomes(&id, "offered").await;
    let invoice = string(&offered, "/invoice").unwrap();
    assert_eq!(bill.figures().await, ["0", "30000", "0"]);

    // All of it is kept for one: the next is told so, in the code of the wallet or of the page.
    let next = bill.ask("lightning", 100).await;
    let next = next.map_err(|error| error.to_string());
    match next {
        Err(why) => assert!(
            why.contains("request_closed") || why.contains("guest_part_invalid"),
            "{why}"
        ),
        Ok(next) => {
            let refused = bill.becomes(&next, "refused").await;
            expect(&refused, "/reason", "request_full").unwrap();
        }
    }
    bill.becomes(&id, "ended").await;
    assert_eq!(bill.figures().await, ["0", "0", "0"]);
    let till = bill.network.bob.rail().await.unwrap();
    let state = till.invoices().unwrap().look_up_invoice(hash(&invoice));
    assert_eq!(state.await.unwrap(), Some(InvoiceState::Canceled));
    let late = bill.pays(&invoice).await;
    assert!(matches!(late, Outcome::FailedForGood(_)), "{late:?}");
    assert_eq!(bill.figures().await, ["0", "0", "0"]);

    // Whoever says that they don't take guests any more gets none.
    do_this(&bill.paula, &["request", "guests", "--off"]).await;
    let refused = bill.ask("lightning", 100).await.unwrap_err().to_string();
    assert!(refused.contains("guests_unwelcome"), "{refused}");
    runs.stop().await.unwrap();

    // A rail that makes invoices but may give no addresses is taken for what it can; another that is none is named.
    let node = bill.network.bob.rail_config().await.unwrap();
    let (cert, macaroon) = (
        node.certificate.display().to_string(),
        node.macaroon.display().to_string(),
    );
    let url = node.url.to_string();
    let add = [
        "rail",
        "add",
        "lnd",
        "--name",
        "narrow",
        "--network",
        "simnet",
        "--url",
        &url,
        "--cert",
        &cert,
        "--macaroon",
        &macaroon,
    ];
    do_this(&bill.paula, &add).await;
    let welcome = do_this(&bill.paula, &["request", "guests", "--rail", "narrow"]).await;
    expect(
        &welcome,
        "/guests",
        json!([{"way": "lightning", "rail": "narrow"}]),
    )
    .unwrap();
    expect(&welcome, "/failed/0/way", "onchain").unwrap();
    let wrong = ["request", "guests", "--rail", "narrow", "--only", "onchain"];
    bill.paula.wallet().fails(1, &wrong).await.unwrap();
    let unknown = ["request", "guests", "--rail", "nobody"];
    let unknown = bill.paula.wallet().fails(2, &unknown).await.unwrap();
    expect(&unknown, "/code", "rail_unknown").unwrap();
    // Once it is gone, guests don't pay by it.
    do_this(&bill.paula, &["rail", "remove", "narrow"]).await;
    let none = do_this(&bill.paula, &["request", "guests"]).await;
    expect(&none, "/guests", json!([])).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dies_at_any_commit_counts_what_a_guest_paid_once() {
    let Some(bill) = Bill::open("10m").await else {
        return;
    };
    // What one process does is told by the plugin to all.
    let armed = bill.world.new_path("armed");
    let mut filled = 0;
    for place in ["before_commit", "after_commit"] {
        let mut deaths = 0;
        for n in commits(place, MOST) {
            let paula = bill.paula.clone();
            let ask = || async { bill.ask("lightning", 100).await };
            let id = wait::until("a part to be taken", ask).await.unwrap();
            std::fs::write(&armed, b"").unwrap();
            let mut first = paula.wallet().dying(place, n, &armed).watch(&[]).await.ok();
            let purse = &bill.purse;
            let mut paying = None;
            // It dies at once, or somewhere on the way, or not at all: then the part is paid.
            while first.as_mut().is_some_and(|w| w.runs().unwrap()) {
                let part = bill.part(&id).await.unwrap();
                if let (Some(invoice), None) = (part["invoice"].as_str(), &paying) {
                    paying = Some(pay(purse, invoice).await);
                }
                if part["state"] == "paid" {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let died = !first.as_mut().is_some_and(|w| w.runs().unwrap());
            std::fs::remove_file(&armed).unwrap();
            drop(first);
            let again = live(&paula).await.unwrap();
            if paying.is_none() {
                let part = bill.becomes(&id, "offered").await;
                paying = Some(bill.pays(part["invoice"].as_str().unwrap()).await);
            }
            assert!(
                matches!(paying, Some(Outcome::Succeeded(_))),
                "{place} {n}: {paying:?}"
            );
            bill.becomes(&id, "paid").await;
            again.stop().await.unwrap();
            filled += 100;
            let figures = bill.figures().await;
            assert_eq!(
                figures,
                [filled.to_string(), "0".to_owned(), "0".to_owned()],
                "{place} {n}"
            );
            if !died {
                break;
            }
            deaths += 1;
        }
        assert!(deaths >= 3, "{place}: it died {deaths} times");
    }
    let shown = do_this(&bill.paula, &["request", "show", &bill.request]).await;
    let receipts = shown["received"].as_array().unwrap().len();
    assert_eq!(u64::try_from(receipts).unwrap() * 100, filled);
}
