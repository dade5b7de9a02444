//! What operators look at: probes, metrics, the packet, the page.

use atomicity_plugin::Config;
use reqwest::Method;
use serde_json::Value;

use crate::support::plugin::{Answer, Plugin};
use crate::support::until;
use crate::support::world::World;

async fn get(plugin: &Plugin, path: &str) -> Answer {
    Answer::of(plugin.request(Method::GET, path)).await
}

fn check<'a>(answer: &'a Answer, name: &str) -> &'a Value {
    answer.body["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["check"] == name)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_ready_once_it_can_be_found_by_its_key() {
    let world = World::new();
    let plugin = Plugin::start_with(|config| world.join(config)).await;
    get(&plugin, "/health/live").await.assert_status(200);
    until("the packet is published", || async {
        get(&plugin, "/health/ready").await.status == 200
    })
    .await;
    let ready = get(&plugin, "/health/ready").await;
    assert_eq!(ready.body["ready"], true);
    for name in ["process", "database", "packet"] {
        assert_eq!(check(&ready, name)["ok"], true, "{name}");
    }
    // By key alone, as wallets come.
    let mut client = pubky::PubkyHttpClient::builder();
    client.pkarr(|pkarr| pkarr.no_relays().bootstrap(&world.network.bootstrap));
    let url = format!("https://{}/v0/info", plugin.key()).parse().unwrap();
    let request = client
        .build()
        .unwrap()
        .request_async(Method::GET, url)
        .await
        .unwrap();
    let info: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(info["plugin"], plugin.key());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_packet_is_published_again_and_again() {
    let world = World::new();
    let plugin = Plugin::start_with(|config| {
        world.join(config);
        config.pubky.republish_s = 1;
    })
    .await;
    let published = async || {
        let response = plugin.request(Method::GET, "/metrics").send().await;
        let text = response.unwrap().text().await.unwrap();
        let name = r#"atomicity_packet_publications_total{outcome="published"} "#;
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.map_or(0, |value| value.parse().unwrap())
    };
    until("the packet was published three times", || async {
        published().await >= 3_u32
    })
    .await;
}

#[tokio::test]
async fn who_can_not_be_found_is_not_ready_and_says_why() {
    // A DHT without nodes.
    let plugin = Plugin::start().await;
    let ready = get(&plugin, "/health/ready").await;
    assert_eq!(
        (ready.status.as_u16(), &ready.body["ready"]),
        (503, &Value::Bool(false))
    );
    assert_eq!(check(&ready, "packet")["ok"], false);
    assert_eq!(check(&ready, "database")["ok"], true);
    get(&plugin, "/health/live").await.assert_status(200);
}

#[tokio::test]
async fn metrics_count_and_name_nobody() {
    let plugin = Plugin::start().await;
    let account = plugin.user().await;
    account.set_tags(&[crate::support::plugin::tag(1)]).await;
    account
        .receive(&account.known(1, "hello"))
        .await
        .assert_status(201);
    account
        .receive(&account.known(2, "hello"))
        .await
        .assert_problem(403, "tag_unknown");
    let _ = get(&plugin, &format!("/v0/users/{}/units", account.z32())).await;
    let response = plugin
        .request(Method::GET, "/metrics")
        .send()
        .await
        .unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; version=0.0.4"
    );
    let text = response.text().await.unwrap();
    for line in [
        r#"atomicity_http_requests_total{method="GET",route="/v0/users/{user}/units",status="200"} 1"#,
        r#"atomicity_rejections_total{code="tag_unknown"} 1"#,
        r#"atomicity_accounts{state="open"} 1"#,
        "atomicity_inbox_envelopes 1",
        "atomicity_ready 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    assert!(!text.contains(&account.z32()));
    assert!(!text.contains("127.0.0.1"));
}

#[tokio::test]
async fn the_page_is_whole_and_allows_nothing_else() {
    let plugin = Plugin::start().await;
    let response = plugin.request(Method::GET, "/docs").send().await.unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "text/html; charset=utf-8"
    );
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"));
    let page = response.text().await.unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("openapi.json"));
    let document = plugin
        .request(Method::GET, "/openapi.json")
        .send()
        .await
        .unwrap();
    let etag = document.headers()["etag"].clone();
    let again = plugin
        .request(Method::GET, "/openapi.json")
        .header("if-none-match", etag);
    assert_eq!(again.send().await.unwrap().status(), 304);
}

const INSTALL: &str = include_str!("../../../docs/operating/install.md");
const UNIT: &str = include_str!("../../../docs/operating/atomicity-homeserver.service");

