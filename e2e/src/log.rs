//! A plugin with a witness log, the log as anybody reads it, and what must hold of its content.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use atomicity_witness_log::tile::{TileKind, bundles, changed_tiles, decode_bundle, encode_tile};
use atomicity_witness_log::{
    Follower, Hash, HashSource as _, Leaf, LogError, LogTerms, MemoryTree, Policy,
    PublicationProof, Published, SignedCheckpoint, TilePath, VerifierKey, leaf,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::cosigner::Cosigner;
use crate::plugin::Options;
use crate::{Plugin, World};

/// A plugin that runs a log, with its cosigners.
pub struct LogSite {
    /// The plugin.
    pub plugin: Plugin,
    /// Who cosigns.
    pub cosigners: Vec<Cosigner>,
    /// The log's key.
    pub key: VerifierKey,
}

impl LogSite {
    /// Options of a plugin that is to run a log: no homeserver, no limits that a test would run into.
    ///
    /// # Errors
    /// If there is no Postgres or no port.
    pub async fn options(world: &World, name: &str) -> Result<Options> {
        let mut options = Options::fresh(name, None, world.bootstrap()).await?;
        options.more.extend([
            "accounts.open_registration=true".to_owned(),
            "witness_log.address_per_minute=1000000".to_owned(),
            "witness_log.interval_ms=400".to_owned(),
        ]);
        Ok(options)
    }

    /// Makes a log with so many cosigners, of which `quorum` must cosign, without starting it.
    ///
    /// # Errors
    /// If a command fails.
    pub async fn prepare(
        world: &World,
        name: &str,
        options: Options,
        (cosigners, quorum): (usize, usize),
    ) -> Result<Self> {
        let mut plugin = Plugin::prepare(name, &world.new_path(name), options).await?;
        let made = plugin.run(&["log", "create"]).await?;
        ensure!(made.code == Some(0), "{made}");
        let key = made
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("key:"));
        let key: VerifierKey = key
            .with_context(|| format!("no key from {made}"))?
            .trim()
            .parse()?;
        let mut site = Self {
            cosigners: Vec::new(),
            key: key.clone(),
            plugin,
        };
        for number in 1..=cosigners {
            let name = format!("cosigner{number}.example");
            site.cosigners
                .push(Cosigner::start(&name, key.clone()).await?);
        }
        let listed: Vec<String> = site
            .cosigners
            .iter()
            .map(|c| {
                format!(
                    "{{ vkey = {:?}, url = {:?} }}",
                    c.vkey().to_string(),
                    c.url()
                )
            })
            .collect();
        plugin = site.plugin;
        plugin.options_mut().more.extend([
            "witness_log.enabled=true".to_owned(),
            format!("witness_log.cosigners=[{}]", listed.join(",")),
            format!("witness_log.quorum={quorum}"),
        ]);
        Ok(Self { plugin, ..site })
    }

    /// Makes a log with so many cosigners and starts it.
    ///
    /// # Errors
    /// If it does not get ready.
    pub async fn start(world: &World, name: &str, cosigners: (usize, usize)) -> Result<Self> {
        let options = Self::options(world, name).await?;
        let mut site = Self::prepare(world, name, options, cosigners).await?;
        site.plugin.start().await?;
        Ok(site)
    }

    /// The log as anybody reads it.
    #[must_use]
    pub fn log(&self) -> LogReader {
        LogReader::new(&format!("{}/log", self.plugin.http_url()))
    }
}

/// A log, read over HTTP.
#[derive(Clone, Debug)]
pub struct LogReader {
    http: reqwest::Client,
    base: String,
}

/// What publishing was answered with, verified.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What the proof says.
    pub published: Published,
    /// The proof's text.
    pub proof: String,
}

impl LogReader {
    /// The log at this address.
    #[must_use]
    pub fn new(base: &str) -> Self {
        Self {
            http: reqwest::Client::new(),
            base: base.to_owned(),
        }
    }

