//! An agent at a plugin that keeps books while this wallet is away: beginning, handing books over, following what it does, taking
//! books back.
//!
//! For a pair at the agent this wallet signs nothing. What its store holds of the pair is a copy, replaced whenever the agent's has
//! changed. How far handing over got stands in the store, so that whoever opens the wallet next goes on there.

mod ask;
mod back;
mod follow;
mod hand;
mod home;
mod invoices;
mod seen;
mod settling;
mod tend;
mod turns;

use atomicity_ledger::record::{Delegation, DelegationLimit, Scope};
use atomicity_ledger::{Signed, SignerKey, Timestamp, Total, Unit, UserKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::access::Keys;
use super::create::{check_root, next_serial};
use super::{HistoryItem, RootKey, Wallet, exchange, now};
use crate::error::ClientError;
use crate::net::plugin::{
    AgentExchange, AgentOrder, AgentSettings, FileKey, PluginAddress, PluginClient,
};
use crate::net::{NetError, ServiceKey};
use crate::store::contacts::{self, ContactStatus};
use crate::store::pairs::agent::{self, AgentPairRow, AgentRow};
use crate::store::{logs, publications, settings, units};

pub use crate::store::pairs::agent::AgentStage;
pub(super) use back::keep_revocation;
pub use back::{TakenBack, TakenBackBy};
pub(super) use invoices::WANTED_HERE;
pub use seen::{AgentPairView, AgentSignature, AgentStatus};
pub(crate) use tend::Tended;

/// A delegation begins a little in the past, so that a peer whose clock is behind takes it.
const CLOCK_SLACK_MS: u64 = 10 * 60 * 1000;
/// The most peers that a delegation names.
const MAX_PEERS: usize = 64;
/// The most logs that an agent is told of.
const MAX_LOGS: usize = 16;

/// On which terms an agent keeps books.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AgentTerms {
    /// At which plugin; where the agent is, or the first of the user's plugins, if `None`.
    pub plugin: Option<PluginAddress>,
    /// When it ends by itself, Unix milliseconds.
    pub until: u64,
    /// Towards whom; towards every friend if `None`.
    pub peers: Option<Vec<UserKey>>,
    /// The most that the user may owe any one of them, by unit, in minor units. Other open units: what this device may.
    pub limits: Vec<(Unit, u64)>,
    /// The most that apps may have it issue on one day (UTC), by unit, in minor units.
    pub per_day: Vec<(Unit, u64)>,
}

impl AgentTerms {
    /// Towards every friend until then, with the limits of this device.
    #[must_use]
    pub fn until(until: u64) -> Self {
        Self {
            plugin: None,
            until,
            peers: None,
            limits: Vec::new(),
            per_day: Vec::new(),
        }
    }
}

impl Wallet {
    /// Lets an agent keep books: it makes a key, the root signs what the key may do, and the books of each peer are handed over.
    /// Asked again, it changes the terms and hands over what is not there yet.
    ///
    /// # Errors
    /// [`ClientError::AgentAway`] or [`ClientError::AgentRefused`] from the plugin; [`ClientError::Usage`] for terms that can't be;
    /// [`ClientError::BookKeyInUse`] and the like: nothing was handed over then. What goes wrong with single peers stands in the
    /// status, and is tried again by [`Wallet::sync`].
    pub async fn agent_on(
        &self,
        root: &RootKey,
        terms: &AgentTerms,
    ) -> Result<AgentStatus, ClientError> {
        check_root(root, self.user())?;
        self.ensure_may_sign().await?;
        let known = agent::get(&mut *self.store().read().await?).await?;
        let plugin = self.agent_plugin(known.as_ref(), terms).await?;
        let client = self.plugin_client(plugin.clone()).await?;
        let order = self.agent_order(terms.until, None, None).await?;
        let made = client.put_agent(&order).await.map_err(agent_error)?;
        let key = made.agent_key;
        if let Some(known) = known.as_ref().filter(|known| known.key != key) {
            self.nothing_with(known).await?;
        }
        let chosen = self.chosen_peers(terms).await?;
        let mut change = self.change().await?;
        let serial = next_serial(change.conn()).await?;
        let limits = limits(units::list(change.conn()).await?, terms)?;
        let delegation = Delegation {
            v: Default::default(),
            root: self.user(),
            key,
            scopes: vec![Scope::Book, Scope::Receive],
            peers: terms.peers.is_some().then(|| chosen.clone()),
            limits,
            not_before: Timestamp::from_millis(now().millis().saturating_sub(CLOCK_SLACK_MS))?,
            not_after: Timestamp::from_millis(terms.until)?,
            serial,
        };
        let delegation = Signed::sign(delegation, root.keypair())?;
        let same = known.filter(|known| known.key == key);
        let read = match same {
            Some(same) => (same.event, same.signature),
            None => read_before(change.conn(), &plugin).await?,
        };
        let row = AgentRow {
            plugin,
            key,
            until: terms.until,
            delegation: delegation.jws().to_owned(),
            storage: root.grant_files(&key, terms.until)?,
            stale: true,
            event: read.0,
            signature: read.1,
        };
        agent::put(change.conn(), &row).await?;
        plan_delegation(change.conn(), &row).await?;
        for user in chosen {
            let mut pair = agent::pair(change.conn(), &user)
                .await?
                .unwrap_or(AgentPairRow::wanted(user));
            pair.stale = true;
            agent::put_pair(change.conn(), &pair).await?;
        }
        change
            .note(HistoryItem {
                kind: "agent".to_owned(),
                note: Some(format!("{key} may keep books")),
                ..HistoryItem::default()
            })
            .await?;
        change.signed();
        change.commit().await?;
        self.flush().await?;
        let tended = self.tend_agent().await?;
        if let Some(error) = tended.failed {
            return Err(error);
        }
        self.agent_status().await
    }

