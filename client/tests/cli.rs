//! The command line without a network: what it makes, what it prints, how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

struct Wallet {
    dir: tempfile::TempDir,
}

impl Wallet {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = "[network]\ntestnet = true\ndht_bootstrap = [\"127.0.0.1:9\"]\nrelays = []\n";
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
        Self { dir }
    }

    fn init() -> Self {
        let wallet = Self::new();
        wallet.ok(&["init", "--name", "the baker"]);
        wallet
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn run_with(&self, args: &[&str], passphrase: Option<&str>) -> (i32, Value, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atomicity"));
        command
            .args(args)
            .env_clear()
            .env("ATOMICITY_HOME", self.home())
            .env("ATOMICITY_CONFIG", self.dir.path().join("config.toml"))
            .stdin(std::process::Stdio::null());
        if let Some(passphrase) = passphrase {
            command.env("ATOMICITY_PASSPHRASE", passphrase);
        }
        let output = command.output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let value = serde_json::from_str(&out).unwrap_or(Value::String(out));
        let err = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), value, err)
    }

    fn run(&self, args: &[&str]) -> (i32, Value, String) {
        let args: Vec<&str> = ["--json"].iter().chain(args).copied().collect();
        self.run_with(&args, Some("correct horse"))
    }

    fn ok(&self, args: &[&str]) -> Value {
        let (code, value, err) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {value} {err}");
        value
    }

    fn fails(&self, code: i32, name: &str, args: &[&str]) -> Value {
        let (found, value, err) = self.run(args);
        assert_eq!(found, code, "{args:?}: {value} {err}");
        assert_eq!(value["error"]["code"], name, "{args:?}: {value}");
        assert!(err.starts_with("error: "), "{args:?}: {err}");
        value
    }
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_wallet_is_made_once_and_knows_itself() {
    let wallet = Wallet::new();
    let made = wallet.ok(&["init", "--name", "the baker"]);
    let me = wallet.ok(&["whoami"]);
    assert_eq!(me["user"], made["user"]);
    assert_eq!(me["book_key"], made["book_key"]);
    assert_ne!(me["user"], me["book_key"]);
    assert_eq!(me["name"], "the baker");
    assert_eq!(me["homeserver"], Value::Null);
    wallet.fails(2, "wallet_exists", &["init"]);
    assert_eq!(
        wallet.ok(&["whoami"]),
        me,
        "the second init changed something"
    );
}

#[cfg(unix)]
#[test]
fn everything_in_the_folder_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let wallet = Wallet::init();
    wallet.ok(&["unit", "open", "BREAD/2"]);
    for entry in std::fs::read_dir(wallet.home()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.file_name());
    }
}

#[test]
fn the_root_key_opens_with_its_passphrase_only_and_is_needed_for_little() {
    let wallet = Wallet::init();
    let open = ["--json", "unit", "open", "BREAD/2"];
    let (code, value, _) = wallet.run_with(&open, Some("wrong"));
    assert_eq!(
        (code, &value["error"]["code"]),
        (6, &"wrong_passphrase".into())
    );
    let (code, value, _) = wallet.run_with(&open, None);
    assert_eq!(
        (code, &value["error"]["code"]),
        (2, &"passphrase_needed".into())
    );
    for daily in [
        ["--json", "whoami"],
        ["--json", "balance"],
        ["--json", "history"],
    ] {
        assert_eq!(wallet.run_with(&daily, None).0, 0, "{daily:?}");
    }
}

#[test]
fn an_imported_key_is_the_same_user_on_another_device() {
    let first = Wallet::init();
    let root = first.home().join("root.pkarr");
    let second = Wallet::new();
    let imported = second.ok(&["init", "--import", root.to_str().unwrap()]);
    let original = first.ok(&["whoami"]);
    assert_eq!(imported["user"], original["user"]);
    assert_eq!(imported["imported"], true);
    assert_ne!(imported["book_key"], original["book_key"]);
    let garbage = first.home().join("garbage");
    std::fs::write(&garbage, "garbage").unwrap();
    let third = Wallet::new();
    third.fails(
        6,
        "not_a_recovery_file",
        &["init", "--import", garbage.to_str().unwrap()],
    );
    assert!(!third.home().join("wallet.sqlite").exists());
}

