//! A plugin as a process, a user whose agent works there, and friends who keep their own books with their root keys.

use std::collections::BTreeMap;

use atomicity_ledger::jws::Version;
use atomicity_ledger::pair::{Event, KnownLogs, LineTerms, NewBook, Outcome, Pair, PendingReason};
use atomicity_ledger::record::{
    Delegation, DelegationLimit, EncryptionKeyEntry, Inbox, Profile, Scope,
};
use atomicity_ledger::seal::{
    Agreement, EncryptionSecret, Envelope, KeyId, Parcel, Route, open_known, open_stranger,
    seal_known,
};
use atomicity_ledger::{
    AnyRecord, Epoch, Keypair, Serial, Signed, SignerKey, Timestamp, Total, Unit, UserKey,
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

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

/// A user with their root key at hand.
pub struct Person {
    pub root: Keypair,
    pub user: UserKey,
    pub token: String,
    pub secret_bytes: [u8; 32],
    pub secret: EncryptionSecret,
    pub profile: String,
    pub pairs: BTreeMap<UserKey, Pair>,
    pub profiles: BTreeMap<UserKey, String>,
    pub events: Vec<Event>,
    pub logs: KnownLogs,
}

fn current(profile: &str) -> EncryptionKeyEntry {
    let profile: Signed<Profile> = Signed::decode(profile).unwrap();
    profile.record().current_key().unwrap().clone()
}

impl Person {
    fn new(user: &User, token: String, (plugin, base): (&str, &str)) -> Self {
        let root = Keypair::from_secret(&user.root.secret());
        let secret_bytes: [u8; 32] = rand::random();
        let secret = EncryptionSecret::new(KeyId::new(1), secret_bytes);
        let profile = Profile {
            v: Version,
            user: root.user_key(),
            serial: Serial::default(),
            name: None,
            encryption: vec![EncryptionKeyEntry {
                n: KeyId::new(1),
                key: secret.public(),
            }],
            inboxes: vec![Inbox {
                plugin: plugin.parse().unwrap(),
                url: base.parse().ok(),
            }],
            units: Vec::new(),
            logs_trusted: Vec::new(),
            logs_refused: Vec::new(),
            at: now(),
        };
        Self {
            user: root.user_key(),
            profile: Signed::sign(profile, &root).unwrap().jws().to_owned(),
            root,
            token,
            secret_bytes,
            secret,
            pairs: BTreeMap::new(),
            profiles: BTreeMap::new(),
            events: Vec::new(),
            logs: KnownLogs::default(),
        }
    }

    pub fn pair(&self, peer: &UserKey) -> &Pair {
        &self.pairs[peer]
    }

    fn outgoing(&self, peer: &UserKey) -> Agreement {
        let key = current(&self.profiles[peer]);
        Agreement::outgoing(&self.user, &self.secret, peer, &key.key, key.n).unwrap()
    }

    fn incoming(&self, peer: &UserKey) -> Agreement {
        let key = current(&self.profiles[peer]);
        Agreement::incoming(&self.user, &self.secret, peer, &key.key, key.n).unwrap()
    }

    /// Takes a record; what must be looked up before is taken as looked up. Returns the answers.
    fn take(&mut self, peer: UserKey, jws: &str) -> Vec<String> {
        let Ok(record) = AnyRecord::decode(jws) else {
            return Vec::new();
        };
        let (root, logs) = (self.root.clone(), self.logs.clone());
        let pair = self.pairs.get_mut(&peer).unwrap();
        for _ in 0..3 {
            match pair.receive_with(&record, &logs, now(), Some(&root)) {
                Ok(Outcome::Applied { events, replies }) => {
                    self.events.extend(events);
                    return replies.iter().map(|r| r.jws().to_owned()).collect();
                }
                Ok(Outcome::Pending(PendingReason::RevocationUnknown { key })) => {
                    pair.authority_checked(key, now());
                }
                Ok(_) => return Vec::new(),
                Err(error) => panic!("{} refused: {error}", record.typ()),
            }
        }
        Vec::new()
    }

    /// What `peer` writes for this person.
    pub fn reads(&self, peer: &UserKey) -> Agreement {
        self.incoming(peer)
    }

    /// Tells the plugin by which tags friends write.
    async fn register_tags(&self, site: &Site) {
        let tags = self.pairs.keys().map(|peer| self.incoming(peer).tag());
        let body = json!({"tags": tags.collect::<Vec<_>>()});
        site.call(Method::PUT, "/v0/me/tags", &self.token, Some(body))
            .await
            .assert_status(200);
    }

    /// Records for the peer in one envelope.
    pub fn sealed(&self, peer: &UserKey, records: Vec<String>) -> String {
        let parcel = Parcel::new(self.user, records).unwrap();
        let sealed = seal_known(&self.outgoing(peer), rand::random(), &parcel).unwrap();
        sealed.to_json().unwrap()
    }

    /// Leaves records in the peer's inbox.
    pub async fn send(&self, site: &Site, peer: &UserKey, records: Vec<String>) {
        for parcel in Parcel::split(self.user, records).unwrap() {
            let sealed = self.sealed(peer, parcel.records);
            let body: Value = serde_json::from_str(&sealed).unwrap();
            let path = format!("/v0/inbox/{peer}");
            let answer = Answer::of(site.request(Method::POST, &path).json(&body)).await;
            assert!(answer.status.is_success(), "{}", answer.body);
        }
    }

    /// Reads the own inbox and answers. Returns how many envelopes there were.
    pub async fn pump(&mut self, site: &Site) -> usize {
        self.pump_over(site, site).await
    }

    /// The same with friends who are at another plugin, `there`.
    pub async fn pump_over(&mut self, site: &Site, there: &Site) -> usize {
        let page = site.call(Method::GET, "/v0/inbox?limit=500", &self.token, None);
        let page = page.await;
        page.assert_status(200);
        let items = page.body["items"].as_array().unwrap().clone();
        let mut ids = Vec::new();
        for item in &items {
            ids.push(item["id"].clone());
            let envelope = Envelope::from_json(item["envelope"].to_string().as_bytes()).unwrap();
            let parcel = match envelope.route() {
                Route::Stranger(_) => {
                    open_stranger(&self.user, std::slice::from_ref(&self.secret), &envelope)
                }
                Route::Known(tag) => {
                    let peers: Vec<UserKey> = self.pairs.keys().copied().collect();
                    let known = peers.iter().map(|peer| self.incoming(peer));
                    let agreement = known.into_iter().find(|a| a.tag() == *tag).unwrap();
                    open_known(&agreement, &envelope)
                }
            };
            let parcel = parcel.unwrap();
            let mut answers = Vec::new();
            for jws in &parcel.records {
                answers.extend(self.take(parcel.from, jws));
            }
            if !answers.is_empty() {
                self.send(there, &parcel.from, answers).await;
            }
        }
        if !ids.is_empty() {
            let body = json!({"ids": ids});
            site.call(Method::POST, "/v0/inbox/ack", &self.token, Some(body))
                .await
                .assert_status(200);
        }
        items.len()
    }

    /// Reads the own inbox until `done` says enough.
    pub async fn pump_until(&mut self, site: &Site, what: &str, done: impl Fn(&Self) -> bool) {
        self.pump_until_over((site, site), what, done).await;
    }

    /// The same with friends who are at another plugin: read at the first, answered at the second.
    pub async fn pump_until_over(
        &mut self,
        (site, there): (&Site, &Site),
        what: &str,
        done: impl Fn(&Self) -> bool,
    ) {
        let started = std::time::Instant::now();
        while !done(self) {
            self.pump_over(site, there).await;
            assert!(
                started.elapsed().as_secs() < 60,
                "waited in vain until {what}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    pub async fn call(
        &self,
        site: &Site,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        site.call(method, path, &self.token, body).await
    }

    /// Everything that the agent signed, in order.
    pub async fn journal(&self, site: &Site) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), "0".to_owned());
        loop {
            let path = format!("/v0/me/agent/journal?after={after}&limit=50");
            let page = self.call(site, Method::GET, &path, None).await;
            page.assert_status(200);
            all.extend(page.body["items"].as_array().unwrap().clone());
            match page.body["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => return all,
            }
        }
    }

    pub fn of_kind(journal: &[Value], what: &str) -> usize {
        journal.iter().filter(|item| item["what"] == what).count()
    }

    /// The books as the agent has them.
    pub async fn agents_pair(&self, site: &Site, peer: &UserKey) -> Pair {
        let path = format!("/v0/me/agent/peers/{peer}");
        let answer = self.call(site, Method::GET, &path, None).await;
        serde_json::from_value(answer.assert_status(200).body["pair"].clone()).unwrap()
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
