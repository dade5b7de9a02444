//! Debts that a wallet calls in by itself.

use anyhow::ensure;
use atomicity_e2e::people::{expect, string};
use atomicity_e2e::town::{live, read_news, until_owed};
use atomicity_e2e::wait;

use super::{shown, until_filled};
use crate::common::BREAD;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_debt_that_is_too_large_is_called_once_until_it_is_settled() {
    let world = atomicity_e2e::World::start().await.unwrap();
    let (_site, milkman, baker) = crate::common::village(&world).await;
    let rule = [
        "call",
        "add",
        "milkman",
        "--over",
        "5.00 BREAD/2",
        "--or",
        "cash=at-the-door",
    ];
    baker.wallet().ok(&rule).await.unwrap();
    milkman.give(&baker, "5.00 BREAD/2", "milk").await.unwrap();
    read_news(&baker, &milkman).await.unwrap();
    let calls = || async {
        let list = baker.wallet().ok(&["request", "list"]).await.unwrap();
        list["requests"].as_array().unwrap().clone()
    };
    // Not above the bound yet.
    assert!(calls().await.is_empty());
    milkman
        .give(&baker, "1.00 BREAD/2", "more milk")
        .await
        .unwrap();
    for _ in 0..3 {
        read_news(&baker, &milkman).await.unwrap();
    }
    let all = calls().await;
    assert_eq!(all.len(), 1, "{all:?}");
    expect(&all[0], "/amount", "600").unwrap();
    expect(&all[0], "/calls_a_debt", true).unwrap();
    let name = string(&all[0], "/request").unwrap();
    let asked = shown(&milkman, &name).await;
    expect(&asked, "/or/0/value", "at-the-door").unwrap();

    // More of the same debt pays nothing off. Cash does, and the claim falls with the note.
    let baker_runs = live(&baker).await.unwrap();
    let refused = milkman.wallet().fails(3, &["request", "pay", &name]).await;
    expect(&refused.unwrap(), "/code", "request_closed").unwrap();
    baker_runs.stop().await.unwrap();
    let cash = ["request", "received", &name, "4.00 BREAD/2"];
    baker.wallet().ok(&cash).await.unwrap();
    read_news(&baker, &milkman).await.unwrap();
    until_owed(&baker, &milkman, BREAD, 200).await.unwrap();
    // No rule holds any more: it is closed, and called anew once one does.
    until_filled(&baker, &name, 400, 0, false).await;
    milkman.give(&baker, "4.00 BREAD/2", "cream").await.unwrap();
    for _ in 0..2 {
        read_news(&baker, &milkman).await.unwrap();
    }
    assert_eq!(calls().await.len(), 2);
    let refused = baker.wallet().fails(2, &["call", "remove", "9"]).await;
    expect(&refused.unwrap(), "/code", "rule_unknown").unwrap();
    baker.wallet().ok(&["call", "remove", "1"]).await.unwrap();

    // By age: it is owed for longer than a second by now, or will be.
    let rule = ["call", "add", "--all", "--after", "1s"];
    baker.wallet().ok(&rule).await.unwrap();
    wait::until("an old debt to be called", || async {
        baker.sync().await?;
        let open = calls().await;
        let open = open.iter().filter(|one| one["open"] == true).count();
        ensure!(open == 1, "{open} are open");
        Ok(())
    })
    .await
    .unwrap();
}
