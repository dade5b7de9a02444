//! Staying connected: what others send is applied as it comes, what this wallet signs leaves at once.
//!
//! One loop takes the news. Whatever has to wait for somebody else's server, looking at a friend or sending, runs beside it, so
//! that one who does not answer delays nobody.

mod quotes;
mod work;

use std::collections::BTreeSet;
use std::time::Duration;

use atomicity_ledger::UserKey;
use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, SelectAll};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::agent::Tended;
use super::event::{WalletEvent, WalletEventKind};
use super::receive::Received;
use super::{DecideReport, Fault, Wallet, forward, now};
use crate::error::ClientError;
use crate::net::plugin::{InboxEvent, InboxItem, PluginClient};
use crate::net::watch::Hint;
use crate::store::contacts::{self, ContactStatus};
use crate::store::requests::letters;
use crate::store::{outbox, pairs, settings};
use work::{Done, Work};

/// How often to look whether another process left something to send, or added a friend.
const TICK: Duration = Duration::from_millis(500);
/// How long to wait before an inbox that could not be read in full is read again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How often requests to be paid are looked at: what has come is looked at when it comes.
const REQUESTS_EVERY: Duration = Duration::from_secs(1);
/// How often undecided promises are looked at while a deadline is near, and else; and the watchtowers, if there are none.
const DECIDE_OFTEN: Duration = Duration::from_secs(1);
const DECIDE_RARELY: Duration = Duration::from_secs(15);
const DECIDE_IDLE: Duration = Duration::from_secs(120);

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

/// Something from a server.
enum News {
    Inbox(usize, InboxEvent),
    Hint(Hint),
    /// Something happened at the agent.
    Agent,
}

struct Watcher<'a, F> {
    wallet: &'a Wallet,
    poll: Duration,
    plugins: Vec<PluginClient>,
    friends: Vec<UserKey>,
    news: SelectAll<BoxStream<'static, News>>,
    work: Work,
    /// When an inbox must be read again, and how long to wait the next time.
    reread: Option<(Instant, Duration)>,
    /// The wish to have logs read that was seen last.
    wanted: Option<String>,
    /// When the promises that are not decided are looked at again.
    decide_at: Instant,
    /// When it is looked again whether adverts are to be written anew.
    adverts_at: Instant,
    /// When requests to be paid are looked at again.
    requests_at: Instant,
    /// The logs that could not be read the last time.
    silent_logs: BTreeSet<String>,
    /// Whether the agent could not be asked the last time.
    agent_away: bool,
    /// The fault of the own servers that was reported last.
    reported: Option<String>,
    report: F,
}

impl Wallet {
    /// Synchronizes, and then applies, answers and sends live until `stop` is cancelled. What happens goes to `report`. What has not left
    /// by then stays noted: [`Wallet::flush`] sends it.
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
            work: Work::new(self.clone()),
            reread: None,
            wanted: None,
            decide_at: Instant::now(),
            adverts_at: Instant::now(),
            requests_at: Instant::now(),
            silent_logs: BTreeSet::new(),
            agent_away: false,
            reported: None,
            report,
        };
        let ended = tokio::select! {
            ended = watcher.run() => ended,
            () = stop.cancelled() => Ok(()),
        };
        watcher.work.end().await;
        ended
    }
}