    /// Fetches what is at a path below the log's address. The answer, whatever it is.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn get(&self, path: &str) -> Result<reqwest::Response> {
        Ok(self
            .http
            .get(format!("{}/{path}", self.base))
            .send()
            .await?)
    }

    async fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        let answer = self.get(path).await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        ensure!(
            status == 200,
            "{path}: {status} {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body.to_vec())
    }

    /// The policy that the log names.
    ///
    /// # Errors
    /// If it can't be had or read.
    pub async fn policy(&self) -> Result<Policy> {
        Ok(Policy::parse(&self.bytes("policy").await?)?)
    }

    /// The published checkpoint, not verified.
    ///
    /// # Errors
    /// If it can't be had or read.
    pub async fn checkpoint(&self) -> Result<SignedCheckpoint> {
        Ok(SignedCheckpoint::parse(&self.bytes("checkpoint").await?)?)
    }

    /// The bytes of a tile or bundle.
    ///
    /// # Errors
    /// If it can't be had.
    pub async fn tile(&self, path: &TilePath) -> Result<Vec<u8>> {
        self.bytes(&path.to_string()).await
    }

    /// The entries `[start, end)` of the tree of `size` entries.
    ///
    /// # Errors
    /// If they can't be had or read.
    pub async fn entries(&self, start: u64, end: u64, size: u64) -> Result<Vec<Vec<u8>>> {
        let mut entries = Vec::new();
        for path in bundles(start, end, size) {
            let bytes = self.tile(&path).await?;
            let all = decode_bundle(&path, &bytes)?;
            for (index, entry) in (path.start()..).zip(all) {
                if (start..end).contains(&index) {
                    entries.push(entry.to_vec());
                }
            }
        }
        Ok(entries)
    }

    /// Posts a preimage. The answer, whatever it is.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn post(&self, preimage: &[u8; 32], min_index: u64) -> Result<reqwest::Response> {
        let body = json!({"preimage": URL_SAFE_NO_PAD.encode(preimage), "min_index": min_index});
        let request = self.http.post(format!("{}/preimages", self.base));
        Ok(request.json(&body).send().await?)
    }

    /// Posts a preimage with a session. The answer, whatever it is.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn post_as(&self, token: &str, preimage: [u8; 32]) -> Result<reqwest::Response> {
        let body = json!({"preimage": URL_SAFE_NO_PAD.encode(preimage)});
        let request = self.http.post(format!("{}/preimages", self.base));
        Ok(request.bearer_auth(token).json(&body).send().await?)
    }

    /// Publishes a preimage and verifies the answer under `policy`.
    ///
    /// # Errors
    /// If it is refused, or the answer proves nothing.
    pub async fn publish(
        &self,
        policy: &Policy,
        preimage: &[u8; 32],
        min_index: u64,
    ) -> Result<Answer> {
        let answer = self.post(preimage, min_index).await?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        ensure!(status == 200, "{status}: {body}");
        let text = |name| body.get(name).and_then(Value::as_str).context("no text");
        let number = |name| body.get(name).and_then(Value::as_u64).context("no number");
        let proof = text("proof")?.to_owned();
        ensure!(text("policy_hash")? == URL_SAFE_NO_PAD.encode(policy.hash()));
        let origin = policy.logs().first().context("no log")?.key.name();
        let published = PublicationProof::parse(proof.as_bytes())?.verify(&LogTerms {
            policy,
            origin,
            hash: &leaf::preimage_hash(preimage),
            from_size: min_index,
            deadline_ms: u64::MAX,
        })?;
        ensure!(published.preimage == *preimage);
        ensure!(published.index == number("index")?);
        ensure!(published.time_ms == number("time_ms")?);
        Ok(Answer { published, proof })
    }

    /// Downloads everything under the published checkpoint and computes it anew.
    ///
    /// # Errors
    /// If entries, tiles and root disagree, times fall, or the log does not end with a tick.
    pub async fn audit(&self, policy: &Policy) -> Result<Audit> {
        let signed = self.checkpoint().await?;
        let checked = policy.check(signed.note())?;
        let (size, root) = (checked.checkpoint().size, checked.checkpoint().root);
        let entries = self.entries(0, size, size).await?;
        let tree = MemoryTree::from_entries(&entries);
        ensure!(tree.root() == root, "the entries do not add up to the root");
        for path in changed_tiles(0, size) {
            let TileKind::Hashes(level) = path.kind() else {
                continue;
            };
            let hashes = (path.start()..)
                .take(usize::from(path.width()))
                .map(|index| tree.hash(8 * level, index))
                .collect::<Result<Vec<Hash>, _>>()?;
            let served = self.tile(&path).await?;
            ensure!(
                served == encode_tile(&hashes),
                "{path} is not what the entries say"
            );
        }
        let leaves = entries
            .iter()
            .map(|entry| Leaf::decode(entry))
            .collect::<Result<Vec<_>, _>>()?;
        ensure!(
            leaves.is_sorted_by_key(Leaf::time_ms),
            "times fall in the log"
        );
        ensure!(
            leaves.last().is_some_and(Leaf::is_tick),
            "no tick at the end"
        );
        Ok(Audit { size, root, leaves })
    }
}

