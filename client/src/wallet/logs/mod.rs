//! Witness logs: which of them this wallet knows, what they showed it, and whether they can be relied on.
//!
//! A log is known by its policy: its key, and whose cosignatures count. The newest checkpoint that counted is pinned, and a pin
//! never goes back: whatever else a log ever signs has to fit to it, or is the proof that the log lied.

mod dead;
mod pin;
mod towers;
mod view;
mod window;

use atomicity_ledger::PolicyHash;
use atomicity_ledger::pair::{KnownLog, KnownLogs};
use atomicity_ledger::record::MAX_TERM_LOGS;
use atomicity_ledger::text::{Address, ProofText};
use atomicity_witness_log::fork::Role;
use atomicity_witness_log::{Distrust, ForkProof, Liars, Policy, SignedNote, VerifierKey};
use sqlx::SqliteConnection;

pub use view::{CosignerView, ForkView, LogView};
use view::{view, words_of};

use super::{HistoryItem, Wallet, now};
use crate::error::ClientError;
use crate::net::log::LogSite;
use crate::store::logs::{self, ForkRow, LogRow, MAX_LOGS};
use crate::store::{parse_own, watchtowers};

/// The most logs that a credit line says to be refused.
const MAX_REFUSED: usize = 16;

/// A log that the wallet knows, ready for use.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) row: LogRow,
    pub(crate) policy: Policy,
    pub(crate) key: VerifierKey,
    pub(crate) site: LogSite,
}

impl Log {
    pub(crate) fn open(wallet: &Wallet, row: LogRow) -> Result<Self, ClientError> {
        let (policy, key) = read_policy(&row.policy, &row.origin)?;
        let site = LogSite::new(wallet.net(), &row.url)?;
        if row.named {
            site.trust();
        }
        Ok(Self {
            row,
            policy,
            key,
            site,
        })
    }

    /// The checkpoint that is pinned.
    pub(crate) fn pin(&self) -> Result<Option<SignedNote>, ClientError> {
        let pinned = self.row.checkpoint.as_ref();
        Ok(pinned
            .map(|note| SignedNote::parse(note.as_bytes()))
            .transpose()?)
    }
}

fn read_policy(text: &str, origin: &str) -> Result<(Policy, VerifierKey), ClientError> {
    let policy = Policy::parse(text.as_bytes())?;
    let key = policy.log(origin).map(|log| log.key.clone());
    let key = key.ok_or_else(|| ClientError::Malformed {
        what: "the policy".to_owned(),
        why: format!("it does not name the log {origin}"),
    })?;
    Ok((policy, key))
}

/// Why a log is not to be relied on any more, if it is so.
fn why_refused(row: &LogRow, forks: &[ForkRow]) -> Option<String> {
    let mine = || forks.iter().filter(|fork| fork.origin == row.origin);
    let mut liars = Liars::default();
    for fork in mine() {
        if let (Some(role), Ok(key)) = (Role::named(&fork.role), fork.culprit.parse()) {
            liars.add(role, &key);
        }
    }
    let distrust = match Policy::parse(row.policy.as_bytes()) {
        Ok(policy) => liars.distrust(&policy),
        Err(_) => (!liars.is_empty()).then_some(Distrust::Log),
    };
    match distrust {
        Some(Distrust::Log) => {
            let fork = mine().find(|fork| fork.role == Role::Log.name());
            let words = fork.map_or_else(|| "it lied".to_owned(), |fork| words_of(&fork.proof));
            return Some(format!("it is proven that {words}"));
        }
        Some(Distrust::Cosigners) => {
            let why =
                "it is proven of so many of its cosigners that they lied that no quorum is left";
            return Some(why.to_owned());
        }
        None => {}
    }
    row.refused.then(|| "you refuse it".to_owned())
}

/// The names of the logs that are not to be relied on.
pub(crate) async fn refused(conn: &mut SqliteConnection) -> Result<Vec<Address>, ClientError> {
    let forks = logs::forks(conn).await?;
    let rows = logs::list(conn).await?;
    let refused = rows.iter().filter(|row| why_refused(row, &forks).is_some());
    refused
        .take(MAX_REFUSED)
        .map(|row| parse_own(&row.origin, "the name of a log"))
        .collect()
}

