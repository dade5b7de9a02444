//! A real Lightning network on loopback: btcd's simnet and lnd nodes with a channel, for one test.
//!
//! The programs are built from source by `e2e/tools.sh lightning`. Nothing speaks to anybody outside: simnet has no seeds, btcd takes
//! no peers, and the nodes know each other only.

pub mod chain;
pub mod node;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{programs, wait};

pub use chain::Chain;
pub use node::LightningNode;

/// Blocks until everything that Lightning needs is in force on simnet: three times its window of votes.
const RULES_IN_FORCE: u32 = 300;
/// Blocks until the miner can spend the first ten of them.
const MATURITY: u32 = 110;
/// Confirmations after which a channel is announced to everybody.
const ANNOUNCED: u32 = 6;
/// What a channel of these tests holds, in satoshis; half of it on either side.
pub const CHANNEL_SAT: u64 = 10_000_000;

/// A chain and two nodes with a channel, either of which can pay the other.
///
/// Alice mines. All of it ends with this value.
pub struct Lightning {
    /// Who has the coins.
    pub alice: LightningNode,
    /// Who has a channel with Alice.
    pub bob: LightningNode,
    /// What they build on. Ends after them.
    pub chain: Chain,
    programs: PathBuf,
    dir: TempDir,
}

/// Where btcd and lnd are. Nothing if they can't be built here; in CI that is a failure.
///
/// # Errors
/// If they can't be built in CI, or the script does not run.
pub async fn programs() -> Result<Option<PathBuf>> {
    let made = Command::new(programs::source_tree().join("e2e/tools.sh"))
        .arg("lightning")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await?;
    if made.status.success() {
        let dir = String::from_utf8(made.stdout)?;
        return Ok(Some(PathBuf::from(dir.trim())));
    }
    ensure!(
        std::env::var_os("CI").is_none(),
        "in CI these tests need btcd and lnd"
    );
    Ok(None)
}

impl Lightning {
    /// Starts everything and waits until the channel can be used both ways. Nothing if there are no programs for it.
    ///
    /// # Errors
    /// If something does not start or does not come about; the error shows what the program concerned said last.
    pub async fn start() -> Result<Option<Self>> {
        let Some(programs) = programs().await? else {
            return Ok(None);
        };
        let dir = tempfile::Builder::new()
            .prefix("atomicity-e2e-lightning")
            .tempdir()?;
        let chain = Chain::start(&programs, &dir.path().join("btcd")).await?;
        chain.mine(RULES_IN_FORCE).await?;
        let [alice, bob] = ["alice", "bob"].map(|name| dir.path().join(name));
        let (alice, bob) = tokio::try_join!(
            LightningNode::start(&programs, &alice, &chain, true),
            LightningNode::start(&programs, &bob, &chain, false),
        )?;
        let network = Self {
            alice,
            bob,
            chain,
            programs,
            dir,
        };
        network.chain.mine(MATURITY).await?;
        network.alice.funded().await?;
        network.open_channel(&network.alice, &network.bob).await?;
        Ok(Some(network))
    }

    /// The folder of all of it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts another node, without coins and channels.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn add_node(&self, name: &str) -> Result<LightningNode> {
        let dir = self.dir.path().join(name);
        LightningNode::start(&self.programs, &dir, &self.chain, false).await
    }

    /// Opens a channel, paid for by `from`, with half of it on either side, and waits until both can use it.
    ///
    /// # Errors
    /// If it does not come about.
    pub async fn open_channel(&self, from: &LightningNode, to: &LightningNode) -> Result<()> {
        let (from_key, to_key) = (from.key().await?, to.key().await?);
        let host = format!("127.0.0.1:{}", to.peer_port());
        let address = json!({"addr": {"pubkey": to_key, "host": host}, "timeout": "10"});
        from.post("/v1/peers", &address).await?;
        let height = self.chain.height().await?;
        for node in [from, to] {
            node.synced(height).await?;
        }
        let half = CHANNEL_SAT / 2;
        let open = json!({
            "node_pubkey_string": to_key,
            "local_funding_amount": CHANNEL_SAT.to_string(),
            "push_sat": half.to_string(),
            "sat_per_vbyte": "2",
        });
        from.post("/v1/channels", &open).await?;
        let what = "the channel's transaction";
        wait::until(what, || self.chain.has_unconfirmed()).await?;
        self.chain.mine(ANNOUNCED).await?;
        for (node, peer) in [(from, &to_key), (to, &from_key)] {
            node.usable_channel(peer).await?;
        }
        Ok(())
    }

    /// Lets the nodes wait for `count` more blocks and see them.
    ///
    /// # Errors
    /// If they don't.
    pub async fn mine(&self, count: u32) -> Result<()> {
        self.chain.mine(count).await?;
        let height = self.chain.height().await?;
        for node in [&self.alice, &self.bob] {
            node.synced(height).await?;
        }
        Ok(())
    }
}

/// Reads a file that a program makes soon after it began.
async fn soon(path: &Path) -> Result<Vec<u8>> {
    let bytes = tokio::fs::read(path)
        .await
        .with_context(|| format!("no {}", path.display()))?;
    if bytes.is_empty() {
        bail!("{} is still empty", path.display());
    }
    Ok(bytes)
}
