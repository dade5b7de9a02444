//! Watchtowers on real plugins: what different people were shown is compared, and proofs go round.

use anyhow::{Context as _, ensure};
use atomicity_e2e::guard::{Guard, entry};
use atomicity_e2e::log::LogSite;
use atomicity_e2e::lying_log::{LyingLog, Story};
use atomicity_e2e::{World, wait};
use atomicity_witness_log::checkpoint::cosign;
use atomicity_witness_log::fork::Misdeed;
use atomicity_witness_log::{
    ForkProof, KeyKind, Policy, SignedCheckpoint, SignedNote, SigningKey, Tombstone,
};
use serde_json::Value;

async fn tower(world: &World, name: &str, log: &LyingLog) -> Guard {
    let mut guard = Guard::prepare(world, name).await.unwrap();
    guard.watch(&[entry(&log.vkey(), log.url())]);
    guard.plugin.start().await.unwrap();
    guard
}

fn story(preimages: &[u8]) -> Story {
    let mut story = Story::default();
    for n in preimages {
        story.preimage([*n; 32]).unwrap();
    }
    story.tick().unwrap();
    story
}

async fn mirrored(guard: &Guard, log: &LyingLog, size: u64) {
    let mirror = guard.mirror(log.vkey().name()).await.unwrap();
    wait::until("the mirror", || async {
        ensure!(mirror.checkpoint().await?.checkpoint().size == size);
        Ok(())
    })
    .await
    .unwrap();
}

