//! Friends: adding, renaming, removing, and everything about one of them.

use atomicity_ledger::pair::Pair;
use atomicity_ledger::{Name, SignerKey, Unit, UserKey};

use super::books::Change;
use super::view::{self, ChannelView};
use super::{Fault, Wallet, directory, flush, now, receive, units};
use crate::error::ClientError;
use crate::net::plugin::PluginAddress;
use crate::net::{Freshness, ServiceKey};
use crate::store::contacts::{self, Contact, ContactStatus};
use crate::store::history::HistoryItem;
use crate::store::inbox::{self, PendingRecord};
use crate::store::pairs::agent;
use crate::store::rules::grants;
use crate::store::{forwarding, outbox, pairs, settings};

/// How much of a key stands in for a name.
const SHORT_KEY: usize = 8;

/// A friend who was added.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Added {
    /// The contact as it stands now.
    pub contact: Contact,
    /// Whether their homeserver answered.
    pub reached: bool,
    /// Whether they published a profile.
    pub has_profile: bool,
    /// Where they take records.
    pub plugins: Vec<PluginAddress>,
    /// Units that they show to everybody.
    pub units: Vec<Unit>,
    /// Whether they had said hello before.
    pub was_pending: bool,
    /// What went wrong on the way; they are a friend all the same.
    pub warning: Option<Fault>,
}

/// What changed a limit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LimitChange {
    /// The friend.
    pub contact: Contact,
    /// The number of the line, for a credit line.
    pub seq: Option<u64>,
    /// How far the line got, for a credit line.
    pub delivery: Option<flush::Delivery>,
}

/// Everything about one friend.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FriendDetails {
    /// The contact.
    pub contact: Contact,
    /// This user's book towards them: epoch, key, and whether they acknowledged it.
    pub my_book: Option<(u64, SignerKey, bool)>,
    /// Their book towards this user: epoch and key.
    pub their_book: Option<(u64, SignerKey)>,
    /// Each unit.
    pub channels: Vec<ChannelView>,
    /// Units that are frozen: why, and the hashes of the records that prove it.
    pub frozen: Vec<(Unit, String, Vec<String>)>,
    /// Records of theirs that can't be judged yet.
    pub pending: Vec<PendingRecord>,
    /// When their file was last read, Unix milliseconds.
    pub reached_at: Option<u64>,
    /// Where they take records.
    pub plugins: Vec<PluginAddress>,
    /// Changes that still wait to be sent to them.
    pub outbox: u64,
}

impl Wallet {
    /// Adds somebody by their key, or renames and refreshes them. They are added even if they can't be reached now.
    ///
    /// # Errors
    /// [`ClientError::OwnKey`], [`ClientError::NameTaken`], [`ClientError::NoHomeserver`] before `signup`,
    /// [`ClientError::BookKeyInUse`].
    pub async fn add_friend(
        &self,
        user: &UserKey,
        name: Option<Name>,
    ) -> Result<Added, ClientError> {
        if *user == self.user() {
            return Err(ClientError::OwnKey);
        }
        self.ensure_may_sign().await?;
        let found = self.look_up(user).await;
        let (contact, was_pending) = self.commit_friend(user, name, &found).await?;
        self.forget_directory();
        let flushed = self.flush().await?;
        let mut warning = found.fault;
        if let Some((_, fault)) = flushed.unreachable.into_iter().find(|(who, _)| who == user) {
            warning.get_or_insert(fault);
        }
        if let Some(fault) = flushed.fault {
            warning.get_or_insert(fault);
        }
        if found.reached
            && let Err(error) = self.sync_friend(&contact).await
        {
            warning.get_or_insert(Fault::from(&error));
        }
        let profile = directory::profile(&contact)?;
        Ok(Added {
            plugins: flush::inboxes(&contact)?,
            units: profile
                .as_ref()
                .map_or_else(Vec::new, |p| p.record().units.clone()),
            has_profile: profile.is_some(),
            reached: found.reached,
            contact,
            was_pending,
            warning,
        })
    }

