//! Secrets on whose hashes promises hang: making them, keeping them sealed, publishing them.

use std::time::Duration;

use atomicity_ledger::pair::{Pair, Promise, Standing};
use atomicity_ledger::record::LogProof;
use atomicity_ledger::seal::{open_private, seal_private};
use atomicity_ledger::text::ProofText;
use atomicity_ledger::{PaymentHash, Preimage, UserKey};
use zeroize::Zeroizing;

use super::access::Keys;
use super::books::{self, Change};
use super::event::WalletEvent;
use super::{HistoryItem, Wallet, decide, entropy, history, now, promise, routed};
use crate::error::ClientError;
use crate::net::log::PublishedAnswer;
use crate::net::{NetError, now_ms};
use crate::store::pairs::agent;
use crate::store::{contacts, logs, pairs, preimages};

pub use crate::store::preimages::KeptSecret;

/// How often a log is asked to publish, and how long is waited in between at most.
const ATTEMPTS: u32 = 3;
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A secret, by itself or by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretOrHash([u8; 32]);

impl SecretOrHash {
    /// Takes 32 bytes: a secret, or the hash of one that the wallet keeps.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// A secret that was published.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PublishedSecret {
    /// Its hash.
    pub hash: PaymentHash,
    /// The log in which it stands now; `None` if it was only shown to those who had promised.
    pub log: Option<String>,
    /// Where it stands.
    pub index: Option<u64>,
    /// The log's time of it, Unix milliseconds.
    pub time_ms: Option<u64>,
    /// What that changed.
    pub events: Vec<WalletEvent>,
}

/// A promise that hangs on the secret.
struct Hanging {
    user: UserKey,
    promise: Promise,
    own: bool,
}

impl Wallet {
    /// Draws a secret, keeps it sealed, and tells its hash.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be written.
    pub async fn new_secret(&self) -> Result<KeptSecret, ClientError> {
        let bytes = Zeroizing::new(entropy());
        let preimage = Preimage::from_bytes(*bytes);
        self.keep_secret(&preimage).await?;
        Ok(KeptSecret {
            hash: preimage.hash(),
            created_at: now().millis(),
            published_at: None,
        })
    }

