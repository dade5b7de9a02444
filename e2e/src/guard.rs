//! A plugin that cosigns or watches other people's logs, and what it says about them.

use anyhow::{Context, Result, ensure};
use atomicity_witness_log::{ForkProof, SignedNote, VerifierKey};
use serde_json::{Value, json};
use url::Url;

use crate::log::LogReader;
use crate::plugin::Options;
use crate::{Plugin, World};

/// A plugin with a cosigner's key that has not been told yet what to follow.
pub struct Guard {
    /// The plugin.
    pub plugin: Plugin,
    /// The key by which it cosigns.
    pub key: VerifierKey,
}

/// A log as a configuration names it.
#[must_use]
pub fn entry(vkey: &VerifierKey, url: &str) -> String {
    format!("{{ vkey = {:?}, url = {url:?} }}", vkey.to_string())
}

impl Guard {
    /// Makes a plugin and its key, without starting it.
    ///
    /// # Errors
    /// If a command fails.
    pub async fn prepare(world: &World, name: &str) -> Result<Self> {
        let mut options = Options::fresh(name, None, world.bootstrap()).await?;
        options.more.extend([
            "accounts.open_registration=true".to_owned(),
            "cosigner.poll_ms=1000".to_owned(),
            "watchtower.poll_ms=500".to_owned(),
            "watchtower.peer_poll_ms=500".to_owned(),
            "watchtower.submissions_per_minute=1000000".to_owned(),
        ]);
        let plugin = Plugin::prepare(name, &world.new_path(name), options).await?;
        let made = plugin.run(&["cosigner", "create"]).await?;
        ensure!(made.code == Some(0), "{made}");
        let key = made
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("key:"));
        let key = key.with_context(|| format!("no key from {made}"))?;
        let key = key.trim().parse()?;
        Ok(Self { plugin, key })
    }

    /// Lets it cosign these logs when it starts next.
    pub fn cosign(&mut self, logs: &[String]) {
        self.plugin.options_mut().more.extend([
            "cosigner.enabled=true".to_owned(),
            format!("cosigner.logs=[{}]", logs.join(",")),
        ]);
    }

    /// Lets it watch these logs when it starts next.
    pub fn watch(&mut self, logs: &[String]) {
        self.plugin.options_mut().more.extend([
            "watchtower.enabled=true".to_owned(),
            format!("watchtower.logs=[{}]", logs.join(",")),
        ]);
    }

    /// Changes a setting, for when it starts next.
    pub fn set(&mut self, setting: &str) {
        self.plugin.options_mut().more.push(setting.to_owned());
    }

    /// Where it takes checkpoints.
    ///
    /// # Errors
    /// If its address is no URL.
    pub fn url(&self) -> Result<Url> {
        Ok(format!("{}/cosigner", self.plugin.http_url()).parse()?)
    }

    /// Its mirror of a log.
    ///
    /// # Errors
    /// If it has none.
    pub async fn mirror(&self, origin: &str) -> Result<LogReader> {
        let list = self.json("/mirror").await?;
        let logs = list["items"].as_array().context("no items")?;
        let log = logs.iter().find(|log| log["origin"] == origin);
        let name = log.and_then(|log| log["name"].as_str());
        let name = name.with_context(|| format!("no mirror of {origin}"))?;
        let base = format!("{}/mirror/{name}", self.plugin.http_url());
        Ok(LogReader::new(&base))
    }

    async fn json(&self, path: &str) -> Result<Value> {
        let answer = reqwest::get(format!("{}{path}", self.plugin.http_url())).await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// The tombstones that it signed.
    ///
    /// # Errors
    /// If they can't be had or read.
    pub async fn tombstones(&self) -> Result<Vec<SignedNote>> {
        let page = self.json("/cosigner/tombstones").await?;
        let items = page["items"].as_array().context("no items")?;
        items
            .iter()
            .map(|item| {
                let text = item["tombstone"].as_str().context("no tombstone")?;
                Ok(SignedNote::parse(text.as_bytes())?)
            })
            .collect()
    }

    /// The verdicts that it serves.
    ///
    /// # Errors
    /// If they can't be had or read.
    pub async fn verdicts(&self) -> Result<Vec<Value>> {
        let page = self.json("/watchtower/verdicts").await?;
        Ok(page["items"].as_array().context("no items")?.clone())
    }

    /// The proof of a verdict, verified.
    ///
    /// # Errors
    /// If it can't be had, or proves nothing.
    pub async fn proof(&self, verdict: &Value) -> Result<ForkProof> {
        let path = verdict["proof_url"].as_str().context("no proof_url")?;
        let answer = reqwest::get(format!("{}{path}", self.plugin.http_url())).await?;
        let proof = ForkProof::decode(&answer.error_for_status()?.bytes().await?)?;
        let culprit = proof.verify()?;
        ensure!(verdict["culprit"] == culprit.key.to_string());
        ensure!(verdict["what"] == culprit.what.code());
        ensure!(verdict["origin"] == culprit.origin);
        Ok(proof)
    }

    /// Hands in a checkpoint; what is said of it.
    ///
    /// # Errors
    /// If it is not taken.
    pub async fn hand_in(&self, note: &SignedNote) -> Result<Value> {
        let url = format!("{}/watchtower/checkpoints", self.plugin.http_url());
        let request = reqwest::Client::new().post(url);
        let answer = request
            .json(&json!({"notes": [note.to_string()]}))
            .send()
            .await?;
        let body: Value = answer.error_for_status()?.json().await?;
        Ok(body["results"][0].clone())
    }

    /// Hands in a proof. The answer, whatever it is.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn hand_in_proof(&self, proof: &[u8]) -> Result<reqwest::Response> {
        let url = format!("{}/watchtower/proofs", self.plugin.http_url());
        let request = reqwest::Client::new().post(url).body(proof.to_vec());
        Ok(request.send().await?)
    }
}
