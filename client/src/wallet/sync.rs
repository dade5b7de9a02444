//! Fetching everybody's news and sending one's own.
//!
//! Friends are looked at side by side, a bounded number at a time; one whose homeserver does not answer delays nobody else.

use std::collections::BTreeSet;

use atomicity_ledger::channel_file::ChannelFile;
use atomicity_ledger::seal::{Agreement, MAX_CHANNEL_FILE_BYTES, channel_path, open_channel_file};
use atomicity_ledger::{LedgerError, UserKey};
use futures_util::{StreamExt as _, stream};

use super::InboxReport;
use super::access::Keys;
use super::event::WalletEvent;
use super::receive::{Received, Source};
use super::{Fault, Wallet, directory, now};
use crate::error::ClientError;
use crate::net::{Body, NetError, Target};
use crate::store::contacts::{self, Contact, ContactStatus};
use crate::store::requests::letters;
use crate::store::{inbox, outbox, pairs};

/// How old a friend's profile may be before it is looked at again, milliseconds.
const PROFILE_MAX_AGE_MS: u64 = 10 * 60 * 1000;
/// Friends who are looked at side by side: most of them only wait for an answer.
const FRIENDS_AT_ONCE: usize = 256;

/// A friend who could not be looked at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnreachableFriend {
    /// What the user calls them.
    pub friend: String,
    /// Their key.
    pub user: UserKey,
    /// Why.
    pub fault: Fault,
}

/// What a synchronization brought.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SyncReport {
    /// Records that changed something.
    pub applied: u64,
    /// Records that were known already.
    pub duplicates: u64,
    /// Records that can't be judged yet.
    pub pending: u64,
    /// Records that were refused for good.
    pub refused: u64,
    /// Records that reached an inbox.
    pub sent: u64,
    /// Changes that still wait to be sent.
    pub queued: u64,
    /// Friends who were looked at.
    pub friends: u64,
    /// Those who could not be.
    pub unreachable: Vec<UnreachableFriend>,
    /// The own inbox.
    pub inbox: InboxReport,
    /// Promises that were decided now, because their logs have spoken.
    pub decided: u64,
    /// Promises that hang on logs and are still not decided.
    pub undecided: u64,
    /// Logs that could not be read, and why.
    pub unreadable_logs: Vec<(String, Fault)>,
    /// What is wrong with the own homeserver or plugin.
    pub fault: Option<Fault>,
    /// Why the agent could not be asked, if there is one.
    pub agent: Option<Fault>,
    /// What happened.
    pub events: Vec<WalletEvent>,
}

impl SyncReport {
    /// Whether anything that was asked answered.
    #[must_use]
    pub fn reached_anything(&self) -> bool {
        let asked = self.friends > 0 || self.inbox.fault.is_some();
        !asked || self.inbox.reached || (self.unreachable.len() as u64) < self.friends
    }

    fn add(&mut self, received: Received) {
        self.applied += received.applied;
        self.duplicates += received.duplicates;
        self.pending += received.pending;
        self.refused += received.refused;
        self.events.extend(received.events);
    }
}

impl Wallet {
    /// Reads the own inbox and the files of these friends (of all, if none is named), applies, answers, and sends what waits.
    ///
    /// # Errors
    /// [`ClientError::NoHomeserver`], [`ClientError::BookKeyInUse`], [`ClientError::GenerationUnknown`], or what the store says.
    pub async fn sync(&self, only: &[UserKey]) -> Result<SyncReport, ClientError> {
        self.sync_with(only, |_, _| {}).await
    }

