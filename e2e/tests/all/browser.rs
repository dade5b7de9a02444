//! The plugin's page renders its routes in a real browser.

use std::path::Path;
use std::process::Stdio;

use atomicity_e2e::browser::tool;
use atomicity_e2e::{World, wait};
use serde_json::Value;
use tokio::process::Command;

/// The page at `url` as it stands once its scripts ran.
async fn render(chromium: &str, url: &str, profile: &Path) -> String {
    let run = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        // No name but loopback resolves: the page must work without any other host.
        .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(["--virtual-time-budget=10000", "--dump-dom", url])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(wait::PATIENCE, run)
        .await
        .expect("it ends")
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_page_of_a_plugin_shows_every_route() {
    let Some(chromium) = tool("browser").await.unwrap() else {
        return;
    };
    let world = World::start().await.unwrap();
    let homeserver = world.homeserver("h").await.unwrap();
    let plugin = world.plugin("p", &homeserver).await.unwrap();
    let document = reqwest::get(format!("{}/openapi.json", plugin.http_url()))
        .await
        .unwrap();
    let document: Value = document.json().await.unwrap();

    let page = format!("{}/docs", plugin.http_url());
    let dom = render(&chromium, &page, &world.new_path("browser")).await;
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert!(
        paths.iter().any(|path| *path == "/v0/inbox/{user}"),
        "{paths:?}"
    );
    let rendered = dom
        .split_once("id=\"operations\"")
        .expect("the place for the routes")
        .1;
    for path in paths {
        assert!(
            rendered.contains(path.as_str()),
            "the page does not show {path}"
        );
    }
    assert!(
        dom.contains(plugin.key()),
        "the page does not say which plugin this is"
    );
}
