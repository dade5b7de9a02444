//! What must survive, and what must be refused, when things break.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use atomicity_plugin::db::lock::LOCK_NUMBER;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::support::database::Database;
use crate::support::plugin::{Answer, Plugin, b64, tag};
use crate::support::postgres::PrivatePostgres;
use crate::support::process::{Home, Running, text};
use crate::support::until;
use crate::support::user::User;

#[tokio::test]
async fn a_second_plugin_on_one_database_refuses_to_start() {
    let plugin = Plugin::start().await;
    let home = Home::new();
    let output = home.run_command(&plugin.database).output().unwrap();
    let (_, said) = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("another atomicity-homeserver") && said.contains("database_in_use"),
        "{said}"
    );
    // Neither may it change the schema under the first.
    let output = home
        .command(&[
            "migrate",
            "--open-registration",
            "--set",
            "database.lock_wait_ms=100",
        ])
        .env("ATOMICITY_HOMESERVER_DATABASE_URL", &plugin.database.url)
        .output()
        .unwrap();
    assert!(text(&output).1.contains("database_in_use"));
    let account = plugin.user().await;
    account
        .receive(&account.stranger("still serving"))
        .await
        .assert_status(201);
    let (database, outcome) = plugin.stop().await;
    outcome.unwrap();
    let second = Running::start(&home, &database);
    second.signal("TERM");
    assert_eq!(second.wait().code(), Some(0));
}

#[tokio::test]
async fn a_plugin_that_loses_its_database_to_another_stops() {
    let plugin = Plugin::start_with(|config| config.database.lock_grace_ms = 300).await;
    let mut thief = plugin.database.connect().await;
    loop {
        plugin.database.end_lock_holder().await;
        let taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(LOCK_NUMBER)
            .fetch_one(&mut thief)
            .await
            .unwrap();
        if taken {
            break;
        }
    }
    let error = plugin.ended().await.unwrap_err();
    assert_eq!(error.code(), "database_in_use");
}

/// Whether the plugin says of itself that it holds its database and can reach it. (That it can be found by key is another matter,
/// and here there is no network to be found in.)
async fn holds_database(plugin: &Plugin) -> bool {
    let answer = Answer::of(plugin.request(Method::GET, "/health/ready")).await;
    let checks = answer.body["checks"].as_array().unwrap();
    let ok = |name: &str| {
        checks
            .iter()
            .any(|check| check["check"] == name && check["ok"] == true)
    };
    let holds = ok("process") && ok("database");
    assert!(holds || answer.status == 503);
    holds
}

#[tokio::test]
async fn a_lost_lock_stops_the_serving_until_it_is_held_again() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    let holds = async |it: bool| holds_database(&plugin).await == it;
    assert!(holds(true).await);
    // While nobody may connect, the lock can't be taken again.
    plugin.database.allow_connections(false).await;
    plugin.database.end_lock_holder().await;
    until("it is not ready", || holds(false)).await;
    account
        .call(Method::GET, "/v0/me", None)
        .await
        .assert_problem(503, "database_unavailable");
    plugin.database.allow_connections(true).await;
    until("it is ready again", || holds(true)).await;
    account
        .call(Method::GET, "/v0/me", None)
        .await
        .assert_status(200);
}

/// Posts until told to stop, and remembers what was answered with 201.
struct Load<'a> {
    http: reqwest::Client,
    base: Mutex<String>,
    to: String,
    stored: Mutex<BTreeSet<(i64, String)>>,
    stop: &'a AtomicBool,
}

