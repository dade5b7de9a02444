//! What runs beside the loop that takes the news.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use atomicity_ledger::{RecordHash, RecordId, UserKey};
use tokio::task::JoinSet;

use super::super::agent::Tended;
use super::super::decide::DecideReport;
use super::super::event::WalletEvent;
use super::super::flush::FlushReport;
use super::super::inbox::InboxReport;
use super::super::receive::Received;
use super::super::{ContactStatus, ProposalView, Wallet};
use super::quotes::Quotes;
use crate::error::ClientError;
use crate::net::NetError;
use crate::net::plugin::PluginClient;
use crate::store::contacts;

/// Looks at friends that are under way at once; the others wait.
const LOOKS: usize = 64;
/// Sendings that are under way at once: what waits for a slow inbox does not hold up the rest.
const FLUSHES: usize = 4;
/// How often it is looked whether books may go to the agent again.
const BOOKS_EVERY: Duration = Duration::from_secs(5);

/// Friends' requests to settle, and what accounts have paid outside, that are worked on at the same time, of each.
const OUTSIDE_AT_ONCE: u32 = 16;

/// Something that was done.
pub(super) enum Done {
    /// A friend was looked at.
    Looked(Result<Received, ClientError>),
    /// What waited was sent.
    Flushed(Result<FlushReport, ClientError>),
    /// The inboxes were read again, after having waited this long.
    Read(Result<(InboxReport, Duration), (ClientError, Duration)>),
    /// Undecided promises were looked at.
    Decided(Result<DecideReport, ClientError>),
    /// The rules about many were applied.
    Ruled(Result<Vec<WalletEvent>, ClientError>),
    /// The agent was looked at.
    Tended(Result<Tended, ClientError>),
    /// Requests to be paid were looked at.
    Asked(Result<Vec<WalletEvent>, ClientError>),
    /// A friend's request to settle went on.
    Settled(Result<Vec<WalletEvent>, ClientError>),
    /// What payment accounts wait for went on.
    Spent(Result<(), ClientError>),
    /// Nothing was to be done.
    Nothing,
    /// An envelope was acknowledged.
    Acknowledged(Result<(), NetError>),
}

enum Ended {
    Look(UserKey, Result<Received, ClientError>),
    Flush(Result<FlushReport, ClientError>),
    Settle(RecordHash, Result<Vec<WalletEvent>, ClientError>),
    Outlay(RecordId, Result<(), ClientError>),
    Confirm(Result<Vec<WalletEvent>, ClientError>),
    Ask(Result<(Vec<WalletEvent>, Vec<ProposalView>), ClientError>),
    Host(Result<Vec<WalletEvent>, ClientError>),
    Quote,
    Other(Done),
}

/// The tasks. Dropping it ends them.
pub(super) struct Work {
    wallet: Wallet,
    tasks: JoinSet<Ended>,
    looking: BTreeSet<UserKey>,
    /// Who is to be looked at next: those who wait for a place, and those who gave news while they were looked at.
    wanted: BTreeSet<UserKey>,
    flushing: usize,
    flush_wanted: bool,
    deciding: bool,
    /// Rules are being applied; whether to do it once more after that.
    ruling: Option<bool>,
    tending: bool,
    tend_wanted: bool,
    /// Requests to be paid are looked at; whether to do it once more after that.
    asking: Option<bool>,
    /// What guests pay goes on; whether to look once more after that.
    hosting: Option<bool>,
    /// For which proposed payments a way was looked for.
    quotes: Quotes,
    /// What payment accounts wait for goes on; whether to look once more after that.
    spending: Option<bool>,
    /// Requests to settle that are worked on: a rail may take its time.
    settling: BTreeSet<RecordHash>,
    /// What is paid outside for accounts.
    outlaying: BTreeSet<RecordId>,
    confirming: bool,
    /// When it is looked again whether books may go to the agent.
    books_at: Instant,
}

impl Work {
    pub(super) fn new(wallet: Wallet) -> Self {
        Self {
            wallet,
            tasks: JoinSet::new(),
            looking: BTreeSet::new(),
            wanted: BTreeSet::new(),
            flushing: 0,
            flush_wanted: false,
            deciding: false,
            ruling: None,
            tending: false,
            tend_wanted: false,
            asking: None,
            hosting: None,
            quotes: Quotes::default(),
            spending: None,
            settling: BTreeSet::new(),
            outlaying: BTreeSet::new(),
            confirming: false,
            books_at: Instant::now(),
        }
    }

