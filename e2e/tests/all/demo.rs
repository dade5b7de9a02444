//! What the demo says if it cannot begin.

use std::process::Stdio;

use atomicity_e2e::postgres::SERVER_VARIABLE;
use tokio::process::Command;

/// Runs the demo without a terminal, with this Postgres; its exit code and what it said on standard error.
async fn demo(postgres: Option<&str>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atomicity-demo"));
    command.env_remove(SERVER_VARIABLE).stdin(Stdio::null());
    if let Some(url) = postgres {
        command.env(SERVER_VARIABLE, url);
    }
    let output = command.kill_on_drop(true).output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[tokio::test]
async fn without_a_usable_postgres_it_fails_and_says_what_to_do() {
    // Nothing listens on port 1.
    let unusable = [
        None,
        Some("no URL"),
        Some("postgres://nobody@127.0.0.1:1/nothing"),
    ];
    for postgres in unusable {
        let (code, said) = demo(postgres).await;
        assert_eq!(code, Some(1), "{postgres:?}: {said}");
        assert!(said.contains("error: "), "{postgres:?}: {said}");
        assert!(said.contains(SERVER_VARIABLE), "{postgres:?}: {said}");
        assert!(
            said.contains("hint: run `make demo`"),
            "{postgres:?}: {said}"
        );
    }
}
