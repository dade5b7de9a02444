//! Watchtowers: their verdicts are fetched and checked, and they are handed what this wallet was shown.

use std::time::Duration;

use atomicity_witness_log::ForkProof;

use super::pin::Seen;
use super::{ForkView, Log};
use crate::error::ClientError;
use crate::net::log::LogSite;
use crate::store::logs::{self, NoteRow};
use crate::store::watchtowers::{self, MAX_WATCHTOWERS, Watchtower};
use crate::wallet::{Wallet, now};
use atomicity_witness_log::SignedNote;

/// How long all that is said to one watchtower and heard of it may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// Pages of verdicts that are read at once.
const PAGES: usize = 20;
/// A watchtower is handed a checkpoint when the log has grown by this many entries since the last one.
const TELL_EVERY: u64 = 60;
/// Checkpoints that can't be compared are forgotten after this long, in milliseconds.
const KEEP_NOTES_MS: u64 = 7 * 24 * 60 * 60 * 1000;

impl Wallet {
    /// Asks this watchtower for verdicts from now on, and hands it what this wallet is shown.
    ///
    /// # Errors
    /// [`ClientError::Net`] if the address is none or nobody answers there.
    pub async fn add_watchtower(&self, url: &str) -> Result<Watchtower, ClientError> {
        let site = LogSite::new(self.net(), url)?.without("/watchtower")?;
        site.trust();
        tower(&site)?.verdicts(None).await?;
        let mut tx = self.store().write().await?;
        if watchtowers::list(tx.conn()).await?.len() >= MAX_WATCHTOWERS {
            return Err(ClientError::Usage(format!(
                "a wallet asks at most {MAX_WATCHTOWERS} watchtowers"
            )));
        }
        watchtowers::add(tx.conn(), site.address(), now().millis()).await?;
        let all = watchtowers::list(tx.conn()).await?;
        tx.commit().await?;
        let added = all.into_iter().find(|tower| tower.url == site.address());
        added.ok_or_else(|| ClientError::Internal("the watchtower was not kept".to_owned()))
    }

