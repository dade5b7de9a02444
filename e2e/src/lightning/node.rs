//! An lnd node.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use atomicity_paykit_adapter::rail::{LightningNetwork, Lnd, LndConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::process::Command;

use super::chain::{self, Chain, MINER_ADDRESS, MINER_KEY};
use super::soon;
use crate::service::Service;
use crate::{ports, wait};

/// The rights that the documentation says a rail needs.
const RAIL_RIGHTS: [(&str, &str); 5] = [
    ("info", "read"),
    ("invoices", "read"),
    ("invoices", "write"),
    ("offchain", "read"),
    ("offchain", "write"),
];
/// The rights that it needs to be paid, over Lightning and on the chain, and to pay nothing.
const TILL_RIGHTS: [(&str, &str); 6] = [
    ("info", "read"),
    ("offchain", "read"),
    ("invoices", "read"),
    ("invoices", "write"),
    ("address", "write"),
    ("onchain", "read"),
];
const PASSWORD: &str = "no coins here";

/// An lnd node, which keeps its wallet, channels and ports when it is stopped and started again.
pub struct LightningNode {
    /// First, so that it ends before the rest.
    running: Option<Service>,
    name: String,
    dir: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    ports: Ports,
    client: Option<(reqwest::Client, String)>,
}

#[derive(Clone, Copy)]
struct Ports {
    peer: u16,
    rpc: u16,
    rest: u16,
}

