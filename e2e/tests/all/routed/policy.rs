//! Rules about people whom one did not add, on real parts: the word of a friend, caps, tags, follows, blocks.

use atomicity_e2e::people::{Person, expect, string};
use atomicity_e2e::town::{self, Town, over};
use atomicity_e2e::wait;
use serde_json::{Value, json};

use crate::common::put;

const USD: &str = "USD/2";

async fn found() -> Town {
    Town::found(USD).await.unwrap()
}

/// What `who`'s wallet lists of `other` among the friends.
async fn listed(who: &Person, other: &Person) -> Option<Value> {
    let list = who.wallet().ok(&["friend", "list"]).await.unwrap();
    let all = list["friends"].as_array().unwrap();
    all.iter().find(|one| one["user"] == other.key()).cloned()
}

/// Says hello: `who` adds `other`, who has not added them.
async fn say_hello(who: &Person, other: &Person) {
    who.befriend(other).await.unwrap();
    who.sync().await.unwrap();
}

/// The line that a rule gave `other`, in minor units.
async fn line(who: &Person, other: &Person) -> Option<String> {
    let one = listed(who, other).await?;
    string(&one, "/granted/0/line").ok()
}

async fn vouch(who: &Person, other: &Person) {
    let rate = ["rate", other.key(), "good", "--as", "user"];
    who.wallet().ok(&rate).await.unwrap();
}

/// `who` may owe `other` so much, as far as `who` knows.
async fn until_allowed(who: &Person, other: &Person, minor: &str) {
    wait::until("a credit line", || async {
        who.sync().await?;
        let sheet = who.wallet().ok(&["balance", other.name()]).await?;
        expect(&sheet, "/balances/0/line_for_me", minor)
    })
    .await
    .unwrap();
}

