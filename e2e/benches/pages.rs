//! How long a running plugin takes to answer with a page, beside its shortest answer of all, and when a browser has painted it. Prints
//! numbers; asserts nothing about them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use atomicity_e2e::browser::Browser;
use atomicity_e2e::people::{Person, Site, string};
use atomicity_e2e::{World, wait};

/// How often each page is asked for, by one after the other and by many at once.
const ASKED: [(usize, usize); 2] = [(1, 1_000), (16, 8_000)];
/// How often a browser goes to each.
const VISITS: usize = 15;

#[tokio::main]
async fn main() {
    // `cargo test` builds benches too and runs them without this flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let world = World::start().await.unwrap();
    let homeserver = world.homeserver("h").await.unwrap();
    let mut options = world.plugin_options("p", &homeserver).await.unwrap();
    options.more.push("pages.enabled=true".to_owned());
    for rate in ["http.requests_per_second", "http.requests_burst"] {
        options.more.push(format!("{rate}=1000000"));
    }
    options.more.push("log.filter=\"warn\"".to_owned());
    let plugin = world.plugin_with("p", options).await.unwrap();
    let site = Site { homeserver, plugin };
    let mut paula = Person::new(&world, "paula").unwrap();
    paula.join(&site, "USD/2").await.unwrap();
    let base = site.plugin.http_url();
    let wallet = paula.wallet();
    wallet.ok(&["profile", "page", "on"]).await.unwrap();
    let bill = ["request", "new", "300.00 USD/2", "--together"];
    let made = wallet.ok(&bill).await.unwrap();
    let request = string(&made, "/request").unwrap();
    let user = format!("{base}/u/{}", paula.key());
    let all = [
        ("the shortest answer", format!("{base}/health/live")),
        ("the first page", format!("{base}/")),
        ("a user's page", user.clone()),
        ("a bill", format!("{user}/requests/{request}")),
    ];
    let client = reqwest::Client::new();
    for (name, url) in &all {
        let there = || async {
            Ok(client
                .get(url)
                .send()
                .await?
                .error_for_status()?
                .bytes()
                .await?)
        };
        let body = wait::until(name, there).await.unwrap();
        for (at_once, times) in ASKED {
            let (took, mut each) = ask(&client, url, (at_once, times)).await;
            each.sort_unstable();
            let part = |share: usize| each[(each.len() * share / 1_000).min(each.len() - 1)];
            println!(
                "{name:<20} {:>6} B, {at_once:>2} at once: {:>7.0} a second, p50 {:>6} µs, p99 {:>6} µs",
                body.len(),
                times as f64 / took.as_secs_f64(),
                part(500).as_micros(),
                part(990).as_micros(),
            );
        }
    }
    let Some(mut browser) = Browser::start(&world).await.unwrap() else {
        println!("no browser here");
        return;
    };
    for (name, url) in &all[1..] {
        let mut painted = Vec::new();
        for _ in 0..VISITS {
            browser.goto(url).await.unwrap();
            let paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime";
            browser.until(&format!("{paint} > 0")).await.unwrap();
            let at = browser.eval(paint).await.unwrap();
            painted.push(at.as_f64().unwrap() as u64);
        }
        painted.sort_unstable();
        let (middle, last) = (painted[VISITS / 2], painted[VISITS - 1]);
        println!(
            "{name:<20} painted in Chromium: {middle:>4} ms in the middle, {last:>4} ms at most"
        );
    }
}

/// Asks for a page so often, so many at once: how long all of it took, and each.
async fn ask(
    client: &reqwest::Client,
    url: &str,
    (at_once, times): (usize, usize),
) -> (Duration, Vec<Duration>) {
    let left = Arc::new(AtomicUsize::new(times));
    let start = Instant::now();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let (client, url, left) = (client.clone(), url.to_owned(), left.clone());
        readers.spawn(async move {
            let take = |n: usize| n.checked_sub(1);
            let mut each = Vec::new();
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
            {
                let begun = Instant::now();
                let answer = client.get(&url).send().await.unwrap();
                answer.error_for_status().unwrap().bytes().await.unwrap();
                each.push(begun.elapsed());
            }
            each
        });
    }
    let mut all = Vec::with_capacity(times);
    while let Some(ended) = readers.join_next().await {
        all.extend(ended.unwrap());
    }
    (start.elapsed(), all)
}
