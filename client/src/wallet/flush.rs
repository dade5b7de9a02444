//! Sending what waits: to inboxes first, then the channel files.
//!
//! Nothing leaves before the mark on the homeserver says that this store has signed. What can't be delivered stays in the outbox
//! and is tried again, later each time; the channel file on the own homeserver says the same, so nothing hangs on an inbox.

use std::collections::{BTreeMap, BTreeSet};

use atomicity_ledger::UserKey;
use atomicity_ledger::seal::{Envelope, Parcel, seal_known, seal_stranger};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use rand::RngExt as _;

use super::access::Keys;
use super::{Wallet, directory, entropy, now, publish};
use crate::error::ClientError;
use crate::net::NetError;
use crate::net::plugin::{PluginAddress, PluginClient};
use crate::store::contacts::{self, Contact};
use crate::store::outbox::{self, OutboxRow};

/// Rows that are taken from the outbox at once.
const BATCH: u32 = 512;
/// Deliveries that are under way at once.
const DELIVERIES: usize = 16;
/// Attempts are spread over this time, so that many wallets don't come back at once, milliseconds.
const JITTER_MS: u64 = 500;
/// A record that is too large for an envelope travels by channel file.
const NO_INBOX: &str = "no inbox takes it: the channel file tells it";

/// How far something got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is durable at a plugin of the friend.
    Inbox,
    /// It stands in the channel file on the own homeserver, where the friend will find it.
    File,
    /// It is committed here and waits to be sent.
    Queued,
    /// The agent has signed it, and delivers it.
    Agent,
}

/// What is put off for so long is not due again while the same flush goes on.
const AWHILE_MS: u64 = 1000;

/// An error of one part of a larger operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A stable code.
    pub code: String,
    /// In words.
    pub message: String,
    /// Whether the other side could not be reached at all.
    pub network: bool,
}

impl From<&ClientError> for Fault {
    fn from(error: &ClientError) -> Self {
        Self {
            code: error.code().to_owned(),
            message: error.to_string(),
            network: error.is_network(),
        }
    }
}

/// What was sent, and what was not.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FlushReport {
    /// Records that reached an inbox.
    pub sent: u64,
    /// Channel files that were written.
    pub files: u64,
    /// Changes that still wait.
    pub queued: u64,
    /// What went wrong, by friend.
    pub unreachable: Vec<(UserKey, Fault)>,
    /// What went wrong with the own homeserver or plugin.
    pub fault: Option<Fault>,
}

/// What became of one friend's part of the outbox.
enum Outcome {
    Delivered(u64),
    /// There is no inbox: the channel file has to do.
    NoInbox,
    Failed(NetError),
}

impl Wallet {
    /// Sends everything that is due and publishes what changed.
    ///
    /// # Errors
    /// [`ClientError::BookKeyInUse`] or [`ClientError::GenerationUnknown`]: nothing was sent. What single friends or servers did
    /// wrong stands in the report.
    pub async fn flush(&self) -> Result<FlushReport, ClientError> {
        let mut report = FlushReport::default();
        match self.show_generation().await {
            Ok(()) => {}
            Err(ClientError::NoHomeserver) => return self.count_queued(report).await,
            Err(error @ ClientError::GenerationUnknown(_)) => {
                report.fault = Some(Fault::from(&error));
                return self.count_queued(report).await;
            }
            Err(error) => return Err(error),
        }
        // Boxed: whoever sends somewhere deep down need not carry the types of everything that publishing is made of.
        let publish = self.publish().boxed();
        let (posted, letters, published) =
            tokio::join!(self.post_all(), self.post_letters(), publish);
        let posted = posted?;
        letters?;
        let published = published?;
        report.sent = posted.sent;
        report.unreachable = posted.unreachable;
        report.files = published.files;
        report.fault = published.error.as_ref().map(Fault::from);
        self.drop_what_files_tell(&posted.no_inbox).await?;
        self.push_snapshot_if_wanted().await?;
        self.push_diary_if_wanted().boxed().await?;
        self.count_queued(report).await
    }

