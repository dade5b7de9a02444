//! Debts that are paid off outside while agents keep the books: they come home for it, and go back by themselves.

use anyhow::ensure;
use atomicity_e2e::coffee::Coffee;
use atomicity_e2e::people::{Person, Site, expect, string};
use atomicity_e2e::town::{self, live, read_news, until_owed};
use atomicity_e2e::wait;
use serde_json::Value;

use super::{Place, engage};
use crate::common::commits;

const USD: &str = "USD/2";
/// More commits than asking has.
const MOST: usize = 60;

impl Place {
    async fn counts_dollars(&self, name: &str, site: &Site) -> Person {
        let person = town::settle_at(&self.world, name, (site, USD), &self.log).await;
        person.unwrap()
    }

    /// Ivan owes Hanna 20.00 and pays in cash; an agent keeps the books of whom it is said of.
    async fn debt(&self, names: [&str; 2], agents: [bool; 2]) -> [Person; 2] {
        let site = |with_agent: bool| {
            if with_agent {
                &self.agents
            } else {
                &self.other
            }
        };
        let hanna = self.counts_dollars(names[0], site(agents[0])).await;
        let ivan = self.counts_dollars(names[1], site(agents[1])).await;
        atomicity_e2e::coffee::owe(&hanna, &ivan).await.unwrap();
        let purse = ["rail", "add", "manual", "--method", "usd-cash-hand"];
        ivan.wallet().ok(&purse).await.unwrap();
        for (one, other, with_agent) in [(&hanna, &ivan, agents[0]), (&ivan, &hanna, agents[1])] {
            if with_agent {
                engage(one, &[], &[other]).await;
            }
        }
        [hanna, ivan]
    }
}

/// Where the books are: `kept` by the agent, or `wanted` there and still here.
async fn stage(person: &Person) -> String {
    let status = person.wallet().ok(&["agent", "status"]).await.unwrap();
    string(&status, "/peers/0/stage").unwrap()
}

/// Waits until the agent keeps the books, and the friend knows it.
async fn until_kept(person: &Person, friend: &Person) {
    wait::until("books to go to the agent again", || async {
        person.sync().await?;
        friend.sync().await?;
        let status = person.wallet().ok(&["agent", "status"]).await?;
        expect(&status, "/peers/0/stage", "kept")?;
        expect(&status, "/peers/0/acknowledged", true)
    })
    .await
    .unwrap();
}

async fn until_stage(people: [&Person; 2], id: &str, expected: &str) -> Value {
    wait::until("a settlement to get further", || async {
        people[1].sync().await?;
        people[0].sync().await?;
        let shown = people[0].wallet().ok(&["settle", "show", id]).await?;
        expect(&shown, "/stage", expected)?;
        Ok(shown)
    })
    .await
    .unwrap()
}

/// Hanna asks Ivan to pay cash, and does not wait for it.
fn ask<'a>(ivan: &'a Person, money: &'a str) -> [&'a str; 6] {
    [
        "settle",
        ivan.key(),
        money,
        "--to",
        "usd-cash-hand=here",
        "--no-wait",
    ]
}

