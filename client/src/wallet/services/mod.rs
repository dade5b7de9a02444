//! Routers, logs, cosigners and watchtowers: found on Mainline or named by the user, rated by people, asked in that order.
//!
//! None is built in. Whoever is announced on the DHT has to prove a key, and is worth no more than that until somebody whom the user
//! trusts, or the user's own experience, says more.

mod rank;
mod ratings;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use atomicity_ledger::UserKey;
use atomicity_ledger::record::Verdict;
use serde_json::Value;
use sqlx::SqliteConnection;

use super::{Wallet, now};
use crate::error::ClientError;
use crate::net::plugin::{PluginAddress, PluginClient};
use crate::net::{Discovered, Dropped, Found, NetError, Role, roles_of};
use crate::store::contacts::{self, ContactStatus};
use crate::store::ratings as kept;
use crate::store::services::{self, ServiceRow};

pub use crate::store::services::Stance;
pub use rank::{Excluded, Tally};
use rank::{Opinion, Record};
pub(super) use ratings::verdict_of;
pub(in crate::wallet) use ratings::{FOLLOWS, FOLLOWS_OF_FRIEND, Judge, MAX_LISTED, RATINGS};
pub use ratings::{Rated, RatingView, rating_kind_name, verdict_name};

/// Most services named by the user that are asked in a search.
const MAX_NAMED: usize = 32;
/// Providers of a role are looked for again when the last search is this old, in milliseconds.
const SEARCH_EVERY_MS: u64 = 60 * 60 * 1000;
/// And if there are too few of them, when it is this old.
const SEARCH_AGAIN_MS: u64 = 60 * 1000;

/// A service, as the wallet knows it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServiceView {
    /// Its key.
    pub key: UserKey,
    /// What the user decided about it.
    pub stance: Option<Stance>,
    /// What it offers, as it said when it last proved its key: role and description.
    pub roles: Vec<(Role, Value)>,
    /// Where it last proved its key. It is reached by the key.
    pub address: Option<String>,
    /// Its version.
    pub version: String,
    /// When it last proved its key, Unix milliseconds.
    pub proven_at: Option<u64>,
    /// How long its last answer took, in milliseconds.
    pub latency_ms: Option<u64>,
    /// How often it did what it was asked.
    pub successes: u64,
    /// How often it did not.
    pub failures: u64,
    /// When it last did not, Unix milliseconds.
    pub failed_at: Option<u64>,
    /// The user's own rating.
    pub rating: Option<Verdict>,
    /// What friends say.
    pub tally: Tally,
    /// Why it is not asked, if it is not.
    pub excluded: Option<Excluded>,
}

/// What a search brought.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Search {
    /// Those who proved their key and the role just now.
    pub found: Vec<UserKey>,
    /// Addresses that were of no use.
    pub dropped: Vec<Dropped>,
}