/// The whole content of a log, computed anew.
#[derive(Clone, Debug)]
pub struct Audit {
    /// Number of entries.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// The entries.
    pub leaves: Vec<Leaf>,
}

impl Audit {
    /// How often each preimage is in the log.
    #[must_use]
    pub fn counts(&self) -> HashMap<[u8; 32], usize> {
        let mut counts = HashMap::new();
        for preimage in self.leaves.iter().filter_map(Leaf::preimage) {
            *counts.entry(*preimage).or_default() += 1;
        }
        counts
    }

    /// Whether what was answered is still there.
    #[must_use]
    pub fn holds(&self, answer: &Answer) -> bool {
        let leaf = Leaf::Preimage {
            time_ms: answer.published.time_ms,
            preimage: answer.published.preimage,
        };
        let at = usize::try_from(answer.published.index).ok();
        at.and_then(|at| self.leaves.get(at)) == Some(&leaf)
    }
}

/// Somebody who reads every checkpoint and entry of a log and would notice a lie.
pub struct Recorder {
    task: JoinHandle<Result<usize>>,
    stop: Arc<AtomicBool>,
}

impl Recorder {
    /// Follows a log from now on, whether it can be reached or not.
    #[must_use]
    pub fn start(log: LogReader, key: VerifierKey) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn({
            let stop = stop.clone();
            async move {
                let mut follower = Follower::new(key);
                let mut seen = 0;
                while !stop.load(Ordering::SeqCst) {
                    seen += usize::from(step(&log, &mut follower).await?);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(seen)
            }
        });
        Self { task, stop }
    }

    /// Ends it. The number of different checkpoints that it saw, none of which contradicts another.
    ///
    /// # Errors
    /// If two of them do, or entries do not add up to one.
    pub async fn finish(self) -> Result<usize> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await?
    }
}

/// Takes the newest checkpoint, if it can be had. Whether it was a new one.
async fn step(log: &LogReader, follower: &mut Follower) -> Result<bool> {
    let Ok(signed) = log.checkpoint().await else {
        return Ok(false);
    };
    let (known, size) = (follower.size(), signed.checkpoint().size);
    if size == known && signed.checkpoint().root == follower.root() {
        return Ok(false);
    }
    let entries = if size > known {
        match log.entries(known, size, size).await {
            Ok(entries) => entries,
            Err(_) => return Ok(false),
        }
    } else {
        Vec::new()
    };
    let outcome: Result<(), LogError> = follower.advance(signed.note(), &entries, None);
    outcome.with_context(|| format!("after {known} entries, a checkpoint of {size}"))?;
    Ok(true)
}
