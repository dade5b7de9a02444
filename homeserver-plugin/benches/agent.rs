//! How many payments a second one user's agent makes, takes and passes on, with few and with many friends, beside what `pgbench -N` gets
//! out of the same Postgres. Prints numbers; asserts nothing about them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    dead_code,
    unused_imports
)]

#[path = "../tests/all/support/mod.rs"]
mod support;
#[path = "../tests/all/agent/world.rs"]
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use atomicity_ledger::onion::{HopKey, Payload, seal};
use atomicity_ledger::pair::{KnownLog, NewPromise, PaymentNote};
use atomicity_ledger::record::{LogTerm, Terms};
use atomicity_ledger::seal::{KeyId, Parcel, seal_known};
use atomicity_ledger::{Amount, PaymentHash, PolicyHash, Preimage, RecordId};
use atomicity_witness_log::{Checkpoint, Policy, SignedNote};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use support::plugin::b64;
use world::{Person, Site, befriend, engage, hand_over_body, now, unit};

/// Requests and posts that are under way at once.
const AT_ONCE: usize = 64;
/// Secrets that are shown to the log at once: each is answered when it stands there.
const PUBLISHED_AT_ONCE: usize = 512;
/// Payments of one kind.
const PAYMENTS: usize = 3_000;

#[tokio::main]
async fn main() {
    // `cargo test` builds benches too and runs them without this flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    for friends in [2, 100, 1_000] {
        measure(friends).await;
    }
    pgbench();
}

const SETS: [&str; 17] = [
    "database.max_connections=24",
    "witness_log.enabled=true",
    "witness_log.interval_ms=200",
    "witness_log.address_per_minute=10000000",
    "witness_log.user_per_minute=10000000",
    "sessions.opens_per_minute=1000000",
    "inbox.tag_per_second=1000000",
    "inbox.stranger_per_minute=1000000",
    "inbox.tag_envelopes=1000000",
    "inbox.tag_bytes=1000000000",
    "inbox.address_envelopes=1000000",
    "inbox.address_bytes=1000000000",
    "inbox.strangers_envelopes=1000000",
    "inbox.account_envelopes=1000000",
    "inbox.account_bytes=10000000000",
    "agent.forward_undecided=1000000",
    "log.filter=\"error\"",
];

async fn measure(count: usize) {
    let site = Site::with_log_and(&SETS).await;
    let mut owner = site.person().await;
    let mut friends = Vec::new();
    for _ in 0..count {
        let mut friend = site.person().await;
        befriend(&site, &mut owner, &mut friend, 1_000_000_000).await;
        friends.push(friend);
    }
    let key = engage(&site, &mut owner, 1_000_000_000, None).await;
    let settings: Value = json!({"units": [{"unit": unit(), "issue": "1000000000",
        "forward": {"base": "1", "ppm": 0, "min": "1"}}]});
    for friend in &mut friends {
        let body = hand_over_body(
            &mut owner,
            &friend.user,
            key,
            1_000_000_000,
            settings.clone(),
        );
        let path = format!("/v0/me/agent/peers/{}", friend.user);
        owner
            .call(&site, Method::PUT, &path, Some(body))
            .await
            .assert_status(200);
    }
    for friend in &mut friends {
        let user = owner.user;
        friend
            .pump_until(&site, "the friend heard of the agent", |friend| {
                let book = friend.pair(&user).theirs().book();
                book.is_some_and(|book| book.record().key == key)
            })
            .await;
    }
    quiet(&site, &owner).await;
    let site = Arc::new(site);
    let rate = |n: usize, took: Duration| n as f64 / took.as_secs_f64();
    let (n, took) = issue(&site, &owner, &friends).await;
    println!(
        "{count:>5} friends: {:>6.0} payments/s made (asked for over HTTP)",
        rate(n, took)
    );
    let (n, took) = take(&site, &owner, &mut friends).await;
    println!(
        "{count:>5} friends: {:>6.0} payments/s taken and acknowledged",
        rate(n, took)
    );
    let (secrets, took) = forward(&site, &owner, &mut friends).await;
    let n = secrets.len();
    println!(
        "{count:>5} friends: {:>6.0} promises/s passed on ({n} at once)",
        rate(n, took)
    );
    let more = publish(&site, &owner, secrets).await;
    println!(
        "{count:>5} friends: {:>6.0} payments/s whole: passed on, published, booked on both sides",
        rate(n, took + more)
    );
}

