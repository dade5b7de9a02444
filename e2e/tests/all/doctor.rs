//! `atomicity-homeserver doctor` beside a real homeserver.

use atomicity_e2e::{Homeserver, Plugin, World, cli};
use serde_json::Value;

/// What doctor says of `name`.
async fn found(plugin: &Plugin, homeserver: &Homeserver, name: &str) -> Value {
    let admin = format!("accounts.homeserver_admin_url={}", homeserver.admin_url());
    let command = plugin.command(&["--set", &admin, "doctor", "--json"]);
    let report = cli::run(command, "doctor").await.unwrap();
    let report = report.json().unwrap();
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["check"] == name);
    check.unwrap_or_else(|| panic!("{report:#}")).clone()
}

#[tokio::test]
async fn doctor_knows_a_homeserver_whose_admin_password_nobody_changed() {
    let world = World::start().await.unwrap();
    let mut homeserver = world.homeserver("h").await.unwrap();
    let plugin = world.plugin("h", &homeserver).await.unwrap();
    for name in [
        "homeserver",
        "clock",
        "packet",
        "reachable",
        "admin_password",
    ] {
        let check = found(&plugin, &homeserver, name).await;
        assert_eq!(check["level"], "ok", "{check}");
    }
    homeserver.set_admin_password("admin");
    homeserver.restart().await.unwrap();
    let check = found(&plugin, &homeserver, "admin_password").await;
    assert_eq!(check["level"], "warn", "{check}");
    assert!(
        check["hint"].as_str().unwrap().contains("admin_password"),
        "{check}"
    );
}
