//! A fresh wallet from the root key alone.
//!
//! Everything is found on homeservers: who the friends are in the sealed contact list, what was signed in one's own channel files
//! and in those of the friends. Every other session and device ends, the encryption keys change, and each pair begins a new epoch
//! under a fresh book key by the root's word. Until a friend has acknowledged that, nothing can be issued to them.

mod published;

use std::collections::BTreeMap;

use atomicity_ledger::channel_file::ChannelFile;
use atomicity_ledger::pair::{self, Pair};
use atomicity_ledger::record;
use atomicity_ledger::seal::{
    Agreement, EncryptionKey, EncryptionSecret, KeyId, MAX_CHANNEL_FILE_BYTES, channel_path,
    open_channel_file,
};
use atomicity_ledger::{AnyRecord, SignerKey, Total, Unit, UserKey};
use futures_util::{StreamExt as _, stream};

use super::create::{check_root, new_device};
use super::signup::PluginRegistration;
use super::view::{self, ChannelView};
use super::{
    ChannelState, Contact, ContactStatus, Fault, HistoryItem, RootKey, Wallet, access,
    contact_list, directory, now, receive, units,
};
use crate::config::Config;
use crate::error::ClientError;
use crate::net::plugin::PluginAddress;
use crate::net::session::{self, HomeSession};
use crate::net::{Freshness, NetError, ServiceKey, Target};
use crate::store::pairs::agent;
use crate::store::{contacts, pairs, settings};
use published::Published;
pub(crate) use published::{plan_revocation, plan_revocations};

/// Friends who are looked up side by side.
const FRIENDS_AT_ONCE: usize = 32;

/// A friend whose books were put together again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecoveredFriend {
    /// The contact.
    pub contact: Contact,
    /// The epoch that began.
    pub epoch: Option<u64>,
    /// Whether the friend has acknowledged it.
    pub state: ChannelState,
    /// Each unit.
    pub channels: Vec<ChannelView>,
}

/// A wallet that was recovered.
#[derive(Debug)]
#[non_exhaustive]
pub struct Recovered {
    /// The wallet.
    pub wallet: Wallet,
    /// The new book key.
    pub book_key: SignerKey,
    /// The user's homeserver.
    pub homeserver: ServiceKey,
    /// The friends.
    pub friends: Vec<RecoveredFriend>,
    /// The plugins that take records.
    pub plugins: Vec<PluginRegistration>,
    /// Devices whose authority was ended.
    pub revoked: Vec<SignerKey>,
    /// What did not work, in words.
    pub warnings: Vec<String>,
}

/// What was found of one friend.
struct Found {
    contact: Contact,
    mine: Vec<AnyRecord>,
    held: Vec<AnyRecord>,
    authority: Vec<String>,
    /// Where the old channel file lies.
    old_path: Option<String>,
    fault: Option<Fault>,
}

impl Found {
    fn knows_nothing(&self) -> bool {
        self.mine.is_empty() && self.held.is_empty()
    }
}

impl Wallet {
    /// Recovers a user's wallet into the configured folder. Called again with the same root key, it goes on with friends who could
    /// not be reached before.
    ///
    /// # Errors
    /// [`ClientError::WalletExists`] if another user's wallet is there; [`ClientError::Net`] if the user's homeserver can't be
    /// reached; what the store says.
    pub async fn recover(
        config: &Config,
        root: &RootKey,
        passphrase: &str,
        plugins: &[PluginAddress],
    ) -> Result<Recovered, ClientError> {
        let wallet = match Self::open(config).await {
            Ok(wallet) if wallet.user() == root.user() => wallet,
            Ok(_) => return Err(ClientError::WalletExists(config.home.clone())),
            Err(ClientError::NoWallet(_)) => {
                Self::create(config, root, passphrase, None).await?.wallet
            }
            Err(error) => return Err(error),
        };
        check_root(root, wallet.user())?;
        let mut warnings = Vec::new();
        let revoked = if wallet.has_taken_over().await? {
            Vec::new()
        } else {
            wallet.take_over(root, plugins, &mut warnings).await?
        };
        let homeserver = *wallet.session().await?.homeserver();
        let known = access::plugins(&mut *wallet.store().read().await?).await?;
        let registrations = wallet.register(&known).await?;
        wallet.recover_friends(root, &mut warnings).await?;
        wallet.seize_generation().await?;
        wallet.flush().await?;
        let synced = wallet.sync(&[]).await?;
        for friend in synced.unreachable {
            warnings.push(format!("{}: {}", friend.friend, friend.fault.message));
        }
        Ok(Recovered {
            book_key: wallet.book_key().await?,
            friends: wallet.recovered_friends().await?,
            homeserver,
            plugins: registrations,
            revoked,
            warnings,
            wallet,
        })
    }