/// The concept's third example: a newcomer whose judgement I trust whitelists people whom I don't know. They may owe me up to 20 USD each,
/// and one of them buys a coffee through me from a shop that takes only what I can pay with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_a_friend_vouches_for_buys_a_coffee_over_me_until_the_cap_is_reached() {
    let town = found().await;
    let me = town.person("me", 0).await.unwrap();
    let nora = town.person("nora", 1).await.unwrap();
    let shop = town.person("shop", 1).await.unwrap();
    let mut guests = Vec::new();
    for name in ["xavier", "yara", "zoe"] {
        guests.push(town.person(name, 1).await.unwrap());
    }
    // Nora is a newcomer: her judgement is trusted, with no credit of her own.
    me.befriend(&nora).await.unwrap();
    // The shop gives credit to me only.
    shop.befriend(&me).await.unwrap();
    me.befriend(&shop).await.unwrap();
    shop.trust(&me, "50.00 USD/2").await.unwrap();
    town::read_news(&me, &shop).await.unwrap();
    town::pass_on(&me, USD, "0.01").await.unwrap();

    let rule = [
        "rule",
        "add",
        "friend-of",
        "nora",
        "20",
        USD,
        "each",
        "--total",
        "50",
        USD,
    ];
    let rule = me.wallet().ok(&rule).await.unwrap();
    expect(&rule, "/about", "friend of nora").unwrap();
    expect(&rule, "/per_friend", "5000").unwrap();
    let rule = rule["rule"].to_string();

    // Without Nora's word, Xavier is a stranger as any.
    let [xavier, yara, zoe] = &guests[..] else {
        panic!("three guests")
    };
    say_hello(xavier, &me).await;
    me.sync().await.unwrap();
    assert_eq!(listed(&me, xavier).await, None);
    let trial = me
        .wallet()
        .ok(&["rule", "try", xavier.key()])
        .await
        .unwrap();
    expect(&trial, "/rules/0/matches", false).unwrap();

    let mut me_live = town::live(&me).await.unwrap();
    let _shop_live = town::live(&shop).await.unwrap();
    for guest in &guests {
        vouch(&nora, guest).await;
    }
    let trial = me
        .wallet()
        .ok(&["rule", "try", xavier.key()])
        .await
        .unwrap();
    expect(&trial, "/rules/0/decides", true).unwrap();
    expect(&trial, "/rules/0/most", "2000").unwrap();
    expect(&trial, "/vouched_by/0", nora.key()).unwrap();
    // A trial changes nothing.
    assert_eq!(trial["granted"], json!([]));

    me.wallet().ok(&["rule", "apply"]).await.unwrap();
    assert_eq!(line(&me, xavier).await.as_deref(), Some("2000"));
    let shown = listed(&me, xavier).await.unwrap();
    expect(&shown, "/by_rule", "by rule: friend of nora").unwrap();
    until_allowed(xavier, &me, "2000").await;

    // The coffee.
    let (link, _) = town::invoice(&shop, "4.50 USD/2", "a coffee")
        .await
        .unwrap();
    let along = over(&[&me, &shop]);
    let pay = ["pay", link.as_str(), "--along", along.as_str()];
    let paid = xavier.wallet().ok(&pay).await.unwrap();
    expect(&paid, "/state", "paid").unwrap();
    town::until_owed(&shop, &me, USD, 450).await.unwrap();
    town::until_owed(&me, xavier, USD, 452).await.unwrap();

    // The next ones come while the wallet runs: it lets them in by itself, until nothing is left of the cap.
    say_hello(yara, &me).await;
    let yara_is_in = |event: &Value| {
        event["event"] == "line_by_rule" && event["user"] == yara.key() && event["let_in"] == true
    };
    let event = me_live
        .next("Yara let in by the rule", yara_is_in)
        .await
        .unwrap();
    expect(&event, "/why", "friend of nora").unwrap();
    expect(&event, "/line", "2000").unwrap();
    say_hello(zoe, &me).await;
    let zoe_is_in = |event: &Value| event["event"] == "line_by_rule" && event["user"] == zoe.key();
    let event = me_live
        .next("Zoe let in by the rule", zoe_is_in)
        .await
        .unwrap();
    expect(&event, "/line", "1000").unwrap();
    let late = town.person("late", 1).await.unwrap();
    vouch(&nora, &late).await;
    say_hello(&late, &me).await;
    let said_hello = |event: &Value| event["event"] == "hello" && event["user"] == late.key();
    me_live.next("somebody too late", said_hello).await.unwrap();
    me.wallet().ok(&["rule", "apply"]).await.unwrap();
    assert_eq!(listed(&me, &late).await, None);
    let rules = me.wallet().ok(&["rule", "list"]).await.unwrap();
    expect(&rules, "/rules/0/taken", "5000").unwrap();
    expect(&rules, "/rules/0/people", 3).unwrap();
    expect(&rules, "/rules/0/by_friend/0/friend", "nora").unwrap();
    expect(&rules, "/rules/0/by_friend/0/taken", "5000").unwrap();

    // What is beyond a line is not bought.
    until_allowed(zoe, &me, "1000").await;
    let (dear, _) = town::invoice(&shop, "11.00 USD/2", "a cake").await.unwrap();
    let refused = ["pay", dear.as_str(), "--along", along.as_str()];
    zoe.wallet().fails(3, &refused).await.unwrap();
    // Whom a rule let in vouches for nobody.
    vouch(xavier, &late).await;
    let anybody = [
        "rule",
        "add",
        "friend-of",
        "any",
        "20",
        USD,
        "--total",
        "20",
    ];
    let anybody = me.wallet().ok(&anybody).await.unwrap();
    let trial = me.wallet().ok(&["rule", "try", late.key()]).await.unwrap();
    assert_eq!(trial["vouched_by"], json!([nora.key()]));
    // The first rule that is about him decides, and its cap is reached.
    expect(&trial, "/rules/0/decides", true).unwrap();
    assert_eq!(listed(&me, &late).await, None);
    let remove = ["rule", "remove", &anybody["rule"].to_string()];
    me.wallet().ok(&remove).await.unwrap();

    // The rule is taken back: lines close, the debt stands.
    let gone = me.wallet().ok(&["rule", "remove", &rule]).await.unwrap();
    expect(&gone, "/removed", true).unwrap();
    until_allowed(xavier, &me, "0").await;
    let account = me.account(xavier, USD).await.unwrap();
    expect(&account, "/net", "452").unwrap();
    let (link, _) = town::invoice(&shop, "1.00 USD/2", "water").await.unwrap();
    let pay = ["pay", link.as_str(), "--along", along.as_str()];
    xavier.wallet().fails(3, &pay).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_and_follows_let_people_in_as_far_as_they_reach() {
    let town = found().await;
    let me = town.person("me", 0).await.unwrap();
    let nora = town.person("nora", 1).await.unwrap();
    let baker = town.person("baker", 0).await.unwrap();
    let far = town.person("far", 1).await.unwrap();
    let tag = ["rule", "add", "tag", "Baker", "30", USD, "--total", "60"];
    me.wallet().ok(&tag).await.unwrap();
    let near = [
        "rule", "add", "distance", "2", "10", USD, "each", "--weight", "50%", "--total", "12",
    ];
    let near = me.wallet().ok(&near).await.unwrap();
    expect(&near, "/about", "at most 2 follows away").unwrap();

    for stranger in [&nora, &baker, &far] {
        say_hello(stranger, &me).await;
    }
    me.sync().await.unwrap();
    for stranger in [&nora, &baker, &far] {
        assert_eq!(listed(&me, stranger).await, None);
    }
    // What somebody wrote is tagged, and somebody is: only the second counts.
    let tag = |uri: String| {
        let tag = json!({ "uri": uri, "label": "baker", "created_at": 1 });
        tag.to_string().into_bytes()
    };
    let post = format!("pubky://{}/pub/pubky.app/posts/0032FNCGXE3R0", nora.key());
    let profile = format!("pubky://{}/pub/pubky.app/profile.json", baker.key());
    let tags = "/pub/pubky.app/tags";
    put(
        &town.world,
        &me,
        &format!("{tags}/8Z8CWH8NVYQY39ZEBFGKQWWEKG"),
        tag(post),
    )
    .await;
    put(
        &town.world,
        &me,
        &format!("{tags}/FPB0AM9S93Q3M1GFY1KV09GMQM"),
        tag(profile),
    )
    .await;
    let follow = |whom: &Person| format!("/pub/pubky.app/follows/{}", whom.key());
    let follows = br#"{"created_at":1}"#.to_vec();
    put(&town.world, &me, &follow(&nora), follows.clone()).await;
    put(&town.world, &nora, &follow(&far), follows).await;

    me.wallet().ok(&["rule", "apply"]).await.unwrap();
    let shown = listed(&me, &baker).await.unwrap();
    expect(&shown, "/by_rule", "by rule: tagged baker").unwrap();
    until_allowed(&baker, &me, "3000").await;
    // Nora is one follow away and gets it in full; of half of it, the cap leaves less.
    let lines = [line(&me, &nora).await, line(&me, &far).await];
    let sum: u64 = lines
        .iter()
        .flatten()
        .map(|l| l.parse::<u64>().unwrap())
        .sum();
    assert_eq!(sum, 1200, "{lines:?}");
    let trial = me.wallet().ok(&["rule", "try", far.key()]).await.unwrap();
    expect(&trial, "/rules/1/most", "500").unwrap();
    expect(&trial, "/rules/1/weight_millionths", 500_000).unwrap();
    expect(&trial, "/ways/0/0", nora.key()).unwrap();
    let trial = me.wallet().ok(&["rule", "try", nora.key()]).await.unwrap();
    expect(&trial, "/rules/0/matches", false).unwrap();
    expect(&trial, "/rules/1/most", "1000").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_closes_what_was_given_and_keeps_strangers_out() {
    let town = found().await;
    let me = town.person("me", 0).await.unwrap();
    let max = town.person("max", 0).await.unwrap();
    let eve = town.person("eve", 1).await.unwrap();
    town::befriend(&me, &max, "20.00 USD/2").await.unwrap();
    let rule = ["rule", "add", "anyone", "5", USD, "--total", "50"];
    me.wallet().ok(&rule).await.unwrap();
    let refused = ["rule", "add", "anyone", "5", USD];
    let refused = me.wallet().fails(2, &refused).await.unwrap();
    assert_eq!(refused["code"], "rule_invalid", "{refused}");

    // A limit that was set by hand comes before the rule; a block before everything.
    until_allowed(&max, &me, "2000").await;
    me.wallet().ok(&["block", "max"]).await.unwrap();
    until_allowed(&max, &me, "0").await;
    me.wallet().ok(&["block", eve.key()]).await.unwrap();
    say_hello(&eve, &me).await;
    me.sync().await.unwrap();
    let list = me.wallet().ok(&["friend", "list"]).await.unwrap();
    assert_eq!(list["pending"], json!([]), "{list}");
    assert_eq!(listed(&me, &eve).await, None);
    let given = max.wallet().fails(3, &["issue", "me", "1.00 USD/2"]).await;
    given.unwrap();

    me.wallet().ok(&["unblock", "max"]).await.unwrap();
    until_allowed(&max, &me, "2000").await;
    let blocked = me.wallet().ok(&["block"]).await.unwrap();
    expect(&blocked, "/blocked/0/user", eve.key()).unwrap();
    assert_eq!(blocked["blocked"].as_array().unwrap().len(), 1);
}
