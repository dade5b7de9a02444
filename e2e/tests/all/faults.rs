//! Plugins and their Postgres break under load; what was answered with success is there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atomicity_e2e::mailbox::{Mailbox, Waiting};
use atomicity_e2e::postgres::{Database, OwnServer};
use atomicity_e2e::{Homeserver, Plugin, World, wait};
use serde_json::Value;

const WRITERS: usize = 8;
const EACH: usize = 60;

/// Writers that post until each of their messages was taken once.
struct Load {
    taken: Arc<Mutex<HashMap<Vec<u8>, String>>>,
    failures: Arc<AtomicUsize>,
    writers: tokio::task::JoinSet<()>,
}

impl Load {
    fn start(mailbox: &Mailbox) -> Self {
        let taken = Arc::new(Mutex::new(HashMap::new()));
        let failures = Arc::new(AtomicUsize::new(0));
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (mailbox, taken, failures) = (mailbox.clone(), taken.clone(), failures.clone());
            writers.spawn(async move {
                for number in 0..EACH {
                    let content = format!("{writer}/{number}{}", "x".repeat(400)).into_bytes();
                    let id = wait::until("a post to be taken", || async {
                        let result = mailbox.deliver(&content).await;
                        if result.is_err() {
                            failures.fetch_add(1, Ordering::Relaxed);
                        }
                        result
                    })
                    .await
                    .unwrap();
                    taken.lock().unwrap().insert(content, id);
                }
            });
        }
        Self {
            taken,
            failures,
            writers,
        }
    }

    fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    /// Waits until so many messages were taken. Returns at a moment when more are under way.
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

    /// Waits for the end, and compares what was answered with what is there.
    async fn check(mut self, mailbox: &Mailbox) {
        while let Some(ended) = self.writers.join_next().await {
            ended.unwrap();
        }
        let taken = self.taken.lock().unwrap().clone();
        assert_eq!(taken.len(), WRITERS * EACH);
        assert!(
            self.failures.load(Ordering::Relaxed) > 0,
            "nobody noticed the fault"
        );
        let waiting = wait::until("the inbox", || mailbox.read()).await.unwrap();
        assert_eq!(waiting.len(), taken.len(), "lost, or stored twice");
        for Waiting { id, content } in waiting {
            assert_eq!(
                taken.get(&content),
                Some(&id),
                "stored under another number"
            );
        }
    }
}

async fn site() -> (World, Homeserver, Plugin) {
    let world = World::start().await.unwrap();
    let homeserver = world.homeserver("h").await.unwrap();
    let plugin = world.plugin("p", &homeserver).await.unwrap();
    (world, homeserver, plugin)
}

async fn site_on(server: &OwnServer) -> (World, Homeserver, Plugin) {
    let world = World::start().await.unwrap();
    let homeserver = world.homeserver("h").await.unwrap();
    let mut options = world.plugin_options("p", &homeserver).await.unwrap();
    let database = Database::create_on(server.url(), "p").await.unwrap();
    options.database_url = database.url().to_string();
    options.owned_database = Some(database);
    let plugin = world.plugin_with("p", options).await.unwrap();
    (world, homeserver, plugin)
}

async fn ready(plugin: &Plugin) -> anyhow::Result<u16> {
    let answer = reqwest::get(format!("{}/health/ready", plugin.http_url())).await?;
    Ok(answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_answered_survives_kill_9() {
    let (world, homeserver, mut plugin) = site().await;
    let mailbox = Mailbox::open(&world, &homeserver, &plugin).await.unwrap();
    let load = Load::start(&mailbox);
    for part in 1..=3 {
        load.reach(WRITERS * EACH * part / 5).await;
        plugin.kill().await.unwrap();
        plugin.start().await.unwrap();
    }
    load.check(&mailbox).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_answered_survives_a_crash_of_postgres() {
    let server = OwnServer::start().await.unwrap();
    let (world, homeserver, plugin) = site_on(&server).await;
    let mailbox = Mailbox::open(&world, &homeserver, &plugin).await.unwrap();
    let load = Load::start(&mailbox);
    for part in 1..=2 {
        load.reach(WRITERS * EACH * part / 4).await;
        server.crash().await.unwrap();
        server.restart().await.unwrap();
    }
    load.check(&mailbox).await;
    wait::until("the plugin to be ready again, without a hand", || async {
        let status = ready(&plugin).await?;
        anyhow::ensure!(status == 200, "{status}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn without_postgres_a_plugin_says_so_and_recovers_by_itself() {
    let server = OwnServer::start().await.unwrap();
    let (world, homeserver, plugin) = site_on(&server).await;
    let mailbox = Mailbox::open(&world, &homeserver, &plugin).await.unwrap();

    server.crash().await.unwrap();
    // Processes of the server that are at work end a moment after their parent.
    let mut expected = Vec::new();
    let (refused, answer) = loop {
        let content = format!("message {}", expected.len()).into_bytes();
        let answer = mailbox.post(&content).await.unwrap();
        if answer.status() != 201 {
            break (content, answer);
        }
        expected.push(content);
    };
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "database_unavailable");
    assert_eq!(ready(&plugin).await.unwrap(), 503);
    let live = reqwest::get(format!("{}/health/live", plugin.http_url()))
        .await
        .unwrap();
    assert_eq!(live.status(), 200);

    server.restart().await.unwrap();
    wait::until("the plugin to take posts again", || {
        mailbox.deliver(b"after it")
    })
    .await
    .unwrap();
    expected.push(b"after it".to_vec());
    let waiting = mailbox.read().await.unwrap();
    // An answer that was lost on the way from Postgres says nothing about what was stored.
    let contents: Vec<Vec<u8>> = waiting.into_iter().map(|item| item.content).collect();
    let contents: Vec<Vec<u8>> = contents.into_iter().filter(|c| *c != refused).collect();
    assert_eq!(
        contents, expected,
        "what was answered with success is not there"
    );
}

#[tokio::test]
async fn a_second_plugin_on_one_database_refuses_to_run() {
    let (world, homeserver, mut first) = site().await;
    let mailbox = Mailbox::open(&world, &homeserver, &first).await.unwrap();
    let mut options = world.plugin_options("second", &homeserver).await.unwrap();
    let mut second = Plugin::prepare("second", &world.new_path("second"), {
        options.database_url = first.options().database_url.clone();
        options
    })
    .await
    .unwrap();

    second.launch().unwrap();
    let status = second.wait_for_end().await.unwrap();
    assert_eq!(status.code(), Some(1));
    let said = std::fs::read_to_string(second.log_file()).unwrap();
    assert!(said.contains("database_in_use"), "{said}");
    mailbox.deliver(b"the first still serves").await.unwrap();

    // A crash of the first leaves no lock behind.
    first.kill().await.unwrap();
    second.start().await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), second.stop())
        .await
        .unwrap()
        .unwrap();
}
