//! How the agent stands, what it has signed, and what happens to the books that it keeps.

use std::collections::VecDeque;
use std::time::Duration;

use atomicity_ledger::record::DelegationLimit;
use atomicity_ledger::{SignerKey, UserKey};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio_util::sync::CancellationToken;

use super::super::{Fault, Wallet, WalletEvent, WalletEventKind, books, now, settle};
use super::{agent_error, delegation};
use crate::error::ClientError;
use crate::net::plugin::{AgentConnection, AgentNews, AgentView, PluginAddress, Signature};
use crate::store::contacts::{self, Contact};
use crate::store::pairs::agent::{self, AgentPairRow, AgentStage};

/// How long to wait before a stream that broke is opened again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Pages of signatures that are read for the newest, at most.
const PAGES: usize = 1000;

/// How the agent stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AgentStatus {
    /// Where it is.
    pub plugin: PluginAddress,
    /// The key with which it signs.
    pub key: SignerKey,
    /// When it ends by itself, Unix milliseconds.
    pub until: u64,
    /// What the root lets it owe any one friend, and issue on one day.
    pub limits: Vec<DelegationLimit>,
    /// `new`, `active` or `stopped`; `None` if it could not be asked.
    pub state: Option<String>,
    /// Why it stopped: `closed`, `revoked`, `ended`.
    pub why: Option<String>,
    /// Why it could not be asked.
    pub fault: Option<Fault>,
    /// The books.
    pub pairs: Vec<AgentPairView>,
}

/// Books that are with the agent, or on their way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AgentPairView {
    /// The friend.
    pub contact: Contact,
    /// How far handing over got.
    pub stage: AgentStage,
    /// Whether they are here because something is being settled with the friend: they go to the agent when it is decided.
    pub settling: bool,
    /// The epoch of the book.
    pub epoch: Option<u64>,
    /// Whether the friend has acknowledged it.
    pub acknowledged: bool,
    /// Records of the friend that the agent can't judge yet.
    pub pending: u64,
    /// Batches of records that the agent has not delivered yet.
    pub to_send: u64,
    /// What hinders handing over.
    pub fault: Option<Fault>,
}

/// Something that the agent signed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AgentSignature {
    /// Its number.
    pub id: String,
    /// When, Unix milliseconds.
    pub at: u64,
    /// Towards whom.
    pub user: UserKey,
    /// What the user calls them.
    pub friend: String,
    /// What was signed: `state`, `payment`, `promise`, `release`, `ack`, `credit_line`, `book` …
    pub what: String,
    /// In what.
    pub unit: Option<atomicity_ledger::Unit>,
    /// How much it is about, in minor units.
    pub amount: Option<u64>,
    /// What the user calls the payment account that asked, if one did.
    pub account: Option<String>,
    /// The record in compact form.
    pub record: String,
}

impl Wallet {
    /// How the agent stands. It is asked; if it does not answer, what is known here is shown.
    ///
    /// # Errors
    /// [`ClientError::NoAgent`], or what the store says.
    pub async fn agent_status(&self) -> Result<AgentStatus, ClientError> {
        let tended = self.tend_agent().await?;
        let row = self.agent_row().await?;
        let client = self.plugin_client(row.plugin.clone()).await?;
        let asked = client.agent().await.map_err(agent_error);
        let (view, fault) = match asked {
            Ok(view) => (Some(view), None),
            Err(error) => (None, Some(Fault::from(&error))),
        };
        let known = agent::pairs(&mut *self.store().read().await?).await?;
        let mut pairs = Vec::new();
        for pair in known {
            let hinders = tended.faults.iter().find(|(user, _)| *user == pair.user);
            let fault = hinders.map(|(_, fault)| fault.clone());
            pairs.extend(self.agent_pair_view(&pair, view.as_ref(), fault).await?);
        }
        let stopped = tended.failed.as_ref().map(Fault::from);
        Ok(AgentStatus {
            limits: delegation(&row)?.limits,
            plugin: row.plugin,
            key: row.key,
            until: row.until,
            why: view.as_ref().and_then(|view| view.why.clone()),
            state: view.map(|view| view.state),
            fault: fault.or(stopped),
            pairs,
        })
    }

    async fn agent_pair_view(
        &self,
        pair: &AgentPairRow,
        view: Option<&AgentView>,
        fault: Option<Fault>,
    ) -> Result<Option<AgentPairView>, ClientError> {
        let mut conn = self.store().read().await?;
        let Some(contact) = contacts::get(&mut conn, &pair.user).await? else {
            return Ok(None);
        };
        let copy = books::load(&mut conn, self.user(), pair.user).await?;
        let theirs = view.and_then(|view| view.peers.iter().find(|peer| peer.peer == pair.user));
        Ok(Some(AgentPairView {
            contact,
            stage: pair.stage,
            settling: pair.stage == AgentStage::Wanted
                && settle::is_under_way(&mut conn, &pair.user, now()).await?,
            epoch: copy.own().epoch().map(|epoch| epoch.get()),
            acknowledged: copy.own().book_ack().is_some(),
            pending: theirs.map_or(0, |peer| peer.pending),
            to_send: theirs.map_or(0, |peer| peer.to_send),
            fault,
        }))
    }

