//! How many guests may wait, and for how long.

use atomicity_plugin::db::janitor::{Ages, sweep};
use serde_json::json;

use super::{Payee, id, offer, part};

const DAY_MS: i64 = 86_400_000;

async fn count(pool: &sqlx::PgPool, condition: &str) -> i64 {
    sqlx::query_scalar(&format!(
        "SELECT count(*) FROM guest_parts WHERE {condition}"
    ))
    .fetch_one(pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_wait_and_no_more() {
    let payee = Payee::new().await;
    payee.publish(1, |_| {});
    payee.publish(2, |_| {});
    payee.welcome(&[("lightning", "USD/2")]).await;
    for n in 1..=3 {
        payee
            .ask(1, part(n, "1000", "lightning"))
            .await
            .assert_status(201);
    }
    // One address may not take all places of a request; the next one has its own.
    let full = payee.ask(1, part(4, "1000", "lightning")).await;
    full.assert_problem(429, "too_many_guest_parts");
    for n in 4..=20 {
        let address = format!("198.51.100.{n}");
        let asked = part(n, "1000", "lightning");
        payee.ask_from(&address, 1, asked).await.assert_status(201);
    }
    let asked = part(21, "1000", "lightning");
    let full = payee.ask_from("203.0.113.1", 1, asked.clone()).await;
    full.assert_problem(429, "too_many_guest_parts");
    // Of another request there is room.
    payee
        .ask_from("203.0.113.1", 2, part(22, "1000", "lightning"))
        .await
        .assert_status(201);
    // What is decided makes room, and tells nothing any more of where the guest is.
    let pool = payee.pool().await;
    assert_eq!(count(&pool, "address IS NOT NULL").await, 21);
    payee.report(1, offer()).await.assert_status(200);
    payee
        .ask_from("203.0.113.1", 1, asked)
        .await
        .assert_status(201);
    assert_eq!(count(&pool, "address IS NOT NULL").await, 21);
    // Of one payee at most two hundred wait.
    sqlx::query(
        "INSERT INTO guest_parts (owner, id, request, unit, way, amount, digest, state, at, expires, changed_at)
         SELECT owner, lpad(n::text, 22, '0'), lpad(n::text, 22, '0'), unit, way, amount, digest, 'waiting', at, expires, at
         FROM guest_parts, generate_series(1, 179) n WHERE id = $1",
    )
    .bind(id(22).to_string())
    .execute(&pool)
    .await
    .unwrap();
    let last = payee
        .ask_from("203.0.113.1", 2, part(23, "1000", "lightning"))
        .await;
    last.assert_problem(429, "too_many_guest_parts");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_ended_longest_ago_make_room() {
    let payee = Payee::new().await;
    payee.publish(1, |_| {});
    payee.welcome(&[("lightning", "USD/2")]).await;
    let ask = async |n| payee.ask(1, part(n, "1000", "lightning")).await;
    ask(1).await.assert_status(201);
    let pool = payee.pool().await;
    let fill = "INSERT INTO guest_parts (owner, id, request, unit, way, amount, digest, state, at, expires, changed_at)
         SELECT owner, lpad(n::text, 22, '0'), request, unit, way, amount, digest, 'ended', at - 60000, expires, at - 60000
         FROM guest_parts, generate_series(2, 500) n WHERE id = $1";
    let fill = sqlx::query(fill).bind(id(1).to_string());
    fill.execute(&pool).await.unwrap();
    ask(2).await.assert_status(201);
    assert_eq!(count(&pool, "true").await, 500);
    assert_eq!(count(&pool, "id = lpad('2', 22, '0')").await, 0);
    let busy = "UPDATE guest_parts SET state = 'offered', price_msat = 1, target = 'x' WHERE state = 'ended'";
    sqlx::query(busy).execute(&pool).await.unwrap();
    ask(3).await.assert_problem(429, "too_many_guest_parts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_does_not_answer_in_time_is_waited_for_no_longer() {
    let payee = Payee::new().await;
    payee.publish(1, |_| {});
    payee.welcome(&[("lightning", "USD/2")]).await;
    for n in 1..=3 {
        payee
            .ask(1, part(n, "1000", "lightning"))
            .await
            .assert_status(201);
    }
    payee.report(2, offer()).await.assert_status(200);
    let pool = payee.pool().await;
    let later = "UPDATE guest_parts SET at = at - 600001, changed_at = changed_at - 600001,
         expires = CASE WHEN state = 'waiting' THEN expires - 600001 ELSE expires END";
    sqlx::query(later).execute(&pool).await.unwrap();
    assert_eq!(payee.look(1, 1).await.body["state"], "ended");
    assert_eq!(payee.listed("?open=true").await, [id(2).to_string()]);
    payee
        .report(1, offer())
        .await
        .assert_problem(409, "guest_part_ended");
    payee
        .report(1, json!({"state": "refused", "reason": "request_full"}))
        .await
        .assert_problem(409, "guest_part_ended");
    payee
        .report(1, json!({"state": "ended"}))
        .await
        .assert_status(200);
    // Another may be asked for at once.
    for n in 4..=6 {
        payee
            .ask(1, part(n, "1000", "lightning"))
            .await
            .assert_status(201);
    }
    let swept = async |days: i64| {
        let now = atomicity_plugin::clock::now_ms() + days * DAY_MS;
        let ages = Ages {
            now,
            acked_before: 0,
            closed_before: 0,
            proposed_before: 0,
            accepted_before: 0,
            guests_before: now - 30 * DAY_MS,
            offered_before: now - 60 * DAY_MS,
        };
        sweep(&pool, &ages).await.unwrap();
    };
    swept(0).await;
    assert_eq!(count(&pool, "state = 'ended' AND address IS NULL").await, 2);
    assert_eq!(count(&pool, "address IS NOT NULL").await, 3);
    let late = payee
        .report(3, json!({"state": "paid", "amount": "1000"}))
        .await;
    assert_eq!(late.assert_status(200).body["state"], "paid");
    swept(29).await;
    assert_eq!(count(&pool, "true").await, 6);
    swept(31).await;
    // No session lives that long.
    assert_eq!(count(&pool, "true").await, 1);
    assert_eq!(count(&pool, "state = 'offered'").await, 1);
    swept(61).await;
    assert_eq!(count(&pool, "true").await, 0);
}
