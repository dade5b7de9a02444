//! The plugin dies at the worst moment; Postgres dies.

use std::time::Duration;

use reqwest::Method;

use serde_json::json;

use super::world::{
    Person, Site, allow, befriend, engage, hand_over, hand_over_body, payment, unit,
};
use crate::support::database::Database;
use crate::support::postgres::PrivatePostgres;

const ISSUE: &str = "/v0/me/agent/issue";

async fn pair_of(site: &Site) -> (Person, Person) {
    let (mut owner, mut friend) = (site.person().await, site.person().await);
    befriend(site, &mut owner, &mut friend, 2_000).await;
    let key = engage(site, &mut owner, 5_000, None).await;
    hand_over(site, &mut owner, &mut friend, key, allow(1_000)).await;
    (owner, friend)
}

/// Pays once while the plugin dies at `point`, pays again under the same number, and looks at what became of it.
async fn dies_at(point: &str) {
    let mut site = Site::start().await;
    let (owner, mut friend) = pair_of(&site).await;
    // What is left over from before is done when it starts; then it may die.
    let folder = tempfile::tempdir().unwrap();
    let armed = folder.path().join("armed");
    site.restart(Some(&format!("{point}:1:{}", armed.display())));
    std::fs::write(&armed, "").unwrap();
    let body = payment(1, &friend.user, 300);
    let asked = site
        .request(Method::POST, ISSUE)
        .bearer_auth(&owner.token)
        .json(&body)
        .send()
        .await;
    // Before the send it may have been answered already; what dies then is the delivery.
    let answered = asked.is_ok_and(|answer| answer.status().is_success());
    assert!(!answered || point == "agent_before_send" || point == "agent_after_send");
    site.after_death();
    owner
        .call(&site, Method::POST, ISSUE, Some(body))
        .await
        .assert_status(200);
    let user = owner.user;
    friend
        .pump_until(&site, "300 arrived", |friend| {
            friend.pair(&user).balance(&unit()).minor() == 300
        })
        .await;
    let pair = owner.agents_pair(&site, &friend.user).await;
    assert_eq!(pair.balance(&unit()).minor(), -300, "{point}");
    let journal = owner.journal(&site).await;
    assert_eq!(Person::of_kind(&journal, "payment"), 1, "{point}");
}

#[tokio::test]
async fn a_plugin_that_dies_between_storing_and_sending_loses_and_repeats_nothing() {
    for point in [
        "agent_before_commit",
        "agent_after_commit",
        "agent_before_send",
        "agent_after_send",
    ] {
        dies_at(point).await;
    }
}

#[tokio::test]
async fn postgres_is_killed_and_back_and_everything_goes_on() {
    let (server, url) = PrivatePostgres::start();
    let site = Site::start_on(Database::create_on(&url).await, &[]).await;
    let (owner, mut friend) = pair_of(&site).await;
    owner
        .call(
            &site,
            Method::POST,
            ISSUE,
            Some(payment(1, &friend.user, 100)),
        )
        .await
        .assert_status(200);
    server.kill();
    let refused = owner
        .call(
            &site,
            Method::POST,
            ISSUE,
            Some(payment(2, &friend.user, 100)),
        )
        .await;
    assert!(refused.status.is_server_error(), "{}", refused.body);
    server.start_again();
    loop {
        let paid = owner
            .call(
                &site,
                Method::POST,
                ISSUE,
                Some(payment(2, &friend.user, 100)),
            )
            .await;
        if paid.status.is_success() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let user = owner.user;
    let started = std::time::Instant::now();
    loop {
        // The session's look-up may still fail for a moment.
        let page = friend.call(&site, Method::GET, "/v0/inbox", None).await;
        if page.status.is_success() {
            break;
        }
        assert!(started.elapsed().as_secs() < 60);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    friend
        .pump_until(&site, "200 arrived", |friend| {
            friend.pair(&user).balance(&unit()).minor() == 200
        })
        .await;
}

#[tokio::test]
async fn books_of_a_restored_database_are_not_signed_until_the_next_epoch() {
    let mut site = Site::start().await;
    let (mut owner, mut friend) = (site.person().await, site.person().await);
    befriend(&site, &mut owner, &mut friend, 2_000).await;
    let key = engage(&site, &mut owner, 5_000, None).await;
    hand_over(&site, &mut owner, &mut friend, key, allow(1_000)).await;
    let backup = site.back_up().await;
    let path = format!("/v0/me/agent/peers/{}", friend.user);
    let body = Some(payment(1, &friend.user, 100));
    owner
        .call(&site, Method::POST, ISSUE, body)
        .await
        .assert_status(200);
    // The same database again is as good as before.
    site.restart(None);
    let view = owner.call(&site, Method::GET, &path, None).await;
    assert_eq!(view.assert_status(200).body["state"], "kept");
    site.restore(backup);
    let view = owner.call(&site, Method::GET, &path, None).await;
    assert_eq!(view.assert_status(200).body["state"], "restored");
    let body = Some(payment(2, &friend.user, 200));
    owner
        .call(&site, Method::POST, ISSUE, body.clone())
        .await
        .assert_problem(409, "books_restored");
    let back = json!({"key": owner.root.signer_key()});
    owner
        .call(&site, Method::POST, &format!("{path}/return"), Some(back))
        .await
        .assert_problem(409, "books_restored");
    assert_eq!(Person::of_kind(&owner.journal(&site).await, "payment"), 0);
    // It stays so over a restart, and ends with the next epoch, which the root opens.
    site.restart(None);
    owner
        .call(&site, Method::POST, ISSUE, body)
        .await
        .assert_problem(409, "books_restored");
    let next = hand_over_body(&mut owner, &friend.user, key, 5_000, allow(1_000));
    let again = owner.call(&site, Method::PUT, &path, Some(next)).await;
    assert_eq!(again.assert_status(200).body["state"], "kept");
}
