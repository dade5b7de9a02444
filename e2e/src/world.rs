//! The world that a test plays in.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Once;

use anyhow::{Result, anyhow, ensure};
use mainline::async_dht::AsyncDht;
use mainline::{Dht, ServerSettings};
use pubky::Pubky;
use pubky_testnet::Testnet;
use pubky_testnet::pubky_homeserver::DomainPort;
use tempfile::TempDir;

use crate::cli::Wallet;
use crate::homeserver::Homeserver;
use crate::hostile::Hostile;
use crate::plugin::{Options, Plugin};
use crate::proxy::Proxy;
use crate::{ports, programs};

/// A DHT of its own and a folder for everything that happens in it. What is made with it must not
/// outlive it.
pub struct World {
    testnet: Testnet,
    /// Nodes that keep more than the ordinary ones; see [`World::crowded`].
    roomy: Vec<Roomy>,
    wallet_config: PathBuf,
    dir: TempDir,
}

/// How much of why a test failed is told at once, in characters.
const MOST_TOLD: usize = 700;
/// Nodes beside the two ordinary ones in a crowded world.
const ROOMY_NODES: usize = 2;

impl World {
    /// Starts a DHT on loopback.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn start() -> Result<Self> {
        Self::with_room_for(None).await
    }

    /// Starts a DHT on loopback in which so many keys can publish packets. A node of the ordinary kind keeps 1,000 and drops
    /// the one that nobody asked for the longest: enough where millions of nodes share the keys, too few for a thousand users on
    /// two nodes.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn crowded(keys: usize) -> Result<Self> {
        Self::with_room_for(Some(keys)).await
    }

    async fn with_room_for(keys: Option<usize>) -> Result<Self> {
        quiet_logs();
        tell_failures_at_once();
        let mut dir = tempfile::Builder::new().prefix("atomicity-e2e").tempdir()?;
        // To look at what a failed test left.
        dir.disable_cleanup(std::env::var_os("ATOMICITY_E2E_KEEP").is_some());
        let testnet = Testnet::new().await?;
        let roomy = match keys {
            Some(keys) => roomy_nodes(&testnet, keys).await?,
            None => Vec::new(),
        };
        let wallet_config = dir.path().join("wallet.toml");
        let world = Self {
            testnet,
            roomy,
            wallet_config,
            dir,
        };
        std::fs::write(&world.wallet_config, world.network_toml())?;
        Ok(world)
    }

    /// Nodes of the DHT, as `host:port`.
    #[must_use]
    pub fn bootstrap(&self) -> Vec<String> {
        self.bootstrap_nodes()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn bootstrap_nodes(&self) -> Vec<DomainPort> {
        let roomy = self.roomy.iter().map(|node| node.address.clone());
        roomy.chain(self.testnet.dht_bootstrap_nodes()).collect()
    }

    /// The section `[network]` for programs that are to live in this world.
    #[must_use]
    pub fn network_toml(&self) -> String {
        format!(
            "[network]\ntestnet = true\ndht_bootstrap = {:?}\ndht_request_timeout_ms = 100\nrelays = []\n",
            self.bootstrap()
        )
    }

    /// A Pubky SDK in this world, as any other app would use it.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn sdk(&self) -> Result<Pubky> {
        let mut builder = self.testnet.client_builder();
        let nodes = self.bootstrap();
        builder.pkarr(|pkarr| pkarr.bootstrap(&nodes));
        Ok(Pubky::with_client(builder.build()?))
    }

    /// A Pkarr client in this world.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn pkarr(&self) -> Result<pkarr::Client> {
        let mut builder = self.testnet.pkarr_client_builder();
        builder
            .bootstrap(&self.bootstrap())
            .no_relays()
            .dht_request_timeout(std::time::Duration::from_millis(100));
        Ok(builder.build()?)
    }

    /// The folder of this world.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A path in the folder of this world that nothing has used yet.
    #[must_use]
    pub fn new_path(&self, name: &str) -> PathBuf {
        self.dir
            .path()
            .join(format!("{name}-{:08x}", rand::random::<u32>()))
    }

    /// Starts a homeserver that anyone may sign up at.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn homeserver(&self, name: &str) -> Result<Homeserver> {
        let tls = ports::free()?;
        Homeserver::create(name, &self.new_path(name), self.bootstrap_nodes(), tls, tls).await
    }

    /// Starts a homeserver that clients reach through a proxy.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn homeserver_behind_proxy(&self, name: &str) -> Result<(Homeserver, Proxy)> {
        let tls = ports::free()?;
        let proxy = Proxy::start(ports::on_loopback(tls)).await?;
        let dir = self.new_path(name);
        let nodes = self.bootstrap_nodes();
        let server = Homeserver::create(name, &dir, nodes, tls, proxy.port()).await?;
        Ok((server, proxy))
    }

    /// Starts a plugin beside `homeserver`.
    ///
    /// # Errors
    /// If it does not get ready.
    pub async fn plugin(&self, name: &str, homeserver: &Homeserver) -> Result<Plugin> {
        let options = self.plugin_options(name, homeserver).await?;
        self.plugin_with(name, options).await
    }

    /// The options of a plugin beside `homeserver`, to be changed.
    ///
    /// # Errors
    /// If there is no Postgres or no port.
    pub async fn plugin_options(&self, name: &str, homeserver: &Homeserver) -> Result<Options> {
        Options::fresh(name, Some(homeserver.z32()), self.bootstrap()).await
    }

    /// Starts a plugin with these options.
    ///
    /// # Errors
    /// If it does not get ready.
    pub async fn plugin_with(&self, name: &str, options: Options) -> Result<Plugin> {
        Plugin::create(name, &self.new_path(name), options).await
    }

    /// An empty wallet for `name`.
    ///
    /// # Errors
    /// If the program `atomicity` was not built.
    pub fn wallet(&self, name: &str) -> Result<Wallet> {
        let program = programs::find("atomicity", "ATOMICITY_PROGRAM")?;
        Ok(Wallet::new(
            name,
            self.new_path(name),
            self.wallet_config.clone(),
            program,
        ))
    }

    /// Starts a relay through which authenticators answer; the address of its inboxes.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn relay(&mut self) -> Result<String> {
        let relay = self.testnet.create_http_relay().await?;
        Ok(relay.local_url().join("inbox/")?.to_string())
    }

    /// Starts a homeserver that answers as it is told to.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn hostile(&self) -> Result<Hostile> {
        Hostile::start(self.pkarr()?).await
    }
}