impl<F: FnMut(WalletEvent) + Send> Watcher<'_, F> {
    async fn run(&mut self) -> Result<(), ClientError> {
        self.first_sync().await?;
        let friends = self.present_friends().await?;
        self.follow(friends);
        self.tell(WalletEventKind::Ready, None);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(news) = self.news.next() => self.take(news).await?,
                Some(done) = self.work.next() => self.take_done(done)?,
                _ = tick.tick() => self.tick().await?,
            }
        }
    }

    async fn first_sync(&mut self) -> Result<(), ClientError> {
        match self.wallet.sync(&[]).await {
            Ok(report) => {
                self.tell_all(report.events);
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
            Err(error) => {
                self.read_again();
                self.bear(error)
            }
        }
    }

    async fn present_friends(&self) -> Result<Vec<UserKey>, ClientError> {
        let mut conn = self.wallet.store().read().await?;
        let friends = contacts::list(&mut conn, ContactStatus::Friend).await?;
        Ok(friends.into_iter().map(|friend| friend.user).collect())
    }

    /// Opens all streams anew. An inbox shows what was not acknowledged again, and what was applied changes nothing.
    fn follow(&mut self, friends: Vec<UserKey>) {
        self.friends.clone_from(&friends);
        let hints = self.wallet.net().watch(friends, self.poll);
        let mut news = SelectAll::new();
        news.push(hints.map(News::Hint).boxed());
        news.push(self.wallet.agent_bell().map(|()| News::Agent).boxed());
        for (n, plugin) in self.plugins.iter().enumerate() {
            let events = plugin.events(None);
            news.push(events.map(move |event| News::Inbox(n, event)).boxed());
        }
        self.news = news;
    }

    async fn take(&mut self, news: News) -> Result<(), ClientError> {
        match news {
            News::Inbox(n, InboxEvent::Item(item)) => return self.take_item(n, &item).await,
            // Of guests who came before it is not told.
            News::Inbox(_, InboxEvent::Ready | InboxEvent::Guests) => self.work.host(true),
            News::Agent => self.work.tend(),
            News::Inbox(n, InboxEvent::Down(error)) => {
                let fault = Fault::from(&ClientError::Net(error));
                self.unreachable("plugin", self.plugin_name(n), &fault, None);
            }
            News::Inbox(n, InboxEvent::Up) => self.reachable("plugin", self.plugin_name(n)),
            News::Hint(Hint::Changed { user, .. } | Hint::Poll { user }) => self.work.look(user),
            News::Hint(Hint::Down { home, error }) => {
                let fault = Fault::from(&ClientError::Net(error));
                self.unreachable("homeserver", home.to_z32(), &fault, None);
            }
            News::Hint(Hint::Up { home }) => self.reachable("homeserver", home.to_z32()),
        }
        Ok(())
    }

    async fn take_item(&mut self, n: usize, item: &InboxItem) -> Result<(), ClientError> {
        if self.wallet.is_for_agent(item).await? {
            return Ok(());
        }
        let taken = async {
            self.wallet.ensure_may_sign().await?;
            self.wallet.take_item(item).await
        };
        match taken.await {
            Ok((from, received)) => {
                if let Some(from) = from.filter(|_| !received.lookups.is_empty()) {
                    self.work.look(from);
                }
                self.act_on(&received);
                self.tell_all(received.events);
            }
            Err(error) => {
                self.read_again();
                return self.bear(error);
            }
        }
        if let Some(plugin) = self.plugins.get(n) {
            self.work.acknowledge(plugin.clone(), item.id.clone());
        }
        self.work.flush();
        Ok(())
    }

    fn take_done(&mut self, done: Done) -> Result<(), ClientError> {
        match done {
            Done::Looked(Ok(received)) => {
                if received.applied > 0 {
                    self.work.flush();
                }
                self.act_on(&received);
                self.tell_all(received.events);
                Ok(())
            }
            Done::Flushed(Ok(report)) => {
                self.own_fault(report.fault);
                Ok(())
            }
            Done::Read(Ok((report, waited))) => {
                self.reread = report.fault.map(|_| later(waited));
                for user in report.look_at {
                    self.work.look(user);
                }
                self.tell_all(report.events);
                self.work.flush();
                Ok(())
            }
            Done::Decided(Ok(report)) => {
                self.decided(report);
                self.work.spend();
                Ok(())
            }
            Done::Ruled(Ok(events)) => {
                self.tell_all(events);
                Ok(())
            }
            Done::Spent(Ok(())) => {
                self.work.flush_if_idle();
                Ok(())
            }
            Done::Ruled(Err(error))
            | Done::Settled(Err(error))
            | Done::Asked(Err(error))
            | Done::Spent(Err(error)) => self.bear(error),
            Done::Settled(Ok(events)) | Done::Asked(Ok(events)) => {
                self.tell_all(events);
                self.work.flush();
                Ok(())
            }
            Done::Tended(Ok(tended)) => {
                self.tended(tended);
                self.work.flush_if_idle();
                self.work.spend();
                Ok(())
            }
            Done::Tended(Err(error)) => self.bear(error),
            Done::Decided(Err(error)) => {
                self.decide_at = Instant::now() + DECIDE_RARELY;
                self.bear(error)
            }
            Done::Nothing | Done::Acknowledged(Ok(())) => Ok(()),
            // It is applied; reading it again changes nothing, and then it is acknowledged.
            Done::Acknowledged(Err(_)) => {
                self.read_again();
                Ok(())
            }
            Done::Looked(Err(error)) if is_theirs(&error) => {
                tracing::info!(code = error.code(), "a friend can't be read: {error}");
                Ok(())
            }
            Done::Looked(Err(error)) | Done::Flushed(Err(error)) => self.bear(error),
            Done::Read(Err((error, waited))) => {
                self.reread = Some(later(waited));
                self.bear(error)
            }
        }
    }

    /// What the agent did, and whether it can be asked.
    fn tended(&mut self, tended: Tended) {
        if tended.moved {
            self.decide_at = Instant::now();
            self.work.decide();
        }
        self.tell_all(tended.events);
        match tended.failed.map(|error| Fault::from(&error)) {
            Some(fault) if !self.agent_away => {
                self.agent_away = true;
                self.unreachable("plugin", "the agent".to_owned(), &fault, None);
            }
            None if std::mem::take(&mut self.agent_away) => {
                self.reachable("plugin", "the agent".to_owned());
            }
            _ => {}
        }
    }

    /// A payment over friends went on: what follows from it is not put off.
    fn act_on(&mut self, received: &Received) {
        if received.moved {
            self.decide_at = Instant::now();
            self.work.decide();
        }
        if received.letters {
            self.work.ask(true);
        }
    }

    async fn tick(&mut self) -> Result<(), ClientError> {
        self.work.confirm();
        self.work.let_books_go().await?;
        self.work.pay_outside().await?;
        if self.adverts_at <= Instant::now() {
            self.adverts_at = Instant::now() + forward::REWRITE_EVERY;
            self.work.rule();
            self.work.flush_if_idle();
        }
        if self.requests_at <= Instant::now() {
            self.requests_at = Instant::now() + REQUESTS_EVERY;
            self.work.ask(false);
            self.work.host(false);
        }
        let (waits, friends) = {
            let mut conn = self.wallet.store().read().await?;
            let due = outbox::due(&mut conn, now().millis(), 1).await?;
            let unwritten = pairs::unpublished(&mut conn, 1).await?;
            let friends = contacts::count(&mut conn, ContactStatus::Friend).await?;
            let wanted = settings::get(&mut conn, settings::LOGS_WANTED).await?;
            // A new wish is granted at once.
            if wanted != self.wanted {
                self.decide_at = Instant::now();
                self.wanted.clone_from(&wanted);
            }
            let posts = letters::due(&mut conn, false, now().millis(), 1).await?;
            let waits = !due.is_empty() || !unwritten.is_empty() || !posts.is_empty();
            (waits, friends)
        };
        if waits {
            self.work.flush_if_idle();
        }
        if self.decide_at <= Instant::now() {
            self.work.decide();
        }
        if let Some((at, waited)) = self.reread
            && at <= Instant::now()
        {
            self.reread = None;
            self.work.read(waited);
        }
        if friends != self.friends.len() as u64 {
            // Another process added or removed somebody: their tags and streams are others now.
            self.wallet.forget_directory();
            let friends = self.present_friends().await?;
            self.follow(friends);
        }
        Ok(())
    }

    /// Looks again soon while a deadline is near.
    fn decided(&mut self, report: DecideReport) {
        let pause = match (report.idle, report.soon) {
            (true, _) => DECIDE_IDLE,
            (false, true) => DECIDE_OFTEN,
            (false, false) => DECIDE_RARELY,
        };
        self.decide_at = Instant::now() + pause;
        if report.decided > 0 || report.applied > 0 || report.moved {
            self.work.flush();
        }
        let silent: BTreeSet<String> = report.unreadable.iter().map(|(o, _)| o.clone()).collect();
        for (origin, fault) in &report.unreadable {
            if !self.silent_logs.contains(origin) {
                self.unreachable("log", origin.clone(), fault, None);
            }
        }
        for origin in self
            .silent_logs
            .difference(&silent)
            .cloned()
            .collect::<Vec<_>>()
        {
            self.reachable("log", origin);
        }
        self.silent_logs = silent;
        self.tell_all(report.events);
    }

    fn read_again(&mut self) {
        self.reread
            .get_or_insert_with(|| (Instant::now() + RETRY.0, RETRY.0));
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
            None if self.reported.take().is_some() => self.reachable("homeserver", String::new()),
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

    fn reachable(&mut self, what: &'static str, who: String) {
        self.tell(WalletEventKind::Reachable { what, who }, None);
    }

    fn tell_all(&mut self, events: Vec<WalletEvent>) {
        for event in events {
            // Whoever says hello may be somebody whom a rule is about.
            if event.kind == WalletEventKind::Hello {
                self.work.rule();
            }
            (self.report)(event);
        }
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

/// Whether a friend's server, or what lies there, is at fault: nothing that this wallet could do about.
fn is_theirs(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Net(_) | ClientError::Ledger(_) | ClientError::Malformed { .. }
    )
}

fn later(waited: Duration) -> (Instant, Duration) {
    let wait = waited.saturating_mul(2).min(RETRY.1);
    (Instant::now() + wait, wait)
}