    /// Whether an earlier run got as far as publishing this device.
    async fn has_taken_over(&self) -> Result<bool, ClientError> {
        let mut conn = self.store().read().await?;
        let homeserver = settings::get(&mut conn, settings::HOMESERVER).await?;
        let profile = settings::get(&mut conn, settings::PROFILE).await?;
        Ok(homeserver.is_some() && profile.is_some())
    }

    /// Ends every other session and device, and publishes the new one. Returns the devices that were ended.
    async fn take_over(
        &self,
        root: &RootKey,
        plugins: &[PluginAddress],
        warnings: &mut Vec<String>,
    ) -> Result<Vec<SignerKey>, ClientError> {
        let homeserver = self.net().home_of(&self.user(), Freshness::Network).await?;
        let session = HomeSession::sign_in(self.net(), root.keypair(), &homeserver).await?;
        // First: whoever holds a stolen session could overwrite what follows.
        session::revoke_other_grants(self.net(), root.keypair(), &session).await?;
        let published = published::read(&session, root, warnings).await?;
        let plugins = if plugins.is_empty() {
            published.plugins.clone()
        } else {
            plugins.to_vec()
        };
        let revoked = self.renew_device(root, &published).await?;
        self.set_session(session).await?;
        self.seize_generation().await?;
        self.publish_identity(root, &plugins).await?;
        Ok(revoked)
    }

    /// A fresh book key and the next encryption key; every older device is revoked.
    async fn renew_device(
        &self,
        root: &RootKey,
        published: &Published,
    ) -> Result<Vec<SignerKey>, ClientError> {
        let mut tx = self.store().write().await?;
        for open in &published.open {
            crate::store::units::put(tx.conn(), open).await?;
        }
        if let Some(name) = &published.name {
            settings::set(tx.conn(), settings::NAME, name).await?;
        }
        if published.page {
            settings::set(tx.conn(), settings::PAGE, "1").await?;
        }
        new_device(tx.conn(), root, published.key_number.saturating_add(1)).await?;
        let mut kept = Vec::new();
        for device in &published.devices {
            let revocation = root.revoke(*device, now())?;
            plan_revocation(tx.conn(), *device, revocation.jws()).await?;
            kept.push(revocation.jws().to_owned());
        }
        settings::set(tx.conn(), settings::REVOCATIONS, &kept.join("\n")).await?;
        tx.commit().await?;
        Ok(published.devices.clone())
    }

    /// Puts the books with every contact together who has none here yet.
    async fn recover_friends(
        &self,
        root: &RootKey,
        warnings: &mut Vec<String>,
    ) -> Result<(), ClientError> {
        let session = self.session().await?;
        let listed = contact_list::read(&session, root.keypair()).await?;
        let mut conn = self.store().read().await?;
        let mut missing = Vec::new();
        for entry in listed {
            if pairs::get(&mut conn, &entry.user).await?.is_none() {
                missing.push(entry);
            }
        }
        drop(conn);
        let mut looks = stream::iter(missing)
            .map(|entry| self.find_friend(&session, root, entry))
            .buffer_unordered(FRIENDS_AT_ONCE);
        while let Some(found) = looks.next().await {
            let found = found?;
            if let Some(fault) = &found.fault {
                let next = if found.knows_nothing() {
                    "run the same command again when they can be reached"
                } else {
                    "their books were put together from what this user's homeserver holds"
                };
                warnings.push(format!("{}: {}; {next}", found.contact.name, fault.message));
            }
            self.begin_epoch(root, found).await?;
        }
        self.forget_directory();
        Ok(())
    }

