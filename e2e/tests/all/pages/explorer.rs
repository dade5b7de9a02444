//! The explorer: logs, proofs that the browser checks, verdicts, the graph.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use atomicity_e2e::guard::{Guard, entry};
use atomicity_e2e::log::LogSite;
use atomicity_e2e::lying_log::{LyingLog, Story};
use atomicity_e2e::town::{Town, befriend, pass_on, router_with};
use atomicity_e2e::{World, wait};
use atomicity_witness_log::leaf::preimage_hash;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::Visitor;

/// Has the browser check what stands in the form; what it says.
async fn checked(visitor: &mut Visitor, change: &str) -> String {
    let press = format!(
        "document.querySelector('#outcome').textContent = ''; {change}; document.querySelector('#check button').click()"
    );
    visitor.browser.eval(&press).await.unwrap();
    visitor
        .browser
        .until("document.querySelector('#outcome').textContent !== ''")
        .await
        .unwrap();
    visitor.text("#outcome").await
}

/// Replaces text in a field of the form.
fn replace(field: &str, pattern: &str, by: &str) -> String {
    format!(
        "document.querySelector('#{field}').value = document.querySelector('#{field}').value.replace({pattern}, {by})"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_is_checked_in_the_page_and_a_tampered_one_refused() {
    let world = World::start().await.unwrap();
    let Some(mut visitor) = Visitor::come(&world).await else {
        return;
    };
    let mut options = LogSite::options(&world, "l").await.unwrap();
    options.more.push("pages.enabled=true".to_owned());
    let mut site = LogSite::prepare(&world, "l", options, (2, 2))
        .await
        .unwrap();
    site.plugin.start().await.unwrap();
    let (base, log) = (site.plugin.http_url(), site.log());
    let policy = log.policy().await.unwrap();
    let secret: [u8; 32] = rand::random();
    let answer = log.publish(&policy, &secret, 0).await.unwrap();
    visitor
        .inspect(&format!("{base}/explore"), "explorer")
        .await;
    visitor
        .inspect(&format!("{base}/explore/logs/own"), "log")
        .await;
    let signers = visitor.text("main").await;
    for cosigner in &site.cosigners {
        assert!(signers.contains(cosigner.vkey().name()), "{signers}");
    }
    visitor
        .inspect(&format!("{base}/explore/logs/own/entries"), "entries")
        .await;
    visitor.camera = false;
    visitor
        .inspect(&format!("{base}/explore/logs/own/tiles"), "own-tiles")
        .await;
    let tile = "document.querySelector('tbody a').href";
    let tile = visitor.browser.eval(tile).await.unwrap();
    visitor.inspect(tile.as_str().unwrap(), "own-tile").await;
    visitor.camera = true;
    visitor
        .inspect(&format!("{base}/explore/check"), "check")
        .await;

    // By its hash, in hexadecimal digits, to the entry.
    let hash: String = preimage_hash(&secret)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    visitor
        .browser
        .goto(&format!("{base}/explore/logs/own/find?hash={hash}"))
        .await
        .unwrap();
    let heading = format!("Entry {}", answer.published.index);
    assert_eq!(visitor.text("h1").await, heading);
    let url = visitor.browser.eval("location.href").await.unwrap();
    visitor.inspect(url.as_str().unwrap(), "proof").await;
    visitor.browser.goto(url.as_str().unwrap()).await.unwrap();

    assert_eq!(checked(&mut visitor, "").await, "The proof holds.");
    assert_eq!(
        visitor
            .number("document.querySelectorAll('#steps li').length")
            .await,
        6
    );
    // Each thing that could be changed.
    for (change, words) in [
        (
            replace("proof", "/^extra A/m", "'extra B'"),
            "the entry is nothing that a log may hold",
        ),
        (
            replace(
                "proof",
                "/^extra (.{20})(.)/m",
                "(a, b, c) => 'extra ' + b + (c === 'A' ? 'B' : 'A')",
            ),
            "do not lead to the root",
        ),
        (
            replace("proof", "/^index .*$/m", "'index 999999999'"),
            "beyond the end",
        ),
        (
            replace("proof", "/(\\n\\n.*\\n)[0-9]+/", "'$11'"),
            "do not lead to the root|levels|beyond",
        ),
        (
            replace(
                "proof",
                "/(\\n\\n.*\\n.*\\n)./",
                "(a, b) => a.slice(0, -1) + (a.at(-1) === 'A' ? 'B' : 'A')",
            ),
            "do not lead to the root",
        ),
        (
            replace("proof", "/(cosigner1.*)....$/m", "'$1AAA='"),
            "the signature of cosigner1.example is bad|no base64",
        ),
        (
            replace("proof", "/^.*cosigner1.*\\n/m", "''"),
            "too few cosigners",
        ),
        (
            replace("policy", "/^log .*$/m", "''"),
            "does not name the log",
        ),
        (
            replace(
                "policy",
                "/cosigner2.example\\+(.)/",
                "(a, b) => 'cosigner2.example+' + (b === 'a' ? 'b' : 'a')",
            ),
            "was changed",
        ),
        (
            replace("policy", "/^quorum.*$/m", "''"),
            "how many cosigners",
        ),
    ] {
        visitor.browser.goto(url.as_str().unwrap()).await.unwrap();
        let said = checked(&mut visitor, &change).await;
        assert!(said.starts_with("Refused: "), "{change}: {said}");
        assert!(
            words.split('|').any(|words| said.contains(words)),
            "{change}: {said}"
        );
    }
    assert_eq!(visitor.browser.complaints(), [""; 0]);
    // One that a wallet had from elsewhere.
    visitor
        .browser
        .goto(&format!("{base}/explore/check"))
        .await
        .unwrap();
    let pasted = format!(
        "document.querySelector('#proof').value = {}",
        serde_json::json!(answer.proof)
    );
    assert_eq!(checked(&mut visitor, &pasted).await, "The proof holds.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_is_shown_with_the_evidence() {
    let world = World::start().await.unwrap();
    let Some(mut visitor) = Visitor::come(&world).await else {
        return;
    };
    let log = LyingLog::start("two-faced.example/log").await.unwrap();
    let story = |preimages: &[u8]| {
        let mut story = Story::default();
        for n in preimages {
            story.preimage([*n; 32]).unwrap();
        }
        story.tick().unwrap();
        story
    };
    log.tell(&story(&[1, 2, 3])).unwrap();
    let mut guard = Guard::prepare(&world, "w").await.unwrap();
    guard.watch(&[entry(&log.vkey(), log.url())]);
    guard.set("pages.enabled=true");
    guard.plugin.start().await.unwrap();
    let mirror = wait::until("the mirror", || async {
        let mirror = guard.mirror(log.vkey().name()).await?;
        ensure!(mirror.checkpoint().await?.checkpoint().size == 4);
        Ok(())
    });
    mirror.await.unwrap();
    let base = guard.plugin.http_url();
    visitor
        .inspect(&format!("{base}/explore/verdicts"), "no-verdicts")
        .await;
    let other = log.sign(&story(&[9, 9, 9])).unwrap();
    let said = guard.hand_in(&other).await.unwrap();
    assert_eq!(said["status"], "forked", "{said}");
    let verdict = guard
        .verdicts()
        .await
        .unwrap()
        .first()
        .cloned()
        .context("none")
        .unwrap();
    visitor
        .inspect(&format!("{base}/explore/verdicts"), "verdicts")
        .await;
    let page = format!(
        "{base}/explore/verdicts/{}",
        verdict["id"].as_str().unwrap()
    );
    visitor.inspect(&page, "verdict").await;
    let text = visitor.text("main").await;
    for shown in [
        "two-faced.example/log",
        "showed two histories of the same length",
        "it holds",
        "the log itself",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    // The mirror of the log, and a proof out of it.
    let path = first_log(&mut visitor, &base).await;
    visitor.inspect(&path, "mirror").await;
    assert!(
        visitor
            .text("main")
            .await
            .contains("Somebody was caught lying about this log")
    );
    visitor
        .browser
        .goto(&format!("{path}/entries/1"))
        .await
        .unwrap();
    assert_eq!(checked(&mut visitor, "").await, "The proof holds.");
}

/// The address of the pages of the first log that the explorer lists.
async fn first_log(visitor: &mut Visitor, base: &str) -> String {
    let explorer = format!("{base}/explore");
    visitor.browser.goto(&explorer).await.unwrap();
    let name = "document.querySelector('a[href^=\"/explore/logs/\"]').getAttribute('href')";
    let name = visitor.browser.eval(name).await.unwrap();
    format!("{base}{}", name.as_str().unwrap())
}

/// One of many secrets.
fn numbered(n: u32) -> [u8; 32] {
    let mut secret = [3; 32];
    secret[..4].copy_from_slice(&n.to_be_bytes());
    secret
}

/// A watchtower with pages that has all of a log with 300 secrets and a tick; and the log.
async fn long_mirror(world: &World) -> (Guard, LyingLog) {
    let log = LyingLog::start("long.example/log").await.unwrap();
    let mut story = Story::default();
    for n in 0..300 {
        story.preimage(numbered(n)).unwrap();
    }
    story.tick().unwrap();
    log.tell(&story).unwrap();
    let mut guard = Guard::prepare(world, "w").await.unwrap();
    guard.watch(&[entry(&log.vkey(), log.url())]);
    guard.set("pages.enabled=true");
    guard.plugin.start().await.unwrap();
    let mirror = wait::until("the mirror", || async {
        let mirror = guard.mirror(log.vkey().name()).await?;
        ensure!(mirror.checkpoint().await?.checkpoint().size == 301);
        Ok(())
    });
    mirror.await.unwrap();
    (guard, log)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_finds_a_secret_by_its_hash_with_a_proof_that_is_checked_in_the_page() {
    let world = World::start().await.unwrap();
    let Some(mut visitor) = Visitor::come(&world).await else {
        return;
    };
    let (guard, log) = long_mirror(&world).await;
    // What is found is found here: the log itself says nothing any more.
    log.set_silent(true);
    let page = first_log(&mut visitor, &guard.plugin.http_url()).await;
    let hex = |bytes: [u8; 32]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    let find = |hash: String| format!("{page}/find?hash={hash}");
    let known = find(hex(preimage_hash(&numbered(270))));
    wait::until("the index", || async {
        reqwest::get(&known).await?.error_for_status()?;
        Ok(())
    })
    .await
    .unwrap();
    visitor.browser.goto(&page).await.unwrap();
    let typed = format!(
        "document.querySelector('#hash').value = '{}'; document.querySelector('#hash').form.requestSubmit()",
        hex(preimage_hash(&numbered(270)))
    );
    visitor.browser.eval(&typed).await.unwrap();
    visitor
        .browser
        .until("document.querySelector('h1')?.innerText === 'Entry 270'")
        .await
        .unwrap();
    assert_eq!(checked(&mut visitor, "").await, "The proof holds.");
    let tampered = replace("proof", "/^index .*$/m", "'index 271'");
    let said = checked(&mut visitor, &tampered).await;
    assert!(said.starts_with("Refused: "), "{said}");
    // By the secret itself, and one that is nowhere.
    let secret = find(hex(numbered(12)));
    visitor.browser.goto(&secret).await.unwrap();
    assert_eq!(visitor.text("h1").await, "Entry 12");
    let nowhere = reqwest::get(find(hex([8; 32]))).await.unwrap();
    assert_eq!(nowhere.status(), 404);
    let said: serde_json::Value = nowhere.json().await.unwrap();
    assert_eq!(said["code"], "not_in_log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tiles_of_a_log_are_shown_with_where_each_leads() {
    let world = World::start().await.unwrap();
    let Some(mut visitor) = Visitor::come(&world).await else {
        return;
    };
    let (guard, _log) = long_mirror(&world).await;
    let base = guard.plugin.http_url();
    let page = first_log(&mut visitor, &base).await;
    visitor.inspect(&format!("{page}/tiles"), "tiles").await;
    visitor
        .browser
        .goto(&format!("{page}/tiles"))
        .await
        .unwrap();
    let words = visitor.text("main").await;
    for said in [
        "301 hashes of one entry each, in 2 tiles.",
        "1 hash over 256 entries each, in 1 tile.",
        "tile/0/001.p/45",
    ] {
        assert!(words.contains(said), "{said}: {words}");
    }
    visitor.inspect(&format!("{page}/tile/0/000"), "tile").await;
    visitor
        .browser
        .goto(&format!("{page}/tile/0/000"))
        .await
        .unwrap();
    let words = visitor.text("[aria-labelledby=above]").await;
    assert!(
        words.contains("That is what stands in level 1, in tile 0, as hash 0."),
        "{words}"
    );
    let root = visitor.text("[aria-labelledby=above] code").await;
    // The bytes behind the link are the hashes that are shown.
    let raw = "[...document.querySelectorAll('dd a')].map((a) => a.href).find((a) => a.endsWith('/tile/0/000'))";
    let raw = visitor.browser.eval(raw).await.unwrap();
    let raw = reqwest::get(raw.as_str().unwrap()).await.unwrap();
    let raw = raw.error_for_status().unwrap().bytes().await.unwrap();
    let shown =
        "[...document.querySelectorAll('[aria-labelledby=hashes] code')].map((e) => e.innerText)";
    let shown = visitor.browser.eval(shown).await.unwrap();
    let hashes = raw.chunks(32).map(|hash| BASE64_STANDARD.encode(hash));
    assert_eq!(shown, serde_json::json!(hashes.collect::<Vec<_>>()));
    // In the tile above stands what was promised, and it leads back; as each hash at the bottom leads to its entry.
    let click = "document.querySelector('[aria-labelledby=above] a').click()";
    visitor.browser.eval(click).await.unwrap();
    visitor
        .browser
        .until("document.querySelector('h1')?.innerText === 'Tile 0 of level 1'")
        .await
        .unwrap();
    assert_eq!(visitor.text("#h0 code").await, root);
    let words = visitor.text("[aria-labelledby=above]").await;
    assert!(
        words.contains("Nothing yet: a tile has a hash there once it is full."),
        "{words}"
    );
    let down = "document.querySelector('#h0 a').getAttribute('href')";
    let down = visitor.browser.eval(down).await.unwrap();
    assert!(down.as_str().unwrap().ends_with("/tile/0/000"), "{down}");
    visitor
        .browser
        .goto(&format!("{page}/tile/0/001.p/45"))
        .await
        .unwrap();
    let entry = "document.querySelector('#h300 a').click()";
    visitor.browser.eval(entry).await.unwrap();
    visitor
        .browser
        .until("document.querySelector('h1')?.innerText === 'Entry 300'")
        .await
        .unwrap();
    // A narrower one is still there; what the log has not published is not.
    let status = async |path: &str| {
        reqwest::get(format!("{page}/{path}"))
            .await
            .unwrap()
            .status()
    };
    assert_eq!(status("tile/0/001.p/3").await, 200);
    assert_eq!(status("tile/entries/001.p/45").await, 200);
    for beyond in [
        "tile/0/001.p/46",
        "tile/0/001",
        "tile/2/000.p/1",
        "tile/0/1",
        "tiles?level=2",
    ] {
        assert_eq!(status(beyond).await, 404, "{beyond}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_graph_around_a_user_shows_what_both_ends_published() {
    let town = Town::found("BREAD/2").await.unwrap();
    let world = &town.world;
    let Some(mut visitor) = Visitor::come(world).await else {
        return;
    };
    let paula = town.person("paula", 0).await.unwrap();
    let ben = town.person("ben", 0).await.unwrap();
    let sam = town.person("sam", 1).await.unwrap();
    for (one, other) in [(&paula, &ben), (&ben, &sam)] {
        befriend(one, other, "50.00 BREAD/2").await.unwrap();
    }
    for person in [&paula, &ben, &sam] {
        pass_on(person, "BREAD/2", "0.01").await.unwrap();
    }
    let pages = ["pages.enabled=true", "pages.strangers=true"];
    let home = &town.sites[0].homeserver;
    let router = router_with(world, home, &[&paula], &pages).await.unwrap();
    let page = format!("{}/explore/users/{}", router.http_url(), ben.key());
    wait::until("the graph", || async {
        let html = reqwest::get(&page).await?.text().await?;
        ensure!(html.contains("paula") && html.contains("sam"), "{html}");
        Ok(())
    })
    .await
    .unwrap();
    visitor.inspect(&page, "graph").await;
    visitor.browser.goto(&page).await.unwrap();
    assert_eq!(visitor.text("h1").await, "Around ben");
    assert_eq!(
        visitor
            .number("document.querySelectorAll('svg.graph circle').length")
            .await,
        3
    );
    assert_eq!(
        visitor
            .number("document.querySelectorAll('svg.graph line').length")
            .await,
        2
    );
    assert_eq!(
        visitor
            .number("document.querySelectorAll('tbody tr').length")
            .await,
        4
    );
    // A click leads on.
    visitor.browser.eval("document.querySelector('svg.graph a.near').dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}))").await.unwrap();
    let moved = tokio::time::timeout(
        Duration::from_secs(60),
        visitor
            .browser
            .until("document.querySelector('h1').innerText !== 'Around ben'"),
    );
    moved.await.unwrap().unwrap();
}