impl Wallet {
    /// The services that this wallet knows, those of one role or all, in the order in which they are asked; those that are not asked
    /// come last. Talks to nobody.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn services(&self, role: Option<Role>) -> Result<Vec<ServiceView>, ClientError> {
        let mut conn = self.store().read().await?;
        let rows = services::list(&mut conn).await?;
        let said = Said::load(&mut conn, self.user()).await?;
        drop(conn);
        let mut all: Vec<(ServiceRow, Record)> = rows
            .into_iter()
            .filter(|row| role.is_none_or(|role| offers(row, role)))
            .map(|row| {
                let record = said.record_of(&row);
                (row, record)
            })
            .collect();
        rank::sort(&mut all, |(_, record)| record);
        Ok(all
            .into_iter()
            .map(|(row, record)| view(row, &record))
            .collect())
    }

    /// Looks for providers of a role on the DHT, has each prove its key, and remembers those who did. Asks those whom the user named too.
    ///
    /// # Errors
    /// [`ClientError::Net`] if nobody on the DHT answers, and nobody was named; what the store says.
    pub async fn find_services(&self, role: Role) -> Result<Search, ClientError> {
        let (heard, named) = tokio::join!(self.net().discover(role), self.ask_named());
        let named = named?;
        let Discovered { found, dropped, .. } = match heard {
            Ok(discovered) => discovered,
            Err(_) if !named.is_empty() => Discovered::default(),
            Err(error) => return Err(error.into()),
        };
        let at = now().millis();
        let mut tx = self.store().write().await?;
        for service in found.iter().chain(&named) {
            services::proven(tx.conn(), service, at).await?;
        }
        services::note_search(tx.conn(), role, at).await?;
        tx.commit().await?;
        let offering = |service: &&Found| service.roles.iter().any(|(offered, _)| *offered == role);
        let mut keys: Vec<UserKey> = found
            .iter()
            .chain(&named)
            .filter(offering)
            .map(|service| service.key)
            .collect();
        keys.sort_unstable();
        keys.dedup();
        Ok(Search {
            found: keys,
            dropped,
        })
    }

    /// At most `wanted` providers of a role, best first, for work to be done now. Looks for some if too few are known, or none was looked
    /// for in the last hour.
    ///
    /// # Errors
    /// Only what the store says: with a silent DHT the known ones have to do.
    pub async fn services_for(
        &self,
        role: Role,
        wanted: usize,
    ) -> Result<Vec<ServiceView>, ClientError> {
        let usable = |all: Vec<ServiceView>| -> Vec<ServiceView> {
            let usable = all.into_iter().filter(|service| service.excluded.is_none());
            usable.take(wanted).collect()
        };
        let known = usable(self.services(Some(role)).await?);
        let searched = services::searched(&mut *self.store().read().await?, role).await?;
        let age = now().millis().saturating_sub(searched.unwrap_or(0));
        let too_old = if known.len() < wanted {
            SEARCH_AGAIN_MS
        } else {
            SEARCH_EVERY_MS
        };
        if age < too_old {
            return Ok(known);
        }
        match self.find_services(role).await {
            Ok(_) => Ok(usable(self.services(Some(role)).await?)),
            Err(ClientError::Net(error)) => {
                tracing::info!(code = error.code(), "no services found: {error}");
                Ok(known)
            }
            Err(error) => Err(error),
        }
    }

    /// Notes how a service fared: how long it took to answer, or that it failed.
    ///
    /// # Errors
    /// What the store says.
    pub async fn note_service(
        &self,
        key: &UserKey,
        took: Option<Duration>,
    ) -> Result<(), ClientError> {
        let took = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        let mut tx = self.store().write().await?;
        services::fared(tx.conn(), key, took, now().millis()).await?;
        tx.commit().await
    }

    /// Chooses or blocks a service, or takes either back with `None`. One that is chosen is asked what it offers.
    ///
    /// # Errors
    /// [`ClientError::Net`] if a chosen one can't be reached by its key: it is kept all the same; what the store says.
    pub async fn decide_service(
        &self,
        key: &UserKey,
        stance: Option<Stance>,
    ) -> Result<Option<ServiceView>, ClientError> {
        if *key == self.user() {
            return Err(ClientError::OwnKey);
        }
        let mut tx = self.store().write().await?;
        services::decide(tx.conn(), key, stance, now().millis()).await?;
        tx.commit().await?;
        if stance == Some(Stance::Named) {
            let found = self.ask_by_key(key).await?;
            let mut tx = self.store().write().await?;
            services::proven(tx.conn(), &found, now().millis()).await?;
            tx.commit().await?;
        }
        let all = self.services(None).await?;
        Ok(all.into_iter().find(|service| service.key == *key))
    }

    /// Asks all whom the user named what they offer. One that does not answer is left out, and that is noted.
    async fn ask_named(&self) -> Result<Vec<Found>, ClientError> {
        let rows = services::list(&mut *self.store().read().await?).await?;
        let named = rows
            .iter()
            .filter(|row| row.stance == Some(Stance::Named))
            .take(MAX_NAMED);
        let asking = named.map(|row| async move { (row.key, self.ask_by_key(&row.key).await) });
        let mut found = Vec::new();
        for (key, answer) in futures_util::future::join_all(asking).await {
            match answer {
                Ok(service) => found.push(service),
                Err(error) => {
                    tracing::info!(%key, code = error.code(), "a service does not answer: {error}");
                    self.note_service(&key, None).await?;
                }
            }
        }
        Ok(found)
    }

    /// Reaches a service by its key, which its packet on the DHT and the handshake vouch for.
    async fn ask_by_key(&self, key: &UserKey) -> Result<Found, NetError> {
        self.net().trust(key);
        let begun = std::time::Instant::now();
        let address = PluginAddress {
            key: *key,
            url: None,
        };
        let info = PluginClient::new(self.net(), address).info().await?;
        Ok(Found::by_key(
            *key,
            begun.elapsed(),
            &info.version,
            roles_of(&info.roles),
        ))
    }
}