impl Load<'_> {
    async fn run(&self, worker: usize) {
        let mut n = 0;
        while !self.stop.load(Ordering::SeqCst) {
            n += 1;
            let ciphertext = b64(format!("{worker}-{n}").as_bytes());
            let envelope = json!({"to": self.to, "tag": tag(1), "ciphertext": ciphertext});
            let url = format!("{}/v0/inbox/{}", self.base.lock().unwrap(), self.to);
            let Ok(response) = self.http.post(url).json(&envelope).send().await else {
                tokio::task::yield_now().await;
                continue;
            };
            if response.status() == StatusCode::CREATED {
                let Ok(body) = response.json::<Value>().await else {
                    continue;
                };
                let id = body["id"].as_str().unwrap().parse().unwrap();
                self.stored.lock().unwrap().insert((id, ciphertext));
            }
        }
    }

    fn count(&self) -> usize {
        self.stored.lock().unwrap().len()
    }
}

/// A user with tag 1 registered: who, and their token.
async fn register(http: &reqwest::Client, base: &str, plugin: &str, user: &User) -> String {
    let session: Value = http
        .post(format!("{base}/v0/sessions"))
        .json(&user.proof(plugin))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let token = session["token"].as_str().unwrap().to_owned();
    let put = |path: &str, body: Value| {
        http.put(format!("{base}{path}"))
            .bearer_auth(&token)
            .json(&body)
            .send()
    };
    assert!(
        put("/v0/me", json!(null))
            .await
            .unwrap()
            .status()
            .is_success()
    );
    assert!(
        put("/v0/me/tags", json!({"tags": [tag(1)]}))
            .await
            .unwrap()
            .status()
            .is_success()
    );
    token
}

/// Everything that waits: id and ciphertext.
async fn everything(http: &reqwest::Client, base: &str, token: &str) -> BTreeSet<(i64, String)> {
    let (mut all, mut after) = (BTreeSet::new(), "0".to_owned());
    loop {
        let url = format!("{base}/v0/inbox?limit=500&after={after}");
        let response = http.get(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let page: Value = response.json().await.unwrap();
        for item in page["items"].as_array().unwrap() {
            let id = item["id"].as_str().unwrap().parse().unwrap();
            all.insert((
                id,
                item["envelope"]["ciphertext"].as_str().unwrap().to_owned(),
            ));
        }
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => return all,
        }
    }
}

