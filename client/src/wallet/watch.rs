//! Staying connected: what others send is applied as it comes, what this wallet signs leaves at once.

use std::time::Duration;

use atomicity_ledger::UserKey;
use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, SelectAll};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::event::{WalletEvent, WalletEventKind};
use super::{Fault, Wallet, now};
use crate::error::ClientError;
use crate::net::plugin::{InboxEvent, InboxItem, PluginClient};
use crate::net::watch::{Hint, WatchStream};
use crate::store::contacts::{self, Contact, ContactStatus};
use crate::store::{outbox, pairs};

/// How often to look whether another process left something to send, or added a friend.
const TICK: Duration = Duration::from_millis(500);
/// How long to wait before an inbox that could not be read in full is read again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How to watch.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WatchOptions {
    /// How often to look at friends' files where their homeserver tells no news; as configured if `None`.
    pub poll: Option<Duration>,
}

impl WatchOptions {
    /// Looks at friends' files this often.
    #[must_use]
    pub fn every(poll: Duration) -> Self {
        Self { poll: Some(poll) }
    }
}

/// Something from a plugin.
enum News {
    Inbox(usize, InboxEvent),
    Hint(Hint),
}

struct Watcher<'a, F> {
    wallet: &'a Wallet,
    poll: Duration,
    plugins: Vec<PluginClient>,
    friends: Vec<UserKey>,
    news: SelectAll<BoxStream<'static, News>>,
    /// When an inbox must be read again, and how long to wait the next time.
    reread: Option<(Instant, Duration)>,
    /// The fault of the own servers that was reported last.
    reported: Option<String>,
    report: F,
}

impl Wallet {
    /// Synchronizes, and then applies, answers and sends live until `stop` is cancelled. What happens goes to `report`.
    ///
    /// # Errors
    /// [`ClientError::NoHomeserver`], [`ClientError::BookKeyInUse`], or what the store says. What the network does wrong is
    /// reported and tried again.
    pub async fn watch(
        &self,
        options: WatchOptions,
        stop: CancellationToken,
        report: impl FnMut(WalletEvent) + Send,
    ) -> Result<(), ClientError> {
        let mut watcher = Watcher {
            wallet: self,
            poll: options.poll.unwrap_or(self.config().defaults.poll_interval),
            plugins: self.own_plugins().await?,
            friends: Vec::new(),
            news: SelectAll::new(),
            reread: None,
            reported: None,
            report,
        };
        tokio::select! {
            ended = watcher.run() => ended,
            () = stop.cancelled() => Ok(()),
        }
    }
}

