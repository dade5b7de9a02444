//! What is kept of the proposals to a user's wallet: so much and no more, and none for good.

use atomicity_plugin::db::janitor::{Ages, sweep};
use pubky::Keypair;
use reqwest::Method;
use serde_json::json;

use crate::support::plugin::{Account, Answer, Plugin, b64};

const DAY_MS: i64 = 86_400_000;
/// Most that are kept of one user.
const MOST: i64 = 500;

async fn propose(account: &Account<'_>, n: u8) -> Answer {
    let user = Keypair::random().public_key().z32();
    let body = json!({"id": b64(&[n; 16]), "kind": "friend", "user": user});
    account
        .call(Method::POST, "/v0/me/proposals", Some(body))
        .await
}

async fn say(account: &Account<'_>, n: u8, state: &str) {
    let path = format!("/v0/me/proposals/{}", b64(&[n; 16]));
    let word = Some(json!({"state": state}));
    account
        .call(Method::PUT, &path, word)
        .await
        .assert_status(200);
}

async fn is_kept(account: &Account<'_>, n: u8) -> bool {
    let path = format!("/v0/me/proposals/{}", b64(&[n; 16]));
    account.call(Method::GET, &path, None).await.status == 200
}

/// As many copies of a user's proposal as there may be beside it, `state` all of them and a minute older.
async fn fill(pool: &sqlx::PgPool, state: &str) {
    sqlx::query(
        "INSERT INTO proposals SELECT owner, lpad(n::text, 22, '0'), at - 60000, expires, digest, body, $1, NULL, at - 60000
         FROM proposals, generate_series(2, $2) n",
    )
    .bind(state)
    .bind(MOST)
    .execute(pool)
    .await
    .unwrap();
}

async fn count(pool: &sqlx::PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM proposals")
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn those_that_ended_longest_ago_make_room_for_another() {
    let plugin = Plugin::start().await;
    let pool = sqlx::PgPool::connect(&plugin.database.url).await.unwrap();
    let account = plugin.user().await;
    propose(&account, 1).await.assert_status(201);
    fill(&pool, "done").await;
    assert_eq!(count(&pool).await, MOST);
    for n in 2..5 {
        propose(&account, n).await.assert_status(201);
        say(&account, n, "accepted").await;
        assert_eq!(count(&pool).await, MOST);
    }
    for n in 1..5 {
        assert!(is_kept(&account, n).await, "{n}");
    }
    let oldest: Vec<i64> = sqlx::query_scalar(
        "SELECT n::bigint FROM generate_series(2, 6) n WHERE EXISTS (SELECT 1 FROM proposals WHERE id = lpad(n::text, 22, '0'))",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(oldest, [5, 6]);
}

#[tokio::test]
async fn where_a_wallet_is_at_all_of_them_there_is_no_room() {
    let plugin = Plugin::start().await;
    let pool = sqlx::PgPool::connect(&plugin.database.url).await.unwrap();
    let account = plugin.user().await;
    propose(&account, 1).await.assert_status(201);
    fill(&pool, "accepted").await;
    propose(&account, 2)
        .await
        .assert_problem(429, "too_many_proposals");
    assert_eq!(count(&pool).await, MOST);
    // One that is over makes room, and only one.
    say(&account, 1, "done").await;
    propose(&account, 2).await.assert_status(201);
    assert!(!is_kept(&account, 1).await && is_kept(&account, 2).await);
    propose(&account, 3)
        .await
        .assert_problem(429, "too_many_proposals");
}

#[tokio::test]
async fn one_that_a_wallet_never_ended_is_forgotten_at_last() {
    let plugin = Plugin::start().await;
    let pool = sqlx::PgPool::connect(&plugin.database.url).await.unwrap();
    let account = plugin.user().await;
    for n in 1..3 {
        propose(&account, n).await.assert_status(201);
    }
    say(&account, 1, "accepted").await;
    say(&account, 2, "declined").await;
    let swept = async |days: i64| {
        let now = atomicity_plugin::clock::now_ms() + days * DAY_MS;
        let ages = Ages {
            now,
            acked_before: 0,
            closed_before: 0,
            proposed_before: now - 30 * DAY_MS,
            accepted_before: now - 60 * DAY_MS,
            guests_before: 0,
            offered_before: 0,
        };
        sweep(&pool, &ages).await.unwrap();
        let kept = "SELECT state FROM proposals ORDER BY state";
        let kept: Vec<String> = sqlx::query_scalar(kept).fetch_all(&pool).await.unwrap();
        kept
    };
    assert_eq!(swept(29).await, ["accepted", "declined"]);
    assert_eq!(swept(31).await, ["accepted"]);
    assert_eq!(swept(59).await, ["accepted"]);
    assert_eq!(swept(61).await, Vec::<String>::new());
}
