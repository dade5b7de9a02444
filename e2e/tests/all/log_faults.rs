//! A witness log breaks in every place; what it answered is there, and nothing that it signed contradicts anything else.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atomicity_e2e::log::{Answer, Audit, LogReader, LogSite, Recorder};
use atomicity_e2e::postgres::{Database, OwnServer};
use atomicity_e2e::{World, wait};
use atomicity_witness_log::tile::{TileKind, decode_bundle};
use atomicity_witness_log::{Policy, SignedCheckpoint, TilePath};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection, Row as _};

const WRITERS: usize = 8;
const EACH: usize = 30;

/// Writers that publish until each of their preimages was answered with a proof.
struct Load {
    answers: Arc<Mutex<Vec<Answer>>>,
    failures: Arc<AtomicUsize>,
    writers: tokio::task::JoinSet<()>,
}

impl Load {
    fn start(log: &LogReader, policy: &Policy) -> Self {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let failures = Arc::new(AtomicUsize::new(0));
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..WRITERS {
            let (log, policy) = (log.clone(), policy.clone());
            let (answers, failures) = (answers.clone(), failures.clone());
            writers.spawn(async move {
                for _ in 0..EACH {
                    let preimage: [u8; 32] = rand::random();
                    let answer = wait::until("a preimage to be published", || async {
                        let result = log.publish(&policy, &preimage, 0).await;
                        if result.is_err() {
                            failures.fetch_add(1, Ordering::Relaxed);
                        }
                        result
                    });
                    let answer = answer.await.unwrap();
                    answers.lock().unwrap().push(answer);
                }
            });
        }
        Self {
            answers,
            failures,
            writers,
        }
    }

    fn count(&self) -> usize {
        self.answers.lock().unwrap().len()
    }

    /// Waits until so many were answered. Returns at a moment when more are under way.
    async fn reach(&self, count: usize) {
        wait::until("the load to come this far", || async {
            anyhow::ensure!(self.count() >= count);
            Ok(())
        })
        .await
        .unwrap();
        assert!(
            self.count() < WRITERS * EACH,
            "the load was over too early to prove anything"
        );
    }

    /// Waits for the end.
    async fn finish(mut self) -> Vec<Answer> {
        // Who waits for a checkpoint may wait an outage out, and not notice it.
        while let Some(ended) = self.writers.join_next().await {
            ended.unwrap();
        }
        let answers = self.answers.lock().unwrap().clone();
        assert_eq!(answers.len(), WRITERS * EACH);
        answers
    }
}

/// Everything that was answered is there, once.
fn check(audit: &Audit, answers: &[Answer]) {
    let counts = audit.counts();
    for answer in answers {
        assert!(audit.holds(answer), "answered and not there");
        assert_eq!(counts[&answer.published.preimage], 1, "published twice");
    }
}

