//! Routers on real homeservers: users who publish their channels by hand, a plugin that crawls them.

use std::time::{SystemTime, UNIX_EPOCH};

use atomicity_e2e::hostile::{Answer, Hostile};
use atomicity_e2e::{Homeserver, Plugin, World, wait};
use atomicity_ledger::record::{Advert, Delegation, Profile, Revocation, advert_path};
use atomicity_ledger::seal::EncryptionSecret;
use atomicity_ledger::{Keypair, Record, Signed, UserKey};
use pubky::{ClientId, PubkySession};
use serde_json::{Value, json};

const DAY: u64 = 86_400_000;
const PROFILE: &str = "/pub/atomicity/v0/profile";

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

fn signed<T: Record>(record: Value, key: &Keypair) -> String {
    let record: T = serde_json::from_value(record).unwrap();
    Signed::sign(record, key).unwrap().jws().to_owned()
}

/// What is sent on for which fixed fee, and taken, in `BREAD/2`: a thousand either way.
fn advert(from: &UserKey, to: &UserKey, serial: u64, fee: u64, expires: u64) -> Value {
    json!({
        "v": 1, "from": from, "to": to, "serial": serial, "max_deadline_s": 120, "expires": expires, "at": now(),
        "units": [{
            "unit": "BREAD/2", "send": {"capacity": "1000", "min": "1", "base": fee.to_string(), "ppm": 0},
            "receive": {"capacity": "1000"},
        }],
    })
}

fn profile(root: &Keypair) -> String {
    let key = EncryptionSecret::of_root(root).public().to_string();
    let profile = json!({
        "v": 1, "user": root.user_key(), "serial": 1, "encryption": [{"n": 1, "key": key}], "inboxes": [],
        "units": ["BREAD/2"], "logs_trusted": [], "logs_refused": [], "at": now(),
    });
    signed::<Profile>(profile, root)
}

/// A user who signs by hand.
struct Somebody {
    root: Keypair,
    session: PubkySession,
}

impl Somebody {
    /// Signs up at `home` and has a profile.
    async fn at(world: &World, home: &Homeserver) -> Self {
        let keys = pubky::Keypair::random();
        let signer = world.sdk().unwrap().signer(keys.clone());
        signer.signup(&home.key(), None).await.unwrap();
        let client = ClientId::new("atomicity.test").unwrap();
        let somebody = Self {
            root: Keypair::from_secret(&keys.secret_key()),
            session: signer.signin_blocking(client).await.unwrap(),
        };
        somebody.put(PROFILE, profile(&somebody.root)).await;
        somebody
    }

    fn user(&self) -> UserKey {
        self.root.user_key()
    }

    async fn put(&self, path: &str, body: String) {
        self.session.storage().put(path, body).await.unwrap();
    }

    /// Publishes the channel to `peer`.
    async fn publish(&self, peer: &UserKey, serial: u64, fee: u64) {
        let advert = advert(&self.user(), peer, serial, fee, now() + DAY);
        let advert = signed::<Advert>(advert, &self.root);
        self.put(&advert_path(peer), advert).await;
    }

    async fn withdraw(&self, peer: &UserKey) {
        let path = advert_path(peer);
        self.session.storage().delete(path.as_str()).await.unwrap();
    }
}

/// A plugin beside `home` that is a router and polls so rarely that what comes soon comes by events.
async fn router(world: &World, home: &Homeserver, seeds: &[UserKey], more: &[&str]) -> Plugin {
    let mut options = world.plugin_options("router", home).await.unwrap();
    let seeds: Vec<String> = seeds.iter().map(UserKey::to_z32).collect();
    options.more = [
        "router.enabled=true".to_owned(),
        format!("router.seeds={seeds:?}"),
        "router.homeserver_requests_per_second=200".to_owned(),
        "router.requests_per_second=500".to_owned(),
        "router.queries_per_minute=100000".to_owned(),
        "router.backoff_s=1".to_owned(),
        "router.max_backoff_s=2".to_owned(),
    ]
    .into_iter()
    .chain(more.iter().map(|&setting| setting.to_owned()))
    .collect();
    world.plugin_with("router", options).await.unwrap()
}

