//! `atomicity-homeserver admin`, beside a plugin that runs.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use crate::support::database::Database;
use crate::support::process::{Home, Running, text};
use crate::support::user::User;

struct Operated {
    home: Home,
    database: Database,
    /// The URL of the listener for operators.
    admin: String,
    _running: Running,
}

const ON: &str = "[admin]\nenabled = true\n";

impl Operated {
    async fn start() -> Self {
        let (home, database) = (Home::new(), Database::create().await);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap();
        drop(listener);
        let config = format!("{ON}listen = \"{listen}\"\n[accounts]\nopen_registration = true\n");
        std::fs::write(home.0.path().join("config.toml"), config).unwrap();
        let running = Running::start(&home, &database);
        Self {
            home,
            database,
            admin: format!("http://{listen}"),
            _running: running,
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.home.command(&["admin"]);
        command
            .args(arguments)
            .env("ATOMICITY_HOMESERVER_DATABASE_URL", &self.database.url);
        command.output().unwrap()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        text(&output).0
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let said = self.ok(&[&["--json"], arguments].concat());
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"))
    }
}

/// A user with an account at the plugin that runs; their key.
async fn user(running: &Running) -> String {
    let (user, http) = (User::new(), reqwest::Client::new());
    let url = |path: &str| format!("{}{path}", running.http);
    let opened = http
        .post(url("/v0/sessions"))
        .json(&user.proof(&running.plugin));
    let opened: Value = opened.send().await.unwrap().json().await.unwrap();
    let token = opened["token"].as_str().unwrap();
    let made = http
        .put(url("/v0/me"))
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    assert_eq!(made.status(), 201);
    user.z32()
}

#[tokio::test]
async fn an_operator_sees_and_acts_from_the_command_line() {
    let operated = Operated::start().await;
    let user = user(&operated._running).await;
    let status = operated.json(&["status"]);
    assert_eq!(status["accounts"]["open"], 1);
    assert_eq!(status["ready"], true);
    assert!(!status["disks"].as_array().unwrap().is_empty());
    let words = operated.ok(&["status"]);
    assert!(
        words.contains("1 open, 0 closed, 0 switched off"),
        "{words}"
    );
    assert!(operated.ok(&["accounts"]).contains(&user));

    let off = operated.json(&["disable", &user, "--reason", "a test"]);
    assert_eq!(off["disabled_why"], "a test");
    assert!(
        operated
            .ok(&["account", &user])
            .contains("switched off: a test")
    );
    assert!(operated.ok(&["enable", &user]).contains("open"));
    assert!(operated.ok(&["drain"]).contains("no new work"));
    assert_eq!(operated.json(&["status"])["obstacle"], "draining");
    operated.ok(&["drain", "--end"]);
    operated.ok(&["signed", &user]);

    let file = operated.home.0.path().join("account.jsonl");
    let out = file.to_str().unwrap();
    operated.ok(&["export", &user, "--out", out]);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(
        written.lines().last().unwrap().contains("\"end\":true"),
        "{written}"
    );
    assert_eq!(
        operated.ok(&["export", &user]).lines().count(),
        written.lines().count() + 1
    );
    // Nothing is written over.
    assert_eq!(
        operated.run(&["export", &user, "--out", out]).status.code(),
        Some(1)
    );

    let audit = operated.ok(&["audit"]);
    for action in [
        "disable_account",
        "enable_account",
        "drain",
        "end_drain",
        "export_account",
    ] {
        assert!(audit.contains(action), "{audit}");
    }
}

#[tokio::test]
async fn a_password_is_renewed_at_once_and_faults_are_told_with_a_hint() {
    let operated = Operated::start().await;
    let first = operated.ok(&["password"]);
    assert_eq!(first.trim().len(), 64);
    let second = operated.ok(&["password", "--renew"]);
    assert_ne!(first, second);
    assert_eq!(operated.ok(&["password"]), second);
    operated.ok(&["status"]);

    let unknown = operated.run(&["account", &operated._running.plugin]);
    assert_eq!(unknown.status.code(), Some(1));
    let (said, told) = text(&unknown);
    assert_eq!(said, "");
    assert!(
        told.contains("account_unknown") && told.contains("hint:"),
        "{told}"
    );
    let json = operated.run(&["--json", "account", &operated._running.plugin]);
    let said: Value = serde_json::from_str(&text(&json).0).unwrap();
    assert_eq!(said["error"], "account_unknown");

    // Whoever guesses on this machine locks nobody out who has the password.
    let http = reqwest::Client::new();
    let url = format!("{}/v0/admin/status", operated.admin);
    let guess = async || http.get(&url).bearer_auth("wrong").send().await.unwrap();
    while guess().await.status() != 429 {}
    operated.ok(&["status"]);

    // What stands in the file counts, whoever wrote it.
    std::fs::write(
        operated.home.0.path().join("admin-password"),
        format!("{}\n", "0".repeat(64)),
    )
    .unwrap();
    operated.ok(&["status"]);
    let off = operated.run(&["--set", "admin.enabled=false", "status"]);
    assert_eq!(off.status.code(), Some(2));
    let nobody = operated.run(&["--set", "admin.listen=127.0.0.1:1", "status"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        text(&nobody).1.contains("does the plugin run"),
        "{nobody:?}"
    );
}

#[tokio::test]
async fn a_cosigners_key_is_replaced_for_good_and_that_is_written_down() {
    let (home, database) = (Home::new(), Database::create().await);
    let run = |what: &str| {
        let mut command = home.command(&["cosigner", what, "--open-registration"]);
        command.env("ATOMICITY_HOMESERVER_DATABASE_URL", &database.url);
        command.output().unwrap()
    };
    let key = |output: &Output| {
        assert!(output.status.success(), "{output:?}");
        let said = text(output).0;
        let line = said.lines().find(|line| line.starts_with("key:"));
        line.unwrap().to_owned()
    };
    // There is nothing to be replaced yet.
    assert_eq!(run("rotate").status.code(), Some(2));
    let first = key(&run("create"));
    let secret = || std::fs::read(home.0.path().join("cosigner-secret")).unwrap();
    let before = secret();
    let second = key(&run("rotate"));
    assert_ne!((&first, &before), (&second, &secret()));
    assert_eq!(key(&run("show")), second);
    let left: Vec<_> = std::fs::read_dir(home.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().contains("next"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let (action, via): (String, String) = sqlx::query_as("SELECT action, via FROM operator_audit")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(
        (action.as_str(), via.as_str()),
        ("rotate_cosigner", "program")
    );
}