    /// The secrets that are kept, without the secrets themselves.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn secrets(&self) -> Result<Vec<KeptSecret>, ClientError> {
        preimages::list(&mut *self.store().read().await?).await
    }

    /// The secret of a hash. Whoever knows it can publish it.
    ///
    /// # Errors
    /// [`ClientError::SecretUnknown`].
    pub async fn reveal_secret(&self, hash: &PaymentHash) -> Result<Preimage, ClientError> {
        let sealed = preimages::sealed(&mut *self.store().read().await?, hash).await?;
        let sealed = sealed.ok_or_else(|| ClientError::SecretUnknown(hash.to_string()))?;
        open(&self.keys().await?, hash, &sealed)
    }

    async fn keep_secret(&self, preimage: &Preimage) -> Result<(), ClientError> {
        let mut change = self.change().await?;
        keep_in(&mut change, preimage).await?;
        change.commit().await
    }

    /// Publishes a secret: in the log that is named, or in the first one that answers of those on which promises to this user
    /// hang. It waits for the proof, keeps it, and hands it to everybody whose promise is due by it.
    ///
    /// # Errors
    /// [`ClientError::SecretUnknown`]; [`ClientError::NothingToPublish`] if nothing would become due and no log is named;
    /// [`ClientError::LogUnknown`]; [`ClientError::Net`] if no log took it.
    pub async fn publish_secret(
        &self,
        what: SecretOrHash,
        log: Option<&str>,
    ) -> Result<PublishedSecret, ClientError> {
        self.ensure_may_sign().await?;
        let preimage = self.secret_of(what).await?;
        let hash = preimage.hash();
        let hanging = self.hanging_on(&hash).await?;
        let shown: Vec<&Hanging> = hanging
            .iter()
            .filter(|h| !h.own && h.promise.iou().record().terms.is_direct())
            .collect();
        let origins = match log {
            Some(name) => vec![self.log_named(name).await?],
            None => origins_for(&hanging),
        };
        if origins.is_empty() && shown.is_empty() {
            return Err(nothing_hangs(&hanging));
        }
        self.keep_secret(&preimage).await?;
        let published = match origins.is_empty() {
            true => None,
            false => Some(self.publish_in(&origins, &hanging, &preimage).await?),
        };
        let mut events = Vec::new();
        let mut users: Vec<UserKey> = hanging.iter().map(|h| h.user).collect();
        users.dedup();
        for user in users {
            let answer = published.as_ref();
            events.extend(self.hand_over(&user, &preimage, answer).await?);
        }
        let mut change = self.change().await?;
        let at = change.now.millis();
        preimages::published(change.conn(), &hash, at).await?;
        decide::want_logs(&mut change).await?;
        change.commit().await?;
        // From here on the publication stands; whatever fails now is only late.
        if let Err(error) = self.flush().await {
            tracing::warn!(
                code = error.code(),
                "the proof is kept and will be sent later"
            );
        }
        let (log, answer) = published.unzip();
        Ok(PublishedSecret {
            hash,
            log,
            index: answer.as_ref().map(|a| a.index),
            time_ms: answer.as_ref().map(|a| a.time_ms),
            events,
        })
    }

    async fn secret_of(&self, what: SecretOrHash) -> Result<Preimage, ClientError> {
        let as_hash = PaymentHash::from_bytes(what.0);
        match self.reveal_secret(&as_hash).await {
            Err(ClientError::SecretUnknown(_)) => {}
            found => return found,
        }
        if !self.hanging_on(&as_hash).await?.is_empty() {
            return Err(ClientError::SecretUnknown(as_hash.to_string()));
        }
        Ok(Preimage::from_bytes(what.0))
    }

    async fn log_named(&self, name: &str) -> Result<String, ClientError> {
        let known = self.logs().await?;
        let found = known
            .into_iter()
            .find(|log| log.origin == name || log.url == name);
        let found = found.ok_or_else(|| ClientError::LogUnknown(name.to_owned()))?;
        Ok(found.origin)
    }

    /// The promises on a hash that are not settled.
    async fn hanging_on(&self, hash: &PaymentHash) -> Result<Vec<Hanging>, ClientError> {
        let mut hanging = Vec::new();
        for row in pairs::with_promises(&mut *self.store().read().await?).await? {
            let pair: Pair = books::parse(&row.body)?;
            for promise in promise::all(&pair) {
                let iou = promise.iou().record();
                let open = matches!(promise.standing(), Standing::Undecided | Standing::Expired);
                if iou.terms.hash == *hash && open {
                    hanging.push(Hanging {
                        user: row.user,
                        own: iou.from == self.user(),
                        promise: promise.clone(),
                    });
                }
            }
        }
        Ok(hanging)
    }

    /// Publishes in the first of these logs that answers.
    async fn publish_in(
        &self,
        origins: &[String],
        hanging: &[Hanging],
        preimage: &Preimage,
    ) -> Result<(String, PublishedAnswer), ClientError> {
        let mut failure = ClientError::NoLog;
        for origin in origins {
            let log = self.log(origin).await?;
            let terms = hanging.iter().map(|h| &h.promise.iou().record().terms);
            let named = terms.flat_map(|terms| &terms.logs);
            let from = named
                .filter(|log| log.origin.as_str() == origin)
                .map(|log| log.from_size);
            let min_index = from.max().unwrap_or(0);
            for attempt in 1..=ATTEMPTS {
                match log.site.publish(preimage, min_index).await {
                    Ok(answer) => return Ok((origin.clone(), answer)),
                    // It may stand there already: asked again, a log answers for the entry that it has.
                    Err(error) if attempt < ATTEMPTS && is_busy(&error) => {
                        let wait = error.retry_after().unwrap_or(LONGEST_WAIT);
                        tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
                    }
                    Err(error) => {
                        failure = error.into();
                        break;
                    }
                }
            }
        }
        Err(failure)
    }

    /// Settles what hangs on the secret between this user and a friend, in one transaction.
    async fn hand_over(
        &self,
        user: &UserKey,
        preimage: &Preimage,
        published: Option<&(String, PublishedAnswer)>,
    ) -> Result<Vec<WalletEvent>, ClientError> {
        let mut change = self.change().await?;
        let Some(contact) = contacts::get(change.conn(), user).await? else {
            return Ok(Vec::new());
        };
        if agent::keeps(change.conn(), user).await? {
            // The agent reads the log itself.
            return Ok(Vec::new());
        }
        let mut pair = change.load(self.user(), *user).await?;
        let before = pair.clone();
        let hash = preimage.hash();
        let (mut events, mut records) = (Vec::new(), Vec::new());
        let me = self.user();
        let concerned = promise::all(&before).filter(|promise| {
            let iou = promise.iou().record();
            // Of the own direct ones, showing the secret is for the friend to do.
            iou.terms.hash == hash && !(iou.terms.is_direct() && iou.from == me)
        });
        for promise in concerned {
            let Some(proof) = proof_for(&mut change, promise, published).await? else {
                continue;
            };
            let (iou, now) = (promise.iou().hash(), change.now);
            match pair.publish(iou, *preimage, proof, &change.keys.pen, now) {
                Ok(done) => {
                    events.extend(done.events);
                    records.extend(done.records);
                }
                // Published too late, or under other terms: this promise is not due by it.
                Err(error) => tracing::info!(code = error.code(), "not due: {error}"),
            }
        }
        if pair == before {
            return Ok(Vec::new());
        }
        change.save(&pair).await?;
        decide::dispatch(&mut change, self.user(), &pair, records).await?;
        let again = events.clone();
        let mut told = history::tell(&mut change, (&before, &pair), &contact, events).await?;
        told.extend(routed::react(&mut change, self.user(), *user, &again).await?);
        if let Some((origin, _)) = published {
            change
                .note(HistoryItem {
                    user: Some(*user),
                    kind: "published".to_owned(),
                    reference: Some(hash.to_string()),
                    note: Some(format!("in {origin}")),
                    ..HistoryItem::default()
                })
                .await?;
        }
        change.commit().await?;
        Ok(told)
    }
}

