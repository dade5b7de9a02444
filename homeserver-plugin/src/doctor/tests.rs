#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn config() -> Config {
    let mut config = Config::default();
    // Nothing listens at port 1, and no node of a DHT answers there.
    config.database.url = "postgres://nobody@127.0.0.1:1/none".to_owned();
    config.network.testnet = true;
    config.network.dht_bootstrap = vec!["127.0.0.1:1".to_owned()];
    config.network.dht_request_timeout_ms = 50;
    config.network.resolve_timeout_ms = 500;
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.pubky.listen = "127.0.0.1:0".parse().unwrap();
    config
}

async fn run(config: &Config, data_dir: &Path) -> Report {
    let places = Places {
        data_dir,
        config_file: &data_dir.join("config.toml"),
    };
    super::run(config, &places).await
}

fn find<'a>(report: &'a Report, name: &str) -> &'a Check {
    report
        .checks
        .iter()
        .find(|check| check.check == name)
        .unwrap()
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let report = run(&config(), dir.path()).await;
    assert!(!report.ok);
    for name in ["secret", "database"] {
        assert_eq!(find(&report, name).level, Level::Fail, "{name}");
    }
    for check in &report.checks {
        assert_eq!(check.ok, check.level != Level::Fail);
        assert_eq!(
            check.hint.is_none(),
            check.level == Level::Ok,
            "{}",
            check.check
        );
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(json["checks"][1]["level"], "fail");
}

#[tokio::test]
async fn a_silent_dht_is_told() {
    let dir = tempfile::tempdir().unwrap();
    secret::create(dir.path()).unwrap();
    let report = run(&config(), dir.path()).await;
    assert_eq!(find(&report, "secret").level, Level::Ok);
    assert_eq!(find(&report, "dht").level, Level::Fail);
}

#[tokio::test]
async fn a_taken_port_and_a_port_of_the_homeserver_are_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config();
    config.http.listen = taken.local_addr().unwrap();
    config.pubky.listen = "127.0.0.1:6287".parse().unwrap();
    config.admin.enabled = true;
    config.admin.listen = taken.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let report = run(&config, dir.path()).await;
    assert_eq!(find(&report, "port_http").level, Level::Fail);
    assert_eq!(find(&report, "port_pubky").level, Level::Fail);
    assert_eq!(find(&report, "port_admin").level, Level::Fail);
}

#[tokio::test]
async fn what_can_not_work_outside_is_told_before_the_service_runs() {
    let dir = tempfile::tempdir().unwrap();
    secret::create(dir.path()).unwrap();
    let mut config = config();
    config.network.testnet = false;
    config.network.fetch_timeout_ms = 200;
    config.pubky.public_ip = Some("192.168.1.7".parse().unwrap());
    config.http.public_url = Some("http://credit.example".parse().unwrap());
    let report = run(&config, dir.path()).await;
    assert_eq!(find(&report, "reachable").level, Level::Fail);
    assert_eq!(find(&report, "public_url").level, Level::Warn);

    config.pubky.public_ip = Some("203.0.113.7".parse().unwrap());
    config.http.public_url = Some("https://credit.example".parse().unwrap());
    let report = run(&config, dir.path()).await;
    let names: Vec<_> = report.checks.iter().map(|check| check.check).collect();
    assert!(!names.contains(&"public_url"), "{names:?}");
    assert_eq!(find(&report, "trusted_proxies").level, Level::Warn);
    config.http.trusted_proxies = vec!["127.0.0.1".to_owned()];
    let report = run(&config, dir.path()).await;
    let names: Vec<_> = report.checks.iter().map(|check| check.check).collect();
    assert!(!names.contains(&"trusted_proxies"), "{names:?}");
}

#[tokio::test]
async fn files_that_others_can_read_are_told() {
    let dir = tempfile::tempdir().unwrap();
    secret::create(dir.path()).unwrap();
    let set = |name: &str, mode| {
        std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(mode))
            .unwrap();
    };
    std::fs::write(dir.path().join("config.toml"), "").unwrap();
    set("config.toml", 0o644);
    set("secret", 0o644);
    let report = run(&config(), dir.path()).await;
    assert_eq!(find(&report, "config").level, Level::Warn);
    assert_eq!(find(&report, "secret").level, Level::Fail);
    set("config.toml", 0o640);
    set("secret", 0o600);
    let report = run(&config(), dir.path()).await;
    assert_eq!(find(&report, "config").level, Level::Ok);
    assert_eq!(find(&report, "secret").level, Level::Ok);
}
