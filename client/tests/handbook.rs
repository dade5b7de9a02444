//! What comes with the program: man pages and completions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atomicity"));
    command.env_clear();
    command
}

/// Runs `tool` if it is installed, and answers what it has to say against a file.
fn complaint(tool: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(tool).args(arguments).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("no {tool} here: nothing was checked by it");
            None
        }
        tried => {
            let tried = tried.unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let said = format!("{}{}", text(&tried.stdout), text(&tried.stderr));
            (!tried.status.success() || !tried.stderr.is_empty()).then(|| format!("{tool}: {said}"))
        }
    }
}

#[test]
fn there_is_a_page_for_every_command_and_it_is_well_formed() {
    let dir = tempfile::tempdir().unwrap();
    let made = program()
        .args(["--json", "man"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let pages: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(made["pages"], pages.len());
    assert!(pages.len() > 100, "{}", pages.len());
    for name in ["", "-friend-limit", "-rule-add-friend-of", "-rail-add-lnd"] {
        assert!(
            dir.path().join(format!("atomicity{name}.1")).exists(),
            "{name}"
        );
    }
    let pages: Vec<&str> = pages.iter().map(|page| page.to_str().unwrap()).collect();
    let with = |before: &[&'static str]| {
        let arguments = before.iter().copied().chain(pages.iter().copied());
        arguments.collect::<Vec<_>>()
    };
    assert_eq!(
        complaint("mandoc", &with(&["-T", "lint", "-W", "error"])),
        None
    );
    assert_eq!(
        complaint("groff", &with(&["-Kutf8", "-man", "-Tutf8", "-ww", "-z"])),
        None
    );
}

#[test]
fn shells_understand_what_completes_for_them() {
    let dir = tempfile::tempdir().unwrap();
    for (shell, flags) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let made = program().args(["completions", shell]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        assert!(
            String::from_utf8_lossy(&made.stdout).contains("friend"),
            "{shell}"
        );
        let file = dir.path().join(shell);
        std::fs::write(&file, made.stdout).unwrap();
        assert_eq!(complaint(shell, &[flags, file.to_str().unwrap()]), None);
    }
}