    /// The watchtowers that are asked.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn watchtowers(&self) -> Result<Vec<Watchtower>, ClientError> {
        watchtowers::list(&mut *self.store().read().await?).await
    }

    /// Asks a watchtower no more.
    ///
    /// # Errors
    /// [`ClientError::Usage`] if it was not asked.
    pub async fn remove_watchtower(&self, url: &str) -> Result<(), ClientError> {
        let site = LogSite::new(self.net(), url)?.without("/watchtower")?;
        let mut tx = self.store().write().await?;
        if !watchtowers::remove(tx.conn(), site.address()).await? {
            return Err(ClientError::Usage(format!(
                "{url} is no watchtower of this wallet"
            )));
        }
        tx.commit().await
    }

    /// Reads new verdicts of all watchtowers, and hands them what they don't know. Returns what is news here. One that does not
    /// answer is asked the next time.
    ///
    /// # Errors
    /// Only what the store says.
    pub(crate) async fn ask_watchtowers(&self) -> Result<Vec<ForkView>, ClientError> {
        let mut asked = Vec::new();
        for watchtower in self.watchtowers().await? {
            let site = LogSite::new(self.net(), &watchtower.url)?;
            // The user named it.
            site.trust();
            asked.push((tower(&site)?, watchtower));
        }
        let asking = asked.iter().map(|(site, watchtower)| async move {
            let talk = async {
                // First what they should know: they may have an answer to it.
                self.tell_tower(site, watchtower).await?;
                self.read_verdicts(site, watchtower).await
            };
            match tokio::time::timeout(PATIENCE, talk).await {
                Ok(Err(error @ (ClientError::Store(_) | ClientError::StoreFull))) => Err(error),
                Ok(Err(error)) => {
                    let (url, code) = (&watchtower.url, error.code());
                    tracing::info!(url, code, "a watchtower is of no use: {error}");
                    Ok(Vec::new())
                }
                Ok(found) => found,
                Err(_) => Ok(Vec::new()),
            }
        });
        let found = futures_util::future::try_join_all(asking).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The same if it was not done lately.
    pub(crate) async fn ask_watchtowers_again(&self) -> Result<Vec<ForkView>, ClientError> {
        if self.asks_towers() {
            self.ask_watchtowers().await
        } else {
            Ok(Vec::new())
        }
    }

    async fn read_verdicts(
        &self,
        site: &LogSite,
        watchtower: &Watchtower,
    ) -> Result<Vec<ForkView>, ClientError> {
        let known: Vec<String> = self
            .logs()
            .await?
            .into_iter()
            .map(|log| log.origin)
            .collect();
        let mut after = watchtower.after.clone();
        let mut news = Vec::new();
        for _ in 0..PAGES {
            let page = site.verdicts(after.as_deref()).await?;
            for item in &page.items {
                if known.contains(&item.origin) {
                    // Only the proof counts: whatever else a verdict says is not believed.
                    let proof = site.proof(&item.id).await?;
                    match ForkProof::decode(&proof) {
                        Ok(proof) if proof.verify().is_ok() => {
                            news.extend(self.caught(proof).await?);
                        }
                        _ => tracing::warn!(
                            url = watchtower.url,
                            id = item.id,
                            "a verdict has no proof"
                        ),
                    }
                }
            }
            let Some(last) = page.items.last() else { break };
            let mut tx = self.store().write().await?;
            watchtowers::read_up_to(tx.conn(), &watchtower.url, &last.id).await?;
            tx.commit().await?;
            after = Some(last.id.clone());
            if page.next.is_none() {
                break;
            }
        }
        Ok(news)
    }

    async fn tell_tower(&self, site: &LogSite, watchtower: &Watchtower) -> Result<(), ClientError> {
        let mut conn = self.store().read().await?;
        let url = watchtower.url.as_str();
        let mut notes = Vec::new();
        let mut sizes = Vec::new();
        for row in logs::list(&mut conn).await? {
            let told = watchtowers::told(&mut conn, url, &row.origin).await?;
            if let Some(note) = row
                .checkpoint
                .filter(|_| row.size >= told + TELL_EVERY || told == 0)
            {
                notes.push(note);
                sizes.push((row.origin, row.size));
            }
        }
        for note in logs::notes(&mut conn).await? {
            let what = format!("note {}", note.id);
            if watchtowers::told(&mut conn, url, &what).await? == 0 {
                notes.push(note.note);
                sizes.push((what, 1));
            }
        }
        let mut proofs = Vec::new();
        for fork in logs::forks(&mut conn).await? {
            let what = format!("fork {}", fork.culprit);
            if watchtowers::told(&mut conn, url, &what).await? == 0 {
                proofs.push((what, fork.proof));
            }
        }
        drop(conn);
        for batch in notes.chunks(16) {
            site.tell_checkpoints(batch).await?;
        }
        for (what, proof) in proofs {
            // One that it does not want (it does not watch that log) is not offered again.
            match site.tell_proof(&proof).await {
                Err(error) if error.is_retryable() => return Err(error.into()),
                _ => sizes.push((what, 1)),
            }
        }
        let mut tx = self.store().write().await?;
        for (what, size) in sizes {
            watchtowers::tell(tx.conn(), url, &what, size).await?;
        }
        tx.commit().await
    }

    /// Compares the checkpoints that others relied on with what the log shows this wallet. Returns what is news.
    ///
    /// # Errors
    /// Only what the store says.
    pub(crate) async fn compare_notes(&self) -> Result<Vec<ForkView>, ClientError> {
        let waiting = logs::notes(&mut *self.store().read().await?).await?;
        let mut news = Vec::new();
        for row in waiting {
            let done = match self.compare_note(&row).await {
                Ok(Seen::Fits) => true,
                Ok(Seen::Lie(found)) => {
                    news.extend(found);
                    true
                }
                Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
                Ok(Seen::Unclear)
                | Err(ClientError::Net(_) | ClientError::LogUnreadable { .. }) => {
                    now().millis().saturating_sub(row.seen_at) > KEEP_NOTES_MS
                }
                // It is no checkpoint of this log.
                Err(_) => true,
            };
            if done {
                let mut tx = self.store().write().await?;
                logs::drop_note(tx.conn(), row.id).await?;
                tx.commit().await?;
            }
        }
        Ok(news)
    }

    async fn compare_note(&self, row: &NoteRow) -> Result<Seen, ClientError> {
        let note = SignedNote::parse(row.note.as_bytes())?;
        let mut log: Log = self.log(&row.origin).await?;
        match self.examine(&mut log, &note).await {
            // The log may have to show more first.
            Ok(Seen::Unclear) | Err(ClientError::Net(_)) => {
                let found = self.refresh_pin(&mut log).await?;
                if !found.is_empty() {
                    return Ok(Seen::Lie(found));
                }
                self.examine(&mut log, &note).await
            }
            other => other,
        }
    }
}

/// The watchtower at a server.
fn tower(site: &LogSite) -> Result<LogSite, crate::net::NetError> {
    site.without("/watchtower")?.below("/watchtower")
}
