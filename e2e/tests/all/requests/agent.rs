//! What recurs is paid by the agent while the phone is off, and each turn once, whoever asks for it.

use anyhow::ensure;
use atomicity_e2e::people::{Person, expect};
use atomicity_e2e::town::{live, until_owed};
use atomicity_e2e::wait;
use serde_json::Value;

use super::{ask, day_before, shown, stages, until_filled};
use crate::common::{BREAD, friends};
use crate::routed::agent::{Place, engage};

/// Paula, and Sam, whose agent keeps the books with her.
async fn neighbours(place: &Place) -> [Person; 2] {
    let paula = place.person("paula", &place.other).await;
    let sam = place.person("sam", &place.agents).await;
    friends(&paula, &sam).await;
    engage(&sam, &[], &[&paula]).await;
    [paula, sam]
}

/// Paula asks for 1.00 a day, so often, the first time so many days ago.
async fn rent(paula: &Person, ago: u64, count: &str) -> (String, String) {
    let day = day_before(ago);
    let words = [
        "1.00 BREAD/2",
        "--to",
        "sam",
        "--every",
        "day",
        "--from",
        &day,
        "--count",
        count,
    ];
    ask(paula, &words).await
}

/// Sam approves it.
async fn approve(sam: &Person, link: &str) -> Value {
    let words = ["request", "approve", link, "--up-to", "1.00 BREAD/2"];
    sam.wallet().ok(&words).await.unwrap()
}