    /// Books that another key keeps must come back before this one gets any.
    async fn nothing_with(&self, known: &AgentRow) -> Result<(), ClientError> {
        let pairs = agent::pairs(&mut *self.store().read().await?).await?;
        if pairs.iter().any(|pair| pair.stage != AgentStage::Wanted) {
            return Err(ClientError::Usage(format!(
                "the agent {} has ended, and books are still with it: `atomicity agent revoke` takes them over",
                known.key
            )));
        }
        Ok(())
    }

    async fn agent_plugin(
        &self,
        known: Option<&AgentRow>,
        terms: &AgentTerms,
    ) -> Result<PluginAddress, ClientError> {
        if let Some(known) = known {
            if terms
                .plugin
                .as_ref()
                .is_some_and(|plugin| plugin.key != known.plugin.key)
            {
                return Err(ClientError::Usage(format!(
                    "an agent is at the plugin {} already: end that one first with `atomicity agent off`",
                    known.plugin
                )));
            }
            return Ok(known.plugin.clone());
        }
        if let Some(plugin) = &terms.plugin {
            return Ok(plugin.clone());
        }
        let own = super::access::plugins(&mut *self.store().read().await?).await?;
        own.into_iter().next().ok_or_else(|| {
            ClientError::Usage("there is no plugin that could keep books: sign up with one, or name it with --plugin".to_owned())
        })
    }

    async fn chosen_peers(&self, terms: &AgentTerms) -> Result<Vec<UserKey>, ClientError> {
        let friends =
            contacts::list(&mut *self.store().read().await?, ContactStatus::Friend).await?;
        let mut chosen: Vec<UserKey> = match &terms.peers {
            Some(peers) => peers.clone(),
            None => friends.into_iter().map(|friend| friend.user).collect(),
        };
        chosen.sort();
        chosen.dedup();
        if terms.peers.is_some() {
            // Those who are there already stay.
            for pair in agent::pairs(&mut *self.store().read().await?).await? {
                if let Err(at) = chosen.binary_search(&pair.user) {
                    chosen.insert(at, pair.user);
                }
            }
            if chosen.len() > MAX_PEERS {
                return Err(ClientError::Usage(format!(
                    "at most {MAX_PEERS} friends can be named; leave them out to mean all"
                )));
            }
        }
        Ok(chosen)
    }

    /// What the agent is told, with the logs that this wallet relies on.
    pub(super) async fn agent_order(
        &self,
        until: u64,
        authority: Option<String>,
        storage: Option<String>,
    ) -> Result<AgentOrder, ClientError> {
        let mut conn = self.store().read().await?;
        let keys = Keys::load(&mut conn, self.user()).await?;
        let known = logs::list(&mut conn).await?;
        let rates = exchange::own(&mut conn).await?;
        drop(conn);
        let rates = rates.filter(|rates| !rates.rates.is_empty());
        let usable = self.logs().await?;
        let usable = |origin: &str| usable.iter().any(|log| log.usable && log.origin == origin);
        let (good, bad): (Vec<_>, Vec<_>) = known.into_iter().partition(|log| usable(&log.origin));
        let encryption = keys.encryption.iter().map(|secret| FileKey {
            n: secret.id().get(),
            secret: Zeroizing::new(URL_SAFE_NO_PAD.encode(*secret.to_bytes())),
        });
        Ok(AgentOrder {
            until,
            encryption: encryption.collect(),
            authority,
            storage,
            settings: AgentSettings {
                logs: good
                    .into_iter()
                    .map(|log| log.policy)
                    .take(MAX_LOGS)
                    .collect(),
                logs_refused: bad
                    .into_iter()
                    .map(|log| log.origin)
                    .take(MAX_PEERS)
                    .collect(),
                exchange: rates.map(|rates| AgentExchange {
                    rates: rates.rates,
                    until: rates.expires,
                }),
            },
        })
    }

