//! A log lies, or dies, while the phone is off: the agent takes nothing new on it, and what hung on it is decided as the wallet would.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use atomicity_e2e::log::LogReader;
use atomicity_e2e::lying_log::{LyingLog, Story};
use atomicity_e2e::people::{Person, expect, string};
use atomicity_e2e::promises::{introduce_liar, new_secret, promise, standing};
use atomicity_e2e::town::until_owed;
use atomicity_e2e::wait;
use atomicity_ledger::{PolicyHash, Preimage};
use serde_json::Value;

use super::{Place, engage};
use crate::common::{BREAD, friends};

/// Waits until `from` sees that the promise has reached whom it was given to.
async fn arrived(from: &Person, name: &str) {
    wait::until("the promise to be acknowledged", || async {
        from.sync().await?;
        let list = from.wallet().ok(&["promises"]).await?;
        let all = list.pointer("/promises").and_then(Value::as_array);
        let mut all = all.context("no promises")?.iter();
        let one = all.find(|one| one["promise"] == name);
        expect(one.context("it is gone")?, "/acknowledged", true)
    })
    .await
    .unwrap();
}

/// Waits until the promise was given up to `from`, and says why.
async fn given_up(from: &Person, name: &str) -> String {
    wait::until("the promise to be given up", || async {
        from.sync().await?;
        let stands = standing(from, name).await?;
        ensure!(["released", "gone"].contains(&stands.as_str()), "{stands}");
        Ok(())
    })
    .await
    .unwrap();
    let history = from.wallet().ok(&["history"]).await.unwrap();
    let mut items = history["items"].as_array().unwrap().iter();
    let item = items.find(|item| item["kind"] == "released").unwrap();
    string(item, "/note").unwrap()
}

async fn can_pay(person: &Person, other: &Person) -> String {
    let line = person.account(other, BREAD).await.unwrap();
    string(&line, "/can_issue").unwrap()
}

/// The verdicts of the plugin that keeps the books.
async fn verdicts(place: &Place) -> Result<usize> {
    let url = format!("{}/watchtower/verdicts", place.agents.plugin.http_url());
    let page: Value = reqwest::get(url).await?.json().await?;
    Ok(page["items"].as_array().context("no items")?.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_log_dies_the_agent_ends_what_hung_on_it() {
    let mut place = Place::found_with(None, 20, None).await;
    let [anna, ben, carl] = place.chain().await;
    engage(&ben, &[], &[&anna, &carl]).await;
    // Ben's phone is off from here on.
    let hash = new_secret(&carl).await.unwrap();
    let terms = (hash.as_str(), place.log.origin(), 110);
    let name = promise(&anna, &ben, "2.00 BREAD/2", terms).await.unwrap();
    arrived(&anna, &name).await;
    assert_eq!(can_pay(&anna, &ben).await, "1800");
    place.log.log.plugin.kill().await.unwrap();
    given_up(&anna, &name).await;
    assert_eq!(can_pay(&anna, &ben).await, "2000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_takes_nothing_new_on_a_log_that_was_caught_and_loses_nothing_old() {
    let liar = LyingLog::start("liar.example/log").await.unwrap();
    let origin = liar.vkey().name().to_owned();
    let mut one = Story::default();
    one.tick().unwrap();
    liar.tell(&one).unwrap();
    let place = Place::found_with(None, 3600, Some(&liar)).await;
    let anna = place.person("anna", &place.other).await;
    let ben = place.person("ben", &place.agents).await;
    for person in [&anna, &ben] {
        introduce_liar(&place.world, person, &liar).await.unwrap();
    }
    friends(&anna, &ben).await;
    engage(&ben, &[], &[&anna]).await;

    // Ben's phone is off from here on. As long as nothing is proven, the log is as good as any.
    let secret = Preimage::from_bytes([7; 32]);
    let hash = secret.hash().to_string();
    let old = promise(&anna, &ben, "1.00 BREAD/2", (&hash, &origin, 110));
    let old = old.await.unwrap();
    arrived(&anna, &old).await;

    // It shows the plugin one history, and Anna another one of the same size.
    let mut other = one.clone();
    one.preimage([1; 32]).unwrap();
    other.preimage([2; 32]).unwrap();
    for story in [&mut one, &mut other] {
        story.tick().unwrap();
    }
    liar.tell(&one).unwrap();
    let name = PolicyHash::of(&origin);
    let mirror = LogReader::new(&format!("{}/mirror/{name}", place.agents.plugin.http_url()));
    wait::until("the plugin to have read it", || async {
        ensure!(mirror.checkpoint().await?.checkpoint().size == one.size());
        Ok(())
    })
    .await
    .unwrap();
    liar.set_silent(true);
    let face = liar.sign(&other).unwrap();
    let url = format!("{}/watchtower/checkpoints", place.agents.plugin.http_url());
    let body = serde_json::json!({"notes": [face.to_string()]});
    let told = reqwest::Client::new().post(url).json(&body).send().await;
    assert!(told.unwrap().status().is_success());
    wait::until("a verdict", || async {
        ensure!(verdicts(&place).await? > 0, "none yet");
        Ok(())
    })
    .await
    .unwrap();
    // The agent looks at its logs four times a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    liar.set_silent(false);
    liar.tell(&other).unwrap();
    let new = promise(&anna, &ben, "0.50 BREAD/2", (&hash, &origin, 100));
    let new = new.await.unwrap();
    let why = given_up(&anna, &new).await;
    assert!(why.contains("not relied on"), "{why}");
    assert_eq!(standing(&anna, &old).await.unwrap(), "undecided");

    // What hung on it before is decided by what the plugin was shown.
    one.preimage([7; 32]).unwrap();
    one.tick().unwrap();
    liar.tell(&one).unwrap();
    wait::until("the promise to be booked", || async {
        anna.sync().await?;
        expect(&anna.account(&ben, BREAD).await?, "/net", "-100")
    })
    .await
    .unwrap();
    ben.sync().await.unwrap();
    until_owed(&ben, &anna, BREAD, 100).await.unwrap();
}
