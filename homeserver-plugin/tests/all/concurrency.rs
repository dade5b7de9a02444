//! Many at once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::plugin::{Plugin, ids_of, tag};

/// A reader that moves its cursor while others write must not pass over what commits late.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_that_follows_its_cursor_misses_nothing() {
    const WRITERS: u8 = 16;
    const EACH: usize = 25;
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    let tags: Vec<String> = (0..WRITERS).map(tag).collect();
    account.set_tags(&tags).await;
    let done = AtomicBool::new(false);
    let (account, done) = (&account, &done);
    let write = async {
        let writers = (0..WRITERS).map(|writer| async move {
            for n in 0..EACH {
                account
                    .receive(&account.known(writer, &n.to_string()))
                    .await
                    .assert_status(201);
            }
        });
        futures_util::future::join_all(writers).await;
        done.store(true, Ordering::SeqCst);
    };
    let read = async {
        let (mut seen, mut after) = (Vec::new(), 0);
        loop {
            let last_round = done.load(Ordering::SeqCst);
            let ids = ids_of(&account.page(&format!("?limit=7&after={after}")).await);
            if ids.is_empty() && last_round {
                return seen;
            }
            after = ids.last().copied().unwrap_or(after);
            seen.extend(ids);
        }
    };
    let ((), seen) = tokio::join!(write, read);
    let total = i64::try_from(usize::from(WRITERS) * EACH).unwrap();
    assert_eq!(seen, (1..=total).collect::<Vec<_>>());
}

/// What is counted in rows of its own must agree with what is there, whatever happened at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_counters_agree_with_what_is_stored() {
    let plugin = Plugin::start_with(|config| config.inbox.tag_envelopes = 20).await;
    let (a, b) = (plugin.user().await, plugin.user().await);
    for account in [&a, &b] {
        account.set_tags(&[tag(1), tag(2)]).await;
    }
    let rounds = (0..8u8).map(|worker| {
        let accounts = [&a, &b];
        async move {
            for n in 0..15u8 {
                let account = accounts[usize::from((worker + n) % 2)];
                let text = format!("{}", n / 2);
                let envelope = if n % 3 == 0 {
                    account.stranger(&text)
                } else {
                    account.known(1 + worker % 2, &text)
                };
                let answer = account.receive(&envelope).await;
                assert!(
                    matches!(answer.status.as_u16(), 200 | 201 | 429),
                    "{}",
                    answer.body
                );
                if n % 4 == 0 {
                    let ids = ids_of(&account.page("?limit=3").await);
                    account.acknowledge(&ids).await;
                }
            }
        }
    });
    futures_util::future::join_all(rounds).await;
    // Where everything happened to be read in between, one is there all the same; where there is no room for it, others are.
    let last = a.receive(&a.stranger("the last one")).await;
    assert!(matches!(last.status.as_u16(), 201 | 429), "{}", last.body);
    let mut connection = plugin.database.connect().await;
    let wrong: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM accounts a, LATERAL (
             SELECT count(*) AS n, COALESCE(sum(size), 0) AS bytes, count(*) FILTER (WHERE NOT known) AS strangers,
                    (SELECT COALESCE(max(id), 0) FROM envelopes WHERE owner = a.owner) AS last
             FROM envelopes WHERE owner = a.owner AND acked_at IS NULL) e
         WHERE (a.queued, a.queued_bytes, a.strangers, a.last_id) IS DISTINCT FROM (e.n, e.bytes, e.strangers, e.last)",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(wrong, 0);
    let wrong: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM budgets b, LATERAL (
             SELECT count(*) AS n, COALESCE(sum(size), 0) AS bytes FROM envelopes e
             WHERE e.owner = b.owner AND e.known = b.known AND e.source = b.source AND acked_at IS NULL) e
         WHERE (b.queued, b.queued_bytes) IS DISTINCT FROM (e.n, e.bytes)",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(wrong, 0);
    let stored: BTreeSet<i64> = a.waiting().await.into_iter().collect();
    assert!(!stored.is_empty());
}

#[tokio::test]
async fn what_nobody_needs_any_more_is_cleared_away_and_nothing_else() {
    use atomicity_plugin::db::janitor::{Ages, sweep};
    let plugin = Plugin::start().await;
    let (stays, leaves) = (plugin.user().await, plugin.user().await);
    for text in ["read", "waits"] {
        stays
            .receive(&stays.stranger(text))
            .await
            .assert_status(201);
    }
    stays.acknowledge(&[1]).await;
    leaves
        .receive(&leaves.stranger("x"))
        .await
        .assert_status(201);
    leaves
        .call(reqwest::Method::DELETE, "/v0/me", None)
        .await
        .assert_status(204);
    let pool = sqlx::PgPool::connect(&plugin.database.url).await.unwrap();
    let now = atomicity_plugin::clock::now_ms();
    let count = async |table: &str| -> i64 {
        sqlx::query_scalar(&format!("SELECT count(*) FROM {table}"))
            .fetch_one(&pool)
            .await
            .unwrap()
    };
    let early = Ages {
        now,
        acked_before: now - 60_000,
        closed_before: now - 60_000,
        proposed_before: now - 60_000,
        accepted_before: now - 60_000,
        guests_before: 0,
        offered_before: 0,
    };
    sweep(&pool, &early).await.unwrap();
    assert_eq!((count("accounts").await, count("envelopes").await), (2, 3));
    assert_eq!(
        (count("sessions").await, count("proof_nonces").await),
        (2, 2)
    );
    let late = Ages {
        now: now + 3_600_000,
        acked_before: now + 1,
        closed_before: now + 1,
        proposed_before: now + 1,
        accepted_before: now + 1,
        guests_before: 0,
        offered_before: 0,
    };
    sweep(&pool, &late).await.unwrap();
    assert_eq!((count("accounts").await, count("envelopes").await), (1, 1));
    assert_eq!(
        (count("sessions").await, count("proof_nonces").await),
        (0, 0)
    );
    // With its memory gone, a repeat is stored again; its number is new.
    assert_eq!(
        stays
            .receive(&stays.stranger("read"))
            .await
            .assert_status(201)
            .id(),
        3
    );
}
