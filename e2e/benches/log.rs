//! How many preimages a second a running plugin publishes, durably and cosigned, how long a caller waits for the proof, and how large
//! proofs are; beside what `pgbench` gets out of the same Postgres for inserts of one row. Prints numbers; asserts nothing about them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use atomicity_e2e::World;
use atomicity_e2e::log::{LogReader, LogSite};
use atomicity_e2e::postgres::Database;
use atomicity_witness_log::Policy;

/// Cosigners, and how many of them must cosign.
const COSIGNERS: (usize, usize) = (3, 2);

#[tokio::main]
async fn main() {
    // `cargo test` builds benches too and runs them without this flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let world = World::start().await.unwrap();
    for interval in [1_000, 200] {
        at_interval(&world, interval).await;
    }
    pgbench().await;
}

async fn at_interval(world: &World, interval: u32) {
    let mut options = LogSite::options(world, "l").await.unwrap();
    options.more.extend([
        format!("witness_log.interval_ms={interval}"),
        "witness_log.max_waiting=16384".to_owned(),
        "http.requests_per_second=1000000".to_owned(),
        "http.requests_burst=1000000".to_owned(),
        "log.filter=\"warn\"".to_owned(),
    ]);
    let mut site = LogSite::prepare(world, "l", options, COSIGNERS)
        .await
        .unwrap();
    site.plugin.start().await.unwrap();
    let log = site.log();
    let policy = log.policy().await.unwrap();
    for (clients, seconds) in [(1, 10), (16, 10), (256, 10), (2_048, 10)] {
        let (count, mut waits) = publish(&log, clients, Duration::from_secs(seconds)).await;
        waits.sort_unstable();
        let at = |percent: usize| waits[(waits.len() - 1) * percent / 100].as_millis();
        println!(
            "log, checkpoint every {interval} ms, {} of {} cosigners, {clients:>4} at once: {:>7.0} preimages/s, POST to proof p50 {:>4} ms, p99 {:>4} ms",
            COSIGNERS.1,
            COSIGNERS.0,
            count as f64 / seconds as f64,
            at(50),
            at(99)
        );
    }
    sizes(&log, &policy).await;
}

/// Clients that publish one preimage after the other for a while. How many were answered, and how long each took.
async fn publish(log: &LogReader, clients: usize, time: Duration) -> (usize, Vec<Duration>) {
    let end = Instant::now() + time;
    let count = Arc::new(AtomicUsize::new(0));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let (log, count) = (log.clone(), count.clone());
        asking.spawn(async move {
            let mut waits = Vec::new();
            while Instant::now() < end {
                let started = Instant::now();
                let answer = log.post(&rand::random(), 0).await.unwrap();
                assert_eq!(answer.status(), 200);
                answer.bytes().await.unwrap();
                if Instant::now() <= end {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                waits.push(started.elapsed());
            }
            waits
        });
    }
    let waits = asking.join_all().await.concat();
    (count.load(Ordering::Relaxed), waits)
}

async fn sizes(log: &LogReader, policy: &Policy) {
    let answer = log.publish(policy, &rand::random(), 0).await.unwrap();
    let checkpoint = log.checkpoint().await.unwrap();
    println!(
        "proof of publication under {} entries: {} B, of which the cosigned checkpoint {} B",
        answer.published.size,
        answer.proof.len(),
        checkpoint.note().to_string().len()
    );
}

async fn pgbench() {
    let Ok(programs) = std::env::var("ATOMICITY_POSTGRES_BIN") else {
        println!("pgbench: not run, ATOMICITY_POSTGRES_BIN is not set");
        return;
    };
    let program = format!("{programs}/pgbench");
    let database = Database::create("pgbench").await.unwrap();
    let mut connection = database.connect().await.unwrap();
    let table = "CREATE TABLE preimages (hash bytea PRIMARY KEY, preimage bytea NOT NULL)";
    sqlx::query(table).execute(&mut connection).await.unwrap();
    let script = tempfile::NamedTempFile::new().unwrap();
    let insert = "WITH p AS (SELECT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) AS preimage) \
                  INSERT INTO preimages SELECT sha256(preimage), preimage FROM p;\n";
    std::fs::write(script.path(), insert).unwrap();
    for clients in ["1", "16", "64"] {
        let output = tokio::process::Command::new(&program)
            .args([
                "-n", "-M", "prepared", "-c", clients, "-j", "2", "-T", "10", "-f",
            ])
            .arg(script.path())
            .arg(database.url().as_str())
            .stdin(Stdio::null())
            .output()
            .await;
        let said = match output {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => return println!("pgbench: not run, {program}: {error}"),
        };
        let rate = said.lines().find(|line| line.starts_with("tps"));
        println!(
            "pgbench, one row and one commit each, {clients:>2} connections: {}",
            rate.unwrap_or("no result")
        );
    }
}