/// The newest approval.
async fn approval(sam: &Person) -> Value {
    let all = sam.wallet().ok(&["request", "approvals"]).await.unwrap();
    all["approvals"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_are_paid_while_the_phone_is_off_and_over_a_plugin_that_was_killed() {
    let mut place = Place::found().await;
    let [paula, sam] = neighbours(&place).await;
    let (link, name) = rent(&paula, 2, "3").await;
    let approved = approve(&sam, &link).await;
    expect(&approved, "/place", "agent").unwrap();
    // From here on Sam's phone is off. The plugin dies before Paula has read what it asks.
    place.agents.plugin.kill().await.unwrap();
    place.agents.plugin.start().await.unwrap();
    let paula_runs = live(&paula).await.unwrap();
    let filled = until_filled(&paula, &name, 300, 0, false).await;
    assert_eq!(stages(&filled), ["paid", "paid", "paid"]);
    let owed = paula.account(&sam, BREAD).await.unwrap();
    expect(&owed, "/net", "300").unwrap();

    // On again, it tells what was paid, once, and that there is no more.
    let sam_runs = live(&sam).await.unwrap();
    // What it finds at its start it tells before it is ready.
    let told = sam_runs.events();
    let paid: Vec<&Value> = told.iter().filter(|e| e["event"] == "part_paid").collect();
    assert_eq!(paid.len(), 3, "{told:?}");
    for (turn, paid) in paid.iter().enumerate() {
        expect(paid, "/turn", turn).unwrap();
        expect(paid, "/amount", "100").unwrap();
        expect(paid, "/user", paula.key()).unwrap();
    }
    wait::until("the approval to be over", || async {
        let all = sam.wallet().ok(&["request", "approvals"]).await?;
        expect(&all, "/approvals/0/active", false)?;
        expect(&all, "/approvals/0/place", "here")?;
        ensure!(
            all["approvals"][0]["turns"] == serde_json::json!([0, 1, 2]),
            "{all}"
        );
        Ok(())
    })
    .await
    .unwrap();
    let seen = shown(&sam, &link).await;
    assert_eq!(stages(&seen), ["paid", "paid", "paid"]);
    let history = sam.wallet().ok(&["history"]).await.unwrap();
    let items = history["items"].as_array().unwrap();
    let paid = items.iter().filter(|item| item["kind"] == "payment");
    assert_eq!(paid.count(), 3, "{history}");
    until_owed(&paula, &sam, BREAD, 300).await.unwrap();
    sam_runs.stop().await.unwrap();
    paula_runs.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_is_paid_by_nobody() {
    let place = Place::found().await;
    let [paula, sam] = neighbours(&place).await;
    let (link, name) = rent(&paula, 1, "5").await;
    expect(&approve(&sam, &link).await, "/place", "agent").unwrap();
    // By hand neither, as long as the agent pays it.
    let by_hand = ["request", "pay", &link];
    let refused = sam.wallet().fails(3, &by_hand).await.unwrap();
    expect(&refused, "/code", "agent_pays").unwrap();
    let revoked = ["request", "revoke", &link];
    let revoked = sam.wallet().ok(&revoked).await.unwrap();
    expect(&revoked, "/active", false).unwrap();
    expect(&revoked, "/place", "here").unwrap();
    // The agent had asked: Paula keeps a part for it, and gets nothing.
    let paula_runs = live(&paula).await.unwrap();
    sam.give(&paula, "0.07 BREAD/2", "a roll").await.unwrap();
    until_owed(&paula, &sam, BREAD, 7).await.unwrap();
    expect(&shown(&paula, &name).await, "/filled", "0").unwrap();
    expect(&approval(&sam).await, "/active", false).unwrap();
    paula_runs.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_that_come_home_are_paid_on_by_the_wallet_and_no_turn_twice() {
    let place = Place::found().await;
    let [paula, sam] = neighbours(&place).await;
    let (link, name) = rent(&paula, 2, "3").await;
    expect(&approve(&sam, &link).await, "/place", "agent").unwrap();
    // The agent has asked for the first turn when the books are taken back; so does the wallet.
    sam.wallet().ok(&["agent", "off"]).await.unwrap();
    expect(&approval(&sam).await, "/place", "here").unwrap();
    let running = [live(&paula).await.unwrap(), live(&sam).await.unwrap()];
    let filled = until_filled(&paula, &name, 300, 0, false).await;
    assert_eq!(stages(&filled), ["paid", "paid", "paid"]);
    until_owed(&paula, &sam, BREAD, 300).await.unwrap();
    wait::until("the wallet to have noted it", || async {
        let all = sam.wallet().ok(&["request", "approvals"]).await?;
        let turns = all["approvals"][0]["turns"].to_string();
        ensure!(turns == "[0,1,2]", "{all}");
        Ok(())
    })
    .await
    .unwrap();
    for one in running {
        one.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payee_whose_books_are_with_an_agent_is_paid_too_and_the_limit_holds() {
    let place = Place::found().await;
    let paula = place.person("paula", &place.agents).await;
    let sam = place.person("sam", &place.agents).await;
    friends(&paula, &sam).await;
    engage(&paula, &[], &[&sam]).await;
    engage(&sam, &["--limit", "2.50 BREAD/2"], &[&paula]).await;
    let (link, name) = rent(&paula, 2, "3").await;
    expect(&approve(&sam, &link).await, "/place", "agent").unwrap();
    let paula_runs = live(&paula).await.unwrap();
    // Two turns fit below the limit that Sam gave his agent, the third waits.
    wait::until("two turns to be paid", || async {
        let now = paula.wallet().ok(&["request", "show", &name]).await?;
        expect(&now, "/filled", "200")
    })
    .await
    .unwrap();
    wait::until("the third to wait", || async {
        let all = sam.wallet().ok(&["request", "approvals"]).await?;
        expect(&all, "/approvals/0/why", "limit_exceeded")?;
        expect(&all, "/approvals/0/place", "agent")?;
        ensure!(
            all["approvals"][0]["turns"] == serde_json::json!([0, 1]),
            "{all}"
        );
        Ok(())
    })
    .await
    .unwrap();
    expect(&shown(&paula, &name).await, "/filled", "200").unwrap();
    paula_runs.stop().await.unwrap();
}
