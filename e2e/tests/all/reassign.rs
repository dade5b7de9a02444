//! A claim is handed on: who owed one person owes another, all or nothing.

use atomicity_e2e::people::{Person, amount, expect};
use atomicity_e2e::town::{Town, befriend, invoice, live, pass_on, read_news, until_owed};

use crate::common::BREAD;

/// Ben is owed 8.00 by Anna; Carl knows Anna, and lets her owe 20.00 to him.
async fn people(town: &Town) -> [Person; 3] {
    let anna = town.person("anna", 0).await.unwrap();
    let ben = town.person("ben", 0).await.unwrap();
    let carl = town.person("carl", 1).await.unwrap();
    befriend(&anna, &ben, "20.00 BREAD/2").await.unwrap();
    befriend(&anna, &carl, "20.00 BREAD/2").await.unwrap();
    let owes = ["issue", "ben", "8.00 BREAD/2"];
    anna.wallet().ok(&owes).await.unwrap();
    read_news(&anna, &ben).await.unwrap();
    [anna, ben, carl]
}

async fn net(one: &Person, other: &Person) -> i64 {
    let account = one.account(other, BREAD).await.unwrap();
    amount(&account, "/net").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_friend_owes_is_handed_on_whole_or_not_at_all() {
    let town = Town::found(BREAD).await.unwrap();
    let [anna, ben, carl] = people(&town).await;
    assert_eq!(net(&ben, &anna).await, 800);
    let anna_runs = live(&anna).await.unwrap();
    let carl_runs = live(&carl).await.unwrap();
    let (link, _) = invoice(&carl, "5.00 BREAD/2", "what I owe you")
        .await
        .unwrap();
    let wallet = ben.wallet();

    // Anna has not said that she passes anything on: nothing happens.
    let give = ["reassign", "anna", &link];
    let unasked = wallet.fails(3, &give).await.unwrap();
    assert_eq!(unasked["code"], "no_route", "{unasked}");
    assert_eq!(net(&ben, &anna).await, 800);

    pass_on(&anna, BREAD, "0.01").await.unwrap();
    // She can't be made to owe more than she owes, nor be handed to herself.
    let (more, _) = invoice(&carl, "8.00 BREAD/2", "too much").await.unwrap();
    let much = wallet.fails(3, &["reassign", "anna", &more]).await.unwrap();
    assert_eq!(much["code"], "claim_too_small", "{much}");
    let (own, _) = invoice(&anna, "1.00 BREAD/2", "her own").await.unwrap();
    let herself = wallet.fails(2, &["reassign", "anna", &own]).await.unwrap();
    assert!(herself.to_string().contains("who owes it"), "{herself}");

    // 5.00, and for Anna 0.01 and a thousandth, rounded up.
    let dry = wallet
        .ok(&["reassign", "anna", &link, "--dry-run"])
        .await
        .unwrap();
    expect(&dry, "/fee", "2").unwrap();
    expect(&dry, "/promised", "502").unwrap();
    assert_eq!(net(&ben, &anna).await, 800);
    let done = wallet.ok(&give).await.unwrap();
    expect(&done, "/kind", "reassigned").unwrap();
    expect(&done, "/state", "paid").unwrap();
    until_owed(&carl, &anna, BREAD, 500).await.unwrap();
    read_news(&ben, &anna).await.unwrap();
    until_owed(&ben, &anna, BREAD, 298).await.unwrap();

    // Carl takes no more from Anna than he wants: she says no, and nothing has changed.
    anna_runs.stop().await.unwrap();
    carl.trust(&anna, "5.00 BREAD/2").await.unwrap();
    let (late, _) = invoice(&carl, "2.00 BREAD/2", "too late").await.unwrap();
    read_news(&anna, &carl).await.unwrap();
    let anna_runs = live(&anna).await.unwrap();
    let refused = wallet.fails(3, &["reassign", "anna", &late]).await.unwrap();
    let known = ["not_through", "no_route"];
    assert!(
        known.iter().any(|code| refused["code"] == *code),
        "{refused}"
    );
    read_news(&ben, &anna).await.unwrap();
    until_owed(&ben, &anna, BREAD, 298).await.unwrap();
    until_owed(&carl, &anna, BREAD, 500).await.unwrap();
    for running in [anna_runs, carl_runs] {
        running.stop().await.unwrap();
    }
}