    /// The terms of the agent that stands, prolonged: whom it keeps books with and how much it may sign stay as the user set them.
    ///
    /// # Errors
    /// What the store says.
    pub async fn agent_terms_until(&self, until: u64) -> Result<AgentTerms, ClientError> {
        let mut conn = self.store().read().await?;
        let known = agent::get(&mut conn).await?;
        let open = units::list(&mut conn).await?;
        let mut terms = AgentTerms::until(until);
        if let Some(known) = known {
            let word = delegation(&known)?;
            terms.peers = word.peers;
            let is_open = |unit: &Unit| open.iter().any(|open| open.unit == *unit);
            for limit in word.limits.into_iter().filter(|l| is_open(&l.unit)) {
                terms
                    .limits
                    .push((limit.unit.clone(), limit.per_peer.minor()));
                if let Some(day) = limit.per_day {
                    terms.per_day.push((limit.unit, day.minor()));
                }
            }
        }
        Ok(terms)
    }

    /// A client of a plugin that this user has a session at.
    pub(super) async fn plugin_client(
        &self,
        plugin: PluginAddress,
    ) -> Result<PluginClient, ClientError> {
        let session = self.session().await?;
        Ok(PluginClient::with_session(self.net(), plugin, &session))
    }

    /// The agent that keeps the books with `user`, if one does.
    pub(super) async fn agent_for(
        &self,
        user: &UserKey,
    ) -> Result<Option<PluginClient>, ClientError> {
        let mut conn = self.store().read().await?;
        if !agent::keeps(&mut conn, user).await? {
            return Ok(None);
        }
        let row = agent::get(&mut conn).await?;
        drop(conn);
        let row = row.ok_or(ClientError::StoreCorrupt {
            what: "the agent",
            why: "books are with it, but it is not there".to_owned(),
        })?;
        self.plugin_client(row.plugin).await.map(Some)
    }
}

/// Up to where an earlier agent at this plugin was read.
async fn read_before(
    conn: &mut sqlx::SqliteConnection,
    plugin: &PluginAddress,
) -> Result<(u64, u64), ClientError> {
    let text = settings::get(conn, settings::AGENT_READ).await?;
    let read: Option<(ServiceKey, u64, u64)> =
        text.and_then(|text| serde_json::from_str(&text).ok());
    let here = read.filter(|(key, _, _)| *key == plugin.key);
    Ok(here.map_or((0, 0), |(_, event, signature)| (event, signature)))
}

/// Plans to publish the root's word for the agent.
pub(crate) async fn plan_delegation(
    conn: &mut sqlx::SqliteConnection,
    row: &AgentRow,
) -> Result<(), ClientError> {
    let path = atomicity_ledger::authority::delegation_path(&row.key);
    let body = row.delegation.as_bytes();
    publications::put(conn, &path, Some(body), now().millis()).await
}

/// What the agent may owe any one peer: what was asked for, within what this device may.
fn limits(
    open: Vec<units::OpenUnit>,
    terms: &AgentTerms,
) -> Result<Vec<DelegationLimit>, ClientError> {
    for (unit, _) in terms.limits.iter().chain(&terms.per_day) {
        if !open.iter().any(|open| open.unit == *unit) {
            return Err(ClientError::UnitNotOpen(unit.clone()));
        }
    }
    let named = |list: &[(Unit, u64)], unit: &Unit| {
        let found = list.iter().find(|(named, _)| named == unit);
        found
            .map(|(_, minor)| Total::from_minor(*minor))
            .transpose()
    };
    let mut limits = Vec::new();
    for open in open {
        let device = open.cap.unwrap_or(Total::MAX);
        limits.push(DelegationLimit {
            per_peer: named(&terms.limits, &open.unit)?
                .unwrap_or(device)
                .min(device),
            per_day: named(&terms.per_day, &open.unit)?,
            unit: open.unit,
        });
    }
    limits.sort_by(|a, b| a.unit.cmp(&b.unit));
    Ok(limits)
}

/// What the plugin said, in the words of a user who has an agent there.
pub(super) fn agent_error(error: NetError) -> ClientError {
    match error {
        NetError::Refused { code, detail, .. } => ClientError::AgentRefused { code, detail },
        // Routes of an agent are there only where there are agents.
        NetError::HttpStatus { status: 404, .. } | NetError::NotFound(_) => {
            ClientError::AgentRefused {
                code: "agent_unknown",
                detail: "this plugin keeps no books for users".to_owned(),
            }
        }
        error if error.is_network() || error.is_retryable() => ClientError::AgentAway(error),
        other => other.into(),
    }
}

/// The delegation of the agent.
pub(super) fn delegation(row: &AgentRow) -> Result<Delegation, ClientError> {
    let signed: Signed<Delegation> =
        Signed::decode(&row.delegation).map_err(|error| ClientError::StoreCorrupt {
            what: "the agent's delegation",
            why: error.to_string(),
        })?;
    Ok(signed.record().clone())
}

/// Whether this key keeps the books now, by the copy at hand.
pub(super) fn keeps(pair: &atomicity_ledger::pair::Pair, key: SignerKey) -> bool {
    let book = pair.own().book();
    book.is_some_and(|book| book.record().key == key)
}
