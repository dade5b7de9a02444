//! A plugin as a process, a user whose agent works there, and friends who keep their own books with their root keys.

#[path = "person.rs"]
mod person;

use atomicity_ledger::jws::Version;
use atomicity_ledger::pair::{LineTerms, NewBook, Pair};
use atomicity_ledger::record::{Delegation, DelegationLimit, Scope};
use atomicity_ledger::{Epoch, Serial, Signed, SignerKey, Timestamp, Total, Unit, UserKey};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

pub use self::person::Person;
use crate::support::database::Database;
use crate::support::plugin::{Answer, b64};
use crate::support::process::{Home, Running};
use crate::support::until;
use crate::support::user::User;

pub fn unit() -> Unit {
    "BREAD/2".parse().unwrap()
}

pub fn total(minor: u64) -> Total {
    Total::from_minor(minor).unwrap()
}

pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Timestamp::saturating_from_millis(u64::try_from(since.as_millis()).unwrap())
}

/// A plugin that keeps books, as a process with settings of its own.
pub struct Site {
    running: Option<Running>,
    home: Home,
    pub database: Database,
    pub base: String,
    pub plugin: String,
    http: reqwest::Client,
    sets: Vec<String>,
}

impl Site {
    pub async fn start() -> Self {
        Self::start_on(Database::create().await, &[]).await
    }

    pub async fn start_on(database: Database, sets: &[&str]) -> Self {
        let mut site = Self {
            running: None,
            home: Home::new(),
            database,
            base: String::new(),
            plugin: String::new(),
            http: reqwest::Client::new(),
            sets: sets.iter().map(|set| (*set).to_owned()).collect(),
        };
        site.launch(None);
        site
    }

    /// A plugin that runs a log of its own, which counts without cosigners.
    pub async fn with_log() -> Self {
        Self::with_log_and(&["witness_log.enabled=true", "witness_log.interval_ms=200"]).await
    }

