//! A witness log on a real plugin: what is answered, served and refused.

use std::time::Duration;

use atomicity_e2e::cosigner::Cosigner;
use atomicity_e2e::log::{LogReader, LogSite, Recorder};
use atomicity_e2e::mailbox::Mailbox;
use atomicity_e2e::{Plugin, World, wait};
use atomicity_witness_log::tile::TileKind;
use atomicity_witness_log::{Leaf, LogError, PublicationProof, SignedNote, TilePath, Tombstones};
use serde_json::Value;

async fn problem(answer: reqwest::Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_preimage_is_answered_with_a_proof_that_stands_alone() {
    let world = World::start().await.unwrap();
    let site = LogSite::start(&world, "l", (3, 2)).await.unwrap();
    let log = site.log();
    let policy = log.policy().await.unwrap();
    assert_eq!(
        policy.logs()[0].url.as_deref(),
        Some(format!("https://{}/log", site.plugin.key()).as_str())
    );
    let preimage: [u8; 32] = rand::random();
    let first = log.publish(&policy, &preimage, 0).await.unwrap();

    // Two cosigners at least, and nothing goes without them.
    let proof = PublicationProof::parse(first.proof.as_bytes()).unwrap();
    let note = &proof.tlog_proof().note;
    assert!(policy.check(note).unwrap().cosigned().len() >= 2);
    let bare = SignedNote::parse(note.to_string().as_bytes()).unwrap();
    let bare = bare.only(&site.key).unwrap();
    assert_eq!(policy.check(&bare), Err(LogError::QuorumNotReached));

    // Again: the same entry, unless it has to be later.
    let again = log.publish(&policy, &preimage, 0).await.unwrap();
    assert_eq!(again.published.index, first.published.index);
    let later = first.published.index + 1;
    let other = log.publish(&policy, &preimage, later).await.unwrap();
    assert!(other.published.index >= later);
    let ahead = log.post(&preimage, 1 << 40).await.unwrap();
    assert_eq!(problem(ahead).await, (400, "min_index_ahead".to_owned()));

    let document = reqwest::get(format!("{}/openapi.json", site.plugin.http_url())).await;
    let document: Value = document.unwrap().json().await.unwrap();
    for route in [
        "/log/checkpoint",
        "/log/preimages",
        "/log/events",
        "/log/policy",
    ] {
        assert!(document["paths"][route].is_object(), "{route} is not told");
    }

    let audit = log.audit(&policy).await.unwrap();
    assert!(audit.holds(&first) && audit.holds(&other));
    assert_eq!(audit.counts()[&preimage], 2);
}

#[tokio::test]
async fn many_who_ask_at_once_share_entries_and_checkpoints() {
    let world = World::start().await.unwrap();
    let site = LogSite::start(&world, "l", (1, 1)).await.unwrap();
    let log = site.log();
    let policy = log.policy().await.unwrap();
    let shared: [u8; 32] = rand::random();
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..300 {
        let (log, policy) = (log.clone(), policy.clone());
        // Every third asks for the same one.
        let preimage = if number % 3 == 0 {
            shared
        } else {
            rand::random()
        };
        asking.spawn(async move { log.publish(&policy, &preimage, 0).await.unwrap() });
    }
    let answers = asking.join_all().await;
    let audit = log.audit(&policy).await.unwrap();
    assert!(answers.iter().all(|answer| audit.holds(answer)));
    let counts = audit.counts();
    assert_eq!(counts.len(), 201);
    assert!(counts.values().all(|count| *count == 1));
}

#[tokio::test]
async fn the_log_ticks_also_when_idle_and_is_served_as_the_specification_says() {
    let world = World::start().await.unwrap();
    let site = LogSite::start(&world, "l", (1, 1)).await.unwrap();
    let log = site.log();
    let policy = log.policy().await.unwrap();
    let recorder = Recorder::start(log.clone(), site.key.clone());
    // Enough ticks for full tiles would take long; preimages fill them.
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..600 {
        let (log, policy) = (log.clone(), policy.clone());
        asking.spawn(async move { log.publish(&policy, &rand::random(), 0).await.unwrap() });
    }
    asking.join_all().await;
    let before = log.audit(&policy).await.unwrap();
    wait::until("the log to tick", || async {
        let size = log.checkpoint().await?.checkpoint().size;
        anyhow::ensure!(size >= before.size + 3);
        Ok(())
    })
    .await
    .unwrap();
    let after = log.audit(&policy).await.unwrap();
    let idle = &after.leaves[before.leaves.len()..];
    assert!(idle.iter().all(Leaf::is_tick));
    assert_eq!(after.leaves[..before.leaves.len()], before.leaves[..]);
    let times: Vec<u64> = idle.iter().map(Leaf::time_ms).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");

    let full = TilePath::new(TileKind::Entries, 0, 256).unwrap();
    let answer = log.get(&full.to_string()).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    assert!(
        answer.headers()["cache-control"]
            .to_str()
            .unwrap()
            .contains("immutable")
    );
    // A narrower form of what has grown is its beginning.
    let narrow = TilePath::new(TileKind::Hashes(0), 0, 7).unwrap();
    let wide = TilePath::new(TileKind::Hashes(0), 0, 256).unwrap();
    let (narrow, wide) = (
        log.tile(&narrow).await.unwrap(),
        log.tile(&wide).await.unwrap(),
    );
    assert_eq!(narrow[..], wide[..7 * 32]);
    let early = log.entries(0, 5, 5).await.unwrap();
    assert_eq!(early, log.entries(0, 5, 256).await.unwrap());
    for (path, status) in [
        ("tile/0/999", 404),
        ("tile/entries/999.p/3", 404),
        ("tile/0/1", 400),
        ("tile/0/000.p/0", 400),
        ("tile/0/000.p/256", 400),
        ("tile/9/000", 400),
        ("tile/entries/x001", 400),
    ] {
        assert_eq!(log.get(path).await.unwrap().status(), status, "{path}");
    }
    let checkpoint = log.get("checkpoint").await.unwrap();
    assert!(
        checkpoint.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    assert_eq!(checkpoint.headers()["cache-control"], "public, max-age=1");
    assert!(recorder.finish().await.unwrap() >= 2);
}

#[tokio::test]
async fn without_a_quorum_nothing_is_answered_and_a_retry_finds_its_place() {
    let world = World::start().await.unwrap();
    let mut options = LogSite::options(&world, "l").await.unwrap();
    options
        .more
        .push("witness_log.answer_timeout_ms=1500".to_owned());
    let mut site = LogSite::prepare(&world, "l", options, (2, 2))
        .await
        .unwrap();
    site.plugin.start().await.unwrap();
    let log = site.log();
    let policy = log.policy().await.unwrap();
    let published: [u8; 32] = rand::random();
    let known = log.publish(&policy, &published, 0).await.unwrap();

    site.cosigners[1].set_away(true);
    let waiting: [u8; 32] = rand::random();
    let refused = log.post(&waiting, 0).await.unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await, (503, "log_behind".to_owned()));
    // What was published is answered all the same, under the checkpoint there is; what was not is no hint either.
    let again = log.publish(&policy, &published, 0).await.unwrap();
    assert_eq!(again.published.index, known.published.index);
    let hash = atomicity_witness_log::leaf::preimage_hash(&waiting);
    let hint = |hash: [u8; 32]| {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash);
        let log = log.clone();
        async move { log.get(&format!("preimages/{text}")).await.unwrap() }
    };
    assert_eq!(hint(hash).await.status(), 404);

    site.cosigners[1].set_away(false);
    let answer = wait::until("a quorum", || log.publish(&policy, &waiting, 0))
        .await
        .unwrap();
    let audit = log.audit(&policy).await.unwrap();
    assert!(audit.holds(&answer));
    assert_eq!(
        audit.counts()[&waiting],
        1,
        "the retry got an entry of its own"
    );
    let hint: Value = hint(hash).await.json().await.unwrap();
    assert_eq!(hint["index"].as_u64(), Some(answer.published.index));
}

