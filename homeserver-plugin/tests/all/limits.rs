//! How much an inbox takes, and from whom.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::plugin::{Account, Answer, Plugin, b64, tag};

#[tokio::test]
async fn each_counterparty_has_a_budget_of_their_own_and_reading_frees_it() {
    let plugin = Plugin::start_with(|config| config.inbox.tag_envelopes = 2).await;
    let account = plugin.user().await;
    account.set_tags(&[tag(1), tag(2)]).await;
    account
        .receive(&account.known(1, "a"))
        .await
        .assert_status(201);
    account
        .receive(&account.known(1, "b"))
        .await
        .assert_status(201);
    account
        .receive(&account.known(1, "c"))
        .await
        .assert_problem(429, "queue_full");
    // What is there already is not refused.
    account
        .receive(&account.known(1, "a"))
        .await
        .assert_status(200);
    account
        .receive(&account.known(2, "a"))
        .await
        .assert_status(201);
    account
        .receive(&account.stranger("a"))
        .await
        .assert_status(201);
    account.acknowledge(&[1]).await;
    account
        .receive(&account.known(1, "c"))
        .await
        .assert_status(201);
}

#[tokio::test]
async fn strangers_share_a_budget_and_leave_the_known_theirs() {
    let plugin = Plugin::start_with(|config| config.inbox.address_envelopes = 2).await;
    let account = plugin.user().await;
    account.set_tags(&[tag(1)]).await;
    account
        .receive(&account.stranger("a"))
        .await
        .assert_status(201);
    account
        .receive(&account.stranger("b"))
        .await
        .assert_status(201);
    account
        .receive(&account.stranger("c"))
        .await
        .assert_problem(429, "queue_full");
    account
        .receive(&account.known(1, "a"))
        .await
        .assert_status(201);
    let other = plugin.user().await;
    other.receive(&other.stranger("a")).await.assert_status(201);
}

fn sized(account: &Account<'_>, n: u8, bytes: usize) -> Value {
    json!({"to": account.z32(), "tag": tag(1), "ciphertext": b64(&vec![n; bytes])})
}

#[tokio::test]
async fn an_inbox_as_a_whole_is_bounded_in_number_and_bytes() {
    let plugin = Plugin::start_with(|config| {
        config.inbox.account_envelopes = 3;
        config.inbox.account_bytes = 30_000;
    })
    .await;
    let (many, large) = (plugin.user().await, plugin.user().await);
    let tags: Vec<String> = (1..=4).map(tag).collect();
    many.set_tags(&tags).await;
    for n in 1..=3 {
        many.receive(&many.known(n, "a")).await.assert_status(201);
    }
    many.receive(&many.known(4, "a"))
        .await
        .assert_problem(429, "queue_full");
    large.set_tags(&tags).await;
    large
        .receive(&sized(&large, 1, 12_000))
        .await
        .assert_status(201);
    large
        .receive(&sized(&large, 2, 12_000))
        .await
        .assert_problem(429, "queue_full");
    large
        .receive(&sized(&large, 3, 1_000))
        .await
        .assert_status(201);
}

#[tokio::test]
async fn a_stranger_in_a_hurry_is_told_to_wait_and_the_known_are_not() {
    let plugin = Plugin::start_with(|config| config.inbox.stranger_per_minute = 2).await;
    let (account, other) = (plugin.user().await, plugin.user().await);
    account.set_tags(&[tag(1)]).await;
    account
        .receive(&account.stranger("a"))
        .await
        .assert_status(201);
    other.receive(&other.stranger("a")).await.assert_status(201);
    // The budget is the address's, whomever it writes to.
    account
        .receive(&account.stranger("b"))
        .await
        .assert_problem(429, "rate_limited");
    account
        .receive(&account.known(1, "a"))
        .await
        .assert_status(201);
}

#[tokio::test]
async fn a_known_counterparty_in_a_hurry_is_told_to_wait() {
    let plugin = Plugin::start_with(|config| config.inbox.tag_per_second = 1).await;
    let account = plugin.user().await;
    account.set_tags(&[tag(1), tag(2)]).await;
    let mut stored = 0;
    let refused = loop {
        let answer = account
            .receive(&account.known(1, &stored.to_string()))
            .await;
        if answer.status != 201 {
            break answer;
        }
        stored += 1;
        assert!(stored < 1_000, "there is no limit");
    };
    refused.assert_problem(429, "rate_limited");
    assert!(stored >= 60);
    account
        .receive(&account.known(2, "x"))
        .await
        .assert_status(201);
}

async fn forwarded(account: &Account<'_>, address: &str, text: &str) -> Answer {
    let request = account
        .plugin
        .request(Method::POST, &format!("/v0/inbox/{}", account.z32()))
        .header("x-forwarded-for", address)
        .json(&account.stranger(text));
    Answer::of(request).await
}

#[tokio::test]
async fn an_address_counts_as_the_proxy_tells_only_if_the_proxy_is_trusted() {
    let trusting = Plugin::start_with(|config| {
        config.inbox.address_envelopes = 1;
        config.http.trusted_proxies = vec!["127.0.0.0/8".to_owned()];
    })
    .await;
    let account = trusting.user().await;
    forwarded(&account, "198.51.100.1", "a")
        .await
        .assert_status(201);
    forwarded(&account, "198.51.100.1", "b")
        .await
        .assert_problem(429, "queue_full");
    forwarded(&account, "203.0.113.9, 198.51.100.1", "b")
        .await
        .assert_problem(429, "queue_full");
    forwarded(&account, "198.51.100.2", "b")
        .await
        .assert_status(201);

    let wary = Plugin::start_with(|config| config.inbox.address_envelopes = 1).await;
    let account = wary.user().await;
    forwarded(&account, "198.51.100.1", "a")
        .await
        .assert_status(201);
    forwarded(&account, "198.51.100.2", "b")
        .await
        .assert_problem(429, "queue_full");
}

#[tokio::test]
async fn addresses_are_not_in_the_database() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    account
        .receive(&account.stranger("a"))
        .await
        .assert_status(201);
    let mut connection = plugin.database.connect().await;
    let source: Vec<u8> = sqlx::query_scalar("SELECT source FROM envelopes")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(source.len(), 32);
    let address =
        atomicity_plugin::limits::AddressKey::from(std::net::IpAddr::from([127, 0, 0, 1]));
    assert!(!source.windows(4).any(|part| part == [127, 0, 0, 1]));
    assert!(!source.windows(16).any(|part| part == address.as_bytes()));
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_to_wait() {
    let plugin = Plugin::start_with(|config| {
        config.http.requests_per_second = 1;
        config.http.requests_burst = 5;
    })
    .await;
    let mut answers = Vec::new();
    for _ in 0..30 {
        answers.push(Answer::of(plugin.request(Method::GET, "/v0/info")).await);
    }
    assert!(answers[..5].iter().all(|answer| answer.status == 200));
    let refused = answers
        .iter()
        .find(|answer| answer.status != 200)
        .expect("there is a limit");
    refused.assert_problem(429, "rate_limited");
    // Whoever watches over the process is not turned away.
    Answer::of(plugin.request(Method::GET, "/health/live"))
        .await
        .assert_status(200);
}