/// Waits until nothing more is signed.
async fn quiet(site: &Site, owner: &Person) {
    let mut before = -1;
    loop {
        let signed = signed(site, owner).await;
        if signed == before {
            return;
        }
        before = signed;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn signed(site: &Site, owner: &Person) -> i64 {
    let mut connection = PgConnection::connect(&site.database.url).await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM agent_journal WHERE owner = $1")
        .bind(owner.user.as_bytes().as_slice())
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

async fn issue(site: &Arc<Site>, owner: &Person, friends: &[Person]) -> (usize, Duration) {
    let next = Arc::new(AtomicUsize::new(0));
    let users: Arc<Vec<_>> = Arc::new(friends.iter().map(|friend| friend.user).collect());
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (site, next, users) = (site.clone(), next.clone(), users.clone());
        let token = owner.token.clone();
        tasks.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= PAYMENTS {
                    return;
                }
                let body = json!({"id": b64(&rand::random::<[u8; 16]>()), "peer": users[n % users.len()],
                    "unit": unit(), "amount": "1"});
                site.call(Method::POST, "/v0/me/agent/issue", &token, Some(body))
                    .await
                    .assert_status(200);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    (PAYMENTS, start.elapsed())
}

/// Posts envelopes, and waits until the agent has signed so many records more.
async fn post_all(
    site: &Arc<Site>,
    owner: &Person,
    bodies: Vec<String>,
    wanted: usize,
) -> Duration {
    let before = signed(site, owner).await;
    let path = format!("/v0/inbox/{}", owner.user);
    let bodies = Arc::new(std::sync::Mutex::new(bodies));
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (site, path, bodies) = (site.clone(), path.clone(), bodies.clone());
        tasks.spawn(async move {
            loop {
                let Some(body) = bodies.lock().unwrap().pop() else {
                    return;
                };
                let request = site.request(Method::POST, &path);
                let sent = request
                    .header("content-type", "application/json")
                    .body(body)
                    .send()
                    .await
                    .unwrap();
                assert!(sent.status().is_success(), "{:?}", sent.text().await);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    while signed(site, owner).await < before + i64::try_from(wanted).unwrap() {
        assert!(
            start.elapsed().as_secs() < 300,
            "{} of {wanted}",
            signed(site, owner).await - before
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    start.elapsed()
}

/// Friends pay the owner: each payment is one envelope, and the agent acknowledges it.
async fn take(site: &Arc<Site>, owner: &Person, friends: &mut [Person]) -> (usize, Duration) {
    // One at a time from each friend: what lies in the inbox together is applied together.
    let rounds = (PAYMENTS / friends.len()).min(50);
    let (mut sum, mut took) = (0, Duration::ZERO);
    for _ in 0..rounds {
        let bodies: Vec<String> = friends
            .iter_mut()
            .map(|friend| pay(owner, friend))
            .collect();
        let n = bodies.len();
        sum += n;
        took += post_all(site, owner, bodies, n).await;
    }
    (sum, took)
}

fn pay(owner: &Person, friend: &mut Person) -> String {
    let root = friend.root.clone();
    let note = PaymentNote {
        id: RecordId::from_entropy(rand::random()),
        reference: None,
        memo: None,
    };
    let pair = friend.pairs.get_mut(&owner.user).unwrap();
    let amount = Amount::from_minor(1).unwrap();
    let paid = pair
        .issue(&unit(), amount, None, note, &root, now())
        .unwrap();
    let records = vec![paid.state.jws().to_owned(), paid.payment.jws().to_owned()];
    friend.sealed(&owner.user, records)
}

/// Half of the friends promise to the other half over the owner, all at once.
async fn forward(
    site: &Arc<Site>,
    owner: &Person,
    friends: &mut [Person],
) -> (Vec<Preimage>, Duration) {
    let (policy, origin, size) = log(site).await;
    let half = friends.len() / 2;
    let (payers, payees) = friends.split_at_mut(half);
    let each = (PAYMENTS / half).min(60);
    let (mut bodies, mut secrets) = (Vec::new(), Vec::new());
    for (payer, payee) in payers.iter_mut().zip(payees) {
        let known = KnownLog {
            policies: [PolicyHash::of(&policy)].into(),
            newest_size: size,
            refused: false,
        };
        payer.logs.insert(origin.parse().unwrap(), known);
        for _ in 0..each {
            let secret = Preimage::from_bytes(rand::random());
            secrets.push(secret);
            let terms = Terms {
                hash: secret.hash(),
                logs: vec![LogTerm {
                    origin: origin.parse().unwrap(),
                    policy_hash: PolicyHash::of(&policy),
                    from_size: size,
                }],
                deadline_ms: now().millis() + 500_000,
            };
            bodies.push(promise(owner, payer, payee, terms));
        }
    }
    let n = bodies.len();
    // The ack of the promise that came, and the promise onward.
    let took = post_all(site, owner, bodies, 2 * n).await;
    (secrets, took)
}

/// Every secret goes to the log, and the agent finds it there: what it promised is booked, and what it was promised is claimed.
async fn publish(site: &Arc<Site>, owner: &Person, secrets: Vec<Preimage>) -> Duration {
    let n = i64::try_from(secrets.len()).unwrap();
    let before = told(site, owner).await;
    let secrets = Arc::new(std::sync::Mutex::new(secrets));
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..PUBLISHED_AT_ONCE {
        let (site, secrets) = (site.clone(), secrets.clone());
        tasks.spawn(async move {
            loop {
                let Some(secret) = secrets.lock().unwrap().pop() else {
                    return;
                };
                let body = json!({"preimage": secret, "min_index": 0});
                let request = site.request(Method::POST, "/log/preimages").json(&body);
                let sent = request.send().await.unwrap();
                assert!(sent.status().is_success(), "{:?}", sent.text().await);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    // Merged with the payee's side, due on the payer's.
    while told(site, owner).await < before + 2 * n {
        let all = told(site, owner).await - before;
        assert!(start.elapsed().as_secs() < 300, "{all} of {}", 2 * n);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    start.elapsed()
}

async fn told(site: &Site, owner: &Person) -> i64 {
    let mut connection = PgConnection::connect(&site.database.url).await.unwrap();
    sqlx::query_scalar(
        "SELECT count(*) FROM agent_events WHERE owner = $1 AND kind IN ('merged', 'due')",
    )
    .bind(owner.user.as_bytes().as_slice())
    .fetch_one(&mut connection)
    .await
    .unwrap()
}

fn promise(owner: &Person, payer: &mut Person, payee: &Person, terms: Terms) -> String {
    let hop = |person: &Person| HopKey {
        user: person.user,
        key: person.secret.public(),
        id: KeyId::new(1),
    };
    let forward = Payload::Forward {
        next: payee.user,
        amount: Amount::from_minor(10).unwrap(),
        reply: false,
    };
    let path = [
        (hop(owner), forward),
        (hop(payee), Payload::Gift { memo: None }),
    ];
    let (layers, _) = seal(&path, &terms.hash, &rand::random()).unwrap();
    let (root, logs) = (payer.root.clone(), payer.logs.clone());
    let new = NewPromise {
        unit: unit(),
        amount: Amount::from_minor(11).unwrap(),
        terms,
        onward: Some(layers),
    };
    let pair = payer.pairs.get_mut(&owner.user).unwrap();
    let iou = pair.promise(new, None, &logs, &root, now()).unwrap();
    payer.sealed(&owner.user, vec![iou.jws().to_owned()])
}

async fn log(site: &Site) -> (String, String, u64) {
    let policy = site.request(Method::GET, "/log/policy").send().await;
    let policy = policy.unwrap().text().await.unwrap();
    let parsed = Policy::parse(policy.as_bytes()).unwrap();
    let origin = parsed.logs()[0].key.name().to_owned();
    let note = site.request(Method::GET, "/log/checkpoint").send().await;
    let note = SignedNote::parse(&note.unwrap().bytes().await.unwrap()).unwrap();
    let size = Checkpoint::parse(note.text()).unwrap().size;
    (policy, origin, size)
}

fn pgbench() {
    let (Ok(programs), Ok(url)) = (
        std::env::var("ATOMICITY_POSTGRES_BIN"),
        std::env::var("ATOMICITY_TEST_POSTGRES"),
    ) else {
        println!("pgbench: not run, ATOMICITY_POSTGRES_BIN is not set");
        return;
    };
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(format!("{programs}/pgbench"));
        let output = command.args(arguments).arg(&url).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run(&["-i", "-q", "-s", "10"]);
    for clients in ["1", "16", "64"] {
        let text = run(&["-N", "-c", clients, "-j", "2", "-T", "10"]);
        let tps = text.lines().find(|line| line.starts_with("tps"));
        println!(
            "pgbench -N, {clients:>2} clients: {}",
            tps.unwrap_or("no result")
        );
    }
}