fn generous(home: &Home) {
    let text = "[inbox]\ntag_envelopes = 1000000\naccount_envelopes = 1000000\n";
    std::fs::write(home.0.path().join("config.toml"), text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_answered_with_success_survives_the_plugins_sudden_death() {
    let (home, database) = (Home::new(), Database::create().await);
    generous(&home);
    let http = reqwest::Client::new();
    let first = Running::start(&home, &database);
    let user = User::new();
    let token = register(&http, &first.http, &first.plugin, &user).await;
    let stop = AtomicBool::new(false);
    let load = Load {
        http: http.clone(),
        base: Mutex::new(first.http.clone()),
        to: user.z32(),
        stored: Mutex::default(),
        stop: &stop,
    };
    let workers = futures_util::future::join_all((0..8).map(|worker| load.run(worker)));
    let killing = async {
        let mut running = first;
        for round in 1..=3 {
            let target = load.count() + 50 * round;
            until("enough is stored", || async { load.count() >= target }).await;
            running.signal("KILL");
            running.wait();
            running = Running::start(&home, &database);
            load.base.lock().unwrap().clone_from(&running.http);
        }
        stop.store(true, Ordering::SeqCst);
        running
    };
    let (_, last) = tokio::join!(workers, killing);
    let there = everything(&http, &last.http, &token).await;
    let stored = load.stored.lock().unwrap().clone();
    assert!(stored.len() >= 300);
    let lost: Vec<_> = stored.difference(&there).collect();
    assert!(
        lost.is_empty(),
        "{} of {} lost: {lost:?}",
        lost.len(),
        stored.len()
    );
    // Each envelope once: nothing that was repeated or half done counts twice.
    let texts: BTreeSet<_> = there.iter().map(|(_, text)| text).collect();
    assert_eq!(texts.len(), there.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_answered_with_success_survives_the_databases_sudden_death() {
    let (postgres, url) = PrivatePostgres::start();
    let database = Database::create_on(&url).await;
    let plugin = Plugin::start_on(database, |config| {
        config.inbox.tag_envelopes = 1_000_000;
        config.inbox.account_envelopes = 1_000_000;
        config.inbox.tag_per_second = 1_000_000;
        config.database.acquire_timeout_ms = 500;
    })
    .await;
    let (base, user) = (format!("http://{}", plugin.addresses.http), User::new());
    let token = register(&plugin.http, &base, &plugin.key(), &user).await;
    let stop = AtomicBool::new(false);
    let load = Load {
        http: plugin.http.clone(),
        base: Mutex::new(base.clone()),
        to: user.z32(),
        stored: Mutex::default(),
        stop: &stop,
    };
    let workers = futures_util::future::join_all((0..8).map(|worker| load.run(worker)));
    let holds = async |it: bool| holds_database(&plugin).await == it;
    let killing = async {
        for _ in 0..2 {
            let target = load.count() + 100;
            until("enough is stored", || async { load.count() >= target }).await;
            postgres.kill();
            until("it is not ready", || holds(false)).await;
            let refused = plugin
                .post(
                    &user.z32(),
                    &json!({"to": user.z32(), "tag": tag(1), "ciphertext": "AAAA"}),
                )
                .await;
            refused.assert_problem(503, "database_unavailable");
            Answer::of(plugin.request(Method::GET, "/health/live"))
                .await
                .assert_status(200);
            postgres.start_again();
            until("it is ready again", || holds(true)).await;
        }
        let target = load.count() + 50;
        until("it stores again", || async { load.count() >= target }).await;
        stop.store(true, Ordering::SeqCst);
    };
    tokio::join!(workers, killing);
    let there = everything(&plugin.http, &base, &token).await;
    let stored = load.stored.lock().unwrap().clone();
    let lost: Vec<_> = stored.difference(&there).collect();
    assert!(
        lost.is_empty(),
        "{} of {} lost: {lost:?}",
        lost.len(),
        stored.len()
    );
    let (database, outcome) = plugin.stop().await;
    outcome.unwrap();
    drop(database);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_slow_while_the_plugin_starts_is_waited_for() {
    let (home, database) = (Home::new(), Database::create().await);
    let first = Running::start(&home, &database);
    first.signal("TERM");
    assert_eq!(first.wait().code(), Some(0));
    let mut holder = database.connect().await;
    let mut held = holder.begin().await.unwrap();
    sqlx::query("LOCK TABLE agent_mark IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *held)
        .await
        .unwrap();
    let mut command = home.run_command(&database);
    command.args(["--set", "agent.enabled=true"]);
    command.args(["--set", "database.statement_timeout_ms=300"]);
    let starting = tokio::task::spawn_blocking(|| Running::spawn(command));
    // Two attempts, so the first one has failed.
    let attempts = Mutex::new(BTreeSet::<String>::new());
    let looking = tokio::sync::Mutex::new(database.connect().await);
    until("the start is tried again", || async {
        let waiting: Vec<String> = sqlx::query_scalar(
            "SELECT query_start::text FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_all(&mut *looking.lock().await)
        .await
        .unwrap();
        let mut attempts = attempts.lock().unwrap();
        attempts.extend(waiting);
        attempts.len() >= 2
    })
    .await;
    held.rollback().await.unwrap();
    let second = starting.await.unwrap();
    second.signal("TERM");
    assert_eq!(second.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_lets_open_requests_finish() {
    for signal in ["INT", "TERM"] {
        let (home, database) = (Home::new(), Database::create().await);
        let running = Running::start(&home, &database);
        let http = reqwest::Client::new();
        let user = User::new();
        let token = register(&http, &running.http, &running.plugin, &user).await;
        let url = format!("{}/v0/inbox/events", running.http);
        let mut stream = http.get(url).bearer_auth(&token).send().await.unwrap();
        assert!(stream.chunk().await.unwrap().is_some());
        running.signal(signal);
        while let Ok(Some(_)) = stream.chunk().await {}
        assert_eq!(running.wait().code(), Some(0), "{signal}");
    }
}
