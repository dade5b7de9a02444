//! The program `atomicity-homeserver` beside a homeserver.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::postgres::Database;
use crate::service::Service;
use crate::{ports, programs, wait};

/// A plugin with its own database, key and ports, which survive [`Plugin::stop`] and [`Plugin::kill`].
pub struct Plugin {
    /// First, so that it ends before its database is dropped.
    running: Option<Service>,
    name: String,
    dir: PathBuf,
    program: PathBuf,
    options: Options,
    key: String,
}

/// How a plugin is set up.
#[derive(Debug)]
pub struct Options {
    /// Its database. Shared by plugins that are meant to fight over it.
    pub database_url: String,
    /// The database, if it goes with the plugin.
    pub owned_database: Option<Database>,
    /// Key of the operator's homeserver in z-base32.
    pub homeserver: Option<String>,
    /// Nodes to join the DHT by.
    pub bootstrap: Vec<String>,
    /// Port of its HTTP listener.
    pub http: u16,
    /// Port of its Pubky TLS listener.
    pub tls: u16,
    /// The port its packet names, if a proxy stands in front of `tls`.
    pub advertised_tls: Option<u16>,
    /// More settings, each as `section.key=value` in TOML.
    pub more: Vec<String>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
}

impl Options {
    /// Those of a plugin with a fresh database and free ports.
    ///
    /// # Errors
    /// If there is no Postgres or no port.
    pub async fn fresh(
        name: &str,
        homeserver: Option<String>,
        bootstrap: Vec<String>,
    ) -> Result<Self> {
        let database = Database::create(name).await?;
        Ok(Self {
            database_url: database.url().to_string(),
            owned_database: Some(database),
            homeserver,
            bootstrap,
            http: ports::free()?,
            tls: ports::free()?,
            advertised_tls: None,
            more: Vec::new(),
            environment: Vec::new(),
        })
    }

    fn to_toml(&self) -> Result<String> {
        let mut config = toml::toml! {
            [http]
            // Tests come from one address, and are not what the limits are for.
            requests_per_second = 100_000
            requests_burst = 100_000
            [sessions]
            opens_per_minute = 100_000
            [inbox]
            stranger_per_minute = 100_000
            tag_per_second = 100_000
            address_envelopes = 10_000
            [pubky]
            public_ip = "127.0.0.1"
            [network]
            testnet = true
            dht_request_timeout_ms = 100
            relays = []
            [accounts]
            [database]
            [log]
            filter = "info"
        };
        set(&mut config, "database", "url", self.database_url.clone())?;
        set(
            &mut config,
            "http",
            "listen",
            ports::on_loopback(self.http).to_string(),
        )?;
        set(
            &mut config,
            "pubky",
            "listen",
            ports::on_loopback(self.tls).to_string(),
        )?;
        set(
            &mut config,
            "network",
            "dht_bootstrap",
            self.bootstrap.clone(),
        )?;
        if let Some(port) = self.advertised_tls {
            set(&mut config, "pubky", "public_port", i64::from(port))?;
        }
        if let Some(homeserver) = &self.homeserver {
            set(&mut config, "accounts", "homeserver", homeserver.clone())?;
        }
        Ok(toml::to_string(&config)?)
    }
}

fn set(
    config: &mut toml::Table,
    section: &str,
    key: &str,
    value: impl Into<toml::Value>,
) -> Result<()> {
    let section = config.get_mut(section).and_then(toml::Value::as_table_mut);
    section
        .context("no such section")?
        .insert(key.to_owned(), value.into());
    Ok(())
}

impl Plugin {
    /// Sets a plugin up in `dir`, starts it, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not get ready; the error shows what it printed.
    pub async fn create(name: &str, dir: &Path, options: Options) -> Result<Self> {
        let mut plugin = Self::prepare(name, dir, options).await?;
        plugin.start().await?;
        Ok(plugin)
    }