    async fn count_queued(&self, mut report: FlushReport) -> Result<FlushReport, ClientError> {
        let (queued, _) = outbox::waiting(&mut *self.store().read().await?, None).await?;
        report.queued = queued;
        Ok(report)
    }

    /// How far everything for `peer` got.
    pub(crate) async fn delivery(&self, peer: &UserKey) -> Result<Delivery, ClientError> {
        let file = publish::file_is_current(self, peer).await?;
        let mut conn = self.store().read().await?;
        let (waiting, _) = outbox::waiting(&mut conn, Some(peer)).await?;
        let contact = contacts::get(&mut conn, peer).await?;
        let inboxes = match &contact {
            Some(contact) => inboxes(contact)?,
            None => Vec::new(),
        };
        Ok(match (waiting, file) {
            (0, _) if !inboxes.is_empty() => Delivery::Inbox,
            (_, true) => Delivery::File,
            _ => Delivery::Queued,
        })
    }

    async fn post_all(&self) -> Result<Posted, ClientError> {
        let mut posted = Posted::default();
        loop {
            let mut conn = self.store().read().await?;
            let rows = outbox::due(&mut conn, now().millis(), BATCH).await?;
            let keys = Keys::load(&mut conn, self.user()).await?;
            drop(conn);
            // Another process may have signed since the mark was raised: what is about to leave must be covered by it.
            self.show_generation().await?;
            let full = rows.len() == BATCH as usize;
            let mut progress = false;
            let mut by_user: BTreeMap<UserKey, Vec<OutboxRow>> = BTreeMap::new();
            for row in rows {
                by_user.entry(row.user).or_default().push(row);
            }
            // Another task of this process may be sending to somebody already.
            let sending = self.begin_sending(&mut by_user);
            let mut deliveries = stream::iter(by_user)
                .map(|(user, rows)| {
                    let keys = &keys;
                    // Settled in here: while the loop below waited for the store, nobody would drive the deliveries that hold
                    // its connections.
                    async move {
                        let outcome = self.deliver(&user, &rows, keys).await?;
                        self.settle(user, rows, outcome).await
                    }
                })
                .buffer_unordered(DELIVERIES);
            while let Some(settled) = deliveries.next().await {
                let (settled, left) = settled?;
                posted.add(settled);
                progress |= left;
            }
            drop(deliveries);
            drop(sending);
            if !full || !progress {
                return Ok(posted);
            }
        }
    }

