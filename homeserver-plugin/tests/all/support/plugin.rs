//! A plugin in the test's own process, and callers of it.

use atomicity_plugin::server::{self, Addresses};
use atomicity_plugin::{Config, PluginError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::database::Database;
use super::user::User;

pub struct Plugin {
    // Dropped in this order: first the plugin ends, then its database goes.
    process: Process,
    pub database: Database,
    pub addresses: Addresses,
    pub keypair: pubky::Keypair,
    pub config: Config,
    pub http: reqwest::Client,
}

type Outcome = Result<(), PluginError>;

/// The plugin's own thread and runtime, as if it were a process.
struct Process {
    stop: CancellationToken,
    outcome: oneshot::Receiver<Outcome>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Process {
    async fn start(config: Config, keypair: pubky::Keypair) -> (Self, Addresses) {
        let stop = CancellationToken::new();
        let (ready, is_ready) = oneshot::channel();
        let (ended, outcome) = oneshot::channel();
        let stopping = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            let serving = server::run(config, keypair, stopping, |addresses| {
                ready.send(addresses).unwrap();
            });
            let _ = ended.send(runtime.block_on(serving));
        });
        let process = Self {
            stop,
            outcome,
            thread: Some(thread),
        };
        match is_ready.await {
            Ok(addresses) => (process, addresses),
            Err(_) => panic!("the plugin did not start: {:?}", process.ended().await),
        }
    }

    async fn ended(mut self) -> Outcome {
        (&mut self.outcome).await.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A configuration for `database` that lets everybody register and reaches no network.
pub fn config(database: &Database) -> Config {
    let mut config = Config::default();
    config.database.url.clone_from(&database.url);
    config.database.max_connections = 4;
    config.database.acquire_timeout_ms = 2_000;
    config.database.lock_wait_ms = 300;
    config.database.startup_wait_ms = 1_000;
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.http.requests_per_second = 100_000;
    config.http.requests_burst = 100_000;
    config.http.drain_timeout_ms = 3_000;
    config.pubky.listen = "127.0.0.1:0".parse().unwrap();
    config.accounts.open_registration = true;
    config.sessions.opens_per_minute = 10_000;
    config.inbox.stranger_per_minute = 10_000;
    config.inbox.tag_per_second = 10_000;
    config.network.testnet = true;
    config.network.dht_request_timeout_ms = 100;
    config.network.resolve_timeout_ms = 1_000;
    config
}

impl Plugin {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(Database::create().await, change).await
    }

    pub async fn start_on(database: Database, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(&database);
        change(&mut config);
        config.check().unwrap();
        Self::launch(database, config, pubky::Keypair::random()).await
    }

    async fn launch(database: Database, config: Config, keypair: pubky::Keypair) -> Self {
        let (process, addresses) = Process::start(config.clone(), keypair.clone()).await;
        Self {
            process,
            database,
            addresses,
            keypair,
            config,
            http: reqwest::Client::new(),
        }
    }

    /// Stops it as a signal would and gives the database back.
    pub async fn stop(self) -> (Database, Outcome) {
        self.process.stop.cancel();
        (self.database, self.process.ended().await)
    }

    /// Waits until it ends by itself.
    pub async fn ended(self) -> Outcome {
        self.process.ended().await
    }

    /// Stops it and starts it again with the same key and settings.
    pub async fn restart(self) -> Self {
        let (config, keypair) = (self.config.clone(), self.keypair.clone());
        let (database, outcome) = self.stop().await;
        outcome.unwrap();
        Self::launch(database, config, keypair).await
    }

    pub fn key(&self) -> String {
        self.keypair.public_key().z32()
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("http://{}{path}", self.addresses.http))
    }

    pub async fn open_session(&self, body: &Value) -> Answer {
        Answer::of(self.request(Method::POST, "/v0/sessions").json(body)).await
    }

    /// A user with a session but without an account.
    pub async fn visitor(&self) -> Account<'_> {
        let user = User::new();
        let answer = self.open_session(&user.proof(&self.key())).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        let token = answer.body["token"].as_str().unwrap().to_owned();
        Account {
            plugin: self,
            user,
            token,
        }
    }

    /// A user with an account.
    pub async fn user(&self) -> Account<'_> {
        let account = self.visitor().await;
        let answer = account.call(Method::PUT, "/v0/me", None).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        account
    }

    pub async fn post(&self, to: &str, envelope: &Value) -> Answer {
        Answer::of(
            self.request(Method::POST, &format!("/v0/inbox/{to}"))
                .json(envelope),
        )
        .await
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub async fn of(request: RequestBuilder) -> Self {
        Self::read(request.send().await.unwrap()).await
    }

    pub async fn read(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Self {
            status,
            headers,
            body,
        }
    }

    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("no code")
    }

    /// Checks that this is a problem of this kind, told in all the places where it belongs.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), self.code()),
            (status, code),
            "{}",
            self.body
        );
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert!(self.body["type"].as_str().unwrap().ends_with(code));
        if matches!(status, 429 | 503) {
            let header = self.headers["retry-after"].to_str().unwrap();
            assert_eq!(self.body["retry_after_s"].to_string(), header);
        }
    }

    #[track_caller]
    pub fn assert_status(&self, status: u16) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }

    pub fn id(&self) -> i64 {
        self.body["id"].as_str().unwrap().parse().unwrap()
    }
}

/// A user as the plugin sees them.
pub struct Account<'a> {
    pub plugin: &'a Plugin,
    pub user: User,
    pub token: String,
}

pub fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Thirty-two bytes that say which they are.
pub fn tag(n: u8) -> String {
    b64(&[n; 32])
}

impl Account<'_> {
    pub fn z32(&self) -> String {
        self.user.z32()
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.plugin.request(method, path).bearer_auth(&self.token)
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Answer::of(request).await
    }

    pub async fn set_tags(&self, tags: &[String]) {
        let answer = self
            .call(Method::PUT, "/v0/me/tags", Some(json!({"tags": tags})))
            .await;
        answer.assert_status(200);
        assert_eq!(answer.body["tags"], tags.len());
    }

    /// From somebody known by tag `n`; `text` stands for the sealed content.
    pub fn known(&self, n: u8, text: &str) -> Value {
        json!({"to": self.z32(), "tag": tag(n), "ciphertext": b64(text.as_bytes())})
    }

    pub fn stranger(&self, text: &str) -> Value {
        json!({"to": self.z32(), "ephemeral": tag(77), "ciphertext": b64(text.as_bytes())})
    }

    pub async fn receive(&self, envelope: &Value) -> Answer {
        self.plugin.post(&self.z32(), envelope).await
    }

    pub async fn page(&self, query: &str) -> Answer {
        self.call(Method::GET, &format!("/v0/inbox{query}"), None)
            .await
    }

    /// Ids of everything that waits, page by page.
    pub async fn waiting(&self) -> Vec<i64> {
        let (mut ids, mut query) = (Vec::new(), String::new());
        loop {
            let page = self.page(&query).await;
            page.assert_status(200);
            ids.extend(ids_of(&page));
            match page.body["next"].as_str() {
                Some(next) => query = format!("?after={next}"),
                None => return ids,
            }
        }
    }

    pub async fn acknowledge(&self, ids: &[i64]) -> i64 {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let answer = self
            .call(Method::POST, "/v0/inbox/ack", Some(json!({"ids": ids})))
            .await;
        answer.assert_status(200);
        answer.body["removed"].as_i64().unwrap()
    }
}

pub fn ids_of(page: &Answer) -> Vec<i64> {
    page.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap().parse().unwrap())
        .collect()
}
