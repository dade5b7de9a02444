//! A real Pubky homeserver with its data on disk, which can be stopped and started again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pubky::{Keypair, PublicKey};
use pubky_testnet::pubky_homeserver::{
    AppContext, ConfigToml, ConnectionString, DataDir, DatabaseMode, DomainPort, HomeserverApp,
};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::ports;
use crate::postgres::Database;
use crate::wait;

/// A Pubky homeserver. Key, ports, files and database survive [`Homeserver::stop`].
pub struct Homeserver {
    name: String,
    keypair: Keypair,
    home: Home,
    ports: Ports,
    running: Option<Running>,
    _database: Database,
}

#[derive(Clone, Copy)]
struct Ports {
    http: u16,
    tls: u16,
    admin: u16,
    /// The Pubky TLS port that its packet names: its own, or that of a proxy.
    advertised_tls: u16,
}

/// What a homeserver needs to start. The folder that the homeserver itself would set up always asks
/// the public relays of Pkarr, which no test may.
#[derive(Clone)]
struct Home {
    dir: PathBuf,
    config: ConfigToml,
    keypair: Keypair,
    database: ConnectionString,
}

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Home")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl DataDir for Home {
    fn path(&self) -> &Path {
        &self.dir
    }

    fn ensure_data_dir_exists_and_is_writable(&self) -> Result<()> {
        Ok(std::fs::create_dir_all(&self.dir)?)
    }

    fn read_or_create_config_file(&self) -> Result<ConfigToml> {
        Ok(self.config.clone())
    }

    fn read_or_create_keypair(&self) -> Result<Keypair> {
        Ok(self.keypair.clone())
    }

    fn resolve_database_mode(&self, _: &ConfigToml) -> Result<DatabaseMode> {
        Ok(DatabaseMode::Direct(self.database.clone()))
    }
}

/// A homeserver runs in a runtime of its own: ending that closes every socket at once, as the end of a
/// process would.
struct Running {
    app: HomeserverApp,
    runtime: Runtime,
}

impl Homeserver {
    /// Creates a homeserver in `dir` and starts it. With `advertised_tls`, its packet names that port
    /// instead of its own, for a proxy in between.
    pub(crate) async fn create(
        name: &str,
        dir: &Path,
        bootstrap: Vec<DomainPort>,
        tls: u16,
        advertised_tls: u16,
    ) -> Result<Self> {
        let database = Database::create(name).await?;
        let ports = Ports {
            http: ports::free()?,
            tls,
            admin: ports::free()?,
            advertised_tls,
        };
        let keypair = Keypair::random();
        let home = Home {
            dir: dir.to_path_buf(),
            config: configuration(ports, bootstrap)?,
            keypair: keypair.clone(),
            database: ConnectionString::new(database.url().as_str())?,
        };
        let mut server = Self {
            name: name.to_owned(),
            keypair,
            home,
            ports,
            running: None,
            _database: database,
        };
        server.restart().await?;
        Ok(server)
    }

    /// What this test calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its public key.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.keypair.public_key()
    }

    /// Its public key in z-base32.
    #[must_use]
    pub fn z32(&self) -> String {
        self.key().z32()
    }

    /// Its address for browsers.
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.http)
    }

    /// The address of its admin API.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.admin)
    }

    /// The password of its admin API.
    #[must_use]
    pub fn admin_password(&self) -> &str {
        &self.home.config.admin.admin_password
    }

    /// Gives its admin API another password, from the next start on.
    pub fn set_admin_password(&mut self, password: &str) {
        password.clone_into(&mut self.home.config.admin.admin_password);
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Stops it at once: connections break, ports are free.
    ///
    /// # Errors
    /// If its ports are still served after a while.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(Running { app, runtime }) = self.running.take() else {
            return Ok(());
        };
        drop(app);
        runtime.shutdown_background();
        for port in [self.ports.http, self.ports.tls] {
            wait::until("the homeserver to stop", || async move {
                match TcpStream::connect(ports::on_loopback(port)).await {
                    Ok(_) => bail!("port {port} still answers"),
                    Err(_) => Ok(()),
                }
            })
            .await?;
        }
        Ok(())
    }

    /// Starts it again, with the same key, ports and data.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        let started = started(&self.home).await;
        self.running = Some(started.with_context(|| format!("starting homeserver {}", self.name))?);
        Ok(())
    }
}

impl Drop for Homeserver {
    fn drop(&mut self) {
        if let Some(Running { app, runtime }) = self.running.take() {
            drop(app);
            runtime.shutdown_background();
        }
    }
}

/// How often a homeserver is started before a test gives up: on a machine that is busy with other tests, the nodes of the local DHT may
/// all be too late for its packet, and then it does not start.
const STARTS: u32 = 5;
/// What the error says then. Any other ends the test at once.
const TOO_LATE: &str = "DHT publish queried no nodes";

async fn started(home: &Home) -> Result<Running> {
    let mut left = STARTS;
    loop {
        left -= 1;
        match launch(home.clone()).await {
            Err(error) if left > 0 && format!("{error:#}").contains(TOO_LATE) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            last => return last,
        }
    }
}

async fn launch(home: Home) -> Result<Running> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("homeserver")
        .enable_all()
        .build()?;
    let start = async { HomeserverApp::start(AppContext::read_from(home).await?).await };
    let started = runtime
        .spawn(start)
        .await
        .map_err(anyhow::Error::from)
        .flatten();
    match started {
        Ok(app) => Ok(Running { app, runtime }),
        Err(error) => {
            // Not simply dropped: that would block the runtime this is called from.
            runtime.shutdown_background();
            Err(error)
        }
    }
}

fn configuration(ports: Ports, bootstrap: Vec<DomainPort>) -> Result<ConfigToml> {
    let mut config = ConfigToml::from_str_with_defaults(
        r#"
        [general]
        signup_mode = "open"
        [storage]
        type = "file_system"
        [admin]
        enabled = true
        [pkdns]
        public_ip = "127.0.0.1"
        dht_request_timeout_ms = 100
        "#,
    )?;
    config.drive.icann_listen_socket = ports::on_loopback(ports.http);
    config.drive.pubky_listen_socket = ports::on_loopback(ports.tls);
    config.admin.listen_socket = ports::on_loopback(ports.admin);
    config.admin.admin_password = format!("{:032x}", rand::random::<u128>());
    config.pkdns.public_pubky_tls_port = Some(ports.advertised_tls);
    config.pkdns.dht_bootstrap_nodes = Some(bootstrap);
    // No relays; and no database here, because that is how the homeserver tells a test network, where
    // few nodes are enough, from the public one.
    config.pkdns.dht_relay_nodes = None;
    config.general.database_url = None;
    config.logging = None;
    Ok(config)
}
