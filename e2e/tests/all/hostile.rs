//! A friend's homeserver serves old bytes, garbage, far too much, nothing, or answers late. It changes
//! no balance, and other friends' news comes through.

use std::time::Duration;

use atomicity_e2e::hostile::{Answer, Hostile};
use atomicity_e2e::people::{Person, amount};
use atomicity_e2e::{Homeserver, World};
use serde_json::Value;

use crate::common::{BREAD, friends, owed, settle};

/// Everything public that `person` has on `homeserver`: path and bytes.
async fn public_files(homeserver: &Homeserver, person: &Person) -> Vec<(String, Vec<u8>)> {
    let storage = format!("{}/storage/{}", homeserver.http_url(), person.key());
    let list = format!("{storage}/pub/atomicity/?limit=1000");
    let list = reqwest::get(list)
        .await
        .unwrap()
        .error_for_status()
        .unwrap();
    let mut files = Vec::new();
    for url in list.text().await.unwrap().lines() {
        let (_, path) = url.split_once("/pub/").unwrap();
        let path = format!("/pub/{path}");
        let file = reqwest::get(format!("{storage}{path}")).await.unwrap();
        files.push((path, file.bytes().await.unwrap().to_vec()));
    }
    assert!(
        files.iter().any(|(path, _)| path.contains("/channels/")),
        "no channel file"
    );
    files
}

/// Serves each of `files` so.
fn serve(hostile: &Hostile, files: &[(String, Vec<u8>)], answer: impl Fn(&[u8]) -> Answer) {
    for (path, bytes) in files {
        // Clients ask for files of a user under either of these.
        hostile.serve(path, answer(bytes));
    }
}

struct Scene {
    world: World,
    own: Homeserver,
    old_home: Homeserver,
    me: Person,
    friend: Person,
    other: Person,
    old_files: Vec<(String, Vec<u8>)>,
}

/// `me` is owed 3.00 by `friend`, whose homeserver is gone, and who was owed 2.00 when the files were
/// copied. None has a plugin: all news are files.
async fn scene() -> Scene {
    let world = World::start().await.unwrap();
    let own = world.homeserver("own").await.unwrap();
    let mut old_home = world.homeserver("old").await.unwrap();
    let mut me = Person::new(&world, "me").unwrap();
    let mut friend = Person::new(&world, "friend").unwrap();
    let mut other = Person::new(&world, "other").unwrap();
    me.join_without_plugin(&own, BREAD).await.unwrap();
    other.join_without_plugin(&own, BREAD).await.unwrap();
    friend.join_without_plugin(&old_home, BREAD).await.unwrap();
    friends(&me, &friend).await;
    friends(&me, &other).await;

    friend.give(&me, "2.00 BREAD/2", "first").await.unwrap();
    let old_files = public_files(&old_home, &friend).await;
    settle(&me, &friend).await;
    friend.give(&me, "1.00 BREAD/2", "second").await.unwrap();
    settle(&me, &friend).await;
    owed(&me, &friend, 300).await;
    old_home.stop().await.unwrap();
    Scene {
        world,
        own,
        old_home,
        me,
        friend,
        other,
        old_files,
    }
}

impl Scene {
    async fn net(&self, about: &Person) -> i64 {
        amount(&self.me.account(about, BREAD).await.unwrap(), "/net").unwrap()
    }

    /// With the hostile homeserver as it is, a sync brings the other friend's news and changes nothing
    /// else. What it said.
    async fn check(&self, what: &str) -> Value {
        let before = self.net(&self.other).await;
        self.other
            .give(&self.me, "0.10 BREAD/2", what)
            .await
            .unwrap();
        let news = self.me.sync().await.unwrap();
        assert_eq!(self.net(&self.other).await, before + 10, "{what}: {news}");
        assert_eq!(self.net(&self.friend).await, 300, "{what}: {news}");
        let line = self.me.account(&self.friend, BREAD).await.unwrap();
        assert_eq!(line["state"], "active", "{what}: {line}");
        news
    }

    fn unreachable(&self, news: &Value) -> Option<String> {
        let all = news["unreachable"].as_array().unwrap();
        let one = all.iter().find(|one| one["user"] == self.friend.key())?;
        Some(one["code"].as_str().unwrap().to_owned())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_homeserver_changes_no_balance_and_delays_nobody() {
    let scene = scene().await;
    let hostile = scene.world.hostile().await.unwrap();
    hostile
        .adopt(&scene.friend.wallet().root().unwrap())
        .await
        .unwrap();

    // 404 everywhere: no news, nothing is taken for deleted.
    let news = scene.check("nothing there").await;
    assert!(
        !hostile.asked().is_empty(),
        "the hostile homeserver was not even asked: {news}"
    );

    serve(&hostile, &scene.old_files, |bytes| {
        Answer::Bytes(bytes.to_vec())
    });
    scene.check("old bytes").await;
    assert!(
        hostile
            .asked()
            .iter()
            .any(|path| path.contains("/channels/"))
    );

    serve(&hostile, &scene.old_files, |bytes| {
        Answer::Bytes(
            bytes
                .iter()
                .map(|byte| byte.wrapping_mul(31).wrapping_add(7))
                .collect(),
        )
    });
    scene.check("garbage").await;
    serve(&hostile, &scene.old_files, |bytes| {
        Answer::Bytes(bytes.get(..bytes.len() / 2).unwrap().to_vec())
    });
    scene.check("half of the bytes").await;

    hostile.serve_everything(Answer::Flood(100 << 20));
    serve(&hostile, &scene.old_files, |_| Answer::Flood(100 << 20));
    let news = scene.check("100 MB").await;
    assert_eq!(
        scene.unreachable(&news).as_deref(),
        Some("too_large"),
        "{news}"
    );

    let minute = Duration::from_secs(60);
    for (what, answer) in [
        ("nothing at all", Answer::Silence),
        ("half an answer", Answer::Stall(b"{".to_vec())),
        (
            "an answer after a minute",
            Answer::Late(minute, Answer::Bytes(vec![0]).into()),
        ),
    ] {
        hostile.serve_everything(answer.clone());
        serve(&hostile, &scene.old_files, |_| answer.clone());
        let news = scene.check(what).await;
        assert!(
            scene.unreachable(&news).is_some(),
            "{what} went unnoticed: {news}"
        );
    }
    assert!(scene.own.is_running() && !scene.old_home.is_running());
}