async fn cash_changes_hands(place: &Place, names: [&str; 2], agents: [bool; 2]) {
    let [hanna, ivan] = place.debt(names, agents).await;
    let asked = hanna.wallet().ok(&ask(&ivan, "5.00 USD/2")).await.unwrap();
    expect(&asked, "/stage", "sent").unwrap();
    let id = string(&asked, "/id").unwrap();
    if agents[0] {
        let status = hanna.wallet().ok(&["agent", "status"]).await.unwrap();
        expect(&status, "/peers/0/stage", "wanted").unwrap();
        expect(&status, "/peers/0/settling", true).unwrap();
    }
    until_stage([&ivan, &hanna], &id, "received").await;
    if agents[1] {
        // What waits for his word needs no books.
        assert_eq!(stage(&ivan).await, "kept");
    }
    let agreed = ivan.wallet().ok(&["settle", "pay", &id]).await.unwrap();
    expect(&agreed, "/stage", "dispatched").unwrap();
    let paid = ["settle", "paid", &id, "handed over at four"];
    ivan.wallet().ok(&paid).await.unwrap();
    until_stage([&hanna, &ivan], &id, "paid").await;
    let confirmed = hanna.wallet().ok(&["settle", "confirm", &id]).await;
    expect(&confirmed.unwrap(), "/stage", "booked").unwrap();
    until_stage([&ivan, &hanna], &id, "done").await;
    until_owed(&hanna, &ivan, USD, 1500).await.unwrap();

    // The agents have their books again, and work.
    for (one, other, with_agent) in [(&hanna, &ivan, agents[0]), (&ivan, &hanna, agents[1])] {
        if with_agent {
            until_kept(one, other).await;
        }
    }
    ivan.give(&hanna, "1.00 USD/2", "one more").await.unwrap();
    read_news(&hanna, &ivan).await.unwrap();
    until_owed(&hanna, &ivan, USD, 1600).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cash_lowers_a_claim_whoever_keeps_the_books_on_either_side() {
    let place = Place::found().await;
    cash_changes_hands(&place, ["hanna", "ivan"], [true, false]).await;
    cash_changes_hands(&place, ["helga", "igor"], [false, true]).await;
    cash_changes_hands(&place, ["hilde", "ingo"], [true, true]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_declined_or_taken_back_leaves_the_claim_and_the_books_with_the_agents() {
    let place = Place::found().await;
    let [hanna, ivan] = place.debt(["hanna", "ivan"], [true, true]).await;
    let wallet = hanna.wallet();
    let asked = wallet.ok(&ask(&ivan, "5.00 USD/2")).await.unwrap();
    let id = string(&asked, "/id").unwrap();
    until_stage([&ivan, &hanna], &id, "received").await;
    let declined = ivan.wallet().ok(&["settle", "decline", &id]).await;
    expect(&declined.unwrap(), "/stage", "declined").unwrap();
    let heard = until_stage([&hanna, &ivan], &id, "declined").await;
    expect(&heard, "/over", true).unwrap();
    until_kept(&hanna, &ivan).await;
    until_kept(&ivan, &hanna).await;

    let asked = wallet.ok(&ask(&ivan, "4.00 USD/2")).await.unwrap();
    let id = string(&asked, "/id").unwrap();
    until_stage([&ivan, &hanna], &id, "received").await;
    wallet.ok(&["settle", "withdraw", &id]).await.unwrap();
    // Ivan is told while his agent has the books: his wallet fetches them to answer.
    let heard = until_stage([&hanna, &ivan], &id, "declined").await;
    expect(&heard, "/reason", "withdrawn").unwrap();
    until_kept(&hanna, &ivan).await;
    until_kept(&ivan, &hanna).await;
    until_owed(&hanna, &ivan, USD, 2000).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coffee_is_paid_by_lightning_with_the_books_of_both_at_agents() {
    let place = Place::found().await;
    let hanna = place.counts_dollars("hanna", &place.agents).await;
    let ivan = place.counts_dollars("ivan", &place.agents).await;
    let Some(coffee) = Coffee::open(hanna, ivan).await.unwrap() else {
        println!("skipped: no btcd and lnd");
        return;
    };
    let (hanna, ivan) = (&coffee.hanna, &coffee.ivan);
    coffee.allow().await.unwrap();
    engage(hanna, &[], &[ivan]).await;
    engage(ivan, &[], &[hanna]).await;
    let ivan_runs = live(ivan).await.unwrap();
    let invoice = coffee.invoice(None).await.unwrap();
    let settle = ["settle", "ivan", "5.00 USD/2", "--wait", "3m", "--invoice"];
    let settle = [&settle[..], &[invoice.as_str()]].concat();
    let paid = hanna.wallet().ok(&settle).await.unwrap();
    expect(&paid, "/stage", "booked").unwrap();
    let id = string(&paid, "/id").unwrap();
    until_stage([ivan, hanna], &id, "done").await;
    ivan_runs.stop().await.unwrap();
    until_kept(hanna, ivan).await;
    until_kept(ivan, hanna).await;
    until_owed(hanna, ivan, USD, 1500).await.unwrap();
}

/// Whatever was asked for is declined, until nothing is open and the agent has the books; then everything is as it was.
async fn all_is_declined(hanna: &Person, ivan: &Person) -> usize {
    wait::until("everything to be over", || async {
        hanna.sync().await?;
        ivan.sync().await?;
        let list = ivan.wallet().ok(&["settle", "requests"]).await?;
        for one in list["settlements"].as_array().unwrap() {
            let id = string(one, "/id")?;
            ivan.wallet().ok(&["settle", "decline", &id]).await?;
        }
        let list = hanna.wallet().ok(&["settle", "list"]).await?;
        ensure!(!list.to_string().contains(r#""over":false"#), "{list}");
        let status = hanna.wallet().ok(&["agent", "status"]).await?;
        expect(&status, "/peers/0/stage", "kept")
    })
    .await
    .unwrap();
    let list = hanna.wallet().ok(&["settle", "list"]).await.unwrap();
    list["settlements"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_and_dies_at_any_commit_while_the_books_come_home_has_asked_or_not() {
    let place = Place::found().await;
    let [hanna, ivan] = place.debt(["hanna", "ivan"], [true, false]).await;
    let (mut deaths, mut before) = (0, 0);
    for n in commits("after_commit", MOST) {
        let dying = hanna.wallet().dying("after_commit", n, place.world.dir());
        let run = dying.run(&ask(&ivan, "0.10 USD/2")).await.unwrap();
        let died = run.code.is_none();
        assert!(died || run.code == Some(0), "{run}");
        let asked = all_is_declined(&hanna, &ivan).await;
        assert!(asked - before <= 1 && (died || asked > before), "{run}");
        before = asked;
        if !died {
            break;
        }
        deaths += 1;
    }
    println!("died {deaths} times, asked {before} times");
    assert!(deaths > 2 && deaths < MOST, "died {deaths} times");
    until_owed(&hanna, &ivan, USD, 2000).await.unwrap();
    ivan.give(&hanna, "1.00 USD/2", "one more").await.unwrap();
    read_news(&hanna, &ivan).await.unwrap();
    until_owed(&hanna, &ivan, USD, 2100).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_pays_and_dies_at_any_commit_while_the_books_come_home_pays_once() {
    let place = Place::found().await;
    let [hanna, ivan] = place.debt(["hanna", "ivan"], [false, true]).await;
    let (mut deaths, mut owed) = (0, 2000);
    for n in commits("after_commit", MOST) {
        let asked = hanna.wallet().ok(&ask(&ivan, "0.10 USD/2")).await.unwrap();
        let id = string(&asked, "/id").unwrap();
        until_stage([&ivan, &hanna], &id, "received").await;
        let dying = ivan.wallet().dying("after_commit", n, place.world.dir());
        let run = dying.run(&["settle", "pay", &id]).await.unwrap();
        let died = run.code.is_none();
        assert!(died || run.code == Some(0), "{run}");
        wait::until("his wallet to tell him to pay", || async {
            ivan.sync().await?;
            let shown = ivan.wallet().ok(&["settle", "show", &id]).await?;
            if shown["waits_for_you"] == true {
                ivan.wallet().ok(&["settle", "pay", &id]).await?;
            }
            expect(&shown, "/by_hand", "0.10 USD")?;
            expect(&shown, "/attempts", 1)
        })
        .await
        .unwrap();
        let paid = ["settle", "paid", &id, "a coin"];
        ivan.wallet().ok(&paid).await.unwrap();
        until_stage([&hanna, &ivan], &id, "paid").await;
        hanna
            .wallet()
            .ok(&["settle", "confirm", &id])
            .await
            .unwrap();
        until_stage([&ivan, &hanna], &id, "done").await;
        owed -= 10;
        until_owed(&hanna, &ivan, USD, owed).await.unwrap();
        until_kept(&ivan, &hanna).await;
        if !died {
            break;
        }
        deaths += 1;
    }
    println!("died {deaths} times");
    assert!(deaths > 2 && deaths < MOST, "died {deaths} times");
}

/// Where Hanna can be paid, as Ivan sees it, besides in credit.
async fn sees(who: &Person, whose: &Person, expected: &[&str]) {
    wait::until("a list of endpoints", || async {
        who.sync().await?;
        let list = who.wallet().ok(&["endpoint", "list", whose.key()]).await?;
        let all = list["endpoints"].as_array().unwrap().iter();
        let private = all.filter(|one| one["private"] == true);
        let private: Vec<&str> = private.map(|one| one["value"].as_str().unwrap()).collect();
        ensure!(private == expected, "{list}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_endpoints_are_told_by_the_agent_and_stay_whoever_keeps_the_books() {
    let place = Place::found().await;
    let [hanna, ivan] = place.debt(["hanna", "ivan"], [true, false]).await;
    let wallet = hanna.wallet();
    let add = ["endpoint", "add", "usd-cash-hand", "at the door"];
    let add = [&add[..], &["--for", "ivan", "--max", "20"]].concat();
    wallet.ok(&add).await.unwrap();
    assert_eq!(stage(&hanna).await, "kept");
    sees(&ivan, &hanna, &["at the door"]).await;
    let own = ["endpoint", "list", "--for", "ivan"];
    let told = wallet.ok(&own).await.unwrap();
    expect(&told, "/endpoints/0/max", "20").unwrap();
    // Said twice it is signed once.
    wallet.ok(&add).await.unwrap();
    let log = wallet.ok(&["agent", "log"]).await.unwrap();
    let items = log["items"].as_array().unwrap().iter();
    let signed = items.filter(|item| item["what"] == "endpoints").count();
    assert_eq!(signed, 1, "{log}");

    // The books come back, more is told from here, and the agent gets them again.
    wallet.ok(&["agent", "take-back", "ivan"]).await.unwrap();
    sees(&ivan, &hanna, &["at the door"]).await;
    let garden = ["endpoint", "add", "usd-cash-hand", "in the garden", "--for"];
    let garden = [&garden[..], &["ivan"]].concat();
    wallet.ok(&garden).await.unwrap();
    sees(&ivan, &hanna, &["at the door", "in the garden"]).await;
    engage(&hanna, &[], &[&ivan]).await;
    sees(&ivan, &hanna, &["at the door", "in the garden"]).await;
    let gone = ["endpoint", "remove", "usd-cash-hand", "--at", "at the door"];
    let gone = wallet.ok(&[&gone[..], &["--for", "ivan"]].concat()).await;
    expect(&gone.unwrap(), "/removed", true).unwrap();
    sees(&ivan, &hanna, &["in the garden"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_called_debt_falls_and_a_friend_is_blocked_and_removed_with_books_at_an_agent() {
    let place = Place::found().await;
    let [hanna, ivan] = place.debt(["hanna", "ivan"], [true, false]).await;
    let wallet = hanna.wallet();
    let rule = ["call", "add", "ivan", "--over", "5.00 USD/2"];
    wallet.ok(&rule).await.unwrap();
    let name = wait::until("the debt to be called", || async {
        hanna.sync().await?;
        let list = wallet.ok(&["request", "list"]).await?;
        string(&list, "/requests/0/request")
    })
    .await
    .unwrap();
    let cash = ["request", "received", &name, "16.00 USD/2"];
    wallet.ok(&cash).await.unwrap();
    until_kept(&hanna, &ivan).await;
    until_owed(&hanna, &ivan, USD, 400).await.unwrap();

    let lets = async |minor: &str| {
        wait::until("a credit line", || async {
            ivan.sync().await?;
            hanna.sync().await?;
            expect(&ivan.account(&hanna, USD).await?, "/line_for_me", minor)
        })
        .await
        .unwrap();
    };
    wallet.ok(&["block", "ivan"]).await.unwrap();
    lets("0").await;
    let unblock = ["unblock", "ivan"];
    wallet.ok(&unblock).await.unwrap();
    lets("5000").await;
    until_kept(&hanna, &ivan).await;
    let owed = wallet.fails(3, &["friend", "remove", "ivan"]).await;
    expect(&owed.unwrap(), "/code", "not_settled").unwrap();
    until_kept(&hanna, &ivan).await;
    let remove = ["friend", "remove", "ivan", "--force"];
    wallet.ok(&remove).await.unwrap();
    let status = wallet.ok(&["agent", "status"]).await.unwrap();
    assert_eq!(status["peers"].as_array().unwrap().len(), 0, "{status}");
}
