//! A user who keeps their own books with their root key.

use std::collections::BTreeMap;

use atomicity_ledger::jws::Version;
use atomicity_ledger::pair::{Event, KnownLogs, Outcome, Pair, PendingReason};
use atomicity_ledger::record::{EncryptionKeyEntry, Inbox, Part, Profile};
use atomicity_ledger::seal::{
    Agreement, EncryptionSecret, Envelope, KeyId, Parcel, Route, open_known, open_stranger,
    seal_known,
};
use atomicity_ledger::{AnyRecord, Keypair, Serial, Signed, UserKey};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Site, now};
use crate::support::plugin::Answer;
use crate::support::user::User;

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
    /// What agents asked to pay, in the order in which it came.
    pub parts: Vec<Signed<Part>>,
}

fn current(profile: &str) -> EncryptionKeyEntry {
    let profile: Signed<Profile> = Signed::decode(profile).unwrap();
    profile.record().current_key().unwrap().clone()
}

impl Person {
    pub(super) fn new(user: &User, token: String, (plugin, base): (&str, &str)) -> Self {
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
            page: false,
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
            parts: Vec::new(),
        }
    }

    /// Calls themselves `name` from now on.
    pub fn rename(&mut self, name: &str) {
        let signed: Signed<Profile> = Signed::decode(&self.profile).unwrap();
        let mut profile = signed.record().clone();
        profile.name = Some(name.parse().unwrap());
        self.profile = Signed::sign(profile, &self.root).unwrap().jws().to_owned();
    }

    pub fn pair(&self, peer: &UserKey) -> &Pair {
        &self.pairs[peer]
    }

    pub(super) fn outgoing(&self, peer: &UserKey) -> Agreement {
        let key = current(&self.profiles[peer]);
        Agreement::outgoing(&self.user, &self.secret, peer, &key.key, key.n).unwrap()
    }

    pub(super) fn incoming(&self, peer: &UserKey) -> Agreement {
        let key = current(&self.profiles[peer]);
        Agreement::incoming(&self.user, &self.secret, peer, &key.key, key.n).unwrap()
    }

    /// Takes a record; what must be looked up before is taken as looked up. Returns the answers.
    pub fn take(&mut self, peer: UserKey, jws: &str) -> Vec<String> {
        let Ok(record) = AnyRecord::decode(jws) else {
            return Vec::new();
        };
        if let AnyRecord::Part(part) = record {
            self.parts.push(part);
            return Vec::new();
        }
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
    pub(super) async fn register_tags(&self, site: &Site) {
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
