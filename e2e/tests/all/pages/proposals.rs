//! What the page proposes is done by the wallet: over friends, with way and cost shown before, given, handed on, paid off, delegated.

use atomicity_e2e::people::{Person, expect};
use atomicity_e2e::town::{
    befriend, invoice, live, pass_on, read_news, router, settle_at, until_owed,
};
use atomicity_e2e::{Plugin, World, wait};

use super::Visitor;
use super::place::{Place, accepted, log_in, proposed, stands};

const USD: &str = "USD/2";

/// Carl is Ben's friend, not Anna's; Ben passes payments on, and Anna knows a router.
async fn behind_ben(world: &World, place: &Place) -> (Person, Plugin) {
    let carl = settle_at(world, "carl", (&place.elsewhere, USD), &place.log);
    let carl = carl.await.unwrap();
    befriend(&place.ben, &carl, "20.00 USD/2").await.unwrap();
    for person in [&place.ben, &carl] {
        pass_on(person, USD, "0.01").await.unwrap();
    }
    let seeds = [&place.ben, &carl];
    let router = router(world, &place.elsewhere.homeserver, &seeds).await;
    let router = router.unwrap();
    wait::until("Anna to find the router", || async {
        let found = place.anna.wallet().ok(&["services", "router"]).await?;
        expect(&found, "/services/0/key", router.key())
    })
    .await
    .unwrap();
    (carl, router)
}

/// What stands in the article of a proposal.
async fn words(visitor: &mut Visitor, id: &str) -> String {
    let shown = visitor.text(&format!("[data-proposal='{id}']")).await;
    // Nothing breaks between a number and its unit.
    shown.replace('\u{a0}', " ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_proposed_is_seen_with_its_way_and_done_once_its_user_says_so() {
    let mut world = World::start().await.unwrap();
    let place = Place::found(&mut world, USD).await;
    let Some(mut visitor) = Visitor::come(&world).await else {
        return;
    };
    let (anna, ben) = (&place.anna, &place.ben);
    let (carl, router) = behind_ben(&world, &place).await;
    let (ben_runs, carl_runs) = (live(ben).await.unwrap(), live(&carl).await.unwrap());
    anna.wallet().ok(&["snapshot", "on"]).await.unwrap();
    log_in(&world, &mut visitor, &place).await;

    // A stranger is paid over Ben: while her wallet runs, the page shows over whom and for how much before it is done, unasked.
    let anna_runs = live(anna).await.unwrap();
    let (bread, _) = invoice(&carl, "5.00 USD/2", "bread").await.unwrap();
    let id = proposed(&mut visitor, ("pay", &[("link", &bread)])).await;
    let over = format!(
        "document.querySelector('[data-proposal=\"{id}\"]')?.innerText.includes('You → ben → ')"
    );
    visitor.browser.until(&over).await.unwrap();
    anna_runs.stop().await.unwrap();
    let quote = ["proposals", "quote", &id, "--router", router.key()];
    let quote = anna.wallet().ok(&quote).await.unwrap();
    expect(&quote, "/fee", "2").unwrap();
    expect(&quote, "/route/0/0", ben.key()).unwrap();
    expect(&quote, "/route/0/1", carl.key()).unwrap();
    let shown = words(&mut visitor, &id).await;
    assert!(shown.contains("0.02 USD"), "{shown}");
    let page = format!("{}/wallet/proposals", place.base);
    visitor.camera = false;
    visitor.inspect(&page, "wallet-proposed").await;
    visitor.browser.goto(&page).await.unwrap();
    // Without a word of the user at the device nothing is done, and no other word of the page counts.
    let unasked = anna.wallet().fails(2, &["proposals", "accept", &id]).await;
    let unasked = unasked.unwrap().to_string();
    assert!(
        unasked.contains("5.00 USD") && unasked.contains("--yes"),
        "{unasked}"
    );
    let accept = ["proposals", "accept", &id, "--yes"];
    let done = anna.wallet().ok(&accept).await.unwrap();
    expect(&done, "/state", "done").unwrap();
    expect(&done, "/fee", "2").unwrap();
    stands(&mut visitor, &id, "done").await;
    until_owed(&carl, ben, USD, 500).await.unwrap();

    // A friend is given something.
    let gift = [("user", ben.key()), ("amount", "1"), ("unit", "USD")];
    accepted(&mut visitor, anna, ("issue", &gift)).await;
    until_owed(ben, anna, USD, 602).await.unwrap();

    // What Ben owes is handed on to Carl, and paid off.
    ben.give(anna, "16.02 USD/2", "the garden").await.unwrap();
    read_news(anna, ben).await.unwrap();
    until_owed(anna, ben, USD, 1000).await.unwrap();
    let (rest, _) = invoice(&carl, "3.00 USD/2", "the rest").await.unwrap();
    let claim = [("user", ben.key()), ("link", rest.as_str())];
    accepted(&mut visitor, anna, ("reassign", &claim)).await;
    until_owed(&carl, ben, USD, 800).await.unwrap();
    read_news(anna, ben).await.unwrap();
    until_owed(anna, ben, USD, 698).await.unwrap();
    let door = ["endpoint", "add", "usd-cash-hand", "at the blue door"];
    anna.wallet().ok(&door).await.unwrap();
    let debt = [("user", ben.key()), ("amount", "4.00"), ("unit", "USD/2")];
    let id = accepted(&mut visitor, anna, ("settle", &debt)).await;
    let shown = words(&mut visitor, &id).await;
    assert!(shown.contains("They were asked"), "{shown}");
    wait::until("Ben to be asked", || async {
        ben.sync().await?;
        let asked = ben.wallet().ok(&["settle", "requests"]).await?;
        expect(&asked, "/settlements/0/amount", "400")
    })
    .await
    .unwrap();

    // The agent gets the books, with the passphrase.
    accepted(&mut visitor, anna, ("agent", &[("days", "30")])).await;
    let status = anna.wallet().ok(&["agent", "status"]).await.unwrap();
    let kept = status["peers"].as_array().unwrap();
    assert_eq!(kept.len(), 1, "{status}");

    // It hands them back; and once more, by the root's word.
    for force in ["false", "true"] {
        accepted(&mut visitor, anna, ("agent_off", &[("force", force)])).await;
        let status = anna.wallet().fails(2, &["agent", "status"]).await.unwrap();
        expect(&status, "/code", "no_agent").unwrap();
        read_news(anna, ben).await.unwrap();
        if force == "false" {
            accepted(&mut visitor, anna, ("agent", &[("days", "30")])).await;
        }
    }
    for running in [ben_runs, carl_runs] {
        running.stop().await.unwrap();
    }
}
