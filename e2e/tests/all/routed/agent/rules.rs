//! Lines that rules about many gave over books that the agent keeps.

use atomicity_e2e::people::{Person, expect};
use atomicity_e2e::wait;

use super::{Place, engage};
use crate::common::BREAD;

/// Waits until `other` lets `who` owe so much, as far as `who` knows.
async fn until_allowed(who: &Person, other: &Person, minor: &str) {
    wait::until("a credit line", || async {
        who.sync().await?;
        expect(&who.account(other, BREAD).await?, "/line_for_me", minor)
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_by_rule_falls_with_the_word_of_a_friend_and_rises_with_it_while_the_phone_is_off() {
    let place = Place::found().await;
    let anna = place.person("anna", &place.other).await;
    let ben = place.person("ben", &place.agents).await;
    let xavier = place.person("xavier", &place.other).await;
    // Anna's judgement is trusted, with no credit of her own.
    ben.befriend(&anna).await.unwrap();
    let rule = [
        "rule",
        "add",
        "friend-of",
        "anna",
        "20",
        BREAD,
        "each",
        "--total",
        "30",
        BREAD,
    ];
    let rule = ben.wallet().ok(&rule).await.unwrap();
    let say = async |verdict: &str| {
        let rate = ["rate", xavier.key(), verdict, "--as", "user"];
        anna.wallet().ok(&rate).await.unwrap();
    };
    say("good").await;
    xavier.befriend(&ben).await.unwrap();
    xavier.sync().await.unwrap();
    ben.sync().await.unwrap();
    ben.wallet().ok(&["rule", "apply"]).await.unwrap();
    until_allowed(&xavier, &ben, "2000").await;
    engage(&ben, &[], &[&xavier]).await;

    // Ben's phone is off from here on.
    say("poor").await;
    until_allowed(&xavier, &ben, "0").await;
    say("good").await;
    until_allowed(&xavier, &ben, "2000").await;

    // It is on again, and the rule is taken back: the agent signs that too.
    ben.sync().await.unwrap();
    let id = rule["rule"].to_string();
    ben.wallet().ok(&["rule", "remove", &id]).await.unwrap();
    until_allowed(&xavier, &ben, "0").await;
    say("good").await;
    let off = ben.wallet().ok(&["agent", "off"]).await.unwrap();
    expect(&off, "/ended", true).unwrap();
    until_allowed(&xavier, &ben, "0").await;
}
