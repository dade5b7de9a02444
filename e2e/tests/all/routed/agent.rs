//! An agent at the plugin, engaged and followed by the program `atomicity`: phones that are off, limits, revocation, crashes, loss.

mod adverts;
mod logs;
mod payee;
mod rules;
mod settling;

use std::process::Stdio;

use anyhow::ensure;
use atomicity_e2e::guard::entry;
use atomicity_e2e::lying_log::LyingLog;
use atomicity_e2e::people::{Person, Site, expect, string};
use atomicity_e2e::postgres::{Database, OwnServer};
use atomicity_e2e::promises::Cosigned;
use atomicity_e2e::town::{self, invoice, live, over, pass_on, settle_at, until_known, until_owed};
use atomicity_e2e::{World, wait};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::common::{BREAD, friends, settle};

/// Two homeservers; the plugin beside the first keeps books, and mirrors the log on which all rely.
pub(crate) struct Place {
    log: Cosigned,
    pub(crate) agents: Site,
    pub(crate) other: Site,
    world: World,
}

impl Place {
    pub(crate) async fn found() -> Self {
        Self::found_with(None, 3600, None).await
    }

    /// The plugin with the agents has its database on a server of its own, which can be crashed; the log is dead after so many seconds
    /// of silence; and the plugin watches another log, which lies.
    async fn found_with(
        server: Option<&OwnServer>,
        dead_after_s: u64,
        liar: Option<&LyingLog>,
    ) -> Self {
        let world = World::start().await.unwrap();
        let log = Cosigned::start(&world, "log", dead_after_s).await.unwrap();
        let homeserver = world.homeserver("h1").await.unwrap();
        let mut options = world.plugin_options("agents", &homeserver).await.unwrap();
        if let Some(server) = server {
            let database = Database::create_on(server.url(), "agents").await.unwrap();
            options.database_url = database.url().to_string();
            options.owned_database = Some(database);
        }
        options.more.extend(town::agent_settings(&log));
        if let Some(liar) = liar {
            let watched = [
                entry(&log.log.key, &log.url()),
                entry(&liar.vkey(), liar.url()),
            ];
            let watched = format!("watchtower.logs=[{}]", watched.join(","));
            options.more.push(watched);
        }
        let plugin = world.plugin_with("agents", options).await.unwrap();
        let agents = Site { homeserver, plugin };
        let other = Site::open(&world, "h2").await.unwrap();
        Self {
            log,
            agents,
            other,
            world,
        }
    }

    pub(crate) async fn person(&self, name: &str, site: &Site) -> Person {
        let person = settle_at(&self.world, name, (site, BREAD), &self.log).await;
        person.unwrap()
    }

    /// Anna, Ben and Carl: each lets the next owe 20.00, and the other way round. Ben can have an agent, and passes on.
    async fn chain(&self) -> [Person; 3] {
        let anna = self.person("anna", &self.other).await;
        let ben = self.person("ben", &self.agents).await;
        let carl = self.person("carl", &self.other).await;
        friends(&anna, &ben).await;
        friends(&ben, &carl).await;
        pass_on(&ben, BREAD, "0.01").await.unwrap();
        [anna, ben, carl]
    }
}

/// Lets an agent keep all books, and waits until it does and the friends know.
pub(crate) async fn engage(person: &Person, more: &[&str], with: &[&Person]) -> Value {
    town::engage(person, more, with).await.unwrap()
}

/// A running `agent events`.
struct Following {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Following {
    async fn start(person: &Person) -> Self {
        let mut command = person.wallet().command(&["--json", "agent", "events"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut following = Self {
            _child: child,
            lines,
        };
        following.until(|event| event["event"] == "ready").await;
        following
    }

    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) {
        let read = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if wanted(&serde_json::from_str(&line).unwrap()) {
                    return;
                }
            }
            panic!("it ended");
        };
        tokio::time::timeout(wait::PATIENCE, read).await.unwrap();
    }
}

