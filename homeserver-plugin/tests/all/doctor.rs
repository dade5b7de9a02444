//! `doctor`: it finds what is wrong, on a real Postgres, a real DHT and real ports, and says what to do.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use atomicity_plugin::doctor::{self, Check, Level, Places, Report};
use atomicity_plugin::{Config, secret};
use pkarr::SignedPacket;
use pkarr::dns::rdata::SVCB;
use pubky::{Capability, ClientId, GRANT_JWS_TYP, GrantClaims, GrantId};
use reqwest::Method;

use crate::support::database::Database;
use crate::support::plugin::{Answer, Plugin};
use crate::support::process::{Home, text};
use crate::support::until;
use crate::support::world::{HomeServer, World};

async fn get(plugin: &Plugin, path: &str) -> Answer {
    Answer::of(plugin.request(Method::GET, path)).await
}

/// Waits until the plugin can be found by its key.
async fn published(plugin: &Plugin) {
    until("the packet is published", || async {
        get(plugin, "/health/ready").await.status == 200
    })
    .await;
}

pub async fn examined(config: &Config, data_dir: &Path) -> Report {
    let places = Places {
        data_dir,
        config_file: &data_dir.join("config.toml"),
    };
    doctor::run(config, &places).await
}

#[track_caller]
fn found<'a>(report: &'a Report, name: &str) -> &'a Check {
    let found = report.checks.iter().find(|check| check.check == name);
    found.unwrap_or_else(|| panic!("nothing about {name} in {report:#?}"))
}

/// The configuration of a plugin that has nothing and reaches nobody.
fn alone() -> Config {
    let mut config = Config::default();
    config.database.url = "postgres://nobody@127.0.0.1:1/none".to_owned();
    config.network.testnet = true;
    config.network.dht_bootstrap = vec!["127.0.0.1:1".to_owned()];
    config.network.dht_request_timeout_ms = 50;
    config.network.resolve_timeout_ms = 200;
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.pubky.listen = "127.0.0.1:0".parse().unwrap();
    config
}

/// A port on which nobody listens.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// The configuration as the operator of a running plugin would have it: with the ports that it took.
fn written_config(plugin: &Plugin) -> Config {
    let mut config = plugin.config.clone();
    config.http.listen = plugin.addresses.http;
    config.pubky.listen = plugin.addresses.pubky;
    config
}

fn write_secret(plugin: &Plugin) -> tempfile::TempDir {
    write_key(&plugin.keypair)
}

