//! The agent: it keeps the books of users who are away, towards the peers and within the limits that they chose, until they say stop.
//!
//! It holds no root key. Its own keys are sealed at rest ([`keys`]), every signature is stored before it leaves ([`change`]), and each
//! user can read what it signed. What comes in is found by its tag and applied pair by pair ([`intake`]); what goes out waits in an
//! outbox until the peer's inbox has it ([`deliver`]); promises are decided by the logs that are mirrored here ([`logs`]).
//!
//! Postgres is the only truth: what is kept in memory is made of it at the start. One process at a time keeps a database.

mod accounts;
mod adverts;
mod approvals;
pub mod books;
pub mod change;
mod collect;
pub mod config;
pub mod deliver;
pub mod engine;
pub mod files;
mod hanging;
pub mod http;
pub mod intake;
mod issue;
pub mod keeper;
pub mod keys;
pub mod logs;
pub mod lookup;
pub mod mark;
pub mod metrics;
pub mod numbers;
pub mod onward;
pub mod publish;
pub mod queue;
pub mod settings;
pub mod store;
pub mod told;
mod turns;
mod words;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use atomicity_ledger::record::Profile;
use atomicity_ledger::seal::{Agreement, EncryptionKey, KeyId};
use atomicity_ledger::{LedgerError, RecordHash, Signed, SignerKey, UserKey};
use tokio::sync::Notify;

use self::books::Books;
use self::config::AgentConfig;
use self::deliver::Deliveries;
use self::engine::{Cleanup, Desk};
use self::keeper::Keeper;
use self::logs::Logs;
use self::mark::Mark;
use self::metrics::AgentMetrics;
use self::numbers::Numbers;
use self::publish::Publications;
use self::queue::PairKey;
use self::words::Heard;
use crate::config::InboxConfig;
use crate::error::PluginError;
use crate::inbox::hub::Hub;
use crate::metrics::Metrics;

/// How many of a peer's encryption keys are still read.
const PEER_KEYS: usize = 2;

type Tags = HashMap<([u8; 32], [u8; 32]), Arc<Agreement>>;

struct Inner {
    config: AgentConfig,
    keepers: RwLock<HashMap<UserKey, Arc<Keeper>>>,
    tags: RwLock<Tags>,
    numbers: Numbers,
    work: Desk,
    books: Books,
    publications: Publications,
    deliveries: Deliveries,
    cleanup: Cleanup,
    hub: Hub,
    logs: Logs,
    heard: Heard,
    turns: Notify,
    mark: Mark,
    metrics: AgentMetrics,
}

/// The agents of all users. Cheap to clone.
#[derive(Clone)]
pub struct Agent(Arc<Inner>);

impl Agent {
    /// Nothing is read yet.
    ///
    /// # Errors
    /// [`PluginError::Internal`] if a metric is registered twice; [`PluginError::Config`] for a policy that is none.
    pub fn new(
        config: &AgentConfig,
        inbox: &InboxConfig,
        policies: &[String],
        data_dir: Option<PathBuf>,
        metrics: &Metrics,
    ) -> Result<Self, PluginError> {
        Ok(Self(Arc::new(Inner {
            config: config.clone(),
            keepers: RwLock::default(),
            tags: RwLock::default(),
            publications: Publications::default(),
            numbers: Numbers::default(),
            work: Desk::default(),
            books: Books::new(config.cache_mb.saturating_mul(1024 * 1024)),
            deliveries: Deliveries::default(),
            cleanup: Cleanup::default(),
            hub: Hub::new(inbox, metrics.clone()),
            logs: Logs::new(policies)?,
            heard: Heard::default(),
            turns: Notify::new(),
            mark: Mark::new(data_dir),
            metrics: AgentMetrics::new(metrics)?,
        })))
    }

    /// The section of the configuration.
    #[must_use]
    pub fn config(&self) -> &AgentConfig {
        &self.0.config
    }

    /// The counter of what is read in order.
    #[must_use]
    pub fn numbers(&self) -> &Numbers {
        &self.0.numbers
    }

    /// What is to be done.
    #[must_use]
    pub fn work(&self) -> &Desk {
        &self.0.work
    }

    /// Secrets that are on their way into a log.
    #[must_use]
    pub fn publications(&self) -> &Publications {
        &self.0.publications
    }

    /// Books that were worked on lately.
    #[must_use]
    pub fn books(&self) -> &Books {
        &self.0.books
    }

    /// What is being sent.
    #[must_use]
    pub fn deliveries(&self) -> &Deliveries {
        &self.0.deliveries
    }

    /// What is to be cleared away.
    #[must_use]
    pub fn cleanup(&self) -> &Cleanup {
        &self.0.cleanup
    }

