//! What one question may cost.

use atomicity_ledger::Keypair;
use atomicity_plugin::config::Config;
use serde_json::json;

use super::people::*;
use crate::support::until;
use crate::support::world::{HomeServer, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_takes_too_many_steps_is_given_up_not_denied() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let (a, b, c) = chain(&world, [&home, &home, &home]).await;
    let tired = |config: &mut Config| {
        config.router.steps_per_query = 1;
        config.router.steps_to_find = 1;
    };
    let plugin = router(&world, &[&a], tired).await;
    until("the graph is there", || async {
        let status = get(&plugin, "/v0/router/status").await;
        status.body["edges"].as_u64() >= Some(4)
    })
    .await;
    let question = question(&a, &c, 500);
    ask(&plugin, &question).await.assert_problem(404, "gave_up");
    // What needs no search is known for certain all the same.
    let mut to_stranger = question.clone();
    to_stranger["to"] = json!(Keypair::from_secret(&[3; 32]).user_key());
    let unknown = ask(&plugin, &to_stranger).await;
    unknown.assert_problem(404, "unknown_payee");
    // Through somebody in the middle of the only way.
    let plugin = router(&world, &[&a], |_| {}).await;
    let mut over = question;
    over["via"] = json!(b.user());
    let answer = until_found(&plugin, &over).await;
    assert_eq!(answer.body["routes"][0]["exact"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_is_found_with_more_steps_than_the_cheapest_is_looked_for_with() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let (a, _b, c) = chain(&world, [&home, &home, &home]).await;
    let plugin = router(&world, &[&a], |config| config.router.steps_per_query = 1).await;
    let answer = until_found(&plugin, &question(&a, &c, 500)).await;
    assert_eq!(answer.body["routes"][0]["exact"], true);
}
