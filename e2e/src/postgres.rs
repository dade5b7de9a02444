//! Databases on the Postgres of this test run, and Postgres servers that a test may kill.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tempfile::TempDir;
use url::Url;

use crate::programs;

/// The environment variable with the URL of the Postgres server that tests may create databases on.
pub const SERVER_VARIABLE: &str = "ATOMICITY_TEST_POSTGRES";

/// The URL of the Postgres server of this test run.
///
/// # Errors
/// If [`SERVER_VARIABLE`] is not set: a test run without Postgres proves nothing.
pub fn server_url() -> Result<Url> {
    let text = std::env::var(SERVER_VARIABLE).with_context(|| {
        format!("{SERVER_VARIABLE} is not set; `make test` and `e2e/postgres.sh run …` set it")
    })?;
    text.parse()
        .with_context(|| format!("{SERVER_VARIABLE} is not a URL"))
}

/// A database that is dropped with this value.
#[derive(Debug)]
pub struct Database {
    server: Url,
    name: String,
    url: Url,
}

impl Database {
    /// Creates an empty database, named after `purpose`, on the server of this test run.
    ///
    /// # Errors
    /// If there is no server or it refuses.
    pub async fn create(purpose: &str) -> Result<Self> {
        Self::create_on(&server_url()?, purpose).await
    }

    /// Creates an empty database, named after `purpose`, on `server`.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses.
    pub async fn create_on(server: &Url, purpose: &str) -> Result<Self> {
        let purpose: String = purpose
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let name = format!(
            "e2e_{}_{:016x}",
            purpose.to_lowercase(),
            rand::random::<u64>()
        );
        execute(server, &format!("CREATE DATABASE {name}")).await?;
        let mut url = server.clone();
        url.set_path(&name);
        Ok(Self {
            server: server.clone(),
            name,
            url,
        })
    }

    /// Its URL, with the password.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Opens a connection to it.
    ///
    /// # Errors
    /// If that fails.
    pub async fn connect(&self) -> Result<PgConnection> {
        connect(&self.url).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // In a thread, because a drop cannot wait in the runtime it may be called from, and dropping
        // takes a second. What fails, or is cut off by the end of the process, only leaves a database
        // in a server that is thrown away after the run.
        let (server, name) = (self.server.clone(), self.name.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                let drop_it = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                let _ = runtime.block_on(execute(&server, &drop_it));
            }
        });
    }
}

async fn connect(url: &Url) -> Result<PgConnection> {
    let options = PgConnectOptions::from_url(url)?.disable_statement_logging();
    Ok(PgConnection::connect_with(&options).await?)
}

async fn execute(server: &Url, statement: &str) -> Result<()> {
    let mut connection = connect(server)
        .await
        .with_context(|| format!("cannot use the Postgres that {SERVER_VARIABLE} names"))?;
    sqlx::query(statement)
        .execute(&mut connection)
        .await
        .context("Postgres refused")?;
    connection.close().await?;
    Ok(())
}

/// A Postgres server of one test's own, which it may kill and start again.
#[derive(Debug)]
pub struct OwnServer {
    dir: TempDir,
    url: Url,
}

impl OwnServer {
    /// Creates and starts one.
    ///
    /// # Errors
    /// If Postgres cannot be found or does not start.
    pub async fn start() -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("atomicity-e2e-postgres")
            .tempdir()?;
        let url = script("start", dir.path()).await?.parse()?;
        Ok(Self { dir, url })
    }

    /// The URL of its maintenance database. Stays the same over restarts.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Kills its main process with SIGKILL, as a crash would.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn crash(&self) -> Result<()> {
        let pid = script("pid", self.dir.path()).await?.parse::<i32>()?;
        let pid = rustix::process::Pid::from_raw(pid).context("not a process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        Ok(())
    }

    /// Starts it again, on the same port and data.
    ///
    /// # Errors
    /// If it does not start, or only elsewhere.
    pub async fn restart(&self) -> Result<()> {
        let url: Url = script("start", self.dir.path()).await?.parse()?;
        ensure!(url == self.url, "Postgres came back under another address");
        Ok(())
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = std::process::Command::new(script_path())
            .arg("remove")
            .arg(self.dir.path())
            .stdin(Stdio::null())
            .status();
    }
}

fn script_path() -> PathBuf {
    programs::source_tree().join("e2e/postgres.sh")
}

async fn script(command: &str, dir: &Path) -> Result<String> {
    let output = tokio::process::Command::new(script_path())
        .arg(command)
        .arg(dir)
        .stdin(Stdio::null())
        .output()
        .await?;
    if !output.status.success() {
        bail!(
            "postgres.sh {command} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
