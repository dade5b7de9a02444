//! The coffee: somebody who is owed dollars has a coffee paid by Lightning, by whoever owes her. Two homeservers, a real btcd, two real
//! lnd; the shop is no user of ours.

use atomicity_e2e::coffee::{COFFEE_SAT, Coffee, USD, has};
use atomicity_e2e::people::{Person, Site, amount, expect, string};
use atomicity_e2e::{World, town, wait};
use atomicity_ledger::{PaymentHash, Preimage};
use atomicity_paykit_adapter::rail::{Bolt11, InvoiceState, Rail as _};
use serde_json::{Value, json};

/// The coffee shop, and two homeservers.
struct Street {
    coffee: Coffee,
    sites: [Site; 2],
    world: World,
}

impl std::ops::Deref for Street {
    type Target = Coffee;

    fn deref(&self) -> &Coffee {
        &self.coffee
    }
}

impl Street {
    async fn open() -> Option<Self> {
        let world = World::start().await.unwrap();
        let sites = [
            Site::open(&world, "h1").await.unwrap(),
            Site::open(&world, "h2").await.unwrap(),
        ];
        let mut hanna = Person::new(&world, "hanna").unwrap();
        let mut ivan = Person::new(&world, "ivan").unwrap();
        hanna.join(&sites[0], USD).await.unwrap();
        ivan.join(&sites[1], USD).await.unwrap();
        let Some(coffee) = Coffee::open(hanna, ivan).await.unwrap() else {
            println!("skipped: no btcd and lnd");
            return None;
        };
        Some(Self {
            coffee,
            sites,
            world,
        })
    }

    async fn invoice(&self, hold: Option<PaymentHash>) -> Bolt11 {
        self.coffee.invoice(hold).await.unwrap()
    }

    /// How a settlement stands in somebody's wallet.
    async fn stage(&self, person: &Person, id: &str) -> (String, Value) {
        let shown = person.wallet().ok(&["settle", "show", id]).await.unwrap();
        (string(&shown, "/stage").unwrap(), shown)
    }

