//! Debts that are paid off by hand: cash, a bank transfer in another currency. Two homeservers, real wallets, a real source of rates.

use std::sync::{Arc, Mutex};

use atomicity_e2e::people::{Person, Site, expect, string};
use atomicity_e2e::{World, town, wait};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};

const USD: &str = "USD/2";

/// Ivan owes Hanna 20.00.
struct Friends {
    hanna: Person,
    ivan: Person,
    _sites: [Site; 2],
    world: World,
}

impl Friends {
    async fn meet() -> Self {
        let world = World::start().await.unwrap();
        let sites = [
            Site::open(&world, "h1").await.unwrap(),
            Site::open(&world, "h2").await.unwrap(),
        ];
        let mut hanna = Person::new(&world, "hanna").unwrap();
        let mut ivan = Person::new(&world, "ivan").unwrap();
        hanna.join(&sites[0], USD).await.unwrap();
        ivan.join(&sites[1], USD).await.unwrap();
        town::befriend(&hanna, &ivan, "50.00 USD/2").await.unwrap();
        ivan.give(&hanna, "20.00 USD/2", "the garden")
            .await
            .unwrap();
        town::read_news(&hanna, &ivan).await.unwrap();
        town::until_owed(&hanna, &ivan, USD, 2000).await.unwrap();
        Self {
            hanna,
            ivan,
            _sites: sites,
            world,
        }
    }

    /// Hanna asks, and Ivan hears of it.
    async fn ask(&self, money: &str, more: &[&str]) -> String {
        let ask = [&["settle", "ivan", money, "--no-wait"], more].concat();
        let asked = self.hanna.wallet().ok(&ask).await.unwrap();
        expect(&asked, "/stage", "sent").unwrap();
        let id = string(&asked, "/id").unwrap();
        wait::until("the request", || async {
            self.ivan.sync().await?;
            self.ivan.wallet().ok(&["settle", "show", &id]).await
        })
        .await
        .unwrap();
        id
    }

    async fn becomes(&self, person: &Person, id: &str, expected: &str) -> Value {
        wait::until("a settlement to get further", || async {
            self.ivan.sync().await?;
            self.hanna.sync().await?;
            let shown = person.wallet().ok(&["settle", "show", id]).await?;
            expect(&shown, "/stage", expected)?;
            Ok(shown)
        })
        .await
        .unwrap()
    }