/// What the agent signed, by kind.
async fn signed(person: &Person) -> Vec<String> {
    let log = person.wallet().ok(&["agent", "log"]).await.unwrap();
    let items = log["items"].as_array().unwrap().iter();
    items.map(|item| string(item, "/what").unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_passes_through_the_agent_of_somebody_whose_phone_is_off() {
    let place = Place::found().await;
    let [anna, ben, carl] = place.chain().await;
    engage(&ben, &[], &[&anna, &carl]).await;

    // Ben's phone is off from here on: none of his processes runs.
    let carl_runs = live(&carl).await.unwrap();
    let (link, _) = invoice(&carl, "5.00 BREAD/2", "bread").await.unwrap();
    let along = over(&[&ben, &carl]);
    let pay = ["pay", &link, "--along", &along];
    let paid = anna.wallet().ok(&pay).await.unwrap();
    expect(&paid, "/state", "paid").unwrap();
    expect(&paid, "/fee", "2").unwrap();
    let given = anna.give(&ben, "1.00 BREAD/2", "for the flour").await;
    given.unwrap();

    // He comes back, and sees what was done for him: balances, fee, history, every signature.
    drop(carl_runs);
    wait::until("Ben to see it", || async {
        ben.sync().await?;
        expect(&ben.account(&anna, BREAD).await?, "/net", "602")?;
        expect(&ben.account(&carl, BREAD).await?, "/net", "-500")
    })
    .await
    .unwrap();
    let history = ben.wallet().ok(&["history"]).await.unwrap();
    assert!(history.to_string().contains("for the flour"), "{history}");
    let mut items = history["items"].as_array().unwrap().iter();
    let fee = items.find(|item| item["kind"] == "forwarded");
    expect(fee.unwrap(), "/amount", "2").unwrap();
    let kinds = signed(&ben).await;
    for kind in ["credit_line", "promise", "ack", "state"] {
        assert!(kinds.iter().any(|known| known == kind), "{kinds:?}");
    }

    // Through the agent he pays, sets limits, and takes his books back.
    let given = ben.give(&carl, "2.00 BREAD/2", "for the ride").await;
    expect(&given.unwrap(), "/delivery", "agent").unwrap();
    ben.trust(&anna, "30.00 BREAD/2").await.unwrap();
    wait::until("Carl and Anna to hear of it", || async {
        settle(&anna, &carl).await;
        expect(&carl.account(&ben, BREAD).await?, "/net", "700")?;
        expect(&anna.account(&ben, BREAD).await?, "/line_for_me", "3000")
    })
    .await
    .unwrap();
    let off = ben.wallet().ok(&["agent", "off"]).await.unwrap();
    expect(&off, "/ended", true).unwrap();
    let nobody = ben.wallet().fails(2, &["agent", "status"]).await.unwrap();
    assert_eq!(nobody["code"], "no_agent", "{nobody}");
    settle(&ben, &anna).await;
    settle(&ben, &carl).await;
    ben.give(&carl, "1.00 BREAD/2", "by hand").await.unwrap();
    settle(&carl, &ben).await;
    until_owed(&carl, &ben, BREAD, 800).await.unwrap();
    until_owed(&ben, &anna, BREAD, 602).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_enforced_and_a_revocation_ends_it_at_once() {
    let place = Place::found().await;
    let [anna, ben, carl] = place.chain().await;
    let limits = [
        "--limit",
        "4.00 BREAD",
        "--per-day",
        "6.00 BREAD",
        "--until",
        "1h",
    ];
    let on = engage(&ben, &limits, &[&anna, &carl]).await;
    expect(&on, "/limits/0/per_peer", "400").unwrap();
    expect(&on, "/limits/0/per_day", "600").unwrap();

    // Over the limit to one friend, and over that of the day.
    let wallet = ben.wallet();
    let much = ["issue", "carl", "4.01 BREAD/2"];
    let much = wallet.fails(3, &much).await.unwrap();
    assert_eq!(much["code"], "limit_exceeded", "{much}");
    expect(&much, "/limit/available", "400").unwrap();
    ben.give(&carl, "4.00 BREAD/2", "bread").await.unwrap();
    let day = ["issue", "anna", "2.01 BREAD/2"];
    let day = wallet.fails(3, &day).await.unwrap();
    assert_eq!(day["code"], "day_limit_exceeded", "{day}");
    ben.give(&anna, "2.00 BREAD/2", "bread").await.unwrap();
    for friend in [&anna, &carl] {
        settle(friend, friend).await;
    }
    until_owed(&carl, &ben, BREAD, 400).await.unwrap();
    until_owed(&anna, &ben, BREAD, 200).await.unwrap();

    // Whoever watches hears it from the agent.
    let mut watching = live(&ben).await.unwrap();
    carl.give(&ben, "1.00 BREAD/2", "a tip").await.unwrap();
    let tip = |event: &Value| event["event"] == "payment" && event["memo"] == "a tip";
    watching.next("the tip", tip).await.unwrap();
    // Whichever process takes an event tells it: one at a time.
    drop(watching);
    let mut following = Following::start(&ben).await;
    anna.give(&ben, "0.50 BREAD/2", "as well").await.unwrap();
    let well = |event: &Value| event["event"] == "payment" && event["memo"] == "as well";
    following.until(well).await;
    drop(following);

    // At once: nothing is asked of it any more, and nothing that it would sign counts.
    let ended = wallet.ok(&["agent", "revoke"]).await.unwrap();
    expect(&ended, "/ended", true).unwrap();
    expect(&ended, "/friends/0/by", "root").unwrap();
    wait::until("the friends to accept the new epoch", || async {
        for friend in [&anna, &carl] {
            friend.sync().await?;
        }
        ben.sync().await?;
        ben.wallet().ok(&["issue", "carl", "1.00 BREAD/2"]).await
    })
    .await
    .unwrap();
    settle(&carl, &ben).await;
    until_owed(&carl, &ben, BREAD, 400).await.unwrap();
    until_owed(&anna, &ben, BREAD, 150).await.unwrap();
    carl.give(&ben, "0.50 BREAD/2", "bread").await.unwrap();
    settle(&ben, &carl).await;
    until_owed(&carl, &ben, BREAD, 350).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_on_the_way_nothing_is_lost() {
    let mut place = Place::found().await;
    let [anna, ben, carl] = place.chain().await;
    anna.give(&ben, "3.00 BREAD/2", "before").await.unwrap();
    settle(&ben, &anna).await;

    // The wallet dies while books are on their way: at different times, with the plugin or without it.
    for millis in [30, 90, 200, 400] {
        let on = ["agent", "on", "--until", "2h"];
        let mut on = ben.wallet().command(&on).spawn().unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
        on.kill().await.unwrap();
    }
    place.agents.plugin.kill().await.unwrap();
    let on = ["agent", "on", "--until", "2h"];
    let away = ben.wallet().fails(4, &on).await.unwrap();
    assert_eq!(away["code"], "agent_away", "{away}");
    place.agents.plugin.launch().unwrap();
    let on = ["agent", "on", "--until", "2h"];
    wait::until("the agent to have all books", || async {
        let on = ben.wallet().ok(&on).await?;
        let kept = |pair: &Value| pair["stage"] == "kept";
        ensure!(on["peers"].as_array().unwrap().iter().all(kept), "{on}");
        ensure!(on["peers"].as_array().unwrap().len() == 2, "{on}");
        Ok(())
    })
    .await
    .unwrap();
    until_known(&ben, &[&anna, &carl]).await.unwrap();

    // The plugin dies while a payment passes through it.
    let _carl_runs = live(&carl).await.unwrap();
    let (link, _) = invoice(&carl, "5.00 BREAD/2", "bread").await.unwrap();
    let along = over(&[&ben, &carl]);
    let pay = ["pay", &link, "--along", &along, "--deadline", "100s"];
    let mut payer = anna.wallet().command(&pay).spawn().unwrap();
    for millis in [150, 400] {
        tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
        place.agents.plugin.kill().await.unwrap();
        place.agents.plugin.start().await.unwrap();
    }
    payer.wait().await.unwrap();
    wait::until("the payment to be made", || async {
        anna.sync().await?;
        let list = anna.wallet().ok(&["payments"]).await?;
        expect(&list, "/payments/0/state", "paid")
    })
    .await
    .unwrap();
    wait::until("all to agree", || async {
        for person in [&anna, &ben, &carl] {
            person.sync().await?;
        }
        expect(&ben.account(&anna, BREAD).await?, "/net", "802")?;
        expect(&carl.account(&ben, BREAD).await?, "/net", "500")
    })
    .await
    .unwrap();

    // While it is away nothing is done in its stead, and the words say so.
    place.agents.plugin.kill().await.unwrap();
    let give = ["issue", "carl", "1.00 BREAD/2"];
    let away = ben.wallet().fails(4, &give).await.unwrap();
    assert_eq!(away["code"], "agent_away", "{away}");
    let take = ben.wallet().fails(4, &["agent", "take-back"]).await;
    assert_eq!(take.unwrap()["code"], "agent_away");

    // Gone for good: the books are taken over in a new epoch, from what is left.
    let off = ben.wallet().ok(&["agent", "off", "--force"]).await.unwrap();
    expect(&off, "/ended", true).unwrap();
    wait::until("the friends to accept the new epoch", || async {
        for person in [&anna, &carl, &ben] {
            person.sync().await?;
        }
        ben.wallet().ok(&["issue", "carl", "1.00 BREAD/2"]).await
    })
    .await
    .unwrap();
    settle(&carl, &ben).await;
    settle(&anna, &ben).await;
    until_owed(&carl, &ben, BREAD, 600).await.unwrap();
    until_owed(&ben, &anna, BREAD, 802).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_whose_books_are_with_an_agent_pays_strangers_through_it() {
    let place = Place::found().await;
    let anna = place.person("anna", &place.agents).await;
    let ben = place.person("ben", &place.other).await;
    let carl = place.person("carl", &place.other).await;
    friends(&anna, &ben).await;
    friends(&ben, &carl).await;
    pass_on(&ben, BREAD, "0.01").await.unwrap();
    engage(&anna, &[], &[&ben]).await;

    let _running = [live(&ben).await.unwrap(), live(&carl).await.unwrap()];
    let along = over(&[&ben, &carl]);
    let (link, _) = invoice(&carl, "5.00 BREAD/2", "bread").await.unwrap();
    let pay = ["pay", &link, "--along", &along];
    let paid = anna.wallet().ok(&pay).await.unwrap();
    expect(&paid, "/state", "paid").unwrap();
    expect(&paid, "/fee", "2").unwrap();
    let payment = string(&paid, "/payment").unwrap();
    let receipt = anna.wallet().ok(&["receipt", &payment]).await.unwrap();
    assert!(receipt["proof"]["proof"].is_string(), "{receipt}");
    // Her wallet holds a copy of the agent's books, as of when it last read the news.
    wait::until("both to show what was booked", || async {
        anna.sync().await?;
        expect(&anna.account(&ben, BREAD).await?, "/net", "-502")?;
        expect(&ben.account(&anna, BREAD).await?, "/net", "502")
    })
    .await
    .unwrap();

    // What a hop says no to comes back through the agent: nothing is owed, and the edge is named.
    let (link, _) = invoice(&carl, "16.00 BREAD/2", "a cake").await.unwrap();
    let pay = ["pay", &link, "--along", &along, "--deadline", "25s"];
    let failed = anna.wallet().fails(3, &pay).await.unwrap();
    let known = ["not_through", "too_narrow", "no_first_hop"];
    assert!(known.iter().any(|code| failed["code"] == *code), "{failed}");
    let (link, _) = invoice(&carl, "14.00 BREAD/2", "a cake").await.unwrap();
    carl.trust(&ben, "6.00 BREAD/2").await.unwrap();
    let pay = ["pay", &link, "--along", &along, "--deadline", "40s"];
    wait::until("the hop to know its limit", || async {
        expect(&ben.account(&carl, BREAD).await?, "/line_for_me", "600")
    })
    .await
    .unwrap();
    let failed = anna.wallet().fails(3, &pay).await.unwrap();
    assert_eq!(failed["code"], "not_through", "{failed}");
    wait::until("the credit to be free again", || async {
        anna.sync().await?;
        expect(&anna.account(&ben, BREAD).await?, "/can_issue", "1498")
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_killed_and_comes_back_and_the_books_are_as_they_were() {
    let server = OwnServer::start().await.unwrap();
    let place = Place::found_with(Some(&server), 3600, None).await;
    let [anna, ben, carl] = place.chain().await;
    engage(&ben, &[], &[&anna, &carl]).await;
    ben.give(&carl, "2.00 BREAD/2", "before").await.unwrap();

    // In the middle of a payment through the agent.
    let _carl_runs = live(&carl).await.unwrap();
    let (link, _) = invoice(&carl, "5.00 BREAD/2", "bread").await.unwrap();
    let along = over(&[&ben, &carl]);
    let pay = ["pay", &link, "--along", &along, "--deadline", "100s"];
    let mut payer = anna.wallet().command(&pay).spawn().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    server.crash().await.unwrap();
    let away = ben.wallet().run(&["issue", "carl", "1.00 BREAD/2"]).await;
    let away = away.unwrap();
    assert_ne!(away.code, Some(0), "{away}");
    let code = away.json().unwrap()["error"]["code"].clone();
    assert_eq!(code, "agent_away", "{away}");
    server.restart().await.unwrap();
    payer.wait().await.unwrap();
    wait::until("all to agree, without a hand", || async {
        for person in [&anna, &ben, &carl] {
            person.sync().await?;
        }
        expect(&anna.account(&ben, BREAD).await?, "/net", "-502")?;
        expect(&ben.account(&anna, BREAD).await?, "/net", "502")?;
        expect(&carl.account(&ben, BREAD).await?, "/net", "700")?;
        expect(&ben.account(&carl, BREAD).await?, "/net", "-700")
    })
    .await
    .unwrap();
    let off = ben.wallet().ok(&["agent", "off"]).await.unwrap();
    expect(&off, "/ended", true).unwrap();
}
