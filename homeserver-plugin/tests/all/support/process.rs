//! The real program, to be told, signalled and killed.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::Value;

use super::database::Database;

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atomicity-homeserver"));
    for (name, _) in std::env::vars() {
        if name.starts_with("ATOMICITY_HOMESERVER_") {
            command.env_remove(name);
        }
    }
    command
}

/// A data directory with a key.
pub struct Home(pub tempfile::TempDir);

impl Home {
    pub fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let output = home.command(&["init"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        home
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.arg("--data-dir").arg(self.0.path()).args(arguments);
        command
    }

    /// `run` with settings for a test.
    pub fn run_command(&self, database: &Database) -> Command {
        let mut command = self.command(&["run", "--testnet", "--open-registration"]);
        command
            .args([
                "--http-listen",
                "127.0.0.1:0",
                "--pubky-listen",
                "127.0.0.1:0",
            ])
            .args([
                "--set",
                "database.lock_wait_ms=300",
                "--set",
                "inbox.tag_per_second=10000",
            ])
            .args([
                "--set",
                "http.requests_per_second=100000",
                "--set",
                "http.requests_burst=100000",
            ])
            .args(["--set", "database.acquire_timeout_ms=1000"])
            .env("ATOMICITY_HOMESERVER_DATABASE_URL", &database.url);
        command
    }
}

/// The program, running.
pub struct Running {
    child: Child,
    pub plugin: String,
    pub http: String,
}

impl Running {
    pub fn start(home: &Home, database: &Database) -> Self {
        let mut command = home.run_command(database);
        command.stderr(Stdio::null());
        Self::spawn(command)
    }

    /// Starts `command`, whose stderr goes where it says.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("no ready line but {line:?}; {:?}", child.wait()));
        assert_eq!(ready["ready"], true);
        Self {
            child,
            plugin: ready["plugin"].as_str().unwrap().to_owned(),
            http: format!("http://{}", ready["http"].as_str().unwrap()),
        }
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