    /// The newest signatures of the agent, the oldest of them first.
    ///
    /// # Errors
    /// [`ClientError::NoAgent`]; [`ClientError::AgentAway`].
    pub async fn agent_log(&self, most: usize) -> Result<Vec<AgentSignature>, ClientError> {
        let row = self.agent_row().await?;
        let client = self.plugin_client(row.plugin).await?;
        let mut newest: VecDeque<Signature> = VecDeque::new();
        let mut after = 0;
        for _ in 0..PAGES {
            let page = client.journal(after).await.map_err(agent_error)?;
            let last = page.items.last().and_then(|item| item.id.parse().ok());
            newest.extend(page.items);
            while newest.len() > most {
                newest.pop_front();
            }
            match last.filter(|_| page.next.is_some()) {
                Some(last) if last > after => after = last,
                _ => break,
            }
        }
        let mut shown = Vec::new();
        for item in newest {
            shown.push(AgentSignature {
                friend: self.name_of(&item.peer).await?,
                account: self.account_named_in(&item.record).await?,
                id: item.id,
                at: item.at,
                user: item.peer,
                what: item.what,
                unit: item.unit.and_then(|unit| unit.parse().ok()),
                amount: item.amount.and_then(|amount| amount.parse().ok()),
                record: item.record,
            });
        }
        Ok(shown)
    }

    /// Follows what the agent does until `stop` is cancelled: first what this wallet has not heard of yet, then live.
    ///
    /// # Errors
    /// [`ClientError::NoAgent`], or what the store says. What the network does wrong is reported and tried again.
    pub async fn follow_agent(
        &self,
        stop: CancellationToken,
        mut report: impl FnMut(WalletEvent) + Send,
    ) -> Result<(), ClientError> {
        self.agent_row().await?;
        let mut bell = self.agent_bell();
        let (mut away, mut ready) = (false, false);
        let following = async {
            loop {
                let tended = self.tend_agent().await?;
                tended.events.into_iter().for_each(&mut report);
                if away != tended.failed.is_some() {
                    away = tended.failed.is_some();
                    let who = "the agent".to_owned();
                    report(plain(match tended.failed {
                        Some(error) => WalletEventKind::Unreachable {
                            what: "plugin",
                            who,
                            message: error.to_string(),
                        },
                        None => WalletEventKind::Reachable {
                            what: "plugin",
                            who,
                        },
                    }));
                }
                if !std::mem::replace(&mut ready, true) {
                    report(plain(WalletEventKind::Ready));
                }
                if bell.next().await.is_none() {
                    return Ok(());
                }
            }
        };
        tokio::select! {
            ended = following => ended,
            () = stop.cancelled() => Ok(()),
        }
    }

    /// Rings whenever something has happened at the agent, and whenever something may have been missed. Silent if there is none.
    pub(in super::super) fn agent_bell(&self) -> BoxStream<'static, ()> {
        let bell = Bell {
            wallet: self.clone(),
            open: None,
            pause: RETRY.0,
        };
        stream::unfold(bell, |mut bell| async move {
            bell.next().await;
            Some(((), bell))
        })
        .boxed()
    }
}

struct Bell {
    wallet: Wallet,
    open: Option<AgentConnection>,
    pause: Duration,
}

impl Bell {
    async fn next(&mut self) {
        loop {
            let Some(stream) = &mut self.open else {
                match self.connect().await {
                    Ok(Some(stream)) => {
                        self.open = Some(stream);
                        self.pause = RETRY.0;
                    }
                    _ => {
                        tokio::time::sleep(self.pause).await;
                        self.pause = self.pause.saturating_mul(2).min(RETRY.1);
                    }
                }
                continue;
            };
            match stream.next().await {
                // Whatever came before this is read now.
                Ok(AgentNews::Event(_) | AgentNews::Ready) => return,
                Err(_) => self.open = None,
            }
        }
    }

    async fn connect(&self) -> Result<Option<AgentConnection>, ClientError> {
        let row = agent::get(&mut *self.wallet.store().read().await?).await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let client = self.wallet.plugin_client(row.plugin).await?;
        Ok(Some(client.agent_events(row.event).await?))
    }
}

fn plain(kind: WalletEventKind) -> WalletEvent {
    WalletEvent {
        at: now().millis(),
        user: None,
        friend: None,
        kind,
    }
}
