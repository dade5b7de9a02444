//! Cosigners on real plugins: of a real log, and of one that lies.

use std::time::Duration;

use anyhow::ensure;
use atomicity_e2e::guard::{Guard, entry};
use atomicity_e2e::log::LogSite;
use atomicity_e2e::lying_log::{LyingLog, Story, now_ms};
use atomicity_e2e::{World, wait};
use atomicity_witness_log::add_checkpoint::parse_response;
use atomicity_witness_log::fork::Misdeed;
use atomicity_witness_log::{KeyKind, Leaf, SignedCheckpoint, SigningKey};
use serde_json::Value;

/// A lying log, and a cosigner of it that runs.
pub async fn scene(world: &World) -> (LyingLog, Guard) {
    let log = LyingLog::start("lying.example/log").await.unwrap();
    let guard = cosigner_of(world, &log, "c").await;
    (log, guard)
}

pub async fn cosigner_of(world: &World, log: &LyingLog, name: &str) -> Guard {
    let mut guard = Guard::prepare(world, name).await.unwrap();
    let logs = [entry(&log.vkey(), log.url())];
    guard.cosign(&logs);
    guard.watch(&logs);
    guard.plugin.start().await.unwrap();
    guard
}

/// A story with this many preimages and a tick.
pub fn story(preimages: u8) -> Story {
    let mut story = Story::default();
    for n in 0..preimages {
        story.preimage([n; 32]).unwrap();
    }
    story.tick().unwrap();
    story
}