/// The configuration that the installation guide shows, with the settings in comments switched on.
fn shown_config() -> String {
    let start = INSTALL.find("```toml\n").unwrap() + "```toml\n".len();
    let length = INSTALL[start..].find("```").unwrap();
    let lines = INSTALL[start..start + length].lines();
    lines
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_configuration_in_the_guide_is_valid_and_shows_every_setting() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), shown_config()).unwrap();
    let config = atomicity_plugin::config::load(file.path(), &Default::default()).unwrap();
    // Every setting there is, whatever its value.
    let all = serde_json::to_value(&config).unwrap();
    let shown: toml::Table = shown_config().parse().unwrap();
    for (section, settings) in all.as_object().unwrap() {
        for name in settings.as_object().unwrap().keys() {
            assert!(
                shown[section].get(name).is_some(),
                "{section}.{name} is not in the guide"
            );
        }
    }
    // What is given as the default is the default.
    let default = serde_json::to_value(Config::default()).unwrap();
    let examples = [
        "url",
        "homeserver",
        "homeserver_admin_url",
        "public_url",
        "public_ip",
        "public_port",
        "trusted_proxies",
        "relay",
        "password",
    ];
    for (section, settings) in all.as_object().unwrap() {
        for (name, value) in settings.as_object().unwrap() {
            if !examples.contains(&name.as_str()) {
                assert_eq!(value, &default[section][name], "{section}.{name}");
            }
        }
    }
}

#[test]
fn the_unit_runs_commands_that_exist() {
    for line in UNIT.lines().filter(|line| line.starts_with("ExecStart")) {
        let command = line.split_whitespace().last().unwrap();
        let help = crate::support::process::program()
            .args([command, "--help"])
            .output()
            .unwrap();
        assert!(help.status.success(), "{line}");
    }
}

/// By systemd's own tool where it is installed.
#[test]
fn the_unit_is_well_formed_and_gives_the_service_few_rights() {
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("atomicity-homeserver.service");
    let here = env!("CARGO_BIN_EXE_atomicity-homeserver");
    let text = UNIT.replace("/usr/local/bin/atomicity-homeserver", here);
    assert!(text.contains(here));
    std::fs::write(&unit, text).unwrap();
    let unit = unit.to_str().unwrap();
    for arguments in [
        &["verify", unit][..],
        // In tenths of the points that docs/operating/install.md names.
        &[
            "security",
            "--offline=true",
            "--threshold=11",
            "--no-pager",
            unit,
        ],
    ] {
        let tool = std::process::Command::new("systemd-analyze")
            .args(arguments)
            .output();
        match tool {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("no systemd here: the unit was not looked at");
                return;
            }
            tried => {
                let tried = tried.unwrap();
                assert!(tried.status.success(), "{arguments:?}: {tried:?}");
            }
        }
    }
}

/// What operators mount into the container is understood, and what it opens is published on the machine alone.
#[test]
fn in_containers_operators_have_their_listener_and_nobody_else_has() {
    let docker = concat!(env!("CARGO_MANIFEST_DIR"), "/../docker");
    let settings = std::path::Path::new(docker).join("plugin.toml");
    let mut given = atomicity_plugin::config::Overrides::default();
    given.set("database.url", "postgres://a@postgres/a".to_owned());
    given.set("accounts.open_registration", true);
    let config = atomicity_plugin::config::load(&settings, &given).unwrap();
    assert!(config.admin.enabled && config.admin.anywhere);
    assert_eq!(config.admin.listen.to_string(), "0.0.0.0:6292");
    assert_eq!(config.http.trusted_proxies, ["172.31.250.10"]);

    let compose = std::fs::read_to_string(format!("{docker}/compose.yaml")).unwrap();
    let published: Vec<_> = compose
        .lines()
        .map(str::trim)
        .filter(|line| line.contains(":6292"))
        .collect();
    assert_eq!(published, ["- \"127.0.0.1:6292:6292\""]);
    assert!(compose.contains("./plugin.toml:/etc/atomicity-homeserver/plugin.toml:ro"));
    assert!(compose.contains("ipv4_address: 172.31.250.10"));
    // A password that nobody set is none that Grafana makes up.
    for line in compose.lines().filter(|line| line.contains("PASSWORD:")) {
        assert!(!line.contains(":-}"), "{line}");
    }
    // What is missing in `.env` is refused with what to do about it.
    assert!(!compose.contains(":?}"));
}

/// Commands that are run by hand know nothing of what only the unit reads.
#[test]
fn the_guide_puts_the_databases_url_where_every_command_finds_it() {
    let guide = include_str!("../../../docs/operating/install.md");
    assert!(!guide.contains("ATOMICITY_HOMESERVER_DATABASE_URL"));
}