    /// The same, and says after each friend how many of how many are done.
    ///
    /// # Errors
    /// As [`Wallet::sync`].
    pub async fn sync_with(
        &self,
        only: &[UserKey],
        progress: impl Fn(u64, u64),
    ) -> Result<SyncReport, ClientError> {
        self.ensure_may_sign().await?;
        let mut report = SyncReport::default();
        let mut tx = self.store().write().await?;
        outbox::retry_now(tx.conn(), now().millis()).await?;
        letters::retry_now(tx.conn(), now().millis()).await?;
        tx.commit().await?;
        let tended = self.tend_agent().await?;
        report.events.extend(tended.events);
        report.agent = tended.failed.as_ref().map(Fault::from);
        let friends = self.chosen(only).await?;
        // Side by side: an inbox that does not answer delays no friend's news.
        let (read, looked, rated) = tokio::join!(
            self.read_inboxes(),
            self.sync_friends(friends, &mut report, progress),
            self.read_ratings_beside(only)
        );
        looked?;
        rated?;
        self.take_inbox(read?, &mut report).await?;
        let ruled = self.apply_rules(false).await?;
        report.events.extend(ruled);
        let settled = self.settle_all().await?;
        report.events.extend(settled);
        let asked = self.drive_requests().await?;
        report.events.extend(asked);
        report.events.extend(self.drive_guests().await?);
        let proposed = self.look_at_proposals().await?;
        report.events.extend(proposed.events);
        self.drive_spends().await?;
        self.drive_outlays().await?;
        let decided = self.decide().await?;
        report.applied += decided.applied;
        report.decided = decided.decided;
        report.undecided = decided.open;
        report.unreadable_logs = decided.unreadable;
        report.events.extend(decided.events);
        // What was decided now is told now.
        self.drive_spends().await?;
        report.events.extend(self.let_books_go().await?);
        let flushed = self.flush().await?;
        report.sent = flushed.sent;
        report.queued = flushed.queued;
        report.fault = flushed.fault;
        Ok(report)
    }

    /// What friends think of services, unless only some friends are wanted.
    async fn read_ratings_beside(&self, only: &[UserKey]) -> Result<(), ClientError> {
        if only.is_empty() {
            self.read_ratings(false).await
        } else {
            Ok(())
        }
    }

    /// Adds what the inbox brought, and looks at whoever must be looked up for it.
    async fn take_inbox(
        &self,
        inbox: InboxReport,
        report: &mut SyncReport,
    ) -> Result<(), ClientError> {
        let [applied, duplicates, pending, refused] = inbox.counts;
        report.applied += applied;
        report.duplicates += duplicates;
        report.pending += pending;
        report.refused += refused;
        report.events.extend(inbox.events.iter().cloned());
        let waiting: Vec<UserKey> = inbox.look_at.iter().copied().collect();
        report.inbox = inbox;
        if waiting.is_empty() {
            return Ok(());
        }
        let friends = self.chosen(&waiting).await?;
        let mut more = SyncReport::default();
        self.sync_friends(friends, &mut more, |_, _| {}).await?;
        report.applied += more.applied;
        report.duplicates += more.duplicates;
        report.refused += more.refused;
        report.events.extend(more.events);
        let known: BTreeSet<UserKey> = report.unreachable.iter().map(|f| f.user).collect();
        let new = more.unreachable.into_iter();
        report
            .unreachable
            .extend(new.filter(|friend| !known.contains(&friend.user)));
        Ok(())
    }

    async fn chosen(&self, only: &[UserKey]) -> Result<Vec<Contact>, ClientError> {
        let mut conn = self.store().read().await?;
        let mut friends = contacts::list(&mut conn, ContactStatus::Friend).await?;
        if !only.is_empty() {
            friends.retain(|friend| only.contains(&friend.user));
        }
        Ok(friends)
    }

    async fn sync_friends(
        &self,
        friends: Vec<Contact>,
        report: &mut SyncReport,
        progress: impl Fn(u64, u64),
    ) -> Result<(), ClientError> {
        let all = friends.len() as u64;
        report.friends = all;
        let mut looks = stream::iter(friends)
            .map(|friend| async move {
                let looked = self.sync_friend(&friend).await;
                (friend, looked)
            })
            .buffer_unordered(FRIENDS_AT_ONCE);
        let mut done = 0;
        while let Some((friend, looked)) = looks.next().await {
            match looked {
                Ok(received) => report.add(received),
                Err(
                    error @ (ClientError::StoreFull
                    | ClientError::Store(_)
                    | ClientError::StoreCorrupt { .. }),
                ) => return Err(error),
                Err(error) => report.unreachable.push(UnreachableFriend {
                    friend: friend.name,
                    user: friend.user,
                    fault: Fault::from(&error),
                }),
            }
            done += 1;
            progress(done, all);
        }
        Ok(())
    }

