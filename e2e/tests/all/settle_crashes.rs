//! A coffee whose payer, or who asks for it, dies before or after any commit, one after the other. Whoever comes back goes on with what
//! was begun: the shop is paid once and the claim falls by as much, or neither.

use std::time::Duration;

use anyhow::ensure;
use atomicity_e2e::coffee::{Coffee, USD};
use atomicity_e2e::people::{Person, Site, amount, string};
use atomicity_e2e::town::live;
use atomicity_e2e::{World, wait};
use atomicity_paykit_adapter::rail::{Bolt11, InvoiceState};
use serde_json::Value;

use crate::common::commits;

/// More commits than a settlement has on either side.
const MOST: usize = 40;

struct Shop {
    coffee: Coffee,
    /// What Ivan owes Hanna by now, in cents.
    owed: i64,
    _sites: [Site; 2],
    world: World,
}

impl Shop {
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
        coffee.allow().await.unwrap();
        Some(Self {
            coffee,
            owed: 2_000,
            _sites: sites,
            world,
        })
    }

    /// Until it is decided on both sides and nothing is reserved; whether the shop was paid.
    async fn over(&mut self, bill: &Bolt11) -> bool {
        let (hanna, ivan) = (&self.coffee.hanna, &self.coffee.ivan);
        wait::until("both to know what became of it", || async {
            hanna.sync().await?;
            ivan.sync().await?;
            for person in [hanna, ivan] {
                let list = person.wallet().ok(&["settle", "list"]).await?;
                ensure!(!list.to_string().contains(r#""over":false"#), "{list}");
            }
            let mine = hanna.account(ivan, USD).await?;
            ensure!(string(&mine, "/promised_to_them")? == "0", "{mine}");
            Ok(())
        })
        .await
        .unwrap();
        let till = self.coffee.takings().unwrap();
        let state = till.look_up_invoice(bill.hash()).await.unwrap();
        let paid = matches!(state, Some(InvoiceState::Settled { .. }));
        if paid {
            self.owed -= 10;
        }
        for (one, other, owed) in [(hanna, ivan, self.owed), (ivan, hanna, -self.owed)] {
            let account = one.account(other, USD).await.unwrap();
            assert_eq!(
                amount(&account, "/net").unwrap(),
                owed,
                "{state:?}: {account}"
            );
        }
        let list = ivan.wallet().ok(&["settle", "list"]).await.unwrap();
        let most = list["settlements"].as_array().unwrap().iter();
        let most = most.filter_map(|one| one["attempts"].as_u64()).max();
        assert!(most <= Some(1), "the node was told twice: {list}");
        paid
    }

    /// Hanna asks for ten cents' worth, and does not wait for it.
    fn ask(&self, bill: &Bolt11) -> Vec<String> {
        let words = "settle ivan 0.10_USD/2 --no-wait --invoice";
        let mut words: Vec<String> = words.split(' ').map(|w| w.replace('_', " ")).collect();
        words.push(bill.as_str().to_owned());
        words
    }

    async fn bill(&self) -> Bolt11 {
        self.coffee.small_invoice().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_pays_for_a_coffee_and_dies_at_any_commit_pays_it_once_or_not_at_all() {
    let Some(mut shop) = Shop::open().await else {
        return;
    };
    let armed = shop.world.new_path("armed");
    for place in ["before_commit", "after_commit"] {
        let (mut deaths, mut paid) = (0, 0);
        for n in commits(place, MOST) {
            let bill = shop.bill().await;
            let asked = shop.coffee.hanna.wallet().ok(&shop.ask(&bill)).await;
            let id = string(&asked.unwrap(), "/id").unwrap();
            let ivan = shop.coffee.ivan.clone();
            std::fs::write(&armed, b"").unwrap();
            let mut first = ivan.wallet().dying(place, n, &armed).watch(&[]).await.ok();
            // It dies at once, or somewhere on the way, or not at all: then Hanna has her coffee.
            while first.as_mut().is_some_and(|w| w.runs().unwrap()) {
                let shown = ivan.wallet().ok(&["settle", "show", &id]).await;
                let stage = shown.map_or(Value::Null, |shown| shown["stage"].clone());
                if ["proven", "done", "declined", "failed"]
                    .iter()
                    .any(|end| stage == *end)
                {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let died = !first.as_mut().is_some_and(|w| w.runs().unwrap());
            std::fs::remove_file(&armed).unwrap();
            drop(first);
            let again = live(&ivan).await.unwrap();
            let was_paid = shop.over(&bill).await;
            again.stop().await.unwrap();
            assert!(
                was_paid || died,
                "{place} {n}: nobody died, and nothing was paid"
            );
            paid += usize::from(was_paid);
            if !died {
                break;
            }
            deaths += 1;
        }
        println!("died {deaths} times {place}, paid {paid} times");
        assert!(deaths > 2 && deaths < MOST, "died {deaths} times {place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_a_coffee_and_dies_at_any_commit_has_asked_or_not() {
    let Some(mut shop) = Shop::open().await else {
        return;
    };
    let ivan_runs = live(&shop.coffee.ivan).await.unwrap();
    for place in ["before_commit", "after_commit"] {
        let mut deaths = 0;
        for n in commits(place, MOST) {
            let bill = shop.bill().await;
            let hanna = shop.coffee.hanna.wallet();
            let dying = hanna.dying(place, n, shop.world.dir());
            let run = dying.run(&shop.ask(&bill)).await.unwrap();
            let died = run.code.is_none();
            assert!(died || run.code == Some(0), "{run}");
            let paid = shop.over(&bill).await;
            assert!(paid || died, "{place} {n}: {run}");
            if !died {
                break;
            }
            deaths += 1;
        }
        println!("died {deaths} times {place}");
        assert!(deaths > 1 && deaths < MOST, "died {deaths} times {place}");
    }
    ivan_runs.stop().await.unwrap();
}
