//! Promises that hang on a log: the log with its cosigner, and what people do with both.

use anyhow::{Context, Result, ensure};
use atomicity_witness_log::{ForkProof, Policy};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::guard::{Guard, entry};
use crate::log::LogSite;
use crate::lying_log::LyingLog;
use crate::people::{Person, expect, string};
use crate::plugin::Options;
use crate::{World, wait};

/// A log on one plugin, cosigned by another one.
pub struct Cosigned {
    /// The log.
    pub log: LogSite,
    /// Who cosigns it.
    pub cosigner: Guard,
}

impl Cosigned {
    /// Makes both and starts them. The cosigner takes the log for dead after so many seconds of silence.
    ///
    /// # Errors
    /// If one of them does not get ready.
    pub async fn start(world: &World, name: &str, dead_after_s: u64) -> Result<Self> {
        let options = LogSite::options(world, name).await?;
        Self::start_with(world, name, dead_after_s, options).await
    }

    /// The same with a checkpoint every so many milliseconds.
    ///
    /// # Errors
    /// If one of them does not get ready.
    pub async fn start_every(
        world: &World,
        name: &str,
        dead_after_s: u64,
        interval_ms: u32,
    ) -> Result<Self> {
        let mut options = LogSite::options(world, name).await?;
        let interval = format!("witness_log.interval_ms={interval_ms}");
        options.more.push(interval);
        Self::start_with(world, name, dead_after_s, options).await
    }

    async fn start_with(
        world: &World,
        name: &str,
        dead_after_s: u64,
        options: Options,
    ) -> Result<Self> {
        let mut log = LogSite::prepare(world, name, options, (0, 0)).await?;
        let mut cosigner = Guard::prepare(world, &format!("cosigner-of-{name}")).await?;
        let address = format!("https://{}/log", log.plugin.key());
        cosigner.cosign(&[entry(&log.key, &address)]);
        cosigner.set(&format!("cosigner.dead_after_s={dead_after_s}"));
        cosigner.plugin.start().await?;
        let url = format!("https://{}/cosigner", cosigner.plugin.key());
        log.plugin.options_mut().more.extend([
            format!("witness_log.cosigners=[{}]", entry(&cosigner.key, &url)),
            "witness_log.quorum=1".to_owned(),
        ]);
        log.plugin.start().await?;
        Ok(Self { log, cosigner })
    }

    /// Where the log is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}/log", self.log.plugin.key())
    }

    /// Its name.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.log.key.name()
    }

    /// Lets somebody rely on the log, once it shows a checkpoint.
    ///
    /// # Errors
    /// If it shows none that counts.
    pub async fn introduce(&self, person: &Person) -> Result<Value> {
        let url = self.url();
        let known = wait::until("the log's first checkpoint", || async {
            person.wallet().ok(&["log", "add", &url]).await
        });
        let known = known.await?;
        expect(&known, "/origin", self.origin())?;
        expect(&known, "/usable", true)?;
        Ok(known)
    }
}

/// Lets somebody rely on a log that lies, by a file with its policy, which asks for no cosigner.
///
/// # Errors
/// If the wallet refuses it.
pub async fn introduce_liar(world: &World, person: &Person, log: &LyingLog) -> Result<()> {
    let policy = Policy::from_parts(&[(log.vkey(), Some(log.url().to_owned()))], &[], 0)?;
    let file = world.new_path(&format!("policy-for-{}", person.name()));
    std::fs::write(&file, policy.as_bytes())?;
    let file = file.to_str().context("a path that is no text")?;
    let known = person.wallet().ok(&["log", "add", file]).await?;
    expect(&known, "/origin", log.vkey().name())
}

/// Draws a secret; its hash.
///
/// # Errors
/// If the wallet can't.
pub async fn new_secret(person: &Person) -> Result<String> {
    let made = person.wallet().ok(&["secret", "new"]).await?;
    ensure!(made.get("preimage").is_none(), "a secret was shown: {made}");
    string(&made, "/hash")
}

/// Promises `money` on a hash, for so many seconds; the promise's name.
///
/// # Errors
/// If that is refused.
pub async fn promise(
    from: &Person,
    to: &Person,
    money: &str,
    (hash, log, seconds): (&str, &str, u64),
) -> Result<String> {
    let deadline = format!("{seconds}s");
    let arguments = [
        "pay",
        to.name(),
        money,
        "--on",
        hash,
        "--log",
        log,
        "--deadline",
        &deadline,
    ];
    let made = from.wallet().ok(&arguments).await?;
    expect(&made, "/standing", "undecided")?;
    expect(&made, "/hash", hash)?;
    expect(&made, "/logs/0", log)?;
    string(&made, "/promise")
}

/// Where a promise stands for somebody; `gone` if it was settled and forgotten.
///
/// # Errors
/// If the wallet can't say.
pub async fn standing(person: &Person, promise: &str) -> Result<String> {
    let known = person.wallet().ok(&["promises"]).await?;
    let all = known.pointer("/promises").and_then(Value::as_array);
    let found = all
        .into_iter()
        .flatten()
        .find(|one| one.get("promise").and_then(Value::as_str) == Some(promise));
    match found {
        Some(one) => string(one, "/standing"),
        None => Ok("gone".to_owned()),
    }
}

/// Both read the news until the promise stands for both as `wanted` says, the promiser's word first.
///
/// # Errors
/// If that does not happen in time.
pub async fn until_standing(
    promiser: &Person,
    holder: &Person,
    promise: &str,
    wanted: (&[&str], &[&str]),
) -> Result<()> {
    wait::until("a promise to be decided", || async {
        holder.sync().await?;
        promiser.sync().await?;
        let ours = standing(promiser, promise).await?;
        let theirs = standing(holder, promise).await?;
        ensure!(
            wanted.0.contains(&ours.as_str()) && wanted.1.contains(&theirs.as_str()),
            "it stands as {ours} and {theirs}"
        );
        Ok(())
    })
    .await
}

/// The kinds of what happened, newest first.
///
/// # Errors
/// If the wallet can't say.
pub async fn kinds(person: &Person) -> Result<Vec<String>> {
    let history = person.wallet().ok(&["history"]).await?;
    let items = history.pointer("/items").and_then(Value::as_array);
    let items = items.context("no history")?.iter();
    items.map(|item| string(item, "/kind")).collect()
}

/// The proof against a log in somebody's list of logs, verified; and what the list says of it in words.
///
/// # Errors
/// If there is none, or it proves nothing.
pub async fn proof_against(person: &Person, origin: &str) -> Result<(ForkProof, String)> {
    let list = person.wallet().ok(&["log", "list"]).await?;
    let logs = list.pointer("/logs").and_then(Value::as_array);
    let mut logs = logs.context("no logs")?.iter();
    let log = logs.find(|log| log.get("origin").and_then(Value::as_str) == Some(origin));
    let log = log.with_context(|| format!("{origin} is not in {list}"))?;
    expect(log, "/usable", false)?;
    let bytes = STANDARD.decode(string(log, "/forks/0/proof")?)?;
    let proof = ForkProof::decode(&bytes)?;
    let culprit = proof.verify()?;
    ensure!(culprit.origin == origin, "it is about {}", culprit.origin);
    expect(log, "/forks/0/culprit", culprit.key.to_string())?;
    Ok((proof, string(log, "/forks/0/words")?))
}