#[tokio::test]
async fn new_entries_are_streamed_without_gaps_and_the_stream_resumes() {
    let world = World::start().await.unwrap();
    let site = LogSite::start(&world, "l", (1, 1)).await.unwrap();
    let log = site.log();
    let policy = log.policy().await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(log.publish(&policy, &rand::random(), 0).await.unwrap());
    }
    let audit = log.audit(&policy).await.unwrap();
    let all = stream(&site.plugin, "?from=0", None, audit.leaves.len()).await;
    let indexes: Vec<u64> = all.iter().map(|(id, _, _)| *id).collect();
    assert_eq!(indexes, (0..audit.size).collect::<Vec<_>>());
    for ((_, kind, data), leaf) in all.iter().zip(&audit.leaves) {
        assert_eq!(kind == "tick", leaf.is_tick());
        assert_eq!(data["time_ms"].as_u64(), Some(leaf.time_ms()));
    }
    let resumed = stream(&site.plugin, "", Some("2"), 2).await;
    assert_eq!(resumed[0].0, 3);
    assert_eq!(resumed[0], all[3]);
    // From now on: what comes is newer than what was published.
    let live = stream(&site.plugin, "", None, 1).await;
    assert!(live[0].0 >= audit.size);
}

/// Reads so many events of the log's stream.
async fn stream(
    plugin: &Plugin,
    query: &str,
    last: Option<&str>,
    count: usize,
) -> Vec<(u64, String, Value)> {
    let url = format!("{}/log/events{query}", plugin.http_url());
    let mut request = reqwest::Client::new().get(url);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let mut answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut text = String::new();
    let mut events = Vec::new();
    while events.len() < count {
        let chunk = tokio::time::timeout(wait::PATIENCE, answer.chunk()).await;
        let chunk = chunk.unwrap().unwrap().expect("the stream ended");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some((event, rest)) = text.split_once("\n\n") {
            let field = |name: &str| {
                let line = event.lines().find_map(|line| line.strip_prefix(name));
                line.map(|value| value.trim().to_owned())
            };
            if let (Some(id), Some(kind), Some(data)) =
                (field("id:"), field("event:"), field("data:"))
            {
                events.push((
                    id.parse().unwrap(),
                    kind,
                    serde_json::from_str(&data).unwrap(),
                ));
            }
            text = rest.to_owned();
        }
    }
    events.truncate(count);
    events
}