/// No two checkpoints that anybody was shown with the log's signature contradict the log or each other.
fn check_signed(site: &LogSite, audit: &Audit) {
    let mut roots = HashMap::new();
    let tree = {
        let entries: Vec<Vec<u8>> = audit.leaves.iter().map(|leaf| leaf.encode()).collect();
        atomicity_witness_log::MemoryTree::from_entries(&entries)
    };
    let mut seen = 0;
    for signed in site.cosigners.iter().flat_map(|cosigner| cosigner.seen()) {
        let checkpoint = signed.checkpoint();
        let known = roots.entry(checkpoint.size).or_insert(checkpoint.root);
        assert_eq!(*known, checkpoint.root, "two roots at {}", checkpoint.size);
        if checkpoint.size <= audit.size {
            let root = atomicity_witness_log::tree::root(&tree, checkpoint.size).unwrap();
            assert_eq!(
                root, checkpoint.root,
                "the log has become another at {}",
                checkpoint.size
            );
            seen += 1;
        }
    }
    assert!(seen > 0, "no cosigner saw anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_log_answered_survives_kill_9() {
    let world = World::start().await.unwrap();
    let mut site = LogSite::start(&world, "l", (2, 2)).await.unwrap();
    let log = site.log();
    let policy = log.policy().await.unwrap();
    let recorder = Recorder::start(log.clone(), site.key.clone());
    let load = Load::start(&log, &policy);
    for part in 1..=3 {
        load.reach(WRITERS * EACH * part / 5).await;
        site.plugin.kill().await.unwrap();
        site.plugin.start().await.unwrap();
    }
    assert!(
        load.failures.load(Ordering::Relaxed) > 0,
        "nobody noticed the fault"
    );
    let answers = load.finish().await;
    let audit = log.audit(&policy).await.unwrap();
    check(&audit, &answers);
    check_signed(&site, &audit);
    assert!(recorder.finish().await.unwrap() > 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_log_answered_survives_a_crash_of_postgres() {
    let server = OwnServer::start().await.unwrap();
    let world = World::start().await.unwrap();
    let mut options = LogSite::options(&world, "l").await.unwrap();
    let database = Database::create_on(server.url(), "l").await.unwrap();
    options.database_url = database.url().to_string();
    options.owned_database = Some(database);
    let mut site = LogSite::prepare(&world, "l", options, (1, 1))
        .await
        .unwrap();
    site.plugin.start().await.unwrap();
    let mut outages = 0;
    let log = site.log();
    let policy = log.policy().await.unwrap();
    let recorder = Recorder::start(log.clone(), site.key.clone());
    let load = Load::start(&log, &policy);
    for part in 1..=2 {
        load.reach(WRITERS * EACH * part / 4).await;
        let said = std::fs::read_to_string(site.plugin.log_file()).unwrap();
        let before = said.matches("the database is back").count();
        server.crash().await.unwrap();
        server.restart().await.unwrap();
        // A commit whose outcome nobody knows ends the process; a service manager starts it again.
        let end = tokio::time::Instant::now() + wait::PATIENCE;
        loop {
            if site.plugin.has_ended().unwrap() {
                assert_eq!(site.plugin.wait_for_end().await.unwrap().code(), Some(1));
                site.plugin.start().await.unwrap();
                outages += 1;
                break;
            }
            let said = std::fs::read_to_string(site.plugin.log_file()).unwrap();
            let back = said.matches("the database is back").count();
            if back > before {
                outages += 1;
                break;
            }
            assert!(
                tokio::time::Instant::now() < end,
                "the log does not run again"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert_eq!(outages, 2);
    let answers = load.finish().await;
    let audit = log.audit(&policy).await.unwrap();
    check(&audit, &answers);
    check_signed(&site, &audit);
    recorder.finish().await.unwrap();
}

async fn status(site: &LogSite) -> anyhow::Result<u16> {
    let answer = reqwest::get(format!("{}/health/ready", site.plugin.http_url())).await?;
    Ok(answer.status().as_u16())
}

/// What the database says of a preimage, while nobody writes.
#[derive(Debug, PartialEq, Eq)]
struct Persisted {
    head: bool,
    entries: bool,
    tiles: bool,
    index: bool,
}

async fn persisted(url: &str, preimage: &[u8; 32], before: u64) -> Persisted {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let hash = atomicity_witness_log::leaf::preimage_hash(preimage);
    let head = sqlx::query("SELECT size FROM logs")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let size = u64::try_from(head.get::<i64, _>(0)).unwrap();
    let rows = sqlx::query(
        "SELECT level, index, width, bytes FROM log_tiles WHERE level <= 0 ORDER BY level, index",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let (mut entries, mut hashes) = (Vec::new(), 0);
    for row in rows {
        let width = u16::try_from(row.get::<i16, _>("width")).unwrap();
        if row.get::<i16, _>("level") == 0 {
            hashes += u64::from(width);
            continue;
        }
        let index = u64::try_from(row.get::<i64, _>("index")).unwrap();
        let path = TilePath::new(TileKind::Entries, index, width).unwrap();
        let bytes: Vec<u8> = row.get("bytes");
        let bundle = decode_bundle(&path, &bytes).unwrap();
        entries.extend(bundle.into_iter().map(<[u8]>::to_vec));
    }
    // Head, entries and tiles are of one size, whatever happened.
    assert_eq!((size, size), (entries.len() as u64, hashes));
    let named = sqlx::query("SELECT count(*) FROM log_preimages WHERE hash = $1")
        .bind(&hash[..])
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let there = entries.iter().skip(usize::try_from(before).unwrap());
    Persisted {
        head: size > before,
        entries: there.clone().any(|entry| entry.ends_with(preimage)),
        tiles: hashes > before,
        index: named.get::<i64, _>(0) == 1,
    }
}

/// The process dies at `place` while it takes a preimage in.
async fn dies_at(place: &str, is_persisted: bool) {
    let world = World::start().await.unwrap();
    let mut site = LogSite::start(&world, "l", (1, 1)).await.unwrap();
    let log = site.log();
    let policy = log.policy().await.unwrap();
    let recorder = Recorder::start(log.clone(), site.key.clone());
    let known = log.publish(&policy, &rand::random(), 0).await.unwrap();
    site.plugin.stop().await.unwrap();

    let crash = ("ATOMICITY_TEST_CRASH".to_owned(), format!("{place}:1"));
    site.plugin.options_mut().environment.push(crash);
    site.plugin.start().await.unwrap();
    let before = log.checkpoint().await.unwrap().checkpoint().size;
    let preimage: [u8; 32] = rand::random();
    assert!(
        log.post(&preimage, before).await.is_err(),
        "{place}: it answered"
    );
    assert_eq!(
        site.plugin.wait_for_end().await.unwrap().code(),
        None,
        "{place}"
    );
    let url = site.plugin.options().database_url.clone();
    let found = persisted(&url, &preimage, before).await;
    assert_eq!(found.entries, is_persisted, "{place}");
    assert_eq!(found.index, is_persisted, "{place}");
    if is_persisted {
        assert!(found.head && found.tiles, "{place}");
    }

    site.plugin.options_mut().environment.clear();
    site.plugin.start().await.unwrap();
    let answer = log.publish(&policy, &preimage, before).await.unwrap();
    let audit = log.audit(&policy).await.unwrap();
    check(&audit, &[known, answer]);
    check_signed(&site, &audit);
    recorder.finish().await.unwrap();
}

#[tokio::test]
async fn a_crash_before_the_commit_leaves_nothing() {
    for place in ["tiles_written", "preimages_written", "head_written"] {
        dies_at(place, false).await;
    }
}

#[tokio::test]
async fn a_crash_after_the_commit_leaves_all_and_the_retry_finds_it() {
    for place in ["committed", "answered_to_waiters", "before_answer"] {
        dies_at(place, true).await;
    }
}

#[tokio::test]
async fn a_crash_between_publishing_and_answering_forgets_nothing() {
    let world = World::start().await.unwrap();
    let mut site = LogSite::start(&world, "l", (1, 1)).await.unwrap();
    let log = site.log();
    let policy = log.policy().await.unwrap();
    site.plugin.kill().await.unwrap();
    let crash = ("ATOMICITY_TEST_CRASH".to_owned(), "published:8".to_owned());
    site.plugin.options_mut().environment.push(crash);
    let recorder = Recorder::start(log.clone(), site.key.clone());
    site.plugin.launch().unwrap();
    assert_eq!(site.plugin.wait_for_end().await.unwrap().code(), None);
    // The checkpoint was durable and nobody had seen it: it is the one that is served next.
    let url = site.plugin.options().database_url.clone();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let row = sqlx::query("SELECT checkpoint FROM logs")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let stored = SignedCheckpoint::parse(row.get::<String, _>(0).as_bytes()).unwrap();
    site.plugin.options_mut().environment.clear();
    site.plugin.start().await.unwrap();
    let size = log.checkpoint().await.unwrap().checkpoint().size;
    assert!(size >= stored.checkpoint().size);
    let audit = log.audit(&policy).await.unwrap();
    check_signed(&site, &audit);
    recorder.finish().await.unwrap();
}

#[tokio::test]
async fn a_second_process_on_one_database_refuses_to_run() {
    let world = World::start().await.unwrap();
    let mut site = LogSite::start(&world, "l", (1, 1)).await.unwrap();
    let (log, policy) = (site.log(), site.log().policy().await.unwrap());
    let answer = log.publish(&policy, &rand::random(), 0).await.unwrap();
    let mut options = LogSite::options(&world, "twin").await.unwrap();
    options
        .database_url
        .clone_from(&site.plugin.options().database_url);
    options.more.clone_from(&site.plugin.options().more);
    let mut twin = atomicity_e2e::Plugin::prepare("twin", &world.new_path("twin"), options)
        .await
        .unwrap();
    for file in ["secret", "log-secret"] {
        let from = site.plugin.log_file().with_file_name(file);
        std::fs::copy(from, twin.log_file().with_file_name(file)).unwrap();
    }
    twin.launch().unwrap();
    assert_eq!(twin.wait_for_end().await.unwrap().code(), Some(1));
    let said = std::fs::read_to_string(twin.log_file()).unwrap();
    assert!(said.contains("database_in_use"), "{said}");
    // Nor does the first let itself be replaced by a head that it did not write.
    let url = site.plugin.options().database_url.clone();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query("UPDATE logs SET size = size + 1, root = decode(repeat('07', 32), 'hex')")
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(site.plugin.wait_for_end().await.unwrap().code(), Some(1));
    let seen = site.cosigners[0].seen();
    assert!(
        seen.iter()
            .all(|signed| signed.checkpoint().root.as_bytes() != &[7; 32])
    );
    assert!(
        seen.iter()
            .any(|signed| signed.checkpoint().size > answer.published.index)
    );
}

#[tokio::test]
async fn a_restored_backup_refuses_to_sign() {
    let world = World::start().await.unwrap();
    let mut site = LogSite::start(&world, "l", (2, 1)).await.unwrap();
    let (log, policy) = (site.log(), site.log().policy().await.unwrap());
    let kept = log.publish(&policy, &rand::random(), 0).await.unwrap();
    site.plugin.stop().await.unwrap();
    let newest = site.plugin.options().database_url.clone();
    let backup = copy_of(&newest).await;
    site.plugin.start().await.unwrap();
    let lost = log.publish(&policy, &rand::random(), 0).await.unwrap();
    site.plugin.stop().await.unwrap();
    let signed_before: Vec<_> = site.cosigners.iter().map(|c| c.seen().len()).collect();

    site.plugin.options_mut().database_url.clone_from(&backup);
    site.plugin.rewrite_config().unwrap();
    site.plugin.launch().unwrap();
    assert_ne!(site.plugin.wait_for_end().await.unwrap().code(), Some(0));
    let said = std::fs::read_to_string(site.plugin.log_file()).unwrap();
    assert!(said.contains("restored from an old backup"), "{said}");
    for (cosigner, before) in site.cosigners.iter().zip(signed_before) {
        // All it ever signs from the backup is the head that it had signed before.
        let seen = cosigner.seen();
        assert!(seen[before..].is_empty(), "it signed something new");
    }
    // One cosigner that is away hides nothing from the others.
    site.cosigners[0].set_away(true);
    site.plugin.launch().unwrap();
    assert_ne!(site.plugin.wait_for_end().await.unwrap().code(), Some(0));
    // With none to be asked it waits rather than signs.
    site.cosigners[1].set_away(true);
    site.plugin.launch().unwrap();
    wait::until("it to wait for its cosigners", || async {
        let url = format!("{}/health/ready", site.plugin.http_url());
        let ready: Value = reqwest::get(url).await?.json().await?;
        let checks = ready["checks"].as_array().cloned().unwrap_or_default();
        let log = checks.iter().find(|check| check["check"] == "log");
        anyhow::ensure!(log.is_some_and(|check| check["ok"] == false), "{ready}");
        Ok(())
    })
    .await
    .unwrap();
    let refused = log.post(&rand::random(), 0).await.unwrap();
    assert_eq!(refused.status(), 503);
    site.plugin.kill().await.unwrap();
    for cosigner in &site.cosigners {
        cosigner.set_away(false);
    }

    site.plugin.options_mut().database_url = newest;
    site.plugin.rewrite_config().unwrap();
    site.plugin.start().await.unwrap();
    let new = log.publish(&policy, &rand::random(), 0).await.unwrap();
    let audit = log.audit(&policy).await.unwrap();
    check(&audit, &[kept, lost, new]);
    check_signed(&site, &audit);
}

/// A copy of a database that nobody uses, dropped with the server of this test run.
async fn copy_of(url: &str) -> String {
    let mut copy: url::Url = url.parse().unwrap();
    let name = copy.path().trim_start_matches('/').to_owned();
    let mut server = copy.clone();
    server.set_path("/postgres");
    let mut connection = PgConnection::connect(server.as_str()).await.unwrap();
    let copied = format!("{name}_copy");
    let statement = format!("CREATE DATABASE {copied} TEMPLATE {name}");
    // The plugin's connections end a moment after its process.
    wait::until("the database to be copied", || {
        let (statement, server) = (statement.clone(), server.clone());
        async move {
            let mut connection = PgConnection::connect(server.as_str()).await?;
            sqlx::query(&statement).execute(&mut connection).await?;
            Ok(())
        }
    })
    .await
    .unwrap();
    connection.ping().await.unwrap();
    copy.set_path(&copied);
    copy.to_string()
}

#[tokio::test]
async fn a_clock_that_is_set_back_stops_the_log() {
    let world = World::start().await.unwrap();
    let mut options = LogSite::options(&world, "l").await.unwrap();
    let clock: PathBuf = world.new_path("clock");
    let variable = "ATOMICITY_TEST_CLOCK_FILE".to_owned();
    options
        .environment
        .push((variable, clock.display().to_string()));
    let mut site = LogSite::prepare(&world, "l", options, (1, 1))
        .await
        .unwrap();
    site.plugin.start().await.unwrap();
    let (log, policy) = (site.log(), site.log().policy().await.unwrap());
    let recorder = Recorder::start(log.clone(), site.key.clone());
    let answer = log.publish(&policy, &rand::random(), 0).await.unwrap();

    std::fs::write(&clock, "-60000").unwrap();
    wait::until("the log to stop", || async {
        anyhow::ensure!(status(&site).await? == 503);
        Ok(())
    })
    .await
    .unwrap();
    let ready = reqwest::get(format!("{}/health/ready", site.plugin.http_url()))
        .await
        .unwrap();
    let ready = ready.text().await.unwrap();
    assert!(ready.contains("stopped: clock_stuck"), "{ready}");
    let refused = log.post(&rand::random(), 0).await.unwrap();
    assert_eq!(refused.status(), 503);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["code"], "log_stopped");
    // The rest of the plugin goes on, and so does reading the log.
    let info = reqwest::get(format!("{}/v0/info", site.plugin.http_url()))
        .await
        .unwrap();
    assert_eq!(info.status(), 200);
    let audit = log.audit(&policy).await.unwrap();
    check(&audit, std::slice::from_ref(&answer));
    // A clock that comes right by itself does not start it again.
    std::fs::write(&clock, "0").unwrap();
    assert_eq!(log.post(&rand::random(), 0).await.unwrap().status(), 503);

    site.plugin.stop().await.unwrap();
    site.plugin.start().await.unwrap();
    let later = log.publish(&policy, &rand::random(), 0).await.unwrap();
    let audit = log.audit(&policy).await.unwrap();
    check(&audit, &[answer, later]);
    check_signed(&site, &audit);
    recorder.finish().await.unwrap();
}