fn write_key(keypair: &pubky::Keypair) -> tempfile::TempDir {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    let text: String = keypair
        .secret()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let path = secret::path(dir.path());
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_finds_nothing_wrong_with_a_plugin_that_runs() {
    let world = World::new();
    let home = HomeServer::open(&world).await;
    let plugin = Plugin::start_with(|config| {
        world.join(config);
        config.accounts.homeserver = Some(home.key());
    })
    .await;
    published(&plugin).await;
    let (config, dir) = (written_config(&plugin), write_secret(&plugin));
    let report = examined(&config, dir.path()).await;
    let bad: Vec<_> = report
        .checks
        .iter()
        .filter(|check| check.level != Level::Ok)
        .collect();
    assert!(report.ok && bad.is_empty(), "{bad:#?}");
    let names: Vec<_> = report.checks.iter().map(|check| check.check).collect();
    for name in [
        "config",
        "secret",
        "database",
        "schema",
        "rights",
        "port_http",
        "port_pubky",
        "dht",
        "packet",
        "homeserver",
        "clock",
        "disk",
        "reachable",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }

    // The homeserver goes, and somebody else holds a port.
    home.stop();
    let mut broken = config.clone();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    broken.pubky.listen = taken.local_addr().unwrap();
    broken.http.listen = "127.0.0.1:0".parse().unwrap();
    let report = examined(&broken, dir.path()).await;
    assert!(!report.ok);
    assert_eq!(found(&report, "homeserver").level, Level::Fail);
    assert_eq!(found(&report, "port_pubky").level, Level::Fail);
    assert_eq!(
        found(&report, "packet").level,
        Level::Warn,
        "the packet names another port than the configuration"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_warns_of_the_default_admin_password() {
    use axum::http::HeaderMap;
    use axum::routing::get;
    async fn level(password: &'static str) -> Level {
        let app = axum::Router::new().route(
            "/info",
            get(move |headers: HeaderMap| async move {
                if headers
                    .get("x-admin-password")
                    .is_some_and(|sent| sent == password)
                {
                    axum::http::StatusCode::OK
                } else {
                    axum::http::StatusCode::UNAUTHORIZED
                }
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let mut config = alone();
        config.accounts.homeserver_admin_url = Some(format!("http://{address}/").parse().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let report = examined(&config, dir.path()).await;
        found(&report, "admin_password").level
    }
    assert_eq!(level("admin").await, Level::Warn);
    assert_eq!(level("another").await, Level::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_a_packet_that_is_not_renewed() {
    let (world, keys) = (World::new(), pubky::Keypair::random());
    let mut config = alone();
    world.join(&mut config);
    config.pubky.listen.set_port(free_port());
    let dir = write_key(&keys);
    let mut direct = SVCB::new(1, ".".try_into().unwrap());
    direct.set_port(config.pubky.listen.port());
    for (age_s, level) in [(3 * 3_600, Level::Warn), (600, Level::Ok)] {
        let signed = SystemTime::now() - Duration::from_secs(age_s);
        let signed = signed.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let packet = SignedPacket::builder()
            .https(".".try_into().unwrap(), direct.clone(), 3600)
            .address(".".try_into().unwrap(), Ipv4Addr::LOCALHOST.into(), 3600)
            .timestamp(u64::try_from(signed.as_micros()).unwrap().into())
            .sign(keys.as_inner())
            .unwrap();
        world.client().publish(&packet).await.unwrap();
        let report = examined(&config, dir.path()).await;
        let check = found(&report, "packet");
        assert_eq!(check.level, level, "{age_s} s: {check:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_that_nobody_can_come_in() {
    let world = World::new();
    // The packet names a port that no router hands on to the plugin.
    let outside = free_port();
    let plugin = Plugin::start_with(|config| {
        world.join(config);
        config.pubky.public_port = Some(outside);
    })
    .await;
    published(&plugin).await;
    let (mut config, dir) = (written_config(&plugin), write_secret(&plugin));
    let report = examined(&config, dir.path()).await;
    assert_eq!(found(&report, "packet").level, Level::Ok);
    assert_eq!(found(&report, "reachable").level, Level::Warn);

    // Where web apps are sent to, first somebody else is, then nobody, then this plugin.
    let (other, mut urls) = (Plugin::start().await, Vec::new());
    urls.push((format!("http://{}/", other.addresses.http), Level::Warn));
    urls.push((format!("http://127.0.0.1:{outside}"), Level::Warn));
    urls.push((format!("http://{}", plugin.addresses.http), Level::Ok));
    for (url, level) in urls {
        config.http.public_url = Some(url.parse().unwrap());
        let report = examined(&config, dir.path()).await;
        let check = found(&report, "public_url");
        assert_eq!(check.level, level, "{url}: {check:?}");
    }

    // Outside of tests, an address of a private network is no address.
    config.network.testnet = false;
    config.pubky.public_ip = Some("192.168.1.7".parse().unwrap());
    let report = examined(&config, dir.path()).await;
    assert_eq!(found(&report, "reachable").level, Level::Fail);
}

/// A server whose clock is ahead of ours.
async fn server_with_clock(ahead: Duration) -> url::Url {
    let app = axum::Router::new().fallback(move || async move {
        let date = httpdate::fmt_http_date(SystemTime::now() + ahead);
        ([("date", date)], "hello")
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_asks_several_others_what_time_it_is() {
    let hour = Duration::from_secs(3_600);
    let right = server_with_clock(Duration::ZERO).await;
    let wrong = server_with_clock(hour).await;
    let wrong_too = server_with_clock(hour).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = alone();
    config.watchtower.enabled = true;
    for (peers, level) in [
        (vec![right.clone()], Level::Ok),
        (vec![right.clone(), wrong.clone()], Level::Fail),
        (
            vec![right.clone(), wrong.clone(), wrong_too.clone()],
            Level::Fail,
        ),
        (
            vec![
                right.clone(),
                server_with_clock(Duration::ZERO).await,
                wrong,
            ],
            Level::Ok,
        ),
    ] {
        config.watchtower.peers = peers;
        let report = examined(&config, dir.path()).await;
        let check = found(&report, "clock");
        assert_eq!(check.level, level, "{check:?}");
    }
}

#[tokio::test]
async fn doctor_tells_a_schema_that_is_older_or_newer_than_the_program() {
    let database = Database::create().await;
    let home = Home::new();
    let mut config = alone();
    config.database.url.clone_from(&database.url);
    let level = async |config: &Config| {
        let report = examined(config, home.0.path()).await;
        assert_eq!(found(&report, "database").level, Level::Ok);
        found(&report, "schema").level
    };
    assert_eq!(
        level(&config).await,
        Level::Warn,
        "brought up to date by itself"
    );
    config.database.migrate_on_start = false;
    assert_eq!(level(&config).await, Level::Fail);
    let migrated = home
        .command(&["migrate", "--open-registration"])
        .env("ATOMICITY_HOMESERVER_DATABASE_URL", &database.url)
        .output()
        .unwrap();
    assert!(migrated.status.success(), "{:?}", text(&migrated));
    assert_eq!(level(&config).await, Level::Ok);
    let mut connection = database.connect().await;
    for (statement, why) in [
        (
            "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
            "older",
        ),
        (
            "UPDATE _sqlx_migrations SET version = 9999 WHERE version = 1",
            "newer",
        ),
    ] {
        sqlx::query(statement)
            .execute(&mut connection)
            .await
            .unwrap();
        assert_eq!(level(&config).await, Level::Fail, "{why}");
    }
}

#[test]
fn doctor_tells_programs_of_a_configuration_that_can_not_be_used() {
    let home = Home::new();
    let file = home.0.path().join("config.toml");
    std::fs::write(file, "[inbox]\nno_such_setting = 1\n").unwrap();
    let output = home.command(&["doctor", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let (said, told) = text(&output);
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(report["checks"][0]["check"], "config");
    assert_eq!(report["checks"][0]["level"], "fail");
    let detail = report["checks"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("no_such_setting"), "{report}");
    assert!(told.contains("config_invalid"), "{told}");
    // For people it is the error alone.
    let output = home.command(&["doctor"]).output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output).0),
        (Some(2), String::new())
    );
}

#[tokio::test]
async fn doctor_looks_at_the_file_that_the_settings_come_from() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = elsewhere.path().join("settings.toml");
    std::fs::write(&file, "").unwrap();
    let places = Places {
        data_dir: dir.path(),
        config_file: &file,
    };
    for (mode, level) in [(0o644, Level::Warn), (0o640, Level::Ok)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let report = doctor::run(&alone(), &places).await;
        assert_eq!(found(&report, "config").level, level, "{mode:o}");
    }
}

#[tokio::test]
async fn doctor_tells_grants_that_are_missing_or_over() {
    let plugin = Plugin::start_with(|config| config.agent.enabled = true).await;
    let owner = plugin.user().await;
    let dir = write_secret(&plugin);
    let root = pubky::Keypair::from_secret(&owner.user.root.secret());
    let mut connection = plugin.database.connect().await;
    sqlx::query(
        "INSERT INTO agents (owner, key, sealed, status, until, authority, settings, created_at)
         VALUES ($1, $1, $1, 'active', 9999999999999, '', '{}', 0)",
    )
    .bind(root.public_key().to_bytes().as_slice())
    .execute(&mut connection)
    .await
    .unwrap();
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_s = now_s.unwrap().as_secs();
    let day = 86_400;
    let grant = |exp: u64| {
        let claims = GrantClaims {
            iss: root.public_key(),
            client_id: ClientId::new("agent.example").unwrap(),
            caps: vec![Capability::read_write("/pub/atomicity/v0/channels/").unwrap()],
            cnf: plugin.keypair.public_key(),
            jti: GrantId::generate(),
            iat: now_s - 2 * day,
            exp,
        };
        Some(claims.sign(&root, GRANT_JWS_TYP))
    };
    for (storage, word, level) in [
        (None, "missing", Level::Warn),
        (grant(now_s - day), "expired", Level::Warn),
        (grant(now_s + day), "expiring", Level::Warn),
        (grant(now_s + 100 * day), "in force", Level::Ok),
    ] {
        sqlx::query("UPDATE agents SET storage = $1")
            .bind(storage)
            .execute(&mut connection)
            .await
            .unwrap();
        let report = examined(&written_config(&plugin), dir.path()).await;
        let check = found(&report, "storage_grants");
        assert_eq!(check.level, level, "{check:?}");
        assert!(check.detail.contains(word), "{check:?}");
    }
}