async fn verdict(guard: &Guard) -> Value {
    wait::until("a verdict", || async {
        let verdicts = guard.verdicts().await?;
        verdicts.first().cloned().context("none yet")
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn what_a_client_was_shown_convicts_a_log_that_shows_others_something_else() {
    let world = World::start().await.unwrap();
    // The client's checkpoint may be as large as what the world sees, smaller, or larger.
    let cases: [(&[u8], Misdeed); 3] = [
        (&[9, 9, 9], Misdeed::SameSize),
        (&[9], Misdeed::Inconsistent),
        (&[9, 9, 9, 9, 9], Misdeed::Inconsistent),
    ];
    for (number, (shown, what)) in cases.into_iter().enumerate() {
        let log = LyingLog::start("two-faced.example/log").await.unwrap();
        let mut world_sees = story(&[1, 2, 3]);
        log.tell(&world_sees).unwrap();
        let guard = tower(&world, &format!("w{number}"), &log).await;
        mirrored(&guard, &log, 4).await;
        // What is part of the one history convicts nobody.
        let honest = log.sign(&world_sees).unwrap();
        assert_eq!(
            guard.hand_in(&honest).await.unwrap()["status"],
            "consistent"
        );
        let face = story(shown);
        let note = log.sign(&face).unwrap();
        let result = guard.hand_in(&note).await.unwrap();
        if face.size() > world_sees.size() {
            // Nothing to compare it with: the log serves no such tree. It stays in mind.
            assert_eq!(result["status"], "kept", "{result}");
            let again = guard.hand_in(&note).await.unwrap();
            assert_eq!(again["status"], "kept", "{again}");
            assert!(guard.verdicts().await.unwrap().is_empty());
            for n in 4..8 {
                world_sees.preimage([n; 32]).unwrap();
            }
            world_sees.tick().unwrap();
            log.tell(&world_sees).unwrap();
        } else {
            assert_eq!(result["status"], "forked", "{result}");
        }
        let verdict = verdict(&guard).await;
        let proof = guard.proof(&verdict).await.unwrap();
        assert_eq!(proof.misdeed(), what);
        assert_eq!(proof.verify().unwrap().key, log.vkey());
        assert_eq!(verdict["role"], "log");
    }
}

#[tokio::test]
async fn a_checkpoint_that_is_ahead_of_the_published_one_is_followed() {
    let world = World::start().await.unwrap();
    let log = LyingLog::start("ahead.example/log").await.unwrap();
    let mut told = story(&[1, 2]);
    log.tell(&told).unwrap();
    let guard = tower(&world, "w", &log).await;
    mirrored(&guard, &log, 3).await;
    told.preimage([3; 32]).unwrap();
    told.tick().unwrap();
    // Signed and served, but not published yet: as cosigners see it.
    let note = log.sign(&told).unwrap();
    log.serve(&told);
    assert_eq!(guard.hand_in(&note).await.unwrap()["status"], "consistent");
    let mirror = guard.mirror(log.vkey().name()).await.unwrap();
    let head = mirror.get("head").await.unwrap().text().await.unwrap();
    let head = SignedCheckpoint::parse(head.as_bytes()).unwrap();
    assert_eq!(head.checkpoint().size, 5);
    assert_eq!(mirror.checkpoint().await.unwrap().checkpoint().size, 3);
}

#[tokio::test]
async fn what_is_worth_nothing_changes_nothing() {
    let world = World::start().await.unwrap();
    let log = LyingLog::start("honest.example/log").await.unwrap();
    let told = story(&[1]);
    log.tell(&told).unwrap();
    let guard = tower(&world, "w", &log).await;
    mirrored(&guard, &log, 2).await;
    let refusal = async |note: &SignedNote| {
        let result = guard.hand_in(note).await.unwrap();
        assert_eq!(result["status"], "refused", "{result}");
        result["code"].as_str().unwrap().to_owned()
    };
    let stranger = LyingLog::start("stranger.example/log").await.unwrap();
    let foreign = stranger.sign(&told).unwrap();
    assert_eq!(refusal(&foreign).await, "log_unknown");
    let impostor = LyingLog::start("honest.example/log").await.unwrap();
    let forged = impostor.sign(&story(&[2])).unwrap();
    assert_eq!(refusal(&forged).await, "not_signed");

    // Proofs about nobody, of nothing, and garbage.
    let code = async |proof: Vec<u8>| {
        let answer = guard.hand_in_proof(&proof).await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        (status, body["code"].as_str().unwrap().to_owned())
    };
    let same_size = |liar: &LyingLog| ForkProof::SameSize {
        key: liar.vkey(),
        a: liar.sign(&story(&[1])).unwrap(),
        b: liar.sign(&story(&[2])).unwrap(),
    };
    let about_nobody = same_size(&impostor).encode();
    assert_eq!(code(about_nobody).await, (404, "key_unknown".to_owned()));
    let mut nothing = same_size(&log);
    if let ForkProof::SameSize { a, b, .. } = &mut nothing {
        *b = a.clone();
    }
    assert_eq!(
        code(nothing.encode()).await,
        (400, "proof_invalid".to_owned())
    );
    assert_eq!(
        code(vec![7; 100]).await,
        (400, "proof_malformed".to_owned())
    );
    assert_eq!(
        code(vec![7; 600_000]).await,
        (413, "proof_too_large".to_owned())
    );
    assert!(guard.verdicts().await.unwrap().is_empty());

    // A real one is taken, once.
    let real = same_size(&log).encode();
    let first = guard.hand_in_proof(&real).await.unwrap();
    assert_eq!(first.status(), 201);
    let again = guard.hand_in_proof(&real).await.unwrap();
    assert_eq!(again.status(), 200);
    // A liar can make as many as it likes; so many are kept.
    for _ in 0..20 {
        let more = guard
            .hand_in_proof(&same_size(&log).encode())
            .await
            .unwrap();
        assert!(more.status().is_success());
    }
    assert_eq!(guard.verdicts().await.unwrap().len(), 16);
}

#[tokio::test]
async fn a_proof_goes_from_watchtower_to_watchtower_and_stops_the_cosigners() {
    let world = World::start().await.unwrap();
    let log = LyingLog::start("gossip.example/log").await.unwrap();
    let mut told = story(&[1, 2]);
    log.tell(&told).unwrap();
    let first = tower(&world, "first", &log).await;
    let mut second = Guard::prepare(&world, "second").await.unwrap();
    let logs = [entry(&log.vkey(), log.url())];
    second.watch(&logs);
    second.cosign(&logs);
    second.set(&format!(
        "watchtower.peers=[\"https://{}\"]",
        first.plugin.key()
    ));
    second.set("cosigner.dead_after_s=10");
    second.plugin.start().await.unwrap();
    mirrored(&first, &log, 3).await;
    mirrored(&second, &log, 3).await;
    let url = second.url().unwrap();
    told.tick().unwrap();
    assert_eq!(log.ask(&url, &told, 3).await.unwrap().status(), 200);

    // Somebody shows the first one another face. The second one has never seen it.
    let face = log.sign(&story(&[7, 8])).unwrap();
    assert_eq!(first.hand_in(&face).await.unwrap()["status"], "forked");
    let verdict = verdict(&second).await;
    let proof = second.proof(&verdict).await.unwrap();
    assert_eq!(proof.verify().unwrap().key, log.vkey());
    told.tick().unwrap();
    let refused = log.ask(&url, &told, 4).await.unwrap();
    assert_eq!(refused.status(), 422);
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["code"], "log_forked");

    // It may tick on as long as it likes: for this cosigner it has ended, where it was caught.
    let stone = wait::until("a tombstone", || async {
        let mut longer = told.clone();
        longer.tick()?;
        log.tell(&longer)?;
        second
            .tombstones()
            .await?
            .first()
            .cloned()
            .context("none yet")
    })
    .await
    .unwrap();
    assert_eq!(Tombstone::parse(stone.text()).unwrap().size, 4);
}

#[tokio::test]
async fn a_cosigner_that_breaks_its_tombstone_is_convicted() {
    let world = World::start().await.unwrap();
    // Somebody may have seen the tombstone before or after the checkpoint beyond it.
    for tombstone_first in [true, false] {
        let log = LyingLog::start("revived.example/log").await.unwrap();
        let fickle = SigningKey::from_secret("fickle.example", KeyKind::Cosignature, [6; 32]);
        let fickle = fickle.unwrap();
        let mut told = story(&[1]);
        let old = log.tell(&told).unwrap();
        let stone = Tombstone {
            origin: log.vkey().name().to_owned(),
            size: 2,
            root: SignedCheckpoint::new(old.clone())
                .unwrap()
                .checkpoint()
                .root,
        };
        let stone = stone.sign(&fickle).unwrap();
        let mut guard = Guard::prepare(&world, "w").await.unwrap();
        guard.watch(&[entry(&log.vkey(), log.url())]);
        guard.set(&format!(
            "watchtower.cosigners=[{:?}]",
            fickle.verifier().to_string()
        ));
        guard.plugin.start().await.unwrap();
        mirrored(&guard, &log, 2).await;
        if tombstone_first {
            assert_eq!(guard.hand_in(&stone).await.unwrap()["status"], "kept");
            assert!(guard.verdicts().await.unwrap().is_empty());
        }
        told.tick().unwrap();
        let bare = log.tell(&told).unwrap();
        let mut signed = SignedCheckpoint::new(bare).unwrap();
        let line = cosign(&signed, &fickle, 1_700_000_000).unwrap();
        signed.add(&[line]).unwrap();
        log.publish(signed.note());
        if !tombstone_first {
            mirrored(&guard, &log, 3).await;
            wait::until("the cosignature in the mirror", || async {
                let mirror = guard.mirror(log.vkey().name()).await?;
                mirror
                    .checkpoint()
                    .await?
                    .verify_cosigner(&fickle.verifier())?;
                Ok(())
            })
            .await
            .unwrap();
            assert_eq!(guard.hand_in(&stone).await.unwrap()["status"], "forked");
        }
        let verdict = verdict(&guard).await;
        assert_eq!(verdict["role"], "cosigner");
        let proof = guard.proof(&verdict).await.unwrap();
        assert_eq!(proof.misdeed(), Misdeed::BrokenTombstone);
        assert_eq!(proof.verify().unwrap().key, fickle.verifier());
    }
}

#[tokio::test]
async fn a_cosigner_that_signs_both_faces_is_convicted_too() {
    let world = World::start().await.unwrap();
    let log = LyingLog::start("accomplice.example/log").await.unwrap();
    let liar =
        SigningKey::from_secret("accomplice.example", KeyKind::Cosignature, [5; 32]).unwrap();
    let sign = |story: &Story| {
        let mut signed = SignedCheckpoint::new(log.sign(story).unwrap()).unwrap();
        let line = cosign(&signed, &liar, 1_700_000_000).unwrap();
        signed.add(&[line]).unwrap();
        signed.note().clone()
    };
    let told = story(&[1, 2, 3]);
    log.tell(&told).unwrap();
    log.publish(&sign(&told));
    // Log and cosigner stand in the policy of somebody who relies on them.
    let policy = Policy::from_parts(
        &[(log.vkey(), Some(log.url().to_owned()))],
        &[(liar.verifier(), None)],
        1,
    )
    .unwrap();
    let mut guard = Guard::prepare(&world, "w").await.unwrap();
    let file = world.new_path("policy");
    std::fs::write(&file, policy.as_bytes()).unwrap();
    guard.watch(&[format!("{{ policy = {file:?} }}")]);
    guard.plugin.start().await.unwrap();
    mirrored(&guard, &log, 4).await;
    let face = sign(&story(&[1, 9]));
    assert_eq!(guard.hand_in(&face).await.unwrap()["status"], "forked");
    let verdicts = guard.verdicts().await.unwrap();
    let mut culprits = Vec::new();
    for verdict in &verdicts {
        let proof = guard.proof(verdict).await.unwrap();
        culprits.push(proof.verify().unwrap().key);
    }
    assert_eq!(culprits.len(), 2, "{verdicts:?}");
    assert!(culprits.contains(&log.vkey()) && culprits.contains(&liar.verifier()));
}

#[tokio::test]
async fn a_real_log_gives_no_cause_and_verdicts_outlive_crashes() {
    let world = World::start().await.unwrap();
    let site = LogSite::start(&world, "l", (1, 1)).await.unwrap();
    let log = site.log();
    let policy = log.policy().await.unwrap();
    let lying = LyingLog::start("crash.example/log").await.unwrap();
    lying.tell(&story(&[1])).unwrap();
    let mut guard = Guard::prepare(&world, "w").await.unwrap();
    guard.watch(&[
        entry(&site.key, &format!("https://{}/log", site.plugin.key())),
        entry(&lying.vkey(), lying.url()),
    ]);
    guard.plugin.start().await.unwrap();
    mirrored(&guard, &lying, 2).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        log.publish(&policy, &rand::random(), 0).await.unwrap();
        seen.push(log.checkpoint().await.unwrap().note().clone());
    }
    for note in &seen {
        assert_eq!(guard.hand_in(note).await.unwrap()["status"], "consistent");
    }
    assert!(guard.verdicts().await.unwrap().is_empty());
    let face = lying.sign(&story(&[2])).unwrap();
    assert_eq!(guard.hand_in(&face).await.unwrap()["status"], "forked");
    guard.plugin.kill().await.unwrap();
    guard.plugin.start().await.unwrap();
    let verdicts = guard.verdicts().await.unwrap();
    assert_eq!(verdicts.len(), 1);
    guard.proof(&verdicts[0]).await.unwrap();
    // The mirror of the real log is all there.
    let mirror = guard.mirror(site.key.name()).await.unwrap();
    wait::until("the mirror", || async {
        let audit = mirror.audit(&policy).await?;
        ensure!(audit.counts().len() >= 3);
        Ok(())
    })
    .await
    .unwrap();
}