    /// Wakes who waits for events.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// The logs that promises may hang on.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        &self.0.logs
    }

    /// When friends were last heard to vouch for somebody.
    fn heard(&self) -> &Heard {
        &self.0.heard
    }

    /// Rings when something of what recurs may be due.
    fn turns(&self) -> &Notify {
        &self.0.turns
    }

    /// The mark against a database that was restored.
    #[must_use]
    pub fn mark(&self) -> &Mark {
        &self.0.mark
    }

    /// Counters.
    #[must_use]
    pub fn metrics(&self) -> &AgentMetrics {
        &self.0.metrics
    }

    /// The agent of a user, if it is at work.
    #[must_use]
    pub fn keeper(&self, owner: &UserKey) -> Option<Arc<Keeper>> {
        let keepers = self.0.keepers.read();
        keepers
            .unwrap_or_else(PoisonError::into_inner)
            .get(owner)
            .cloned()
    }

    /// All that are at work.
    #[must_use]
    pub fn keepers(&self) -> Vec<Arc<Keeper>> {
        let keepers = self.0.keepers.read();
        let keepers = keepers.unwrap_or_else(PoisonError::into_inner);
        keepers.values().cloned().collect()
    }

    /// Puts a keeper in place of whatever was there, which signs nothing any more once this returns.
    pub async fn replace(&self, owner: &UserKey, keeper: Option<Arc<Keeper>>) {
        let before = {
            let mut keepers = self
                .0
                .keepers
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            match keeper {
                Some(keeper) => keepers.insert(*owner, keeper),
                None => keepers.remove(owner),
            }
        };
        if let Some(before) = before {
            before.retire().await;
        }
    }

    /// The agreement whose tag an envelope bears, if the agent keeps that pair.
    #[must_use]
    pub fn agreement(&self, owner: &[u8; 32], tag: &[u8; 32]) -> Option<Arc<Agreement>> {
        let tags = self.0.tags.read().unwrap_or_else(PoisonError::into_inner);
        tags.get(&(*owner, *tag)).cloned()
    }

    /// Takes the tags under which `peer` writes to `owner`, in place of those before.
    pub fn set_tags(&self, owner: &UserKey, peer: &UserKey, agreements: Vec<Agreement>) {
        let mut tags = self.0.tags.write().unwrap_or_else(PoisonError::into_inner);
        let owner_key = *owner.as_bytes();
        if agreements.is_empty() {
            tags.retain(|(of, _), known| *of != owner_key || known.from() != peer);
        }
        for agreement in agreements {
            tags.insert(
                (owner_key, *agreement.tag().as_bytes()),
                Arc::new(agreement),
            );
        }
    }

    /// Forgets all tags of a user.
    pub fn forget_tags(&self, owner: &UserKey) {
        let mut tags = self.0.tags.write().unwrap_or_else(PoisonError::into_inner);
        tags.retain(|(of, _), _| of != owner.as_bytes());
    }

    /// An envelope has been stored.
    pub fn arrived(&self, owner: &[u8; 32], tag: &[u8; 32], id: i64) {
        if let Some(agreement) = self.agreement(owner, tag) {
            let key = (*agreement.to(), *agreement.from());
            self.0.work.add(key, |work| work.envelopes.push(id));
        }
    }

    /// Something waits to be sent.
    pub fn deliver(&self, owner: UserKey, peer: UserKey) {
        self.0.deliveries.queue.add((owner, peer), |()| {});
    }

    /// Promises are to be looked at in the logs.
    pub fn look_at_logs(&self, key: PairKey, ious: &BTreeSet<RecordHash>) {
        self.0
            .work
            .add(key, |work| work.settle.extend(ious.iter().copied()));
    }
}

/// The encryption keys of a peer, newest first: from the profile, else the X25519 form of the root key.
///
/// # Errors
/// [`PluginError::Internal`] if a stored profile can't be read.
pub fn peer_keys(
    peer: &UserKey,
    profile: Option<&str>,
) -> Result<Vec<(KeyId, EncryptionKey)>, PluginError> {
    let internal = |error: LedgerError| PluginError::Internal(error.to_string());
    let Some(jws) = profile else {
        let key = EncryptionKey::of_root(peer).map_err(internal)?;
        return Ok(vec![(KeyId::ROOT, key)]);
    };
    let profile: Signed<Profile> = Signed::decode(jws).map_err(internal)?;
    let keys = profile.record().encryption.iter();
    Ok(keys.map(|entry| (entry.n, entry.key)).collect())
}

/// The agreements under which `peer` writes to the keeper's user, and answers the agent.
///
/// # Errors
/// [`PluginError::Internal`].
pub fn agreements(
    keeper: &Keeper,
    peer: &UserKey,
    profile: Option<&str>,
) -> Result<Vec<Agreement>, PluginError> {
    let mut found = Vec::new();
    for secret in keeper.secrets.iter().chain([&keeper.reply]) {
        for (id, key) in peer_keys(peer, profile)?.iter().take(PEER_KEYS) {
            let agreement = Agreement::incoming(&keeper.owner, secret, peer, key, *id)
                .map_err(|error| PluginError::Internal(error.to_string()))?;
            found.push(agreement);
        }
    }
    Ok(found)
}

/// What the rules of the books say no to.
fn refused(error: &LedgerError) -> PluginError {
    PluginError::Refused {
        code: error.code(),
        detail: error.to_string(),
    }
}

/// A key as the database has it.
fn signer(bytes: &[u8]) -> Result<SignerKey, PluginError> {
    <[u8; 32]>::try_from(bytes)
        .ok()
        .and_then(|bytes| SignerKey::from_bytes(bytes).ok())
        .ok_or_else(|| PluginError::Internal("the database holds a key that is none".to_owned()))
}
