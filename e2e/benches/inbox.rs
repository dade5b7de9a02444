//! How many records a second a running plugin takes into an inbox, durably, beside what `pgbench -N`
//! gets out of the same Postgres. Prints numbers; asserts nothing about them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use atomicity_e2e::World;
use atomicity_e2e::mailbox::Mailbox;
use atomicity_e2e::postgres::Database;

/// Bytes of one sealed record: about what a small one takes.
const SIZE: usize = 1_024;

#[tokio::main]
async fn main() {
    // `cargo test` builds benches too and runs them without this flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let world = World::start().await.unwrap();
    let homeserver = world.homeserver("h").await.unwrap();
    let mut options = world.plugin_options("p", &homeserver).await.unwrap();
    for limit in [
        "tag_envelopes",
        "tag_bytes",
        "account_envelopes",
        "account_bytes",
    ] {
        options.more.push(format!("inbox.{limit}=1000000000"));
    }
    for rate in [
        "inbox.tag_per_second",
        "http.requests_per_second",
        "http.requests_burst",
    ] {
        options.more.push(format!("{rate}=1000000"));
    }
    options.more.push("log.filter=\"warn\"".to_owned());
    let plugin = world.plugin_with("p", options).await.unwrap();
    for (connections, posts) in [(1, 2_000), (16, 16_000)] {
        let mailbox = Mailbox::open(&world, &homeserver, &plugin).await.unwrap();
        let took = post(&mailbox, connections, posts).await;
        let rate = posts as f64 / took.as_secs_f64();
        println!("inbox, durable, {SIZE} B, {connections:>2} connections: {rate:>8.0} posts/s");
    }
    drop(plugin);
    pgbench().await;
}

async fn post(mailbox: &Mailbox, connections: usize, posts: usize) -> Duration {
    let left = Arc::new(AtomicUsize::new(posts));
    let start = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (mailbox, left) = (mailbox.clone(), left.clone());
        writers.spawn(async move {
            let take = |n: usize| n.checked_sub(1);
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
            {
                let content: Vec<u8> = (0..SIZE).map(|_| rand::random()).collect();
                mailbox.deliver(&content).await.unwrap();
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    start.elapsed()
}

async fn pgbench() {
    let Ok(programs) = std::env::var("ATOMICITY_POSTGRES_BIN") else {
        println!("pgbench: not run, ATOMICITY_POSTGRES_BIN is not set");
        return;
    };
    let program = format!("{programs}/pgbench");
    let database = Database::create("pgbench").await.unwrap();
    let run = async |arguments: &[&str]| {
        let output = tokio::process::Command::new(&program)
            .args(arguments)
            .arg(database.url().as_str())
            .stdin(Stdio::null())
            .output()
            .await;
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    if let Err(error) = run(&["-i", "-q", "-s", "10"]).await {
        println!("pgbench: not run, {program}: {error}");
        return;
    }
    for clients in ["1", "16"] {
        let arguments = ["-N", "-M", "prepared", "-c", clients, "-j", "2", "-T", "10"];
        let said = run(&arguments).await.unwrap();
        let rate = said
            .lines()
            .find(|line| line.starts_with("tps"))
            .unwrap_or("no result");
        println!("pgbench -N -M prepared -s 10, {clients:>2} connections: {rate}");
    }
}