    async fn becomes(&self, person: &Person, id: &str, expected: &str) -> Value {
        wait::until("a settlement to get further", || async {
            let shown = person.wallet().ok(&["settle", "show", id]).await?;
            let stage = string(&shown, "/stage")?;
            anyhow::ensure!(stage == expected, "it is {shown}");
            Ok(shown)
        })
        .await
        .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coffee_is_paid_by_whoever_owes_for_it() {
    let Some(mut street) = Street::open().await else {
        return;
    };
    let again = street.rail().await.unwrap();
    let again = street.ivan.wallet().fails(2, &again).await.unwrap();
    expect(&again, "/code", "rail_exists").unwrap();
    let tested = street.ivan.wallet().ok(&["rail", "test", "lnd"]).await;
    expect(&tested.unwrap(), "/ready", true).unwrap();
    let before = has(&street.network.bob).await.unwrap();
    street.allow().await.unwrap();
    let watch = town::live(&street.ivan).await.unwrap();

    let invoice = street.invoice(None).await;
    let settle = [
        "settle",
        "ivan",
        "5.00 USD/2",
        "--invoice",
        invoice.as_str(),
    ];
    let other = [&settle[..], &["--pays", "4999sat"]].concat();
    let refused = street.hanna.wallet().fails(2, &other).await.unwrap();
    expect(&refused, "/code", "amount_differs").unwrap();
    let began = std::time::Instant::now();
    let paid = [&settle[..], &["--pays", "5000sat", "--memo", "coffee"]].concat();
    let paid = street.hanna.wallet().ok(&paid).await.unwrap();
    println!("from asking to paid and booked: {:?}", began.elapsed());
    expect(&paid, "/stage", "booked").unwrap();
    let preimage: Preimage = string(&paid, "/preimage").unwrap().parse().unwrap();
    assert_eq!(preimage.hash(), invoice.hash());
    let till = street.takings().unwrap();
    let state = till.look_up_invoice(invoice.hash());
    let settled = InvoiceState::Settled {
        received: invoice.amount(),
    };
    assert_eq!(state.await.unwrap(), Some(settled));
    wait::until("the shop's sats", || async {
        let now = has(&street.network.bob).await?;
        anyhow::ensure!(now == before + COFFEE_SAT * 1000, "it has {now}");
        Ok(())
    })
    .await
    .unwrap();
    town::until_owed(&street.hanna, &street.ivan, USD, 1500)
        .await
        .unwrap();
    let id = string(&paid, "/id").unwrap();
    let issuer = street.becomes(&street.ivan, &id, "done").await;
    expect(&issuer, "/preimage", string(&paid, "/preimage").unwrap()).unwrap();
    expect(&issuer, "/attempts", 1).unwrap();

    // Too dear for a dollar: declined, with what Ivan would pay.
    let dear = street.invoice(None).await;
    let cheap = ["settle", "ivan", "4.00 USD/2", "--invoice", dear.as_str()];
    let declined = street.hanna.wallet().fails(3, &cheap).await.unwrap();
    expect(&declined, "/code", "rate_off").unwrap();
    street.lnd_stops_in_the_middle(watch).await;
}

impl Street {
    /// The shop takes its time with a second coffee, and meanwhile Ivan's node and his wallet go down.
    async fn lnd_stops_in_the_middle(&mut self, watch: atomicity_e2e::watch::Watch) {
        let preimage = Preimage::from_bytes(rand::random());
        let invoice = self.invoice(Some(preimage.hash())).await;
        let text = invoice.as_str();
        let ask = [
            "settle",
            "ivan",
            "5.00 USD/2",
            "--invoice",
            text,
            "--no-wait",
        ];
        let asked = self.hanna.wallet().ok(&ask).await.unwrap();
        let id = string(&asked, "/id").unwrap();
        self.becomes(&self.ivan, &id, "dispatched").await;
        let shop = self.coffee.shop.invoices().unwrap();
        wait::until("the money to be held", || async {
            let state = shop.look_up_invoice(invoice.hash()).await?;
            anyhow::ensure!(state == Some(InvoiceState::Held), "it is {state:?}");
            Ok(())
        })
        .await
        .unwrap();
        self.coffee.network.alice.kill().await.unwrap();
        watch.stop().await.unwrap();

        // Nobody knows anything, and nothing is lost: the claim stands, that part of it reserved.
        self.ivan.sync().await.unwrap();
        self.hanna.sync().await.unwrap();
        assert_eq!(self.stage(&self.ivan, &id).await.0, "dispatched");
        let account = self.hanna.account(&self.ivan, USD).await.unwrap();
        assert_eq!(amount(&account, "/net").unwrap(), 1500);
        assert_eq!(amount(&account, "/promised_to_them").unwrap(), 500);
        let late = self.hanna.wallet().ok(&["settle", "withdraw", &id]).await;
        late.unwrap();
        self.ivan.sync().await.unwrap();
        assert_eq!(self.stage(&self.ivan, &id).await.0, "dispatched");

        // The shop gets its money while Ivan knows of nothing; then his node is back.
        self.coffee.network.alice.restart().await.unwrap();
        wait::until("the shop to take it", || async {
            shop.settle_invoice(preimage).await?;
            Ok(())
        })
        .await
        .unwrap();
        let watch = town::live(&self.ivan).await.unwrap();
        let issuer = wait::until("the truth", || async {
            self.hanna.sync().await?;
            let shown = self.ivan.wallet().ok(&["settle", "show", &id]).await?;
            expect(&shown, "/stage", "done")?;
            Ok(shown)
        })
        .await
        .unwrap();
        expect(&issuer, "/attempts", 1).unwrap();
        let (stage, shown) = self.stage(&self.hanna, &id).await;
        assert_eq!(stage, "booked");
        assert_eq!(
            string(&shown, "/preimage")
                .unwrap()
                .parse::<Preimage>()
                .unwrap(),
            preimage
        );
        town::until_owed(&self.hanna, &self.ivan, USD, 1000)
            .await
            .unwrap();
        watch.stop().await.unwrap();
    }
}

/// Somebody who owes Hanna as well: `line` is what she lets them owe.
async fn debtor(street: &Street, name: &str, line: &str, owes: &str) -> Person {
    let mut person = Person::new(&street.world, name).unwrap();
    person.join(&street.sites[1], USD).await.unwrap();
    town::befriend(&street.hanna, &person, line).await.unwrap();
    person.give(&street.hanna, owes, "a lamp").await.unwrap();
    town::read_news(&street.hanna, &person).await.unwrap();
    person
}

async fn takes_lightning(person: &Person) {
    let address = format!("{}@pay.example", person.name());
    let add = ["endpoint", "add", "btc-lightning-lnurl", &address];
    person.wallet().ok(&add).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_most_trusted_who_owes_enough_and_can_pay_is_asked_first() {
    let Some(street) = Street::open().await else {
        return;
    };
    // Otto owes the most and can't pay by Lightning; Lena's word is good; Ivan will pay; Kurt owes too little.
    let _otto = debtor(&street, "otto", "90.00 USD/2", "40.00 USD/2").await;
    let lena = debtor(&street, "lena", "30.00 USD/2", "10.00 USD/2").await;
    let kurt = debtor(&street, "kurt", "30.00 USD/2", "4.99 USD/2").await;
    for one in [&lena, &street.ivan, &kurt] {
        takes_lightning(one).await;
    }
    let wallet = street.hanna.wallet();
    let good = ["rate", lena.key(), "good", "--as", "user"];
    wallet.ok(&good).await.unwrap();
    let anyone = ["settle", "--anyone", "5.00 USD/2"];
    let asked = wallet.ok(&[&anyone[..], &["--dry-run"]].concat()).await;
    let order: Vec<Value> = asked.unwrap()["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| json!([one["friend"], one["lightning"]]))
        .collect();
    let expected = [
        json!(["lena", true]),
        json!(["ivan", true]),
        json!(["otto", false]),
    ];
    assert_eq!(order, expected);

    street.allow().await.unwrap();
    let ivan_runs = town::live(&street.ivan).await.unwrap();
    let lena_runs = town::live(&lena).await.unwrap();
    // Lena's wallet waits for her word, which does not come: what was asked of her is taken back, and Ivan is asked.
    let invoice = street.invoice(None).await;
    let ask = [
        &anyone[..],
        &["--invoice", invoice.as_str(), "--wait", "3m"],
    ]
    .concat();
    let paid = wallet.ok(&ask).await.unwrap();
    expect(&paid, "/friend", "ivan").unwrap();
    expect(&paid, "/stage", "booked").unwrap();
    town::until_owed(&street.hanna, &street.ivan, USD, 1500)
        .await
        .unwrap();
    town::until_owed(&street.hanna, &lena, USD, 1000)
        .await
        .unwrap();
    let all = wallet.ok(&["settle", "list"]).await.unwrap();
    let of_lena = all["settlements"].as_array().unwrap().iter();
    let of_lena: Vec<&Value> = of_lena.filter(|one| one["friend"] == "lena").collect();
    assert_eq!(of_lena.len(), 1, "{all}");
    assert_eq!(of_lena[0]["reason"], "withdrawn", "{all}");
    assert_eq!(of_lena[0]["over"], true, "{all}");

    // Lena's phone is off: nobody else may get the same invoice, but the next one goes to Ivan.
    lena_runs.stop().await.unwrap();
    let second = street.invoice(None).await;
    let ask = [&anyone[..], &["--invoice", second.as_str(), "--wait", "2s"]].concat();
    let silent = wallet.fails(4, &ask).await.unwrap();
    expect(&silent, "/code", "undecided").unwrap();
    let third = street.invoice(None).await;
    let ask = [&anyone[..], &["--invoice", third.as_str(), "--wait", "3m"]].concat();
    let paid = wallet.ok(&ask).await.unwrap();
    expect(&paid, "/friend", "ivan").unwrap();
    ivan_runs.stop().await.unwrap();
}