    async fn look_up(&self, user: &UserKey) -> Found {
        let home = self.net().home_of(user, Freshness::Cached).await;
        let mut found = Found::default();
        match &home {
            Ok(home) => found.homeserver = Some(*home),
            Err(error) => {
                found.fault = Some(Fault::from(&ClientError::Net(error.clone())));
                return found;
            }
        }
        let judged = match self.fetch_profile(user).await {
            Ok(Some(jws)) => receive::judge_profile(&jws, *user, None, now())
                .map(|profile| Some(profile.jws().to_owned()))
                .map_err(ClientError::from),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match judged {
            Ok(profile) => {
                found.reached = true;
                found.profile = profile;
            }
            Err(error) => found.fault = Some(Fault::from(&error)),
        }
        found
    }

    pub(super) async fn commit_friend(
        &self,
        user: &UserKey,
        name: Option<Name>,
        found: &Found,
    ) -> Result<(Contact, bool), ClientError> {
        let mut change = self.change().await?;
        // A friend of the user's own, even if a rule let them in before.
        grants::forget_let_in(change.conn(), user).await?;
        let done = self.befriend(&mut change, user, name, found).await?;
        change.commit().await?;
        Ok(done)
    }

    /// Makes somebody a friend within the transaction, and whether they were waiting for it.
    pub(super) async fn befriend(
        &self,
        change: &mut Change,
        user: &UserKey,
        name: Option<Name>,
        found: &Found,
    ) -> Result<(Contact, bool), ClientError> {
        let now = change.now.millis();
        let known = contacts::get(change.conn(), user).await?;
        let was_friend = receive::is_friend(known.as_ref());
        let was_pending = known
            .as_ref()
            .is_some_and(|known| known.status == ContactStatus::Pending);
        let mut contact = known.unwrap_or_else(|| Contact::new(*user, now));
        if !was_friend {
            contact.status = ContactStatus::Friend;
            contact.added_at = now;
        }
        if let Some(profile) = &found.profile
            && is_newer(profile, &contact)?
        {
            contact.profile = Some(profile.clone());
            contact.profile_at = Some(now);
        }
        if let Some(home) = found.homeserver {
            contact.homeserver = Some(home.to_z32());
        }
        contact.name = match name {
            Some(name) => name.as_str().to_owned(),
            None if was_friend => contact.name,
            None => free_name(change.conn(), &contact).await?,
        };
        contacts::put(change.conn(), &contact).await?;
        for stale in [settings::TAGS_STALE, settings::CONTACTS_STALE] {
            settings::set(change.conn(), stale, "1").await?;
        }
        let mut pair = change.load(self.user(), *user).await?;
        if pair.own().book().is_none() {
            self.say_hello(change, &mut pair).await?;
        }
        if !was_friend {
            change
                .note(HistoryItem {
                    user: Some(*user),
                    kind: "friend".to_owned(),
                    note: Some("added".to_owned()),
                    ..HistoryItem::default()
                })
                .await?;
        }
        Ok((contact, was_pending))
    }

    /// Opens the first book towards somebody, and tells them who we are.
    async fn say_hello(&self, change: &mut Change, pair: &mut Pair) -> Result<(), ClientError> {
        let pen = change.keys.pen.clone();
        let book = units::open_book(change, pair, &pen).await?;
        change.save(pair).await?;
        let mut hello = Vec::new();
        hello.extend(settings::get(change.conn(), settings::PROFILE).await?);
        hello.extend(book);
        change.send(&pair.peer(), &hello).await
    }

    /// Friends, by name.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn friends(&self) -> Result<Vec<Contact>, ClientError> {
        contacts::list(&mut *self.store().read().await?, ContactStatus::Friend).await
    }

