//! A Postgres of a test's own, to be killed.

use std::path::{Path, PathBuf};
use std::process::Command;

pub struct PrivatePostgres {
    dir: tempfile::TempDir,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/postgres.sh")
}

impl PrivatePostgres {
    fn call(&self, verb: &str) -> String {
        let output = Command::new(script())
            .arg(verb)
            .arg(self.dir.path().join("server"))
            .output()
            .expect("e2e/postgres.sh can be run");
        assert!(
            output.status.success(),
            "postgres.sh {verb}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Starts a server; its URL comes with it.
    pub fn start() -> (Self, String) {
        let server = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let url = server.call("start");
        (server, url)
    }

    /// As a power cut would end it.
    pub fn kill(&self) {
        let pid = self.call("pid");
        let killed = Command::new("kill").args(["-9", &pid]).status().unwrap();
        assert!(killed.success());
    }

    /// At the same address as before.
    pub fn start_again(&self) {
        self.call("start");
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        let dir = self.dir.path().join("server");
        let _ = Command::new(script()).arg("remove").arg(dir).status();
    }
}
