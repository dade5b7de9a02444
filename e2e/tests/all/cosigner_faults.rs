//! Cosigners that crash, come late, lose their database, or see a log die.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use atomicity_e2e::guard::{Guard, entry};
use atomicity_e2e::lying_log::{LyingLog, Story, now_ms};
use atomicity_e2e::{World, wait};
use atomicity_witness_log::expiry::ExpiryProof;
use atomicity_witness_log::fork::Misdeed;
use atomicity_witness_log::leaf::preimage_hash;
use atomicity_witness_log::{
    Checkpoint, CompactRange, Leaf, LogTerms, Policy, SignedNote, Tombstones,
};
use serde_json::Value;

use crate::cosigner::{cosigned, cosigner_of, refused, scene, story};

#[tokio::test]
async fn promises_outlive_crashes_and_lost_databases() {
    let world = World::start().await.unwrap();
    let (log, mut guard) = scene(&world).await;
    let url = guard.url().unwrap();
    let mut told = story(1);
    let mut promised = 0;
    for _ in 0..8 {
        let (asking, body) = (url.clone(), told.clone());
        let answer = tokio::spawn({
            let log = log.clone();
            async move {
                log.ask(&asking, &body, promised)
                    .await
                    .map(|a| a.status().as_u16())
            }
        });
        // In the middle of it, at a different moment each time.
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..25))).await;
        guard.plugin.kill().await.unwrap();
        let answered = matches!(answer.await.unwrap(), Ok(200));
        guard.plugin.start().await.unwrap();
        // Another history of that length is either the first that it hears of, or refused.
        let known = log.ask(&url, &told, 0).await.unwrap();
        let known = match known.status().as_u16() {
            409 => known.text().await.unwrap().trim().parse().unwrap(),
            200 => told.size(),
            _ => 0,
        };
        assert!(!answered || known == told.size(), "a promise was forgotten");
        promised = known;
        if promised == told.size() {
            told.preimage(rand::random()).unwrap();
        }
        told.tick().unwrap();
    }
    // The entries before the crashes are those that were promised.
    assert!(promised > 0);
    let mirror = guard.mirror(log.vkey().name()).await.unwrap();
    let entries = mirror.entries(0, promised, promised).await.unwrap();
    assert_eq!(entries[..], told.entries()[..entries.len()]);

    // Nor can a slip in SQL take a promise back.
    let database = guard.plugin.options().owned_database.as_ref().unwrap();
    let mut connection = database.connect().await.unwrap();
    for slip in [
        "UPDATE mirrors SET version = version + 1, size = 0, cosigned_size = 0, published_size = 0",
        "UPDATE mirrors SET version = version + 1, cosigned_size = 0",
        "UPDATE mirrors SET version = version + 1, cosigned_size = size + 1",
        "UPDATE mirrors SET version = 0",
    ] {
        let refusal = sqlx::query(slip).execute(&mut connection).await;
        assert!(refusal.is_err(), "{slip}");
    }
    // The doctor sees the key and the log.
    let doctor = guard.plugin.run(&["doctor", "--json"]).await.unwrap();
    let report: Value = serde_json::from_str(&doctor.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let found = |name: &str| -> Vec<Value> {
        let named = checks.iter().filter(|check| check["check"] == name);
        named.cloned().collect()
    };
    let cosigner = found("cosigner");
    assert!(
        cosigner[0]["detail"]
            .as_str()
            .unwrap()
            .contains(&guard.key.to_string())
    );
    // It has published nothing.
    let logs = found("logs");
    assert_eq!((logs.len(), &logs[0]["level"]), (1, &Value::from("warn")));

    // On an empty database the key does not cosign: nobody there knows what was promised.
    let other = atomicity_e2e::postgres::Database::create("empty")
        .await
        .unwrap();
    guard.plugin.stop().await.unwrap();
    guard.plugin.options_mut().database_url = other.url().to_string();
    guard.plugin.rewrite_config().unwrap();
    let run = guard.plugin.run(&["run"]).await.unwrap();
    assert_eq!(run.code, Some(2), "{run}");
    assert!(run.stderr.contains("cosigner create"), "{run}");
    // And the key is not replaced by mistake.
    let again = guard.plugin.run(&["cosigner", "create"]).await.unwrap();
    assert_eq!(again.code, Some(2), "{again}");
}