    /// Strangers who said hello. They have no credit until they are added.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn strangers(&self) -> Result<Vec<Contact>, ClientError> {
        contacts::list(&mut *self.store().read().await?, ContactStatus::Pending).await
    }

    /// Removes a friend: their credit lines are closed. With `force` also while something is owed; the books are kept.
    ///
    /// # Errors
    /// [`ClientError::NotSettled`] if something is owed and `force` is not set.
    pub async fn remove_friend(&self, user: &UserKey, force: bool) -> Result<(), ClientError> {
        self.ensure_may_sign().await?;
        self.bring_home(user).await?;
        let mut change = self.change().await?;
        let mut contact = contacts::get(change.conn(), user)
            .await?
            .ok_or_else(|| ClientError::UnknownFriend(user.to_z32()))?;
        if agent::keeps(change.conn(), user).await? {
            return Err(ClientError::WithAgent(contact.name));
        }
        let mut pair = change.load(self.user(), *user).await?;
        let open = pair
            .units()
            .iter()
            .any(|unit| pair.balance(unit).minor() != 0);
        if open && !force {
            agent::may_go(change.conn(), user).await?;
            change.commit().await?;
            return Err(ClientError::NotSettled(contact.name));
        }
        agent::remove_pair(change.conn(), user).await?;
        let closed = super::lines::close_all(&mut change, &mut pair).await?;
        if !closed.is_empty() {
            change.save(&pair).await?;
            change.send(user, &closed).await?;
        }
        contact.status = ContactStatus::Removed;
        contacts::put(change.conn(), &contact).await?;
        grants::forget_let_in(change.conn(), user).await?;
        forwarding::remove(change.conn(), Some(user), None).await?;
        forwarding::look_again(change.conn()).await?;
        for stale in [settings::TAGS_STALE, settings::CONTACTS_STALE] {
            settings::set(change.conn(), stale, "1").await?;
        }
        change
            .note(HistoryItem {
                user: Some(*user),
                kind: "friend".to_owned(),
                note: Some("removed".to_owned()),
                ..HistoryItem::default()
            })
            .await?;
        change.commit().await?;
        self.forget_directory();
        self.flush().await?;
        Ok(())
    }

    /// Everything about one friend. Talks to nobody.
    ///
    /// # Errors
    /// [`ClientError::UnknownFriend`], or what the store says.
    pub async fn inspect(&self, user: &UserKey) -> Result<FriendDetails, ClientError> {
        let mut conn = self.store().read().await?;
        let contact = contacts::get(&mut conn, user)
            .await?
            .ok_or_else(|| ClientError::UnknownFriend(user.to_z32()))?;
        let pair = super::books::load(&mut conn, self.user(), *user).await?;
        let row = pairs::get(&mut conn, user).await?;
        let frozen = pair.units().into_iter().filter_map(|unit| {
            let frozen = pair.frozen(&unit)?;
            let hashes = frozen
                .records
                .iter()
                .map(|jws| atomicity_ledger::RecordHash::of(jws).to_string());
            Some((unit, frozen.why.clone(), hashes.collect()))
        });
        Ok(FriendDetails {
            my_book: pair.own().book().map(|book| {
                let acknowledged = pair.own().book_ack().is_some();
                (book.record().epoch.get(), book.record().key, acknowledged)
            }),
            their_book: pair
                .theirs()
                .book()
                .map(|book| (book.record().epoch.get(), book.record().key)),
            frozen: frozen.collect(),
            channels: view::channels(&mut conn, &pair, &contact).await?,
            pending: inbox::held(&mut conn, user).await?,
            reached_at: row.and_then(|row| row.peer_read_at),
            plugins: flush::inboxes(&contact)?,
            outbox: outbox::waiting(&mut conn, Some(user)).await?.0,
            contact,
        })
    }
}

/// What looking somebody up brought.
#[derive(Debug, Default)]
pub(super) struct Found {
    homeserver: Option<ServiceKey>,
    pub(super) profile: Option<String>,
    reached: bool,
    fault: Option<Fault>,
}

fn is_newer(jws: &str, contact: &Contact) -> Result<bool, ClientError> {
    let known = directory::profile(contact)?;
    let found: atomicity_ledger::Signed<atomicity_ledger::record::Profile> =
        atomicity_ledger::Signed::decode(jws)?;
    Ok(known.is_none_or(|known| found.record().serial > known.record().serial))
}

/// A name that no other friend bears: what they call themselves, else the beginning of their key.
async fn free_name(
    conn: &mut sqlx::SqliteConnection,
    contact: &Contact,
) -> Result<String, ClientError> {
    let key = contact.user.to_z32();
    let short: String = key.chars().take(SHORT_KEY).collect();
    let own = directory::profile(contact)?
        .and_then(|profile| profile.record().name.as_ref().map(ToString::to_string));
    let candidates = [
        own.clone(),
        own.map(|name| format!("{name} ({short})")),
        Some(short),
    ];
    for name in candidates.into_iter().flatten() {
        let bearer = contacts::by_name(conn, &name).await?;
        if bearer.is_none_or(|bearer| bearer.user == contact.user) {
            return Ok(name);
        }
    }
    Ok(key)
}
