//! How long a payment takes over 1, 3 and 6 promises in a row, on real plugins, homeservers, Postgres and a cosigned log, each person's
//! wallet running; and what of it is the way there, the log, and the way back. Prints numbers; asserts nothing about them.
//! `ATOMICITY_BENCH_PAYMENTS` sets how many payments of each kind (50 if it is not set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atomicity_e2e::World;
use atomicity_e2e::people::Site;
use atomicity_e2e::people::{Person, expect};
use atomicity_e2e::postgres::server_url;
use atomicity_e2e::promises::Cosigned;
use atomicity_e2e::town::{Town, befriend, invoice, live, over};
use atomicity_e2e::watch::Watch;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

/// In what people count.
const UNIT: &str = "BREAD/2";

#[tokio::main]
async fn main() {
    // `cargo test` builds benches too and runs them without this flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let payments = std::env::var("ATOMICITY_BENCH_PAYMENTS");
    let payments: usize = payments.map_or(50, |text| text.parse().unwrap());
    for interval_ms in [1_000, 200] {
        let town = town(interval_ms).await;
        let people = chain(&town, 7).await;
        for promises in [1, 3, 6] {
            let row: Vec<&Person> = people.iter().take(promises + 1).collect();
            measure(&row, interval_ms, payments).await;
        }
    }
}

async fn town(interval_ms: u32) -> Town {
    let world = World::start().await.unwrap();
    let log = Cosigned::start_every(&world, "log", 3_600, interval_ms)
        .await
        .unwrap();
    let sites = [
        Site::open(&world, "h1").await.unwrap(),
        Site::open(&world, "h2").await.unwrap(),
    ];
    Town {
        log,
        sites,
        unit: UNIT,
        world,
    }
}

/// So many people, each a friend of the next, at the two homeservers in turn. Nobody takes a fee.
async fn chain(town: &Town, count: usize) -> Vec<Person> {
    let mut people: Vec<Person> = Vec::new();
    for number in 0..count {
        let person = town
            .person(&format!("p{number}"), number % 2)
            .await
            .unwrap();
        if let Some(last) = people.last() {
            befriend(last, &person, "100000.00 BREAD/2").await.unwrap();
        }
        people.push(person);
    }
    for person in &people {
        let on = [
            "forward", "on", "--all", "--unit", UNIT, "--fee", "0", "--ppm", "0",
        ];
        person.wallet().ok(&on).await.unwrap();
    }
    people
}

/// What became of one payment, in milliseconds.
struct Took {
    /// From the command to its end: the payer has the proof.
    whole: u64,
    /// Until the payee had the promise.
    there: u64,
    /// From then until the payee had the proof that the secret is in the log.
    log: u64,
    /// From then until the payer knew.
    back: u64,
    /// From the command until the payer's promise was booked.
    booked: u64,
}

async fn measure(row: &[&Person], interval_ms: u32, payments: usize) {
    let mut running: Vec<Watch> = Vec::new();
    for person in row.iter().skip(1) {
        running.push(live(person).await.unwrap());
    }
    let mut postgres = PgConnection::connect(server_url().unwrap().as_str())
        .await
        .unwrap();
    let idle = busy_during(&mut postgres, async {
        tokio::time::sleep(Duration::from_secs(5)).await;
    });
    let idle = idle.await / 5_000.0;
    let mut all = Vec::new();
    let started = now();
    let busy = busy_during(&mut postgres, async {
        for _ in 0..payments {
            all.push(pay(row, &mut running).await);
        }
    });
    let busy = busy.await;
    let elapsed = f64::from(u32::try_from(now() - started).unwrap());
    let in_postgres = (busy - idle * elapsed) / f64::from(u32::try_from(payments).unwrap());
    for watch in running {
        watch.stop().await.unwrap();
    }
    let split = |part: fn(&Took) -> u64| {
        let mut part: Vec<u64> = all.iter().map(part).collect();
        part.sort_unstable();
        let at = |percent: usize| part[(part.len() * percent).div_ceil(100) - 1];
        format!("p50 {:>5} p99 {:>5}", at(50), at(99))
    };
    println!(
        "{payments} payments over {} promises, checkpoint every {interval_ms} ms, in ms: whole {}; to the payee {}; log {}; back to the payer {}; \
         booked {}; Postgres worked {in_postgres:.1} ms for each, all plugins together",
        row.len() - 1,
        split(|t| t.whole),
        split(|t| t.there),
        split(|t| t.log),
        split(|t| t.back),
        split(|t| t.booked),
    );
}

async fn pay(row: &[&Person], running: &mut [Watch]) -> Took {
    let payee = row.last().unwrap();
    let (link, name) = invoice(payee, "0.10 BREAD/2", "bread").await.unwrap();
    let along = over(&row[1..]);
    let start = now();
    let paid = row[0].wallet().ok(&["pay", &link, "--along", &along]).await;
    let end = now();
    let paid = paid.unwrap();
    expect(&paid, "/state", "paid").unwrap();
    let last = running.last_mut().unwrap();
    let promised = last.next("the promise", |e| e["event"] == "promised").await;
    let promised = promised.unwrap();
    let done = |e: &Value| e["event"] == "invoice_paid" && e["invoice"] == name.as_str();
    let done = last.next("the proof", done).await.unwrap();
    let hop = running.first_mut().unwrap();
    let booked = |e: &Value| e["event"] == "merged" && e["direction"] == "in";
    // The payer's own wallet is not running: it books what it owes when it is asked to read the news.
    row[0].sync().await.unwrap();
    let booked = hop.next("the booking", booked).await.unwrap();
    let at = |event: &Value| event["at"].as_u64().unwrap();
    Took {
        whole: end - start,
        there: at(&promised).saturating_sub(start),
        log: at(&done).saturating_sub(at(&promised)),
        back: end.saturating_sub(at(&done)),
        booked: at(&booked).saturating_sub(start),
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

/// For how many milliseconds the server executed statements of anybody meanwhile.
async fn busy_during(postgres: &mut PgConnection, work: impl Future<Output = ()>) -> f64 {
    let before = busy(postgres).await;
    work.await;
    // What a session did shows up a second later at most.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    busy(postgres).await - before
}

async fn busy(postgres: &mut PgConnection) -> f64 {
    sqlx::query_scalar("SELECT sum(active_time) FROM pg_stat_database")
        .fetch_one(postgres)
        .await
        .unwrap()
}
