//! What operators watch by: alerts, dashboard and docs name metrics that exist, and every metric stands in the docs.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::support::database::Database;
use crate::support::process::{Home, Running, text};
use crate::support::until;
use crate::support::world::World;

const ALERTS: &str = include_str!("../../../docker/alerts.yml");
const DASHBOARD: &str = include_str!("../../../docker/dashboard.json");
const DOCS: [&str; 5] = [
    include_str!("../../../docs/operating/metrics.md"),
    include_str!("../../../docs/operating/log.md"),
    include_str!("../../../docs/operating/guarding-logs.md"),
    include_str!("../../../docs/operating/router.md"),
    include_str!("../../../docs/operating/agent.md"),
];
/// Names of the same shape that are none of metrics.
const OTHERS: [&str; 2] = ["atomicity_plugin", "atomicity_client"];

/// The metrics that a text names. A histogram has several names.
fn named(text: &str) -> BTreeSet<String> {
    let part_of_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.match_indices("atomicity_")
        .map(|(at, _)| {
            let rest = &text[at..];
            let end = rest.find(|c| !part_of_a_name(c)).unwrap_or(rest.len());
            let name = &rest[..end];
            let histogram = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix));
            histogram.unwrap_or(name).to_owned()
        })
        .filter(|name| !OTHERS.contains(&name.as_str()))
        .collect()
}

/// A plugin that does everything that a plugin can do.
async fn everything(home: &Home, database: &Database, world: &World) -> Running {
    let command = |arguments: &[&str]| {
        let mut command = home.command(arguments);
        command
            .args(["--testnet", "--open-registration"])
            .env("ATOMICITY_HOMESERVER_DATABASE_URL", &database.url);
        command
    };
    let made = command(&["log", "create"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let said = text(&made).0;
    let key = said.lines().find_map(|line| line.strip_prefix("key:"));
    let key = key.unwrap().trim();
    let made = command(&["cosigner", "create"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    // Free again at once: the plugin takes it.
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let mut run = home.run_command(database);
    run.args(["--set", &format!("http.listen=127.0.0.1:{port}")])
        .args(["--dht-bootstrap", &world.network.bootstrap.join(",")]);
    let follows = format!("logs=[{{vkey=\"{key}\",url=\"http://127.0.0.1:{port}/log\"}}]");
    for set in [
        "witness_log.enabled=true",
        "witness_log.interval_ms=200",
        "cosigner.enabled=true",
        &format!("cosigner.{follows}"),
        "cosigner.poll_ms=200",
        "watchtower.enabled=true",
        "router.enabled=true",
        "agent.enabled=true",
        "database.max_connections=20",
    ] {
        run.args(["--set", set]);
    }
    run.stderr(std::process::Stdio::null());
    Running::spawn(run)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_alerts_dashboard_and_docs_name_is_what_the_plugin_counts() {
    let (world, home, database) = (World::new(), Home::new(), Database::create().await);
    let running = everything(&home, &database, &world).await;
    let http = reqwest::Client::new();
    let scraped = async || {
        let answer = http.get(format!("{}/metrics", running.http)).send().await;
        answer.unwrap().text().await.unwrap()
    };
    // One that appears once the log was read, one once the plugin was announced, one once a request was counted.
    let late = [
        "atomicity_mirror_newest_age_seconds",
        "atomicity_announced_timestamp_seconds",
        "atomicity_http_request_duration_seconds",
    ];
    until("everything was looked at once", || async {
        let seen = named(&scraped().await);
        late.iter().all(|name| seen.contains(*name))
    })
    .await;
    let counted = named(&scraped().await);

    let used: BTreeSet<String> = [ALERTS, DASHBOARD]
        .iter()
        .flat_map(|text| named(text))
        .collect();
    assert!(used.len() > 30, "{used:?}");
    let unknown: Vec<_> = used.difference(&counted).collect();
    assert!(unknown.is_empty(), "alerts and dashboard name {unknown:?}");

    // Those that count only what has not happened here are known to the docs alone.
    let never = [
        "atomicity_router_refused_total",
        "atomicity_router_events_total",
        "atomicity_tombstones_total",
    ];
    let told: BTreeSet<String> = DOCS.iter().flat_map(|text| named(text)).collect();
    let wrong: Vec<_> = told
        .difference(&counted)
        .filter(|name| !never.contains(&name.as_str()))
        .collect();
    assert!(wrong.is_empty(), "the docs name {wrong:?}");
    // In tables of the docs, neighbours are written without what they share: `…_edges`.
    let shortened = |name: &str| {
        let tail = name.trim_start_matches("atomicity_router");
        DOCS.iter().any(|text| text.contains(&format!("`…{tail}`")))
    };
    let untold: Vec<_> = counted
        .difference(&told)
        .filter(|name| !shortened(name))
        .collect();
    assert!(untold.is_empty(), "the docs do not name {untold:?}");
}

#[test]
fn the_dashboard_asks_its_own_source_and_draws_without_overlap() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(number(&panel["id"])), "{panel}");
        let place = &panel["gridPos"];
        for x in 0..number(&place["w"]) {
            for y in 0..number(&place["h"]) {
                let cell = (number(&place["x"]) + x, number(&place["y"]) + y);
                assert!(cell.0 < 24 && taken.insert(cell), "{panel}");
            }
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
        }
    }
}

/// By Prometheus's own tool; skipped outside CI where it can't be had, and on systems without a package of it.
#[test]
fn the_alerts_fire_when_they_should() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let found = Command::new(format!("{root}/e2e/tools.sh"))
        .arg("promtool")
        .stderr(std::process::Stdio::inherit())
        .output()
        .unwrap();
    if !found.status.success() {
        let no_package = found.status.code() == Some(3);
        assert!(
            no_package || std::env::var_os("CI").is_none(),
            "in CI this needs `e2e/tools.sh promtool`: what it says stands above"
        );
        eprintln!("skipped: no promtool, so the alerts were not tried");
        return;
    }
    let promtool = text(&found).0.trim().to_owned();
    for arguments in [
        &["check", "config", "prometheus.yml"][..],
        &["test", "rules", "alerts.test.yml"],
    ] {
        let tried = Command::new(&promtool)
            .args(arguments)
            .current_dir(format!("{root}/docker"))
            .output()
            .unwrap();
        assert!(tried.status.success(), "{:?}", text(&tried));
    }
}

/// A build in a container sees only what this file lets in.
#[test]
fn every_crate_gets_into_the_container() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let read = |file: &str| std::fs::read_to_string(format!("{root}/{file}")).unwrap();
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let let_in = read("docker/Dockerfile.dockerignore");
    for member in workspace["workspace"]["members"].as_array().unwrap() {
        let line = format!("!{}", member.as_str().unwrap());
        assert!(let_in.lines().any(|found| found == line), "{line}");
    }
}
