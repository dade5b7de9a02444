//! The golden vectors of every record type verify with a JOSE library that is not ours.

use std::path::Path;
use std::process::{Command, Stdio};

use atomicity_e2e::programs::source_tree;

/// The Python that has `jwcrypto`; `None` if there is none and that is allowed.
fn python() -> Option<String> {
    let found = Command::new(source_tree().join("e2e/tools.sh"))
        .arg("jose")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    if found.status.success() {
        return Some(String::from_utf8(found.stdout).unwrap().trim().to_owned());
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "in CI this test needs Python with jwcrypto"
    );
    println!("skipped: no Python with jwcrypto");
    None
}

fn run(python: &str, vectors: &Path) -> std::process::Output {
    Command::new(python)
        .arg(source_tree().join("e2e/tests/all/jose.py"))
        .arg(vectors)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn golden_vectors_verify_with_another_jose_library() {
    let Some(python) = python() else { return };
    let vectors = source_tree().join("ledger/testdata/records.json");
    let output = run(&python, &vectors);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{said}");
}

#[test]
fn another_jose_library_refuses_altered_vectors() {
    let Some(python) = python() else { return };
    let text = std::fs::read_to_string(source_tree().join("ledger/testdata/records.json")).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for vector in vectors.as_array().unwrap() {
        let mut vector = vector.clone();
        let jws = vector["jws"].as_str().unwrap();
        // The first character of the signature: the last one has bits that mean nothing.
        let at = jws.rfind('.').unwrap() + 1;
        let other = if jws[at..].starts_with('A') { "B" } else { "A" };
        vector["jws"] = format!("{}{other}{}", &jws[..at], &jws[at + 1..]).into();
        let file = dir.path().join("altered.json");
        std::fs::write(&file, serde_json::json!([vector]).to_string()).unwrap();
        let output = run(&python, &file);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{} was accepted",
            vector["typ"]
        );
    }
}