/// Keeps a secret sealed, with whatever else the transaction holds.
pub(crate) async fn keep_in(change: &mut Change, preimage: &Preimage) -> Result<(), ClientError> {
    let hash = preimage.hash();
    let key = &change.keys.private;
    let sealed = seal_private(key, &seal_path(&hash), entropy(), preimage.as_bytes())?;
    let at = change.now.millis();
    preimages::put(change.conn(), &hash, &sealed, at).await
}

/// The secret of a hash, if it is kept here.
pub(crate) async fn kept_in(
    change: &mut Change,
    hash: &PaymentHash,
) -> Result<Option<Preimage>, ClientError> {
    let sealed = preimages::sealed(change.conn(), hash).await?;
    let opened = sealed.map(|sealed| open(&change.keys, hash, &sealed));
    opened.transpose()
}

fn open(keys: &Keys, hash: &PaymentHash, sealed: &[u8]) -> Result<Preimage, ClientError> {
    let opened = open_private(&keys.private, &seal_path(hash), sealed)?;
    let bytes: [u8; 32] = opened.as_slice().try_into().map_err(|_| corrupt())?;
    let preimage = Preimage::from_bytes(bytes);
    if preimage.hash() == *hash {
        Ok(preimage)
    } else {
        Err(corrupt())
    }
}

/// What shows that a promise is due: nothing more than the secret for a direct one, the log's proof for another. The outer
/// `None`: it hangs on another log.
async fn proof_for(
    change: &mut Change,
    promise: &Promise,
    published: Option<&(String, PublishedAnswer)>,
) -> Result<Option<Option<LogProof>>, ClientError> {
    let iou = promise.iou().record();
    if iou.terms.is_direct() {
        return Ok(Some(None));
    }
    let Some((origin, answer)) = published else {
        return Ok(None);
    };
    let mut logs_named = iou.terms.logs.iter();
    let Some(term) = logs_named.find(|log| log.origin.as_str() == origin) else {
        return Ok(None);
    };
    let wanted = term.policy_hash.to_string();
    let known = logs::policies(change.conn(), origin).await?;
    let policy = known.into_iter().find(|(hash, _)| *hash == wanted);
    let Some((_, policy)) = policy else {
        return Ok(None);
    };
    Ok(Some(Some(LogProof {
        policy: ProofText::try_from(policy)?,
        proof: ProofText::try_from(answer.proof.clone())?,
    })))
}

/// The logs of the promises to this user that can still become due; if there are none, those of the own ones.
fn origins_for(hanging: &[Hanging]) -> Vec<String> {
    let now = now_ms();
    let in_time = |h: &&Hanging| h.promise.iou().record().terms.deadline_ms > now;
    let mut origins: Vec<String> = Vec::new();
    for own in [false, true] {
        for one in hanging.iter().filter(|h| h.own == own).filter(in_time) {
            for log in &one.promise.iou().record().terms.logs {
                let origin = log.origin.to_string();
                if !origins.contains(&origin) {
                    origins.push(origin);
                }
            }
        }
        if !origins.is_empty() {
            break;
        }
    }
    origins
}

/// Whether a log that was reached may take it in a moment.
fn is_busy(error: &NetError) -> bool {
    error.is_retryable() && !error.is_network()
}

fn nothing_hangs(hanging: &[Hanging]) -> ClientError {
    let why = if hanging.is_empty() {
        "no undecided promise hangs on this secret"
    } else {
        "the time of every promise that hangs on it is over"
    };
    ClientError::NothingToPublish(why.to_owned())
}

/// Under which name a secret is sealed.
fn seal_path(hash: &PaymentHash) -> String {
    format!("/priv/atomicity/v0/secrets/{hash}")
}

fn corrupt() -> ClientError {
    ClientError::StoreCorrupt {
        what: "a secret",
        why: "it does not fit to its hash".to_owned(),
    }
}