#[tokio::test]
async fn an_address_has_a_budget_and_registered_users_one_of_their_own() {
    let world = World::start().await.unwrap();
    let homeserver = world.homeserver("h").await.unwrap();
    let mut options = world.plugin_options("l", &homeserver).await.unwrap();
    options.more.extend([
        "witness_log.address_per_minute=2".to_owned(),
        "witness_log.user_per_minute=3".to_owned(),
        "witness_log.interval_ms=200".to_owned(),
    ]);
    let mut site = LogSite::prepare(&world, "l", options, (0, 0))
        .await
        .unwrap();
    site.plugin.start().await.unwrap();
    let log = site.log();
    for _ in 0..2 {
        assert_eq!(log.post(&rand::random(), 0).await.unwrap().status(), 200);
    }
    let refused = log.post(&rand::random(), 0).await.unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await, (429, "rate_limited".to_owned()));

    let mailbox = Mailbox::open(&world, &homeserver, &site.plugin)
        .await
        .unwrap();
    let post = async |token: &str| log.post_as(token, rand::random()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(post(mailbox.token()).await.status(), 200);
    }
    assert_eq!(post(mailbox.token()).await.status(), 429);
    let stranger = post(&"A".repeat(43)).await;
    assert_eq!(problem(stranger).await, (401, "session_invalid".to_owned()));
}