    /// Takes the books with one friend over in a new epoch, from the copy here and from what lies on both homeservers: whoever kept
    /// them is gone, or not to be trusted any more.
    pub(crate) async fn recover_kept(
        &self,
        root: &RootKey,
        user: &UserKey,
    ) -> Result<(), ClientError> {
        let session = self.session().await?;
        let mut conn = self.store().read().await?;
        let contact = contacts::get(&mut conn, user).await?;
        let contact = contact.ok_or_else(|| ClientError::UnknownFriend(user.to_z32()))?;
        let copy = super::books::load(&mut conn, self.user(), *user).await?;
        let keys = access::Keys::load(&mut conn, self.user()).await?;
        drop(conn);
        let entry = contact_list::entry(&keys, &contact)?;
        let mut found = self.find_friend(&session, root, entry).await?;
        let profile = found.contact.profile.clone();
        found.contact = contact;
        if let Some(profile) = profile.filter(|_| found.contact.profile.is_none()) {
            found.contact.profile = Some(profile);
        }
        let records = copy.file_records();
        for (texts, into) in [
            (records.own, &mut found.mine),
            (records.held, &mut found.held),
        ] {
            // Grants are no records; they are learnt as what they are.
            found.authority.extend(texts.iter().cloned());
            into.extend(texts.iter().filter_map(|jws| AnyRecord::decode(jws).ok()));
        }
        self.begin_epoch(root, found).await?;
        self.forget_directory();
        Ok(())
    }

    /// Looks for everything about one contact: their profile, and the own file about them.
    async fn find_friend(
        &self,
        session: &HomeSession,
        root: &RootKey,
        entry: record::Contact,
    ) -> Result<Found, ClientError> {
        let mut contact = Contact::new(entry.user, now().millis());
        contact.status = ContactStatus::Friend;
        contact.name = entry
            .name
            .as_ref()
            .map_or_else(|| entry.user.to_z32(), ToString::to_string);
        let mut found = Found {
            contact,
            mine: Vec::new(),
            held: Vec::new(),
            authority: Vec::new(),
            old_path: None,
            fault: None,
        };
        match self.fetch_profile(&entry.user).await {
            Ok(Some(jws)) => match receive::judge_profile(&jws, entry.user, None, now()) {
                Ok(_) => {
                    found.contact.profile = Some(jws);
                    found.contact.profile_at = Some(now().millis());
                }
                Err(error) => found.fault = Some(Fault::from(&ClientError::from(error))),
            },
            Ok(None) => {}
            Err(error) => found.fault = Some(Fault::from(&error)),
        }
        let secret = root.encryption_key(entry.own_key.get())?;
        for (id, key) in candidates(&found.contact, entry.their_key)? {
            let looked = self
                .read_own_file(session, &mut found, &secret, (id, &key))
                .await;
            match looked {
                Ok(true) => break,
                Ok(false) => {}
                Err(error @ ClientError::Net(_)) => return Err(error),
                // What lies there is void: what the friend holds has to do.
                Err(error) => found.fault = Some(Fault::from(&error)),
            }
        }
        self.read_their_file(&mut found, &secret, entry.their_key)
            .await?;
        Ok(found)
    }