impl LightningNode {
    /// Starts a node with its files in `dir`, and waits until it can be used. `miner`: with the wallet that has the coins.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(programs: &Path, dir: &Path, chain: &Chain, miner: bool) -> Result<Self> {
        tokio::fs::create_dir_all(dir).await?;
        let name = dir.file_name().map(|name| name.to_string_lossy());
        let ports = Ports {
            peer: ports::free()?,
            rpc: ports::free()?,
            rest: ports::free()?,
        };
        let mut arguments = arguments(dir, chain, ports);
        if miner {
            let file = dir.join("password");
            tokio::fs::write(&file, PASSWORD).await?;
            arguments.push(format!("--wallet-unlock-password-file={}", file.display()));
            arguments.push("--wallet-unlock-allow-create".to_owned());
        } else {
            arguments.push("--noseedbackup".to_owned());
        }
        let mut node = Self {
            running: None,
            name: name.unwrap_or_default().into_owned(),
            dir: dir.to_path_buf(),
            program: programs.join("lnd"),
            arguments,
            ports,
            client: None,
        };
        node.launch().await?;
        if miner {
            node.make_miners_wallet().await?;
        }
        node.ready().await?;
        if miner {
            let first = node.get("/v1/newaddress").await?;
            ensure!(
                first["address"] == MINER_ADDRESS,
                "another address: {first}"
            );
        }
        Ok(node)
    }

    /// Starts the program, up to where it answers at all.
    async fn launch(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.dir);
        self.running = Some(Service::start(command, &self.dir.join("output.log"))?);
        let path = self.dir.join("tls.cert");
        let pem = wait::until("lnd's certificate", || soon(&path)).await;
        let pem = pem.with_context(|| self.last_words())?;
        self.client = Some((chain::client(&pem)?, String::new()));
        let begun = || async {
            let state = self.get("/v1/state").await?;
            ensure!(state["state"] != "WAITING_TO_START", "it is not up yet");
            Ok(())
        };
        self.until("answer", begun).await
    }

    async fn make_miners_wallet(&self) -> Result<()> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let wallet = json!({
            "wallet_password": STANDARD.encode(PASSWORD),
            "extended_master_key": MINER_KEY,
            // Older blocks are not looked through: there is nothing in them yet.
            "extended_master_key_birthday_timestamp": now.as_secs().to_string(),
        });
        let made = self.post("/v1/initwallet", &wallet).await;
        made.map(drop).with_context(|| self.last_words())
    }

    /// Waits until it serves everything, and takes its macaroon.
    async fn ready(&mut self) -> Result<()> {
        let serves = || async {
            let state = self.get("/v1/state").await?;
            ensure!(state["state"] == "SERVER_ACTIVE", "its state is {state}");
            Ok(())
        };
        self.until("serve", serves).await?;
        let path = self.dir.join("data/chain/bitcoin/simnet/admin.macaroon");
        let macaroon = wait::until("the macaroon", || soon(&path)).await?;
        let macaroon = macaroon.iter().map(|byte| format!("{byte:02x}")).collect();
        if let Some((_, held)) = &mut self.client {
            *held = macaroon;
        }
        Ok(())
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// If it can't be told to.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut service) = self.running.take() {
            service.terminate().await?;
        }
        Ok(())
    }

    /// Kills it with SIGKILL, as a crash would.
    ///
    /// # Errors
    /// If it can't be killed.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(mut service) = self.running.take() {
            service.kill().await?;
        }
        Ok(())
    }

    /// Starts it again, on the same files and ports, and waits until it serves.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "{} runs", self.name);
        self.launch().await?;
        self.ready().await
    }

    /// The last lines that it printed.
    #[must_use]
    pub fn last_words(&self) -> String {
        let words = crate::service::tail(&self.dir.join("output.log"));
        format!("{} said last:\n{words}", self.name)
    }

    /// The port for other nodes.
    #[must_use]
    pub fn peer_port(&self) -> u16 {
        self.ports.peer
    }

    /// The port of its REST interface.
    #[must_use]
    pub fn rest_port(&self) -> u16 {
        self.ports.rest
    }

    /// Its public key, in hex.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn key(&self) -> Result<String> {
        let info = self.get("/v1/getinfo").await?;
        Ok(info["identity_pubkey"].as_str().context("no key")?.into())
    }

    /// It as a rail, with no more rights than a rail needs.
    ///
    /// # Errors
    /// If it gives no such rights.
    pub async fn rail(&self) -> Result<Lnd> {
        Ok(Lnd::open(self.rail_config().await?).await?)
    }

    /// The settings of [`LightningNode::rail`].
    ///
    /// # Errors
    /// If the node gives no macaroon.
    pub async fn rail_config(&self) -> Result<LndConfig> {
        self.config_with("rail.macaroon", &RAIL_RIGHTS).await
    }

    /// The same for a rail that is only paid, also on the chain.
    ///
    /// # Errors
    /// If the node gives no macaroon.
    pub async fn till_config(&self) -> Result<LndConfig> {
        self.config_with("till.macaroon", &TILL_RIGHTS).await
    }

    /// With a macaroon that gives these rights, in a file of this name.
    async fn config_with(&self, file: &str, rights: &[(&str, &str)]) -> Result<LndConfig> {
        let rights = rights
            .iter()
            .map(|(entity, action)| json!({"entity": entity, "action": action}));
        let rights: Vec<Value> = rights.collect();
        let baked = self
            .post("/v1/macaroon", &json!({"permissions": rights}))
            .await?;
        let baked = baked["macaroon"].as_str().context("no macaroon")?;
        let bytes: Vec<u8> = (0..baked.len())
            .step_by(2)
            .map(|at| {
                Ok(u8::from_str_radix(
                    baked.get(at..at + 2).context("hex")?,
                    16,
                )?)
            })
            .collect::<Result<_>>()?;
        let macaroon = self.dir.join(file);
        tokio::fs::write(&macaroon, bytes).await?;
        Ok(LndConfig {
            name: self.name.clone(),
            url: format!("https://127.0.0.1:{}", self.ports.rest).parse()?,
            certificate: self.dir.join("tls.cert"),
            macaroon,
            network: LightningNetwork::Simnet,
            timeout: Duration::from_secs(10),
        })
    }

    /// Waits until it has seen the block of this number.
    ///
    /// # Errors
    /// If it does not.
    pub async fn synced(&self, height: u64) -> Result<()> {
        let seen = || async {
            let info = self.get("/v1/getinfo").await?;
            let there = info["synced_to_chain"] == true
                && info["block_height"].as_u64().is_some_and(|at| at >= height);
            ensure!(
                there,
                "it is at {}, synced: {}",
                info["block_height"],
                info["synced_to_chain"]
            );
            Ok(())
        };
        self.until("see the newest block", seen).await
    }

    /// Waits until it has coins to spend.
    ///
    /// # Errors
    /// If it gets none.
    pub async fn funded(&self) -> Result<()> {
        let has = || async {
            let balance = self.get("/v1/balance/blockchain").await?;
            let some = balance["confirmed_balance"]
                .as_str()
                .is_some_and(|sat| sat != "0");
            ensure!(some, "its balance is {balance}");
            Ok(())
        };
        self.until("have coins", has).await
    }

    /// Waits until it has a channel with `peer` that it can use, and knows both sides' terms.
    ///
    /// # Errors
    /// If that does not come about.
    pub async fn usable_channel(&self, peer: &str) -> Result<()> {
        let usable = || async {
            let channels = self.get("/v1/channels?active_only=true").await?;
            let channels = channels["channels"].as_array().context("no channels")?;
            let ours = channels
                .iter()
                .find(|channel| channel["remote_pubkey"] == peer);
            let id = ours.and_then(|channel| channel["chan_id"].as_str());
            let id = id.context("no active channel with this peer")?;
            let edge = self.get(&format!("/v1/graph/edge/{id}")).await?;
            let known = !edge["node1_policy"].is_null() && !edge["node2_policy"].is_null();
            ensure!(known, "the terms of the channel are not known: {edge}");
            Ok(())
        };
        self.until("have a usable channel", usable).await
    }

    /// Asks its REST interface.
    ///
    /// # Errors
    /// If it does not answer, or with a failure.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let (client, _) = self.client.as_ref().context("it never ran")?;
        self.send(client.get(self.url(path))).await
    }

    /// Tells its REST interface.
    ///
    /// # Errors
    /// If it does not answer, or with a failure.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let (client, _) = self.client.as_ref().context("it never ran")?;
        self.send(client.post(self.url(path)).json(body)).await
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.ports.rest)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Value> {
        let macaroon = self.client.as_ref().map(|(_, macaroon)| macaroon.as_str());
        let request = request.header("Grpc-Metadata-macaroon", macaroon.unwrap_or_default());
        let answer = request.send().await?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        if !status.is_success() {
            bail!("{} answered {status}: {body}", self.name);
        }
        Ok(body)
    }

    /// Waits for what `probe` says; the error shows the node's last words.
    async fn until<T, F, R>(&self, what: &str, probe: F) -> Result<T>
    where
        F: FnMut() -> R,
        R: Future<Output = Result<T>>,
    {
        let what = format!("{} to {what}", self.name);
        let done = wait::until(&what, probe).await;
        done.with_context(|| self.last_words())
    }
}

fn arguments(dir: &Path, chain: &Chain, ports: Ports) -> Vec<String> {
    let on = ports::on_loopback;
    vec![
        format!("--lnddir={}", dir.display()),
        format!("--listen={}", on(ports.peer)),
        format!("--rpclisten={}", on(ports.rpc)),
        format!("--restlisten={}", on(ports.rest)),
        "--bitcoin.simnet".to_owned(),
        "--bitcoin.node=btcd".to_owned(),
        "--bitcoin.defaultchanconfs=1".to_owned(),
        format!("--btcd.rpchost={}", on(chain.port())),
        format!("--btcd.rpcuser={}", chain::USER),
        format!("--btcd.rpcpass={}", chain::PASSWORD),
        format!("--btcd.rpccert={}", chain.certificate().display()),
        "--nobootstrap".to_owned(),
        // News of channels at once, not in batches of half a minute.
        "--trickledelay=50".to_owned(),
        "--gossip.sub-batch-delay=50ms".to_owned(),
        // A peer that was away is looked for again at once.
        "--minbackoff=200ms".to_owned(),
        "--maxbackoff=1s".to_owned(),
    ]
}
