//! An inbox live.

use reqwest::Method;

use crate::support::plugin::{Answer, Plugin, tag};
use crate::support::sse::Events;

#[tokio::test]
async fn a_stream_sends_what_waits_says_ready_and_sends_what_comes() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    account.set_tags(&[tag(1)]).await;
    for text in ["a", "b"] {
        account
            .receive(&account.known(1, text))
            .await
            .assert_status(201);
    }
    let mut events = Events::open(&account, "", None).await;
    let first = events.next().await.unwrap();
    assert_eq!(
        (first.name.as_str(), first.id.as_deref()),
        ("envelope", Some("1"))
    );
    assert_eq!(first.json()["envelope"], account.known(1, "a"));
    assert_eq!(events.envelope().await, 2);
    events.ready().await;
    account
        .receive(&account.known(1, "c"))
        .await
        .assert_status(201);
    assert_eq!(events.envelope().await, 3);
    // Said once only.
    account
        .receive(&account.known(1, "d"))
        .await
        .assert_status(201);
    assert_eq!(events.envelope().await, 4);
}

#[tokio::test]
async fn a_stream_resumes_where_it_was_cut() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    account.set_tags(&[tag(1)]).await;
    let mut events = Events::open(&account, "", None).await;
    events.ready().await;
    account
        .receive(&account.known(1, "0"))
        .await
        .assert_status(201);
    let last = events.envelope().await;
    drop(events);
    // More than fits into one page of the stream.
    for n in 1..=120 {
        account
            .receive(&account.known(1, &n.to_string()))
            .await
            .assert_status(201);
    }
    let mut events = Events::open(&account, "", Some(last)).await;
    for expected in 2..=121 {
        assert_eq!(events.envelope().await, expected);
    }
    events.ready().await;
    // The header counts before the query, as browsers reconnect to the same URL.
    let mut events = Events::open(&account, "?after=0", Some(120)).await;
    assert_eq!(events.envelope().await, 121);
    let mut events = Events::open(&account, "?after=119", None).await;
    assert_eq!(events.envelope().await, 120);
    Answer::read(Events::try_open(&account, "?after=x", None).await)
        .await
        .assert_problem(400, "id_malformed");
}

#[tokio::test]
async fn streams_of_two_users_do_not_mix() {
    let plugin = Plugin::start().await;
    let (a, b) = (plugin.user().await, plugin.user().await);
    let (mut of_a, mut of_b) = (
        Events::open(&a, "", None).await,
        Events::open(&b, "", None).await,
    );
    of_a.ready().await;
    of_b.ready().await;
    b.receive(&b.stranger("for b")).await.assert_status(201);
    a.receive(&a.stranger("for a")).await.assert_status(201);
    assert_eq!(
        of_a.next().await.unwrap().json()["envelope"],
        a.stranger("for a")
    );
    assert_eq!(
        of_b.next().await.unwrap().json()["envelope"],
        b.stranger("for b")
    );
}

#[tokio::test]
async fn streams_are_bounded_and_a_closed_one_makes_room() {
    let plugin = Plugin::start_with(|config| config.inbox.streams_per_account = 1).await;
    let account = plugin.user().await;
    let mut first = Events::open(&account, "", None).await;
    first.ready().await;
    Answer::read(Events::try_open(&account, "", None).await)
        .await
        .assert_problem(429, "too_many_streams");
    drop(first);
    crate::support::until("the place is free", || async {
        Events::try_open(&account, "", None).await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_with_its_session_and_with_the_process() {
    let plugin = Plugin::start_with(|config| config.inbox.poll_ms = 50).await;
    let account = plugin.user().await;
    let mut events = Events::open(&account, "", None).await;
    events.ready().await;
    account
        .call(Method::DELETE, "/v0/sessions/current", None)
        .await
        .assert_status(204);
    assert_eq!(events.next().await, None);

    let account = plugin.user().await;
    let mut events = Events::open(&account, "", None).await;
    events.ready().await;
    let (_database, outcome) = plugin.stop().await;
    outcome.unwrap();
    assert_eq!(events.next().await, None);
}