/// A node that keeps more packets than ordinary ones.
struct Roomy {
    address: DomainPort,
    _node: AsyncDht,
}

/// Nodes that join the DHT of `testnet` and keep the packets of so many keys each.
async fn roomy_nodes(testnet: &Testnet, keys: usize) -> Result<Vec<Roomy>> {
    let bootstrap: Vec<String> = testnet
        .dht_bootstrap_nodes()
        .iter()
        .map(ToString::to_string)
        .collect();
    let settings = ServerSettings {
        max_mutable_values: keys,
        ..ServerSettings::default()
    };
    let mut nodes = Vec::new();
    for _ in 0..ROOMY_NODES {
        let node = Dht::builder()
            .server_mode()
            .bootstrap(&bootstrap)
            .bind_address(Ipv4Addr::LOCALHOST)
            .server_settings(settings.clone())
            .build()?
            .as_async();
        ensure!(
            node.bootstrapped().await,
            "a node of the DHT found no other"
        );
        let address = node.info().await.local_addr().to_string();
        let address = address.parse().map_err(|e| anyhow!("{address}: {e}"))?;
        nodes.push(Roomy {
            address,
            _node: node,
        });
    }
    Ok(nodes)
}

/// Homeservers would set up logging to standard output for the whole process. `RUST_LOG` shows what
/// they say.
fn quiet_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter = tracing_subscriber::EnvFilter::try_from_default_env()
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .try_init();
    });
}

/// The test harness shows why a test failed when all have ended: half an hour later, and not at all if it is stopped before. The first
/// words of it are told at once, past what the harness captures.
fn tell_failures_at_once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("a thread").to_owned();
            let words: String = panic.to_string().chars().take(MOST_TOLD).collect();
            let _ = writeln!(std::io::stderr(), "{name} {}", words.replace('\n', " "));
            usual(panic);
        }));
    });
}