impl<F: FnMut(WalletEvent) + Send> Watcher<'_, F> {
    async fn run(&mut self) -> Result<(), ClientError> {
        self.first_sync().await?;
        self.follow(Vec::new());
        self.follow_friends().await?;
        self.tell(WalletEventKind::Ready, None);
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                Some(news) = self.news.next() => self.take(news).await?,
                _ = tick.tick() => self.tick().await?,
            }
        }
    }

    async fn first_sync(&mut self) -> Result<(), ClientError> {
        match self.wallet.sync(&[]).await {
            Ok(report) => {
                for event in report.events {
                    (self.report)(event);
                }
                for friend in report.unreachable {
                    let user = Some(friend.user);
                    self.unreachable("friend", friend.friend, &friend.fault, user);
                }
                if let Some(fault) = report.inbox.fault {
                    self.unreachable("plugin", String::new(), &fault, None);
                    self.read_again();
                }
                self.own_fault(report.fault);
                Ok(())
            }
            Err(error) => self.bear(error),
        }
    }

    /// Watches the files of whoever is a friend by now.
    async fn follow_friends(&mut self) -> Result<(), ClientError> {
        let mut conn = self.wallet.store().read().await?;
        let friends = contacts::list(&mut conn, ContactStatus::Friend).await?;
        let friends: Vec<UserKey> = friends.into_iter().map(|friend| friend.user).collect();
        if friends == self.friends {
            return Ok(());
        }
        self.follow(friends);
        Ok(())
    }

    /// Opens all streams anew. An inbox shows what was not acknowledged again, and what was applied changes nothing.
    fn follow(&mut self, friends: Vec<UserKey>) {
        self.friends.clone_from(&friends);
        let hints: WatchStream = self.wallet.net().watch(friends, self.poll);
        let mut news = SelectAll::new();
        news.push(hints.map(News::Hint).boxed());
        for (n, plugin) in self.plugins.iter().enumerate() {
            news.push(plugin.events(None).map(move |e| News::Inbox(n, e)).boxed());
        }
        self.news = news;
    }

    async fn take(&mut self, news: News) -> Result<(), ClientError> {
        match news {
            News::Inbox(n, InboxEvent::Item(item)) => self.take_item(n, &item).await,
            News::Inbox(_, InboxEvent::Ready) => Ok(()),
            News::Inbox(n, InboxEvent::Down(error)) => {
                let who = self.plugin_name(n);
                let fault = Fault::from(&ClientError::Net(error));
                self.unreachable("plugin", who, &fault, None);
                Ok(())
            }
            News::Inbox(n, InboxEvent::Up) => {
                let who = self.plugin_name(n);
                self.tell(
                    WalletEventKind::Reachable {
                        what: "plugin",
                        who,
                    },
                    None,
                );
                Ok(())
            }
            News::Hint(Hint::Changed { user, .. } | Hint::Poll { user }) => self.look(&user).await,
            News::Hint(Hint::Down { home, error }) => {
                let fault = Fault::from(&ClientError::Net(error));
                self.unreachable("homeserver", home.to_z32(), &fault, None);
                Ok(())
            }
            News::Hint(Hint::Up { home }) => {
                let who = home.to_z32();
                self.tell(
                    WalletEventKind::Reachable {
                        what: "homeserver",
                        who,
                    },
                    None,
                );
                Ok(())
            }
        }
    }

    async fn take_item(&mut self, n: usize, item: &InboxItem) -> Result<(), ClientError> {
        let taken = async {
            self.wallet.ensure_may_sign().await?;
            self.wallet.take_item(item).await
        };
        match taken.await {
            Ok(received) => {
                for event in received.events {
                    (self.report)(event);
                }
            }
            Err(error) => {
                self.read_again();
                return self.bear(error);
            }
        }
        if let Some(plugin) = self.plugins.get(n)
            && plugin.ack(std::slice::from_ref(&item.id)).await.is_err()
        {
            // It is applied; reading it again changes nothing, and then it is acknowledged.
            self.read_again();
        }
        self.flush().await
    }

    /// Looks at one friend's files. That they can't be reached is said once, until they can.
    async fn look(&mut self, user: &UserKey) -> Result<(), ClientError> {
        let contact = contacts::get(&mut *self.wallet.store().read().await?, user).await?;
        let Some(contact) = contact.filter(|c| c.status == ContactStatus::Friend) else {
            return Ok(());
        };
        if let Err(error) = self.wallet.ensure_may_sign().await {
            return self.bear(error);
        }
        match self.wallet.sync_friend(&contact).await {
            Ok(received) => {
                let applied = received.applied > 0;
                for event in received.events {
                    (self.report)(event);
                }
                if applied { self.flush().await } else { Ok(()) }
            }
            Err(error) => self.friend_error(&contact, error),
        }
    }

    fn friend_error(&mut self, contact: &Contact, error: ClientError) -> Result<(), ClientError> {
        match error {
            ClientError::Net(_) | ClientError::Ledger(_) | ClientError::Malformed { .. } => {
                tracing::info!(user = %contact.user, code = error.code(), "a friend can't be read");
                Ok(())
            }
            other => self.bear(other),
        }
    }

    async fn tick(&mut self) -> Result<(), ClientError> {
        let (waiting, unwritten) = {
            let mut conn = self.wallet.store().read().await?;
            let due = outbox::due(&mut conn, now().millis(), 1).await?;
            (
                !due.is_empty(),
                !pairs::unpublished(&mut conn, 1).await?.is_empty(),
            )
        };
        if waiting || unwritten {
            self.flush().await?;
        }
        if let Some((at, wait)) = self.reread
            && at <= Instant::now()
        {
            self.read_inboxes(wait).await?;
        }
        self.follow_friends().await
    }

    async fn read_inboxes(&mut self, waited: Duration) -> Result<(), ClientError> {
        let read = async {
            self.wallet.ensure_may_sign().await?;
            self.wallet.read_inboxes().await
        };
        match read.await {
            Ok(report) => {
                for event in report.events {
                    (self.report)(event);
                }
                self.reread = report.fault.map(|_| self.later(waited));
                self.flush().await
            }
            Err(error) => {
                self.reread = Some(self.later(waited));
                self.bear(error)
            }
        }
    }

    fn later(&self, waited: Duration) -> (Instant, Duration) {
        let wait = waited.saturating_mul(2).min(RETRY.1);
        (Instant::now() + wait, wait)
    }

    fn read_again(&mut self) {
        self.reread
            .get_or_insert_with(|| (Instant::now() + RETRY.0, RETRY.0));
    }

    async fn flush(&mut self) -> Result<(), ClientError> {
        match self.wallet.flush().await {
            Ok(report) => {
                self.own_fault(report.fault);
                Ok(())
            }
            Err(error) => self.bear(error),
        }
    }

    /// What only the network did wrong is reported, and the watching goes on.
    fn bear(&mut self, error: ClientError) -> Result<(), ClientError> {
        match error {
            ClientError::GenerationUnknown(_) | ClientError::Net(_) => {
                self.own_fault(Some(Fault::from(&error)));
                Ok(())
            }
            other => Err(other),
        }
    }

    /// Reports a fault of the own homeserver or plugin when it begins, and when it ends.
    fn own_fault(&mut self, fault: Option<Fault>) {
        match fault {
            Some(fault) if self.reported.as_ref() != Some(&fault.code) => {
                self.reported = Some(fault.code.clone());
                self.unreachable("homeserver", String::new(), &fault, None);
            }
            None if self.reported.take().is_some() => {
                let who = String::new();
                self.tell(
                    WalletEventKind::Reachable {
                        what: "homeserver",
                        who,
                    },
                    None,
                );
            }
            _ => {}
        }
    }

    fn plugin_name(&self, n: usize) -> String {
        self.plugins
            .get(n)
            .map_or_else(String::new, |plugin| plugin.address().key.to_z32())
    }

    fn unreachable(
        &mut self,
        what: &'static str,
        who: String,
        fault: &Fault,
        user: Option<UserKey>,
    ) {
        let message = fault.message.clone();
        self.tell(WalletEventKind::Unreachable { what, who, message }, user);
    }

    fn tell(&mut self, kind: WalletEventKind, user: Option<UserKey>) {
        (self.report)(WalletEvent {
            at: now().millis(),
            user,
            friend: None,
            kind,
        });
    }
}
