//! Users who publish their channels at homeservers that do as they are told, and questions about them.

use std::time::{SystemTime, UNIX_EPOCH};

use atomicity_ledger::record::{Advert, Profile};
use atomicity_ledger::seal::EncryptionSecret;
use atomicity_ledger::{Keypair, Record, Signed, UserKey};
use atomicity_plugin::Config;
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::plugin::{Answer, Plugin};
use crate::support::until;
use crate::support::world::{File, HomeServer, World};

pub const ROUTES: &str = "/pub/atomicity/v0/routes/";
pub const DAY: u64 = 86_400_000;

pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

pub fn signed<T: Record + DeserializeOwned>(record: Value, key: &Keypair) -> String {
    let record: T = serde_json::from_value(record).unwrap();
    Signed::sign(record, key).unwrap().jws().to_owned()
}

/// A configuration that is quick about everything.
pub fn quick(config: &mut Config) {
    let router = &mut config.router;
    router.enabled = true;
    router.requests_per_second = 2_000;
    router.homeserver_requests_per_second = 1_000;
    router.poll_s = 1;
    router.followed_poll_s = 1;
    router.idle_poll_s = 1;
    router.backoff_s = 1;
    router.max_backoff_s = 1;
    router.queries_per_minute = 1_000_000;
    router.hellos_per_minute = 1_000_000;
}

pub async fn router(
    world: &World,
    seeds: &[&Somebody<'_>],
    change: impl FnOnce(&mut Config),
) -> Plugin {
    Plugin::start_with(|config| {
        world.join(config);
        quick(config);
        config.router.seeds = seeds.iter().map(|seed| seed.user()).collect();
        change(config);
    })
    .await
}

/// A user with files at a homeserver.
pub struct Somebody<'a> {
    pub home: &'a HomeServer,
    pub root: Keypair,
}

/// What an advertisement says, in `BREAD/2`: the most that is sent on and its fee, and the most that is taken.
#[derive(Clone, Copy, Default)]
pub struct Says {
    pub send: Option<(u64, u64, u32)>,
    pub receive: Option<u64>,
    /// The debt that may be cleared: whether it is owed to whoever says so, and how much.
    pub clears: Option<(bool, u64)>,
}

pub fn owed(minor: u64) -> Says {
    Says {
        clears: Some((true, minor)),
        ..Says::default()
    }
}

pub fn owes(minor: u64) -> Says {
    Says {
        clears: Some((false, minor)),
        ..Says::default()
    }
}

pub fn both(capacity: u64) -> Says {
    Says {
        send: Some((capacity, 0, 0)),
        receive: Some(capacity),
        clears: None,
    }
}

pub fn for_fee(capacity: u64, base: u64, ppm: u32) -> Says {
    Says {
        send: Some((capacity, base, ppm)),
        receive: Some(capacity),
        clears: None,
    }
}

impl Says {
    pub fn units(self) -> Value {
        let mut unit = json!({"unit": "BREAD/2"});
        if let Some((capacity, base, ppm)) = self.send {
            unit["send"] = json!({"capacity": capacity.to_string(), "min": "1", "base": base.to_string(), "ppm": ppm});
        }
        if let Some(capacity) = self.receive {
            unit["receive"] = json!({"capacity": capacity.to_string()});
        }
        if let Some((to_me, minor)) = self.clears {
            let name = if to_me { "owed" } else { "owes" };
            unit["clears"] = json!({name: minor.to_string()});
        }
        json!([unit])
    }
}

impl<'a> Somebody<'a> {
    /// With a profile.
    pub async fn at(world: &World, home: &'a HomeServer) -> Self {
        let root = home.resident(world).await;
        let somebody = Self { home, root };
        let key = EncryptionSecret::of_root(&somebody.root)
            .public()
            .to_string();
        let profile = json!({
            "v": 1, "user": somebody.user(), "serial": 1, "encryption": [{"n": 1, "key": key}], "inboxes": [],
            "units": ["BREAD/2"], "logs_trusted": [], "logs_refused": [], "at": now(),
        });
        let profile = signed::<Profile>(profile, &somebody.root);
        somebody.put("/pub/atomicity/v0/profile", profile);
        somebody
    }

    pub fn user(&self) -> UserKey {
        self.root.user_key()
    }

    pub fn put(&self, path: &str, body: String) {
        // A validator for each content, as real homeservers have.
        let etag = format!("\"{:x}\"", sha(&body));
        let etag = Box::leak(etag.into_boxed_str());
        self.home.put(&self.user(), path, File::Is(body, etag));
    }

    pub fn delete(&self, path: &str) {
        self.home
            .put(&self.user(), path, File::Fails(StatusCode::NOT_FOUND));
    }

    pub fn advert(&self, peer: &UserKey, serial: u64, says: Says, expires: u64) -> Value {
        json!({
            "v": 1, "from": self.user(), "to": peer, "serial": serial, "units": says.units(), "max_deadline_s": 120,
            "expires": expires, "at": now(),
        })
    }

    /// Publishes what there is about the channels to these peers, and lists it.
    pub fn publish(&self, serial: u64, about: &[(&Somebody<'_>, Says)]) {
        for (peer, says) in about {
            let advert = self.advert(&peer.user(), serial, *says, now() + DAY);
            let advert = signed::<Advert>(advert, &self.root);
            self.put(&format!("{ROUTES}{}", peer.user()), advert);
        }
        let peers: Vec<UserKey> = about.iter().map(|(peer, _)| peer.user()).collect();
        self.list(ROUTES, &peers);
    }

    pub fn list(&self, folder: &str, names: &[UserKey]) {
        let line = |name: &UserKey| format!("pubky://{}{folder}{name}\n", self.user());
        self.put(folder, names.iter().map(line).collect());
    }
}

/// Enough to tell contents apart.
pub fn sha(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

pub fn question(from: &Somebody<'_>, to: &Somebody<'_>, amount: u64) -> Value {
    json!({"from": from.user(), "to": to.user(), "unit": "BREAD/2", "amount": amount.to_string()})
}

pub async fn ask(plugin: &Plugin, question: &Value) -> Answer {
    let request = plugin.request(Method::POST, "/v0/router/routes");
    Answer::of(request.json(question)).await
}

pub async fn get(plugin: &Plugin, path: &str) -> Answer {
    Answer::of(plugin.request(Method::GET, path)).await
}

pub async fn until_found(plugin: &Plugin, question: &Value) -> Answer {
    until("there is a route", || async {
        ask(plugin, question).await.status == 200
    })
    .await;
    ask(plugin, question).await
}

pub fn users_of(answer: &Answer) -> Vec<String> {
    let hops = answer.body["routes"][0]["parts"][0]["hops"].as_array();
    let user = |hop: &Value| hop["user"].as_str().unwrap().to_owned();
    hops.unwrap().iter().map(user).collect()
}

/// A chain a → b → c, wide enough for 1000, where b asks 3 and a thousandth.
pub async fn chain<'a>(
    world: &World,
    homes: [&'a HomeServer; 3],
) -> (Somebody<'a>, Somebody<'a>, Somebody<'a>) {
    let a = Somebody::at(world, homes[0]).await;
    let b = Somebody::at(world, homes[1]).await;
    let c = Somebody::at(world, homes[2]).await;
    a.publish(1, &[(&b, both(1_000))]);
    b.publish(1, &[(&a, both(1_000)), (&c, for_fee(1_000, 3, 1_000))]);
    c.publish(1, &[(&b, both(1_000))]);
    (a, b, c)
}