    /// The own file about a contact under these keys; `false` if there is none.
    async fn read_own_file(
        &self,
        session: &HomeSession,
        found: &mut Found,
        secret: &EncryptionSecret,
        (id, key): (KeyId, &EncryptionKey),
    ) -> Result<bool, ClientError> {
        let own = Agreement::outgoing(&self.user(), secret, &found.contact.user, key, id)?;
        let path = channel_path(own.blind());
        let bytes = match session.get(&path, MAX_CHANNEL_FILE_BYTES).await {
            Ok(bytes) => bytes,
            Err(NetError::NotFound(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        found.old_path = Some(path);
        let file = ChannelFile::decode(&open_channel_file(&own, &bytes)?)?;
        for half in [file.own(), file.held()] {
            found.authority.extend(half.authority().to_vec());
            // Grants are no records of ours; they are learnt from `authority`.
            let records = half.authority().iter();
            found
                .mine
                .extend(records.filter_map(|jws| AnyRecord::decode(jws).ok()));
        }
        found.mine.extend(file.own().records());
        found.held.extend(file.held().records());
        Ok(true)
    }

    /// What the friend's own file holds of this user. They may be out of reach: then the own file has to do.
    async fn read_their_file(
        &self,
        found: &mut Found,
        secret: &EncryptionSecret,
        listed: KeyId,
    ) -> Result<(), ClientError> {
        let user = found.contact.user;
        for (id, key) in candidates(&found.contact, listed)? {
            let theirs = Agreement::incoming(&self.user(), secret, &user, &key, id)?;
            let looked = async {
                let target =
                    Target::new(user, channel_path(theirs.blind())).at_most(MAX_CHANNEL_FILE_BYTES);
                let fetched = self.net().fetch(&target).await?;
                let bytes = fetched.body.bytes().unwrap_or_default();
                Ok::<_, ClientError>(ChannelFile::decode(&open_channel_file(&theirs, &bytes)?)?)
            };
            match looked.await {
                Ok(file) if file.from() == user && file.to() == self.user() => {
                    found.mine.extend(file.held().records());
                    let taken = pair::Recovered::taken_before(&found.mine, &file.own().records());
                    found.held.extend(taken);
                    return Ok(());
                }
                Ok(_) | Err(ClientError::Net(NetError::NotFound(_))) => {}
                Err(error) => {
                    found.fault.get_or_insert_with(|| Fault::from(&error));
                }
            }
        }
        Ok(())
    }

    /// Stores one friend with recovered books, and puts what they must get into the outbox.
    async fn begin_epoch(&self, root: &RootKey, found: Found) -> Result<(), ClientError> {
        let mut change = self.change().await?;
        let user = found.contact.user;
        contacts::put(change.conn(), &found.contact).await?;
        if found.knows_nothing() && found.fault.is_some() {
            // Their books can't be found now. A later run goes on here.
            return change.commit().await;
        }
        let delegation = settings::need(change.conn(), settings::DELEGATION).await?;
        let revocations = settings::get(change.conn(), settings::REVOCATIONS).await?;
        let mut authority = found.authority;
        authority.push(delegation.clone());
        authority.extend(
            revocations
                .iter()
                .flat_map(|text| text.lines())
                .map(str::to_owned),
        );
        let caps: BTreeMap<Unit, Total> = units::caps(change.conn()).await?;
        let recovered = Pair::recover(
            self.user(),
            user,
            &found.mine,
            &found.held,
            &authority,
            caps,
            root.keypair(),
            &change.keys.pen,
            change.now,
        )?;
        change.save(&recovered.pair).await?;
        agent::remove_pair(change.conn(), &user).await?;
        if let Some(path) = &found.old_path {
            pairs::set_file_path(change.conn(), &user, path).await?;
        }
        let mut records = Vec::new();
        records.extend(settings::get(change.conn(), settings::PROFILE).await?);
        records.push(delegation);
        records.extend(
            revocations
                .iter()
                .flat_map(|text| text.lines())
                .map(str::to_owned),
        );
        records.push(recovered.book.jws().to_owned());
        records.extend(recovered.lines.iter().map(|line| line.jws().to_owned()));
        records.extend(recovered.acks.iter().map(|ack| ack.jws().to_owned()));
        let endpoints = recovered.endpoints.iter();
        records.extend(endpoints.map(|list| list.jws().to_owned()));
        change.send(&user, &records).await?;
        change
            .note(HistoryItem {
                user: Some(user),
                kind: "recovered".to_owned(),
                epoch: Some(recovered.book.record().epoch.get()),
                ..HistoryItem::default()
            })
            .await?;
        for stale in [settings::TAGS_STALE, settings::CONTACTS_STALE] {
            settings::set(change.conn(), stale, "1").await?;
        }
        change.signed();
        change.commit().await
    }

    async fn recovered_friends(&self) -> Result<Vec<RecoveredFriend>, ClientError> {
        let mut conn = self.store().read().await?;
        let mut friends = Vec::new();
        for contact in contacts::list(&mut conn, ContactStatus::Friend).await? {
            let pair = super::books::load(&mut conn, self.user(), contact.user).await?;
            let waits = pair.is_waiting() || pair.own().book().is_none();
            friends.push(RecoveredFriend {
                epoch: pair.own().epoch().map(|epoch| epoch.get()),
                state: if waits {
                    ChannelState::WaitingForAck
                } else {
                    ChannelState::Active
                },
                channels: view::channels(&mut conn, &pair, &contact).await?,
                contact,
            });
        }
        Ok(friends)
    }
}

/// The encryption keys under which files with a contact may lie: the listed one first, then whatever their profile names.
fn candidates(
    contact: &Contact,
    listed: KeyId,
) -> Result<Vec<(KeyId, EncryptionKey)>, ClientError> {
    let mut keys = directory::peer_keys(contact)?;
    if listed == KeyId::ROOT && keys.iter().all(|(id, _)| *id != listed) {
        keys.push((KeyId::ROOT, EncryptionKey::of_root(&contact.user)?));
    }
    keys.sort_by_key(|(id, _)| *id != listed);
    Ok(keys)
}