#[tokio::test]
async fn a_log_is_made_by_command_only_and_never_twice() {
    let world = World::start().await.unwrap();
    let mut options = LogSite::options(&world, "l").await.unwrap();
    options.more.push("witness_log.enabled=true".to_owned());
    let dir = world.new_path("l");
    let mut plugin = Plugin::prepare("l", &dir, options).await.unwrap();
    let checked = plugin.run(&["check-config"]).await.unwrap();
    assert_eq!(checked.code, Some(2));
    plugin.launch().unwrap();
    assert_eq!(plugin.wait_for_end().await.unwrap().code(), Some(2));
    let said = std::fs::read_to_string(plugin.log_file()).unwrap();
    assert!(said.contains("log create"), "{said}");

    let made = plugin.run(&["log", "create"]).await.unwrap();
    assert_eq!(made.code, Some(0), "{made}");
    let secret = std::fs::read(dir.join("log-secret")).unwrap();
    let again = plugin.run(&["log", "create"]).await.unwrap();
    assert_eq!(again.code, Some(2), "{again}");
    // Another key does not become a log that the database has already.
    std::fs::rename(dir.join("log-secret"), dir.join("elsewhere")).unwrap();
    let other = plugin.run(&["log", "create"]).await.unwrap();
    assert_eq!(other.code, Some(2), "{other}");
    assert!(
        !dir.join("log-secret").exists(),
        "a key without a log is left behind"
    );
    std::fs::rename(dir.join("elsewhere"), dir.join("log-secret")).unwrap();
    assert_eq!(std::fs::read(dir.join("log-secret")).unwrap(), secret);
    let shown = plugin.run(&["log", "show"]).await.unwrap();
    assert!(made.stdout.starts_with(&shown.stdout), "{made}{shown}");
    plugin.start().await.unwrap();
    let doctor = plugin.run(&["doctor", "--json"]).await.unwrap();
    let report: Value = serde_json::from_str(&doctor.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let check = |name: &str| checks.iter().find(|check| check["check"] == name).unwrap();
    assert_eq!(check("witness_log")["level"], "ok", "{doctor}");
    assert_eq!(check("log_cosigners")["level"], "warn", "{doctor}");
    let log = LogReader::new(&format!("{}/log", plugin.http_url()));
    let policy = log.policy().await.unwrap();
    log.publish(&policy, &rand::random(), 0).await.unwrap();
    // A key whose log is elsewhere starts no new log.
    plugin.stop().await.unwrap();
    let mut stray = Plugin::prepare("stray", &world.new_path("stray"), {
        let mut options = LogSite::options(&world, "stray").await.unwrap();
        options.more.push("witness_log.enabled=true".to_owned());
        options
    })
    .await
    .unwrap();
    let key = stray.log_file().with_file_name("log-secret");
    std::fs::copy(dir.join("log-secret"), key).unwrap();
    stray.launch().unwrap();
    assert_eq!(stray.wait_for_end().await.unwrap().code(), Some(2));
}

#[tokio::test]
async fn a_cosigner_that_comes_late_catches_up() {
    let world = World::start().await.unwrap();
    let site = LogSite::start(&world, "l", (2, 1)).await.unwrap();
    let (first, second): (&Cosigner, &Cosigner) = (&site.cosigners[0], &site.cosigners[1]);
    second.set_away(true);
    let log = site.log();
    let policy = log.policy().await.unwrap();
    let answer = log.publish(&policy, &rand::random(), 0).await.unwrap();
    assert!(first.size() > answer.published.index);
    second.set_away(false);
    wait::until("the second cosigner to catch up", || async {
        anyhow::ensure!(second.size() > answer.published.index);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let signed = log.checkpoint().await?;
        anyhow::ensure!(policy.check(signed.note())?.cosigned().len() == 2);
        Ok(())
    })
    .await
    .unwrap();
    log.audit(&policy).await.unwrap();
}

#[tokio::test]
async fn a_log_that_its_cosigners_gave_up_ends_where_no_quorum_is_left() {
    let world = World::start().await.unwrap();
    let mut site = LogSite::start(&world, "l", (2, 1)).await.unwrap();
    let log = site.log();
    let policy = log.policy().await.unwrap();
    log.publish(&policy, &rand::random(), 0).await.unwrap();
    let tombstones = async || {
        let list: Value = log.get("tombstones").await?.json().await?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .map(|item| {
                let text = item["tombstone"].as_str().unwrap_or_default();
                Ok(SignedNote::parse(text.as_bytes())?)
            })
            .collect::<anyhow::Result<Vec<_>>>()
    };
    assert!(tombstones().await.unwrap().is_empty());

    site.cosigners[0].bury().unwrap();
    let first = wait::until("the first tombstone", || async {
        let notes = tombstones().await?;
        anyhow::ensure!(notes.len() == 1);
        Ok(notes)
    })
    .await
    .unwrap();
    assert_eq!(Tombstones::end(&policy, site.key.name(), &first), Ok(None));
    // The other one is a quorum by itself.
    log.publish(&policy, &rand::random(), 0).await.unwrap();

    site.cosigners[1].bury().unwrap();
    wait::until("the log to end", || async {
        let answer = log.post(&rand::random(), 0).await?;
        let (status, code) = problem(answer).await;
        anyhow::ensure!((status, code.as_str()) == (503, "log_stopped"), "{code}");
        Ok(())
    })
    .await
    .unwrap();
    let both = tombstones().await.unwrap();
    let end = Tombstones::end(&policy, site.key.name(), &both).unwrap();
    assert!(end.is_some_and(|end| end.size >= site.cosigners[0].size()));
    // Also after a restart, and what was published stays readable.
    site.plugin.kill().await.unwrap();
    site.plugin.launch().unwrap();
    wait::until("the log to be read", || log.audit(&policy))
        .await
        .unwrap();
    wait::until("the log to know its end", || async {
        let answer = log.post(&rand::random(), 0).await?;
        anyhow::ensure!(problem(answer).await == (503, "log_stopped".to_owned()));
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_full_queue_keeps_places_for_registered_users() {
    let world = World::start().await.unwrap();
    let homeserver = world.homeserver("h").await.unwrap();
    let mut options = world.plugin_options("l", &homeserver).await.unwrap();
    options.more.extend([
        "witness_log.max_waiting=2".to_owned(),
        "witness_log.reserved_waiting=1".to_owned(),
        "witness_log.answer_timeout_ms=5000".to_owned(),
        "witness_log.interval_ms=200".to_owned(),
    ]);
    let mut site = LogSite::prepare(&world, "l", options, (1, 1))
        .await
        .unwrap();
    site.plugin.start().await.unwrap();
    let log = site.log();
    let mailbox = Mailbox::open(&world, &homeserver, &site.plugin)
        .await
        .unwrap();
    // Nobody is answered while there is no quorum, so whoever got a place keeps it.
    site.cosigners[0].set_away(true);
    let mut strangers = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let log = log.clone();
        strangers.spawn(async move { log.post(&rand::random(), 0).await.unwrap() });
    }
    let first = strangers.join_next().await.unwrap().unwrap();
    assert!(first.headers().contains_key("retry-after"));
    assert_eq!(problem(first).await, (429, "queue_full".to_owned()));
    let user = log.post_as(mailbox.token(), rand::random()).await.unwrap();
    assert_eq!(problem(user).await, (503, "log_behind".to_owned()));
    let second = strangers.join_next().await.unwrap().unwrap();
    assert_eq!(problem(second).await, (503, "log_behind".to_owned()));
}