    /// Looks at a friend; once more after that if they are being looked at already.
    pub(super) fn look(&mut self, user: UserKey) {
        if self.looking.len() >= LOOKS || !self.looking.insert(user) {
            self.wanted.insert(user);
            return;
        }
        let wallet = self.wallet.clone();
        self.tasks
            .spawn(async move { Ended::Look(user, look(&wallet, &user).await) });
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self) {
        if self.flushing >= FLUSHES {
            self.flush_wanted = true;
            return;
        }
        self.flushing += 1;
        let wallet = self.wallet.clone();
        self.tasks
            .spawn(async move { Ended::Flush(wallet.flush().await) });
    }

    /// Sends what waits, unless that is under way.
    pub(super) fn flush_if_idle(&mut self) {
        if self.flushing == 0 {
            self.flush();
        }
    }

    /// Looks at undecided promises, unless that is under way.
    pub(super) fn decide(&mut self) {
        if std::mem::replace(&mut self.deciding, true) {
            return;
        }
        let wallet = self.wallet.clone();
        self.tasks
            .spawn(async move { Ended::Other(Done::Decided(wallet.decide().await)) });
    }

    /// Applies the rules about many; once more after that if it is under way.
    pub(super) fn rule(&mut self) {
        if let Some(again) = &mut self.ruling {
            *again = true;
            return;
        }
        self.ruling = Some(false);
        let wallet = self.wallet.clone();
        self.tasks
            .spawn(async move { Ended::Other(Done::Ruled(wallet.apply_rules(false).await)) });
    }

    /// Looks at requests to be paid; once more after that if it is under way and something `new` has come.
    pub(super) fn ask(&mut self, new: bool) {
        if let Some(again) = &mut self.asking {
            *again |= new;
            return;
        }
        self.asking = Some(false);
        let wallet = self.wallet.clone();
        self.tasks.spawn(async move {
            let asked = async {
                let mut events = wallet.drive_requests().await?;
                let proposed = wallet.look_at_proposals().await?;
                events.extend(proposed.events);
                Ok((events, proposed.unquoted))
            };
            Ended::Ask(asked.await)
        });
    }

    /// Goes on with what guests pay; once more after that if it is under way and somebody `new` has come. A node may take its time.
    pub(super) fn host(&mut self, new: bool) {
        if let Some(again) = &mut self.hosting {
            *again |= new;
            return;
        }
        self.hosting = Some(false);
        if new {
            self.wallet.guests_have_come();
        }
        let wallet = self.wallet.clone();
        self.tasks
            .spawn(async move { Ended::Host(wallet.drive_guests().await) });
    }

    /// Looks for the way of a payment that is proposed, unless one is being looked for.
    fn quote(&mut self, wait: Vec<ProposalView>) {
        if let Some((view, last)) = self.quotes.next(wait, Instant::now()) {
            let wallet = self.wallet.clone();
            self.tasks.spawn(async move {
                wallet.quote_unasked(&view, last).await;
                Ended::Quote
            });
        }
    }

    /// Looks at the agent; once more after that if it is being looked at already.
    pub(super) fn tend(&mut self) {
        if std::mem::replace(&mut self.tending, true) {
            self.tend_wanted = true;
            return;
        }
        let wallet = self.wallet.clone();
        self.tasks
            .spawn(async move { Ended::Other(Done::Tended(wallet.tend_agent().await)) });
    }

    /// Looks at the agent if books that were here for a while may go there again, or are still to come home.
    pub(super) async fn let_books_go(&mut self) -> Result<(), ClientError> {
        if self.tending || self.books_at > Instant::now() {
            return Ok(());
        }
        self.books_at = Instant::now() + BOOKS_EVERY;
        if self.wallet.books_may_go().await? {
            self.tend();
        }
        Ok(())
    }

    /// Goes on with what payment accounts wait for; once more after that if it is under way.
    pub(super) fn spend(&mut self) {
        if let Some(again) = &mut self.spending {
            *again = true;
            return;
        }
        self.spending = Some(false);
        let wallet = self.wallet.clone();
        self.tasks
            .spawn(async move { Ended::Other(Done::Spent(wallet.drive_spends().await)) });
    }

    /// Goes on with requests to settle, and with what accounts have paid outside, unless that is under way.
    pub(super) async fn pay_outside(&mut self) -> Result<(), ClientError> {
        for settlement in self.wallet.discharges_due(OUTSIDE_AT_ONCE).await? {
            if self.settling.insert(settlement) {
                let wallet = self.wallet.clone();
                self.tasks.spawn(async move {
                    let done = wallet.discharge(&settlement).await;
                    Ended::Settle(settlement, done)
                });
            }
        }
        for id in self.wallet.outlays_due(OUTSIDE_AT_ONCE).await? {
            if self.outlaying.insert(id) {
                let wallet = self.wallet.clone();
                self.tasks.spawn(async move {
                    let done = wallet.pay_outlay(&id).await;
                    Ended::Outlay(id, done)
                });
            }
        }
        Ok(())
    }