#[tokio::test]
async fn a_dead_log_is_buried_for_good() {
    let world = World::start().await.unwrap();
    let log = LyingLog::start("dying.example/log").await.unwrap();
    let mut guards = Vec::new();
    for name in ["c1", "c2", "c3"] {
        let mut guard = Guard::prepare(&world, name).await.unwrap();
        guard.cosign(&[entry(&log.vkey(), log.url())]);
        guard.set("cosigner.dead_after_s=15");
        guard.plugin.start().await.unwrap();
        guards.push(guard);
    }
    let keys: Vec<_> = guards
        .iter()
        .map(|guard| (guard.key.clone(), None))
        .collect();
    let policy = Policy::from_parts(&[(log.vkey(), None)], &keys, 2).unwrap();
    let mut told = story(5);
    // Not published before it is cosigned: who reads it first is asked in vain with an old size.
    let mut last = log.sign(&told).unwrap();
    for guard in &guards {
        let signed = cosigned(&log, guard, &told, 0).await;
        for line in signed.note().signatures() {
            last.add(line.clone()).unwrap();
        }
    }
    log.publish(&last);
    policy.check(&last).unwrap();
    // All mirrors have the published checkpoint before the log dies.
    for guard in &guards {
        let mirror = guard.mirror(log.vkey().name()).await.unwrap();
        wait::until("the mirror", || async {
            policy.check(mirror.checkpoint().await?.note())?;
            Ok(())
        })
        .await
        .unwrap();
    }
    log.set_silent(true);
    guards[2].plugin.stop().await.unwrap();
    let mut stones = Vec::new();
    for guard in &guards[..2] {
        let stone = wait::until("a tombstone", || async {
            let stones = guard.tombstones().await?;
            stones.first().cloned().context("none yet")
        })
        .await
        .unwrap();
        stones.push(stone);
    }
    // Two of three leave no quorum of two; one would.
    let origin = log.vkey().name().to_owned();
    assert_eq!(
        Tombstones::end(&policy, &origin, &stones[..1]).unwrap(),
        None
    );
    let end = Tombstones::end(&policy, &origin, &stones).unwrap().unwrap();
    assert_eq!(end.size, told.size());

    // What was not published before is expired: everything for the proof lies at a mirror.
    let mirror = guards[0].mirror(&origin).await.unwrap();
    let head =
        SignedNote::parse(&mirror.get("head").await.unwrap().bytes().await.unwrap()).unwrap();
    assert_eq!(Checkpoint::parse(head.text()).unwrap().size, end.size);
    let entries = mirror.entries(0, end.size, end.size).await.unwrap();
    let leaves = entries
        .iter()
        .map(|entry| Leaf::decode(entry).unwrap())
        .collect();
    let proof =
        ExpiryProof::build_tombstoned(CompactRange::new(), leaves, Some(head), stones.clone());
    let terms = |hash| LogTerms {
        policy: &policy,
        origin: &origin,
        hash,
        from_size: 0,
        deadline_ms: u64::MAX,
    };
    let proof = proof.unwrap();
    let (absent, present) = (preimage_hash(&[0xaa; 32]), preimage_hash(&[1; 32]));
    assert!(proof.verify(&terms(&absent)).unwrap().tombstoned);
    assert!(proof.verify(&terms(&present)).is_err());

    // It comes back, and they keep their word, also after a crash.
    guards[0].plugin.kill().await.unwrap();
    guards[0].plugin.start().await.unwrap();
    log.set_silent(false);
    told.tick().unwrap();
    for guard in &guards[..2] {
        let answer = log.ask(&guard.url().unwrap(), &told, 6).await.unwrap();
        assert_eq!(refused(answer).await, (422, "tombstoned".to_owned()));
    }
    assert_eq!(guards[0].tombstones().await.unwrap(), stones[..1]);
    // Who was away did not see it die, and goes on.
    guards[2].plugin.start().await.unwrap();
    told.tick().unwrap();
    cosigned(&log, &guards[2], &told, 6).await;
    assert_eq!(guards[2].tombstones().await.unwrap(), []);
}

#[tokio::test]
async fn a_cosigner_that_comes_late_reads_a_long_log_in_bites() {
    let world = World::start().await.unwrap();
    let log = LyingLog::start("long.example/log").await.unwrap();
    let mut told = Story::default();
    let start = now_ms().unwrap() - 200_000;
    for n in 0..140_000 {
        told.push(&Leaf::Tick { time_ms: start + n }.encode());
    }
    told.tick().unwrap();
    log.tell(&told).unwrap();
    let guard = cosigner_of(&world, &log, "late").await;
    let mirror = guard.mirror(log.vkey().name()).await.unwrap();
    wait::until("the mirror to catch up", || async {
        let size = mirror.checkpoint().await?.checkpoint().size;
        ensure!(size == told.size());
        Ok(())
    })
    .await
    .unwrap();
    let size = told.size();
    let some = mirror.entries(65_000, 66_000, size).await.unwrap();
    assert_eq!(some[..], told.entries()[65_000..66_000]);
    told.tick().unwrap();
    cosigned(&log, &guard, &told, size).await;

    // A lie in the middle of a long log is found too, whoever reads it first.
    let liar = LyingLog::start("longlie.example/log").await.unwrap();
    let mut lie = Story::default();
    for entry in &told.entries()[..100_000] {
        lie.push(entry);
    }
    lie.push(&Leaf::Tick { time_ms: start }.encode());
    for entry in &told.entries()[100_000..] {
        lie.push(entry);
    }
    liar.tell(&lie).unwrap();
    let guard = cosigner_of(&world, &liar, "later").await;
    let verdict = wait::until("the verdict", || async {
        let verdicts = guard.verdicts().await?;
        verdicts.first().cloned().context("none yet")
    })
    .await
    .unwrap();
    let proof = guard.proof(&verdict).await.unwrap();
    assert_eq!(proof.misdeed(), Misdeed::FallingTimes);
}