    /// Sets a plugin up in `dir`, without starting it.
    ///
    /// # Errors
    /// If its `init` fails.
    pub async fn prepare(name: &str, dir: &Path, options: Options) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut plugin = Self {
            name: name.to_owned(),
            dir: dir.to_path_buf(),
            program: programs::find("atomicity-homeserver", "ATOMICITY_HOMESERVER_PROGRAM")?,
            options,
            key: String::new(),
            running: None,
        };
        let init = crate::cli::finish(plugin.command(&["init"]), format!("init of {name}")).await?;
        ensure!(init.code == Some(0), "{init}");
        let key = init
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("plugin key:"));
        plugin.key = key
            .with_context(|| format!("no key from {init}"))?
            .trim()
            .to_owned();
        plugin.rewrite_config()?;
        Ok(plugin)
    }

    /// A command of the plugin's program on this plugin's data.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        crate::cli::clear_environment(&mut command);
        command.arg("--data-dir").arg(&self.dir);
        for setting in &self.options.more {
            command.arg("--set").arg(setting);
        }
        for (name, value) in &self.options.environment {
            command.env(name, value);
        }
        command
            .args(arguments)
            .current_dir(&self.dir)
            .kill_on_drop(true);
        command
    }

    /// Starts it if it does not run, and waits until it is ready.
    ///
    /// # Errors
    /// If it ends or does not get ready.
    pub async fn start(&mut self) -> Result<()> {
        self.launch()?;
        let url = format!("{}/health/ready", self.http_url());
        let Some(service) = self.running.as_mut() else {
            bail!("plugin {} was not launched", self.name);
        };
        let end = tokio::time::Instant::now() + wait::PATIENCE;
        loop {
            if let Some(status) = service.ended()? {
                bail!(
                    "plugin {} ended with {status}:\n{}",
                    self.name,
                    service.last_words()
                );
            }
            if matches!(reqwest::get(&url).await, Ok(answer) if answer.status().is_success()) {
                return Ok(());
            }
            if tokio::time::Instant::now() > end {
                bail!(
                    "plugin {} does not get ready:\n{}",
                    self.name,
                    service.last_words()
                );
            }
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    }

    /// Starts it if it does not run, and does not wait.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn launch(&mut self) -> Result<()> {
        if self.running.is_none() {
            self.running = Some(Service::start(self.command(&["run"]), &self.log_file())?);
        }
        Ok(())
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// If it does not run, or goes on running.
    pub async fn wait_for_end(&mut self) -> Result<ExitStatus> {
        let mut service = self.running.take().context("it does not run")?;
        tokio::time::timeout(wait::PATIENCE, service.wait())
            .await
            .context("it goes on running")?
    }

    /// Stops it as an operator would (SIGTERM).
    ///
    /// # Errors
    /// If it does not end with success.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut service) = self.running.take() {
            let status = service.terminate().await?;
            ensure!(status.success(), "plugin {} ended with {status}", self.name);
        }
        Ok(())
    }

    /// Kills it as a crash would (SIGKILL).
    ///
    /// # Errors
    /// If the signal cannot be sent.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(mut service) = self.running.take() {
            service.kill().await?;
        }
        Ok(())
    }

    /// What this test calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its key in z-base32.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its address for browsers.
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.options.http)
    }

    /// How it is set up.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Writes its configuration anew, after a change of its options.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn rewrite_config(&self) -> Result<()> {
        let text = self.options.to_toml()?;
        Ok(std::fs::write(self.dir.join("config.toml"), text)?)
    }

    /// Whether it has ended by itself.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn has_ended(&mut self) -> Result<bool> {
        match self.running.as_mut() {
            Some(service) => Ok(service.ended()?.is_some()),
            None => Ok(true),
        }
    }

    /// How it is set up, to be changed before it starts again.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Runs a command of the plugin's program on this plugin's data, to its end.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn run(&self, arguments: &[&str]) -> Result<crate::Output> {
        let shown = format!("{} of {}", arguments.join(" "), self.name);
        crate::cli::finish(self.command(arguments), shown).await
    }

    /// The file with everything it printed.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.dir.join("plugin.log")
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- plugin {}:\n{}",
                self.name,
                crate::service::tail(&self.log_file())
            );
        }
    }
}