    /// Confirms what rules and the user's own node say was paid, unless that is under way; then asks again where no answer came.
    pub(super) fn confirm(&mut self) {
        if std::mem::replace(&mut self.confirming, true) {
            return;
        }
        let wallet = self.wallet.clone();
        self.tasks.spawn(async move {
            let done = async {
                let told = wallet.confirm_all(false).await?;
                wallet.ask_once_more(false).await?;
                Ok(told)
            };
            Ended::Confirm(done.await)
        });
    }

    /// Reads the own inboxes again.
    pub(super) fn read(&mut self, waited: Duration) {
        let wallet = self.wallet.clone();
        self.tasks.spawn(async move {
            let read = async {
                wallet.ensure_may_sign().await?;
                wallet.read_inboxes().await
            };
            let read = read.await;
            Ended::Other(Done::Read(
                read.map(|report| (report, waited))
                    .map_err(|error| (error, waited)),
            ))
        });
    }

    /// Tells the plugin that an envelope is durable here.
    pub(super) fn acknowledge(&mut self, plugin: PluginClient, id: String) {
        self.tasks.spawn(async move {
            let told = plugin.ack(&[id]).await.map(|_| ());
            Ended::Other(Done::Acknowledged(told))
        });
    }

    /// Ends what is under way, and waits until it has let go of what it held: who sends after this finds nobody sending.
    pub(super) async fn end(&mut self) {
        self.tasks.shutdown().await;
    }

    /// The next thing that was done; `None` if nothing is under way.
    pub(super) async fn next(&mut self) -> Option<Done> {
        let ended = self.tasks.join_next().await?;
        Some(match ended {
            Ok(Ended::Look(user, looked)) => {
                self.looking.remove(&user);
                if let Some(next) = self.wanted.pop_first() {
                    self.look(next);
                }
                Done::Looked(looked)
            }
            Ok(Ended::Flush(flushed)) => {
                self.flushing -= 1;
                if std::mem::take(&mut self.flush_wanted) {
                    self.flush();
                }
                Done::Flushed(flushed)
            }
            Ok(Ended::Settle(settlement, done)) => {
                self.settling.remove(&settlement);
                Done::Settled(done)
            }
            Ok(Ended::Outlay(id, done)) => {
                self.outlaying.remove(&id);
                // The agent is told.
                self.spend();
                Done::Spent(done)
            }
            Ok(Ended::Confirm(done)) => {
                self.confirming = false;
                match done {
                    Ok(told) if told.is_empty() => Done::Nothing,
                    done => Done::Settled(done),
                }
            }
            Ok(Ended::Ask(done)) => {
                if self.asking.take() == Some(true) {
                    self.ask(true);
                }
                Done::Asked(done.map(|(events, unquoted)| {
                    self.quote(unquoted);
                    events
                }))
            }
            Ok(Ended::Host(done)) => {
                if self.hosting.take() == Some(true) {
                    self.host(true);
                }
                match done {
                    Ok(told) if told.is_empty() => Done::Nothing,
                    done => {
                        // It may be full now.
                        self.ask(true);
                        Done::Asked(done)
                    }
                }
            }
            Ok(Ended::Quote) => {
                self.quotes.ended();
                Done::Nothing
            }
            Ok(Ended::Other(done)) => {
                self.deciding &= !matches!(done, Done::Decided(_));
                if matches!(done, Done::Ruled(_)) && self.ruling.take() == Some(true) {
                    self.rule();
                }
                if matches!(done, Done::Spent(_)) && self.spending.take() == Some(true) {
                    self.spend();
                }
                if matches!(done, Done::Tended(_)) {
                    self.tending = false;
                    if std::mem::take(&mut self.tend_wanted) {
                        self.tend();
                    }
                }
                done
            }
            Err(error) => Done::Looked(Err(ClientError::Internal(error.to_string()))),
        })
    }
}

async fn look(wallet: &Wallet, user: &UserKey) -> Result<Received, ClientError> {
    let contact = contacts::get(&mut *wallet.store().read().await?, user).await?;
    let Some(contact) = contact.filter(|c| c.status == ContactStatus::Friend) else {
        return Ok(Received::default());
    };
    wallet.ensure_may_sign().await?;
    wallet.sync_friend(&contact).await
}