/// The status and what was said.
async fn ask(plugin: &Plugin, from: &UserKey, to: &UserKey) -> (u16, Value) {
    let question = json!({"from": from, "to": to, "unit": "BREAD/2", "amount": "500"});
    let url = format!("{}/v0/router/routes", plugin.http_url());
    let asked = reqwest::Client::new().post(url).json(&question).send();
    let answer = asked.await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn until_fee(plugin: &Plugin, from: &UserKey, to: &UserKey, fee: &str) {
    wait::until("a route with this fee", || async {
        let (status, answer) = ask(plugin, from, to).await;
        anyhow::ensure!(answer["routes"][0]["fee"] == fee, "{status}: {answer}");
        Ok(())
    })
    .await
    .unwrap();
}

async fn until_none(plugin: &Plugin, from: &UserKey, to: &UserKey) {
    wait::until("no route", || async {
        let (status, answer) = ask(plugin, from, to).await;
        anyhow::ensure!(matches!(status, 404 | 409), "{status}: {answer}");
        Ok(())
    })
    .await
    .unwrap();
}

async fn status(plugin: &Plugin) -> Value {
    let url = format!("{}/v0/router/status", plugin.http_url());
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

async fn until_status(plugin: &Plugin, what: &str, holds: impl Fn(&Value) -> bool) {
    wait::until(what, || async {
        let status = status(plugin).await;
        anyhow::ensure!(holds(&status), "{status}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Three homeservers with a user each: a — b — c, where b asks a fee of 3.
struct Chain {
    homes: [Homeserver; 3],
    a: Somebody,
    b: Somebody,
    c: Somebody,
}

impl Chain {
    async fn new(world: &World) -> Self {
        let homes = [
            world.homeserver("one").await.unwrap(),
            world.homeserver("two").await.unwrap(),
            world.homeserver("three").await.unwrap(),
        ];
        let a = Somebody::at(world, &homes[0]).await;
        let b = Somebody::at(world, &homes[1]).await;
        let c = Somebody::at(world, &homes[2]).await;
        a.publish(&b.user(), 1, 0).await;
        b.publish(&a.user(), 1, 0).await;
        b.publish(&c.user(), 1, 3).await;
        c.publish(&b.user(), 1, 0).await;
        Self { homes, a, b, c }
    }

    /// Waits until the events of all three homeservers are followed.
    async fn followed(&self, plugin: &Plugin) {
        until_fee(plugin, &self.a.user(), &self.c.user(), "3").await;
        until_status(plugin, "three streams", |status| status["streams"] == 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_by_events_and_an_edge_needs_both_ends() {
    let world = World::start().await.unwrap();
    let chain = Chain::new(&world).await;
    let (a, b, c) = (chain.a.user(), chain.b.user(), chain.c.user());
    let plugin = router(&world, &chain.homes[0], &[a], &[]).await;
    chain.followed(&plugin).await;
    // Polls are hours apart.
    chain.b.publish(&c, 2, 5).await;
    until_fee(&plugin, &a, &c, "5").await;
    chain.c.withdraw(&b).await;
    until_none(&plugin, &a, &c).await;
    chain.c.publish(&b, 3, 0).await;
    until_fee(&plugin, &a, &c, "5").await;

    // Somebody new, named by an advertisement only, at a homeserver that is followed already.
    let d = Somebody::at(&world, &chain.homes[2]).await;
    chain.c.publish(&d.user(), 1, 2).await;
    until_status(&plugin, "a fourth user", |status| status["users"] == 4).await;
    let (code, answer) = ask(&plugin, &a, &d.user()).await;
    assert_eq!(
        (code, &answer["code"]),
        (404, &json!("no_route")),
        "one end alone is none"
    );
    d.publish(&c, 1, 0).await;
    until_fee(&plugin, &a, &d.user(), "7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_takes_its_advertisements_with_it() {
    let world = World::start().await.unwrap();
    let chain = Chain::new(&world).await;
    let (a, b, c) = (chain.a.user(), chain.b.user(), chain.c.user());
    let device = Keypair::from_secret(&rand::random());
    let path = format!("/pub/atomicity/v0/delegations/{}", device.signer_key());
    let delegation = json!({
        "v": 1, "root": b, "key": device.signer_key(), "scopes": ["book"], "limits": [],
        "not_before": 1, "not_after": now() + DAY, "serial": 1,
    });
    let by_device = signed::<Advert>(advert(&b, &c, 2, 4, now() + DAY), &device);
    chain
        .b
        .put(&path, signed::<Delegation>(delegation, &chain.b.root))
        .await;
    chain.b.put(&advert_path(&c), by_device).await;
    let plugin = router(&world, &chain.homes[0], &[a], &[]).await;
    until_fee(&plugin, &a, &c, "4").await;
    until_status(&plugin, "three streams", |status| status["streams"] == 3).await;
    let revocation = json!({"v": 1, "root": b, "key": device.signer_key(), "at": now()});
    chain
        .b
        .put(&path, signed::<Revocation>(revocation, &chain.b.root))
        .await;
    until_none(&plugin, &a, &c).await;
    // The root's own word counts.
    chain.b.publish(&c, 3, 6).await;
    until_fee(&plugin, &a, &c, "6").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_homeserver_empties_nothing_and_a_restart_asks_nobody() {
    let world = World::start().await.unwrap();
    let mut chain = Chain::new(&world).await;
    let (a, c) = (chain.a.user(), chain.c.user());
    let mut plugin = router(
        &world,
        &chain.homes[0],
        &[a],
        &["router.followed_poll_s=2", "router.poll_s=2"],
    )
    .await;
    chain.followed(&plugin).await;
    chain.homes[1].stop().await.unwrap();
    until_status(&plugin, "a failing homeserver", |status| {
        status["homeservers_failing"] == 1
    })
    .await;
    until_fee(&plugin, &a, &c, "3").await;
    // The others' news goes on coming.
    chain.c.publish(&chain.b.user(), 2, 0).await;
    for home in &mut chain.homes {
        home.stop().await.unwrap();
    }
    plugin.kill().await.unwrap();
    plugin.start().await.unwrap();
    until_fee(&plugin, &a, &c, "3").await;
    assert_eq!(status(&plugin).await["edges"], 4);
    // Back again, with news.
    for home in &mut chain.homes {
        home.restart().await.unwrap();
    }
    chain.b.publish(&c, 9, 8).await;
    until_fee(&plugin, &a, &c, "8").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_vanishes() {
    let world = World::start().await.unwrap();
    let chain = Chain::new(&world).await;
    let (a, b, c) = (chain.a.user(), chain.b.user(), chain.c.user());
    let plugin = router(&world, &chain.homes[0], &[a], &[]).await;
    chain.followed(&plugin).await;
    let short = advert(&b, &c, 2, 4, now() + 8_000);
    chain
        .b
        .put(&advert_path(&c), signed::<Advert>(short, &chain.b.root))
        .await;
    until_fee(&plugin, &a, &c, "4").await;
    until_none(&plugin, &a, &c).await;
    until_status(&plugin, "it is forgotten", |status| status["adverts"] == 3).await;
}

/// A user of a liar, who has a profile.
async fn subject_of(hostile: &Hostile, paths: &[(&str, Answer)]) -> Keypair {
    let keys = pubky::Keypair::random();
    hostile.adopt(&keys).await.unwrap();
    let root = Keypair::from_secret(&keys.secret_key());
    let at = |path: &str| format!("/storage/{}{path}", root.user_key());
    hostile.serve(&at(PROFILE), Answer::Bytes(profile(&root).into_bytes()));
    for (path, answer) in paths {
        hostile.serve(&at(path), answer.clone());
    }
    root
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_floods_and_dawdles_and_costs_only_itself() {
    let world = World::start().await.unwrap();
    let chain = Chain::new(&world).await;
    let (a, b, c) = (chain.a.user(), chain.b.user(), chain.c.user());
    let liar = world.hostile().await.unwrap();
    // Events without end, lists without end, files without end, answers that never come.
    liar.serve_everything(Answer::Silence);
    liar.serve("/events-stream", Answer::Flood(64 << 20));
    let keys = |n: u32| {
        let mut secret = [n.to_le_bytes()[0]; 32];
        secret[..4].copy_from_slice(&n.to_be_bytes());
        Keypair::from_secret(&secret).user_key()
    };
    let routes = "/pub/atomicity/v0/routes/";
    let mut subjects = Vec::new();
    for n in 0..6u32 {
        let first = subject_of(&liar, &[]).await;
        let listing: String = (n * 1_000..n * 1_000 + 500)
            .map(|k| format!("pubky://{}{routes}{}\n", first.user_key(), keys(k)))
            .collect();
        let at = |path: &str| format!("/storage/{}{path}", first.user_key());
        let forged = signed::<Advert>(
            advert(&first.user_key(), &a, 1, 0, now() + DAY),
            &chain.c.root,
        );
        liar.serve(&at(&advert_path(&a)), Answer::Bytes(forged.into_bytes()));
        liar.serve(
            &at(routes),
            match n % 3 {
                0 => Answer::Bytes(listing.into_bytes()),
                1 => Answer::Flood(1 << 30),
                _ => Answer::Stall(listing.into_bytes()),
            },
        );
        let follows = "/pub/pubky.app/follows/";
        let followed: String = (0..500)
            .map(|k| {
                format!(
                    "pubky://{}{follows}{}\n",
                    first.user_key(),
                    keys(100_000 + n * 500 + k)
                )
            })
            .collect();
        liar.serve(&at(follows), Answer::Bytes(followed.into_bytes()));
        subjects.push(first.user_key());
    }
    // An honest user names them all.
    for subject in &subjects {
        chain.a.publish(subject, 1, 0).await;
    }
    let fast = [
        "network.fetch_timeout_ms=1500",
        "router.waiting_per_source=100",
    ];
    let plugin = router(&world, &chain.homes[0], &[a], &fast).await;
    until_fee(&plugin, &a, &c, "3").await;
    until_status(&plugin, "a failing homeserver", |status| {
        status["homeservers_failing"].as_u64() >= Some(1)
    })
    .await;
    // While it does all that, changes of the others count.
    chain.b.publish(&c, 2, 5).await;
    until_fee(&plugin, &a, &c, "5").await;
    chain.c.withdraw(&b).await;
    until_none(&plugin, &a, &c).await;
    chain.c.publish(&b, 2, 0).await;
    until_fee(&plugin, &a, &c, "5").await;
    let (code, _) = ask(&plugin, &a, &subjects[0]).await;
    assert_eq!(code, 404, "a forged advertisement counts");
    let status = status(&plugin).await;
    assert!(status["waiting"].as_u64() <= Some(110), "{status}");
}
