//! The program's commands.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::database::Database;
use crate::support::process::{Home, program, text};

#[test]
fn init_makes_a_private_key_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let init = || {
        let output = program()
            .arg("--data-dir")
            .arg(&data)
            .arg("init")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output).0.lines().next().unwrap().to_owned()
    };
    let first = init();
    for file in ["secret", "config.toml"] {
        let mode = std::fs::metadata(data.join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    std::fs::write(data.join("config.toml"), "[log]\nfilter = \"warn\"\n").unwrap();
    assert_eq!(init(), first);
    assert!(
        std::fs::read_to_string(data.join("config.toml"))
            .unwrap()
            .contains("warn")
    );
}

#[test]
fn a_flag_beats_the_environment_and_that_beats_the_file() {
    let home = Home::new();
    let good = "postgres://h/d";
    let check = |file: &str, env: Option<&str>, flag: Option<&str>| {
        std::fs::write(home.0.path().join("config.toml"), file).unwrap();
        let mut command = home.command(&["check-config", "--open-registration"]);
        if let Some(value) = env {
            command.env("ATOMICITY_HOMESERVER_DATABASE_URL", value);
        }
        if let Some(value) = flag {
            command.args(["--database-url", value]);
        }
        let output = command.output().unwrap();
        (output.status.code().unwrap(), text(&output).1)
    };
    let bad_file = "[database]\nurl = \"mysql://secret-word@h/d\"\n";
    let (code, said) = check(bad_file, None, None);
    assert_eq!(code, 2);
    assert!(
        said.contains("config_invalid") && !said.contains("secret-word"),
        "{said}"
    );
    assert_eq!(check(bad_file, Some(good), None).0, 0);
    assert_eq!(check(bad_file, Some("mysql://"), Some(good)).0, 0);
    assert_eq!(check("", Some(good), Some("mysql://")).0, 2);
    assert_eq!(check("", None, None).0, 2);
    assert_eq!(
        check(
            "[database]\nurl = \"postgres://h/d\"\nsize = 1\n",
            None,
            None
        )
        .0,
        2
    );
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let home = Home::new();
    let check = |variables: &[(&str, &str)]| {
        let mut command = home.command(&["check-config"]);
        for (name, value) in variables {
            command.env(format!("ATOMICITY_HOMESERVER_{name}"), value);
        }
        let output = command.output().unwrap();
        (output.status.code().unwrap(), text(&output).1)
    };
    let database = ("DATABASE_URL", "postgres://h/d");
    let (code, said) = check(&[database, ("HOMESERVER", "")]);
    assert_eq!(code, 2);
    assert!(said.contains("accounts.homeserver is missing"), "{said}");
    let mut variables = vec![database, ("OPEN_REGISTRATION", "true")];
    assert_eq!(check(&variables).0, 0);
    let rest = "DATA_DIR CONFIG HTTP_LISTEN PUBKY_LISTEN PUBLIC_URL PUBLIC_IP HOMESERVER LOG_FORMAT LOG_FILTER TESTNET DHT_BOOTSTRAP";
    variables.extend(rest.split(' ').map(|name| (name, "")));
    let (code, said) = check(&variables);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn without_a_key_nothing_runs() {
    let dir = tempfile::tempdir().unwrap();
    let output = program()
        .arg("--data-dir")
        .arg(dir.path())
        .args([
            "--database-url",
            "postgres://127.0.0.1:1/d",
            "--open-registration",
            "run",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).1.contains("init"));
}

#[test]
fn whoever_stops_reading_does_not_make_a_command_fail() {
    let home = Home::new();
    // As in `init | grep -q`: nobody is at the other end any more when it prints.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = home.command(&["init"]).stdout(writer).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output).1, "");
}

#[tokio::test]
async fn the_schema_is_brought_up_to_date_once_and_a_newer_one_is_left_alone() {
    let (home, database) = (Home::new(), Database::create().await);
    let migrate = |arguments: &[&str]| {
        let output = home
            .command(arguments)
            .args([
                "--open-registration",
                "--set",
                "database.migrate_on_start=false",
            ])
            .env("ATOMICITY_HOMESERVER_DATABASE_URL", &database.url)
            .output()
            .unwrap();
        (output.status.code().unwrap(), text(&output))
    };
    assert_eq!(migrate(&["migrate", "--check"]).0, 1);
    let (code, (_, said)) = migrate(&["run"]);
    assert_eq!(code, 1);
    assert!(said.contains("atomicity-homeserver migrate"), "{said}");
    assert_eq!(migrate(&["migrate"]).0, 0);
    assert_eq!(migrate(&["migrate"]).0, 0);
    assert_eq!(migrate(&["migrate", "--check"]).0, 0);
    let mut connection = database.connect().await;
    sqlx::query("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 1")
        .execute(&mut connection)
        .await
        .unwrap();
    let (code, (_, said)) = migrate(&["migrate"]);
    assert_eq!(code, 1);
    assert!(said.contains("database_schema"), "{said}");
}

/// Runs `tool` if it is installed, and answers what it has to say against a file.
fn complaint(tool: &str, arguments: &[&str]) -> Option<String> {
    match std::process::Command::new(tool).args(arguments).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("no {tool} here: nothing was checked by it");
            None
        }
        tried => {
            let tried = tried.unwrap();
            let (out, err) = text(&tried);
            (!tried.status.success() || !err.is_empty()).then(|| format!("{tool}: {out}{err}"))
        }
    }
}

#[test]
fn there_is_a_page_for_every_command_and_it_is_well_formed() {
    let dir = tempfile::tempdir().unwrap();
    let written = program().arg("man").arg(dir.path()).output().unwrap();
    assert!(written.status.success(), "{written:?}");
    for name in [
        "",
        "-init",
        "-run",
        "-doctor",
        "-log-create",
        "-cosigner-show",
        "-man",
    ] {
        let page = dir.path().join(format!("atomicity-homeserver{name}.1"));
        let page = page.to_str().unwrap();
        let text = std::fs::read_to_string(page).unwrap();
        // Pages are made once for everybody: nothing of whoever makes them is in them.
        if let Ok(home) = std::env::var("HOME") {
            assert!(home == "/" || !text.contains(&home), "{page}");
        }
        assert_eq!(
            complaint("mandoc", &["-T", "lint", "-W", "error", page]),
            None
        );
        assert_eq!(
            complaint("groff", &["-Kutf8", "-man", "-Tutf8", "-ww", "-z", page]),
            None
        );
    }
}

#[test]
fn shells_understand_what_completes_for_them() {
    let dir = tempfile::tempdir().unwrap();
    for (shell, flags) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let made = program().args(["completions", shell]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        assert!(text(&made).0.contains("check-config"), "{shell}");
        let file = dir.path().join(shell);
        std::fs::write(&file, made.stdout).unwrap();
        assert_eq!(complaint(shell, &[flags, file.to_str().unwrap()]), None);
    }
}