    /// The same with these settings.
    pub async fn with_log_and(sets: &[&str]) -> Self {
        let database = Database::create().await;
        let mut site = Self {
            running: None,
            home: Home::new(),
            database,
            base: String::new(),
            plugin: String::new(),
            http: reqwest::Client::new(),
            sets: sets.iter().map(|set| (*set).to_owned()).collect(),
        };
        let made = site
            .home
            .command(&["log", "create"])
            .env("ATOMICITY_HOMESERVER_DATABASE_URL", &site.database.url)
            .args(["--testnet", "--open-registration"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        site.launch(None);
        site
    }

    fn launch(&mut self, crash: Option<&str>) {
        let mut command = self.home.run_command(&self.database);
        command.args(["--set", "agent.enabled=true"]);
        for set in &self.sets {
            command.args(["--set", set]);
        }
        match crash {
            Some(point) => command.env("ATOMICITY_TEST_CRASH", point),
            None => command.env_remove("ATOMICITY_TEST_CRASH"),
        };
        command.stderr(std::process::Stdio::null());
        let running = Running::spawn(command);
        self.base.clone_from(&running.http);
        self.plugin.clone_from(&running.plugin);
        self.running = Some(running);
    }

    /// As `kill -9` would end it, if it has not died already; then started again.
    pub fn restart(&mut self, crash: Option<&str>) {
        self.running = None;
        self.launch(crash);
    }

    /// Ends it, makes a backup of the database, and starts it again.
    pub async fn back_up(&mut self) -> Database {
        self.running = None;
        self.database.end_connections().await;
        let copy = self.database.copy().await;
        self.launch(None);
        copy
    }

    /// Ends it, and starts it again with another database.
    pub fn restore(&mut self, backup: Database) {
        self.running = None;
        self.database = backup;
        self.launch(None);
    }

    /// Waits until it has died by itself, and starts it again.
    pub fn after_death(&mut self) {
        let running = self.running.take().unwrap();
        assert!(!running.wait().success());
        self.launch(None);
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> Answer {
        let mut request = self.request(method, path).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Answer::of(request).await
    }

    /// A person with an account here.
    pub async fn person(&self) -> Person {
        let user = User::new();
        let body = user.proof(&self.plugin);
        let request = self.request(Method::POST, "/v0/sessions").json(&body);
        let answer = Answer::of(request).await;
        let token = answer.assert_status(201).body["token"]
            .as_str()
            .unwrap()
            .to_owned();
        self.call(Method::PUT, "/v0/me", &token, None)
            .await
            .assert_status(201);
        Person::new(&user, token, (&self.plugin, &self.base))
    }
}

/// Two people open their books towards each other and let each other owe `line`.
pub async fn befriend(site: &Site, a: &mut Person, b: &mut Person, line: u64) {
    befriend_over((site, site), a, b, line).await;
}

/// The same with `a` at one plugin and `b` at another.
pub async fn befriend_over(
    (site_a, site_b): (&Site, &Site),
    a: &mut Person,
    b: &mut Person,
    line: u64,
) {
    let (user_a, user_b) = (a.user, b.user);
    for (me, other) in [(&mut *a, user_b), (&mut *b, user_a)] {
        let mut pair = Pair::new(me.user, other).unwrap();
        let new = NewBook {
            key: me.root.signer_key(),
            caps: [(unit(), total(1_000_000_000))].into(),
            continues: true,
            at_least: Epoch::ZERO,
        };
        pair.open_book(new, &me.root, now()).unwrap();
        me.pairs.insert(other, pair);
    }
    a.profiles.insert(b.user, b.profile.clone());
    b.profiles.insert(a.user, a.profile.clone());
    let terms = LineTerms {
        max_deadline_s: 600,
        slots: 64,
        ..LineTerms::simple(unit(), total(line)).unwrap()
    };
    let mut to_b = first_words(a, &b.user, &terms);
    let mut to_a = first_words(b, &a.user, &terms);
    while !to_a.is_empty() || !to_b.is_empty() {
        let answers: Vec<String> = to_b.drain(..).flat_map(|r| b.take(a.user, &r)).collect();
        to_b = to_a.drain(..).flat_map(|r| a.take(b.user, &r)).collect();
        to_a = answers;
    }
    a.register_tags(site_a).await;
    b.register_tags(site_b).await;
}

fn first_words(me: &mut Person, peer: &UserKey, terms: &LineTerms) -> Vec<String> {
    let root = me.root.clone();
    let pair = me.pairs.get_mut(peer).unwrap();
    pair.set_line(terms.clone(), &root, now()).unwrap();
    pair.file_records().own
}

/// Gives `owner` an agent whose delegation lets it owe so much, towards each peer and on a day. Returns its key.
pub async fn engage(
    site: &Site,
    owner: &mut Person,
    per_peer: u64,
    per_day: Option<u64>,
) -> SignerKey {
    engage_with(site, owner, per_peer, per_day, |_| None).await
}

/// The same with a grant to write channel files.
pub async fn engage_with(
    site: &Site,
    owner: &mut Person,
    per_peer: u64,
    per_day: Option<u64>,
    storage: impl FnOnce(SignerKey) -> Option<String>,
) -> SignerKey {
    let until = now().millis() + 3_600_000;
    let mut body = json!({
        "until": until,
        "encryption": [{"n": 1, "secret": b64(&owner.secret_bytes)}],
    });
    let first = owner
        .call(site, Method::PUT, "/v0/me/agent", Some(body.clone()))
        .await;
    assert_eq!(first.assert_status(200).body["state"], "new");
    let key: SignerKey = first.body["agent_key"].as_str().unwrap().parse().unwrap();
    let delegation = Delegation {
        v: Version,
        root: owner.user,
        key,
        scopes: vec![Scope::Book],
        peers: None,
        limits: vec![DelegationLimit {
            unit: unit(),
            per_peer: total(per_peer),
            per_day: per_day.map(total),
        }],
        not_before: Timestamp::saturating_from_millis(now().millis() - 10_000),
        not_after: Timestamp::saturating_from_millis(until + 1_000_000),
        serial: Serial::default(),
    };
    let signed = Signed::sign(delegation, &owner.root).unwrap();
    body["authority"] = signed.jws().into();
    body["storage"] = storage(key).into();
    for _ in 0..2 {
        let again = owner
            .call(site, Method::PUT, "/v0/me/agent", Some(body.clone()))
            .await;
        assert_eq!(again.assert_status(200).body["state"], "active");
        assert_eq!(again.body["agent_key"], key.to_string());
    }
    for pair in owner.pairs.values_mut() {
        pair.learn_own_authority(signed.jws(), now()).unwrap();
    }
    key
}

/// What is handed over: the books towards `peer`, the next epoch of which names the agent.
pub fn hand_over_body(
    owner: &mut Person,
    peer: &UserKey,
    key: SignerKey,
    cap: u64,
    settings: Value,
) -> Value {
    let root = owner.root.clone();
    let pair = owner.pairs.get_mut(peer).unwrap();
    let new = NewBook {
        key,
        caps: [(unit(), total(cap))].into(),
        continues: true,
        at_least: Epoch::ZERO,
    };
    pair.open_book(new, &root, now()).unwrap();
    json!({
        "pair": serde_json::to_value(&*pair).unwrap(),
        "profile": owner.profiles[peer],
        "settings": settings,
    })
}

/// Hands the books over and waits until the peer has acknowledged it.
pub async fn hand_over(
    site: &Site,
    owner: &mut Person,
    peer: &mut Person,
    key: SignerKey,
    settings: Value,
) {
    let body = hand_over_body(owner, &peer.user, key, 5_000, settings);
    let path = format!("/v0/me/agent/peers/{}", peer.user);
    for _ in 0..2 {
        owner
            .call(site, Method::PUT, &path, Some(body.clone()))
            .await
            .assert_status(200);
    }
    let user = owner.user;
    peer.pump_until(site, "the peer heard of the agent", |peer| {
        let book = peer.pair(&user).theirs().book();
        book.is_some_and(|book| book.record().key == key)
    })
    .await;
    acknowledged(site, owner, &peer.user).await;
}

pub async fn acknowledged(site: &Site, owner: &Person, peer: &UserKey) {
    let path = format!("/v0/me/agent/peers/{peer}");
    until("the agent's book is acknowledged", || async {
        let answer = owner.call(site, Method::GET, &path, None).await;
        answer.body["acknowledged"] == true
    })
    .await;
}

pub fn allow(issue: u64) -> Value {
    json!({"units": [{"unit": unit(), "issue": issue.to_string()}]})
}

/// A request to pay, under a number that says which it is.
pub fn payment(n: u8, peer: &UserKey, amount: u64) -> Value {
    json!({"id": b64(&[n; 16]), "peer": peer, "unit": unit(), "amount": amount.to_string()})
}