    async fn owed(&self, expected: i64) {
        town::read_news(&self.hanna, &self.ivan).await.unwrap();
        town::until_owed(&self.hanna, &self.ivan, USD, expected)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cash_lowers_the_claim_when_the_holder_confirms_and_not_when_she_disputes() {
    let friends = Friends::meet().await;
    let (hanna, ivan) = (friends.hanna.wallet(), friends.ivan.wallet());
    let purse = [
        "rail",
        "add",
        "manual",
        "--name",
        "purse",
        "--method",
        "usd-cash-hand",
    ];
    let added = ivan.ok(&purse).await.unwrap();
    expect(&added, "/kind", "manual").unwrap();
    expect(&added, "/health/ready", true).unwrap();

    // Asked, agreed to, paid, told, confirmed.
    let cafe = ["--to", "usd-cash-hand=at the café", "--memo", "for the tip"];
    let id = friends.ask("5.00 USD/2", &cafe).await;
    let requests = ivan.ok(&["settle", "requests"]).await.unwrap();
    expect(&requests, "/settlements/0/waits_for_you", true).unwrap();
    expect(&requests, "/settlements/0/pays_text", "5 USD").unwrap();
    let agreed = ivan.ok(&["settle", "pay", &id]).await.unwrap();
    expect(&agreed, "/stage", "dispatched").unwrap();
    expect(&agreed, "/by_hand", "5.00 USD").unwrap();
    expect(&agreed, "/way/target/value", "at the café").unwrap();
    friends.owed(2000).await;
    let paid = ["settle", "paid", &id, "handed to Hanna at four"];
    let told = ivan.ok(&paid).await.unwrap();
    expect(&told, "/stage", "proven").unwrap();
    // Said twice it is paid once.
    let twice = ivan.fails(3, &paid).await.unwrap();
    expect(&twice, "/code", "not_by_hand").unwrap();
    let seen = friends.becomes(&friends.hanna, &id, "paid").await;
    expect(&seen, "/method", "usd-cash-hand").unwrap();
    expect(&seen, "/proof", "handed to Hanna at four").unwrap();
    friends.owed(2000).await;
    let booked = hanna.ok(&["settle", "confirm", &id]).await.unwrap();
    expect(&booked, "/stage", "booked").unwrap();
    let again = hanna.fails(3, &["settle", "confirm", &id]).await.unwrap();
    expect(&again, "/code", "not_confirmable").unwrap();
    friends.becomes(&friends.ivan, &id, "done").await;
    friends.owed(1500).await;

    // He says that he paid, and nothing came.
    let id = friends.ask("4.00 USD/2", &cafe).await;
    let told = ["settle", "paid", &id, "under the mat"];
    let told = ivan.ok(&told).await.unwrap();
    expect(&told, "/stage", "proven").unwrap();
    friends.becomes(&friends.hanna, &id, "paid").await;
    let disputed = hanna.ok(&["settle", "dispute", &id]).await.unwrap();
    expect(&disputed, "/stage", "disputed").unwrap();
    wait::until("Ivan to hear of it", || async {
        friends.ivan.sync().await?;
        let shown = ivan.ok(&["settle", "show", &id]).await?;
        expect(&shown, "/disputed", true)
    })
    .await
    .unwrap();
    friends.owed(1500).await;

    // Whose word is taken up to 10.00 need not wait for hers.
    let auto = [
        "settle",
        "auto-confirm",
        "--up-to",
        "10 USD/2",
        "--of",
        "ivan",
    ];
    let rules = hanna.ok(&auto).await.unwrap();
    expect(&rules, "/rules/0/up_to", "1000").unwrap();
    let id = friends.ask("3.00 USD/2", &cafe).await;
    ivan.ok(&["settle", "paid", &id, "in your letter box"])
        .await
        .unwrap();
    friends.becomes(&friends.hanna, &id, "booked").await;
    friends.becomes(&friends.ivan, &id, "done").await;
    friends.owed(1200).await;
    a_rail_that_will_not_pay_leaves_it_to_the_next(&friends).await;
}

/// The bank comes first, as Ivan says; cash has its turn when the bank will not pay, and not before.
async fn a_rail_that_will_not_pay_leaves_it_to_the_next(friends: &Friends) {
    let ivan = friends.ivan.wallet();
    let bank = [
        "rail",
        "add",
        "manual",
        "--name",
        "bank",
        "--method",
        "usd-bank-iban",
    ];
    ivan.ok(&bank).await.unwrap();
    let ordered = ivan.ok(&["rail", "order", "bank"]).await.unwrap();
    expect(&ordered, "/rails/0/name", "bank").unwrap();
    expect(&ordered, "/rails/1/name", "purse").unwrap();
    let both = [
        "--to",
        "usd-cash-hand=at the café",
        "--to",
        "usd-bank-iban=DE02",
    ];
    let id = friends.ask("2.00 USD/2", &both).await;
    let agreed = ivan.ok(&["settle", "pay", &id]).await.unwrap();
    expect(&agreed, "/way/rail", "bank").unwrap();
    for _ in 0..3 {
        friends.ivan.sync().await.unwrap();
    }
    let shown = ivan.ok(&["settle", "show", &id]).await.unwrap();
    expect(&shown, "/way/rail", "bank").unwrap();
    expect(&shown, "/attempts", 1).unwrap();
    let in_use = ivan.fails(3, &["rail", "remove", "bank"]).await.unwrap();
    expect(&in_use, "/code", "rail_in_use").unwrap();
    let next = ["settle", "not-paid", &id, "--why", "the bank is closed"];
    let next = ivan.ok(&next).await.unwrap();
    expect(&next, "/stage", "dispatched").unwrap();
    expect(&next, "/way/rail", "purse").unwrap();
    expect(&next, "/attempts", 2).unwrap();
    let cash = ["settle", "paid", &id, "coins"];
    ivan.ok(&cash).await.unwrap();
    friends.becomes(&friends.ivan, &id, "done").await;
    friends.owed(1000).await;
}

/// What a source of rates says: the price, or nothing.
type Price = Arc<Mutex<Option<&'static str>>>;

/// A source of rates on loopback; where it is.
async fn source(price: Price) -> String {
    let answer = move || {
        let price = *price.lock().unwrap();
        async move {
            match price {
                Some(price) => (
                    StatusCode::OK,
                    json!({ "usd": { "eur": price } }).to_string(),
                ),
                None => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
            }
        }
    };
    let app = Router::new().route("/rates", get(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/rates")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn euros_are_paid_for_dollars_at_a_rate_that_both_agree_to() {
    let price: Price = Arc::new(Mutex::new(Some("0.92")));
    let url = source(price.clone()).await;
    let friends = Friends::meet().await;
    let (hanna, ivan) = (friends.hanna.wallet(), friends.ivan.wallet());
    let file = friends.world.dir().join("wallet.toml");
    let mut config = std::fs::read_to_string(&file).unwrap();
    config.push_str(&format!(
        "\n[[rates]]\nbase = \"USD\"\nquote = \"EUR\"\nurl = \"{url}\"\npointer = \"/usd/eur\"\nreuse_s = 0\nspread_bp = 100\n"
    ));
    std::fs::write(&file, config).unwrap();
    let rates = hanna.ok(&["settle", "rates"]).await.unwrap();
    expect(&rates, "/rates/0/pair", "USD/EUR").unwrap();
    expect(&rates, "/rates/0/price", "0.92").unwrap();

    let bank = ["rail", "add", "manual", "--method", "eur-sepa-iban"];
    ivan.ok(&bank).await.unwrap();
    let account = ["endpoint", "add", "eur-sepa-iban", "DE02120300000000202051"];
    hanna.ok(&account).await.unwrap();

    // Both see 4.60 euros before anything moves; Ivan's wallet may pay up to 8.00 dollars a day at his own rate.
    let id = friends.ask("5.00 USD/2", &["--pays", "EUR"]).await;
    let shown = hanna.ok(&["settle", "show", &id]).await.unwrap();
    expect(&shown, "/pays_text", "4.6 EUR").unwrap();
    let shown = ivan.ok(&["settle", "show", &id]).await.unwrap();
    expect(&shown, "/pays_text", "4.6 EUR").unwrap();
    expect(&shown, "/own_rate/amount", "4.6").unwrap();
    expect(&shown, "/waits_for_you", true).unwrap();
    let auto = [
        "settle",
        "auto",
        "--up-to",
        "5 USD/2",
        "--rate",
        "source",
        "--per-day",
        "8 USD/2",
    ];
    let rules = ivan.ok(&auto).await.unwrap();
    expect(&rules, "/rules/0/by_source", true).unwrap();
    expect(&rules, "/rules/0/per_day", "800").unwrap();
    let paying = friends.becomes(&friends.ivan, &id, "dispatched").await;
    expect(&paying, "/by_hand", "4.60 EUR").unwrap();
    expect(&paying, "/way/target/value", "DE02120300000000202051").unwrap();
    let transfer = ["settle", "paid", &id, "SEPA 2026-11-21/77"];
    ivan.ok(&transfer).await.unwrap();
    friends.becomes(&friends.hanna, &id, "paid").await;
    hanna.ok(&["settle", "confirm", &id]).await.unwrap();
    friends.becomes(&friends.ivan, &id, "done").await;
    friends.owed(1500).await;

    // The rate moves: what was worth 2.76 is worth 2.40 now, and that is what Hanna is offered.
    *price.lock().unwrap() = Some("0.80");
    let id = friends.ask("3.00 USD/2", &["--pays", "2.76 EUR"]).await;
    let declined = friends.becomes(&friends.hanna, &id, "declined").await;
    expect(&declined, "/reason", "rate_off").unwrap();
    expect(&declined, "/offer/amount", "2.4").unwrap();

    // Nobody knows the rate: nothing is decided until somebody does.
    *price.lock().unwrap() = None;
    let refused = hanna
        .fails(1, &["settle", "ivan", "3.00 USD/2", "--pays", "EUR"])
        .await
        .unwrap();
    expect(&refused, "/code", "rate_source_failed").unwrap();
    let id = friends.ask("3.00 USD/2", &["--pays", "2.40 EUR"]).await;
    for _ in 0..2 {
        friends.ivan.sync().await.unwrap();
    }
    let shown = ivan.ok(&["settle", "show", &id]).await.unwrap();
    expect(&shown, "/stage", "received").unwrap();
    *price.lock().unwrap() = Some("0.80");
    friends.becomes(&friends.ivan, &id, "dispatched").await;

    // That was the last of the day: from now on Ivan is asked.
    let id = friends.ask("1.00 USD/2", &["--pays", "EUR"]).await;
    for _ in 0..2 {
        friends.ivan.sync().await.unwrap();
    }
    let shown = ivan.ok(&["settle", "show", &id]).await.unwrap();
    expect(&shown, "/stage", "received").unwrap();
    expect(&shown, "/waits_for_you", true).unwrap();
    expect(&shown, "/own_rate/amount", "0.8").unwrap();
}
