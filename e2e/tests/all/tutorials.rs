//! The tutorials, as people follow them: the commands are taken out of the pages.

use atomicity_e2e::coffee::{COFFEE_SAT, has};
use atomicity_e2e::lightning::Lightning;
use atomicity_e2e::people::{Person, Site};
use atomicity_e2e::promises::Cosigned;
use atomicity_e2e::tutorial::{Followers, steps};
use atomicity_e2e::{World, wait};
use atomicity_paykit_adapter::rail::{Msat, NewInvoice, Rail as _};

const USD: &str = "USD/2";

/// People at `site` with an account each, who know each other's keys.
async fn followers(world: &World, site: &Site, names: &[&str]) -> Followers {
    let mut people = Vec::new();
    for name in names {
        let mut person = Person::new(world, name).unwrap();
        person.join(site, USD).await.unwrap();
        people.push(person);
    }
    let wallets = people
        .iter()
        .map(|person| (person.name().to_owned(), person.wallet().clone()));
    let mut followers = Followers::new(wallets);
    for person in &people {
        followers.know(&format!("{}'s key", person.name()), person.key());
    }
    followers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_coffee() {
    let Some(network) = Lightning::start().await.unwrap() else {
        println!("skipped: no btcd and lnd");
        return;
    };
    let world = World::start().await.unwrap();
    let site = Site::open(&world, "h").await.unwrap();
    let mut people = followers(&world, &site, &["hanna", "ivan"]).await;
    let node = network.alice.rail_config().await.unwrap();
    people.know("his node", node.url.to_string());
    people.know("its certificate", node.certificate.display().to_string());
    people.know("its macaroon", node.macaroon.display().to_string());
    people.know("its network", "simnet");
    let shop = network.bob.rail().await.unwrap();
    let wanted = NewInvoice {
        amount: Msat::from_sat(COFFEE_SAT).unwrap(),
        memo: "a coffee".to_owned(),
        expiry: std::time::Duration::from_secs(900),
        hold: None,
    };
    let invoice = shop.invoices().unwrap().new_invoice(&wanted).await.unwrap();
    people.know("the shop's invoice", invoice.as_str());
    let before = has(&network.bob).await.unwrap();
    let page = include_str!("../../../docs/tutorials/coffee.md");
    people.follow(&steps(page).unwrap()).await.unwrap();
    wait::until("the shop's money", || async {
        let now = has(&network.bob).await?;
        anyhow::ensure!(now == before + COFFEE_SAT * 1000, "it has {now}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bill() {
    let world = World::start().await.unwrap();
    let site = Site::open(&world, "h").await.unwrap();
    let mut people = followers(&world, &site, &["paula", "ben", "sam"]).await;
    let page = include_str!("../../../docs/tutorials/bill.md");
    people.follow(&steps(page).unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_friends_judgement() {
    let world = World::start().await.unwrap();
    let log = Cosigned::start(&world, "log", 3600).await.unwrap();
    let homeserver = world.homeserver("h").await.unwrap();
    let mut options = world.plugin_options("p", &homeserver).await.unwrap();
    // A plugin that finds ways for its users, at a pace for tests.
    options.more.extend([
        "router.enabled=true".to_owned(),
        "router.homeserver_requests_per_second=200".to_owned(),
        "router.requests_per_second=500".to_owned(),
        "router.queries_per_minute=100000".to_owned(),
    ]);
    let plugin = world.plugin_with("p", options).await.unwrap();
    let site = Site { homeserver, plugin };
    let mut people = followers(&world, &site, &["me", "shop", "nora", "xavier"]).await;
    people.know("the log", log.url());
    let page = include_str!("../../../docs/tutorials/judgement.md");
    people.follow(&steps(page).unwrap()).await.unwrap();
}