fn offers(row: &ServiceRow, role: Role) -> bool {
    row.roles.iter().any(|(offered, _)| *offered == role)
}

/// What everybody whose word counts says.
struct Said {
    me: UserKey,
    friends: BTreeSet<UserKey>,
    /// By which friends somebody is followed.
    followed_by: BTreeMap<UserKey, Vec<UserKey>>,
    /// What is said of a service, and by whom.
    about: BTreeMap<UserKey, Vec<(UserKey, Verdict)>>,
}

impl Said {
    async fn load(conn: &mut SqliteConnection, me: UserKey) -> Result<Self, ClientError> {
        let friends = contacts::list(conn, ContactStatus::Friend).await?;
        let friends: BTreeSet<UserKey> = friends.into_iter().map(|friend| friend.user).collect();
        let mut followed_by: BTreeMap<UserKey, Vec<UserKey>> = BTreeMap::new();
        for (friend, user) in kept::follows(conn).await? {
            if friends.contains(&friend) {
                followed_by.entry(user).or_default().push(friend);
            }
        }
        let mut about: BTreeMap<UserKey, Vec<(UserKey, Verdict)>> = BTreeMap::new();
        for (author, subject, verdict) in kept::about_services(conn).await? {
            let verdict = ratings::verdict_of(&verdict)?;
            about.entry(subject).or_default().push((author, verdict));
        }
        Ok(Self {
            me,
            friends,
            followed_by,
            about,
        })
    }

    /// Everything that the order depends on.
    fn record_of(&self, row: &ServiceRow) -> Record {
        let mut own = None;
        let mut opinions = Vec::new();
        for (author, verdict) in self.about.get(&row.key).into_iter().flatten() {
            if *author == self.me {
                own = Some(*verdict);
                continue;
            }
            let introduced_by = if self.friends.contains(author) {
                None
            } else {
                Some(self.followed_by.get(author).cloned().unwrap_or_default())
            };
            opinions.push(Opinion {
                author: *author,
                introduced_by,
                verdict: *verdict,
            });
        }
        Record {
            key: row.key,
            named: row.stance == Some(Stance::Named),
            blocked: row.stance == Some(Stance::Blocked),
            own,
            opinions,
            successes: row.successes,
            failures: row.failures,
            latency_ms: row.latency_ms,
        }
    }
}

fn view(row: ServiceRow, record: &Record) -> ServiceView {
    let (excluded, tally) = rank::judge(record);
    let described =
        |(role, text): (Role, String)| (role, serde_json::from_str(&text).unwrap_or(Value::Null));
    ServiceView {
        key: row.key,
        stance: row.stance,
        roles: row.roles.into_iter().map(described).collect(),
        address: row.address,
        version: row.version,
        proven_at: row.proven_at,
        latency_ms: row.latency_ms,
        successes: row.successes,
        failures: row.failures,
        failed_at: row.failed_at,
        rating: record.own,
        tally,
        excluded,
    }
}
