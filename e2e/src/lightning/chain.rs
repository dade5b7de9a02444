//! btcd on its simnet: a chain of our own whose blocks come when we ask for them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use atomicity_paykit_adapter::rail::PinnedCertificate;
use serde_json::{Value, json};
use tokio::process::Command;

use super::soon;
use crate::service::Service;
use crate::{ports, wait};

/// Its RPC user and password. It listens on loopback only, and there is nothing to steal.
pub(super) const USER: &str = "e2e";
pub(super) const PASSWORD: &str = "e2e";

/// The first address of the wallet that [`MINER_KEY`] makes.
pub(super) const MINER_ADDRESS: &str = "sb1qdy9uwdnrdn6nzvpmusdg8sy5lv2dzeyu5xqd63";
/// The master key of the wallet that gets the coins. Known to everybody, as those coins have no worth: so the miner needs no address
/// from a node that needs a chain to give one.
pub(super) const MINER_KEY: &str = "sprv8Erh3X3hFeKumnJqRH2kSppaEG41ay7D6nkPhjjzuZSZKyrk81gZxvvWbCLBYbFEZyhwo7uhjV8YkADkhMECTtEnkTHXoxqfytaeo3tdASz";

/// A running btcd.
pub struct Chain {
    service: Service,
    port: u16,
    certificate: PathBuf,
    http: reqwest::Client,
}

impl Chain {
    /// Starts one with its files in `dir`.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(programs: &Path, dir: &Path) -> Result<Self> {
        tokio::fs::create_dir_all(dir).await?;
        let port = ports::free()?;
        let certificate = dir.join("rpc.cert");
        let mut command = Command::new(programs.join("btcd"));
        command
            .args(["--simnet", "--nolisten", "--txindex"])
            .arg(format!("--configfile={}", dir.join("none").display()))
            .arg(format!("--datadir={}", dir.join("data").display()))
            .arg(format!("--logdir={}", dir.join("logs").display()))
            .arg(format!("--rpccert={}", certificate.display()))
            .arg(format!("--rpckey={}", dir.join("rpc.key").display()))
            .arg(format!("--rpclisten={}", ports::on_loopback(port)))
            .arg(format!("--rpcuser={USER}"))
            .arg(format!("--rpcpass={PASSWORD}"))
            .arg(format!("--miningaddr={MINER_ADDRESS}"));
        let mut service = Service::start(command, &dir.join("output.log"))?;
        let started = wait::until("btcd's certificate", || soon(&certificate)).await;
        let pem = started.with_context(|| service.last_words())?;
        if let Some(status) = service.ended()? {
            bail!("btcd ended with {status}:\n{}", service.last_words());
        }
        let http = client(&pem)?;
        let chain = Self {
            service,
            port,
            certificate,
            http,
        };
        let answered = wait::until("btcd to answer", || chain.height()).await;
        answered.with_context(|| chain.service.last_words())?;
        Ok(chain)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// The number of the newest block.
    ///
    /// # Errors
    /// If btcd does not answer.
    pub async fn height(&self) -> Result<u64> {
        let count = self.call("getblockcount", json!([])).await?;
        count.as_u64().context("no number of blocks")
    }

    /// Makes so many blocks.
    ///
    /// # Errors
    /// If btcd refuses.
    pub async fn mine(&self, count: u32) -> Result<()> {
        let made = self.call("generate", json!([count])).await?;
        let made = made.as_array().map(Vec::len);
        ensure!(made == Some(count as usize), "{made:?} blocks were made");
        Ok(())
    }

    /// That a transaction waits for a block.
    ///
    /// # Errors
    /// If none does.
    pub async fn has_unconfirmed(&self) -> Result<()> {
        let waiting = self.call("getrawmempool", json!([])).await?;
        let waiting = waiting.as_array().context("no list of transactions")?;
        ensure!(!waiting.is_empty(), "no transaction waits");
        Ok(())
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value> {
        let question = json!({"jsonrpc": "1.0", "id": 1, "method": method, "params": params});
        let url = format!("https://127.0.0.1:{}/", self.port);
        let request = self.http.post(url).basic_auth(USER, Some(PASSWORD));
        let mut answer: Value = request.json(&question).send().await?.json().await?;
        ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        Ok(answer["result"].take())
    }
}

/// A client that takes this certificate only.
pub(super) fn client(pem: &[u8]) -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(PinnedCertificate::from_pem(pem)?.tls()?)
        .timeout(wait::PATIENCE)
        .no_proxy()
        .build()?)
}