/// What the ledger has to know about the logs.
pub(crate) async fn known(conn: &mut SqliteConnection) -> Result<KnownLogs, ClientError> {
    let forks = logs::forks(conn).await?;
    let mut known = KnownLogs::default();
    for row in logs::list(conn).await? {
        let hashes = logs::policies(conn, &row.origin).await?.into_iter();
        let policies = hashes
            .map(|(hash, _)| parse_own(&hash, "the hash of a policy"))
            .collect::<Result<_, _>>()?;
        let log = KnownLog {
            policies,
            newest_size: row.size,
            refused: why_refused(&row, &forks).is_some(),
        };
        known.insert(parse_own(&row.origin, "the name of a log")?, log);
    }
    Ok(known)
}

impl Wallet {
    /// Takes a log into the list of those that promises may hang on: from its address, or from the text of its policy. Its
    /// checkpoint is read and pinned.
    ///
    /// # Errors
    /// [`ClientError::Net`] if it can't be reached, [`ClientError::Log`] if the policy or the checkpoint is not what it should be,
    /// [`ClientError::LogRefused`] if it lied before.
    pub async fn add_log(&self, source: LogSource) -> Result<LogView, ClientError> {
        let (text, url) = match source {
            LogSource::Address(url) => {
                let site = LogSite::new(self.net(), &url)?;
                site.trust();
                (site.policy().await?, Some(site.address().to_owned()))
            }
            LogSource::Policy(text) => (text, None),
        };
        // What does not fit into a record can't be proven to anybody.
        ProofText::try_from(text.clone())?;
        let policy = Policy::parse(text.as_bytes())?;
        let [log] = policy.logs() else {
            return Err(ClientError::Malformed {
                what: "the policy".to_owned(),
                why: format!(
                    "it names {} logs, and here it must be one",
                    policy.logs().len()
                ),
            });
        };
        let origin = log.key.name().to_owned();
        origin.parse::<Address>()?;
        let named = url.is_some();
        let url = url.or_else(|| log.url.clone()).ok_or_else(|| {
            ClientError::Usage(
                "the policy does not say where the log is: give its address".to_owned(),
            )
        })?;
        LogSite::new(self.net(), &url)?;
        let hash = PolicyHash::of(&text).to_string();
        let mut tx = self.store().write().await?;
        let known = logs::list(tx.conn()).await?;
        if let Some(before) = known.iter().find(|row| row.origin == origin) {
            let (_, key) = read_policy(&before.policy, &origin)?;
            if key != log.key {
                return Err(ClientError::LogRefused {
                    origin,
                    why: "it was known with another key: a log with a new key needs a new name"
                        .to_owned(),
                });
            }
        } else if known.len() as u64 >= MAX_LOGS {
            return Err(ClientError::Usage(format!(
                "a wallet knows at most {MAX_LOGS} logs"
            )));
        }
        logs::put(
            tx.conn(),
            &origin,
            (&hash, &text),
            (&url, named),
            now().millis(),
        )
        .await?;
        watchtowers::read_again(tx.conn()).await?;
        // Promises may have waited for it.
        super::decide::want(tx.conn()).await?;
        tx.commit().await?;
        let mut log = self.log(&origin).await?;
        match self.refresh_pin(&mut log).await {
            Ok(_) => {}
            Err(error) if log.row.checkpoint.is_none() => {
                // A log that never showed a checkpoint is of no use; keep nothing.
                let mut tx = self.store().write().await?;
                logs::remove(tx.conn(), &origin).await?;
                tx.commit().await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        self.log_view(&origin).await
    }

    /// The logs that this wallet knows. Talks to nobody.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn logs(&self) -> Result<Vec<LogView>, ClientError> {
        let mut conn = self.store().read().await?;
        let forks = logs::forks(&mut conn).await?;
        let rows = logs::list(&mut conn).await?;
        rows.into_iter().map(|row| view(row, &forks)).collect()
    }

    /// Forgets a log; proofs against it are kept.
    ///
    /// # Errors
    /// [`ClientError::LogUnknown`], [`ClientError::LogInUse`] while undecided promises hang on it.
    pub async fn remove_log(&self, origin: &str) -> Result<(), ClientError> {
        let open = self.open_promises().await?;
        let needed = |open: &super::decide::Open| open.names(origin);
        if open.iter().any(needed) {
            return Err(ClientError::LogInUse(origin.to_owned()));
        }
        let mut tx = self.store().write().await?;
        if !logs::remove(tx.conn(), origin).await? {
            return Err(ClientError::LogUnknown(origin.to_owned()));
        }
        crate::store::windows::forget(tx.conn(), origin).await?;
        tx.commit().await
    }

    /// Refuses a log from now on, by the user's own word or by a proof that it lied.
    ///
    /// # Errors
    /// [`ClientError::LogUnknown`]; [`ClientError::Log`] if the proof proves nothing, [`ClientError::Malformed`] if it is about
    /// another log.
    pub async fn refuse_log(
        &self,
        origin: &str,
        proof: Option<&[u8]>,
    ) -> Result<LogView, ClientError> {
        let log = self.log(origin).await?;
        match proof {
            None => {
                let mut tx = self.store().write().await?;
                logs::set_refused(tx.conn(), origin, true).await?;
                tx.commit().await?;
            }
            Some(bytes) => {
                let proof = ForkProof::decode(bytes)?;
                let culprit = proof.verify()?;
                if culprit.origin != origin || !log.policy.names(&culprit.key) {
                    return Err(ClientError::Malformed {
                        what: "the proof".to_owned(),
                        why: format!("it is about {} in {}", culprit.key, culprit.origin),
                    });
                }
                self.caught(proof).await?;
            }
        }
        self.log_view(origin).await
    }

    /// Keeps a proof that somebody lied, after checking it. Returns it if it is news.
    pub(crate) async fn caught(&self, proof: ForkProof) -> Result<Option<ForkView>, ClientError> {
        let culprit = proof.verify()?;
        let row = ForkRow {
            origin: culprit.origin.clone(),
            culprit: culprit.key.to_string(),
            role: culprit.role.name().to_owned(),
            what: culprit.what.code().to_owned(),
            proof: proof.encode(),
            found_at: now().millis(),
        };
        let mut change = self.change().await?;
        let known = logs::get(change.conn(), &row.origin).await?;
        let ours = known
            .map(|row| read_policy(&row.policy, &row.origin))
            .transpose()?
            .is_some_and(|(policy, _)| policy.names(&culprit.key));
        if !ours || !logs::convict(change.conn(), &row).await? {
            return Ok(None);
        }
        change
            .note(HistoryItem {
                kind: "log_caught".to_owned(),
                note: Some(proof.to_string()),
                reference: Some(row.origin.clone()),
                ..HistoryItem::default()
            })
            .await?;
        change.commit().await?;
        Ok(Some(row.into()))
    }

    /// A log by its name.
    pub(crate) async fn log(&self, origin: &str) -> Result<Log, ClientError> {
        let row = logs::get(&mut *self.store().read().await?, origin).await?;
        let row = row.ok_or_else(|| ClientError::LogUnknown(origin.to_owned()))?;
        Log::open(self, row)
    }

    /// The logs on which a new promise is to hang: those named, or all that can be relied on.
    pub(crate) async fn logs_for_promise(
        &self,
        named: &[String],
        refused_by_friend: &[String],
    ) -> Result<Vec<Log>, ClientError> {
        let mut conn = self.store().read().await?;
        let forks = logs::forks(&mut conn).await?;
        let rows = logs::list(&mut conn).await?;
        drop(conn);
        let mut chosen = Vec::new();
        for name in named {
            let row = rows
                .iter()
                .find(|row| row.origin == *name || row.url == *name);
            let row = row.ok_or_else(|| ClientError::LogUnknown(name.clone()))?;
            if let Some(why) = why_refused(row, &forks) {
                let origin = row.origin.clone();
                return Err(ClientError::LogRefused { origin, why });
            }
            chosen.push(row.clone());
        }
        if named.is_empty() {
            let good = rows.into_iter().filter(|row| {
                why_refused(row, &forks).is_none() && !refused_by_friend.contains(&row.origin)
            });
            chosen = good.take(MAX_TERM_LOGS).collect();
        }
        if chosen.is_empty() {
            return Err(ClientError::NoLog);
        }
        chosen.sort_by(|a, b| a.origin.cmp(&b.origin));
        chosen.dedup_by(|a, b| a.origin == b.origin);
        chosen.into_iter().map(|row| Log::open(self, row)).collect()
    }

    async fn log_view(&self, origin: &str) -> Result<LogView, ClientError> {
        let mut conn = self.store().read().await?;
        let row = logs::get(&mut conn, origin).await?;
        let row = row.ok_or_else(|| ClientError::LogUnknown(origin.to_owned()))?;
        view(row, &logs::forks(&mut conn).await?)
    }
}

/// Where a log is taken from.
#[derive(Clone, Debug)]
pub enum LogSource {
    /// Its address.
    Address(String),
    /// The text of its policy.
    Policy(String),
}