    /// Looks at one friend: the profile, if it is old or their file is not where it was, and their file about this user.
    pub(crate) async fn sync_friend(&self, friend: &Contact) -> Result<Received, ClientError> {
        let mut received = Received::default();
        let age = now()
            .millis()
            .saturating_sub(friend.profile_at.unwrap_or(0));
        let mut friend = friend.clone();
        let mut fresh = age > PROFILE_MAX_AGE_MS;
        if fresh {
            self.refresh_profile(&mut friend, &mut received).await?;
        }
        if self.is_with_agent(&friend.user).await? {
            // What is in the file is the agent's to read. What it passed on may wait for a look-up.
            self.retry_held(&friend.user, &mut received).await?;
            self.look_up_authority(&friend.user, &mut received).await?;
            return Ok(received);
        }
        loop {
            match self.read_channel_file(&friend, &mut received).await {
                Ok(true) => break,
                // Nothing where their keys say it should be: perhaps they have new keys, perhaps they wrote nothing yet.
                Ok(false) | Err(ClientError::Ledger(LedgerError::SealBroken(_))) if !fresh => {
                    fresh = true;
                    self.refresh_profile(&mut friend, &mut received).await?;
                }
                Ok(false) => break,
                Err(error) => return Err(error),
            }
        }
        self.retry_held(&friend.user, &mut received).await?;
        self.look_up_authority(&friend.user, &mut received).await?;
        Ok(received)
    }

    /// Records that waited for a look-up are judged again, even if their friend's file brought nothing new.
    async fn retry_held(&self, user: &UserKey, received: &mut Received) -> Result<(), ClientError> {
        if !received.lookups.is_empty() {
            return Ok(());
        }
        let held = inbox::count_held(&mut *self.store().read().await?, user).await?;
        if held > 0 {
            received.add(self.receive(user, &[], &[], Source::Nowhere).await?);
        }
        Ok(())
    }

    async fn refresh_profile(
        &self,
        friend: &mut Contact,
        received: &mut Received,
    ) -> Result<(), ClientError> {
        let Some(jws) = self.fetch_profile(&friend.user).await? else {
            return Ok(());
        };
        let taken = self
            .receive(&friend.user, &[jws], &[], Source::Profile)
            .await?;
        received.add(taken);
        if let Some(now) = contacts::get(&mut *self.store().read().await?, &friend.user).await? {
            *friend = now;
        }
        Ok(())
    }

    /// Reads a friend's file about this user and applies it; `false` if there is none.
    async fn read_channel_file(
        &self,
        friend: &Contact,
        received: &mut Received,
    ) -> Result<bool, ClientError> {
        let mut conn = self.store().read().await?;
        let keys = Keys::load(&mut conn, self.user()).await?;
        let etag = pairs::get(&mut conn, &friend.user)
            .await?
            .and_then(|row| row.peer_etag);
        drop(conn);
        let me = self.user();
        for agreement in directory::incoming(&me, &keys, friend)? {
            let agreement = agreement?;
            let target = Target::new(friend.user, channel_path(agreement.blind()))
                .with_etag(etag.clone())
                .at_most(MAX_CHANNEL_FILE_BYTES);
            match self.net().fetch(&target).await {
                Ok(fetched) => {
                    if let Body::Bytes(bytes) = fetched.body {
                        let taken = self
                            .take_channel_file(&agreement, &bytes, fetched.etag.as_deref())
                            .await?;
                        received.add(taken);
                    }
                    return Ok(true);
                }
                Err(NetError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    async fn take_channel_file(
        &self,
        agreement: &Agreement,
        bytes: &[u8],
        etag: Option<&str>,
    ) -> Result<Received, ClientError> {
        let content = open_channel_file(agreement, bytes)?;
        // A thousand signatures take a moment: not on the thread that serves the others.
        let file = tokio::task::spawn_blocking(move || ChannelFile::decode(&content))
            .await
            .map_err(|e| ClientError::Internal(e.to_string()))??;
        let peer = *agreement.from();
        if file.from() != peer || file.to() != self.user() {
            return Err(LedgerError::ForeignChannel.into());
        }
        let mut records = file.own().authority().to_vec();
        records.extend(file.own().records().iter().map(|r| r.jws().to_owned()));
        // The authority first: without it, what earlier keys of this user signed could not be told from forgeries.
        let mut own = file.held().authority().to_vec();
        own.extend(file.held().records().iter().map(|r| r.jws().to_owned()));
        self.receive(&peer, &records, &own, Source::ChannelFile(etag))
            .await
    }
}