#[test]
fn a_wrong_passphrase_file_leaves_no_half_wallet() {
    let wallet = Wallet::new();
    let file = wallet.dir.path().join("empty");
    std::fs::write(&file, "\n").unwrap();
    wallet.fails(
        6,
        "passphrase_empty",
        &["init", "--passphrase-file", file.to_str().unwrap()],
    );
    assert!(
        files(&wallet.home()).is_empty(),
        "{:?}",
        files(&wallet.home())
    );
    wallet.ok(&["init"]);
}

#[test]
fn units_open_with_a_cap_and_close() {
    let wallet = Wallet::init();
    let opened = wallet.ok(&["unit", "open", "BREAD/2"]);
    assert_eq!(opened["cap"], "10000");
    assert_eq!(opened["cap_text"], "100.00 BREAD");
    assert_eq!(opened["published"], false);
    wallet.ok(&["unit", "open", "BREAD/2", "--cap", "3.50 BREAD/2"]);
    wallet.ok(&["unit", "open", "COFFEE", "--cap", "7"]);
    let units = wallet.ok(&["unit", "list"]);
    let caps: Vec<(&str, &str)> = units["units"]
        .as_array()
        .unwrap()
        .iter()
        .map(|unit| {
            (
                unit["unit"].as_str().unwrap(),
                unit["cap"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(caps, [("BREAD/2", "350"), ("COFFEE", "7")]);
    wallet.ok(&["unit", "close", "BREAD"]);
    wallet.fails(3, "unit_not_open", &["unit", "close", "BREAD/2"]);
    for bad in ["bread/2", "BREAD/0", "BREAD/19", "BREAD/02", ""] {
        wallet.fails(2, "unit_invalid", &["unit", "open", bad]);
    }
    wallet.fails(2, "usage", &["unit", "open", "USD/2", "--cap", "5 EUR/2"]);
    wallet.fails(
        2,
        "amount_invalid",
        &["unit", "open", "USD/2", "--cap", "5.001"],
    );
}

#[test]
fn what_makes_no_sense_is_refused_with_a_code_and_a_hint() {
    let wallet = Wallet::new();
    let none = wallet.fails(2, "no_wallet", &["balance"]);
    assert!(
        none["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("atomicity init")
    );
    wallet.ok(&["init"]);
    wallet.fails(2, "unknown_friend", &["issue", "nobody", "5 USD/2"]);
    wallet.fails(2, "key_invalid", &["friend", "add", "nobody"]);
    let me = wallet.ok(&["whoami"])["user"].as_str().unwrap().to_owned();
    wallet.fails(2, "own_key", &["friend", "add", &me]);
    wallet.fails(2, "no_homeserver", &["sync"]);
    let (code, value, err) = wallet.run(&["issue"]);
    assert_eq!(
        (code, &value["error"]["code"]),
        (2, &"usage".into()),
        "{err}"
    );
    assert_eq!(wallet.run(&["frobnicate"]).0, 2);
    assert_eq!(wallet.run(&["--help"]).0, 0);
}

#[test]
fn what_cannot_be_reached_is_a_fault_of_the_network() {
    let wallet = Wallet::init();
    let nobody = "8pinxxgqs41n4aididenw5apqp1urfmzdztr8jt4abrkdn435ewo";
    let (code, value, _) = wallet.run(&["signup", nobody]);
    assert_eq!(code, 4, "{value}");
    assert_eq!(wallet.ok(&["whoami"])["homeserver"], Value::Null);
}

#[test]
fn a_bundle_that_is_none_fails_offline_and_without_a_wallet() {
    let wallet = Wallet::new();
    let file = wallet.dir.path().join("bundle");
    std::fs::write(&file, "atomicity-evidence/1\nnothing\n").unwrap();
    let failed = wallet.fails(
        1,
        "evidence_invalid",
        &["evidence", "verify", file.to_str().unwrap()],
    );
    assert_eq!(failed["error"]["record"], 1, "{failed}");
    assert!(!wallet.home().exists());
}

#[test]
fn doctor_says_what_is_missing_and_exits_with_one() {
    let wallet = Wallet::init();
    let (code, value, _) = wallet.run(&["doctor"]);
    assert_eq!(code, 1, "{value}");
    assert_eq!(value["ok"], false);
    let checks = value["checks"].as_array().unwrap();
    let of = |name: &str| checks.iter().find(|check| check["check"] == name).unwrap();
    assert_eq!(of("store")["ok"], true);
    assert_eq!(of("permissions")["ok"], true);
    assert_eq!(of("homeserver")["ok"], false);
}

#[test]
fn people_get_words() {
    let wallet = Wallet::init();
    let (code, said, _) = wallet.run_with(&["balance"], None);
    assert_eq!(code, 0);
    assert_eq!(said, "Nobody owes anybody anything yet.\n");
    let (code, _, err) = wallet.run_with(&["issue", "nobody", "5 USD/2"], None);
    assert_eq!(code, 2);
    assert!(
        err.contains("nobody called \"nobody\"") && err.contains("hint:"),
        "{err}"
    );
}

/// A policy of a log at this address, without cosigners.
fn policy(url: &str) -> String {
    use atomicity_witness_log::{KeyKind, Policy, SigningKey};
    let key = SigningKey::from_secret("log.example/log", KeyKind::Ed25519, [7; 32]).unwrap();
    let log = (key.verifier(), Some(url.to_owned()));
    let policy = Policy::from_parts(&[log], &[], 0).unwrap();
    String::from_utf8(policy.as_bytes().to_vec()).unwrap()
}

#[test]
fn a_secret_is_kept_and_shown_on_demand_only() {
    let wallet = Wallet::init();
    let made = wallet.ok(&["secret", "new"]);
    let hash = made["hash"].as_str().unwrap();
    let shown = wallet.ok(&["secret", "show", hash]);
    let secret = shown["preimage"].as_str().unwrap();
    for args in [&["secret", "list"][..], &["history"], &["promises"]] {
        let said = wallet.ok(args).to_string();
        assert!(!said.contains(secret), "{args:?}: {said}");
    }
    assert_eq!(wallet.ok(&["secret", "list"])["secrets"][0]["hash"], hash);
    // It lies sealed in the store.
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(secret)
        .unwrap();
    for file in files(&wallet.home()) {
        let content = std::fs::read(wallet.home().join(&file)).unwrap();
        let found = content.windows(bytes.len()).any(|part| part == bytes);
        assert!(!found, "the secret lies open in {file}");
    }
    // Hashes are taken in hex too.
    let hex: String = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(hash)
        .unwrap()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(wallet.ok(&["secret", "show", &hex])["preimage"], secret);
    let other = "A".repeat(43);
    wallet.fails(2, "secret_unknown", &["secret", "show", &other]);
    wallet.fails(2, "usage", &["secret", "show", "short"]);
}

#[test]
fn a_log_that_shows_nothing_is_not_taken_and_a_wrong_policy_is_named() {
    let wallet = Wallet::init();
    let file = wallet.dir.path().join("policy");
    let path = file.to_str().unwrap();
    std::fs::write(&file, policy("http://127.0.0.1:1/log")).unwrap();
    wallet.fails(4, "unreachable", &["log", "add", path]);
    assert_eq!(wallet.ok(&["log", "list"])["logs"], serde_json::json!([]));
    std::fs::write(&file, "log nonsense\nquorum none\n").unwrap();
    let (code, value, _) = wallet.run(&["log", "add", path]);
    assert_eq!(code, 1, "{value}");
    wallet.fails(7, "io_failed", &["log", "add", "no such file"]);
    wallet.fails(2, "log_unknown", &["log", "remove", "log.example/log"]);
    wallet.fails(2, "log_unknown", &["log", "refuse", "log.example/log"]);
    let tower = ["log", "watchtower", "add", "http://127.0.0.1:1"];
    wallet.fails(4, "unreachable", &tower);
    let none = wallet.ok(&["log", "watchtower", "list"]);
    assert_eq!(none["watchtowers"], serde_json::json!([]));
}

#[test]
fn what_makes_no_sense_about_promises_is_refused_before_anything_else() {
    let wallet = Wallet::init();
    let hash = "A".repeat(43);
    let pay = |more: &[&str]| {
        let mut args = vec!["pay", "baker", "1.00 BREAD/2", "--on", hash.as_str()];
        args.extend(more);
        wallet.run(&args).0
    };
    assert_eq!(pay(&["--deadline", "0s"]), 2);
    assert_eq!(pay(&["--deadline", "2d"]), 2);
    assert_eq!(pay(&["--shown", "--log", "x"]), 2);
    wallet.fails(2, "usage", &["pay", "baker", "1.00 BREAD/2", "--on", "no"]);
    wallet.fails(
        2,
        "unknown_friend",
        &["pay", "baker", "1 BREAD/2", "--on", &hash],
    );
    let promises = wallet.ok(&["promises"]);
    assert_eq!(promises["promises"], serde_json::json!([]));
}

#[test]
fn a_hash_may_begin_with_a_hyphen() {
    let wallet = Wallet::init();
    let hash = format!("-{}", "A".repeat(42));
    wallet.fails(2, "secret_unknown", &["secret", "show", &hash]);
    wallet.fails(2, "no_homeserver", &["secret", "publish", &hash]);
    wallet.fails(2, "promise_unknown", &["promises", "release", &hash]);
    let pay = [
        "pay",
        "baker",
        "1 BREAD/2",
        "--on",
        &hash,
        "--deadline",
        "5s",
    ];
    wallet.fails(2, "unknown_friend", &pay);
    // Options are still options.
    let shown = ["secret", "publish", "--log", "x", &hash];
    wallet.fails(2, "no_homeserver", &shown);
    wallet.fails(
        2,
        "no_homeserver",
        &["secret", "publish", &hash, "--log", "x"],
    );
}

#[test]
fn settling_says_what_is_missing_and_limits_are_kept() {
    let wallet = Wallet::init();
    wallet.ok(&["unit", "open", "USD/2"]);
    wallet.fails(2, "usage", &["settle"]);
    let ask = ["settle", "ben", "5 USD", "--invoice", "lnbc1"];
    wallet.fails(2, "unknown_friend", &ask);
    let unknown = "AAAAAAAAAAAAAAAAAAAAAA";
    for what in ["show", "withdraw", "pay", "decline"] {
        let (code, value, _) = wallet.run(&["settle", what, unknown]);
        assert_ne!(code, 0, "{what}: {value}");
    }
    wallet.fails(2, "settlement_unknown", &["settle", "show", unknown]);
    let listed = wallet.ok(&["settle", "list"]);
    assert_eq!(listed["settlements"], serde_json::json!([]));

    let auto = ["settle", "auto", "--up-to", "50 USD", "--rate", "1000sat"];
    let rules = wallet.ok(&auto);
    assert_eq!(rules["rules"][0]["up_to"], "5000");
    assert_eq!(rules["rules"][0]["rate_msat"], "1000000");
    assert_eq!(rules["rules"][0]["spread_ppm"], 10_000);
    wallet.fails(
        2,
        "usage",
        &["settle", "auto", "--up-to", "50 USD", "--rate", "5"],
    );
    let rules = wallet.ok(&["settle", "auto", "--off", "USD"]);
    assert_eq!(rules["rules"], serde_json::json!([]));
    wallet.fails(2, "usage", &["settle", "auto", "--off", "USD"]);

    let nowhere = [
        "--url",
        "https://127.0.0.1:9",
        "--cert",
        "no",
        "--macaroon",
        "no",
    ];
    let add = [&["rail", "add", "lnd"][..], &nowhere].concat();
    wallet.fails(1, "rail_config_invalid", &add);
    wallet.fails(2, "rail_unknown", &["rail", "test", "lnd"]);
    wallet.fails(2, "rail_unknown", &["rail", "remove", "lnd"]);
    assert_eq!(wallet.ok(&["rail", "list"])["rails"], serde_json::json!([]));
}

#[test]
fn a_web_app_is_let_read_by_the_root_key_alone() {
    let wallet = Wallet::init();
    let app = "8pinxxgqs41n4aididenw5apqp1urfmzdztr8jt4abrkdn435ewo";
    let before = std::time::SystemTime::now();
    let before = before.duration_since(std::time::UNIX_EPOCH).unwrap();
    let said = wallet.ok(&["app", "grant", app, "--for", "2h"]);
    assert_eq!(said["app"], app);
    assert_eq!(said["plugins"], serde_json::json!([]));
    let until = u128::from(said["until"].as_u64().unwrap());
    assert!(until >= before.as_millis() + 2 * 3_600_000, "{said}");
    assert_eq!(said["grant"].as_str().unwrap().split('.').count(), 3);

    let words = ["app", "grant", app];
    let (code, text, err) = wallet.run_with(&words, Some("correct horse"));
    let text = text.as_str().unwrap();
    assert!(code == 0 && text.contains("until   "), "{text} {err}");
    let grant = text.lines().last().unwrap().strip_prefix("grant   ");
    assert!(grant.is_some_and(|grant| grant.contains('.')), "{text}");

    let (code, ..) = wallet.run_with(&words, Some("another"));
    assert_eq!(code, 6);
    wallet.fails(2, "usage", &["app", "grant", "nobody"]);
    wallet.fails(2, "usage", &["app", "grant", app, "--for", "400d"]);
}