/// The code of a refusal.
pub async fn refused(answer: reqwest::Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

/// Asks for a cosignature, gets it, and verifies it.
pub async fn cosigned(
    log: &LyingLog,
    guard: &Guard,
    story: &Story,
    old_size: u64,
) -> SignedCheckpoint {
    let answer = log
        .ask(&guard.url().unwrap(), story, old_size)
        .await
        .unwrap();
    let status = answer.status();
    let body = answer.bytes().await.unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let mut signed = SignedCheckpoint::new(log.sign(story).unwrap()).unwrap();
    signed.add(&parse_response(&body).unwrap()).unwrap();
    let at = signed.verify_cosigner(&guard.key).unwrap();
    assert!(at.abs_diff(now_ms().unwrap() / 1_000) < 60);
    signed
}

#[tokio::test]
async fn two_cosigners_make_the_quorum_of_a_real_log_and_mirror_it() {
    let world = World::start().await.unwrap();
    let options = LogSite::options(&world, "l").await.unwrap();
    let mut site = LogSite::prepare(&world, "l", options, (0, 0))
        .await
        .unwrap();
    let mut guards = Vec::new();
    // By key over Pubky TLS, as a real cosigner would; the other one by address.
    let urls = [
        format!("https://{}/log", site.plugin.key()),
        format!("{}/log", site.plugin.http_url()),
    ];
    for (name, url) in ["c1", "c2"].into_iter().zip(urls) {
        let mut guard = Guard::prepare(&world, name).await.unwrap();
        guard.cosign(&[entry(&site.key, &url)]);
        guard.plugin.start().await.unwrap();
        guards.push(guard);
    }
    let listed: Vec<String> = guards
        .iter()
        .map(|guard| entry(&guard.key, guard.url().unwrap().as_str()))
        .collect();
    site.plugin.options_mut().more.extend([
        format!("witness_log.cosigners=[{}]", listed.join(",")),
        "witness_log.quorum=2".to_owned(),
    ]);
    site.plugin.start().await.unwrap();
    let log = site.log();
    let policy = log.policy().await.unwrap();
    let preimage: [u8; 32] = rand::random();
    let answer = log.publish(&policy, &preimage, 0).await.unwrap();
    let published = log.checkpoint().await.unwrap();
    let checked = policy.check(published.note()).unwrap();
    assert_eq!(checked.cosigned().len(), 2);

    // Whoever has the log's policy reads all of it at a mirror.
    for guard in &guards {
        let mirror = guard.mirror(site.key.name()).await.unwrap();
        let audit = wait::until("the mirror to be as far", || async {
            let audit = mirror.audit(&policy).await?;
            ensure!(audit.size > answer.published.index);
            Ok(audit)
        })
        .await
        .unwrap();
        assert!(audit.holds(&answer));
    }
    // They found nothing, and say so.
    assert!(guards[0].verdicts().await.unwrap().is_empty());
    // One of them goes: nothing is published until it is back, and what was waits.
    guards[0].plugin.kill().await.unwrap();
    let late: [u8; 32] = rand::random();
    let refused = log.post(&late, 0).await.unwrap();
    assert_eq!(refused.status(), 503);
    guards[0].plugin.start().await.unwrap();
    let answer = wait::until("the log to have its quorum again", || {
        log.publish(&policy, &late, 0)
    })
    .await
    .unwrap();
    let note = answer.proof;
    assert!(guards.iter().all(|guard| note.contains(guard.key.name())));
}

#[tokio::test]
async fn requests_are_answered_as_the_specification_says() {
    let world = World::start().await.unwrap();
    let (log, guard) = scene(&world).await;
    let url = guard.url().unwrap();
    let post = |body: String| {
        let url = format!("{url}/add-checkpoint");
        async move {
            reqwest::Client::new()
                .post(url)
                .body(body)
                .send()
                .await
                .unwrap()
        }
    };
    let mut told = story(3);

    let garbage = post("old 0\n".to_owned()).await;
    assert_eq!(
        refused(garbage).await,
        (400, "request_malformed".to_owned())
    );
    let huge = post("x".repeat(100_000)).await;
    assert_eq!(huge.status(), 413);
    let stranger = LyingLog::start("other.example/log").await.unwrap();
    let foreign = post(stranger.request(&told, 0).unwrap()).await;
    assert_eq!(refused(foreign).await, (404, "log_unknown".to_owned()));
    let impostor = LyingLog::start("lying.example/log").await.unwrap();
    let forged = post(impostor.request(&told, 0).unwrap()).await;
    assert_eq!(refused(forged).await, (403, "not_signed".to_owned()));
    let empty_root = log.sign(&Story::default()).unwrap().to_string();
    let wrong_root = empty_root.replacen("47DE", "57DE", 1);
    let wrong = post(format!("old 0\n\n{wrong_root}")).await;
    assert_eq!(wrong.status(), 422);

    let first = cosigned(&log, &guard, &told, 0).await;
    assert_eq!(first.checkpoint().size, 4);
    let old = told.clone();
    told.preimage([9; 32]).unwrap();
    told.tick().unwrap();
    let behind = log.ask(&url, &told, 0).await.unwrap();
    assert_eq!(behind.status(), 409);
    assert_eq!(behind.headers()["content-type"], "text/x.tlog.size");
    assert_eq!(behind.text().await.unwrap(), "4\n");
    let smaller = post(log.request(&old, 4).unwrap().replacen("old 4", "old 5", 1)).await;
    assert_eq!(smaller.status(), 400);
    let request = log.request(&told, 4).unwrap();
    let mut lines: Vec<&str> = request.split('\n').collect();
    lines.remove(1);
    let unproven = post(lines.join("\n")).await;
    assert_eq!(
        refused(unproven).await,
        (422, "consistency_invalid".to_owned())
    );
    cosigned(&log, &guard, &told, 4).await;
    // The same once more: another cosignature, of the same tree.
    cosigned(&log, &guard, &told, 6).await;
}

#[tokio::test]
async fn what_the_stricter_profile_refuses() {
    let world = World::start().await.unwrap();
    let (log, guard) = scene(&world).await;
    let url = guard.url().unwrap();
    let told = story(2);
    cosigned(&log, &guard, &told, 0).await;
    let ask = |told: Story| {
        let (log, url) = (log.clone(), url.clone());
        async move { refused(log.ask(&url, &told, 3).await.unwrap()).await }
    };
    let mut endless = told.clone();
    endless.preimage([7; 32]).unwrap();
    assert_eq!(ask(endless).await, (422, "no_tick".to_owned()));
    let mut future = told.clone();
    future.push(
        &Leaf::Tick {
            time_ms: now_ms().unwrap() + 20_000,
        }
        .encode(),
    );
    assert_eq!(ask(future).await, (422, "tick_skewed".to_owned()));
    // Entries that the log does not serve, or serves wrongly.
    let mut grown = told.clone();
    grown.preimage([8; 32]).unwrap();
    grown.tick().unwrap();
    let body = log.request(&grown, 3).unwrap();
    log.serve(&told);
    let post = |body: String| {
        let url = format!("{url}/add-checkpoint");
        async move {
            reqwest::Client::new()
                .post(url)
                .body(body)
                .send()
                .await
                .unwrap()
        }
    };
    let unserved = refused(post(body.clone()).await).await;
    assert_eq!(unserved, (503, "entries_unavailable".to_owned()));
    let mut other = told.clone();
    other.preimage([9; 32]).unwrap();
    other.tick().unwrap();
    log.serve(&other);
    assert_eq!(
        refused(post(body).await).await,
        (422, "root_mismatch".to_owned())
    );
    // None of that was a lie that could be proven, and none of it is held against the log.
    assert_eq!(guard.verdicts().await.unwrap().len(), 0);
    cosigned(&log, &guard, &grown, 3).await;

    // A tick that is old by our clock, though it is the newest: what a log says that stood still.
    tokio::time::sleep(Duration::from_millis(5_200)).await;
    assert_eq!(
        refused(log.ask(&url, &grown, grown.size()).await.unwrap()).await,
        (422, "tick_skewed".to_owned())
    );
}

#[tokio::test]
async fn every_lie_is_proven_and_ends_the_cosigning() {
    let world = World::start().await.unwrap();
    for what in [
        Misdeed::FallingTimes,
        Misdeed::MalformedLeaf,
        Misdeed::SameSize,
        Misdeed::Inconsistent,
    ] {
        let (log, guard) = scene(&world).await;
        let mut told = story(2);
        cosigned(&log, &guard, &told, 0).await;
        let mut lie = match what {
            Misdeed::FallingTimes | Misdeed::MalformedLeaf => told.clone(),
            // Another history of the same length as what was cosigned.
            _ => {
                let mut other = Story::default();
                other.preimage([0xee; 32]).unwrap();
                other.preimage([0xef; 32]).unwrap();
                other.tick().unwrap();
                other
            }
        };
        match what {
            Misdeed::FallingTimes => lie.tick_ago(60_000).unwrap(),
            Misdeed::MalformedLeaf => lie.push(b"no leaf"),
            _ => {}
        }
        if what != Misdeed::SameSize {
            lie.tick().unwrap();
        }
        let answer = log.ask(&guard.url().unwrap(), &lie, 3).await.unwrap();
        assert_eq!(
            refused(answer).await,
            (422, "log_forked".to_owned()),
            "{what:?}"
        );
        let verdicts = guard.verdicts().await.unwrap();
        assert_eq!(verdicts.len(), 1, "{what:?}");
        let proof = guard.proof(&verdicts[0]).await.unwrap();
        assert_eq!(proof.verify().unwrap().key, log.vkey());
        assert_eq!(proof.misdeed(), what);
        // The history that it stuck to until then is not cosigned any further either.
        told.tick().unwrap();
        let answer = log.ask(&guard.url().unwrap(), &told, 3).await.unwrap();
        assert_eq!(refused(answer).await, (422, "log_forked".to_owned()));
    }
}

#[tokio::test]
async fn of_two_histories_that_are_asked_for_at_once_one_is_cosigned() {
    let world = World::start().await.unwrap();
    let (log, guard) = scene(&world).await;
    let mut told = story(1);
    cosigned(&log, &guard, &told, 0).await;
    for round in 0..10u8 {
        let size = told.size();
        let fork = |n: u8| {
            let mut fork = told.clone();
            fork.preimage([n; 32]).unwrap();
            fork.tick().unwrap();
            fork
        };
        // The tiles of only one of them are served: which, changes while they are looked at.
        let forks: Vec<Story> = (0..4).map(|n| fork(round * 4 + n)).collect();
        let asking = forks.iter().map(|fork| {
            let (log, url) = (log.clone(), guard.url().unwrap());
            async move { log.ask(&url, fork, size).await.unwrap().status().as_u16() }
        });
        let statuses = futures_util::future::join_all(asking).await;
        let granted: Vec<usize> = (0..4).filter(|n| statuses[*n] == 200).collect();
        assert!(granted.len() <= 1, "{statuses:?}");
        let Some(at) = granted.first() else {
            if guard.verdicts().await.unwrap().is_empty() {
                continue;
            }
            break;
        };
        told = forks[*at].clone();
    }
    // Whatever was cosigned is one history: the mirror says which.
    let mirror = guard.mirror(log.vkey().name()).await.unwrap();
    let size = told.size();
    let entries = mirror.entries(0, size, size).await.unwrap();
    assert_eq!(entries, told.entries());
}

#[tokio::test]
async fn a_key_of_another_kind_is_no_log() {
    let world = World::start().await.unwrap();
    let mut guard = Guard::prepare(&world, "c").await.unwrap();
    let key = SigningKey::from_secret("log", KeyKind::Cosignature, [1; 32]).unwrap();
    guard.cosign(&[entry(&key.verifier(), "https://example.org/log")]);
    let check = guard.plugin.run(&["check-config"]).await.unwrap();
    assert_eq!(check.code, Some(2), "{check}");
    assert!(check.stderr.contains("cosigner.logs"), "{check}");
}