    /// Takes out whoever is being sent to, and marks the others as such until the guard is dropped.
    fn begin_sending(&self, by_user: &mut BTreeMap<UserKey, Vec<OutboxRow>>) -> Sending<'_> {
        let mut mine = BTreeSet::new();
        if let Ok(mut busy) = self.inner.sending.lock() {
            by_user.retain(|user, _| busy.insert(*user));
            mine.extend(by_user.keys().copied());
        }
        Sending { wallet: self, mine }
    }

    /// Notes what became of one friend's rows, and whether none of them is due again at once.
    async fn settle(
        &self,
        user: UserKey,
        rows: Vec<OutboxRow>,
        outcome: Outcome,
    ) -> Result<(Posted, bool), ClientError> {
        let mut posted = Posted::default();
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let mut tx = self.store().write().await?;
        let jitter = rand::rng().random_range(0..JITTER_MS);
        let now = now().millis();
        let left = match outcome {
            Outcome::Delivered(records) => {
                outbox::remove(tx.conn(), &ids).await?;
                posted.sent += records;
                true
            }
            Outcome::NoInbox => {
                outbox::put_off(tx.conn(), &rows, now, None, jitter, NO_INBOX).await?;
                posted.no_inbox.push((user, ids));
                true
            }
            Outcome::Failed(error) => {
                let asked = error
                    .retry_after()
                    .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                let why = error.to_string();
                outbox::put_off(tx.conn(), &rows, now, asked, jitter, &why).await?;
                let fault = Fault::from(&ClientError::Net(error));
                posted.unreachable.push((user, fault));
                // Who asks to be tried again at once would keep this going for ever.
                asked.is_none_or(|wait| wait >= AWHILE_MS)
            }
        };
        tx.commit().await?;
        Ok((posted, left))
    }

    async fn deliver(
        &self,
        user: &UserKey,
        rows: &[OutboxRow],
        keys: &Keys,
    ) -> Result<Outcome, ClientError> {
        let contact = contacts::get(&mut *self.store().read().await?, user).await?;
        let Some(contact) = contact else {
            return Ok(Outcome::Delivered(0));
        };
        let inboxes = inboxes(&contact)?;
        if inboxes.is_empty() {
            return Ok(Outcome::NoInbox);
        }
        let records: Vec<String> = rows.iter().flat_map(|row| row.records.clone()).collect();
        let count = records.len() as u64;
        let Ok(parcels) = Parcel::split(self.user(), records) else {
            return Ok(Outcome::NoInbox);
        };
        let mut last = None;
        for address in inboxes {
            let plugin = PluginClient::new(self.net(), address);
            match self.post_parcels(&plugin, &contact, &parcels, keys).await? {
                Ok(()) => return Ok(Outcome::Delivered(count)),
                Err(error) => last = Some(error),
            }
        }
        Ok(last.map_or(Outcome::NoInbox, Outcome::Failed))
    }

    async fn post_parcels(
        &self,
        plugin: &PluginClient,
        contact: &Contact,
        parcels: &[Parcel],
        keys: &Keys,
    ) -> Result<Result<(), NetError>, ClientError> {
        for parcel in parcels {
            let agreement = directory::outgoing(&self.user(), keys.current()?, contact)?;
            let known = seal_known(&agreement, entropy(), parcel)?;
            let posted = match plugin.post(&contact.user, &known).await {
                // They don't know us yet, or not by these keys.
                Err(error) if error.code() == "tag_unknown" => {
                    let stranger = to_stranger(contact, parcel)?;
                    plugin.post(&contact.user, &stranger).await
                }
                other => other,
            };
            if let Err(error) = posted {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// What no inbox takes leaves the outbox once the channel file tells it.
    async fn drop_what_files_tell(
        &self,
        no_inbox: &[(UserKey, Vec<i64>)],
    ) -> Result<(), ClientError> {
        for (user, ids) in no_inbox {
            if publish::file_is_current(self, user).await? {
                let mut tx = self.store().write().await?;
                outbox::remove(tx.conn(), ids).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }
}

/// Marks friends as being sent to; dropping it takes the marks away.
struct Sending<'a> {
    wallet: &'a Wallet,
    mine: BTreeSet<UserKey>,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Ok(mut busy) = self.wallet.inner.sending.lock() {
            busy.retain(|user| !self.mine.contains(user));
        }
    }
}

#[derive(Debug, Default)]
struct Posted {
    sent: u64,
    unreachable: Vec<(UserKey, Fault)>,
    no_inbox: Vec<(UserKey, Vec<i64>)>,
}

impl Posted {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.unreachable.extend(other.unreachable);
        self.no_inbox.extend(other.no_inbox);
    }
}

/// Where a contact takes records, best first.
pub(crate) fn inboxes(contact: &Contact) -> Result<Vec<PluginAddress>, ClientError> {
    let Some(profile) = directory::profile(contact)? else {
        return Ok(Vec::new());
    };
    let inboxes = profile.record().inboxes.iter().map(|inbox| PluginAddress {
        key: inbox.plugin,
        // An address that is no URL leaves the key, which is enough.
        url: inbox.url.as_ref().and_then(|url| url.as_str().parse().ok()),
    });
    Ok(inboxes.collect())
}

fn to_stranger(contact: &Contact, parcel: &Parcel) -> Result<Envelope, ClientError> {
    let keys = directory::peer_keys(contact)?;
    let (id, key) = keys.first().ok_or_else(|| ClientError::Malformed {
        what: "the friend's profile".to_owned(),
        why: "it names no encryption key".to_owned(),
    })?;
    Ok(seal_stranger(&contact.user, key, *id, entropy(), parcel)?)
}
